"""Pictures of one embryo over time: its pose and neighbourhood frame by frame, then what the microscope shows.

What stays (cells' lineage, grain, debris, the well) is drawn once for each embryo in a `Portrait`; a frame depends on
the embryo, its number and its focal plane alone.

Limits: one well with a smooth round wall; the embryo never touches it; no bubbles, no condensation, no lost focus.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from chambit.phantoms import canvas
from chambit.phantoms.embryo import blastocyst, cells, optics, parts
from chambit.phantoms.embryo.couples import Embryo, State, stream
from chambit.phantoms.embryo.optics import SITES, Canvas, Map

WELL = 124.0
"""Radius of a micro-well, micrometres."""
FRAGMENTS = 30


class Pose(NamedTuple):
    """Where the embryo lies in one frame: micrometres right and down of the middle, rotation (3, 3), lamp."""

    dx: float
    dy: float
    rotation: NDArray[np.float64]
    lamp: float


class Portrait(NamedTuple):
    """What is drawn once for each embryo.

    Attributes:
        embryo: whose.
        pixels: side of the pictures.
        fold: samples per pixel and side.
        lineage: cells after each division.
        lobes: directions of the cells of the compacted mass, float32 (k, 3).
        hollow: shape of the blastocyst.
        loose: fragments, float64 (k, 5): direction, share of the way out, radius in micrometres.
        polar: polar bodies, float64 (2, 4): direction, radius.
        debris: in the well, float64 (k, 4): x, y, z, radius.
        well: the wall's middle, micrometres from the picture's.
        tile: grain of the cytoplasm.
        poses: of each frame.
    """

    embryo: Embryo
    pixels: int
    fold: int
    lineage: list[cells.Cells]
    lobes: Map
    hollow: blastocyst.Hollow
    loose: NDArray[np.float64]
    polar: NDArray[np.float64]
    debris: NDArray[np.float64]
    well: tuple[float, float]
    tile: Map
    poses: tuple[Pose, ...]


class Picture(NamedTuple):
    """One frame: grey uint8 (n, n), parts uint8 (n, n), inner cell mass bool (n, n)."""

    grey: NDArray[np.uint8]
    layout: NDArray[np.uint8]
    mass: NDArray[np.bool_]


def portrait(embryo: Embryo, frames: int, pixels: int) -> Portrait:
    """Draw what stays the same of an embryo.

    Args:
        embryo: whose.
        frames: of its sequence; the first frames of a longer one are the same.
        pixels: side of the pictures, at least 16.
    """
    rng = stream(*embryo.key, 2)
    site = SITES[embryo.couple.site]
    fold = 2 if pixels <= 160 else 1
    ends = [time for time in embryo.clock.divisions if math.isfinite(time)]
    many = int(rng.poisson(2.2))
    debris = np.column_stack([
        rng.uniform(-105, 105, (many, 2)), np.full(many, -28.0), rng.gamma(2.0, 0.9, many) + 0.6
    ])  # fmt: skip
    return Portrait(
        embryo=embryo,
        pixels=pixels,
        fold=fold,
        lineage=cells.lineage(embryo, len(ends) + 1),
        lobes=blastocyst.sphere_points(int(rng.integers(22, 32)), rng),
        hollow=blastocyst.hollow(embryo.grade, rng),
        loose=_loose(embryo, rng),
        polar=np.column_stack([_nearby(rng), rng.uniform(4.5, 7.0, 2)]),
        debris=debris,
        well=(float(rng.uniform(-4, 4)), float(rng.uniform(-4, 4))),
        tile=parts.grain(rng, site.width / (pixels * fold)),
        poses=_poses(embryo, frames),
    )


def _nearby(rng: np.random.Generator) -> NDArray[np.float64]:
    """Two directions (2, 3), not far from each other, near the plane of the picture: the polar bodies'."""
    first = rng.standard_normal(3) * (1, 1, 0.4)
    second = first + 0.5 * rng.standard_normal(3)
    both = np.stack([first, second])
    return np.asarray(both / np.linalg.norm(both, axis=1, keepdims=True))


