"""The house in order: no machine paths, short files, docstrings, no loose prints; CONTRIBUTING is true."""

import ast
import doctest
import importlib
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import polars as pl
import pytest

from chambit.core.engines import inline
from chambit.core.errors import InputError
from chambit.core.evidence import Finding, Interval, Verdict
from chambit.core.ledger import Ledger
from chambit.core.steps import Context, Step
from chambit.core.store import Store
from chambit.generate.items import PLANNED, Examples, Form
from chambit.images import imageset
from chambit.images.imageset import ImageSet
from chambit.measure.examination import Examination
from chambit.review import policy
from chambit.review.verdict import judge

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
    long = {_name(path): len((_text(path) or "").splitlines()) for path in _files() if PACKAGE in path.parents}
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
    names = {part.id for decorator in node.decorator_list for part in ast.walk(decorator) if isinstance(part, ast.Name)}
    return bool(names & {"field_validator", "model_validator", "field_serializer", "model_serializer"})


@pytest.mark.parametrize(
    "path", [p for p in sorted(PACKAGE.rglob("*.py")) if ">>> " in p.read_text("utf-8")], ids=_name
)
def test_examples_in_docstrings_hold(path: Path) -> None:
    name = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
    failed, tried = doctest.testmod(importlib.import_module(name))
    assert tried > 0
    assert failed == 0


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


# --- the examples of CONTRIBUTING.md


def _examples() -> dict[str, str]:
    """Code of each example by the path its first line names."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```(?:python|yaml)\n# (\S+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return dict(blocks)


def _example(path: str) -> ModuleType:
    module = ModuleType(Path(path).stem)
    exec(compile(_examples()[path], path, "exec", dont_inherit=True), module.__dict__)
    assert module.__doc__
    assert module.version
    return module


@pytest.fixture
def context(tmp_path: Path) -> Iterator[Context]:
    step = Step("example", "1", {}, {}, lambda _: {}, seed=7)
    ledger = Ledger.beside(tmp_path)
    yield Context(step, Store(tmp_path), ledger, inline.Engine(), lambda _: None, tmp_path / "scratch")
    ledger.close()


def _images(store: Store, count: int, first: int = 0) -> ImageSet:
    pixels = np.random.default_rng(first).integers(0, 200, (count, 16, 12)).astype(np.uint8)
    block, digests = imageset.put_block(store, pixels)
    names = [f"{first + k:04d}" for k in range(count)]
    labels = ["a" if k % 2 else "b" for k in range(count)]
    columns = {"id": names, "sha256": digests, "block": [block] * count, "row": range(count)}
    return ImageSet(store, pl.DataFrame(columns | {"subject": names, "label": labels}))


def test_examples_lie_where_their_kind_lies() -> None:
    assert [path for path in _examples() if path.startswith("src/") and not (ROOT / path).parent.is_dir()] == []
    assert len(_examples()) == 5


def test_the_example_of_a_measure(context: Context) -> None:
    module = _example("src/chambit/measure/utility/brightness.py")
    sets = {"holdout": _images(context.store, 60), "synthetic": _images(context.store, 40, 1000)}
    (finding,) = module.measure(Examination(sets, context), module.Options()).findings
    assert finding.key == "brightness.difference"
    assert finding.interval.low < finding.value < finding.interval.high
    assert finding.control.fired
    assert judge(finding, policy.load("default")).verdict is Verdict.CONDITIONAL


def test_the_example_of_a_reader(tmp_path: Path) -> None:
    module = _example("src/chambit/images/readers/pgm.py")
    path = tmp_path / "x.pgm"
    path.write_bytes(b"P5\n3 1\n255\n" + bytes([32, 0, 255]))  # the first pixel looks like a space
    assert module.recognises(path, path.read_bytes()[:256])
    ((name, image),) = module.read(path)
    assert (name, image.white, image.pixels.tolist()) == ("", 255, [[32, 0, 255]])
    path.write_bytes(b"P5\n1 1\n4095\n" + bytes([15, 255]))
    ((_, image),) = module.read(path)
    assert image.pixels.dtype == np.uint16
    assert image.grey().tolist() == [[1.0]]
    path.write_bytes(b"P5\n3 9\n255\n" + bytes(3))
    with pytest.raises(InputError, match="damaged or truncated"):
        list(module.read(path))


def test_the_example_of_a_refine_operation() -> None:
    module = _example("src/chambit/generate/refine/invert.py")
    assert module.geometry is True
    assert module.apply(np.array([[[0, 200]]], np.uint16), module.Options()).tolist() == [[[65535, 65335]]]


def test_the_example_of_a_stage(context: Context) -> None:
    module = _example("src/chambit/generate/stages/average.py")
    options = module.Options(steps=1)
    images = _images(context.store, 20)
    weights = module.train(context, Examples(images, Form(*images.shape), ("a", "b")), options)
    assert set(module.ports(options).needs) <= set(PLANNED)
    whole = module.sample(context.store, weights, {"label": np.array([0, 1, 1])}, [5, 6, 7], options)["image"]
    alone = module.sample(context.store, weights, {"label": np.array([1])}, [7], options)["image"]
    assert (whole.shape, whole.dtype) == ((3, 16, 12), np.float32)
    assert np.array_equal(whole[2], alone[0])


def test_the_example_of_a_policy(tmp_path: Path) -> None:
    (tmp_path / "strict.yaml").write_text(_examples()["strict.yaml"], encoding="utf-8")
    loaded = policy.load("strict.yaml", tmp_path)
    high = Finding(measure="downstream@1", quantity="loss", value=0.01, direction="lower", details={"margin": 0.02})
    spread = Interval(low=-1, high=0.03, level=0.95, method="bootstrap", sides=1)
    assert judge(high.model_copy(update={"interval": spread}), loaded).verdict is Verdict.FAIL
    assert judge(high.model_copy(update={"interval": spread.model_copy(update={"high": 0.019})}), loaded).verdict is (
        Verdict.PASS
    )
