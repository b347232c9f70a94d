"""Contact sheets of what was set aside: each image with its number and reasons beside a usual image of its class.

Of a duplicate the other image stands beside it. Korean captions need a font with Hangul (package `pylopdf-fonts-ko`);
without it the captions are English alone. Captions name images by their id, never by file or subject. The same input
gives the same bytes.
"""

import importlib.util
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from PIL import Image as Picture
from PIL import ImageDraw, ImageFont

from chambit.images.imageset import ImageSet, gathered
from chambit.prepare.quality.described import SIDE, shrink, standard

PANEL = 132  # pixels of the longer side of a picture
COLUMNS, ROWS = 2, 5
SAMPLE = 256  # images of a class among which its most usual one is looked for
_CELL = (560, 172)
_TOP, _GAP, _LINE = 64, 10, 17
_INK, _SOFT, _RULE = (25, 25, 25), (95, 95, 95), (205, 205, 205)
_FONT = ("pylopdf_fonts_ko", "NotoSansKR-Regular.otf")


class _Cell(NamedTuple):
    number: int
    at: int
    beside: int
    twin: bool
    lines: Sequence[tuple[str, str]]  # English and Korean reason of each finding


def contact_sheet(images: ImageSet, findings: pl.DataFrame, path: Path) -> list[Path]:
    """Write the images that findings remove as PNG pages of ten.

    Args:
        images: the set that was examined.
        findings: of `examine`.
        path: `sheet.png`; several pages are `sheet-1.png`, `sheet-2.png`.

    Returns:
        The files written; none where nothing is removed.
    """
    cells = _cells(images, findings)
    pages = [cells[first : first + COLUMNS * ROWS] for first in range(0, len(cells), COLUMNS * ROWS)]
    written = []
    for number, page in enumerate(pages, start=1):
        to = path if len(pages) == 1 else path.with_name(f"{path.stem}-{number}{path.suffix}")
        to.parent.mkdir(parents=True, exist_ok=True)
        _draw(images, page, len(cells), (number, len(pages))).save(to, format="PNG", optimize=True)
        written.append(to)
    return written


def _cells(images: ImageSet, findings: pl.DataFrame) -> list[_Cell]:
    place = {name: at for at, name in enumerate(images.table["id"].to_list())}
    removed = set(findings.filter(pl.col("removed"))["id"])
    usual = _usual(images, findings)
    out: list[_Cell] = []
    for name, rows in findings.filter(pl.col("id").is_in(sorted(removed))).group_by("id", maintain_order=True):
        twin = next((str(other) for other in rows["twin"] if other), "")
        at = place[str(name[0])]
        beside = place[twin] if twin else usual[str(images.labels[at])]
        reasons = [(str(en), str(ko)) for en, ko in rows.select("reason", "reason_ko").rows()]
        out.append(_Cell(len(out) + 1, at, beside, bool(twin), reasons))
    return out


def _usual(images: ImageSet, findings: pl.DataFrame) -> dict[str, int]:
    """Position of the image nearest to the median thumbnail of each class, without findings where there is one."""
    found = images.table["id"].is_in(findings["id"].to_list()).to_numpy()
    chosen = {}
    for label in np.unique(images.labels):
        of_class = np.flatnonzero(images.labels == label)
        clean = of_class[~found[of_class]]
        at = (clean if len(clean) else of_class)[:SAMPLE]
        x = standard(shrink(_brightness(images, at), SIDE))
        chosen[str(label)] = int(at[((x - np.median(x, axis=0)) ** 2).sum(1).argmin()])
    return chosen


def _brightness(images: ImageSet, at: np.ndarray | Sequence[int]) -> np.ndarray:
    """Images at positions as float32 (n, H, W) in [0, 1]."""
    places = images.table[np.asarray(at, np.int64)].select("block", "row").rows()
    pixels = gathered(images.store, places)
    return np.asarray(pixels, np.float32) / np.float32(np.iinfo(pixels.dtype).max)


