"""Views: the ways a copy may sit in its picture, each a linear map of a square of 64 x 64 pixels.

A view says which window of the query is held against which window of a reference: the whole query against a crop of the
reference finds a cropped copy, a quarter against the same quarter a pasted one. Views that answer one question form a
group.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import sparse

SOURCE = 64
"""Side in pixels of the square every picture is brought to before it is viewed."""


class Window(NamedTuple):
    """A rectangle in fractions of the picture, turned about its centre; beyond the border the edge repeats."""

    top: float = 0.0
    left: float = 0.0
    height: float = 1.0
    width: float = 1.0
    degrees: float = 0.0

    def centred(self) -> "Window":
        """The window of the same size and angle in the middle of the picture."""
        return self._replace(top=(1 - self.height) / 2, left=(1 - self.width) / 2)

    def affine(self, aspect: float) -> np.ndarray:
        """The map float64 (2, 3) from (y, x, 1) in the window to (y, x) in the picture, both in -1 .. 1.

        Args:
            aspect: height over width of the picture in pixels; angles are true in pixels, not in fractions.
        """
        angle = np.deg2rad(self.degrees)
        cos, sin = np.cos(angle), np.sin(angle)
        across, along = sin * self.width / aspect, sin * self.height * aspect
        return np.array(
            [
                [cos * self.height, -across, 2 * self.top + self.height - 1],
                [along, cos * self.width, 2 * self.left + self.width - 1],
            ]
        )

    def sampling(self, side: int, aspect: float) -> sparse.csr_matrix:
        """The linear map (side * side, SOURCE * SOURCE) that samples this window; every row sums to one.

        SOURCE x SOURCE points are interpolated linearly and averaged in squares, so that shrinking does not alias.
        """
        steps = (2 * np.arange(SOURCE) + 1) / SOURCE - 1
        at = np.stack([*np.meshgrid(steps, steps, indexing="ij"), np.ones((SOURCE, SOURCE))]).reshape(3, -1)
        y, x = np.clip(((self.affine(aspect) @ at + 1) * SOURCE - 1) / 2, 0, SOURCE - 1)
        row, column = np.floor(y).astype(int), np.floor(x).astype(int)
        cell = np.add.outer(np.arange(SOURCE) * side // SOURCE * side, np.arange(SOURCE) * side // SOURCE).ravel()
        pooled = (SOURCE // side) ** 2
        weights, sources = [], []
        for dy, dx in ((0, 0), (0, 1), (1, 0), (1, 1)):
            weights.append((y - row if dy else 1 - y + row) * (x - column if dx else 1 - x + column) / pooled)
            sources.append(np.minimum(row + dy, SOURCE - 1) * SOURCE + np.minimum(column + dx, SOURCE - 1))
        entries = (np.concatenate(weights), (np.tile(cell, 4), np.concatenate(sources)))
        return sparse.csr_matrix(entries, shape=(side * side, SOURCE * SOURCE))


WHOLE = Window()


class View(NamedTuple):
    """A window of the query held against a window of the reference."""

    query: Window
    reference: Window


@dataclass(frozen=True)
class Group:
    """Views that answer one question.

    Attributes:
        name: public name.
        views: of which the best counts.
        turns: which changes of the query are tried: the eight flips and quarter turns in the order of
            `descriptors.TURNS`, then the same of its negative (8 .. 15).
        side: pixels a side of the sampled window; divides SOURCE.
        axes: principal axes of the population that are kept.
        smooth: index of the axis whose variance is added to all, so that the last axes are not blown up.
        own: whether each view has axes of its own; else those of the window in the middle, and only its own mean.
    """

    name: str
    views: tuple[View, ...]
    turns: tuple[int, ...]
    side: int
    axes: int
    smooth: int
    own: bool = True


def _crops() -> Iterator[View]:
    for share in (0.9, 0.8, 0.7):
        yield View(WHOLE, Window(height=share))
        yield View(WHOLE, Window(top=1 - share, height=share))
    for share, count in ((0.9, 5), (0.8, 7), (0.7, 9)):
        for top in np.linspace(0, 1 - share, count):
            for left in np.linspace(0, 1 - share, count):
                yield View(WHOLE, Window(top, left, share, share))


def _moved() -> Iterator[View]:
    for down in (-0.05, 0.0, 0.05):
        for right in (-0.05, 0.0, 0.05):
            if down or right:
                yield View(WHOLE, Window(top=down, left=right))


def _parts(*windows: tuple[float, float, float, float]) -> tuple[View, ...]:
    return tuple(View(Window(*window), Window(*window)) for window in windows)


_ALL, _MIRRORED = tuple(range(16)), (0, 4)
_WHOLE = (View(WHOLE, WHOLE),)
_QUARTERS = _parts(*((top, left, 0.5, 0.5) for top in (0, 0.5) for left in (0, 0.5)), (0.25, 0.25, 0.5, 0.5))

SCORED = (
    Group("frame", _WHOLE, _ALL, 32, 64, 32),
    Group("detail", _WHOLE, _ALL, 32, 256, 128),
    Group("quarter", _QUARTERS, _MIRRORED, 16, 64, 32),
)
"""Groups whose likeness counts as it is."""

HINTS = (
    Group("crop", tuple(_crops()), _MIRRORED, 16, 48, 24, own=False),
    Group(
        "tilt",
        tuple(View(WHOLE, Window(degrees=d)) for d in (-15, -10, -5, 5, 10, 15)),
        _MIRRORED,
        16,
        48,
        24,
        own=False,
    ),
    Group("shift", tuple(_moved()), _MIRRORED, 16, 48, 24, own=False),
)
"""Groups that only say where to look: their best references are registered and compared pixel by pixel."""
