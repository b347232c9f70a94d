"""`chambit unseal SEALED`: restore sealed originals bit for bit."""

from pathlib import Path

import click

FOLDER = click.Path(path_type=Path)


@click.command("unseal")
@click.argument("sealed", type=FOLDER)
@click.option("--key", "keyfile", type=FOLDER, required=True, metavar="KEYFILE", help="The key they were sealed with.")
@click.option("--out", "folder", type=FOLDER, required=True, metavar="FOLDER", help="Where the originals go.")
def command(sealed: Path, keyfile: Path, folder: Path) -> None:
    """Restore sealed originals with their key, bit for bit.

    Each file is checked against the manifest. What is damaged is named at the end; everything else is restored.
    """
    from chambit.prepare import custody

    done = custody.unseal(sealed, folder, keyfile)
    click.echo(f"{done.files:,} files, {done.bytes:,} bytes are in {folder} ({done.before:,} were there before).")
