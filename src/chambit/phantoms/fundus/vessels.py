"""The retinal arteries and veins of a drawn eye: grown by branching, and drawn as columns of blood.

    r_parent^3 = r_main^3 + r_side^3            at each branch (Murray 1926, DOI 10.1073/pnas.12.3.207)
    depth of blood at distance t r of the axis  = 2 r sqrt(1 - t^2)

Four arteries and four veins leave the disc and run as arcades around the macula; smaller ones run straight to
it. Side branches turn towards the fovea on the arcades' inner side, where they end around the avascular zone, and
away from it outside. Frame and unit: those of the eye (chambit.phantoms.fundus.eyes), in degrees.

Limits: no capillaries, arteries and veins may cross their own kind, no change of calibre by disease.
"""

import math
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from chambit.phantoms.canvas import Map
from chambit.phantoms.fundus.eyes import Eye

Paths = NDArray[np.float64]
VEIN: Final = 0.235  # radius near the disc, degrees
ARTERY: Final = 0.165
THINNEST: Final = 0.02
NODES: Final = 24
# control points of the upper arcade and of the upper nasal vessel for a fovea at (15.5, 0)
TEMPORAL: Final = ((-0.7, 0.0), (-0.1, -3.2), (4.6, -8.4), (12.5, -10.6), (21.0, -9.4), (30.0, -6.5), (40.0, -5.0))
NASAL: Final = ((-0.7, 0.0), (-1.6, -2.8), (-5.5, -6.8), (-12.0, -11.0), (-20.0, -14.5), (-30.0, -18.0))
MACULAR: Final = ((0.9, 0.0), (2.6, -0.5), (5.5, -1.6), (8.5, -2.2), (11.5, -1.9))


class Generation(NamedTuple):
    """Vessels of one generation: paths (n, nodes, 2) and radii (n, nodes) in degrees, artery (n,) bool."""

    paths: Paths
    radii: Paths
    artery: NDArray[np.bool_]


def grow(eye: Eye, rng: np.random.Generator, generations: int = 4) -> list[Generation]:
    """Grow the vessels of an eye, trunks first; fewer generations leave those before them as they are."""
    paths, radius, artery = _trunks(eye, rng)
    grown: list[Generation] = []
    for generation, births in enumerate((9, 4, 3, 0)):
        radii, children = _bear(paths, radius, births, rng)
        grown.append(Generation(paths, radii, artery))
        if generation == generations - 1:
            break
        row, at, radius, side = children
        keep = radius > THINNEST * (1.5, 1.2, 1.0)[generation]
        row, at, radius, side = row[keep], at[keep], radius[keep], side[keep]
        artery = artery[row]
        paths = _wander(paths, row, at, radius, side, eye, rng)
    return grown


def _trunks(eye: Eye, rng: np.random.Generator) -> tuple[Paths, Paths, NDArray[np.bool_]]:
    """Paths, radii at the disc and kind of the vessels that leave it."""
    paths, radii, artery = [], [], []
    fx, fy = eye.fovea
    for template, scale, jitter in ((TEMPORAL, 1.0, 0.55), (NASAL, 0.74, 0.9), (MACULAR, 0.34, 0.35)):
        for up in (1.0, -1.0):
            shape = np.array(template) * (fx / 15.5, up)
            # the arcades surround the fovea, which lies a little lower than the disc
            shape[:, 1] += fy * np.clip(shape[:, 0] / fx, 0, 1)
            reach = np.linspace(0, 1, len(shape))[:, None] ** 0.7
            shape = shape + jitter * 1.3 * rng.standard_normal(shape.shape) * reach
            outside = rng.choice([-1.0, 1.0])  # whether the artery lies outside its vein
            for kind in (True, False):
                own = shape + jitter * rng.standard_normal(shape.shape) * np.minimum(reach * 1.6, 1)
                own *= 1 + (0.055 if kind else -0.045) * outside
                own[0] = shape[0] + 0.25 * rng.standard_normal(2)
                paths.append(own[np.minimum(np.arange(len(TEMPORAL)), len(own) - 1)])
                radii.append((ARTERY if kind else VEIN) * scale * eye.person.calibre * math.exp(rng.normal(0, 0.1)))
                artery.append(kind)
    return _curves(np.array(paths), eye.person.winding, rng), np.array(radii), np.array(artery)


