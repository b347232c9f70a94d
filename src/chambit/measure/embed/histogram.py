"""Grey-level histogram: the share of an image's pixels in each of 64 bins; no weights."""

import numpy as np

version = "1"
SOURCE = "none"
PREPROCESSING = "grey in [0, 1] at the set's own size; 64 equal bins"
BINS = 64


def features(images: np.ndarray) -> np.ndarray:
    """Share of each image's pixels in 64 equal bins of [0, 1], float64 (N, 64), of images (N, H, W) in [0, 1].

    The last bin holds its upper edge; what lies outside [0, 1] counts as at its ends.
    """
    n = len(images)
    pixels = images.reshape(n, int(np.prod(images.shape[1:])))
    bins = np.clip(np.floor(pixels.astype(np.float64) * BINS), 0, BINS - 1).astype(np.int64)
    counts = np.bincount((bins + BINS * np.arange(n)[:, None]).ravel(), minlength=n * BINS)
    return np.asarray(counts.reshape(n, BINS) / max(pixels.shape[1], 1))
