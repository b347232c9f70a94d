"""How well readers tell synthetic from real images, apart from how readily they call an image synthetic.

    H = P(called synthetic | synthetic), F = P(called synthetic | real), with 0.5 added to both counts and 1 to both
    totals (log-linear rule, Hautus 1995, doi:10.3758/BF03203619)
    d' = z(H) - z(F),   c = -(z(H) + z(F)) / 2                          (Green and Swets 1966)
    AUC = P(score of a synthetic image > score of a real one), ties one half, of each reader, from the six-point scale

A positive c is a reader who prefers `real`. Values are means over readers. Intervals have readers and images at random
(`crossed`): for the AUC with the images' influence of DeLong et al. 1988 (doi:10.2307/2531595), for d' and c by the
delta method. This is the analysis of Obuchowski and Rockette with the degrees of freedom of `crossed`; before the
maximum is taken its variance agrees with the one-shot estimator of Gallas 2006 (doi:10.1016/j.acra.2005.11.030).

Known failure: the log-linear rule pulls d' towards 0: by 0.4 % at d' = 1 with 50 images of each kind, by 2.5 % at
d' = 3 with 25 (exact, for one reader and images of equal difficulty).
"""

from typing import NamedTuple

import numpy as np
from scipy import stats

from chambit.reading import crossed
from chambit.reading.crossed import Spread
from chambit.reading.votes import Table


class Signal(NamedTuple):
    """d' and criterion of one reader or one table of counts."""

    dprime: float
    criterion: float


def clopper_pearson(found: int, of: int, level: float) -> tuple[float, float]:
    """Exact binomial interval of one reader (Clopper and Pearson 1934, doi:10.1093/biomet/26.4.404).

    >>> [round(end, 3) for end in clopper_pearson(45, 100, 0.95)]
    [0.35, 0.553]
    """
    tail = (1 - level) / 2
    low = 0.0 if found == 0 else float(stats.beta.ppf(tail, found, of - found + 1))
    high = 1.0 if found == of else float(stats.beta.ppf(1 - tail, found + 1, of - found))
    return low, high


def signal(hits: int, synthetic: int, alarms: int, real: int) -> Signal:
    """Signal from counts: synthetic images called synthetic, and real images called synthetic.

    >>> found = signal(80, 100, 30, 100)
    >>> round(found.dprime, 3), round(found.criterion, 3)
    (1.35, -0.156)

    Raises:
        ValueError: when there is no image of one kind, or more calls than images.
    """
    if not (0 <= hits <= synthetic and 0 <= alarms <= real and synthetic and real):
        raise ValueError(f"counts cannot be: {hits} of {synthetic}, {alarms} of {real}")
    z_hit, z_alarm = (
        float(stats.norm.ppf((count + 0.5) / (of + 1))) for count, of in ((hits, synthetic), (alarms, real))
    )
    return Signal(z_hit - z_alarm, -(z_hit + z_alarm) / 2)


def area(synthetic: np.ndarray, real: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """AUC and the placement of each image.

    Args:
        synthetic: scores float (m,) of synthetic images.
        real: scores float (n,) of real images.

    Returns:
        AUC; for each synthetic image the share of real ones below it, (m,); for each real one the share of synthetic
        ones above it, (n,); ties one half.

    >>> area(np.array([6.0, 3]), np.array([3.0, 1]))[0]
    0.875
    """
    wins = (synthetic[:, None] > real[None, :]) + 0.5 * (synthetic[:, None] == real[None, :])
    return float(wins.mean()), wins.mean(1), wins.mean(0)


def areas(table: Table) -> Spread:
    """AUC of each reader, with what each image adds to it; each reader has at least one image of each kind."""
    influence, values = np.full(table.scores.shape, np.nan), np.zeros(len(table.readers))
    for row, scores in enumerate(table.scores):
        up, down = (np.flatnonzero((table.synthetic == kind) & ~np.isnan(scores)) for kind in (True, False))
        values[row], above, below = area(scores[up], scores[down])
        influence[row, up] = (above - values[row]) / len(up)
        influence[row, down] = (below - values[row]) / len(down)
    return crossed.spread(values, influence, table.synthetic.astype(int))


def signals(table: Table) -> tuple[Spread, Spread]:
    """Of each reader d', and of each reader the criterion; each has at least one image of each kind."""
    called, read = table.called, ~np.isnan(table.scores)
    shape = table.scores.shape
    dprime, criterion = np.full(shape, np.nan), np.full(shape, np.nan)
    values = np.zeros((2, len(table.readers)))
    for row in range(len(table.readers)):
        z = {}
        for kind, sign in ((True, 1.0), (False, -1.0)):
            own = np.flatnonzero((table.synthetic == kind) & read[row])
            z[kind] = float(stats.norm.ppf((called[row, own].sum() + 0.5) / (len(own) + 1)))
            # derivative of z by the share, times what the image adds to the share
            moved = (called[row, own] - called[row, own].mean()) / (len(own) + 1) / stats.norm.pdf(z[kind])
            dprime[row, own], criterion[row, own] = sign * moved, -moved / 2
        values[:, row] = z[True] - z[False], -(z[True] + z[False]) / 2
    kinds = table.synthetic.astype(int)
    return crossed.spread(values[0], dprime, kinds), crossed.spread(values[1], criterion, kinds)
