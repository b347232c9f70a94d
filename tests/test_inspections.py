"""Specialists' inspections in the hub: frozen plans, judgements that are kept, carry-over, no interim looks, pages."""

import csv
import io
import json
import re
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import sqlalchemy as sql
import yaml

pytest.importorskip("fastapi")

import httpx
from fastapi.testclient import TestClient

from chambit.hub import accounts, inspecting, inspections, judgements, runs, sessions, settings, studies, trail
from chambit.hub.hub import Hub
from chambit.hub.inspections import Asked, Inspection
from chambit.hub.refusals import HubError, NotAllowedError, NotThereError
from chambit.hub.tables import judgement
from chambit.review import policy
from chambit.web import asking
from chambit.web.app import create_app
from hubs import PASSWORD, cheap_hashes
from test_catalogue import grey, made
from test_load import Server

__all__ = ["cheap_hashes"]  # a fixture of every test here
WORDS = {"ko": "검수", "en": "Inspection"}
SMALL = {"limit": 0.2, "good": 0.05, "stratum_least": 4}
SAID = {"speciality": "Radiology", "years": 9, "institution": "A hospital", "no_conflict": True}
ACCEPT = {"decision": "accept", "seconds": 3.0, "moves": 1}
FIX = {"decision": "fix", "mend": "relabel", "seconds": 5.0, "moves": 0}
REJECT = {
    "decision": "reject",
    "reasons": ["anatomy"],
    "text": "=ribs",
    "place": [0.2, 0.7],
    "seconds": 9.0,
    "moves": 4,
}
PEOPLE = {"steward": ["steward"], "one": ["inspector"], "two": ["inspector"], "maker": ["generator", "inspector"]}
OTHER = {"left": "right", "right": "left"}


def a_hub(folder: Path, run: Path, database: str = "") -> Hub:
    """A hub with one run, two inspectors and the maker of the set."""
    raw = policy.merged(policy.FOLDER / "default.yaml")
    raw["settings"]["inspecting"] |= SMALL
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "small.yaml").write_text(yaml.safe_dump(raw, allow_unicode=True), encoding="utf-8")
    (folder / settings.NAME).write_text("policy: small.yaml\n" + (f"database: {database}\n" if database else ""))
    hub = Hub.open(folder)
    for login, roles in PEOPLE.items():
        accounts.create(hub.database, trail.HUB, login, login.title(), roles, PASSWORD)
    there = studies.register(hub.database, trail.HUB, runs.read(run), "draft")
    for login, part in (("one", "inspector"), ("two", "inspector"), ("maker", "generator")):
        studies.give_part(hub.database, trail.HUB, there.id, person(hub, login), part)
    return hub._replace(first="")


@pytest.fixture
def run(tmp_path: Path, tiny: Path) -> Path:
    """A finished run of 48 grey images, two labels in turn, a fact about each."""
    return made(tmp_path / "run", tiny / "once", grey(48), view=["front", "side", "side", "side"] * 12)


