"""Diffusion over maps of parts: where each tooth, the gum and the finding are, before any picture is drawn.

The first stage of a chain. Parts are signed distances, one channel for each, cut off at `reach` pixels: far-reaching
ones say early where a small part will be, which one-hot maps do not, and the part that is deepest inside makes a crisp
map again, in which each tooth keeps its number. Where the training has masks of the finding they are one channel more.
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
    import torch

    from chambit.generate.staged.conditions import Conditions
    from chambit.generate.staged.drawing import Asked

version = "1"
FAR = 4  # of the longer side: how far the mask's distances reach
SPREAD = 0.2  # least spread of a part's channel: a part that is rare must not become all noise when standardised


class Options(Frozen):
    """What changes the result.

    steps, batch, rate: of training; pixels: longer side of the maps; reach: pixels at which a distance is cut off;
    width, depth, patch: of the network; schedule: of the noise; predict: what the network answers; drop: share of
    conditions hidden, for guidance; ddim: sampler steps; guidance: 1 is none; checkpoint: steps between two.
    """

    steps: int = Field(3000, ge=1)
    batch: int = Field(16, ge=2)
    rate: float = Field(1e-3, gt=0)
    pixels: int = Field(64, ge=16, le=256)
    reach: float = Field(16.0, gt=0)
    width: int = Field(64, ge=16, multiple_of=16)
    depth: int = Field(1, ge=1, le=4)
    patch: int = Field(2, ge=1, le=4)
    schedule: Literal["cosine", "linear"] = "cosine"
    predict: Literal["v", "x0"] = "x0"
    drop: float = Field(0.1, ge=0, lt=1)
    ddim: int = Field(30, ge=2)
    guidance: float = Field(1.0, ge=0)
    checkpoint: int = Field(100, ge=1)


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
        Digest of the weights.

    Raises:
        InputError: when there are no layouts or the items are no single pictures.
    """
    import torch

    from chambit.generate.staged import diffusion, drawing, kept, parts, training
    from chambit.generate.staged.conditions import Conditions
    from chambit.generate.staged.denoiser import built
    from chambit.generate.training.device import choose

    layouts = parts.need_layouts(examples.layout(), "layout")
    size = parts.size_at(layouts.shape[1], layouts.shape[2], options.pixels, 4 * options.patch)
    layouts, values, masks = parts.at_size(layouts, size), parts.values_of(layouts), examples.mask()
    signed = _signed(layouts, values, None if masks is None else parts.masks_at(masks, size), options.reach)
    conditions = Conditions.of(examples, finding=masks is not None)
    given: dict[str, np.ndarray] = {
        "label": examples.label(),
        "factors": examples.factor(),
        "vector": examples.vector(),
    }
    if masks is not None:
        given["finding"] = np.asarray(masks.any((1, 2)))
    levels, numbers = conditions.rows(given, len(layouts))
    place = choose()
    shape = {"channels": signed.shape[1], "maps": 0, "levels": list(conditions.levels), "numbers": conditions.numbers}
    shape |= {"width": options.width, "patch": options.patch, "depth": options.depth}
    network = kept.placed(built(shape, context.seed("weights")), place)
    scale = drawing.Scale.of(signed.float() / 127, SPREAD)
    model = drawing.Model(network, conditions, scale, options.schedule, options.predict, size, place)

    def loss(step: int, generator: torch.Generator) -> torch.Tensor:
        batch = training.chosen(len(signed), options.batch, generator)
        index, number, _ = drawing.hidden(model, levels[batch], numbers[batch], None, options.drop, generator)
        index, number = index.to(place), number.to(place)
        x0 = scale.standard(signed[batch].float() / 127).to(place, memory_format=torch.channels_last)

        def answer(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
            said: torch.Tensor = network(x, t, index, number, None)
            return said

        image = diffusion.clean(answer, options.schedule, options.predict)
        return diffusion.loss(image, x0, generator, options.schedule)

    plan = training.Plan(options.steps, options.rate, options.checkpoint)
    curve = training.fit(context, [training.Turn("denoiser", network, loss)], plan, place)
    smallest = 0.0 if masks is None else float(min((m.mean() for m in masks if m.any()), default=0.0))
    facts = {"loss": curve["denoiser"], "items": len(layouts), "parts": len(values), "pixels": list(size)}
    record = model.record(shape, facts, masked=masks is not None, smallest=smallest)
    return kept.put(context.store, network, record, values=values)


def sample(store: Store, weights: str, given: Arrays, seeds: Sequence[int], options: Options) -> dict[str, np.ndarray]:
    """Draw layouts, each a function of its own conditions and seed.

    Args:
        store: where the weights are.
        weights: digest that `train` returned.
        given: what the plan says of the items.
        seeds: seed of each item.
        options: those of training.

    Returns:
        `layout` uint8 (N, h, w) and `mask` float32 (N, h, w): one region where a finding is asked for, empty where none
        is or none was trained; where the plan does not say, as it is drawn.
    """
    from chambit.generate.staged import drawing

    model, whole = drawing.loaded(store, weights)
    signed, _ = drawing.draw(model, _asked(model.conditions, given, seeds), options.ddim, options.guidance)
    return _made(signed, whole.arrays["values"], whole.record, given)


def facts(store: Store, weights: str) -> dict[str, Any]:
    """What training measured: loss curve, numbers of items and parts, size of the maps."""
    from chambit.generate.staged import kept

    return kept.facts(store, weights)


def way(store: Store, weights: str, given: Arrays, seeds: Sequence[int], options: Options, looks: int) -> np.ndarray:
    """Layouts along the way from noise, float32 (looks, N, h, w): the place of the part among all parts, in [0, 1]."""
    from chambit.generate.staged import drawing
    from chambit.generate.staged.diffusion import looks_along

    model, whole = drawing.loaded(store, weights)
    asked = _asked(model.conditions, given, seeds)
    _, along = drawing.draw(model, asked, options.ddim, options.guidance, looks_along(options.ddim, looks))
    count = len(whole.arrays["values"])
    shown: np.ndarray = along[:, :, :count].argmax(2).astype(np.float32) / max(1, count - 1)
    return shown


def _signed(layouts: np.ndarray, values: np.ndarray, masks: np.ndarray | None, reach: float) -> "torch.Tensor":
    """Signed distances of all parts, and of the mask last, int8 (N, K, h, w) with 127 for 1."""
    import torch

    from chambit.generate.staged.parts import distances

    rows = []
    for n, layout in enumerate(layouts):
        regions = layout[None] == values[:, None, None]
        signed = distances(regions, reach)
        if masks is not None:
            # seen from afar: a small finding with a short reach is nearly nothing, and a network leaves it out
            signed = np.concatenate([signed, distances(masks[n][None], max(layout.shape) / FAR)])
        rows.append(np.rint(signed * 127).astype(np.int8))
    return torch.from_numpy(np.stack(rows))


def _asked(conditions: "Conditions", given: Arrays, seeds: Sequence[int]) -> "Asked":
    from chambit.generate.staged.drawing import Asked

    return Asked(seeds, *conditions.rows(given, len(seeds)), None)


def _made(signed: np.ndarray, values: np.ndarray, record: dict[str, Any], given: Arrays) -> dict[str, np.ndarray]:
    from chambit.generate.staged.parts import crisp, largest_region

    layout = crisp(signed[:, : len(values)], values)
    mask = np.zeros(layout.shape, np.float32)
    if record["masked"]:
        said = "finding" in given
        for n in np.flatnonzero(given["finding"]) if said else range(len(mask)):
            # an item that was asked to show a finding shows one: of at least the smallest share the training has
            level = float(np.quantile(signed[n, -1], 1 - record["smallest"])) if said else 0.0
            mask[n] = largest_region(signed[n, -1] >= min(0.0, level))
    return {"layout": layout, "mask": mask}
