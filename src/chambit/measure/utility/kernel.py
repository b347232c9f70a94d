"""Kernel distance (KID): unbiased squared maximum mean discrepancy with a cubic kernel, with the real-versus-real band.

    k(x, y) = (x.y / d + 1)^3,  MMD^2_u = mean_{i != j} k(x_i, x_j) + mean_{i != j} k(y_i, y_j) - 2 mean k(x_i, y_j)

Binkowski et al. 2018 (arXiv:1801.01401); Gretton et al. 2012. Unbiased, so its null value is 0 at any n and single
values may be negative; noisy, so it is never read without its interval. Features are centred and scaled by the real
images. All pairs are used, in tiles (`measure.pairs`), but those of two images of one patient; the values of the halves
that the interval needs come from the same sums.
"""

from collections.abc import Mapping

import numpy as np

from chambit.measure import interval, resampling, similarity
from chambit.measure.examination import Examination, Result, not_run
from chambit.measure.pairs import Points, kernel_sums, within
from chambit.measure.similarity import Estimate, Sides

version = "4"
QUANTITIES = {"distance": "lower"}
LEAST = 7


class Options(similarity.Options):
    """extractors: which features, the first is judged; draws: splits of the band; level: of the interval;
    pairs: of groups of subjects that make the halves, a power of two less one.
    """

    pairs: int = 31


def distances(
    x: Points,
    y: Points,
    sums: Mapping[str, np.ndarray],
    kept: np.ndarray,
    owners: tuple[np.ndarray, np.ndarray] | None = None,
) -> np.ndarray:
    """Unbiased MMD^2 (C,) in each of C parts.

    Args:
        x: one set, with G groups.
        y: the other set, with as many groups.
        sums: kernel sums (G, G) over pairs of groups: 'xx', 'yy' (of different points) and 'xy'.
        kept: which groups each part has, bool (C, G).
        owners: whose each point of x and of y is; pairs of one owner are not pairs of strangers and do not count. An
            owner's points are in one group. None: every point is somebody else's.
    """
    count_x, count_y = (np.bincount(part.group.numpy(), minlength=part.groups).astype(float) for part in (x, y))
    alike = [_alike(part, owner) for part, owner in zip((x, y), owners or (None, None), strict=True)]
    part = kept.astype(float)
    n, m = part @ count_x, part @ count_y
    (same_x, pairs_x), (same_y, pairs_y) = ((part @ sums_, part @ counts) for sums_, counts in alike)
    xx, yy, xy = (((part @ sums[key]) * part).sum(1) for key in ("xx", "yy", "xy"))
    within_x, within_y = (xx - same_x) / (n * (n - 1) - pairs_x), (yy - same_y) / (m * (m - 1) - pairs_y)
    return np.asarray(within_x + within_y - 2 * xy / (n * m))


def _alike(x: Points, owner: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Kernel sums and number of ordered pairs of different points with one owner, by group (G,)."""
    sums, counts = np.zeros(x.groups), np.zeros(x.groups)
    if owner is None:
        return sums, counts
    order = np.argsort(owner, kind="stable")
    owner, group = owner[order], x.group.numpy()[order]
    for lag in range(1, int(np.unique(owner, return_counts=True)[1].max())):
        first = np.flatnonzero(owner[lag:] == owner[:-lag])
        one, other = (x.x[order[at]].double() for at in (first, first + lag))
        value = ((one * other).sum(1) / x.x.shape[1] + 1).pow(3).numpy()
        sums += 2 * np.bincount(group[first], value, x.groups)
        counts += 2 * np.bincount(group[first], minlength=x.groups)
    return sums, counts


def distance(real: np.ndarray, other: np.ndarray, owners: tuple[np.ndarray, np.ndarray] | None = None) -> float:
    """Unbiased MMD^2 of two feature sets (N, d) and (M, d), N and M at least 2; owners as in `distances`."""
    return float(partwise(Points.of(real), Points.of(other), np.ones((1, 1), bool), owners)[0])


def partwise(x: Points, y: Points, kept: np.ndarray, owners: tuple[np.ndarray, np.ndarray] | None = None) -> np.ndarray:
    """Unbiased MMD^2 (C,) of two sets in each of C parts; kept bool (C, G) and owners as in `distances`."""
    sums = {"xx": within(x, 0).kernel, "yy": within(y, 0).kernel, "xy": kernel_sums(x, y)}
    return distances(x, y, {key: value.numpy() for key, value in sums.items()}, kept, owners)


def estimates(sides: Sides, pairs: int, level: float, rng: np.random.Generator) -> dict[str, Estimate]:
    """The distance of two sides, with its interval from halves of the subjects."""
    pairs = resampling.pairs_for(len(np.unique(sides.owners)), pairs)
    a = interval.groups(sides.owners, 2 * pairs, rng)
    b = interval.groups(sides.makers, 2 * pairs, rng)
    kept = np.concatenate([np.ones((1, 2 * pairs), bool), resampling.halves(pairs)])
    owners = (sides.owners, sides.makers)
    whole, *parts = partwise(Points.of(sides.real, a), Points.of(sides.made, b), kept, owners)
    method = f"{len(parts)} halves of the subjects"
    return {"distance": Estimate(
        float(whole), resampling.from_halves(float(whole), np.array(parts), level, method, smooth=True)
    )}  # fmt: skip


def measure(exam: Examination, options: Options) -> Result:
    """Distance of the synthetic set to the unseen real images (holdout), whole and part by part."""
    name = f"kernel@{version}"
    if reason := similarity.lacking(exam, 2 * LEAST, options):
        return not_run(name, QUANTITIES, reason, similarity.sizes(exam))

    def measured(sides: Sides, rng: np.random.Generator) -> dict[str, Estimate]:
        return estimates(sides, options.pairs, options.level, rng)

    def plain(sides: Sides) -> list[float]:
        return [distance(sides.real, sides.made, (sides.owners, sides.makers))]

    seen = similarity.compare(exam, options, measured, plain, ["distance"], 2 * LEAST)
    return Result((similarity.finding(exam, name, "distance", "lower", seen, null=0.0),))
