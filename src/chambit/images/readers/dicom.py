"""DICOM files with one frame or several, read with pydicom: brightness as a viewer shows it.

What the header says of a frame is laid together from the data set, its shared and its per-frame functional groups
(PS3.3 C.7.6.16). Frames are decoded one at a time, so a long film needs no more memory than a short one. Only text of
our own goes into errors: pydicom's can quote a patient's data.
"""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from chambit.core.errors import InputError
from chambit.images.dicomdisplay import AGAIN, displayed
from chambit.images.image import Image
from chambit.images.readers import refusal, wanted

version = "2"
SUFFIXES = (".dcm", ".dicom", ".ima")
_NEEDED = ("Rows", "Columns", "BitsAllocated", "BitsStored", "PhotometricInterpretation")
_PACKAGES = "pip install 'chambit[decoders]'"
_OLDEST = 90  # HIPAA's safe harbour joins all ages above 89
_LARGE = "1 MB"  # elements above this, the pixels among them, stay in the file until they are asked for
# What a functional group may say of a frame that changes its brightness or size: macro, then its attributes.
_MACROS = {
    "PixelMeasuresSequence": ("PixelSpacing",),
    "PixelValueTransformationSequence": ("RescaleSlope", "RescaleIntercept"),
    "FrameVOILUTSequence": ("WindowCenter", "WindowWidth", "VOILUTFunction"),
}
# Whole-slide microscopy, third value of ImageType: pictures of the glass, on which the patient's label can be read.
_OF_THE_GLASS = ("LABEL", "OVERVIEW")


def recognises(path: Path, head: bytes) -> bool:
    """Whether it has DICOM's preamble, or begins like a data set that was saved without one."""
    if head[128:132] == b"DICM":
        return True
    little, big = head[:4], head[1::-1] + head[3:1:-1]
    # Without a preamble the first element is of group 2 or 8, and its length, or its VR, is plausible.
    starts = [word for word in (little, big) if len(word) == 4 and word[3] == 0]
    if not any(word[:2] in (b"\x02\x00", b"\x08\x00") for word in starts):
        return False
    explicit = head[4:6].isalpha() and head[4:6].isupper()
    return explicit or 0 < int.from_bytes(head[4:8], "little") < 1024


def frames(path: Path) -> int:
    """How many frames the header says there are.

    Raises:
        InputError: as `read`, for what the header alone shows.
    """
    with _guarded(path):
        return _frames(_checked(path))


def read(path: Path, part: str = "") -> Iterator[tuple[str, Image]]:
    """Yield ("", image) for a single frame, else ("0", image), ("1", image), ...; `part` picks one by its number.

    Raises:
        InputError: when there are no pixels, a compression no installed decoder reads, float pixels or more than 16
            bits, no such frame, or the file is damaged or truncated.
    """
    with _guarded(path):
        data = _checked(path)
        count = _frames(data)
        numbers = wanted(path, part, count)
        stored = _decoded(path, data, numbers)
    for number in numbers:
        with _guarded(path):
            image = _image(path, _of_frame(data, number), _next(path, data, stored))
        yield ("" if count == 1 else str(number)), image


def _image(path: Path, header: Any, stored: np.ndarray) -> Image:
    pixels, white, shown = displayed(path, header, stored)
    return Image(pixels, white, _spacing(header), _text(header, "PatientID"), "", _fields(header), shown)


@contextmanager
def _guarded(path: Path) -> Iterator[None]:
    """Turn whatever pydicom makes of a damaged file into a refusal, and keep its own words to itself."""
    with _quiet():
        try:
            yield
        except InputError:
            raise
        except MemoryError:
            raise refusal(path, "too large for this machine's memory", "reduce it first") from None
        except Exception as error:  # a damaged header shows as many kinds of exception
            what = f"damaged: its header cannot be understood ({type(error).__name__})"
            raise refusal(path, what, AGAIN) from None


@contextmanager
def _quiet() -> Iterator[None]:
    # pydicom quotes odd values, which can be a name or a number of a patient, in warnings and in its log.
    import pydicom.config

    log = logging.getLogger("pydicom")
    level = log.level
    log.setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings(), pydicom.config.disable_value_validation():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)


def _parsed(path: Path) -> Any:
    from pydicom import dcmread
    from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

    try:
        data = dcmread(path, force=True, defer_size=_LARGE)
        if "TransferSyntaxUID" not in data.file_meta and "PixelData" in data:
            # Saved without file meta: how it was parsed says how it is written, unless pixels are compressed.
            missing = [name for name in _NEEDED if name not in data]
            if missing or data["PixelData"].is_undefined_length:
                unknown = ", ".join(missing) or "the compression"
                raise refusal(path, f"has no file meta information, and {unknown} is not known", AGAIN)
            implicit, little = data.original_encoding
            explicit = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
            data.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else explicit
        return data
    except InputError:
        raise
    except Exception as error:
        raise refusal(path, f"damaged: cannot be parsed as DICOM ({type(error).__name__})", AGAIN) from None


