"""`chambit inspect`: what was delivered, against the contract."""

import datetime
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from chambit.commands import _progress

if TYPE_CHECKING:
    from chambit.pipeline.inspecting import Inspected

FOLDER = click.Path(path_type=Path)
COLOURS = {"met": "green", "cannot be told": "yellow", "not met": "red"}
SHOWN = 30  # differences that are printed; a terminal holds no more


@click.command("inspect")
@click.argument("contract", type=FOLDER, required=False)
@click.argument("folder", type=FOLDER, required=False)
@click.option("--out", type=FOLDER, metavar="DIR", help="Where the files go.  [default: out/CONTRACT]")
@click.option("--labels", type=FOLDER, metavar="CSV", help="The table of labels.  [default: as the contract names it]")
@click.option(
    "--word",
    default="",
    metavar="TEXT",
    help="Said after the delivery, for the draw of the sample: without it a supplier can draw it beforehand.",
)
@click.option("--labels-checked", type=FOLDER, metavar="CSV", help="label_sample.csv as the readers filled it.")
@click.option("--engine", default="processes", show_default=True, metavar="NAME", help="How chunks are spread.")
@click.option(
    "--workers", type=click.IntRange(min=0), default=0, metavar="N", help="Worker processes; 0 means one for each core."
)
@click.option("--gate", is_flag=True, help="Leave with status 1 unless every line of the contract is met.")
@click.option(
    "--compare",
    type=FOLDER,
    nargs=2,
    metavar="A B",
    help="Say whether two inspection.json are equal; status 1 if they are not.",
)
def command(
    contract: Path | None,
    folder: Path | None,
    out: Path | None,
    labels: Path | None,
    word: str,
    labels_checked: Path | None,
    engine: str,
    workers: int,
    gate: bool,
    compare: tuple[Path, Path] | None,
) -> None:
    """Inspect what was delivered against its contract.

    CONTRACT is a YAML file (examples/contract.yaml is one), FOLDER is what was delivered. Counts, duplicates, formats,
    sizes and labels are checked line by line, and a sample of labels is drawn for readers.
    """
    if compare:
        if contract is not None:
            raise click.UsageError("--compare takes two inspection.json and nothing else")
        _compare(*compare)
        return
    if contract is None or folder is None:
        raise click.UsageError("give CONTRACT and FOLDER, or --compare A B")
    from chambit.core.study import Run
    from chambit.pipeline import inspecting
    from chambit.prepare import contract as contracts

    agreed = contracts.load(contract)
    wanted = inspecting.Request(
        agreed, contract, folder, labels, labels_checked, word, Run(engine=engine, workers=workers)
    )
    target = (out or Path("out") / contract.stem).resolve()
    with _progress.told() as tell:
        done = inspecting.run(wanted, target, tell)
    _show(done)
    if gate and done.inspection.outcome != "met":
        sys.exit(1)


def _show(done: "Inspected") -> None:
    from chambit.report.inspection import row

    click.echo()
    for line in done.inspection.lines:
        worded = row(line)
        mark = click.style(f"{line.outcome:<15}", fg=COLOURS[line.outcome])
        contracted, delivered, off = worded.contracted.en, worded.delivered.en, worded.deviation.en
        click.echo(f"  {mark} {worded.name.en}: contracted {contracted}, delivered {delivered}, deviation {off}")
        if worded.reason.en and line.outcome != "met":
            click.echo(f"  {'':<15} {worded.reason.en}")
    click.echo()
    outcome = done.inspection.outcome
    click.secho(f"Contract: {outcome}", fg=COLOURS[outcome], bold=True)
    click.echo(f"Inspected at {datetime.datetime.now().astimezone().isoformat(timespec='seconds')}")
    click.echo(f"Page: {done.page}")
    if "label_sample.csv" in done.inspection.digests:
        click.echo(f"Labels to be read: {done.page.parent / 'label_sample.csv'}; then give it to --labels-checked")


def _compare(one: Path, other: Path) -> None:
    from chambit.pipeline import inspecting

    found = inspecting.compare(one, other)
    if not found:
        click.secho("Equal: every number of the two inspections is the same.", fg="green", bold=True)
        return
    click.secho(f"Not equal: {len(found)} difference(s).", fg="red", bold=True)
    for difference in found[:SHOWN]:
        click.echo(f"  {difference.place}: {difference.one} | {difference.other}")
    if len(found) > SHOWN:
        click.echo(f"  and {len(found) - SHOWN} more")
    sys.exit(1)
