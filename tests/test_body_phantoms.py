"""Bodies in three modalities: the same every time, tissues as in the tables, lesions under masks, files readable."""

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydantic import ValidationError
from scipy import ndimage

from chambit.images.readers import dicom as reader
from chambit.phantoms.body import cohort, space, volumes
from chambit.phantoms.body.machine import INSPIRED, SITES, ct_slice, mr_slice, radiograph, receive
from chambit.phantoms.body.paint import cover_of, texture
from chambit.phantoms.body.person import Person, person
from chambit.phantoms.body.tissue import MATTER, TIMES, Part, Tissue, hounsfield, spin_echo
from chambit.phantoms.kinds import body, ct, programme

SEED = 11


def _noise() -> np.random.Generator:
    return np.random.default_rng(5)


def _healthy(count: int) -> list[Person]:
    return [person(SEED, index, 0.0) for index in range(count)]


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:
    folder = tmp_path_factory.mktemp("programme")
    return folder, programme.draw(folder, 0, 6, 48, SEED, programme.Options(mri=2, ct=2, xray=1, prevalence=0.7))


@pytest.fixture(scope="module")
def trunk() -> tuple[np.ndarray, np.ndarray]:
    return volumes.volume(SEED, 3, 48, "CT", field="trunk", prevalence=0.0)


# Solids: known answers


def _cube(half: float, n: int, edge: float = 1.0) -> space.Grid:
    line = space.axis(-half, half, n)
    return space.Grid(line, line, line, edge)


def test_a_sphere_has_its_volume_and_true_distances() -> None:
    grid = _cube(20, 40)
    found = space.ellipsoid(grid, (1.0, -2.0, 3.0), (12.0, 12.0, 12.0))
    assert found is not None
    region, distance = found
    true = np.sqrt((region.x - 1) ** 2 + (region.y + 2) ** 2 + (region.z - 3) ** 2) - 12
    assert np.allclose(distance, true, atol=1e-3)
    assert cover_of(distance, 1.0).sum() == pytest.approx(4 / 3 * np.pi * 12**3, rel=0.01)


def test_a_turned_ellipsoid_keeps_its_volume() -> None:
    turn = np.linalg.qr(np.random.default_rng(1).standard_normal((3, 3)))[0]
    found = space.ellipsoid(_cube(20, 80), (0, 0, 0), (15.0, 9.0, 6.0), turn)
    assert found is not None
    assert (found[1] < 0).sum() * 0.5**3 == pytest.approx(4 / 3 * np.pi * 15 * 9 * 6, rel=0.02)


def test_a_straight_tube_is_a_capsule() -> None:
    found = space.tube(_cube(20, 80), np.array([(-8.0, 0, 0), (0, 0, 0), (8, 0, 0)]), 5.0)
    assert found is not None
    assert (found[1] < 0).sum() * 0.5**3 == pytest.approx(np.pi * 25 * 16 + 4 / 3 * np.pi * 125, rel=0.02)


def test_a_shape_beside_the_grid_is_not_looked_up() -> None:
    assert space.ellipsoid(_cube(20, 10), (60, 0, 0), (5, 5, 5)) is None
    assert space.tube(_cube(20, 10), np.array([(60.0, 0, 0), (70, 0, 0)]), 5.0) is None


def test_random_fields_belong_to_the_place_not_to_the_grid() -> None:
    """A coarse grid sees what a fine one sees at the same points."""
    knots = np.random.default_rng(2).standard_normal((37, 37, 37)).astype(np.float32)
    fine, coarse = _cube(30, 60).region((-90,) * 3, (90,) * 3), space.Grid(*(space.axis(-30, 30, 60)[::3],) * 3, 1.0)
    part = coarse.region((-90,) * 3, (90,) * 3)
    assert fine is not None
    assert part is not None
    many = space.waves(fine, 7.0, knots, (1, 2, 3))
    assert np.allclose(many[::3, ::3, ::3], space.waves(part, 7.0, knots, (1, 2, 3)), atol=1e-5)
    assert 0.3 < many.std() < 0.6
    who = person(SEED, 0)
    whole = texture(who, _cube(30, 60))
    assert np.allclose(texture(who, coarse), whole[::3, ::3, ::3], atol=1e-5)


