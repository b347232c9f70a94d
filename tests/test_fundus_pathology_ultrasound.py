"""Photographs of the retina, patches of colon and ultrasound of the breast: files, repeatability, what is drawn."""

import inspect
import math
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError
from scipy import ndimage

from chambit.core import extensions
from chambit.phantoms.anatomy import stream
from chambit.phantoms.canvas import COMMENT, fold, smooth, step
from chambit.phantoms.fundus import eyes, vessels
from chambit.phantoms.fundus.photograph import LAYOUT, photograph
from chambit.phantoms.pathology import cells, patch, patients
from chambit.phantoms.ultrasound import patients as scanned
from chambit.phantoms.ultrasound.scanner import PROBES, _speckle, scan

SEED = 19
KINDS = ("fundus", "pathology", "ultrasound")
PARTS = {"fundus": {0, 1, 2, 3, 4, 5}, "pathology": {1, 2, 3, 4}, "ultrasound": {0, 1, 2, 3, 4, 5}}
CLASSES = {
    "fundus": {"healthy", "diabetic retinopathy"},
    "pathology": {"benign", "tumour"},
    "ultrasound": {"benign", "malignant"},
}


def _kind(name: str) -> ModuleType:
    return extensions.load("chambit.phantoms.kinds", name)


def _open(folder: Path, name: str) -> np.ndarray:
    return np.asarray(Image.open(folder / name))


@pytest.fixture(scope="module")
def cohorts(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, tuple[Path, list[dict[str, Any]]]]:
    """Ten patients of each kind at 64 pixels."""
    made = {}
    for name in KINDS:
        folder = tmp_path_factory.mktemp(name)
        made[name] = folder, _kind(name).draw(folder, 0, 10, 64, SEED, _kind(name).Options())
    return made


