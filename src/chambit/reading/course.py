"""Does reading change along the session: learning over all places, fatigue within a block, and seconds an image.

    correct = a_i + b_i * (places since the start / 100) + f_i * (place within the block, 0 .. 1)

least squares for each reader i, first readings alone (a linear model of a share: slopes are differences of accuracy).
The value is the mean over readers, weighted by each one's information; its interval is t with R - 1 degrees of freedom
from the spread of readers' slopes, so it is clustered by reader and needs no model of what one reader's answers have in
common. Images come to each reader in another order, so their difficulty is noise here.

A rise over places means that readers learn what gives images away even without being told; accuracy is then too low
for a reader with practice.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

from chambit.core.evidence import Interval
from chambit.reading.votes import Vote

PLACES = 100  # slopes of learning are for so many images
FEWEST = 3  # readers: spread of two slopes says next to nothing


class Trend(NamedTuple):
    """A mean over readers.

    Attributes:
        value: None with a reason.
        interval: None with a reason.
        readers: how many readers have one.
        votes: first readings behind it.
        each: the value of each reader, in the order of their names.
        reason: why there is no value or no interval.
    """

    value: float | None
    interval: Interval | None
    readers: int
    votes: int
    each: tuple[float, ...] = ()
    reason: str = ""


class Course(NamedTuple):
    """Learning (accuracy per 100 images), fatigue (accuracy from start to end of a block), seconds an image."""

    learning: Trend
    fatigue: Trend
    seconds: Trend


def course(votes: Sequence[Vote], level: float) -> Course:
    """Slopes and seconds of first readings.

    Args:
        votes: of one study; practice and repeats are left out.
        level: of the intervals.
    """
    readers = sorted({vote.reader for vote in votes if vote.counted})
    in_order = sorted((vote for vote in votes if vote.counted), key=lambda vote: vote.position)
    counted = {name: [vote for vote in in_order if vote.reader == name] for name in readers}
    ends = _ends(votes)
    learning, fatigue = (_slopes(list(counted.values()), ends, which, level) for which in (0, 1))
    return Course(learning, fatigue, _seconds(list(counted.values()), level))


def _ends(votes: Sequence[Vote]) -> dict[tuple[str, int], tuple[int, int]]:
    """First and last place of each reader's blocks; repeats take places, too."""
    ends: dict[tuple[str, int], tuple[int, int]] = {}
    for vote in votes:
        low, high = ends.get((vote.reader, vote.block), (vote.position, vote.position))
        ends[vote.reader, vote.block] = min(low, vote.position), max(high, vote.position)
    return ends


def _slopes(groups: list[list[Vote]], ends: dict[tuple[str, int], tuple[int, int]], which: int, level: float) -> Trend:
    """Learning (0) or fatigue (1): one slope a reader, each adjusted for the other where both can be told apart."""
    slopes, weights, count = [], [], 0
    for own in groups:
        place = np.array([vote.position for vote in own], np.float64) / PLACES
        spans = [ends[vote.reader, vote.block] for vote in own]
        inside = np.array(
            [(vote.position - low) / max(1, high - low) for vote, (low, high) in zip(own, spans, strict=True)]
        )
        columns = np.stack([place, inside], 1) - [place.mean(), inside.mean()]
        right = np.array([vote.correct for vote in own], np.float64)
        left = _residual(columns[:, which], columns[:, 1 - which])
        if (information := float(left @ left)) > 1e-6 * len(own):
            slopes.append(float(left @ right) / information)
            weights.append(information)
            count += len(own)
    reason = "one block: place in the block and in the session are the same" if not slopes else ""
    return _mean(np.array(slopes), np.array(weights), count, level, reason)


def _residual(column: np.ndarray, other: np.ndarray) -> np.ndarray:
    """What of one centred column the other does not explain."""
    size = float(other @ other)
    return column - other * (float(other @ column) / size if size > 0 else 0.0)


def _seconds(groups: list[list[Vote]], level: float) -> Trend:
    """Geometric mean over readers of each one's median seconds; interval on the log scale."""
    each = np.array([np.median([vote.seconds for vote in own]) for own in groups])
    count = sum(map(len, groups))
    if (each <= 0).any():
        return Trend(None, None, len(each), count, tuple(each.tolist()), "a reader's median is 0 seconds")
    found = _mean(np.log(each), np.ones(len(each)), count, level, "")
    value = None if found.value is None else float(np.exp(found.value))
    spread = found.interval and found.interval.model_copy(
        update={"low": float(np.exp(found.interval.low)), "high": float(np.exp(found.interval.high))}
    )
    return found._replace(value=value, interval=spread, each=tuple(each.tolist()))


def _mean(each: np.ndarray, weights: np.ndarray, count: int, level: float, reason: str) -> Trend:
    """Weighted mean of readers' values with a t interval from their spread."""
    readers = len(each)
    if readers == 0:
        return Trend(None, None, 0, count, (), reason or "there is no reader")
    share = weights / weights.sum()
    value = float(share @ each)
    if readers < FEWEST:
        return Trend(value, None, readers, count, tuple(each.tolist()), f"{readers} of {FEWEST} readers")
    error = float(np.sqrt(readers / (readers - 1) * np.square(share * (each - value)).sum()))
    if error == 0:
        return Trend(value, None, readers, count, tuple(each.tolist()), "all readers have the same value")
    half = float(stats.t.ppf((1 + level) / 2, readers - 1)) * error
    found = Interval(low=value - half, high=value + half, level=level, method="clustered by reader, t")
    return Trend(value, found, readers, count, tuple(each.tolist()))
