"""The decision of a board: one document that holds all it rests on, signed by its members.

The document is an in-toto Statement, version 1, whose subject is the release candidate and whose predicate is the
`Decision`, in canonical JSON inside a DSSE envelope. Each decision names the one before it by the digest of its
statement. Names of people are not in it, ids of members are.
"""

import datetime
import json
from collections.abc import Collection, Iterator, Sequence
from typing import Annotated, NamedTuple, Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import AwareDatetime, Field, ValidationError, model_validator

from chambit.core import digest
from chambit.core.evidence import Frozen
from chambit.review.board import ballot, conditions, dsse, questions
from chambit.review.board.ballot import TIERS, Ballot, Choice, Count, Excluded, Opinion, Tally, Tier
from chambit.review.board.composition import Appointment, composed
from chambit.review.board.conditions import Condition
from chambit.review.board.dsse import Envelope
from chambit.review.board.keys import KnownKey, key_id
from chambit.review.board.questions import Question
from chambit.review.board.rules import Rules
from chambit.review.board.words import BoardError, Unmet, listed, say, unmet

PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "urn:chambit:review:board-decision:1"
SUBJECT = "release-candidate"
FIRST = "0" * 64
"""What the first decision has in place of the one before it."""

Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class Digests(Frozen):
    """What a decision rests on, by SHA-256: study, policy, evidence, dossier, and the release candidate."""

    study: Digest
    policy: Digest
    evidence: Digest
    dossier: Digest
    candidate: Digest


class Seat(Frozen):
    """A member as the decision names it: id, fields, and the statement on conflicts."""

    member: str
    expertise: tuple[str, ...]
    outside: bool
    subjects: bool
    conflict: str
    pledged: datetime.date
    voted: bool


class Decision(Frozen):
    """All a board decided, and on what.

    Attributes:
        digests: what it rests on.
        attempt: how many attempts of this study there have been.
        board: every member.
        ballots: digest of each counted ballot, by member.
        excluded: ballots that were kept and not counted.
        needed: votes the quorum asked for.
        tallies: votes on each indicator.
        choices: votes on the whole.
        outcome: what was decided.
        conditions: what must be done, without closings.
        opinions: minority opinions.
        questions: digest of all questions and answers.
        tier: the tier of release; '' where nothing is approved.
        begins: first day of an approval.
        until: last day of an approval.
        decided: when, with time zone.
        previous: digest of the statement before this one.
    """

    digests: Digests
    attempt: int = Field(ge=1)
    board: tuple[Seat, ...]
    ballots: dict[str, Digest]
    excluded: tuple[Excluded, ...]
    needed: int
    tallies: tuple[Tally, ...]
    choices: dict[Choice, int]
    outcome: Choice
    conditions: tuple[Condition, ...]
    opinions: tuple[Opinion, ...]
    questions: Digest
    tier: Tier
    begins: datetime.date | None
    until: datetime.date | None
    decided: AwareDatetime
    previous: Digest

    @model_validator(mode="after")
    def _whole(self) -> Self:
        dated = self.begins is not None and self.until is not None and self.begins <= self.until
        if self.outcome.approves != (dated and self.tier != ""):
            raise ValueError("an approval, and nothing else, has a tier and a first and a last day")
        return self


class Meeting(NamedTuple):
    """What a board had before it when it decided; `since` is when the review was opened."""

    digests: Digests
    attempt: int
    appointments: Sequence[Appointment]
    ballots: Sequence[Ballot]
    creators: Collection[str]
    questions: Sequence[Question] = ()
    since: datetime.datetime | None = None


class _Terms(NamedTuple):
    decided: datetime.datetime
    tier: Tier
    conditions: Sequence[Condition]
    previous: str


class Signed(Frozen):
    """A decision whose signatures were verified: its digest, and the members who signed. Made by `verified`."""

    decision: Decision
    digest: Digest
    signers: tuple[str, ...]


