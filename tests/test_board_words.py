"""Words of the board in both languages, and its rules in the policy."""

from pathlib import Path
from string import Formatter
from typing import Any

import pytest

import chambit.review.board
from chambit.core.errors import StudyError
from chambit.review import policy
from chambit.review.board import rules, words
from chambit.review.board.words import BoardError
from test_board_members import PART, RULES, both, has_hangul

HERE = Path(chambit.review.board.__file__).parent


# --- words and rules


def _entries(node: Any, path: str = "") -> list[tuple[str, dict[str, str]]]:
    if isinstance(node, dict) and set(node) <= {"ko", "en"}:
        return [(path, node)]
    return [found for key, child in node.items() for found in _entries(child, f"{path}.{key}".strip("."))]


ENTRIES = _entries(words.table())


def test_there_are_words() -> None:
    assert len(ENTRIES) > 150


@pytest.mark.parametrize(("place", "entry"), ENTRIES)
def test_every_sentence_is_in_both_languages(place: str, entry: dict[str, str]) -> None:
    assert set(entry) == {"ko", "en"}
    assert not has_hangul(entry["en"])
    assert has_hangul(entry["ko"]) or place.startswith("operators.")
    fields = [sorted(name for _, name, _, _ in Formatter().parse(text) if name) for text in entry.values()]
    assert fields[0] == fields[1]
    if place.split(".")[0] in {"guards", "composition", "excluded", "ballot", "conditions", "questions", "signatures"}:
        assert "니다" in entry["ko"] or "십시오" in entry["ko"]
        assert entry["en"].endswith((".", "{problems}"))


def test_what_is_unmet_has_reason_and_remedy() -> None:
    for group in (
        "guards",
        "composition",
        "excluded",
        "ballot",
        "conditions",
        "questions",
        "decision",
        "keys",
        "signatures",
    ):
        assert all(set(entry) == {"reason", "remedy"} for entry in words.table()[group].values())


def test_an_error_has_both_languages() -> None:
    error = BoardError(words.say("errors.signing"), [words.unmet("signatures.own_key_unknown")])
    assert both(error.said)
    assert "This cannot be signed so." in str(error)
    assert "Register it first." in str(error)


def test_rules_are_read_from_a_policy() -> None:
    default = policy.load("default")
    block = {"board": RULES.model_dump(mode="json")}
    assert rules.read(default.model_copy(update={"settings": block})) == RULES
    with pytest.raises(StudyError, match=r"settings\.board: is missing"):
        rules.read(default.model_copy(update={"settings": {}}))
    with pytest.raises(StudyError, match=r"settings\.board\.quorum") as caught:
        rules.read(
            default.model_copy(update={"settings": {"board": block["board"] | {"quorum": [3, 2], "size": [0, 4]}}})
        )
    assert len(caught.value.problems) == 2


def test_every_rule_of_the_policy_has_a_source() -> None:
    lines = PART.read_text(encoding="utf-8").splitlines()
    first = lines.index("  board:") + 1
    told = False
    for line in lines[first:]:
        told = told or line.strip().startswith("#")
        assert told, line


def test_no_number_of_the_rules_stands_in_the_code() -> None:
    for path in HERE.glob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert not any(number in text for number in ("365", "180", "0.667", "2 / 3")), path.name


def test_the_quorum_is_counted_in_whole_numbers() -> None:
    assert [RULES.votes_needed(n) for n in (0, 3, 4, 5, 6, 7, 15)] == [3, 3, 3, 4, 4, 5, 10]
    assert (RULES.is_majority(3, 6), RULES.is_majority(4, 6), RULES.is_tie(3, 6), RULES.is_tie(0, 0)) == (
        False,
        True,
        True,
        False,
    )
