"""Pieces of a phantom embryo, each put into a scene as optical path and into the layout as a part.

Layout values are those of `PARTS`: 1 zona, 2 to 17 cells, then inner cell mass, trophectoderm, cavity, fragments,
pronuclei and polar bodies. A compacted mass is one cell, the first.
"""

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from chambit.phantoms.embryo.cells import Cells
from chambit.phantoms.embryo.couples import MOST_CELLS
from chambit.phantoms.embryo.optics import Canvas, Map, Scene, Window, half_chord, put, window

PARTS: Final[Mapping[str, int]] = MappingProxyType(
    {"zona": 1}
    | {f"cell {number}": 1 + number for number in range(1, MOST_CELLS + 1)}
    | {"inner cell mass": 18, "trophectoderm": 19, "cavity": 20, "fragments": 21, "pronuclei": 22, "polar bodies": 23}
)
"""Part -> its value in a layout; 0 is everything else."""
GRAIN: Final = 0.6
"""Micrometres between two samples of the cytoplasm's grain."""


class Drawing(NamedTuple):
    """A picture in the making: where it is sampled, the optical path, and the parts uint8 (n, n)."""

    on: Canvas
    scene: Scene
    layout: NDArray[np.uint8]

    def part(self, name: str, at: Window, where: NDArray[np.bool_]) -> None:
        """Say which part is seen at some points."""
        self.layout[at][where] = PARTS[name]


def grain(rng: np.random.Generator, step: float) -> Map:
    """A tile of cytoplasm's grain, about standard normal, one cell every `step` micrometres (a multiple of GRAIN)."""
    raw = rng.standard_normal((360, 360), dtype=np.float32)
    tile = ndimage.gaussian_filter(raw, 1.3, mode="wrap") * 4.4 + ndimage.gaussian_filter(raw, 5.0, mode="wrap") * 9.0
    fold = max(1, round(step / GRAIN))
    side = 360 // fold
    return np.asarray(tile[: side * fold, : side * fold].reshape(side, fold, side, fold).mean((1, 3)), np.float32)


def grained(tile: Map, on: Canvas, at: Window, x: float, y: float, shift: int) -> Map:
    """The grain at some points, moving with a point (x, y) of the embryo; `shift` tells cells apart."""
    step = GRAIN * max(1, round(on.step / GRAIN))
    side = len(tile)
    columns = (on.x[0, at[1]] - x) / step + 37.0 * shift
    rows = (on.y[at[0], 0] - y) / step + 61.0 * shift
    found = ndimage.map_coordinates(
        tile, np.broadcast_arrays(rows[:, None] % side, columns[None] % side), order=1, mode="grid-wrap"
    )
    return np.asarray(found, np.float32)


def zona(drawing: Drawing, inner: float, outer: float, oval: tuple[float, float], grain_tile: Map) -> None:
    """The zona pellucida, a shell between two radii.

    Args:
        drawing: where to.
        inner: radius of its inner border, micrometres.
        outer: of its outer border.
        oval: how much the outer border departs from a circle, and the angle of that.
        grain_tile: its texture.
    """
    on = drawing.on
    at = window(on, 0, 0, outer * 1.06)
    turn = np.arctan2(on.y[at], on.x[at])
    edge: Map = 1 + np.float32(oval[0]) * np.cos(2 * (turn - np.float32(oval[1])), dtype=np.float32)
    within: Map = half_chord(on, at, 0, 0, inner * edge)
    shell: Map = half_chord(on, at, 0, 0, outer * edge) - within
    texture = 1 + 0.022 * grained(grain_tile, on, at, 0, 0, 50)
    put(drawing.scene, at, 0.0, 0.50 * shell * texture, 0.5)
    square = on.x[at] ** 2 + on.y[at] ** 2
    drawing.part("zona", at, (square < (outer * edge) ** 2) & (within == 0))


def blastomeres(drawing: Drawing, cells: Cells, tile: Map, coarse: float, weight: float, nuclei: float) -> None:
    """Separate cells, flat where two meet; the layout has the thickest at each point.

    Args:
        drawing: where to.
        cells: turned as they are seen.
        tile: grain of their cytoplasm.
        coarse: how grainy.
        weight: of their optical path, 1 before compaction.
        nuclei: how well nuclei are seen, 0 to 1.
    """
    on = drawing.on
    thickest = np.zeros_like(on.x)
    for number in np.argsort(cells.centres[:, 2]):
        (x, y, z), radius = cells.centres[number], float(cells.radii[number])
        at = window(on, x, y, radius)
        half = half_chord(on, at, x, y, radius)
        low, high = z - half, z + half
        for other in range(len(cells.radii)):
            if other != number:
                low, high = _cut(on, at, cells, number, other, low, high)
        path = np.maximum(high - low, 0)
        rough = 1 + 0.0 * path if coarse <= 0 else grained(tile, on, at, x, y, int(number))
        body = path + np.float32(1.1 * coarse) * rough * np.clip(path / 25, 0, 1)
        put(drawing.scene, at, float(z), np.float32(weight) * body)
        if nuclei > 0:
            size = 0.30 * radius
            put(drawing.scene, window(on, x, y, size), float(z), _dip(on, x, y, size, 0.35 * nuclei), 0.0)
        ahead = path > thickest[at]
        thickest[at][ahead] = path[ahead]
        drawing.part(f"cell {number + 1}", at, ahead)


