"""Who a phantom is: the traits, rib jitter, textures and vessel tree that stay from visit to visit.

    r_child = r_parent * share**(1/3)   at each fork of a vessel, share being the child's part of the flow

Source of the law: Murray 1926, DOI 10.1073/pnas.12.3.207. All other numbers are proportions chosen by eye
against adult frontal radiographs, so that two patients differ as two people do; none is measured.

Frame: unit = image width; x to the right of the image (the patient's left), y down from the top edge.

Limits: adults only, no situs inversus, no operated or deformed chests; vessels fork in the image plane.
"""

import math
from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

Map = NDArray[np.float32]
Traits = dict[str, tuple[float, float]]

AGE_BANDS: Final = ("20-39", "40-59", "60-79", "80+")
HABITUS: Final = ("slim", "average", "large")

# mean and standard deviation over patients; names ending in 2 are drawn for the right and the left side
TRAITS: Final[dict[str, tuple[float, float]]] = {
    "depth": (20.0, 1.0),
    "wall": (5.0, 0.5),
    "torso": (0.482, 0.014),
    "axilla": (0.30, 0.03),
    "neck": (0.085, 0.01),
    "shoulder2": (0.035, 0.014),
    "shoulder_slope2": (0.17, 0.05),
    "apex_y2": (0.085, 0.012),
    "apex_x2": (0.150, 0.012),
    "lung_w2": (0.395, 0.014),
    "lung_m2": (0.058, 0.008),
    "lung_top2": (0.15, 0.10),
    "waist2": (0.015, 0.012),
    "dome2": (0.668, 0.02),
    "dome_x2": (0.20, 0.022),
    "dome_drop2": (0.115, 0.018),
    "dome_medial2": (0.05, 0.016),
    "scoliosis": (0.0, 0.011),
    "scoliosis_at": (0.40, 0.10),
    "scoliosis_s": (0.0, 0.006),
    "spine_w": (0.042, 0.004),
    "vertebra": (0.060, 0.003),
    "vertebra_at": (0.0, 0.02),
    "disc": (0.5, 0.12),
    "rib_at2": (0.155, 0.012),
    "rib_gap2": (0.0640, 0.0030),
    "rib_arc2": (0.105, 0.014),
    "rib_tilt2": (0.04, 0.025),
    "rib_h": (0.0120, 0.0012),
    "rib_bone": (1.7, 0.3),
    "front_at2": (0.215, 0.014),
    "front_arc2": (0.135, 0.02),
    "front_end2": (0.40, 0.07),
    "clavicle_y2": (0.155, 0.014),
    "clavicle_tilt2": (0.16, 0.08),
    "clavicle_s2": (0.020, 0.008),
    "clavicle_h": (0.0145, 0.0014),
    "scapula_x2": (0.41, 0.018),
    "scapula_tilt2": (0.10, 0.06),
    "scapula_y2": (0.40, 0.03),
    "humerus_x2": (0.5, 0.015),
    "humerus_y2": (0.155, 0.018),
    "heart_x": (0.06, 0.012),
    "heart_y": (0.598, 0.014),
    "heart_w": (0.16, 0.013),
    "heart_h": (0.135, 0.012),
    "heart_tilt": (0.64, 0.13),
    "atrium": (0.094, 0.011),
    "atrium_y": (0.565, 0.018),
    "vascular_pedicle": (0.088, 0.009),
    "knob_x": (0.05, 0.007),
    "knob_y": (0.275, 0.016),
    "knob_r": (0.038, 0.006),
    "trunk": (0.04, 0.007),
    "aorta": (0.35, 0.15),
    "trachea": (0.020, 0.002),
    "trachea_x": (0.004, 0.008),
    "carina": (0.315, 0.014),
    "hilum_x2": (0.095, 0.008),
    "hilum_y2": (0.395, 0.016),
    "hilum2": (0.38, 0.09),
    "vessels": (1.5, 0.3),
    "stomach_x": (0.19, 0.035),
    "stomach_y": (0.075, 0.015),
    "stomach_r": (0.050, 0.016),
    "stomach_air": (0.35, 0.35),
    "liver": (0.12, 0.05),
    "breast": (2.4, 0.8),
    "breast_x2": (0.20, 0.018),
    "breast_y2": (0.52, 0.03),
    "breast_r2": (0.145, 0.016),
    "nipple2": (0.3, 0.3),
    "texture": (1.0, 0.25),
}


class Patient(NamedTuple):
    """What stays of a patient from visit to visit: traits, per-rib jitter, textures and the vessel tree."""

    traits: Mapping[str, tuple[float, float]]
    ribs: Map  # (2 sides, 12, 3): offset, thickness, strength
    soft: Map  # (48, 48) soft-tissue texture over [-0.7, 0.7] x [-0.2, 1.2], sd about 1
    lung: Map  # (96, 96) lung texture over the same square
    vessels: Map  # (S, 7): x0, y0, dx, dy, bend, radius, level


