"""Colours of every page, and what a drawing carries in itself on paper: its style and words for who does not see it.

On paper the style sheet of the page does not reach into a drawing, and a reader that speaks looks for the title there.
"""

import re
from functools import cache
from pathlib import Path

from markupsafe import Markup

from chambit.report import medium, wording
from chambit.report.wording import Text

COLOURS = {
    "ink": "#17222d", "soft": "#4b5a68", "faint": "#667583", "line": "#dde4ea", "wash": "#f4f6f8", "accent": "#1b4f7d",
    "pass": "#1b5c8f", "cond": "#8a5600", "fail": "#b1241c", "notrun": "#38444f", "invalid": "#5d3a8e",
}  # fmt: skip
VERDICTS = {"PASS": "pass", "CONDITIONAL": "cond", "NOT_RUN": "notrun", "INVALID": "invalid", "FAIL": "fail"}
FAMILY = "Chambit Paper"
"""What the fonts are called that a paper brings along (`typeface`)."""
_DRAWINGS = Path(__file__).parent / "templates" / "style_drawings.html.j2"
_NAMED = re.compile(r"var\(--([a-z]+)\)")


def inside(kind: str, says: Text | None = None) -> Markup:
    """Title and style of a drawing, to stand in it; '' on a screen, which has both elsewhere.

    Args:
        kind: its class, with which the lines of `style_drawings` begin.
        says: what is seen.
    """
    if not medium.on_paper():
        return Markup("")
    title = Markup("<title>{}</title>").format(medium.chosen(*says)) if says else Markup("")
    return title + _style(kind)


def inked(verdict: str, ground: bool) -> Markup:
    """The colour of an outcome's mark, as an attribute of its drawing on paper; `ground`: on its own colour."""
    if not medium.on_paper():
        return Markup("")
    colour = "#ffffff" if ground and verdict != "PASS" else COLOURS[VERDICTS[verdict]]
    return Markup(' color="{}"').format(colour)


def emblem(verdict: str) -> Markup:
    """What the mark of an outcome carries in itself."""
    return inside("icon", wording.text(wording.words()["verdicts"][verdict]["word"]))


@cache
def _style(kind: str) -> Markup:
    known = COLOURS | {"sans": f"'{FAMILY}'"}
    lines = [line for line in _DRAWINGS.read_text("utf-8").splitlines() if line.startswith(f".{kind} ")]
    return Markup("<style>{}</style>").format(Markup(_NAMED.sub(lambda found: known[found[1]], "\n".join(lines))))
