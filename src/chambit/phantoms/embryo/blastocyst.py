"""The blastocyst: a shell of flat cells around a cavity, and the inner cell mass on one side of it.

    wall  = sphere - cavity;  the cavity's sphere leans against the shell opposite the inner cell mass while it fills

Grades follow the words of Gardner and Schoolcraft (1999): inner cell mass A large and tightly packed, B several cells
loosely grouped, C very few; trophectoderm A many cells in one sheet, B fewer, C few large ones. One grade stands for
both here. Sizes are by eye.
"""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from chambit.phantoms.embryo.optics import Map, half_chord, put, window
from chambit.phantoms.embryo.parts import Drawing, grained, scalloped


class Grade(NamedTuple):
    """How a grade looks: cells of the shell, radius (micrometres) and cells of the inner cell mass, its looseness."""

    shell: int
    radius: float
    cells: int
    loose: float


GRADES: Final = {"A": Grade(64, 35.0, 22, 0.10), "B": Grade(42, 28.0, 12, 0.28), "C": Grade(24, 19.0, 6, 0.50)}


class Hollow(NamedTuple):
    """A blastocyst's own shape, turned as it is seen.

    Attributes:
        side: direction of the inner cell mass, (3,).
        shell: directions of the shell's cells, float32 (k, 3).
        inner: places of the inner cells, float32 (m, 3), in units of the mass's radius.
        grade: how it looks.
    """

    side: NDArray[np.float64]
    shell: Map
    inner: Map
    grade: Grade


def hollow(grade: str, rng: np.random.Generator) -> Hollow:
    """Draw a blastocyst's shape; the inner cell mass lies near the plane of the picture more often than not."""
    look = GRADES[grade]
    side = rng.standard_normal(3) * (1.0, 1.0, 0.55)
    inner = rng.standard_normal((look.cells, 3))
    inner *= (rng.uniform(0.1, 1.0, (look.cells, 1)) ** (1 / 3)) / np.linalg.norm(inner, axis=1, keepdims=True)
    return Hollow(side / np.linalg.norm(side), sphere_points(look.shell, rng), inner.astype(np.float32), look)


def sphere_points(count: int, rng: np.random.Generator) -> Map:
    """Directions spread evenly over a sphere, with some disorder, float32 (count, 3)."""
    z = 1 - (2 * np.arange(count) + 1) / count
    turn = np.arange(count) * (np.pi * (3 - np.sqrt(5)))
    wide = np.sqrt(1 - z**2)
    points = np.stack([wide * np.cos(turn), wide * np.sin(turn), z], axis=1)
    points += rng.standard_normal((count, 3)) * 0.45 / np.sqrt(count)
    points = points @ np.linalg.qr(rng.standard_normal((3, 3)))[0].T
    return np.asarray(points / np.linalg.norm(points, axis=1, keepdims=True), np.float32)


def turned(shape: Hollow, rotation: NDArray[np.float64]) -> Hollow:
    """The blastocyst after a rotation (3, 3)."""
    turn = rotation.T.astype(np.float32)
    return shape._replace(side=rotation @ shape.side, shell=shape.shell @ turn, inner=shape.inner @ turn)


def draw(
    drawing: Drawing, shape: Hollow, radius: float, cavity: float, weight: float, tile: Map, coarse: float
) -> NDArray[np.bool_]:
    """Put the shell, the cavity and the inner cell mass into a drawing.

    Args:
        drawing: where to.
        shape: turned as it is seen.
        radius: of the embryo inside the zona, micrometres.
        cavity: how far it has filled, 0 to 1.
        weight: how much of the embryo is drawn this way, 0 (still a compact mass) to 1.
        tile: grain.
        coarse: how grainy.

    Returns:
        Where the inner cell mass is seen, bool (n, n); nowhere before the cavity is half full.
    """
    on, scene = drawing.on, drawing.scene
    thick = 9.0 - 4.0 * cavity
    at = window(on, 0, 0, radius * 1.03)
    bumps = scalloped(on, at, radius, shape.shell, 1.0)
    whole = half_chord(on, at, 0, 0, radius * (1 + 0.010 * bumps))
    hole = cavity * (radius - thick)
    lean = -(radius - thick - hole) * shape.side
    # the flat cells bulge inwards where their nuclei are
    bulge = np.minimum(1 - 0.045 * cavity * bumps, 1.03)
    empty = half_chord(on, at, float(lean[0]), float(lean[1]), hole * bulge)
    empty = np.minimum(empty, whole)
    body = 2 * (whole - empty)
    rough = np.float32(1.2 * coarse) * grained(tile, on, at, 0, 0, 21) * np.clip(body / 25, 0, 1)
    put(scene, at, 0.0, np.float32(weight) * (0.85 * body + rough))
    drawing.part("trophectoderm", at, whole > 0)
    drawing.part("cavity", at, empty > 0)
    _mosaic(drawing, shape, radius, weight * cavity)
    return _inner_mass(drawing, shape, radius - 0.6 * thick, cavity, weight, tile, coarse)


def _mosaic(drawing: Drawing, shape: Hollow, radius: float, weight: float) -> None:
    """The shell's cells seen from above and below: faint humps with a nucleus each."""
    on = drawing.on
    size = 1.5 * radius / np.sqrt(len(shape.shell))
    for x, y, z in (0.96 * radius * shape.shell).tolist():
        at = window(on, x, y, size)
        flat = max(abs(z) / radius, 0.25)
        hump = half_chord(on, at, x, y, size)
        put(drawing.scene, at, z, np.float32(0.42 * weight * flat) * hump, 0.2)
        if flat > 0.3:
            near = window(on, x, y, 0.33 * size)
            put(drawing.scene, near, z, np.float32(0.6 * weight) * half_chord(on, near, x, y, 0.33 * size), 0.2)


def _inner_mass(
    drawing: Drawing, shape: Hollow, room: float, cavity: float, weight: float, tile: Map, coarse: float
) -> NDArray[np.bool_]:
    """A lump of small cells against the shell; its border follows the shell on one side."""
    on, look = drawing.on, shape.grade
    seen = np.zeros(on.x.shape, bool)
    size = look.radius * (0.75 + 0.25 * cavity)
    x, y, z = ((room - 0.72 * size) * shape.side).tolist()
    at = window(on, x, y, 1.6 * size)
    within = half_chord(on, at, 0, 0, room) > 0
    lump = half_chord(on, at, x, y, size) * within
    rough = np.float32(1.6 * coarse) * grained(tile, on, at, x, y, 22) * np.clip(lump / 10, 0, 1)
    put(drawing.scene, at, z, np.float32(weight * cavity) * ((1.3 - look.loose) * lump + rough))
    small = 0.30 * look.radius + 3.0
    covered = lump > 0
    spread = 0.75 + 0.5 * look.loose
    for dx, dy, dz in (size * spread * shape.inner).tolist():
        cell = half_chord(on, at, x + dx, y + dy, small) * within
        put(drawing.scene, at, z + dz, np.float32((0.7 + 0.5 * look.loose) * weight * cavity) * cell)
        covered |= cell > 0.3 * small
    if cavity >= 0.5:
        seen[at] = covered
    return seen