def _loose(embryo: Embryo, rng: np.random.Generator) -> NDArray[np.float64]:
    """Fragments in one or two nests; how many are shown goes with time."""
    # near the plane of the picture, where the cells leave room
    nests = rng.standard_normal((2, 3)) * (1.0, 1.0, 0.35)
    at = nests[(rng.random(FRAGMENTS) < 0.3).astype(int)] + (0.5, 0.5, 0.3) * rng.standard_normal((FRAGMENTS, 3))
    at /= np.linalg.norm(at, axis=1, keepdims=True)
    radius = np.clip(rng.gamma(3.0, 1.5, FRAGMENTS) + 1.5, 2.5, 12.0) * (0.8 + embryo.fragments)
    return np.column_stack([at, rng.uniform(0.7, 1.0, FRAGMENTS), radius])


def _poses(embryo: Embryo, frames: int) -> tuple[Pose, ...]:
    """A slow drift, small turns, and now and then a roll."""
    rng = stream(*embryo.key, 3)
    turn, tilt, roll = rng.uniform(-math.pi, math.pi), 0.0, 0.0
    dx, dy = rng.uniform(-7, 7, 2)
    poses = []
    for _ in range(frames):
        step = rng.standard_normal(6)
        rolls = rng.random() < 0.06
        turn += 0.05 * step[0] + 0.6 * rolls * step[5]
        tilt, roll = 0.9 * tilt + 0.05 * step[1], 0.9 * roll + 0.05 * step[2]
        dx, dy = float(np.clip(dx + 1.1 * step[3], -14, 14)), float(np.clip(dy + 1.1 * step[4], -14, 14))
        poses.append(Pose(dx, dy, cells.rotation(turn, tilt, roll), 1 + 0.012 * float(rng.standard_normal())))
    return tuple(poses)


def frame(made: Portrait, state: State, number: int, plane: int) -> Picture:
    """Draw one frame.

    Args:
        made: what stays of the embryo.
        state: what it has come to.
        number: of the frame, which gives the pose.
        plane: focal plane, -2 to 2.
    """
    embryo, pose = made.embryo, made.poses[number]
    site = SITES[embryo.couple.site]
    points = made.pixels * made.fold
    on = optics.canvas(points, site.width, pose.dx, pose.dy)
    drawing = parts.Drawing(on, optics.empty(points), np.zeros((points, points), np.uint8))
    for x, y, z, radius in made.debris.tolist():
        parts.sphere(drawing, "", (x - pose.dx, y - pose.dy, z), radius, 1.2)
    mass = _embryo(made, state, pose, drawing)
    seen = optics.light(drawing.scene, on, site, plane) * _well(made, on, pose) * np.float32(site.grey * pose.lamp)
    rng = stream(*embryo.key, 4, number, plane + 100)
    half = made.fold // 2
    return Picture(
        grey=optics.displayed(canvas.fold(seen, made.fold), site, site.width / made.pixels, rng),
        layout=np.ascontiguousarray(drawing.layout[half :: made.fold, half :: made.fold]),
        mass=canvas.fold(mass.astype(np.float32), made.fold) >= 0.5,
    )


