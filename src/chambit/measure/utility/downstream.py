"""Downstream utility: train on synthetic, test on real, against train on real, test on real, and a trivial generator.

    loss = AUROC(trained on real) - AUROC(trained on synthetic),   both on the same real test images

Non-inferiority: the one-sided upper bound of the loss is below the margin fixed in the study. Intervals resample test
subjects and training seeds together (bootstrap; Efron 1979), so they hold both the test set's and the training's
uncertainty; the difference is paired, since both arms meet the same resample. Beside it always stand the trivial
generator (`chambit.measure.trivial`) as control of the task, and label fidelity: the real-trained classifier on the
synthetic images, because a distance such as Frechet's cannot see a generator that ignores its labels.

With several classes AUROC is the mean of one against the rest.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy import stats

from chambit.core.evidence import Finding, Frozen, Interval
from chambit.core.store import Store
from chambit.images.imageset import ImageSet
from chambit.measure import classifier, interval, trivial
from chambit.measure.examination import Examination, Result, not_run

version = "1"
ARMS = ("real", "synthetic", "trivial")
QUANTITIES = {"loss": "lower", "task_power": "higher", "beyond_trivial": "higher", "label_fidelity": "higher"}


class Options(Frozen):
    """margin: of non-inferiority, from the study; seeds: trainings per arm; steps: optimiser steps of each;
    components: of the trivial generator; draws: bootstrap; least_test: smallest class of the test set, in subjects.
    """

    margin: float
    seeds: int
    steps: int
    components: int
    draws: int
    least_test: int
    level: float = 0.95


def measure(exam: Examination, options: Options) -> Result:
    """Loss against real training, gain over the trivial generator, label fidelity."""
    name = f"downstream@{version}"
    if problem := _missing(exam, options):
        return not_run(name, QUANTITIES, problem, {"test subjects": exam.subjects("test")})
    classes = sorted(set(exam["train"].labels.tolist()))
    per_arm: dict[str, list[np.ndarray]] = {arm: [] for arm in ARMS}
    fidelity = []
    tasks = {f"{arm}/{k}": _task(exam, arm, k, classes, options) for k in range(options.seeds) for arm in ARMS}
    for key, blob in exam.context.map(_train_and_score, tasks, unit="trainings").items():
        made = exam.context.store.get_arrays(blob)
        per_arm[key.split("/")[0]].append(made["test"])
        if "synthetic" in made:
            fidelity.append(made["synthetic"])
    truth = np.array([classes.index(label) for label in exam["test"].labels])
    rng = np.random.default_rng(exam.context.seed("bootstrap"))
    weights = interval.subject_weights(exam["test"].subjects, options.draws, rng)
    arms = {arm: _Arm(per_arm[arm], truth, weights, rng) for arm in ARMS}
    n = {
        "test images": len(truth),
        "test subjects": exam.subjects("test"),
        "training images (real)": len(exam["train"]),
        "training images (synthetic)": len(exam["synthetic"]),
        "seeds": options.seeds,
    }
    inputs = exam.inputs("train", "synthetic", "test")
    return Result((
        _loss(name, arms, truth, options, n, inputs, classes),
        _gain(name, "task_power", "real", arms, options, n, inputs),
            _gain(name, "beyond_trivial", "synthetic", arms, options, n, inputs),
        _fidelity(name, exam, fidelity, classes, options, inputs, rng),
    ))  # fmt: skip


class _Arm:
    """AUROC of each seed, and of each bootstrap resample with a seed drawn for it."""

    def __init__(
        self, scores: list[np.ndarray], truth: np.ndarray, weights: np.ndarray, rng: np.random.Generator
    ) -> None:
        self.seeds = np.array([float(interval.macro_auroc(s, truth)[0]) for s in scores])
        boot = np.stack([interval.macro_auroc(s, truth, weights) for s in scores])
        # the mean of `seeds` trainings is reported, so the resample draws that many seeds anew
        drawn = rng.integers(len(scores), size=(weights.shape[0], len(scores)))
        self.boot = boot[drawn, np.arange(weights.shape[0])[:, None]].mean(1)
        self.mean = float(self.seeds.mean())


def _loss(
    name: str,
    arms: Mapping[str, _Arm],
    truth: np.ndarray,
    options: Options,
    n: dict[str, int],
    inputs: dict[str, str],
    classes: list[str],
) -> Finding:
    difference = arms["real"].boot - arms["synthetic"].boot
    value = arms["real"].mean - arms["synthetic"].mean
    upper = float(np.nanquantile(difference, options.level))
    spread = float(np.nanstd(difference))
    table = {
        arm: {"auroc": a.mean, "seeds": a.seeds.tolist()}
        | dict(zip(("low", "high"), np.nanquantile(a.boot, [0.025, 0.975]).tolist(), strict=True))
        for arm, a in arms.items()
    }
    return Finding(
        measure=name,
        quantity="loss",
        value=value,
        interval=Interval(
            low=-1.0, high=upper, level=options.level, method="bootstrap of test subjects and seeds", sides=1
        ),
        n=n,
        null=0.0,
        direction="lower",
        details={
            "margin": options.margin,
            "arms": table,
            "two_sided": np.nanquantile(difference, [0.025, 0.975]).tolist(),
            "prevalence": {label: float((truth == k).mean()) for k, label in enumerate(classes)},
            "n_needed": _needed(value, spread, options, n["test subjects"]),
        },
        inputs=inputs,
    )


def _gain(
    name: str,
    quantity: str,
    arm: str,
    arms: Mapping[str, _Arm],
    options: Options,
    n: dict[str, int],
    inputs: dict[str, str],
) -> Finding:
    """What training on one arm gains over training on the trivial generator."""
    return Finding(
        measure=name,
        quantity=quantity,
        value=arms[arm].mean - arms["trivial"].mean,
        interval=interval.percentile(
            arms[arm].boot - arms["trivial"].boot, options.level, "bootstrap of test subjects and seeds"
        ),
        n=n,
        null=0.0,
        direction="higher",
        details={"components": options.components},
        inputs=inputs,
    )


def _fidelity(
    name: str,
    exam: Examination,
    scores: list[np.ndarray],
    classes: list[str],
    options: Options,
    inputs: dict[str, str],
    rng: np.random.Generator,
) -> Finding:
    truth = np.array([classes.index(label) for label in exam["synthetic"].labels])
    arm = _Arm(scores, truth, interval.subject_weights(np.arange(len(truth)), options.draws, rng), rng)
    return Finding(
        measure=name,
        quantity="label_fidelity",
        value=arm.mean,
        interval=interval.percentile(arm.boot, options.level, "bootstrap of synthetic images and seeds"),
        n={"synthetic images": len(truth), "seeds": options.seeds},
        null=0.5,
        direction="higher",
        inputs=inputs,
    )


def _needed(value: float, spread: float, options: Options, subjects: int) -> int | None:
    """Test subjects for 80 % power at the observed loss and spread; None when the loss exceeds the margin."""
    room = options.margin - value
    if room <= 0:
        return None
    z = float(stats.norm.ppf(options.level) + stats.norm.ppf(0.8))
    return int(np.ceil(subjects * (z * spread / room) ** 2))


def _missing(exam: Examination, options: Options) -> str:
    if "test" not in exam:
        return "No real test images were given (--test DIR, or a test part in the study); utility was not measured."
    train, made = set(exam["train"].labels.tolist()), set(exam["synthetic"].labels.tolist())
    if len(train) < 2:
        return "The training images have one class only; there is nothing to classify. Give labels (--labels CSV)."
    test = exam["test"].labels
    for label in sorted(train):
        if (exam["train"].labels == label).sum() < 2:
            return f"The training images have one image of class '{label}'; at least 2 are needed."
        if label not in made:
            return f"The synthetic set has no image of class '{label}'."
        count = len(np.unique(exam["test"].subjects[test == label]))
        if count < options.least_test:
            return f"The test set has {count} subjects of class '{label}'; at least {options.least_test} are needed."
    if extra := sorted((made | set(test.tolist())) - train):
        return f"Class '{extra[0]}' is in the synthetic or test images but not in the training images."
    return ""


def _blocks(images: ImageSet) -> dict[str, Any]:
    return {"block": images.table["block"].to_list(), "row": images.table["row"].to_list()}


def _task(exam: Examination, arm: str, k: int, classes: list[str], options: Options) -> dict[str, Any]:
    """What one training needs, by reference: pixels stay in the store."""
    sets = {role: exam[role] for role in ("train", "synthetic", "test")}
    return {
        "arm": arm,
        "seed": exam.context.seed(f"{arm} {k}") % 2**31,
        "classes": classes,
        "steps": options.steps,
        "components": options.components,
        "sets": {role: _blocks(images) | {"label": images.labels.tolist()} for role, images in sets.items()},
    }


def _train_and_score(store: Store, task: Mapping[str, Any]) -> str:
    """One training of one arm; keeps its scores on the real test images (and, for the real arm, on the synthetic)."""
    import polars as pl

    images, labels = {}, {}
    for role, given in task["sets"].items():
        images[role] = ImageSet(store, pl.DataFrame({"block": given["block"], "row": given["row"]})).grey()
        labels[role] = np.array([task["classes"].index(label) for label in given["label"]])
    arm = task["arm"]
    if arm == "trivial":
        rng = np.random.default_rng(task["seed"])
        pixels = trivial.sample(images["train"], labels["train"], labels["synthetic"], task["components"], rng)
        target = labels["synthetic"]
    else:
        role = "train" if arm == "real" else "synthetic"
        pixels, target = images[role], labels[role]
    network = classifier.train(pixels, target, len(task["classes"]), task["steps"], task["seed"])
    out = {"test": classifier.scores(network, images["test"])}
    if arm == "real":
        out["synthetic"] = classifier.scores(network, images["synthetic"])
    return store.put_arrays(**out)
