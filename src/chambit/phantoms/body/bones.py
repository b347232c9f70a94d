"""Ribs, sternum, shoulder girdle, arms, pelvis and femora.

Ribs are drawn together: around the cavity a rib is where its height, corrected for the fall from spine to sternum,
lies near a rib's: h = z + fall(z) f - z_rib, f being the share of the way around from spine to sternum.

Source: laid out by eye on the Visible Human (Spitzer et al. 1996, DOI 10.1136/jamia.1996.96236280). The neck-shaft
angle of the femur comes out at 116 to 119 degrees; people's mean is 127 (Gilligan et al. 2013, DOI 10.1111/joa.12073).

Limits: hands, feet and patellae are absent; the wing of the ilium is a bent plate; no growth plates, no fractures.
"""

from itertools import pairwise
from typing import Final

import numpy as np

from chambit.phantoms.body.paint import Canvas, Solid
from chambit.phantoms.body.space import Map, curve, ellipsoid, fit, half_space, profile, triangle, tube
from chambit.phantoms.body.spine import THORACIC
from chambit.phantoms.body.tissue import Part, Tissue
from chambit.phantoms.body.wall import Arms, Trunk, arm_line

RIB_LEVELS: Final = (THORACIC + 16).astype(np.float32)  # twelfth to first, at the spine
# height, fall from spine to sternum
FALL: Final = ((180.0, 74.0), (240.0, 92.0), (330.0, 88.0), (400.0, 66.0), (452.0, 40.0))
# share of the way around at which each rib's bone ends, twelfth to first
BONY: Final = np.array([0.29, 0.42, 0.62, 0.68, 0.73, 0.77, 0.80, 0.82, 0.84, 0.85, 0.85, 0.80], np.float32)
HIP: Final = (89.0, -3.0, -84.0)
# height, then x and y of the wing's posterior and anterior end, half its thickness
WING: Final = (
    (-100.0, 74.0, 22.0, 92.0, -30.0, 10.0),
    (-72.0, 66.0, 46.0, 100.0, -40.0, 9.0),
    (-45.0, 50.0, 82.0, 114.0, -46.0, 6.0),
    (-20.0, 44.0, 88.0, 124.0, -42.0, 4.6),
    (20.0, 60.0, 78.0, 127.0, -16.0, 4.2),
    (38.0, 78.0, 66.0, 124.0, 8.0, 4.6),
    (50.0, 96.0, 52.0, 116.0, 26.0, 4.0),
)


def lay_cage(canvas: Canvas, body: Trunk) -> None:
    """Lay ribs, their cartilages and the sternum around the cavity."""
    near = (np.abs(body.cavity - 5) < 11) & (body.region.z > 95)
    if not near.any():
        return
    at = np.nonzero(near)
    d, back = body.cavity[at] - 5, body.back[at]
    z, x = body.region.z[at[0], 0, 0], body.region.x[0, 0, at[2]]
    front = np.arctan2(body.side[at], back) * np.float32(1 / np.pi)
    fall = profile(z + 50 * front, FALL)[0] * np.float32(canvas.person.factor("rib fall", 0.07))
    wave = 4 * np.sin(9 * front + np.float32(canvas.person.shift("ribs", 1.0)[0]))
    raised = z + fall * front + wave * front
    place = np.interp(raised, RIB_LEVELS, np.arange(12)).astype(np.float32)
    number = np.rint(place).astype(int)
    gap = raised - RIB_LEVELS[number]
    tall = np.where(number >= 10, 5.5, 6.6).astype(np.float32)
    bone = (np.hypot(d / 4.0, gap / tall) - 1) * np.float32(4.6)
    grown = canvas.person.shift("cartilage", 0.02)[0]
    end = (BONY[number] + np.float32(grown) - front) * -220
    short = number < 2
    soft = np.maximum(np.maximum(bone, -end), np.maximum(np.abs(x) * -1 + 12, np.where(short, 9.0, -9.0)))
    hard = np.maximum(bone, end)
    plate = np.maximum(
        np.maximum(np.abs(x) - np.interp(z, (235, 330, 372, 405), (8, 19, 17, 31)), np.abs(d) - 5.5),
        np.maximum(np.maximum(z - 402, 236 - z), back + 0.6),
    )
    for found, tissue, part in ((soft, Tissue.CARTILAGE, Part.RIB), (hard, None, Part.RIB), (plate, None, Part.RIB)):
        solid = body.region.full()
        solid[at] = found
        if tissue is None:
            canvas.shell((body.region, solid), part, 1.5)
        else:
            canvas.lay((body.region, solid), tissue, part)


