"""Intra-oral phantoms: five views of one mouth, teeth by their numbers, decay where the mask says, parts and back."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from chambit.core import extensions
from chambit.core.errors import InputError
from chambit.phantoms.kinds import oral
from chambit.phantoms.oral.canvas import BACKGROUND, GUM, LIPS, MUCOSA, whole
from chambit.phantoms.oral.dentition import FDI, FIRST_TOOTH, KIND, UPPER, Mouth, Spot, linear_rgb, mouth, order
from chambit.phantoms.oral.parts import Part, crop, parts, paste, silhouette
from chambit.phantoms.oral.scene import VIEWS, Shot, shot

SEED, PATIENTS = 5, 12
OPTIONS = oral.Options()


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:
    folder = tmp_path_factory.mktemp("oral")
    return folder, oral.draw(folder, 0, PATIENTS, 64, SEED, OPTIONS)


@pytest.fixture(scope="module")
def complete() -> Mouth:
    """A patient with all teeth and no decay."""
    return next(m for k in range(200) if (m := mouth(SEED, k, 0.01)).present.all() and not m.lesions)


def read(folder: Path, name: str) -> np.ndarray:
    return np.asarray(Image.open(folder / name))


def seen(taken: Shot) -> set[int]:
    return {part.fdi for part in parts(taken.layout)}


def test_it_is_listed_as_a_kind() -> None:
    assert extensions.listing("chambit.phantoms.kinds")["oral"].help.startswith("Intra-oral colour photographs")
    assert oral.FORM == {"channels": 3, "axis": ""}
    assert FDI[0] == 11
    assert FDI[-1] == 47
    assert len(set(FDI)) == 28
    assert not {18, 28, 38, 48} & set(FDI)


def test_rows_name_files_that_are_what_they_say(cohort: tuple[Path, list[dict[str, Any]]]) -> None:
    folder, rows = cohort
    assert len(rows) == 5 * PATIENTS == oral.images(PATIENTS, OPTIONS)
    assert all(isinstance(value, str) for row in rows for value in row.values())
    known = {BACKGROUND, GUM, MUCOSA, LIPS, *range(FIRST_TOOTH, FIRST_TOOTH + 28)}
    for row in rows:
        image, layout = read(folder, row["file"]), read(folder, row["layout"])
        assert (image.shape, image.dtype, layout.shape) == ((64, 64, 3), np.uint8, (64, 64))
        assert set(np.unique(layout)) <= known
        assert (row["label"] == "caries") == bool(row["mask"])
        assert row["view"] in VIEWS
        assert image.std() > 20
    assert "PHANTOM" in Image.open(folder / rows[0]["file"]).text["Comment"]  # type: ignore[attr-defined]


def test_decay_lies_on_teeth_and_both_classes_occur(cohort: tuple[Path, list[dict[str, Any]]]) -> None:
    folder, rows = cohort
    on_teeth, share = [], []
    for row in rows:
        if row["mask"]:
            mask, layout = read(folder, row["mask"]), read(folder, row["layout"])
            assert set(np.unique(mask)) == {0, 255}
            on_teeth.append(np.mean(layout[mask > 0] >= FIRST_TOOTH))
            share.append(np.mean(mask > 0))
    assert 0.15 < len(share) / len(rows) < 0.75
    assert np.mean(on_teeth) > 0.9
    assert max(share) < 0.05


def test_bytes_depend_on_seed_and_patient_alone(cohort: tuple[Path, list[dict[str, Any]]], tmp_path: Path) -> None:
    folder, rows = cohort
    again = oral.draw(tmp_path, 7, 1, 64, SEED, OPTIONS)
    assert again == [row for row in rows if row["subject"] == "T000007"]
    for name in (row[key] for row in again for key in ("file", "layout", "mask") if row[key]):
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()
    assert not list(tmp_path.rglob("*.part"))
    other = oral.draw(tmp_path / "other", 7, 1, 64, SEED + 1, OPTIONS)
    assert [row["shade"] for row in other] != [row["shade"] for row in again] or any(
        (tmp_path / "other" / a["file"]).read_bytes() != (tmp_path / b["file"]).read_bytes()
        for a, b in zip(other, again, strict=True)
    )


def test_each_view_shows_its_teeth(complete: Mouth) -> None:
    shots = {view: shot(complete, view, 96, SEED, 0) for view in VIEWS}
    upper = {number for number in FDI if number < 30}
    assert seen(shots["upper"]) == upper
    assert seen(shots["lower"]) == set(FDI) - upper
    assert {11, 12, 13, 21, 22, 23, 31, 41} <= seen(shots["frontal"])
    assert {23, 24, 25, 26, 33, 34, 35, 36} <= seen(shots["left"])
    assert {13, 14, 15, 16, 43, 44, 45, 46} <= seen(shots["right"])
    assert not {15, 16, 17, 45, 46, 47} & seen(shots["left"])
    assert not {25, 26, 27, 35, 36, 37} & seen(shots["right"])
    assert shots["upper"].teeth == shots["lower"].teeth == 14


def test_sides_are_not_swapped(complete: Mouth) -> None:
    """The patient's right is on the picture's left, front teeth point away from the throat, upper ones lie above."""

    def centre(view: str) -> dict[int, tuple[float, ...]]:
        layout = shot(complete, view, 96, SEED, 0).layout
        return {p.fdi: ndimage.center_of_mass(layout == p.index) for p in parts(layout)}

    front, upper, lower, left, right = (centre(view) for view in VIEWS)
    assert front[13][1] < front[11][1] < front[21][1] < front[23][1]
    assert front[11][0] < front[41][0]
    assert upper[16][1] < upper[26][1]
    assert lower[46][1] < lower[36][1]
    assert upper[11][0] < upper[17][0]
    assert lower[41][0] > lower[47][0]
    assert left[23][1] < left[26][1]
    assert right[13][1] > right[16][1]


def test_a_tooth_is_one_piece(cohort: tuple[Path, list[dict[str, Any]]]) -> None:
    folder, rows = cohort
    for row in rows[::4]:
        for part in parts(read(folder, row["layout"])):
            assert ndimage.label(part.mask)[1] == 1, (row["file"], part.fdi)


def test_pieces_and_specks_go_to_what_is_around_them() -> None:
    layout = np.full((12, 12), GUM, np.uint8)
    layout[1:6, 1:6] = 10
    layout[8:10, 8:10] = 10  # a second piece
    layout[1, 10] = 11  # a speck
    kept = whole(layout)
    assert (kept == 10).sum() == 25
    assert (kept[8:10, 8:10] == GUM).all()
    assert kept[1, 10] == GUM


def test_a_missing_tooth_is_in_no_view(complete: Mouth) -> None:
    present = complete.present.copy()
    present[FDI.index(11)] = False
    gap = complete._replace(present=present)
    assert all(11 not in seen(shot(gap, view, 64, SEED, 0)) for view in VIEWS)
    with_it, without = (shot(m, "frontal", 64, SEED, 0) for m in (complete, gap))
    where = with_it.layout == FIRST_TOOTH + FDI.index(11)
    assert without.image[where].mean() < 0.75 * with_it.image[where].mean()


@pytest.mark.parametrize("stage", [1, 2])
def test_a_lesion_changes_its_mask_and_little_else(complete: Mouth, stage: int) -> None:
    spot = Spot(FDI.index(26), "occlusal", 0.0, 0.0, 2.5, 2.0, stage, 7)
    plain = complete._replace(fillings=())
    sound, caries = (shot(m, "upper", 128, SEED, 0) for m in (plain, plain._replace(lesions=(spot,))))
    assert not sound.mask.any()
    change = np.abs(sound.image.astype(int) - caries.image).sum(axis=-1)
    assert change[caries.mask].mean() > 100
    assert change[~ndimage.binary_dilation(caries.mask, iterations=8)].max() <= 3
    darker = sound.image[caries.mask].mean() - caries.image[caries.mask].mean()
    assert darker > 25 * stage
    assert (caries.layout[caries.mask] == FIRST_TOOTH + FDI.index(26)).all()
    # the same tooth from the front shows nothing of it
    assert not shot(plain._replace(lesions=(spot,)), "frontal", 128, SEED, 0).mask.any()


def test_the_label_hardly_depends_on_the_size() -> None:
    pairs = []
    for index in range(4):
        person = mouth(SEED, index, 0.65)
        for view in ("upper", "left"):
            pairs.append([shot(person, view, pixels, SEED, index).mask.any() for pixels in (64, 256)])
    assert np.mean([small == large for small, large in pairs]) >= 0.9


def test_a_shade_is_seen(complete: Mouth) -> None:
    def brightness(shade: str) -> float:
        taken = shot(complete._replace(words=dict(complete.words) | {"shade": shade}), "frontal", 64, SEED, 0)
        return float(taken.image[taken.layout >= FIRST_TOOTH].mean())

    assert brightness("B1") > brightness("A3") + 3 > brightness("C4") + 6


def test_lab_of_white_and_of_grey() -> None:
    assert linear_rgb(100, 0, 0) == pytest.approx([1, 1, 1], abs=0.01)
    assert linear_rgb(50, 0, 0) == pytest.approx([0.184] * 3, abs=0.005)


def test_people_differ_and_stay_themselves() -> None:
    people = [mouth(SEED, k, 0.65) for k in range(150)]
    assert np.array_equal(mouth(SEED, 3, 0.65).centre, people[3].centre)
    assert {m.words["site"] for m in people} == {"A", "B", "C"}
    assert len({m.words["shade"] for m in people}) >= 10
    assert 0.55 < np.mean([bool(m.lesions) for m in people]) < 0.75
    assert 0.1 < np.mean([not m.present.all() for m in people]) < 0.9
    assert all(m.present[spot.tooth] for m in people for spot in m.lesions + m.fillings)
    width = np.mean([m.width for m in people], axis=0)
    assert width[KIND == 3].min() > width[KIND != 3].max()
    assert all(m.width[order(True)[6:8]].min() > m.width[order(False)[6:8]].max() for m in people[:50])
    across = np.mean([np.ptp(m.centre[UPPER, 0]) for m in people])
    assert 48 < across < 60  # mm between the second molars' middles


def test_sites_look_different(complete: Mouth) -> None:
    def look(site: str) -> np.ndarray:
        image = shot(complete._replace(words=dict(complete.words) | {"site": site}), "frontal", 96, SEED, 0).image
        red, _, blue = image.reshape(-1, 3).mean(axis=0)
        fine = image.astype(float).mean(axis=-1)
        return np.array([red / blue, np.std(fine - ndimage.gaussian_filter(fine, 1.0))])

    a, b, c = (look(site) for site in "ABC")
    assert b[0] > a[0] + 0.1  # warmer
    assert c[1] != pytest.approx(a[1], rel=0.05)


# --- five fields


def test_a_left_out_view_is_told(tmp_path: Path) -> None:
    rows = oral.draw(tmp_path, 0, 10, 16, SEED, oral.Options(missing_views=0.5))
    cases = oral.fields(rows)
    assert [case.subject for case in cases] == [f"T{k:06d}" for k in range(10)]
    assert {len(case.missing) for case in cases} == {0, 1}
    assert sum(5 - len(case.missing) for case in cases) == len(rows)
    for case in cases:
        assert not {row["view"] for row in rows if row["subject"] == case.subject} & set(case.missing)
    assert oral.images(100, oral.Options(missing_views=0.5)) == 450


def test_complete_cases_miss_nothing(cohort: tuple[Path, list[dict[str, Any]]]) -> None:
    assert all(case.missing == () for case in oral.fields(cohort[1]))
    assert oral.fields([]) == []


def test_all_rows_with_a_wrong_view_are_named_at_once() -> None:
    rows = [{"file": "a.png", "subject": "x", "view": "occlusal"}, {"view": "left"}]
    with pytest.raises(InputError) as told:
        oral.fields(rows)
    assert [problem.where for problem in told.value.problems] == ["a.png", "row 2"]
    assert "frontal, upper, lower, left, right" in str(told.value)


@pytest.mark.parametrize("wrong", [{"prevalence": 1.0}, {"missing_views": 1.0}, {"patients": 3}])
def test_options_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        oral.Options.model_validate(wrong)


# --- parts


def disc() -> tuple[np.ndarray, Part]:
    y, x = np.mgrid[:40, :50]
    layout = np.where((y - 15) ** 2 + (x - 20) ** 2 < 64, FIRST_TOOTH + 3, GUM).astype(np.uint8)
    (part,) = parts(layout)
    return layout, part


def test_a_part_is_its_box_and_mask() -> None:
    layout, part = disc()
    assert (part.index, part.fdi) == (FIRST_TOOTH + 3, 14)
    top, left, bottom, right = part.box
    assert part.box == (8, 13, 23, 28)
    assert np.array_equal(part.mask, layout[top:bottom, left:right] == part.index)
    assert parts(np.zeros((8, 8), np.uint8)) == []
    with pytest.raises(ValueError, match="rows and columns"):
        parts(np.zeros((8, 8, 3), np.uint8))


@pytest.mark.parametrize("feather", [0.0, 1.5, 3.0])
def test_what_is_cut_out_fits_back(feather: float) -> None:
    _, part = disc()
    image = np.random.default_rng(0).integers(0, 256, (40, 50, 3)).astype(np.uint8)
    side = part.square[2]
    assert np.array_equal(paste(image, crop(image, part, side), part, feather), image)


def test_a_pasted_tooth_covers_its_mask_with_soft_borders() -> None:
    layout, part = disc()
    canvas, white = np.zeros((40, 50, 3), np.uint8), np.full((16, 16, 3), 200, np.uint8)
    hard, soft = paste(canvas, white, part, 0), paste(canvas, white, part, 2)
    assert np.array_equal(hard[..., 0] == 200, layout == part.index)
    assert canvas.max() == 0  # not changed
    assert soft[15, 20, 0] == 200
    rim = soft[15, 20:34, 0].astype(int)
    assert np.all(np.diff(rim) <= 0)
    assert len(np.unique(rim)) > 3
    assert soft[15, 34, 0] == 0


def test_a_crop_at_the_border_is_square_and_silent_outside() -> None:
    layout = np.zeros((20, 20), np.uint8)
    layout[0:6, 15:20] = FIRST_TOOTH
    (part,) = parts(layout)
    image = np.full((20, 20, 3), 0.25, np.float32)
    cut = crop(image, part, 24)
    assert cut.shape == (24, 24, 3)
    assert cut.dtype == np.float32
    assert np.allclose(cut, 0.25)
    back = paste(np.zeros_like(image), cut, part, 0)
    assert np.array_equal(back[..., 0] > 0.2, layout > 0)


def test_crops_keep_the_tooth_at_another_size(complete: Mouth) -> None:
    taken = shot(complete, "frontal", 128, SEED, 0)
    part = max(parts(taken.layout), key=lambda p: p.mask.sum())
    share = silhouette(part, 32)
    assert share.mean() == pytest.approx(part.mask.sum() / part.square[2] ** 2, rel=0.05)
    small = crop(taken.image, part, 32).astype(float)
    tooth, own = small[share > 0.9].mean(axis=0), taken.image[taken.layout == part.index].mean(axis=0)
    assert np.allclose(tooth, own, atol=8)
    gum = taken.image[taken.layout == GUM].mean(axis=0)
    assert tooth[2] / tooth[0] > gum[2] / gum[0] + 0.05  # enamel is less red than gum
