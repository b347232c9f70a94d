"""An encoder taught on the site's own auxiliary images and nothing else: 128 features, no weights from elsewhere.

Contrastive learning (SimCLR, Chen et al. 2020, arXiv:2002.05709): two random views of an image shall be nearer to each
other than to the views of the other images in the batch. With unit vectors z of 2 n views and temperature t, the loss
of a view i whose other view is j is

    -log( exp(z_i z_j / t) / sum over k != i of exp(z_i z_k / t) ).

Views differ by shift, a small turn and zoom, contrast, brightness, noise and one erased rectangle; they are never
mirrored, because in a mirrored patient heart and liver lie on the wrong side. The network is a small convolutional one
of 0.22 million parameters. The features are its penultimate layer, the first of the two that project (Chen et al. 2020,
arXiv:2006.10029); the last one, which the loss sees, is not kept. Tried on 396 radiographs of phantoms: of 269 unseen
images the one that a view was made of is nearest to the view, by the angle, for 1 % of the views after one step and
for 29 % after the training, with either of two seeds.

Images longer than 64 pixels are reduced to 64 by area. The auxiliary images must be of no patient whom the measures
compare, else the encoder knows one side better. Known failure: it only tells apart what is common in the site's own
images; a fault that no two of them differ by may leave no trace in its features.
"""

import math
from collections.abc import Mapping
from functools import cache

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from chambit.core.errors import InputError, Problem
from chambit.measure.networks import inputs
from chambit.measure.weights import Weights, fit, tensors

version = "1"
SOURCE = "trained"
PREPROCESSING = (
    "reduced by area to 64 pixels on the longer side (smaller images as they are); one channel; "
    "mean and standard deviation of the auxiliary images"
)
FEWEST = 50  # images; with fewer, a batch would be made of the same images again and again
SIDE = 64
STEPS = 200  # 25 to 30 s on one slow core at 64 x 64 pixels, whatever the number of images
BATCH = 64
TEMPERATURE = 0.2
RATE = 2e-3
WIDTHS = (32, 64, 96, 128)
FEATURES = 128
_SHIFT, _TURN, _ZOOM = 0.08, 0.14, 0.12  # part of the side, radians, part of the size
_GAIN, _NOISE, _ERASED = 0.25, 0.1, 0.3  # standard deviations of the images, part of the side


class Encoder(nn.Module):
    """Images (N, 1, H, W) to features (N, 128): four halvings, mean and maximum over positions, a layer."""

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(1))
        self.register_buffer("std", torch.ones(1))
        into = (1, *WIDTHS)
        self.convolutions = nn.ModuleList(
            nn.Conv2d(into[k], into[k + 1], 3 if k else 5, 2, 1 if k else 2, bias=False) for k in range(len(WIDTHS))
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for width in WIDTHS)
        self.centre = nn.BatchNorm1d(2 * WIDTHS[-1])  # without it half of the features are zero for every image
        self.hidden = nn.Linear(2 * WIDTHS[-1], FEATURES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            x = F.relu(norm(convolution(x)))
        return F.relu(self.hidden(self.centre(torch.cat([x.mean((2, 3)), x.amax((2, 3))], 1))))


def train(images: np.ndarray, seed: int, steps: int = STEPS) -> dict[str, np.ndarray]:
    """Teach the encoder; the same in one thread for the same images, seed and steps.

    Args:
        images: float32 (N, H, W) in [0, 1], the auxiliary images, at least 50 and of at least 16 pixels a side.
        seed: of the first weights, the order and the views.
        steps: optimiser steps of 64 images in two views.

    Returns:
        The encoder's tensors by name, for one safetensors file.

    Raises:
        InputError: too few images.
        ValueError: not (N, H, W).
    """
    if images.ndim != 3:
        raise ValueError(f"images must be (N, H, W), not {images.shape}")
    if len(images) < FEWEST:
        what = f"there are {len(images)}, and an encoder of your own needs {FEWEST}"
        problem = Problem("auxiliary images", what, "give more of them, or name another extractor")
        raise InputError("The encoder cannot be trained.", [problem])
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):  # first weights come from torch's global state: leave it as it was
        torch.manual_seed(seed)
        encoder, projection = Encoder(), nn.Linear(FEATURES, 64)
    x = reduced(torch.from_numpy(np.ascontiguousarray(images, np.float32))[:, None])
    encoder.mean.copy_(x.mean())
    encoder.std.copy_(x.std().clamp_min(1e-6))
    x = (x - encoder.mean) / encoder.std
    encoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs do not know it
    parameters = [*encoder.parameters(), *projection.parameters()]
    optimiser = torch.optim.AdamW(parameters, lr=RATE, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=steps, pct_start=0.15)
    for _ in range(steps):
        chosen = x[torch.randperm(len(x), generator=generator)[:BATCH]]
        views = torch.cat([view(chosen, generator), view(chosen, generator)])
        with torch.autocast("cpu", torch.bfloat16):  # 40 % less time where the processor has it
            out = projection(encoder(views.contiguous(memory_format=torch.channels_last)))
        loss = contrast(out.float(), TEMPERATURE)
        optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        optimiser.step()
        schedule.step()
    return {name: tensor.detach().contiguous().numpy().copy() for name, tensor in encoder.state_dict().items()}


