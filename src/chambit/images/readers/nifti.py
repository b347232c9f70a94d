"""NIfTI-1 and NIfTI-2 volumes (.nii, .nii.gz), read with nibabel: axial slices from the feet to the head.

The volume is turned to its closest canonical orientation (x to the right, y to the front, z to the head of the patient)
and each slice along z is shown as radiologists look at it: the front on top, the patient's right on the left. A fourth
axis is time; all slices of one time come before those of the next. scl_slope and scl_inter are applied, and the whole
range of the volume, over all slices and times, becomes black to white: no percentile, so nothing is cut off. Nothing is
resampled: a volume that stands oblique stays so.
"""

import contextlib
import gzip
import shutil
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from chambit.core.errors import InputError
from chambit.images import geometry
from chambit.images.image import Image
from chambit.images.readers import refusal, wanted

version = "2"  # slices say how they lie
SUFFIXES = (".nii", ".nii.gz")
_AGAIN = "convert or copy it again from where it came from"
_SIZES = (348, 540)  # sizeof_hdr of NIfTI-1 and NIfTI-2, the first four bytes
_GZIP = b"\x1f\x8b"
# nifti1.h, xyzt_units. Files that leave the unit out mean millimetres, which is what every common tool takes them for.
_MILLIMETRES = {"mm": 1.0, "unknown": 1.0, "meter": 1000.0, "micron": 0.001}
_BLOCK = 1 << 24  # values looked at together when the range of a volume is sought: 128 MB as float64
_DAMAGE = (OSError, EOFError, ValueError, zlib.error)


class Volume(NamedTuple):
    """A volume in canonical orientation, not in memory.

    Attributes:
        stored: values as stored, (X, Y, Z, T), a view of the file.
        slope: of `slope * stored + inter`.
        inter: see `slope`.
        spacing_mm: of x, y and z.
    """

    stored: np.ndarray
    slope: float
    inter: float
    spacing_mm: tuple[float, float, float]


def recognises(path: Path, head: bytes) -> bool:
    """Whether it, or what is packed in it, begins with the size of a NIfTI header (Analyze 7.5 begins alike)."""
    if head.startswith(_GZIP):
        with contextlib.suppress(zlib.error):
            return _begins(zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(head, 4))
        return False
    return _begins(head)


def frames(path: Path) -> int:
    """Slices times volumes, as the header says.

    Raises:
        InputError: when the header cannot be used.
    """
    header = _header(path)
    return _count(header, _shape(path, header))


def read(path: Path, part: str = "") -> Iterator[tuple[str, Image]]:
    """Yield ("0", image), ("1", image), ... for the slices, ("", image) for a single one; `part` picks one.

    Raises:
        InputError: when it is damaged or truncated, is no NIfTI file after all, or holds other than plain numbers.
    """
    header = _header(path)
    numbers = wanted(path, part, count := _count(header, _shape(path, header)))
    with _volume(path, header) as volume:
        low, high = _range(path, volume)
        depth, times = volume.stored.shape[2:]
        white = 255 if volume.stored.dtype.itemsize == 1 else 65535
        for number in numbers:
            time, z = divmod(number, depth)
            values = radiological(volume.stored[:, :, z, time]) * volume.slope + volume.inter
            unit = (values - low) / ((high - low) or 1.0)
            pixels = np.rint(unit * white).astype(np.uint8 if white == 255 else np.uint16)
            fields = {"slice": str(z)} | ({"time": str(time)} if times > 1 else {})
            fields |= {"axes": geometry.AXIAL, "spacing_mm": geometry.spaced(*volume.spacing_mm)}
            spacing = volume.spacing_mm[1], volume.spacing_mm[0]
            shown = f"range {low:g} to {high:g}"
            yield "" if count == 1 else str(number), Image(pixels, white, spacing, fields=fields, shown=shown)


def radiological(plane: np.ndarray) -> np.ndarray:
    """An axial slice (x to the right, y to the front) as (row, column): front on top, the patient's right on the left.

    >>> plane = np.array([["left back", "left front"], ["right back", "right front"]])
    >>> radiological(plane).tolist()
    [['right front', 'left front'], ['right back', 'left back']]
    """
    return plane[::-1, ::-1].T


def _begins(data: bytes) -> bool:
    return any(int.from_bytes(data[:4], order) in _SIZES for order in ("little", "big"))


