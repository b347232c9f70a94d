"""Denoising diffusion with a discrete schedule: the network predicts the noise, or the velocity, at 1000 times.

    x_k = a_k x_0 + b_k e,   a_k^2 = prod_{i <= k} (1 - beta_i),   b_k^2 = 1 - a_k^2
    eps: F = e        v: F = a_k e - b_k x_0        loss = E || F - target ||^2,   k uniform

Ho, Jain and Abbeel 2020 (arXiv:2006.11239; linear schedule, ancestral sampler); cosine schedule and sampling at fewer
times from Nichol and Dhariwal 2021 (arXiv:2102.09672); velocity from Salimans and Ho 2022 (arXiv:2202.00512);
deterministic sampler (DDIM) from Song, Meng and Ermon 2021 (arXiv:2010.02502).

Known failure: with few training steps the prediction of the noise is far worse than the other objectives, because at
high noise an error of F is multiplied by b_k / a_k in x_0. What x_0 is thought to be is cut at `BOUND` for that reason.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Literal

import torch

from chambit.generate.objectives.objective import Draws, Fresh, Network, Seen, at, flat_mean

TIMES = 1000
BOUND = 8.0  # standard deviations of a latent; detail coefficients have long tails


@dataclass(frozen=True)
class Ddpm:
    """The objective; see the module."""

    predicts: Literal["eps", "v"] = "v"
    schedule: Literal["linear", "cosine"] = "cosine"
    sampler: Literal["ddim", "ancestral"] = "ddim"

    @cached_property
    def signal(self) -> torch.Tensor:
        """a_k, float64 (1000,), falling."""
        if self.schedule == "linear":
            return (1 - torch.linspace(1e-4, 0.02, TIMES, dtype=torch.float64)).cumprod(0).sqrt()
        k = torch.arange(TIMES + 1, dtype=torch.float64) / TIMES
        f = torch.cos((k + 0.008) / 1.008 * math.pi / 2).square()
        beta = (1 - f[1:] / f[:-1]).clamp_max(0.999)
        return (1 - beta).cumprod(0).sqrt()

    def draw(self, shape: torch.Size, generator: torch.Generator) -> Draws:
        """Uniform times, then the noise."""
        level = torch.randint(TIMES, (shape[0],), generator=generator)
        return Draws(level, torch.randn(shape, generator=generator))

    def error(self, network: Network, x0: torch.Tensor, draws: Draws, weight: torch.Tensor) -> torch.Tensor:
        """The weighted squared error of the noise or of the velocity."""
        level = draws.level.long()
        a, b = self._mix(level, x0)
        target = draws.noise if self.predicts == "eps" else a * draws.noise - b * x0
        return (network(a * x0 + b * draws.noise, level / TIMES).float() - target).square() * weight

    def level(self, strength: float) -> float:
        """The time whose b / a is nearest to t / (1 - t), on a logarithmic scale."""
        a = self.signal
        ratio = (1 - a**2).sqrt() / a
        wanted = strength / max(1 - strength, 1e-9)
        return float((ratio.log() - math.log(max(wanted, 1e-9))).abs().argmin())

    def predicted_noise(self, network: Network, x0: torch.Tensor, strength: float) -> torch.Tensor:
        """Mean square of the predicted e at a_k x_0."""
        k = torch.full((len(x0),), int(self.level(strength)), device=x0.device)
        a, b = self._mix(k, x0)
        out = network(a * x0, k / TIMES).float()
        return flat_mean((out if self.predicts == "eps" else a * out + b * a * x0).square())

    def noisy(self, x0: torch.Tensor, noise: torch.Tensor, strength: float) -> torch.Tensor:
        """a_k x_0 + b_k e; at strength 1 the noise alone."""
        if strength >= 1:
            return noise
        a, b = self._mix(torch.tensor([int(self.level(strength))]), x0)
        return a * x0 + b * noise

    def solve(
        self,
        network: Network,
        x: torch.Tensor,
        steps: int,
        strength: float = 1.0,
        fresh: Fresh | None = None,
        seen: Seen | None = None,
    ) -> torch.Tensor:
        """DDIM, or the ancestral sampler at fewer times; one evaluation a step."""
        last = TIMES - 1 if strength >= 1 else int(self.level(strength))
        # -1 is the item itself
        times = torch.linspace(last, -1, min(steps, last + 1) + 1).round().long().tolist()
        for now, then in pairwise(times):
            k = torch.full((len(x),), now, device=x.device)
            a, b = self._mix(k, x)
            out = network(x, k / TIMES).float()
            clean = (x - b * out) / a if self.predicts == "eps" else a * x - b * out
            clean = clean.clamp(-BOUND, BOUND)
            if seen is not None:
                seen(clean)
            if then < 0:
                return clean
            noise = (x - a * clean) / b
            a_then, b_then = self._mix(torch.tensor([then]), x)
            if self.sampler == "ddim":
                x = a_then * clean + b_then * noise
                continue
            if fresh is None:
                raise ValueError("the ancestral sampler needs fresh noise")
            # variance of x at `then` given x_now and x_0 (Ho et al. 2020, equation 7)
            s = b_then / b * (1 - (a / a_then) ** 2).sqrt()
            x = a_then * clean + (b_then**2 - s**2).clamp_min(0).sqrt() * noise + s * fresh()
        return x

    def calls(self, steps: int) -> int:
        """One a step."""
        return min(steps, TIMES)

    def _mix(self, k: torch.Tensor, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """a_k and b_k as float32 that multiply x."""
        a = self.signal[k.cpu()]
        return at(a.float(), x).to(x.device), at((1 - a**2).sqrt().float(), x).to(x.device)
