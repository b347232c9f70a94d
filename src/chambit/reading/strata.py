"""How many images of a set cannot be accepted, told from a sample that is drawn class by class.

The number D of such images is fixed; what is random is the draw. In one stratum of N images, n of them drawn, x found:

    Pr(X <= x | D) = sum over k = 0..x of  C(D, k) C(N - D, n - k) / C(N, n)          (hypergeometric)

and the interval is every D that neither tail refutes, as Clopper and Pearson 1934 for a finite set. Over several strata
the D images may lie anywhere. Each X_h is a sum of independent trials (all roots of its generating function are real:
Vatutin and Mikhailov 1982), min(n_h, D_h) of them, with mean n_h D_h / N_h in all. So Hoeffding's
theorem on such sums (1956, doi:10.1214/aoms/1177728178) holds, whatever stratum the D images lie in:

    Pr(X <= c) <= Bin(m, mu / m).cdf(c)   for c <= mu - 1,   m = min(n, D),   mu = the least mean over all ways to lie

and likewise for the other tail with the largest mean. With equal fractions n_h / N_h it costs one or two images against
the hypergeometric plan of the whole set. Both are exact in this sense: what is promised is kept for every set, so the
risk is at most, and the coverage at least, what is stated. Tails are discrete: coverage is 0.97 rather than 0.95.

Known failure: nothing here knows of an inspector who errs; the agreement of those who read the same image does.
"""

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import NamedTuple

from scipy import stats

from chambit.core.evidence import Interval
from chambit.prepare import sampling


class Drawn(NamedTuple):
    """A stratum: images in the set, and how many of them were drawn."""

    size: int
    sample: int


class Sizes(NamedTuple):
    """A plan: images to draw of each stratum, and the most that may be found unacceptable in all of them."""

    samples: dict[str, int]
    accept: int


def planned(sizes: Mapping[str, int], *, limit: float, risk: float, good: float, good_risk: float) -> Sizes:
    """The sample of each stratum, in proportion, that accepts a set at the limit with probability `risk` at most.

    Args:
        sizes: images of each stratum, at least one.
        limit: share of unacceptable images that a set must be shown to stay below.
        risk: largest probability to accept a set at the limit, however its unacceptable images lie (consumer's risk).
        good: share of unacceptable images that is still fine.
        good_risk: largest probability to turn such a set down, of the plan for the whole set (producer's risk).

    >>> planned({"a": 1500, "b": 1500}, limit=0.05, risk=0.05, good=0.01, good_risk=0.1)
    Sizes(samples={'a': 77, 'b': 77}, accept=3)
    """
    total = sum(sizes.values())
    whole = sampling.planned(total, aql=good, producer_risk=good_risk, ltpd=limit, consumer_risk=risk)
    bad = sampling.wrong_at(total, limit, up=True)
    for sample in range(max(whole.sample, len(sizes)), total + 1):
        samples = proportional(sizes, sample)
        parts = [Drawn(size, samples[name]) for name, size in sizes.items()]
        if accepted_at_most(parts, bad, whole.accept) <= risk:
            break
    return Sizes(samples, whole.accept)


def proportional(sizes: Mapping[str, int], total: int) -> dict[str, int]:
    """A number in the proportion of the sizes, at least one of each and none more than there are (largest remainders).

    >>> proportional({"a": 900, "b": 90, "c": 10}, 20)
    {'a': 18, 'b': 1, 'c': 1}
    """
    exact = {name: Fraction(total * size, sum(sizes.values())) for name, size in sizes.items()}
    found = {name: max(1, int(share)) for name, share in exact.items()}
    while (left := total - sum(found.values())) != 0:  # too many where small strata were given their one
        step = 1 if left > 0 else -1
        may = [name for name in sizes if (found[name] < sizes[name] if step > 0 else found[name] > 1)]
        name = max(may, key=lambda one: (step * (exact[one] - found[one]), one))
        found[name] += step
    return found


def accepted_at_most(parts: Sequence[Drawn], bad: int, accept: int) -> float:
    """The largest probability to find at most `accept` of `bad` images, over all ways in which these may lie."""
    if len(parts) == 1:
        return float(stats.hypergeom.cdf(accept, parts[0].size, bad, parts[0].sample))
    mean, trials = _mean(parts, bad, fewest=True), _trials(parts, bad)
    return float(stats.binom.cdf(accept, trials, min(1.0, mean / trials))) if accept <= mean - 1 else 1.0


def found_at_most(parts: Sequence[Drawn], bad: int, least: int) -> float:
    """The largest probability to find `least` or more of `bad` images, over all ways in which these may lie."""
    if len(parts) == 1:
        return float(stats.hypergeom.sf(least - 1, parts[0].size, bad, parts[0].sample))
    mean, trials = _mean(parts, bad, fewest=False), _trials(parts, bad)
    if not trials:
        return float(least <= 0)
    return float(stats.binom.sf(least - 1, trials, min(1.0, mean / trials))) if least - 1 >= mean else 1.0


def interval(parts: Sequence[Drawn], found: int, level: float) -> Interval:
    """The share of such images in the whole set, two-sided.

    Args:
        parts: every stratum with its sample; the samples are not all empty.
        found: how many were found in all samples together.
        level: of the interval.

    >>> one = interval([Drawn(1000, 60)], 0, 0.9)
    >>> one.low, one.high
    (0.0, 0.047)
    """
    size, tail = sum(one.size for one in parts), (1 - level) / 2
    high = most(parts, found, tail)
    low = _first(found, high, lambda bad: found == 0 or found_at_most(parts, bad, found) > tail)
    return Interval(low=low / size, high=high / size, level=level, method=method(parts))


def upper(parts: Sequence[Drawn], found: int, risk: float) -> Interval:
    """The share of such images in the whole set is at most `high`, with confidence 1 - `risk`; as `interval`."""
    high = most(parts, found, risk) / sum(one.size for one in parts)
    return Interval(low=0.0, high=high, level=1 - risk, method=method(parts), sides=1)


def most(parts: Sequence[Drawn], found: int, risk: float) -> int:
    """The most such images that the set may have, with confidence 1 - `risk`."""
    last = sum(one.size - one.sample for one in parts) + found
    return _first(found, last + 1, lambda bad: bad > last or accepted_at_most(parts, bad, found) <= risk) - 1


def method(parts: Sequence[Drawn]) -> str:
    """How an interval over these strata is made, in words."""
    one = len(parts) == 1
    return "hypergeometric, exact" if one else "strata, Hoeffding's bound for every way the images may lie, exact"


def weighted(parts: Sequence[Drawn], found: Sequence[int]) -> float:
    """The share of such images in the set: each stratum's own share by the images it stands for.

    >>> weighted([Drawn(900, 9), Drawn(100, 10)], [0, 5])
    0.05
    """
    return sum(one.size * count / one.sample for one, count in zip(parts, found, strict=True)) / sum(
        one.size for one in parts
    )


def _trials(parts: Sequence[Drawn], bad: int) -> int:
    return min(sum(one.sample for one in parts), bad)


def _mean(parts: Sequence[Drawn], bad: int, *, fewest: bool) -> float:
    """The least or the largest number of `bad` images that a draw finds on average."""
    mean, left = Fraction(0), bad
    for one in sorted(parts, key=lambda each: Fraction(each.sample, each.size), reverse=not fewest):
        here = min(one.size, left)
        mean, left = mean + Fraction(here * one.sample, one.size), left - here
    return float(mean)


def _first(low: int, high: int, holds: Callable[[int], bool]) -> int:
    """The first number from `low` to `high` for which something holds that holds for all larger ones."""
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle + 1, high)
    return low
