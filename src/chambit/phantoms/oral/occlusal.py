"""Crowns seen from above: a relief of cusps, ridges and fissures for each tooth.

    height(p) = softmax over cusps c of (h_c - slope * sqrt(|p - p_c|^2 + r^2))

so that fissures run where two cusps meet, as developmental grooves do. Number and place of cusps follow the usual
descriptions (Nelson, Wheeler's Dental Anatomy, Physiology and Occlusion, 10th ed., 2015).

Limits: no wear facets, no Carabelli cusp, walls below the widest place of the crown are not seen.
"""

from typing import Final, NamedTuple

import numpy as np
from scipy import ndimage

from chambit.phantoms.oral import enamel
from chambit.phantoms.oral.dentition import KIND, MESIAL, PLACE, UPPER, Floats, Mouth
from chambit.phantoms.oral.light import Site, lit, mix, normal, rgb, step, texture
from chambit.phantoms.oral.patches import Boxes, Each, Patches, boxes, spread

_SEEN: Final = np.array([1.16, 1.08, 1.0, 1.0])  # front teeth lean forward and show their backs
_NONE: Final = (0.0, 0.0, -99.0)
_CUSPS: Final = {  # place mesially, place to the cheek (both -1..1), height in mm; by jaw and place in the quadrant
    (True, 4): ((0.0, 0.55, 0.0), (0.05, -0.52, -0.5), _NONE, _NONE, _NONE),
    (True, 5): ((0.0, 0.52, -0.1), (0.05, -0.52, -0.2), _NONE, _NONE, _NONE),
    (True, 6): ((0.46, 0.55, 0.0), (-0.44, 0.52, -0.1), (0.34, -0.48, 0.0), (-0.52, -0.56, -0.5), _NONE),
    (True, 7): ((0.44, 0.54, 0.0), (-0.46, 0.46, -0.3), (0.20, -0.50, 0.0), (-0.60, -0.52, -1.0), _NONE),
    (False, 4): ((0.0, 0.40, 0.0), (0.12, -0.60, -1.4), _NONE, _NONE, _NONE),
    (False, 5): ((0.05, 0.48, 0.0), (0.36, -0.52, -0.5), (-0.42, -0.52, -0.7), _NONE, _NONE),
    (False, 6): ((0.56, 0.50, 0.0), (-0.04, 0.56, -0.1), (-0.62, 0.36, -0.4), (0.50, -0.54, 0.1), (-0.34, -0.54, 0.0)),
    (False, 7): ((0.46, 0.50, 0.0), (-0.46, 0.50, -0.1), (0.46, -0.52, 0.1), (-0.46, -0.52, 0.0), _NONE),
}


