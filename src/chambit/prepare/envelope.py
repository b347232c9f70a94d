"""One sealed file: AES-256-GCM in chunks under a data key of its own, which the key of the custodian wraps.

    file  = header | chunk 0 | chunk 1 | ... ; each chunk is 1 MiB of the original (the last one less) and a tag
    nonce = prefix (7 bytes, random for each file) | number of the chunk (4) | flag (1: 1 on the last chunk, else 0)
    associated data = SHA-256 of the header | number (8) | flag (1)

So a chunk that was altered, moved, left out, added, or taken from another file is found, and so is a cut end. The
header holds the wrapped data key and, encrypted, the name of the original. No nonce is used twice with one key: the
data key is new for each file, and a file that was left half written is begun anew.

Sources: NIST SP 800-38D (GCM); RFC 3394 (key wrap); RFC 5869 (HKDF); Hoang, Reyhanitabar, Rogaway, Vizár 2015,
doi:10.1007/978-3-662-47989-6_24 (nonces of the STREAM construction).

Known failures: sizes are not hidden; the key is in the memory of the process while it works, and Python cannot wipe it.
"""

import hashlib
import hmac
import os
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from chambit.core.errors import InputError, Problem

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

MAGIC = b"CHAMSEAL1"
CHUNK = 1 << 20
"""Bytes of the original in a chunk."""
TAG = 16
"""Bytes that AES-GCM adds."""
_FIXED = struct.Struct(
    f">{len(MAGIC)}s8sI40s7sI"
)  # magic, fingerprint, chunk, wrapped key, nonce prefix, name's length
_LONGEST_NAME = 1 << 16
_KEY = re.compile(r"chambit-seal-key-1:([0-9a-f]{64})\n?")
ERASED = b"chambit-seal-key-1:" + b"0" * 64 + b"\n"
"""What stands in a key file from the moment it is overwritten until it is unlinked."""
_MIDDLE, _LAST, _NAME = 0, 1, 2


class Key:
    """The custodian's key: 32 random bytes. Its text form and its representation show only the fingerprint."""

    def __init__(self, secret: bytes) -> None:
        self._wrap, self._names = _derived(secret, b"chambit seal wrap"), _derived(secret, b"chambit seal names")
        self.fingerprint = hashlib.sha256(secret).hexdigest()[:16]

    def __repr__(self) -> str:
        return f"Key({self.fingerprint})"

    def wrap(self, data_key: bytes) -> bytes:
        """A data key of 32 bytes as 40 bytes (RFC 3394)."""
        from cryptography.hazmat.primitives.keywrap import aes_key_wrap

        return aes_key_wrap(self._wrap, data_key)

    def unwrap(self, wrapped: bytes) -> bytes | None:
        """The data key, or None where this key did not wrap these bytes."""
        from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap

        try:
            return aes_key_unwrap(self._wrap, wrapped)
        except InvalidUnwrap:
            return None

    def alias(self, name: str) -> str:
        """The name under which a file is kept: 32 hexadecimal digits that tell nothing without the key."""
        return hmac.new(self._names, name.encode("utf-8", "surrogateescape"), hashlib.sha256).hexdigest()[:32]


class Opened(NamedTuple):
    """A sealed file whose header was found sound: the name of the original, and its bytes piece by piece."""

    name: str
    pieces: Iterator[bytes]


def make_key(path: Path) -> Key:
    """Make a key file of mode 0600 with 32 bytes of the system's randomness.

    Raises:
        InputError: when it exists, or its folder cannot be written.
    """
    secret = os.urandom(32)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        problem = Problem(str(path), error.strerror or str(error), "give a path in a folder that exists")
        raise InputError("The key file cannot be made.", [problem]) from None
    with os.fdopen(handle, "w") as file:
        file.write(f"chambit-seal-key-1:{secret.hex()}\n")
        file.flush()
        os.fsync(file.fileno())
    flush_folder(path.parent)
    return Key(secret)


def read_key(path: Path) -> Key:
    """Read a key file.

    Raises:
        InputError: it is missing, a link, open to others, or no key; the text never holds a part of it.
    """
    problem = None
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), encoding="ascii", errors="replace") as file:
            if os.fstat(file.fileno()).st_mode & 0o077:
                problem = Problem(str(path), "others may read or write it", f"chmod 600 {path}")
            elif (text := file.read(1000)) == ERASED.decode():
                problem = Problem(
                    str(path), "was destroyed", "give `chambit dispose` again, so that it comes to its end"
                )
            elif (found := _KEY.fullmatch(text)) is not None:
                return Key(bytes.fromhex(found.group(1)))
            else:
                problem = Problem(str(path), "is not a key of `chambit seal`", "give the file that --key made")
    except FileNotFoundError:
        problem = Problem(str(path), "there is no such key file", "what is sealed can be read with this key alone")
    except OSError as error:
        what = "is a link" if path.is_symlink() else error.strerror or str(error)
        problem = Problem(str(path), what, "give the key file itself")
    raise InputError("The key cannot be used.", [problem])


