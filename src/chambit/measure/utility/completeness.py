"""Completeness of cases: has every case all the views that a real one has, such as the five of an intra-oral record?

    cases = share of the synthetic cases in which no level of the column is missing

A case is what the column `case` says, else a subject. The column counts as a record of views where most of the real
training subjects have all of its levels; of a set whose people come with one view or another (frontal chest
radiographs, from the front or from behind) there is nothing to report. Every missing view is listed.

Known failure: that views are there does not say that they show one and the same person.
"""

from collections import Counter
from collections.abc import Mapping

import polars as pl

from chambit.core.evidence import Finding, Frozen, Interval
from chambit.images.imageset import ImageSet
from chambit.measure import interval
from chambit.measure.examination import Examination, Result

version = "1"
SHOWN = 30


class Options(Frozen):
    """by: columns that may be a record of views, the first that is one counts; typical: share of the real subjects that
    must have all levels for that; level: of the interval.
    """

    by: tuple[str, ...] = ("view",)
    typical: float = 0.5
    level: float = 0.95


def measure(exam: Examination, options: Options) -> Result:
    """Share of synthetic cases that are whole; nothing where real people do not come with every view."""
    if not {"train", "synthetic"} <= set(exam.sets):
        return Result(())
    for column in options.by:
        if not all(column in exam[role].table.columns for role in ("train", "synthetic")):
            continue
        levels = sorted(set(exam["train"].table[column].cast(pl.String).drop_nulls()) - {""})
        real = missing(exam["train"], column, levels)
        if len(levels) > 1 and whole(real) >= options.typical:
            return Result((_cases(exam, column, levels, real, options),))
    return Result(())


def missing(images: ImageSet, column: str, levels: list[str]) -> dict[str, tuple[str, ...]]:
    """For each case of a set the levels that none of its images has."""
    case = "case" if "case" in images.table.columns else "subject"
    rows = images.table.select(pl.col(case).cast(pl.String), pl.col(column).cast(pl.String).alias("level"))
    seen = rows.group_by(case, maintain_order=True).agg("level")
    return {str(name): tuple(level for level in levels if level not in set(found)) for name, found in seen.rows()}


def whole(lacking: Mapping[str, tuple[str, ...]]) -> float:
    """Share of cases that lack nothing.

    >>> whole({"a": (), "b": ("upper",)})
    0.5
    """
    return sum(not absent for absent in lacking.values()) / len(lacking) if lacking else 0.0


def _cases(
    exam: Examination, column: str, levels: list[str], real: Mapping[str, tuple[str, ...]], options: Options
) -> Finding:
    made = missing(exam["synthetic"], column, levels)
    complete = sum(not absent for absent in made.values())
    low, high = interval.clopper_pearson(complete, len(made), options.level)
    return Finding(
        measure=f"completeness@{version}",
        quantity="cases",
        value=whole(made),
        interval=Interval(low=low, high=high, level=options.level, method="Clopper-Pearson, by case"),
        n={"synthetic cases": len(made), "train subjects": len(real), "views": len(levels)},
        null=1.0,
        direction="higher",
        details={
            "column": column,
            "levels": ", ".join(levels),
            "real": whole(real),
            "missing": _counts(made, levels),
            "missing_in_real": _counts(real, levels),
            "listed": [{"case": name, "missing": list(absent)} for name, absent in made.items() if absent][:SHOWN],
        },
        inputs=exam.inputs("train", "synthetic"),
    )


def _counts(lacking: Mapping[str, tuple[str, ...]], levels: list[str]) -> dict[str, int]:
    """How many cases lack each level."""
    counts = Counter(level for absent in lacking.values() for level in absent)
    return {level: counts[level] for level in levels}
