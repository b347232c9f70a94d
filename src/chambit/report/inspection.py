"""The inspector's page: contracted against delivered on one page that opens from a file without a network.

A pure view. It judges nothing: it orders, words and draws what an `Inspection` holds. The same inspection gives the
same bytes.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from pydantic import Field

from chambit.core import yamlfile
from chambit.core.evidence import Frozen
from chambit.prepare.contract import Contract
from chambit.prepare.fulfilment import Line, Outcome
from chambit.prepare.sampling import Plan
from chambit.report import figures, style, wording
from chambit.report.figures import WIDTH, Scale
from chambit.report.wording import Text, number

SHOWN = 50
"""Rows of a list on the page; all of them are in inspection.json and files.csv."""
BARS = 20
"""Bars of a distribution; the rest is one sentence."""
CURVES = 4
"""OC curves that are drawn; of more lots the largest."""
VERDICTS = {Outcome.MET: "PASS", Outcome.UNKNOWN: "NOT_RUN", Outcome.NOT_MET: "FAIL"}
"""Which of the dossier's marks and colours an outcome has."""
ENTRIES = ("class", "modality", "part")


class Copies(Frozen):
    """Files with equal pixels: names (masked where they identify), equal bytes or not, how many labels they have."""

    files: tuple[str, ...]
    same_bytes: bool
    labels: int


class Unread(Frozen):
    """A file that no reader opened, why, and what to do about it."""

    file: str
    reason: str
    remedy: str


class Lot(Frozen):
    """A lot of labels: its plan, the operating characteristic, and what the readers found.

    Attributes:
        name: the class it is of, "" for the whole delivery.
        plan: lot size, sample size, acceptance number.
        points: wrong labels at AQL (`good`) and at LTPD (`bad`), and both risks as they are for this plan.
        curve: (wrong labels in the lot, probability of acceptance).
        wrong: wrong labels in the sample, None until it has been read.
        low: end of the interval of the accuracy.
        high: end of the interval of the accuracy.
    """

    name: str
    plan: Plan
    points: dict[str, float] = Field(default_factory=dict)
    curve: tuple[tuple[int, float], ...]
    wrong: int | None = None
    low: float | None = None
    high: float | None = None


class Inspection(Frozen):
    """All a page shows, and all of inspection.json.

    Attributes:
        version: of Chambit.
        contract: the contract as it was read.
        word: what the inspector named for the draw, or "".
        outcome: the worst of all lines.
        totals: counts of files by kind.
        lines: every criterion.
        distributions: how many readable files there are of each value, by class, modality, format and others.
        copies: groups of files with equal pixels.
        unreadable: files no reader opened.
        label_faults: (line, kind) of rows of the labels that cannot be used.
        lots: lots of labels.
        digests: SHA-256 of what went in and of the files beside the page.
    """

    version: str
    contract: Contract
    word: str
    outcome: Outcome
    totals: dict[str, int]
    lines: tuple[Line, ...]
    distributions: dict[str, dict[str, int]]
    copies: tuple[Copies, ...] = ()
    unreadable: tuple[Unread, ...] = ()
    label_faults: tuple[tuple[int, str], ...] = ()
    lots: tuple[Lot, ...] = ()
    digests: dict[str, str] = Field(default_factory=dict)


class Row(NamedTuple):
    """One line, worded."""

    name: Text
    clause: str
    contracted: Text
    delivered: Text
    deviation: Text
    outcome: Outcome
    reason: Text

    @property
    def mark(self) -> str:
        """The dossier's verdict whose mark and colour it has."""
        return VERDICTS[self.outcome]


@cache
def _words() -> dict[str, Any]:
    """The words of this page; those of the dossier are another matter, and many."""
    content: dict[str, Any] = yamlfile.read(Path(__file__).with_suffix(".yaml"))
    return content


def render(inspection: Inspection) -> str:
    """The inspection as one HTML page."""
    return _environment().get_template("inspection.html.j2").render(_view(inspection))


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(say=_say, bi=_bi, percent=percent)
    environment.globals.update(colours=style.COLOURS, inked=style.inked, emblem=style.emblem)
    environment.filters["thousands"] = lambda value: f"{value:,}"
    return environment


def _say(korean: object, english: object) -> Markup:
    return Markup('<span class="ko" lang="ko">{}</span><span class="en" lang="en">{}</span>').format(korean, english)


def _bi(words: Sequence[str]) -> Markup:
    return Markup("{}").format(words[0]) if words[0] == words[1] else _say(*words)


