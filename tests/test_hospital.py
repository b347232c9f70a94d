"""The folder with planted identifiers, its answer key, and the independent search for what is left of them."""

import ast
import csv
import hashlib
import unicodedata
from collections import Counter
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pydicom.fileset import FileSet

import prepare as benchmark
import residue
from chambit.phantoms import hospital
from chambit.phantoms.hospital import AnswerKey, Options, lettering, objects, outliers, people
from chambit.phantoms.hospital.headers import ALWAYS, SOMETIMES
from chambit.prepare import identifiers

SEED = 3
KINDS = {
    *ALWAYS, *SOMETIMES, "dicom.file_meta", "dicom.preamble", "dicom.dicomdir", "burned.latin", "name.file",
    "name.folder", "png.text", "png.ztxt", "png.itxt", "png.exif", "jpeg.exif", "jpeg.gps", "jpeg.comment", "jpeg.xmp",
    "jpeg.thumbnail", "tiff.description", "tiff.artist", "gif.comment", "nifti.descrip", "nifti.extension",
    "picture.tail",
}  # fmt: skip


@pytest.fixture(scope="module")
def bed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, AnswerKey]:
    """Fourteen patients, with more oddities than a hospital has."""
    folder = tmp_path_factory.mktemp("hospital") / "bed"
    told = Options(burned=0.7, outliers=0.1, duplicates=0.2, mislabelled=0.1)
    return folder, hospital.write(folder, 14, SEED, pixels=256, options=told)


@pytest.fixture(scope="module")
def found(bed: tuple[Path, AnswerKey]) -> list[residue.Residual]:
    return residue.search(*bed)


