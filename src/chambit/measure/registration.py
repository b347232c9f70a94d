"""Registration: lay a reference under a query by an affine map, then compare what only the one person has.

Starting from a guess, Gauss-Newton steps find the affine map A and the gain that bring the reference closest to the
query (Lucas and Kanade 1981; enhanced correlation as in Evangelidis and Psarakis 2008, doi:10.1109/TPAMI.2008.113).
The score is the correlation of the aligned reference's own residual, what the population's first axes do not explain,
with the query, after both gave up what the reference's explained part accounts for. So common anatomy, however well
aligned, counts for nothing. Needed because a crop or a tilt mixes the axes on which whole pictures are compared.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F

from chambit.measure.views import SOURCE

GRID = 32
STEPS = 5
MOST = 0.08
"""Largest change of a coefficient of A in one step, in half pictures."""


@dataclass(frozen=True)
class Registration:
    """What the population looks like: mean (S,) and first axes (S, m) of standardised squares, S = SOURCE * SOURCE."""

    mean: torch.Tensor
    axes: torch.Tensor

    @classmethod
    def fit(cls, squares: np.ndarray, axes: int = 32) -> "Registration":
        """Learn from squares float32 (N, SOURCE, SOURCE), N at least 4."""
        x = _standard(torch.from_numpy(squares.reshape(len(squares), -1)))
        mean = x.mean(0)
        centred = x - mean
        # the small side's eigenvectors give the long ones (Sirovich and Kirby 1987)
        values, vectors = torch.linalg.eigh(centred @ centred.T)
        keep = min(axes, len(x) // 2)
        long = centred.T @ vectors[:, -keep:] / values[-keep:].clamp_min(1e-6).sqrt()
        return cls(mean, long.contiguous())

    def prepare(self, squares: torch.Tensor) -> torch.Tensor:
        """Channels float32 (N, 4, SOURCE, SOURCE) of squares (N, S): explained, residual, slopes down and right."""
        x = _standard(squares)
        explained = self.mean + ((x - self.mean) @ self.axes) @ self.axes.T
        explained, residual = (_smooth(part.view(-1, 1, SOURCE, SOURCE)) for part in (explained, x - explained))
        both = explained + residual
        down, right = torch.gradient(both, dim=(2, 3))
        return torch.cat([explained, residual, down * (SOURCE / 2), right * (SOURCE / 2)], 1)

    def compare(self, queries: torch.Tensor, channels: torch.Tensor, affine: torch.Tensor) -> torch.Tensor:
        """Score (N,) of queries (N, GRID * GRID) with their references' channels (N, C, ...) under affine (N, 2, 3)."""
        explained, residual = _sample(channels[:, :2], affine).unbind(1)
        q, explained, residual = (part - part.mean(1, keepdim=True) for part in (queries, explained, residual))
        power = explained.square().sum(1, keepdim=True).clamp_min(1e-9)
        q = q - explained * ((q * explained).sum(1, keepdim=True) / power)
        residual = residual - explained * ((residual * explained).sum(1, keepdim=True) / power)
        score: torch.Tensor = (q * residual).sum(1) / (q.norm(dim=1) * residual.norm(dim=1)).clamp_min(1e-9)
        return score

    def align(
        self, queries: torch.Tensor, channels: torch.Tensor, affine: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Best score (N,) on the way of the Gauss-Newton steps, and its map (N, 2, 3)."""
        q = queries - queries.mean(1, keepdim=True)
        y, x = _points()[:2]
        best, at = self.compare(q, channels, affine), affine
        for _ in range(STEPS):
            explained, residual, down, right = _sample(channels, affine).unbind(1)
            level = torch.ones_like(down)
            rows = torch.stack(
                [explained + residual, level, *(slope * c for slope in (down, right) for c in (y, x, level))], 1
            )
            normal, target = rows @ rows.mT, rows @ q[:, :, None]
            # a little damping: a flat reference has no slopes to step along
            damped = normal + torch.diag_embed(torch.diagonal(normal, dim1=1, dim2=2) * 1e-3 + 1e-6)
            found = torch.linalg.solve(damped, target)[:, :, 0]
            step = (found[:, 2:] / found[:, :1].clamp_min(0.2)).clamp(-MOST, MOST)
            affine = affine + step.view(-1, 2, 3)
            score = self.compare(q, channels, affine)
            better = score > best
            best, at = torch.where(better, score, best), torch.where(better[:, None, None], affine, at)
        return best, at


def queries_of(squares: torch.Tensor) -> torch.Tensor:
    """Squares (N, S) as standardised queries (N, GRID * GRID)."""
    return _standard(F.avg_pool2d(squares.view(-1, 1, SOURCE, SOURCE), SOURCE // GRID).flatten(1))


def _standard(x: torch.Tensor) -> torch.Tensor:
    return (x - x.mean(1, keepdim=True)) / x.std(1, keepdim=True).clamp_min(1e-6)


def _smooth(x: torch.Tensor) -> torch.Tensor:
    """A binomial blur of (N, 1, H, W), because the window is sampled at half the resolution."""
    for side in (2, 3):
        last = x.shape[side] - 1
        before = torch.cat([x.narrow(side, 0, 1), x.narrow(side, 0, last)], side)
        after = torch.cat([x.narrow(side, 1, last), x.narrow(side, last, 1)], side)
        x = (before + after) / 4 + x / 2
    return x


def _points() -> torch.Tensor:
    """Homogeneous coordinates (3, GRID * GRID): y, x in -1 .. 1, and one."""
    steps = (2 * torch.arange(GRID) + 1) / GRID - 1
    y, x = torch.meshgrid(steps, steps, indexing="ij")
    return torch.stack([y.reshape(-1), x.reshape(-1), torch.ones(GRID * GRID)])


def _sample(channels: torch.Tensor, affine: torch.Tensor) -> torch.Tensor:
    """Channels (N, C, SOURCE, SOURCE) at the points of the window, (N, C, GRID * GRID)."""
    at = (affine @ _points()).flip(1).mT.reshape(-1, GRID, GRID, 2)  # torch wants x before y
    return F.grid_sample(channels, at, padding_mode="border", align_corners=False).flatten(2)
