"""Does a style steer? `python benchmarks/steering.py [--style size|opacity] [--only flow,gan] [--seconds 60]`.

A generator is trained on drawn chest radiographs with a consolidation and told one number of each, which differs from
image to image. It then draws the same items (same seeds, so same masks and noise) at five levels of that number, as
`chambit sample --style size=LEVEL` would tell it. The number and what is measured in each picture are

    size      magnification of the whole patient, 0.7 to 1; the share of the picture that is body, not air around it
    opacity   how thick the consolidated lung is at most, 0 to 4 cm; the mean grey inside the mask of the finding less
              that inside the mirrored mask. Harder: the number counts only where the mask is

    rho       Spearman correlation of level and measurement over the five levels of one seed, mean over seeds, with its
              95 % interval (bootstrap of seeds); the aim is 0.8
    monotone  share of seeds whose five measurements rise from level to level
    range     measured change from the lowest to the highest level, as a share of the same in real images

`real` draws the phantoms themselves at the five levels: what a perfect generator would reach. `shuffled` is the null:
the last generator's measurements with levels dealt anew for each seed, twenty times.
"""

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import torch
from scipy import ndimage, stats

from chambit.core import extensions
from chambit.core.engines import inline
from chambit.core.ledger import Ledger
from chambit.core.steps import Context, Step
from chambit.core.store import Store
from chambit.generate.items import Examples, Form
from chambit.images import imageset
from chambit.images.imageset import ImageSet
from chambit.phantoms import chest

LEVELS = {"size": (0.7, 0.775, 0.85, 0.925, 1.0), "opacity": (0.0, 1.0, 2.0, 3.0, 4.0)}
AIR = 0.12
"""Grey below which a pixel shows air beside the body."""
STAGES: dict[str, tuple[str, dict[str, Any]]] = {
    "flow": ("flow", {}),
    "ddpm": ("ddpm", {}),
    "gan": ("gan", {"codec": "dct"}),
}
ENOUGH = 10**6  # steps between two checkpoints: none is written
BASE = {"look": 0, "checkpoint": ENOUGH}  # what all stages here have in common


class Steered(NamedTuple):
    """How a style steered: mean Spearman with both ends of its interval, share of monotone seeds, number of seeds."""

    rho: float
    low: float
    high: float
    monotone: float
    seeds: int


def cohort(
    style: str, count: int, side: int, seed: int = 1
) -> tuple[list[chest.Visit], np.ndarray, np.ndarray, np.ndarray]:
    """Visits with a consolidation, each at a level of its own between the lowest and the highest.

    Returns:
        Visits; images float32 (N, side, side) in [0, 1]; masks bool of that shape; levels float64 (N,).
    """
    visits = [visit for visit in chest.visits(0, count, seed=seed, prevalence=0.9) if visit.finding != "normal"]
    values = np.random.default_rng([seed, 7]).uniform(LEVELS[style][0], LEVELS[style][-1], len(visits))
    return visits, *at_levels(style, visits, values, side, seed), values


