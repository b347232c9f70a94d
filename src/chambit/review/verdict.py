"""From findings to evidence, from evidence to the overall verdict.

Order of severity: FAIL, INVALID, NOT_RUN, CONDITIONAL, PASS. The overall verdict is the worst one; a required quantity
that nobody measured counts as NOT_RUN. Missing never passes.
"""

import operator
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from chambit.core.evidence import Evidence, Finding, Verdict
from chambit.review.policy import Condition, Policy, Rule

SEVERITY = (Verdict.PASS, Verdict.CONDITIONAL, Verdict.NOT_RUN, Verdict.INVALID, Verdict.FAIL)
_OPERATORS: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
}


class Overall(NamedTuple):
    """The verdict of a set and the evidence keys that decided it."""

    verdict: Verdict
    because: tuple[str, ...]


def judge(finding: Finding, policy: Policy) -> Evidence:
    """Give a finding its verdict.

    Without a rule a number is recorded but cannot pass: the verdict is CONDITIONAL and says so.
    """
    rule = policy.rules.get(finding.key)
    verdict, because, condition = _decide(finding, rule)
    line = f"{policy.name} {policy.version}: {_line(finding.key, rule)}"
    return Evidence(**finding.model_dump(), verdict=verdict, policy=line, because=because, condition=condition)


def missing(evidence: Iterable[Evidence], policy: Policy) -> list[Evidence]:
    """NOT_RUN entries for required quantities that no measure reported."""
    present = {item.key for item in evidence}
    return [
        judge(
            Finding(measure=key.split(".")[0], quantity=key.split(".")[1], value=None, direction="neither",
                    reason="The policy requires this and no measure of the study reports it."),
            policy,
        )
        for key in policy.required
        if key not in present
    ]  # fmt: skip


def overall(evidence: Iterable[Evidence]) -> Overall:
    """The worst verdict, and which evidence gave it."""
    items = list(evidence)
    if not items:
        return Overall(Verdict.NOT_RUN, ())
    worst = max(items, key=lambda item: SEVERITY.index(item.verdict)).verdict
    return Overall(worst, tuple(item.key for item in items if item.verdict == worst))


def _decide(finding: Finding, rule: Rule | None) -> tuple[Verdict, str, str]:
    if finding.value is None:
        return Verdict.NOT_RUN, finding.reason, ""
    if finding.control is not None and not finding.control.fired:
        control = finding.control
        return (
            Verdict.INVALID,
            f"control missed: {control.name}; expected {control.expected}; {control.observed}",
            "",
        )
    if rule is None:
        return Verdict.CONDITIONAL, "the policy has no rule for this quantity", "Add a rule to the policy."
    met, why = _hold(finding, rule.passes)
    if met:
        return Verdict.PASS, why, ""
    condition = rule.condition.get("en", "")
    if rule.conditional and _hold(finding, rule.conditional)[0]:
        return Verdict.CONDITIONAL, f"not met: {why}", condition
    return rule.otherwise, f"not met: {why}", condition if rule.otherwise == Verdict.CONDITIONAL else ""


def _hold(finding: Finding, conditions: tuple[Condition, ...]) -> tuple[bool, str]:
    """Whether all conditions hold, and the words: those that fail, or all when none does."""
    outcomes = [(holds(finding, condition), _words(finding, condition)) for condition in conditions]
    failed = [words for good, words in outcomes if not good]
    return not failed, "; ".join(failed or [words for _, words in outcomes])


def holds(finding: Finding, condition: Condition) -> bool:
    """Whether one condition of a rule holds; a missing number or limit does not."""
    value, limit = number_of(finding, condition.field), limit_of(finding, condition)
    return value is not None and limit is not None and _OPERATORS[condition.op](value, limit)


def limit_of(finding: Finding, condition: Condition) -> float | None:
    """The limit of a condition in numbers; None where it is another number of the finding, and that is missing."""
    limit = condition.limit if isinstance(condition.limit, float) else number_of(finding, condition.limit)
    return None if limit is None else limit * condition.times


def number_of(finding: Finding, name: str) -> float | None:
    """A number of a finding by its dotted name, None when it is missing."""
    value: Any = finding
    for part in name.split("."):
        value = value.get(part) if isinstance(value, dict) else getattr(value, part, None)
    return float(value) if isinstance(value, int | float) else None


def _words(finding: Finding, condition: Condition) -> str:
    limit = limit_of(finding, condition)
    source = "" if isinstance(condition.limit, float) else f" ({condition.limit}"
    if source:
        source += f" x {condition.times:g})" if condition.times != 1 else ")"
    value = number_of(finding, condition.field)
    shown = "missing" if value is None else f"{value:.4g}"
    return f"{condition.field} {shown} {condition.op} {'missing' if limit is None else f'{limit:.4g}'}{source}"


def _line(key: str, rule: Rule | None) -> str:
    if rule is None:
        return f"no rule for {key}"
    parts = [f"{c.field} {c.op} {c.limit}" + (f" x {c.times:g}" if c.times != 1 else "") for c in rule.passes]
    return f"{key} passes when {' and '.join(parts)}. Source: {rule.source}"
