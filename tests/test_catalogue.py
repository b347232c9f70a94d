"""The catalogue: who sees which set and how much of it, the table of its images, their pixels, and the same as JSON."""

import datetime
import io
import json
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import sqlalchemy as sql

pytest.importorskip("fastapi")

from fastapi.testclient import TestClient
from PIL import Image as Picture

from chambit.core import bound, digest
from chambit.hub import accounts, catalogue, factsheet, imagetable, records, runs, studies, trail
from chambit.hub.hub import Hub
from chambit.hub.imagetable import Images
from chambit.hub.tables import account, signing
from chambit.review.board import decision
from chambit.review.board.ballot import Choice
from chambit.web import asking, guard
from chambit.web.app import create_app
from hubs import PASSWORD, cheap_hashes
from test_board_decision import KNOWN, decided, meeting, signed
from test_board_members import vote

__all__ = ["cheap_hashes"]  # a fixture of every test here

LOGINS = {"kim": ["steward"], "park": ["generator"], "admin": ["administrator"], "song": ["consumer"]}
SIDE = 8
PAGES = ("", "/images", "/images/S000000", "/pixels/S000000", "/thumb/S000000")
API = ("", "/images")


def approved(hub: Hub, name: str, tier: str, state: str = "released", keep: bool = True) -> None:
    """Let a board of six have approved a set for a tier; with `keep` False its decision is not kept."""
    study = studies.of(hub.database, name)
    given = meeting()
    ballots = [vote(f"m{n}", Choice.APPROVE, candidate=study.candidate, tier="open") for n in range(1, 6)]
    given = given._replace(digests=given.digests.model_copy(update={"candidate": study.candidate}), ballots=ballots)
    sealed = signed(decided(given, tier=tier), "m1", "m2", "m3")
    with hub.database.writing() as connection:
        there = set(connection.execute(sql.select(account.c.id)).scalars())
        for key in KNOWN:
            if key.member in there:
                continue
            who = {"id": key.member, "login": key.member, "name": key.member, "roles": ["member"], "created": 0.0}
            connection.execute(account.insert().values(**who))
            row = {"id": key.id, "account": key.member, "public": key.public, "private": ""}
            connection.execute(signing.insert().values(**row, begins=key.begins.isoformat()))
        if keep:
            body = sealed.model_dump(mode="json", by_alias=True)
            records.add(connection, "m1", name, "decision", "D1", body)
        studies.moved(connection, "m1", name, state, {"event": "release", "decision": digest.of_bytes(sealed.body)})


