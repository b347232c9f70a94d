"""The `flow` stage trained with differential privacy for each subject (DP-SGD): a proven bound, at a price in quality.

What is promised: the released images are (epsilon, delta)-differentially private for adding or removing one training
subject with all their images and masks. Each step samples subjects (Poisson), each sampled subject gives one gradient,
the mean over `multiplicity` draws of one of their images, a time and a noise (noise multiplicity: Dockhorn et al. 2022,
arXiv:2210.09929), clipped to `clip`, see `chambit.generate.privacy.dpsgd`. Codec and lesion shapes are not
fitted on training images but released with noise that epsilon counts (`chambit.generate.privacy.released`).

What it does not cover. Taken as public: the number of training subjects, the size and depth of the images, the names
of the classes and which of them have masks. The classes' shares among the synthetic images are those of the training
images unless the study gives `recipe.sample.shares`: a study that claims privacy must give them. Images thrown out
after a look at the training images, findings that compare with them, and other trainings on the same subjects are
outside epsilon.

What is lost. Sampling and noise are the operating system's, so another run gives other weights, and a killed run goes
on from its last checkpoint with fresh ones: the steps after it were seen by nobody and are not counted twice. A copy of
the scratch folder that somebody kept from an interrupted run is outside epsilon. There are no looks for memorisation:
stopping by them would tell of the training images.

Needs the extra `dp` (Opacus) for training, not for sampling.
"""

import json
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
from pydantic import Field, model_validator

from chambit.core.errors import InputError, Problem
from chambit.core.evidence import Frozen
from chambit.core.steps import Context
from chambit.core.store import Store
from chambit.generate.items import Arrays, Examples, Ports
from chambit.generate.stages import flow
from chambit.images.imageset import ImageSet

if TYPE_CHECKING:  # torch takes seconds to load, and a plan needs the options alone
    import torch

    from chambit.generate.privacy.dpsgd import Gaussian
    from chambit.generate.training.trained import Model

version = "2"
AT_ONCE = 32  # subjects whose gradients are in memory together; changes no result but rounding


class Options(Frozen):
    """What changes the result.

    epsilon: what training may cost, from which sigma is found; sigma: the noise in units of `clip`, if given instead;
    delta: None is 1 / (10 subjects); clip: largest norm of a subject's gradient; subjects: sampled per step, on
    average; multiplicity: draws (image, time, noise) a subject's gradient is the mean of; statistics: noise multiplier
    of what is released of codec and masks, 0 releases nothing; canaries: subjects that a fair coin lets into training
    or not, for the audit. The rest as in `flow`.
    """

    steps: int = Field(600, ge=1)
    epsilon: float | None = Field(8.0, gt=0)
    sigma: float | None = Field(None, gt=0)
    delta: float | None = Field(None, gt=0, lt=1)
    clip: float = Field(1.0, gt=0)
    subjects: int = Field(128, ge=1)
    multiplicity: int = Field(4, ge=1)
    statistics: float = Field(10.0, ge=0)
    canaries: int = Field(0, ge=0)
    rate: float = Field(2e-3, gt=0)
    width: int = Field(32, ge=16, multiple_of=8)
    depth: int = Field(1, ge=1, le=4)
    block: int = Field(8, ge=2, le=32)
    keep: int = Field(4, ge=1, le=32)
    focus: float = Field(8.0, ge=0)
    gamma: float = Field(6.94, gt=0)
    drop: float = Field(0.1, ge=0, lt=1)
    heun: int = Field(16, ge=2)
    guidance: float = Field(1.0, ge=0)
    checkpoint: int = Field(100, ge=1)

    @model_validator(mode="after")
    def _one_budget(self) -> Self:
        if (self.epsilon is None) == (self.sigma is None):
            raise ValueError("give one of `epsilon` and `sigma`, and set the other to null")
        return self


def ports(options: Options) -> Ports:
    """What `sample` needs, takes and makes."""
    return Ports(("label",), ("finding", "mask"), ("image", "mask"))


