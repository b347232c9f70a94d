"""Rivals: is a set more useful than the sets that other generators made of the same patients?

    advantage = AUROC(trained on the set) - AUROC(trained on the rival's),   both on the same real test patients

Every generator saw the same training images, every set was refined alike and has as many images (the smaller number
counts), and every classifier is trained in the same number of steps. Elsewhere, for orientation: a classifier trained
on 300 prompted radiographs was held against one trained on a text-to-image model's (arXiv:2512.00428). Reported is the
strongest rival; all are told. Beside utility stands how well a real-trained classifier reads each set's own labels.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from chambit.core import digest
from chambit.core.evidence import Finding, Frozen
from chambit.core.seeds import seed as derive
from chambit.core.store import Store
from chambit.images.imageset import ImageSet
from chambit.measure import arms, classifier, interval
from chambit.measure.endpoints import ENDPOINTS, Arm, Resampling, ordered
from chambit.measure.examination import Examination, Result, not_run
from chambit.measure.utility.downstream import METHOD, missing

version = "1"
QUANTITIES = {"advantage": "higher"}
EXTRAS = ("rivals",)
REAL, OWN = "real", "synthetic"


class Options(Frozen):
    """learner: which network; seeds: trainings on each set; steps: optimiser steps of each; draws: bootstrap;
    least_test: smallest class of the test set, in subjects; level: of the intervals.
    """

    learner: str = "convolution"
    seeds: int = 3
    steps: int = 300
    draws: int = 2000
    least_test: int = 30
    level: float = 0.95

    @property
    def trainings(self) -> int:
        """Trainings in all, with one rival."""
        return 3 * self.seeds


def measure(exam: Examination, options: Options) -> Result:
    """Advantage over the strongest rival; nothing where the study names none."""
    name = f"rivals@{version}"
    if not exam.rivals:
        return Result(())
    if problem := missing(exam, options.least_test):
        return not_run(name, QUANTITIES, problem, {"test subjects": exam.subjects("test")})
    classes = ordered(sorted(set(exam["train"].labels.tolist())), "")
    sets = _equal({OWN: exam["synthetic"], **exam.rivals}, exam.context.seed("equal"))
    scored = _trained(exam, classes, {REAL: exam["train"], **sets}, sets, options)
    truth = np.array([classes.index(label) for label in exam["test"].labels])
    rng = np.random.default_rng(exam.context.seed("bootstrap"))
    weights = interval.subject_weights(exam["test"].subjects, options.draws, rng)
    resampling = Resampling(truth, weights, exam.context.seed("seeds"))
    none = [np.nan] * options.seeds
    seen = {key: Arm(ENDPOINTS["auroc"], [one["test"] for one in found], none, resampling)
            for key, found in scored.items()}  # fmt: skip
    rows = [
        {"set": key, **seen[key].told(), **_fidelity(scored[REAL], key, images, classes)}
        for key, images in sets.items()
    ]
    rows.append({"set": REAL, **seen[REAL].told()})
    strongest = max(exam.rivals, key=lambda key: seen[key].mean)
    finding = Finding(
        measure=name,
        quantity="advantage",
        value=seen[OWN].mean - seen[strongest].mean,
        interval=interval.percentile(seen[OWN].boot - seen[strongest].boot, options.level, METHOD),
        n={
            "test images": len(truth),
            "test subjects": exam.subjects("test"),
            "training images": len(sets[OWN]),
            "seeds": options.seeds,
        },
        null=0.0,
        direction="higher",
        details={"rival": strongest, "rows": rows},
        inputs=exam.inputs("train", "synthetic", "test") | {key: images.digest for key, images in exam.rivals.items()},
    )
    return Result((finding,))


def _equal(sets: Mapping[str, ImageSet], seed: int) -> dict[str, ImageSet]:
    """As many images of each set, drawn at random, in their order."""
    count = min(len(images) for images in sets.values())
    rng = np.random.default_rng(seed)
    return {key: images.take(np.sort(rng.permutation(len(images))[:count])) for key, images in sets.items()}


def _fidelity(real: list[dict[str, np.ndarray]], key: str, images: ImageSet, classes: list[str]) -> dict[str, float]:
    """AUROC of the real-trained classifiers on a set's own labels, the mean over trainings."""
    truth = np.array([classes.index(label) if label in classes else -1 for label in images.labels])
    if set(truth.tolist()) != set(range(len(classes))):
        return {}
    return {"label_fidelity": float(np.mean([interval.macro_auroc(one[key], truth, None)[0] for one in real]))}


def _trained(
    exam: Examination,
    classes: list[str],
    given: Mapping[str, ImageSet],
    sets: Mapping[str, ImageSet],
    options: Options,
) -> dict[str, list[dict[str, np.ndarray]]]:
    """Scores (n, K) on the test images of each training on each set; the real-trained score the sets as well."""
    tasks: dict[str, Any] = {}
    parts = {key: arms.part(images, classes) for key, images in {**given, "test": exam["test"]}.items()}
    for key in given:
        scored = ["test", *sets] if key == REAL else ["test"]
        for k in range(options.seeds):
            task = {
                "train": parts[key],
                "scored": {name: parts[name] for name in scored},
                "classes": len(classes),
                "learner": options.learner,
                "steps": options.steps,
                "seed": derive(exam.context.step.seed, "trainings", f"rivals {k}") % 2**31,
            }
            tasks[f"{key}/{k}/{digest.of_json(task)}"] = task
    out: dict[str, list[dict[str, np.ndarray]]] = {key: [] for key in given}
    for key, blob in exam.context.map(_train, tasks, unit="trainings", shared=f"rivals {version}").items():
        out[key.rsplit("/", 2)[0]].append(exam.context.store.get_arrays(blob))
    return out


def _train(store: Store, task: Mapping[str, Any]) -> str:
    images, labels = arms.loaded(store, task["train"])
    network = classifier.train(images, labels, task["classes"], task["steps"], task["seed"], learner=task["learner"])
    scored = task["scored"].items()
    return store.put_arrays(**{name: classifier.scores(network, arms.loaded(store, part)[0]) for name, part in scored})
