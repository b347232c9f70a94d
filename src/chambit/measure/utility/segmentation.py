"""Downstream utility of masks: train a segmenter on synthetic images and masks, test on real, against real on real.

    dice_loss = Dice(trained on real) - Dice(trained on synthetic),   mean over real test images that have a mask
    map_loss  = mAP(trained on real) - mAP(trained on synthetic),     over all real test images

Non-inferiority as in `downstream`: the one-sided upper bound of the loss is below a margin fixed beforehand; intervals
resample test subjects and training seeds together (bootstrap; Efron 1979), and both arms meet the same resample. Dice
and average precision are those of `chambit.measure.overlap`; an image without a finding has no Dice, and what is drawn
on it counts against average precision. Two more arms stand in the details and decide nothing: `mixed` draws half of
every batch from either set, `pretrained` takes the first half of the steps on synthetic and the second on real images.

Control: synthetic images with the masks of other synthetic images of their class. Where these lose no more than the
margin against real training, no loss could have been seen and the result is invalid. Known failure: organs that
always lie in the same place are found by their place, so that even other people's masks teach much of the task.
"""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import numpy as np
from pydantic import field_validator
from scipy import stats

from chambit.core import digest
from chambit.core.evidence import Control, Finding, Frozen, Interval
from chambit.core.store import Store
from chambit.images.imageset import ImageSet
from chambit.measure import interval, overlap
from chambit.measure.examination import Examination, Result, not_run

version = "1"
QUANTITIES = {"dice_loss": "lower", "map_loss": "lower"}
ROLES = ("train", "synthetic", "test")
CONTROL = "misplaced"
LOOSE = 0.1  # overlap at which a finding on a chest radiograph counts as found (details only)
METHOD = "bootstrap of test subjects and seeds"
Arm = Literal["real", "synthetic", "mixed", "pretrained"]


class Options(Frozen):
    """margin_dice, margin_map: of non-inferiority; seeds: trainings per arm; steps: optimiser steps of each; draws:
    bootstrap; least_test: fewest test subjects with a mask; arms: what is trained, at least real and synthetic.
    """

    margin_dice: float
    margin_map: float
    seeds: int
    steps: int
    draws: int
    least_test: int
    arms: tuple[Arm, ...] = ("real", "synthetic", "mixed", "pretrained")
    level: float = 0.95

    @property
    def trainings(self) -> int:
        """Trainings in all, with those of the control."""
        return (len(self.arms) + 1) * self.seeds

    @field_validator("arms")
    @classmethod
    def _both(cls, arms: tuple[Arm, ...]) -> tuple[Arm, ...]:
        if lacking := {"real", "synthetic"} - set(arms):
            raise ValueError(f"the arm '{min(lacking)}' is missing: the loss compares real with synthetic")
        return arms


class _Spread(NamedTuple):
    """One quantity of one arm: each seed (S,), and each resample (B,) with seeds drawn for it."""

    seeds: np.ndarray
    boot: np.ndarray

    @property
    def mean(self) -> float:
        return float(self.seeds.mean())


class _Loss(NamedTuple):
    """What a finding is made of: its quantity, margin, arms, and further details."""

    quantity: str
    margin: float
    arms: Mapping[str, _Spread]
    details: dict[str, object]


def measure(exam: Examination, options: Options) -> Result:
    """Loss of Dice and of average precision against training on real images and masks."""
    name = f"segmentation@{version}"
    if problem := _missing(exam, options):
        return not_run(name, QUANTITIES, problem, {"test subjects": exam.subjects("test")})
    arms = (*dict.fromkeys(options.arms), CONTROL)
    tasks = {f"{arm}/{k}": _task(exam, arm, k, options) for k in range(options.seeds) for arm in arms}
    made: dict[str, list[dict[str, np.ndarray]]] = {arm: [] for arm in arms}
    for key, blob in exam.context.map(_train_and_score, tasks, unit="trainings").items():
        made[key.split("/")[0]].append(exam.context.store.get_arrays(blob))
    rng = np.random.default_rng(exam.context.seed("bootstrap"))
    subjects = exam["test"].subjects
    weights = interval.subject_weights(subjects, options.draws, rng)
    masked = made["real"][0]["truths"] > 0
    dice, precision = ({arm: f(made[arm], weights, rng) for arm in arms} for f in (_dice, _precision))
    n = {
        "test images": len(masked),
        "test subjects": exam.subjects("test"),
        "test subjects with mask": len(np.unique(subjects[masked])),
        "training images (real)": len(exam["train"]),
        "training images (synthetic)": len(exam["synthetic"]),
        "seeds": options.seeds,
    }
    inputs = exam.inputs(*ROLES) | {f"masks of {role}": digest.of_json(_places(exam[role])) for role in ROLES}
    false = {arm: _false(made[arm], ~masked) for arm in arms}
    looser = {arm: _at(made[arm]) for arm in arms}
    losses = (
        _Loss("dice_loss", options.margin_dice, dice, {"without_mask": false}),
        _Loss("map_loss", options.margin_map, precision, {"at": looser}),
    )
    return Result(tuple(_finding(name, loss, options, n, inputs) for loss in losses))


