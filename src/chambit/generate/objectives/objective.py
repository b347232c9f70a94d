"""What a network of diffusion type learns and how it is sampled; each objective is one module with one class.

All of them mix an item x_0 with noise e and learn to take them apart again. What they share is a common scale of
noise, the strength t in [0, 1], at which the noise is t / (1 - t) times as large as the item (of unit variance):

    x_t ~ (1 - t) x_0 + t e       up to a factor that is the objective's own

so that a near-duplicate "30 % of the way to noise", or a question about how well an image is known at t = 0.4, mean
the same of every objective.

    flow   rectified flow (default)                                        `chambit.generate.objectives.flow`
    edm    denoising with the preconditioning of Karras et al. 2022        `chambit.generate.objectives.edm`
    ddpm   denoising diffusion with a discrete schedule, noise or velocity `chambit.generate.objectives.ddpm`
"""

from collections.abc import Callable
from typing import NamedTuple, Protocol

import torch

Network = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""F(x, level): x (N, ..., C, h, w), level (N,); the same shape as x."""
Fresh = Callable[[], torch.Tensor]
"""New noise of the shape of the items, each row from its item's own stream."""
Seen = Callable[[torch.Tensor], None]
"""Told the network's present idea of x_0 at every step of a solver."""


class Draws(NamedTuple):
    """What is drawn for a batch: the objective's own level of noise of each item (N,), and the noise itself."""

    level: torch.Tensor
    noise: torch.Tensor

    def at(self, rows: slice) -> "Draws":
        """Those of some items."""
        return Draws(self.level[rows], self.noise[rows])

    def to(self, device: torch.device) -> "Draws":
        """The same on a device."""
        return Draws(self.level.to(device), self.noise.to(device))


class Objective(Protocol):
    """What all objectives have."""

    def draw(self, shape: torch.Size, generator: torch.Generator) -> Draws:
        """Levels and noise for items of this shape, as training sees them."""

    def error(self, network: Network, x0: torch.Tensor, draws: Draws, weight: torch.Tensor) -> torch.Tensor:
        """Weighted squared error of every number, of the shape of x0; its mean is the loss."""

    def level(self, strength: float) -> float:
        """The objective's own level of noise at a strength in (0, 1)."""

    def predicted_noise(self, network: Network, x0: torch.Tensor, strength: float) -> torch.Tensor:
        """Mean square of the noise the network sees in items that have none, (N,); smaller where it knows them."""

    def noisy(self, x0: torch.Tensor, noise: torch.Tensor, strength: float) -> torch.Tensor:
        """Items taken this far to noise; at strength 1 nothing of them is left."""

    def solve(
        self,
        network: Network,
        x: torch.Tensor,
        steps: int,
        strength: float = 1.0,
        fresh: Fresh | None = None,
        seen: Seen | None = None,
    ) -> torch.Tensor:
        """From x at a strength back to items.

        Args:
            network: F.
            x: as `noisy` gives it.
            steps: of the solver.
            strength: where x is.
            fresh: needed by samplers that add noise on the way.
            seen: told of every step.
        """

    def calls(self, steps: int) -> int:
        """How often `solve` asks the network from strength 1."""


def at(level: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Levels (N,) with as many axes as x has, so that they multiply it."""
    return level.reshape(-1, *(1,) * (x.ndim - 1))


def flat_mean(x: torch.Tensor) -> torch.Tensor:
    """Mean over all axes but the first."""
    return x.mean(tuple(range(1, x.ndim)))
