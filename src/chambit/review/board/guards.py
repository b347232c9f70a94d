"""Guards of the process: each looks at the facts and says what is in the way, or None.

A guard answers one question only. Where its subject is missing it is silent, because another guard of the same step
asks for it; so each reason is told once.
"""

import datetime
from collections.abc import Callable, Iterable
from itertools import combinations

from chambit.review.board import ballot, conditions, questions
from chambit.review.board.ballot import Choice
from chambit.review.board.composition import composed
from chambit.review.board.facts import Examined, Facts
from chambit.review.board.rules import Rules
from chambit.review.board.scheme import attachment
from chambit.review.board.words import Unmet, listed, named, say, unmet

Guard = Callable[[Facts, Rules], Unmet | None]


def _if(bad: bool, name: str, **values: object) -> Unmet | None:
    return unmet(f"guards.{name}", **values) if bad else None


def _attached(wanted: Iterable[str], facts: Facts, name: str) -> Unmet | None:
    lacking = [item for item in wanted if item not in facts.attached]
    return _if(bool(lacking), name, documents=listed(attachment(item) for item in lacking))


# --- people


def creator_named(facts: Facts, _: Rules) -> Unmet | None:
    """Somebody is named who makes the set."""
    return _if(not facts.creators, "creator_named")


def approver_named(facts: Facts, _: Rules) -> Unmet | None:
    """Somebody is named who puts the decision into effect."""
    return _if(not facts.approvers, "approver_named")


def roles_differ(facts: Facts, _: Rules) -> Unmet | None:
    """Nobody is two of creator, reviewer and approver."""
    roles = (set(facts.creators), {item.member for item in facts.appointments}, set(facts.approvers))
    both = sorted({person for one, other in combinations(roles, 2) for person in one & other})
    return _if(bool(both), "roles_differ", people=listed(both))


def board_composed(facts: Facts, rules: Rules) -> Unmet | None:
    """The board is composed as the policy asks."""
    found = composed(facts.appointments, rules, facts.day)
    return _if(bool(found), "board_composed", problems=listed((item.reason for item in found), " "))


# --- documents


def purpose_documents(facts: Facts, rules: Rules) -> Unmet | None:
    """Purpose, prohibited uses, recipients and tier are stated."""
    return _attached(rules.documents.purpose, facts, "purpose_documents")


def source_documents(facts: Facts, rules: Rules) -> Unmet | None:
    """What is asked about the originals is attached."""
    return _attached(rules.documents.source, facts, "source_documents")


def process_documents(facts: Facts, rules: Rules) -> Unmet | None:
    """What is asked about the closed network and the people in it is attached."""
    return _attached(rules.documents.process, facts, "process_documents")


def review_documents(facts: Facts, rules: Rules) -> Unmet | None:
    """What the board must have before it is attached."""
    return _attached(rules.documents.review, facts, "review_documents")


def purpose_submitted(facts: Facts, _: Rules) -> Unmet | None:
    """The purpose was submitted."""
    return _if(not facts.submitted, "purpose_submitted")


def permits_hold(facts: Facts, _: Rules) -> Unmet | None:
    """Approvals of IRB and DRB, and licences, hold on the day."""
    valid = {item.name for item in facts.permits if item.holds_on(facts.day)}
    lacking = [name for name in facts.permits_needed if name not in valid]
    return _if(bool(lacking), "permits_hold", permits=listed(named("permits", name) for name in lacking), day=facts.day)


def reason_given(facts: Facts, rules: Rules) -> Unmet | None:
    """A reason is given in words."""
    return _if(len(facts.reason.strip()) < rules.reason_least, "reason_given", least=rules.reason_least)


def notice_written(facts: Facts, rules: Rules) -> Unmet | None:
    """The notice to those who received the set is written."""
    return _if(len(facts.notice.strip()) < rules.reason_least, "notice_written", least=rules.reason_least)


# --- criteria, generation, examination


def criteria_fixed(facts: Facts, _: Rules) -> Unmet | None:
    """The criteria were fixed, and it is known when."""
    return _if(not facts.criteria or facts.fixed is None, "criteria_fixed")


def criteria_older(facts: Facts, _: Rules) -> Unmet | None:
    """The criteria are older than the first measurement."""
    if facts.fixed is None:
        return None
    shown = facts.first_measured or "—"
    late = facts.first_measured is None or facts.fixed >= facts.first_measured
    return _if(late, "criteria_older", fixed=facts.fixed, measured=shown)


def criteria_same(facts: Facts, _: Rules) -> Unmet | None:
    """The evidence was judged by the criteria that were fixed."""
    return _if(bool(facts.criteria) and facts.judged_by != facts.criteria, "criteria_same")


def generation_recorded(facts: Facts, _: Rules) -> Unmet | None:
    """There is a record of the generation."""
    return _if(not facts.generation, "generation_recorded")


