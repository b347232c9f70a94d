"""Divide and conquer: parts of an image made one by one, each after one real subject, and put together.

Here are the crops, the appearance of a part, the choice of donors and the joining; `stages.compose` trains and draws.
No subject gives more than a bounded share of an image, by construction: `choose` passes over whoever would.
"""

from typing import NamedTuple

import numpy as np
import torch
from scipy import ndimage

from chambit.generate.staged import parts

MARGIN = 0.35  # of a part's longer side, on each side of it: what is seen of its surroundings
FEATHER = 0.06  # of a crop's side: how far the made part fades into the image
LEAST = 12  # pixels: a smaller part is left as it is in the image
FEW = 4  # donors of a part's own kind below which parts of the nearest kinds are taken too


class Box(NamedTuple):
    """A square in pixels; it may stand out over the image."""

    top: int
    left: int
    side: int


class Crop(NamedTuple):
    """What a part is made from: share of the part (1, c, c), and the picture (C, c, c), both in [0, 1]."""

    mask: np.ndarray
    picture: np.ndarray


def boxed(region: np.ndarray) -> Box:
    """The square around a region bool (H, W) that is not empty, with `MARGIN`."""
    rows, columns = (np.flatnonzero(region.any(axis)) for axis in (1, 0))
    longer = max(np.ptp(rows), np.ptp(columns)) + 1
    side = int(longer + 2 * max(1, round(MARGIN * longer)))
    top, left = ((int(at[0]) + int(at[-1]) + 1 - side) // 2 for at in (rows, columns))
    return Box(top, left, side)


def cut(planes: np.ndarray, box: Box, pixels: int) -> np.ndarray:
    """The box of planes float32 (C, H, W) as (C, pixels, pixels); the border is repeated where it stands out."""
    height, width = planes.shape[1:]
    rows = np.clip(np.arange(box.top, box.top + box.side), 0, height - 1)
    columns = np.clip(np.arange(box.left, box.left + box.side), 0, width - 1)
    square = torch.from_numpy(np.ascontiguousarray(planes[:, rows[:, None], columns]))
    made: np.ndarray = parts.resized(square[None].float(), (pixels, pixels))[0].numpy()
    return made


def crop(picture: np.ndarray, region: np.ndarray, pixels: int) -> Crop:
    """A part of a picture float32 (C, H, W): its region bool (H, W) and what is around it, at one size."""
    box = boxed(region)
    return Crop(cut(region[None].astype(np.float32), box, pixels), cut(picture, box, pixels))


def surroundings(mask: torch.Tensor, picture: torch.Tensor) -> torch.Tensor:
    """What a part's network is told, (N, 1 + C, c, c): its mask, and the picture where the part is not.

    Args:
        mask: (N, 1, c, c) in [0, 1].
        picture: (N, C, c, c) in [0, 1].
    """
    return torch.cat([mask, (picture - 0.5) * (1 - mask)], 1)


def appearance(picture: np.ndarray, region: np.ndarray) -> np.ndarray:
    """How a part looks, without its texture: float32 (3 C + 1,).

    Mean of each channel, its slope from top to bottom and from left to right of the part (least squares), and the
    standard deviation of brightness that these leave.

    Args:
        picture: float32 (C, H, W) in [0, 1].
        region: bool (H, W), not empty.
    """
    rows, columns = np.nonzero(region)
    half = max(np.ptp(rows), np.ptp(columns)) / 2 or 1.0
    at = np.stack([np.ones(len(rows)), (rows - rows.mean()) / half, (columns - columns.mean()) / half], 1)
    values = picture[:, rows, columns].T.astype(np.float64)
    fitted, *_ = np.linalg.lstsq(at, values, rcond=None)
    left = (values - at @ fitted).mean(1).std()
    return np.concatenate([fitted.ravel(), [left]]).astype(np.float32)


class Donors(NamedTuple):
    """The real parts: index of the part, subject (a position in a list), appearance; all of length M."""

    values: np.ndarray
    subjects: np.ndarray
    looks: np.ndarray


class Choice(NamedTuple):
    """The part of a layout that is made, by the donor at this row of `Donors`."""

    value: int
    row: int


def choose(
    weights: dict[int, float],
    wanted: dict[int, np.ndarray],
    donors: Donors,
    bound: float,
    near: int,
    draw: np.random.Generator,
) -> list[Choice]:
    """A donor for each part, larger parts first.

    Of the subjects that keep within the bound, those not used yet come first; of their parts one of the `near` most
    like what the image shows there is drawn, so the parts of one mouth go together although each is of another person.

    Args:
        weights: part -> share of the image's pixels it will cover, at most.
        wanted: part -> appearance in the image.
        donors: the real parts.
        bound: the largest share of the image one subject may give.
        near: how many to draw from.
        draw: where chance comes from.

    Returns:
        The parts that have a donor; others stay as they are in the image.
    """
    given: dict[int, float] = {}
    spread = donors.looks.std(0) + 1e-6 if len(donors.looks) else np.ones(1)
    chosen = []
    for value in sorted(weights, key=lambda part: (-weights[part], part)):
        open_rows = [
            r for r in _alike(donors, value) if given.get(int(donors.subjects[r]), 0) + weights[value] <= bound
        ]
        fresh = [r for r in open_rows if int(donors.subjects[r]) not in given]
        rows = np.array(fresh or open_rows, np.int64)
        if not len(rows):
            continue
        far = np.square((donors.looks[rows] - wanted[value]) / spread).sum(1)
        row = int(draw.choice(rows[np.argsort(far, kind="stable")[:near]]))
        subject = int(donors.subjects[row])
        given[subject] = given.get(subject, 0) + weights[value]
        chosen.append(Choice(value, row))
    return chosen


def _alike(donors: Donors, value: int) -> np.ndarray:
    """Rows of donors of this part; where fewer than `FEW` subjects have it, of the parts with the nearest indices."""
    far = np.abs(donors.values.astype(np.int64) - value)
    for reach in np.unique(far):
        rows = np.flatnonzero(far <= reach)
        if len(np.unique(donors.subjects[rows])) >= FEW:
            return rows
    return np.arange(len(far))


def feathered(region: np.ndarray, box: Box) -> np.ndarray:
    """How much of the made part shows at each pixel, float32 (H, W) in [0, 1]: 0 outside of the region."""
    inside = ndimage.distance_transform_edt(region)
    shown: np.ndarray = np.clip(inside / max(1.0, FEATHER * box.side), 0, 1).astype(np.float32)
    return shown


def paste(image: np.ndarray, made: np.ndarray, box: Box, shown: np.ndarray) -> None:
    """Lay a made crop (C, c, c) over an image float32 (C, H, W), in place, as much as `shown` (H, W) says."""
    height, width = image.shape[1:]
    square = parts.resized(torch.from_numpy(made)[None], (box.side, box.side))[0].numpy()
    rows = slice(max(0, box.top), min(height, box.top + box.side))
    columns = slice(max(0, box.left), min(width, box.left + box.side))
    piece = square[:, rows.start - box.top : rows.stop - box.top, columns.start - box.left : columns.stop - box.left]
    alpha = shown[rows, columns]
    image[:, rows, columns] = (1 - alpha) * image[:, rows, columns] + alpha * piece


def regions(layout: np.ndarray) -> dict[int, np.ndarray]:
    """The instances of a layout uint8 (H, W) that are large enough: index -> bool (H, W)."""
    found = {}
    for value in np.unique(layout):
        region = layout == value
        if value >= parts.INSTANCES and region.sum() >= LEAST:
            found[int(value)] = region
    return found
