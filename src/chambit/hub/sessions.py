"""Sessions: a random token that only its cookie holds, kept as a hash, with a token of its own against forged forms.

A session ends after a time without a request and after a longer one in any case (settings of the hub). Where the
account has a second factor it is incomplete until the code was right, and lets nobody in before.
"""

import secrets
import time
from typing import NamedTuple

import sqlalchemy as sql

from chambit.core import digest
from chambit.hub import accounts, trail
from chambit.hub.accounts import Account
from chambit.hub.database import Database
from chambit.hub.settings import Life
from chambit.hub.tables import account, session

REFRESH = 60.0
"""Seconds between two notes that a session is in use."""


class Session(NamedTuple):
    """An open session.

    Attributes:
        key: of its row.
        account: whose it is.
        csrf: the token that its forms must carry.
        complete: whether the second factor was given, where the account has one.
        id_token: of the identity provider that it was opened through, '' where it was a password.
    """

    key: str
    account: Account
    csrf: str
    complete: bool
    id_token: str


def open_for(database: Database, owner: Account, now: float | None = None, id_token: str = "") -> str:
    """Begin a session and return its token, which is kept nowhere here."""
    now = time.time() if now is None else now
    token = secrets.token_urlsafe(32)
    row = {
        "token": digest.of_bytes(token.encode()), "account": owner.id, "csrf": secrets.token_urlsafe(32),
        "created": now, "seen": now, "complete": not owner.second,
        "id_token": id_token or None,
    }  # fmt: skip
    told = {"second factor": owner.second} | ({"issuer": owner.issuer} if id_token else {})
    with database.writing() as connection:
        connection.execute(session.insert().values(**row))
        trail.append(connection, owner.id, "session.opened", owner.id, told)
    return token


def of_token(database: Database, token: str, life: Life, now: float | None = None) -> Session | None:
    """The session of a token, None when there is none, it has ended, or its account was shut."""
    now = time.time() if now is None else now
    key = digest.of_bytes(token.encode())
    query = sql.select(session, account.c.disabled, account.c.waiting).join(account, account.c.id == session.c.account)
    with database.reading() as connection:
        row = connection.execute(query.where(session.c.token == key)).first()
    if row is None or row.disabled or row.waiting or now - row.seen > life.idle or now - row.created > life.whole:
        return None
    if now - row.seen > REFRESH:
        with database.writing() as connection:
            connection.execute(session.update().where(session.c.token == key).values(seen=now))
    owner = accounts.by_id(database, [row.account])[row.account]
    return Session(key, owner, row.csrf, bool(row.complete), row.id_token or "")


def completed(database: Database, open_one: Session, code: str, now: float | None = None) -> None:
    """Give the second factor of a session.

    Raises:
        HubError: when the code is wrong or was used.
    """
    accounts.second_right(database, open_one.account.id, code, now)
    with database.writing() as connection:
        connection.execute(session.update().where(session.c.token == open_one.key).values(complete=True))
        trail.append(connection, open_one.account.id, "session.second", open_one.account.id, {})


def end(database: Database, open_one: Session) -> None:
    """End one session."""
    with database.writing() as connection:
        connection.execute(session.delete().where(session.c.token == open_one.key))
        trail.append(connection, open_one.account.id, "session.ended", open_one.account.id, {})


def end_all(database: Database, by: str, who: str) -> None:
    """End all sessions of an account, after a change of its password, roles or second factor."""
    with database.writing() as connection:
        connection.execute(session.delete().where(session.c.account == who))
        trail.append(connection, by, "session.all_ended", who, {})


def sweep(database: Database, life: Life, now: float | None = None) -> int:
    """Forget sessions that have ended by time; returns how many."""
    now = time.time() if now is None else now
    old = (session.c.seen < now - life.idle) | (session.c.created < now - life.whole)
    with database.writing() as connection:
        return int(connection.execute(session.delete().where(old)).rowcount)
