"""A delivered folder as facts: one row a file, by content; and what its table of labels says of each.

Unlike `intake`, nothing is refused here: what is wrong is counted. A file that no reader opens is a row with a reason.
Pixels count as equal across containers: three equal channels are one, and 16 bits that only repeat 8 bits (times 257)
are 8. Subjects are numbered in the order of the files, so no patient's number leaves this module but into the store.

Known failures: a file that holds several images is one row with the size of its first; labels are read from a CSV or
from the names of folders, not from JSON or from inside files.
"""

import csv
import os
import unicodedata
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from chambit.core import digest
from chambit.core.errors import InputError, Problem
from chambit.core.store import Store
from chambit.images import readers
from chambit.images.image import Image
from chambit.prepare.labels import plain
from chambit.prepare.listing import BESIDE

ENDINGS = {
    "PNG": (".png",),
    "JPEG": (".jpg", ".jpeg"),
    "TIFF": (".tif", ".tiff"),
    "BMP": (".bmp",),
    "GIF": (".gif",),
}
"""Endings of names by format, where a reader takes several; the others say theirs themselves."""


@dataclass(frozen=True)
class Listed:
    """What lies in a folder: images to be opened by name, sorted, and the names of texts, tables and masks beside."""

    files: Mapping[str, Path]
    beside: tuple[str, ...]


class Task(NamedTuple):
    """Files of one chunk: name -> path."""

    files: Mapping[str, Path]


class Labels(NamedTuple):
    """The table of labels.

    Attributes:
        columns: names of its columns, in order; empty where there is no table.
        rows: the cells by column, for each delivered file that a row names.
        faults: (line, kind) of rows that cannot be used: `unknown file`, `ambiguous file`, `file again` or `cells`.
        broken: why the table cannot be used at all, or "".
    """

    columns: tuple[str, ...]
    rows: Mapping[str, Mapping[str, str]]
    faults: tuple[tuple[int, str], ...] = ()
    broken: str = ""


def listed(folder: Path) -> Listed:
    """Everything below a folder, without opening a file.

    Raises:
        InputError: when there is no such folder, it holds no file, a part of it cannot be opened, or two names are one
            once letters are spelled alike (NFC).
    """
    if not folder.is_dir():
        raise _stop([Problem(str(folder), "is not a folder", "give the folder that was delivered")])
    unread: list[OSError] = []
    paths: dict[str, list[Path]] = defaultdict(list)
    seen: set[str] = set()
    for here, folders, names in os.walk(folder, followlinks=True, onerror=unread.append):
        if (real := os.path.realpath(here)) in seen:  # a link that leads back up
            folders.clear()
            continue
        seen.add(real)
        for file in names:
            below = os.fsencode(Path(here, file).relative_to(folder).as_posix())
            paths[unicodedata.normalize("NFC", below.decode("utf-8", "backslashreplace"))].append(Path(here, file))
    problems = [Problem(str(error.filename), f"cannot be opened ({error.strerror})") for error in unread]
    twice = sorted(name for name, same in paths.items() if len(same) > 1)
    problems += [Problem(name, "is there twice, spelled with other code points", "rename one") for name in twice]
    if not paths and not problems:
        problems = [Problem(str(folder), "the folder is empty", "give the folder that was delivered")]
    if problems:
        raise _stop(problems)
    beside = sorted(name for name in paths if _is_beside(name))
    files = {name: paths[name][0] for name in sorted(paths.keys() - set(beside))}
    if not files:
        what = f"holds no image, only {len(beside)} texts, tables, masks or hidden files"
        raise _stop([Problem(str(folder), what, "give the folder that was delivered")])
    return Listed(files, tuple(beside))


def _is_beside(name: str) -> bool:
    return any(part.startswith(".") for part in name.split("/")) or name.lower().endswith(BESIDE)


def _stop(problems: Sequence[Problem]) -> InputError:
    return InputError("There is nothing to inspect.", problems)


def take(store: Store, task: Task) -> str:
    """Open the files of one chunk; keeps a JSON list of `facts`."""
    return store.put_json([facts(name, path) for name, path in task.files.items()])


def facts(name: str, path: Path) -> dict[str, Any]:
    """What one file is, by content.

    Returns:
        file, bytes, sha256 (of the bytes), readable, reason, remedy, format, ending (whether the name agrees), images,
        rows, columns, bits, colour, pixels (SHA-256 of the pixels), subject, modality, part. Where it cannot be read,
        the words are "" and the numbers 0.
    """
    row: dict[str, Any] = dict.fromkeys(("sha256", "reason", "remedy", "format", "pixels", "colour"), "")
    row |= dict.fromkeys(("subject", "modality", "part"), "")
    row |= dict.fromkeys(("images", "rows", "columns", "bits", "bytes"), 0)
    row |= {"file": name, "readable": False, "ending": True}
    try:
        reader, module = readers.find(path)
        row |= {"bytes": path.stat().st_size, "sha256": digest.of_file(path)}
        row |= _seen(path, module.read(path))
    except InputError as error:
        problem = error.problems[0]
        if not row["sha256"] and path.is_file() and os.access(path, os.R_OK):
            row |= {"bytes": path.stat().st_size, "sha256": digest.of_file(path)}
        return row | {"reason": problem.what, "remedy": problem.remedy}
    row |= {"readable": True, "format": (known := _format(path, reader))}
    row["ending"] = _agrees(name.lower(), known, tuple(module.SUFFIXES))
    return row | (_header(path) if known == "DICOM" else {})