def candidate_named(facts: Facts, _: Rules) -> Unmet | None:
    """The release candidate is frozen: all samples are hashed."""
    return _if(not facts.candidate, "candidate_named")


def attempts_counted(facts: Facts, _: Rules) -> Unmet | None:
    """It is known which attempt this is."""
    return _if(facts.attempts < 1, "attempts_counted")


def utility_examined(facts: Facts, _: Rules) -> Unmet | None:
    """Utility was examined (3a)."""
    return _if(facts.utility is None, "utility_examined")


def safety_examined(facts: Facts, _: Rules) -> Unmet | None:
    """Safety was examined (3b)."""
    return _if(facts.safety is None, "safety_examined")


def same_candidate(facts: Facts, _: Rules) -> Unmet | None:
    """Utility and safety were examined on the release candidate as it is now."""
    other = [name for name in ("utility", "safety") if _other(getattr(facts, name), facts)]
    return _if(bool(other), "same_candidate", kinds=listed(named("examinations", name) for name in other))


def safety_same(facts: Facts, _: Rules) -> Unmet | None:
    """Safety was examined again on the set as released."""
    return _if(_other(facts.safety, facts), "safety_same")


def _other(examined: Examined | None, facts: Facts) -> bool:
    return examined is not None and bool(facts.candidate) and examined.candidate != facts.candidate


def safety_holds(facts: Facts, rules: Rules) -> Unmet | None:
    """The examination of safety came out as an approval asks."""
    bad = facts.safety is not None and facts.safety.verdict not in rules.approvable
    return _if(bad, "safety_holds", verdict=facts.safety.verdict if facts.safety else "")


def safety_not_failed(facts: Facts, rules: Rules) -> Unmet | None:
    """The examination of safety did not fail."""
    bad = facts.safety is not None and facts.safety.verdict not in rules.reviewable
    return _if(bad, "safety_not_failed", verdict=facts.safety.verdict if facts.safety else "")


def safety_fresh(facts: Facts, rules: Rules) -> Unmet | None:
    """The examination of safety is recent."""
    if facts.safety is None:
        return None
    finished = facts.safety.finished.date()
    old = not 0 <= (facts.day - finished).days <= rules.fresh_days
    return _if(old, "safety_fresh", finished=finished, most=rules.fresh_days)


def verdict_reviewable(facts: Facts, rules: Rules) -> Unmet | None:
    """The overall verdict is one a board may look at."""
    return _if(facts.verdict not in rules.reviewable, "verdict_reviewable", verdict=facts.verdict or "—")


def verdict_approvable(facts: Facts, rules: Rules) -> Unmet | None:
    """The overall verdict is one a board may approve."""
    return _if(facts.verdict not in rules.approvable, "verdict_approvable", verdict=facts.verdict or "—")


def dossier_present(facts: Facts, _: Rules) -> Unmet | None:
    """There is a dossier, and it speaks of the release candidate as it is now."""
    other = bool(facts.candidate) and facts.dossier_candidate != facts.candidate
    return _if(not facts.dossier or other, "dossier_present")


# --- votes and decision


def quorum_met(facts: Facts, rules: Rules) -> Unmet | None:
    """Enough members have voted on the release candidate as it is now."""
    return ballot.short_of_quorum(facts.count(rules))


def expertise_met(facts: Facts, rules: Rules) -> Unmet | None:
    """Somebody of each required field has voted."""
    return ballot.short_of_expertise(facts.count(rules))


def indicators_decided(facts: Facts, rules: Rules) -> Unmet | None:
    """The board has decided on each indicator."""
    return ballot.short_of_indicators(facts.count(rules))


def outcome_is(choice: Choice) -> Guard:
    """A guard: ballots, and the decision where there is one, say this."""

    def guard(facts: Facts, rules: Rules) -> Unmet | None:
        said = facts.count(rules).outcome
        if said is choice and facts.decision is not None:
            said = facts.decision.decision.outcome
        shown = named("choices", said) if said else named("choices", "none")
        return _if(said is not choice, "outcome_is", wanted=say(f"choices.{choice}"), said=shown)

    guard.__name__ = f"outcome_{choice.name.lower()}"
    return guard


def conditional_answered(facts: Facts, rules: Rules) -> Unmet | None:
    """Each CONDITIONAL piece of evidence is named by a vote or answered by a condition."""
    taken_up = {*facts.count(rules).keys, *(item.key for item in facts.conditions)}
    left = [key for key in facts.conditional if key not in taken_up]
    return _if(bool(left), "conditional_answered", keys=listed(left))


def questions_resolved(facts: Facts, _: Rules) -> Unmet | None:
    """No blocking question is open."""
    waiting = questions.blocking(facts.questions)
    return _if(bool(waiting), "questions_resolved", ids=listed(item.id for item in waiting))


