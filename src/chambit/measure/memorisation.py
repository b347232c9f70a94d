"""Memorisation: are a generator's samples nearest to the people it is trained on, or to others of the same source?

One image of each training subject and one of each held-out subject stand together; every sample goes to its nearest.
Subjects that received a sample are counted, once each however many they received:

    share = X / u  (training subjects among the u),   null = n_T / (n_T + n_A)
    excess = (share - null) / (1 - null)              (0: as others; 1: every sample is nearest to training)

If the generator carries nothing of who was in training, subjects are exchangeable: the share's mean is the null's,
whatever the descriptors and however poor the samples. Interval: Clopper and Pearson. All training subjects stand on one
side: at equal numbers most training images would be absent, and with them most copies. The mean difference of scores is
taken at equal numbers, where it has the null 0 (Student's interval).

Over-training raises memorisation: Dar et al. 2025 (doi:10.1038/s41551-025-01468-8). Known failures: few held-out
subjects bring the null near 1, and then only a generator that copies much is seen (`detectable`); a collapsed generator
leaves few subjects and a wide interval.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import stats

from chambit.images.imageset import ImageSet
from chambit.measure import interval
from chambit.measure.descriptors import Described, Describer
from chambit.measure.plants import plant

HELD_OUT, TRAIN = 0, 1


class Look(NamedTuple):
    """What one set of samples says.

    share, low, high: of training subjects among the nearest, with its interval; n: subjects that received a sample;
    difference, difference_low, difference_high: mean of score to training minus score to held-out subjects.
    """

    share: float
    low: float
    high: float
    n: int
    difference: float
    difference_low: float
    difference_high: float


@dataclass(frozen=True)
class Neighbours:
    """Described images of training and held-out subjects, one of each subject.

    Attributes:
        describer: fitted on the auxiliary subjects that are not held out.
        reference: descriptors, held-out subjects first.
        group: int (M,), which column of the search an image is in: `columns` says what the columns are.
        columns: (G, 2), for each column whether it is HELD_OUT or TRAIN, and whether it is in the equal numbers.
        pictures: float32 (M, H, W).
        labels: str (M,).
        sizes: held-out and training subjects.
        level: of all intervals.
    """

    describer: Describer
    reference: Described
    group: np.ndarray
    columns: np.ndarray
    pictures: np.ndarray
    labels: np.ndarray
    sizes: tuple[int, int]
    level: float

    @classmethod
    def of(cls, train: ImageSet, auxiliary: ImageSet, seed: int, level: float = 0.95) -> "Neighbours":
        """Halve the auxiliary subjects (one half fits the describer, one is held out) and describe; see `lacking`."""
        rng = np.random.default_rng(seed)
        half = interval.groups(auxiliary.subjects, 2, rng)
        fitted, held_out = auxiliary.take(np.flatnonzero(half == 0)), auxiliary.take(np.flatnonzero(half == 1))
        describer = Describer.fit(fitted.grey(), fitted.subjects)
        sides = [one_each(images, rng) for images in (held_out, train)]
        sizes = len(sides[HELD_OUT]), len(sides[TRAIN])
        pictures = np.concatenate([images.grey() for images in sides])
        labels = np.concatenate([images.labels for images in sides])
        side = np.repeat([HELD_OUT, TRAIN], sizes)
        # `one_each` has mixed them: the first ones of each side are the equal numbers
        equal = np.concatenate([np.arange(size) < min(sizes) for size in sizes])
        columns, group = np.unique(np.stack([side, equal], axis=1), axis=0, return_inverse=True)
        return cls(describer, describer.describe(pictures), group.ravel(), columns, pictures, labels, sizes, level)

    @property
    def null(self) -> float:
        """The share when nothing is memorised."""
        return self.sizes[TRAIN] / sum(self.sizes)

    def limit(self, excess: float) -> float:
        """The share that a given excess stands for."""
        return self.null + excess * (1 - self.null)

    def equal(self, side: int) -> np.ndarray:
        """Positions of the equal numbers of one side, HELD_OUT or TRAIN."""
        (column,) = np.flatnonzero((self.columns[:, 0] == side) & (self.columns[:, 1] == 1))
        return np.flatnonzero(self.group == column)

    def look(self, samples: np.ndarray) -> Look:
        """What samples float32 (k, H, W), k at least 2, say."""
        found = self.describer.nearest(samples, self.reference, self.group)
        best = found.score.argmax(1)
        rows = np.arange(len(samples))
        # the nearest one's side follows from its subject, so each subject is counted on one side
        subjects = np.unique(found.index[rows, best])
        hits = int((subjects >= self.sizes[HELD_OUT]).sum())
        low, high = interval.clopper_pearson(hits, len(subjects), self.level)
        column = {int(side): k for k, (side, equal) in enumerate(self.columns) if equal}
        difference = (found.score[:, column[TRAIN]] - found.score[:, column[HELD_OUT]]).astype(np.float64)
        error = float(difference.std(ddof=1) / np.sqrt(len(difference)))
        half = float(stats.t.ppf((1 + self.level) / 2, len(difference) - 1)) * error
        middle = float(difference.mean())
        return Look(hits / len(subjects), low, high, len(subjects), middle, middle - half, middle + half)

    def control(self, count: int, seed: int) -> Look:
        """The same of `count` training images saved as JPEG at quality 50: nearly all must be nearest to their own."""
        rng = np.random.default_rng(seed)
        train = np.arange(self.sizes[HELD_OUT], sum(self.sizes))
        chosen = rng.permutation(train)[:count]
        return self.look(plant(self.pictures[chosen], "jpeg50", rng))


def detectable(limit: float, null: float, n: int, level: float = 0.95) -> float | None:
    """The smallest excess among n subjects whose lower bound is above the limit; None: not even 1 would be seen.

    >>> detectable(0.6, 0.5, 100), detectable(0.9, 0.89, 20)
    (0.4, None)
    """
    for hits in range(n + 1):
        if interval.clopper_pearson(hits, n, level)[0] > limit:
            return round((hits / n - null) / (1 - null), 12)
    return None


def lacking(train: ImageSet, auxiliary: ImageSet, least: int) -> str:
    """Why there can be no look, with the numbers needed, or ""."""
    there = len(np.unique(auxiliary.subjects)) if len(auxiliary) else 0
    if there < 2 * least:
        return (
            f"The auxiliary images are of {there} subjects; looking needs {2 * least}: "
            f"{least} to compare with and {least} to fit the detectors."
        )
    return "" if len(train) else "There are no training images."


def one_each(images: ImageSet, rng: np.random.Generator) -> ImageSet:
    """One image of each subject, in random order."""
    order = rng.permutation(len(images))
    _, first = np.unique(images.subjects[order], return_index=True)
    return images.take(order[np.sort(first)])
