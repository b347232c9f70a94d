"""Limits at a stated false-alarm rate from scores among which a few are outliers.

Exponential tail, for distances, shares and likenesses of neighbours. u is the F = 0.75 point of the scores, v their 0.9
point, m the number of scores in (u, v], r the number above v:

    limit = u + e ln((1 - F) / alpha),  e = (sum of (x - u) over u < x <= v + r (v - u)) / m

e is the maximum likelihood scale when the largest scores are censored (type II censoring; Epstein and Sobel 1953,
Life Testing, J. Am. Stat. Assoc. 48, 486), so that what the outliers' scores are does not matter.

For likenesses of nearest neighbours F is 0.5 and v the 0.75 point, because a copy and its original are both in the
tail.

Normal tail, for contrasts, which are differences of logarithms: limit = median + z_alpha (v - median) / 1.2816.

In both, scores above the limit are set aside and the limit is fitted again until it stands. On clean cohorts
(benchmarks/quality.py) 0.0002 to 0.0014 of the images had a false alarm where 0.005 were asked for, because most tails
are lighter. Known failure: a heavier tail gives more of them.
"""

import math
from collections.abc import Callable

import numpy as np
from scipy.special import ndtri

START, CENSORED = 0.75, 0.9  # v with twice the outliers that are allowed for above it, so that it is ordinary itself
NEAREST = (0.5, 0.75)
ROUNDS = 6

Limit = Callable[[np.ndarray, float], float]


def exponential(scores: np.ndarray, rate: float) -> float:
    """The score that a share `rate` of ordinary images exceeds, by an exponential tail.

    Args:
        scores: (N,), larger is odder; up to 5 % of them may be those of outliers.
        rate: expected share of ordinary scores above the limit.

    >>> x = np.random.default_rng(1).exponential(2.0, 20000)
    >>> bool(abs(exponential(x, 0.001) - 2 * math.log(1000)) < 0.7)
    True
    """
    return _settled(scores, CENSORED, lambda x: _exponential(x, rate, START, CENSORED))


def nearest(scores: np.ndarray, rate: float) -> float:
    """The same for likenesses of nearest neighbours, of which a tenth may be those of copies."""
    return _settled(scores, NEAREST[1], lambda x: _exponential(x, rate, *NEAREST))


def normal(scores: np.ndarray, rate: float) -> float:
    """The same by a normal tail.

    >>> x = np.random.default_rng(1).normal(5.0, 2.0, 20000)
    >>> bool(abs(normal(x, 0.001) - (5 + 2 * 3.09)) < 0.3)
    True
    """
    return _settled(scores, CENSORED, lambda x: _normal(x, rate))


def _settled(scores: np.ndarray, ordinary: float, fit: Callable[[np.ndarray], float]) -> float:
    x = np.sort(np.asarray(scores, np.float64))
    found = math.inf
    for _ in range(ROUNDS):
        kept = x[x <= found]
        if len(kept) < ordinary * len(x):
            break  # so many above the limit are no outliers but a second kind of image
        again = fit(kept)
        if again == found:
            break
        found = again
    return found


def _exponential(x: np.ndarray, rate: float, start: float, censored: float) -> float:
    u, v = np.quantile(x, [start, censored])
    between = x[(x > u) & (x <= v)]
    if not len(between):
        return float(v)  # no tail: between the two points all scores are equal
    e = ((between - u).sum() + (x > v).sum() * (v - u)) / len(between)
    return float(u + e * math.log((1 - start) / rate))


def _normal(x: np.ndarray, rate: float) -> float:
    middle, v = np.quantile(x, [0.5, CENSORED])
    return float(middle - ndtri(rate) * (v - middle) / ndtri(CENSORED))
