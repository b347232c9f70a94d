"""A Study: one YAML file that says purpose, cohort, recipe, measures, margins and policy.

Its digest is the pre-registration: it is recorded before the first measurement and everything a result can depend on is
inside it. The `run:` block (engine, workers, output folder) and the legal register (`source.approvals` and
`source.permissions`) cannot change a result and stay outside. All problems of a file are reported at once, each with
its line.
"""

import datetime
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, Self

import yaml
from pydantic import Field, PrivateAttr, ValidationError, model_validator

from chambit.core import digest
from chambit.core.errors import Problem, StudyError
from chambit.core.evidence import Frozen
from chambit.core.recipe import Options, Recipe, Rival


class Purpose(Frozen):
    """Why the set is made and who may use it; the first question of the review."""

    text: str = ""
    prohibited_uses: str = ""
    recipients: str = ""
    tier: Literal["", "safe_zone", "gated", "open"] = ""


class Duty(Frozen):
    """What a committee asked for with its decision: by when, and whether it was done."""

    text: str = Field(min_length=1)
    due: datetime.date
    done: bool = False


class Approval(Frozen):
    """A committee's decision on the originals, with the paper that says so.

    `joint_drb` is one committee that decides as IRB and as DRB. `file` is relative to the study file. Every decision
    but an exemption has a first and a last day.
    """

    kind: Literal["irb", "drb", "joint_drb", "public_drb"]
    decision: Literal["new", "reused", "exempt", "conditional"]
    number: str = Field(min_length=1)
    institution: str = Field(min_length=1)
    scope: str = Field(min_length=1, description="the uses it covers, as it words them")
    begins: datetime.date | None = Field(None, alias="from")
    until: datetime.date | None = None
    conditions: tuple[Duty, ...] = ()
    file: str = Field(min_length=1)
    sha256: str = Field(pattern="^[0-9a-f]{64}$")

    @model_validator(mode="after")
    def _dated(self) -> Self:
        if self.decision != "exempt" and (self.begins is None or self.until is None):
            raise ValueError("give its first day as `from` and its last as `until`; only an exemption may have none")
        if self.begins and self.until and self.until < self.begins:
            raise ValueError("`until` is before `from`")
        if self.decision == "conditional" and not self.conditions:
            raise ValueError("a conditional decision names its `conditions`, each with `text` and `due`")
        return self


class Permission(Frozen):
    """A licence or contract under which images of others are used, with its text; `file` as in `Approval`."""

    source: str = Field(min_length=1)
    licence: str = ""
    contract: str = ""
    number: str = ""
    until: datetime.date | None = None
    file: str = Field(min_length=1)
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    allows: tuple[Literal["train", "release", "commercial"], ...]

    @model_validator(mode="after")
    def _one(self) -> Self:
        if bool(self.licence) == bool(self.contract):
            raise ValueError("give exactly one of `licence` and `contract`")
        return self


class Provenance(Frozen):
    """The lawful source of the real images; the second question of the review.

    `licence`, `irb` and `drb` are statements in words. What can be checked stands in `approvals` and `permissions`
    (`chambit.prepare.register`).
    """

    kind: Literal["phantoms", "public", "hospital"]
    name: str = ""
    licence: str = ""
    irb: str = ""
    drb: str = ""
    de_identification: str = ""
    approvals: tuple[Approval, ...] = ()
    permissions: tuple[Permission, ...] = ()


class Phantoms(Frozen):
    """An embedded cohort of drawn patients: `kind` is a file of `chambit.phantoms.kinds`, further keys its options."""

    kind: str = "chest"
    patients: int = Field(3200, ge=20)
    pixels: int = Field(64, ge=32, le=1024)
    options: Options = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _options(cls, value: Any) -> Any:
        if not isinstance(value, dict) or "options" in value:
            return value
        mine = {key: given for key, given in value.items() if key in cls.model_fields}
        return mine | {"options": {key: given for key, given in value.items() if key not in mine}}


class Files(Frozen):
    """Real files: a folder of images, films, volumes or slides, or a MedMNIST-style .npz.

    Paths are relative to the study file. `frames`: what is taken of a file with several images. `colour`: whether
    coloured images are refused, become grey by their luminance, or stay coloured. `subjects`: `folder` where each
    folder below that of the class holds the pictures of one subject in their natural order. `axis`: the images of one
    `series` (a column of the labels; else one file) are the frames or slices of one item.
    """

    path: Path
    part: str = ""
    labels: Path | None = None
    class_names: dict[str, str] = Field(default_factory=dict)
    size: tuple[int, int] | None = None
    resize: bool = False
    frames: Literal["refuse", "first", "middle", "all"] = "refuse"
    colour: Literal["refuse", "grey", "keep"] = "refuse"
    subjects: Literal["file", "folder"] = "file"
    axis: Literal["", "time", "depth"] = ""


