"""The plan of specialists' inspection of a synthetic set: fixed, and hashed, before the first image is judged.

It holds the stated quality and all that follows from it: the sample of each stratum, the acceptance number, every drawn
image with what it shows by digest and with who looks at it. An image is drawn for one of three purposes:

- `set`: the sample in proportion to the strata. It alone decides whether the quality is shown.
- `stratum`: more images of a small stratum, so that something can be said about it; they count for their stratum alone.
- `mended`: an image of the sample before that was to be mended and is another now. It is looked at again and counts for
  neither: a sample whose faults were mended says nothing of the images that nobody looked at.

A judgement carries over where an image is drawn again that has not changed; the draw knows nothing of it.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from pydantic import Field

from chambit.core import digest
from chambit.core.evidence import Frozen
from chambit.prepare import sampling
from chambit.reading import strata
from chambit.reading.protocol import Reason, Words
from chambit.reading.strata import Drawn

Decision = Literal["accept", "fix", "reject"]
DECISIONS: tuple[Decision, Decision, Decision] = ("accept", "fix", "reject")
"""From best to worst: of two judgements of one image the worse one stands."""
Purpose = Literal["set", "stratum", "mended"]
OTHER = "other"
"""The reason, and the way to mend, that needs words."""
RELABEL = "relabel"


class Unit(NamedTuple):
    """What is looked at as one: an image, or all frames of a film or volume.

    Attributes:
        image: id, of a film or volume that of its first frame.
        stratum: which it belongs to.
        key: digest of its pixels, its label and all that was asked for.
    """

    image: str
    stratum: str
    key: str


class Stratum(Frozen):
    """Images of one stratum: in the set, in the proportional sample, and added for the stratum's own sake."""

    name: str
    size: int = Field(ge=1)
    sample: int = Field(ge=0)
    more: int = Field(ge=0)


class Item(Frozen):
    """One drawn image.

    Attributes:
        image: its id.
        stratum: which it was drawn from.
        key: as of `Unit`.
        purpose: what it was drawn for.
        seats: numbers of the inspectors who look at it; none where judgements carried over.
        carried: numbers of judgements of an earlier inspection, which stand here too.
    """

    image: str
    stratum: str
    key: str
    purpose: Purpose
    seats: tuple[int, ...]
    carried: tuple[int, ...] = ()


class Quality(Frozen):
    """The stated quality, in the words of `strata.planned`; `counted`: decisions that make an image unacceptable."""

    limit: float = Field(gt=0, lt=1)
    risk: float = Field(gt=0, lt=0.5)
    good: float = Field(ge=0, lt=1)
    good_risk: float = Field(gt=0, lt=1)
    counted: tuple[Decision, ...] = Field(min_length=1)


class SamplePlan(Frozen):
    """An inspection as it was planned.

    Attributes:
        title: what inspectors and the board see.
        question: what inspectors are asked.
        candidate: digest of the set.
        attempt: which inspection of this very set it is, from 1.
        column: whose values are the strata.
        quality: what is to be shown.
        accept: the most unacceptable images in the sample of an accepted set.
        level: of intervals.
        agreement: least agreement of those who read the same image.
        double: share of the sample that two inspectors read.
        seed: the draw and all orders follow from it and from the digest of the set.
        inspectors: pseudonyms, in the order of their numbers.
        labels: all labels of the set.
        mends: ways to mend an image.
        reasons: reasons to reject one.
        strata: every stratum.
        items: every drawn image.
    """

    title: Words
    question: Words
    candidate: str = Field(min_length=1)
    attempt: int = Field(ge=1)
    column: str
    quality: Quality
    accept: int = Field(ge=0)
    level: float = Field(gt=0.5, lt=1)
    agreement: float
    double: float = Field(ge=0, le=1)
    seed: int = Field(ge=0)
    inspectors: tuple[str, ...] = Field(min_length=1)
    labels: tuple[str, ...]
    mends: tuple[Reason, ...]
    reasons: tuple[Reason, ...]
    strata: tuple[Stratum, ...] = Field(min_length=1)
    items: tuple[Item, ...]

    @property
    def digest(self) -> str:
        """SHA-256 of the whole plan as canonical JSON; every judgement carries it."""
        return digest.of_json(self.model_dump(mode="json"))

    @property
    def size(self) -> int:
        """Images of the set."""
        return sum(one.size for one in self.strata)

    @property
    def sample(self) -> int:
        """Images of the proportional sample."""
        return sum(one.sample for one in self.strata)

    @property
    def parts(self) -> list[Drawn]:
        """Strata as `strata` takes them."""
        return [Drawn(one.size, one.sample) for one in self.strata]

    @property
    def bad(self) -> int:
        """Unacceptable images of a set at the limit."""
        return sampling.wrong_at(self.size, self.quality.limit, up=True)

    @property
    def worst(self) -> float:
        """The largest probability by which this plan accepts a set at the limit."""
        return strata.accepted_at_most(self.parts, self.bad, self.accept)


