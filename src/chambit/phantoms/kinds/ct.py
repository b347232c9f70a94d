"""Axial CT slices of chest and abdomen, some with a lesion of lung or liver, as DICOM files."""

from pathlib import Path
from typing import Any

from pydantic import Field

from chambit.core.evidence import Frozen
from chambit.phantoms.body import cohort, files
from chambit.phantoms.body.person import person

version = files.VERSION
RATE = 40.0
FORM = {"channels": 1, "axis": ""}
PARTS = ("chest", "abdomen")


class Options(Frozen):
    """`slices`: per patient; `prevalence`: share of patients with a lesion; `layouts`: parts."""

    slices: int = Field(4, ge=1, le=64)
    prevalence: float = Field(0.5, ge=0, le=1)
    layouts: bool = True


def images(patients: int, options: Options) -> int:
    """Number of images of so many patients."""
    return patients * options.slices


def draw(folder: Path, first: int, count: int, pixels: int, seed: int, options: Options) -> list[dict[str, Any]]:
    """Draw patients first .. first + count - 1 and write their files; one row for each image."""
    rows = []
    for index in range(first, first + count):
        who = person(seed, index, options.prevalence)
        for exam in cohort.exams(who, "CT", options.slices, PARTS):
            rows.append(cohort.write(folder, who, exam, pixels, options.layouts))
    return rows
