"""The board of a study: members and their statements, ballots, the decision and its signatures, conditions."""

import datetime
from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response
from pydantic import ValidationError

from chambit.hub import accounts, board, desk, signing, studies
from chambit.hub.refusals import HubError, NotAllowedError
from chambit.review.board.ballot import INDICATORS, TIERS, Ballot, Choice, Vote
from chambit.review.board.composition import composed
from chambit.review.board.conditions import Condition
from chambit.review.board.process import State
from chambit.web.asking import Acting, AnyHub, Asking
from chambit.web.pages import study as study_page
from chambit.web.rendering import page

router = APIRouter(include_in_schema=False)
Text = Annotated[str, Form(max_length=4000)]
Many = Annotated[list[str], Form()]
FIELDS = ("privacy", "law", "ai", "clinical", "statistics", "ethics", "finance")


@router.get("/studies/{name}/board")
def members(request: Request, hub: AnyHub, session: Asking, name: str) -> Response:
    """Everything of the board on one page."""
    study_page.of(hub, session, name)
    same = board.checked(hub, name)
    at = desk.of(hub, name)
    seats = {one.member: one for one in at.facts.appointments}
    parts = studies.parts(hub.database, name)
    eligible = {who for who, has in parts.items() if "member" in has}
    given = desk.decisions(hub, name)
    signers = {one: desk.signers(hub, given[one]) for one in given}
    everyone = {*seats, *eligible, *at.facts.creators, *(who for some in signers.values() for who in some)}
    people = accounts.by_id(hub.database, everyone)
    cast = {one.member: one for one in at.facts.ballots if one.candidate == at.facts.candidate}
    return page(
        request, "board.html.j2", study=at.study, same=same, mine=parts.get(session.account.id, set()), seats=seats,
        eligible=[who for who in eligible if who not in seats], people=people, fields=FIELDS, rules=at.rules,
        problems=composed(at.facts.appointments, at.rules, at.now.date()), own=seats.get(session.account.id),
        ballot=cast.get(session.account.id), cast=cast, count=at.facts.count(at.rules),
        open=State(at.study.state) is State.IN_REVIEW, choices=list(Choice), votes=list(Vote), tiers=TIERS[1:],
        indicators=study_page.indicators(at.bundle), decisions=given, signers=signers, facts=at.facts,
        has_key=bool(signing.standing(hub.database, session.account.id)[0]), day=at.now.date(),
        last=at.now.date() + datetime.timedelta(days=at.rules.condition_days_most),
    )  # fmt: skip


@router.post("/studies/{name}/board/members")
def appoint(
    hub: AnyHub, session: Acting, name: str, member: Text, act: Text = "appoint",
    expertise: Many = [], outside: Text = "", subjects: Text = "",  # noqa: B006 - a form without a tick sends none
) -> Response:  # fmt: skip
    """Appoint a member, or end an appointment."""
    study_page.of(hub, session, name)
    if not session.account.has("steward"):
        raise NotAllowedError("위촉은 데이터 관리자가 합니다.", "A steward appoints members.")
    if "member" not in studies.parts(hub.database, name).get(member, set()):
        raise HubError(
            "먼저 이 사람을 연구의 심의위원으로 지정해 주십시오.", "Give this person the part of a board member first."
        )
    at = desk.of(hub, name)
    if act == "dismiss":
        board.dismiss(at, session.account.id, member)
    else:
        board.appoint(at, session.account.id, member, expertise, bool(outside), bool(subjects))
    return RedirectResponse(f"/studies/{name}/board", 303)


@router.post("/studies/{name}/board/statement")
def statement(hub: AnyHub, session: Acting, name: str, kind: Text, text: Text = "", pledge: Text = "") -> Response:
    """A member's own statement on conflicts of interest, and pledge."""
    study_page.of(hub, session, name)
    board.state_conflict(desk.of(hub, name), session.account.id, kind, text, bool(pledge))
    return RedirectResponse(f"/studies/{name}/board#mine", 303)


