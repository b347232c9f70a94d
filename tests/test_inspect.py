"""`chambit inspect`: known faults give exactly their deviations, and whoever runs it again gets the same bytes."""

import csv
import json
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from click.testing import CliRunner, Result

from chambit.commands.inspect import command
from chambit.core import digest
from chambit.core.errors import InputError
from chambit.pipeline import inspecting
from chambit.prepare import contract as contracts
from chambit.prepare import delivery
from chambit.report import inspection as page
from imagefiles import dicom, png, save, write_csv

ROOT = Path(__file__).resolve().parents[1]
PRODUCTS = ("inspection.html", "inspection.json", "files.csv")
TERMS: dict[str, Any] = {
    "chambit_contract": 1,
    "title": "A set",
    "number": "N-1",
    "supplier": "S",
    "date": "2025-04-01",
    "deliver": {
        "count": {"exactly": 24, "clause": "24 images"},
        "by": {"class": {"normal": {"at_least": 12}, "ill": {"at_least": 8}, "rare": {"at_least": 4}}},
        "formats": {"allowed": ["PNG"], "endings": True},
        "size": {"exactly": [16, 12]},
        "bits": {"allowed": [8]},
        "colour": {"allowed": "grey"},
        "duplicates": {"at_most_share": 0},
        "unreadable": {"at_most_share": 0},
        "labels": {"columns": ["file", "subject", "label"], "missing_at_most_share": 0},
        "subjects": {"at_least": 8, "images_each_at_most": 3},
        "names": {"pattern": r"s\d\d\.png", "unique": True},
    },
}


def _terms(path: Path, **changes: Any) -> Path:
    """A contract with some keys of `deliver` replaced (None removes one), and `label_inspection` where it is given."""
    deliver = {key: value for key, value in (TERMS["deliver"] | changes).items() if value is not None}
    sampled = deliver.pop("label_inspection", None)
    content = TERMS | {"deliver": deliver} | ({"label_inspection": sampled} if sampled else {})
    path.write_text(yaml.safe_dump(content, allow_unicode=True, sort_keys=False), encoding="utf-8")
    return path


def _picture(number: int) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 255, (16, 12), np.uint8)


def _delivered(folder: Path, files: int = 24, order: int = 1) -> Path:
    """What the contract asks for: 12 normal, 8 ill, 4 rare images of 8 subjects; `order` is that of writing."""
    rows = []
    for k in range(files)[::order]:
        save(folder / f"s{k:02d}.png", _picture(k))
        rows.append([f"s{k:02d}.png", f"P{k // 3}", "normal" if k < 12 else "ill" if k < 20 else "rare"])
    write_csv(folder / "labels.csv", sorted(rows))
    return folder


def _said(*arguments: str | Path) -> Result:
    return CliRunner().invoke(command, [*map(str, arguments), *(["--engine", "inline"] if len(arguments) > 3 else [])])


def _lines(out: Path) -> dict[tuple[str, str], Mapping[str, Any]]:
    told = json.loads((out / "inspection.json").read_bytes())
    return {(line["criterion"], line["item"]): line for line in told["lines"]}


def test_a_delivery_as_contracted_is_met(tmp_path: Path) -> None:
    said = _said(_terms(tmp_path / "c.yaml"), _delivered(tmp_path / "in"), "--gate", "--out", tmp_path / "out")
    assert said.exit_code == 0, said.output
    assert {line["outcome"] for line in _lines(tmp_path / "out").values()} == {"met"}
    assert "계약대로 납품됨" in (tmp_path / "out/inspection.html").read_text(encoding="utf-8")


