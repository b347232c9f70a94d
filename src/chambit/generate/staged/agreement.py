"""How far two pictures agree: what a translation or an enlargement may not change, in numbers for the training's facts.

Peak signal-to-noise ratio; structural similarity (Wang et al. 2004, doi:10.1109/TIP.2003.819861: Gaussian window of
1.5 pixels, constants 0.01 and 0.03); agreement of edges, the correlation of gradient magnitudes; energy of gradients,
which is what blur takes away. Images are float32 (N, H, W[, 3]) in [0, 1]; colour is compared by its mean channel.
"""

import numpy as np
from scipy import ndimage


def psnr(one: np.ndarray, other: np.ndarray) -> float:
    """Mean over the images, in decibels; equal images count as 100 dB."""
    error = np.square(one.astype(np.float64) - other).reshape(len(one), -1).mean(1)
    return float((-10 * np.log10(np.maximum(error, 1e-10))).mean())


def ssim(one: np.ndarray, other: np.ndarray) -> float:
    """Structural similarity, mean over pixels and images: 1 for equal images."""
    x, y = _grey(one), _grey(other)
    mx, my = _window(x), _window(y)
    vx, vy, vxy = _window(x * x) - mx * mx, _window(y * y) - my * my, _window(x * y) - mx * my
    low, high = 0.01**2, 0.03**2
    return float(((2 * mx * my + low) * (2 * vxy + high) / ((mx**2 + my**2 + low) * (vx + vy + high))).mean())


def edges(one: np.ndarray, other: np.ndarray) -> float:
    """Correlation of gradient magnitudes, mean over images; images without any edge are left out (NaN if all are)."""
    found = []
    for x, y in zip(_gradient(one), _gradient(other), strict=True):
        if x.std() > 0 and y.std() > 0:
            found.append(np.corrcoef(x.ravel(), y.ravel())[0, 1])
    return float(np.mean(found)) if found else float("nan")


def energy(images: np.ndarray) -> float:
    """Mean squared gradient magnitude."""
    return float(np.square(_gradient(images)).mean())


def _grey(images: np.ndarray) -> np.ndarray:
    rows = images.astype(np.float64)
    return rows.mean(-1) if rows.ndim == 4 else rows


def _window(images: np.ndarray) -> np.ndarray:
    made: np.ndarray = ndimage.gaussian_filter(images, (0, 1.5, 1.5))
    return made


def _gradient(images: np.ndarray) -> np.ndarray:
    dy, dx = np.gradient(_grey(images), axis=(1, 2))
    made: np.ndarray = np.hypot(dy, dx)
    return made
