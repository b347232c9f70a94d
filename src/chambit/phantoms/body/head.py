"""Head: scalp, skull with its sinuses, brain with gyri, ventricles and deep nuclei, eyes, face and jaw.

Sulci are the zero surfaces of a smooth random field n near the brain's surface: fluid where |n| is smallest, cortex
within about 4 mm of them, white matter elsewhere.

Source: laid out by eye on the ICBM 152 average brain (Fonov et al. 2011, DOI 10.1016/j.neuroimage.2010.07.033).

Limits: gyri are random, so no named sulcus is in its place; face, ears and skull base are coarse.
"""

from typing import Final

import numpy as np

from chambit.phantoms.body.paint import Canvas, Solid
from chambit.phantoms.body.space import Region, curve, ellipsoid, half_space, tube
from chambit.phantoms.body.tissue import Part, Tissue

VAULT: Final = (0.0, 8.0, 660.0)  # centre of the cranial cavity
CAVITY: Final = (66.0, 82.0, 66.0)
BASE: Final = 622.0  # the skull base lies about here in front; behind it the fossa is deeper


def lay_head(canvas: Canvas) -> None:
    """Lay everything above the neck."""
    if float(canvas.grid.z.max()) < 500:
        return
    size = canvas.person.factor("head", 0.03) * (0.965 if canvas.person.sex == "F" else 1.0)
    radii = tuple((r * size * (1 + s) for r, s in zip(CAVITY, canvas.person.shift("skull", 0.025), strict=True)))
    found = ellipsoid(canvas.grid, VAULT, radii, None, 22)
    _face(canvas, found)
    if found is None:
        return
    region, cavity = found
    _skull(canvas, region, cavity)
    _brain(canvas, region, cavity)


def _face(canvas: Canvas, vault: Solid | None) -> None:
    """Scalp and face, jaws, nose, orbits, tongue and throat."""
    grid = canvas.grid
    chin = 0.9 if canvas.person.sex == "F" else 1.0
    jaw = [
        ellipsoid(grid, (0, -20, 602), (64, 64, 66), None, 8),
        ellipsoid(grid, (0, -44, 560), (40 * chin, 40, 36), None, 8),
        tube(grid, np.array([(0.0, -76, 622), (0, -96, 594), (0, -86, 588)]), np.array([6.0, 10, 9]), 4),
    ]
    soft = [*jaw, *(ellipsoid(grid, (s * 69, 26, 612), (6, 13, 22), None, 6) for s in (-1, 1))]
    for tissue, grow in ((Tissue.SKIN, 4.0), (Tissue.FAT, 2.5)):
        for solid in soft:
            canvas.lay(solid, tissue, Part.FAT, grow=grow)
        canvas.lay(vault, tissue, Part.FAT, grow=grow + 9.0)
    for solid in jaw[:2]:
        canvas.lay(solid, Tissue.MUSCLE, Part.MUSCLE, grow=-4.0)
    neck = ellipsoid(grid, (0, 40, 580), (54, 52, 60), None, 8)
    canvas.lay(neck, Tissue.MUSCLE, Part.MUSCLE, grow=-6.0)
    canvas.shell(ellipsoid(grid, (0, -38, 606), (42, 40, 34)), Part.SKULL, 2.0)
    _hollows(canvas)
    bow = np.array(
        [(-50.0, 16, 610), (-48, 0, 566), (-34, -46, 548), (0, -70, 542), (34, -46, 548), (48, 0, 566), (50, 16, 610)]
    ) * (chin, 1, 1)
    canvas.lay(ellipsoid(grid, (0, -36, 562), (28, 36, 22)), Tissue.MUSCLE, Part.MUSCLE)
    canvas.shell(tube(grid, curve(bow, 3), 7.5, 4, 0.8), Part.SKULL, 2.2)
    teeth = np.array([(-24.0, -38, 570), (-18, -58, 570), (0, -68, 570), (18, -58, 570), (24, -38, 570)])
    canvas.lay(tube(grid, curve(teeth, 2), 6.0), Tissue.BONE, Part.SKULL)
    throat = np.array([(0.0, -14, 600), (0, 2, 582), (0, 2, 560), (0, 0, 545)])
    canvas.lay(tube(grid, curve(throat, 2), np.array([9.0, 8, 8, 7, 7, 7, 8])), Tissue.AIR, Part.AIRWAY)


