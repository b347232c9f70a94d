"""Reader studies in the hub: frozen plans, pictures that tell nothing, votes that are kept, no interim looks."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

pytest.importorskip("fastapi")

from fastapi.testclient import TestClient

from chambit.core.errors import InputError
from chambit.core.evidence import Evidence, Finding, Verdict
from chambit.hub import accounts, desk, experts, material, readings, records, runs, settings, studies, trail
from chambit.hub.hub import Hub
from chambit.hub.readings import Reading
from chambit.hub.refusals import HubError, NotAllowedError, NotThereError
from chambit.reading.pixels import Telltale
from chambit.reading.simulate import Skill
from chambit.reading.simulate import votes as simulated
from chambit.reading.trials import plan
from chambit.report import dossier
from chambit.review import policy
from chambit.review.verdict import judge
from chambit.web import asking
from chambit.web.app import create_app
from hubs import PASSWORD, cheap_hashes

__all__ = ["cheap_hashes"]  # a fixture of every test here
READERS = 5
TITLE = {"ko": "시험 판독", "en": "A reading"}
# a generator of 24 steps leaves traces of its blocks, which the default policy would stop at
SMALL = {
    "telltales": ["constant border"],
    "images_least": 20,
    "practice": 2,
    "repeats": 0.2,
    "block": 10,
    "pixels": 32,
    "permutations": 99,
}


def small_policy(folder: Path, **changes: Any) -> None:
    """A hub's settings that ask for small reader studies."""
    raw = policy.merged(policy.FOLDER / "default.yaml")
    raw["settings"]["reading"] |= SMALL | changes
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "small.yaml").write_text(yaml.safe_dump(raw, allow_unicode=True), encoding="utf-8")
    (folder / settings.NAME).write_text("policy: small.yaml\n")


