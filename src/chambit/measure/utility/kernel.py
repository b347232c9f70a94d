"""Kernel distance (KID): unbiased squared maximum mean discrepancy with a cubic kernel, with the real-versus-real band.

    k(x, y) = (x.y / d + 1)^3,  MMD^2_u = mean_{i != j} k(x_i, x_j) + mean_{i != j} k(y_i, y_j) - 2 mean k(x_i, y_j)

Binkowski et al. 2018 (arXiv:1801.01401); Gretton et al. 2012. Unbiased, so its null value is 0 at any n and single
values may be negative; noisy, so it is never read without its interval. Features are centred and scaled by the real
images. All pairs are used, in tiles (`measure.pairs`), but those of two images of one patient; the jackknife's
leave-one-out values come from the same sums.
"""

from collections.abc import Mapping

import numpy as np

from chambit.core.evidence import Finding, Frozen
from chambit.measure import bands, interval
from chambit.measure.examination import Examination, Result, not_run
from chambit.measure.pairs import Points, kernel_sums, within
from chambit.measure.utility.frechet import features, lacking, sizes

version = "3"
QUANTITIES = {"distance": "lower"}


class Options(Frozen):
    """extractor: which features; draws: splits of the band; blocks: groups of the jackknife; level: of the interval."""

    extractor: str = "texture"
    draws: int = 40
    blocks: int = 20
    level: float = 0.95


def distances(
    x: Points, y: Points, sums: Mapping[str, np.ndarray], owners: tuple[np.ndarray, np.ndarray] | None = None
) -> np.ndarray:
    """Unbiased MMD^2 (1 + G,): of all, then without each group.

    Args:
        x: one set, with G groups; with one group only the first value is given.
        y: the other set, with as many groups.
        sums: kernel sums (G, G) over pairs of groups: 'xx', 'yy' (of different points) and 'xy'.
        owners: whose each point of x and of y is; pairs of one owner are not pairs of strangers and do not count. An
            owner's points are in one group. None: every point is somebody else's.
    """
    counts = [np.bincount(part.group.numpy(), minlength=part.groups).astype(float) for part in (x, y)]
    alike = [_alike(part, owner) for part, owner in zip((x, y), owners or (None, None), strict=True)]
    out = []
    for g in range(-1, x.groups if x.groups > 1 else 0):
        kept = np.arange(x.groups) != g
        n, m = (count[kept].sum() for count in counts)
        (same_x, pairs_x), (same_y, pairs_y) = ((part[0][kept].sum(), part[1][kept].sum()) for part in alike)
        xx, yy, xy = (sums[key][np.ix_(kept, kept)].sum() for key in ("xx", "yy", "xy"))
        within_x, within_y = (xx - same_x) / (n * (n - 1) - pairs_x), (yy - same_y) / (m * (m - 1) - pairs_y)
        out.append(within_x + within_y - 2 * xy / (n * m))
    return np.array(out)


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
    return float(groupwise(Points.of(real), Points.of(other), owners)[0])


def groupwise(x: Points, y: Points, owners: tuple[np.ndarray, np.ndarray] | None = None) -> np.ndarray:
    """Unbiased MMD^2 (1 + G,) of two sets: of all, then without each group; owners as in `distances`."""
    sums = {"xx": within(x, 0).kernel, "yy": within(y, 0).kernel, "xy": kernel_sums(x, y)}
    return distances(x, y, {key: value.numpy() for key, value in sums.items()}, owners)


def _owned(real: np.ndarray, other: np.ndarray) -> float:
    """The distance of features whose last column says whose each image is."""
    return distance(real[:, :-1], other[:, :-1], (real[:, -1], other[:, -1]))


def measure(exam: Examination, options: Options) -> Result:
    """Distance of the synthetic set to the unseen real images (holdout)."""
    name = f"kernel@{version}"
    if reason := lacking(exam, options.blocks):
        return not_run(name, QUANTITIES, reason, sizes(exam))
    real, synthetic, roles = features(exam, options.extractor)
    centre = real.mean(0)
    real, synthetic = real - centre, synthetic - centre
    subjects = np.concatenate([exam["train"].subjects, exam["holdout"].subjects])
    rng = np.random.default_rng(exam.context.seed("band"))
    n = min(bands.common_size(len(synthetic), subjects), int((roles == "holdout").sum()))
    _, owner = np.unique(subjects, return_inverse=True)
    band = bands.real_versus_real(_owned, np.column_stack([real, owner]), subjects, n, options.draws, rng)
    left = bands.pick(np.flatnonzero(roles == "holdout"), n, rng)
    right = bands.pick(np.arange(len(synthetic)), n, rng)
    a = interval.groups(subjects[left], options.blocks, rng)
    b = interval.groups(np.arange(n), options.blocks, rng)
    values = groupwise(Points.of(real[left], a), Points.of(synthetic[right], b), (owner[left], np.arange(n)))
    finding = Finding(
        measure=name,
        quantity="distance",
        value=float(values[0]),
        interval=interval.jackknife(
            float(values[0]), values[1:], options.level, f"jackknife over {options.blocks} groups of subjects"
        ),
        n={"images per side": n, "holdout subjects": len(np.unique(subjects[left]))},
        null=0.0,
        direction="lower",
        band=band,
        details={"extractor": options.extractor, "dimensions": real.shape[1]},
        inputs=exam.inputs("train", "holdout", "synthetic"),
    )
    return Result((finding,))
