"""The network of the diffusion stages: a small UNet on patches, whose norms may be modulated by maps (SPADE).

UNet after Ho, Jain and Abbeel 2020 (arXiv:2006.11239) and Dhariwal and Nichol 2021 (arXiv:2105.05233). Pixels enter as
patches (a strided convolution), which costs a CPU a quarter at patch 2 (Hoogeboom et al. 2023, arXiv:2301.11093,
section 2.3). Maps are joined
to the image at both ends: Med-DDPM (Dorjsembe et al. 2023, arXiv:2305.18453) shows that concatenation is enough to
hold an image to its mask. With `spade` every norm is also scaled and shifted by the maps, place by place (Park et al.
2019, arXiv:1903.07291, section 3; in a diffusion model: Wang et al. 2022, arXiv:2207.00050). Written from the papers.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from chambit.generate.networks.perceptron import Perceptron

GROUPS = 8


def _zeroed(layer: nn.Conv2d) -> nn.Conv2d:
    """The layer, beginning as 0 whatever it is given."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


class Residual(nn.Module):
    """Norm, convolution, norm scaled and shifted by the condition and perhaps by maps, convolution, skip.

    Args:
        channels, out: in and out.
        embedding: width of the condition.
        maps: channels of the maps' features, 0 for none.
    """

    def __init__(self, channels: int, out: int, embedding: int, maps: int = 0) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.GroupNorm(GROUPS, channels), nn.SiLU(), nn.Conv2d(channels, out, 3, padding=1))
        self.norm = nn.GroupNorm(GROUPS, out)
        self.modulation = nn.Linear(embedding, 2 * out)
        self.places = _zeroed(nn.Conv2d(maps, 2 * out, 3, padding=1)) if maps else None
        self.second = _zeroed(nn.Conv2d(out, out, 3, padding=1))
        self.skip = nn.Identity() if channels == out else nn.Conv2d(channels, out, 1)

    def forward(self, x: torch.Tensor, embedding: torch.Tensor, maps: torch.Tensor | None = None) -> torch.Tensor:
        modulation = self.modulation(embedding)[..., None, None]
        if self.places is not None:
            modulation = modulation + self.places(maps)
        scale, shift = modulation.chunk(2, 1)
        h = self.norm(self.first(x)) * (1 + scale) + shift
        out: torch.Tensor = self.skip(x) + self.second(F.silu(h))
        return out


