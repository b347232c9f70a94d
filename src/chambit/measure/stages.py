"""Stages as a judge sees them: a small network trained on real training frames names the stage of each unseen frame.

The stage with the largest mean log-probability over the trainings is the judge's. Agreement beyond chance is Cohen's
kappa = (a - c) / (1 - c), a the share of frames judged as stated, c what two independent opinions with these shares of
stages would agree (Cohen 1960, doi:10.1177/001316446002000104).

Known failure: the judge sees one frame at a time and errs near the change of a stage, on real frames as well.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np

from chambit.core import digest, extensions
from chambit.core.seeds import seed as derive
from chambit.core.store import Store
from chambit.images import imageset
from chambit.measure import classifier, sequences
from chambit.measure.examination import Examination
from chambit.measure.sequences import Sequences

version = "1"
JUDGED: Final = ("holdout", "synthetic")
"""Roles whose frames are judged; the judge learns from `train`."""


class Training(NamedTuple):
    """How the judge is trained: which learner, optimiser steps, how many trainings."""

    learner: str
    steps: int
    seeds: int


class Judged(NamedTuple):
    """What the judge saw on one side.

    Attributes:
        owners: subject of each sequence, str (S,).
        back: steps back of each, int64 (S,).
        forth: steps forward of each.
        changes: steps forward of the stated stages less steps back.
        right: share of each sequence's frames judged as stated, float64 (S,).
        kappa: agreement beyond chance over all frames.
        recall: stage -> share of its frames judged so.
        stated: share of sequences whose stated stages go back.
    """

    owners: np.ndarray
    back: np.ndarray
    forth: np.ndarray
    changes: np.ndarray
    right: np.ndarray
    kappa: float
    recall: Mapping[str, float]
    stated: float


def opinions(
    exam: Examination, seen: Mapping[str, Sequences], order: Sequence[str], training: Training
) -> dict[str, np.ndarray]:
    """Log-probabilities float32 (N, K) of the frames of each role in JUDGED, one sequence after the other.

    Args:
        exam: with train, holdout and synthetic images.
        seen: sequences of each.
        order: the K stages.
        training: of the judge.
    """
    given = {}
    for role in ("train", *JUDGED):
        part = exam[role].take(np.concatenate(seen[role].at))
        labels = [order.index(label) if label in order else -1 for label in part.labels.tolist()]
        given[role] = {"places": part.table.select("block", "row").rows(), "label": labels}
    tasks = {}
    for k in range(training.seeds):
        task = {"seed": derive(exam.context.step.seed, "stages", k) % 2**31, "classes": len(order), "sets": given}
        task |= {"steps": training.steps, "learner": training.learner}
        tasks[digest.of_json(task)] = task
    learner = extensions.load(classifier.LEARNERS, training.learner)
    shared = f"stages {version} {classifier.version} {training.learner}@{learner.version}"
    kept = exam.context.map(_judge, tasks, unit="trainings", shared=shared)
    found = [exam.context.store.get_arrays(blob) for blob in kept.values()]
    return {role: np.mean([one[role] for one in found], axis=0) for role in JUDGED}


def _judge(store: Store, task: Mapping[str, Any]) -> str:
    """Train one judge on real frames; keep what it says of the others."""

    def grey(role: str) -> np.ndarray:
        pixels = imageset.gathered(store, task["sets"][role]["places"])
        return imageset.luminance(pixels) / np.float32(np.iinfo(pixels.dtype).max)

    labels = np.array(task["sets"]["train"]["label"])
    network = classifier.train(
        grey("train"), labels, task["classes"], task["steps"], task["seed"], learner=task["learner"]
    )
    return store.put_arrays(**{role: classifier.scores(network, grey(role)) for role in JUDGED})


def judged(labels: np.ndarray, found: Sequences, order: Sequence[str], scores: np.ndarray) -> Judged:
    """What the judge's scores mean for the sequences of a set.

    Args:
        labels: stated stages of the whole set, str (N,); one that is not in `order` is never judged right.
        found: the set's sequences.
        order: the K stages.
        scores: of their frames (M, K), one sequence after the other.
    """
    said = scores.argmax(1)
    of = {label: k for k, label in enumerate(order)}
    stated = np.array([of.get(label, -1) for label in labels[np.concatenate(found.at)].tolist()])
    ends = np.cumsum(found.lengths)
    own = found.placed([np.arange(end - length, end) for end, length in zip(ends, found.lengths, strict=True)])
    back, forth = sequences.steps(said, own)
    # a label that is no stage has no place in the order
    stated_back, stated_forth = sequences.steps(stated, own.placed([at[stated[at] >= 0] for at in own.at]))
    right = said == stated
    chance = sum(float((said == k).mean() * (stated == k).mean()) for k in range(len(order)))
    return Judged(
        owners=found.owners,
        back=back,
        forth=forth,
        changes=stated_forth - stated_back,
        right=np.array([right[at].mean() for at in own.at]),
        kappa=float((right.mean() - chance) / (1 - chance)) if chance < 1 else 0.0,
        recall={label: float(right[stated == k].mean()) for k, label in enumerate(order) if (stated == k).any()},
        stated=float((stated_back > 0).mean()),
    )
