"""Lettering burned into images as modalities and viewers do: lines of one height and contrast in the corners.

Letters have one grey level: the mean of the place they cover plus the contrast, or minus it where there is no room
above. Where neither fits, or the place is so uneven that letters would vanish in parts of it, a dark plate is laid
below, as label printers do. Height is that of the ink, in pixels.
Hangul is drawn with Noto Sans KR (SIL Open Font Licence) of the wheel `pylopdf-fonts-ko`; without it nothing is
written in Hangul. Latin letters come from the same font or, without it, from the one inside Pillow.
"""

import base64
import importlib.util
import zlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from chambit.phantoms.hospital.key import Box

HEIGHTS: Final = (12, 16, 24, 40)
CONTRASTS: Final = (60, 120, 200)
_PLATE: Final = 20.0  # grey level of the plate below a text
_RIM: Final = 3  # pixels of the plate around the text
_UNEVEN: Final = 1 / 3  # standard deviation of a place over the contrast, above which a text needs a plate


class Line(NamedTuple):
    """A text to be written and its script, 'latin' or 'hangul'."""

    text: str
    script: str


class Written(NamedTuple):
    """A text that was written and where."""

    text: str
    box: Box


def hangul() -> bool:
    """Whether a font with Hangul is installed."""
    return _file() is not None


def burn(image: NDArray[np.float32], lines: Sequence[Line], height: int, contrast: int) -> list[Written]:
    """Write lines into the corners of an image, which is changed; what has no room is left out.

    Args:
        image: float32 (rows, columns), display brightness in [0, 255].
        lines: in order of importance; the corners are filled in turn: top left, top right, bottom left, bottom right.
        height: of the ink, in pixels.
        contrast: in grey levels of 255.

    Returns:
        What was written, each with frame 0.
    """
    rows, columns = image.shape
    margin, pitch = max(3, rows // 64), height + max(4, height // 2)
    used: list[tuple[int, int, int, int]] = []
    written = []
    for number, line in enumerate(lines):
        letters = ink(line.text, height)
        wide = letters.shape[1]
        for place in range(number, number + 16):
            corner, step = place % 4, place // 4
            x = margin if corner % 2 == 0 else columns - margin - wide
            y = margin + step * pitch if corner < 2 else rows - margin - height - step * pitch
            box = (x, y, x + wide, y + height)
            if x >= 1 and x + wide < columns and 1 <= y < rows - height and not any(_touch(box, one) for one in used):
                used.append(box)
                _lay(image, x, y, letters, contrast)
                packed = pack(letters > 0.5)
                written.append(Written(line.text, Box(*box, height, contrast, line.script, 0, packed)))
                break
    return written


@cache
def ink(text: str, height: int) -> NDArray[np.float32]:
    """Coverage of each pixel by a text, float32 (height, columns) in [0, 1], cropped to its ink."""
    size = float(height)
    for _ in range(4):
        _, top, _, bottom = _font(size).getbbox(text)
        size *= height / max(1.0, bottom - top)
    font = _font(size)
    left, top, right, _ = (int(edge) for edge in font.getbbox(text))
    canvas = Image.new("L", (right - left + 2, height))
    ImageDraw.Draw(canvas).text((1 - left, -top), text, 255, font=font)
    drawn = np.asarray(canvas, np.float32) / np.float32(255)
    columns = np.flatnonzero(drawn.max(0) > 0)
    return drawn[:, columns[0] : columns[-1] + 1]


def pack(mask: NDArray[np.bool_]) -> str:
    """A mask as text: bits row by row, deflated, base64; `unpack` is its inverse.

    >>> unpack(pack(np.eye(3, dtype=bool)), 3, 3).sum()
    np.int64(3)
    """
    return base64.b64encode(zlib.compress(np.packbits(mask).tobytes(), 9)).decode("ascii")


def unpack(packed: str, rows: int, columns: int) -> NDArray[np.bool_]:
    """The mask, bool (rows, columns), that `pack` made a text of."""
    bits = np.frombuffer(zlib.decompress(base64.b64decode(packed)), np.uint8)
    return np.unpackbits(bits, count=rows * columns).reshape(rows, columns).astype(bool)


def _lay(image: NDArray[np.float32], x: int, y: int, letters: NDArray[np.float32], contrast: int) -> None:
    rows, columns = letters.shape
    part = image[y : y + rows, x : x + columns]
    level = float(part.mean())
    room = level + contrast <= 255 or level - contrast >= 0
    if not room or float(part.std()) > _UNEVEN * contrast:
        image[max(0, y - _RIM) : y + rows + _RIM, max(0, x - _RIM) : x + columns + _RIM] = level = _PLATE
    level += contrast if level + contrast <= 255 else -contrast
    part[:] = part * (1 - letters) + letters * np.float32(level)


def _touch(one: tuple[int, int, int, int], other: tuple[int, int, int, int]) -> bool:
    gap = 2 * _RIM  # no plate reaches into another text
    across = one[0] < other[2] + gap and other[0] < one[2] + gap
    return across and one[1] < other[3] + gap and other[1] < one[3] + gap


@cache
def _file() -> Path | None:
    spec = importlib.util.find_spec("pylopdf_fonts_ko")
    if spec is None or not spec.submodule_search_locations:
        return None
    path = Path(spec.submodule_search_locations[0]) / "NotoSansKR-Regular.otf"
    return path if path.is_file() else None


@cache
def _font(size: float) -> Any:
    if path := _file():
        return ImageFont.truetype(str(path), size, layout_engine=ImageFont.Layout.BASIC)
    return ImageFont.load_default(size)
