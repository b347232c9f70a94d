"""The fused search of one examination: describer fitted on the auxiliary set, train and holdout indexed once."""

from dataclasses import dataclass, field, replace

import numpy as np

from chambit.measure.descriptors import Described, Describer, Nearest
from chambit.measure.examination import Examination

TRAIN, HOLDOUT = 0, 1


@dataclass
class Search:
    """Descriptors of train and holdout, and nearest neighbours of each role, computed when first asked for."""

    exam: Examination
    describer: Describer
    reference: Described
    group: np.ndarray
    _nearest: dict[str, Nearest] = field(default_factory=dict)

    @classmethod
    def of(cls, exam: Examination) -> "Search":
        """Fit and index; a few seconds for thousands of images."""
        auxiliary = exam["auxiliary"]
        describer = Describer.fit(auxiliary.grey(), auxiliary.subjects)
        train, holdout = (describer.describe(exam[role].grey()) for role in ("train", "holdout"))
        reference = Described(*(np.concatenate(pair) for pair in zip(train, holdout, strict=True)))
        group = np.repeat([TRAIN, HOLDOUT], [len(exam["train"]), len(exam["holdout"])])
        return cls(exam, describer, reference, group)

    def nearest(self, role: str) -> Nearest:
        """Best matches of a role's images: column 0 in train, column 1 in holdout (index within that set)."""
        if role not in self._nearest:
            self._nearest[role] = self.match(self.exam[role].grey())
        return self._nearest[role]

    def match(self, images: np.ndarray) -> Nearest:
        """Best matches of any images float32 (N, H, W) in train and in holdout."""
        found = self.describer.nearest(images, self.reference, self.group)
        offset = np.array([0, len(self.exam["train"])])
        return replace(found, index=found.index - offset)

    def to_train(self, images: np.ndarray) -> np.ndarray:
        """Score of each image to its nearest training image, float32 (N,)."""
        return self.match(images).score[:, TRAIN]

    def holdout_to_train(self, exam: Examination) -> np.ndarray:
        """Calibration: scores of one image of each holdout subject to train."""
        return self.to_train(exam["holdout"].take(one_each(exam, "holdout")).grey())

    def train_to_holdout(self, exam: Examination) -> np.ndarray:
        """The mirror: scores of one image of each train subject to holdout."""
        return self.match(exam["train"].take(one_each(exam, "train")).grey()).score[:, HOLDOUT]


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
