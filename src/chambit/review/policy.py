"""The policy: every threshold with its source, read from a versioned YAML file; never a constant in code."""

from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, ValidationError

from chambit.core import digest, yamlfile
from chambit.core.errors import Problem, StudyError
from chambit.core.evidence import Frozen, Verdict

FOLDER = Path(__file__).parent / "policies"


class Condition(Frozen):
    """`field` `op` `limit` (times a factor); `limit` is a number or another field of the same evidence."""

    field: str
    op: Literal["<", "<=", ">", ">=", "=="]
    limit: float | str
    times: float = 1.0


class Rule(Frozen):
    """How one quantity is judged."""

    passes: tuple[Condition, ...] = Field(alias="pass", min_length=1)
    conditional: tuple[Condition, ...] = ()
    otherwise: Verdict = Verdict.FAIL
    condition: dict[Literal["ko", "en"], str] = Field(default_factory=dict)
    source: str


class Margin(Frozen):
    """A default margin and where it comes from."""

    value: float
    source: str


class Policy(Frozen):
    """One policy file."""

    name: str
    version: int
    margins: dict[str, Margin]
    settings: dict[str, dict[str, Any]]
    study_may_set: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    on_request: tuple[str, ...] = ()
    required: tuple[str, ...]
    rules: dict[str, Rule]

    @property
    def digest(self) -> str:
        """SHA-256 of the whole policy."""
        return digest.of_json(self.model_dump(mode="json", by_alias=True))


def merged(path: Path) -> Any:
    """What a policy file says, with what the files say that it names under `include` (relative to it).

    An included file holds mappings of the same names, such as `settings` and `rules`; their keys are added.

    Raises:
        OSError, yaml.YAMLError: of any of the files.
        StudyError: two files set the same key, or one is no mapping.
    """
    raw = yamlfile.read(path)
    if not isinstance(raw, dict):
        return raw
    for name in raw.pop("include", ()):
        part = yamlfile.read(path.parent / str(name))
        for block, keys in part.items() if isinstance(part, dict) else [("the file", None)]:
            own = raw.setdefault(block, {})
            if not isinstance(keys, dict) or not isinstance(own, dict) or own.keys() & keys.keys():
                twice = sorted(own.keys() & keys.keys()) if isinstance(keys, dict) and isinstance(own, dict) else []
                what = f"`{block}.{twice[0]}` is set twice" if twice else f"`{block}` is not keys with values"
                raise StudyError("The policy is not valid.", [Problem(str(name), what, f"mend it, or {path.name}")])
            raw[block] = own | keys
    return raw


def load(name: str, beside: Path | None = None) -> Policy:
    """A built-in policy by name, or a YAML file by path (relative to `beside`).

    Raises:
        StudyError: when there is none, it is not a policy, or it lacks what every study needs.
    """
    path = FOLDER / f"{name}.yaml"
    if not path.exists():
        path = (beside or Path()) / name
    try:
        policy = Policy.model_validate(merged(path))
    except OSError as error:
        if path.is_file() and error.filename != str(path):
            problem = Problem(str(path), f"includes {error.filename}, which cannot be read", "mend `include`")
            raise StudyError("The policy cannot be read.", [problem]) from None
        known = ", ".join(sorted(file.stem for file in FOLDER.glob("*.yaml")))
        problem = Problem(f"policy: {name}", "there is no such policy", f"use {known}, or the path of a YAML file")
        raise StudyError("The policy cannot be read.", [problem]) from None
    except UnicodeDecodeError as error:
        raise StudyError("The policy is not UTF-8.", [Problem(str(path), str(error), "save it as UTF-8")]) from None
    except (yaml.YAMLError, ValidationError) as error:
        raise StudyError("The policy is not valid.", [Problem(str(path), str(error))]) from None
    lacking = [] if "auroc" in policy.margins else [Problem(str(path), "`margins.auroc` is missing", "add it")]
    lacking += [
        Problem(str(path), f"`{key}` is required and has no rule", f"add `rules.{key}`, or take it from `required`")
        for key in policy.required
        if key not in policy.rules
    ]
    if lacking:
        raise StudyError("The policy is not valid.", lacking)
    return policy
