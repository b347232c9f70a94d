"""Where a picture samples the body: grids of points in millimetres, and signed distances to simple solids.

    ellipsoid   d = k0 (k0 - 1) / k1,   k0 = |p / r|,   k1 = |p / r**2|
    tube        d = min over segments of |p - nearest point| - radius there

Frame, as in DICOM PS3.3 C.7.6.2.1.1 (LPS): x towards the patient's left, y towards the back, z towards the head, in
mm of a reference adult of 175 cm; x = 0 is the midline and z = 0 the upper end of the sacrum. Arrays are (z, y, x),
single points are (x, y, z). Distances are negative inside. Source of the ellipsoid's bound: first-order expansion of
the implicit function about its zero level (Taubin 1994, DOI 10.1109/34.273735).

Limits: grids are aligned with the body's axes, so that every shape is looked up in its own box only.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

Map = NDArray[np.float32]
Point = tuple[float, float, float]
FAR: Final = np.float32(1e3)


class Region(NamedTuple):
    """A box cut out of a grid: its slices, and its coordinates shaped to broadcast to (z, y, x)."""

    where: tuple[slice, slice, slice]
    z: Map
    y: Map
    x: Map

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of points along z, y and x."""
        return self.z.shape[0], self.y.shape[1], self.x.shape[2]

    def full(self, value: np.float32 = FAR) -> Map:
        """Return a new map (z, y, x) filled with one value."""
        return np.full(self.shape, value, np.float32)


@dataclass(frozen=True)
class Grid:
    """Points of a picture or volume: three ascending axes in mm, and the width over which edges are blended.

    Attributes:
        z: Heights, float32 (nz,).
        y: Depths, float32 (ny,).
        x: Places from right to left, float32 (nx,).
        edge: Width in mm of the ramp from 0 to 1 at a surface, about the size of a pixel.
    """

    z: Map
    y: Map
    x: Map
    edge: float

    @cached_property
    def corners(self) -> tuple[Point, Point]:
        """First and last point (x, y, z), widened by the edge."""
        axes = (self.x, self.y, self.z)
        first, last = ([float(values[end]) for values in axes] for end in (0, -1))
        return (
            (first[0] - self.edge, first[1] - self.edge, first[2] - self.edge),
            (last[0] + self.edge, last[1] + self.edge, last[2] + self.edge),
        )

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of points along z, y and x."""
        return self.z.size, self.y.size, self.x.size

    def region(self, low: Sequence[float], high: Sequence[float]) -> Region | None:
        """Cut out the box between two corners (x, y, z), widened by the edge; None where no point lies in it."""
        first_point, last_point = self.corners
        for a, b, first_at, last_at in zip(low, high, first_point, last_point, strict=True):
            if b < first_at or a > last_at:
                return None
        cut = []
        for axis, a, b in zip((self.x, self.y, self.z), low, high, strict=True):
            first, last = axis.searchsorted((a - self.edge, b + self.edge))
            if first >= last:
                return None
            cut.append(slice(int(first), int(last)))
        sx, sy, sz = cut
        return Region((sz, sy, sx), self.z[sz, None, None], self.y[None, sy, None], self.x[None, None, sx])


def axis(low: float, high: float, count: int) -> Map:
    """Return the centres of `count` equal cells between two places, float32 (count,)."""
    return (low + (np.arange(count) + 0.5) * ((high - low) / count)).astype(np.float32)


@lru_cache(maxsize=512)
def _dense(knots: tuple[tuple[float, ...], ...]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Tabulate the monotone cubic through rows (z, value, ...) every 3 mm."""
    from scipy.interpolate import PchipInterpolator

    table = np.asarray(knots)
    fine = np.linspace(table[0, 0], table[-1, 0], max(2, int((table[-1, 0] - table[0, 0]) / 3)))
    return fine, PchipInterpolator(table[:, 0], table[:, 1:])(fine)


def profile(z: Map, knots: tuple[tuple[float, ...], ...]) -> list[Map]:
    """Look smooth curves through knots up.

    Args:
        z: Places of any shape.
        knots: Rows (z, value, ...) with ascending z; constant beyond the ends.

    Returns:
        One map float32 of the shape of z for each column of values.
    """
    fine, values = _dense(knots)
    return [np.interp(z, fine, column).astype(np.float32) for column in values.T]


def curve(points: NDArray[np.float64], fine: int = 4) -> NDArray[np.float64]:
    """Round a polyline off: uniform Catmull-Rom spline through rows (N, D), `fine` pieces for each of its pieces."""
    ends = np.concatenate([2 * points[:1] - points[1:2], points, 2 * points[-1:] - points[-2:-1]])
    t = (np.arange(fine) / fine)[:, None]
    a, b, c, d = (ends[k : k + len(points) - 1, None] for k in range(4))
    spun = 0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)
    return np.concatenate([spun.reshape(-1, points.shape[1]), points[-1:]])