def stream(*key: int) -> np.random.Generator:
    """Open the stream of random numbers that belongs to a key, such as (seed, patient, visit, step)."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(key)))


@lru_cache(maxsize=4)
def patient(seed: int, index: int, sex: str, age: str, habitus: str, site: str) -> Patient:
    """Draw a patient; the order of the draws is fixed, so new traits belong at the end of TRAITS."""
    rng = stream(seed, index, 0, 1)
    z = np.clip(rng.standard_normal((len(TRAITS), 2)), -2.3, 2.3)
    traits = {}
    for (name, (mean, sd)), (right, left) in zip(TRAITS.items(), z, strict=True):
        left = 0.6 * right + 0.8 * left if name.endswith("2") else right
        traits[name] = (mean + sd * float(right), mean + sd * float(left))
    _constitution(traits, sex, age, habitus, site)
    ribs = np.clip(rng.standard_normal((2, 12, 3)), -2, 2) * (0.004, 0.10, 0.13) + (0.0, 1.0, 1.0)
    soft = _octaves(rng, 48, (2.5, 0.8), (6.0, 0.5))
    lung = _octaves(rng, 96, (0.9, 0.6), (2.0, 0.6), (6.0, 0.5))
    return Patient(MappingProxyType(traits), ribs.astype(np.float32), soft, lung, _tree(rng, traits))


def _constitution(traits: Traits, sex: str, age: str, habitus: str, site: str) -> None:
    """Shift the traits, in place, by what sex, age, habitus and the site's population do to a chest."""
    shifts: list[tuple[str, float]] = []
    size = HABITUS.index(habitus) - 1
    years = AGE_BANDS.index(age)
    shifts += [("depth", 3.4 * size), ("wall", 1.3 * size), ("torso", 0.030 * size), ("dome2", -0.018 * size)]
    shifts += [("heart_w", 0.009 * size), ("lung_w2", 0.006 * size), ("neck", 0.012 * size)]
    shifts += [("knob_r", 0.004 * (years - 1)), ("aorta", 0.15 * (years - 1)), ("heart_w", 0.005 * years)]
    shifts += [("rib_bone", -0.09 * (years - 1)), ("disc", 0.1 * (years - 1)), ("stomach_air", 0.05 * years)]
    if sex == "F":
        shifts += [("lung_w2", -0.014), ("torso", -0.012), ("rib_h", -0.0012), ("clavicle_h", -0.0015)]
        shifts += [("dome2", -0.008), ("neck", -0.012), ("breast", 0.9 * size), ("heart_w", -0.006)]
    else:
        shifts += [("breast", -9.0)]
    shifts += [("dome2", {"A": 0.006, "B": 0.0, "C": -0.012}[site])]
    for name, shift in shifts:
        right, left = traits[name]
        traits[name] = (right + shift, left + shift)
    for name, low, shift in (("breast", 0.0, 0.0), ("dome2", 0.0, 0.022), ("nipple2", 0.0, 0.0)):
        # the left dome lies lower than the right one, which rests on the liver
        traits[name] = (max(traits[name][0], low), max(traits[name][1] + shift, low))


def _octaves(rng: np.random.Generator, size: int, *bands: tuple[float, float]) -> Map:
    """Draw a periodic texture (size, size) as a sum of Gaussian-filtered noises (sigma in cells, gain)."""
    f2 = np.fft.fftfreq(size)[:, None] ** 2 + np.fft.rfftfreq(size)[None, :] ** 2
    filters = [gain * sigma * np.exp(-2 * (math.pi * sigma) ** 2 * f2) for sigma, gain in bands]
    white = rng.standard_normal((2, *f2.shape), dtype=np.float32)
    spectrum = (white[0] + 1j * white[1]) * np.sqrt(sum(f**2 for f in filters))
    # a Gaussian filter of width sigma leaves 1 / (4 pi sigma**2) of white noise's variance
    drawn = np.fft.irfft2(spectrum, (size, size)) * (size * math.sqrt(2 * math.pi))
    return np.asarray(drawn, np.float32)


def _tree(rng: np.random.Generator, traits: Traits) -> Map:
    """Grow both lungs' vessels by forking; (S, 7) rows x0, y0, dx, dy, bend, radius, level."""
    grown = []
    for side, sign in ((0, -1.0), (1, 1.0)):
        fan = np.linspace(-1.45, 1.35, 8) + 0.13 * rng.standard_normal(8)
        x = np.full(8, sign * (traits["hilum_x2"][side] - 0.02)) + 0.008 * rng.standard_normal(8)
        y = traits["hilum_y2"][side] + 0.035 * np.sin(fan) + 0.008 * rng.standard_normal(8)
        radius = 0.0078 * (1 + 0.18 * rng.standard_normal(8)) * (1 + 0.25 * np.sin(fan))
        for level in range(6):
            length = 0.085 * 0.84**level * np.clip(1 + 0.3 * rng.standard_normal(fan.size), 0.4, 1.7)
            dx, dy = sign * length * np.cos(fan), length * np.sin(fan)
            bend = 0.28 * length * rng.standard_normal(fan.size)
            grown.append(np.stack([x, y, dx, dy, bend, radius, np.full(fan.size, level)], axis=1))
            fork = rng.uniform(0.15, 0.55, fan.size)
            share = rng.uniform(0.25, 0.75, fan.size)  # of the flow, which goes with the cube of the radius
            x, y = np.tile(x + dx, 2), np.tile(y + dy, 2)
            fan = np.concatenate([fan + fork * (1 - share), fan - fork * share - 0.05])
            fan += 0.12 * rng.standard_normal(fan.size)
            radius = np.concatenate([radius * np.cbrt(share), radius * np.cbrt(1 - share)])
    return np.concatenate(grown).astype(np.float32)
