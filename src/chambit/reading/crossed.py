"""Means over readers and images that are both drawn at random, with an interval that says how both would vary.

    MSR, MSC, MSE    mean squares of the two-way table of R readers and N images
    variance         V / (R N),   V = max(MSR + MSC - MSE, MSR, MSC)
    df               (MSR + MSC - MSE)^2 / (MSR^2 / (R-1) + MSC^2 / (N-K) + MSE^2 / ((R-1)(N-K))), at least R - 1

after Satterthwaite 1946 (doi:10.2307/3002019). Without `at least R - 1`, a few readers who happen to agree would leave
one degree of freedom or less, and an interval as wide as the scale; the degrees of Hillis 2007 have the same bound.

Kinds of images (K of them, real and synthetic) are fixed: mean squares of images are taken within each kind, and a
reader's value is the mean of his values of the kinds. The same numbers come from readers' values v_i and the influence
of each image on them (Obuchowski and Rockette 1995, doi:10.1080/03610919508813243; Hillis 2007, doi:10.1002/sim.2532):

    MSR = N var(v),   MSE = N (own - shared),   MSC = N (own + (R-1) shared)
    own = mean variance of a v_i by its images, shared = mean covariance of two v_i by the images both have seen

which is *equal* for means of a complete table and holds for missing answers, AUC and d', too. With missing answers each
reader counts alike, by the images he has read; answers must be missing for reasons that have nothing to do with the
image.

Measured, nominal 95 %, probit model, image sd 0.6, 3,000 studies a line (`benchmarks/reading.py`):

    R x N     reader sd   accuracy   pooled binomial   crossed   crossed, logit scale
    2 x 300   0.3         0.5        0.395             0.916     0.918
    3 x 300   0.0         0.5        0.913             0.984     0.984
    3 x 300   0.1         0.5        0.767             0.958     0.959
    3 x 300   0.3         0.5        0.405             0.925     0.928
    5 x 300   0.3         0.5        0.402             0.947     0.949
    10 x 150  0.3         0.5        0.494             0.948     0.952
    5 x 300   0.3         0.9        0.512             0.932     0.947
    5 x 300   0.3         0.97       0.646             0.923     0.953

So shares and areas get their interval on the logit scale, and two readers get none. AUC 0.933 to 0.957 and 0.984 where
readers do not differ, d' 0.937 to 0.955 and 0.978. Where readers do not differ at all intervals are too wide.

Known failure: three readers of very different skill, 0.93 instead of 0.95; a spread of three values is not known well.
"""

from typing import NamedTuple

import numpy as np
from scipy import stats

from chambit.core.evidence import Interval

FEWEST = 3  # readers: with two the interval is half the scale wide and holds the truth in 92 % instead of 95 %


class Estimate(NamedTuple):
    """A mean over readers and images: value, interval, or the reason why there is none of them.

    Attributes:
        value: the point estimate; None where no reader has one.
        interval: None with a reason.
        reason: why there is no value or no interval, in words.
        readers: R.
        images: N.
        error: standard error on the natural scale, or None.
        freedom: degrees of freedom, or None.
    """

    value: float | None
    interval: Interval | None
    reason: str
    readers: int
    images: int
    error: float | None = None
    freedom: float | None = None


class Spread(NamedTuple):
    """What readers' values say of their mean.

    Attributes:
        values: float64 (R,), one number for each reader.
        between: variance of the values, divisor R - 1.
        own: mean variance of a value by its images.
        shared: mean covariance of two values by the images both readers saw.
        images: N.
        kinds: K.
    """

    values: np.ndarray
    between: float
    own: float
    shared: float
    images: int
    kinds: int

    @property
    def squares(self) -> tuple[float, float, float]:
        """MSR, MSC, MSE."""
        readers, n = len(self.values), self.images
        return n * self.between, n * (self.own + (readers - 1) * self.shared), n * (self.own - self.shared)


