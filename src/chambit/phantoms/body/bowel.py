"""Stomach, duodenum, small bowel and colon, with their contents.

Hollow organs are tubes with a wall; gas lies where gravity lets it rise, in front when a person lies and above when
they stand.

Source: places laid out by eye on the Visible Human (Spitzer et al. 1996, DOI 10.1136/jamia.1996.96236280).

Limits: loops of small bowel may pass through one another where their walks cross; no appendix.
"""

from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from chambit.phantoms.body.paint import Canvas
from chambit.phantoms.body.person import Person
from chambit.phantoms.body.space import Map, curve, tube, within
from chambit.phantoms.body.tissue import Part, Tissue
from chambit.phantoms.body.wall import Trunk

LOOPS: Final = 11
STOMACH: Final = (
    (50, 22, 232, 20),
    (58, 14, 216, 33),
    (62, -4, 190, 33),
    (56, -28, 164, 29),
    (34, -50, 142, 25),
    (4, -52, 132, 20),
    (-20, -38, 138, 14),
    (-30, -28, 142, 9),
)
DUODENUM: Final = (
    (-30, -28, 142, 11),
    (-44, -12, 136, 12),
    (-46, -4, 108, 12),
    (-40, -8, 82, 12),
    (-8, -20, 76, 11),
    (24, -22, 92, 10),
    (34, -34, 110, 10),
)
COLON: Final = (
    (-78, -14, -30, 24),
    (-86, 6, 10, 25),
    (-92, 16, 50, 24),
    (-90, 4, 92, 22),
    (-72, -48, 96, 20),
    (-30, -74, 78, 20),
    (12, -78, 74, 19),
    (52, -70, 92, 19),
    (86, -24, 128, 18),
    (100, 10, 146, 17),
    (105, 36, 112, 15),
    (102, 46, 70, 15),
    (96, 36, 15, 15),
    (80, 6, -30, 15),
    (44, -12, -48, 16),
    (8, 6, -34, 16),
    (-14, 34, -52, 16),
    (2, 52, -74, 17),
    (0, 62, -98, 19),
    (0, 50, -128, 13),
)


def lay_bowel(canvas: Canvas, body: Trunk, below: Map, down: NDArray[np.float64], erect: bool) -> None:
    """Lay the hollow organs from the back to the front.

    Args:
        canvas: What is painted.
        body: The trunk.
        below: Distance to what lies below the diaphragm, in the trunk's region.
        down: How far breathing has moved the upper organs, (x, y, z) in mm.
        erect: Whether gas rises towards the head instead of the front.
    """
    _duodenum(canvas, down * 0.5)
    _loops(canvas, body)
    _colon(canvas, body, erect)
    _stomach(canvas, body, below, down, erect)


def _duodenum(canvas: Canvas, move: NDArray[np.float64]) -> None:
    line = np.array(DUODENUM, float)
    line[:, :3] += canvas.person.shift("duodenum", 3) + move
    fine = curve(line, 3)
    solid = tube(canvas.grid, fine[:, :3], fine[:, 3], 3)
    canvas.lay(solid, Tissue.GUT, Part.BOWEL)
    canvas.lay(solid, Tissue.CHYME, Part.BOWEL, grow=-3.0)


def _stomach(canvas: Canvas, body: Trunk, below: Map, down: NDArray[np.float64], erect: bool) -> None:
    """The stomach with its folds, food, and gas above the level of the fluid."""
    person = canvas.person
    line = np.array(STOMACH, float)
    line[:, :3] += person.shift("stomach", 4) + down * 0.8
    line[:, 3] *= person.factor("stomach", 0.14)
    fine = curve(line, 3)
    found = tube(canvas.grid, fine[:, :3], fine[:, 3], 5)
    if found is None:
        return
    region, cut = found[0], within(body.region, found[0])
    solid = np.maximum(found[1], np.maximum(body.cavity[cut] + 5, below[cut] + 4))
    folds = canvas.waves(region, "folds", 9.0)
    canvas.lay((region, solid), Tissue.GUT, Part.STOMACH)
    lumen = solid + 5.5 + 2.2 * folds
    canvas.lay((region, lumen), Tissue.CHYME, Part.STOMACH)
    level = (
        (208.0 + person.shift("gas", (0, 0, 9))[2] + down[2]) if erect else -24.0 + person.shift("gas", (0, 8, 0))[1]
    )
    free = np.clip((region.z - level) / 2, 0, 1) if erect else np.clip((level - region.y) / 2, 0, 1)
    canvas.lay((region, lumen), Tissue.AIR, Part.STOMACH, within=(free + 0 * lumen).astype(np.float32))


