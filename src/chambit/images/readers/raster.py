"""PNG, JPEG, TIFF, BMP and GIF files with one picture or several (pages, animation), read with Pillow.

Bit depth is kept: 8-bit grey stays uint8, 16-bit grey is uint16 with white 65535 (4095 for a 12-bit TIFF).
Everything with colour becomes (H, W, 3) uint8. The EXIF orientation is applied. Such files carry no reliable
pixel spacing (the DPI they hold is that of a printer), no subject and no label.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from chambit.core.errors import InputError
from chambit.images.image import Image
from chambit.images.readers import refusal, slide, wanted

version = "2"
SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".gif")
_FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "GIF")
_STARTS = (
    b"\x89PNG\r\n\x1a\n",
    b"\xff\xd8\xff",
    b"II*\x00",
    b"MM\x00*",
    b"II+\x00",
    b"MM\x00+",
    b"GIF87a",
    b"GIF89a",
)
_BMP_HEADERS = (12, 40, 52, 56, 64, 108, 124)
_AGAIN = "copy or export it again from where it came from"
_WHITE_IS_ZERO = 0
_TILED = 322  # TileWidth, TIFF 6.0 section 15


def recognises(path: Path, head: bytes) -> bool:
    """Whether the first bytes are those of one of the formats, and it is no slide; the name does not count."""
    bitmap = head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in _BMP_HEADERS
    return (bitmap or head.startswith(_STARTS)) and not slide.recognises(path, head)


def frames(path: Path) -> int:
    """How many pictures the file holds: pages of a TIFF, frames of an animation.

    Raises:
        InputError: when its header cannot be read.
    """
    with _opened(path) as opened:
        return int(getattr(opened, "n_frames", 1))


def read(path: Path, part: str = "") -> Iterator[tuple[str, Image]]:
    """Yield ("", image) for a single picture, else ("0", image), ("1", image), ...; `part` picks one by its number.

    Raises:
        InputError: when it is damaged, truncated, has no such picture, transparent pixels, or a pixel type whose full
            brightness is not known (32-bit and float).
    """
    with _opened(path) as opened:
        count = int(getattr(opened, "n_frames", 1))
        numbers = wanted(path, part, count)
        image = _image(path, opened, numbers.start)
    yield ("" if count == 1 else str(numbers.start)), image
    for number in numbers[1:]:
        # Opened anew for each: nothing of Pillow's state is held while others use Pillow.
        with _opened(path) as opened:
            image = _image(path, opened, number)
        yield str(number), image


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """The file opened with Pillow; whatever Pillow makes of a damaged file becomes a refusal."""
    from PIL import Image as Pillow
    from PIL import ImageFile, UnidentifiedImageError

    # A plug-in may have allowed half images for the whole process; here half an image is never an image.
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Pillow.open(path, formats=_FORMATS) as opened:
                yield opened
    except (Pillow.DecompressionBombError, MemoryError):
        raise refusal(path, "more than 178 million pixels", "cut or reduce it first") from None
    except UnidentifiedImageError:
        raise refusal(path, "damaged: its header cannot be read", _AGAIN) from None
    except InputError:
        raise
    except Exception as error:  # Pillow answers damaged files with many kinds of exception
        raise refusal(path, f"damaged or truncated ({str(error)[:80] or type(error).__name__})", _AGAIN) from error


def _image(path: Path, opened: Any, number: int) -> Image:
    if number:
        opened.seek(number)
    _check_before(path, opened)
    rawmode = _rawmode(opened)
    opened.load()
    pixels, white = _pixels(path, opened, rawmode)
    return Image(pixels, white, shown="whole range, inverted" if _inverted(opened) else "whole range")


def _check_before(path: Path, opened: Any) -> None:
    if opened.format == "TIFF" and _TILED in opened.tag_v2 and getattr(opened, "n_frames", 1) > 1:
        # Slides keep a photograph of their label among the pages, with the patient's name on it.
        raise refusal(path, "tiled pages, as of a whole slide that nothing here recognises", slide.REMEDY)
    if opened.mode in ("I", "F"):
        remedy = "save it with 8 or 16 bits, or as DICOM"
        raise refusal(path, "32-bit, signed or float pixels: full brightness is not known", remedy)


def _rawmode(opened: Any) -> str:
    # How the file stores a pixel; Pillow's own mode has lost that once the pixels are loaded.
    args = opened.tile[0][3] if opened.tile else ""
    return str(args if isinstance(args, str) else next(iter(args or [""])))


def _inverted(opened: Any) -> bool:
    return bool(opened.format == "TIFF" and opened.tag_v2.get(262, 1) == _WHITE_IS_ZERO)


def _pixels(path: Path, opened: Any, rawmode: str) -> tuple[np.ndarray, int]:
    from PIL import ImageOps

    if ";16" in rawmode and not opened.mode.startswith("I;16"):
        remedy = "save it as 16-bit grey, or as 8-bit"
        raise refusal(path, "16-bit colour, of which half the bits would be lost", remedy)
    upright = ImageOps.exif_transpose(opened)
    if upright.mode.startswith("I;16"):
        white = 4095 if rawmode.startswith("I;12") else 65535
        pixels = np.asarray(upright).astype(np.uint16)
        # Pillow turns white-is-zero around for 8 bits but not for 16.
        return (white - pixels if _inverted(opened) else pixels), white
    if upright.has_transparency_data:
        rgba = np.asarray(upright.convert("RGBA"))
        if (rgba[:, :, 3] < 255).any():
            remedy = "save it without an alpha channel"
            raise refusal(path, "has transparent pixels: brightness depends on what lies behind", remedy)
    grey = upright.mode in ("1", "L", "LA")
    return np.array(upright.convert("L" if grey else "RGB"), np.uint8), 255
