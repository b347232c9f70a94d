"""What is left of known identifiers in the bytes of a file, found without knowing the file's format.

Each identifier is looked for as bytes in every encoding that a header may use; numbers only where no digit or point
touches them. Compressed parts whose bytes would hide a text are inflated first: gzip files, deflated DICOM data sets,
and the text chunks of PNG files. This shares nothing with the code that removes fields, so it can find its mistakes.

A word is looked for in a part only where random bytes of that length would hold it less than once in a hundred times,

    n (2 / 256)^k < 0.01    for n bytes and a word of k bytes, either case

so three letters (Kim, Lee) are looked for in a header of 20 kB, but not among the samples of a radiograph.

Known failures: identifiers of fewer than three letters (two in other scripts) or five digits, because they stand by
chance in any header; what is compressed by pixel codecs, encrypted, or hidden in pixel values.
"""

import re
import struct
import unicodedata
import zlib
from collections.abc import Collection, Iterator

from chambit.prepare.identifiers import masked

ENCODINGS = (
    "utf-8",
    "utf-16-le",
    "utf-16-be",
    "cp949",  # with EUC-KR in it: ISO 2022 IR 149 is that behind an escape sequence
    "iso2022_kr",
    "latin-1",
    "shift_jis",
    "euc_jp",
    "iso2022_jp",
    "gb18030",
    "iso8859_5",
    "iso8859_6",
    "iso8859_7",
    "iso8859_8",
)
LETTERS, DIGITS, OTHERS = 3, 5, 2  # fewest characters that are looked for
CHANCE = 0.01  # expected hits in random bytes above which a word is not looked for
_LARGEST = 1 << 30  # bytes that one compressed part may grow to
_ESCAPES = re.compile(rb"\x1b[$(]{1,2}[)]?[A-Z]|[\x0e\x0f]")


def residuals(data: bytes, identifiers: Collection[str]) -> list[str]:
    """Identifiers that stand in the bytes of a file, masked, each with its encoding; empty when none does.

    Args:
        data: the whole file.
        identifiers: see `Cleaned.identifiers`. Case counts for nothing.
    """
    parts = [part.lower() for part in (data, *inflated(data))]
    found = []
    for identifier in sorted({form for each in identifiers for form in _forms(each)}):
        if how := _where(identifier, parts):
            found.append(f"{masked(identifier)} ({how})")
    return sorted(set(found))


def searchable(identifier: str) -> bool:
    """Whether an identifier is long enough to be looked for, and more than one sign repeated.

    >>> [searchable(each) for each in ('Kim', 'Li', '김하', '1234', '12345', '0000000')]
    [True, False, True, False, True, False]
    """
    word = re.sub(r"[\W_]", "", identifier)
    if len(set(word.casefold())) < 2:
        return False
    if word.isascii():
        return len(word) >= (DIGITS if word.isdigit() else LETTERS)
    return len(word) >= OTHERS


def inflated(data: bytes) -> Iterator[bytes]:
    """The contents of the compressed parts of a file that may hold text."""
    if data[:2] == b"\x1f\x8b":
        yield from _inflate(data, 31)
    elif data[:8] == b"\x89PNG\r\n\x1a\n":
        at = 8
        while at + 8 <= len(data):
            length, name = struct.unpack(">I4s", data[at : at + 8])
            body, at = data[at + 8 : at + 8 + length], at + 12 + length
            if name in (b"zTXt", b"iTXt", b"iCCP"):
                for start in [m.start() for m in re.finditer(rb"\x78[\x01\x5e\x9c\xda]", body)]:
                    yield from _inflate(body[start:], 15)
            if name in (b"tEXt", b"zTXt") and body.startswith(b"Raw profile type"):
                digits = re.sub(rb"[^0-9a-fA-F]", b"", body.partition(b"\0")[2])
                yield bytes.fromhex(digits[: len(digits) // 2 * 2].decode("ascii"))
    elif data[128:132] == b"DICM" and b"1.2.840.10008.1.2.1.99" in data[:1024]:
        start = 144 + int.from_bytes(data[140:144], "little")  # behind the file meta, whose length stands first
        yield from _inflate(data[start:], -15)


def _inflate(data: bytes, window: int) -> Iterator[bytes]:
    try:
        yield zlib.decompressobj(window).decompress(data, _LARGEST)
    except zlib.error:
        return


def _forms(identifier: str) -> Iterator[str]:
    text = identifier.strip().lower()
    if searchable(text):
        yield unicodedata.normalize("NFC", text)
        yield unicodedata.normalize("NFD", text)


def _where(identifier: str, parts: list[bytes]) -> str:
    """The encoding in which an identifier stands in one of the parts, or ""."""
    tried: set[bytes] = set()
    for encoding in ENCODINGS:
        try:
            raw = _ESCAPES.sub(b"", identifier.encode(encoding)).lower()
        except UnicodeEncodeError:
            continue
        if raw in tried:
            continue
        tried.add(raw)
        wide = 2 if encoding.startswith("utf-16") else 1
        edged = identifier.isascii() and len(identifier) < 8
        if any(_stands(raw, part, wide, edged) for part in parts):
            return encoding
    return ""


def _stands(raw: bytes, part: bytes, wide: int, edged: bool) -> bool:
    """Whether bytes stand in a part; a short word only where no letter or digit of its kind touches it."""
    if len(part) * (2 / 256) ** len(raw) >= CHANCE:
        return False
    at = part.find(raw)
    while at >= 0:
        if not edged:
            return True
        before, after = part[max(at - wide, 0) : at], part[at + len(raw) : at + len(raw) + wide]
        if not (_touches(before, raw) or _touches(after, raw)):
            return True
        at = part.find(raw, at + 1)
    return False


def _touches(beside: bytes, raw: bytes) -> bool:
    sign = beside.replace(b"\0", b"")
    kind = rb"[0-9.]" if raw.replace(b"\0", b"").isdigit() else rb"[0-9a-z]"
    return re.fullmatch(kind, sign) is not None
