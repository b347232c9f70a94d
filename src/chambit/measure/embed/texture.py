"""Texture and layout: 137 hand-made features, no weights, the same on every machine.

In order: mean and standard deviation on a 4 x 4 grid of the image and of two half-resolution levels (96); energy of
eight gradient orientations at three scales (24); radially averaged log power spectrum in eight bands (8); nine
grey-level quantiles from 1 % to 99 % (9). Scales are Gaussian-blurred halvings. No single feature is meant to be a
diagnosis; the vector is meant to see layout, contrast, sharpness and noise.

Input float32 (N, H, W) in [0, 1], H and W at least 16; output float64 (N, 137). Known failure: blind to semantics, so a
generator that puts the right texture in the wrong organ looks good here.
"""

import numpy as np
from scipy import ndimage

version = "1"
SOURCE = "none"
PREPROCESSING = "grey in [0, 1] at the set's own size; nothing is resized"
QUANTILES = (0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99)
BANDS = 8


def features(images: np.ndarray) -> np.ndarray:
    """Feature vectors float64 (N, 137) of images float32 (N, H, W) in [0, 1]."""
    x = images.astype(np.float64)
    parts, level = [], x
    for _ in range(3):
        parts += [_grid(level), _orientations(level)]
        level = ndimage.gaussian_filter(level, (0, 1, 1))[:, ::2, ::2]
    parts += [_spectrum(x), np.quantile(x.reshape(len(x), -1), QUANTILES, axis=1).T]
    return np.concatenate(parts, axis=1)


def _grid(x: np.ndarray) -> np.ndarray:
    cells = [cell for row in np.array_split(x, 4, axis=1) for cell in np.array_split(row, 4, axis=2)]
    return np.stack([f for cell in cells for f in (cell.mean((1, 2)), cell.std((1, 2)))], axis=1)


def _orientations(x: np.ndarray) -> np.ndarray:
    dy, dx = np.gradient(x, axis=(1, 2))
    strength, angle = np.hypot(dy, dx), np.arctan2(dy, dx) % (2 * np.pi)
    sector = np.floor(angle / (np.pi / 4)).astype(int) % 8
    return np.log(np.stack([np.where(sector == k, strength, 0).mean((1, 2)) for k in range(8)], axis=1) + 1e-4)


def _spectrum(x: np.ndarray) -> np.ndarray:
    h, w = x.shape[1:]
    window = np.outer(np.hanning(h), np.hanning(w))
    power = np.abs(np.fft.rfft2((x - x.mean((1, 2), keepdims=True)) * window)) ** 2
    radius = np.hypot(np.fft.fftfreq(h)[:, None], np.fft.rfftfreq(w)[None, :])
    band = np.minimum((radius / 0.5 * BANDS).astype(int), BANDS - 1)
    return np.log(np.stack([power[:, band == k].mean(1) for k in range(BANDS)], axis=1) + 1e-6)
