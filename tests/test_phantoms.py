"""The phantoms: the same every time, findings where the mask says, patients recognisable, files readable."""

from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image
from scipy import ndimage

from chambit.phantoms.chest import CROPPED_FROM, Visit, render, visits
from chambit.phantoms.dicom import write

SEED = 11


@pytest.fixture(scope="module")
def cohort() -> list[Visit]:
    return visits(0, 40, seed=SEED)


@pytest.fixture(scope="module")
def drawn(cohort: list[Visit]) -> tuple[np.ndarray, np.ndarray]:
    return render(cohort, pixels=64, seed=SEED)


def test_visits_depend_on_seed_and_patient_alone(cohort: list[Visit]) -> None:
    assert [v for v in cohort if v.index >= 25] == visits(25, 15, seed=SEED)
    assert cohort != visits(0, 40, seed=SEED + 1)
    assert {v.visit for v in cohort} == {1, 2, 3}
    assert len({(v.subject, v.sex, v.age_band, v.habitus, v.site) for v in cohort}) == 40


@pytest.mark.parametrize(("prevalence", "findings"), [(0.0, {"normal"}), (1.0, {"consolidation"})])
def test_prevalence_reaches_its_ends(prevalence: float, findings: set[str]) -> None:
    assert {v.finding for v in visits(0, 20, seed=SEED, prevalence=prevalence)} == findings


def test_prevalence_is_about_half_by_default() -> None:
    ill = [v.finding == "consolidation" for v in visits(0, 600, seed=SEED)]
    assert 0.45 < np.mean(ill) < 0.55


def test_bad_arguments_are_refused(cohort: list[Visit]) -> None:
    with pytest.raises(ValueError, match="prevalence"):
        visits(0, 1, seed=SEED, prevalence=1.5)
    with pytest.raises(ValueError, match="pixels"):
        render(cohort[:1], pixels=8, seed=SEED)


@pytest.mark.parametrize("pixels", [64, 100, 160])
def test_alone_as_in_a_batch(cohort: list[Visit], pixels: int) -> None:
    some = cohort[:4]
    images, masks = render(some, pixels=pixels, seed=SEED)
    for row in reversed(range(4)):
        image, mask = render([some[row]], pixels=pixels, seed=SEED)
        assert np.array_equal(image[0], images[row])
        assert np.array_equal(mask[0], masks[row])


def test_type_and_range(drawn: tuple[np.ndarray, np.ndarray], cohort: list[Visit]) -> None:
    images, masks = drawn
    assert images.shape == masks.shape == (len(cohort), 64, 64)
    assert images.dtype == np.uint16
    assert masks.dtype == bool
    assert images.max() <= 4095
    assert np.all(images.std(axis=(1, 2)) > 300)


def test_nothing_is_drawn_of_no_visits() -> None:
    images, masks = render([], pixels=32, seed=SEED)
    assert images.shape == masks.shape == (0, 32, 32)


def test_masks_are_in_positives_alone_and_above_the_crop(
    drawn: tuple[np.ndarray, np.ndarray], cohort: list[Visit]
) -> None:
    for visit, mask in zip(cohort, drawn[1], strict=True):
        assert mask.any() == (visit.finding == "consolidation")
        assert not mask[int(CROPPED_FROM * 64) :].any()
        assert not mask[:, [0, -1]].any()


def test_mask_is_of_the_size_and_place_asked_for() -> None:
    ill = visits(0, 60, seed=SEED, prevalence=1.0)
    masks = render(ill, pixels=64, seed=SEED)[1]
    radius = np.sqrt(masks.sum(axis=(1, 2)) / np.pi) / 64
    assert np.percentile(radius, 2) > 0.03
    assert np.percentile(radius, 98) < 0.11
    place = masks.mean(axis=0)
    right, left = place[:, :32].sum(), place[:, 32:].sum()
    assert 0.5 < left / right < 2.0
    assert place[: int(0.3 * 64)].sum() > 0.1 * place.sum()


def test_finding_brightens_its_mask(cohort: list[Visit], drawn: tuple[np.ndarray, np.ndarray]) -> None:
    without, masks = render(cohort, pixels=64, seed=SEED, contrast=0.0)
    assert np.array_equal(masks, drawn[1])
    for visit, image, healthy, mask in zip(cohort, drawn[0], without, masks, strict=True):
        change = image.astype(int) - healthy.astype(int)
        if visit.finding == "normal":
            assert not change.any()
        else:
            assert change[mask].mean() > 40
            assert change[mask].mean() > 4 * abs(change[~mask].mean())


def test_a_patient_is_recognised_at_the_next_visit(cohort: list[Visit], drawn: tuple[np.ndarray, np.ndarray]) -> None:
    """Best correlation over small shifts, as a pose moves the whole chest by up to two hundredths."""
    first = {v.index: row for row, v in enumerate(cohort) if v.visit == 1}
    second = {v.index: row for row, v in enumerate(cohort) if v.visit == 2}
    repeated = sorted(second)
    centre = np.stack([_detail(drawn[0][first[i]], 0, 0) for i in first])
    best = np.full((len(repeated), len(first)), -1.0)
    for down in range(-3, 4):
        for right in range(-3, 4):
            moved = np.stack([_detail(drawn[0][second[i]], down, right) for i in repeated])
            best = np.maximum(best, moved @ centre.T)
    own = np.array([best[row, list(first).index(i)] for row, i in enumerate(repeated)])
    others = np.array([np.delete(best[row], list(first).index(i)) for row, i in enumerate(repeated)])
    assert own.mean() > others.mean() + 4 * others.std() / np.sqrt(len(repeated))
    assert np.mean(own > others.max(axis=1)) > 0.6


