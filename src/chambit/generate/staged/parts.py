"""Maps of parts: other sizes, one map for each part, signed distances, and crisp maps made from them again.

A layout is uint8 (N, H, W) with the index of the part at each pixel, 0 where there is none. Indices from `INSTANCES`
on are instances of one kind (single teeth): each is one connected region.
"""

import numpy as np
import torch
from scipy import ndimage
from torch.nn import functional as F

from chambit.core.errors import InputError, Problem

INSTANCES = 10
"""Part indices from here on name single objects, such as one tooth."""
LARGEST_SPECK = 3  # pixels: a region of a part no larger than this is taken by its neighbours


def size_at(height: int, width: int, pixels: int, multiple: int) -> tuple[int, int]:
    """Height and width with the longer side near `pixels`, both multiples of `multiple`.

    >>> size_at(300, 400, 64, 8)
    (48, 64)
    """
    longer = max(height, width)
    h, w = (max(1, round(side * pixels / longer / multiple)) * multiple for side in (height, width))
    return h, w


def values_of(layouts: np.ndarray) -> np.ndarray:
    """The indices that occur, uint8 (K,), rising, 0 among them."""
    return np.union1d(np.unique(layouts), [0]).astype(np.uint8)


def check_known(layouts: np.ndarray, values: np.ndarray) -> None:
    """Refuse parts that the training never showed.

    Raises:
        InputError: with the indices that are not known.
    """
    strange = np.setdiff1d(layouts, values)
    if len(strange):
        raise InputError(
            "A layout has parts that the stage was not trained on.",
            [
                Problem(
                    "layout",
                    f"part {', '.join(map(str, strange[:8]))} is not among {', '.join(map(str, values))}",
                    "draw layouts with the stage 'layout' of the same study, or train on images that have these parts",
                )
            ],
        )


def one_hot(layouts: np.ndarray, values: np.ndarray, size: tuple[int, int]) -> torch.Tensor:
    """Share of each part at each pixel of another size, uint8 (N, K, h, w), 255 for all of it.

    Averaged over the area when smaller, interpolated when larger, so that thin parts and smooth outlines stay.
    """
    out = torch.zeros((len(layouts), len(values), *size), dtype=torch.uint8)
    for n, layout in enumerate(layouts):
        for k, value in enumerate(values):
            region = layout == value
            if region.any():
                out[n, k] = torch.from_numpy(np.rint(_share(region, size) * 255).astype(np.uint8))
    return out


