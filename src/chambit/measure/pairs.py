"""Every pair of two feature sets, looked at once: neighbours, supports and kernel sums in tiles, so memory stays flat.

A tile is one matrix product, in float32 or, where asked, in bfloat16, of features scaled so that its entries are the
kernel's base t = x.y / d + 1; a squared distance is |x|^2 + |y|^2 - 2 d (t - 1). Tiles only find candidates: a decision
that the product's rounding could turn is made again from the differences in float64, so neighbours and supports depend
neither on the tile's type nor on its size nor on threads; kernel sums do, in their last digits. A tile's squared
distance is wrong by at most c (|x|^2 + |y|^2 + d), c = (d + 8) 2^-24 in float32 and 3 * 2^-8 more in bfloat16 (Higham
2002, Accuracy and Stability of Numerical Algorithms, chapter 3, doi:10.1137/1.9780898718027, with 2 |x| |y| <= |x|^2 +
|y|^2).

Values of parts of the sets (halves, or all but one group: `measure.resampling`) come from the same pass: sums are
kept for each pair of groups, and each point keeps more neighbours than k, so that its k-th in a part is among them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

TILE = 2048
"""Rows and columns of a tile: 16 MiB of float32; 1,024 to 3,072 took alike."""
MOST = 1 << 18
"""Pairs scored again at a time."""


@dataclass(frozen=True)
class Points:
    """One set of features, ready to be multiplied.

    Attributes:
        x: float32 (N, d).
        fast: x / sqrt(d), a one and zeros that keep rows aligned, in the tile's type (N, at least d + 1).
        half: |x|^2 / 2 d, float32 (N,).
        slack: float32 (N,): a point's part in the largest error of a squared distance over 2 d.
        group: int64 (N,), 0 .. groups - 1, which group of subjects each point is in.
        groups: how many there are.
    """

    x: torch.Tensor
    fast: torch.Tensor
    half: torch.Tensor
    slack: torch.Tensor
    group: torch.Tensor
    groups: int

    @classmethod
    def of(cls, x: np.ndarray, group: np.ndarray | None = None, kind: torch.dtype = torch.float32) -> "Points":
        """Features (N, d), any float type; group int (N,), one group when not given; kind is float32 or bfloat16."""
        held = torch.from_numpy(np.ascontiguousarray(x, np.float32))
        n, d = held.shape
        fast = torch.zeros(n, d // 16 * 16 + 16, dtype=kind)
        fast[:, d] = 1
        half = torch.empty(n, dtype=torch.float64)
        for part in _cut(torch.arange(n), 4096):
            fast[part, :d] = (held[part] / d**0.5).to(kind)
            half[part] = held[part].double().square().sum(1) / (2 * d)
        rough = (d + 8) * 2.0**-24 + (3 * 2.0**-8 if kind == torch.bfloat16 else 0.0)
        member = torch.zeros(n, dtype=torch.int64) if group is None else torch.from_numpy(group).long()
        return cls(held, fast, half.float(), (rough * (half + 0.5)).float(), member, int(member.max()) + 1)

    def __len__(self) -> int:
        return len(self.x)


class Neighbours(NamedTuple):
    """Nearest others of each point, nearest first.

    Attributes:
        which: int64 (N, K).
        square: squared distances float64 (N, K); infinite where there are fewer.
    """

    which: torch.Tensor
    square: torch.Tensor

    def radii(self, k: int, own: Points, other: Points, kept: torch.Tensor) -> torch.Tensor:
        """Squared distance to the k-th neighbour in each part, float64 (N, C); kept bool (C, G): which groups it has.

        Infinite where a point is not in the part. Where fewer than k of the neighbours that were kept are in it, the
        farthest kept stands in, which is a little too near.
        """
        out = torch.empty((len(self.which), len(kept)), dtype=torch.float64)
        member = other.group[self.which]
        for case, part in enumerate(kept):
            at = (part[member].cumsum(1) < k).sum(1).clamp_max(self.which.shape[1] - 1)
            out[:, case] = self.square.gather(1, at[:, None])[:, 0].masked_fill(~part[own.group], torch.inf)
        return out


class Within(NamedTuple):
    """One set by itself: nearest others of each point, and the cubic kernel's sums over pairs of groups (G, G)."""

    nearest: Neighbours
    kernel: torch.Tensor


