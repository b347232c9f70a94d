"""Masks of the finding and layouts: read once for every part of a cohort, kept beside the images, refined with them.

The generator is trained with those of `train` alone; the others are for probes and measures, which treat all parts
alike. A part without masks has none, not empty ones. A layout says of each pixel to which part it belongs, as an index.
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
LAYOUT = "layout of {}"
"""The output of the step that has the layouts of a part, as that of its masks is called like the part."""
FINDING = "finding of {}"
"""The masks of the finding, which generators are told; measures have them too, unless a study says parts."""


def step(seed: int, root: Path, made: Made, parts_from: int = 0) -> Step:
    """Read what the labels of each part name, relative to `root`; a part without any has the output None.

    With `parts_from` above 0 the masks of the measures are not those of the finding: what has this index or a higher
    one in the layout is in the mask. Generators are told the finding all the same.
    """
    inputs = {part: made["split"][part] for part in PARTS}

    def run(context: Context) -> Outputs:
        keys: dict[str, list[str]] = {}
        tasks, sizes = {}, {}
        for part, key in inputs.items():
            images = ImageSet.load(context.store, key)
            read = [(FINDING.format(part), "mask"), (LAYOUT.format(part), "layout")]
            for output, column in [*read, (part, "layout")] if parts_from else read:
                if column not in images.table.columns or not any(images.table[column].to_list()):
                    continue
                keys[output] = []
                for name, rows in imageset.chunks(len(images)):
                    named = [images.table[column][i] or "" for i in rows]
                    tasks[f"{output}/{name}"] = {
                        "root": str(root), "files": named, "shape": images.shape[:2], "layout": column == "layout",
                        "from": parts_from if output == part else 0,
                    }  # fmt: skip
                    sizes[f"{output}/{name}"] = len(named)
                    keys[output].append(f"{output}/{name}")
        done = context.map(_read, tasks, unit="images", sizes=sizes)
        if not parts_from:
            keys |= {part: keys[FINDING.format(part)] for part in PARTS if FINDING.format(part) in keys}
        outputs = [*PARTS, *(kind.format(part) for kind in (LAYOUT, FINDING) for part in PARTS)]
        blobs = {output: [done[key] for key in keys[output]] if output in keys else None for output in outputs}
        return {output: context.store.put_json(blobs[output]) for output in outputs}

    return Step("masks", "5", {"parts from": parts_from}, inputs, run, seed)


def load(store: Store, key: str) -> np.ndarray | None:
    """The masks bool (N, H, W) of one part, as the step kept them, or None."""
    found = layouts(store, key)
    return None if found is None else found.astype(bool)


def layouts(store: Store, key: str) -> np.ndarray | None:
    """The layouts uint8 (N, H, W) of one part, as the step kept them, or None."""
    blocks = store.get_json(key)
    if blocks is None:
        return None
    return np.concatenate([store.get_arrays(block)["masks"] for block in blocks])


def places(store: Store, key: str) -> list[list[Any]] | None:
    """Blob and row of the mask of each image of a part, or None; pixels travel by reference."""
    blobs = store.get_json(key)
    if blobs is None:
        return None
    return [[blob, row] for blob in blobs for row in range(len(store.get_arrays(blob)["masks"]))]


def attached(images: ImageSet, key: str, kind: str = "mask") -> ImageSet:
    """A part with the columns `mask_block` and `mask_row` (or those of its layouts), where it has masks."""
    if (where := places(images.store, key)) is None or not where:
        return images
    blocks, rows = zip(*where, strict=True)
    columns = {f"{kind}_block": pl.Series(blocks), f"{kind}_row": pl.Series(rows)}
    return ImageSet(images.store, images.table.with_columns(**columns))


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
                    masks[row] = _parts(picture, (w, h)) if task["layout"] else _finding(picture, (w, h))
            except (OSError, UnidentifiedImageError) as error:
                what = "layout" if task["layout"] else "mask"
                raise InputError(f"The {what} {path} named in the labels cannot be read: {error}.") from None
    return store.put_arrays(masks=(masks >= task["from"]).astype(np.uint8) if task["from"] else masks)


def _finding(picture: Any, size: tuple[int, int]) -> np.ndarray:
    from PIL import Image as Picture

    return np.asarray(np.asarray(picture.convert("L").resize(size, Picture.Resampling.BOX)) >= 128)


def _parts(picture: Any, size: tuple[int, int]) -> np.ndarray:
    """Indices, which must not be averaged; those of a picture with a palette are its own, not their grey."""
    from PIL import Image as Picture

    plane = picture if picture.mode in ("L", "P") else picture.convert("L")
    return np.asarray(plane.resize(size, Picture.Resampling.NEAREST), np.uint8)
