"""What people state, vote and decide about a study: records that are added and never changed.

A record is written with the event of the trail that tells of it and carries that event's number; the newest record of a
name is the one that stands. The trail holds its digest, so a changed record is found.
"""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

import sqlalchemy as sql

from chambit.core import digest
from chambit.hub import trail
from chambit.hub.database import Database
from chambit.hub.tables import event, record


class Record(NamedTuple):
    """One record: number of its event, kind and name, who wrote it and when, and what it says."""

    number: int
    kind: str
    name: str
    by: str
    time: float
    body: dict[str, Any]
    digest: str


def add(
    connection: sql.Connection, by: str, study: str, kind: str, name: str, body: Mapping[str, Any], **told: str
) -> str:
    """Write a record and its event in one transaction; returns the record's digest.

    Args:
        connection: of `Database.writing`.
        by: account id of who writes it.
        study: which it is about.
        kind: such as `ballot`.
        name: what it is called among its kind; an earlier record of the name stands no longer.
        body: what JSON can hold.
        told: further particulars for the event.
    """
    text = digest.canonical(dict(body))
    sealed = digest.of_bytes(text.encode())
    trail.append(connection, by, f"{kind}.recorded", study, {"name": name, "digest": sealed} | told)
    number = connection.execute(sql.select(sql.func.max(event.c.number))).scalar_one()
    connection.execute(
        record.insert().values(number=number, study=study, kind=kind, name=name, body=text, digest=sealed)
    )
    return sealed


def any_of(connection: sql.Connection, study: str, kind: str) -> bool:
    """Whether a study has a record of this kind."""
    where = (record.c.study == study) & (record.c.kind == kind)
    return connection.execute(sql.select(record.c.number).where(where).limit(1)).first() is not None


def there(connection: sql.Connection, study: str, kind: str, name: str) -> bool:
    """Whether a record of this name stands, as this transaction sees it."""
    where = (record.c.study == study) & (record.c.kind == kind) & (record.c.name == name)
    return connection.execute(sql.select(record.c.number).where(where)).first() is not None


def every(database: Database, study: str, kind: str) -> list[Record]:
    """All records of a kind, oldest first, those that stand no longer too."""
    query = (
        sql.select(record, event.c.actor, event.c.time)
        .join(event, event.c.number == record.c.number)
        .where(record.c.study == study, record.c.kind == kind)
        .order_by(record.c.number)
    )
    with database.reading() as connection:
        rows = connection.execute(query).all()
    return [
        Record(row.number, row.kind, row.name, row.actor, row.time, json.loads(row.body), row.digest) for row in rows
    ]


def standing(database: Database, study: str, kind: str) -> dict[str, Record]:
    """The newest record of each name, in the order in which the names appeared."""
    found: dict[str, Record] = {}
    for one in every(database, study, kind):
        found[one.name] = one
    return found


def altered(database: Database) -> list[int]:
    """Numbers of records that do not say what the trail says they said."""
    query = sql.select(record, event.c.body.label("told")).join(event, event.c.number == record.c.number)
    with database.reading() as connection:
        rows = connection.execute(query).all()
    return [
        row.number
        for row in rows
        if digest.of_bytes(row.body.encode()) != row.digest or json.loads(row.told)["digest"] != row.digest
    ]