@lru_cache(maxsize=8)
def walks(person: Person) -> tuple[tuple[NDArray[np.float64], float], ...]:
    """Walk each loop of small bowel, turning back at the borders of its room: rows (x, y, z, radius), and fullness."""
    centre, room = np.array([4.0, -36, 16]), np.array([80.0, 42, 84])
    made = []
    for number in range(LOOPS):
        rng = person.stream("loop", number)
        points = [np.clip(rng.standard_normal(3), -1.2, 1.2) * 0.6]
        heading = rng.standard_normal(3)
        for step in rng.standard_normal((15, 3)):
            heading = 0.72 * heading / np.linalg.norm(heading) + 0.62 * step
            heading -= 1.1 * points[-1] * max(0.0, float(np.linalg.norm(points[-1])) - 0.62)
            points.append(points[-1] + 0.36 * heading / np.linalg.norm(heading))
        inside = np.stack([p / max(1.0, float(np.linalg.norm(p))) for p in points])
        line = curve(centre + inside * room * (1 + 0.004 * person.belly) + (0, -0.7 * person.belly, 0), 3)
        width = 10.5 + 2.5 * float(rng.random()) + 1.2 * np.sin(np.arange(len(line)) * 0.9)
        made.append((np.column_stack([line, width]), 0.3 + 0.7 * float(rng.random())))
    return tuple(made)


def _loops(canvas: Canvas, body: Trunk) -> None:
    """Small bowel in its coat of fat; a few loops hold gas."""
    for number, (line, full) in enumerate(walks(canvas.person)):
        found = tube(canvas.grid, line[:, :3], line[:, 3], 2)
        if found is None:
            continue
        region = found[0]
        ok = (body.cavity[within(body.region, region)] < -2).astype(np.float32)
        canvas.lay(found, Tissue.FAT, Part.FAT, grow=1.3, within=ok)
        canvas.lay(found, Tissue.GUT, Part.BOWEL, within=ok)
        folds = canvas.waves(region, f"folds {number}", 5.0)
        canvas.lay((region, found[1] + 3.2 + 1.6 * folds), Tissue.CHYME, Part.BOWEL, within=ok * np.float32(full))
        if number in (2, 7):
            gas = np.clip((canvas.waves(region, "small bowel gas", 22.0) - 0.45) * 6, 0, 1)
            canvas.lay((region, found[1] + 3.0), Tissue.AIR, Part.BOWEL, within=ok * gas)


def _colon(canvas: Canvas, body: Trunk, erect: bool) -> None:
    """The large bowel: haustra, mottled stool on the right, gas in the parts that lie highest."""
    person = canvas.person
    line = np.array(COLON, float)
    line[:, :3] += np.clip(person.stream("colon").standard_normal((len(line), 3)), -2, 2) * (4, 4, 7)
    line[:, 0] *= 1 + 0.003 * person.belly
    line[:, 1] -= 0.8 * person.belly * np.clip(-line[:, 1] / 70, 0, 1)
    line[:, 3] *= person.factor("colon", 0.1)
    fine = curve(line, 4)
    steps = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(fine[:, :3], axis=0), axis=1))])
    radius = fine[:, 3] * (1 + 0.13 * np.sin(steps / 5.5))
    found = tube(canvas.grid, fine[:, :3], radius, 3)
    if found is None:
        return
    region = found[0]
    ok = (body.cavity[within(body.region, region)] < -1).astype(np.float32)
    canvas.lay(found, Tissue.GUT, Part.BOWEL, within=ok)
    lumps = canvas.waves(region, "stool", 10.0)
    canvas.lay((region, found[1] + 2.6), Tissue.STOOL, Part.BOWEL, within=ok, shade=0.8 * lumps)
    broad = canvas.waves(region, "colon gas", 40.0)
    high = (region.z - 80) / 60 if erect else (-25 - region.y) / 40
    gas = np.clip((0.55 * np.clip(high, -1, 1) + 0.9 * broad - 0.25) * 5, 0, 1)
    canvas.lay((region, found[1] + 2.6), Tissue.AIR, Part.BOWEL, within=(ok * gas).astype(np.float32))
