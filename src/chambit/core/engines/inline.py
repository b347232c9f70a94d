"""Chunks one after the other, in this process."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from chambit.core.engines import _single
from chambit.core.store import Store


class Engine:
    """Runs every chunk here; `workers` is ignored."""

    def __init__(self, workers: int = 1) -> None:
        self.workers = 1

    def map(self, work: Callable[[Store, Any], str], tasks: Mapping[str, Any], root: Path) -> Iterator[tuple[str, str]]:
        """Yield (key, digest) for each task as it ends."""
        store = Store(root)
        for key, task in tasks.items():
            with _single.thread():
                result = work(store, task)
            yield key, result

    def close(self) -> None:
        """Nothing is held."""
