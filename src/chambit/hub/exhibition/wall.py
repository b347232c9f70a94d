"""All images of a set side by side, as a pyramid of tiles: from the whole wall down to every pixel of one image.

Layout of Deep Zoom: level L is the whole wall, each level below has half its sides, tiles of 256 pixels without
overlap. Images keep their own pixels unless they are larger than a cell; they hang by label, from dark to bright. The
last row says in the picture itself what it is. Each image is compared with its digest before it is hung.
"""

import json
import math
from collections.abc import Iterator, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from chambit.core.store import write_atomically
from chambit.hub import imagetable
from chambit.hub.catalogue import View
from chambit.hub.exhibition import workshop
from chambit.hub.exhibition.workshop import Told
from chambit.hub.hub import Hub
from chambit.hub.refusals import NotThereError

TILE = 256
LAYOUT = "layout.json"
CAPTION = "AI-GENERATED SYNTHETIC IMAGES - NOT PATIENTS"
WIDE = 16 / 9
QUALITY = 88
"""JPEG: the wall is for looking from afar and near, measurements use the set itself."""


class Layout(NamedTuple):
    """A wall: its sides and the side of a cell in pixels, columns, the highest level, and ids in their order."""

    width: int
    height: int
    cell: int
    columns: int
    levels: int
    ids: tuple[str, ...]
    labels: tuple[tuple[str, int], ...]

    @property
    def still(self) -> int:
        """The largest level that is one tile: the whole wall as one picture."""
        return max(0, self.levels - math.ceil(math.log2(max(self.width, self.height) / TILE)))


def folder_of(hub: Hub, view: View, what: str) -> Path:
    """Where a piece of the exhibition lies: another set, or another reach, has another folder."""
    return hub.folder / "exhibition" / f"{view.study.id}-{view.study.candidate[:16]}-{view.reach}-{what}"


def hung(hub: Hub, view: View) -> Layout | float:
    """The wall of a set, or the share of it that is hung.

    Raises:
        HubError: when an image is not the one that was measured.
    """
    target = folder_of(hub, view, "wall")
    share = workshop.done(target, partial(_hang, view))
    return _layout(target) if share is None else share


def tile(hub: Hub, view: View, level: int, column: int, row: int) -> bytes:
    """One tile, JPEG.

    Raises:
        NotThereError: beyond the wall, or before it hangs.
    """
    path = folder_of(hub, view, "wall") / str(level) / f"{column}_{row}.jpg"
    if not path.is_file():
        raise NotThereError("이 조각은 없습니다.", "There is no such tile.")
    return path.read_bytes()


def arranged(count: int, side: int) -> tuple[int, int, int, int]:
    """Cell, columns, width and height of a wall for so many images of such a longer side.

    >>> arranged(20, 64)
    (64, 6, 384, 320)
    """
    cell = min(TILE, max(32, 1 << (side - 1).bit_length()))
    columns = max(1, math.ceil(math.sqrt(count * WIDE)))
    return cell, columns, columns * cell, (math.ceil(count / columns) + 1) * cell


@lru_cache(maxsize=16)
def _layout(target: Path) -> Layout:
    raw: dict[str, Any] = json.loads((target / LAYOUT).read_bytes())
    return Layout(**raw | {"ids": tuple(raw["ids"]), "labels": tuple((name, at) for name, at in raw["labels"])})


def _hang(view: View, target: Path, told: Told) -> None:
    rows = imagetable.faces(view.images).to_dicts()
    bright = []
    for number, (_, picture) in enumerate(_pictures(view, rows)):
        bright.append(float(picture.mean()))
        told(0.4 * number / len(rows))
    order = sorted(range(len(rows)), key=lambda at: (rows[at]["label"], bright[at], rows[at]["id"]))
    rows = [rows[at] for at in order]
    side = max((max(picture.shape[:2]) for _, picture in _pictures(view, rows[:1])), default=TILE)
    cell, columns, width, height = arranged(len(rows), side)
    levels = math.ceil(math.log2(max(width, height)))
    _base(view, rows, (cell, columns, width, height), target / str(levels), told)
    for level in range(levels - 1, -1, -1):
        _smaller(target / str(level + 1), target / str(level), _sides(width, height, levels - level))
    firsts = [(row["label"], at) for at, row in enumerate(rows) if not at or rows[at - 1]["label"] != row["label"]]
    layout = Layout(width, height, cell, columns, levels, tuple(row["id"] for row in rows), tuple(firsts))
    write_atomically(target / LAYOUT, json.dumps(layout._asdict()).encode())


