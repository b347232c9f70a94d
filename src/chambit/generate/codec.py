"""Block-DCT latents: a fixed orthonormal basis instead of a learned autoencoder.

An image is cut in b x b blocks and each block is written in the orthonormal DCT-II basis (Ahmed, Natarajan and Rao
1974, doi:10.1109/T-C.1974.223784): z = D x D^T. The lowest `keep` x `keep` coefficients of each block become channels
on the grid of blocks, each centred and scaled by its standard deviation over the training images. With keep = b the
codec is lossless up to rounding; with keep < b it is a low-pass whose loss is reported as `residual`.

Known failure: when few coefficients are kept, the blocks' borders show.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F


def dct_matrix(size: int) -> torch.Tensor:
    """The orthonormal DCT-II matrix D, float32 (size, size): rows are frequencies, D D^T = 1."""
    k = torch.arange(size, dtype=torch.float64)[:, None]
    n = torch.arange(size, dtype=torch.float64)[None, :]
    basis = torch.cos(torch.pi * (n + 0.5) * k / size) * (2.0 / size) ** 0.5
    basis[0] /= 2.0**0.5
    out: torch.Tensor = basis.float()
    return out


def blocks(images: torch.Tensor, size: int, keep: int) -> torch.Tensor:
    """DCT coefficients of each block as channels.

    Args:
        images: float32 (N, H, W); padded at the bottom and right by repeating the edge.
        size: block side b in pixels.
        keep: coefficients kept per axis.

    Returns:
        float32 (N, keep * keep, ceil(H / b), ceil(W / b)).
    """
    n, h, w = images.shape
    padded = F.pad(images[:, None], (0, -w % size, 0, -h % size), mode="replicate")[:, 0]
    rows, columns = padded.shape[1] // size, padded.shape[2] // size
    tiles = padded.reshape(n, rows, size, columns, size).permute(0, 1, 3, 2, 4)
    basis = dct_matrix(size)[:keep]
    return (basis @ tiles @ basis.T).reshape(n, rows, columns, keep * keep).permute(0, 3, 1, 2).contiguous()


def unblocks(latents: torch.Tensor, size: int, keep: int, shape: tuple[int, int]) -> torch.Tensor:
    """The inverse of `blocks` (missing coefficients are zero), cut to `shape`; float32 (N, H, W)."""
    n, _, rows, columns = latents.shape
    basis = dct_matrix(size)[:keep]
    tiles = basis.T @ latents.permute(0, 2, 3, 1).reshape(n, rows, columns, keep, keep) @ basis
    images = tiles.permute(0, 1, 3, 2, 4).reshape(n, rows * size, columns * size)
    return images[:, : shape[0], : shape[1]]


@dataclass(frozen=True)
class Codec:
    """Images in [0, 1] to standardised latents and back.

    Attributes:
        size, keep: block side and coefficients kept per axis.
        shape: (H, W) of the images.
        mean, std: float32 (keep * keep,), over training images and positions.
        residual: mean squared error of encode-decode on the training images, in squared grey levels of [0, 1].
    """

    size: int
    keep: int
    shape: tuple[int, int]
    mean: torch.Tensor
    std: torch.Tensor
    residual: float

    @classmethod
    def fit(cls, images: np.ndarray, *, size: int, keep: int) -> "Codec":
        """Measure mean and standard deviation of each coefficient on images float32 (N, H, W) in [0, 1]."""
        x = torch.from_numpy(images)
        z = blocks(x, size, keep)
        shape = (images.shape[1], images.shape[2])
        residual = float((unblocks(z, size, keep, shape) - x).square().mean())
        mean, std = z.mean((0, 2, 3)), z.std((0, 2, 3)).clamp_min(1e-4)
        return cls(size, keep, shape, mean, std, residual)

    @property
    def weight(self) -> torch.Tensor:
        """Loss weight of each channel, float32 (keep * keep,), mean 1: root of its standard deviation.

        Unit weights would spend the network on noise-like high frequencies, energy weights on the block mean alone.
        """
        weight = self.std.sqrt()
        return weight / weight.mean()

    def encode(self, images: np.ndarray) -> torch.Tensor:
        """float32 (N, H, W) in [0, 1] to float32 (N, C, h, w) with unit variance per channel."""
        z = blocks(torch.from_numpy(images), self.size, self.keep)
        return (z - self.mean[:, None, None]) / self.std[:, None, None]

    def decode(self, latents: torch.Tensor) -> np.ndarray:
        """The inverse of `encode`, clipped to [0, 1]; float32 (N, H, W)."""
        z = latents.float() * self.std[:, None, None] + self.mean[:, None, None]
        return unblocks(z, self.size, self.keep, self.shape).clamp(0, 1).numpy()
