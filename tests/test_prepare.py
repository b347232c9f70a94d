"""`chambit prepare` on a folder as a hospital hands it over: what leaves, what stays closed, what a study then uses."""

import json
import shutil
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

import residue
from chambit.phantoms import hospital as bed
from chambit.pipeline import cleaning, preparation_evidence, prepared, preparing
from chambit.prepare import burned
from chambit.prepare.redaction import Redaction
from tinyhospital import prepare, rows_of
from tinystudy import STUDY, chambit

needs_ocr = pytest.mark.skipif(bool(burned.missing()), reason=burned.missing())


@pytest.fixture
def home(hospital: Path) -> Path:
    """The hospital's folder."""
    return hospital


@pytest.fixture
def told(home: Path) -> dict[str, Any]:
    """`prepared.json`."""
    content: dict[str, Any] = json.loads((home / "out" / "prepared.json").read_bytes())
    return content


def _evidence(told: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    return {f"{item['measure'].split('@')[0]}.{item['quantity']}": item for item in told["evidence"]}


@needs_ocr
def test_every_original_is_accounted_for(home: Path, told: dict[str, Any]) -> None:
    aside = rows_of(home / "out" / "closed" / "set-aside.csv")
    mapping = rows_of(home / "out" / "closed" / "mapping.csv")
    files = [path.relative_to(home / "in").as_posix() for path in (home / "in").rglob("*") if path.is_file()]
    originals = {unicodedata.normalize("NFC", name) for name in files}
    ended = {row["original"] for row in (*aside, *mapping)}
    assert ended <= originals
    assert {Path(name).suffix for name in originals - ended} <= {".csv", ".json", ".txt"}
    assert all(row["reason"] and row["remedy"] for row in aside)
    assert told["counts"]["found"] == len(ended)
    assert _evidence(told)["preparation.accounted"]["value"] == 1


@needs_ocr
def test_nothing_of_the_answer_key_is_left_in_what_leaves(home: Path, told: dict[str, Any]) -> None:
    key = bed.read_key(home / "key.json")
    out = home / "out"
    outputs = {row["original"]: row["output"] for row in rows_of(out / "closed" / "mapping.csv")
               if (out / "files" / row["output"]).is_file()}  # fmt: skip
    assert len(outputs) > 10
    assert residue.search(home / "in", key)  # the search sees them before
    assert residue.search(out / "files", key, outputs) == []
    found = _evidence(told)["deidentify.residual"]
    assert (found["value"], found["verdict"], found["control"]["fired"]) == (0, "PASS", True)
    leaving = [(out / name).read_text(encoding="utf-8") for name in ("prepared.json", "prepared.html", "labels.csv")]
    subjects = {plant.subject for plant in key.plants}
    assert not [subject for subject in subjects for text in leaving if subject and subject in text]


@needs_ocr
def test_the_labels_file_is_what_a_study_may_use(home: Path) -> None:
    out = home / "out"
    rows = rows_of(out / "labels.csv")
    files = {path.relative_to(out / "files").as_posix() for path in (out / "files").rglob("*") if path.is_file()}
    assert {row["file"] for row in rows} <= files
    assert {row["label"] for row in rows} <= {"normal", "consolidation"}
    assert all(row["subject"].startswith("S") and row["file"].startswith(row["subject"]) for row in rows)
    gone = {row["output"] for row in rows_of(out / "closed" / "outliers.csv") if row["removed"] == "True"}
    assert not gone & {row["file"] for row in rows}


@needs_ocr
def test_a_second_run_does_nothing_and_a_lost_file_is_made_again(
    hospital: Path, told: dict[str, Any], tmp_path: Path
) -> None:
    home = tmp_path / "copy"
    shutil.copytree(hospital, home)
    again = prepare(home)
    assert again.out.count("done before") == 5
    lost = next((home / "out" / "closed" / "cleaned").rglob("*.dcm"))
    before = lost.read_bytes()
    lost.unlink()
    assert prepare(home).code == 0
    assert lost.read_bytes() == before
    assert json.loads((home / "out" / "prepared.json").read_bytes())["files"] == told["files"]


@needs_ocr
def test_the_page_names_no_original_and_speaks_both_languages(home: Path) -> None:
    page = (home / "out" / "prepared.html").read_text(encoding="utf-8")
    for word in ("폐쇄망 안에서만", "Closed network only", "심어 둔 글자의 검출률", "Planted text found"):
        assert word in page
    assert "http" not in page.replace("http://www.w3.org/2000/svg", "")


@needs_ocr
def test_a_study_uses_what_was_prepared_and_only_that(home: Path, tmp_path: Path) -> None:
    shutil.copytree(home / "out", tmp_path / "out", copy_function=shutil.copyfile)
    content = STUDY | {
        "source": {"kind": "public", "name": "test", "licence": "CC0"},
        "cohort": {"files": {"path": str(home / "in"), "resize": True, "frames": "middle", "colour": "grey"}},
        "prepare": {"into": "out", "key": str(home / "site.key")},
        "policy": "default",
    }
    file = tmp_path / "study.yaml"
    file.write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8")
    said = chambit("plan", file)
    assert said.code == 0, said.err
    (tmp_path / "out" / "labels.csv").write_text("file,subject,label\n", encoding="utf-8")
    said = chambit("plan", file)
    assert said.code != 0
    assert "are not those that were examined" in said.err
    shutil.rmtree(tmp_path / "out")
    said = chambit("plan", file)
    assert "chambit prepare" in said.err
    assert len(prepared.recorded(home / "out")) == 8  # no volume, so nothing is said of faces


def test_what_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    said = chambit("prepare", tmp_path / "in", "--out", tmp_path / "in" / "out", "--key", tmp_path / "in" / "k")
    assert said.code != 0
    assert said.err.count("lies inside") == 2
    said = chambit("prepare", tmp_path / "in")
    assert "--out: is not given" in said.err
    assert "--key: is not given" in said.err
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(STUDY, allow_unicode=True), encoding="utf-8")
    assert "has no block `prepare`" in chambit("prepare", tmp_path / "s.yaml").err


