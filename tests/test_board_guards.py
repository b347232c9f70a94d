"""Events and their guards: every line of the table, and every guard alone."""

import datetime
import inspect
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chambit.core.evidence import Verdict
from chambit.review.board import guards, process
from chambit.review.board.ballot import Ballot, Choice, Vote
from chambit.review.board.composition import Conflict
from chambit.review.board.decision import Signed
from chambit.review.board.facts import Examined, Facts, Permit
from chambit.review.board.process import TABLE, USABLE, Event, State, Transition
from chambit.review.board.scheme import indicators
from test_board_decision import decided, meeting, verify
from test_board_decision import signed as sign
from test_board_members import (
    BOARD,
    CREATORS,
    DAY,
    DONE,
    NOW,
    RULES,
    A,
    B,
    both,
    condition,
    member,
    question,
    vote,
    whats,
)

DAYS = datetime.timedelta(days=1)
CHOICE = {process.deciding(choice): choice for choice in Choice}
AFTER = condition("c2", before_release=False, due=DAY + 90 * DAYS)
DOCUMENTS = tuple(item.id for entry in indicators() for item in entry.attachments)


@cache
def decision_of(choice: Choice, candidate: str = A) -> Signed:
    """A decision of five members, signed by three."""
    wanted = (condition(), AFTER) if choice is Choice.CONDITIONS else ()
    digests = meeting().digests.model_copy(update={"candidate": candidate})
    given = meeting(choice, digests=digests, ballots=ballots_of(choice, candidate))
    return verify(sign(decided(given, set_conditions=wanted), "m1", "m2", "m3"))


def ballots_of(choice: Choice, candidate: str) -> tuple[Ballot, ...]:
    return tuple(vote(f"m{n}", choice, candidate=candidate) for n in range(1, 6))


@cache
def good(choice: Choice = Choice.CONDITIONS, candidate: str = A) -> Facts:
    """Facts with which every event may happen; those on decisions, where the board chose so."""
    made = decision_of(choice, candidate)
    closed = condition(closing=DONE)
    examined = Examined(candidate=candidate, verdict=Verdict.PASS, finished=NOW)
    return Facts(
        day=DAY,
        creators=CREATORS,
        approvers=("head",),
        attached=DOCUMENTS,
        submitted=True,
        permits_needed=("ethics", "board"),
        permits=(Permit(name="ethics", begins=DAY, until=DAY), Permit(name="board")),
        criteria=made.decision.digests.policy,
        fixed=NOW - 20 * DAYS,
        first_measured=NOW - 10 * DAYS,
        judged_by=made.decision.digests.policy,
        generation="5" * 64,
        candidate=candidate,
        attempts=2,
        utility=examined,
        safety=examined,
        verdict=Verdict.CONDITIONAL,
        evidence=made.decision.digests.evidence,
        conditional=("evidence.3",),
        dossier=made.decision.digests.dossier,
        dossier_candidate=candidate,
        review_opened=NOW,
        review_candidate=candidate,
        appointments=BOARD,
        ballots=ballots_of(choice, candidate),
        conditions=(closed, AFTER) if choice is Choice.CONDITIONS else (),
        decision=made,
        standing=made.digest,
        package_candidate=candidate,
        package_tier="gated",
        reaudit_due=DAY + 300 * DAYS,
        reason="something happened that must be told",
        notice="please stop using the set and delete it",
    )  # fmt: skip


def facts_for(line: Transition) -> Facts:
    return good(CHOICE.get(line.event, Choice.CONDITIONS))


# --- each guard alone


def altered(facts: Facts, **changes: Any) -> Facts:
    return facts.model_copy(update=changes)


def redecided(facts: Facts, **changes: Any) -> Facts:
    assert facts.decision is not None
    made = facts.decision.decision.model_copy(update=changes)
    return altered(facts, decision=facts.decision.model_copy(update={"decision": made}))


