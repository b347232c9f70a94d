"""What the utility section shows: details of evidence put in order and printed, nothing computed.

A number is shown only where its evidence was measured and its control fired; details that are not there show nothing.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from chambit.core.evidence import Evidence, Verdict
from chambit.report import figures, plots, wording
from chambit.report.wording import Text

SEEN = (
    "frechet.distance",
    "frechet.infinite",
    "kernel.distance",
    "precision_recall.precision",
    "precision_recall.recall",
    "precision_recall.density",
    "precision_recall.coverage",
    "vendi.ratio",
)
"""Evidence that several extractors saw, in the order shown; it is told by parts of the sets, too."""
_OWN_SCALE = ("frechet", "kernel")  # distances of two extractors have no common scale
_DASH = "—"


@dataclass(frozen=True)
class Criterion:
    """What another framework asks, and for each indicator how often each outcome occurs among what answers it."""

    framework: str
    name: Text
    asks: Text
    note: Text
    cells: tuple[tuple[tuple[Verdict, int], ...], ...]
    answers: tuple[Text, ...]
    absent: tuple[Text, ...]
    attached: tuple[tuple[Text, str], ...]


@dataclass(frozen=True)
class Look:
    """One quantity as one extractor saw it."""

    name: Text
    code: str
    dimensions: str
    n: str
    value: str
    interval: str
    band: str
    plot: Markup
    judged: bool


@dataclass(frozen=True)
class Quantity:
    """One quantity as all extractors saw it."""

    key: str
    name: Text
    few: bool
    looks: tuple[Look, ...]


@dataclass(frozen=True)
class Cell:
    """One quantity in one part of the sets, or what stands there when the part is too small."""

    value: str
    interval: str
    band: str


@dataclass(frozen=True)
class Part:
    """One class or group: its counts and its quantities; `cells` are None where it was too small."""

    name: str
    real: str
    synthetic: str
    n: str
    cells: tuple[Cell | None, ...]


@dataclass(frozen=True)
class Place:
    """Where one extractor puts one set: rank among the sets by distance, and the distance."""

    rank: int
    value: str
    interval: str


def section(rows: Mapping[str, Evidence], attached: Mapping[str, str]) -> dict[str, Any]:
    """Everything the section shows, by name.

    Args:
        rows: evidence by key.
        attached: what the study file states, by attachment id.
    """
    told = {key: dict(row.details) for key, row in rows.items() if wording.measured(row)}
    return {
        "criteria": criteria(rows, attached),
        "quantities": quantities(told),
        "weights": _weights(told),
        "strata": strata(told),
        "strata_keys": _kept(told),
        "order": order(told.get("agreement.tau", {})),
        "told": told,
        **_drawings(told),
    }


def printed(value: object, form: str = "auroc") -> str:
    r"""A number as its kind is printed, or a dash.

    >>> printed(0.91349), printed(None), printed(float("nan")), printed(0.25, "share")
    ('0.913', '—', '—', '25\xa0%')
    """
    return wording.number(float(value), form) if plots.known(value) else _DASH  # type: ignore[arg-type]


def span(entry: Mapping[str, Any], form: str = "auroc") -> str:
    """Both ends of an interval or band, or a dash.

    >>> span({"low": 0.1, "high": 0.25}), span({})
    ('0.100 – 0.250', '—')
    """
    ends = [entry.get(end) for end in ("low", "high")]
    return " – ".join(printed(end, form) for end in ends) if all(map(plots.known, ends)) else _DASH


def criteria(rows: Mapping[str, Evidence], attached: Mapping[str, str]) -> list[Criterion]:
    """What frameworks about the quality of a set ask, in the order of the scheme, each beside the indicators."""
    indicators = wording.scheme()["indicators"]
    names = {item["id"]: wording.text(item) for entry in indicators for item in entry["attach"]}
    only_some = {key for entry in indicators for key in entry.get("where_recorded", ())}
    items = [item for entry in indicators for item in entry.get("maps", ()) if "asks" in item]
    return [
        Criterion(
            framework=item["framework"],
            name=wording.text(item["criterion"]),
            asks=wording.text(item["asks"]),
            note=wording.text(item.get("note", "")),
            cells=tuple(_marks(entry, item["evidence"], rows) for entry in indicators),
            answers=tuple(wording.name_of(key) for key in item["evidence"] if key in rows),
            absent=tuple(wording.name_of(key) for key in item["evidence"] if key not in rows and key not in only_some),
            attached=tuple((names[key], attached.get(key, "")) for key in item.get("attach", ())),
        )
        for item in items
    ]


def _marks(
    entry: Mapping[str, Any], keys: Collection[str], rows: Mapping[str, Evidence]
) -> tuple[tuple[Verdict, int], ...]:
    """Outcomes, worst first; evidence that every set must have and this one has not counts as not run."""
    own = [key for key in entry["evidence"] if key in keys]
    seen = [rows[key].verdict if key in rows else Verdict.NOT_RUN for key in own
            if key in rows or key not in entry.get("where_recorded", ())]  # fmt: skip
    return tuple((verdict, seen.count(verdict)) for verdict in reversed(Verdict) if verdict in seen)


def quantities(told: Mapping[str, Mapping[str, Any]]) -> list[Quantity]:
    """What several extractors saw, quantity by quantity; the first extractor is the one that is judged."""
    found = []
    for key in SEEN:
        seen = told.get(key, {}).get("seen", [])
        if not seen:
            continue
        together = [value for one in seen for value in plots.reach(one)]
        apart = key.split(".")[0] in _OWN_SCALE
        looks = tuple(
            _look(one, _form(key), plots.reach(one) if apart else together, judged=index == 0)
            for index, one in enumerate(seen)
        )
        found.append(Quantity(key, wording.name_of(key), few(key, told[key]), looks))
    return found


def few(key: str, details: Mapping[str, Any]) -> bool:
    """Whether a Frechet distance comes of too few images to be held beside a published one."""
    return key.startswith("frechet.") and details.get("few") is True


def _look(one: Mapping[str, Any], form: str, values: Sequence[float], judged: bool) -> Look:
    low, high = min([0.0, *values]), max([0.0, *values])
    air = 0.06 * (high - low) or 1.0
    return Look(
        name=extractor(one["extractor"]),
        code=str(one["extractor"]),
        dimensions=printed(one.get("dimensions"), "count"),
        n=printed(one.get("n"), "count"),
        value=printed(one.get("value"), form),
        interval=span(one, form),
        band=span(one.get("band") or {}, form),
        plot=plots.spot(one, (low - air, high + air)) if one.get("band") else Markup(""),
        judged=judged,
    )


def extractor(code: str) -> Text:
    """The name of an extractor that is given with its version, or the code itself."""
    name = wording.named("extractors", code.split("@")[0])
    return Text(code, code) if name.en == code.split("@")[0] else name


def _form(key: str) -> str:
    known = wording.words()["evidence"].get(key)
    return str(known["form"]) if known else "plain"


def _weights(told: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Each extractor once, with the digests of its weights and preprocessing."""
    found: dict[str, dict[str, Any]] = {}
    for key in (*SEEN, "agreement.tau"):
        for one in told.get(key, {}).get("seen", []):
            found.setdefault(one["extractor"], {"name": extractor(one["extractor"]), **one})
    return list(found.values())


