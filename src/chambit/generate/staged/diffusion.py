"""Denoising diffusion in continuous time, with networks that answer x_0 or v, and the deterministic DDIM sampler.

    x_t = a(t) x_0 + s(t) e,  e ~ N(0, 1),  a^2 + s^2 = 1,  v = a e - s x_0,  x_0 = a x_t - s v,  e = (x_t - a x_0) / s
    loss = E min(1 / s^2, CAP) || x_0(x_t, t, c) - x_0 ||^2
    DDIM: x_u = a(u) x_0 + s(u) e for the next, smaller time u

Ho, Jain and Abbeel 2020 (arXiv:2006.11239). Without the cap the loss is that of v (Salimans and Ho 2022,
arXiv:2202.00512), with it steps that are nearly done cannot outvote those that decide where things are (min-SNR-5: Hang
et al. 2023, arXiv:2303.09556). A small network that answers x_0 need not carry the noise of every pixel to its end (Li
and He 2025, arXiv:2511.13720). Cosine: Nichol and Dhariwal 2021 (arXiv:2102.09672); linear: the limit of Ho's 1000
steps in Song et al. 2021 (arXiv:2011.13456, appendix C); DDIM: Song, Meng and Ermon 2021 (arXiv:2010.02502); guidance:
Ho and Salimans 2022 (arXiv:2207.12598); times spread over the batch: Kingma et al. 2021 (arXiv:2107.00630, appendix
I.1).
"""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch

CAP = 6.0  # of the loss's weight: a signal-to-noise ratio of 5, and one for v

Answer = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""A network with its conditions filled in: x (N, C, H, W), t (N,) in [0, 1]; the same shape as x."""


def amounts(t: torch.Tensor, schedule: str) -> tuple[torch.Tensor, torch.Tensor]:
    """How much image and how much noise there is at time t (any shape): a and s with a^2 + s^2 = 1.

    Args:
        t: 0 is the image, 1 is noise.
        schedule: `cosine` or `linear` (in the variance of a step).
    """
    if schedule == "cosine":
        return torch.cos(t * (math.pi / 2)), torch.sin(t * (math.pi / 2))
    log_a = -0.25 * t**2 * (20.0 - 0.1) - 0.5 * t * 0.1
    return log_a.exp(), (-torch.expm1(2 * log_a)).clamp(min=0).sqrt()


def clean(answer: Answer, schedule: str, predict: str) -> Answer:
    """x_0 as a network that answers `predict` has it: `x0` itself, or worked out from `v`."""
    if predict == "x0":
        return lambda x, t: answer(x, t).float()

    def of_velocity(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        a, s = (part[:, None, None, None] for part in amounts(t, schedule))
        return a * x - s * answer(x, t).float()

    return of_velocity


def loss(
    image: Answer, x0: torch.Tensor, generator: torch.Generator, schedule: str, weight: torch.Tensor | float = 1.0
) -> torch.Tensor:
    """Weighted mean squared error of x_0 on one batch.

    Args:
        image: what `clean` makes of the network.
        x0: items of about unit variance (N, C, H, W).
        generator: of the CPU; where times and noise come from.
        schedule: see `amounts`.
        weight: broadcast to x0; a function of the condition only, so the optimum stays the same.
    """
    n = len(x0)
    t = ((torch.arange(n) + torch.rand(1, generator=generator)) / n).to(x0.device)
    noise = torch.randn(x0.shape, generator=generator).to(x0.device)
    a, s = (part[:, None, None, None] for part in amounts(t, schedule))
    error = (image(a * x0 + s * noise, t) - x0).square()
    return (error * (s**-2).clamp(max=CAP) * weight).mean()


def ddim(
    image: Answer,
    noise: torch.Tensor,
    steps: int,
    schedule: str,
    bounds: tuple[torch.Tensor, torch.Tensor] | None = None,
    looks: Sequence[int] = (),
) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Go from noise to x_0 in `steps` evaluations.

    Args:
        image: what `clean` makes of the network.
        noise: (N, C, H, W).
        steps: at least 1.
        schedule: see `amounts`.
        bounds: least and largest value x_0 can have, broadcast to noise; the prediction is held within them, because
            errors of early steps would grow otherwise.
        looks: after how many steps to keep x (0 is the noise).

    Returns:
        x_0, and x at each look.
    """
    x, kept = noise, {0: noise}
    times = torch.linspace(1, 0, steps + 1, device=noise.device)
    for done, (now, then) in enumerate(pairwise(times), start=1):
        x0 = image(x, now.expand(len(x)))
        if bounds is not None:
            x0 = torch.minimum(torch.maximum(x0, bounds[0]), bounds[1])
        a, s = amounts(now, schedule)
        e = (x - a * x0) / s
        a, s = amounts(then, schedule)
        x = a * x0 + s * e
        if done in looks:
            kept[done] = x
    return x, [kept[look] for look in looks]


def looks_along(steps: int, looks: int) -> list[int]:
    """After how many of `steps` steps to look, to see the way in `looks` pictures: first noise, last the image.

    >>> looks_along(20, 3)
    [0, 10, 20]
    """
    return [round(k * steps / max(1, looks - 1)) for k in range(looks)] if looks > 1 else [steps] * looks
