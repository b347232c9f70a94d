"""Sheets, films, volumes and stages on the page: known pixels, words in both languages, nothing from elsewhere.

Where Chromium is installed the page's own scripts are run in it: players move, volumes are cut the right way round.
"""

import html
import io
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from chambit.report import films, stages, viewer, volumes, wording
from chambit.report.cells import Cells
from chambit.report.dossier import render
from chambit.report.films import Clip, Film
from chambit.report.making import Making
from chambit.report.stages import Grid, Stage, Strip, Way
from test_dossier import Links, bundle, seen

RNG = np.random.default_rng(7)
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def numbered(count: int, height: int = 4, width: int = 6) -> np.ndarray:
    """Tiles of one value each, which is their number."""
    return np.broadcast_to(np.arange(count, dtype=np.uint8)[:, None, None], (count, height, width)).copy()


@pytest.mark.parametrize("edge", [0, 1, 2])
@pytest.mark.parametrize("colour", [False, True])
def test_a_sheet_gives_back_its_tiles(edge: int, colour: bool) -> None:
    tiles = RNG.integers(0, 256, (5, 4, 7, 3) if colour else (5, 4, 7), dtype=np.uint8)
    made = viewer.sheet(tiles, 3, edge)
    assert np.array_equal(viewer.tiles_of(made), tiles)
    assert made.size == (3 * (7 + 2 * edge), 2 * (4 + 2 * edge))
    assert viewer.sheet(tiles, 3, edge) == made


def test_the_edge_of_a_tile_repeats_its_border_and_not_its_neighbour() -> None:
    whole = np.asarray(Image.open(io.BytesIO(viewer.sheet(numbered(2) + 7, 2).png)))
    assert whole.shape == (6, 16)
    assert set(whole[:, :8].ravel().tolist()) == {7}
    assert set(whole[:, 8:].ravel().tolist()) == {8}


def test_a_window_looks_at_its_tile() -> None:
    made = viewer.sheet(numbered(6), 3)
    shown = str(viewer.window(made, "film", 4, "<embryo>", row=1))
    assert 'viewBox="9 7 6 4"' in shown
    assert 'data-row="1"' in shown
    assert 'href="#film"' in shown
    assert "&lt;embryo&gt;" in shown
    assert viewer.window(made, "film", 6) == viewer.window(made, "film", -1) == ""
    assert 'aria-hidden="true"' in viewer.window(made, "film", 0)


def test_reduction_keeps_the_mean_and_never_enlarges() -> None:
    image = RNG.integers(0, 256, (96, 60), dtype=np.uint8)
    for side in (48, 37, 10):
        small = viewer.reduced(image, side)
        assert max(small.shape) == side
        assert abs(small.mean() - image.mean()) < 0.6
    assert viewer.reduced(image, 200) is image
    constant = np.full((50, 33, 3), 77, np.uint8)
    assert set(viewer.reduced(constant, 17).ravel().tolist()) == {77}


def test_false_colours_tell_parts_apart() -> None:
    made = viewer.false_colours(np.arange(24)).astype(int)
    assert made[0].tolist() == [0, 0, 0]
    apart = np.abs(made[:, None] - made[None]).sum(-1) + 999 * np.eye(24, dtype=int)
    assert apart.min() > 20
    assert np.array_equal(viewer.false_colours(np.array([[3]]))[0, 0], made[3])


def test_a_box_keeps_proportions_and_pixels() -> None:
    box = viewer.boxed(np.array([[9, 200]], np.uint8), 4, 4)
    assert box.tolist() == [[0] * 4, [9, 9, 200, 200], [9, 9, 200, 200], [0] * 4]


def clip(role: str, values: np.ndarray, labels: list[str] | None = None, name: str = "") -> Clip:
    frames = np.broadcast_to(values[:, None, None].astype(np.uint8), (len(values), 8, 8)).copy()
    return Clip(name, role, frames, labels or ["x"] * len(values))  # type: ignore[arg-type]


def test_a_film_has_a_row_for_each_sequence_and_keeps_first_and_last_frame() -> None:
    made = films.film([clip("synthetic", np.arange(100), name="S1"), clip("real", np.arange(100) + 100)])
    assert made is not None
    assert made.frames == films.MOST_FRAMES
    assert (made.numbers[0], made.numbers[-1], made.length) == (0, 99, 100)
    values = viewer.tiles_of(made.sheet)[:, 3, 3].reshape(2, -1)
    assert values[0].tolist() == list(made.numbers)
    assert values[1].tolist() == [100 + number for number in made.numbers]
    assert [number for number, _ in made.of("real")] == [1]
    assert made.stills[0] == 0
    assert made.stills[-1] == made.frames - 1
    assert len(made.stills) == films.STILLS
    assert films.film([]) is None


