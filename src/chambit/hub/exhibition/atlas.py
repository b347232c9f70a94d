"""A map of a set: each synthetic image a point, and how densely real ones lie, as areas.

Texture features of both, standardised by the real ones, are laid on the plane of their two main variations (principal
components of both together). Real images are only in the areas, which hold 50, 80 and 95 % of a kernel density of them:
no point of a real image leaves the server, and the outermost 5 % are in no area. Distance on the map is not likeness:
two components are a small part of what differs, and the page says how small.
"""

import json
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from chambit.core import seeds
from chambit.core.errors import InputError
from chambit.core.store import write_atomically
from chambit.hub import imagetable, material
from chambit.hub.catalogue import View
from chambit.hub.exhibition import workshop
from chambit.hub.exhibition.wall import folder_of
from chambit.hub.exhibition.workshop import Told
from chambit.hub.hub import Hub
from chambit.images.image import Image
from chambit.measure.embed import texture

MAP = "map.json"
MOST = 3000
"""Images of each kind on the map; more are a sample that is always the same."""
LEAST = 50
"""Fewer real images give no area: it would be about single people."""
CELLS = 96
SHARES = (0.5, 0.8, 0.95)
SIDE, LEAST_SIDE = 128, 16  # of the features
AT_ONCE = 64


class Map(NamedTuple):
    """What the page draws, lengths in [0, 1] with y upwards.

    Attributes:
        points: x, y and place of the label of each synthetic image.
        ids: of the same images.
        labels: names of labels.
        areas: for each cell of a square grid, row by row from below, in how many areas it lies (0 to 3).
        cells: cells of a side.
        real: real images behind the areas; 0 where there are none.
        told: share of all variance that the two components hold.
        shares: what part of the real images each area holds.
    """

    points: tuple[tuple[float, float, int], ...]
    ids: tuple[str, ...]
    labels: tuple[str, ...]
    areas: str
    cells: int
    real: int
    told: float
    shares: tuple[float, ...]


def drawn(hub: Hub, view: View) -> Map | float:
    """The map of a set, or the share of it that is drawn.

    Raises:
        HubError: when an image is not the one that was measured.
    """
    target = folder_of(hub, view, "map")
    share = workshop.done(target, partial(_draw, view))
    return _kept(target) if share is None else share


@lru_cache(maxsize=16)
def _kept(target: Path) -> Map:
    raw: dict[str, Any] = json.loads((target / MAP).read_bytes())
    lists = {"points": tuple(tuple(one) for one in raw["points"])}
    return Map(**raw | lists | {name: tuple(raw[name]) for name in ("ids", "labels", "shares")})


def _draw(view: View, target: Path, told: Told) -> None:
    rng = seeds.generator(0, "atlas")
    rows = imagetable.faces(view.images).to_dicts()
    chosen = sorted(rng.permutation(len(rows))[:MOST].tolist())
    rows = [rows[at] for at in chosen]
    synthetic = _features([_grey(imagetable.checked(view.images, row)[0]) for row in rows], lambda s: told(0.5 * s))
    real = _real(view, rng, lambda share: told(0.5 + 0.4 * share))
    made = laid(synthetic, real, [row["label"] for row in rows], [row["id"] for row in rows])
    write_atomically(target / MAP, json.dumps(made._asdict()).encode())


def laid(synthetic: np.ndarray, real: np.ndarray, labels: list[str], ids: list[str]) -> Map:
    """The map of feature vectors float64 (N, D) and (M, D); without areas where there are too few real ones."""
    real = real if len(real) >= LEAST else synthetic[:0]
    scale = np.maximum((real if len(real) else synthetic).std(0), 1e-6)
    both = np.concatenate([synthetic, real]) / scale
    centred = both - both.mean(0)
    _, values, axes = np.linalg.svd(centred, full_matrices=False)
    axes = axes[:2] * np.sign(axes[:2].sum(1, keepdims=True))  # the same way up on every machine
    flat = centred @ axes.T
    told = float((values[:2] ** 2).sum() / max((values**2).sum(), 1e-12))
    low, high = np.quantile(flat, 0.002, axis=0), np.quantile(flat, 0.998, axis=0)
    margin = 0.08 * np.maximum(high - low, 1e-9)
    flat = (flat - low + margin) / (high - low + 2 * margin)
    points, others = flat[: len(synthetic)], flat[len(synthetic) :]
    names = sorted(set(labels))
    return Map(
        tuple((round(float(x), 4), round(float(y), 4), names.index(label))
              for (x, y), label in zip(np.clip(points, 0, 1), labels, strict=True)),
        tuple(ids), tuple(names), _areas(others) if len(others) else "0" * CELLS**2, CELLS, len(others), told, SHARES,
    )  # fmt: skip


def _areas(points: np.ndarray) -> str:
    """How many of the areas each cell lies in: a cell is in one when its density reaches that of the share's edge."""
    density = stats.gaussian_kde(points.T)
    edges = np.quantile(density(points.T), [1 - share for share in SHARES])
    middle = (np.arange(CELLS) + 0.5) / CELLS
    grid = np.stack(np.meshgrid(middle, middle), 0).reshape(2, -1)  # x runs fastest
    count = (density(grid)[None] >= edges[:, None]).sum(0)
    return "".join(map(str, count))


def _real(view: View, rng: np.random.Generator, told: Told) -> np.ndarray:
    """Features of held-out real images; none where the run's store is not there."""
    try:
        images = material.sets_of(view.study.folder).real
    except InputError:
        return np.empty((0, 0))
    chosen = sorted(rng.permutation(len(images.table))[:MOST].tolist())
    return _features([_grey_of(material.plane(images, row)) for row in chosen], told)


def _features(images: list[np.ndarray], told: Told) -> np.ndarray:
    found = []
    for first in range(0, len(images), AT_ONCE):
        found.append(texture.features(np.stack(images[first : first + AT_ONCE])))
        told(first / len(images))
    return np.concatenate(found)


def _grey(pixels: np.ndarray) -> np.ndarray:
    return _grey_of(Image(pixels, 255 if pixels.dtype == np.uint8 else 65535))


def _grey_of(image: Image) -> np.ndarray:
    """Luminance float32 in [0, 1], within `LEAST_SIDE` and `SIDE` pixels; every image of a set has one shape."""
    from PIL import Image as Picture

    grey = np.ascontiguousarray(image.luminance().grey(), np.float32)
    scale = max(min(1.0, SIDE / max(grey.shape)), LEAST_SIDE / min(grey.shape))
    if scale == 1:
        return grey
    size = (round(grey.shape[1] * scale), round(grey.shape[0] * scale))
    return np.asarray(Picture.fromarray(grey).resize(size, Picture.Resampling.BICUBIC))
