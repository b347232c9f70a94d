"""A small UNet for latents: residual blocks with adaptive group norm, self-attention at the bottom.

After Ho, Jain and Abbeel 2020 (arXiv:2006.11239) and Dhariwal and Nichol 2021 (arXiv:2105.05233), sized for two CPU
cores: few, wide, low-resolution layers, because below full occupancy of the matrix units the norms and activations
cost more than the convolutions. Only standard modules, so per-sample gradients (differential privacy) stay possible.
"""

import math

import torch
from torch import nn
from torch.nn import functional as F


def _zero(layer: nn.Conv2d) -> None:
    """Have a layer begin as 0 whatever it is given."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)


class Residual(nn.Module):
    """Norm, scale and shift by the condition, two 3 x 3 convolutions, skip."""

    def __init__(self, channels: int, out: int, embedding: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(8, channels)
        self.conv1 = nn.Conv2d(channels, out, 3, padding=1)
        self.affine = nn.Linear(embedding, 2 * out)
        self.norm2 = nn.GroupNorm(8, out)
        self.conv2 = nn.Conv2d(out, out, 3, padding=1)
        self.skip = nn.Conv2d(channels, out, 1) if channels != out else nn.Identity()
        _zero(self.conv2)

    def forward(self, x: torch.Tensor, embedding: torch.Tensor) -> torch.Tensor:
        h = self.conv1(F.silu(self.norm1(x)))
        scale, shift = self.affine(embedding)[:, :, None, None].chunk(2, 1)
        h = self.conv2(F.silu(self.norm2(h) * (1 + scale) + shift))
        out: torch.Tensor = self.skip(x) + h
        return out


class Attention(nn.Module):
    """Four-head self-attention over all positions."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(8, channels)
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.out = nn.Conv2d(channels, channels, 1)
        _zero(self.out)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n, c, h, w = x.shape
        q, k, v = self.qkv(self.norm(x)).reshape(n, 3, 4, c // 4, h * w).transpose(-1, -2).unbind(1)
        y = F.scaled_dot_product_attention(q, k, v)
        out: torch.Tensor = x + self.out(y.transpose(-1, -2).reshape(n, c, h, w))
        return out


class UNet(nn.Module):
    """F(x, t, class, map) for latents (N, C, h, w).

    Args:
        channels: C of the latents.
        classes: number of classes; index `classes` means "no class given".
        maps: channels of the spatial condition on the latents' grid, 0 for none.
        width: channels at the grid's resolution; twice that at half of it. A multiple of 8.
        depth: residual blocks per level.
    """

    def __init__(self, channels: int, classes: int, maps: int, width: int, depth: int) -> None:
        super().__init__()
        e = 2 * width
        self.classes = classes
        self.time = nn.Sequential(nn.Linear(64, e), nn.SiLU(), nn.Linear(e, e))
        self.label = nn.Embedding(classes + 1, e)
        self.enter = nn.Conv2d(channels + maps, width, 3, padding=1)
        self.high = nn.ModuleList(Residual(width, width, e) for _ in range(depth))
        self.down = nn.Conv2d(width, 2 * width, 3, stride=2, padding=1)
        self.low = nn.ModuleList(Residual(2 * width, 2 * width, e) for _ in range(depth))
        self.mix = Attention(2 * width)
        self.last = Residual(2 * width, 2 * width, e)
        self.up = nn.Conv2d(2 * width, width, 3, padding=1)
        self.join = nn.ModuleList(Residual(2 * width, width, e) for _ in range(depth))
        self.norm = nn.GroupNorm(8, width)
        # the map is given again at the end: a short path learns within few steps what it does to the image
        self.exit = nn.Conv2d(width + maps, channels, 3, padding=1)
        _zero(self.exit)
        frequencies = torch.exp(-math.log(1000.0) * torch.arange(32) / 31) * 1000.0
        self.register_buffer("frequencies", frequencies, persistent=False)

    def forward(self, x: torch.Tensor, t: torch.Tensor, label: torch.Tensor, maps: torch.Tensor | None) -> torch.Tensor:
        """F, same shape as x; t in [0, 1] (N,), label int64 (N,), maps (N, maps, h, w) or None."""
        angles = t[:, None].float() * self.frequencies  # type: ignore[operator]
        embedding = F.silu(self.time(torch.cat([angles.cos(), angles.sin()], 1)) + self.label(label))
        h = self.enter(x if maps is None else torch.cat([x, maps], 1))
        skips = []
        for block in self.high:
            h = block(h, embedding)
            skips.append(h)
        size = h.shape[-2:]
        h = self.down(h)
        for block in self.low:
            h = block(h, embedding)
        h = self.last(self.mix(h), embedding)
        h = self.up(F.interpolate(h, size=size, mode="nearest"))
        for block in self.join:
            h = block(torch.cat([h, skips.pop()], 1), embedding)
        h = F.silu(self.norm(h))
        out: torch.Tensor = self.exit(h if maps is None else torch.cat([h, maps], 1))
        return out
