"""What is shown of the making, read from small stores: strips, ways from noise, films, volumes, cells, sheets."""

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest
from PIL import Image
from pydantic import BaseModel

from chambit.core import extensions
from chambit.core.engines import inline
from chambit.core.ledger import Ledger
from chambit.core.steps import Workshop
from chambit.core.store import Store
from chambit.generate.items import Ports
from chambit.images import imageset
from chambit.images.imageset import ImageSet
from chambit.pipeline import gallery, showing
from chambit.report import viewer
from chambit.report.viewer import false_colours, tiles_of


@pytest.fixture
def workshop(tmp_path: Path) -> Iterator[Workshop]:
    made = Workshop(tmp_path, inline.Engine(1), lambda _: None, Ledger("sqlite://"), Store(tmp_path))
    yield made
    made.close()


def stored(store: Store, pixels: np.ndarray, labels: Sequence[str], **columns: Sequence[Any]) -> ImageSet:
    """A set of these pixels in blocks of at most three, so that reading crosses blocks."""
    rows = []
    for first in range(0, len(pixels), 3):
        block, digests = imageset.put_block(store, pixels[first : first + 3])
        rows += [{"sha256": sha, "block": block, "row": row} for row, sha in enumerate(digests)]
    names = [f"S{n:06d}" for n in range(len(pixels))]
    given = {"id": names, "subject": names, "label": list(labels)} | {
        name: list(column) for name, column in columns.items()
    }
    return ImageSet(store, pl.DataFrame(rows).with_columns(**{n: pl.Series(v) for n, v in given.items()}))


class Options(BaseModel):
    """Of the stages drawn here."""

    steps: int = 7


