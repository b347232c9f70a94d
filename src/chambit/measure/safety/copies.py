"""Copy finder: which synthetic images are closer to a training image than unseen patients' images ever are.

For each synthetic image x the fused score q(x) to its nearest training image is compared with the scores of one image
of every holdout subject, searched in the same way:

    p(x) = (1 + #{h : q(h) >= q(x)}) / (n + 1),   flagged when p(x) <= alpha

If x were exchangeable with the holdout, P(flagged) <= alpha exactly, whatever the search, as long as it was learned
from train and auxiliary alone (conformal p-value; Vovk, Gammerman and Shafer 2005; Bates et al. 2023,
arXiv:2104.08279). A generator's images are not exchangeable with real ones, so this is a finder for human eyes, not a
test: the test is `membership`. On every run copies are planted from the training images, and the generator's own
near-duplicates where there is a generator; their recall, with Clopper-Pearson bounds, says what this run would have
caught.

Known failures: families that were not planted or not found, which every run lists as not covered.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from scipy import stats

from chambit.core import digest
from chambit.core.evidence import Control, Finding, Frozen, Interval
from chambit.images.imageset import full_scale
from chambit.measure import interval
from chambit.measure.descriptors import TURNS, turned
from chambit.measure.examination import Examination, Pair, Result, not_run
from chambit.measure.finder import Finder, squares
from chambit.measure.fusion import DETECTORS, Nearest, Scale
from chambit.measure.plants import FAMILIES, Material, plant
from chambit.measure.search import lacking, level, one_each, threshold

version = "8"
EXTRAS = ("planted",)
QUANTITIES = {"exact": "lower", "flagged": "lower", "rate_bound": "lower"}
CHANGES = (*TURNS, *(f"negative, {turn}" for turn in TURNS))


class Options(Frozen):
    """Settings come from the policy file.

    alpha: level of a flag with a full holdout; alpha_small: with a smaller one; least: smallest holdout, in subjects;
    least_auxiliary: smallest auxiliary set, in images; enough: training images from which the search is learned from
    them alone, fewer are joined by the auxiliary images; plants: copies per family; compulsory: families that must be
    found -> share of their copies; covered_recall: lower bound of recall from which a family counts as covered;
    likely: false-discovery level of the "likely copies" count; gallery: pairs shown.
    """

    alpha: float
    alpha_small: float
    least: int
    least_auxiliary: int
    enough: int
    plants: int
    compulsory: dict[str, float]
    covered_recall: float
    likely: float
    not_planted: tuple[str, ...] = ()
    gallery: int = 12
    level: float = 0.95


class Plants(NamedTuple):
    """Recall of one family; `first` counts the copies whose own original was the nearest training image."""

    family: str
    kind: str
    planted: int
    found: int
    low: float
    high: float
    first: int


class Copies(NamedTuple):
    """The search of one examination: all is held against the training images, in two halves of their subjects."""

    finder: Finder
    train: np.ndarray
    half: np.ndarray
    scale: Scale

    @classmethod
    def of(cls, exam: Examination, enough: int) -> "Copies":
        """Learn from train (and auxiliary, where train is small), scale by auxiliary; the holdout is never seen."""
        train, auxiliary = (squares(exam[role].grey()) for role in ("train", "auxiliary"))
        known = train if len(train) >= enough else np.concatenate([train, auxiliary])
        _, first = next(exam["train"].blocks())
        finder = Finder.fit(known, first.shape[1] / first.shape[2])
        half = interval.groups(exam["train"].subjects, 2, np.random.default_rng(exam.context.seed("halves")))
        return cls(finder, train, half, finder.search(auxiliary, train, half).contrasted().scale())

    def nearest(self, images: np.ndarray) -> Nearest:
        """Best training image of each of the images float32 (N, H, W); arrays have one column."""
        return self.finder.search(squares(images), self.train, self.half).contrasted().fused(self.scale)


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
    search = Copies.of(exam, options.enough)
    alpha = level(options.alpha, options.alpha_small, subjects)
    unseen = exam["holdout"].take(one_each(exam, "holdout"))
    calibration = np.sort(search.nearest(unseen.grey()).score[:, 0])
    synthetic = search.nearest(exam["synthetic"].grey())
    p = _p_values(synthetic.score[:, 0], calibration)
    flagged = p <= alpha
    families = _recall(exam, search, calibration, alpha, options)
    missed = [row.family for row in families if row.found / row.planted < options.compulsory.get(row.family, 0.0)]
    found = sum(row.found for row in families if row.family in options.compulsory)
    planted = sum(row.planted for row in families if row.family in options.compulsory)
    control = Control(
        name="planted copies",
        expected="of each compulsory family at least "
        + _shares([options.compulsory[row.family] for row in families if row.family in options.compulsory]),
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
        "by_detector": {name: int((synthetic.detector[flagged, 0] == k).sum()) for k, name in enumerate(DETECTORS)},
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
            "copies.turn": [CHANGES[turn] for turn in synthetic.turn[:, 0]],
            "copies.detector": [DETECTORS[k] for k in synthetic.detector[:, 0]],
        }
    )
    return Result(findings, scores, _gallery(exam, synthetic, p, flagged, options.gallery))


def _p_values(scores: np.ndarray, calibration: np.ndarray) -> np.ndarray:
    """Conformal p-values against sorted calibration scores."""
    at_least = len(calibration) - np.searchsorted(calibration, scores, side="left")
    return np.asarray((1 + at_least) / (len(calibration) + 1))


def _recall(exam: Examination, search: Copies, calibration: np.ndarray, alpha: float, options: Options) -> list[Plants]:
    planted = list(_planted(exam, options.plants))
    # one search for all families: each search describes every training image anew
    nearest = search.nearest(np.concatenate([images for _, _, images, _ in planted]))
    p = _p_values(nearest.score[:, 0], calibration)
    rows, first = [], 0
    for family, kind, images, source in planted:
        mine = slice(first, first + len(images))
        found = int((p[mine] <= alpha).sum())
        bounds = interval.clopper_pearson(found, len(images), options.level)
        rows.append(Plants(family, kind, len(images), found, *bounds, int((nearest.index[mine, 0] == source).sum())))
        first += len(images)
    return rows


def _planted(exam: Examination, count: int) -> Iterator[tuple[str, str, np.ndarray, np.ndarray]]:
    """Family, kind, copies float32 (n, H, W) and the position of each original among the training images."""
    train = exam["train"]
    material = Material(exam["auxiliary"].grey())
    for name, family in FAMILIES.items():
        rng = np.random.default_rng(exam.context.seed(f"plant {name}"))
        chosen = np.sort(rng.choice(len(train), min(count, len(train)), replace=False))
        yield name, family.kind, plant(train.take(chosen).grey(), name, rng, material), chosen
    place = {image: i for i, image in enumerate(train.table["id"].to_list())}
    for name, images in exam.planted.items():
        yield name, "generator", images.grey(), np.array([place[image] for image in images.table["source"]])


def _shares(asked: Sequence[float]) -> str:
    """The least shares in words, each with of how many families it is asked."""
    return ", ".join(f"{share:.0%} ({asked.count(share)} families)" for share in sorted(set(asked), reverse=True))


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
    count = 0
    for at, pixels in exam["synthetic"].blocks():
        full = full_scale(pixels)
        found = _looked_up(full, known)
        reals = exam["train"].take(nearest.index[at, 0]).grey()
        for i, place in enumerate(at):
            turn = int(nearest.turn[place, 0])
            mine = turned(full[i : i + 1], turn % 8)[0] / np.float32(65535)
            count += found[i] or _same(mine if turn < 8 else 1 - mine, reals[i])
    _, first = next(exam["train"].blocks())
    planted = [turned(full_scale(first[k % len(first)][None]), k) for k in range(8)]
    seen = sum(int(_looked_up(np.ascontiguousarray(image), known)[0]) for image in planted)
    return count, Control(
        name="training images planted in all eight turns",
        expected="8 of 8 found",
        observed=f"{seen} of 8 found",
        fired=seen == 8,
    )


def _same(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether no pixel of two images in [0, 1] is more than half a grey level of 8 bits away."""
    return one.shape == other.shape and bool(np.abs(one - other).max() <= 0.5 / 255 + 1e-6)


