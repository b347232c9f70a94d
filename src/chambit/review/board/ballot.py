"""The votes of the board: one ballot of a member, and how ballots are counted.

A ballot has a vote for each of the six indicators and one for the whole. What a count says is the mildest outcome that
more than half of the votes ask for or would go beyond: approve, approve with conditions, return to stage 3, 2, 1. So a
tie goes to the stricter side. A rejection is final and needs more than half itself; a tie with it is a return to
stage 1. An indicator that does not meet, by the same rule, allows no approval; one that meets with conditions allows
none without. More than half is the default; the share is the policy's.
"""

import datetime
from collections.abc import Callable, Collection, Iterator, Sequence
from enum import StrEnum
from typing import Literal, Self

from pydantic import AwareDatetime, Field, model_validator

from chambit.core import digest
from chambit.core.evidence import Frozen
from chambit.review.board.composition import Appointment, barred, entitled
from chambit.review.board.rules import Rules
from chambit.review.board.words import Text, Unmet, listed, named, say, unmet

INDICATORS = (1, 2, 3, 4, 5, 6)
STAGE_OF = {1: 1, 2: 1, 3: 2, 4: 2, 5: 3, 6: 3}
"""The stage whose work an indicator asks about: preparation, generation, verification."""

Tier = Literal["", "safe_zone", "gated", "open"]
TIERS: tuple[Tier, ...] = ("", "safe_zone", "gated", "open")
"""Tiers of release, from closed to open; '' is no release."""


class Vote(StrEnum):
    """A member's vote on one indicator, from mild to strict; who abstains says neither."""

    MEETS = "meets"
    CONDITIONS = "meets_with_conditions"
    NOT = "does_not_meet"
    ABSTAINS = "abstains"


class Choice(StrEnum):
    """A member's vote on the whole, and the outcome of a count; from mild to strict."""

    APPROVE = "approve"
    CONDITIONS = "approve_with_conditions"
    RETURN_3 = "return_to_3"
    RETURN_2 = "return_to_2"
    RETURN_1 = "return_to_1"
    REJECT = "reject"

    @property
    def approves(self) -> bool:
        """Whether it lets the set be released, be it with conditions."""
        return self in (Choice.APPROVE, Choice.CONDITIONS)


class IndicatorVote(Frozen):
    """The vote on one indicator, the reason in words, and the evidence it rests on (keys or attachment ids)."""

    indicator: int = Field(ge=1, le=6)
    vote: Vote
    reason: str = ""
    keys: tuple[str, ...] = ()


class Ballot(Frozen):
    """All one member says about one release candidate.

    Attributes:
        member: pseudonymous id.
        candidate: digest of the release candidate it speaks of.
        cast: when, with time zone.
        indicators: one vote for each of the six.
        choice: the vote on the whole.
        reason: why, in words.
        wanted: conditions the member asks for.
        tier: the most open tier the member would allow.
        minority: an opinion for the record, should the member be in the minority.
    """

    member: str = Field(min_length=1)
    candidate: str = Field(pattern="^[0-9a-f]{64}$")
    cast: AwareDatetime
    indicators: tuple[IndicatorVote, ...]
    choice: Choice
    reason: str = ""
    wanted: tuple[str, ...] = ()
    tier: Tier = ""
    minority: str = ""

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        if tuple(sorted(item.indicator for item in self.indicators)) != INDICATORS:
            raise ValueError("a ballot has exactly one vote for each of the six indicators")
        return self

    @property
    def digest(self) -> str:
        """SHA-256 of the ballot."""
        return digest.of_json(self.model_dump(mode="json"))


class Tally(Frozen):
    """The votes on one indicator; the outcome is None where too few did not abstain."""

    indicator: int
    votes: dict[Vote, int]
    outcome: Vote | None


class Excluded(Frozen):
    """A ballot that was kept and not counted: whose, its digest, and why, as a code and in words."""

    member: str
    ballot: str
    code: str
    why: Text


class Opinion(Frozen):
    """An opinion for the record."""

    member: str
    choice: Choice
    text: str


class Count(Frozen):
    """What the ballots say about one release candidate.

    Attributes:
        candidate: digest of the release candidate.
        entitled: members who may vote.
        voted: members whose ballot counts.
        ballots: digests of these ballots, in the same order.
        needed: how many votes the quorum asks for.
        expertise_missing: required fields of which nobody without a conflict has voted.
        indicators: the votes on each indicator.
        choices: the votes on the whole.
        outcome: what follows from them, quorum or not; None without any vote.
        tied: whether exactly half stood against half, and the stricter side was taken.
        held_back: indicators that made the outcome stricter than the votes on the whole.
        tier: the most open tier that more than half would allow.
        keys: evidence that some counted vote names.
        excluded: ballots not counted, and why.
        opinions: minority opinions of those who voted otherwise than the outcome, as written.
    """

    candidate: str
    entitled: tuple[str, ...]
    voted: tuple[str, ...]
    ballots: tuple[str, ...]
    needed: int
    expertise_missing: tuple[str, ...]
    indicators: tuple[Tally, ...]
    choices: dict[Choice, int]
    outcome: Choice | None
    tied: bool
    held_back: tuple[int, ...]
    tier: Tier
    keys: tuple[str, ...]
    excluded: tuple[Excluded, ...]
    opinions: tuple[Opinion, ...]

    @property
    def quorum(self) -> bool:
        """Whether enough members have voted."""
        return len(self.voted) >= self.needed

    @property
    def undecided(self) -> tuple[int, ...]:
        """Indicators on which too many abstained."""
        return tuple(item.indicator for item in self.indicators if item.outcome is None)


