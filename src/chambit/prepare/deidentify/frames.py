"""Pixels of a DICOM file: kept byte for byte, or blanked in boxes and written uncompressed.

Black is the darkest value that the file itself holds (the largest one for MONOCHROME1 and for a negative RescaleSlope),
so that a blanked box changes neither the range of the values nor a window that is computed from it; of a palette the
entry of least luminance (Rec. ITU-R BT.601); of RGB (0, 0, 0), of YBR_FULL (0, 128, 128).
"""

import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from chambit.prepare.deidentify import codestream
from chambit.prepare.deidentify.records import AGAIN, refused
from chambit.prepare.redaction import Redaction, blank

PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
_GREY = ("MONOCHROME1", "MONOCHROME2")
_LUMA = np.array((0.299, 0.587, 0.114))
_KNOWN = frozenset(
    [
        *("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2"),
        "1.2.840.10008.1.2.5",
        *(f"1.2.840.10008.1.2.4.{n}" for n in (50, 51, 57, 70, 80, 81, 90, 91, 92, 93, 201, 202, 203)),
    ]
)  # uncompressed, RLE, JPEG, JPEG-LS, JPEG 2000, HTJ2K


class Kept(NamedTuple):
    """The pixel element of the new file where no box was asked for.

    Attributes:
        value: of the element, as it is written.
        digest: SHA-256 of its samples, or of its codestreams without comments, one after the other.
        removed: what was taken off: comments of codestreams, bytes after the last sample.
    """

    value: bytes
    digest: str
    removed: tuple[str, ...]


class Frames(NamedTuple):
    """Decoded pixels.

    Attributes:
        array: (F, H, W) or (F, H, W, 3), integers as stored; colour as RGB, or YBR where it is stored so uncompressed.
        photometric: what the channels mean: a PhotometricInterpretation.
    """

    array: np.ndarray
    photometric: str


def which(dataset: Any, relative: str) -> str:
    """Keyword of the element that holds the pixels.

    Raises:
        InputError: when there is none, or its compression may carry texts that nothing here removes.
    """
    name = next((name for name in PIXELS if name in dataset), "")
    if not name:
        what = "it holds no picture, so its content is text, numbers or a document"
        raise refused(relative, what, "leave it out; reports and documents need a person who reads them")
    if "LABEL" in (dataset.get("ImageType") or ()):  # PS3.3 C.8.12.4.1.1: the third value of a slide's image
        raise refused(relative, "it shows the label of a slide, with its names and numbers", "leave it out")
    syntax = dataset.file_meta.TransferSyntaxUID
    if str(syntax) not in _KNOWN:
        shown = syntax.name if syntax.name != str(syntax) else "something unknown"
        what = f"its pixels are compressed as {shown}, a stream that may carry texts of its own"
        raise refused(relative, what, "export it as single frames, or with JPEG, JPEG 2000 or no compression")
    return name


def kept(dataset: Any, name: str, relative: str) -> Kept:
    """Pixels as they are stored, without comments of codestreams and bytes after the last sample.

    Raises:
        InputError: when they are fewer than the header says, or a codestream is damaged.
    """
    from pydicom.encaps import encapsulate
    from pydicom.pixels.utils import get_expected_length

    value = bytes(dataset[name].value or b"")
    if dataset.file_meta.TransferSyntaxUID.is_encapsulated:
        if overlaid(dataset):
            raise refused(relative, "an overlay is hidden in its compressed samples", "decompress the file first")
        try:
            stripped = [codestream.strip(frame) for frame in _compressed(dataset, value)]
        except ValueError as error:
            raise refused(relative, f"its compressed pixels are damaged ({error})", AGAIN) from None
        removed = tuple(dict.fromkeys(what for each in stripped for what in each.removed))
        if removed:
            value = encapsulate([each.data for each in stripped])
        digest = hashlib.sha256(b"".join(each.data.rstrip(b"\0") for each in stripped)).hexdigest()
        return Kept(value, digest, removed)
    if name != "PixelData":
        return Kept(value, hashlib.sha256(value).hexdigest(), ())
    try:
        length = int(get_expected_length(dataset))
    except (AttributeError, TypeError, ValueError, KeyError) as error:
        raise refused(
            relative, f"its header does not say how many pixels it has ({type(error).__name__})", AGAIN
        ) from None
    if length <= 0 or len(value) < length:
        what = f"it holds {len(value)} bytes of pixels, and its header speaks of {length}"
        raise refused(relative, what, AGAIN)
    said = ["bytes after the last pixel"] if value[length:].strip(b"\0") else []
    value = value[:length]
    if overlaid(dataset):
        value, said = _unlaid(dataset, value), [*said, "overlay in unused bits"]
    return Kept(value + b"\0" * (length % 2), hashlib.sha256(value).hexdigest(), tuple(said))


