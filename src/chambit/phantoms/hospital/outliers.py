"""Images that a cohort should not take: wrong in their pixels, or damaged as files."""

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Grey = NDArray[np.float32]


def inverted(grey: Grey, rng: np.random.Generator) -> Grey:
    """Black and white changed, while the header says nothing of it."""
    return np.subtract(np.float32(255), grey)


def blank(grey: Grey, rng: np.random.Generator) -> Grey:
    """An exposure without a patient: one grey level with the detector's noise."""
    level = float(rng.choice((4, 90, 240)))
    shown: Grey = np.clip(level + rng.standard_normal(grey.shape, dtype=np.float32), 0, 255)
    return shown


def saturated(grey: Grey, rng: np.random.Generator) -> Grey:
    """Burnt out: most of the chest lies above white."""
    shown: Grey = np.clip(grey * 3 + 70, 0, 255)
    return shown


def upside_down(grey: Grey, rng: np.random.Generator) -> Grey:
    """Turned by half a turn."""
    return np.ascontiguousarray(grey[::-1, ::-1])


def noise(grey: Grey, rng: np.random.Generator) -> Grey:
    """A tenth of the contrast and noise of a standard deviation of 60 grey levels."""
    shown: Grey = np.clip(110 + 0.3 * (grey - 110) + 60 * rng.standard_normal(grey.shape, dtype=np.float32), 0, 255)
    return shown


def other_modality(grey: Grey, rng: np.random.Generator) -> Grey:
    """An axial slice of a body, as CT shows it, among radiographs."""
    rows, columns = grey.shape
    y, x = np.mgrid[-1 : 1 : rows * 1j, -1 : 1 : columns * 1j].astype(np.float32)
    lean = float(rng.uniform(-0.05, 0.05))

    def inside(cx: float, cy: float, rx: float, ry: float) -> NDArray[np.bool_]:
        within: NDArray[np.bool_] = ((x - cx - lean * y) / rx) ** 2 + ((y - cy) / ry) ** 2 < 1
        return within

    slice_ = np.zeros_like(grey)
    slice_[inside(0, 0.05, 0.88, 0.64)] = 95
    slice_[inside(0, 0.05, 0.83, 0.58)] = 140
    for side in (-1, 1):
        slice_[inside(side * 0.43, 0.0, 0.3, 0.42)] = 12
        for turn in np.linspace(0.4, 2.7, 7):
            slice_[inside(side * (0.1 + 0.66 * np.sin(turn)), 0.05 - 0.5 * np.cos(turn), 0.05, 0.03)] = 225
    slice_[inside(0.1, -0.12, 0.24, 0.25)] = 155
    slice_[inside(0, 0.42, 0.11, 0.1)] = 230
    slice_[inside(0, 0.52, 0.05, 0.05)] = 130
    slice_[inside(0.08, 0.26, 0.06, 0.06)] = 165
    rough = ndimage.gaussian_filter(rng.standard_normal(grey.shape, dtype=np.float32), 1.2) * 14
    soft = ndimage.gaussian_filter(slice_, rows / 300) + rough * (slice_ > 0)
    shown: Grey = np.clip(soft, 0, 255).astype(np.float32)
    return shown


def truncated(content: bytes, rng: np.random.Generator) -> bytes:
    """A copy that broke off in its pixels, at 60 to 80 % of its length."""
    return content[: int(len(content) * rng.uniform(0.6, 0.8))]


def damaged(content: bytes, rng: np.random.Generator) -> bytes:
    """A fifth of the bytes, behind the middle, replaced by random ones, as from a bad disk."""
    first, many = int(len(content) * rng.uniform(0.5, 0.6)), len(content) // 5
    return content[:first] + rng.bytes(many) + content[first + many :]


PIXELS: Final[dict[str, Callable[[Grey, np.random.Generator], Grey]]] = {
    "inverted": inverted,
    "blank": blank,
    "saturated": saturated,
    "other_modality": other_modality,
    "upside_down": upside_down,
    "noise": noise,
}
"""Outliers in the pixels: float32 (rows, columns), brightness in [0, 255], in and out."""

BYTES: Final[dict[str, Callable[[bytes, np.random.Generator], bytes]]] = {"truncated": truncated, "damaged": damaged}
"""Outliers of the file."""

OUTLIERS: Final = (*PIXELS, *BYTES)
"""All kinds of outliers, in the order in which they are planted."""
