"""Class- and mask-conditional rectified flow on block-DCT latents; minutes on two cores.

Measured against a denoising model of the same network and cost, its Frechet distance was 100 times smaller; latents of
a fixed block transform were 4 to 5 times better than pixels. Where the cohort has masks of the finding, the finding is
placed by a mask condition, because a class label alone was ignored at this budget while every distance looked good.

Training is resumable: a checkpoint every `checkpoint` steps holds weights, averages and optimiser; batches and noise
are functions of (seed, step). Two runs give equal bytes on one machine with one thread count, not across machines.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pydantic import Field

from chambit.core.evidence import Frozen
from chambit.core.steps import Context
from chambit.core.store import Store
from chambit.generate import lesions
from chambit.images.imageset import ImageSet

version = "2"
MAPS = 3  # the mask's condition: its lowest 3 x 3 block coefficients on the grid of latents


class Options(Frozen):
    """What changes the result.

    steps, batch, rate: of training; width, depth: of the network; block, keep: of the codec; focus: how much more the
    finding's blocks count in the loss; gamma: of the weight average; drop: share of labels hidden, for guidance; heun:
    sampler steps; guidance: 1 is none.
    """

    steps: int = Field(1000, ge=1)
    batch: int = Field(32, ge=2)
    rate: float = Field(2e-3, gt=0)
    width: int = Field(96, ge=16, multiple_of=8)
    depth: int = Field(1, ge=1, le=4)
    block: int = Field(8, ge=2, le=32)
    keep: int = Field(4, ge=1, le=32)
    focus: float = Field(8.0, ge=0)
    gamma: float = Field(6.94, gt=0)
    drop: float = Field(0.1, ge=0, lt=1)
    heun: int = Field(16, ge=2)
    guidance: float = Field(1.0, ge=0)
    checkpoint: int = Field(100, ge=1)


class Model(NamedTuple):
    """A trained stage: network with averaged weights, codec, and the fitted lesion shapes (None without masks)."""

    network: Any
    codec: Any
    shapes: np.ndarray | None


def train(
    context: Context, images: ImageSet, masks: np.ndarray | None, classes: Sequence[str], options: Options
) -> str:
    """Train on one set of images.

    Args:
        context: of the running step.
        images: the training part of the cohort.
        masks: bool (N, H, W) of the finding, or None.
        classes: names of the labels, in order.
        options: see `Options`.

    Returns:
        Digest of the weights (safetensors: network, codec, shapes).
    """
    import torch

    from chambit.generate import flow
    from chambit.generate.codec import Codec, blocks

    pixels = images.grey()
    codec = Codec.fit(pixels, size=options.block, keep=min(options.keep, options.block))
    latents = codec.encode(pixels)
    maps = None
    if masks is not None:
        maps = blocks(torch.from_numpy(masks.astype(np.float32)), options.block, _maps(options))
    labels = torch.tensor([list(classes).index(label) for label in images.labels])
    network = _network(context.seed("weights"), codec, len(classes), masks is not None, options)
    parameters = list(network.parameters())
    average = [p.detach().clone() for p in parameters]
    optimiser = torch.optim.AdamW(parameters, lr=options.rate, betas=(0.9, 0.95), weight_decay=0.01, fused=True)
    saved = _Checkpoint(context.scratch / "checkpoint.pt", parameters, average, optimiser)
    first = saved.restore()
    began = time.monotonic()
    for step in range(first, options.steps):
        generator = torch.Generator().manual_seed(context.seed(f"step {step}"))
        chosen = torch.randint(len(latents), (options.batch,), generator=generator)
        label = labels[chosen].clone()
        label[torch.rand(len(label), generator=generator) < options.drop] = len(classes)
        given = None if maps is None else maps[chosen]
        for group in optimiser.param_groups:
            group["lr"] = options.rate * _schedule(step, options.steps)

        def predict(x: Any, t: Any, label: Any = label, given: Any = given) -> Any:
            with torch.autocast("cpu", torch.bfloat16):
                return network(x.to(memory_format=torch.channels_last), t, label, given)

        weight = codec.weight[:, None, None]
        if given is not None:
            # the finding covers a few per cent of the grid; its blocks count more, which leaves the optimum where it is
            weight = weight * (1 + options.focus * (given[:, :1].abs() / options.block))
        torch.autograd.backward(flow.loss(predict, latents[chosen], weight, generator))
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        flow.averaged(average, [p.detach() for p in parameters], step, options.gamma)
        if (step + 1) % options.checkpoint == 0 and step + 1 < options.steps:
            saved.keep(step + 1)
        if (step + 1) % 10 == 0 or step + 1 == options.steps:
            context.progress(step + 1, options.steps, "steps")
    context.note(f"trained {options.steps - first} steps in {time.monotonic() - began:.0f} s")
    return _put(context.store, network, average, codec, None if masks is None else lesions.shapes(masks))


def sample(
    store: Store,
    weights: str,
    labels: Sequence[int],
    seeds: Sequence[int],
    findings: Sequence[bool],
    options: Options,
) -> tuple[np.ndarray, np.ndarray | None]:
    """Draw images, each a function of its own label and seed.

    Args:
        store: where the weights are.
        weights: digest that `train` returned.
        labels: class index of each image.
        seeds: seed of each image.
        findings: whether each image gets a mask (ignored when the stage was trained without masks).
        options: those of training.

    Returns:
        float32 (N, H, W) in [0, 1]; masks float32 (N, H, W) or None.
    """
    import torch

    from chambit.generate import flow
    from chambit.generate.codec import blocks

    model = _get(store, weights, options)
    grid = [-(-side // options.block) for side in model.codec.shape]
    shape = (len(model.codec.mean), *grid)
    noise = torch.stack([torch.randn(shape, generator=torch.Generator().manual_seed(seed)) for seed in seeds])
    masks = maps = None
    if model.shapes is not None:
        drawn = [
            lesions.draw(model.shapes, model.codec.shape, np.random.default_rng(seed))
            if has
            else np.zeros(model.codec.shape, np.float32)
            for seed, has in zip(seeds, findings, strict=True)
        ]
        masks = np.stack(drawn)
        maps = blocks(torch.from_numpy(masks), options.block, _maps(options))
    label = torch.tensor(labels)
    nothing = torch.full_like(label, model.network.classes)

    def predict(x: Any, t: Any) -> Any:
        x = x.to(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            v = model.network(x, t, label, maps).float()
            if options.guidance != 1:
                free = model.network(x, t, nothing, maps).float()
                v = free + options.guidance * (v - free)
        return v

    with torch.inference_mode():
        return model.codec.decode(flow.heun(predict, noise, options.heun)), masks


def _maps(options: Options) -> int:
    return min(MAPS, options.block)


def _schedule(step: int, steps: int) -> float:
    """Warm-up over 50 steps, constant to 60 %, then linear to 2 %."""
    return min(1.0, (step + 1) / 50) * min(1.0, max(0.02, (steps - step) / (0.4 * steps)))


def _network(seed: int, codec: Any, classes: int, with_masks: bool, options: Options) -> Any:
    import torch

    from chambit.generate.unet import UNet

    torch.manual_seed(seed % 2**31)
    maps = _maps(options) ** 2 if with_masks else 0
    network = UNet(len(codec.mean), classes, maps, options.width, options.depth)
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack it


class _Checkpoint:
    """Where training was: everything the next step depends on."""

    def __init__(self, path: Path, parameters: list[Any], average: list[Any], optimiser: Any) -> None:
        self.path, self.parameters, self.average, self.optimiser = path, parameters, average, optimiser

    def keep(self, step: int) -> None:
        """Write the checkpoint whole or not at all."""
        import io

        import torch

        from chambit.core.store import write_atomically

        buffer = io.BytesIO()
        state = {
            "step": step,
            "parameters": [p.detach() for p in self.parameters],
            "average": self.average,
            "optimiser": self.optimiser.state_dict(),
        }
        torch.save(state, buffer)
        write_atomically(self.path, buffer.getvalue())

    def restore(self) -> int:
        """Load the checkpoint if there is one; returns the next step."""
        import torch

        if not self.path.exists():
            return 0
        state = torch.load(self.path, weights_only=True)
        with torch.no_grad():
            for mine, kept in zip(self.parameters, state["parameters"], strict=True):
                mine.copy_(kept)
        for mine, kept in zip(self.average, state["average"], strict=True):
            mine.copy_(kept)
        self.optimiser.load_state_dict(state["optimiser"])
        return int(state["step"])


def _put(store: Store, network: Any, average: list[Any], codec: Any, shapes: np.ndarray | None) -> str:
    arrays = {
        f"network.{name}": value.numpy() for (name, _), value in zip(network.named_parameters(), average, strict=True)
    }
    arrays["codec.mean"], arrays["codec.std"] = codec.mean.numpy(), codec.std.numpy()
    arrays["codec.shape"] = np.array(codec.shape, np.int64)
    arrays["codec.residual"] = np.array([codec.residual])
    arrays["classes"] = np.array([network.classes], np.int64)
    if shapes is not None:
        arrays["shapes"] = shapes
    return store.put_arrays(**arrays)


def _get(store: Store, weights: str, options: Options) -> Model:
    import torch

    from chambit.generate.codec import Codec

    arrays = store.get_arrays(weights)
    codec = Codec(
        options.block,
        min(options.keep, options.block),
        (int(arrays["codec.shape"][0]), int(arrays["codec.shape"][1])),
        torch.from_numpy(arrays["codec.mean"]),
        torch.from_numpy(arrays["codec.std"]),
        float(arrays["codec.residual"][0]),
    )
    network = _network(0, codec, int(arrays["classes"][0]), "shapes" in arrays, options)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            parameter.copy_(torch.from_numpy(arrays[f"network.{name}"]))
    return Model(network.eval(), codec, arrays.get("shapes"))
