"""Disposal of originals in custody by cryptographic erasure, with a certificate that can be checked afterwards.

The key is overwritten, flushed and unlinked; then reading is tried and must fail. What was sealed stays where it is and
can be read by nobody. Before the key goes, what is to be destroyed is written down, so that a crash in between leaves
no loss without a record: the same command finishes the certificate.

Source: NIST SP 800-88 Rev. 1, doi:10.6028/NIST.SP.800-88r1, section 2.6 (cryptographic erase).

Known failures, which the certificate states: it holds only if no other copy of the key exists; a file system that
copies on write and a flash disk may keep the old blocks of the key file, which a program cannot reach; originals that
lay unencrypted elsewhere, and backups of them, are not touched.
"""

import datetime
import json
import os
from pathlib import Path
from typing import Any

from pydantic import Field

from chambit.core import digest
from chambit.core.errors import ChambitError, InputError, Problem, StoreError
from chambit.core.evidence import Frozen
from chambit.core.ledger import Ledger
from chambit.core.store import write_atomically
from chambit.prepare import custody, envelope
from chambit.prepare.custody import CERTIFICATE

PAGE = "disposal.html"
_BEGUN = "disposal.begun.json"
EVENT = "custody.disposed"
METHOD = (
    "Cryptographic erase, NIST SP 800-88 Rev. 1 section 2.6: AES-256-GCM, a data key for each file, all wrapped by one "
    "key; that key was overwritten with zeros, flushed to the disk and unlinked."
)


class Certificate(Frozen):
    """What was disposed of, when, by whom, how, and what was seen afterwards.

    Attributes:
        format: of this record.
        disposed: time in UTC, ISO 8601.
        by: the person who did it.
        reason: why, in that person's words.
        manifest: SHA-256 of the sealed manifest, which anyone can compute again without the key.
        files, bytes: of the originals.
        method: in words, with its source.
        key: fingerprint, the first 16 hexadecimal digits of the SHA-256 of the key.
        test_read: what reading said after the key was destroyed.
        ledger_head: hash of the last event of the study's ledger before, or "" where none was given.
    """

    format: str = "chambit disposal certificate 1"
    disposed: str
    by: str = Field(min_length=1)
    reason: str = Field(min_length=1)
    manifest: str
    files: int
    bytes: int
    method: str = METHOD
    key: str
    test_read: str = ""
    ledger_head: str = ""

    @property
    def digest(self) -> str:
        """SHA-256 of its canonical JSON; this is what the ledger records."""
        return digest.of_json(self.model_dump(mode="json"))


def dispose(
    sealed: Path,
    keyfile: Path,
    by: str,
    reason: str,
    *,
    work: Path | None = None,
    now: datetime.datetime | None = None,
) -> Certificate:
    """Destroy the key of a sealed folder and write `disposal.json` and `disposal.html` into it.

    Args:
        sealed: what `custody.seal` made; its manifest must open with the key, so that the right key is destroyed.
        keyfile: the key.
        by: who does it.
        reason: why.
        work: the work folder of the study (or its output folder), whose ledger then records the certificate.
        now: the time, with its zone; None is now.

    Raises:
        InputError: it was disposed of before, the key does not fit, the work folder has no ledger, nobody or no reason.
        ChambitError: what is sealed can still be read afterwards.
    """
    database = _database(work)
    if (sealed / CERTIFICATE).exists():
        problem = Problem(str(sealed), "was disposed of before", f"see {CERTIFICATE} beside it")
        raise InputError("There is nothing to dispose of.", [problem])
    ledger = Ledger.beside(database) if database else None
    try:
        begun = _resumed(sealed, keyfile) or _begun(sealed, keyfile, by.strip(), reason.strip(), ledger, now)
        if keyfile.exists():
            destroy(keyfile)
        done = begun.model_copy(update={"test_read": _tried(sealed, keyfile)})
        if ledger is not None:
            body = {"certificate": done.digest, "manifest": done.manifest, "files": done.files, "bytes": done.bytes}
            if body not in [event["body"] for event in ledger.events(EVENT)]:
                ledger.add_event(EVENT, body)
    finally:
        if ledger is not None:
            ledger.close()
    _put(sealed / CERTIFICATE, done.model_dump(mode="json") | {"sha256": done.digest})
    write_atomically(sealed / PAGE, _page(done).encode())
    (sealed / _BEGUN).unlink()
    return done


