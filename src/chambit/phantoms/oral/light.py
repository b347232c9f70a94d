"""Light, surface texture and camera: from albedo and normals to an 8-bit photograph.

    colour = albedo * (a + (1 - a) * nz) + gloss * sum over lamps of exp(-((|n_xy - lamp| - r) / w)**2)

A lamp beside the lens mirrors itself where the surface looks half way to it; a ring flash does so on a ring of
slopes (r > 0). Encoding is that of sRGB (IEC 61966-2-1).

Limits: no cast shadows but those the scene paints, no depth of field, no chromatic aberration, no compression.
"""

from functools import cache
from typing import Final, NamedTuple

import numpy as np
from scipy import ndimage

from chambit.phantoms.oral.dentition import Floats, stream

ATLAS: Final = 512  # texels of the periodic textures, a power of two
_TEXELS: Final = (1.6, 4.8, 16.0)  # of one feature


class Site(NamedTuple):
    """How a site photographs.

    Attributes:
        lamps: (x, y, r, w) of each lamp's mirror image in the plane of the normal.
        key: Direction (x, y) of the light that is spread.
        ambient: Share of light that comes from everywhere.
        white: Gains of red, green and blue.
        exposure: Factor of all light.
        falloff: Loss of light at the corners.
        blur: Standard deviation of the lens blur as a share of the image's width.
        noise: Standard deviation of noise at mid grey, of 1.
        contrast: Strength of the tone curve.
        saturation: Factor of colourfulness.
    """

    lamps: tuple[tuple[float, float, float, float], ...]
    key: tuple[float, float]
    ambient: float
    white: tuple[float, float, float]
    exposure: float
    falloff: float
    blur: float
    noise: float
    contrast: float
    saturation: float


SITES: Final = {
    "A": Site(
        ((0.0, -0.03, 0.11, 0.06),), (0.0, -0.14), 0.34, (1.00, 1.00, 1.00), 1.02, 0.30, 0.0011, 0.006, 0.35, 1.00,
    ),
    "B": Site(
        ((-0.24, -0.03, 0.0, 0.085), (0.24, -0.03, 0.0, 0.085)), (0.0, -0.10), 0.28, (1.06, 1.00, 0.90), 0.98,
        0.22, 0.0015, 0.009, 0.45, 1.08,
    ),
    "C": Site(
        ((0.03, -0.12, 0.0, 0.12),), (0.12, -0.34), 0.42, (0.99, 1.00, 1.01), 0.94, 0.42, 0.0027, 0.014, 0.30, 1.02,
    ),
}  # fmt: skip


@cache
def atlas() -> Floats:
    """Make three periodic textures of unit variance, fine to coarse, shape (3, ATLAS, ATLAS)."""
    noise = stream(7, 28, 11).standard_normal((3, ATLAS, ATLAS), dtype=np.float32)
    layers = [ndimage.gaussian_filter(layer, s, mode="wrap") for layer, s in zip(noise, (1.0, 3.0, 10.0), strict=True)]
    return np.stack([layer / layer.std() for layer in layers]).astype(np.float32)


@cache
def _bordered() -> Floats:
    """Repeat the first row and column at the end, so that neighbours lie at fixed offsets; (3, (ATLAS + 1)**2)."""
    return np.ascontiguousarray(np.pad(atlas(), ((0, 0), (0, 1), (0, 1)), mode="wrap").reshape(3, -1))


def texture(layer: int, x: Floats, y: Floats, grain: float) -> Floats:
    """Read a texture of unit variance bilinearly at x, y (mm); `grain` is the size of its features, mm."""
    scale = np.float32(_TEXELS[layer] / grain)
    u, v = x * scale, y * scale
    i, j = np.floor(v), np.floor(u)
    fv, fu = v - i, u - j
    at = (i.astype(np.int32) & (ATLAS - 1)) * (ATLAS + 1) + (j.astype(np.int32) & (ATLAS - 1))
    t = _bordered()[layer]
    near, far = t.take(at), t.take(at + (ATLAS + 1))
    near += fu * (t.take(at + 1) - near)
    far += fu * (t.take(at + (ATLAS + 2)) - far)
    read: Floats = near + fv * (far - near)
    return read


def texture_grid(layer: int, x: Floats, y: Floats, grain: float) -> Floats:
    """Read a texture at all pairs of x (columns,) and y (rows,) in mm; shape (rows, columns)."""
    scale = np.float32(_TEXELS[layer] / grain)
    u, v = x * scale, y * scale
    i, j = np.floor(v).astype(int), np.floor(u).astype(int)
    fu, fv = u - np.floor(u), (v - np.floor(v))[:, None]
    t = atlas()[layer]
    rows = t[i % ATLAS] * (1 - fv) + t[(i + 1) % ATLAS] * fv
    read: Floats = rows[:, j % ATLAS] * (1 - fu) + rows[:, (j + 1) % ATLAS] * fu
    return read


