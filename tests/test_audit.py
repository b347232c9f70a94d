"""Audits of sets that somebody else made: what they accept, what they refuse, and what they say about it."""

import json
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image as Pillow

from imagefiles import dicom, save, write_csv
from tinystudy import NEVER, Said, chambit, evidence, pictures, write_classes, write_policy

FILES = {"dossier.html", "dossier.json", "evidence.json", "images.parquet", "verdict.json"}
COUNTS = {"train": 24, "holdout": 24, "synthetic": 24}


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Without the search for copies, which these tests pay seconds for."""
    return write_policy(tmp_path_factory.mktemp("policy") / "quick.yaml", copies=NEVER)


@pytest.fixture
def sets(tmp_path: Path) -> dict[str, Path]:
    """Folders of PNG, a sub-folder for each class."""
    return {
        role: write_classes(tmp_path / "in" / role, pictures(count, 100 + number))
        for number, (role, count) in enumerate(COUNTS.items())
    }


def audit(sets: dict[str, Path | str], out: Path, policy: Path | str, *more: str | Path) -> Said:
    given = [word for role, path in sets.items() for word in (f"--{role}", path)]
    return chambit("audit", *given, "--out", out, "--policy", policy, "--engine", "inline", *more)


def _refused(said: Said, out: Path, *told: str) -> None:
    """Exit 2, a message with where, what and a remedy, no traceback, and no file that looks like a result."""
    assert said.code == 2, said.out + said.err
    for text in told:
        assert text in said.err
    assert "-> " in said.err
    assert "Traceback" not in said.err
    assert not out.exists() or not FILES & {path.name for path in out.iterdir()}


# --- what can be audited


def test_folders_of_classes_with_a_holdout_that_is_too_small(sets: dict[str, Path], tmp_path: Path) -> None:
    said = audit(sets, tmp_path / "out", "default", "--gate")
    assert said.code == 1
    assert {path.name for path in (tmp_path / "out").iterdir()} >= FILES
    found = evidence(tmp_path / "out")
    for name in ("copies.exact", "copies.flagged", "copies.rate_bound", "membership.p", "membership.excess"):
        assert found[name]["verdict"] == "NOT_RUN"
        assert found[name]["value"] is None
        assert "300" in found[name]["reason"]
    assert "--test" in found["downstream.loss"]["reason"]
    assert found["process.connections"]["value"] == 0
    assert found["intake.accounted"]["n"]["files"] == sum(COUNTS.values())
    verdict = json.loads((tmp_path / "out" / "verdict.json").read_bytes())
    assert verdict["verdict"] in ("NOT_RUN", "INVALID")  # so few images do not show a planted shift either
    assert f"Verdict: {verdict['verdict']}" in said.out
    assert "subject is not known" in (tmp_path / "out" / "dossier.html").read_text(encoding="utf-8")
    table = pl.read_parquet(tmp_path / "out" / "images.parquet")
    assert len(table) == COUNTS["synthetic"]
    assert set(table["label"]) == {"normal", "ill"}


def test_the_gate_lets_nothing_else_fail(sets: dict[str, Path], tmp_path: Path, policy: Path) -> None:
    assert audit(sets, tmp_path / "out", policy).code == 0


def test_an_archive_with_parts_and_a_second_look(tmp_path: Path, policy: Path) -> None:
    parts = {}
    for number, part in enumerate(("train", "val", "test")):
        parts[f"{part}_images"] = pictures(44, 200 + number, 28)
        parts[f"{part}_labels"] = (np.arange(44) % 2)[:, None].astype(np.uint8)
    archive = tmp_path / "tinymnist.npz"
    np.savez(archive, **parts)
    made = write_classes(tmp_path / "made", pictures(44, 300, 28))
    given = {"train": f"{archive}#train", "holdout": f"{archive}#val", "test": f"{archive}#test", "synthetic": made}
    names = ("--class-name", "0=normal", "--class-name", "1=ill")
    said = audit(given, tmp_path / "out", policy, *names)
    assert said.code == 0, said.err
    found = evidence(tmp_path / "out")
    assert found["downstream.loss"]["n"]["test images"] == 44
    assert found["frechet.distance"]["value"] > 0
    first = (tmp_path / "out" / "evidence.json").read_bytes()
    again = audit(given, tmp_path / "out", policy, *names)
    assert again.out.count("done before") > 8
    assert (tmp_path / "out" / "evidence.json").read_bytes() == first


def test_dicom_with_a_patient_in_train_and_holdout(tmp_path: Path, policy: Path) -> None:
    given = {}
    for number, role in enumerate(("train", "holdout")):
        rows = []
        for k, image in enumerate(pictures(24, 400 + number)):
            name = f"{k:03d}.dcm"
            pixels = image.astype(np.uint16) * 16
            dicom(tmp_path / role / name, pixels, bits=12, PatientID=None, SOPInstanceUID=f"1.2.{number}.{k}")
            rows.append([name, f"{role}-{k // 2}" if k else "shared", "ill" if k % 2 else "normal"])
        write_csv(tmp_path / role / "labels.csv", rows)
        given[role] = tmp_path / role
    given["synthetic"] = write_classes(tmp_path / "made", pictures(24, 500))
    said = audit(given, tmp_path / "out", policy, "--gate")
    assert said.code == 1
    overlap = evidence(tmp_path / "out")["split.overlap"]
    assert (overlap["value"], overlap["verdict"]) == (1, "FAIL")
    assert json.loads((tmp_path / "out" / "verdict.json").read_bytes())["verdict"] == "FAIL"
    html = (tmp_path / "out" / "dossier.html").read_text(encoding="utf-8")
    assert "LEAK: train" in html
    assert "Hong" not in html  # nothing of the header


def test_planted_copies_fail(sets: dict[str, Path], tmp_path: Path) -> None:
    own = write_policy(tmp_path / "own.yaml")
    for k, image in enumerate(pictures(60, 600)):
        save(tmp_path / "in" / "auxiliary" / ("ill" if k % 2 else "normal") / f"{k:03d}.png", image)
    theirs = pictures(24, 100)  # the training images
    save(sets["synthetic"] / "normal" / "000.png", theirs[4])
    save(sets["synthetic"] / "ill" / "001.png", theirs[7][:, ::-1])
    said = audit(sets | {"auxiliary": tmp_path / "in" / "auxiliary"}, tmp_path / "out", own, "--gate")
    assert said.code == 1
    exact = evidence(tmp_path / "out")["copies.exact"]
    assert exact["value"] == 2
    assert exact["verdict"] in ("FAIL", "INVALID")
    table = pl.read_parquet(tmp_path / "out" / "images.parquet")
    copied = table.filter(pl.col("file").is_in(["normal/000.png", "ill/001.png"]))
    assert copied["copies.flagged"].all()
    assert sorted(copied["copies.turn"]) == ["as it is", "mirrored"]
    assert (tmp_path / "out" / "dossier.html").read_text(encoding="utf-8").count("data:image/png") > 2


def test_odd_files_are_refused_one_by_one_and_the_run_goes_on(
    sets: dict[str, Path], tmp_path: Path, policy: Path
) -> None:
    train = sets["train"]
    whole = (train / "normal" / "002.png").read_bytes()
    (train / "normal" / "truncated.png").write_bytes(whole[: len(whole) // 2])
    save(train / "normal" / "black.png", np.zeros((32, 32), np.uint8))
    save(train / "ill" / "colour.png", np.random.default_rng(0).integers(0, 255, (32, 32, 3), np.uint8))
    Pillow.fromarray(pictures(1, 9)[0].astype(np.uint16) * 8).save(train / "ill" / "shallow.png")
    Pillow.fromarray(pictures(1, 10)[0].astype(np.uint16) * 256).save(train / "ill" / "deep.png")
    (train / "ill" / "note.docx").write_bytes(b"PK not an image")
    said = audit(sets, tmp_path / "out", policy)
    assert said.code == 0, said.err
    html = (tmp_path / "out" / "dossier.html").read_text(encoding="utf-8")
    for name, reason in {
        "normal/truncated.png": "damaged or truncated",
        "normal/black.png": "blank: every pixel is 0",
        "ill/colour.png": "a colour image among grey ones",
        "ill/shallow.png": "full brightness unknown",
        "ill/note.docx": "",
    }.items():
        assert name in html
        assert reason in html
    accounted = evidence(tmp_path / "out")["intake.accounted"]
    assert accounted["value"] == 1
    assert accounted["n"] == {"files": 78, "accepted": 73, "refused": 5}


def test_a_class_of_one_image_is_told(sets: dict[str, Path], tmp_path: Path, policy: Path) -> None:
    test = write_classes(tmp_path / "in" / "test", pictures(24, 700))
    for k, role in enumerate(("train", "synthetic", "test")):
        folder = sets.get(role, test)
        for n, image in enumerate(pictures(1 if role == "train" else 6, 800 + k)):
            save(folder / "rare" / f"r{n}.png", image)
    said = audit(sets | {"test": test}, tmp_path / "out", policy)
    _refused(said, tmp_path / "out", "rare", "1 image")


# --- what cannot


def test_an_empty_folder(sets: dict[str, Path], tmp_path: Path, policy: Path) -> None:
    (tmp_path / "empty").mkdir()
    said = audit(sets | {"holdout": tmp_path / "empty"}, tmp_path / "out", policy)
    _refused(said, tmp_path / "out", str(tmp_path / "empty"), "holds no images")
    assert not (tmp_path / "out").exists()


def test_all_paths_that_are_missing_are_told_at_once(sets: dict[str, Path], tmp_path: Path, policy: Path) -> None:
    missing = {"train": tmp_path / "a", "holdout": tmp_path / "b", "synthetic": tmp_path / "c"}
    said = audit(missing, tmp_path / "out", policy)
    _refused(said, tmp_path / "out", *map(str, missing.values()), "3 problem(s)")
    assert not (tmp_path / "out").exists()


def test_a_missing_policy(sets: dict[str, Path], tmp_path: Path) -> None:
    _refused(audit(sets, tmp_path / "out", "kind"), tmp_path / "out", "policy: kind")
    assert not (tmp_path / "out").exists()


def test_an_unknown_engine(sets: dict[str, Path], tmp_path: Path, policy: Path) -> None:
    said = chambit(
        "audit", *(word for role, path in sets.items() for word in (f"--{role}", path)),
        "--out", tmp_path / "out", "--policy", policy, "--engine", "cloud",
    )  # fmt: skip
    assert said.code == 2
    assert "There are: inline, processes" in said.err
    assert not (tmp_path / "out").exists()


def test_labels_that_name_missing_files(sets: dict[str, Path], tmp_path: Path, policy: Path) -> None:
    rows = [[f"normal/{k:03d}.png", f"s{k}", "normal"] for k in range(0, 24, 2)]
    rows += [[f"ill/{k:03d}.png", f"s{k}", "ill"] for k in range(1, 24, 2)]
    write_csv(sets["train"] / "labels.csv", [*rows, ["ghost.png", "s99", "ill"], ["normal/000.png", "s0", "ill"]])
    said = audit(sets, tmp_path / "out", policy)
    _refused(
        said, tmp_path / "out", "labels.csv, line 26", "'ghost.png' is not among the images", "labels.csv, line 27"
    )
    assert not (tmp_path / "out").exists()


def test_dicom_without_pixels(sets: dict[str, Path], tmp_path: Path, policy: Path) -> None:
    for k in range(3):
        dicom(tmp_path / "bare" / f"{k}.dcm", pictures(1, k)[0], PixelData=None)
    said = audit(sets | {"holdout": tmp_path / "bare"}, tmp_path / "out", policy)
    _refused(said, tmp_path / "out", "0.dcm", "None of the files can be read")


def test_a_folder_of_nothing_but_black(sets: dict[str, Path], tmp_path: Path, policy: Path) -> None:
    for k in range(3):
        save(tmp_path / "black" / f"{k}.png", np.zeros((32, 32 + k), np.uint8))
    said = audit(sets | {"train": tmp_path / "black"}, tmp_path / "out", policy)
    _refused(said, tmp_path / "out", "0.png", "blank: every pixel is 0", "Every file was refused")


def test_a_folder_of_colour(sets: dict[str, Path], tmp_path: Path, policy: Path) -> None:
    rng = np.random.default_rng(0)
    for k in range(4):
        save(tmp_path / "colour" / f"{k}.png", rng.integers(0, 255, (32, 32, 3), np.uint8))
    said = audit(sets | {"synthetic": tmp_path / "colour"}, tmp_path / "out", policy)
    _refused(said, tmp_path / "out", "Most images are coloured")


def test_sixteen_bits_that_use_twelve(sets: dict[str, Path], tmp_path: Path, policy: Path) -> None:
    shutil.rmtree(sets["train"])
    for k, image in enumerate(pictures(4, 900)):
        path = sets["train"] / f"{k}.png"
        path.parent.mkdir(exist_ok=True)
        Pillow.fromarray(image.astype(np.uint16) * 16).save(path)
    said = audit(sets, tmp_path / "out", policy)
    _refused(said, tmp_path / "out", "16-bit file that uses only 12 bits", "save it full-scale or as DICOM")


def test_a_class_name_that_is_no_pair(sets: dict[str, Path], tmp_path: Path, policy: Path) -> None:
    said = audit(sets, tmp_path / "out", policy, "--class-name", "ill")
    assert said.code == 2
    assert "is not OLD=NEW" in said.err


def test_one_labels_file_for_all_folders(sets: dict[str, Path], tmp_path: Path, policy: Path) -> None:
    """As `--help` says: files of all folders, each row used where it fits."""
    rows = []
    for role in ("train", "holdout"):
        for path in sorted(sets[role].rglob("*.png")):
            renamed = path.rename(path.with_name(f"{role}-{path.name}"))
            rows.append([renamed.name, f"{role}-{path.stem}", path.parent.name])
    table = write_csv(tmp_path / "all.csv", rows)
    said = audit(sets, tmp_path / "out", policy, "--labels", table)
    assert said.code == 0, said.err
    found = evidence(tmp_path / "out")
    assert found["split.overlap"]["reason"] == ""  # every subject is known


@pytest.mark.parametrize("wrong", [("--size", "-3"), ("--margin", "nan"), ("--margin", "-1"), ("--workers", "-1")])
def test_numbers_that_cannot_be(sets: dict[str, Path], tmp_path: Path, policy: Path, wrong: tuple[str, str]) -> None:
    said = audit(sets, tmp_path / "out", policy, *wrong)
    assert said.code == 2
    assert wrong[0] in said.err