def lay_shoulders(canvas: Canvas, arms: Arms) -> None:
    """Lay scapulae, clavicles and the bones of the arms."""
    grid = canvas.grid
    for sign in (-1.0, 1.0):
        mirror = np.array([sign, 1.0, 1.0])
        drop = canvas.person.shift(f"shoulder{sign}", (3.0, 2.0, 5.0))
        lift = {"down": (0.0, 0.0, 0.0), "out": (8.0, -10.0, 0.0), "up": (8.0, -4.0, 12.0)}[arms]
        move = drop * (0.5, 1, 1) + np.array(lift) * mirror
        line = arm_line(canvas.person, arms, sign)
        head = line[1]
        glenoid = head * (0.88, 1, 1) + (0, 10, 0)
        corners = np.array([(82.0, 78, 424), (90, 98, 312), (0, 0, 0)]) * mirror + move
        corners[2] = glenoid
        canvas.shell(triangle(grid, corners, 3.2), Part.SHOULDER, 1.2)
        crest = np.array([(82.0, 96, 396), (118, 78, 418), (152, 38, 434)]) * mirror + move
        canvas.shell(tube(grid, crest, np.array([4.0, 6.0, 7.5]), 4), Part.SHOULDER, 1.5)
        canvas.shell(tube(grid, np.array([glenoid, glenoid + mirror * (-14, -30, 16)]), 6.0, 4), Part.SHOULDER, 1.5)
        bar = np.array([(21.0, -62, 408), (55, -66, 420), (92, -34, 433), (126, -4, 437), (150, 10, 436)])
        canvas.shell(tube(grid, curve(bar * mirror + move * (1, 1, 0.5), 2), 6.2, 4), Part.SHOULDER, 2.0)
        inwards = head * (0.985, 1, 1)
        canvas.shell(ellipsoid(grid, inwards.tolist(), (23.5, 23.5, 24)), Part.ARM, 2.0, Tissue.YELLOW)
        shaft = np.stack([inwards, 0.75 * line[1] + 0.25 * line[2], line[2], line[3]])
        canvas.shell(tube(grid, shaft, np.array([19.0, 12.5, 10.5, 15.0]), 4), Part.ARM, 4.0, Tissue.YELLOW)
        for off in (-1.0, 1.0):
            fore = line[3:6] + np.array([(6, 0, 0), (9, 2, 0), (11, 4, 0)]) * (off, off, 1)
            canvas.shell(tube(grid, fore, np.array([9.0, 6.0, 8.0]), 4), Part.ARM, 3.0, Tissue.YELLOW)


def lay_pelvis(canvas: Canvas, body: Trunk | None) -> None:
    """Lay hip bones, then the femora in their sockets."""
    for sign in (-1.0, 1.0):
        mirror = np.array([sign, 1.0, 1.0])
        _wing(canvas, body, sign)
        hip = np.array(HIP) * mirror
        socket = ellipsoid(canvas.grid, (hip + mirror * (-5, 4, 6)).tolist(), (35, 36, 37))
        if socket is not None:
            open_ = half_space(socket[0], (hip + mirror * (7, 0, -6)).tolist(), (0.75 * sign, -0.2, -0.62))
            canvas.shell((socket[0], np.maximum(socket[1], open_)), Part.PELVIS, 2.5)
        rods = (
            ([(80, -24, -88), (48, -58, -92), (16, -70, -102)], [12, 8, 10]),
            ([(13, -70, -98), (11, -66, -122)], [9.5, 8]),
            ([(12, -66, -118), (32, -36, -138), (52, 8, -152)], [7, 6.5, 9]),
            ([(80, 22, -94), (68, 36, -124), (56, 28, -152)], [14, 13, 15]),
        )
        for points, radii in rods:
            rod = curve(np.array(points, float) * mirror, 3)
            radius = curve(np.array(radii, float)[:, None], 3)[:, 0]
            canvas.shell(tube(canvas.grid, rod, radius, 4), Part.PELVIS, 2.2)
        _femur(canvas, sign)
    gap = ellipsoid(canvas.grid, (0, -70, -110), (3.0, 10, 17))
    canvas.lay(gap, Tissue.CARTILAGE, Part.PELVIS)


