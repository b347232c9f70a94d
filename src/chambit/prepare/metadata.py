"""What a file that is released carries beside its pixels: every field of every format, none passed over.

PNG chunks, JPEG segments, TIFF and EXIF tags, GIF extensions, BMP gaps, ICC profiles, DICOM elements (nested, private),
members of ZIP and NPZ archives, tables and other text, names of files and folders, and bytes after an image's end. A
field is *explained* when it only says how the pixels are stored; all others are reported. The list of DICOM elements
that identify a person directly follows PS3.15 Annex E (Basic Profile) in its main entries.

Known failures: pixels are the matter of the measure `text`; what is hidden in pixels, or encrypted, is not seen.
"""

import io
import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

from chambit.prepare import headers
from chambit.prepare.headers import LONGEST, Item, decoded, strings

TEXTS = (".csv", ".tsv", ".txt", ".json", ".yaml", ".yml", ".xml", ".md")
COLUMNS = frozenset(("file", "subject", "label", "split", "class", "sha256", "pixels_sha256", "id", "mask"))
_PNG_PIXELS = frozenset(re.findall(r"\w+", "IHDR PLTE IDAT IEND tRNS gAMA cHRM sRGB sBIT bKGD pHYs hIST cICP"))
_STANDALONE = {0x01, *range(0xD0, 0xD9)}
_RESOURCES = {0x0409: "thumbnail", 0x040C: "thumbnail", 0x0404: "IPTC", 0x0422: "EXIF", 0x0424: "XMP"}
_PROFILES = re.compile(r"sRGB|Gr[ae]y|Dot Gain|Gamma|Linear|Display P3|Adobe RGB", re.I)


def items(path: Path, root: Path | None = None) -> Iterator[Item]:
    """All fields of one file, its name and its folders' names (below `root`) among them.

    A file that is damaged yields what could be read and an item of the kind 'damaged'; nothing is raised for it.

    Raises:
        OSError: when the file cannot be read.
    """
    below = path.relative_to(root) if root is not None and path.is_relative_to(root) else Path(path.name)
    for part in below.parts[:-1]:
        yield Item("folder name", "", "structure", part, len(part))
    yield Item("file name", "", "structure", below.name, len(below.name))
    yield from of_bytes(path.read_bytes(), path.suffix.lower())


def of_bytes(data: bytes, suffix: str = "") -> Iterator[Item]:
    """All fields of a file's bytes; the format is known by its first bytes, the name counts for text alone."""
    reader = _reader(data, suffix)
    place = reader.__name__.strip("_").upper()
    try:
        yield from reader(data)
    except (ValueError, IndexError, KeyError, EOFError, struct.error, zlib.error, zipfile.BadZipFile, OSError):
        yield Item(place, "rest of the file", "damaged", "", len(data))


def _reader(data: bytes, suffix: str) -> Callable[[bytes], Iterator[Item]]:
    starts: tuple[tuple[bytes, Callable[[bytes], Iterator[Item]]], ...] = (
        (b"\x89PNG\r\n\x1a\n", _png),
        (b"\xff\xd8\xff", _jpeg),
        (b"II*\x00", _tiff),
        (b"MM\x00*", _tiff),
        (b"GIF8", _gif),
        (b"BM", _bmp),
        (b"PK\x03\x04", _zip),
        (b"PK\x05\x06", _zip),
        (b"\x93NUMPY", _npy),
    )
    for start, reader in starts:
        if data.startswith(start):
            return reader
    if headers.looks_like_dicom(data):
        return _dicom
    return _table if suffix in TEXTS and b"\0" not in data[:4096] else _unknown


def _png(data: bytes) -> Iterator[Item]:
    at = 8
    while at + 8 <= len(data):
        (length,), name = struct.unpack(">I", data[at : at + 4]), data[at + 4 : at + 8].decode("latin-1")
        body = data[at + 8 : at + 8 + length]
        if len(body) < length:
            yield Item("PNG chunk", name, "damaged", strings(body), len(body))
            return
        yield from _chunk(name, body)
        at += 12 + length
        if name == "IEND":
            break
    yield from _trailing("PNG", data[at:])


def _chunk(name: str, body: bytes) -> Iterator[Item]:
    if name in _PNG_PIXELS:
        return
    if name in ("tEXt", "zTXt", "iTXt"):
        keyword, _, rest = body.partition(b"\0")
        if name == "zTXt":
            rest = _inflate(rest[1:])
        elif name == "iTXt":
            packed, rest = rest[:1] == b"\1", b"".join(rest[2:].split(b"\0", 2)[2:])
            rest = _inflate(rest) if packed else rest
        if keyword.startswith(b"Raw profile type"):  # a header in hexadecimal digits, as ImageMagick writes it
            yield from _raw_profile(decoded(keyword), rest)
            return
        kind = "text" if keyword not in (b"Author", b"Artist") else "name"
        yield Item(f"PNG chunk {name}", decoded(keyword), kind, decoded(rest), len(body))
    elif name == "eXIf":
        yield from headers.tiff(body, "EXIF")
    elif name == "iCCP":
        title, _, rest = body.partition(b"\0")
        yield from _icc(_inflate(rest[1:]), decoded(title))
    elif name == "tIME":
        yield Item("PNG chunk", name, "time", "", len(body))
    else:
        yield Item("PNG chunk", name, "binary", strings(body), len(body))


