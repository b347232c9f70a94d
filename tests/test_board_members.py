"""The board: who sits on it, what a ballot must hold, and how ballots are counted."""

import datetime
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

import chambit.review.board
from chambit.review import policy
from chambit.review.board import ballot
from chambit.review.board.ballot import INDICATORS, Ballot, Choice, Count, IndicatorVote, Vote
from chambit.review.board.composition import Appointment, Conflict, composed, entitled
from chambit.review.board.conditions import Closing, Condition
from chambit.review.board.questions import Anchor, Question, Remark
from chambit.review.board.rules import Rules
from chambit.review.board.words import Text, Unmet

HERE = Path(chambit.review.board.__file__).parent
PART = policy.FOLDER / "parts" / "board.yaml"
RULES = Rules.model_validate(yaml.safe_load(PART.read_text(encoding="utf-8"))["settings"]["board"])
DAY = datetime.date(2026, 11, 23)
NOW = datetime.datetime(2026, 11, 23, 10, 0, tzinfo=datetime.UTC)
A, B = "a" * 64, "b" * 64
CREATORS = ("maker", "generator")
WHY = "the written reason of a member"


def member(name: str, *expertise: str, **more: Any) -> Appointment:
    return Appointment(
        **{"member": name, "expertise": expertise, "conflict": Conflict(kind="none"), "pledged": DAY} | more
    )


BOARD = (
    member("m1", "privacy", outside=True, subjects=True),
    member("m2", "law", outside=True),
    member("m3", "ai"),
    member("m4", "clinical"),
    member("m5", "clinical", "statistics"),
    member("m6", "finance"),
)


def vote(who: str, choice: Choice = Choice.APPROVE, *, at: int = 0, **more: Any) -> Ballot:
    """A complete ballot, cast `at` minutes after `NOW`; `votes` are those on indicators that are not `meets`."""
    votes: dict[int, Vote] = more.pop("votes", {})
    given = {
        "member": who,
        "candidate": A,
        "cast": NOW + datetime.timedelta(minutes=at),
        "indicators": tuple(
            IndicatorVote(indicator=n, vote=votes.get(n, Vote.MEETS), reason=WHY, keys=(f"evidence.{n}",))
            for n in INDICATORS
        ),
        "choice": choice,
        "reason": WHY,
        "wanted": (WHY,) if choice is Choice.CONDITIONS else (),
        "tier": "gated" if choice.approves else "",
    }
    return Ballot(**given | more)


def count(ballots: Sequence[Ballot], board: Sequence[Appointment] = BOARD, by: Rules = RULES) -> Count:
    return ballot.counted(ballots, board, by, candidate=A, creators=CREATORS)


def ruled(**changes: Any) -> Rules:
    return Rules.model_validate(RULES.model_dump(mode="json") | changes)


def whats(found: Sequence[Unmet]) -> list[str]:
    return [item.what for item in found]


def both(text: Text) -> bool:
    """Whether a sentence is in both languages, filled, with nothing left open."""
    return has_hangul(text.ko) and bool(text.en) and not has_hangul(text.en) and "{" not in text.ko + text.en


def has_hangul(words: str) -> bool:
    return any("가" <= letter <= "힣" for letter in words)


def condition(name: str = "c1", **more: Any) -> Condition:
    given = {"id": name, "text": "readers look at all flagged pairs", "responsible": "maker"}
    return Condition(**given | {"due": DAY + datetime.timedelta(days=30)} | more)


DONE = Closing(by="m1", day=DAY, evidence=("minutes.pdf",))


def question(**more: Any) -> Question:
    asked = Remark(by="m1", at=NOW, text="How were the pairs chosen?")
    return Question(**{"id": "q1", "anchor": Anchor(indicator=6), "asked": asked, "blocking": True} | more)


# --- composition


def test_a_good_board_has_no_problem() -> None:
    assert composed(BOARD, RULES, DAY) == ()
    assert entitled(BOARD, RULES, CREATORS) == ("m1", "m2", "m3", "m4", "m5", "m6")


def _without(name: str, **changes: Any) -> tuple[Appointment, ...]:
    return tuple(item.model_copy(update=changes) if item.member == name else item for item in BOARD)


