"""Muscles seen one by one in cross-sections: along the spine, loin, front of the abdomen and buttocks.

Source: laid out by eye on the Visible Human (Spitzer et al. 1996, DOI 10.1136/jamia.1996.96236280).

Limits: pelvic floor and the small muscles of the hip are part of the common mass of chambit.phantoms.body.wall.
"""

from typing import Final

import numpy as np

from chambit.phantoms.body.paint import Canvas
from chambit.phantoms.body.space import curve, tube
from chambit.phantoms.body.tissue import Part, Tissue
from chambit.phantoms.body.wall import Trunk

# points (x, y, z) of the left one's axis and its half width and half depth
ERECTOR: Final = (
    (26.0, 88, -40, 15, 13),
    (32, 80, 0, 24, 20),
    (36, 76, 60, 29, 21),
    (36, 80, 120, 28, 19),
    (34, 88, 180, 24, 16),
    (27, 98, 260, 18, 12),
    (25, 98, 340, 16, 12),
    (24, 86, 400, 16, 14),
    (20, 68, 460, 15, 15),
    (18, 58, 540, 14, 15),
)
PSOAS: Final = (
    (24.0, 24, 165, 6, 8),
    (32, 22, 120, 12, 14),
    (40, 16, 70, 18, 20),
    (46, 10, 25, 22, 22),
    (56, -6, -20, 20, 20),
    (72, -30, -62, 16, 17),
    (86, -38, -100, 14, 14),
)
QUADRATUS: Final = ((58.0, 56, 150, 5, 4), (66, 55, 110, 14, 7), (72, 52, 60, 18, 9), (70, 54, 35, 15, 8))


def lay_muscles(canvas: Canvas, body: Trunk) -> None:
    """Lay the muscles of the back and loin, each in a thin coat of fat, and the layers of the flank."""
    strong = canvas.person.factor("muscles", 0.08) * (0.9 if canvas.person.sex == "F" else 1.0)
    strong *= 1 - 0.12 * canvas.person.years
    for sign in (-1.0, 1.0):
        for rows in (QUADRATUS, PSOAS, ERECTOR):
            line = curve(np.array(rows, float) * (sign, 1, 1, 1, 1), 2)
            flat = float(np.mean(line[:, 4] / line[:, 3]))
            solid = tube(canvas.grid, line[:, :3], line[:, 3] * strong, 3, flat)
            canvas.lay(solid, Tissue.FAT, Part.MUSCLE, grow=0.8)
            canvas.lay(solid, Tissue.MUSCLE, Part.MUSCLE)
    if canvas.detail:
        _flank(canvas, body)


def _flank(canvas: Canvas, body: Trunk) -> None:
    """Two sheets of fat between the three flat muscles of the flank, and the midline of the front."""
    region = body.region
    if not ((region.z > 25) & (region.z < 185)).any():
        return
    thick = np.maximum(body.cavity - body.lean, 1.0)
    level = np.clip((160 - region.z) / 15, 0, 1) * np.clip((region.z - 20) / 15, 0, 1)
    flank = np.clip((body.side - 0.72) * 8, 0, 1) * level
    for share in (0.36, 0.68):
        sheet = np.abs(-body.lean - share * thick) - np.float32(0.7)
        inside = (body.cavity > 0) & (body.lean < 0)
        canvas.lay((region, sheet), Tissue.FAT, Part.MUSCLE, within=(flank * inside).astype(np.float32))
    front = np.clip((-body.back - 0.85) * 8, 0, 1) * level * (body.cavity > 0) * (body.lean < 1)
    line = np.minimum(np.abs(region.x) - 3.0, np.abs(np.abs(region.x) - 66) - 2.5)
    canvas.lay((region, line + 0 * body.lean), Tissue.FAT, Part.MUSCLE, within=front.astype(np.float32))
