"""`chambit dossier RUN`: the dossier of a finished run as PDF, for paper and archive."""

from pathlib import Path

import click


@click.command("dossier")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--language", type=click.Choice(["ko", "en"]), help="One language alone.  [default: both]")
@click.option("--out", type=click.Path(path_type=Path), metavar="DIR", help="Where the files go.  [default: RUN]")
def command(run: Path, language: str | None, out: Path | None) -> None:
    """Write the dossier of a finished run as PDF, by language.

    RUN is the output folder of a run. The HTML page and its twin in JSON lie there already; the PDF has the evidence,
    the verdict and the twin as attachments. The same run gives the same bytes.
    """
    from chambit.core.store import write_atomically
    from chambit.report import paper
    from chambit.report.medium import LANGUAGES

    target = (out or run).resolve()
    for chosen in LANGUAGES:
        if language in (None, chosen):
            made = paper.of_run(run.resolve(), chosen)
            target.mkdir(parents=True, exist_ok=True)
            write_atomically(target / f"dossier.{chosen}.pdf", made)
            click.echo(f"{target / f'dossier.{chosen}.pdf'} ({len(made) / 1e6:.1f} MB)")
