"""DICOM files with one frame, read with pydicom.

A number of the result is the brightness a viewer would show: modality LUT or rescale, then the VOI LUT or
window of the file, then inversion for MONOCHROME1; black of the window is 0 and its white is `white`. Without
a window the whole range of BitsStored is shown. Only text of our own goes into errors: pydicom's can quote a
patient's data.
"""

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from chambit.core.errors import InputError
from chambit.images.image import Image
from chambit.images.readers import refusal

version = "1"
SUFFIXES = (".dcm", ".dicom", ".ima")
_GREY = ("MONOCHROME1", "MONOCHROME2")
_COLOUR = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT", "PALETTE COLOR")
_NEEDED = ("Rows", "Columns", "BitsAllocated", "BitsStored", "PhotometricInterpretation")
_AGAIN = "export it again from the archive (PACS) it came from"
_PACKAGES = "pip install python-gdcm"
_OLDEST = 90  # HIPAA's safe harbour joins all ages above 89


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


def read(path: Path, part: str = "") -> Iterator[tuple[str, Image]]:
    """Yield ("", image) for the one frame in the file.

    Raises:
        InputError: when there are no pixels, several frames, a compression no installed decoder reads,
            more than 16 bits, or the file is damaged or truncated.
    """
    with _quiet():
        data = _parsed(path)
        try:
            _check(path, data)
            kind = str(data.PhotometricInterpretation)
            if kind not in _GREY + _COLOUR:
                raise refusal(path, f"photometric interpretation '{kind[:16]}' is not supported", _AGAIN)
            stored = _decoded(path, data)
            pixels, white = _grey(path, data, stored) if kind in _GREY else (_colour(data, stored), 255)
            shown = _how(data) if kind in _GREY else "whole range"
            image = Image(pixels, white, _spacing(data), _text(data, "PatientID"), "", _fields(data), shown)
        except InputError:
            raise
        except MemoryError:
            raise refusal(path, "too large for this machine's memory", "reduce it first") from None
        except Exception as error:  # a damaged header shows as many kinds of exception
            what = f"damaged: its header cannot be understood ({type(error).__name__})"
            raise refusal(path, what, _AGAIN) from None
    yield "", image


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
        data = dcmread(path, force=True)
        if "TransferSyntaxUID" not in data.file_meta and "PixelData" in data:
            # Saved without file meta: how it was parsed says how it is written, unless pixels are compressed.
            missing = [name for name in _NEEDED if name not in data]
            if missing or data["PixelData"].is_undefined_length:
                unknown = ", ".join(missing) or "the compression"
                raise refusal(path, f"has no file meta information, and {unknown} is not known", _AGAIN)
            implicit, little = data.original_encoding
            explicit = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
            data.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else explicit
        return data
    except InputError:
        raise
    except Exception as error:
        raise refusal(path, f"damaged: cannot be parsed as DICOM ({type(error).__name__})", _AGAIN) from None


def _check(path: Path, data: Any) -> None:
    if "PixelData" not in data:
        floating = "FloatPixelData" in data or "DoubleFloatPixelData" in data
        if floating:
            raise refusal(path, "holds float pixels: full brightness is not known", "export it with 16 bits or fewer")
        what = _object(data)
        raise refusal(path, f"holds no picture (no PixelData{what})", "leave it out, or export the image itself")
    missing = [name for name in _NEEDED if data.get(name) in (None, "")]
    if missing:
        raise refusal(path, f"damaged: the header lacks {', '.join(missing)}", _AGAIN)
    frames = int(data.get("NumberOfFrames") or 1)
    if frames > 1:
        remedy = "export single frames; files with several are not supported yet"
        raise refusal(path, f"holds {frames} frames", remedy)
    if int(data.BitsStored) > 16 or int(data.BitsAllocated) > 16:
        raise refusal(path, f"has {data.BitsAllocated} bits a pixel", "export it with 16 bits or fewer")
    if not 0 < int(data.BitsStored) <= int(data.BitsAllocated):
        raise refusal(path, "damaged: BitsStored and BitsAllocated contradict each other", _AGAIN)


def _object(data: Any) -> str:
    from pydicom.uid import UID

    name = UID(str(data.get("SOPClassUID", "")))
    known = name.name if name and name.name != str(name) else ""
    return f"; it is a '{known}'" if known else ""


def _decoded(path: Path, data: Any) -> np.ndarray:
    from pydicom.pixels.decoders.base import get_decoder
    from pydicom.pixels.utils import pixel_array

    syntax = data.file_meta.TransferSyntaxUID
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError:
        what = f"compressed as '{syntax.name}', which nothing here decodes"
        raise refusal(path, what, "decompress it first, for example with dcmdjpeg or gdcmconv --raw") from None
    if not decoder.is_available:
        what = f"compressed as '{syntax.name}', and no decoder for it is installed"
        raise refusal(path, what, f"{_PACKAGES}, or decompress it first") from None
    try:
        return np.asarray(pixel_array(data))
    except MemoryError:
        raise
    except Exception as error:
        if syntax.is_encapsulated and decoder.missing_dependencies:
            what = f"compressed as '{syntax.name}', which the decoders installed here could not read"
            raise refusal(path, what, f"{_PACKAGES}; if that does not help, {_AGAIN}, not compressed") from None
        what = f"damaged or truncated: the pixels do not fit the header ({type(error).__name__})"
        raise refusal(path, what, _AGAIN) from None


