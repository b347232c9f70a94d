"""A trained model: keep it and fetch it, draw with it, vary images with it, ask it how well it knows an image.

Draw: noise to image by the objective's solver. Vary (SDEdit: Meng et al. 2021, arXiv:2108.01073): the image's latents
are taken part of the way to noise, z_t = (1 - t) z + t e, and brought back by the network, so that the network rewrites
what t has hidden. Known: at t = 0 only the codec's loss is left; near t = 1 nothing of the image is.

What is random of an item follows from the item's seed, on the processor, whichever device computes.
"""

import json
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from chambit.core.digest import canonical
from chambit.core.store import Store
from chambit.generate import codec as codecs
from chambit.generate.codec import Codec
from chambit.generate.items import Arrays
from chambit.generate.networks.embedding import Conditions, Embedded
from chambit.generate.objectives.flow import Flow
from chambit.generate.objectives.objective import Draws, Network, Objective, Seen, flat_mean
from chambit.generate.options import Diffusion, Trained
from chambit.generate.training import conditioning, device, loop
from chambit.generate.training.conditioning import Told
from chambit.generate.training.style import Style

AT_ONCE = 64  # pictures a network is asked about at a time: memory stays flat
DRAWN = 128  # and drawn, of items with an axis
LEVELS = (0.2, 0.4, 0.6)
"""Strengths at which the denoising error is taken. Training draws few below 0.1: there members showed last."""
NOISELESS = (0.2, 0.4)
"""Strengths at which the predicted noise is taken."""


class Model(NamedTuple):
    """A trained stage: network with averaged weights, codec, fitted lesion shapes (None without masks), what it is
    told, its objective, and the mean loss of every ten steps of its training.
    """

    network: Embedded
    codec: Codec
    shapes: np.ndarray | None
    told: Told
    objective: Objective = Flow()
    losses: tuple[float, ...] = ()
    style: Style | None = None


def network(seed: int, codec: Codec, told: Told, options: Trained) -> Embedded:
    """A network before training, on the processor; its weights follow from the seed."""
    from chambit.generate.networks.perceptron import Perceptron
    from chambit.generate.networks.unet import UNet

    torch.manual_seed(seed % 2**31)
    channels, height, width = codecs.grid(codec)
    form = (channels, told.classes, told.maps(codec), options.width, options.depth)
    more: dict[str, Any] = {"factors": told.factors, "numbers": told.length}
    if (height, width) == (1, 1) and not told.frames:
        made: Embedded = Perceptron(*form, **more)
    elif options.network == "monai":
        from chambit.generate.networks.monai_unet import MonaiUNet

        made = MonaiUNet(*form, **more, frames=max(1, told.frames))
    else:
        # a level with a single position has nothing to convolve, and norms of few numbers go astray
        levels = max(2, min(options.levels, min(height, width).bit_length() - 1))
        made = UNet(*form, **more, levels=levels, frames=max(1, told.frames))
    ordered: Embedded = rearranged(made)
    return ordered


def rearranged(network: Any) -> Any:
    """A network with its weights in the order in which convolutions of pictures are quickest."""
    if any(parameter.ndim == 5 for parameter in network.parameters()):
        return network  # of volumes; the order is one of pictures
    return network.to(memory_format=torch.channels_last)


def put(store: Store, model: Model, average: Sequence[torch.Tensor], options: Trained) -> str:
    """Keep a model with `average` as its parameters and what it was trained with; returns the digest."""
    names = [name for name, _ in model.network.named_parameters()]
    arrays = {f"network.{name}": value.numpy() for name, value in zip(names, average, strict=True)}
    arrays |= {f"codec.{name}": value for name, value in model.codec.arrays().items()}
    arrays |= model.told.arrays()
    if model.shapes is not None:
        arrays["shapes"] = model.shapes
    if model.style is not None:
        arrays |= model.style.arrays()
    if model.losses:
        arrays["losses"] = np.array(model.losses, np.float32)
    arrays["about"] = np.frombuffer(canonical(options.model_dump() | {"calls": _calls(options)}).encode(), np.uint8)
    return store.put_arrays(**arrays)


def about(store: Store, weights: str) -> dict[str, Any]:
    """The options that weights were trained with, and `calls`: of the network, for each item that is drawn."""
    said: dict[str, Any] = json.loads(store.get_arrays(weights)["about"].tobytes())
    return said


