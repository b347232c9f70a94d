"""How many images and subjects each class has in each subgroup, and which cells are thin."""

from collections.abc import Sequence

import polars as pl

from chambit.core.errors import InputError, Problem
from chambit.images.imageset import ImageSet

NOT_TOLD = "(not told)"
CELLS = {
    "column": pl.String,
    "group": pl.String,
    "label": pl.String,
    "images": pl.Int64,
    "subjects": pl.Int64,
    "below": pl.Boolean,
}


def cells(images: ImageSet, columns: Sequence[str], least: int) -> pl.DataFrame:
    """Count class by subgroup, one column of the table at a time; cells that are empty have a row too.

    Args:
        images: the cohort.
        columns: such as sex, age_band, site, view.
        least: subjects below which a cell is thin. Images are no measure: ten of one person are one person.

    Returns:
        `column`, `group`, `label`, `images`, `subjects`, `below`, in order of columns, groups and labels.

    Raises:
        InputError: when the table has no such column.
    """
    lacking = [name for name in columns if name not in images.table.columns]
    if lacking:
        free = ", ".join(sorted(set(images.table.columns) - {"block", "row", "sha256"}))
        raise InputError(
            "The subgroups cannot be counted.",
            [Problem(f"column {name}", "the cohort has no such column", f"use one of {free}") for name in lacking],
        )
    return pl.concat([pl.DataFrame(schema=CELLS), *(_of(images.table, name, least) for name in columns)])


def _of(table: pl.DataFrame, column: str, least: int) -> pl.DataFrame:
    told = table.select(
        "subject",
        "label",
        group=pl.when(pl.col(column).cast(pl.String).fill_null("") == "")
        .then(pl.lit(NOT_TOLD))
        .otherwise(pl.col(column).cast(pl.String)),
    )
    every = told.select(pl.col("group").unique()).join(told.select(pl.col("label").unique()), how="cross")
    counts = told.group_by("group", "label").agg(
        pl.len().cast(pl.Int64).alias("images"), pl.col("subject").n_unique().cast(pl.Int64).alias("subjects")
    )
    return (
        every.join(counts, on=["group", "label"], how="left")
        .with_columns(pl.col("images", "subjects").fill_null(0), column=pl.lit(column))
        .with_columns(below=pl.col("subjects") < least)
        .sort("group", "label")
        .select(list(CELLS))
    )
