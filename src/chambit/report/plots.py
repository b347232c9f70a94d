"""Drawings of the utility section as inline SVG: value and band in a line of a table, interval rows, the mix curve.

Nothing is computed but positions. Lines are told apart by dash, shape and a label at their end, a band by its hatching.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from markupsafe import Markup

from chambit.report import medium, style
from chambit.report.figures import WIDTH, Scale, around, axis, box, dot, drawing, line, words_at
from chambit.report.wording import Text, number

BAND_HATCH = "band-hatch"
"""Name of the pattern that the section defines once, for all bands."""
_SPOT = 220
_SHAPES = 5  # a mark of its own for so many lines, then they come again


class Row(NamedTuple):
    """One line of `interval_rows`; without ends it is a number without an interval."""

    name: Text
    value: float
    low: float | None = None
    high: float | None = None


def band_hatch() -> Markup:
    """The pattern of all bands."""
    return Markup(
        '<defs>{}<pattern id="{}" class="{}" width="5" height="5" patternUnits="userSpaceOnUse"'
        ' patternTransform="rotate(45)"><rect width="5" height="5"/><line x1="0" y1="0" x2="0" y2="5"/>'
        "</pattern></defs>"
    ).format(style.inside(BAND_HATCH), BAND_HATCH, BAND_HATCH)


def known(value: object) -> bool:
    """Whether a detail is a number that can be printed and placed."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def reach(entry: Mapping[str, Any]) -> list[float]:
    """Every number of a value with interval and band that a drawing must hold."""
    band = entry.get("band") or {}
    given = [entry.get(key) for key in ("value", "low", "high")] + [band.get(key) for key in ("low", "high")]
    return [float(value) for value in given if value is not None and known(value)]


def spot(entry: Mapping[str, Any], ends: tuple[float, float]) -> Markup:
    """Value and interval over the hatched real-versus-real band, small enough for a line of a table.

    Args:
        entry: `value`, perhaps `low`, `high` and `band` with `low`, `middle`, `high`.
        ends: of the axis.
    """
    scale, y = Scale(*ends, 4, _SPOT - 4), 11
    parts = [line(4, y, _SPOT - 4, y, "axis")]
    if band := entry.get("band"):
        left, right = scale(band["low"]), scale(band["high"])
        parts += [box(left, 2, max(right - left, 2.5), 18, "band-edge", BAND_HATCH)]
    if ends[0] <= 0 <= ends[1]:
        parts.append(line(scale(0), 1, scale(0), 21, "zero"))
    if known(entry.get("low")) and known(entry.get("high")):
        low, high = scale(entry["low"]), scale(entry["high"])
        parts.append(line(low, y, high, y, "span"))
        parts += [line(end, y - 4, end, y + 4, "stop") for end in (low, high)]
    if known(entry.get("value")):
        parts.append(dot(scale(entry["value"]), y, 4.5, "value"))
    form = Markup('<svg class="spot" viewBox="0 0 {} 22" width="{}" height="22" aria-hidden="true">{}{}{}</svg>')
    # a drawing on paper finds nothing outside itself
    hatch = band_hatch() if band and medium.on_paper() else ""
    return form.format(
        _SPOT, _SPOT, style.inside("spot", Text("값과 구간", "value and interval")), hatch, Markup("").join(parts)
    )


def interval_rows(
    rows: Sequence[Row], label: Text, form: str = "auroc", null: float | None = None, null_name: Text | None = None
) -> Markup:
    """Named values with their intervals, one under the other on one axis.

    Args:
        rows: what to draw, in order.
        label: what the values are.
        form: how they are printed.
        null: the value when there is nothing, drawn as a dashed line.
        null_name: what the dashed line is called.
    """
    if not rows:
        return Markup("")
    values = [end for row in rows for end in (row.value, row.low, row.high) if end is not None]
    scale = around(values + ([] if null is None else [null]), 170, WIDTH - 12)
    step = 42.0
    base, parts = step * len(rows) + 6, []
    if null is not None:
        parts.append(line(scale(null), 2, scale(null), base, "null"))
    for index, row in enumerate(rows):
        y = step * index + 25  # of the value; the name stands above it and may be as long as the drawing is wide
        parts += [words_at(0, y - 9, row.name, "name"), words_at(0, y + 7, _printed(row, form), "small")]
        if row.low is not None and row.high is not None:
            low, high = scale(row.low), scale(row.high)
            parts += [line(low, y, high, y, "span"), *(line(x, y - 5, x, y + 5, "stop") for x in (low, high))]
        parts.append(dot(scale(row.value), y, 5.5, "value"))
    parts += axis(scale, base, form)
    legend = [("value", label)]
    if any(row.low is not None for row in rows):
        legend.append(("span", Text("구간", "interval")))
    if null is not None:
        legend.append(("null", null_name or Text("차이가 없을 때", "when there is nothing")))
    return drawing(base + 26, parts, label, legend)


