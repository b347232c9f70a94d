"""The process as a whole: what is possible, what a change voids, and that nothing is released without its review."""

import datetime
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from chambit.core.evidence import Verdict
from chambit.review.board import process
from chambit.review.board.ballot import Choice
from chambit.review.board.facts import Examined, Facts
from chambit.review.board.process import FINAL, TABLE, USABLE, Event, State
from chambit.review.board.words import BoardError
from test_board_guards import SPOILED, _examined, altered, decision_of, good
from test_board_members import DAY, NOW, RULES, A, B, both, whats

DAYS = datetime.timedelta(days=1)


# --- possible, after_change, alarms, replay, picture


def test_possible_lists_every_event_with_what_blocks_it() -> None:
    found = process.possible(State.IN_REVIEW, good(Choice.APPROVE), RULES)
    assert [item.event for item in found] == [line.event for line in TABLE if line.source is State.IN_REVIEW]
    free = {item.event for item in found if not item.unmet}
    assert free == {Event.DECIDE_APPROVE, Event.WITHDRAW, Event.CANDIDATE_CHANGED}
    assert all(both(item.name) for item in found)
    assert [process.possible(state, good(), RULES) for state in FINAL] == [(), ()]


@pytest.mark.parametrize(
    ("state", "after", "void"),
    [
        (State.DRAFT, State.DRAFT, 0),
        (State.PREPARED, State.PREPARED, 0),
        (State.GENERATED, State.GENERATED, 0),
        (State.EXAMINED, State.GENERATED, 1),
        (State.IN_REVIEW, State.GENERATED, 2),
        (State.APPROVED, State.GENERATED, 3),
        (State.RELEASED, State.GENERATED, 3),
        (State.MONITORED, State.GENERATED, 3),
        (State.SUSPENDED, State.GENERATED, 3),
        (State.WITHDRAWN, State.WITHDRAWN, 0),
        (State.REJECTED, State.REJECTED, 0),
    ],
)
def test_a_changed_candidate_drops_the_record(state: State, after: State, void: int) -> None:
    dropped = process.after_change(state)
    assert dropped.state is after
    assert len(dropped.voided) == void
    assert all(both(item) for item in dropped.voided)
    if after is not state:
        assert process.step(state, Event.CANDIDATE_CHANGED, Facts(day=DAY), RULES).target is after


ALARMS = {
    "decision_signed": SPOILED["decision_signed"],
    "decision_on_candidate": SPOILED["decision_on_candidate"],
    "decision_standing": SPOILED["decision_standing"],
    "approval_holds": SPOILED["approval_holds"],
    "conditions_as_decided": SPOILED["conditions_as_decided"],
    "conditions_in_time": SPOILED["conditions_in_time"],
    "reaudit_in_time": lambda f: altered(f, reaudit_due=DAY - (RULES.reaudit_grace_days + 1) * DAYS),
    "safety_not_failed": _examined("safety", verdict=Verdict.FAIL),
}


@pytest.mark.parametrize("what", list(ALARMS))
def test_each_alarm_is_told_while_the_set_is_in_use(what: str) -> None:
    spoiled = ALARMS[what](good())
    for state in State:
        found = process.alarms(state, spoiled, RULES)
        assert whats(found) == ([what] if state in USABLE else [])
        assert all(both(item.reason) and both(item.remedy) for item in found)


def test_a_set_in_order_has_no_alarm() -> None:
    grace = altered(good(), reaudit_due=DAY - RULES.reaudit_grace_days * DAYS)
    assert process.alarms(State.MONITORED, good(), RULES) == process.alarms(State.MONITORED, grace, RULES) == ()


STRAIGHT = (
    Event.SUBMIT,
    Event.PREPARE,
    Event.GENERATE,
    Event.EXAMINE,
    Event.OPEN_REVIEW,
    Event.DECIDE_CONDITIONS,
    Event.RELEASE,
    Event.MONITOR,
)


def test_the_state_follows_from_the_events() -> None:
    assert process.replayed(()) is State.DRAFT
    assert process.replayed(STRAIGHT) is State.MONITORED
    assert process.replayed((*STRAIGHT, Event.SUSPEND, Event.RESUME, Event.REAUDIT)) is State.MONITORED
    with pytest.raises(BoardError) as caught:
        process.replayed((Event.SUBMIT, Event.RELEASE))
    assert whats(caught.value.unmet) == ["replay"]
    assert both(caught.value.unmet[0].reason)