def test_known_faults_give_exactly_their_deviations(tmp_path: Path) -> None:
    folder = _delivered(tmp_path / "in", 20)  # the rare class is missing: 4 of 24
    save(folder / "s01.png", _picture(0))  # a copy of s00
    save(folder / "s02.png", _picture(2)[:9])  # another size
    (folder / "s03.png").write_text("this is no picture")
    save(folder / "s04.bmp", _picture(4)).replace(folder / "s04.png")
    save(folder / "s05.png", np.dstack([_picture(5), _picture(6), _picture(7)]))
    save(folder / "s06.png", _picture(6).astype(np.uint16) * 200)
    (folder / "s07.png").rename(folder / "S7.png")  # the labels still say s07
    said = _said(_terms(tmp_path / "c.yaml"), folder, "--gate", "--out", tmp_path / "out")
    assert said.exit_code == 1
    found = {
        place: (line["delivered"], line["deviation"], line["outcome"])
        for place, line in _lines(tmp_path / "out").items()
    }
    assert found == {
        ("count", ""): (19, -5, "not met"),
        ("by", "normal"): (10, -2, "not met"),  # s03 cannot be read, s07 has another name
        ("by", "ill"): (8, 0, "met"),
        ("by", "rare"): (0, -4, "not met"),
        ("format", ""): (18, 1, "not met"),
        ("ending", ""): (18, 1, "not met"),
        ("size", ""): (18, 1, "not met"),
        ("bits", ""): (18, 1, "not met"),
        ("colour", ""): (18, 1, "not met"),
        ("duplicates", ""): (1, 1, "not met"),
        ("unreadable", ""): (1, 1, "not met"),
        ("name", ""): (19, 1, "not met"),
        ("name again", ""): (20, 0, "met"),
        ("label columns", ""): (3, 0, "met"),
        ("label rows", ""): (19, 1, "not met"),
        ("label missing", ""): (1, 1, "not met"),
        ("subjects", ""): (7, -1, "cannot be told"),  # the file without a label may be an eighth person
        ("images each", ""): (3, 0, "cannot be told"),
    }
    with (tmp_path / "out/files.csv").open(encoding="utf-8-sig") as file:
        faults = {row["file"]: row["faults"] for row in csv.DictReader(file) if row["faults"]}
    assert faults == {
        "s01.png": "copy", "s02.png": "size", "s04.png": "format; ending", "s05.png": "colour", "s06.png": "bits",
        "S7.png": "name; label missing",
    }  # fmt: skip