def _curves(points: Paths, winding: float, rng: np.random.Generator) -> Paths:
    """Smooth curves (n, 3 * NODES, 2) through points (n, k, 2), with the small bends of a vessel.

    Catmull and Rom 1974, A class of local interpolating splines, DOI 10.1016/B978-0-12-079050-0.50020-5.
    """
    n, k = points.shape[:2]
    at = np.linspace(0, k - 1 - 1e-9, 3 * NODES)
    first, t = at.astype(np.int64), (at % 1)[None, :, None]
    around = np.concatenate([points[:, :1], points, points[:, -1:]], axis=1)
    a, b, c, d = (around[:, first + shift] for shift in range(4))
    curve = 0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)
    tangent = np.gradient(curve, axis=1)
    step = np.maximum(np.hypot(tangent[..., 0], tangent[..., 1]), 1e-9)
    along = np.cumsum(step, axis=1)
    bends = np.zeros(along.shape)
    for length, height in ((9.0, 0.22), (4.2, 0.11), (2.4, 0.035)):
        wave, phase = rng.uniform(0.8, 1.25, (n, 1)), rng.uniform(0, 7, (n, 1))
        bends += height * winding * np.sin(2 * math.pi * along / (length * wave) + phase)
    bends *= np.clip(along / 4 - 0.3, 0, 1) / step
    bent: Paths = curve + bends[..., None] * np.stack([-tangent[..., 1], tangent[..., 0]], axis=2)
    return bent


def _bear(
    paths: Paths, radius: Paths, births: int, rng: np.random.Generator
) -> tuple[Paths, tuple[NDArray[np.int64], NDArray[np.int64], Paths, Paths]]:
    """Radii (n, nodes) along the paths, and each child's parent row, node, radius and side (-1 or 1)."""
    n, nodes = paths.shape[:2]
    u, share, alternate = rng.random((n, max(births, 1))), rng.beta(1.5, 3.2, (n, max(births, 1))), rng.random((n, 1))
    # trunks leave the field as vessels, branches end as capillaries
    taper = np.linspace(1.0, 0.72, nodes) if nodes > NODES else 1 - 0.7 * np.linspace(0, 1, nodes) ** 2
    if not births:
        return radius[:, None] * taper, (np.zeros(0, np.int64),) * 2 + (np.zeros(0),) * 2
    place = (0.06 + 0.9 * (np.arange(births) + u) / births) * (nodes - 1)
    behind = np.arange(nodes)[None, None, :] > place[:, :, None]
    left = np.where(behind, np.cbrt(1 - share)[:, :, None], 1.0).prod(axis=1)
    radii = radius[:, None] * left * taper
    row = np.repeat(np.arange(n), births)
    at = place.astype(np.int64).ravel()
    side = np.where((np.arange(births)[None, :] + (alternate < 0.5)) % 2 == 0, 1.0, -1.0)
    side = np.where(rng.random(side.shape) < 0.25, -side, side)
    return radii, (row, at, radii[row, at] * np.cbrt(share).ravel(), side.ravel())


def _wander(
    paths: Paths,
    row: NDArray[np.int64],
    at: NDArray[np.int64],
    radius: Paths,
    side: Paths,
    eye: Eye,
    rng: np.random.Generator,
) -> Paths:
    """Let children (n,) leave their parents and turn towards or away from the fovea; (n, NODES, 2)."""
    start = paths[row, at]
    along = paths[row, np.minimum(at + 1, paths.shape[1] - 1)] - paths[row, np.maximum(at - 1, 0)]
    n = len(row)
    heading = np.arctan2(along[:, 1], along[:, 0]) + side * rng.uniform(0.40, 0.95, n)
    fovea = np.array(eye.fovea)
    inward = fovea - start
    distance = np.hypot(inward[:, 0], inward[:, 1])
    bearing = np.arctan2(inward[:, 1], inward[:, 0])
    inner = (np.cos(heading - bearing) > 0) & (distance < 13) & (start[:, 0] > 1)
    length = 105 * radius * rng.uniform(0.7, 1.5, n)
    aim = np.where(inner, bearing + rng.normal(0, 0.35, n), heading + 0.4 * np.sin(bearing + math.pi - heading))
    pull = rng.uniform(0.02, 0.09, n)
    drift = np.zeros(n)
    walked = np.empty((n, NODES, 2))
    step = (length / (NODES - 1))[:, None]
    position, alive = start.copy(), np.ones((n, 1))
    edge = rng.uniform(0.9, 1.8, n)  # of the avascular zone
    for node in range(NODES):
        walked[:, node] = position
        drift = 0.8 * drift + 0.042 * eye.person.winding * rng.standard_normal(n)
        heading += pull * np.sin(aim - heading) + drift
        position = position + alive * step * np.stack([np.cos(heading), np.sin(heading)], axis=1)
        to = position - fovea
        alive = alive * (np.hypot(to[:, 0], to[:, 1]) > edge)[:, None]
    return walked