def _hollows(canvas: Canvas) -> None:
    """Nasal cavity, sinuses, orbits and eyes."""
    grid = canvas.grid
    canvas.lay(ellipsoid(grid, (0, -46, 600), (13, 34, 24)), Tissue.AIR, Part.AIRWAY)
    canvas.lay(ellipsoid(grid, (0, -46, 600), (1.6, 34, 24)), Tissue.BONE, Part.SKULL)
    for sign in (-1.0, 1.0):
        canvas.lay(ellipsoid(grid, (sign * 7, -40, 592), (3, 24, 8)), Tissue.GUT, Part.AIRWAY)
        canvas.lay(ellipsoid(grid, (sign * 28, -44, 598), (13, 17, 17)), Tissue.AIR, Part.AIRWAY)
        orbit = ellipsoid(grid, (sign * 32, -36, 630), (19, 28, 17))
        canvas.lay(orbit, Tissue.BONE, Part.SKULL, grow=2.2)
        canvas.lay(orbit, Tissue.FAT, Part.FAT)
        nerve = np.array([(sign * 32.0, -40, 630), (sign * 12, -6, 632)])
        canvas.lay(tube(grid, nerve, 2.2), Tissue.NERVE, Part.BRAIN)
        for side in (-11.0, 11.0):
            belly = np.array(
                [(sign * 32 + side, -52, 630), (sign * 28 + side * 0.7, -36, 630), (sign * 16.0, -22, 631)]
            )
            canvas.lay(tube(grid, belly, np.array([1.2, 2.6, 1.2])), Tissue.MUSCLE, Part.MUSCLE)
        canvas.lay(ellipsoid(grid, (sign * 32, -50, 630), (12.3,) * 3), Tissue.TENDON, Part.GLAND)
        canvas.lay(ellipsoid(grid, (sign * 32, -50, 630), (11.2,) * 3), Tissue.WATER, Part.GLAND)
        canvas.lay(ellipsoid(grid, (sign * 32, -58, 630), (4.5, 2.2, 4.5)), Tissue.TENDON, Part.GLAND)


def _skull(canvas: Canvas, region: Region, cavity: np.ndarray) -> None:
    """Two tables with the diploe between them, a base, frontal sinus, petrous bones with their air cells."""
    thick = canvas.waves(region, "vault", 30.0)
    floor = _floor(region)
    outer = cavity - 6.6 - 1.2 * thick
    bony = np.maximum(outer, floor - 4)
    canvas.lay((region, bony), Tissue.BONE, Part.SKULL)
    canvas.lay((region, np.maximum(outer + 1.8, floor - 2)), Tissue.DIPLOE, Part.SKULL)
    canvas.lay((region, np.maximum(cavity - 1.8, floor)), Tissue.BONE, Part.SKULL)
    fossa = ellipsoid(canvas.grid, (0, 50, 606), (52, 38, 32), None, 12)
    if fossa is not None:
        canvas.lay((fossa[0], np.maximum(fossa[1] - 4.5, fossa[0].z - 606)), Tissue.BONE, Part.SKULL)
    for sign in (-1.0, 1.0):
        pyramid = np.array([(sign * 62.0, 24, 606), (sign * 40, 14, 612), (sign * 16, -2, 614)])
        canvas.lay(tube(canvas.grid, pyramid, np.array([15.0, 10, 6])), Tissue.BONE, Part.SKULL)
        cells = ellipsoid(canvas.grid, (sign * 60, 30, 602), (10, 15, 16))
        if cells is not None:
            holes = canvas.waves(cells[0], "cells", 3.5)
            canvas.lay((cells[0], np.maximum(cells[1], (0.0 - holes) * 4)), Tissue.AIR, Part.AIRWAY)
        canvas.lay(ellipsoid(canvas.grid, (sign * 14, -76, 648), (11, 5, 9)), Tissue.AIR, Part.AIRWAY)
    canvas.lay(ellipsoid(canvas.grid, (0, -14, 618), (14, 10, 9)), Tissue.AIR, Part.AIRWAY)


def _floor(region: Region) -> np.ndarray:
    """Distance below the skull's base, which rises over the orbits and falls towards the back."""
    plane = half_space(region, (0, -20, BASE), (0, -0.28, -0.96))
    roofs = 9 * np.exp(-(((np.abs(region.x) - 30) / 17) ** 2)) * np.clip((-10 - region.y) / 20, 0, 1)
    return np.asarray(plane + roofs, np.float32)


def _brain(canvas: Canvas, region: Region, cavity: np.ndarray) -> None:
    person = canvas.person
    old = person.years
    floor = _floor(region) + 3
    canvas.lay((region, np.maximum(cavity, floor)), Tissue.WATER, Part.VENTRICLE)
    depth = np.maximum(cavity + np.float32(1.6 + 1.8 * old), floor + np.float32(0.4))
    field = canvas.waves(region, "gyri", 9.5)
    steepness = sum(
        np.gradient(field, values.ravel(), axis=at) ** 2
        for at, values in enumerate((region.z, region.y, region.x))
        if values.size > 2
    )
    cleft = np.abs(field) / np.sqrt(steepness + np.float32(0.05**2))
    midline = np.abs(region.x + 1.2 * field) - np.float32(0.8 + 0.8 * old)
    deep = np.maximum(-depth - 19, 0) * np.float32(0.9)
    sulcus = cleft + deep - np.float32(0.5 + 0.9 * old)
    low = np.clip((645 - region.z) / 6, 0, 1) * 30
    fissure = np.maximum(midline, -(region.z - 676) * 0.6 + np.abs(region.y - 6) * -0.4) + low
    cortex = np.minimum(np.minimum(sulcus, -depth), np.maximum(fissure, -100))
    canvas.lay((region, depth), Tissue.GREY, Part.BRAIN)
    canvas.lay((region, np.maximum(depth, 3.6 - cortex)), Tissue.WHITE, Part.BRAIN)
    canvas.lay((region, np.maximum(depth, sulcus)), Tissue.WATER, Part.VENTRICLE)
    canvas.lay((region, np.maximum(depth, fissure)), Tissue.WATER, Part.VENTRICLE)
    _nuclei(canvas)
    _fossa(canvas)
    _ventricles(canvas, old)


