"""What a microscope with modulation contrast shows of transparent things: relief, fringes, blur, noise.

    I = I0 exp(-a d) (1 + A tanh(g dphi/du) - B dz laplace(phi)) + noise

phi is the optical path (micrometres of cytoplasm), d the matter on the way, u the direction of the relief. The slope
term is what a modulator plate makes visible (Hoffman and Gross 1975, doi:10.1364/AO.14.001169); the second, from the
transport of intensity (Teague 1983, doi:10.1364/JOSA.73.001434), turns its sign from one side of the focus to the
other, so that edges are bright rimmed above it and dark rimmed below. Things are sorted into four sheets by depth, each
with its own distance dz from the focal plane and its blur.

Limits: no diffraction beyond the fringe term, no light scattered from sheet to sheet.
"""

import math
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Map = NDArray[np.float32]
SPACING: Final = 14.0
"""Micrometres between two focal planes."""
SHEETS: Final = (-30.0, -10.0, 10.0, 30.0)


class Site(NamedTuple):
    """How a clinic's incubator looks.

    Attributes:
        width: of the field of view, micrometres.
        grey: of the empty well, 0 to 1.
        relief: amplitude A.
        slope: g.
        fringe: B, per micrometre of defocus.
        absorption: a, per micrometre.
        light: direction of the relief, degrees from x towards y.
        vignette: loss of light in the corners.
        rim: grey of the wall beyond the well over that of the well.
        blur: micrometres in focus.
        noise: standard deviation of grey, at 1 micrometre a pixel.
        gamma: of the display.
    """

    width: float
    grey: float
    relief: float
    slope: float
    fringe: float
    absorption: float
    light: float
    vignette: float
    rim: float
    blur: float
    noise: float
    gamma: float


SITES: Final = {
    "A": Site(236.0, 0.50, 0.62, 0.42, 0.011, 0.0012, 205.0, 0.20, 0.30, 0.9, 0.013, 1.00),
    "B": Site(252.0, 0.44, 0.58, 0.36, 0.014, 0.0014, 250.0, 0.35, 0.22, 1.2, 0.018, 1.05),
    "C": Site(226.0, 0.60, 0.52, 0.50, 0.008, 0.0008, 140.0, 0.12, 0.55, 0.8, 0.010, 0.94),
}


class Canvas(NamedTuple):
    """Sample points: x, y float32 (n, n) in micrometres from the middle of the embryo, and their spacing."""

    x: Map
    y: Map
    step: float


class Scene(NamedTuple):
    """Optical path of each sheet (4, n, n), micrometres, and of what absorbs (n, n)."""

    paths: Map
    matter: Map


Window = tuple[slice, slice]


def canvas(points: int, width: float, dx: float, dy: float) -> Canvas:
    """Sample points over a field of view.

    Args:
        points: samples per side.
        width: of the field, micrometres.
        dx: how far right of the field's middle the embryo's lies, micrometres.
        dy: how far below.
    """
    at = (((np.arange(points) + 0.5) / points - 0.5) * width).astype(np.float32)
    x = np.broadcast_to(at[None, :] - np.float32(dx), (points, points))
    y = np.broadcast_to(at[:, None] - np.float32(dy), (points, points))
    return Canvas(x, y, width / points)


def window(on: Canvas, x: float, y: float, half: float) -> Window:
    """Rows and columns within `half` micrometres of a point; empty where it lies outside."""
    n = len(on.x)

    def part(first: float, middle: float) -> slice:
        low, high = ((middle + side * half - first) / on.step for side in (-1, 1))
        return slice(min(max(int(low), 0), n), min(max(int(high) + 2, 0), n))

    return part(float(on.y[0, 0]), y), part(float(on.x[0, 0]), x)


def half_chord(on: Canvas, at: Window, x: float, y: float, radius: float | Map) -> Map:
    """Half the way through a sphere, micrometres, 0 beside it."""
    square = radius**2 - (on.x[at] - np.float32(x)) ** 2 - (on.y[at] - np.float32(y)) ** 2
    return np.sqrt(np.maximum(square, 0), dtype=np.float32)


def empty(points: int) -> Scene:
    """A scene without anything in it."""
    return Scene(np.zeros((len(SHEETS), points, points), np.float32), np.zeros((points, points), np.float32))


def put(scene: Scene, at: Window, depth: float, path: Map, absorbing: float = 1.0) -> None:
    """Add an optical path to a scene, in place, shared between the two sheets nearest to its depth."""
    place = float(np.clip((depth - SHEETS[0]) / (SHEETS[1] - SHEETS[0]), 0, len(SHEETS) - 1))
    low = min(int(place), len(SHEETS) - 2)
    share = np.float32(place - low)
    if share < 1:
        scene.paths[low][at] += (1 - share) * path
    if share > 0:
        scene.paths[low + 1][at] += share * path
    scene.matter[at] += np.float32(absorbing) * path


def light(scene: Scene, on: Canvas, site: Site, plane: int) -> Map:
    """Light over that of the empty well, float32 (n, n).

    Args:
        scene: what lies in the way.
        on: where it was sampled.
        site: of the microscope.
        plane: number of the focal plane, 0 in the middle of the embryo.
    """
    turn = math.radians(site.light)
    u = np.array([math.cos(turn), math.sin(turn)], np.float32) / np.float32(2 * on.step)
    slope, fringe = np.zeros_like(scene.matter), np.zeros_like(scene.matter)
    for depth, path in zip(SHEETS, scene.paths, strict=True):
        if not path.any():
            continue
        away = depth - SPACING * plane
        soft = ndimage.gaussian_filter(path, math.hypot(site.blur, 0.11 * away) / on.step, truncate=3.0)
        slope[:, 1:-1] += u[0] * (soft[:, 2:] - soft[:, :-2])
        slope[1:-1] += u[1] * (soft[2:] - soft[:-2])
        inner = soft[1:-1, 1:-1]
        bend = soft[2:, 1:-1] + soft[:-2, 1:-1] + soft[1:-1, 2:] + soft[1:-1, :-2] - 4 * inner
        fringe[1:-1, 1:-1] += np.float32(site.fringe * away / on.step**2) * bend
    relief = 1 + np.float32(site.relief) * np.tanh(np.float32(site.slope) * slope)
    seen = relief - np.float32(0.30) * np.tanh(fringe / np.float32(0.30))
    return np.asarray(seen * np.exp(np.float32(-site.absorption) * scene.matter), np.float32)


def displayed(grey: Map, site: Site, micrometres: float, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Grey values as a camera stores them: noise, toe and shoulder, gamma; uint8 (n, n).

    Args:
        grey: float32 (n, n), about 0 to 1.
        site: of the camera.
        micrometres: side of a pixel; finer pixels count fewer quanta.
        rng: where the noise comes from.
    """
    spread = site.noise / math.sqrt(max(micrometres, 0.35)) * np.sqrt(np.maximum(grey, 0.05) / 0.5)
    noisy = grey + spread.astype(np.float32) * rng.standard_normal(grey.shape, dtype=np.float32)
    bent = 0.5 + 0.5 * np.tanh(2.0 * (noisy - 0.5)) / math.tanh(1.1)
    return np.asarray(np.rint(255 * np.clip(bent, 0, 1) ** np.float32(site.gamma)), np.uint8)
