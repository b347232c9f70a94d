"""A finished run as the hub sees it: a folder with evidence, verdict, dossier and the release candidate.

The candidate is bound by one digest over all its files (`core.bound`). Looking again at an unchanged set costs a
listing; decisions and releases read every byte.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

from chambit.core import bound, digest
from chambit.core.errors import InputError, Problem
from chambit.core.evidence import Evidence
from chambit.core.ledger import Ledger

NEEDED = ("evidence.json", "verdict.json", "dossier.json", "dossier.html")
CANDIDATE = "candidate"
LEDGER = "work/ledger.sqlite"
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
        measured: digest of the release candidate that the evidence speaks of.
        candidate: digest of the release candidate as it is now.
        images: how many files of it are images.
        attempt: which attempt of this study it is.
        criteria: digest of the policy that was fixed; '' where the run's own ledger is not there.
        fixed: when the criteria were fixed, seconds since 1970; 0 where the run's own ledger is not there.
        begun: when the first measurement was done; 0 as above.
        finished: when the evidence was closed; 0 as above.
    """

    folder: Path
    title: str
    registered: str
    policy: dict[str, Any]
    verdict: str
    evidence: str
    measured: str
    candidate: str
    images: int
    attempt: int = 0
    criteria: str = ""
    fixed: float = 0.0
    begun: float = 0.0
    finished: float = 0.0


def read(folder: Path, seen: Path | None = None) -> Run:
    """A finished run; `seen` as in `candidate_digest`.

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
        attempt, measured = int(verdict.get("attempt", 0)), str(verdict["candidate"])
    except (ValueError, KeyError, TypeError) as error:
        problem = Problem(str(folder), f"verdict.json or dossier.json cannot be read: {error}", "run the study again")
        raise InputError("This is no finished run.", [problem]) from None
    files = bound.files_of(folder / CANDIDATE, seen)
    return Run(
        folder, str(title), registered, policy, said, digest.of_file(folder / "evidence.json"), measured,
        bound.of_files(files), sum(not name.endswith(".csv") for name in files), attempt, *_times(folder, registered),
    )  # fmt: skip


def _times(folder: Path, registered: str) -> tuple[str, float, float, float]:
    """Which criteria were fixed and when, and when a first measurement was done and evidence closed, by its ledger."""
    if not (folder / LEDGER).is_file():
        return "", 0.0, 0.0, 0.0
    ledger = Ledger(f"sqlite:///{folder / LEDGER}")
    try:
        events = ledger.events()
    finally:
        ledger.close()
    frozen = [one for one in events if one["kind"] == "study.frozen" and registered in one["body"].values()]
    if not frozen:
        return "", 0.0, 0.0, 0.0
    since, criteria = frozen[-1]["time"], str(frozen[-1]["body"]["policy"])
    after = [one for one in events if one["time"] >= since]
    done = [one["time"] for one in after if one["kind"] == "step.done" and one["body"]["step"].startswith("measure ")]
    closed = [one["time"] for one in after if one["kind"] == "evidence.closed"]
    return criteria, since, done[0] if done else 0.0, closed[-1] if closed else 0.0


def candidate_digest(folder: Path, seen: Path | None = None) -> str:
    """Digest of a run's release candidate as it is now; `seen` as in `core.bound.digest_of`."""
    return bound.digest_of(folder / CANDIDATE, seen)


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
