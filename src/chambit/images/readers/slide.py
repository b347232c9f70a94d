"""Whole-slide images (SVS, NDPI, MRXS, SCN, BIF, pyramids in TIFF), read with OpenSlide: tiles that show tissue.

Tiles of 512 pixels are cut side by side at the level nearest to 1 micrometre a pixel (level 0 where the slide does not
say how large its pixels are). Those of which less than half is tissue are left out, and so is the rest at the edges.
Tissue is what is more saturated than Otsu's threshold (doi:10.1109/TSMC.1979.4310076) on an overview, and at least a
little coloured. The photographs of label and glass in a slide are never opened: the patient's name is on them.
Known failures: ink of a pen counts as tissue; tissue that was hardly stained is left out.
"""

import contextlib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from chambit.core.errors import InputError
from chambit.images.image import Image
from chambit.images.readers import refusal, wanted

version = "1"
SUFFIXES = (".svs", ".ndpi", ".mrxs", ".scn", ".bif", ".tif", ".tiff")
REMEDY = "pip install 'chambit[slides]'; if that does not help, export the slide again, without its label"
TILE = 512
MICROMETRES = 1.0
TISSUE = 0.5
FAINT = 15
"""Saturation in 0..255 below which nothing is tissue: on an empty slide Otsu's threshold parts noise from noise."""
OVERVIEW = 2048
"""Pixels of the longer side of the overview on which tissue is sought."""
_BLOCK = 256  # pixels of the overview that are read together
_AGAIN = "export it again from the scanner's software"
_TIFF = (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")
_JPEG = b"\xff\xd8\xff"


class Tile(NamedTuple):
    """Upper left corner of a tile: column and row in pixels of level 0."""

    x: int
    y: int


def recognises(path: Path, head: bytes) -> bool:
    """Whether OpenSlide knows it as a scanner's file, or as a TIFF with several levels; a plain TIFF is none."""
    mirax = head.startswith(_JPEG) and path.suffix.lower() == ".mrxs"
    if not mirax and not head.startswith(_TIFF):
        return False
    try:
        import openslide
    except ImportError:
        return mirax  # its first file looks like a JPEG, and is a picture of the label
    try:
        vendor = openslide.OpenSlide.detect_format(path)
        if vendor != "generic-tiff":
            return vendor is not None or mirax
        with openslide.OpenSlide(path) as slide:
            return bool(slide.level_count > 1)
    except (openslide.OpenSlideError, OSError):
        return True  # known to OpenSlide, but damaged: not for another reader, which would read its label


def frames(path: Path) -> int:
    """How many tiles show tissue; the overview alone is read.

    Raises:
        InputError: when the slide is damaged, shows no tissue, or OpenSlide is not installed.
    """
    with _opened(path) as slide:
        return len(_tiles(path, slide, _level(slide)))


def read(path: Path, part: str = "") -> Iterator[tuple[str, Image]]:
    """Yield ("0", tile), ("1", tile), ... row by row, ("", tile) for a single one; `part` picks one by its number.

    Raises:
        InputError: as `frames`, and when a tile cannot be read.
    """
    with _opened(path) as slide:
        level = _level(slide)
        tiles = _tiles(path, slide, level)
        size = _micrometres(slide, level)
        spacing = (size[0] / 1000, size[1] / 1000) if size else None
        for number in wanted(path, part, len(tiles)):
            tile = tiles[number]
            pixels = _on_white(slide.read_region(tile, level, (TILE, TILE)))
            fields = {"modality": "SM", "tile_x": str(tile.x), "tile_y": str(tile.y)}
            yield "" if len(tiles) == 1 else str(number), Image(pixels, 255, spacing, fields=fields)


def otsu(values: np.ndarray) -> int:
    """Otsu's threshold of uint8 values: larger ones are the upper class, which it parts best from the rest.

    >>> otsu(np.array([3, 4, 5, 200, 210, 220], np.uint8))
    5
    """
    counts = np.bincount(values.ravel(), minlength=256).astype(float)
    below, mass = counts.cumsum(), (counts * np.arange(256)).cumsum()
    above = below[-1] - below
    with np.errstate(divide="ignore", invalid="ignore"):
        between = below * above * (mass / below - (mass[-1] - mass) / above) ** 2
    return int(np.argmax(np.nan_to_num(between, posinf=0)))


def _level(slide: Any) -> int:
    sizes = [_micrometres(slide, level) for level in range(slide.level_count)]
    if any(size is None for size in sizes):
        return 0
    return min(range(len(sizes)), key=lambda level: abs(math.log(sizes[level][1] / MICROMETRES)))  # type: ignore[index]


def _micrometres(slide: Any, level: int) -> tuple[float, float] | None:
    """Height and width of a pixel of a level in micrometres, where the slide says so."""
    try:
        found = [float(slide.properties[f"openslide.mpp-{axis}"]) for axis in "yx"]
    except (KeyError, ValueError):
        return None
    scale = float(slide.level_downsamples[level])
    return (found[0] * scale, found[1] * scale) if min(found) > 0 else None


def _tiles(path: Path, slide: Any, level: int) -> list[Tile]:
    """Corners of the tiles of which at least half is tissue, row by row.

    Raises:
        InputError: when there is none.
    """
    tissue = _tissue(slide)
    scale = float(slide.level_downsamples[level])
    width, height = slide.level_dimensions[level]
    to_overview = tissue.shape[1] / slide.dimensions[0], tissue.shape[0] / slide.dimensions[1]
    found = []
    for row in range(height // TILE):
        for column in range(width // TILE):
            tile = Tile(round(column * TILE * scale), round(row * TILE * scale))
            left, top = math.floor(tile.x * to_overview[0]), math.floor(tile.y * to_overview[1])
            right = max(left + 1, math.ceil((tile.x + TILE * scale) * to_overview[0]))
            bottom = max(top + 1, math.ceil((tile.y + TILE * scale) * to_overview[1]))
            if tissue[top:bottom, left:right].mean() >= TISSUE:
                found.append(tile)
    if not found:
        raise refusal(path, f"no tile of {TILE} pixels of which half is tissue", "leave it out, or scan it finer")
    return found


def _tissue(slide: Any) -> np.ndarray:
    """Where the overview shows tissue, bool (H, W); read in blocks, since a slide may have one level alone."""
    level = slide.get_best_level_for_downsample(max(1.0, max(slide.dimensions) / OVERVIEW))
    width, height = slide.level_dimensions[level]
    scale = float(slide.level_downsamples[level])
    factor = math.ceil(max(width, height) / OVERVIEW)
    saturation = np.zeros((math.ceil(height / factor), math.ceil(width / factor)), np.uint8)
    side = _BLOCK * factor
    for top in range(0, height, side):
        for left in range(0, width, side):
            size = (min(side, width - left), min(side, height - top))
            region = slide.read_region((round(left * scale), round(top * scale)), level, size)
            pixels = _on_white(region.reduce(factor))
            row, column = top // factor, left // factor
            block = pixels.max(2) - pixels.min(2)
            saturation[row : row + block.shape[0], column : column + block.shape[1]] = block
    return np.asarray(saturation > max(otsu(saturation), FAINT))


def _on_white(region: Any) -> np.ndarray:
    """RGB uint8 (H, W, 3) of a region; where nothing was scanned it is transparent, and becomes white as glass is."""
    from PIL import Image as Pillow

    white = Pillow.new("RGBA", region.size, "white")
    return np.asarray(Pillow.alpha_composite(white, region).convert("RGB"), np.uint8)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        import openslide
    except ImportError:
        raise refusal(path, "a whole-slide image, and nothing here reads those", REMEDY) from None
    try:
        with openslide.OpenSlide(path) as slide:
            yield slide
    except InputError:
        raise
    except (openslide.OpenSlideError, OSError, MemoryError) as error:
        what = f"damaged or truncated: OpenSlide cannot read it ({type(error).__name__})"
        raise refusal(path, what, _AGAIN) from None