def made(folder: Path, source: Path, pictures: list[np.ndarray], **columns: list[Any]) -> Path:
    """A finished run with these pictures, two labels in turn; dossier and evidence are those of another run."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name in ("evidence.json", "dossier.json", "dossier.html", "verdict.json"):
        shutil.copy(source / name, folder / name)
    rows = {"file": [], "subject": [], "label": [], "pixels_sha256": []} | {name: [] for name in columns}
    for k, pixels in enumerate(pictures):
        label = ("left", "right")[k % 2]
        (folder / "candidate" / label).mkdir(parents=True, exist_ok=True)
        Picture.fromarray(pixels).save(folder / "candidate" / label / f"S{k:06d}.png")
        told = {name: values[k] for name, values in columns.items()}
        own = {"file": f"{label}/S{k:06d}.png", "subject": f"S{k:06d}", "label": label}
        for name, value in (own | told | {"pixels_sha256": digest.of_array(pixels)}).items():
            rows[name].append(value)
    pl.DataFrame(rows).write_csv(folder / "candidate" / "labels.csv")
    verdict = json.loads((folder / "verdict.json").read_bytes())
    verdict["candidate"] = bound.digest_of(folder / "candidate")
    (folder / "verdict.json").write_text(json.dumps(verdict))
    return folder


def grey(count: int, dtype: type = np.uint16) -> list[np.ndarray]:
    rng = np.random.default_rng(3)
    return [rng.integers(0, np.iinfo(dtype).max, (SIDE, SIDE + 4), dtype) for _ in range(count)]


@pytest.fixture(scope="module")
def source(tiny: Path) -> Path:
    return tiny / "once"


@pytest.fixture
def run(source: Path, tmp_path: Path) -> Path:
    """Seventy images of two labels and three views, 16 bits."""
    views = [("PA", "AP", "LL")[k % 3] for k in range(70)]
    return made(tmp_path / "run", source, grey(70), view=views)


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    monkeypatch.setattr(catalogue, "FRESH", 0.0)
    opened = Hub.open(tmp_path / "hub")
    for login, roles in LOGINS.items():
        accounts.create(opened.database, trail.HUB, login, login.title(), roles, PASSWORD)
    yield opened._replace(first="")
    opened.database.close()


@pytest.fixture
def client(served: Hub) -> TestClient:
    return TestClient(create_app(served), follow_redirects=False)


def signs_in(client: TestClient, login: str) -> str:
    client.cookies.delete(asking.COOKIE)
    assert client.post("/login", data={"login": login, "password": PASSWORD}).status_code == 303
    found = re.search(r'name="csrf" value="([^"]+)"', client.get("/account").text)
    assert found
    return found[1]


def registers(client: TestClient, folder: Path) -> str:
    csrf = signs_in(client, "kim")
    done = client.post("/studies", data={"csrf": csrf, "folder": str(folder)})
    return str(done.headers["location"]).rsplit("/", 1)[1]


# ------------------------------------------------------------------------------------------- who sees what


def test_a_set_before_its_approval_is_seen_by_those_with_a_part_alone(
    client: TestClient, served: Hub, run: Path
) -> None:
    name = registers(client, run)
    assert f"/catalogue/{name}" in client.get("/catalogue").text
    assert all(client.get(f"/catalogue/{name}{path}").status_code == 200 for path in PAGES)
    for login in ("song", "admin", "park"):
        signs_in(client, login)
        assert f"/catalogue/{name}" not in client.get("/catalogue").text
        assert {client.get(f"/catalogue/{name}{path}").status_code for path in PAGES} == {404}
        assert {client.get(f"/api/catalogue/{name}{path}").status_code for path in API} == {404}
        assert client.get("/api/catalogue").json() == {"total": 0, "sets": []}
    park = next(one for one in accounts.listed(served.database) if one.login == "park")
    studies.give_part(served.database, trail.HUB, name, park, "generator")
    signs_in(client, "park")
    assert client.get(f"/catalogue/{name}/images").status_code == 200


@pytest.mark.parametrize("login", ["song", "admin"])
def test_an_open_set_is_shown_whole_to_every_account(client: TestClient, served: Hub, run: Path, login: str) -> None:
    name = registers(client, run)
    approved(served, name, "open")
    signs_in(client, login)
    told = client.get(f"/api/catalogue/{name}").json()
    assert (told["tier"], told["shown"], told["registered"], told["images"]) == ("open", "all", True, 70)
    assert client.get(f"/api/catalogue/{name}/images").json()["total"] == 70
    assert "개방" in client.get(f"/catalogue/{name}").text


@pytest.mark.parametrize("tier", ["gated", "safe_zone"])
def test_of_a_set_that_is_not_open_the_same_twenty_images_are_shown(
    client: TestClient, served: Hub, run: Path, tier: str
) -> None:
    name = registers(client, run)
    approved(served, name, tier, "approved")
    signs_in(client, "song")
    shown = client.get(f"/api/catalogue/{name}/images").json()
    assert shown["total"] == imagetable.SAMPLE
    assert client.get(f"/api/catalogue/{name}/images").json() == shown
    ids = {item["id"] for item in shown["items"]}
    hidden = next(f"S{k:06d}" for k in range(70) if f"S{k:06d}" not in ids)
    for path in ("images", "pixels", "thumb"):
        assert client.get(f"/catalogue/{name}/{path}/{min(ids)}").status_code == 200
        assert client.get(f"/catalogue/{name}/{path}/{hidden}").status_code == 403
    assert "표본 20장만" in client.get(f"/catalogue/{name}/images").text
    signs_in(client, "kim")
    assert client.get(f"/api/catalogue/{name}/images").json()["total"] == 70


def test_without_a_decision_that_holds_a_set_is_described_and_not_shown(
    client: TestClient, served: Hub, run: Path
) -> None:
    name = registers(client, run)
    approved(served, name, "open", keep=False)
    signs_in(client, "song")
    told = client.get(f"/api/catalogue/{name}").json()
    assert (told["tier"], told["shown"], told["sample"]) == ("", "none", [])
    assert client.get(f"/catalogue/{name}/pixels/S000000").status_code == 403
    assert "개방 등급이 정해지지 않았습니다" in client.get(f"/catalogue/{name}").text
    assert client.get(f"/api/catalogue/{name}/images").json()["items"] == []


@pytest.mark.parametrize("state", ["suspended", "withdrawn", "in_review"])
def test_a_set_that_is_no_longer_approved_leaves_the_catalogue(
    client: TestClient, served: Hub, run: Path, state: str
) -> None:
    name = registers(client, run)
    approved(served, name, "open")
    signs_in(client, "song")
    assert client.get(f"/catalogue/{name}").status_code == 200
    with served.database.writing() as connection:
        studies.moved(connection, trail.HUB, name, state, {})
    assert client.get(f"/catalogue/{name}").status_code == 404
    assert client.get(f"/catalogue/{name}/pixels/S000000").status_code == 404


def test_a_changed_set_is_told_to_those_with_a_part_and_taken_from_the_others(
    client: TestClient, served: Hub, run: Path
) -> None:
    name = registers(client, run)
    approved(served, name, "open")
    assert "등록된 것과 다릅니다" not in client.get(f"/catalogue/{name}").text
    other = run / "candidate" / "left" / "S000002.png"
    shutil.copy(run / "candidate" / "left" / "S000000.png", other)
    assert "등록된 것과 다릅니다" in client.get(f"/catalogue/{name}").text
    assert client.get(f"/api/catalogue/{name}").json()["registered"] is False
    assert client.get(f"/catalogue/{name}/thumb/S000002").status_code == 409  # not the pixels that were measured
    assert client.get(f"/catalogue/{name}/pixels/S000004").status_code == 200
    signs_in(client, "song")
    assert client.get(f"/catalogue/{name}").status_code == 404


def test_a_slow_comparison_is_repeated_behind_the_pages(
    served: Hub, run: Path, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = registers(client, run)
    study = studies.of(served.database, name)
    calls: list[str] = []
    monkeypatch.setattr(catalogue.board, "checked", lambda hub, which: calls.append(which) is None)
    monkeypatch.setattr(catalogue, "QUICK", -1.0)  # everything is slow
    assert catalogue.registered(served, study)
    key = next(key for key in catalogue._looks if key[:2] == (served.folder, name))
    catalogue._looks[key] = catalogue._Look(time.monotonic() - 1000, 1.0, True)
    assert catalogue.registered(served, study)  # at once, by the answer that stands
    for _ in range(200):
        if len(calls) == 2:
            break
        time.sleep(0.01)
    assert calls == [name, name]


# --------------------------------------------------------------------------------------------------- table


def test_images_are_paged_and_filtered_by_label_and_by_what_was_told(
    client: TestClient, served: Hub, run: Path
) -> None:
    name = registers(client, run)
    api = f"/api/catalogue/{name}/images"
    pages = [client.get(f"{api}?page={number}").json() for number in (1, 2)]
    assert [(one["page"], one["pages"], len(one["items"])) for one in pages] == [(1, 2, 60), (2, 2, 10)]
    assert len({item["id"] for one in pages for item in one["items"]}) == 70
    assert client.get(f"{api}?page=99").json()["page"] == 2
    both = client.get(f"{api}?label=left&c.view=AP").json()
    assert {(item["label"], item["told"]["view"]) for item in both["items"]} == {("left", "AP")}
    assert both["total"] == sum(k % 2 == 0 and k % 3 == 1 for k in range(70))
    assert client.get(f"{api}?c.nothing=1").json()["total"] == 0
    page = client.get(f"/catalogue/{name}/images?label=left&page=1").text
    assert len(re.findall(r'<a href="/catalogue/[^"]+/images/S\d+', page)) == 35
    assert "<option selected>left</option>" in page.replace('value="left" ', "")
    for wild in ("page=x", "page=-3", "page=99999999999999999999", "label=<b>"):
        assert client.get(f"/catalogue/{name}/images?{wild}").status_code == 200
    assert client.get(f"{api}?page=0").status_code == 422


def test_the_price_of_a_page_does_not_grow_with_its_number(tmp_path: Path) -> None:
    count = 20_000
    (tmp_path / "candidate").mkdir()
    pl.DataFrame(
        {
            "file": [f"c{k % 9}/S{k:06d}.png" for k in range(count)], "subject": [f"S{k:06d}" for k in range(count)],
            "label": [f"c{k % 9}" for k in range(count)], "age": [k % 70 for k in range(count)],
            "pixels_sha256": ["0" * 64] * count,
        }
    ).write_csv(tmp_path / "candidate" / "labels.csv")  # fmt: skip
    images = Images(tmp_path, "all")
    imagetable.page(images, {}, 1)

    def seconds(number: int, where: dict[str, str]) -> float:
        begun = time.perf_counter()
        for _ in range(5):
            imagetable.page(images, where, number)
        return (time.perf_counter() - begun) / 5

    for where in ({}, {"label": "c3"}, {"age": "12", "label": "c3"}):
        first, last = (min(seconds(number, where) for _ in range(5)) for number in (1, 10**6))
        assert last < 3 * first + 0.02
        assert last < 0.3


def test_a_table_is_read_again_when_it_has_changed(run: Path) -> None:
    assert imagetable.table(run).counts == {"left": 35, "right": 35}
    path = run / "candidate" / "labels.csv"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:5]))
    assert imagetable.table(run).counts == {"left": 2, "right": 2}
    path.write_text("nothing,known\n1,2\n")
    assert imagetable.table(run).counts == {}
    path.unlink()
    assert len(imagetable.table(run).rows) == 0


def test_numbers_stay_as_they_were_written(source: Path, tmp_path: Path) -> None:
    folder = made(tmp_path / "run", source, grey(4), code=["007", "1e3", "", "0.10"])
    assert imagetable.table(folder).rows["code"].to_list() == ["007", "1e3", "", "0.10"]


def test_neighbours_are_those_that_were_asked_for(run: Path) -> None:
    images = Images(run, "all")
    one = imagetable.shown(images, "S000002", {"label": "left"})
    assert (one.before, one.after, one.place, one.total) == ("S000000", "S000004", 2, 35)
    assert imagetable.shown(images, "S000000", {}).before == ""
    assert imagetable.shown(images, "S000069", {}).after == ""
    assert imagetable.shown(images, "S000001", {"label": "left"}).place == 0


def test_films_stand_once_in_the_grid_and_are_shown_in_their_order(source: Path, tmp_path: Path) -> None:
    order = [2, 0, 1, 10, 0, 1]
    folder = made(
        tmp_path / "run", source, grey(6), series=["A", "A", "A", "A", "B", "B"], frame=[str(one) for one in order]
    )
    images = Images(folder, "all")
    assert imagetable.table(folder).series == 2
    assert [row["id"] for row in imagetable.page(images, {}, 1).rows] == ["S000000", "S000004"]
    assert imagetable.page(images, {}, 1, whole=True).total == 6
    one = imagetable.shown(images, "S000003", {})
    assert one.frames == ("S000001", "S000002", "S000000", "S000003")  # 10 comes after 2
    assert (one.place, one.total, one.after) == (1, 2, "S000004")


def test_a_sample_of_films_has_whole_films(source: Path, tmp_path: Path) -> None:
    frames = [str(k % 6) for k in range(60)]
    folder = made(tmp_path / "run", source, grey(60), series=[f"F{k // 6}" for k in range(60)], frame=frames)
    rows = imagetable.visible(Images(folder, "sample"))
    films = rows["series"].unique().to_list()
    assert len(films) == 3  # with 18 images together, of 20 that a sample has
    assert rows["series"].value_counts()["count"].to_list() == [6, 6, 6]
    assert len(imagetable.shown(Images(folder, "sample"), rows["id"][0], {}).frames) == 6
    assert imagetable.strip(Images(folder, "sample")) == [f"S{int(film[1:]) * 6 + 3:06d}" for film in sorted(films)]
    for count, shown in ((2, 20), (10, 30)):  # a long one is not shown whole where it is half of the set
        longer = [f"F{k // 30}" for k in range(30 * count)]
        frames = [str(k % 30) for k in range(30 * count)]
        volumes = made(tmp_path / f"of {count}", source, grey(30 * count), series=longer, frame=frames)
        assert len(imagetable.visible(Images(volumes, "sample"))) == shown


# ------------------------------------------------------------------------------------------------ pictures


def test_pixels_are_little_endian_and_whole(client: TestClient, run: Path) -> None:
    name = registers(client, run)
    answer = client.get(f"/catalogue/{name}/pixels/S000003")
    assert answer.headers["content-type"] == "application/octet-stream"
    assert (answer.headers["x-width"], answer.headers["x-height"]) == (str(SIDE + 4), str(SIDE))
    assert np.array_equal(np.frombuffer(answer.content, "<u2").reshape(SIDE, SIDE + 4), grey(4)[3])
    assert answer.headers["cache-control"].startswith("private")


def test_eight_bits_are_scaled_to_sixteen_and_colour_comes_as_png(
    client: TestClient, source: Path, tmp_path: Path
) -> None:
    name = registers(client, made(tmp_path / "eight", source, grey(2, np.uint8)))
    got = np.frombuffer(client.get(f"/catalogue/{name}/pixels/S000001").content, "<u2")
    assert np.array_equal(got, grey(2, np.uint8)[1].astype(np.uint16).ravel() * 257)
    colour = [np.dstack([one] * 3) for one in grey(2, np.uint8)]
    colour[1][..., 0] = 9
    name = registers(client, made(tmp_path / "colour", source, colour))
    answer = client.get(f"/catalogue/{name}/pixels/S000001")
    assert answer.headers["content-type"] == "image/png"
    assert np.array_equal(np.asarray(Picture.open(io.BytesIO(answer.content))), colour[1])
    assert "<canvas" not in client.get(f"/catalogue/{name}/images/S000001").text


def test_a_thumbnail_is_small_and_says_what_it_is(client: TestClient, source: Path, tmp_path: Path) -> None:
    large = np.linspace(0, 65535, 600 * 400).astype(np.uint16).reshape(600, 400)
    name = registers(client, made(tmp_path / "run", source, [large, large // 2]))
    shown = Picture.open(io.BytesIO(client.get(f"/catalogue/{name}/thumb/S000000").content))
    assert (shown.size, shown.mode) == ((128, 192), "L")
    assert "AI-generated" in shown.info["Comment"]


@pytest.mark.parametrize("wild", ["...", "S9", "S000000.png", "%2e%2e%2flabels", "left%2FS000000", "%00"])
def test_only_ids_of_the_table_are_answered(client: TestClient, run: Path, wild: str) -> None:
    name = registers(client, run)
    for path in ("images", "pixels", "thumb"):
        assert client.get(f"/catalogue/{name}/{path}/{wild}").status_code == 404


def test_a_table_cannot_lead_out_of_the_set(run: Path, tmp_path: Path) -> None:
    outside = tmp_path / "secret.png"
    Picture.fromarray(grey(1)[0]).save(outside)
    row = {"file": "../../secret.png", "id": "secret", "sha256": digest.of_array(grey(1)[0])}
    images = Images(run, "all")
    for file in ("../../secret.png", str(outside), "left/../../../secret.png"):
        with pytest.raises(catalogue.NotThereError):
            imagetable.file_of(images, row | {"file": file})
    (run / "candidate" / "left" / "S000000.png").unlink()
    (run / "candidate" / "left" / "S000000.png").symlink_to(outside)
    with pytest.raises(catalogue.NotThereError):
        imagetable.picture(images, "S000000")
    shutil.move(run / "candidate" / "right", tmp_path / "right")
    (run / "candidate" / "right").symlink_to(tmp_path / "right")
    with pytest.raises(catalogue.NotThereError):
        imagetable.picture(images, "S000001")


# --------------------------------------------------------------------------------------------------- pages


def test_the_list_is_searched_by_words_and_narrowed(
    client: TestClient, served: Hub, run: Path, source: Path, tmp_path: Path
) -> None:
    first = registers(client, run)
    second = registers(client, made(tmp_path / "second", source, grey(3)))
    approved(served, first, "open")

    def found(asked: str) -> set[str]:
        page = client.get(f"/catalogue?{asked}").text
        told = {one["id"] for one in client.get(f"/api/catalogue?{asked}").json()["sets"]}
        assert told == {name for name in (first, second) if f'<a href="/catalogue/{name}">' in page}
        return told

    assert found("") == found("q=TINY") == found("label=left") == {first, second}
    assert found("tier=open") == found("state=released") == {first}
    assert found("tier=metadata") == found("state=draft") == {second}
    assert found("q=nothing-of-this") == found("label=other") == set()
    assert "맞는 세트가 없습니다" in client.get("/catalogue?q=nothing-of-this").text


def test_a_set_whose_files_are_gone_does_not_take_the_list_with_it(
    client: TestClient, run: Path, source: Path, tmp_path: Path
) -> None:
    first = registers(client, run)
    gone = made(tmp_path / "gone", source, grey(3))
    second = registers(client, gone)
    shutil.rmtree(gone)
    page = client.get("/catalogue")
    assert page.status_code == 200
    assert f"/catalogue/{first}" in page.text
    assert f"/catalogue/{second}" not in page.text


def test_one_page_says_what_a_set_is_for_how_good_and_how_safe_it_is(
    client: TestClient, served: Hub, source: Path
) -> None:
    name = registers(client, source)
    approved(served, name, "gated")
    signs_in(client, "song")
    told = client.get(f"/api/catalogue/{name}").json()
    assert [field["id"] for field in told["fields"]] == [1, 2, 3, 4, 5, 6]
    loss = next(one for one in told["fields"][4]["numbers"] if one["key"] == "downstream.loss")
    assert loss["value"] is None or loss["interval"]["level"] == 0.95
    assert told["downloadable"] is False
    assert told["digest"] == studies.of(served.database, name).candidate
    page = client.get(f"/catalogue/{name}").text
    for said in (
        "AI 생성",
        "쓸 수 있는 곳과 없는 곳",
        "AUROC",
        "다루지 않은 것",
        "아직 이 허브에서 내려받을 수 없습니다",
    ):
        assert said in page, said
    assert told["digest"] in page
    assert f'href="/studies/{name}"' not in page
    client.get("/language/en")
    page = client.get(f"/catalogue/{name}").text
    assert "It cannot be downloaded from this hub yet." in page
    english = re.sub(r'<header class="topbar">.*?</header>|<span class="ko".*?</span>', "", page, flags=re.DOTALL)
    assert not re.search("[가-힣]", english)


def test_names_of_people_stay_in_the_review(client: TestClient, served: Hub, run: Path) -> None:
    name = registers(client, run)
    with served.database.writing() as connection:
        records.add(connection, trail.HUB, name, "attachment", "process.access", {"text": "Hong Gildong, cabinet 3"})
        records.add(connection, trail.HUB, name, "attachment", "generation.rationale", {"text": "it was <b>there"})
    page = client.get(f"/catalogue/{name}").text
    assert "Gildong" not in page + client.get(f"/api/catalogue/{name}").text
    assert "심의 자료에 있음" in page
    assert "it was &lt;b&gt;there" in page


def test_pages_carry_no_script_of_their_own_and_load_nothing_from_elsewhere(client: TestClient, run: Path) -> None:
    name = registers(client, run)
    for path in ("/catalogue", f"/catalogue/{name}", f"/catalogue/{name}/images", f"/catalogue/{name}/images/S000000"):
        answer = client.get(path)
        assert answer.headers["content-security-policy"] == guard.POLICY
        assert not re.search(r'(?:src|href)="(?:https?:)?//', answer.text), path
        assert not re.search(r"<script(?![^>]*src=)", answer.text), path
        assert not re.search(r"\son\w+=", answer.text), path
    for file in ("viewer.js", "catalogue.js", "catalogue.css"):
        assert client.get(f"/static/{file}").status_code == 200


def test_the_schema_tells_the_catalogue(client: TestClient) -> None:
    schema = client.get("/api/openapi.json").json()
    assert {"/api/catalogue", "/api/catalogue/{study}", "/api/catalogue/{study}/images"} <= set(schema["paths"])
    assert not {path for path in schema["paths"] if path.startswith("/catalogue") and path.endswith("images")}
    assert {"Sheet", "Card", "Items"} <= set(schema["components"]["schemas"])


@pytest.mark.parametrize(
    ("text", "both"),
    [
        ("흉부 / Chest", ("흉부", "Chest")), ("Chest", ("Chest", "Chest")), ("on / off", ("on / off", "on / off")),
        ("가 / 나", ("가 / 나", "가 / 나")), ("", ("", "")),
    ],
)  # fmt: skip
def test_words_in_both_languages_are_taken_apart(text: str, both: tuple[str, str]) -> None:
    said = factsheet.sided(text)
    assert (said.ko, said.en) == both


def test_a_decision_that_was_tampered_with_opens_nothing(client: TestClient, served: Hub, run: Path) -> None:
    name = registers(client, run)
    approved(served, name, "gated")
    kept = records.standing(served.database, name, "decision")["D1"].body
    study = studies.of(served.database, name)
    assert catalogue._granted(served, study).tier == "gated"
    wider = json.loads(json.dumps(kept))
    body = decision.Envelope.model_validate(kept).body.replace(b'"gated"', b'"open"')
    import base64

    wider["payload"] = base64.b64encode(body).decode()
    with served.database.writing() as connection:
        records.add(connection, trail.HUB, name, "decision", "D1", wider)
        told = {"event": "release", "decision": digest.of_bytes(body)}
        studies.moved(connection, "m1", name, "released", told)
    assert catalogue._granted(served, studies.of(served.database, name)).tier == ""


def test_an_approval_says_until_when(client: TestClient, served: Hub, run: Path) -> None:
    name = registers(client, run)
    approved(served, name, "open")
    until = client.get(f"/api/catalogue/{name}").json()["until"]
    assert datetime.date.fromisoformat(until) > datetime.date(2026, 11, 23)
    assert until in client.get(f"/catalogue/{name}").text


# ----------------------------------------------------------------------------------------------- the viewer


@pytest.fixture
def looking(source: Path, tmp_path: Path) -> Iterator[Any]:
    """A browser of twice as many pixels as points, signed in as a consumer, before a hub with one open film."""
    sync_api = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("chromium is not installed")
    from test_browser import QUIET, Served

    (tmp_path / "hub").mkdir()
    (tmp_path / "hub" / "hub.yaml").write_text("limits: {requests: 5000, logins: 500}\n")
    hub = Hub.open(tmp_path / "hub")
    for login in ("kim", "song"):
        accounts.create(hub.database, trail.HUB, login, login.title(), LOGINS[login], PASSWORD)
    frames = [str(k % 6) for k in range(12)]
    folder = made(tmp_path / "film", source, grey(12), series=[f"F{k // 6}" for k in range(12)], frame=frames)
    run = runs.read(folder)
    approved(hub, studies.register(hub.database, trail.HUB, run, "draft").id, "open")
    hub.database.close()
    served = Served(tmp_path / "hub")
    with sync_api.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium, args=QUIET)
        page = browser.new_context(viewport={"width": 1200, "height": 900}, device_scale_factor=2).new_page()
        page.set_default_timeout(20_000)
        page.wrong = []
        page.on("console", lambda said: said.type == "error" and page.wrong.append(said.text))
        page.on("pageerror", lambda error: page.wrong.append(str(error)))
        page.goto(f"{served.base}/login")
        page.fill("[name=login]", "song")
        page.fill("[name=password]", PASSWORD)
        page.keyboard.press("Enter")
        page.wait_for_url(lambda url: "/login" not in url)
        page.goto(f"{served.base}/catalogue")
        yield page
        assert page.wrong == []
        browser.close()
    served.stop()


def readout(page: Any) -> list[str]:
    return [page.inner_text(f"#{name}") for name in ("level", "width", "zoom", "frame")]


def rests(page: Any, what: str) -> None:
    """Wait until something holds; the pages let no script be made of words, so it is asked again and again."""
    for _ in range(100):
        if page.evaluate(what):
            return
        page.wait_for_timeout(50)
    raise AssertionError(what)


def test_an_image_is_found_and_looked_at_by_keyboard_alone(looking: Any) -> None:
    page = looking
    page.locator(".sets h2 a").focus()
    page.keyboard.press("Enter")
    page.locator(".under-samples a").focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**/images")
    page.wait_for_load_state("load")  # its script has run
    page.locator("#grid a").first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    page.wait_for_selector("#controls:not([hidden])")
    assert page.evaluate("document.activeElement.id") == "picture"
    assert readout(page) == ["32768", "65536", "1.0×", "1 / 6"]
    for key in ("ArrowUp", "ArrowRight", "+", "Shift+ArrowLeft", "]", "]"):
        page.keyboard.press(key)
    assert readout(page) == ["29491", "72090", "1.2×", "3 / 6"]
    assert page.inner_text("#now-id") == "S000008"
    rests(page, "document.getElementById('said').textContent.includes('밝기 29491')")
    page.keyboard.press("r")
    assert readout(page)[:3] == ["32768", "65536", "1.0×"]
    page.keyboard.press("p")
    page.wait_for_url("**/S000000*")


def test_a_pixel_is_drawn_as_it_is_and_inverted_by_a_key(looking: Any) -> None:
    page = looking
    page.goto(page.url.replace("/catalogue", "/catalogue/tiny/images/S000000"))
    page.wait_for_selector("#controls:not([hidden])")
    page.wait_for_timeout(200)
    middle = """() => {
      const [w, h] = [picture.width, picture.height], scale = Math.min(w / 12, h / 8);
      const at = [Math.round(w / 2 + 2.5 * scale), Math.round(h / 2 - 1.5 * scale)];
      return [...picture.getContext("2d").getImageData(...at, 1, 1).data];
    }"""
    value = round(int(grey(1)[0][2, 8]) / 65536 * 255)
    assert page.evaluate("picture.width / picture.clientWidth") == 2
    assert page.evaluate(middle) == [value] * 3 + [255]
    page.focus("#picture")
    page.keyboard.press("i")
    page.wait_for_timeout(100)
    assert page.evaluate(middle) == [255 - value] * 3 + [255]


def test_one_act_is_told_as_one_change(looking: Any) -> None:
    """The reader study counts changes of window and zoom: a drag is one, however many steps the hand takes."""
    page = looking
    page.evaluate(
        """async () => {
          const { Viewer } = await import("/static/viewer.js");
          const canvas = document.createElement("canvas");
          canvas.style = "position:fixed;left:0;top:0;width:200px;height:100px";
          canvas.tabIndex = 0;
          document.body.append(canvas);
          window.changes = 0;
          window.viewer = new Viewer(canvas, { onchange: () => { window.changes += 1; } });
          viewer.show(new Uint16Array(4).fill(9), 2, 2);
          await new Promise((done) => setTimeout(done, 200));
        }"""
    )
    assert page.evaluate("viewer.place(100, 50)") == [0.5, 0.5]
    assert page.evaluate("viewer.place(10, 50)") is None  # beside the picture
    page.mouse.move(100, 50)
    page.mouse.down()
    page.mouse.move(101, 51)
    page.mouse.up()
    assert page.evaluate("changes") == 0  # a hand that trembles in a click
    page.mouse.down()
    page.mouse.move(140, 80, steps=9)
    page.mouse.up()
    assert page.evaluate("changes") == 1
    for _ in range(4):
        page.mouse.wheel(0, -120)
    rests(page, "changes === 2")
    assert page.evaluate("viewer.told().zoom") > 1.5
    page.keyboard.press("ArrowDown")
    assert page.evaluate("changes") == 3
