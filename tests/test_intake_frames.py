"""Intake of several images in a file, of colour, and of folders that are subjects: nothing is taken unasked."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as Pillow

from chambit.core import study as studies
from chambit.core.errors import InputError, StudyError
from chambit.core.store import Store
from chambit.core.study import Files
from chambit.prepare.intake import Rules, Source, files
from chambit.prepare.joining import of_file, refused
from chambit.prepare.listing import natural
from imagefiles import SHARED, dicom, picture, save, write_csv
from test_intake import Counts, Dies, Taken


def film(path: Path, numbers: list[int], **tags: Any) -> Path:
    """A DICOM film of drawn pictures; number -1 is a blank frame."""
    frames = np.stack([picture(number) if number >= 0 else np.zeros((16, 12), np.uint8) for number in numbers])
    return dicom(path, frames[0], NumberOfFrames=len(frames), PixelData=frames.tobytes(), **tags)


def accounts(taken: Taken) -> dict[str, int]:
    """What was found and how it ended."""
    told: dict[str, int] = taken.images.store.get_json(taken.digests["accounts"])
    return told


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """Two single pictures, a film of four frames (one blank), a TIFF of three pages."""
    save(tmp_path / "in/ill/a.png", picture(1))
    save(tmp_path / "in/well/b.png", picture(2))
    film(tmp_path / "in/ill/film.dcm", [10, 11, -1, 13])
    pages = [Pillow.fromarray(picture(number)) for number in (20, 21, 22)]
    pages[0].save(tmp_path / "in/well/pages.tif", save_all=True, append_images=pages[1:])
    return tmp_path / "in"


# --- frames


def test_without_a_rule_files_with_several_images_are_refused_and_the_key_is_named(mixed: Path, tmp_path: Path) -> None:
    taken = Taken(tmp_path / "work", Source(mixed))
    assert taken.refused == {"ill/film.dcm": "holds 4 frames", "well/pages.tif": "holds 3 frames"}
    rows = taken.images.store.get_table(taken.digests["refused"])
    assert all("`frames`" in remedy for remedy in rows["remedy"])
    assert accounts(taken) == {
        "files": 4, "files_accepted": 2, "files_set_aside": 2, "images": 4, "images_accepted": 2, "images_set_aside": 2,
    }  # fmt: skip
    assert "frame" not in taken.table.columns


@pytest.mark.parametrize(("rule", "dicom_frame", "page"), [("first", 0, 0), ("middle", 2, 1)])
def test_one_frame_of_each(mixed: Path, tmp_path: Path, rule: Any, dicom_frame: int, page: int) -> None:
    film(mixed / "ill/film.dcm", [10, 11, 12, 13])
    taken = Taken(tmp_path / "work", Source(mixed), Rules(frames=rule))
    assert taken.refused == {}
    names = ["ill/a.png", f"ill/film.dcm[{dicom_frame}]", "well/b.png", f"well/pages.tif[{page}]"]
    assert taken.table["file"].to_list() == names
    assert np.array_equal(taken.images.grey()[1], picture(10 + dicom_frame) / np.float32(255))
    assert np.array_equal(taken.images.grey()[3], picture(20 + page) / np.float32(255))
    assert taken.table["frame"].to_list() == ["", str(dicom_frame), "", str(page)]


def test_all_frames_are_of_one_subject_and_a_blank_one_is_set_aside_by_name(mixed: Path, tmp_path: Path) -> None:
    taken = Taken(tmp_path / "work", Source(mixed), Rules(frames="all"))
    assert taken.refused == {"ill/film.dcm[2]": "blank: every pixel is 0"}
    table = taken.table
    pages = table.filter(pl.col("file").str.starts_with("well/pages.tif"))
    assert pages["file"].to_list() == [f"well/pages.tif[{number}]" for number in range(3)]
    assert pages["subject"].to_list() == [pages["id"][0]] * 3  # nobody says who it is: the first frame's id
    assert not pages["subject_known"].any()
    shown = table.filter(pl.col("file").str.starts_with("ill/film.dcm"))
    assert set(shown["subject"]) == {"P-17"}
    assert shown["frame"].to_list() == ["0", "1", "3"]
    assert set(pages["label"]) == {"well"}
    assert len(table) == 2 + 3 + 3
    assert accounts(taken) == {
        "files": 4, "files_accepted": 4, "files_set_aside": 0, "images": 9, "images_accepted": 8, "images_set_aside": 1,
    }  # fmt: skip


def test_a_film_that_breaks_off_is_set_aside_as_a_whole(mixed: Path, tmp_path: Path) -> None:
    data = pydicom.dcmread(film(mixed / "ill/film.dcm", [10, 11, 12, 13]))
    data.compress(pydicom.uid.RLELossless)
    frames = list(pydicom.encaps.generate_frames(data.PixelData, number_of_frames=4))
    data.PixelData = pydicom.encaps.encapsulate([*frames[:3], frames[3][:70]])
    data.save_as(mixed / "ill/film.dcm")
    taken = Taken(tmp_path / "work", Source(mixed), Rules(frames="all"))
    assert list(taken.refused) == ["ill/film.dcm"]
    assert "truncated" in taken.refused["ill/film.dcm"]
    assert not any("film" in name for name in taken.table["file"])
    assert accounts(taken)["files_set_aside"] == 1


def test_one_reason_for_all_frames_is_told_once(mixed: Path, tmp_path: Path) -> None:
    wide = np.stack([picture(number, (16, 40)) for number in range(3)])
    dicom(mixed / "ill/wide.dcm", wide[0], NumberOfFrames=3, PixelData=wide.tobytes())
    taken = Taken(tmp_path / "work", Source(mixed), Rules(size=(16, 12), frames="all"))
    assert "all 3 images: wrong size: 16 x 40" in taken.refused["ill/wide.dcm"]
    assert accounts(taken)["files_set_aside"] == 1


@given(st.lists(st.sampled_from(["", "blank", "wrong size"]), min_size=1, max_size=8))
def test_a_file_is_told_once_or_image_by_image(reasons: list[str]) -> None:
    records = [
        refused(f"f[{at}]", why, "x") if why else {"file": f"f[{at}]", "state": "accepted"}
        for at, why in enumerate(reasons)
    ]
    told = of_file("f", records)
    assert {record["of"] for record in told} == {"f"}
    assert sum(record["state"] == "accepted" for record in told) == reasons.count("")
    once = len(reasons) > 1 and len(set(reasons)) == 1 and "" not in reasons
    assert [record["file"] for record in told] == (["f"] if once else [f"f[{at}]" for at in range(len(reasons))])


def test_a_mask_is_not_spread_over_a_film(mixed: Path, tmp_path: Path) -> None:
    save(mixed / "ill/film.mask.png", picture(90))
    taken = Taken(tmp_path / "work", Source(mixed), Rules(frames="all"))
    assert "one mask" in taken.refused["ill/film.dcm"]
    first = Taken(tmp_path / "first", Source(mixed), Rules(frames="first"))
    assert first.table.filter(file="ill/film.dcm[0]")["mask"].to_list() == ["ill/film.mask.png"]


def test_the_labels_file_speaks_of_the_whole_film(mixed: Path, tmp_path: Path) -> None:
    names = ["ill/a.png", "well/b.png", "ill/film.dcm", "well/pages.tif"]
    table = write_csv(tmp_path / "l.csv", [[name, f"s{at}", "x"] for at, name in enumerate(names)])
    taken = Taken(tmp_path / "work", Source(mixed, labels=table), Rules(frames="all"))
    subjects = dict(taken.table.select("file", "subject").rows())
    assert {subjects[f"well/pages.tif[{number}]"] for number in range(3)} == {"s3"}
    assert {subjects[f"ill/film.dcm[{number}]"] for number in (0, 1, 3)} == {"s2"}


def test_more_frames_than_a_block_and_a_killed_run(tmp_path: Path) -> None:
    for number in range(40):
        film(tmp_path / f"in/{number}.dcm", list(range(number * 20, number * 20 + 20)), PatientID=f"P{number}")
    whole = Taken(tmp_path / "whole", Source(tmp_path / "in"), Rules(frames="all"))
    assert len(whole.table) == 800
    assert whole.table["block"].n_unique() == 4  # chunks of 32 and 8 films: 640 and 160 frames
    expected = np.stack([picture(int(n.split(".")[0]) * 20 + int(n.split("[")[1][:-1])) for n in whole.table["file"]])
    assert np.array_equal(whole.images.grey(), expected / np.float32(255))
    with pytest.raises(KeyboardInterrupt):
        Taken(tmp_path / "work", Source(tmp_path / "in"), Rules(frames="all"), engine=Dies())
    engine = Counts()
    again = Taken(tmp_path / "work", Source(tmp_path / "in"), Rules(frames="all"), engine=engine)
    assert again.digests == whole.digests
    assert engine.given == ["00000032"]


# --- colour


def test_colour_becomes_its_luminance_where_that_is_the_rule(tmp_path: Path) -> None:
    rgb = np.random.default_rng(1).integers(0, 256, (4, 16, 12, 3), np.uint8)
    for number, pixels in enumerate(rgb):
        save(tmp_path / f"in/{number}.png", pixels)
    with pytest.raises(InputError, match="is taken as grey") as caught:
        Taken(tmp_path / "no", Source(tmp_path / "in"))
    assert "`colour: grey`" in str(caught.value)
    save(tmp_path / "in/9.png", picture(9))
    taken = Taken(tmp_path / "yes", Source(tmp_path / "in"), Rules(colour="grey"))
    luminance = np.rint(rgb @ np.array([0.299, 0.587, 0.114]))
    assert np.array_equal(taken.images.grey()[:4], (luminance / 255).astype(np.float32))
    rows = Store(tmp_path / "yes").get_json(taken.digests["intensities"])
    assert {row["shown"]: row["images"] for row in rows} == {"whole range": 1, "whole range, luminance": 4}


# --- folders that are subjects


def test_folders_are_subjects_and_positions_follow_numbers(tmp_path: Path) -> None:
    for name in ("good/e1/frame_2", "good/e1/frame_10", "good/e1/frame_9", "poor/e2/1", "poor/e2/late/2", "poor/e1/1"):
        save(tmp_path / f"in/{name}.png", picture(len(name) + sum(map(ord, name))))
    save(tmp_path / "in/poor/loose.png", picture(3))
    taken = Taken(tmp_path / "work", Source(tmp_path / "in", subjects="folder"))
    assert taken.refused == {"poor/loose.png": "lies in no folder of a subject"}
    rows = taken.table.select("file", "subject", "frame", "label").rows()
    assert rows == [
        ("good/e1/frame_2.png", "e1", "0", "good"),
        ("good/e1/frame_9.png", "e1", "1", "good"),
        ("good/e1/frame_10.png", "e1", "2", "good"),
        ("poor/e1/1.png", "e1", "0", "poor"),
        ("poor/e2/1.png", "e2", "0", "poor"),
        ("poor/e2/late/2.png", "e2", "1", "poor"),
    ]
    assert taken.table["subject_known"].all()
    assert accounts(taken)["files"] == 7


def test_folders_and_a_labels_file_contradict_each_other(tmp_path: Path) -> None:
    save(tmp_path / "in/a/s/1.png", picture(1))
    write_csv(tmp_path / "in/labels.csv", [["a/s/1.png", "s", "a"]])
    with pytest.raises(InputError, match="names subjects itself"):
        files(Source(tmp_path / "in", subjects="folder"))


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=9, unique=True))
def test_natural_order_is_that_of_the_numbers(numbers: list[int]) -> None:
    names = [f"day/t{number}.png" for number in sorted(numbers)]
    assert sorted(sorted(names), key=natural) == names


def test_the_data_of_a_mirax_slide_lie_beside_it(tmp_path: Path) -> None:
    save(tmp_path / "in/1.png", picture(1))
    save(tmp_path / "in/x.jpg", picture(2)).rename(tmp_path / "in/x.mrxs")
    (tmp_path / "in/x").mkdir()
    (tmp_path / "in/x/Data0001.dat").write_bytes(b"pixels")
    assert [entry.name for entry in files(Source(tmp_path / "in"))] == ["1.png", "x.mrxs"]


# --- the study


def test_keys_of_the_study_are_checked(tmp_path: Path) -> None:
    assert Files(path=Path("x")).model_dump(include={"frames", "colour", "subjects"}) == {
        "frames": "refuse",
        "colour": "refuse",
        "subjects": "file",
    }
    text = {
        "chambit": 1,
        "title": "t",
        "source": {"kind": "public"},
        "cohort": {"files": {"path": "x", "frames": "last", "colour": "red", "subjects": "day"}},
        "recipe": {"train": {"flow": {}}},
    }
    (tmp_path / "s.yaml").write_text(json.dumps(text))
    with pytest.raises(StudyError) as caught:
        studies.load(tmp_path / "s.yaml")
    told = str(caught.value)
    assert all(f"cohort.files.{key}" in told for key in ("frames", "colour", "subjects"))


# --- real files


def test_real_radiographs_and_volume(tmp_path: Path) -> None:
    radiographs, volume = SHARED / "covid_cxr_permissive_512/images", SHARED / "ct_cranium/cranium_ct.nii.gz"
    if not radiographs.is_dir() or not volume.is_file():
        pytest.skip(f"the shared data sets are not here ({SHARED})")
    taken = Taken(tmp_path / "cxr", Source(radiographs), Rules((64, 64), resize=True, colour="grey"))
    told = accounts(taken)
    assert told["files"] == told["files_accepted"] + told["files_set_aside"] == 113
    assert told["files_accepted"] >= 110
    head = Taken(tmp_path / "ct", Source(volume), Rules((64, 64), resize=True, frames="all"))
    assert accounts(head)["images"] == 108
    assert head.table["subject"].n_unique() == 1
    middle = Taken(tmp_path / "middle", Source(volume), Rules((64, 64), resize=True, frames="middle"))
    assert middle.table["file"].to_list() == ["cranium_ct.nii.gz[54]"]


def test_real_samples_of_generators_all_end_somewhere(tmp_path: Path) -> None:
    folder = SHARED / "medigan_samples/samples"
    if not folder.is_dir():
        pytest.skip(f"the shared data set is not here ({folder})")
    taken = Taken(tmp_path / "work", Source(folder), Rules((64, 64), resize=True, frames="all", colour="grey"))
    told = accounts(taken)
    assert told["files"] == told["files_accepted"] + told["files_set_aside"]
    assert told["images"] == told["images_accepted"] + told["images_set_aside"]
