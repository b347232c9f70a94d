"""Quantities of a classifier on real test images, with one bootstrap of subjects and trainings for all arms.

AUROC needs no threshold. AUPR is read beside the prevalence, which is its value for a coin. Accuracy takes the likelier
class. Sensitivity is at a specificity whose threshold was chosen on other real images (auxiliary), never on the test
images. Calibration: Brier score, expected calibration error (15 bins of equal mass), slope of logistic recalibration.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from chambit.measure import classification, interval

NORMAL = ("normal", "negative", "healthy", "no finding", "benign", "control", "정상", "음성")
"""Labels of the class without the finding; of two classes the other is then the positive one."""

Values = Callable[[np.ndarray, np.ndarray, np.ndarray | None, float], np.ndarray]


class Endpoint(NamedTuple):
    """A quantity of scores (n, K), truth (n,), weights (B, n) or None and a threshold: (B,) or (1,)."""

    values: Values
    binary: bool = False


ENDPOINTS: Mapping[str, Endpoint] = {
    "auroc": Endpoint(lambda s, t, w, _: interval.macro_auroc(s, t, w)),
    "aupr": Endpoint(lambda s, t, w, _: classification.macro_average_precision(s, t, w)),
    "accuracy": Endpoint(lambda s, t, w, _: classification.accuracy(s, t, w)),
    "sensitivity": Endpoint(lambda s, t, w, cut: classification.sensitivity(s[:, 1], t == 1, cut, w), binary=True),
}
CALIBRATION = Endpoint(lambda s, t, w, _: classification.calibration_error(s, t, w))


def ordered(classes: Sequence[str], positive: str) -> list[str]:
    """Classes with the positive one last, where there are two.

    >>> ordered(["lesion", "normal"], ""), ordered(["a", "b"], "a"), ordered(["c", "a", "b"], "")
    (['normal', 'lesion'], ['b', 'a'], ['a', 'b', 'c'])
    """
    names = sorted(classes)
    if len(names) != 2:
        return names
    if positive in names:
        return [name for name in names if name != positive] + [positive]
    return sorted(names, key=lambda name: name.strip().lower() not in NORMAL) if _one_normal(names) else names


def _one_normal(names: Sequence[str]) -> bool:
    return sum(name.strip().lower() in NORMAL for name in names) == 1


class Resampling(NamedTuple):
    """Truth int (n,), bootstrap weights by subject (B, n), and where the drawing of trainings comes from."""

    truth: np.ndarray
    weights: np.ndarray
    seed: int


class Arm:
    """One quantity of an arm: of each training, their mean, and of each bootstrap draw of subjects and trainings."""

    def __init__(
        self, endpoint: Endpoint, scores: Sequence[np.ndarray], cuts: Sequence[float], resampling: Resampling
    ) -> None:
        truth, weights, _ = resampling
        given = list(zip(scores, cuts, strict=True))
        self.seeds = np.array([float(endpoint.values(s, truth, None, cut)[0]) for s, cut in given])
        boot = np.stack([endpoint.values(s, truth, weights, cut) for s, cut in given])
        # the mean of some trainings is reported, so the resample draws as many trainings anew
        drawn = np.random.default_rng(resampling.seed).integers(len(given), size=(len(weights), len(given)))
        self.boot = boot[drawn, np.arange(len(weights))[:, None]].mean(1)
        self.mean = float(self.seeds.mean())

    def told(self) -> dict[str, Any]:
        """Mean, 95 % interval and the value of each training, for tables."""
        low, high = np.nanquantile(self.boot, [0.025, 0.975]).tolist()
        return {"value": self.mean, "low": low, "high": high, "seeds": self.seeds.tolist()}


def cuts(scored: Sequence[Mapping[str, np.ndarray]], labels: np.ndarray | None, specificity: float) -> list[float]:
    """A threshold on the positive class's score for each training, chosen on auxiliary images; NaN without them.

    Args:
        scored: of each training: scores by role.
        labels: int (N,) of the auxiliary images, or None; two classes.
        specificity: that the threshold is to have there.
    """
    if labels is None:
        return [float("nan")] * len(scored)
    return [classification.threshold_at_specificity(one["auxiliary"][:, 1], labels == 1, specificity) for one in scored]


def calibration(scores: Sequence[np.ndarray], truth: np.ndarray) -> dict[str, float]:
    """Brier score, expected calibration error and slope, means over trainings."""
    out = {
        "brier": float(np.mean([classification.brier(s, truth)[0] for s in scores])),
        "ece": float(np.mean([classification.calibration_error(s, truth)[0] for s in scores])),
    }
    if scores[0].shape[1] == 2:
        lines = [classification.calibration_line(classification.log_odds(s, 1), truth == 1) for s in scores]
        out["slope"] = float(np.mean([line.slope[0] for line in lines]))
        out["intercept"] = float(np.mean([line.intercept[0] for line in lines]))
    return {key: value for key, value in out.items() if np.isfinite(value)}