@pytest.fixture
def hub(tmp_path: Path, run: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    monkeypatch.setattr(inspections.secrets, "randbelow", lambda _: 11)
    there = a_hub(tmp_path / "hub", run)
    yield there
    there.database.close()


def person(hub: Hub, login: str) -> accounts.Account:
    return next(one for one in accounts.listed(hub.database) if one.login == login)


def study(hub: Hub) -> studies.Study:
    return studies.listed(hub.database)[0]


def asked(hub: Hub, **changes: Any) -> Asked:
    people = [person(hub, "one").id, person(hub, "two").id]
    return Asked(WORDS, WORDS, "label", 0.2, 0.95, 0.5, people)._replace(**changes)


def planned(hub: Hub, stated: bool = True, **changes: Any) -> Inspection:
    one = inspections.plan(hub, trail.HUB, study(hub).id, asked(hub, **changes))
    for who in inspections.inspectors(hub, one).values() if stated else ():
        inspecting.state(hub, one, who, SAID)
    return one


def seat(hub: Hub, one: Inspection, login: str) -> inspections.Inspector:
    return inspecting.mine(hub, one, person(hub, login).id)


def judge_all(hub: Hub, one: Inspection, says: Callable[[dict[str, str]], dict[str, Any]] = lambda _: ACCEPT) -> None:
    for who in inspections.inspectors(hub, one).values():
        while (now := inspecting.shown(hub, one, who)).item is not None:
            inspecting.judge(hub, one, who, now.position, says(now.rows[0]), 0)


def closed(hub: Hub, one: Inspection) -> Inspection:
    inspections.close(hub, trail.HUB, one)
    return inspections.of(hub, one.id)


# ------------------------------------------------------------------------------------------------- plan


def test_the_plan_is_frozen_with_its_sample_before_anything_is_judged(hub: Hub) -> None:
    one = planned(hub, stated=False)
    frozen = next(row for row in trail.events(hub.database, one.study) if row.kind == "inspection.frozen")
    again = inspections.of(hub, one.id)
    assert frozen.body["plan"] == one.plan.digest == again.plan.digest
    assert one.plan.candidate == study(hub).candidate
    assert {part.name: part.size for part in one.plan.strata} == {"left": 24, "right": 24}
    assert 0 < one.plan.sample < 48
    assert one.plan.worst <= 0.05
    assert inspections.sizes(study(hub).folder, "view") == {"front": 12, "side": 36}


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"limit": 0.3}, "limit of at most 20"),
        ({"confidence": 0.9}, "confidence of at least 95"),
        ({"confidence": 1.0}, "below 100"),
        ({"double": 0.1}, "read twice"),
        ({"limit": 0.04}, "limit above 5"),
        ({"column": "nothing"}, "no such column"),
        ({"title": {"ko": "", "en": "x"}}, "right form: ko"),
        ({"accounts": []}, "2 inspectors or more"),
    ],
)
def test_less_than_the_policy_asks_for_is_refused_and_nothing_is_kept(
    hub: Hub, changes: dict[str, Any], why: str
) -> None:
    with pytest.raises(HubError, match=why):
        planned(hub, **changes)
    assert inspections.listed(hub) == []


def test_who_made_the_set_or_has_no_part_does_not_inspect(hub: Hub) -> None:
    people = [person(hub, login).id for login in ("one", "maker")]
    with pytest.raises(NotAllowedError):
        planned(hub, accounts=people)
    with pytest.raises(HubError, match="different people"):
        studies.give_part(hub.database, trail.HUB, study(hub).id, person(hub, "maker"), "inspector")
    one = planned(hub)
    with pytest.raises(NotThereError):
        seat(hub, one, "maker")
    studies.take_part(hub.database, trail.HUB, one.study, person(hub, "one").id, "inspector")
    with pytest.raises(NotAllowedError):
        seat(hub, one, "one")


def test_a_second_inspection_waits_until_the_first_is_closed_and_says_that_it_is_the_second(hub: Hub) -> None:
    one = planned(hub)
    with pytest.raises(HubError, match="open first"):
        planned(hub)
    closed(hub, one)
    assert planned(hub).plan.attempt == 2


def test_a_changed_set_is_not_inspected(hub: Hub, run: Path) -> None:
    one = planned(hub)
    who = seat(hub, one, "one")
    image = run / "candidate" / "left" / "S000000.png"
    image.write_bytes(image.read_bytes() + b"\n")
    with pytest.raises(HubError, match="not the one that was registered"):
        inspections.plan(hub, trail.HUB, one.study, asked(hub))
    with pytest.raises(HubError, match="no longer the one"):
        inspecting.shown(hub, one, who)


# -------------------------------------------------------------------------------------------- judgements


