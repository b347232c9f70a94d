"""Translation of pictures from one domain to another along the shortest path (SANTA).

Xie, Xu, Gong and Zhang, "Unpaired image-to-image translation with shortest path regularization", CVPR 2023, pages
10177 to 10187: of all maps that make pictures of the target domain the one is sought whose path from the source is
shortest, so content is kept without cycles and without pairs. Written from the paper's idea, and ours in one respect:

    G(x, t) = x + t D(h_t),  h_t = blocks(E(x), t),  0 <= t <= 1

begins at the source by construction (the paper learns that by a reconstruction loss). The length of the path is

    E_t || d/dt E(G(x, t)) ||^2 + E_t || d/dt G(x, t) ||^2

by finite differences: by Jensen's inequality at least the squared distance of the two ends, reached by a straight path.
"""

import torch
from torch import nn
from torch.nn import functional as F

from chambit.generate.staged.denoiser import GROUPS, Embedding, Residual

STEP = 0.1  # of the finite difference


def _mirrored(channels: int, out: int, side: int) -> nn.Conv2d:
    """A convolution that sees the picture mirrored beyond its border: zeros there are painted as a coloured frame."""
    return nn.Conv2d(channels, out, side, padding=side // 2, padding_mode="reflect")


class Translator(nn.Module):
    """G(x, t) for x (N, channels, H, W) in [0, 1], t (N,); H and W are multiples of 4.

    Args:
        channels: of the pictures.
        width: channels at full size; twice that at half and a quarter of it. A multiple of 8.
        blocks: residual blocks at a quarter of the size.
    """

    def __init__(self, channels: int, width: int, blocks: int) -> None:
        super().__init__()
        e = 2 * width
        self.time = Embedding((), 0, e)
        self.encoder = nn.Sequential(
            _mirrored(channels, width, 5),
            nn.GroupNorm(GROUPS, width),
            nn.SiLU(),
            nn.Conv2d(width, 2 * width, 4, stride=2, padding=1),
            nn.GroupNorm(GROUPS, 2 * width),
            nn.SiLU(),
            nn.Conv2d(2 * width, 2 * width, 4, stride=2, padding=1),
        )
        self.blocks = nn.ModuleList(Residual(2 * width, 2 * width, e) for _ in range(blocks))
        self.at_half = nn.Sequential(nn.GroupNorm(GROUPS, 2 * width), nn.SiLU(), _mirrored(2 * width, width, 3))
        self.at_full = nn.Sequential(nn.GroupNorm(GROUPS, width), nn.SiLU(), _mirrored(width, width, 3))
        # the source joins at full size, so that fine texture can depend on what is there
        self.exit = nn.Sequential(_mirrored(width + channels, width, 3), nn.SiLU(), _mirrored(width, channels, 3))
        for parameter in self.exit[-1].parameters():
            nn.init.zeros_(parameter)

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """E(x), (N, 2 * width, H / 4, W / 4)."""
        made: torch.Tensor = self.encoder(2 * x - 1)
        return made

    def forward(self, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        h = self.features(x)
        nothing = torch.zeros(len(x), 0, device=x.device)
        embedding = self.time(t, nothing.long(), nothing)
        for block in self.blocks:
            h = block(h, embedding)
        h = self.at_half(F.interpolate(h, scale_factor=2.0, mode="nearest"))
        h = self.at_full(F.interpolate(h, scale_factor=2.0, mode="nearest"))
        change = self.exit(torch.cat([h, 2 * x - 1], 1)).float()
        out: torch.Tensor = x + t[:, None, None, None] * change
        return out


def path_length(translator: Translator, x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """The squared speed at one time of each item's path, in features and in pixels, mean over items and dimensions.

    Args:
        translator: G.
        x: sources (N, C, H, W).
        generator: of the CPU; where the times come from.
    """
    t = (torch.rand(len(x), generator=generator) * (1 - STEP)).to(x.device)
    now, then = translator(x, t), translator(x, t + STEP)
    features = (translator.features(then).float() - translator.features(now).float()) / STEP
    pixels = 2 * (then - now) / STEP
    length: torch.Tensor = features.square().mean() + pixels.square().mean()
    return length


def along(translator: Translator, x: torch.Tensor, t: float) -> torch.Tensor:
    """G(x, t) for pictures of any size: mirrored at the border to multiples of 4, then cut."""
    height, width = x.shape[-2:]
    padded = F.pad(x, (0, -width % 4, 0, -height % 4), mode="reflect")
    made: torch.Tensor = translator(padded, torch.full((len(x),), t, device=x.device))
    return made[..., :height, :width]
