"""Colour photographs of the retina, both eyes of each patient, with and without diabetic retinopathy, as PNG.

Layout: 0 outside the field of view, 1 retina, 2 disc, 3 cup, 4 vessels, 5 fovea. Mask: all lesions. What is drawn,
its sources and its limits: chambit.phantoms.fundus.
"""

from pathlib import Path
from typing import Any

from pydantic import Field

from chambit.core.evidence import Frozen
from chambit.phantoms.canvas import put_case
from chambit.phantoms.fundus import eyes
from chambit.phantoms.fundus.photograph import photograph

version = "1"
RATE = 70.0
FORM = {"channels": 3, "axis": ""}


class Options(Frozen):
    """`prevalence`: share of eyes with retinopathy; `contrast`: strength of the lesions, 1 as in patients."""

    prevalence: float = Field(0.5, gt=0, le=0.9)
    contrast: float = Field(1.0, ge=0, le=2)


def images(patients: int, options: Options) -> int:
    """Number of images of so many patients: two each."""
    return 2 * patients


def draw(folder: Path, first: int, count: int, pixels: int, seed: int, options: Options) -> list[dict[str, Any]]:
    """Draw patients first .. first + count - 1 and write their files; one row for each eye."""
    rows: list[dict[str, Any]] = []
    for index in range(first, first + count):
        who = eyes.person(seed, index, options.prevalence)
        subject = f"R{index:06d}"
        for eye in eyes.eyes(who, seed):
            taken = photograph(eye, pixels, options.contrast)
            mask = taken.mask if eye.label != "healthy" else None
            files = put_case(folder, f"{subject}/{subject}-{eye.side}", taken.picture, mask, taken.layout)
            told = {"sex": who.sex, "age_band": who.age_band, "site": who.site, "eye": eye.side}
            rows.append({"file": files["file"], "subject": subject, "label": eye.label} | told | files)
    return rows