# Tissues


def test_contrast_agent_enhances_blood_and_organs_but_not_fluid() -> None:
    plain, portal = hounsfield(False)[0], hounsfield(True)[0]
    for tissue in (Tissue.BLOOD, Tissue.LIVER, Tissue.SPLEEN, Tissue.CORTEX):
        assert portal[tissue] > plain[tissue] + 30
    assert all(portal[t] == plain[t] for t in (Tissue.AIR, Tissue.FAT, Tissue.WATER))


def test_spin_echo_follows_its_equation_and_the_order_radiologists_know() -> None:
    repetition, echo = TIMES["T2"]
    m = MATTER[Tissue.GREY]
    expected = m.density * (1 - np.exp(-repetition / m.t1)) * np.exp(-echo / m.t2)
    t1, t2 = spin_echo("T1")[0], spin_echo("T2")[0]
    assert t2[Tissue.GREY] == pytest.approx(expected, rel=1e-5)
    assert t1[Tissue.FAT] > t1[Tissue.WHITE] > t1[Tissue.GREY] > t1[Tissue.WATER]
    assert t2[Tissue.WATER] > t2[Tissue.GREY] > t2[Tissue.WHITE] > t2[Tissue.LIVER]
    assert t2[Tissue.SPLEEN] > 1.5 * t2[Tissue.LIVER]


def test_noise_of_an_empty_coil_is_rayleigh() -> None:
    """Mean sigma sqrt(pi / 2), standard deviation sigma sqrt(2 - pi / 2) (Gudbjartsson and Patz 1995)."""
    sigma = SITES["A"].rician
    seen = receive(np.zeros((200, 200), np.float32), SITES["A"], _noise())
    assert seen.mean() == pytest.approx(sigma * np.sqrt(np.pi / 2), rel=0.02)
    assert seen.std() == pytest.approx(sigma * np.sqrt(2 - np.pi / 2), rel=0.03)


# People


def test_a_person_depends_on_seed_and_index_alone() -> None:
    assert person(SEED, 4) == person(SEED, 4)
    assert person(SEED, 4) != person(SEED + 1, 4)
    ill, well = person(SEED, 4, 1.0), person(SEED, 4, 0.0)
    assert ill.lesion is not None
    assert ill._replace(lesion=None) == well


@pytest.mark.parametrize("prevalence", [0.0, 0.3, 1.0])
def test_prevalence_is_met(prevalence: float) -> None:
    ill = [person(SEED, index, prevalence).lesion is not None for index in range(300)]
    assert abs(np.mean(ill) - prevalence) <= 2.6 * np.sqrt(prevalence * (1 - prevalence) / 300)


def test_women_are_shorter_and_large_people_fatter() -> None:
    people = _healthy(300)
    assert np.mean([p.stature for p in people if p.sex == "F"]) < np.mean([p.stature for p in people if p.sex == "M"])
    fat = {h: np.mean([p.fat for p in people if p.habitus == h]) for h in ("slim", "average", "large")}
    assert fat["slim"] < fat["average"] < fat["large"]


# Anatomy


def test_organs_lie_where_anatomists_look_for_them(trunk: tuple[np.ndarray, np.ndarray]) -> None:
    part = trunk[1]
    z, y, x = {}, {}, {}
    for name in Part:
        where = np.argwhere(part == name)
        if len(where):
            z[name], y[name], x[name] = where.mean(axis=0) / 47
    assert x[Part.LIVER] < 0.45 < 0.58 < x[Part.SPLEEN]
    assert x[Part.HEART] > 0.5
    assert z[Part.HEART] > z[Part.LIVER] > z[Part.KIDNEY] > z[Part.BLADDER]
    assert y[Part.HEART] < y[Part.SPINE]
    assert y[Part.BLADDER] < y[Part.SPINE]
    assert z[Part.LUNG] > z[Part.SPLEEN] > z[Part.PELVIS]
    assert abs(x[Part.SPINE] - 0.5) < 0.04