def _draw(images: ImageSet, cells: Sequence[_Cell], count: int, page: tuple[int, int]) -> Picture.Image:
    rows = -(-len(cells) // COLUMNS)
    sheet = Picture.new("RGB", (COLUMNS * _CELL[0] + _GAP, _TOP + rows * _CELL[1]), (255, 255, 255))
    pen = ImageDraw.Draw(sheet)
    title = f"Set aside: {count:,} of {len(images):,} images"
    title += f"   ·   제외: 영상 {len(images):,}장 중 {count:,}장" if _hangul() else ""
    pen.text((_GAP, 10), title, fill=_INK, font=_font(19))
    legend = "left: set aside; right: a usual image of its class, or the other image of a pair"
    pen.text((_GAP, 38), f"{legend}   ·   page {page[0]} of {page[1]}", fill=_SOFT, font=_font(12))
    for k, cell in enumerate(cells):
        corner = (_GAP + k % COLUMNS * _CELL[0], _TOP + k // COLUMNS * _CELL[1])
        _cell(sheet, pen, images, cell, corner)
    return sheet


def _cell(
    sheet: Picture.Image, pen: ImageDraw.ImageDraw, images: ImageSet, cell: _Cell, corner: tuple[int, int]
) -> None:
    x, y = corner
    pen.line((x, y, x + _CELL[0] - 2 * _GAP, y), fill=_RULE)
    for k, plane in enumerate(_brightness(images, [cell.at, cell.beside])):
        scale = PANEL / max(plane.shape)
        size = (max(1, round(plane.shape[1] * scale)), max(1, round(plane.shape[0] * scale)))
        grey = Picture.fromarray(np.rint(plane * 255).astype(np.uint8))
        left = x + k * (PANEL + 6)
        sheet.paste(grey.resize(size, Picture.Resampling.BICUBIC), (left, y + 8))
        pen.rectangle((left, y + 8, left + size[0] - 1, y + 8 + size[1] - 1), outline=_RULE)
        name = images.table["id"][cell.at if k == 0 else cell.beside]
        under = f"{cell.number}. {name}" if k == 0 else (f"other: {name}" if cell.twin else f"usual: {name}")
        pen.text(
            (left, y + PANEL + 12), _fitting(under, _font(11), PANEL), fill=_INK if k == 0 else _SOFT, font=_font(11)
        )
    left, width = x + 2 * (PANEL + 6) + 6, _CELL[0] - 2 * (PANEL + 6) - 3 * _GAP
    _reasons(pen, cell.lines, (left, y + 8), width)


def _reasons(pen: ImageDraw.ImageDraw, lines: Sequence[tuple[str, str]], corner: tuple[int, int], width: int) -> None:
    """As many findings as fit, the first in both languages; how many more there are in the last line."""
    x, y = corner
    last = y + PANEL - _LINE
    font = _font(13)
    for k, (english, korean) in enumerate(lines):
        words = [(part, _INK) for part in _wrapped(english, font, width)]
        if _hangul():
            words += [(part, _SOFT) for part in _wrapped(korean, font, width)]
        more = len(lines) - k - 1
        if k > 0 and y + len(words) * _LINE > last + (_LINE if not more else 0):
            pen.text(
                (x, y), f"+ {len(lines) - k} more" + (f" · 외 {len(lines) - k}건" if _hangul() else ""), _SOFT, font
            )
            return
        for part, ink in words:
            pen.text((x, y), part, fill=ink, font=font)
            y += _LINE
        y += 5


def _wrapped(text: str, font: Any, width: int) -> list[str]:
    lines = [""]
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) <= width or not lines[-1]:
            lines[-1] = longer
        else:
            lines.append(word)
    return [_fitting(line, font, width) for line in lines]


def _fitting(text: str, font: Any, width: int) -> str:
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[:-1]
    return text + "…"


def _hangul() -> bool:
    return _font_file() is not None


@cache
def _font_file() -> Path | None:
    spec = importlib.util.find_spec(_FONT[0])
    if spec is None or not spec.submodule_search_locations:
        return None
    file = Path(spec.submodule_search_locations[0]) / _FONT[1]
    return file if file.is_file() else None


@cache
def _font(size: int) -> Any:
    file = _font_file()
    if file is None:
        return ImageFont.load_default(size)
    return ImageFont.truetype(str(file), size, layout_engine=ImageFont.Layout.BASIC)
