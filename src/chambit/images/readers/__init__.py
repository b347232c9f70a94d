"""Readers: one file per format; each says which file names it takes and turns one file into images.

A file may hold several images: frames of a film, pages, slices of a volume, tiles of a slide. Such a reader has
`frames(path) -> int`, which decodes none of them, and its `read` yields them one at a time.
"""

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType

from chambit.core import extensions
from chambit.core.errors import InputError, Problem
from chambit.images.image import Image

HEAD = 256  # bytes of a file that a reader sees before it says whether it takes the file


@cache
def _all() -> dict[str, ModuleType]:
    # Listing parses every reader's docstring; once a process is enough for a folder of a million files.
    package = "chambit.images.readers"
    return {name: extensions.load(package, name) for name in extensions.listing(package)}


def find(path: Path) -> tuple[str, ModuleType]:
    """The reader that recognises a file by its first bytes: public name and module.

    Raises:
        InputError: when the file cannot be opened, is empty, or no reader knows it.
    """
    try:
        with path.open("rb") as file:
            head = file.read(HEAD)
    except OSError as error:
        problem = Problem(path.name, f"cannot be opened ({error.strerror})", "check that it exists and may be read")
        raise InputError(f"{path.name} cannot be opened.", [problem]) from error
    if not head:
        problem = Problem(path.name, "the file is empty (0 bytes)", "copy it again from where it came from")
        raise InputError(f"{path.name} is empty.", [problem])
    for name, reader in _all().items():
        if reader.recognises(path, head):
            return name, reader
    named = any(path.suffix.lower() in reader.SUFFIXES for reader in _all().values())
    what = "not an image Chambit can read" + (f", whatever the ending {path.suffix} says" if named else "")
    formats = ", ".join(f"{name} ({' '.join(reader.SUFFIXES)})" for name, reader in _all().items())
    problem = Problem(path.name, what, f"readable are: {formats}; by content, not by name")
    raise InputError(f"{path.name} is not an image Chambit can read.", [problem])


def open_any(path: Path, part: str = "") -> Iterator[tuple[str, Image]]:
    """Yield (part name, image) of a file in any format; a file with one image yields ("", image).

    Args:
        path: the file.
        part: which part of a file with several sets, for example `train` of an .npz, or the number of one frame,
            `0` for the first; "" for all.

    Raises:
        InputError: naming the file, the reason and the remedy.
    """
    _, reader = find(path)
    yield from reader.read(path, part)


def frames(path: Path, reader: ModuleType) -> int:
    """How many images a file holds, none of which is decoded; 1 for a reader that knows single images alone.

    Raises:
        InputError: naming the file, the reason and the remedy.
    """
    return int(reader.frames(path)) if hasattr(reader, "frames") else 1


def wanted(path: Path, part: str, count: int) -> range:
    """The frames that `part` asks for out of `count`: all for "", else the one of that number.

    Raises:
        InputError: when there is no frame of that number.

    >>> wanted(Path("film.dcm"), "", 3), wanted(Path("film.dcm"), "2", 3)
    (range(0, 3), range(2, 3))
    """
    if not part:
        return range(count)
    if not part.isdecimal() or int(part) >= count:
        raise refusal(path, f"has no frame '{part}'", f"its frames are 0 to {count - 1}")
    return range(int(part), int(part) + 1)


def refusal(path: Path, what: str, remedy: str) -> InputError:
    """The error of a reader that refuses a file: what is wrong with it and how to mend it.

    It names the file alone, not its folder, so that a refusal reads the same on every machine.
    """
    return InputError(f"{path.name} cannot be used.", [Problem(path.name, what, remedy)])
