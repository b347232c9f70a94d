"""Intake: every file ends as accepted or refused with a reason; the same files give the same digests."""

import csv
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pydicom
import pytest
from PIL import Image as Pillow

from chambit.core import steps
from chambit.core.engines.inline import Engine
from chambit.core.errors import InputError
from chambit.core.store import Store
from chambit.images.imageset import COLUMNS, ImageSet
from chambit.prepare.intake import Rules, Source, check_classes, files, inputs_digest, survey, take_in
from imagefiles import SHARED, dicom, picture, save, six, write_csv


class Taken:
    """One run of the intake step in a work folder."""

    def __init__(self, work: Path, source: Source, rules: Rules = Rules(), engine: Any = None) -> None:  # noqa: B008
        notes: list[str] = []
        step = steps.Step(
            "intake",
            "1",
            {"size": rules.size, "resize": rules.resize},
            {"files": inputs_digest(source)},
            lambda context: take_in(context, source, rules, prefix="real-"),
            seed=7,
        )
        shop = steps.Workshop.at(work, engine or Engine(), lambda event: notes.append(event.note))
        try:
            self.digests = shop.run(step)
        finally:
            shop.close()
        self.notes = [note for note in notes if note]
        self.table: pl.DataFrame = shop.store.get_table(self.digests["images"])
        self.refused: dict[str, str] = {}
        for file, reason, remedy in shop.store.get_table(self.digests["refused"]).rows():
            assert file not in self.refused
            assert remedy
            self.refused[file] = reason
        self.images = ImageSet(shop.store, self.table)


@pytest.fixture
def cohort(tmp_path: Path) -> Path:
    """Six pictures of three subjects, two classes, with a labels file."""
    return six(tmp_path)


# --- what is accepted


def test_folder_with_labels(cohort: Path, tmp_path: Path) -> None:
    save(cohort / "0.mask.png", picture(90))
    (cohort / "README.md").write_text("hello")
    (cohort / ".hidden").write_text("x")
    taken = Taken(tmp_path / "work", Source(cohort, class_names={"ill": "pneumonia"}))
    assert taken.refused == {}
    assert taken.table.columns == [*COLUMNS, "file", "bits", "subject_known", "mask", "sex"]
    assert taken.table["id"].to_list() == [f"real-{n:06d}" for n in range(6)]
    assert taken.table["file"].to_list() == [f"{n}.png" for n in range(6)]
    assert taken.table["label"].to_list() == ["pneumonia"] * 3 + ["well"] * 3
    assert taken.table["subject"].to_list() == ["s0", "s0", "s1", "s1", "s2", "s2"]
    assert taken.table["subject_known"].all()
    assert taken.table["mask"].to_list() == ["0.mask.png", *[""] * 5]
    assert taken.table["bits"].to_list() == [8] * 6
    for number, grey in enumerate(taken.images.grey()):
        assert np.array_equal(grey, picture(number) / np.float32(255))
    assert any("4 files beside" in note for note in taken.notes)


def test_folders_are_classes_where_nothing_else_is_said(tmp_path: Path) -> None:
    for number in range(4):
        save(tmp_path / "in" / ("a" if number < 2 else "b/c") / f"{number}.png", picture(number))
    taken = Taken(tmp_path / "work", Source(tmp_path / "in"))
    assert taken.table["label"].to_list() == ["a", "a", "b", "b"]
    # each file is a subject of its own, called by its id: another folder may have files of the same names
    assert taken.table["subject"].to_list() == taken.table["id"].to_list()
    assert not taken.table["subject_known"].any()


def test_dicom_tells_its_patient_unless_the_labels_do(tmp_path: Path) -> None:
    for number in range(3):
        dicom(tmp_path / f"in/ill/{number}", picture(number))
    taken = Taken(tmp_path / "one", Source(tmp_path / "in"))
    assert set(taken.table["subject"]) == {"P-17"}
    assert taken.table["subject_known"].all()
    assert set(taken.table["sex"]) == {"F"}
    write_csv(tmp_path / "l.csv", [[f"{n}", f"s{n}", "ill", "M"] for n in range(3)], "file,subject,label,sex")
    taken = Taken(tmp_path / "two", Source(tmp_path / "in", labels=tmp_path / "l.csv"))
    assert taken.table["subject"].to_list() == ["s0", "s1", "s2"]
    assert set(taken.table["sex"]) == {"M"}


