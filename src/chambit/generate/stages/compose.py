"""Divide and conquer: each tooth is made by its own diffusion after another real subject, and laid into the image.

A part is painted in an appearance between that of the image's part and that of one donor's real part (mean colour and
slopes of colour), and a denoiser draws its texture for that appearance and kind, as principal components in the part's
own frame. Donors are photographed in the same view, and there is a different one for each part where there are enough.
No subject gives more than `donor_share` of an image's pixels: parts that would break this stay as the stages before
made them. What every subject gave is handed on with the image, so the share is a fact of each image and not a promise.

The weights number their donors at random. Which subject a number is stands in a blob of the study's store; where the
weights go without that store, donors are counted as before and nobody can say who they are.

A finding stays as it is in the image: no part with a finding is learnt from or gives, and a made part leaves the mask
of the finding free.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from pydantic import Field

from chambit.core.errors import InputError, Problem
from chambit.core.evidence import Frozen
from chambit.core.steps import Context
from chambit.core.store import Store
from chambit.generate.items import Arrays, Donor, Examples, Ports

if TYPE_CHECKING:
    from chambit.generate.staged.composition import Choice, Donors, Textures
    from chambit.generate.staged.drawing import Model

version = "2"


class Options(Frozen):
    """What changes the result.

    steps, batch, rate: of training; pixels: side of a part's texture; components: of the textures; width, depth: of
    the network; schedule: of the noise; predict: what the network answers; drop: share of conditions hidden, for
    guidance; ddim: sampler steps; guidance: 1 is none; calm: factor of the first noise, below 1 smoother; donor_share:
    the largest share of an image's pixels that one subject may give; near: from how many donors most like the image's
    part one is drawn; spread: how far an appearance is drawn from its donor's, in standard deviations of all donors;
    harmony: how much of an appearance is the image's own, so that a part fits to its neighbours; checkpoint: steps
    between two.
    """

    steps: int = Field(2000, ge=1)
    batch: int = Field(256, ge=2)
    rate: float = Field(1e-3, gt=0)
    pixels: int = Field(24, ge=8, le=128)
    components: int = Field(48, ge=1, le=512)
    width: int = Field(64, ge=16, multiple_of=16)
    depth: int = Field(2, ge=1, le=4)
    schedule: Literal["cosine", "linear"] = "cosine"
    predict: Literal["v", "x0"] = "x0"
    drop: float = Field(0.1, ge=0, lt=1)
    ddim: int = Field(20, ge=2)
    guidance: float = Field(1.0, ge=0)
    calm: float = Field(0.8, gt=0, le=1)
    donor_share: float = Field(0.15, gt=0, le=1)
    near: int = Field(4, ge=1)
    spread: float = Field(0.1, ge=0)
    harmony: float = Field(0.75, ge=0, le=1)
    checkpoint: int = Field(500, ge=1)


def ports(options: Options) -> Ports:
    """Needs a layout and an image, makes the image with its parts replaced but for the mask, and who gave them."""
    return Ports(needs=("layout", "image"), takes=("mask", "factors"), makes=("image", "donors"))


def train(context: Context, examples: Examples, options: Options, watch: Any = None) -> str:
    """Train on the parts of the real images.

    Args:
        context: of the running step.
        examples: with layouts that have instances (indices from 10 on).
        options: see `Options`.
        watch: not asked by this stage; the pictures at the end of the chain are what is looked at.

    Returns:
        Digest of the weights. They number donors; the blob that names them stays in the store.

    Raises:
        InputError: when there are no layouts, no instances, or the items are no single pictures.
    """
    import torch

    from chambit.generate.staged import composition, denoiser, diffusion, drawing, kept, outlines, parts, training
    from chambit.generate.staged.conditions import Conditions
    from chambit.generate.training.device import choose

    layouts = parts.need_layouts(examples.layout(), "compose")
    names, subjects = np.unique(examples.subject(), return_inverse=True)
    numbered = np.random.default_rng(context.seed("donors")).permutation(len(names))
    found, images = examples.mask(), parts.planes(examples.image())
    if examples.earlier is not None:
        # textures have the grain of the images that they will be laid into
        small = examples.earlier(1)["image"].shape[1:3]
        images = parts.resized(images, (small[0], small[1]))
    size = images.shape[2], images.shape[3]
    found = np.zeros((len(layouts), *size), bool) if found is None else parts.masks_at(found, size)
    of_group, groups = outlines.grouped(examples.factor())
    rest, donors, views = _gathered(images.numpy(), layouts, found, numbered[subjects], groups, options.pixels)
    basis, scores = composition.textures(rest, options.components)
    values = np.unique(donors.values)
    centre, spread = donors.looks.mean(0), donors.looks.std(0) + 1e-6
    conditions = Conditions((len(values), len(of_group)), False, tuple(map(float, centre)), tuple(map(float, spread)))
    told = {"label": np.searchsorted(values, donors.values), "vector": donors.looks, "factors": views[:, None]}
    levels, numbers = conditions.rows(told, len(rest))
    place, latents = choose(), torch.from_numpy(scores)[:, :, None, None]
    shape = {"channels": latents.shape[1], "levels": list(conditions.levels), "numbers": len(conditions.centre)}
    shape |= {"width": options.width, "depth": options.depth}
    network = kept.placed(denoiser.perceptron(shape, context.seed("weights")), place)
    scale = drawing.Scale.of(latents, 1.0)
    model = drawing.Model(network, conditions, scale, options.schedule, options.predict, (1, 1), place)

    def loss(step: int, generator: torch.Generator) -> torch.Tensor:
        batch = training.chosen(len(rest), options.batch, generator)
        index, number, _ = drawing.hidden(conditions, levels[batch], numbers[batch], None, options.drop, generator)
        index, number = index.to(place), number.to(place)

        def answer(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
            said: torch.Tensor = network(x, t, index, number, None)
            return said

        image = diffusion.clean(answer, options.schedule, options.predict)
        return diffusion.loss(image, scale.standard(latents[batch]).to(place), generator, options.schedule)

    plan = training.Plan(options.steps, options.rate, options.checkpoint)
    curve = training.fit(context, [training.Turn("denoiser", network, loss)], plan, place)
    facts = {"loss": curve["denoiser"], "parts": len(rest), "subjects": len(names), "kinds": len(values)}
    ledger = context.store.put_json([str(name) for name in names[np.argsort(numbered)]])
    record = model.record(shape, facts, ledger=ledger, channels=images.shape[1])
    arrays = {"values": donors.values, "subjects": donors.subjects, "looks": donors.looks, "views": views}
    arrays |= {"levels": of_group, "shares": np.bincount(groups) / len(groups)}
    arrays |= {f"textures.{name}": array for name, array in basis._asdict().items()}
    return kept.put(context.store, network, record, kinds=values, **arrays)


def sample(store: Store, weights: str, given: Arrays, seeds: Sequence[int], options: Options) -> dict[str, np.ndarray]:
    """Replace the instances of each image by made ones, each image a function of its own inputs and seed.

    Args:
        store: where the weights are.
        weights: digest that `train` returned.
        given: `layout` uint8 (N, h, w) of any size, `image` float32 (N, H, W[, 3]), perhaps `mask` of any size and
            `factors`, which say the view.
        seeds: seed of each item.
        options: those of training.

    Returns:
        `image` of the same shape and `donors`, object (N,): for each part that was made, who gave how much.

    Raises:
        InputError: when an image has other channels than the training's.
    """
    from chambit.generate.staged import composition, denoiser, drawing, outlines, parts

    model, whole = drawing.loaded(store, weights, denoiser.perceptron)
    donors = composition.Donors(whole.arrays["values"], whole.arrays["subjects"], whole.arrays["looks"])
    basis = composition.Textures(*(whole.arrays[f"textures.{name}"] for name in composition.Textures._fields))
    names = _names(store, whole.record["ledger"])
    images = parts.planes(given["image"]).numpy().copy()
    _check(images, whole.record["channels"])
    size = images.shape[2], images.shape[3]
    layouts = parts.at_size(np.asarray(given["layout"]), size)
    found = np.asarray(given["mask"]) if "mask" in given else np.zeros(layouts.shape, np.float32)
    found = parts.resized(parts.planes(found), size)[:, 0].numpy()
    of_group, shares = whole.arrays["levels"], whole.arrays["shares"]
    factors = np.asarray(given.get("factors", np.full((len(images), of_group.shape[1]), -1)), np.int64)
    views = outlines.group_of(of_group, shares, factors, seeds)
    parts_of = np.empty(len(images), object)
    for n, (image, layout, mask, seed) in enumerate(zip(images, layouts, found, seeds, strict=True)):
        own = whole.arrays["views"] == views[n]
        alike = composition.Donors(*(column[own] for column in donors))
        pieces = _pieces(image, layout, mask, alike, options, int(seed))
        made = _made(model, whole.arrays["kinds"], basis, pieces, int(views[n]), options)
        for piece, rest in zip(pieces, made, strict=True):
            composition.paste(image, composition.painted(piece.look, rest, piece.region), piece.region, piece.shown)
        parts_of[n] = [
            Donor(str(piece.choice.value), _named(names, int(alike.subjects[piece.choice.row])), piece.share)
            for piece in pieces
        ]
    return {"image": parts.pictures(images), "donors": parts_of}


def facts(store: Store, weights: str) -> dict[str, Any]:
    """What training measured: loss curve; how many parts, of how many subjects and kinds."""
    from chambit.generate.staged import kept

    return kept.facts(store, weights)


class _Piece(NamedTuple):
    """One part that is made: who gives it, where it goes, how it shows, its share of the pixels, look and seed."""

    choice: "Choice"
    region: np.ndarray
    shown: np.ndarray
    share: float
    look: np.ndarray
    seed: int


def _pieces(
    image: np.ndarray, layout: np.ndarray, mask: np.ndarray, donors: "Donors", options: Options, seed: int
) -> list[_Piece]:
    from chambit.generate.staged import composition

    draw = np.random.default_rng([seed % 2**63, 1])
    regions = composition.regions(layout)
    boxes = {value: composition.boxed(region) for value, region in regions.items()}
    shown = {value: composition.feathered(region & (mask <= 0), boxes[value]) for value, region in regions.items()}
    shares = {value: float(alpha.mean(dtype=np.float64)) for value, alpha in shown.items()}
    # of a splinter nothing would show
    shares = {value: share for value, share in shares.items() if share > 0}
    looks = {value: composition.appearance(image, regions[value]) for value in shares}
    chosen = composition.choose(shares, looks, donors, options.donor_share, options.near, draw)
    spread = donors.looks.std(0) if len(donors.looks) else np.zeros(1)
    pieces = []
    for choice in chosen:
        value = choice.value
        near = donors.looks[choice.row] + options.spread * spread * draw.standard_normal(len(spread))
        look = (options.harmony * looks[value] + (1 - options.harmony) * near).astype(np.float32)
        pieces.append(_Piece(choice, regions[value], shown[value], shares[value], look, int(draw.integers(2**62))))
    return pieces


def _made(
    model: "Model", kinds: np.ndarray, basis: "Textures", pieces: list[_Piece], view: int, options: Options
) -> np.ndarray:
    """The textures of the made parts, float32 (parts, C, side, side)."""
    from chambit.generate.staged import drawing

    if not pieces:
        return np.empty((0, *basis.mean.shape), np.float32)
    nearest = [int(np.abs(kinds.astype(int) - piece.choice.value).argmin()) for piece in pieces]
    told = {"label": np.array(nearest), "vector": np.stack([piece.look for piece in pieces])}
    told["factors"] = np.full((len(pieces), 1), view)
    asked = drawing.Asked([piece.seed for piece in pieces], *model.conditions.rows(told, len(pieces)), None)
    scores, _ = drawing.draw(model, asked, options.ddim, options.guidance, calm=options.calm)
    return basis.drawn(scores[:, :, 0, 0])


def _names(store: Store, ledger: str) -> list[str]:
    """The subject of each number; nothing where the blob that says it is not in this store."""
    return list(store.get_json(ledger)) if store.has(ledger) else []


def _named(names: list[str], number: int) -> str:
    return names[number] if names else f"donor {number}"


def _gathered(
    images: np.ndarray, layouts: np.ndarray, masks: np.ndarray, subjects: np.ndarray, groups: np.ndarray, pixels: int
) -> tuple[np.ndarray, "Donors", np.ndarray]:
    """The texture of every instance of every image, but those with a finding, what it can give, and its view."""
    from chambit.generate.staged import composition, parts

    layouts = parts.at_size(layouts, (images.shape[2], images.shape[3]))
    rest, rows = [], []
    for image, layout, mask, subject, group in zip(images, layouts, masks, subjects, groups, strict=True):
        for value, region in composition.regions(layout).items():
            if (region & mask).any() or (made := composition.texture(image, region, pixels)) is None:
                continue
            rest.append(made)
            rows.append((value, subject, composition.appearance(image, region), group))
    if not rest:
        what = "no part without a finding has an index of 10 or more"
        problem = Problem("layout", what, "give each tooth an index of its own")
        raise InputError("The stage 'compose' puts single parts together, and the layouts have none.", [problem])
    values, owners, looks, views = zip(*rows, strict=True)
    donors = composition.Donors(np.array(values, np.uint8), np.array(owners, np.int64), np.stack(looks))
    return np.stack(rest), donors, np.array(views, np.int64)


def _check(images: np.ndarray, channels: int) -> None:
    if images.shape[1] != channels:
        what = f"images of {images.shape[1]} channels; the stage was trained on {channels}"
        raise InputError(
            "The images do not fit the stage 'compose'.",
            [Problem("image", what, "put 'compose' behind a stage trained on the same cohort")],
        )
