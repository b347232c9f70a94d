"""Which pictures of which part a person gets, and their rows: shared by the kinds of phantoms that draw bodies.

A slice either meets the person's lesion well or passes it by more than its size, so that no image without the label
shows half of one.

Limits: people come once; a lesion does not grow between the pictures of one person.
"""

from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from chambit.phantoms.body import files
from chambit.phantoms.body.machine import INSPIRED, Picture, ct_slice, mr_slice, radiograph, scales
from chambit.phantoms.body.person import Person
from chambit.phantoms.body.tissue import TIMES

LEVELS: Final = {
    "chest": (225.0, 392.0),
    "abdomen": (62.0, 215.0),
    "pelvis": (-122.0, 18.0),
    "head": (630.0, 708.0),
}  # of axial slices, in mm of the reference adult
SHARES: Final = {
    "CT": (0.34, 0.38, 0.14, 0.14),
    "MR": (0.10, 0.38, 0.22, 0.30),
    "DX": (0.64, 0.16, 0.12, 0.08),
}  # of chest, abdomen, pelvis and head
WINDOWS: Final = {"head": (38.0, 90.0)}
SOFT_TISSUE: Final = (40.0, 400.0)
WHITE: Final = {"T1": (0.70, 0.42), "T2": (0.50, 0.58)}  # signal shown white in a body and in a head
SIGNAL: Final = 4000.0  # stored value of a signal of 1
FEWEST: Final = 2  # pixels that make a lesion visible


class Exam(NamedTuple):
    """One picture to be taken: modality, running number from 1, part, level in mm, weighting ('' but for MR)."""

    modality: str
    number: int
    part: str
    level: float
    weighting: str
    contrast: bool


def exams(person: Person, modality: str, count: int, parts: tuple[str, ...] = tuple(LEVELS)) -> list[Exam]:
    """Choose what is looked at.

    Args:
        person: Who is examined.
        modality: 'CT', 'MR' or 'DX'.
        count: How many pictures.
        parts: Which parts may be chosen.

    Returns:
        The pictures in order; the first k of a longer list are those of a shorter one.
    """
    weights = np.array([share for part, share in zip(LEVELS, SHARES[modality], strict=True) if part in parts])
    listed = []
    for number in range(1, count + 1):
        rng = person.stream("exam", modality, number)
        pick, hit, at, coin, side = rng.random(5)
        part = parts[int(np.searchsorted(np.cumsum(weights / weights.sum()), pick, side="right"))]
        low, high = LEVELS[part]
        level = low + (high - low) * float(at)
        lesion = person.lesion
        if lesion is not None:
            home = "abdomen" if lesion.organ == "liver" else "chest"
            centre = lesion.centre[2] - _sunk(person, modality)
            if hit < 0.65 and home in parts and (modality != "DX" or home == "chest"):
                part, level = home, centre + 1.1 * lesion.radius * (float(at) - 0.5)
            elif modality != "DX" and abs(level - centre) < 2.0 * lesion.radius:
                level = centre + (2.0 if side < 0.5 else -2.0) * lesion.radius
        weighting = "" if modality != "MR" else ("T1", "T2")[int(coin < 0.55)]
        contrast = modality == "CT" and part != "head" and bool(person.stream("contrast").random() < 0.55)
        listed.append(Exam(modality, number, part, level, weighting, contrast))
    return listed


def _sunk(person: Person, modality: str) -> float:
    """How far breathing in has moved the lesion down: CT slices are taken in inspiration."""
    share = 0.7 if person.lesion is not None and person.lesion.organ == "liver" else 0.3
    return share * (INSPIRED if modality == "CT" else 0.0)


def take(person: Person, exam: Exam, pixels: int) -> Picture:
    """Take one picture (pixels, pixels); it depends on the person, the exam and the size alone."""
    noise = person.stream("noise", exam.modality, exam.number)
    if exam.modality == "CT":
        return ct_slice(person, exam.level, exam.part, pixels, exam.contrast, noise)
    if exam.modality == "MR":
        return mr_slice(person, exam.level, exam.part, pixels, exam.weighting, noise)
    return radiograph(person, exam.part, pixels, noise)


def write(folder: Path, person: Person, exam: Exam, pixels: int, layouts: bool = True) -> dict[str, Any]:
    """Take one picture and write its DICOM file, the lesion's mask and the layout of parts.

    Args:
        folder: Where the person's folder goes; made if absent.
        person: Who is examined.
        exam: What is looked at.
        pixels: Rows and columns.
        layouts: Whether to write layouts; radiographs have none.

    Returns:
        The row: file, subject, label ('lesion' or 'normal'), modality, part, sex, age_band, habitus, site, weighting,
        contrast, mask and layout.
    """
    picture = take(person, exam, pixels)
    stem = f"{person.subject}/{person.subject}-{exam.modality}-{exam.number:02d}"
    files.put(folder / f"{stem}.dcm", files.dicom(person, *_stored(person, exam, picture)))
    seen = int(picture.mask.sum()) >= FEWEST
    row = {
        "file": f"{stem}.dcm",
        "subject": person.subject,
        "label": "lesion" if seen else "normal",
        "modality": exam.modality,
        "part": exam.part,
        "sex": person.sex,
        "age_band": person.age_band,
        "habitus": person.habitus,
        "site": person.site,
        "weighting": exam.weighting,
        "contrast": "portal" if exam.contrast else "",
        "mask": "",
        "layout": "",
    }
    if seen:
        row["mask"] = f"{stem}.mask.png"
        files.put(folder / row["mask"], files.png(picture.mask.astype(np.uint8) * 255))
    if layouts and exam.modality != "DX":
        row["layout"] = f"{stem}.layout.png"
        files.put(folder / row["layout"], files.png(picture.part))
    return row


def _stored(person: Person, exam: Exam, picture: Picture) -> tuple[np.ndarray, files.Slice]:
    """Stored values and header of a picture."""
    extra: dict[str, Any] = {}
    if exam.modality == "CT":
        stored, window = picture.value - files.INTERCEPT, WINDOWS.get(exam.part, SOFT_TISSUE)
        if exam.contrast:
            extra["ContrastBolusAgent"] = "Iodinated"
    elif exam.modality == "MR":
        stored = picture.value * SIGNAL
        white = WHITE[exam.weighting][int(exam.part == "head")] * SIGNAL
        window = (white / 2, white)
        repetition, echo = TIMES[exam.weighting]
        extra = {
            "ScanningSequence": "SE",
            "SequenceVariant": "NONE",
            "ScanOptions": "",
            "MRAcquisitionType": "2D",
            "RepetitionTime": f"{repetition:g}",
            "EchoTime": f"{echo:g}",
            "EchoTrainLength": 1 if exam.weighting == "T1" else 16,
            "MagneticFieldStrength": "3",
            "SeriesDescription": exam.weighting,
        }
    else:
        stored, window = picture.value * 4095, (2048.0, 4096.0)
    level = exam.level * scales(person)[2]
    about = files.Slice(exam.modality, exam.part, exam.number, picture.spacing_mm, level, window, extra)
    return np.rint(np.clip(stored, 0, 4095)).astype(np.uint16), about
