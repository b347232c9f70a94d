"""The donors file: a CSV that says of each part of a composed image which training subject it was made from.

One line for each part of an image: `file,part,subject,share`. The share is the part of the image's area (or of whatever
the composer counts) that comes from it; the shares of an image add up to 1, where two decimals will do. Every fault is
told with its line, all at once.
"""

import csv
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from chambit.core.errors import InputError, Problem
from chambit.prepare import labels
from chambit.prepare.labels import plain, some

COLUMNS = ("file", "part", "subject", "share")
ROUNDING = 0.005  # of a share written with two decimals


@dataclass(frozen=True)
class Donor:
    """One part of one image: the line it stands on, its name, the training subject behind it, its share in (0, 1]."""

    line: int
    part: str
    subject: str
    share: float


def read(path: Path, names: Iterable[str]) -> dict[str, tuple[Donor, ...]]:
    """The donors of each image.

    Args:
        path: the CSV file.
        names: the synthetic images there are, as paths with `/` below their folder.

    Returns:
        Name of the image -> its parts, in the file's order. Images of which the file says nothing are absent.

    Raises:
        InputError: with every unknown file, every number that is none and every image whose shares are not 1.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            lines = [(reader.line_num, [cell.strip() for cell in cells]) for cells in reader if any(cells)]
    except OSError as error:
        raise _unusable(
            Problem(path.name, f"cannot be opened ({error.strerror})", "give the path of the CSV")
        ) from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise _unusable(Problem(path.name, f"is not CSV in UTF-8 ({error})", "save it as 'CSV UTF-8'")) from None
    if not lines or set(lines[0][1]) != set(COLUMNS) or len(lines[0][1]) != len(COLUMNS):
        named = ", ".join(lines[0][1]) if lines else "none"
        raise _unusable(Problem(f"{path.name}, line 1", f"names the columns {named}", f"name {','.join(COLUMNS)}"))
    rows: dict[str, list[Donor]] = defaultdict(list)
    problems: list[Problem] = []
    for number, cells in lines[1:]:
        row = dict(zip(lines[0][1], cells, strict=False))
        if (problem := _wrong(row, cells)) is not None:
            problems.append(Problem(f"{path.name}, line {number}", *problem))
        else:
            rows[plain(row["file"])].append(Donor(number, row["part"], row["subject"], float(row["share"])))
    problems = some(problems, path.name)
    first = [labels.Row(parts[0].line, file, "", "", {}) for file, parts in rows.items()]
    matched, unknown = labels.match(path.name, first, names)
    if problems := [*problems, *unknown, *some(_sums(path.name, rows) if not problems else [], path.name)]:
        raise _unusable(*problems)
    return {name: tuple(rows[row.file]) for name, row in matched.items()}


def unknown_subjects(where: str, donors: Mapping[str, Sequence[Donor]], subjects: Iterable[str]) -> list[Problem]:
    """Lines whose subject is not among the training subjects."""
    known = set(subjects)
    lines = sorted((part.line, part.subject) for parts in donors.values() for part in parts)
    return some(
        [
            Problem(
                f"{where}, line {line}",
                f"the subject '{subject}' is not among the training subjects",
                "correct it, or name the subjects of the training images with --labels",
            )
            for line, subject in lines
            if subject not in known
        ],
        where,
    )


def _wrong(row: Mapping[str, str], cells: Sequence[str]) -> tuple[str, str] | None:
    if len(cells) != len(COLUMNS):
        return f"{len(cells)} cells where the first line names {len(COLUMNS)} columns", "fill in or quote the cells"
    if lacking := [name for name in COLUMNS if not row[name]]:
        return f"{' and '.join(lacking)} is empty", "fill it in or remove the line"
    try:
        share = float(row["share"])
    except ValueError:
        share = math.nan
    if not 0 < share <= 1:
        return f"the share is '{row['share']}'", "write a number above 0, at most 1"
    return None


def _sums(where: str, rows: Mapping[str, Sequence[Donor]]) -> list[Problem]:
    return [
        Problem(
            f"{where}, line {parts[0].line}",
            f"the shares of '{file}' add up to {total:.4g}, not 1",
            "write every part of the image, each with its share",
        )
        for file, parts in rows.items()
        if abs((total := math.fsum(part.share for part in parts)) - 1) > ROUNDING * len(parts) + 1e-9
    ]


def _unusable(*problems: Problem) -> InputError:
    return InputError("The donors file cannot be used.", list(problems))
