"""The contract of a delivery as an inspector writes it down: one YAML file, fixed before the delivery is opened.

Every criterion may carry the words of the contract (`clause`), which are shown beside the outcome. A criterion that is
not written down is not judged, and none has a limit that is not written down. The digest covers all of it, so that a
limit that was moved after the fact shows. All problems of a file are told at once, each with its line.
"""

import datetime
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator

from chambit.core import digest
from chambit.core.errors import InputError, Problem
from chambit.core.evidence import Frozen

START = "examples/contract.yaml is one to start from"
SHA256 = "^[0-9a-f]{64}$"
Pixels = tuple[int, int]


class Criterion(Frozen):
    """What all criteria have: the words of the contract."""

    clause: str = ""


class Count(Criterion):
    """How many files with an image in them: exactly so many, or at least; `distinct` counts equal pixels once."""

    exactly: int | None = Field(None, ge=0)
    at_least: int | None = Field(None, ge=1)
    distinct: bool = False

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.exactly is None) == (self.at_least is None):
            raise ValueError("give exactly one of `exactly` and `at_least`")
        return self


class Formats(Criterion):
    """Formats by content, such as PNG, JPEG, TIFF, DICOM; `endings`: a file's name must say the same as its content."""

    allowed: tuple[str, ...] = Field(min_length=1)
    endings: bool = False


class Size(Criterion):
    """Rows and columns in pixels, as the image is shown: exactly so, or within bounds."""

    exactly: Pixels | None = None
    at_least: Pixels | None = None
    at_most: Pixels | None = None

    @model_validator(mode="after")
    def _some(self) -> Self:
        if (self.exactly is None) == (self.at_least is None and self.at_most is None):
            raise ValueError("give `exactly`, or `at_least` and `at_most` (one or both)")
        return self


class Bits(Criterion):
    """Bits of a pixel as the file states them (for DICOM, BitsStored)."""

    allowed: tuple[int, ...] = Field(min_length=1)


class Colour(Criterion):
    """Whether the pixels are grey or coloured; three equal channels are grey."""

    allowed: Literal["grey", "colour"]


class Balance(Criterion):
    """Share of each class among the labelled images, in percent, and how far it may be off, in percentage points."""

    percent: dict[str, float] = Field(min_length=2)
    tolerance_points: float = Field(ge=0, le=100)

    @field_validator("percent")
    @classmethod
    def _whole(cls, value: dict[str, float]) -> dict[str, float]:
        if min(value.values()) < 0 or abs(sum(value.values()) - 100) > 0.01:
            raise ValueError(f"percentages must not be below 0 and must add up to 100, not {sum(value.values()):g}")
        return value


class Allowance(Criterion):
    """Largest share of the files that may be so; 0 allows none."""

    at_most_share: float = Field(ge=0, le=1)


class LabelsFile(Criterion):
    """The table of labels in the delivery: its name, the columns it must have, and the share of images it may miss."""

    file: str = "labels.csv"
    columns: tuple[str, ...] = ("file", "label")
    missing_at_most_share: float | None = Field(None, ge=0, le=1)


class Subjects(Criterion):
    """How many people at least, and how many images at most of one of them."""

    at_least: int | None = Field(None, ge=1)
    images_each_at_most: int | None = Field(None, ge=1)

    @model_validator(mode="after")
    def _some(self) -> Self:
        if self.at_least is None and self.images_each_at_most is None:
            raise ValueError("give `at_least` or `images_each_at_most`")
        return self


class Names(Criterion):
    """A regular expression for whole file names without folders, and whether a name may stand in two folders."""

    pattern: str | None = None
    unique: bool = False

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, value: str | None) -> str | None:
        try:
            re.compile(value or "")
        except re.error as error:
            raise ValueError(f"not a regular expression ({error})") from None
        return value

    @model_validator(mode="after")
    def _some(self) -> Self:
        if self.pattern is None and not self.unique:
            raise ValueError("give `pattern` or `unique: true`")
        return self


class Checksums(Criterion):
    """SHA-256 of the files as they were agreed on: written here, or in a file beside the contract (`sha256sum`)."""

    file: Path | None = None
    sha256: dict[str, str] | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.file is None) == (self.sha256 is None):
            raise ValueError("give exactly one of `file` and `sha256`")
        if wrong := [name for name, value in (self.sha256 or {}).items() if not re.match(SHA256, value)]:
            raise ValueError(f"{len(wrong)} of the digests are not 64 hexadecimal digits")
        return self


class Deliver(Frozen):
    """What is to be delivered. `by` counts by `class` (the label), `modality`, `part` or any column of the labels."""

    count: Count
    by: dict[str, dict[str, Count]] = Field(default_factory=dict)
    formats: Formats | None = None
    size: Size | None = None
    bits: Bits | None = None
    colour: Colour | None = None
    balance: Balance | None = None
    duplicates: Allowance | None = None
    unreadable: Allowance | None = None
    labels: LabelsFile | None = None
    subjects: Subjects | None = None
    names: Names | None = None
    checksums: Checksums | None = None


class Risks(Frozen):
    """A plan by its two points: AQL with the producer's risk, LTPD (limiting quality) with the consumer's risk.

    Without an AQL the acceptance number is given, and only the consumer's risk is kept (ISO 2859-2, an isolated lot).
    All are shares: 0.01 is 1 %.
    """

    aql: float | None = Field(None, ge=0, lt=1)
    producer_risk: float | None = Field(None, gt=0, lt=1)
    ltpd: float = Field(gt=0, lt=1)
    consumer_risk: float = Field(gt=0, lt=1)
    accept: int | None = Field(None, ge=0)

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if (self.aql is None) != (self.producer_risk is None) or (self.aql is None) == (self.accept is None):
            raise ValueError("give `aql` with `producer_risk`, or `accept` in place of both")
        if self.aql is not None and self.aql >= self.ltpd:
            raise ValueError("`aql` must be below `ltpd`")
        return self


