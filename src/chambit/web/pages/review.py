"""The review of a study: where it stands in the process, what may follow and what blocks it, attachments, questions."""

import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response

from chambit.hub import accounts, board, desk
from chambit.hub.refusals import HubError, NotAllowedError
from chambit.hub.sessions import Session
from chambit.report import wording
from chambit.review.board import process
from chambit.review.board.process import Event, State
from chambit.web.asking import Acting, AnyHub, Asking
from chambit.web.pages import study as study_page
from chambit.web.rendering import page

router = APIRouter(include_in_schema=False)
Text = Annotated[str, Form(max_length=4000)]
OF_APPROVER = (Event.RELEASE, Event.SUSPEND, Event.RESUME, Event.WITHDRAW, Event.RESTART, Event.MONITOR, Event.REAUDIT)
"""Events that the approver lets happen; all others are the steward's."""
WITH_REASON = (Event.SUSPEND, Event.RESUME, Event.RESTART, Event.WITHDRAW)
WITH_NOTICE = (Event.RESTART, Event.WITHDRAW)
WITH_DAY = (Event.MONITOR, Event.REAUDIT, Event.RESUME)
HIDDEN = (Event.CANDIDATE_CHANGED,)
"""What happens by itself."""


@router.get("/studies/{name}/review")
def review(request: Request, hub: AnyHub, session: Asking, name: str) -> Response:
    """Process, attachments and questions."""
    study_page.of(hub, session, name)
    same = board.checked(hub, name)
    at = desk.of(hub, name)
    mine = study_page.own_parts(hub, session, name)
    spoken = {one.asked.by for one in at.facts.questions} | {a.by for one in at.facts.questions for a in one.answers}
    steps = [one for one in board.possible(at) if one.event not in HIDDEN]
    return page(
        request, "review.html.j2", study=at.study, same=same, mine=mine, facts=at.facts, steps=steps,
        may={one.event: _may(session, mine, one.event) for one in steps}, stages=process.stages(),
        stage_now=process.stage_of(State(at.study.state)), scheme=wording.scheme(), attached=_attached(at),
        people=accounts.by_id(hub.database, spoken), with_reason=WITH_REASON, with_notice=WITH_NOTICE,
        with_day=WITH_DAY, alarms=process.alarms(State(at.study.state), at.facts, at.rules),
        day=at.now.date(), latest=at.now.date() + datetime.timedelta(days=at.rules.reaudit_days_most),
    )  # fmt: skip


@router.post("/studies/{name}/review")
def happen(
    hub: AnyHub, session: Acting, name: str, event: Text, reason: Text = "", notice: Text = "", due: Text = ""
) -> Response:
    """Let an event happen, or say everything that is in the way."""
    study_page.of(hub, session, name)
    try:
        what = Event(event)
        given: dict[str, Any] = {"reaudit_due": datetime.date.fromisoformat(due)} if due else {}
    except ValueError:
        raise HubError("알 수 없는 요청입니다.", "This is no step of the process.") from None
    if not _may(session, study_page.own_parts(hub, session, name), what) or what in HIDDEN:
        raise NotAllowedError(
            "이 단계는 데이터 관리자 또는 승인권자가 옮깁니다.", "A steward or the approver takes this step."
        )
    board.checked(hub, name)
    at = desk.of(hub, name, thoroughly=True)
    given |= {"reason": reason} if reason else {}
    given |= {"notice": notice} if notice else {}
    board.happen(at, session.account.id, what, **given)
    return RedirectResponse(f"/studies/{name}/review", 303)


@router.post("/studies/{name}/attachments")
def attach(hub: AnyHub, session: Acting, name: str, what: Text, text: Text) -> Response:
    """State what is attached, and where it lies."""
    study_page.of(hub, session, name)
    if not session.account.has("steward"):
        raise NotAllowedError("첨부는 데이터 관리자가 적습니다.", "A steward states what is attached.")
    known = {item["id"] for one in wording.scheme()["indicators"] for item in one["attach"]}
    if what not in known:
        raise HubError("그런 첨부 항목이 없습니다.", "Nothing of this name is asked for.")
    board.attach(desk.of(hub, name), session.account.id, what, text)
    return RedirectResponse(f"/studies/{name}/review#attachments", 303)


@router.post("/studies/{name}/questions")
def ask(
    hub: AnyHub, session: Acting, name: str, text: Text = "", indicator: Annotated[int, Form(ge=1, le=6)] = 1,
    blocking: Text = "", question: Text = "", act: Text = "ask",
) -> Response:  # fmt: skip
    """Ask, answer, or take a question for settled."""
    study_page.of(hub, session, name)
    at, who = desk.of(hub, name), session.account.id
    if act == "ask":
        board.ask(at, who, indicator, text, bool(blocking))
    elif act == "answer":
        board.answer(at, who, question, text)
    else:
        board.resolve(at, who, question)
    return RedirectResponse(f"/studies/{name}/review#questions", 303)


def _may(session: Session, mine: set[str], what: Event) -> bool:
    """Whether this account takes this step; suspending is open to a steward too, for it cannot wait."""
    if what in OF_APPROVER and "approver" in mine:
        return True
    return session.account.has("steward") and (what not in OF_APPROVER or what is Event.SUSPEND)


def _attached(at: desk.Desk) -> dict[str, str]:
    return desk.attachments(at)
