"""The pixels themselves: each block of b x b becomes one position with b * b (coloured: 3 b * b) channels.

Shi et al. 2016 (arXiv:1609.05158) call this the inverse of pixel shuffle. Nothing is lost. With b = 1 it is the plain
picture, which only a large network on a graphics processor handles well.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F


def _channels(images: np.ndarray) -> torch.Tensor:
    x = torch.from_numpy(images)
    return x[:, None] if x.ndim == 3 else x.permute(0, 3, 1, 2)


@dataclass(frozen=True)
class Pixels:
    """Pictures in [0, 1] to standardised pixels and back; attributes as of `chambit.generate.codec.Codec`."""

    size: int
    shape: tuple[int, int]
    colours: int
    mean: torch.Tensor
    std: torch.Tensor
    residual: float = 0.0

    @classmethod
    def fit(cls, images: np.ndarray, *, size: int) -> "Pixels":
        """Measure one mean and standard deviation for each colour on pictures float32 (N, H, W[, 3]) in [0, 1]."""
        x = _channels(images)
        mean, std = x.mean((0, 2, 3)), x.std((0, 2, 3)).clamp_min(1e-4)
        every = size * size
        return cls(size, (x.shape[2], x.shape[3]), x.shape[1], mean.repeat_interleave(every),
                   std.repeat_interleave(every))  # fmt: skip

    @classmethod
    def of(cls, arrays: dict[str, np.ndarray], *, block: int, keep: int) -> "Pixels":
        """The one that gave `arrays`; `keep` is of no use here."""
        mean = torch.from_numpy(arrays["mean"])
        shape = (int(arrays["shape"][0]), int(arrays["shape"][1]))
        return cls(block, shape, len(mean) // block**2, mean, torch.from_numpy(arrays["std"]))

    def arrays(self) -> dict[str, np.ndarray]:
        """Everything but the block."""
        return {"mean": self.mean.numpy(), "std": self.std.numpy(), "shape": np.array(self.shape, np.int64)}

    def encode(self, images: np.ndarray) -> torch.Tensor:
        """float32 (N, H, W[, 3]) in [0, 1] to (N, C, h, w); padded at the bottom and right by repeating the edge."""
        x = _channels(images)
        h, w = self.shape
        z = F.pixel_unshuffle(F.pad(x, (0, -w % self.size, 0, -h % self.size), mode="replicate"), self.size)
        return (z - self.mean[:, None, None]) / self.std[:, None, None]

    def decode(self, latents: torch.Tensor) -> np.ndarray:
        """The inverse of `encode`, clipped to [0, 1]; float32 (N, H, W[, 3])."""
        z = latents.float() * self.std[:, None, None] + self.mean[:, None, None]
        x = F.pixel_shuffle(z, self.size)[:, :, : self.shape[0], : self.shape[1]].clamp(0, 1)
        return np.ascontiguousarray((x[:, 0] if self.colours == 1 else x.permute(0, 2, 3, 1)).numpy())