def test_nothing_is_shown_before_the_inspector_has_stated_who_it_is(hub: Hub) -> None:
    one = planned(hub, stated=False)
    who = seat(hub, one, "one")
    with pytest.raises(HubError, match="who you are"):
        inspecting.shown(hub, one, who)
    for wrong in ({"no_conflict": False}, {"years": -1}, {"speciality": ""}):
        with pytest.raises(HubError):
            inspecting.state(hub, one, who, SAID | wrong)
    assert inspecting.statements(hub, one) == {}
    inspecting.state(hub, one, who, SAID)
    said = inspecting.statements(hub, one)[who.pseudonym]
    assert (said.by, said.body["years"]) == (who.account, 9)
    assert inspecting.shown(hub, one, who).item is not None


def test_images_come_in_order_and_one_may_go_back_but_not_ahead(hub: Hub) -> None:
    one = planned(hub)
    who = seat(hub, one, "one")
    first = inspecting.shown(hub, one, who)
    assert (first.position, first.done, first.of) == (0, 0, who.of)
    with pytest.raises(NotThereError):
        inspecting.shown(hub, one, who, 1)
    with pytest.raises(NotThereError):
        inspecting.picture(hub, one, who, 1, 0)
    assert inspecting.picture(hub, one, who, 0, 0).shape == (8, 12)
    with pytest.raises(NotThereError):
        inspecting.picture(hub, one, who, 0, 1)
    inspecting.judge(hub, one, who, 0, ACCEPT, 0)
    assert inspecting.shown(hub, one, who).position == 1
    assert inspecting.shown(hub, one, who, 0).history[0].judgement.decision == "accept"
    judge_all(hub, one)
    assert inspecting.shown(hub, one, who).item is None
    with pytest.raises(NotThereError):
        inspecting.shown(hub, one, who, who.of)


def test_a_judgement_is_superseded_and_the_older_one_kept(hub: Hub) -> None:
    one = planned(hub)
    who = seat(hub, one, "one")
    number = inspecting.judge(hub, one, who, 0, ACCEPT, 0)
    assert inspecting.judge(hub, one, who, 0, ACCEPT | {"seconds": 99.0}, 0) == number  # the reply was lost
    with pytest.raises(HubError, match="elsewhere meanwhile"):
        inspecting.judge(hub, one, who, 0, REJECT, 0)  # another window that saw no judgement
    newer = inspecting.judge(hub, one, who, 0, REJECT, number)
    history = inspecting.shown(hub, one, who, 0).history
    assert [each.number for each in history] == [newer, number]
    assert [each.judgement.decision for each in history] == ["reject", "accept"]
    told = [row.body for row in trail.events(hub.database, one.study) if row.kind == "inspection.judged"]
    assert [row.get("replaces") for row in told] == [None, number]
    assert judgements.counted(hub, one.id, one.plan)[history[0].judgement.image][0].decision == "reject"


@pytest.mark.parametrize(
    "wrong",
    [
        {"decision": "perhaps"},
        {"decision": "reject"},
        {"decision": "fix"},
        {"decision": "fix", "mend": "relabel", "label": "nowhere"},
        {"seconds": -1.0},
        {"seconds": float("nan")},
        {"place": [0.5, 7]},
        {"frame": 3},
        {"text": "x" * 2001},
        {"image": "S000001"},
    ],
)
def test_judgements_of_the_wrong_form_are_refused_and_kept_nowhere(hub: Hub, wrong: dict[str, Any]) -> None:
    one = planned(hub)
    who = seat(hub, one, "one")
    before = trail.head(hub.database)
    if "image" in wrong:  # what is judged follows from the place alone
        inspecting.judge(hub, one, who, 0, ACCEPT | wrong, 0)
        assert inspecting.shown(hub, one, who, 0).history[0].judgement.image == one_image(hub, one, who)
        return
    with pytest.raises(HubError):
        inspecting.judge(hub, one, who, 0, ACCEPT | wrong, 0)
    assert trail.head(hub.database) == before


def one_image(hub: Hub, one: Inspection, who: inspections.Inspector) -> str:
    item = inspecting.shown(hub, one, who, 0).item
    assert item is not None
    return item.image


