"""Masks of the finding: read once for every part of a cohort, kept beside the images, refined with them.

The generator is trained with those of `train` alone; the others are for probes and measures, which treat all parts
alike. A part without masks has none, not empty ones.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from chambit.core.errors import InputError
from chambit.core.steps import Context, Outputs, Step
from chambit.core.store import Store
from chambit.images import imageset
from chambit.images.imageset import ImageSet
from chambit.pipeline.plan import Made

PARTS = ("train", "holdout", "auxiliary", "test")


def step(seed: int, root: Path, made: Made) -> Step:
    """Read the masks that the labels of each part name, relative to `root`; a part without any has the output None."""
    inputs = {part: made["split"][part] for part in PARTS}

    def run(context: Context) -> Outputs:
        keys: dict[str, list[str]] = {}
        tasks, sizes = {}, {}
        for part, key in inputs.items():
            images = ImageSet.load(context.store, key)
            if "mask" not in images.table.columns or not any(images.table["mask"].to_list()):
                continue
            keys[part] = []
            for name, rows in imageset.chunks(len(images)):
                named = [images.table["mask"][i] or "" for i in rows]
                tasks[f"{part}/{name}"] = {"root": str(root), "files": named, "shape": _shape(images)}
                sizes[f"{part}/{name}"] = len(named)
                keys[part].append(f"{part}/{name}")
        done = context.map(_read, tasks, unit="images", sizes=sizes)
        blobs = {part: [done[key] for key in keys[part]] if part in keys else None for part in inputs}
        return {part: context.store.put_json(blobs[part]) for part in PARTS}

    return Step("masks", "3", {}, inputs, run, seed)


def load(store: Store, key: str) -> np.ndarray | None:
    """The masks bool (N, H, W) of one part, as the step kept them, or None."""
    blocks = store.get_json(key)
    if blocks is None:
        return None
    return np.concatenate([store.get_arrays(block)["masks"] for block in blocks]).astype(bool)


def places(store: Store, key: str) -> list[list[Any]] | None:
    """Blob and row of the mask of each image of a part, or None; pixels travel by reference."""
    blobs = store.get_json(key)
    if blobs is None:
        return None
    return [[blob, row] for blob in blobs for row in range(len(store.get_arrays(blob)["masks"]))]


def attached(images: ImageSet, key: str) -> ImageSet:
    """A part with the columns `mask_block` and `mask_row`, where it has masks."""
    if (where := places(images.store, key)) is None or not where:
        return images
    blocks, rows = zip(*where, strict=True)
    return ImageSet(images.store, images.table.with_columns(mask_block=pl.Series(blocks), mask_row=pl.Series(rows)))


def _shape(images: ImageSet) -> tuple[int, int]:
    _, first = next(images.blocks())
    return int(first.shape[1]), int(first.shape[2])


def _read(store: Store, task: Mapping[str, Any]) -> str:
    from PIL import Image as Picture
    from PIL import UnidentifiedImageError

    h, w = task["shape"]
    masks = np.zeros((len(task["files"]), h, w), np.uint8)
    for row, name in enumerate(task["files"]):
        if name:
            path = Path(task["root"]) / name
            try:
                with Picture.open(path) as picture:
                    masks[row] = np.asarray(picture.convert("L").resize((w, h), Picture.Resampling.BOX)) >= 128
            except (OSError, UnidentifiedImageError) as error:
                raise InputError(f"The mask {path} named in the labels cannot be read: {error}.") from None
    return store.put_arrays(masks=masks)