def test_two_runs_are_equal_to_the_byte(tmp_path: Path) -> None:
    sampled = {"lots": "class", "plan": {"aql": 0.05, "producer_risk": 0.1, "ltpd": 0.3, "consumer_risk": 0.1}}
    terms = _terms(tmp_path / "c.yaml", label_inspection=sampled)
    _said(terms, _delivered(tmp_path / "a"), "--out", tmp_path / "one")
    other = _delivered(tmp_path / "elsewhere/b", order=-1)
    said = CliRunner().invoke(command, [str(terms), str(other), "--out", str(tmp_path / "two"), "--workers", "2"])
    assert said.exit_code == 0, said.output
    for name in (*PRODUCTS, "label_sample.csv"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    same = _said("--compare", tmp_path / "one/inspection.json", tmp_path / "two/inspection.json")
    assert (same.exit_code, "Equal" in same.output) == (0, True)
    save(other / "s11.png", _picture(11) // 2)  # one image with other pixels, of the same size and kind
    _said(terms, other, "--out", tmp_path / "three")
    differs = _said("--compare", tmp_path / "one/inspection.json", tmp_path / "three/inspection.json")
    assert (differs.exit_code, "digests.delivery" in differs.output) == (1, True)


def test_two_thousand_files_and_a_second_run_that_opens_none(tmp_path: Path) -> None:
    for k in range(2000):
        save(tmp_path / f"in/{'ab'[k % 2]}/{k:04d}.png", _picture(k))
    keep = {key: None for key in TERMS["deliver"] if key not in ("count", "duplicates", "size")}
    classes = {"class": {"a": {"exactly": 1000}, "b": {"exactly": 1000}}}
    terms = _terms(tmp_path / "c.yaml", **keep | {"count": {"exactly": 2000, "distinct": True}, "by": classes})
    began = time.perf_counter()
    said = _said(terms, tmp_path / "in", "--gate", "--out", tmp_path / "out")
    assert said.exit_code == 0, said.output
    assert time.perf_counter() - began < 60
    before = {name: (tmp_path / "out" / name).read_bytes() for name in PRODUCTS}
    again = _said(terms, tmp_path / "in", "--gate", "--out", tmp_path / "out")
    assert "done before" in again.output
    assert before == {name: (tmp_path / "out" / name).read_bytes() for name in PRODUCTS}


def test_one_picture_in_five_containers_is_one(tmp_path: Path) -> None:
    pixels = _picture(1)
    paths = [
        save(tmp_path / "a.png", pixels),
        save(tmp_path / "b.bmp", pixels),
        save(tmp_path / "c.png", np.dstack([pixels] * 3)),
        save(tmp_path / "d.png", pixels.astype(np.uint16) * 257),
        dicom(tmp_path / "e.dcm", pixels, BodyPartExamined="CHEST"),
        save(tmp_path / "f.png", pixels // 2),
    ]
    found = [delivery.facts(path.name, path) for path in paths]
    assert [row["pixels"] == found[0]["pixels"] for row in found] == [True] * 5 + [False]
    assert len({row["sha256"] for row in found}) == 6
    assert (found[4]["format"], found[4]["part"], found[4]["bits"]) == ("DICOM", "CHEST", 8)


@pytest.mark.parametrize(
    ("name", "agrees"), [("a.png", True), ("a.PNG", True), ("a.jpg", False), ("a", False), ("a.tar.png", True)]
)
def test_the_ending_of_a_name_is_held_against_the_content(tmp_path: Path, name: str, agrees: bool) -> None:
    assert delivery.facts(name, png(tmp_path / "x.png", _picture(0)).replace(tmp_path / name))["ending"] is agrees


@pytest.mark.parametrize(("least", "outcome"), [(1, "cannot be told"), (24, "cannot be told"), (25, "not met")])
def test_what_nothing_tells_is_not_guessed(tmp_path: Path, least: int, outcome: str) -> None:
    terms = _terms(tmp_path / "c.yaml", by={"modality": {"CR": {"at_least": least}}})
    _said(terms, _delivered(tmp_path / "in"), "--out", tmp_path / "out")  # PNG, and no column `modality`
    assert _lines(tmp_path / "out")["by", "CR"]["outcome"] == outcome


def test_shares_of_classes_and_a_list_of_checksums(tmp_path: Path) -> None:
    folder = _delivered(tmp_path / "in")
    agreed = {path.name: digest.of_file(path) for path in folder.glob("*.png")} | {"lost.png": "0" * 64}
    agreed["s05.png"] = "f" * 64
    (tmp_path / "sums").write_text("".join(f"{sha}  {name}\n" for name, sha in agreed.items()), encoding="utf-8")
    balance = {"percent": {"normal": 55, "ill": 30, "rare": 15}, "tolerance_points": 4}
    terms = _terms(tmp_path / "c.yaml", balance=balance, checksums={"file": "sums"})
    _said(terms, folder, "--out", tmp_path / "out")
    lines = _lines(tmp_path / "out")
    off = {item: round(line["deviation"], 6) for (kind, item), line in lines.items() if kind == "balance"}
    assert off == {"normal": -5, "ill": round(100 / 3 - 30, 6), "rare": round(100 / 6 - 15, 6)}
    assert [lines["balance", name]["outcome"] for name in off] == ["not met", "met", "met"]
    assert lines["checksums", ""]["told"] == {"missing": 1, "changed": 1, "extra": 0}


def test_the_sample_is_read_and_judged(tmp_path: Path) -> None:
    terms = _terms(tmp_path / "c.yaml", label_inspection={"lots": "whole", "fixed": {"sample": 10, "accept": 1}})
    folder, out = _delivered(tmp_path / "in"), tmp_path / "out"
    assert _said(terms, folder, "--gate", "--out", out).exit_code == 1  # nobody has read it yet
    assert _lines(out)["label accuracy", ""]["outcome"] == "cannot be told"
    sheet = list(csv.reader((out / "label_sample.csv").read_text(encoding="utf-8-sig").splitlines()))
    assert len(sheet) == 11
    for wrong, outcome in ((1, "met"), (2, "not met")):
        filled = [[*row[:2], "no" if at < wrong else "yes", "Dr A", ""] for at, row in enumerate(sheet[1:])]
        write_csv(out / "label_sample.csv", filled, ",".join(sheet[0]))  # filled in place
        said = _said(terms, folder, "--gate", "--out", out, "--labels-checked", out / "label_sample.csv")
        assert said.exit_code == (outcome != "met"), said.output
        line = _lines(out)["label accuracy", ""]
        assert (line["delivered"], line["outcome"], line["told"]["accuracy"]) == (wrong, outcome, 1 - wrong / 10)
        assert line["told"]["low"] < 1 - wrong / 10 < line["told"]["high"]
        assert "Dr A" in (out / "label_sample.csv").read_text(encoding="utf-8")  # the readers' work is still there
    said = _said(terms, folder, "--out", out, "--word", "another draw")
    assert "another sample" in str(said.exception)


def test_no_patient_in_any_product(tmp_path: Path) -> None:
    pixels = _picture(3)
    dicom(tmp_path / "in/a.dcm", pixels, PatientID="MRN4711042", PatientName="Hong^Gildong")
    dicom(tmp_path / "in/b.dcm", pixels // 2, PatientID="MRN4711042", PatientName="Hong^Gildong")
    save(tmp_path / "in/900101-1234568.png", pixels)
    (tmp_path / "in/900101-1234568.dcm").write_text("damaged")
    nothing = dict.fromkeys(TERMS["deliver"])
    terms = _terms(tmp_path / "c.yaml", **nothing | {"count": {"at_least": 1}, "subjects": {"at_least": 1}})
    said = _said(terms, tmp_path / "in", "--out", tmp_path / "out")
    assert said.exit_code == 0, said.output
    told = json.loads((tmp_path / "out/inspection.json").read_bytes())
    assert (told["totals"]["subjects"], told["totals"]["names with an identifier"]) == (1, 2)
    texts = {name: (tmp_path / "out" / name).read_text(encoding="utf-8") for name in PRODUCTS} | {"said": said.output}
    for name, text in texts.items():
        assert not re.search("MRN4711042|Gildong", text), name
        assert ("900101-1234568" in text) == (name == "files.csv")


def test_the_page_loads_nothing_and_says_all_in_both_languages(tmp_path: Path) -> None:
    _said(_terms(tmp_path / "c.yaml"), _delivered(tmp_path / "in", 20), "--out", tmp_path / "out")
    html = (tmp_path / "out/inspection.html").read_text(encoding="utf-8")
    assert not re.search(r"(?:src|href)=\"(?!#|data:)", html)
    assert html.count('<span class="ko" lang="ko">') == html.count('<span class="en" lang="en">') > 60
    assert str(tmp_path) not in html
    english = re.sub(r'<span class="ko".*?</span>|<text [^>]*class="ko.*?</text>', "", html)
    assert not re.search(
        "[가-힣]", re.sub(r"<(?:title|nav|style).*?</(?:title|nav|style)>|aria-label=\".*?\"", "", english, flags=re.S)
    )


def test_every_reason_of_a_line_has_words_with_its_numbers() -> None:
    source = (ROOT / "src/chambit/prepare/fulfilment.py").read_text(encoding="utf-8")
    reasons = page._words()["reasons"]
    assert all(
        set(re.findall(r"{(\w+)}", text["ko"])) == set(re.findall(r"{(\w+)}", text["en"])) for text in reasons.values()
    )
    named = set(re.findall(r'reason(?:, told)? = \(?"([a-z ]+)"|reason="([a-z ]+)"', source))
    assert {first or second for first, second in named} <= set(reasons)


@pytest.mark.parametrize(
    ("old", "new", "line", "there", "what"),
    [
        ("supplier: S\n", "", 1, "chambit_contract", "`supplier` is missing"),
        ("    exactly: 24\n", "", 7, "count:", "exactly one of `exactly` and `at_least`"),
        ("    exactly: 24\n", "    exactly: 24\n    exactly: 25\n", 9, "exactly: 25", "`exactly` is given twice"),
        ("    endings: true\n", "    ending: true\n", 21, "ending:", "unknown key `deliver.formats.ending`"),
        ("date: '2025-04-01'", "date: soon", 5, "date:", "`date`"),
        (r"s\d\d\.png", "s(", 45, "pattern:", "not a regular expression"),
    ],
)  # fmt: skip
def test_what_is_wrong_in_a_contract_is_told_with_its_line(
    tmp_path: Path, old: str, new: str, line: int, there: str, what: str
) -> None:
    path = _terms(tmp_path / "c.yaml")
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")
    assert path.read_text(encoding="utf-8").splitlines()[line - 1].strip().startswith(there)
    with pytest.raises(InputError) as caught:
        contracts.load(path)
    (problem,) = caught.value.problems
    assert (problem.where, what in problem.what, bool(problem.remedy)) == (f"{path}:{line}", True, True)


def test_what_cannot_be_inspected_is_refused(tmp_path: Path) -> None:
    agreed = contracts.load(_terms(tmp_path / "c.yaml"))
    for name, make, what in (
        ("empty", lambda path: path.mkdir(), "empty"),
        ("texts", lambda path: (path.mkdir(), (path / "a.csv").write_text("x")), "holds no image"),
        (
            "twice",
            lambda path: [save(path / f"{letter}.png", _picture(0)) for letter in ("é", "e\u0301")],
            "there twice",
        ),
        ("gone", lambda path: None, "is not a folder"),
    ):
        make(tmp_path / name)
        with pytest.raises(InputError, match=what):
            inspecting.run(inspecting.Request(agreed, tmp_path / "c.yaml", tmp_path / name), tmp_path / "out", print)
    folder = _delivered(tmp_path / "in")
    with pytest.raises(InputError, match="inside the delivered folder"):
        inspecting.run(inspecting.Request(agreed, tmp_path / "c.yaml", folder), folder / "out", print)
    with pytest.raises(InputError, match="is not an inspection"):
        inspecting.compare(tmp_path / "c.yaml", tmp_path / "c.yaml")


def test_labels_that_name_a_file_of_two_folders_are_told(tmp_path: Path) -> None:
    for name in ("a/1.png", "b/1.png", "b/2.png"):
        save(tmp_path / name, _picture(len(name)))
    table = write_csv(
        tmp_path / "t.csv", [["1.png", "P", "x"], ["a/1.png", "P", "x"], ["2.png", "P", ""], ["b/2.png", "P", "y"]]
    )
    found = delivery.read_labels(table, ["a/1.png", "b/1.png", "b/2.png"])
    assert (set(found.rows), found.faults) == ({"a/1.png", "b/2.png"}, ((2, "ambiguous file"), (5, "file again")))


def test_the_example_is_a_contract() -> None:
    agreed = contracts.load(ROOT / "examples/contract.yaml")
    assert agreed.deliver.count.exactly == 2000
    assert agreed.label_inspection is not None
