"""Databases for tests of the hub: SQLite in a folder, and a real PostgreSQL server where its programs are installed."""

import os
import pwd
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from chambit.hub import accounts
from chambit.hub.database import Database

PASSWORD = "a long enough pass phrase"
UNPRIVILEGED = ("postgres", "nobody")


@pytest.fixture(autouse=True)
def cheap_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Passwords hashed in no time, for tests that sign in many times."""
    argon2 = pytest.importorskip("argon2")
    quick = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    monkeypatch.setattr(accounts, "_hasher", lambda: quick)
    accounts._nobodys.cache_clear()


def programs() -> Path | None:
    """The folder of PostgreSQL's programs, or None."""
    found = shutil.which("initdb") or next(
        (str(path) for path in sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))), None
    )
    return Path(found).resolve().parent if found else None


@contextmanager
def postgresql(folder: Path) -> Iterator[str]:
    """Start a server that listens on loopback alone, and give the URL of an empty database.

    PostgreSQL refuses to run as root; then it runs as an unprivileged user who owns its folder.
    """
    pytest.importorskip("psycopg")
    bin_ = programs()
    if bin_ is None:
        pytest.skip("PostgreSQL's programs are not installed")
    owner = _owner()
    cluster = folder / "cluster"
    cluster.mkdir(parents=True)
    if owner is not None:
        os.chown(cluster, owner.pw_uid, owner.pw_gid)
        for above in (folder, *folder.parents):
            if above.stat().st_uid == os.getuid() and not above.stat().st_mode & 0o001:
                above.chmod(above.stat().st_mode | 0o011)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    who = {} if owner is None else {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []}
    made = [bin_ / "initdb", "-D", cluster, "-U", "chambit", "-A", "trust", "--no-sync", "-E", "UTF8"]
    subprocess.run(made, check=True, capture_output=True, cwd=cluster, **who)
    command = [bin_ / "postgres", "-D", cluster, "-h", "127.0.0.1", "-p", str(port), "-k", ""]
    with (folder / "server.log").open("wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, cwd=cluster, **who)
    try:
        _answering(port, server, folder / "server.log")
        yield f"postgresql+psycopg://chambit@127.0.0.1:{port}/postgres"
    finally:
        server.terminate()
        server.wait(timeout=30)


def _owner() -> "pwd.struct_passwd | None":
    if os.getuid():
        return None
    for name in UNPRIVILEGED:
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    pytest.skip("there is no unprivileged user to run PostgreSQL as")


def _answering(port: int, server: "subprocess.Popen[bytes]", log: Path) -> None:
    import psycopg

    for _ in range(200):
        assert server.poll() is None, log.read_text()
        try:
            psycopg.connect(f"host=127.0.0.1 port={port} user=chambit dbname=postgres", connect_timeout=2).close()
            return
        except psycopg.OperationalError:
            time.sleep(0.05)
    raise AssertionError(log.read_text())


def fresh(url: str) -> Database:
    """A database of the newest form."""
    made = Database(url)
    made.upgrade()
    return made
