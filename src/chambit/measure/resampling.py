"""Resampling by groups of subjects, for numbers that are no means: distances between sets, shares of neighbours.

Two ways, because the jackknife alone was measured to be too wide (`benchmarks/intervals.py`): its variance holds what
is quadratic in the data twice (Efron and Stein 1981, doi:10.1214/aos/1176345462).

`jackknife` with the values that leave two groups out takes that half off again (the same paper, section 4).
`halves` compares random halves of the subjects with their complements, in a balanced design (McCarthy 1969,
doi:10.2307/1402116). With z = +1 for a group in the half, -1 else, the number of a half is whole + L(z) + Q(z, z);
half the difference of a half and its complement has the variance L + 2 Q, the mean of the two has Q. For smooth numbers
L + Q is the first less the second. Shares of k-nearest neighbours adapt to the density and have no such second part:
there the difference alone was measured to be right, and the first less the second too small.
"""

import numpy as np
from scipy import linalg, stats

from chambit.core.evidence import Interval


def jackknife(
    whole: float, left_out: np.ndarray, level: float, method: str, two_out: np.ndarray | None = None
) -> Interval:
    """Interval from leave-one-group-out values, corrected where those without two groups are given.

    Args:
        whole: the number of all.
        left_out: (G,) without each group.
        level: of the interval.
        method: how to call it.
        two_out: (G (G - 1) / 2,) without two groups, in the order of `numpy.triu_indices(G, 1)`; None: no correction.
    """
    g = len(left_out)
    variance = (g - 1) / g * np.square(left_out - left_out.mean()).sum()
    if two_out is not None:
        i, j = np.triu_indices(g, 1)
        crossed = g * whole - (g - 1) * (left_out[i] + left_out[j]) + (g - 2) * two_out
        quadratic = np.square(crossed - crossed.mean()).sum() / (g * (g + 1))
        # the jackknife's variance is L + 2 Q: what is left of it is at least a half
        variance = max(variance - quadratic, variance / 2)
    half = float(stats.t.ppf((1 + level) / 2, g - 1) * np.sqrt(variance))
    return Interval(low=whole - half, high=whole + half, level=level, method=method)


def corrected(whole: float, left_out: np.ndarray) -> float:
    """The value without a bias of c / n, from leave-one-group-out values.

    Quenouille 1956 (doi:10.1093/biomet/43.3-4.353).
    """
    g = len(left_out)
    return float(g * whole - (g - 1) * left_out.mean())


def halves(pairs: int) -> np.ndarray:
    """Which of 2 `pairs` groups are in each half, bool (2 (pairs + 1), 2 pairs): the halves, then their complements.

    Of each pair of groups a half has one. The halves are balanced: over all of them every two pairs agree as often as
    they differ, so that for a mean the spread of the halves is its standard error exactly.

    >>> halves(3).sum(1).tolist()
    [3, 3, 3, 3, 3, 3, 3, 3]

    Raises:
        ValueError: when pairs + 1 is not a power of two.
    """
    signs = linalg.hadamard(pairs + 1)[:, 1:] > 0
    kept = np.repeat(signs, 2, axis=1)
    kept[:, 1::2] = ~signs
    return np.concatenate([kept, ~kept])


def pairs_for(subjects: int, most: int = 31) -> int:
    """How many pairs of groups so many subjects allow: two subjects a group, a power of two less one, 3 at least.

    >>> pairs_for(480), pairs_for(100), pairs_for(10)
    (31, 15, 3)
    """
    return int(min(most, max(3, (1 << ((subjects // 4 + 1).bit_length() - 1)) - 1)))


def from_halves(whole: float, values: np.ndarray, level: float, method: str, *, smooth: bool) -> Interval:
    """Interval from the numbers of halves and of their complements.

    Args:
        whole: the number of all.
        values: (2 R,) in the order of `halves`.
        level: of the interval.
        method: how to call it.
        smooth: whether what is quadratic in the data is taken off (see the module).
    """
    one, other = np.split(values, 2)
    variance = float(np.square(one - other).mean() / 4)
    if smooth:
        # L + 2 Q less Q: never less than a half of what it is taken from
        variance = max(variance - float(((one + other) / 2).var(ddof=1)), variance / 2)
    half = float(stats.t.ppf((1 + level) / 2, len(one) - 1) * np.sqrt(variance))
    return Interval(low=whole - half, high=whole + half, level=level, method=method)
