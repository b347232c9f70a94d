"""Make images smaller by averaging over the area, and coloured ones grey where that is asked."""

import numpy as np
from pydantic import Field

from chambit.core.evidence import Frozen
from chambit.images.imageset import luminance

version = "1"
geometry = True


class Options(Frozen):
    """`pixels`: the longer side afterwards, smaller images stay as they are; `grey`: colour becomes luminance."""

    pixels: int = Field(ge=8)
    grey: bool = False


def apply(pixels: np.ndarray, options: Options) -> np.ndarray:
    """Reduce a block of images.

    Args:
        pixels: uint8, uint16 or float32 (N, H, W[, 3]).
        options: see `Options`.

    Returns:
        The same type, (N, h, w[, 3]); the proportions are kept up to a pixel.
    """
    if options.grey and pixels.ndim == 4:
        pixels = np.rint(luminance(pixels)).astype(pixels.dtype)
    height, width = pixels.shape[1:3]
    scale = options.pixels / max(height, width)
    if scale >= 1:
        return pixels
    rows, columns = (_averaging(side, max(1, round(side * scale))) for side in (height, width))
    # one matrix on each side averages over areas of any size, also where the sides are no multiples
    averaged = np.einsum("hi,nij...,wj->nhw...", rows, pixels.astype(np.float32), columns, optimize=True)
    return np.asarray(averaged if pixels.dtype == np.float32 else np.rint(averaged), pixels.dtype)


def _averaging(old: int, new: int) -> np.ndarray:
    """Matrix float32 (new, old) whose rows average over the old pixels below each new one."""
    edges = np.arange(new + 1) * (old / new)
    covered = np.minimum(edges[1:, None], np.arange(1, old + 1)) - np.maximum(edges[:-1, None], np.arange(old))
    return np.asarray(np.clip(covered, 0, None) * (new / old), np.float32)
