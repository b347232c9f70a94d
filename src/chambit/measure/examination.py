"""What a measure is given: the sets of images by role, the policy's settings, seeds, and a `map` for heavy parts.

Roles. `train`: what the generator saw. `holdout`: real, same source, subject-disjoint, seen by neither the generator
nor any learned detector. `auxiliary`: real, fits detectors and whitening. `test`: real, for downstream utility.
`synthetic`: exactly the images to be released, after refinement.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from chambit.core.evidence import Control, Finding, Frozen
from chambit.core.steps import Context
from chambit.images.imageset import ImageSet
from chambit.measure import extractors
from chambit.measure.weights import Weights

ROLES = ("train", "holdout", "auxiliary", "test", "synthetic")


@dataclass(frozen=True)
class Examination:
    """Images by role, with where to compute.

    Attributes:
        sets: role -> images; a role without images is absent.
        context: store, seeds, progress, and chunked `map` of the running step.
        planted: near-duplicates that the generator itself made of training images, refined like the set: family ->
            images, whose column `source` is the id of the training image. Empty where the generator is unknown.
        probes: what the generator's own network says about real images: name of a score -> table with `id`, `role`
            ('train', 'holdout' or 'auxiliary') and `score` (float64, larger means better known). Empty where the
            generator is unknown.
        claim: what the stage promises by differential privacy: `epsilon`, `epsilon_replaced`, `delta` and, where it
            threw coins, `canaries` and `left_out` (names of train subjects). Empty where nothing is promised.
        weights: extractor -> the file of weights that was given for it.
        variants: step of the refinement -> the roles `synthetic` and `test` refined without it. Empty where the set was
            refined elsewhere or not at all.
        rivals: name of another generator -> what it made of the same training images, refined alike. Empty where the
            study names none.
        enlarged: `small` and `large`, what a super-resolution stage was given and made of it; `real`, unseen real
            images at the size of `large`; `again`, those made small and enlarged by the stage. All uint8; empty where
            no stage enlarges.
    """

    sets: Mapping[str, ImageSet]
    context: Context
    planted: Mapping[str, ImageSet] = field(default_factory=dict)
    probes: Mapping[str, pl.DataFrame] = field(default_factory=dict)
    claim: Mapping[str, Any] = field(default_factory=dict)
    weights: Mapping[str, Weights] = field(default_factory=dict)
    variants: Mapping[str, Mapping[str, ImageSet]] = field(default_factory=dict)
    rivals: Mapping[str, ImageSet] = field(default_factory=dict)
    enlarged: Mapping[str, ImageSet] = field(default_factory=dict)

    def __getitem__(self, role: str) -> ImageSet:
        return self.sets[role]

    def __contains__(self, role: str) -> bool:
        return role in self.sets

    def subjects(self, role: str) -> int:
        """Number of distinct subjects of a role, 0 when it is absent."""
        return len(np.unique(self.sets[role].subjects)) if role in self.sets else 0

    def count(self, role: str) -> int:
        """Number of images of a role, 0 when it is absent."""
        return len(self.sets[role]) if role in self.sets else 0

    def lacks(self, images: Mapping[str, int], subjects: Mapping[str, int]) -> str:
        """The first role that is too small, with the number needed, or "".

        Args:
            images: role -> fewest images.
            subjects: role -> fewest distinct subjects.
        """
        for least, count, unit in ((images, self.count, "images"), (subjects, self.subjects, "subjects")):
            for role, needed in least.items():
                if (there := count(role)) < needed:
                    return f"The role '{role}' is too small: {there} {unit}, at least {needed} needed."
        return ""

    def inputs(self, *roles: str) -> dict[str, str]:
        """Digests of the sets a finding rests on."""
        return {role: self.sets[role].digest for role in roles if role in self.sets}

    def features(self, role: str, extractor: str) -> np.ndarray:
        """Feature vectors float64 (N, d) of a role, computed chunk by chunk and kept."""
        return extractors.embedded(self, self.sets[role], extractor)


@dataclass(frozen=True)
class Result:
    """What a measure returns.

    Attributes:
        findings: its numbers.
        scores: columns for the table of synthetic images: name -> values in the set's order.
        pairs: the real-synthetic pairs a reader must look at, most alike first.
        heats: where two networks looked in some test images, for a picture; those they agree on least come first.
    """

    findings: tuple[Finding, ...]
    scores: pl.DataFrame | None = None
    pairs: tuple["Pair", ...] = ()
    heats: "Heats | None" = None


class Heats(NamedTuple):
    """Where networks looked: `rows` int64 (K,) of the role `test`, and maps uint8 (K, H, W), the hottest pixel at 255.

    `real` is of the networks trained on real images, `synthetic` of those trained on synthetic ones.
    """

    rows: np.ndarray
    real: np.ndarray
    synthetic: np.ndarray


class Pair(Frozen):
    """A synthetic image beside the real image it is most like.

    Attributes:
        synthetic, real: image ids.
        turn: which of the eight flips and quarter turns of the synthetic image fits the real one, an index in
            `descriptors.TURNS`; 8 more where its grey values were inverted, too.
        score: fused similarity, in mean excesses above the 80 % point of unrelated subjects.
        p: conformal p-value.
        flagged: whether p is at or below the policy's level.
        detector: which detector found it, or '' where there is one alone.
        affine: the map that lays the real image under the turned synthetic one, six numbers of a (2, 3) matrix row by
            row: from (y, x, 1) of the synthetic image to (y, x) of the real one, both in [-1, 1] from border to border
            (the middle of pixel i of N is at (2 i + 1) / N - 1); beyond the border the edge repeats. None where nothing
            was aligned.
    """

    synthetic: str
    real: str
    turn: int
    score: float
    p: float
    flagged: bool
    detector: str = ""
    affine: tuple[float, ...] | None = None


def not_run(
    measure: str,
    quantities: Mapping[str, str],
    reason: str,
    n: Mapping[str, int],
    control: Control | None = None,
) -> Result:
    """The result of a measure that could not be run: every quantity present, none with a value.

    Args:
        measure: name and version.
        quantities: quantity -> direction ('lower', 'higher' or 'neither').
        reason: why, with the number that would be needed.
        n: the sizes there were.
        control: the control, where it ran.
    """
    return Result(
        tuple(
            Finding(
                measure=measure,
                quantity=quantity,
                value=None,
                direction=direction,
                reason=reason,
                n=dict(n),
                control=control,
            )
            for quantity, direction in quantities.items()
        )
    )
