"""`chambit sample`: more images of a finished run, none of them released ones, and what cannot be asked for."""

import shutil
from pathlib import Path

import polars as pl

from tinystudy import chambit


def test_more_images_are_new_and_say_that_nobody_examined_them(tiny: Path, tmp_path: Path) -> None:
    # a copy: drawing adds to the run's ledger
    study, run = tiny / "study.yaml", Path(shutil.copytree(tiny / "once", tmp_path / "run"))
    asked = ("sample", study, "--out", run, "--images", 12, "--label", "normal")
    said = chambit(*map(str, asked), "--into", tmp_path / "a")
    assert said.code == 0, said.err
    assert "not for release" in said.out
    labels = pl.read_csv(tmp_path / "a" / "labels.csv")
    assert labels["label"].unique().to_list() == ["normal"]
    assert len(labels) == len(list((tmp_path / "a").rglob("*.png"))) == 12
    assert "not examined" in (tmp_path / "a" / "NOT-EXAMINED.txt").read_text("utf-8")
    released = pl.read_parquet(run / "images.parquet")
    assert not set(labels["subject"]) & set(released["id"])
    assert not set(labels["pixels_sha256"]) & set(released["sha256"])
    again = chambit(*map(str, asked), "--into", tmp_path / "a")
    assert "give the name of a new folder" in again.err
    assert chambit(*map(str, asked), "--into", tmp_path / "b").code == 0
    assert (tmp_path / "b" / "labels.csv").read_bytes() == (tmp_path / "a" / "labels.csv").read_bytes()
    other = chambit("sample", study, "--out", run, "--images", "13", "--label", "normal", "--into", tmp_path / "c")
    assert other.code == 0, other.err
    assert not set(pl.read_csv(tmp_path / "c" / "labels.csv")["pixels_sha256"]) & set(labels["pixels_sha256"])


def test_what_cannot_be_drawn_says_why(tiny: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(tiny / "once", tmp_path / "run"))

    def refused(*options: str) -> str:
        said = chambit("sample", tiny / "study.yaml", "--into", tmp_path / "x", *options)
        assert said.code == 2
        assert not (tmp_path / "x").exists()
        return said.err

    run = ("--out", str(copy))
    assert "--images or --fill-gaps is needed" in refused(*run)
    assert "has no =" in refused(*run, "--images", "12", "--style", "age")
    assert "recipe.conditions is empty" in refused(*run, "--images", "12", "--style", "age=70")
    assert "name them in recipe.conditions.factors" in refused(*run, "--fill-gaps")
    assert "train first" in refused("--out", str(tmp_path / "empty"), "--images", "12")