def _printed(row: Row, form: str) -> str:
    if row.low is None or row.high is None:
        return number(row.value, form)
    return f"{number(row.value, form)} ({number(row.low, form)} – {number(row.high, form)})"


def mix_curve(points: Sequence[Mapping[str, Any]]) -> Markup:
    """AUROC along the number of real images (logarithmic), a line for each number of synthetic images added to one.

    Args:
        points: `real`, `times`, `auroc`, `low`, `high` of each.
    """
    points = [point for point in points if known(point.get("auroc")) and point.get("real", 0) > 0]
    if not points:
        return Markup("")
    times = sorted({point["times"] for point in points})
    top, base, left, right = 12.0, 216.0, 52.0, WIDTH - 140
    up = around([point[key] for point in points for key in ("auroc", "low", "high")], base, top, (0.0, 1.0))
    sizes = sorted({point["real"] for point in points})
    along = around([math.log10(size) for size in sizes], left, right)
    parts = [line(left, top, left, base, "axis"), line(left, base, right, base, "axis")]
    decimals = 3 if up.high - up.low < 0.05 else 2
    for tick in up.ticks(5):
        parts.append(line(left, up(tick), left - 4, up(tick), "axis"))
        parts.append(words_at(left - 8, up(tick) + 5, f"{tick:.{decimals}f}", "scale", "end"))
    for size in sizes:
        x = along(math.log10(size))
        parts += [line(x, base, x, base + 4, "axis"), words_at(x, base + 18, f"{size:,}", "scale", "middle")]
    tips = []
    for index, k in enumerate(times):
        of = sorted((point for point in points if point["times"] == k), key=lambda point: float(point["real"]))
        shift = 7.0 * (index - (len(times) - 1) / 2)  # side by side, so that no interval hides another
        places = [(round(along(math.log10(point["real"])) + shift, 2), point) for point in of]
        css = f"run run-{index % _SHAPES}"
        for (x, before), (further, after) in pairwise(places):
            parts.append(line(x, up(before["auroc"]), further, up(after["auroc"]), css))
        for x, point in places:
            parts.append(line(x, up(point["low"]), x, up(point["high"]), "whisker"))
            parts.append(_mark(index, x, up(point["auroc"])))
        tips.append((up(of[-1]["auroc"]), index, k))
    for y, (_, index, k) in zip(_apart([tip[0] for tip in sorted(tips)]), sorted(tips), strict=True):
        parts += [_mark(index, right + 15, y), words_at(right + 25, y + 5, _of_each(k), "small")]
    parts.append(words_at(right, base + 37, Text("실제영상 수(로그 눈금)", "real images (log scale)"), "small", "end"))
    legend = [("whisker", Text("95 % 구간", "95 % interval"))]
    return drawing(base + 44, parts, Text("실제 시험 환자에 대한 AUROC", "AUROC on real test patients"), legend)


def _mark(index: int, x: float, y: float) -> Markup:
    """The mark of one line: open circle, filled circle, square, triangle, diamond."""
    shape = index % _SHAPES
    if shape < 2:
        return dot(x, y, 4.6, "run-mark open-mark" if shape == 0 else "run-mark")
    if shape == 2:
        return box(round(x - 4.2, 2), round(y - 4.2, 2), 8.4, 8.4, "run-mark")
    up, side, down = (6, 5.4, 4.2) if shape == 3 else (6, 6, 0)
    corners = [(x, y - up), (x + side, y + down), *([(x, y + 6)] if shape == 4 else []), (x - side, y + down)]
    path = " ".join(f"{round(a, 2)},{round(b, 2)}" for a, b in corners)
    return Markup('<polygon points="{}" class="run-mark"/>').format(path)


def _of_each(times: int) -> Text:
    if times == 0:
        return Text("실제만", "real alone")
    return Text(f"합성 {times:,}배 더함", f"+ {times:,} × synthetic")


def _apart(places: Sequence[float], least: float = 17.0) -> list[float]:
    """Heights of labels, ascending, moved down until none touches the one above."""
    out: list[float] = []
    for place in places:
        out.append(place if not out else max(place, out[-1] + least))
    return out
