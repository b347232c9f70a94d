"""`chambit demo`: the whole gate on the embedded phantom cohort."""

from pathlib import Path

import click

from chambit.commands import _closing, _progress


@click.command("demo")
@click.option("--out", type=click.Path(path_type=Path), default=Path("out/demo"), show_default=True, metavar="DIR")
@click.option("--gate", is_flag=True, help="Leave with status 1 unless the verdict is PASS or CONDITIONAL.")
def command(out: Path, gate: bool) -> None:
    """Run the whole gate on the embedded phantom cohort: no data needed, a few minutes on two cores."""
    from chambit.pipeline import studies
    from chambit.pipeline import study as pipeline

    ready = pipeline.read(studies.DEMO)
    with _progress.told() as tell:
        closed = pipeline.run(ready, out.resolve(), tell)
    _closing.show(closed, gate)
