"""Fusion: how the likenesses that several detectors see become one score.

Scores of one detector are put on one scale, z = (s - q) / e, with q the 80 % point of auxiliary images' scores to their
nearest reference and e the mean excess above it; the fused score is the largest z. Some pictures are like everybody's,
and a few such strangers would set the threshold. A copy is like one patient's: so references may be searched in two
groups of patients, and what the best of the other group reaches counts against a match (`Found.contrasted`).
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from chambit.measure.views import SCORED

DETECTORS = (*(group.name for group in SCORED), "registered", "spectrum")
CONTRAST = 0.6
"""How much of the other group's likeness counts against a match; 0.4 to 0.7 served alike on three cohorts, and at less
than one a copy of a patient who has a double in the other group is still found when it is near."""
TAIL = 0.8
"""From which quantile on strangers' scores count as their tail; of a few hundred images a fifth is enough."""


class Scale(NamedTuple):
    """Per detector (D,), where the tail of unrelated scores starts and its mean excess."""

    start: np.ndarray
    excess: np.ndarray


@dataclass(frozen=True)
class Found:
    """Best reference of each query in each group of references, per detector.

    Attributes:
        score: likeness as Fisher's z float32 (N, G, D).
        index: which reference, int64 (N, G, D).
        turn: which change of the query, int8 (N, G, D), see `views.Group.turns`.
        affine: of the registered reference, float32 (N, G, 2, 3).
    """

    score: np.ndarray
    index: np.ndarray
    turn: np.ndarray
    affine: np.ndarray

    def contrasted(self) -> "Found":
        """One group: the best of all (N, 1, ...), its score less CONTRAST times the best of the other groups."""
        if self.score.shape[1] == 1:
            return self
        order = np.argsort(-self.score, axis=1, kind="stable")
        first, next_ = order[:, :1], np.take_along_axis(self.score, order[:, 1:2], 1)
        index, turn = (np.take_along_axis(part, first, 1) for part in (self.index, self.turn))
        affine = np.take_along_axis(self.affine, first[:, :, DETECTORS.index("registered"), None, None], 1)
        return Found(np.take_along_axis(self.score, first, 1) - CONTRAST * next_, index, turn, affine)

    def scale(self) -> Scale:
        """The scale that these queries, known to be unrelated, set; over all groups of references together."""
        best = self.score.max(1)
        start = np.quantile(best, TAIL, axis=0)
        above = np.where(best > start, best - start, 0).sum(0) / np.maximum((best > start).sum(0), 1)
        # a detector that gives all unrelated images one score cannot be scaled, and must not decide
        return Scale(start, np.where(above > 1e-6, above, np.inf))

    def fused(self, scale: Scale) -> "Nearest":
        """The largest scaled score of any detector."""
        z = (self.score - scale.start) / scale.excess
        which = z.argmax(2)
        n, g = np.indices(which.shape)
        return Nearest(
            z[n, g, which].astype(np.float32),
            self.index[n, g, which],
            self.turn[n, g, which],
            which.astype(np.int8),
            self.affine,
        )


@dataclass(frozen=True)
class Nearest:
    """Best match of each query in each group (N, G): score, reference, turn, index in DETECTORS; maps (N, G, 2, 3)."""

    score: np.ndarray
    index: np.ndarray
    turn: np.ndarray
    detector: np.ndarray
    affine: np.ndarray