def test_organs_have_about_the_volume_of_an_adults() -> None:
    """In litres, wide ranges around usual adult volumes; mean of four people."""
    extent = volumes.FIELDS["trunk"]
    n = 40
    cell = (extent.high - extent.low) * 4 * extent.across * extent.depth / n**3 / 1e6
    seen = [np.bincount(volumes.volume(SEED, i, n, "CT", field="trunk")[1].ravel(), minlength=32) for i in range(4)]
    litres = np.mean(seen, axis=0) * cell
    for part, low, high in (
        (Part.LIVER, 0.9, 2.2),
        (Part.SPLEEN, 0.08, 0.4),
        (Part.KIDNEY, 0.15, 0.5),
        (Part.PANCREAS, 0.02, 0.15),
        (Part.HEART, 0.4, 1.1),
        (Part.LUNG, 2.5, 6.5),
    ):
        assert low < litres[part] < high, (part.name, litres[part])


def test_sexes_differ_in_the_pelvis() -> None:
    people = _healthy(40)
    for sex in "FM":
        who = next(p for p in people if p.sex == sex)
        high, low = (
            (ct_slice(who, level, "pelvis", 96, False, _noise()).part == Part.GENITAL).sum()
            for level in (-64.0, -118.0)
        )
        assert (high > low) == (sex == "F")


def test_hounsfield_units_in_the_picture_are_those_of_the_table() -> None:
    who = _healthy(1)[0]
    seen = ct_slice(who, 195.0, "abdomen", 128, True, _noise())
    inside = ndimage.binary_erosion(seen.part == Part.LIVER, iterations=4)
    assert inside.sum() > 200
    assert seen.value[inside].mean() == pytest.approx(MATTER[Tissue.LIVER].portal, abs=12)
    fat = ndimage.binary_erosion(seen.part == Part.FAT, iterations=2)
    assert np.median(seen.value[fat]) == pytest.approx(MATTER[Tissue.FAT].native, abs=15)
    assert seen.value[:4, :4].mean() == pytest.approx(-1000, abs=25)


def test_the_brain_has_fluid_grey_and_white_matter_in_order() -> None:
    who = _healthy(3)[2]
    t1, t2 = (mr_slice(who, 672.0, "head", 128, w, np.random.default_rng(5)) for w in ("T1", "T2"))
    fluid = ndimage.binary_erosion(t2.part == Part.VENTRICLE, iterations=1)
    brain = ndimage.binary_erosion(t2.part == Part.BRAIN, iterations=1)
    assert brain.sum() > 1500
    assert t2.value[fluid].mean() > 1.5 * t2.value[brain].mean()
    assert t1.value[fluid].mean() < t1.value[brain].mean()


def test_a_chest_radiograph_has_dark_lungs_beside_a_bright_middle() -> None:
    for who in _healthy(3):
        seen = radiograph(who, "chest", 64, _noise()).value
        middle = seen[20:40, 29:35].mean()
        assert middle > seen[20:40, 14:22].mean() + 0.2
        assert middle > seen[20:40, 42:50].mean() + 0.2
        assert seen[2:6, :2].mean() < 0.3


def test_a_person_is_more_like_themself_than_like_others() -> None:
    people = _healthy(8)
    first = np.stack([ct_slice(p, 140.0, "abdomen", 32, False, np.random.default_rng(1)).value for p in people])
    again = np.stack([ct_slice(p, 140.0, "abdomen", 32, False, np.random.default_rng(2)).value for p in people])
    a, b = (np.clip(v, -160, 240).reshape(8, -1) for v in (first, again))
    near = np.linalg.norm(a[:, None] - b[None], axis=2)
    assert np.mean(near.argmin(axis=1) == np.arange(8)) >= 0.75


