"""The fine detail a block transform leaves out, put back as noise of the right loudness that nobody's picture holds.

    f = B [z of the 3 x 3 neighbourhood, 1] + a(z) s e,   e ~ N(0, 1),   log a(z) = w [log sd(z), 1]

f are the coefficients of a block that are left out, z those kept, both standardised. B is their regression, by least
squares in which loud pictures count less (found in two passes), s the standard deviation of what it leaves, by position
and coefficient, and a(z) how loud the detail of one picture is: scanners differ in grain more than anything else, and
the coefficients kept tell it. On drawn radiographs one direction holds 86 % of the variance of the logarithms of all
coefficients' spreads between pictures.

e is a function of the latents, so that equal latents give equal pictures. Detail that is drawn is another one than a
patient's: the codec gives no training picture back exactly. Without a(z) this is the conditional Gaussian.
"""

import hashlib
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch.nn import functional as F

ROWS = 2000  # pictures it is fitted on: of more, equally spaced ones
AT_ONCE = 64
PASSES = 2
RIDGE = 1e-4  # of the mean square of a standardised predictor


@dataclass(frozen=True)
class Detail:
    """What is fine, given what is coarse.

    Attributes:
        filters: B, float32 (9 C + 1, K) for C coefficients kept and K left out.
        spread: s, float32 (K, h, w).
        loudness: w, float32 (C + 1,).
        centre, scale: float32 (K,), mean and standard deviation of the coefficients left out.
    """

    filters: torch.Tensor
    spread: torch.Tensor
    loudness: torch.Tensor
    centre: torch.Tensor
    scale: torch.Tensor

    @classmethod
    def fit(cls, coarse: torch.Tensor, fine: torch.Tensor) -> "Detail":
        """Learn it from standardised latents (N, C, h, w) and the coefficients left out (N, K, h, w), float32."""
        some = torch.linspace(0, len(coarse) - 1, min(len(coarse), ROWS)).long()
        coarse, fine = coarse[some], fine[some]
        centre, scale = fine.mean((0, 2, 3)), fine.std((0, 2, 3)).clamp_min(1e-4)
        wanted = (fine - centre[:, None, None]) / scale[:, None, None]
        loud = torch.ones(len(coarse))
        for _ in range(PASSES):
            filters = _regression(coarse, wanted, 1 / loud.square())
            left = torch.cat([wanted[part] - _filtered(coarse[part], filters) for part in _parts(len(coarse))])
            loud = left.square().mean((1, 2, 3)).sqrt().clamp_min(1e-6)
        told = _told(coarse)
        inner = told.T @ told + RIDGE * len(told) * torch.eye(told.shape[1], dtype=torch.float64)
        loudness = torch.linalg.solve(inner, told.T @ loud.double().log()).float()
        each = left / (told @ loudness.double()).exp().float()[:, None, None, None]
        return cls(filters, each.square().mean(0).sqrt(), loudness, centre, scale)

    @classmethod
    def of(cls, arrays: dict[str, np.ndarray]) -> "Detail":
        """The one that gave `arrays`."""
        return cls(*(torch.from_numpy(arrays[f"detail.{field.name}"]) for field in fields(cls)))

    def arrays(self) -> dict[str, np.ndarray]:
        """Everything."""
        return {f"detail.{field.name}": getattr(self, field.name).numpy() for field in fields(self)}

    def draw(self, coarse: torch.Tensor) -> torch.Tensor:
        """Coefficients left out of standardised latents (N, C, h, w), float32 (N, K, h, w)."""
        return torch.cat([self._drawn(coarse[part].float()) for part in _parts(len(coarse))])

    def _drawn(self, x: torch.Tensor) -> torch.Tensor:
        loud = (_told(x) @ self.loudness.double()).exp().float()[:, None, None, None]
        noise = torch.stack([torch.randn(self.spread.shape, generator=_stream(one)) for one in x])
        fine = _filtered(x, self.filters) + loud * self.spread * noise
        return fine * self.scale[:, None, None] + self.centre[:, None, None]


def _regression(coarse: torch.Tensor, wanted: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Least squares of `wanted` on the neighbourhoods, pictures weighted (N,); float32 (9 C + 1, K)."""
    size = 9 * coarse.shape[1] + 1
    inner = torch.zeros(size, size, dtype=torch.float64)
    outer = torch.zeros(size, wanted.shape[1], dtype=torch.float64)
    weights = weights.double() / weights.double().mean()
    for part in _parts(len(coarse)):
        near = _near(coarse[part]).double()
        weighted = (near * weights[part, None, None]).flatten(0, 1)
        inner += weighted.T @ near.flatten(0, 1)
        outer += weighted.T @ wanted[part].flatten(2).transpose(1, 2).flatten(0, 1).double()
    positions = len(coarse) * wanted.shape[2] * wanted.shape[3]
    out: torch.Tensor = torch.linalg.solve(inner + RIDGE * positions * torch.eye(size, dtype=torch.float64), outer)
    return out.float()


def _parts(count: int) -> list[slice]:
    return [slice(first, first + AT_ONCE) for first in range(0, max(count, 1), AT_ONCE)]


def _near(x: torch.Tensor) -> torch.Tensor:
    """Each position's neighbourhood and a one, (N, h w, 9 C + 1)."""
    near = F.unfold(F.pad(x, (1, 1, 1, 1), mode="replicate"), 3).transpose(1, 2)
    return torch.cat([near, torch.ones_like(near[..., :1])], -1)


def _filtered(x: torch.Tensor, filters: torch.Tensor) -> torch.Tensor:
    return (_near(x) @ filters).transpose(1, 2).reshape(len(x), filters.shape[1], *x.shape[2:])


def _told(x: torch.Tensor) -> torch.Tensor:
    """What tells a picture's loudness: logarithms of its coefficients' spreads and a one, float64 (N, C + 1)."""
    spread = x.double().flatten(2).std(2, correction=0).clamp_min(1e-3).log()
    return torch.cat([spread, torch.ones_like(spread[:, :1])], 1)


def _stream(latents: torch.Tensor) -> torch.Generator:
    """A stream that follows from the latents of one picture, rounded so that the last bits do not matter."""
    rounded = (latents * 64).round().to(torch.int32).numpy().tobytes()
    seed = int.from_bytes(hashlib.sha256(rounded).digest()[:7], "little")
    return torch.Generator().manual_seed(seed)
