"""A set of images in the store: one table with a row per image, pixels in blocks of at most 256.

The table has at least `id` (unique), `sha256` (of dtype, shape and pixel values), `block` (digest of the blob that
holds the pixels), `row` (index inside it), `subject` and `label`; further columns are free. Working pixels are uint8 or
uint16 with full scale 255 or 65535, one shape for the whole set.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl

from chambit.core import digest
from chambit.core.store import Store

BLOCK = 256
COLUMNS = ("id", "sha256", "block", "row", "subject", "label")


def put_block(store: Store, pixels: np.ndarray) -> tuple[str, list[str]]:
    """Keep up to 256 images, uint8 or uint16 (N, H, W); returns the blob's digest and each image's own sha256."""
    if pixels.dtype not in (np.uint8, np.uint16) or pixels.ndim != 3 or len(pixels) > BLOCK:
        raise ValueError(
            f"a block is at most {BLOCK} uint8 or uint16 images (N, H, W), not {pixels.dtype} {pixels.shape}"
        )
    return store.put_arrays(pixels=pixels), [digest.of_array(image) for image in pixels]


def full_scale(pixels: np.ndarray) -> np.ndarray:
    """Pixels uint8 or uint16 as uint16, so that one picture in containers of 8 and 16 bits has equal numbers.

    >>> full_scale(np.array([0, 1, 255], np.uint8)).tolist()
    [0, 257, 65535]
    """
    return pixels.astype(np.uint16) * np.uint16(257 if pixels.dtype == np.uint8 else 1)


def chunks(count: int, size: int = BLOCK) -> Iterator[tuple[str, range]]:
    """Keys and index ranges that cut `count` things in chunks of `size`.

    >>> [(key, len(part)) for key, part in chunks(300)]
    [('00000000', 256), ('00000256', 44)]
    """
    for first in range(0, count, size):
        yield f"{first:08d}", range(first, min(first + size, count))


def gathered(store: Store, places: Sequence[Sequence[Any]]) -> np.ndarray:
    """Pixels (N, H, W) of images given by (block, row); each block is read once."""
    kept = {block: store.get_arrays(block)["pixels"] for block in dict.fromkeys(block for block, _ in places)}
    return np.stack([kept[block][row] for block, row in places])


@dataclass(frozen=True)
class ImageSet:
    """Images by table and store; pixels are read when asked for."""

    store: Store
    table: pl.DataFrame

    @classmethod
    def load(cls, store: Store, key: str) -> "ImageSet":
        """The set whose table is the blob `key`."""
        return cls(store, store.get_table(key))

    def __len__(self) -> int:
        return len(self.table)

    @cached_property
    def subjects(self) -> np.ndarray:
        """Subject of each image, str (N,)."""
        return self.table["subject"].to_numpy().astype(str)

    @cached_property
    def labels(self) -> np.ndarray:
        """Label of each image, str (N,)."""
        return self.table["label"].to_numpy().astype(str)

    @property
    def digest(self) -> str:
        """Digest of what the set holds: sha256, subject and label of each image, in order."""
        return digest.of_json(self.table.select("sha256", "subject", "label").rows())

    def where(self, keep: pl.Expr) -> "ImageSet":
        """The images that fulfil a polars expression."""
        return ImageSet(self.store, self.table.filter(keep))

    def take(self, index: np.ndarray) -> "ImageSet":
        """The images at these positions, in this order."""
        return ImageSet(self.store, self.table[np.asarray(index, np.int64)])

    def blocks(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield (positions in this set, pixels uint8/uint16 (n, H, W)) block by block: memory stays flat."""
        names = self.table["block"].to_numpy()
        rows = self.table["row"].to_numpy()
        for name in dict.fromkeys(names):
            at = np.flatnonzero(names == name)
            yield at, self.store.get_arrays(str(name))["pixels"][rows[at]]

    def masks(self) -> np.ndarray | None:
        """Masks of the finding, bool (N, H, W), empty where an image has none; None where no image has one."""
        if "mask_block" not in self.table.columns or not len(self):
            return None
        names, rows = self.table["mask_block"].to_list(), self.table["mask_row"].to_list()
        kept = {name: self.store.get_arrays(name)["masks"].astype(bool) for name in dict.fromkeys(names) if name}
        if not kept:
            return None
        empty = np.zeros(next(iter(kept.values())).shape[1:], bool)
        return np.stack([kept[name][row] if name else empty for name, row in zip(names, rows, strict=True)])

    def full_scale_digests(self) -> list[str]:
        """SHA-256 of each image at 16 bits, in order: equal for one picture kept at 8 and at 16 bits."""
        digests = [""] * len(self)
        for at, pixels in self.blocks():
            for i, image in zip(at, full_scale(pixels), strict=True):
                digests[i] = digest.of_array(image)
        return digests

    def grey(self) -> np.ndarray:
        """All images as float32 (N, H, W) in [0, 1]."""
        if not len(self):
            return np.zeros((0, 1, 1), np.float32)
        out: np.ndarray | None = None
        for at, pixels in self.blocks():
            if out is None:
                out = np.empty((len(self), *pixels.shape[1:]), np.float32)
            out[at] = pixels.astype(np.float32) / np.float32(np.iinfo(pixels.dtype).max)
        assert out is not None
        return out
