"""The answer key: what was planted where, which files are no good, and what each image really shows.

The key quotes every planted value, so it is kept apart from the folder it speaks of. All persons in it are invented.
"""

import json
import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

HEX = "hex:"
"""Begin of a value that stands for bytes, such as a coordinate or a piece of a compressed thumbnail."""


class Box(NamedTuple):
    """A text that was written into pixels.

    Attributes:
        x0, y0, x1, y1: where, in pixels, [x0, x1) and [y0, y1).
        height: of its ink, in pixels.
        contrast: of its ink over the mean of its place, in grey levels of 255 as displayed.
        script: 'latin' or 'hangul'.
        frame: number of the frame from 0.
        ink: which pixels of the box are ink: bits packed row by row, deflated, base64.
    """

    x0: int
    y0: int
    x1: int
    y1: int
    height: int
    contrast: int
    script: str
    frame: int
    ink: str


class Plant(NamedTuple):
    """One planted identifier.

    Attributes:
        file: path below the folder, as it is on disk, with '/'.
        subject: whose it is: the patient's number in the hospital.
        kind: one of KINDS.
        place: where in the file, in the words of its format.
        values: the exact strings; a value that begins with HEX is bytes. It is still there when one of them is.
        box: where it was written into pixels, else None.
    """

    file: str
    subject: str
    kind: str
    place: str
    values: tuple[str, ...]
    box: Box | None = None


class FileTruth(NamedTuple):
    """What one file of the folder is.

    Attributes:
        file: path below the folder, as it is on disk, with '/'.
        subject: the patient's number; "" for a file of several patients.
        label: what the image really shows; "" where it is no image of the cohort.
        told: what labels.csv says; another label than `label` is a planted mistake. "" where it is not listed.
        form: how it is written, for example 'dicom jpeg 2000' or 'png'.
        outlier: one of OUTLIERS, or "".
        duplicate_of: the file it was made from, or "".
        duplicate: one of DUPLICATES, or "".
    """

    file: str
    subject: str
    label: str
    told: str
    form: str
    outlier: str = ""
    duplicate_of: str = ""
    duplicate: str = ""


class AnswerKey(NamedTuple):
    """All that was planted in a folder.

    Attributes:
        plants: every planted identifier, file by file.
        files: every file but labels.csv, in the order of writing.
        left_out: what could not be written on this machine, with the reason.
    """

    plants: tuple[Plant, ...]
    files: tuple[FileTruth, ...]
    left_out: tuple[str, ...]

    def kinds(self) -> dict[str, int]:
        """How many identifiers of each kind were planted, by kind."""
        return dict(sorted(Counter(plant.kind for plant in self.plants).items()))


def write_key(key: AnswerKey, path: Path) -> None:
    """Write a key as JSON lines: first what was left out, then files, then plants; equal keys give equal bytes."""
    lines: list[dict[str, Any]] = [{"left_out": list(key.left_out)}]
    lines += [{"truth": truth._asdict()} for truth in key.files]
    lines += [{"plant": plant._asdict() | {"box": plant.box and plant.box._asdict()}} for plant in key.plants]
    part = path.with_name(f".{path.name}.part")
    with part.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(line, ensure_ascii=False, sort_keys=True) + "\n" for line in lines)
    os.replace(part, path)


def read_key(path: Path) -> AnswerKey:
    """Read what `write_key` wrote.

    Raises:
        ValueError: for a line that is no record of a key; the line's number is named, not its contents.
    """
    with path.open(encoding="utf-8") as file:
        return _parsed(path.name, file)


def _parsed(name: str, lines: Iterable[str]) -> AnswerKey:
    plants: list[Plant] = []
    files: list[FileTruth] = []
    left_out: list[str] = []
    for number, line in enumerate(lines, start=1):
        try:
            record = json.loads(line)
            if "plant" in record:
                told = record["plant"]
                box = Box(**told["box"]) if told["box"] else None
                plants.append(Plant(**told | {"values": tuple(told["values"]), "box": box}))
            elif "truth" in record:
                files.append(FileTruth(**record["truth"]))
            else:
                left_out += record["left_out"]
        except (ValueError, TypeError, KeyError):
            raise ValueError(f"{name}, line {number}: no record of an answer key") from None
    return AnswerKey(tuple(plants), tuple(files), tuple(left_out))
