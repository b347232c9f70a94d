"""The trail: every act of a person or of the hub itself, chained by hashes and written in the act's own transaction.

    hash = SHA-256(previous hash || canonical JSON of number, time, actor, kind, about and body)

The database refuses to change or delete a row (triggers). One who takes the triggers away and edits a row is found by
`verify`; one who cuts the newest rows off is found only by a head that was kept elsewhere.
"""

import json
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

import sqlalchemy as sql

from chambit.core import digest
from chambit.hub.database import Database
from chambit.hub.tables import event

FIRST = "0" * 64
HUB = "hub"
"""Who acts where no person does."""
_LOCK = 7_201_995
"""Number of the advisory lock that keeps two appends apart in PostgreSQL."""


class Event(NamedTuple):
    """One row: number from 1, time in seconds, account id of who acted, kind, what it is about, and particulars."""

    number: int
    time: float
    actor: str
    kind: str
    about: str
    body: dict[str, Any]
    previous: str
    hash: str


class Broken(NamedTuple):
    """Where a chain does not hold: number of the first event that does not follow, and why."""

    number: int
    why: str


def append(connection: sql.Connection, actor: str, kind: str, about: str, body: Mapping[str, Any]) -> str:
    """Write one event in the transaction of what it tells; returns its hash.

    Args:
        connection: of `Database.writing`.
        actor: account id, or `HUB`.
        kind: such as `session.opened`.
        about: id of the study or account it concerns, or ''.
        body: particulars; no name of a person and nothing of a patient.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(sql.select(sql.func.pg_advisory_xact_lock(_LOCK)))
    last = connection.execute(sql.select(event.c.number, event.c.hash).order_by(event.c.number.desc()).limit(1)).first()
    number, previous = (last.number + 1, last.hash) if last else (1, FIRST)
    row = {
        "number": number, "time": round(time.time(), 3), "actor": actor, "kind": kind, "about": about,
        "body": digest.canonical(dict(body)),
    }  # fmt: skip
    chained = _chained(previous, row)
    connection.execute(event.insert().values(**row, previous=previous, hash=chained))
    return chained


def events(database: Database, about: str | None = None, after: int = 0, limit: int = 1000) -> list[Event]:
    """Events in their order, all or of one thing, from a number on."""
    query = sql.select(event).where(event.c.number > after).order_by(event.c.number).limit(limit)
    if about is not None:
        query = query.where(event.c.about == about)
    with database.reading() as connection:
        return [_event(row) for row in connection.execute(query)]


def newest(
    database: Database, about: str | None = None, limit: int = 50, kind: str | None = None, before: int | None = None
) -> list[Event]:
    """The newest events, newest first: all, of one thing, of one kind, with numbers below one."""
    query = sql.select(event).order_by(event.c.number.desc()).limit(limit)
    if about is not None:
        query = query.where(event.c.about == about)
    if kind is not None:
        query = query.where(event.c.kind == kind)
    if before is not None:
        query = query.where(event.c.number < before)
    with database.reading() as connection:
        return [_event(row) for row in connection.execute(query)]


def kinds(database: Database) -> list[str]:
    """Every kind of event there has been."""
    with database.reading() as connection:
        return list(connection.execute(sql.select(event.c.kind).distinct().order_by(event.c.kind)).scalars())


def head(database: Database) -> tuple[int, str]:
    """Number and hash of the newest event; 0 and zeros when there is none."""
    with database.reading() as connection:
        row = connection.execute(sql.select(event.c.number, event.c.hash).order_by(event.c.number.desc())).first()
    return (row.number, row.hash) if row else (0, FIRST)


def verify(database: Database, signed: tuple[int, str] | None = None) -> Broken | None:
    """Walk the chain; None when it holds.

    Args:
        database: of the hub.
        signed: number and hash of a head that was kept elsewhere; it must be in the chain.
    """
    previous, number = FIRST, 0
    with database.reading() as connection:
        for row in connection.execution_options(yield_per=1000).execute(sql.select(event).order_by(event.c.number)):
            number += 1
            if row.number != number:
                return Broken(number, f"event {number} is missing")
            kept = {name: getattr(row, name) for name in ("number", "time", "actor", "kind", "about", "body")}
            if row.previous != previous or row.hash != _chained(previous, kept):
                return Broken(number, f"event {number} ({row.kind}) was altered, or one before it")
            previous = row.hash
            if signed is not None and signed[0] == number and signed[1] != previous:
                return Broken(number, f"event {number} is not the one whose hash was kept elsewhere")
    if signed is not None and signed[0] > number:
        return Broken(number + 1, f"the newest events were cut off: {signed[0]} were there, {number} are left")
    return None


def _chained(previous: str, row: Mapping[str, Any]) -> str:
    return digest.of_bytes((previous + digest.canonical(dict(row))).encode())


def _event(row: Any) -> Event:
    return Event(*(json.loads(value) if name == "body" else value for name, value in row._mapping.items()))
