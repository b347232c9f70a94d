"""Volumes of the dossier: every slice on one sheet that the page's viewer reads back into a volume.

Voxels are uint8 with axes (slice, row, column). The viewer cuts the three planes, projects and shades the volume while
it is turned. Without JavaScript and on paper stand the three middle planes and the maximum intensity projection.

Limits: slices are taken to be as far apart as pixels are wide, and the first slice to be the lowest, because the
synthetic set records neither; the page says so and lets the reader turn the volume over.
"""

from typing import Literal

import numpy as np

from chambit.core.evidence import Frozen
from chambit.report import viewer
from chambit.report.viewer import Pixels, Sheet

SIDES = (128, 112, 96, 80, 64)
BYTES = 1_300_000
"""A volume's file is made smaller until it is at most this large."""
_COLUMNS = 12


class Volume(Frozen):
    """One volume as the page holds it.

    Attributes:
        name: which.
        label: its class.
        role: where it is from.
        sheet: its slices without edges, first slice first.
        whole: slices, rows and columns before it was reduced.
        still: PNG of middle planes and projection.
    """

    name: str
    label: str
    role: Literal["synthetic", "real"]
    sheet: Sheet
    whole: tuple[int, int, int]
    still: bytes

    @property
    def shape(self) -> tuple[int, int, int]:
        """Slices, rows and columns as the page has them."""
        return self.sheet.count, self.sheet.height, self.sheet.width


def volume(voxels: Pixels, name: str, label: str, role: Literal["synthetic", "real"], largest: int = BYTES) -> Volume:
    """Reduce a volume until its file is small enough, and draw its still picture.

    Args:
        voxels: uint8 (D, H, W).
        name: which.
        label: its class.
        role: where it is from.
        largest: bytes of the file; below 64 voxels along the longest side nothing is reduced further.
    """
    depth, height, width = voxels.shape
    for side in SIDES:
        lengths = viewer.fitted(voxels.shape, side)
        small = viewer.resampled(voxels, dict(enumerate(lengths)))
        made = viewer.sheet(small, min(_COLUMNS, len(small)), edge=0)
        if len(made.png) <= largest:
            break
    still = viewer.png(planes(small))
    return Volume(name=name, label=label, role=role, sheet=made, whole=(depth, height, width), still=still)


def planes(voxels: Pixels, gap: int = 4) -> Pixels:
    """Axial, coronal and sagittal middle plane and the coronal projection, side by side on white, first slice lowest.

    Args:
        voxels: uint8 (D, H, W).
        gap: white pixels between them.

    Returns:
        uint8 (max(D, H), 3 W + H + 3 gaps).
    """
    depth, height, width = voxels.shape
    over = voxels[::-1]
    shown = [voxels[depth // 2], over[:, height // 2], over[:, :, width // 2], over.max(1)]
    high = max(depth, height)
    sheet = np.full((high, sum(part.shape[1] for part in shown) + gap * (len(shown) - 1)), 255, np.uint8)
    left = 0
    for part in shown:
        top = (high - part.shape[0]) // 2
        sheet[top : top + part.shape[0], left : left + part.shape[1]] = part
        left += part.shape[1] + gap
    return sheet
