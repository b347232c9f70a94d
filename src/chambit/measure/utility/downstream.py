"""Downstream utility: train on synthetic, test on real, against train on real, test on real, and trivial generators.

    loss = AUROC(trained on real) - AUROC(trained on synthetic),   both on the same real test images

The claim (non-inferiority unless the study asks for equivalence or superiority) is held against the margin fixed in the
study, for each endpoint, with p-values adjusted after Holm (`measure.hypotheses`). Intervals resample test subjects and
trainings together (bootstrap; Efron 1979), so they hold both the test set's and the training's uncertainty; differences
are paired, since all arms meet the same resample. DeLong's interval, clustered by patient, stands beside, of the first
training of each arm (`measure.delong`). Trivial generators are controls of the task (`measure.arms`); label fidelity is
the real-trained classifier on the synthetic images, because no distance can see a generator that ignores its labels.
That the synthetic arm learns from synthetic images only is not assumed: its images are looked up by digest among all
real ones there are (`real_images`); what is nearly a real image is for `copies`.

With several classes AUROC and AUPR are means of one against the rest.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from chambit.core.evidence import Finding, Frozen, Interval
from chambit.measure import arms, controls, endpoints, heads, hypotheses, interval, trivial
from chambit.measure.arms import Scores, Training
from chambit.measure.delong import Delong
from chambit.measure.endpoints import ENDPOINTS, Arm, Resampling
from chambit.measure.examination import Examination, Result, not_run
from chambit.measure.hypotheses import Hypothesis, Kind

version = "3"
QUANTITIES = {
    "loss": "lower",
    "task_power": "higher",
    "beyond_trivial": "higher",
    "label_fidelity": "higher",
    "endpoints": "lower",
    "mixed_gain": "higher",
    "pretrained_gain": "higher",
    "calibration_loss": "lower",
    "real_images": "lower",
}
METHOD = "bootstrap of test subjects and seeds"


class Options(Frozen):
    """margin: of non-inferiority in AUROC, from the study; margins: of the other endpoints; claim: what is to be shown
    of each; positive: of two classes, the one with the finding (else the one that is not called normal); specificity:
    at which sensitivity is read; learner: which network; heads: extractors of frozen-feature heads; seeds: trainings
    per arm; copies: trainings of each arm that copies patients; steps: optimiser steps of each; components, noise,
    neighbours: of the trivial generators; draws: bootstrap; least_test: smallest class of the test set, in subjects.
    """

    margin: float
    margins: dict[str, float]
    claim: Kind = "non-inferiority"
    positive: str = ""
    specificity: float = 0.9
    learner: str = "convolution"
    heads: tuple[str, ...] = ()
    seeds: int
    copies: int = 1
    steps: int
    components: int
    noise: float = 0.05
    neighbours: int = 5
    draws: int
    least_test: int
    level: float = 0.95

    @property
    def counts(self) -> dict[str, int]:
        """Trainings of each arm."""
        few = min(self.copies, self.seeds)
        return {arm: few if arm in ("noisy", "interpolated") else self.seeds for arm in arms.ARMS}

    @property
    def trainings(self) -> int:
        """Trainings in all."""
        return sum(self.counts.values())


def measure(exam: Examination, options: Options) -> Result:
    """Loss against real training, gain over trivial generators, gain by adding, label fidelity, calibration."""
    name = f"downstream@{version}"
    if problem := missing(exam, options.least_test):
        return not_run(name, QUANTITIES, problem, {"test subjects": exam.subjects("test")})
    classes = endpoints.ordered(sorted(set(exam["train"].labels.tolist())), options.positive)
    settings = trivial.Settings(options.components, options.noise, options.neighbours)
    scored = arms.trained(exam, classes, options.counts, Training(options.learner, options.steps, settings))
    rng = np.random.default_rng(exam.context.seed("bootstrap"))
    truth = np.array([classes.index(label) for label in exam["test"].labels])
    weights = interval.subject_weights(exam["test"].subjects, options.draws, rng)
    resampling = Resampling(truth, weights, exam.context.seed("seeds"))
    seen = _quantities(exam, options, classes, scored, resampling)
    areas = seen["auroc"]
    common = {
        "measure": name,
        "n": {
            "test images": len(truth),
            "test subjects": exam.subjects("test"),
            "training images (real)": len(exam["train"]),
            "training images (synthetic)": len(exam["synthetic"]),
            "seeds": options.seeds,
        },
        "null": 0.0,
        "inputs": exam.inputs("train", "synthetic", "test"),
    }
    sets = {"real": exam["train"], "synthetic": exam["synthetic"]}
    sets |= {"gaussian": controls.sets(exam, settings)["gaussian"]} if options.heads else {}
    frozen = heads.rows(exam, options.heads, sets, classes, resampling, options.level)
    told = {
        "margin": options.margin,
        "arms": {arm: {"auroc": area.mean} | {k: v for k, v in area.told().items() if k != "value"}
                 for arm, area in areas.items()},
        "prevalence": {label: float((truth == k).mean()) for k, label in enumerate(classes)},
        "learner": options.learner,
        "heads": frozen,
        "delong": _delong(exam, scored, truth, options),
    }  # fmt: skip
    return Result((
        _loss(areas, options, common, told),
        _gain("task_power", "real", "gaussian", areas, options, common),
        _gain("beyond_trivial", "synthetic", "gaussian", areas, options, common),
        _fidelity(exam, scored["real"], classes, options, common, rng),
        _endpoints(seen, options, common, resampling),
        _gain("mixed_gain", "mixed", "real", areas, options, common),
        _gain("pretrained_gain", "pretrained", "real", areas, options, common),
        _calibration(scored, resampling, options, common),
        _real_images(exam, name),
    ))  # fmt: skip


def _real_images(exam: Examination, name: str) -> Finding:
    """How many images the synthetic arm was trained on that are real ones by their digest, at 8 or 16 bits."""
    roles = [role for role in ("train", "holdout", "auxiliary", "test") if role in exam]
    known = {role: set(exam[role].full_scale_digests()) for role in roles}
    made = exam["synthetic"].full_scale_digests()
    every = set().union(*known.values())
    return Finding(
        measure=name,
        quantity="real_images",
        value=float(sum(digest in every for digest in made)),
        unit="images",
        n={"training images (synthetic)": len(made), "real images": len(every)},
        null=0.0,
        direction="lower",
        details={"of": {role: sum(digest in digests for digest in made) for role, digests in known.items()}},
        inputs=exam.inputs(*roles, "synthetic"),
    )


def _quantities(
    exam: Examination,
    options: Options,
    classes: Sequence[str],
    scored: Mapping[str, Sequence[Scores]],
    resampling: Resampling,
) -> dict[str, dict[str, Arm]]:
    """Each endpoint of each arm."""
    binary = len(classes) == 2
    labels = _other_labels(exam, classes) if binary else None
    cuts = {arm: endpoints.cuts(found, labels, options.specificity) for arm, found in scored.items()}
    return {
        name: {arm: Arm(endpoint, [one["test"] for one in found], cuts[arm], resampling)
               for arm, found in scored.items()}
        for name, endpoint in ENDPOINTS.items()
        if not endpoint.binary or labels is not None
    }  # fmt: skip


def _other_labels(exam: Examination, classes: Sequence[str]) -> np.ndarray | None:
    """Labels of real images on which a threshold may be chosen: of both classes, and none of them a test image."""
    if "auxiliary" not in exam or set(exam["auxiliary"].table["sha256"]) & set(exam["test"].table["sha256"]):
        return None
    labels = exam["auxiliary"].labels
    if set(labels.tolist()) != set(classes):
        return None
    return np.array([classes.index(label) for label in labels])


def _loss(areas: Mapping[str, Arm], options: Options, common: Mapping[str, Any], told: Mapping[str, Any]) -> Finding:
    difference = areas["real"].boot - areas["synthetic"].boot
    value = areas["real"].mean - areas["synthetic"].mean
    upper = float(np.nanquantile(difference, options.level))
    subjects = common["n"]["test subjects"]
    needed = hypotheses.n_needed(
        "non-inferiority", value, float(np.nanstd(difference)), subjects, options.margin, options.level
    )
    return Finding(
        quantity="loss",
        value=value,
        interval=Interval(low=-1.0, high=upper, level=options.level, method=METHOD, sides=1),
        direction="lower",
        details=dict(told) | {"two_sided": np.nanquantile(difference, [0.025, 0.975]).tolist(), "n_needed": needed},
        **common,
    )


def _gain(
    quantity: str, arm: str, over: str, areas: Mapping[str, Arm], options: Options, common: Mapping[str, Any]
) -> Finding:
    """What training on one arm gains over training on another."""
    return Finding(
        quantity=quantity,
        value=areas[arm].mean - areas[over].mean,
        interval=interval.percentile(areas[arm].boot - areas[over].boot, options.level, METHOD),
        direction="higher",
        details={"components": options.components} if over == "gaussian" else {},
        **common,
    )


def _fidelity(
    exam: Examination,
    scored: Sequence[Scores],
    classes: Sequence[str],
    options: Options,
    common: Mapping[str, Any],
    rng: np.random.Generator,
) -> Finding:
    truth = np.array([classes.index(label) for label in exam["synthetic"].labels])
    weights = interval.subject_weights(np.arange(len(truth)), options.draws, rng)
    resampling = Resampling(truth, weights, exam.context.seed("fidelity"))
    arm = Arm(ENDPOINTS["auroc"], [one["synthetic"] for one in scored], [np.nan] * len(scored), resampling)
    n = {"synthetic images": len(truth), "seeds": options.seeds}
    return Finding(
        quantity="label_fidelity",
        value=arm.mean,
        interval=interval.percentile(arm.boot, options.level, "bootstrap of synthetic images and seeds"),
        direction="higher",
        **(dict(common) | {"n": n, "null": 0.5}),
    )


def _endpoints(
    seen: Mapping[str, Mapping[str, Arm]], options: Options, common: Mapping[str, Any], resampling: Resampling
) -> Finding:
    """How many endpoints' claims are not shown, adjusted for their number."""
    margins = options.margins | {"auroc": options.margin}
    rows: list[dict[str, Any]] = []
    for name, found in seen.items():
        difference = found["real"].boot - found["synthetic"].boot
        claim = Hypothesis(kind=options.claim, margin=margins[name], level=options.level)
        decided = claim.bootstrap(difference, METHOD)
        value = found["real"].mean - found["synthetic"].mean
        spread, subjects = float(np.nanstd(difference)), common["n"]["test subjects"]
        needed = hypotheses.n_needed(options.claim, value, spread, subjects, margins[name], options.level)
        rows.append({
            "endpoint": name,
            "margin": margins[name],
            "arms": {arm: one.told() for arm, one in found.items()},
            "loss": value,
            "of": decided.of,
            "low": decided.interval.low,
            "high": decided.interval.high,
            "p": decided.p,
            "n_needed": needed,
        })  # fmt: skip
    for row, p in zip(rows, hypotheses.holm(np.array([row["p"] for row in rows])).tolist(), strict=True):
        row |= {"adjusted": p, "shown": p <= 1 - options.level}
    return Finding(
        quantity="endpoints",
        value=float(sum(not row["shown"] for row in rows)),
        direction="lower",
        details={
            "claim": options.claim,
            "specificity": options.specificity,
            "prevalence": float((resampling.truth == 1).mean()),
            "rows": rows,
        },
        **(dict(common) | {"n": common["n"] | {"endpoints": len(rows)}}),
    )


