"""Denoising diffusion (DDPM) on latents: predicts noise or velocity; sampled by DDIM or step by step.

Velocity with the cosine schedule is the default: predicting the noise is the classic, and far worse with few training
steps. Formulas in `chambit.generate.objectives.ddpm`; everything else as in `flow`.
"""

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from chambit.generate.options import Diffusion
from chambit.generate.stage import facts, ports, probe, sample, train, vary, way

if TYPE_CHECKING:
    from chambit.generate.objectives.objective import Objective

__all__ = ["Options", "facts", "ports", "probe", "sample", "train", "vary", "version", "way"]
version = "4"


class Options(Diffusion):
    """As `Diffusion` with `heun`: sampler steps, one evaluation each; predicts: `v` or `eps`; schedule: `cosine` or
    `linear`; sampler: `ddim` (deterministic) or `ancestral` (adds noise at every step, wants many).
    """

    heun: int = Field(50, ge=2, le=1000)
    predicts: Literal["v", "eps"] = "v"
    schedule: Literal["cosine", "linear"] = "cosine"
    sampler: Literal["ddim", "ancestral"] = "ddim"

    def objective(self) -> "Objective":
        """DDPM."""
        from chambit.generate.objectives.ddpm import Ddpm

        return Ddpm(self.predicts, self.schedule, self.sampler)
