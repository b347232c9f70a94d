"""The release candidate as files: one PNG per synthetic image in a folder per class, and labels.csv."""

import io
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import polars as pl

from chambit.images.imageset import ImageSet

NOTICE = "AI-generated synthetic image; not for diagnosis. 인공지능으로 생성한 합성영상, 진단용 아님."

INTERNAL = {
    "id", "sha256", "block", "row", "subject", "label", "seed", "lineage", "item", "donors",
    "mask_block", "mask_row", "layout_block", "layout_row", "full_block", "full_row",
    "drawn_sha256", "refinement",
}  # fmt: skip
"""Columns of a set that say where things lie, or more than a receiver needs."""


def write(folder: Path, images: ImageSet) -> None:
    """Write the images that the evidence speaks of, byte for byte the same on every run.

    The folder is made beside and renamed, so it holds the whole candidate or the earlier one. `labels.csv` has file,
    subject (the image itself, or its sequence), label, the SHA-256 of the pixels under which the evidence knows the
    image, and what the generator was told of it.
    """
    table = images.table
    names = [f"{_safe(label)}/{name}.png" for name, label in zip(table["id"], table["label"], strict=True)]
    told = [name for name in table.columns if name not in INTERNAL]
    labels = table.select(pl.Series("file", names), "subject", "label", *told, pixels_sha256="sha256")
    buffer = io.BytesIO()
    labels.write_csv(buffer)
    files = {"labels.csv": buffer.getvalue()}
    for at, pixels in images.blocks():
        files |= {names[i]: _png(image) for i, image in zip(at, pixels, strict=True)}
    if _holds(folder, files):
        return
    making = folder.with_name(folder.name + ".making")
    shutil.rmtree(making, ignore_errors=True)
    for name, data in files.items():
        (making / name).parent.mkdir(parents=True, exist_ok=True)
        (making / name).write_bytes(data)
    shutil.rmtree(folder, ignore_errors=True)
    making.rename(folder)


def _holds(folder: Path, files: Mapping[str, bytes]) -> bool:
    """Whether the folder holds these files with these bytes and nothing else."""
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    return there == set(files) and all((folder / name).read_bytes() == data for name, data in files.items())


def _png(image: np.ndarray) -> bytes:
    from PIL import Image as Picture
    from PIL.PngImagePlugin import PngInfo

    text = PngInfo()
    text.add_itxt("Comment", NOTICE)
    buffer = io.BytesIO()
    Picture.fromarray(image).save(buffer, "PNG", pnginfo=text)
    return buffer.getvalue()


def _safe(label: str) -> str:
    """A folder name for a label: letters, digits, dot, dash and underscore of any script."""
    name = re.sub(r"[^\w.-]+", "_", label)
    return name if name.strip(".") else "unlabelled"
