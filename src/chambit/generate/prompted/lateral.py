"""A drawn lateral chest radiograph, patient facing left, for the stand-in service: views must differ to be verified.

    shade = tau by Beer-Lambert with two materials, tau = MU_SOFT * (body - air) + MU_BONE * bone

Frame: unit = image width, x to the right (posterior), y down. Proportions are chosen by eye. Limits: one effective
energy, no magnification, no scapulae and no arms; made to be told from a frontal view at a glance, not to teach from.
"""

import math

import numpy as np
from scipy import ndimage

from chambit.phantoms.anatomy import AGE_BANDS, HABITUS, Map
from chambit.phantoms.attenuation import MU_BONE, MU_SOFT


def radiograph(
    rng: np.random.Generator, pixels: int, *, sex: str, age_band: str, habitus: str, consolidation: float
) -> Map:
    """Draw one lateral view, float32 (pixels, pixels) in [0, 1].

    Args:
        rng: decides who it is.
        pixels: height and width.
        sex: 'F' or 'M'.
        age_band: one of `phantoms.anatomy.AGE_BANDS`.
        habitus: one of `phantoms.anatomy.HABITUS`.
        consolidation: largest thickness of consolidated lung in cm; 0 for none.
    """
    c = (np.arange(pixels, dtype=np.float32) + 0.5) / pixels
    x, y = np.meshgrid(c, c)
    size, years = HABITUS.index(habitus) - 1, AGE_BANDS.index(age_band)
    x = x + rng.uniform(-0.02, 0.02)
    y = y + rng.uniform(-0.02, 0.02)
    kyphosis = 0.02 + 0.012 * years + rng.normal(0, 0.008)
    # the arms are raised: their soft tissue fills the upper corners
    raised = _rise(0.16 - y, 0.16)
    front = 0.13 - 0.025 * size + 0.05 * _bump(y, 0.16, 0.12) - 0.05 * raised - 0.02 * np.sin(2.5 * y)
    back = (
        0.85 + 0.022 * size + kyphosis * np.sin(math.pi * np.clip(y, 0, 1)) + 0.04 * raised - 0.03 * _bump(y, 0.9, 0.2)
    )
    middle, half = (front + back) / 2, (back - front) / 2
    body = (27 + 3.0 * size) * np.sqrt(np.clip(1 - ((x - middle) / half) ** 2, 0, 1)) ** 0.8
    body = body * (1 - 0.25 * raised)
    if sex == "F":
        # a breast hangs on the wall: it adds to what lies inside the outline and rounds the outline itself
        at = 0.56 + rng.normal(0, 0.02)
        body = body + (4.0 + 1.2 * size) * _ellipse(x, y, front + 0.035, at, 0.085 + 0.012 * size, 0.10, 0.25, soft=0.8)
    air = _lungs(rng, x, y, front, back, body, size)
    heart = _ellipse(x, y, 0.37 + 0.01 * size, 0.60, 0.18, 0.145, 0.6, soft=0.55)
    hilum = _ellipse(x, y, 0.50, 0.44, 0.065, 0.075, 0.2, soft=0.9)
    arch = _ellipse(x, y, 0.53, 0.31, 0.10, 0.06, 0.4, soft=0.9)
    air *= (1 - 0.60 * heart) * (1 - 0.28 * hilum) * (1 - 0.20 * arch)
    air *= 1 - 0.05 * _texture(rng, pixels, pixels / 30) - 0.035 * _texture(rng, pixels, pixels / 90)
    air -= np.minimum(_vessels(rng, x, y), 0.5 * air)
    air += 2.4 * np.exp(-(((x - 0.46 - 0.10 * y) / 0.017) ** 4)) * _rise(0.42 - y, 0.04) * _rise(y - 0.02, 0.05)
    if consolidation > 0:
        at_x, at_y = rng.uniform(0.40, 0.68), rng.uniform(0.32, 0.58)
        wide, tall = rng.uniform(0.09, 0.13), rng.uniform(0.08, 0.12)
        patch = _ellipse(x, y, at_x, at_y, wide, tall, rng.uniform(0, 3), soft=1.0)
        patch *= np.clip(1 + 0.3 * _texture(rng, pixels, pixels / 45), 0.3, 1.6)
        air -= np.minimum(consolidation * patch, air)
    bone = _bones(x, y, front, back, years)
    tau = MU_SOFT * np.clip(body - air, 0, None) + MU_BONE * bone * np.clip(body / 6, 0, 1)
    wide = ndimage.uniform_filter(ndimage.uniform_filter(tau, pixels // 5, mode="nearest"), pixels // 5, mode="nearest")
    tau = tau - 0.5 * wide + rng.normal(0, 0.02, tau.shape)
    covered = np.clip(body / 4, 0, 1)
    low, high = np.percentile(tau[pixels // 5 : 4 * pixels // 5][covered[pixels // 5 : 4 * pixels // 5] > 0.9], (2, 98))
    shade = 0.5 + 0.5 * np.tanh(1.7 * ((tau - low) / (high - low) * 0.8 - 0.36))
    return np.asarray(np.clip(shade * covered, 0, 1), np.float32)


def _lungs(
    rng: np.random.Generator,
    x: np.ndarray,
    y: np.ndarray,
    front: np.ndarray,
    back: np.ndarray,
    body: np.ndarray,
    size: int,
) -> np.ndarray:
    """Air of both lungs in cm; the domes fall to the back, each lung has its own."""
    air = np.zeros_like(x)
    for dome in (0.665, 0.695):
        summit = dome - 0.012 * size + rng.normal(0, 0.008)
        floor = summit + 1.6 * np.clip(x - 0.36, 0, 1) ** 2.1 + 0.9 * np.clip(0.33 - x, 0, 1) ** 2
        inside = _rise(x - front - 0.05, 0.06) * _rise(back - 0.055 - x, 0.05) * _rise(floor - y, 0.03)
        apex = 0.10 + 1.1 * (x - 0.53) ** 2
        air += 0.41 * np.clip(body - 5.5, 0, None) * inside * _rise(y - apex, 0.20)
    return air


def _bones(x: np.ndarray, y: np.ndarray, front: np.ndarray, back: np.ndarray, years: int) -> np.ndarray:
    """Bone in cm: vertebrae, breastbone, and the ribs of both sides from back above to front below."""
    spine = back - 0.155
    across = np.exp(-(((x - spine) / 0.046) ** 4))
    along = 0.72 + 0.28 * np.cos(math.pi * y / 0.068) ** 2
    bone = (2.3 - 0.2 * years) * across * along
    bone += 1.2 * np.exp(-(((x - spine - 0.085) / 0.022) ** 2)) * (0.6 + 0.4 * np.cos(math.pi * y / 0.068))
    bone += 1.1 * np.exp(-(((x - front - 0.035) / 0.010) ** 2)) * _rise(y - 0.18, 0.03) * _rise(0.52 - y, 0.03)
    t = np.clip((spine + 0.05 - x) / (spine - front), 0, 1)
    for side, start in ((0, 0.07), (1, 0.092)):
        for number in range(9):
            centre = start + 0.070 * number + (0.20 + 0.008 * number) * t**1.2 - 0.03 * np.sin(math.pi * t) * (1 + side)
            edge = np.exp(-(((np.abs(y - centre) - 0.009) / 0.004) ** 2))
            bone += (0.62 - 0.05 * years) * edge * _rise(spine + 0.05 - x, 0.02) * _rise(x - front - 0.06, 0.06)
    return np.asarray(bone)


def _vessels(rng: np.random.Generator, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Vessels in cm that run out from the hilum and grow thin."""
    drawn = np.zeros_like(x)
    for angle in np.linspace(0, 2 * math.pi, 15, endpoint=False) + rng.normal(0, 0.15, 15):
        c, s = math.cos(angle), math.sin(angle)
        along, off = c * (x - 0.50) + s * (y - 0.44), c * (y - 0.44) - s * (x - 0.50)
        off = off + rng.normal(0, 0.5) * along**2
        thin = 0.010 * np.clip(1 - along / 0.30, 0.12, 1)
        drawn += 1.3 * np.exp(-((off / thin) ** 2)) * _rise(along, 0.05) * np.clip(1 - along / 0.30, 0, 1)
    return drawn


def _ellipse(
    x: np.ndarray,
    y: np.ndarray,
    at_x: float | np.ndarray,
    at_y: float,
    wide: float,
    tall: float,
    turn: float,
    soft: float,
) -> np.ndarray:
    """An ellipse, 1 inside and 0 outside; `soft` is the share of the radius over which it rises."""
    c, s = math.cos(turn), math.sin(turn)
    dx, dy = x - at_x, y - at_y
    r = np.sqrt(((c * dx + s * dy) / wide) ** 2 + ((c * dy - s * dx) / tall) ** 2)
    return np.asarray(_rise(1 - r, soft), np.float32)


def _rise(d: np.ndarray, width: float) -> np.ndarray:
    part = np.clip(d / width, 0, 1)
    return np.asarray(part * part * (3 - 2 * part))


def _bump(y: np.ndarray, at: float, wide: float) -> np.ndarray:
    return np.asarray(np.exp(-(((y - at) / wide) ** 2)))


def _texture(rng: np.random.Generator, pixels: int, sigma: float) -> np.ndarray:
    """Smoothed noise of unit deviation."""
    drawn = ndimage.gaussian_filter(rng.standard_normal((pixels, pixels), dtype=np.float32), sigma, mode="wrap")
    return np.asarray(drawn / max(float(drawn.std()), 1e-6))
