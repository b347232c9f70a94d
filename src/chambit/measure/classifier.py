"""The downstream classifier: a small network trained from nothing in a fixed number of steps.

Every arm gets the same network (`measure.learners`), the same number of optimiser steps and the same augmentation
(shifts up to 6 % of the side, contrast and brightness with a spread of 10 %), so that a difference between arms is a
difference between training images. No arm sees the test images, and none is stopped early.
"""

from copy import deepcopy

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from chambit.core import extensions
from chambit.measure.learners import convolution

version = "2"
LEARNERS = "chambit.measure.learners"
RATE = 6e-3
Network = convolution.Network


def train(
    images: np.ndarray,
    labels: np.ndarray,
    classes: int,
    steps: int,
    seed: int,
    batch: int = 64,
    *,
    learner: str = "convolution",
    start: Network | None = None,
) -> Network:
    """Train one network.

    Args:
        images: float32 (N, H, W) in [0, 1].
        labels: int (N,), 0 .. classes - 1.
        classes: number of classes.
        steps: optimiser steps.
        seed: of initial weights, order and augmentation.
        batch: images per step.
        learner: which network.
        start: a trained network of this learner to go on from, which is left as it is; the images are then
            standardised as it was taught.
    """
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    module = extensions.load(LEARNERS, learner)
    network: Network
    if start is None:
        network = module.Network(classes, float(images.mean()), float(images.std()))
    else:
        network = deepcopy(start).train()
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs do not know it
    optimiser = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=0.05, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=steps, pct_start=0.15)
    x = _prepared(module, network, images)
    y = torch.from_numpy(labels.astype(np.int64))
    for _ in range(steps):
        chosen = torch.randint(len(x), (batch,), generator=generator)
        picture = _augmented(x[chosen], generator)
        with torch.autocast("cpu", torch.bfloat16):
            out = network(picture)
        loss = F.cross_entropy(out.float(), y[chosen])
        optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        optimiser.step()
        schedule.step()
    return network.eval()


@torch.inference_mode()
def scores(network: Network, images: np.ndarray) -> np.ndarray:
    """Log-probabilities float32 (N, classes) of images float32 (N, H, W)."""
    out = []
    for first in range(0, len(images), 256):
        x = torch.from_numpy(
            np.ascontiguousarray((images[first : first + 256] - network.mean) / network.std, np.float32)
        )
        with torch.autocast("cpu", torch.bfloat16):
            logits = network(x[:, None])
        out.append(F.log_softmax(logits.float(), 1).numpy())
    return np.concatenate(out)


@torch.inference_mode()
def _prepared(module: object, network: nn.Module, images: np.ndarray) -> torch.Tensor:
    """What the network is given, made once: a blur is as dear as a convolution."""
    parts = []
    for first in range(0, len(images), 256):
        x = (images[first : first + 256] - network.mean) / network.std
        parts.append(module.prepare(torch.from_numpy(np.ascontiguousarray(x, np.float32))[:, None]))  # type: ignore[attr-defined]
    return torch.cat(parts).clone()


def _augmented(x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """The batch (N, C, H, W) moved alike, and brighter or darker each: the first channel alone holds brightness."""
    reach = max(1, round(0.06 * x.shape[2]))
    padded = F.pad(x, (reach,) * 4, mode="replicate")
    dy, dx = torch.randint(0, 2 * reach + 1, (2,), generator=generator).tolist()
    moved = padded[:, :, dy : dy + x.shape[2], dx : dx + x.shape[3]]
    changed = moved * (1 + 0.1 * torch.randn(len(x), 1, 1, 1, generator=generator))
    changed[:, 0] += 0.1 * torch.randn(len(x), 1, 1, generator=generator)
    return changed
