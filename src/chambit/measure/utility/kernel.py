"""Kernel distance (KID): unbiased squared maximum mean discrepancy with a cubic kernel, with the real-versus-real band.

    k(x, y) = (x.y / d + 1)^3,  MMD^2_u = mean_{i != j} k(x_i, x_j) + mean_{i != j} k(y_i, y_j) - 2 mean k(x_i, y_j)

Binkowski et al. 2018 (arXiv:1801.01401); Gretton et al. 2012. Unbiased, so its null value is 0 at any n and single
values may be negative; noisy, so it is never read without its interval. Features are centred and scaled by the real
images.
"""

import numpy as np

from chambit.core.evidence import Finding, Frozen
from chambit.measure import bands, interval
from chambit.measure.examination import Examination, Result, not_run
from chambit.measure.utility.frechet import features, lacking, sizes

version = "1"
QUANTITIES = {"distance": "lower"}


class Options(Frozen):
    """extractor: which features; draws: splits of the band; blocks: groups of the jackknife; level: of the interval."""

    extractor: str = "texture"
    draws: int = 40
    blocks: int = 20
    level: float = 0.95


def kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Cubic polynomial kernel matrix (N, M) of features (N, d) and (M, d)."""
    return np.asarray((x @ y.T / x.shape[1] + 1) ** 3)


def distance(real: np.ndarray, other: np.ndarray) -> float:
    """Unbiased MMD^2 of two feature sets (N, d) and (M, d), N and M at least 2."""
    parts = []
    for x in (real, other):
        k = kernel(x, x)
        parts.append((k.sum() - np.trace(k)) / (len(x) * (len(x) - 1)))
    return float(sum(parts) - 2 * kernel(real, other).mean())


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
    x, y = real[left], synthetic[right]
    value = distance(x, y)
    left_out = np.array([distance(x[a != g], y[b != g]) for g in range(options.blocks)])
    finding = Finding(
        measure=name,
        quantity="distance",
        value=value,
        interval=interval.jackknife(
            value, left_out, options.level, f"jackknife over {options.blocks} groups of subjects"
        ),
        n={"images per side": n, "holdout subjects": len(np.unique(subjects[left]))},
        null=0.0,
        direction="lower",
        band=band,
        details={"extractor": options.extractor, "dimensions": real.shape[1]},
        inputs=exam.inputs("train", "holdout", "synthetic"),
    )
    return Result((finding,))