def _kept(told: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The quantities that are told by parts."""
    return [key for key in SEEN if key != "frechet.infinite" and told.get(key, {}).get("parts")]


def strata(told: Mapping[str, Mapping[str, Any]]) -> list[tuple[Text, list[Part]]]:
    """For each column by which the sets are divided: its parts, each with every quantity in the order of `_kept`."""
    keys = _kept(told)
    columns = dict.fromkeys(column for key in keys for column in told[key]["parts"])
    return [(wording.named("strata", column), _parts(told, keys, column)) for column in columns]


def _parts(told: Mapping[str, Mapping[str, Any]], keys: Sequence[str], column: str) -> list[Part]:
    of = {key: told[key]["parts"].get(column, {}) for key in keys}
    names = dict.fromkeys(name for cells in of.values() for name in cells)
    out = []
    for name in names:
        entries = [of[key].get(name, {}) for key in keys]
        first = next(entry for entry in entries if entry)
        sizes = dict.fromkeys(printed(entry["n"], "count") for entry in entries if "n" in entry)
        out.append(
            Part(
                name=str(name),
                real=printed(first.get("real"), "count"),
                synthetic=printed(first.get("synthetic"), "count"),
                n=" · ".join(sizes) or _DASH,
                cells=tuple(_cell(entry.get(key.split(".")[1]), key) for key, entry in zip(keys, entries, strict=True)),
            )
        )
    return out


def _cell(entry: Mapping[str, Any] | None, key: str) -> Cell | None:
    if not entry:
        return None
    form = _form(key)
    return Cell(printed(entry.get("value"), form), span(entry, form), span(entry.get("band") or {}, form))


def order(details: Mapping[str, Any]) -> dict[str, Any]:
    """Sets by extractors: rank by distance to unseen real images, and which extractors contradict each other."""
    seen, sets = details.get("seen", []), details.get("sets", [])
    if not seen or not sets:
        return {}
    ranked = [_ranks(one, sets) for one in seen]
    named = {one["extractor"].split("@")[0]: extractor(one["extractor"]) for one in seen}
    return {
        "extractors": [(extractor(one["extractor"]), str(one["extractor"])) for one in seen],
        "sets": [(wording.named("sets", name), [ranks.get(name) for ranks in ranked]) for name in sets],
        "conflicts": [[named.get(name.split("@")[0], Text(name, name)) for name in pair]
                      for pair in details.get("in_conflict", [])],
        "left_out": [(extractor(name), str(why)) for name, why in details.get("left_out", {}).items()],
    }  # fmt: skip


def _ranks(one: Mapping[str, Any], sets: Sequence[str]) -> dict[str, Place]:
    distances = sorted((float(one[name]["value"]), name) for name in sets if name in one)
    return {
        name: Place(rank, printed(value, "distance"), span(one[name], "distance"))
        for rank, (value, name) in enumerate(distances, 1)
    }


def bound(row: Mapping[str, Any], claim: str) -> Text:
    """The end of an endpoint's interval that decides the claim; of the gain where it is one of superiority."""
    if claim == "equivalence":
        return wording.text(span(row, "difference"))
    if claim == "superiority":
        low = printed(row.get("low"), "difference")
        return Text(f"이득의 하한 {low}", f"gain, lower limit {low}")
    high = printed(row.get("high"), "difference")
    return Text(f"상한 {high}", f"upper limit {high}")


def _drawings(told: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    overlap = {
        key: figures.forest(told.get(key, {}).get("arms", {}), told.get(key, {}).get("margin"), what=Text(name, name))
        for key, name in (("segmentation.dice_loss", "Dice"), ("segmentation.map_loss", "mAP"))
    }
    curves = {key: plots.mix_curve([*told.get(key, {}).get("points", []), *told.get(key, {}).get("without", [])])
              for key in ("mix.gain", "mix.rare_gain")}  # fmt: skip
    steps = [plots.Row(wording.text(row["step"]), row["gain"], row["low"], row["high"])
             for row in told.get("refinement.gain", {}).get("steps", [])]  # fmt: skip
    apart = told.get("shortcut.auroc", {})
    half = Text("구별되지 않을 때", "when nothing tells them apart")
    return {
        "overlap": {key: plot for key, plot in overlap.items() if plot},
        "curves": {key: plot for key, plot in curves.items() if plot},
        "steps_plot": plots.interval_rows(steps, Text("AUROC의 이득", "gain in AUROC"), "difference", 0.0,
                                          Text("이득 없음", "no gain")),
        "families_plot": plots.interval_rows(
            _told_apart(apart.get("families", {}), "feature_families"), Text("AUROC", "AUROC"), "auroc", 0.5, half
        ),
        "classes_plot": plots.interval_rows(
            _told_apart(apart.get("classes", {}), ""), Text("AUROC", "AUROC"), "auroc", 0.5, half
        ),
    }  # fmt: skip


def _told_apart(entries: Mapping[str, Mapping[str, Any]], group: str) -> list[plots.Row]:
    """By what, or in which class, synthetic images are told from real ones: the surest first where it is by what."""
    rows = [plots.Row(wording.named(group, name) if group else Text(name, name), one["value"], one["low"], one["high"])
            for name, one in entries.items()]  # fmt: skip
    return sorted(rows, key=lambda row: -row.value) if group else rows