class Equivalence(NamedTuple):
    """Two one-sided tests of `accuracy = 0.5 - margin` and `accuracy = 0.5 + margin` (Schuirmann 1987,
    doi:10.1007/BF01068419).

    Attributes:
        p: the larger of the two p-values; None with a reason.
        low: lower end of the 1 - 2 alpha interval.
        high: upper end.
        alpha: size of the test; p < alpha exactly where [low, high] lies inside the margin.
        margin: half width of what counts as chance.
        reason: why there is no p.
    """

    p: float | None
    low: float | None
    high: float | None
    alpha: float
    margin: float
    reason: str = ""


def mean_squares(tables: np.ndarray, kinds: np.ndarray | None = None) -> tuple[np.ndarray, ...]:
    """Mean, MSR, MSC and MSE of complete tables, by analysis of variance with kinds of images as fixed.

    Args:
        tables: float (..., R, N), complete, R and N at least 2.
        kinds: int (N,), the kind of each image, each equally frequent; None for one kind.

    Returns:
        Four arrays of the leading shape.

    >>> mean, msr, msc, mse = mean_squares(np.array([[1.0, 2, 3], [3, 4, 8]]))
    >>> [round(float(one), 4) for one in (mean, msr, msc, mse)]
    [3.5, 13.5, 6.5, 1.5]
    """
    readers, images = tables.shape[-2:]
    groups = [np.arange(images)] if kinds is None else [np.flatnonzero(kinds == kind) for kind in np.unique(kinds)]
    mean, reader = tables.mean((-2, -1)), tables.mean(-1)
    msr = images * np.square(reader - mean[..., None]).sum(-1) / (readers - 1)
    columns, rest = 0.0, 0.0
    for group in groups:
        part = tables[..., group]
        image, own = part.mean(-2, keepdims=True), part.mean(-1, keepdims=True)
        grand = image.mean(-1, keepdims=True)
        columns = columns + readers * np.square(image - grand).sum((-2, -1))
        rest = rest + np.square(part - own - image + grand).sum((-2, -1))
    freedom = images - len(groups)
    return mean, msr, columns / freedom, rest / ((readers - 1) * freedom)


