"""What a viewer shows for the stored values of one DICOM frame (PS3.3 C.7.6.3, C.11.1, C.11.2).

A number of the result is brightness: modality LUT or rescale, then the VOI LUT or window of the header, then inversion
for MONOCHROME1; black of the window is 0 and its white is `white`. Without a window the whole range of BitsStored is
shown. Colour becomes RGB at the depth it is stored with.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from chambit.images.readers import refusal

GREY = ("MONOCHROME1", "MONOCHROME2")
COLOUR = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT", "PALETTE COLOR")
AGAIN = "export it again from the archive (PACS) it came from"


def displayed(path: Path, header: Any, stored: np.ndarray) -> tuple[np.ndarray, int, str]:
    """Brightness or colour of one frame.

    Args:
        path: the file, for messages.
        header: the data set as it holds for this frame.
        stored: values as pydicom decodes them, (H, W) or (H, W, 3); YBR is RGB already.

    Returns:
        Pixels uint8 or uint16 (H, W) or (H, W, 3) in [0, white], `white`, and how they were shown (`Image.shown`).

    Raises:
        InputError: when the values contradict the header, or the header cannot be used.
    """
    kind = str(header.PhotometricInterpretation)
    if kind in GREY:
        return *_grey(path, header, stored), _how(header)
    if kind in COLOUR:
        return *_colour(path, header, stored), "whole range"
    raise refusal(path, f"photometric interpretation '{kind[:16]}' is not supported", AGAIN)


def _grey(path: Path, data: Any, stored: np.ndarray) -> tuple[np.ndarray, int]:
    """Displayed brightness uint8 or uint16 (H, W) in [0, white], and `white`, from stored values (H, W)."""
    bits = int(data.BitsStored)
    lowest = -(1 << (bits - 1)) if int(data.get("PixelRepresentation") or 0) else 0
    if stored.ndim != 2 or stored.min() < lowest or stored.max() >= lowest + (1 << bits):
        raise refusal(path, f"damaged: the pixels are not grey values of {bits} bits, as the header says", AGAIN)
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
        raise refusal(path, "damaged: RescaleSlope is 0, which makes every pixel equal", AGAIN)
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


def _colour(path: Path, data: Any, stored: np.ndarray) -> tuple[np.ndarray, int]:
    """(H, W, 3) uint8 or uint16 and its white, from decoded RGB (pydicom has left YBR behind) or palette indices."""
    bits = int(data.BitsStored)
    if str(data.PhotometricInterpretation) == "PALETTE COLOR":
        from pydicom.pixels.processing import apply_color_lut

        stored = np.asarray(apply_color_lut(stored, data))[:, :, :3]
        bits = int(data.RedPaletteColorLookupTableDescriptor[2])
    if stored.ndim != 3 or stored.shape[2] != 3:
        raise refusal(path, "damaged: the pixels are not of three colours, as the header says", AGAIN)
    white = (1 << bits) - 1
    return np.clip(stored, 0, white).astype(np.uint8 if white <= 255 else np.uint16), white


def _number(data: Any, name: str, otherwise: float) -> float:
    value = data.get(name)
    return otherwise if value in (None, "") else float(value)
