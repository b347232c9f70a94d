"""What an inspector does: states who they are, is shown one image after the other, and judges each.

A judgement is acknowledged when it is on disk with its event. Until the inspection is closed another may take its
place, which names the one it saw standing; both are kept.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import sqlalchemy as sql
from pydantic import Field, ValidationError

from chambit.core.evidence import Frozen
from chambit.hub import imagetable, inspections, judgements, records, studies
from chambit.hub.hub import Hub
from chambit.hub.inspections import Inspection, Inspector
from chambit.hub.judgements import Kept
from chambit.hub.records import Record
from chambit.hub.refusals import HubError, NotAllowedError, NotThereError
from chambit.hub.tables import inspection, study
from chambit.reading import inspected, sampleplan
from chambit.reading.inspected import Judgement
from chambit.reading.sampleplan import Item

STATEMENT = "inspector_statement"
REMOVE = "remove"


class Statement(Frozen):
    """Who inspects, as stated by the person; nothing that names a person, and no number of a licence.

    Attributes:
        speciality: such as thoracic radiology.
        years: since becoming a specialist.
        institution: where the person works.
        no_conflict: no part in making this set, and no interest in its release.
    """

    speciality: str = Field(min_length=1, max_length=120)
    years: int = Field(ge=0, le=80)
    institution: str = Field(min_length=1, max_length=120)
    no_conflict: bool


class Shown(NamedTuple):
    """One image as an inspector has it on the screen.

    Attributes:
        position: its place in the inspector's own order, from 0.
        of: how many images the inspector has.
        done: how many of them are judged.
        item: the image; None where all are judged and no place was asked for.
        rows: what is known of it, of a film or volume a row for each frame.
        history: the inspector's judgements of it, the newest first.
    """

    position: int
    of: int
    done: int
    item: Item | None
    rows: tuple[dict[str, str], ...]
    history: tuple[Kept, ...]


class Work(Frozen):
    """One line of the work list: the image, its label, what is to be done, and what the inspector said of it."""

    image: str
    label: str
    act: str
    to: str
    reasons: tuple[str, ...]
    text: str
    place: tuple[float, float] | None
    frame: int
    inspector: str
    key: str


def mine(hub: Hub, one: Inspection, account: str) -> Inspector:
    """The seat of an inspector.

    Raises:
        NotThereError: when the person was not named in the plan.
        NotAllowedError: when the person is no inspector of the study any more.
    """
    found = inspections.inspectors(hub, one).get(account)
    if found is None:
        raise NotThereError("이 검수의 검수자가 아닙니다.", "You are no inspector of this inspection.")
    if "inspector" not in studies.parts(hub.database, one.study).get(account, set()):
        raise NotAllowedError(
            "이 연구의 검수자 지정이 해제되었습니다. 데이터 관리자에게 물어보십시오.",
            "You are no longer an inspector of this study. Ask a steward.",
        )
    return found


def state(hub: Hub, one: Inspection, who: Inspector, given: Mapping[str, Any]) -> None:
    """Take a person's statement of who they are; it can be given anew.

    Raises:
        HubError: when something is missing, or the person states a conflict of interest.
    """
    try:
        said = Statement.model_validate(dict(given))
    except ValidationError as error:
        where = ", ".join(sorted({".".join(map(str, each["loc"])) for each in error.errors()}))
        raise HubError(f"빠졌거나 잘못된 칸: {where}", f"Missing or wrong: {where}") from None
    if not said.no_conflict:
        raise HubError(
            "이해관계가 있으면 검수할 수 없습니다. 데이터 관리자에게 알려 다른 사람을 지정하게 하십시오.",
            "Who has an interest does not inspect. Tell a steward, who names somebody else.",
        )
    with hub.database.writing() as connection:
        name = f"{one.id}.{who.pseudonym}"
        records.add(connection, who.account, one.study, STATEMENT, name, said.model_dump(mode="json"))


def statements(hub: Hub, one: Inspection) -> dict[str, Record]:
    """The statement of each inspector that has given one, by pseudonym."""
    found = records.standing(hub.database, one.study, STATEMENT)
    return {name.rsplit(".", 1)[1]: said for name, said in found.items() if name.rsplit(".", 1)[0] == one.id}


def shown(hub: Hub, one: Inspection, who: Inspector, position: int | None = None) -> Shown:
    """The image at a place of the inspector's order; without a place the first that is not judged.

    Raises:
        HubError: before the person has stated who they are, or when the set is no longer the one of the plan.
        NotThereError: for a place after the first image that is not judged.
    """
    _ready(hub, one, who)
    order = sampleplan.order(one.plan, who.number)
    with hub.database.reading() as connection:
        judged = {each.judgement.image for each in judgements.newest(connection, one.id, who.number)}
    due = next((k for k, item in enumerate(order) if item.image not in judged), len(order))
    at = due if position is None else position
    if not 0 <= at <= min(due, len(order) - (position is not None)):
        raise NotThereError("지금 볼 영상이 아닙니다.", "This image is not the one that is due.")
    if at == len(order):
        return Shown(at, len(order), len(judged), None, (), ())
    with hub.database.reading() as connection:
        history = judgements.of_image(connection, one.id, who.number, order[at].image)
    return Shown(at, len(order), len(judged), order[at], _rows(hub, one, order[at]), tuple(history))


def picture(hub: Hub, one: Inspection, who: Inspector, position: int, frame: int) -> np.ndarray:
    """The pixels of one image or frame, as they were measured: uint16 (H, W) or (H, W, 3), of 8 bits scaled by 257.

    Raises:
        NotThereError: as `shown`, and for a frame that does not exist.
        HubError: as `shown`, and when the pixels are not those that were measured.
    """
    rows = shown(hub, one, who, position).rows
    if not 0 <= frame < len(rows):
        raise NotThereError("이런 프레임이 없습니다.", "There is no such frame.")
    pixels, _ = imagetable.picture(inspections.pictures(hub, one), rows[frame]["id"])
    deep = pixels.astype("<u2") * (257 if pixels.dtype == np.uint8 else 1)
    found: np.ndarray = (deep[..., :3] if deep.ndim == 3 else deep).astype("<u2")
    return found


def judge(hub: Hub, one: Inspection, who: Inspector, position: int, given: Mapping[str, Any], old: int) -> int:
    """Take a judgement; when this returns its number it is on disk.

    The same judgement again, as after a lost reply, is fine.

    Args:
        hub: where it is.
        one: the inspection.
        who: the inspector.
        position: of the image in the inspector's order.
        given: fields of `Judgement` that the inspector fills.
        old: number of the judgement that stood when this one was made, 0 where there was none.

    Raises:
        HubError: when the inspection is closed, the judgement is not of the right form, or another stands meanwhile.
        NotThereError: as `shown`.
    """
    there = shown(hub, one, who, position)
    assert there.item is not None  # a place was asked for
    made = _judgement(one, who, there, given)
    with hub.database.writing() as connection:
        standing = judgements.of_image(connection, one.id, who.number, there.item.image)[:1]
        if standing and _same(standing[0].judgement, made):
            return standing[0].number
        if connection.execute(sql.select(inspection.c.state).where(inspection.c.id == one.id)).scalar() != "open":
            raise HubError("이 검수는 닫혔습니다.", "This inspection is closed.")
        candidate = connection.execute(sql.select(study.c.candidate).where(study.c.id == one.study)).scalar()
        if candidate != one.plan.candidate:
            raise _changed()
        if old != (standing[0].number if standing else 0):
            raise HubError(
                "이 영상은 그사이 다른 창에서 판단되었습니다. 새로 열어 보고 다시 정하십시오.",
                "This image was judged elsewhere meanwhile. Open it again and decide anew.",
            )
        return judgements.add(connection, who.account, one.study, one.id, who.number, made, old)


def worklist(hub: Hub, one: Inspection) -> list[Work]:
    """What is to be mended, and what is to be taken out; nothing in the set is changed by it.

    Raises:
        HubError: while the inspection is open.
    """
    inspections.result(hub, one)  # refuses while the inspection is open
    said = judgements.counted(hub, one.id, one.plan)
    stands = inspected.standing([each for item in one.plan.items for each in said.get(item.image, ())])
    rows = imagetable.rows_of(inspections.pictures(hub, one), list(stands))
    labels = {row["id"]: row["label"] for row in rows}
    return [
        Work(
            image=item.image, label=labels.get(item.image, ""), act=each.mend or REMOVE, to=each.label,
            reasons=each.reasons, text=each.text, place=each.place, frame=each.frame, inspector=each.inspector,
            key=item.key,
        )
        for item in one.plan.items
        if (each := stands.get(item.image)) is not None and each.decision != "accept"
    ]  # fmt: skip


def _ready(hub: Hub, one: Inspection, who: Inspector) -> None:
    if who.pseudonym not in statements(hub, one):
        raise HubError("먼저 검수자 진술을 적어 주십시오.", "State first who you are.")
    if studies.of(hub.database, one.study).candidate != one.plan.candidate:
        raise _changed()


def _rows(hub: Hub, one: Inspection, item: Item) -> tuple[dict[str, str], ...]:
    rows, key = inspections.looked_at(studies.of(hub.database, one.study).folder, item.image)
    if key != item.key:
        raise _changed()
    return tuple(rows)


def _judgement(one: Inspection, who: Inspector, there: Shown, given: Mapping[str, Any]) -> Judgement:
    assert there.item is not None
    labels = {row["label"] for row in there.rows}
    try:
        made = Judgement.model_validate(
            {
                **given, "plan": one.plan.digest, "inspector": who.pseudonym, "image": there.item.image,
                "key": there.item.key,
            }
        )  # fmt: skip
        wrong = inspected.mistakes(one.plan, made, labels.pop() if len(labels) == 1 else "")
    except ValidationError as error:
        wrong = sorted({".".join(map(str, each["loc"])) for each in error.errors()})
    if wrong or made.frame >= len(there.rows):
        where = ", ".join(wrong) or "frame"
        raise HubError(f"판단이 맞지 않습니다: {where}", f"The judgement is not of the right form: {where}")
    return made


def _same(one: Judgement, other: Judgement) -> bool:
    """Whether two judgements say the same, however long they took."""
    aside = {"seconds", "moves"}
    return one.model_dump(exclude=aside) == other.model_dump(exclude=aside)


def _changed() -> HubError:
    return HubError(
        "영상 세트가 이 검수의 계획과 달라졌습니다. 지금 세트로 검수를 새로 여십시오.",
        "The set is no longer the one of this plan. Plan an inspection of the set as it is now.",
    )
