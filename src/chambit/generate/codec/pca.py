"""Principal components of whole pictures: the best linear code of a given length, on a grid of one position.

    z = (x - m) V / s,   V: leading eigenvectors of the covariance of the training pictures (Pearson 1901)

Very quick, and smooth: what few components cannot tell is missing from every picture. Components are directions
through training pictures; with few of those one component may show most of a single picture.
"""

from dataclasses import dataclass

import numpy as np
import torch

ROWS = 2000  # pictures the components are taken from: of more, equally spaced ones


@dataclass(frozen=True)
class Components:
    """Pictures in [0, 1] to standardised scores and back; attributes as of `chambit.generate.codec.Codec`.

    Also `centre`, float32 (P,), the mean picture, and `basis`, float32 (C, P), orthonormal rows.
    """

    shape: tuple[int, int]
    colours: int
    mean: torch.Tensor
    std: torch.Tensor
    residual: float
    centre: torch.Tensor
    basis: torch.Tensor

    @property
    def size(self) -> int:
        """The larger side of a picture: the grid has one position."""
        return max(self.shape)

    @classmethod
    def fit(cls, images: np.ndarray, *, components: int) -> "Components":
        """Find at most `components` of pictures float32 (N, H, W[, 3]) in [0, 1]."""
        x = torch.from_numpy(images).flatten(1)
        few = x[torch.linspace(0, len(x) - 1, min(len(x), ROWS)).long()].double()
        centre = few.mean(0)
        # of the smaller of both products, from double precision: its roots are the singular values
        rows = few - centre
        gram = rows @ rows.T if len(rows) <= rows.shape[1] else rows.T @ rows
        values, vectors = torch.linalg.eigh(gram)
        found = values.flip(0) > 1e-9 * values[-1].clamp_min(1e-12)
        vectors = vectors.flip(1)[:, found][:, :components]
        basis = (vectors.T @ rows if len(rows) <= rows.shape[1] else vectors.T).double()
        basis = basis / basis.norm(dim=1, keepdim=True)
        if not len(basis):  # pictures of one grey have no direction
            basis = torch.zeros(1, rows.shape[1], dtype=torch.float64)
        # the sign is free: the largest value of each is positive, so that equal pictures give equal bytes
        sign = basis.gather(1, basis.abs().argmax(1, keepdim=True)).sign()
        basis, centre = (basis * torch.where(sign == 0, 1.0, sign)).float(), centre.float()
        z = (x - centre) @ basis.T
        residual = float((z @ basis + centre - x).square().mean())
        colours = 1 if images.ndim == 3 else 3
        return cls((images.shape[1], images.shape[2]), colours, z.mean(0), z.std(0).clamp_min(1e-4), residual,
                   centre, basis)  # fmt: skip

    @classmethod
    def of(cls, arrays: dict[str, np.ndarray], *, block: int, keep: int) -> "Components":
        """The one that gave `arrays`; block and keep are of no use here."""
        tensors = {name: torch.from_numpy(arrays[name]) for name in ("mean", "std", "centre", "basis")}
        shape = (int(arrays["shape"][0]), int(arrays["shape"][1]))
        colours = len(tensors["centre"]) // (shape[0] * shape[1])
        return cls(shape, colours, residual=float(arrays["residual"][0]), **tensors)

    def arrays(self) -> dict[str, np.ndarray]:
        """Everything."""
        tensors = {"mean": self.mean, "std": self.std, "centre": self.centre, "basis": self.basis}
        return {name: value.numpy() for name, value in tensors.items()} | {
            "shape": np.array(self.shape, np.int64),
            "residual": np.array([self.residual]),
        }

    def encode(self, images: np.ndarray) -> torch.Tensor:
        """float32 (N, H, W[, 3]) in [0, 1] to (N, C, 1, 1) of unit variance per channel."""
        z = (torch.from_numpy(images).flatten(1) - self.centre) @ self.basis.T
        return ((z - self.mean) / self.std)[:, :, None, None]

    def decode(self, latents: torch.Tensor) -> np.ndarray:
        """The inverse of `encode`, clipped to [0, 1]; float32 (N, H, W[, 3])."""
        x = (latents.float().flatten(1) * self.std + self.mean) @ self.basis + self.centre
        return x.clamp(0, 1).reshape(-1, *self.shape, *((3,) if self.colours == 3 else ())).numpy()
