"""From findings to the verdict: every kind of verdict, the grammar of conditions, what a policy file must hold."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from chambit.core.errors import StudyError
from chambit.core.evidence import Band, Control, Evidence, Finding, Interval, Verdict
from chambit.core.steps import Context
from chambit.measure.examination import Result
from chambit.pipeline import examining
from chambit.review import policy
from chambit.review.policy import Policy
from chambit.review.verdict import SEVERITY, judge, missing, overall
from examinations import POLICY, SMALL, cohorts, measure, patients, workplace

PASS, CONDITIONAL, NOT_RUN, INVALID, FAIL = (
    Verdict.PASS,
    Verdict.CONDITIONAL,
    Verdict.NOT_RUN,
    Verdict.INVALID,
    Verdict.FAIL,
)
SOURCE = "a source"


def _policy(**rule: Any) -> Policy:
    """A policy with one rule, for x.y."""
    return _whole({"x.y": {"source": SOURCE} | rule})


def _whole(rules: dict[str, Any], required: list[str] | None = None) -> Policy:
    return Policy.model_validate(
        {"name": "p", "version": 3, "margins": {}, "settings": {}, "required": required or [], "rules": rules}
    )


def _finding(value: float | None = 1.0, **more: Any) -> Finding:
    return Finding(**({"measure": "x@1", "quantity": "y", "value": value, "direction": "lower"} | more))


def _interval(low: float, high: float) -> Interval:
    return Interval(low=low, high=high, level=0.95, method="m")


BELOW = {"field": "value", "op": "<", "limit": 2}


# --- verdicts


def test_pass_says_with_which_numbers() -> None:
    evidence = judge(_finding(1.25), _policy(**{"pass": [BELOW]}))
    assert evidence.verdict is PASS
    assert evidence.because == "value 1.25 < 2"
    assert evidence.policy == "p 3: x.y passes when value < 2.0. Source: a source"
    assert evidence.condition == ""


def test_fail_is_what_is_neither_met_nor_conditional() -> None:
    rule = _policy(**{"pass": [BELOW]}, conditional=[BELOW | {"limit": 5}], condition={"en": "Look.", "ko": "확인"})
    verdicts = [judge(_finding(value), rule).verdict for value in (1, 2, 4.9, 5)]
    assert verdicts == [PASS, CONDITIONAL, CONDITIONAL, FAIL]
    assert [judge(_finding(value), rule).condition for value in (1, 3, 7)] == ["", "Look.", ""]
    assert judge(_finding(3.0), rule).because == "not met: value 3 < 2"


@pytest.mark.parametrize("otherwise", [CONDITIONAL, NOT_RUN, INVALID, FAIL])
def test_otherwise_is_the_rules_word(otherwise: Verdict) -> None:
    evidence = judge(_finding(3.0), _policy(**{"pass": [BELOW]}, otherwise=otherwise, condition={"en": "Look."}))
    assert evidence.verdict is otherwise
    assert evidence.condition == ("Look." if otherwise is CONDITIONAL else "")


def test_no_value_is_not_run_with_its_reason() -> None:
    evidence = judge(_finding(None, reason="no patients"), _policy(**{"pass": [BELOW]}))
    assert (evidence.verdict, evidence.because) == (NOT_RUN, "no patients")
    assert judge(_finding(None), _whole({})).verdict is NOT_RUN


def test_a_missed_control_is_invalid_whatever_the_number() -> None:
    control = Control(name="planted", expected="20", observed="3 found", fired=False)
    evidence = judge(_finding(1.0, control=control), _policy(**{"pass": [BELOW]}))
    assert evidence.verdict is INVALID
    assert all(word in evidence.because for word in ("planted", "20", "3 found"))
    assert judge(_finding(1.0, control=control), _whole({})).verdict is INVALID
    assert judge(_finding(None, control=control), _policy(**{"pass": [BELOW]})).verdict is NOT_RUN
    fired = control.model_copy(update={"fired": True})
    assert judge(_finding(1.0, control=fired), _policy(**{"pass": [BELOW]})).verdict is PASS


def test_a_number_without_a_rule_is_conditional_and_says_so() -> None:
    evidence = judge(_finding(0.0), _whole({}))
    assert evidence.verdict is CONDITIONAL
    assert "no rule" in evidence.because
    assert evidence.condition
    assert "x.y" in evidence.policy


def test_evidence_keeps_all_of_the_finding() -> None:
    finding = _finding(1.0, n={"images": 3}, null=0.5, details={"a": [1]}, inputs={"train": "00"})
    evidence = judge(finding, _policy(**{"pass": [BELOW]}))
    assert Finding.model_validate(evidence.model_dump(include=set(Finding.model_fields))) == finding


# --- the grammar of conditions

FULL = _finding(
    4.0,
    interval=_interval(1, 8),
    null=3.0,
    band=Band(low=1, middle=2, high=3, draws=9, n=5),
    n={"images": 7},
    details={"margin": 4.0, "word": "many", "yes": True, "deep": {"er": 5}},
)


@pytest.mark.parametrize(
    ("field", "op", "limit", "times", "holds"),
    [
        ("value", "<", 4, 1, False),
        ("value", "<=", 4, 1, True),
        ("value", ">", 4, 1, False),
        ("value", ">=", 4, 1, True),
        ("value", "==", 4, 1, True),
        ("value", "==", 4.1, 1, False),
        ("interval.high", "<", 9, 1, True),
        ("interval.low", ">", 1, 1, False),
        ("value", "<=", "details.margin", 1, True),
        ("value", "<", "details.margin", 1, False),
        ("value", "<", "details.margin", 2, True),
        ("interval.high", "<", "details.margin", 2, False),
        ("value", ">", "band.high", 1, True),
        ("value", "<=", "band.high", 2, True),
        ("value", ">=", "null", 1, True),
        ("value", "<", 3, 2, True),
        ("n.images", "==", 7, 1, True),
        ("details.deep.er", "==", 5, 1, True),
        # what is not there, or is no number, holds nothing
        ("details.absent", "<", 9, 1, False),
        ("details.absent", ">", -9, 1, False),
        ("details.word", "<", 9, 1, False),
        ("value", "<", "details.absent", 1, False),
        ("value", ">", "details.absent", 1, False),
        ("value", "==", "details.word", 1, False),
        ("interval.method", "==", 0, 1, False),
        ("control.fired", "==", 0, 1, False),
        ("nonsense", "<", 9, 1, False),
    ],
)
def test_a_condition_compares_a_field_with_a_number_or_a_field(
    field: str, op: str, limit: float | str, times: float, holds: bool
) -> None:
    rule = _policy(**{"pass": [{"field": field, "op": op, "limit": limit, "times": times}]})
    assert (judge(FULL, rule).verdict is PASS) is holds


def test_all_conditions_must_hold_and_those_that_fail_are_named() -> None:
    below, margin = BELOW | {"limit": 9}, {"field": "interval.high", "op": "<", "limit": "details.margin", "times": 1.5}
    evidence = judge(FULL, _policy(**{"pass": [below, margin, {"field": "details.no", "op": ">", "limit": 0}]}))
    assert evidence.verdict is FAIL
    assert evidence.because == "not met: interval.high 8 < 6 (details.margin x 1.5); details.no missing > 0"


def test_an_interval_that_is_missing_does_not_pass() -> None:
    rule = _policy(**{"pass": [{"field": "interval.high", "op": "<", "limit": 9}]})
    assert judge(_finding(1.0), rule).verdict is FAIL


# --- the whole


def _evidence(verdict: Verdict, quantity: str = "y") -> Evidence:
    return Evidence(**_finding(quantity=quantity).model_dump(), verdict=verdict, policy="", because="")


def test_the_order_of_severity() -> None:
    assert SEVERITY == (PASS, CONDITIONAL, NOT_RUN, INVALID, FAIL)


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        ([PASS, PASS], PASS),
        ([PASS, CONDITIONAL, PASS], CONDITIONAL),
        ([CONDITIONAL, NOT_RUN], NOT_RUN),
        ([NOT_RUN, CONDITIONAL], NOT_RUN),
        ([NOT_RUN, INVALID, CONDITIONAL], INVALID),
        ([INVALID, FAIL, NOT_RUN], FAIL),
        (list(Verdict), FAIL),
        ([], NOT_RUN),
    ],
)
def test_the_overall_verdict_is_the_worst(verdicts: list[Verdict], expected: Verdict) -> None:
    got = overall([_evidence(verdict, f"q{k}") for k, verdict in enumerate(verdicts)])
    assert got.verdict is expected
    assert got.because == tuple(f"x.q{k}" for k, verdict in enumerate(verdicts) if verdict is expected)


def test_what_is_required_and_nobody_reported_is_not_run() -> None:
    rules = {"x.y": {"pass": [BELOW], "source": SOURCE}, "x.z": {"pass": [BELOW], "source": SOURCE}}
    asked = _whole(rules, ["x.y", "x.z"])
    evidence = [judge(_finding(1.0), asked)]
    assert overall(evidence).verdict is PASS
    (added,) = missing(evidence, asked)
    assert (added.key, added.verdict, added.value) == ("x.z", NOT_RUN, None)
    assert added.because
    assert overall([*evidence, added]).verdict is NOT_RUN
    assert missing([*evidence, added], asked) == []


def test_nothing_at_all_misses_everything_that_the_policy_requires() -> None:
    added = missing([], POLICY)
    assert tuple(item.key for item in added) == POLICY.required
    assert overall(added).verdict is NOT_RUN


# --- the policy that we ship


def test_every_required_key_has_a_rule() -> None:
    assert set(POLICY.required) <= set(POLICY.rules)
    assert len(set(POLICY.required)) == len(POLICY.required)
    assert {"copies.exact", "membership.p", "downstream.loss", "split.overlap"} <= set(POLICY.required)


@pytest.mark.parametrize("key", POLICY.rules)
def test_every_rule_has_a_source_and_both_languages(key: str) -> None:
    rule = POLICY.rules[key]
    assert rule.source.strip()
    assert rule.passes
    assert re.fullmatch(r"[a-z_]+\.[a-z_]+", key)
    assert bool(rule.condition) == (bool(rule.conditional) or rule.otherwise is CONDITIONAL)
    if rule.condition:
        assert re.search("[가-힣]", rule.condition["ko"])
        assert re.search("[A-Za-z]{3}", rule.condition["en"])
        assert not re.search("[가-힣]", rule.condition["en"])


def test_every_margin_has_a_source() -> None:
    assert POLICY.margins
    assert all(margin.source.strip() and margin.value > 0 for margin in POLICY.margins.values())


def test_whatever_fails_the_stricter_condition_may_still_meet_the_wider_one() -> None:
    """No second line that is narrower than the first: it could never be reached."""
    for key, rule in POLICY.rules.items():
        for first, second in zip(rule.passes, rule.conditional, strict=False):
            assert (first.field, first.op) == (second.field, second.op), key
            one, two = (c.times * (c.limit if isinstance(c.limit, float) else 1) for c in (first, second))
            wider = two > one if first.op.startswith("<") else two < one
            # the same line once more is wider where the first asks for something beside it
            assert wider or (two == one and len(rule.passes) > len(rule.conditional)), key


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Context]:
    with workplace(tmp_path_factory.mktemp("verdict")) as made:
        yield made


@pytest.mark.parametrize("name", examining.kinds())
def test_every_quantity_of_a_measure_has_a_rule_that_can_be_met(name: str, context: Context) -> None:
    """Each field that a rule names is there and is a number; and each measure, given nothing, says NOT_RUN."""
    if name not in SMALL:
        pytest.fail(f"the tests have no settings for the measure {name}: add it to examinations.SMALL")
    changes = {"downstream": {"steps": 1, "seeds": 1}, "copies": {"plants": 3}}.get(name, {})
    given = cohorts(90, synthetic=40) | {"test": patients(60, 91, "v")}
    result: Result = measure(context, name, given, **changes)
    if name in ("segmentation", "temporal"):  # these have no masks and no frames; with them in tests of their own
        assert {finding.value for finding in result.findings} == {None}
        return
    # without donors, probes, or a step of refinement, these have nothing to say; with them in test_composition,
    # test_privacy, test_shortcuts, test_making_measures, test_resolution and test_completeness
    silent = ("composition", "privacy_audit", "refinement", "colour", "rivals", "resolution", "completeness")
    assert result.findings or name in silent
    for finding in result.findings:
        assert finding.key in POLICY.rules
        assert finding.value is not None
        assert finding.n
        assert finding.inputs
        assert finding.interval is not None or float(finding.value).is_integer()
        evidence = judge(finding, POLICY)
        assert "missing" not in evidence.because
        assert context.store.put_json(evidence.model_dump(mode="json"))  # refuses what is no number


@pytest.mark.parametrize("name", examining.kinds())
def test_the_policy_has_the_settings_of_every_measure(name: str) -> None:
    assert examining.options_of(name, POLICY, 0.05, {}) is not None


def _numbers(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where the numbers of a nested record lie."""
    if isinstance(value, dict | list):
        for key, part in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _numbers(part, (*path, key))
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield path


