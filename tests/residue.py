"""An independent search for planted identifiers in files that were cleaned; it shares no code with the cleaning.

Every value of an answer key is looked for in the bytes of every output file and in its name: as UTF-8, UTF-16, EUC-KR,
ISO-2022-KR and Latin-1, whatever the case, without separators, dates in their common spellings; also inside deflate,
gzip, zip, base64 and hexadecimal. Text in pixels is looked for in its own box: does ink still differ from its place?

A day may be another patient's after dates were shifted, so dates count only in the file that the planted one became.
Numbers shorter than eleven digits must not have further digits at their sides (a digit before a zero byte is none: it
begins the tag of the next element). Pixels behind another compression
(JPEG 2000, RLE) are not searched for strings, nor is a text that was drawn into pixels read.
"""

import base64
import binascii
import datetime
import io
import re
import unicodedata
import warnings
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from chambit.phantoms.hospital.key import HEX, AnswerKey, Box, Plant
from chambit.phantoms.hospital.lettering import unpack

ENCODINGS = ("utf-8", "utf-16-le", "utf-16-be", "euc_kr", "iso2022_kr", "latin-1")
DEPTH = 3  # layers of packing that are opened
SHORTEST = 6  # bytes of a pattern; a shorter one is met by chance in a folder of images
_LARGEST = 1 << 26  # bytes that one stream may unpack to
_SEPARATORS = b" -_^=./\\:,;()[]\t\r\n'\""
_SHIFTS = b"\0\x0e\x0f"
_DATE = re.compile(r"((?:19|20)\d\d)[-.:/]?(\d\d)[-.:/]?(\d\d)")
_MOMENT = re.compile(r"(?:19|20)\d{12,18}")
_ZLIB, _GZIP = re.compile(rb"\x78[\x01\x5e\x9c\xda]"), re.compile(rb"\x1f\x8b\x08")
_BASE64, _HEX = re.compile(rb"[A-Za-z0-9+/_-]{16,}"), re.compile(rb"[0-9a-fA-F]{16,}")


class Residual(NamedTuple):
    """A planted identifier that is still there.

    Attributes:
        kind: of the plant.
        file: the output file, by its path below the folder.
        where: 'name', 'content', or how the layers are called in which it was found; never the value.
        plant: what was found, with its own file.
    """

    kind: str
    file: str
    where: str
    plant: Plant


class Covered(NamedTuple):
    """A burned-in text in the output: which share of its ink is still seen, or None where that cannot be said."""

    plant: Plant
    file: str
    remains: float | None


class _Pattern(NamedTuple):
    value: str
    data: bytes
    apart: bool  # whether digits beside it make it another number


class _Hit(NamedTuple):
    value: str
    file: str
    where: str


def search(folder: Path, key: AnswerKey, mapping: Mapping[str, str] | None = None) -> list[Residual]:
    """All planted strings that are left in the files of a folder and in their names.

    A value that several plants share is counted for the plants of the file it was found in; where one of these has
    been found by a value of its own, that one explains it. A value in a file that is no plant's is counted once.

    Args:
        folder: of output files; every file below it is searched.
        key: what was planted; texts in pixels are left to `burned`.
        mapping: from original to output file, both relative with '/'. If None, files kept their names.

    Returns:
        One entry for each plant and output file, in order of file and kind.
    """
    holders, views = _prepared(key)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    hits = [hit for path in files for hit in _in_file(folder, path, views)]
    return _attributed(hits, holders, _outputs(key, mapping))


def search_file(path: Path, key: AnswerKey) -> list[Residual]:
    """All planted strings in one file that no plant's file became, such as a report; dates are not counted."""
    holders, views = _prepared(key)
    return _attributed(_in_file(path.parent, path, views), holders, {})