def test_own_texture_moves_with_the_pose() -> None:
    """With noise, finding and anatomy's outline filtered off, what two visits share lies at another place."""
    pairs = [v for v in visits(0, 60, seed=SEED, prevalence=0.0) if v.visit <= 2]
    twice = {v.index for v in pairs if v.visit == 2}
    images = render([v for v in pairs if v.index in twice], pixels=64, seed=SEED)[0].astype(float)
    fine = images - ndimage.gaussian_filter(images, (0, 2, 2))
    first, second = fine[0::2, 10:42, 10:54], fine[1::2]
    shifts = [(down, right) for down in range(-3, 4) for right in range(-3, 4)]
    shared = np.stack(
        [np.sum(first * second[:, 10 + d : 42 + d, 10 + r : 54 + r], axis=(1, 2)) for d, r in shifts], axis=1
    )
    still = shared.argmax(axis=1) == shifts.index((0, 0))
    assert still.mean() < 0.4


def _detail(image: np.ndarray, down: int, right: int) -> np.ndarray:
    part = image[6 + down : 50 + down, 6 + right : 58 + right].astype(float)
    part = part - part.mean()
    return (part / np.linalg.norm(part)).ravel()


def test_dicom_returns_the_pixels_and_the_rows(
    tmp_path: Path, cohort: list[Visit], drawn: tuple[np.ndarray, np.ndarray]
) -> None:
    images, masks = drawn
    rows = write(tmp_path, cohort, images, masks, seed=SEED, spacing_mm=5.9)
    assert [row["subject"] for row in rows] == [v.subject for v in cohort]
    assert ",".join(rows[0]) == "file,subject,label,visit,sex,age_band,habitus,view,site,mask"
    for row, image, mask in zip(rows, images, masks, strict=True):
        assert np.array_equal(pydicom.dcmread(tmp_path / row["file"]).pixel_array, image)
        assert bool(row["mask"]) == (row["label"] == "consolidation")
        if row["mask"]:
            assert np.array_equal(np.asarray(Image.open(tmp_path / row["mask"])), mask * np.uint8(255))
    assert not list(tmp_path.rglob("*.part"))


def test_dicom_bytes_are_the_same_twice(
    tmp_path: Path, cohort: list[Visit], drawn: tuple[np.ndarray, np.ndarray]
) -> None:
    kept = []
    for name in ("a", "b"):
        write(tmp_path / name, cohort[:6], drawn[0][:6], drawn[1][:6], seed=SEED, spacing_mm=5.9)
        files = sorted((tmp_path / name).rglob("*.*"))
        kept.append([(f.relative_to(tmp_path / name), f.read_bytes()) for f in files if f.is_file()])
    assert kept[0] == kept[1]
    assert len(kept[0]) >= 6


def test_dicom_header_says_phantom(tmp_path: Path, cohort: list[Visit], drawn: tuple[np.ndarray, np.ndarray]) -> None:
    rows = write(tmp_path, cohort, drawn[0], drawn[1], seed=SEED, spacing_mm=5.9375)
    seen = set()
    for visit, row in zip(cohort, rows, strict=True):
        header = pydicom.dcmread(tmp_path / row["file"], stop_before_pixels=True)
        assert header.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.1"
        assert header.SOPClassUID == "1.2.840.10008.5.1.4.1.1.1.1"
        assert (header.BitsStored, header.HighBit, header.PhotometricInterpretation) == (
            12,
            11,
            "MONOCHROME2",
        )
        assert (header.PatientID, str(header.PatientName)) == (visit.subject, f"PHANTOM^{visit.subject}")
        assert (header.ViewPosition, header.PatientSex) == (visit.view, visit.sex)
        assert header.InstitutionName == f"Phantom site {visit.site}"
        assert header[0x0008, 0x001C].value == "YES"
        assert header.ImageComments == "PHANTOM - procedurally drawn, not a patient"
        assert (header.WindowCenter, header.WindowWidth, header.BurnedInAnnotation) == (2048, 4096, "NO")
        assert list(header.PixelSpacing) == [5.9375, 5.9375]
        low, high = (visit.age_band.rstrip("+") + "-200").split("-")[:2]
        assert int(low) <= int(header.PatientAge[:3]) <= int(high)
        uids = (header.SOPInstanceUID, header.StudyInstanceUID, header.SeriesInstanceUID)
        assert all(uid.is_valid and uid.startswith("2.25.") for uid in uids)
        seen.update(uids)
    assert len(seen) == 3 * len(cohort)


def test_dicom_refuses_unequal_lengths(
    tmp_path: Path, cohort: list[Visit], drawn: tuple[np.ndarray, np.ndarray]
) -> None:
    with pytest.raises(ValueError, match="equally many"):
        write(tmp_path, cohort[:2], drawn[0][:3], drawn[1][:3], seed=SEED, spacing_mm=5.9)
