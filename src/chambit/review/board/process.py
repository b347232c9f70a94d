"""The process of a release as one table of `(from, event, guards, to)`.

A record moves by events alone, so its state follows from the events of the ledger (`replayed`) and from no row that
could be edited. Any change of the release candidate drops it back to before the examination and voids what was decided.
An event either happens, or all unmet guards are told, each with reason and remedy.

Returned to stage k means that the work of stage k is to be done again: the state is the one before it. While a set is
in review again (renewal) its state is neither `released` nor `monitored`, so nobody is given it.
"""

from collections.abc import Iterable
from enum import StrEnum
from typing import NamedTuple

from chambit.core.evidence import Frozen
from chambit.review.board import guards
from chambit.review.board.ballot import Choice
from chambit.review.board.facts import Facts
from chambit.review.board.guards import Guard
from chambit.review.board.rules import Rules
from chambit.review.board.words import BoardError, Text, Unmet, listed, named, say, unmet


class State(StrEnum):
    """Where a record stands; the value is what the ledger holds."""

    DRAFT = "draft"
    PREPARED = "prepared"
    GENERATED = "generated"
    EXAMINED = "examined"
    IN_REVIEW = "in_review"
    APPROVED = "approved"
    RELEASED = "released"
    MONITORED = "monitored"
    SUSPENDED = "suspended"
    WITHDRAWN = "withdrawn"
    REJECTED = "rejected"


class Event(StrEnum):
    """What can happen to a record."""

    SUBMIT = "submit"
    PREPARE = "prepare"
    GENERATE = "generate"
    EXAMINE = "examine"
    OPEN_REVIEW = "open_review"
    DECIDE_APPROVE = "decide_approve"
    DECIDE_CONDITIONS = "decide_conditions"
    DECIDE_RETURN_1 = "decide_return_1"
    DECIDE_RETURN_2 = "decide_return_2"
    DECIDE_RETURN_3 = "decide_return_3"
    DECIDE_REJECT = "decide_reject"
    RELEASE = "release"
    MONITOR = "monitor"
    REAUDIT = "reaudit"
    SUSPEND = "suspend"
    RESUME = "resume"
    RESTART = "restart"
    WITHDRAW = "withdraw"
    CANDIDATE_CHANGED = "candidate_changed"


FINAL = frozenset({State.WITHDRAWN, State.REJECTED})
USABLE = frozenset({State.RELEASED, State.MONITORED})
"""States in which the set may be given to anybody."""

DECIDING = dict(zip(Choice, ("approve", "conditions", "return_3", "return_2", "return_1", "reject"), strict=True))


class Transition(NamedTuple):
    """One line of the table."""

    source: State
    event: Event
    guards: tuple[Guard, ...]
    target: State


class Outcome(Frozen):
    """What came of an event: the new state, or everything that is in the way."""

    source: State
    event: Event
    target: State | None
    unmet: tuple[Unmet, ...] = ()

    @property
    def happened(self) -> bool:
        """Whether the record has moved."""
        return self.target is not None


class Possible(Frozen):
    """An event the table has for a state, where it leads, and what blocks it now."""

    event: Event
    name: Text
    target: State
    unmet: tuple[Unmet, ...]


class Dropped(NamedTuple):
    """The state after the release candidate was changed, and what is void by it."""

    state: State
    voided: tuple[Text, ...]


class Stage(NamedTuple):
    """A stage of the process for a picture: its number, its name, and the states in it with their names."""

    number: int
    name: Text
    states: tuple[tuple[State, Text], ...]


class Arrow(NamedTuple):
    """A line of the picture: from where, to where, and the name of the event."""

    source: State
    target: State
    event: Event
    name: Text


STAGES: tuple[tuple[State, ...], ...] = (
    (State.DRAFT, State.PREPARED),
    (State.GENERATED,),
    (State.EXAMINED,),
    (State.IN_REVIEW, State.APPROVED, State.REJECTED),
    (State.RELEASED, State.MONITORED, State.SUSPENDED, State.WITHDRAWN),
)
"""The five stages of the PIPC guide of 2024-12: preparation, generation, verification, committee, use."""