class Crossed(NamedTuple):
    """What one set sees of another.

    Attributes:
        nearest: of each y the nearest x.
        inside: how many balls of x hold each y, int32 (M, C), in each part.
        covered: whether the ball of each x holds any y, bool (N, C).
        reached: whether each x lies in any ball of y, bool (N, C).
        kernel: sums of the cubic kernel over pairs of an x and a y, by group, float64 (G, G).
    """

    nearest: Neighbours
    inside: torch.Tensor
    covered: torch.Tensor
    reached: torch.Tensor
    kernel: torch.Tensor


def within(x: Points, count: int) -> Within:
    """The `count` nearest others of each point (none when 0), and sums of (x.y / d + 1)^3 over different points."""
    near, tiles = _Nearest(len(x), count), _Tiles(x, x)
    for rows, columns in _places(len(x), len(x), triangle=True):
        same = rows == columns
        tiles.load(rows, columns)
        if same:
            tiles.base.fill_diagonal_(0)
        part = tiles.add_kernel()
        if not same:
            tiles.kernel += part.T
        if count:
            minus = tiles.minus_square()
            if same:
                minus.fill_diagonal_(-torch.inf)
            near.take(minus, rows, columns, x, x, down=False)
            if not same:
                near.take(minus, columns, rows, x, x, down=True)
    return Within(near.finish(x, x), tiles.kernel)


def kernel_sums(x: Points, y: Points) -> torch.Tensor:
    """Sums of the cubic kernel over pairs of an x and a y, by group, float64 (G, G)."""
    tiles = _Tiles(x, y)
    for rows, columns in _places(len(x), len(y), triangle=False):
        tiles.load(rows, columns)
        tiles.add_kernel()
    return tiles.kernel


def cross(x: Points, y: Points, balls: torch.Tensor, other: torch.Tensor, kept: torch.Tensor) -> Crossed:
    """Hold each y against each x in each of C parts.

    Args:
        x: one set.
        y: the other, with as many groups.
        balls: squared radii of x in each part, float64 (N, C).
        other: squared radii of y in each part, float64 (M, C).
        kept: which groups each part has, bool (C, G).
    """
    n, m, d = len(x), len(y), x.x.shape[1]
    near, tiles, wide = _Nearest(m, 1), _Tiles(x, y), balls.shape[1]
    inside = torch.zeros(m, wide, dtype=torch.int32)
    covered, reached = torch.zeros(n, wide, dtype=torch.bool), torch.zeros(n, wide, dtype=torch.bool)
    # the ball of a part is the larger; infinite ones are of points that are not in it
    reach_x, reach_y = (torch.where(r.isinf(), -1, r).amax(1) / (2 * d) for r in (balls, other))
    for rows, columns in _places(n, m, triangle=False):
        tiles.load(rows, columns)
        tiles.add_kernel()
        minus = tiles.minus_square()
        near.take(minus, columns, rows, y, x, down=True)
        edge = _below(-reach_x[rows] - x.slack[rows] - y.slack[columns].max())[:, None]
        for i, j, held in _held(minus >= edge, minus, x, y, rows, columns, balls, kept, of_x=True):
            inside.index_add_(0, j, held.int())
            _join(covered, i, held)
        edge = _below(-reach_y[columns] - y.slack[columns] - x.slack[rows].max())[None, :]
        for i, _, held in _held(minus >= edge, minus, x, y, rows, columns, other, kept, of_x=False):
            _join(reached, i, held)
    return Crossed(near.finish(y, x), inside, covered, reached, tiles.kernel)


