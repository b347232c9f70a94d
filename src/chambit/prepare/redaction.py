"""Redactions: boxes of a file's frames that are made black, each with the reason for it."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Redaction(NamedTuple):
    """A box that must not be seen.

    Attributes:
        frame: of the file, from 0; a file with one image has frame 0.
        x0, y0, x1, y1: in pixels of the stored frame, x to the right and y down, [x0, x1) and [y0, y1).
        reason: what was found there, in a few words and without its value: `text`, `known string of the cohort`, ...
        confidence: of the detector, 0 to 1.
        read: what was read, masked (`identifiers.masked`); "" where nothing was.
    """

    frame: int
    x0: int
    y0: int
    x1: int
    y1: int
    reason: str
    confidence: float
    read: str = ""


def blank(frames: np.ndarray, redactions: Sequence[Redaction], black: int | Sequence[int]) -> np.ndarray:
    """A copy of the frames with each box set to `black`; every pixel outside the boxes is as it was.

    Args:
        frames: (F, H, W) or (F, H, W, C), any dtype.
        redactions: boxes; parts beyond the frame are left out.
        black: the stored value, or one for each channel, that is shown as black.
    """
    out = frames.copy()
    for box in redactions:
        out[box.frame, max(box.y0, 0) : max(box.y1, 0), max(box.x0, 0) : max(box.x1, 0)] = black
    return out
