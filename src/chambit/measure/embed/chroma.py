"""Chroma histogram: the share of an image's pixels in each of 64 bins of two colour differences; no weights."""

import numpy as np

version = "1"
SOURCE = "none"
PREPROCESSING = "RGB in [0, 1] at the set's own size; Cb and Cr of ITU-R BT.601, 64 equal bins each"
BINS = 64
_TO_CHROMA = np.array([[-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]], np.float32).T


def features(images: np.ndarray) -> np.ndarray:
    """Shares of pixels in 64 bins of Cb and 64 of Cr, float64 (N, 128), of images (N, H, W[, 3]) in [0, 1].

    A grey image lies wholly in the middle bins.
    """
    n = len(images)
    coloured = images if images.ndim == 4 else np.repeat(images[..., None], 3, 3)
    chroma = coloured.reshape(n, -1, 3) @ _TO_CHROMA + 0.5
    bins = np.clip(np.floor(chroma.astype(np.float64) * BINS), 0, BINS - 1).astype(np.int64)
    offsets = BINS * (2 * np.arange(n)[:, None, None] + np.arange(2))
    counts = np.bincount((bins + offsets).ravel(), minlength=2 * n * BINS)
    return np.asarray(counts.reshape(n, 2 * BINS) / max(bins.shape[1], 1))
