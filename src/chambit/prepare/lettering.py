"""Texts written into copies of real images on purpose, to measure what a search for text would have found.

Letters have one grey level: the mean of the place they cover plus or minus the contrast (a share of full brightness),
held to [0, 1]; of some random places the first is taken where nothing is cut off. The height is that of the ink, in
pixels, for every script. Drawn with Noto Sans KR (SIL Open Font Licence) of the pinned wheel `pylopdf-fonts-ko`, never
with a font of the machine, so that a run gives the same letters everywhere. All names and numbers are invented.

Known failure: other typefaces, stencils, handwriting and lead letters on film look otherwise and are not planted.
"""

import importlib.util
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image as Picture
from PIL import ImageDraw, ImageFont

# longest first: the longest that fits is often written. The check digit of the invented resident number holds.
WORDS = {
    "latin": ("HONG GILDONG", "KIM MINSU", "PARK", "KIM", "LE"),
    "digits": ("900101-1234568", "010-1234-5678", "20240315", "1234567", "4321", "70"),
    "hangul": ("등록번호 홍길동", "서울병원", "홍길동", "김민수", "이영", "홍"),
}
IDENTIFIERS = ("900101-1234568", "010-1234-5678", "MRN 1234567", "2024-03-15", "20240315")
_TRIES = 12
_GAP = 6


class Plant(NamedTuple):
    """A text that was written into an image: where (pixels, [x0, x1) and [y0, y1)), how, and what."""

    image: int
    x0: int
    y0: int
    x1: int
    y1: int
    height: int
    contrast: float
    script: str
    text: str


class Wanted(NamedTuple):
    """A text to be written: height of its ink in pixels, contrast as a share of full brightness, script, words."""

    height: int
    contrast: float
    script: str
    words: Sequence[str]


def plant(images: np.ndarray, wanted: Sequence[Wanted], rng: np.random.Generator) -> tuple[np.ndarray, list[Plant]]:
    """Copies of images with texts in them, as many texts an image as have room without touching.

    Args:
        images: uint8 (N, H, W), taken in turn.
        wanted: what to write; what does not fit is left out.
        rng: chooses image, place, words and polarity.

    Returns:
        Images uint8 (M, H, W) and the texts that are in them.
    """
    _, height, width = images.shape
    each = int(np.clip(height * width // 128**2, 1, 12))
    fitting = [want for want in wanted if _fitting(want, height, width)]
    order = rng.permutation(len(fitting))
    made: list[np.ndarray] = []
    plants: list[Plant] = []
    for first in range(0, len(order), each):
        image = images[int(rng.integers(len(images)))].astype(np.float32) / 255
        taken: list[tuple[int, int, int, int]] = []
        for number in order[first : first + each]:
            want = fitting[number]
            words = _fitting(want, height, width)
            # the longest in half the cases, else any that fits
            text = words[0] if rng.random() < 0.5 else words[int(rng.integers(len(words)))]
            if (place := _write(image, ink(text, want.height), want.contrast, taken, rng)) is not None:
                taken.append(place)
                plants.append(Plant(len(made), *place, want.height, want.contrast, want.script, text))
        made.append(np.round(image * 255).astype(np.uint8))
    return np.stack(made) if made else np.empty((0, height, width), np.uint8), plants


def fits(height: int, width: int, words: Sequence[str], ink_height: int) -> list[str]:
    """Those words whose ink of this height fits into an image with a pixel to spare on each side.

    The last word of a list, of one letter or two, is taken only where no other fits.
    """
    out = [word for word in words if (m := ink(word, ink_height).shape)[0] + 2 <= height and m[1] + 2 <= width]
    return out[:-1] if len(out) > 1 else out


@cache
def ink(text: str, height: int) -> np.ndarray:
    """Coverage of each pixel by a text, float32 (height, w) in [0, 1], cropped to its ink."""
    size = float(height)
    for _ in range(4):
        _, top, _, bottom = font(size).getbbox(text)
        size *= height / max(1.0, bottom - top)
    face = font(size)
    left, top, right, _ = (int(v) for v in face.getbbox(text))
    canvas = Picture.new("L", (right - left + 2, height))
    ImageDraw.Draw(canvas).text((1 - left, -top), text, 255, font=face)
    drawn = np.asarray(canvas, np.float32) / 255
    columns = np.flatnonzero(drawn.max(0) > 0)
    return drawn[:, columns[0] : columns[-1] + 1]


def _fitting(want: Wanted, height: int, width: int) -> list[str]:
    return fits(height, width, want.words, want.height)


def _write(
    image: np.ndarray,
    letters: np.ndarray,
    contrast: float,
    taken: Sequence[tuple[int, int, int, int]],
    rng: np.random.Generator,
) -> tuple[int, int, int, int] | None:
    """Write into the image where there is room; the place, or None where there is none."""
    (high, wide), (rows, columns) = letters.shape, image.shape
    sign = 1 if rng.random() < 0.5 else -1
    best: tuple[float, int, int, float] | None = None
    for _ in range(_TRIES):
        y, x = int(rng.integers(1, rows - high)), int(rng.integers(1, columns - wide))
        if any(
            x < x1 + _GAP and x + wide > x0 - _GAP and y < y1 + _GAP and y + high > y0 - _GAP
            for x0, y0, x1, y1 in taken
        ):
            continue
        level = float(image[y : y + high, x : x + wide].mean()) + sign * contrast
        cut = max(0.0, -level, level - 1)
        if best is None or cut < best[0]:
            best = (cut, y, x, min(max(level, 0.0), 1.0))
        if cut == 0:
            break
    if best is None:
        return None
    _, y, x, level = best
    part = image[y : y + high, x : x + wide]
    part[:] = part * (1 - letters) + letters * level
    return x, y, x + wide, y + high


@cache
def font(size: float) -> Any:
    """The font that texts are drawn with, a `PIL.ImageFont.FreeTypeFont` of a size in pixels; it has Hangul."""
    spec = importlib.util.find_spec("pylopdf_fonts_ko")
    folder = spec.submodule_search_locations[0] if spec and spec.submodule_search_locations else "."
    return ImageFont.truetype(str(Path(folder) / "NotoSansKR-Regular.otf"), size, layout_engine=ImageFont.Layout.BASIC)
