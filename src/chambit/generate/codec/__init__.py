"""Codecs: pictures in [0, 1] to standardised latents on a grid and back.

A network then works on few numbers that all have unit variance. A codec knows pictures (N, H, W) or, coloured,
(N, H, W, 3); `encode` and `decode` here fold the frames of items with an axis into N and unfold them again, so every
frame is coded by itself. One file adds one codec; which is used is an option of a stage.

    dct       fixed block transform: no training, blocks' borders show where few coefficients are kept
    identity  the pixels themselves, a block of them as channels of one position
    pca       principal components of whole pictures: one position, smooth pictures, very quick
    kl        a small autoencoder, trained first
"""

from typing import Any, Protocol

import numpy as np
import torch


class Codec(Protocol):
    """What all codecs have."""

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W) of the pictures."""

    @property
    def colours(self) -> int:
        """Values of a pixel, 1 or 3."""

    @property
    def size(self) -> int:
        """Side of one position of the grid in pixels."""

    @property
    def mean(self) -> torch.Tensor:
        """Mean of each channel before it is standardised, float32 (C,)."""

    @property
    def std(self) -> torch.Tensor:
        """Standard deviation of each channel before it is standardised, float32 (C,)."""

    @property
    def residual(self) -> float:
        """Mean squared error of encode-decode on training pictures, in squared levels of [0, 1]; NaN: not measured."""

    def encode(self, images: np.ndarray) -> torch.Tensor:
        """float32 (N, H, W[, 3]) in [0, 1] to float32 (N, C, h, w) of unit variance per channel."""

    def decode(self, latents: torch.Tensor) -> np.ndarray:
        """The inverse of `encode`, clipped to [0, 1]; float32 (N, H, W[, 3])."""

    def arrays(self) -> dict[str, np.ndarray]:
        """What makes it again with `of`, beside the options of the stage."""


def weight(codec: Codec) -> torch.Tensor:
    """Loss weight of each channel, float32 (C,), mean 1: root of its standard deviation.

    Unit weights would spend the network on noise-like details, energy weights on the coarsest channel alone.
    """
    root = codec.std.sqrt()
    return root / root.mean()


def grid(codec: Codec) -> tuple[int, int, int]:
    """(C, h, w) of the latents of one picture."""
    rows, columns = (-(-side // codec.size) for side in codec.shape)
    return len(codec.mean), rows, columns


def encode(codec: Codec, images: np.ndarray) -> torch.Tensor:
    """Pictures (N, H, W[, 3]) or items with an axis (N, D, H, W[, 3]) to latents (N[, D], C, h, w)."""
    lead = images.shape[: images.ndim - (2 if codec.colours == 1 else 3)]
    latents = codec.encode(images.reshape(-1, *images.shape[len(lead) :]))
    return latents.reshape(*lead, *latents.shape[1:])


def decode(codec: Codec, latents: torch.Tensor) -> np.ndarray:
    """The inverse of `encode`, float32 in [0, 1]."""
    lead = latents.shape[:-3]
    images = codec.decode(latents.reshape(-1, *latents.shape[-3:]).float().cpu())
    return images.reshape(*lead, *images.shape[1:])


def of(name: str, arrays: dict[str, np.ndarray], *, block: int, keep: int) -> Codec:
    """The codec of this name that gave `arrays`; block and keep are the options of its stage."""
    from chambit.generate.codec import dct, identity, kl, pca

    kinds: dict[str, Any] = {"dct": dct.BlockDCT, "identity": identity.Pixels, "pca": pca.Components, "kl": kl.Learnt}
    made: Codec = kinds[name].of(arrays, block=block, keep=keep)
    return made
