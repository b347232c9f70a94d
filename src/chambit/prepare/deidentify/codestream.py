"""Comments and application segments of compressed pixels (JPEG, JPEG-LS, JPEG 2000), removed without decoding.

A compressed frame of a DICOM file is a whole codestream that may hold what any JPEG file may: a comment, EXIF, a
thumbnail, bytes after its end. Entropy-coded bytes are copied, so the decoded samples stay what they were. Kept are
JFIF's header without its thumbnail, Adobe's APP14 and the APP8 of JPEG-LS, which say how colours are stored.

Sources: ITU-T T.81 annex B (JPEG), T.87 annex C (JPEG-LS), T.800 annex A (JPEG 2000).
"""

import re
import struct
from typing import NamedTuple

_ALONE = frozenset((0x01, *range(0xD0, 0xD9)))  # markers without a length
_COMMENT, _START_OF_SCAN, _END = 0xFE, 0xDA, 0xD9
_COM, _SOT, _EOC = b"\xff\x64", b"\xff\x90", b"\xff\xd9"


class Stripped(NamedTuple):
    """A codestream without comments, and the names of what was taken off."""

    data: bytes
    removed: tuple[str, ...]


def strip(data: bytes) -> Stripped:
    """A codestream without its comments; one that is neither JPEG nor JPEG 2000 is returned as it is.

    Raises:
        ValueError: when it begins like one and does not go on like one.
    """
    if data[:3] == b"\xff\xd8\xff":
        return jpeg(data)
    if data[:4] == b"\xff\x4f\xff\x51":
        return _jpeg2000(data)
    return Stripped(data, ())


def jpeg(data: bytes, kept: bytes = b"") -> Stripped:
    """A JPEG or JPEG-LS stream without the segments that do not say how its samples are stored.

    Args:
        data: from SOI.
        kept: segments to be put behind SOI (and JFIF), with their markers.

    Raises:
        ValueError: when a marker is missing, or the end.
    """
    out: list[bytes] = []
    removed: list[str] = []
    at = 2
    while True:
        marker, at = _marker(data, at)
        if marker == _END:
            if data[at:].strip(b"\0"):
                removed.append("bytes after the end")
            head = 1 if out and out[0][:2] == b"\xff\xe0" else 0
            return Stripped(b"".join([b"\xff\xd8", *out[:head], kept, *out[head:], b"\xff\xd9"]), tuple(removed))
        if marker in _ALONE:
            out.append(bytes((0xFF, marker)))
            continue
        length = int.from_bytes(data[at : at + 2], "big")
        if length < 2 or at + length > len(data):
            raise ValueError("a segment is not whole")
        body, at = data[at + 2 : at + length], at + length
        if 0xE0 <= marker <= 0xEF or marker == _COMMENT:
            segment, said = _application(marker, body)
            out += [segment] if segment else []
            removed += [said] if said else []
            continue
        out.append(struct.pack(">BBH", 0xFF, marker, length) + body)
        if marker == _START_OF_SCAN:
            end = _scan_end(data, at)
            out.append(data[at:end])
            at = end


def _marker(data: bytes, at: int) -> tuple[int, int]:
    """The marker that stands at a place, and the place behind it; fill bytes before it are passed over."""
    if data[at : at + 1] != b"\xff":
        raise ValueError("a marker is missing")
    while data[at : at + 1] == b"\xff":
        at += 1
    if at >= len(data):
        raise ValueError("the end is missing")
    return data[at], at + 1


def _scan_end(data: bytes, at: int) -> int:
    """Where the entropy-coded bytes end: at the next marker that is neither stuffed nor a restart.

    JPEG stuffs a zero byte behind each 0xff, JPEG-LS a zero bit, so there any byte below 0x80 belongs to the samples.
    """
    found = re.compile(rb"\xff+(?![\x00-\x7f\xd0-\xd7\xff])").search(data, at)
    if found is None:
        raise ValueError("the end is missing")
    return found.start()


def _application(marker: int, body: bytes) -> tuple[bytes, str]:
    """The segment as it is kept (empty if it is not), and the name of what is taken off."""
    if marker == 0xE0 and body.startswith(b"JFIF\0") and len(body) >= 14:
        small = body[:12] + b"\0\0"
        return b"\xff\xe0\0\x10" + small, "thumbnail" if body[12:] != b"\0\0" else ""
    if marker == 0xEE and body.startswith(b"Adobe") and len(body) >= 12:
        return b"\xff\xee\0\x0e" + body[:12], "bytes behind Adobe's segment" if body[12:] else ""
    if marker == 0xE8 and body.startswith(b"mrfx"):
        return b"\xff\xe8\0\x07" + body[:5], "bytes behind the colour transform" if body[5:] else ""
    known = (
        (b"Exif\0", "EXIF"),
        (b"http://ns.adobe.com/", "XMP"),
        (b"ICC_PROFILE\0", "ICC profile"),
        (b"Photoshop 3.0\0", "Photoshop and IPTC"),
        (b"JFXX\0", "thumbnail"),
        (b"MPF\0", "further pictures"),
    )
    named = next((name for start, name in known if body.startswith(start)), f"APP{marker - 0xE0}")
    return b"", "comment" if marker == _COMMENT else named


def _jpeg2000(data: bytes) -> Stripped:
    """A JPEG 2000 codestream without comments in its main header and bytes after its end."""
    out, removed, at = [data[:2]], [], 2
    while data[at : at + 2] != _SOT:
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        if data[at : at + 1] != b"\xff" or length < 2 or at + 2 + length > len(data):
            raise ValueError("a segment is not whole")
        if data[at : at + 2] == _COM:
            removed.append("comment")
        else:
            out.append(data[at : at + 2 + length])
        at += 2 + length
    end = _tiles_end(data, at)
    if data[end:].replace(_EOC, b"", 1).strip(b"\0"):
        removed.append("bytes after the end")
    return Stripped(b"".join([*out, data[at:end], _EOC]), tuple(removed))


def _tiles_end(data: bytes, at: int) -> int:
    """Where the last tile-part ends; a length of zero says that it goes on to the end of the codestream."""
    while data[at : at + 2] == _SOT:
        length = int.from_bytes(data[at + 6 : at + 10], "big")
        if length == 0:
            last = data.rfind(_EOC)
            return last if last >= at else len(data)
        if length < 14 or at + length > len(data):
            raise ValueError("a tile is not whole")
        at += length
    return at
