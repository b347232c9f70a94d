"""A person makes the images by hand and drops them into a folder, each named by the first 16 digits of its key.

`to_make.csv` in that folder lists what is missing: file name, prompt. Nothing is sent anywhere; a second run takes what
has come meanwhile. The images' price is the plan's: what a person pays for a subscription is unknown here.
"""

import csv
import io
import threading
from pathlib import Path

from chambit.core.errors import InputError, Problem
from chambit.core.evidence import Frozen
from chambit.core.store import write_atomically
from chambit.generate.prompted.request import SHORT, Answer, Ask, Pending, Request

version = "1"
LEAVES_SITE = False
KEY = ""
LIST = "to_make.csv"


class Options(Frozen):
    """folder: where the images are dropped."""

    folder: Path


def hosts(options: Options) -> tuple[str, ...]:
    """None."""
    return ()


def opened(options: Options) -> Ask:
    """The look for one image.

    Raises:
        InputError: when the folder is missing.
    """
    if not options.folder.is_dir():
        problem = Problem(str(options.folder), "is no folder", "make it, or name another under provider.options.folder")
        raise InputError("There is nowhere to drop images.", [problem])
    return _Drop(options.folder)


class _Drop:
    """Looks for a request's file and keeps the list of what is missing."""

    waits_for_a_person = True

    def __init__(self, folder: Path) -> None:
        self._folder, self._lock, self._missing = folder, threading.Lock(), {}  # type: ignore[var-annotated]
        self._write()

    def __call__(self, request: Request) -> Answer:
        """The image of a request.

        Raises:
            Pending: when it has not been dropped yet.
        """
        name = request.key[:SHORT]
        found = sorted(path for path in self._folder.glob(f"{name}.*") if path.suffix.lower() in _ENDINGS)
        if found:
            return Answer(found[0].read_bytes(), "DROPPED", model=request.model)
        with self._lock:
            self._missing[name] = request.prompt
            self._write()
        raise Pending(name)

    def _write(self) -> None:
        text = io.StringIO()
        rows = csv.writer(text, lineterminator="\n")
        rows.writerow(["save the image as", "prompt"])
        rows.writerows((f"{name}.png", prompt) for name, prompt in sorted(self._missing.items()))
        write_atomically(self._folder / LIST, text.getvalue().encode())


_ENDINGS = (".png", ".jpg", ".jpeg", ".webp")