@pytest.mark.parametrize("name", KINDS)
def test_rows_tell_what_lies_in_the_folder(name: str, cohorts: Mapping[str, tuple[Path, list[dict[str, Any]]]]) -> None:
    folder, rows = cohorts[name]
    kind = _kind(name)
    assert len(rows) == kind.images(10, kind.Options())
    assert {row["label"] for row in rows} == CLASSES[name]
    assert len({row["subject"] for row in rows}) == 10
    told = {row[column] for row in rows for column in ("file", "mask", "layout")} - {""}
    assert told == {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert all(isinstance(value, str) for row in rows for value in row.values())
    for row in rows:
        with Image.open(folder / row["file"]) as picture:
            assert picture.mode == ("RGB" if kind.FORM["channels"] == 3 else "L")
            assert picture.size == (64, 64)
            assert picture.text == {"Comment": COMMENT}  # type: ignore[attr-defined]
        assert np.asarray(Image.open(folder / row["file"])).std() > 12


@pytest.mark.parametrize("name", KINDS)
def test_masks_and_layouts_hold_their_values(
    name: str, cohorts: Mapping[str, tuple[Path, list[dict[str, Any]]]]
) -> None:
    folder, rows = cohorts[name]
    healthy = {"healthy"} if name == "fundus" else {"benign"} if name == "pathology" else set()
    found: set[int] = set()
    for row in rows:
        layout = _open(folder, row["layout"])
        assert layout.dtype == np.uint8
        assert layout.shape == (64, 64)
        found |= set(np.unique(layout).tolist())
        assert bool(row["mask"]) == (row["label"] not in healthy)
        if row["mask"]:
            mask = _open(folder, row["mask"])
            assert set(np.unique(mask).tolist()) == {0, 255}
    assert found == PARTS[name]


@pytest.mark.parametrize("name", KINDS)
def test_a_patient_depends_on_seed_and_index_alone(
    name: str, tmp_path: Path, cohorts: Mapping[str, tuple[Path, list[dict[str, Any]]]]
) -> None:
    folder, rows = cohorts[name]
    kind = _kind(name)
    again = kind.draw(tmp_path / "again", 3, 2, 64, SEED, kind.Options())
    subjects = {row["subject"] for row in again}
    assert again == [row for row in rows if row["subject"] in subjects]
    for row in again:
        for column in ("file", "mask", "layout"):
            if row[column]:
                assert (tmp_path / "again" / row[column]).read_bytes() == (folder / row[column]).read_bytes()
    other = kind.draw(tmp_path / "other", 3, 1, 64, SEED + 1, kind.Options())
    assert (tmp_path / "other" / other[0]["file"]).read_bytes() != (folder / other[0]["file"]).read_bytes()


@pytest.mark.parametrize("name", KINDS)
def test_patients_differ_and_stay_themselves(
    name: str, cohorts: Mapping[str, tuple[Path, list[dict[str, Any]]]]
) -> None:
    """Mean colour and contrast of two images of one patient are nearer than those of two patients."""
    folder, rows = cohorts[name]
    seen: dict[str, list[np.ndarray]] = {}
    for row in rows:
        picture = _open(folder, row["file"]).reshape(64 * 64, -1).astype(float)
        lit = picture[picture.max(axis=1) > 8]
        seen.setdefault(row["subject"], []).append(np.concatenate([lit.mean(axis=0), lit.std(axis=0)]))
    own = np.array([np.abs(many[0] - many[1]).mean() for many in seen.values()])
    first = [many[0] for many in seen.values()]
    others = [np.abs(a - b).mean() for i, a in enumerate(first) for b in first[i + 1 :]]
    assert np.mean(own) < 0.8 * np.mean(others)


@pytest.mark.parametrize("name", KINDS)
def test_options_are_checked(name: str) -> None:
    for wrong in ({"prevalence": 1.5}, {"colour": "red"}):
        with pytest.raises(ValidationError):
            _kind(name).Options(**wrong)
    assert list(inspect.signature(_kind(name).draw).parameters) == [
        *("folder", "first", "count", "pixels", "seed", "options")
    ]


# --- what they share


def test_smooth_fields_are_the_same_at_every_size() -> None:
    small, large = smooth(stream(3), 8, 64), smooth(stream(3), 8, 192)
    # the middle pixel of three lies where the one of the small picture lies
    assert np.allclose(small, large[1::3, 1::3], atol=1e-5)
    many = np.stack([smooth(stream(3, k), 20, 64) for k in range(40)])
    assert abs(float(many.mean())) < 0.03
    assert 0.95 < float(many.std()) < 1.05


def test_fold_averages_and_step_rises() -> None:
    drawn = np.arange(16, dtype=np.float32).reshape(4, 4)
    assert fold(drawn, 2).tolist() == [[2.5, 4.5], [10.5, 12.5]]
    assert step(np.array([-1.0, 0.0, 1.0]), 2.0).tolist() == [0.0, 0.5, 1.0]


# --- retina


def _eyes(count: int, prevalence: float) -> list[eyes.Eye]:
    return [eye for index in range(count) for eye in eyes.eyes(eyes.person(SEED, index, prevalence), SEED)]


def test_share_of_ill_eyes_is_the_prevalence() -> None:
    assert abs(np.mean([eye.label != "healthy" for eye in _eyes(700, 0.4)]) - 0.4) < 0.05


def test_branches_follow_the_law_of_murray() -> None:
    eye = _eyes(1, 0.5)[0]
    paths, radius, _ = vessels._trunks(eye, stream(1))
    radii, (row, at, child, _) = vessels._bear(paths, radius, 9, stream(2))
    taper = np.linspace(1, 0.72, radii.shape[1])
    before, after = (radii / taper)[row, at] ** 3, (radii / taper)[row, at + 1] ** 3
    # the place of a branch lies between two nodes; where only one branch does, nothing is lost but what it takes
    alone = [list(zip(row, at, strict=True)).count(pair) == 1 for pair in zip(row, at, strict=True)]
    taken = (child / taper[at]) ** 3
    assert sum(alone) > 50
    assert np.allclose((before - after)[alone], taken[alone], rtol=1e-6)


def test_the_disc_lies_to_the_nose_and_the_fovea_to_the_temple() -> None:
    for eye in _eyes(3, 0.5):
        layout = photograph(eye, 96).layout
        disc = ndimage.center_of_mass(np.isin(layout, [LAYOUT["disc"], LAYOUT["cup"]]))
        fovea = ndimage.center_of_mass(layout == LAYOUT["fovea"])
        assert (disc[1] > fovea[1]) == (eye.side == "right")
        # 15.5 degrees in a field of 45 or 50
        assert 0.24 < math.dist(disc, fovea) / 96 < 0.40


def test_parts_of_the_retina_have_their_tones() -> None:
    for eye in _eyes(4, 0.1):
        taken = photograph(eye, 160)
        tone = {name: taken.picture[taken.layout == value].astype(float).mean(axis=0) for name, value in LAYOUT.items()}
        assert taken.picture[taken.layout == 0].mean() < 12
        assert np.all(np.diff(tone["retina"]) < 0), "red over green over blue"
        assert tone["cup"][1] > tone["disc"][1] > tone["retina"][1] > tone["fovea"][1]
        assert tone["vessels"][1] < tone["retina"][1]


def test_larger_cups_are_drawn_larger() -> None:
    eye = _eyes(1, 0.1)[0]
    shares = []
    for cup in (0.3, 0.5, 0.7):
        layout = photograph(eye._replace(cup=cup), 192).layout
        shares.append(np.sum(layout == LAYOUT["cup"]) / np.sum(np.isin(layout, [LAYOUT["cup"], LAYOUT["disc"]])))
    assert shares[0] < shares[1] < shares[2]


def test_lesions_are_where_the_mask_says() -> None:
    ill = [eye for eye in _eyes(8, 0.9) if eye.label != "healthy"][:5]
    assert len(ill) == 5
    for eye in ill:
        full, none = photograph(eye, 96), photograph(eye, 96, contrast=0.0)
        assert np.array_equal(full.mask, none.mask)
        signed = (full.picture.astype(int) - none.picture.astype(int)).mean(axis=2)
        assert signed[full.mask].min() < -25, "blood"
        assert signed[full.mask].max() > 25, "exudate"
        change = np.abs(signed)
        assert 0.003 < full.mask.mean() < 0.2
        assert change[full.mask].mean() > 12
        assert change[~full.mask].mean() < 0.05 * change[full.mask].mean()
        assert not full.mask[full.layout == 0].any()


def test_a_healthy_eye_has_no_lesion_whatever_the_contrast() -> None:
    eye = next(eye for eye in _eyes(4, 0.1) if eye.label == "healthy")
    taken = photograph(eye, 64, contrast=2.0)
    assert not taken.mask.any()
    assert np.array_equal(taken.picture, photograph(eye, 64, contrast=0.0).picture)


# --- colon


def _patches(label: str, count: int) -> list[patients.Section]:
    return [patients.Section(patients.patient(SEED, k), 1, label, 100 + k) for k in range(count)]


def test_stains_lie_in_the_plane_of_their_vectors() -> None:
    """Beer and Lambert: optical densities are sums of two vectors, so a third direction carries only noise."""
    section = _patches("tumour", 1)[0]
    scanner = patch.SCANNERS[section.patient.site]
    amounts = [np.abs(smooth(stream(5, k), 4, 64)) * 0.6 for k in range(2)]
    taken = patch._scan(amounts[0], amounts[1], section, 2.0, 1, stream(1)).astype(float)
    density = -np.log(np.maximum(taken, 1) / 255 / np.array(scanner.white)).reshape(-1, 3)
    parts = np.linalg.svd(density, compute_uv=False) ** 2
    assert parts[2] < 0.004 * parts.sum()
    assert parts[1] > 0.005 * parts.sum()


def test_twice_the_stain_lets_the_square_of_the_light_through() -> None:
    section = _patches("tumour", 1)[0]
    even, none = np.full((64, 64), 0.5, np.float32), np.zeros((64, 64), np.float32)
    white = np.array(patch.SCANNERS[section.patient.site].white)
    for once, twice in (((even, none), (2 * even, none)), ((none, even), (none, 2 * even))):
        through = [
            patch._scan(*amounts, section, 2.0, 1, stream(1)).mean(axis=(0, 1)) / 255 / white
            for amounts in (once, twice)
        ]
        assert np.allclose(through[1], through[0] ** 2, atol=0.004)
        assert through[0].argmin() == 1, "both stains take green most"
        assert through[0].min() < 0.8
    clear = patch._scan(none, none, section, 2.0, 1, stream(1)).mean(axis=(0, 1))
    assert np.allclose(clear / 255, white, atol=0.004)


def test_tumour_is_crowded_with_large_uneven_nuclei() -> None:
    share, size, spread = {}, {}, {}
    for label in patients.CLASSES:
        areas: list[float] = []
        covered = []
        for section in _patches(label, 5):
            made = patch.tissue(section, 128, 256.0, stream(section.seed, 1))
            people = cells.populate(section, made, 256.0, stream(section.seed, 2)).epithelial
            areas += (people.a * people.b * math.pi).tolist()
            covered.append(np.mean(patch.patch(section, 64, 256.0).layout == 4))
        share[label], size[label] = float(np.mean(covered)), float(np.mean(areas))
        spread[label] = float(np.std(np.log(areas)))
    assert share["tumour"] > 1.2 * share["benign"]
    assert size["tumour"] > 1.4 * size["benign"]
    assert spread["tumour"] > 1.4 * spread["benign"]
    assert 20 < size["benign"] < 50  # square micrometres: 5 x 8


def test_nuclei_keep_their_distance_and_leave_no_room() -> None:
    points = stream(7).uniform(0, 60, (4000, 2))
    kept = points[cells._thin(points, points[:, 0] < 40, 5.0)]
    gaps = np.hypot(*(kept[:, None, :] - kept[None, :, :]).transpose(2, 0, 1))
    assert gaps[~np.eye(len(kept), dtype=bool)].min() > 5.0
    assert kept[:, 0].max() < 40
    left = points[points[:, 0] < 40]
    nearest = np.hypot(*(left[:, None, :] - kept[None, :, :]).transpose(2, 0, 1)).min(axis=1)
    assert nearest.max() <= 5.0


def test_a_stamped_ellipse_has_its_area() -> None:
    one = cells.Bodies(*(np.array([value]) for value in (30.0, 31.0, 6.0, 11.0, 0.7, 1.0, 0.0)))
    found = cells.stamp(one, 128, 0.5, stream(1))
    assert abs(found.cover.sum() * 0.25 / (math.pi * 66) - 1) < 0.03
    row, column = np.average(np.stack(np.divmod(found.at, 128)), axis=1, weights=found.cover)
    assert abs((row + 0.5) * 0.5 - 31) < 0.1
    assert abs((column + 0.5) * 0.5 - 30) < 0.1


def test_the_field_is_the_same_at_every_size() -> None:
    for section in _patches("tumour", 2):
        small, large = patch.patch(section, 64, 256.0), patch.patch(section, 128, 256.0)
        coarse = fold(large.mask.astype(np.float32), 2) > 0.5
        assert np.mean(coarse == small.mask) > 0.95


def test_patches_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="field_um"):
        patch.patch(_patches("benign", 1)[0], 64, 10.0)


