"""The breast in the plane of one view: how strongly each place echoes, and what sound it takes away.

Echo is the level of backscatter in decibels over that of fat. Layers from the probe: skin, subcutaneous fat with
septa, the glandular layer with ducts and fatty islands, retromammary fat, pectoral muscle, chest wall. Cooper's
ligaments run from the crests of the glandular layer to the skin.

    edge of a lesion at angle t = ellipse(t) (1 + sum_k w_k cos(k t + p_k) + spikes(t))

What tells benign from malignant lesions (shape, margin, echo, shadow) follows Stavros et al. 1995, Radiology
196:123-134, DOI 10.1148/radiology.196.1.7784555; levels and sizes are chosen by eye.

Limits: a plane without thickness; no ribs in section, no vessels, no compression by the probe.
"""

import math
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from chambit.phantoms.anatomy import stream
from chambit.phantoms.canvas import Map, smooth, step
from chambit.phantoms.ultrasound.patients import View

LAYOUT: Final = {"skin": 1, "fat": 2, "gland": 3, "muscle": 4, "lesion": 5}
VIEW_STREAM: Final = {"radial": 1, "antiradial": 2}


class Breast(NamedTuple):
    """Maps (n, n) float32 of a square field.

    Attributes:
        echo: Diffuse backscatter, dB over fat.
        mirror: Specular echo of interfaces, amplitude over that of fat.
        loss: dB per mm that a place takes from what lies behind it, beyond what the machine makes up for.
        lesion: Margin of the lesion: its normalised radius below 1 inside.
        layout: uint8 by LAYOUT, without the lesion.
    """

    echo: Map
    mirror: Map
    loss: Map
    lesion: Map
    layout: NDArray[np.uint8]


class _Layers(NamedTuple):
    """Depths (n,) in mm of the layers' lower borders, along the probe."""

    skin: Map
    fat: Map
    gland: Map
    fascia: Map
    muscle: Map


def breast(seen: View, n: int, field_mm: float, top_mm: float, radius_mm: float = 0.0) -> Breast:
    """Lay out what one view cuts.

    Args:
        seen: The view.
        n: Height and width in pixels.
        field_mm: Height and width in mm; the middle column lies under the middle of the probe.
        top_mm: Depth of the first row, below 0 where the field begins outside the patient.
        radius_mm: Of the face of a curved probe, which indents the skin; 0 for a flat one.
    """
    who = seen.patient
    rng = stream(seen.seed, 1)
    mm = field_mm / n
    x = ((np.arange(n, dtype=np.float32) + 0.5) * mm - field_mm / 2).astype(np.float32)[None, :]
    z = ((np.arange(n, dtype=np.float32) + 0.5) * mm + top_mm).astype(np.float32)[:, None]
    straight = z
    if radius_mm > 0:
        # the deeper a layer lies, the less it follows the face of the probe
        face = np.sqrt(np.maximum(radius_mm**2 - x**2, 0.25 * radius_mm**2)) - radius_mm
        z = z - face * np.exp(-np.maximum(z, 0) / 9)
    layers = _layers(seen, x[0], field_mm, rng)
    parts = np.full((n, n), LAYOUT["skin"], np.uint8)
    for border, name in ((layers.skin, "fat"), (layers.fat, "gland"), (layers.gland, "fat"), (layers.fascia, "muscle")):
        parts[z > border[None, :]] = LAYOUT[name]
    fine, middle, coarse = (smooth(rng, round(field_mm / size), n) for size in (0.9, 2.2, 6.0))
    soft = 0.5 + mm
    in_fat = step(z - layers.skin, soft) * (1 - step(z - layers.fat, soft))
    in_gland = step(z - layers.fat, 0.9 + mm) * (1 - step(z - layers.gland, 0.9 + mm))
    behind = step(z - layers.fascia, soft)
    lobule, septa = _septa(seen, n, field_mm, rng)
    islands = step(coarse + 0.5 * middle - 0.9 - 1.0 * who.dense, 0.7)
    # fibrous streaks along the layer, fatty islands, and ducts as dark lines
    streaks = smooth(rng, round(field_mm / 1.3), n, across=round(field_mm / 6))
    ducts = np.abs(smooth(rng, round(field_mm / 3.2), n, across=round(field_mm / 9)))
    gland = 7.5 + 4.5 * who.dense + 1.7 * middle + 1.2 * fine + 2.0 * streaks - (8.0 + 2 * who.dense) * islands
    gland -= 4.5 * (1 - step(ducts - 0.12, 0.22))
    striped, muscle = _muscle(layers, z, x, field_mm, n, rng)
    echo = 0.7 * middle + 1.3 * np.clip(lobule, -1.5, 1.5) + in_gland * gland + behind * (muscle - 1.5)
    echo += 12.0 * (1 - step(z - layers.skin, 0.4)) - 3.5 * np.exp(-(((z - 0.55 * layers.skin) / 0.45) ** 2))
    echo -= 9.0 * step(z - layers.muscle - 1.5, 3.0) + 2.0 * fine * behind * 0.3
    mirror = (in_fat + 0.35 * in_gland) * septa * 3.6 * who.ligaments
    mirror += striped * behind * (1 - 0.85 * step(z - layers.muscle, 0.8))
    for border, strength, width in ((layers.skin, 2.2, 0.22), (layers.fascia, 3.2, 0.2), (layers.muscle, 5.0, 0.3)):
        uneven = np.clip(0.6 + 0.4 * streaks + 0.3 * fine, 0.03, 1.8)
        mirror += strength * uneven * np.exp(-(((z - border) / (width + 0.3 * mm)) ** 2))
    loss = 0.10 * in_fat * septa + who.attenuation + 0.9 * np.maximum(step(z - layers.muscle - 1.0, 2.0) - 0.2, 0)
    radius = _outline(seen, x, straight)
    _put_lesion(seen, echo, mirror, loss, radius, x, fine, middle, mm)
    maps = [np.asarray(part, np.float32) for part in (echo, mirror, loss, radius)]
    return Breast(maps[0], maps[1], maps[2], maps[3], parts)