def _finding(name: str, loss: _Loss, options: Options, n: dict[str, int], inputs: dict[str, str]) -> Finding:
    arms = loss.arms
    value = arms["real"].mean - arms["synthetic"].mean
    difference = arms["real"].boot - arms["synthetic"].boot
    upper = float(np.nanquantile(difference, options.level))
    details: dict[str, object] = {
        "margin": loss.margin,
        "arms": {arm: _row(spread, arms["real"]) for arm, spread in arms.items()},
        "two_sided": _ends(difference),
        "n_needed": _needed(value, float(np.nanstd(difference)), loss.margin, options, n["test subjects with mask"]),
    }
    return Finding(
        measure=name,
        quantity=loss.quantity,
        value=value,
        interval=Interval(low=-1.0, high=upper, level=options.level, method=METHOD, sides=1),
        n=n,
        null=0.0,
        direction="lower",
        control=_control(arms, loss.margin, options.level),
        details=details | loss.details,
        inputs=inputs,
    )


def _control(arms: Mapping[str, _Spread], margin: float, level: float) -> Control:
    """Whether masks that lie elsewhere lose more than the margin, and surely something."""
    lost = arms["real"].mean - arms[CONTROL].mean
    low = float(np.nanquantile(arms["real"].boot - arms[CONTROL].boot, 1 - level))
    return Control(
        name="masks of other synthetic images",
        expected=f"a loss above the margin of {margin:.3g}, with a lower limit above 0",
        observed=f"a loss of {lost:.3f}, lower limit {low:.3f}",
        fired=lost > margin and low > 0,
    )


def _row(spread: _Spread, real: _Spread) -> dict[str, object]:
    low, high = _ends(spread.boot)
    gain = {"gain": spread.mean - real.mean, "gain_interval": _ends(spread.boot - real.boot)}
    return {"mean": spread.mean, "low": low, "high": high, "seeds": spread.seeds.tolist()} | gain


def _ends(boot: np.ndarray) -> list[float]:
    return [float(end) for end in np.nanquantile(boot, [0.025, 0.975])]


def _needed(value: float, spread: float, margin: float, options: Options, subjects: int) -> int | None:
    """Test subjects with a mask for 80 % power at this loss and spread; None when the loss exceeds the margin."""
    if margin <= value:
        return None
    z = float(stats.norm.ppf(options.level) + stats.norm.ppf(0.8))
    return int(np.ceil(subjects * (z * spread / (margin - value)) ** 2))


def _missing(exam: Examination, options: Options) -> str:
    if "test" not in exam:
        return "No real test images were given (--test DIR, or a test part in the study); masks were not measured."
    masks = {role: exam[role].masks() for role in ROLES}
    have = {role: np.zeros(len(exam[role]), bool) if m is None else m.any((1, 2)) for role, m in masks.items()}
    for role, words in (("train", "training"), ("synthetic", "synthetic")):
        if (count := int(have[role].sum())) < 2:
            return f"{count} of the {words} images have a mask; at least 2 are needed."
    if (count := len(np.unique(exam["test"].subjects[have["test"]]))) < options.least_test:
        return f"The test set has {count} subjects with a mask; at least {options.least_test} are needed."
    return ""


def _places(images: ImageSet) -> dict[str, Any]:
    return {column: images.table[column].to_list() for column in ("block", "row", "mask_block", "mask_row")}


def _task(exam: Examination, arm: str, k: int, options: Options) -> dict[str, Any]:
    """What one training needs, by reference: pixels and masks stay in the store."""
    return {
        "arm": arm,
        "seed": exam.context.seed(f"{arm} {k}") % 2**31,
        "steps": options.steps,
        "labels": exam["synthetic"].labels.tolist(),
        "sets": {role: _places(exam[role]) for role in ROLES},
    }