def test_containers_of_one_picture_are_copies_and_depth_is_joined(tmp_path: Path) -> None:
    save(tmp_path / "in/a8.png", picture(1))
    save(tmp_path / "in/b16.png", picture(1).astype(np.uint16) * 257)
    dicom(tmp_path / "in/c12", picture(2).astype(np.uint16) * 16, bits=12)
    save(tmp_path / "in/d8.png", picture(3))
    taken = Taken(tmp_path / "work", Source(tmp_path / "in"))
    assert taken.refused == {"b16.png": "exact copy of a8.png (same pixels), under another subject"}
    assert taken.table["bits"].to_list() == [8, 12, 8]
    grey = taken.images.grey()
    assert grey[0] == pytest.approx(picture(1) / 255, abs=1e-7)
    assert grey[1] == pytest.approx(picture(2) * 16.0 / 4095, abs=1e-5)
    block = next(taken.images.blocks())[1]
    assert block.dtype == np.uint16


def test_single_image_and_npz(tmp_path: Path) -> None:
    save(tmp_path / "x.png", picture(1))
    assert len(Taken(tmp_path / "one", Source(tmp_path / "x.png")).table) == 1
    stack = np.stack([picture(n) for n in range(300)])
    answers = np.arange(300) % 2
    np.savez_compressed(
        tmp_path / "x.npz", train_images=stack, train_labels=answers, val_images=stack[:1], val_labels=[1]
    )
    source = Source(tmp_path / "x.npz", part="train", class_names={"0": "normal"})
    taken = Taken(tmp_path / "two", source)
    assert taken.table["file"].to_list() == [f"train[{n}]" for n in range(300)]
    assert taken.table["label"].to_list()[:3] == ["normal", "1", "normal"]
    assert np.array_equal(taken.images.grey(), stack.astype(np.float32) / np.float32(255))
    both = Taken(tmp_path / "three", Source(tmp_path / "x.npz"))
    assert "same pixels as val[0], but labelled '0', the other '1'" in both.refused["train[0]"]
    assert "same pixels as train[0]" in both.refused["val[0]"]
    with pytest.raises(InputError, match="train, val"):
        files(Source(tmp_path / "x.npz", part="test"))
    table = write_csv(tmp_path / "l.csv", [[f"train[{n}]", f"s{n // 3}", "x"] for n in range(300)])
    named = Taken(tmp_path / "four", Source(tmp_path / "x.npz", part="train", labels=table))
    assert named.table["subject"].n_unique() == 100


# --- sizes


def test_the_common_size_is_found_and_capped(tmp_path: Path) -> None:
    for number in range(3):
        save(tmp_path / f"in/{number}.png", picture(number, (256, 192)))
    save(tmp_path / "in/3.png", picture(3, (256, 200)))
    taken = Taken(tmp_path / "one", Source(tmp_path / "in"))
    assert taken.refused == {"3.png": "wrong size: 256 x 200 (rows x columns), not 256 x 192"}
    assert taken.images.grey().shape == (3, 128, 96)
    assert taken.images.grey()[0] == pytest.approx(
        picture(0, (256, 192)).reshape(128, 2, 96, 2).mean((1, 3)) / 255, abs=0.51 / 255
    )
    given = Taken(tmp_path / "two", Source(tmp_path / "in"), Rules(size=(32, 24), resize=True))
    assert given.refused == {}
    assert given.images.grey().shape == (4, 32, 24)


def test_resizing_does_not_depend_on_the_container(tmp_path: Path) -> None:
    save(tmp_path / "in/8.png", picture(1, (40, 30)))
    save(tmp_path / "in/16.png", picture(1, (40, 30)).astype(np.uint16) * 257)
    with pytest.raises(InputError, match="Every file was refused"):
        Taken(tmp_path / "one", Source(tmp_path / "in"), Rules(size=(16, 12)))
    grey = Taken(tmp_path / "two", Source(tmp_path / "in"), Rules(size=(16, 12), resize=True)).images.grey()
    assert grey[0] == pytest.approx(grey[1], abs=1 / 255)
    larger = Taken(tmp_path / "three", Source(tmp_path / "in"), Rules(size=(60, 50), resize=True))
    assert larger.images.grey().shape == (2, 60, 50)


# --- what is refused, one by one