def blood(tree: list[Generation], forward: NDArray[np.float64], pixels: int) -> tuple[Map, Map]:
    """Draw the depth of blood in arteries and veins.

    Args:
        tree: Vessels in the frame of the eye.
        forward: (2, 3) affine from degrees of the eye to pixels (column, row).
        pixels: Height and width of the maps.

    Returns:
        Two (pixels, pixels) float32, arteries and veins: chord through the blood column over the diameter of a
        vein near the disc, 0 outside vessels, up to about 1; thinner than a pixel, their share of it. The axis of
        wide arteries is drawn thinner, as their reflex makes it look.
    """
    scale = math.sqrt(abs(np.linalg.det(forward[:, :2])))
    maps = np.zeros((2, pixels * pixels), np.float32)
    for vessels in tree:
        points = vessels.paths @ forward[:, :2].T + forward[:, 2]
        start, move = points[:, :-1].reshape(-1, 2), np.diff(points, axis=1).reshape(-1, 2)
        radius = (vessels.radii[:, :-1] * scale).ravel()
        kind = np.repeat(vessels.artery, vessels.paths.shape[1] - 1)
        length = np.hypot(move[:, 0], move[:, 1])
        reach, seen = radius + 2, length > 1e-6
        for axis in (0, 1):
            seen &= (start[:, axis] + reach > 0) & (start[:, axis] - reach < pixels)
        lanes = np.ceil(2 * np.maximum(radius, 0.5) / 0.75).astype(np.int64) + 1
        for width in np.unique(lanes[seen]):
            these = seen & (lanes == width)
            parts = start[these], move[these], length[these], radius[these], kind[these]
            _stamp(maps, *parts, int(width), pixels, scale)
    drawn = maps.reshape(2, pixels, pixels)
    return drawn[0], drawn[1]


def _stamp(
    maps: Map,
    start: Paths,
    move: Paths,
    length: Paths,
    radius: Paths,
    kind: NDArray[np.bool_],
    lanes: int,
    pixels: int,
    scale: float,
) -> None:
    """Write segments of about one width into maps (2, pixels * pixels), in place, largest value wins."""
    many = np.ceil(length / 0.75).astype(np.int64)
    which = np.repeat(np.arange(len(many)), many)
    part = (np.arange(len(which)) - np.repeat(np.cumsum(many) - many, many)) / many[which]
    axis = start[which] + part[:, None] * move[which]
    across = np.stack([-move[:, 1], move[:, 0]], axis=1) / length[:, None]
    t = np.linspace(-1, 1, lanes) * (1 - 0.3 / lanes)
    wide = np.maximum(radius, 0.5)
    at = axis[:, None, :] + (t[None, :] * wide[which][:, None])[:, :, None] * across[which][:, None, :]
    column, row = np.floor(at[..., 0]).astype(np.int64), np.floor(at[..., 1]).astype(np.int64)
    chord = np.sqrt(1 - t**2)[None, :]
    depth = np.sqrt(radius / (scale * VEIN)) * np.minimum(1, radius / 0.5)
    value = depth[which][:, None] * chord
    reflex = np.where(kind, 0.55, 0.16) * np.clip((radius / scale - 0.05) * 12, 0, 1)
    value = value * (1 - reflex[which][:, None] * np.exp(-((t / 0.33) ** 2))[None, :])
    inside = (column >= 0) & (row >= 0) & (column < pixels) & (row < pixels)
    plane = np.where(kind, 0, 1)[which][:, None] * (pixels * pixels)
    np.maximum.at(maps.reshape(-1), (plane + row * pixels + column)[inside], value.astype(np.float32)[inside])