def _other_candidate(facts: Facts) -> Facts:
    assert facts.decision is not None
    return redecided(facts, digests=facts.decision.decision.digests.model_copy(update={"candidate": B}))


def _expertise(facts: Facts) -> Facts:
    moved = {"m2": ("finance",), "m6": ("law",)}
    board = (item.model_copy(update={"expertise": moved.get(item.member, item.expertise)}) for item in BOARD)
    return altered(facts, appointments=tuple(board))


def _undecided(facts: Facts) -> Facts:
    choice = facts.ballots[0].choice
    cast = tuple(vote(f"m{n}", choice, votes={2: Vote.ABSTAINS} if n < 4 else {}) for n in range(1, 6))
    return redecided(altered(facts, ballots=cast), ballots={item.member: item.digest for item in cast})


def _outcome(facts: Facts) -> Facts:
    assert facts.decision is not None
    said = facts.decision.decision.outcome
    return redecided(facts, outcome=Choice.APPROVE if said is not Choice.APPROVE else Choice.CONDITIONS)


def _late(facts: Facts) -> Facts:
    late = AFTER.model_copy(update={"due": DAY - DAYS})
    held = tuple(late if item.id == "c2" else item for item in facts.conditions)
    return redecided(altered(facts, conditions=held), conditions=(condition(), late))


def _examined(kind: str, **changes: Any) -> Callable[[Facts], Facts]:
    return lambda facts: altered(facts, **{kind: getattr(facts, kind).model_copy(update=changes)})


SPOILED: dict[str, Callable[[Facts], Facts]] = {
    "creator_named": lambda f: altered(f, creators=()),
    "approver_named": lambda f: altered(f, approvers=()),
    "roles_differ": lambda f: altered(f, approvers=("maker",)),
    "board_composed": lambda f: altered(f, appointments=(*BOARD[:5], BOARD[5].model_copy(update={"pledged": None}))),
    "purpose_documents": lambda f: altered(f, attached=DOCUMENTS[1:]),
    "source_documents": lambda f: altered(f, attached=("source.second_inspection",)),
    "process_documents": lambda f: altered(f, attached=()),
    "review_documents": lambda f: altered(f, attached=()),
    "purpose_submitted": lambda f: altered(f, submitted=False),
    "permits_hold": lambda f: altered(f, permits=(Permit(name="board"), Permit(name="ethics", until=DAY - DAYS))),
    "reason_given": lambda f: altered(f, reason="   short    "),
    "notice_written": lambda f: altered(f, notice=""),
    "criteria_fixed": lambda f: altered(f, fixed=None),
    "criteria_older": lambda f: altered(f, first_measured=f.fixed),
    "criteria_same": lambda f: altered(f, judged_by="9" * 64),
    "generation_recorded": lambda f: altered(f, generation=""),
    "candidate_named": lambda f: altered(f, candidate=""),
    "attempts_counted": lambda f: altered(f, attempts=0),
    "utility_examined": lambda f: altered(f, utility=None),
    "safety_examined": lambda f: altered(f, safety=None),
    "same_candidate": _examined("utility", candidate=B),
    "safety_same": _examined("safety", candidate=B),
    "safety_holds": _examined("safety", verdict=Verdict.INVALID),
    "safety_fresh": _examined("safety", finished=NOW - (RULES.fresh_days + 1) * DAYS),
    "verdict_reviewable": lambda f: altered(f, verdict=Verdict.FAIL),
    "verdict_approvable": lambda f: altered(f, verdict=Verdict.NOT_RUN),
    "dossier_present": lambda f: altered(f, dossier_candidate=B),
    "quorum_met": lambda f: altered(f, appointments=BOARD + tuple(member(f"x{n}", "ai") for n in range(9))),
    "expertise_met": _expertise,
    "indicators_decided": _undecided,
    "outcome_is": _outcome,
    "conditional_answered": lambda f: altered(f, conditional=("evidence.3", "nobody.looked")),
    "questions_resolved": lambda f: altered(f, questions=(question(),)),
    "decision_signed": lambda f: altered(f, decision=None),
    "decision_approves": lambda f: redecided(f, outcome=Choice.REJECT),
    "decision_on_candidate": _other_candidate,
    "decision_on_record": lambda f: altered(f, evidence="9" * 64),
    "decision_in_review": lambda f: redecided(f, decided=NOW - DAYS),
    "review_on_candidate": lambda f: altered(f, review_candidate=B),
    "decision_standing": lambda f: altered(f, standing="9" * 64),
    "approval_holds": lambda f: redecided(f, begins=DAY - 9 * DAYS, until=DAY - DAYS),
    "conditions_as_decided": lambda f: altered(f, conditions=f.conditions[:-1] if f.conditions else (AFTER,)),
    "conditions_closed": lambda f: altered(f, conditions=(condition(), AFTER)),
    "conditions_in_time": _late,
    "package_built": lambda f: altered(f, package_candidate=B),
    "tier_agrees": lambda f: altered(f, package_tier="open"),
    "reaudit_set": lambda f: altered(f, reaudit_due=None),
}


