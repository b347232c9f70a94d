"""Judgements of inspectors as the database keeps them: added with their event, never changed; the newest one stands."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

import sqlalchemy as sql

from chambit.core import digest
from chambit.hub import trail
from chambit.hub.hub import Hub
from chambit.hub.tables import event, judgement
from chambit.reading import inspected
from chambit.reading.inspected import Judgement
from chambit.reading.sampleplan import SamplePlan


class Kept(NamedTuple):
    """A judgement with the number of its event, which is its own."""

    number: int
    seat: int
    judgement: Judgement


class Past(Protocol):
    """An inspection as this module needs to know it: id, plan, and whether it is open."""

    @property
    def id(self) -> str:
        """Its id."""

    @property
    def plan(self) -> SamplePlan:
        """Its plan."""

    @property
    def state(self) -> str:
        """`open` or `closed`."""


def add(connection: sql.Connection, by: str, study: str, inspection: str, seat: int, given: Judgement, old: int) -> int:
    """Write a judgement with its event in one transaction; returns its number.

    Args:
        connection: of `Database.writing`.
        by: account id of the inspector.
        study: whose set is inspected.
        inspection: its id.
        seat: number of the inspector.
        given: the judgement.
        old: number of the judgement in whose place it stands, 0 where it is the first.
    """
    text = digest.canonical(given.model_dump(mode="json"))
    sealed = digest.of_bytes(text.encode())
    told = {"inspection": inspection, "inspector": given.inspector, "image": given.image, "digest": sealed}
    trail.append(connection, by, "inspection.judged", study, told | ({"replaces": old} if old else {}))
    number = int(connection.execute(sql.select(sql.func.max(event.c.number))).scalar_one())
    row = {"number": number, "inspection": inspection, "seat": seat, "image": given.image}
    connection.execute(judgement.insert().values(**row, body=text, digest=sealed))
    return number


def newest(connection: sql.Connection, inspection: str, seat: int | None = None) -> list[Kept]:
    """The judgement that stands of each inspector and image, in the order they were made; of one inspector or all."""
    mine = judgement.c.inspection == inspection
    last = sql.select(sql.func.max(judgement.c.number)).where(mine).group_by(judgement.c.seat, judgement.c.image)
    query = sql.select(judgement).where(judgement.c.number.in_(last)).order_by(judgement.c.number)
    return _kept(connection, query if seat is None else query.where(judgement.c.seat == seat))


def of_image(connection: sql.Connection, inspection: str, seat: int, image: str) -> list[Kept]:
    """All judgements of one image by one inspector, the newest first."""
    where = (judgement.c.inspection == inspection) & (judgement.c.seat == seat) & (judgement.c.image == image)
    return _kept(connection, sql.select(judgement).where(where).order_by(judgement.c.number.desc()))


def counted(hub: Hub, inspection: str, plan: SamplePlan) -> dict[str, list[Judgement]]:
    """By image the judgements that stand: of this inspection, and those that carried over."""
    carried = {number: item.image for item in plan.items for number in item.carried}
    found: dict[str, list[Judgement]] = {}
    with hub.database.reading() as connection:
        for one in newest(connection, inspection):
            found.setdefault(one.judgement.image, []).append(one.judgement)
        query = sql.select(judgement).where(judgement.c.number.in_(list(carried))).order_by(judgement.c.number)
        for one in _kept(connection, query):
            found.setdefault(carried[one.number], []).append(one.judgement)
    return found


def from_before(
    hub: Hub, past: Sequence[Past], now: Mapping[str, str]
) -> tuple[dict[str, tuple[int, ...]], tuple[str, ...]]:
    """What earlier inspections of a study leave to a new one.

    Args:
        hub: where they are.
        past: all of them, oldest first; open ones leave nothing.
        now: key of every image of the set as it is now, by id.

    Returns:
        Numbers of the judgements that carry over, by key; and the ids of images that were to be mended or were rejected
        and are others now.
    """
    carried: dict[str, tuple[int, ...]] = {}
    last: dict[str, Judgement] = {}
    for one in past:
        if one.state != "closed":
            continue
        with hub.database.reading() as connection:
            kept = newest(connection, one.id)
        by_image: dict[str, list[Kept]] = {}
        for each in kept:
            by_image.setdefault(each.judgement.image, []).append(each)
        for item in one.plan.items:
            there = by_image.get(item.image, [])
            if item.seats and len(there) == len(item.seats):
                carried[item.key] = tuple(each.number for each in there)
                last |= inspected.standing([each.judgement for each in there])
    changed = (
        image for image, said in last.items() if said.decision != "accept" and now.get(image, said.key) != said.key
    )
    return carried, tuple(sorted(changed))


def sealed(connection: sql.Connection, inspection: str) -> str:
    """One digest over every judgement of an inspection, older ones too."""
    query = sql.select(judgement.c.digest).where(judgement.c.inspection == inspection).order_by(judgement.c.number)
    return digest.of_json(list(connection.execute(query).scalars()))


def altered(hub: Hub) -> list[int]:
    """Numbers of judgements that do not say what the trail says they said."""
    query = sql.select(judgement, event.c.body.label("told")).join(event, event.c.number == judgement.c.number)
    with hub.database.reading() as connection:
        rows = connection.execute(query).all()
    return [
        row.number
        for row in rows
        if digest.of_bytes(row.body.encode()) != row.digest or f'"digest":"{row.digest}"' not in row.told
    ]


def _kept(connection: sql.Connection, query: sql.Select) -> list[Kept]:  # type: ignore[type-arg]
    return [
        Kept(row.number, row.seat, Judgement.model_validate_json(row.body)) for row in connection.execute(query)
    ]  # fmt: skip
