"""`chambit prepare FOLDER`: originals in, a clean, de-identified cohort out, with its evidence."""

import sys
from pathlib import Path

import click

from chambit.commands import _closing, _progress

PATH = click.Path(path_type=Path)


@click.command("prepare")
@click.argument("source", type=PATH, metavar="FOLDER|STUDY")
@click.option("--out", type=PATH, metavar="DIR", help="Where the files go.  [a study names it under `prepare`]")
@click.option(
    "--key",
    type=PATH,
    metavar="FILE",
    help="Key of the pseudonyms, outside both folders; made where there is none.  [a study names it]",
)
@click.option("--labels", type=PATH, metavar="CSV", help="Columns file,subject,label.  [default: labels.csv inside]")
@click.option(
    "--redact",
    type=click.Choice(["all", "identifiers"]),
    default="all",
    show_default=True,
    help="All text in pixels is made black, or only what reads like an identifier.",
)
@click.option("--keep", multiple=True, metavar="NAME", help="A cleaned file that is no outlier; may be repeated.")
@click.option("--policy", default="default", show_default=True, metavar="NAME", help="A built-in policy or a path.")
@click.option("--engine", default="processes", show_default=True, metavar="NAME", help="How files are spread.")
@click.option("--workers", type=click.IntRange(min=0), default=0, metavar="N", help="0 means one for each core.")
@click.option("--gate", is_flag=True, help="Leave with status 1 unless the verdict is PASS or CONDITIONAL.")
def command(
    source: Path,
    out: Path | None,
    key: Path | None,
    labels: Path | None,
    redact: str,
    keep: tuple[str, ...],
    policy: str,
    engine: str,
    workers: int,
    gate: bool,
) -> None:
    """De-identify originals; find text, outliers and wrong labels.

    DIR/files and DIR/labels.csv are what a study may use; DIR/closed names originals and never leaves. Nothing is
    changed in FOLDER. A killed run goes on where it was.
    """
    from chambit.core.study import Run
    from chambit.pipeline import preparing

    asked = preparing.asked_for(
        source,
        out,
        key,
        labels=labels,
        policy=policy,
        run=Run(engine=engine, workers=workers),
        redact=redact,
        keep=keep,
    )
    with _progress.told() as tell:
        closed = preparing.run(asked.wanted, asked.out, tell)
    _closing.listed(closed.evidence)
    click.echo()
    counts = closed.counts
    click.echo(
        f"{counts['found']:,} files in, {counts['released']:,} out, {counts['set aside']:,} set aside, "
        f"{counts['removed as outliers']:,} removed as outliers; {counts['beside']:,} lay beside."
    )
    click.secho(f"Verdict: {closed.verdict}", fg=_closing.COLOURS[closed.verdict], bold=True)
    click.echo(f"Page: {closed.page}")
    click.echo(f"For use: files and labels.csv in {closed.page.parent}; not for release: closed and work.")
    if gate and closed.verdict not in ("PASS", "CONDITIONAL"):
        sys.exit(1)
