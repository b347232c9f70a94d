"""Networks trained on real and on synthetic images, and where they looked in the same images (`utility.saliency`)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from chambit.core.store import Store
from chambit.images.imageset import ImageSet
from chambit.measure import classifier, heat
from chambit.measure.examination import Examination

ARMS = ("real", "synthetic")


@dataclass(frozen=True)
class Looks:
    """Maps of test images, and what else the networks were asked.

    Attributes:
        classes: their names.
        rows: of the role `test`, the n images asked.
        truth: class of each, int (n,).
        subjects: of each, str (n,).
        masks: bool (n, H, W), or None where no test image has one.
        masked: test subjects with a mask.
        at: the m of the n images that maps are compared on: those with a mask where enough subjects have one, else all.
        heats: 'real', 'synthetic' -> a float16 (n, H, W) for each training; 'shuffled' -> that of the one network
            trained on real images with shuffled labels.
        scores: of each real-trained network, (n, classes).
        cascade: float (trainings of both arms, parts, m): agreement of a map with that of the same network, as its
            weights are drawn anew from the head downwards.
        made: class of each synthetic image asked, int (k,).
        border: float (trainings, k): share of heat at the border of synthetic images, of the networks trained on them.
    """

    classes: list[str]
    rows: np.ndarray
    truth: np.ndarray
    subjects: np.ndarray
    masks: np.ndarray | None
    masked: int
    at: np.ndarray
    heats: Mapping[str, Sequence[np.ndarray]]
    scores: Sequence[np.ndarray]
    cascade: np.ndarray
    made: np.ndarray
    border: np.ndarray


def of(exam: Examination, seeds: int, steps: int, most: int, least: int) -> Looks:
    """Train the networks and ask them.

    Args:
        exam: with the roles train, synthetic and test.
        seeds: trainings of each arm.
        steps: optimiser steps of each.
        most: test images with a mask that are asked, likewise those without, and synthetic images.
        least: test subjects with a mask from which maps are compared on images with a mask alone.
    """
    test, rng = exam["test"], np.random.default_rng(exam.context.seed("images"))
    masks = test.masks()
    has = np.zeros(len(test), bool) if masks is None else np.asarray(masks.any((1, 2)))
    rows = np.sort(np.concatenate([rng.permutation(np.flatnonzero(part))[:most] for part in (has, ~has)]))
    made = np.sort(rng.permutation(exam.count("synthetic"))[:most])
    masked = len(np.unique(test.subjects[rows[has[rows]]]))
    at = np.flatnonzero(has[rows]) if masked >= least else np.arange(len(rows))
    classes = sorted(set(exam["train"].labels.tolist()))
    asked = {
        "classes": classes,
        "steps": steps,
        "compared": at.tolist(),
        "test": _given(test.take(rows)),
        "synthetic": _given(exam["synthetic"].take(made)),
    }
    names = [(arm, k) for arm in ARMS for k in range(seeds)] + [("shuffled", 0)]
    tasks = {
        f"{arm}/{k}": asked
        | {"arm": arm, "seed": exam.context.seed(f"{arm} {k}") % 2**31}
        | {"train": _given(exam["synthetic" if arm == "synthetic" else "train"])}
        for arm, k in names
    }
    blobs = exam.context.map(_train_and_look, tasks, unit="trainings")
    kept = {key: exam.context.store.get_arrays(blob) for key, blob in blobs.items()}
    by_arm = {arm: [kept[f"{arm}/{k}"] for k in range(seeds)] for arm in ARMS}
    return Looks(
        classes=classes,
        rows=rows,
        truth=np.array([classes.index(label) for label in test.labels[rows]]),
        subjects=test.subjects[rows],
        masks=None if masks is None else masks[rows],
        masked=masked,
        at=at,
        heats={arm: [one["heat"] for one in of] for arm, of in by_arm.items()}
        | {"shuffled": [kept["shuffled/0"]["heat"]]},
        scores=[one["scores"] for one in by_arm["real"]],
        cascade=np.stack([one["cascade"] for of in by_arm.values() for one in of]),
        made=np.array([classes.index(label) for label in exam["synthetic"].labels[made]]),
        border=np.stack([one["border"] for one in by_arm["synthetic"]]),
    )


def _given(images: ImageSet) -> dict[str, list[Any]]:
    """Images by reference: pixels stay in the store."""
    return images.table.select("block", "row", "label").to_dict(as_series=False)


def _read(store: Store, given: Mapping[str, list[Any]], classes: list[str]) -> tuple[np.ndarray, np.ndarray]:
    table = pl.DataFrame({"block": given["block"], "row": given["row"]})
    return ImageSet(store, table).grey(), np.array([classes.index(label) for label in given["label"]])


def _train_and_look(store: Store, task: Mapping[str, Any]) -> str:
    """One training; keeps its maps of the test images, and of the two arms what else is asked of them."""
    pixels, target = _read(store, task["train"], task["classes"])
    if task["arm"] == "shuffled":
        target = np.random.default_rng(task["seed"]).permutation(target)
    network = classifier.train(pixels, target, len(task["classes"]), task["steps"], task["seed"])
    test, truth = _read(store, task["test"], task["classes"])
    made = {"heat": heat.grad_cam(network, test, truth), "scores": classifier.scores(network, test)}
    if task["arm"] != "shuffled":
        at = np.array(task["compared"])
        own = made["heat"][at]
        made["cascade"] = np.stack([
            heat.agreement([own, heat.grad_cam(changed, test[at], truth[at])])[0, 1]
            for _, changed in heat.cascade(network, task["seed"])
        ])  # fmt: skip
    if task["arm"] == "synthetic":
        synthetic, labels = _read(store, task["synthetic"], task["classes"])
        made["border"] = heat.inside(heat.grad_cam(network, synthetic, labels), heat.border(synthetic.shape[1:]))
    return store.put_arrays(**made)