# --- breast


def _views(count: int) -> list[scanned.View]:
    return [seen for k in range(count) for seen in scanned.views(scanned.patient(SEED, k, 0.5), SEED)]


def test_envelope_of_even_tissue_is_rayleigh() -> None:
    echoes = _speckle(np.ones((160, 160), np.float32), 2.0, np.linspace(1.5, 4.0, 160), stream(2))
    envelope = np.hypot(echoes[0], echoes[1])
    # mean over standard deviation of a Rayleigh variable: sqrt(pi / (4 - pi)) = 1.913
    assert abs(float(envelope.mean() / envelope.std()) - 1.913) < 0.06
    assert abs(float((envelope**2).mean()) / 2 - 1) < 0.08


def test_the_beam_widens_with_distance_from_the_focus() -> None:
    echoes = _speckle(np.ones((200, 200), np.float32), 1.5, np.linspace(1.0, 5.0, 200), stream(4))[0]
    near, far = (_correlation(part) for part in (echoes[:40], echoes[-40:]))
    assert near < 0.5 < 0.8 < far


def _correlation(part: np.ndarray) -> float:
    """Correlation of columns three apart."""
    return float((part[:, :-3] * part[:, 3:]).mean() / (part**2).mean())


def test_shapes_and_shadows_tell_the_classes_apart() -> None:
    tall, behind, rough = {}, {}, {}
    for label in scanned.CLASSES:
        ratios, shades, uneven = [], [], []
        for seen in _views(16):
            if seen.patient.label != label:
                continue
            taken = scan(seen, 64)
            rows, columns = np.nonzero(taken.mask)
            ratios.append((np.ptp(rows) + 1) / (np.ptp(columns) + 1))
            filled = ndimage.binary_erosion(taken.mask)
            uneven.append((taken.mask.sum() - filled.sum()) / math.sqrt(taken.mask.sum()))
            below, middle = slice(rows.max() + 3, rows.max() + 12), round(columns.mean())
            sides = [c for c in (middle - 22, middle + 22) if 3 <= c < 61]
            shade = taken.picture[below, middle - 3 : middle + 4].mean()
            shades.append(shade - np.mean([taken.picture[below, c - 3 : c + 4].mean() for c in sides]))
        tall[label], behind[label], rough[label] = np.mean(ratios), np.mean(shades), np.mean(uneven)
    assert tall["benign"] < 0.75 < 0.85 < tall["malignant"]
    assert behind["malignant"] < -5 < 2 < behind["benign"]
    assert rough["malignant"] > rough["benign"]


