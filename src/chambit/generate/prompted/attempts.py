"""The ledger of attempts: one JSON line before each call and one after it, so that a killed run knows what was paid.

    asked      written and flushed to the disk before the call leaves
    image      an image came; its file was written before this line
    refused    the service answered without an image (HTTP 200); final, because asking again would bias the set
    busy       the service wanted the call later; failed: the attempt broke otherwise
    lost       written at the next start for a call that was under way when the process died: it may have been paid for
    adopted    written at the next start for an image whose file lies there though its line is missing

A key with `image`, `adopted` or `refused` is never asked for again. `lost` counts as spent. Only the last line of a
killed run can be torn; it is cut off at the next start. A second process is kept out by a lock on the file.
"""

import datetime
import fcntl
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Literal, NamedTuple, Self

from pydantic import Field

from chambit.core.errors import InputError, Problem
from chambit.core.evidence import Frozen

FINAL = ("image", "adopted", "refused")
PAID = ("image", "adopted", "refused", "lost")
"""Outcomes whose price counts: a refusal may be billed, a lost call may have been."""
Outcome = Literal["asked", "image", "refused", "busy", "failed", "lost", "adopted"]


class Attempt(Frozen):
    """One line.

    Attributes:
        key: of the request; number: of the attempt, from 1, over all runs.
        at: UTC, to the second.
        outcome: see the module.
        body: SHA-256 of the prompt that was sent.
        status: of HTTP, 0 where there was none; finish: the service's word.
        wait: seconds until the next attempt.
        seconds: the call took.
        tokens_in, tokens_out, cost: as told by the answer and priced by the plan; an estimate where `told` is false.
        model: version that answered; response: its id.
        file: name in `images`; sha256: of its bytes as they came.
        provenance: marks of origin in the file: kind -> SHA-256 of the bytes that carry it.
    """

    key: str
    number: int
    at: str
    outcome: Outcome
    body: str = ""
    status: int = 0
    finish: str = ""
    wait: float = 0.0
    seconds: float = 0.0
    tokens_in: int = 0
    tokens_out: int = 0
    cost: float = 0.0
    told: bool = False
    model: str = ""
    response: str = ""
    file: str = ""
    sha256: str = ""
    provenance: dict[str, str] = Field(default_factory=dict)


class Standing(NamedTuple):
    """Where one key stands: its last attempt, how many there were, and what they cost."""

    last: Attempt
    attempts: int
    cost: float


class Attempts:
    """The attempts of one folder, open for writing; a context manager that holds the lock.

    Raises:
        InputError: when another process writes here, or a line in the middle is no attempt.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("a+b")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._file.close()
            problem = Problem(str(path), "another run writes here", "wait for it, or end it")
            raise InputError("Two runs of one plan would pay twice.", [problem]) from None
        self._lock = threading.Lock()
        _cut_torn_line(path)
        self.lines = list(read(path))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def add(self, attempt: Attempt) -> None:
        """Write a line and wait until it is on the disk."""
        line = attempt.model_dump_json(exclude_defaults=True).encode() + b"\n"
        with self._lock:
            self._file.write(line)
            self._file.flush()
            os.fsync(self._file.fileno())
            self.lines.append(attempt)

    def spent(self) -> float:
        """What was paid so far, or may have been."""
        with self._lock:
            return sum(line.cost for line in self.lines if line.outcome in PAID)

    def standing(self) -> dict[str, Standing]:
        """Where each key stands that was ever asked for."""
        with self._lock:
            return standing(self.lines)


def standing(lines: list[Attempt]) -> dict[str, Standing]:
    """Where each key stands, by its lines in order."""
    found: dict[str, Standing] = {}
    for line in lines:
        before = found.get(line.key)
        asked = (before.attempts if before else 0) + (line.outcome == "asked")
        paid = (before.cost if before else 0.0) + (line.cost if line.outcome in PAID else 0.0)
        found[line.key] = Standing(line, asked, paid)
    return found


def read(path: Path) -> Iterator[Attempt]:
    """The attempts of a file in order; a torn last line is left out.

    Raises:
        InputError: naming the first other line that is no attempt.
    """
    if not path.exists():
        return
    lines = path.read_bytes().split(b"\n")
    for number, line in enumerate(lines[:-1], start=1):
        try:
            yield Attempt.model_validate(json.loads(line))
        except ValueError as error:
            problem = Problem(f"{path}: line {number}", "is no attempt", "restore the file; it says what was paid for")
            raise InputError("The ledger of attempts is damaged.", [problem]) from error


def now() -> str:
    """The time as attempts carry it."""
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _cut_torn_line(path: Path) -> None:
    with path.open("r+b") as file:
        content = file.read()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            file.truncate(whole)
