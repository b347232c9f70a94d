"""Phantoms as files: one DX object per image, one PNG per mask, the same bytes at every writing.

    UID = 2.25.<integer of the first 128 bits of sha256(seed, subject, visit, level)>

Source: DICOM PS3.3 A.26 (Digital X-Ray Image, for presentation) and PS3.5 B.2 (UIDs under 2.25, which asks
for a UUID's bits; here they are a hash's, so that a second writing agrees with the first).

Limits: only what readers of chest radiographs ask for is filled in, acquisition technique is absent, and
dates are invented; equal bytes are promised for one version of pydicom and pillow.
"""

import datetime
import hashlib
import os
from collections.abc import Sequence
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from chambit.phantoms.chest import Visit

VERSION: Final = "1"  # of the drawing: raise it when a seed's images change
COMMENT: Final = "PHANTOM - procedurally drawn, not a patient"
FIRST_DAY: Final = datetime.date(2021, 1, 4)


def write(
    folder: Path,
    visits: Sequence[Visit],
    images: NDArray[np.uint16],
    masks: NDArray[np.bool_],
    *,
    seed: int,
    spacing_mm: float,
) -> list[dict[str, Any]]:
    """Write every visit's radiograph, and its mask where there is a finding.

    Args:
        folder: Where the subjects' folders go; made if absent.
        visits: N examinations.
        images: (N, rows, columns) uint16 in 0..4095.
        masks: (N, rows, columns) bool; written as 0 and 255 for visits with a finding.
        seed: Cohort seed; part of the UIDs.
        spacing_mm: Distance between pixel centres, in mm.

    Returns:
        One row per image: file, subject, label (the finding), visit, sex, age_band, habitus, view, site and
        mask; file and mask are relative posix paths, mask is '' without a finding.
    """
    if not len(visits) == len(images) == len(masks):
        raise ValueError("visits, images and masks must be equally many")
    rows = []
    for visit, image, mask in zip(visits, images, masks, strict=True):
        stem = f"{visit.subject}/{visit.subject}-v{visit.visit}"
        (folder / visit.subject).mkdir(parents=True, exist_ok=True)
        _put(folder / f"{stem}.dcm", _dicom(visit, image, seed, spacing_mm))
        drawn = visit.finding != "normal"
        if drawn:
            _put(folder / f"{stem}.mask.png", _png(mask))
        rows.append(
            {
                "file": f"{stem}.dcm",
                "subject": visit.subject,
                "label": visit.finding,
                "visit": visit.visit,
                "sex": visit.sex,
                "age_band": visit.age_band,
                "habitus": visit.habitus,
                "view": visit.view,
                "site": visit.site,
                "mask": f"{stem}.mask.png" if drawn else "",
            }
        )
    return rows


def _put(path: Path, content: bytes) -> None:
    """Write under a temporary name first, so that no reader meets half a file."""
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(content)
    os.replace(part, path)


def _png(mask: NDArray[np.bool_]) -> bytes:
    from PIL import Image

    held = BytesIO()
    Image.fromarray(mask.astype(np.uint8) * 255).save(held, format="PNG")
    return held.getvalue()


def _number(*key: object) -> int:
    return int.from_bytes(hashlib.sha256("/".join(map(str, key)).encode()).digest()[:16], "big")


def _uid(seed: int, *key: object) -> str:
    return f"2.25.{_number('chambit phantoms', seed, *key)}"


def _dicom(visit: Visit, image: NDArray[np.uint16], seed: int, spacing_mm: float) -> bytes:
    """Encode one image; every element is set here, none by a clock or a random number."""
    from pydicom import Dataset, FileDataset, FileMetaDataset, dcmwrite
    from pydicom.uid import UID, DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = DigitalXRayImageStorageForPresentation
    meta.MediaStorageSOPInstanceUID = UID(_uid(seed, visit.subject, visit.visit, "image"))
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = UID("2.25.306155183093290184158291024741902839711")
    meta.ImplementationVersionName = f"CHAMBIT_{VERSION}"
    made = FileDataset(None, Dataset(), file_meta=meta, preamble=b"\0" * 128)  # type: ignore[arg-type]
    made.SOPClassUID = meta.MediaStorageSOPClassUID
    made.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    made.update(_how(visit.view, f"{spacing_mm:.6g}"))
    for keyword, value in _who(visit, seed).items():
        setattr(made, keyword, value)
    made.Rows, made.Columns = image.shape
    made.add_new(0x7FE00010, "OW", image.astype("<u2").tobytes())
    held = BytesIO()
    dcmwrite(held, made, enforce_file_format=True)
    return held.getvalue()


def _who(visit: Visit, seed: int) -> dict[str, Any]:
    """Attributes of patient, study and series."""
    chance = _number("age and date", seed, visit.subject)
    lowest = int(visit.age_band.rstrip("+").split("-")[0])
    day = FIRST_DAY + datetime.timedelta(days=chance % 700 + 91 * visit.visit)
    return {
        "PatientID": visit.subject,
        "PatientName": f"PHANTOM^{visit.subject}",
        "PatientSex": visit.sex,
        "PatientAge": f"{lowest + chance // 700 % (10 if visit.age_band == '80+' else 20):03d}Y",
        "PatientBirthDate": "",
        "StudyInstanceUID": _uid(seed, visit.subject, visit.visit, "study"),
        "SeriesInstanceUID": _uid(seed, visit.subject, visit.visit, "series"),
        "StudyDate": f"{day:%Y%m%d}",
        "ContentDate": f"{day:%Y%m%d}",
        "StudyTime": "120000",
        "ContentTime": "120000",
        "StudyID": str(visit.visit),
        "SeriesNumber": 1,
        "InstanceNumber": 1,
        "AccessionNumber": "",
        "ReferringPhysicianName": "",
        "InstitutionName": f"Phantom site {visit.site}",
    }


@lru_cache(maxsize=8)
def _how(view: str, spacing: str) -> Any:
    """Dataset of the image's and the machine's attributes; kept, as they are slow to build."""
    from pydicom import Dataset

    same = Dataset()
    attributes = {
        "SpecificCharacterSet": "ISO_IR 192",
        "Modality": "DX",
        "PresentationIntentType": "FOR PRESENTATION",
        "ImageType": ["DERIVED", "PRIMARY", ""],
        "SyntheticData": "YES",
        "Manufacturer": "Chambit phantoms",
        "SoftwareVersions": VERSION,
        "BodyPartExamined": "CHEST",
        "ViewPosition": view,
        "ImageLaterality": "U",
        "PatientOrientation": ["L", "F"],
        "ImageComments": COMMENT,
        "BurnedInAnnotation": "NO",
        "LossyImageCompression": "00",
        "PixelSpacing": [spacing, spacing],
        "ImagerPixelSpacing": [spacing, spacing],
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "PresentationLUTShape": "IDENTITY",
        "PixelIntensityRelationship": "LOG",
        "PixelIntensityRelationshipSign": -1,
        "BitsAllocated": 16,
        "BitsStored": 12,
        "HighBit": 11,
        "PixelRepresentation": 0,
        "RescaleIntercept": 0,
        "RescaleSlope": 1,
        "RescaleType": "US",
        "WindowCenter": 2048,
        "WindowWidth": 4096,
    }
    for keyword, value in attributes.items():
        setattr(same, keyword, value)
    return same