def error(
    msr: np.ndarray, msc: np.ndarray, mse: np.ndarray, readers: int, images: int, kinds: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """Standard error of the mean and its degrees of freedom, arrays of the shape of the mean squares."""
    whole = msr + msc - mse
    used = np.maximum(np.maximum(whole, msr), msc)
    rest = images - kinds
    below = msr**2 / (readers - 1) + msc**2 / rest + mse**2 / ((readers - 1) * rest)
    with np.errstate(invalid="ignore", divide="ignore"):
        freedom = np.where(whole > 0, whole**2 / below, 0.0)
    return np.sqrt(used / (readers * images)), np.maximum(freedom, readers - 1.0)


def spread(values: np.ndarray, influence: np.ndarray, kinds: np.ndarray) -> Spread:
    """What the readers' values and the influence of each image on them say.

    Args:
        values: float64 (R,).
        influence: float64 (R, N), what image j adds to the error of value i; NaN where i did not read j. It sums to 0
            for each reader and kind: (y_ij - mean_i) / n_i for a mean.
        kinds: int (N,).
    """
    read = ~np.isnan(influence)
    filled = np.where(read, influence, 0.0)
    covariance = np.zeros((len(values), len(values)))
    for kind in np.unique(kinds):
        part, both = filled[:, kinds == kind], read[:, kinds == kind].astype(np.float64)
        count = both @ both.T
        # one image in common tells nothing of a covariance
        with np.errstate(invalid="ignore", divide="ignore"):
            covariance += np.where(count > 1, count / (count - 1), np.nan) * (part @ part.T)
    pairs = covariance[~np.eye(len(values), dtype=bool)]
    shared = float(np.nanmean(pairs)) if np.isfinite(pairs).any() else float("nan")
    between = float(np.var(values, ddof=1)) if len(values) > 1 else float("nan")
    return Spread(
        values, between, float(np.mean(np.diag(covariance))), shared, influence.shape[1], len(np.unique(kinds))
    )


def means(table: np.ndarray, kinds: np.ndarray) -> Spread:
    """Readers' mean values: of each reader the mean over the kinds of his mean in each.

    Args:
        table: float64 (R, N), NaN where missing; each reader has at least one image of each kind.
        kinds: int (N,).
    """
    influence, values = np.full(table.shape, np.nan), np.zeros(len(table))
    names = np.unique(kinds)
    for kind in names:
        part = table[:, kinds == kind]
        own = np.nanmean(part, axis=1)
        values += own / len(names)
        influence[:, kinds == kind] = (part - own[:, None]) / (~np.isnan(part)).sum(1)[:, None] / len(names)
    return spread(values, influence, kinds)


def estimate(found: Spread, level: float, what: str, *, logit: bool) -> Estimate:
    """The mean over readers with its interval.

    Args:
        found: readers' values and their spread.
        level: of the interval.
        what: name of the values for the reason, for example `accuracy`.
        logit: interval on the logit scale, for shares and areas in (0, 1).
    """
    readers, value = len(found.values), float(found.values.mean())
    if reason := _no_interval(found, what):
        exact = _unanimous(found, level) if logit else None
        return Estimate(value, exact, "" if exact else reason, readers, found.images)
    msr, msc, mse = (np.asarray(one) for one in found.squares)
    se, freedom = (float(one) for one in error(msr, msc, mse, readers, found.images, found.kinds))
    half = float(stats.t.ppf((1 + level) / 2, freedom)) * se
    if logit:
        middle, half = np.log(value / (1 - value)), half / (value * (1 - value))
        low, high = (float(1 / (1 + np.exp(-end))) for end in (middle - half, middle + half))
    else:
        low, high = value - half, value + half
    method = "crossed readers and images, Satterthwaite" + (", logit scale" if logit else "")
    return Estimate(
        value, Interval(low=low, high=high, level=level, method=method), "", readers, found.images, se, freedom
    )


def _unanimous(found: Spread, level: float) -> Interval | None:
    """Interval of a share that is 0 or 1 for every reader on every image; None where it is not, or readers are too few.

    Exact over images (Clopper and Pearson 1934, doi:10.1093/biomet/26.4.404). Readers who never differ say nothing of
    how others would, so these readers are taken as they are, and the method says so.
    """
    share = float(found.values[0])
    if len(found.values) < FEWEST or share not in (0.0, 1.0) or (found.values != share).any():
        return None
    width = 1 - float(((1 - level) / 2) ** (1 / found.images))
    low, high = (1 - width, 1.0) if share else (0.0, width)
    return Interval(low=low, high=high, level=level, method="exact over images; the readers never differed")


def _no_interval(found: Spread, what: str) -> str:
    """Why there is no interval, or an empty text."""
    readers = len(found.values)
    if readers < FEWEST:
        return f"{readers} of {FEWEST} readers: how readers differ cannot be told"
    if not np.isfinite([found.own, found.shared, found.between]).all():
        return f"readers have too few images in common to say how images move the {what}"
    if found.own <= 0 and found.between <= 0:
        return f"every reader has the same {what} ({found.values[0]:.3g}) on every image: there is no spread"
    return ""


def equivalence(one: Estimate, margin: float, level: float) -> Equivalence:
    """Whether a mean accuracy is shown to lie within 0.5 +- margin: two one-sided t tests of size 1 - level.

    Without an interval there is no p, except where the accuracy of three readers or more lies outside the margin: then
    p is 1.

    On the natural scale, as in the power table of the design. Size measured at the edge of the margin, nominal 0.05, 3
    to 10 readers, reader sd 0.1 to 0.3: 0.043 to 0.051. That accuracy does not differ significantly from 0.5 is never
    proof that images cannot be told apart; this test is.
    """
    alpha = round(1 - level, 12)
    if one.value is None or one.error is None or one.freedom is None:
        # images that every reader tells must not look like a study that was not run: 1 is a valid p whatever is true
        far = one.value is not None and one.readers >= FEWEST and abs(one.value - 0.5) >= margin
        return Equivalence(1.0 if far else None, None, None, alpha, margin, one.reason)
    law = stats.t(one.freedom)
    p = max(law.sf((one.value - 0.5 + margin) / one.error), law.cdf((one.value - 0.5 - margin) / one.error))
    half = float(law.ppf(level)) * one.error
    return Equivalence(float(p), one.value - half, one.value + half, alpha, margin)
