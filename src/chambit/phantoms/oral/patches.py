"""Teeth as boxes of pixels, all boxes of a view in one flat array: each pixel knows its tooth.

Limits: boxes are upright rectangles, so their corners are computed in vain.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from chambit.phantoms.oral.dentition import Floats

Each = Callable[[np.ndarray], Floats]


class Boxes(NamedTuple):
    """N rectangles of the canvas, cut at its borders: first row and column, height and width, each (N,) int."""

    row: np.ndarray
    column: np.ndarray
    high: np.ndarray
    wide: np.ndarray

    @property
    def owner(self) -> np.ndarray:
        """Box of each of the P pixels, (P,)."""
        return np.repeat(np.arange(self.row.size), self.high * self.wide)

    def pixels(self) -> tuple[Floats, Floats]:
        """Rows and columns of the centres of all pixels, each (P,), box after box."""
        own = self.owner
        start = np.cumsum(self.high * self.wide) - self.high * self.wide
        within = np.arange(own.size) - start[own]
        down, right = np.divmod(within, self.wide[own])
        half = np.float32(0.5)
        return (self.row[own] + down).astype(np.float32) + half, (self.column[own] + right).astype(np.float32) + half

    def slices(self) -> Iterator[tuple[slice, tuple[int, int]]]:
        """Where the pixels of each box lie in the flat array, and the box's shape."""
        start = 0
        for high, wide in zip(self.high.tolist(), self.wide.tolist(), strict=True):
            yield slice(start, start + high * wide), (high, wide)
            start += high * wide


class Patches(NamedTuple):
    """N painted teeth, the farthest first.

    Attributes:
        teeth: (N,) indices into FDI.
        boxes: Where they lie.
        cover: (P,) 0..1.
        colour: (P, 3) linear light.
        lesion: (P,) share of decay, 0..1.
    """

    teeth: np.ndarray
    boxes: Boxes
    cover: Floats
    colour: Floats
    lesion: Floats


def spread(owner: np.ndarray) -> Each:
    """Make the function that gives each pixel its tooth's value: (N, ...) to (P, ...), float32."""

    def each(values: np.ndarray) -> Floats:
        each_own: Floats = np.asarray(values, np.float32)[owner]
        return each_own

    return each


def boxes(size: int, left: np.ndarray, top: np.ndarray, right: np.ndarray, bottom: np.ndarray) -> Boxes:
    """Cut rectangles given in pixels, each border (N,), to a canvas of `size` pixels; some may end up empty."""
    row, column = (np.clip(np.floor(edge), 0, size).astype(int) for edge in (top, left))
    high = np.maximum(np.clip(np.ceil(bottom), 0, size).astype(int) - row, 0)
    wide = np.maximum(np.clip(np.ceil(right), 0, size).astype(int) - column, 0)
    empty = (high < 2) | (wide < 2)  # nothing that a gradient could be taken of
    return Boxes(row, column, np.where(empty, 0, high), np.where(empty, 0, wide))