def _calls(options: Trained) -> int:
    if not isinstance(options, Diffusion):
        return 1
    return options.objective().calls(options.heun) * (1 if options.guidance == 1 else 2)


def get(store: Store, weights: str, options: Trained, objective: Objective) -> Model:
    """The model that `put` kept, on the device of this process; options are those of its training."""
    arrays = store.get_arrays(weights)
    of_codec = {name.removeprefix("codec."): value for name, value in arrays.items() if name.startswith("codec.")}
    codec = codecs.of(options.codec, of_codec, block=options.block, keep=min(options.keep, options.block))
    told = Told.again(arrays)
    made = network(0, codec, told, options)
    parameters = [torch.from_numpy(arrays[f"network.{name}"]) for name, _ in made.named_parameters()]
    loop.overwrite(made.parameters(), parameters)
    losses = tuple(float(loss) for loss in arrays.get("losses", ()))
    made = made.eval().requires_grad_(False).to(device.choose())
    return Model(made, codec, arrays.get("shapes"), told, objective, losses, Style.again(arrays))


def draw(
    model: Model,
    given: Arrays,
    seeds: Sequence[int],
    steps: int,
    guidance: float,
    seen: Callable[[slice, torch.Tensor], None] | None = None,
) -> dict[str, np.ndarray]:
    """Draw items, each a function of what is given of it and of its seed.

    Args:
        model: the trained model.
        given: `label`; where the model was trained with them `finding` (all, if not given), `mask` (drawn, if not
            given), `box`, `factors`, `vector`.
        seeds: seed of each item.
        steps: of the solver.
        guidance: strength of classifier-free guidance; 1 is none.
        seen: told of the items drawn at a time and of what they are thought to be, as latents, at every step.

    Returns:
        `image` float32 (N[, D], H, W[, 3]) in [0, 1]; `mask` float32 where the model was trained with masks.
    """
    given = conditioning.masked(model.told, model.codec, model.shapes, given, seeds)
    told = conditioning.conditions(model.told, model.codec, given)
    if model.style is not None:
        told = conditioning.styled(model.told, told, model.style.draw(np.asarray(given["label"]), seeds))
    images = []
    count = len(seeds) if not model.told.frames else max(1, DRAWN // model.told.frames)
    with torch.inference_mode():
        for first in range(0, len(seeds), max(1, count)):
            part = slice(first, min(first + count, len(seeds)))
            streams = Streams(model, seeds[part])
            watch: Seen | None = None if seen is None else lambda x, part=part: seen(part, x)
            predict = predictor(model, told.at(part), guidance)
            noise = streams()
            z = model.objective.noisy(torch.zeros_like(noise), noise, 1.0)
            images.append(codecs.decode(model.codec, model.objective.solve(predict, z, steps, 1.0, streams, watch)))
    out = {"image": np.concatenate(images)}
    if model.shapes is not None:
        out["mask"] = np.asarray(given["mask"], np.float32)
        if model.told.boxes and "box" in given:
            filled = conditioning.rasterised(given["box"], model.codec.shape)
            out["mask"] = np.maximum(out["mask"], filled[:, None] if model.told.frames else filled)
    return out


class Streams:
    """Noise of the latents' shape, each row from its item's seed; every call goes on."""

    def __init__(self, model: Model, seeds: Sequence[int]) -> None:
        self.shape = (*model.told.lead(), *codecs.grid(model.codec))
        self.where = device.choose()
        self.seeds = [int(seed) for seed in seeds]
        self.generators = [torch.Generator().manual_seed(seed) for seed in self.seeds]

    def __call__(self) -> torch.Tensor:
        """The next noise, float32 (N[, D], C, h, w), on the device."""
        return torch.stack([torch.randn(self.shape, generator=one) for one in self.generators]).to(self.where)


def vary(
    model: Model,
    images: np.ndarray,
    given: Arrays,
    strength: float,
    seeds: Sequence[int],
    steps: int,
    guidance: float,
) -> np.ndarray:
    """Near-duplicates of images: partly turned to noise and brought back.

    Args:
        model: the trained model.
        images: float32 (N[, D], H, W[, 3]) in [0, 1].
        given: what is known of each, as for `draw`; nothing is drawn of what is not given.
        strength: the time t in [0, 1] to which they go; 0 is the codec's round trip.
        seeds: seed of each image.
        steps: of the solver for the whole way; of a part of the way the same share is used, at least two.
        guidance: as for `draw`.

    Returns:
        float32 of the shape of `images`, in [0, 1].
    """
    with torch.inference_mode():
        z = codecs.encode(model.codec, images)
        if strength == 0:
            return codecs.decode(model.codec, z)
        streams = Streams(model, seeds)
        x = model.objective.noisy(z.to(streams.where), streams(), strength)
        told = conditioning.conditions(model.told, model.codec, given)
        if model.style is not None:
            # the style goes the same share of the way, so that nothing of the image is left at the end of it
            kept, new = model.style.of(z), model.style.draw(np.asarray(given["label"]), seeds)
            told = conditioning.styled(model.told, told, math.sqrt(1 - strength**2) * kept + strength * new)
        predict = predictor(model, told, guidance)
        part = max(2, math.ceil(steps * strength))
        return codecs.decode(model.codec, model.objective.solve(predict, x, part, strength, streams))


def denoising(
    model: Model, images: np.ndarray, given: Arrays, seed: int, levels: Sequence[float] = LEVELS
) -> np.ndarray:
    """Minus the denoising error of each image, its mean over `levels` and over a noise and its opposite.

    Args:
        model: the trained model.
        images: float32 (N[, D], H, W[, 3]) in [0, 1].
        given: as for `vary`.
        seed: of the noise, which is one for all images and levels.
        levels: strengths in (0, 1].

    Returns:
        float64 (N,), larger means better known. Weighted by the loss's weights of the channels.
    """
    shape = (*model.told.lead(), *codecs.grid(model.codec))
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(device.choose())
    weight = codecs.weight(model.codec)[:, None, None].to(noise.device)
    objective = model.objective

    def errors(predict: Network, z: torch.Tensor) -> torch.Tensor:
        of = []
        for strength in levels:
            at = torch.full((len(z),), objective.level(strength), device=z.device)
            for sign in (1, -1):
                drawn = Draws(at, (sign * noise).expand_as(z))
                of.append(flat_mean(objective.error(predict, z, drawn, weight)))
        return torch.stack(of).double().mean(0)

    return -_asked(model, images, given, errors)


def noiseless(model: Model, images: np.ndarray, given: Arrays) -> np.ndarray:
    """Minus the mean square of the noise seen where there is none, its mean over `NOISELESS`; as `denoising`."""

    def norms(predict: Network, z: torch.Tensor) -> torch.Tensor:
        of = [model.objective.predicted_noise(predict, z, strength) for strength in NOISELESS]
        return torch.stack(of).double().mean(0)

    return -_asked(model, images, given, norms)


def _asked(model: Model, images: np.ndarray, given: Arrays, ask: Any) -> np.ndarray:
    """What `ask(predict, latents)` says, some images at a time; float64 (N,)."""
    out = np.empty(len(images))
    told = conditioning.conditions(model.told, model.codec, given)
    where, count = device.choose(), max(1, AT_ONCE // max(1, model.told.frames))
    with torch.inference_mode():
        for first in range(0, len(images), count):
            part = slice(first, min(first + count, len(images)))
            z = codecs.encode(model.codec, images[part]).to(where)
            out[part] = ask(predictor(model, _described(model, told.at(part), z), 1), z).cpu().numpy()
    return out


def _described(model: Model, told: Conditions, latents: torch.Tensor) -> Conditions:
    """The same with the style that latents have."""
    return conditioning.styled(model.told, told, None if model.style is None else model.style.of(latents))


def predictor(model: Model, told: Conditions, guidance: float) -> Network:
    """F(x, level) of these conditions."""
    where = device.choose()
    told = told.to(where)
    free = told.withheld(torch.ones(len(told.label), dtype=torch.bool, device=where), model.told.classes)

    def predict(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        if x.ndim == 4:
            x = x.to(memory_format=torch.channels_last)
        with device.autocast(where):
            v: torch.Tensor = model.network(x, t, *told).float()
            if guidance != 1:
                without = model.network(x, t, *free).float()
                v = without + guidance * (v - without)
        return v

    return predict
