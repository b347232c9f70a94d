"""What makes a small picture of a large one: the pairs an enlarging network is trained on.

A stage before this one makes pictures that are a little soft or noisy and were never JPEG files; real archives are.
So each pair gets its own blur, way of making smaller, noise and JPEG quality, within bounds; after Zhang et al. 2021
(arXiv:2103.14006) in its plain order.
"""

import io
from typing import NamedTuple

import numpy as np
import torch
from scipy import ndimage
from torch.nn import functional as F


class Bounds(NamedTuple):
    """The most of each: blur (standard deviation in pixels of the small picture), noise (standard deviation of the
    brightness in [0, 1]), and the lowest JPEG quality (100: never).
    """

    blur: float
    noise: float
    jpeg: int


def smaller(large: np.ndarray, scale: int, bounds: Bounds, draw: np.random.Generator) -> np.ndarray:
    """A picture float32 (C, H, W) in [0, 1] degraded to (C, H / scale, W / scale).

    Args:
        large: sides are multiples of `scale`.
        scale: how many times smaller.
        bounds: see `Bounds`; with none of them a picture is only averaged, by area or cubic.
        draw: where the choices come from.
    """
    blur, noise = draw.uniform(0, bounds.blur), draw.uniform(0, bounds.noise)
    quality = int(draw.integers(bounds.jpeg, 101))
    by_area, speckle = bool(draw.random() < 0.5), draw.standard_normal((len(large), *_small(large, scale)))
    if blur > 0.05:
        large = ndimage.gaussian_filter(large, (0, blur * scale, blur * scale))
    small = area(large, scale) if by_area else _cubic(large, scale)
    small = np.clip(small + noise * speckle, 0, 1).astype(np.float32)
    return _jpeg(small, quality) if bounds.jpeg < 100 and draw.random() < 0.5 else small


def area(large: np.ndarray, scale: int) -> np.ndarray:
    """Means over scale x scale pixels: (..., H, W) to (..., H / scale, W / scale)."""
    height, width = _small(large, scale)
    shape = (*large.shape[:-2], height, scale, width, scale)
    means: np.ndarray = large.reshape(shape).mean((-3, -1), dtype=np.float64).astype(np.float32)
    return means


def _small(large: np.ndarray, scale: int) -> tuple[int, int]:
    return large.shape[-2] // scale, large.shape[-1] // scale


def _cubic(large: np.ndarray, scale: int) -> np.ndarray:
    rows = torch.from_numpy(np.ascontiguousarray(large))[None]
    made: np.ndarray = F.interpolate(rows, size=_small(large, scale), mode="bicubic", antialias=True)[0].numpy()
    held: np.ndarray = np.clip(made, 0, 1)
    return held


def _jpeg(small: np.ndarray, quality: int) -> np.ndarray:
    """Written as JPEG and read again."""
    from PIL import Image

    pixels = np.rint(np.moveaxis(small, 0, -1) * 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels if len(small) == 3 else pixels[..., 0]).save(file, "JPEG", quality=quality)
    read = np.asarray(Image.open(file), np.float32) / 255
    return np.moveaxis(read, -1, 0) if len(small) == 3 else read[None]
