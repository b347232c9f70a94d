"""Every pair of two feature sets, looked at once: neighbours, supports and kernel sums in tiles, so memory stays flat.

A tile of inner products is made by one matrix product, in float32 or, where asked, in bfloat16; both are only used to
find candidates. A decision that the product's rounding could turn is made again from the differences in float64, so
neighbours and supports depend neither on the tile's type nor on its size nor on threads; kernel sums do, in their last
digits. A tile's squared distance of x and y is wrong by at most c (|x|^2 + |y|^2), c = (d + 4) 2^-24 in float32 and
3 * 2^-8 more in bfloat16 (Higham 2002, Accuracy and Stability of Numerical Algorithms, chapter 3,
doi:10.1137/1.9780898718027, with 2 |x| |y| <= |x|^2 + |y|^2).

Leave-one-group-out values (jackknife) come from the same pass: kernel sums are kept for each pair of groups; a group's
removal moves the k-th neighbour of few points, and each point keeps some more neighbours than k.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

TILE = 2048
"""Rows and columns of a tile: 16 MiB of float32, which the processor's caches still help with."""
MOST = 1 << 18
"""Pairs scored again at a time."""


@dataclass(frozen=True)
class Points:
    """One set of features, ready to be multiplied.

    Attributes:
        x: float32 (N, d), shifted so that both sets lie about the origin.
        fast: the same in the tile's type.
        power: squared lengths float64 (N,).
        slack: c |x|^2, float32 (N,): a point's part in the largest error of a squared distance.
        group: int64 (N,), 0 .. groups - 1, which jackknife group each point is in.
        groups: how many there are.
    """

    x: torch.Tensor
    fast: torch.Tensor
    power: torch.Tensor
    slack: torch.Tensor
    group: torch.Tensor
    groups: int

    @classmethod
    def of(cls, x: np.ndarray, group: np.ndarray | None = None, kind: torch.dtype = torch.float32) -> "Points":
        """Features (N, d), any float type; group int (N,), one group when not given; kind is float32 or bfloat16."""
        held = torch.from_numpy(np.ascontiguousarray(x, np.float32))
        power = torch.cat([part.double().square().sum(1) for part in _cut(held, 4096)])
        rough = (held.shape[1] + 4) * 2.0**-24 + (3 * 2.0**-8 if kind == torch.bfloat16 else 0.0)
        member = torch.zeros(len(held), dtype=torch.int64) if group is None else torch.from_numpy(group).long()
        return cls(held, held.to(kind), power, (rough * power).float(), member, int(member.max()) + 1)

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

    def radii(self, k: int, own: Points, other: Points) -> torch.Tensor:
        """Squared distance to the k-th neighbour, float64 (N, 1 + groups): of all, then without each group.

        Infinite where a point is in the group that is left out. Where fewer than k of the neighbours that were kept are
        of other groups, the farthest kept stands in, which is a little too near.
        """
        out = torch.full((len(self.which), 1 + own.groups), torch.inf, dtype=torch.float64)
        out[:, 0] = self.square[:, k - 1]
        member = other.group[self.which]
        for g in range(own.groups):
            at = ((member != g).cumsum(1) < k).sum(1).clamp_max(self.which.shape[1] - 1)
            out[:, 1 + g] = self.square.gather(1, at[:, None])[:, 0].masked_fill(own.group == g, torch.inf)
        return out


class Within(NamedTuple):
    """One set by itself: nearest others of each point, and the cubic kernel's sums over pairs of groups (G, G)."""

    nearest: Neighbours
    kernel: torch.Tensor


def within(x: Points, count: int) -> Within:
    """The `count` nearest others of each point (none when 0), and sums of (x.y / d + 1)^3 over different points."""
    near, sums, one_hot = _Nearest(len(x), count), torch.zeros(x.groups, x.groups, dtype=torch.float64), _one_hot(x)
    for rows, columns in _tiles(len(x), len(x), triangle=True):
        product = (x.fast[rows] @ x.fast[columns].T).float()
        same = rows == columns
        part = _kernel(product, x.x.shape[1], one_hot[rows], one_hot[columns], diagonal=same)
        sums += part if same else part + part.T
        if count:
            square = _squares(product, x, x, rows, columns)
            if same:
                square.fill_diagonal_(torch.inf)
            near.take(square, rows, columns, x, x)
            if not same:
                near.take(square.T, columns, rows, x, x)
    return Within(near.finish(x, x), sums)


