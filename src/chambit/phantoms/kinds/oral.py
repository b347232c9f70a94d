"""Intra-oral colour photographs of a patient's teeth in the five standard views, with and without caries, as PNG.

A patient is photographed from the front, the left and the right with closed jaws, and over each arch. The label is
`caries` where decay is seen in that picture, else `sound`; the mask is the decayed area. The layout's values stand
in chambit.phantoms.oral.scene.Shot, and the teeth's in chambit.phantoms.oral.dentition.FDI. What is drawn, its
sources and its limits: chambit.phantoms.oral.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import Field

from chambit.core.errors import InputError, Problem
from chambit.core.evidence import Frozen
from chambit.phantoms.canvas import put_case
from chambit.phantoms.oral.dentition import mouth, stream
from chambit.phantoms.oral.scene import VIEWS, shot

version = "1"
RATE = 55.0
FORM = {"channels": 3, "axis": ""}


class Options(Frozen):
    """What a study may set.

    `prevalence`: share of patients with decayed teeth (about two thirds of their pictures show them);
    `missing_views`: share of patients of whom one of the five views was not taken.
    """

    prevalence: float = Field(0.65, gt=0, lt=1)
    missing_views: float = Field(0.0, ge=0, lt=1)


class Case(NamedTuple):
    """Which of the five views of one subject there are not, in the order of VIEWS; none where complete."""

    subject: str
    missing: tuple[str, ...]


def images(patients: int, options: Options) -> int:
    """Expected number of photographs of so many patients."""
    return round(patients * (len(VIEWS) - options.missing_views))


def draw(folder: Path, first: int, count: int, pixels: int, seed: int, options: Options) -> list[dict[str, Any]]:
    """Draw patients first .. first + count - 1 and write their files; one row for each photograph.

    Args:
        folder: Root of the cohort.
        first: Index of the first patient, at least 0.
        count: Number of patients.
        pixels: Height and width, at least 16.
        seed: Of the cohort.
        options: prevalence, missing_views.
    """
    return [row for index in range(first, first + count) for row in _patient(folder, index, pixels, seed, options)]


def fields(rows: Sequence[Mapping[str, Any]]) -> list[Case]:
    """List for each subject which of the five standard views are missing.

    Args:
        rows: One for each photograph, with `subject` and `view`.

    Returns:
        One case for each subject, in order of their names.

    Raises:
        InputError: where a row has no subject, or a view that is none of the five.
    """
    problems = []
    seen: dict[str, set[str]] = {}
    for number, row in enumerate(rows, start=1):
        where = str(row.get("file", "")) or f"row {number}"
        if not row.get("subject"):
            problems.append(Problem(where, "it names no subject", "fill the column 'subject'"))
        elif row.get("view") not in VIEWS:
            views = ", ".join(VIEWS)
            problems.append(Problem(where, f"its view is '{row.get('view') or ''}'", f"name one of {views}"))
        else:
            seen.setdefault(str(row["subject"]), set()).add(str(row["view"]))
    if problems:
        raise InputError("The five views cannot be counted.", problems)
    return [Case(name, tuple(view for view in VIEWS if view not in seen[name])) for name in sorted(seen)]


def _patient(folder: Path, index: int, pixels: int, seed: int, options: Options) -> list[dict[str, Any]]:
    person, subject = mouth(seed, index, options.prevalence), f"T{index:06d}"
    rng = stream(seed, index, 9)
    left_out = VIEWS[int(rng.integers(len(VIEWS)))] if rng.random() < options.missing_views else ""
    rows = []
    for view in VIEWS:
        if view == left_out:
            continue
        taken = shot(person, view, pixels, seed, index)
        ill = bool(taken.mask.any())
        files = put_case(folder, f"{subject}/{subject}-{view}", taken.image, taken.mask if ill else None, taken.layout)
        told = {"subject": subject, "label": "caries" if ill else "sound", "view": view, "teeth": str(taken.teeth)}
        rows.append(files | told | dict(person.words))
    return rows
