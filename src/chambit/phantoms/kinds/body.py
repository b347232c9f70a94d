"""Whole-body or trunk volumes, MR or CT, as sequences of slices, one PNG for each."""

from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from chambit.core.evidence import Frozen
from chambit.images import geometry
from chambit.phantoms.body import files, volumes
from chambit.phantoms.body.person import Person, person
from chambit.phantoms.body.space import Map, axis
from chambit.phantoms.body.tissue import Part
from chambit.phantoms.body.volumes import volume

__all__ = ["FORM", "Options", "draw", "images", "version", "volume"]

version = "2"  # the rows say how voxels lie
RATE = 50.0
FORM = {"channels": 1, "axis": "depth"}


class Options(Frozen):
    """What is scanned.

    Attributes:
        modality: 'MR' or 'CT' (window 40/400).
        weighting: 'T1' or 'T2'; of MR only.
        plane: 'coronal' from front to back or 'axial' from the head down.
        slices: Frames of each volume.
        field: 'body' from head to thighs or 'trunk' from neck to hips.
        prevalence: Share of people with a lesion of lung or liver.
        layouts: Whether a PNG of the parts goes with each frame.
    """

    modality: Literal["MR", "CT"] = "MR"
    weighting: Literal["T1", "T2"] = "T1"
    plane: Literal["coronal", "axial"] = "coronal"
    slices: int = Field(32, ge=8, le=128)
    field: Literal["body", "trunk"] = "body"
    prevalence: float = Field(0.5, ge=0, le=1)
    layouts: bool = True


def images(patients: int, options: Options) -> int:
    """Number of frames of so many patients, who are scanned once."""
    return patients * options.slices


def draw(folder: Path, first: int, count: int, pixels: int, seed: int, options: Options) -> list[dict[str, Any]]:
    """Draw patients first .. first + count - 1 and write their frames; one row for each frame.

    All frames of a volume have one label: 'lesion' where any of them shows the lesion. Pixels are square: coronal
    frames are as wide as the field is high.
    """
    rows: list[dict[str, Any]] = []
    for index in range(first, first + count):
        who = person(seed, index, options.prevalence)
        value, part = volumes.scan(who, _axes(options, pixels), options.modality, options.weighting)
        if options.plane == "coronal":
            value, part = value[::-1].transpose(1, 0, 2), part[::-1].transpose(1, 0, 2)
        else:
            value, part = value[::-1], part[::-1]
        rows += _frames(folder, who, np.rint(value * 255).astype(np.uint8), part, options)
    return rows


def _axes(options: Options, pixels: int) -> tuple[Map, Map, Map]:
    extent = volumes.FIELDS[options.field]
    if options.plane == "axial":
        half = extent.across
        return (axis(extent.low, extent.high, options.slices), axis(-half, half, pixels), axis(-half, half, pixels))
    half = 0.5 * (extent.high - extent.low)
    deep = 0.8 * extent.depth  # beyond lies only fat of the largest
    return (axis(extent.low, extent.high, pixels), axis(-deep, deep, options.slices), axis(-half, half, pixels))


def _lie(options: Options, shape: tuple[int, ...]) -> tuple[str, str]:
    """Directions and spacing of columns, rows and frames as `images.geometry` has them, mm of the reference adult."""
    rows = shape[1]
    heights, depths, widths = _axes(options, rows)
    high, deep, wide = (float(np.diff(one).mean()) for one in (heights, depths, widths))
    lengths = (wide, high, deep) if options.plane == "coronal" else (wide, deep, high)
    return ("LIP" if options.plane == "coronal" else "LPI"), geometry.spaced(*lengths)


def _frames(folder: Path, who: Person, value: np.ndarray, part: np.ndarray, options: Options) -> list[dict[str, Any]]:
    lesion = part == Part.LESION
    series = f"{who.subject}-{options.modality}"
    axes, spacing = _lie(options, value.shape)
    shared = {
        "axes": axes,
        "spacing_mm": spacing,
        **({"units": "HU", "units_black": "-160", "units_white": "240"} if options.modality == "CT" else {}),
        "subject": who.subject,
        "label": "lesion" if lesion.any() else "normal",
        "series": series,
        "modality": options.modality,
        "plane": options.plane,
        "sex": who.sex,
        "age_band": who.age_band,
        "habitus": who.habitus,
        "site": who.site,
    }
    rows = []
    for number in range(len(value)):
        stem = f"{who.subject}/{series}-{number:03d}"
        files.put(folder / f"{stem}.png", files.png(np.ascontiguousarray(value[number])))
        row = {"file": f"{stem}.png", **shared, "frame": str(number), "mask": "", "layout": ""}
        if lesion[number].any():
            row["mask"] = f"{stem}.mask.png"
            files.put(folder / row["mask"], files.png(lesion[number].astype(np.uint8) * 255))
        if options.layouts:
            row["layout"] = f"{stem}.layout.png"
            files.put(folder / row["layout"], files.png(np.ascontiguousarray(part[number])))
        rows.append(row)
    return rows