def test_the_database_itself_keeps_judgements_and_a_changed_one_is_found(hub: Hub) -> None:
    one = planned(hub)
    inspecting.judge(hub, one, seat(hub, one, "one"), 0, ACCEPT, 0)
    with pytest.raises(sql.exc.DatabaseError, match="added, never changed"), hub.database.writing() as connection:
        connection.exec_driver_sql("UPDATE judgement SET body = '{}'")
    assert judgements.altered(hub) == []
    with hub.database.writing() as connection:
        connection.exec_driver_sql("DROP TRIGGER judgement_no_update")
        connection.exec_driver_sql("UPDATE judgement SET body = replace(body, 'accept', 'reject')")
    assert len(judgements.altered(hub)) == 1


# ------------------------------------------------------------------------------------------------ result


def test_no_result_before_it_is_closed_and_no_judgement_after(hub: Hub) -> None:
    one = planned(hub)
    who = seat(hub, one, "one")
    for look in (inspections.result, inspecting.worklist):
        with pytest.raises(HubError, match="interim"):
            look(hub, one)
    assert [each.finding for each in inspections.told(hub, one.study)] == [None]
    one = closed(hub, one)
    with pytest.raises(HubError, match="closed"):
        inspecting.judge(hub, one, who, 0, ACCEPT, 0)
    inspections.close(hub, trail.HUB, one)
    kinds = [row.kind for row in trail.events(hub.database, one.study)]
    assert kinds.count("inspection.closed") == 1
    assert inspections.result(hub, one).shown == "not_yet"


def test_a_good_set_is_shown_to_be_good(hub: Hub) -> None:
    one = planned(hub)
    judge_all(hub, one)
    one = closed(hub, one)
    told = inspections.told(hub, one.study)[0]
    assert told.finding is not None
    assert told.finding.interval is not None
    assert (told.current, told.finding.value, told.result and told.result.shown) == (True, 0.0, "yes")
    assert told.finding.interval.high < told.finding.details["limit"]  # type: ignore[operator]
    assert told.finding.inputs == {"candidate": one.plan.candidate, "plan": one.plan.digest}


def test_the_work_list_says_what_to_mend_and_changes_nothing(hub: Hub) -> None:
    before = runs.candidate_digest(study(hub).folder)
    one = planned(hub)
    judge_all(hub, one, lambda row: FIX | {"label": OTHER[row["label"]]} if row["view"] == "front" else REJECT)
    one = closed(hub, one)
    work = inspecting.worklist(hub, one)
    assert {line.act for line in work} == {"relabel", "remove"}
    assert all(line.to == OTHER[line.label] for line in work if line.act == "relabel")
    assert len(work) == len({item.image for item in one.plan.items})
    assert runs.candidate_digest(study(hub).folder) == before
    assert inspections.result(hub, one).shown == "no"


def mended(hub: Hub, run: Path, images: list[str]) -> None:
    """Give some images other pixels, and register the set anew."""
    rows = pl.read_csv(run / "candidate" / "labels.csv", infer_schema=False)
    pictures = [inspecting.imagetable.pixels_of((run / "candidate" / name).read_bytes()) for name in rows["file"]]
    for k, name in enumerate(rows["subject"]):
        if name in images:
            pictures[k] = 65535 - pictures[k]
    keep = run.parent / "keep"
    shutil.copytree(run, keep, ignore=shutil.ignore_patterns("candidate"), dirs_exist_ok=True)
    made(run, keep, pictures, view=rows["view"].to_list())
    studies.renew(hub.database, trail.HUB, study(hub).id, runs.read(run), "draft")