def train(context: Context, examples: Examples, options: Options) -> str:
    """Train on real grey images; `claim` tells what it cost.

    Args:
        context: of the running step; its seed decides the weights' first values and the lesion shapes alone.
        examples: the training part of the cohort; `subject` is the unit of privacy.
        options: see `Options`.

    Returns:
        Digest of the weights (safetensors: network, codec, shapes, claim).

    Raises:
        InputError: when the images have colours, or are frames of something.
        ExtensionError: when Opacus is not installed.
        ChambitError: when the budget is too small, or the accountants contradict each other.
    """
    import torch

    from chambit.generate.objectives import flow as rectified
    from chambit.generate.privacy import dpsgd
    from chambit.generate.training import loop
    from chambit.generate.training.checkpoint import Checkpoint

    _plain(examples)
    images, masks, classes = examples.images, examples.mask(), examples.classes
    names, member = np.unique(images.subjects, return_inverse=True)
    rate, delta = min(1.0, options.subjects / len(names)), options.delta or 1 / (10 * len(names))
    before = [dpsgd.Gaussian(options.statistics, 1.0, 1)] * ((masks is not None) + 1 if options.statistics else 0)
    sigma = options.sigma or dpsgd.noise_multiplier(options.epsilon or 0, delta, rate, options.steps, before)
    about = _cost([*before, dpsgd.Gaussian(sigma, rate, options.steps)], delta) | {
        "unit": "subject", "sampler": "Poisson", "sigma": sigma, "rate": rate, "steps": options.steps,
        "clip": options.clip, "statistics": options.statistics, "subjects": len(names),
    }  # fmt: skip
    model, entry = _prepared(context, images.grey(), masks, member, len(classes), options)
    gradients = _gradients(model, images, masks, member, classes, options)
    parameters = list(model.network.parameters())
    average = [p.detach().clone() for p in parameters]
    optimiser = torch.optim.AdamW(parameters, lr=options.rate, betas=(0.9, 0.95), weight_decay=0.01, fused=True)
    saved = Checkpoint(context.scratch / "checkpoint.pt", parameters, average, optimiser)
    first, began = saved.restore(), time.monotonic()
    for step in range(first, options.steps):
        sampled = dpsgd.poisson(len(names), rate)
        chosen = sampled[entry.included[sampled]]
        total = [torch.zeros_like(p) for p in parameters]
        for k in range(0, len(chosen), AT_ONCE):
            each = gradients(chosen[k : k + AT_ONCE], dpsgd.generator())
            torch._foreach_add_(total, dpsgd.clipped_sum(each, options.clip))
        noised = dpsgd.noised(total, options.clip, sigma, rate * len(names))
        for parameter, gradient in zip(parameters, noised, strict=True):
            parameter.grad = gradient
        for group in optimiser.param_groups:
            group["lr"] = options.rate * loop.schedule(step, options.steps)
        optimiser.step()
        rectified.averaged(average, [p.detach() for p in parameters], step, options.gamma)
        if (step + 1) % options.checkpoint == 0 and step + 1 < options.steps:
            saved.keep(step + 1)
        if (step + 1) % 10 == 0 or step + 1 == options.steps:
            context.progress(step + 1, options.steps, "steps")
    context.note(
        f"trained {options.steps - first} steps in {time.monotonic() - began:.0f} s; each subject with probability "
        f"{rate:.3g} a step, clipped to {options.clip:g}, sigma {sigma:.3g}: epsilon {about['epsilon']:.2f} at delta "
        f"{delta:.1e} (RDP {about['epsilon_rdp']:.2f})"
    )
    return _put(context.store, model, average, options, about, names, entry)