@pytest.mark.parametrize("turned", range(1, 9))
def test_boxes_of_a_turned_picture_fall_on_the_same_pixels(tmp_path: Path, turned: int) -> None:
    import numpy as np
    from PIL import Image, ImageOps

    stored = np.random.default_rng(turned).integers(0, 200, (40, 60), dtype=np.uint8)
    exif = Image.Exif()
    exif[274] = turned
    Image.fromarray(stored).save(tmp_path / "a.png", exif=exif)
    with Image.open(tmp_path / "a.png") as picture:
        expected = np.array(ImageOps.exif_transpose(picture))
    (box,) = cleaning.as_stored(tmp_path / "a.png", [Redaction(0, 5, 10, 15, 17, "text", 1.0)])
    stored[box.y0 : box.y1, box.x0 : box.x1] = 255
    expected[10:17, 5:15] = 255
    again = Image.fromarray(stored)
    again.save(tmp_path / "b.png", exif=exif)
    with Image.open(tmp_path / "b.png") as picture:
        assert (np.array(ImageOps.exif_transpose(picture)) == expected).all()


def test_columns_that_tell_people_apart_stay_behind() -> None:
    records = [{"fields": {"sex": "FM"[k % 2], "room": str(1000 + k), "note": "tel 010-1234-5678"}} for k in range(40)]
    kept, dropped = preparing.safe_columns(records)
    assert kept == ["sex"]
    assert "40 different values" in dropped["room"]
    assert "identifier" in dropped["note"]


def test_sections_that_nobody_looked_at_are_no_pass() -> None:
    plain = {"state": "cleaned", "section": False}
    assert preparation_evidence._faces([plain]) == []
    (sections,) = preparation_evidence._faces([plain, plain | {"section": True}])
    assert sections.value is None
    assert "not joined" in sections.reason
    (volumes,) = preparation_evidence._faces([plain | {"face": "smooth"}, {"state": "set aside", "why": "face"}])
    assert (volumes.value, volumes.n["volumes"]) == (1, 2)
