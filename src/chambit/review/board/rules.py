"""The numbers the board is held to, read from the block `settings.board` of the policy."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, ValidationError

from chambit.core.errors import Problem, StudyError
from chambit.core.evidence import Frozen, Verdict
from chambit.review.policy import Policy

BLOCK = "board"

Days = Annotated[int, Field(ge=1)]
Least = Annotated[int, Field(ge=0)]


def _share(pair: tuple[int, int]) -> tuple[int, int]:
    part, whole = pair
    if not 0 < part <= whole:
        raise ValueError("a share is [part, whole] with 0 < part <= whole, for example [2, 3]")
    return pair


def _range(pair: tuple[int, int]) -> tuple[int, int]:
    if not 0 < pair[0] <= pair[1]:
        raise ValueError("a range is [least, most] with 0 < least <= most")
    return pair


Share = Annotated[tuple[int, int], AfterValidator(_share)]


class Documents(Frozen):
    """Which attachments of the indicators must be there before which step."""

    purpose: tuple[str, ...]
    source: tuple[str, ...]
    process: tuple[str, ...]
    review: tuple[str, ...]


class Rules(Frozen):
    """What a board must be and do.

    Shares are whole numbers [part, whole], so that four of six are two thirds and no rounding decides.

    Attributes:
        size: fewest and most members.
        outside_least: fewest members from outside the institution.
        subjects_least: fewest outside members who speak for the people the data are about.
        expertise: fields of which each needs a member without any conflict of interest.
        conflicts_excluded: kinds of conflict whose members do not vote.
        quorum: share of the members entitled to vote whose votes are needed.
        votes_least: fewest votes, whatever the quorum.
        majority: share of the votes that must be exceeded.
        reason_least: fewest letters of a written reason.
        keys_least: fewest pieces of evidence a vote names.
        reviewable: overall verdicts with which a review may begin.
        approvable: overall verdicts with which the board may approve.
        valid_days: how long an approval holds.
        condition_days_most: latest due day of a condition, in days after the decision.
        reaudit_days_most: latest day of the next re-audit, in days.
        reaudit_grace_days: days a re-audit may be overdue before use must be suspended.
        fresh_days: how old an examination of safety may be where a new one is asked for.
        signatures_least: fewest members who sign a decision.
        passphrase_least: fewest letters of the passphrase of a signing key.
        documents: which attachments must be there before which step.
    """

    size: Annotated[tuple[int, int], AfterValidator(_range)]
    outside_least: Least
    subjects_least: Least
    expertise: tuple[str, ...]
    conflicts_excluded: tuple[Literal["declared", "abstains"], ...]
    quorum: Share
    votes_least: Annotated[int, Field(ge=1)]
    majority: Share
    reason_least: Annotated[int, Field(ge=1)]
    keys_least: Least
    reviewable: tuple[Verdict, ...]
    approvable: tuple[Verdict, ...]
    valid_days: Days
    condition_days_most: Days
    reaudit_days_most: Days
    reaudit_grace_days: Least
    fresh_days: Days
    signatures_least: Annotated[int, Field(ge=1)]
    passphrase_least: Annotated[int, Field(ge=1)]
    documents: Documents

    def votes_needed(self, entitled: int) -> int:
        """How many of the members entitled to vote must have voted."""
        part, whole = self.quorum
        return max(-(-part * entitled // whole), self.votes_least)

    def is_majority(self, votes: int, of: int) -> bool:
        """Whether these are more than the share that must be exceeded; a tie is none."""
        part, whole = self.majority
        return votes * whole > part * of

    def is_tie(self, votes: int, of: int) -> bool:
        """Whether these are exactly the share that must be exceeded."""
        part, whole = self.majority
        return of > 0 and votes * whole == part * of


def read(policy: Policy) -> Rules:
    """The rules of the board in a policy.

    Raises:
        StudyError: when the policy has no such block, or it is not valid.
    """
    where = f"{policy.name} {policy.version}: settings.{BLOCK}"
    if BLOCK not in policy.settings:
        problem = Problem(where, "is missing, so the board has no rules", "include parts/board.yaml in the policy")
        raise StudyError("The policy says nothing about the board.", [problem])
    try:
        return Rules.model_validate(policy.settings[BLOCK])
    except ValidationError as error:
        found = [Problem(f"{where}.{'.'.join(map(str, item['loc']))}", item["msg"]) for item in error.errors()]
        raise StudyError("The rules of the board are not valid.", found) from None
