"""Precision, recall, density and coverage: do synthetic images lie among the real, and how much of the real they reach.

With r_k(x) the distance of x to its k-th nearest neighbour in its own set, B(x) the ball of that radius:

    precision = share of synthetic y in some B(x), x real        density  = mean number of B(x) that hold y, over k
    recall    = share of real x in some B(y), y synthetic        coverage = share of real x whose B(x) holds some y

Kynkaanniemi et al. 2019 (arXiv:1904.06991), Naeem et al. 2020 (arXiv:2002.09797); k = 5 in both. All pairs are looked
at in tiles (`measure.pairs`), exactly, at any n. Known failures: one outlier with a wide radius inflates precision and
recall (density and coverage less); in many dimensions even real against real stays well below 1, hence the band at the
same n.
"""

import numpy as np
import torch

from chambit.core.evidence import Interval
from chambit.measure import interval, resampling, similarity
from chambit.measure.examination import Examination, Result, not_run
from chambit.measure.pairs import Points, cross, within
from chambit.measure.similarity import Estimate, Sides

version = "3"
QUANTITIES = {"precision": "higher", "recall": "higher", "density": "higher", "coverage": "higher"}
LEAST = 7


class Options(similarity.Options):
    """extractors: which features, the first is judged; draws: splits of the band; level: of the intervals;
    k: neighbour; pairs: of groups of subjects that make the halves, a power of two less one.
    """

    draws: int = 20
    k: int = 5
    pairs: int = 15


def values(x: Points, y: Points, k: int, kept: np.ndarray) -> np.ndarray:
    """The four numbers in the order of QUANTITIES in each part, float64 (C, 4).

    Args:
        x: real features, more than k of them in each part.
        y: synthetic features, likewise, with as many groups.
        k: which neighbour.
        kept: which groups each part has, bool (C, G).
    """
    parts = torch.from_numpy(np.ascontiguousarray(kept))
    # of half of the points the k-th nearest is about the 2 k-th of all, hardly ever beyond the 6 k-th
    held = k if kept.all() else 6 * k
    near = [within(part, min(held, len(part) - 1)).nearest for part in (x, y)]
    seen = cross(x, y, near[0].radii(k, x, x, parts), near[1].radii(k, y, y, parts), parts)
    out = np.empty((len(kept), 4))
    for case, part in enumerate(parts):
        real, made = (part[points.group].numpy() for points in (x, y))
        inside = seen.inside[:, case].numpy()[made]
        reached, covered = (flags[:, case].numpy()[real] for flags in (seen.reached, seen.covered))
        out[case] = (inside > 0).mean(), reached.mean(), inside.mean() / k, covered.mean()
    return out


def measure(exam: Examination, options: Options) -> Result:
    """The four numbers of the synthetic set against the unseen real images (holdout)."""
    name = f"precision_recall@{version}"
    if reason := similarity.lacking(exam, 2 * LEAST, options):
        return not_run(name, QUANTITIES, reason, similarity.sizes(exam))

    def measured(sides: Sides, rng: np.random.Generator) -> dict[str, Estimate]:
        return estimates(sides, options.k, options.pairs, options.level, rng)

    def plain(sides: Sides) -> np.ndarray:
        all_ = np.ones((1, 1), bool)
        return np.asarray(values(Points.of(sides.real), Points.of(sides.made), options.k, all_)[0])

    seen = similarity.compare(exam, options, measured, plain, list(QUANTITIES), 2 * LEAST)
    return Result(tuple(similarity.finding(exam, name, quantity, "higher", seen) for quantity in QUANTITIES))


def estimates(sides: Sides, k: int, pairs: int, level: float, rng: np.random.Generator) -> dict[str, Estimate]:
    """The four numbers of two sides, with intervals from halves of the subjects."""
    pairs = resampling.pairs_for(len(np.unique(sides.owners)), pairs)
    a, b = (interval.groups(owners, 2 * pairs, rng) for owners in (sides.owners, sides.makers))
    kept = np.concatenate([np.ones((1, 2 * pairs), bool), resampling.halves(pairs)])
    whole, *parts = values(Points.of(sides.real, a), Points.of(sides.made, b), k, kept)
    method = f"{len(parts)} halves of the subjects"
    out = {}
    for which, quantity in enumerate(QUANTITIES):
        value = float(whole[which])
        spread = resampling.from_halves(value, np.array(parts)[:, which], level, method, smooth=False)
        out[quantity] = Estimate(value, spread if quantity == "density" else _share(spread), {"k": k})
    return out


def _share(spread: Interval) -> Interval:
    """A share lies between 0 and 1, and so does its interval."""
    return spread.model_copy(update={"low": max(0.0, spread.low), "high": min(1.0, spread.high)})