def rgb(red: float, green: float, blue: float) -> Floats:
    """Make a linear colour or a factor for each channel, (3,) float32."""
    return np.array([red, green, blue], np.float32)


def step(x: Floats, low: float, high: float) -> Floats:
    """Rise smoothly from 0 where x <= low to 1 where x >= high (falls where low > high)."""
    t = np.clip((x - low) / (high - low), 0, 1)
    risen: Floats = t * t * (3 - 2 * t)
    return risen


def mix(colour: Floats, other: tuple[float, float, float] | Floats, weight: Floats) -> Floats:
    """Blend colours (..., 3) towards another by weights (...)."""
    w = np.asarray(weight, np.float32)[..., None]
    blended: Floats = colour + w * (np.asarray(other, np.float32) - colour)
    return blended


def lit(
    albedo: Floats, nx: Floats, ny: Floats, nz: Floats, gloss: Floats | float, site: Site, rough: float = 1.0
) -> Floats:
    """Light a surface of linear colour (..., 3) and unit normals; `gloss` is the strength of its
    mirror images and `rough` how much wider they are than on enamel.
    """
    shine = np.zeros_like(nz)
    for x, y, r, w in site.lamps:
        away = np.hypot(nx - np.float32(x), ny - np.float32(y))
        shine += np.exp(-(((away - np.float32(r / rough)) / np.float32(w * rough)) ** 2))
    kx, ky = site.key
    facing = (np.float32(kx) * nx + np.float32(ky) * ny + nz) * np.float32(1 / np.sqrt(1 + kx * kx + ky * ky))
    shaded = albedo * (site.ambient + (1 - site.ambient) * np.clip(facing, 0, 1))[..., None]
    colour: Floats = shaded + (gloss * shine)[..., None]
    return colour


def normal(height: Floats, spacing: float, nx: Floats | float = 0.0, ny: Floats | float = 0.0) -> list[Floats]:
    """Give unit normals of a relief (..., rows, columns) in mm with a pixel size in mm, tilted by nx, ny."""
    gy, gx = np.gradient(height, spacing, axis=(-2, -1))
    gx, gy = nx - gx, ny - gy
    length = 1 / np.sqrt(1 + gx * gx + gy * gy)
    return [gx * length, gy * length, length]


def photograph(colour: Floats, site: Site, rng: np.random.Generator, fold: int) -> np.ndarray:
    """Take the picture: falloff, lens, white balance, exposure, noise, tone curve, sRGB.

    Args:
        colour: Linear light (n * fold, n * fold, 3).
        site: Whose camera it is.
        rng: Stream of this image.
        fold: Pixels averaged in each direction.

    Returns:
        uint8 (n, n, 3).
    """
    size = colour.shape[0]
    axis = (np.arange(size, dtype=np.float32) + 0.5) / size - 0.5
    cx, cy = rng.uniform(-0.06, 0.06, 2)
    far = (axis[None, :] - np.float32(cx)) ** 2 + (axis[:, None] - np.float32(cy)) ** 2
    gains = np.array(site.white) * np.exp(0.025 * rng.standard_normal(3)) * site.exposure
    gains *= np.exp(0.07 * rng.standard_normal())
    taken = colour * (1 - site.falloff * 1.6 * far)[..., None] * gains.astype(np.float32)
    sigma = site.blur * size * rng.uniform(0.85, 1.3)
    if sigma > 0.25:
        taken = ndimage.gaussian_filter(taken, (sigma, sigma, 0), truncate=3.0)
    if fold > 1:
        taken = taken.reshape(size // fold, fold, size // fold, fold, 3).mean(axis=(1, 3))
    grain = site.noise * np.sqrt(np.maximum(taken, 0.002) / 0.2)
    taken = taken + grain * rng.standard_normal(taken.shape, dtype=np.float32)
    grey = taken @ rgb(0.2126, 0.7152, 0.0722)
    taken = np.maximum(grey[..., None] + site.saturation * (taken - grey[..., None]), 0)
    taken = taken / (1 + 0.16 * taken * taken)  # a shoulder, so that highlights keep some colour
    encoded = np.where(taken <= 0.0031308, 12.92 * taken, 1.055 * np.power(taken, 1 / 2.4) - 0.055)
    toned = encoded + site.contrast * (encoded - 0.5) * encoded * (1 - encoded)
    return np.asarray(np.rint(255 * np.clip(toned, 0, 1)), np.uint8)
