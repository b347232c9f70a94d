"""`chambit dispose SEALED`: destroy the key of sealed originals and write a certificate."""

from pathlib import Path

import click

FOLDER = click.Path(path_type=Path)


@click.command("dispose")
@click.argument("sealed", type=FOLDER)
@click.option("--key", "keyfile", type=FOLDER, required=True, metavar="KEYFILE", help="The key; it is destroyed.")
@click.option("--by", required=True, metavar="NAME", help="Who does it; stands on the certificate.")
@click.option("--reason", required=True, metavar="TEXT", help="Why; stands on the certificate.")
@click.option("--work", type=FOLDER, metavar="DIR", help="The study's output or work folder, whose ledger records it.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def command(sealed: Path, keyfile: Path, by: str, reason: str, work: Path | None, yes: bool) -> None:
    """Destroy the key of sealed originals and write a certificate.

    Cryptographic erase (NIST SP 800-88): it cannot be taken back, and it holds only if no other copy of the key exists.
    """
    from chambit.prepare import custody, disposal

    if not yes:
        click.confirm(f"Destroy the key {keyfile}? What is sealed in {sealed} can then be read by nobody.", abort=True)
    done = disposal.dispose(sealed, keyfile, by, reason, work=work)
    click.echo(f"The key {done.key} is destroyed; {done.files:,} files, {done.bytes:,} bytes can be read no more.")
    click.echo(f"Test read afterwards {done.test_read}.")
    click.echo(f"Certificate: {sealed / custody.CERTIFICATE}; to print and sign: {sealed / disposal.PAGE}")
