"""B-mode ultrasound of the breast with a benign or malignant lesion, two views per patient, as grey PNG.

Layout: 0 outside the sector, 1 skin, 2 fat, 3 glandular layer, 4 muscle and chest wall, 5 lesion. Mask: the lesion,
in every image. Site A has a curved array, B and C linear ones. What is drawn: chambit.phantoms.ultrasound.
"""

from pathlib import Path
from typing import Any

from pydantic import Field

from chambit.core.evidence import Frozen
from chambit.phantoms.canvas import put_case
from chambit.phantoms.ultrasound import patients as people
from chambit.phantoms.ultrasound.scanner import scan

version = "1"
RATE = 84.0
FORM = {"channels": 1, "axis": ""}


class Options(Frozen):
    """`prevalence`: share of patients whose lesion is malignant."""

    prevalence: float = Field(0.5, gt=0, lt=1)


def images(patients: int, options: Options) -> int:
    """Number of images of so many patients: two each."""
    return len(people.VIEWS) * patients


def draw(folder: Path, first: int, count: int, pixels: int, seed: int, options: Options) -> list[dict[str, Any]]:
    """Draw patients first .. first + count - 1 and write their files; one row for each view."""
    rows: list[dict[str, Any]] = []
    for index in range(first, first + count):
        who = people.patient(seed, index, options.prevalence)
        subject = f"U{index:06d}"
        for seen in people.views(who, seed):
            taken = scan(seen, pixels)
            files = put_case(folder, f"{subject}/{subject}-{seen.view}", taken.picture, taken.mask, taken.layout)
            told = {"sex": "F", "age_band": who.age_band, "site": who.site, "view": seen.view}
            rows.append({"file": files["file"], "subject": subject, "label": who.label} | told | files)
    return rows
