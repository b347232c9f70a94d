"""docs/mission.yaml: all rows are there, what they name as proof exists; and rows that no other file shows."""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from chambit.cli import COMMANDS
from chambit.core.evidence import Verdict
from chambit.core.recipe import Recipe
from chambit.pipeline import closing, recording
from chambit.pipeline.recording import PURPOSE
from chambit.report import wording
from chambit.report.dossier import render
from chambit.review import policy
from chambit.review.verdict import judge, overall
from test_dossier import INDICATORS, bundle, evidence, seen

ROOT = Path(__file__).resolve().parents[1]
STATUSES = {"shown", "built", "todo", "record", "context"}
# How many rows the source documents have of each scope.
SCOPES = {
    "IN": 111,
    "IN+REF": 8,
    "IN-lite": 5,
    "NBR/IN": 1,
    "REC": 20,
    "CTX/REC": 1,
    "REF": 5,
    "NBR": 11,
    "CTX": 14,
}
IDS = [
    f"{letter}{number:02d}"
    for letter, count in (("A", 80), ("B", 30), ("C", 21), ("D", 29), ("E", 16))
    for number in range(1, count + 1)
]


@cache
def _rows() -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = yaml.safe_load((ROOT / "docs" / "mission.yaml").read_text(encoding="utf-8"))["rows"]
    return rows


def _named(row: dict[str, Any]) -> list[str]:
    return [part.strip() for part in row["shown_by"].split(";") if part.strip()]


def test_every_row_is_there_once_and_in_order() -> None:
    assert [row["id"] for row in _rows()] == IDS
    assert len(IDS) == 176
    assert Counter(row["scope"] for row in _rows()) == SCOPES


