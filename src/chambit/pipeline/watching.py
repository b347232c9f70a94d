"""Watch a training for memorisation and for its labels: a curve of looks, the rules that stop it, the finding.

The stage draws samples along the training (`watch` of the stage contract); here they are compared, by the examiner's
tools, with training and with held-out images. Held-out ones come from half of the auxiliary subjects; the other half
fits the descriptors. The holdout stays unseen by anything that decides about the generator.

The curve is kept in the step's scratch folder, so it survives a kill; a look that is taken again is the same and takes
the place of the first. The rules' settings are the policy's (`settings.memorisation`).

Whether samples show what they are labelled is read by a small classifier that was trained on the real training images.
No distance sees a generator that ignores its labels, and a training that goes wrong there looks well otherwise.
"""

import inspect
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from chambit.core.evidence import Control, Finding, Frozen, Interval
from chambit.core.steps import Context
from chambit.core.store import Store, write_atomically
from chambit.generate.refine import reduce
from chambit.images.imageset import ImageSet
from chambit.measure import memorisation
from chambit.measure.memorisation import HELD_OUT, TRAIN, Neighbours
from chambit.pipeline.plan import Made
from chambit.review.policy import Policy

if TYPE_CHECKING:  # torch takes seconds to load, and a plan needs none
    from chambit.generate.training.looking import Look

MEASURE = "memorisation@1"
COPIES = 128  # training images of the control
JUDGED = 64  # pixels of the longer side at which labels are read
DRAWS = 200


class Settings(Frozen):
    """Of the policy: looks: alarms running that stop training; excess: share of samples, beyond chance, that may be
    nearest to training before a look alarms; least: subjects needed on each half of the auxiliary set; judge: optimiser
    steps of the classifier that reads the samples' labels, 0 for none.
    """

    looks: int = Field(ge=1)
    excess: float = Field(ge=0, lt=1)
    least: int = Field(ge=2)
    level: float = Field(0.95, gt=0, lt=1)
    judge: int = Field(0, ge=0)


class Judge:
    """Reads the labels of pictures as real pictures would have them: AUROC of one class against the rest, the mean."""

    def __init__(self, train: ImageSet, classes: Sequence[str], steps: int, seed: int) -> None:
        from chambit.measure import classifier

        self.classes = len(classes)
        labels = np.array([list(classes).index(label) for label in train.labels])
        self.network = classifier.train(_small(train.grey()), labels, self.classes, steps, seed % 2**31)

    def read(self, samples: np.ndarray, labels: np.ndarray, level: float) -> tuple[float, float, float] | None:
        """Value and interval (bootstrap of the samples), or None where a class is missing among the labels."""
        from chambit.measure import classifier, interval

        if set(np.unique(labels)) != set(range(self.classes)) or self.classes < 2:
            return None
        scores = classifier.scores(self.network, _small(samples))
        weights = interval.subject_weights(np.arange(len(labels)), DRAWS, np.random.default_rng(0))
        drawn = interval.macro_auroc(scores, labels, weights)
        low, high = np.nanquantile(drawn, [(1 - level) / 2, (1 + level) / 2])
        return float(interval.macro_auroc(scores, labels, None)[0]), float(low), float(high)


def _small(images: np.ndarray) -> np.ndarray:
    """Images (N, H, W) in [0, 1], 64 pixels at most, by averaging: enough to tell classes, and quick."""
    return reduce.apply(images, reduce.Options(pixels=JUDGED))


class Watch:
    """What a stage calls at each look; see `chambit.generate.training.looking`."""

    def __init__(
        self,
        neighbours: Neighbours,
        settings: Settings,
        classes: Sequence[str],
        file: Path,
        judge: Judge | None = None,
    ) -> None:
        self.neighbours, self.settings, self.file, self.judge = neighbours, settings, file, judge
        self.limit = neighbours.limit(settings.excess)
        self.asked = [
            (neighbours.pictures[at], [list(classes).index(label) for label in neighbours.labels[at]])
            for at in (neighbours.equal(TRAIN), neighbours.equal(HELD_OUT))
        ]

    def __call__(self, look: "Look") -> int | None:
        """Add a look to the curve; the step whose weights are to be used, when training must stop."""
        seen = self.neighbours.look(look.samples)
        point = {"step": look.step, **seen._asdict(), "samples": len(look.samples)}
        if look.known is not None:
            losses = [-float(look.known(*given).mean()) for given in self.asked]
            point |= {"loss_train": losses[0], "loss_held_out": losses[1]}
        if self.judge is not None and (read := self.judge.read(look.samples, look.labels, self.settings.level)):
            point |= dict(zip(("fidelity", "fidelity_low", "fidelity_high"), read, strict=True))
        # those after this step are of a training that was killed and began again before them
        curve = [*(before for before in self.curve() if before["step"] < look.step), point]
        write_atomically(self.file, json.dumps(curve).encode())
        return decided(curve, self.limit, self.settings.looks)[0]

    def curve(self) -> list[dict[str, Any]]:
        """The looks so far."""
        return json.loads(self.file.read_bytes()) if self.file.exists() else []


