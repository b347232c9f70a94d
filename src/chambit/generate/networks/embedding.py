"""What a network is told beside x: time, class, factors and numbers, as one vector; shared by all networks.

Everything but the time may be withheld: class and factors have a row of their own for "not given", numbers come with
a flag each. Withheld at random in training, they allow classifier-free guidance (Ho and Salimans 2022,
arXiv:2207.12598) and sampling with only some of them given.
"""

import math
from typing import NamedTuple

import torch
from torch import nn


class Conditions(NamedTuple):
    """What a network is told of N items, in the order of its arguments after x and t.

    Attributes:
        label: int64 (N,), or (N, D) for each frame; the number of classes means "not given".
        maps: float32 (N[, D], K, h, w) on the grid of latents, or None.
        factors: int64 (N, F), -1 for "not given", or None.
        vector: float32 (N, V), standardised, NaN for "not given", or None.
    """

    label: torch.Tensor
    maps: torch.Tensor | None = None
    factors: torch.Tensor | None = None
    vector: torch.Tensor | None = None

    def at(self, rows: torch.Tensor | slice) -> "Conditions":
        """Those of some items."""
        return Conditions(*(None if part is None else part[rows] for part in self))  # type: ignore[arg-type]

    def frame(self, number: torch.Tensor) -> "Conditions":
        """Those of one frame of each item, int64 (N,)."""
        every = torch.arange(len(number))
        label = self.label if self.label.ndim == 1 else self.label[every, number]
        maps = None if self.maps is None else self.maps[every, number]
        return Conditions(label, maps, self.factors, self.vector)

    def to(self, device: torch.device) -> "Conditions":
        """The same on a device."""
        return Conditions(*(None if part is None else part.to(device) for part in self))  # type: ignore[arg-type]

    def withheld(self, which: torch.Tensor, nothing: int) -> "Conditions":
        """Without class, factors and numbers where `which`, bool (N,); the maps stay. `nothing`: number of classes."""
        label = self.label.clone()
        label[which] = nothing
        factors, vector = self.factors, self.vector
        if factors is not None:
            factors = factors.masked_fill(which[:, None], -1)
        if vector is not None:
            vector = vector.masked_fill(which[:, None], math.nan)
        return Conditions(label, self.maps, factors, vector)

    def thinned(self, share: float, generator: torch.Generator) -> "Conditions":
        """With each factor and number withheld by itself with this probability."""
        factors, vector = self.factors, self.vector
        if factors is not None:
            factors = factors.masked_fill(torch.rand(factors.shape, generator=generator) < share, -1)
        if vector is not None:
            vector = vector.masked_fill(torch.rand(vector.shape, generator=generator) < share, math.nan)
        return Conditions(self.label, self.maps, factors, vector)


def sinusoids(t: torch.Tensor, frequencies: torch.Tensor) -> torch.Tensor:
    """Cosines and sines of t (...,) at each of k frequencies: (..., 2 k)."""
    angles = t[..., None].float() * frequencies
    return torch.cat([angles.cos(), angles.sin()], -1)


class Embedded(nn.Module):
    """A network that is told time, class, factors and numbers.

    Args:
        classes: number of classes.
        size: of the embedding.
        factors: number of levels of each factor.
        numbers: length of the vector.
    """

    frequencies: torch.Tensor

    def __init__(self, classes: int, size: int, factors: tuple[int, ...] = (), numbers: int = 0) -> None:
        super().__init__()
        self.classes = classes
        self.time = nn.Sequential(nn.Linear(64, size), nn.SiLU(), nn.Linear(size, size))
        self.label = nn.Embedding(classes + 1, size)
        if factors:
            self.factors = nn.ModuleList(nn.Embedding(levels + 1, size) for levels in factors)
        if numbers:
            self.numbers = nn.Linear(2 * numbers, size)
        self.has, self.levels = (len(factors), numbers), factors
        frequencies = torch.exp(-math.log(1000.0) * torch.arange(32) / 31) * 1000.0
        self.register_buffer("frequencies", frequencies, persistent=False)

    def embedding(
        self,
        t: torch.Tensor,
        label: torch.Tensor | None,
        factors: torch.Tensor | None,
        vector: torch.Tensor | None,
    ) -> torch.Tensor:
        """The sum of what is told: (N, size); without a label where it is None."""
        told: torch.Tensor = self.time(sinusoids(t, self.frequencies))
        if label is not None:
            told = told + self.label(label)
        if self.has[0]:
            rows = torch.full((len(t), self.has[0]), -1, device=t.device) if factors is None else factors
            for number, table in enumerate(self.factors):
                at = rows[:, number]
                told = told + table(torch.where(at < 0, self.levels[number], at))
        if self.has[1]:
            values = torch.full((len(t), self.has[1]), math.nan, device=t.device) if vector is None else vector
            known = ~values.isnan()
            told = told + self.numbers(torch.cat([values.nan_to_num(0.0), known.float()], 1))
        return told
