"""The six cards: the worst verdict, the number, what would change it, and what is not covered."""

from collections.abc import Sequence
from typing import Any

import pytest

from chambit.core.evidence import Band, Control, Evidence, Finding, Interval, Verdict
from chambit.review import policy
from chambit.review.board import cards
from chambit.review.board.cards import Card
from chambit.review.board.scheme import attachment, indicators
from chambit.review.board.words import Text
from chambit.review.policy import Policy
from chambit.review.verdict import judge
from test_board_members import both

DEFAULT = policy.load("default")
LOSS: dict[str, Any] = {
    "pass": [{"field": "interval.high", "op": "<", "limit": "details.margin"}],
    "conditional": [{"field": "interval.high", "op": "<", "limit": "details.margin", "times": 2.0}],
    "source": "a source",
}


def ruled(**rules: Any) -> Policy:
    """The default policy with these rules alone."""
    whole = DEFAULT.model_dump(by_alias=True) | {
        "required": (),
        "rules": {k.replace("__", "."): v for k, v in rules.items()},
    }
    return Policy.model_validate(whole)


def evidence(key: str, by: Policy, value: float | None = 0.0, **more: Any) -> Evidence:
    measure, quantity = key.split(".")
    high = more.pop("high", None)
    if high is not None:
        more["interval"] = Interval(low=0, high=high, level=0.95, method="bootstrap")
    return judge(Finding(measure=f"{measure}@1", quantity=quantity, value=value, direction="lower", **more), by)


def loss(high: float, by: Policy | None = None) -> Evidence:
    return evidence("downstream.loss", by or ruled(downstream__loss=LOSS), 0.01, high=high, details={"margin": 0.05})


def card(number: int, given: Sequence[Evidence], by: Policy = DEFAULT, attached: dict[str, str] | None = None) -> Card:
    return cards.cards(given, by, attached)[number - 1]


def test_there_are_six_cards_with_names_and_questions() -> None:
    found = cards.cards([], DEFAULT)
    assert [item.id for item in found] == [1, 2, 3, 4, 5, 6]
    assert all(both(text) for item in found for text in (item.name, item.question, item.sentence))
    assert {item.verdict for item in found} == {Verdict.NOT_RUN}
    assert all(item.head is None and item.deciding is None for item in found)


def test_what_a_limit_is_missed_by() -> None:
    by = ruled(downstream__loss=LOSS)
    failed = cards.changes(loss(0.24), by)
    assert [(item.to, item.missed) for item in failed] == [(Verdict.CONDITIONAL, True), (Verdict.PASS, True)]
    assert [(item.value, item.limit) for item in failed] == [(0.24, 0.1), (0.24, 0.05)]
    assert [item.gap for item in failed] == pytest.approx([0.14, 0.19])
    assert "0.1 미만이어야" in failed[0].says.ko
    assert "off by 0.14" in failed[0].says.en
    (conditional,) = cards.changes(loss(0.07), by)
    assert (conditional.verdict, conditional.to, conditional.gap) == (
        Verdict.CONDITIONAL,
        Verdict.PASS,
        pytest.approx(0.02),
    )


def test_what_is_left_to_a_limit() -> None:
    (kept,) = cards.changes(loss(0.04), ruled(downstream__loss=LOSS))
    assert (kept.to, kept.missed, kept.gap) == (None, False, pytest.approx(0.01))
    assert "남은 폭은 0.01" in kept.says.ko
    exact = ruled(copies__exact={"pass": [{"field": "value", "op": "==", "limit": 0}], "source": "a source"})
    (edge,) = cards.changes(evidence("copies.exact", exact), exact)
    assert edge.gap == 0
    assert "정확히 0" in edge.says.ko


def test_of_limits_that_are_kept_the_nearest_is_told() -> None:
    two = [{"field": "value", "op": ">=", "limit": 0.5}, {"field": "details.recall", "op": ">=", "limit": 0.95}]
    by = ruled(copies__flagged={"pass": two, "source": "a source"})
    (nearest,) = cards.changes(evidence("copies.flagged", by, 0.9, details={"recall": 0.96}), by)
    assert (nearest.field, nearest.limit) == ("details.recall", 0.95)
    assert "세부 값(recall)" in nearest.says.ko


def test_only_conditions_that_are_missed_are_told() -> None:
    two = [{"field": "value", "op": ">=", "limit": 0.5}, {"field": "details.recall", "op": ">=", "limit": 0.95}]
    by = ruled(copies__flagged={"pass": two, "otherwise": "CONDITIONAL", "source": "a source"})
    found = cards.changes(evidence("copies.flagged", by, 0.9, details={"recall": 0.8}), by)
    assert [item.field for item in found] == ["details.recall"]
    (lacking,) = cards.changes(evidence("copies.flagged", by, 0.9), by)
    assert (lacking.value, lacking.gap, lacking.missed) == (None, None, True)
    assert "nothing to compare" in lacking.says.en


