"""How the pictures of a volume lie in space and what their numbers mean, as columns of a labels file say it.

`axes` has a letter for each direction in which a number of a voxel grows: along the columns of a slice, along its rows,
from slice to slice; R or L, A or P, S or I (right, left, front, back, head, feet of the body), as nibabel writes them.
`spacing_mm` has the three distances between centres in the same order. `units_black` and `units_white` are what 0 and
the full scale stand for, in `units`. Where nothing is said, slices are taken to be axial, the lowest first, and voxels
to be cubes.
"""

import contextlib
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

COLUMNS = ("axes", "spacing_mm", "units", "units_black", "units_white")
AXIAL = "LPS"
"""Columns to the left, rows to the back, slices to the head: how radiologists look at axial slices."""
HU = "HU"
WINDOWS = {"lung": (-600, 1500), "soft": (40, 400), "bone": (400, 1800)}
"""Level and width in HU, as radiologists set them for lung, soft tissue and bone."""
_DIRECTION = {"R": (0, 1), "L": (0, -1), "A": (1, 1), "P": (1, -1), "S": (2, 1), "I": (2, -1)}


class Geometry(NamedTuple):
    """Where a volume's voxels lie.

    Attributes:
        axes: see above.
        spacing: millimetres along columns, rows and slices; of no unit where it was not recorded.
        oriented: whether the axes were recorded.
        measured: whether the spacing was recorded.
        units: of the values, '' where they mean nothing but brightness.
        black: value of 0.
        white: value of the full scale.
    """

    axes: str = AXIAL
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)
    oriented: bool = False
    measured: bool = False
    units: str = ""
    black: float = 0.0
    white: float = 0.0

    def rescale(self, full: int) -> tuple[float, float]:
        """Slope and intercept from stored numbers of this full scale to units; 1 and 0 where there are no units.

        >>> Geometry(units="HU", black=-160.0, white=350.0).rescale(255)
        (2.0, -160.0)
        """
        return ((self.white - self.black) / full, self.black) if self.units else (1.0, 0.0)

    def windows(self) -> dict[str, tuple[int, int]]:
        """Windows that the values can fill: their level lies between black and white, in HU.

        >>> Geometry(units="HU", black=-160.0, white=240.0).windows()
        {'soft': (40, 400)}
        """
        there = self.units == HU
        return {name: one for name, one in WINDOWS.items() if there and self.black <= one[0] <= self.white}

    def affine(self, columns: int, rows: int, slices: int) -> NDArray[np.float64]:
        """From numbers of a voxel (column, row, slice) to millimetres to the right, the front and the head, (4, 4).

        The middle of the volume is the origin, because a synthetic body lay in no scanner.

        >>> Geometry(spacing=(1.0, 1.0, 3.0)).affine(3, 3, 2).tolist()
        [[-1.0, 0.0, 0.0, 1.0], [0.0, -1.0, 0.0, 1.0], [0.0, 0.0, 3.0, -1.5], [0.0, 0.0, 0.0, 1.0]]
        """
        made = np.eye(4)
        made[:3, :3] = 0.0
        for number, letter in enumerate(self.axes):
            along, sign = _DIRECTION[letter]
            made[along, number] = sign * self.spacing[number]
        made[:3, 3] = -made[:3, :3] @ ((np.array([columns, rows, slices]) - 1) / 2) + 0.0
        return made


def of(row: Mapping[str, str]) -> Geometry:
    """What a row of a labels file says.

    Raises:
        ValueError: naming the column that cannot be understood.
    """
    axes, spacing = row.get("axes", ""), row.get("spacing_mm", "")
    if axes and (len(axes) != 3 or {_DIRECTION.get(letter, (-1,))[0] for letter in axes} != {0, 1, 2}):
        raise ValueError(f"axes: '{axes}' is not one letter of R or L, one of A or P and one of S or I")
    lengths = _numbers("spacing_mm", spacing, 3) if spacing else (1.0, 1.0, 1.0)
    if min(lengths) <= 0:
        raise ValueError(f"spacing_mm: '{spacing}' is not three lengths")
    units = row.get("units", "")
    black, white = (
        _numbers(name, row.get(name, ""), 1)[0] if units else 0.0 for name in ("units_black", "units_white")
    )
    if units and white <= black:
        raise ValueError(f"units_white: {white:g} is not more than units_black, {black:g}")
    return Geometry(axes or AXIAL, (*lengths,), bool(axes), bool(spacing), units, black, white)


def spaced(columns: float, rows: float, slices: float) -> str:
    """Three distances as `spacing_mm` has them.

    >>> spaced(0.5, 0.5, 3)
    '0.5 0.5 3'
    """
    return " ".join(f"{one:.6g}" for one in (columns, rows, slices))


def resized(fields: Mapping[str, str], before: tuple[int, ...], after: tuple[int, ...]) -> dict[str, str]:
    """What is told of a picture when it is brought to another size (rows, columns): `spacing_mm` follows.

    >>> resized({"spacing_mm": "1 1 3"}, (100, 50), (50, 50))
    {'spacing_mm': '1 2 3'}
    """
    told = dict(fields)
    with contextlib.suppress(ValueError):  # what makes no sense is left as it is, and refused where it is used
        across, down, apart = _numbers("spacing_mm", told.get("spacing_mm", ""), 3)
        told["spacing_mm"] = spaced(across * before[1] / after[1], down * before[0] / after[0], apart)
    return told


def _numbers(name: str, text: str, count: int) -> list[float]:
    try:
        numbers = [float(part) for part in text.split()]
    except ValueError:
        numbers = []
    if len(numbers) != count or not np.isfinite(numbers).all():
        raise ValueError(f"{name}: '{text}' is not {count} number{'s' if count > 1 else ''}")
    return numbers
