"""Translation of what earlier stages made to the look of the real images, along the shortest path (SANTA, CVPR 2023).

The source domain is what the chain before this stage draws, the target are the real images; no pairs are needed. The
path from picture to translation is kept short, so that the content stays; how well it stays is measured in training.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from chambit.core.errors import InputError, Problem
from chambit.core.evidence import Frozen
from chambit.core.steps import Context
from chambit.core.store import Store
from chambit.generate.items import Arrays, Examples, Ports

if TYPE_CHECKING:
    import torch

    from chambit.generate.staged.translator import Translator

version = "2"
GROUP = 8  # pictures are translated in groups of exactly so many, see `staged.drawing.GROUP`


class Options(Frozen):
    """What changes the result.

    steps, batch, rate: of training; patch: side of the squares that are compared, larger ones cost more; width, blocks:
    of the network; path: weight of the path's length; identity: weight of leaving real images as they are; sources:
    pictures drawn from the stages before; checkpoint: steps between two.
    """

    steps: int = Field(1500, ge=1)
    batch: int = Field(6, ge=2)
    rate: float = Field(4e-4, gt=0)
    patch: int = Field(64, ge=16, multiple_of=4)
    width: int = Field(32, ge=8, multiple_of=8)
    blocks: int = Field(4, ge=1, le=12)
    path: float = Field(0.1, ge=0)
    identity: float = Field(0.2, ge=0)
    sources: int = Field(256, ge=2)
    checkpoint: int = Field(100, ge=1)


def ports(options: Options) -> Ports:
    """Needs an image, makes an image."""
    return Ports(needs=("image",))


def train(context: Context, examples: Examples, options: Options, watch: Any = None) -> str:
    """Train between what earlier stages make and the real images.

    Args:
        context: of the running step.
        examples: real images, with `earlier`.
        options: see `Options`.
        watch: not asked by this stage; the pictures at the end of the chain are what is looked at.

    Returns:
        Digest of the weights.

    Raises:
        InputError: when no stage comes before this one, or the items are no single pictures.
    """
    import torch

    from chambit.generate.staged import critic, kept, parts, training
    from chambit.generate.staged.translator import Translator, path_length
    from chambit.generate.training.device import choose

    if examples.earlier is None:
        problem = Problem("santa", "no stage before it makes an image", "put it behind 'sdm' or another stage")
        raise InputError("The stage 'santa' translates what earlier stages make, and there is none.", [problem])
    if examples.form.axis:
        raise parts.no_axis("santa")
    source = parts.planes(examples.earlier(options.sources)["image"])
    real = parts.resized(parts.planes(examples.image()), _even(source.shape[-2], source.shape[-1]))
    source = parts.resized(source, (real.shape[-2], real.shape[-1]))
    channels, place = real.shape[1], choose()
    shape = {"channels": channels, "width": options.width, "blocks": options.blocks}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(context.seed("weights"))
        network = kept.placed(Translator(**shape), place)
    judge = critic.patch_critic(channels, options.width, 2, context.seed("critic")).to(place)
    made: dict[str, torch.Tensor] = {}

    def translate(step: int, generator: torch.Generator) -> torch.Tensor:
        x, y = (_patches(whole, options.batch, options.patch, generator).to(place) for whole in (source, real))
        made["false"], made["true"] = network(x, torch.ones(len(x), device=place)), y
        loss = critic.least_squares(judge(made["false"])[-1], real=True)
        if options.path:
            loss = loss + options.path * path_length(network, x, generator)
        if options.identity:
            loss = loss + options.identity * (network(y, torch.ones(len(y), device=place)) - y).abs().mean()
        return loss

    def judged(step: int, generator: torch.Generator) -> torch.Tensor:
        false = critic.least_squares(judge(made["false"].detach())[-1], real=False)
        return (critic.least_squares(judge(made["true"])[-1], real=True) + false) / 2

    turns = [
        training.Turn("translator", network, translate, (0.5, 0.99)),
        training.Turn("critic", judge, judged, (0.5, 0.99)),
    ]
    plan = training.Plan(options.steps, options.rate, options.checkpoint)
    curves = training.fit(context, turns, plan, place)
    looked = source[: min(64, len(source))]
    measured = _measured(
        parts.pictures(looked.numpy()), _translated(network, looked, 1.0), parts.pictures(real.numpy())
    )
    record = {"shape": shape, "facts": {"loss": curves, "items": len(real), "sources": len(source)} | measured}
    return kept.put(context.store, network, record)


def sample(store: Store, weights: str, given: Arrays, seeds: Sequence[int], options: Options) -> dict[str, np.ndarray]:
    """Translate pictures; the answer is a function of each picture alone.

    Args:
        store: where the weights are.
        weights: digest that `train` returned.
        given: `image` float32 (N, H, W[, 3]).
        seeds: not used; there is no chance in it.
        options: those of training.

    Returns:
        `image` of the same shape.
    """
    from chambit.generate.staged import parts

    return {"image": _translated(_network(store, weights), parts.planes(given["image"]), 1.0)}


def facts(store: Store, weights: str) -> dict[str, Any]:
    """What training measured.

    `loss` of both players; `items`, `sources`, `looked`: how many; `ssim`, `edges`: agreement of source and
    translation, 1 is no change of structure; `change`: mean absolute change; `energy_source`, `energy_made`: gradient
    energy as a share of the real images'; `colour_source`, `colour_made`: distance of the mean colour from theirs.
    """
    from chambit.generate.staged import kept

    return kept.facts(store, weights)


def way(store: Store, weights: str, given: Arrays, seeds: Sequence[int], options: Options, looks: int) -> np.ndarray:
    """Pictures along the path from source to translation, float32 (looks, N, H, W[, 3])."""
    from chambit.generate.staged import parts

    network, images = _network(store, weights), parts.planes(given["image"])
    return np.stack([_translated(network, images, t) for t in np.linspace(0, 1, looks).tolist()])


def _patches(images: "torch.Tensor", count: int, side: int, generator: "torch.Generator") -> "torch.Tensor":
    """Squares at random places of random pictures, (count, C, side, side), smaller where the pictures are."""
    import torch

    from chambit.generate.staged import training

    made = []
    high, wide = (min(side, length) for length in images.shape[-2:])
    for row in training.chosen(len(images), count, generator).tolist():
        top, left = (
            int(torch.randint(length - part + 1, (1,), generator=generator))
            for length, part in zip(images.shape[-2:], (high, wide), strict=True)
        )
        made.append(images[row, :, top : top + high, left : left + wide])
    return torch.stack(made)


def _even(height: int, width: int) -> tuple[int, int]:
    """The nearest size that two halvings leave whole."""
    return max(4, round(height / 4) * 4), max(4, round(width / 4) * 4)


def _network(store: Store, weights: str) -> "Translator":

    from chambit.generate.staged import kept
    from chambit.generate.staged.translator import Translator
    from chambit.generate.training.device import choose

    whole = kept.get(store, weights)
    network = Translator(**whole.record["shape"])
    network.load_state_dict(whole.network)
    return kept.placed(network.eval(), choose())


def _translated(network: "Translator", images: Any, t: float) -> np.ndarray:
    """Pictures (N, C, H, W) at time t of their paths, as items have them."""
    import torch

    from chambit.generate.staged import parts
    from chambit.generate.staged.translator import along

    place = next(network.parameters()).device
    out = np.empty(images.shape, np.float32)
    with torch.no_grad(), torch.autocast(place.type, torch.bfloat16):
        for first in range(0, len(images), GROUP):
            rows = list(range(first, min(first + GROUP, len(images))))
            group = images[rows + [rows[-1]] * (GROUP - len(rows))].to(place)
            out[rows] = along(network, group, t)[: len(rows)].float().cpu().numpy()
    return parts.pictures(out)


def _measured(source: np.ndarray, made: np.ndarray, real: np.ndarray) -> dict[str, float | int]:
    from chambit.generate.staged import agreement

    axes = (0, 1, 2)
    numbers = {
        "ssim": agreement.ssim(source, made),
        "edges": agreement.edges(source, made),
        "change": float(np.abs(made - source).mean()),
        "energy_source": agreement.energy(source) / max(agreement.energy(real), 1e-12),
        "energy_made": agreement.energy(made) / max(agreement.energy(real), 1e-12),
        "colour_source": float(np.abs(source.mean(axes) - real.mean(axes)).mean()),
        "colour_made": float(np.abs(made.mean(axes) - real.mean(axes)).mean()),
    }
    # JSON has no NaN: a picture without an edge has no agreement of edges
    return {"looked": len(source)} | {name: round(x, 5) for name, x in numbers.items() if np.isfinite(x)}
