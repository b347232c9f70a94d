"""What there is to take in: each file below a folder, or each image of an .npz, with what is said of it.

Listing opens no image. Hidden files, texts and tables (.csv .json .txt .yaml .yml .md) and masks (.mask.png,
or named in the columns `mask` and `layout`) are not images of the cohort: they are counted as lying beside it.
"""

import os
import re
import sys
import unicodedata
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Literal

from chambit.core import digest
from chambit.core.errors import InputError, Problem
from chambit.images import readers
from chambit.images.readers import npz
from chambit.prepare import labels
from chambit.prepare.labels import plain, some

DRAWN = ("mask", "layout")
"""Columns of the labels that name a picture which is no image of the cohort."""
BESIDE = (".csv", ".json", ".txt", ".yaml", ".yml", ".md", ".mask.png")


@dataclass(frozen=True)
class Source:
    """Where real or synthetic images come from.

    Attributes:
        path: a folder (walked with all below it), an .npz, or a single image.
        part: for an .npz: train, val or test; "" takes all.
        labels: CSV with the columns file, subject, label, optionally split, mask and others. `file` is
            relative to the folder, or a bare name if that is unique, or as `train[17]` in an .npz. If None,
            `labels.csv` in the folder is used where there is one. Without any the class is the name of the
            sub-folder.
        class_names: other names for labels, for example `{"0": "normal"}`.
        others: folders that the same labels file speaks of as well; its rows for them are no mistakes here.
        subjects: `file`, or `folder` where each folder below that of the class holds the pictures of one subject in
            their natural order (time-lapse): its name is the subject, and the column `frame` the position in it. Two
            folders of one name in two classes are one subject, so that no person can get into two parts.
    """

    path: Path
    part: str = ""
    labels: Path | None = None
    class_names: Mapping[str, str] = field(default_factory=dict)
    others: tuple[Path, ...] = ()
    subjects: Literal["file", "folder"] = "file"


_NOTHING: Mapping[str, str] = {}  # shared by all entries without free columns: a million empty ones are not free


@dataclass(frozen=True, slots=True)
class Entry:
    """One image to take in.

    Attributes:
        root: the folder that is taken in, or that the file lies in.
        at: its path below that, as the file system spells it.
        name: its path below the folder with `/`, or `train[17]` in an .npz; unique.
        subject: who it shows, or "" while only the file itself can tell.
        label: what is to be seen, renamed by `class_names`; may be "".
        fields: free columns of the labels file, and `mask`.
        index: position in the part of an .npz, or -1.
        part: the part of an .npz, or "".
        refused: why it is refused before it is opened, or "".
        remedy: what to do about that.
        frame: position among the pictures of its subject's folder, from "0"; "" where folders are no subjects.
    """

    root: Path
    at: str
    name: str
    subject: str = ""
    label: str = ""
    fields: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    index: int = -1
    part: str = ""
    refused: str = ""
    remedy: str = ""
    frame: str = ""

    @property
    def path(self) -> Path:
        """The file; made when it is asked for, since a path takes as much memory as all the rest."""
        return self.root / self.at


@dataclass(frozen=True)
class Survey:
    """All entries of a source, sorted by name (by number in an .npz), and how many files lie beside them."""

    entries: tuple[Entry, ...]
    beside: int


def files(source: Source) -> list[Entry]:
    """All images of a source, sorted by name, without opening them.

    Raises:
        InputError: with every problem of the folder and its labels file.
    """
    return list(survey(source).entries)


