"""Enlargement of what earlier stages made by an RRDB network trained on the real images (ESRGAN, arXiv:1809.00219).

Pairs are the real images and what is left of them at the size that enters; half of the training is by absolute error
alone, then a relativistic critic and the match of its features join. No weights from elsewhere are used, so there is no
perceptual loss of a photograph network. What is enlarged is held to its input: averaged down again it is the same.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field

from chambit.core.errors import InputError, Problem
from chambit.core.evidence import Frozen
from chambit.core.steps import Context
from chambit.core.store import Store
from chambit.generate.items import Arrays, Examples, Ports

if TYPE_CHECKING:
    import torch

    from chambit.generate.staged.rrdb import Enlarger

version = "1"
LARGE = 48  # pixels: a smaller patch leaves nothing for a third layer of the critic to see


class Options(Frozen):
    """What changes the result.

    steps, batch, rate: of training; scale: how many times larger; patch: side of a training patch before it is
    enlarged; width, blocks, growth: of the network; warm: share of the training without a critic; adversarial,
    features: weights of the critic's judgement and of the match of its features, absolute error counts 1; blur, noise,
    jpeg: bounds of the degradation; consistent: hold the result to its input; checkpoint: steps between two.
    """

    steps: int = Field(2000, ge=1)
    batch: int = Field(4, ge=1)
    rate: float = Field(4e-4, gt=0)
    scale: Literal[2, 4, 8] = 4
    patch: int = Field(24, ge=8)
    width: int = Field(32, ge=8, multiple_of=8)
    blocks: int = Field(3, ge=1, le=23)
    growth: int = Field(16, ge=4)
    warm: float = Field(0.5, ge=0, le=1)
    adversarial: float = Field(0.005, ge=0)
    features: float = Field(0.02, ge=0)
    blur: float = Field(0.6, ge=0)
    noise: float = Field(0.01, ge=0)
    jpeg: int = Field(75, ge=10, le=100)
    consistent: bool = True
    checkpoint: int = Field(100, ge=1)


def ports(options: Options) -> Ports:
    """Needs an image, makes a larger one; layout and mask grow with it where they are given."""
    return Ports(needs=("image",), takes=("layout", "mask"))


def train(context: Context, examples: Examples, options: Options, watch: Any = None) -> str:
    """Train on patches of the real images.

    Where stages come before this one, real images larger than what this stage will make are brought to that size
    first, so that structures have the scale they will have.

    Args:
        context: of the running step.
        examples: real images.
        options: see `Options`.
        watch: not asked by this stage; the pictures at the end of the chain are what is looked at.

    Returns:
        Digest of the weights.

    Raises:
        InputError: when the real images are smaller than a patch, or the items are no single pictures.
    """
    import torch

    from chambit.generate.staged import critic, degradation, kept, parts, training
    from chambit.generate.staged.rrdb import Enlarger
    from chambit.generate.training.device import choose

    if examples.form.axis:
        raise parts.no_axis("esrgan")
    images = parts.resized(parts.planes(examples.image()), _wanted(examples, options)).clamp(0, 1)
    side = options.patch * options.scale
    if min(images.shape[-2:]) < side:
        what = f"images of {images.shape[-2]} x {images.shape[-1]} pixels hold no patch of {side} x {side}"
        raise InputError(
            "The real images are too small to learn this enlargement from.",
            [Problem("esrgan", what, "choose a smaller 'scale' or 'patch', or intake larger images")],
        )
    taught, held = _split(examples.subject(), context.seed("held out"))
    shape = {"channels": images.shape[1], "scale": options.scale, "width": options.width}
    shape |= {"blocks": options.blocks, "growth": options.growth}
    place, bounds = choose(), degradation.Bounds(options.blur, options.noise, options.jpeg)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(context.seed("weights"))
        network = kept.placed(Enlarger(**shape), place)
    judge = critic.patch_critic(images.shape[1], options.width, 3 if side >= LARGE else 2, context.seed("critic")).to(
        place
    )
    pair: dict[str, torch.Tensor] = {}
    first = round(options.warm * options.steps)

    def enlarge(step: int, generator: torch.Generator) -> torch.Tensor:
        draw = np.random.default_rng(context.seed(f"patches {step}"))
        large = _patches(images, taught, options.batch, side, options.scale, draw)
        small = np.stack([degradation.smaller(one, options.scale, bounds, draw) for one in large])
        x, y = torch.from_numpy(small).to(place), torch.from_numpy(large).to(place)
        made = network(x)
        pair["false"], pair["true"] = made, y
        loss: torch.Tensor = (made - y).abs().mean()
        if step >= first:
            false, true = judge(made), judge(y)
            loss = loss + options.adversarial * critic.relativistic(false[-1], true[-1].detach())
            loss = loss + options.features * critic.matching(false, true)
        return loss

    def judged(step: int, generator: torch.Generator) -> torch.Tensor | None:
        if step < first:
            return None
        return critic.relativistic(judge(pair["true"])[-1], judge(pair["false"].detach())[-1])

    turns = [training.Turn("enlarger", network, enlarge), training.Turn("critic", judge, judged)]
    plan = training.Plan(options.steps, options.rate, options.checkpoint)
    curves = training.fit(context, turns, plan, place)
    facts = {"loss": curves, "items": len(taught), "pixels": list(images.shape[-2:])}
    facts |= _measured(network, images[held[:16]], options)
    return kept.put(context.store, network, {"shape": shape, "facts": facts})


def sample(store: Store, weights: str, given: Arrays, seeds: Sequence[int], options: Options) -> dict[str, np.ndarray]:
    """Enlarge pictures; the answer is a function of each picture alone.

    Args:
        store: where the weights are.
        weights: digest that `train` returned.
        given: `image` float32 (N, H, W[, 3]), and perhaps `layout` and `mask`.
        seeds: not used; there is no chance in it.
        options: those of training.

    Returns:
        `image` with sides `scale` times as long, and `layout` and `mask` at that size where they were given.
    """
    from chambit.generate.staged import parts, rrdb

    network = _network(store, weights)
    place = next(network.parameters()).device
    rows = parts.planes(given["image"]).to(place)
    size = network.scale * rows.shape[-2], network.scale * rows.shape[-1]
    out = np.empty((len(rows), rows.shape[1], *size), np.float32)
    for n, row in enumerate(rows):
        out[n] = rrdb.enlarged(network, row, options.consistent)
    made = {"image": parts.pictures(out)}
    if "layout" in given:
        made["layout"] = parts.at_size(np.asarray(given["layout"]), size)
    if "mask" in given:
        made["mask"] = parts.resized(parts.planes(given["mask"]), size)[:, 0].clamp(0, 1).numpy()
    return made


def facts(store: Store, weights: str) -> dict[str, Any]:
    """What training measured.

    `loss` of both players; `items`, `held_out`: how many images were learnt from and looked at; of the held-out ones,
    of subjects not learnt from: `psnr` and `ssim` of the network, `psnr_bicubic` and `ssim_bicubic`; `sharpness` and
    `sharpness_bicubic`, gradient energy as a share of the real images'; `drift`, the mean absolute difference between
    the input and the result averaged down again, which is what was invented.
    """
    from chambit.generate.staged import kept

    return kept.facts(store, weights)


def _wanted(examples: Examples, options: Options) -> tuple[int, int]:
    """The size real images are learnt at: multiples of the scale, no larger than what the chain will make."""
    height, width = examples.form.height, examples.form.width
    if examples.earlier is not None:
        small = examples.earlier(1)["image"].shape[1:3]
        height, width = min(height, options.scale * small[0]), min(width, options.scale * small[1])
    return height // options.scale * options.scale, width // options.scale * options.scale


def _split(subjects: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions to learn from and, of a tenth of the subjects, to look at; of one subject alone all are for both."""
    names = np.unique(subjects)
    if len(names) == 1:
        return np.arange(len(subjects)), np.arange(len(subjects))
    apart = np.random.default_rng(seed).permutation(names)[: max(1, len(names) // 10)]
    held = np.isin(subjects, apart)
    return np.flatnonzero(~held), np.flatnonzero(held)


def _patches(
    images: "torch.Tensor", rows: np.ndarray, count: int, side: int, scale: int, draw: np.random.Generator
) -> np.ndarray:
    """Patches float32 (count, C, side, side) at random places, some mirrored."""
    made = []
    for row in draw.choice(rows, count):
        top, left = (int(draw.integers(0, length - side + 1)) for length in images.shape[-2:])
        patch = images[row, :, top : top + side, left : left + side].numpy()
        made.append(patch[:, :, ::-1] if draw.random() < 0.5 else patch)
    return np.ascontiguousarray(np.stack(made))


def _measured(network: "Enlarger", images: "torch.Tensor", options: Options) -> dict[str, float | int]:
    import torch

    from chambit.generate.staged import agreement, degradation, parts, rrdb

    place = next(network.parameters()).device
    small = degradation.area(images.numpy(), options.scale)
    tensor = torch.from_numpy(small)
    made = np.stack([rrdb.enlarged(network, one.to(place), options.consistent) for one in tensor])
    cubic = rrdb.bicubic(tensor, options.scale).clamp(0, 1).numpy()
    real = parts.pictures(images.numpy())
    numbers: dict[str, float | int] = {"held_out": len(images)}
    for end, by in (("", parts.pictures(made)), ("_bicubic", parts.pictures(cubic))):
        numbers[f"psnr{end}"] = round(agreement.psnr(by, real), 3)
        numbers[f"ssim{end}"] = round(agreement.ssim(by, real), 4)
        numbers[f"sharpness{end}"] = round(agreement.energy(by) / max(agreement.energy(real), 1e-12), 4)
    numbers["drift"] = round(float(np.abs(degradation.area(made, options.scale) - small).mean()), 6)
    return numbers


def _network(store: Store, weights: str) -> "Enlarger":

    from chambit.generate.staged import kept
    from chambit.generate.staged.rrdb import Enlarger
    from chambit.generate.training.device import choose

    whole = kept.get(store, weights)
    network = Enlarger(**whole.record["shape"])
    network.load_state_dict(whole.network)
    return kept.placed(network.eval(), choose())
