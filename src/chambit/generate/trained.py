"""A trained flow: keep it and fetch it, draw with it, vary images with it, ask it how well it knows an image.

Draw: noise to image along the flow (`chambit.generate.flow`). Vary (SDEdit: Meng et al. 2021, arXiv:2108.01073): the
image's latents are taken part of the way to noise, z_t = (1 - t) z + t e, and brought back by the network, so that the
network rewrites what t has hidden. Known: at t = 0 only the codec's loss is left; near t = 1 nothing of the image is.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from chambit.core.store import Store
from chambit.generate import flow, lesions
from chambit.generate.codec import Codec, blocks
from chambit.generate.unet import UNet

MAPS = 3  # the mask's condition: its lowest 3 x 3 block coefficients on the grid of latents
AT_ONCE = 64  # images a network is asked about at a time: memory stays flat
LEVELS = (0.2, 0.4, 0.6)
"""Times at which the denoising error is taken. Training draws few times below 0.1: there members showed last."""
NOISELESS = (0.2, 0.4)
"""Times at which the predicted noise is taken."""


class Model(NamedTuple):
    """A trained stage: network with averaged weights, codec, and the fitted lesion shapes (None without masks)."""

    network: UNet
    codec: Codec
    shapes: np.ndarray | None


def network(seed: int, codec: Codec, classes: int, with_masks: bool, width: int, depth: int) -> UNet:
    """A network before training; its weights follow from the seed."""
    torch.manual_seed(seed % 2**31)
    maps = kept_of_mask(codec.size) ** 2 if with_masks else 0
    made = UNet(len(codec.mean), classes, maps, width, depth)
    return made.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]  # torch's stubs lack it


def kept_of_mask(block: int) -> int:
    """Coefficients per axis of a mask's condition."""
    return min(MAPS, block)


def condition(masks: np.ndarray, block: int) -> torch.Tensor:
    """Masks (N, H, W), bool or in [0, 1], as the network is given them: float32 (N, maps, h, w)."""
    return blocks(torch.from_numpy(masks.astype(np.float32)), block, kept_of_mask(block))


def put(store: Store, model: Model, average: Sequence[torch.Tensor]) -> str:
    """Keep a model with `average` as its parameters; returns the digest."""
    names = [name for name, _ in model.network.named_parameters()]
    arrays = {f"network.{name}": value.numpy() for name, value in zip(names, average, strict=True)}
    arrays["codec.mean"], arrays["codec.std"] = model.codec.mean.numpy(), model.codec.std.numpy()
    arrays["codec.shape"] = np.array(model.codec.shape, np.int64)
    arrays["codec.residual"] = np.array([model.codec.residual])
    arrays["classes"] = np.array([model.network.classes], np.int64)
    if model.shapes is not None:
        arrays["shapes"] = model.shapes
    return store.put_arrays(**arrays)


def get(store: Store, weights: str, *, block: int, keep: int, width: int, depth: int) -> Model:
    """The model that `put` kept; block and keep are of its codec, width and depth of its network."""
    arrays = store.get_arrays(weights)
    codec = Codec(
        block,
        keep,
        (int(arrays["codec.shape"][0]), int(arrays["codec.shape"][1])),
        torch.from_numpy(arrays["codec.mean"]),
        torch.from_numpy(arrays["codec.std"]),
        float(arrays["codec.residual"][0]),
    )
    made = network(0, codec, int(arrays["classes"][0]), "shapes" in arrays, width, depth)
    parameters = [torch.from_numpy(arrays[f"network.{name}"]) for name, _ in made.named_parameters()]
    return with_parameters(Model(made.eval(), codec, arrays.get("shapes")), parameters)


def with_parameters(model: Model, parameters: Sequence[torch.Tensor]) -> Model:
    """The same model, its parameters overwritten by these."""
    with torch.no_grad():
        for mine, given in zip(model.network.parameters(), parameters, strict=True):
            mine.copy_(given)
    return model


def draw(
    model: Model, labels: Sequence[int], seeds: Sequence[int], findings: Sequence[bool], steps: int, guidance: float
) -> tuple[np.ndarray, np.ndarray | None]:
    """Draw images, each a function of its own label, seed and whether it gets a mask.

    Args:
        model: the trained model.
        labels: class index of each image.
        seeds: seed of each image.
        findings: whether each image gets a mask (ignored when the model was trained without masks).
        steps: of Heun's solver.
        guidance: strength of classifier-free guidance; 1 is none.

    Returns:
        float32 (N, H, W) in [0, 1]; masks float32 (N, H, W) or None.
    """
    masks = None
    if model.shapes is not None:
        masks = np.zeros((len(labels), *model.codec.shape), np.float32)
        for k, (seed, has) in enumerate(zip(seeds, findings, strict=True)):
            if has:
                masks[k] = lesions.draw(model.shapes, model.codec.shape, np.random.default_rng(seed))
    with torch.inference_mode():
        predict = _predictor(model, labels, masks, guidance)
        return model.codec.decode(flow.heun(predict, _noise(model, seeds), steps)), masks


