"""Lungs with their vessels, heart with four chambers, great vessels, airways and oesophagus.

The lungs fill the cavity above two domes D(x, y) = top - 66 (0.4 q**2 + 0.6 q**4) of the diaphragm, outside the
mediastinum. Vessels fork by Murray's law: r_child = r_parent * share**(1/3) (Murray 1926, DOI 10.1073/pnas.12.3.207).

Source: places laid out by eye on the Visible Human (Spitzer et al. 1996, DOI 10.1136/jamia.1996.96236280).

Limits: no fissures, no pericardial recesses, one cardiac phase, no coronary arteries.
"""

from functools import lru_cache
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from chambit.phantoms.body.paint import Canvas
from chambit.phantoms.body.person import Person
from chambit.phantoms.body.space import Grid, Map, Region, curve, ellipsoid, profile, tube
from chambit.phantoms.body.spine import CURVE
from chambit.phantoms.body.tissue import Part, Tissue
from chambit.phantoms.body.wall import Trunk

STEPS: Final = 24  # points along a piece of a vessel when it is projected
DOMES: Final = (242.0, 228.0)  # tops of the right and the left dome at half breath
HEART: Final = (25.0, -26.0, 268.0)
LONG: Final = np.array([0.68, -0.50, -0.54])
# name: points (x, y, z) and radii, then whether it is an artery
VESSELS: Final[tuple[tuple[str, tuple[tuple[float, float, float, float], ...]], ...]] = (
    (
        "aorta",
        (
            (8, -14, 284, 13),
            (-8, -26, 312, 15),
            (-14, -26, 342, 15),
            (-6, -14, 366, 14),
            (12, 10, 374, 13.5),
            (25, 34, 362, 13),
            (28, 42, 335, 12.5),
            (27, 39, 270, 12),
            (19, 18, 212, 11.5),
            (11, 3, 160, 10.5),
            (8, -8, 110, 9.5),
            (5, -11, 70, 9),
            (3, -6, 42, 9),
        ),
    ),
    (
        "brachiocephalic",
        ((-10, -10, 370, 7), (-22, -2, 400, 7), (-28, 6, 424, 6), (-31, 12, 470, 4), (-31, 12, 560, 3.5)),
    ),
    ("carotid", ((6, 4, 376, 5), (14, 4, 410, 5), (28, 10, 450, 4), (31, 12, 500, 4), (31, 12, 560, 3.5))),
    ("subclavian left", ((20, 20, 374, 6), (30, 28, 412, 5.5), (64, 14, 440, 5), (120, 4, 420, 4.5))),
    ("subclavian right", ((-24, 2, 410, 6), (-40, 16, 432, 5.5), (-70, 12, 440, 5), (-120, 4, 420, 4.5))),
    ("iliac left", ((3, -6, 44, 7), (30, 6, 5, 6), (56, 2, -45, 5), (66, -48, -92, 5), (74, -52, -180, 4.5))),
    ("iliac right", ((3, -6, 44, 7), (-26, 6, 5, 6), (-56, 2, -45, 5), (-66, -48, -92, 5), (-74, -52, -180, 4.5))),
    ("mesenteric", ((8, -14, 150, 4), (5, -26, 140, 4), (2, -34, 100, 3.5), (-10, -36, 40, 3))),
    ("renal left", ((8, -4, 136, 3.5), (30, 10, 132, 3.2), (52, 26, 128, 3))),
    ("renal right", ((6, -2, 134, 3.5), (-26, 18, 128, 3.2), (-52, 28, 118, 3))),
    ("coeliac", ((10, -8, 165, 4), (14, -20, 170, 4), (45, -2, 182, 3), (80, 26, 190, 3))),
    (
        "pulmonary trunk",
        ((20, -38, 292, 13), (23, -30, 320, 13), (24, -10, 334, 12), (36, 18, 344, 10.5), (46, 32, 334, 9)),
    ),
    ("pulmonary right", ((24, -10, 334, 11), (-4, 2, 330, 10), (-34, 8, 324, 9), (-46, 14, 312, 7))),
)
VEINS: Final[tuple[tuple[str, tuple[tuple[float, float, float, float], ...]], ...]] = (
    (
        "lower cava",
        (
            (-18, 0, 38, 10),
            (-21, 0, 90, 10.5),
            (-23, 4, 150, 11),
            (-23, 4, 200, 12),
            (-21, -4, 236, 12),
            (-20, -10, 262, 11),
        ),
    ),
    ("upper cava", ((-26, -14, 290, 9.5), (-30, -16, 325, 9.5), (-30, -16, 366, 9))),
    (
        "brachiocephalic right",
        ((-30, -16, 364, 8), (-42, -10, 400, 7.5), (-50, 2, 440, 6.5), (-42, 8, 500, 6), (-40, 14, 560, 5)),
    ),
    (
        "brachiocephalic left",
        (
            (-28, -20, 362, 8),
            (8, -36, 380, 7.5),
            (40, -18, 404, 7),
            (50, 0, 440, 6.5),
            (42, 8, 500, 6),
            (40, 14, 560, 5),
        ),
    ),
    ("iliac left", ((-17, 2, 40, 8), (20, 16, 4, 7.5), (46, 14, -45, 6.5), (60, -38, -92, 6), (64, -46, -180, 5.5))),
    (
        "iliac right",
        ((-17, 2, 40, 8), (-32, 16, 4, 7.5), (-50, 14, -45, 6.5), (-60, -38, -92, 6), (-64, -46, -180, 5.5)),
    ),
    ("renal left", ((-16, -2, 138, 4.5), (8, -20, 140, 4), (30, -2, 134, 4.5), (54, 24, 130, 4))),
    ("renal right", ((-22, 4, 130, 4.5), (-40, 14, 124, 4.5), (-54, 26, 118, 4))),
    ("portal", ((8, -26, 132, 5.5), (-10, -18, 146, 6.5), (-30, -12, 166, 6.5))),
    ("splenic", ((2, -24, 142, 4.5), (30, -20, 156, 4), (60, 10, 176, 4), (88, 34, 190, 4))),
    ("mesenteric", ((8, -26, 134, 5), (-4, -38, 100, 4.5), (-14, -38, 50, 4))),
)