def test_what_only_a_measurement_can_change() -> None:
    by = ruled(downstream__loss=LOSS)
    missing = evidence("downstream.loss", by, None, reason="Too few patients.")
    control = Control(name="planted", expected="found", observed="not found", fired=False)
    invalid = evidence("downstream.loss", by, 0.0, high=0.01, control=control, details={"margin": 0.05})
    no_rule = evidence("other.number", by)
    for item, word in ((missing, "must be"), (invalid, "control"), (no_rule, "no rule")):
        (change,) = cards.changes(item, by)
        assert (change.to, change.gap) == (None, None)
        assert word in change.says.en
        assert both(change.says)
        assert change.why == (item.because or item.reason)


def test_a_limit_may_be_a_field_of_the_evidence() -> None:
    by = ruled(frechet__distance={"pass": [{"field": "value", "op": "<=", "limit": "band.high", "times": 2.0}],
               "otherwise": "CONDITIONAL", "source": "a source"})  # fmt: skip
    found = evidence("frechet.distance", by, 9.0, band=Band(low=1, middle=2, high=3, draws=9, n=50))
    (change,) = cards.changes(found, by)
    assert (change.limit, change.gap) == (6.0, 3.0)


def test_the_worst_verdict_and_the_first_number() -> None:
    by = ruled(
        downstream__loss=LOSS,
        frechet__distance={"pass": [{"field": "value", "op": "<=", "limit": 1}], "source": "a source"},
    )
    given = [evidence("frechet.distance", by, 5.0), loss(0.04, by)]
    found = card(5, given, by)
    assert found.verdict is Verdict.FAIL
    assert (found.head, found.deciding) == (given[1], given[0])  # the scheme's order; the worst
    assert [item.key for item in found.changes] == ["frechet.distance", "downstream.loss"]
    assert "Outside the limits: 1 of" in found.sentence.en


def test_absent_evidence_is_not_covered_and_counts_as_not_run() -> None:
    by = ruled(downstream__loss=LOSS)
    found = card(5, [loss(0.04, by)], by)
    assert found.verdict is Verdict.NOT_RUN
    absent = {item.name for item in found.not_covered if item.kind == "absent"}
    entry = indicators()[4]
    assert absent == set(entry.evidence) - set(entry.only_some) - {"downstream.loss"}
    assert not absent & set(entry.only_some)


def test_a_card_that_passes() -> None:
    given = [evidence("purpose.stated", DEFAULT, 1.0)]
    attached = {item.id: "there" for item in indicators()[0].attachments}
    found = card(1, given, attached=attached)
    assert (found.verdict, found.not_covered) == (Verdict.PASS, ())
    assert found.sentence == Text(
        "근거 1건이 모두 기준을 충족합니다.", "Every piece of evidence meets its limits (1 in all)."
    )
    empty = card(1, given, attached=attached | {"purpose.recipients": ""})
    assert [(item.kind, item.name) for item in empty.not_covered] == [("attachment", "purpose.recipients")]


def test_kinds_of_copy_that_are_not_covered_are_listed() -> None:
    flagged = evidence("copies.flagged", DEFAULT, 0.0, details={"not_covered": ["jpeg10", "crops below 70 %"]})
    missing = evidence("membership.p", DEFAULT, None, reason="Too few patients.")
    found = card(6, [flagged, missing]).not_covered
    assert [item.name for item in found if item.kind == "copies"] == ["jpeg10", "crops below 70 %"]
    assert [(item.name, item.why) for item in found if item.kind == "not_run"] == [
        ("membership.p", "Too few patients.")
    ]
    assert all(both(item.says) for item in found)


def test_evidence_the_board_must_take_up() -> None:
    by = ruled(downstream__loss=LOSS)
    assert cards.conditional([loss(0.07, by), loss(0.04, by), evidence("other.number", by)]) == (
        "downstream.loss",
        "other.number",
    )


def test_an_attachment_has_a_name() -> None:
    assert attachment("source.irb").ko.startswith("IRB")
    assert attachment("unknown.id") == Text("unknown.id", "unknown.id")


def test_every_document_the_policy_asks_for_is_one_of_the_scheme() -> None:
    from test_board_members import RULES

    known = {item.id for entry in indicators() for item in entry.attachments}
    for names in RULES.documents.model_dump().values():
        assert set(names) <= known