def features(images: np.ndarray, weights: Weights) -> np.ndarray:
    """Feature vectors float64 (N, 128) of images float32 (N, H, W) in [0, 1], H and W at least 16."""
    encoder = _network(weights)
    return inputs.features(encoder, images, lambda x: (reduced(x) - encoder.mean) / encoder.std)


def contrast(out: torch.Tensor, temperature: float) -> torch.Tensor:
    """The loss above (NT-Xent), mean over all views.

    Args:
        out: float32 (2 n, d); rows i and n + i are two views of one image.
        temperature: t.
    """
    z = F.normalize(out, dim=1)
    alike = (z @ z.T / temperature).fill_diagonal_(-math.inf)
    n = len(z) // 2
    return F.cross_entropy(alike, torch.arange(2 * n).roll(n))


def view(x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """A random view of each standardised image, float32 (N, 1, H, W), each drawn for itself."""
    n, _, height, width = x.shape

    def uniform(*shape: int) -> torch.Tensor:
        return 2 * torch.rand(shape, generator=generator) - 1

    turn, zoom = _TURN * uniform(n), 1 + _ZOOM * uniform(n)
    shift = 2 * _SHIFT * uniform(n, 2)  # the grid's coordinates run from -1 to 1
    cos, sin = zoom * turn.cos(), zoom * turn.sin()
    # in coordinates from -1 to 1 a turn of an oblong image would shear it
    rows = [cos, -sin * height / width, shift[:, 0], sin * width / height, cos, shift[:, 1]]
    grid = F.affine_grid(torch.stack(rows, 1).view(n, 2, 3), list(x.shape), align_corners=False)
    x = F.grid_sample(x, grid, padding_mode="border", align_corners=False)
    gain, offset = 1 + _GAIN * uniform(n, 1, 1, 1), _GAIN * uniform(n, 1, 1, 1)
    x = x * gain + offset + _NOISE * torch.randn(x.shape, generator=generator)
    middle, half = uniform(n, 2, 1, 1), _ERASED * torch.rand((n, 2, 1, 1), generator=generator)
    down = torch.linspace(-1, 1, height).view(1, height, 1)
    across = torch.linspace(-1, 1, width).view(1, 1, width)
    erased = ((down - middle[:, 0]).abs() < half[:, 0]) & ((across - middle[:, 1]).abs() < half[:, 1])
    return x.masked_fill(erased[:, None], 0.0)  # the mean grey


def reduced(x: torch.Tensor) -> torch.Tensor:
    """Images (N, 1, H, W) with their longer side at 64 pixels by area, smaller ones as they are."""
    height, width = x.shape[2:]
    longer = max(height, width)
    if longer <= SIDE:
        return x
    return F.interpolate(x, (round(SIDE * height / longer), round(SIDE * width / longer)), mode="area")


@cache
def _network(weights: Weights) -> Encoder:
    found: Mapping[str, torch.Tensor] = tensors(weights)
    with torch.device("meta"):
        network = Encoder()
    return fit(network, found, weights, "own encoder")
