"""A study on the desk: all that its review needs to know, from the database and from what lies in the run's folder.

What is known becomes `Facts`, which the guards of the process look at; nothing here changes anything.
"""

import datetime
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from chambit.core import digest
from chambit.core.evidence import Evidence, Verdict
from chambit.hub import experts, records, runs, signing, studies, trail
from chambit.hub.hub import Hub
from chambit.report import dossier, wording
from chambit.review import policy
from chambit.review.board import decision, dsse
from chambit.review.board import rules as board_rules
from chambit.review.board.ballot import Ballot
from chambit.review.board.composition import Appointment
from chambit.review.board.conditions import Closing, Condition
from chambit.review.board.decision import Signed
from chambit.review.board.dsse import Envelope
from chambit.review.board.facts import Examined, Facts, Permit
from chambit.review.board.process import Event, State
from chambit.review.board.questions import Question
from chambit.review.board.rules import Rules
from chambit.review.board.words import BoardError
from chambit.review.verdict import overall

UTILITY, SAFETY = (5,), (4, 6)
"""Indicators whose evidence is the examination of utility (3a), and of safety (3b)."""
APPROVALS = "source.approvals"
READER_STUDY = "utility.reader_study"
"""The attachment that a reader study of the hub itself stands for."""
BEFORE_REVIEW = (State.DRAFT, State.PREPARED, State.GENERATED, State.EXAMINED)


class Desk(NamedTuple):
    """A study with all that its review needs, read once for a request.

    Attributes:
        hub: where it is.
        study: the study.
        run: what lies in its folder now.
        rules: of the hub's board.
        bundle: of the dossier, with what people found who looked at the set.
        told: what those people found.
        facts: for the guards.
        now: the time.
    """

    hub: Hub
    study: studies.Study
    run: runs.Run
    rules: Rules
    bundle: dossier.Bundle
    told: experts.Told
    facts: Facts
    now: datetime.datetime


def of(hub: Hub, name: str, now: datetime.datetime | None = None, thoroughly: bool = False) -> Desk:
    """Everything about one study; `thoroughly` reads every byte of its set, as for a decision."""
    now = now or datetime.datetime.now(datetime.UTC)
    study = studies.of(hub.database, name)
    rules = rules_of(hub)
    run = runs.read(study.folder, None if thoroughly else hub.seen(name))
    told = experts_of(hub, study, run.measured)
    bundle = bundle_of(hub, study, told)
    return Desk(hub, study, run, rules, bundle, told, _facts(hub, study, run, bundle, told, rules, now), now)


def rules_of(hub: Hub) -> Rules:
    """What the policy of the hub holds boards to."""
    return board_rules.read(policy_of(hub))


def policy_of(hub: Hub) -> policy.Policy:
    """The policy of the hub, by which boards work and what people found is judged."""
    return policy.load(hub.settings.policy, hub.folder)


def experts_of(hub: Hub, study: studies.Study, measured: str) -> experts.Told:
    """What people found who looked at the set; a review that is open or has decided weighs what it was opened on.

    Args:
        hub: where it is.
        study: the study.
        measured: digest of the candidate that the run's evidence speaks of.
    """
    if not experts.anything(hub.database, study.id):
        return experts.Told((), ())
    reviews = [one for one in _moves(hub, study) if one.body.get("event") == Event.OPEN_REVIEW]
    opened = _at(reviews[-1].time) if reviews and State(study.state) not in BEFORE_REVIEW else None
    return experts.told(hub.database, study.id, measured, policy_of(hub), opened)


def verdict_of(hub: Hub, study: studies.Study, run: Verdict) -> Verdict:
    """The verdict of a study as lists show it: of its run, with what people found of its set.

    Args:
        hub: where it is.
        study: the study.
        run: the verdict of the run by itself.
    """
    told = experts_of(hub, study, study.candidate)
    return overall((*runs.evidence_of(study.folder), *told.evidence)).verdict if told.counted else run


def attachments(at: Desk) -> dict[str, str]:
    """What is attached: by the study file, by people in the hub since then, and by its own reader studies."""
    return {name: text for name, text in at.bundle.attached.items() if text}


def decisions(hub: Hub, name: str) -> dict[str, Envelope]:
    """Every decision of a study by its name, with the signatures it has."""
    found = records.standing(hub.database, name, "decision")
    return {key: Envelope.model_validate(one.body) for key, one in found.items()}


def signers(hub: Hub, given: Envelope) -> tuple[str, ...]:
    """Who has signed a decision; nobody where a signature does not fit."""
    try:
        return tuple(dict.fromkeys(key.member for key in dsse.opened(given, signing.known(hub.database)).keys))
    except BoardError:
        return ()


