"""Mix curve: how much does adding k times as many synthetic images help where only n real ones are there?

For each n, real training images of whole subjects are taken until there are n, every class by its share; k n synthetic
images of the same shares are added. All networks are trained for the same number of optimiser steps, so that what is
compared is images and not training time, and are held to the same real test images. Claims elsewhere, for orientation:
sensitivity 78.6 to 85.7 % (arXiv:1803.01229), accuracy 80 to 89 %, AUROC up to +0.02 (arXiv:2311.09402); in
dermatology gains beyond ten times were small and smaller than those of real images.

    gain = AUROC(n real + k n synthetic) - AUROC(n real),   at the smallest n and the largest k

The rare-class curve does the same with few real images of the rarest class among all of the others, and synthetic ones
of that class until it is as frequent as the next; its AUROC is that class against the rest.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from chambit.core import digest
from chambit.core.evidence import Finding, Frozen
from chambit.core.seeds import seed as derive
from chambit.core.store import Store
from chambit.images.imageset import ImageSet
from chambit.measure import arms, classifier, interval
from chambit.measure.endpoints import ENDPOINTS, Arm, Endpoint, Resampling, ordered
from chambit.measure.examination import Examination, Result, not_run
from chambit.measure.utility.downstream import METHOD, missing

version = "1"
QUANTITIES = {"gain": "higher", "rare_gain": "higher"}


class Options(Frozen):
    """sizes: numbers of real images; times: synthetic images for each real one, beside none; rare: numbers of real
    images of the rarest class; learner: which network; seeds: trainings of each point; steps: optimiser steps of
    each; draws: bootstrap; least_test: smallest class of the test set, in subjects; level: of the intervals.
    """

    sizes: tuple[int, ...] = (50, 200, 1000)
    times: tuple[int, ...] = (1, 5)
    rare: tuple[int, ...] = (5, 20, 80)
    learner: str = "convolution"
    seeds: int = 3
    steps: int = 150
    draws: int = 2000
    least_test: int = 30
    level: float = 0.95

    @property
    def trainings(self) -> int:
        """Trainings in all, at most."""
        return self.seeds * (len(self.sizes) * (1 + len(self.times)) + 2 * len(self.rare))


def measure(exam: Examination, options: Options) -> Result:
    """Gain by adding synthetic images to few real ones, and to few of the rarest class."""
    name = f"mix@{version}"
    if problem := missing(exam, options.least_test):
        return not_run(name, QUANTITIES, problem, {"test subjects": exam.subjects("test")})
    labels = exam["train"].labels
    classes = ordered(sorted(set(labels.tolist())), "")
    names, counts = np.unique(labels, return_counts=True)
    rarest = str(names[np.argmin(counts)])
    sizes = [size for size in options.sizes if size <= len(labels)]
    rare = [size for size in options.rare if size <= counts.min()]
    if not sizes or not rare:
        needed = f"{min(options.sizes)} and {min(options.rare)} are needed"
        problem = f"There are {len(labels)} training images, {counts.min()} of class '{rarest}'; {needed}."
        return not_run(name, QUANTITIES, problem, {"training images": len(labels)})
    mixes = {f"mix {n} {k}": _mixed(exam, classes, n, k, options.seeds) for n in sizes for k in (0, *options.times)}
    mixes |= {f"rare {n} {k}": _rare(exam, classes, rarest, n, k, options.seeds) for n in rare for k in (0, 1)}
    scored = _trained(exam, classes, mixes, options)
    truth = np.array([classes.index(label) for label in exam["test"].labels])
    rng = np.random.default_rng(exam.context.seed("bootstrap"))
    weights = interval.subject_weights(exam["test"].subjects, options.draws, rng)
    resampling = Resampling(truth, weights, exam.context.seed("seeds"))
    one = classes.index(rarest)
    against_rest = Endpoint(lambda s, t, w, _: interval.Auroc.of(s[:, one], t == one)(w))
    seen = {
        key: Arm(against_rest if key.startswith("rare") else ENDPOINTS["auroc"], found, [0.0] * len(found), resampling)
        for key, found in scored.items()
    }
    common = {
        "measure": name,
        "null": 0.0,
        "direction": "higher",
        "inputs": exam.inputs("train", "synthetic", "test"),
    }
    n = {"test images": len(truth), "test subjects": exam.subjects("test"), "seeds": options.seeds}
    curve = [_point(seen[f"mix {size} {k}"], size, k) for size in sizes for k in (0, *options.times)]
    few = [_point(seen[f"rare {size} {k}"], size, k) for size in rare for k in (0, 1)]
    most = max(options.times)
    gains = {
        "gain": (f"mix {min(sizes)} {most}", f"mix {min(sizes)} 0", {"points": curve, "steps": options.steps}),
        "rare_gain": (f"rare {min(rare)} 1", f"rare {min(rare)} 0", {"points": few, "class": rarest}),
    }
    return Result(tuple(
        Finding(
            quantity=quantity,
            value=seen[added].mean - seen[alone].mean,
            interval=interval.percentile(seen[added].boot - seen[alone].boot, options.level, METHOD),
            n=n | {"real images": int(added.split()[1]), "times": most if quantity == "gain" else 1},
            details=details,
            **common,
        )
        for quantity, (added, alone, details) in gains.items()
    ))  # fmt: skip


def _point(arm: Arm, size: int, times: int) -> dict[str, Any]:
    told = arm.told()
    return {"real": size, "times": times, "auroc": told["value"], "low": told["low"], "high": told["high"]}


def _mixed(exam: Examination, classes: Sequence[str], size: int, times: int, seeds: int) -> list[dict[str, Any]]:
    """The training images of one point, of each seed: other subjects each time, the same for every k."""
    out = []
    for k in range(seeds):
        rng = np.random.default_rng(derive(exam.context.step.seed, "mix", f"{size} {k}"))
        real = exam["train"].take(_few(exam["train"], size, rng))
        made = exam["synthetic"]
        wanted = {label: times * int((real.labels == label).sum()) for label in classes}
        out.append(_joined(real, made.take(_of_each(made.labels, wanted, rng)), classes))
    return out


def _rare(
    exam: Examination, classes: Sequence[str], rarest: str, size: int, times: int, seeds: int
) -> list[dict[str, Any]]:
    """All real images of the other classes, few of the rarest, and synthetic ones of it where `times` is 1."""
    out, labels = [], exam["train"].labels
    others = {label: int((labels == label).sum()) for label in classes if label != rarest}
    for k in range(seeds):
        rng = np.random.default_rng(derive(exam.context.step.seed, "rare", f"{size} {k}"))
        own = np.flatnonzero(labels == rarest)
        kept = np.concatenate([np.flatnonzero(labels != rarest), own[_few(exam["train"].take(own), size, rng)]])
        wanted = {rarest: times * max(0, min(others.values()) - size)}
        made = exam["synthetic"]
        out.append(_joined(exam["train"].take(kept), made.take(_of_each(made.labels, wanted, rng)), classes))
    return out


def _few(images: ImageSet, size: int, rng: np.random.Generator) -> np.ndarray:
    """Positions of about `size` images of whole subjects, the classes in their shares."""
    kept = []
    names, counts = np.unique(images.labels, return_counts=True)
    for label, count in zip(names, counts, strict=True):
        own = np.flatnonzero(images.labels == label)
        wanted = max(1, round(size * count / len(images)))
        subjects = rng.permutation(np.unique(images.subjects[own]))
        place = {name: number for number, name in enumerate(subjects)}
        order = own[np.argsort([place[name] for name in images.subjects[own]], kind="stable")]
        kept.append(order[:wanted])
    return np.sort(np.concatenate(kept))


def _of_each(labels: np.ndarray, wanted: Mapping[str, int], rng: np.random.Generator) -> np.ndarray:
    """Positions of so many images of each class, all there are where they are fewer."""
    kept = [rng.permutation(np.flatnonzero(labels == label))[:count] for label, count in wanted.items()]
    return np.sort(np.concatenate(kept))


def _joined(real: ImageSet, made: ImageSet, classes: Sequence[str]) -> dict[str, Any]:
    table = pl.concat([part.table.select("block", "row", "subject", "label") for part in (real, made)])
    return arms.part(ImageSet(real.store, table), classes)


def _trained(
    exam: Examination, classes: Sequence[str], mixes: Mapping[str, list[dict[str, Any]]], options: Options
) -> dict[str, list[np.ndarray]]:
    """Scores (n, K) on the test images of each training of each point."""
    test = arms.part(exam["test"], classes)
    tasks = {}
    for key, seeds in mixes.items():
        for k, given in enumerate(seeds):
            task = {
                "train": given,
                "test": test,
                "classes": len(classes),
                "learner": options.learner,
                "steps": options.steps,
                "seed": derive(exam.context.step.seed, "trainings", f"{key.split()[0]} {k}") % 2**31,
            }
            tasks[f"{key}/{k}/{digest.of_json(task)}"] = task
    shared = f"mixes {version} {classifier.version}"
    out: dict[str, list[np.ndarray]] = {key: [] for key in mixes}
    for key, blob in exam.context.map(_train, tasks, unit="trainings", shared=shared).items():
        out[key.split("/")[0]].append(exam.context.store.get_arrays(blob)["test"])
    return out


def _train(store: Store, task: Mapping[str, Any]) -> str:
    images, labels = arms.loaded(store, task["train"])
    network = classifier.train(images, labels, task["classes"], task["steps"], task["seed"], learner=task["learner"])
    return store.put_arrays(test=classifier.scores(network, arms.loaded(store, task["test"])[0]))