def test_the_digest_changes_with_every_number() -> None:
    raw = POLICY.model_dump(mode="json", by_alias=True)
    assert Policy.model_validate(raw).digest == POLICY.digest
    seen = {POLICY.digest}
    places = list(_numbers(raw))
    assert len(places) > 60
    for path in places:
        changed = POLICY.model_dump(mode="json", by_alias=True)
        place = changed
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] += 1
        seen.add(Policy.model_validate(changed).digest)
    assert len(seen) == len(places) + 1


def test_the_digest_changes_with_a_word() -> None:
    raw = POLICY.model_dump(mode="json", by_alias=True)
    raw["rules"]["copies.exact"]["source"] += "."
    assert Policy.model_validate(raw).digest != POLICY.digest


# --- policy files

MARGINS = {"auroc": {"value": 0.05, "source": SOURCE}}
GOOD = {"name": "mine", "version": 1, "margins": MARGINS, "settings": {}, "required": [], "rules": {}}


def test_a_policy_beside_the_study_is_read(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(GOOD), encoding="utf-8")
    assert policy.load("mine.yaml", tmp_path).name == "mine"
    assert policy.load(str(tmp_path / "mine.yaml")).name == "mine"


def _rule(**changes: Any) -> dict[str, Any]:
    return GOOD | {"rules": {"x.y": {"pass": [BELOW], "source": SOURCE} | changes}}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "- a list",
        "name: [",
        yaml.safe_dump({key: value for key, value in GOOD.items() if key != "rules"}),
        yaml.safe_dump(GOOD | {"extra": 1}),
        yaml.safe_dump(GOOD | {"version": "first"}),
        yaml.safe_dump(_rule(**{"pass": [BELOW | {"op": "!="}]})),
        yaml.safe_dump(_rule(**{"pass": [{"field": "value", "op": "<"}]})),
        yaml.safe_dump(_rule(otherwise="MAYBE")),
        yaml.safe_dump(_rule(condition={"de": "Schauen."})),
        yaml.safe_dump(GOOD | {"rules": {"x.y": {"pass": [BELOW]}}}),  # no source
        yaml.safe_dump(GOOD | {"margins": {"auroc": {"value": 0.05}}}),
        yaml.safe_dump(GOOD | {"margins": {"auroc": {"value": float("nan"), "source": SOURCE}}}),
    ],
)
def test_a_policy_that_is_none_is_an_error_that_names_the_file(tmp_path: Path, text: str) -> None:
    (tmp_path / "broken.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(StudyError, match="not valid") as caught:
        policy.load("broken.yaml", tmp_path)
    assert "broken.yaml" in str(caught.value)


def test_a_policy_that_lacks_what_a_study_needs_names_all_of_it(tmp_path: Path) -> None:
    (tmp_path / "short.yaml").write_text(yaml.safe_dump(GOOD | {"margins": {}, "required": ["copies.rate"]}))
    with pytest.raises(StudyError, match=r"margins\.auroc") as caught:
        policy.load("short.yaml", tmp_path)
    assert "`copies.rate` is required and has no rule" in str(caught.value)


def test_a_policy_that_is_not_there_is_an_error_that_names_it_and_those_there_are(tmp_path: Path) -> None:
    for name in ("nowhere.yaml", "."):
        with pytest.raises(StudyError, match="cannot be read") as caught:
            policy.load(name, tmp_path)
        assert f"policy: {name}" in str(caught.value)
        assert "default" in str(caught.value)


def test_a_policy_in_another_encoding_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "broken.yaml").write_bytes("name: 기본\n".encode("cp949"))
    with pytest.raises(StudyError, match=r"broken\.yaml"):
        policy.load("broken.yaml", tmp_path)


