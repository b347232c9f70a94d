"""Crowns seen from the front or the side: each an elliptic cylinder whose outline changes with height.

    x = s sin(phi + phi0),  s^2 = (a cos theta)^2 + (b sin theta)^2,  tan phi0 = (b sin theta) / (a cos theta)

is where the point at angle phi of an ellipse with half axes a (along the arch) and b is seen from theta beside
its facing; it gives the silhouette, the place on the crown and the normal at each pixel in closed form.

Limits: only the cheek side has features; a contact between neighbours is a dark line, not a surface.
"""

import math
from typing import NamedTuple

import numpy as np

from chambit.phantoms.oral import enamel
from chambit.phantoms.oral.dentition import KIND, MESIAL, PLACE, UPPER, Floats, Mouth
from chambit.phantoms.oral.light import Site, lit, mix, rgb, step, texture
from chambit.phantoms.oral.patches import Each, Patches, boxes, spread


class View(NamedTuple):
    """Where the camera is: yaw (rad, positive to the patient's left), centre (mm), width (mm), pixels, pitch."""

    yaw: float
    x: float
    y: float
    width: float
    size: int
    pitch: float = 0.05
    distance: float = 260.0

    @property
    def pixel(self) -> float:
        """Size of a pixel in mm."""
        return self.width / self.size


class Seat(NamedTuple):
    """Teeth in the camera's frame: screen x, screen y of the edge, scale, angle theta, depth; arrays (N,)."""

    teeth: np.ndarray
    x: Floats
    y: Floats
    scale: Floats
    theta: Floats
    near: Floats


