"""Single teeth of a photograph: found in its layout, cut out to one size, and put back with soft borders.

    composed = a * crop + (1 - a) * canvas,   a = 1/2 + d / (2 f) clipped to 0..1

d is the distance in pixels to the tooth's outline, positive inside, and f the feather. Images are (H, W, C) uint8,
or float32 of any range; they leave as they came.

Limits: a cut out square shows its surroundings too; resampling is linear, so a tooth that is cut out smaller than it
is and put back has lost its finest detail.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from chambit.phantoms.oral.dentition import FDI, FIRST_TOOTH

MARGIN = 0.12  # of the longer side of a tooth's box, on each side of its square
Image = NDArray[np.uint8] | NDArray[np.float32]


class Part(NamedTuple):
    """One tooth of a layout.

    Attributes:
        index: Its value in the layout, FIRST_TOOTH or more.
        fdi: Its two-digit number, 11..47.
        box: Top, left, bottom, right in pixels; bottom and right are not part of it.
        mask: (bottom - top, right - left) bool.
    """

    index: int  # type: ignore[assignment]  # hides tuple.index, which no one needs here
    fdi: int
    box: tuple[int, int, int, int]
    mask: NDArray[np.bool_]

    @property
    def square(self) -> tuple[int, int, int]:
        """Top, left and side of the square that is cut out, in pixels; it may reach over the image's borders."""
        top, left, bottom, right = self.box
        longer = max(bottom - top, right - left)
        side = longer + 2 * max(1, round(MARGIN * longer))
        return (top + bottom - side) // 2, (left + right - side) // 2, side


def parts(layout: NDArray[np.uint8]) -> list[Part]:
    """List the teeth of a layout (H, W) in ascending order of their values."""
    if layout.ndim != 2:
        raise ValueError(f"a layout has rows and columns alone, not the shape {layout.shape}")
    found = []
    for number, where in enumerate(ndimage.find_objects(layout), start=1):
        if where is not None and FIRST_TOOTH <= number < FIRST_TOOTH + len(FDI):
            rows, columns = where
            box = (rows.start, columns.start, rows.stop, columns.stop)
            found.append(Part(number, FDI[number - FIRST_TOOTH], box, layout[where] == number))
    return found


def crop(image: Image, part: Part, pixels: int) -> Image:
    """Cut a tooth out of an image (H, W, C): its square at another size, (pixels, pixels, C)."""
    square = _frame(image, part)
    return _as(_resampled(square.astype(np.float32), pixels), image)


def silhouette(part: Part, pixels: int) -> NDArray[np.float32]:
    """Give a tooth's own share 0..1 of each pixel of its crop, (pixels, pixels) float32."""
    top, left, side = part.square
    inside = np.zeros((side, side, 1), np.float32)
    rows, columns = part.mask.shape
    down, right = part.box[0] - top, part.box[1] - left
    inside[down : down + rows, right : right + columns, 0] = part.mask
    return np.clip(_resampled(inside, pixels)[..., 0], 0, 1)


def paste(canvas: Image, crop: Image, part: Part, feather: float) -> Image:
    """Put a crop back where its tooth lies.

    Args:
        canvas: (H, W, C), not changed.
        crop: (pixels, pixels, C) of the tooth's square, uint8 or float32 in the canvas's range.
        part: Where it lies.
        feather: Half width of the soft border in pixels; at 0 the tooth is cut sharply along its outline.

    Returns:
        A new image like canvas.
    """
    top, left, side = part.square
    rows, columns = canvas.shape[:2]
    inside = silhouette(part, side)
    if feather > 0:
        out = ndimage.distance_transform_edt(inside < 0.5) - 0.5
        within = ndimage.distance_transform_edt(inside >= 0.5) - 0.5
        inside = np.clip(0.5 + np.where(inside >= 0.5, within, -out) / (2 * feather), 0, 1).astype(np.float32)
    own = (slice(max(0, -top), min(side, rows - top)), slice(max(0, -left), min(side, columns - left)))
    here = (slice(top + own[0].start, top + own[0].stop), slice(left + own[1].start, left + own[1].stop))
    laid = _resampled(crop.astype(np.float32), side)[own]
    composed = canvas.astype(np.float32)
    composed[here] += inside[own][..., None] * (laid - composed[here])
    return _as(composed, canvas)


def _frame(image: Image, part: Part) -> Image:
    """Take a tooth's square; beyond the image's borders their last pixels go on."""
    top, left, side = part.square
    rows = np.clip(np.arange(top, top + side), 0, image.shape[0] - 1)
    columns = np.clip(np.arange(left, left + side), 0, image.shape[1] - 1)
    return image[rows[:, None], columns[None, :]]


def _resampled(square: NDArray[np.float32], pixels: int) -> NDArray[np.float32]:
    """Bring (side, side, C) to (pixels, pixels, C), linearly, after a blur where it shrinks."""
    side = square.shape[0]
    if side == pixels:
        return square
    if side > pixels:
        sigma = 0.35 * side / pixels
        square = ndimage.gaussian_filter(square, (sigma, sigma, 0), mode="nearest")
    at = np.clip((np.arange(pixels) + 0.5) * (side / pixels) - 0.5, 0, side - 1)
    low = np.minimum(at.astype(int), max(side - 2, 0))
    high, share = np.minimum(low + 1, side - 1), (at - low).astype(np.float32)
    rows = square[low] + share[:, None, None] * (square[high] - square[low])
    resampled: NDArray[np.float32] = rows[:, low] + share[None, :, None] * (rows[:, high] - rows[:, low])
    return resampled


def _as(pixels: NDArray[np.float32], like: Image) -> Image:
    if like.dtype == np.uint8:
        return np.asarray(np.clip(np.rint(pixels), 0, 255), np.uint8)
    return pixels
