"""Work that is done once for a set and kept: behind the pages, in a folder that is there whole or not at all."""

import shutil
import threading
from collections.abc import Callable
from pathlib import Path

PATIENCE = 3.0
"""Seconds a page waits for the work before it shows how far it is."""

Told = Callable[[float], None]
"""Takes the share of the work that is done, 0 to 1."""


class _Job:
    """One piece of work: how far it is, and what went wrong."""

    def __init__(self, target: Path, make: Callable[[Path, Told], None]) -> None:
        self.share = 0.0
        self.error: Exception | None = None
        self.thread = threading.Thread(target=self._run, args=(target, make), daemon=True)
        self.thread.start()

    def _run(self, target: Path, make: Callable[[Path, Told], None]) -> None:
        half = target.with_name(f"{target.name}.part")
        try:
            shutil.rmtree(half, ignore_errors=True)
            half.mkdir(parents=True)
            make(half, self._told)
            half.rename(target)
        except Exception as error:  # raised again in the request of the next who asks
            self.error = error

    def _told(self, share: float) -> None:
        self.share = share


_jobs: dict[Path, _Job] = {}
_lock = threading.Lock()


def done(target: Path, make: Callable[[Path, Told], None], patience: float | None = None) -> float | None:
    """None when a folder is there; else its making goes on, and the share that is done is returned.

    Args:
        target: the folder; it appears whole.
        make: fills an empty folder and tells how far it is.
        patience: seconds to wait for it.

    Raises:
        Exception: what stopped the making; the next who asks begins it again.
    """
    with _lock:
        if target.is_dir():
            return None
        job = _jobs.get(target)
        if job is None:
            job = _jobs[target] = _Job(target, make)
    job.thread.join(PATIENCE if patience is None else patience)
    if job.thread.is_alive():
        return job.share
    with _lock:
        _jobs.pop(target, None)
    if job.error is not None:
        raise job.error
    return None
