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

from collections.abc import Callable
from itertools import pairwise

import torch

Network = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""F(x, t): x (N, C, h, w), t (N,); the same shape as x."""


def loss(network: Network, x0: torch.Tensor, weight: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Mean weighted squared error of F on one batch (the velocity's error times s^2).

    Args:
        network: F(x, t).
        x0: latents (N, C, h, w) of unit variance.
        weight: broadcast to (N, C, h, w); a function of channel and condition only, so the optimum stays the same.
        generator: where t and the noise come from.
    """
    t = torch.sigmoid(torch.randn(len(x0), generator=generator))
    noise = torch.randn(x0.shape, generator=generator)
    return (_residual(network, x0, noise, t).square() * weight).mean()


def denoising_error(
    network: Network, x0: torch.Tensor, noise: torch.Tensor, t: torch.Tensor, weight: torch.Tensor
) -> torch.Tensor:
    """The loss of each image at a given time and noise, its mean over the latents: (N,).

    Args:
        network: F(x, t).
        x0: latents (N, C, h, w).
        noise: broadcast to x0.
        t: (N,), above 0.
        weight: broadcast to (N, C, h, w).
    """
    return (_residual(network, x0, noise.expand_as(x0), t).square() * weight).mean((1, 2, 3))


def predicted_noise(network: Network, x0: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    """Mean square of the noise the network sees in (1 - t) x0, where there is none: (N,)."""
    at = t[:, None, None, None]
    z = (1 - at) * x0
    return (z + (1 - at) * velocity(network, z, t)).square().mean((1, 2, 3))


def _residual(network: Network, x0: torch.Tensor, noise: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    """F minus what it should be, at x_t."""
    at = t[:, None, None, None]
    x = (1 - at) * x0 + at * noise
    s = _spread(at)
    target = s * (noise - x0) - (2 * at - 1) / s * x
    return network(x / s, t).float() - target


def velocity(network: Network, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    """v(x, t) of the preconditioned network; t (N,)."""
    at = t[:, None, None, None]
    s = _spread(at)
    return (2 * at - 1) / s**2 * x + network(x / s, t).float() / s


def _spread(t: torch.Tensor) -> torch.Tensor:
    return ((1 - t) ** 2 + t**2).sqrt()


def heun(network: Network, noise: torch.Tensor, steps: int, start: float = 1.0) -> torch.Tensor:
    """Solve dx/dt = v from t = 1 (noise, (N, C, h, w)) to t = 0 in `steps` steps; 2 * steps - 1 evaluations.

    With `start` below 1 the way begins there, and `noise` is x at that time.
    """
    x = noise
    times = torch.linspace(start, 0, steps + 1)
    for now, then in pairwise(times):
        v = velocity(network, x, now.expand(len(x)))
        ahead = x + (then - now) * v
        if then > 0:
            v = (v + velocity(network, ahead, then.expand(len(x)))) / 2
            ahead = x + (then - now) * v
        x = ahead
    return x


def averaged(average: list[torch.Tensor], current: list[torch.Tensor], step: int, gamma: float) -> None:
    """Update the power-function average in place: the weight of step s in it is proportional to s^gamma."""
    beta = (1 - 1 / (step + 1)) ** (gamma + 1)
    torch._foreach_lerp_(average, current, 1 - beta)
