"""Steps: named pieces of work whose digest says exactly what they were made from.

A step's digest is the SHA-256 of its name, version, options, the digests of its inputs, and its seed. A step that the
ledger has as done, with all its blobs in the store, is not run again. Inside a step `Context.map` cuts the work in
chunks and runs only those that are missing, so a killed run goes on where it was and ends with the same digests.
"""

import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from chambit.core import digest
from chambit.core.ledger import Ledger
from chambit.core.seeds import seed as derive
from chambit.core.store import Store

Work = Callable[[Store, Any], str]
Outputs = dict[str, str]


class Engine(Protocol):
    """What runs chunks; see `chambit.core.engines`."""

    workers: int

    def map(self, work: Work, tasks: Mapping[str, Any], root: Path) -> Any:
        """Yield (key, digest) for each task."""

    def close(self) -> None:
        """Let go of processes and connections."""


class Event(NamedTuple):
    """News of a step for whoever draws progress: `done` of `total` of `unit`, or a line of text in `note`."""

    step: str
    done: int = 0
    total: int = 0
    unit: str = ""
    note: str = ""
    state: str = "running"  # 'started' | 'running' | 'kept' | 'done'


Listener = Callable[[Event], None]


@dataclass(frozen=True)
class Step:
    """One piece of work.

    Attributes:
        name: unique within a study.
        version: raised when the same options would give another result.
        options: everything that changes the result; JSON values only.
        inputs: digests of what it reads, by name.
        run: makes the outputs: name -> digest of a blob.
        seed: the study's seed; the step derives its own streams from it.
        items: how many things it handles, for the rate.
        present: whether what the step wrote outside the store is still there; None: it wrote nothing there.
    """

    name: str
    version: str
    options: Mapping[str, Any]
    inputs: Mapping[str, str]
    run: Callable[["Context"], Outputs]
    seed: int
    items: int = 0
    present: Callable[[], bool] | None = None

    @property
    def digest(self) -> str:
        """What this step is, as 64 hexadecimal digits."""
        return digest.of_json([self.name, self.version, dict(self.options), dict(self.inputs), self.seed])


@dataclass(frozen=True)
class Context:
    """What a step is given: store, seeds, progress, a scratch folder that survives a kill, and `map`."""

    step: Step
    store: Store
    ledger: Ledger
    engine: Engine
    tell: Listener
    scratch: Path = field(default=Path())

    def seed(self, index: int | str = 0) -> int:
        """The seed of one item of this step."""
        return derive(self.step.seed, self.step.name, index)

    def progress(self, done: int, total: int, unit: str) -> None:
        """Say how far the step is."""
        self.tell(Event(self.step.name, done, total, unit))

    def note(self, text: str) -> None:
        """Say a sentence a person should read."""
        self.tell(Event(self.step.name, note=text))

    def map(
        self,
        work: Work,
        tasks: Mapping[str, Any],
        *,
        unit: str,
        sizes: Mapping[str, int] | None = None,
        still: Callable[[str, str], bool] | None = None,
        shared: str = "",
    ) -> Outputs:
        """Run `work(store, task)` for each task whose key is not done yet.

        Args:
            work: a module-level function; makes one blob and returns its digest.
            tasks: key -> argument (picklable); keys are unique within the step.
            unit: what is counted, for progress.
            sizes: how many units each task holds; one if not given.
            still: whether a chunk done before still counts, by its key and output digest; all do if not given.
            shared: a name under which other steps find these chunks, too; keys must then say all that a chunk depends
                on (digests of what it reads) but what the name says.

        Returns:
            key -> digest, in the order of `tasks`, whatever order the work ended in.
        """
        owner = digest.of_json(["shared", shared]) if shared else self.step.digest
        known = self.ledger.chunks(owner)
        kept = {key: known[key] for key in tasks if key in known and self.store.has(known[key])}
        results = {key: out for key, out in kept.items() if still is None or still(key, out)}
        missing = {key: task for key, task in tasks.items() if key not in results}
        size = sizes or dict.fromkeys(tasks, 1)
        total, done = sum(size[key] for key in tasks), sum(size[key] for key in results)
        self.progress(done, total, unit)
        for key, output in self.engine.map(work, missing, self.store.root):
            self.ledger.add_chunk(owner, key, output)
            results[key] = output
            done += size[key]
            self.progress(done, total, unit)
        return {key: results[key] for key in tasks}


@dataclass(frozen=True)
class Workshop:
    """Where steps are run: a work folder with its store, its ledger and an engine."""

    folder: Path
    engine: Engine
    tell: Listener
    ledger: Ledger
    store: Store

    @classmethod
    def at(cls, folder: Path, engine: Engine, tell: Listener) -> "Workshop":
        """Open (or make) the work folder."""
        return cls(folder, engine, tell, Ledger.beside(folder), Store(folder))

    def done(self, step: Step) -> Outputs | None:
        """The outputs of a step that needs no work, or None."""
        outputs = self.ledger.outputs(step.digest)
        if outputs is None or not self.store.complete(outputs) or (step.present and not step.present()):
            return None
        return outputs

    def run(self, step: Step) -> Outputs:
        """Do a step unless it is done; returns its outputs."""
        if (kept := self.done(step)) is not None:
            self.tell(Event(step.name, step.items, step.items, state="kept"))
            return kept
        scratch = self.folder / "scratch" / step.digest[:16]
        self.tell(Event(step.name, 0, step.items, state="started"))
        began = time.monotonic()
        outputs = step.run(Context(step, self.store, self.ledger, self.engine, self.tell, scratch))
        seconds = time.monotonic() - began
        self.ledger.add_step(step.digest, step.name, outputs, items=step.items, seconds=seconds)
        shutil.rmtree(scratch, ignore_errors=True)
        self.tell(Event(step.name, step.items, step.items, state="done"))
        return outputs

    def close(self) -> None:
        """End the workers and let go of the ledger."""
        self.engine.close()
        self.ledger.close()
