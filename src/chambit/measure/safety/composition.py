"""Composition: of how many training subjects is each image put together, and how much of it comes from one of them?

An image composed of parts (divide and conquer: teeth, vessels, organs made one by one) has for each part a donor d and
a share w_p of the image's pixels; what is left of the image nobody gave by himself:

    largest share of an image  max_d sum of w_p over the parts of d,   null: every part of another donor
    share of the whole set     max_d of the mean over images of sum of w_p,   null: all training subjects alike

Nothing is estimated: what is counted was recorded when the images were composed. Known failure: it says who gave a
part, not how much of that person is left in it; whether a part is a copy is for `copies`. Where no donors are recorded
(column `donors`, JSON list of {part, subject, share} for each image) there is nothing to report.
"""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from chambit.core import digest
from chambit.core.errors import InputError, Problem
from chambit.core.evidence import Control, Finding, Frozen
from chambit.measure.examination import Examination, Result

version = "2"
COLUMN = "donors"


class Options(Frozen):
    """There are none: the limits are rules of the policy."""


def measure(exam: Examination, options: Options) -> Result:
    """Donors of each image, the largest share of one donor in an image and in the set; empty without donors."""
    if "synthetic" not in exam or COLUMN not in exam["synthetic"].table.columns:
        return Result(())
    table = exam["synthetic"].table
    given = [_read(text, name) if text else None for name, text in zip(table["id"], table[COLUMN], strict=True)]
    composed = [parts for parts in given if parts]
    if not composed:
        return Result(())
    by_donor = [shares(parts) for parts in composed]
    counts = np.array([len(of) for of in by_donor])
    largest = np.array([max(of.values()) for of in by_donor])
    parts = np.array([len(parts) for parts in composed])
    in_set: dict[str, float] = defaultdict(float)
    for of in by_donor:
        for donor, share in of.items():
            in_set[donor] += share / len(composed)
    unnamed = len(given) - len(composed)
    covered = np.array([sum(of.values()) for of in by_donor])
    common: dict[str, Any] = {
        "measure": f"composition@{version}",
        "n": {"images": len(composed), "donors": len(in_set), "train subjects": exam.subjects("train")},
        "control": _control(composed),
        "inputs": exam.inputs("train", "synthetic") | {COLUMN: digest.of_json(table[COLUMN].to_list())},
        "reason": f"{unnamed} further images name no donors; nothing is known of them." if unnamed else "",
    }
    details = {"unnamed": unnamed, "parts": float(np.median(parts))}
    findings = (
        Finding(
            **common,
            quantity="donors",
            value=float(counts.min()),
            unit="donors",
            null=float(np.median(parts)),
            direction="higher",
            details=details | {"median": float(np.median(counts))},
        ),
        Finding(
            **common,
            quantity="largest_share",
            value=float(largest.max()),
            null=float(np.median(covered / parts)),
            direction="lower",
            details=details | {"median": float(np.median(largest))},
        ),
        Finding(
            **common,
            quantity="set_share",
            value=max(in_set.values()),
            null=float(covered.mean() / max(exam.subjects("train"), len(in_set))),
            direction="lower",
            details=details,
        ),
    )
    counted, greatest = iter(counts.tolist()), iter(largest.tolist())
    scores = pl.DataFrame(
        {
            "composition.donors": pl.Series([next(counted) if parts else None for parts in given], dtype=pl.Int64),
            "composition.largest_share": pl.Series(
                [next(greatest) if parts else None for parts in given], dtype=pl.Float64
            ),
        }
    )
    return Result(findings, scores)


def _read(text: str, name: str) -> list[dict[str, Any]]:
    """The parts of one image."""
    try:
        parts = json.loads(text)
        if not parts or any(not part["subject"] or not float(part["share"]) > 0 for part in parts):
            raise ValueError("a part needs a subject and a share above 0")
    except (ValueError, TypeError, KeyError) as error:
        what = f"its column '{COLUMN}' is no list of parts with subject and share ({error})"
        raise InputError("The donors cannot be read.", [Problem(f"image {name}", what, "correct or drop it")]) from None
    return list(parts)


def shares(parts: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """How much of an image each donor gives; shares that add up to more than the image are brought to a sum of 1.

    >>> shares([{"part": "a", "subject": "x", "share": 0.25}, {"part": "b", "subject": "y", "share": 0.5},
    ...         {"part": "c", "subject": "x", "share": 0.25}])
    {'x': 0.5, 'y': 0.5}
    >>> shares([{"part": "a", "subject": "x", "share": 3}, {"part": "b", "subject": "y", "share": 1}])
    {'x': 0.75, 'y': 0.25}
    >>> shares([{"part": "a", "subject": "x", "share": 0.1}])
    {'x': 0.1}
    """
    total = max(1.0, sum(part["share"] for part in parts))
    out: dict[str, float] = defaultdict(float)
    for part in parts:
        out[str(part["subject"])] += part["share"] / total
    return dict(out)


def _control(composed: Sequence[Sequence[Mapping[str, Any]]]) -> Control:
    """An image of the set, all its parts given to one donor, must be seen among the others."""
    one = [{**part, "subject": composed[0][0]["subject"]} for part in composed[0]]
    planted = [shares(parts) for parts in [*composed, one]]
    alone = sum(len(of) == 1 for of in planted) - sum(len(shares(parts)) == 1 for parts in composed)
    whole, top = sum(shares(composed[0]).values()), max(max(of.values()) for of in planted)
    return Control(
        name="an image planted whose parts are all of one donor",
        expected=f"one more image of a single donor, largest share {whole:.3f} or more",
        observed=f"{alone} more, largest share {top:.3f}",
        fired=alone == 1 and top > whole - 1e-9,
    )
