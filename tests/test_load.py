"""Two hundred readers at once on loopback, the server killed among their votes: every acknowledged vote is there."""

import http.client
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sql
import yaml

pytest.importorskip("fastapi")

from chambit.hub import accounts, material, readings, runs, sessions, settings, studies, trail
from chambit.hub.hub import Hub
from chambit.hub.readings import Reading
from chambit.hub.tables import vote
from chambit.review import policy
from chambit.web import asking
from hubs import cheap_hashes, postgresql

__all__ = ["cheap_hashes"]  # a fixture of every test here
READERS = 200
ENOUGH = 60
"""Acknowledged votes among which the server is killed; most readers have a request under way then."""
PATIENCE = 120.0
SMALL = {"telltales": [], "images_least": 20, "practice": 2, "repeats": 0.0, "block": 10, "pixels": 32, "margin": 0.2}


@pytest.fixture(params=["sqlite", "postgresql"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A hub's folder with its settings, over either database."""
    raw = policy.merged(policy.FOLDER / "default.yaml")
    raw["settings"]["reading"] |= SMALL
    made = tmp_path / "hub"
    made.mkdir()
    (made / "small.yaml").write_text(yaml.safe_dump(raw, allow_unicode=True), encoding="utf-8")
    said = {"policy": "small.yaml", "limits": {"requests": 100_000, "logins": 1000}}
    if request.param == "sqlite":
        (made / settings.NAME).write_text(yaml.safe_dump(said))
        yield made
        return
    with postgresql(tmp_path / "postgresql") as url:
        (made / settings.NAME).write_text(yaml.safe_dump(said | {"database": url}))
        yield made


class Server:
    """`chambit serve` in a process of its own."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        code = "from chambit.cli import main; main()"
        command = [sys.executable, "-c", code, "serve", str(folder), "--port", str(self.port)]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        for _ in range(300):
            assert self.process.poll() is None, self.process.stderr and self.process.stderr.read().decode()
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                time.sleep(0.05)
        raise AssertionError("the server does not answer")

    def end(self, how: signal.Signals) -> None:
        self.process.send_signal(how)
        self.process.wait(timeout=30)


class Reading200:
    """Readers who read as fast as they can, and what the server told each of them it had kept."""

    def __init__(self, key: str, tokens: list[tuple[str, str]]) -> None:
        self.key, self.tokens = key, tokens
        self.kept: dict[str, int] = {}
        self.slowest = 0.0
        self.refused: list[str] = []
        self._lock = threading.Lock()

    def wait(self, votes: int) -> None:
        """Wait until so many votes were acknowledged, or the patience is over."""
        end = time.monotonic() + PATIENCE
        while len(self.kept) < votes and time.monotonic() < end:
            time.sleep(0.01)

    def read(self, port: int, seconds: float, votes: int = 1 << 30) -> None:
        """All read at once, until the time is over, so many votes were acknowledged, or the server is gone."""
        end = time.monotonic() + seconds
        threads = [threading.Thread(target=self._one, args=(port, pair, end, votes)) for pair in self.tokens]
        for one in threads:
            one.start()
        for one in threads:
            one.join()

    def _one(self, port: int, pair: tuple[str, str], end: float, votes: int) -> None:
        token, csrf = pair
        own = {"cookie": f"{asking.COOKIE}={token}", "x-csrf-token": csrf, "content-type": "application/json"}
        line = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        try:
            while time.monotonic() < end and len(self.kept) < votes:
                line.request("GET", f"/api/readings/{self.key}/next", headers=own)
                due = json.loads(line.getresponse().read())
                if due["trial"] is None:
                    return
                given = {"trial": due["trial"], "score": 3, "seconds": 1.0, "moves": 0, "hour": 9}
                began = time.monotonic()
                line.request("POST", f"/api/readings/{self.key}/votes", json.dumps(given), own)
                answer = line.getresponse()
                text = answer.read().decode()
                with self._lock:
                    self.slowest = max(self.slowest, time.monotonic() - began)
                    if answer.status == 200 and json.loads(text) == {"kept": True}:
                        self.kept[due["trial"]] = 3
                    else:
                        self.refused.append(f"{answer.status} {text}")
        except (OSError, http.client.HTTPException):
            return  # the server was killed
        finally:
            line.close()


def prepared(folder: Path, run: Path) -> tuple[Reading, list[tuple[str, str]]]:
    """A reader study with its readers signed in; cookies and tokens of all."""
    made = Hub.open(folder)
    name = studies.register(made.database, trail.HUB, runs.read(run), "draft").id
    tokens = []
    people = []
    for number in range(READERS):
        one = accounts.create(made.database, trail.HUB, f"reader{number}", "R", ["reader"])
        studies.give_part(made.database, trail.HUB, name, one, "reader")
        people.append(one)
    study = readings.plan(made, trail.HUB, name, {"ko": "판독", "en": "Reading"}, 10, False)
    for one in people:
        readings.invite(made, trail.HUB, study, one.id, False, "")
        token = sessions.open_for(made.database, one)
        there = sessions.of_token(made.database, token, made.settings.session)
        assert there is not None
        tokens.append((token, there.csrf))
    made.database.close()
    return study, tokens


def there_now(folder: Path, study: Reading) -> tuple[dict[str, Any], Any]:
    """Every vote in the database by its trial, and whether the trail holds."""
    made = Hub.open(folder)
    with made.database.reading() as connection:
        rows = connection.execute(sql.select(vote.c.trial, vote.c.body).where(vote.c.reading == study.id)).all()
    broken = trail.verify(made.database)
    assert (study.folder / material.INDEX).exists()
    made.database.close()
    return {row.trial: json.loads(row.body) for row in rows}, broken


def test_no_acknowledged_vote_is_lost_when_the_server_is_killed(folder: Path, tiny: Path) -> None:
    study, tokens = prepared(folder, tiny / "once")
    crowd = Reading200(study.id, tokens)
    server = Server(folder)
    killer = threading.Thread(target=lambda: (crowd.wait(ENOUGH), server.end(signal.SIGKILL)))
    killer.start()
    crowd.read(server.port, PATIENCE)
    killer.join()
    assert crowd.refused == []
    assert len(crowd.kept) >= ENOUGH
    found, broken = there_now(folder, study)
    assert broken is None
    assert set(crowd.kept) <= set(found)
    assert all(found[trial]["score"] == score for trial, score in crowd.kept.items())
    before = len(crowd.kept)
    server = Server(folder)
    crowd.read(server.port, PATIENCE, before + ENOUGH)  # those who come back go on
    server.end(signal.SIGINT)
    assert crowd.refused == []
    assert len(crowd.kept) >= before + ENOUGH
    found, broken = there_now(folder, study)
    assert broken is None
    assert set(crowd.kept) <= set(found)