def _raw_profile(name: str, data: bytes) -> Iterator[Item]:
    body = bytes.fromhex("".join(decoded(data).split("\n")[2:]))
    if body.startswith(b"Exif\0"):
        yield from headers.tiff(body[6:], "EXIF")
    elif b"8BIM" in body[:64]:
        yield from photoshop(body[body.index(b"8BIM") :])
    else:
        yield Item("PNG raw profile", name, "text", strings(body), len(body))


def _inflate(data: bytes) -> bytes:
    return zlib.decompressobj().decompress(data, LONGEST)


def _icc(data: bytes, title: str = "") -> Iterator[Item]:
    """The texts of a colour profile; a profile that only names a standard colour space is explained."""
    said = title
    for k in range(int.from_bytes(data[128:132], "big") if len(data) > 132 else 0):
        tag, start, size = struct.unpack(">4sII", data[132 + 12 * k : 144 + 12 * k])
        if tag in (b"desc", b"cprt", b"dmnd", b"dmdd"):
            body = data[start : start + size]
            text = body[12:].decode("utf-16-be", "ignore") if body[:4] == b"mluc" else decoded(body[8:])
            said += "\n" + re.sub(r"[^\x20-\uffdc]+", " ", text)
    yield Item("ICC profile", title, "structure" if _PROFILES.search(said) else "text", said, len(data))


def _jpeg(data: bytes) -> Iterator[Item]:
    at = 2
    while at + 4 <= len(data):
        if data[at] != 0xFF:
            raise ValueError("no marker")
        marker = data[at + 1]
        if marker == 0xD9:
            yield from _trailing("JPEG", data[at + 2 :])
            return
        if marker == 0xFF or marker in _STANDALONE:
            at += 1 if marker == 0xFF else 2
            continue
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        body = data[at + 4 : at + 2 + length]
        if 0xE0 <= marker <= 0xEF or marker == 0xFE:
            yield from _segment(marker, body)
        at += 2 + length
        if marker == 0xDA:  # compressed pixels: up to the next marker that is none of theirs
            while (at := data.find(b"\xff", at)) >= 0 and data[at + 1] in (0, *range(0xD0, 0xD8)):
                at += 2
            if at < 0:
                raise ValueError("no end")
    if data[at:] != b"\xff\xd9":
        raise ValueError("no end")


def _segment(marker: int, body: bytes) -> Iterator[Item]:
    name = f"APP{marker - 0xE0}"
    if marker == 0xFE:
        yield Item("JPEG COM", "", "text", decoded(body), len(body))
    elif body.startswith((b"JFIF\0", b"JFXX\0")):
        small = body[:4] == b"JFXX" or len(body) > 14
        yield Item("JPEG JFIF", "", "thumbnail" if small else "structure", "", len(body))
    elif body.startswith(b"Exif\0"):
        yield from headers.tiff(body[6:], "EXIF")
    elif body.startswith(b"http://ns.adobe.com/"):
        yield _xmp(body.partition(b"\0")[2])
    elif body.startswith(b"ICC_PROFILE\0"):
        yield from _icc(body[14:])
    elif body.startswith(b"Photoshop 3.0\0"):
        yield from photoshop(body[14:])
    elif body.startswith(b"Adobe") and marker == 0xEE:
        yield Item("JPEG Adobe", "", "structure", "", len(body))
    else:
        yield Item("JPEG segment", name, "binary", strings(body), len(body))


def _xmp(data: bytes) -> Item:
    return Item("XMP", "", "text", re.sub(r"<[?/]?|/?>|\w+:\w+=", "\n", decoded(data)), len(data))


def photoshop(data: bytes) -> Iterator[Item]:
    """Photoshop's image resources, IPTC records among them."""
    at = 0
    while data[at : at + 4] == b"8BIM":
        number = int.from_bytes(data[at + 4 : at + 6], "big")
        title = data[at + 6] + 1
        at += 6 + title + title % 2
        size = int.from_bytes(data[at : at + 4], "big")
        body, at = data[at + 4 : at + 4 + size], at + 4 + size + size % 2
        kind = _RESOURCES.get(number, "")
        if kind == "IPTC":
            yield from iptc(body)
        elif kind == "EXIF":
            yield from headers.tiff(body, "EXIF")
        elif kind == "XMP":
            yield _xmp(body)
        else:
            yield Item("Photoshop resource", f"{number:#06x}", kind or "binary", strings(body), len(body))


def iptc(data: bytes) -> Iterator[Item]:
    """Records of IPTC-IIM; by-line, writer and contact are names of people."""
    at = 0
    while at + 5 <= len(data) and data[at] == 0x1C:
        record, number, size = data[at + 1], data[at + 2], int.from_bytes(data[at + 3 : at + 5], "big")
        body, at = data[at + 5 : at + 5 + size], at + 5 + size
        if (record, number) not in ((1, 90), (2, 0), (1, 0)):  # character set and versions
            kind = "name" if (record, number) in ((2, 80), (2, 118), (2, 122)) else "text"
            yield Item("IPTC", f"{record}:{number}", kind, decoded(body), len(body))


