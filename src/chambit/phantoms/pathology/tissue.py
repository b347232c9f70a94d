"""Architecture of a patch: where glands, their lumina and the stroma lie, and how fibres run.

    depth of a benign gland = R + wave - distance to the crypt's axis        (a capsule: cut across or along)
    tumour epithelium       = where a smooth random field exceeds a threshold; lumina where a finer one does

Limits: glands are cut by a plane of which only the two extremes are drawn, patches of tumour have no front of
invasion against muscle or fat.
"""

import math
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from chambit.phantoms.canvas import Map, smooth
from chambit.phantoms.pathology.patients import Section


class Tissue(NamedTuple):
    """Maps (n, n) float32 of a patch.

    Attributes:
        depth: Micrometres from the nearest gland's outer border, above 0 inside the gland.
        lumen: Micrometres inside a lumen, below 0 outside.
        fibres: Density of collagen, mean 0, standard deviation about 1.
        along: Direction of the fibres, radians.
        um: Micrometres per pixel.
    """

    depth: Map
    lumen: Map
    fibres: Map
    along: Map
    um: float


def tissue(section: Section, n: int, field_um: float, rng: np.random.Generator) -> Tissue:
    """Lay out a patch of field_um micrometres on n x n pixels."""
    um = field_um / n
    place = (np.arange(n, dtype=np.float32) + np.float32(0.5)) * np.float32(um)
    if section.label == "benign":
        depth, lumen = _crypts(section, place, field_um, rng)
    else:
        depth, lumen = _tumour(section, n, field_um, rng)
    fibres, along = _fibres(section, depth, place, field_um, rng)
    return Tissue(depth, lumen, fibres, along, um)


def _crypts(section: Section, place: Map, field_um: float, rng: np.random.Generator) -> tuple[Map, Map]:
    """Depth and lumen of regular glands on a brick pattern, all cut at the same slant."""
    who, n = section.patient, len(place)
    slant = 0.0 if rng.random() < 0.6 else float(rng.uniform(0.3, 2.2))
    turn = float(rng.uniform(0, math.pi))
    half = slant * who.crypt
    row_gap, column_gap = 2 * who.crypt + who.gap, 2 * who.crypt + 2 * half + who.gap
    c, s = math.cos(turn), math.sin(turn)
    origin = rng.uniform(0, 1, 2)
    reach = math.ceil(field_um / row_gap) + 1
    depth = np.full((n, n), -26.0, np.float32)
    height = np.full((n, n), who.height, np.float32)
    wave = 2.2 * smooth(rng, max(3, round(field_um / 26)), n)
    for i in range(-reach, reach + 1):
        for j in range(-reach, reach + 1):
            jitter = rng.normal(0, 1, 5)
            along = (j + origin[0] + 0.5 * (i % 2)) * column_gap + 3.5 * jitter[0]
            across = (i + origin[1]) * row_gap * 0.93 + 3.5 * jitter[1]
            x, y = field_um / 2 + c * along - s * across, field_um / 2 + s * along + c * across
            radius, length = who.crypt * math.exp(0.07 * jitter[2]), max(0.0, half * math.exp(0.2 * jitter[3]))
            far = radius + length + 30
            if min(x, y) < -far or max(x, y) > field_um + far:
                continue
            box = _box(x, far, field_um, n), _box(y, far, field_um, n)
            dx, dy = place[box[0]][None, :] - np.float32(x), place[box[1]][:, None] - np.float32(y)
            u, v = c * dx + s * dy, c * dy - s * dx
            oval = 1 + 0.10 * jitter[4]
            axis = np.hypot(np.maximum(np.abs(u) - length, 0) * oval, v / oval)
            window = box[1], box[0]
            own = (radius - axis).astype(np.float32)
            nearer = own > depth[window]
            depth[window] = np.where(nearer, own, depth[window])
            height[window] = np.where(nearer, np.float32(min(who.height, radius * 0.8)), height[window])
    depth += wave * np.clip((depth + 14) / 14, 0, 1)
    rough = 1.6 * smooth(rng, max(4, round(field_um / 9)), n)
    return depth, depth - height - 0.35 * wave + rough


