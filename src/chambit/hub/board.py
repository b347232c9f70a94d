"""The review of a study in the hub: the acts of its board and of those who lead it through the process.

`chambit.review.board` says what may be done; here it is asked with what is known of the study, and what was done is
written down. No state is changed but by an event that the table of the process allows.
"""

import datetime
from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

from chambit.hub import desk, records, runs, signing, studies, trail
from chambit.hub.desk import Desk
from chambit.hub.hub import Hub
from chambit.hub.refusals import HubError, NotAllowedError
from chambit.review.board import ballot, conditions, decision, process, questions
from chambit.review.board.ballot import Ballot, Choice
from chambit.review.board.composition import Appointment, Conflict
from chambit.review.board.conditions import Closing, Condition
from chambit.review.board.decision import Digests, Meeting
from chambit.review.board.dsse import Envelope
from chambit.review.board.process import Event, State
from chambit.review.board.questions import Question
from chambit.review.board.words import BoardError, Text

DECIDING = tuple(process.deciding(choice) for choice in Choice)
CANNOT = Text("지금은 할 수 없습니다.", "This cannot be done now.")


def possible(at: Desk) -> tuple[process.Possible, ...]:
    """Every event that may follow, with what blocks it."""
    return process.possible(State(at.study.state), at.facts, at.rules)


def happen(at: Desk, by: str, what: Event, **said: Any) -> State:
    """Let an event happen.

    Args:
        at: the study; read thoroughly where the event decides or releases.
        by: account id.
        what: the event.
        said: facts that come with the act, such as `reason`, `notice` or `reaudit_due`.

    Raises:
        BoardError: with everything that is in the way.
    """
    facts = at.facts.model_copy(update=said)
    done = process.step(State(at.study.state), what, facts, at.rules)
    if done.target is None:
        raise BoardError(CANNOT, done.unmet)
    told = {key: value.isoformat() if isinstance(value, datetime.date) else value for key, value in said.items()}
    with at.hub.database.writing() as connection:
        if studies.of(at.hub.database, at.study.id).state != at.study.state:
            raise HubError(
                "그 사이에 다른 사람이 단계를 옮겼습니다. 새로 열고 다시 해 주십시오.",
                "Somebody else has moved the study meanwhile. Open it again.",
            )
        body = {"event": what.value, "from": at.study.state, "candidate": facts.candidate} | told
        if what in DECIDING and facts.decision is not None:
            body["decision"] = facts.decision.digest
        studies.moved(connection, by, at.study.id, done.target.value, body, at.now.timestamp())
    return done.target


def checked(hub: Hub, name: str) -> bool:
    """Whether the evidence speaks of the set as it lies there now.

    Where the set or its evidence is no longer what was registered, the study drops back and what was decided is void.
    """
    study = studies.of(hub.database, name)
    run = runs.read(study.folder, hub.seen(name))
    known = studies.candidates(hub.database, name)[0]
    if (run.candidate, run.evidence) != (study.candidate, known.evidence):
        dropped = process.after_change(State(study.state))
        studies.renew(hub.database, trail.HUB, name, run, dropped.state.value)
    return run.candidate == run.measured


# ------------------------------------------------------------------------------- people and statements


def appoint(
    at: Desk, by: str, member: str, expertise: Sequence[str], outside: bool = False, subjects: bool = False
) -> None:
    """Appoint a member; a statement and a pledge that were given before stay."""
    old = next((one for one in at.facts.appointments if one.member == member), None)
    fields = [field.strip() for field in expertise if field.strip()]
    if not fields:
        raise HubError("전문분야를 하나 이상 고르십시오.", "Choose one or more fields of expertise.")
    given = old.model_dump() if old else {}
    made = Appointment.model_validate(
        given | {"member": member, "expertise": fields, "outside": outside, "subjects": subjects}
    )
    _write(at, by, "appointment", member, made.model_dump(mode="json"))


def dismiss(at: Desk, by: str, member: str) -> None:
    """End an appointment; it stays on record."""
    _write(at, by, "appointment", member, {})


def state_conflict(at: Desk, member: str, kind: str, text: str, pledges: bool) -> None:
    """A member's own statement on conflicts of interest, and pledge of confidentiality."""
    own = _own(at, member)
    try:
        conflict = Conflict.model_validate({"kind": kind, "text": text})
    except ValidationError:
        raise HubError("이해상충이 있으면 무엇인지 적어 주십시오.", "Say what the conflict of interest is.") from None
    changed = own.model_copy(
        update={"conflict": conflict, "pledged": own.pledged or (at.now.date() if pledges else None)}
    )
    _write(at, member, "appointment", member, changed.model_dump(mode="json"))


def attach(at: Desk, by: str, name: str, text: str) -> None:
    """State what an indicator asks a person to attach: where the document is and what it says."""
    if not text.strip():
        raise HubError("첨부할 내용을 적어 주십시오.", "Say what is attached.")
    _write(at, by, "attachment", name, {"text": text.strip()})


