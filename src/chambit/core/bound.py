"""A folder bound by one digest: SHA-256 over the names and hashes of all its files.

Hashes can be kept with sizes and times, so that looking again at an unchanged folder costs a listing; what must not be
fooled by a file that was changed behind the back of its time reads every byte.
"""

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from chambit.core import digest
from chambit.core.errors import InputError, Problem
from chambit.core.store import write_atomically


def digest_of(folder: Path, seen: Path | None = None) -> str:
    """SHA-256 over the lines `hash  name` of all files below a folder, in the order of the names' bytes.

    Args:
        folder: with files and folders, no links.
        seen: a file in which hashes are kept; a file of the same size, time and number is not read again. Without it
            every byte is read.

    Raises:
        InputError: naming a link.
    """
    return of_files(files_of(folder, seen))


def files_of(folder: Path, seen: Path | None = None) -> dict[str, str]:
    """SHA-256 of each file by its name relative to the folder; see `digest_of`."""
    known: Mapping[str, Any] = json.loads(seen.read_bytes()) if seen is not None and seen.is_file() else {}
    now: dict[str, list[Any]] = {}
    for name, entry in _files(folder, ""):
        if entry.is_symlink():
            problem = Problem(entry.path, "is a link", "put the file itself there")
            raise InputError("The folder cannot be bound by a digest.", [problem])
        there = entry.stat()
        stamp = [there.st_size, there.st_mtime_ns, there.st_ino]
        old = known.get(name)
        now[name] = [*stamp, old[3] if old is not None and old[:3] == stamp else digest.of_file(Path(entry.path))]
    if seen is not None and now != known:
        seen.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(seen, json.dumps(now).encode())
    return {name: entry[3] for name, entry in now.items()}


def _files(folder: Path | str, prefix: str) -> Iterator[tuple[str, "os.DirEntry[str]"]]:
    """Every file and link below a folder with its name relative to it; links are not followed."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _files(entry.path, f"{prefix}{entry.name}/")
            else:
                yield f"{prefix}{entry.name}", entry


def of_files(files: Mapping[str, str]) -> str:
    """The digest of a folder whose files have these hashes.

    >>> of_files({"a.png": "0" * 64}) == of_files({"b.png": "0" * 64})
    False
    """
    lines = "".join(f"{files[name]}  {name}\n" for name in sorted(files, key=os.fsencode))
    return digest.of_bytes(lines.encode("utf-8", "surrogateescape"))
