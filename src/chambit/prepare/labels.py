"""The labels file: a CSV that says of each image which subject it shows and what is to be seen.

The first line names the columns: `file`, `subject` and `label`, optionally `split` and `mask`, and any
others, which are kept as text. Every fault is reported with its line number, all at once.
"""

import csv
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from chambit.core.errors import InputError, Problem
from chambit.prepare.split import SPLITS

REQUIRED = ("file", "subject", "label")
RESERVED = ("id", "sha256", "block", "row", "bits", "subject_known")
SHOWN = 20
_UTF8 = "save it as 'CSV UTF-8' (in Excel: Save as, CSV UTF-8, comma delimited)"


@dataclass(frozen=True)
class Row:
    """One line of the file: its number (line 1 names the columns), its cells, and the free columns."""

    line: int
    file: str
    subject: str
    label: str
    fields: Mapping[str, str]


def read(path: Path) -> tuple[list[Row], list[Problem]]:
    """The rows of a labels file and what is wrong with single lines of it.

    Raises:
        InputError: when it cannot be read at all, is empty, or lacks columns.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = _lines(csv.reader(file, strict=True))
    except OSError as error:
        raise _unusable(path.name, f"cannot be opened ({error.strerror})", "give the path of the CSV file") from error
    except UnicodeDecodeError as error:
        raise _unusable(path.name, "is not UTF-8 text", _UTF8) from error
    except csv.Error as error:
        raise _unusable(path.name, f"is not CSV ({error})", _UTF8) from error
    if not lines:
        raise _unusable(path.name, "is empty", "its first line is file,subject,label")
    names = [name.strip() for name in lines[0][1]]
    _check_names(path.name, names)
    rows, problems = [], []
    for number, cells in lines[1:]:
        if len(cells) != len(names):
            what = f"{len(cells)} cells where the first line names {len(names)} columns"
            problems.append(Problem(f"{path.name}, line {number}", what, "put text with a comma in double quotes"))
            continue
        row = dict(zip(names, (cell.strip() for cell in cells), strict=True))
        fixed = {name: row.pop(name) for name in REQUIRED}
        rows.append(Row(number, plain(fixed["file"]), fixed["subject"], fixed["label"], row))
    return rows, [*some(problems, path.name), *_check_rows(path.name, rows)]


def match(where: str, rows: Sequence[Row], names: Iterable[str]) -> tuple[dict[str, Row], list[Problem]]:
    """Which row speaks of which file: by path below the folder, or by bare name where that is unique.

    Args:
        where: the labels file, for messages.
        rows: its rows.
        names: the files there are, as paths with `/` below the folder.

    Returns:
        Name of the file -> row, and the rows that name a missing, ambiguous or repeated file.
    """
    bare: dict[str, list[str]] = defaultdict(list)
    known = set(names)
    for name in known:
        bare[name.rsplit("/", 1)[-1]].append(name)
    matched: dict[str, Row] = {}
    missing, others = [], []
    for row in rows:
        line, here = f"{where}, line {row.line}", [row.file] if row.file in known else bare.get(row.file, [])
        if not here:
            what = f"'{row.file}' is not among the images"
            missing.append(Problem(line, what, "add the file or remove the line"))
        elif len(here) > 1:
            what = f"{len(here)} files are called '{row.file}'"
            others.append(Problem(line, what, f"write the folder too, for example {min(here)}"))
        elif here[0] in matched:
            what = f"'{row.file}' is named again (first on line {matched[here[0]].line})"
            others.append(Problem(line, what, "keep one of the two lines"))
        else:
            matched[here[0]] = row
    return matched, [*some(missing, where), *some(others, where)]


def plain(name: str) -> str:
    r"""A file name as it is compared: `/` between folders and one spelling of each letter.

    macOS spells Korean and accented names in pieces (NFD), most other systems do not (NFC).

    >>> plain("normal\\1.png"), plain("./1.png")
    ('normal/1.png', '1.png')
    """
    return unicodedata.normalize("NFC", name.strip().replace("\\", "/")).removeprefix("./")


def some(problems: Sequence[Problem], where: str) -> list[Problem]:
    """The first 20 problems of one kind, and how many more there are."""
    more = [Problem(where, f"and {len(problems) - SHOWN} more of this kind")] if len(problems) > SHOWN else []
    return [*problems[:SHOWN], *more]


def _unusable(where: str, what: str, remedy: str) -> InputError:
    return InputError("The labels file cannot be used.", [Problem(where, what, remedy)])


def _lines(reader: Iterable[list[str]]) -> list[tuple[int, list[str]]]:
    # A quoted cell can run over several lines; a row is called by the line it begins on.
    lines, begins = [], 1
    for cells in reader:
        if any(cell.strip() for cell in cells):
            lines.append((begins, cells))
        begins = reader.line_num + 1  # type: ignore[attr-defined]
    return lines


def _check_names(where: str, names: list[str]) -> None:
    line, problems = f"{where}, line 1", []
    lacking = [name for name in REQUIRED if name not in names]
    if lacking:
        what = f"lacks the column {', '.join(lacking)}; it has: {', '.join(names)}"
        problems.append(Problem(line, what, "name the columns file,subject,label, with commas between"))
    for name in dict.fromkeys(names):
        if names.count(name) > 1:
            problems.append(Problem(line, f"names the column '{name}' twice", "rename or remove one"))
        if name in RESERVED or not name:
            problems.append(Problem(line, f"a column cannot be called '{name}'", "rename it"))
    if problems:
        raise InputError("The labels file cannot be used.", problems)


def _check_rows(where: str, rows: list[Row]) -> list[Problem]:
    empty, wrong, torn = [], [], []
    first: dict[str, Row] = {}
    told = any(row.fields.get("split") for row in rows)
    for row in rows:
        line, split = f"{where}, line {row.line}", row.fields.get("split", "")
        lacking = [name for name in REQUIRED if not getattr(row, name)]
        if lacking:
            empty.append(Problem(line, f"{' and '.join(lacking)} is empty", "fill it in or remove the line"))
        if told and split not in SPLITS:
            what = f"split is '{split}'" if split else "split is empty while other lines have one"
            wrong.append(Problem(line, what, f"use {', '.join(SPLITS)}"))
        other = first.setdefault(row.subject, row) if row.subject else row
        if other.fields.get("split", "") != split:
            both = f"'{other.fields['split']}' (line {other.line}) and in '{split}' (line {row.line})"
            torn.append(Problem(line, f"subject {row.subject} is in {both}", "put all of a subject in one split"))
    return [problem for kind in (empty, wrong, torn) for problem in some(kind, where)]