def _wing(canvas: Canvas, body: Trunk | None, sign: float) -> None:
    """The ilium: at each height a bent plate from the sacrum to the front, thicker at both ends."""
    region = canvas.grid.region(*((35, -60, -104), (150, 112, 54)) if sign > 0 else ((-150, -60, -104), (-35, 112, 54)))
    if region is None:
        return
    x0, y0, x1, y1, thick = profile(region.z, WING)
    flare = np.float32(1.04 if canvas.person.sex == "F" else 1.0)
    x, y = region.x * np.float32(sign) / flare, region.y
    knots = []
    for t in np.linspace(0, 1, 7).astype(np.float32):
        bow = 4 * t * (1 - t) * np.float32(11) - np.sin(2 * np.pi * t) * np.float32(3)
        length = np.hypot(x1 - x0, y1 - y0)
        knots.append(
            (
                x0 + (x1 - x0) * t + bow * (y0 - y1) / length,
                y0 + (y1 - y0) * t + bow * (x1 - x0) / length,
                thick * (1 + 0.9 * (2 * t - 1) ** 4),
            )
        )
    near = region.full()
    for (xa, ya, ra), (xb, yb, rb) in pairwise(knots):
        near = np.minimum(near, _strip(x, y, (xa, ya, ra), (xb, yb, rb)))
    if body is not None:  # the iliacus lines the wing
        lined = np.maximum(
            near - 15 + np.maximum(region.z - 20, 0) * np.float32(0.4), fit((body.region, body.lean), region) + 3
        )
        canvas.lay((region, lined), Tissue.MUSCLE, Part.MUSCLE)
    canvas.shell((region, np.maximum(near, region.z - 50)), Part.PELVIS, 1.9)


def _strip(x: Map, y: Map, a: tuple[Map, Map, Map], b: tuple[Map, Map, Map]) -> Map:
    """Distance in the plane to a piece between two ends that depend on the height."""
    dx, dy = b[0] - a[0], b[1] - a[1]
    px, py = x - a[0], y - a[1]
    t = np.clip((px * dx + py * dy) / (dx * dx + dy * dy + np.float32(1e-6)), 0, 1)
    return np.asarray(np.hypot(px - dx * t, py - dy * t) - (a[2] + (b[2] - a[2]) * t), np.float32)


def _femur(canvas: Canvas, sign: float) -> None:
    mirror, grid = np.array([sign, 1.0, 1.0]), canvas.grid
    hip = np.array(HIP)
    canvas.lay(ellipsoid(grid, (hip * mirror).tolist(), (26.0, 26.0, 26.0)), Tissue.CARTILAGE, Part.FEMUR)
    neck = np.array([hip, (132.0, 4, -114)]) * mirror
    trochanter = np.array([(130.0, 8, -122), (144, 14, -98)]) * mirror
    shaft = (
        np.array(
            [
                (132.0, 6, -118),
                (126, 6, -150),
                (115, 2, -220),
                (104, 0, -300),
                (94, 4, -400),
                (88, 10, -500),
                (86, 14, -560),
            ]
        )
        * mirror
    )
    radius = np.array([19.0, 16, 14, 13.5, 14, 18, 34])
    minor = np.array([(120.0, 12, -140), (112, 22, -146)]) * mirror
    pieces = [
        ellipsoid(grid, (hip * mirror).tolist(), (23.5, 23.5, 23.5)),
        tube(grid, neck, np.array([17.0, 17.0]), 5),
        tube(grid, trochanter, np.array([18.0, 13.0]), 5),
        tube(grid, minor, 8.0, 5),
        tube(grid, shaft, radius, 5),
    ]
    for piece in pieces:
        canvas.lay(piece, Tissue.BONE, Part.FEMUR)
    # cores last, so that no cortex is left between the pieces
    for piece, thick in zip(pieces, (1.6, 2.4, 1.8, 2.5, 5.0), strict=True):
        canvas.lay(_above(piece, -135.0) if thick == 5.0 else piece, Tissue.YELLOW, Part.FEMUR, grow=-thick)
    canvas.lay(pieces[0], Tissue.MARROW, Part.FEMUR, grow=-1.8)


def _above(piece: Solid | None, level: float) -> Solid | None:
    """The core of a shaft: narrower below a level, where the compact bone is thick."""
    if piece is None:
        return None
    region, distance = piece
    wide = np.clip((region.z - level) / 30, 0, 1) * np.float32(3.0)
    return region, np.asarray(distance - wide, np.float32)
