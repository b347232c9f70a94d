"""Contact sheets and pairs as PNG, on one fixed scale of grey or colour: no image is stretched on its own.

Inputs are float arrays with axes (row, column[, colour]) in [0, 1]; values outside are clipped. The same input gives
the same bytes. Labels are drawn in Latin letters only, because a font with Hangul cannot be counted on; the
page carries the Korean.
"""

import io
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from chambit.report import viewer

_GAP = 4
_GROUND = 255
_INK = 60
_LABEL_HEIGHT = 15
_PAIR_SIDE = 168
LARGEST = 128
"""Longest side of a tile of a contact sheet, pixels; larger images are reduced."""


def contact_sheet(images: NDArray[Any], labels: Sequence[str] | None = None, columns: int = 8, scale: int = 2) -> bytes:
    """Many small images on one white sheet, row by row.

    Args:
        images: (N, H, W) or coloured (N, H, W, 3), float in [0, 1] or uint8.
        labels: one short text below each image, or None.
        columns: images in a row.
        scale: how many times each pixel is enlarged (bicubic), as far as tiles stay within `LARGEST`.

    Returns:
        The PNG file.
    """
    count, height, width = images.shape[:3]
    mode = "RGB" if images.ndim == 4 else "L"
    ground, ink = (_of(mode, grey) for grey in (_GROUND, _INK))
    if labels is not None and len(labels) != count:
        raise ValueError(f"{count} images need {count} labels, not {len(labels)}")
    columns = max(1, min(columns, count))
    high, wide = viewer.fitted((height * scale, width * scale), LARGEST)
    tile = (wide, high)
    below = _LABEL_HEIGHT if labels is not None else 0
    rows = math.ceil(count / columns)
    size = (columns * (tile[0] + _GAP) - _GAP, max(rows * (tile[1] + below + _GAP) - _GAP, 1))
    sheet = Image.new(mode, (max(size[0], 1), size[1]), ground)
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(11)
    for index, image in enumerate(images):
        x, y = (index % columns) * (tile[0] + _GAP), (index // columns) * (tile[1] + below + _GAP)
        sheet.paste(_shown(image, tile), (x, y))
        if labels is not None:
            pen.text((x + 1, y + tile[1] + 1), _latin(labels[index]), fill=ink, font=font)
    return _png(sheet)


def pair(
    real: NDArray[np.floating[Any]],
    synthetic: NDArray[np.floating[Any]],
    aligned: NDArray[np.floating[Any]] | None = None,
) -> bytes:
    """A real image, a synthetic one, the real one laid under it, and the absolute difference of the two (black: equal).

    Args:
        real: float (H, W) in [0, 1].
        synthetic: float (H, W) in [0, 1], as it would be released.
        aligned: the real image turned, moved or inverted until it lies under the synthetic one, in its shape; None is
            the real image as it is.

    Returns:
        The PNG file.
    """
    second = real if aligned is None else aligned
    if synthetic.shape != second.shape:
        raise ValueError(f"a difference needs equal shapes, not {second.shape} and {synthetic.shape}")
    panels = [real, synthetic, second, np.abs(np.clip(second, 0, 1) - np.clip(synthetic, 0, 1))]
    tiles = []
    for panel in panels:
        scale = max(1, round(_PAIR_SIDE / max(panel.shape)))
        tiles.append(_shown(panel, (panel.shape[1] * scale, panel.shape[0] * scale)))
    sheet = Image.new(
        "L", (sum(tile.width + _GAP for tile in tiles) - _GAP, max(tile.height for tile in tiles)), _GROUND
    )
    x = 0
    for tile in tiles:
        sheet.paste(tile, (x, 0))
        x += tile.width + _GAP
    return _png(sheet)


def _of(mode: str, grey: int) -> int | tuple[int, int, int]:
    """A grey in the mode of a sheet."""
    return grey if mode == "L" else (grey, grey, grey)


def _shown(image: NDArray[Any], size: tuple[int, int]) -> Image.Image:
    return Image.fromarray(viewer.eight_bits(image)).resize(size, Image.Resampling.BICUBIC)


def _latin(label: str) -> str:
    return label.encode("latin-1", "replace").decode("latin-1")


def _png(sheet: Image.Image) -> bytes:
    buffer = io.BytesIO()
    sheet.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()
