"""Grey levels: how far the pooled grey-level distributions of two sets are apart (1-Wasserstein distance).

    d = integral |F_real(g) - F_synthetic(g)| dg,   F the cumulative distribution of all pixels' grey levels

In one dimension that distance is the area between the two cumulative distributions (Vallender 1974,
doi:10.1137/1118101): how far, on average, grey has to be moved to turn one set's histogram into the other's. Every
image counts alike. Known failure: blind to where in the image, or in which image, a grey level is.
"""

import numpy as np

from chambit.measure import similarity
from chambit.measure.examination import Examination, Result

version = "1"
QUANTITIES = {"distance": "lower"}


class Options(similarity.Options):
    """draws: splits of the band; level: of the interval; pairs: of groups of subjects that make the halves."""

    extractors: tuple[str, ...] = ("histogram",)
    pairs: int = 31


def measure(exam: Examination, options: Options) -> Result:
    """Distance of the synthetic set to the unseen real images (holdout), whole and part by part."""
    return similarity.one_distance(exam, f"intensity@{version}", options, options.pairs, distance)


def distance(real: np.ndarray, other: np.ndarray) -> float:
    """1-Wasserstein distance of the pooled grey levels, from 0 to 63/64, in grey levels of [0, 1].

    Pooled: every image counts alike. Two sets that differ only in which image holds which grey have distance 0.

    Args:
        real: features `histogram` (N, 64) of one set.
        other: features `histogram` (M, 64) of the other.
    """
    gap = np.cumsum(real.mean(0) - other.mean(0))
    return float(np.abs(gap).sum() / real.shape[1])