def vary(
    model: Model,
    images: np.ndarray,
    labels: Sequence[int],
    masks: np.ndarray | None,
    strength: float,
    seeds: Sequence[int],
    steps: int,
    guidance: float,
) -> np.ndarray:
    """Near-duplicates of images: partly turned to noise and brought back.

    Args:
        model: the trained model.
        images: float32 (N, H, W) in [0, 1].
        labels: class index of each image.
        masks: bool or float32 in [0, 1] (N, H, W) of the finding, or None.
        strength: the time t in [0, 1] to which they go; 0 is the codec's round trip.
        seeds: seed of each image.
        steps: of Heun's solver for the whole way; of a part of the way the same share is used, at least two.
        guidance: as for `draw`.

    Returns:
        float32 (N, H, W) in [0, 1].
    """
    with torch.inference_mode():
        z = model.codec.encode(images)
        if strength == 0:
            return model.codec.decode(z)
        x = (1 - strength) * z + strength * _noise(model, seeds)
        predict = _predictor(model, labels, masks, guidance)
        return model.codec.decode(flow.heun(predict, x, max(2, math.ceil(steps * strength)), strength))


def denoising(
    model: Model,
    images: np.ndarray,
    labels: Sequence[int],
    masks: np.ndarray | None,
    seed: int,
    levels: Sequence[float] = LEVELS,
) -> np.ndarray:
    """Minus the denoising error of each image, its mean over `levels` and over a noise and its opposite.

    Args:
        model: the trained model.
        images: float32 (N, H, W) in [0, 1].
        labels: class index of each image.
        masks: as for `vary`.
        seed: of the noise, which is one for all images and levels.
        levels: times t in (0, 1].

    Returns:
        float64 (N,), larger means better known. Weighted by the loss's weights of the channels.
    """
    noise = torch.randn(_grid(model), generator=torch.Generator().manual_seed(seed))
    weight = model.codec.weight[:, None, None]

    def errors(predict: flow.Network, z: torch.Tensor) -> torch.Tensor:
        of = [
            flow.denoising_error(predict, z, sign * noise, torch.full((len(z),), t), weight)
            for t in levels
            for sign in (1, -1)
        ]
        return torch.stack(of).double().mean(0)

    return -_asked(model, images, labels, masks, errors)


def noiseless(model: Model, images: np.ndarray, labels: Sequence[int], masks: np.ndarray | None) -> np.ndarray:
    """Minus the mean square of the noise seen where there is none, its mean over `NOISELESS`; as `denoising`."""

    def norms(predict: flow.Network, z: torch.Tensor) -> torch.Tensor:
        of = [flow.predicted_noise(predict, z, torch.full((len(z),), t)) for t in NOISELESS]
        return torch.stack(of).double().mean(0)

    return -_asked(model, images, labels, masks, norms)


def _asked(model: Model, images: np.ndarray, labels: Sequence[int], masks: np.ndarray | None, ask: Any) -> np.ndarray:
    """What `ask(predict, latents)` says, some images at a time; float64 (N,)."""
    out = np.empty(len(images))
    with torch.inference_mode():
        for first in range(0, len(images), AT_ONCE):
            part = slice(first, min(first + AT_ONCE, len(images)))
            predict = _predictor(model, labels[part], None if masks is None else masks[part], 1)
            out[part] = ask(predict, model.codec.encode(images[part])).numpy()
    return out


def _grid(model: Model) -> tuple[int, int, int]:
    rows, columns = (-(-side // model.codec.size) for side in model.codec.shape)
    return len(model.codec.mean), rows, columns


def _noise(model: Model, seeds: Sequence[int]) -> torch.Tensor:
    shape = _grid(model)
    return torch.stack([torch.randn(shape, generator=torch.Generator().manual_seed(seed)) for seed in seeds])


def _predictor(model: Model, labels: Sequence[int], masks: np.ndarray | None, guidance: float) -> flow.Network:
    """F(x, t) of these labels and masks; a model that was trained with masks takes none as empty ones."""
    label = torch.as_tensor(labels)
    nothing = torch.full_like(label, model.network.classes)
    maps = None
    if model.shapes is not None:
        given = np.zeros((len(label), *model.codec.shape), np.float32) if masks is None else masks
        maps = condition(given, model.codec.size)

    def predict(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        x = x.to(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            v: torch.Tensor = model.network(x, t, label, maps).float()
            if guidance != 1:
                free = model.network(x, t, nothing, maps).float()
                v = free + guidance * (v - free)
        return v

    return predict