def test_a_film_that_is_too_large_is_reduced() -> None:
    noise = RNG.integers(0, 256, (6, 128, 96), dtype=np.uint8)
    given = [Clip("", "real", noise, [""] * 6)]
    whole = films.film(given)
    small = films.film(given, largest=50_000)
    assert whole is not None
    assert small is not None
    assert (whole.sheet.height, whole.sheet.width) == (128, 96)
    assert len(small.sheet.png) <= 50_000
    assert 64 <= small.sheet.height < 128
    mixed = films.film([*given, Clip("", "synthetic", viewer.colour(noise), [""] * 6)])
    assert mixed is not None
    assert viewer.tiles_of(mixed.sheet).shape == (12, 128, 96, 3)


def body(depth: int = 8, height: int = 10, width: int = 12) -> np.ndarray:
    """A grey volume that is bright in one corner: at its last slice, row and column."""
    voxels = np.full((depth, height, width), 50, np.uint8)
    voxels[-3:, -3:, -3:] = 250
    return voxels


def test_a_volume_keeps_its_voxels_and_large_ones_are_reduced() -> None:
    made = volumes.volume(body(), "S1", "ill", "synthetic")
    assert np.array_equal(viewer.tiles_of(made.sheet), body())
    assert made.shape == made.whole == (8, 10, 12)
    large = volumes.volume(np.full((40, 300, 200), 9, np.uint8), "", "ill", "real")
    assert (large.whole, large.shape) == ((40, 300, 200), (17, 128, 85))
    noise = RNG.integers(0, 256, (20, 100, 100), dtype=np.uint8)
    assert len(volumes.volume(noise, "", "", "real", largest=150_000).sheet.png) <= 150_000


def test_still_planes_stand_with_the_first_slice_lowest() -> None:
    voxels = np.zeros((4, 4, 4), np.uint8)
    voxels[0, 2, 2] = 10  # first slice
    voxels[3, 2, 1] = 20  # last slice
    voxels[2, 0, 3] = 30  # in the middle slice, first row, last column
    made = volumes.planes(voxels, gap=1)
    assert made.shape == (4, 4 * 4 + 3)
    axial, coronal, sagittal, projected = (made[:, k * 5 : k * 5 + 4] for k in range(4))
    assert axial[0, 3] == 30
    assert (coronal[3, 2], coronal[0, 1]) == (10, 20)
    assert sagittal[3, 2] == 10
    assert projected.tolist() == [[0, 20, 0, 0], [0, 0, 0, 30], [0, 0, 0, 0], [0, 0, 10, 0]]


def test_facts_are_listed_or_drawn() -> None:
    facts: dict[str, Any] = {
        "loss": {"denoiser": [4.0, 2.0, 1.0, 0.01], "critic": [[0, 1.0], [10, 2.0], [20, 3.0], [30, 2.5]]},
        "items": 1200,
        "pixels": [64, 48],
        "network": "spade",
        "seconds": 12.5,
        "odd": [1.0, float("nan"), 2.0, 3.0],
    }
    assert stages.curves(facts) == {"loss denoiser": [4.0, 2.0, 1.0, 0.01], "loss critic": [1.0, 2.0, 3.0, 2.5]}
    records = {"losses": [{"step": 10 * k, "loss": 1.0 / k} for k in range(1, 5)]}
    assert stages.curves(records) == {"loss": [1.0, 0.5, 1 / 3, 0.25]}
    assert stages.told(records) == []
    told = {name.en: value for name, value in stages.told(facts)}
    assert told["items trained on"] == "1,200"
    assert told["size it makes (pixels)"] == "64 × 48"
    assert told["network"] == "spade"
    assert told["odd"] == "1, —, 2, 3"
    drawn = stages.loss_curve(facts)
    assert "logarithmic" in drawn
    assert drawn.count("run-0") == drawn.count("run-1") == 3
    assert "logarithmic" not in stages.loss_curve({"loss": [1.0, 2.0, 3.0, 4.0]})
    assert stages.loss_curve({"items": 3}) == ""
    assert stages.loss_curve({"loss": [2, 2, 2, 2]}).count("run-0") == 3  # a flat curve has a place


