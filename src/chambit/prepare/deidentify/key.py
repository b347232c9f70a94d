"""The key of a de-identification: pseudonyms, UIDs, shifts of days and file names, equal for equal inputs.

    h(purpose, text) = HMAC-SHA256(secret, purpose || 0x00 || NFC(strip(text)))

Who holds the key can link a file to its original; who does not cannot, though he knew the original identifier. Without
a key the hash of a record number is found again by trying all numbers. Sources: RFC 2104 (HMAC), RFC 4648 (base32),
RFC 9562 section 5.8 (UUID version 8), DICOM PS3.5 section 9 and B.2 (UIDs under 2.25).
"""

import base64
import hashlib
import hmac
import os
import secrets
import unicodedata
from pathlib import Path

from chambit.core.errors import InputError, Problem

SHORTEST = 32  # bytes: the length of the hash, below which a key is weaker than it
LONGEST_SHIFT, SHORTEST_SHIFT = 5 * 365, 30  # days into the past; a day moved by less could be guessed from the season
_LETTERS = 10  # of a subject's pseudonym, 50 bits: two of a million subjects are alike with probability 4e-4
_FILE = 8  # letters of a file's name inside its subject's folder, 40 bits


class Key:
    """A secret of at least 32 bytes and what is derived from it; its `repr` shows nothing of it."""

    def __init__(self, secret: bytes) -> None:
        if len(secret) < SHORTEST:
            what = f"it has {len(secret)} bytes, {SHORTEST} are needed"
            raise InputError("The key cannot be used.", [Problem("key", what, "make one with Key.new()")])
        self._secret = bytes(secret)

    def __repr__(self) -> str:
        return "Key(...)"

    @classmethod
    def new(cls) -> "Key":
        """A key from the machine's source of randomness."""
        return cls(secrets.token_bytes(SHORTEST))

    @classmethod
    def load(cls, path: Path) -> "Key":
        """The key in a file that `save` wrote.

        Raises:
            InputError: when there is no such file, others than its owner may read it, or it holds no key.
        """
        try:
            text = path.read_text("ascii").strip()
            mode = path.stat().st_mode
        except (OSError, UnicodeDecodeError) as error:
            what = "it is not text" if isinstance(error, UnicodeDecodeError) else f"cannot be read ({error.strerror})"
            raise _bad(path, what, "give the file that holds the key, one line of hexadecimal digits") from None
        if os.name == "posix" and mode & 0o077:
            raise _bad(path, f"others may read it (mode {mode & 0o777:o})", "chmod 600, and think who has read it")
        try:
            secret = bytes.fromhex(text)
        except ValueError:
            raise _bad(path, "it holds other characters than hexadecimal digits", "restore it from its copy") from None
        if len(secret) < SHORTEST:
            what = f"it holds {len(secret)} bytes, {SHORTEST} are needed"
            raise _bad(path, what, "restore it from its copy; a key that was cut off gives other pseudonyms")
        return cls(secret)

    def save(self, path: Path) -> None:
        """Write the key as hexadecimal text that only its owner may read (mode 0600); an older file is not replaced.

        Raises:
            InputError: when the file is there or cannot be written.
        """
        try:
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
                file.write(self._secret.hex() + "\n")
        except FileExistsError:
            raise _bad(
                path, "there is a file of that name", "a key that is lost cannot be made again: move it"
            ) from None
        except OSError as error:
            raise _bad(path, f"cannot be written ({error.strerror})", "give a folder that may be written to") from None

    def subject(self, identifier: str) -> str:
        """Pseudonym of a subject: `S` and ten letters or digits (base32 of 50 bits).

        >>> Key(bytes(32)).subject('P-17') == Key(bytes(32)).subject(' P-17 ')
        True
        """
        return "S" + _base32(self._hash("subject", identifier), _LETTERS)

    def uid(self, uid: str) -> str:
        """The UID in place of another: `2.25.` and a UUID of version 8 as one number, at most 44 characters."""
        number = int.from_bytes(self._hash("uid", uid)[:16], "big")
        number = number & ~(0xF << 76) | 8 << 76  # version
        number = number & ~(0x3 << 62) | 2 << 62  # variant
        return f"2.25.{number}"

    def days(self, subject: str) -> int:
        """By how many days all dates of a subject are moved: one of the whole numbers -1825 .. -30."""
        number = int.from_bytes(self._hash("days", subject)[:8], "big")
        return -SHORTEST_SHIFT - number % (LONGEST_SHIFT - SHORTEST_SHIFT + 1)

    def name(self, relative: str) -> str:
        """New name of a file, without suffix: eight letters or digits (base32 of 40 bits)."""
        return _base32(self._hash("name", relative), _FILE)

    def _hash(self, purpose: str, text: str) -> bytes:
        # surrogates stand for bytes of a file's name that are not UTF-8
        plain = unicodedata.normalize("NFC", text).strip().encode("utf-8", "surrogateescape")
        return hmac.new(self._secret, purpose.encode() + b"\0" + plain, hashlib.sha256).digest()


def _base32(data: bytes, letters: int) -> str:
    return base64.b32encode(data).decode("ascii")[:letters]


def _bad(path: Path, what: str, remedy: str) -> InputError:
    return InputError("The key cannot be used.", [Problem(path.name, what, remedy)])
