"""One database for all of a hub: SQLite beside its files unless a URL says otherwise; migrations bring it up to date.

A change is one transaction of `writing`. In SQLite it takes the write lock at its beginning, so that what it reads is
still true when it writes; with write-ahead logging and full synchronisation, what was committed survives a power cut.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import sqlalchemy as sql
from sqlalchemy import pool

from chambit.core import offline
from chambit.core.errors import Problem, StoreError

MIGRATIONS = Path(__file__).parent / "migrations"
WAIT = 30.0
"""Seconds a write waits for others before it gives up."""


class Database:
    """The database of a hub.

    Args:
        url: SQLAlchemy URL, such as `sqlite:///hub.sqlite` or `postgresql+psycopg://user@host/name`.
        connections: how many may be open at once.
    """

    def __init__(self, url: str, connections: int = 16) -> None:
        self.url = sql.make_url(url)
        self.sqlite = self.url.get_backend_name() == "sqlite"
        settings: dict[str, Any] = {"poolclass": pool.QueuePool, "pool_size": connections, "max_overflow": 0}
        if self.sqlite:
            settings["connect_args"] = {"timeout": WAIT, "check_same_thread": False}
        else:
            settings["pool_pre_ping"] = True
        self.engine = sql.create_engine(self.url, pool_timeout=WAIT, **settings)
        self.hosts = _hosts(self.url)
        # SQLite has one writer; waiting for it in this process is fairer than its busy loop
        self._one_writer: Any = threading.Lock() if self.sqlite else nullcontext()
        if self.sqlite:
            sql.event.listen(self.engine, "connect", _sqlite_settings)
            sql.event.listen(self.engine, "begin", _sqlite_begin)
        else:
            sql.event.listen(self.engine, "do_connect", self._connected)

    @contextmanager
    def reading(self) -> Iterator[sql.Connection]:
        """A connection that changes nothing."""
        with self.engine.connect() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[sql.Connection]:
        """One transaction: all of it is kept, or none when an error leaves the block."""
        with (
            self._one_writer,
            self.engine.connect().execution_options(writes=True) as connection,
            connection.begin(),
        ):
            yield connection

    def upgrade(self) -> None:
        """Bring the tables to the form this version needs.

        Raises:
            StoreError: when a newer version of Chambit has used this database.
        """
        from alembic import command
        from alembic.script import ScriptDirectory

        settings = self._alembic()
        known = {script.revision for script in ScriptDirectory.from_config(settings).walk_revisions()}
        there = self.revision()
        if there is not None and there not in known:
            raise StoreError(
                f"The hub's database is of a newer version of Chambit (form {there}). Use that version, or a copy of "
                "the database from before it."
            )
        with self.writing() as connection:
            settings.attributes["connection"] = connection
            command.upgrade(settings, "head")

    def revision(self) -> str | None:
        """The form the database has now, None when it is empty."""
        from alembic.runtime.migration import MigrationContext

        with self.reading() as connection:
            return MigrationContext.configure(connection).get_current_revision()

    def close(self) -> None:
        """Let go of all connections."""
        self.engine.dispose()

    def _connected(self, dialect: sql.Dialect, _: object, given: Any, named: Any) -> Any:
        """A new connection, past the guard of a process that is closed to the network."""
        with offline.door(*self.hosts):
            return dialect.connect(*given, **named)

    def _alembic(self) -> Any:
        from alembic.config import Config

        settings = Config()
        settings.set_main_option("script_location", MIGRATIONS.as_posix().replace("%", "%%"))
        return settings


def beside(folder: Path) -> Database:
    """The SQLite database of a hub's folder, made when missing.

    Raises:
        StoreError: when the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ".written").touch()
        (folder / ".written").unlink()
    except OSError as error:
        problem = Problem(
            str(folder), f"cannot be written: {error.strerror}", "choose another folder, or mend its rights"
        )
        raise StoreError(str(problem)) from None
    return Database(f"sqlite:///{folder / 'hub.sqlite'}")


def _hosts(url: sql.URL) -> list[str]:
    """Hosts of a URL, also of one that names several (`?host=a:5432&host=b`).

    >>> _hosts(sql.make_url("postgresql+psycopg://me@db/x")), _hosts(sql.make_url("postgresql:///x?host=a:1&host=b"))
    (['db'], ['a', 'b'])
    """
    more = url.query.get("host", ())
    return [host.split(":")[0] for host in (url.host or "", *([more] if isinstance(more, str) else more)) if host]


def _sqlite_settings(connection: Any, _: object) -> None:
    connection.isolation_level = None  # the driver would begin transactions of its own, and later
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")


def _sqlite_begin(connection: sql.Connection) -> None:
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
