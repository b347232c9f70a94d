"""Where findings go in a drawn layout: new spots on its parts, placed as training findings lie on theirs.

Each region of a training mask is reduced to centre, half-axes and angle in the frame of the part that it is on, the box
around that part. A spot on a drawn part is a spot of the same part in training, moved by Gaussian noise of a kernel's
width with a wobbling outline (`chambit.generate.lesions`), within the part. No spot is a copy, and a picture's spots
come from as many patients.
"""

from typing import NamedTuple

import numpy as np
from scipy import ndimage

from chambit.generate import lesions
from chambit.generate.staged import parts

FEW = 4  # spots of one part below which those of all parts are drawn from
TRIES = 6
LEAST = 3  # pixels: less is no spot


class Spots(NamedTuple):
    """The spots of the training.

    Attributes:
        rows: float32 (M, 5) as `lesions.shapes` gives them, half-axes as shares of the longer side of the part's box.
        values: index of the part that each is on, uint8 (M,).
        groups: of the layout, int64 (M,).
        counts: how many spots each training item with a finding has, int64 (items,), and its group, int64 (items,).
    """

    rows: np.ndarray
    values: np.ndarray
    groups: np.ndarray
    counts: np.ndarray
    of: np.ndarray


def fit(layouts: np.ndarray, masks: np.ndarray, groups: np.ndarray) -> Spots:
    """Measure spots of masks bool (N, H, W) on layouts uint8 (N, H, W) of groups int64 (N,)."""
    rows: list[np.ndarray] = []
    values, of_spot, counts, of_item = [], [], [], []
    for layout, mask, group in zip(layouts, masks, groups, strict=True):
        regions, many = ndimage.label(mask)
        before = len(rows)
        for number in range(1, many + 1):
            region = regions == number
            value = int(np.bincount(layout[region]).argmax())
            frame = _box(layout == value)
            if len(measured := lesions.shapes(region[frame][None])):
                measured[0, 2:4] -= np.log(max(region[frame].shape))
                rows.append(measured[0])
                values.append(value)
                of_spot.append(group)
        if len(rows) > before:
            counts.append(len(rows) - before)
            of_item.append(group)
    table = np.array(rows, np.float32).reshape(-1, lesions.VALUES)
    numbers = (np.array(column, np.int64) for column in (of_spot, counts, of_item))
    return Spots(table, np.array(values, np.uint8), *numbers)


def draw(spots: Spots, layout: np.ndarray, group: int, generator: np.random.Generator) -> np.ndarray:
    """A mask bool (H, W) of new spots on a layout uint8 (H, W); not empty unless there is nothing to learn from.

    Args:
        spots: of the training.
        layout: as drawn.
        group: of the layout.
        generator: where all that is random comes from.
    """
    mask = np.zeros(layout.shape, bool)
    if not len(spots.rows):
        return mask
    own = spots.counts[spots.of == group]
    many = int(generator.choice(own if len(own) else spots.counts))
    there = np.isin(spots.values, np.unique(layout))
    for fits in (there & (spots.groups == group), there):
        if fits.any():
            for _ in range(many):
                value = int(generator.choice(spots.values[fits]))
                mask |= _spot(spots, layout == value, value, fits, generator)
            return mask
    return mask


def _spot(spots: Spots, region: np.ndarray, value: int, fits: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """One spot within a part, bool (H, W)."""
    alike = fits & (spots.values == value)
    rows = spots.rows[alike if alike.sum() >= FEW else fits].copy()
    frame = _box(region)
    inside = region[frame]
    rows[:, 2:4] += np.log(max(inside.shape))
    drawn = np.zeros(region.shape, bool)
    for _ in range(TRIES):
        found = parts.largest_region((lesions.draw(rows, inside.shape, generator) >= 0.5) & inside)
        if found.sum() >= LEAST:
            break
    else:  # a part so small or a spot so far out that they do not meet: the part's deepest pixels
        depth = ndimage.distance_transform_edt(np.pad(inside, 1))[1:-1, 1:-1]
        found = depth >= np.sort(depth.ravel())[-LEAST:][0]
    drawn[frame] = found
    return drawn


def _box(region: np.ndarray) -> tuple[slice, slice]:
    """The box around a region bool (H, W) that is not empty."""
    rows, columns = (np.flatnonzero(region.any(axis)) for axis in (1, 0))
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)