_MEASURED: tuple[Guard, ...] = (
    guards.utility_examined,
    guards.safety_examined,
    guards.same_candidate,
    guards.criteria_fixed,
    guards.criteria_older,
    guards.criteria_same,
    guards.attempts_counted,
)
_EXAMINED: tuple[Guard, ...] = (guards.candidate_named, *_MEASURED)
_REVIEW: tuple[Guard, ...] = (
    *_EXAMINED,
    guards.verdict_reviewable,
    guards.dossier_present,
    guards.review_documents,
    guards.board_composed,
    guards.roles_differ,
)
_DECIDED: tuple[Guard, ...] = (
    guards.roles_differ,
    guards.board_composed,
    guards.quorum_met,
    guards.expertise_met,
    guards.decision_signed,
    guards.decision_on_candidate,
    guards.decision_on_record,
    guards.decision_in_review,
    guards.review_on_candidate,
)
_APPROVED: tuple[Guard, ...] = (
    *_DECIDED,
    *_MEASURED,
    guards.dossier_present,
    guards.verdict_approvable,
    guards.indicators_decided,
    guards.conditional_answered,
    guards.questions_resolved,
    guards.conditions_as_decided,
    guards.approval_holds,
)
_IN_FORCE: tuple[Guard, ...] = (
    guards.candidate_named,
    guards.decision_signed,
    guards.decision_approves,
    guards.decision_standing,
    guards.decision_on_candidate,
    guards.review_on_candidate,
    guards.approval_holds,
    guards.permits_hold,
    guards.conditions_as_decided,
    guards.conditions_closed,
    guards.conditions_in_time,
)
_SAFE_AGAIN: tuple[Guard, ...] = (
    guards.safety_examined,
    guards.safety_same,
    guards.safety_holds,
    guards.safety_fresh,
    guards.reaudit_set,
)
_ENDING: tuple[Guard, ...] = (guards.reason_given, guards.notice_written)


def _table() -> tuple[Transition, ...]:
    s, e, g = State, Event, guards
    decisions = (
        (e.DECIDE_APPROVE, Choice.APPROVE, _APPROVED, s.APPROVED),
        (e.DECIDE_CONDITIONS, Choice.CONDITIONS, _APPROVED, s.APPROVED),
        (e.DECIDE_RETURN_3, Choice.RETURN_3, _DECIDED, s.GENERATED),
        (e.DECIDE_RETURN_2, Choice.RETURN_2, _DECIDED, s.PREPARED),
        (e.DECIDE_RETURN_1, Choice.RETURN_1, _DECIDED, s.DRAFT),
        (e.DECIDE_REJECT, Choice.REJECT, _DECIDED, s.REJECTED),
    )
    unreleased = (s.DRAFT, s.PREPARED, s.GENERATED, s.EXAMINED, s.IN_REVIEW, s.APPROVED)
    released = (s.RELEASED, s.MONITORED, s.SUSPENDED)
    lines = [
        (s.DRAFT, e.SUBMIT, (g.creator_named, g.roles_differ, g.purpose_documents), s.DRAFT),
        (s.DRAFT, e.PREPARE, (g.purpose_submitted, g.source_documents, g.permits_hold, g.criteria_fixed), s.PREPARED),
        (
            s.PREPARED,
            e.GENERATE,
            (g.process_documents, g.permits_hold, g.criteria_fixed, g.generation_recorded, g.candidate_named),
            s.GENERATED,
        ),
        (s.GENERATED, e.EXAMINE, _EXAMINED, s.EXAMINED),
        (s.EXAMINED, e.OPEN_REVIEW, _REVIEW, s.IN_REVIEW),
        *((s.IN_REVIEW, event, (*held, g.outcome_is(choice)), to) for event, choice, held, to in decisions),
        (
            s.APPROVED,
            e.RELEASE,
            (*_IN_FORCE, g.roles_differ, g.approver_named, g.package_built, g.tier_agrees),
            s.RELEASED,
        ),
        (s.RELEASED, e.MONITOR, (g.reaudit_set,), s.MONITORED),
        (s.MONITORED, e.REAUDIT, (g.candidate_named, *_SAFE_AGAIN), s.MONITORED),
        *((state, e.OPEN_REVIEW, (*_REVIEW, g.safety_fresh), s.IN_REVIEW) for state in (s.MONITORED, s.SUSPENDED)),
        *((state, e.SUSPEND, (g.reason_given,), s.SUSPENDED) for state in (s.RELEASED, s.MONITORED)),
        (s.SUSPENDED, e.RESUME, (*_IN_FORCE, *_SAFE_AGAIN, g.reason_given), s.MONITORED),
        (s.SUSPENDED, e.RESTART, _ENDING, s.DRAFT),
        *((state, e.WITHDRAW, (g.reason_given,), s.WITHDRAWN) for state in unreleased),
        *((state, e.WITHDRAW, _ENDING, s.WITHDRAWN) for state in released),
        *((state, e.CANDIDATE_CHANGED, (), s.GENERATED) for state in (*unreleased[2:], *released)),
    ]
    return tuple(Transition(*line) for line in lines)