def _pictures(view: View, rows: Sequence[dict[str, str]]) -> Iterator[tuple[dict[str, str], np.ndarray]]:
    """Each row with its pixels as uint8 (H, W) or (H, W, 3), compared with their digest."""
    for row in rows:
        pixels, _ = imagetable.checked(view.images, row)
        yield row, (pixels >> 8).astype(np.uint8) if pixels.dtype == np.uint16 else pixels


def _base(
    view: View, rows: Sequence[dict[str, str]], sides: tuple[int, int, int, int], target: Path, told: Told
) -> None:
    """The largest level, one row of tiles after the other."""
    from PIL import Image as Picture

    cell, columns, width, height = sides
    each = TILE // cell  # rows of images in a row of tiles
    target.mkdir()
    for top in range(0, height, TILE):
        band = Picture.new("RGB", (width, min(TILE, height - top)))
        first = top // cell * columns
        for at, (_, pixels) in enumerate(_pictures(view, rows[first : first + each * columns])):
            one = Picture.fromarray(pixels)
            one.thumbnail((cell, cell), Picture.Resampling.LANCZOS)
            corner = (at % columns * cell + (cell - one.width) // 2, at // columns * cell + (cell - one.height) // 2)
            band.paste(one, corner)
        if top + band.height == height:
            _caption(band, cell, view.study.id)
        for column in range(math.ceil(width / TILE)):
            part = band.crop((column * TILE, 0, min(width, (column + 1) * TILE), band.height))
            _write(part, target / f"{column}_{top // TILE}.jpg")
        told(0.4 + 0.5 * (top + TILE) / height)


def _caption(band: Any, cell: int, name: str) -> None:
    from PIL import ImageDraw, ImageFont

    text = f"{CAPTION} - {name}"
    size = cell * 0.4
    length = ImageDraw.Draw(band).textlength(text, font=ImageFont.load_default(size))
    font = ImageFont.load_default(min(size, size * 0.94 * band.width / length))
    middle = (band.width / 2, band.height - cell / 2)
    ImageDraw.Draw(band).text(middle, text, fill=(255, 255, 255), font=font, anchor="mm")


def _smaller(above: Path, target: Path, sides: tuple[int, int]) -> None:
    """A level from the one above it, four tiles into one."""
    from PIL import Image as Picture

    width, height = sides
    target.mkdir()
    for row in range(math.ceil(height / TILE)):
        for column in range(math.ceil(width / TILE)):
            whole = Picture.new("RGB", (2 * TILE, 2 * TILE))
            wide = high = 0
            for right, down in ((0, 0), (1, 0), (0, 1), (1, 1)):
                path = above / f"{2 * column + right}_{2 * row + down}.jpg"
                if path.is_file():
                    with Picture.open(path) as part:
                        whole.paste(part, (right * TILE, down * TILE))
                        wide, high = max(wide, right * TILE + part.width), max(high, down * TILE + part.height)
            size = (max(1, math.ceil(wide / 2)), max(1, math.ceil(high / 2)))
            _write(whole.crop((0, 0, wide, high)).resize(size, Picture.Resampling.BOX), target / f"{column}_{row}.jpg")


def _sides(width: int, height: int, below: int) -> tuple[int, int]:
    return math.ceil(width / 2**below), math.ceil(height / 2**below)


def _write(picture: Any, path: Path) -> None:
    picture.save(path, "JPEG", quality=QUALITY, comment=CAPTION.encode())
