"""Kernel distance (KID): unbiased squared maximum mean discrepancy with a cubic kernel, with the real-versus-real band.

    k(x, y) = (x.y / d + 1)^3,  MMD^2_u = mean_{i != j} k(x_i, x_j) + mean_{i != j} k(y_i, y_j) - 2 mean k(x_i, y_j)

Binkowski et al. 2018 (arXiv:1801.01401); Gretton et al. 2012. Unbiased, so its null value is 0 at any n and single
values may be negative; noisy, so it is never read without its interval. Features are centred and scaled by the real
images. All pairs are used, in tiles (`measure.pairs`); the jackknife's leave-one-out values come from the same sums.
"""

from collections.abc import Mapping

import numpy as np

from chambit.core.evidence import Finding, Frozen
from chambit.measure import bands, interval
from chambit.measure.examination import Examination, Result, not_run
from chambit.measure.pairs import Points, kernel_sums, within
from chambit.measure.utility.frechet import features, lacking, sizes

version = "2"
QUANTITIES = {"distance": "lower"}


class Options(Frozen):
    """extractor: which features; draws: splits of the band; blocks: groups of the jackknife; level: of the interval."""

    extractor: str = "texture"
    draws: int = 40
    blocks: int = 20
    level: float = 0.95


def distances(x: Points, y: Points, sums: Mapping[str, np.ndarray]) -> np.ndarray:
    """Unbiased MMD^2 (1 + G,): of all, then without each group.

    Args:
        x: one set, with G groups; with one group only the first value is given.
        y: the other set, with as many groups.
        sums: kernel sums (G, G) over pairs of groups: 'xx', 'yy' (of different points) and 'xy'.
    """
    counts = [np.bincount(part.group.numpy(), minlength=part.groups).astype(float) for part in (x, y)]
    whole = {key: value.sum() for key, value in sums.items()}
    out = [_mmd(whole, len(x), len(y))]
    for g in range(x.groups if x.groups > 1 else 0):
        less = {key: whole[key] - s[g].sum() - s[:, g].sum() + s[g, g] for key, s in sums.items()}
        out.append(_mmd(less, len(x) - counts[0][g], len(y) - counts[1][g]))
    return np.array(out)


def _mmd(sums: Mapping[str, float], n: float, m: float) -> float:
    return float(sums["xx"] / (n * (n - 1)) + sums["yy"] / (m * (m - 1)) - 2 * sums["xy"] / (n * m))


def distance(real: np.ndarray, other: np.ndarray) -> float:
    """Unbiased MMD^2 of two feature sets (N, d) and (M, d), N and M at least 2."""
    return float(groupwise(Points.of(real), Points.of(other))[0])


def groupwise(x: Points, y: Points) -> np.ndarray:
    """Unbiased MMD^2 (1 + G,) of two sets: of all, then without each group."""
    sums = {"xx": within(x, 0).kernel, "yy": within(y, 0).kernel, "xy": kernel_sums(x, y)}
    return distances(x, y, {key: value.numpy() for key, value in sums.items()})


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
    band = bands.real_versus_real(distance, real, subjects, n, options.draws, rng)
    left = bands.pick(np.flatnonzero(roles == "holdout"), n, rng)
    right = bands.pick(np.arange(len(synthetic)), n, rng)
    a = interval.groups(subjects[left], options.blocks, rng)
    b = interval.groups(np.arange(n), options.blocks, rng)
    values = groupwise(Points.of(real[left], a), Points.of(synthetic[right], b))
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