def _calibration(
    scored: Mapping[str, Sequence[Scores]], resampling: Resampling, options: Options, common: Mapping[str, Any]
) -> Finding:
    """Expected calibration error of the synthetic arm less that of the real one."""
    endpoint = endpoints.CALIBRATION
    cuts = [np.nan] * options.seeds
    both = {arm: Arm(endpoint, [one["test"] for one in scored[arm]], cuts, resampling) for arm in ("real", "synthetic")}
    told = {arm: endpoints.calibration([one["test"] for one in found], resampling.truth)
            for arm, found in scored.items()}  # fmt: skip
    return Finding(
        quantity="calibration_loss",
        value=both["synthetic"].mean - both["real"].mean,
        interval=interval.percentile(both["synthetic"].boot - both["real"].boot, options.level, METHOD),
        direction="lower",
        details={"arms": told},
        **common,
    )


def _delong(
    exam: Examination, scored: Mapping[str, Sequence[Scores]], truth: np.ndarray, options: Options
) -> dict[str, Any]:
    """The loss of the first training of each arm by DeLong, clustered by patient; of two classes only."""
    first = [scored[arm][0]["test"] for arm in ("real", "synthetic")]
    if first[0].shape[1] != 2:
        return {}
    found = Delong.of(np.stack([one[:, 1] for one in first]), truth == 1, exam["test"].subjects).difference(0, 1)
    spread = found.interval(options.level)
    return {"value": found.value, "low": spread.low, "high": spread.high, "method": found.method}


def missing(exam: Examination, least_test: int) -> str:
    """Why no classifier can be trained and tested, with the number needed, or ""."""
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
        if count < least_test:
            return f"The test set has {count} subjects of class '{label}'; at least {least_test} are needed."
    if extra := sorted((made | set(test.tolist())) - train):
        return f"Class '{extra[0]}' is in the synthetic or test images but not in the training images."
    return ""
