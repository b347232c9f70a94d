"""De-identification of NIfTI-1 and NIfTI-2 files in one piece (.nii, .nii.gz): texts and extensions go.

Emptied are all text fields of the header (`descrip`, `aux_file`, `intent_name`, `db_name`, `data_type`, unused bytes);
extensions are removed, bytes behind the last voxel too, and of a gzip file its name, comment and time. Every number of
the header but `vox_offset`, and every byte of the voxels, stays. Sources: nifti1.h and nifti2.h (nifti.nimh.nih.gov);
RFC 1952 (gzip). A volume of a head shows a face: nothing here removes it.
"""

import gzip
import hashlib
import io
import math
import struct
import zlib
from typing import NamedTuple

from chambit.prepare.deidentify.records import AGAIN, Action, Body, failed, refused

_LARGEST = 1 << 34  # bytes that a compressed file may grow to
_TEXTS = {
    348: (
        ("data_type", 4, 10),
        ("db_name", 14, 18),
        ("descrip", 148, 80),
        ("aux_file", 228, 24),
        ("intent_name", 328, 16),
    ),
    540: (("descrip", 240, 80), ("aux_file", 320, 24), ("intent_name", 508, 16), ("unused_str", 525, 15)),
}
"""Name, offset and length of the text fields, by the size of the header."""


class _Form(NamedTuple):
    """What the header says: its size, byte order, where the voxels begin and how many bytes they are."""

    size: int
    order: str
    start: int
    length: int


def is_nifti(data: bytes) -> bool:
    """Whether bytes are a NIfTI file in one piece, packed with gzip or not."""
    return _magic(data) or (data[:2] == b"\x1f\x8b" and _magic(_head(data)))


def texts(data: bytes) -> list[str]:
    """What its text fields and extensions say, for the list of identifiers.

    Raises:
        ValueError: when it is damaged.
    """
    raw = _unpacked(data)
    form = _form(raw)
    fields = [raw[at : at + length] for _, at, length in _TEXTS[form.size]] + [raw[form.size + 4 : form.start][:65536]]
    return [text for field in fields if (text := field.replace(b"\0", b" ").decode("utf-8", "replace").strip())]


def clean(data: bytes, relative: str) -> Body:
    """A NIfTI file without its texts, its voxels byte for byte and every number of the header as they were.

    Raises:
        InputError: when it is damaged or does not pass its check.
    """
    try:
        raw = _unpacked(data)
        form = _form(raw)
        out, actions = _emptied(raw, form)
        digest = hashlib.sha256(raw[form.start : form.start + form.length]).hexdigest()
        again = _form(out)
    except (ValueError, struct.error) as error:
        raise refused(relative, f"damaged: it cannot be understood as NIfTI ({type(error).__name__})", AGAIN) from None
    if hashlib.sha256(out[again.start :]).hexdigest() != digest or again.length != form.length:
        raise failed(relative, "its voxels are not those of the original")
    if _geometry(raw) != _geometry(out):
        raise failed(relative, "its geometry is not that of the original")
    if data[:2] != b"\x1f\x8b":
        return Body(out, ".nii", actions, digest)
    buffer = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", fileobj=buffer, mtime=0, compresslevel=6) as packed:
        packed.write(out)
    if data[3] or any(data[4:8]):
        actions.append(Action("gzip", "name, comment and time", "removed", "they tell of the original file"))
    return Body(buffer.getvalue(), ".nii.gz", actions, digest)


def _magic(data: bytes) -> bool:
    return data[344:348] == b"n+1\0" or data[4:12] == b"n+2\0\r\n\x1a\n"


def _head(data: bytes) -> bytes:
    try:
        return zlib.decompressobj(31).decompress(data, 352)
    except zlib.error:
        return b""


def _unpacked(data: bytes) -> bytes:
    if data[:2] != b"\x1f\x8b":
        return data
    inflate = zlib.decompressobj(31)
    try:
        raw = inflate.decompress(data, _LARGEST)
    except zlib.error:
        raise ValueError("gzip") from None
    if not inflate.eof:
        raise ValueError("truncated")
    return raw


def _form(raw: bytes) -> _Form:
    size = 540 if raw[4:8] == b"n+2\0" else 348
    order = next((sign for sign in "<>" if struct.unpack(sign + "i", raw[:4])[0] == size), "")
    if not order:
        raise ValueError("size of the header")
    if size == 348:
        dims, bits = struct.unpack(order + "8h", raw[40:56]), struct.unpack(order + "h", raw[72:74])[0]
        start = int(struct.unpack(order + "f", raw[108:112])[0])
    else:
        dims, bits = struct.unpack(order + "8q", raw[16:80]), struct.unpack(order + "h", raw[14:16])[0]
        start = int(struct.unpack(order + "q", raw[168:176])[0])
    if not 1 <= dims[0] <= 7 or min(dims[1 : dims[0] + 1]) < 1 or bits < 1:
        raise ValueError("dimensions")
    length = math.ceil(math.prod(dims[1 : dims[0] + 1]) * bits / 8)
    if start < size + 4 or len(raw) < start + length:
        raise ValueError("truncated")
    return _Form(size, order, start, length)


def _emptied(raw: bytes, form: _Form) -> tuple[bytes, list[Action]]:
    header = bytearray(raw[: form.size])
    actions = []
    for name, at, length in _TEXTS[form.size]:
        if any(header[at : at + length]):
            header[at : at + length] = bytes(length)
            actions.append(Action("NIfTI", name, "emptied", "free text"))
    start = form.size + 4
    if form.size == 348:
        header[108:112] = struct.pack(form.order + "f", start)
    else:
        header[168:176] = struct.pack(form.order + "q", start)
    if any(raw[start : form.start]) or raw[form.size]:
        actions.append(Action("NIfTI", "extensions", "removed", "they may hold a whole DICOM header"))
    if len(raw) > form.start + form.length:
        actions.append(Action("NIfTI", "bytes after the last voxel", "removed", "no part of the image"))
    return bytes(header) + bytes(4) + raw[form.start : form.start + form.length], actions


def _geometry(raw: bytes) -> tuple[bytes, bytes, tuple[int, ...]]:
    """Affine, spacing and shape as nibabel reads them."""
    import nibabel

    kind = nibabel.nifti2.Nifti2Image if raw[4:8] == b"n+2\0" else nibabel.nifti1.Nifti1Image
    image = kind.from_bytes(raw)
    return image.affine.tobytes(), image.header["pixdim"].tobytes(), tuple(image.shape)
