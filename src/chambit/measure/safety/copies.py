"""Copy finder: which synthetic images are closer to a training image than unseen patients' images ever are.

For each synthetic image x the fused score q(x) to its nearest training image is compared with the scores of one image
of every holdout subject, searched in the same way:

    p(x) = (1 + #{h : q(h) >= q(x)}) / (n + 1),   flagged when p(x) <= alpha

If x were exchangeable with the holdout, P(flagged) <= alpha exactly, whatever the descriptors (conformal p-value;
Vovk, Gammerman and Shafer 2005; Bates et al. 2023, arXiv:2104.08279). A generator's images are not exchangeable with
real ones, so this is a finder for human eyes, not a test: the test is `membership`. On every run copies are planted
from the training images; their recall, with Clopper-Pearson bounds, says what this run would have caught.

Known failures: see `chambit.measure.descriptors`; families that were not planted are not covered.
"""

from typing import Any, NamedTuple

import numpy as np
import polars as pl
from scipy import stats

from chambit.core import digest
from chambit.core.evidence import Control, Finding, Frozen, Interval
from chambit.images.imageset import full_scale
from chambit.measure import interval
from chambit.measure.descriptors import DETECTORS, TURNS, Nearest, turned
from chambit.measure.examination import Examination, Pair, Result, not_run
from chambit.measure.plants import FAMILIES, plant
from chambit.measure.search import Search, lacking, level, threshold

version = "5"
QUANTITIES = {"exact": "lower", "flagged": "lower", "rate_bound": "lower"}


class Options(Frozen):
    """Settings come from the policy file.

    alpha: level of a flag with a full holdout; alpha_small: with a smaller one; least: smallest holdout, in subjects;
    least_auxiliary: smallest auxiliary set, in images;
    plants: copies per family; compulsory: families that must be found; compulsory_recall: how many of their copies;
    covered_recall: lower bound of recall from which a family counts as covered; likely: false-discovery level of the
    "likely copies" count; gallery: pairs shown.
    """

    alpha: float
    alpha_small: float
    least: int
    least_auxiliary: int
    plants: int
    compulsory: tuple[str, ...]
    compulsory_recall: float
    covered_recall: float
    likely: float
    not_planted: tuple[str, ...] = ()
    gallery: int = 12
    level: float = 0.95


class Plants(NamedTuple):
    """Recall of one family."""

    family: str
    planted: int
    found: int
    low: float
    high: float


def measure(exam: Examination, options: Options) -> Result:
    """Exact copies, flagged images and an upper bound on the share of copies."""
    name = f"copies@{version}"
    subjects = exam.subjects("holdout")
    sizes = {
        "images": exam.count("synthetic"),
        "auxiliary images": exam.count("auxiliary"),
        "holdout subjects": subjects,
        "train subjects": exam.subjects("train"),
    }
    if subjects < options.least:
        full = int(np.ceil(1 / options.alpha)) - 1
        reason = (
            f"The holdout has {subjects} subjects; a threshold needs at least {options.least} "
            f"(false-positive rate {options.alpha_small:g}), or {full} for {options.alpha:g}."
        )
        return not_run(name, QUANTITIES, reason, sizes)
    if reason := lacking(exam, options.least_auxiliary):
        return not_run(name, QUANTITIES, reason, sizes)
    search = Search.of(exam)
    alpha = level(options.alpha, options.alpha_small, subjects)
    calibration = np.sort(search.holdout_to_train(exam))
    synthetic = search.nearest("synthetic")
    p = _p_values(synthetic.score[:, 0], calibration)
    flagged = p <= alpha
    families = _recall(exam, search, calibration, alpha, options)
    missed = [
        row.family
        for row in families
        if row.family in options.compulsory and row.found / row.planted < options.compulsory_recall
    ]
    found = sum(row.found for row in families if row.family in options.compulsory)
    planted = sum(row.planted for row in families if row.family in options.compulsory)
    control = Control(
        name="planted copies",
        expected=f"at least {options.compulsory_recall:.0%} found of each compulsory family",
        observed=f"{found} of {planted} found" + (f"; missed: {', '.join(missed)}" if missed else ""),
        fired=not missed,
    )
    uncovered = [row.family for row in families if row.low < options.covered_recall]
    details: dict[str, Any] = {
        "alpha": alpha,
        "alpha_full": options.alpha,
        "threshold": threshold(calibration, alpha),
        "expected": alpha * len(p),
        "holdout_subjects": subjects,
        "realised_fpr": list(interval.realised_rate(alpha, len(calibration))),
        "likely": _benjamini_hochberg(p, options.likely),
        "mirror": int((_p_values(synthetic.score[:, 1], np.sort(search.train_to_holdout(exam))) <= alpha).sum()),
        "fresh": _fresh(exam, search, calibration, alpha),
        "families": [
            row._asdict()
            | {
                "recall": row.found / row.planted,
                "compulsory": row.family in options.compulsory,
                "covered": row.family not in uncovered,
            }
            for row in families
        ],
        "not_covered": uncovered + list(options.not_planted),
        "by_detector": {DETECTORS[k]: int((synthetic.detector[flagged, 0] == k).sum()) for k in range(3)},
    }
    inputs = exam.inputs("train", "holdout", "auxiliary", "synthetic")
    common = {"measure": name, "n": sizes, "direction": "lower", "control": control, "inputs": inputs}
    count, bound = int(flagged.sum()), _bound(int(flagged.sum()), len(p), families, options)
    low, high = interval.clopper_pearson(count, len(p), options.level)
    exact, exact_control = _exact(exam, synthetic)
    findings = (
        # a match of pixels is a copy, whatever the search has missed: it has a control of its own
        Finding(quantity="exact", value=exact, null=0.0, unit="images", **common | {"control": exact_control}),
        Finding(
            quantity="flagged",
            value=count,
            unit="images",
            null=alpha * len(p),
            interval=Interval(low=low * len(p), high=high * len(p), level=options.level, method="Clopper-Pearson"),
            details=details,
            **common,
        ),
        Finding(
            quantity="rate_bound",
            value=bound,
            null=0.0,
            interval=Interval(low=0, high=bound, level=options.level, method="Clopper-Pearson over recall", sides=1),
            **common,
        ),
    )
    scores = pl.DataFrame(
        {
            "copies.score": synthetic.score[:, 0],
            "copies.p": p,
            "copies.flagged": flagged,
            "copies.nearest": exam["train"].table["id"].to_numpy()[synthetic.index[:, 0]],
            "copies.turn": [TURNS[t] for t in synthetic.turn[:, 0]],
            "copies.detector": [DETECTORS[k] for k in synthetic.detector[:, 0]],
        }
    )
    return Result(findings, scores, _gallery(exam, synthetic, p, flagged, options.gallery))


