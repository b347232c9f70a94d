"""De-identification of PNG, JPEG, GIF, TIFF and BMP files: what is beside the pixels goes, the pixels stay.

PNG chunks, JPEG segments and GIF blocks that say how pixels are stored are copied byte for byte; all others (EXIF, GPS,
XMP, IPTC, ICC profiles, comments, thumbnails, times, further pictures) and bytes after the end are left out. TIFF and
BMP are decoded and written again without loss. The orientation of EXIF, where it turns the picture, is kept alone in an
EXIF of one tag. With boxes to blank a file is decoded and written without loss; JPEG and GIF become PNG, because a
second JPEG compression would change pixels outside the boxes.

Sources: PNG 3rd edition (W3C 2025); ITU-T T.81; GIF89a; TIFF 6.0; CIPA DC-008 (EXIF). Known losses: colour profiles,
the further frames of an animated PNG.
"""

import hashlib
import io
import re
import struct
import zlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from chambit.prepare.deidentify import codestream, frames
from chambit.prepare.deidentify.records import Action, Body, failed, refused
from chambit.prepare.redaction import Redaction, blank

KINDS = {
    b"\x89PNG\r\n\x1a\n": "png",
    b"\xff\xd8\xff": "jpeg",
    b"GIF8": "gif",
    b"II*\0": "tiff",
    b"MM\0*": "tiff",
    b"BM": "bmp",
}
FORMAT_WORDS = frozenset(("adobe", "jfif", "exif", "netscape2.0"))
"""What a file must say of its format; no identifier though a metadata field says the same."""
_SUFFIX = {"png": ".png", "jpeg": ".jpg", "gif": ".gif", "tiff": ".tif", "bmp": ".bmp"}
_CHUNKS = frozenset(re.findall(rb"\w+", b"IHDR PLTE IDAT IEND tRNS gAMA cHRM sRGB sBIT bKGD pHYs hIST cICP"))
_WHY = "not needed to show the picture"
_PLAIN = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16", "I", "F", "CMYK")
_DAMAGED = (OSError, ValueError, SyntaxError, IndexError, KeyError, struct.error, zlib.error, EOFError, TypeError)


class _Copy(NamedTuple):
    """A file without what is beside its pixels, and what was left out."""

    data: bytes
    actions: list[Action]


def kind(data: bytes) -> str:
    """'png', 'jpeg', 'gif', 'tiff', 'bmp', or "" for none of them, by the first bytes."""
    return next((name for start, name in KINDS.items() if data.startswith(start)), "")


def clean(data: bytes, relative: str, redactions: Sequence[Redaction] = ()) -> Body:
    """A picture file without metadata, its pixels as they were outside the boxes.

    Raises:
        InputError: when it is damaged, of a kind of pixels that cannot be written without loss, or does not pass.
    """
    from PIL import Image

    what = kind(data)
    copies: dict[str, Callable[[bytes], _Copy]] = {"png": _png, "jpeg": _jpeg, "gif": _gif}
    try:
        old = _decoded(data)
        if what == "tiff" and len({page.size for page in old}) > 1:
            said = "its pages differ in size: a slide with its label, or a picture with a thumbnail"
            raise refused(relative, said, "export the one picture that is meant")
        if redactions:
            body = _redacted(data, what, old, redactions, relative)
        elif what in copies:
            copy = copies[what](data)
            body = Body(copy.data, _SUFFIX[what], copy.actions, "")
        else:
            body = _again(data, what, old)
        new = _decoded(body.data)
    except Image.DecompressionBombError:
        raise refused(relative, "larger than Pillow opens", "cut it in pieces, or reduce it") from None
    except _DAMAGED as error:
        remedy = "export it again, or convert it to PNG with a program that reads it"
        raise refused(relative, f"damaged, or of a kind that is not known ({type(error).__name__})", remedy) from None
    same = len(old) == len(new) and all(
        _equal(a, b, k, redactions) for k, (a, b) in enumerate(zip(old, new, strict=True))
    )
    if not same:
        raise failed(relative, "its pixels are not those of the original")
    digest = hashlib.sha256(b"".join(_outside(page, k, redactions) for k, page in enumerate(new))).hexdigest()
    return body._replace(pixels=digest)


def _decoded(data: bytes) -> list[Any]:
    """Every picture of a file as Pillow decodes it, not turned.

    Raises:
        OSError, ValueError, SyntaxError: when it is damaged.
    """
    from PIL import Image, ImageSequence

    with Image.open(io.BytesIO(data)) as picture:
        if picture.format == "MPO":  # only the first is copied
            picture.seek(0)
            return [picture.copy()]
        if picture.format == "PNG":
            return [picture.copy()]
        return [_little(page.copy()) for page in ImageSequence.Iterator(picture)]


