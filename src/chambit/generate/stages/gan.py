"""A class-conditional GAN on latents: quickest to sample, poorest in variety; for comparison and for previews.

On principal components it draws plausible pictures of little variety within a minute; on block transforms it collapsed
in all our trials of a few hundred steps. It has no `vary` and no `probe`: what it makes cannot be asked how well it is
known. Formulas, sources and failures in `chambit.generate.objectives.adversarial`; everything else as in `flow`.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from chambit.core.steps import Context
from chambit.core.store import Store
from chambit.generate.items import Arrays, Examples
from chambit.generate.options import Coder, Trained
from chambit.generate.stage import facts, ports

if TYPE_CHECKING:
    from chambit.generate.training.looking import Watch

__all__ = ["Options", "facts", "ports", "sample", "train", "version"]
version = "4"


class Options(Trained):
    """As `Trained` (`focus` is of no use here), and penalty: weight of the gradient penalty on real items.

    Principal components are the default codec, because on a grid of blocks this small game did not hold together; items
    with an axis need another one.
    """

    codec: Coder = "pca"
    width: int = Field(96, ge=16, multiple_of=8)
    levels: int = Field(2, ge=2, le=6)
    block: int = Field(8, ge=1, le=32)
    keep: int = Field(4, ge=1, le=32)
    rate: float = Field(1e-3, gt=0)
    penalty: float = Field(0.1, ge=0)


def train(context: Context, examples: Examples, options: Options, watch: "Watch | None" = None) -> str:
    """Train on real items; arguments and result as of `flow`, but a look has nothing to ask.

    Raises:
        InputError: when the options do not fit the items.
        ChambitError: when the loss is no number any more.
    """
    from chambit.generate.objectives import adversarial
    from chambit.generate.training import diffusion

    def learner(network: object, ready: diffusion.Prepared) -> adversarial.Players:
        return adversarial.Players(network, ready, options, options.penalty, context.seed)

    return diffusion.trained_with(context, examples, options, adversarial.Once(), learner, watch)


def sample(store: Store, weights: str, given: Arrays, seeds: Sequence[int], options: Options) -> dict[str, np.ndarray]:
    """Draw items, each a function of what is given of it and of its seed; as of `flow`."""
    from chambit.generate.objectives import adversarial
    from chambit.generate.training import trained

    return trained.draw(trained.get(store, weights, options, adversarial.Once()), given, seeds, 1, 1.0)