def dome(person: Person, region: Region, breath: float) -> Map:
    """Return the diaphragm's height z over each point (1, y, x); a breath, in mm, moves it down."""
    tops = np.array(DOMES) + person.shift("domes", (5.0, 5.0, 0.0))[:2] - breath
    top = np.where(region.x < 0, np.float32(tops[0]), np.float32(tops[1]))
    deep = np.where(region.y < 0, np.float32(116.0), np.float32(90.0))
    aside = np.abs(region.x) - 55
    q = np.hypot(aside / np.where(aside < 0, np.float32(110), np.float32(76)), region.y / deep)
    q2 = q * q
    return np.asarray(top - 66 * q2 * (0.4 + 0.6 * q2), np.float32)


def lay_lungs(canvas: Canvas, body: Trunk, breath: float) -> None:
    """Lay both lungs, their vessels, and the fat of the mediastinum between them."""
    region, person = body.region, canvas.person
    if float(region.z.max()) < 110:
        return
    above = (dome(person, region, breath) - region.z) * np.float32(0.75)
    chest = np.maximum(body.cavity, np.maximum(above, region.z - 455))
    canvas.lay((region, chest), Tissue.FAT, Part.FAT)
    width = 4 + 17 * np.clip((region.y + 64) / 26, 0, 1) - 7 * np.clip((region.y - 40) / 20, 0, 1)
    width = width + np.clip((region.z - 396) / 40, 0, 1) * 12 + 4 * np.clip((300 - region.z) / 60, 0, 1)
    offset = np.float32(person.shift("mediastinum", 3.0)[0])
    lung = np.maximum(chest + 1.0, (width - np.abs(region.x - offset)).astype(np.float32))
    spine = profile(region.z, CURVE)[0] + 28
    lung = np.maximum(lung, (1 - np.hypot(region.x / 30, (region.y - spine) / 36)) * 30).astype(np.float32)
    # gravity and a slow mottle: lungs are denser at the back
    shade = 0.5 * np.clip(region.y / 60, -1, 1) + 0.2
    canvas.lay((region, lung), Tissue.LUNG, Part.LUNG, shade=np.asarray(shade, np.float32))
    if canvas.detail and (lung < 0).any():
        _tree(canvas)


