"""Watch a training for memorisation: a curve of looks, the rule that stops it, and the finding that tells of it.

The stage draws samples along the training (`watch` of the stage contract); here they are compared, by the examiner's
tools, with training and with held-out images. Held-out ones come from half of the auxiliary subjects; the other half
fits the descriptors. The holdout stays unseen by anything that decides about the generator.

The curve is kept in the step's scratch folder, so it survives a kill; a look that is taken again is the same and takes
the place of the first. The rule's settings are the policy's (`settings.memorisation`).
"""

import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from chambit.core.evidence import Control, Finding, Frozen, Interval
from chambit.core.steps import Context
from chambit.core.store import Store, write_atomically
from chambit.images.imageset import ImageSet
from chambit.measure import memorisation
from chambit.measure.memorisation import HELD_OUT, TRAIN, Neighbours
from chambit.pipeline.plan import Made
from chambit.review.policy import Policy

MEASURE = "memorisation@1"
COPIES = 128  # training images of the control


class Settings(Frozen):
    """Of the policy: looks: alarms running that stop training; excess: share of samples, beyond chance, that may be
    nearest to training before a look alarms; least: subjects needed on each half of the auxiliary set.
    """

    looks: int = Field(ge=1)
    excess: float = Field(ge=0, lt=1)
    least: int = Field(ge=2)
    level: float = Field(0.95, gt=0, lt=1)


class Watch:
    """What a stage calls at each look; see `chambit.generate.looking`."""

    def __init__(self, neighbours: Neighbours, settings: Settings, classes: Sequence[str], file: Path) -> None:
        self.neighbours, self.settings, self.file = neighbours, settings, file
        self.limit = neighbours.limit(settings.excess)
        self.asked = [
            (neighbours.pictures[at], [list(classes).index(label) for label in neighbours.labels[at]])
            for at in (neighbours.equal(TRAIN), neighbours.equal(HELD_OUT))
        ]

    def __call__(
        self, step: int, samples: np.ndarray, known: Callable[[np.ndarray, Sequence[int]], np.ndarray]
    ) -> int | None:
        """Add a look to the curve; the step whose weights are to be used, when training must stop."""
        look = self.neighbours.look(samples)
        losses = [-float(known(*given).mean()) for given in self.asked]
        point = {"step": step, **look._asdict(), "samples": len(samples), "loss_train": losses[0],
                 "loss_held_out": losses[1]}  # fmt: skip
        # those after this step are of a training that was killed and began again before them
        curve = [*(before for before in self.curve() if before["step"] < step), point]
        write_atomically(self.file, json.dumps(curve).encode())
        return used(curve, self.limit, self.settings.looks)

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
    return Watch(neighbours, settings, classes, context.scratch / "curve.json")


def watched(context: Context, watch: Watch | str) -> dict[str, Any]:
    """What is kept of a watch when training has ended: sizes, limit, control, which look's weights are used."""
    if isinstance(watch, str):
        return {"reason": watch}
    curve, neighbours = watch.curve(), watch.neighbours
    if not curve:
        return {"reason": "The stage was asked not to look at its training, or cannot."}
    earlier = used(curve, watch.limit, watch.settings.looks)
    control = neighbours.control(COPIES, context.seed("watch control"))
    return {
        "reason": "",
        "null": neighbours.null,
        "limit": watch.limit,
        "excess": watch.settings.excess,
        "level": watch.settings.level,
        "sizes": {"train subjects": neighbours.sizes[TRAIN], "held-out subjects": neighbours.sizes[HELD_OUT]},
        "stopped_at": None if earlier is None else curve[-1]["step"],
        "used": curve[-1]["step"] if earlier is None else earlier,
        "control": control._asdict() | {"copies": min(COPIES, neighbours.sizes[TRAIN])},
    }


def recorded(store: Store, made: Made) -> list[Finding]:
    """`memorisation.share` of a study whose training was watched, a fact of the process; else nothing."""
    if "watched" not in made["train"]:
        return []
    about, curve = (store.get_json(made["train"][name]) for name in ("watched", "curve"))
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
