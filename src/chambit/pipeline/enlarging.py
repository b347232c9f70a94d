"""Step that keeps what the last enlargement of a chain was given and what it made of it, for the measure of resolution.

The stage that enlarges is known by its output: an image with sides a whole number of times as long as those of the
image before it. A few synthetic images stand for the set; and real images nobody learnt from are made smaller and
enlarged by the same stage, because only of those is it known what should have come out.
"""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from chambit.core import extensions
from chambit.core.steps import Context, Outputs, Step
from chambit.core.store import Store
from chambit.core.study import Study
from chambit.images import imageset
from chambit.images.imageset import ImageSet
from chambit.measure.utility import resolution
from chambit.pipeline import chain, cohort
from chambit.pipeline.plan import Made, Planned

NAME = "enlarged"
IMAGES = 48
"""Synthetic images, and real ones; at 512 pixels a processor enlarges about two in a second."""
AT_ONCE = 8


class Pair(NamedTuple):
    """An enlargement: places of the two stages in the chain, the one that made the input and the one that enlarged."""

    before: int
    after: int
    scale: int


def planned(study: Study) -> list[Planned]:
    """One step where pictures pass several stages and resolution is asked for."""
    asked = not study.measures or "resolution" in study.measures
    if not asked or cohort.axis(study) or len(study.recipe.stages) < 2:
        return []
    return [Planned(NAME, lambda made: _enlarged(study, made), IMAGES, "images", 2.0, 20)]


def _enlarged(study: Study, made: Made) -> Step:
    stages = chain.trained(study, made)
    inputs = {"synthetic": made["sample"]["images"], "holdout": made["split"]["holdout"]}
    inputs |= {f"stage {number + 1}": entry["weights"] for number, entry in enumerate(stages)}

    def run(context: Context) -> Outputs:
        store = context.store
        synthetic = ImageSet.load(store, inputs["synthetic"])
        table = synthetic.table[np.unique(np.linspace(0, len(synthetic) - 1, IMAGES).round().astype(int))]
        found = enlargement(store, store.get_json(table["lineage"][0]))
        if found is None:
            return {"none": store.put_json([])}
        small, large = (_kept(store, table, place) for place in (found.before, found.after))
        sets = {"small": _put(store, table, small), "large": _put(store, table, large)}
        held = ImageSet.load(store, inputs["holdout"])
        real = reduced(_one_each(held, context.seed("real")), large.shape[1:3])
        if real is not None:
            sets["real"] = real
            if (again := _again(context, real, stages[found.after], found.scale)) is not None:
                sets["again"] = again
        return {name: store.put_table(images.table) for name, images in sets.items()}

    options = {"stages": [[entry["name"], entry["version"]] for entry in stages], "images": IMAGES}
    return Step(NAME, "1", options, inputs, run, study.seed, IMAGES)


def enlargement(store: Store, records: Sequence[Mapping[str, Any]]) -> Pair | None:
    """The last enlargement of a lineage: a stage whose image has sides a whole number of times as long, or None."""
    sides = []
    for number, record in enumerate(records):
        arrays = store.get_arrays(record["made"]) if "made" in record else {}
        if "image" in arrays:
            sides.append((number, arrays["image"].shape[1:3]))
    for (before, old), (after, new) in reversed(list(itertools.pairwise(sides))):
        scale = new[0] // old[0]
        if scale >= 2 and (scale * old[0], scale * old[1]) == tuple(new):
            return Pair(before, after, scale)
    return None


def reduced(images: ImageSet, size: tuple[int, ...]) -> ImageSet | None:
    """Real images at the size of the enlarged ones, averaged where they are larger; None where they are smaller."""
    height, width = images.shape[:2]
    scale = height // size[0]
    if scale < 1 or (scale * size[0], scale * size[1]) != (height, width):
        return None
    pixels = imageset.gathered(images.store, images.table.select("block", "row").rows())
    return _put(images.store, images.table, averaged(pixels, scale))


def averaged(pixels: np.ndarray, scale: int) -> np.ndarray:
    """As `resolution.averaged` of each image, rounded: (N, H, W[, 3]) to (N, H / scale, W / scale[, 3])."""
    return np.stack([np.rint(resolution.averaged(image, scale)) for image in pixels]).astype(pixels.dtype)


def _one_each(images: ImageSet, seed: int) -> ImageSet:
    """One image of each of up to `IMAGES` subjects."""
    order = np.random.default_rng(seed).permutation(len(images))
    _, first = np.unique(images.subjects[order], return_index=True)
    return images.take(np.sort(order[np.sort(first)[:IMAGES]]))


def _kept(store: Store, table: pl.DataFrame, place: int) -> np.ndarray:
    """What one stage made of some rows, uint8 (N, H, W[, 3]), as its lineage kept it."""
    out = []
    loaded: dict[str, np.ndarray] = {}
    for lineage, item in table.select("lineage", "item").rows():
        if lineage not in loaded:
            loaded = {lineage: store.get_arrays(store.get_json(lineage)[place]["made"])["image"]}
        out.append(loaded[lineage][item])
    return np.stack(out)


def _again(context: Context, real: ImageSet, entry: Mapping[str, Any], scale: int) -> ImageSet | None:
    """Real images made smaller and enlarged by the stage; None where it needs more than an image."""
    stage = extensions.load(chain.STAGES, entry["name"])
    if set(stage.ports(stage.Options.model_validate(entry["resolved"])).needs) != {"image"}:
        return None
    places = real.table.select("block", "row").rows()
    tasks: dict[str, dict[str, Any]] = {
        key: {
            "entry": dict(entry), "scale": scale, "pixels": [list(places[k]) for k in part],
            "seeds": [context.seed(f"again {k}") for k in part],
        }
        for key, part in imageset.chunks(len(places), AT_ONCE)
    }  # fmt: skip
    blobs = context.map(_enlarge, tasks, unit="images", sizes={key: len(task["pixels"]) for key, task in tasks.items()})
    made = np.concatenate([context.store.get_arrays(blob)["image"] for blob in blobs.values()])
    return _put(context.store, real.table, made)


def _enlarge(store: Store, task: Mapping[str, Any]) -> str:
    """Make some images smaller and let the stage enlarge them; keeps `image` uint8."""
    entry = task["entry"]
    stage = extensions.load(chain.STAGES, entry["name"])
    pixels = _eight_bits(averaged(imageset.gathered(store, task["pixels"]), task["scale"]))
    given = {"image": pixels.astype(np.float32) / 255}
    options = stage.Options.model_validate(entry["resolved"])
    made = stage.sample(store, entry["weights"], given, task["seeds"], options)["image"]
    return store.put_arrays(image=np.asarray(np.rint(np.clip(made, 0, 1) * 255), np.uint8))


def _eight_bits(pixels: np.ndarray) -> np.ndarray:
    """Working pixels as the lineage keeps pictures, in 8 bits."""
    if pixels.dtype == np.uint8:
        return pixels
    return np.asarray(np.rint(pixels * (255 / np.iinfo(pixels.dtype).max)), np.uint8)


def _put(store: Store, table: pl.DataFrame, pixels: np.ndarray) -> ImageSet:
    """A set of these pixels, known by the ids, subjects and labels of a table's rows."""
    block, digests = imageset.put_block(store, _eight_bits(pixels))
    known = table.select("id", "subject", "label")
    columns = known.with_columns(sha256=pl.Series(digests), block=pl.lit(block), row=pl.int_range(len(known)))
    return ImageSet(store, columns)
