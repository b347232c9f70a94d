"""`chambit run STUDY`: run a study, or go on where it stopped."""

from pathlib import Path

import click

from chambit.commands import _closing, _progress


@click.command("run")
@click.argument("study", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), metavar="DIR", help="Where the files go.  [default: out/STUDY]")
@click.option("--gate", is_flag=True, help="Leave with status 1 unless the verdict is PASS or CONDITIONAL.")
def command(study: Path, out: Path | None, gate: bool) -> None:
    """Run a study, or go on where it stopped.

    Finished steps are kept; a killed run loses at most the chunk in hand.
    """
    from chambit.pipeline import study as pipeline

    ready = pipeline.read(study)
    with _progress.told() as tell:
        closed = pipeline.run(ready, pipeline.folder_of(ready, out), tell)
    _closing.show(closed, gate)