def digest(dataset: Any, name: str) -> str:
    """The digest of `Kept` for a file that was written."""
    from pydicom.pixels.utils import get_expected_length

    value = bytes(dataset[name].value)
    if dataset.file_meta.TransferSyntaxUID.is_encapsulated:
        return hashlib.sha256(b"".join(frame.rstrip(b"\0") for frame in _compressed(dataset, value))).hexdigest()
    return hashlib.sha256(value if name != "PixelData" else value[: int(get_expected_length(dataset))]).hexdigest()


def overlaid(dataset: Any) -> bool:
    """Whether an overlay is stored in bits of the samples (retired): group 60xx without data of its own."""
    groups = range(0x6000, 0x6020, 2)
    return any((group, 0x0102) in dataset and (group, 0x3000) not in dataset for group in groups)


def decoded(dataset: Any, relative: str) -> Frames:
    """All frames as stored values.

    Raises:
        InputError: when nothing installed decodes them, or they are damaged.
    """
    from pydicom.pixels.utils import pixel_array

    syntax = dataset.file_meta.TransferSyntaxUID
    photometric = str(dataset.get("PhotometricInterpretation", ""))
    raw = not syntax.is_encapsulated and photometric == "YBR_FULL"
    try:
        array = np.asarray(pixel_array(dataset, raw=raw))
    except MemoryError:
        raise refused(relative, "too large for this machine's memory", "split it into single frames") from None
    except Exception as error:  # decoders of four libraries, each with its own kinds of error
        what = f"its pixels ({syntax.name}) cannot be decoded here ({type(error).__name__})"
        remedy = "pip install 'chambit[decoders]', decompress it first, or leave it out"
        raise refused(relative, what, remedy) from None
    colour = int(dataset.get("SamplesPerPixel", 1)) > 1
    if array.ndim == (3 if colour else 2):
        array = array[None]
    if colour and not raw:
        photometric = "RGB"
    return Frames(array, photometric)


def black(frames: Frames, dataset: Any) -> int | tuple[int, int, int]:
    """The stored value that is shown as black, see above.

    Raises:
        ValueError: when the palette cannot be read.
    """
    if frames.photometric == "RGB":
        return 0, 0, 0
    if frames.photometric == "YBR_FULL":
        return 0, 1 << (int(dataset.BitsStored) - 1), 1 << (int(dataset.BitsStored) - 1)
    if frames.photometric == "PALETTE COLOR":
        return _darkest(frames.array, dataset)
    slope = dataset.get("RescaleSlope")
    negative = slope not in (None, "") and float(slope) < 0
    inverted = (frames.photometric == "MONOCHROME1") != negative
    return int(frames.array.max() if inverted else frames.array.min())


