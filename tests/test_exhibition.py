"""The exhibition corner: who sees which set, tiles that fit together, a map without real images, and a game."""

import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("fastapi")

from fastapi.testclient import TestClient
from PIL import Image as Picture

from chambit.core.errors import InputError
from chambit.hub import accounts, catalogue, material, runs, studies, trail
from chambit.hub.catalogue import Grant, View
from chambit.hub.exhibition import atlas, exhibits, game, wall, workshop
from chambit.hub.hub import Hub
from chambit.hub.refusals import HubError, NotThereError
from chambit.web.app import create_app
from hubs import PASSWORD, cheap_hashes
from test_catalogue import approved, grey, made

__all__ = ["cheap_hashes"]  # a fixture of every test here
PAGES = ("", "/map", "/game")


@pytest.fixture(scope="module")
def source(tiny: Path) -> Path:
    return tiny / "once"


@pytest.fixture
def hub(tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub with seventy grey images of two labels, a steward and a consumer."""
    monkeypatch.setattr(catalogue, "FRESH", 0.0)
    monkeypatch.setattr(workshop, "PATIENCE", 60.0)
    opened = Hub.open(tmp_path / "hub")
    opened = opened._replace(first="")
    studies.register(opened.database, trail.HUB, runs.read(made(tmp_path / "run", source, grey(70))), "draft")
    for login, role in (("kim", "steward"), ("song", "consumer")):
        accounts.create(opened.database, trail.HUB, login, login.title(), [role], PASSWORD)
    yield opened
    opened.database.close()


def study_of(hub: Hub) -> str:
    return studies.listed(hub.database)[0].id


def view_of(hub: Hub, tier: str = "open") -> View:
    return View(studies.listed(hub.database)[0], Grant(tier=tier), False, True)  # type: ignore[arg-type]


def with_visitors(hub: Hub) -> Hub:
    exhibition = hub.settings.exhibition.model_copy(update={"visitors": True})
    return hub._replace(settings=hub.settings.model_copy(update={"exhibition": exhibition}))


def client_of(hub: Hub, login: str = "") -> TestClient:
    client = TestClient(create_app(hub), follow_redirects=False)
    if login:
        assert client.post("/login", data={"login": login, "password": PASSWORD}).status_code == 303
    return client


# ------------------------------------------------------------------------------------------- who sees what


def test_what_nobody_approved_is_seen_by_those_with_a_part_alone(hub: Hub) -> None:
    name = study_of(hub)
    steward, consumer, visitor = client_of(hub, "kim"), client_of(hub, "song"), client_of(hub)
    assert "미리 보기" in steward.get(f"/exhibition/{name}").text
    assert name not in consumer.get("/exhibition").text
    for page in PAGES:
        assert consumer.get(f"/exhibition/{name}{page}").status_code == 404
        assert visitor.get(f"/exhibition/{name}{page}").headers["location"].startswith("/login")
    assert consumer.get(f"/exhibition/{name}/tiles/0/0_0.jpg").status_code == 404


@pytest.mark.parametrize(("tier", "hung"), [("open", 70), ("gated", 20), ("safe_zone", 20)])
def test_a_wall_hangs_what_the_tier_shows(hub: Hub, tier: str, hung: int) -> None:
    approved(hub, study_of(hub), tier)
    consumer = client_of(hub, "song")
    page = consumer.get(f"/exhibition/{study_of(hub)}").text
    assert f'data-count="{hung}"' in page
    assert "미리 보기" not in page
    assert "AI로 생성한 합성영상" in page


def test_visitors_are_let_in_where_it_is_set_and_to_open_sets_alone(hub: Hub) -> None:
    name, open_house = study_of(hub), with_visitors(hub)
    visitor = client_of(open_house)
    assert visitor.get("/exhibition").status_code == 200
    assert visitor.get(f"/exhibition/{name}").status_code == 404
    approved(hub, name, "gated")
    assert visitor.get(f"/exhibition/{name}").status_code == 404
    approved(hub, name, "open")
    assert f'data-count="{70}"' in visitor.get(f"/exhibition/{name}").text
    assert visitor.get(f"/exhibition/{name}/tiles/0/0_0.jpg").status_code == 200
    assert visitor.get(f"/exhibition/{name}/thumb/S000003").status_code == 200
    for closed in (f"/catalogue/{name}", f"/catalogue/{name}/pixels/S000003", f"/studies/{name}", "/"):
        assert visitor.get(closed).status_code == 303, closed


# ----------------------------------------------------------------------------------------------- the wall


def test_tiles_fit_together_and_every_image_hangs_once_from_dark_to_bright(hub: Hub) -> None:
    view = view_of(hub)
    layout = wall.hung(hub, view)
    assert isinstance(layout, wall.Layout)
    assert sorted(layout.ids) == sorted(f"S{k:06d}" for k in range(70))
    labels = ["left" if int(name[1:]) % 2 == 0 else "right" for name in layout.ids]
    assert labels == sorted(labels)
    assert dict(layout.labels) == {"left": 0, "right": 35}
    whole = joined(hub, view, layout, layout.levels)
    assert whole.shape[:2] == (layout.height, layout.width)
    bright = [cell_of(whole, layout, at).mean() for at in range(35)]
    assert np.all(np.diff(bright) > -4)  # of JPEG
    band = whole[-layout.cell :]
    assert band.max() > 200  # the words
    for level in range(layout.levels):
        below = joined(hub, view, layout, level)
        part = 2 ** (layout.levels - level)
        assert below.shape[:2] == (-(-layout.height // part), -(-layout.width // part))
        assert abs(float(below.mean()) - float(whole.mean())) < 12
    with pytest.raises(NotThereError):
        wall.tile(hub, view, layout.levels, 999, 0)


def test_each_image_keeps_its_pixels_on_the_wall(hub: Hub) -> None:
    view = view_of(hub)
    layout = wall.hung(hub, view)
    assert isinstance(layout, wall.Layout)
    whole = joined(hub, view, layout, layout.levels)
    at = layout.ids.index("S000004")
    own = np.asarray(Picture.open(runs_folder(hub) / "candidate" / "left" / "S000004.png")) >> 8
    cell = cell_of(whole, layout, at)[..., 0]
    top, left = (layout.cell - own.shape[0]) // 2, (layout.cell - own.shape[1]) // 2
    shown = cell[top : top + own.shape[0], left : left + own.shape[1]]
    assert np.corrcoef(shown.ravel(), own.ravel())[0, 1] > 0.9  # noise through JPEG
    assert cell[:top].max() < 90


def joined(hub: Hub, view: View, layout: wall.Layout, level: int) -> np.ndarray:
    """A level of the wall as one picture."""
    rows, row = [], 0
    while True:
        tiles: list[np.ndarray] = []
        while True:
            try:
                data = wall.tile(hub, view, level, len(tiles), row)
            except NotThereError:
                break
            tiles.append(np.asarray(Picture.open(io.BytesIO(data)).convert("RGB")))
        if not tiles:
            return np.concatenate(rows)
        rows.append(np.concatenate(tiles, axis=1))
        row += 1


def cell_of(whole: np.ndarray, layout: wall.Layout, at: int) -> np.ndarray:
    top, left = at // layout.columns * layout.cell, at % layout.columns * layout.cell
    return whole[top : top + layout.cell, left : left + layout.cell]


def runs_folder(hub: Hub) -> Path:
    return studies.listed(hub.database)[0].folder


def test_a_changed_image_is_not_hung_and_says_so(hub: Hub) -> None:
    path = runs_folder(hub) / "candidate" / "left" / "S000004.png"
    Picture.fromarray(np.zeros((8, 12), np.uint16)).save(path)
    for _ in range(2):  # the second who asks is told too
        with pytest.raises(HubError, match="not those that were measured"):
            wall.hung(hub, view_of(hub))
    assert not wall.folder_of(hub, view_of(hub), "wall").exists()


def test_work_goes_on_behind_the_page_and_half_of_it_is_thrown_away(tmp_path: Path) -> None:
    import threading

    go, calls = threading.Event(), []

    def make(folder: Path, told: Any) -> None:
        calls.append(list(folder.iterdir()))
        told(0.25)
        go.wait(10)
        (folder / "done").write_text("x")

    target = tmp_path / "exhibition" / "one"
    half = target.with_name("one.part")
    half.mkdir(parents=True)
    (half / "left behind").write_text("by a crash")
    assert workshop.done(target, make, patience=0.2) == 0.25
    assert workshop.done(target, make, patience=0.0) == 0.25
    go.set()
    assert workshop.done(target, make, patience=10) is None
    assert [path.name for path in target.iterdir()] == ["done"]
    assert calls == [[]]  # made once, from nothing


# ------------------------------------------------------------------------------------------------ the map


def test_areas_hold_their_share_of_real_images_and_no_point_is_real() -> None:
    rng = np.random.default_rng(0)
    real, synthetic = rng.normal(size=(2000, 6)), rng.normal(size=(500, 6))
    found = atlas.laid(synthetic, real, ["a"] * 500, [str(k) for k in range(500)])
    assert len(found.points) == 500
    depth = [int(found.areas[min(int(y * 96), 95) * 96 + min(int(x * 96), 95)]) for x, y, _ in found.points]
    for place, share in enumerate(found.shares):  # of one distribution: as many synthetic ones lie in each area
        assert np.mean([one >= 3 - place for one in depth]) == pytest.approx(share, abs=0.07)
    assert found.real == 2000
    assert len(found.areas) == found.cells**2


def test_far_synthetic_images_lie_outside_the_areas() -> None:
    rng = np.random.default_rng(0)
    found = atlas.laid(rng.normal(size=(100, 6)) + 12, rng.normal(size=(400, 6)), ["a"] * 100, ["i"] * 100)
    depth = [int(found.areas[min(int(y * 96), 95) * 96 + min(int(x * 96), 95)]) for x, y, _ in found.points]
    assert np.mean(np.array(depth) > 0) < 0.05


def test_few_real_images_give_no_area() -> None:
    rng = np.random.default_rng(0)
    found = atlas.laid(rng.normal(size=(60, 6)), rng.normal(size=(atlas.LEAST - 1, 6)), ["a"] * 60, ["i"] * 60)
    assert found.real == 0
    assert set(found.areas) == {"0"}


def test_the_map_of_a_run_without_its_store_has_points_alone(hub: Hub, source: Path) -> None:
    with pytest.raises(InputError):
        material.sets_of(runs_folder(hub))
    approved(hub, study_of(hub), "open")
    consumer = client_of(hub, "song")
    told = consumer.get(f"/api/exhibition/{study_of(hub)}/map").json()
    assert len(told["points"]) == len(told["ids"]) == 70
    assert set(told["areas"]) == {"0"}
    assert "음영이 없습니다" in consumer.get(f"/exhibition/{study_of(hub)}/map").text


def test_the_map_tells_no_real_image(tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workshop, "PATIENCE", 60.0)
    monkeypatch.setattr(atlas, "LEAST", 10)
    opened = Hub.open(tmp_path / "hub")
    study = studies.register(opened.database, trail.HUB, runs.read(source), "draft")
    found = atlas.drawn(opened, View(study, Grant(tier="open"), True, True))
    assert isinstance(found, atlas.Map)
    assert found.real >= 10
    real = material.sets_of(source).real
    kept = json.dumps(found._asdict())
    assert not any(f'"{name}"' in kept for name in real.table["id"])
    assert set(found.areas) > {"0"}
    opened.database.close()


# ----------------------------------------------------------------------------------------------- the game


@pytest.fixture
def playing(tmp_path: Path, source: Path) -> Iterator[tuple[TestClient, View]]:
    opened = Hub.open(tmp_path / "games")
    study = studies.register(opened.database, trail.HUB, runs.read(source), "draft")
    accounts.create(opened.database, trail.HUB, "kim", "Kim", ["steward"], PASSWORD)
    opened = opened._replace(first="")
    yield client_of(opened, "kim"), View(study, Grant(), True, True)
    opened.database.close()


def test_a_round_tells_nothing_before_the_answer_and_all_after(playing: tuple[TestClient, View]) -> None:
    client, view = playing
    at = f"/exhibition/{view.study.id}/game"
    page = client.get(at).text
    name = re.search(r'name="asked" value="([0-9a-f]{16})"', page)
    assert name
    assert "Synthetic (AI" not in page
    assert "합성 (AI 생성)" not in page
    pictures = {side: client.get(f"{at}/{name[1]}/{side}.png") for side in game.SIDES}
    heads = {
        tuple(sorted((k, v) for k, v in one.headers.items() if k != "content-length")) for one in pictures.values()
    }
    assert len(heads) == 1
    opened = [Picture.open(io.BytesIO(one.content)) for one in pictures.values()]
    assert opened[0].size == opened[1].size
    assert opened[0].text == opened[1].text  # type: ignore[attr-defined]
    side = game.of(view, name[1]).side
    right = client.get(at, params={"asked": name[1], "pick": side, "right": 2, "of": 3}).text
    assert "맞았습니다" in right
    assert "4번 가운데 3번" in right
    wrong = client.get(at, params={"asked": name[1], "pick": game.SIDES[side == "left"], "right": 2, "of": 3}).text
    assert "틀렸습니다" in wrong
    assert "4번 가운데 2번" in wrong


def test_sides_are_even_and_the_synthetic_one_is_synthetic(playing: tuple[TestClient, View]) -> None:
    _, view = playing
    rounds = [game.of(view, f"{k:016x}") for k in range(200)]
    assert 70 < sum(one.side == "left" for one in rounds) < 130
    sets = material.sets_of(view.study.folder)
    for one in rounds[:20]:
        assert sets.real.labels[one.real] == sets.synthetic.labels[one.synthetic] == one.label


@pytest.mark.parametrize("name", ["", "x" * 16, "0" * 15, "../../../../etc/"])
def test_what_is_no_round_is_not_there(playing: tuple[TestClient, View], name: str) -> None:
    with pytest.raises(NotThereError):
        game.of(playing[1], name)


def test_patients_are_not_shown_to_visitors(playing: tuple[TestClient, View], monkeypatch: pytest.MonkeyPatch) -> None:
    client, view = playing
    monkeypatch.setattr(exhibits, "playable", lambda _: False)
    with pytest.raises(HubError, match="show patients"):
        game.of(view, game.token())
    assert client.get(f"/exhibition/{view.study.id}/game").status_code == 409
    assert client.get(f"/exhibition/{view.study.id}/game/{'0' * 16}/left.png").status_code == 409
    assert "/game" not in client.get(f"/exhibition/{view.study.id}").text
