"""What specialists' judgements of a sample show of the whole set: accepted, to be mended, rejected, and why.

Of two judgements of one image the worse one stands: where specialists differ, the set is not given the benefit. The
quality is shown when all of the proportional sample was looked at and no more than the acceptance number of it is
unacceptable, which is the same as the upper end of `unacceptable` being below the limit. It is not shown as soon as
more are; before that it is open. Carried judgements count as those of this inspection do, and are told apart.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
from pydantic import Field

from chambit.core.evidence import Finding, Frozen, Interval
from chambit.reading import agreement, strata
from chambit.reading.agreement import Agreement
from chambit.reading.detection import clopper_pearson
from chambit.reading.sampleplan import DECISIONS, OTHER, RELABEL, Decision, Item, Purpose, SamplePlan, Stratum
from chambit.reading.strata import Drawn

MEASURE = "specialist_inspection@1"
UNACCEPTABLE = "unacceptable"
Shown = Literal["yes", "no", "not_yet"]


class Judgement(Frozen):
    """One judgement of one image by one inspector.

    Attributes:
        plan: digest of the plan it was made under.
        inspector: pseudonym.
        image: id of the image.
        key: digest of what was looked at.
        decision: accept, fix or reject.
        mend: what to mend, '' without `fix`.
        label: the right label where that is to be mended, else ''.
        reasons: why it is rejected, none without `reject`.
        text: free words.
        place: where in the picture, x and y of 0 to 1 from its top left.
        frame: which frame that is, from 0.
        seconds: from showing the picture to the judgement.
        moves: how often window, zoom or place were changed.
    """

    plan: str
    inspector: str
    image: str
    key: str
    decision: Decision
    mend: str = Field("", max_length=32)
    label: str = Field("", max_length=200)
    reasons: tuple[str, ...] = Field((), max_length=16)
    text: str = Field("", max_length=2000)
    place: tuple[float, float] | None = None
    frame: int = Field(0, ge=0)
    seconds: float = Field(ge=0)
    moves: int = Field(ge=0)


class Row(NamedTuple):
    """One stratum, or the whole set under the name ''.

    Attributes:
        name: of the stratum.
        size: images it stands for.
        sample: images that were to be looked at.
        looked: images that were.
        counts: how many were accepted, are to be mended, were rejected.
        shares: of each decision, and of `unacceptable` ones, share and interval; empty where nothing can be said.
    """

    name: str
    size: int
    sample: int
    looked: int
    counts: dict[Decision, int]
    shares: dict[str, tuple[float, Interval]]


class Result(NamedTuple):
    """What an inspection shows.

    Attributes:
        shown: whether the stated quality is shown.
        found: unacceptable images in the proportional sample, as far as it was looked at.
        looked: images of the proportional sample that were looked at.
        whole: the set, by the proportional sample.
        rows: every stratum, by all its images.
        findings: the numbers, `unacceptable` first.
        reasons: how many images were rejected for each reason.
        mends: how many images are to be mended in each way.
        carried: images whose judgement stood before.
        mended: images that were mended and looked at again, by decision.
    """

    shown: Shown
    found: int
    looked: int
    whole: Row
    rows: tuple[Row, ...]
    findings: tuple[Finding, ...]
    reasons: dict[str, int]
    mends: dict[str, int]
    carried: int
    mended: dict[Decision, int]


def mistakes(plan: SamplePlan, given: Judgement, label: str) -> list[str]:
    """What is wrong with a judgement, by field; `label` is the one the image has, '' for frames of several."""
    ways, why = {one.name for one in plan.mends}, {one.name for one in plan.reasons}
    fix, reject = given.decision == "fix", given.decision == "reject"
    relabel = given.mend == RELABEL
    needs_words = (fix and given.mend == OTHER) or OTHER in given.reasons
    checks = {
        "mend": given.mend not in (ways if fix else {""}),
        "label": given.label not in (set(plan.labels) - {label} if relabel else {""}),
        "reasons": bool(set(given.reasons) - why) or bool(given.reasons) != reject,
        "text": needs_words and not given.text.strip(),
        "place": given.place is not None and not all(0 <= x <= 1 for x in given.place),
    }
    return [field for field, wrong in checks.items() if wrong]


def standing(judgements: Sequence[Judgement]) -> dict[str, Judgement]:
    """The judgement that stands for each image: the worst of its inspectors', the earliest of equal ones."""
    found: dict[str, Judgement] = {}
    for one in judgements:
        before = found.get(one.image)
        if before is None or DECISIONS.index(one.decision) > DECISIONS.index(before.decision):
            found[one.image] = one
    return found