def _looked_up(images: np.ndarray, known: set[str]) -> list[bool]:
    """Whether each image uint16 (N, H, W) is, in one of its eight turns, among the known digests."""
    turns = [turned(images, turn) for turn in range(8)]
    return [any(digest.of_array(np.ascontiguousarray(turn[i])) in known for turn in turns) for i in range(len(images))]


def _fresh(exam: Examination, search: Copies, calibration: np.ndarray, alpha: float) -> dict[str, int]:
    """False alarms on real test images, which neither calibrated nor trained anything."""
    if "test" not in exam:
        return {}
    p = _p_values(search.nearest(exam["test"].grey()).score[:, 0], calibration)
    return {"flagged": int((p <= alpha).sum()), "images": len(p)}


def _gallery(exam: Examination, nearest: Nearest, p: np.ndarray, flagged: np.ndarray, count: int) -> tuple[Pair, ...]:
    synthetic, real = exam["synthetic"].table["id"].to_list(), exam["train"].table["id"].to_list()
    order = np.argsort(-nearest.score[:, 0], kind="stable")[: max(count, int(flagged.sum()))]
    registered = DETECTORS.index("registered")
    return tuple(
        Pair(
            synthetic=synthetic[i],
            real=real[nearest.index[i, 0]],
            turn=int(nearest.turn[i, 0]),
            score=float(nearest.score[i, 0]),
            p=float(p[i]),
            flagged=bool(flagged[i]),
            detector=DETECTORS[nearest.detector[i, 0]],
            affine=tuple(nearest.affine[i, 0].ravel().tolist()) if nearest.detector[i, 0] == registered else None,
        )
        for i in order
    )
