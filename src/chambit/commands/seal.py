"""`chambit seal FOLDER`: encrypt originals at rest."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from chambit.prepare.custody import Tell

FOLDER = click.Path(path_type=Path)


@click.command("seal")
@click.argument("folder", type=FOLDER)
@click.option("--out", "sealed", type=FOLDER, required=True, metavar="SEALED", help="Where the sealed files go.")
@click.option(
    "--key",
    "keyfile",
    type=FOLDER,
    required=True,
    metavar="KEYFILE",
    help="The key; made where there is none. Keep it on another medium than what it seals.",
)
@click.option("--remove", is_flag=True, help="Delete each original after all were verified. Nothing is overwritten.")
def command(folder: Path, sealed: Path, keyfile: Path, remove: bool) -> None:
    """Encrypt originals at rest, file by file.

    AES-256-GCM; each file is read back and compared. Originals stay where they are unless --remove is given. A stopped
    call goes on where it was.
    """
    from chambit.prepare import custody

    done = custody.seal(folder, sealed, keyfile, remove=remove, tell=_counted("sealed"))
    if done.key_made:
        click.echo(
            f"A new key was made: {keyfile}. Without it nothing can be read; keep one copy, and know where it is."
        )
    click.echo(f"{done.files:,} files, {done.bytes:,} bytes in custody ({done.before:,} were sealed before).")
    click.echo(f"key {done.key}\nmanifest {done.manifest}")
    if remove:
        click.echo(f"{done.removed:,} originals were deleted; their bytes may still be on the disk and in backups.")
    else:
        click.echo(f"The originals in {folder} were not deleted; --remove does that after checking.")


def _counted(word: str) -> "Tell":
    """Tells how many files are done, at most a hundred times."""

    def tell(done: int, of: int) -> None:
        if done == of or done * 100 // of != (done - 1) * 100 // of:
            click.echo(f"\r{done:,} of {of:,} files {word}", nl=done == of, err=True)

    return tell