def _share(region: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """How much of each pixel of another size a region bool (H, W) covers, float32 (h, w) in [0, 1]."""
    (height, width), (h, w) = region.shape, size
    if height % h == 0 and width % w == 0:
        # every so manieth column, then row, added up: a sum over a short axis takes numpy twenty times as long
        down, across = height // h, width // w
        pixels = np.ascontiguousarray(region).view(np.uint8)
        rows = np.zeros((height, w), np.uint16)
        for k in range(across):
            rows += pixels[:, k::across]
        counts = np.zeros(size, np.uint32)
        for k in range(down):
            counts += rows[k::down]
        covered: np.ndarray = counts.astype(np.float32) / np.float32(down * across)
        return covered
    return resized(torch.from_numpy(region.astype(np.float32))[None, None], size)[0, 0].clamp(0, 1).numpy()


def resized(images: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Images (N, C, H, W) at another size: bilinear, averaged over what a pixel covers where it is smaller."""
    if tuple(images.shape[-2:]) == tuple(size):
        return images
    return F.interpolate(images, size=size, mode="bilinear", antialias=True, align_corners=False)


def at_size(layouts: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Layouts uint8 (N, h, w) at another size: at each pixel the part that covers most of it."""
    if tuple(layouts.shape[1:]) == tuple(size):
        return layouts
    out = np.zeros((len(layouts), *size), np.uint8)
    for made, layout in zip(out, layouts, strict=True):
        most = np.zeros(size, np.float32)
        for value in np.flatnonzero(np.bincount(layout.ravel())):
            share = _share(layout == value, size)
            more = share > most
            made[more] = value
            most[more] = share[more]
    return out


def masks_at(masks: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Masks (N, H, W) at another size, bool: what is half covered; one that would vanish keeps its fullest pixel."""
    share = resized(planes(masks), size)[:, 0].numpy()
    top = share.max((1, 2), keepdims=True)
    found: np.ndarray = (share >= np.minimum(0.5, top)) & (top > 0)
    return found


def distances(regions: np.ndarray, reach: float) -> np.ndarray:
    """Signed distance to the edge of each region, float32 in [-1, 1]: 1 is `reach` pixels inside, -1 as far outside.

    Args:
        regions: bool (..., H, W).
        reach: pixels at which the distance is cut off.
    """
    out = np.full(regions.shape, -1, np.float32)
    for place in np.ndindex(regions.shape[:-2]):
        region = regions[place]
        if region.any():
            inside = ndimage.distance_transform_edt(np.pad(region, 1, mode="edge"))[1:-1, 1:-1]
            if region.all():
                inside = np.full(region.shape, np.inf)
            outside = ndimage.distance_transform_edt(~region)
            signed = np.where(region, inside - 0.5, 0.5 - outside)
            out[place] = np.clip(signed / reach, -1, 1)
    return out


def crisp(signed: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The layout of signed distances float32 (N, K, h, w): uint8 (N, h, w), the part that is deepest inside.

    Of an instance only its largest region is kept, specks go; what is freed is taken by the nearest part.
    """
    layouts = values[signed.argmax(1)]
    return np.stack([tidied(layout) for layout in layouts]) if len(layouts) else layouts


def largest_region(mask: np.ndarray) -> np.ndarray:
    """The largest connected region of a mask bool (H, W); an empty mask as it is."""
    regions, count = ndimage.label(mask)
    if not count:
        return mask
    found: np.ndarray = regions == 1 + np.bincount(regions.ravel())[1:].argmax()
    return found


def tidied(layout: np.ndarray) -> np.ndarray:
    """A layout uint8 (H, W) without specks, with one region of each instance; the nearest part takes what is freed."""
    keep = np.zeros(layout.shape, bool)
    for value in np.unique(layout):
        regions, count = ndimage.label(layout == value)
        sizes = np.bincount(regions.ravel(), minlength=count + 1)[1:]
        good = sizes > LARGEST_SPECK
        if value >= INSTANCES:
            good &= np.arange(count) == sizes.argmax()
        keep |= np.isin(regions, 1 + np.flatnonzero(good))
    if keep.all() or not keep.any():
        return layout
    nearest = ndimage.distance_transform_edt(~keep, return_distances=False, return_indices=True)
    freed: np.ndarray = layout[tuple(nearest)]
    return freed


def need_layouts(layouts: np.ndarray | None, stage: str, rank: int = 3) -> np.ndarray:
    """The layouts of training items that are single pictures.

    Raises:
        InputError: when there are none, or when the items are sequences or volumes.
    """
    if layouts is None:
        raise InputError(
            f"The stage '{stage}' needs maps of parts, and the cohort has none.",
            [Problem(stage, "no layouts", "give the cohort layouts, or use the stage 'flow'")],
        )
    if layouts.ndim != rank:
        raise no_axis(stage)
    return layouts


def no_axis(stage: str) -> InputError:
    """The refusal of items that are sequences or volumes."""
    return InputError(
        f"The stage '{stage}' makes single pictures.",
        [Problem(stage, "the items are sequences or volumes", "use a stage for sequences or volumes")],
    )


def planes(image: np.ndarray) -> torch.Tensor:
    """Images float32 (N, H, W[, 3]) as (N, C, H, W)."""
    rows = torch.from_numpy(np.asarray(image, np.float32))
    return rows[:, None] if rows.ndim == 3 else rows.permute(0, 3, 1, 2)


def pictures(images: np.ndarray) -> np.ndarray:
    """(..., C, H, W) as float32 (..., H, W[, 3]) in [0, 1]."""
    held = np.clip(images, 0, 1).astype(np.float32)
    return np.ascontiguousarray(np.moveaxis(held, -3, -1)) if images.shape[-3] == 3 else held[..., 0, :, :]
