"""Pictures of a body as DICOM objects and PNG files, the same bytes at every writing.

    UID = 2.25.<integer of the first 128 bits of sha256(seed, subject, key)>

Sources: DICOM PS3.3 A.3 (CT Image), A.4 (MR Image), A.26 (Digital X-Ray Image), C.7.6.2 (Image Plane), C.11.1
(rescale) and C.11.2 (window); PS3.5 B.2 (UIDs under 2.25).

Limits: only what readers of such files ask for is filled in; dates are invented; equal bytes are promised for one
version of pydicom and pillow.
"""

import datetime
import hashlib
import os
from io import BytesIO
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from chambit.phantoms.body.person import Person
from chambit.phantoms.dicom import COMMENT, FIRST_DAY

VERSION: Final = "1"  # of the drawing: raise it when a seed's images change
INTERCEPT: Final = -1024
CLASSES: Final = {
    "CT": "CTImageStorage",
    "MR": "MRImageStorage",
    "DX": "DigitalXRayImageStorageForPresentation",
}


class Slice(NamedTuple):
    """What a header says of one image beside the person.

    Attributes:
        modality: 'CT', 'MR' or 'DX'.
        part: Body part, upper case.
        number: Instance number within the person's files of this modality, from 1.
        spacing_mm: Between pixel centres.
        level_mm: Height of the slice in the person's frame, mm.
        window: Centre and width of the displayed range.
        extra: Further attributes by keyword.
    """

    modality: str
    part: str
    number: int
    spacing_mm: float
    level_mm: float
    window: tuple[float, float]
    extra: dict[str, Any]


def put(path: Path, content: bytes) -> None:
    """Write under a temporary name first, so that no reader meets half a file; folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(content)
    os.replace(part, path)


def png(pixels: NDArray[np.uint8]) -> bytes:
    """Encode a grey image (rows, columns) uint8."""
    from PIL import Image

    held = BytesIO()
    Image.fromarray(pixels).save(held, format="PNG", compress_level=3)
    return held.getvalue()


def dicom(person: Person, stored: NDArray[np.uint16], about: Slice) -> bytes:
    """Encode one image; every element is set here, none by a clock or a random number.

    Args:
        person: Whose image.
        stored: (rows, columns) uint16 in 0..4095; for CT the Hounsfield units less INTERCEPT.
        about: What the header says.

    Returns:
        A file with preamble and meta information, explicit VR little endian.
    """
    from pydicom import Dataset, FileDataset, FileMetaDataset, dcmwrite, uid

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = getattr(uid, CLASSES[about.modality])
    meta.MediaStorageSOPInstanceUID = uid.UID(_uid(person, about.modality, about.number))
    meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    meta.ImplementationClassUID = uid.UID("2.25.306155183093290184158291024741902839711")
    meta.ImplementationVersionName = f"CHAMBIT_{VERSION}"
    made = FileDataset(None, Dataset(), file_meta=meta, preamble=b"\0" * 128)  # type: ignore[arg-type]
    made.SOPClassUID = meta.MediaStorageSOPClassUID
    made.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    rows, columns = stored.shape
    for keyword, value in {**_who(person, about), **_image(about, rows, columns), **about.extra}.items():
        setattr(made, keyword, value)
    made.add_new(0x7FE00010, "OW", stored.astype("<u2").tobytes())
    held = BytesIO()
    dcmwrite(held, made, enforce_file_format=True)
    return held.getvalue()


def _number(*key: object) -> int:
    return int.from_bytes(hashlib.sha256("/".join(map(str, key)).encode()).digest()[:16], "big")


def _uid(person: Person, *key: object) -> str:
    return f"2.25.{_number('chambit body', person.seed, person.subject, *key)}"


def _who(person: Person, about: Slice) -> dict[str, Any]:
    """Attributes of patient, study and series."""
    chance = _number("date", person.seed, person.subject)
    day = FIRST_DAY + datetime.timedelta(days=chance % 700 + 30 * list(CLASSES).index(about.modality))
    return {
        "PatientID": person.subject,
        "PatientName": f"PHANTOM^{person.subject}",
        "PatientSex": person.sex,
        "PatientAge": f"{20 + round(70 * person.years):03d}Y",
        "PatientBirthDate": "",
        "StudyInstanceUID": _uid(person, about.modality, "study"),
        "SeriesInstanceUID": _uid(person, about.modality, about.part, "series"),
        "FrameOfReferenceUID": _uid(person, about.modality, "frame"),
        "PositionReferenceIndicator": "",
        "StudyDate": f"{day:%Y%m%d}",
        "ContentDate": f"{day:%Y%m%d}",
        "StudyTime": "120000",
        "ContentTime": "120000",
        "StudyID": about.modality,
        "SeriesNumber": 1,
        "InstanceNumber": about.number,
        "AccessionNumber": "",
        "ReferringPhysicianName": "",
        "InstitutionName": f"Phantom site {person.site}",
    }


def _image(about: Slice, rows: int, columns: int) -> dict[str, Any]:
    """Attributes of the pixels and of where they lie."""
    spacing = f"{about.spacing_mm:.6g}"
    same: dict[str, Any] = {
        "SpecificCharacterSet": "ISO_IR 192",
        "Modality": about.modality,
        "ImageType": ["DERIVED", "PRIMARY", "" if about.modality == "DX" else "AXIAL"],
        "SyntheticData": "YES",
        "Manufacturer": "Chambit phantoms",
        "SoftwareVersions": VERSION,
        "BodyPartExamined": about.part.upper(),
        "ImageComments": COMMENT,
        "BurnedInAnnotation": "NO",
        "LossyImageCompression": "00",
        "PixelSpacing": [spacing, spacing],
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "Rows": rows,
        "Columns": columns,
        "BitsAllocated": 16,
        "BitsStored": 12,
        "HighBit": 11,
        "PixelRepresentation": 0,
        "WindowCenter": f"{about.window[0]:.6g}",
        "WindowWidth": f"{about.window[1]:.6g}",
    }
    if about.modality == "DX":
        same |= {
            "PresentationIntentType": "FOR PRESENTATION",
            "PresentationLUTShape": "IDENTITY",
            "ImagerPixelSpacing": [spacing, spacing],
            "PixelIntensityRelationship": "LOG",
            "PixelIntensityRelationshipSign": -1,
            "PatientOrientation": ["L", "F"],
            "ImageLaterality": "U",
            "ViewPosition": "AP",
            "RescaleIntercept": 0,
            "RescaleSlope": 1,
            "RescaleType": "US",
        }
        return same
    corner = -0.5 * about.spacing_mm * (columns - 1)
    same |= {
        "PatientPosition": "HFS",
        "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
        "ImagePositionPatient": [f"{corner:.6g}", f"{corner:.6g}", f"{about.level_mm:.6g}"],
        "SliceLocation": f"{about.level_mm:.6g}",
        "SliceThickness": "2" if about.modality == "CT" else "6",
    }
    if about.modality == "CT":
        same |= {"RescaleIntercept": INTERCEPT, "RescaleSlope": 1, "RescaleType": "HU", "KVP": "120"}
    return same
