"""From named arrays to what a network is told: classes, factors, numbers, and maps of masks and boxes.

A mask becomes channels on the grid of latents: its lowest block coefficients (`chambit.generate.codec.dct`), so that
the network knows where the finding is to a fraction of a block. A box is drawn as a filled rectangle and becomes
channels of its own. In training an item shows its mask or its box, never both, so either can be given when sampling
(as in ChexGen, arXiv:2509.03903).
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from chambit.core.errors import InputError, Problem
from chambit.generate import lesions
from chambit.generate.codec import Codec, grid
from chambit.generate.codec.dct import blocks
from chambit.generate.items import Arrays, Examples
from chambit.generate.networks.embedding import Conditions

MAPS = 3  # a mask's condition: its lowest 3 x 3 block coefficients on the grid of latents
WHOLE = 8  # and its lowest 8 x 8 where the grid has one position


class Told(NamedTuple):
    """What a network is told of every item, as its examples had it.

    Attributes:
        classes: their number.
        masks: whether it is told where the finding is.
        boxes: whether it is told by a box, too.
        frames: D of items with an axis, 0 without one.
        factors: number of levels of each factor.
        scale: float32 (2, V), mean and standard deviation of each number in training.
        styles: how many numbers of style it is told beside.
    """

    classes: int
    masks: bool = False
    boxes: bool = False
    frames: int = 0
    factors: tuple[int, ...] = ()
    scale: np.ndarray = np.zeros((2, 0), np.float32)
    styles: int = 0

    @classmethod
    def of(cls, examples: Examples, *, boxes: bool) -> "Told":
        """What these examples can tell."""
        values = examples.vector().astype(np.float64)
        known = np.isfinite(values)
        count = np.maximum(known.sum(0), 1)
        mean = np.where(known, values, 0).sum(0) / count
        spread = np.sqrt(np.where(known, np.square(values - mean), 0).sum(0) / count)
        scale = np.stack([mean, np.where(spread > 1e-9, spread, 1.0)]).astype(np.float32)
        levels = tuple(len(names) for names in (examples.factors or {}).values())
        frames = examples.form.length if examples.form.axis else 0
        masks = examples.masks is not None
        return cls(len(examples.classes), masks, masks and boxes, frames, levels, scale)

    @property
    def numbers(self) -> int:
        """Length of the vector as it is given."""
        return int(self.scale.shape[1])

    @property
    def length(self) -> int:
        """Length of the vector the network is told: numbers, then style."""
        return self.numbers + self.styles

    def maps(self, codec: Codec) -> int:
        """Channels of the spatial condition."""
        return (int(self.masks) + int(self.boxes)) * kept(codec) ** 2

    def lead(self) -> tuple[int, ...]:
        """(D,) of items with an axis, else ()."""
        return (self.frames,) if self.frames else ()

    def arrays(self) -> dict[str, np.ndarray]:
        """What `again` makes it of; of plain pictures the number of classes alone."""
        out = {"classes": np.array([self.classes], np.int64)}
        if self.frames:
            out["frames"] = np.array([self.frames], np.int64)
        if self.factors:
            out["factors"] = np.array(self.factors, np.int64)
        if self.numbers:
            out["scale"] = self.scale
        if self.styles:
            out["styles"] = np.array([self.styles], np.int64)
        if self.boxes:
            out["boxes"] = np.ones(1, np.int64)
        return out

    @classmethod
    def again(cls, arrays: Arrays) -> "Told":
        """What gave these arrays; masks where there are shapes of lesions."""
        return cls(
            int(arrays["classes"][0]),
            "shapes" in arrays,
            "boxes" in arrays,
            int(arrays["frames"][0]) if "frames" in arrays else 0,
            tuple(int(levels) for levels in arrays.get("factors", ())),
            arrays.get("scale", np.zeros((2, 0), np.float32)),
            int(arrays["styles"][0]) if "styles" in arrays else 0,
        )


def kept(codec: Codec) -> int:
    """Coefficients per axis of a mask's condition."""
    return WHOLE if grid(codec)[1:] == (1, 1) else min(MAPS, codec.size)


def condition(masks: np.ndarray, codec: Codec) -> torch.Tensor:
    """Masks (N[, D], H, W), bool or in [0, 1], as a network is given them: float32 (N[, D], K, h, w)."""
    lead, keep = masks.shape[:-2], kept(codec)
    # the one position of a grid may be larger than the picture, and more is kept of it than of a block
    flat = torch.from_numpy(np.ascontiguousarray(masks, np.float32)).reshape(-1, *masks.shape[-2:])
    made = blocks(flat, max(codec.size, keep), keep)
    return made.reshape(*lead, *made.shape[1:])


def boxed(masks: np.ndarray) -> np.ndarray:
    """The box round each mask (N[, D], H, W), of all frames together: float32 (N, 4) as shares, NaN for empty ones."""
    whole = np.asarray(masks.reshape(len(masks), -1, *masks.shape[-2:]).any(1))
    out = np.full((len(masks), 4), np.nan, np.float32)
    for k, mask in enumerate(whole):
        if mask.any():
            rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
            height, width = mask.shape
            out[k] = rows[0] / height, columns[0] / width, (rows[-1] + 1) / height, (columns[-1] + 1) / width
    return out


