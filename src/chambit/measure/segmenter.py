"""The downstream segmenter: a small U-Net trained from nothing in a fixed number of steps.

Ronneberger et al. 2015 (arXiv:1505.04597), in MONAI's form with 0.06 million parameters; soft Dice over the whole batch
plus cross entropy (Milletari et al. 2016, arXiv:1606.04797). Over the batch, since of an image without a finding soft
Dice alone would say nothing. Every arm gets the same network, the same number of optimiser steps and the same
augmentation (shifts up to 6 % of the side, +-10 % contrast and brightness), so that a difference between arms is a
difference between training images. No arm sees the test images, and none is stopped early.
"""

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

RATE = 6e-3
CHANNELS = (8, 24, 48, 48)
STRIDES = (1, 2, 2)
FOLD = 4  # what the strides divide a side by


class Network(nn.Module):
    """A U-Net of three scales; `mean` and `std` are those of its training images."""

    def __init__(self, mean: float, std: float) -> None:
        from monai.networks.nets.unet import UNet

        super().__init__()
        self.mean, self.std = mean, max(std, 1e-6)
        self.unet = UNet(2, 1, 1, CHANNELS, STRIDES, norm="batch", act="relu")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits (N, H, W) of standardised images (N, H, W), of any side."""
        h, w = x.shape[1:]
        x = F.pad(x[:, None], (0, -w % FOLD, 0, -h % FOLD), mode="replicate")
        out: torch.Tensor = self.unet(x.contiguous(memory_format=torch.channels_last))
        return out[:, 0, :h, :w]


def train(images: np.ndarray, masks: np.ndarray, odds: np.ndarray, steps: int, seed: int, batch: int = 32) -> Network:
    """Train one network.

    Args:
        images: float32 (N, H, W) in [0, 1].
        masks: bool (N, H, W).
        odds: float (P, N), how likely each image is drawn in each of P equal phases of the training; only the
            proportions count.
        steps: optimiser steps, of all phases together.
        seed: of initial weights, order and augmentation.
        batch: images per step.
    """
    from monai.losses.dice import DiceCELoss

    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    network = Network(float(images.mean()), float(images.std()))
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs do not know it
    optimiser = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=0.05, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=steps, pct_start=0.15)
    lost = DiceCELoss(sigmoid=True, batch=True)
    x = _standard(network, images)
    y = torch.from_numpy(masks.astype(np.float32))
    chances = torch.from_numpy(np.asarray(odds, np.float64))
    for step in range(steps):
        chosen = torch.multinomial(chances[step * len(chances) // steps], batch, True, generator=generator)
        picture, target = _augmented(x[chosen], y[chosen], generator)
        with torch.autocast("cpu", torch.bfloat16):
            out = network(picture)
        loss = lost(out.float()[:, None], target[:, None])
        optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        optimiser.step()
        schedule.step()
    return network.eval()


@torch.inference_mode()
def probabilities(network: Network, images: np.ndarray) -> np.ndarray:
    """Probability that a pixel belongs to the finding, float32 (N, H, W), of images float32 (N, H, W)."""
    out = []
    for first in range(0, len(images), 256):
        with torch.autocast("cpu", torch.bfloat16):
            logits = network(_standard(network, images[first : first + 256]))
        out.append(torch.sigmoid(logits.float()).numpy())
    return np.concatenate(out)


def _standard(network: Network, images: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray((images - network.mean) / network.std, np.float32))


def _augmented(x: torch.Tensor, y: torch.Tensor, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Images and masks moved alike; contrast and brightness of the images changed."""
    h, w = x.shape[1:]
    reach = max(1, round(0.06 * h))
    padded = F.pad(torch.stack([x, y], 1), (reach,) * 4, mode="replicate")
    dy, dx = torch.randint(0, 2 * reach + 1, (2,), generator=generator).tolist()
    moved, target = padded[:, :, dy : dy + h, dx : dx + w].unbind(1)
    gain = 1 + 0.1 * torch.randn(len(x), 1, 1, generator=generator)
    return moved * gain + 0.1 * torch.randn(len(x), 1, 1, generator=generator), target