class Split(Frozen):
    """Shares of the subjects; `test` is 0 when the cohort names its own test files.

    With `test_where` (column -> values) the test part is every subject with such an image, for example of another site,
    `test` is 0, and the other shares are of the rest.
    """

    train: float = Field(0.40, gt=0, lt=1)
    holdout: float = Field(0.32, gt=0, lt=1)
    auxiliary: float = Field(0.10, gt=0, lt=1)
    test: float = Field(0.18, ge=0, lt=1)

    test_where: dict[str, tuple[str, ...]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if abs(total := self.train + self.holdout + self.auxiliary + self.test) - 1 > 1e-9 or total < 1 - 1e-9:
            raise ValueError(f"train, holdout, auxiliary and test must add up to 1, not {total:g}")
        if self.test and self.test_where:
            raise ValueError("`test_where` says who is in the test part, so `test` must be 0")
        return self


class Cohort(Frozen):
    """Where the real images come from, and how subjects are divided."""

    phantoms: Phantoms | None = None
    files: Files | None = None
    test: Files | None = None
    split: Split = Split()

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.phantoms is None) == (self.files is None):
            raise ValueError("give exactly one of `phantoms` and `files`")
        if self.test is not None and self.split.test:
            raise ValueError("`test` files are given, so `split.test` must be 0")
        if self.test is not None and self.split.test_where:
            raise ValueError("`test` files are given, so `split.test_where` must be left out")
        if self.test is None and not self.split.test and not self.split.test_where:
            raise ValueError("`split.test` must be above 0 unless `test` files or `split.test_where` are given")
        return self


class Margins(Frozen):
    """Margins a person fixes before the first measurement; None takes the policy's default."""

    auroc: float | None = Field(None, gt=0, lt=0.5)


class Examine(Frozen):
    """At which size the sets are measured; None: as they are. What would be released keeps its size and colour.

    Coloured images are measured by their luminance. With `parts_from` the masks that measures see are not those of the
    finding: they cover the parts of this index and above in the layouts, such as teeth.
    """

    pixels: int | None = Field(None, ge=16, le=1024)
    parts_from: int = Field(0, ge=0, le=255)


class Run(Frozen):
    """How the work is done on this machine. Outside the digest: none of it can change a result."""

    out: Path | None = None
    engine: str = "processes"
    workers: int = Field(0, ge=0, description="0: one for each core")


class Preparation(Frozen):
    """The cohort's files are originals: `chambit prepare` cleans them first, and the study uses what that leaves.

    `into` and `key` are relative to the study file. What was left is bound by its own digest, see `prepared.json`.
    """

    into: Path
    key: Path
    redact: Literal["all", "identifiers"] = "all"
    keep: tuple[str, ...] = ()


class WeightsFile(Frozen):
    """Weights of a feature extractor: a file, relative to the study file, and the SHA-256 it must have."""

    path: str = Field(min_length=1)
    sha256: str = Field(pattern="^[0-9a-f]{64}$")


class Study(Frozen):
    """The whole study."""

    chambit: Literal[1]
    title: str = Field(min_length=1)
    seed: int = Field(0, ge=0)
    purpose: Purpose = Purpose()
    source: Provenance
    cohort: Cohort
    prepare: Preparation | None = None
    recipe: Recipe
    examine: Examine = Examine()
    rivals: dict[str, Rival] = Field(default_factory=dict)
    measures: dict[str, dict[str, Any]] = Field(default_factory=dict)
    weights: dict[str, WeightsFile] = Field(default_factory=dict)
    margins: Margins = Margins()
    policy: str = "default"
    run: Run = Run()
    _folder: Path = PrivateAttr(default=Path())

    @property
    def folder(self) -> Path:
        """The folder of the study file, which its paths are relative to; outside the digest."""
        return self._folder

    @property
    def digest(self) -> str:
        """The pre-registration: SHA-256 of all but `run` and the legal register, paths as they stand in the file.

        A renewed approval or a condition that was met changes no result, so it must not count as another attempt.
        """
        register = {"approvals", "permissions"}
        return digest.of_json(self.model_dump(mode="json", exclude={"run": True, "source": register}))


