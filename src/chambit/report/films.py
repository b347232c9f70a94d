"""Films of the dossier: sequences beside each other as one sheet, a row for each sequence and a column for each frame.

Looks along the way from noise are a film, too. The page has a player; below it, and alone where there is no JavaScript
and on paper, stands a strip of still frames.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

from chambit.core.evidence import Frozen
from chambit.report import viewer
from chambit.report.viewer import Pixels, Sheet

MOST_FRAMES = 48
STILLS = 8
BYTES = 1_500_000
"""A film's file is made smaller until it is at most this large: a page is to open from a file."""
SIDES = (128, 112, 96, 80, 64)


class Clip(NamedTuple):
    """A sequence before it is laid out: uint8 (D, H, W[, 3]), and for each frame what it shows ('' where unknown)."""

    name: str
    role: Literal["synthetic", "real"]
    frames: Pixels
    labels: Sequence[str]


class Row(Frozen):
    """One sequence of a film: its name, where it is from, and what each shown frame shows."""

    name: str
    role: Literal["synthetic", "real"]
    labels: tuple[str, ...]


class Film(Frozen):
    """Sequences that play together.

    Attributes:
        sheet: a row of tiles for each sequence.
        rows: the sequences, in the order of the sheet.
        numbers: which frame each column is, from 0.
        length: frames of the whole sequence.
    """

    sheet: Sheet
    rows: tuple[Row, ...]
    numbers: tuple[int, ...]
    length: int

    @property
    def frames(self) -> int:
        """Frames that are shown."""
        return len(self.numbers)

    @property
    def stills(self) -> list[int]:
        """Columns of the strip."""
        return spread(self.frames, STILLS)

    def of(self, role: str) -> list[tuple[int, Row]]:
        """The rows of one origin with their numbers."""
        return [(number, row) for number, row in enumerate(self.rows) if row.role == role]


def film(clips: Sequence[Clip], most: int = MOST_FRAMES, largest: int = BYTES) -> Film | None:
    """Lay sequences out; None without any.

    Args:
        clips: sequences of one length and one shape of frames.
        most: frames that are shown; of longer sequences they are spread evenly.
        largest: bytes of the file that frames are reduced for, down to 64 pixels.
    """
    if not clips:
        return None
    length = len(clips[0].frames)
    numbers = spread(length, most)
    frames = [clip.frames[numbers] for clip in clips]
    if any(part.ndim == 4 for part in frames):
        frames = [viewer.colour(part) for part in frames]
    made = _laid(frames, largest)
    rows = tuple(
        Row(name=clip.name, role=clip.role, labels=tuple(str(clip.labels[number]) for number in numbers))
        for clip in clips
    )
    return Film(sheet=made, rows=rows, numbers=tuple(numbers), length=length)


def _laid(frames: Sequence[Pixels], largest: int) -> Sheet:
    """The sheet of all frames at the first size whose file is small enough, else at the smallest."""
    columns = len(frames[0])
    for side in SIDES:
        tiles = np.stack([viewer.reduced(frame, side) for part in frames for frame in part])
        made = viewer.sheet(tiles, columns)
        if len(made.png) <= largest:
            break
    return made


def spread(count: int, most: int) -> list[int]:
    """At most `most` of `count` positions, evenly spread, first and last among them.

    >>> spread(3, 8), spread(10, 4)
    ([0, 1, 2], [0, 3, 6, 9])
    """
    if count <= most:
        return list(range(count))
    return [int(at) for at in np.rint(np.linspace(0, count - 1, most))]
