"""The curve of memorisation along a training, as inline SVG: share at each look, null, limit, the look that is used."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from markupsafe import Markup

from chambit.report.figures import WIDTH, Scale, axis, dot, drawing, line, words_at
from chambit.report.wording import Text, number

TOP, BASE, LEFT = 10.0, 150.0, 56.0


def memorisation_curve(details: Mapping[str, Any], null: float | None) -> Markup:
    """Share of training patients among the nearest at each look, with its interval.

    Args:
        details: of the evidence `memorisation.share`: `curve`, `limit`, `used`, perhaps `stopped_at`.
        null: the share when nothing is memorised.
    """
    looks: Sequence[Mapping[str, Any]] = details.get("curve", [])
    if not looks:
        return Markup("")
    limit, used = details.get("limit"), details.get("used")
    marks = [mark for mark in (null, limit) if mark is not None]
    low = min([*marks, *(look["low"] for look in looks)])
    floor = max(0.0, low - 0.05)
    up = Scale(floor, 1.0, BASE, TOP)
    along = Scale(0, max(look["step"] for look in looks), LEFT, WIDTH - 12)
    parts = [line(LEFT, up(tick), LEFT - 4, up(tick), "axis") for tick in up.ticks(4)]
    parts += [words_at(LEFT - 8, up(tick) + 5, number(tick, "share"), "scale", "end") for tick in up.ticks(4)]
    parts += [line(LEFT, TOP, LEFT, BASE, "axis"), *axis(along, BASE, "count")]
    legend = [("value", Text("표본의 값과 95 % 구간", "samples, with 95 % interval"))]
    if null is not None:
        parts.append(line(LEFT, up(null), WIDTH - 12, up(null), "null"))
        legend.append(("null", Text("기억이 없을 때", "without memory")))
    if limit is not None:
        parts.append(line(LEFT, up(limit), WIDTH - 12, up(limit), "limit"))
        legend.append(("limit", Text("기준의 한계", "limit of the policy")))
    for before, after in pairwise(looks):
        parts.append(line(along(before["step"]), up(before["share"]), along(after["step"]), up(after["share"]), "axis"))
    for look in looks:
        x = along(look["step"])
        parts += [line(x, up(look["low"]), x, up(look["high"]), "whisker"), dot(x, up(look["share"]), 5, "value")]
        if look["step"] == used:
            parts.append(dot(x, up(look["share"]), 9, "ring"))
            legend.append(("ring", Text("쓰인 가중치", "weights that are used")))
    parts.append(words_at(WIDTH - 12, BASE + 36, Text("학습 단계", "training steps"), "small", "end"))
    return drawing(BASE + 42, parts, Text("학습 도중의 기억", "memory during training"), legend)