def guard_name(guard: guards.Guard) -> str:
    return "outcome_is" if guard.__name__.startswith("outcome_") else guard.__name__


PAIRS = [(line, guard_name(guard)) for line in TABLE for guard in line.guards]


def name_of(value: object) -> str:
    return f"{value.source}-{value.event}" if isinstance(value, Transition) else str(value)


@pytest.mark.parametrize("line", TABLE, ids=name_of)
def test_every_event_happens_when_all_is_met(line: Transition) -> None:
    outcome = process.step(line.source, line.event, facts_for(line), RULES)
    assert outcome.unmet == ()
    assert (outcome.happened, outcome.target) == (True, line.target)


@pytest.mark.parametrize(("line", "guard"), PAIRS, ids=name_of)
def test_every_guard_blocks_alone(line: Transition, guard: str) -> None:
    outcome = process.step(line.source, line.event, SPOILED[guard](facts_for(line)), RULES)
    assert not outcome.happened
    assert whats(outcome.unmet) == [guard]
    assert both(outcome.unmet[0].reason)
    assert both(outcome.unmet[0].remedy)


def test_every_guard_is_used() -> None:
    written = {name for name, thing in vars(guards).items() if inspect.isfunction(thing) and not name.startswith("_")}
    imported = {"attachment", "composed", "listed", "named", "say", "unmet", "combinations"}
    alarms = {"safety_not_failed", "reaudit_in_time"}
    assert {guard for _, guard in PAIRS} | alarms == written - imported
    assert set(SPOILED) == {guard for _, guard in PAIRS}


ASKED = {
    Event.SUBMIT: {"creator_named", "roles_differ", "purpose_documents"},
    Event.PREPARE: {"purpose_submitted", "source_documents", "permits_hold", "criteria_fixed"},
    Event.GENERATE: {"process_documents", "permits_hold", "generation_recorded", "candidate_named"},
    Event.EXAMINE: {"same_candidate", "criteria_older", "criteria_same", "attempts_counted"},
    Event.OPEN_REVIEW: {"same_candidate", "verdict_reviewable", "dossier_present", "board_composed", "roles_differ"},
    Event.DECIDE_APPROVE: {"quorum_met", "expertise_met", "roles_differ", "verdict_approvable", "decision_signed"},
    Event.DECIDE_CONDITIONS: {"quorum_met", "expertise_met", "conditions_as_decided", "questions_resolved"},
    Event.DECIDE_RETURN_1: {"quorum_met", "expertise_met", "decision_signed", "decision_on_record"},
    Event.DECIDE_REJECT: {"quorum_met", "expertise_met", "decision_signed", "decision_on_record"},
    Event.RELEASE: {
        "permits_hold",
        "approval_holds",
        "conditions_closed",
        "package_built",
        "tier_agrees",
        "roles_differ",
    },
    Event.MONITOR: {"reaudit_set"},
    Event.REAUDIT: {"safety_examined", "safety_same", "safety_holds", "safety_fresh"},
    Event.SUSPEND: {"reason_given"},
    Event.RESUME: {"permits_hold", "approval_holds", "safety_holds", "conditions_in_time"},
    Event.RESTART: {"reason_given", "notice_written"},
    Event.WITHDRAW: {"reason_given"},
}
"""What the design of the process asks of each event, written down apart from the table."""