class Attention(nn.Module):
    """Self-attention of four heads over all positions."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(GROUPS, channels)
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.out = _zeroed(nn.Conv2d(channels, channels, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n, c, h, w = x.shape
        q, k, v = self.qkv(self.norm(x)).reshape(n, 3, 4, c // 4, h * w).transpose(-1, -2).unbind(1)
        y = F.scaled_dot_product_attention(q, k, v).transpose(-1, -2).reshape(n, c, h, w)
        out: torch.Tensor = x + self.out(y)
        return out


class Embedding(nn.Module):
    """Time, one level of each of several lists, and numbers, as one vector.

    Args:
        levels: length of each list; index `levels[i]` means that the i-th is not known.
        numbers: how many numbers each item has.
        width: of the vector.
    """

    def __init__(self, levels: Sequence[int], numbers: int, width: int) -> None:
        super().__init__()
        self.time = nn.Sequential(nn.Linear(64, width), nn.SiLU(), nn.Linear(width, width))
        self.levels = nn.ModuleList(nn.Embedding(count + 1, width) for count in levels)
        self.numbers = nn.Linear(numbers, width) if numbers else None
        frequencies = torch.exp(torch.linspace(0, math.log(1000.0), 32))
        self.register_buffer("frequencies", frequencies, persistent=False)

    def forward(self, t: torch.Tensor, levels: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
        angles = t[:, None].float() * self.frequencies  # type: ignore[operator]
        h = self.time(torch.cat([angles.cos(), angles.sin()], 1))
        for table, index in zip(self.levels, levels.T, strict=True):
            h = h + table(index)
        if self.numbers is not None:
            h = h + self.numbers(numbers)
        return F.silu(h)


class Denoiser(nn.Module):
    """What a diffusion model says of x at time t, given levels, numbers and maps.

    x is (N, channels, H, W), with H and W multiples of 4 * patch.

    Args:
        channels: of x and of the answer.
        maps: channels of the spatial condition; 0 for none.
        levels, numbers: see `Embedding`.
        width: channels at the patches' grid; twice that at half and a quarter of it. A multiple of 8.
        patch: side of a patch in pixels.
        depth: residual blocks at each resolution, on each way.
        spade: whether the maps modulate the norms, too.
        finer: how many times finer than x the maps are.
    """

    def __init__(
        self,
        channels: int,
        maps: int,
        levels: Sequence[int],
        numbers: int,
        width: int,
        patch: int,
        depth: int,
        spade: bool = False,
        finer: int = 1,
    ) -> None:
        super().__init__()
        e = 4 * width
        self.embedding = Embedding(levels, numbers, e)
        self.enter = nn.Conv2d(channels, width, patch, stride=patch)
        self.maps = nn.Conv2d(maps, width, patch * finer, stride=patch * finer) if maps else None
        self.spade = spade and maps > 0
        read = width if self.spade else 0
        widths = (width, 2 * width, 2 * width)
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        self.shrink, self.grow = nn.ModuleList(), nn.ModuleList()
        for level, c in enumerate(widths):
            self.down.append(nn.ModuleList(Residual(c, c, e, read) for _ in range(depth)))
            self.up.append(nn.ModuleList(Residual(c, c, e, read) for _ in range(depth)))
            if level + 1 < len(widths):
                self.shrink.append(nn.Conv2d(c, widths[level + 1], 3, stride=2, padding=1))
                self.grow.append(nn.Conv2d(widths[level + 1], c, 3, padding=1))
        self.mix = Attention(widths[-1])
        # the maps are given again at the end: a short path learns within few steps what they do to the image
        joined = width * (2 if maps else 1)
        self.last = nn.Sequential(nn.GroupNorm(GROUPS, joined), nn.SiLU(), nn.Conv2d(joined, width, 1))
        self.exit = _zeroed(nn.Conv2d(width, channels * patch**2, 3, padding=1))
        self.shuffle = nn.PixelShuffle(patch)

    def forward(
        self,
        x: torch.Tensor,
        t: torch.Tensor,
        levels: torch.Tensor,
        numbers: torch.Tensor,
        maps: torch.Tensor | None,
    ) -> torch.Tensor:
        embedding = self.embedding(t, levels, numbers)
        h = self.enter(x)
        given = None if self.maps is None or maps is None else self.maps(maps)
        if given is not None:
            h = h + given
        # averaged, not picked, at each resolution: no thin part is lost
        seen = [given if given is None or not level else F.avg_pool2d(given, 2**level) for level in range(len(self.up))]
        skips: list[torch.Tensor] = []
        for level, blocks in enumerate(self.down):
            for block in blocks:  # type: ignore[attr-defined]
                h = block(h, embedding, seen[level])
                skips.append(h)
            if level < len(self.shrink):
                h = self.shrink[level](h)
        h = self.mix(h)
        for level in reversed(range(len(self.up))):
            for block in self.up[level]:  # type: ignore[attr-defined]
                h = block(h + skips.pop(), embedding, seen[level])  # a sum costs a CPU half of what a joint does
            if level:
                h = self.grow[level - 1](F.interpolate(h, scale_factor=2.0, mode="nearest"))
        h = self.last(h if given is None else torch.cat([h, given], 1))
        out: torch.Tensor = self.shuffle(self.exit(F.silu(h)))
        return out


def built(shape: dict[str, Any], seed: int) -> Denoiser:
    """A denoiser of `shape` (the arguments above, JSON values) with first weights from `seed`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Denoiser(**shape)


class Scores(nn.Module):
    """A perceptron on numbers without places, called as a `Denoiser` is: x is (N, channels, 1, 1).

    Args:
        channels: how many numbers.
        levels: classes, then levels of each factor, see `Embedding`.
        numbers: how many numbers are told of each item, each with whether it is known.
        width, depth: see `chambit.generate.networks.perceptron.Perceptron`.
    """

    def __init__(self, channels: int, levels: Sequence[int], numbers: int, width: int, depth: int) -> None:
        super().__init__()
        self.told = numbers
        self.network = Perceptron(channels, levels[0], 0, width, depth, factors=tuple(levels[1:]), numbers=numbers)

    def forward(
        self,
        x: torch.Tensor,
        t: torch.Tensor,
        levels: torch.Tensor,
        numbers: torch.Tensor,
        maps: torch.Tensor | None,
    ) -> torch.Tensor:
        vector = numbers[:, : self.told].masked_fill(numbers[:, self.told :] == 0, math.nan) if self.told else None
        out: torch.Tensor = self.network(x, t, levels[:, 0], None, levels[:, 1:], vector)
        return out


def perceptron(shape: dict[str, Any], seed: int) -> Scores:
    """A perceptron of `shape` (the arguments above, JSON values) with first weights from `seed`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Scores(**shape)


class Both(nn.Module):
    """Two networks that are trained together: of the numbers of an item, and of its places."""

    scores: Scores
    places: Denoiser

    def __init__(self, scores: Scores, places: Denoiser) -> None:
        super().__init__()
        self.scores, self.places = scores, places

    def forward(self, *given: torch.Tensor | None) -> torch.Tensor:
        """Of the places; the numbers are asked of `scores`."""
        out: torch.Tensor = self.places(*given)
        return out


def both(shape: dict[str, Any], seed: int) -> Both:
    """Both networks, of `shape["scores"]` and `shape["places"]`, with first weights from `seed`."""
    return Both(perceptron(shape["scores"], seed), built(shape["places"], seed))