class Crossed(NamedTuple):
    """What one set sees of another.

    Attributes:
        nearest: of each y the nearest x.
        inside: how many balls of x hold each y, int32 (M, 1 + G): of all, then without each group.
        covered: whether the ball of each x holds any y, bool (N, 1 + G).
        reached: whether each x lies in any ball of y, bool (N, 1 + G).
        kernel: sums of the cubic kernel over pairs of an x and a y, by group, float64 (G, G).
    """

    nearest: Neighbours
    inside: torch.Tensor
    covered: torch.Tensor
    reached: torch.Tensor
    kernel: torch.Tensor


def kernel_sums(x: Points, y: Points) -> torch.Tensor:
    """Sums of the cubic kernel over pairs of an x and a y, by group, float64 (G, G)."""
    sums, one_x, one_y = torch.zeros(x.groups, y.groups, dtype=torch.float64), _one_hot(x), _one_hot(y)
    for rows, columns in _tiles(len(x), len(y), triangle=False):
        product = (x.fast[rows] @ y.fast[columns].T).float()
        sums += _kernel(product, x.x.shape[1], one_x[rows], one_y[columns], diagonal=False)
    return sums


def cross(x: Points, y: Points, balls: torch.Tensor, other: torch.Tensor) -> Crossed:
    """Hold each y against each x; balls float64 (N, 1 + G) and other (M, 1 + G) are squared radii."""
    n, m, d = len(x), len(y), x.x.shape[1]
    near, wide = _Nearest(m, 1), balls.shape[1]
    inside = torch.zeros(m, wide, dtype=torch.int32)
    covered, reached = torch.zeros(n, wide, dtype=torch.bool), torch.zeros(n, wide, dtype=torch.bool)
    sums, one_x, one_y = torch.zeros(x.groups, y.groups, dtype=torch.float64), _one_hot(x), _one_hot(y)
    # the ball without one group is the larger; infinite ones are of points that are left out themselves
    reach_x, reach_y = (torch.where(r.isinf(), -1, r).amax(1) for r in (balls, other))
    for rows, columns in _tiles(n, m, triangle=False):
        product = (x.fast[rows] @ y.fast[columns].T).float()
        sums += _kernel(product, d, one_x[rows], one_y[columns], diagonal=False)
        square = _squares(product, x, y, rows, columns)
        near.take(square.T, columns, rows, y, x)
        edge = _above(reach_x[rows] + x.slack[rows] + y.slack[columns].max())[:, None]
        for i, j, held in _held(square <= edge, square, x, y, rows, columns, balls, of_x=True):
            inside.index_add_(0, j, held.int())
            _join(covered, i, held)
        edge = _above(reach_y[columns] + y.slack[columns] + x.slack[rows].max())[None, :]
        for i, _, held in _held(square <= edge, square, x, y, rows, columns, other, of_x=False):
            _join(reached, i, held)
    return Crossed(near.finish(y, x), inside, covered, reached, sums)


def _join(flags: torch.Tensor, at: torch.Tensor, held: torch.Tensor) -> None:
    """Set flags (N, w) where any row of held (P, w) at that place is set; places may repeat."""
    case = held.nonzero()
    flags[at[case[:, 0]], case[:, 1]] = True


def _held(
    near: torch.Tensor,
    square: torch.Tensor,
    x: Points,
    y: Points,
    rows: slice,
    columns: slice,
    balls: torch.Tensor,
    of_x: bool,
) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """Pairs of a tile (i, j) that may lie in a ball, and whether they do in each of the (1 + G) cases."""
    at = torch.from_numpy(np.flatnonzero(near.numpy()))
    for part in _cut(at, MOST):
        i, j = part // near.shape[1], part % near.shape[1]
        value = square[i, j].double()
        i, j = i + rows.start, j + columns.start
        radius = balls[i if of_x else j]
        room = (x.slack[i] + y.slack[j]).double()
        doubtful = ((value[:, None] - radius).abs() <= room[:, None]).any(1)
        value[doubtful] = _again(x, y, i[doubtful], j[doubtful])
        held = value[:, None] <= radius
        held &= ~radius.isinf()
        if balls.shape[1] > 1:
            for member in (x.group[i], y.group[j]):
                held.scatter_(1, 1 + member[:, None], torch.zeros(len(i), 1, dtype=torch.bool))
        yield i, j, held


