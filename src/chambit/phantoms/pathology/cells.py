"""Cells of a patch: where nuclei, goblets and red cells lie, and their shapes on the grid.

Places are random points thinned to a least distance: of two that are too near, the one drawn first stays
(Matern's second hard-core process; Matern 1960, Spatial Variation, DOI 10.1007/978-1-4615-7892-5), repeated until
no room is left.

Limits: nuclei overlap little, cells have no borders of their own, and no cell knows its neighbours' kinds.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from chambit.phantoms.pathology.patients import Section
from chambit.phantoms.pathology.tissue import Tissue

Numbers = NDArray[np.float64]


class Bodies(NamedTuple):
    """Ellipses: centre x, y, half axes a (across) and b (along), lean, depth of stain; micrometres, each (n,).

    `lean` is the direction of b in radians; `uneven` how far the outline departs from the ellipse.
    """

    x: Numbers
    y: Numbers
    a: Numbers
    b: Numbers
    lean: Numbers
    stain: Numbers
    uneven: Numbers


class Cells(NamedTuple):
    """All bodies of a patch, by kind."""

    epithelial: Bodies
    lymphocytes: Bodies
    spindles: Bodies
    mitoses: Bodies
    goblets: Bodies
    red: Bodies


def populate(section: Section, tissue: Tissue, field_um: float, rng: np.random.Generator) -> Cells:
    """Put the cells of a patch in their places."""
    who, ill = section.patient, section.label != "benign"
    points: Numbers = rng.uniform(-8, field_um + 8, (int((field_um + 16) ** 2 / 6), 2))
    row, column = (np.clip((points[:, k] / tissue.um).astype(np.int64), 0, len(tissue.depth) - 1) for k in (1, 0))
    depth, lumen = tissue.depth[row, column], tissue.lumen[row, column]
    down, right = (np.asarray(np.gradient(tissue.depth, axis=axis)) for axis in (0, 1))
    inward = np.arctan2(down[row, column], right[row, column])
    along = tissue.along[row, column]
    # stroma is thinly populated: a third of the points will do there
    loose = (depth < -2.5) & (np.arange(len(depth)) % 3 == 0)
    if ill:
        epithelial = _tumour(section, points, (depth > 2.5) & (lumen < -3.0), inward, rng)
        goblets = _none()
        mitoses = _mitoses(epithelial, rng)
    else:
        basal = np.abs(depth - 6.0 - 2.2 * rng.random(len(depth))) < 2.2
        epithelial = _regular(section, points, basal & (lumen < -4), inward, rng)
        mitoses = _none()
        apical = (depth > 12.0) & (lumen < -3.0)
        kept = _thin(points, apical, 5.8)
        kept = kept[rng.random(len(kept)) < who.goblets]
        goblets = _bodies(points, kept, inward, rng, (3.1, 0.13), (5.6, 0.15), 0.15, 1.0, 0.10)
    patches = rng.random((6, 2)) * field_um
    near = np.exp(-((_nearest(points, patches) / 45.0) ** 2))
    wanted = rng.random(len(points)) < 0.5 * (0.25 + 0.75 * near) * (0.45 if ill else 0.8) * who.inflamed
    inside = (depth > 3) & (lumen < -3) & (rng.random(len(points)) < 0.002 * who.inflamed)
    lymph = _thin(points, (loose & wanted) | inside, 7.0)
    lymphocytes = _bodies(points, lymph, along, rng, (2.9, 0.10), (3.3, 0.10), 0.6, 1.25, 0.05)
    fibro = _thin(points, loose & (rng.random(len(points)) < 0.5), 10.0 if ill else 12.0)
    spindles = _bodies(points, fibro, along, rng, (1.35, 0.2), (6.3, 0.25), 0.2, 1.0, 0.08)
    vessel = patches[:2] + 9
    blood = (_nearest(points, vessel) < 11.0) & loose
    red = _bodies(points, _thin(points, blood, 5.0), along, rng, (2.7, 0.1), (3.1, 0.1), 1.0, 1.0, 0.04)
    return Cells(epithelial, lymphocytes, spindles, mitoses, goblets, red)


def _nearest(points: Numbers, few: Numbers) -> Numbers:
    """Distance of each point (n, 2) to the nearest of a few (m, 2)."""
    squares: Numbers = np.full(len(points), np.inf)
    for x, y in few:
        squares = np.minimum(squares, (points[:, 0] - x) ** 2 + (points[:, 1] - y) ** 2)
    distance: Numbers = np.sqrt(squares)
    return distance


def _thin(points: Numbers, allowed: NDArray[np.bool_], least: float) -> NDArray[np.int64]:
    """Indices of allowed points such that no two are nearer than `least` and no allowed one could be added."""
    rows = np.flatnonzero(allowed)
    if len(rows) == 0:
        return rows
    pairs = cKDTree(points[rows]).query_pairs(least, output_type="ndarray")
    first, second = pairs[:, 0], pairs[:, 1]  # the one drawn first comes first
    undecided, kept = np.ones(len(rows), bool), np.zeros(len(rows), bool)
    while undecided.any():
        live = undecided[first] & undecided[second]
        first, second = first[live], second[live]
        beaten = np.zeros(len(rows), bool)
        beaten[second] = True
        now = undecided & ~beaten
        kept |= now
        undecided &= ~now
        undecided[second[now[first]]] = False
    return rows[kept]


def _none() -> Bodies:
    return Bodies(*(np.zeros(0) for _ in Bodies._fields))


def _bodies(
    points: Numbers,
    rows: NDArray[np.int64],
    lean: NDArray[np.float32],
    rng: np.random.Generator,
    a: tuple[float, float],
    b: tuple[float, float],
    turn: float,
    stain: float,
    uneven: float,
) -> Bodies:
    """Ellipses at points: half axes as median and spread (log), direction with its spread, stain and outline."""
    z = np.clip(rng.standard_normal((4, len(rows))), -2.2, 2.2)
    return Bodies(
        points[rows, 0],
        points[rows, 1],
        a[0] * np.exp(a[1] * z[0]),
        b[0] * np.exp(b[1] * z[1]),
        lean[rows] + turn * z[2],
        stain * np.exp(0.12 * z[3]),
        np.full(len(rows), uneven),
    )


def _regular(
    section: Section, points: Numbers, allowed: NDArray[np.bool_], inward: NDArray[np.float32], rng: np.random.Generator
) -> Bodies:
    """One layer of like, basal nuclei, upright on the border of the gland."""
    size = section.patient.nucleus
    rows = _thin(points, allowed, 5.0 * size)
    return _bodies(points, rows, inward, rng, (2.55 * size, 0.10), (4.2 * size, 0.12), 0.2, 1.0, 0.06)


def _tumour(
    section: Section, points: Numbers, allowed: NDArray[np.bool_], inward: NDArray[np.float32], rng: np.random.Generator
) -> Bodies:
    """Crowded nuclei of many sizes, in several layers, some nearly black; order is lost with grade."""
    who = section.patient
    rows = _thin(points, allowed, (7.6 + 0.8 * who.grade) * who.nucleus)
    size, spread = who.nucleus, who.pleomorphic
    turn = 0.35 + 0.9 * who.grade
    made = _bodies(points, rows, inward, rng, (3.6 * size, spread), (5.3 * size, spread), turn, 0.98, 0.11)
    dark = np.where(rng.random(len(rows)) < 0.12, 1.35, 1.0)
    return made._replace(a=np.minimum(made.a, made.b), stain=made.stain * dark)


def _mitoses(epithelial: Bodies, rng: np.random.Generator) -> Bodies:
    """About one nucleus in sixty in division: a plate of chromatin, or two that part."""
    chosen = np.flatnonzero(rng.random(len(epithelial.x)) < 1 / 60)
    parts: list[tuple[float, ...]] = []
    for row in chosen:
        x, y, lean = float(epithelial.x[row]), float(epithelial.y[row]), float(rng.uniform(0, math.pi))
        gap = 2.6 if rng.random() < 0.4 else 0.0
        for sign in (-1, 1) if gap else (0,):
            at = x - sign * gap * math.sin(lean), y + sign * gap * math.cos(lean)
            parts.append((*at, 1.3, 4.0, lean, 1.75, 0.35))
    # the nucleus itself has dissolved
    epithelial.stain[chosen] = 0.0
    return Bodies(*np.array(parts).T) if parts else _none()


class Stamped(NamedTuple):
    """Pixels of bodies: flat index, row of the body, radius over the outline, and cover 0 to 1; each (m,)."""

    at: NDArray[np.int64]
    which: NDArray[np.int64]
    rho: NDArray[np.float32]
    cover: NDArray[np.float32]


def stamp(bodies: Bodies, n: int, um: float, rng: np.random.Generator) -> Stamped:
    """Find the pixels of an n x n grid that bodies cover; edges are a pixel soft."""
    half = max(2, math.ceil((1.35 * float(np.max(bodies.b, initial=1.0))) / um + 1))
    window = np.arange(-half, half + 1)
    centre = np.floor(np.stack([bodies.y, bodies.x]) / um).astype(np.int64)
    phase = rng.uniform(0, 2 * math.pi, (3, len(bodies.x))).astype(np.float32)
    rows = centre[0][:, None, None] + window[None, :, None]
    columns = centre[1][:, None, None] + window[None, None, :]
    dy = ((rows + 0.5) * um - bodies.y[:, None, None]).astype(np.float32)
    dx = ((columns + 0.5) * um - bodies.x[:, None, None]).astype(np.float32)
    c, s = (part.astype(np.float32)[:, None, None] for part in (np.cos(bodies.lean), np.sin(bodies.lean)))
    a, b = (part.astype(np.float32)[:, None, None] for part in (bodies.a, bodies.b))
    u, v = (c * dx + s * dy) / b, (c * dy - s * dx) / a
    rho = np.sqrt(u * u + v * v)
    near = (rho < 1.5) & (rows >= 0) & (rows < n) & (columns >= 0) & (columns < n)
    which, i, j = np.nonzero(near)
    rho, u, v = rho[near], u[near], v[near]
    angle = np.arctan2(v, u)
    outline = np.zeros_like(rho)
    for k, weight in enumerate((0.5, 0.6, 0.35)):
        outline += np.float32(weight) * np.cos((k + 2) * angle + phase[k][which])
    rho = rho / (1 + bodies.uneven[which].astype(np.float32) * outline)
    # soft over one pixel: along the short axis a pixel is um / a of the radius
    mean = np.sqrt(bodies.a * bodies.b).astype(np.float32)[which]
    cover = np.clip((1 - rho) * mean / np.float32(um) + np.float32(0.5), 0, 1)
    at = (centre[0][which] + window[i]) * n + centre[1][which] + window[j]
    seen = cover > 0
    return Stamped(at[seen], which[seen], rho[seen], cover[seen])
