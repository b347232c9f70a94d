"""What an attacker with the released images sees of real people: the released image most like each, and how like.

    a(x) = max_s Q(x, s),   s*(x) = argmax_s Q(x, s)

Q is the fused similarity of the copy search, here from a real image to the released ones. A subject counts once, with
the image that is recognised best: images of one subject are not independent. `copies` are the positive control of the
measures that rest on this: altered copies of training images that are added to the released ones.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np

from chambit.measure.examination import Examination
from chambit.measure.plants import plant
from chambit.measure.search import Search, one_each


class Recognised(NamedTuple):
    """One entry for each of n subjects, in the order of their names.

    Attributes:
        subjects: names, str (n,).
        score: best fused similarity to a released image, float64 (n,); larger is more alike.
        released: position of that released image, int64 (n,).
        image: position in its set of the subject's image that is so alike, int64 (n,).
    """

    subjects: np.ndarray
    score: np.ndarray
    released: np.ndarray
    image: np.ndarray


class Copies(NamedTuple):
    """Altered copies of training images: subject, str (c,), position in train, int64 (c,), pixels float32 (c, H, W)."""

    subjects: np.ndarray
    source: np.ndarray
    images: np.ndarray


def recognised(
    search: Search, exam: Examination, released: np.ndarray, roles: Iterable[str], first: int = 0
) -> dict[str, Recognised]:
    """Look for the subjects of each role among released images.

    Args:
        search: gives the describer.
        exam: the sets.
        released: float32 (M, H, W) in [0, 1].
        roles: whose subjects to look for.
        first: position of the first of these released images, where they are added to others.
    """
    reference, group = search.describer.describe(released), np.zeros(len(released), np.int64)
    found = {}
    for role in roles:
        nearest = search.describer.nearest(exam[role].grey(), reference, group)
        score = nearest.score[:, 0].astype(np.float64)
        names, best = best_of_each(exam[role].subjects, score)
        found[role] = Recognised(names, score[best], nearest.index[best, 0] + first, best)
    return found


def joined(one: Mapping[str, Recognised], other: Mapping[str, Recognised]) -> dict[str, Recognised]:
    """The better of two recognitions of each subject, as if both sets of released images had been one."""
    both = {}
    for role, (names, score, released, image) in one.items():
        new = other[role].score > score
        both[role] = Recognised(
            names,
            np.where(new, other[role].score, score),
            np.where(new, other[role].released, released),
            np.where(new, other[role].image, image),
        )
    return both


def best_of_each(subjects: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Names of the subjects in order, str (n,), and the position of the best image of each, int64 (n,).

    >>> names, best = best_of_each(np.array(["b", "a", "b"]), np.array([1.0, 5.0, 2.0]))
    >>> names.tolist(), best.tolist()
    (['a', 'b'], [1, 2])
    """
    order = np.argsort(-score, kind="stable")
    names, first = np.unique(subjects[order], return_index=True)
    return names, order[first]


def copies(exam: Examination, count: int, families: Iterable[str] = ("jpeg50", "noise5")) -> Copies:
    """Altered copies of one image each of `count` training subjects, or of all there are.

    Args:
        exam: whose train role is copied; its seed chooses the subjects, the same ones whatever is done to them.
        count: how many subjects.
        families: what is done to each copy, one after the other (`chambit.measure.plants`).
    """
    source = np.random.default_rng(exam.context.seed("copied subjects")).permutation(one_each(exam, "train"))[:count]
    rng = np.random.default_rng(exam.context.seed("noise of the copies"))
    images = exam["train"].take(source).grey()
    for family in families:
        images = plant(images, family, rng)
    return Copies(exam["train"].subjects[source], source, images)
