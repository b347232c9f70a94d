"""The copy finder's search: the most alike reference of each query, whatever was done to the copy.

Five detectors, each a likeness in -1 .. 1 as Fisher's z, atanh (1915, doi:10.1093/biomet/10.4.507):

- `frame`, `detail`: the whole picture in 64 and 256 principal axes of the population, scaled to unit variance, so that
  what all patients share no longer counts; all eight flips and quarter turns, also of the negative;
- `quarter`: the same for quarters of the picture and its middle, held against the same part of the reference; halves of
  their own found nothing more (benchmarks/descriptors.py);
- `registered`: crops, tilts and shifts of the reference propose candidates (`views.HINTS`), which are registered to the
  query and compared by what only they have (`registration`);
- `spectrum`: the whitened Fourier-Mellin descriptor (`spectrum`), for turns and shifts of any size.

How their scores become one is said in `fusion`.

Who may be learned from decides which test is exact. For conformal p-values the population and the scale may know train
and auxiliary, never holdout: `Finder.fit(train)`. For the permutation of labels train / holdout they may know both, but
not which is which: `Finder.fit(train and holdout)`.

Memory does not grow with either side: references are described in blocks, queries in smaller ones, and a query keeps
its best match only. Known failures: `copies` prints them on every run, as the families it missed.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy import sparse
from torch.nn import functional as F

from chambit.measure.descriptors import shrink, turned
from chambit.measure.fusion import DETECTORS, Found
from chambit.measure.registration import Registration, queries_of
from chambit.measure.spectrum import AXES, Whitening, fourier_mellin
from chambit.measure.views import HINTS, SCORED, SOURCE, WHOLE, Group, Window

CANDIDATES = {"crop": 12, "tilt": 2, "shift": 2}
"""How many references each group of hints proposes to be registered."""
REFINED = 4
"""How many of the proposed references are aligned; the others lose by their score under the proposed map."""
FITTED, BASIS = 2500, 1000
"""Images the population is learned from at most, and those of the registration's axes."""
CLIP = 2.5
"""No axis may say more than this many standard deviations: without it two pictures with one rare thing in common, such
as a black frame, are alike in everything."""
REFERENCES, QUERIES, PART = 4096, 2048, 256
"""References and queries described at a time, and queries compared at a time."""


def squares(images: np.ndarray) -> np.ndarray:
    """Images float32 (N, H, W) in [0, 1] as squares float16 (N, SOURCE, SOURCE); half the memory, finer than 8 bits."""
    return shrink(images, SOURCE).astype(np.float16)


