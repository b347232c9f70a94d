"""Precision, recall, density and coverage: do synthetic images lie among the real, and how much of the real they reach.

With r_k(x) the distance of x to its k-th nearest neighbour in its own set, B(x) the ball of that radius:

    precision = share of synthetic y in some B(x), x real        density  = mean number of B(x) that hold y, over k
    recall    = share of real x in some B(y), y synthetic        coverage = share of real x whose B(x) holds some y

Kynkaanniemi et al. 2019 (arXiv:1904.06991), Naeem et al. 2020 (arXiv:2002.09797); k = 5 in both. All pairs are looked
at in tiles (`measure.pairs`), exactly, at any n. Known failures: one outlier with a wide radius inflates precision and
recall (density and coverage less); in many dimensions even real against real stays well below 1, hence the band at the
same n.
"""

from functools import partial

import numpy as np

from chambit.core.evidence import Finding, Frozen, Interval
from chambit.measure import bands, interval
from chambit.measure.examination import Examination, Result, not_run
from chambit.measure.pairs import Points, cross, within
from chambit.measure.utility.frechet import features, lacking, sizes

version = "2"
QUANTITIES = {"precision": "higher", "recall": "higher", "density": "higher", "coverage": "higher"}


class Options(Frozen):
    """extractor: which features; k: neighbour; draws: splits of the band.

    blocks: groups of the jackknife; level: of the intervals.
    """

    extractor: str = "texture"
    k: int = 5
    draws: int = 20
    blocks: int = 20
    level: float = 0.95


def values(x: Points, y: Points, k: int) -> np.ndarray:
    """The four numbers in the order of QUANTITIES, float64 (1 + G, 4): of all, then without each group; (1, 4) where
    there is one group.

    Args:
        x: real features, more than k of them.
        y: synthetic features, more than k of them, with as many groups.
        k: which neighbour.
    """
    cases = 1 if x.groups == 1 else 1 + x.groups
    kept = k if cases == 1 else 3 * k + 1
    near = [within(part, min(kept, len(part) - 1)).nearest for part in (x, y)]
    seen = cross(x, y, near[0].radii(k, x, x), near[1].radii(k, y, y))
    out = np.empty((cases, 4))
    for g in range(cases):
        real, made = ((part.group != g - 1).numpy() for part in (x, y))
        inside = seen.inside[:, g].numpy()[made]
        reached, covered = (part[:, g].numpy()[real] for part in (seen.reached, seen.covered))
        out[g] = (inside > 0).mean(), reached.mean(), inside.mean() / k, covered.mean()
    return out


def measure(exam: Examination, options: Options) -> Result:
    """The four numbers of the synthetic set against the unseen real images (holdout)."""
    name = f"precision_recall@{version}"
    if reason := lacking(exam, options.blocks):
        return not_run(name, QUANTITIES, reason, sizes(exam))
    real, synthetic, roles = features(exam, options.extractor)
    centre = real.mean(0)
    real, synthetic = real - centre, synthetic - centre
    subjects = np.concatenate([exam["train"].subjects, exam["holdout"].subjects])
    rng = np.random.default_rng(exam.context.seed("band"))
    n = min(bands.common_size(len(synthetic), subjects), int((roles == "holdout").sum()))
    left = bands.pick(np.flatnonzero(roles == "holdout"), n, rng)
    right = bands.pick(np.arange(len(synthetic)), n, rng)
    a = interval.groups(subjects[left], options.blocks, rng)
    b = interval.groups(np.arange(n), options.blocks, rng)
    all_, *left_out = values(Points.of(real[left], a), Points.of(synthetic[right], b), options.k)
    found = bands.several(partial(_plain, k=options.k), real, subjects, n, options.draws, rng)
    findings = []
    for which, quantity in enumerate(QUANTITIES):
        value, band = float(all_[which]), found[which]
        spread = interval.jackknife(
            value,
            np.array(left_out)[:, which],
            options.level,
            f"jackknife over {options.blocks} groups of subjects",
        )
        findings.append(
            Finding(
                measure=name,
                quantity=quantity,
                value=value,
                interval=spread if quantity == "density" else _share(spread),
                n={"images per side": n, "k": options.k},
                null=band.middle,
                direction="higher",
                band=band,
                details={"extractor": options.extractor, "ratio": value / max(band.middle, 1e-9)},
                inputs=exam.inputs("train", "holdout", "synthetic"),
            )
        )
    return Result(tuple(findings))


def _plain(x: np.ndarray, y: np.ndarray, k: int) -> np.ndarray:
    return np.asarray(values(Points.of(x), Points.of(y), k)[0])


def _share(spread: Interval) -> Interval:
    """A share lies between 0 and 1, and so does its interval."""
    return spread.model_copy(update={"low": max(0.0, spread.low), "high": min(1.0, spread.high)})
