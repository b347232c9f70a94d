"""Intervals and exact tests, each checked against SciPy, scikit-learn or a published example.

Resampling is always by subject: images of one subject are not independent.
"""

from typing import NamedTuple

import numpy as np
from scipy import stats

from chambit.core.evidence import Interval


def clopper_pearson(found: int, of: int, level: float = 0.95, sides: int = 2) -> tuple[float, float]:
    """Exact binomial interval (Clopper and Pearson 1934, doi:10.1093/biomet/26.4.404).

    >>> low, high = clopper_pearson(0, 3000, sides=1)
    >>> low, round(high, 6)  # the rule of three: about 3 / 3000
    (0.0, 0.000998)
    """
    if of == 0:
        return 0.0, 1.0
    tail = (1 - level) / sides
    low = 0.0 if found == 0 else float(stats.beta.ppf(tail, found, of - found + 1))
    high = 1.0 if found == of else float(stats.beta.ppf(1 - tail, found + 1, of - found))
    return low, high


def wilson(found: int, of: int, level: float = 0.95) -> tuple[float, float]:
    """Score interval of a proportion (Wilson 1927, doi:10.1080/01621459.1927.10502953)."""
    z = float(stats.norm.ppf((1 + level) / 2))
    centre = (found + z * z / 2) / (of + z * z)
    half = z / (of + z * z) * np.sqrt(found * (of - found) / of + z * z / 4)
    return float(max(0.0, centre - half)), float(min(1.0, centre + half))


def newcombe(found1: int, of1: int, found2: int, of2: int, level: float = 0.95) -> tuple[float, float]:
    """Interval of p1 - p2 for independent groups, method 10 of Newcombe 1998 (SIM 17:873, 56/70 against 48/80).

    >>> low, high = newcombe(56, 70, 48, 80)
    >>> round(low, 4), round(high, 4)
    (0.0524, 0.3339)
    """
    p1, p2 = found1 / of1, found2 / of2
    (low1, high1), (low2, high2) = wilson(found1, of1, level), wilson(found2, of2, level)
    below = np.sqrt((p1 - low1) ** 2 + (high2 - p2) ** 2)
    above = np.sqrt((high1 - p1) ** 2 + (p2 - low2) ** 2)
    return float(p1 - p2 - below), float(p1 - p2 + above)


def realised_rate(alpha: float, calibration: int, level: float = 0.95) -> tuple[float, float]:
    """Where the true false-positive rate of one conformal threshold lies: Beta(k, n + 1 - k), k = floor(alpha (n + 1)).

    Vovk 2012 (arXiv:1209.2673).
    """
    k = int(alpha * (calibration + 1) + 1e-9)
    tail = (1 - level) / 2
    spread = stats.beta(k, calibration + 1 - k)
    return float(spread.ppf(tail)), float(spread.ppf(1 - tail))


class Auroc(NamedTuple):
    """Scores sorted once, so that thousands of reweighted AUROCs are prefix sums."""

    order: np.ndarray
    starts: np.ndarray
    positive: np.ndarray

    @classmethod
    def of(cls, scores: np.ndarray, positive: np.ndarray) -> "Auroc":
        """Prepare scores float (n,) and truth bool (n,).

        Raises:
            ValueError: when a score is not a number; sorting would give it a rank.
        """
        if not np.isfinite(scores).all():
            raise ValueError("scores must be finite")
        order = np.argsort(scores, kind="stable")
        ordered = scores[order]
        starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
        return cls(order, starts, positive[order].astype(bool))

    def __call__(self, weights: np.ndarray | None = None) -> np.ndarray:
        """AUROC for each row of weights (B, n), or the plain one as shape (1,).

        Ties count one half (Mann-Whitney). NaN where a row has no positive or no negative weight.
        """
        w = np.ones((1, len(self.order))) if weights is None else weights[:, self.order]
        up = np.add.reduceat(np.where(self.positive, w, 0.0), self.starts, axis=1)
        down = np.add.reduceat(np.where(self.positive, 0.0, w), self.starts, axis=1)
        below = np.cumsum(down, axis=1) - down / 2
        with np.errstate(invalid="ignore", divide="ignore"):
            area: np.ndarray = (up * below).sum(1) / (up.sum(1) * down.sum(1))
        return area


def auroc(scores: np.ndarray, positive: np.ndarray) -> float:
    """Area under the ROC curve, ties counted one half.

    >>> auroc(np.array([0.1, 0.4, 0.35, 0.8]), np.array([False, False, True, True]))
    0.75
    """
    return float(Auroc.of(np.asarray(scores), np.asarray(positive))()[0])


def macro_auroc(scores: np.ndarray, truth: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Mean one-against-rest AUROC; for two classes the AUROC of class 1.

    Args:
        scores: (n, K) class scores.
        truth: int (n,), 0 .. K - 1.
        weights: (B, n) or None.

    Returns:
        (B,) or (1,).
    """
    classes = [1] if scores.shape[1] == 2 else range(scores.shape[1])
    return np.asarray(np.mean([Auroc.of(scores[:, k], truth == k)(weights) for k in classes], axis=0))


def subject_weights(subjects: np.ndarray, draws: int, generator: np.random.Generator) -> np.ndarray:
    """Bootstrap multiplicities by subject, float64 (draws, n): all images of a drawn subject come together."""
    names, member = np.unique(subjects, return_inverse=True)
    counts = generator.multinomial(len(names), np.full(len(names), 1 / len(names)), size=draws)
    return counts[:, member].astype(np.float64)


def percentile(values: np.ndarray, level: float, method: str) -> Interval:
    """Two-sided percentile interval of bootstrap values, NaN rows left out."""
    tail = 50 * (1 - level)
    low, high = np.nanpercentile(values, [tail, 100 - tail])
    return Interval(low=float(low), high=float(high), level=level, method=method)


def groups(subjects: np.ndarray, count: int, generator: np.random.Generator) -> np.ndarray:
    """Assign subjects to `count` groups of nearly equal size; int (n,), all images of a subject in one group."""
    names, member = np.unique(subjects, return_inverse=True)
    return np.asarray((generator.permutation(len(names)) % count)[member])
