"""What a stage of diffusion type answers; its file holds its options, which know their objective, and these functions.

Imports torch only when something is computed: a plan asks for options and ports alone.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from chambit.core.steps import Context
from chambit.core.store import Store
from chambit.generate.items import Arrays, Examples, Ports
from chambit.generate.options import Diffusion, Trained

if TYPE_CHECKING:
    from chambit.generate.training.looking import Watch
    from chambit.generate.training.trained import Model

__all__ = ["facts", "ports", "probe", "sample", "train", "vary", "way"]


def ports(options: Trained) -> Ports:
    """What `sample` needs, takes and makes."""
    return Ports(("label",), ("finding", "factors", "vector", "box", "mask"), ("image", "mask"))


def train(context: Context, examples: Examples, options: Diffusion, watch: "Watch | None" = None) -> str:
    """Train on real items.

    Args:
        context: of the running step.
        examples: the training part of the cohort.
        options: see `chambit.generate.options` and the stage.
        watch: shown a `chambit.generate.training.looking.Look` every `look` steps and at the end; what it
            returns, if not None, is the step of the look whose weights are used, and training stops.

    Returns:
        Digest of the weights (safetensors: network, codec, shapes, losses, options).

    Raises:
        InputError: when the options do not fit the items.
        ChambitError: when the loss is no number any more.
    """
    from chambit.generate.training import diffusion

    return diffusion.train(context, examples, options, watch)


def sample(
    store: Store, weights: str, given: Arrays, seeds: Sequence[int], options: Diffusion
) -> dict[str, np.ndarray]:
    """Draw items, each a function of what is given of it and of its seed.

    Args:
        store: where the weights are.
        weights: digest that `train` returned.
        given: `label`; where the stage was trained with masks `finding`: which items get one (all where it is not
            given), `mask` or `box`: used instead of drawing one; `factors`, `vector` where it was trained with them.
        seeds: seed of each item.
        options: those of training.

    Returns:
        `image` float32 (N[, D], H, W[, 3]) in [0, 1]; `mask` float32 where the stage was trained with masks.

    Raises:
        InputError: when what is given has another form than in training.
    """
    from chambit.generate.training import trained

    return trained.draw(_model(store, weights, options), given, seeds, options.heun, options.guidance)


def vary(
    store: Store,
    weights: str,
    images: np.ndarray,
    labels: Sequence[int],
    masks: np.ndarray | None,
    strength: float,
    seeds: Sequence[int],
    options: Diffusion,
) -> np.ndarray:
    """Near-duplicates of images as this generator would make them (SDEdit, arXiv:2108.01073), each from its own seed.

    Args:
        store: where the weights are.
        weights: digest that `train` returned.
        images: float32 (N[, D], H, W[, 3]) in [0, 1], of the form the stage was trained on.
        labels: class index of each image.
        masks: of the finding in [0, 1], or None: empty ones.
        strength: how far to noise they go and come back, in [0, 1]; 0 is the codec's round trip alone.
        seeds: seed of each image.
        options: those of training.

    Returns:
        float32 of the shape of `images`, in [0, 1].
    """
    from chambit.generate.training import trained

    model, known = _model(store, weights, options), _known(labels, masks)
    return trained.vary(model, images, known, strength, seeds, options.heun, options.guidance)


def probe(
    store: Store,
    weights: str,
    images: np.ndarray,
    labels: Sequence[int],
    masks: np.ndarray | None,
    seed: int,
    options: Diffusion,
) -> dict[str, np.ndarray]:
    """How well the network knows each image: `denoising` and `sima`, formulas in `chambit.generate.objectives.flow`.

    Args:
        store: where the weights are.
        weights: digest that `train` returned.
        images: float32 (N[, D], H, W[, 3]) in [0, 1], of the form the stage was trained on.
        labels: class index of each image.
        masks: of the finding in [0, 1], or None: empty ones.
        seed: of the noise, one for all images; must be the same for images that are compared.
        options: those of training.

    Returns:
        Name of the score -> float64 (N,), larger means better known. A score does not depend on the other images, up
        to the rounding of the network's 16-bit arithmetic.
    """
    from chambit.generate.training import trained

    model, known = _model(store, weights, options), _known(labels, masks)
    return {
        "denoising": trained.denoising(model, images, known, seed),
        "sima": trained.noiseless(model, images, known),
    }


def way(store: Store, weights: str, given: Arrays, seeds: Sequence[int], options: Diffusion, looks: int) -> np.ndarray:
    """From noise to image: what the network thinks each item is at `looks` steps of the sampler, and in the end.

    Its idea of x_0 is shown, not the noisy state: decoded states are noise until near the end, while the idea begins as
    the mean of all items and takes shape from coarse to fine.

    Returns:
        float32 (looks, N[, D], H, W[, 3]) in [0, 1]; the last is what `sample` draws.
    """
    from chambit.generate.training import diffusion

    return diffusion.way(_model(store, weights, options), given, seeds, options, looks)


def facts(store: Store, weights: str) -> dict[str, Any]:
    """What there is to say of trained weights.

    Returns:
        `parameters`, `steps`, `gflop_per_step`, `gflop_per_item`, `network_calls_per_item`, `random_numbers_per_item`
        (that an item begins with), `losses` (a list of step and mean loss of the ten steps before), `codec` and
        `codec_residual` (mean squared error in squared levels of [0, 1]; None where it was not measured). How long
        training took is an event of its step, not of the weights: two trainings give equal weights in unequal time.
    """
    from chambit.generate.training import diffusion

    return diffusion.facts(store, weights)


def _known(labels: Sequence[int], masks: np.ndarray | None) -> dict[str, np.ndarray]:
    given = {"label": np.asarray(labels, np.int64)}
    return given if masks is None else given | {"mask": np.asarray(masks, np.float32)}


def _model(store: Store, weights: str, options: Diffusion) -> "Model":
    from chambit.generate.training import trained

    return trained.get(store, weights, options, options.objective())
