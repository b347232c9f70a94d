"""A complete study that takes seconds, its policy, pictures for audits, and ways to call the command line."""

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import numpy as np
import yaml
from scipy import ndimage

from chambit import cli
from chambit.review import policy
from imagefiles import save

STUDY: dict[str, Any] = {
    "chambit": 1,
    "title": "Tiny",
    "seed": 5,
    "purpose": {"text": "test", "prohibited_uses": "diagnosis", "recipients": "tests", "tier": "open"},
    "source": {"kind": "phantoms", "name": "phantoms"},
    "cohort": {
        "phantoms": {"patients": 120, "pixels": 32},
        "split": {"train": 0.3, "holdout": 0.25, "auxiliary": 0.3, "test": 0.15},
    },
    "recipe": {
        "train": {"flow": {"steps": 24, "batch": 8, "width": 16, "heun": 2, "checkpoint": 4}},
        "sample": {"images": 48},
        "refine": [{"visible_mark": {}}, {"crop": {"bottom": "25%"}}],
    },
    "measures": {"downstream": {}, "frechet": {}, "precision_recall": {}, "copies": {}},
    "policy": "tiny.yaml",
    "run": {"engine": "inline"},
}
MEASURED = tuple(STUDY["measures"])
NEVER = 10**6


class Said(NamedTuple):
    """What a command left: exit status, standard output, standard error."""

    code: int
    out: str
    err: str


def chambit(*arguments: str | Path) -> Said:
    """Run the command line in this process, from its real entry point."""
    out, err = io.StringIO(), io.StringIO()
    argv = ["chambit", *map(str, arguments)]
    with mock.patch.object(sys, "argv", argv), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            cli.main()
            code = 0
        except SystemExit as left:
            code = left.code if isinstance(left.code, int) else int(left.code is not None)
    return Said(code, out.getvalue(), err.getvalue())


def started(*arguments: str | Path, cwd: Path | None = None) -> subprocess.Popen[str]:
    """Start the command line in a process (and process group) of its own."""
    command = [sys.executable, "-c", "from chambit.cli import main; main()", *map(str, arguments)]
    pipe = subprocess.PIPE
    return subprocess.Popen(
        command,
        cwd=cwd,
        stdout=pipe,
        stderr=pipe,
        text=True,
        start_new_session=True,
        env=os.environ | {"LC_ALL": "C.UTF-8"},
    )


def python(code: str) -> str:
    """What a program of its own prints; it must end well."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def write_policy(path: Path, *, copies: int = 8, membership: int = NEVER) -> Path:
    """The default policy for sets of a few dozen images; `copies` and `membership` are the smallest holdouts."""
    raw = policy.merged(policy.FOLDER / "default.yaml")
    raw["name"] = "tiny"
    settings = raw["settings"]
    settings["copies"] |= {"least": copies, "plants": 3, "alpha": 0.05, "alpha_small": 0.2}
    settings["membership"] |= {"least": membership, "permutations": 200, "hidden": 4}
    settings["memorisation"] |= {"least": 8, "judge": 20}
    # with a quarter guessed on each side a perfect score is all right however unevenly the unseeded coins fall
    settings["privacy_audit"] |= {"least": 16, "least_auxiliary": 8, "planted": 0.3, "guesses": [0.25, 0.5]}
    settings["text"] |= {"heights": [8, 10], "contrasts": [0.5], "plants": 1, "compulsory": 3, "identifiers": 2}
    settings["text"] |= {"holdout": 8}
    settings["saliency"] |= {"seeds": 2, "steps": 10, "images": 20, "least_masks": 2, "draws": 100}
    settings["downstream"] |= {"seeds": 1, "steps": 10, "components": 5, "draws": 100, "least_test": 2}
    path.write_text(yaml.safe_dump(raw, allow_unicode=True), encoding="utf-8")
    return path


def write_study(folder: Path, **changes: Any) -> Path:
    """The tiny study with some of its top keys replaced (None removes one), and its policy beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    write_policy(folder / "tiny.yaml")
    content = {key: value for key, value in (STUDY | changes).items() if value is not None}
    (folder / "study.yaml").write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), encoding="utf-8")
    return folder / "study.yaml"


