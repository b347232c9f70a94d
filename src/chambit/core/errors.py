"""One family of errors: what happened, to which input, and what to do about it.

Every error a person can cause is a `ChambitError`; `chambit.cli` prints it once, without a traceback. Anything else
that escapes is a defect of ours and keeps its traceback.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong: where it is (file, line or key), what is wrong, and how to mend it."""

    where: str
    what: str
    remedy: str = ""

    def __str__(self) -> str:
        return f"{self.where}: {self.what}" + (f"\n    -> {self.remedy}" if self.remedy else "")


class ChambitError(Exception):
    """Something a person can mend; carries every problem that was found, not only the first."""

    def __init__(self, summary: str, problems: Sequence[Problem] = ()) -> None:
        super().__init__(summary)
        self.summary = summary
        self.problems = tuple(problems)

    def __str__(self) -> str:
        return "\n".join([self.summary, *(f"  {problem}" for problem in self.problems)])

    def __reduce__(self) -> tuple[Any, ...]:
        # a worker sends its error by pickle, which would call the `__init__` of a subclass with the summary alone
        return _again, (type(self), self.args, dict(self.__dict__))


def _again(kind: type[ChambitError], args: tuple[Any, ...], state: Mapping[str, Any]) -> ChambitError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(state)
    return error


class StudyError(ChambitError):
    """The study file cannot be used as it is."""


class InputError(ChambitError):
    """A file or folder that was handed in cannot be used."""


class ExtensionError(ChambitError):
    """A measure, stage, reader, export or engine is broken, clashes with another, or does not exist."""


class StoreError(ChambitError):
    """A blob is missing from the store or is not what its name says."""
