"""What is kept of each image: a thumbnail and a few numbers about its grey levels and texture.

One pass over the blocks. Beside one block of pixels the memory needed is 2 kB an image.
"""

from typing import NamedTuple

import numpy as np

from chambit.images.imageset import ImageSet
from chambit.prepare.quality.options import Options

SIDE = 32
LEVELS = 256
_CONSTANT = 2.5 / 255  # a row whose grey levels span less is constant: JPEG and resizing leave one or two levels
_TINY = 1e-4


class Described(NamedTuple):
    """A cohort in small.

    Attributes:
        thumbnails: float16 (N, 32, 32), area averages in [0, 1].
        entropy: of the grey levels, in bits, 0 to 8.
        contrast: the 95 % point of brightness less the 5 % point.
        white, black: share of pixels that are saturated.
        sharpness: log of the ratio of second differences of neighbours to steps at a quarter of the size: high for
            noise, low for blur.
        missing: (N, 4) share of constant rows or columns at the bottom, top, left and right edge.
        texture: (N, 9) mean, log of standard deviation, skewness, entropy, log of mean steps between neighbours (rows,
            columns), log of second differences, log of mean steps at a quarter of the size, lasting correlation.
    """

    thumbnails: np.ndarray
    entropy: np.ndarray
    contrast: np.ndarray
    white: np.ndarray
    black: np.ndarray
    sharpness: np.ndarray
    missing: np.ndarray
    texture: np.ndarray

    def flat(self, index: np.ndarray | slice = slice(None)) -> np.ndarray:
        """Thumbnails of some images, each centred and scaled to length one: float32 (n, 1024)."""
        return standard(self.thumbnails[index].astype(np.float32))


def describe(images: ImageSet, options: Options) -> Described:
    """Read all pixels once, block by block."""
    count = len(images)
    out = Described(
        np.zeros((count, SIDE, SIDE), np.float16),
        np.zeros(count),
        np.zeros(count),
        np.zeros(count),
        np.zeros(count),
        np.zeros(count),
        np.zeros((count, 4)),
        np.zeros((count, 9)),
    )
    for at, pixels in images.blocks():
        x = pixels.astype(np.float32) / np.float32(np.iinfo(pixels.dtype).max)
        out.thumbnails[at] = shrink(x, SIDE)
        share = _histogram(x)
        out.entropy[at] = -(share * np.log2(np.maximum(share, 1e-12))).sum(1)
        below = share.cumsum(1)
        out.contrast[at] = ((below < 0.95).sum(1) - (below < 0.05).sum(1)) / (LEVELS - 1)
        out.white[at] = (x >= options.white).mean((1, 2))
        out.black[at] = (x <= options.black).mean((1, 2))
        out.missing[at] = missing(x)
        out.texture[at] = texture = _texture(x, out.entropy[at])
        out.sharpness[at] = texture[:, 6] - texture[:, 7]
    return out


def shrink(images: np.ndarray, side: int) -> np.ndarray:
    """Images float32 (N, H, W) averaged over areas to (N, side, side); smaller ones are repeated in parts."""
    return np.asarray(_averaging(images.shape[1], side) @ images @ _averaging(images.shape[2], side).T, np.float32)


def standard(images: np.ndarray) -> np.ndarray:
    """Images (N, H, W), each centred and scaled to length one, as float32 (N, H W); a constant one becomes zeros."""
    flat = images.reshape(len(images), -1).astype(np.float32)
    flat = flat - flat.mean(1, keepdims=True)
    return np.asarray(flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-6), np.float32)


def missing(images: np.ndarray) -> np.ndarray:
    """Share of constant rows at the bottom and top, and columns at the left and right edge, of images (N, H, W).

    >>> image = np.tile(np.linspace(0, 1, 8), (1, 8, 1))
    >>> image[:, 6:] = 0.5
    >>> missing(image)[0].tolist()
    [0.25, 0.0, 0.0, 0.0]
    """
    edges = []
    for axis in (2, 1):
        constant = np.ptp(images, axis=axis) <= _CONSTANT  # of each row, then of each column
        runs = [_run(constant[:, ::-1]), _run(constant)]
        edges += runs if axis == 2 else runs[::-1]
    # where the whole picture is constant nothing is missing at an edge: it is blank
    return np.asarray(np.stack(edges, axis=1) * (np.ptp(images, axis=(1, 2)) > _CONSTANT)[:, None])


def _run(constant: np.ndarray) -> np.ndarray:
    """Share of the leading True in each row of a bool array (N, L)."""
    return np.asarray(np.logical_and.accumulate(constant, axis=1).mean(1))


def _averaging(length: int, side: int) -> np.ndarray:
    edges = np.linspace(0, length, side + 1)
    pixel = np.arange(length)
    overlap = np.maximum(np.minimum(edges[1:, None], pixel + 1) - np.maximum(edges[:-1, None], pixel), 0)
    return np.asarray(overlap / overlap.sum(1, keepdims=True), np.float32)


def _histogram(x: np.ndarray) -> np.ndarray:
    """Share of each of 256 grey levels, (N, 256)."""
    level = np.minimum((x.reshape(len(x), -1) * (LEVELS - 1) + 0.5).astype(np.int64), LEVELS - 1)
    counts = np.bincount((level + np.arange(len(x))[:, None] * LEVELS).ravel(), minlength=len(x) * LEVELS)
    return np.asarray(counts.reshape(len(x), LEVELS) / level.shape[1])


def _texture(x: np.ndarray, entropy: np.ndarray) -> np.ndarray:
    mean, spread = x.mean((1, 2)), x.std((1, 2))
    centred = x - mean[:, None, None]
    skew = (centred**3).mean((1, 2)) / np.maximum(spread, 0.01) ** 3
    down, across = np.diff(x, axis=1), np.diff(x, axis=2)
    second = np.abs(np.diff(down, axis=1)).mean((1, 2)) + np.abs(np.diff(across, axis=2)).mean((1, 2))
    small = shrink(x, max(4, min(x.shape[1:]) // 4))
    coarse = np.abs(np.diff(small, axis=1)).mean((1, 2)) + np.abs(np.diff(small, axis=2)).mean((1, 2))
    lag = 2
    lasting = (centred[:, lag:] * centred[:, :-lag]).mean((1, 2)) / np.maximum(spread, 0.01) ** 2
    steps = [np.abs(down).mean((1, 2)), np.abs(across).mean((1, 2)), second, coarse]
    logs = [np.log(spread + _TINY), *(np.log(step + _TINY) for step in steps)]
    return np.stack([mean, logs[0], skew, entropy, *logs[1:], lasting], axis=1)
