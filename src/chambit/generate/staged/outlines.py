"""Layouts as few numbers: signed distances of every part, by the principal components of each view.

    d_k(x) = signed distance of pixel x to the edge of part k, cut off at `reach`
    z = (d - m) V / s,   m, V, s: mean, leading components and their spread over the training layouts of one group

A point distribution model (Cootes, Taylor, Cooper and Graham, "Active shape models: their training and application",
1995) on signed distances instead of points (Leventon, Grimson and Faugeras, "Statistical shape influence in geodesic
active contours", CVPR 2000). The part that is deepest inside makes a crisp map again, at any size and without stairs,
because distances can be interpolated and indices cannot. Parts stay whole and in their order, since a component moves
an outline and seldom makes an island.

A group is one combination of the factors' levels where there are enough layouts of each, such as one view. An instance
that most layouts of its group have (a tooth) may be absent from some; what its distances would be is filled in by the
components themselves, in turns, and whether it is there is a number of its own, 1 or -1. Components are directions
through the training layouts: mixtures of all of them.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch.nn import functional as F

from chambit.generate.staged import parts

LEAST = 20  # layouts: a smaller group has no components of its own
RARE = 0.05  # of a group's layouts: a part that fewer show is left to its neighbours
USUAL = 0.8  # of a group's layouts: an instance that more show is missing where it is not seen
FINE = 2  # times finer than what is kept are the grids on which distances are measured
TURNS = 5
SMALL = 0.3  # of the smallest twentieth of a part in training: a smaller instance is a splinter


class Group(NamedTuple):
    """The components of one group.

    Attributes:
        values: index of each part, uint8 (K,).
        usual: whether it is an instance that may be missing, bool (K,).
        least: share of the picture below which an instance is a splinter, float32 (K,).
        mean: float32 (K, h, w).
        basis: float16 (C, K, h, w), of unit length for each component.
        spread: of the scores, float32 (C,).
    """

    values: np.ndarray
    usual: np.ndarray
    least: np.ndarray
    mean: np.ndarray
    basis: np.ndarray
    spread: np.ndarray


class Encoded(NamedTuple):
    """Training layouts as numbers: float32 (N, C + instances), the group of each, int64 (N,), how many are scores.

    Looks are encoded so, too; they have scores alone.
    """

    rows: np.ndarray
    groups: np.ndarray
    scores: int


class Outlines(NamedTuple):
    """What layouts are written in.

    Attributes:
        values: index of every part of the cohort, uint8, rising; instances have a number for their presence.
        levels: the combination of the factors' levels that each group is of, int64 (G, F); -1 where any fits.
        shares: of the training layouts each group has, float64 (G,).
        groups: their components.
    """

    values: np.ndarray
    levels: np.ndarray
    shares: np.ndarray
    groups: list[Group]

    @property
    def scores(self) -> int:
        """How many scores a layout has."""
        return len(self.groups[0].spread)

    @property
    def instances(self) -> np.ndarray:
        """Indices of the instances, in the order of their numbers."""
        return self.values[self.values >= parts.INSTANCES]

    def arrays(self) -> dict[str, np.ndarray]:
        """Everything, by name."""
        kept = {"values": self.values, "levels": self.levels, "shares": self.shares}
        for number, group in enumerate(self.groups):
            kept |= {f"group{number}.{name}": array for name, array in group._asdict().items()}
        return kept

    @classmethod
    def of(cls, arrays: Mapping[str, np.ndarray]) -> "Outlines":
        """Those that gave `arrays`."""
        groups = [
            Group(*(arrays[f"group{number}.{name}"] for name in Group._fields))
            for number in range(len(arrays["shares"]))
        ]
        return cls(arrays["values"], arrays["levels"], arrays["shares"], groups)

    def decode(self, rows: np.ndarray, groups: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """Layouts uint8 (N, *size) of numbers float32 (N, C + instances)."""
        return np.stack([self._one(row, self.groups[g], size) for row, g in zip(rows, groups, strict=True)])

    def _one(self, row: np.ndarray, group: Group, size: tuple[int, int]) -> np.ndarray:
        scores = (row[: self.scores] * group.spread).astype(np.float32)
        signed = group.mean + np.tensordot(scores, group.basis.astype(np.float32), 1)
        planes = torch.from_numpy(signed)[None]
        if size[0] > planes.shape[2] or size[1] > planes.shape[3]:
            planes = F.interpolate(planes, size=size, mode="bicubic", align_corners=False)
        elif tuple(planes.shape[2:]) != tuple(size):
            planes = parts.resized(planes, size)
        place = planes[0].argmax(0).numpy()
        absent = self.instances[row[self.scores :] <= 0]
        gone = np.flatnonzero(group.usual & np.isin(group.values, absent))
        counts = np.bincount(place.ravel(), minlength=len(group.values)) / place.size
        gone = np.union1d(gone, np.flatnonzero(counts < SMALL * group.least))
        holes = np.isin(place, gone)
        ground = np.flatnonzero(group.values < parts.INSTANCES)
        if holes.any() and len(ground):
            # where a tooth is missing its neighbours stay as they are
            place[holes] = ground[planes[0, ground][:, torch.from_numpy(holes)].argmax(0).numpy()]
        return parts.tidied(group.values[place])


def fit(layouts: np.ndarray, factors: np.ndarray, pixels: int, reach: float, count: int) -> tuple[Outlines, Encoded]:
    """Find groups and components.

    Args:
        layouts: uint8 (N, H, W).
        factors: int64 (N, F), -1 where not known.
        pixels: longer side of the grid of distances.
        reach: pixels of that grid at which distances are cut off.
        count: of components, at most; fewer where a group has few layouts.

    Returns:
        What layouts are written in, and the training layouts so.
    """
    height, width = parts.size_at(layouts.shape[1], layouts.shape[2], pixels, 1)
    fine = parts.at_size(layouts, (FINE * height, FINE * width))
    levels, groups = grouped(factors)
    values = parts.values_of(layouts)
    count = max(1, min(count, int(np.bincount(groups).min()) - 1))
    found = [_group(fine[groups == g], reach * FINE, count) for g in range(len(levels))]
    fitted, scores = zip(*found, strict=True)
    shares = np.bincount(groups) / len(groups)
    outlines = Outlines(values, levels, shares, list(fitted))
    rows = np.empty((len(layouts), outlines.scores + len(outlines.instances)), np.float32)
    for g, group in enumerate(fitted):
        rows[groups == g, : outlines.scores] = scores[g] / group.spread
    seen = [[(layout == value).any() for value in outlines.instances] for layout in fine]
    rows[:, outlines.scores :] = np.where(np.array(seen, bool).reshape(len(fine), -1), 1.0, -1.0)
    for g, group in enumerate(fitted):
        # a part that is no usual one of the group is there or not by its distances alone
        free = ~np.isin(outlines.instances, group.values[group.usual])
        rows[np.ix_(groups == g, outlines.scores + np.flatnonzero(free))] = 0.0
    return outlines, Encoded(rows, groups, outlines.scores)


def blended(encoded: Encoded, rows: np.ndarray, many: int, draw: np.random.Generator) -> np.ndarray:
    """Training rows mixed with others of their group: float32 (M, D).

    Scores are sums of `many` layouts' with weights whose squares add up to 1, so that mean and covariance stay those of
    the group while no target is one person's layout; which instances are there is taken from the heaviest.

    Args:
        encoded: all training layouts.
        rows: position of the heaviest of each mixture, int64 (M,).
        many: how many are mixed; 1 leaves rows as they are.
        draw: where partners and weights come from.
    """
    made: np.ndarray = encoded.rows[rows].copy()
    if many == 1:
        return made
    weights = np.sort(np.sqrt(draw.dirichlet(np.ones(many), len(rows))), 1)[:, ::-1].astype(np.float32)
    scores = slice(0, encoded.scores)
    made[:, scores] *= weights[:, :1]
    for g in np.unique(encoded.groups[rows]):
        own, of_group = np.flatnonzero(encoded.groups[rows] == g), np.flatnonzero(encoded.groups == g)
        for k in range(1, many):
            partners = encoded.rows[draw.choice(of_group, len(own))][:, scores]
            made[own, scores] += weights[own, k : k + 1] * partners
    return made


def grouped(factors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Levels of each group and the group of each item: by all factors, else by one of them, else all together."""
    count, width = factors.shape
    for chosen in ([tuple(range(width))] if width else []) + [(k,) for k in range(width)]:
        kept = np.where(np.isin(np.arange(width), chosen), factors, -1)
        levels, groups, sizes = np.unique(kept, axis=0, return_inverse=True, return_counts=True)
        if sizes.min() >= LEAST and (levels[:, list(chosen)] >= 0).all():
            return levels, groups.ravel()
    return np.full((1, width), -1, np.int64), np.zeros(count, np.int64)


