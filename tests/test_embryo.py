"""Phantom embryos: the same every time, stages in order, parts where they belong, planes and sites that differ."""

import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from chambit.phantoms.embryo import blastocyst, cells, optics, picture
from chambit.phantoms.embryo.couples import STAGES, Embryo, embryos, state
from chambit.phantoms.embryo.parts import PARTS
from chambit.phantoms.kinds import embryo as kind

SEED = 3
MANY = [each for index in range(60) for each in embryos(SEED, index)]
HOURS = np.linspace(18, 116, 50)
HEALTHY = next(each for each in MANY if math.isfinite(each.clock.blastocyst) and each.clock.blastocyst < 106)


def _reads(folder: Path, row: dict[str, Any], name: str = "file") -> np.ndarray:
    return np.asarray(Image.open(folder / row[name]))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("embryos")


@pytest.fixture(scope="module")
def rows(folder: Path) -> list[dict[str, Any]]:
    return kind.draw(folder, 1, 4, 64, SEED, kind.Options(frames=12))


# --- files and rows


def test_rows_say_what_lies_there(folder: Path, rows: list[dict[str, Any]]) -> None:
    assert len({row["file"] for row in rows}) == len(rows)
    assert {row["subject"] for row in rows} == {f"E00000{index}" for index in range(1, 5)}
    for row in rows:
        assert _reads(folder, row).shape == (64, 64)
        assert _reads(folder, row).dtype == np.uint8
        assert row["label"] in STAGES
        assert bool(row["mask"]) == bool(row["grade"]) == (row["label"] == "blastocyst")
        assert all(isinstance(value, str) for value in row.values())
        layout = _reads(folder, row, "layout")
        assert set(np.unique(layout)) <= {0, *PARTS.values()}
        if row["mask"]:
            mask = _reads(folder, row, "mask")
            assert set(np.unique(mask)) == {0, 255}
            assert (layout[mask > 0] == PARTS["inner cell mass"]).mean() > 0.9


def test_a_couple_depends_on_seed_and_index_alone(folder: Path, rows: list[dict[str, Any]], tmp_path: Path) -> None:
    again = kind.draw(tmp_path, 3, 1, 64, SEED, kind.Options(frames=12))
    assert again == [row for row in rows if row["subject"] == "E000003"]
    for row in again:
        assert (tmp_path / row["file"]).read_bytes() == (folder / row["file"]).read_bytes()
        assert (tmp_path / row["layout"]).read_bytes() == (folder / row["layout"]).read_bytes()
    other = kind.draw(tmp_path / "other", 3, 1, 64, SEED + 1, kind.Options(frames=12))
    assert not np.array_equal(_reads(tmp_path / "other", other[0]), _reads(tmp_path, again[0]))


def test_frames_are_in_order_and_stages_never_go_back(rows: list[dict[str, Any]]) -> None:
    for series in {row["series"] for row in rows}:
        frames = [row for row in rows if row["series"] == series]
        assert [row["frame"] for row in frames] == [str(number) for number in range(12)]
        assert [float(row["hours"]) for row in frames] == sorted(float(row["hours"]) for row in frames)
        stages = [STAGES.index(row["label"]) for row in frames]
        assert stages == sorted(stages)
        assert stages[0] == 0
        counted = [int(row["cells"]) for row in frames if row["cells"]]
        assert counted == sorted(counted)


def test_the_plan_expects_what_is_drawn() -> None:
    there = len(MANY)
    assert abs(kind.images(60, kind.Options(frames=12)) / 12 - there) < 0.15 * there
    assert kind.images(100, kind.Options(planes=(-1, 0, 1))) == 3 * kind.images(100, kind.Options())
    assert kind.images(100, kind.Options(single=True)) == 218


def test_single_images_are_frames_of_the_sequences(tmp_path: Path) -> None:
    alone = kind.draw(tmp_path / "alone", 0, 6, 32, SEED, kind.Options(single=True))
    whole = kind.draw(tmp_path / "whole", 0, 6, 32, SEED, kind.Options())
    assert len(alone) == len({row["embryo"] for row in whole})
    assert {row["series"] for row in alone} == {""}
    assert len({row["hours"] for row in alone}) > 3
    for row in alone:
        (same,) = [one for one in whole if one["file"] == row["file"]]
        assert np.array_equal(_reads(tmp_path / "alone", row), _reads(tmp_path / "whole", same))


def test_each_plane_is_a_series_of_its_own(tmp_path: Path) -> None:
    drawn = kind.draw(tmp_path, 1, 1, 32, SEED, kind.Options(frames=12, planes=(-2, 0)))
    assert {(row["series"][9:], row["plane"]) for row in drawn} == {("z-2", "-2"), ("", "0")}
    assert len({row["series"] for row in drawn}) == 2 * len({row["embryo"] for row in drawn})


