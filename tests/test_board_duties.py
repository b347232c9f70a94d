"""Conditions of an approval, and questions inside the document."""

import datetime

import pytest
from pydantic import ValidationError

from chambit.review.board import conditions, questions
from chambit.review.board.conditions import Closing, Condition
from chambit.review.board.questions import Anchor, Question, Remark, Resolution
from chambit.review.board.words import BoardError
from test_board_members import CREATORS, DAY, DONE, NOW, RULES, both, condition, question, whats

# --- conditions


def test_a_condition_is_closed_by_another_person() -> None:
    closed = conditions.closed(condition(), DONE, CREATORS)
    assert closed.closing == DONE
    assert closed.terms == condition().terms
    assert conditions.still_open([closed, condition("c2")]) == (condition("c2"),)


@pytest.mark.parametrize(
    ("given", "closing", "what"),
    [
        (condition(), DONE.model_copy(update={"by": "maker"}), "own_work"),
        (condition(), DONE.model_copy(update={"by": "generator"}), "own_work"),
        (condition(), DONE.model_copy(update={"evidence": (" ",)}), "evidence"),
        (condition(closing=DONE), DONE, "closed_already"),
    ],
)
def test_how_a_condition_cannot_be_closed(given: Condition, closing: Closing, what: str) -> None:
    with pytest.raises(BoardError) as caught:
        conditions.closed(given, closing, CREATORS)
    assert whats(caught.value.unmet) == [what]
    assert both(caught.value.said)
    assert both(caught.value.unmet[0].reason)


def test_no_condition_exists_that_its_own_person_closed() -> None:
    with pytest.raises(ValidationError, match="not closed by the person"):
        condition(closing=DONE.model_copy(update={"by": "maker"}))


def test_overdue_conditions_are_listed_oldest_first() -> None:
    day = datetime.timedelta(days=1)
    late, later, today = (condition(n, due=DAY - days * day) for n, days in (("c1", 1), ("c2", 9), ("c3", 0)))
    closed = condition("c4", due=DAY - 5 * day, closing=DONE)
    assert [item.id for item in conditions.overdue([late, later, today, closed], DAY)] == ["c2", "c1"]


def test_terms_of_conditions_are_checked() -> None:
    last = DAY + datetime.timedelta(days=RULES.condition_days_most)
    assert conditions.lacks([condition(due=last), condition("c2", due=DAY)], RULES, DAY) == ()
    wrong = [
        condition("c1", due=last + datetime.timedelta(days=1)),
        condition("c2", due=DAY - datetime.timedelta(days=1)),
        condition("c3", text="short"),
        condition("c4", closing=DONE),
    ]
    assert whats(conditions.lacks(wrong, RULES, DAY)) == ["due", "due", "text", "closed_already"]
    assert whats(conditions.lacks([condition(), condition()], RULES, DAY)) == ["twice", "twice"]
    assert all(both(item.reason) and both(item.remedy) for item in conditions.lacks(wrong, RULES, DAY))


# --- questions


ANSWER = Remark(by="maker", at=NOW, text="The fifty nearest.")


def test_a_question_blocks_until_it_is_settled() -> None:
    asked = question()
    answered = questions.answered(asked, ANSWER)
    settled = questions.resolved(answered, Resolution(by="m1", at=NOW))
    assert [bool(questions.blocking([item])) for item in (asked, answered, settled)] == [True, True, False]
    assert questions.unresolved([question(blocking=False)]) != ()
    assert questions.blocking([question(blocking=False)]) == ()
    assert questions.blocking([questions.answered(settled, ANSWER)]) != ()  # a new answer opens it again


@pytest.mark.parametrize(
    ("given", "by", "what"),
    [
        (questions.answered(question(), ANSWER), "maker", ["own_answer"]),
        (question(), "m2", ["unanswered"]),
    ],
)
def test_who_cannot_settle_a_question(given: Question, by: str, what: list[str]) -> None:
    with pytest.raises(BoardError) as caught:
        questions.resolved(given, Resolution(by=by, at=NOW))
    assert whats(caught.value.unmet) == what
    assert both(caught.value.said)


def test_who_can_settle_a_question() -> None:
    assert questions.resolved(question(), Resolution(by="m1", at=NOW)).resolution is not None  # taken back
    assert questions.resolved(questions.answered(question(), ANSWER), Resolution(by="m2", at=NOW)).resolution


def test_a_question_stands_at_one_place() -> None:
    for wrong in ({}, {"indicator": 1, "key": "copies.flagged"}):
        with pytest.raises(ValidationError, match="exactly one"):
            Anchor(**wrong)
    at_key = question(id="q2", anchor=Anchor(key="copies.flagged"))
    assert questions.at([question(), at_key], Anchor(key="copies.flagged")) == (at_key,)


def test_the_digest_of_questions_knows_no_order() -> None:
    one, two = question(), question(id="q2")
    assert questions.digest_of([one, two]) == questions.digest_of([two, one]) != questions.digest_of([one])
