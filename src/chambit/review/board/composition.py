"""Who sits on the board: appointments, conflicts of interest, pledges, and whether the board is properly composed.

A member is known by a pseudonymous id; the name stands in an `Identity`, which is kept apart and enters no decision.
"""

import datetime
from collections.abc import Collection, Iterator, Sequence
from typing import Literal, Self

from pydantic import Field, model_validator

from chambit.core.evidence import Frozen
from chambit.review.board.rules import Rules
from chambit.review.board.words import Unmet, listed, named, unmet


class Conflict(Frozen):
    """A statement about conflicts of interest: none, one declared in words, or one for which the member abstains."""

    kind: Literal["none", "declared", "abstains"]
    text: str = ""

    @model_validator(mode="after")
    def _told(self) -> Self:
        if self.kind == "declared" and not self.text.strip():
            raise ValueError("a declared conflict of interest says in `text` what it is")
        return self


class Identity(Frozen):
    """Whose id this is; kept apart from everything that is shown or signed."""

    member: str = Field(min_length=1)
    name: str = Field(min_length=1)
    institution: str = ""


class Appointment(Frozen):
    """One member of the board.

    Attributes:
        member: pseudonymous id.
        expertise: fields such as privacy, law, ai, clinical; others are allowed.
        outside: whether the member comes from outside the institution.
        subjects: whether the member speaks for the people the data are about.
        conflict: the statement on conflicts of interest; None as long as there is none, which is not the same as
            having no conflict.
        pledged: day of the pledge of confidentiality.
    """

    member: str = Field(min_length=1)
    expertise: tuple[str, ...] = Field(min_length=1)
    outside: bool = False
    subjects: bool = False
    conflict: Conflict | None = None
    pledged: datetime.date | None = None

    @property
    def clear(self) -> bool:
        """Whether the member has stated to have no conflict of interest."""
        return self.conflict is not None and self.conflict.kind == "none"


def barred(appointment: Appointment, rules: Rules, creators: Collection[str]) -> str:
    """Why a member may not vote (`creator`, `no_statement`, `conflict`, `no_pledge`), or ''."""
    if appointment.member in creators:
        return "creator"
    if appointment.conflict is None:
        return "no_statement"
    if appointment.conflict.kind in rules.conflicts_excluded:
        return "conflict"
    return "" if appointment.pledged is not None else "no_pledge"


def entitled(appointments: Sequence[Appointment], rules: Rules, creators: Collection[str]) -> tuple[str, ...]:
    """Members who may vote, in the order of their appointment."""
    return tuple(item.member for item in appointments if not barred(item, rules, creators))


def composed(appointments: Sequence[Appointment], rules: Rules, day: datetime.date) -> tuple[Unmet, ...]:
    """What is wrong with the make-up of the board on a day; nothing when it may review."""
    return tuple([*_of_the_whole(appointments, rules), *_of_members(appointments, day)])


def _of_the_whole(appointments: Sequence[Appointment], rules: Rules) -> Iterator[Unmet]:
    least, most = rules.size
    if not least <= len(appointments) <= most:
        yield unmet("composition.size", members=len(appointments), least=least, most=most)
    known = {field for item in appointments if item.clear for field in item.expertise}
    if lacking := [field for field in rules.expertise if field not in known]:
        yield unmet("composition.expertise", fields=listed(named("expertise", field) for field in lacking))
    outside = [item for item in appointments if item.outside]
    if len(outside) < rules.outside_least:
        yield unmet("composition.outside", members=len(outside), least=rules.outside_least)
    speaking = sum(item.subjects for item in outside)
    if speaking < rules.subjects_least:
        yield unmet("composition.subjects", members=speaking, least=rules.subjects_least)


def _of_members(appointments: Sequence[Appointment], day: datetime.date) -> Iterator[Unmet]:
    members = [item.member for item in appointments]
    if twice := sorted({member for member in members if members.count(member) > 1}):
        yield unmet("composition.twice", members=listed(twice))
    if silent := [item.member for item in appointments if item.conflict is None]:
        yield unmet("composition.statement", members=listed(silent))
    if late := [item.member for item in appointments if item.pledged is None or item.pledged > day]:
        yield unmet("composition.pledge", members=listed(late))