def _digests(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


# --- the folder


def test_equal_seeds_give_equal_bytes(tmp_path: Path) -> None:
    keys = [hospital.write(tmp_path / name, 6, seed, pixels=128) for name, seed in (("a", 1), ("b", 1), ("c", 2))]
    assert keys[0] == keys[1] != keys[2]
    assert _digests(tmp_path / "a") == _digests(tmp_path / "b") != _digests(tmp_path / "c")
    assert {truth.file for truth in keys[0].files} | {"labels.csv"} == set(_digests(tmp_path / "a"))


def test_every_kind_is_planted_and_every_form_written(bed: tuple[Path, AnswerKey]) -> None:
    _, key = bed
    assert KINDS - set(key.kinds()) == set()
    assert len(KINDS) >= 20
    written = {truth.form for truth in key.files}
    assert {form.name for form in objects.FORMS if objects.writable(form)} <= written
    assert {"png", "jpeg", "tiff", "gif", "nifti"} <= written


def test_dicom_files_say_what_was_planted(bed: tuple[Path, AnswerKey]) -> None:
    folder, key = bed
    seen = Counter()
    for truth in key.files:
        if not truth.form.startswith("dicom") or truth.outlier or not truth.told:
            continue
        data = pydicom.dcmread(folder / truth.file, force=True)
        form = next(form for form in objects.FORMS if form.name == truth.form)
        assert data.PatientID == truth.subject
        assert data.PhotometricInterpretation == form.photometric
        assert (getattr(data.file_meta, "TransferSyntaxUID", None) == form.syntax) is form.preamble
        frames = residue.pixels(folder / truth.file)
        assert frames is not None
        assert len(frames) == form.frames
        if data.PatientName.ideographic:
            assert all("가" <= c <= "힣" for c in str(data.PatientName.phonetic).replace("^", ""))
            seen["three groups", str(data.SpecificCharacterSet)] += 1
    assert len(seen) == 2  # ISO 2022 IR 149 and UTF-8


def test_a_dicomdir_leads_to_the_files(bed: tuple[Path, AnswerKey]) -> None:
    folder, _ = bed
    listed = FileSet(folder / "pacs" / "DICOMDIR")
    assert len(listed) > 0
    for instance in listed:
        assert instance.load().PatientID == instance.PatientID


def test_people_have_numbers_that_hold_and_belong_to_nobody(bed: tuple[Path, AnswerKey]) -> None:
    on = people.datetime.date(2021, 3, 1)
    crowd = [people.person(SEED, index, "FM"[index % 2], "40-59", on) for index in range(400)]
    assert all(identifiers.check_digit(who.resident.replace("-", "")) for who in crowd)
    assert all(who.resident[8:10] in ("97", "98", "99") and who.mobile.startswith("010-0") for who in crowd)
    assert len({who.mrn for who in crowd}) == len(crowd)
    assert 20 < sum(who.foreign for who in crowd) < 90
    for who in crowd:
        who.name.dicom.encode("latin-1" if who.foreign else "euc_kr")


def test_oddities_are_as_many_as_asked_for(bed: tuple[Path, AnswerKey]) -> None:
    folder, key = bed
    images = [truth for truth in key.files if truth.told]
    first = [truth for truth in images if not truth.duplicate]
    assert abs(sum(bool(truth.outlier) for truth in first) - 0.1 * len(first)) <= 1
    assert {truth.duplicate for truth in images} == {"", *hospital.DUPLICATES}
    with (folder / "labels.csv").open(encoding="utf-8", newline="") as file:
        rows = {row["file"]: (row["subject"], row["label"]) for row in csv.DictReader(file)}
    named = {unicodedata.normalize("NFC", truth.file): (truth.subject, truth.told) for truth in images}
    assert rows == named
    assert any(truth.file != unicodedata.normalize("NFC", truth.file) for truth in images)
    assert sum(truth.told != truth.label for truth in first) >= 1


def test_duplicates_show_what_they_were_made_from(bed: tuple[Path, AnswerKey]) -> None:
    folder, key = bed
    truths = {truth.file: truth for truth in key.files}
    for truth in truths.values():
        if not truth.duplicate:
            continue
        one, other = folder / truth.duplicate_of, folder / truth.file
        same = one.read_bytes() == other.read_bytes()
        assert same is (truth.duplicate == "exact")
        assert (truth.subject != truths[truth.duplicate_of].subject) is (truth.duplicate == "other_subject")
        if truths[truth.duplicate_of].form != "nifti":
            left, right = residue.pixels(one), residue.pixels(other)
            assert left is not None
            assert right is not None
            assert np.abs(_grey(left[0]) - _grey(right[0])).mean() < 0.02


def _grey(frame: np.ndarray) -> np.ndarray:
    return frame if frame.ndim == 2 else frame[..., 0]


@pytest.mark.parametrize("kind", outliers.PIXELS)
def test_outliers_are_unlike_the_image_they_were_made_of(kind: str) -> None:
    y, x = np.mgrid[0:128, 0:128].astype(np.float32)
    grey = np.clip(30 + 100 * np.hypot(x - 40, y - 50) / 64, 0, 255).astype(np.float32)
    odd = outliers.PIXELS[kind](grey, np.random.default_rng(0))
    assert odd.shape == grey.shape
    assert (float(odd.min()), float(odd.max())) >= (0.0, 0.0)
    assert odd.max() <= 255
    assert np.abs(odd - grey).mean() > 15


def test_truncated_and_damaged_files_cannot_be_whole(tmp_path: Path) -> None:
    key = hospital.write(tmp_path / "bed", 8, 5, pixels=128, options=Options(outliers=1.0))
    kinds = {truth.outlier: truth for truth in key.files if truth.told}
    assert set(kinds) == set(hospital.OUTLIERS)
    assert residue.pixels(tmp_path / "bed" / kinds["truncated"].file) is None


@pytest.mark.parametrize(
    ("patients", "pixels", "options", "word"),
    [(0, 128, None, "patients"), (1, 100, None, "pixels"), (1, 128, Options(outliers=1.5), "shares")],
)
def test_bad_arguments_are_refused(
    tmp_path: Path, patients: int, pixels: int, options: Options | None, word: str
) -> None:
    with pytest.raises(ValueError, match=word):
        hospital.write(tmp_path / "bed", patients, 1, pixels=pixels, options=options)


def test_a_folder_that_is_not_empty_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("x")
    with pytest.raises(ValueError, match="not empty"):
        hospital.write(tmp_path, 1, 1, pixels=128)


def test_without_a_font_hangul_is_left_out_with_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lettering, "_file", lambda: None)
    for cached in (lettering.ink, lettering._font):
        cached.cache_clear()
    try:
        key = hospital.write(tmp_path / "bed", 2, 1, pixels=256, options=Options(burned=1.0))
    finally:
        for cached in (lettering.ink, lettering._font):
            cached.cache_clear()
    assert {kind for kind in key.kinds() if kind.startswith("burned")} == {"burned.latin"}
    assert any("Hangul" in reason for reason in key.left_out)


# --- the key


def test_a_key_is_read_as_it_was_written(bed: tuple[Path, AnswerKey], tmp_path: Path) -> None:
    hospital.write_key(bed[1], tmp_path / "key.jsonl")
    assert hospital.read_key(tmp_path / "key.jsonl") == bed[1]


