"""The listing and its labels file: every fault with its line, all at once, before a pixel is read."""

import unicodedata
from pathlib import Path

import pytest

from chambit.core.errors import InputError
from chambit.prepare import labels
from chambit.prepare.intake import Source, files
from imagefiles import picture, save, six, write_csv


@pytest.fixture
def cohort(tmp_path: Path) -> Path:
    """Six pictures of three subjects, two classes, with a labels file."""
    return six(tmp_path)


def problems(source: Source) -> list[str]:
    """What stops a source, as `where: what`; each with a remedy unless it only counts the rest."""
    with pytest.raises(InputError) as caught:
        files(source)
    for problem in caught.value.problems:
        assert problem.remedy or problem.what.startswith("and ")
    return [f"{problem.where}: {problem.what}" for problem in caught.value.problems]


def test_missing_empty_and_imageless_folders(tmp_path: Path) -> None:
    assert "no such file or folder" in problems(Source(tmp_path / "none"))[0]
    (tmp_path / "empty").mkdir()
    assert "holds no images" in problems(Source(tmp_path / "empty"))[0]
    (tmp_path / "empty/a.doc").write_text("x")
    assert "none of its 1 files is an image" in problems(Source(tmp_path / "empty"))[0]
    assert "not an image" in problems(Source(tmp_path / "empty/a.doc"))[0]


def test_all_faults_of_the_labels_file_at_once(cohort: Path) -> None:
    rows = [["0.png", "s0", "ill", "train"], ["1.png", "s0", "ill", "test"], ["2.png", "", "ill", "train"]]
    rows += [["3.png", "s1", "", "train"], ["3.png", "s1", "well", "train"], ["4.png", "s2", "well", "dev"]]
    rows += [["9.png", "s3", "well", "train"], ["5.png", "s4"]]
    write_csv(cohort / "labels.csv", rows, "file,subject,label,split")
    found = problems(Source(cohort))
    assert found == [
        "labels.csv, line 9: 2 cells where the first line names 4 columns",
        "labels.csv, line 4: subject is empty",
        "labels.csv, line 5: label is empty",
        "labels.csv, line 7: split is 'dev'",
        "labels.csv, line 3: subject s0 is in 'train' (line 2) and in 'test' (line 3)",
        "labels.csv, line 8: '9.png' is not among the images",
        "labels.csv, line 6: '3.png' is named again (first on line 5)",
    ]


def test_at_most_twenty_missing_files_are_shown(cohort: Path) -> None:
    write_csv(cohort / "labels.csv", [[f"m{n}.png", "s", "x"] for n in range(50)])
    found = problems(Source(cohort))
    assert len(found) == 21
    assert "line 2: 'm0.png'" in found[0]
    assert found[-1] == "labels.csv: and 30 more of this kind"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b"file;subject;label\n0.png;a;b\n", "line 1: lacks the column file, subject, label"),
        (b"file,label\n0.png,a\n", "line 1: lacks the column subject"),
        (b"file,subject,label,sha256\n", "line 1: a column cannot be called 'sha256'"),
        (b"file,subject,label,sex,sex\n", "line 1: names the column 'sex' twice"),
        ("file,subject,label\n0.png,환자,정상\n".encode("cp949"), "is not UTF-8"),
        (b'file,subject,label\n"0.png,a,b\n', "is not CSV"),
        (b"file,subject,label,mask\n0.png,a,b,m.png\n", "the mask 'm.png' does not exist"),
        (b"file,subject,label,layout\n0.png,a,b,m.png\n", "the layout 'm.png' does not exist"),
    ],
)
def test_unusable_labels_files(cohort: Path, content: bytes, reason: str) -> None:
    (cohort / "labels.csv").write_bytes(content)
    assert any(reason in problem for problem in problems(Source(cohort)))


def test_missing_labels_file_and_part_of_a_folder(cohort: Path) -> None:
    assert "cannot be opened" in problems(Source(cohort, labels=cohort / "none.csv"))[0]
    assert "only for an .npz" in problems(Source(cohort, part="train"))[0]


def test_names_match_across_systems(tmp_path: Path) -> None:
    save(tmp_path / "in/a" / unicodedata.normalize("NFD", "정상.png"), picture(1))  # as macOS spells it
    save(tmp_path / "in/b/2.png", picture(2))
    save(tmp_path / "in/a/2.png", picture(3))
    rows = [["정상.png", "s1", "x"], ["b\\2.png", "s2", "x"], ["2.png", "s3", "x"]]
    write_csv(tmp_path / "in/labels.csv", rows)
    assert problems(Source(tmp_path / "in")) == ["labels.csv, line 4: 2 files are called '2.png'"]
    write_csv(tmp_path / "in/labels.csv", [*rows[:2], ["./a/2.png", "s3", "x"]])
    assert [entry.subject for entry in files(Source(tmp_path / "in"))] == ["s3", "s1", "s2"]
    assert labels.plain("a\\b.png") == "a/b.png"


def test_bom_blank_lines_and_line_numbers_of_long_cells(cohort: Path) -> None:
    text = '\ufefffile,subject,label,note\r\n\r\n0.png,s,x,"two\r\nlines"\r\n1.png,,x,\r\n'
    (cohort / "labels.csv").write_bytes(text.encode())
    assert problems(Source(cohort)) == ["labels.csv, line 5: subject is empty"]
