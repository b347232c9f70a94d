"""`chambit sample STUDY`: draw more with what a finished run has trained."""

from pathlib import Path

import click

from chambit.commands import _progress


@click.command("sample")
@click.argument("study", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), metavar="DIR", help="Where the run is.  [default: out/STUDY]")
@click.option("--into", type=click.Path(path_type=Path), required=True, metavar="DIR", help="A new folder.")
@click.option("--images", type=click.IntRange(1), help="How many to draw.")
@click.option("--label", default="", help="Of which class alone.")
@click.option("--style", multiple=True, metavar="NAME=VALUE", help="A factor or number every image gets.")
@click.option("--fill-gaps", is_flag=True, help="Raise thin cells of class and factors to the quota.")
@click.option("--by", default="", metavar="A,B", help="The factors of the cells.  [default: those of the recipe]")
@click.option("--quota", type=click.IntRange(1), help="Items of each cell.  [default: the median cell of training]")
def command(
    study: Path,
    out: Path | None,
    into: Path,
    images: int | None,
    label: str,
    style: tuple[str, ...],
    fill_gaps: bool,
    by: str,
    quota: int | None,
) -> None:
    """Draw more with what a finished run has trained.

    The images are examined by nothing and are not for release. To release filled cells, use `recipe.sample.fill`.
    """
    from chambit.core.errors import InputError, Problem
    from chambit.core.recipe import Fill
    from chambit.pipeline import more
    from chambit.pipeline import study as pipeline

    if wrong := [entry for entry in style if "=" not in entry]:
        raise InputError("The style cannot be read.", [Problem(wrong[0], "has no =", "write it as NAME=VALUE")])
    if images is None and not fill_gaps:
        raise InputError("Nothing is to be drawn.", [Problem("chambit sample", "--images or --fill-gaps is needed")])
    ready = pipeline.read(study)
    folder = pipeline.folder_of(ready, out)
    fill = None
    if fill_gaps:
        fill = more.quota_of(ready, folder, tuple(name for name in by.split(",") if name))
        fill = Fill(by=fill.by, quota=quota or fill.quota)
    asked = more.Asked(images, label, dict(entry.split("=", 1) for entry in style), fill)
    with _progress.told() as tell:
        drawn = more.draw(ready, folder, into, asked, tell)
    for cell, before, after in drawn.raised:
        click.echo(f"  {cell}: {before} -> {after}")
    click.echo(f"Drew {drawn.items:,} items into {drawn.folder}. They were not examined and are not for release.")
