"""What the stages of diffusion type share: a stage is its options and its objective, the rest is here.

Training is resumable: a checkpoint every `checkpoint` steps holds weights, averages and optimiser; batches and noise
are functions of (seed, step). Two runs give equal bytes on one machine with one thread count, not across machines.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch

from chambit.core.errors import InputError, Problem
from chambit.core.seeds import seed as derive
from chambit.core.steps import Context
from chambit.core.store import Store
from chambit.generate import codec as codecs
from chambit.generate import lesions
from chambit.generate.codec import Codec
from chambit.generate.items import Arrays, Examples
from chambit.generate.networks.embedding import Conditions
from chambit.generate.objectives.flow import Flow
from chambit.generate.objectives.objective import Draws, Objective
from chambit.generate.options import FRAMES, Diffusion, Trained
from chambit.generate.training import conditioning, cost, device, distributed, looking, loop, trained
from chambit.generate.training.conditioning import Told
from chambit.generate.training.style import Style
from chambit.generate.training.style import numbers as style_numbers


class Prepared(NamedTuple):
    """Training items as the network sees them.

    Attributes:
        latents: float32 (N[, D], C, h, w).
        conditions: of each; maps are of the masks alone.
        boxes: maps of the boxes alone, as `conditions.maps`, or None.
        codec: what made the latents.
        told: what the network is told.
        shapes: of the lesions, or None.
        style: what the network is told of style, or None.
    """

    latents: torch.Tensor
    conditions: Conditions
    boxes: torch.Tensor | None
    codec: Codec
    told: Told
    shapes: np.ndarray | None
    style: Style | None = None


def prepared(context: Context, examples: Examples, options: Trained) -> Prepared:
    """Fit the codec and code the examples.

    Raises:
        InputError: when the options do not fit the items.
    """
    form = examples.form
    if options.codec == "pca" and form.axis:
        remedy = "use the codec `dct` or `kl`"
        raise InputError("The stage cannot be trained.", [Problem("codec", "`pca` codes pictures alone", remedy)])
    images, masks = examples.image(), examples.mask()
    # detail is drawn for each picture by itself, and would flicker along an axis
    whole = options.model_copy(update={"detail": False}) if form.axis else options
    codec = fitted(context, images.reshape(-1, *images.shape[1 + bool(form.axis) :]), whole)
    latents = codecs.encode(codec, images)
    style, count = None, style_numbers(codec, options.styles)
    if count:
        style = Style.fit(latents, examples.label(), len(examples.classes), count)
    told = Told.of(examples, boxes=options.boxes > 0)._replace(styles=count)
    vector = torch.from_numpy(conditioning.standardised(told, examples.vector())) if told.numbers else None
    factors = torch.from_numpy(examples.factor()) if told.factors else None
    maps = boxes = None
    if masks is not None:
        empty = np.zeros_like(masks, np.float32)
        maps = conditioning.maps_of(told, codec, masks.astype(np.float32), None, len(masks))
        if told.boxes:
            boxes = conditioning.maps_of(told, codec, empty, conditioning.boxed(masks), len(masks))
    conditions = Conditions(torch.from_numpy(examples.label()), maps, factors, vector)
    shapes = None if masks is None else lesions.fitted(masks)
    conditions = conditioning.styled(told, conditions, None if style is None else style.of(latents))
    return Prepared(latents, conditions, boxes, codec, told, shapes, style)


def fitted(context: Context, images: np.ndarray, options: Trained) -> Codec:
    """The codec the options ask for, fitted on pictures float32 (N, H, W[, 3]) in [0, 1]."""
    keep = min(options.keep, options.block)
    if options.codec == "identity":
        from chambit.generate.codec.identity import Pixels

        return Pixels.fit(images, size=options.block)
    if options.codec == "pca":
        from chambit.generate.codec.pca import Components

        return Components.fit(images, components=options.components)
    if options.codec == "kl":
        from chambit.generate.codec.kl import Learnt

        return Learnt.fit(context, images, size=options.block, channels=keep * keep, width=max(16, options.width // 2),
                          steps=options.codec_steps, batch=options.batch, rate=options.rate,
                          checkpoint=options.checkpoint)  # fmt: skip
    from chambit.generate.codec.dct import BlockDCT

    return BlockDCT.fit(images, size=options.block, keep=keep, chroma=options.chroma, detail=options.detail)


class Learner:
    """One step of training a diffusion network (`chambit.generate.training.loop.Learner`)."""

    def __init__(
        self, network: Any, ready: Prepared, options: Diffusion, objective: Objective, seed: Callable[[str], int]
    ) -> None:
        self.where = device.choose()
        self.network, self.ready, self.options, self.objective, self.seed = (
            trained.rearranged(network.to(self.where)), ready, options, objective, seed,
        )  # fmt: skip
        self.parameters = list(self.network.parameters())
        self.optimiser = torch.optim.AdamW(
            self.parameters, lr=options.rate, betas=(0.9, 0.95), weight_decay=0.01, fused=True
        )
        self.others: list[torch.Tensor] = []
        self.weight = codecs.weight(ready.codec)[:, None, None].to(self.where)

    def backward(self, step: int, rows: slice) -> torch.Tensor:
        """Gradients of these rows of the step's batch; returns their mean loss."""
        options, latents = self.options, self.ready.latents
        if self.ready.told.frames and step < options.frames_first * options.steps:
            return self._of_frames(step, rows)
        generator = torch.Generator().manual_seed(self.seed(f"step {step}"))
        chosen = torch.randint(len(latents), (options.batch,), generator=generator)
        hidden = torch.rand(options.batch, generator=generator) < options.drop
        draws = self.objective.draw(torch.Size((options.batch, *latents.shape[1:])), generator)
        told, places = self._told(step, chosen, hidden)
        return self._loss(latents[chosen], told, places, draws, None, rows)

    def _of_frames(self, step: int, rows: slice) -> torch.Tensor:
        """The same of single frames of any items: a fraction of the cost, and most of what there is to learn."""
        options, latents = self.options, self.ready.latents
        generator = torch.Generator().manual_seed(self.seed(f"frames {step}"))
        count = FRAMES * options.batch
        chosen = torch.randint(len(latents), (count,), generator=generator)
        frame = torch.randint(self.ready.told.frames, (count,), generator=generator)
        hidden = torch.rand(count, generator=generator) < options.drop
        draws = self.objective.draw(torch.Size((count, *latents.shape[2:])), generator)
        told = self.ready.conditions.at(chosen).frame(frame)
        places, told = told.maps, told.thinned(options.drop, generator)
        told = told.withheld(hidden, self.ready.told.classes)
        return self._loss(latents[chosen, frame], told, places, draws, frame, rows)

    def _loss(
        self,
        x0: torch.Tensor,
        told: Conditions,
        places: torch.Tensor | None,
        draws: Draws,
        frame: torch.Tensor | None,
        rows: slice,
    ) -> torch.Tensor:
        """Gradients of these rows of a batch; `places`: masks, told or not; `frame`: which one each picture is."""
        x0, told, weight = x0[rows].to(self.where), told.at(rows).to(self.where), self.weight
        more = {} if frame is None else {"place": frame[rows].to(self.where)}
        if places is not None:
            # the finding covers a few per cent of the grid; its blocks count more, which leaves the optimum where it is
            area = places[rows][..., :1, :, :].abs() / self.ready.codec.size
            weight = weight * (1 + self.options.focus * area.to(self.where))

        def predict(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
            if x.ndim == 4:
                x = x.to(memory_format=torch.channels_last)
            with device.autocast(self.where):
                out: torch.Tensor = self.network(x, t, *told, **more)
            return out

        loss = self.objective.error(predict, x0, draws.at(rows).to(self.where), weight).mean()
        torch.autograd.backward(loss)
        return loss.detach()

    def _told(self, step: int, chosen: torch.Tensor, hidden: torch.Tensor) -> tuple[Conditions, torch.Tensor | None]:
        """What the network is told of the batch, and the maps of the masks, told or not."""
        told, boxes = self.ready.conditions.at(chosen), self.ready.boxes
        places = told.maps
        # another stream: plain pictures draw what they always drew
        generator = torch.Generator().manual_seed(self.seed(f"conditions {step}"))
        if boxes is not None and places is not None:
            shown = torch.rand(len(chosen), generator=generator) < self.options.boxes
            by_box = shown.reshape(-1, *(1,) * (places.ndim - 1))
            told = told._replace(maps=torch.where(by_box, boxes[chosen], places))
        told = told.thinned(self.options.drop, generator)
        return told.withheld(hidden, self.ready.told.classes), places


Make = Callable[[Any, Prepared], loop.Learner]


def train(context: Context, examples: Examples, options: Diffusion, watch: looking.Watch | None) -> str:
    """Train a network of diffusion type on real items; see `chambit.generate.stage.train`. Returns the digest."""
    objective = options.objective()
    seeds = partial(derive, context.step.seed, context.step.name)

    def learner(network: Any, ready: Prepared) -> Learner:
        return Learner(network, ready, options, objective, seeds)

    return trained_with(context, examples, options, objective, learner, watch)


def trained_with(
    context: Context,
    examples: Examples,
    options: Trained,
    objective: Objective,
    make: Make,
    watch: looking.Watch | None,
) -> str:
    """Train a network with the learner that `make` makes of it; only learners of this module are shared out."""
    ready = prepared(context, examples, options)
    network = trained.network(context.seed("weights"), ready.codec, ready.told, options)
    learner = make(network, ready)
    model = trained.Model(network, ready.codec, ready.shapes, ready.told, objective, style=ready.style)
    asked = isinstance(learner, Learner) and not ready.told.frames and ready.codec.colours == 1
    given = glance(ready, options.looked, context.seed("looks"))
    shown = partial(_shown, given=given, seed=context.seed("look noise"), asked=asked)
    looks = looking.Looking(watch, options.look, options.steps, model, shown, context.scratch)
    plan = loop.Plan(options.steps, options.rate, options.gamma, options.checkpoint)
    job = None
    if isinstance(learner, Learner):
        job = distributed.Job(ready, options, objective, context.step.seed, context.step.name,
                              options.look if looks.asked else 0)  # fmt: skip
    with distributed.joined(context.scratch, job) as group:
        average, losses = loop.run(context, learner, plan, looks, group)
    return trained.put(context.store, model._replace(losses=tuple(losses)), average, options)


class Glance(NamedTuple):
    """What is drawn at every look, as `trained.draw` takes it."""

    given: dict[str, np.ndarray]
    seeds: list[int]


def glance(ready: Prepared, count: int, seed: int) -> Glance:
    """`count` samples with label, factors, numbers and mask as of training items chosen at random."""
    generator = np.random.default_rng(seed)
    told = ready.conditions
    chosen = generator.integers(len(ready.latents), size=count)
    given = {"label": told.label.numpy()[chosen], "finding": np.zeros(count, bool)}
    if told.maps is not None:
        given["finding"] = told.maps.flatten(1).any(1).numpy()[chosen]
    if told.factors is not None:
        given["factors"] = told.factors.numpy()[chosen]
    if told.vector is not None and ready.told.numbers:
        given["vector"] = told.vector.numpy()[chosen, : ready.told.numbers] * ready.told.scale[1] + ready.told.scale[0]
    return Glance(given, generator.integers(2**62, size=count).tolist())


def _shown(model: trained.Model, given: Glance, seed: int, asked: bool) -> looking.Shown:
    """Draw for a look."""
    images = trained.draw(model, given.given, given.seeds, looking.HEUN, 1)["image"]
    label = given.given["label"]
    flat = label if label.ndim == 1 else label[:, label.shape[1] // 2]

    def known(pictures: np.ndarray, labels: Sequence[int]) -> np.ndarray:
        return trained.denoising(model, pictures, {"label": np.asarray(labels)}, seed, looking.LEVELS)

    return looking.Shown(pictured(model, images), flat, known if asked else None)


def pictured(model: trained.Model, images: np.ndarray) -> np.ndarray:
    """One grey picture for each item, float32 (N, H, W): the frame in the middle, the luminance of colours."""
    if model.told.frames:
        images = images[:, model.told.frames // 2]
    if model.codec.colours == 3:
        images = images @ np.array([0.299, 0.587, 0.114], np.float32)
    return images


def way(model: trained.Model, given: Arrays, seeds: Sequence[int], options: Diffusion, looks: int) -> np.ndarray:
    """What the network thinks each item is at `looks` of the solver's steps, first to last.

    Returns:
        float32 (looks, N[, D], H, W[, 3]) in [0, 1]; the last is the image that `sample` draws.
    """
    steps: list[list[torch.Tensor]] = []

    def seen(part: slice, x: torch.Tensor) -> None:
        if part.start not in firsts:
            firsts.append(part.start)
            steps.append([])
        steps[firsts.index(part.start)].append(x.float().cpu())

    firsts: list[int] = []
    last = trained.draw(model, given, seeds, options.heun, options.guidance, seen)["image"]
    of_steps = [torch.cat(parts) for parts in zip(*steps, strict=True)]
    chosen: list[int] = np.linspace(0, len(of_steps) - 1, looks).round().astype(int).tolist()[:-1]
    return np.stack([*(codecs.decode(model.codec, of_steps[k]) for k in chosen), last])


def facts(store: Store, weights: str) -> dict[str, Any]:
    """What there is to say of trained weights; see `chambit.generate.stage.facts`."""
    about = trained.about(store, weights)
    options = Trained.model_validate({name: about[name] for name in Trained.model_fields})
    model = trained.get(store, weights, options, Flow())  # its size does not depend on the objective
    once, residual = cost.forward(model), model.codec.residual
    every = loop.EVERY
    return {
        "parameters": sum(parameter.numel() for parameter in model.network.parameters()),
        "steps": options.steps,
        "gflop_per_step": cost.step(*cost.asked(model), options.batch, about.get("frames_first", 0.0)),
        "gflop_per_item": once * about["calls"],
        "network_calls_per_item": about["calls"],
        "random_numbers_per_item": int(np.prod(cost.asked(model)[1])) + model.told.styles,
        "losses": [{"step": min((k + 1) * every, options.steps), "loss": loss} for k, loss in enumerate(model.losses)],
        "codec": options.codec,
        "codec_residual": None if np.isnan(residual) else residual,
    }