def test_a_broken_key_is_refused_without_quoting_it(tmp_path: Path) -> None:
    (tmp_path / "key.jsonl").write_text('{"left_out": []}\n{"plant": {"values": ["900101-1234568"]}}\n')
    with pytest.raises(ValueError, match="line 2") as caught:
        hospital.read_key(tmp_path / "key.jsonl")
    assert "900101" not in str(caught.value)


# --- lettering


@pytest.mark.parametrize("level", [0.0, 100.0, 250.0])
@pytest.mark.parametrize("contrast", lettering.CONTRASTS)
def test_letters_have_the_contrast_that_the_key_says(level: float, contrast: int) -> None:
    image = np.full((256, 256), level, np.float32)
    (written,) = lettering.burn(image, [lettering.Line("KIM MINSOO", "latin")], 24, contrast)
    x0, y0, x1, y1, height = written.box[:5]
    part, ink = image[y0:y1, x0:x1], lettering.unpack(written.box.ink, y1 - y0, x1 - x0)
    assert y1 - y0 == height == 24
    assert abs(np.median(part[ink]) - np.median(part[~ink])) == pytest.approx(contrast, abs=1)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 9), st.integers(1, 40), st.integers(0, 10**6))
def test_a_mask_comes_back_from_its_text(rows: int, columns: int, seed: int) -> None:
    mask = np.random.default_rng(seed).random((rows, columns)) < 0.5
    assert np.array_equal(lettering.unpack(lettering.pack(mask), rows, columns), mask)


def test_ink_that_is_covered_is_told_from_ink_that_is_not(bed: tuple[Path, AnswerKey]) -> None:
    folder, key = bed
    seen = residue.burned(folder, key)
    assert len(seen) == sum(plant.box is not None for plant in key.plants)
    assert min(one.remains for one in seen if one.remains is not None) > 0.9
    assert all(one.remains is not None for one in seen)
    box = next(one.plant.box for one in seen if one.plant.box and one.plant.box.height == 24)
    frames = residue.pixels(folder / next(one.file for one in seen if one.plant.box is box))
    assert frames is not None
    middle = (box.x0 + box.x1) // 2
    frames[:, box.y0 : box.y1, box.x0 : middle] = 0
    assert 0.3 < (residue.remains(frames, box) or 0) < 0.75
    frames[:, box.y0 : box.y1, box.x0 : box.x1] = 0.4
    assert residue.remains(frames, box) == 0
    assert residue.remains(frames[:, : box.y0 + 2], box) is None


# --- the search


def test_the_search_borrows_nothing_from_the_cleaning() -> None:
    tree = ast.parse(Path(residue.__file__).read_text(encoding="utf-8"))
    names = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    names += [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    assert [name for name in names if name.startswith("chambit") and ".phantoms." not in name] == []


def test_everything_is_found_where_nothing_was_cleaned(
    bed: tuple[Path, AnswerKey], found: list[residue.Residual]
) -> None:
    there = {one.plant for one in found if one.file == one.plant.file}
    lost = [(plant.kind, plant.place) for plant in bed[1].plants if plant.box is None and plant not in there]
    assert lost == []


def test_nothing_is_found_in_files_that_hold_pixels_alone(bed: tuple[Path, AnswerKey], tmp_path: Path) -> None:
    folder, key = bed
    boxes: dict[str, list[hospital.Box]] = {}
    for plant in key.plants:
        if plant.box is not None:
            boxes.setdefault(plant.file, []).append(plant.box)
    outputs = {}
    for number, truth in enumerate(key.files):
        if (frames := residue.pixels(folder / truth.file)) is None:
            continue
        for box in boxes.get(truth.file, []):
            frames[box.frame, box.y0 : box.y1, box.x0 : box.x1] = 0
        outputs[truth.file] = f"{number:03d}.png"
        Image.fromarray((frames[0] * 255).clip(0, 255).astype(np.uint8)).save(tmp_path / outputs[truth.file])
    assert len(outputs) > 15
    assert residue.search(tmp_path, key, outputs) == []
    seen = [one.remains for one in residue.burned(tmp_path, key, outputs) if one.plant.box and not one.plant.box.frame]
    assert seen
    assert set(seen) == {0.0}


# --- the benchmark


def test_the_benchmark_counts_what_is_left_and_covered(bed: tuple[Path, AnswerKey]) -> None:
    folder, key = bed
    same = {truth.file: truth.file for truth in key.files}
    left = benchmark.residuals(folder, key, same)
    assert all(rate.found == rate.of > 0 for rate in left.values())
    assert all(rate.found == 0 for rate in benchmark.coverage(folder, key, same).values())
