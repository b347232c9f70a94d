"""A finished run as the hub sees it: a folder with evidence, verdict, dossier and the release candidate.

The candidate is bound by one digest over all its files. Hashes of files are kept with their sizes and times, so that
looking again at an unchanged set costs a listing; decisions and releases read every byte.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from chambit.core import digest
from chambit.core.errors import InputError, Problem
from chambit.core.evidence import Evidence
from chambit.core.store import write_atomically

NEEDED = ("evidence.json", "verdict.json", "dossier.json", "dossier.html")
CANDIDATE = "candidate"
SEEN = ".candidate-seen.json"
"""Sizes, times and hashes of the candidate's files when they were last read, in the hub's folder for the study."""


class Run(NamedTuple):
    """What a finished run says of itself.

    Attributes:
        folder: where it lies.
        title: of the study.
        registered: digest of the study file, the pre-registration.
        policy: name, version and digest.
        verdict: of the set.
        evidence: SHA-256 of evidence.json.
        candidate: digest of the release candidate, see `candidate_digest`.
        images: how many files of it are images.
    """

    folder: Path
    title: str
    registered: str
    policy: dict[str, Any]
    verdict: str
    evidence: str
    candidate: str
    images: int


def read(folder: Path) -> Run:
    """A finished run.

    Raises:
        InputError: naming every file that is missing or cannot be read.
    """
    lacking = [name for name in NEEDED if not (folder / name).is_file()]
    if lacking or not (folder / CANDIDATE).is_dir():
        what = ", ".join(lacking) or f"{CANDIDATE}/"
        remedy = (
            "run `chambit run STUDY` or `chambit demo` to its end with this version, then hand in its output folder"
        )
        raise InputError("This is no finished run.", [Problem(str(folder), f"{what} is missing", remedy)])
    try:
        verdict = json.loads((folder / "verdict.json").read_bytes())
        title = json.loads((folder / "dossier.json").read_bytes())["title"]
        policy, registered, said = dict(verdict["policy"]), str(verdict["study"]), str(verdict["verdict"])
    except (ValueError, KeyError, TypeError) as error:
        problem = Problem(str(folder), f"verdict.json or dossier.json cannot be read: {error}", "run the study again")
        raise InputError("This is no finished run.", [problem]) from None
    files = files_of(folder)
    return Run(
        folder, str(title), registered, policy, said, digest.of_file(folder / "evidence.json"), _of(files),
        sum(not name.endswith(".csv") for name in files),
    )  # fmt: skip


def candidate_digest(folder: Path, seen: Path | None = None) -> str:
    """SHA-256 over names and hashes of all files of the candidate, in the order of their names.

    Args:
        folder: of the run.
        seen: a file in which hashes are kept; a file of the same size and time is not read again. Without it every byte
            is read.
    """
    return _of(files_of(folder, seen))


def files_of(folder: Path, seen: Path | None = None) -> dict[str, str]:
    """SHA-256 of each file of the candidate, by its name relative to it; see `candidate_digest`."""
    root = folder / CANDIDATE
    known: Mapping[str, Any] = {}
    if seen is not None and seen.is_file():
        known = json.loads(seen.read_bytes())
    now: dict[str, list[Any]] = {}
    for path in sorted(path for path in root.rglob("*") if not path.is_dir()):
        name = path.relative_to(root).as_posix()
        if path.is_symlink():
            problem = Problem(str(path), "is a link", "a candidate holds files; put the file itself there")
            raise InputError("The candidate cannot be bound.", [problem])
        there = path.stat()
        stamp = [there.st_size, there.st_mtime_ns, there.st_ino]
        old = known.get(name)
        now[name] = [*stamp, old[3] if old is not None and old[:3] == stamp else digest.of_file(path)]
    if seen is not None and now != known:
        seen.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(seen, json.dumps(now).encode())
    return {name: entry[3] for name, entry in now.items()}


def evidence_of(folder: Path) -> tuple[Evidence, ...]:
    """The evidence of a run, as `evidence.json` has it."""
    rows = json.loads((folder / "evidence.json").read_bytes())
    return tuple(
        Evidence.model_validate(
            {name: value for name, value in row.items() if name != "version"}
            | {"measure": f"{row['measure']}@{row['version']}"}
        )
        for row in rows
    )


def _of(files: Mapping[str, str]) -> str:
    lines = "".join(f"{files[name]}  {name}\n" for name in sorted(files, key=os.fsencode))
    return digest.of_bytes(lines.encode("utf-8", "surrogateescape"))
