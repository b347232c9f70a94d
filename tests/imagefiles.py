"""Files that the tests of readers and intake write: pictures, DICOM, labels."""

import csv
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, SecondaryCaptureImageStorage

from chambit.core.errors import InputError
from chambit.images import readers
from chambit.images.image import Image

SHARED = Path(__file__).resolve().parents[1].parent / "shared" / "data"
RAMP = (np.arange(16, dtype=np.uint8)[:, None] * 16 + np.arange(12, dtype=np.uint8)).astype(np.uint8)


def dicom(path: Path, pixels: np.ndarray, *, bits: int = 8, syntax: str = ExplicitVRLittleEndian, **tags: Any) -> Path:
    """Write a single-frame DICOM file; `tags` replace or (None) remove elements."""
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = syntax
    data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = "1.2.3.4"
    data.PatientID, data.PatientName, data.PatientBirthDate = "P-17", "Hong^Gildong", "19700102"
    data.PatientAge, data.PatientSex, data.Modality, data.ViewPosition = "045Y", "F", "DX", "PA"
    data.InstitutionName, data.PixelSpacing = "Seoul", [0.2, 0.3]
    data.Rows, data.Columns = pixels.shape[:2]
    data.SamplesPerPixel = 3 if pixels.ndim == 3 else 1
    if pixels.ndim == 3:
        data.PlanarConfiguration = 0
    data.PhotometricInterpretation = "RGB" if pixels.ndim == 3 else "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.HighBit = pixels.dtype.itemsize * 8, bits, bits - 1
    data.PixelRepresentation = int(pixels.dtype.kind == "i")
    swap = syntax == ExplicitVRBigEndian
    data.PixelData = (pixels.byteswap() if swap else pixels).tobytes()
    data["PixelData"].VR = "OW" if pixels.dtype.itemsize == 2 else "OB"
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, value in tags.items():
            if value is None:
                delattr(data, name)
            else:
                setattr(data, name, value)
        data.save_as(path, enforce_file_format=True)
    return path


def picture(number: int, shape: tuple[int, int] = (16, 12)) -> np.ndarray:
    """A grey picture that is unlike all others and reaches full brightness: uint8, `shape`."""
    pixels = np.random.default_rng(number).integers(0, 250, shape, np.uint8)
    pixels[0, 0] = 255
    return pixels


def save(path: Path, pixels: np.ndarray) -> Path:
    """Write pixels in the format the name says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Pillow.fromarray(pixels).save(path)
    return path


def write_csv(path: Path, rows: Sequence[Sequence[str]], names: str = "file,subject,label") -> Path:
    """Write a labels file."""
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([names.split(","), *rows])
    return path


def one(path: Path) -> Image:
    """The only image of a file."""
    (name, image), *more = readers.open_any(path)
    assert (name, more) == ("", [])
    return image


def refused(path: Path, part: str = "") -> tuple[str, str]:
    """Reason and remedy of a file that must be refused; both must be there, and the file must be named."""
    with pytest.raises(InputError) as caught:
        list(readers.open_any(path, part))
    (problem,) = caught.value.problems
    assert problem.where == path.name
    assert problem.what
    assert problem.remedy
    return problem.what, problem.remedy


def png(path: Path, pixels: np.ndarray, **options: Any) -> Path:
    """Write pixels with Pillow, in the format the name says."""
    Pillow.fromarray(pixels).save(path, **options)
    return path


def six(tmp_path: Path) -> Path:
    """Six pictures of three subjects, two classes, with a labels file."""
    rows = []
    for number in range(6):
        save(tmp_path / f"in/{number}.png", picture(number))
        rows.append([f"{number}.png", f"s{number // 2}", "ill" if number < 3 else "well", "F"])
    write_csv(tmp_path / "in/labels.csv", rows, "file,subject,label,sex")
    return tmp_path / "in"
