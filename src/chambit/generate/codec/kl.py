"""A small autoencoder with a Kullback-Leibler penalty, trained before the network that works on its latents.

    loss = mean |x' - x| + mean |grad x' - grad x| / 2 + w KL(N(m, s^2) | N(0, 1)),   x' = decoder(m + s e)

Kingma and Welling 2014 (arXiv:1312.6114); as the first stage of latent diffusion Rombach et al. 2022
(arXiv:2112.10752). The second term asks for the edges, where an absolute error alone is content with blur; there is no
adversary, so fine grain is lost. Decoded pictures are the decoder's and may be smoother than real ones everywhere.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from chambit.generate.training import device

if TYPE_CHECKING:
    from chambit.core.steps import Context

PENALTY = 1e-4  # w: the latents are standardised afterwards, so it only keeps them from running away
AT_ONCE = 64
CENTRE, SCALE = 0.5, 4.0  # the networks see 4 (x - 1/2): about unit variance, and a decoder of nothing is middle grey


class _Block(nn.Module):
    """Norm, two convolutions, skip."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.GroupNorm(8, channels), nn.GroupNorm(8, channels)
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.conv2(F.silu(self.norm2(self.conv1(F.silu(self.norm1(x))))))
        out: torch.Tensor = x + h
        return out


