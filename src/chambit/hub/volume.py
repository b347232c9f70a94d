"""A volume of a set as one NIfTI file, made of the slices that were measured and of nothing else.

The slices stand in the file as they were stored, one after the other, so only one is in memory at a time; each is
compared with its digest before, and one that differs leaves no file at all. What is said of the geometry comes from the
set's own table (`images.geometry`); the header says that this is no patient.

Files are kept packed, in memory alone, while the slices on disk stay the same files.
"""

import gzip
import io
import threading
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from chambit.core import digest
from chambit.hub import desk, imagetable
from chambit.hub.imagetable import Images
from chambit.hub.refusals import HubError, NotAllowedError, NotThereError
from chambit.images import geometry
from chambit.images.geometry import Geometry

LARGEST = 512 << 20
"""Bytes of voxels; a volume that has more is looked at slice by slice."""
KEPT = 256 << 20
"""Bytes of packed files that are kept."""
FORM = 1
"""Rises when the same slices give another file."""
SAID = "synthetic data, not a patient"
ASSUMED = "geometry assumed"
_ALIGNED = 2  # nifti1.h, NIFTI_XFORM_ALIGNED_ANAT: directions of a body, coordinates of no scanner
_HEAD = 352  # nifti1.h: 348 bytes, and four that say there are no extensions


class Volume(NamedTuple):
    """A volume that may be looked at.

    Attributes:
        rows: of its slices in their order.
        geometry: as the table has it.
        width: pixels of a slice.
        height: pixels of a slice.
        bits: of a voxel, 8 or 16.
        digest: of all that its file follows from.
    """

    rows: tuple[dict[str, str], ...]
    geometry: Geometry
    width: int
    height: int
    bits: int
    digest: str

    @property
    def name(self) -> str:
        """The series."""
        return self.rows[0]["series"]

    @property
    def white(self) -> float:
        """Value of the full scale, in units where there are any."""
        return self.geometry.white if self.geometry.units else float((1 << self.bits) - 1)


def holds(folder: Path) -> bool:
    """Whether the series of a run are volumes, not films: its dossier shows some, or its table says how they lie."""
    making = desk.dossier_of(folder).making
    rows = imagetable.table(folder).rows
    return bool(making and making.volumes) or ("axes" in rows.columns and bool((rows["axes"] != "").any()))