def claim(store: Store, weights: str) -> dict[str, Any]:
    """What training promises and how it was done.

    Returns:
        `epsilon` (PRV accountant), `epsilon_rdp`, `epsilon_replaced` (for replacing one subject instead of adding or
        removing one), `delta`, `unit`, `sampler`, `sigma`, `rate` (q), `steps`, `clip`, `statistics`, `subjects`; and,
        where there were canaries, `canaries` and `left_out`: the subjects for whom a coin was thrown, and those it kept
        out. The last two are no part of the weights' blob: who published them would break the promise to these.
    """
    about: dict[str, Any] = json.loads(store.get_arrays(weights)["claim"].tobytes())
    thrown = about.pop("coins")
    return about | (store.get_json(thrown) if thrown else {})


def sample(store: Store, weights: str, given: Arrays, seeds: Sequence[int], options: Options) -> dict[str, np.ndarray]:
    """Draw images, each a function of what is given of it and of its seed: `flow.sample` with these weights."""
    return flow.sample(store, weights, given, seeds, _flow(options))


def vary(
    store: Store,
    weights: str,
    images: np.ndarray,
    labels: Sequence[int],
    masks: np.ndarray | None,
    strength: float,
    seeds: Sequence[int],
    options: Options,
) -> np.ndarray:
    """Near-duplicates of images: `flow.vary` with these weights."""
    return flow.vary(store, weights, images, labels, masks, strength, seeds, _flow(options))


def probe(
    store: Store,
    weights: str,
    images: np.ndarray,
    labels: Sequence[int],
    masks: np.ndarray | None,
    seed: int,
    options: Options,
) -> dict[str, np.ndarray]:
    """How well the network knows each image: `flow.probe` with these weights."""
    return flow.probe(store, weights, images, labels, masks, seed, _flow(options))


def _flow(options: Options) -> flow.Options:
    shared = set(flow.Options.model_fields) & set(Options.model_fields)
    return flow.Options(levels=2, **{name: getattr(options, name) for name in shared})


def _plain(examples: Examples) -> None:
    """Refuse what the claim does not cover."""
    problems = []
    if examples.form.axis or examples.form.channels != 1:
        problems.append(Problem("images", "have an axis or colours", "train `flow_dp` on single grey pictures"))
    if problems:
        raise InputError("The private stage cannot be trained on these images.", problems)


def _cost(mechanisms: "list[Gaussian]", delta: float) -> dict[str, Any]:
    from chambit.generate.privacy import dpsgd

    paid = dpsgd.spent(mechanisms, delta)
    replaced = dpsgd.replaced(mechanisms, delta)
    return {"epsilon": paid.prv, "epsilon_rdp": paid.rdp, "epsilon_replaced": replaced, "delta": delta}


class _Entry(NamedTuple):
    """Who takes part: subjects bool (n,), and those int (m,) for whom a coin was thrown."""

    included: np.ndarray
    thrown: np.ndarray


def _prepared(
    context: Context, pixels: np.ndarray, masks: np.ndarray | None, member: np.ndarray, classes: int, options: Options
) -> "tuple[Model, _Entry]":
    """The model before training, and who takes part; drawn once, also when a run is killed and goes on."""
    import torch

    from chambit.generate.codec.dct import BlockDCT
    from chambit.generate.privacy import dpsgd, released
    from chambit.generate.training import checkpoint, trained
    from chambit.generate.training.conditioning import Told

    path, keep, subjects = context.scratch / "released.pt", min(options.keep, options.block), int(member.max()) + 1
    if not path.exists():
        thrown = np.random.default_rng(context.seed("canaries")).permutation(subjects)[: options.canaries]
        included = np.ones(subjects, bool)
        included[thrown] = dpsgd.coins(len(thrown))
        of, sigma = included[member], options.statistics
        codec = released.codec(pixels[of], member[of], subjects, size=options.block, keep=keep, sigma=sigma)
        state = {"included": included, "thrown": thrown, "mean": codec.mean.numpy(), "std": codec.std.numpy()}
        if masks is not None:
            state["shapes"] = released.findings(masks[of], member[of], subjects, sigma, context.seed("shapes"))
        checkpoint.save(path, {name: torch.from_numpy(value) for name, value in state.items()})
    kept = torch.load(path, weights_only=True)
    codec = BlockDCT(options.block, keep, pixels.shape[1:], kept["mean"], kept["std"], float("nan"))
    told = Told(classes, masks is not None)
    network = trained.network(context.seed("weights"), codec, told, _flow(options))
    # channels_last is of no use under vmap, which folds the subjects into the channels
    network = network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]  # torch's stubs lack it
    shapes = kept["shapes"].numpy() if "shapes" in kept else None
    return trained.Model(network, codec, shapes, told), _Entry(kept["included"].numpy(), kept["thrown"].numpy())


