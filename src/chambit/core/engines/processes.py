"""Chunks spread over worker processes on this machine, one thread each."""

import ctypes
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from multiprocessing import connection, resource_tracker
from pathlib import Path
from typing import Any

from chambit.core import offline
from chambit.core.engines import _single
from chambit.core.store import Store

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def _call(work: Callable[[Store, Any], str], root: Path, task: Any) -> str:
    with _single.thread():
        return work(Store(root), task)


def _begin(tally: Any) -> None:
    # Ctrl-C reaches the whole process group; only the coordinator answers it and then ends the workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _end_with_coordinator()
    if tally is not None:
        offline.guard_worker(tally)


def _end_with_coordinator() -> None:
    """Have this worker end when its coordinator does, even when that was killed."""
    coordinator = multiprocessing.parent_process()
    assert coordinator is not None
    if sys.platform == "linux":
        # the kernel looks at the thread that started this worker: `Engine.map` is to be called by one that stays
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != coordinator.pid:
            os._exit(1)  # it ended before the kernel was asked
    else:
        threading.Thread(target=_watch, args=(coordinator.sentinel,), daemon=True).start()


def _watch(sentinel: int) -> None:
    connection.wait([sentinel])
    os._exit(1)


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Have Ctrl-C wait: processes that start inside hold it too, until `_begin` has them ignore it."""
    resource_tracker.ensure_running()  # lets Ctrl-C through when it starts, so it does that before
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Engine:
    """A pool that starts with the first chunk and is kept for the whole run.

    Workers are spawned, not forked: a fork after torch has started its thread pool can hang. They are under the network
    guard when the coordinator is.

    Args:
        workers: number of processes, at least 1.
    """

    def __init__(self, workers: int = 2) -> None:
        self.workers = workers
        self._pool: ProcessPoolExecutor | None = None
        self._guarded = False

    def map(self, work: Callable[[Store, Any], str], tasks: Mapping[str, Any], root: Path) -> Iterator[tuple[str, str]]:
        """Yield (key, digest) for each task as it ends, in no fixed order.

        At most two tasks a worker are handed out ahead, so an interrupted run loses only those in hand.
        """
        if offline.guarded() and not self._guarded:
            self.close()  # workers that began before the guard are not under it
        if self._pool is None:
            self._guarded = offline.guarded()
            tally = offline.tally() if self._guarded else None
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(self.workers, context, _begin, (tally,))
        waiting = iter(tasks.items())
        running: dict[Future[str], str] = {}
        with _single.environment():
            while True:
                with _interrupts_held():
                    while len(running) < 2 * self.workers and (item := next(waiting, None)) is not None:
                        running[self._pool.submit(_call, work, root, item[1])] = item[0]
                if not running:
                    return
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    yield running.pop(future), future.result()

    def close(self) -> None:
        """End the workers; chunks in hand are lost and will be made again."""
        if self._pool is not None:
            for process in list((self._pool._processes or {}).values()):
                process.terminate()
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None
