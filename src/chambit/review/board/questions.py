"""Questions asked inside the document: where they stand, who asked, who answered, and whether that settled them.

A blocking question stands in the way of an approval until it is resolved. It is resolved by the one who asked, or by
another person who gave none of its answers; without an answer only the one who asked can take it back.
"""

from collections.abc import Iterable, Sequence
from typing import Self

from pydantic import AwareDatetime, Field, model_validator

from chambit.core import digest
from chambit.core.evidence import Frozen
from chambit.review.board.words import BoardError, say, unmet


class Anchor(Frozen):
    """Where a question stands: at one of the six indicators, or at a piece of evidence."""

    indicator: int | None = Field(None, ge=1, le=6)
    key: str = ""

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.indicator is None) == (not self.key):
            raise ValueError("a question stands at exactly one of `indicator` and `key`")
        return self


class Remark(Frozen):
    """Who said what, and when."""

    by: str = Field(min_length=1)
    at: AwareDatetime
    text: str = Field(min_length=1)


class Resolution(Frozen):
    """Who took a question for settled, and when."""

    by: str = Field(min_length=1)
    at: AwareDatetime


class Question(Frozen):
    """A question with its answers, oldest first."""

    id: str = Field(min_length=1)
    anchor: Anchor
    asked: Remark
    blocking: bool = False
    answers: tuple[Remark, ...] = ()
    resolution: Resolution | None = None


def answered(question: Question, answer: Remark) -> Question:
    """The question with one more answer, which opens it again when it was resolved."""
    return question.model_copy(update={"answers": (*question.answers, answer), "resolution": None})


def resolved(question: Question, resolution: Resolution) -> Question:
    """The question, settled.

    Raises:
        BoardError: when this person cannot settle it, or there is nothing that could have.
    """
    own = resolution.by == question.asked.by
    found = []
    if not own and any(answer.by == resolution.by for answer in question.answers):
        found.append(unmet("questions.own_answer", id=question.id, by=resolution.by))
    if not own and not question.answers:
        found.append(unmet("questions.unanswered", id=question.id))
    if found:
        raise BoardError(say("errors.question", id=question.id), found)
    return question.model_copy(update={"resolution": resolution})


def unresolved(questions: Iterable[Question]) -> tuple[Question, ...]:
    """Questions that nobody has settled."""
    return tuple(item for item in questions if item.resolution is None)


def blocking(questions: Iterable[Question]) -> tuple[Question, ...]:
    """Questions that stand in the way of an approval."""
    return tuple(item for item in unresolved(questions) if item.blocking)


def at(questions: Iterable[Question], anchor: Anchor) -> tuple[Question, ...]:
    """The thread at one place, oldest first."""
    return tuple(sorted((item for item in questions if item.anchor == anchor), key=lambda item: item.asked.at))


def digest_of(questions: Sequence[Question]) -> str:
    """SHA-256 of all questions and answers, whatever their order."""
    return digest.of_json(
        sorted((item.model_dump(mode="json") for item in questions), key=lambda item: str(item["id"]))
    )