def group_of(levels: np.ndarray, shares: np.ndarray, factors: np.ndarray, seeds: Sequence[int]) -> np.ndarray:
    """The group of each item: where its factors do not decide, one of those that fit, drawn by its seed.

    Args:
        levels: of each group, int64 (G, F), -1 where any fits.
        shares: of the training items that each group has, float64 (G,).
        factors: int64 (N, F), -1 where not known.
        seeds: of the items.
    """
    found = np.empty(len(factors), np.int64)
    for n, (row, seed) in enumerate(zip(factors, seeds, strict=True)):
        fits = ((levels == row) | (levels < 0) | (row < 0)).all(1)
        share = np.where(fits, shares, 0) if fits.any() else shares
        found[n] = np.random.default_rng([int(seed) % 2**63, 7]).choice(len(share), p=share / share.sum())
    return found


def _group(layouts: np.ndarray, reach: float, count: int) -> tuple[Group, np.ndarray]:
    """The components of layouts of one group on the fine grid, and their scores, float64 (N, C)."""
    values = parts.values_of(layouts)
    share = np.stack([(layouts == value).mean((1, 2)) for value in values], 1)
    there = share > 0
    kept = (there.mean(0) >= RARE) | (values == 0)
    values, share, there = values[kept], share[:, kept], there[:, kept]
    signed = np.stack([_signed(layout, values, reach) for layout in layouts])
    usual = (there.mean(0) >= USUAL) & (values >= parts.INSTANCES)
    least = np.array([np.quantile(own[own > 0], 0.05) if (own > 0).any() else 0 for own in share.T])
    least[values < parts.INSTANCES] = 0
    mean, basis, scores = components(signed, there | ~usual, count)
    spread = scores.std(0).clip(1e-4)
    fitted = Group(values, usual, least.astype(np.float32), mean, basis.astype(np.float16), spread.astype(np.float32))
    return fitted, scores


