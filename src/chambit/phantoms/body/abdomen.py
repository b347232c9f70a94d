"""Solid organs of the abdomen, and the pelvis: liver, spleen, kidneys, pancreas, bladder, genital organs.

Source: places laid out by eye on the Visible Human (Spitzer et al. 1996, DOI 10.1136/jamia.1996.96236280).

Limits: no adrenal glands, no ureters, liver segments are not told apart.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from chambit.phantoms.body.bowel import lay_bowel
from chambit.phantoms.body.paint import Canvas
from chambit.phantoms.body.space import Map, curve, ellipsoid, fit, softly, tube, within
from chambit.phantoms.body.thorax import dome
from chambit.phantoms.body.tissue import Part, Tissue
from chambit.phantoms.body.wall import Trunk

# the liver's lower edge and its furthest point behind, by x
LOWER_EDGE: Final = ((-140, -105, -75, -45, -15, 25, 60, 85), (76, 88, 118, 149, 159, 163, 191, 232))
BEHIND: Final = ((-140, -60, -36, -8, 30, 80), (82, 80, 26, -6, -16, -10))
LIVER_TREE: Final = (
    ("portal", ((-30, -12, 166, 6.0), (-48, -8, 176, 5.5), (-72, 4, 184, 4.5), (-100, 16, 186, 2.5))),
    ("portal front", ((-58, -6, 180, 4.5), (-74, -34, 190, 3.5), (-86, -58, 196, 2))),
    ("portal left", ((-30, -12, 166, 5.5), (-18, -38, 184, 4.5), (14, -58, 194, 3), (36, -64, 200, 1.8))),
    ("hepatic right", ((-24, 0, 226, 6), (-58, 12, 216, 5), (-92, 22, 196, 3.5), (-108, 24, 160, 2))),
    ("hepatic middle", ((-23, -4, 226, 5.5), (-44, -32, 214, 4.5), (-62, -56, 194, 3), (-68, -64, 170, 2))),
    ("hepatic left", ((-21, -6, 228, 5), (2, -36, 216, 4), (26, -54, 208, 2.5))),
)
PANCREAS: Final = (
    (-30, -16, 112, 12),
    (-24, -20, 130, 14),
    (0, -30, 142, 10),
    (30, -18, 156, 11),
    (62, 10, 174, 11),
    (84, 30, 186, 8),
)


def lay_abdomen(canvas: Canvas, body: Trunk, breath: float, erect: bool) -> None:
    """Lay all organs below the diaphragm; solid ones are not dented by hollow ones, so they come later."""
    region = body.region
    if float(region.z.min()) > 250:
        return
    below = (region.z - dome(canvas.person, region, breath)) * np.float32(0.75)
    inner = np.maximum(body.cavity, np.maximum(below, -(region.z + 150)))
    canvas.lay((region, inner), Tissue.FAT, Part.FAT)
    down = np.array([0.0, 0.0, -0.7 * breath])
    _kidneys(canvas, down)
    _pelvic(canvas)
    lay_bowel(canvas, body, below, down, erect)
    _pancreas(canvas, down * 0.5)
    _spleen(canvas, body, below, down)
    _liver(canvas, body, below, down)


def _liver(canvas: Canvas, body: Trunk, below: Map, down: NDArray[np.float64]) -> None:
    region, person = body.region, canvas.person
    x = region.x
    edge = np.interp(x, *LOWER_EDGE) + person.shift("liver", (0, 0, 11))[2] + down[2]
    back = np.interp(x, *BEHIND) + person.shift("liver back", (0, 3, 0))[1]
    rough = canvas.waves(region, "liver", 26.0)
    bevel = np.clip(0.45 * (region.y + 5), -28, 38)
    under = (edge.astype(np.float32) + bevel - region.z) * np.float32(0.8) + 7 * rough
    behind = (region.y - back.astype(np.float32)) * np.float32(0.85) + 3 * rough
    outer = np.maximum(np.maximum(body.cavity + 1.5, below + 3), x - np.float32(64 + person.shift("left lobe", 12)[0]))
    liver = -softly(-outer, -np.maximum(-softly(-under, -behind, 16.0), -60), 10.0)
    canvas.lay((region, liver), Tissue.LIVER, Part.LIVER)
    if not (liver < 0).any():
        return
    cleft = np.array([(-12.0, -96, 205), (-10, -70, 180), (-14, -40, 170), (-16, -20, 178)]) + down
    groove = tube(canvas.grid, curve(cleft, 2), 2.4)
    if groove is not None:
        canvas.lay(groove, Tissue.FAT, Part.FAT, within=canvas.share(groove[0], Part.LIVER))
    for name, rows in LIVER_TREE:
        line = np.array(rows, float)
        line[:, :3] += person.shift(name, 3.5) + down
        vessel = tube(canvas.grid, curve(line, 2)[:, :3], curve(line, 2)[:, 3])
        if vessel is not None:
            canvas.lay(vessel, Tissue.VEIN, Part.VESSEL, within=canvas.share(vessel[0], Part.LIVER))
    place = np.array([(-52.0, -34, 150), (-58, -54, 128), (-62, -68, 104)]) + down + person.shift("gallbladder", 4)
    size = person.factor("gallbladder", 0.2)
    sac = tube(canvas.grid, curve(place, 2), curve(np.array([[5.0], [13], [15]]) * size, 2)[:, 0], 4)
    canvas.lay(sac, Tissue.GUT, Part.GALLBLADDER, grow=1.5)
    canvas.lay(sac, Tissue.WATER, Part.GALLBLADDER)


def _spleen(canvas: Canvas, body: Trunk, below: Map, down: NDArray[np.float64]) -> None:
    size = canvas.person.factor("spleen", 0.13)
    lean = np.array([[0.75, -0.62, 0.2], [0.6, 0.78, 0.15], [-0.25, 0.0, 0.97]])
    lean /= np.linalg.norm(lean, axis=1, keepdims=True)
    at = np.array([104.0, 44, 186]) + down + canvas.person.shift("spleen", 4)
    found = ellipsoid(canvas.grid, at.tolist(), (35 * size, 52 * size, 58 * size), lean, 6)
    if found is None:
        return
    region, solid = found
    cut = within(body.region, region)
    hollow = ellipsoid(canvas.grid, (at - np.array([52.0, 28, 6])).tolist(), (36, 40, 60), None, 60)
    solid = np.maximum(solid, np.maximum(body.cavity[cut] + 2, below[cut] + 3))
    if hollow is not None:
        solid = np.maximum(solid, -fit(hollow, region))
    bumps = canvas.waves(region, "spleen", 20.0)
    canvas.lay((region, solid + 2.5 * bumps), Tissue.SPLEEN, Part.SPLEEN)


def _kidneys(canvas: Canvas, down: NDArray[np.float64]) -> None:
    for side, sign, height in (("left", 1.0, 134.0), ("right", -1.0, 118.0)):
        person = canvas.person
        size = person.factor(f"kidney {side}", 0.07) * person.factor("kidneys", 0.05)
        at = np.array([sign * 72, 36, height]) + 0.8 * down + person.shift(f"kidney {side}", (4, 3, 7))
        axis = np.array([-0.20 * sign, 0.18, 0.96])
        out = np.array([sign * 0.82, 0.55, 0.0])
        out -= axis * (out @ axis) / (axis @ axis)
        frame = np.stack([v / np.linalg.norm(v) for v in (out, np.cross(axis, out), axis)])
        found = ellipsoid(canvas.grid, at.tolist(), (25 * size, 29 * size, 54 * size), frame, 6)
        if found is None:
            continue
        region, solid = found
        hilum = ellipsoid(
            canvas.grid, (at - frame[0] * 19 * size).tolist(), (17 * size, 11 * size, 30 * size), frame, 30
        )
        bumps = canvas.waves(region, f"kidney {side}", 14.0)
        canvas.lay((region, solid + bumps), Tissue.CORTEX, Part.KIDNEY)
        canvas.lay((region, np.maximum(solid + 6.5, (np.abs(bumps) - 0.42) * 14)), Tissue.MEDULLA, Part.KIDNEY)
        if hilum is not None:
            sinus = fit(hilum, region)
            canvas.lay((region, np.maximum(sinus, solid - 2) + 2 * bumps), Tissue.FAT, Part.KIDNEY)
            pelvis = np.array([at - frame[0] * 8 * size, at - frame[0] * 26 * size, at - frame[0] * 30 - (0, 2, 22)])
            canvas.lay(tube(canvas.grid, pelvis, np.array([5.0, 5, 2]) * size), Tissue.WATER, Part.KIDNEY)


def _pancreas(canvas: Canvas, down: NDArray[np.float64]) -> None:
    line = np.array(PANCREAS, float)
    line[:, :3] += canvas.person.shift("pancreas", 3) + down
    line[:, 3] *= canvas.person.factor("pancreas", 0.1) * (1 - 0.25 * canvas.person.years)
    fine = curve(line, 3)
    found = tube(canvas.grid, fine[:, :3], fine[:, 3], 5)
    if found is not None:
        lobes = canvas.waves(found[0], "pancreas", 5.0)
        depth = (1.0 + 2.0 * canvas.person.years) * lobes
        canvas.lay((found[0], found[1] + depth), Tissue.PANCREAS, Part.PANCREAS)


def _pelvic(canvas: Canvas) -> None:
    """Bladder; uterus and ovaries, or prostate and seminal vesicles."""
    person, grid = canvas.person, canvas.grid
    size = person.factor("bladder", 0.2)
    move = person.shift("pelvis", 3)

    def organ(
        at: tuple[float, float, float], radii: tuple[float, float, float], tissue: Tissue, part: Part, grow: float = 0.0
    ) -> None:
        canvas.lay(ellipsoid(grid, (np.array(at) + move).tolist(), radii, None, 5), tissue, part, grow=grow)

    if person.sex == "F":
        organ((6.0, 2.0, -64.0), (26.0, 30.0, 22.0), Tissue.GLAND, Part.GENITAL)
        organ((6.0, 0.0, -64.0), (12.0, 16.0, 4.0), Tissue.WATER, Part.GENITAL)
        organ((0.0, 16.0, -98.0), (15.0, 13.0, 18.0), Tissue.GLAND, Part.GENITAL)
        for side in (-1.0, 1.0):
            organ((46.0 * side, 4.0, -56.0), (14.0, 10.0, 16.0), Tissue.GLAND, Part.GENITAL)
            organ((48.0 * side, 2.0, -56.0), (5.0, 4.0, 5.0), Tissue.WATER, Part.GENITAL)
    else:
        organ((0.0, -10.0, -116.0), (23.0, 17.0, 19.0), Tissue.GLAND, Part.GENITAL)
        for side in (-1.0, 1.0):
            organ((18.0 * side, 14.0, -92.0), (18.0, 7.0, 8.0), Tissue.GLAND, Part.GENITAL)
    radii = (36 * size, 30 * size, 27 * size)
    organ((0.0, -40.0, -82.0), radii, Tissue.MUSCLE, Part.BLADDER, 3.0)
    organ((0.0, -40.0, -82.0), radii, Tissue.WATER, Part.BLADDER)
