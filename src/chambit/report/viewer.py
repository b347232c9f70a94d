"""Sheets of equal small pictures that a page shows tile by tile: one PNG of 8 bits, put into the page once.

Without JavaScript a tile is a window on the sheet (`window`, an SVG that looks at a part of it); players and viewers
move those windows or read the sheet's pixels. Arrays have axes (row, column) or (row, column, colour); the same input
gives the same bytes.
"""

import io
import math
from base64 import b64encode
from collections.abc import Sequence
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray
from PIL import Image

from chambit.core.evidence import Frozen
from chambit.report import medium

Pixels = NDArray[np.uint8]
EDGE = 1
"""Pixels by which the border of a tile is repeated around it, so that an enlarged tile does not show its neighbour."""
_GOLDEN = 0.6180339887498949  # steps of this share of the circle give hues that stay far apart


class Sheet(Frozen):
    """Tiles of one size, row by row.

    Attributes:
        png: the file.
        width, height: of a tile without its edge, pixels.
        columns: tiles in a row.
        count: tiles.
        edge: pixels around each tile.
    """

    png: bytes
    width: int
    height: int
    columns: int
    count: int
    edge: int = EDGE

    def corner(self, number: int) -> tuple[int, int]:
        """Left and top of a tile, pixels.

        >>> Sheet(png=b"", width=10, height=8, columns=3, count=6).corner(4)
        (13, 11)
        """
        row, column = divmod(number, self.columns)
        return column * (self.width + 2 * self.edge) + self.edge, row * (self.height + 2 * self.edge) + self.edge

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the file, pixels."""
        rows = math.ceil(self.count / self.columns)
        return self.columns * (self.width + 2 * self.edge), rows * (self.height + 2 * self.edge)


def sheet(tiles: Pixels, columns: int, edge: int = EDGE) -> Sheet:
    """Lay tiles beside each other.

    Args:
        tiles: uint8 (N, H, W) or (N, H, W, 3), at least one.
        columns: tiles in a row; places that are left over in the last row are black.
        edge: see `Sheet`.
    """
    count, height, width = tiles.shape[:3]
    rest = tiles.shape[3:]
    rows = math.ceil(count / columns)
    around = ((0, 0), (edge, edge), (edge, edge), *(((0, 0),) if rest else ()))
    padded = np.pad(tiles, around, mode="edge") if edge else tiles
    high, wide = height + 2 * edge, width + 2 * edge
    filled = np.zeros((rows * columns, high, wide, *rest), np.uint8)
    filled[:count] = padded
    laid = filled.reshape(rows, columns, high, wide, *rest).swapaxes(1, 2)
    whole = np.ascontiguousarray(laid.reshape(rows * high, columns * wide, *rest))
    return Sheet(png=png(whole), width=width, height=height, columns=columns, count=count, edge=edge)


def tiles_of(made: Sheet) -> Pixels:
    """The tiles of a sheet read back from its file, uint8 (N, H, W[, 3])."""
    whole = np.asarray(Image.open(io.BytesIO(made.png)))
    corners = [made.corner(number) for number in range(made.count)]
    return np.stack([whole[top : top + made.height, left : left + made.width] for left, top in corners])


def window(made: Sheet, name: str, number: int, label: str = "", row: int | None = None) -> Markup:
    """One tile as an SVG that looks at its part of the image `name`, see `defined`; '' where there is no such tile.

    Args:
        made: the sheet.
        name: id of the image in the page.
        number: which tile.
        label: what is seen, for those who do not see it; without one the tile is decoration.
        row: for a player: the row of the sheet whose tiles it is to show.
    """
    if not 0 <= number < made.count:
        return Markup("")
    if medium.on_paper():
        return _cut(made, number, label)
    said = Markup('role="img" aria-label="{}"').format(label) if label else Markup('aria-hidden="true"')
    moved = Markup("") if row is None else Markup(' data-row="{}"').format(row)
    form = Markup('<svg class="tile" viewBox="{} {} {} {}" {}{}><use href="#{}"/></svg>')
    return form.format(*made.corner(number), made.width, made.height, said, moved, name)


def defined(made: Sheet, name: str, address: str) -> Markup:
    """The sheet itself, drawn nowhere: an image `name` that windows refer to; `address` is its data URI."""
    if medium.on_paper():
        return Markup("")
    form = Markup(
        '<svg class="held" width="0" height="0" aria-hidden="true"><defs>'
        '<image id="{}" width="{}" height="{}" href="{}"/></defs></svg>'
    )
    return form.format(name, *made.size, address)


def _cut(made: Sheet, number: int, label: str) -> Markup:
    """One tile as a picture of its own, for paper, where no drawing can look at another."""
    left, top = made.corner(number)
    with Image.open(io.BytesIO(made.png)) as whole:
        tile = np.asarray(whole.crop((left, top, left + made.width, top + made.height)))
    form = Markup('<img class="tile" src="data:image/png;base64,{}" alt="{}">')
    says = label or medium.chosen("그림 한 칸", "one picture of a row")
    return form.format(b64encode(png(tile)).decode("ascii"), says)


def false_colours(parts: NDArray[np.integer[Any]], most: int = 256) -> Pixels:
    """Indices of parts as colours, uint8 (..., 3): 0 is black, every other index has a hue of its own.

    >>> false_colours(np.array([0, 1])).tolist()[0]
    [0, 0, 0]
    """
    index = np.arange(1, most)
    hue = (index * _GOLDEN) % 1.0
    light = np.where(index % 2, 0.95, 0.72)
    rgb = np.clip(np.abs((hue[:, None] * 6 + np.array([0.0, 4.0, 2.0])) % 6 - 3) - 1, 0, 1)
    colours = np.zeros((most, 3))
    colours[1:] = light[:, None] * (0.35 + 0.65 * rgb)
    return np.asarray(np.rint(colours * 255)[np.clip(parts, 0, most - 1)], np.uint8)


def eight_bits(images: NDArray[Any]) -> Pixels:
    """Pixels as uint8: those of 16 bits by their full scale, real numbers by [0, 1] (clipped, what is no number black).

    >>> eight_bits(np.array([0, 257, 65535], np.uint16)).tolist(), eight_bits(np.array([0.5, 2.0, np.nan])).tolist()
    ([0, 1, 255], [128, 255, 0])
    """
    if images.dtype == np.uint8:
        return np.asarray(images, np.uint8)
    if images.dtype == np.uint16:
        return np.asarray(np.rint(images.astype(np.float32) / 257), np.uint8)
    return np.asarray(np.rint(np.clip(np.nan_to_num(images), 0.0, 1.0) * 255), np.uint8)


def colour(tiles: Pixels) -> Pixels:
    """Tiles (N, H, W[, 3]) with three channels."""
    return tiles if tiles.ndim == 4 else np.repeat(tiles[..., None], 3, axis=3)


def fitted(shape: Sequence[int], side: int) -> tuple[int, ...]:
    """A shape made smaller until its longest side is `side`, proportions kept; small ones stay.

    >>> fitted((512, 256), 128), fitted((40, 30), 128)
    ((128, 64), (40, 30))
    """
    share = min(1.0, side / max(shape))
    return tuple(max(1, round(length * share)) for length in shape)


def reduced(image: Pixels, side: int) -> Pixels:
    """A picture uint8 (H, W[, 3]) whose longer side is at most `side`; a new pixel is the mean of what it covers."""
    rows, columns = fitted(image.shape[:2], side)
    return resampled(image, {0: rows, 1: columns})


def resampled(array: Pixels, lengths: dict[int, int]) -> Pixels:
    """An array at other lengths along some axes, by the mean of the area that each new element covers.

    >>> resampled(np.array([[0, 100, 50, 250]], np.uint8), {1: 2}).tolist()
    [[50, 150]]
    """
    lengths = {axis: length for axis, length in lengths.items() if array.shape[axis] != length}
    if not lengths:
        return array
    made = array.astype(np.float32)
    for axis, length in lengths.items():
        made = np.moveaxis(np.tensordot(_shares(array.shape[axis], length), made, (1, axis)), 0, axis)
    return np.asarray(np.rint(made), np.uint8)


def _shares(old: int, new: int) -> NDArray[np.float32]:
    """Share that each old element has in each new one, float32 (new, old); rows sum to 1."""
    ends = np.arange(new + 1) * (old / new)
    low, high = ends[:-1, None], ends[1:, None]
    at = np.arange(old)[None]
    overlap = np.clip(np.minimum(high, at + 1) - np.maximum(low, at), 0, None)
    return np.asarray(overlap / overlap.sum(1, keepdims=True), np.float32)


def boxed(picture: Pixels, height: int, width: int) -> Pixels:
    """A picture uint8 (h, w[, 3]) as large as fits in a box of that size, in its middle, on black; nearest pixels."""
    share = min(height / picture.shape[0], width / picture.shape[1])
    high, wide = max(1, round(picture.shape[0] * share)), max(1, round(picture.shape[1] * share))
    rows, columns = (np.arange(high) * picture.shape[0]) // high, (np.arange(wide) * picture.shape[1]) // wide
    box = np.zeros((height, width, *picture.shape[2:]), np.uint8)
    top, left = (height - high) // 2, (width - wide) // 2
    box[top : top + high, left : left + wide] = picture[rows[:, None], columns]
    return box


def png(pixels: Pixels) -> bytes:
    """Pixels uint8 (H, W[, 3]) as a PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG", compress_level=6)
    return buffer.getvalue()