def used(curve: Sequence[Mapping[str, Any]], limit: float, looks: int) -> int | None:
    """The look whose weights are to be used, when the last `looks` looks all alarm; else None.

    It is the one before the first of these alarms, or the very first look where none came before.

    >>> curve = [{"step": 10, "low": 0.5}, {"step": 20, "low": 0.8}, {"step": 30, "low": 0.9}]
    >>> used(curve[:2], 0.7, 2), used(curve, 0.7, 2), used(curve[1:], 0.7, 2)
    (None, 10, 20)
    """
    last = curve[-looks:]
    if len(last) < looks or any(look["low"] <= limit for look in last):
        return None
    return int(curve[max(0, len(curve) - looks - 1)]["step"])


def fallen(curve: Sequence[Mapping[str, Any]], looks: int) -> int | None:
    """The look with the best labels, when those of the last `looks` looks are all worse beyond chance; else None.

    >>> curve = [{"step": 1, "fidelity": 0.9, "fidelity_low": 0.8, "fidelity_high": 0.95},
    ...          {"step": 2, "fidelity": 0.6, "fidelity_low": 0.5, "fidelity_high": 0.7}]
    >>> fallen(curve, 1), fallen(curve, 2), fallen(curve[:1], 1)
    (1, None, None)
    """
    read = [look for look in curve if "fidelity" in look]
    if len(read) <= looks:
        return None
    best = max(read[:-looks], key=lambda look: float(look["fidelity"]))
    return int(best["step"]) if all(look["fidelity_high"] < best["fidelity_low"] for look in read[-looks:]) else None


def decided(curve: Sequence[Mapping[str, Any]], limit: float, looks: int) -> tuple[int | None, str]:
    """The look whose weights are to be used and the rule that says so, or None and ''."""
    if (earlier := used(curve, limit, looks)) is not None:
        return earlier, "memory"
    if (earlier := fallen(curve, looks)) is not None:
        return earlier, "labels"
    return None, ""


def settings_of(policy: Policy, stage: Any) -> Settings | None:
    """How a stage is watched, or None: it cannot be, or the policy says nothing of it."""
    given = policy.settings.get("memorisation")
    asked = given is not None and "watch" in inspect.signature(stage.train).parameters
    return Settings.model_validate(given) if asked else None


def prepared(
    context: Context, train: ImageSet, auxiliary: ImageSet, classes: Sequence[str], settings: Settings
) -> Watch | str:
    """A watch for this training, or why there can be none."""
    seen = auxiliary.take(np.flatnonzero(np.isin(auxiliary.labels, list(classes))))
    if reason := memorisation.lacking(train, seen, settings.least):
        return reason
    neighbours = Neighbours.of(train, seen, context.seed("watch"), settings.level)
    judged = settings.judge and len(classes) > 1
    judge = Judge(train, classes, settings.judge, context.seed("judge")) if judged else None
    return Watch(neighbours, settings, classes, context.scratch / "curve.json", judge)


def watched(context: Context, watch: Watch | str) -> dict[str, Any]:
    """What is kept of a watch when training has ended: sizes, limit, control, which look's weights are used."""
    if isinstance(watch, str):
        return {"reason": watch}
    curve, neighbours = watch.curve(), watch.neighbours
    if not curve:
        return {"reason": "The stage was asked not to look at its training, or cannot."}
    earlier, rule = decided(curve, watch.limit, watch.settings.looks)
    control = neighbours.control(COPIES, context.seed("watch control"))
    return {
        "reason": "",
        "null": neighbours.null,
        "limit": watch.limit,
        "excess": watch.settings.excess,
        "level": watch.settings.level,
        "sizes": {"train subjects": neighbours.sizes[TRAIN], "held-out subjects": neighbours.sizes[HELD_OUT]},
        "rule": rule,
        "stopped_at": None if earlier is None else curve[-1]["step"],
        "used": curve[-1]["step"] if earlier is None else earlier,
        "control": control._asdict() | {"copies": min(COPIES, neighbours.sizes[TRAIN])},
    }


def recorded(store: Store, made: Made) -> list[Finding]:
    """`memorisation.share` of a study whose training was watched, a fact of the process; else nothing."""
    (outputs,) = [found for name, found in made.items() if name.startswith("train") and "watched" in found] or [{}]
    if not outputs:
        return []
    about, curve = (store.get_json(outputs[name]) for name in ("watched", "curve"))
    inputs = {role: ImageSet.load(store, made["split"][role]).digest for role in ("train", "auxiliary")}
    common: dict[str, Any] = {"measure": MEASURE, "quantity": "share", "direction": "lower", "inputs": inputs}
    if about["reason"]:
        return [Finding(**common, value=None, reason=about["reason"])]
    (look,) = (point for point in curve if point["step"] == about["used"])
    null, level, control = about["null"], about["level"], about["control"]
    details: dict[str, Any] = {
        "curve": curve,
        "limit": about["limit"],
        "excess": (look["share"] - null) / (1 - null),
        "detectable": memorisation.detectable(about["limit"], null, look["n"], level),
        "used": about["used"],
        "stopped_at": about["stopped_at"],
        "rule": about.get("rule", ""),
    }
    return [
        Finding(
            **common,
            value=look["share"],
            interval=Interval(low=look["low"], high=look["high"], level=level, method="Clopper-Pearson"),
            n={"samples": look["samples"], "nearest subjects": look["n"], **about["sizes"]},
            null=null,
            control=Control(
                name="training images saved as JPEG instead of samples",
                expected=f"of {control['copies']} copies, a lower bound above {about['limit']:.3f}",
                observed=f"share {control['share']:.3f}, lower bound {control['low']:.3f}",
                fired=control["low"] > about["limit"],
            ),
            details=details,
        )
    ]
