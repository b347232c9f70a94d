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

from chambit.hub import accounts, inspecting, inspections, readings, runs, sessions, studies, trail
from chambit.hub.hub import Hub
from chambit.web import asking
from chambit.web.app import create_app
from hubs import cheap_hashes
from test_readings import TITLE, small_policy

__all__ = ["cheap_hashes"]  # a fixture of every test here


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory, tiny: Path) -> Iterator[Hub]:
    """A hub with a study, a reader study, an inspection, and a person with every role that these need."""
    folder = tmp_path_factory.mktemp("hub")
    small_policy(folder)
    with (folder / "hub.yaml").open("a") as said:
        said.write("limits: {requests: 1000000}\n")
    made = Hub.open(folder)
    studies.register(made.database, trail.HUB, runs.read(tiny / "once"), "draft")
    roles = ["steward", "reader", "member", "inspector"]
    one = accounts.create(made.database, trail.HUB, "somebody", "Somebody", roles)
    other = accounts.create(made.database, trail.HUB, "other", "Other", ["inspector"])
    for who, part in ((one, "reader"), (one, "inspector"), (other, "inspector")):
        studies.give_part(made.database, trail.HUB, "tiny", who, part)
    accounts.create(made.database, trail.HUB, "stranger", "Stranger", ["member"])
    study = readings.plan(made, trail.HUB, "tiny", TITLE, 10, True)
    readings.invite(made, trail.HUB, study, one.id, True, "")
    asked = inspections.Asked(TITLE, TITLE, "label", 0.05, 0.95, 0.2, (one.id, other.id))
    inspection = inspections.plan(made, trail.HUB, "tiny", asked)
    said = {"speciality": "Radiology", "years": 3, "institution": "Here", "no_conflict": True}
    inspecting.state(made, inspection, inspecting.mine(made, inspection, one.id), said)
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


def test_no_odd_message_to_an_inspection_makes_it_fail(hub: Hub) -> None:
    """The same with ids that are there, which messages made up from the schema never name."""
    client, headers = TestClient(create_app(hub)), signed_in(hub, "somebody")
    key = inspections.listed(hub)[0].id
    odd = [0, -1, 1, 7, 10**6, 10**30, "x", "1e3", "nan", "%00", "..%2f"]
    for one in odd:
        for path in (f"images?at={one}", f"pixels/{one}/0", f"pixels/0/{one}"):
            assert client.get(f"/api/inspections/{key}/{path}", headers=headers).status_code < 500, path
        for page in (f"limit={one}", f"confidence={one}", f"double={one}", f"column={one}"):
            assert client.get(f"/studies/tiny/inspections?{page}", headers=headers).status_code < 500, page
    schema = create_app(hub).openapi()["components"]["schemas"]["Given"]
    base = {"at": 0, "replaces": 0, "decision": "accept", "seconds": 1.0, "moves": 0}
    for name in schema["properties"]:
        for one in (*odd, None, [], {}, [None], ["a"] * 17, "é" * 3000, "\u0000", [0.5, 0.5], [1e308, 0]):
            sent = client.post(f"/api/inspections/{key}/judgements", json=base | {name: one}, headers=headers)
            assert sent.status_code < 500, (name, one)
    for path in ("plan", "result", "worklist"):
        assert client.get(f"/api/inspections/{key}/{path}", headers=headers).status_code in (200, 409)
