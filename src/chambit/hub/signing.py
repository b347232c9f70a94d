"""Signing keys of people: made here, kept encrypted under a passphrase that only the person knows."""

import datetime

import sqlalchemy as sql

from chambit.hub import trail
from chambit.hub.database import Database
from chambit.hub.refusals import HubError
from chambit.hub.tables import signing
from chambit.review.board import keys
from chambit.review.board.keys import KnownKey
from chambit.review.board.rules import Rules


def make(database: Database, who: str, passphrase: str, rules: Rules, day: datetime.date) -> str:
    """Give a person a new key; the one before signs no longer. Returns the key's id.

    Raises:
        BoardError: when the passphrase is too short.
    """
    made = keys.generate(passphrase, rules)
    known = KnownKey(member=who, public=made.public, begins=day)
    with database.writing() as connection:
        standing = (signing.c.account == who) & signing.c.until.is_(None)
        connection.execute(signing.update().where(standing).values(until=day.isoformat()))
        connection.execute(
            signing.insert().values(
                id=known.id,
                account=who,
                public=made.public,
                private=made.private.decode("ascii"),
                begins=day.isoformat(),
            )
        )
        trail.append(connection, who, "key.made", who, {"key": known.id})
    return known.id


def known(database: Database) -> tuple[KnownKey, ...]:
    """Every public key and the days on which it signs."""
    with database.reading() as connection:
        rows = connection.execute(sql.select(signing)).all()
    return tuple(
        KnownKey(
            member=row.account, public=row.public, begins=datetime.date.fromisoformat(row.begins),
            until=datetime.date.fromisoformat(row.until) if row.until else None,
        )
        for row in rows
    )  # fmt: skip


def standing(database: Database, who: str) -> tuple[str, str]:
    """Id of the key with which a person signs, and its first day; two empty strings where there is none."""
    query = sql.select(signing.c.id, signing.c.begins).where(signing.c.account == who, signing.c.until.is_(None))
    with database.reading() as connection:
        row = connection.execute(query).first()
    return (row.id, row.begins) if row else ("", "")


def private(database: Database, who: str) -> bytes:
    """The encrypted private key of a person.

    Raises:
        HubError: when the person has none yet.
    """
    query = sql.select(signing.c.private).where(signing.c.account == who, signing.c.until.is_(None))
    with database.reading() as connection:
        found = connection.execute(query).scalar()
    if found is None:
        raise HubError(
            "서명 열쇠가 아직 없습니다. 내 계정에서 만드십시오.",
            "You have no signing key yet. Make one in your account.",
        )
    return str(found).encode("ascii")