def test_a_mended_set_is_another_one_where_what_did_not_change_keeps_its_judgement(hub: Hub, run: Path) -> None:
    one = planned(hub)
    bad = [item.image for item in one.plan.items][:5]
    judge_all(hub, one, lambda row: REJECT if row["id"] in bad else ACCEPT)
    one = closed(hub, one)
    mended(hub, run, bad[:3])
    two = planned(hub)
    assert (two.plan.attempt, two.plan.candidate != one.plan.candidate) == (1, True)
    purposes = {item.image: item for item in two.plan.items}
    assert all(not purposes[image].carried and purposes[image].seats for image in bad[:3])
    fresh = [image for image in bad[:3] if purposes[image].purpose == "mended"]
    drawn_again = {item.image for item in one.plan.items} & {
        item.image for item in two.plan.items if item.purpose != "mended"
    }
    assert {item.image for item in two.plan.items if item.carried} == drawn_again - set(bad[:3])
    judge_all(hub, two)
    two = closed(hub, two)
    found = inspections.result(hub, two)
    still = [image for image in bad[3:] if purposes.get(image) and purposes[image].purpose == "set"]
    assert (found.looked, found.found, found.carried) == (two.plan.sample, len(still), len(drawn_again - set(bad[:3])))
    assert sum(found.mended.values()) == len(fresh)
    assert [(each.current, each.inspection.id) for each in inspections.told(hub, two.study)] == [
        (True, two.id),
        (False, one.id),
    ]


def test_a_film_is_looked_at_as_one(tmp_path: Path, tiny: Path) -> None:
    frames = [str(k % 4) for k in range(96)]
    run = made(tmp_path / "run", tiny / "once", grey(96), series=[f"F{k // 4:02d}" for k in range(96)], frame=frames)
    hub = a_hub(tmp_path / "hub", run)
    one = planned(hub)
    assert {part.name: part.size for part in one.plan.strata} == {inspections.MIXED: 24}
    who = seat(hub, one, "one")
    now = inspecting.shown(hub, one, who)
    assert [row["frame"] for row in now.rows] == ["0", "1", "2", "3"]
    assert not np.array_equal(inspecting.picture(hub, one, who, 0, 0), inspecting.picture(hub, one, who, 0, 3))
    with pytest.raises(HubError, match="frame"):
        inspecting.judge(hub, one, who, 0, REJECT | {"frame": 4}, 0)
    inspecting.judge(hub, one, who, 0, REJECT | {"frame": 3}, 0)
    hub.database.close()


def test_colour_comes_as_three_values_a_pixel(tmp_path: Path, tiny: Path) -> None:
    pictures = [np.full((8, 9, 3), (k, 2, 255), np.uint8) for k in range(48)]
    hub = a_hub(tmp_path / "hub", made(tmp_path / "run", tiny / "once", pictures))
    one = planned(hub)
    pixels = inspecting.picture(hub, one, seat(hub, one, "one"), 0, 0)
    assert (pixels.shape, pixels.dtype.str) == ((8, 9, 3), "<u2")
    assert pixels[0, 0, 1:].tolist() == [514, 65535]
    hub.database.close()


# ------------------------------------------------------------------------------------------------- pages


def client_of(hub: Hub, login: str) -> tuple[TestClient, str]:
    client = TestClient(create_app(hub), follow_redirects=False)
    assert client.post("/login", data={"login": login, "password": PASSWORD}).status_code == 303
    found = re.search(r'name="csrf" value="([^"]+)"', client.get("/account").text)
    assert found
    return client, found[1]


