"""The stages of a recipe as the dossier tells them: what each needs and makes, what its training measured, its strip.

Nothing is computed but positions of a curve. Facts of a training are whatever JSON its stage keeps: numbers and words
are listed, lists of numbers along the training are drawn.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from markupsafe import Markup
from pydantic import Field

from chambit.core.evidence import Frozen
from chambit.report.figures import WIDTH, Scale, drawing, line, words_at
from chambit.report.films import Film
from chambit.report.viewer import Sheet
from chambit.report.wording import Text, named, number

POINTS = 4
"""So many numbers in a list, and it is drawn as a curve."""
_TOP, _BASE, _LEFT, _RIGHT = 12.0, 112.0, 64.0, WIDTH - 84.0
_DASHES = 5


class Stage(Frozen):
    """One trained stage.

    Attributes:
        name, version: which.
        options: in short.
        weights: digest of what training left.
        needs, takes, makes: names of arrays, see `chambit.generate.items`.
        facts: what training measured, JSON values.
    """

    name: str
    version: str
    options: str
    weights: str
    needs: tuple[str, ...] = ()
    takes: tuple[str, ...] = ()
    makes: tuple[str, ...] = ()
    facts: dict[str, Any] = Field(default_factory=dict)


class Strip(Frozen):
    """What went in and what came out, stage by stage: a row of tiles for each item.

    Attributes:
        sheet: the tiles.
        columns: (stage, output) of each column; the stage is '' for what was released.
        items: of each row its class and other conditions, in words.
    """

    sheet: Sheet
    columns: tuple[tuple[str, str], ...]
    items: tuple[str, ...]


class Way(Frozen):
    """Looks along the way from noise of one stage; a row of the film for each item, a frame for each look."""

    stage: str
    output: str
    film: Film


class Grid(Frozen):
    """Items of one class in a row: the same class, another noise for each picture."""

    sheet: Sheet
    rows: tuple[str, ...]


def flat(facts: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Facts without nesting: names of inner ones follow that of the outer one.

    >>> flat({"loss": {"denoiser": [3, 2]}, "items": 8})
    {'loss denoiser': [3, 2], 'items': 8}
    """
    found: dict[str, Any] = {}
    for name, value in facts.items():
        whole = f"{before} {name}".strip()
        if isinstance(value, Mapping):
            found |= flat(value, whole)
        elif rows := _rows(value):
            found |= {key: [row[key] for row in rows] for key in rows[0] if key != "step"}
        else:
            found[whole] = value
    return found


def _rows(value: Any) -> list[Mapping[str, Any]]:
    """A list of records of one kind, such as a loss at each step; empty where it is none."""
    if not isinstance(value, Sequence) or isinstance(value, str):
        return []
    rows = [one for one in value if isinstance(one, Mapping)]
    return rows if rows and len(rows) == len(value) and len({tuple(sorted(row)) for row in rows}) == 1 else []


def curves(facts: Mapping[str, Any]) -> dict[str, list[float]]:
    """Lists of at least four finite numbers; of pairs (step, value) the values."""
    found = {}
    for name, value in flat(facts).items():
        if not isinstance(value, Sequence) or isinstance(value, str) or len(value) < POINTS:
            continue
        pairs = all(isinstance(one, Sequence) and not isinstance(one, str) and len(one) == 2 for one in value)
        values = [one[1] for one in value] if pairs else list(value)
        if all(isinstance(one, int | float) and math.isfinite(one) for one in values):
            found[name] = [float(one) for one in values]
    return found


def told(facts: Mapping[str, Any]) -> list[tuple[Text, str]]:
    """Name and value of every fact that is no curve, as they are printed."""
    drawn = curves(facts)
    return [(fact_name(name), _plain(value)) for name, value in flat(facts).items() if name not in drawn]


def fact_name(name: str) -> Text:
    """The name of a fact in both languages where it is known, else as the stage calls it."""
    return named("making_facts", name)


def _plain(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return "✓" if value else "—"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return number(value, "plain") if math.isfinite(value) else "—"
    if isinstance(value, Sequence) and not isinstance(value, str):
        sides = all(isinstance(one, int) for one in value) and len(value) < POINTS
        return (" × " if sides else ", ").join(_plain(one) for one in value)
    return str(value)


def loss_curve(facts: Mapping[str, Any]) -> Markup:
    """Every curve of a training over its length, '' without any; a logarithmic axis where values span a decade.

    Curves are told apart by their dashes and by their names at the end.
    """
    drawn = curves(facts)
    if not drawn:
        return Markup("")
    values = [value for curve in drawn.values() for value in curve]
    low, high = min(values), max(values)
    logarithmic = low > 0 and high > 10 * low
    place = math.log10 if logarithmic else float
    up = Scale(place(low), place(high) if high > low else place(low) + 1.0, _BASE, _TOP)
    parts = [line(_LEFT, _TOP - 6, _LEFT, _BASE, "axis"), line(_LEFT, _BASE, _RIGHT, _BASE, "axis")]
    for value in dict.fromkeys((low, high)):
        parts += [line(_LEFT - 4, up(place(value)), _LEFT, up(place(value)), "axis")]
        parts += [words_at(_LEFT - 8, up(place(value)) + 5, number(float(f"{value:.3g}"), "plain"), "scale", "end")]
    ends: list[float] = []
    for k, (name, curve) in enumerate(drawn.items()):
        along = Scale(0, len(curve) - 1, _LEFT, _RIGHT)
        points = [(along(at), up(place(value))) for at, value in enumerate(curve)]
        parts += [line(*before, *after, f"run run-{k % _DASHES}") for before, after in pairwise(points)]
        end = points[-1][1] + 5
        while any(abs(end - other) < 14 for other in ends):
            end -= 14
        ends.append(end)
        parts.append(words_at(_RIGHT + 8, end, fact_name(name), "tiny"))
    scale = Text("로그 눈금", "logarithmic") if logarithmic else Text("", "")
    parts.append(words_at(_LEFT, _BASE + 20, Text("학습 처음", "start of training"), "small"))
    parts.append(words_at(_RIGHT, _BASE + 20, Text("끝", "end"), "small", "end"))
    if logarithmic:
        parts.append(words_at((_LEFT + _RIGHT) / 2, _BASE + 20, scale, "small", "middle"))
    return drawing(_BASE + 26, parts, Text("학습 도중의 손실", "loss along the training"))