class _Tiles:
    """Tiles of two sets, made in buffers that are used again: fresh pages would cost as much as the product."""

    def __init__(self, x: Points, y: Points) -> None:
        self.x, self.y = x, y
        self.kernel = torch.zeros(x.groups, y.groups, dtype=torch.float64)
        self._hot = [torch.nn.functional.one_hot(part.group, part.groups).float() for part in (x, y)]
        size = min(TILE, len(x)), min(TILE, len(y))
        self._rough = torch.empty(size, dtype=x.fast.dtype)
        self._base, self._cube = torch.empty(size), torch.empty(size)
        self._mask = torch.empty(size, dtype=torch.bool)

    def load(self, rows: slice, columns: slice) -> None:
        """Make the tile of these points: t = x.y / d + 1 in `base`."""
        self.rows, self.columns = rows, columns
        shape = rows.stop - rows.start, columns.stop - columns.start
        self.base, self._value, rough = (_part(b, shape) for b in (self._base, self._cube, self._rough))
        torch.mm(self.x.fast[rows], self.y.fast[columns].T, out=self.base if rough.dtype == torch.float32 else rough)
        if rough.dtype != torch.float32:
            self.base.copy_(rough)

    def add_kernel(self) -> torch.Tensor:
        """Add t^3 to the sums over pairs of groups; returns what was added, float64 (G, G)."""
        torch.mul(self.base, self.base, out=self._value).mul_(self.base)
        part = self._hot[0][self.rows].T.double() @ (self._value @ self._hot[1][self.columns]).double()
        self.kernel += part
        return part

    def minus_square(self) -> torch.Tensor:
        """The tile as -|x - y|^2 / 2 d, in place of t."""
        return self.base.sub_((self.y.half[self.columns] + 1)[None, :]).sub_(self.x.half[self.rows, None])


def _part(buffer: torch.Tensor, shape: tuple[int, int]) -> torch.Tensor:
    return buffer.view(-1)[: shape[0] * shape[1]].view(shape)


def _join(flags: torch.Tensor, at: torch.Tensor, held: torch.Tensor) -> None:
    """Set flags (N, w) where any row of held (P, w) at that place is set; places may repeat."""
    case = held.nonzero()
    flags[at[case[:, 0]], case[:, 1]] = True


def _held(
    near: torch.Tensor,
    minus: torch.Tensor,
    x: Points,
    y: Points,
    rows: slice,
    columns: slice,
    balls: torch.Tensor,
    kept: torch.Tensor,
    of_x: bool,
) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """Pairs of a tile (i, j) that may lie in a ball, and whether they do in each of C parts."""
    part = kept.T.contiguous()
    twice = 2 * x.x.shape[1]
    for i, j in _places_of(near):
        value = minus[i, j].double() * -twice
        i, j = i + rows.start, j + columns.start
        radius = balls[i if of_x else j]
        room = (x.slack[i] + y.slack[j]).double() * twice
        doubtful = ((value[:, None] - radius).abs() <= room[:, None]).any(1)
        value[doubtful] = _again(x, y, i[doubtful], j[doubtful])
        held = value[:, None] <= radius
        held &= part[x.group[i]]
        held &= part[y.group[j]]
        yield i, j, held