TABLE = _table()
_LINES = {(line.source, line.event): line for line in TABLE}


def step(state: State, event: Event, facts: Facts, rules: Rules) -> Outcome:
    """Let an event happen, or say everything that is in the way."""
    line = _LINES.get((state, event))
    if line is None:
        others = [named("events", other.event) for other in TABLE if other.source is state]
        names = {"event": named("events", event), "state": named("states", state)}
        problem = unmet("guards.in_table", **names, others=listed(others) if others else named("events", "none"))
        return Outcome(source=state, event=event, target=None, unmet=(problem,))
    found = _unmet(line, facts, rules)
    return Outcome(source=state, event=event, target=None if found else line.target, unmet=found)


def possible(state: State, facts: Facts, rules: Rules) -> tuple[Possible, ...]:
    """Every event the table has for a state, with what blocks it now."""
    return tuple(
        Possible(
            event=line.event,
            name=named("events", line.event),
            target=line.target,
            unmet=_unmet(line, facts, rules),
        )
        for line in TABLE
        if line.source is state
    )


def after_change(state: State) -> Dropped:
    """Where a record stands after its release candidate was changed; never blocked by anything.

    Before there is a candidate, and after the end, nothing changes.
    """
    line = _LINES.get((state, Event.CANDIDATE_CHANGED))
    if line is None:
        return Dropped(state, ())
    reached = [State.EXAMINED, State.IN_REVIEW, State.APPROVED]
    upto = reached.index(state) + 1 if state in reached else 0 if state is State.GENERATED else len(reached)
    return Dropped(line.target, tuple(say(f"voided.{name}") for name in reached[:upto]))


def alarms(state: State, facts: Facts, rules: Rules) -> tuple[Unmet, ...]:
    """Why a set in use must be suspended; nothing for one that is not in use."""
    if state not in USABLE:
        return ()
    watched = (
        guards.decision_signed,
        guards.decision_standing,
        guards.decision_on_candidate,
        guards.approval_holds,
        guards.conditions_as_decided,
        guards.conditions_in_time,
        guards.reaudit_in_time,
        guards.safety_not_failed,
    )
    return tuple(found for guard in watched if (found := guard(facts, rules)) is not None)


def deciding(choice: Choice) -> Event:
    """The event that puts the outcome of a count into effect."""
    return Event(f"decide_{DECIDING[choice]}")


def replayed(events: Iterable[Event]) -> State:
    """The state that follows from the events of a ledger, oldest first.

    Raises:
        BoardError: at the first event that the table does not have for the state it met.
    """
    state = State.DRAFT
    for number, event in enumerate(events, start=1):
        line = _LINES.get((state, event))
        if line is None:
            names = {"event": named("events", event), "state": named("states", state)}
            raise BoardError(say("errors.replay"), [unmet("signatures.replay", number=number, **names)])
        state = line.target
    return state


def stages() -> tuple[Stage, ...]:
    """The stages in their order, with Korean and English names, for a picture of the process."""
    return tuple(
        Stage(number, say(f"stages.{number}"), tuple((state, named("states", state)) for state in states))
        for number, states in enumerate(STAGES, start=1)
    )


def stage_of(state: State) -> int:
    """The number of the stage a state belongs to, from 1."""
    return next(number for number, states in enumerate(STAGES, start=1) if state in states)


def arrows() -> tuple[Arrow, ...]:
    """Every line of the table that changes the state, for a picture of the process."""
    return tuple(
        Arrow(line.source, line.target, line.event, named("events", line.event))
        for line in TABLE
        if line.source is not line.target
    )


def _unmet(line: Transition, facts: Facts, rules: Rules) -> tuple[Unmet, ...]:
    return tuple(found for guard in line.guards if (found := guard(facts, rules)) is not None)
