"""Six cards for the board: each indicator with its worst verdict, its number, and what would change the verdict.

Nothing is measured or judged here. A card says by how much a limit of the policy is missed or kept, and what is not
covered. How a number is printed and what it means in words is the business of `chambit.report.wording`, which takes the
evidence that a card holds.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

from chambit.core.evidence import Evidence, Frozen, Verdict
from chambit.review.board.scheme import DEFAULT, Attachment, Indicator, indicators
from chambit.review.board.words import Text, named, say
from chambit.review.policy import Condition, Policy

# one meaning of a condition, here and where evidence is judged
from chambit.review.verdict import SEVERITY, holds, limit_of, number_of, overall


class Change(Frozen):
    """What would change the verdict of one piece of evidence.

    Attributes:
        key: the evidence.
        verdict: its verdict now.
        to: the verdict it would have; None where only a measurement can tell.
        field: which number of the evidence the limit is on, '' where it is not about a limit.
        value: that number now.
        limit: the limit, in numbers.
        gap: how far the number is from the limit, never negative.
        missed: whether the limit is missed by the gap, or kept by it.
        says: all this in words.
        why: what the evidence itself says about it, in English as it came (`chambit.report.translated` has Korean).
    """

    key: str
    verdict: Verdict
    to: Verdict | None
    field: str = ""
    value: float | None = None
    limit: float | None = None
    gap: float | None = None
    missed: bool = False
    says: Text
    why: str = ""


class NotCovered(Frozen):
    """Something a card says nothing about.

    Attributes:
        kind: no evidence at all, not measured, unusable, a kind of copy the search does not cover, or not attached.
        name: key, name of the kind of copy, or id of the attachment.
        says: what is lacking, in words.
        why: what the evidence itself says about it, in English as it came.
    """

    kind: Literal["absent", "not_run", "invalid", "copies", "attachment"]
    name: str
    says: Text
    why: str = ""


class Card(Frozen):
    """One indicator.

    Attributes:
        id: its number.
        name: its name.
        question: what it asks.
        verdict: the worst of its evidence; evidence that is absent counts as not run, as on the dossier.
        sentence: the verdict in one sentence.
        head: the evidence whose number and interval stand on the card; None when there is none.
        deciding: the first evidence with the worst verdict, in the order of the scheme; None when it is absent.
        evidence: all of its evidence.
        changes: what would change the verdict, of the deciding evidence first.
        not_covered: what the card says nothing about.
    """

    id: int
    name: Text
    question: Text
    verdict: Verdict
    sentence: Text
    head: Evidence | None
    deciding: Evidence | None
    evidence: tuple[Evidence, ...]
    changes: tuple[Change, ...]
    not_covered: tuple[NotCovered, ...]


def cards(
    evidence: Sequence[Evidence], policy: Policy, attached: Mapping[str, str] | None = None, scheme: str = DEFAULT
) -> tuple[Card, ...]:
    """The cards of a set.

    Args:
        evidence: every entry of `evidence.json`.
        policy: the policy it was judged by.
        attached: what is attached, by id; '' counts as not attached.
        scheme: name of the indicators.
    """
    return tuple(_card(entry, evidence, policy, attached or {}) for entry in indicators(scheme))


def conditional(evidence: Sequence[Evidence]) -> tuple[str, ...]:
    """Keys of the evidence that is CONDITIONAL, which the board must take up (`Facts.conditional`)."""
    return tuple(dict.fromkeys(item.key for item in evidence if item.verdict is Verdict.CONDITIONAL))


def changes(item: Evidence, policy: Policy) -> tuple[Change, ...]:
    """What would change the verdict of one piece of evidence.

    Of a limit that is missed: by how much, for the next milder verdict each. Of one that passed: the limit that is
    nearest in proportion, and how much is left.
    """
    rule = policy.rules.get(item.key)
    if item.verdict in (Verdict.NOT_RUN, Verdict.INVALID) or rule is None or item.value is None:
        name = "no_rule" if item.verdict is Verdict.CONDITIONAL else item.verdict.lower()
        return (Change(key=item.key, verdict=item.verdict, to=None, says=say(f"changes.{name}"), why=_why(item)),)
    if item.verdict is Verdict.PASS:
        kept = [_about(item, condition, Verdict.PASS) for condition in rule.passes]
        return tuple(sorted(kept, key=_closeness)[:1])
    steps = [(Verdict.CONDITIONAL, rule.conditional)] if item.verdict is Verdict.FAIL else []
    steps.append((Verdict.PASS, rule.passes))
    return tuple(_about(item, condition, to) for to, held in steps for condition in held if not holds(item, condition))


def _card(entry: Indicator, evidence: Sequence[Evidence], policy: Policy, attached: Mapping[str, str]) -> Card:
    rows = tuple(item for key in entry.evidence for item in evidence if item.key == key)
    present = {item.key for item in rows}
    absent = [key for key in entry.evidence if key not in present and key not in entry.only_some]
    verdict = overall(rows).verdict
    if absent and SEVERITY.index(verdict) < SEVERITY.index(Verdict.NOT_RUN):
        verdict = Verdict.NOT_RUN
    deciding = [item for item in rows if item.verdict is verdict]
    lacking = [item for item in entry.attachments if not attached.get(item.id)]
    ordered = sorted(rows, key=lambda item: -SEVERITY.index(item.verdict))
    return Card(
        id=entry.id,
        name=entry.name,
        question=entry.question,
        verdict=verdict,
        sentence=_sentence(verdict, len(rows) + len(absent), len(deciding) + len(absent) * (verdict == "NOT_RUN")),
        head=rows[0] if rows else None,
        deciding=deciding[0] if deciding else None,
        evidence=rows,
        changes=tuple(change for item in ordered for change in changes(item, policy)),
        not_covered=tuple(_not_covered(rows, absent, lacking)),
    )


def _sentence(verdict: Verdict, total: int, concerned: int) -> Text:
    return say(f"cards.{verdict.lower()}", total=total, concerned=concerned)


def _not_covered(
    rows: Sequence[Evidence], absent: Sequence[str], lacking: Sequence[Attachment]
) -> Iterator[NotCovered]:
    for key in absent:
        yield NotCovered(kind="absent", name=key, says=say("not_covered.absent"))
    for item in rows:
        if item.verdict is Verdict.NOT_RUN:
            yield NotCovered(kind="not_run", name=item.key, says=say("not_covered.not_run"), why=_why(item))
        if item.verdict is Verdict.INVALID:
            yield NotCovered(kind="invalid", name=item.key, says=say("not_covered.invalid"), why=_why(item))
        names = item.details.get("not_covered")
        for name in names if isinstance(names, list | tuple) else ():
            yield NotCovered(kind="copies", name=str(name), says=say("not_covered.copies", name=name))
    for attachment in lacking:
        yield NotCovered(
            kind="attachment", name=attachment.id, says=say("not_covered.attachment", name=attachment.name)
        )


def _about(item: Evidence, condition: Condition, to: Verdict) -> Change:
    """How far the evidence is from one limit of the policy."""
    value, limit = number_of(item, condition.field), limit_of(item, condition)
    missed = not holds(item, condition)
    gap = None if value is None or limit is None else abs(value - limit)
    name = "unknown" if gap is None else "missed" if missed else "kept" if gap else "edge"
    says = say(
        f"changes.{name}",
        field=_field_name(condition.field),
        value=_shown(value),
        bound=say(f"operators.{condition.op}", limit=_shown(limit)),
        gap=_shown(gap),
        to=named("verdicts", to),
    )
    known = {"field": condition.field, "value": value, "limit": limit, "gap": gap, "missed": missed}
    return Change(key=item.key, verdict=item.verdict, to=to if missed else None, says=says, **known)


def _closeness(change: Change) -> float:
    """The gap in proportion to the limit; a limit of nought is compared by the gap itself."""
    if change.gap is None:
        return float("inf")
    return change.gap / abs(change.limit) if change.limit else change.gap


def _field_name(field: str) -> Text:
    name = named("fields", field)
    return say("fields.detail", name=field.split(".")[-1].replace("_", " ")) if name.ko == field else name


def _shown(value: float | None) -> str:
    return "—" if value is None else f"{value:.4g}"


def _why(item: Evidence) -> str:
    return item.because or item.reason