def document(
    meeting: Meeting,
    rules: Rules,
    *,
    decided: datetime.datetime,
    tier: Tier = "",
    set_conditions: Sequence[Condition] = (),
    previous: str = FIRST,
) -> Decision:
    """The decision that follows from the ballots.

    Args:
        meeting: what the board had before it.
        rules: the rules of the policy.
        decided: when, with time zone.
        tier: the tier of release, never more open than the votes allow.
        set_conditions: the conditions, where the outcome is an approval with conditions.
        previous: digest of the statement before this one.

    Raises:
        BoardError: with everything that stands in the way of signing.
    """
    count = ballot.counted(
        meeting.ballots,
        meeting.appointments,
        rules,
        candidate=meeting.digests.candidate,
        creators=meeting.creators,
        since=meeting.since,
    )
    terms = _Terms(decided, tier, set_conditions, previous)
    found = [*_unready(meeting, count, rules, decided.date()), *_of_terms(count, terms, rules)]
    if found or count.outcome is None:
        raise BoardError(say("errors.decision"), found)
    return _decision(meeting, count, count.outcome, terms, rules)


def statement(decision: Decision) -> bytes:
    """The decision as an in-toto Statement, in canonical JSON."""
    record = {
        "_type": STATEMENT,
        "subject": [{"name": SUBJECT, "digest": {"sha256": decision.digests.candidate}}],
        "predicateType": PREDICATE,
        "predicate": decision.model_dump(mode="json"),
    }
    return digest.canonical(record).encode()


def envelope(decision: Decision) -> Envelope:
    """The decision ready to be signed."""
    return dsse.sealed(PAYLOAD_TYPE, statement(decision))


def signed(unsigned: Envelope, key: Ed25519PrivateKey, known: Sequence[KnownKey]) -> Envelope:
    """The envelope with one member's signature more, after the signatures on it were verified.

    Raises:
        BoardError: when the key is not known to be that of a member who voted, or something was changed before.
    """
    decision, _ = _opened(unsigned, known)
    owner = next((item for item in known if item.id == key_id(key.public_key())), None)
    if owner is None:
        raise BoardError(say("errors.signing"), [unmet("signatures.own_key_unknown")])
    found = list(_of_signers(decision, [owner]))
    if found:
        raise BoardError(say("errors.signing"), found)
    return dsse.signed(unsigned, key)


def verified(
    given: Envelope,
    known: Sequence[KnownKey],
    rules: Rules,
    *,
    day: datetime.date | None = None,
    candidate: str = "",
) -> Signed:
    """The decision in an envelope, when it may be relied on.

    Args:
        given: the envelope.
        known: public keys of members.
        rules: the rules of the policy; they say how many must have signed.
        day: where given, an approval must hold on that day.
        candidate: where given, the release candidate it must speak of.

    Raises:
        BoardError: with everything that is wrong: changed, unknown key, expired, too few signatures.
    """
    decision, keys = _opened(given, known)
    found = list(_of_signers(decision, keys))
    signers = tuple(dict.fromkeys(key.member for key in keys))
    if len(signers) < rules.signatures_least:
        found.append(unmet("signatures.too_few", signers=len(signers), least=rules.signatures_least))
    if day is not None and decision.until is not None and day > decision.until:
        found.append(unmet("signatures.expired", until=decision.until, day=day))
    if candidate and decision.digests.candidate != candidate:
        found.append(unmet("signatures.other_candidate"))
    if found:
        raise BoardError(say("errors.envelope"), found)
    return Signed(decision=decision, digest=digest.of_bytes(given.body), signers=signers)


def chained(decisions: Sequence[Signed]) -> tuple[Unmet, ...]:
    """Where decisions, in their order, do not each follow from the one before; nothing when they do."""
    before = [FIRST, *(item.digest for item in decisions)]
    return tuple(
        unmet("signatures.chain", number=number)
        for number, (item, expected) in enumerate(zip(decisions, before, strict=False), start=1)
        if item.decision.previous != expected
    )


