"""Frontal chest radiographs with and without a focal consolidation, as DICOM files."""

from pathlib import Path
from typing import Any

from pydantic import Field

from chambit.core.evidence import Frozen
from chambit.phantoms import chest, dicom

version = dicom.VERSION
RATE = 180.0
FORM = {"channels": 1, "axis": ""}


class Options(Frozen):
    """`prevalence`: share of visits with a consolidation; `contrast`: largest thickness of consolidated lung, cm."""

    prevalence: float = Field(0.5, gt=0, lt=1)
    contrast: float = Field(3.4, ge=0)


def images(patients: int, options: Options) -> int:
    """Expected number of images of so many patients, who come one to three times."""
    return round(patients * 1.7)


def draw(folder: Path, first: int, count: int, pixels: int, seed: int, options: Options) -> list[dict[str, Any]]:
    """Draw patients first .. first + count - 1 and write their files; one row for each image."""
    seen = chest.visits(first, count, seed=seed, prevalence=options.prevalence)
    drawn, masks = chest.render(seen, pixels=pixels, seed=seed, contrast=options.contrast)
    spacing = 350.0 / pixels  # a 35 cm wide detector
    return dicom.write(folder, seen, drawn, masks, seed=seed, spacing_mm=spacing)