@pytest.mark.parametrize("wrong", [{"frames": 11}, {"planes": (3,)}, {"planes": ()}, {"colour": True}])
def test_options_that_cannot_be(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        kind.Options(**wrong)


# --- who they are


def test_divisions_come_when_they_come_in_clinics() -> None:
    def median(of: Any) -> float:
        return float(np.median([time for each in MANY if math.isfinite(time := of(each.clock))]))

    assert 24 < median(lambda clock: clock.divisions[0]) < 28
    assert 36 < median(lambda clock: clock.divisions[2]) < 41
    assert 54 < median(lambda clock: clock.divisions[6]) < 61
    assert 81 < median(lambda clock: clock.compaction) < 89
    assert 101 < median(lambda clock: clock.blastocyst) < 109
    arrested = np.mean([not math.isfinite(each.clock.blastocyst) for each in MANY])
    assert 0.3 < arrested < 0.65


@pytest.mark.parametrize("each", MANY[::7], ids=lambda each: each.name)
def test_an_embryo_only_goes_forward(each: Embryo) -> None:
    passed = [state(each, float(hour)) for hour in HOURS]
    for before, after in pairwise(passed):
        assert STAGES.index(after.stage) >= STAGES.index(before.stage)
        assert after.cells >= before.cells
        assert after.cavity >= before.cavity
        assert after.expansion >= before.expansion
        assert picture.fragmentation(each, after) >= picture.fragmentation(each, before)


def test_embryos_of_a_couple_are_alike() -> None:
    of = {each.subject: [] for each in MANY}  # type: dict[str, list[float]]
    for each in MANY:
        of[each.subject].append(each.radius)
    several = [np.array(radii) for radii in of.values() if len(radii) > 1]
    within = np.mean([radii.var(ddof=1) for radii in several])
    between = np.var([radii.mean() for radii in several], ddof=1)
    assert between > 2 * within


# --- how cells lie


def test_daughters_share_the_mother_and_nobody_leaves_the_zona() -> None:
    whole = HEALTHY._replace(fragments=0.0, uneven=0.05)
    room = whole.radius + whole.space
    for number, now in enumerate(cells.lineage(whole, 16), start=1):
        assert len(now.radii) == number
        assert (now.radii**3).sum() == pytest.approx(whole.radius**3)
        assert (np.linalg.norm(now.centres, axis=1) + 0.88 * now.radii <= room + 1e-6).all()
    apart = np.linalg.norm(now.centres[:, None] - now.centres[None], axis=2) + 99 * np.eye(16)
    assert apart.min() > 0.4 * now.radii.min()


def test_fragments_are_taken_from_the_cells() -> None:
    broken = cells.lineage(HEALTHY._replace(fragments=0.4), 8)[-1]
    assert (broken.radii**3).sum() < 0.75 * HEALTHY.radius**3


def test_a_rotation_keeps_distances() -> None:
    now = cells.lineage(HEALTHY, 4)[-1]
    turned = cells.turned(now, cells.rotation(0.4, 0.2, -0.1))
    assert np.linalg.norm(turned.centres, axis=1) == pytest.approx(np.linalg.norm(now.centres, axis=1))
    assert not np.allclose(turned.centres, now.centres)


# --- what is seen


def _at(each: Embryo, stage: str, plane: int = 0, pixels: int = 96) -> picture.Picture:
    hour = next(float(hour) for hour in HOURS if state(each, float(hour)).stage == stage)
    return picture.frame(picture.portrait(each, 1, pixels), state(each, hour), 0, plane)


def test_the_layout_counts_the_cells() -> None:
    numbers = set(range(PARTS["cell 1"], PARTS["cell 16"] + 1))
    for stage, least, most in (
        ("1-cell", 1, 1),
        ("2-cell", 2, 2),
        ("4-cell", 3, 5),
        ("8-cell", 5, 8),
        ("morula", 1, 1),
    ):
        seen = set(np.unique(_at(HEALTHY, stage).layout).tolist()) & numbers
        assert least <= len(seen) <= most, stage


def test_the_zona_is_a_ring_around_the_embryo() -> None:
    layout = _at(HEALTHY, "1-cell").layout
    ring = np.argwhere(layout == PARTS["zona"])
    cell = np.argwhere(layout == PARTS["cell 1"])
    width = optics.SITES[HEALTHY.couple.site].width / 96
    out = np.linalg.norm(ring - cell.mean(0), axis=1) * width
    assert out.min() > HEALTHY.radius - 2 * width
    assert out.max() == pytest.approx(HEALTHY.radius + HEALTHY.space + HEALTHY.zona, abs=3 * width)


def test_a_blastocyst_grows_and_its_zona_thins() -> None:
    def measures(hour: float) -> tuple[float, float]:
        layout = picture.frame(picture.portrait(HEALTHY, 1, 128), state(HEALTHY, hour), 0, 0).layout
        inside = np.sqrt((layout > PARTS["zona"]).sum() / np.pi)
        return float(inside), float(np.sqrt((layout > 0).sum() / np.pi) - inside)

    (small, thick), (large, thin) = measures(40.0), measures(HEALTHY.clock.blastocyst + 16)
    assert large > 1.1 * small
    assert thin < 0.85 * thick


def test_a_better_grade_has_a_larger_inner_cell_mass() -> None:
    sizes = [_at(HEALTHY._replace(grade=grade), "blastocyst").mass.sum() for grade in "CBA"]
    assert sizes == sorted(sizes)
    assert sizes[0] > 0
    assert [blastocyst.GRADES[grade].shell for grade in "CBA"] == sorted(
        blastocyst.GRADES[grade].shell for grade in "CBA"
    )


def test_fringes_turn_from_one_side_of_the_focus_to_the_other() -> None:
    site = optics.SITES["A"]._replace(relief=0.0, absorption=0.0)
    on = optics.canvas(129, 120.0, 0.0, 0.0)
    scene = optics.empty(129)
    at = optics.window(on, 0, 0, 30)
    optics.put(scene, at, 0.0, optics.half_chord(on, at, 0, 0, 30.0))
    rims = {}
    for plane in (-2, 0, 2):
        rims[plane] = optics.light(scene, on, site, plane)[64, 64 + 29]
    # the sheets lie at equal distances around 0, so in focus the two fringes cancel
    assert rims[0] == pytest.approx(1.0, abs=0.02)
    assert (rims[2] - 1) * (rims[-2] - 1) < 0
    assert abs(rims[2] - 1) > 0.02


def test_relief_is_bright_on_one_side_and_dark_on_the_other() -> None:
    site = optics.SITES["A"]._replace(light=0.0, absorption=0.0, fringe=0.0)
    on = optics.canvas(101, 100.0, 0.0, 0.0)
    scene = optics.empty(101)
    at = optics.window(on, 0, 0, 30)
    optics.put(scene, at, 0.0, 2 * optics.half_chord(on, at, 0, 0, 30.0))
    seen = optics.light(scene, on, site, 0)
    assert seen[50, 25] > 1.3
    assert seen[50, 75] < 0.7
    assert seen[50, 25] + seen[50, 75] == pytest.approx(2.0, abs=1e-3)
    assert seen[50, 2] == pytest.approx(1.0)


def test_far_planes_are_blurred() -> None:
    def detail(plane: int) -> float:
        grey = _at(HEALTHY, "1-cell", plane).grey.astype(float)
        inside = grey[36:60, 36:60]
        return float(np.abs(inside - (np.roll(inside, 1, 0) + np.roll(inside, -1, 0)) / 2)[2:-2].mean())

    assert detail(0) > 1.1 * max(detail(-2), detail(2))


def test_sites_look_different_and_one_well_looks_like_itself() -> None:
    def of(site: str) -> np.ndarray:
        each = HEALTHY._replace(couple=HEALTHY.couple._replace(site=site))
        return _at(each, "1-cell").grey.astype(float)

    means = {site: of(site).mean() for site in optics.SITES}
    assert means["B"] + 15 < means["A"] < means["C"] - 15
    assert (of("A")[:6, :6].mean()) < 0.6 * of("A")[6:20, 44:52].mean()  # the corner lies behind the wall


def test_neighbouring_frames_are_more_alike_than_distant_ones() -> None:
    made = picture.portrait(HEALTHY, 16, 48)
    hours = np.linspace(18, 116, 16)
    seen = np.stack([
        picture.frame(made, state(HEALTHY, float(hour)), number, 0).grey for number, hour in enumerate(hours)
    ]).astype(float)  # fmt: skip
    near = np.abs(np.diff(seen, axis=0)).mean()
    far = np.abs(seen[8:] - seen[:8]).mean()
    assert near < 0.7 * far


def test_pronuclei_are_there_until_they_fade() -> None:
    made = picture.portrait(HEALTHY, 1, 96)
    for hour, there in ((HEALTHY.clock.fading - 0.5, True), (HEALTHY.clock.fading + 0.5, False)):
        layout = picture.frame(made, state(HEALTHY, hour), 0, 0).layout
        assert (PARTS["pronuclei"] in layout) is there