@pytest.mark.parametrize("line", TABLE, ids=name_of)
def test_the_table_asks_what_the_design_asks(line: Transition) -> None:
    assert ASKED.get(line.event, set()) <= {guard_name(guard) for guard in line.guards}
    if line.event is Event.WITHDRAW and line.source in USABLE | {State.SUSPENDED}:
        assert guards.notice_written in line.guards


@pytest.mark.parametrize("line", [line for line in TABLE if line.guards], ids=name_of)
def test_with_nothing_known_nothing_happens(line: Transition) -> None:
    outcome = process.step(line.source, line.event, Facts(day=DAY), RULES)
    assert not outcome.happened
    assert all(both(item.reason) and both(item.remedy) for item in outcome.unmet)


def test_all_that_is_unmet_is_told_at_once() -> None:
    found = process.step(State.DRAFT, Event.SUBMIT, Facts(day=DAY, approvers=("x",), creators=("x",)), RULES)
    assert whats(found.unmet) == ["roles_differ", "purpose_documents"]
    assert "금지 용도" in found.unmet[1].reason.ko
    assert "Prohibited uses" in found.unmet[1].reason.en


@pytest.mark.parametrize("state", list(State))
@pytest.mark.parametrize("event", list(Event))
def test_an_event_the_table_does_not_have_is_refused(state: State, event: Event) -> None:
    if any((line.source, line.event) == (state, event) for line in TABLE):
        return
    outcome = process.step(state, event, good(), RULES)
    assert whats(outcome.unmet) == ["in_table"]
    assert both(outcome.unmet[0].reason)
    assert both(outcome.unmet[0].remedy)


# --- particular guards


def test_without_a_candidate_nothing_is_examined_reviewed_or_released() -> None:
    wanted = {Event.EXAMINE, Event.OPEN_REVIEW, Event.RELEASE, Event.RESUME, Event.REAUDIT, *CHOICE}
    for line in TABLE:
        if line.event in wanted:
            assert not process.step(line.source, line.event, altered(facts_for(line), candidate=""), RULES).happened


@pytest.mark.parametrize("verdict", list(Verdict))
def test_missing_never_passes(verdict: Verdict) -> None:
    opened = process.step(State.EXAMINED, Event.OPEN_REVIEW, altered(good(), verdict=verdict), RULES)
    approved = process.step(State.IN_REVIEW, Event.DECIDE_CONDITIONS, altered(good(), verdict=verdict), RULES)
    assert opened.happened is (verdict is not Verdict.FAIL)
    assert approved.happened is (verdict in (Verdict.PASS, Verdict.CONDITIONAL))


@pytest.mark.parametrize(("days", "holds"), [(-1, False), (0, True), (1, False)])
def test_expired_approvals_block_generation_and_release(days: int, holds: bool) -> None:
    day = DAY + days * DAYS  # the permit `ethics` is for one day
    for source, event in (
        (State.DRAFT, Event.PREPARE),
        (State.PREPARED, Event.GENERATE),
        (State.APPROVED, Event.RELEASE),
    ):
        found = process.step(source, event, altered(good(), day=day), RULES)
        assert ("permits_hold" not in whats(found.unmet)) is holds


