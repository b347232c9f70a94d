"""The downstream classifier: a small convolutional network trained from nothing in a fixed number of steps.

Every arm (real, synthetic, trivial) gets the same network, the same number of optimiser steps and the same
augmentation (shifts up to 6 % of the side, +-10 % contrast and brightness), so that a difference between arms is a
difference between training images. No arm sees the test images, and none is stopped early.
"""

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

RATE = 6e-3


class Network(nn.Module):
    """Local contrast beside the image, three halvings, mean and maximum over positions; about 0.06 million parameters.

    The second channel is the image minus its blur: a faint finding is then seen within few steps by every arm alike.
    """

    def __init__(self, classes: int, mean: float, std: float, width: int = 16) -> None:
        super().__init__()
        self.mean, self.std = mean, max(std, 1e-6)
        wide = (width, 2 * width, 4 * width, 4 * width)
        self.convolutions = nn.ModuleList(
            [
                nn.Conv2d(2, wide[0], 5, stride=2, padding=2, bias=False),
                nn.Conv2d(wide[0], wide[1], 3, stride=2, padding=1, bias=False),
                nn.Conv2d(wide[1], wide[2], 3, padding=1, bias=False),
                nn.Conv2d(wide[2], wide[3], 3, padding=1, bias=False),
            ]
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(channels) for channels in wide)
        self.head = nn.Linear(2 * wide[3], classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits (N, classes) of standardised images (N, 1, H, W)."""
        blur = x
        for _ in range(2):
            blur = F.avg_pool2d(F.pad(blur, (4, 4, 4, 4), mode="replicate"), 9, 1)
        h = torch.cat([x, 3 * (x - blur)], 1).contiguous(memory_format=torch.channels_last)
        for k, (convolution, norm) in enumerate(zip(self.convolutions, self.norms, strict=True)):
            out = F.relu(norm(convolution(h)))
            h = h + out if k == 3 else out
        # a small finding lights up one place: the maximum sees it, the mean sees diffuse change
        logits: torch.Tensor = self.head(torch.cat([h.mean((2, 3)), h.amax((2, 3))], 1))
        return logits


def train(images: np.ndarray, labels: np.ndarray, classes: int, steps: int, seed: int, batch: int = 64) -> Network:
    """Train one network.

    Args:
        images: float32 (N, H, W) in [0, 1].
        labels: int (N,), 0 .. classes - 1.
        classes: number of classes.
        steps: optimiser steps.
        seed: of initial weights, order and augmentation.
        batch: images per step.
    """
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    network = Network(classes, float(images.mean()), float(images.std()))
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs do not know it
    optimiser = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=0.05, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=steps, pct_start=0.15)
    x = torch.from_numpy(np.ascontiguousarray((images - network.mean) / network.std, np.float32))
    y = torch.from_numpy(labels.astype(np.int64))
    for _ in range(steps):
        chosen = torch.randint(len(x), (batch,), generator=generator)
        picture = _augmented(x[chosen], generator)
        with torch.autocast("cpu", torch.bfloat16):
            out = network(picture[:, None])
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


def _augmented(x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    reach = max(1, round(0.06 * x.shape[1]))
    padded = F.pad(x[:, None], (reach,) * 4, mode="replicate")[:, 0]
    dy, dx = torch.randint(0, 2 * reach + 1, (2,), generator=generator).tolist()
    moved = padded[:, dy : dy + x.shape[1], dx : dx + x.shape[2]]
    gain = 1 + 0.1 * torch.randn(len(x), 1, 1, generator=generator)
    return moved * gain + 0.1 * torch.randn(len(x), 1, 1, generator=generator)