def decision_signed(facts: Facts, _: Rules) -> Unmet | None:
    """There is a decision whose signatures were verified."""
    return _if(facts.decision is None, "decision_signed")


def decision_approves(facts: Facts, _: Rules) -> Unmet | None:
    """The decision is an approval."""
    if facts.decision is None:
        return None
    outcome = facts.decision.decision.outcome
    return _if(not outcome.approves, "decision_approves", said=say(f"choices.{outcome}"))


def decision_on_candidate(facts: Facts, _: Rules) -> Unmet | None:
    """The decision speaks of the release candidate as it is now."""
    if facts.decision is None or not facts.candidate:
        return None
    return _if(facts.decision.decision.digests.candidate != facts.candidate, "decision_on_candidate")


def decision_on_record(facts: Facts, rules: Rules) -> Unmet | None:
    """The decision rests on the evidence, policy, dossier and ballots that are on record."""
    if facts.decision is None:
        return None
    made, count = facts.decision.decision, facts.count(rules)
    on_record = {
        "evidence": made.digests.evidence == facts.evidence,
        "policy": made.digests.policy == facts.criteria,
        "dossier": made.digests.dossier == facts.dossier,
        "ballots": made.ballots == dict(zip(count.voted, count.ballots, strict=True)),
    }
    other = [named("records", name) for name, same in on_record.items() if not same]
    return _if(bool(other), "decision_on_record", records=listed(other))


def decision_in_review(facts: Facts, _: Rules) -> Unmet | None:
    """The decision was made in this review, not in an earlier one on the same release candidate."""
    if facts.decision is None:
        return None
    decided, opened = facts.decision.decision.decided, facts.review_opened
    return _if(opened is None or decided < opened, "decision_in_review", decided=decided, opened=opened or "—")


def review_on_candidate(facts: Facts, _: Rules) -> Unmet | None:
    """The review was opened on the release candidate as it is now."""
    return _if(bool(facts.candidate) and facts.review_candidate != facts.candidate, "review_on_candidate")


def decision_standing(facts: Facts, _: Rules) -> Unmet | None:
    """The decision is the one that was put into effect, and not another one signed since."""
    return _if(facts.decision is not None and facts.decision.digest != facts.standing, "decision_standing")


def approval_holds(facts: Facts, _: Rules) -> Unmet | None:
    """The approval has begun and is not over."""
    if facts.decision is None:
        return None
    begins, until = facts.decision.decision.begins, facts.decision.decision.until
    if begins is None or until is None:
        return None
    return _if(not begins <= facts.day <= until, "approval_holds", begins=begins, until=until, day=facts.day)


def conditions_as_decided(facts: Facts, _: Rules) -> Unmet | None:
    """The conditions on record are those that were signed."""
    if facts.decision is None:
        return None
    decided = sorted(item.terms for item in facts.decision.decision.conditions)
    return _if(sorted(item.terms for item in facts.conditions) != decided, "conditions_as_decided")


def conditions_closed(facts: Facts, _: Rules) -> Unmet | None:
    """Conditions that come before the release are closed."""
    waiting = [item.id for item in conditions.still_open(facts.conditions) if item.before_release]
    return _if(bool(waiting), "conditions_closed", ids=listed(waiting))


def conditions_in_time(facts: Facts, _: Rules) -> Unmet | None:
    """No condition on the use is overdue; those before the release block it anyway."""
    late = [item for item in conditions.overdue(facts.conditions, facts.day) if not item.before_release]
    return _if(bool(late), "conditions_in_time", ids=listed(f"{item.id} ({item.due})" for item in late))


# --- release and after


def package_built(facts: Facts, _: Rules) -> Unmet | None:
    """The package was built from the release candidate."""
    return _if(bool(facts.candidate) and facts.package_candidate != facts.candidate, "package_built")


def tier_agrees(facts: Facts, _: Rules) -> Unmet | None:
    """The package is for the tier that was decided."""
    if facts.decision is None:
        return None
    tier = facts.decision.decision.tier
    names = {"decided": named("tiers", tier or "none"), "given": named("tiers", facts.package_tier or "none")}
    return _if(facts.package_tier != tier, "tier_agrees", **names)


def reaudit_set(facts: Facts, rules: Rules) -> Unmet | None:
    """The day of the next re-audit is set, and is not too far off."""
    last = facts.day + datetime.timedelta(days=rules.reaudit_days_most)
    good = facts.reaudit_due is not None and facts.day < facts.reaudit_due <= last
    return _if(not good, "reaudit_set", last=last)


def reaudit_in_time(facts: Facts, rules: Rules) -> Unmet | None:
    """The re-audit is not overdue beyond the grace."""
    if facts.reaudit_due is None:
        return None
    last = facts.reaudit_due + datetime.timedelta(days=rules.reaudit_grace_days)
    return _if(facts.day > last, "reaudit_in_time", due=facts.reaudit_due, grace=rules.reaudit_grace_days)
