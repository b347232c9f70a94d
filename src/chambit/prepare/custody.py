"""Custody of originals: a folder is sealed file by file, and unsealed bit for bit.

    SEALED/files/ab/<alias>   each file of the folder, sealed (`envelope`); the alias is a keyed hash of its name
    SEALED/manifest           sealed too: of each file its name, size, SHA-256 and alias

Sealing goes on where it was stopped: a file lies under its alias only after it was written, flushed, read back and
found equal to the original. The manifest is written last. Originals are deleted only when asked, and only after that.

Known failures: times, owners, rights and empty folders are not kept; links are refused. Deleting an original takes its
name from the disk, not every trace of its bytes. An older manifest put back with all its files is not noticed: compare
its digest with the one that was told when it was sealed.
"""

import hashlib
import io
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from chambit.core import digest
from chambit.core.errors import InputError, Problem
from chambit.prepare import envelope
from chambit.prepare.envelope import Key
from chambit.prepare.identifiers import masked

MANIFEST = "manifest"
FILES = "files"
CERTIFICATE = "disposal.json"
_WRITING = ".writing-"

Tell = Callable[[int, int], None]
"""Is told how many files are done, and of how many."""


class Held(NamedTuple):
    """A file in custody: its path below the folder with `/`, size in bytes, SHA-256, and the alias it is kept under."""

    name: str
    size: int
    sha256: str
    alias: str


class Manifest(NamedTuple):
    """All files in custody, by name. As JSON it is ASCII, so that a name that is not UTF-8 comes back as it was."""

    files: tuple[Held, ...]

    @property
    def size(self) -> int:
        """Bytes of all originals."""
        return sum(held.size for held in self.files)

    def json(self) -> bytes:
        """As it is sealed."""
        return json.dumps({"files": [held._asdict() for held in self.files]}, ensure_ascii=True).encode()

    @classmethod
    def of(cls, content: bytes) -> "Manifest":
        """What `json` gave."""
        return cls(tuple(Held(**entry) for entry in json.loads(content)["files"]))


class Sealed(NamedTuple):
    """What sealing did: files now in custody, their bytes, how many were sealed before, how many originals deleted."""

    files: int
    bytes: int
    before: int
    removed: int
    manifest: str
    key: str
    key_made: bool


class Unsealed(NamedTuple):
    """What unsealing did: files and bytes restored, and how many were there already."""

    files: int
    bytes: int
    before: int


def seal(folder: Path, sealed: Path, keyfile: Path, *, remove: bool = False, tell: Tell | None = None) -> Sealed:
    """Seal every file of a folder; what an earlier, stopped call sealed is checked and kept.

    Args:
        folder: the originals. Hidden files are sealed as well.
        sealed: where the sealed files go. Files it holds already and the folder no longer has stay in the manifest.
        keyfile: made, with mode 0600, where `sealed` holds nothing yet and there is no such file.
        remove: delete each original after all were verified. Nothing is overwritten.
        tell: is told of progress.

    Raises:
        InputError: the key lies where it must not or does not fit, a link or special file, a changed original.
    """
    folder, sealed = folder.resolve(), sealed.resolve()
    _check_places(folder, sealed, keyfile)
    names = _listed(folder)
    made = not (keyfile.exists() or keyfile.is_symlink()) and not _sealed_with(sealed)
    key = envelope.make_key(keyfile) if made else envelope.read_key(keyfile)
    if (other := _sealed_with(sealed)) not in ("", key.fingerprint):
        what = f"was sealed with key {other}, this is key {key.fingerprint}"
        raise InputError("The key does not fit.", [Problem(str(sealed), what, "give that key, or another --out")])
    try:
        return _seal(folder, sealed, key, names, made, remove, tell or (lambda done, of: None))
    except OSError as error:  # the file's name stays out of the text: it may be a patient's
        problem = Problem(str(sealed), error.strerror or "cannot be written", "mend that and give the same command")
        raise InputError("Sealing stopped; what was sealed is kept.", [problem]) from None


def unseal(sealed: Path, folder: Path, keyfile: Path, *, tell: Tell | None = None) -> Unsealed:
    """Restore every original bit for bit; a file that is there already is compared and left.

    What is damaged is named at the end by its alias; everything else is restored. Restored files have mode 0600.

    Raises:
        InputError: with the reason for each file that could not be restored.
    """
    key = key_of(sealed, keyfile)
    manifest = read_manifest(sealed, key)
    problems: list[Problem] = []
    before = 0
    for done, held in enumerate(manifest.files, start=1):
        try:
            before += _restore(sealed, folder.resolve(), held, key)
        except InputError as error:
            problems += error.problems
        except OSError as error:
            what = f"the original of {held.alias} cannot be written ({error.strerror})"
            problems.append(Problem(str(folder), what, "mend that and give the same command"))
        if tell:
            tell(done, len(manifest.files))
    if problems:
        good = len(manifest.files) - len(problems)
        raise InputError(f"{good} of {len(manifest.files)} files are restored, {len(problems)} are not.", problems)
    return Unsealed(len(manifest.files), manifest.size, before)


