"""Numbers and evidence put into words, in Korean and English at once.

Nothing is computed here: a value is printed with the care its kind needs, and a template from the folder `words`
is filled.
NOT_RUN and INVALID never print a number.
"""

from collections import defaultdict
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from chambit.core import yamlfile
from chambit.core.errors import ChambitError, Problem
from chambit.core.evidence import Band, Evidence, Interval, Verdict

_HERE = Path(__file__).parent
_REVIEW = _HERE.parent / "review"
_DASH = "—"
_JOIN = "\u2060"  # keeps a Korean particle on the line of its number
_TO = "\u00a0–\u2060\u00a0"  # between the ends of an interval, kept on one line


class Text(NamedTuple):
    """The same words in both languages."""

    ko: str
    en: str


@cache
def words() -> dict[str, Any]:
    """Everything in the folder `words`."""
    return joined({path.name: _load(path) for path in sorted((_HERE / "words").glob("*.yaml"))})


def joined(files: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """One table of the tables of several files: groups of one name are joined, and nothing is said twice.

    >>> joined({"a.yaml": {"arms": {"real": 1}}, "b.yaml": {"arms": {"trivial": 2}, "limits": [3]}})
    {'arms': {'real': 1, 'trivial': 2}, 'limits': [3]}

    Raises:
        ChambitError: when a key stands in two files, for then one of them would be read by nobody.
    """
    table: dict[str, Any] = {}
    problems = []
    for name, groups in files.items():
        for group, entries in groups.items():
            known = table.setdefault(group, {} if isinstance(entries, Mapping) else entries)
            if not (isinstance(known, dict) and isinstance(entries, Mapping)):
                if known is not entries:
                    problems.append(Problem(f"{name}: {group}", "stands in two files", "keep it in one"))
                continue
            twice = sorted(set(known) & set(entries))
            problems += [Problem(f"{name}: {group}.{key}", "stands in two files", "keep it in one") for key in twice]
            known |= entries
    if problems:
        raise ChambitError("Words of the dossier are given twice.", problems)
    return table


@cache
def scheme(name: str = "pipc-2024.5") -> dict[str, Any]:
    """The indicators of one review scheme, from `review/indicators`."""
    return _load(_REVIEW / "indicators" / f"{name}.yaml")


@cache
def references() -> list[dict[str, Any]]:
    """Numbers others have published, from `review/references.yaml`."""
    return list(_load(_REVIEW / "references.yaml")["references"])


def _load(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = yamlfile.read(path)
    return content


def text(value: Any) -> Text:
    """Words from YAML: `{ko, en}`, or one string that is the same in both languages."""
    return Text(value["ko"], value["en"]) if isinstance(value, Mapping) else Text(str(value), str(value))


def named(group: str, key: str) -> Text:
    """The name of `key` in a group of words (sizes, splits, arms ...), else the key itself."""
    return text(words()[group].get(key, key.replace("_", " ") if group == "sizes" else key))


def number(value: float, form: str) -> str:
    r"""One number as its kind is printed.

    >>> number(0.91349, "auroc"), number(0.0031, "share"), number(1, "share"), number(61133, "count")
    ('0.913', '0.31\xa0%', '100\xa0%', '61,133')
    >>> number(0.0004, "p"), number(0.00001, "p"), number(0.382, "p"), number(-0.0312, "difference")
    ('p = 0.0004', 'p < 0.0001', 'p = 0.382', '−0.031')
    >>> number(0.00021, "distance"), number(0.0431, "distance"), number(0.9104, "distance"), number(16.474, "distance")
    ('0.00021', '0.0431', '0.910', '16.47')
    """
    if form == "p":
        return "p < 0.0001" if value < 0.0001 else f"p = {value:.4f}" if value < 0.01 else f"p = {value:.3f}"
    if form == "share":
        return _signed(_percent(100 * value)) + "\u00a0%"
    if form == "count":
        return _signed(f"{value:,.0f}" if value == round(value) else f"{value:,.1f}")
    if form in ("auroc", "difference"):
        return _signed(f"{value:.3f}")
    if value == 0 or (form == "plain" and 0.001 <= abs(value) < 10000):
        return _signed(f"{value:.4g}")
    if value == round(value):
        return _signed(f"{value:,.0f}")
    decimals = 2 if abs(value) >= 1 else 3 if abs(value) >= 0.1 else 4
    return _signed(f"{value:,.{decimals}f}" if abs(value) >= 0.01 else f"{value:.2g}")


def _percent(percent: float) -> str:
    """Two decimals below 10, one above; never a 0 or a 100 that the number is not."""
    percent = round(percent, 9)
    if percent == round(percent):
        return f"{percent:.0f}"
    if abs(percent) < 0.005:
        return f"{percent:.1g}"
    printed = f"{percent:.2f}" if abs(percent) < 10 else f"{percent:.1f}"
    return f"{percent:.3f}" if float(printed) in (10.0, 100.0) else printed


def _signed(digits: str) -> str:
    """A true minus sign, and no minus before a zero."""
    return digits.lstrip("-") if not digits.strip("-0.,") else digits.replace("-", "−")


def measured(evidence: Evidence) -> bool:
    """Whether there is a number to print: never for NOT_RUN and INVALID."""
    return evidence.value is not None and evidence.verdict not in (Verdict.NOT_RUN, Verdict.INVALID)


def form_of(evidence: Evidence) -> str:
    """How the values of this evidence are printed."""
    known = words()["evidence"].get(evidence.key)
    return str(known["form"]) if known else "plain"


def value_text(evidence: Evidence) -> Text:
    """The value with its unit, or the words that say why there is none."""
    if evidence.verdict is Verdict.INVALID:
        return Text("사용 불가", "unusable")
    if evidence.value is None or not measured(evidence):
        return Text("미측정", "not measured")
    printed = number(evidence.value, form_of(evidence))
    show_unit = form_of(evidence) == "plain" and evidence.unit not in ("1", "")
    return text(f"{printed} {evidence.unit}" if show_unit else printed)


def interval_text(interval: Interval | None, form: str, direction: str = "neither") -> Text:
    """An interval in words; a one-sided one shows only the limit that was estimated."""
    if interval is None:
        return Text("개수", "a count") if form == "count" else Text("구간 없음", "no interval")
    level = f"{100 * interval.level:g} %"
    bare = "plain" if form == "p" else form
    if interval.sides == 1:
        if direction == "higher":
            return Text(
                f"{level} 하한 {number(interval.low, bare)}",
                f"{level} lower limit {number(interval.low, bare)}",
            )
        return Text(
            f"{level} 상한 {number(interval.high, bare)}",
            f"{level} upper limit {number(interval.high, bare)}",
        )
    span = f"{number(interval.low, bare)}{_TO}{number(interval.high, bare)}"
    return Text(f"{level} 신뢰구간 {span}", f"{level} interval {span}")


def band_text(band: Band | None, form: str) -> Text:
    """The real-versus-real reference as a sentence."""
    if band is None:
        return Text("실제–실제 기준은 없습니다.", "There is no real-versus-real reference.")
    span = f"{number(band.low, form)}{_TO}{number(band.high, form)}"
    return Text(
        f"같은 장수의 실제영상끼리는 {span}입니다.",
        f"Real images against other real images at the same n give {span}.",
    )


def null_text(evidence: Evidence) -> str:
    """The value when nothing is wrong (or nothing is there), as short as it can be printed."""
    if evidence.null is None:
        return _DASH
    return number(evidence.null, "share" if form_of(evidence) == "share" else "plain")


def sizes_text(sizes: Mapping[str, int]) -> Text:
    """The sizes behind a number, in the order they were given."""
    parts = [(named("sizes", key.replace(" ", "_")), f"{count:,}") for key, count in sizes.items()]
    return Text(
        " · ".join(f"{name.ko} {count}" for name, count in parts) or "n 없음",
        " · ".join(f"{count} {name.en}" for name, count in parts) or "no n",
    )


def name_of(key: str) -> Text:
    """The name of a piece of evidence, or its key when no file of `words` knows it."""
    known = words()["evidence"].get(key)
    return text(known["name"]) if known else text(key)


def reads_of(key: str) -> Text:
    """What the number means and which direction is good."""
    return text(words()["evidence"].get(key, words()["unknown"])["reads"])


def sentence(evidence: Evidence) -> Text:
    """The one plain sentence for this evidence, chosen by its verdict or by its lack of a value."""
    says = words()["evidence"].get(evidence.key, words()["unknown"])["says"]
    if evidence.verdict is Verdict.INVALID:
        return text(words()["unknown"]["says"]["invalid"])
    if not measured(evidence):
        return text(says["missing"])
    template = text(says.get(evidence.verdict.value, says["value"]))
    korean = {name: part + _JOIN for name, part in _placeholders(evidence, 0).items()}
    return Text(
        template.ko.format_map(defaultdict(lambda: _DASH, korean)),
        template.en.format_map(defaultdict(lambda: _DASH, _placeholders(evidence, 1))),
    )


def _placeholders(evidence: Evidence, side: int) -> dict[str, str]:
    form = form_of(evidence)
    interval = evidence.interval
    filled = {
        "value": value_text(evidence)[side],
        "interval": interval_text(interval, form, evidence.direction)[side],
        "band": band_text(evidence.band, form)[side],
        "low": _DASH if interval is None else number(interval.low, form),
        "high": _DASH if interval is None else number(interval.high, form),
        "null": null_text(evidence),
        **{f"n_{name.replace(' ', '_')}": f"{count:,}" for name, count in evidence.n.items()},
    }
    for name, detail in evidence.details.items():
        if isinstance(detail, int | float) and not isinstance(detail, bool):
            filled[f"d_{name}"] = number(detail, "plain")
        elif isinstance(detail, str):
            filled[f"d_{name}"] = detail
    return filled
