"""The hub under readers: `python benchmarks/hub.py RUN [--readers 200] [--seconds 20]`.

RUN is the output folder of a finished run, with its `work/`. `chambit serve` is started on loopback over a new hub, and
so many readers answer as fast as they can. Printed: votes a second, the slowest answer, and transactions a second of a
bare SQLite file on the same disk with the same synchronisation, one small row each.
"""

import argparse
import signal
import sqlite3
import sys
import tempfile
import time
from pathlib import Path

import argon2
import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import test_load as load
from chambit.hub import accounts, settings
from chambit.review import policy


def bare(folder: Path, seconds: float = 3.0) -> float:
    """Transactions a second of a bare SQLite file with full synchronisation."""
    connection = sqlite3.connect(folder / "bare.sqlite", isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("CREATE TABLE row (number INTEGER PRIMARY KEY, body TEXT)")
    done, end = 0, time.monotonic() + seconds
    while time.monotonic() < end:
        connection.execute("INSERT INTO row (body) VALUES (?)", ("x" * 300,))
        done += 1
    connection.close()
    return done / seconds


def main() -> None:
    """Prepare the hub, let readers read, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--readers", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=20.0)
    given = parser.parse_args()
    load.READERS = given.readers
    quick = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    accounts._hasher = lambda: quick  # signing in is not what is measured
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made) / "hub"
        folder.mkdir()
        raw = policy.merged(policy.FOLDER / "default.yaml")
        raw["settings"]["reading"] |= load.SMALL
        (folder / "small.yaml").write_text(yaml.safe_dump(raw, allow_unicode=True), encoding="utf-8")
        limits = {"requests": 1_000_000, "logins": 1000}
        (folder / settings.NAME).write_text(yaml.safe_dump({"policy": "small.yaml", "limits": limits}))
        study, tokens = load.prepared(folder, given.run)
        crowd = load.Reading200(study.id, tokens)
        server = load.Server(folder)
        began = time.monotonic()
        crowd.read(server.port, given.seconds)
        took = time.monotonic() - began
        server.end(signal.SIGINT)
        print(f"{given.readers} readers, {took:.1f} s: {len(crowd.kept)} votes, {len(crowd.kept) / took:.0f} a second")
        print(f"slowest answer {crowd.slowest:.2f} s, refused {len(crowd.refused)}")
        print(f"bare SQLite: {bare(folder):.0f} transactions a second")


if __name__ == "__main__":
    main()