def _embryo(made: Portrait, state: State, pose: Pose, drawing: parts.Drawing) -> NDArray[np.bool_]:
    """Put the embryo into the drawing; returns where the inner cell mass is."""
    embryo, tile = made.embryo, made.tile
    grown = embryo.radius * (1 + (embryo.growth - 1) * state.expansion)
    # the space closes as the blastocyst grows; the zona keeps its volume and so becomes thinner
    inner = max(grown + 0.5, embryo.radius + embryo.space)
    shell = (embryo.radius + embryo.space + embryo.zona) ** 3 - (embryo.radius + embryo.space) ** 3
    oval = (0.004 + 0.012 * embryo.couple.shedding, math.atan2(pose.rotation[1, 0], pose.rotation[0, 0]))
    parts.zona(drawing, inner, float(np.cbrt(inner**3 + shell)), oval, tile)
    mass = np.zeros(drawing.layout.shape, bool)
    coarse = embryo.grain * (1 + 0.5 * (state.hours > 90) * (state.compaction < 0.5))
    if state.compaction < 1:
        lying = cells.turned(made.lineage[min(state.cells, len(made.lineage)) - 1], pose.rotation)
        closer = lying._replace(centres=lying.centres * (1 - 0.12 * state.compaction))
        nuclei = 0.7 * (2 <= state.cells <= 4) * (1 - state.compaction)
        parts.blastomeres(drawing, closer, tile, coarse, 1 - state.compaction, nuclei)
    if state.compaction > 0 and state.cavity < 1:
        lobes = (made.lobes @ pose.rotation.T.astype(np.float32)).astype(np.float32)
        parts.mass(drawing, grown * 0.93, lobes, tile, coarse, state.compaction * (1 - min(4 * state.cavity, 1)))
    if state.cavity > 0:
        shape = blastocyst.turned(made.hollow, pose.rotation)
        share = min(4 * state.cavity, 1.0)
        radius = grown * (0.93 + 0.06 * share)
        # at the blastocyst the cavity has filled to nine tenths
        mass = blastocyst.draw(drawing, shape, radius, min(1.05 * state.cavity, 1.0) * 0.97, share, tile, embryo.grain)
    if state.cells == 1 and state.hours < embryo.clock.fading:
        rng = stream(*embryo.key, 5)
        apart = pose.rotation @ (rng.standard_normal(3) * (1, 1, 0.25))
        middle = pose.rotation @ (0.12 * embryo.radius * rng.standard_normal(3))
        parts.pronuclei(drawing, middle, 11.0 * apart / np.linalg.norm(apart), rng)
    _around(made, state, pose, drawing, inner)
    drawing.part("inner cell mass", (slice(None), slice(None)), mass)
    return mass


def _around(made: Portrait, state: State, pose: Pose, drawing: parts.Drawing, inner: float) -> None:
    """Polar bodies and fragments, between the cells and the zona."""
    if state.cells <= 6:
        for *at, radius in made.polar.tolist():
            x, y, z = pose.rotation @ np.array(at) * (inner - 0.8 * radius)
            parts.sphere(drawing, "polar bodies", (float(x), float(y), float(z)), radius, 0.8)
    shown = fragmentation(made.embryo, state) * 80
    gone = 0.5 * state.cavity
    for number, (*at, out, radius) in enumerate(made.loose.tolist()):
        if number >= min(shown, FRAGMENTS) * (1 - gone):
            break
        further = max(out, 0.92 * state.compaction)
        x, y, z = pose.rotation @ np.array(at) * (inner - radius) * further
        parts.sphere(drawing, "fragments", (float(x), float(y), float(z)), radius, 1.1)


def fragmentation(embryo: Embryo, state: State) -> float:
    """Share of the volume in fragments at one time: a quarter at the first division, all of it 31 hours later."""
    since = state.hours - embryo.clock.divisions[0]
    return embryo.fragments * min(max(0.25, since / 31.0), 1.0) if since >= 0 else 0.0


def _well(made: Portrait, on: Canvas, pose: Pose) -> Map:
    """Light of the empty well over its mean: even inside, a bright line at the wall's foot, dark beyond."""
    site = SITES[made.embryo.couple.site]
    x = on.x + np.float32(pose.dx - made.well[0])
    y = on.y + np.float32(pose.dy - made.well[1])
    out = np.sqrt(x * x + y * y)
    beyond = 1 / (1 + np.exp((WELL - out) / np.float32(1.6)))
    turn = math.radians(site.light)
    facing = (x * math.cos(turn) + y * math.sin(turn)) / np.maximum(out, 1)
    foot = np.exp(-(((out - WELL + 3.5) / 2.6) ** 2))
    slant = 1 + 0.05 * (x * math.cos(turn) + y * math.sin(turn)) / WELL
    even = slant - site.vignette * (out / WELL) ** 2 * 0.5
    return np.asarray(even * (1 - (1 - site.rim) * beyond) * (1 + foot * (0.12 + 0.25 * facing)), np.float32)
