"""Whole bodies and trunks as volumes: values in [0, 1] and a label at every voxel.

Limits: voxels are longer from head to foot than across; the brain of a whole body is a few voxels wide.
"""

from typing import Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from chambit.phantoms.body.assemble import Pose, paint
from chambit.phantoms.body.machine import SITES, receive
from chambit.phantoms.body.paint import Palette
from chambit.phantoms.body.person import Person, person
from chambit.phantoms.body.space import Grid, Map, axis
from chambit.phantoms.body.tissue import hounsfield, spin_echo

Field = Literal["body", "trunk"]
Modality = Literal["MR", "CT"]


class Extent(NamedTuple):
    """What a field covers, in mm of the reference adult: heights, and half of what lies across and in depth."""

    low: float
    high: float
    across: float
    depth: float


FIELDS: Final[dict[str, Extent]] = {
    "body": Extent(-325.0, 745.0, 285.0, 168.0),
    "trunk": Extent(-175.0, 465.0, 235.0, 168.0),
}
WHITE: Final = {"T1": 0.70, "T2": 0.50}


def volume(
    seed: int,
    index: int,
    voxels: int,
    modality: Modality = "MR",
    *,
    weighting: str = "T1",
    field: Field = "body",
    prevalence: float = 0.5,
) -> tuple[Map, NDArray[np.uint8]]:
    """Draw one person as a cube of voxels that fills its field.

    Args:
        seed: Cohort seed.
        index: The person's index.
        voxels: Voxels along each axis, 16 to 256.
        modality: 'MR', or 'CT' shown in the soft tissue window 40/400.
        weighting: 'T1' or 'T2'; of MR only.
        field: 'body' from head to thighs or 'trunk' from neck to hips; see FIELDS for its size in mm.
        prevalence: Probability that a person has a lesion.

    Returns:
        Values (Z, Y, X) float32 in [0, 1], from the feet up, from the front to the back and from the right to the
        left; and labels of that shape, uint8, values of chambit.phantoms.body.tissue.Part.

    Raises:
        ValueError: When there are fewer than 16 or more than 256 voxels.
    """
    if not 16 <= voxels <= 256:
        raise ValueError(f"voxels must lie between 16 and 256, not {voxels}")
    extent = FIELDS[field]
    who = person(seed, index, prevalence)
    axes = (
        axis(extent.low, extent.high, voxels),
        axis(-extent.depth, extent.depth, voxels),
        axis(-extent.across, extent.across, voxels),
    )
    return scan(who, axes, modality, weighting)


def scan(who: Person, axes: tuple[Map, Map, Map], modality: Modality, weighting: str) -> tuple[Map, NDArray[np.uint8]]:
    """Scan a person on axes (z, y, x) in mm of the reference adult; returns as `volume` does.

    The arms lie at the sides. Noise and the coil's bias depend on the person and the axes' lengths.
    """
    # the middle one: thick slices are not blurred across as they are along
    edge = 0.8 * sorted(float(values[1] - values[0]) for values in axes)[1]
    palette = Palette(*(hounsfield(False) if modality == "CT" else spin_echo(weighting)))
    canvas = paint(who, Grid(*axes, edge), palette, Pose("down", False, 0.0))
    noise = who.stream("noise", modality, weighting, "volume")
    shown: Map
    if modality == "CT":
        grain = noise.standard_normal(canvas.value.shape, dtype=np.float32) * np.float32(SITES[who.site].noise)
        shown = (canvas.value + grain + np.float32(160)) / np.float32(400)
    else:
        shown = receive(canvas.value, SITES[who.site], noise) / np.float32(WHITE[weighting])
    return np.clip(shown, 0, 1), canvas.part