def _unready(meeting: Meeting, count: Count, rules: Rules, day: datetime.date) -> Iterator[Unmet]:
    """What stands in the way of any decision, or of this one."""
    yield from composed(meeting.appointments, rules, day)
    if count.outcome is None:
        yield unmet("decision.no_votes")
        return
    yield from (item for item in (ballot.short_of_quorum(count), ballot.short_of_expertise(count)) if item)
    if count.outcome.approves:
        if short := ballot.short_of_indicators(count):
            yield short
        if waiting := questions.blocking(meeting.questions):
            yield unmet("guards.questions_resolved", ids=listed(item.id for item in waiting))


def _of_terms(count: Count, terms: _Terms, rules: Rules) -> Iterator[Unmet]:
    """What is wrong with the conditions or the tier."""
    tier, wanted = terms.tier, terms.conditions
    yield from conditions.lacks(wanted, rules, terms.decided.date())
    outcome = count.outcome
    if outcome is Choice.CONDITIONS and not wanted:
        yield unmet("decision.conditions_missing")
    if outcome is not Choice.CONDITIONS and wanted:
        yield unmet("decision.conditions_without")
    if outcome is None or not outcome.approves:
        return
    if not tier:
        yield unmet("decision.tier_missing")
    elif TIERS.index(tier) > TIERS.index(count.tier):
        yield unmet("decision.tier_too_open", tier=say(f"tiers.{tier}"), allowed=say(f"tiers.{count.tier or 'none'}"))


def _decision(meeting: Meeting, count: Count, outcome: Choice, terms: _Terms, rules: Rules) -> Decision:
    approves, day = outcome.approves, terms.decided.date()
    return Decision(
        digests=meeting.digests,
        attempt=meeting.attempt,
        board=tuple(_seat(item, count.voted) for item in meeting.appointments),
        ballots=dict(zip(count.voted, count.ballots, strict=True)),
        excluded=count.excluded,
        needed=count.needed,
        tallies=count.indicators,
        choices=count.choices,
        outcome=outcome,
        conditions=tuple(terms.conditions),
        opinions=count.opinions,
        questions=questions.digest_of(meeting.questions),
        tier=terms.tier if approves else "",
        begins=day if approves else None,
        until=day + datetime.timedelta(days=rules.valid_days) if approves else None,
        decided=terms.decided,
        previous=terms.previous,
    )


def _seat(item: Appointment, voted: Collection[str]) -> Seat:
    # `composed` has made sure that there are a statement and a pledge
    assert item.conflict is not None
    assert item.pledged is not None
    taken = item.model_dump(include={"member", "expertise", "outside", "subjects", "pledged"})
    return Seat(**taken, conflict=item.conflict.kind, voted=item.member in voted)


def _opened(given: Envelope, known: Sequence[KnownKey]) -> tuple[Decision, tuple[KnownKey, ...]]:
    body, keys = dsse.opened(given, known)
    if given.payload_type != PAYLOAD_TYPE:
        raise BoardError(say("errors.envelope"), [unmet("signatures.payload_type", given=given.payload_type)])
    try:
        decision = Decision.model_validate(json.loads(body)["predicate"])
    except (ValueError, RecursionError, KeyError, TypeError, ValidationError):
        raise BoardError(say("errors.envelope"), [unmet("signatures.not_a_decision")]) from None
    if statement(decision) != body:  # something in it that no field of a decision holds
        raise BoardError(say("errors.envelope"), [unmet("signatures.not_a_decision")])
    return decision, keys


def _of_signers(decision: Decision, keys: Sequence[KnownKey]) -> Iterator[Unmet]:
    voted = {seat.member for seat in decision.board if seat.voted}
    for key in keys:
        if key.member not in voted:
            yield unmet("signatures.not_a_voter", member=key.member)
        if not key.signs_on(decision.decided.date()):
            yield unmet("signatures.key_expired", member=key.member, decided=decision.decided.date())