def rasterised(boxes: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Boxes (N, 4) as filled rectangles float32 (N, H, W), pixels at the border by how much of them is covered.

    >>> rasterised(np.array([[0.0, 0.25, 0.5, 1.0]]), (2, 2))[0].tolist()
    [[0.5, 1.0], [0.0, 0.0]]
    """
    sides = []
    for axis, length in enumerate(shape):
        low, high = boxes[:, axis, None] * length, boxes[:, axis + 2, None] * length
        pixel = np.arange(length)
        sides.append(np.nan_to_num(np.clip(np.minimum(pixel + 1, high) - np.maximum(pixel, low), 0, 1)))
    return np.asarray(sides[0][:, :, None] * sides[1][:, None, :], np.float32)


def maps_of(told: Told, codec: Codec, masks: np.ndarray | None, boxes: np.ndarray | None, count: int) -> Any:
    """The maps of `count` items: float32 (N[, D], K, h, w), or None where the network is told nothing of places.

    Args:
        told: what the network is told.
        codec: of the latents.
        masks: (N[, D], H, W) in [0, 1]; None is empty ones.
        boxes: (N, 4); None is no box.
        count: N.
    """
    if not told.masks:
        return None
    shape = (count, *told.lead(), *codec.shape)
    parts = [condition(np.zeros(shape, np.float32) if masks is None else masks, codec)]
    if told.boxes:
        filled = np.zeros((count, *codec.shape), np.float32) if boxes is None else rasterised(boxes, codec.shape)
        parts.append(condition(np.broadcast_to(filled[:, None], shape) if told.frames else filled, codec))
    return torch.cat(parts, -3)


def conditions(told: Told, codec: Codec, given: Arrays) -> Conditions:
    """What the network is told of items; `label` at least is given.

    Raises:
        InputError: when something given has another form than in training, all of it at once.
    """
    if problems := misfits(told, codec, given):
        raise InputError("The items cannot be drawn as they are planned.", problems)
    label = torch.from_numpy(np.asarray(given["label"], np.int64))
    factors, vector = given.get("factors"), given.get("vector")
    maps = maps_of(told, codec, given.get("mask"), given.get("box"), len(label))
    return Conditions(
        label,
        maps,
        torch.from_numpy(np.asarray(factors, np.int64)) if told.factors and factors is not None else None,
        torch.from_numpy(standardised(told, vector)) if told.numbers and vector is not None else None,
    )


def styled(told: Told, known: Conditions, style: torch.Tensor | None) -> Conditions:
    """The same with numbers of style float32 (N, S) behind those given; None where the network is told none."""
    if style is None:
        return known
    count = len(known.label)
    given = torch.full((count, told.numbers), math.nan) if known.vector is None else known.vector
    return known._replace(vector=torch.cat([given, style.to(given.device)], 1))


def standardised(told: Told, vector: np.ndarray) -> np.ndarray:
    """Numbers (N, V) in units of their spread in training, float32; NaN stays."""
    return np.asarray((vector - told.scale[0]) / told.scale[1], np.float32)


def misfits(told: Told, codec: Codec, given: Arrays) -> list[Problem]:
    """What of the given arrays does not fit the training, in words."""
    found, count = [], len(given["label"])
    label = np.asarray(given["label"])
    if label.shape not in ((count,), (count, *told.lead())):
        found.append(Problem("label", f"has the shape {label.shape}", f"give {(count,)} or {(count, *told.lead())}"))
    if label.size and not (label.min() >= 0 and label.max() < told.classes):
        found.append(
            Problem("label", f"is {label.min()} to {label.max()}", f"training had classes 0 to {told.classes - 1}")
        )
    wanted = {
        "factors": (count, len(told.factors)) if told.factors else None,
        "vector": (count, told.numbers) if told.numbers else None,
        "mask": (count, *told.lead(), *codec.shape) if told.masks else None,
        "box": (count, 4) if told.boxes else None,
    }
    for name, shape in wanted.items():
        if shape and name in given and given[name].shape != shape:
            found.append(Problem(name, f"has the shape {given[name].shape}", f"training had {shape}"))
    if told.factors and "factors" in given and given["factors"].shape == wanted["factors"]:
        for number, levels in enumerate(told.factors):
            if (given["factors"][:, number] >= levels).any():
                found.append(Problem("factors", f"factor {number} has a level beyond {levels - 1}", "leave it out: -1"))
    return found


def masked(
    told: Told, codec: Codec, shapes: np.ndarray | None, given: Arrays, seeds: Sequence[int]
) -> dict[str, np.ndarray]:
    """The same with `mask` where the network is told of places: given, or drawn where there is a finding and no box."""
    if shapes is None or "mask" in given:
        return dict(given)
    count = len(given["label"])
    masks = np.zeros((count, *told.lead(), *codec.shape), np.float32)
    has = np.asarray(given.get("finding", np.ones(count, bool)), bool)
    if told.boxes and "box" in given:
        has = has & np.isnan(given["box"]).any(1)
    for k in np.flatnonzero(has).tolist():
        masks[k] = lesions.draw(shapes, codec.shape, np.random.default_rng(seeds[k]))
    return {**given, "mask": masks}