def ellipsoid(
    grid: Grid,
    centre: Sequence[float],
    radii: Sequence[float],
    turn: NDArray[np.float64] | None = None,
    pad: float = 0.0,
) -> tuple[Region, Map] | None:
    """Return the box of an ellipsoid and the distances to it.

    Args:
        grid: Where to look.
        centre: Point (x, y, z).
        radii: Half axes in mm along x, y and z, or along the rows of `turn`.
        turn: Rotation (3, 3) whose rows are the half axes' directions.
        pad: How far, in mm, the box reaches beyond the ellipsoid.

    Returns:
        The region and the map of its shape, or None where no point of the grid is near.
    """
    r = np.asarray(radii, float)
    reach = r if turn is None else np.sqrt(((turn * r[:, None]) ** 2).sum(axis=0))
    low = [c - e - pad for c, e in zip(centre, reach, strict=True)]
    high = [c + e + pad for c, e in zip(centre, reach, strict=True)]
    box = grid.region(low, high)
    if box is None:
        return None
    p: list[Map] = [box.x - np.float32(centre[0]), box.y - np.float32(centre[1]), box.z - np.float32(centre[2])]
    if turn is not None:
        t = turn.astype(np.float32)
        p = [row[0] * p[0] + row[1] * p[1] + row[2] * p[2] for row in t]
    squares = [(v / np.float32(a)) ** 2 for v, a in zip(p, r, strict=True)]
    k0 = np.sqrt(squares[0] + squares[1] + squares[2])
    k1 = np.sqrt(sum(s / np.float32(a * a) for s, a in zip(squares, r, strict=True)))
    return box, k0 * (k0 - 1) / np.maximum(k1, np.float32(1e-4))


def tube(
    grid: Grid, points: NDArray[np.float64], radius: float | NDArray[np.float64], pad: float = 0.0, flat: float = 1.0
) -> tuple[Region, Map] | None:
    """Return the box of a tube along a polyline and the distances to it.

    Args:
        grid: Where to look.
        points: (N, 3) rows (x, y, z), at least 2.
        radius: In mm, one for all or one for each point.
        pad: How far, in mm, distances are right beyond the surface.
        flat: How many times deeper than wide and high the tube is.

    Returns:
        The region and the map of its shape, or None where no point of the grid is near.
    """
    r = radius if isinstance(radius, np.ndarray) else np.full(len(points), radius)
    widest = float(r.max()) * max(1.0, flat) + pad
    box = grid.region((points.min(axis=0) - widest).tolist(), (points.max(axis=0) + widest).tolist())
    if box is None:
        return None
    lows = np.minimum(points[:-1], points[1:])
    highs = np.maximum(points[:-1], points[1:])
    reach = (np.maximum(r[:-1], r[1:]) * max(1.0, flat) + pad)[:, None]
    lows, highs = lows - reach, highs + reach
    near = box.full()
    inner = Grid(box.z.ravel(), box.y.ravel(), box.x.ravel(), grid.edge)
    for k in range(len(points) - 1):
        part = inner.region(lows[k].tolist(), highs[k].tolist())
        if part is not None:
            found = _segment(part, points[k], points[k + 1], float(r[k]), float(r[k + 1]), flat)
            np.minimum(near[part.where], found, out=near[part.where])
    return box, near


def _segment(at: Region, a: NDArray[np.float64], b: NDArray[np.float64], ra: float, rb: float, flat: float) -> Map:
    """Distance to one cone-shaped piece of a tube."""
    squash = np.array([1.0, 1.0 / flat, 1.0])
    d = (b - a) * squash
    length = float(d @ d) + 1e-9
    x, y, z = at.x - np.float32(a[0]), (at.y - np.float32(a[1])) * np.float32(1 / flat), at.z - np.float32(a[2])
    unit = (d / length).astype(np.float32)
    t = np.clip(unit[0] * x + unit[1] * y + unit[2] * z, 0, 1)
    d = d.astype(np.float32)
    found: Map = np.sqrt((x - d[0] * t) ** 2 + (y - d[1] * t) ** 2 + (z - d[2] * t) ** 2) - np.float32(ra)
    if ra != rb:
        found -= np.float32(rb - ra) * t
    return found


def _bspline(at: Map, pitch: float) -> tuple[int, Map]:
    """First knot and weights (points, knots) of a uniform cubic B-spline with knots at multiples of `pitch`."""
    u = at.astype(np.float64) / pitch
    k = np.floor(u).astype(int)
    f = u - k
    first = int(k[0])
    weights = np.zeros((at.size, int(k[-1]) - first + 4))
    rows = np.arange(at.size)
    parts = ((1 - f) ** 3, 3 * f**3 - 6 * f**2 + 4, -3 * f**3 + 3 * f**2 + 3 * f + 1, f**3)
    for step, part in enumerate(parts):
        weights[rows, k - first + step] = part / 6
    return first, weights.astype(np.float32)