@pytest.mark.parametrize(
    ("board", "what"),
    [
        (BOARD[:4], "size"),
        (BOARD + tuple(member(f"x{n}", "ai") for n in range(10)), "size"),
        (_without("m3", expertise=("finance",)), "expertise"),
        (_without("m3", conflict=Conflict(kind="declared", text="shares in the vendor")), "expertise"),
        (_without("m3", conflict=Conflict(kind="abstains")), "expertise"),
        (_without("m2", outside=False), "outside"),
        (_without("m1", subjects=False), "subjects"),
        (_without("m6", member="m5"), "twice"),
        (_without("m6", conflict=None), "statement"),
        (_without("m6", pledged=None), "pledge"),
        (_without("m6", pledged=DAY + datetime.timedelta(days=1)), "pledge"),
    ],
)
def test_each_problem_of_a_board_is_told_alone(board: tuple[Appointment, ...], what: str) -> None:
    (found,) = composed(board, RULES, DAY)
    assert found.what == what
    assert both(found.reason)
    assert both(found.remedy)


def test_all_problems_of_a_board_are_told_at_once() -> None:
    assert whats(composed((), RULES, DAY)) == ["size", "expertise", "outside", "subjects"]


def test_a_subject_representative_comes_from_outside() -> None:
    assert whats(composed(_without("m1", outside=False), RULES, DAY)) == ["outside", "subjects"]


def test_a_declared_conflict_says_what_it_is() -> None:
    with pytest.raises(ValidationError, match="says in `text`"):
        Conflict(kind="declared", text=" ")


# --- ballots


def test_a_complete_ballot_lacks_nothing() -> None:
    for choice in Choice:
        assert ballot.lacks(vote("m1", choice), RULES) == ()


def test_a_ballot_has_each_indicator_once() -> None:
    whole = vote("m1")
    for wrong in (whole.indicators[:5], (*whole.indicators[:5], whole.indicators[0])):
        with pytest.raises(ValidationError, match="six indicators"):
            Ballot(**whole.model_dump() | {"indicators": wrong})


def _changed(number: int, **changes: Any) -> Ballot:
    whole = vote("m1")
    rows = tuple(i.model_copy(update=changes) if i.indicator == number else i for i in whole.indicators)
    return whole.model_copy(update={"indicators": rows})


@pytest.mark.parametrize(
    ("cast", "what"),
    [
        (_changed(3, vote=Vote.ABSTAINS, reason="too short", keys=()), "reason"),
        (_changed(3, keys=()), "keys"),
        (vote("m1", Choice.REJECT, reason=" no       "), "choice_reason"),
        (vote("m1", Choice.CONDITIONS, wanted=(" ",)), "wanted"),
        (vote("m1", tier=""), "tier"),
        (_changed(3, vote=Vote.NOT), "contradicts"),
        (_changed(3, vote=Vote.CONDITIONS), "contradicts"),
    ],
)
def test_each_lack_of_a_ballot_is_told_alone(cast: Ballot, what: str) -> None:
    (found,) = ballot.lacks(cast, RULES)
    assert found.what == what
    assert both(found.reason)
    assert both(found.remedy)


def test_meets_needs_no_reason_and_abstaining_no_evidence() -> None:
    assert ballot.lacks(_changed(3, reason=""), RULES) == ()
    assert ballot.lacks(_changed(3, vote=Vote.ABSTAINS, keys=()), RULES) == ()


def test_a_ballot_has_a_digest_of_its_own() -> None:
    assert vote("m1").digest == vote("m1").digest != vote("m1", reason="another reason").digest


# --- counting


def test_all_approve() -> None:
    found = count([vote(f"m{n}") for n in range(1, 7)])
    assert (found.outcome, found.quorum, found.tied, found.held_back) == (Choice.APPROVE, True, False, ())
    assert (found.tier, found.expertise_missing, found.undecided, found.excluded) == ("gated", (), (), ())
    assert found.keys == tuple(f"evidence.{n}" for n in INDICATORS)
    assert [item.outcome for item in found.indicators] == [Vote.MEETS] * 6


def test_no_ballot_has_no_outcome() -> None:
    found = count([])
    assert (found.outcome, found.quorum, found.tier, found.undecided) == (None, False, "", INDICATORS)


@pytest.mark.parametrize(("votes", "quorum"), [(3, False), (4, True)])
def test_the_edge_of_the_quorum(votes: int, quorum: bool) -> None:
    found = count([vote(f"m{n}") for n in range(1, votes + 1)])
    assert (found.needed, found.quorum) == (4, quorum)
    assert (ballot.short_of_quorum(found) is None) is quorum


def test_who_may_not_vote_is_no_part_of_the_quorum() -> None:
    board = _without("m6", conflict=Conflict(kind="abstains"))
    found = count([vote(f"m{n}") for n in range(1, 5)], (*board[:5], *board[5:]))
    assert (len(found.entitled), found.needed, found.quorum) == (5, 4, True)


