"""What is known about a record when an event is asked for. Guards read it; nothing in it is a judgement of its own."""

import datetime

from pydantic import AwareDatetime, Field

from chambit.core.evidence import Frozen, Verdict
from chambit.review.board import ballot
from chambit.review.board.ballot import Ballot, Count, Tier
from chambit.review.board.composition import Appointment
from chambit.review.board.conditions import Condition
from chambit.review.board.decision import Signed
from chambit.review.board.questions import Question
from chambit.review.board.rules import Rules


class Permit(Frozen):
    """An approval of another committee (IRB, DRB) or a licence: what it answers and its days; None is without end."""

    name: str = Field(min_length=1)
    begins: datetime.date | None = None
    until: datetime.date | None = None

    def holds_on(self, day: datetime.date) -> bool:
        """Whether it may be relied on that day."""
        return (self.begins is None or self.begins <= day) and (self.until is None or day <= self.until)


class Examined(Frozen):
    """An examination of one kind: the release candidate it looked at, its verdict, and when it was finished."""

    candidate: str
    verdict: Verdict
    finished: AwareDatetime


class Facts(Frozen):
    """All that guards look at.

    Attributes:
        day: the day to judge by.
        creators: ids of the people who made or generated the set.
        approvers: ids of the people who put the decision into effect.
        attached: ids of the attachments that are there.
        submitted: whether the purpose was submitted.
        permits_needed: names of the approvals the originals need.
        permits: the approvals there are.
        criteria: digest of the policy that was fixed.
        fixed: when it was fixed.
        first_measured: when the first measurement was made.
        judged_by: digest of the policy the evidence was judged by.
        generation: digest of the record of generation.
        candidate: digest of the release candidate as it is now.
        attempts: attempts that were counted.
        utility: the examination of utility (3a).
        safety: the examination of safety (3b).
        verdict: the overall verdict.
        evidence: digest of the evidence as it is now.
        conditional: keys of the evidence that is CONDITIONAL.
        dossier: digest of the dossier.
        dossier_candidate: the release candidate the dossier speaks of.
        review_opened: when this review was opened; ballots and decisions before it belong to an earlier one.
        review_candidate: the release candidate this review was opened on.
        appointments: the board.
        ballots: every ballot cast, old ones too.
        questions: every question.
        conditions: conditions of the decision, with their closings.
        decision: the decision, verified.
        standing: digest of the decision that the last event of deciding put into effect.
        package_candidate: the release candidate inside the package.
        package_tier: the tier the package is made for.
        reaudit_due: day of the next re-audit.
        reason: why, where an event needs a reason.
        notice: the notice to everybody who received the set.
    """

    day: datetime.date
    creators: tuple[str, ...] = ()
    approvers: tuple[str, ...] = ()
    attached: tuple[str, ...] = ()
    submitted: bool = False
    permits_needed: tuple[str, ...] = ()
    permits: tuple[Permit, ...] = ()
    criteria: str = ""
    fixed: AwareDatetime | None = None
    first_measured: AwareDatetime | None = None
    judged_by: str = ""
    generation: str = ""
    candidate: str = ""
    attempts: int = 0
    utility: Examined | None = None
    safety: Examined | None = None
    verdict: Verdict | None = None
    evidence: str = ""
    conditional: tuple[str, ...] = ()
    dossier: str = ""
    dossier_candidate: str = ""
    review_opened: AwareDatetime | None = None
    review_candidate: str = ""
    appointments: tuple[Appointment, ...] = ()
    ballots: tuple[Ballot, ...] = ()
    questions: tuple[Question, ...] = ()
    conditions: tuple[Condition, ...] = ()
    decision: Signed | None = None
    standing: str = ""
    package_candidate: str = ""
    package_tier: Tier = ""
    reaudit_due: datetime.date | None = None
    reason: str = ""
    notice: str = ""

    def count(self, rules: Rules) -> Count:
        """The ballots counted on the release candidate as it is now, so that older ones fall away by themselves."""
        return ballot.counted(
            self.ballots,
            self.appointments,
            rules,
            candidate=self.candidate,
            creators=self.creators,
            since=self.review_opened,
        )
