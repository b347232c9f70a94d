"""Vertebrae, discs, spinal canal and sacrum, all levels at once.

A height belongs to one vertebra and to a share t of it from its lower to its upper end; discs fill t below DISC.
Bodies stand at right angles to the spine's curve, so heights are taken along it: z' = z + y'(z) (y - y(z)).

Source: heights of 36 mm (lumbar), 30 to 18 mm (thoracic) and 17 mm (cervical) with their discs are round numbers chosen
by eye, of the order of the bodies measured by Panjabi et al. (1991, Thoracic human vertebrae: quantitative
three-dimensional anatomy, DOI 10.1097/00007632-199108000-00006; 1992, Human lumbar vertebrae, the same of those).

Limits: no ribs' joints, no facets, twenty-four vertebrae in everyone; the first two cervical ones look like the others.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from chambit.phantoms.body.paint import Canvas
from chambit.phantoms.body.space import Map, Region, ellipsoid, half_space, profile, tube
from chambit.phantoms.body.tissue import Part, Tissue

HEIGHTS: Final = (36.0,) * 5 + tuple(np.linspace(30, 18, 12).tolist()) + (17.0,) * 7
ENDS: Final = np.concatenate([[0.0], np.cumsum(HEIGHTS)])  # lower end of the fifth lumbar vertebra is 0
THORACIC: Final = ENDS[5:17]  # lower ends, from the twelfth to the first thoracic vertebra
DISC: Final = 0.24
# height, depth of the bodies' centre, their half width and half depth, half width and half depth of the canal
CURVE: Final = (
    (-12.0, 38.0, 27.0, 17.0, 13.0, 8.0),
    (18.0, 27.0, 26.0, 17.5, 12.5, 8.5),
    (75.0, 19.0, 24.0, 17.0, 11.5, 8.5),
    (130.0, 24.0, 22.0, 16.5, 11.0, 8.0),
    (180.0, 34.0, 20.0, 16.0, 10.5, 8.0),
    (240.0, 47.0, 16.5, 15.0, 8.5, 7.5),
    (300.0, 56.0, 15.0, 14.5, 8.0, 7.5),
    (360.0, 57.0, 14.5, 13.0, 8.0, 7.5),
    (410.0, 50.0, 14.0, 11.0, 8.5, 7.5),
    (455.0, 39.0, 13.5, 9.5, 10.0, 7.5),
    (500.0, 28.0, 11.5, 8.0, 11.0, 7.5),
    (545.0, 23.0, 10.5, 8.0, 11.5, 8.0),
    (585.0, 25.0, 10.0, 8.0, 12.0, 8.5),
)
# height, depth of the sacrum's centre, half width, half depth
SACRUM: Final = (
    (-122.0, 74.0, 6.0, 4.0),
    (-100.0, 86.0, 13.0, 6.0),
    (-70.0, 82.0, 27.0, 11.0),
    (-35.0, 64.0, 45.0, 16.0),
    (-5.0, 42.0, 54.0, 17.0),
    (4.0, 38.0, 50.0, 15.0),
)


def bend(canvas: Canvas, z: Map) -> Map:
    """Return how far sideways the spine lies at heights z, in mm."""
    a, b = canvas.person.shift("scoliosis", (5.0, 2.5, 0.0))[:2]
    return np.asarray(a * np.sin(z / 110) + b * np.cos(z / 60), np.float32)


def lay_spine(canvas: Canvas) -> None:
    """Lay the sacrum, then vertebrae, discs, canal and cord."""
    _sacrum(canvas)
    region = canvas.grid.region((-60, -10, -12), (60, 125, float(ENDS[-1])))
    if region is None:
        return
    y0, wide, deep, canal_w, canal_d = profile(region.z, CURVE)
    slope = (profile(region.z + 4, CURVE)[0] - profile(region.z - 4, CURVE)[0]) / 8
    x, y = region.x - bend(canvas, region.z), region.y - y0
    z = region.z + slope * y
    level = np.clip(np.searchsorted(ENDS, z, side="right") - 1, 0, len(HEIGHTS) - 1)
    height = np.asarray(HEIGHTS, np.float32)[level]
    t = np.asarray((z - ENDS[level]) / height, np.float32)
    size = np.float32(canvas.person.factor("vertebrae", 0.05))
    _arches(canvas, region, (x, y, t, height, level), (wide * size, deep * size, canal_w, canal_d))
    waist = 1 - 0.10 * np.sin(np.pi * np.clip((t - DISC) / (1 - DISC), 0, 1))
    u, v = np.abs(x) / (wide * size * waist), np.abs(y) / (deep * size * waist)
    radial = (np.sqrt(np.sqrt(u**4 + v**4) * 0.5 + 0.5 * (u * u + v * v)) - 1) * deep
    narrow = np.float32(DISC * (1 - 0.35 * canvas.person.years * canvas.person.factor("discs", 0.25)))
    upright = np.maximum((narrow - t) * height, 0 * radial)
    z_low, z_high = np.float32(0.0), ENDS[-1].astype(np.float32)
    whole = np.maximum(radial, np.maximum(z_low - 8 - z, z - z_high))
    canvas.lay((region, whole + 1), Tissue.DISC, Part.DISC)
    body = np.maximum(whole, (narrow - t) * height)
    canvas.lay((region, np.maximum(body, (t - 0.985) * height)), Tissue.BONE, Part.SPINE)
    core = np.maximum(radial + 2.2, np.maximum(upright + (narrow - t) * height + 2.0, (t - 0.94) * height))
    canvas.lay((region, np.maximum(core, z - z_high + 3)), Tissue.MARROW, Part.SPINE)
    _canal(canvas, region, (x, y), (deep * size, canal_w, canal_d))


def _arches(canvas: Canvas, region: Region, local: tuple[NDArray[Any], ...], sizes: tuple[Map, ...]) -> None:
    """Lay pedicles and laminae around the canal, spinous and transverse processes."""
    (x, y, t, height, level), (_, deep, canal_w, canal_d) = local, sizes
    behind = y - deep - canal_d
    ring_x, ring_y = x / (canal_w + 5), behind / (canal_d + 5)
    ring = (np.sqrt(ring_x * ring_x + ring_y * ring_y) - 1) * (canal_d + 5)
    ring = np.maximum(ring, (np.abs(t - 0.60) - 0.30) * height)
    thoracic = (level >= 5) & (level < 17)
    drop = np.where(thoracic, 0.9, 0.25).astype(np.float32)
    reach = np.where(level < 5, 34.0, np.where(thoracic, 34.0, 26.0)).astype(np.float32)
    out = behind - canal_d
    middle = 0.45 * height - drop * out
    along = np.mod(t * height - middle + 0.5 * height, height) - 0.5 * height
    spinous = np.maximum(
        np.maximum(np.abs(x) - 3.2, np.abs(along) - np.where(level < 5, 11.0, 6.0)), np.maximum(out - reach, -out)
    )
    span = np.where(level < 5, 37.0, np.where(thoracic, 30.0, 24.0)).astype(np.float32)
    back = np.where(thoracic, 0.35, 0.12).astype(np.float32)
    across = np.hypot(behind - back * np.abs(x) + 2, (t - 0.55) * height) - np.where(level < 5, 3.8, 5.0)
    transverse = np.maximum(across, np.abs(x) - span)
    arch = np.minimum(np.minimum(ring, spinous), transverse).astype(np.float32)
    canvas.shell((region, arch), Part.SPINE, 2.0)


def _canal(canvas: Canvas, region: Region, local: tuple[Map, Map], sizes: tuple[Map, Map, Map]) -> None:
    (x, y), (deep, canal_w, canal_d) = local, sizes
    behind = y - deep - canal_d
    canal = (np.hypot(x / canal_w, behind / canal_d) - 1) * canal_d
    canvas.lay((region, canal), Tissue.FAT, Part.SPINE)
    canvas.lay((region, canal + 1.2), Tissue.WATER, Part.CORD)
    inner = np.where(region.z > 150, 4.8, 3.0 * np.clip((region.z + 10) / 60, 0.2, 1)).astype(np.float32)
    shift = np.where(region.z > 150, 0.0, 2.5).astype(np.float32)
    cord = np.hypot(x / 1.25, behind - shift) - inner
    canvas.lay((region, cord.astype(np.float32)), Tissue.NERVE, Part.CORD)


def _sacrum(canvas: Canvas) -> None:
    region = canvas.grid.region((-60, 5, -124), (60, 125, 6))
    if region is None:
        return
    y0, wide, deep = profile(region.z, SACRUM)
    y = region.y - y0 - 0.0035 * region.x**2
    solid = (np.hypot(region.x / wide, y / deep) - 1) * deep * np.float32(0.95)
    solid = np.maximum(solid, np.maximum(region.z - 4, -122 - region.z))
    canvas.shell((region, solid), Part.SPINE, 2.0)
    canal = np.hypot(region.x / 8, (y - deep * 0.45) / 4.5) - 1
    canvas.lay((region, np.maximum(canal * 4, -80 - region.z)), Tissue.WATER, Part.SPINE)
    for at, depth in ((-14.0, 48.0), (-38.0, 66.0), (-60.0, 78.0)):
        for sign in (-1.0, 1.0):
            holes = np.array([(sign * 19.0, depth - 26, at - 4), (sign * 17.0, depth + 6, at + 3)])
            canvas.lay(tube(canvas.grid, holes, 4.2, 4), Tissue.FAT, Part.SPINE)
    rump = ellipsoid(canvas.grid, (0, 100, -60), (4, 12, 34))
    if rump is not None:
        canvas.shell((rump[0], np.maximum(rump[1], half_space(rump[0], (0, 60, 0), (0, -1, 0)))), Part.SPINE, 1.5)