def _grey(path: Path, data: Any, stored: np.ndarray) -> tuple[np.ndarray, int]:
    """Displayed brightness uint8 or uint16 (H, W) in [0, white], and `white`, from stored values (H, W)."""
    bits = int(data.BitsStored)
    lowest = -(1 << (bits - 1)) if int(data.get("PixelRepresentation") or 0) else 0
    if stored.ndim != 2 or stored.min() < lowest or stored.max() >= lowest + (1 << bits):
        raise refusal(path, f"damaged: the pixels are not grey values of {bits} bits, as the header says", _AGAIN)
    if stored.size <= 1 << bits:
        return _shown(path, data, stored.astype(np.int64), lowest)
    # A large image has fewer levels than pixels: one table of all levels is five times as fast.
    table, white = _shown(path, data, np.arange(lowest, lowest + (1 << bits)), lowest)
    return table[stored.astype(np.int32) - lowest], white


def _shown(path: Path, data: Any, stored: np.ndarray, lowest: int) -> tuple[np.ndarray, int]:
    """What a viewer shows for stored values int64 (any shape), of which `lowest` is the smallest possible."""
    bits, slope = int(data.BitsStored), 1.0
    if data.get("ModalityLUTSequence"):
        bits, lowest = int(data.ModalityLUTSequence[0].LUTDescriptor[2]), 0
    else:
        slope = _number(data, "RescaleSlope", 1.0)
    if slope == 0:
        raise refusal(path, "damaged: RescaleSlope is 0, which makes every pixel equal", _AGAIN)
    if _windowed(data):
        pixels, white = _window(path, data, stored, bits)
    else:
        white = (1 << bits) - 1
        plain = _modality(data, stored) if data.get("ModalityLUTSequence") else stored
        pixels = plain.astype(np.int64) - lowest
        pixels = white - pixels if slope < 0 else pixels
    if str(data.PhotometricInterpretation) == "MONOCHROME1":
        pixels = white - pixels
    return np.clip(pixels, 0, white).astype(np.uint8 if white <= 255 else np.uint16), white


def _windowed(data: Any) -> bool:
    if data.get("VOILUTSequence"):
        return True
    return data.get("WindowCenter") not in (None, "") and data.get("WindowWidth") not in (None, "")


def _how(data: Any) -> str:
    """How stored values became brightness, see `Image.shown`; of several windows the first is used."""
    inverted = str(data.PhotometricInterpretation) == "MONOCHROME1"
    if data.get("VOILUTSequence") or (data.get("ModalityLUTSequence") and not _windowed(data)):
        way = "lookup table"
    elif _windowed(data):
        center, width = (
            value[0] if isinstance(value, Sequence) else value for value in (data.WindowCenter, data.WindowWidth)
        )
        way = f"window {float(center):g}/{float(width):g}"
    else:
        # a rescale alone only changes the unit, and turns the scale around when its slope is negative
        way, inverted = "whole range", inverted != (_number(data, "RescaleSlope", 1.0) < 0)
    return way + (", inverted" if inverted else "")


def _modality(data: Any, stored: np.ndarray) -> np.ndarray:
    from pydicom.pixels.processing import apply_modality_lut

    # pydicom rescales only when both are there; one alone would be left out in silence.
    if not data.get("ModalityLUTSequence") and ("RescaleSlope" in data or "RescaleIntercept" in data):
        data.RescaleSlope = _number(data, "RescaleSlope", 1.0)
        data.RescaleIntercept = _number(data, "RescaleIntercept", 0.0)
    return np.asarray(apply_modality_lut(stored, data))


def _window(path: Path, data: Any, stored: np.ndarray, bits: int) -> tuple[np.ndarray, int]:
    """Apply the file's VOI LUT or window: int64 of the shape of `stored` in [0, white], and `white`."""
    from pydicom.pixels.processing import apply_voi_lut, apply_windowing

    values = _modality(data, stored)
    if data.get("VOILUTSequence"):
        white = (1 << int(data.VOILUTSequence[0].LUTDescriptor[2])) - 1
        # pydicom indexes the table with what it gets, so rescaled values must be whole again.
        shown = apply_voi_lut(np.rint(values).astype(np.int64), data)
        return np.asarray(shown).astype(np.int64), white
    try:
        # pydicom spreads the window over the range of the rescaled stored values; its ends are black and
        # white. Two further values, far outside any window, ask it what those ends are.
        huge = np.float64(1e12)
        flat = np.append(values.astype(np.float64).ravel(), [-huge, huge])
        shown = np.asarray(apply_windowing(flat, data))
    except ValueError:
        remedy = "mend WindowCenter and WindowWidth, or remove both to use the full range"
        raise refusal(path, "the window in the header cannot be used (width below 1?)", remedy) from None
    black, full = shown[-2], shown[-1]
    white = 255 if bits <= 8 else 65535
    unit = (shown[:-2].reshape(values.shape) - black) / (full - black)
    return np.rint(np.clip(unit, 0, 1) * white).astype(np.int64), white


def _colour(data: Any, stored: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 from decoded RGB (pydicom has left YBR behind) or palette indices."""
    if str(data.PhotometricInterpretation) == "PALETTE COLOR":
        from pydicom.pixels.processing import apply_color_lut

        coloured = np.asarray(apply_color_lut(stored, data))[:, :, :3]
        bits = int(data.RedPaletteColorLookupTableDescriptor[2])
    else:
        coloured, bits = stored, int(data.BitsStored)
    if bits > 8:
        coloured = np.rint(coloured.astype(np.float64) * (255 / ((1 << bits) - 1)))
    return np.asarray(np.clip(coloured, 0, 255), np.uint8)


def _number(data: Any, name: str, otherwise: float) -> float:
    value = data.get(name)
    return otherwise if value in (None, "") else float(value)


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
