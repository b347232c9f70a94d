"""Conditions of an approval: by when, by whom, and with what evidence another person closed them.

What was decided about a condition is its `terms`; they are signed. Closing it adds to the record and changes no term.
"""

import datetime
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Self

from pydantic import Field, model_validator

from chambit.core import digest
from chambit.core.evidence import Frozen
from chambit.review.board.rules import Rules
from chambit.review.board.words import BoardError, Unmet, say, unmet


class Closing(Frozen):
    """Who found a condition met, on which day, and by what (a digest, a file, an evidence key)."""

    by: str = Field(min_length=1)
    day: datetime.date
    evidence: tuple[str, ...]
    note: str = ""


class Condition(Frozen):
    """One condition.

    Attributes:
        id: name within the decision.
        text: what must be done.
        responsible: who must do it.
        due: last day.
        before_release: whether it must be closed before the set may be released; else use goes on until it is due.
        indicator: the indicator it belongs to, or None.
        key: the evidence it answers, or ''.
        closing: how it was closed, or None.
    """

    id: str = Field(min_length=1)
    text: str = Field(min_length=1)
    responsible: str = Field(min_length=1)
    due: datetime.date
    before_release: bool = True
    indicator: int | None = Field(None, ge=1, le=6)
    key: str = ""
    closing: Closing | None = None

    @model_validator(mode="after")
    def _apart(self) -> Self:
        if self.closing is not None and self.closing.by == self.responsible:
            raise ValueError("a condition is not closed by the person who is responsible for it")
        return self

    @property
    def terms(self) -> str:
        """SHA-256 of what was decided, without the closing."""
        return digest.of_json(self.model_dump(mode="json", exclude={"closing"}))


def lacks(conditions: Sequence[Condition], rules: Rules, decided: datetime.date) -> tuple[Unmet, ...]:
    """What is wrong with conditions a board is about to set."""
    return tuple(_of_terms(conditions, rules, decided))


def _of_terms(conditions: Sequence[Condition], rules: Rules, decided: datetime.date) -> Iterator[Unmet]:
    names = [item.id for item in conditions]
    last = decided + datetime.timedelta(days=rules.condition_days_most)
    for item in conditions:
        if not decided <= item.due <= last:
            yield unmet("conditions.due", id=item.id, due=item.due, first=decided, last=last)
        if len(item.text.strip()) < rules.reason_least:
            yield unmet("conditions.text", id=item.id, least=rules.reason_least)
        if names.count(item.id) > 1:
            yield unmet("conditions.twice", id=item.id)
        if item.closing is not None:
            yield unmet("conditions.closed_already", id=item.id)


def closed(condition: Condition, closing: Closing, creators: Collection[str]) -> Condition:
    """The condition, closed.

    Args:
        condition: an open condition.
        closing: who found it met, and by what evidence.
        creators: who made or generated the set; none of them closes a condition.

    Raises:
        BoardError: with every reason why it cannot be closed so.
    """
    found = []
    if condition.closing is not None:
        found.append(unmet("conditions.closed_already", id=condition.id))
    if closing.by == condition.responsible or closing.by in creators:
        found.append(unmet("conditions.own_work", id=condition.id, by=closing.by))
    if not any(item.strip() for item in closing.evidence):
        found.append(unmet("conditions.evidence", id=condition.id))
    if found:
        raise BoardError(say("errors.condition", id=condition.id), found)
    return condition.model_copy(update={"closing": closing})


def still_open(conditions: Iterable[Condition]) -> tuple[Condition, ...]:
    """Conditions that nobody has closed."""
    return tuple(item for item in conditions if item.closing is None)


def overdue(conditions: Iterable[Condition], day: datetime.date) -> tuple[Condition, ...]:
    """Open conditions whose last day is over, the oldest first."""
    return tuple(sorted((item for item in still_open(conditions) if item.due < day), key=lambda item: item.due))
