"""The JSON of the hub: the same rights as its pages, and no message, however odd, that makes it fail."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("schemathesis")

import schemathesis
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings

from chambit.hub import accounts, readings, runs, sessions, studies, trail
from chambit.hub.hub import Hub
from chambit.web import asking
from chambit.web.app import create_app
from hubs import cheap_hashes
from test_readings import TITLE, small_policy

__all__ = ["cheap_hashes"]  # a fixture of every test here


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory, tiny: Path) -> Iterator[Hub]:
    """A hub with one study, one reader study, and a person who has every role but the administrator's."""
    folder = tmp_path_factory.mktemp("hub")
    small_policy(folder)
    with (folder / "hub.yaml").open("a") as said:
        said.write("limits: {requests: 1000000}\n")
    made = Hub.open(folder)
    studies.register(made.database, trail.HUB, runs.read(tiny / "once"), "draft")
    roles = ["steward", "reader", "member"]
    one = accounts.create(made.database, trail.HUB, "somebody", "Somebody", roles)
    studies.give_part(made.database, trail.HUB, "tiny", one, "reader")
    accounts.create(made.database, trail.HUB, "stranger", "Stranger", ["member"])
    study = readings.plan(made, trail.HUB, "tiny", TITLE, 10, True)
    readings.invite(made, trail.HUB, study, one.id, True, "")
    yield made._replace(first="")
    made.database.close()


def signed_in(hub: Hub, login: str) -> dict[str, str]:
    """Headers of a signed-in account."""
    one = next(each for each in accounts.listed(hub.database) if each.login == login)
    token = sessions.open_for(hub.database, one)
    there = sessions.of_token(hub.database, token, hub.settings.session)
    assert there is not None
    return {"cookie": f"{asking.COOKIE}={token}", "x-csrf-token": there.csrf}


def test_a_study_is_told_to_those_who_have_a_part_in_it(hub: Hub) -> None:
    client, mine, strange = TestClient(create_app(hub)), signed_in(hub, "somebody"), signed_in(hub, "stranger")
    assert [one["id"] for one in client.get("/api/studies", headers=mine).json()] == ["tiny"]
    assert client.get("/api/studies", headers=strange).json() == []
    for path in ("", "/evidence", "/steps"):
        assert client.get(f"/api/studies/tiny{path}", headers=mine).status_code == 200
        refused = client.get(f"/api/studies/tiny{path}", headers=strange)
        assert refused.status_code == 404
        assert set(refused.json()) >= {"error", "ko"}
        assert client.get(f"/api/studies/tiny{path}").status_code == 401


def test_the_evidence_is_that_of_the_file(hub: Hub, tiny: Path) -> None:
    told = TestClient(create_app(hub)).get("/api/studies/tiny/evidence", headers=signed_in(hub, "somebody")).json()
    assert [one.key for one in runs.evidence_of(tiny / "once")] == [
        f"{one['measure'].split('@')[0]}.{one['quantity']}" for one in told
    ]


def test_the_head_of_the_trail_is_told(hub: Hub) -> None:
    head = TestClient(create_app(hub)).get("/api/trail/head", headers=signed_in(hub, "somebody")).json()
    assert head["holds"] is True
    assert (head["number"], head["hash"]) == trail.head(hub.database)


def test_no_odd_message_makes_it_fail(hub: Hub) -> None:
    app = create_app(hub)
    schema = schemathesis.openapi.from_asgi("/api/openapi.json", app)
    headers = signed_in(hub, "somebody")
    seen: set[str] = set()

    for operation in schema.get_all_operations():
        strategy = operation.ok().as_strategy()

        @settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
        @given(case=strategy)
        def ask(case: Any) -> None:
            answer = case.call(headers=headers)
            assert answer.status_code < 500, answer.text
            seen.add(case.operation.path)

        ask()
    assert len(seen) >= 8
