"""One cohort in three modalities: MR and CT slices and radiographs of the same people, as DICOM files."""

from pathlib import Path
from typing import Any

from pydantic import Field

from chambit.core.evidence import Frozen
from chambit.phantoms.body import cohort, files
from chambit.phantoms.body.person import person

version = files.VERSION
RATE = 22.0
FORM = {"channels": 1, "axis": ""}


class Options(Frozen):
    """`mri`, `ct`, `xray`: images per patient; `prevalence`: share of patients with a lesion; `layouts`: parts."""

    mri: int = Field(2, ge=0, le=64)
    ct: int = Field(2, ge=0, le=64)
    xray: int = Field(1, ge=0, le=16)
    prevalence: float = Field(0.5, ge=0, le=1)
    layouts: bool = True


def images(patients: int, options: Options) -> int:
    """Number of images of so many patients."""
    return patients * (options.mri + options.ct + options.xray)


def draw(folder: Path, first: int, count: int, pixels: int, seed: int, options: Options) -> list[dict[str, Any]]:
    """Draw patients first .. first + count - 1 and write their files; one row for each image."""
    rows = []
    for index in range(first, first + count):
        who = person(seed, index, options.prevalence)
        for modality, many in (("MR", options.mri), ("CT", options.ct), ("DX", options.xray)):
            for exam in cohort.exams(who, modality, many):
                rows.append(cohort.write(folder, who, exam, pixels, options.layouts))
    return rows
