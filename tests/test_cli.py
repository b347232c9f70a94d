"""The command line: quick to answer, true to its listing, kind about mistakes."""

import importlib
import re
import subprocess
import sys
import textwrap
import time
import tomllib
from pathlib import Path

import pytest

from chambit import __version__
from chambit.cli import COMMANDS
from chambit.commands import doctor
from chambit.core import extensions
from tinystudy import MEASURED, chambit, python, started, write_study

QUICK = 0.3  # seconds


def test_help_is_quick_and_loads_nothing_heavy() -> None:
    seconds = []
    while len(seconds) < 3 or (min(seconds) >= QUICK and len(seconds) < 8):  # the machine may be busy with other tests
        began = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", "from chambit.cli import main; main()", "--help"],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        seconds.append(time.perf_counter() - began)
    assert all(name in done.stdout and line in done.stdout for name, line in COMMANDS.items())
    code = """
        import sys
        from chambit.cli import main
        for arguments in (["--help"], ["measures"]):
            sys.argv = ["chambit", *arguments]
            try:
                main()
            except SystemExit:
                pass
        heavy = {"torch", "numpy", "scipy", "sklearn", "polars", "pydicom", "PIL", "sqlalchemy", "pydantic", "yaml"}
        print("\\nHEAVY", sorted(heavy & set(sys.modules)))
    """
    assert "HEAVY []" in python(textwrap.dedent(code))
    assert min(seconds) < QUICK


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_says_what_its_line_in_the_listing_says(name: str) -> None:
    module = importlib.import_module(f"chambit.commands.{name}")
    assert module.command.name == name
    said = chambit(name, "--help")
    assert said.code == 0
    text = " ".join(said.out.split())
    first = text.split("Usage: ")[1]
    assert COMMANDS[name].rstrip(".").split(",")[0] in first


def test_every_file_of_a_command_is_listed() -> None:
    folder = Path(importlib.import_module("chambit.commands").__path__[0])
    assert {file.stem for file in folder.glob("[!_]*.py")} == set(COMMANDS)


def test_version() -> None:
    assert chambit("--version").out.strip().endswith(__version__)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["runn"], "No such command 'runn'"),
        (["run"], "Missing argument 'STUDY'"),
        (["audit", "--train", "a"], "Missing option"),
        (["plan", "x.yaml", "--fast"], "No such option"),
        (["run", "nowhere.yaml"], "nowhere.yaml"),
        (["plan", "nowhere.yaml"], "No such file"),
    ],
)
def test_a_mistake_is_told_without_a_traceback(arguments: list[str], told: str) -> None:
    said = chambit(*arguments)
    assert said.code == 2
    assert told in said.err
    assert "Traceback" not in said.err
    assert said.out == ""


def test_no_argument_shows_the_help() -> None:
    said = chambit()
    assert "Commands" in said.out + said.err


def test_init_writes_a_study_that_plan_accepts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert chambit("init").code == 0
    before = (tmp_path / "study.yaml").read_bytes()
    again = chambit("init", "study.yaml")
    assert again.code == 2
    assert "exists" in again.err
    assert "nothing was changed" in again.err
    assert (tmp_path / "study.yaml").read_bytes() == before
    said = chambit("plan", "study.yaml")
    assert said.code == 0, said.err
    assert "phantoms" in said.out
    assert "to go" in said.out
    assert chambit("init", "more/other.yaml").code == 0
    assert (tmp_path / "more" / "other.yaml").read_bytes() == before


def test_plan_before_the_first_run(tmp_path: Path) -> None:
    said = chambit("plan", write_study(tmp_path), "--out", tmp_path / "new")
    assert said.code == 0
    rows = re.findall(r"^  (\S.*?) {2,}[\d,]+ (\S+) +(done|about \d+ s)$", said.out, re.MULTILINE)
    assert [name for name, _, _ in rows] == [
        "phantoms", "intake", "split", "masks", "items", "train", "sample", "refine", "near duplicates", "probes",
        *(f"measure {name}" for name in MEASURED)
    ]  # fmt: skip
    assert {state for _, _, state in rows} & {"done"} == set()


def test_plan_after_a_run_says_done(tiny: Path) -> None:
    said = chambit("plan", tiny / "study.yaml", "--out", tiny / "once")
    assert said.code == 0
    assert said.out.count(" done\n") == 10 + len(MEASURED)
    assert "about 0.0 min" in said.out


def test_measures_lists_every_measure() -> None:
    said = chambit("measures")
    assert said.code == 0
    for kind in ("utility", "safety"):
        for entry in extensions.listing(f"chambit.measure.{kind}").values():
            assert re.search(rf"^  {entry.name} +{re.escape(entry.help)}$", said.out, re.MULTILINE)


def test_doctor_says_what_it_found() -> None:
    run = started("doctor")  # in its own process: it tries the guard, which counts
    out, err = run.communicate(timeout=60)
    assert run.returncode == 0, out + err
    assert "network guard      connections to other machines are refused" in out
    for word in ("Python", "torch", "processor", "memory", "disk", "extra dp", "extra ocr"):
        assert word in out


def test_doctor_knows_the_extras_and_says_how_to_get_one(monkeypatch: pytest.MonkeyPatch) -> None:
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    listed = {extra: [re.split(r"[\[<>=]", line)[0] for line in lines]
              for extra, lines in project["optional-dependencies"].items()}  # fmt: skip
    assert {extra: list(part.packages) for extra, part in doctor.EXTRAS.items()} == listed
    monkeypatch.setattr(doctor, "_version", lambda name: "" if name == "opacus" else "1.0")
    told = {check.name: check for check in doctor._extras()}
    private, reading = told["extra dp"], told["extra ocr"]
    assert (private.good, private.needed, private.found) == (False, False, "not installed: opacus")
    assert "chambit[dp]" in private.remedy
    assert reading.good
    assert "rapidocr 1.0" in reading.found
