"""How likely is a study of R readers and N images to show that accuracy lies within 0.5 +- margin?

Simulation of the probit model P(reader i is right about image j) = Phi(m + a_i + b_j), a ~ N(0, reader sd),
b ~ N(0, image sd), m such that the mean accuracy is the given one, analysed as the study will be (`crossed`).

The table of the design (accuracy 0.5, image sd 0.6, tests of size 0.05) comes out again within the error of 2,000
simulated studies. What it teaches: more images do not replace readers.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy import stats
from scipy.special import ndtr

from chambit.core import seeds
from chambit.core.errors import InputError, Problem
from chambit.reading import crossed
from chambit.reading.detection import clopper_pearson

CELLS = 4_000_000  # answers held at once


class World(NamedTuple):
    """What readers and images are thought to be like.

    Attributes:
        reader_sd: how far readers differ, on the probit scale.
        image_sd: how far images differ.
        accuracy: true mean accuracy, in (0, 1).
    """

    reader_sd: float
    image_sd: float
    accuracy: float


class Power(NamedTuple):
    """Share of simulated studies that showed equivalence, with the interval of the simulation (95 %, exact)."""

    share: float
    low: float
    high: float
    draws: int


def tables(readers: int, images: int, world: World, draws: int, rng: np.random.Generator) -> np.ndarray:
    """Simulated tables of right (1) and wrong (0) answers, float32 (draws, readers, images).

    >>> tables(2, 4, World(0.2, 0.6, 0.5), 3, np.random.default_rng(0)).shape
    (3, 2, 4)
    """
    reader = world.reader_sd * rng.standard_normal((draws, readers, 1))
    image = world.image_sd * rng.standard_normal((draws, 1, images))
    middle = stats.norm.ppf(world.accuracy) * np.sqrt(1 + world.reader_sd**2 + world.image_sd**2)
    right = rng.random((draws, readers, images), np.float32) < ndtr(middle + reader + image)
    return np.asarray(right, np.float32)


def power(readers: int, images: int, world: World, *, margin: float, level: float, draws: int, seed: int) -> Power:
    """Power to show equivalence.

    Args:
        readers: R, 3 or more.
        images: N, even and 4 or more, half of each kind.
        world: what is assumed of readers and images.
        margin: in (0, 0.5).
        level: tests have the size 1 - level.
        draws: simulated studies; the standard error of the power is at most 0.5 / sqrt(draws).
        seed: any whole number.

    Raises:
        InputError: when there are too few readers or images, or numbers are out of range.
    """
    _check(readers, images, world, margin)
    kinds = np.arange(images) % 2
    shown = 0
    rng = seeds.generator(seed, "power", f"{readers} {images}")
    step = max(1, CELLS // (readers * images))
    for first in range(0, draws, step):
        part = tables(readers, images, world, min(step, draws - first), rng)
        mean, msr, msc, mse = crossed.mean_squares(part, kinds)
        se, freedom = crossed.error(msr, msc, mse, readers, images, 2)
        half = stats.t.ppf(level, freedom) * se
        # a table without any spread gives no interval, so it shows nothing
        shown += int(((se > 0) & (mean - half > 0.5 - margin) & (mean + half < 0.5 + margin)).sum())
    return Power(shown / draws, *clopper_pearson(shown, draws, 0.95), draws)


def least_readers(
    images: int, world: World, *, wanted: float, most: int, margin: float, level: float, draws: int, seed: int
) -> int | None:
    """Fewest readers (3 .. most) with that power at N images; None where `most` are too few. Arguments as `power`."""

    def enough(readers: int) -> bool:
        return power(readers, images, world, margin=margin, level=level, draws=draws, seed=seed).share >= wanted

    return _least(enough, crossed.FEWEST, most, 1)


def least_images(
    readers: int, world: World, *, wanted: float, most: int, margin: float, level: float, draws: int, seed: int
) -> int | None:
    """Fewest images (even) with that power for R readers; None where `most` are too few, as with too few readers."""

    def enough(images: int) -> bool:
        return power(readers, images, world, margin=margin, level=level, draws=draws, seed=seed).share >= wanted

    return _least(enough, 10, most, 2)


def _least(enough: Callable[[int], bool], low: int, high: int, step: int) -> int | None:
    """Smallest low + k * step up to `high` that is enough, where more is never worse."""
    count = (high - low) // step
    if count < 0 or not enough(low + count * step):
        return None
    first = 0
    while first < count:
        middle = (first + count) // 2
        if enough(low + middle * step):
            count = middle
        else:
            first = middle + 1
    return low + first * step


def _check(readers: int, images: int, world: World, margin: float) -> None:
    problems = []
    if readers < crossed.FEWEST:
        problems.append(Problem("readers", f"{readers}", f"plan {crossed.FEWEST} or more"))
    if images < 4 or images % 2:
        problems.append(Problem("images", f"{images}", "plan an even number, 4 or more"))
    if not 0 < margin < 0.5 or not 0 < world.accuracy < 1:
        problems.append(Problem("margin or accuracy", f"{margin}, {world.accuracy}", "within (0, 0.5) and (0, 1)"))
    if world.reader_sd < 0 or world.image_sd < 0:
        problems.append(Problem("spread", "a standard deviation is negative"))
    if problems:
        raise InputError("the power cannot be computed", problems)
