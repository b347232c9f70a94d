"""What the attacks and the WP29 risks share with the copy finder: descriptors of strangers, levels, one image each."""

from dataclasses import dataclass

import numpy as np

from chambit.measure.descriptors import Describer
from chambit.measure.examination import Examination


@dataclass(frozen=True)
class Search:
    """Descriptors that know neither train nor holdout."""

    describer: Describer

    @classmethod
    def of(cls, exam: Examination) -> "Search":
        """Learn from the auxiliary images."""
        auxiliary = exam["auxiliary"]
        return cls(Describer.fit(auxiliary.grey(), auxiliary.subjects))


def level(alpha: float, alpha_small: float, subjects: int) -> float:
    """The level of a flag that a holdout of so many subjects allows: `alpha` needs 1 / alpha - 1 of them."""
    return alpha if (subjects + 1) * alpha >= 1 else alpha_small


def threshold(calibration: np.ndarray, alpha: float) -> float:
    """The score a flagged image must exceed: the k-th largest of the sorted scores, k = floor(alpha (n + 1))."""
    return float(calibration[-max(1, int(alpha * (len(calibration) + 1) + 1e-9))])


def lacking(exam: Examination, least_auxiliary: int) -> str:
    """Why there can be no search, with the number needed, or "": the describer learns from the auxiliary images."""
    images = {"train": 1, "holdout": 1, "synthetic": 1, "auxiliary": least_auxiliary}
    return exam.lacks(images, subjects={"auxiliary": 2})


def one_each(exam: Examination, role: str) -> np.ndarray:
    """The position of one image of each subject, chosen at random: images of one subject are not independent."""
    order = np.random.default_rng(exam.context.seed(f"one each {role}")).permutation(len(exam[role]))
    _, first = np.unique(exam[role].subjects[order], return_index=True)
    return np.sort(order[first])
