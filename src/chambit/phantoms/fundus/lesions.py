"""Lesions of diabetic retinopathy: where they lie, their shapes, and what they do to the light.

Microaneurysms and blot haemorrhages absorb like blood, hard exudates reflect yellow light, cotton wool spots
reflect white light and hide what lies under them (Wilkinson et al. 2003, Proposed international clinical diabetic
retinopathy scale, DOI 10.1016/S0161-6420(03)00475-5; sizes: ETDRS report 10, DOI 10.1016/S0161-6420(13)38012-9).

Limits: no new vessels, venous beading, laser scars or haemorrhage in front of the retina; numbers go with one
severity per patient; lesions do not follow capillaries.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from chambit.phantoms.canvas import Map
from chambit.phantoms.fundus.eyes import Eye


class Spots(NamedTuple):
    """Lesions of one kind: centre x, y, radius (degrees), squash, lean (radians), strength; each (n,) float64."""

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    radius: NDArray[np.float64]
    squash: NDArray[np.float64]
    lean: NDArray[np.float64]
    strength: NDArray[np.float64]


class Lesions(NamedTuple):
    """Maps (n, n) float32, 0 to about 1: blood, exudate, wool; and the mask's margin, at least 0.5 inside."""

    blood: Map
    exudate: Map
    wool: Map
    margin: Map


def scatter(eye: Eye, rng: np.random.Generator) -> tuple[Spots, Spots, Spots]:
    """Draw the places of blood spots, hard exudates and cotton wool spots of an eye; all within the posterior pole."""
    severity = eye.person.severity
    few = 8 + int(rng.poisson(16 * severity))
    many = 3 + int(rng.poisson(7 * severity))
    near = np.array(eye.fovea)
    place = near + rng.standard_normal((few + many, 2)) * (8.5, 7.0)
    radius = np.concatenate([rng.uniform(0.10, 0.26, few), rng.lognormal(math.log(0.42), 0.42, many).clip(0.22, 1.2)])
    blood = _spots(place, radius, rng, 0.7)
    centres = near + rng.standard_normal((1 + int(rng.poisson(1.3 * severity)), 2)) * (5.0, 4.5)
    hard, sizes = [], []
    for centre in centres:
        n = int(rng.integers(8, 34))
        angle, ring = rng.uniform(0, 2 * math.pi, n), rng.uniform(1.0, 2.8)
        far = ring * (1 + 0.28 * rng.standard_normal(n)) if rng.random() < 0.5 else ring * np.sqrt(rng.random(n))
        hard.append(centre + np.stack([far * np.cos(angle), far * np.sin(angle)], axis=1))
        sizes.append(rng.lognormal(math.log(0.17), 0.5, n).clip(0.07, 0.55))
    exudate = _spots(np.concatenate(hard), np.concatenate(sizes), rng, 0.75)
    n = int(rng.poisson(1.5 * severity))
    angle, far = rng.uniform(0, 2 * math.pi, n), rng.uniform(5.0, 13.0, n)
    wool = _spots(np.stack([far * np.cos(angle) + 4, far * np.sin(angle)], axis=1), rng.uniform(0.7, 1.3, n), rng, 0.65)
    return blood, exudate, wool


def _spots(place: NDArray[np.float64], radius: NDArray[np.float64], rng: np.random.Generator, flat: float) -> Spots:
    n = len(radius)
    # nothing lies on the disc: lesions of the nerve are another disease
    on = np.hypot(place[:, 0], place[:, 1]) < 4.5
    place = np.where(on[:, None], place + np.array([9.0, 3.0]), place)
    return Spots(
        place[:, 0],
        place[:, 1],
        radius,
        rng.uniform(flat, 1, n),
        rng.uniform(0, math.pi, n),
        rng.uniform(0.6, 1.0, n),
    )


def draw(spots: tuple[Spots, Spots, Spots], x: Map, y: Map, rough: Map, forward: NDArray[np.float64]) -> Lesions:
    """Draw lesions on a grid.

    Args:
        spots: What scatter() returned.
        x: (n, n) degrees, frame of the eye.
        y: (n, n) degrees.
        rough: (n, n) fine random field that makes outlines irregular.
        forward: (2, 3) affine from degrees of the eye to pixels (column, row) of the grid.
    """
    margin = np.zeros_like(x)
    drawn = [np.zeros_like(x) for _ in range(3)]
    # softness of the edge as a share of the radius, irregularity, lower limit of size in pixels
    looks = ((0.6, 0.15), (0.45, 0.28), (1.1, 0.28))
    scale = math.sqrt(abs(np.linalg.det(forward[:, :2])))
    for target, kind, (soft, uneven) in zip(drawn, spots, looks, strict=True):
        for cx, cy, radius, squash, lean, strength in zip(*kind, strict=True):
            box = _box(forward, cx, cy, 1.9 * radius + 2 / scale, x.shape[0])
            if box is None:
                continue
            dx, dy = x[box] - cx, y[box] - cy
            c, s = math.cos(lean), math.sin(lean)
            far = np.hypot((c * dx + s * dy) * squash, (c * dy - s * dx) / squash)
            small = max(radius, 0.6 / scale)
            # of a spot smaller than a pixel its share of the pixel is seen
            seen = strength * min(1.0, (radius * scale / 0.6) ** 1.2)
            rho = far / (small * (1 + uneven * np.clip(rough[box], -1.6, 1.6)))
            shape = np.clip((1 - rho) / soft + 0.5, 0, 1)
            shape = shape * shape * (3 - 2 * shape)
            np.maximum(target[box], (seen * shape).astype(np.float32), out=target[box])
            np.maximum(margin[box], shape.astype(np.float32), out=margin[box])
    return Lesions(drawn[0], drawn[1], drawn[2], margin)


def _box(forward: NDArray[np.float64], x: float, y: float, half: float, n: int) -> tuple[slice, slice] | None:
    """Rows and columns within half (degrees) of a point; None where they lie outside."""
    column, row = forward @ (x, y, 1.0)
    reach = half * math.sqrt(abs(np.linalg.det(forward[:, :2])))
    top, bottom, left, right = int(row - reach), int(row + reach) + 2, int(column - reach), int(column + reach) + 2
    if bottom <= 0 or right <= 0 or top >= n or left >= n:
        return None
    return slice(max(top, 0), bottom), slice(max(left, 0), right)
