"""A residual perceptron for latents without a grid, such as principal components.

Each block is norm, scale and shift by the condition, two linear layers and a skip, as `chambit.generate.networks.unet`
has them with convolutions; on one position a convolution of 3 x 3 would spend eight ninths of its work on nothing.
"""

import torch
from torch import nn
from torch.nn import functional as F

from chambit.generate.networks.embedding import Embedded
from chambit.generate.networks.unet import zeroed


class Block(nn.Module):
    """Norm, scale and shift by the condition, two linear layers, skip."""

    def __init__(self, size: int, embedding: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(size)
        self.affine = nn.Linear(embedding, 2 * size)
        self.first = nn.Linear(size, 2 * size)
        self.second = nn.Linear(2 * size, size)
        zeroed(self.second)

    def forward(self, x: torch.Tensor, embedding: torch.Tensor) -> torch.Tensor:
        scale, shift = self.affine(embedding).chunk(2, 1)
        out: torch.Tensor = x + self.second(F.silu(self.first(self.norm(x) * (1 + scale) + shift)))
        return out


class Perceptron(Embedded):
    """F(x, t, conditions) for latents (N, C, 1, 1).

    Args:
        channels: C of the latents.
        classes: number of classes; index `classes` means "no class given".
        maps: channels of the spatial condition, 0 for none.
        width: of the UNet it stands for; blocks have four times as many values.
        depth: half the number of blocks.
        factors: number of levels of each factor.
        numbers: length of the vector.
    """

    def __init__(
        self,
        channels: int,
        classes: int,
        maps: int,
        width: int,
        depth: int,
        *,
        factors: tuple[int, ...] = (),
        numbers: int = 0,
    ) -> None:
        super().__init__(classes, 2 * width, factors, numbers)
        self.enter = nn.Linear(channels + maps, 4 * width)
        self.blocks = nn.ModuleList(Block(4 * width, 2 * width) for _ in range(2 * depth))
        self.norm = nn.LayerNorm(4 * width)
        self.exit = nn.Linear(4 * width, channels)
        zeroed(self.exit)

    def forward(
        self,
        x: torch.Tensor,
        t: torch.Tensor,
        label: torch.Tensor,
        maps: torch.Tensor | None = None,
        factors: torch.Tensor | None = None,
        vector: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """F, same shape as x; arguments as of `chambit.generate.networks.unet.UNet`."""
        embedding = F.silu(self.embedding(t, label, factors, vector))
        h = self.enter((x if maps is None else torch.cat([x, maps], 1)).flatten(1))
        for block in self.blocks:
            h = block(h, embedding)
        out: torch.Tensor = self.exit(self.norm(h))
        return out[:, :, None, None]
