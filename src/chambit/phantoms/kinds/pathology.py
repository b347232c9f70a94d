"""Patches of colon stained with haematoxylin and eosin, benign glands or tumour, several per patient, as PNG.

Layout: 1 stroma, 2 gland epithelium, 3 lumen, 4 nuclei. Mask: tumour epithelium with its nuclei. The field is the
same at every number of pixels: 512 are a scan at 20x. What is drawn: chambit.phantoms.pathology.
"""

from pathlib import Path
from typing import Any

from pydantic import Field

from chambit.core.evidence import Frozen
from chambit.phantoms.canvas import put_case
from chambit.phantoms.pathology import patients as people
from chambit.phantoms.pathology.patch import patch

version = "1"
RATE = 56.0
FORM = {"channels": 3, "axis": ""}


class Options(Frozen):
    """`prevalence`: share of patches with tumour; `patches`: of a patient; `field_um`: width of a patch."""

    prevalence: float = Field(0.5, gt=0, lt=1)
    patches: int = Field(4, ge=1, le=64)
    field_um: float = Field(256.0, ge=64, le=1024)


def images(patients: int, options: Options) -> int:
    """Number of images of so many patients."""
    return patients * options.patches


def draw(folder: Path, first: int, count: int, pixels: int, seed: int, options: Options) -> list[dict[str, Any]]:
    """Draw patients first .. first + count - 1 and write their files; one row for each patch."""
    rows: list[dict[str, Any]] = []
    for index in range(first, first + count):
        who = people.patient(seed, index)
        subject = f"H{index:06d}"
        for section in people.sections(who, seed, options.patches, options.prevalence):
            made = patch(section, pixels, options.field_um)
            mask = made.mask if section.label == "tumour" else None
            files = put_case(folder, f"{subject}/{subject}-p{section.number}", made.picture, mask, made.layout)
            told = {"sex": who.sex, "age_band": who.age_band, "site": who.site, "patch": str(section.number)}
            rows.append({"file": files["file"], "subject": subject, "label": section.label} | told | files)
    return rows