def _facts(
    hub: Hub, study: studies.Study, run: runs.Run, bundle: dossier.Bundle, told: experts.Told, rules: Rules,
    now: datetime.datetime,
) -> Facts:  # fmt: skip
    parts = studies.parts(hub.database, study.id)
    rows = (*runs.evidence_of(study.folder), *told.evidence)
    moves = _moves(hub, study)
    reviews = [one for one in moves if one.body.get("event") == Event.OPEN_REVIEW]
    decided = [one for one in moves if one.body.get("decision")]
    signed = _signed(hub, study, rules)
    return Facts(
        day=now.date(),
        creators=tuple(who for who, has in parts.items() if has & {"creator", "generator"}),
        approvers=tuple(who for who, has in parts.items() if "approver" in has),
        attached=tuple(name for name, text in bundle.attached.items() if text),
        submitted=any(one.body.get("event") == Event.SUBMIT for one in moves),
        permits_needed=_permits_needed(rows),
        permits=_permits(rows),
        criteria=run.criteria,
        fixed=_at(run.fixed),
        first_measured=_at(run.begun),
        judged_by=str(run.policy["digest"]),
        generation=digest.of_json([dict(step) for step in bundle.steps]) if bundle.steps else "",
        candidate=run.candidate,
        attempts=run.attempt,
        utility=_examined(rows, bundle, UTILITY, run),
        safety=_examined(rows, bundle, SAFETY, run),
        verdict=bundle.verdict,
        evidence=told.sealed(run.evidence),
        conditional=tuple(one.key for one in rows if one.verdict is Verdict.CONDITIONAL),
        dossier=digest.of_file(study.folder / "dossier.html"),
        dossier_candidate=run.measured,
        review_opened=_at(reviews[-1].time) if reviews else None,
        review_candidate=str(reviews[-1].body["candidate"]) if reviews else "",
        appointments=tuple(
            Appointment.model_validate(one.body) for one in _standing(hub, study, "appointment").values() if one.body
        ),
        ballots=tuple(Ballot.model_validate(one.body) for one in records.every(hub.database, study.id, "ballot")),
        questions=tuple(Question.model_validate(one.body) for one in _standing(hub, study, "question").values()),
        conditions=_conditions(hub, study, signed),
        decision=signed,
        standing=str(decided[-1].body["decision"]) if decided else "",
    )


def _moves(hub: Hub, study: studies.Study) -> list[trail.Event]:
    return [one for one in trail.events(hub.database, study.id, limit=100_000) if one.kind == "study.moved"]


def _examined(
    rows: Sequence[Evidence], bundle: dossier.Bundle, indicators: Sequence[int], run: runs.Run
) -> Examined | None:
    """The examination of some indicators: the worst verdict of their evidence, and when it was closed."""
    keys = {key for one in wording.scheme()["indicators"] if one["id"] in indicators for key in one["evidence"]}
    found = [one for one in rows if one.key in keys]
    finished = _at(run.finished)
    if not found or finished is None:
        return None
    return Examined(candidate=run.measured, verdict=overall(found).verdict, finished=finished)


def _permits_needed(rows: Sequence[Evidence]) -> tuple[str, ...]:
    needed = _approvals(rows).get("needed", ())
    return tuple(str(name) for name in needed) if isinstance(needed, list | tuple) else ()


def _permits(rows: Sequence[Evidence]) -> tuple[Permit, ...]:
    held = _approvals(rows).get("held", ())
    return tuple(Permit.model_validate(one) for one in held) if isinstance(held, list | tuple) else ()


def _approvals(rows: Sequence[Evidence]) -> dict[str, object]:
    return next((one.details for one in rows if one.key == APPROVALS), {})


def _signed(hub: Hub, study: studies.Study, rules: Rules) -> Signed | None:
    """The newest decision that has all its signatures; one that was tampered with is none."""
    known = signing.known(hub.database)
    for given in reversed(list(decisions(hub, study.id).values())):
        try:
            return decision.verified(given, known, rules)
        except BoardError:
            continue
    return None


def _conditions(hub: Hub, study: studies.Study, signed: Signed | None) -> tuple[Condition, ...]:
    if signed is None:
        return ()
    closings = _standing(hub, study, "closing")
    return tuple(
        one.model_copy(update={"closing": Closing.model_validate(closings[one.id].body)}) if one.id in closings else one
        for one in signed.decision.conditions
    )


def _standing(hub: Hub, study: studies.Study, kind: str) -> dict[str, records.Record]:
    return records.standing(hub.database, study.id, kind)


def _at(seconds: float) -> datetime.datetime | None:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC) if seconds else None


@lru_cache(maxsize=8)
def _bundle(path: Path, _changed: int) -> dossier.Bundle:
    return dossier.untwinned(path.read_bytes())


def dossier_of(folder: Path) -> dossier.Bundle:
    """The dossier of a run as it was made, read again when its file has changed."""
    path = folder / "dossier.json"
    return _bundle(path, path.stat().st_mtime_ns)


def bundle_of(hub: Hub, study: studies.Study, told: experts.Told) -> dossier.Bundle:
    """The dossier of a run with what people found and stated since it was made."""
    made = dossier_of(study.folder)
    read = [one.name for one in told.counted if any(item.key.startswith("reading.") for item in one.evidence)]
    stated = {name: str(one.body["text"]) for name, one in _standing(hub, study, "attachment").items()}
    attached = {**made.attached, **({READER_STUDY: ", ".join(read)} if read else {}), **stated}
    if not told.counted:
        return made.model_copy(update={"attached": attached})
    evidence = (*made.evidence, *told.evidence)
    verdict, because = overall(evidence)
    return made.model_copy(update={"attached": attached, "evidence": evidence, "verdict": verdict, "because": because})