def _checked(path: Path) -> Any:
    data = _parsed(path)
    if "PixelData" not in data:
        floating = "FloatPixelData" in data or "DoubleFloatPixelData" in data
        if floating:
            raise refusal(path, "holds float pixels: full brightness is not known", "export it with 16 bits or fewer")
        what = _object(data)
        raise refusal(path, f"holds no picture (no PixelData{what})", "leave it out, or export the image itself")
    missing = [name for name in _NEEDED if data.get(name) in (None, "")]
    if missing:
        raise refusal(path, f"damaged: the header lacks {', '.join(missing)}", AGAIN)
    _frames(data)  # a number that is none is told first
    if int(data.BitsStored) > 16 or int(data.BitsAllocated) > 16:
        raise refusal(path, f"has {data.BitsAllocated} bits a pixel", "export it with 16 bits or fewer")
    if not 0 < int(data.BitsStored) <= int(data.BitsAllocated):
        raise refusal(path, "damaged: BitsStored and BitsAllocated contradict each other", AGAIN)
    if set(_OF_THE_GLASS) & set(data.get("ImageType") or ()):
        what = "a picture of the whole glass slide, on which its label can be read"
        raise refusal(path, what, "leave it out: it names the patient")
    return data


def _frames(data: Any) -> int:
    return max(1, int(data.get("NumberOfFrames") or 1))


def _of_frame(data: Any, number: int) -> Any:
    """The header as it holds for one frame: its functional groups laid over the data set's own attributes."""
    shared = list(data.get("SharedFunctionalGroupsSequence") or [])[:1]
    own = list(data.get("PerFrameFunctionalGroupsSequence") or [])[number : number + 1]
    if not shared and not own:
        return data
    header = data[0x00080000:0x00290000]  # a copy without pixels and without the groups
    for group in [*shared, *own]:
        for macro, names in _MACROS.items():
            for item in list(group.get(macro) or [])[:1]:
                header.update({item[name].tag: item[name] for name in names if name in item})
    return header


def _object(data: Any) -> str:
    from pydicom.uid import UID

    name = UID(str(data.get("SOPClassUID", "")))
    known = name.name if name and name.name != str(name) else ""
    return f"; it is a '{known}'" if known else ""


def _decoded(path: Path, data: Any, numbers: range) -> Iterator[np.ndarray]:
    """Stored values of the frames of these numbers, decoded when they are asked for."""
    from pydicom.pixels.utils import iter_pixels
    from pydicom.uid import DeflatedExplicitVRLittleEndian

    syntax = data.file_meta.TransferSyntaxUID
    _check_decoder(path, syntax)
    if _frames(data) == 1 or syntax == DeflatedExplicitVRLittleEndian:
        return iter_pixels(data, indices=numbers)
    # Read where it lies, frame by frame; only a deflated file must be inflated as a whole. Frames are always named:
    # asked for all of them, pydicom 3.0 cannot mend the sign of compressed values (its buffer is read-only).
    return iter_pixels(path, indices=numbers, transfer_syntax_uid=syntax)


def _next(path: Path, data: Any, stored: Iterator[np.ndarray]) -> np.ndarray:
    syntax = data.file_meta.TransferSyntaxUID
    try:
        return np.asarray(next(stored))
    except MemoryError:
        raise
    except Exception as error:
        # pydicom itself reads all there is of run-length coding; of the others each decoder reads a part.
        if syntax.is_encapsulated and "pydicom" not in _decoder(syntax).available_plugins:
            what = f"compressed as '{syntax.name}', which the decoders installed here could not read"
            raise refusal(path, what, f"{_PACKAGES}; if that does not help, {AGAIN}, not compressed") from None
        what = f"damaged or truncated: the pixels do not fit the header ({type(error).__name__})"
        raise refusal(path, what, AGAIN) from None


def _decoder(syntax: str) -> Any:
    from pydicom.pixels.decoders.base import get_decoder

    return get_decoder(syntax)


def _check_decoder(path: Path, syntax: Any) -> None:
    try:
        available = _decoder(syntax).is_available
    except NotImplementedError:
        what = f"compressed as '{syntax.name}', which nothing here decodes"
        raise refusal(path, what, "decompress it first, for example with dcmdjpeg or gdcmconv --raw") from None
    if not available:
        what = f"compressed as '{syntax.name}', and no decoder for it is installed"
        raise refusal(path, what, f"{_PACKAGES}, or decompress it first") from None


def _text(data: Any, name: str) -> str:
    value = data.get(name)
    return "" if value is None else " ".join(str(value).replace("\x00", "").split())


def _spacing(data: Any) -> tuple[float, float] | None:
    # ImagerPixelSpacing is the detector's: magnification is still in it, but it is all a radiograph has.
    for name in ("PixelSpacing", "ImagerPixelSpacing"):
        value = data.get(name)
        if value is not None and not isinstance(value, str) and len(value) == 2 and min(value) > 0:
            return float(value[0]), float(value[1])
    return None


def _fields(data: Any) -> dict[str, str]:
    fields = {
        "view": _text(data, "ViewPosition"),
        "sex": _text(data, "PatientSex"),
        "age": _decade(data),
        "modality": _text(data, "Modality"),
        "site": _text(data, "InstitutionName"),
    }
    return {name: value for name, value in fields.items() if value}


def _decade(data: Any) -> str:
    """Age at the study as a band of ten years, `90+` at the end; no date leaves this function."""
    text = _text(data, "PatientAge").upper()
    years: int | None = None
    if text[:-1].isdigit() and text[-1:] in ("D", "W", "M", "Y"):
        years = int(int(text[:-1]) / {"D": 365.25, "W": 52.18, "M": 12, "Y": 1}[text[-1]])
    else:
        born, seen = _text(data, "PatientBirthDate")[:8], _text(data, "StudyDate")[:8]
        if len(born) == len(seen) == 8 and born.isdigit() and seen.isdigit():
            years = (int(seen) - int(born)) // 10000
    if years is None or not 0 <= years < 130:
        return ""
    return f"{_OLDEST}+" if years >= _OLDEST else f"{years // 10 * 10}-{years // 10 * 10 + 9}"