def project(view: View, x: Floats, y: Floats, height: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """Project points of the mouth (mm, heights upwards) to screen x, y (mm, y down), scale and nearness."""
    near = x * math.sin(view.yaw) + y * math.cos(view.yaw)
    scale = view.distance / (view.distance - near)
    sx = (x * math.cos(view.yaw) - y * math.sin(view.yaw)) * scale - view.x
    sy = -(height - view.pitch * near) * scale - view.y
    return sx, sy, scale, near


def seats(mouth: Mouth, view: View, teeth: np.ndarray) -> Seat:
    """Place teeth before the camera; those that show their back are left out."""
    theta = mouth.facing[teeth] - np.float32(view.yaw)
    centre, cant = mouth.centre[teeth], mouth.traits["cant"]
    x, y, scale, near = project(view, centre[:, 0], centre[:, 1], mouth.edge[teeth] + cant * centre[:, 0])
    keep = mouth.present[teeth] & (np.cos(theta) > 0.05)
    return Seat(teeth[keep], x[keep], y[keep], scale[keep], theta[keep], near[keep])


def crowns(mouth: Mouth, view: View, seat: Seat, site: Site) -> Patches:
    """Draw teeth as patches with colour, cover and decay."""
    order = np.argsort(seat.near, kind="stable")
    seat = Seat(*(part[order] for part in seat))
    teeth, pixel, origin = seat.teeth, view.pixel, view.width / 2
    sign = np.where(UPPER[teeth], 1.0, -1.0).astype(np.float32)
    half = 0.55 * np.hypot(mouth.width[teeth] * np.cos(seat.theta), mouth.depth[teeth] * np.sin(seat.theta)) + 1.0
    tip, neck = seat.y + sign * 0.9, seat.y - sign * (mouth.shown[teeth] + 1.6) * seat.scale
    box = boxes(
        view.size, (seat.x - half + origin) / pixel, (np.minimum(tip, neck) + origin) / pixel,
        (seat.x + half + origin) / pixel, (np.maximum(tip, neck) + origin) / pixel,
    )  # fmt: skip
    rows, columns = box.pixels()
    each = spread(box.owner)
    surface = _surface(mouth, seat, columns * pixel - origin, rows * pixel - origin, sign, pixel, each)
    colour = _paint(mouth, seat, surface, each)
    lesion = np.zeros(rows.size, np.float32)
    cuts = [cut for cut, _ in box.slices()]
    for spot, put in [(s, enamel.fill) for s in mouth.fillings] + [(s, enamel.decay) for s in mouth.lesions]:
        for n in np.flatnonzero((teeth == spot.tooth) & (box.high > 0)) if spot.surface == "facial" else ():
            cut, width = cuts[n], mouth.width[spot.tooth] / 2
            across = (surface.u[cut] * MESIAL[spot.tooth] - np.float32(spot.across)) * width
            drawn = enamel.blot(spot, across, surface.h[cut] - np.float32(spot.along) * mouth.shown[spot.tooth], 0.3)
            drawn = enamel.Blot(drawn.share * surface.front[cut], drawn.inside * surface.front[cut])
            colour[cut] = put(colour[cut], spot, drawn)
            if put is enamel.decay:
                lesion[cut] = drawn.share
    light = lit(colour, surface.nx, surface.ny, surface.nz, _gloss(surface, lesion), site)
    light *= (1 - 0.55 * surface.aside**10)[:, None]
    return Patches(teeth, box, surface.cover, light, lesion)


class _Surface(NamedTuple):
    """Per pixel: cover, place u (-1..1) and h (mm from the edge), h over crown, mm to the edge, normal, side."""

    cover: Floats
    u: Floats
    h: Floats
    v: Floats
    edge: Floats
    nx: Floats
    ny: Floats
    nz: Floats
    aside: Floats
    front: Floats


def _surface(mouth: Mouth, seat: Seat, sx: Floats, sy: Floats, sign: Floats, pixel: float, each: Each) -> _Surface:
    teeth, kind, form = seat.teeth, KIND[seat.teeth], mouth.form[seat.teeth]
    theta, scale = each(seat.theta), each(seat.scale)
    x = (sx - each(seat.x)) / scale
    up = each(sign) * (each(seat.y) - sy) / scale
    roll = each(mouth.roll[teeth] * np.cos(seat.theta)) * each(sign)
    h = up - x * roll
    x = x + (up - 0.5 * each(mouth.crown[teeth])) * roll
    v = np.clip(h / each(mouth.crown[teeth]), -0.1, 1.3)
    # how far the crown's widest place lies from the edge, and how it narrows from there
    widest = each(np.array([0.2, 0.33, 0.36, 0.34])[kind])
    taper = np.array([0.17, 0.20, 0.22, 0.18])[kind] + 0.09 * (kind == 0) * ~UPPER[teeth]
    taper = each(np.clip(taper + 0.04 * mouth.traits["taper"] + 0.02 * form[:, 7], 0.08, 0.42))
    shut = each(np.array([0.05, 0.22, 0.17, 0.09])[kind])
    below = np.clip((widest - v) / widest, 0, 1)
    above = np.clip((v - widest) / (1 - widest), 0, 1)
    a = each(mouth.width[teeth] / 2) * (1 - taper * above**1.5 - shut * below**1.4)
    full = each(mouth.depth[teeth] / 2)
    thin = each(np.array([0.22, 0.3, 0.68, 0.82])[kind])
    b = full * (thin + (1 - thin) * np.clip(v * 1.15, 0, 1) ** 0.7)
    contact = full * (thin + (1 - thin) * (widest * 1.15) ** 0.7)
    lean = each(
        np.where(UPPER[teeth], np.array([0.20, 0.10, 0.0, -0.03])[kind], np.array([0.12, 0.0, -0.1, -0.2])[kind])
    )
    # how far the axis lies outside the arch's line, on which the contacts are
    push = (contact - b) * 0.55 + lean * (each(mouth.crown[teeth]) * widest - h)
    cos, sin = np.cos(theta), np.sin(theta)
    s = np.sqrt((a * cos) ** 2 + (b * sin) ** 2)
    t = (x - sin * push) / s
    phi = np.arcsin(np.clip(t, -1, 1)) - np.arctan2(b * sin, a * cos)
    u = np.sin(phi)
    edge = h - _edge(mouth, teeth, u * each(MESIAL[teeth]), each)
    # faces are flatter than an ellipse: the normal turns less, until close to the sides
    flat = each(np.array([0.42, 0.62, 0.72, 0.62])[kind])
    turned = phi * (flat + (1 - flat) * np.clip(np.abs(phi) / 1.57, 0, 1) ** 2.5) + theta
    tilt = _tilt(mouth, teeth, u, h, v, edge, pixel, each)
    ny = -each(sign) * tilt
    nx = np.sin(turned) + _lobes(mouth, teeth, u, v, each)
    nz = np.maximum(np.cos(turned), 0.02)
    length = 1 / np.sqrt(nx * nx + ny * ny + nz * nz)
    cover = np.clip(0.5 + np.minimum((1 - np.abs(t)) * s, edge) * scale / pixel, 0, 1)
    front = step(np.cos(phi), 0.05, 0.3)
    return _Surface(cover, u, h, v, edge, nx * length, ny * length, nz * length, np.abs(np.clip(t, -1, 1)), front)


def _edge(mouth: Mouth, teeth: np.ndarray, um: Floats, each: Each) -> Floats:
    """Give the edge's distance from the tip in mm at a place -1..1, positive mesially."""
    kind, form, place = KIND[teeth], mouth.form[teeth], PLACE[teeth]
    young = 1 - 0.35 * mouth.traits["age"]
    wear = 1 + 0.15 * form[:, 5]
    tips = np.stack([
        np.select([kind == 1, kind == 2, kind == 3], [0.12, 0.05, 0.5], 0.0),
        np.select([kind == 1, kind == 2, kind == 3], [0.12, 0.05, -0.42], 0.0),
        np.where((place == 6) & ~UPPER[teeth], 0.02, np.where(kind == 3, 0.5, 0.1 * (kind == 1))),
    ]).astype(np.float32)  # fmt: skip
    rise = each(np.array([0.0, 1.8, 1.45, 0.7])[kind] * young * wear)
    reach = each(np.array([1.0, 1.0, 1.0, 0.5])[kind])
    away = np.minimum.reduce([np.abs(um - each(tip)) for tip in tips]) / reach
    profile = rise * np.minimum(away, 1.6) ** 1.35
    distal, mesial = np.clip((-um - 0.5) / 0.5, 0, 1), np.clip((um - 0.68) / 0.32, 0, 1)
    lower = np.where(UPPER[teeth], 1.0, 0.45)
    bend = each((np.array([1.0, 0.5, 0.5, 0.6])[kind] + 0.25 * form[:, 6] * (kind == 0)) * lower)
    profile = profile + bend * (1.15 * distal**2 + 0.65 * mesial**2)
    ripple = 0.07 * young * np.sin(um * 7.5 + each(form[:, 4] * 3)) * each(kind == 0)
    edge: Floats = profile + np.where(each(kind == 0) > 0, ripple, 0)
    return edge


def _tilt(mouth: Mouth, teeth: np.ndarray, u: Floats, h: Floats, v: Floats, edge: Floats, pixel: float,
          each: Each) -> Floats:  # fmt: skip
    """Slope towards the gum: the belly of the crown, the rounded edge, growth lines and fine waviness."""
    kind = KIND[teeth]
    belly = each(np.array([0.62, 0.75, 0.95, 1.0])[kind])
    waist = each(np.array([0.60, 0.55, 0.52, 0.5])[kind])
    slope: Floats = belly * (v - waist) * (0.6 + 1.3 * np.abs(v - waist))
    slope -= 0.9 * np.clip(1 - edge / 0.9, 0, 1) ** 2
    where = each(teeth * 17.3 + mouth.traits["phase"])
    slope += 0.05 * texture(2, u * 3.5 + where, h, 2.2)
    if pixel < 0.3:  # growth lines are too fine for a small image
        slope += 0.022 * texture(0, u * 0.8 + where, h * 2.6, 0.9)
    return slope


def _lobes(mouth: Mouth, teeth: np.ndarray, u: Floats, v: Floats, each: Each) -> Floats:
    """Sideways slope of the lobes of front teeth and the groove between the cusps of molars."""
    kind = KIND[teeth]
    strength = each(np.array([0.10, 0.06, 0.05, 0.22])[kind] * (0.4 + mouth.traits["lobes"]))
    waves = each(np.array([3.0, 2.0, 2.0, 2.0])[kind])
    where = each(mouth.form[teeth, 2] * 4 + teeth * 7.7 + mouth.traits["phase2"])
    slope: Floats = strength * np.sin(u * waves * math.pi) * step(v, 0.95, 0.35)
    return slope + 0.035 * texture(2, u * 4 + where, v * 6, 2.5)


def _gloss(surface: _Surface, lesion: Floats) -> Floats:
    wet: Floats = (0.40 * (1 - 0.85 * lesion) * step(surface.edge, 0.1, 0.8)).astype(np.float32)
    return wet


def _paint(mouth: Mouth, seat: Seat, surface: _Surface, each: Each) -> Floats:
    """Give the linear colour of sound enamel with what lies on it, (P, 3)."""
    teeth, kind, traits = seat.teeth, KIND[seat.teeth], mouth.traits
    where = each(teeth * 31.7 + traits["phase"])
    cloud = texture(1, surface.u * 3 + where, surface.h, 1.6)
    shown = each(mouth.shown[teeth])
    neck = step(surface.h / shown + 0.04 * cloud, 0.45, 1.08)
    colour = each(enamel.base(mouth, teeth))
    chroma = np.float32(traits["chroma"])
    colour = colour * (1 - neck[..., None] * chroma * rgb(0.10, 0.24, 0.50))
    root = step(surface.h - each(mouth.crown[teeth]) * 0.94, -0.2, 0.5)  # the gum has gone back
    colour = mix(colour, (0.56, 0.37, 0.17), 0.75 * root)
    clear = each(np.array([1.0, 0.55, 0.3, 0.2])[kind]) * np.float32(traits["translucency"])
    finger = 1.35 + 0.5 * np.sin(surface.u * 8.5 + each(mouth.form[teeth, 3] * 2)) + 0.25 * cloud
    thin = clear * step(surface.edge, 2.1, 0.2) * step(surface.edge - finger, 1.0, -0.7)
    colour = mix(colour, (0.36, 0.42, 0.49), 0.62 * thin)
    colour = mix(colour, (0.80, 0.79, 0.75), 0.5 * clear * step(surface.edge, 0.38, 0.1))
    colour = colour * (1 + 0.028 * cloud)[..., None]
    flecks = max(0.0, traits["fleck"] - 0.4)
    if flecks > 0:
        white = step(texture(1, surface.u * 2.2 + where, surface.h * 1.9, 1.3) * step(surface.v, 0.75, 0.3), 0.9, 1.7)
        colour = mix(colour, (0.88, 0.87, 0.82), min(0.75, 0.55 * flecks) * white)
    film = step(surface.h - shown + 0.35 * cloud + 0.9 * np.abs(surface.u) ** 3, -1.5, -0.3)
    colour = mix(colour, enamel.PLAQUE, 0.55 * each(mouth.plaque[teeth]) * film)
    beside = step(np.abs(surface.u) + 0.06 * cloud, 0.72, 1.0) + 0.35 * film
    stained: Floats = mix(colour, enamel.STAIN, 0.42 * each(mouth.stain[teeth]) * np.clip(beside, 0, 1))
    return stained