def _train_and_score(store: Store, task: Mapping[str, Any]) -> str:
    """One training of one arm; keeps Dice, area and matched instances of each test image."""
    import polars as pl

    from chambit.measure import segmenter

    images, masks = {}, {}
    for role, places in task["sets"].items():
        given = ImageSet(store, pl.DataFrame(places))
        images[role], kept = given.grey(), given.masks()
        assert kept is not None, f"no mask in {role}"  # `_missing` saw to it
        masks[role] = kept
    if task["arm"] == CONTROL:
        masks["synthetic"] = _misplaced(masks["synthetic"], np.array(task["labels"]), task["seed"])
    roles, odds = _drawn(task["arm"], len(images["train"]), len(images["synthetic"]))
    pixels, targets = (np.concatenate([given[role] for role in roles]) for given in (images, masks))
    network = segmenter.train(pixels, targets, odds, task["steps"], task["seed"])
    probability, truth = segmenter.probabilities(network, images["test"]), masks["test"]
    found = overlap.instances(probability, truth, (LOOSE, *overlap.COCO))
    drawn = probability > overlap.AT
    return store.put_arrays(dice=overlap.dice(drawn, truth), area=drawn.mean((1, 2)), **found._asdict())


def _drawn(arm: str, real: int, synthetic: int) -> tuple[tuple[str, ...], np.ndarray]:
    """The roles an arm is trained on, and the odds (P, N) of their images, one after the other, in each phase."""
    if arm == "real":
        return ("train",), np.ones((1, real))
    if arm in ("synthetic", CONTROL):
        return ("synthetic",), np.ones((1, synthetic))
    own = np.concatenate([np.full(real, 1 / real), np.zeros(synthetic)])
    made = np.concatenate([np.zeros(real), np.full(synthetic, 1 / synthetic)])
    return ("train", "synthetic"), (own + made)[None] if arm == "mixed" else np.stack([made, own])


def _misplaced(masks: np.ndarray, labels: np.ndarray, seed: int) -> np.ndarray:
    """Every mask moved to another image that has one, of the same class."""
    rng = np.random.default_rng(seed)
    out = masks.copy()
    have = masks.any((1, 2))
    for label in np.unique(labels):
        ring = rng.permutation(np.flatnonzero((labels == label) & have))
        out[ring] = masks[np.roll(ring, 1)]
    return out


def _dice(made: list[dict[str, np.ndarray]], weights: np.ndarray, rng: np.random.Generator) -> _Spread:
    """Mean over test images with a mask."""
    masked = made[0]["truths"] > 0
    values = np.stack([one["dice"][masked] for one in made])
    share = weights[:, masked]
    with np.errstate(invalid="ignore"):
        boots = values @ share.T / share.sum(1)
    return _spread(values.mean(1), boots, rng)


def _precision(made: list[dict[str, np.ndarray]], weights: np.ndarray, rng: np.random.Generator) -> _Spread:
    """Mean average precision over the thresholds of COCO."""
    found = [_instances(one, slice(1, None)) for one in made]
    plain = np.array([overlap.average_precision(one).mean() for one in found])
    return _spread(plain, np.stack([overlap.average_precision(one, weights).mean(0) for one in found]), rng)


def _spread(plain: np.ndarray, boots: np.ndarray, rng: np.random.Generator) -> _Spread:
    """The mean of `seeds` trainings is reported, so each resample draws that many seeds anew."""
    count, draws = boots.shape
    drawn = rng.integers(count, size=(draws, count))
    return _Spread(plain, boots[drawn, np.arange(draws)[:, None]].mean(1))


def _instances(one: Mapping[str, np.ndarray], thresholds: slice) -> overlap.Instances:
    return overlap.Instances(one["image"], one["score"], one["hit"][thresholds], one["truths"])


def _at(made: list[dict[str, np.ndarray]]) -> dict[str, float]:
    """Average precision at an overlap of a half, and of a tenth, mean of seeds."""
    both = np.mean([overlap.average_precision(_instances(one, slice(0, 2)))[:, 0] for one in made], axis=0)
    return {"ap10": float(both[0]), "ap50": float(both[1])}


def _false(made: list[dict[str, np.ndarray]], normal: np.ndarray) -> dict[str, float] | None:
    """On test images without a mask: share of the area drawn on, and of images drawn on at all; None if there are none.

    Dice is not defined there.
    """
    if not normal.any():
        return None
    area = np.stack([one["area"][normal] for one in made])
    return {"area": float(area.mean()), "images": float((area > 0).mean())}
