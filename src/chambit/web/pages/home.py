"""The first page: the studies a person has a part in, and what waits for that person."""

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from chambit.core.evidence import Verdict
from chambit.hub import desk, studies
from chambit.web.asking import AnyHub, Asking
from chambit.web.rendering import page

router = APIRouter(include_in_schema=False)
WORKING = ("steward", "generator", "inspector", "reader", "member", "approver")
"""Roles with work in studies; whoever only consumes sets begins with the catalogue."""


@router.get("/")
def home(request: Request, hub: AnyHub, session: Asking) -> Response:
    """Studies, newest change first."""
    if session.account.has("administrator"):
        return RedirectResponse("/accounts", 303)
    if session.account.roles and not session.account.has(*WORKING):
        return RedirectResponse("/catalogue", 303)
    own = studies.parts_of(hub.database, session.account.id)
    every = studies.listed(hub.database)
    shown = every if session.account.has("steward") else [study for study in every if study.id in own]
    latest = {study.id: studies.candidates(hub.database, study.id)[0] for study in shown}
    verdict = {study.id: desk.verdict_of(hub, study, Verdict(latest[study.id].verdict)) for study in shown}
    return page(request, "home.html.j2", studies=shown, own=own, latest=latest, verdict=verdict)
