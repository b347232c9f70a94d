"""The inspector's screen: one synthetic image after the other, with its label and what was asked for, to be judged."""

from typing import Annotated, Literal

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import RedirectResponse, Response
from pydantic import BaseModel, ConfigDict, Field

from chambit.hub import imagetable, inspecting, inspections, studies
from chambit.hub.hub import Hub
from chambit.hub.inspecting import Shown
from chambit.hub.inspections import Inspection, Inspector
from chambit.hub.refusals import NotThereError
from chambit.hub.sessions import Session
from chambit.reading.inspected import Judgement
from chambit.web import words
from chambit.web.asking import Acting, AnyHub, Asking, Sending, language_of
from chambit.web.rendering import page

router = APIRouter()
Place = Annotated[float, Field(ge=0, le=1)]
Text = Annotated[str, Form(max_length=120)]
MOST = 10**6


class Given(BaseModel):
    """A judgement as the screen sends it; `replaces` is the number of the one it saw standing, 0 for none."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)
    at: int = Field(ge=0, le=MOST)
    replaces: int = Field(ge=0, le=2**31 - 1)
    decision: Literal["accept", "fix", "reject"]
    mend: str = Field("", max_length=32)
    label: str = Field("", max_length=200)
    reasons: list[Annotated[str, Field(max_length=32)]] = Field(default_factory=list, max_length=16)
    text: str = Field("", max_length=2000)
    place: tuple[Place, Place] | None = None
    frame: int = Field(0, ge=0, le=MOST)
    seconds: float = Field(ge=0, le=86_400)
    moves: int = Field(ge=0, le=MOST)


class Standing(BaseModel):
    """The judgement that stands of an image: its number and what it says."""

    number: int
    judgement: Judgement


class Due(BaseModel):
    """One image: its place, how far the inspector is, what is known of it, and the own judgement that stands.

    `image` is null when all are judged; `earlier` is how many judgements of it stand no longer.
    """

    at: int
    of: int
    done: int
    image: str | None
    labels: list[str]
    told: dict[str, str]
    standing: Standing | None
    earlier: int


@router.get("/inspect/{key}", include_in_schema=False)
def screen(request: Request, hub: AnyHub, session: Asking, key: str) -> Response:
    """The page on which an inspector works; before that, the statement of who inspects."""
    one, mine = _mine(hub, session, key)
    said = inspecting.statements(hub, one).get(mine.pseudonym)
    there = studies.of(hub.database, one.study)
    language, known = language_of(request), ("id", *imagetable.table(there.folder).told)
    names = {name: words.word("catalogue_columns", name, language) for name in known}
    return page(request, "inspect.html.j2", one=one, mine=mine, said=said, study=there, names=names)


@router.post("/inspect/{key}/statement", include_in_schema=False)
def state(
    hub: AnyHub, session: Acting, key: str, speciality: Text, years: Annotated[int, Form(ge=0, le=80)],
    institution: Text, no_conflict: Annotated[str, Form(max_length=8)] = "",
) -> Response:  # fmt: skip
    """Take the statement of who inspects."""
    one, mine = _mine(hub, session, key)
    given = {"speciality": speciality.strip(), "years": years, "institution": institution.strip()}
    inspecting.state(hub, one, mine, given | {"no_conflict": bool(no_conflict)})
    return RedirectResponse(f"/inspect/{key}", 303)


@router.get("/api/inspections/{key}/images", tags=["inspection"])
def image(hub: AnyHub, session: Asking, key: str, at: Annotated[int | None, Query(ge=0, le=MOST)] = None) -> Due:
    """The image at a place of the own order; without one the first that is not judged."""
    one, mine = _mine(hub, session, key)
    return _due(inspecting.shown(hub, one, mine, at), imagetable.table(studies.of(hub.database, one.study).folder).told)


@router.get("/api/inspections/{key}/pixels/{at}/{frame}", tags=["inspection"], response_class=Response)
def pixels(hub: AnyHub, session: Asking, key: str, at: int, frame: int) -> Response:
    """Values of an image or frame: little-endian uint16, row by row, one a pixel or three (`X-Channels`)."""
    if not (0 <= at <= MOST and 0 <= frame <= MOST):
        raise NotThereError("그런 영상이 없습니다.", "There is no such image.")
    one, mine = _mine(hub, session, key)
    found = inspecting.picture(hub, one, mine, at, frame)
    size = {"x-height": str(found.shape[0]), "x-width": str(found.shape[1]), "x-channels": str(3 ** (found.ndim - 2))}
    return Response(found.tobytes(), media_type="application/octet-stream", headers=size)


@router.post("/api/inspections/{key}/judgements", tags=["inspection"])
def judge(hub: AnyHub, session: Sending, key: str, given: Given) -> dict[str, int]:
    """Take a judgement; `kept` is its number, and says that it is on disk."""
    one, mine = _mine(hub, session, key)
    said = given.model_dump(exclude={"at", "replaces"})
    return {"kept": inspecting.judge(hub, one, mine, given.at, said, given.replaces)}


def _due(now: Shown, told: tuple[str, ...]) -> Due:
    first = now.rows[0] if now.rows else {}
    standing = now.history[0] if now.history else None
    return Due(
        at=now.position, of=now.of, done=now.done, image=now.item.image if now.item else None,
        labels=[row["label"] for row in now.rows], told={name: first[name] for name in told if first.get(name)},
        standing=Standing(number=standing.number, judgement=standing.judgement) if standing else None,
        earlier=max(0, len(now.history) - 1),
    )  # fmt: skip


def _mine(hub: Hub, session: Session, key: str) -> tuple[Inspection, Inspector]:
    one = inspections.of(hub, key)
    return one, inspecting.mine(hub, one, session.account.id)
