"""Evidence: one immutable fact. A number never travels without its interval, size, null value, control and source.

`Finding` is what a measure reports; `chambit.review` turns it into `Evidence` by adding the verdict and the line of
the policy that gave it. Missing is NOT_RUN and a missed positive control is INVALID; neither is ever a number.
"""

from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Frozen(BaseModel):
    """An immutable record that refuses unknown fields; bytes stand as base64 in its JSON."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, ser_json_bytes="base64", val_json_bytes="base64"
    )


class Verdict(StrEnum):
    """The five outcomes, from best to worst as `chambit.review.verdict` orders them."""

    PASS = "PASS"
    CONDITIONAL = "CONDITIONAL"
    NOT_RUN = "NOT_RUN"
    INVALID = "INVALID"
    FAIL = "FAIL"


class Interval(Frozen):
    """Closed interval [low, high] at confidence `level`, with the method that made it and what it is clustered by."""

    low: float
    high: float
    level: float = Field(gt=0, lt=1)
    method: str
    sides: Literal[1, 2] = 2


class Band(Frozen):
    """What the same measure gives between real images and other real images at the same n.

    `low` and `high` are the 2.5 % and 97.5 % points of `draws` subject-disjoint splits, `middle` their median.
    """

    low: float
    middle: float
    high: float
    draws: int
    n: int


class Control(Frozen):
    """A case planted so that the measure must fire; `fired` False makes the verdict INVALID."""

    name: str
    expected: str
    observed: str
    fired: bool


class Finding(Frozen):
    """What one measure found.

    Attributes:
        measure: public name and version, for example `copies@1`.
        quantity: which number of that measure this is, for example `flagged`.
        value: the number, or None when it could not be measured.
        interval: its uncertainty; None only where the value is an exact count.
        n: sizes behind the number, by name (images, subjects, repeats).
        unit: unit of the value; `1` for a pure number.
        null: the value expected when nothing is wrong (or nothing is there), None when there is no such value.
        direction: whether a lower or a higher value is better for release.
        band: real-versus-real reference at the same n.
        control: the positive control of this run.
        reason: why there is no value (NOT_RUN), or a caveat a reader must see.
        details: further numbers for tables and drawings.
        inputs: digests of what was measured, by name.
    """

    measure: str
    quantity: str
    value: float | None
    interval: Interval | None = None
    n: dict[str, int] = Field(default_factory=dict)
    unit: str = "1"
    null: float | None = None
    direction: Literal["lower", "higher", "neither"]
    band: Band | None = None
    control: Control | None = None
    reason: str = ""
    details: dict[str, object] = Field(default_factory=dict)
    inputs: dict[str, str] = Field(default_factory=dict)

    @property
    def key(self) -> str:
        """The name by which policy and indicators call it: measure without version, dot, quantity.

        >>> Finding(measure="copies@1", quantity="flagged", value=0, direction="lower").key
        'copies.flagged'
        """
        return f"{self.measure.split('@')[0]}.{self.quantity}"


class Evidence(Finding):
    """A finding with its verdict.

    Attributes:
        verdict: the outcome.
        policy: the line of the policy that decided, in words, with its source.
        because: which condition of that line was met or missed, with the numbers.
        condition: what a person must do to close a CONDITIONAL.
    """

    verdict: Verdict
    policy: str
    because: str
    condition: str = ""