# Lesions


def test_without_lesion_nothing_changes_outside_it_and_it_is_where_the_mask_says() -> None:
    found = 0
    for index in range(8):
        ill, well = person(SEED, index, 1.0), person(SEED, index, 0.0)
        assert ill.lesion is not None
        home = "abdomen" if ill.lesion.organ == "liver" else "chest"
        level = ill.lesion.centre[2] - INSPIRED * (0.7 if home == "abdomen" else 0.3)
        sick, healthy = (ct_slice(p, level, home, 64, True, np.random.default_rng(3)) for p in (ill, well))
        change = np.abs(sick.value - healthy.value)
        if sick.mask.sum() < 4:
            continue
        found += 1
        around = ndimage.binary_dilation(sick.mask, iterations=4)
        assert change[sick.mask].mean() > 20
        assert change[sick.mask].mean() > 15 * change[~around].mean()
        assert not healthy.mask.any()
    assert found >= 5


def test_a_lung_lesion_brightens_the_radiograph_and_a_liver_lesion_leaves_no_mask() -> None:
    people = [person(SEED, index, 1.0) for index in range(30)]
    lung = next(p for p in people if p.lesion is not None and p.lesion.organ == "lung" and p.lesion.radius > 11)
    liver = next(p for p in people if p.lesion is not None and p.lesion.organ == "liver")
    sick = radiograph(lung, "chest", 64, np.random.default_rng(3))
    healthy = radiograph(lung._replace(lesion=None), "chest", 64, np.random.default_rng(3))
    assert sick.mask.any()
    assert (sick.value - healthy.value)[sick.mask].mean() > 0.02
    assert not radiograph(liver, "chest", 64, _noise()).mask.any()


# Files


def test_rows_files_and_labels_agree(drawn: tuple[Path, list[dict[str, Any]]]) -> None:
    folder, rows = drawn
    assert len(rows) == 30 == programme.images(6, programme.Options())
    assert len({row["file"] for row in rows}) == 30
    assert {row["modality"] for row in rows} == {"MR", "CT", "DX"}
    for row in rows:
        assert (row["label"] == "lesion") == bool(row["mask"])
        assert all(isinstance(value, str) for value in row.values())
        if row["mask"]:
            mask = np.asarray(Image.open(folder / row["mask"]))
            assert mask.shape == (48, 48)
            assert set(np.unique(mask)) == {0, 255}
        if row["layout"]:
            layout = np.asarray(Image.open(folder / row["layout"]))
            assert set(np.unique(layout)) <= {int(p) for p in Part}
    assert not list(folder.rglob("*.part"))
    people = {(r["subject"], r["sex"], r["age_band"], r["habitus"], r["site"]) for r in rows}
    assert len(people) == 6
    assert 0.25 < np.mean([row["label"] == "lesion" for row in rows]) < 0.75


def test_headers_say_what_the_picture_is(drawn: tuple[Path, list[dict[str, Any]]]) -> None:
    folder, rows = drawn
    for modality in ("CT", "MR", "DX"):
        row = next(r for r in rows if r["modality"] == modality and r["part"] in ("chest", "abdomen"))
        header = pydicom.dcmread(folder / row["file"])
        assert header.Modality == modality
        assert "PHANTOM" in header.ImageComments
        assert header.PatientID == row["subject"]
        assert header.SOPClassUID == header.file_meta.MediaStorageSOPClassUID
        image = next(iter(reader.read(folder / row["file"])))[1]
        assert image.pixels.shape == (48, 48)
        if modality == "CT":
            assert header.RescaleIntercept == -1024
            assert image.shown == "window 40/400"
            stored = header.pixel_array.astype(int) - 1024
            assert stored.min() >= -1024
            assert stored[:3, :3].mean() == pytest.approx(-1000, abs=25)