def _layers(seen: View, x: Map, field_mm: float, rng: np.random.Generator) -> _Layers:
    """Borders of the layers; the upper border of the glandular layer has the crests that ligaments pull up."""
    who = seen.patient
    phase, waves = rng.uniform(0, 2 * math.pi, 8).tolist(), rng.uniform(0.8, 1.25, 8).tolist()
    slow = [np.sin(2 * math.pi * x / (field_mm * 0.8 * waves[k]) + phase[k]) for k in range(5)]
    crests = (1 - np.abs(np.sin(math.pi * x / (10.5 * waves[5]) + phase[5]))) ** 2
    crests += 0.6 * (1 - np.abs(np.sin(math.pi * x / (6.8 * waves[6]) + phase[6]))) ** 2
    skin = who.skin + 0.08 * slow[0] + 0 * x
    fat = np.maximum(who.skin + who.fat + 1.3 * slow[1] - 0.34 * who.fat * crests, skin + 1.0)
    rough = [0.09 * np.interp(x, np.linspace(x[0], x[-1], 60), rng.standard_normal(60)) for _ in range(2)]
    tilt = 0.12 * (waves[7] - 1) * x
    gland = np.maximum(who.skin + who.fat + who.gland + 0.8 * slow[2] + tilt, fat + 4.0)
    fascia = gland + 1.3 + 0.35 * slow[3] + rough[0]
    muscle = fascia + who.muscle + 0.3 * slow[4] + rough[1]
    return _Layers(*(border.astype(np.float32) for border in (skin, fat, gland, fascia, muscle)))


def _septa(seen: View, n: int, field_mm: float, rng: np.random.Generator) -> tuple[Map, Map]:
    """A field that differs between fat lobules, and the septa between them: bright where they face the probe."""
    lobule = smooth(rng, round(field_mm / 4.6), n, across=round(field_mm / 8.5))
    second = smooth(rng, round(field_mm / 3.5), n, across=round(field_mm / 5.0))
    mm = field_mm / n
    lines = np.zeros((n, n), np.float32)
    for level, weight in ((lobule, 1.0), (second, 0.6)):
        down, right = np.gradient(level, mm)
        slope = np.hypot(down, right) + 0.03
        facing = 0.3 + 0.7 * (down / slope) ** 2
        lines += weight * facing * np.exp(-((level / slope / (0.20 + 0.4 * mm)) ** 2))
    broken = np.clip(0.7 + 0.5 * smooth(rng, round(field_mm / 4), n), 0.05, 1.6)
    return lobule, np.asarray(lines * broken, np.float32)


def _muscle(layers: _Layers, z: Map, x: Map, field_mm: float, n: int, rng: np.random.Generator) -> tuple[Map, Map]:
    """Fibres along the muscle: their mirror echo, and the level of the muscle between them."""
    warp = 0.35 * smooth(rng, round(field_mm / 6), n)
    at = (z - layers.fascia + 0.05 * x + warp) * np.float32(1 / 0.75) + 40
    table = rng.standard_normal(256).astype(np.float32)
    low = np.clip(at.astype(np.int64), 0, 254)
    t = at - low
    ridges = table[low] * (1 - t) + table[low + 1] * t
    lines = np.clip(ridges - 0.3, 0, None) * np.clip(0.6 + 0.6 * smooth(rng, round(field_mm / 3.5), n), 0, 2)
    return np.asarray(1.5 * lines, np.float32), np.asarray(1.2 * ridges, np.float32)


