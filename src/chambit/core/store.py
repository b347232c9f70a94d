"""The store: blobs under the SHA-256 of their bytes, written whole or not at all.

`objects/ab/abcdef...`: a blob is written to a temporary name, flushed to the disk, then renamed, so a killed process
leaves no half blob behind a good name. Equal content is stored once.
"""

import io
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from chambit.core import digest
from chambit.core.errors import StoreError


def write_atomically(path: Path, data: bytes) -> None:
    """Write `data` to `path` so that the name shows either the old bytes or all of the new ones."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".writing-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        umask = os.umask(0)  # mkstemp made the file private; give it what open() would have given
        os.umask(umask)
        os.chmod(name, 0o666 & ~umask)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


class Store:
    """Content-addressed blobs below one folder.

    Args:
        root: the folder; made when the first blob is put.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, key: str) -> Path:
        """Where the blob `key` (64 hexadecimal digits) lies or would lie."""
        return self.root / "objects" / key[:2] / key

    def has(self, key: str) -> bool:
        """Whether the blob is here."""
        return self.path(key).exists()

    def put(self, data: bytes) -> str:
        """Keep `data`; returns its digest."""
        key = digest.of_bytes(data)
        path = self.path(key)
        if not path.exists():
            write_atomically(path, data)
        return key

    def get(self, key: str) -> bytes:
        """The bytes of a blob, checked against its name.

        Raises:
            StoreError: when it is missing or damaged.
        """
        try:
            data = self.path(key).read_bytes()
        except FileNotFoundError:
            raise StoreError(
                f"The store {self.root} has no blob {key}. Run the study again: missing steps are made anew."
            ) from None
        if digest.of_bytes(data) != key:
            raise StoreError(f"Blob {self.path(key)} is damaged (its bytes do not match its name). Delete it.")
        return data

    def put_arrays(self, **arrays: np.ndarray) -> str:
        """Keep named arrays as one safetensors blob; returns its digest."""
        from safetensors.numpy import save

        return self.put(save({name: np.ascontiguousarray(array) for name, array in arrays.items()}))

    def get_arrays(self, key: str) -> dict[str, np.ndarray]:
        """The named arrays of `put_arrays`."""
        from safetensors.numpy import load

        return dict(load(self.get(key)))

    def put_json(self, value: Any) -> str:
        """Keep `value` as canonical JSON; returns its digest."""
        return self.put(digest.canonical(value).encode())

    def get_json(self, key: str) -> Any:
        """What `put_json` kept."""
        import json

        return json.loads(self.get(key))

    def put_table(self, table: Any) -> str:
        """Keep a polars DataFrame as Parquet; returns its digest."""
        buffer = io.BytesIO()
        table.write_parquet(buffer, compression="zstd", statistics=False)
        return self.put(buffer.getvalue())

    def get_table(self, key: str) -> Any:
        """The polars DataFrame of `put_table`."""
        import polars

        return polars.read_parquet(io.BytesIO(self.get(key)))

    def complete(self, outputs: Mapping[str, str]) -> bool:
        """Whether every blob of a step's outputs is here."""
        return all(self.has(key) for key in outputs.values())