def test_each_reason(cohort: Path, tmp_path: Path) -> None:
    colour = np.random.default_rng(1).integers(0, 256, (16, 12, 3), np.uint8)
    save(cohort / "colour.png", colour)
    save(cohort / "grey3.png", np.stack([picture(50)] * 3, axis=2))
    save(cohort / "black.png", np.zeros((16, 12), np.uint8))
    save(cohort / "copy.png", picture(0))
    save(cohort / "conflict.png", picture(5))
    save(cohort / "small.png", picture(51, (8, 8)))
    save(cohort / "twelve.png", picture(52).astype(np.uint16) * 16)
    (cohort / "empty.png").touch()
    (cohort / "text.png").write_text("not an image")
    whole = save(cohort / "half.png", picture(53)).read_bytes()
    (cohort / "half.png").write_bytes(whole[: len(whole) // 2])
    frames = [Pillow.fromarray(picture(n)) for n in (54, 55)]
    frames[0].save(cohort / "pages.tif", save_all=True, append_images=frames[1:])
    dicom(cohort / "frames.dcm", picture(56), NumberOfFrames=2, PixelData=picture(56).tobytes() * 2)
    dicom(cohort / "bare.dcm", picture(57))
    bare = pydicom.dcmread(cohort / "bare.dcm")
    del bare.PixelData
    bare.save_as(cohort / "bare.dcm")
    np.savez(cohort / "set.npz", images=np.stack([picture(58)]), labels=np.array([0]))
    rows = [[f"{n}.png", f"s{n // 2}", "ill" if n < 3 else "well"] for n in range(6)]
    named = [path.name for path in sorted(cohort.iterdir()) if path.stem not in (*"012345", "labels")]
    rows += [[name, f"x{name}", "ill"] for name in named]
    write_csv(cohort / "labels.csv", rows)
    save(cohort / "unnamed.png", picture(59))
    taken = Taken(tmp_path / "work", Source(cohort))
    expected = {
        "colour.png": "a colour image among grey ones",
        "black.png": "blank: every pixel is 0",
        "copy.png": "exact copy of 0.png (same pixels), under another subject",
        "conflict.png": "same pixels as 5.png, but labelled 'ill', the other 'well'",
        "5.png": "same pixels as conflict.png, but labelled 'well', the other 'ill'",
        "small.png": "wrong size: 8 x 8",
        "twelve.png": "16-bit file that uses only 12 bits",
        "empty.png": "the file is empty",
        "text.png": "not an image",
        "half.png": "damaged or truncated",
        "pages.tif": "2 frames",
        "frames.dcm": "2 frames",
        "bare.dcm": "holds no picture",
        "set.npz": "an archive of many images inside a folder",
        "unnamed.png": "the labels file does not name it",
    }
    assert set(taken.refused) == set(expected)
    for name, reason in expected.items():
        assert reason in taken.refused[name]
    assert set(taken.table["file"]) == {"0.png", "1.png", "2.png", "3.png", "4.png", "grey3.png"}
    assert not any(word in str(taken.refused) for word in ("P-17", "Hong"))
    listed = {entry.name for entry in files(Source(cohort))}
    assert listed == set(taken.refused) | set(taken.table["file"])


def test_colour_cohort_is_refused_as_a_whole(cohort: Path, tmp_path: Path) -> None:
    for number in range(7):
        rgb = np.random.default_rng(number).integers(0, 256, (16, 12, 3), np.uint8)
        save(cohort / f"c{number}.png", rgb)
    (cohort / "labels.csv").unlink()
    with pytest.raises(InputError, match="Most images are coloured") as caught:
        Taken(tmp_path / "work", Source(cohort))
    assert "7 of 13" in str(caught.value)


def test_nothing_readable(tmp_path: Path) -> None:
    for number in range(30):
        whole = save(tmp_path / f"in/{number:02d}.png", picture(number)).read_bytes()
        (tmp_path / f"in/{number:02d}.png").write_bytes(whole[:60])
    with pytest.raises(InputError, match="None of the files can be read") as caught:
        Taken(tmp_path / "work", Source(tmp_path / "in"))
    assert len(caught.value.problems) == 21
    assert "and 10 more" in caught.value.problems[-1].what


def test_check_classes() -> None:
    table = pl.DataFrame({"label": ["a", "a", "b", ""]})
    found = [str(problem) for problem in check_classes(table, 2)]
    assert len(found) == 2
    assert "without a label" in found[0]
    assert "class 'b': 1 image accepted, at least 2 are needed" in found[1]
    assert check_classes(table, 1) == []


def test_masks_named_in_the_labels_file_lie_beside(cohort: Path, tmp_path: Path) -> None:
    save(cohort / "masks/0.png", picture(80))
    write_csv(cohort / "labels.csv", [["./0.png", "s", "x", "masks/0.png"]], "file,subject,label,mask")
    found = survey(Source(cohort))
    assert found.beside == 2
    assert {entry.name for entry in found.entries if not entry.refused} == {"0.png"}
    assert Taken(tmp_path / "work", Source(cohort)).table["mask"].to_list() == ["masks/0.png"]


def test_links_in_a_circle_and_names_that_are_not_text(cohort: Path, tmp_path: Path) -> None:
    (cohort / "loop").symlink_to(cohort, target_is_directory=True)
    (cohort / "dead.png").symlink_to(tmp_path / "nowhere.png")
    (cohort / "labels.csv").unlink()
    odd = bytes(cohort) + b"/\xb0\xa1.png"
    shutil.copy(cohort / "0.png", odd)
    taken = Taken(tmp_path / "work", Source(cohort))
    assert set(taken.refused) == {"dead.png", r"\xb0\xa1.png"}


# --- steps: same digests whatever the order, the interruption, the engine


def test_the_order_of_lines_changes_nothing(cohort: Path, tmp_path: Path) -> None:
    first = Taken(tmp_path / "one", Source(cohort))
    before = inputs_digest(Source(cohort))
    lines = (cohort / "labels.csv").read_text().splitlines()
    (cohort / "labels.csv").write_text("\n".join([lines[0], *reversed(lines[1:])]))
    assert inputs_digest(Source(cohort)) == before
    assert Taken(tmp_path / "two", Source(cohort)).digests == first.digests
    (cohort / "labels.csv").write_text("\n".join(lines).replace("well", "fine"))
    assert inputs_digest(Source(cohort)) != before


def test_a_changed_folder_is_another_input(cohort: Path) -> None:
    before = inputs_digest(Source(cohort))
    assert inputs_digest(Source(cohort)) == before
    save(cohort / "7.png", picture(7))
    changed = inputs_digest(Source(cohort))
    assert changed != before
    save(cohort / "7.png", picture(7, (30, 30)))
    assert inputs_digest(Source(cohort)) != changed


class Dies(Engine):
    """An engine that is killed after the first chunk."""

    def map(self, work: Any, tasks: Mapping[str, Any], root: Path) -> Iterator[tuple[str, str]]:
        """Yield one result, then die."""
        yield next(iter(super().map(work, tasks, root)))
        raise KeyboardInterrupt


class Counts(Engine):
    """An engine that notes which chunks it was given."""

    given: list[str]

    def map(self, work: Any, tasks: Mapping[str, Any], root: Path) -> Iterator[tuple[str, str]]:
        """Note the keys, then work."""
        self.given = list(tasks)
        return super().map(work, tasks, root)


@pytest.mark.parametrize("packed", [False, True])
def test_a_killed_intake_goes_on_where_it_was(tmp_path: Path, packed: bool) -> None:
    if packed:
        stack = np.stack([picture(n, (8, 8)) for n in range(600)])
        np.savez(tmp_path / "x.npz", images=stack, labels=np.zeros(600, int))
        source = Source(tmp_path / "x.npz")
    else:
        for number in range(300):
            save(tmp_path / f"in/{number:03d}.png", picture(number, (8, 8)))
        source = Source(tmp_path / "in")
    whole = Taken(tmp_path / "whole", source)
    with pytest.raises(KeyboardInterrupt):
        Taken(tmp_path / "work", source, engine=Dies())
    engine = Counts()
    assert Taken(tmp_path / "work", source, engine=engine).digests == whole.digests
    assert engine.given == ["00000256", "00000512"][: 2 if packed else 1]


def test_digests_do_not_depend_on_where_the_folder_is(cohort: Path, tmp_path: Path) -> None:
    (cohort / "labels.csv").unlink()
    (cohort / "bad.png").write_bytes(b"bad")
    first = Taken(tmp_path / "one", Source(cohort))
    shutil.copytree(cohort, tmp_path / "elsewhere/in2")
    again = Source(tmp_path / "elsewhere/in2")
    assert inputs_digest(again) == inputs_digest(Source(cohort))
    assert Taken(tmp_path / "two", again).digests == first.digests


# --- real data


def test_real_radiographs_by_patient(tmp_path: Path) -> None:
    folder = SHARED / "covid_cxr_permissive_512"
    if not folder.is_dir():
        pytest.skip(f"the shared data set is not here ({folder})")
    with (folder / "metadata.csv").open(encoding="utf-8") as file:
        rows = [[r["file"], r["patientid"], r["finding"], r["view"], r["sex"]] for r in csv.DictReader(file)]
    table = write_csv(tmp_path / "l.csv", rows[:40], "file,subject,label,view,sex")
    source = Source(folder / "images", labels=table)
    taken = Taken(tmp_path / "work", source, Rules(size=(32, 32), resize=True))
    assert len(taken.table) + len(taken.refused) == len(files(source))
    assert len(taken.table) >= 30
    assert taken.table["subject"].n_unique() == len({r[1] for r in rows[:40] if r[0] in set(taken.table["file"])})


def test_real_npz_and_its_copies(tmp_path: Path) -> None:
    path = SHARED / "pneumoniamnist28" / "pneumoniamnist.npz"
    if not path.is_file():
        pytest.skip(f"the shared data set is not here ({path})")
    with np.load(path) as archive:
        pixels = archive["train_images"]
    alone = len({image.tobytes() for image in pixels})
    taken = Taken(tmp_path / "work", Source(path, part="train", class_names={"0": "normal", "1": "pneumonia"}))
    assert len(taken.table) == alone
    assert len(taken.refused) == len(pixels) - alone
    assert set(taken.table["label"]) == {"normal", "pneumonia"}
    assert Store(tmp_path / "work").complete(taken.digests)
