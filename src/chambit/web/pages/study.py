"""One study: where it stands, the six cards, all its evidence, the closest pairs, and who has which part in it."""

from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import FileResponse, RedirectResponse, Response

from chambit.hub import accounts, board, desk, inspections, papers, runs, studies, trail
from chambit.hub.hub import Hub
from chambit.hub.refusals import NotThereError
from chambit.hub.sessions import Session
from chambit.hub.studies import Study
from chambit.report import dossier
from chambit.report.medium import Language
from chambit.review.board.process import State
from chambit.web.asking import Acting, AnyHub, Asking, must_have
from chambit.web.rendering import page

router = APIRouter(include_in_schema=False)
Text = Annotated[str, Form(max_length=400)]
OPEN_DOSSIER = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data: blob:; "
    "sandbox allow-scripts; frame-ancestors 'self'"
)
"""The dossier file carries its scripts in itself; it is opened apart from the hub, without its cookies."""
FRAMED = {"content-security-policy": OPEN_DOSSIER, "x-frame-options": "SAMEORIGIN"}


def of(hub: Hub, session: Session, name: str) -> Study:
    """A study that this account may look at.

    Raises:
        NotThereError: when there is none, or the account has no part in it and is no steward.
    """
    there = studies.of(hub.database, name)
    if not session.account.has("steward") and session.account.id not in studies.parts(hub.database, name):
        raise NotThereError("그런 연구가 없습니다.", "There is no such study.")
    return there


@router.get("/studies/{name}")
def study(request: Request, hub: AnyHub, session: Asking, name: str) -> Response:
    """The page a board member reads."""
    there = of(hub, session, name)
    same = board.checked(hub, name)
    parts = studies.parts(hub.database, name)
    newest = trail.newest(hub.database, name, 12)
    known = {one.id: one for one in accounts.listed(hub.database)} if session.account.has("steward") else {}
    people = accounts.by_id(hub.database, {*parts, *(row.actor for row in newest)})
    told = desk.experts_of(hub, there, runs.read(there.folder, hub.seen(name)).measured)
    bundle = desk.bundle_of(hub, there, told)
    added = bool(told.counted) or bundle.attached != desk.dossier_of(there.folder).attached
    return page(
        request, "study.html.j2", study=there, same=same, candidates=studies.candidates(hub.database, name),
        parts=parts, mine=parts.get(session.account.id, set()), people=people, everyone=list(known.values()),
        choices=studies.PARTS, newest=newest, experts=told, inspected=inspections.told(hub, name),
        no_paper=papers.lacking(), added=added, **dossier.view(bundle),
    )  # fmt: skip


@router.get("/studies/{name}/dossier")
def whole(hub: AnyHub, session: Asking, name: str) -> Response:
    """The dossier as one page, as the study stands."""
    return Response(papers.page(hub, of(hub, session, name)), media_type="text/html", headers=FRAMED)


@router.get("/studies/{name}/run.html")
def own(hub: AnyHub, session: Asking, name: str) -> Response:
    """The run's own dossier, whose digest a decision names."""
    return FileResponse(of(hub, session, name).folder / "dossier.html", media_type="text/html", headers=FRAMED)


@router.get("/studies/{name}/dossier.json")
def twin(hub: AnyHub, session: Asking, name: str) -> Response:
    """The dossier as its twin in JSON, to keep."""
    there = of(hub, session, name)
    headers = {"content-disposition": f'attachment; filename="{there.id}.json"'}
    return Response(papers.twin(hub, there), media_type="application/json", headers=headers)


@router.get("/studies/{name}/dossier.{language}.pdf")
def printed(hub: AnyHub, session: Asking, name: str, language: Language) -> Response:
    """The dossier for paper and archive, to keep."""
    there = of(hub, session, name)
    made = papers.pdf(hub, there, language)
    return FileResponse(made, media_type="application/pdf", filename=f"{there.id}.{language}.pdf")


@router.post("/studies")
def register(hub: AnyHub, session: Acting, folder: Text) -> Response:
    """Take a finished run into the hub."""
    must_have(session, "steward")
    run = runs.read(Path(folder).expanduser().resolve())
    made = studies.register(hub.database, session.account.id, run, State.DRAFT)
    return RedirectResponse(f"/studies/{made.id}", 303)


@router.post("/studies/{name}/parts")
def parts(hub: AnyHub, session: Acting, name: str, who: Text, what: Text, act: Text = "give") -> Response:
    """Give or take a part in the study."""
    must_have(session, "steward")
    of(hub, session, name)
    person = accounts.by_id(hub.database, [who]).get(who)
    if person is None:
        raise NotThereError("그런 계정이 없습니다.", "There is no such account.")
    if act == "take":
        studies.take_part(hub.database, session.account.id, name, who, what)
    else:
        studies.give_part(hub.database, session.account.id, name, person, what)
    return RedirectResponse(f"/studies/{name}#people", 303)


def own_parts(hub: Hub, session: Session, name: str) -> set[str]:
    """What the asking person is in a study."""
    return studies.parts(hub.database, name).get(session.account.id, set())


def indicators(bundle: dossier.Bundle) -> list[dossier.Card]:
    """The six cards of a dossier, for forms that vote on each."""
    cards: list[dossier.Card] = dossier.view(bundle)["cards"]
    return cards
