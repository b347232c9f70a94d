"""What a run prints at its end: the verdict, what decided it, and where the files are."""

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from chambit.core.evidence import Evidence
    from chambit.pipeline.closing import Closed

COLOURS = {
    "PASS": "green",
    "CONDITIONAL": "yellow",
    "NOT_RUN": "magenta",
    "INVALID": "magenta",
    "FAIL": "red",
}


def show(closed: "Closed", gate: bool) -> None:
    """Print the outcome; with `gate` leave with status 1 unless it is PASS or CONDITIONAL."""
    listed(closed.evidence)
    click.echo()
    click.secho(f"Verdict: {closed.verdict}", fg=COLOURS[closed.verdict], bold=True)
    click.echo(f"Dossier: {closed.dossier}")
    click.echo(f"Beside it: evidence.json, images.parquet, verdict.json in {closed.dossier.parent}")
    if gate and closed.verdict not in ("PASS", "CONDITIONAL"):
        sys.exit(1)


def listed(evidence: "Iterable[Evidence]") -> None:
    """Print every piece of evidence, and the reason of each that does not pass."""
    click.echo()
    for item in evidence:
        value = "not run" if item.value is None else f"{item.value:.4g}"
        if item.value is not None and item.interval is not None:
            value += f" ({item.interval.low:.4g} to {item.interval.high:.4g})"
        click.echo(f"  {click.style(f'{item.verdict:<12}', fg=COLOURS[item.verdict])} {item.key:<30} {value}")
        if item.verdict != "PASS":
            click.echo(f"  {'':<12} {item.because}")