def shadows(person: Person, grid: Grid) -> Map:
    """Return how many mm of pulmonary vessel a ray from front to back crosses, float32 (z, x) of a grid.

    Each piece's volume is shared out along its axis and blurred by half its radius. What lies outside the lungs is not
    left out.
    """
    lines = branches(person.seed, person.number)[0]
    share = ((np.arange(STEPS) + 0.5) / STEPS)[None, :, None]
    points = lines[:, :1] * (1 - share) + lines[:, 1:] * share
    long = np.linalg.norm(lines[:, 1, :3] - lines[:, 0, :3], axis=1)[:, None] / STEPS
    volume = np.pi * points[:, :, 3] ** 2 * long
    cell = float(grid.x[1] - grid.x[0]), float(grid.z[1] - grid.z[0])
    column = np.rint((points[:, :, 0] - float(grid.x[0])) / cell[0]).astype(int)
    row = np.rint((points[:, :, 2] - float(grid.z[0])) / cell[1]).astype(int)
    seen = (column >= 0) & (column < grid.x.size) & (row >= 0) & (row < grid.z.size)
    depth: Map = np.zeros((grid.z.size, grid.x.size), np.float32)
    radius = points[:, :, 3]
    for low, high in pairwise((0.0, 1.5, 3.0, 99.0)):
        here = seen & (radius >= low) & (radius < high)
        if here.any():
            at = row[here] * grid.x.size + column[here]
            layer = np.bincount(at, volume[here], depth.size).reshape(depth.shape) / (cell[0] * cell[1])
            depth += ndimage.gaussian_filter(layer, max(0.6, 0.5 * float(radius[here].mean()) / cell[0]))
    return depth


def _tree(canvas: Canvas) -> None:
    lines, boxes = branches(canvas.person.seed, canvas.person.number)
    first, last = canvas.grid.corners
    for line in lines[((boxes[:, 1] >= first) & (boxes[:, 0] <= last)).all(axis=1)]:
        solid = tube(canvas.grid, line[:, :3], line[:, 3])
        if solid is not None:
            canvas.lay(solid, Tissue.BLOOD, Part.LUNG, within=canvas.share(solid[0], Part.LUNG))