def _cut(on: Canvas, at: Window, cells: Cells, number: int, other: int, low: Map, high: Map) -> tuple[Map, Map]:
    """Leave what lies on a cell's own side of the plane in which it meets another."""
    between = cells.centres[other] - cells.centres[number]
    distance = float(np.sqrt((between**2).sum()))
    mine, theirs = float(cells.radii[number]), float(cells.radii[other])
    if distance >= mine + theirs or distance < 1e-6:
        return low, high
    n = between / distance
    reach = (distance**2 + mine**2 - theirs**2) / (2 * distance)
    x, y, z = cells.centres[number]
    rest = np.float32(reach) - np.float32(n[0]) * (on.x[at] - x) - np.float32(n[1]) * (on.y[at] - y)
    if abs(n[2]) < 0.02:
        return low, np.where(rest > 0, high, low)
    wall = (z + rest / n[2]).astype(np.float32)
    return (low, np.minimum(high, wall)) if n[2] > 0 else (np.maximum(low, wall), high)


def _dip(on: Canvas, x: float, y: float, radius: float, depth: float) -> Map:
    """Something clearer than what surrounds it."""
    return -np.float32(2 * depth) * half_chord(on, window(on, x, y, radius), x, y, radius)


def pronuclei(
    drawing: Drawing, middle: NDArray[np.float64], apart: NDArray[np.float64], rng: np.random.Generator
) -> None:
    """Two pronuclei side by side, each with a row of nucleoli where they meet.

    Args:
        drawing: where to.
        middle: between them, (3,).
        apart: from the middle to one of them, (3,), about 11 micrometres long.
        rng: of their sizes and nucleoli.
    """
    on = drawing.on
    for side, size in zip((-1, 1), rng.uniform(11.0, 13.5, 2), strict=True):
        x, y, z = (middle + side * apart).tolist()
        at = window(on, x, y, size)
        put(drawing.scene, at, z, _dip(on, x, y, size, 0.9), 0.4)
        drawing.part("pronuclei", at, half_chord(on, at, x, y, size) > 0)
        along = np.array([-apart[1], apart[0]]) / max(float(np.hypot(*apart[:2])), 1e-6)
        for place in rng.uniform(-0.55, 0.55, int(rng.integers(4, 8))):
            dot = np.array([x, y]) - side * 0.45 * apart[:2] + place * size * along
            sphere(drawing, "", (float(dot[0]), float(dot[1]), z), float(rng.uniform(1.6, 2.4)), 2.4)


def sphere(drawing: Drawing, name: str, at: tuple[float, float, float], radius: float, weight: float = 1.0) -> None:
    """A small round thing: a fragment, a polar body, debris; without a name it is no part of the layout."""
    x, y, z = at
    where = window(drawing.on, x, y, radius)
    half = half_chord(drawing.on, where, x, y, radius)
    put(drawing.scene, where, z, np.float32(2 * weight) * half)
    if name:
        drawing.part(name, where, half > 0)


def mass(drawing: Drawing, radius: float, lobes: Map, tile: Map, coarse: float, weight: float) -> None:
    """A compacted mass of cells with a scalloped border, and the bumps of its cells, faint.

    Args:
        drawing: where to.
        radius: of the mass, micrometres.
        lobes: float32 (k, 3): directions of its cells, units.
        tile: grain.
        coarse: how grainy.
        weight: of the optical path, 0 to 1.
    """
    on = drawing.on
    at = window(on, 0, 0, radius * 1.05)
    body = 2 * half_chord(on, at, 0, 0, radius * (1 + scalloped(on, at, radius, lobes, 0.035)))
    rough = np.float32(1.3 * coarse) * grained(tile, on, at, 0, 0, 20) * np.clip(body / 25, 0, 1)
    put(drawing.scene, at, 0.0, np.float32(weight) * (0.8 * body + rough))
    drawing.part("cell 1", at, body > 0)
    for x, y, z in (0.66 * radius * lobes).tolist():
        size = 0.36 * radius
        bump = window(on, x, y, size)
        put(drawing.scene, bump, z, np.float32(0.55 * weight) * half_chord(on, bump, x, y, size), 0.3)


def scalloped(on: Canvas, at: Window, radius: float, lobes: Map, height: float) -> Map:
    """Bumps of a round border, one for each cell that is seen at it: radius over its mean less 1.

    The bumps fade towards the middle, where an angle means nothing.

    Args:
        on: where it is sampled.
        at: which part of it.
        radius: of the border, micrometres.
        lobes: float32 (k, 3), directions of the cells.
        height: of a bump.
    """
    angles = np.linspace(-math.pi, math.pi, 361)
    border = lobes[np.abs(lobes[:, 2]) < 0.55]
    gap = angles[:, None] - np.arctan2(border[:, 1], border[:, 0])[None]
    bumps = np.exp((np.cos(gap) - 1) * 14).sum(1)
    table = (height * (bumps - bumps.mean())).astype(np.float32)
    place = (np.arctan2(on.y[at], on.x[at]) + np.float32(math.pi)) * np.float32(360 / (2 * math.pi))
    low = np.clip(place.astype(np.int32), 0, 359)
    share = place - low
    faded = np.minimum((on.x[at] ** 2 + on.y[at] ** 2) / np.float32(radius * radius), 1) ** 3
    return np.asarray((table[low] * (1 - share) + table[low + 1] * share) * faded, np.float32)
