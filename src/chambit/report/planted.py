"""What was planted and what of it was found: families by what was done to the copy, and what is not covered.

Nothing is computed here but positions. A family of no known kind stands under the others.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from chambit.report import style
from chambit.report.figures import WIDTH, Scale, box, dot, drawing, hatching, line, words_at
from chambit.report.wording import Text, named, number, text, words

OTHER = "other"
_BAR = 132


@dataclass(frozen=True)
class Kind:
    """Families to which the same sort of thing was done."""

    name: Text
    says: Text
    families: tuple[Mapping[str, Any], ...]


def by_kind(families: Sequence[Mapping[str, Any]]) -> list[Kind]:
    """The planted families in the order of the kinds in `words`, those of an unknown kind last."""
    kinds = words()["kinds"]
    found: dict[str, list[Mapping[str, Any]]] = {name: [] for name in kinds}
    for family in families:
        kind = family.get("kind", OTHER)
        found[kind if kind in kinds else OTHER].append(family)
    return [
        Kind(text(kinds[name]["name"]), text(kinds[name]["says"]), tuple(members))
        for name, members in found.items()
        if members
    ]


def uncovered(families: Sequence[Mapping[str, Any]], names: Sequence[str]) -> list[tuple[Text, Text]]:
    """Name of each kind of copy that is not covered, and a sentence that says why."""
    planted = {str(family["family"]): family for family in families}
    return [(named("families", name), _why(planted.get(name))) for name in names]


def _why(family: Mapping[str, Any] | None) -> Text:
    if family is None:
        return Text(
            "심어 보지 않았습니다. 있더라도 찾았을지 알 수 없습니다.",
            "Not planted: whether one would have been found is not known.",
        )
    low = number(family["low"], "share")
    return Text(
        f"심은 {family['planted']:,}장 가운데 찾은 것: {family['found']:,}장. "
        f"이런 복제를 찾는 비율은 {low}까지 낮을 수 있습니다.",
        f"{family['found']:,} of {family['planted']:,} planted copies were found; "
        f"the share that is found may be as low as {low}.",
    )


def recall_bar(family: Mapping[str, Any]) -> Markup:
    """Share found with its interval, small enough for a line of a table; hatched where the family is not covered."""
    scale, name = Scale(0, 1, 1, _BAR - 1), f"hatch-{family['family']}".replace(" ", "-")
    parts = [] if family["covered"] else [hatching(name)]
    parts += [
        box(1, 2, _BAR - 2, 12, "ground"),
        box(1, 2, scale(family["recall"]) - 1, 12, "bar", "" if family["covered"] else name),
        line(scale(family["low"]), 8, scale(family["high"]), 8, "whisker"),
        *(line(scale(family[end]), 4, scale(family[end]), 12, "whisker") for end in ("low", "high")),
    ]
    form = Markup('<svg class="recall" viewBox="0 0 {} 16" width="{}" height="16" aria-hidden="true">{}{}</svg>')
    return form.format(
        _BAR,
        _BAR,
        style.inside("recall", Text("찾은 비율과 구간", "share found, with its interval")),
        Markup("").join(parts),
    )


def kinds_drawing(kinds: Sequence[Kind], key: str) -> Markup:
    """One square for each planted family, a row for each kind; `key` makes the hatching of this drawing its own."""
    if not kinds:
        return Markup("")
    left, right, step = 152.0, WIDTH - 52.0, 34.0
    cell = min(22.0, (right - left) / max(len(kind.families) for kind in kinds))
    parts = [hatching(f"hatch-{key}")]
    for index, kind in enumerate(kinds):
        y = step * index + 4
        parts.append(words_at(0, y + 14, kind.name, "name"))
        for place, family in enumerate(kind.families):
            x, covered = left + cell * place, family["covered"]
            parts.append(
                box(round(x, 2), y, cell - 4, 18, "bar" if covered else "open", "" if covered else f"hatch-{key}")
            )
            if family.get("compulsory"):
                parts.append(dot(round(x + (cell - 4) / 2, 2), y + 9, 3.4, "compulsory"))
        covered_ones = sum(bool(family["covered"]) for family in kind.families)
        parts.append(words_at(WIDTH, y + 14, f"{covered_ones} / {len(kind.families)}", "small", "end"))
    legend = [
        ("bar", Text("덮은 종류", "covered family")),
        ("hatched", Text("덮지 못한 종류", "not covered")),
        ("compulsory", Text("반드시 찾아야 하는 종류", "compulsory")),
    ]
    label = Text("심어 둔 복제: 종류별로 덮었는지", "planted copies: families covered")
    return drawing(step * len(kinds), parts, label, legend)
