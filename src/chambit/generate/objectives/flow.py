"""Rectified flow: learn the straight-line velocity from data to noise, sample by solving the reverse equation.

    x_t = (1 - t) x_0 + t e,   e ~ N(0, 1),   loss = E || v(x_t, t, c) - (e - x_0) ||^2
    sample: dx/dt = v, from t = 1 to 0, with Heun's second-order steps

The network F is preconditioned for data of unit variance: with s^2 = (1 - t)^2 + t^2,

    v(x, t) = (2t - 1) / s^2 * x + F(x / s, t) / s

is the best linear prediction plus a residual of unit variance for F. Without it a narrow network must carry the noise
of every latent through its waist, and its samples keep that noise (derivation as in Karras et al. 2022, section 5).

Liu, Gong and Liu 2022 (arXiv:2209.03003); Lipman et al. 2022 (arXiv:2210.02747); logit-normal t from Esser et al. 2024
(arXiv:2403.03206); classifier-free guidance from Ho and Salimans 2022 (arXiv:2207.12598); power-function averaging of
the weights from Karras et al. 2023 (arXiv:2312.02696). Written from the papers.

What a trained network says of one image x_0, for membership inference (smaller: better known):

    denoising error   E_e || F(x_t / s, t) - target ||^2, the loss of one image at fixed t (Carlini et al. 2023,
                      arXiv:2301.13188; SecMI, arXiv:2302.01316, and PIA, arXiv:2305.18355, are estimates of it that
                      choose e by the network; here all images share e and -e)
    predicted noise   || e(z, t) ||^2 with e(x_t, t) = x_t + (1 - t) v(x_t, t), at z = (1 - t) x_0, the middle of all
                      x_t: the score's norm, as the score is -e / t (SimA: Rao, Qu and Moyer 2025, arXiv:2509.25003)
"""

from dataclasses import dataclass
from itertools import pairwise

import torch

from chambit.generate.objectives.objective import Draws, Fresh, Network, Seen, at, flat_mean


def loss(network: Network, x0: torch.Tensor, weight: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Mean weighted squared error of F on one batch (the velocity's error times s^2).

    Args:
        network: F(x, t).
        x0: latents (N, ..., C, h, w) of unit variance.
        weight: broadcast to x0; a function of channel and condition only, so the optimum stays the same.
        generator: where t and the noise come from.
    """
    objective = Flow()
    return objective.error(network, x0, objective.draw(x0.shape, generator), weight).mean()


def denoising_error(
    network: Network, x0: torch.Tensor, noise: torch.Tensor, t: torch.Tensor, weight: torch.Tensor
) -> torch.Tensor:
    """The loss of each image at a given time and noise, its mean over the latents: (N,).

    Args:
        network: F(x, t).
        x0: latents (N, ..., C, h, w).
        noise: broadcast to x0.
        t: (N,), above 0.
        weight: broadcast to x0.
    """
    return flat_mean(_residual(network, x0, noise.expand_as(x0), t).square() * weight)


def predicted_noise(network: Network, x0: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    """Mean square of the noise the network sees in (1 - t) x0, where there is none: (N,)."""
    share = at(t, x0)
    z = (1 - share) * x0
    return flat_mean((z + (1 - share) * velocity(network, z, t)).square())


def _residual(network: Network, x0: torch.Tensor, noise: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    """F minus what it should be, at x_t."""
    share = at(t, x0)
    x = (1 - share) * x0 + share * noise
    s = _spread(share)
    target = s * (noise - x0) - (2 * share - 1) / s * x
    return network(x / s, t).float() - target


def velocity(network: Network, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    """v(x, t) of the preconditioned network; t (N,)."""
    share = at(t, x)
    s = _spread(share)
    return (2 * share - 1) / s**2 * x + network(x / s, t).float() / s


def _spread(t: torch.Tensor) -> torch.Tensor:
    return ((1 - t) ** 2 + t**2).sqrt()


def heun(
    network: Network, noise: torch.Tensor, steps: int, start: float = 1.0, seen: Seen | None = None
) -> torch.Tensor:
    """Solve dx/dt = v from t = 1 (noise, (N, ..., C, h, w)) to t = 0 in `steps` steps; 2 * steps - 1 evaluations.

    With `start` below 1 the way begins there, and `noise` is x at that time. `seen` is told x - t v at every step.
    """
    x = noise
    times = torch.linspace(start, 0, steps + 1)
    for now, then in pairwise(times.to(x.device)):
        v = velocity(network, x, now.expand(len(x)))
        if seen is not None:
            seen(x - now * v)
        ahead = x + (then - now) * v
        if then > 0:
            v = (v + velocity(network, ahead, then.expand(len(x)))) / 2
            ahead = x + (then - now) * v
        x = ahead
    return x


@dataclass(frozen=True)
class Flow:
    """The objective (`chambit.generate.objectives.objective`); its level of noise is the time t."""

    def draw(self, shape: torch.Size, generator: torch.Generator) -> Draws:
        """Logit-normal times, then the noise."""
        t = torch.sigmoid(torch.randn(shape[0], generator=generator))
        return Draws(t, torch.randn(shape, generator=generator))

    def error(self, network: Network, x0: torch.Tensor, draws: Draws, weight: torch.Tensor) -> torch.Tensor:
        """The weighted squared error of F."""
        return _residual(network, x0, draws.noise, draws.level).square() * weight

    def level(self, strength: float) -> float:
        """The strength itself."""
        return strength

    def predicted_noise(self, network: Network, x0: torch.Tensor, strength: float) -> torch.Tensor:
        """As the function of this name."""
        return predicted_noise(network, x0, torch.full((len(x0),), strength, device=x0.device))

    def noisy(self, x0: torch.Tensor, noise: torch.Tensor, strength: float) -> torch.Tensor:
        """(1 - t) x_0 + t e."""
        return (1 - strength) * x0 + strength * noise

    def solve(
        self,
        network: Network,
        x: torch.Tensor,
        steps: int,
        strength: float = 1.0,
        fresh: Fresh | None = None,
        seen: Seen | None = None,
    ) -> torch.Tensor:
        """Heun's method; nothing fresh is needed."""
        return heun(network, x, steps, strength, seen)

    def calls(self, steps: int) -> int:
        """Two a step, one at the last."""
        return 2 * steps - 1


def averaged(average: list[torch.Tensor], current: list[torch.Tensor], step: int, gamma: float) -> None:
    """Update the power-function average in place: the weight of step s in it is proportional to s^gamma."""
    beta = (1 - 1 / (step + 1)) ** (gamma + 1)
    torch._foreach_lerp_(average, current, 1 - beta)
