"""Look for area outside the field of view that real images have, such as an abdomen below a chest.

Image services draw more of a body than a radiograph shows (arXiv:2512.00428 crops the lower 30 % for that). For each
image the box is sought whose content, brought to the size of the whole, is most like the mean real image:

    box = argmax over boxes of  corr( whitened(image in the box), whitened(mean of real) )

where `whitened` takes off the coarse brightness. What lies outside the box is out of field. Real images have such boxes
too, because people differ; a strip is reported where it is wider than what all but `alpha` of the real images have, in
at least `share` of the synthetic ones. It reports; the crop is the study's to name.

Known failure: what real images show of themselves is no reference where they are of many views. Boxes are upright.
"""

from typing import NamedTuple

import numpy as np
from scipy import ndimage

from chambit.core.evidence import Frozen

version = "1"
geometry = False
SIDE, LARGEST = 24, 40
"""Images are compared at `SIDE` pixels; larger ones are averaged to `LARGEST` before boxes are sought."""
ENOUGH = 300
"""Images of each side that are looked at."""
LEFT = 0.2
"""A box has at least this share of height and width."""
COARSE = 4.0
"""Standard deviation of the blur that is taken off, pixels of the small images."""
SIDES = ("top", "bottom", "left", "right")


class Options(Frozen):
    """From the policy.

    most: widest strip sought, as a share of the side; step: between two widths sought; alpha: share of the real images
    that may have as wide a strip; share: of the synthetic images that must have more; least: narrowest strip told.
    """

    most: float
    step: float
    alpha: float
    share: float
    least: float


class Strip(NamedTuple):
    """Area out of field: box (top, left, bottom, right) in pixels, bottom and right exclusive, and how many have it."""

    top: int
    left: int
    bottom: int
    right: int
    share: float


def find(synthetic: np.ndarray, real: np.ndarray, options: Options) -> list[Strip]:
    """Strips of synthetic images float32 (N, H, W) in [0, 1] that lie outside what real ones (M, H, W) show."""
    height, width = synthetic.shape[1:]
    some = (
        images[np.linspace(0, len(images) - 1, min(ENOUGH, len(images))).astype(int)] for images in (synthetic, real)
    )
    mine, usual = (margins(images, np.asarray(real.mean(0)), options) for images in some)
    limit = np.maximum(np.quantile(usual, 1 - options.alpha, axis=0), options.least)
    strips = []
    for side, name in enumerate(SIDES):
        beyond = mine[:, side] > limit[side] + 1e-9
        if beyond.mean() >= options.share:
            cut = float(np.median(mine[beyond, side]))
            rows, columns = round(cut * height), round(cut * width)
            boxes = {"top": (0, 0, rows, width), "bottom": (height - rows, 0, height, width),
                     "left": (0, 0, height, columns), "right": (0, width - columns, height, width)}  # fmt: skip
            strips.append(Strip(*boxes[name], float(beyond.mean())))
    return strips


def margins(images: np.ndarray, template: np.ndarray, options: Options) -> np.ndarray:
    """Widths of what lies out of field, shares of the side at top, bottom, left and right; float64 (N, 4).

    Args:
        images: float32 (N, H, W) in [0, 1].
        template: mean of real images (H, W).
        options: see `Options`.
    """
    if max(images.shape[1:]) > LARGEST:
        images = _cut(images, np.zeros((len(images), 4)), LARGEST)
    wanted = _whitened(_cut(template[None], np.zeros((1, 4))))[0]
    widths = np.arange(0, options.most + 1e-9, options.step)
    best, score = np.zeros((len(images), 4)), np.full(len(images), -np.inf)

    def tried(boxes: np.ndarray) -> None:
        found = _whitened(_cut(images, boxes)) @ wanted
        left = 1 - np.maximum(boxes[:, 0] + boxes[:, 1], boxes[:, 2] + boxes[:, 3])
        # of two boxes as good the one sought first, the wider, stands
        better = (found > score + 1e-6) & (left >= LEFT - 1e-9)
        best[better], score[better] = boxes[better], found[better]

    # first by what a wider field of view does: more below, and as much more at both sides
    for below in widths:
        for beside in sorted({0.0, below / 2}):
            tried(np.tile([0.0, below, beside, beside], (len(images), 1)))
    for fine in (False, True):  # then each side by itself, in whole steps and in thirds of one
        for side in (1, 0, 2, 3):
            base = best.copy()
            for width in options.step / 3 * np.arange(-2, 3) if fine else widths:
                boxes = base.copy()
                boxes[:, side] = np.clip(base[:, side] + width if fine else width, 0, options.most)
                tried(boxes)
    return best


def _cut(images: np.ndarray, boxes: np.ndarray, side: int = SIDE) -> np.ndarray:
    """Each image inside its own box, brought to side x side pixels by area; (N, side, side)."""
    height, width = images.shape[1:]
    rows = _weights(boxes[:, 0], boxes[:, 1], height, side)
    columns = _weights(boxes[:, 2], boxes[:, 3], width, side)
    return np.asarray(rows @ images @ columns.transpose(0, 2, 1))


def _weights(before: np.ndarray, after: np.ndarray, length: int, parts: int) -> np.ndarray:
    """Shares of each pixel of a line in equal parts of what is left of it; (N, parts, length), rows sum to 1."""
    left = np.maximum(1 - before - after, LEFT / 2)  # boxes as narrow as that are never taken
    edges = (before[:, None] + left[:, None] * np.arange(parts + 1) / parts) * length
    pixel = np.arange(length)
    low = np.maximum(edges[:, :-1, None], pixel)
    high = np.minimum(edges[:, 1:, None], pixel + 1)
    part = np.clip(high - low, 0, None).astype(np.float32)
    return np.asarray(part / np.maximum(part.sum(2, keepdims=True), 1e-9))


def _whitened(images: np.ndarray) -> np.ndarray:
    """Small images without their coarse brightness, each a vector of length 1; (N, SIDE * SIDE)."""
    fine = images - ndimage.gaussian_filter(images, (0, COARSE, COARSE))
    flat = fine.reshape(len(fine), -1)
    return np.asarray(flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-9))