def lacks(ballot: Ballot, rules: Rules) -> tuple[Unmet, ...]:
    """What a ballot still needs before it can be cast: reasons, evidence, conditions, tier, agreement with itself."""
    return tuple([*_of_votes(ballot, rules), *_of_choice(ballot, rules)])


def refused(
    ballot: Ballot,
    appointments: Sequence[Appointment],
    rules: Rules,
    *,
    candidate: str,
    creators: Collection[str],
    since: datetime.datetime | None = None,
) -> tuple[Unmet, ...]:
    """Why this ballot would not count, all reasons; nothing when it would. Arguments as for `counted`."""
    seat = next((item for item in appointments if item.member == ballot.member), None)
    creator = "creator" if ballot.member in creators else ""
    codes = [creator or ("not_appointed" if seat is None else barred(seat, rules, creators))]
    codes += ["other_candidate"] if ballot.candidate != candidate else []
    codes += ["earlier_review"] if since is not None and ballot.cast < since else []
    return tuple([*(unmet(f"excluded.{code}") for code in codes if code), *lacks(ballot, rules)])


def counted(
    ballots: Sequence[Ballot],
    appointments: Sequence[Appointment],
    rules: Rules,
    *,
    candidate: str,
    creators: Collection[str],
    since: datetime.datetime | None = None,
) -> Count:
    """Count the ballots on one release candidate.

    Args:
        ballots: all that were cast, in any order; the last one of a member counts and the earlier ones are kept.
        appointments: the board.
        rules: the rules of the policy.
        candidate: digest of the release candidate as it is now; ballots on another one are not counted.
        creators: who made or generated the set; none of them reviews it.
        since: when this review was opened, with time zone; ballots cast before it belong to an earlier one.
    """

    def fault(ballot: Ballot) -> tuple[Unmet, ...]:
        return refused(ballot, appointments, rules, candidate=candidate, creators=creators, since=since)

    valid, excluded = _sorted_out(ballots, fault)
    outcome, tied = _outcome([ballot.choice for ballot in valid], rules)
    tallies = tuple(_tally(number, valid, rules) for number in INDICATORS)
    held, held_back = _held_back(outcome, tallies)
    voted = tuple(ballot.member for ballot in valid)
    known = {field for item in appointments if item.member in voted and item.clear for field in item.expertise}
    may = entitled(appointments, rules, creators)
    return Count(
        candidate=candidate,
        entitled=may,
        voted=voted,
        ballots=tuple(ballot.digest for ballot in valid),
        needed=rules.votes_needed(len(may)),
        expertise_missing=tuple(field for field in rules.expertise if field not in known),
        indicators=tallies,
        choices={choice: sum(ballot.choice == choice for ballot in valid) for choice in Choice},
        outcome=held,
        tied=tied,
        held_back=held_back,
        tier=_tier(valid, rules),
        keys=tuple(sorted({key for ballot in valid for item in ballot.indicators for key in item.keys})),
        excluded=excluded,
        opinions=_opinions(valid, held),
    )


def short_of_quorum(count: Count) -> Unmet | None:
    """What to say when too few members have voted."""
    values = {"voted": len(count.voted), "entitled": len(count.entitled), "needed": count.needed}
    return None if count.quorum else unmet("guards.quorum_met", **values)


def short_of_expertise(count: Count) -> Unmet | None:
    """What to say when nobody of a required field has voted."""
    fields = listed(named("expertise", field) for field in count.expertise_missing)
    return unmet("guards.expertise_met", fields=fields) if count.expertise_missing else None


def short_of_indicators(count: Count) -> Unmet | None:
    """What to say when the board has not decided on an indicator."""
    numbers = listed(str(number) for number in count.undecided)
    return unmet("guards.indicators_decided", numbers=numbers) if count.undecided else None


def _of_votes(ballot: Ballot, rules: Rules) -> Iterator[Unmet]:
    for item in ballot.indicators:
        if item.vote is not Vote.MEETS and len(item.reason.strip()) < rules.reason_least:
            yield unmet("ballot.reason", number=item.indicator, least=rules.reason_least)
        if item.vote is not Vote.ABSTAINS and len(set(item.keys)) < rules.keys_least:
            yield unmet("ballot.keys", number=item.indicator, least=rules.keys_least)


