"""Time-lapse of embryos in the wells of an incubator microscope, from pronuclei to blastocyst, as PNG.

A couple has one to four embryos, each a series of frames over hours 18 to 116 after insemination; or, with `single`,
one image of each embryo. The label is the stage. Mask: the inner cell mass of blastocysts; other stages have none.
Layout: `chambit.phantoms.embryo.parts.PARTS`. What is drawn, its sources and its limits: chambit.phantoms.embryo.
"""

from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from chambit.core.evidence import Frozen
from chambit.phantoms.canvas import put_case
from chambit.phantoms.embryo import picture
from chambit.phantoms.embryo.couples import FIRST_HOUR, LAST_HOUR, Embryo, State, embryos, state, stream

version = "1"
RATE = 140.0
PER_COUPLE = 2.18
"""Embryos of a couple on average."""
Plane = Annotated[int, Field(ge=-2, le=2)]


class Options(Frozen):
    """What a study may set.

    `frames`: of each series, 12 to 24; `planes`: focal planes, -2 to 2, each a series of its own; `single`: one frame
    and one of the planes of each embryo instead, drawn by chance.
    """

    frames: int = Field(16, ge=12, le=24)
    planes: tuple[Plane, ...] = Field((0,), min_length=1)
    single: bool = False


def form(options: Options) -> dict[str, Any]:
    """Sequences in time, or single pictures."""
    return {"channels": 1, "axis": "" if options.single else "time"}


def images(patients: int, options: Options) -> int:
    """Expected number of images of so many couples, who have one to four embryos."""
    each = 1 if options.single else options.frames * len(options.planes)
    return round(patients * PER_COUPLE * each)


def draw(folder: Path, first: int, count: int, pixels: int, seed: int, options: Options) -> list[dict[str, Any]]:
    """Draw couples first .. first + count - 1 and write their files; one row for each frame.

    Args:
        folder: root of the cohort.
        first: index of the first couple, at least 0.
        count: number of couples.
        pixels: image height and width, at least 16.
        seed: of the cohort.
        options: frames, planes, single.
    """
    return [
        row
        for index in range(first, first + count)
        for embryo in embryos(seed, index)
        for row in _series(folder, embryo, pixels, options)
    ]


def _series(folder: Path, embryo: Embryo, pixels: int, options: Options) -> list[dict[str, Any]]:
    """Draw and write the frames of one embryo."""
    made = picture.portrait(embryo, options.frames, pixels)
    hours = np.linspace(FIRST_HOUR, LAST_HOUR, options.frames)
    wanted = [(plane, number) for plane in options.planes for number in range(options.frames)]
    if options.single:
        wanted = [wanted[int(stream(*embryo.key, 6).integers(len(wanted)))]]
    rows = []
    for plane, number in wanted:
        # hours are told to a tenth, and the picture is of that hour
        now = state(embryo, round(float(hours[number]), 1))
        taken = picture.frame(made, now, number, plane)
        series = embryo.name if plane == 0 else f"{embryo.name}z{plane:+d}"
        files = put_case(
            folder,
            f"{embryo.subject}/{series}-{number:02d}",
            taken.grey,
            taken.mass if now.stage == "blastocyst" and taken.mass.any() else None,
            taken.layout,
        )
        place = {"series": "", "frame": ""} if options.single else {"series": series, "frame": str(number)}
        rows.append({"subject": embryo.subject, "label": now.stage} | place | _told(embryo, now, plane) | files)
    return rows


def _told(embryo: Embryo, now: State, plane: int) -> dict[str, str]:
    """The free columns of a frame; cells are counted until they compact, a grade is given to blastocysts alone."""
    return {
        "embryo": embryo.name,
        "hours": f"{now.hours:.1f}",
        "plane": str(plane),
        "well": str(embryo.well),
        "grade": embryo.grade if now.stage == "blastocyst" else "",
        "cells": "" if now.stage in ("morula", "blastocyst") else str(now.cells),
        "fragmentation": f"{picture.fragmentation(embryo, now):.2f}",
        "site": embryo.couple.site,
    }
