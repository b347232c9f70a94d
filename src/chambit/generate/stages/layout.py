"""Diffusion over maps of parts: where each tooth, the gum and the finding are, before any picture is drawn.

The first stage of a chain. A layout is a few dozen numbers, the principal components of the signed distances of its
parts within its view, and whether each instance is there (`chambit.generate.staged.outlines`); a small perceptron is
trained to denoise them (arXiv:2006.11239). In that space teeth stay whole and in order after seconds of training, which
on a grid of pixels they do not. Targets are mixtures of several people's layouts, so there is no person's to remember.
Findings are put on the drawn parts as those of the training lie on theirs (`chambit.generate.staged.findings`).
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field

from chambit.core.evidence import Frozen
from chambit.core.steps import Context
from chambit.core.store import Store
from chambit.generate.items import Arrays, Examples, Ports

if TYPE_CHECKING:  # torch takes seconds to load, and a plan needs the options alone
    from chambit.generate.staged.drawing import Asked, Model
    from chambit.generate.staged.findings import Spots
    from chambit.generate.staged.outlines import Outlines

version = "2"


class Options(Frozen):
    """What changes the result.

    steps, batch, rate: of training; pixels: longer side of the grid of distances; reach: pixels of it at which a
    distance is cut off; components: of each view; mix: from how many people's layouts a target is mixed, 1 is none;
    size: longer side of the layouts that are made, no larger than the training's; width, depth: of the network;
    schedule: of the noise; predict: what the network answers; drop: share of conditions hidden, so that an item can be
    drawn of which less is known; ddim: sampler steps; checkpoint: steps between two.
    """

    steps: int = Field(3000, ge=1)
    batch: int = Field(128, ge=2)
    rate: float = Field(1e-3, gt=0)
    pixels: int = Field(64, ge=16, le=256)
    reach: float = Field(6.0, gt=0)
    components: int = Field(32, ge=1, le=256)
    mix: int = Field(3, ge=1, le=16)
    size: int = Field(256, ge=16, le=2048)
    width: int = Field(64, ge=16, multiple_of=16)
    depth: int = Field(2, ge=1, le=4)
    schedule: Literal["cosine", "linear"] = "cosine"
    predict: Literal["v", "x0"] = "x0"
    drop: float = Field(0.1, ge=0, lt=1)
    ddim: int = Field(40, ge=2)
    checkpoint: int = Field(500, ge=1)


def ports(options: Options) -> Ports:
    """Needs nothing, takes what the plan says of an item, makes its layout and the mask of its finding."""
    return Ports(takes=("label", "finding", "factors", "vector"), makes=("layout", "mask"))


def train(context: Context, examples: Examples, options: Options, watch: Any = None) -> str:
    """Train on the layouts of one cohort.

    Args:
        context: of the running step.
        examples: with layouts, and masks where there are any.
        options: see `Options`.
        watch: not asked; the stage makes no picture of a person.

    Returns:
        Digest of the weights, which hold the components and the spots' shapes.

    Raises:
        InputError: when there are no layouts or the items are no single pictures.
    """
    import torch

    from chambit.generate.staged import denoiser, diffusion, drawing, findings, kept, outlines, parts, training
    from chambit.generate.staged.conditions import Conditions
    from chambit.generate.training.device import choose

    layouts = parts.need_layouts(examples.layout(), "layout")
    fitted, encoded = outlines.fit(layouts, examples.factor(), options.pixels, options.reach, options.components)
    masks, size = examples.mask(), _capped(layouts, options.size)
    conditions = Conditions.of(examples, finding=masks is not None)
    given: dict[str, np.ndarray] = {
        "label": examples.label(),
        "factors": examples.factor(),
        "vector": examples.vector(),
    }
    arrays = fitted.arrays()
    if masks is not None:
        given["finding"] = np.asarray(masks.any((1, 2)))
        spots = findings.fit(layouts, masks, encoded.groups)
        arrays |= {f"spots.{name}": array for name, array in spots._asdict().items()}
    levels, numbers = conditions.rows(given, len(layouts))
    place = choose()
    shape = {"channels": encoded.rows.shape[1], "levels": list(conditions.levels), "numbers": len(conditions.centre)}
    shape |= {"width": options.width, "depth": options.depth}
    network = kept.placed(denoiser.perceptron(shape, context.seed("weights")), place)
    latents = torch.from_numpy(encoded.rows)[:, :, None, None]
    scale = drawing.Scale.of(latents, 1.0)
    model = drawing.Model(network, conditions, scale, options.schedule, options.predict, (1, 1), place)

    def loss(step: int, generator: torch.Generator) -> torch.Tensor:
        batch = training.chosen(len(layouts), options.batch, generator)
        draw = np.random.default_rng(context.seed(f"mixtures {step}"))
        mixed = torch.from_numpy(outlines.blended(encoded, batch.numpy(), options.mix, draw))[:, :, None, None]
        index, number, _ = drawing.hidden(conditions, levels[batch], numbers[batch], None, options.drop, generator)
        index, number = index.to(place), number.to(place)

        def answer(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
            said: torch.Tensor = network(x, t, index, number, None)
            return said

        image = diffusion.clean(answer, options.schedule, options.predict)
        return diffusion.loss(image, scale.standard(mixed).to(place), generator, options.schedule)

    plan = training.Plan(options.steps, options.rate, options.checkpoint)
    curve = training.fit(context, [training.Turn("denoiser", network, loss)], plan, place)
    facts = {"loss": curve["denoiser"], "items": len(layouts), "parts": len(fitted.values), "pixels": list(size)}
    facts |= {"groups": len(fitted.groups), "components": fitted.scores}
    share = 0.0 if masks is None else float(given["finding"].mean())
    record = model.record(shape, facts, masked=masks is not None, share=share, made=list(size))
    return kept.put(context.store, network, record, **arrays)


def sample(store: Store, weights: str, given: Arrays, seeds: Sequence[int], options: Options) -> dict[str, np.ndarray]:
    """Draw layouts, each a function of its own conditions and seed.

    Args:
        store: where the weights are.
        weights: digest that `train` returned.
        given: what the plan says of the items.
        seeds: seed of each item.
        options: those of training.

    Returns:
        `layout` uint8 (N, h, w) and `mask` float32 (N, h, w): spots where a finding is asked for, empty where none is
        or none was trained; where the plan does not say, in as many items as in training.
    """
    from chambit.generate.staged import drawing, findings

    model, fitted, spots, record = _loaded(store, weights)
    asked, groups = _asked(model, fitted, given, seeds)
    rows, _ = drawing.draw(model, asked, options.ddim, 1.0)
    layouts = fitted.decode(rows[:, :, 0, 0], groups, (record["made"][0], record["made"][1]))
    masks = np.zeros(layouts.shape, np.float32)
    for n, seed in enumerate(seeds):
        draw = np.random.default_rng([int(seed) % 2**63, 11])
        wanted = bool(given["finding"][n]) if "finding" in given else bool(draw.random() < record["share"])
        if spots is not None and wanted:
            masks[n] = findings.draw(spots, layouts[n], int(groups[n]), draw)
    return {"layout": layouts, "mask": masks}


def facts(store: Store, weights: str) -> dict[str, Any]:
    """What training measured: loss curve, numbers of items, parts, groups and components, size of the maps."""
    from chambit.generate.staged import kept

    return kept.facts(store, weights)


def way(store: Store, weights: str, given: Arrays, seeds: Sequence[int], options: Options, looks: int) -> np.ndarray:
    """Layouts along the way from noise, float32 (looks, N, h, w): the place of the part among all parts, in [0, 1]."""
    from chambit.generate.staged import drawing
    from chambit.generate.staged.diffusion import looks_along

    model, fitted, _, record = _loaded(store, weights)
    asked, groups = _asked(model, fitted, given, seeds)
    _, along = drawing.draw(model, asked, options.ddim, 1.0, looks_along(options.ddim, looks))
    size = record["made"][0], record["made"][1]
    drawn = np.stack([fitted.decode(rows[:, :, 0, 0], groups, size) for rows in along])
    shown: np.ndarray = np.searchsorted(fitted.values, drawn).astype(np.float32) / max(1, len(fitted.values) - 1)
    return shown


def _capped(layouts: np.ndarray, longer: int) -> tuple[int, int]:
    """Height and width of the layouts that are made."""
    from chambit.generate.staged.parts import size_at

    height, width = layouts.shape[1:]
    return size_at(height, width, min(longer, max(height, width)), 1)


def _loaded(store: Store, weights: str) -> "tuple[Model, Outlines, Spots | None, dict[str, Any]]":
    from chambit.generate.staged import denoiser, drawing
    from chambit.generate.staged.findings import Spots
    from chambit.generate.staged.outlines import Outlines

    model, whole = drawing.loaded(store, weights, denoiser.perceptron)
    masked = whole.record["masked"]
    spots = Spots(*(whole.arrays[f"spots.{name}"] for name in Spots._fields)) if masked else None
    return model, Outlines.of(whole.arrays), spots, whole.record


def _asked(model: "Model", fitted: "Outlines", given: Arrays, seeds: Sequence[int]) -> "tuple[Asked, np.ndarray]":
    """What is drawn, and the group of each item; the network is told the group that a seed has chosen."""
    import torch

    from chambit.generate.staged.drawing import Asked
    from chambit.generate.staged.outlines import group_of

    levels, numbers = model.conditions.rows(given, len(seeds))
    factors = fitted.levels.shape[1]
    known = np.asarray(given.get("factors", np.full((len(seeds), factors), -1)), np.int64)
    groups = group_of(fitted.levels, fitted.shares, known, seeds)
    chosen = fitted.levels[groups]
    told = levels.numpy().copy()
    told[:, 1 : 1 + factors] = np.where(chosen >= 0, chosen, told[:, 1 : 1 + factors])
    return Asked(seeds, torch.from_numpy(told), numbers, None), groups
