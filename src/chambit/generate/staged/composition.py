"""Divide and conquer: parts of an image made one by one, each after one real subject, and put together.

Here are the appearance of a part, its texture, the choice of donors and the joining; `stages.compose` trains and draws.
No subject gives more than a bounded share of an image, by construction: `choose` passes over whoever would.
"""

from typing import NamedTuple

import numpy as np
from scipy import ndimage

from chambit.generate.staged import outlines, parts, surfaces

MARGIN = 0.35  # of a part's longer side, on each side of it: what is seen of its surroundings
FEATHER = 0.06  # of a crop's side: how far the made part fades into the image
LEAST = 12  # pixels: a smaller part is left as it is in the image
ROWS = 1500  # textures that components are taken from: of more, equally spaced ones
FEW = 4  # donors of a part's own kind below which parts of the nearest kinds are taken too


class Box(NamedTuple):
    """A square in pixels; it may stand out over the image."""

    top: int
    left: int
    side: int


def boxed(region: np.ndarray) -> Box:
    """The square around a region bool (H, W) that is not empty, with `MARGIN`."""
    rows, columns = (np.flatnonzero(region.any(axis)) for axis in (1, 0))
    longer = max(np.ptp(rows), np.ptp(columns)) + 1
    side = int(longer + 2 * max(1, round(MARGIN * longer)))
    top, left = ((int(at[0]) + int(at[-1]) + 1 - side) // 2 for at in (rows, columns))
    return Box(top, left, side)


def appearance(picture: np.ndarray, region: np.ndarray) -> np.ndarray:
    """How a part looks, without its texture: float32 (3 C + 1,).

    Mean of each channel, its slope from top to bottom and from left to right of the part (least squares), and the
    standard deviation of brightness that these leave.

    Args:
        picture: float32 (C, H, W) in [0, 1].
        region: bool (H, W), not empty.
    """
    at, values = _coordinates(region), picture[:, region].T.astype(np.float64)
    fitted, *_ = np.linalg.lstsq(at, values, rcond=None)
    left = (values - at @ fitted).mean(1).std()
    return np.concatenate([fitted.ravel(), [left]]).astype(np.float32)


def plane(look: np.ndarray, region: np.ndarray) -> np.ndarray:
    """The mean and slopes of an appearance at the pixels of a region: float32 (C, pixels)."""
    values: np.ndarray = _coordinates(region) @ look[:-1].reshape(3, -1)
    return values.T.astype(np.float32)


def texture(picture: np.ndarray, region: np.ndarray, side: int) -> np.ndarray | None:
    """What an appearance leaves of a part, in the frame of its box: float32 (C, side, side); None where too small."""
    rest = np.zeros_like(picture)
    rest[:, region] = picture[:, region] - plane(appearance(picture, region), region)
    rows, columns = np.nonzero(region)
    return surfaces.sampled(rest, rows, columns, _tight(region), side)


def painted(look: np.ndarray, rest: np.ndarray, region: np.ndarray) -> np.ndarray:
    """The pixels of a part that has this appearance and this texture (C, side, side): float32 (C, pixels)."""
    laid = surfaces.laid(np.ascontiguousarray(rest, np.float32), _tight(region), region.shape).numpy()
    made: np.ndarray = plane(look, region) + laid[:, region]
    return made


def _coordinates(region: np.ndarray) -> np.ndarray:
    """One, and the place from top to bottom and from left to right of each pixel of a region: float64 (pixels, 3)."""
    rows, columns = np.nonzero(region)
    half = max(np.ptp(rows), np.ptp(columns)) / 2 or 1.0
    return np.stack([np.ones(len(rows)), (rows - rows.mean()) / half, (columns - columns.mean()) / half], 1)


def _tight(region: np.ndarray) -> tuple[float, float, float, float]:
    rows, columns = np.flatnonzero(region.any(1)), np.flatnonzero(region.any(0))
    return float(rows[0]), float(columns[0]), float(np.ptp(rows) + 1), float(np.ptp(columns) + 1)


class Textures(NamedTuple):
    """What textures are written in: mean (C, side, side), basis (S, C, side, side), spread of the scores (S,)."""

    mean: np.ndarray
    basis: np.ndarray
    spread: np.ndarray

    def drawn(self, scores: np.ndarray) -> np.ndarray:
        """Textures float32 (N, C, side, side) of scores (N, S) of unit variance."""
        made: np.ndarray = self.mean + np.tensordot(scores * self.spread, self.basis.astype(np.float32), 1)
        return made.astype(np.float32)


def textures(rows: np.ndarray, count: int) -> tuple[Textures, np.ndarray]:
    """Principal components of textures float32 (N, C, side, side), and their scores, float32 (N, S)."""
    few = rows[np.linspace(0, len(rows) - 1, min(len(rows), ROWS)).astype(int)]
    known = np.ones((len(few), 1), bool)
    mean, basis, _ = outlines.components(few[:, None], known, max(1, min(count, len(few) - 1)))
    mean, basis = mean[0], basis[:, 0]
    scores = (rows - mean).reshape(len(rows), -1) @ basis.reshape(len(basis), -1).T
    spread = scores.std(0).clip(1e-4)
    kept = Textures(mean.astype(np.float32), basis.astype(np.float16), spread.astype(np.float32))
    return kept, (scores / spread).astype(np.float32)


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
    """How much of the made part shows at each pixel, float32 (H, W) in [0, 1]: 0 outside of the region.

    Pixels at the edge keep the image's mixture of both sides: a part laid over them would have stairs.
    """
    inside = ndimage.distance_transform_edt(region)
    shown: np.ndarray = np.clip((inside - 1) / max(1.0, FEATHER * box.side), 0, 1).astype(np.float32)
    return shown


def paste(image: np.ndarray, made: np.ndarray, region: np.ndarray, shown: np.ndarray) -> None:
    """Lay a part's pixels (C, pixels) over an image float32 (C, H, W), in place, as much as `shown` (H, W) says."""
    alpha = shown[region]
    image[:, region] = (1 - alpha) * image[:, region] + alpha * np.clip(made, 0, 1)


def regions(layout: np.ndarray) -> dict[int, np.ndarray]:
    """The instances of a layout uint8 (H, W) that are large enough: index -> bool (H, W)."""
    found = {}
    for value in np.unique(layout):
        region = layout == value
        if value >= parts.INSTANCES and region.sum() >= LEAST:
            found[int(value)] = region
    return found