def _box(at: float, half: float, field_um: float, n: int) -> slice:
    return slice(max(0, int((at - half) / field_um * n)), max(0, min(n, int((at + half) / field_um * n) + 2)))


def _tumour(section: Section, n: int, field_um: float, rng: np.random.Generator) -> tuple[Map, Map]:
    """Depth and lumen of crowded, irregular, cribriform glands; a high grade leaves few lumina."""
    grade = section.patient.grade
    coarse = min(n, 192)
    um = field_um / coarse
    shape = smooth(rng, max(2, round(field_um / 75)), coarse) + 0.35 * smooth(rng, max(3, round(field_um / 30)), coarse)
    # crowded: three to four fifths of the patch are epithelium
    inside = shape > np.quantile(shape, float(rng.uniform(0.22, 0.38)))
    depth = (ndimage.distance_transform_edt(inside) - ndimage.distance_transform_edt(~inside)) * um
    depth = ndimage.gaussian_filter(depth.astype(np.float32), 1.2)
    finest = float(rng.uniform(20, 36))  # small holes make a cribriform gland
    holes = smooth(rng, max(3, round(field_um / finest)), coarse)
    holes = holes + 0.2 * smooth(rng, max(4, round(field_um / 11)), coarse)
    room = depth > 11
    share = 0.30 * (1 - 0.85 * grade) * float(rng.uniform(0.7, 1.3))
    level = float(np.quantile(holes[room], 1 - share)) if room.any() else 9.0
    open_ = room & (holes > level)
    lumen = (ndimage.distance_transform_edt(open_) - ndimage.distance_transform_edt(~open_)) * um
    lumen = ndimage.gaussian_filter(lumen.astype(np.float32), 1.0)
    if coarse == n:
        return depth, lumen
    return _enlarge(depth, n), _enlarge(lumen, n)


def _enlarge(drawn: Map, n: int) -> Map:
    at = (np.arange(n) + 0.5) * (len(drawn) / n) - 0.5
    low = np.clip(np.floor(at).astype(np.int64), 0, len(drawn) - 2)
    t = np.clip(at - low, 0, 1).astype(np.float32)
    rows = drawn[low] * (1 - t)[:, None] + drawn[low + 1] * t[:, None]
    wide: Map = rows[:, low] * (1 - t) + rows[:, low + 1] * t
    return wide


def _fibres(section: Section, depth: Map, place: Map, field_um: float, rng: np.random.Generator) -> tuple[Map, Map]:
    """Collagen that winds around glands, and bundles that cross the patch; direction of the first."""
    n = len(place)
    slow = smooth(rng, max(2, round(field_um / 80)), n)
    # fibres turn round a gland's corners in a bow, where its depth has a ridge
    wide = max(1, round(9 * n / field_um))
    rounded = ndimage.uniform_filter(ndimage.uniform_filter(depth, wide), wide)
    around = 20 * slow - rounded + 3 * smooth(rng, max(3, round(field_um / 22)), n)
    angle = float(rng.uniform(0, math.pi))
    straight = math.cos(angle) * place[None, :] + math.sin(angle) * place[:, None]
    straight = straight + 16 * smooth(rng, max(2, round(field_um / 60)), n)
    total = np.zeros((n, n), np.float32)
    for level, pitch, weight in ((around, 2.4, 0.75), (straight, 3.4, 0.6)):
        table = rng.standard_normal(4096).astype(np.float32)
        at = level * np.float32(1 / pitch) + 2048
        low = np.clip(at.astype(np.int64), 0, 4094)
        t = at - low
        total += np.float32(weight) * (table[low] * (1 - t) + table[low + 1] * t)
    total *= 1 + 0.5 * smooth(rng, max(3, round(field_um / 18)), n)
    down, right = np.gradient(ndimage.uniform_filter(around, 3))
    along = np.arctan2(right, -down)  # at right angles to the gradient: x from right, y from down
    return total, np.asarray(along, np.float32)