def test_lesions_are_dark_and_cysts_black() -> None:
    for seen in _views(8):
        taken = scan(seen, 64)
        inside = ndimage.binary_erosion(taken.mask)
        gland = taken.picture[(taken.layout == 3) & ~ndimage.binary_dilation(taken.mask, iterations=3)]
        assert taken.picture[inside].mean() < 0.75 * gland.mean()
        if seen.patient.cyst:
            assert taken.picture[inside].mean() < 0.35 * gland.mean()
        assert np.array_equal(taken.layout == 5, taken.mask)


def test_a_curved_array_leaves_a_sector() -> None:
    views = _views(12)
    for site in "ABC":
        seen = next(view for view in views if view.patient.site == site)
        taken = scan(seen, 64)
        outside = taken.layout == 0
        if PROBES[site].radius > 0:
            assert 0.2 < outside.mean() < 0.6
            assert taken.picture[ndimage.binary_erosion(outside)].max() == 0
            widths = (~outside).sum(axis=1)
            assert widths[50] > widths[25] > widths[10] > 0
        else:
            assert not outside.any()


def test_pictures_too_small_are_refused() -> None:
    with pytest.raises(ValueError, match="pixels"):
        photograph(_eyes(1, 0.5)[0], 16)
    with pytest.raises(ValueError, match="pixels"):
        patch.patch(_patches("benign", 1)[0], 16, 256.0)
    with pytest.raises(ValueError, match="pixels"):
        scan(_views(1)[0], 16)
