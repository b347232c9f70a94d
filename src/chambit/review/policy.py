"""The policy: every threshold with its source, read from a versioned YAML file; never a constant in code."""

from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, ValidationError

from chambit.core import digest
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


def load(name: str, beside: Path | None = None) -> Policy:
    """A built-in policy by name, or a YAML file by path (relative to `beside`).

    Raises:
        StudyError: when there is none, it is not a policy, or it lacks what every study needs.
    """
    path = FOLDER / f"{name}.yaml"
    if not path.exists():
        path = (beside or Path()) / name
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
        policy = Policy.model_validate(raw)
    except OSError:
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
