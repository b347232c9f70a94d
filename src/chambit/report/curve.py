"""Curves along a training, as inline SVG: memory of patients and labels of samples at each look, and the look used."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from markupsafe import Markup

from chambit.report.figures import WIDTH, Scale, axis, dot, drawing, line, words_at
from chambit.report.wording import Text, number

TOP, BASE, LEFT = 10.0, 150.0, 56.0
NO_MEMORY = Text("기억이 없을 때", "without memory")
CHANCE = Text("우연", "chance")


class Point(NamedTuple):
    """One look: the step it was taken at, its value and interval."""

    step: int
    value: float
    low: float
    high: float


def memorisation_curve(details: Mapping[str, Any], null: float | None) -> Markup:
    """Share of training patients among the nearest at each look, with its interval.

    Args:
        details: of the evidence `memorisation.share`: `curve`, `limit`, `used`, perhaps `stopped_at`.
        null: the share when nothing is memorised.
    """
    points = [Point(look["step"], look["share"], look["low"], look["high"]) for look in details.get("curve", [])]
    title = Text("학습 도중의 기억", "memory during training")
    return _along(points, null, details.get("limit"), details.get("used"), title, NO_MEMORY)


def label_curve(details: Mapping[str, Any]) -> Markup:
    """AUROC of a real-trained classifier on the labels of samples at each look; empty where none was asked.

    Args:
        details: of the evidence `memorisation.share`: `curve`, `used`.
    """
    points = [
        Point(look["step"], look["fidelity"], look["fidelity_low"], look["fidelity_high"])
        for look in details.get("curve", [])
        if "fidelity" in look
    ]
    title = Text("학습 도중의 라벨 충실도", "label fidelity during training")
    return _along(points, 0.5, None, details.get("used"), title, CHANCE)


def _along(
    points: Sequence[Point], null: float | None, limit: float | None, used: int | None, title: Text, nothing: Text
) -> Markup:
    """A value at each look with its interval; a ring around the look whose weights are used."""
    if not points:
        return Markup("")
    marks = [mark for mark in (null, limit) if mark is not None]
    low = min([*marks, *(point.low for point in points)])
    up = Scale(max(0.0, low - 0.05), 1.0, BASE, TOP)
    along = Scale(0, max(point.step for point in points), LEFT, WIDTH - 12)
    parts = [line(LEFT, up(tick), LEFT - 4, up(tick), "axis") for tick in up.ticks(4)]
    parts += [words_at(LEFT - 8, up(tick) + 5, number(tick, "share"), "scale", "end") for tick in up.ticks(4)]
    parts += [line(LEFT, TOP, LEFT, BASE, "axis"), *axis(along, BASE, "count")]
    legend = [("value", Text("표본의 값과 95 % 구간", "samples, with 95 % interval"))]
    if null is not None:
        parts.append(line(LEFT, up(null), WIDTH - 12, up(null), "null"))
        legend.append(("null", nothing))
    if limit is not None:
        parts.append(line(LEFT, up(limit), WIDTH - 12, up(limit), "limit"))
        legend.append(("limit", Text("기준의 한계", "limit of the policy")))
    for before, after in pairwise(points):
        parts.append(line(along(before.step), up(before.value), along(after.step), up(after.value), "axis"))
    for point in points:
        x = along(point.step)
        parts += [line(x, up(point.low), x, up(point.high), "whisker"), dot(x, up(point.value), 5, "value")]
        if point.step == used:
            parts.append(dot(x, up(point.value), 9, "ring"))
            legend.append(("ring", Text("쓰인 가중치", "weights that are used")))
    parts.append(words_at(WIDTH - 12, BASE + 36, Text("학습 단계", "training steps"), "small", "end"))
    return drawing(BASE + 42, parts, title, legend)
