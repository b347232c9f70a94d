"""How the cells of an embryo lie: each division shares the mother's volume, then all settle inside the zona.

    volumes: daughters get v and 1 - v of the mother's;  radius ~ volume**(1/3)
    rest:    centres of touching cells are 0.80 (r_i + r_j) apart; no cell leaves the zona

Cells are spheres cut by the planes in which two of them meet (the radical plane of the two spheres), so that
neighbours are flat against each other and both keep round outlines elsewhere. Micrometres; z is along the microscope.

Limits: spheres only, so a two-cell embryo's cells are not as elongated as real ones; divisions are instantaneous.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from chambit.phantoms.embryo.couples import Embryo, stream

NEAR = 0.80
"""Distance of the centres of two cells at rest over the sum of their radii."""
_ROUNDS = 40


class Cells(NamedTuple):
    """Centres float64 (n, 3) in the embryo's frame and radii float64 (n,) of cells, the first cell's heirs first."""

    centres: NDArray[np.float64]
    radii: NDArray[np.float64]


def lineage(embryo: Embryo, most: int) -> list[Cells]:
    """The cells after each division: entry k holds k + 1 cells.

    Args:
        embryo: whose cells; its own stream decides axes and shares.
        most: cells of the last entry, 1 to 16.
    """
    rng = stream(*embryo.key, 1)
    room = embryo.radius + embryo.space
    cells = Cells(np.zeros((1, 3)), np.array([embryo.radius]))
    born = np.zeros(1, int)
    steps = [cells]
    for _ in range(most - 1):
        oldest = np.flatnonzero(born == born.min())
        mother = int(oldest[np.argmax(cells.radii[oldest])])
        share = float(np.clip(0.5 + embryo.uneven * rng.standard_normal(), 0.25, 0.75))
        # cells sink to the well's floor, so they lie beside rather than above each other
        axis = rng.standard_normal(3) * (1.0, 1.0, 0.6)
        axis /= np.linalg.norm(axis)
        # what goes into fragments is lost to the cells
        left = 1 - embryo.fragments / 3 if born[mother] < 3 else 1.0
        radius = float(cells.radii[mother])
        pair = radius * np.cbrt(np.array([share, 1 - share]) * left)
        centres = np.vstack([cells.centres, cells.centres[mother] - 0.5 * radius * axis])
        centres[mother] += 0.5 * radius * axis
        radii = np.append(cells.radii, pair[1])
        radii[mother] = pair[0]
        born = np.append(born, born[mother] + 1)
        born[mother] += 1
        cells = settle(Cells(centres, radii), room)
        steps.append(cells)
    return steps


def settle(cells: Cells, room: float) -> Cells:
    """Push overlapping cells apart, pull the others gently together, and keep all inside a sphere.

    Args:
        cells: where they begin.
        room: inner radius of the zona.
    """
    centres, radii = cells.centres.copy(), cells.radii
    rest = NEAR * (radii[:, None] + radii[None])
    for _ in range(_ROUNDS):
        apart = centres[:, None] - centres[None]
        distance = np.sqrt((apart**2).sum(2)) + np.eye(len(radii))
        push = np.clip(rest - distance, -0.02 * rest, None) / distance
        np.fill_diagonal(push, 0.0)
        centres = centres + 0.3 * (push[:, :, None] * apart).sum(1)
        out = np.sqrt((centres**2).sum(1))
        # cells bulge a little flatter against the zona than they are round
        limit = np.maximum(room - 0.88 * radii, 1e-3)
        centres *= (np.minimum(out, limit) / np.maximum(out, 1e-9))[:, None]
    return Cells(centres, radii)


def turned(cells: Cells, rotation: NDArray[np.float64]) -> Cells:
    """The cells after a rotation (3, 3)."""
    return cells._replace(centres=cells.centres @ rotation.T)


def rotation(turn: float, tilt: float, roll: float) -> NDArray[np.float64]:
    """Rotation (3, 3) by `turn` about the microscope's axis z, then `tilt` about x, then `roll` about y; radians."""
    c, s = math.cos(turn), math.sin(turn)
    about_z = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    c, s = math.cos(tilt), math.sin(tilt)
    about_x = np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
    c, s = math.cos(roll), math.sin(roll)
    about_y = np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])
    return np.asarray(about_y @ about_x @ about_z)
