"""Improved precision and recall: how many synthetic images lie among the real, and how much of the real they reach.

A point lies in a set's support when it is within the distance of some member to that member's k-th neighbour in the
set: precision = share of synthetic in the real support; recall = share of real in the synthetic support.

Kynkaanniemi et al. 2019 (arXiv:1904.06991), k = 5. Known failures: one outlier with a wide radius inflates both; in
many dimensions even real against real stays well below 1, hence the band at the same n.
"""

from functools import partial
from typing import NamedTuple

import numpy as np

from chambit.core.evidence import Finding, Frozen, Interval
from chambit.measure import bands, interval
from chambit.measure.examination import Examination, Result, not_run
from chambit.measure.utility.frechet import features, lacking, sizes

version = "1"
QUANTITIES = {"precision": "higher", "recall": "higher"}


class Options(Frozen):
    """extractor: which features; k: neighbour; draws: splits of the band.

    blocks: groups of the jackknife; level: of the intervals.
    """

    extractor: str = "texture"
    k: int = 5
    draws: int = 20
    blocks: int = 20
    level: float = 0.95


class Support(NamedTuple):
    """Squared distances within and between two sets, computed once: (N, N), (M, M), (N, M)."""

    real: np.ndarray
    other: np.ndarray
    cross: np.ndarray

    @classmethod
    def of(cls, real: np.ndarray, other: np.ndarray) -> "Support":
        """All squared Euclidean distances of features (N, d) and (M, d)."""
        return cls(_squared(real, real), _squared(other, other), _squared(real, other))

    def precision_recall(self, keep: np.ndarray, held: np.ndarray, k: int) -> tuple[float, float]:
        """Both numbers on the kept real and held other images (bool masks)."""
        reach = np.partition(self.real[np.ix_(keep, keep)], k, axis=1)[:, k]  # column 0 is the point itself
        other = np.partition(self.other[np.ix_(held, held)], k, axis=1)[:, k]
        cross = self.cross[np.ix_(keep, held)]
        return float((cross <= reach[:, None]).any(0).mean()), float((cross <= other[None, :]).any(1).mean())


def _squared(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.asarray(np.maximum((x * x).sum(1)[:, None] + (y * y).sum(1)[None, :] - 2 * x @ y.T, 0))


def _share(spread: Interval) -> Interval:
    """A share lies between 0 and 1, and so does its interval."""
    return spread.model_copy(update={"low": max(0.0, spread.low), "high": min(1.0, spread.high)})


def measure(exam: Examination, options: Options) -> Result:
    """Precision and recall of the synthetic set against the unseen real images (holdout)."""
    name = f"precision_recall@{version}"
    if reason := lacking(exam, options.blocks):
        return not_run(name, QUANTITIES, reason, sizes(exam))
    real, synthetic, roles = features(exam, options.extractor)
    subjects = np.concatenate([exam["train"].subjects, exam["holdout"].subjects])
    rng = np.random.default_rng(exam.context.seed("band"))
    n = min(bands.common_size(len(synthetic), subjects), int((roles == "holdout").sum()))
    left = bands.pick(np.flatnonzero(roles == "holdout"), n, rng)
    right = bands.pick(np.arange(len(synthetic)), n, rng)
    support = Support.of(real[left], synthetic[right])
    a = interval.groups(subjects[left], options.blocks, rng)
    b = interval.groups(np.arange(n), options.blocks, rng)
    everything = np.ones(n, bool)
    values = support.precision_recall(everything, everything, options.k)
    left_out = np.array([support.precision_recall(a != g, b != g, options.k) for g in range(options.blocks)])
    state = rng.bit_generator.state
    findings = []
    for which, quantity in enumerate(QUANTITIES):
        rng.bit_generator.state = state  # both bands from the same splits
        distance = partial(_one, k=options.k, which=which)
        band = bands.real_versus_real(distance, real, subjects, n, options.draws, rng)
        findings.append(
            Finding(
                measure=name,
                quantity=quantity,
                value=values[which],
                interval=_share(
                    interval.jackknife(
                        values[which],
                        left_out[:, which],
                        options.level,
                        f"jackknife over {options.blocks} groups of subjects",
                    )
                ),
                n={"images per side": n, "k": options.k},
                null=band.middle,
                direction="higher",
                band=band,
                details={"extractor": options.extractor, "ratio": values[which] / max(band.middle, 1e-9)},
                inputs=exam.inputs("train", "holdout", "synthetic"),
            )
        )
    return Result(tuple(findings))


def _one(x: np.ndarray, y: np.ndarray, k: int, which: int) -> float:
    """Precision (which 0) or recall (1) of y against x."""
    return Support.of(x, y).precision_recall(np.ones(len(x), bool), np.ones(len(y), bool), k)[which]