@lru_cache(maxsize=8)
def branches(seed: int, index: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Grow the pulmonary vessels of one person.

    Args:
        seed: Cohort seed.
        index: The person's index.

    Returns:
        Pieces (S, 2, 4), each with two rows x, y, z, radius; and their boxes (S, 2, 3), lowest and highest corner.
    """
    rng = np.random.default_rng([seed, index, 3])
    grown = []
    for sign in (-1.0, 1.0):
        count = 9
        at = np.array([sign * 44, 16.0, 322]) + rng.normal(0, 1, (count, 3)) * (2, 8, 10)
        turn = np.linspace(-1.35, 1.35, count) + 0.15 * rng.standard_normal(count)
        depth = rng.uniform(-1.0, 1.0, count)
        heading = np.stack([sign * np.cos(turn), depth, np.sin(turn) - 0.1], axis=1)
        radius = 5.2 * np.exp(0.15 * rng.standard_normal(count))
        for level in range(5):
            heading /= np.linalg.norm(heading, axis=1, keepdims=True)
            length = 30 * 0.86**level * np.clip(1 + 0.25 * rng.standard_normal(len(at)), 0.5, 1.6)
            to = at + heading * length[:, None]
            share = rng.uniform(0.3, 0.7, len(at))
            tip = radius * np.cbrt(np.maximum(share, 1 - share))
            ends = (np.column_stack([at, radius]), np.column_stack([to, tip]))
            grown.append(np.stack(ends, axis=1))
            swing = rng.normal(0, 1, (len(at), 3)) * 0.55
            at = np.concatenate([to, to])
            heading = np.concatenate([heading + swing * (1 - share)[:, None], heading - swing * share[:, None]])
            radius = np.concatenate([radius * np.cbrt(share), radius * np.cbrt(1 - share)]) * 0.93
    lines = np.concatenate(grown)
    reach = lines[:, :, 3].max(axis=1)[:, None]
    boxes = np.stack([lines[:, :, :3].min(axis=1) - reach, lines[:, :, :3].max(axis=1) + reach], axis=1)
    return lines, boxes


def _frame() -> NDArray[np.float64]:
    across = np.cross(LONG, (0.0, 0.0, 1.0))
    across /= np.linalg.norm(across)
    return np.stack([LONG / np.linalg.norm(LONG), across, np.cross(LONG, across)])


def lay_heart(canvas: Canvas, breath: float) -> None:
    """Lay fat, myocardium and the four chambers."""
    person, grid, frame = canvas.person, canvas.grid, _frame()
    size = person.factor("heart", 0.06) * (1 + 0.06 * person.years) * (0.95 if person.sex == "F" else 1.0)
    move = person.shift("heart", 3.0) - np.array([0.0, 0.0, 0.6 * breath])

    def blob(
        centre: tuple[float, float, float], radii: tuple[float, float, float], turned: bool = True, pad: float = 8.0
    ) -> tuple[Region, Map] | None:
        at = (np.array(centre) - HEART) * size + HEART + move
        return ellipsoid(grid, at.tolist(), [r * size for r in radii], frame if turned else None, pad)

    sac = blob(HEART, (64, 49, 47))
    if sac is not None:
        bumps = canvas.waves(sac[0], "pericardium", 24.0)
        canvas.lay((sac[0], sac[1] + 1.5 * bumps), Tissue.FAT, Part.HEART, grow=4.0)
    canvas.lay(sac, Tissue.HEART, Part.HEART, grow=-2.0)
    chambers = (
        ((-19.0, -14.0, 270.0), (24.0, 25.0, 30.0), False, Tissue.VEIN),
        ((16.0, -50.0, 256.0), (42.0, 20.0, 30.0), True, Tissue.VEIN),
        ((12.0, 22.0, 294.0), (33.0, 17.0, 22.0), False, Tissue.BLOOD),
    )
    for centre, radii, turned, blood in chambers:
        found = blob(centre, radii, turned)
        canvas.lay(found, Tissue.HEART, Part.HEART, grow=3.0)
        canvas.lay(found, blood, Part.HEART)
    left = blob((41.0, -22.0, 256.0), (48.0, 30.0, 29.0))
    canvas.lay(left, Tissue.HEART, Part.HEART)
    if left is not None:
        trabeculae = canvas.waves(left[0], "left ventricle", 9.0)
        canvas.lay((left[0], left[1] + 10.5 + 1.6 * trabeculae), Tissue.BLOOD, Part.HEART)


def lay_vessels(canvas: Canvas, breath: float, heart: bool) -> None:
    """Lay arteries and veins outside the lungs; thin ones get a wall of soft tissue.

    Args:
        canvas: What is painted.
        breath: How far the heart's end of them is moved down, in mm.
        heart: Whether to lay the vessels at and above the heart, or those of abdomen, pelvis and thighs.
    """
    for name, tissue, high, rows in courses(canvas.person):
        if high is not heart:
            continue
        line = rows.copy()
        line[:, 2] -= 0.4 * breath * np.exp(-(((line[:, 2] - 270) / 60) ** 2))
        solid = tube(canvas.grid, line[:, :3], line[:, 3], 4)
        canvas.lay(solid, Tissue.GUT, Part.VESSEL, grow=1.2)
        canvas.lay(solid, tissue, Part.VESSEL)
        if name in ("aorta", "iliac left", "iliac right") and tissue is Tissue.BLOOD:
            _plaques(canvas, solid)


@lru_cache(maxsize=8)
def courses(person: Person) -> tuple[tuple[str, Tissue, bool, NDArray[np.float64]], ...]:
    """Return each named vessel of a person: name, tissue, whether it reaches the heart's height, rows (x, y, z, r)."""
    old = 1 + 0.22 * person.years
    found = []
    for names, tissue in ((VEINS, Tissue.VEIN), (VESSELS, Tissue.BLOOD)):
        for name, rows in names:
            line = np.array(rows, float)
            line[:, :3] += person.shift(name, 1.5)
            line[:, 3] *= person.factor(name, 0.06) * (old if name == "aorta" else 1.0)
            found.append((name, tissue, max(row[2] for row in rows) > 240, curve(line, 3)))
    return tuple(found)


def _plaques(canvas: Canvas, solid: tuple[Region, Map] | None) -> None:
    """Calcium in the wall of old arteries."""
    if solid is None or canvas.person.years < 0.5:
        return
    field = canvas.waves(solid[0], "plaques", 9.0)
    spots = np.maximum(np.abs(solid[1]) - 1.1, (np.float32(1.25 - 0.6 * canvas.person.years) - field) * 6)
    canvas.lay((solid[0], spots), Tissue.BONE, Part.VESSEL)


def lay_airways(canvas: Canvas, grid: Grid) -> None:
    """Lay trachea, main bronchi, larynx and oesophagus."""
    windpipe = curve(
        np.array(
            [
                (0.0, 2, 545, 9),
                (0, 6, 515, 8.5),
                (0, 14, 470, 8.5),
                (-1, 22, 420, 8.8),
                (-3, 24, 380, 9),
                (-2, 25, 352, 9),
            ]
        ),
        3,
    )
    left = np.array([(-2.0, 25, 354, 7), (14, 28, 338, 6.5), (34, 29, 324, 6), (50, 30, 312, 4.5)])
    right = np.array([(-2.0, 25, 354, 7.5), (-16, 26, 336, 7), (-34, 26, 322, 6), (-48, 26, 306, 4.5)])
    gullet = curve(
        np.array(
            [
                (1.0, 20, 505, 6),
                (4, 32, 430, 6),
                (3, 36, 360, 6.5),
                (6, 34, 300, 6.5),
                (16, 22, 240, 7),
                (32, 6, 216, 8),
            ]
        ),
        3,
    )
    food = tube(grid, gullet[:, :3], gullet[:, 3], 4)
    canvas.lay(food, Tissue.GUT, Part.BOWEL)
    canvas.lay(food, Tissue.AIR, Part.BOWEL, grow=-5.2)
    for line in (left, right, windpipe):
        pipe = tube(grid, line[:, :3], line[:, 3], 4)
        canvas.lay(pipe, Tissue.CARTILAGE, Part.AIRWAY, grow=2.0)
        canvas.lay(pipe, Tissue.AIR, Part.AIRWAY)
    thyroid = [
        tube(grid, np.array([(s * 17.0, 4, 468), (s * 19, 10, 492), (s * 14, 10, 510)]), np.array([7.0, 9, 5]))
        for s in (-1, 1)
    ]
    for lobe in thyroid:
        canvas.lay(lobe, Tissue.GLAND, Part.GLAND)