def test_the_thinnest_cells_are_marked() -> None:
    cells = Cells(
        factor="sex", classes=("a", "b"), levels=("F", "M"), real=((9, 3), (3, 8)), synthetic=((5, 5), (5, 5))
    )
    marked = [(row, column) for row in (0, 1) for column in (0, 1) if cells.thin(row, column)]
    assert marked == [(0, 1), (1, 0)]
    assert not any(cells.thin(row, column, synthetic=True) for row in (0, 1) for column in (0, 1))


def making(**changes: Any) -> Making:
    film = films.film([
        clip("synthetic", np.arange(3), ["two cells", "<four>", "four"], "S000001"),
        clip("real", np.arange(3) + 9, ["one", "one", "two cells"]),
    ])  # fmt: skip
    looks = films.film([clip("synthetic", np.arange(4), ["morula"] * 4, "S000002")])
    assert film is not None
    assert looks is not None
    given: dict[str, Any] = {
        "stages": (
            Stage(name="layout", version="1", options="steps 9", weights="ab" * 32, needs=("label",), takes=("vector",),
                  makes=("layout",), facts={"loss": [3.0, 2.0, 1.0, 0.9], "items": 812}),
            Stage(name="flow", version="3", options="", weights="cd" * 32, makes=("image",)),
        ),
        "strip": Strip(sheet=viewer.sheet(numbered(4), 2), columns=(("layout", "layout"), ("", "released")),
                       items=("two cells · F", "four & more")),
        "ways": (Way(stage="flow", output="image", film=looks),),
        "grid": Grid(sheet=viewer.sheet(numbered(6), 3), rows=("<class a>", "class b")),
        "film": film,
        "volumes": (volumes.volume(body(), "S000003", "ill", "synthetic"), volumes.volume(body(), "", "ill", "real")),
        "cells": (
            Cells(factor="<sex>", classes=("ill",), levels=("F", "M"), real=((1234, 7),), synthetic=((40, 41),)),
        ),
    }  # fmt: skip
    return Making(**(given | changes))


@pytest.fixture(scope="module")
def page() -> str:
    return render(bundle(making=making()))


def test_the_page_says_all_of_it_in_both_languages(page: str) -> None:
    korean, english = seen(page, "ko"), seen(page, "en")
    for text in ("Sequences in time", "Volumes", "Stages of the recipe", "From noise to image", "Another noise",
                 "needed", "Keep turning", "map of the parts", "812"):  # fmt: skip
        assert text in english
    for text in ("영상 흐름", "볼륨", "생성 단계", "잡음에서 영상까지", "계속 돌리기", "부위 지도", "812"):
        assert text in korean
    for text in ("two cells · F", "four &amp; more", "S000001", "&lt;sex&gt;", "1,234"):
        assert text in english
        assert text in korean
    assert not re.search("[가-힣]", english.replace("한국어", "").replace("합성 의료영상 심의 자료", ""))
    assert len(re.findall(r'class="ko\b', page)) == len(re.findall(r'class="en\b', page))
    assert "ab" * 32 in page


def test_the_page_loads_nothing_and_escapes_everything(page: str) -> None:
    links = Links()
    links.feed(page)
    assert all(link.startswith(("#", "data:image/png;base64,")) for link in links.found)
    assert not re.search(r"url\((?!#)|@import|https?://(?!www\.w3\.org)", page.replace("doi:", ""))
    assert "<class a>" not in page
    assert "<four>" not in page
    labels = re.search(r'data-labels="([^"]*)"', page)
    assert labels
    assert json.loads(html.unescape(labels[1])) == ["two cells", "<four>", "four"]


def test_without_scripts_there_are_stills_and_no_dead_buttons(page: str) -> None:
    assert page.count('class="volume-still"') == 2
    assert len(re.findall(r'<div class="controls" hidden', page)) == 2
    assert '<div class="volumes" hidden' in page
    stills = page[page.index('<table class="tiles tight stills"') :].split("</table>")[0]
    assert stills.count("<svg") == 6
    assert "two cells" in stills


