"""How surfaces look: colour and shade of every part by principal components, and what these leave as a block DCT.

    picture = sum over parts of share * look of the part + rest
    look of a part = (mean + scores V), a small picture in the frame of the part, laid where the part is
    latents of the rest = block DCT in luminance and chrominance, each coefficient of unit variance

Shape and look apart, the look in a frame of its own, is the active appearance model (Cootes, Edwards and Taylor,
"Active appearance models", 2001); frames are boxes here, not meshes: the part's own for an instance, and for everything
else that of all instances or the picture, whichever makes the looks of a group more alike. So light, gloss and shade of
a whole mouth are a few numbers, and outlines come from the layout, whose shares are smooth at the edges. A small
network need not learn to draw a line or a tooth; what it learns is the rest, of which fine coefficients are small, so
what a short training leaves undone is not seen as scribbles.

Known failure: what moves within its frame (a fold of the palate, the mirror of a lamp) is blurred.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from scipy import ndimage
from torch.nn import functional as F

from chambit.generate.codec import dct
from chambit.generate.staged import outlines, parts

DEEP = 12.0  # pixels: how far from a part's edge its depth is told
GRID = 24  # pixels of a look's side
AROUND = 0.75  # of the box of all instances, on each side of it: the frame of everything else
SOFT = 0.008  # of the longer side: how far what is no instance (gum, lip) fades into its neighbours
EDGE = 0.004  # of the longer side: blur of all outlines, that of a lens; without it enlarging them makes stairs
SEEN = 6  # cells of a look: a part seen in fewer is not known


class Looks(NamedTuple):
    """The components of the looks of one group.

    Attributes:
        values: index of each part, uint8 (K,).
        whole: whether its frame is the whole picture, bool (K,).
        mean: float32 (K, C, GRID, GRID).
        basis: float16 (S, K, C, GRID, GRID).
        spread: of the scores, float32 (S,).
    """

    values: np.ndarray
    whole: np.ndarray
    mean: np.ndarray
    basis: np.ndarray
    spread: np.ndarray


class Surfaces(NamedTuple):
    """What pictures are written in.

    Attributes:
        values: index of each part of the cohort, uint8 (K,).
        looks: the components of each group of layouts.
        found: mean colour of the finding, float32 (C,); empty where there is none.
        block, keep: side of the DCT's blocks in pixels, and coefficients kept on each axis.
    """

    values: np.ndarray
    looks: list[Looks]
    found: np.ndarray
    block: int
    keep: int

    @property
    def scores(self) -> int:
        """How many scores a look has."""
        return len(self.looks[0].spread)

    def flat(self, layouts: np.ndarray, maps: torch.Tensor, scores: np.ndarray, groups: np.ndarray) -> torch.Tensor:
        """Pictures (N, C, H, W) of looks alone.

        Args:
            layouts: uint8 (N, H, W), at the size of the maps.
            maps: uint8 (N, K', H, W) as `maps_of` makes them.
            scores: float32 (N, S), of unit variance.
            groups: int64 (N,).
        """
        made = []
        for layout, told, row, g in zip(layouts, maps, scores, groups, strict=True):
            looks = self.looks[g]
            textures = looks.mean + np.tensordot(row * looks.spread, looks.basis.astype(np.float32), 1)
            picture = torch.zeros(textures.shape[1], *layout.shape)
            weight = torch.full(layout.shape, 1e-6)
            shares = _softened(told[: len(self.values)].float() / 255, self.values)
            for k in np.flatnonzero(shares.flatten(1).any(1).numpy()):
                value = self.values[k]
                share = shares[k]
                at = int(np.abs(looks.values.astype(int) - int(value)).argmin())  # a part new to the view: the nearest
                frame = _frame(layout, value, bool(looks.whole[at]))
                if frame is not None:
                    picture += share * laid(textures[at], frame, layout.shape)
                    weight += share
            picture /= weight
            if len(self.found):
                share = told[len(self.values)].float() / 255
                picture = picture * (1 - share) + torch.from_numpy(self.found)[:, None, None] * share
            made.append(picture)
        return torch.stack(made)

    def latents(self, images: torch.Tensor, flat: torch.Tensor) -> torch.Tensor:
        """Pictures (N, C, H, W) as coefficients (N, C * keep^2, H / block, W / block) of what looks leave."""
        n, c = images.shape[:2]
        rest = images - flat
        planes = dct.opponents(rest.permute(0, 2, 3, 1)) if c == 3 else rest[:, 0]
        coefficients = dct.blocks(planes, self.block, self.keep)
        return coefficients.reshape(n, -1, *coefficients.shape[2:])

    def pictures(self, latents: torch.Tensor, flat: torch.Tensor) -> torch.Tensor:
        """The inverse of `latents`: (N, C, H, W)."""
        n, c, height, width = flat.shape
        coefficients = latents.reshape(n * c, self.keep**2, *latents.shape[2:])
        planes = dct.unblocks(coefficients, self.block, self.keep, (height, width))
        rest = dct.coloured(planes).permute(0, 3, 1, 2) if c == 3 else planes[:, None]
        return flat + rest

    def arrays(self) -> dict[str, np.ndarray]:
        """Everything, by name."""
        kept = {"values": self.values, "found": self.found}
        kept |= {"blocks": np.array([self.block, self.keep, len(self.looks)], np.int64)}
        for number, looks in enumerate(self.looks):
            kept |= {f"looks{number}.{name}": array for name, array in looks._asdict().items()}
        return kept

    @classmethod
    def of(cls, arrays: Mapping[str, np.ndarray]) -> "Surfaces":
        """Those that gave `arrays`."""
        block, keep, count = arrays["blocks"].tolist()
        looks = [Looks(*(arrays[f"looks{number}.{name}"] for name in Looks._fields)) for number in range(count)]
        return cls(arrays["values"], looks, arrays["found"], block, keep)


def fit(
    images: torch.Tensor,
    layouts: np.ndarray,
    masks: np.ndarray | None,
    groups: np.ndarray,
    components: int,
    block: int,
    keep: int,
) -> tuple[Surfaces, np.ndarray]:
    """Measure looks.

    Args:
        images: (N, C, H, W).
        layouts: uint8 (N, H, W), of the same size.
        masks: of the finding, (N, H, W), above 0 where it is, or None; the finding is no part of a look.
        groups: of the layouts, int64 (N,).
        components: how many at most.
        block: side of the DCT's blocks.
        keep: coefficients kept on each axis.

    Returns:
        What pictures are written in, and the scores of the training pictures, float32 (N, S).
    """
    pixels = images.numpy()
    sound = np.ones(layouts.shape, bool) if masks is None else masks <= 0
    count = max(1, min(components, int(np.bincount(groups).min()) - 1))
    looks, scores = [], np.empty((len(images), count), np.float32)
    for g in range(int(groups.max()) + 1):
        own = np.flatnonzero(groups == g)
        values = parts.values_of(layouts[own])
        textures, known = _all_measured(pixels[own], layouts[own], sound[own], values, False)
        in_picture, _ = _all_measured(pixels[own], layouts[own], sound[own], values, True)
        kept = known.any(0)
        spreads = [_spread(textures[:, kept], known[:, kept]), _spread(in_picture[:, kept], known[:, kept])]
        whole = (spreads[1] < spreads[0]) & (values[kept] < parts.INSTANCES)
        textures, known, values = textures[:, kept], known[:, kept], values[kept]
        textures[:, whole] = in_picture[:, kept][:, whole]
        mean, basis, found = outlines.components(textures, known, count)
        spread = found.std(0).clip(1e-4)
        scores[own] = found / spread
        looks.append(Looks(values, whole, mean, basis.astype(np.float16), spread.astype(np.float32)))
    if masks is None or not (masks > 0).any():
        colour = np.empty(0, np.float32)
    else:
        colour = np.moveaxis(pixels, 1, -1)[masks > 0].mean(0).astype(np.float32)
    return Surfaces(parts.values_of(layouts), looks, colour, block, keep), scores


def _frame(layout: np.ndarray, value: int, whole: bool) -> tuple[float, float, float, float] | None:
    """Top, left, height and width of the frame of a part; None where it is not seen."""
    if whole:
        return 0.0, 0.0, float(layout.shape[0]), float(layout.shape[1])
    instances = layout >= parts.INSTANCES
    region = layout == value if value >= parts.INSTANCES else instances if instances.any() else layout >= 0
    rows, columns = np.flatnonzero(region.any(1)), np.flatnonzero(region.any(0))
    if not len(rows):
        return None
    top, left = float(rows[0]), float(columns[0])
    height, width = rows[-1] + 1 - top, columns[-1] + 1 - left
    if value >= parts.INSTANCES:
        return top, left, height, width
    return top - AROUND * height, left - AROUND * width, (1 + 2 * AROUND) * height, (1 + 2 * AROUND) * width


def _softened(shares: torch.Tensor, values: np.ndarray) -> torch.Tensor:
    """Shares of parts (K, H, W) as a lens sees them; what is no instance fades further into each other."""
    side = max(shares.shape[1:])
    shares = torch.from_numpy(ndimage.gaussian_filter(shares.numpy(), (0, EDGE * side, EDGE * side)))
    ground = torch.from_numpy(np.flatnonzero(values < parts.INSTANCES))
    total = shares[ground].sum(0)
    blurred = ndimage.gaussian_filter(shares[ground].numpy(), (0, SOFT * side, SOFT * side))
    faded = shares.clone()
    faded[ground] = total * torch.from_numpy(blurred / blurred.sum(0).clip(1e-6))
    return faded


def _all_measured(
    images: np.ndarray, layouts: np.ndarray, sound: np.ndarray, values: np.ndarray, whole: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Looks of all parts of pictures (N, C, H, W): float32 (N, K, C, GRID, GRID), and which are known, bool (N, K)."""
    rows = [_measured(*one, values, whole) for one in zip(images, layouts, sound, strict=True)]
    return np.stack([looks for looks, _ in rows]), np.stack([known for _, known in rows])


def _spread(textures: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Mean variance of each part's looks between pictures, (K,)."""
    return np.array([textures[known[:, k], k].var(0).mean() for k in range(known.shape[1])])


def _measured(
    image: np.ndarray, layout: np.ndarray, sound: np.ndarray, values: np.ndarray, whole: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Looks of all parts of a picture (C, H, W): float32 (K, C, GRID, GRID), and which are known, bool (K,)."""
    made, known = np.zeros((len(values), len(image), GRID, GRID), np.float32), np.zeros(len(values), bool)
    for k, value in enumerate(values):
        if whole and value >= parts.INSTANCES:
            continue
        rows, columns = np.nonzero((layout == value) & sound)
        frame = _frame(layout, value, whole)
        if frame is None or not len(rows):
            continue
        if (filled := sampled(image, rows, columns, frame, GRID)) is not None:
            made[k], known[k] = filled, True
    return made, known


def sampled(
    image: np.ndarray, rows: np.ndarray, columns: np.ndarray, frame: tuple[float, float, float, float], side: int
) -> np.ndarray | None:
    """What some pixels of a picture (C, H, W) show, in the cells of a frame: float32 (C, side, side).

    Cells without a pixel are as their nearest neighbour; None where fewer than `SEEN` have one.
    """
    top, left, height, width = frame
    i = np.clip((rows + 0.5 - top) / height * side, 0, side - 1e-3).astype(int)
    j = np.clip((columns + 0.5 - left) / width * side, 0, side - 1e-3).astype(int)
    cells = i * side + j
    counts = np.bincount(cells, minlength=side**2).reshape(side, side)
    if (counts > 0).sum() < SEEN:
        return None
    sums = [np.bincount(cells, plane[rows, columns], side**2).reshape(side, side) for plane in image]
    nearest = ndimage.distance_transform_edt(counts == 0, return_distances=False, return_indices=True)
    means = np.stack(sums) / np.maximum(counts, 1)
    filled: np.ndarray = means[:, nearest[0], nearest[1]].astype(np.float32)
    return filled


def laid(texture: np.ndarray, frame: tuple[float, float, float, float], size: tuple[int, int]) -> torch.Tensor:
    """A look (C, GRID, GRID) stretched over its frame in a picture of `size`: (C, H, W)."""
    top, left, height, width = frame
    y = (torch.arange(size[0]) + 0.5 - top) / height * 2 - 1
    x = (torch.arange(size[1]) + 0.5 - left) / width * 2 - 1
    places = torch.stack(torch.meshgrid(y, x, indexing="ij")[::-1], -1)[None]
    made = F.grid_sample(torch.from_numpy(texture)[None], places, padding_mode="border", align_corners=False)
    return made[0]


def maps_of(layouts: np.ndarray, masks: np.ndarray | None, values: np.ndarray, size: tuple[int, int]) -> torch.Tensor:
    """What the network is told of each pixel, uint8 (N, K', h, w) with 255 for 1.

    Share of each part; with masks the share of the finding, which is taken from the parts' shares; how deep inside its
    part the pixel is; its row and its column.

    Args:
        layouts: uint8 (N, H, W).
        masks: (N, H, W) in [0, 1] of any size, or None.
        values: indices of the parts.
        size: of the maps.
    """
    shares = parts.one_hot(layouts, values, size)
    told = [shares]
    if masks is not None:
        found = parts.resized(parts.planes(masks), size)
        # one that would vanish keeps its fullest pixel
        found = torch.where(found >= found.amax((2, 3), keepdim=True).clamp(max=0.5), found.clamp(min=0.5), found)
        found = torch.where(parts.planes(masks).amax((1, 2, 3)).reshape(-1, 1, 1, 1) > 0, found, torch.zeros(1))
        told = [(shares.float() * (1 - found)).round().to(torch.uint8), (found * 255).round().to(torch.uint8)]
    depths = np.stack([_depth(layout) for layout in parts.at_size(layouts, size)])
    rows, columns = (np.linspace(0, 255, side).astype(np.uint8) for side in size)
    places = np.tile(np.stack(np.meshgrid(rows, columns, indexing="ij")), (len(layouts), 1, 1, 1))
    return torch.cat([*told, torch.from_numpy(depths)[:, None], torch.from_numpy(places)], 1)


def joined(maps: torch.Tensor, flat: torch.Tensor) -> torch.Tensor:
    """Maps uint8 (N, K', H, W) and shaded pictures (N, C, H, W) in [0, 1] as one, uint8."""
    return torch.cat([maps, (flat.clamp(0, 1) * 255).round().to(torch.uint8)], 1)


def _depth(layout: np.ndarray) -> np.ndarray:
    """Distance of each pixel to the edge of its part, uint8 (h, w), 255 from `DEEP` pixels on."""
    inside = np.ones(layout.shape, bool)
    down, right = layout[1:] != layout[:-1], layout[:, 1:] != layout[:, :-1]
    inside[1:][down], inside[:-1][down], inside[:, 1:][right], inside[:, :-1][right] = False, False, False, False
    if inside.all():
        return np.full(layout.shape, 255, np.uint8)
    depth: np.ndarray = np.rint(np.clip(ndimage.distance_transform_edt(inside) / DEEP, 0, 1) * 255).astype(np.uint8)
    return depth