def _little(page: Any) -> Any:
    """A grey picture of 16 bits in little-endian order, which Pillow writes; any other as it is."""
    from PIL import Image

    return Image.fromarray(np.asarray(page).astype("<u2")) if page.mode == "I;16B" else page


def _samples(page: Any, box: bool = False) -> np.ndarray:
    return np.asarray(page if page.mode != "1" or box else page.convert("L"))


def _equal(old: Any, new: Any, number: int, redactions: Sequence[Redaction]) -> bool:
    mine = [box._replace(frame=0) for box in redactions if box.frame == number]
    a, b = _samples(old), _samples(new)
    palettes = old.mode != "P" or old.getpalette() == new.getpalette()
    if not mine:
        return old.mode == new.mode and palettes and np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
    inside = frames.boxes((1, *a.shape[:2]), mine)[0]
    return a.shape == b.shape and palettes and np.array_equal(a[~inside], b[~inside])


def _outside(page: Any, number: int, redactions: Sequence[Redaction]) -> bytes:
    array = _samples(page)
    mine = [box._replace(frame=0) for box in redactions if box.frame == number]
    inside = frames.boxes((1, *array.shape[:2]), mine)[0]
    return np.ascontiguousarray(array[~inside]).tobytes()


def _png(data: bytes) -> _Copy:
    out, actions, at, pixels = [data[:8]], [], 8, zlib.decompressobj()
    turned = _orientation(data)
    while at + 12 <= len(data):
        (length,), name = struct.unpack(">I", data[at : at + 4]), data[at + 4 : at + 8]
        body, whole = data[at + 8 : at + 8 + length], data[at : at + 12 + length]
        if len(whole) < length + 12 or zlib.crc32(name + body) != int.from_bytes(whole[-4:], "big"):
            raise ValueError("a chunk is damaged")
        done = pixels.eof
        if name == b"IDAT" and not done:
            pixels.decompress(body)
            whole = _chunk(name, body[: len(body) - len(pixels.unused_data)])
        if name == b"IDAT" and (done or pixels.unused_data):
            actions.append(Action("PNG chunk", "IDAT", "cleaned", "bytes behind the last pixel"))
        if name in _CHUNKS and not (name == b"IDAT" and done):
            out.append(whole)
        elif name != b"IDAT":
            actions.append(Action("PNG chunk", name.decode("latin-1"), "removed", _WHY))
        if name == b"IHDR" and turned != 1:
            out.append(_chunk(b"eXIf", _exif(turned)))
            actions.append(Action("EXIF", "Orientation", "kept", "it turns the picture"))
        at += 12 + length
        if name == b"IEND":
            if data[at:]:
                actions.append(Action("PNG", "bytes after the end", "removed", _WHY))
            return _Copy(b"".join(out), actions)
    raise ValueError("the end is missing")


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def _jpeg(data: bytes) -> _Copy:
    turned = _orientation(data)
    body = b"Exif\0\0" + _exif(turned)
    segment = struct.pack(">HH", 0xFFE1, len(body) + 2) + body if turned != 1 else b""
    stripped = codestream.jpeg(data, segment)
    actions = [Action("JPEG segment", name, "removed", _WHY) for name in stripped.removed]
    if segment:
        actions.append(Action("EXIF", "Orientation", "kept", "it turns the picture"))
    return _Copy(stripped.data, actions)


def _orientation(data: bytes) -> int:
    """EXIF's orientation, 1 (upright) where there is none or it is none of the eight."""
    from PIL import Image

    with Image.open(io.BytesIO(data)) as picture:
        value = picture.getexif().get(0x0112, 1)
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _exif(orientation: int) -> bytes:
    """A TIFF structure of one tag, the orientation."""
    return b"II*\0" + struct.pack("<IHHHIHHI", 8, 1, 0x0112, 3, 1, orientation, 0, 0)


