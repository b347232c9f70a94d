"""Rectified flow: learn the straight-line velocity from data to noise, sample by solving the reverse equation.

    x_t = (1 - t) x_0 + t e,   e ~ N(0, 1),   loss = E || v(x_t, t, c) - (e - x_0) ||^2
    sample: dx/dt = v, from t = 1 to 0, with Heun's second-order steps

Liu, Gong and Liu 2022 (arXiv:2209.03003); Lipman et al. 2022 (arXiv:2210.02747); logit-normal t from Esser et al. 2024
(arXiv:2403.03206); classifier-free guidance from Ho and Salimans 2022 (arXiv:2207.12598); power-function averaging of
the weights from Karras et al. 2023 (arXiv:2312.02696). Written from the papers.
"""

from collections.abc import Callable

import torch

Velocity = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def loss(
    velocity: Velocity, x0: torch.Tensor, weight: torch.Tensor, generator: torch.Generator
) -> torch.Tensor:
    """Mean weighted squared error of the velocity on one batch.

    Args:
        velocity: v(x_t, t).
        x0: latents (N, C, h, w).
        weight: per channel (C,).
        generator: where t and the noise come from.
    """
    t = torch.sigmoid(torch.randn(len(x0), generator=generator))
    noise = torch.randn(x0.shape, generator=generator)
    at = t[:, None, None, None]
    error = velocity((1 - at) * x0 + at * noise, t).float() - (noise - x0)
    return (error.square() * weight[:, None, None]).mean()


def heun(velocity: Velocity, noise: torch.Tensor, steps: int) -> torch.Tensor:
    """Solve dx/dt = v from t = 1 (noise, (N, C, h, w)) to t = 0 in `steps` steps; 2 * steps - 1 evaluations."""
    x = noise
    times = torch.linspace(1, 0, steps + 1)
    for now, then in zip(times[:-1], times[1:], strict=True):
        v = velocity(x, now.expand(len(x)))
        ahead = x + (then - now) * v
        if then > 0:
            v = (v + velocity(ahead, then.expand(len(x)))) / 2
            ahead = x + (then - now) * v
        x = ahead
    return x


def averaged(average: list[torch.Tensor], current: list[torch.Tensor], step: int, gamma: float) -> None:
    """Update the power-function average in place: weight of step s in the average at step n is proportional to s^gamma."""
    beta = (1 - 1 / (step + 1)) ** (gamma + 1)
    torch._foreach_lerp_(average, current, 1 - beta)
