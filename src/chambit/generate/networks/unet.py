"""A small UNet for latents: residual blocks with adaptive group norm, self-attention at the bottom.

After Ho, Jain and Abbeel 2020 (arXiv:2006.11239) and Dhariwal and Nichol 2021 (arXiv:2105.05233), sized for two CPU
cores: few, wide, low-resolution layers, because below full occupancy of the matrix units the norms and activations
cost more than the convolutions. Only standard modules, so per-sample gradients (differential privacy) stay possible.

Items with an axis (time or depth) are handled frame by frame, with layers along the axis between the layers of the
plane (factorised 2+1D: Ho et al. 2022, arXiv:2204.03458; Blattmann et al. 2023, arXiv:2304.08818). Those along the
axis begin as the identity, so that a network for sequences begins as one for pictures.
"""

import torch
from torch import nn
from torch.nn import functional as F

from chambit.generate.networks.embedding import Embedded, sinusoids

ATTENDED = 1024  # positions up to which a level of the waist attends over all of them


def zeroed(layer: nn.Module) -> None:
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
        zeroed(self.conv2)

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
        zeroed(self.out)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n, c, h, w = x.shape
        q, k, v = self.qkv(self.norm(x)).reshape(n, 3, 4, c // 4, h * w).transpose(-1, -2).unbind(1)
        y = F.scaled_dot_product_attention(q, k, v)
        out: torch.Tensor = x + self.out(y.transpose(-1, -2).reshape(n, c, h, w))
        return out


class Along(nn.Module):
    """A convolution of three frames, then four-head attention over all frames, at each position by itself.

    Takes and gives (N * D, C, h, w), the D frames of an item running; begins as the identity.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(8, channels)
        self.three = nn.Conv2d(3 * channels, channels, 1)
        self.norm2 = nn.GroupNorm(8, channels)
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.out = nn.Conv2d(channels, channels, 1)
        zeroed(self.three)
        zeroed(self.out)

    def forward(self, x: torch.Tensor, frames: int) -> torch.Tensor:
        c, h, w = x.shape[1:]
        y = F.silu(self.norm1(x)).reshape(-1, frames, c, h, w)
        nothing = torch.zeros_like(y[:, :1])
        before, after = torch.cat([nothing, y[:, :-1]], 1), torch.cat([y[:, 1:], nothing], 1)
        x = x + self.three(torch.cat([before, y, after], 2).flatten(0, 1))
        # (N D, 3 C, h, w) -> each of q, k, v (N h w, 4, D, C / 4)
        parts = self.qkv(self.norm2(x)).reshape(-1, frames, 3, 4, c // 4, h * w).permute(2, 0, 5, 3, 1, 4)
        q, k, v = parts.flatten(1, 2).unbind(0)
        y = F.scaled_dot_product_attention(q, k, v).reshape(-1, h * w, 4, frames, c // 4).permute(0, 3, 2, 4, 1)
        out: torch.Tensor = x + self.out(y.reshape(-1, c, h, w))
        return out


class Deeper(nn.Module):
    """Further levels below the second one, each at half the resolution and with equal channels."""

    def __init__(self, channels: int, embedding: int, depth: int, levels: int, frames: bool) -> None:
        super().__init__()
        self.down = nn.Conv2d(channels, channels, 3, stride=2, padding=1)
        self.low = nn.ModuleList(Residual(channels, channels, embedding) for _ in range(depth))
        self.mix = Attention(channels)
        self.along = Along(channels) if frames else None
        self.below = Deeper(channels, embedding, depth, levels - 1, frames) if levels > 1 else None
        self.last = Residual(channels, channels, embedding)
        self.up = nn.Conv2d(channels, channels, 3, padding=1)
        self.join = Residual(2 * channels, channels, embedding)

    def forward(self, x: torch.Tensor, embedding: torch.Tensor, frames: int) -> torch.Tensor:
        h = self.down(x)
        for block in self.low:
            h = block(h, embedding)
        if h.shape[-2] * h.shape[-1] <= ATTENDED:
            h = self.mix(h)
        h = h if self.along is None else self.along(h, frames)
        h = h if self.below is None else self.below(h, embedding, frames)
        h = self.up(F.interpolate(self.last(h, embedding), size=x.shape[-2:], mode="nearest"))
        out: torch.Tensor = self.join(torch.cat([h, x], 1), embedding)
        return out


class UNet(Embedded):
    """F(x, t, conditions) for latents (N, C, h, w), or (N, D, C, h, w) of items with an axis.

    Args:
        channels: C of the latents.
        classes: number of classes; index `classes` means "no class given".
        maps: channels of the spatial condition on the latents' grid, 0 for none.
        width: channels at the grid's resolution; twice that below. A multiple of 8.
        depth: residual blocks per level.
        levels: resolutions, at least 2, each half of the one above.
        factors: number of levels of each factor.
        numbers: length of the vector.
        frames: D of items with an axis, 1 without.
    """

    def __init__(
        self,
        channels: int,
        classes: int,
        maps: int,
        width: int,
        depth: int,
        *,
        levels: int = 2,
        factors: tuple[int, ...] = (),
        numbers: int = 0,
        frames: int = 1,
    ) -> None:
        e = 2 * width
        super().__init__(classes, e, factors, numbers)
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
        zeroed(self.exit)
        # what follows came later: made last, so that a plain network draws its first weights as it always did
        self.below = Deeper(2 * width, e, depth, levels - 2, frames > 1) if levels > 2 else None
        self.frames = frames
        if frames > 1:
            self.place = nn.Linear(64, e)
            self.along = nn.ModuleList(Along(c) for c in (width, 2 * width, width))

    def forward(
        self,
        x: torch.Tensor,
        t: torch.Tensor,
        label: torch.Tensor,
        maps: torch.Tensor | None = None,
        factors: torch.Tensor | None = None,
        vector: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """F, same shape as x.

        Args:
            x: (N, C, h, w), or (N, D, C, h, w) where there are frames.
            t: (N,), about [-2, 2].
            label: int64 (N,), or (N, D): a class for each frame.
            maps: (N, maps, h, w) or (N, D, maps, h, w), or None.
            factors: int64 (N, F), -1 for not given; None for none given.
            vector: float32 (N, V), NaN for not given; None for none given.
        """
        lead = x.shape[:-3]
        embedding = F.silu(self._described(lead, t, label, factors, vector))
        x = x.reshape(-1, *x.shape[-3:])
        if maps is not None:
            maps = maps.reshape(-1, *maps.shape[-3:])
        h = self.enter(x if maps is None else torch.cat([x, maps], 1))
        skips = []
        for block in self.high:
            h = block(h, embedding)
            skips.append(h)
        h = self._mixed(0, h)
        size = h.shape[-2:]
        h = self.down(h)
        for block in self.low:
            h = block(h, embedding)
        if self.below is None or h.shape[-2] * h.shape[-1] <= ATTENDED:
            h = self.mix(h)
        h = self._mixed(1, h)
        h = h if self.below is None else self.below(h, embedding, self.frames)
        h = self.last(h, embedding)
        h = self.up(F.interpolate(h, size=size, mode="nearest"))
        for block in self.join:
            h = block(torch.cat([h, skips.pop()], 1), embedding)
        h = F.silu(self.norm(self._mixed(2, h)))
        out = self.exit(h if maps is None else torch.cat([h, maps], 1))
        shaped: torch.Tensor = out.reshape(*lead, *out.shape[1:])
        return shaped

    def _mixed(self, number: int, h: torch.Tensor) -> torch.Tensor:
        mixed: torch.Tensor = self.along[number](h, self.frames) if self.frames > 1 else h
        return mixed

    def _described(
        self,
        lead: torch.Size,
        t: torch.Tensor,
        label: torch.Tensor,
        factors: torch.Tensor | None,
        vector: torch.Tensor | None,
    ) -> torch.Tensor:
        """One embedding for each picture, (N, e) or (N D, e); those of frames tell the place along the axis, too."""
        if self.frames == 1:
            return self.embedding(t, label, factors, vector)
        if label.ndim == 1:
            label = label[:, None].expand(lead)
        at = (torch.arange(self.frames, device=t.device) + 0.5) / self.frames
        place = self.place(sinusoids(at, self.frequencies))
        item = self.embedding(t, None, factors, vector)
        told: torch.Tensor = (item[:, None] + self.label(label) + place).flatten(0, 1)
        return told
