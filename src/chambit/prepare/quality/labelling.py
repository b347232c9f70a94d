"""Labels that a person should look at: conflicts between duplicates, and suspected errors. Nothing is changed."""

from typing import NamedTuple

import numpy as np
import polars as pl

from chambit.images.imageset import ImageSet
from chambit.prepare.quality import confident, duplicates, typical
from chambit.prepare.quality.described import describe
from chambit.prepare.quality.options import Options

LISTED = {
    "rank": pl.Int64,
    "id": pl.String,
    "file": pl.String,
    "kind": pl.String,
    "label": pl.String,
    "suggested": pl.String,
    "probability": pl.Float64,
    "margin": pl.Float64,
    "expected": pl.Float64,
    "reason": pl.String,
    "reason_ko": pl.String,
    "twin": pl.String,
}
JOINT = {"label": pl.String, "suggested": pl.String, "images": pl.Int64, "expected": pl.Float64}


class Review(NamedTuple):
    """Labels to look at.

    Attributes:
        listed: a row for each image: conflicts first, then suspected errors, the most doubtful first.
        joint: for each pair of classes how many `images` have the label and how many of them are `expected` to be of
            the class `suggested`; empty where suspected errors were not looked for.
        auroc: of the classifier behind it, None where there is none.
        reason: why suspected errors were not looked for, or "".
    """

    listed: pl.DataFrame
    joint: pl.DataFrame
    auroc: float | None
    reason: str


def labels(images: ImageSet, options: Options, rng: np.random.Generator) -> pl.DataFrame:
    """The images whose labels a person should look at: `review(...).listed`.

    Returns:
        `rank`, `id`, `file`, `kind` (`conflict` or `suspected`), `label`, `suggested`, `probability` of the label as it
        is, `margin` (lower is more doubtful), `expected` errors of this pair of classes in the cohort, `reason`,
        `reason_ko` and `twin`, the other image of a conflict.
    """
    return review(images, options, rng).listed


def review(images: ImageSet, options: Options, rng: np.random.Generator) -> Review:
    """Conflicts and suspected errors; classes with fewer than `label_least` subjects are left out of the latter.

    Args:
        images: the cohort.
        options: see `Options`.
        rng: draws the parts by subject.
    """
    x = describe(images, options).flat()
    rows = _conflicts(images, x, options)
    told = images.table.group_by("label").agg(pl.col("subject").n_unique().alias("subjects"))
    enough = told.filter((pl.col("subjects") >= options.label_least) & (pl.col("label") != ""))["label"].to_list()
    at = np.flatnonzero(np.isin(images.labels, enough))
    if len(enough) < 2:
        reason = f"{len(enough)} classes have {options.label_least} subjects or more, two are needed"
        return Review(_listed(rows, images.table), pl.DataFrame(schema=JOINT), None, reason)
    found = confident.doubts(x[at], images.labels[at], images.subjects[at], options, rng)
    if found.auroc < options.label_auroc:
        reason = (
            f"the classifier cannot tell the classes apart: its AUROC is {found.auroc:.2f}, below {options.label_auroc}"
        )
        return Review(_listed(rows, images.table), pl.DataFrame(schema=JOINT), found.auroc, reason)
    rows += _suspected(images, found, at)
    given = np.unique(images.labels[at], return_inverse=True)[1]
    counts = np.bincount(given)
    pairs = [
        {"label": str(a), "suggested": str(b), "images": int(counts[i]), "expected": float(found.joint[i, j])}
        for i, a in enumerate(found.classes)
        for j, b in enumerate(found.classes)
        if i != j
    ]
    return Review(_listed(rows, images.table), pl.DataFrame(pairs, schema=JOINT), found.auroc, "")


def _conflicts(images: ImageSet, x: np.ndarray, options: Options) -> list[dict[str, object]]:
    """Both images of each pair of duplicates that has two labels."""
    if len(images) < options.least:
        return []  # too few for a limit of likeness; intake has refused exact copies with two labels
    model = typical.plane(x[: options.fitted], duplicates.AXES)
    found = duplicates.pairs(x, model, images.subjects, options.false_pairs)
    rows: list[dict[str, object]] = []
    for a, b, sure in zip(found.first, found.second, found.sure, strict=True):
        one, other = str(images.labels[a]), str(images.labels[b])
        if one == other or not sure:
            continue
        for at, twin, mine, theirs in ((int(a), int(b), one, other), (int(b), int(a), other, one)):
            name = images.table["id"][twin]
            rows.append(
                {
                    "at": at,
                    "kind": "conflict",
                    "label": mine,
                    "suggested": theirs,
                    "twin": name,
                    "reason": f"its duplicate {name} is labelled '{theirs}'",
                    "reason_ko": f"중복 영상 {name}의 라벨은 '{theirs}'",
                }
            )
    return rows


def _suspected(images: ImageSet, found: confident.Doubts, at: np.ndarray) -> list[dict[str, object]]:
    order = [int(i) for i in np.argsort(found.margin, kind="stable") if found.suspected[i] >= 0]
    rows: list[dict[str, object]] = []
    for i in order:
        label = str(images.labels[at[i]])
        given, better = int(np.flatnonzero(found.classes == label)[0]), int(found.suspected[i])
        own, suggested = float(found.probabilities[i, given]), str(found.classes[better])
        rows.append(
            {
                "at": int(at[i]),
                "kind": "suspected",
                "label": label,
                "suggested": suggested,
                "probability": own,
                "margin": float(found.margin[i]),
                "expected": float(found.joint[given, better]),
                "reason": f"labelled '{label}' (probability {own:.2f}), looks like '{suggested}'",
                "reason_ko": f"라벨은 '{label}'(확률 {own:.2f})이나 '{suggested}'에 가까움",
                "twin": "",
            }
        )
    return rows


def _listed(rows: list[dict[str, object]], table: pl.DataFrame) -> pl.DataFrame:
    files = table["file"].to_list() if "file" in table.columns else [""] * len(table)
    told = [
        row | {"rank": rank, "id": table["id"][int(str(row["at"]))], "file": files[int(str(row["at"]))]}
        for rank, row in enumerate(rows, start=1)
    ]
    return pl.DataFrame([{name: row.get(name) for name in LISTED} for row in told], schema=LISTED)
