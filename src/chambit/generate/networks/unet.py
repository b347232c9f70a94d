"""A small UNet for latents: residual blocks with adaptive group norm, self-attention at the bottom.

After Ho, Jain and Abbeel 2020 (arXiv:2006.11239) and Dhariwal and Nichol 2021 (arXiv:2105.05233), sized for two CPU
cores: few, wide, low-resolution layers, because below full occupancy of the matrix units the norms and activations
cost more than the convolutions. Only standard modules, so per-sample gradients (differential privacy) stay possible.

Items with an axis (time or depth) are handled frame by frame, with layers along the axis between the layers of the
plane (factorised 2+1D: Ho et al. 2022, arXiv:2204.03458; Blattmann et al. 2023, arXiv:2304.08818). Those along the
axis begin as the identity, so that a network for sequences begins as one for pictures, and can be trained on single
frames before it is trained on whole items: those cost a fraction and have in them most of what is to be learnt.
"""

import torch
from torch import nn
from torch.nn import functional as F

from chambit.generate.networks.embedding import Embedded, sinusoids

ATTENDED = 1024  # positions up to which a level of the waist attends over all of them
FEW = 64  # positions up to which attention is two products and no fused kernel


def zeroed(layer: nn.Module) -> None:
    """Have a layer begin as 0 whatever it is given."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)


def attended(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """softmax(q k^T / sqrt(d)) v for (N, heads, T, d); the same shape.

    Of few positions as two products: on a processor the fused kernel's way back is several times slower there.
    """
    if q.shape[-2] > FEW or q.device.type != "cpu":
        return F.scaled_dot_product_attention(q, k, v)
    heard = torch.softmax(q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5, -1)
    return heard.to(v.dtype) @ v


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
        y = attended(q, k, v)
        out: torch.Tensor = x + self.out(y.transpose(-1, -2).reshape(n, c, h, w))
        return out


class Along(nn.Module):
    """A convolution of three frames, then four-head attention over all frames, at each position by itself.

    Takes and gives (N * D, C, h, w), the D frames of an item running; begins as the identity.

    Args:
        channels: C, a multiple of 8.
        attends: whether there is attention; without it a frame hears its two neighbours alone, at half the cost.
    """

    def __init__(self, channels: int, attends: bool = True) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(8, channels)
        self.three = nn.Conv2d(3 * channels, channels, 1)
        zeroed(self.three)
        self.attends = attends
        if attends:
            self.norm2 = nn.GroupNorm(8, channels)
            self.qkv = nn.Conv2d(channels, 3 * channels, 1)
            self.out = nn.Conv2d(channels, channels, 1)
            zeroed(self.out)

    def forward(self, x: torch.Tensor, frames: int) -> torch.Tensor:
        c, h, w = x.shape[1:]
        y = F.silu(self.norm1(x)).reshape(-1, frames, c, h, w)
        nothing = torch.zeros_like(y[:, :1])
        before, after = torch.cat([nothing, y[:, :-1]], 1), torch.cat([y[:, 1:], nothing], 1)
        x = x + self.three(torch.cat([before, y, after], 2).flatten(0, 1))
        return self._attended(x, frames) if self.attends else x

    def _attended(self, x: torch.Tensor, frames: int) -> torch.Tensor:
        c, h, w = x.shape[1:]
        # (N D, h, w, 3 C) -> each of q, k, v (N h w, 4, D, C / 4)
        parts = self.qkv(self.norm2(x)).permute(0, 2, 3, 1).reshape(-1, frames, h * w, 3, 4, c // 4)
        q, k, v = parts.permute(3, 0, 2, 4, 1, 5).flatten(1, 2).unbind(0)
        y = attended(q, k, v).reshape(-1, h * w, 4, frames, c // 4).permute(0, 3, 1, 2, 4)
        out: torch.Tensor = x + self.out(y.reshape(-1, h, w, c).permute(0, 3, 1, 2))
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
        h = h if self.along is None or frames == 1 else self.along(h, frames)
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
            self.along = nn.ModuleList(Along(c, c > width) for c in (width, 2 * width, width))

    def forward(
        self,
        x: torch.Tensor,
        t: torch.Tensor,
        label: torch.Tensor,
        maps: torch.Tensor | None = None,
        factors: torch.Tensor | None = None,
        vector: torch.Tensor | None = None,
        *,
        place: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """F, same shape as x.

        Args:
            x: (N, C, h, w), or (N, D, C, h, w) where there are frames; with `place` (N, C, h, w) in either case.
            t: (N,), about [-2, 2].
            label: int64 (N,), or (N, D): a class for each frame.
            maps: (N, maps, h, w) or (N, D, maps, h, w), or None.
            factors: int64 (N, F), -1 for not given; None for none given.
            vector: float32 (N, V), NaN for not given; None for none given.
            place: int64 (N,), which frame of its item each picture is, 0 to D - 1: they are handled one by one, without
                the layers along the axis, which leaves those of the plane as they are used in whole items.
        """
        lead, frames = x.shape[:-3], self.frames if place is None else 1
        embedding = F.silu(self._described(lead, t, label, factors, vector, place))
        x = x.reshape(-1, *x.shape[-3:])
        if maps is not None:
            maps = maps.reshape(-1, *maps.shape[-3:])
        h = self.enter(x if maps is None else torch.cat([x, maps], 1))
        skips = []
        for block in self.high:
            h = block(h, embedding)
            skips.append(h)
        h = self._mixed(0, h, frames)
        size = h.shape[-2:]
        h = self.down(h)
        for block in self.low:
            h = block(h, embedding)
        if self.below is None or h.shape[-2] * h.shape[-1] <= ATTENDED:
            h = self.mix(h)
        h = self._mixed(1, h, frames)
        h = h if self.below is None else self.below(h, embedding, frames)
        h = self.last(h, embedding)
        h = self.up(F.interpolate(h, size=size, mode="nearest"))
        for block in self.join:
            h = block(torch.cat([h, skips.pop()], 1), embedding)
        h = F.silu(self.norm(self._mixed(2, h, frames)))
        out = self.exit(h if maps is None else torch.cat([h, maps], 1))
        shaped: torch.Tensor = out.reshape(*lead, *out.shape[1:])
        return shaped

    def _mixed(self, number: int, h: torch.Tensor, frames: int) -> torch.Tensor:
        mixed: torch.Tensor = self.along[number](h, frames) if frames > 1 else h
        return mixed

    def _described(
        self,
        lead: torch.Size,
        t: torch.Tensor,
        label: torch.Tensor,
        factors: torch.Tensor | None,
        vector: torch.Tensor | None,
        place: torch.Tensor | None,
    ) -> torch.Tensor:
        """One embedding for each picture, (N, e) or (N D, e); those of frames tell the place along the axis, too."""
        if self.frames == 1:
            return self.embedding(t, label, factors, vector)
        where = torch.arange(self.frames, device=t.device) if place is None else place
        at = self.place(sinusoids((where + 0.5) / self.frames, self.frequencies))
        if place is not None:
            single: torch.Tensor = self.embedding(t, label, factors, vector) + at
            return single
        if label.ndim == 1:
            label = label[:, None].expand(lead)
        item = self.embedding(t, None, factors, vector)
        told: torch.Tensor = (item[:, None] + self.label(label) + at).flatten(0, 1)
        return told