C = Choice
TIES = [
    ([C.APPROVE] * 3 + [C.CONDITIONS] * 3, C.CONDITIONS, True),
    ([C.APPROVE] * 3 + [C.RETURN_3] * 3, C.RETURN_3, True),
    ([C.APPROVE] * 2 + [C.CONDITIONS] + [C.RETURN_2] * 3, C.RETURN_2, True),
    ([C.APPROVE] * 3 + [C.REJECT] * 3, C.RETURN_1, True),
    ([C.RETURN_3] * 3 + [C.REJECT] * 3, C.RETURN_1, True),
    ([C.APPROVE] * 2 + [C.REJECT] * 4, C.REJECT, False),
    ([C.APPROVE] * 4 + [C.REJECT] * 2, C.APPROVE, False),
    ([C.APPROVE] * 2 + [C.CONDITIONS] * 2 + [C.REJECT] * 2, C.CONDITIONS, False),
    ([C.RETURN_3] * 2 + [C.RETURN_2] * 2 + [C.RETURN_1] * 2, C.RETURN_2, False),
    ([C.APPROVE, C.APPROVE, C.REJECT, C.REJECT, C.REJECT, C.RETURN_3], C.RETURN_1, True),
]


@pytest.mark.parametrize(("choices", "outcome", "tied"), TIES)
def test_ties_go_to_the_stricter_side(choices: list[Choice], outcome: Choice, tied: bool) -> None:
    found = count([vote(f"m{n}", choice) for n, choice in enumerate(choices, start=1)])
    assert (found.outcome, found.tied) == (outcome, tied)


@settings(deadline=None, max_examples=150)
@given(st.lists(st.sampled_from(list(Choice)), min_size=1, max_size=6))
def test_a_stricter_vote_never_makes_the_outcome_milder(choices: list[Choice]) -> None:
    order = list(Choice)

    def outcome(given: list[Choice]) -> int:
        found = count([vote(f"m{n}", choice) for n, choice in enumerate(given, start=1)]).outcome
        assert found is not None
        return order.index(found)

    for place, choice in enumerate(choices):
        for stricter in order[order.index(choice) + 1 :]:
            assert outcome([*choices[:place], stricter, *choices[place + 1 :]]) >= outcome(choices)


@settings(deadline=None, max_examples=150)
@given(st.lists(st.sampled_from(list(Choice)), min_size=1, max_size=6))
def test_no_approval_and_no_rejection_without_more_than_half(choices: list[Choice]) -> None:
    found = count([vote(f"m{n}", choice) for n, choice in enumerate(choices, start=1)]).outcome
    assert found is not None
    if found.approves:
        assert Fraction(sum(choice.approves for choice in choices), len(choices)) > Fraction(1, 2)
    if found is Choice.REJECT:
        assert Fraction(choices.count(Choice.REJECT), len(choices)) > Fraction(1, 2)


@pytest.mark.parametrize(
    ("indicator", "back"),
    [(1, C.RETURN_1), (2, C.RETURN_1), (3, C.RETURN_2), (4, C.RETURN_2), (5, C.RETURN_3), (6, C.RETURN_3)],
)
def test_an_indicator_that_does_not_meet_holds_the_outcome_back(indicator: int, back: Choice) -> None:
    bad = [vote(f"m{n}", C.RETURN_3, votes={indicator: Vote.NOT}) for n in (1, 2)]
    split = [vote("m3", C.RETURN_3, votes={indicator: Vote.NOT}), *(vote(f"m{n}") for n in (4, 5, 6))]
    tie = count(bad + split)
    assert tie.indicators[indicator - 1].outcome is Vote.NOT  # three against three: the stricter side
    assert tie.outcome is back
    assert tie.held_back == (() if back is C.RETURN_3 else (indicator,))
    assert count(bad + split[1:]).outcome is C.APPROVE


def test_conditions_on_an_indicator_allow_no_approval_without_any() -> None:
    some = [vote(f"m{n}", C.CONDITIONS, votes={5: Vote.CONDITIONS}) for n in (1, 2)]
    found = count([*some, *(vote(f"m{n}", votes={5: Vote.ABSTAINS}) for n in (3,)), *(vote(f"m{n}") for n in (4, 5))])
    assert found.indicators[4].outcome is Vote.CONDITIONS  # two of four: a tie
    assert (found.outcome, found.held_back) == (C.CONDITIONS, (5,))


def test_an_indicator_on_which_half_abstain_is_not_decided() -> None:
    votes = [vote(f"m{n}", votes={2: Vote.ABSTAINS} if n > 3 else {}) for n in range(1, 7)]
    found = count(votes)
    assert found.undecided == (2,)
    assert ballot.short_of_indicators(found) is not None
    assert count(votes[:5]).undecided == ()