class _Nearest:
    """Candidates for the nearest others of n points, kept while tiles come in any order."""

    def __init__(self, n: int, count: int) -> None:
        self.count = count
        self.best = torch.full((n, count), torch.inf)
        self.pairs: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = []
        self.held = 0

    def take(self, square: torch.Tensor, rows: slice, columns: slice, own: Points, other: Points) -> None:
        """Squared distances (n, m) of a tile; rows are the points that look for neighbours."""
        best = self.best[rows]
        if bool(best[:, -1].isinf().any()):
            # the first tile of a point: its own k-th smallest bounds what can still count
            first = square.topk(min(self.count, square.shape[1]), 1, largest=False).values
            best = torch.cat([best, first], 1).topk(self.count, 1, largest=False).values
            fresh = False
        else:
            fresh = True
        room = 2 * (own.slack[rows] + other.slack[columns].max())
        near = square <= _above(best[:, -1] + room)[:, None]
        at = torch.from_numpy(np.flatnonzero(near.numpy() if near.is_contiguous() else near.contiguous().numpy()))
        i, j = at // square.shape[1], at % square.shape[1]
        value = square[i, j]
        if fresh and len(i):
            best = _smallest(best, i, value)
        self.best[rows] = best
        self.pairs.append((i + rows.start, j + columns.start, value))
        self.held += len(i)
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
        index = torch.zeros(len(self.best), self.count, dtype=torch.int64)
        square = torch.full((len(self.best), self.count), torch.inf, dtype=torch.float64)
        index[i[keep], rank[keep]], square[i[keep], rank[keep]] = j[keep], value[keep]
        return Neighbours(index, square)

    def _thin(self, own: Points, other: Points) -> None:
        i, j, value = (torch.cat(parts) for parts in zip(*self.pairs, strict=True))
        room = 2 * (own.slack + other.slack.max())
        keep = value <= _above(self.best[:, -1] + room)[i]
        self.pairs = [(i[keep], j[keep], value[keep])]
        self.held = int(keep.sum())


def _smallest(best: torch.Tensor, row: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """The smallest of each row (n, k) with some further values of some rows, row sorted."""
    names, counts = torch.unique_consecutive(row, return_counts=True)
    first = torch.repeat_interleave(counts.cumsum(0) - counts, counts)
    more = torch.full((len(names), int(counts.max())), torch.inf)
    member = torch.repeat_interleave(torch.arange(len(names)), counts)
    more[member, torch.arange(len(row)) - first] = value
    joined = torch.cat([best[names], more], 1).topk(best.shape[1], 1, largest=False).values
    best = best.clone()
    best[names] = joined
    return best


def _again(x: Points, y: Points, i: torch.Tensor, j: torch.Tensor) -> torch.Tensor:
    """Squared distances of pairs, float64, from the differences."""
    out = torch.empty(len(i), dtype=torch.float64)
    for part in _cut(torch.arange(len(i)), 8192):
        out[part] = (x.x[i[part]].double() - y.x[j[part]].double()).square().sum(1)
    return out


def _squares(product: torch.Tensor, x: Points, y: Points, rows: slice, columns: slice) -> torch.Tensor:
    """Squared distances of a tile, in place of its inner products."""
    return product.mul_(-2).add_(x.power[rows, None].float()).add_(y.power[None, columns].float())


def _above(edge: torch.Tensor) -> torch.Tensor:
    """The next float32 above, so that rounding the edge loses no pair."""
    return edge.float().nextafter(torch.tensor(torch.inf))


def _one_hot(x: Points) -> torch.Tensor:
    return torch.nn.functional.one_hot(x.group, x.groups).float()


def _kernel(product: torch.Tensor, d: int, rows: torch.Tensor, columns: torch.Tensor, diagonal: bool) -> torch.Tensor:
    """Sums of (product / d + 1)^3 over pairs of groups, float64 (G, G); the diagonal left out where asked."""
    value = (product / d).add_(1).pow_(3)
    if diagonal:
        value.fill_diagonal_(0)
    return rows.T.double() @ (value @ columns).double()


def _tiles(n: int, m: int, triangle: bool) -> Iterator[tuple[slice, slice]]:
    for first in range(0, n, TILE):
        for start in range(first if triangle else 0, m, TILE):
            yield slice(first, min(first + TILE, n)), slice(start, min(start + TILE, m))


def _cut(x: torch.Tensor, size: int) -> Iterator[torch.Tensor]:
    return (x[first : first + size] for first in range(0, max(len(x), 1), size))