def of(images: Images, name: str) -> Volume:
    """The volume that an image is a slice of.

    Raises:
        NotThereError: when there is no such image, or it is no slice.
        NotAllowedError: when not every slice may be looked at.
        HubError: when slices are missing, are too many or coloured, or what the table says of them makes no sense.
    """
    rows = imagetable.sequence(images, name)
    length = imagetable.length(images, rows[0])
    if length < 2 or not holds(images.folder):
        raise NotThereError("이 영상은 볼륨의 슬라이스가 아닙니다.", "This image is no slice of a volume.")
    if length > len(rows):
        raise NotAllowedError(
            "지금의 개방 등급에서는 이 볼륨의 일부 슬라이스만 볼 수 있어 3차원으로 보이지 않습니다.",
            "At this tier only some slices of this volume are shown, so it is not shown in three dimensions.",
        )
    _in_order(rows)
    space = _space(rows)
    form = imagetable.form_of(images, rows[0])
    if form.colour:
        raise HubError(
            "컬러 볼륨은 3차원으로 보이지 않습니다. 슬라이스로 보십시오.",
            "Volumes in colour are not shown in three dimensions. Look at the slices.",
        )
    if (size := form.width * form.height * form.bits // 8 * len(rows)) > LARGEST:
        much = f"{size >> 20} MiB > {LARGEST >> 20} MiB"
        raise HubError(
            f"볼륨이 너무 커서 ({much}) 3차원으로 보이지 않습니다. 슬라이스로 보십시오.",
            f"The volume is too large for three dimensions ({much}). Look at the slices.",
        )
    made = digest.of_json([FORM, list(space), [one["sha256"] for one in rows]])
    return Volume(tuple(rows), space, form.width, form.height, form.bits, made)


def packed(images: Images, volume: Volume) -> bytes:
    """The volume as a packed NIfTI-1 file (.nii.gz), the same bytes for the same slices.

    Raises:
        NotThereError: when the file of a slice is gone or no file of the set.
        HubError: when a slice is not the one that was measured, or of another size than the first.
    """
    stamps = tuple(imagetable.stamp(images, one) for one in volume.rows)
    return _shelf.given(images, volume, stamps)


def header(volume: Volume) -> bytes:
    """The header of the file with its four bytes of extensions, as nibabel writes it."""
    import nibabel

    space = volume.geometry
    made = nibabel.Nifti1Header()  # type: ignore[no-untyped-call]
    made.set_data_dtype(np.uint8 if volume.bits == 8 else np.uint16)  # type: ignore[no-untyped-call]
    shape = (volume.width, volume.height, len(volume.rows))
    made.set_data_shape(shape)  # type: ignore[no-untyped-call]
    affine = space.affine(*shape)
    made.set_sform(affine, _ALIGNED)  # type: ignore[no-untyped-call]
    made.set_qform(affine, _ALIGNED)  # type: ignore[no-untyped-call]
    made.set_xyzt_units("mm" if space.measured else "unknown")  # type: ignore[no-untyped-call]
    made.set_slope_inter(*space.rescale((1 << volume.bits) - 1))  # type: ignore[no-untyped-call]
    known = space.oriented and space.measured
    made["descrip"] = (SAID if known else f"{SAID}; {ASSUMED}").encode()
    made["intent_name"] = b"synthetic data"
    made["cal_min"], made["cal_max"] = space.black, volume.white
    made["magic"], made["vox_offset"] = b"n+1", _HEAD
    return bytes(made.binaryblock) + bytes(_HEAD - len(made.binaryblock))


def _packed(images: Images, volume: Volume) -> bytes:
    buffer = io.BytesIO()
    shape, deep = (volume.height, volume.width), np.dtype("<u2" if volume.bits == 16 else "u1")
    with gzip.GzipFile(fileobj=buffer, mode="wb", compresslevel=4, mtime=0, filename="") as file:
        file.write(header(volume))
        for one in volume.rows:
            pixels, _ = imagetable.checked(images, one)
            if pixels.shape != shape or pixels.dtype.itemsize != deep.itemsize:
                raise HubError(
                    f"슬라이스 {one['id']}의 크기가 다른 슬라이스와 달라 볼륨으로 쌓을 수 없습니다.",
                    f"Slice {one['id']} is of another size than the others: they cannot be stacked.",
                )
            file.write(pixels.astype(deep).tobytes())
    return buffer.getvalue()


class _Shelf:
    """Packed files, those asked for last, up to `KEPT` bytes; one is made at a time."""

    def __init__(self) -> None:
        self._files: OrderedDict[tuple[object, ...], bytes] = OrderedDict()
        self._making = threading.Lock()

    def given(self, images: Images, volume: Volume, stamps: tuple[object, ...]) -> bytes:
        key = (images.folder, volume.digest, stamps)
        with self._making:
            if key in self._files:
                self._files.move_to_end(key)
                return self._files[key]
            made = _packed(images, volume)
            self._files[key] = made
            while sum(map(len, self._files.values())) > KEPT and len(self._files) > 1:
                self._files.popitem(last=False)
            return made


_shelf = _Shelf()


def _in_order(rows: list[dict[str, str]]) -> None:
    """Refuse slices whose numbers do not follow each other: a gap would shorten the body."""
    numbers = [int(one["frame"]) if one["frame"].isdecimal() else -1 for one in rows]
    if numbers != list(range(numbers[0], numbers[0] + len(rows))) or numbers[0] < 0:
        raise HubError(
            "이 볼륨의 슬라이스 번호가 이어지지 않아 쌓을 수 없습니다. 빠진 슬라이스가 있는지 세트를 확인하십시오.",
            "The numbers of this volume's slices do not follow each other, so they cannot be stacked. "
            "Look whether the set lacks one.",
        )


def _space(rows: list[dict[str, str]]) -> Geometry:
    said: list[Mapping[str, str]] = [{name: one.get(name, "") for name in geometry.COLUMNS} for one in rows]
    try:
        if any(one != said[0] for one in said):
            raise ValueError("slices of one volume say different things")
        return geometry.of(said[0])
    except ValueError as error:
        raise HubError(
            f"labels.csv에 적힌 볼륨의 좌표를 이해할 수 없습니다 ({error}).",
            f"What labels.csv says of the volume's geometry cannot be understood ({error}).",
        ) from None