def survey(source: Source) -> Survey:
    """All images of a source and the number of files beside them.

    Raises:
        InputError: with every problem of the folder and its labels file.
    """
    path = source.path
    if not path.exists():
        raise _stop(Problem(str(path), "there is no such file or folder", "check the path and its spelling"))
    if path.is_dir():
        found, beside, problems = _folder(path)
    else:
        found, beside, problems = _file(path, source.part), [], []
    if source.part and not all(entry.part for entry in found):
        problems.append(Problem(str(path), f"part '{source.part}' is only for an .npz file", "leave `part` out"))
    table = source.labels or (path / "labels.csv" if (path / "labels.csv").is_file() else None)
    if table is not None:
        found, beside, wrong = _labelled(table, path, found, beside, source.others)
        problems += wrong
    if source.subjects == "folder":
        found, wrong = _by_folder(found, path, table)
        problems += wrong
    if problems:
        raise InputError(f"{path} cannot be taken in.", problems)
    names = source.class_names
    renamed = (
        replace(entry, label=names[entry.label]) if entry.label in names else entry for entry in _masked(found, beside)
    )
    return Survey(tuple(renamed), len(beside))


def inputs_digest(source: Source) -> str:
    """Digest of a source as listed: names, sizes in bytes, subjects, labels, free columns; no pixel is read.

    A changed file of unchanged size is not seen.

    Raises:
        InputError: as `files`.
    """
    folder = source.path if source.path.is_dir() else source.path.parent
    size = cache(lambda path: path.stat().st_size if path.is_file() else -1)
    rows = []
    for entry in survey(source).entries:
        drawn = [entry.fields[name] for name in DRAWN if entry.fields.get(name)]
        sizes = [size(entry.path), sum(size(folder / name) for name in drawn)]
        rows.append([entry.name, sizes, entry.subject, entry.label, dict(entry.fields), entry.refused])
    return digest.of_json(rows)


def _stop(problem: Problem) -> InputError:
    return InputError("There is nothing to take in.", [problem])


def _folder(path: Path) -> tuple[list[Entry], list[str], list[Problem]]:
    """Entries sorted by name, names beside them, and folders that could not be opened."""
    unread: list[OSError] = []
    seen: set[str] = set()
    entries, beside = [], []
    for here, folders, names in os.walk(path, followlinks=True, onerror=unread.append):
        real = os.path.realpath(here)
        if real in seen:  # a link that leads back up
            folders.clear()
            continue
        seen.add(real)
        data = {name[: -len(".mrxs")] for name in names if name.lower().endswith(".mrxs")}
        for name in sorted(data & set(folders)):  # the data of a MIRAX slide lie in a folder beside it
            inside = (file for file in Path(here, name).rglob("*") if file.is_file())
            beside += [_readable(file.relative_to(path).as_posix()) for file in inside]
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name not in data)
        for file in names:
            at = Path(here, file).relative_to(path).as_posix()
            name = at if at.isascii() else _readable(at)
            if file.startswith(".") or file.lower().endswith(BESIDE):
                beside.append(name)
            else:
                label = name.split("/", 1)[0] if "/" in name else ""
                entries.append(Entry(path, at, name, label=sys.intern(label)))
    problems = [Problem(str(error.filename), f"cannot be opened ({error.strerror})") for error in unread]
    if not entries and not problems:
        raise _stop(Problem(str(path), "the folder holds no images", "give the folder that holds the images"))
    if entries and not any(_is_image(entry.path) for entry in entries):
        what = f"none of its {len(entries)} files is an image"
        raise _stop(Problem(str(path), what, "give a folder of images, films, volumes or slides, or an .npz"))
    return sorted(entries, key=lambda entry: entry.name), sorted(beside), problems


def _readable(name: str) -> str:
    # A file name need not be UTF-8 on Linux; such bytes are shown as \xb0, for no table can hold them.
    return unicodedata.normalize("NFC", os.fsencode(name).decode("utf-8", "backslashreplace"))


def _is_image(path: Path) -> bool:
    try:
        return bool(readers.find(path))
    except InputError:
        return False


def _file(path: Path, part: str) -> list[Entry]:
    name, _ = readers.find(path)
    if name != "npz":
        return [Entry(path.parent, path.name, _readable(path.name))]
    return [
        Entry(path.parent, path.name, f"{name}[{index}]", label=label, index=index, part=name)
        for name, told in npz.parts(path, part).items()
        for index, label in enumerate(told)
    ]