def _header(path: Path) -> Any:
    """The header as nibabel reads it; nibabel's own words stay out of errors, they can quote what a file says."""
    import logging

    import nibabel
    from nibabel.spatialimages import HeaderDataError
    from nibabel.wrapstruct import WrapStructError

    try:
        with _unpacked(path) as file:
            start = file.read(_SIZES[1])
        version_2 = any(int.from_bytes(start[:4], order) == _SIZES[1] for order in ("little", "big"))
        magic = start[4:7] if version_2 else start[344:347]
        if magic in (b"ni1", b"ni2"):
            raise refusal(path, "a header alone: its pixels are in another file", "save both as one .nii file")
        if magic not in (b"n+1", b"n+2"):
            raise refusal(path, "damaged: it begins like NIfTI but lacks its magic word (Analyze 7.5?)", _AGAIN)
        kind = nibabel.Nifti2Header if version_2 else nibabel.Nifti1Header
        log = logging.getLogger("nibabel.global")
        level = log.level
        log.setLevel(logging.CRITICAL + 1)
        try:
            return kind(start[: _SIZES[version_2]])  # type: ignore[no-untyped-call]
        finally:
            log.setLevel(level)
    except InputError:
        raise
    except (*_DAMAGE, HeaderDataError, WrapStructError) as error:
        what = f"damaged: its header cannot be understood ({type(error).__name__})"
        raise refusal(path, what, _AGAIN) from None


def _shape(path: Path, header: Any) -> tuple[int, int, int, int]:
    shape = tuple(int(side) for side in header.get_data_shape())
    code = header.get_data_dtype()
    if len(shape) < 2 or min(shape) < 1:
        raise refusal(path, f"damaged: its header gives the shape {shape}", _AGAIN)
    if len(shape) > 4 and max(shape[4:]) > 1:
        raise refusal(path, f"holds several numbers a voxel (shape {shape})", "save one map as a volume of its own")
    if code.fields is not None or code.kind not in "iuf":
        raise refusal(path, "its voxels are colours or complex numbers", "save it as plain numbers")
    x, y, z, t = (*shape, 1, 1)[:4]
    return x, y, z, t


def _count(header: Any, shape: tuple[int, int, int, int]) -> int:
    axes = _orientation(header)[:3, 0].astype(int)
    return shape[int(np.flatnonzero(axes == 2)[0])] * shape[3]


def _orientation(header: Any) -> np.ndarray:
    from nibabel.orientations import io_orientation

    found = np.asarray(io_orientation(header.get_best_affine()))  # type: ignore[no-untyped-call]
    # An affine that squashes an axis has none for it; then the order of the file is as good as any.
    return found if np.isfinite(found).all() else np.array([[0, 1], [1, 1], [2, 1]], float)


@contextlib.contextmanager
def _unpacked(path: Path) -> Iterator[IO[bytes]]:
    with path.open("rb") as raw:
        packed = raw.read(2) == _GZIP
        raw.seek(0)
        if packed:
            with gzip.GzipFile(fileobj=raw) as file:
                yield file  # type: ignore[misc]  # a GzipFile is read like any file
        else:
            yield raw


@contextlib.contextmanager
def _volume(path: Path, header: Any) -> Iterator[Volume]:
    """The volume as a view of the file; a packed one is unpacked to a file without a name, gone with the process."""
    from nibabel.orientations import apply_orientation

    shape, kind = _shape(path, header), header.get_data_dtype()
    slope, inter = header.get_slope_inter()
    with tempfile.TemporaryFile() as scratch, path.open("rb") as raw:
        try:
            with _unpacked(path) as packed:
                file = raw
                if isinstance(packed, gzip.GzipFile):
                    shutil.copyfileobj(packed, scratch, 1 << 20)
                    scratch.flush()
                    file = scratch
            stored = np.memmap(file, kind, "r", header.get_data_offset(), shape, order="F")
        except _DAMAGE:
            raise refusal(path, "damaged or truncated: fewer voxels than its header says", _AGAIN) from None
        turned = _orientation(header)
        spacing = np.asarray((*header.get_zooms(), 1.0, 1.0)[:3]) * _MILLIMETRES.get(header.get_xyzt_units()[0], 1.0)
        x, y, z = (float(spacing[int(np.flatnonzero(turned[:, 0] == axis)[0])]) for axis in range(3))
        view = np.asarray(apply_orientation(stored, turned))  # type: ignore[no-untyped-call]
        yield Volume(view, 1.0 if slope is None else slope, 0.0 if inter is None else inter, (x, y, z))


def _range(path: Path, volume: Volume) -> tuple[float, float]:
    """Smallest and largest value of the whole volume, looked at in blocks of slices."""
    stored = volume.stored
    step = max(1, _BLOCK // max(1, stored[:, :, 0, 0].size))
    low, high = np.inf, -np.inf
    for time in range(stored.shape[3]):
        for first in range(0, stored.shape[2], step):
            block = stored[:, :, first : first + step, time]
            if block.dtype.kind == "f" and not np.isfinite(block).all():
                what = "has voxels that are not a number"
                raise refusal(path, what, "give them the value of the background first")
            low, high = min(low, float(block.min())), max(high, float(block.max()))
    ends = low * volume.slope + volume.inter, high * volume.slope + volume.inter
    return min(ends), max(ends)
