"""Vision transformer as DINOv2 uses it.

Dosovitskiy et al. 2020 (arXiv:2010.11929); Oquab et al. 2023 (arXiv:2304.07193).
Pre-norm blocks with layer scale (x + g1 * attention(norm1 x), then x + g2 * mlp(norm2 x)), heads of 64 channels, GELU,
layer norm with epsilon 1e-6. Optional register tokens (Darcet et al. 2023, arXiv:2309.16588) stand between the class
token and the patches and have no position. Parameter names are those of the official DINOv2 files. Width, depth and
patch are read from the tensors' shapes. The giant network is not supported: its mlp is gated.

Position embeddings were learned on a grid of their own; for another grid they are interpolated bicubically, in the
official way: without registers by the factor (n + 0.1) / m from m to n positions a side, which moves the samples a
little; with registers to n exactly and with antialiasing.
"""

import math
import re
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional as F

from chambit.measure.weights import Weights, fit, refusal

HEAD = 64
PATCH = 14
_OFFSET = 0.1


class Sizes(NamedTuple):
    """What the tensors' shapes say.

    Attributes:
        width: channels of a token.
        depth: number of blocks.
        hidden: channels inside the mlp.
        positions: patches a side of the learned position embedding.
        registers: number of register tokens.
        patch: pixels a side.
    """

    width: int
    depth: int
    hidden: int
    positions: int
    registers: int = 0
    patch: int = PATCH


class _Attention(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n, tokens, width = x.shape
        q, k, v = self.qkv(x).reshape(n, tokens, 3, width // HEAD, HEAD).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v)
        out: torch.Tensor = self.proj(mixed.transpose(1, 2).reshape(n, tokens, width))
        return out


class _Scale(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.gamma


class _Perceptron(nn.Module):
    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.fc2(F.gelu(self.fc1(x)))
        return out


class _Block(nn.Module):
    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = _Attention(width)
        self.ls1 = _Scale(width)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = _Perceptron(width, hidden)
        self.ls2 = _Scale(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.ls1(self.attn(self.norm1(x)))
        out: torch.Tensor = x + self.ls2(self.mlp(self.norm2(x)))
        return out


class _Patches(nn.Module):
    def __init__(self, width: int, patch: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, patch, patch)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.proj(x)
        return out


class VisionTransformer(nn.Module):
    """Images (N, 3, S, S), S a multiple of the patch, to the normalised class token, (N, width)."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.cls_token = nn.Parameter(torch.zeros(1, 1, sizes.width))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + sizes.positions**2, sizes.width))
        if sizes.registers:
            self.register_tokens = nn.Parameter(torch.zeros(1, sizes.registers, sizes.width))
        self.patch_embed = _Patches(sizes.width, sizes.patch)
        self.blocks = nn.ModuleList(_Block(sizes.width, sizes.hidden) for _ in range(sizes.depth))
        self.norm = nn.LayerNorm(sizes.width, eps=1e-6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        patches = self.patch_embed(x)
        grid = patches.shape[-1]
        n = len(x)
        x = torch.cat([self.cls_token.expand(n, -1, -1), patches.flatten(2).transpose(1, 2)], 1) + self._positions(grid)
        if self.sizes.registers:
            x = torch.cat([x[:, :1], self.register_tokens.expand(n, -1, -1), x[:, 1:]], 1)
        for block in self.blocks:
            x = block(x)
        out: torch.Tensor = self.norm(x[:, 0])
        return out

    def _positions(self, grid: int) -> torch.Tensor:
        """The position embedding for a grid of another size, (1, 1 + grid^2, width)."""
        learned = self.sizes.positions
        if grid == learned:
            return self.pos_embed
        one, rest = self.pos_embed[:, :1], self.pos_embed[:, 1:]
        square = rest.reshape(1, learned, learned, -1).permute(0, 3, 1, 2)
        if self.sizes.registers:
            square = F.interpolate(square, (grid, grid), mode="bicubic", antialias=True)
        else:
            factor = (grid + _OFFSET) / learned
            square = F.interpolate(square, scale_factor=(factor, factor), mode="bicubic")
        return torch.cat([one, square.permute(0, 2, 3, 1).flatten(1, 2)], 1)


def loaded(tensors: Mapping[str, torch.Tensor], weights: Weights, what: str) -> VisionTransformer:
    """The network whose shapes and weights the tensors are.

    Args:
        tensors: by the official DINOv2 names; `mask_token` is of the training and is not used.
        weights: where they are from, for the error.
        what: the network's name, for the error.

    Raises:
        InputError: these are not the tensors of such a network.
    """
    sizes = _sizes(tensors, weights, what)
    with torch.device("meta"):
        network = VisionTransformer(sizes)
    return fit(network, tensors, weights, what, allow_unused=("mask_token",))


def _sizes(tensors: Mapping[str, torch.Tensor], weights: Weights, what: str) -> Sizes:
    depth = 1 + max((int(m[1]) for name in tensors if (m := re.match(r"blocks\.(\d+)\.", name))), default=-1)
    dimensions = {"cls_token": 3, "pos_embed": 3, "patch_embed.proj.weight": 4, "blocks.0.mlp.fc1.weight": 2}
    lacking = [name for name, ndim in dimensions.items() if name not in tensors or tensors[name].ndim != ndim]
    remedy = "name the file that belongs to this extractor"
    if lacking:
        raise refusal(weights, f"it is not a {what} network: missing: {', '.join(lacking)}", remedy)
    width, tokens = tensors["cls_token"].shape[2], tensors["pos_embed"].shape[1]
    positions = math.isqrt(tokens - 1)
    patch = tensors["patch_embed.proj.weight"].shape[3]
    registers = tensors["register_tokens"].shape[1] if "register_tokens" in tensors else 0
    wrong = []
    if not width or width % HEAD:
        wrong.append(f"{width} channels are not a multiple of {HEAD}")
    if positions**2 + 1 != tokens:
        wrong.append(f"{tokens} positions are not a square and one")
    if patch != PATCH:
        wrong.append(f"patches of {patch} pixels instead of {PATCH}")
    if wrong:
        raise refusal(weights, f"it is not a {what} network: {'; '.join(wrong)}", remedy)
    return Sizes(width, depth, tensors["blocks.0.mlp.fc1.weight"].shape[0], positions, registers, patch)
