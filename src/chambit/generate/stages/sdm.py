"""Semantic diffusion: a picture for a map of parts (and the mask of its finding).

After Wang et al. 2022 (arXiv:2207.00050): the map steers the denoiser, joined to the picture (`network: concat`) or
modulating every norm as well (`spade`), and classifier-free guidance on the map makes the picture follow it more
closely. Two denoisers are trained together: of the scores of a look, which say the colour, light and gloss of a whole
mouth and shade every part of the map, and of what looks leave, in a block-DCT basis, told map and shaded picture
(`chambit.generate.staged.surfaces`).
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
from pydantic import Field

from chambit.core.evidence import Frozen
from chambit.core.steps import Context
from chambit.core.store import Store
from chambit.generate.items import Arrays, Examples, Ports

if TYPE_CHECKING:
    import torch

    from chambit.generate.staged.denoiser import Both
    from chambit.generate.staged.drawing import Asked, Model
    from chambit.generate.staged.surfaces import Surfaces

version = "2"
FINEST = 2e-3  # least spread of a coefficient: finer ones are rounding


class Options(Frozen):
    """What changes the result.

    steps, batch, rate: of training; pixels: longer side of the pictures; components, mix: of the looks of each view,
    and from how many people's a target is mixed (1 is none); looks: batch of the looks' denoiser; block, keep: side of
    the DCT's blocks and coefficients kept of each axis; network: how the map steers; width, depth: of the network;
    schedule: of the noise; predict: what the network answers; focus: how much more the finding's blocks count in the
    loss; drop: share of conditions and maps hidden, for guidance; ddim: sampler steps; guidance: 1 is none; calm:
    factor of the first noise of what looks leave, below 1 smoother; checkpoint: steps between two.
    """

    steps: int = Field(3000, ge=1)
    batch: int = Field(16, ge=2)
    rate: float = Field(1e-3, gt=0)
    pixels: int = Field(128, ge=16, le=512)
    components: int = Field(24, ge=1, le=256)
    mix: int = Field(2, ge=1, le=16)
    looks: int = Field(64, ge=2)
    block: int = Field(8, ge=1, le=16)
    keep: int = Field(6, ge=1, le=16)
    network: Literal["spade", "concat"] = "concat"
    width: int = Field(64, ge=16, multiple_of=16)
    depth: int = Field(1, ge=1, le=4)
    schedule: Literal["cosine", "linear"] = "cosine"
    predict: Literal["v", "x0"] = "x0"
    focus: float = Field(4.0, ge=0)
    drop: float = Field(0.05, ge=0, lt=1)
    ddim: int = Field(25, ge=2)
    guidance: float = Field(1.0, ge=0)
    calm: float = Field(0.7, gt=0, le=1)
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

    from chambit.generate.staged import diffusion, drawing, kept, outlines, parts, surfaces, training
    from chambit.generate.staged.conditions import Conditions
    from chambit.generate.staged.denoiser import both
    from chambit.generate.training.device import choose

    layouts = parts.need_layouts(examples.layout(), "sdm")
    size = parts.size_at(layouts.shape[1], layouts.shape[2], options.pixels, 4 * options.block)
    values, masks = parts.values_of(layouts), examples.mask()
    images = parts.resized(parts.planes(examples.image()), size)
    maps, coarse = surfaces.maps_of(layouts, masks, values, size), parts.at_size(layouts, size)
    found = None if masks is None else maps[:, len(values)].numpy()
    factors = examples.factor()
    of_group, groups = outlines.grouped(factors)
    keep = min(options.keep, options.block)
    basis, scores = surfaces.fit(images, coarse, found, groups, options.components, options.block, keep)
    encoded = outlines.Encoded(scores, groups, basis.scores)
    flat = basis.flat(coarse, maps, scores, groups)
    latents, maps = basis.latents(images, flat), surfaces.joined(maps, flat)
    conditions = Conditions.of(examples)
    given = {"label": examples.label(), "factors": factors, "vector": examples.vector()}
    levels, numbers = conditions.rows(given, len(layouts))
    place = choose()
    told = {"levels": list(conditions.levels), "depth": options.depth, "width": options.width}
    places = told | {"channels": latents.shape[1], "maps": maps.shape[1], "numbers": conditions.numbers, "patch": 1}
    places |= {"spade": options.network == "spade", "finer": options.block}
    shape = {"scores": told | {"channels": basis.scores, "numbers": len(conditions.centre)}, "places": places}
    network = kept.placed(both(shape, context.seed("weights")), place)
    scales = drawing.Scale.of(torch.from_numpy(scores)[:, :, None, None], 1.0), drawing.Scale.of(latents, FINEST)
    # what is seen more counts more: coefficients by the root of their spread
    seen = torch.tensor(scales[1].spread).sqrt()[None, :, None, None]
    seen = seen / seen.mean()

    def error(
        part: torch.nn.Module, x0: torch.Tensor, conds: tuple[torch.Tensor | None, ...], weight: torch.Tensor | float,
        generator: torch.Generator,
    ) -> torch.Tensor:  # fmt: skip
        def answer(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
            said: torch.Tensor = part(x, t, *conds)
            return said

        image = diffusion.clean(answer, options.schedule, options.predict)
        return diffusion.loss(image, x0.to(place), generator, options.schedule, weight)

    def loss(step: int, generator: torch.Generator) -> torch.Tensor:
        batch = training.chosen(len(images), options.batch, generator)
        drawn = drawing.shares(maps[batch])
        spots = drawn[:, len(values) : len(values) + 1] if found is not None else torch.zeros(1, 1, *size)
        weight = seen * (1 + options.focus * torch.nn.functional.max_pool2d(spots, options.block))
        index, number, shown = drawing.hidden(conditions, levels[batch], numbers[batch], drawn, options.drop, generator)
        assert shown is not None
        conds = index.to(place), number.to(place), shown.to(place, memory_format=torch.channels_last)
        x0 = scales[1].standard(latents[batch]).to(memory_format=torch.channels_last)
        of_rest = error(network.places, x0, conds, weight.to(place), generator)
        batch = training.chosen(len(images), options.looks, generator)
        mixtures = np.random.default_rng(context.seed(f"mixtures {step}"))
        mixed = torch.from_numpy(outlines.blended(encoded, batch.numpy(), options.mix, mixtures))[:, :, None, None]
        index, number, _ = drawing.hidden(conditions, levels[batch], numbers[batch], None, options.drop, generator)
        of_looks = error(
            network.scores, scales[0].standard(mixed), (index.to(place), number.to(place), None), 1.0, generator
        )
        return of_rest + of_looks

    plan = training.Plan(options.steps, options.rate, options.checkpoint)
    curve = training.fit(context, [training.Turn("denoiser", network, loss)], plan, place)
    facts = {"loss": curve["denoiser"], "items": len(images), "parts": len(values), "pixels": list(size)}
    facts |= {"scores": basis.scores, "rest": round(float((images - flat).square().mean().sqrt()), 5)}
    model = drawing.Model(
        network, conditions, scales[1], options.schedule, options.predict, (latents.shape[2], latents.shape[3]), place
    )
    record = model.record(shape, facts, masked=masks is not None, made=list(size), looks=scales[0]._asdict())
    arrays = basis.arrays() | {"levels": of_group, "shares": np.bincount(groups) / len(groups)}
    return kept.put(context.store, network, record, **arrays)


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
    import torch

    from chambit.generate.staged import drawing, parts

    model, basis, asked, flat = _asked(store, weights, given, seeds, options)
    latents, _ = drawing.draw(model, asked, options.ddim, options.guidance, calm=options.calm)
    return {"image": parts.pictures(basis.pictures(torch.from_numpy(latents), flat).numpy())}


def facts(store: Store, weights: str) -> dict[str, Any]:
    """What training measured: loss curve, numbers of items and parts, size of the pictures."""
    from chambit.generate.staged import kept

    return kept.facts(store, weights)


def way(store: Store, weights: str, given: Arrays, seeds: Sequence[int], options: Options, looks: int) -> np.ndarray:
    """Pictures along the way from noise, float32 (looks, N, h, w[, 3]) in [0, 1]; the last is what `sample` makes."""
    import torch

    from chambit.generate.staged import drawing, parts
    from chambit.generate.staged.diffusion import looks_along

    model, basis, asked, flat = _asked(store, weights, given, seeds, options)
    _, along = drawing.draw(
        model, asked, options.ddim, options.guidance, looks_along(options.ddim, looks), options.calm
    )
    return np.stack([parts.pictures(basis.pictures(torch.from_numpy(at), flat).numpy()) for at in along])


def _asked(
    store: Store, weights: str, given: Arrays, seeds: Sequence[int], options: Options
) -> "tuple[Model, Surfaces, Asked, torch.Tensor]":
    """What draws, what pictures are written in, what is asked of the second denoiser, and the shaded pictures."""
    from chambit.generate.staged import drawing, outlines, parts, surfaces
    from chambit.generate.staged.denoiser import both

    model, whole = drawing.loaded(store, weights, both)
    networks = cast("Both", model.network)
    basis, record = surfaces.Surfaces.of(whole.arrays), whole.record
    layouts, size = np.asarray(given["layout"]), (record["made"][0], record["made"][1])
    parts.check_known(layouts, basis.values)
    masks = None
    if record["masked"]:
        masks = np.asarray(given["mask"]) if "mask" in given else np.zeros(layouts.shape, np.float32)
    levels, numbers = model.conditions.rows(given, len(seeds))
    width = len(model.conditions.levels) - 1
    known = np.asarray(given.get("factors", np.full((len(seeds), width), -1)), np.int64)
    groups = outlines.group_of(whole.arrays["levels"], whole.arrays["shares"], known, seeds)
    scale = drawing.Scale(*(tuple(record["looks"][name]) for name in drawing.Scale._fields))
    looking = model._replace(network=networks.scores, scale=scale, size=(1, 1))
    scores, _ = drawing.draw(looking, drawing.Asked(seeds, levels, numbers, None), options.ddim, 1.0)
    maps = surfaces.maps_of(layouts, masks, basis.values, size)
    flat = basis.flat(parts.at_size(layouts, size), maps, scores[:, :, 0, 0], groups)
    # the second denoiser begins from noise of its own
    other = [int(np.random.default_rng([int(seed) % 2**63, 5]).integers(2**62)) for seed in seeds]
    asked = drawing.Asked(other, levels, numbers, surfaces.joined(maps, flat))
    return model._replace(network=networks.places), basis, asked, flat