class Above(NamedTuple):
    """The camera over an arch: centre (mm, mouth's frame), width (mm), pixels, turn (rad), whether the upper jaw."""

    x: float
    y: float
    width: float
    size: int
    turn: float
    upper: bool

    @property
    def pixel(self) -> float:
        """Size of a pixel in mm."""
        return self.width / self.size

    def mouth(self, column: Floats, row: Floats) -> tuple[Floats, Floats]:
        """Give x and y in the mouth of canvas points; front teeth are on top above, at the bottom below."""
        a, b = column * self.pixel - self.width / 2, row * self.pixel - self.width / 2
        c, s = np.float32(np.cos(self.turn)), np.float32(np.sin(self.turn))
        a, b = c * a + s * b, c * b - s * a
        return a + np.float32(self.x), (-b if self.upper else b) + np.float32(self.y)

    def canvas(self, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        """Give column and row of points in the mouth."""
        a, b = x - self.x, (self.y - y) if self.upper else (y - self.y)
        c, s = np.cos(self.turn), np.sin(self.turn)
        a, b = c * a - s * b, c * b + s * a
        return (a + self.width / 2) / self.pixel, (b + self.width / 2) / self.pixel


class _Relief(NamedTuple):
    """Per pixel: cover, place um (mesial) and w (cheek) -1..1, height mm, fissure 0..1, radius 0..1; all (P,)."""

    cover: Floats
    um: Floats
    w: Floats
    height: Floats
    fissure: Floats
    radius: Floats


def crowns(mouth: Mouth, view: Above, teeth: np.ndarray, site: Site) -> list[Patches]:
    """Draw the teeth of one arch: front teeth and back teeth as patches of their own."""
    there = teeth[mouth.present[teeth]]
    groups = (there[KIND[there] <= 1], there[KIND[there] >= 2])
    return [_group(mouth, view, group, site) for group in groups if group.size]


def _group(mouth: Mouth, view: Above, teeth: np.ndarray, site: Site) -> Patches:
    box = _boxes(mouth, view, teeth)
    rows, columns = box.pixels()
    each = spread(box.owner)
    x, y = view.mouth(columns, rows)
    relief = (_front if KIND[teeth[0]] <= 1 else _back)(mouth, view, teeth, x, y, each)
    colour = _paint(mouth, teeth, relief, each)
    lesion, height = np.zeros(rows.size, np.float32), relief.height
    cuts = [cut for cut, _ in box.slices()]
    for spot, put in [(s, enamel.fill) for s in mouth.fillings] + [(s, enamel.decay) for s in mouth.lesions]:
        for n in np.flatnonzero((teeth == spot.tooth) & (box.high > 0)) if spot.surface == "occlusal" else ():
            cut = cuts[n]
            across = (relief.um[cut] - np.float32(spot.across)) * mouth.width[spot.tooth] / 2
            along = (relief.w[cut] - np.float32(spot.along)) * mouth.depth[spot.tooth] / 2
            near = 1 - np.float32(0.3) * relief.fissure[cut]  # decay and fillings spread along the fissures
            drawn = enamel.blot(spot, across * near, along * near)
            colour[cut] = put(colour[cut], spot, drawn)
            if put is enamel.decay:
                lesion[cut] = drawn.share
                height[cut] -= np.float32(0.5 * spot.stage) * drawn.inside
            elif (core := drawn.share > 0.5).any():  # a filling is smoother than the fissures it closes
                height[cut] += 0.75 * drawn.share * (np.median(height[cut][core]) - height[cut])
    light = _light(colour, height, relief, lesion, box, view.pixel, site)
    return Patches(teeth, box, relief.cover, light, lesion)


def _boxes(mouth: Mouth, view: Above, teeth: np.ndarray) -> Boxes:
    c, s = np.abs(np.cos(mouth.facing[teeth] - view.turn)), np.abs(np.sin(mouth.facing[teeth] - view.turn))
    a, b = mouth.width[teeth] / 2, mouth.depth[teeth] * _SEEN[KIND[teeth]] / 2
    # a rounded outline keeps clear of the corners of the rectangle around it; the slant of upper molars does not
    x, y = 0.92 * (a * c + b * s) + 0.5, 0.92 * (a * s + b * c) + 0.5
    column, row = view.canvas(mouth.centre[teeth, 0], mouth.centre[teeth, 1])
    x, y = x / view.pixel, y / view.pixel
    return boxes(view.size, column - x, row - y, column + x, row + y)


def _light(
    colour: Floats, height: Floats, relief: _Relief, lesion: Floats, box: Boxes, pixel: float, site: Site
) -> Floats:
    """Light each crown by its relief; hollows see less light than tips."""
    n, hollow = np.empty((3, height.size), np.float32), np.empty_like(height)
    for cut, shape in box.slices():
        if cut.start < cut.stop:
            own = height[cut].reshape(shape)
            n[:, cut] = np.stack(normal(own, pixel)).reshape(3, -1)
            hollow[cut] = (own - ndimage.gaussian_filter(own, 0.9 / pixel, truncate=2.0)).ravel()
    gloss = 0.34 * (1 - 0.85 * lesion) * (1 - 0.7 * relief.fissure)
    light = lit(colour, n[0], n[1], n[2], gloss, site)
    light *= (np.clip(1 + 0.42 * hollow, 0.5, 1.15) * (1 - 0.45 * relief.radius**9))[:, None]
    return light


def _place(mouth: Mouth, teeth: np.ndarray, x: Floats, y: Floats, each: Each) -> tuple[Floats, Floats]:
    """Give places along the crown (mesial) and to the cheek in halves of its size."""
    dx, dy = x - each(mouth.centre[teeth, 0]), y - each(mouth.centre[teeth, 1])
    c, s = each(np.cos(mouth.facing[teeth])), each(np.sin(mouth.facing[teeth]))
    along, out = dx * c - dy * s, dx * s + dy * c
    return along * each(MESIAL[teeth] * 2 / mouth.width[teeth]), out * each(
        2 / (mouth.depth[teeth] * _SEEN[KIND[teeth]])
    )


def _cover(mouth: Mouth, view: Above, teeth: np.ndarray, radius: Floats, each: Each) -> Floats:
    small = each(0.5 * np.minimum(mouth.width[teeth], mouth.depth[teeth]))
    return np.clip(0.5 + (1 - radius) * small / view.pixel, 0, 1)


def _front(mouth: Mouth, view: Above, teeth: np.ndarray, x: Floats, y: Floats, each: Each) -> _Relief:
    """Incisors and canines: the edge, the hollow behind it, marginal ridges and the cingulum."""
    um, w = _place(mouth, teeth, x, y, each)
    canine, form = each(KIND[teeth] == 1), mouth.form[teeth]
    wide = 1 - (0.34 + 0.06 * each(form[:, 7])) * np.clip((0.45 - w) / 1.45, 0, 1) ** 1.3
    power = 2.5 - 0.3 * canine
    radius = (np.abs(um / wide) ** power + np.abs(w) ** power) ** (1 / power)
    where = each(teeth * 9.1 + mouth.traits["phase"])
    cloud = texture(2, um * 4 + where, w * 4, 2.0)
    line = 0.30 - (0.16 + 0.14 * canine) * um * um + 0.03 * cloud
    deep = each(np.where(UPPER[teeth], 1.0, 0.65))
    ridge = np.exp(-(((w - line) / 0.15) ** 2)) * (1.3 - 0.45 * canine * um * um)
    behind = step(w - line, 0.1, -0.25)
    sides = np.exp(-(((np.abs(um / wide) - 0.80) / 0.15) ** 2)) * behind
    cingulum = np.exp(-((um / 0.42) ** 2) - ((w + 0.62) / 0.30) ** 2)
    middle = canine * np.exp(-((um / 0.25) ** 2)) * behind
    height = ridge + deep * (0.55 * sides + 0.95 * cingulum + 0.4 * middle) - 1.0 * np.clip(w - line, 0, 1) ** 1.3
    height = height - 2.6 * np.clip(radius - 0.70, 0, 1) ** 1.6 + 0.05 * cloud
    pit = np.exp(-((um / 0.18) ** 2) - ((w + 0.32) / 0.14) ** 2) * 0.5
    return _Relief(_cover(mouth, view, teeth, radius, each), um, w, height, pit, radius)


def _back(mouth: Mouth, view: Above, teeth: np.ndarray, x: Floats, y: Floats, each: Each) -> _Relief:
    """Premolars and molars: cusps, fissures between them and marginal ridges."""
    um, w = _place(mouth, teeth, x, y, each)
    upper, molar = UPPER[teeth], KIND[teeth] == 3
    form, place = mouth.form[teeth], PLACE[teeth]
    shear = each(np.where(molar & upper, 0.12 + 0.03 * form[:, 7], 0.0))
    wide = 1 - each(np.select([molar & upper, molar, upper], [0.03, 0.07, 0.10], 0.22)) * np.clip(0.5 - 0.5 * w, 0, 1)
    deep = 1 - each(np.where(molar & ~upper, 0.06, 0.03)) * np.clip(0.5 - 0.5 * um, 0, 1)
    power = each(np.where(molar, np.where(upper, 2.9, 3.1), 2.35))
    leaning = um + shear * w
    radius = (np.abs(leaning / wide) ** power + np.abs(w / deep) ** power) ** (1 / power)
    where = each(teeth * 13.7 + mouth.traits["phase"])
    a, b = mouth.width[teeth] / 2, mouth.depth[teeth] / 2
    px, py = leaning * each(a), w * each(b)
    bend = 0.16 * texture(1, px + where, py, 1.4) + 0.22 * texture(2, px - where, py, 2.4)
    turn = 0.16 * texture(1, px - where, py + 40, 1.4) + 0.22 * texture(2, px + where, py + 40, 2.4)
    cusps = np.array([_CUSPS[bool(u), int(p)] for u, p in zip(upper, place, strict=True)], np.float32)
    wander = 0.06 * form[:, 1:6]
    slope, first = np.float32(0.74), np.full(um.shape, -99.0, np.float32)
    second = first.copy()
    total = np.zeros_like(um)
    for c in range(cusps.shape[1]):
        cx, cy = cusps[:, c, 0] + wander[:, c] * (cusps[:, c, 2] > -9), cusps[:, c, 1]
        far = np.sqrt((px + bend - each(cx * a)) ** 2 + (py + turn - each(cy * b)) ** 2 + 0.5)
        h = each(cusps[:, c, 2]) - slope * far
        second = np.maximum(second, np.minimum(first, h))
        first = np.maximum(first, h)
        total += np.exp(h * 5)
    height = np.log(np.maximum(total, 1e-30)) / 5
    rim = -2.05 - 9.0 * (np.abs(leaning) - 0.80) ** 2 - 0.9 * np.abs(w) ** 2 * each(~molar)
    height = np.maximum(height, rim)
    inner = step(radius, 0.86, 0.66) * step(np.maximum(first, rim) - first, 0.25, 0.02)
    groove = np.exp(-(((first - second) / 0.20) ** 2)) * inner
    fine = np.abs(texture(1, px * 0.9 + where, py + 11, 1.5))
    branch = 0.45 * np.exp(-((fine / 0.13) ** 2)) * inner * step(first - second, 1.5, 0.4)
    fissure = np.clip(np.maximum(groove, branch), 0, 1)
    height = height - 0.30 * fissure - 4.2 * np.clip(radius - 0.66, 0, 1) ** 1.7
    return _Relief(_cover(mouth, view, teeth, radius, each), um, w, height.astype(np.float32), fissure, radius)


def _paint(mouth: Mouth, teeth: np.ndarray, relief: _Relief, each: Each) -> Floats:
    """Give the linear colour of enamel from above with its fissures and stains, (P, 3)."""
    where = each(teeth * 31.7 + mouth.traits["phase"])
    cloud = texture(1, relief.um * 4 + where, relief.w * 4, 1.6)
    colour = each(enamel.base(mouth, teeth))
    wall = step(relief.radius, 0.72, 1.0)
    colour = colour * (1 - (0.5 * np.float32(mouth.traits["chroma"]) * wall)[..., None] * rgb(0.15, 0.28, 0.5))
    colour = colour * (1 + 0.03 * cloud)[..., None]
    if KIND[teeth[0]] <= 1:
        edge = np.exp(-(((relief.w - 0.30 + 0.16 * relief.um**2) / 0.10) ** 2))
        worn = np.clip(0.25 + 0.3 * mouth.traits["age"] + 0.15 * mouth.traits["wear"], 0, 0.9)
        colour = mix(colour, (0.40, 0.45, 0.50), 0.35 * mouth.traits["translucency"] * step(edge, 0.1, 0.6))
        colour = mix(colour, (0.66, 0.52, 0.30), worn * step(edge, 0.80, 0.97) * step(relief.radius, 0.95, 0.7))
    shadow = 0.38 * relief.fissure
    colour = mix(colour, (0.34, 0.22, 0.11), shadow)
    line = step(relief.fissure, 0.62, 0.95) * np.clip(each(mouth.stain[teeth]) * 1.15 + 0.25 * cloud, 0, 0.85)
    colour = mix(colour, (0.085, 0.04, 0.016), line)
    film = step(relief.radius + 0.05 * cloud, 0.86, 1.0)
    stained: Floats = mix(colour, enamel.PLAQUE, 0.45 * each(mouth.plaque[teeth]) * film)
    return stained