def _labelled(
    table: Path, folder: Path, found: list[Entry], beside: list[str], others: tuple[Path, ...]
) -> tuple[list[Entry], list[str], list[Problem]]:
    """Entries with what the labels file says; files it does not name are refused, its masks lie beside."""
    rows, problems = labels.read(table)
    if others:
        mine = {name for entry in found for name in (entry.name, entry.name.rsplit("/", 1)[-1])} | set(beside)
        away = {name for other in others for name in _names(other)} - mine
        rows = [row for row in rows if row.file not in away]
    drawn = {plain(row.fields[column]): (column, row) for column in DRAWN for row in rows if row.fields.get(column)}
    there = {entry.name for entry in found} | set(beside)
    lost = [
        Problem(
            f"{table.name}, line {row.line}",
            f"the {column} '{name}' does not exist",
            "add the file or clear the cell",
        )
        for name, (column, row) in drawn.items()
        if name not in there
    ]
    beside = sorted({*beside, *(drawn.keys() & {entry.name for entry in found})})
    images = [entry for entry in found if entry.name not in drawn]
    matched, wrong = labels.match(table.name, rows, [entry.name for entry in images])
    what, remedy = "the labels file does not name it", f"add a line to {table.name}, or move the file away"
    entries = [
        replace(entry, subject=row.subject, label=row.label, fields=row.fields)
        if (row := matched.get(entry.name))
        else replace(entry, refused=what, remedy=remedy)
        for entry in images
    ]
    return entries, beside, [*problems, *some(lost, table.name), *wrong]


def _by_folder(entries: list[Entry], path: Path, table: Path | None) -> tuple[list[Entry], list[Problem]]:
    """Entries class by class and folder by folder in natural order, each with its subject and its position."""
    if table is not None or not path.is_dir():
        what = "`subjects: folder` is for folders of pictures without a labels file, which names subjects itself"
        return entries, [Problem(str(table or path), what, "leave `subjects` out, or move the labels file away")]
    what, remedy = "lies in no folder of a subject", "move it into one, as in class/subject/picture.png"
    counts: Counter[tuple[str, ...]] = Counter()
    found = []
    for entry in sorted(entries, key=lambda entry: natural(entry.name)):
        folders = tuple(entry.name.split("/")[:-1])[:2]
        if len(folders) < 2:
            found.append(replace(entry, refused=what, remedy=remedy))
            continue
        found.append(replace(entry, subject=folders[1], frame=str(counts[folders])))
        counts[folders] += 1
    return found, []


def natural(name: str) -> list[tuple[tuple[bool, int, str], ...]]:
    """What names of files are sorted by, so that numbers in them count as numbers, and come before letters.

    >>> sorted(["day/10.png", "day/9.png", "day 2/1.png", "day/x.png"], key=natural)
    ['day/9.png', 'day/10.png', 'day/x.png', 'day 2/1.png']
    """
    words = (re.findall(r"\d+|\D+", part) for part in name.split("/"))
    return [tuple((False, int(word), "") if word.isdecimal() else (True, 0, word) for word in part) for part in words]


def _names(folder: Path) -> set[str]:
    """Names by which a labels file may call the files of a folder: the path below it, and the bare name."""
    paths = [path for path in folder.rglob("*") if path.is_file()] if folder.is_dir() else []
    return {plain(name) for path in paths for name in (path.relative_to(folder).as_posix(), path.name)}


def _masked(entries: list[Entry], beside: list[str]) -> list[Entry]:
    # x.mask.png is the mask of x.png (or x.dcm), unless the labels file names another.
    masks = {name[: -len(".mask.png")]: name for name in beside if name.lower().endswith(".mask.png")}
    if not masks:
        return entries
    stems = [(entry, entry.name.rsplit(".", 1)[0]) for entry in entries]
    return [
        replace(entry, fields={**entry.fields, "mask": masks[stem]})
        if stem in masks and not entry.fields.get("mask")
        else entry
        for entry, stem in stems
    ]
