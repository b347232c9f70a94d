"""What drawn photographs share: smooth random fields, averaging down, part maps, and their PNG files.

    field(y, x) = sum over lattice points of z_ij B(c y - i) B(c x - j) / norm,   z_ij ~ N(0, 1)

B is the cubic B-spline (Unser 1999, Splines: a perfect fit for signal and image processing, IEEE Signal
Processing Magazine 16(6):22-38, DOI 10.1109/79.799930). The lattice lies in units of the picture's width, so the same
stream gives the same field at every number of pixels.

Limits: fields are stationary; equal bytes are promised for one numerical stack and one version of pillow.
"""

import os
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Map = NDArray[np.float32]
COMMENT: Final = "PHANTOM - procedurally drawn, not a patient"


def smooth(rng: np.random.Generator, cells: int, rows: int, columns: int | None = None, *, across: int = 0) -> Map:
    """Draw a smooth Gaussian random field of mean 0 and standard deviation about 1.

    Args:
        rng: Stream; (cells + 3) x (across + 3) numbers are taken from it, whatever the size of the picture.
        cells: Lattice cells along the height; details are about 1 / cells of the height.
        rows: Height in pixels.
        columns: Width in pixels; as many as rows unless told.
        across: Lattice cells along the width; as many as along the height unless told.

    Returns:
        (rows, columns) float32.
    """
    columns, across = columns or rows, across or cells
    lattice = rng.standard_normal((cells + 3, across + 3), dtype=np.float32)
    drawn = _basis(cells, rows) @ lattice @ _basis(across, columns).T
    # at a random place the squares of the four weights add up to 151 / 315
    return np.asarray(drawn * np.float32(315 / 151), np.float32)


@lru_cache(maxsize=128)
def _basis(cells: int, pixels: int) -> Map:
    """Weights (pixels, cells + 3) of the cubic B-splines at the pixels' centres."""
    at = (np.arange(pixels, dtype=np.float32) + 0.5) * np.float32(cells / pixels)
    first = np.minimum(at.astype(np.int64), cells - 1)
    t = at - first
    weights = np.zeros((pixels, cells + 3), np.float32)
    parts = ((1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3)
    for k, part in enumerate(parts):
        weights[np.arange(pixels), first + k] = part / 6
    weights.flags.writeable = False
    return weights


def fold(drawn: Map, times: int) -> Map:
    """Average (rows, columns, ...) over squares of `times` x `times` pixels."""
    if times == 1:
        return drawn
    total = np.zeros_like(drawn[::times, ::times])
    for down in range(times):
        for right in range(times):
            total += drawn[down::times, right::times]
    total *= np.float32(1 / times**2)
    return total


def step(margin: NDArray[np.floating[Any]], width: float) -> Map:
    """Rise from 0 to 1 where a margin goes from -width / 2 to width / 2; smooth (3 t^2 - 2 t^3)."""
    t = np.clip(margin * np.float32(1 / width) + np.float32(0.5), 0, 1)
    return np.asarray(t * t * (3 - 2 * t), np.float32)


def oversampling(pixels: int) -> int:
    """How many times finer a picture is drawn than it is written: twice up to 256 pixels, once above."""
    return 2 if pixels <= 256 else 1


def put_png(path: Path, pixels: NDArray[np.uint8], *, comment: bool = True) -> None:
    """Write (H, W) grey or (H, W, 3) colours as PNG, under a temporary name first; the same bytes at every writing.

    Args:
        path: Where; its folder is made.
        pixels: uint8.
        comment: Say in a text chunk that this is a phantom.
    """
    from PIL import Image, PngImagePlugin

    told = PngImagePlugin.PngInfo()
    if comment:
        told.add_text("Comment", COMMENT)
    held = BytesIO()
    Image.fromarray(pixels).save(held, format="PNG", pnginfo=told, compress_level=2)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(held.getvalue())
    os.replace(part, path)


def put_case(
    folder: Path, stem: str, picture: NDArray[np.uint8], mask: NDArray[np.bool_] | None, layout: NDArray[np.uint8]
) -> dict[str, str]:
    """Write a picture, the mask of its finding if it has one, and its part map; name the three files.

    Args:
        folder: Root of the cohort.
        stem: Path below it without suffix, with forward slashes.
        picture: (H, W) or (H, W, 3) uint8.
        mask: (H, W) bool; None without a finding.
        layout: (H, W) uint8, index of the part at each pixel.

    Returns:
        `file`, `mask` ('' without a finding) and `layout`, relative to folder.
    """
    put_png(folder / f"{stem}.png", picture)
    if mask is not None:
        put_png(folder / f"{stem}.mask.png", mask.astype(np.uint8) * np.uint8(255), comment=False)
    put_png(folder / f"{stem}.layout.png", layout, comment=False)
    return {
        "file": f"{stem}.png",
        "mask": f"{stem}.mask.png" if mask is not None else "",
        "layout": f"{stem}.layout.png",
    }
