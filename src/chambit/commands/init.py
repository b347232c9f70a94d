"""`chambit init`: write a commented study file."""

from pathlib import Path

import click


@click.command("init")
@click.argument("file", type=click.Path(path_type=Path), default=Path("study.yaml"))
def command(file: Path) -> None:
    """Write a commented study file to start from (study.yaml unless FILE is given)."""
    from chambit.core.errors import InputError, Problem
    from chambit.core.store import write_atomically
    from chambit.pipeline import studies

    if file.exists():
        problem = Problem(str(file), "the file exists", "give another name; nothing was changed")
        raise InputError("No study was written.", [problem])
    write_atomically(file, studies.TEMPLATE.read_bytes())
    click.echo(f"Wrote {file}. Edit it, then: chambit plan {file}")
