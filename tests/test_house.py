"""The house in order: no machine paths, no long files, a docstring on everything public, no loose prints."""

import ast
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "chambit"
LONGEST = 400
FORBIDDEN_NAMES = {"utils", "util", "helpers", "helper", "common", "misc"}

# Put together from pieces, so that this file does not contain what it looks for. A place below another folder
# (`out/work`, `{out}/work`, `<out>/work`) is not a machine path.
MACHINE_PATH = re.compile(r"(?<![\w.~)}>*-])/(?:" + "|".join(["work", "farm", "opt", "root"]) + r")(?![\w-])")
INDEX_HOST = re.compile(
    "|".join(
        re.escape(".".join(parts))
        for parts in [
            ("pypi", "org"),
            ("pythonhosted", "org"),
            ("download", "pytorch", "org"),
            ("anaconda", "org"),
            ("npmjs", "org"),
            ("golang", "org"),
        ]
    )
    + "|--(?:extra-)?index"
    + "-url|https?://[^ \"']*/"
    + r"simple/?\b",
    re.IGNORECASE,
)


def _files() -> list[Path]:
    """What is tracked, or would be after `git add .`."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    command = ["git", "ls-files", "-z", "-co", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout.decode()
    return [path for name in sorted(set(listed.split("\0"))) if name and (path := ROOT / name).is_file()]


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return None  # a picture or an archive


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def _modules() -> Iterator[tuple[Path, ast.Module]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        yield path, ast.parse(path.read_text(encoding="utf-8"), str(path))


def _matches(pattern: re.Pattern[str]) -> list[str]:
    found = []
    for path in _files():
        for number, line in enumerate((_text(path) or "").splitlines(), start=1):
            if match := pattern.search(line):
                found.append(f"{_name(path)}:{number}: {match.group()}")
    return found


def test_no_machine_path() -> None:
    assert _matches(MACHINE_PATH) == []


def test_no_package_index() -> None:
    assert _matches(INDEX_HOST) == []


@pytest.mark.parametrize(
    ("line", "is_path"),
    [
        ("open('/{}/x')", True),
        ("see /{}/main.", True),
        ("file:///{}/a", True),
        ("PATH=/{}", True),
        ("OUT/{}/objects", False),
        ("f'{{out}}/{}/ledger'", False),
        ("<out>/{}/", False),
        ("/{}shop/x", False),
    ],
)
def test_the_pattern_for_machine_paths(line: str, is_path: bool) -> None:
    assert bool(MACHINE_PATH.search(line.format("work"))) is is_path


def test_source_files_are_short() -> None:
    long = {
        _name(path): len((_text(path) or "").splitlines()) for path in _files() if PACKAGE in path.parents
    }
    assert {name: lines for name, lines in long.items() if lines > LONGEST} == {}


def test_no_file_is_named_for_nothing() -> None:
    assert [_name(path) for path in _files() if path.stem.strip("_").lower() in FORBIDDEN_NAMES] == []


def test_every_module_has_a_docstring() -> None:
    assert [_name(path) for path, tree in _modules() if not ast.get_docstring(tree)] == []


def test_every_public_thing_has_a_docstring() -> None:
    assert [f"{_name(path)}:{place}" for path, tree in _modules() for place in _bare(tree)] == []


def _bare(tree: ast.Module | ast.ClassDef) -> Iterator[str]:
    """Public classes, functions and methods without a docstring; not those inside functions."""
    for node in tree.body:
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        # A torch module says what it computes at its class; a validator of pydantic answers to no caller.
        if node.name.startswith("_") or node.name == "forward" or _is_validator(node):
            continue
        if not ast.get_docstring(node):
            yield f"{node.lineno} {node.name}"
        if isinstance(node, ast.ClassDef):
            yield from _bare(node)


def _is_validator(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> bool:
    names = {
        part.id
        for decorator in node.decorator_list
        for part in ast.walk(decorator)
        if isinstance(part, ast.Name)
    }
    return bool(names & {"field_validator", "model_validator", "field_serializer", "model_serializer"})


def test_only_commands_print() -> None:
    found = []
    for path, tree in _modules():
        if PACKAGE / "commands" in path.parents:
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
                found.append(f"{_name(path)}:{node.lineno}")
    assert found == []


def test_what_a_person_can_cause_is_not_an_assert() -> None:
    found = [
        f"{_name(path)}:{node.lineno}"
        for path, tree in _modules()
        if {PACKAGE / "commands", PACKAGE / "prepare"} & set(path.parents)
        for node in ast.walk(tree)
        if isinstance(node, ast.Assert)
    ]
    assert found == []


def test_a_person_and_the_robot_use_the_same_target() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert {"setup", "demo", "check"} <= targets
    robot = ROOT / ".ci" / "run"
    assert re.search(r"^make check$", robot.read_text(encoding="utf-8"), re.MULTILINE)
    assert os.access(robot, os.X_OK)