class Fixed(Frozen):
    """A plan the contract fixes: so many labels are read, and at most `accept` of them may be wrong."""

    sample: int = Field(ge=1)
    accept: int = Field(ge=0)

    @model_validator(mode="after")
    def _fewer(self) -> Self:
        if self.accept >= self.sample:
            raise ValueError("`accept` must be below `sample`, or nothing could be rejected")
        return self


class LabelInspection(Criterion):
    """How labels are sampled: in one lot or one for each class, by risks or by fixed numbers."""

    lots: Literal["whole", "class"] = "whole"
    plan: Risks | None = None
    fixed: Fixed | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.plan is None) == (self.fixed is None):
            raise ValueError("give exactly one of `plan` and `fixed`")
        return self


class Contract(Frozen):
    """The whole contract, as far as it can be counted."""

    chambit_contract: Literal[1]
    title: str = Field(min_length=1)
    number: str = Field(min_length=1)
    supplier: str = Field(min_length=1)
    date: datetime.date
    deliver: Deliver
    label_inspection: LabelInspection | None = None

    @property
    def digest(self) -> str:
        """SHA-256 of everything in the contract, clauses too; spaces and comments of the file do not count."""
        return digest.of_json(self.model_dump(mode="json"))


def load(path: Path) -> Contract:
    """Read a contract.

    Raises:
        InputError: with every problem found, each naming its line.
    """
    try:
        text = path.read_text(encoding="utf-8")
        node, raw = yaml.compose(text, yaml.SafeLoader), yaml.safe_load(text)
    except OSError as error:
        raise _unusable(Problem(str(path), error.strerror or str(error), START)) from None
    except UnicodeDecodeError:
        raise _unusable(Problem(str(path), "is not UTF-8 text", "save it as UTF-8 in your editor")) from None
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date that is none
        mark = getattr(error, "problem_mark", None)
        where, what = f"{path}:{mark.line + 1}" if mark else str(path), str(getattr(error, "problem", error))
        raise _unusable(Problem(where, what, "mend the YAML (indentation, quotes, colons)")) from None
    if not isinstance(raw, dict):
        raise _unusable(Problem(str(path), "holds no keys with values", START))
    if repeated := list(_repeated(path, node)):
        raise _unusable(*repeated)
    try:
        return Contract.model_validate(raw)
    except ValidationError as error:
        raise _unusable(*(_problem(path, node, dict(entry)) for entry in error.errors())) from None


def checksums(path: Path) -> dict[str, str]:
    """Name of file -> SHA-256, from lines as `sha256sum` writes them.

    Raises:
        InputError: when it cannot be read, with every line that is not such a line or names a file again.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        what = getattr(error, "strerror", None) or "is not UTF-8 text"
        raise _unusable(Problem(path.name, what, "give a list as sha256sum writes it")) from None
    found: dict[str, str] = {}
    problems = []
    for number, line in enumerate(lines, start=1):
        hit = re.fullmatch(r"([0-9a-fA-F]{64}) [ *](.+)", line.strip())
        if hit is None and line.strip():
            what = "is not a SHA-256, two spaces and a name"
            problems.append(Problem(f"{path.name}, line {number}", what, "write it with sha256sum"))
        elif hit is not None and (name := hit[2].removeprefix("./")) in found:
            problems.append(Problem(f"{path.name}, line {number}", "names a file again", "keep one of the two lines"))
        elif hit is not None:
            found[name] = hit[1].lower()
    if problems:
        raise _unusable(*problems)
    return found


def _unusable(*problems: Problem) -> InputError:
    return InputError(f"The contract has {len(problems)} problem(s).", problems)


def _repeated(path: Path, node: Any, seen: frozenset[int] = frozenset()) -> Iterator[Problem]:
    """Keys given twice in one mapping, which YAML itself takes in silence: two limits, of which one would count."""
    if isinstance(node, yaml.ScalarNode) or id(node) in seen:  # an alias can lead into itself
        return
    lines: dict[str, int] = {}
    for entry in node.value:
        value = entry
        if isinstance(node, yaml.MappingNode):
            key, value = entry
            line = key.start_mark.line + 1
            if (first := lines.setdefault(str(key.value), line)) != line:
                yield Problem(
                    f"{path}:{line}", f"`{key.value}` is given twice", f"keep this or the one in line {first}"
                )
        yield from _repeated(path, value, seen | {id(node)})


def _problem(path: Path, node: Any, entry: Mapping[str, Any]) -> Problem:
    keys = [key for key in entry["loc"] if key != "[key]"]
    line, reached = _line(node, keys)
    name = ".".join(map(str, keys))
    if entry["type"] == "extra_forbidden":
        return Problem(f"{path}:{line}", f"unknown key `{name}`", START)
    if entry["type"] == "missing":
        return Problem(f"{path}:{line}", f"`{name}` is missing", f"add it under `{reached}`" if reached else "add it")
    return Problem(f"{path}:{line}", f"`{name}`: {entry['msg'].removeprefix('Value error, ')}", START)


def _line(node: Any, keys: Sequence[Any]) -> tuple[int, str]:
    """The line of the deepest key that is there, and the path to it."""
    line, reached = 1, []
    for key in keys:
        if isinstance(node, yaml.MappingNode):
            pair = next((pair for pair in node.value if pair[0].value == str(key)), None)
            if pair is None:
                break
            line, node = pair[0].start_mark.line + 1, pair[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(key, int) and key < len(node.value):
            node = node.value[key]
            line = node.start_mark.line + 1
        else:
            break
        reached.append(str(key))
    return line, ".".join(reached)