def _outline(seen: View, x: Map, z: Map) -> Map:
    """Distance from the lesion's centre over that of its edge in the same direction."""
    who = seen.patient
    rng = stream(who.seed, VIEW_STREAM[seen.view])
    half = 0.5 * who.width * seen.size
    c, s = math.cos(seen.lean), math.sin(seen.lean)
    dx, dz = x - np.float32(seen.across), z - np.float32(who.depth)
    u, v = (c * dx + s * dz) / np.float32(half), (c * dz - s * dx) / np.float32(half * who.ratio)
    edge = _edge(who.label == "malignant", rng)
    angle = (np.arctan2(v, u) + np.float32(math.pi)) * np.float32(len(edge) / (2 * math.pi))
    return np.asarray(np.hypot(u, v) / edge[np.minimum(angle.astype(np.int64), len(edge) - 1)], np.float32)


def _edge(ill: bool, rng: np.random.Generator) -> Map:
    """Radius of an outline over that of its ellipse, at 4096 angles from -pi to pi."""
    angle = (np.arange(4096) + 0.5) * (2 * math.pi / 4096) - math.pi
    edge = np.ones(4096)
    # a carcinoma's margin is angular, microlobulated and spiculated, in shares of its own
    angular, lobed = rng.uniform(0.6, 1.2), rng.uniform(0.0, 0.05)
    for k in range(2, 10) if ill else range(2, 6):
        weight = 0.12 * angular / k**0.6 if ill else 0.055 / (k - 1)
        edge += weight * np.clip(rng.standard_normal(), -1.8, 1.8) * np.cos(k * angle + rng.uniform(0, 2 * math.pi))
    if ill:
        edge += lobed * np.cos(rng.integers(11, 17) * angle + rng.uniform(0, 2 * math.pi))
        for _ in range(int(rng.integers(3, 12))):
            at, width, high = rng.uniform(-math.pi, math.pi), rng.uniform(0.03, 0.09), rng.uniform(0.08, 0.42)
            turn = np.abs(np.remainder(angle - at + math.pi, 2 * math.pi) - math.pi)
            edge += high * np.exp(-turn / width)
    return np.maximum(edge, 0.45).astype(np.float32)


def _put_lesion(
    seen: View, echo: Map, mirror: Map, loss: Map, radius: Map, x: Map, fine: Map, middle: Map, mm: float
) -> None:
    """Lay the lesion into the maps, in place: its echo, its rim, and how it lets sound through."""
    who = seen.patient
    rng = stream(who.seed, 3)
    half = 0.5 * who.width * seen.size
    soft = (0.28 if who.label == "malignant" else 0.07) + mm / half
    inside = step(1 - radius, soft)
    across = np.abs(x - np.float32(seen.across)) / np.float32(half)
    mirror *= 1 - inside
    if who.label == "malignant":
        level = np.float32(rng.normal(-8.5, 1.2)) + 3.0 * middle + 2.0 * fine
        halo = np.exp(-(((radius - 1.22) / 0.22) ** 2)) * (1 - inside)
        echo += halo * (5.0 + 1.5 * middle)
        loss += inside * float(rng.uniform(0.5, 2.0))
        for _ in range(int(rng.poisson(2))):
            _calcify(mirror, inside, rng, mm)
    else:
        level = np.float32(rng.normal(-34.0 if who.cyst else -8.5, 1.8)) + (0.0 if who.cyst else 0.9) * middle
        loss -= inside * float(rng.uniform(0.7, 1.0) if who.cyst else rng.uniform(0.2, 0.55))
        # the wall faces the probe at top and bottom, and bends the sound away at the sides
        facing = np.clip(1 - across**2, 0, 1)
        mirror += (2.6 if who.cyst else 2.0) * facing * np.exp(-(((radius - 1.02) * half / 0.35) ** 2))
        sides = np.exp(-(((radius - 1.0) / 0.08) ** 2)) * step(across - 0.9, 0.2)
        loss += 0.9 * sides
    echo += inside * (level - echo)


def _calcify(mirror: Map, inside: Map, rng: np.random.Generator, mm: float) -> None:
    """Put one bright point inside the lesion, in place."""
    pick = rng.random()
    rows, columns = np.nonzero(inside > 0.9)
    if len(rows) == 0:
        return
    at = int(pick * len(rows))
    spot = np.zeros_like(mirror)
    spot[rows[at], columns[at]] = 1
    near = ndimage.gaussian_filter(spot, max(0.11 / mm, 0.5))
    mirror += 4.0 * near / near.max()