def key_of(sealed: Path, keyfile: Path) -> Key:
    """The key of a sealed folder.

    Raises:
        InputError: there is no such key; the folder was disposed of, or should have been: a copy of its key is left.
    """
    gone = sealed / CERTIFICATE
    try:
        key = envelope.read_key(keyfile)
    except InputError:
        if not gone.exists():
            raise
        what, remedy = "its key was destroyed; nothing can read it", f"see {gone.name} beside it"
        raise InputError("It was disposed of.", [Problem(str(sealed), what, remedy)]) from None
    if gone.exists() and key.fingerprint == _sealed_with(sealed):
        what = "was disposed of, but this file is a copy of its key: the disposal is void while a copy is left"
        raise InputError("It was disposed of.", [Problem(str(keyfile), what, "destroy each copy and report it")])
    return key


def read_manifest(sealed: Path, key: Key) -> Manifest:
    """The manifest of a sealed folder.

    Raises:
        InputError: it is missing (sealing never came to its end), was altered, or the key does not fit.
    """
    path = sealed / MANIFEST
    if not path.is_file():
        what, remedy = "holds no manifest", "give the same `chambit seal` again, so that it comes to its end"
        raise InputError("This is not a sealed folder.", [Problem(str(sealed), what, remedy)])
    found = envelope.opened(key, path)
    content = b"".join(found.pieces)
    if found.name != MANIFEST:
        raise envelope.altered(path, "is another sealed file under this name")
    return Manifest.of(content)


def _seal(folder: Path, sealed: Path, key: Key, names: list[str], made: bool, remove: bool, tell: Tell) -> Sealed:
    known = {held.name: held for held in read_manifest(sealed, key).files} if (sealed / MANIFEST).is_file() else {}
    sealed.mkdir(mode=0o700, parents=True, exist_ok=True)
    for left in sealed.rglob(f"{_WRITING}*"):
        left.unlink()  # of a run that was killed
    seen, before = {}, 0
    for done, name in enumerate(names, start=1):
        held, kept, stamp = _one(folder, sealed, key, name, known.get(name))
        known[name], seen[name], before = held, stamp, before + kept
        tell(done, len(names))
    lost = [held for held in known.values() if not _place(sealed, held.alias).is_file()]
    if lost:
        where = [Problem(str(_place(sealed, held.alias)), "is missing", "put it back from a backup") for held in lost]
        raise InputError("What was sealed before is not whole.", where)
    manifest = Manifest(tuple(sorted(known.values())))
    _put_manifest(sealed, key, manifest)
    removed = _removed(folder, seen) if remove else 0
    told = digest.of_file(sealed / MANIFEST)
    return Sealed(len(manifest.files), manifest.size, before, removed, told, key.fingerprint, made)