def _signed(layout: np.ndarray, values: np.ndarray, reach: float) -> np.ndarray:
    """Distances on the fine grid averaged to the coarse one, float32 (K, h, w)."""
    signed = parts.distances(layout[None] == values[:, None, None], reach)
    k, height, width = signed.shape
    averaged: np.ndarray = signed.reshape(k, height // FINE, FINE, width // FINE, FINE).mean((2, 4))
    return averaged


def components(signed: np.ndarray, known: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Principal components of items of which some parts are not known.

    Args:
        signed: float32 (N, K, ...), K parts of any shape.
        known: bool (N, K); each part is known of some item.
        count: of components.

    Returns:
        Mean (K, ...), components (C, K, ...) of unit length, and scores float64 (N, C).
    """
    n, k = signed.shape[:2]
    filled = signed.reshape(n, k, -1).copy()
    for part in np.flatnonzero(~known.all(0)):
        filled[~known[:, part], part] = filled[known[:, part], part].mean(0)
    for _ in range(TURNS if not known.all() else 1):
        mean = filled.mean(0)
        rows = (filled - mean).reshape(n, -1)
        # of the small matrix of products between layouts: its eigenvectors give those of the large one
        _, vectors = np.linalg.eigh((rows @ rows.T).astype(np.float64))
        basis = vectors[:, ::-1][:, :count].T.astype(np.float32) @ rows
        basis /= np.linalg.norm(basis, axis=1, keepdims=True).clip(1e-6)
        # the sign is free: the largest value of each is positive, so that equal layouts give equal bytes
        basis *= np.where(basis[np.arange(len(basis)), np.abs(basis).argmax(1)] < 0, -1, 1)[:, None]
        scores = rows @ basis.T
        if not known.all():
            filled[~known] = ((scores @ basis).reshape(n, k, -1) + mean)[~known]
    shape = signed.shape[1:]
    return mean.reshape(shape), basis.reshape(-1, *shape), scores.astype(np.float64)
