"""The dossier of a study as files: HTML, its twin in JSON, and PDF, with what people found and stated since the run.

Where nothing was added, HTML and JSON are the run's own files. A decision names the digest of the run's own HTML, so
that file can always be had as well.

Laying a PDF out takes some twenty seconds of one core. That happens once for each state of a study, in a process beside
the server, which goes on answering, and one at a time; whoever asks for the same one meanwhile waits for it.
"""

import multiprocessing
import threading
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import cache
from pathlib import Path
from typing import NamedTuple

from chambit import __version__
from chambit.core import digest
from chambit.core.errors import ChambitError, Problem
from chambit.core.store import write_atomically
from chambit.hub import desk, experts, runs, studies
from chambit.hub.hub import Hub
from chambit.hub.refusals import HubError
from chambit.hub.studies import Study
from chambit.report import dossier, paper
from chambit.report.medium import Language

FOLDER = "papers"
FOUND = "experts.json"
"""What people found, as it is attached to a PDF."""
_LOCK = threading.Lock()
_making: dict[Path, Future[None]] = {}


class _Added(NamedTuple):
    """A dossier with what was added to it since the run, and the findings of people as a file."""

    bundle: dossier.Bundle
    files: dict[str, bytes]


@cache
def lacking() -> Problem | None:
    """What this server lacks to make a PDF, looked up once; None when all is there."""
    return paper.missing()


def page(hub: Hub, study: Study) -> bytes:
    """The dossier as one HTML page; raises as `pdf` does of files."""
    added = _added(hub, study)
    return dossier.render(added.bundle).encode() if added else (study.folder / "dossier.html").read_bytes()


def twin(hub: Hub, study: Study) -> bytes:
    """The dossier for machines; raises as `pdf` does of files."""
    added = _added(hub, study)
    return dossier.twin(added.bundle) if added else (study.folder / "dossier.json").read_bytes()


def pdf(hub: Hub, study: Study, language: Language) -> Path:
    """The PDF of the study as it stands, made where it is not there yet.

    Raises:
        HubError: when this server cannot make one, or the run's files are not those that were registered.
    """
    added = _added(hub, study)
    if problem := lacking():
        raise HubError(
            f"이 서버에서는 PDF를 만들 수 없습니다. 서버를 맡은 사람이 할 일: {problem.remedy}",
            f"This server cannot make a PDF: {problem.what}. For whoever runs it: {problem.remedy}",
        )
    there = hub.folder / "studies" / study.id / FOLDER / f"{_name(study.folder, added)}-{language}.pdf"
    if not there.is_file():
        _made(study.folder, language, added, there)
    return there


def bound(hub: Hub, study: Study) -> None:
    """Look whether the run's files are those the hub knows.

    Raises:
        HubError: when a file is not there, or the evidence is other than what was registered last.
    """
    newest = studies.candidates(hub.database, study.id)[0]
    try:
        same = digest.of_file(study.folder / "evidence.json") == newest.evidence
    except OSError:
        same = False
    if not same:
        raise HubError(
            "실행 폴더의 근거가 등록된 것과 다릅니다. 연구 화면을 열어 무엇이 바뀌었는지 확인하십시오.",
            "The evidence in the run's folder is not what was registered. Open the study's page to see what changed.",
        )


def _added(hub: Hub, study: Study) -> _Added | None:
    """The dossier with what was added since the run; None where nothing was."""
    bound(hub, study)
    told = desk.experts_of(hub, study, runs.read(study.folder, hub.seen(study.id)).measured)
    made, stands = desk.dossier_of(study.folder), desk.bundle_of(hub, study, told)
    if not told.counted and stands.attached == made.attached:
        return None
    if not told.counted:
        return _Added(stands, {})
    named = "; ".join(f"{one.name} {one.digest}" for one in told.counted)
    return _Added(stands.model_copy(update={"facts": stands.facts | {"experts": named}}), {FOUND: experts.file(told)})


def _name(folder: Path, added: _Added | None) -> str:
    """Digest of all that the PDF of a study follows from."""
    of_run = [digest.of_file(folder / name) for name in paper.ENCLOSED]
    of_added = map(digest.of_bytes, (dossier.twin(added.bundle), *added.files.values())) if added else ()
    return digest.of_bytes(f"{__version__} {paper.EDITION} {''.join((*of_run, *of_added))}".encode())


def _made(folder: Path, language: Language, added: _Added | None, there: Path) -> None:
    with _LOCK:
        if there.is_file():  # somebody else's was finished in this moment
            return
        job = _making.get(there)
        if job is None:
            job = _making[there] = _worker().submit(_write, folder, language, added, there)
    try:
        job.result()
    except (ChambitError, BrokenProcessPool) as error:
        if isinstance(error, BrokenProcessPool):
            _worker.cache_clear()
        raise HubError(
            f"PDF를 만들지 못했습니다. HTML과 JSON은 받을 수 있습니다. ({error})",
            f"The PDF could not be made; HTML and JSON are there. ({error})",
        ) from error
    finally:
        with _LOCK:
            if _making.get(there) is job:
                del _making[there]


def _write(folder: Path, language: Language, added: _Added | None, there: Path) -> None:
    """Make one PDF; runs in the process beside the server."""
    made = paper.of_run(folder, language, *(added or ()))
    there.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(there, made)


@cache
def _worker() -> ProcessPoolExecutor:
    """One process that is new for each PDF, so that what a layout took is given back."""
    return ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), max_tasks_per_child=1)
