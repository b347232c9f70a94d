"""Vendi score: how many different images a set amounts to (Friedman and Dieng 2022, arXiv:2210.02410).

    score = exp(-sum_k l_k log l_k),   l_k the eigenvalues of K / N,   K_ij = cosine of the feature vectors i and j

It runs from 1 (all alike) to N (all orthogonal). It needs no reference, so noise scores high: a set is diverse the
right way only if it also resembles the real one. It grows with N, so compare sets of one size; and it depends on where
the vectors' origin and scale are, so standardise features first, by the real images' mean and deviation, where they
are not of one unit.

Reported is the ratio of the synthetic set's score to that of as many unseen real images, features standardised by the
real ones: 1 as diverse, below 1 less.
"""

import numpy as np

from chambit.core.errors import InputError, Problem
from chambit.measure import similarity
from chambit.measure.examination import Examination, Result

version = "1"
QUANTITIES = {"ratio": "higher"}


class Options(similarity.Options):
    """extractors: which features, the first is judged; draws: splits of the band; level: of the interval;
    pairs: of groups of subjects that make the halves.
    """

    pairs: int = 31


def measure(exam: Examination, options: Options) -> Result:
    """Diversity of the synthetic set over that of the unseen real images (holdout), whole and part by part."""
    name = f"vendi@{version}"
    return similarity.one_number(exam, name, "ratio", "higher", options, options.pairs, ratio, null=1.0)


def ratio(real: np.ndarray, other: np.ndarray) -> float:
    """Vendi score of one set (M, d) over that of the real one (N, d)."""
    return score(other) / score(real)


def score(features: np.ndarray) -> float:
    """The Vendi score, from 1 to N, of feature vectors (N, d).

    Each vector is divided by its length and by sqrt(N), so that the eigenvalues add up to 1. Those of X X^T are those
    of X^T X, so the smaller of the two is taken: the time grows with N d min(N, d).

    Raises:
        InputError: there is no vector, or one has no direction: it is all 0 or holds what is not a number.
    """
    x = np.asarray(features, np.float64)
    lengths = np.linalg.norm(x, axis=1)
    sound = np.isfinite(lengths) & (lengths > 0)
    if not len(x) or not sound.all():
        where = f"vector {int(np.argmin(sound))}" if len(x) else "features"
        what = "has no direction: it is all 0 or holds what is not a number" if len(x) else "there are none"
        raise InputError("The Vendi score cannot be computed.", [Problem(where, what, "correct or drop it")])
    x = x / lengths[:, None] / np.sqrt(len(x))
    values = np.linalg.eigvalsh(x.T @ x if x.shape[1] < len(x) else x @ x.T)
    values = values[values > 0]  # rounding makes some of the zeros negative
    return float(np.exp(-(values * np.log(values)).sum()))
