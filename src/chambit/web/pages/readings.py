"""Reader studies of a set: planned, who reads, how far they are, and what their votes show once the study is closed."""

from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import PlainTextResponse, RedirectResponse, Response

from chambit.hub import accounts, board, material, readings, studies
from chambit.hub.hub import Hub
from chambit.hub.readings import Reading
from chambit.hub.refusals import HubError, NotAllowedError
from chambit.hub.sessions import Session
from chambit.reading import imrmc, power
from chambit.reading.votes import table
from chambit.web.asking import Acting, AnyHub, Asking
from chambit.web.pages import study as study_page
from chambit.web.rendering import page

router = APIRouter(include_in_schema=False)
Text = Annotated[str, Form(max_length=400)]
WORLD = power.World(reader_sd=0.2, image_sd=0.6, accuracy=0.5)
"""What the planner supposes: readers that differ by 0.2 probit, images by 0.6, and a set that cannot be told apart."""


@router.get("/studies/{name}/readings")
def every(request: Request, hub: AnyHub, session: Asking, name: str) -> Response:
    """All reader studies of a set, and the form of a new one."""
    there = study_page.of(hub, session, name)
    same = board.checked(hub, name)
    mine = study_page.own_parts(hub, session, name)
    asked = readings.rules(hub)
    found = readings.listed(hub, name)
    seats = {one.id: readings.seats(hub, one) for one in found}
    parts = studies.parts(hub.database, name)
    eligible = [who for who, has in parts.items() if "reader" in has]
    most = _most(there.folder, asked.practice) if session.account.has("steward") else 0
    return page(
        request, "readings.html.j2", study=there, same=same, mine=mine, readings=found, seats=seats, rules=asked,
        people=accounts.by_id(hub.database, eligible), eligible=eligible, most=most,
        total={one.id: one.protocol.images + 2 * one.protocol.repeated + one.protocol.practice for one in found},
    )  # fmt: skip


@router.post("/studies/{name}/readings")
def plan(
    hub: AnyHub, session: Acting, name: str, ko: Text, en: Text, images: Annotated[int, Form(ge=1, le=2000)],
    plausibility: Text = "",
) -> Response:  # fmt: skip
    """Freeze a protocol and draw its pictures."""
    _steward(hub, session, name)
    made = readings.plan(hub, session.account.id, name, {"ko": ko, "en": en}, images, bool(plausibility))
    return RedirectResponse(f"/studies/{name}/readings#{made.id}", 303)


@router.post("/readings/{key}/seats")
def invite(
    hub: AnyHub, session: Acting, key: str, account: Text, outside: Text = "", experience: Text = ""
) -> Response:
    """Invite a reader."""
    one = readings.of(hub, key)
    _steward(hub, session, one.study)
    readings.invite(hub, session.account.id, one, account, bool(outside), experience)
    return RedirectResponse(f"/studies/{one.study}/readings#{key}", 303)


@router.post("/readings/{key}/close")
def close(hub: AnyHub, session: Acting, key: str) -> Response:
    """End a reader study."""
    one = readings.of(hub, key)
    _steward(hub, session, one.study)
    readings.close(hub, session.account.id, one)
    return RedirectResponse(f"/readings/{key}/results", 303)


@router.get("/readings/{key}/results")
def results(request: Request, hub: AnyHub, session: Asking, key: str) -> Response:
    """What the votes show; readers stand under their pseudonyms."""
    one = _seen(hub, session, key)
    found = {each.quantity: each for each in readings.analysed(hub, one)}
    if not found:
        raise HubError("이 판독 연구에는 답이 하나도 없습니다.", "Nobody has read in this reader study.")
    there = studies.of(hub.database, one.study)
    planned = power.power(
        max(2, len(readings.seats(hub, one))), one.protocol.images, WORLD, margin=one.protocol.margin,
        level=one.protocol.level, draws=500, seed=one.protocol.seed,
    )  # fmt: skip
    return page(
        request, "reading_results.html.j2", study=there, same=board.checked(hub, one.study), one=one, found=found,
        mine=study_page.own_parts(hub, session, one.study), telltales=material.kept(one.folder).telltales,
        planned=planned, seats=readings.seats(hub, one),
    )  # fmt: skip


@router.get("/readings/{key}/imrmc.csv")
def export(hub: AnyHub, session: Asking, key: str) -> Response:
    """First readings in the layout of iMRMC, under pseudonyms."""
    one = _seen(hub, session, key)
    readings.analysed(hub, one)  # refuses while the study is open
    headers = {"content-disposition": f'attachment; filename="{key}.imrmc.csv"'}
    return PlainTextResponse(imrmc.exported(table(readings.votes(hub, one)), key), headers=headers)


def _seen(hub: Hub, session: Session, key: str) -> Reading:
    """A reader study, for those who may look at its study."""
    one = readings.of(hub, key)
    study_page.of(hub, session, one.study)
    return one


def _steward(hub: Hub, session: Session, name: str) -> None:
    study_page.of(hub, session, name)
    if not session.account.has("steward"):
        raise NotAllowedError("판독 연구는 데이터 관리자가 엽니다.", "A steward plans reader studies.")


def _most(folder: object, practice: int) -> int:
    """The most images of each kind that can be asked for, 0 where there are no held-out images."""
    from pathlib import Path

    from chambit.core.errors import InputError

    try:
        there = material.available(material.sets_of(Path(str(folder))))
    except InputError:
        return 0
    return max(0, sum(there.values()) - practice // 2)