def _places_of(mask: torch.Tensor) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Row and column of what is set, some at a time."""
    at = torch.from_numpy(np.flatnonzero(mask.numpy()))
    for part in _cut(at, MOST):
        yield part // mask.shape[1], part % mask.shape[1]


class _Nearest:
    """Candidates for the nearest others of n points, kept while tiles come in any order; values are -square / 2 d."""

    def __init__(self, n: int, count: int) -> None:
        self.count = count
        self.best = torch.full((n, count), -torch.inf)
        self.pairs: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = []
        self.held = 0

    def take(self, minus: torch.Tensor, rows: slice, columns: slice, own: Points, other: Points, *, down: bool) -> None:
        """A tile; rows are the points that look for neighbours, which lie along its columns where `down`."""
        best = self.best[rows]
        begun = not bool(best[:, -1].isinf().any())
        if not begun:
            # the first tile of a point: its own k-th nearest bounds what can still count
            most = min(self.count, minus.shape[0 if down else 1])
            first = minus.topk(most, 0).values.T if down else minus.topk(most, 1).values
            best = torch.cat([best, first], 1).topk(self.count, 1).values
        edge = _below(best[:, -1] - 2 * (own.slack[rows] + other.slack[columns].max()))
        for i, j in _places_of(minus >= (edge[None, :] if down else edge[:, None])):
            value = minus[i, j]
            mine, theirs = (j, i) if down else (i, j)
            if begun:
                best = _largest(best, mine, value)
            self.pairs.append((mine + rows.start, theirs + columns.start, value))
            self.held += len(mine)
        self.best[rows] = best
        if self.held > 64 * len(self.best) * self.count:
            self._thin(own, other)

    def finish(self, own: Points, other: Points) -> Neighbours:
        """Score the candidates again in float64 and keep the nearest; ties go to the lower index."""
        if not self.count:
            return Neighbours(torch.zeros(len(self.best), 0, dtype=torch.int64), torch.zeros(len(self.best), 0))
        self._thin(own, other)
        i, j, _ = self.pairs[0]
        value = torch.cat([_again(own, other, a, b) for a, b in zip(_cut(i, MOST), _cut(j, MOST), strict=True)])
        order = np.lexsort((j.numpy(), value.numpy(), i.numpy()))
        i, j, value = i[order], j[order], value[order]
        first = torch.searchsorted(i, torch.arange(len(self.best)))
        rank = torch.arange(len(i)) - first[i]
        keep = rank < self.count
        which = torch.zeros(len(self.best), self.count, dtype=torch.int64)
        square = torch.full((len(self.best), self.count), torch.inf, dtype=torch.float64)
        which[i[keep], rank[keep]], square[i[keep], rank[keep]] = j[keep], value[keep]
        return Neighbours(which, square)

    def _thin(self, own: Points, other: Points) -> None:
        i, j, value = (torch.cat(parts) for parts in zip(*self.pairs, strict=True))
        keep = value >= _below(self.best[:, -1] - 2 * (own.slack + other.slack.max()))[i]
        self.pairs = [(i[keep], j[keep], value[keep])]
        self.held = int(keep.sum())


def _largest(best: torch.Tensor, row: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """The largest of each row (n, k) with some further values of some rows."""
    if not len(row):
        return best
    order = row.argsort(stable=True)
    row, value = row[order], value[order]
    names, counts = torch.unique_consecutive(row, return_counts=True)
    first = torch.repeat_interleave(counts.cumsum(0) - counts, counts)
    more = torch.full((len(names), int(counts.max())), -torch.inf)
    member = torch.repeat_interleave(torch.arange(len(names)), counts)
    more[member, torch.arange(len(row)) - first] = value
    best = best.clone()
    best[names] = torch.cat([best[names], more], 1).topk(best.shape[1], 1).values
    return best


def _again(x: Points, y: Points, i: torch.Tensor, j: torch.Tensor) -> torch.Tensor:
    """Squared distances of pairs, float64, from the differences."""
    out = torch.empty(len(i), dtype=torch.float64)
    for part in _cut(torch.arange(len(i)), max(1, (1 << 17) // x.x.shape[1])):  # a megabyte, which stays in the cache
        out[part] = (x.x[i[part]].double() - y.x[j[part]].double()).square().sum(1)
    return out


def _below(edge: torch.Tensor) -> torch.Tensor:
    """The next float32 below, so that rounding the edge loses no pair."""
    return edge.float().nextafter(torch.tensor(-torch.inf))


def _places(n: int, m: int, triangle: bool) -> Iterator[tuple[slice, slice]]:
    for first in range(0, n, TILE):
        for start in range(first if triangle else 0, m, TILE):
            yield slice(first, min(first + TILE, n)), slice(start, min(start + TILE, m))


def _cut(x: torch.Tensor, size: int) -> Iterator[torch.Tensor]:
    return (x[first : first + size] for first in range(0, max(len(x), 1), size))
