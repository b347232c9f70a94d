"""`chambit plan STUDY`: the steps, what is done, and what the rest will take."""

import shutil
from pathlib import Path

import click


@click.command("plan")
@click.argument("study", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), metavar="DIR", help="Where the files go.  [default: out/STUDY]")
def command(study: Path, out: Path | None) -> None:
    """Show a study's steps, what is done already, estimated time and disk. Nothing is run."""
    from chambit.pipeline import study as pipeline

    ready = pipeline.read(study)
    folder = pipeline.folder_of(ready, out)
    lines = pipeline.estimate(ready, folder)
    click.echo(f"{ready.study.title}\nstudy {ready.study.digest}\npolicy {ready.policy.name} {ready.policy.version}\n")
    for problem in pipeline.obstacles(ready):
        click.secho(f"  blocked until mended: {problem}", fg="yellow")
    for line in lines:
        state = "done" if line.done else f"about {line.seconds:.0f} s"
        click.echo(f"  {line.name:<26} {line.items:>8,} {line.unit:<10} {state:>14}")
    seconds, megabytes = sum(line.seconds for line in lines), sum(line.megabytes for line in lines)
    there = folder
    while not there.exists():
        there = there.parent
    free = shutil.disk_usage(there).free / 1e6
    click.echo(f"\n  about {seconds / 60:.1f} min and {megabytes:,.0f} MB to go ({free:,.0f} MB free at {there})")
    click.echo(
        "  Times are from this folder's own ledger where a step has run before, else from two 2.1 GHz server cores."
    )