def _p_values(scores: np.ndarray, calibration: np.ndarray) -> np.ndarray:
    """Conformal p-values against sorted calibration scores."""
    at_least = len(calibration) - np.searchsorted(calibration, scores, side="left")
    return np.asarray((1 + at_least) / (len(calibration) + 1))


def _recall(exam: Examination, search: Search, calibration: np.ndarray, alpha: float, options: Options) -> list[Plants]:
    rows = []
    train = exam["train"]
    for family in FAMILIES:
        rng = np.random.default_rng(exam.context.seed(f"plant {family}"))
        chosen = np.sort(rng.choice(len(train), min(options.plants, len(train)), replace=False))
        copies = plant(train.take(chosen).grey(), family, rng)
        p = _p_values(search.to_train(copies), calibration)
        found = int((p <= alpha).sum())
        rows.append(Plants(family, len(p), found, *interval.clopper_pearson(found, len(p), options.level)))
        exam.context.progress(len(rows), len(FAMILIES), "planted families")
    return rows


def _bound(flagged: int, images: int, families: list[Plants], options: Options) -> float:
    """Upper bound on the share of copies of the compulsory kinds: CP upper of the flags over the mean lower recall."""
    power = float(np.mean([row.low for row in families if row.family in options.compulsory]))
    upper = interval.clopper_pearson(flagged, images, options.level, sides=1)[1]
    return min(1.0, upper / max(power, 1e-9))


def _benjamini_hochberg(p: np.ndarray, q: float) -> int:
    """How many images are likely copies at false-discovery rate q (Benjamini and Hochberg 1995)."""
    return int(stats.false_discovery_control(p, method="bh").__le__(q).sum())


def _exact(exam: Examination, nearest: Nearest) -> tuple[int, Control]:
    """Synthetic images that are pixel for pixel a training image, as it is or in one of the other seven turns.

    Every turn of every training image is looked up by its digest at 16 bits; and each image is held against its
    nearest training image in the best turn, where no pixel more than half a grey level of 8 bits away is a copy saved
    with fewer bits. The look-up has a control of its own: training images planted in all eight turns.
    """
    known = set(exam["train"].full_scale_digests())
    train, half = exam["train"].grey(), 0.5 / 255 + 1e-6
    count = 0
    for at, pixels in exam["synthetic"].blocks():
        full = full_scale(pixels)
        found = _looked_up(full, known)
        for i, place in enumerate(at):
            mine = turned(full[i : i + 1], int(nearest.turn[place, 0]))[0] / np.float32(65535)
            real = train[nearest.index[place, 0]]
            count += found[i] or (mine.shape == real.shape and bool(np.abs(mine - real).max() <= half))
    _, first = next(exam["train"].blocks())
    planted = [turned(full_scale(first[k % len(first)][None]), k) for k in range(8)]
    seen = sum(int(_looked_up(np.ascontiguousarray(image), known)[0]) for image in planted)
    return count, Control(
        name="training images planted in all eight turns",
        expected="8 of 8 found",
        observed=f"{seen} of 8 found",
        fired=seen == 8,
    )


def _looked_up(images: np.ndarray, known: set[str]) -> list[bool]:
    """Whether each image uint16 (N, H, W) is, in one of its eight turns, among the known digests."""
    turns = [turned(images, turn) for turn in range(8)]
    return [any(digest.of_array(np.ascontiguousarray(turn[i])) in known for turn in turns) for i in range(len(images))]


def _fresh(exam: Examination, search: Search, calibration: np.ndarray, alpha: float) -> dict[str, int]:
    """False alarms on real test images, which neither calibrated nor trained anything."""
    if "test" not in exam:
        return {}
    p = _p_values(search.nearest("test").score[:, 0], calibration)
    return {"flagged": int((p <= alpha).sum()), "images": len(p)}


def _gallery(exam: Examination, nearest: Any, p: np.ndarray, flagged: np.ndarray, count: int) -> tuple[Pair, ...]:
    synthetic, real = exam["synthetic"].table["id"].to_list(), exam["train"].table["id"].to_list()
    order = np.argsort(-nearest.score[:, 0], kind="stable")[: max(count, int(flagged.sum()))]
    return tuple(
        Pair(
            synthetic=synthetic[i],
            real=real[nearest.index[i, 0]],
            turn=int(nearest.turn[i, 0]),
            score=float(nearest.score[i, 0]),
            p=float(p[i]),
            flagged=bool(flagged[i]),
        )
        for i in order
    )