def check(sealed: Path, *, work: Path | None = None) -> list[Problem]:
    """Problems of the certificate of a sealed folder: altered, of another manifest, or not what the ledger recorded.

    Raises:
        InputError: there is no certificate, or the work folder has no ledger.
    """
    path = sealed / CERTIFICATE
    try:
        raw = json.loads(path.read_bytes())
        told = raw.pop("sha256")
        certificate = Certificate.model_validate(raw)
    except OSError as error:
        raise InputError("There is no certificate.", [Problem(str(path), error.strerror or str(error))]) from None
    except (ValueError, KeyError, TypeError, AttributeError):
        return [Problem(str(path), "is not a certificate of disposal", "take it from the file that was handed out")]
    problems = []
    if certificate.digest != told:
        problems.append(
            Problem(str(path), "was altered: its SHA-256 is another than it says", "take the original file")
        )
    manifest = sealed / custody.MANIFEST
    if not manifest.is_file() or digest.of_file(manifest) != certificate.manifest:
        problems.append(Problem(str(manifest), "is not the manifest it speaks of", "put the two together that belong"))
    if (database := _database(work)) is not None:
        problems += _recorded(database, certificate)
    return problems


def _recorded(database: Path, certificate: Certificate) -> list[Problem]:
    ledger = Ledger.beside(database)
    try:
        ledger.verify()
        known = [event["body"]["certificate"] for event in ledger.events(EVENT)]
    except StoreError as error:
        return [Problem(str(database), str(error))]
    finally:
        ledger.close()
    if certificate.digest in known:
        return []
    return [Problem(str(database), "the ledger does not record this certificate", "compare it with the one recorded")]


def _begun(
    sealed: Path, keyfile: Path, by: str, reason: str, ledger: Ledger | None, now: datetime.datetime | None
) -> Certificate:
    """Write down what is to be destroyed, before anything is."""
    lacking = [
        Problem(f"--{name}", "is empty", "fill it in") for name, given in (("by", by), ("reason", reason)) if not given
    ]
    if lacking:
        raise InputError("A disposal names who and why.", lacking)
    key = custody.key_of(sealed, keyfile)
    manifest = custody.read_manifest(sealed, key)
    begun = Certificate(
        disposed=(now or datetime.datetime.now(datetime.UTC)).astimezone(datetime.UTC).isoformat(timespec="seconds"),
        by=by,
        reason=reason,
        manifest=digest.of_file(sealed / custody.MANIFEST),
        files=len(manifest.files),
        bytes=manifest.size,
        key=key.fingerprint,
        ledger_head=ledger.verify() if ledger else "",
    )
    _put(sealed / _BEGUN, begun.model_dump(mode="json"))
    return begun


def _resumed(sealed: Path, keyfile: Path) -> Certificate | None:
    """What an earlier call wrote down, where it had destroyed the key; any other file is not touched on its word."""
    path = sealed / _BEGUN
    if not path.exists() or (keyfile.exists() and keyfile.read_bytes() != envelope.ERASED):
        return None
    return Certificate.model_validate_json(path.read_bytes())


def destroy(keyfile: Path) -> None:
    """Overwrite a key file in place with a key of zeros, flush it, unlink it, flush its folder."""
    with keyfile.open("r+b") as file:
        file.write(envelope.ERASED)
        file.truncate()
        file.flush()
        os.fsync(file.fileno())
    keyfile.unlink()
    envelope.flush_folder(keyfile.parent)


def _tried(sealed: Path, keyfile: Path) -> str:
    """What reading says now; it must fail."""
    try:
        custody.read_manifest(sealed, custody.key_of(sealed, keyfile))
    except InputError as error:
        return f"failed: {error.problems[0].what}"
    raise ChambitError("The key was destroyed, yet what was sealed can be read. Do not sign anything; report this.")


def _database(work: Path | None) -> Path | None:
    """The folder that holds the ledger: the one given, or `work` in it."""
    if work is None:
        return None
    for folder in (work, work / "work"):
        if (folder / "ledger.sqlite").is_file():
            return folder
    problem = Problem(str(work), "holds no ledger", "give the output folder of the study, or its work folder")
    raise InputError("The disposal cannot be recorded.", [problem])


def _put(path: Path, content: dict[str, Any]) -> None:
    write_atomically(path, (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode())


def _page(certificate: Certificate) -> str:
    import jinja2

    template = (Path(__file__).parent / "disposal.html.j2").read_text(encoding="utf-8")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    return environment.from_string(template).render(c=certificate, sha256=certificate.digest)