def _view(inspection: Inspection) -> dict[str, Any]:
    words = _words()
    rows = [row(line) for line in inspection.lines]
    counted = {outcome: sum(line.outcome is outcome for line in inspection.lines) for outcome in Outcome}
    drawn = sorted(inspection.lots, key=lambda lot: (-lot.plan.lot, lot.name))[:CURVES]
    return {
        "it": inspection,
        "rows": rows,
        "head": rows[0],
        "mark": VERDICTS[inspection.outcome],
        "verdict": wording.text(words["verdicts"][inspection.outcome.value]),
        "outcomes": {key: wording.text(value) for key, value in words["outcomes"].items()},
        "counted": {outcome.value: many for outcome, many in counted.items()},
        "missed": [row for row in rows if row.outcome is Outcome.NOT_MET],
        "bars": [
            (_group(name), distribution(inspection, name, values), len(values) - BARS)
            for name, values in inspection.distributions.items()
        ],
        "faults": [(line, wording.text(words["faults"][kind])) for line, kind in inspection.label_faults[:SHOWN]],
        "unread": [(one, _refusal(one.reason)) for one in inspection.unreadable[:SHOWN]],
        "shown": SHOWN,
        "curves": [(lot, oc_curve(lot)) for lot in drawn],
        "stamp": Markup("· {}").format(inspection.contract.digest[:19]),
    }


def row(line: Line) -> Row:
    """One line of the contract in words: what was agreed, what came, how far it is off, and why."""
    words = _words()
    group = _group(line.group) if line.group else Text("", "")
    fill = [{"group": side, "item": line.item} for side in group]
    name = wording.text(words["criteria"][line.criterion])
    title = Text(name.ko.format_map(fill[0]), name.en.format_map(fill[1]))
    if line.criterion == "label accuracy" and line.item:
        title = Text(f"{title.ko} · {line.item}", f"{title.en} · {line.item}")
    return Row(title, line.clause, _contracted(line), _delivered(line), _deviation(line), line.outcome, _reason(line))


def _group(name: str) -> Text:
    return wording.text(_words()["groups"].get(name, name))


def _counted(value: float, unit: str) -> Text:
    units = wording.text(_words()["units"][unit])
    return Text(number(value, "count") + units.ko, number(value, "count"))


def _contracted(line: Line) -> Text:
    values, standing = _words()["values"], _words()["standing"]
    if line.criterion in standing:
        told = wording.text(standing[line.criterion])
        return Text(*(side.format(contracted=_amount(line.contracted)) for side in told))
    if isinstance(line.contracted, str):
        return wording.text(values.get(line.contracted, line.contracted or "—"))
    if line.unit == "points":
        off = f"{line.told['tolerance']:g}"
        return Text(f"{line.contracted:g} % ± {off} %p", f"{line.contracted:g} % ± {off} points")
    if line.criterion in ("duplicates", "unreadable", "label missing"):
        share = number(line.contracted, "share")
        return Text(f"{share} 이하", f"at most {share}") if line.contracted else Text("없을 것", "none")
    if line.criterion == "label accuracy":
        of = number(line.of, "count")
        accept = number(line.contracted, "count")
        return Text(f"{of}건 중 틀림 {accept}건 이하", f"at most {accept} wrong of {of}")
    ko, en = _counted(line.contracted, line.unit)
    if line.rule == "exactly":
        return Text(ko, f"exactly {en}")
    return Text(f"{ko} 이상", f"at least {en}") if line.rule == "at least" else Text(f"{ko} 이하", f"at most {en}")


def _delivered(line: Line) -> Text:
    if line.delivered is None:
        return Text("—", "—")
    if line.unit == "points":
        return Text(f"{line.delivered:.1f} %", f"{line.delivered:.1f} %")
    ko, en = _counted(line.delivered, line.unit)
    of = number(line.of, "count")
    return Text(f"{ko} / {of}", f"{en} of {of}") if line.of else Text(ko, en)


def _deviation(line: Line) -> Text:
    """With its sign where it is a difference; how many offend where it is a count of those."""
    if line.deviation is None:
        return Text("—", "—")
    if line.unit == "points":
        off = signed(line.deviation, 1)
        return Text(f"{off} %p", f"{off} points")
    share = "" if line.percent is None else f" ({number(abs(line.percent) / 100, 'share')})"
    if line.of or line.criterion == "images each":
        ko, en = _counted(line.deviation, line.unit)
        return Text(ko + share, en + share) if line.deviation else Text("0", "0")
    if share and line.deviation:
        share = f" ({signed(line.percent or 0, 1)} %)"
    ko, _ = _counted(abs(line.deviation), line.unit)
    sign = "" if not line.deviation else "+" if line.deviation > 0 else "−"
    return Text(sign + ko + share, sign + number(abs(line.deviation), "count") + share) if sign else Text("0", "0")


def signed(value: float, decimals: int) -> str:
    """A number with its sign, a true minus, and no sign before a zero.

    >>> signed(-1.96, 1), signed(0.04, 1), signed(3, 0)
    ('−2.0', '0.0', '+3')
    """
    digits = f"{abs(value):,.{decimals}f}"
    return digits if not digits.strip("0.,") else f"{'+' if value > 0 else '−'}{digits}"


def percent(share: float) -> str:
    r"""A share in percent with two decimals, as all of one table.

    >>> percent(0.999), percent(1)
    ('99.90\xa0%', '100.00\xa0%')
    """
    return f"{100 * share:.2f}\u00a0%"


