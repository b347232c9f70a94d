"""The reader's screen: one picture after the other, an answer for each, nothing that tells what it is.

The page carries no name, size or order of a file. Pictures come as raw grey levels, all of the same length, under an id
without meaning; only the one that is due is given out.
"""

from typing import Annotated, Literal

from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from chambit.hub import material, readings
from chambit.hub.hub import Hub
from chambit.hub.readings import Reading, Seat
from chambit.hub.sessions import Session
from chambit.web.asking import AnyHub, Asking, Sending
from chambit.web.rendering import page

router = APIRouter()
Place = Annotated[float, Field(ge=0, le=1)]


class Plausibility(BaseModel):
    """Answers to the second task."""

    model_config = ConfigDict(extra="forbid")
    label: Literal["yes", "no", "unsure"]
    quality: int = Field(ge=1, le=5)
    reject: list[str] = Field(default_factory=list, max_length=16)


class Answer(BaseModel):
    """A reader's answer to one picture."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)
    trial: str = Field(pattern="^[0-9a-f]{32}$")
    score: int = Field(ge=1, le=6)
    plausibility: Plausibility | None = None
    giveaway: tuple[Place, Place] | None = None
    seconds: float = Field(ge=0, le=86_400)
    moves: int = Field(ge=0, le=1_000_000)
    hour: int = Field(ge=0, le=23)


class Due(BaseModel):
    """What is due: the picture's id and size, the label it is shown with, and how far the reader is."""

    trial: str | None
    width: int
    height: int
    label: str | None
    practice: bool
    pause: bool
    done: int
    of: int


@router.get("/read/{key}", include_in_schema=False)
def screen(request: Request, hub: AnyHub, session: Asking, key: str) -> Response:
    """The page on which a reader reads."""
    one, mine = _mine(hub, session, key)
    now = readings.next_of(hub, one, mine)
    return page(request, "read.html.j2", one=one, mine=mine, now=now, reasons=one.protocol.reject_reasons)


@router.get("/api/readings/{key}/next", tags=["reading"])
def due(hub: AnyHub, session: Asking, key: str) -> Due:
    """The picture that is due; the stated label only where the second task asks about it."""
    one, mine = _mine(hub, session, key)
    now, kept = readings.next_of(hub, one, mine), material.kept(one.folder)
    trial = now.trial
    second = "plausibility" in one.protocol.tasks
    return Due(
        trial=trial.id if trial else None, width=kept.screen.width, height=kept.screen.height,
        label=kept.items[trial.item]["label"] if trial and second else None,
        practice=trial.practice if trial else False, pause=now.pause, done=now.done, of=now.of,
    )  # fmt: skip


@router.get("/api/readings/{key}/pixels/{trial}", tags=["reading"], response_class=Response)
def pixels(hub: AnyHub, session: Asking, key: str, trial: str) -> Response:
    """Grey levels of the picture that is due: little-endian uint16, row by row."""
    one, mine = _mine(hub, session, key)
    return Response(readings.picture(hub, one, mine, trial), media_type="application/octet-stream")


@router.post("/api/readings/{key}/votes", tags=["reading"])
def cast(hub: AnyHub, session: Sending, key: str, answer: Answer) -> dict[str, bool]:
    """Take an answer; `kept` says that it is on disk."""
    one, mine = _mine(hub, session, key)
    readings.cast(hub, one, mine, answer.trial, answer.model_dump(exclude={"trial"}))
    return {"kept": True}


def _mine(hub: Hub, session: Session, key: str) -> tuple[Reading, Seat]:
    one = readings.of(hub, key)
    return one, readings.seat_of(hub, one, session.account.id)
