"""Examinations as DICOM files, in the transfer syntaxes and photometric interpretations that archives hand out.

Sources: DICOM PS3.5 Annex A (transfer syntaxes, encapsulated fragments), PS3.3 C.7.6.3 (pixel modules), PS3.10 7.1
(preamble, file meta information). Equal bytes are promised for one version of pydicom and of the encoders.
"""

import warnings
from collections.abc import Sequence
from functools import cache
from io import BytesIO
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.filewriter import dcmwrite
from pydicom.pixels.encoders.base import get_encoder
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    DigitalXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
    SecondaryCaptureImageStorage,
    XRayRadiofluoroscopicImageStorage,
)

from chambit.phantoms.hospital import headers
from chambit.phantoms.hospital.case import Case
from chambit.phantoms.hospital.headers import Put

FRAMES: Final = 4
"""Frames of a cine."""


class Form(NamedTuple):
    """One way to write a DICOM file.

    Attributes:
        name: as the answer key calls it.
        syntax: UID of the transfer syntax.
        photometric: MONOCHROME1, MONOCHROME2, RGB or PALETTE COLOR.
        encoder: pydicom's name of the plugin that encodes it, or "" where nothing is encoded.
        frames: number of frames.
        preamble: whether it has preamble and file meta information.
    """

    name: str
    syntax: UID
    photometric: str
    encoder: str = ""
    frames: int = 1
    preamble: bool = True


FORMS: Final = (
    Form("dicom explicit", ExplicitVRLittleEndian, "MONOCHROME2"),
    Form("dicom jpeg 2000", JPEG2000Lossless, "MONOCHROME2", "pylibjpeg"),
    Form("dicom implicit inverse", ImplicitVRLittleEndian, "MONOCHROME1"),
    Form("dicom cine rle", RLELossless, "MONOCHROME2", "pydicom", FRAMES),
    Form("dicom deflated", DeflatedExplicitVRLittleEndian, "MONOCHROME2"),
    Form("dicom colour", ExplicitVRLittleEndian, "RGB"),
    Form("dicom rle inverse", RLELossless, "MONOCHROME1", "pydicom"),
    Form("dicom jpeg-ls", JPEGLSLossless, "MONOCHROME2", "pyjpegls"),
    Form("dicom palette", ExplicitVRLittleEndian, "PALETTE COLOR"),
    Form("dicom without preamble", ImplicitVRLittleEndian, "MONOCHROME2", preamble=False),
)


class Made(NamedTuple):
    """A file's bytes and what was planted into them, by kind."""

    content: bytes
    puts: dict[str, Put]


@cache
def writable(form: Form) -> bool:
    """Whether the encoder of a form is installed."""
    return not form.encoder or form.encoder in get_encoder(form.syntax).available_plugins


def sop_class(form: Form) -> UID:
    """The SOP class of a form: a radiograph, a film of fluoroscopy, or a secondary capture of a screen."""
    if not form.photometric.startswith("MONO"):
        return SecondaryCaptureImageStorage
    return XRayRadiofluoroscopicImageStorage if form.frames > 1 else DigitalXRayImageStorageForPresentation


def encode(case: Case, form: Form, frames: NDArray[np.float32], sometimes: Sequence[str]) -> Made:
    """Write a DICOM file.

    Args:
        case: whose it is.
        form: how to write it.
        frames: float32 (frames, rows, columns), display brightness in [0, 255].
        sometimes: kinds of `headers.SOMETIMES` to plant beside those of `headers.ALWAYS`.
    """
    data = _base(case, form)
    stored = _pixels(data, form, frames)
    planters = headers.ALWAYS | {kind: headers.SOMETIMES[kind] for kind in sometimes}
    with warnings.catch_warnings():
        # a mark in an Administrator's text or a serial number in a UID can be longer than pydicom likes
        warnings.simplefilter("ignore")
        puts = {kind: plant(data, case) for kind, plant in planters.items()}
    data.file_meta, puts["dicom.file_meta"] = _meta(data, case, form)
    if form.encoder:
        data.compress(form.syntax, arr=stored, encoding_plugin=form.encoder, generate_instance_uid=False)
        # a run-length code has no end: what follows it would be read as pixels
        if form.syntax != RLELossless:
            puts["dicom.fragment_tail"] = _tail(data, case, form)
    if not form.preamble:
        del puts["dicom.file_meta"]
        return Made(_bare(data), puts)
    content = _file(data)
    mark = case.mark("dicom.preamble")
    text = f"{case.person.name.local} {mark}".encode("euc_kr", "replace")[:128].ljust(128, b"\0")
    puts["dicom.preamble"] = Put("preamble", (mark, case.person.name.local))
    return Made(text + content[128:], puts)


def _base(case: Case, form: Form) -> Dataset:
    data = Dataset()
    if case.person.foreign:
        data.SpecificCharacterSet = "ISO_IR 100"
    else:
        data.SpecificCharacterSet = "ISO_IR 192" if case.number % 3 == 2 else ["", "ISO 2022 IR 149"]
    projection = form.photometric.startswith("MONO")
    data.SOPClassUID = sop_class(form)
    data.Modality = ("RF" if form.frames > 1 else "DX") if projection else "OT"
    data.ImageType = ["DERIVED", "SECONDARY"] if not projection else ["ORIGINAL", "PRIMARY"]
    data.Manufacturer, data.ManufacturerModelName = "Garam Imaging", f"GX-{ord(case.site) - 64}00"
    data.BodyPartExamined, data.ViewPosition = "CHEST", case.view
    data.PatientOrientation = ["L", "F"]
    data.SeriesNumber = data.InstanceNumber = 1
    # the element cannot be trusted in real archives either
    data.BurnedInAnnotation = "NO"
    return data