class _Map(NamedTuple):
    """Squares (N, S) to unit vectors (V, N, m) of V views: project, take out the window's mean and contrast, centre.

    Where every window is the whole picture, sampling it is averaging in squares (`side`), and the projection is small.
    """

    project: torch.Tensor
    ones: torch.Tensor
    weight: torch.Tensor
    offset: torch.Tensor
    side: int

    @classmethod
    def of(
        cls,
        windows: Sequence[Window],
        side: int,
        aspect: float,
        axes: Sequence[np.ndarray],
        offsets: Sequence[np.ndarray],
    ) -> "_Map":
        whole = all(window == WHOLE for window in windows)
        sampled = [window.sampling(side, aspect) for window in windows]
        columns = axes if whole else [np.asarray(maps.T @ axis) for maps, axis in zip(sampled, axes, strict=True)]
        # one column serves all views of the whole picture
        weight = np.stack([np.asarray(maps.mean(0)).ravel() for maps in (sampled[:1] if whole else sampled)], 1)
        made = np.concatenate(columns, 1), np.stack([axis.sum(0) for axis in axes]), weight, np.stack(offsets)
        project, ones, weights, offset = (torch.from_numpy(np.ascontiguousarray(part, np.float32)) for part in made)
        return cls(project, ones, weights, offset, side if whole else 0)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        mean = x @ self.weight
        contrast = (x.square() @ self.weight - mean.square()).clamp_min(1e-8).sqrt()
        if self.side:
            x = F.avg_pool2d(x.view(-1, 1, SOURCE, SOURCE), SOURCE // self.side).flatten(1)
        y = (x @ self.project).view(len(x), len(self.ones), -1) - mean[:, :, None] * self.ones
        y = (y / contrast[:, :, None] - self.offset).clamp(-CLIP, CLIP)
        return F.normalize(y, dim=2, eps=1e-9).transpose(0, 1).contiguous()


@dataclass(frozen=True)
class _Fitted:
    """A group with its whitening: a map for references, one for queries, and the affine maps (V, 2, 3) of its views."""

    group: Group
    reference: _Map
    query: _Map
    affine: torch.Tensor

    @classmethod
    def fit(cls, group: Group, x: np.ndarray, aspect: float, known: dict[Any, Any]) -> "_Fitted":
        """Learn from squares as columns (S, N); `known` keeps the axes of windows that several groups look at."""
        axes, offsets = [], []
        for view in group.views:
            # windows of one size differ mostly in their mean, and axes for each of 150 crops would take seconds
            model = view.reference if group.own else view.reference.centred()
            for window in {view.reference, model}:
                if (window, group.side) not in known:
                    known[window, group.side] = _standard(x, window.sampling(group.side, aspect).astype(np.float32))
            if (key := (model, group.side, "axes")) not in known:
                known[key] = _principal(known[model, group.side])
            values, vectors = known[key]
            keep = min(group.axes, x.shape[1] // 2, int((values > values[0] * 1e-7).sum()))
            axis = vectors[:, :keep] / np.sqrt(values[:keep] + values[min(group.smooth, keep - 1)])
            axes.append(axis)
            offsets.append(known[view.reference, group.side].mean(1) @ axis)
        least = min(axis.shape[1] for axis in axes)
        axes, offsets = [axis[:, :least] for axis in axes], [offset[:least] for offset in offsets]
        windows = [view.reference for view in group.views], [view.query for view in group.views]
        affine = np.stack([view.reference.affine(aspect) for view in group.views]).astype(np.float32)
        reference, query = (_Map.of(side, group.side, aspect, axes, offsets) for side in windows)
        return cls(group, reference, query, torch.from_numpy(affine))

    def ask(self, turns: torch.Tensor) -> torch.Tensor:
        """Queries (16, n, S), in all their turns, as vectors (t, V, n, m) in the turns this group tries."""
        n = turns.shape[1]
        vectors = self.query(turns[list(self.group.turns)].flatten(0, 1))
        return vectors.view(len(vectors), -1, n, vectors.shape[2]).transpose(0, 1)

    def scores(self, asked: torch.Tensor, references: torch.Tensor) -> torch.Tensor:
        """Best likeness over views and turns, float32 (n, M)."""
        n, m = asked.shape[2], references.shape[1]
        best, buffer = torch.full((n, m), -1.0), torch.empty(n, m)
        for turn in asked:
            for vectors, view in zip(turn, references, strict=True):
                torch.mm(vectors, view.T, out=buffer)
                torch.maximum(best, buffer, out=best)
        return best

    def which(
        self, asked: torch.Tensor, references: torch.Tensor, index: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Turn and view (n, K) that gave the score of each query with references index (n, K)."""
        likeness = torch.einsum("tvnm,vnkm->nktv", asked, references[:, index])
        best = likeness.flatten(2).argmax(2)
        views = len(self.group.views)
        return torch.tensor(self.group.turns)[best // views], best % views


@dataclass(frozen=True)
class Finder:
    """A population's views and residuals, against which queries are searched."""

    scored: tuple[_Fitted, ...]
    hints: tuple[_Fitted, ...]
    registration: Registration
    spectrum: Whitening
    aspect: float

    @classmethod
    def fit(cls, population: np.ndarray, aspect: float) -> "Finder":
        """Learn from squares (N, SOURCE, SOURCE), N at least 8; aspect is height over width of the pictures."""
        x = np.ascontiguousarray(_evenly(population, FITTED).reshape(-1, SOURCE * SOURCE).T, np.float32)
        known: dict[Any, Any] = {}
        scored = tuple(_Fitted.fit(group, x, aspect, known) for group in SCORED)
        fewer = np.ascontiguousarray(_evenly(x.T, BASIS).T)
        known = {}
        hints = tuple(_Fitted.fit(group, fewer, aspect, known) for group in HINTS)
        registration = Registration.fit(_evenly(population, BASIS).astype(np.float32))
        spectrum = Whitening.fit(fourier_mellin(_evenly(population, FITTED), aspect), AXES)
        return cls(scored, hints, registration, spectrum, aspect)

    def search(self, queries: np.ndarray, references: np.ndarray, group: np.ndarray) -> Found:
        """The best reference of each group for each query, by each detector.

        Args:
            queries: squares (N, SOURCE, SOURCE).
            references: squares (M, SOURCE, SOURCE).
            group: int (M,), 0 .. G - 1.
        """
        groups, n = int(group.max()) + 1, len(queries)
        shape = (n, groups, len(DETECTORS))
        found = Found(
            np.full(shape, -9, np.float32),
            np.zeros(shape, np.int64),
            np.zeros(shape, np.int8),
            np.broadcast_to(np.eye(2, 3, dtype=np.float32), (n, groups, 2, 3)).copy(),
        )
        with torch.inference_mode():
            for rows in _cut(n, QUERIES):
                asked = [self._ask(queries[rows][part]) for part in _cut(rows.stop - rows.start, PART)]
                for g in range(groups):
                    at = np.flatnonzero(group == g)
                    for block in _cut(len(at), REFERENCES):
                        self._against(asked, rows.start, references[at[block]], at[block], g, found)
        return found

    def _ask(self, queries: np.ndarray) -> "_Asked":
        """Describe a part of the queries in all their turns, once for all references."""
        mine = queries.astype(np.float32)
        eight = torch.from_numpy(np.stack([turned(mine, turn).reshape(len(mine), -1) for turn in range(8)]))
        turns = torch.cat([eight, 1 - eight])
        tried = sorted({turn for fitted in self.hints for turn in fitted.group.turns})
        return _Asked(
            [fitted.ask(turns) for fitted in self.scored],
            [fitted.ask(turns) for fitted in self.hints],
            torch.tensor(tried),
            torch.stack([queries_of(turns[turn]) for turn in tried]),
            self._spectra(mine),
        )

    def _spectra(self, squares: np.ndarray) -> torch.Tensor:
        """Squares (N, SOURCE, SOURCE) as unit vectors (N, AXES)."""
        vectors = torch.from_numpy(self.spectrum(fourier_mellin(squares, self.aspect)))
        return F.normalize(vectors, dim=1, eps=1e-9)

    def _against(
        self, asked: Sequence["_Asked"], first: int, squares: np.ndarray, at: np.ndarray, g: int, found: Found
    ) -> None:
        """Search one block of references, of group g and at these places, and keep what is better than before."""
        x = torch.from_numpy(squares.astype(np.float32).reshape(len(at), -1))
        scored = [fitted.reference(x) for fitted in self.scored]
        hints = [fitted.reference(x) for fitted in self.hints]
        channels, spectra = self.registration.prepare(x), self._spectra(squares)
        for part in asked:
            rows = slice(first, first + part.queries.shape[1])
            first = rows.stop
            for d, (fitted, mine, vectors) in enumerate(zip(self.scored, part.scored, scored, strict=True)):
                score, index = fitted.scores(mine, vectors).max(1)
                turn = fitted.which(mine, vectors, index[:, None])[0][:, 0]
                _keep(found, rows, g, d, score, at[index.numpy()], turn)
            self._register(part, channels, hints, rows, at, g, found)
            score, index = (part.spectra @ spectra.T).max(1)
            # it does not see the turn: that of the frame is shown
            turn = self.scored[0].which(part.scored[0], scored[0], index[:, None])[0][:, 0]
            _keep(found, rows, g, DETECTORS.index("spectrum"), score, at[index.numpy()], turn)

    def _register(
        self,
        asked: "_Asked",
        channels: torch.Tensor,
        hints: Sequence[torch.Tensor],
        rows: slice,
        at: np.ndarray,
        g: int,
        found: Found,
    ) -> None:
        """Candidates of all hints, the likeliest aligned, the best kept."""
        indices, places, affines = [], [], []
        for fitted, mine, vectors in zip(self.hints, asked.hints, hints, strict=True):
            count = min(CANDIDATES[fitted.group.name], len(at))
            index = fitted.scores(mine, vectors).topk(count, 1).indices
            turn, view = fitted.which(mine, vectors, index)
            indices.append(index)
            places.append(turn)
            affines.append(fitted.affine[view])
        index, turn, affine = torch.cat(indices, 1), torch.cat(places, 1), torch.cat(affines, 1)
        n, count = index.shape
        row = torch.arange(n)[:, None]
        queries = asked.queries[torch.searchsorted(asked.turns, turn), row]
        flat = self.registration.compare(queries.flatten(0, 1), channels[index.flatten(), :2], affine.flatten(0, 1))
        chosen = flat.view(n, count).topk(min(REFINED, count), 1).indices
        queries, affine, turn, index = (part[row, chosen] for part in (queries, affine, turn, index))
        score, aligned = self.registration.align(queries.flatten(0, 1), channels[index.flatten()], affine.flatten(0, 1))
        best = score.view(n, -1).argmax(1)
        row = torch.arange(n)
        score, aligned = score.view(n, -1)[row, best], aligned.view(n, -1, 2, 3)[row, best]
        better = _keep(found, rows, g, len(self.scored), score, at[index[row, best].numpy()], turn[row, best])
        found.affine[rows, g][better] = aligned.numpy()[better]


class _Asked(NamedTuple):
    """Some queries, described.

    Attributes:
        scored, hints: of each group, vectors (t, V, n, m) in the turns it tries.
        turns: the turns in which the queries are registered, sorted.
        queries: standardised squares in these turns (t, n, GRID * GRID).
        spectra: their Fourier-Mellin vectors (n, AXES).
    """

    scored: list[torch.Tensor]
    hints: list[torch.Tensor]
    turns: torch.Tensor
    queries: torch.Tensor
    spectra: torch.Tensor


def _keep(
    found: Found, rows: slice, g: int, d: int, score: torch.Tensor, index: np.ndarray, turn: torch.Tensor
) -> np.ndarray:
    # likenesses of copies and near strangers crowd below one; Fisher's transformation parts them
    z = torch.atanh(score.clamp(-0.999, 0.999)).numpy()
    better = z > found.score[rows, g, d]
    found.score[rows, g, d][better] = z[better]
    found.index[rows, g, d][better] = index[better]
    found.turn[rows, g, d][better] = turn.numpy()[better]
    return better


def _cut(count: int, size: int) -> Iterator[slice]:
    return (slice(first, min(first + size, count)) for first in range(0, count, size))


def _evenly(population: np.ndarray, most: int) -> np.ndarray:
    """At most so many, taken at even distances."""
    return population if len(population) <= most else population[np.linspace(0, len(population) - 1, most).astype(int)]


def _standard(x: np.ndarray, window: sparse.csr_matrix) -> np.ndarray:
    """Windows (d, N) of squares as columns (S, N), each centred and scaled by the window's own mean and contrast."""
    weight = np.asarray(window.mean(0)).ravel()
    mean = weight @ x
    power = np.einsum("s,sn,sn->n", weight, x, x, optimize=False)
    return np.asarray((window @ x - mean) / np.sqrt(np.maximum(power - mean**2, 1e-8)))


def _principal(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Variances (k,) and axes (d, k) of vectors as columns (d, N), largest first."""
    centred = torch.from_numpy(vectors - vectors.mean(1, keepdims=True))
    values, axes = torch.linalg.eigh(centred @ centred.T / (vectors.shape[1] - 1))
    return np.maximum(values.numpy()[::-1], 1e-12), axes.numpy()[:, ::-1]