def planned(there: Mapping[str, int], quality: Quality, least: int) -> tuple[tuple[Stratum, ...], int]:
    """The strata with their samples, `least` images of each where there are as many, and the acceptance number."""
    found = strata.planned(
        there, limit=quality.limit, risk=quality.risk, good=quality.good, good_risk=quality.good_risk
    )
    return tuple(
        Stratum(
            name=name, size=size, sample=found.samples[name], more=max(0, min(least, size) - found.samples[name])
        )
        for name, size in there.items()
    ), found.accept  # fmt: skip


def drawn(
    units: Sequence[Unit], planned_: Sequence[Stratum], *, seed: int, candidate: str, inspectors: int, double: float,
    carried: Mapping[str, tuple[int, ...]], mended: Sequence[str],
) -> tuple[Item, ...]:  # fmt: skip
    """The images to look at, with who looks at each: inspectors in turn, and a second one for a share of the sample.

    Args:
        units: the whole set.
        planned_: strata with their samples.
        seed: of the draw.
        candidate: digest of the set; the draw follows from both.
        inspectors: how many there are.
        double: share of the sample that two read, rounded up.
        carried: numbers of earlier judgements by key.
        mended: ids of images that were to be mended, and changed.
    """
    key = digest.of_json(["inspection", candidate, seed])
    known = {one.image: one for one in units}
    chosen: list[tuple[Unit, Purpose]] = []
    for part in planned_:
        files = {one.image: (one.key, "") for one in units if one.stratum == part.name}
        first = {one.file for one in sampling.drawn(part.name, files, part.sample, key)}
        both = [one.file for one in sampling.drawn(part.name, files, part.sample + part.more, key)]
        chosen += [(known[image], "set" if image in first else "stratum") for image in both]
    there = {one.image for one, _ in chosen}
    chosen += [(known[image], "mended") for image in mended if image in known and image not in there]
    chosen.sort(key=lambda one: _place(key, one[0].image))
    counted = [one.image for one, purpose in chosen if purpose == "set" and one.key not in carried]
    second = twice(sum(purpose == "set" for _, purpose in chosen), double) if inspectors > 1 else 0
    pairs = set(counted[:second])
    items, turn = [], 0
    for one, purpose in chosen:
        old = carried.get(one.key, ()) if purpose != "mended" else ()
        seats = () if old else (turn % inspectors, (turn + 1) % inspectors)[: 1 + (one.image in pairs)]
        turn += bool(seats)
        items.append(Item(image=one.image, stratum=one.stratum, key=one.key, purpose=purpose, seats=seats, carried=old))
    return tuple(items)


def twice(sample: int, double: float) -> int:
    """How many of a sample two inspectors read, rounded up.

    >>> twice(151, 0.2), twice(100, 0.2)
    (31, 20)
    """
    return sampling.wrong_at(sample, double, up=True)


def characteristic(plan: SamplePlan) -> tuple[dict[str, float], tuple[tuple[int, float], ...]]:
    """The operating characteristic of a plan whose unacceptable images lie anywhere.

    Returns:
        Unacceptable images of a good set and of one at the limit with the risks there, in the words of `report`; and
        points (unacceptable images in the set, probability of acceptance).
    """
    single = sampling.Plan(plan.size, plan.sample, plan.accept)
    good = sampling.wrong_at(plan.size, plan.quality.good, up=False)
    points = {
        "good": good, "producer_risk": 1 - sampling.acceptance(single, good), "bad": plan.bad,
        "consumer_risk": sampling.acceptance(single, plan.bad),
    }  # fmt: skip
    return points, tuple(sampling.oc_curve(single, 2 * plan.bad))


def order(plan: SamplePlan, seat: int) -> list[Item]:
    """What one inspector looks at, in an order of the inspector's own."""
    mine = [one for one in plan.items if seat in one.seats]
    return sorted(mine, key=lambda one: _place(f"{plan.candidate}{plan.seed}/{seat}", one.image))


def _place(key: str, image: str) -> bytes:
    return hashlib.sha256(f"{key}\x1f{image}".encode("utf-8", "replace")).digest()