def _gradients(
    model: "Model",
    images: ImageSet,
    masks: np.ndarray | None,
    member: np.ndarray,
    classes: Sequence[str],
    options: Options,
) -> "Callable[[np.ndarray, torch.Generator], list[torch.Tensor]]":
    """A function of subjects int (B,) and a generator: the gradient of each, one tensor (B, *shape) per parameter."""
    import torch
    from torch.func import functional_call, grad, vmap

    from chambit.generate import codec as codecs
    from chambit.generate.objectives import flow as rectified
    from chambit.generate.training import conditioning

    latents, weight = model.codec.encode(images.grey()), codecs.weight(model.codec)[:, None, None]
    labels = torch.tensor([list(classes).index(label) for label in images.labels])
    maps = None if masks is None else conditioning.condition(masks, model.codec)
    order = torch.from_numpy(np.argsort(member, kind="stable"))
    count = torch.from_numpy(np.bincount(member))
    start = count.cumsum(0) - count
    names = [name for name, _ in model.network.named_parameters()]

    def loss(parameters: Any, x0: Any, noise: Any, t: Any, label: Any, given: Any) -> Any:
        def predict(x: Any, at: Any) -> Any:
            return functional_call(model.network, parameters, (x, at, label, given))

        # as in `flow`: the finding covers a few per cent of the grid, and its blocks count more
        more = 1 if given is None else 1 + options.focus * (given[:, :1].abs() / options.block)
        return rectified.denoising_error(predict, x0, noise, t, weight * more).mean()

    def of(subjects: np.ndarray, generator: torch.Generator) -> list[torch.Tensor]:
        who, shape = torch.from_numpy(subjects)[:, None], (len(subjects), options.multiplicity)
        among = (torch.rand(shape, generator=generator) * count[who]).long()
        chosen = order[start[who] + among.clamp_max(count[who] - 1)]
        label = labels[chosen]
        label[torch.rand(shape, generator=generator) < options.drop] = len(classes)
        t = torch.sigmoid(torch.randn(shape, generator=generator))
        noise = torch.randn((*shape, *latents.shape[1:]), generator=generator)
        given = None if maps is None else maps[chosen]
        each = vmap(grad(loss), in_dims=(None, 0, 0, 0, 0, None if given is None else 0))
        found = each(dict(model.network.named_parameters()), latents[chosen], noise, t, label, given)
        return [found[name].detach() for name in names]

    return of


def _put(
    store: Store,
    model: "Model",
    average: "list[torch.Tensor]",
    options: Options,
    about: dict[str, Any],
    names: np.ndarray,
    entry: "_Entry",
) -> str:
    """Keep the weights with the claim in one blob; the coins lie in another."""
    from chambit.generate.training import trained

    coins = None
    if len(entry.thrown):
        out = entry.thrown[~entry.included[entry.thrown]]
        coins = store.put_json({"canaries": names[entry.thrown].tolist(), "left_out": names[out].tolist()})
    # the plain weights stay in the store beside these: nothing in them that is not in these, too
    arrays = store.get_arrays(trained.put(store, model, average, _flow(options)))
    arrays["claim"] = np.frombuffer(json.dumps(about | {"coins": coins}).encode(), np.uint8)
    return store.put_arrays(**arrays)
