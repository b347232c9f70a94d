"""Votes of readers whose skill is known, for tests, for planning and for a rehearsal of a study.

A reader has an inner signal for `synthetic` on each showing of an image; s is +1 for a synthetic image, -1 for
a real one:

    signal = s * (d'/2 + learning * position + image) + own * e1 + sqrt(1 - own^2) * e2

`image` is how easily this image is recognised, equal for all readers, N(0, image sd); e1 is the reader's own impression
of the image and comes back with a repeat, e2 is new at each showing, both N(0, 1). The score is 1 plus the number of
thresholds criterion + (-2, -1, 0, 1, 2) * width below the signal, so P(right) = Phi(d'/2 + image) at criterion 0: the
probit model of the power table (after Roe and Metz 1997, doi:10.1016/S1076-6332(97)80032-3, with one modality).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from chambit.core import seeds
from chambit.reading.protocol import Kind, Protocol
from chambit.reading.trials import Trial
from chambit.reading.votes import Plausibility, Vote

THRESHOLDS = np.arange(-2, 3)


class Skill(NamedTuple):
    """What a simulated reader is like.

    Attributes:
        dprime: 0 for a reader who guesses; 2 is right in 84 %.
        criterion: positive where the reader prefers `real`.
        width: distance of the thresholds between the six scores.
        own: share of the noise that is the reader's own lasting impression of an image, 0 to 1.
        learning: what d'/2 gains with each presentation.
        seconds: median time an image.
        label_right: chance that the label of a real image and of a synthetic one is found right.
        giveaway: where the reader clicks on synthetic images called synthetic, (x, y), or None for no clicks.
    """

    dprime: float = 0.0
    criterion: float = 0.0
    width: float = 0.5
    own: float = 0.7
    learning: float = 0.0
    seconds: float = 6.0
    label_right: tuple[float, float] = (0.95, 0.95)
    giveaway: tuple[float, float] | None = None


def votes(
    protocol: Protocol,
    plans: Sequence[Sequence[Trial]],
    skills: Sequence[Skill],
    image_sd: float,
    seed: int,
) -> list[Vote]:
    """All votes of readers `r000`, `r001` ...; each reader's depend on the seed and his own number alone.

    Args:
        protocol: the study.
        plans: presentations of each reader.
        skills: of each reader.
        image_sd: how far images differ in how easily they are recognised.
        seed: any whole number.
    """
    shown = {trial.item for plan in plans for trial in plan}
    ease = {item: image_sd * seeds.generator(seed, "simulated image", item).standard_normal() for item in shown}
    cast = []
    for number, (plan, skill) in enumerate(zip(plans, skills, strict=True)):
        rng = seeds.generator(seed, "simulated reader", number)
        impressions = {item: rng.standard_normal() for item in sorted({trial.item for trial in plan})}
        for trial in plan:
            score = _score(trial, skill, ease[trial.item], impressions[trial.item], rng)
            cast.append(_vote(protocol, f"r{number:03d}", trial, skill, score, rng))
    return cast


def _score(trial: Trial, skill: Skill, image: float, impression: float, rng: np.random.Generator) -> int:
    side = 1 if trial.kind == "synthetic" else -1
    noise = skill.own * impression + (1 - skill.own**2) ** 0.5 * rng.standard_normal()
    signal = side * (skill.dprime / 2 + skill.learning * trial.position + image) + noise
    return 1 + int((signal > skill.criterion + skill.width * THRESHOLDS).sum())


def _vote(protocol: Protocol, reader: str, trial: Trial, skill: Skill, score: int, rng: np.random.Generator) -> Vote:
    called = score > 3
    answers = _answers(protocol, trial.kind, skill, rng) if "plausibility" in protocol.tasks else None
    click = None
    if skill.giveaway is not None and called:
        centre = (
            np.array(skill.giveaway) + 0.03 * rng.standard_normal(2) if trial.kind == "synthetic" else rng.random(2)
        )
        x, y = np.clip(centre, 0, 1).tolist()
        click = (x, y)
    return Vote(
        study=protocol.digest,
        reader=reader,
        trial=trial.id,
        item=trial.item,
        kind=trial.kind,
        repeat=trial.repeat,
        practice=trial.practice,
        score=score,
        plausibility=answers,
        giveaway=click,
        seconds=float(skill.seconds * np.exp(0.4 * rng.standard_normal())),
        moves=int(rng.poisson(2)),
        position=trial.position,
        block=trial.block,
        hour=9 + trial.block % 8,
    )


def _answers(protocol: Protocol, kind: Kind, skill: Skill, rng: np.random.Generator) -> Plausibility:
    right = bool(rng.random() < skill.label_right[kind == "synthetic"])
    reasons = () if right or not protocol.reject_reasons else (protocol.reject_reasons[0].name,)
    return Plausibility(label="yes" if right else "no", quality=int(rng.integers(3, 6)) if right else 2, reject=reasons)