def _pixels(data: Dataset, form: Form, frames: NDArray[np.float32]) -> NDArray[Any]:
    """Fill the pixel module; returns the stored values, (frames, rows, columns[, 3]) or without the first axis."""
    _, data.Rows, data.Columns = frames.shape
    colour = form.photometric == "RGB"
    shallow = form.frames > 1 or not form.photometric.startswith("MONO")
    white = 255 if shallow else 4095
    stored = np.rint(frames * (white / 255)).clip(0, white).astype(np.uint8 if shallow else np.uint16)
    if form.photometric == "MONOCHROME1":
        stored = (white - stored).astype(stored.dtype)
    if colour:
        stored = _screen(stored)
        data.PlanarConfiguration = 0
    if form.photometric == "PALETTE COLOR":
        _palette(data)
    data.SamplesPerPixel = 3 if colour else 1
    data.PhotometricInterpretation = form.photometric
    data.BitsAllocated, data.BitsStored, data.HighBit = (8, 8, 7) if shallow else (16, 12, 11)
    data.PixelRepresentation = 0
    if form.photometric.startswith("MONO"):
        data.WindowCenter, data.WindowWidth = (white + 1) // 2, white + 1
        data.PixelSpacing = [f"{350 / data.Columns:.4g}"] * 2
    if form.frames > 1:
        data.NumberOfFrames, data.FrameTime = form.frames, "133"
        data.FrameIncrementPointer = 0x00181063
    else:
        stored = stored[0]
    data.add_new(0x7FE00010, "OB" if shallow else "OW", stored.astype(stored.dtype.newbyteorder("<")).tobytes())
    return np.asarray(stored)


def _screen(grey: NDArray[Any]) -> NDArray[Any]:
    """A viewer's screen in colour: the grey image with a bar of colours at its right edge."""
    shown: NDArray[Any] = np.repeat(grey[..., None], 3, axis=-1)
    rows, columns = grey.shape[1:]
    steps = np.linspace(0, 255, rows // 2 - rows // 3).astype(np.uint8)[:, None]
    bar = np.stack([steps, 255 - steps, np.full_like(steps, 90)], axis=-1)
    shown[:, rows // 3 : rows // 2, columns - columns // 32 : columns - columns // 64] = bar
    return shown


def _palette(data: Dataset) -> None:
    """Bone-like colours, darker red than blue; entry 0 is black, 255 white."""
    ramp = np.linspace(0, 1, 256)
    for colour, bend in (("Red", 1.15), ("Green", 1.05), ("Blue", 0.85)):
        setattr(data, f"{colour}PaletteColorLookupTableDescriptor", [256, 0, 16])
        table = np.rint(65535 * ramp**bend).astype("<u2").tobytes()
        setattr(data, f"{colour}PaletteColorLookupTableData", table)


def _meta(data: Dataset, case: Case, form: Form) -> tuple[FileMetaDataset, Put]:
    mark = case.mark("dicom.file_meta")
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = data.SOPClassUID
    meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
    # pixels are encoded from their uncompressed form
    meta.TransferSyntaxUID = ExplicitVRLittleEndian if form.encoder else form.syntax
    meta.ImplementationClassUID = UID("1.2.410.200199.0.1")
    meta.ImplementationVersionName = "GARAM_PACS_1"
    meta.SourceApplicationEntityTitle = f"{case.physician(0).roman[0]}{mark}"
    meta.PrivateInformationCreatorUID = UID("1.2.410.200199.0.2")
    blob = f"{case.person.name.latin} {mark}".encode("latin-1", "replace")
    meta.PrivateInformation = blob + b"\0" * (len(blob) % 2)
    return meta, Put("(0002,0016), (0002,0102)", (mark, case.person.name.latin))


def _tail(data: Dataset, case: Case, form: Form) -> Put:
    """Remains of a buffer behind the last frame's code, inside its fragment; decoders stop before them."""
    mark = case.mark("dicom.fragment_tail")
    frames = list(generate_frames(data.PixelData, number_of_frames=form.frames))
    rest = f" {case.person.name.latin} {mark} ".encode("latin-1", "replace")
    data.PixelData = encapsulate([*frames[:-1], frames[-1].rstrip(b"\0") + rest])
    data["PixelData"].is_undefined_length = True
    return Put("(7FE0,0010) end of the last fragment", (mark, case.person.name.latin))


def _file(data: Dataset) -> bytes:
    made = FileDataset(None, data, file_meta=data.file_meta, preamble=b"\0" * 128)  # type: ignore[arg-type]
    held = BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dcmwrite(held, made, enforce_file_format=True)
    return held.getvalue()


def _bare(data: Dataset) -> bytes:
    """A data set as old archives saved it: neither preamble nor file meta information."""
    del data.file_meta
    held = BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dcmwrite(held, data, implicit_vr=True, little_endian=True, enforce_file_format=False)
    return held.getvalue()
