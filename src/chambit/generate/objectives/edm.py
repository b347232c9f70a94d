"""EDM: a denoiser D whose input and output have unit variance at every level of noise, sampled by Heun's method.

    D(x; s) = c_skip x + c_out F(c_in x, c_noise)       x = x_0 + s e,   data of variance 1
    c_skip = 1 / (s^2 + 1),  c_out = s / sqrt(s^2 + 1),  c_in = 1 / sqrt(s^2 + 1),  c_noise = ln(s) / 4
    loss = E [(s^2 + 1) / s^2 || D - x_0 ||^2],   ln s ~ N(mean, spread^2)
    sample: dx/ds = (x - D(x; s)) / s from s_max to 0 at s_i = (s_max^(1/r) + i / (n - 1) (s_min^(1/r) - s_max^(1/r)))^r

Karras, Aittala, Aila and Laine 2022 (arXiv:2206.00364), table 1 and algorithm 1, written from the paper. Its numbers
are for data of standard deviation 0.5; latents here have 1, so the mean of ln s is larger by ln 2.
"""

from dataclasses import dataclass
from itertools import pairwise

import torch

from chambit.generate.objectives.objective import Draws, Fresh, Network, Seen, at, flat_mean

LOWEST, HIGHEST, BEND = 0.002, 80.0, 7.0
"""s_min, s_max and r of the solver."""


@dataclass(frozen=True)
class Edm:
    """The objective; `mean` and `spread` are of ln s in training."""

    mean: float = -0.5
    spread: float = 1.2

    def draw(self, shape: torch.Size, generator: torch.Generator) -> Draws:
        """Log-normal levels, then the noise."""
        level = (self.mean + self.spread * torch.randn(shape[0], generator=generator)).exp()
        return Draws(level, torch.randn(shape, generator=generator))

    def error(self, network: Network, x0: torch.Tensor, draws: Draws, weight: torch.Tensor) -> torch.Tensor:
        """The weighted squared error of F, which is the denoiser's times (s^2 + 1) / s^2."""
        s = at(draws.level, x0)
        x = x0 + s * draws.noise
        root = (s**2 + 1).sqrt()
        # c_out F - (x0 - c_skip x), over c_out
        target = (x0 - x / root**2) * root / s
        return (network(x / root, draws.level.log() / 4).float() - target).square() * weight

    def level(self, strength: float) -> float:
        """The ratio s = t / (1 - t), at most the solver's largest."""
        return min(HIGHEST, strength / max(1 - strength, 1e-9))

    def predicted_noise(self, network: Network, x0: torch.Tensor, strength: float) -> torch.Tensor:
        """Mean square of (x - D(x; s)) / s at x = x_0."""
        s = torch.full((len(x0),), self.level(strength), device=x0.device)
        return flat_mean(((x0 - denoised(network, x0, s)) / at(s, x0)).square())

    def noisy(self, x0: torch.Tensor, noise: torch.Tensor, strength: float) -> torch.Tensor:
        """x_0 + s e; at strength 1 s_max e."""
        s = self.level(strength)
        return s * noise if strength >= 1 else x0 + s * noise

    def solve(
        self,
        network: Network,
        x: torch.Tensor,
        steps: int,
        strength: float = 1.0,
        fresh: Fresh | None = None,
        seen: Seen | None = None,
    ) -> torch.Tensor:
        """Heun's method without added noise; 2 * steps - 1 evaluations."""
        for now, then in pairwise(levels(steps, self.level(strength))):
            clean = denoised(network, x, x.new_full((len(x),), now))
            if seen is not None:
                seen(clean)
            slope = (x - clean) / now
            ahead = x + (then - now) * slope
            if then > 0:
                there = (ahead - denoised(network, ahead, x.new_full((len(x),), then))) / then
                ahead = x + (then - now) * (slope + there) / 2
            x = ahead
        return x

    def calls(self, steps: int) -> int:
        """Two a step, one at the last."""
        return 2 * steps - 1


def levels(steps: int, highest: float = HIGHEST) -> list[float]:
    """The solver's levels from the highest down to 0, `steps` + 1 of them.

    >>> [round(level, 3) for level in levels(3)]
    [80.0, 2.515, 0.002, 0.0]
    """
    if steps == 1:
        return [highest, 0.0]
    low, high = LOWEST ** (1 / BEND), highest ** (1 / BEND)
    return [(high + i / (steps - 1) * (low - high)) ** BEND for i in range(steps)] + [0.0]


def denoised(network: Network, x: torch.Tensor, level: torch.Tensor) -> torch.Tensor:
    """D(x; s) of the preconditioned network; s (N,)."""
    s = at(level, x)
    root = (s**2 + 1).sqrt()
    return x / root**2 + s / root * network(x / root, level.log() / 4).float()