def test_an_inspection_from_plan_to_result_over_http(hub: Hub) -> None:
    name = study(hub).id
    steward, token = client_of(hub, "steward")
    page = steward.get(f"/studies/{name}/inspections?limit=20&confidence=95&double=50")
    assert page.status_code == 200
    assert "장 이하" in page.text
    assert "20%" in steward.get(f"/studies/{name}/inspections?limit=90").text
    people = [person(hub, login).id for login in ("one", "two")]
    words = {"ko": "검수", "en": "Inspection", "question_ko": "맞습니까?", "question_en": "Right?"}
    numbers = {"column": "label", "limit": "20", "confidence": "95", "double": "50"}
    given = {"csrf": token, "inspectors": people} | words | numbers
    inspector, csrf = client_of(hub, "one")
    assert inspector.post(f"/studies/{name}/inspections", data=given | {"csrf": csrf}).status_code == 403
    done = steward.post(f"/studies/{name}/inspections", data=given)
    assert done.status_code == 303
    key = done.headers["location"].rsplit("/", 1)[1]
    assert "검수 중" in steward.get(f"/studies/{name}").text

    assert "전문 과목" in inspector.get(f"/inspect/{key}").text
    assert inspector.get(f"/api/inspections/{key}/images").status_code == 409
    said = {"csrf": csrf, "speciality": "영상의학과", "years": "9", "institution": "병원"}
    assert inspector.post(f"/inspect/{key}/statement", data=said).status_code == 409  # no word on interests
    assert inspector.post(f"/inspect/{key}/statement", data=said | {"no_conflict": "1"}).status_code == 303
    assert 'id="picture"' in inspector.get(f"/inspect/{key}").text
    headers = {"x-csrf-token": csrf}
    for number in range(3):
        due = inspector.get(f"/api/inspections/{key}/images").json()
        assert (due["at"], due["done"]) == (number, number)
        assert (due["labels"][0] in OTHER, list(due["told"])) == (True, ["view"])
        raw = inspector.get(f"/api/inspections/{key}/pixels/{number}/0")
        size = int(raw.headers["x-width"]) * int(raw.headers["x-height"]) * int(raw.headers["x-channels"])
        assert len(raw.content) == 2 * size
        sent = {"at": number, "replaces": 0} | (REJECT if number == 2 else ACCEPT)
        assert inspector.post(f"/api/inspections/{key}/judgements", json=sent).status_code == 403  # no token
        kept = inspector.post(f"/api/inspections/{key}/judgements", json=sent, headers=headers).json()["kept"]
        again = inspector.get(f"/api/inspections/{key}/images?at={number}").json()
        assert again["standing"]["number"] == kept
    inspecting.state(hub, inspections.of(hub, key), seat(hub, inspections.of(hub, key), "two"), SAID)
    judge_all(hub, inspections.of(hub, key))

    for path in (f"/api/inspections/{key}/result", f"/inspections/{key}/worklist.csv"):
        assert inspector.get(path).status_code == 409
    assert inspector.get(f"/api/inspections/{key}/plan").status_code == 409  # it names who looks at what
    assert steward.post(f"/inspections/{key}/close", data={"csrf": token}).status_code == 303
    result = inspector.get(f"/api/inspections/{key}/result").json()
    assert (result["shown"], result["whole"]["counts"]["reject"]) == ("yes", 1)
    told = inspector.get(f"/api/studies/{name}/inspections").json()[0]
    assert (told["shown"], told["finding"]["quantity"], told["current"]) == ("yes", "unacceptable", True)
    rows = list(csv.DictReader(io.StringIO(inspector.get(f"/inspections/{key}/worklist.csv").text.lstrip("\ufeff"))))
    assert [(row["act"], row["text"], row["x"]) for row in rows] == [("remove", "'=ribs", "0.2")]
    assert inspector.get(f"/api/inspections/{key}/worklist").json()[0]["text"] == "=ribs"
    for language in ("ko", "en"):
        steward.cookies.set("chambit-language", language)
        for path in (f"/inspections/{key}", f"/studies/{name}", f"/studies/{name}/inspections"):
            page = steward.get(path)
            assert page.status_code == 200
            assert ("보였습니다" if language == "ko" else "shown") in page.text
    assert "결과 보기" in inspector.get(f"/inspect/{key}").text


def test_who_has_no_part_sees_nothing_of_it(hub: Hub) -> None:
    one = planned(hub)
    accounts.create(hub.database, trail.HUB, "stranger", "Stranger", ["inspector"], PASSWORD)
    stranger, token = client_of(hub, "stranger")
    pages = ["", "/worklist.csv"]
    api = ["/plan", "/result", "/worklist", "/images", "/pixels/0/0"]
    paths = [f"/inspections/{one.id}{path}" for path in pages] + [f"/api/inspections/{one.id}{path}" for path in api]
    for path in [*paths, f"/inspect/{one.id}", f"/studies/{one.study}/inspections"]:
        assert stranger.get(path).status_code == 404, path
    sent = {"at": 0, "replaces": 0} | ACCEPT
    headers = {"x-csrf-token": token}
    assert stranger.post(f"/api/inspections/{one.id}/judgements", json=sent, headers=headers).status_code == 404


