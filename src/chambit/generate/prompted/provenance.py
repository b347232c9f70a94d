"""Marks of origin in a file: C2PA manifest, text of a PNG, EXIF and XMP; found, hashed and kept, never stripped.

A manifest of the Coalition for Content Provenance and Authenticity lies in a PNG's chunk `caBX` and in a JPEG's APP11
segments (C2PA specification 2.1, appendix A.3). Images go into a study as pixels, so the file that carried the marks is
kept as it came beside the pixels' record. Invisible marks in the pixels are neither looked for nor attacked: an image
of a service is taken to carry one.
"""

import hashlib
import struct
from collections.abc import Iterator

SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
"""IPTC's term for media made by a trained model; every image of a provider has it in its record."""
_PNG = b"\x89PNG\r\n\x1a\n"
_TEXT = (b"tEXt", b"iTXt", b"zTXt")
_KINDS = {b"caBX": "c2pa", b"eXIf": "exif"}
ENDINGS = {_PNG: ".png", b"\xff\xd8\xff": ".jpg", b"RIFF": ".webp"}


def ending(data: bytes) -> str:
    """The file ending by the first bytes, or "" for what is no PNG, JPEG or WebP."""
    return next((name for start, name in ENDINGS.items() if data.startswith(start)), "")


def found(data: bytes) -> dict[str, str]:
    """Marks of origin in a file's bytes: kind (`c2pa`, `exif`, `xmp`, `text KEYWORD`) -> SHA-256 of what carries it."""
    parts: dict[str, bytes] = {}
    for kind, content in _chunks(data) if data.startswith(_PNG) else _segments(data):
        parts[kind] = parts.get(kind, b"") + content
    return {kind: hashlib.sha256(content).hexdigest() for kind, content in sorted(parts.items())}


def _chunks(data: bytes) -> Iterator[tuple[str, bytes]]:
    at = len(_PNG)
    while at + 8 <= len(data):
        (length,) = struct.unpack(">I", data[at : at + 4])
        name, content = data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        if name in _KINDS:
            yield _KINDS[name], content
        elif name in _TEXT:
            keyword = content.split(b"\0", 1)[0][:40].decode("latin-1")
            yield ("xmp" if keyword.startswith("XML:com.adobe.xmp") else f"text {keyword}"), content
        at += 12 + length


def _segments(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Segments of a JPEG before its image data."""
    at = 2
    while data.startswith(b"\xff\xd8") and at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != 0xDA:
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        marker, content = data[at + 1], data[at + 4 : at + 2 + length]
        if marker == 0xEB and content[:2] == b"JP":
            yield "c2pa", content
        elif marker == 0xE1:
            yield ("exif" if content.startswith(b"Exif") else "xmp"), content
        at += 2 + length
