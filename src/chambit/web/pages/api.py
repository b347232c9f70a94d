"""The JSON twin of the pages: studies, their evidence and process, and the head of the trail. The same rights hold."""

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel

from chambit.core.evidence import Verdict
from chambit.hub import board, desk, runs, studies, trail
from chambit.web.asking import AnyHub, Asking, must_have
from chambit.web.pages import study as study_page

router = APIRouter(prefix="/api", tags=["studies"])


class Study(BaseModel):
    """A study as a list has it: where it stands, digest of its set, verdict with what people found, how many images."""

    id: str
    title: str
    state: str
    candidate: str
    verdict: str
    images: int
    changed: float


class Step(BaseModel):
    """An event that may follow: what it is called, where it leads, and what is in the way, in English."""

    event: str
    leads_to: str
    in_the_way: list[str]


class Head(BaseModel):
    """Number and hash of the newest event, and whether the whole chain holds."""

    number: int
    hash: str
    holds: bool


@router.get("/studies")
def listed(hub: AnyHub, session: Asking) -> list[Study]:
    """Studies the account may look at, the one that changed last first."""
    own = studies.parts_of(hub.database, session.account.id)
    return [_told(hub, one) for one in studies.listed(hub.database) if session.account.has("steward") or one.id in own]


@router.get("/studies/{name}")
def one(hub: AnyHub, session: Asking, name: str) -> Study:
    """One study."""
    return _told(hub, study_page.of(hub, session, name))


@router.get("/studies/{name}/evidence")
def evidence(hub: AnyHub, session: Asking, name: str) -> list[dict[str, Any]]:
    """Every piece of evidence that counts: of evidence.json, and of people who looked at the set."""
    there = study_page.of(hub, session, name)
    told = desk.experts_of(hub, there, runs.read(there.folder, hub.seen(name)).measured)
    return [item.model_dump(mode="json") for item in (*runs.evidence_of(there.folder), *told.evidence)]


@router.get("/studies/{name}/steps")
def steps(hub: AnyHub, session: Asking, name: str) -> list[Step]:
    """What may follow, and what is in the way of it."""
    at = desk.of(hub, study_page.of(hub, session, name).id)
    return [
        Step(event=each.event.value, leads_to=each.target.value, in_the_way=[item.reason.en for item in each.unmet])
        for each in board.possible(at)
    ]


@router.get("/trail/head")
def head(hub: AnyHub, session: Asking) -> Head:
    """The head of the trail, to be kept elsewhere."""
    must_have(session, "steward", "inspector", "administrator", "approver")
    number, last = trail.head(hub.database)
    return Head(number=number, hash=last, holds=trail.verify(hub.database) is None)


def _told(hub: AnyHub, study: studies.Study) -> Study:
    newest = studies.candidates(hub.database, study.id)[0]
    return Study(
        id=study.id, title=study.title, state=study.state, candidate=study.candidate,
        verdict=desk.verdict_of(hub, study, Verdict(newest.verdict)).value,
        images=newest.images, changed=study.changed,
    )  # fmt: skip
