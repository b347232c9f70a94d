"""Fixtures that several files share. The tiny study is run once, however many workers pytest-xdist has."""

import fcntl
import os
from pathlib import Path

import pytest

import tinystudy


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the tiny study after one run without interruption: `study.yaml`, `tiny.yaml` and `once/`.

    Read it, copy it, do not change it.
    """
    base = tmp_path_factory.getbasetemp()
    # the workers of one pytest-xdist session have neighbouring folders; the first one here runs the study
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "tiny"
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "once.txt").exists():
            study = tinystudy.write_study(folder)
            run = tinystudy.started("run", study, "--out", folder / "once")
            out, err = run.communicate(timeout=300)
            assert run.returncode == 0, err
            (folder / "once.txt").write_text(out, encoding="utf-8")
    return folder
