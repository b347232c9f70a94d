"""The letters of a paper: Noto Sans KR, regular and bold, cut down to the characters that are used.

The wheel `manimgx-fonts-cjk` (SIL Open Font Licence) has all weights in one variable font. A PDF can hold only fonts of
one weight, so the outlines of the characters are drawn at each weight into a small font of its own; the same
characters give the same bytes.

Limits: pairs of letters are not kerned; a character that Noto Sans KR lacks comes from a font of the machine.
"""

import importlib.util
import io
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

from chambit.core.errors import InputError, Problem

WEIGHTS = (400, 700)
PACKAGE, FILE, FACE = "manimgx_fonts_cjk", "NotoSansCJK-VF.otf.ttc", 1
REMEDY = "pip install -c constraints.txt 'chambit[pdf]'"
_CREATED = 3_786_912_000
"""Seconds from 1904 to 2024: a font says when it was made, and the same font is to have the same bytes."""


def missing() -> str:
    """Why there is no font with Hangul, or ''."""
    if importlib.util.find_spec("fontTools") is None:
        return "fonttools is not installed"
    return "" if _file().is_file() else f"the font of {PACKAGE.replace('_', '-')} is not installed"


def cut(text: Iterable[str], weight: int) -> bytes:
    """An OpenType file with those characters of the text that Noto Sans KR has.

    Args:
        text: characters, in any order.
        weight: from 100 to 900.

    Raises:
        InputError: when the font is not installed.
    """
    if reason := missing():
        raise InputError("There is no font with Hangul for the PDF.", [Problem("PDF", reason, REMEDY)])
    return _cut("".join(sorted(set(text))), weight)


@cache
def _cut(text: str, weight: int) -> bytes:
    from fontTools.fontBuilder import FontBuilder
    from fontTools.pens.t2CharStringPen import T2CharStringPen

    source = _source()
    known: dict[int, str] = source.getBestCmap()
    named = {ord(letter): known[ord(letter)] for letter in text if ord(letter) in known}
    glyphs = source.getGlyphSet(location={"wght": weight})
    order = list(dict.fromkeys([".notdef", *named.values()]))
    drawn, widths = {}, {}
    for name in order:
        width = round(glyphs[name].width)
        pen = T2CharStringPen(width, glyphs)
        glyphs[name].draw(pen)
        drawn[name], widths[name] = pen.getCharString(), (width, 0)
    style = {400: "Regular", 700: "Bold"}.get(weight, str(weight))
    full = f"NotoSansKR-{style}"
    upright = source["hhea"].ascent, source["hhea"].descent
    made = FontBuilder(source["head"].unitsPerEm, isTTF=False)
    made.setupGlyphOrder(order)
    made.setupCharacterMap(named)
    made.setupCFF(full, {"FullName": full}, drawn, {})
    made.setupHorizontalMetrics(widths)
    made.setupHorizontalHeader(ascent=upright[0], descent=upright[1])
    made.setupNameTable({"familyName": "Noto Sans KR", "styleName": style, "psName": full})
    made.setupOS2(
        sTypoAscender=upright[0], sTypoDescender=upright[1], usWinAscent=upright[0], usWinDescent=-upright[1],
        usWeightClass=weight, sxHeight=source["OS/2"].sxHeight, sCapHeight=source["OS/2"].sCapHeight,
    )  # fmt: skip
    made.setupPost()
    made.updateHead(created=_CREATED, modified=_CREATED)
    made.font.recalcTimestamp = False
    buffer = io.BytesIO()
    made.save(buffer)
    return buffer.getvalue()


def _file() -> Path:
    spec = importlib.util.find_spec(PACKAGE)
    folder = spec.submodule_search_locations[0] if spec and spec.submodule_search_locations else "."
    return Path(folder) / FILE


@cache
def _source() -> Any:
    from fontTools.ttLib import TTFont

    return TTFont(_file(), fontNumber=FACE, lazy=True)