def test_the_trail_tells_every_act_and_names_nobody(hub: Hub) -> None:
    one = planned(hub)
    judge_all(hub, one)
    closed(hub, one)
    rows = trail.events(hub.database, one.study)
    kinds = {row.kind for row in rows}
    assert {"inspection.frozen", "inspection.judged", "inspection.closed", "inspector_statement.recorded"} <= kinds
    assert sum(row.kind == "inspection.judged" for row in rows) == sum(len(item.seats) for item in one.plan.items)
    assert "Radiology" not in json.dumps([row.body for row in rows])
    assert trail.verify(hub.database) is None


def test_judgements_are_kept_in_postgresql_too(tmp_path: Path, run: Path) -> None:
    from hubs import postgresql

    with postgresql(tmp_path / "pg") as url:
        hub = a_hub(tmp_path / "hub", run, url)
        one = planned(hub)
        who = seat(hub, one, "one")
        number = inspecting.judge(hub, one, who, 0, ACCEPT, 0)
        inspecting.judge(hub, one, who, 0, REJECT, number)
        with pytest.raises(sql.exc.DatabaseError, match="added, never changed"), hub.database.writing() as connection:
            connection.exec_driver_sql("DELETE FROM judgement")
        judge_all(hub, one)
        assert inspections.result(hub, closed(hub, one)).whole.counts["reject"] == 1
        hub.database.close()


def test_no_acknowledged_judgement_is_lost_when_the_server_is_killed(tmp_path: Path, run: Path) -> None:
    folder = tmp_path / "hub"
    hub = a_hub(folder, run)
    one = planned(hub)
    cookies = []
    for login in ("one", "two"):
        token = sessions.open_for(hub.database, person(hub, login))
        there = sessions.of_token(hub.database, token, hub.settings.session)
        assert there is not None
        cookies.append({"cookie": f"{asking.COOKIE}={token}", "x-csrf-token": there.csrf})
    hub.database.close()
    kept: dict[int, int] = {}
    wrong: list[str] = []
    at = f"/api/inspections/{one.id}"

    def inspects(headers: dict[str, str]) -> None:
        """Judges every image and changes its mind at once, so that the kill falls among both."""
        with suppress(httpx.TransportError), httpx.Client(base_url=base, headers=headers, timeout=30) as line:
            while (due := line.get(f"{at}/images").json())["image"] is not None:
                old = 0
                for given in (ACCEPT, REJECT):
                    sent = {"at": due["at"], "replaces": old} | given
                    answer = line.post(f"{at}/judgements", json=sent)
                    if answer.status_code != 200:
                        wrong.append(answer.text)
                        return
                    old = int(answer.json()["kept"])
                    kept[old] = due["at"]

    for stop in (7, None):  # killed among the first judgements; then they come back and finish
        server = Server(folder)
        base = f"http://127.0.0.1:{server.port}"
        before, people = len(kept), [threading.Thread(target=inspects, args=(each,)) for each in cookies]
        for each in people:
            each.start()
        while stop is not None and len(kept) < before + stop and any(each.is_alive() for each in people):
            time.sleep(0.002)
        if stop is not None:
            server.end(signal.SIGKILL)
        for each in people:
            each.join()
        if stop is None:
            server.end(signal.SIGINT)
        assert wrong == []
        hub = Hub.open(folder)
        with hub.database.reading() as connection:
            there_now = set(connection.execute(sql.select(judgement.c.number)).scalars())
        assert set(kept) <= there_now
        assert trail.verify(hub.database) is None
        done = [inspecting.shown(hub, one, who).item is None for who in inspections.inspectors(hub, one).values()]
        assert done == [stop is None] * 2
        hub.database.close()