def load(path: Path) -> Study:
    """Read a study file.

    Raises:
        StudyError: with every problem found, each naming its line.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise StudyError(
            f"The study file {path} cannot be read.",
            [Problem(str(path), error.strerror or str(error), "`chambit init` writes one to start from")],
        ) from None
    except UnicodeDecodeError as error:
        raise StudyError(
            "The study file is not UTF-8.", [Problem(str(path), str(error), "save it as UTF-8 in your editor")]
        ) from None
    try:
        node = yaml.compose(text, yaml.SafeLoader)
        raw = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date that is none
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        problem = Problem(where, str(getattr(error, "problem", error)), "mend the YAML (indentation, quotes, colons)")
        raise StudyError("The study file is not YAML.", [problem]) from None
    if raw is None:
        raise StudyError("The study file is empty.", [Problem(str(path), "no keys", "`chambit init` writes one")])
    if not isinstance(raw, dict):
        problem = Problem(str(path), "its top level is not keys with values", "`chambit init` writes one to start from")
        raise StudyError("The study file is not a mapping.", [problem])
    if repeated := list(_repeated(path, node, set())):
        raise StudyError(f"The study file has {len(repeated)} problem(s).", repeated)
    try:
        study = Study.model_validate(raw)
        study._folder = path.resolve().parent
        return study
    except ValidationError as error:
        problems = [_problem(path, node, dict(entry)) for entry in error.errors()]
        raise StudyError(f"The study file has {len(problems)} problem(s).", problems) from None


def _repeated(path: Path, node: Any, seen: set[int]) -> Iterator[Problem]:
    """Keys given twice in one mapping, which YAML itself takes in silence."""
    if id(node) in seen or isinstance(node, yaml.ScalarNode):
        return
    seen.add(id(node))  # an alias leads to a node again, perhaps from inside itself
    lines: dict[tuple[str, str], int] = {}
    for entry in node.value:
        if isinstance(node, yaml.MappingNode):
            key, entry = entry
            line, name = key.start_mark.line + 1, (key.tag, str(key.value))
            if name in lines:
                what, remedy = f"`{key.value}` is given twice", f"keep this or the one in line {lines[name]}"
                yield Problem(f"{path}:{line}", what, remedy)
            lines[name] = line
        yield from _repeated(path, entry, seen)


def _problem(path: Path, node: Any, entry: dict[str, Any]) -> Problem:
    keys = [key for key in entry["loc"] if key not in ("function-after", "function-before")]
    line, reached = _line(node, keys)
    name = ".".join(str(key) for key in keys)
    if entry["type"] == "extra_forbidden":
        return Problem(f"{path}:{line}", f"unknown key `{name}`", "see `chambit init` for the keys there are")
    if entry["type"] == "missing":
        return Problem(f"{path}:{line}", f"`{name}` is missing", f"add it under `{reached}`" if reached else "add it")
    return Problem(f"{path}:{line}", f"`{name}`: {entry['msg']}", f"it is {entry['input']!r} now")


def _line(node: Any, keys: list[Any]) -> tuple[int, str]:
    """The line of the deepest key that exists, and the path to it."""
    line, reached = node.start_mark.line + 1, []
    for key in keys:
        if isinstance(node, yaml.MappingNode):
            match = next((pair for pair in node.value if pair[0].value == str(key)), None)
            if match is None:
                break
            line, node = match[0].start_mark.line + 1, match[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(key, int) and key < len(node.value):
            node = node.value[key]
            line = node.start_mark.line + 1
        else:
            break
        reached.append(str(key))
    return line, ".".join(reached)


def resolve(study_file: Path, path: Path) -> Path:
    """A path of a study file, which is relative to that file."""
    return path if path.is_absolute() else (study_file.parent / path).resolve()


def check_options(where: str, model: type[Frozen], options: dict[str, Any]) -> list[Problem]:
    """Problems of an extension's options, empty when they are good."""
    try:
        model.model_validate(options)
    except ValidationError as error:
        return [
            Problem(
                f"{where}.{'.'.join(str(key) for key in entry['loc'])}",
                "unknown key" if entry["type"] == "extra_forbidden" else entry["msg"],
                f"known keys: {', '.join(model.model_fields) or 'none'}",
            )
            for entry in error.errors()
        ]
    return []
