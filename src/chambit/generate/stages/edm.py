"""Denoising with the preconditioning and the sampler of EDM (Karras et al. 2022) on latents.

At small budgets as good as `flow` and slower to sample; kept because its levels of noise are the field's common scale.
Formulas in `chambit.generate.objectives.edm`; everything else as in `flow`.
"""

from typing import TYPE_CHECKING

from pydantic import Field

from chambit.generate.options import Diffusion
from chambit.generate.stage import facts, ports, probe, sample, train, vary, way

if TYPE_CHECKING:
    from chambit.generate.objectives.objective import Objective

__all__ = ["Options", "facts", "ports", "probe", "sample", "train", "vary", "version", "way"]
version = "4"


class Options(Diffusion):
    """As `Diffusion`, and mean, spread: of the logarithm of the noise level in training."""

    mean: float = Field(-0.5, ge=-5, le=5)
    spread: float = Field(1.2, gt=0, le=5)

    def objective(self) -> "Objective":
        """EDM."""
        from chambit.generate.objectives.edm import Edm

        return Edm(self.mean, self.spread)
