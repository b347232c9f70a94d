"""Specialists' inspections of a set: planned, how far they are, and what they show once they are closed."""

import csv
import io
from typing import Annotated, Any, NamedTuple

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import PlainTextResponse, RedirectResponse, Response
from markupsafe import Markup
from pydantic import BaseModel

from chambit.core.evidence import Finding
from chambit.hub import accounts, board, inspecting, inspections, studies
from chambit.hub.hub import Hub
from chambit.hub.inspecting import Work
from chambit.hub.inspections import Asked, Inspection, Proposal
from chambit.hub.refusals import HubError, NotAllowedError
from chambit.hub.sessions import Session
from chambit.prepare import sampling
from chambit.reading import sampleplan
from chambit.reading.sampleplan import SamplePlan
from chambit.report.inspection import Lot, oc_curve
from chambit.report.wording import Text as Both
from chambit.web.asking import LANGUAGES, Acting, AnyHub, Asking, language_of
from chambit.web.pages import study as study_page
from chambit.web.rendering import page

router = APIRouter()
Text = Annotated[str, Form(max_length=400)]
Percent = Annotated[float, Form(ge=0, le=100, allow_inf_nan=False)]
AskedPercent = Annotated[float | None, Query(ge=0, le=100, allow_inf_nan=False)]
COLUMNS = ("image", "label", "act", "to", "reasons", "text", "x", "y", "frame", "inspector", "key")
BELOW = Both("세트에서 그대로는 못 받아들일 영상의 비율 (%)", "share of unacceptable images in the set (%)")
FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""Beginnings that a spreadsheet would take for a formula."""


class Numbers(NamedTuple):
    """What a steward asks a plan for: the column of the strata, and limit, confidence and double share in percent."""

    column: str
    limit: float
    confidence: float
    double: float


class Told(BaseModel):
    """An inspection: its state and plan, whether it speaks of the set as it is now, its number once it is closed."""

    id: str
    state: str
    current: bool
    plan: str
    candidate: str
    attempt: int
    limit: float
    accept: int
    sample: int
    shown: str | None
    finding: Finding | None


@router.get("/studies/{name}/inspections", include_in_schema=False)
def every(
    request: Request, hub: AnyHub, session: Asking, name: str, column: Annotated[str, Query(max_length=200)] = "label",
    limit: AskedPercent = None, confidence: AskedPercent = None, double: AskedPercent = None,
) -> Response:  # fmt: skip
    """All inspections of a set, and the form of a new one with what it would take."""
    there = study_page.of(hub, session, name)
    wanted = inspections.rules(hub)
    told = inspections.told(hub, name)
    parts = studies.parts(hub.database, name)
    eligible = [who for who, has in parts.items() if "inspector" in has]
    people = accounts.by_id(hub.database, eligible)
    steward = session.account.has("steward")
    numbers = Numbers(
        column,
        100 * wanted.limit if limit is None else limit,
        100 * (1 - wanted.risk) if confidence is None else confidence,
        100 * wanted.double if double is None else double,
    )  # fmt: skip
    sized, trouble = _sized(request, hub, there, numbers) if steward else (None, "")
    return page(
        request, "inspections.html.j2", study=there, same=board.checked(hub, name), told=told, rules=wanted,
        mine=study_page.own_parts(hub, session, name), eligible=[people[one] for one in eligible if one in people],
        seats={one.inspection.id: inspections.inspectors(hub, one.inspection) for one in told}, asked=numbers,
        sized=sized, trouble=trouble, columns=inspections.columns(there.folder),
        open_=any(one.inspection.state == "open" for one in told),
    )  # fmt: skip


@router.post("/studies/{name}/inspections", include_in_schema=False)
def plan(
    hub: AnyHub, session: Acting, name: str, ko: Text, en: Text, question_ko: Text, question_en: Text, column: Text,
    limit: Percent, confidence: Percent, double: Percent, inspectors: Annotated[list[str], Form()] = [],  # noqa: B006
) -> Response:  # fmt: skip
    """Freeze a plan and draw its sample."""
    _steward(hub, session, name)
    asked = Asked(
        {"ko": ko, "en": en}, {"ko": question_ko, "en": question_en}, column, limit / 100, confidence / 100,
        double / 100, inspectors,
    )  # fmt: skip
    made = inspections.plan(hub, session.account.id, name, asked)
    return RedirectResponse(f"/inspections/{made.id}", 303)


@router.post("/inspections/{key}/close", include_in_schema=False)
def close(hub: AnyHub, session: Acting, key: str) -> Response:
    """End an inspection."""
    one = inspections.of(hub, key)
    _steward(hub, session, one.study)
    inspections.close(hub, session.account.id, one)
    return RedirectResponse(f"/inspections/{key}", 303)


@router.get("/inspections/{key}", include_in_schema=False)
def shown(request: Request, hub: AnyHub, session: Asking, key: str) -> Response:
    """The plan of an inspection, and what it shows once it is closed."""
    one = _seen(hub, session, key)
    there = studies.of(hub.database, one.study)
    closed = one.state == "closed"
    result = inspections.result(hub, one) if closed else None
    seats = inspections.inspectors(hub, one)
    points, curve = sampleplan.characteristic(one.plan)
    return page(
        request, "inspection.html.j2", study=there, same=board.checked(hub, one.study), one=one, plan=one.plan,
        mine=study_page.own_parts(hub, session, one.study), result=result,
        current=there.candidate == one.plan.candidate,
        seats=seats, people=accounts.by_id(hub.database, list(seats)), statements=inspecting.statements(hub, one),
        work=inspecting.worklist(hub, one) if closed else [], curve=_curve(one.plan, points, curve), points=points,
        found={each.quantity: each for each in result.findings} if result else {},
    )  # fmt: skip


@router.get("/inspections/{key}/worklist.csv", include_in_schema=False)
def work_csv(hub: AnyHub, session: Asking, key: str) -> Response:
    """What is to be mended, as a table for a spreadsheet."""
    rows = inspecting.worklist(hub, _seen(hub, session, key))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for one in rows:
        told = {**one.model_dump(), "reasons": " ".join(one.reasons)}
        told |= {"x": one.place[0], "y": one.place[1]} if one.place else {"x": "", "y": ""}
        writer.writerow([_plain(told[column]) for column in COLUMNS])
    headers = {"content-disposition": f'attachment; filename="{key}.worklist.csv"'}
    return PlainTextResponse("\ufeff" + text.getvalue(), media_type="text/csv", headers=headers)


# -------------------------------------------------------------------------------------------------- JSON


@router.get("/api/studies/{name}/inspections", tags=["inspection"])
def listed(hub: AnyHub, session: Asking, name: str) -> list[Told]:
    """Every inspection of a study, the newest first; numbers only of closed ones."""
    study_page.of(hub, session, name)
    return [
        Told(
            id=one.inspection.id, state=one.inspection.state, current=one.current, plan=one.inspection.plan.digest,
            candidate=one.inspection.plan.candidate, attempt=one.inspection.plan.attempt,
            limit=one.inspection.plan.quality.limit, accept=one.inspection.plan.accept,
            sample=one.inspection.plan.sample, shown=one.result.shown if one.result else None, finding=one.finding,
        )
        for one in inspections.told(hub, name)
    ]  # fmt: skip


@router.get("/api/inspections/{key}/plan", tags=["inspection"])
def plan_json(hub: AnyHub, session: Asking, key: str) -> SamplePlan:
    """The plan as it was frozen, for a steward or once the inspection is closed: it names what is due to whom."""
    one = _seen(hub, session, key)
    if one.state != "closed" and not session.account.has("steward"):
        raise HubError("검수를 닫은 뒤에 볼 수 있습니다.", "It can be seen when the inspection is closed.")
    return one.plan


@router.get("/api/inspections/{key}/result", tags=["inspection"])
def result_json(hub: AnyHub, session: Asking, key: str) -> dict[str, Any]:
    """What the judgements show, once the inspection is closed."""
    found = inspections.result(hub, _seen(hub, session, key))
    rows = [
        {**row._asdict(), "shares": {name: {"value": v, **i.model_dump()} for name, (v, i) in row.shares.items()}}
        for row in (found.whole, *found.rows)
    ]
    findings = [one.model_dump(mode="json") for one in found.findings]
    return {**found._asdict(), "whole": rows[0], "rows": rows[1:], "findings": findings}


@router.get("/api/inspections/{key}/worklist", tags=["inspection"])
def work_json(hub: AnyHub, session: Asking, key: str) -> list[Work]:
    """What is to be mended, and what is to be taken out or made anew."""
    return inspecting.worklist(hub, _seen(hub, session, key))


def _sized(request: Request, hub: Hub, there: studies.Study, asked: Numbers) -> tuple[Proposal | None, str]:
    """The sample that numbers ask for, or why there is none."""
    try:
        return inspections.proposed(
            hub, there.folder, asked.column, asked.limit / 100, asked.confidence / 100, asked.double / 100
        ), ""
    except HubError as error:
        return None, (error.ko, error.en)[LANGUAGES.index(language_of(request))]


def _curve(plan_: SamplePlan, points: dict[str, float], curve: tuple[tuple[int, float], ...]) -> Markup:
    """The operating characteristic as a drawing."""
    single = sampling.Plan(plan_.size, plan_.sample, plan_.accept)
    return oc_curve(Lot(name="", plan=single, points=points, curve=curve), BELOW)


def _seen(hub: Hub, session: Session, key: str) -> Inspection:
    """An inspection, for those who may look at its study."""
    one = inspections.of(hub, key)
    study_page.of(hub, session, one.study)
    return one


def _steward(hub: Hub, session: Session, name: str) -> None:
    study_page.of(hub, session, name)
    if not session.account.has("steward"):
        raise NotAllowedError("검수는 데이터 관리자가 엽니다.", "A steward plans inspections.")


def _plain(value: object) -> str:
    """A cell that a spreadsheet does not take for a formula.

    >>> _plain("=1+1"), _plain(0.25), _plain("a - b")
    ("'=1+1", '0.25', 'a - b')
    """
    text = str(value)
    return f"'{text}" if isinstance(value, str) and text.startswith(FORMULA) else text