def put(out: Any, frames: Frames, redactions: Sequence[Redaction], value: int | tuple[int, int, int]) -> str:
    """Write the frames with their boxes blanked into a data set, uncompressed; the digest of what is outside."""
    array = blank(frames.array, redactions, value)
    depth = array.dtype.itemsize * 8
    for name in ("ExtendedOffsetTable", "ExtendedOffsetTableLengths", "PixelData"):
        if name in out:
            delattr(out, name)
    out.PhotometricInterpretation = frames.photometric
    if int(out.BitsAllocated) != depth:
        out.BitsAllocated, out.HighBit = depth, int(out.BitsStored) - 1
    out.PixelRepresentation = int(array.dtype.kind == "i")
    if array.ndim == 4:
        out.PlanarConfiguration = 0
    stored = array.astype(array.dtype.newbyteorder("<")).tobytes()
    out.PixelData = stored + b"\0" * (len(stored) % 2)
    out["PixelData"].VR = "OB" if depth == 8 else "OW"
    return outside(frames.array, redactions)


def boxes(shape: Sequence[int], redactions: Sequence[Redaction]) -> np.ndarray:
    """Which pixels lie in a box, bool (F, H, W)."""
    inside = np.zeros(tuple(shape)[:3], bool)
    for box in redactions:
        rows = np.arange(inside.shape[1])
        columns = np.arange(inside.shape[2])
        tall, wide = (rows >= box.y0) & (rows < box.y1), (columns >= box.x0) & (columns < box.x1)
        inside[box.frame] |= tall[:, None] & wide[None, :]
    return inside


def outside(array: np.ndarray, redactions: Sequence[Redaction]) -> str:
    """SHA-256 of the pixels outside all boxes, in row-major order, little-endian."""
    plain = array[~boxes(array.shape, redactions)]
    return hashlib.sha256(plain.astype(plain.dtype.newbyteorder("<")).tobytes()).hexdigest()


def check_frames(count: int, redactions: Sequence[Redaction], relative: str) -> None:
    """Stop at a box in a frame that the file does not have.

    Raises:
        InputError: with the number of the frame.
    """
    for box in redactions:
        if not 0 <= box.frame < count:
            what = f"a box is in frame {box.frame}, and the file has {count} (counted from 0)"
            raise refused(relative, what, "find the boxes again for this very file")


def _compressed(dataset: Any, value: bytes) -> list[bytes]:
    from pydicom.encaps import generate_frames

    count = int(dataset.get("NumberOfFrames") or 1)
    try:
        return list(generate_frames(value, number_of_frames=count))
    except (ValueError, IndexError, TypeError, EOFError) as error:
        raise ValueError(type(error).__name__) from None


def _unlaid(dataset: Any, value: bytes) -> bytes:
    """Samples whose bits outside BitsStored are cleared, or for signed ones repeat the sign."""
    allocated, bits, high = int(dataset.BitsAllocated), int(dataset.BitsStored), int(dataset.HighBit)
    order = "<" if dataset.file_meta.TransferSyntaxUID.is_little_endian else ">"
    words = np.frombuffer(value, f"{order}u{allocated // 8}")
    low = high - bits + 1
    mask = ((1 << bits) - 1) << low
    clean = words & words.dtype.type(mask)
    if int(dataset.PixelRepresentation) and low == 0:
        sign = (clean >> words.dtype.type(high)) & words.dtype.type(1)
        clean = clean | sign * words.dtype.type(((1 << allocated) - 1) ^ mask)
    return bytes(clean.astype(words.dtype).tobytes())


def _darkest(array: np.ndarray, dataset: Any) -> int:
    """Index of the palette's entry of least luminance."""
    from pydicom.pixels.processing import apply_color_lut

    entries, first, _ = (int(number) for number in dataset.RedPaletteColorLookupTableDescriptor)
    indices = np.arange(first, first + (entries or 1 << 16))
    indices = indices[(indices >= 0) & (indices < 1 << int(dataset.BitsStored))].astype(array.dtype)
    if not len(indices):
        raise ValueError("no entries")
    colours = np.asarray(apply_color_lut(indices[None], dataset))[0, :, :3]
    return int(indices[int(np.argmin(colours @ _LUMA))])