def result(plan: SamplePlan, judgements: Mapping[str, Sequence[Judgement]]) -> Result:
    """What the judgements show.

    Args:
        plan: as it was frozen.
        judgements: by image id, the newest of each inspector, carried ones too.
    """
    done = {item.image: item for item in plan.items if _done(item, judgements)}
    stands = standing([one for image in done for one in judgements[image]])
    rows = tuple(_row(part, plan, stands, ("set", "stratum")) for part in plan.strata)
    parts = [_row(part, plan, stands, ("set",)) for part in plan.strata]
    found = sum(row.counts[one] for row in parts for one in plan.quality.counted)
    looked = sum(row.looked for row in parts)
    shown: Shown = "no" if found > plan.accept else "yes" if looked == plan.sample else "not_yet"
    whole = _whole(plan, parts)
    counted = [stands[image] for image in done]
    return Result(
        shown=shown, found=found, looked=looked, whole=whole, rows=rows,
        findings=(unacceptable(plan, parts), *_among(plan, judgements), _seconds(plan, judgements)),
        reasons=_tally([one.name for one in plan.reasons], [name for one in counted for name in one.reasons]),
        mends=_tally([one.name for one in plan.mends], [one.mend for one in counted if one.mend]),
        carried=sum(bool(item.carried) for item in plan.items),
        mended=_counts([stands[one].decision for one, item in done.items() if item.purpose == "mended"]),
    )  # fmt: skip


def unacceptable(plan: SamplePlan, parts: Sequence[Row]) -> Finding:
    """The share of unacceptable images in the whole set, with what it is held against, for the review.

    The interval is one-sided at the confidence of the plan: its upper end is below `details.limit` exactly when the
    quality is shown. Without the whole sample there is no value, because a part of it was not what was promised.
    """
    found = [sum(row.counts[one] for one in plan.quality.counted) for row in parts]
    looked, total = sum(row.looked for row in parts), sum(found)
    whole = looked == plan.sample
    told = {
        "limit": plan.quality.limit, "accept": plan.accept, "found": total, "attempt": plan.attempt,
        "strata": len(parts), "set": plan.size, "counted": list(plan.quality.counted),
        "risk": plan.worst,
    }  # fmt: skip
    return Finding(
        measure=MEASURE, quantity=UNACCEPTABLE, value=strata.weighted(plan.parts, found) if whole else None,
        interval=strata.upper(plan.parts, total, plan.quality.risk) if whole else None,
        n={"images": looked, "inspectors": len(plan.inspectors)}, null=0.0, direction="lower",
        reason="" if whole else f"{looked} of {plan.sample} images were looked at", details=told,
        inputs={"candidate": plan.candidate, "plan": plan.digest},
    )  # fmt: skip


def _done(item: Item, judgements: Mapping[str, Sequence[Judgement]]) -> bool:
    """Whether all who were to look at an image did."""
    return len(judgements.get(item.image, ())) >= max(1, len(item.seats))