def _seen(path: Path, images: Iterator[tuple[str, Image]]) -> dict[str, Any]:
    """What the images of one file are; one after the other, for a video has thousands."""
    row: dict[str, Any] = {}
    digests = []
    for _, image in images:
        digests.append(_pixels(image))
        if not row:
            height, width = image.pixels.shape[:2]
            row = {"rows": int(height), "columns": int(width), "bits": image.white.bit_length(), "colour": "grey"}
            row |= {"subject": image.subject, "modality": image.fields.get("modality", "")}
        if image.colour:
            row["colour"] = "colour"
    if not digests:
        raise readers.refusal(path, "holds no image", "ask for it again")
    return row | {"images": len(digests), "pixels": digests[0] if len(digests) == 1 else digest.of_json(digests)}


def _agrees(name: str, known: str, suffixes: tuple[str, ...]) -> bool:
    """Whether a name ends as its content asks; DICOM asks for none, and a UID ends in a number: any but another's."""
    if known == "DICOM":
        return not name.endswith(tuple(ending for endings in ENDINGS.values() for ending in endings))
    return name.endswith(ENDINGS.get(known, suffixes))


def _format(path: Path, reader: str) -> str:
    if reader != "raster":
        return reader.upper()
    from PIL import Image as Pillow

    with warnings.catch_warnings(), Pillow.open(path) as opened:  # only its header; the reader has read all of it
        return str(opened.format)


def _header(path: Path) -> dict[str, Any]:
    """BitsStored and BodyPartExamined of a DICOM file; the window of a viewer does not count."""
    from pydicom import dcmread

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom quotes odd values, which can be a patient's
        data = dcmread(path, force=True, specific_tags=["BitsStored", "BodyPartExamined"])
        part = " ".join(str(data.get("BodyPartExamined") or "").split())
        return {"bits": int(data.BitsStored), "part": part}


def _pixels(image: Image) -> str:
    """SHA-256 of the pixels, the same for one picture in another container."""
    plane = image.pixels[:, :, 0] if image.pixels.ndim == 3 and not image.colour else image.pixels
    if image.white == 65535 and not (plane % 257).any():
        plane = (plane // 257).astype(np.uint8)
    return digest.of_array(plane)


def read_labels(path: Path, names: Sequence[str]) -> Labels:
    """The table of labels (CSV, the first line names the columns), matched to the delivered files.

    A row names a file by its path below the folder, or by its bare name where that is unique. Nothing is raised for
    what is wrong with it: the faults are counted.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            columns = tuple(name.strip() for name in next(reader, []))
            lines = [(reader.line_num, cells) for cells in reader if any(cell.strip() for cell in cells)]
    except OSError as error:
        what = "there is no such file" if isinstance(error, FileNotFoundError) else "cannot be opened"
        return Labels((), {}, (), what)
    except (UnicodeDecodeError, csv.Error):
        return Labels((), {}, (), "is not CSV in UTF-8")
    if "file" not in columns or len(set(columns)) < len(columns):
        what = "has no column `file`" if "file" not in columns else "names a column twice"
        return Labels(columns, {}, (), what)
    bare: dict[str, list[str]] = defaultdict(list)
    for name in names:
        bare[name.rsplit("/", 1)[-1]].append(name)
    known = set(names)
    rows: dict[str, Mapping[str, str]] = {}
    faults = []
    for line, cells in lines:
        row = dict(zip(columns, (cell.strip() for cell in cells), strict=False))
        called = plain(row.get("file", ""))
        here = [called] if called in known else bare.get(called, [])
        if len(cells) != len(columns):
            faults.append((line, "cells"))
        elif len(here) != 1:
            faults.append((line, "ambiguous file" if here else "unknown file"))
        elif here[0] in rows:
            faults.append((line, "file again"))
        else:
            rows[here[0]] = row
    return Labels(columns, rows, tuple(faults))


def told(records: Sequence[Mapping[str, Any]], labels: Labels | None, groups: Sequence[str]) -> list[dict[str, Any]]:
    """The rows with class, subject and groups filled in, and the number of copies.

    Args:
        records: from `facts`, sorted by file.
        labels: the table, or None where a delivery has none: then the class is the name of the first folder.
        groups: names of further columns by which something is to be counted.

    Returns:
        Each record with `class`, `subject` (a number from 1, 0 where it is not known), each group, and `copy_of` (the
        first file with equal pixels, or ""). A class or group is None where nothing can tell it, "" where it was left
        blank.
    """
    numbers: dict[str, int] = {}
    first: dict[str, str] = {}
    out = []
    for record in records:
        row = dict(record)
        said = labels.rows.get(row["file"], {}) if labels else {}
        for group in dict.fromkeys(("class", "modality", "part", *groups)):
            row[group] = _said(group, row, said, labels)
        subject = said.get("subject") or row["subject"]
        row["subject"] = numbers.setdefault(subject, len(numbers) + 1) if subject else 0
        same = first.setdefault(row["pixels"], row["file"]) if row["readable"] else row["file"]
        row["copy_of"] = "" if same == row["file"] else same
        out.append(row)
    return out


def _said(group: str, row: Mapping[str, Any], said: Mapping[str, str], labels: Labels | None) -> str | None:
    column = "label" if group == "class" else group
    if labels and column in labels.columns and not labels.broken:
        return said.get(column) or row.get(group) or ""
    if group == "class":
        return str(row["file"]).split("/", 1)[0] if labels is None and "/" in row["file"] else None
    return row.get(group) or None


def counted(rows: Sequence[Mapping[str, Any]], group: str) -> dict[str, int]:
    """How many readable files there are of each value of a group, most first; "" and None are not counted."""
    found = Counter(str(row[group]) for row in rows if row["readable"] and row[group])
    return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))