def test_a_page_without_making_is_as_it_was() -> None:
    plain = render(bundle())
    assert "player" not in plain
    assert 'id="making"' not in plain
    only = render(bundle(making=making(film=None, volumes=(), ways=(), strip=None, grid=None, cells=())))
    assert "Stages of the recipe" in only
    assert "Sequences in time" not in only
    assert "voxels" not in only
    assert Making().empty
    assert not making().empty


def test_real_frames_on_the_page_mean_that_it_must_not_leave() -> None:
    bare: dict[str, Any] = {"phantom": False, "pairs": (), "pictures": {}}
    assert "Contains original images" in render(bundle(making=making(volumes=()), **bare))
    assert "Contains original images" in render(bundle(making=making(film=None), **bare))
    made = making(film=None, volumes=making().volumes[:1])
    assert "Contains original images" not in render(bundle(making=made, **bare))


def test_every_array_that_stages_exchange_has_a_name() -> None:
    from chambit.generate.items import NAMES

    assert set(NAMES) <= set(wording.words()["arrays"])


def test_columns_of_a_film_and_its_strip_fit() -> None:
    made = making().film
    assert isinstance(made, Film)
    assert made.sheet.count == len(made.rows) * made.frames
    assert all(len(row.labels) == made.frames for row in made.rows)


ASK = """<script>window.addEventListener("load", function () {
  function grey(name, x, y) {
    var canvas = document.querySelectorAll(".volume")[0].querySelector("canvas[data-plane=" + name + "]");
    return canvas.getContext("2d").getImageData(Math.round(x * 255), Math.round(y * 255), 1, 1).data[0];
  }
  var section = document.querySelector(".volumes"), said = {}, player = document.querySelector(".player");
  function slide(name, value) {
    var one = section.querySelector("[data-set=" + name + "]");
    one.value = value;
    one.dispatchEvent(new Event("input"));
  }
  player.querySelectorAll(".step")[1].click();
  said.box = player.querySelector("svg[data-row='1']").getAttribute("viewBox");
  said.label = player.querySelector("figcaption b").textContent;
  said.place = player.querySelector(".place").textContent;
  said.controls = !player.querySelector(".controls").hidden;
  ["axial", "coronal", "sagittal"].forEach(function (name) { slide(name, 1); });
  setTimeout(function () {
    said.axial = [grey("axial", 0.95, 0.85), grey("axial", 0.1, 0.15)];
    said.coronal = [grey("coronal", 0.95, 0.2), grey("coronal", 0.95, 0.8)];
    said.sagittal = [grey("sagittal", 0.88, 0.2), grey("sagittal", 0.15, 0.2)];
    said.turned = [grey("turned", 0.8, 0.28), grey("turned", 0.2, 0.7), grey("turned", 0.02, 0.02)];
    slide("turn", 180);
    setTimeout(function () {
      said.behind = [grey("turned", 0.2, 0.28), grey("turned", 0.8, 0.28)];
      document.title = "said " + JSON.stringify(said);
    }, 900);
  }, 900);
});</script>"""


@pytest.mark.skipif(BROWSER is None, reason="no Chromium to run the page's scripts in")
def test_the_scripts_play_and_cut_the_right_way_round(tmp_path: Path, page: str) -> None:
    file = tmp_path / "page.html"
    file.write_text(page.replace("</body>", ASK + "</body>"), encoding="utf-8")
    quiet = ("background-networking", "component-update", "sync")
    command = [
        *(str(BROWSER), "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
        *(f"--disable-{what}" for what in quiet),
        *(f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=8000", "--dump-dom", file.as_uri()),
    ]
    dom = subprocess.run(command, capture_output=True, timeout=120, check=True).stdout.decode()
    title = re.search(r"<title>said (.*?)</title>", dom)
    assert title, "the page's scripts did not run to their end"
    said = json.loads(html.unescape(title[1]))
    # the second frame of the second sequence: tiles of 8 x 8 with an edge of one pixel
    assert (said["box"], said["label"], said["place"]) == ("11 11 8 8", "<four>", "2 / 3")
    assert said["controls"]
    # bright in the last slice, row and column: lower right of axial, upper right of coronal and sagittal planes
    for plane in ("axial", "coronal", "sagittal"):
        bright, dark = said[plane]
        assert bright > 230, plane
        assert 40 <= dark <= 60, plane
    assert said["turned"][0] > 200
    assert 40 <= said["turned"][1] <= 60
    assert said["turned"][2] == 0
    assert said["behind"][0] > 200
    assert said["behind"][1] < 100