def run_reviewable(folder: Path) -> None:
    """Run the tiny study with three measures and a policy that requires none: CONDITIONAL, as sets that boards see."""
    title = "흉부 X선 예행연습 / Chest radiographs, a rehearsal"
    study = write_study(folder, title=title, measures={"frechet": {}, "intensity": {}, "spectrum": {}})
    raw = yaml.safe_load((folder / "tiny.yaml").read_text(encoding="utf-8")) | {"required": []}
    (folder / "tiny.yaml").write_text(yaml.safe_dump(raw, allow_unicode=True), encoding="utf-8")
    said = chambit("run", study, "--out", folder / "out")
    assert said.code == 0, said.err


def evidence(out: Path) -> dict[str, dict[str, Any]]:
    """The evidence of an output folder by measure.quantity."""
    return {f"{item['measure']}.{item['quantity']}": item for item in json.loads((out / "evidence.json").read_bytes())}


def pictures(count: int, seed: int, side: int = 32) -> np.ndarray:
    """Smooth grey pictures uint8 (N, side, side), every second one with a bright spot: label k % 2."""
    rng = np.random.default_rng(seed)
    images = ndimage.gaussian_filter(rng.normal(size=(count, side, side)), (0, 2, 2))
    images = (images - images.min()) / np.ptp(images) * 200
    images[1::2, 10:14, 10:14] += 40
    return images.astype(np.uint8)


def write_classes(folder: Path, images: np.ndarray, names: tuple[str, str] = ("normal", "ill")) -> Path:
    """Save pictures as PNG in a folder for each class."""
    for k, image in enumerate(images):
        save(folder / names[k % 2] / f"{k:03d}.png", image)
    return folder


def step_outputs(out: Path) -> Mapping[str, Any]:
    """Name and outputs of every step in an output folder's ledger, by the step's digest."""
    from chambit.core.ledger import Ledger, sql, step

    ledger = Ledger.beside(out / "work")
    try:
        with ledger._engine.connect() as connection:
            return {row.digest: (row.name, row.outputs) for row in connection.execute(sql.select(step))}
    finally:
        ledger.close()


def run_once(folder: Path) -> str:
    """Run the tiny study to `once/` without interruption; returns what it said."""
    run = started("run", write_study(folder), "--out", folder / "once")
    out, err = run.communicate(timeout=300)
    assert run.returncode == 0, err
    return out


def run_stopped(folder: Path) -> dict[str, Any]:
    """Run the tiny study to `stopped/`, ended by Ctrl-C and two kills before it may end.

    Returns:
        `interrupt`: status, output, errors; `train`, `measure`: status and names of the steps recorded when the kill
        came; `last`: status, output, errors of the run that ended; `out`: the folder.
    """
    study, out = folder / "study.yaml", folder / "stopped"

    run = started("run", study, "--out", out)
    _read_until(run, "phantoms ...")
    os.killpg(run.pid, signal.SIGINT)  # as a terminal does: the whole group
    said, err = run.communicate(timeout=60)
    codes: dict[str, Any] = {"interrupt": (run.returncode, said, err)}

    run = started("run", study, "--out", out)
    _wait(run, out, "work/scratch/*/checkpoint.pt")
    codes["train"] = _killed(run, out)

    run = started("run", study, "--out", out)
    _read_until(run, "measure downstream ...")
    time.sleep(0.1)
    codes["measure"] = _killed(run, out)
    return codes | {"out": str(out), "last": chambit("run", study, "--out", out)}


def _wait(run: subprocess.Popen[str], path: Path, pattern: str) -> None:
    """Until a file of that pattern is below `path`, or the run has ended."""
    until = time.monotonic() + 120
    while not list(path.glob(pattern)) and run.poll() is None:
        assert time.monotonic() < until, f"{pattern} did not come"
        time.sleep(0.002)


def _read_until(run: subprocess.Popen[str], text: str) -> None:
    assert run.stdout is not None
    for line in run.stdout:
        if text in line:
            return


def _killed(run: subprocess.Popen[str], out: Path) -> tuple[int, list[str]]:
    os.killpg(run.pid, signal.SIGKILL)
    run.communicate()
    return run.returncode, sorted(name for name, _ in step_outputs(out).values())
