"""Look for a visible mark: a spot near an edge that is the same in every image, as generators stamp it.

A stamped mark does not follow the anatomy. In the border (a quarter of the height and width from each edge) the mean
over the set of a fine-detail image (image minus its blur) is compared with what chance leaves after averaging N images:

    z(pixel) = mean / (sd / sqrt(N)),  a mark is a connected region of at least `area` pixels whose detail is at least
    `strength` grey levels (of [0, 1]) and |z| at least `z`

and that the same statistic of the real images does not show at the same place (a border of the detector is in both). It
reports; it does not paint over. Invisible marks are not looked for and never attacked.
"""

from typing import NamedTuple

import numpy as np
from scipy import ndimage

from chambit.core.evidence import Frozen

version = "1"
geometry = False


class Options(Frozen):
    """From the policy.

    z: smallest standardised detail; strength: smallest detail, grey levels of [0, 1]; area: smallest, in pixels.
    """

    z: float
    strength: float
    area: int


class Mark(NamedTuple):
    """One mark: box (top, left, bottom, right) in pixels, bottom and right exclusive, and its mean strength."""

    top: int
    left: int
    bottom: int
    right: int
    strength: float


def find(synthetic: np.ndarray, real: np.ndarray, options: Options) -> list[Mark]:
    """Marks in synthetic images float32 (N, H, W) in [0, 1] that real images float32 (M, H, W) do not have."""
    detail, z = _detail(synthetic)
    other, _ = _detail(real)
    stands_out = (np.abs(z) >= options.z) & (np.abs(detail - other) >= options.strength)
    h, w = detail.shape
    border = np.ones((h, w), bool)
    border[h // 4 : h - h // 4, w // 4 : w - w // 4] = False
    labelled, _ = ndimage.label(stands_out & border)
    marks = []
    for number, (rows, columns) in enumerate(ndimage.find_objects(labelled), start=1):
        inside = labelled[rows, columns] == number
        if inside.sum() >= options.area:
            strength = float(np.abs(detail[rows, columns][inside]).mean())
            marks.append(Mark(rows.start, columns.start, rows.stop, columns.stop, strength))
    return sorted(marks, key=lambda mark: -mark.strength)


def _detail(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    fine = images - ndimage.gaussian_filter(images, (0, images.shape[1] / 16, images.shape[2] / 16))
    mean, sd = fine.mean(0), fine.std(0)
    return mean, mean / np.maximum(sd / np.sqrt(len(images)), 1e-6)