@router.post("/studies/{name}/board/ballot")
async def vote(request: Request, hub: AnyHub, session: Acting, name: str) -> Response:
    """A member's ballot on the set as it is now."""
    study_page.of(hub, session, name)
    form = await request.form()
    board.checked(hub, name)
    at = desk.of(hub, name)

    def said(key: str) -> str:
        value = form.get(key, "")
        return value.strip() if isinstance(value, str) else ""

    if said("candidate") != at.facts.candidate:
        raise HubError(
            "읽으신 뒤에 영상 세트가 바뀌었습니다. 근거를 다시 보고 투표해 주십시오.",
            "The set has changed since you read of it. Look at the evidence again and vote then.",
        )
    try:
        given = Ballot.model_validate(
            {
                "member": session.account.id, "candidate": at.facts.candidate, "cast": at.now,
                "choice": said("choice"), "reason": said("reason"), "tier": said("tier"),
                "wanted": [line.strip() for line in said("wanted").splitlines() if line.strip()],
                "minority": said("minority"),
                "indicators": [
                    {
                        "indicator": number, "vote": said(f"vote-{number}"), "reason": said(f"reason-{number}"),
                        "keys": [key for key in form.getlist(f"keys-{number}") if isinstance(key, str)],
                    }
                    for number in INDICATORS
                ],
            }
        )  # fmt: skip
    except ValidationError:
        raise HubError(
            "여섯 지표 모두와 전체 의견을 골라 주십시오.",
            "Choose a vote for each of the six indicators and for the whole.",
        ) from None
    board.vote(at, session.account.id, given)
    return RedirectResponse(f"/studies/{name}/board#mine", 303)


@router.post("/studies/{name}/board/decision")
def decide(
    hub: AnyHub, session: Acting, name: str, tier: Text = "", condition: Many = [],  # noqa: B006 - as above
    responsible: Many = [], due: Many = [], indicator: Many = [],  # noqa: B006 - as above
) -> Response:  # fmt: skip
    """Draw the decision up from the ballots."""
    there = study_page.of(hub, session, name)
    if not session.account.has("steward") and "member" not in study_page.own_parts(hub, session, name):
        raise NotAllowedError("결정문은 위원이나 데이터 관리자가 만듭니다.", "A member or a steward draws it up.")
    board.checked(hub, there.id)
    at = desk.of(hub, name, thoroughly=True)
    rows = [row for row in zip(condition, responsible, due, indicator, strict=False) if row[0].strip()]
    try:
        wanted = [
            Condition(
                id=f"C{number}", text=text.strip(), responsible=who, due=datetime.date.fromisoformat(day),
                indicator=int(about) if about else None,
            )
            for number, (text, who, day, about) in enumerate(rows, start=1)
        ]  # fmt: skip
    except (ValidationError, ValueError):
        raise HubError(
            "조건마다 내용·책임자·기한을 적어 주십시오.", "Give each condition its text, who is responsible, and a day."
        ) from None
    board.draw_up(at, session.account.id, tier, wanted)
    return RedirectResponse(f"/studies/{name}/board#decision", 303)


@router.post("/studies/{name}/board/signature")
def sign(hub: AnyHub, session: Acting, name: str, decision: Text, passphrase: Text) -> Response:
    """Sign a decision with the own key."""
    study_page.of(hub, session, name)
    board.checked(hub, name)
    board.sign(desk.of(hub, name, thoroughly=True), session.account.id, decision, passphrase)
    return RedirectResponse(f"/studies/{name}/board#decision", 303)


@router.post("/studies/{name}/board/closing")
def close(hub: AnyHub, session: Acting, name: str, condition: Text, evidence: Text, note: Text = "") -> Response:
    """Find a condition met, by somebody else than who was to meet it."""
    study_page.of(hub, session, name)
    board.close_condition(desk.of(hub, name), session.account.id, condition, evidence, note)
    return RedirectResponse(f"/studies/{name}/board#decision", 303)


@router.get("/studies/{name}/board/{decision}.dsse.json")
def envelope(hub: AnyHub, session: Asking, name: str, decision: str) -> Response:
    """A decision with its signatures, as a file that any tool for DSSE can verify."""
    study_page.of(hub, session, name)
    found = desk.decisions(hub, name).get(decision)
    if found is None:
        raise HubError("그런 결정문이 없습니다.", "There is no such decision.")
    headers = {"content-disposition": f'attachment; filename="{name}-{decision}.dsse.json"'}
    return Response(found.json_text(), media_type="application/json", headers=headers)
