"""A sheet of where two networks looked in the same images: image, trained on real, trained on synthetic, side by side.

Heat is laid over the grey image in orange, the stronger the hotter; the outline of the finding's mask is blue. Both
colours are told apart by colour-blind readers (Okabe and Ito 2008) and in grey print. The same input gives the same
bytes. Words on the sheet are in Latin letters only, because a font with Hangul cannot be counted on.
"""

import io
import math

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

MOST = 20
SIDE = 128
_HOT = np.array([230.0, 120.0, 0.0])
_OUTLINE = np.array([86.0, 180.0, 233.0])
_STRENGTH = 0.75
_HEADS = ("image", "trained on real", "trained on synthetic")
_GAP, _BETWEEN, _LINE = 4, 20, 15


def heat_sheet(
    images: np.ndarray, masks: np.ndarray | None, real_heats: np.ndarray, synthetic_heats: np.ndarray
) -> bytes:
    """Three panels for each image, in the order given, two images in a row of the sheet, 20 at most.

    Args:
        images: float (N, H, W) in [0, 1].
        masks: bool (N, H, W), outlined in every panel, or None.
        real_heats: uint8 (N, H, W), of the networks trained on real images.
        synthetic_heats: uint8 (N, H, W), of those trained on synthetic images.

    Returns:
        The PNG file; the longer side of a panel has at least 128 pixels.

    Raises:
        ValueError: when there is no image, or the arrays are not of one shape.
    """
    shapes = {part.shape for part in (images, real_heats, synthetic_heats, images if masks is None else masks)}
    if len(shapes) != 1 or images.ndim != 3 or not len(images):
        raise ValueError(f"a heat sheet needs images, masks and heats of one shape (N, H, W), not {sorted(shapes)}")
    count, height, width = min(len(images), MOST), images.shape[1], images.shape[2]
    scale = max(1, math.ceil(SIDE / max(height, width)))
    size = (width * scale, height * scale)
    columns = min(2, count)
    block = (3 * size[0] + 2 * _GAP, size[1] + _GAP)
    sheet = Image.new(
        "RGB",
        (columns * block[0] + (columns - 1) * _BETWEEN, _LINE + math.ceil(count / columns) * block[1] - _GAP),
        (255, 255, 255),
    )
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(11)
    for column in range(columns):
        for k, words in enumerate(_HEADS):
            x = column * (block[0] + _BETWEEN) + k * (size[0] + _GAP)
            pen.text((x, 0), words, fill=(60, 60, 60), font=font)
    for i in range(count):
        left, top = (i % columns) * (block[0] + _BETWEEN), _LINE + (i // columns) * block[1]
        grey = _enlarged(np.round(np.clip(images[i], 0, 1) * 255).astype(np.uint8), size)
        edge = None if masks is None else _outline(masks[i], scale)
        for k, heat in enumerate((None, real_heats[i], synthetic_heats[i])):
            panel = _panel(grey, None if heat is None else _enlarged(heat, size), edge)
            sheet.paste(Image.fromarray(panel), (left + k * (size[0] + _GAP), top))
        pen.text(
            (left + 2, top + 1), str(i + 1), fill=(255, 255, 255), font=font, stroke_width=1, stroke_fill=(0, 0, 0)
        )
    buffer = io.BytesIO()
    sheet.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def _enlarged(levels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Uint8 (H, W) as float64 of another size, still 0 to 255."""
    return np.asarray(Image.fromarray(levels).resize(size, Image.Resampling.BILINEAR), np.float64)


def _outline(mask: np.ndarray, scale: int) -> np.ndarray:
    """The border pixels of the enlarged mask, bool."""
    large = np.kron(mask, np.ones((scale, scale), bool)).astype(bool)
    return np.asarray(large & ~ndimage.binary_erosion(large))


def _panel(grey: np.ndarray, heat: np.ndarray | None, edge: np.ndarray | None) -> np.ndarray:
    """One panel uint8 (H, W, 3): the grey image, heat laid over it, then the outline."""
    out = np.repeat(grey[..., None], 3, axis=2)
    if heat is not None:
        share = _STRENGTH * heat[..., None] / 255
        out = (1 - share) * out + share * _HOT
    if edge is not None:
        out[edge] = _OUTLINE
    return np.round(out).astype(np.uint8)