def test_the_picture_has_every_state_once_and_only_lines_of_the_table() -> None:
    stages = process.stages()
    assert [stage.number for stage in stages] == [1, 2, 3, 4, 5]
    assert [stage.name.ko for stage in stages] == [
        "사전준비",
        "생성",
        "안전성·유용성 검증",
        "심의위원회 평가",
        "활용 및 안전한 관리",
    ]
    assert sorted(state for stage in stages for state, _ in stage.states) == sorted(State)
    assert all(both(name) for stage in stages for name in (stage.name, *(text for _, text in stage.states)))
    assert {(a.source, a.event, a.target) for a in process.arrows()} <= {(t.source, t.event, t.target) for t in TABLE}
    assert all(both(arrow.name) for arrow in process.arrows())
    assert process.stage_of(State.APPROVED) == 4


# --- nothing is released without its review


def test_a_line_is_known_by_state_and_event() -> None:
    assert len({(line.source, line.event) for line in TABLE}) == len(TABLE)
    assert {line.event for line in TABLE} == set(Event)
    assert not any(line.source in FINAL for line in TABLE)


def test_every_state_can_be_reached_and_the_release_has_one_door() -> None:
    assert {line.target for line in TABLE} == set(State)
    assert {line.source for line in TABLE if line.target is State.RELEASED} == {State.APPROVED}
    assert {line.source for line in TABLE if line.target is State.APPROVED} == {State.IN_REVIEW}
    assert {line.source for line in TABLE if line.target is State.MONITORED} == {
        State.RELEASED,
        State.MONITORED,
        State.SUSPENDED,
    }
    assert {line.source for line in TABLE if line.target is State.SUSPENDED} == USABLE


def _paths() -> Iterator[tuple[State, bool, bool]]:
    """Every state with whether it was reviewed and approved since the candidate last changed; guards all open."""
    seen, waiting = set(), [(State.DRAFT, False, False)]
    while waiting:
        node = waiting.pop()
        if node in seen:
            continue
        seen.add(node)
        yield node
        state, reviewed, approved = node
        for line in TABLE:
            if line.source is not state:
                continue
            if line.event is Event.CANDIDATE_CHANGED or line.event is Event.GENERATE:
                waiting.append((line.target, False, False))
            else:
                waiting.append(
                    (line.target, reviewed or line.target is State.IN_REVIEW, approved or line.target is State.APPROVED)
                )


def test_no_path_of_the_table_leads_to_use_around_the_review() -> None:
    found = {node for node in _paths() if node[0] in USABLE | {State.SUSPENDED}}
    assert {node[0] for node in found} == USABLE | {State.SUSPENDED}
    assert all(reviewed and approved for _, reviewed, approved in found)


class World(NamedTuple):
    """A record, and what was done to it behind the record or beside it."""

    state: State
    candidate: str
    opened: str
    decided: str
    standing: str
    approved: str


def _facts(world: World) -> Facts:
    """Facts in which everything is as it should be, but for what the world says."""
    fresh = Examined(candidate=world.candidate, verdict=Verdict.PASS, finished=NOW)
    whole = altered(
        good(Choice.CONDITIONS, world.decided or world.candidate),
        candidate=world.candidate,
        review_candidate=world.opened,
        dossier_candidate=world.candidate,
        package_candidate=world.candidate,
        utility=fresh,
        safety=fresh,
        standing=decision_of(Choice.CONDITIONS, world.standing).digest if world.standing else "",
    )
    return whole if world.decided else altered(whole, decision=None, ballots=(), conditions=())


def _next(world: World, event: Event, target: State) -> World:
    if event is Event.OPEN_REVIEW:
        return world._replace(state=target, opened=world.candidate, decided="", approved="")
    if target is State.APPROVED:
        return world._replace(state=target, standing=world.decided, approved=world.candidate)
    return world._replace(state=target)


def test_no_release_when_the_candidate_is_changed_behind_the_record() -> None:
    """Every sequence of events, of decisions signed at any time, and of silent changes of the candidate."""
    seen: set[World] = set()
    waiting = [World(State.DRAFT, A, "", "", "", "")]
    while waiting:
        world = waiting.pop()
        if world in seen:
            continue
        seen.add(world)
        waiting.append(world._replace(candidate=B if world.candidate == A else A))  # nobody is told
        waiting.append(world._replace(decided=world.candidate))  # a board votes and signs
        facts = _facts(world)
        for event in Event:
            target = process.step(world.state, event, facts, RULES).target
            if target is None:
                continue
            if target is State.APPROVED:
                assert world.candidate == world.opened == world.decided
            if target is State.RELEASED:
                assert world.candidate == world.opened == world.decided == world.approved
            waiting.append(_next(world, event, target))
    assert {world.state for world in seen} == set(State) - {State.REJECTED}


def test_a_record_of_facts_is_checked_when_it_is_made() -> None:
    again = Facts.model_validate(good().model_dump())
    assert again == good()
    assert process.step(State.APPROVED, Event.RELEASE, again, RULES).happened