def _of_choice(ballot: Ballot, rules: Rules) -> Iterator[Unmet]:
    if ballot.choice is not Choice.APPROVE and len(ballot.reason.strip()) < rules.reason_least:
        yield unmet("ballot.choice_reason", least=rules.reason_least)
    if ballot.choice is Choice.CONDITIONS and not any(text.strip() for text in ballot.wanted):
        yield unmet("ballot.wanted")
    if ballot.choice.approves and not ballot.tier:
        yield unmet("ballot.tier")
    votes = {item.vote: item.indicator for item in ballot.indicators}
    if ballot.choice.approves and Vote.NOT in votes:
        yield unmet("ballot.contradicts", number=votes[Vote.NOT], choice=say(f"choices.{ballot.choice}"))
    elif ballot.choice is Choice.APPROVE and Vote.CONDITIONS in votes:
        yield unmet("ballot.contradicts", number=votes[Vote.CONDITIONS], choice=say(f"choices.{ballot.choice}"))


def _sorted_out(
    ballots: Sequence[Ballot], fault: Callable[[Ballot], tuple[Unmet, ...]]
) -> tuple[list[Ballot], tuple[Excluded, ...]]:
    """Ballots that count, in the order they were cast, and those that do not."""
    last: dict[str, Ballot] = {}
    excluded = []
    for ballot in sorted(ballots, key=lambda ballot: ballot.cast):
        if found := fault(ballot):
            excluded.append(
                Excluded(member=ballot.member, ballot=ballot.digest, code=found[0].what, why=found[0].reason)
            )
        else:
            if before := last.pop(ballot.member, None):
                why = unmet("excluded.superseded").reason
                excluded.append(Excluded(member=before.member, ballot=before.digest, code="superseded", why=why))
            last[ballot.member] = ballot
    return list(last.values()), tuple(excluded)


def _outcome(choices: Sequence[Choice], rules: Rules) -> tuple[Choice | None, bool]:
    """The outcome of the votes on the whole, and whether there was a tie on the way to it."""
    running, tied = 0, False
    for choice in Choice:
        if choice is Choice.REJECT:
            break
        running += choices.count(choice)
        tied = tied or rules.is_tie(running, len(choices))
        if rules.is_majority(running, len(choices)):
            return choice, tied
    if not choices:
        return None, False
    rejected = rules.is_majority(choices.count(Choice.REJECT), len(choices))
    return (Choice.REJECT if rejected else Choice.RETURN_1), tied


def _tally(number: int, ballots: Sequence[Ballot], rules: Rules) -> Tally:
    cast = [item.vote for ballot in ballots for item in ballot.indicators if item.indicator == number]
    votes = {vote: cast.count(vote) for vote in Vote}
    voting = len(cast) - votes[Vote.ABSTAINS]
    outcome: Vote | None = None
    if rules.is_majority(voting, len(cast)):
        mild = rules.is_majority(votes[Vote.MEETS], voting)
        well = rules.is_majority(votes[Vote.MEETS] + votes[Vote.CONDITIONS], voting)
        outcome = Vote.MEETS if mild else Vote.CONDITIONS if well else Vote.NOT
    return Tally(indicator=number, votes=votes, outcome=outcome)


def _held_back(outcome: Choice | None, tallies: Sequence[Tally]) -> tuple[Choice | None, tuple[int, ...]]:
    """The outcome, made as strict as the indicators ask, and which of them did so."""
    if outcome is None:
        return None, ()
    floors = {item.indicator: _floor(item) for item in tallies}
    strictness = list(Choice)
    strictest = max([outcome, *floors.values()], key=strictness.index)
    if strictest == outcome:
        return outcome, ()
    return strictest, tuple(number for number, floor in floors.items() if floor == strictest)


def _floor(tally: Tally) -> Choice:
    if tally.outcome is Vote.NOT:
        return Choice(f"return_to_{STAGE_OF[tally.indicator]}")
    return Choice.CONDITIONS if tally.outcome is Vote.CONDITIONS else Choice.APPROVE


def _opinions(ballots: Sequence[Ballot], outcome: Choice | None) -> tuple[Opinion, ...]:
    return tuple(
        Opinion(member=ballot.member, choice=ballot.choice, text=ballot.minority)
        for ballot in ballots
        if ballot.minority.strip() and ballot.choice != outcome
    )


def _tier(ballots: Sequence[Ballot], rules: Rules) -> Tier:
    """The most open tier that more than half would allow; who does not approve allows none."""
    allowed = [TIERS.index(ballot.tier) if ballot.choice.approves else 0 for ballot in ballots]
    for place in range(len(TIERS) - 1, 0, -1):
        if rules.is_majority(sum(tier >= place for tier in allowed), len(allowed)):
            return TIERS[place]
    return ""