def _gif(data: bytes) -> _Copy:
    at = 13 + (3 << ((data[10] & 7) + 1) if data[10] & 0x80 else 0)
    out, actions = [data[:at]], []
    while data[at] != 0x3B:
        start, label = at, data[at : at + 2]
        if data[at] == 0x2C:
            local = data[at + 9]
            at = _blocks(data, at + 11 + (3 << ((local & 7) + 1) if local & 0x80 else 0))
            out.append(data[start:at])
            continue
        if data[at] != 0x21:
            raise ValueError("no block")
        at = _blocks(data, at + 2)
        timed = label == b"\x21\xf9" and at - start == 8
        looped = data[start + 3 : start + 14] in (b"NETSCAPE2.0", b"ANIMEXTS1.0") and at - start == 19
        if timed or looped:
            out.append(data[start:at])
        else:
            name = {0xFE: "comment", 0x01: "plain text", 0xFF: "application"}.get(label[1], f"{label[1]:#04x}")
            actions.append(Action("GIF extension", name, "removed", _WHY))
    if data[at + 1 :]:
        actions.append(Action("GIF", "bytes after the end", "removed", _WHY))
    return _Copy(b"".join([*out, b"\x3b"]), actions)


def _blocks(data: bytes, at: int) -> int:
    while data[at]:
        at += 1 + data[at]
    return at + 1


def _again(data: bytes, what: str, pages: list[Any]) -> Body:
    """TIFF and BMP, written again without loss and without metadata."""
    action = Action(what.upper(), "all fields beside the pixels", "removed", "written again from its pixels, no loss")
    return Body(_written(pages, what), _SUFFIX[what], [action], "")


def _written(pages: list[Any], what: str) -> bytes:
    bare = [_bare(page) for page in pages]
    buffer = io.BytesIO()
    if what == "tiff":
        bare[0].save(buffer, "TIFF", compression="tiff_adobe_deflate", save_all=True, append_images=bare[1:])
    else:
        bare[0].save(buffer, what.upper())
    return buffer.getvalue()


def _bare(page: Any) -> Any:
    """The picture's samples and palette alone.

    Raises:
        ValueError: for a kind of samples that would not be written as it is.
    """
    from PIL import Image

    if page.mode not in _PLAIN:
        raise ValueError("samples of this kind")
    bare = Image.frombytes(page.mode, page.size, page.tobytes())
    if page.mode == "P":
        bare.putpalette(page.getpalette() or [], "RGB")
        if "transparency" in page.info:
            bare.info["transparency"] = page.info["transparency"]
    return bare


def _redacted(data: bytes, what: str, pages: list[Any], redactions: Sequence[Redaction], relative: str) -> Body:
    """The file decoded, its boxes made black, and written without loss."""
    frames.check_frames(len(pages), redactions, relative)
    if what == "png" and data[24] == 16 and data[25] != 0:
        remedy = "convert it to 8 bits a channel, or to grey with 16"
        raise refused(relative, "colour of 16 bits a channel cannot be written again without loss", remedy)
    if what == "gif" and len(pages) > 1:
        raise refused(relative, "an animated GIF cannot be blanked in parts", "split it into single pictures")
    written = {"jpeg": "png", "gif": "png"}.get(what, what)
    if written == "png" and pages[0].mode == "CMYK":
        raise refused(relative, "a picture for print (CMYK) cannot become a PNG", "convert it to RGB first")
    blanked = [_blanked(page, k, redactions) for k, page in enumerate(pages)]
    out = _written(blanked, written)
    turned = _orientation(data) if what in ("jpeg", "png") else 1
    if turned != 1:  # boxes are in stored pixels, so the picture is turned by its viewer as before
        out = out[:33] + _chunk(b"eXIf", _exif(turned)) + out[33:]
    said = f", {what.upper()} became PNG" if what != written else ""
    actions = [
        Action(what.upper(), "pixels", "cleaned", f"{len(redactions)} boxes made black, written without loss{said}"),
        Action(what.upper(), "all fields beside the pixels", "removed", "written again from its pixels"),
    ]
    return Body(out, _SUFFIX[written], actions, "")


def _blanked(page: Any, number: int, redactions: Sequence[Redaction]) -> Any:
    from PIL import Image

    mine = [box._replace(frame=0) for box in redactions if box.frame == number]
    if not mine:
        return page
    array = _samples(page, box=True)
    out = Image.fromarray(blank(array[None], mine, _black(page))[0])
    if page.mode == "P":
        out = Image.frombytes("P", page.size, out.tobytes())
        out.putpalette(page.getpalette() or [], "RGB")
        if "transparency" in page.info:
            out.info["transparency"] = page.info["transparency"]
    return out


def _black(page: Any) -> int | tuple[int, ...]:
    """The sample, or one for each channel, that is shown as black."""
    if page.mode == "P":
        palette = np.array(page.getpalette() or [0, 0, 0], float).reshape(-1, 3)
        return int(np.argmin(palette @ np.array((0.299, 0.587, 0.114))))
    return {"RGB": (0, 0, 0), "RGBA": (0, 0, 0, 255), "LA": (0, 255), "CMYK": (0, 0, 0, 255)}.get(page.mode, 0)