def vote(at: Desk, member: str, given: Ballot) -> None:
    """Cast a ballot; one that was cast before stays on record and counts no more.

    Raises:
        BoardError: when reasons or evidence are lacking, or the member may not vote.
    """
    _own(at, member)
    if State(at.study.state) is not State.IN_REVIEW:
        raise HubError("심의가 열려 있지 않습니다.", "No review is open.")
    found = ballot.refused(
        given, at.facts.appointments, at.rules, candidate=at.facts.candidate, creators=at.facts.creators,
        since=at.facts.review_opened,
    )  # fmt: skip
    if found:
        raise BoardError(CANNOT, found)
    _write(at, member, "ballot", member, given.model_dump(mode="json"))


def ask(at: Desk, by: str, indicator: int, text: str, blocking: bool) -> None:
    """Ask a question at an indicator."""
    _words(text)
    made = Question.model_validate(
        {
            "id": f"Q{len(at.facts.questions) + 1}", "anchor": {"indicator": indicator}, "blocking": blocking,
            "asked": {"by": by, "at": at.now, "text": text.strip()},
        }
    )  # fmt: skip
    _write(at, by, "question", made.id, made.model_dump(mode="json"))


def answer(at: Desk, by: str, name: str, text: str) -> None:
    """Answer a question."""
    _words(text)
    remark = questions.Remark(by=by, at=at.now, text=text.strip())
    _write(at, by, "question", name, questions.answered(_question(at, name), remark).model_dump(mode="json"))


def resolve(at: Desk, by: str, name: str) -> None:
    """Take a question for settled."""
    settled = questions.resolved(_question(at, name), questions.Resolution(by=by, at=at.now))
    _write(at, by, "question", name, settled.model_dump(mode="json"))


# ------------------------------------------------------------------------------------------- decision


def draw_up(at: Desk, by: str, tier: str, wanted: Sequence[Condition]) -> Envelope:
    """The decision that follows from the ballots, ready to be signed.

    Raises:
        BoardError: with everything that stands in the way of signing.
    """
    meeting = Meeting(
        digests=_digests(at), attempt=max(1, at.run.attempt), appointments=at.facts.appointments,
        ballots=at.facts.ballots, creators=at.facts.creators, questions=at.facts.questions,
        since=at.facts.review_opened,
    )  # fmt: skip
    before = at.facts.decision
    made = decision.document(
        meeting, at.rules, decided=at.now, tier=tier, set_conditions=wanted,  # type: ignore[arg-type]
        previous=before.digest if before else decision.FIRST,
    )  # fmt: skip
    unsigned = decision.envelope(made)
    _write(at, by, "decision", f"D{len(desk.decisions(at.hub, at.study.id)) + 1}", _kept(unsigned))
    return unsigned


def sign(at: Desk, member: str, name: str, passphrase: str) -> Envelope:
    """Add a member's signature to a decision.

    Raises:
        BoardError: when the passphrase is wrong, the member did not vote, or anything was changed.
    """
    from chambit.review.board import keys

    given = desk.decisions(at.hub, at.study.id).get(name)
    if given is None:
        raise HubError("그런 결정문이 없습니다.", "There is no such decision.")
    key = keys.opened(signing.private(at.hub.database, member), passphrase)
    more = decision.signed(given, key, signing.known(at.hub.database))
    _write(at, member, "decision", name, _kept(more))
    return more


def close_condition(at: Desk, by: str, name: str, evidence: str, note: str) -> None:
    """Find a condition met."""
    one = next((one for one in at.facts.conditions if one.id == name), None)
    if one is None:
        raise HubError("그런 조건이 없습니다.", "There is no such condition.")
    closing = Closing(by=by, day=at.now.date(), evidence=(evidence,), note=note)
    done = conditions.closed(one, closing, at.facts.creators)
    assert done.closing is not None
    _write(at, by, "closing", name, done.closing.model_dump(mode="json"))


def _digests(at: Desk) -> Digests:
    return Digests(
        study=_hex(at.run.registered), policy=_hex(str(at.run.policy["digest"])), evidence=at.facts.evidence,
        dossier=at.facts.dossier, candidate=at.run.candidate,
    )  # fmt: skip


def _hex(text: str) -> str:
    return text.removeprefix("sha256:")


def _kept(given: Envelope) -> dict[str, Any]:
    kept: dict[str, Any] = given.model_dump(mode="json", by_alias=True)
    return kept


def _own(at: Desk, member: str) -> Appointment:
    found = next((one for one in at.facts.appointments if one.member == member), None)
    if found is None:
        raise NotAllowedError("이 연구의 위원으로 위촉되지 않았습니다.", "You are not appointed to this board.")
    return found


def _question(at: Desk, name: str) -> Question:
    found = next((one for one in at.facts.questions if one.id == name), None)
    if found is None:
        raise HubError("그런 질문이 없습니다.", "There is no such question.")
    return found


def _words(text: str) -> None:
    if not text.strip():
        raise HubError("내용을 적어 주십시오.", "Write something.")


def _write(at: Desk, by: str, kind: str, name: str, body: dict[str, Any]) -> None:
    with at.hub.database.writing() as connection:
        records.add(connection, by, at.study.id, kind, name, body)
