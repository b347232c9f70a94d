"""AUROC of several classifiers on the same test images with their covariance, also with several images of a patient.

    V10(X_i) = share of negatives below positive i (ties one half),  V01(Y_j) = share of positives above negative j
    A = mean V10 = mean V01
    one image a patient:  cov(A^r, A^s) = S10 / M + S01 / N,  S10, S01 the sample covariances of V10^r, V10^s and V01

DeLong, DeLong and Clarke-Pearson 1988 (doi:10.2307/2531595), by mid-ranks in O(n log n) as Sun and Xu 2014
(doi:10.1109/LSP.2014.2337313). With clusters i = 1 .. I (patients), m_i positives and n_i negatives of each, and the
residual sums x_i = sum of V10 - m_i A, y_i = sum of V01 - n_i A (Obuchowski 1997, doi:10.2307/2533958):

    cov = S10 / M + S01 / N + (S11^rs + S11^sr) / (M N),   S11^rs = I / (I - 1) sum of x_i^r y_i^s,
    S10 = I10 / ((I10 - 1) M) sum of x_i^r x_i^s,  I10 clusters with a positive;  S01 likewise with I01 and N

With one image a patient I10 = M and I01 = N, each x_i y_i is 0, and both are *equal*, not only close.

Known failures: the area is that of images, patients with many images count more; the interval is the normal one and
too short near an area of 1 and below about 30 patients of a class; two classifiers without an error have error 0.
"""

from typing import Literal, NamedTuple

import numpy as np
from scipy import stats
from scipy.special import ndtr, ndtri

from chambit.core.errors import InputError, Problem
from chambit.core.evidence import Interval

Alternative = Literal["two-sided", "greater", "less"]


class Contrast(NamedTuple):
    """A normal estimate: one area, or one area minus another; and its standard error."""

    value: float
    error: float
    method: str = "DeLong"

    @property
    def z(self) -> float:
        """Value / error; 0 when both are 0 (two classifiers that agree on every pair)."""
        if self.error == 0:
            return 0.0 if self.value == 0 else float(np.copysign(np.inf, self.value))
        return self.value / self.error

    def p(self, alternative: Alternative = "two-sided") -> float:
        """P-value against a true value of 0; `greater` means that the first is better than the second."""
        if alternative == "two-sided":
            return float(2 * ndtr(-abs(self.z)))
        return float(ndtr(-self.z) if alternative == "greater" else ndtr(self.z))

    def interval(self, level: float = 0.95) -> Interval:
        """Two-sided normal interval; not cut at 0 or 1, where it would hide that the normal law no longer holds."""
        half = float(ndtri((1 + level) / 2)) * self.error
        return Interval(low=self.value - half, high=self.value + half, level=level, method=self.method)

    def bound(self, side: Literal["lower", "upper"], level: float = 0.95) -> float:
        """One-sided confidence bound."""
        away = float(ndtri(level)) * self.error
        return self.value + away if side == "upper" else self.value - away


class Delong(NamedTuple):
    """Areas (m,) of m classifiers on the same images and their covariance (m, m)."""

    areas: np.ndarray
    covariance: np.ndarray
    method: str

    @classmethod
    def of(cls, scores: np.ndarray, positive: np.ndarray, owners: np.ndarray | None = None) -> "Delong":
        """Areas and covariance; see `covariance` for arguments and errors."""
        areas, spread = covariance(scores, positive, owners)
        return cls(areas, spread, "DeLong by image" if owners is None else "DeLong clustered by patient")

    def area(self, which: int) -> Contrast:
        """One area with its standard error."""
        return Contrast(float(self.areas[which]), float(np.sqrt(self.covariance[which, which])), self.method)

    def difference(self, first: int, second: int) -> Contrast:
        """Paired: area of `first` minus area of `second`. For a loss the first is the one trained on real images."""
        value = float(self.areas[first] - self.areas[second])
        own = float(self.covariance[first, first] + self.covariance[second, second])
        variance = own - 2 * float(self.covariance[first, second])
        # two classifiers with the same ranks leave only rounding, which may be below 0
        return Contrast(value, float(np.sqrt(max(variance, 0.0))), self.method)


def covariance(
    scores: np.ndarray, positive: np.ndarray, owners: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """AUROC of m classifiers and its covariance.

    Args:
        scores: float (m, n), higher means more likely positive.
        positive: bool (n,).
        owners: patient of each image (n,), any type that can be compared; None takes each image for a patient.

    Returns:
        Areas float64 (m,) and covariance float64 (m, m).

    Raises:
        InputError: when a class comes from fewer than 2 patients; there is no spread to see then.
        ValueError: when a score is not finite or the shapes do not fit.

    >>> areas, spread = covariance(np.array([[0.1, 0.4, 0.35, 0.8]]), np.array([False, False, True, True]))
    >>> areas, spread.round(4)
    (array([0.75]), array([[0.125]]))
    """
    truth = np.asarray(positive).astype(bool)
    if scores.ndim != 2 or scores.shape[1] != len(truth) or (owners is not None and len(owners) != len(truth)):
        given = f"{np.shape(scores)}, {truth.shape} and {None if owners is None else np.shape(owners)}"
        raise ValueError(f"scores (m, n), positive (n,) and owners (n,) do not fit: {given}")
    if not np.isfinite(scores).all():
        raise ValueError("scores must be finite")
    member = np.arange(len(truth)) if owners is None else np.unique(owners, return_inverse=True)[1]
    _refuse_few(member, truth)
    v10, v01 = components(scores, truth)
    areas = v10.mean(axis=1)
    x = _sums(v10 - areas[:, None], member[truth], member)
    y = _sums(v01 - areas[:, None], member[~truth], member)
    cross = _corrected(len(np.unique(member))) * x @ y.T
    whole = _corrected(len(np.unique(member[truth]))) * x @ x.T / v10.shape[1] ** 2
    whole += _corrected(len(np.unique(member[~truth]))) * y @ y.T / v01.shape[1] ** 2
    whole += (cross + cross.T) / (v10.shape[1] * v01.shape[1])
    return areas, whole


def components(scores: np.ndarray, positive: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Structural components V10 (m, M) of the positives and V01 (m, N) of the negatives, each 0 .. 1.

    The mid-rank of a positive among all less that among the positives counts the negatives below it.
    """
    above, below = scores[:, positive], scores[:, ~positive]
    ranks = stats.rankdata(scores, axis=1)
    v10 = (ranks[:, positive] - stats.rankdata(above, axis=1)) / below.shape[1]
    v01 = 1 - (ranks[:, ~positive] - stats.rankdata(below, axis=1)) / above.shape[1]
    return v10, v01


def _sums(residuals: np.ndarray, own: np.ndarray, member: np.ndarray) -> np.ndarray:
    """Residuals (m, k) summed by patient, (m, patients); a patient without such an image has 0."""
    order = np.argsort(own, kind="stable")
    patients, starts = np.unique(own[order], return_index=True)
    sums = np.zeros((len(residuals), int(member.max()) + 1))
    sums[:, patients] = np.add.reduceat(residuals[:, order], starts, axis=1)
    return sums


def _corrected(clusters: int) -> float:
    return clusters / (clusters - 1)


def _refuse_few(member: np.ndarray, truth: np.ndarray) -> None:
    few = [
        Problem("test images", f"{len(np.unique(member[own]))} patient(s) of the {name} class", "give at least 2")
        for name, own in (("positive", truth), ("negative", ~truth))
        if len(np.unique(member[own])) < 2
    ]
    if few:
        raise InputError("The spread of an AUROC needs at least 2 patients of each class.", few)