def _one(folder: Path, sealed: Path, key: Key, name: str, known: Held | None) -> tuple[Held, bool, tuple[int, int]]:
    """Seal one file, unless it is sealed: what is held, whether it was before, and the original's size and time."""
    path, alias = folder / name, key.alias(name)
    place, stamp = _place(sealed, alias), _stamp(folder / name)
    if place.is_file():
        size, sha256 = stamp[0], digest.of_file(path)
        same = _is(place, key, name, sha256)
        if same:
            return Held(name, size, sha256, alias), True, stamp
        if known is not None and known.sha256 != sha256:
            what = "was sealed before with other content"
            raise InputError("An original was changed.", [Problem(_shown(name), what, "seal it to another --out")])
    place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=place.parent, prefix=_WRITING)
    try:
        with os.fdopen(handle, "wb") as target, path.open("rb") as source:
            size, sha256 = envelope.write(key, name, source, target)
            target.flush()
            os.fsync(target.fileno())
            # what is read back shall come from the disk, as far as the system lets us ask for it
            os.posix_fadvise(target.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        if _stamp(path) != stamp:
            problem = Problem(_shown(name), "was changed while it was read", "stop what writes there, then seal again")
            raise InputError("An original was changed.", [problem])
        if not _is(Path(temporary), key, name, sha256):
            problem = Problem(str(place), "reads back other than it was written", "check the disk, then seal again")
            raise InputError("A sealed file is not what was written.", [problem])
        os.replace(temporary, place)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    envelope.flush_folder(place.parent)
    return Held(name, size, sha256, alias), False, stamp


def _is(place: Path, key: Key, name: str, sha256: str) -> bool:
    """Whether a sealed file holds this original."""
    sha = hashlib.sha256()
    try:
        found = envelope.opened(key, place)
        for piece in found.pieces:
            sha.update(piece)
    except InputError:
        return False
    return found.name == name and sha.hexdigest() == sha256


def _put_manifest(sealed: Path, key: Key, manifest: Manifest) -> None:
    path = sealed / MANIFEST
    if path.is_file() and read_manifest(sealed, key) == manifest:
        return  # so that its digest stays what was told
    handle, temporary = tempfile.mkstemp(dir=sealed, prefix=_WRITING)
    with os.fdopen(handle, "wb") as target:
        envelope.write(key, MANIFEST, io.BytesIO(manifest.json()), target)
        target.flush()
        os.fsync(target.fileno())
    os.replace(temporary, path)
    envelope.flush_folder(sealed)
    if read_manifest(sealed, key) != manifest:
        raise envelope.altered(path, "reads back other than it was written")


def _restore(sealed: Path, folder: Path, held: Held, key: Key) -> bool:
    """Write one original; returns whether it was there before."""
    target = (folder / held.name).absolute()
    if ".." in Path(held.name).parts or Path(held.name).is_absolute():
        raise envelope.altered(sealed / MANIFEST, "names a file outside of the folder")
    if target.exists():
        if digest.of_file(target) == held.sha256:
            return True
        what = f"holds another file where the original of {held.alias} belongs"
        raise InputError("It would be overwritten.", [Problem(str(folder), what, "give an empty folder")])
    place = _place(sealed, held.alias)
    found = envelope.opened(key, place)
    if found.name != held.name:
        raise envelope.altered(place, "holds another file than the manifest says")
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=_WRITING)
    sha = hashlib.sha256()
    try:
        with os.fdopen(handle, "wb") as file:
            for piece in found.pieces:
                sha.update(piece)
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        if sha.hexdigest() != held.sha256:
            raise envelope.altered(place, "holds another version of the file than the manifest says")
        os.replace(temporary, target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return False


def _removed(folder: Path, seen: Mapping[str, tuple[int, int]]) -> int:
    changed = [name for name, stamp in seen.items() if _stamp(folder / name) != stamp]
    if changed:
        where = [Problem(_shown(name), "was changed after it was sealed", "seal again") for name in changed]
        raise InputError("Nothing was deleted: originals were changed.", where)
    for name in seen:
        (folder / name).unlink()
    for here, _, _ in os.walk(folder, topdown=False):
        if Path(here) != folder and not os.listdir(here):
            os.rmdir(here)
    return len(seen)


def _check_places(folder: Path, sealed: Path, keyfile: Path) -> None:
    problems = []
    if not folder.is_dir():
        problems.append(Problem(str(folder), "is not a folder", "give the folder that holds the originals"))
    if sealed.is_relative_to(folder) or folder.is_relative_to(sealed):
        problems.append(Problem(str(sealed), "lies inside the other folder", "give a folder apart with --out"))
    if where := _too_near(keyfile, folder, sealed):
        what = f"lies {where}; whoever copies the one would copy the other"
        problems.append(Problem(str(keyfile), what, "keep the key on another medium, at least in a folder apart"))
    if problems:
        raise InputError("Nothing was sealed.", problems)


def _too_near(keyfile: Path, folder: Path, sealed: Path) -> str:
    """Why a key may not lie where it does, or ""."""
    home = keyfile.parent.resolve()
    if home.is_relative_to(folder) or home.is_relative_to(sealed):
        return "inside what it seals"
    if home in (folder.parent, sealed.parent):
        return "beside what it seals"
    studies = (path for path in home.glob("*.y*ml") if path.is_file())
    if any(line.startswith(b"chambit:") for path in studies for line in path.read_bytes().splitlines()):
        return "beside a study"
    return ""


def _listed(folder: Path) -> list[str]:
    """Paths of all files below the folder, sorted."""
    names, problems = [], []
    unread: list[OSError] = []
    for here, folders, files in os.walk(folder, onerror=unread.append):
        for name in (*folders, *files):
            path = Path(here, name)
            if path.is_symlink() or not (path.is_dir() or path.is_file()):
                what = "is a link or a special file, which would not be sealed"
                problems.append(Problem(_shown(path.relative_to(folder).as_posix()), what, "put the file itself there"))
        names += [Path(here, name).relative_to(folder).as_posix() for name in files]
    problems += [Problem(str(folder), f"a folder in it cannot be read ({error.strerror})") for error in unread]
    if not names and not problems:
        problems.append(Problem(str(folder), "holds no files", "give the folder that holds the originals"))
    if problems:
        raise InputError("Nothing was sealed.", problems)
    return sorted(names)


def _sealed_with(sealed: Path) -> str:
    """The fingerprint of the key of a sealed folder, "" where it holds nothing sealed."""
    return next((mark for path in _parts(sealed) if (mark := envelope.fingerprint_of(path))), "")


def _parts(sealed: Path) -> Iterator[Path]:
    yield from (path for path in [sealed / MANIFEST] if path.is_file())
    yield from (path for path in (sealed / FILES).rglob("*") if path.is_file() and not path.name.startswith(_WRITING))


def _place(sealed: Path, alias: str) -> Path:
    return sealed / FILES / alias[:2] / alias


def _stamp(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_size, found.st_mtime_ns


def _shown(name: str) -> str:
    """A file's name as an error may show it: it may be a patient's, and need not be UTF-8."""
    return masked(os.fsencode(name).decode("utf-8", "backslashreplace"))
