"""Semantic diffusion: a picture for a map of parts (and the mask of its finding).

After Wang et al. 2022 (arXiv:2207.00050): the map steers the denoiser, joined to the picture (`network: concat`) or
modulating every norm as well (`spade`), and classifier-free guidance on the map makes the
picture follow it more closely.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field

from chambit.core.evidence import Frozen
from chambit.core.steps import Context
from chambit.core.store import Store
from chambit.generate.items import Arrays, Examples, Ports

if TYPE_CHECKING:
    import torch

    from chambit.generate.staged.drawing import Asked, Model

version = "1"


class Options(Frozen):
    """What changes the result.

    steps, batch, rate: of training; pixels: longer side of the pictures; network: how the map steers; width, depth,
    patch: of the network; schedule: of the noise; predict: what the network answers; focus: how much more the finding's
    pixels count in the loss; drop: share of conditions and maps hidden, for guidance; ddim: sampler steps; guidance: 1
    is none; checkpoint: steps between two.
    """

    steps: int = Field(4000, ge=1)
    batch: int = Field(16, ge=2)
    rate: float = Field(1e-3, gt=0)
    pixels: int = Field(64, ge=16, le=512)
    network: Literal["spade", "concat"] = "concat"
    width: int = Field(64, ge=16, multiple_of=16)
    depth: int = Field(1, ge=1, le=4)
    patch: int = Field(2, ge=1, le=8)
    schedule: Literal["cosine", "linear"] = "cosine"
    predict: Literal["v", "x0"] = "x0"
    focus: float = Field(4.0, ge=0)
    drop: float = Field(0.15, ge=0, lt=1)
    ddim: int = Field(30, ge=2)
    guidance: float = Field(1.5, ge=0)
    checkpoint: int = Field(100, ge=1)


def ports(options: Options) -> Ports:
    """Needs a layout, takes what the plan says and a mask, makes the image."""
    return Ports(needs=("layout",), takes=("label", "factors", "vector", "mask"))


def train(context: Context, examples: Examples, options: Options, watch: Any = None) -> str:
    """Train on the pictures of one cohort and their layouts.

    Args:
        context: of the running step.
        examples: with layouts, and masks where there are any.
        options: see `Options`.
        watch: not asked by this stage; the pictures at the end of the chain are what is looked at.

    Returns:
        Digest of the weights.

    Raises:
        InputError: when there are no layouts or the items are no single pictures.
    """
    import torch

    from chambit.generate.staged import diffusion, drawing, kept, parts, training
    from chambit.generate.staged.conditions import Conditions
    from chambit.generate.staged.denoiser import built
    from chambit.generate.training.device import choose

    layouts = parts.need_layouts(examples.layout(), "sdm")
    size = parts.size_at(layouts.shape[1], layouts.shape[2], options.pixels, 4 * options.patch)
    values, masks = parts.values_of(layouts), examples.mask()
    maps = _maps(layouts, masks, values, size)
    images = parts.resized(parts.planes(examples.image()), size)
    conditions = Conditions.of(examples)
    given = {"label": examples.label(), "factors": examples.factor(), "vector": examples.vector()}
    levels, numbers = conditions.rows(given, len(layouts))
    place = choose()
    shape = {"channels": images.shape[1], "maps": maps.shape[1], "levels": list(conditions.levels)}
    shape |= {"numbers": conditions.numbers, "width": options.width, "patch": options.patch, "depth": options.depth}
    shape["spade"] = options.network == "spade"
    network = kept.placed(built(shape, context.seed("weights")), place)
    scale = drawing.Scale.of(images)
    model = drawing.Model(network, conditions, scale, options.schedule, options.predict, size, place)

    def loss(step: int, generator: torch.Generator) -> torch.Tensor:
        batch = training.chosen(len(images), options.batch, generator)
        drawn = drawing.shares(maps[batch])
        weight = 1 + options.focus * drawn[:, -1:] if masks is not None else torch.ones(1)
        index, number, shown = drawing.hidden(model, levels[batch], numbers[batch], drawn, options.drop, generator)
        assert shown is not None
        conds = index.to(place), number.to(place), shown.to(place, memory_format=torch.channels_last)
        x0 = scale.standard(images[batch]).to(place, memory_format=torch.channels_last)

        def answer(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
            said: torch.Tensor = network(x, t, *conds)
            return said

        image = diffusion.clean(answer, options.schedule, options.predict)
        return diffusion.loss(image, x0, generator, options.schedule, weight.to(place))

    plan = training.Plan(options.steps, options.rate, options.checkpoint)
    curve = training.fit(context, [training.Turn("denoiser", network, loss)], plan, place)
    facts = {"loss": curve["denoiser"], "items": len(images), "parts": len(values), "pixels": list(size)}
    record = model.record(shape, facts, masked=masks is not None)
    return kept.put(context.store, network, record, values=values)


def sample(store: Store, weights: str, given: Arrays, seeds: Sequence[int], options: Options) -> dict[str, np.ndarray]:
    """Draw pictures, each a function of its own layout, conditions and seed.

    Args:
        store: where the weights are.
        weights: digest that `train` returned.
        given: `layout` uint8 (N, H, W) of any size, and what else there is of the ports.
        seeds: seed of each item.
        options: those of training.

    Returns:
        `image` float32 (N, h, w[, 3]).

    Raises:
        InputError: when a layout has parts the training never showed.
    """
    from chambit.generate.staged import drawing, parts

    model, whole = drawing.loaded(store, weights)
    asked = _asked(model, whole.arrays["values"], whole.record["masked"], given, seeds)
    images, _ = drawing.draw(model, asked, options.ddim, options.guidance)
    return {"image": parts.pictures(images)}


def facts(store: Store, weights: str) -> dict[str, Any]:
    """What training measured: loss curve, numbers of items and parts, size of the pictures."""
    from chambit.generate.staged import kept

    return kept.facts(store, weights)


def way(store: Store, weights: str, given: Arrays, seeds: Sequence[int], options: Options, looks: int) -> np.ndarray:
    """Pictures along the way from noise, float32 (looks, N, h, w[, 3]) in [0, 1]; the last is what `sample` makes."""
    from chambit.generate.staged import drawing, parts
    from chambit.generate.staged.diffusion import looks_along

    model, whole = drawing.loaded(store, weights)
    asked = _asked(model, whole.arrays["values"], whole.record["masked"], given, seeds)
    _, along = drawing.draw(model, asked, options.ddim, options.guidance, looks_along(options.ddim, looks))
    return parts.pictures(along)


def _maps(layouts: np.ndarray, masks: np.ndarray | None, values: np.ndarray, size: tuple[int, int]) -> "torch.Tensor":
    """One map for each part, and the finding last where there is one: uint8 (N, K, h, w), 0 or 255.

    Maps are crisp at this size, in training as in sampling: a network that was taught soft borders draws stairs and
    halos on the crisp ones of a drawn layout.
    """
    import torch

    from chambit.generate.staged import parts

    drawn = parts.one_hot(parts.at_size(layouts, size), values, size)
    if masks is None:
        return drawn
    return torch.cat([drawn, torch.from_numpy(parts.masks_at(masks, size) * np.uint8(255))[:, None]], 1)


def _asked(model: "Model", values: np.ndarray, masked: bool, given: Arrays, seeds: Sequence[int]) -> "Asked":
    from chambit.generate.staged import parts
    from chambit.generate.staged.drawing import Asked

    layouts = np.asarray(given["layout"])
    parts.check_known(layouts, values)
    masks = None
    if masked:
        masks = np.asarray(given["mask"]) if "mask" in given else np.zeros(layouts.shape, np.float32)
    maps = _maps(layouts, masks, values, model.size)
    return Asked(seeds, *model.conditions.rows(given, len(seeds)), maps)
