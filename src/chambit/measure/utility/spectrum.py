"""Power spectrum: how far the mean log spectra of two sets are apart, in decades.

    d = sqrt(mean over 16 bands of (mean log10 power, real - mean log10 power, synthetic)^2)

Generators go wrong in the fine bands, where the eye and most networks do not look: Durall et al. 2020,
arXiv:2003.01826; Schwarz et al. 2021, arXiv:2111.02447. Known failure: blind to where structure is.
"""

import numpy as np

from chambit.measure import similarity
from chambit.measure.examination import Examination, Result

version = "1"
QUANTITIES = {"distance": "lower"}


class Options(similarity.Options):
    """draws: splits of the band; level: of the interval; pairs: of groups of subjects that make the halves."""

    extractors: tuple[str, ...] = ("power",)
    pairs: int = 31


def measure(exam: Examination, options: Options) -> Result:
    """Distance of the synthetic set to the unseen real images (holdout), whole and part by part."""
    return similarity.one_distance(exam, f"spectrum@{version}", options, options.pairs, distance)


def distance(real: np.ndarray, other: np.ndarray) -> float:
    """Root mean square over the bands of the difference of the mean log spectra, in decades, at least 0.

    1.0 means that power differs by a factor of ten on average. Every band counts alike.

    Args:
        real: features `power` (N, 16) of one set.
        other: features `power` (M, 16) of the other.
    """
    return float(np.sqrt(np.square(real.mean(0) - other.mean(0)).mean()))