def _row(part: Stratum, plan: SamplePlan, stands: Mapping[str, Judgement], purposes: Sequence[Purpose]) -> Row:
    mine = [one for one in plan.items if one.stratum == part.name and one.purpose in purposes]
    said = [stands[one.image].decision for one in mine if one.image in stands]
    counts = _counts(said)
    drawn = [Drawn(part.size, len(said))]
    told = _with_unacceptable(plan, counts)
    shares = {one: (n / len(said), strata.interval(drawn, n, plan.level)) for one, n in told.items()} if said else {}
    return Row(part.name, part.size, len(mine), len(said), counts, shares)


def _whole(plan: SamplePlan, parts: Sequence[Row]) -> Row:
    """The set: each decision weighted to it, over the proportional sample as far as it was looked at."""
    counts = {one: sum(row.counts[one] for row in parts) for one in DECISIONS}
    looked = sum(row.looked for row in parts)
    shares: dict[str, tuple[float, Interval]] = {}
    if looked == plan.sample:
        each = [_with_unacceptable(plan, row.counts) for row in parts]
        for one, count in _with_unacceptable(plan, counts).items():
            value = strata.weighted(plan.parts, [row[one] for row in each])
            shares[one] = value, strata.interval(plan.parts, count, plan.level)
    return Row("", plan.size, plan.sample, looked, counts, shares)


def _among(plan: SamplePlan, judgements: Mapping[str, Sequence[Judgement]]) -> tuple[Finding, ...]:
    """Do those who read the same image agree? The share that does, Fleiss' kappa, and Gwet's AC1."""
    said = [[one.decision for one in judgements.get(item.image, ())][:2] for item in plan.items]
    both = np.array([[pair.count(one) for one in DECISIONS] for pair in said if len(pair) == 2]).reshape(-1, 3)
    same, images = int((both.max(1) == 2).sum()) if len(both) else 0, len(both)
    share = Agreement(None, None, 0, 2, "no image was read by two")
    if images:
        low, high = clopper_pearson(same, images, plan.level)
        exact = Interval(low=low, high=high, level=plan.level, method="Clopper-Pearson, exact")
        share = Agreement(same / images, exact, images, 2)
    kappa = agreement.of_images(both, agreement.fleiss, plan.level)
    ac1 = agreement.of_images(both, agreement.ac1, plan.level)
    return tuple(
        Finding(
            measure=MEASURE, quantity=name, value=one.value, interval=one.interval, n={"images": one.cases},
            null=null, direction="higher", reason=one.reason,
            details={"least": plan.agreement} if name == "ac1" else {},
            inputs={"candidate": plan.candidate, "plan": plan.digest},
        )
        for name, one, null in (("agreement", share, None), ("kappa", kappa, 0.0), ("ac1", ac1, 0.0))
    )  # fmt: skip


def _seconds(plan: SamplePlan, judgements: Mapping[str, Sequence[Judgement]]) -> Finding:
    """Seconds an image took, over judgements of this inspection alone."""
    taken = [one.seconds for all_ in judgements.values() for one in all_ if one.plan == plan.digest]
    quarters = {"first_quarter": np.quantile(taken, 0.25), "third_quarter": np.quantile(taken, 0.75)} if taken else {}
    return Finding(
        measure=MEASURE, quantity="seconds", value=float(np.median(taken)) if taken else None, unit="s",
        n={"judgements": len(taken)}, direction="neither", reason="" if taken else "nothing was judged",
        details={name: float(value) for name, value in quarters.items()},
        inputs={"candidate": plan.candidate, "plan": plan.digest},
    )  # fmt: skip


def _with_unacceptable(plan: SamplePlan, counts: Mapping[Decision, int]) -> dict[str, int]:
    told: dict[str, int] = {name: count for name, count in counts.items()}
    return told | {UNACCEPTABLE: sum(counts[one] for one in plan.quality.counted)}


def _counts(said: Sequence[Decision]) -> dict[Decision, int]:
    return {one: list(said).count(one) for one in DECISIONS}


def _tally(known: Sequence[str], given: Sequence[str]) -> dict[str, int]:
    count = Counter(given)
    return {name: count[name] for name in known}