class Autoencoder(nn.Module):
    """Pictures (N, colours, H, W) to means and log variances (N, 2 C, H / f, W / f), and back from means.

    Args:
        colours: 1 or 3.
        factor: f, a power of two; the first halving is a rearrangement of pixels, so no layer sees full resolution.
        channels: C.
        width: channels of the first level; half as many more at each level below.
    """

    def __init__(self, colours: int, factor: int, channels: int, width: int) -> None:
        super().__init__()
        halvings = factor.bit_length() - 2  # after the first
        widths = [width + width // 2 * k // 8 * 8 for k in range(halvings + 1)]
        down: list[nn.Module] = [nn.PixelUnshuffle(2), nn.Conv2d(4 * colours, width, 3, padding=1), _Block(width)]
        for above, below in pairwise(widths):
            down += [nn.Conv2d(above, below, 3, stride=2, padding=1), _Block(below)]
        self.encoder = nn.Sequential(
            *down, nn.GroupNorm(8, widths[-1]), nn.SiLU(), nn.Conv2d(widths[-1], 2 * channels, 1)
        )
        up: list[nn.Module] = [nn.Conv2d(channels, widths[-1], 3, padding=1), _Block(widths[-1])]
        for below, above in pairwise(widths[::-1]):
            up += [nn.Upsample(scale_factor=2), nn.Conv2d(below, above, 3, padding=1), _Block(above)]
        last = [nn.GroupNorm(8, width), nn.SiLU(), nn.Conv2d(width, 4 * colours, 3, padding=1), nn.PixelShuffle(2)]
        self.decoder = nn.Sequential(*up, *last)


@dataclass(frozen=True)
class Learnt:
    """Pictures in [0, 1] to standardised means of the encoder and back; as `chambit.generate.codec.Codec`."""

    size: int
    shape: tuple[int, int]
    colours: int
    mean: torch.Tensor
    std: torch.Tensor
    residual: float
    network: Autoencoder

    @classmethod
    def fit(cls, context: "Context", images: np.ndarray, *, size: int, channels: int, width: int, steps: int,
            batch: int, rate: float, checkpoint: int) -> "Learnt":  # fmt: skip
        """Train on pictures float32 (N, H, W[, 3]) in [0, 1]; goes on from its checkpoint after a kill."""
        from chambit.generate.training import loop

        colours = 1 if images.ndim == 3 else 3
        torch.manual_seed(context.seed("codec") % 2**31)
        network = Autoencoder(colours, size, channels, width)
        made = cls(size, (images.shape[1], images.shape[2]), colours, torch.zeros(channels), torch.ones(channels),
                   float("nan"), network)  # fmt: skip
        learner = _Learner(made, images, context, batch, rate)
        plan = loop.Plan(steps, rate, 6.94, checkpoint, "codec")
        average, _ = loop.run(context, learner, plan, None)
        loop.overwrite(network.parameters(), average)
        network.eval().requires_grad_(False)
        z = torch.cat([made._coded(part) for part in _parts(images)])
        mean, std = z.mean((0, 2, 3)), z.std((0, 2, 3)).clamp_min(1e-4)
        standard = cls(size, made.shape, colours, mean, std, float("nan"), network)
        lost = [float(np.square(standard.decode(standard.encode(part)) - part).sum()) for part in _parts(images)]
        return cls(size, made.shape, colours, mean, std, sum(lost) / images.size, network)

    @classmethod
    def of(cls, arrays: dict[str, np.ndarray], *, block: int, keep: int) -> "Learnt":
        """The one that gave `arrays`."""
        colours, width = (int(value) for value in arrays["form"])
        mean = torch.from_numpy(arrays["mean"])
        network = Autoencoder(colours, block, len(mean), width)
        with torch.no_grad():
            for name, parameter in network.named_parameters():
                parameter.copy_(torch.from_numpy(arrays[f"network.{name}"]))
        shape = (int(arrays["shape"][0]), int(arrays["shape"][1]))
        return cls(block, shape, colours, mean, torch.from_numpy(arrays["std"]), float(arrays["residual"][0]),
                   network.eval().requires_grad_(False))  # fmt: skip

    def arrays(self) -> dict[str, np.ndarray]:
        """Everything but the factor."""
        width = self.network.encoder[1].out_channels
        named = self.network.named_parameters()
        return {f"network.{name}": value.detach().cpu().numpy() for name, value in named} | {
            "mean": self.mean.numpy(),
            "std": self.std.numpy(),
            "shape": np.array(self.shape, np.int64),
            "form": np.array([self.colours, width], np.int64),
            "residual": np.array([self.residual]),
        }

    def encode(self, images: np.ndarray) -> torch.Tensor:
        """float32 (N, H, W[, 3]) in [0, 1] to float32 (N, C, h, w) of unit variance per channel."""
        z = torch.cat([self._coded(part) for part in _parts(images)])
        return (z - self.mean[:, None, None]) / self.std[:, None, None]

    def decode(self, latents: torch.Tensor) -> np.ndarray:
        """The inverse of `encode` as far as the networks are, clipped to [0, 1]; float32 (N, H, W[, 3])."""
        z = latents.float() * self.std[:, None, None] + self.mean[:, None, None]
        where = device.choose()
        network = self.network.to(where)
        parts = []
        with torch.inference_mode():
            for first in range(0, len(z), AT_ONCE):
                part = z[first : first + AT_ONCE]
                with device.autocast(where):
                    x = network.decoder(part.to(where, memory_format=torch.channels_last))
                x = x.float().cpu() / SCALE + CENTRE
                parts.append(x[:, :, : self.shape[0], : self.shape[1]].clamp(0, 1))
        x = torch.cat(parts)
        return np.ascontiguousarray((x[:, 0] if self.colours == 1 else x.permute(0, 2, 3, 1)).numpy())

    def _coded(self, images: np.ndarray) -> torch.Tensor:
        where = device.choose()
        network = self.network.to(where)
        with torch.inference_mode(), device.autocast(where):
            moments = network.encoder(_padded(images, self.size).to(where, memory_format=torch.channels_last))
        mean: torch.Tensor = moments.float().chunk(2, 1)[0].cpu().clone()
        return mean


class _Learner:
    """What `loop.run` needs to train the autoencoder."""

    def __init__(self, codec: Learnt, images: np.ndarray, context: "Context", batch: int, rate: float) -> None:
        self.codec, self.images, self.context, self.batch = codec, images, context, batch
        self.where = device.choose()
        codec.network.to(self.where, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.parameters = list(codec.network.parameters())
        self.optimiser = torch.optim.AdamW(self.parameters, lr=rate, betas=(0.9, 0.95), weight_decay=0.01, fused=True)
        self.others: list[torch.Tensor] = []

    def backward(self, step: int, rows: slice) -> torch.Tensor:
        generator = torch.Generator().manual_seed(self.context.seed(f"codec step {step}"))
        chosen = torch.randint(len(self.images), (self.batch,), generator=generator)[rows]
        x = _padded(self.images[chosen.numpy()], self.codec.size).to(self.where, memory_format=torch.channels_last)
        with device.autocast(self.where):
            mean, log = self.codec.network.encoder(x).chunk(2, 1)
        mean, log = mean.float(), log.float().clamp(-20, 10)
        noise = torch.randn((self.batch, *mean.shape[1:]), generator=generator)[rows].to(self.where)
        with device.autocast(self.where):
            y = self.codec.network.decoder(mean + (log / 2).exp() * noise)
        away = y.float() - x
        edges = away.diff(dim=2).abs().mean() + away.diff(dim=3).abs().mean()
        divergence = (mean.square() + log.exp() - 1 - log).mean() / 2
        loss = away.abs().mean() + edges / 2 + PENALTY * divergence
        torch.autograd.backward(loss)
        told: torch.Tensor = loss.detach()
        return told


def _padded(images: np.ndarray, factor: int) -> torch.Tensor:
    x = torch.from_numpy(np.ascontiguousarray(images))
    x = x[:, None] if x.ndim == 3 else x.permute(0, 3, 1, 2)
    return F.pad(SCALE * (x - CENTRE), (0, -x.shape[3] % factor, 0, -x.shape[2] % factor), mode="replicate")


def _parts(images: np.ndarray) -> list[np.ndarray]:
    return [images[first : first + AT_ONCE] for first in range(0, len(images), AT_ONCE)]
