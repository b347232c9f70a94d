"""Small drawings as inline SVG: intervals, arms, the rank strip, the cohort.

Every text is drawn once for each language and the page shows one of them; on paper it is drawn in one, and each
drawing has its style in itself. Colour never carries meaning
alone: shape, hatching or a letter says the same. Numbers are placed as they come; nothing is computed but
positions.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from chambit.core.evidence import Band, Evidence
from chambit.report import medium, style
from chambit.report.wording import Text, form_of, measured, named, number, text, words

WIDTH = 480
_HATCH = Markup(
    '<defs><pattern id="{id}" width="6" height="6" patternUnits="userSpaceOnUse"'
    ' patternTransform="rotate(45)">'
    '<rect width="6" height="6" class="hatch-ground"/><line x1="0" y1="0" x2="0" y2="6" class="hatch-line"/>'
    "</pattern></defs>"
)


@dataclass(frozen=True)
class Scale:
    """A horizontal axis: values from `low` to `high` drawn between `left` and `right`."""

    low: float
    high: float
    left: float
    right: float

    def __call__(self, value: float) -> float:
        """Position of `value`, clipped to the axis.

        >>> Scale(0, 1, 100, 200)(0.5), Scale(0, 1, 100, 200)(7)
        (150.0, 200.0)
        """
        share = (value - self.low) / (self.high - self.low)
        return round(self.left + min(max(share, 0.0), 1.0) * (self.right - self.left), 2)

    def ticks(self, wanted: int = 5) -> list[float]:
        """About `wanted` round numbers on the axis.

        >>> Scale(0.0, 0.1, 0, 1).ticks()
        [0.0, 0.02, 0.04, 0.06, 0.08, 0.1]
        """
        rough = (self.high - self.low) / wanted
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [round(index * step, 12) for index in range(first, last + 1)]


def around(values: Sequence[float], left: float, right: float, bounds: tuple[float, float] | None = None) -> Scale:
    """A scale that holds all `values` with some air, within `bounds` if given."""
    low, high = min(values), max(values)
    air = 0.12 * (high - low) or 0.1 * abs(high) or 1.0
    low, high = low - air, high + air
    if bounds is not None:
        low, high = max(low, bounds[0]), min(high, bounds[1])
    return Scale(low, high, left, right)


def words_at(x: float, y: float, what: Text | str, css: str = "", anchor: str = "start") -> Markup:
    """One SVG text in both languages; a plain string is the same in both."""
    pairs = [("", what)] if isinstance(what, str) else _each(what)
    if len(pairs) == 2 and pairs[0][1] == pairs[1][1]:
        pairs = [("", pairs[0][1])]
    form = Markup('<text x="{}" y="{}" class="{}" text-anchor="{}">{}</text>')
    return Markup("").join(form.format(x, y, f"{side} {css}".strip(), anchor, words) for side, words in pairs)


def _each(what: Text) -> list[tuple[str, str]]:
    """Words by the side of the page that shows them, or those of the paper alone."""
    only = medium.chosen(*what)
    return [("ko", what.ko), ("en", what.en)] if only is None else [("", str(only))]


def in_both(what: tuple[str, str]) -> str:
    """Words for an attribute, which no style can hide: both languages behind each other, on paper its own."""
    only = medium.chosen(*what)
    return f"{what[0]} / {what[1]}" if only is None else str(only)


def line(x1: float, y1: float, x2: float, y2: float, css: str) -> Markup:
    """One straight line."""
    return Markup('<line x1="{}" y1="{}" x2="{}" y2="{}" class="{}"/>').format(x1, y1, x2, y2, css)


def hatching(name: str) -> Markup:
    """A pattern for `box`; every drawing needs one of its own name."""
    return _HATCH.format(id=name)


def box(x: float, y: float, width: float, height: float, css: str, fill: str = "") -> Markup:
    """One rectangle; `fill` names a pattern."""
    paint = Markup(' style="fill:url(#{})"').format(fill) if fill else Markup("")
    form = Markup('<rect x="{}" y="{}" width="{}" height="{}" class="{}"{}/>')
    return form.format(x, y, round(max(width, 0.0), 2), height, css, paint)


def dot(x: float, y: float, radius: float, css: str) -> Markup:
    """One circle."""
    return Markup('<circle cx="{}" cy="{}" r="{}" class="{}"/>').format(x, y, radius, css)


def drawing(height: float, parts: Sequence[Markup], label: Text, legend: Sequence[tuple[str, Text]] = ()) -> Markup:
    """The finished figure: the SVG, and beneath it a legend of (css class of the sign, words)."""
    word, item = Markup('<span class="{}">{}</span>'), Markup('<li><i class="sign {}"></i>{}</li>')
    items = Markup("").join(
        item.format(css, Markup("").join(word.format(*pair) for pair in _each(words))) for css, words in legend
    )
    form = '<div class="plot"><svg class="drawing" viewBox="0 0 {} {}" role="img" aria-label="{}">{}{}</svg>{}</div>'
    return Markup(form).format(
        WIDTH,
        round(height, 1),
        in_both(label),
        style.inside("drawing", label),
        Markup("").join(parts),
        Markup('<ul class="legend">{}</ul>').format(items) if items else "",
    )


def axis(scale: Scale, y: float, form: str) -> list[Markup]:
    """The base line with its ticks and numbers."""
    ticks = scale.ticks()
    decimals = max((len(f"{tick:.10f}".rstrip("0").split(".")[1]) for tick in ticks), default=0)
    parts = [line(scale.left, y, scale.right, y, "axis")]
    for tick in ticks:
        printed = number(tick, form) if form == "share" else f"{tick:,.{decimals}f}".replace("-", "−")
        parts += [
            line(scale(tick), y, scale(tick), y + 4, "axis"),
            words_at(scale(tick), y + 18, printed, "scale", "middle"),
        ]
    return parts


def interval_plot(evidence: Evidence) -> Markup:
    """The value with its interval, beside null value, real-versus-real band and the limits it is held to."""
    if evidence.value is None or not measured(evidence) or not (evidence.interval or evidence.band):
        return Markup("")
    band, form = evidence.band, form_of(evidence)
    limits, ends = limits_of(evidence), _ends(evidence)
    known = [evidence.value, *ends, *limits, *([] if evidence.null is None else [evidence.null])]
    scale = around(known + ([band.low, band.high] if band else []), 12, WIDTH - 12)
    middle, base = 34.0, 62.0
    parts: list[Markup] = []
    legend = [("value", Text("측정값", "value"))]
    if band is not None:
        parts += _band(band, scale, base)
        legend.append(("band", Text("실제–실제 범위", "real versus real")))
    parts += axis(scale, base, form)
    if evidence.null is not None:
        parts.append(line(scale(evidence.null), 8, scale(evidence.null), base, "null"))
        legend.append(("null", Text("차이가 없을 때의 값", "value when nothing is wrong")))
    for limit in limits:
        parts.append(line(scale(limit), 8, scale(limit), base, "limit"))
    if limits:
        legend.append(("limit", Text("기준의 한계", "limit of the policy")))
    parts += _whisker(evidence.value, ends, scale, middle)
    parts.append(dot(scale(evidence.value), middle, 6.5, "value"))
    if ends:
        legend.insert(1, ("span", Text("구간", "interval")))
    return drawing(base + 26, parts, Text("측정값과 구간", "value and interval"), legend)


def limits_of(evidence: Evidence) -> list[float]:
    """The limits a policy or study gave for drawing: `details.limits`, else `details.margin`."""
    limits = evidence.details.get("limits", evidence.details.get("margin"))
    given = limits if isinstance(limits, list | tuple) else [limits]
    return [float(limit) for limit in given if isinstance(limit, int | float)]


def _ends(evidence: Evidence) -> list[float]:
    """The ends that were estimated: both, or the one that a one-sided interval is about."""
    interval = evidence.interval
    if interval is None:
        return []
    if interval.sides == 2:
        return [interval.low, interval.high]
    return [interval.low if evidence.direction == "higher" else interval.high]


def _band(band: Band, scale: Scale, base: float) -> list[Markup]:
    left, right = scale(band.low), scale(band.high)
    return [
        box(left, 14, max(right - left, 2), base - 14, "band"),
        line(scale(band.middle), 14, scale(band.middle), base, "band-middle"),
    ]


def _whisker(value: float, ends: Sequence[float], scale: Scale, y: float) -> list[Markup]:
    """The interval as a bar with a stop at each estimated end; a one-sided one starts at the value."""
    if not ends:
        return []
    reach = [value, *ends]
    stops = [line(scale(end), y - 6, scale(end), y + 6, "stop") for end in ends]
    return [line(scale(min(reach)), y, scale(max(reach)), y, "span"), *stops]


SET_APART = ("trivial", "gaussian", "noisy", "interpolated", "misplaced")
"""Arms that are there for comparison only, drawn under a line."""
_AUROC = Text("AUROC (실제 시험 환자)", "AUROC (real test patients)")


def forest(arms: Mapping[str, Any], margin: float | None = None, what: Text = _AUROC) -> Markup:
    """What each arm reaches on real test patients, with its interval and one small dot for each seed.

    Args:
        arms: arm -> `auroc` or `mean`, `low`, `high`, perhaps `seeds`. Those of `SET_APART` stand under a line.
        margin: what may be lost against the arm `real`, drawn as a limit.
        what: what the values are.
    """
    given = {key: arm for key, arm in arms.items() if isinstance(arm, Mapping) and _reached(arm) is not None}
    rows = [key for key in given if key not in SET_APART] + [key for key in given if key in SET_APART]
    if not rows:
        return Markup("")
    values = [v for arm in given.values() for v in (_reached(arm), arm["low"], arm["high"], *arm.get("seeds", ()))]
    real = _reached(given.get("real", {})) if margin is not None else None
    floor = [] if real is None or margin is None else [real - margin]
    scale = around([*values, *floor], 158, WIDTH - 12, (0.0, 1.0))
    parts: list[Markup] = []
    y = 25.0  # of the value; the name stands above it and may be as long as the drawing is wide
    for index, key in enumerate(rows):
        arm, note = given[key], text(words()["arm_notes"].get(key, ""))
        if key in SET_APART and index and rows[index - 1] not in SET_APART:
            parts.append(line(0, y - 27, WIDTH, y - 27, "axis"))
            y += 4
        printed = f"{_reached(arm):.3f} ({arm['low']:.3f} – {arm['high']:.3f})"
        parts += [words_at(0, y - 9, named("arms", key), "name"), words_at(0, y + 7, printed, "small")]
        parts += [words_at(0, y + 21, note, "tiny")] if note.en else []
        parts += [
            line(scale(arm["low"]), y, scale(arm["high"]), y, "span"),
            dot(scale(_reached(arm)), y, 6.5, f"value{' apart' if key in SET_APART else ''} arm-{index}"),
        ]
        parts += [dot(scale(seed), y + 12, 2.2, "seed") for seed in arm.get("seeds", ())]
        y += 58 if note.en else 46
    base = y - 14
    parts += [line(scale(limit), 4, scale(limit), base, "limit") for limit in floor]
    parts += axis(scale, base, "auroc")
    legend = [("value", what)]
    legend += [("value apart", Text("비교용", "for comparison"))] if rows[-1] in SET_APART else []
    legend += [("seed", Text("시드별 값", "one seed"))] if any(arm.get("seeds") for arm in given.values()) else []
    legend += [("limit", Text("허용 한계 (실제 − 한계)", "margin below real"))] if floor else []
    label = Text(f"학습 자료별 {what.ko}", f"{what.en} by training data")
    return drawing(base + 26, parts, label, legend)


def _reached(arm: Mapping[str, Any]) -> Any:
    return arm.get("auroc", arm.get("mean"))


def rank_strip(top: Sequence[str], columns: int = 20) -> Markup:
    """The real patients nearest to the synthetic images, nearest first: training filled, holdout open."""
    if not top:
        return Markup("")
    cell, parts = (WIDTH - 2) / columns, []
    for index, split in enumerate(top):
        x, y = 1 + cell * (index % columns), 2 + (cell + 3) * (index // columns)
        trained = split == "T"
        parts.append(
            box(
                round(x, 2),
                round(y, 2),
                cell - 3,
                round(cell - 3, 2),
                "rank-train" if trained else "rank-holdout",
            )
        )
        letter = Text("학", "T") if trained else Text("대", "H")
        css = "rank-letter on" if trained else "rank-letter"
        parts.append(words_at(round(x + (cell - 3) / 2, 2), round(y + cell / 2 + 3, 2), letter, css, "middle"))
    legend = [
        ("rank-train", Text("학습 환자", "training patient")),
        ("rank-holdout", Text("대조 환자", "holdout patient")),
    ]
    rows = math.ceil(len(top) / columns)
    return drawing(rows * (cell + 3) + 2, parts, Text("가장 닮은 환자의 순위", "nearest patients by rank"), legend)


def cohort_bar(counts: Mapping[str, Mapping[str, int]]) -> Markup:
    """How the real patients are divided, one block for each split, drawn to scale."""
    splits = [(name, row["subjects"]) for name, row in counts.items() if name != "synthetic" and row.get("subjects")]
    total = sum(size for _, size in splits)
    if not total:
        return Markup("")
    parts, x, lowest = [], 0.0, 0
    for index, (name, size) in enumerate(splits):
        width = WIDTH * size / total
        parts.append(box(round(x, 2), 4, width - 3, 30, f"split split-{index % 4}"))
        title = named("splits", name)
        # a name wider than its block would run into the next one's: it goes a row lower
        lower = 40 if index + 1 < len(splits) and width < 9 * max(len(title.en), 1.6 * len(title.ko)) else 0
        parts += [
            words_at(round(x + 1, 2), 52 + lower, title, "name"),
            words_at(round(x + 1, 2), 69 + lower, f"{size:,}", "small"),
        ]
        x, lowest = x + width, max(lowest, lower)
    return drawing(76 + lowest, parts, Text("환자 단위 분할", "patients by split"))
