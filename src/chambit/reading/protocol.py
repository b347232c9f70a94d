"""The protocol of a reader study: what is fixed, and hashed, before the first vote.

Two tasks. `authenticity`: a six-point scale from 1 (surely real) to 6 (surely synthetic). `plausibility`: does the
image show what its label says (yes, no, unsure), its quality from 1 to 5, and reasons to reject it.

No field has a default: numbers that decide come from a policy or from the people who plan the study.
"""

from collections.abc import Mapping
from typing import Literal, Self

from pydantic import Field, ValidationError, model_validator

from chambit.core import digest
from chambit.core.errors import InputError, Problem
from chambit.core.evidence import Frozen

BLOCK_MOST = 50  # images without a pause; attention falls in long sessions
KINDS: tuple["Kind", "Kind"] = ("real", "synthetic")
SCALE_MIDDLE = 3.5  # a score above it calls the image synthetic

Kind = Literal["real", "synthetic"]
Task = Literal["authenticity", "plausibility"]


class Words(Frozen):
    """One text in both languages."""

    ko: str = Field(min_length=1)
    en: str = Field(min_length=1)


class Reason(Frozen):
    """One reason to reject an image, by a short name, with the words that readers see."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,31}$")
    words: Words


class Protocol(Frozen):
    """A reader study as it was planned.

    Attributes:
        title: what readers and the board see.
        tasks: `authenticity`, with or without `plausibility`.
        reject_reasons: what a reader may give as a reason; empty without the second task.
        real: real images in the set, drawn from the hold-out, never from training.
        synthetic: synthetic images in the set; as many as real ones, so that guessing is right half of the time.
        margin: accuracy within 0.5 +- margin counts as chance, in (0, 0.5).
        level: confidence of intervals; tests have the size 1 - level.
        readers_least: so many readers must finish.
        outside_least: so many of them must come from outside the team.
        block: images without a pause, 10 to 50.
        repeats: share of the images that is shown a second time, 0 to 0.5.
        practice: images shown first, even, which lie outside the set and are never counted.
        seed: all orders of showing follow from it.
        holdout: digest or name of the set that real images come from.
        candidate: digest or name of the synthetic set.
        ratio_told: whether readers are told how many images are synthetic.
    """

    title: Words
    tasks: tuple[Task, ...]
    reject_reasons: tuple[Reason, ...]
    real: int = Field(ge=2)
    synthetic: int = Field(ge=2)
    margin: float = Field(gt=0, lt=0.5)
    level: float = Field(gt=0.5, lt=1)
    readers_least: int = Field(ge=1)
    outside_least: int = Field(ge=0)
    block: int = Field(ge=10)
    repeats: float = Field(ge=0, le=0.5)
    practice: int = Field(ge=0)
    seed: int = Field(ge=0)
    holdout: str = Field(min_length=1)
    candidate: str = Field(min_length=1)
    ratio_told: bool

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if wrong := list(_mistakes(self)):
            raise ValueError("; ".join(wrong))
        return self

    @property
    def digest(self) -> str:
        """SHA-256 of the whole protocol as canonical JSON; every vote carries it."""
        return digest.of_json(self.model_dump(mode="json"))

    @property
    def images(self) -> int:
        """Images that count: real and synthetic, without practice and repeats."""
        return self.real + self.synthetic

    @property
    def repeated(self) -> int:
        """Images of each kind that are shown twice."""
        return round(self.repeats * self.images / 2)


def _mistakes(protocol: Protocol) -> list[str]:
    """What the fields are only together, in words."""
    names = [reason.name for reason in protocol.reject_reasons]
    second = "plausibility" in protocol.tasks
    checks = {
        f"images must be even: as many real as synthetic, not {protocol.real} and {protocol.synthetic}": protocol.real
        != protocol.synthetic,
        f"block is at most {BLOCK_MOST}, not {protocol.block}: a pause is due": protocol.block > BLOCK_MOST,
        f"practice must be even, half of each kind, not {protocol.practice}": protocol.practice % 2 == 1,
        "tasks must have authenticity, each task once": (
            "authenticity" not in protocol.tasks or len(set(protocol.tasks)) != len(protocol.tasks)
        ),
        "reject_reasons need the task plausibility": bool(names) and not second,
        "the task plausibility needs reject_reasons": second and not names,
        "reject_reasons have a name twice": len(set(names)) != len(names),
        f"outside_least ({protocol.outside_least}) is more than readers_least ({protocol.readers_least})": (
            protocol.outside_least > protocol.readers_least
        ),
    }
    return [message for message, wrong in checks.items() if wrong]


def read(given: Mapping[str, object]) -> Protocol:
    """A protocol from what was written in a file or a form; lists may stand for tuples.

    Raises:
        InputError: with every problem that was found, each under its field.
    """
    try:
        return Protocol.model_validate(given)
    except ValidationError as error:
        problems = [
            Problem(".".join(str(part) for part in one["loc"]) or "protocol", one["msg"].removeprefix("Value error, "))
            for one in error.errors()
        ]
        raise InputError("the protocol of the reader study cannot be used", problems) from None