def at_levels(
    style: str, visits: list[chest.Visit], values: np.ndarray, side: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Images float32 (N, side, side) in [0, 1] and masks bool of visits, each at its own level."""
    if style == "opacity":
        drawn = [
            chest.render([visit], pixels=side, seed=seed, contrast=float(cm))
            for visit, cm in zip(visits, values, strict=True)
        ]
        images, masks = (np.concatenate([pair[k] for pair in drawn]) for k in (0, 1))
        return (images / np.float32(4095)).astype(np.float32), masks
    pixels, masks = chest.render(visits, pixels=side, seed=seed)
    images = pixels / np.float32(4095)
    small = [magnified(image, float(size), 1) for image, size in zip(images, values, strict=True)]
    held = [magnified(mask.astype(np.float32), float(size), 1) for mask, size in zip(masks, values, strict=True)]
    return np.stack(small), np.stack(held) >= 0.5


def magnified(image: np.ndarray, size: float, order: int) -> np.ndarray:
    """An image (H, W) made smaller about its middle, by splines of an order; black outside."""
    middle = (np.array(image.shape) - 1) / 2
    return np.asarray(
        ndimage.affine_transform(image, np.full(2, 1 / size), middle - middle / size, order=order), np.float32
    )


def measured(style: str, images: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """What a style should move, float64 (N,); of `opacity` NaN where there is no mask.

    >>> image = np.zeros((1, 2, 4)); image[0, :, 0] = 0.5
    >>> measured("opacity", image, image > 0).tolist(), measured("size", image, image > 0).tolist()
    ([0.5], [0.25])
    """
    if style == "size":
        return np.asarray((images > AIR).mean((1, 2)), np.float64)
    out = np.full(len(images), np.nan)
    for k, (image, mask) in enumerate(zip(images, np.asarray(masks) >= 0.5, strict=True)):
        mirror = mask[:, ::-1] & ~mask
        if mask.any() and mirror.any():
            out[k] = image[mask].mean(dtype=np.float64) - image[mirror].mean(dtype=np.float64)
    return out


def spearman(readings: np.ndarray, levels: np.ndarray, seed: int = 0, draws: int = 2000) -> Steered:
    """How well the measurements of each seed follow the levels.

    Args:
        readings: float (seeds, levels); seeds with a NaN are left out.
        levels: (levels,), or (seeds, levels) where they differ.
        seed: of the bootstrap.
        draws: of it.

    >>> spearman(np.tile([1.0, 2.0, 4.0, 5.0, 9.0], (20, 1)), np.arange(5))
    Steered(rho=1.0, low=1.0, high=1.0, monotone=1.0, seeds=20)
    """
    whole = np.isfinite(readings).all(1)
    rows, asked = readings[whole], np.broadcast_to(levels, readings.shape)[whole]
    each = np.array(
        [stats.spearmanr(a, r).statistic if np.ptp(r) > 0 else 0.0 for a, r in zip(asked, rows, strict=True)]
    )
    drawn = np.random.default_rng(seed).integers(len(each), size=(draws, len(each)))
    low, high = np.percentile(each[drawn].mean(1), [2.5, 97.5])
    rising = np.take_along_axis(rows, np.argsort(asked, 1), 1)
    monotone = (np.diff(rising, axis=1) > 0).all(1).mean()
    return Steered(float(each.mean()), float(low), float(high), float(monotone), len(each))


def trained(
    stage: Any, options: Any, images: np.ndarray, masks: np.ndarray, values: np.ndarray, folder: Path
) -> tuple[Store, str]:
    """The store and the digest of a stage's weights after training on images of one class and one number."""
    step = Step("train", "1", {}, {}, lambda _: {}, seed=7)
    ledger = Ledger.beside(folder)
    context = Context(step, Store(folder), ledger, inline.Engine(), lambda _: None, folder / "scratch")
    pixels = np.rint(images * 255).astype(np.uint8)
    rows: dict[str, list[Any]] = {"sha256": [], "block": [], "row": []}
    for first in range(0, len(pixels), imageset.BLOCK):
        block, digests = imageset.put_block(context.store, pixels[first : first + imageset.BLOCK])
        rows["sha256"] += digests
        rows["block"] += [block] * len(digests)
        rows["row"] += range(len(digests))
    names = [str(k) for k in range(len(pixels))]
    known = {"id": names, "subject": names, "label": "opacity", "number": values}
    table = pl.DataFrame(rows).with_columns(
        **{k: pl.lit(v) if isinstance(v, str) else pl.Series(v) for k, v in known.items()}
    )
    form = Form(*pixels.shape[1:])
    weights: str = stage.train(
        context, Examples(ImageSet(context.store, table), form, ("opacity",), masks, numbers=("number",)), options
    )
    ledger.close()
    return context.store, weights


def steered(
    style: str, name: str, data: tuple[np.ndarray, np.ndarray, np.ndarray], options: dict[str, Any], seeds: int
) -> tuple[np.ndarray, np.ndarray]:
    """Measurements float64 (seeds, levels) of what a trained stage draws, and its pictures (seeds, levels, H, W)."""
    stage_name, own = STAGES[name]
    stage = extensions.load("chambit.generate.stages", stage_name)
    checked = stage.Options.model_validate(own | options)
    with tempfile.TemporaryDirectory() as folder:
        store, weights = trained(stage, checked, *data, Path(folder))
        columns, pictures = [], []
        for level in LEVELS[style]:
            given = {"label": np.zeros(seeds, np.int64), "finding": np.ones(seeds, bool),
                     "vector": np.full((seeds, 1), level, np.float32)}  # fmt: skip
            made = stage.sample(store, weights, given, list(range(seeds)), checked)
            columns.append(measured(style, made["image"], made["mask"]))
            pictures.append(made["image"])
    return np.stack(columns, 1), np.stack(pictures, 1)


def steps_in(
    name: str, data: tuple[np.ndarray, np.ndarray, np.ndarray], options: dict[str, Any], seconds: float
) -> int:
    """How many steps a stage trains in so many seconds of a processor, by a pilot of 30."""
    stage_name, own = STAGES[name]
    stage = extensions.load("chambit.generate.stages", stage_name)
    with tempfile.TemporaryDirectory() as folder:
        began = time.process_time()
        trained(stage, stage.Options.model_validate(own | options | {"steps": 30}), *data, Path(folder))
        return max(10, int(30 * seconds / (time.process_time() - began)))


def line(name: str, found: Steered, share: float | None = None) -> str:
    """One line of the table."""
    part = f"{share:7.2f}" if share is not None else "      -"
    ends = f"[{found.low:6.3f}, {found.high:6.3f}]"
    return f"{name:10} {found.rho:6.3f}  {ends} {found.monotone:9.0%} {part} {found.seeds:6d}"


def sheet(pictures: np.ndarray, path: Path) -> None:
    """A row for each of eight seeds, a column for each level, as PNG."""
    from PIL import Image

    rows = [np.concatenate(list(row), 1) for row in pictures[:8]]
    whole = np.concatenate(rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.rint(whole * 255).astype(np.uint8)).resize((2 * whole.shape[1], 2 * whole.shape[0])).save(path)


def main() -> None:
    """Run and print one line for each generator."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--style", choices=sorted(LEVELS), default="size")
    parser.add_argument("--seconds", type=float, default=60.0, help="of one processor, for each generator")
    parser.add_argument("--only", default=",".join(STAGES), help="names with commas between")
    parser.add_argument("--count", type=int, default=800, help="drawn patients")
    parser.add_argument("--side", type=int, default=64, help="pixels")
    parser.add_argument("--seeds", type=int, default=64, help="items drawn at each level")
    parser.add_argument("--out", type=Path, help="a folder for contact sheets")
    given = parser.parse_args()
    torch.set_num_threads(1)
    style, levels = given.style, np.array(LEVELS[given.style])
    visits, *data = cohort(style, given.count, given.side)
    images, masks, values = data
    print(f"{len(images)} images of {given.side} pixels, {given.seconds:g} processor seconds each, {style} at {levels}")
    print(f"{'':10} {'rho':>6}  {'95 % interval':^16} {'monotone':>9} {'range':>7} {'seeds':>6}")
    shown = visits[: given.seeds]
    drawn = (at_levels(style, shown, np.full(len(shown), level), given.side, 1) for level in levels)
    real = np.stack([measured(style, *pair) for pair in drawn], 1)
    print(line("real", spearman(real, levels), 1.0), flush=True)
    whole = np.nanmean(real[:, -1] - real[:, 0])
    for name in given.only.split(","):
        options = dict(BASE)
        options["steps"] = steps_in(name, (images, masks, values), options, given.seconds)
        readings, pictures = steered(style, name, (images, masks, values), options, given.seeds)
        share = float(np.nanmean(readings[:, -1] - readings[:, 0]) / whole)
        print(line(name, spearman(readings, levels), share), flush=True)
        if given.out:
            sheet(pictures, given.out / f"{style}-{name}.png")
    many = np.tile(readings, (20, 1))
    dealt = np.random.default_rng(1).permuted(np.tile(levels, (len(many), 1)), axis=1)
    print(line("shuffled", spearman(many, dealt)))


if __name__ == "__main__":
    main()
