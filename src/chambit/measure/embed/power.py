"""Radially averaged power spectrum: how much coarse and fine structure an image holds; no weights.

The images are windowed (Hann) and their mean is taken off, so that neither the borders nor the brightness leak into
the bands; power is divided by the window's energy, so that white noise of variance v has power v in every band but the
coarsest, from which the mean takes some (of the first band a fifth at 64 pixels; at 28 four fifths, and a quarter of
the second). That generators go wrong in the fine bands: Durall et al. 2020, arXiv:2003.01826; Schwarz et al. 2021,
arXiv:2111.02447.
"""

from functools import lru_cache

import numpy as np
from scipy import sparse

version = "1"
SOURCE = "none"
PREPROCESSING = "grey in [0, 1] at the set's own size; Hann window, zero-padded to 64 pixels at least"
BANDS = 16
FINEST = 0.5  # cycles per pixel
FLOOR = 1e-8  # added to the power: about a hundredth of the noise of rounding to 8 bits, (1/255)^2 / 12
_LEAST = 64  # samples of the transform: with fewer, the coarsest of the 16 bands would hold no frequency
_BATCH = 256


def features(images: np.ndarray) -> np.ndarray:
    """log10 of the mean power in 16 bands, float64 (N, 16), of images (N, H, W) in [0, 1].

    Band k holds the spatial frequencies from k/32 to (k+1)/32 cycles per pixel, in any direction; the last one also
    0.5, and the corners of the spectrum beyond are in none. The mean is in none either. Images smaller than 64 pixels
    are padded after windowing, which interpolates their spectrum, so the bands are the same at any size.
    """
    h, w = images.shape[1:]
    window = np.outer(np.hanning(h + 2)[1:-1], np.hanning(w + 2)[1:-1])  # without the outermost zeros
    shape = max(h, _LEAST), max(w, _LEAST)
    bands = _bands(*shape)
    out = np.empty((len(images), BANDS))
    for first in range(0, len(images), _BATCH):
        x = images[first : first + _BATCH].astype(np.float64)
        mean = np.tensordot(x, window, 2) / window.sum()
        spectrum = np.fft.rfft2((x - mean[:, None, None]) * window, shape)
        power = (spectrum.real**2 + spectrum.imag**2).reshape(len(x), -1) / np.square(window).sum()
        out[first : first + _BATCH] = np.log10((bands @ power.T).T + FLOOR)
    return out


@lru_cache(maxsize=8)
def _bands(h: int, w: int) -> sparse.csr_matrix:
    """The averages over each band of a half spectrum (h, w // 2 + 1), as rows (BANDS, h * (w // 2 + 1))."""
    down, right = np.fft.fftfreq(h)[:, None], np.fft.rfftfreq(w)[None, :]
    radius = np.hypot(down, right)
    # what the half spectrum leaves out mirrors it: all columns but the first, and the last of an even width
    twice = np.broadcast_to(np.where((right == 0) | (right == 0.5), 1.0, 2.0), radius.shape)
    wanted = (radius > 0) & (radius <= FINEST)
    band = np.minimum((radius / FINEST * BANDS).astype(int), BANDS - 1)[wanted]
    weight = twice[wanted] / np.bincount(band, twice[wanted], BANDS)[band]
    return sparse.csr_matrix((weight, (band, np.flatnonzero(wanted))), shape=(BANDS, radius.size))
