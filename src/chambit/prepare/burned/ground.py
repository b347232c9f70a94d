"""Ground under redactions: black boxes levelled with what surrounds them, so that they are not found as characters.

A black rectangle on bright anatomy looks like a character to the detector; looked at as it is, a redacted radiograph
was never found clean, and each round made the box larger. Pixels outside the boxes are not touched, and what is put
into a box comes from outside it, so nothing that was redacted can show and nothing that was not can hide.
"""

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from chambit.prepare.redaction import Redaction, blank

_AROUND = 8  # pixels of ground beside a box that its own values come from
_SMOOTH = 6.0  # pixels; streaks of the nearest values become a ramp


def levelled(frames: np.ndarray, boxes: Sequence[Redaction]) -> np.ndarray:
    """A copy of frames in which each box has the smoothed values of the nearest pixels outside all boxes.

    Args:
        frames: uint8 (F, H, W) or (F, H, W, 3).
        boxes: of these frames.
    """
    out = frames.copy()
    inside = covered(frames.shape[:3], boxes)
    for number in sorted({box.frame for box in boxes}):
        labelled, _ = ndimage.label(inside[number])
        for rows, columns in ndimage.find_objects(labelled):
            place = np.s_[
                max(0, rows.start - _AROUND) : rows.stop + _AROUND,
                max(0, columns.start - _AROUND) : columns.stop + _AROUND,
            ]
            out[number][place] = _filled(out[number][place], inside[number][place])
    return out


def not_blank(frames: np.ndarray, boxes: Sequence[Redaction]) -> list[Redaction]:
    """Boxes whose pixels are not all of one value: nobody made them black.

    Args:
        frames: uint8 (F, H, W) or (F, H, W, 3).
        boxes: that should have been made black in them.
    """
    out = []
    for box in boxes:
        part = frames[box.frame, max(box.y0, 0) : max(box.y1, 0), max(box.x0, 0) : max(box.x1, 0)]
        if part.size and (part != part[0, 0]).any():
            out.append(box)
    return out


def covered(shape: Sequence[int], boxes: Sequence[Redaction]) -> np.ndarray:
    """Which pixels of frames lie in boxes, bool (F, H, W).

    Args:
        shape: F, H, W.
        boxes: of these frames.
    """
    return np.asarray(blank(np.zeros(tuple(shape), np.bool_), boxes, 1))


def _filled(pixels: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """A part of a frame with what lies inside the boxes replaced."""
    if inside.all():
        return np.zeros_like(pixels)
    nearest = ndimage.distance_transform_edt(inside, return_distances=False, return_indices=True)
    near = pixels[tuple(nearest)].astype(np.float32)
    smooth = ndimage.gaussian_filter(near, (_SMOOTH, _SMOOTH, 0)[: near.ndim], mode="nearest")
    keep = inside if pixels.ndim == 2 else inside[..., None]
    return np.asarray(np.where(keep, np.round(smooth), pixels), np.uint8)
