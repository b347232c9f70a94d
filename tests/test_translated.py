"""What evidence says in English is said in Korean, too: every sentence in the source has a template."""

import ast
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

import chambit
from chambit.measure.examination import Examination
from chambit.report import translated
from chambit.report.wording import words

SOURCE = Path(chambit.__file__).parent
ERRORS = {"Problem", "InputError", "ChambitError", "ValueError", "RuntimeError", "TypeError", "KeyError", "OSError"}
ELSEWHERE = {"pipeline/conditions.py", "pipeline/candidate.py"}  # said while running; both languages in one
SUMMARY = "files are cleaned"  # of a step, as it runs


def sentences() -> Iterator[tuple[str, str]]:
    """File and words of each sentence that code of these rooms writes outside of docstrings and errors."""
    for room in ("measure", "pipeline", "review"):
        for path in sorted((SOURCE / room).rglob("*.py")):
            name = path.relative_to(SOURCE).as_posix()
            if name not in ELSEWHERE:
                yield from ((name, said) for said in written(ast.parse(path.read_text("utf-8"))))


def written(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Raise) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
        return
    if isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) in ERRORS:
        return
    if isinstance(node, ast.JoinedStr):
        said = "".join(str(part.value) if isinstance(part, ast.Constant) else "7" for part in node.values)
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        said = node.value
    else:
        for child in ast.iter_child_nodes(node):
            yield from written(child)
        return
    if len(said) > 14 and (said[0].isupper() or said[0] == "7") and said.endswith(".") and SUMMARY not in said:
        yield said


ALL = list(sentences())


def test_the_search_finds_sentences() -> None:
    assert len(ALL) > 50
    assert ("review/verdict.py", "The policy requires this and no measure of the study reports it.") in ALL


@pytest.mark.parametrize(("file", "said"), ALL)
def test_every_sentence_has_korean(file: str, said: str) -> None:
    if file == "measure/utility/mix.py":
        said = said.replace("; 7.", "; 50 and 20 are needed.")  # put together of two
    assert translated.unknown(said) == []
    assert any("가" <= letter <= "힣" for letter in translated.korean(said))


def test_numbers_roles_and_names_are_carried_over() -> None:
    lacking = Examination({}, None).lacks({"train": 7}, {})  # type: ignore[arg-type]
    assert lacking == "The role 'train' is too small: 0 images, at least 7 needed."
    assert translated.korean(lacking) == "'학습' 집합이 너무 작습니다. 영상 수가 0이고, 7 이상이 필요합니다."
    both = "The synthetic set has no image of class 'a. b'. No file was found."
    assert translated.korean(both) == "합성영상에 'a. b' 등급이 없습니다. 파일이 없습니다."
    assert translated.korean("not met: value 3 <= 2; n 1 > 0") == "충족하지 못함: value 3 <= 2; n 1 > 0"


def test_what_is_not_known_stays() -> None:
    assert translated.korean("") == ""
    assert translated.korean("Ask Kim. No file was found; then go") == "Ask Kim. No file was found; then go"
    assert translated.korean("환자가 적음") == "환자가 적음"


def test_a_template_uses_the_names_it_has() -> None:
    entries = words()["sentences"]
    assert len({entry["en"] for entry in entries}) == len(entries)
    for entry in entries:
        names = {part.split("}")[0] for part in entry["en"].split("{")[1:]}
        assert {part.split("}")[0] for part in entry["ko"].split("{")[1:]} <= names, json.dumps(entry)
