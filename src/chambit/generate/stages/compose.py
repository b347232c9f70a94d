"""Divide and conquer: each tooth is made by its own diffusion after another real subject, and laid into the image.

A part is made from its mask, what is around it and an appearance near that of one donor's real part (mean colour,
slopes of colour, roughness), with a different donor for each part where there are enough. No subject gives more than
`donor_share` of an image's pixels: parts that would break this stay as the stages before made them. What every subject
gave is handed on with the image, so the share is a fact of each image and not a promise.

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
    from chambit.generate.staged.composition import Box, Choice, Crop, Donors
    from chambit.generate.staged.drawing import Model

version = "1"


class Options(Frozen):
    """What changes the result.

    steps, batch, rate: of training; pixels: side of a part's crop; width, depth, patch: of the network; schedule: of
    the noise; predict: what the network answers; drop: share of conditions hidden, for guidance; ddim: sampler steps;
    guidance: 1 is none; donor_share: the largest share of an image's pixels that one subject may give; near: from how
    many donors most like the image's part one is drawn; spread: how far an appearance is drawn from its donor's, in
    standard deviations of all donors; checkpoint: steps between two.
    """

    steps: int = Field(3000, ge=1)
    batch: int = Field(32, ge=2)
    rate: float = Field(1e-3, gt=0)
    pixels: int = Field(32, ge=16, le=128, multiple_of=8)
    width: int = Field(48, ge=16, multiple_of=16)
    depth: int = Field(1, ge=1, le=4)
    patch: int = Field(2, ge=1, le=4)
    schedule: Literal["cosine", "linear"] = "cosine"
    predict: Literal["v", "x0"] = "x0"
    drop: float = Field(0.1, ge=0, lt=1)
    ddim: int = Field(20, ge=2)
    guidance: float = Field(1.0, ge=0)
    donor_share: float = Field(0.15, gt=0, le=1)
    near: int = Field(4, ge=1)
    spread: float = Field(0.1, ge=0)
    checkpoint: int = Field(100, ge=1)


def ports(options: Options) -> Ports:
    """Needs a layout and an image, makes the image with its parts replaced but for the mask, and who gave them."""
    return Ports(needs=("layout", "image"), takes=("mask",), makes=("image", "donors"))


def train(context: Context, examples: Examples, options: Options, watch: Any = None) -> str:
    """Train on the parts of the real images.

    Args:
        context: of the running step.
        examples: with layouts that have instances (indices from 10 on).
        options: see `Options`.
        watch: not asked by this stage; the pictures at the end of the chain are what is looked at.

    Returns:
        Digest of the weights. They name the subjects of the cohort (its pseudonyms), as donors.

    Raises:
        InputError: when there are no layouts, no instances, or the items are no single pictures.
    """
    import torch

    from chambit.generate.staged import composition, diffusion, drawing, kept, parts, training
    from chambit.generate.staged.conditions import Conditions
    from chambit.generate.staged.denoiser import built
    from chambit.generate.training.device import choose

    layouts = parts.need_layouts(examples.layout(), "compose")
    names, subjects = np.unique(examples.subject(), return_inverse=True)
    found = examples.mask()
    found = np.zeros(layouts.shape, bool) if found is None else found
    crops, donors = _gathered(parts.planes(examples.image()).numpy(), layouts, found, subjects, options.pixels)
    masks = torch.from_numpy(np.stack([one.mask for one in crops]))
    pictures = torch.from_numpy(np.stack([one.picture for one in crops]))
    values = np.unique(donors.values)
    centre, spread = donors.looks.mean(0), donors.looks.std(0) + 1e-6
    conditions = Conditions((len(values),), False, tuple(map(float, centre)), tuple(map(float, spread)))
    levels, numbers = conditions.rows(
        {"label": np.searchsorted(values, donors.values), "vector": donors.looks}, len(crops)
    )
    channels, place = pictures.shape[1], choose()
    shape = {"channels": channels, "maps": 1 + channels, "levels": list(conditions.levels)}
    shape |= {"numbers": conditions.numbers, "width": options.width, "patch": options.patch, "depth": options.depth}
    network = kept.placed(built(shape, context.seed("weights")), place)
    scale = drawing.Scale.of(pictures)
    size = (options.pixels, options.pixels)
    model = drawing.Model(network, conditions, scale, options.schedule, options.predict, size, place)

    def loss(step: int, generator: torch.Generator) -> torch.Tensor:
        batch = training.chosen(len(crops), options.batch, generator)
        mask = masks[batch]
        index, number, _ = drawing.hidden(model, levels[batch], numbers[batch], None, options.drop, generator)
        conds = index.to(place), number.to(place), composition.surroundings(mask, pictures[batch]).to(place)
        x0 = scale.standard(pictures[batch]).to(place, memory_format=torch.channels_last)

        def answer(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
            said: torch.Tensor = network(x, t, *conds)
            return said

        # only the part is used; a tenth for the rest keeps the border smooth
        image = diffusion.clean(answer, options.schedule, options.predict)
        return diffusion.loss(image, x0, generator, options.schedule, (0.1 + mask).to(place))

    plan = training.Plan(options.steps, options.rate, options.checkpoint)
    curve = training.fit(context, [training.Turn("denoiser", network, loss)], plan, place)
    facts = {"loss": curve["denoiser"], "parts": len(crops), "subjects": len(names), "kinds": len(values)}
    record = model.record(shape, facts, subjects=names.tolist())
    arrays = {"values": donors.values, "subjects": donors.subjects, "looks": donors.looks}
    return kept.put(context.store, network, record, kinds=values, **arrays)


def sample(store: Store, weights: str, given: Arrays, seeds: Sequence[int], options: Options) -> dict[str, np.ndarray]:
    """Replace the instances of each image by made ones, each image a function of its own inputs and seed.

    Args:
        store: where the weights are.
        weights: digest that `train` returned.
        given: `layout` uint8 (N, h, w) of any size, `image` float32 (N, H, W[, 3]), perhaps `mask` of any size.
        seeds: seed of each item.
        options: those of training.

    Returns:
        `image` of the same shape and `donors`, object (N,): for each part that was made, who gave how much.

    Raises:
        InputError: when an image has other channels than the training's.
    """
    from chambit.generate.staged import composition, drawing, parts

    model, whole = drawing.loaded(store, weights)
    donors = composition.Donors(whole.arrays["values"], whole.arrays["subjects"], whole.arrays["looks"])
    images = parts.planes(given["image"]).numpy().copy()
    _check(images, model)
    layouts = parts.at_size(np.asarray(given["layout"]), (images.shape[2], images.shape[3]))
    found = np.asarray(given["mask"]) if "mask" in given else np.zeros(layouts.shape, np.float32)
    found = parts.resized(parts.planes(found), (images.shape[2], images.shape[3]))[:, 0].numpy()
    parts_of = np.empty(len(images), object)
    for n, (image, layout, mask, seed) in enumerate(zip(images, layouts, found, seeds, strict=True)):
        pieces = _pieces(image, layout, mask, donors, options, int(seed))
        made = _made(model, whole.arrays["kinds"], donors, pieces, image, options)
        for piece, square in zip(pieces, made, strict=True):
            composition.paste(image, square, piece.box, piece.shown)
        parts_of[n] = [
            Donor(str(piece.choice.value), whole.record["subjects"][donors.subjects[piece.choice.row]], piece.share)
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
    box: "Box"
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
    looks = {value: composition.appearance(image, region) for value, region in regions.items()}
    chosen = composition.choose(shares, looks, donors, options.donor_share, options.near, draw)
    spread = donors.looks.std(0)
    pieces = []
    for choice in chosen:
        value = choice.value
        near = donors.looks[choice.row] + options.spread * spread * draw.standard_normal(len(spread))
        pieces.append(
            _Piece(
                choice, boxes[value], regions[value], shown[value], shares[value],
                near.astype(np.float32), int(draw.integers(2**62)),
            )
        )  # fmt: skip
    return pieces


def _made(
    model: "Model", kinds: np.ndarray, donors: "Donors", pieces: list[_Piece], image: np.ndarray, options: Options
) -> np.ndarray:
    """The made crops, float32 (parts, C, c, c)."""
    import torch

    from chambit.generate.staged import composition, drawing

    if not pieces:
        return np.empty((0, *image.shape[:1], *model.size), np.float32)
    side = model.size[0]
    masks = np.stack([composition.cut(piece.region[None].astype(np.float32), piece.box, side) for piece in pieces])
    around = np.stack([composition.cut(image, piece.box, side) for piece in pieces])
    maps = composition.surroundings(torch.from_numpy(masks), torch.from_numpy(around))
    index = np.searchsorted(kinds, donors.values[[piece.choice.row for piece in pieces]])
    rows = model.conditions.rows({"label": index, "vector": np.stack([p.look for p in pieces])}, len(pieces))
    asked = drawing.Asked([piece.seed for piece in pieces], *rows, maps)
    made, _ = drawing.draw(model, asked, options.ddim, options.guidance)
    return made


def _gathered(
    images: np.ndarray, layouts: np.ndarray, masks: np.ndarray, subjects: np.ndarray, pixels: int
) -> tuple[list["Crop"], "Donors"]:
    """Every instance of every image, but those with a finding, as a crop and what it can give."""
    from chambit.generate.staged import composition, parts

    layouts = parts.at_size(layouts, (images.shape[2], images.shape[3]))
    crops, rows = [], []
    for image, layout, mask, subject in zip(images, layouts, masks, subjects, strict=True):
        for value, region in composition.regions(layout).items():
            if (region & mask).any():
                continue
            crops.append(composition.crop(image, region, pixels))
            rows.append((value, subject, composition.appearance(image, region)))
    if not crops:
        what = "no part without a finding has an index of 10 or more"
        problem = Problem("layout", what, "give each tooth an index of its own")
        raise InputError("The stage 'compose' puts single parts together, and the layouts have none.", [problem])
    values, owners, looks = zip(*rows, strict=True)
    return crops, composition.Donors(np.array(values, np.uint8), np.array(owners, np.int64), np.stack(looks))


def _check(images: np.ndarray, model: "Model") -> None:
    if images.shape[1] != model.channels:
        what = f"images of {images.shape[1]} channels; the stage was trained on {model.channels}"
        raise InputError(
            "The images do not fit the stage 'compose'.",
            [Problem("image", what, "put 'compose' behind a stage trained on the same cohort")],
        )
