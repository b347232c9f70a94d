"""Saliency: does a classifier trained on synthetic images look at the same place as one trained on real images?

Both are trained in the same way, several times, and asked for a Grad-CAM map (`chambit.measure.heat`) of real test
images, each for its own class:

    energy       share of the synthetic-trained networks' heat inside the finding's mask; null: the mask's area
    energy loss  that share of the real-trained networks minus that of the synthetic-trained
    pointing     how often the hottest pixel lies in the mask, with a tolerance
    agreement    Spearman's correlation of the two networks' maps, image by image
    border       share of heat in the outer tenth of each side, synthetic-trained minus real-trained, in the class where
                 it is largest; and `drawn`, how much more the synthetic-trained look there in synthetic than in real
                 images: a network that learned a watermark or a frame is drawn to it, and looks anywhere where there is
                 none. Steadier than the first, since each network is compared with itself

Beside them stand chance, a map that looks at the middle alone, and the agreement of two real-trained networks, above
which nothing can be asked. Trainings differ more than patients do, and there are few: an interval adds to the bootstrap
of test subjects the variance between trainings, with Student's t at the degrees of freedom of Satterthwaite 1946
(doi:10.2307/3002019). Resampling two or three trainings instead was simulated: where nothing differs, 10 to 20 % of the
intervals lie above zero. The control is the sanity check of Adebayo et al. 2018 (arXiv:1810.03292): maps must
be lost with the weights and with the labels; and the real-trained networks must know their task.

Known failures: a network may look at the right place for a wrong reason. Without masks agreement is over all classes,
and for a healthy image there is no one place to look at.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pydantic import Field
from scipy import stats

from chambit.core import digest
from chambit.core.evidence import Control, Finding, Frozen, Interval
from chambit.measure import heat, interval, looks
from chambit.measure.examination import Examination, Heats, Result, not_run
from chambit.measure.looks import ARMS, Looks

version = "1"
OF_MASKS = {"energy": "higher", "energy_loss": "lower", "pointing": "higher"}
QUANTITIES = OF_MASKS | {"agreement": "higher", "border": "lower"}
METHOD = "bootstrap of test subjects, Student's t over trainings"


class Options(Frozen):
    """Settings come from the policy file.

    seeds: trainings per arm; steps: optimiser steps of each; images: most test images with a mask, most without, and
    most synthetic ones; least_masks: test subjects with a mask; draws: bootstrap; control: the most that maps of
    randomised networks may agree, as a share of what two trainings agree; worst: images kept for the picture.
    """

    seeds: int = Field(ge=2)
    steps: int
    images: int
    least_masks: int
    draws: int
    control: float
    worst: int = 20
    level: float = 0.95

    @property
    def trainings(self) -> int:
        """Trainings in all: of both arms, and one on shuffled labels."""
        return 2 * self.seeds + 1


def measure(exam: Examination, options: Options) -> Result:
    """Agreement and border; energy and pointing, too, where test images have masks of the finding."""
    name = f"saliency@{version}"
    if problem := _missing(exam):
        return not_run(name, QUANTITIES, problem, {"test subjects": exam.subjects("test")})
    seen = looks.of(exam, options.seeds, options.steps, options.images, options.least_masks)
    rng = np.random.default_rng(exam.context.seed("bootstrap"))
    common: dict[str, Any] = {
        "measure": name,
        "control": _control(seen, options, rng),
        "inputs": exam.inputs("train", "synthetic", "test"),
    }
    agreement, heats = _agreement(seen, exam.sets["test"].table["id"].to_list(), options, rng, common)
    findings = [agreement, _border(seen, options, rng, common)]
    if seen.masks is not None and seen.masked >= options.least_masks:
        common["inputs"] = common["inputs"] | {"masks": digest.of_array(seen.masks)}
        findings += _in_masks(seen, options, rng, common)
    elif seen.masks is not None:
        problem = f"Test images of {seen.masked} subjects have a mask; at least {options.least_masks} are needed."
        findings += not_run(name, OF_MASKS, problem, {"test subjects": seen.masked}).findings
    return Result(tuple(findings), heats=heats)


def _in_masks(
    seen: Looks, options: Options, rng: np.random.Generator, common: Mapping[str, Any]
) -> tuple[Finding, ...]:
    """Energy, its loss, and pointing, over the test images with a mask."""
    assert seen.masks is not None
    at, level = seen.at, options.level
    masks, shape = seen.masks[at], seen.masks.shape[1:]
    middle = np.broadcast_to(heat.centre(shape), masks.shape)
    weights, sizes = _weights(seen.subjects[at], options, rng), _sizes(seen, at, options)
    people = sizes["test subjects"]
    blank = {arm: float(np.mean([(h[at].max((1, 2)) <= 0).mean() for h in seen.heats[arm]])) for arm in ARMS}

    def one(quantity: str, arms: Mapping[str, np.ndarray], beside: Mapping[str, np.ndarray]) -> Finding:
        table: dict[str, Any] = {
            arm: _row(values.mean(), _over(values, weights, people, level)) | {"seeds": values.mean(1).tolist()}
            for arm, values in arms.items()
        }
        for name, values in beside.items():
            table[name] = _row(values.mean(), interval.percentile(weights @ values, level, METHOD))
        return Finding(
            **common,
            quantity=quantity,
            value=table["synthetic"]["mean"],
            interval=_over(arms["synthetic"], weights, people, level),
            n=sizes,
            null=table["chance"]["mean"],
            direction="higher",
            details={name: table[name]["mean"] for name in ("real", *beside)} | {"arms": table, "blank": blank},
        )

    energy = {arm: np.stack([heat.inside(h[at], masks) for h in seen.heats[arm]]) for arm in ARMS}
    wide = heat.widened(masks, heat.reach(shape))
    pointing = {arm: np.stack([heat.pointing(h[at], wide) for h in seen.heats[arm]]) for arm in ARMS}
    loss = Finding(
        **common,
        quantity="energy_loss",
        value=float(energy["real"].mean() - energy["synthetic"].mean()),
        interval=_less(energy["real"], energy["synthetic"], weights, people, level),
        n=sizes,
        null=0.0,
        direction="lower",
        details={arm: float(values.mean()) for arm, values in energy.items()},
    )
    return (
        one("energy", energy, {"centre": heat.inside(middle, masks), "chance": masks.mean((1, 2))}),
        loss,
        one("pointing", pointing, {"centre": heat.pointing(middle, wide), "chance": wide.mean((1, 2))}),
    )


def _agreement(
    seen: Looks, names: Sequence[str], options: Options, rng: np.random.Generator, common: Mapping[str, Any]
) -> tuple[Finding, Heats]:
    """Agreement of the two kinds of network, and the images they agree on least."""
    at, k = seen.at, options.seeds
    between = heat.agreement([h[at] for arm in ARMS for h in seen.heats[arm]])
    cross, pairs = between[:k, k:], np.triu_indices(k, 1)
    repeat = {"real": between[:k, :k][pairs].mean(0), "synthetic": between[k:, k:][pairs].mean(0)}
    each = cross.mean((0, 1))
    weights, sizes = _weights(seen.subjects[at], options, rng), _sizes(seen, at, options)
    trainings = [cross.mean((1, 2)), cross.mean((0, 2))]  # of each real-trained and each synthetic-trained network
    order = np.argsort(each, kind="stable")[: options.worst]
    worst: list[dict[str, object]] = [{"id": names[seen.rows[at[i]]], "agreement": float(each[i])} for i in order]
    if seen.masks is not None and seen.masked >= options.least_masks:
        for arm in ARMS:
            shares = np.mean([heat.inside(h[at[order]], seen.masks[at[order]]) for h in seen.heats[arm]], axis=0)
            for entry, share in zip(worst, shares.tolist(), strict=True):
                entry[f"energy_{arm}"] = share
    finding = Finding(
        **common,
        quantity="agreement",
        value=float(each.mean()),
        interval=_interval(
            float(each.mean()), weights @ each, trainings, sizes["test subjects"], options.level, (-1, 1)
        ),
        n=sizes,
        null=0.0,
        direction="higher",
        details={
            "repeatability": float(repeat["real"].mean()),
            "repeatability_synthetic": float(repeat["synthetic"].mean()),
            "repeated": {
                arm: _row(values.mean(), interval.percentile(weights @ values, options.level, METHOD))
                for arm, values in repeat.items()
            },
            "weights_drawn_anew": seen.cascade.mean((0, 2)).tolist(),
            "worst": worst,
        },
    )
    real, synthetic = (_levels([h[at[order]] for h in seen.heats[arm]]) for arm in ARMS)
    return finding, Heats(seen.rows[at[order]].astype(np.int64), real, synthetic)


def _border(seen: Looks, options: Options, rng: np.random.Generator, common: Mapping[str, Any]) -> Finding:
    """Heat at the border of the test images, and how much more of it there is in the synthetic images.

    A class at a time, because a mark of one class draws its maps to the border and those of the others away from it;
    the class where it is most counts. Intervals are at the level that so many classes ask for (Bonferroni).
    """
    edge, level = heat.border(seen.heats["real"][0].shape[1:]), 1 - (1 - options.level) / len(seen.classes)
    shares = {arm: np.stack([heat.inside(h, edge) for h in seen.heats[arm]]) for arm in ARMS}
    more: list[dict[str, Any]] = []
    drawn: list[dict[str, Any]] = []
    for k in np.unique(seen.truth):
        at, label = seen.truth == k, seen.classes[k]
        real, synthetic = (shares[arm][:, at] for arm in ARMS)
        weights, people = _weights(seen.subjects[at], options, rng), len(np.unique(seen.subjects[at]))
        row = _row(synthetic.mean() - real.mean(), _less(synthetic, real, weights, people, level))
        seeds = {arm: shares[arm][:, at].mean(1).tolist() for arm in ARMS}
        more.append(
            row | {"class": label, "real": float(real.mean()), "synthetic": float(synthetic.mean()), "seeds": seeds}
        )
        if (its := seen.made == k).any():  # else a rare class, by chance not among the synthetic images asked
            there = seen.border[:, its]
            trainings = there.mean(1) - synthetic.mean(1)
            boot = _weights(np.flatnonzero(its), options, rng) @ there.mean(0) - weights @ synthetic.mean(0)
            given = _interval(float(trainings.mean()), boot, [trainings], people, level, (-1, 1))
            drawn.append(_row(trainings.mean(), given) | {"class": label, "seeds": trainings.tolist()})
    top, most = (max(rows, key=lambda row: float(row["mean"])) for rows in (more, drawn))
    return Finding(
        **common,
        quantity="border",
        value=top["mean"],
        interval=Interval(low=top["low"], high=top["high"], level=level, method=METHOD),
        n=_sizes(seen, np.arange(len(seen.rows)), options) | {"synthetic images": len(seen.made)},
        null=0.0,
        direction="lower",
        details={
            "even": float(edge.mean()),
            "real": top["real"],
            "synthetic": top["synthetic"],
            "drawn": most["mean"],
            "drawn_low": most["low"],
            "drawn_high": most["high"],
            "classes": more,
            "drawn_classes": drawn,
        },
    )


def _control(seen: Looks, options: Options, rng: np.random.Generator) -> Control:
    """The networks must know their task, and their maps must be lost with the weights, and with the labels."""
    at, k, tail = seen.at, options.seeds, (1 - options.level) / 2
    between = heat.agreement([h[at] for h in (*seen.heats["real"], *seen.heats["shuffled"])])
    trained = between[:k, :k][np.triu_indices(k, 1)].mean(0)
    lost = {"weights drawn anew": seen.cascade[:, -1].mean(0), "labels shuffled": between[:k, k].mean(0)}
    weights = _weights(seen.subjects[at], options, rng)
    room = [np.quantile(weights @ (options.control * trained - other), tail) for other in lost.values()]
    every = _weights(seen.subjects, options, rng)
    known = np.mean([interval.macro_auroc(scores, seen.truth, every) for scores in seen.scores], axis=0)
    right = float(np.mean([interval.macro_auroc(scores, seen.truth)[0] for scores in seen.scores]))
    observed = ", ".join(f"{name} {other.mean():.2f}" for name, other in lost.items())
    return Control(
        name="networks trained on real images, with their weights drawn anew, and trained on shuffled labels",
        expected=f"AUROC above 0.5; randomised maps alike at most {options.control:g} times as much as trained ones",
        observed=f"AUROC {right:.2f}; two trainings {trained.mean():.2f}, {observed}",
        fired=bool(min(room) > 0 and np.nanquantile(known, tail) > 0.5),
    )


def _over(values: np.ndarray, weights: np.ndarray, people: int, level: float) -> Interval:
    """Interval of the mean of shares (trainings, images)."""
    return _interval(float(values.mean()), weights @ values.mean(0), [values.mean(1)], people, level, (0, 1))


def _less(one: np.ndarray, other: np.ndarray, weights: np.ndarray, people: int, level: float) -> Interval:
    """Interval of the mean of `one` minus that of `other`, shares (trainings, images) of the same images."""
    paired = weights @ (one.mean(0) - other.mean(0))
    trainings = [one.mean(1), other.mean(1)]
    return _interval(float(one.mean() - other.mean()), paired, trainings, people, level, (-1, 1))


def _interval(
    value: float,
    boot: np.ndarray,
    trainings: Sequence[np.ndarray],
    people: int,
    level: float,
    ends: tuple[float, float],
) -> Interval:
    """Variance of the subjects from the bootstrap, of each arm's trainings from their spread; t by Satterthwaite.

    Args:
        value: the mean of trainings and images.
        boot: (draws,) means of the trainings over resampled subjects.
        trainings: for each arm the mean of each of its trainings over all images.
        people: test subjects.
        level: of the interval.
        ends: least and largest value that the number can have.
    """
    parts = [(float(np.var(of, ddof=1)) / len(of), len(of) - 1) for of in trainings]
    parts.append((float(np.var(boot)), max(1, people - 1)))
    total = sum(part for part, _ in parts)
    if total == 0:
        return Interval(low=value, high=value, level=level, method=METHOD)
    freedom = total**2 / sum(part**2 / free for part, free in parts)
    half = float(stats.t.ppf((1 + level) / 2, freedom) * np.sqrt(total))
    return Interval(low=max(ends[0], value - half), high=min(ends[1], value + half), level=level, method=METHOD)


def _weights(subjects: np.ndarray, options: Options, rng: np.random.Generator) -> np.ndarray:
    """Bootstrap weights (draws, images) by subject, each row of sum 1."""
    drawn = interval.subject_weights(subjects, options.draws, rng)
    return np.asarray(drawn / drawn.sum(1, keepdims=True))


def _sizes(seen: Looks, at: np.ndarray, options: Options) -> dict[str, int]:
    people = len(np.unique(seen.subjects[at]))
    return {"test images": len(at), "test subjects": people, "seeds": options.seeds}


def _row(mean: float, given: Interval) -> dict[str, float]:
    return {"mean": float(mean), "low": given.low, "high": given.high}


def _levels(heats: Sequence[np.ndarray]) -> np.ndarray:
    """The mean map of several trainings as uint8, the hottest pixel of each image at 255."""
    mean = np.asarray(np.mean(heats, axis=0, dtype=np.float32))
    top = mean.max((1, 2), keepdims=True)
    return np.round(255 * mean / np.where(top > 0, top, 1)).astype(np.uint8)


def _missing(exam: Examination) -> str:
    if "test" not in exam:
        return "No real test images were given (--test DIR, or a test part in the study); no network was asked."
    known, made, test = (set(exam[role].labels.tolist()) for role in ("train", "synthetic", "test"))
    if len(known) < 2:
        return "The training images have one class only; there is nothing to classify. Give labels (--labels CSV)."
    for there, whose in ((made, "synthetic"), (test, "test")):
        if lacking := sorted(known - there):
            return f"The {whose} set has no image of class '{lacking[0]}'; at least 1 is needed."
    if extra := sorted((made | test) - known):
        return f"Class '{extra[0]}' is in the synthetic or test images but not in the training images."
    return ""
