"""Block-DCT latents: a fixed orthonormal basis instead of a learned autoencoder.

A picture is cut in b x b blocks and each block is written in the orthonormal DCT-II basis (Ahmed, Natarajan and Rao
1974, doi:10.1109/T-C.1974.223784): z = D x D^T. The lowest `keep` x `keep` coefficients of each block become channels
on the grid of blocks, each centred and scaled by its standard deviation over the training images. With keep = b the
codec is lossless up to rounding; with keep < b it is a low-pass whose loss is reported as `residual`.

Coloured pictures are first turned from red, green and blue into one channel of luminance and two of chrominance,
(R + G + B) / sqrt 3, (R - B) / sqrt 2 and (R - 2 G + B) / sqrt 6: the axes Ohta, Kanade and Sakai 1980 found by a
Karhunen-Loeve transform of colours (doi:10.1016/0146-664X(80)90047-7), and the DCT-II of three values. Of chrominance
fewer coefficients may be kept: most of its fine coefficients follows from those of luminance, which detail then draws.

Known failure: when few coefficients are kept, the blocks' borders show. With `detail` the coefficients left out are
drawn from those kept (`chambit.generate.codec.detail`), which hides the borders and gives the picture its grain.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch.nn import functional as F

from chambit.generate.codec.detail import Detail


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


def opponents(images: torch.Tensor) -> torch.Tensor:
    """Coloured pictures (N, H, W, 3) as pictures of luminance and chrominance, float32 (3 N, H, W), three running."""
    return (images @ dct_matrix(3).T).permute(0, 3, 1, 2).flatten(0, 1)


def coloured(pictures: torch.Tensor) -> torch.Tensor:
    """The inverse of `opponents`."""
    pixels = pictures.reshape(-1, 3, *pictures.shape[1:]).permute(0, 2, 3, 1)
    return pixels @ dct_matrix(3)


def channels(size: int, keep: int, chroma: int, colours: int) -> torch.Tensor:
    """Which of the coefficients of a block, colour after colour, become channels: bool (colours * size * size,)."""
    axis = torch.arange(size)
    squares = [((axis < low)[:, None] & (axis < low)[None, :]).flatten() for low in (keep, *[chroma] * (colours - 1))]
    return torch.cat(squares)


@dataclass(frozen=True)
class BlockDCT:
    """Pictures in [0, 1] to standardised latents and back.

    Attributes:
        size, keep: block side and coefficients kept per axis, of luminance.
        shape: (H, W) of the pictures.
        mean, std: float32 (C,), over training images and positions, C = keep * keep of one colour, and
            keep * keep + 2 chroma * chroma of three.
        residual: mean squared error of encode-decode on the training images, in squared levels of [0, 1], without
            detail.
        colours: 1 or 3.
        detail: what draws the coefficients left out, or None: they are zero.
    """

    size: int
    keep: int
    shape: tuple[int, int]
    mean: torch.Tensor
    std: torch.Tensor
    residual: float
    colours: int = 1
    detail: Detail | None = None

    @property
    def chroma(self) -> int:
        """Coefficients kept per axis, of each chrominance."""
        return math.isqrt((len(self.mean) - self.keep**2) // 2) if self.colours == 3 else self.keep

    @classmethod
    def fit(
        cls, images: np.ndarray, *, size: int, keep: int, chroma: int | None = None, detail: bool = False
    ) -> "BlockDCT":
        """Measure mean and standard deviation of each coefficient.

        Args:
            images: float32 (N, H, W[, 3]) in [0, 1].
            size: block side in pixels.
            keep: coefficients kept per axis of luminance.
            chroma: coefficients kept per axis of each chrominance, at most `keep`, which it is when None.
            detail: whether the coefficients left out are drawn.
        """
        colours, chroma = 1 if images.ndim == 3 else 3, keep if chroma is None else min(chroma, keep)
        x = torch.from_numpy(images)
        x = x if colours == 1 else opponents(x)
        inner, kept = channels(keep, keep, chroma, colours), channels(size, keep, chroma, colours)
        z = blocks(x, size, keep)
        shape, grid = (images.shape[1], images.shape[2]), z.shape[2:]
        z = z.reshape(-1, len(inner), *grid)
        z[:, ~inner] = 0
        residual = float((unblocks(z.reshape(len(x), -1, *grid), size, keep, shape) - x).square().mean())
        z = z[:, inner]
        mean, std = z.mean((0, 2, 3)), z.std((0, 2, 3)).clamp_min(1e-4)
        made = cls(size, keep, shape, mean, std, residual, colours)
        if not detail or kept.all():
            return made
        fine = blocks(x, size, size).reshape(-1, len(kept), *grid)[:, ~kept]
        return replace(made, detail=Detail.fit((z - mean[:, None, None]) / std[:, None, None], fine))

    @classmethod
    def of(cls, arrays: dict[str, np.ndarray], *, block: int, keep: int) -> "BlockDCT":
        """The one that gave `arrays`."""
        shape = (int(arrays["shape"][0]), int(arrays["shape"][1]))
        mean, std = torch.from_numpy(arrays["mean"]), torch.from_numpy(arrays["std"])
        detail = Detail.of(arrays) if "detail.filters" in arrays else None
        colours = 1 if len(mean) == keep * keep else 3
        return cls(block, keep, shape, mean, std, float(arrays["residual"][0]), colours, detail)

    def arrays(self) -> dict[str, np.ndarray]:
        """Everything but block and keep."""
        return {
            "mean": self.mean.numpy(),
            "std": self.std.numpy(),
            "shape": np.array(self.shape, np.int64),
            "residual": np.array([self.residual]),
        } | ({} if self.detail is None else self.detail.arrays())

    def encode(self, images: np.ndarray) -> torch.Tensor:
        """float32 (N, H, W[, 3]) in [0, 1] to float32 (N, C, h, w) with unit variance per channel."""
        x = torch.from_numpy(images)
        z = blocks(x if self.colours == 1 else opponents(x), self.size, self.keep)
        inner = channels(self.keep, self.keep, self.chroma, self.colours)
        z = z.reshape(-1, len(inner), *z.shape[2:])
        return ((z if inner.all() else z[:, inner]) - self.mean[:, None, None]) / self.std[:, None, None]

    def decode(self, latents: torch.Tensor) -> np.ndarray:
        """The inverse of `encode`, clipped to [0, 1]; float32 (N, H, W[, 3])."""
        z = latents.float() * self.std[:, None, None] + self.mean[:, None, None]
        side = self.keep if self.detail is None else self.size
        kept = channels(side, self.keep, self.chroma, self.colours)
        whole = z.new_zeros(len(z), len(kept), *z.shape[2:])
        whole[:, kept] = z
        if self.detail is not None:
            whole[:, ~kept] = self.detail.draw(latents)
        x = unblocks(whole.reshape(-1, side * side, *z.shape[2:]), self.size, side, self.shape)
        return (x if self.colours == 1 else coloured(x)).clamp(0, 1).numpy()