def write(key: Key, name: str, source: BinaryIO, target: BinaryIO) -> tuple[int, str]:
    """Seal what is left in `source` under the name of the original; returns its size and SHA-256."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    data_key, prefix = AESGCM.generate_key(256), os.urandom(7)
    cipher, label = AESGCM(data_key), name.encode("utf-8", "surrogateescape")
    mark, wrapped = bytes.fromhex(key.fingerprint), key.wrap(data_key)
    fixed = _FIXED.pack(MAGIC, mark, CHUNK, wrapped, prefix, len(label) + TAG)
    header = fixed + cipher.encrypt(_nonce(prefix, 0, _NAME), label, fixed)
    target.write(header)
    bound, sha, size, number = hashlib.sha256(header).digest(), hashlib.sha256(), 0, 0
    piece = source.read(CHUNK)
    while True:
        following = source.read(CHUNK)
        flag = _MIDDLE if following else _LAST
        target.write(cipher.encrypt(_nonce(prefix, number, flag), piece, _bound(bound, number, flag)))
        sha.update(piece)
        size, number = size + len(piece), number + 1
        if not following:
            return size, sha.hexdigest()
        piece = following


def opened(key: Key, path: Path) -> Opened:
    """Open a sealed file; its pieces are checked as they are taken, so use none before all were.

    Raises:
        InputError: it is missing, sealed with another key, or was altered; also while pieces are taken.
    """
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    try:
        with path.open("rb") as file:
            fixed = file.read(_FIXED.size)
            if len(fixed) < _FIXED.size or not fixed.startswith(MAGIC):
                raise altered(path, "its header is not that of a sealed file")
            _, fingerprint, chunk, wrapped, prefix, length = _FIXED.unpack(fixed)
            if fingerprint.hex() != key.fingerprint:
                what = f"was sealed with key {fingerprint.hex()}, this is key {key.fingerprint}"
                raise InputError("The key does not fit.", [Problem(str(path), what, "give the key it was sealed with")])
            data_key = key.unwrap(wrapped)
            if data_key is None or chunk != CHUNK or not TAG <= length <= _LONGEST_NAME:
                raise altered(path, "its header was altered")
            sealed_name = file.read(length)
    except FileNotFoundError:
        problem = Problem(str(path), "is missing", "put the sealed file back from a backup")
        raise InputError("What is sealed is not whole.", [problem]) from None
    cipher = AESGCM(data_key)
    try:
        name = cipher.decrypt(_nonce(prefix, 0, _NAME), sealed_name, fixed)
    except InvalidTag:
        raise altered(path, "its header was altered") from None
    pieces = _pieces(path, cipher, prefix, fixed + sealed_name)
    return Opened(name.decode("utf-8", "surrogateescape"), pieces)


def fingerprint_of(path: Path) -> str:
    """The fingerprint of the key a sealed file names; "" where it is not a sealed file."""
    with path.open("rb") as file:
        fixed = file.read(_FIXED.size)
    whole = len(fixed) == _FIXED.size and fixed.startswith(MAGIC)
    return _FIXED.unpack(fixed)[1].hex() if whole else ""


def altered(path: Path, what: str) -> InputError:
    """The error of a sealed file that is not as it was written."""
    problem = Problem(str(path), what, "put the sealed file back from a backup; do not use what it held")
    return InputError("What is sealed is not whole.", [problem])


def flush_folder(folder: Path) -> None:
    """Make names that were added to or taken from a folder survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _pieces(path: Path, cipher: "AESGCM", prefix: bytes, header: bytes) -> Iterator[bytes]:
    from cryptography.exceptions import InvalidTag

    bound, number = hashlib.sha256(header).digest(), 0
    with path.open("rb") as file:
        file.seek(len(header))
        piece = file.read(CHUNK + TAG)
        while True:
            following = file.read(CHUNK + TAG)
            flag = _MIDDLE if following else _LAST
            try:
                yield cipher.decrypt(_nonce(prefix, number, flag), piece, _bound(bound, number, flag))
            except InvalidTag:
                what = f"chunk {number} was altered, moved or taken from another file, or the end is cut off"
                raise altered(path, what) from None
            if not following:
                return
            piece, number = following, number + 1


def _nonce(prefix: bytes, number: int, flag: int) -> bytes:
    return prefix + struct.pack(">IB", number, flag)


def _bound(header: bytes, number: int, flag: int) -> bytes:
    return header + struct.pack(">QB", number, flag)


def _derived(secret: bytes, purpose: bytes) -> bytes:
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    return HKDF(SHA256(), 32, salt=None, info=purpose).derive(secret)