@pytest.fixture
def hub(tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub with the tiny run, a steward and five readers; the orders of reading are the same on every run."""
    monkeypatch.setattr(readings.secrets, "randbelow", lambda _: 11)
    small_policy(tmp_path / "hub")
    made = Hub.open(tmp_path / "hub")
    studies.register(made.database, trail.HUB, runs.read(tiny / "once"), "draft")
    accounts.create(made.database, trail.HUB, "steward", "Steward", ["steward"], PASSWORD)
    for number in range(READERS):
        one = accounts.create(made.database, trail.HUB, f"reader{number}", "R", ["reader"], PASSWORD)
        studies.give_part(made.database, trail.HUB, "tiny", one, "reader")
    yield made._replace(first="")
    made.database.close()


def people(hub: Hub) -> list[str]:
    return [one.id for one in accounts.listed(hub.database) if one.has("reader")]


def planned(hub: Hub, images: int = 10, plausibility: bool = True) -> Reading:
    made = readings.plan(hub, trail.HUB, "tiny", TITLE, images, plausibility)
    for number, who in enumerate(people(hub)):
        readings.invite(hub, trail.HUB, made, who, number == 0, "10 years")
    return made


def answer(**changes: Any) -> dict[str, Any]:
    given = {"score": 2, "giveaway": None, "seconds": 3.0, "moves": 1, "hour": 9}
    return given | {"plausibility": {"label": "yes", "quality": 4, "reject": []}} | changes


def read_all(hub: Hub, made: Reading, skills: list[Skill]) -> None:
    """Every reader answers everything, as a simulated one of known skill would."""
    seats = list(readings.seats(hub, made).values())
    plans = [plan(made.protocol, seat.number, material.secret(made.folder)) for seat in seats]
    for seat in seats:
        mine = [
            one
            for one in simulated(made.protocol, plans, skills, 0.3, 7)
            if one.trial in {t.id for t in plans[seat.number]}
        ]
        for vote in mine:
            given = vote.model_dump(include={"score", "plausibility", "giveaway", "seconds", "moves", "hour"})
            readings.cast(hub, made, seat, vote.trial, given)


# ---------------------------------------------------------------------------------------------- material


def test_pictures_of_both_kinds_are_of_one_length_and_matched_by_class(hub: Hub, tiny: Path) -> None:
    made = planned(hub)
    kept = material.kept(made.folder)
    files = list((made.folder / "pixels").iterdir())
    assert {path.stat().st_size for path in files} == {2 * kept.screen.height * kept.screen.width}
    assert len(files) == 2 * 10 + 2
    labels = {
        kind: sorted(one["label"] for name, one in kept.items.items() if name.startswith(kind))
        for kind in ("real", "synthetic")
    }
    assert labels["real"] == labels["synthetic"]
    sets = material.sets_of(tiny / "once")
    real = {one["id"] for name, one in kept.items.items() if "real" in name}
    assert real <= set(sets.real.table["id"])
    people_of = dict(zip(sets.real.table["id"], sets.real.subjects, strict=True))
    assert len({people_of[one] for one in real}) == len(real)


def test_a_kind_that_gives_itself_away_stops_the_plan(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    real_draw = material.draw

    def marked(*given: Any) -> material.Kept:
        kept = real_draw(*given)
        one = kept.telltales[0]._replace(name="constant border", area=0.99, p=0.0001)
        return kept._replace(telltales=(one,))

    monkeypatch.setattr(material, "draw", marked)
    with pytest.raises(HubError, match="constant border"):
        planned(hub)
    assert readings.listed(hub) == []


def test_too_many_images_or_too_few_are_refused(hub: Hub) -> None:
    with pytest.raises(InputError, match="too few images"):
        readings.plan(hub, trail.HUB, "tiny", TITLE, 500, True)
    with pytest.raises(HubError, match="at least"):
        readings.plan(hub, trail.HUB, "tiny", TITLE, 5, True)


def test_without_the_runs_own_folder_there_is_nothing_to_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="work/ is missing"):
        material.sets_of(tmp_path)


# ----------------------------------------------------------------------------------------------- reading


def test_the_plan_is_frozen_in_the_trail_before_the_first_vote(hub: Hub) -> None:
    made = planned(hub)
    kinds = [one.kind for one in trail.events(hub.database, "tiny")]
    assert kinds.index("reading.frozen") < len(kinds)
    frozen = next(one for one in trail.events(hub.database, "tiny") if one.kind == "reading.frozen")
    assert frozen.body["protocol"] == made.protocol.digest == readings.of(hub, made.id).protocol.digest


def test_answers_go_in_order_and_stay_as_they_are(hub: Hub) -> None:
    made = planned(hub)
    seat = readings.seat_of(hub, made, people(hub)[0])
    first = readings.next_of(hub, made, seat)
    assert (first.done, first.of, first.pause) == (0, 2 + 20 + 4, False)
    assert first.trial is not None
    later = plan(made.protocol, seat.number, material.secret(made.folder))[5]
    with pytest.raises(HubError, match="not the one that is due"):
        readings.cast(hub, made, seat, later.id, answer())
    with pytest.raises(NotThereError):
        readings.picture(hub, made, seat, later.id)
    assert len(readings.picture(hub, made, seat, first.trial.id)) == 2 * 24 * 32
    readings.cast(hub, made, seat, first.trial.id, answer())
    readings.cast(hub, made, seat, first.trial.id, answer(seconds=99.0))  # the reply was lost and it is sent again
    with pytest.raises(HubError, match="not changed"):
        readings.cast(hub, made, seat, first.trial.id, answer(score=5))
    now = readings.next_of(hub, made, seat)
    assert now.done == 1
    assert now.trial != first.trial


@pytest.mark.parametrize(
    "wrong",
    [
        {"score": 7},
        {"score": 0},
        {"seconds": -1.0},
        {"hour": 24},
        {"giveaway": (2.0, 0.5)},
        {"plausibility": None},
        {"plausibility": {"label": "yes", "quality": 9, "reject": []}},
        {"plausibility": {"label": "yes", "quality": 4, "reject": ["no such reason"]}},
    ],
)
def test_answers_of_the_wrong_form_are_refused_and_kept_nowhere(hub: Hub, wrong: dict[str, Any]) -> None:
    made = planned(hub)
    seat = readings.seat_of(hub, made, people(hub)[0])
    due = readings.next_of(hub, made, seat).trial
    assert due is not None
    with pytest.raises(HubError):
        readings.cast(hub, made, seat, due.id, answer(**wrong))
    assert readings.votes(hub, made) == []


def test_readers_are_pseudonyms_and_orders_differ(hub: Hub) -> None:
    made = planned(hub)
    seats = list(readings.seats(hub, made).values())
    assert len({seat.pseudonym for seat in seats}) == READERS
    orders = [[t.item for t in plan(made.protocol, s.number, material.secret(made.folder))] for s in seats]
    assert len({tuple(order) for order in orders}) == READERS
    text = json.dumps([one.body for one in trail.events(hub.database, "tiny") if one.kind == "vote.cast"])
    assert "real" not in text


def test_a_plan_that_gives_itself_away_is_refused_and_the_trail_says_so(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = Telltale("constant border", 0.0, 1.0, 0.95, 0.001)
    monkeypatch.setattr(material, "telltales", lambda *_: [told])
    with pytest.raises(HubError, match="constant border"):
        readings.plan(hub, trail.HUB, "tiny", TITLE, 10, False)
    assert not readings.listed(hub)
    said = [one.body for one in trail.events(hub.database, "tiny") if one.kind == "reading.refused"]
    assert said == [{"number": "constant border", "told": 0.95, "p": 0.001, "images": 10}]


def test_who_has_no_part_as_a_reader_is_not_invited(hub: Hub) -> None:
    made = readings.plan(hub, trail.HUB, "tiny", TITLE, 10, False)
    steward = next(one for one in accounts.listed(hub.database) if one.login == "steward")
    with pytest.raises(NotAllowedError):
        readings.invite(hub, trail.HUB, made, steward.id, False, "")
    with pytest.raises(NotThereError):
        readings.seat_of(hub, made, steward.id)


def test_no_result_before_the_study_is_closed_and_no_vote_after(hub: Hub) -> None:
    made = planned(hub)
    seat = readings.seat_of(hub, made, people(hub)[0])
    with pytest.raises(HubError, match="interim"):
        readings.analysed(hub, made)
    readings.close(hub, trail.HUB, made)
    due = readings.next_of(hub, made, seat).trial
    assert due is not None
    with pytest.raises(HubError, match="closed"):
        readings.cast(hub, made, seat, due.id, answer())


def test_the_analysis_recovers_readers_of_known_skill(hub: Hub) -> None:
    made = planned(hub, 12)
    read_all(hub, made, [Skill(dprime=2.0)] * READERS)
    readings.close(hub, trail.HUB, made)
    found = {one.quantity: one for one in readings.analysed(hub, readings.of(hub, made.id))}
    accuracy = found["accuracy"]
    assert accuracy.value is not None
    assert accuracy.interval is not None
    assert accuracy.interval.low <= 0.83 <= accuracy.interval.high
    assert accuracy.interval.low > 0.5
    assert found["equivalence"].value is not None
    assert found["equivalence"].value > 0.05
    assert accuracy.n["readers"] == READERS


# ----------------------------------------------------------------------------------------------- evidence


def read_and_closed(hub: Hub, dprime: float = 0.0) -> Reading:
    made = planned(hub)
    read_all(hub, made, [Skill(dprime=dprime)] * READERS)
    readings.close(hub, trail.HUB, made)
    return made


def test_a_closed_study_is_evidence_of_indicator_5(hub: Hub) -> None:
    before = desk.of(hub, "tiny")
    assert not before.told.counted
    made = read_and_closed(hub, dprime=3.0)
    at = desk.of(hub, "tiny")
    rows = {one.key: one for one in at.bundle.evidence}
    assert {"reading.accuracy", "reading.equivalence", "reading.label_right", "reading.plausible"} <= set(rows)
    assert rows["reading.accuracy"].verdict is Verdict.CONDITIONAL
    assert rows["reading.equivalence"].verdict is Verdict.CONDITIONAL
    assert {"reading.accuracy", "reading.equivalence"} <= set(at.facts.conditional)
    assert at.facts.evidence not in ("", before.facts.evidence, at.run.evidence)
    assert made.id in desk.attachments(at)["utility.reader_study"]
    card = next(card for card in dossier.view(at.bundle)["cards"] if card.id == 5)
    assert "reading.accuracy" in {row.evidence.key for row in card.rows}


def test_readers_who_cannot_tell_pass_and_those_who_lean_do_not(hub: Hub) -> None:
    read_and_closed(hub)
    rows = {one.key: one for one in desk.of(hub, "tiny").bundle.evidence}
    accuracy = rows["reading.accuracy"]
    assert accuracy.interval is not None
    assert (accuracy.verdict is Verdict.PASS) == (accuracy.interval.low <= 0.5 <= accuracy.interval.high)
    lower = {"interval": accuracy.interval.model_copy(update={"low": 0.4, "high": 0.49}), "value": 0.45}
    assert judge(accuracy_of(accuracy, lower), desk.policy_of(hub)).verdict is Verdict.CONDITIONAL


def accuracy_of(one: Evidence, changes: dict[str, Any]) -> Finding:
    return Finding.model_validate(one.model_dump(include=set(Finding.model_fields)) | changes)


def test_labels_called_wrong_fail_the_set(hub: Hub) -> None:
    made = planned(hub)
    for who in people(hub):
        seat = readings.seat_of(hub, made, who)
        while (due := readings.next_of(hub, made, seat).trial) is not None:
            wrong = {"label": "no" if due.kind == "synthetic" else "yes", "quality": 4, "reject": []}
            readings.cast(hub, made, seat, due.id, answer(plausibility=wrong))
    readings.close(hub, trail.HUB, made)
    at = desk.of(hub, "tiny")
    rows = {one.key: one for one in at.bundle.evidence}
    assert rows["reading.label_right"].value == 0
    assert rows["reading.label_right"].verdict is Verdict.FAIL
    assert rows["reading.plausible"].verdict is Verdict.CONDITIONAL  # 10 images cannot show 90 % of what real ones got
    assert at.bundle.verdict is Verdict.FAIL
    assert at.facts.verdict is Verdict.FAIL
    assert at.facts.utility is not None
    assert at.facts.utility.verdict is Verdict.FAIL


def test_a_study_that_ends_within_a_review_waits_for_the_next(hub: Hub) -> None:
    made = planned(hub)
    read_all(hub, made, [Skill(dprime=3.0)] * READERS)
    with hub.database.writing() as connection:
        body = {"event": "open_review", "candidate": made.protocol.candidate}
        studies.moved(connection, trail.HUB, "tiny", "in_review", body)
    readings.close(hub, trail.HUB, made)
    at = desk.of(hub, "tiny")
    assert [said.name for said in at.told.after] == [made.id]
    assert at.facts.evidence == at.run.evidence
    assert "reading.accuracy" not in {one.key for one in at.bundle.evidence}
    steward, _ = client_of(hub, "steward")
    assert "이번 심의에서는 세지 않음" in steward.get("/studies/tiny").text
    with hub.database.writing() as connection:
        studies.moved(connection, trail.HUB, "tiny", "examined", {"event": "return_examined"})
    assert desk.of(hub, "tiny").told.counted


def test_readings_of_another_set_are_no_evidence(hub: Hub) -> None:
    read_and_closed(hub)
    there = studies.of(hub.database, "tiny")
    told = experts.told(hub.database, "tiny", "f" * 64, desk.policy_of(hub))
    assert not told.evidence
    assert told.sealed("run") == "run"
    assert experts.told(hub.database, "tiny", there.candidate, desk.policy_of(hub)).sealed("run") != "run"


def test_a_stop_between_closing_and_counting_loses_nothing(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    made = planned(hub)
    read_all(hub, made, [Skill(dprime=0.0)] * READERS)

    def stopped(*_: Any) -> None:
        raise RuntimeError("stopped")

    with monkeypatch.context() as broken:
        broken.setattr(experts, "add", stopped)
        with pytest.raises(RuntimeError):
            readings.close(hub, trail.HUB, made)
    assert readings.of(hub, made.id).state == "closed"
    assert not desk.of(hub, "tiny").told.counted
    for _ in range(2):  # the second look adds nothing
        readings.analysed(hub, readings.of(hub, made.id))
    assert len(records.every(hub.database, "tiny", experts.KIND)) == 1
    assert desk.of(hub, "tiny").told.counted


def test_a_study_that_nobody_read_is_no_evidence(hub: Hub) -> None:
    made = planned(hub)
    readings.close(hub, trail.HUB, made)
    assert not desk.of(hub, "tiny").told.counted
    steward, _ = client_of(hub, "steward")
    page = steward.get(f"/readings/{made.id}/results")
    assert page.status_code == 409
    assert "답이 하나도 없습니다" in page.text


# -------------------------------------------------------------------------------------------------- pages


def client_of(hub: Hub, login: str) -> tuple[TestClient, str]:
    client = TestClient(create_app(hub), follow_redirects=False)
    assert client.post("/login", data={"login": login, "password": PASSWORD}).status_code == 303
    found = re.search(r'name="csrf" value="([^"]+)"', client.get("/account").text)
    assert found
    return client, found[1]


def test_a_reader_reads_over_http_and_comes_back_after_closing_the_browser(hub: Hub) -> None:
    made = planned(hub)
    client, csrf = client_of(hub, "reader0")
    page = client.get(f"/read/{made.id}").text
    assert 'id="picture"' in page
    for number in range(3):
        due = client.get(f"/api/readings/{made.id}/next").json()
        assert due["done"] == number
        raw = client.get(f"/api/readings/{made.id}/pixels/{due['trial']}")
        assert len(raw.content) == 2 * due["width"] * due["height"]
        assert np.frombuffer(raw.content, "<u2").max() > 0
        assert not {"etag", "last-modified", "content-disposition"} & set(raw.headers)
        given = {"trial": due["trial"]} | answer()
        assert client.post(f"/api/readings/{made.id}/votes", json=given).status_code == 403  # no token
        kept = client.post(f"/api/readings/{made.id}/votes", json=given, headers={"x-csrf-token": csrf})
        assert kept.json() == {"kept": True}
    again, _ = client_of(hub, "reader0")
    assert again.get(f"/api/readings/{made.id}/next").json()["done"] == 3
    other, _ = client_of(hub, "reader1")
    assert other.get(f"/api/readings/{made.id}/next").json()["done"] == 0


def test_what_a_reader_gets_says_nothing_of_the_kind(hub: Hub) -> None:
    made = planned(hub, plausibility=False)
    client, csrf = client_of(hub, "reader0")
    shape = set()
    for _ in range(22):
        answered = client.get(f"/api/readings/{made.id}/next")
        due = answered.json()
        if due["trial"] is None:
            break
        raw = client.get(f"/api/readings/{made.id}/pixels/{due['trial']}")
        shape.add((len(raw.content), tuple(sorted((k, v) for k, v in raw.headers.items() if k != "date"))))
        told = answered.text + client.get(f"/read/{made.id}").text
        assert not re.search(r"holdout|S0000|real-|synthetic-|\.png|\.dcm", told)
        assert due["label"] is None
        given = {"trial": due["trial"]} | answer(plausibility=None)
        client.post(f"/api/readings/{made.id}/votes", json=given, headers={"x-csrf-token": csrf})
    assert len(shape) == 1


def test_results_are_shown_when_the_study_is_closed(hub: Hub) -> None:
    made = planned(hub)
    read_all(hub, made, [Skill(dprime=0.0)] * READERS)
    client, csrf = client_of(hub, "steward")
    assert client.get(f"/readings/{made.id}/results").status_code == 409
    assert client.post(f"/readings/{made.id}/close", data={"csrf": csrf}).status_code == 303
    page = client.get(f"/readings/{made.id}/results")
    assert page.status_code == 200
    assert "맞힌 비율" in page.text
    assert client.get(f"/readings/{made.id}/imrmc.csv").text.count("\n") > READERS * 20
    reader, _ = client_of(hub, "reader0")
    for seat in readings.seats(hub, made).values():
        assert seat.pseudonym in reader.get("/studies/tiny/readings").text


def test_a_steward_plans_and_invites_over_http(hub: Hub) -> None:
    client, csrf = client_of(hub, "steward")
    given = {"csrf": csrf, "ko": "판독", "en": "Reading", "images": "10", "plausibility": "1"}
    assert client.post("/studies/tiny/readings", data=given).status_code == 303
    made = readings.listed(hub, "tiny")[0]
    who = people(hub)[0]
    assert client.post(f"/readings/{made.id}/seats", data={"csrf": csrf, "account": who}).status_code == 303
    assert list(readings.seats(hub, made)) == [who]
    reader, token = client_of(hub, "reader0")
    assert reader.post("/studies/tiny/readings", data=given | {"csrf": token}).status_code == 403
    assert asking.COOKIE in reader.cookies