@pytest.mark.parametrize(
    ("tiers", "tier"),
    [
        (["open"] * 4 + ["safe_zone"] * 2, "open"),
        (["open"] * 3 + ["gated"] + ["safe_zone"] * 2, "gated"),
        (["open"] * 3 + ["safe_zone"] * 3, "safe_zone"),
    ],
)
def test_the_tier_is_the_most_open_that_more_than_half_would_allow(tiers: list[str], tier: str) -> None:
    assert count([vote(f"m{n}", tier=given) for n, given in enumerate(tiers, start=1)]).tier == tier


def test_who_does_not_approve_allows_no_tier() -> None:
    given = [vote("m1", tier="open"), vote("m2", tier="open"), vote("m3", tier="open")]
    assert count([*given, *(vote(f"m{n}", C.REJECT) for n in (4, 5, 6))]).tier == ""


EXCLUDED = [
    (vote("nobody"), BOARD, "not_appointed"),
    (vote("maker"), (*BOARD, member("maker", "ai")), "creator"),
    (vote("generator"), (*BOARD, member("generator", "ai")), "creator"),
    (vote("maker"), BOARD, "creator"),
    (vote("m6"), _without("m6", conflict=None), "no_statement"),
    (vote("m6"), _without("m6", conflict=Conflict(kind="declared", text="paid by the vendor")), "conflict"),
    (vote("m6"), _without("m6", conflict=Conflict(kind="abstains")), "conflict"),
    (vote("m6"), _without("m6", pledged=None), "no_pledge"),
    (vote("m6", candidate=B), BOARD, "other_candidate"),
    (vote("m6", reason="", choice=C.REJECT), BOARD, "choice_reason"),
]


@pytest.mark.parametrize(("cast", "board", "code"), EXCLUDED)
def test_a_ballot_that_does_not_count_is_kept_with_its_reason(
    cast: Ballot, board: tuple[Appointment, ...], code: str
) -> None:
    found = count([vote("m1"), cast], board)
    assert found.voted == ("m1",)
    (excluded,) = found.excluded
    assert (excluded.member, excluded.ballot, excluded.code) == (cast.member, cast.digest, code)
    assert both(excluded.why)
    refusals = ballot.refused(cast, board, RULES, candidate=A, creators=CREATORS)
    assert code in whats(refusals)


def test_a_declared_conflict_votes_where_the_policy_lets_it() -> None:
    board = _without("m3", conflict=Conflict(kind="declared", text="a former colleague"))
    found = count([vote("m3")], board, ruled(conflicts_excluded=["abstains"]))
    assert found.voted == ("m3",)
    assert "ai" in found.expertise_missing  # but stands for no required field


def test_the_last_ballot_counts_and_the_earlier_is_kept() -> None:
    first, second, third = vote("m1"), vote("m1", C.REJECT, at=5), vote("m1", C.RETURN_3, at=9)
    found = count([third, first, second])
    assert found.ballots == (third.digest,)
    assert [(item.ballot, item.code) for item in found.excluded] == [
        (first.digest, "superseded"),
        (second.digest, "superseded"),
    ]


def test_a_later_ballot_on_another_candidate_takes_nothing_back() -> None:
    found = count([vote("m1"), vote("m1", C.REJECT, at=5, candidate=B)])
    assert found.choices[C.APPROVE] == 1
    assert [item.code for item in found.excluded] == ["other_candidate"]


def test_ballots_of_an_earlier_review_do_not_count() -> None:
    since = NOW + datetime.timedelta(minutes=3)
    votes = [vote("m1"), vote("m2", at=3)]
    found = ballot.counted(votes, BOARD, RULES, candidate=A, creators=CREATORS, since=since)
    assert found.voted == ("m2",)
    assert [item.code for item in found.excluded] == ["earlier_review"]


def test_required_fields_need_a_vote() -> None:
    found = count([vote(f"m{n}") for n in (1, 3, 4, 5)])
    assert found.expertise_missing == ("law",)
    problem = ballot.short_of_expertise(found)
    assert problem is not None
    assert "법률" in problem.reason.ko


def test_minority_opinions_are_kept_as_written() -> None:
    votes = [vote(f"m{n}", minority="unused, being with the majority") for n in range(1, 5)]
    found = count([*votes, vote("m5", C.REJECT, minority="the copies are not covered")])
    assert [(item.member, item.choice, item.text) for item in found.opinions] == [
        ("m5", C.REJECT, "the copies are not covered")
    ]