def test_criteria_are_older_than_the_first_measurement() -> None:
    fixed = good().fixed
    assert fixed is not None
    for late in (None, fixed, fixed - DAYS):
        found = process.step(State.GENERATED, Event.EXAMINE, altered(good(), first_measured=late), RULES)
        assert whats(found.unmet) == ["criteria_older"]
    soon = altered(good(), first_measured=fixed + datetime.timedelta(seconds=1))
    assert process.step(State.GENERATED, Event.EXAMINE, soon, RULES).happened


def test_a_creator_does_not_review() -> None:
    board = (*BOARD[:5], member("maker", "finance"))
    cast = (*ballots_of(Choice.APPROVE, A)[:3], vote("maker"))
    facts = altered(good(Choice.APPROVE), appointments=board, ballots=cast)
    found = process.step(State.IN_REVIEW, Event.DECIDE_APPROVE, facts, RULES)
    assert {"roles_differ", "quorum_met"} <= set(whats(found.unmet))
    assert [item.code for item in facts.count(RULES).excluded] == ["creator"]


def test_a_conflict_that_is_stated_late_takes_the_vote_away() -> None:
    board = (BOARD[0], BOARD[1].model_copy(update={"conflict": Conflict(kind="abstains")}), *BOARD[2:])
    found = process.step(State.IN_REVIEW, Event.DECIDE_CONDITIONS, altered(good(), appointments=board), RULES)
    assert {"board_composed", "expertise_met", "decision_on_record"} <= set(whats(found.unmet))


def test_the_outcome_of_the_ballots_is_what_happens() -> None:
    for event, choice in CHOICE.items():
        for other in Choice:
            found = process.step(State.IN_REVIEW, event, good(other), RULES)
            assert found.happened is (other is choice)
            assert ("outcome_is" in whats(found.unmet)) is (other is not choice)


def test_returned_to_a_stage_is_before_that_stage() -> None:
    back = {line.event: line.target for line in TABLE if line.source is State.IN_REVIEW}
    assert back[Event.DECIDE_RETURN_1] is State.DRAFT
    assert back[Event.DECIDE_RETURN_2] is State.PREPARED
    assert back[Event.DECIDE_RETURN_3] is State.GENERATED


def test_the_last_day_of_an_approval() -> None:
    until = decision_of(Choice.CONDITIONS).decision.until
    assert until is not None
    for day, holds in ((until, True), (until + DAYS, False), (DAY - DAYS, False)):
        found = process.step(State.APPROVED, Event.RELEASE, altered(good(), day=day), RULES)
        assert ("approval_holds" not in whats(found.unmet)) is holds


def test_the_next_audit_is_within_the_year() -> None:
    last = DAY + RULES.reaudit_days_most * DAYS
    for due, fine in ((last, True), (last + DAYS, False), (DAY, False), (DAY + DAYS, True)):
        assert process.step(State.RELEASED, Event.MONITOR, altered(good(), reaudit_due=due), RULES).happened is fine


def test_an_examination_of_tomorrow_is_not_recent() -> None:
    spoiled = _examined("safety", finished=NOW + 2 * DAYS)(good())
    assert whats(process.step(State.MONITORED, Event.REAUDIT, spoiled, RULES).unmet) == ["safety_fresh"]


@settings(deadline=None, max_examples=40)
@given(st.sampled_from(list(TABLE)), st.sets(st.sampled_from(sorted(SPOILED)), max_size=3))
def test_more_that_is_wrong_never_opens_a_way(line: Transition, spoils: set[str]) -> None:
    facts = facts_for(line)
    names = [guard_name(guard) for guard in line.guards]
    order = [name for name in sorted(spoils) if name in names]
    for name in order:
        try:
            facts = SPOILED[name](facts)
        except (AssertionError, AttributeError, IndexError):
            return  # what one spoils the other needs
    assert process.step(line.source, line.event, facts, RULES).happened is (not order)
