"""A set of images in the store: one table with a row per image, pixels in blocks of at most 256.

The table has at least `id` (unique), `sha256` (of dtype, shape and pixel values), `block` (digest of the blob that
holds the pixels), `row` (index inside it), `subject` and `label`; further columns are free. Working pixels are uint8 or
uint16 with full scale 255 or 65535, one shape for the whole set: (H, W), or (H, W, 3) of a coloured set. Where rows are
frames of a sequence or slices of a volume, `series` says of which and `frame` counts them from 0.
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
    """Keep up to 256 images, uint8 or uint16 (N, H, W[, 3]); returns the blob's digest and each image's sha256."""
    coloured = pixels.ndim == 4 and pixels.shape[3] == 3
    if pixels.dtype not in (np.uint8, np.uint16) or not (pixels.ndim == 3 or coloured) or len(pixels) > BLOCK:
        raise ValueError(
            f"a block is at most {BLOCK} uint8 or uint16 images (N, H, W[, 3]), not {pixels.dtype} {pixels.shape}"
        )
    return store.put_arrays(pixels=pixels), [digest.of_array(image) for image in pixels]


def full_scale(pixels: np.ndarray) -> np.ndarray:
    """Pixels uint8 or uint16 as uint16, so that one picture in containers of 8 and 16 bits has equal numbers.

    >>> full_scale(np.array([0, 1, 255], np.uint8)).tolist()
    [0, 257, 65535]
    """
    return pixels.astype(np.uint16) * np.uint16(257 if pixels.dtype == np.uint8 else 1)


def luminance(pixels: np.ndarray) -> np.ndarray:
    """Pixels (N, H, W[, 3]) of any number type as float32 (N, H, W), by ITU-R BT.601 where they are coloured.

    >>> luminance(np.array([[[[255, 0, 0]]], [[[9, 9, 9]]]])).round(2).ravel().tolist()
    [76.24, 9.0]
    """
    return pixels.astype(np.float32) if pixels.ndim == 3 else pixels @ np.array([0.299, 0.587, 0.114], np.float32)


def chunks(count: int, size: int = BLOCK) -> Iterator[tuple[str, range]]:
    """Keys and index ranges that cut `count` things in chunks of `size`.

    >>> [(key, len(part)) for key, part in chunks(300)]
    [('00000000', 256), ('00000256', 44)]
    """
    for first in range(0, count, size):
        yield f"{first:08d}", range(first, min(first + size, count))


def gathered(store: Store, places: Sequence[Sequence[Any]]) -> np.ndarray:
    """Pixels (N, H, W[, 3]) of images given by (block, row); each block is read once."""
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
        """Yield (positions in this set, pixels uint8/uint16 (n, H, W[, 3])) block by block: memory stays flat."""
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

    def layouts(self) -> np.ndarray | None:
        """Layouts uint8 (N, H, W), the index of the part at each pixel; None where there are none."""
        if "layout_block" not in self.table.columns or not len(self):
            return None
        places = self.table.select("layout_block", "layout_row").rows()
        kept = {name: self.store.get_arrays(name)["masks"] for name in dict.fromkeys(name for name, _ in places)}
        return np.stack([kept[name][row] for name, row in places])

    def full_scale_digests(self) -> list[str]:
        """SHA-256 of each image at 16 bits, in order: equal for one picture kept at 8 and at 16 bits."""
        digests = [""] * len(self)
        for at, pixels in self.blocks():
            for i, image in zip(at, full_scale(pixels), strict=True):
                digests[i] = digest.of_array(image)
        return digests

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """(H, W) of grey images, (H, W, 3) of coloured ones; (1, 1) of an empty set."""
        if not len(self):
            return (1, 1)
        pixels = self.store.get_arrays(str(self.table["block"][0]))["pixels"]
        return tuple(int(side) for side in pixels.shape[1:])

    def grey(self) -> np.ndarray:
        """All images as float32 (N, H, W) in [0, 1], coloured ones by their luminance."""
        out = np.empty((len(self), *self.shape[:2]), np.float32)
        for at, pixels in self.blocks():
            out[at] = luminance(pixels) / np.float32(np.iinfo(pixels.dtype).max)
        return out

    def colour(self) -> np.ndarray:
        """All images as float32 (N, H, W, 3) in [0, 1], grey ones with three equal channels."""
        out = np.empty((len(self), *self.shape[:2], 3), np.float32)
        for at, pixels in self.blocks():
            scaled = pixels.astype(np.float32) / np.float32(np.iinfo(pixels.dtype).max)
            out[at] = scaled if pixels.ndim == 4 else scaled[..., None]
        return out
