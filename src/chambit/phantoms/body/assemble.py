"""From a person and a grid to a painted canvas: every part in the order in which it covers the others."""

from typing import NamedTuple

import numpy as np

from chambit.phantoms.body.abdomen import lay_abdomen
from chambit.phantoms.body.bones import lay_cage, lay_pelvis, lay_shoulders
from chambit.phantoms.body.head import lay_head
from chambit.phantoms.body.muscles import lay_muscles
from chambit.phantoms.body.paint import Canvas, Palette, cover_of
from chambit.phantoms.body.person import Person
from chambit.phantoms.body.space import Grid, ellipsoid
from chambit.phantoms.body.spine import lay_spine
from chambit.phantoms.body.thorax import lay_airways, lay_heart, lay_lungs, lay_vessels
from chambit.phantoms.body.tissue import Part, Tissue
from chambit.phantoms.body.wall import Arms, lay_wall


class Pose(NamedTuple):
    """How somebody was examined.

    Attributes:
        arms: 'down' at the sides, 'out' with the hands on the hips, 'up' beside the head.
        erect: Standing, so that gas rises towards the head; else lying on the back.
        breath: How far the diaphragm lies below its middle position, in mm.
    """

    arms: Arms
    erect: bool
    breath: float


def paint(person: Person, grid: Grid, palette: Palette, pose: Pose, *, detail: bool = True) -> Canvas:
    """Paint one body.

    Args:
        person: Whose body.
        grid: Where to sample it, in mm of the reference adult.
        palette: What the tissues' values are.
        pose: How the person was examined.
        detail: Whether to draw the thin sheets of fat between muscles.

    Returns:
        The canvas with values, parts and the lesion's share of each point.
    """
    canvas = Canvas(grid, person, palette, detail)
    body = lay_wall(canvas, pose.arms)
    if body is not None:
        lay_abdomen(canvas, body, pose.breath, pose.erect)
        lay_muscles(canvas, body)
        lay_vessels(canvas, pose.breath, heart=False)
        lay_lungs(canvas, body, pose.breath)
        lay_heart(canvas, pose.breath)
        lay_vessels(canvas, pose.breath, heart=True)
        lay_airways(canvas, grid)
    lay_head(canvas)
    lay_spine(canvas)
    if body is not None:
        lay_cage(canvas, body)
    lay_shoulders(canvas, pose.arms)
    lay_pelvis(canvas, body)
    _lesion(canvas, pose)
    return canvas


def _lesion(canvas: Canvas, pose: Pose) -> None:
    """Lay the focal lesion into what is liver or lung around it: lobed or spiculated, with a dead core or none."""
    lesion = canvas.person.lesion
    if lesion is None:
        return
    moved = (*lesion.centre[:2], lesion.centre[2] - (0.7 if lesion.organ == "liver" else 0.3) * pose.breath)
    found = ellipsoid(canvas.grid, moved, (lesion.radius,) * 3, None, 6)
    if found is None:
        return
    region, solid = found
    lobes = canvas.waves(region, "lesion", 0.55 * lesion.radius)
    solid = solid + np.float32(0.2 * lesion.radius) * lobes
    home = (Part.LIVER, Part.VESSEL) if lesion.organ == "liver" else (Part.LUNG,)
    within = canvas.share(region, *home)
    canvas.lesion[region.where] = cover_of(solid, canvas.grid.edge) * within
    canvas.lay((region, solid), Tissue.TUMOUR, Part.LESION, within=within)
    if lesion.core > 0:
        canvas.lay(
            (region, solid / np.float32(lesion.core) + np.float32(lesion.radius * (1 / lesion.core - 1))),
            Tissue.NECROSIS,
            Part.LESION,
            within=within,
        )