def test_equal_bytes_whoever_else_is_drawn(tmp_path: Path, drawn: tuple[Path, list[dict[str, Any]]]) -> None:
    folder, rows = drawn
    again = programme.draw(tmp_path, 5, 1, 48, SEED, programme.Options(prevalence=0.7))
    assert again == [row for row in rows if row["subject"] == "B000005"]
    for row in again:
        for key in ("file", "mask", "layout"):
            if row[key]:
                assert (tmp_path / row[key]).read_bytes() == (folder / row[key]).read_bytes()


def test_ct_kind_draws_slices_of_chest_and_abdomen_alone(tmp_path: Path) -> None:
    options = ct.Options(slices=3, layouts=False)
    rows = ct.draw(tmp_path, 0, 4, 32, SEED, options)
    assert len(rows) == ct.images(4, options) == 12
    assert {row["part"] for row in rows} == {"chest", "abdomen"}
    assert {row["layout"] for row in rows} == {""}


def test_fewer_pictures_are_the_first_of_more() -> None:
    who = person(SEED, 3, 1.0)
    assert cohort.exams(who, "MR", 5)[:2] == cohort.exams(who, "MR", 2)


@pytest.mark.parametrize("plane", ["coronal", "axial"])
def test_a_volume_is_a_sequence_of_frames(tmp_path: Path, plane: str) -> None:
    options = body.Options(plane=plane, slices=12, prevalence=1.0)
    rows = body.draw(tmp_path, 2, 1, 48, SEED, options)
    assert len(rows) == body.images(1, options) == 12
    assert [row["frame"] for row in rows] == [str(k) for k in range(12)]
    assert len({(row["series"], row["label"]) for row in rows}) == 1
    layouts = np.stack([np.asarray(Image.open(tmp_path / row["layout"])) for row in rows])
    assert layouts.shape == (12, 48, 48)
    skull, thigh = (np.argwhere(layouts == part).mean(axis=0) for part in (Part.SKULL, Part.FEMUR))
    first = 0 if plane == "axial" else 1
    assert skull[first] < thigh[first]
    if plane == "coronal":
        spine, heart = (np.argwhere(layouts == part).mean(axis=0)[0] for part in (Part.SPINE, Part.HEART))
        assert heart < spine


def test_volumes_are_equal_at_every_drawing_and_lie_in_the_unit_range(trunk: tuple[np.ndarray, np.ndarray]) -> None:
    value, part = volumes.volume(SEED, 3, 48, "CT", field="trunk", prevalence=0.0)
    assert np.array_equal(value, trunk[0])
    assert np.array_equal(part, trunk[1])
    assert value.shape == part.shape == (48, 48, 48)
    assert value.dtype == np.float32
    assert part.dtype == np.uint8
    assert value.min() >= 0
    assert value.max() <= 1


@pytest.mark.parametrize(("plane", "weighting"), [("coronal", "T1"), ("axial", "T2")])
def test_the_air_around_a_body_is_empty(tmp_path: Path, plane: str, weighting: str) -> None:
    """Thick slices too: no structure may spread beyond the skin."""
    rows = body.draw(tmp_path, 4, 1, 48, SEED, body.Options(plane=plane, weighting=weighting, slices=32))
    frames = np.stack([np.asarray(Image.open(tmp_path / row["file"])) for row in rows]).astype(float)
    outside = np.stack([np.asarray(Image.open(tmp_path / row["layout"])) for row in rows]) == Part.OUTSIDE
    far = ndimage.binary_erosion(outside, iterations=3, border_value=1)
    level = np.array([frame[mask].mean() for frame, mask in zip(frames, far, strict=True) if mask.sum() > 100])
    assert len(level) > 20
    assert level.max() < 1.3 * level.min() < 30


def test_bad_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="voxels"):
        body.volume(SEED, 0, 8)
    for wrong in ({"plane": "oblique"}, {"slices": 2}, {"unknown": 1}):
        with pytest.raises(ValidationError):
            body.Options.model_validate(wrong)
    with pytest.raises(ValidationError):
        programme.Options.model_validate({"ct": -1})