@pytest.mark.parametrize("row", _rows(), ids=IDS)
def test_a_row_is_whole(row: dict[str, Any]) -> None:
    assert set(row) - {"lacks"} == {"id", "line", "scope", "status", "shown_by"}
    assert row["line"].strip()
    assert row["status"] in STATUSES
    assert bool(row.get("lacks")) == (row["status"] == "built")
    assert bool(_named(row)) == (row["status"] != "todo")
    if row["scope"] == "CTX":
        assert row["status"] == "context"
    if row["status"] == "context":
        assert row["scope"] in ("CTX", "NBR")
        assert f"**{row['id']}**" in (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    if row["status"] == "shown":
        assert any(name.startswith("tests/") for name in _named(row)), "only a test shows a row for good"


@pytest.mark.parametrize("name", sorted({name for row in _rows() for name in _named(row)}))
def test_what_is_named_exists(name: str) -> None:
    kind, _, rest = name.partition(" ")
    if kind == "chambit":
        assert rest.split()[0] in COMMANDS
    elif kind == "make":
        assert re.search(rf"^{re.escape(rest)}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    else:
        path, _, function = name.partition("::")
        assert path.startswith(("tests/", "docs/"))
        assert (ROOT / path).is_file()
        if function:
            tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
            assert function in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_glossary_spells_out_the_boards() -> None:
    text = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    for short, long in (
        ("IRB", "Institutional Review Board"),
        ("DRB", "Data Review Board"),
        ("PIPC", "Personal Information Protection Commission"),
        ("ECG", "electrocardiogram"),
    ):
        assert f"{short} ({long})" in text


def test_every_term_of_the_glossary_has_four_cells() -> None:
    text = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    rows = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("| ")]
    terms = [row for row in rows if row[0].strip() != "term"]
    assert len(terms) >= 40
    for row in terms:
        assert len(row) == 4, row
        assert re.search("[가-힣]", row[2]), row
        assert not re.search("[가-힣]", row[3]), row
        assert row[3].strip().endswith("."), row
    assert len({row[0] for row in terms}) == len(terms)


def test_the_notice_stands_on_the_dossier() -> None:
    page = (ROOT / "src/chambit/report/templates/head.html.j2").read_text(encoding="utf-8")
    assert "합성데이터입니다. 진단에 쓸 수 없습니다." in page
    assert "synthetic and not for diagnosis" in page


# --- rows that no other file shows


def test_similar_and_different_are_the_two_headlines() -> None:
    """A07: before anything else on the page, the loss against real training and the flagged copies."""
    loss, copies = evidence("downstream.loss", Verdict.PASS, 0.0187), evidence("copies.flagged", Verdict.FAIL, 321)
    page = render(bundle(evidence=(copies, loss)))
    top = page[: page.index('id="part-1"')]
    similar, different = re.findall(r'<article class="headline">.*?</article>', top, re.DOTALL)
    for block, title, value, other in ((similar, "Similar", "0.019", "321"), (different, "Different", "321", "0.019")):
        text = seen(block, "en")
        assert title in text
        assert value in text
        assert other not in text
    blank = seen(render(bundle(evidence=())).split('id="part-1"')[0], "en")
    assert "0.019" not in blank
    assert blank.count("no evidence") >= 2


def test_utility_is_indicator_5_and_the_misprint_is_noted() -> None:
    """A43: cards 1 to 6 on the page, utility is the fifth, and the page says that the source prints it as (6)."""
    page = render(bundle())
    cards = re.findall(r'<article class="card" id="indicator-(\d)">.*?<h3>(.*?)</h3>', page, re.DOTALL)
    assert [number for number, _ in cards] == list("123456")
    assert "Utility" in cards[4][1]
    assert "downstream.loss" in INDICATORS[4]["evidence"]
    assert "misprints utility as “(6)”" in seen(page, "en")
    assert "유용성을 “(6)”으로 잘못" in seen(page, "ko")


def test_the_form_of_purpose_is_asked_for_and_not_judged() -> None:
    """A39: an open field is a condition for people; any words fill it, and the page says that nobody checked them."""
    fields = dict.fromkeys(PURPOSE, "x")
    assert {"text", "recipients", "prohibited_uses"} <= set(fields)
    given, rules = closing.stated("purpose", fields, PURPOSE), policy.load("default")
    assert judge(given, rules).verdict is Verdict.PASS
    for name in PURPOSE:
        part = judge(closing.stated("purpose", fields | {name: ""}, PURPOSE), rules)
        assert part.verdict is Verdict.CONDITIONAL
        assert part.details["open"] == [name]
    page = seen(render(bundle(attached={"purpose.text": "To teach students"})), "en")
    assert "To teach students" in page
    assert "its content was not checked" in page


AREA = r"AUROC|ROC 곡선|area under the ROC"
RIGHT = r"accura\w*|정확도|정답률|맞힌 비율"
CALLED = re.compile(f"(?:{AREA})[^,·;|.]{{0,30}}(?:{RIGHT})|(?:{RIGHT})[^,·;|.]{{0,30}}(?:{AREA})", re.IGNORECASE)
PERCENT = re.compile(rf"(?:{AREA})\D{{0,12}}\d+(?:\.\d+)?\s*%", re.IGNORECASE)


def _said(node: Any) -> Iterator[str]:
    """Every text below a node of YAML."""
    if isinstance(node, dict | list):
        for value in node.values() if isinstance(node, dict) else node:
            yield from _said(value)
    elif isinstance(node, str):
        yield node


def _everything_said() -> Iterator[tuple[str, str]]:
    """(file, text) of what may reach a reader: words, indicators, references, policies, templates, code of report."""
    package = ROOT / "src" / "chambit"
    for path in sorted([*package.glob("report/words/*.yaml"), *package.glob("review/**/*.yaml")]):
        for text in _said(yaml.safe_load(path.read_text(encoding="utf-8"))):
            yield path.name, text
    for path in sorted([*package.glob("report/templates/*.j2"), *package.glob("report/*.py"), ROOT / "README.md"]):
        for line in path.read_text(encoding="utf-8").splitlines():
            yield path.name, line


def test_no_word_of_either_language_calls_an_auroc_accuracy() -> None:
    """B04: AUROC and accuracy may stand in one list, never for one another, and an AUROC is no percentage."""
    said = list(_everything_said())
    assert len(said) > 5000
    assert [place for place in said if CALLED.search(place[1]) or PERCENT.search(place[1])] == []
    assert "%" not in wording.number(0.923, "auroc")


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("an accuracy (AUROC) of 0.92", True),
        ("AUROC로 잰 정확도", True),
        ("정확도(AUROC)가 0.923", True),
        ("AUROC 92.3 %", True),
        ("AUROC, AUPR, accuracy", False),
        ("AUROC 0.923 (95 % interval 0.919 to 0.927)", False),
    ],
)
def test_what_calls_an_auroc_accuracy_is_seen(text: str, wrong: bool) -> None:
    assert bool(CALLED.search(text) or PERCENT.search(text)) is wrong


def test_the_reference_has_its_interval_and_its_aupr() -> None:
    entry = next(item for item in wording.references() if item["id"] == "rsna_auroc")
    assert (entry["value"], entry["interval"], entry["unit"]) == ("0.923", "0.919–0.927", "AUROC")
    assert all("0.900" in entry["note"][language] for language in ("ko", "en"))


def test_utility_waits_until_refinement_ran_or_was_waived() -> None:
    """B15: a study that says nothing of refinement has no verdict on utility; an empty list waives it."""
    rules, stages = policy.load("default"), {"train": {"flow": {}}}
    silent, waived, cropped = (
        judge(recording.refinement(Recipe.model_validate(stages | given)), rules)
        for given in ({}, {"refine": []}, {"refine": [{"crop": {"bottom": "30%"}}]})
    )
    assert [str(item.verdict) for item in (silent, waived, cropped)] == ["NOT_RUN", "PASS", "PASS"]
    assert "refine: []" in silent.reason
    assert (waived.value, waived.details["waived"], cropped.value, cropped.details["waived"]) == (0, True, 1, False)
    good = evidence("downstream.loss", Verdict.PASS, 0.01)
    assert overall([good, silent]).verdict is Verdict.NOT_RUN
    assert overall([good, waived]).verdict is Verdict.PASS
    assert "refine.decided" in INDICATORS[4]["evidence"]
    card = render(bundle(evidence=(good, silent))).split('id="indicator-5"')[1].split("</article>")[0]
    assert "utility waits" in seen(card, "en")
