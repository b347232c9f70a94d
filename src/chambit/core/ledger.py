"""The ledger: an append-only account of what was run, made and decided, in SQL.

SQLite with write-ahead logging by default; any SQLAlchemy URL works. Only the coordinator writes. Events are chained:
`hash = SHA-256(previous hash || canonical JSON of the event)`, so an edited row is found by `verify`. A cut tail is not
found by a chain alone; heads are to be signed when a decision or a release is made.
"""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import sqlalchemy as sql

from chambit.core import digest
from chambit.core.errors import StoreError

_tables = sql.MetaData()

chunk = sql.Table(
    "chunk",
    _tables,
    sql.Column("step", sql.String(64), primary_key=True),
    sql.Column("key", sql.String, primary_key=True),
    sql.Column("output", sql.String(64), nullable=False),
)
step = sql.Table(
    "step",
    _tables,
    sql.Column("digest", sql.String(64), primary_key=True),
    sql.Column("name", sql.String, nullable=False),
    sql.Column("outputs", sql.JSON, nullable=False),
    sql.Column("items", sql.Integer, nullable=False),
    sql.Column("seconds", sql.Float, nullable=False),
)
event = sql.Table(
    "event",
    _tables,
    sql.Column("number", sql.Integer, primary_key=True, autoincrement=True),
    sql.Column("time", sql.Float, nullable=False),
    sql.Column("kind", sql.String, nullable=False),
    sql.Column("body", sql.JSON, nullable=False),
    sql.Column("previous", sql.String(64), nullable=False),
    sql.Column("hash", sql.String(64), nullable=False),
)


class Ledger:
    """The account of one output folder.

    Args:
        url: SQLAlchemy URL, for example `sqlite:///out/.chambit/ledger.sqlite`.
    """

    def __init__(self, url: str) -> None:
        self._engine = sql.create_engine(url)
        if self._engine.dialect.name == "sqlite":
            sql.event.listen(self._engine, "connect", _sqlite_settings)
        _tables.create_all(self._engine)

    @classmethod
    def beside(cls, folder: Path) -> "Ledger":
        """The ledger file of a work folder, made when missing."""
        folder.mkdir(parents=True, exist_ok=True)
        return cls(f"sqlite:///{folder / 'ledger.sqlite'}")

    def close(self) -> None:
        """Release the database."""
        self._engine.dispose()

    def chunks(self, step_digest: str) -> dict[str, str]:
        """Finished chunks of a step: key -> digest of what it made."""
        with self._engine.connect() as connection:
            rows = connection.execute(sql.select(chunk.c.key, chunk.c.output).where(chunk.c.step == step_digest))
            return {row.key: row.output for row in rows}

    def add_chunk(self, step_digest: str, key: str, output: str) -> None:
        """Record one finished chunk; made again with another result, the newer one stands."""
        with self._engine.begin() as connection:
            connection.execute(chunk.delete().where(chunk.c.step == step_digest, chunk.c.key == key))
            connection.execute(chunk.insert().values(step=step_digest, key=key, output=output))

    def outputs(self, step_digest: str) -> dict[str, str] | None:
        """What a finished step made, or None."""
        with self._engine.connect() as connection:
            row = connection.execute(sql.select(step.c.outputs).where(step.c.digest == step_digest)).first()
            return dict(row.outputs) if row else None

    def rate(self, name: str) -> float | None:
        """Items per second the newest finished step of this name reached here, or None."""
        with self._engine.connect() as connection:
            rows = connection.execute(sql.select(step.c["items"], step.c.seconds).where(step.c.name == name)).all()
        done = [row for row in rows if row.seconds > 0 and row.items > 0]
        return done[-1].items / done[-1].seconds if done else None

    def add_step(self, step_digest: str, name: str, outputs: Mapping[str, str], *, items: int, seconds: float) -> None:
        """Record a finished step and an event that says so."""
        with self._engine.begin() as connection:
            connection.execute(step.delete().where(step.c.digest == step_digest))
            connection.execute(
                step.insert().values(digest=step_digest, name=name, outputs=dict(outputs), items=items, seconds=seconds)
            )
        self.add_event("step.done", {"step": name, "digest": step_digest, "outputs": dict(outputs)})

    def seconds(self) -> dict[str, float]:
        """Seconds each recorded step took, by name (the newest of each)."""
        with self._engine.connect() as connection:
            return {row.name: row.seconds for row in connection.execute(sql.select(step.c.name, step.c.seconds))}

    def add_event(self, kind: str, body: Mapping[str, Any]) -> str:
        """Append one event to the chain; returns its hash."""
        with self._engine.begin() as connection:
            last = connection.execute(sql.select(event.c.hash).order_by(event.c.number.desc()).limit(1)).scalar()
            row = {
                "time": round(time.time(), 3),
                "kind": kind,
                "body": dict(body),
                "previous": last or "0" * 64,
            }
            row["hash"] = _chained(row)
            connection.execute(event.insert().values(**row))
            return str(row["hash"])

    def events(self, kind: str | None = None) -> list[dict[str, Any]]:
        """Events in order, all or of one kind."""
        query = sql.select(event).order_by(event.c.number)
        if kind is not None:
            query = query.where(event.c.kind == kind)
        with self._engine.connect() as connection:
            return [dict(row._mapping) for row in connection.execute(query)]

    def verify(self) -> str:
        """Walk the chain; returns the hash of its head.

        Raises:
            StoreError: naming the first event that does not follow from the one before it.
        """
        previous = "0" * 64
        for row in self.events():
            if row["previous"] != previous or row["hash"] != _chained(row):
                raise StoreError(f"The ledger was altered: event {row['number']} ({row['kind']}) breaks the chain.")
            previous = row["hash"]
        return previous


def _chained(row: Mapping[str, Any]) -> str:
    content = digest.canonical({"time": row["time"], "kind": row["kind"], "body": row["body"]})
    return digest.of_bytes((row["previous"] + content).encode())


def _sqlite_settings(connection: Any, _: object) -> None:
    # WAL lets a page read while a run writes; FULL makes a recorded chunk survive a power cut.
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
