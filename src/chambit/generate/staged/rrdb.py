"""The ESRGAN generator: residual-in-residual dense blocks without batch norm, then enlargement by steps of two.

Wang et al. 2018 (arXiv:1809.00219, sections 3.1 and 4.1): each dense block has five convolutions that see all before
them, its output is scaled by 0.2 before it is added, three of them make a block. Fewer and narrower blocks than the
paper's 23, for two CPU cores; and the network adds to the bicubic enlargement instead of making the whole picture, so
an untrained one is bicubic. `enlarged` works tile by tile, so memory does not grow with the picture.
"""

import math
from itertools import pairwise

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

SCALING = 0.2
TILE, OVERLAP = 128, 16
EVEN = 16  # sides of tiles are multiples of this: a picture smaller than a tile is one tile
ROUNDS = 3  # of back-projection


class Dense(nn.Module):
    """Five convolutions, each seeing the input and all before it."""

    def __init__(self, width: int, growth: int) -> None:
        super().__init__()
        layers = [nn.Conv2d(width + k * growth, growth if k < 4 else width, 3, padding=1) for k in range(5)]
        self.layers = nn.ModuleList(layers)
        for layer in layers:
            # small first weights, as section 4.1 asks of deep residual networks
            nn.init.normal_(layer.weight, 0, 0.5 / (3 * math.sqrt(layer.in_channels)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        seen = [x]
        for layer in self.layers[:-1]:
            seen.append(F.leaky_relu(layer(torch.cat(seen, 1)), 0.2))
        out: torch.Tensor = x + SCALING * self.layers[-1](torch.cat(seen, 1))
        return out


class Block(nn.Module):
    """Three dense blocks and a skip around them."""

    def __init__(self, width: int, growth: int) -> None:
        super().__init__()
        self.dense = nn.Sequential(*(Dense(width, growth) for _ in range(3)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = x + SCALING * (self.dense(x) - x)
        return out


class Enlarger(nn.Module):
    """Pictures (N, channels, h, w) in [0, 1], `scale` times larger.

    Args:
        channels: of the pictures.
        scale: a power of two.
        width: channels; blocks: how many; growth: channels that each dense convolution adds.
    """

    def __init__(self, channels: int, scale: int, width: int, blocks: int, growth: int) -> None:
        super().__init__()
        self.scale = scale
        self.enter = nn.Conv2d(channels, width, 3, padding=1)
        self.trunk = nn.Sequential(
            *(Block(width, growth) for _ in range(blocks)), nn.Conv2d(width, width, 3, padding=1)
        )
        # the last step of two works on most pixels, so it has half of the channels
        steps = scale.bit_length() - 1
        widths = [width] * steps + [width // 2]
        self.steps = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in pairwise(widths))
        self.exit = nn.Conv2d(width // 2, channels, 3, padding=1)
        nn.init.zeros_(self.exit.weight)
        assert self.exit.bias is not None
        nn.init.zeros_(self.exit.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.enter(2 * x - 1)
        h = h + self.trunk(h)
        for step in self.steps:
            h = F.leaky_relu(step(F.interpolate(h, scale_factor=2.0, mode="nearest")), 0.2)
        out: torch.Tensor = bicubic(x, self.scale) + self.exit(h).float()
        return out


def bicubic(x: torch.Tensor, scale: int) -> torch.Tensor:
    """Pictures (N, C, h, w) `scale` times larger by cubic interpolation."""
    return F.interpolate(x.float(), scale_factor=float(scale), mode="bicubic", align_corners=False)


@torch.no_grad()
def enlarged(network: Enlarger, image: torch.Tensor, consistent: bool) -> np.ndarray:
    """One picture (C, h, w) enlarged, float32 (C, scale * h, scale * w) in [0, 1].

    Args:
        network: what enlarges.
        image: in [0, 1], on the network's device.
        consistent: whether the result, averaged down again, shall be the input: what was left over is added back
            (Irani and Peleg 1991, doi:10.1016/1049-9652(91)90045-L), so nothing larger than a pixel of the input can
            be invented.
    """
    scale, (_, height, width) = network.scale, image.shape
    tile = min(TILE, -(-max(height, width) // EVEN) * EVEN)
    padded = F.pad(image[None], (0, max(0, tile - width), 0, max(0, tile - height)), mode="replicate")
    total = torch.zeros(1, image.shape[0], *(scale * side for side in padded.shape[2:]), device=image.device)
    weights = torch.zeros(1, 1, *total.shape[2:], device=image.device)
    window = _window(scale * tile, scale * min(OVERLAP, tile), image.device)
    for top in _starts(padded.shape[2], tile):
        for left in _starts(padded.shape[3], tile):
            with torch.autocast(image.device.type, torch.bfloat16):
                made = network(padded[:, :, top : top + tile, left : left + tile])
            rows, columns = (slice(scale * at, scale * (at + tile)) for at in (top, left))
            total[:, :, rows, columns] += made.float() * window
            weights[:, :, rows, columns] += window
    whole = (total / weights)[:, :, : scale * height, : scale * width].clamp(0, 1)
    if consistent:
        whole = projected(whole, image[None], scale)
    out: np.ndarray = whole[0].cpu().numpy()
    return out


def projected(large: torch.Tensor, small: torch.Tensor, scale: int) -> torch.Tensor:
    """`large` (N, C, H, W) changed as little as smoothly possible so that its means over scale x scale are `small`."""
    for _ in range(ROUNDS):
        left = small - F.avg_pool2d(large, scale)
        up = F.interpolate(left, scale_factor=float(scale), mode="bilinear", align_corners=False)
        large = (large + up).clamp(0, 1)
    return large


def _starts(side: int, tile: int) -> list[int]:
    """Where tiles begin so that neighbours overlap by at least `OVERLAP` and the last ends with the picture."""
    return [*range(0, side - tile, tile - OVERLAP), side - tile] if side > tile else [0]


def _window(side: int, overlap: int, place: torch.device) -> torch.Tensor:
    """Weights of a tile: 1 in the middle, falling over the overlap towards its border, never 0."""
    ramp = torch.arange(1, side + 1, device=place).float()
    line = torch.minimum(ramp, ramp.flip(0)).clamp(max=overlap) / overlap
    return line[:, None] * line[None, :]
