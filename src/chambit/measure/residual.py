"""Residual risk: how much more often an attack succeeds on training patients than on patients nobody was trained on.

    R = (r_main - r_control) / (1 - r_control),   r_main = x / n of train,   r_control = y / m of the holdout

What succeeds on the holdout as well is knowledge of the population and no leak (Giomi et al., Anonymeter, PETS 2023,
arXiv:2211.10459). Null value 0; 1 when every training patient falls and no other. Each rate keeps its own
denominator. The interval carries the distances from each rate to the ends of its Wilson interval through the partial
derivatives of R, squared and added, each side by itself (the delta method of that paper on Newcombe's scheme, 1998):

    dR/dr_main = 1 / (1 - r_control),   dR/dr_control = -(1 - r_main) / (1 - r_control)^2

Known failure: at a high r_control a whole point of R rests on few patients, and the interval is wide.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from chambit.core.evidence import Control, Finding, Interval
from chambit.measure import interval


class Attempt(NamedTuple):
    """Subjects on whom an attack succeeded, and on how many it was tried, for train (main) and holdout (control)."""

    main: int
    of_main: int
    control: int
    of_control: int

    @property
    def excess(self) -> float:
        """The success rate on train minus that on the holdout."""
        return self.main / self.of_main - self.control / self.of_control


class Residual(NamedTuple):
    """Residual risk with its interval, pure numbers at most 1; negative where the holdout fares worse."""

    value: float
    low: float
    high: float


def residual(attempt: Attempt, level: float = 0.95) -> Residual:
    """Residual risk of one attack, with its two-sided interval.

    Raises:
        ValueError: when nobody was attacked, or the control attack always succeeds and nothing is left to risk.

    >>> [round(x, 4) for x in residual(Attempt(30, 100, 10, 100))]
    [0.2222, 0.1116, 0.3355]
    """
    x, n, y, m = attempt
    if min(n, m) < 1 or y >= m:
        raise ValueError(f"no residual risk is defined where the control succeeds on {y} of {m} and {n} are attacked")
    main, control = x / n, y / m
    (low_main, high_main), (low_control, high_control) = interval.wilson(x, n, level), interval.wilson(y, m, level)
    by_main, by_control = 1 / (1 - control), (1 - main) / (1 - control) ** 2
    value = (main - control) / (1 - control)
    below = np.hypot((main - low_main) * by_main, (high_control - control) * by_control)
    above = np.hypot((high_main - main) * by_main, (control - low_control) * by_control)
    return Residual(float(value), float(value - below), float(min(1.0, value + above)))


def finding(
    measure: str,
    quantity: str,
    attempt: Attempt,
    level: float,
    n: Mapping[str, int],
    control: Control,
    inputs: Mapping[str, str],
    **details: Any,
) -> Finding:
    """The finding of one attack, with both rates in its details; without a value where the control always succeeds."""
    common: dict[str, Any] = {"measure": measure, "quantity": quantity, "direction": "lower", "n": dict(n)}
    if attempt.control >= attempt.of_control:
        reason = f"The attack succeeds on all {attempt.of_control} holdout subjects: nothing is left to risk."
        return Finding(value=None, reason=reason, **common)
    value, low, high = residual(attempt, level)
    return Finding(
        value=value,
        interval=Interval(low=low, high=high, level=level, method="Wilson, propagated"),
        null=0.0,
        control=control,
        details={
            "train_rate": attempt.main / attempt.of_main,
            "holdout_rate": attempt.control / attempt.of_control,
            "train_found": attempt.main,
            "holdout_found": attempt.control,
            **details,
        },
        inputs=dict(inputs),
        **common,
    )
