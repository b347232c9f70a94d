"""Digests: SHA-256 of bytes, files, arrays and of JSON in one canonical spelling.

Canonical JSON here is: keys sorted, no white space, UTF-8, floats by `repr` (shortest round trip), no NaN. It follows
the intent of RFC 8785 without its ECMAScript number formatting, so digests are for Chambit's own use.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np


def of_bytes(data: bytes) -> str:
    """SHA-256 of `data` as 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def of_file(path: Path) -> str:
    """SHA-256 of a file's bytes, read in pieces of 1 MiB."""
    sha = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            sha.update(piece)
    return sha.hexdigest()


def of_array(array: np.ndarray) -> str:
    """SHA-256 of an array's dtype, shape and values (C order), so equal pixels in another container agree."""
    head = f"{array.dtype.str}{array.shape}".encode()
    return hashlib.sha256(head + np.ascontiguousarray(array).tobytes()).hexdigest()


def canonical(value: Any) -> str:
    """`value` as canonical JSON.

    Raises:
        TypeError: for a value JSON has no word for.
        ValueError: for NaN or infinity, which would make two equal records differ or a reader fail.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def of_json(value: Any) -> str:
    """SHA-256 of canonical JSON."""
    return of_bytes(canonical(value).encode())
