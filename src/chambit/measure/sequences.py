"""Sequences of a set of images: which rows are frames of one series, how neighbouring frames differ, what stages do.

    difference of two frames = mean over pixels of |next - this|,   grey values in [0, 1]

A stage is a position in an ordered list of labels. A backward step is a frame whose stage lies before that of the frame
before it; a forward step is the reverse.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from scipy import stats

from chambit.core.errors import InputError, Problem
from chambit.images.imageset import ImageSet

COLUMNS = ("series", "frame")
TOGETHER = 32
"""Sequences whose pixels are held at once."""


@dataclass(frozen=True)
class Sequences:
    """The sequences of a set.

    Attributes:
        names: of the series.
        owners: subject of each, str (S,).
        at: positions of its frames in the set, in order, int64 of two or more each.
    """

    names: tuple[str, ...]
    owners: np.ndarray
    at: tuple[np.ndarray, ...]

    def __len__(self) -> int:
        return len(self.names)

    @property
    def lengths(self) -> np.ndarray:
        """Frames of each sequence, int64 (S,)."""
        return np.array([len(at) for at in self.at], np.int64)

    def take(self, chosen: np.ndarray) -> "Sequences":
        """The sequences at these positions."""
        return sequences([(self.names[k], str(self.owners[k]), self.at[k]) for k in chosen.tolist()])

    def placed(self, at: Sequence[np.ndarray]) -> "Sequences":
        """The same sequences with their frames at other positions."""
        return replace(self, at=tuple(at))

    def shuffled(self, rng: np.random.Generator) -> "Sequences":
        """The same sequences with the frames of each in an order of chance."""
        return self.placed([rng.permutation(at) for at in self.at])


def sequences(rows: Sequence[tuple[str, str, np.ndarray]]) -> Sequences:
    """Sequences from name, owner and positions of each."""
    names, owners, at = zip(*rows, strict=True) if rows else ((), (), ())
    return Sequences(tuple(names), np.array(owners, dtype=str), tuple(at))


def missing(images: ImageSet) -> str:
    """Which of the columns of a sequence a set lacks, or "" where it has both and something in them."""
    lacking = [
        name
        for name in COLUMNS
        if name not in images.table.columns or not (images.table[name].cast(pl.String).fill_null("") != "").any()
    ]
    return " and ".join(f"'{name}'" for name in lacking)


def of(images: ImageSet) -> Sequences:
    """The sequences of a set, by subject and series, in order of names; rows without a series are left out.

    Args:
        images: with the columns `series` and `frame` (a whole number from 0, as a string or a number).

    Raises:
        InputError: a frame is no whole number, or two rows are the same frame of one series.
    """
    table = images.table.select("subject", *(pl.col(name).cast(pl.String).fill_null("") for name in COLUMNS))
    table = table.with_row_index("position").filter(pl.col("series") != "")
    table = table.with_columns(number=pl.col("frame").str.extract(r"^(\d+)$").cast(pl.Int64))
    problems = [
        Problem(f"series '{series}'", f"frame '{frame}' is no whole number", "count the frames 0, 1, 2, ...")
        for series, frame in table.filter(pl.col("number").is_null())
        .select(*COLUMNS)
        .unique(COLUMNS)
        .sort("series")
        .rows()
    ]
    twice = table.group_by("subject", "series", "number").len().filter(pl.col("len") > 1).sort("series", "number")
    problems += [
        Problem(f"series '{series}'", f"{count} images are frame {number}", "give each series a name of its own")
        for series, number, count in twice.select("series", "number", "len").rows()
        if number is not None
    ]
    if problems:
        raise InputError("The frames of a sequence cannot be put in order.", problems)
    ordered = table.sort("subject", "series", "number").group_by("subject", "series", maintain_order=True)
    rows = [
        (series, subject, np.array(positions, np.int64))
        for subject, series, positions in ordered.agg("position").rows()
        if len(positions) > 1
    ]
    return sequences(rows)


def differences(images: ImageSet, seen: Sequences) -> list[np.ndarray]:
    """Mean absolute difference of each two neighbouring frames, float64 (frames - 1,) of each sequence, 0 to 1."""
    return [np.abs(np.diff(pixels, axis=0)).mean((1, 2), dtype=np.float64) for pixels in _pixels(images, seen)]


def _pixels(images: ImageSet, seen: Sequences) -> Iterator[np.ndarray]:
    """Grey values float32 (frames, H, W) of each sequence; only some are held at once."""
    for first in range(0, len(seen), TOGETHER):
        part = seen.at[first : first + TOGETHER]
        grey = images.take(np.concatenate(part)).grey()
        yield from np.split(grey, np.cumsum([len(at) for at in part])[:-1])


def distance(one: Sequence[np.ndarray], other: Sequence[np.ndarray]) -> float:
    """1-Wasserstein distance of two pooled distributions in which every sequence counts alike.

    Args:
        one: numbers of each sequence.
        other: those of the other side.

    >>> distance([np.array([0.1, 0.3])], [np.array([0.2, 0.4]), np.array([0.2])])
    0.1
    """
    values, weights = zip(*(_pooled(side) for side in (one, other)), strict=True)
    return round(float(stats.wasserstein_distance(*values, *weights)), 12)


def _pooled(side: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    return np.concatenate(side), np.concatenate([np.full(len(part), 1 / len(part)) for part in side])


def order_of(labels: np.ndarray, seen: Sequences) -> tuple[str, ...]:
    """Labels by the frame in which they first appear, averaged over the sequences that have them.

    Args:
        labels: of the whole set, str (N,).
        seen: its sequences.
    """
    first: dict[str, list[int]] = {}
    for at in seen.at:
        names, where = np.unique(labels[at], return_index=True)
        for name, place in zip(names.tolist(), where.tolist(), strict=True):
            first.setdefault(name, []).append(place)
    return tuple(sorted(first, key=lambda name: (float(np.mean(first[name])), name)))


def steps(stages: np.ndarray, seen: Sequences) -> tuple[np.ndarray, np.ndarray]:
    """Backward and forward steps of each sequence, int64 (S,) each.

    Args:
        stages: of each image of the set, int (N,).
        seen: its sequences.

    >>> steps(np.array([0, 1, 0, 2, 2]), sequences([("a", "p", np.arange(5))]))
    (array([1]), array([2]))
    """
    moves = [np.diff(stages[at]) for at in seen.at]
    return (
        np.array([(move < 0).sum() for move in moves], np.int64),
        np.array([(move > 0).sum() for move in moves], np.int64),
    )
