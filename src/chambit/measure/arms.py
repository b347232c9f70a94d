"""The arms of downstream utility: which images a classifier is trained on, and its scores on real images it never saw.

real           the generator's training images                           (the ceiling)
synthetic      the released images only                                  (train on synthetic, test on real)
mixed          both pooled
pretrained     synthetic for the first half of the steps, real for the second (RoentGen-v2's practice, arXiv:2508.16783)
gaussian       a trivial generator that contains nobody                  (what a set must beat)
noisy,         copies of patients in disguise                            (useful, and not releasable: no number of
interpolated                                                              utility says anything about safety)

All arms have the same network, the same number of optimiser steps and the same augmentation. Trainings are kept under
what they are made of, so that several measures share them.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from chambit.core import digest, extensions
from chambit.core.seeds import seed as derive
from chambit.core.store import Store
from chambit.images import imageset
from chambit.images.imageset import ImageSet
from chambit.measure import classifier, trivial
from chambit.measure.examination import Examination

version = "1"
ARMS = ("real", "synthetic", "mixed", "pretrained", *trivial.KINDS)
SCORED = ("test", "auxiliary", "synthetic")
"""Roles every classifier is held to, where they are there; synthetic images are scored by the real arm alone."""

Scores = Mapping[str, np.ndarray]


class Training(NamedTuple):
    """How every arm is trained: which learner, optimiser steps, settings of the trivial generators."""

    learner: str
    steps: int
    settings: trivial.Settings


def trained(
    exam: Examination, classes: Sequence[str], counts: Mapping[str, int], training: Training
) -> dict[str, list[Scores]]:
    """Log-probabilities (n, K) of each training of each arm on the roles in SCORED, in the order of `classes`.

    Args:
        exam: with train, synthetic and test images.
        classes: labels; all that occur.
        counts: arm -> trainings, each with a seed of its own.
        training: how.
    """
    sets = {role: exam[role] for role in ("train", *SCORED) if role in exam}
    of = digest.of_json([{role: images.digest for role, images in sets.items()}, list(classes), list(training)])
    given = {role: part(images, classes) for role, images in sets.items()}
    tasks = {
        f"{arm}/{k}/{of}": {
            "arm": arm,
            "seed": derive(exam.context.step.seed, "trainings", f"{arm} {k}") % 2**31,
            "classes": list(classes),
            "learner": training.learner,
            "steps": training.steps,
            "settings": tuple(training.settings),
            "sets": given,
        }
        for k in range(max(counts.values()))
        for arm, count in counts.items()
        if k < count
    }
    learner = extensions.load(classifier.LEARNERS, training.learner)
    shared = f"trainings {version} {classifier.version} {training.learner}@{learner.version}"
    out: dict[str, list[Scores]] = {arm: [] for arm in counts}
    for key, blob in exam.context.map(train_and_score, tasks, unit="trainings", shared=shared).items():
        out[key.split("/")[0]].append(exam.context.store.get_arrays(blob))
    return out


def part(images: ImageSet, classes: Sequence[str]) -> dict[str, Any]:
    """A set by reference: pixels stay in the store."""
    return {
        "places": images.table.select("block", "row").rows(),
        "label": [classes.index(label) if label in classes else -1 for label in images.labels.tolist()],
        "subject": images.subjects.tolist(),
    }


def loaded(store: Store, given: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Images float32 (N, H, W) in [0, 1] and labels int (N,) of a set given by reference."""
    pixels = imageset.gathered(store, given["places"])
    return pixels.astype(np.float32) / np.float32(np.iinfo(pixels.dtype).max), np.array(given["label"])


def train_and_score(store: Store, task: Mapping[str, Any]) -> str:
    """One training of one arm; keeps its scores on each role that is to be scored."""
    arm, sets, count = task["arm"], task["sets"], len(task["classes"])
    real, made = loaded(store, sets["train"]), loaded(store, sets["synthetic"])

    def network(images: np.ndarray, labels: np.ndarray, steps: int, start: Any = None) -> classifier.Network:
        return classifier.train(images, labels, count, steps, task["seed"], learner=task["learner"], start=start)

    if arm == "pretrained":
        half = max(1, task["steps"] // 2)
        learned = network(*real, max(1, task["steps"] - half), network(*made, half))
    else:
        learned = network(*_images(arm, task, real, made), task["steps"])
    scored = [role for role in SCORED if role in sets and (role != "synthetic" or arm == "real")]
    return store.put_arrays(**{role: classifier.scores(learned, loaded(store, sets[role])[0]) for role in scored})


def _images(
    arm: str, task: Mapping[str, Any], real: tuple[np.ndarray, np.ndarray], made: tuple[np.ndarray, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """The images an arm is trained on, and their labels."""
    if arm == "real":
        return real
    if arm == "synthetic":
        return made
    if arm == "mixed":
        return np.concatenate([real[0], made[0]]), np.concatenate([real[1], made[1]])
    rng, settings = np.random.default_rng(task["seed"]), trivial.Settings(*task["settings"])
    subjects = np.array(task["sets"]["train"]["subject"])
    return trivial.make(arm, *real, subjects, made[1], settings, rng), made[1]