def burned(folder: Path, key: AnswerKey, mapping: Mapping[str, str] | None = None) -> list[Covered]:
    """What is left of every burned-in text whose file is in the output.

    Args:
        folder: of output files.
        key: what was planted.
        mapping: as for `search`; a text whose file has no output is left out.
    """
    outputs = _outputs(key, mapping)
    found, last, frames = [], "", None
    for plant in key.plants:
        file = outputs.get(_plain(plant.file))
        if plant.box is None or file is None or not (folder / file).is_file():
            continue
        if file != last:
            last, frames = file, pixels(folder / file)
        found.append(Covered(plant, file, None if frames is None else remains(frames, plant.box)))
    return found


def remains(frames: np.ndarray, box: Box, tolerance: float = 8 / 255) -> float | None:
    """Share of a text's ink that still differs from its surroundings; None where the box is outside of the image.

    Ink is gone where a square of half the letters' height around it is one level, as a cover leaves it. A cover that
    imitates its surroundings is not recognised: it counts as text that is still there.

    Args:
        frames: (frames, rows, columns[, 3]), brightness in [0, 1].
        box: the text.
        tolerance: within which levels are equal, for lossy files.
    """
    if box.frame >= len(frames) or box.y1 > frames.shape[1] or box.x1 > frames.shape[2]:
        return None
    part = frames[box.frame, box.y0 : box.y1, box.x0 : box.x1]
    planes = [part] if part.ndim == 2 else list(np.moveaxis(part, 2, 0))
    side = max(5, box.height // 2 | 1)
    span = [ndimage.maximum_filter(plane, side) - ndimage.minimum_filter(plane, side) for plane in planes]
    ink = unpack(box.ink, box.y1 - box.y0, box.x1 - box.x0)
    return float((np.max(span, axis=0)[ink] > tolerance).mean())


def pixels(path: Path) -> np.ndarray | None:
    """All frames of a file, float32 (frames, rows, columns[, 3]) in [0, 1]; None where it cannot be decoded."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            head = path.read_bytes()[:132]
            return _picture(path) if head[:4] in _PICTURES or head[:2] == b"\xff\xd8" else _dicom(path)
    except Exception:  # a damaged file shows as many kinds of exception
        return None


_PICTURES = (b"\x89PNG", b"GIF8", b"II*\0", b"MM\0*")


def _dicom(path: Path) -> np.ndarray:
    import pydicom
    from pydicom.pixels.processing import apply_color_lut

    data = pydicom.dcmread(path, force=True)
    if not getattr(data.file_meta, "TransferSyntaxUID", None):
        data.file_meta.TransferSyntaxUID = pydicom.uid.ImplicitVRLittleEndian
    stored, white = data.pixel_array, float(2**data.BitsStored - 1)
    if data.PhotometricInterpretation == "PALETTE COLOR":
        stored, white = apply_color_lut(stored, data), 65535.0
    one = int(data.get("NumberOfFrames", 1) or 1) == 1
    shown = (stored[None] if one else stored).astype(np.float32) / white
    return 1 - shown if data.PhotometricInterpretation == "MONOCHROME1" else shown


def _picture(path: Path) -> np.ndarray:
    from PIL import Image

    with Image.open(path) as image:
        stored = np.asarray(image.convert("RGB") if image.mode == "P" else image)
    return stored[None].astype(np.float32) / (65535.0 if stored.dtype.itemsize > 1 else 255.0)


def _outputs(key: AnswerKey, mapping: Mapping[str, str] | None) -> dict[str, str]:
    if mapping is None:
        return {_plain(truth.file): truth.file for truth in key.files}
    return {_plain(original): output for original, output in mapping.items()}


def _plain(name: str) -> str:
    return unicodedata.normalize("NFC", name)


# --- where values may hide


def layers(content: bytes, depth: int = DEPTH) -> Iterator[tuple[str, bytes]]:
    """A content and all that is packed inside it, with the names of the layers."""
    yield "content", content
    if depth == 0:
        return
    for name, inner in _unpacked(content):
        for below, data in layers(inner, depth - 1):
            yield name if below == "content" else f"{name}, {below}", data


def _unpacked(content: bytes) -> Iterator[tuple[str, bytes]]:
    if content[128:132] == b"DICM" and len(content) > 144:
        body = 144 + int.from_bytes(content[140:144], "little")
        if len(inner := _inflated(content[body:], -15)[0]) >= 64:
            yield "deflated data set", inner
    for name, magic, bits in (("zlib", _ZLIB, 15), ("gzip", _GZIP, 31)):
        behind = 0
        for hit in magic.finditer(content):
            if hit.start() >= behind:
                inner, used = _inflated(content[hit.start() :], bits)
                if len(inner) >= SHORTEST:
                    behind = hit.start() + used
                    yield name, inner
    if b"PK\x03\x04" in content:
        yield from _members(content)
    for run in _BASE64.findall(content):
        plain = run.replace(b"-", b"+").replace(b"_", b"/")
        for start in range(4):
            part = plain[start:]
            yield "base64", base64.b64decode(part[: len(part) // 4 * 4])
    for run in _HEX.findall(content):
        for start in range(2):
            part = run[start:]
            yield "hexadecimal", binascii.unhexlify(part[: len(part) // 2 * 2])


def _inflated(data: bytes, bits: int) -> tuple[bytes, int]:
    """What a stream holds up to its end or its first error, and how many bytes it took."""
    machine, out, at = zlib.decompressobj(bits), bytearray(), 0
    try:
        while at < len(data) and not machine.eof and len(out) < _LARGEST:
            out += machine.decompress(data[at : at + 4096], _LARGEST)
            at += 4096
    except zlib.error:
        pass
    return bytes(out), min(at, len(data)) - len(machine.unused_data)


def _members(content: bytes) -> Iterator[tuple[str, bytes]]:
    try:
        with zipfile.ZipFile(io.BytesIO(content[content.index(b"PK\x03\x04") :])) as archive:
            for member in archive.infolist():
                yield "zip", member.filename.encode() + b"\n" + archive.read(member)
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError, zlib.error):
        return


# --- what is looked for


def spellings(value: str) -> list[str]:
    """A day as people write it, or the value alone."""
    day = _day(value)
    if day is None:
        return [value]
    named = (f"{day:%d%b%Y}", f"{day:%b%d%Y}", f"{day:%d%B%Y}", f"{day:%B%d%Y}")
    korean = (f"{day.year}년{day.month}월{day.day}일", f"{day:%Y년%m월%d일}")
    return [f"{day:%Y%m%d}", f"{day:%d%m%Y}", f"{day:%m%d%Y}", *named, *korean]


def _folded(value: str) -> str:
    """A value as it is compared with others: "HONG^GILDONG" and "Hong Gildong" are one."""
    return value if value.startswith(HEX) else _squeezed(_plain(value).encode()).decode()


def _day(value: str) -> datetime.date | None:
    told = _DATE.fullmatch(value)
    try:
        return datetime.date(*(int(part) for part in told.groups())) if told else None
    except ValueError:
        return None


def _local(value: str) -> bool:
    """Whether a folded value may by chance be another patient's after a shift of days."""
    return _day(value) is not None or bool(_MOMENT.fullmatch(value))


def _squeezed(data: bytes) -> bytes:
    """Small letters, without separators, zero bytes, shifts and the escape that begins Korean in ISO 2022."""
    return data.lower().replace(b"\x1b$)c", b"").translate(None, _SHIFTS + _SEPARATORS)


_VIEWS: dict[str, Callable[[bytes], bytes]] = {"raw": bytes, "squeezed": _squeezed}


def _patterns(value: str) -> Iterator[tuple[str, _Pattern]]:
    """Each way a value may be written, with the view of the content in which it is looked for."""
    folded = _folded(value)
    if value.startswith(HEX):
        yield "raw", _Pattern(folded, bytes.fromhex(value.removeprefix(HEX)), False)
    elif value.isdecimal() and len(value) < 11 and not _local(value):
        yield "raw", _Pattern(folded, value.encode(), True)
        for encoding in ("utf-16-le", "utf-16-be"):
            yield "raw", _Pattern(folded, value.encode(encoding), False)
    else:
        forms = {unicodedata.normalize(form, text) for text in spellings(value) for form in ("NFC", "NFD")}
        for text in forms:
            for encoding in ENCODINGS:
                try:
                    data = _squeezed(text.encode(encoding))
                except UnicodeEncodeError:
                    continue
                if len(data) >= SHORTEST:
                    yield "squeezed", _Pattern(folded, data, False)


class _Index(NamedTuple):
    """Patterns by their first three bytes, and which three bytes begin any."""

    begins: np.ndarray
    by_head: dict[bytes, list[_Pattern]]

    @classmethod
    def of(cls, patterns: Iterable[_Pattern]) -> "_Index":
        begins, by_head = np.zeros(1 << 24, bool), defaultdict(list)
        for pattern in set(patterns):
            head = pattern.data[:3]
            begins[head[0] | head[1] << 8 | head[2] << 16] = True
            by_head[head].append(pattern)
        return cls(begins, dict(by_head))

    def values(self, data: bytes) -> set[str]:
        """All values that stand in the data."""
        seen = np.frombuffer(data, np.uint8).astype(np.uint32)
        if len(seen) < 3:
            return set()
        starts = np.flatnonzero(self.begins[seen[:-2] | seen[1:-1] << 8 | seen[2:] << 16])
        return {
            pattern.value
            for at in starts.tolist()
            for pattern in self.by_head[data[at : at + 3]]
            if data.startswith(pattern.data, at) and not (pattern.apart and _joined(data, at, pattern.data))
        }


def _joined(data: bytes, at: int, pattern: bytes) -> bool:
    end = at + len(pattern)
    before, behind = data[max(0, at - 1) : at], data[end : end + 1]
    return before.isdigit() or (behind.isdigit() and data[end + 1 : end + 2] != b"\0")


def _prepared(key: AnswerKey) -> tuple[dict[str, list[Plant]], dict[str, _Index]]:
    """Plants by folded value, and what to look for; texts in pixels are left out."""
    plants = [plant for plant in key.plants if plant.box is None]
    holders: dict[str, list[Plant]] = defaultdict(list)
    for plant in plants:
        for value in plant.values:
            holders[_folded(value)].append(plant)
    return dict(holders), _indices({value for plant in plants for value in plant.values})


def _indices(values: Iterable[str]) -> dict[str, _Index]:
    by_view: dict[str, list[_Pattern]] = {view: [] for view in _VIEWS}
    for value in values:
        for view, pattern in _patterns(value):
            by_view[view].append(pattern)
    return {view: _Index.of(patterns) for view, patterns in by_view.items()}


def _in_file(folder: Path, path: Path, views: dict[str, _Index]) -> Iterator[_Hit]:
    file = path.relative_to(folder).as_posix()
    for where, data in [("name", _plain(file).encode()), *layers(path.read_bytes())]:
        for view, index in views.items():
            for value in index.values(_VIEWS[view](data)):
                yield _Hit(value, file, where)


# --- whose it is


def _attributed(hits: Iterable[_Hit], holders: Mapping[str, list[Plant]], outputs: Mapping[str, str]) -> list[Residual]:
    own: dict[tuple[str, Plant], str] = {}
    shared: list[tuple[_Hit, list[Plant]]] = []
    for hit in hits:
        in_name = hit.where == "name"
        plants = [plant for plant in holders[hit.value] if plant.kind.startswith("name.") == in_name]
        plants = plants or holders[hit.value]
        here = [plant for plant in plants if outputs.get(_plain(plant.file)) == hit.file]
        if not here and _local(hit.value):
            continue
        here = here or plants[:1]
        if len({plant.kind for plant in holders[hit.value]}) == 1:
            own.update({(hit.file, plant): hit.where for plant in here})
        else:
            shared.append((hit, here))
    explained = set(own)
    for hit, plants in shared:
        if not any((hit.file, plant) in explained for plant in plants):
            own.update({(hit.file, plant): hit.where for plant in plants})
    found = [Residual(plant.kind, file, where, plant) for (file, plant), where in own.items()]
    return sorted(found, key=lambda one: (one.file, one.kind, one.plant.file))