class Asked:
    """Stands in for `extensions.load`: a stage that makes maps and one that makes images; keeps what they are asked."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, np.ndarray], list[int]]] = []

    def __call__(self, package: str, name: str) -> SimpleNamespace:
        assert package == "chambit.generate.stages"
        maps = name == "maps"
        ports = Ports(("label",), ("factors",), ("layout",)) if maps else Ports(("layout",), (), ("image",))
        facts = {"loss": [3.0, 2.0, 1.0, 0.5], "parts": 3}
        found = SimpleNamespace(Options=Options, ports=lambda options: ports, facts=lambda store, weights: facts)
        if name != "silent":
            found.way = lambda store, weights, given, seeds, options, looks: self.way(name, given, seeds, looks)
        return found

    def way(self, name: str, given: dict[str, np.ndarray], seeds: Sequence[int], looks: int) -> np.ndarray:
        self.calls.append((name, dict(given), list(seeds)))
        rising = np.linspace(0, 1, looks, dtype=np.float32)
        return np.broadcast_to(rising[:, None, None, None], (looks, len(seeds), 4, 4))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    made = Asked()
    monkeypatch.setattr(extensions, "load", made)
    return made


def record(name: str, made: str = "") -> dict[str, Any]:
    entry = {"name": name, "version": "1", "options": {"steps": 7}, "weights": "ab" * 32}
    return entry | ({"made": made} if made else {})


def about(form: Sequence[Any], **more: Any) -> dict[str, Any]:
    given = {"classes": ["a", "b"], "masked": [], "factors": {}, "numbers": [], "form": list(form)}
    return given | more


def run_of(
    workshop: Workshop, told: dict[str, Any], real: ImageSet, /, **more: dict[str, str]
) -> dict[str, dict[str, str]]:
    store = workshop.store
    return {"items": {"about": store.put_json(told), "train": store.put_table(real.table)}} | more


def coloured(count: int, side: int = 8) -> np.ndarray:
    """Images uint8 (count, side, side, 3), each of one colour of its own."""
    values = np.arange(count * 3, dtype=np.uint8).reshape(count, 1, 1, 3) * 5 + 10
    return np.broadcast_to(values, (count, side, side, 3)).copy()


def test_a_chain_is_shown_stage_by_stage_in_colour(workshop: Workshop, asked: Asked) -> None:
    store = workshop.store
    layouts = np.arange(4, dtype=np.uint8)[:, None, None] * np.ones((4, 4, 4), np.uint8)
    images = coloured(4) + 40
    lineage = store.put_json(
        [record("maps", store.put_arrays(layout=layouts)), record("paint", store.put_arrays(image=images))]
    )
    kept = {"lineage": [lineage] * 4, "item": range(4), "seed": ["11", "12", "13", "14"], "sex": ["F", "M", "F", "M"]}
    released = coloured(4)
    synthetic = stored(store, released, ["a", "a", "b", "b"], age=[30.5, 40.0, None, 60.0], **kept)
    train = stored(store, coloured(3), ["a", "a", "b"], sex=["F", "M", "F"], age=[1.0, 2.0, 3.0])
    told = about([8, 8, 3, "", 1], factors={"sex": ["F", "M"]}, numbers=["age"])
    facts = {"facts": store.put_json({"loss": [4, 3, 2, 1]}), "weights": "x"}
    made = run_of(workshop, told, train, **{"train 1 maps": facts, "train 2 paint": {"weights": "y"}})
    shown = showing.making(workshop, made, {"synthetic": synthetic, "holdout": train})
    assert shown is not None

    assert [stage.name for stage in shown.stages] == ["maps", "paint"]
    assert shown.stages[0].facts == {"loss": [4, 3, 2, 1]}
    assert shown.stages[1].facts == {}
    assert (shown.stages[0].needs, shown.stages[0].makes) == (("label",), ("layout",))
    assert shown.stages[0].options == "steps 7"

    # classes in turn: items 0 (a), 2 (b), 1 (a), 3 (b)
    order = [0, 2, 1, 3]
    strip = shown.strip
    assert strip is not None
    assert strip.columns == (("maps", "layout"), ("paint", "image"), ("", "released"))
    assert strip.items == ("a · F · age 30.5", "b · F", "a · M · age 40", "b · M · age 60")
    tiles = tiles_of(strip.sheet).reshape(4, 3, 8, 8, 3)
    for row, item in enumerate(order):
        assert np.array_equal(tiles[row, 0, 0, 0], false_colours(layouts[item])[0, 0])
        assert np.array_equal(tiles[row, 1], images[item])
        assert np.array_equal(tiles[row, 2], released[item])

    # each stage is asked for the same items, the second with what the first made
    (first, given, seeds), (second, then, later) = asked.calls
    assert (first, second) == ("maps", "paint")
    assert seeds == [11, 13, 12, 14]
    assert later != seeds
    assert given["label"].tolist() == [0, 1, 0, 1]
    assert given["factors"].tolist() == [[0], [0], [1], [1]]
    assert "layout" not in given
    assert np.array_equal(then["layout"], layouts[order])
    assert [(way.stage, way.output) for way in shown.ways] == [("maps", "layout"), ("paint", "image")]
    parts = tiles_of(shown.ways[0].film.sheet)  # the last look is part 2 of 3 everywhere, the first is part 0
    assert np.array_equal(parts[-1, 0, 0], false_colours(np.array(2)))
    assert not parts[0].any()
    assert len(shown.ways[0].film.rows) == 4
    assert shown.ways[1].film.frames == showing.LOOKS

    # what was drawn once is not drawn again
    assert showing.making(workshop, made, {"synthetic": synthetic, "holdout": train}) == shown
    assert len(asked.calls) == 2


def test_a_single_grey_stage_has_no_strip_but_a_grid_of_its_classes(workshop: Workshop, asked: Asked) -> None:
    pixels = np.arange(7, dtype=np.uint8)[:, None, None] * np.full((7, 6, 5), 10, np.uint8)
    lineage = workshop.store.put_json([record("silent")])
    labels = ["a", "b", "a", "b", "b", "a", "b"]
    columns = {"lineage": [lineage] * 7, "item": range(7), "seed": ["1"] * 7}
    synthetic = stored(workshop.store, pixels, labels, **columns)
    made = run_of(workshop, about([6, 5, 1, "", 1]), synthetic, train={"weights": "x"})
    shown = showing.making(workshop, made, {"synthetic": synthetic})
    assert shown is not None
    assert (shown.strip, shown.ways, shown.film, shown.volumes, shown.cells) == (None, (), None, (), ())
    assert not shown.shows_real
    grid = shown.grid
    assert grid is not None
    assert grid.rows == ("a", "b")
    assert tiles_of(grid.sheet)[:, 0, 0].tolist() == [0, 20, 50, 10, 30, 40]  # three of each, since class a has three


def test_of_images_made_elsewhere_nothing_is_told(workshop: Workshop) -> None:
    images = stored(workshop.store, np.zeros((2, 4, 4), np.uint8), ["a", "b"])
    assert showing.making(workshop, {"measure x": {}}, {"synthetic": images}) is None
    made = run_of(workshop, about([4, 4, 1, "", 1]), images)
    assert showing.making(workshop, made, {"synthetic": images}) is None  # drawn before lineage was kept


def series(names: Sequence[str], frames: Sequence[int]) -> dict[str, list[str]]:
    return {"series": list(names), "frame": [str(frame) for frame in frames]}


def test_items_follow_the_axis_and_incomplete_ones_go(workshop: Workshop) -> None:
    pixels = np.zeros((7, 4, 4), np.uint8)
    columns = series(["x", "y", "x", "y", "z", "x", "y"], [10, 0, 2, 1, 0, 0, 2])
    images = stored(workshop.store, pixels, list("pqrstuv"), **columns)
    found = showing.items(images, "time", 3)
    assert [(item.name, item.rows, item.label) for item in found] == [("x", [5, 2, 0], "p"), ("y", [1, 3, 6], "v")]
    files = {"file": ["f.dcm[0]", "f.dcm[1]", "g[0]", "g[1]", "h", "h", "h"], "frame": ["0", "1", "0", "1", "", "", ""]}
    of_files = ImageSet(
        images.store, images.table.drop("series", "frame").with_columns(**{k: pl.Series(v) for k, v in files.items()})
    )
    assert [item.rows for item in showing.items(of_files, "depth", 2)] == [[0, 1], [2, 3]]
    assert showing.items(ImageSet(images.store, images.table.drop("series", "frame")), "time", 3) == []
    assert len(showing.items(images, "", 1)) == 7


def filmed(workshop: Workshop, axis: str) -> tuple[dict[str, dict[str, str]], dict[str, ImageSet]]:
    """Two synthetic items of three frames whose pixels say item and frame; one real item of class b and one of a."""
    store = workshop.store
    values = np.array([[10, 20, 30], [40, 50, 60]], np.uint8).ravel()
    pixels = np.broadcast_to(values[:, None, None], (6, 4, 6)).copy()
    places = series(["S0"] * 3 + ["S1"] * 3, [0, 1, 2] * 2)
    lineage = store.put_json([record("silent")])
    drawn: dict[str, Sequence[Any]] = {
        "lineage": [lineage] * 6,
        "item": [0, 0, 0, 1, 1, 1],
        "seed": ["5"] * 6,
        "sex": list("FFFMMM"),
    }
    synthetic = stored(store, pixels, ["b", "b", "a", "a", "a", "a"], **places, **drawn)
    hidden = series(["P9"] * 3 + ["P7"] * 3, [2, 1, 0] * 2)
    real = stored(store, pixels + 100, ["b"] * 3 + ["a"] * 3, **hidden, sex=list("FFFFFF"))
    told = about([4, 6, 1, axis, 3], factors={"sex": ["F", "M"]})
    return run_of(workshop, told, real, train={"weights": "x"}), {"synthetic": synthetic, "holdout": real}


def test_sequences_play_beside_real_ones_and_patients_stay_nameless(workshop: Workshop, asked: Asked) -> None:
    made, sets = filmed(workshop, "time")
    shown = showing.making(workshop, made, sets)
    assert shown is not None
    film = shown.film
    assert film is not None
    assert [(row.role, row.name) for row in film.rows] == [
        ("synthetic", "S0"), ("synthetic", "S1"), ("real", ""), ("real", "")
    ]  # fmt: skip
    assert film.rows[0].labels == ("b", "b", "a")
    values = tiles_of(film.sheet)[:, 0, 0].reshape(4, 3)
    assert values[:2].tolist() == [[10, 20, 30], [40, 50, 60]]
    assert values[2].tolist() == [130, 120, 110]  # in the order of its frames, not of its rows
    assert shown.shows_real
    assert shown.grid is None
    # cells count sequences, each with the label of its last frame
    (cells,) = shown.cells
    assert (cells.real, cells.synthetic) == (((1, 0), (1, 0)), ((1, 1), (0, 0)))


def test_a_volume_stands_beside_a_real_one_of_its_class(workshop: Workshop, asked: Asked) -> None:
    made, sets = filmed(workshop, "depth")
    shown = showing.making(workshop, made, sets)
    assert shown is not None
    assert shown.film is None
    assert [(volume.role, volume.label, volume.name) for volume in shown.volumes] == [
        ("synthetic", "a", "S0"), ("real", "a", "")
    ]  # fmt: skip
    assert shown.volumes[0].whole == (3, 4, 6)
    assert tiles_of(shown.volumes[0].sheet)[:, 0, 0].tolist() == [10, 20, 30]
    assert tiles_of(shown.volumes[1].sheet)[:, 0, 0].tolist() == [160, 150, 140]


def test_one_of_each_takes_classes_in_turn() -> None:
    found = [showing.Item(str(n), label, [n]) for n, label in enumerate("aaabbc")]
    assert [item.name for item in showing.one_of_each(found, 4)] == ["0", "3", "5", "1"]
    assert len(showing.one_of_each(found, 99)) == 6


def test_tiles_are_read_across_blocks_reduced_and_of_eight_bits(workshop: Workshop) -> None:
    values = np.arange(5, dtype=np.uint16) * 257 * 40
    pixels = np.repeat(np.repeat(values[:, None, None], 40, 1), 20, 2)
    pixels[:, :, ::2] += 257 * 10
    images = stored(workshop.store, pixels, ["a"] * 5)
    tiles = gallery.tiles(images, [4, 0, 3], 20)
    assert tiles.shape == (3, 20, 10)
    assert tiles.dtype == np.uint8
    assert [set(tile.ravel().tolist()) for tile in tiles] == [{165}, {5}, {125}]  # means of both columns
    assert np.array_equal(gallery.tiles(images, [1], 64)[0], viewer.eight_bits(pixels[1]))


def test_contact_sheets_of_coloured_sets_are_coloured_and_large_images_small(workshop: Workshop) -> None:
    large = np.zeros((3, 256, 128, 3), np.uint8)
    large[..., 0] = 200
    sets = {
        "synthetic": stored(workshop.store, large, ["a", "b", "b"]),
        "holdout": stored(workshop.store, large, ["a", "b", "b"]),
    }
    made = gallery.sheets(sets)
    sheet = Image.open(io.BytesIO(made["synthetic"]))
    assert sheet.mode == "RGB"
    assert sheet.size == (3 * 64 + 2 * 4, 128 + 15)
    assert sheet.getpixel((5, 5)) == (200, 0, 0)
    assert made["real"] == made["synthetic"]
    grey = stored(workshop.store, np.full((2, 16, 16), 90, np.uint8), ["a", "b"])
    plain = Image.open(io.BytesIO(gallery.sheets({"synthetic": grey, "holdout": grey})["real"]))
    assert (plain.mode, plain.getpixel((5, 5))) == ("L", 90)


def test_the_sheet_of_a_film_is_spread_over_its_sequences(workshop: Workshop) -> None:
    count = gallery.SHEET * 3
    pixels = np.arange(count, dtype=np.uint8)[:, None, None] * np.ones((count, 4, 4), np.uint8)
    names = [str(n // 10) for n in range(count)]
    images = stored(workshop.store, pixels, ["a"] * count, **series(names, [n % 10 for n in range(count)]))
    sheet = np.asarray(Image.open(io.BytesIO(gallery.sheets({"synthetic": images, "holdout": images})["real"])))
    assert sheet[2, 2] == 0
    assert sheet[-20, -3] == count - 1  # the last row of the last sequence closes the sheet