def test_a_rule_without_conditions_does_not_pass(tmp_path: Path) -> None:
    (tmp_path / "open.yaml").write_text(yaml.safe_dump(_rule(**{"pass": []})), encoding="utf-8")
    try:
        loaded = policy.load("open.yaml", tmp_path)
    except StudyError:
        return
    assert judge(_finding(1e9), loaded).verdict is not PASS


def test_a_required_key_that_cannot_be_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "odd.yaml").write_text(yaml.safe_dump(GOOD | {"required": ["copies"]}), encoding="utf-8")
    try:
        loaded = policy.load("odd.yaml", tmp_path)
    except StudyError:
        return
    assert missing([], loaded)


def test_files_that_a_policy_includes_are_part_of_it(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text("name: p\ninclude: [more.yaml]\nsettings: {one: {a: 1}}\n", encoding="utf-8")
    (tmp_path / "more.yaml").write_text("settings: {two: {b: 2}}\n", encoding="utf-8")
    assert policy.merged(tmp_path / "p.yaml") == {"name": "p", "settings": {"one": {"a": 1}, "two": {"b": 2}}}
    for content, said in (
        ("settings: {one: {a: 5}}", "`settings.one` is set twice"),
        ("rules", "not keys with values"),
    ):
        (tmp_path / "more.yaml").write_text(content, encoding="utf-8")
        with pytest.raises(StudyError) as error:
            policy.load("p.yaml", tmp_path)
        assert error.value.problems[0].where == "more.yaml"
        assert said in error.value.problems[0].what
    (tmp_path / "more.yaml").unlink()
    with pytest.raises(StudyError, match="cannot be read"):
        policy.load("p.yaml", tmp_path)