def waves(at: Region, pitch: float, knots: Map, offset: Sequence[int]) -> Map:
    """Look a smooth random field up that depends on the place alone, not on the grid.

    Args:
        at: Where to look.
        pitch: Distance of the cubic B-spline's knots in mm; waves are about three times as long.
        knots: Normal numbers (n, n, n), repeated without end.
        offset: Where in the knots the field begins, along z, y and x.

    Returns:
        Map (z, y, x), mean 0 and standard deviation about 0.45.
    """
    n = knots.shape[0]
    field = knots
    along = []
    for number, values in enumerate((at.z, at.y, at.x)):
        first, weights = _bspline(values.ravel(), pitch)
        field = field.take((first + offset[number] + np.arange(weights.shape[1])) % n, axis=number)
        along.append(weights)
    field = np.tensordot(along[0], field, axes=(1, 0))
    field = np.matmul(along[1], field)
    return np.asarray(field @ along[2].T, np.float32) * np.float32(1.45)


def softly(a: Map, b: Map, width: float) -> Map:
    """Return the union's distance of two solids with a fillet `width` mm wide (quadratic blend)."""
    h = np.maximum(np.float32(width) - np.abs(a - b), 0)
    blend: Map = np.minimum(a, b) - h * h * np.float32(0.25 / width)
    return blend


def superellipse(at: Region, half: Map, front: Map, back: Map, middle: Map) -> tuple[Map, Map, Map]:
    """Distance to a tube along z whose cross-section is |x/a|**2.5 + |y/b|**2.5 = 1.

    Args:
        at: Where to look.
        half: Half width a of each height, (nz, 1, 1).
        front: Depth b in front of the middle, likewise.
        back: Depth b behind it, likewise.
        middle: Depth y at which the two halves meet, likewise.

    Returns:
        The distance in mm to first order, and the direction from the axis as x/a and y/b on the surface, in [-1, 1].
    """
    y = at.y - middle
    depth = np.where(y < 0, front, back)
    u, v = np.abs(at.x) / half, np.abs(y) / depth
    u2, v2 = u * u, v * v
    k = np.maximum((u2 * np.sqrt(u) + v2 * np.sqrt(v)) ** np.float32(0.4), np.float32(1e-3))
    u, v = u / k, v / k
    gx, gy = u * np.sqrt(u) / half, v * np.sqrt(v) / depth
    return (k - 1) / np.sqrt(gx * gx + gy * gy + np.float32(1e-9)), u, np.copysign(v, y)


def triangle(grid: Grid, corners: NDArray[np.float64], thick: float) -> tuple[Region, Map] | None:
    """Return the box of a flat plate and the distances to it.

    Args:
        grid: Where to look.
        corners: (3, 3) rows (x, y, z).
        thick: Half of its thickness in mm.

    Returns:
        The region and the map of its shape, or None where no point of the grid is near.
    """
    box = grid.region((corners.min(axis=0) - thick).tolist(), (corners.max(axis=0) + thick).tolist())
    if box is None:
        return None
    normal = np.cross(corners[1] - corners[0], corners[2] - corners[0])
    normal /= np.linalg.norm(normal)
    found = np.abs(_plane(box, corners[0], normal)) - np.float32(thick)
    for a, b in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        outwards = np.cross(b - a, normal)
        found = np.maximum(found, _plane(box, a, outwards / np.linalg.norm(outwards)))
    return box, found


def _plane(at: Region, through: NDArray[np.float64], normal: NDArray[np.float64]) -> Map:
    n, p = normal.astype(np.float32), through.astype(np.float32)
    height: Map = n[0] * (at.x - p[0]) + n[1] * (at.y - p[1]) + n[2] * (at.z - p[2])
    return height


def half_space(at: Region, through: Sequence[float], normal: Sequence[float]) -> Map:
    """Distance to everything behind a plane, in mm times the normal's length."""
    return _plane(at, np.asarray(through, float), np.asarray(normal, float))


def fit(solid: tuple[Region, Map], region: Region) -> Map:
    """Return a solid's distances in another region of the same grid; far outside where it has none."""
    fitted = region.full()
    low = [max(a.start, b.start) for a, b in zip(solid[0].where, region.where, strict=True)]
    high = [min(a.stop, b.stop) for a, b in zip(solid[0].where, region.where, strict=True)]
    if all(a < b for a, b in zip(low, high, strict=True)):
        here = tuple(slice(a - s.start, b - s.start) for a, b, s in zip(low, high, region.where, strict=True))
        there = tuple(slice(a - s.start, b - s.start) for a, b, s in zip(low, high, solid[0].where, strict=True))
        fitted[here] = solid[1][there]
    return fitted


def within(outer: Region, inner: Region) -> tuple[slice, ...]:
    """Return slices of an inner region counted from the first point of the outer one that holds it."""
    return tuple(slice(i.start - o.start, i.stop - o.start) for o, i in zip(outer.where, inner.where, strict=True))