def _reason(line: Line) -> Text:
    if not line.reason:
        return Text("", "")
    words = _words()
    template = wording.text(words["reasons"][line.reason])
    sides = []
    for side, text in enumerate(template):
        told = {key: _amount(value) for key, value in line.told.items()}
        if line.reason == "sample read":
            told |= {key: percent(float(line.told[key])) for key in ("accuracy", "low", "high")}
        if "first" in told:
            told["first"] = str(line.told["first"])  # a line's number has no comma
        if line.reason == "labels broken":
            told["why"] = wording.text(words["broken"][line.told["why"]])[side]
        if line.criterion == "colour" and "most" in told:
            for value in ("grey", "colour"):
                told["most"] = told["most"].replace(value, wording.text(words["values"][value])[side])
        sides.append(text.format_map(told))
    return Text(*sides)


def _amount(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:g}" if isinstance(value, float) else str(value)


def _refusal(reason: str) -> Text:
    """A reader's reason; in Korean its kind, for the reader's own sentence is English."""
    kinds: Mapping[str, Mapping[str, str]] = _words()["refusals"]
    kind = next((words["ko"] for start, words in kinds.items() if reason.startswith(start)), "")
    return Text(f"{kind} — {reason}" if kind else reason, reason)


def distribution(inspection: Inspection, group: str, values: Mapping[str, int]) -> Markup:
    """Bars of how many files there are of each value, with a line where the contract wants its number.

    A value of the contract that was not delivered has a bar of no length.
    """
    wanted = {line.item: line for line in inspection.lines if line.criterion == "by" and line.group == group}
    counts = dict(list(values.items())[:BARS]) | {name: values.get(name, 0) for name in wanted}
    ends = [float(line.contracted) for line in wanted.values()]
    scale = Scale(0, max([*counts.values(), *ends, 1]), 150, WIDTH - 92)
    words = _words()["values"]
    parts = []
    for place, (name, count) in enumerate(counts.items()):
        y = 4 + 26.0 * place
        title = wording.text(words[name]) if group == "colour" else Text(name, name)
        short = Text(*(side if len(side) <= 18 else f"{side[:17]}…" for side in title))
        parts.append(figures.words_at(142, y + 14, short, "name", "end"))
        parts.append(figures.box(scale.left, y, round(scale.right - scale.left, 2), 19, "ground"))
        parts.append(figures.box(scale.left, y, round(scale(count) - scale.left, 2), 19, "bar"))
        if name in wanted:
            at = scale(float(wanted[name].contracted))
            parts.append(figures.line(at, y - 3, at, y + 22, "limit"))
        parts.append(figures.words_at(WIDTH - 84, y + 14, number(count, "count"), "value"))
    # bars alone need no legend: the heading says what they count
    legend = [("bar", Text("납품", "delivered")), ("limit", Text("계약", "contracted"))] if wanted else []
    return figures.drawing(26.0 * len(counts) + 4, parts, _group(group), legend)


WRONG_LABELS = Text("로트에서 틀린 라벨의 비율 (%)", "share of wrong labels in the lot (%)")


def oc_curve(lot: Lot, below: Text = WRONG_LABELS) -> Markup:
    """The operating characteristic: probability of acceptance over what `below` says, of labels their share wrong."""
    last = lot.curve[-1][0] / lot.plan.lot
    across, top, base = Scale(0, 100 * last, 44, WIDTH - 12), 24.0, 204.0

    def height(chance: float) -> float:
        return round(base - chance * (base - top), 2)

    parts = []
    for chance in (0.0, 0.25, 0.5, 0.75, 1.0):
        parts.append(figures.line(44, height(chance), WIDTH - 12, height(chance), "rule"))
        parts.append(figures.words_at(38, height(chance) + 4, f"{chance:g}", "scale", "end"))
    parts += figures.axis(across, base, "plain")
    points = " ".join(f"{across(100 * wrong / lot.plan.lot)},{height(chance)}" for wrong, chance in lot.curve)
    parts.append(Markup('<polyline points="{}" class="oc"/>').format(points))
    for at, risk, word in (
        ("good", "producer_risk", Text("AQL", "AQL")),
        ("bad", "consumer_risk", Text("한계품질 LTPD", "LTPD")),
    ):
        if at in lot.points:
            x = across(100 * lot.points[at] / lot.plan.lot)
            chance = lot.points[risk] if at == "bad" else 1 - lot.points[risk]
            parts.append(figures.line(x, height(chance), x, base, "limit"))
            parts.append(figures.dot(x, height(chance), 5, "value"))
            parts.append(figures.words_at(x + 9, height(chance) - 8, word))
    parts.append(figures.words_at((44 + WIDTH - 12) / 2, base + 36, below, "small", "middle"))
    label = Text("합격 확률 곡선 (OC)", "probability of acceptance (OC curve)")
    return figures.drawing(base + 44, parts, label)
