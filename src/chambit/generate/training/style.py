"""The style of a picture in few numbers: how much its coefficients of each kind vary, whoever is on it.

    y = P (log sd_c(z) - m),   c: the channels of a picture's latents z, sd over its positions

Scanners and exposures differ in contrast, sharpness and grain of the whole picture, which a network whose layers
normalise every picture learns late; told these numbers it learns the rest sooner. In training they are those of the
picture. For a picture to be drawn they are drawn, given its class, from a mixture of normal distributions fitted to the
training pictures (clusters of k-means, each with its mean and covariance): no picture's own numbers are kept.

To tell a generator to which cluster of the data a picture belongs is known to help it: Hu et al. 2023
(arXiv:2210.06462).
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch

from chambit.generate import codec as codecs
from chambit.generate.codec import Codec

FEWEST = 40  # pictures for one normal distribution of the mixture, about
MOST = 16  # normal distributions in the mixture
NARROWEST = 0.05  # variance that each has at least in each direction, in units of the whole spread
POSITIONS = 16  # of the grid, below which a picture has no spread to speak of
STREAM = 0x57  # of the draws of style among those of an item


@dataclass(frozen=True)
class Style:
    """What turns latents into numbers, and how the numbers are spread.

    Attributes:
        centre: m, float32 (C,).
        basis: P, float32 (S, C): leading directions, each divided by its spread over the training pictures.
        means, roots: float32 (K, S) and (K, S, S), mean and root of the covariance of each cluster.
        shares: float32 (classes, K), how often pictures of a class are of each cluster.
    """

    centre: np.ndarray
    basis: np.ndarray
    means: np.ndarray
    roots: np.ndarray
    shares: np.ndarray

    @classmethod
    def fit(cls, latents: torch.Tensor, labels: np.ndarray, classes: int, count: int) -> "Style":
        """Find `count` numbers, at most one for each channel.

        Args:
            latents: float32 (N[, D], C, h, w).
            labels: int (N,) or, a class for each frame, (N, D).
            classes: their number.
            count: of numbers.
        """
        from scipy.cluster.vq import kmeans2

        logs = _spreads(latents)
        centre = logs.mean(0)
        _, lengths, directions = np.linalg.svd(logs - centre, full_matrices=False)
        spread = np.maximum(lengths[:count] / np.sqrt(len(logs)), 1e-6)
        # the sign is free: the largest value of each is positive, so that equal pictures give equal bytes
        directions = directions[:count]
        signs = np.sign(directions[np.arange(len(directions)), np.abs(directions).argmax(1)])
        basis = directions * signs[:, None] / spread[:, None]
        y = (logs - centre) @ basis.T
        clusters = int(np.clip(len(y) // FEWEST, 1, MOST))
        _, of = kmeans2(y, clusters, seed=0, minit="++")
        of = np.unique(of, return_inverse=True)[1]
        means, roots, shares = [], [], np.zeros((classes, of.max() + 1))
        for k in range(of.max() + 1):
            own = y[of == k]
            means.append(own.mean(0))
            apart = own - means[-1]
            roots.append(np.linalg.cholesky(apart.T @ apart / len(own) + NARROWEST * np.eye(len(basis))))
        np.add.at(shares, (_middle(labels), of), 1)
        shares += shares.sum(0) * 1e-3 / max(len(y), 1)  # a class nobody has is drawn like all
        parts = (centre, basis, np.stack(means), np.stack(roots), shares / shares.sum(1, keepdims=True))
        return cls(*(np.asarray(part, np.float32) for part in parts))

    def of(self, latents: torch.Tensor) -> torch.Tensor:
        """The numbers of latents (N[, D], C, h, w), float32 (N, S), about in units of their spread."""
        return torch.from_numpy(((_spreads(latents) - self.centre) @ self.basis.T).astype(np.float32))

    def draw(self, labels: np.ndarray, seeds: Sequence[int]) -> torch.Tensor:
        """Numbers for items of these classes, each from its own seed; float32 (N, S)."""
        out = np.empty((len(seeds), len(self.basis)), np.float32)
        for k, (label, seed) in enumerate(zip(_middle(labels).tolist(), seeds, strict=True)):
            rng = np.random.default_rng([int(seed), STREAM])
            shares = self.shares[label].astype(np.float64)
            cluster = rng.choice(len(shares), p=shares / shares.sum())
            out[k] = self.means[cluster] + self.roots[cluster] @ rng.standard_normal(len(self.basis))
        return torch.from_numpy(out)

    @classmethod
    def again(cls, arrays: dict[str, np.ndarray]) -> "Style | None":
        """What gave these arrays, or None."""
        if "style.basis" not in arrays:
            return None
        return cls(*(arrays[f"style.{field.name}"] for field in fields(cls)))

    def arrays(self) -> dict[str, np.ndarray]:
        """What `again` makes it of."""
        return {f"style.{field.name}": getattr(self, field.name) for field in fields(self)}


def numbers(codec: Codec, count: int) -> int:
    """How many numbers of style pictures of this codec have, if `count` are asked for."""
    channels, rows, columns = codecs.grid(codec)
    return min(count, channels) if rows * columns >= POSITIONS else 0


def _spreads(latents: torch.Tensor) -> np.ndarray:
    """Logarithm of each channel's standard deviation within an item, float64 (N, C)."""
    x = latents if latents.ndim == 4 else latents.transpose(1, 2)
    spread = x.double().flatten(2).std(2, correction=0).clamp_min(1e-3)
    return np.asarray(spread.log().cpu().numpy())


def _middle(labels: np.ndarray) -> np.ndarray:
    """One class for each item: that of the frame in the middle."""
    labels = np.asarray(labels)
    return labels if labels.ndim == 1 else labels[:, labels.shape[1] // 2]