def _tiff(data: bytes) -> Iterator[Item]:
    yield from headers.tiff(data, "TIFF")


def _gif(data: bytes) -> Iterator[Item]:
    at = 13 + (3 << ((data[10] & 7) + 1) if data[10] & 0x80 else 0)
    while data[at] != 0x3B:
        if data[at] == 0x2C:
            local = data[at + 9]
            at += 10 + (3 << ((local & 7) + 1) if local & 0x80 else 0) + 1
            _, at = _blocks(data, at)
            continue
        if data[at] != 0x21:
            raise ValueError("no block")
        label = data[at + 1]
        body, at = _blocks(data, at + 2)
        if label == 0xFE:
            yield Item("GIF comment", "", "text", decoded(body), len(body))
        elif label != 0xF9 and not body.startswith((b"NETSCAPE2.0", b"ANIMEXTS1.0")):
            yield Item("GIF extension", f"{label:#04x}", "binary", strings(body), len(body))
    yield from _trailing("GIF", data[at + 1 :])


def _blocks(data: bytes, at: int) -> tuple[bytes, int]:
    body = b""
    while size := data[at]:
        body += data[at + 1 : at + 1 + size]
        at += 1 + size
    return body, at + 1


def _bmp(data: bytes) -> Iterator[Item]:
    whole, start, header = (int.from_bytes(data[a : a + 4], "little") for a in (2, 10, 14))
    colours = int.from_bytes(data[46:50], "little") if header >= 40 else 0
    depth = int.from_bytes(data[28:30], "little") if header >= 40 else 8
    palette = (colours or (1 << depth if depth <= 8 else 0)) * (4 if header >= 40 else 3)
    gap = data[min(len(data), 14 + header + palette) : start]
    if gap.strip(b"\0") and len(gap) > 16:
        yield Item("BMP", "gap before the pixels", "binary", strings(gap), len(gap))
    if whole > len(data):
        raise ValueError("truncated")
    yield from _trailing("BMP", data[whole:] if whole else b"")


def _trailing(place: str, data: bytes) -> Iterator[Item]:
    if data.strip(b"\0"):
        yield Item(place, "data after the end of the image", "trailing", strings(data), len(data))


def _zip(data: bytes) -> Iterator[Item]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        if archive.comment:
            yield Item("ZIP comment", "", "text", decoded(archive.comment), len(archive.comment))
        for info in archive.infolist():
            yield Item("ZIP member name", "", "structure", info.filename, len(info.filename))
            if info.comment:
                yield Item("ZIP member comment", "", "text", decoded(info.comment), len(info.comment))
            if info.extra:
                yield Item("ZIP extra field", "", "binary", strings(info.extra), len(info.extra))
            if info.flag_bits & 1:
                yield Item("ZIP member", "encrypted", "damaged", "", info.file_size)
            elif not info.is_dir():
                with archive.open(info) as member:
                    array = member.read(6) == b"\x93NUMPY"
                body = archive.read(info) if not array else b""
                yield from _npy_of(archive, info) if array else of_bytes(body, Path(info.filename).suffix.lower())


def _npy_of(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Iterator[Item]:
    with archive.open(info) as member:
        start = member.read(64 << 10)
    if re.search(rb"'descr':\s*'[|<>=]?[biufc?]\d*'", start):  # numbers alone: the pixels need not be read
        return
    yield from _npy(archive.read(info))


def _npy(data: bytes) -> Iterator[Item]:
    size = int.from_bytes(data[8:10] if data[6] == 1 else data[8:12], "little") + (10 if data[6] == 1 else 12)
    kind = re.search(r"'descr':\s*'[|<>=]?([a-zA-Z?])", data[:size].decode("latin-1"))
    if kind and kind.group(1) in "biufc?":
        return
    letters = data[size:].replace(b"\0", b"") if kind and kind.group(1) in "US" else data[size:]
    yield Item("NPY", "array that is not of numbers", "text", strings(letters), len(data) - size)


def _dicom(data: bytes) -> Iterator[Item]:
    yield from headers.dicom(data)


def _table(data: bytes) -> Iterator[Item]:
    """A table or another text: its columns beyond the known ones, and every line for the search."""
    text = decoded(data) if len(data) <= LONGEST else data.decode("utf-8", "replace")
    first, _, rest = text.lstrip("\ufeff").partition("\n")
    columns = [c.strip().strip('"') for c in re.split(r"[,;\t]", first)]
    table = len(columns) > 1 and columns[0].lower() in COLUMNS
    for column in columns if table else ():
        if column.lower() not in COLUMNS:
            yield Item("table column", column, "text", "", len(column))
    yield Item("text of the file", "", "structure" if table else "text", rest if table else text, len(data))


def _unknown(data: bytes) -> Iterator[Item]:
    yield Item("file", "of a kind that is not known", "binary", strings(data), len(data))
