"""Fixtures that several files share. The tiny study is run once, however many workers pytest-xdist has."""

import fcntl
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

# Two test processes share two cores: threads of torch and the BLAS that wait for each other cost ten times their work.
# Set before either is imported; the programs that tests start inherit it.
os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all workers of this session."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "tiny"
    folder.mkdir(exist_ok=True)
    return folder


def _once(folder: Path, name: str, make: Callable[[], Any]) -> Any:
    """What `make` returns, made by the first worker that asks; the others wait and read it."""
    with (folder / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        kept = folder / f"{name}.json"
        if not kept.exists():
            kept.write_text(json.dumps(make()), encoding="utf-8")
        return json.loads(kept.read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def hospital(shared: Path) -> Path:
    """A folder with originals of twelve patients (`in`), their answer key, and what `chambit prepare` made of them.

    Read it, copy it, do not change it.
    """
    import tinyhospital

    _once(shared, "hospital", lambda: tinyhospital.run_once(shared / "hospital"))
    return shared / "hospital"


@pytest.fixture(scope="session")
def tiny(shared: Path) -> Path:
    """The folder of the tiny study after one run without interruption: `study.yaml`, `tiny.yaml` and `once/`.

    Read it, copy it, do not change it.
    """
    import tinystudy  # brings numpy

    _once(shared, "once", lambda: tinystudy.run_once(shared))
    return shared


@pytest.fixture(scope="session")
def stopped(tiny: Path) -> dict[str, Any]:
    """The tiny study interrupted by Ctrl-C while drawing, killed while training and while measuring, then ended."""
    import tinystudy

    made: dict[str, Any] = _once(tiny, "stopped", lambda: tinystudy.run_stopped(tiny))
    return made


@pytest.fixture(scope="session")
def reviewable(shared: Path) -> Path:
    """The output folder of a tiny run that a board may review: measured little, by a policy that asks little."""
    import tinystudy

    _once(shared, "reviewable", lambda: tinystudy.run_reviewable(shared / "reviewable"))
    return shared / "reviewable" / "out"