def _nuclei(canvas: Canvas) -> None:
    grid = canvas.grid
    for sign in (-1.0, 1.0):
        canvas.lay(ellipsoid(grid, (sign * 24, -6, 658), (30, 34, 20)), Tissue.WHITE, Part.BRAIN)
        lens = np.array([[0.92, -0.38 * sign, 0], [0.38 * sign, 0.92, 0], [0, 0, 1.0]])
        canvas.lay(ellipsoid(grid, (sign * 25, -10, 657), (6.5, 17, 11), lens), Tissue.GREY, Part.BRAIN)
        canvas.lay(ellipsoid(grid, (sign * 11, 12, 660), (8.5, 15, 10), lens), Tissue.GREY, Part.BRAIN)
        tail = np.array([(sign * 13.0, -30, 662), (sign * 15, -16, 672), (sign * 19, 6, 678), (sign * 23, 24, 670)])
        canvas.lay(tube(grid, curve(tail, 2), np.array([7.0, 7, 6, 5, 4, 3, 2])), Tissue.GREY, Part.BRAIN)
        insula = np.array([(sign * 39.0, -26, 656), (sign * 41, -6, 660), (sign * 40, 14, 664)])
        canvas.lay(tube(grid, insula, 4.0, 2, 1.0), Tissue.GREY, Part.BRAIN)
        canvas.lay(
            tube(grid, insula + np.array([sign * 4.0, 0, 0]), 1.8 + 1.4 * canvas.person.years),
            Tissue.WATER,
            Part.VENTRICLE,
        )


def _ventricles(canvas: Canvas, old: float) -> None:
    grid, person = canvas.grid, canvas.person
    wide = (0.85 + 0.75 * old) * person.factor("ventricles", 0.18)
    for sign in (-1.0, 1.0):
        horn = np.array(
            [
                (sign * 9.0, -38, 664, 3),
                (sign * 8, -24, 670, 4.2),
                (sign * 9, -4, 680, 4.2),
                (sign * 14, 18, 680, 4.6),
                (sign * 24, 36, 668, 6.5),
                (sign * 22, 54, 662, 4),
                (sign * 18, 66, 660, 2),
            ]
        )
        body = curve(horn, 3)
        canvas.lay(tube(grid, body[:, :3], body[:, 3] * wide, 3), Tissue.WATER, Part.VENTRICLE)
        lower = np.array([(sign * 24.0, 36, 666, 5), (sign * 32, 24, 648, 3), (sign * 34, 2, 640, 2)])
        canvas.lay(tube(grid, lower[:, :3], lower[:, 3] * wide, 3), Tissue.WATER, Part.VENTRICLE)
    canvas.lay(ellipsoid(grid, (0, 2, 656), (2.0 * wide, 15, 11)), Tissue.WATER, Part.VENTRICLE)
    canvas.lay(ellipsoid(grid, (0, 34, 614), (6 * wide, 6, 9)), Tissue.WATER, Part.VENTRICLE)


def _fossa(canvas: Canvas) -> None:
    """Cerebellum with its folia under the tentorium, and the brainstem."""
    grid = canvas.grid
    for sign in (-1.0, 1.0):
        half = ellipsoid(grid, (sign * 22, 51, 606), (27, 29, 28), None, 4)
        if half is not None:
            region, solid = half
            canvas.lay(half, Tissue.WATER, Part.VENTRICLE, grow=1.8)
            canvas.lay(half, Tissue.GREY, Part.BRAIN)
            around = np.sqrt(region.x**2 + (region.y - 22) ** 2 + (region.z - 612) ** 2)
            leaf = np.abs(np.mod(around / 5.5, 1) - 0.5) * 5.5 - 1.9
            canvas.lay(
                (region, np.maximum(solid, -leaf)),
                Tissue.WATER,
                Part.BRAIN,
                within=np.full(region.shape, 0.35, np.float32),
            )
            canvas.lay(ellipsoid(grid, (sign * 18, 48, 606), (15, 17, 13)), Tissue.WHITE, Part.BRAIN)
    canvas.lay(ellipsoid(grid, (0, 52, 606), (9, 24, 22)), Tissue.GREY, Part.BRAIN)
    stem = np.array([(0.0, 10, 640), (0, 14, 628), (0, 16, 612), (0, 24, 594), (0, 32, 576)])
    canvas.lay(tube(grid, curve(stem, 2), np.array([13.0, 13, 14, 15, 14, 12, 10, 8, 6])), Tissue.NERVE, Part.BRAIN)
