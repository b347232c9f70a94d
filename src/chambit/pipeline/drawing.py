"""The step that draws the synthetic set: every item by the chain of stages, from its own seed, with its lineage.

What each stage made of an item is kept where there are several stages, and the column `lineage` of the set leads to the
record of it: stages, versions, digests of weights, options and outputs. `Lineage` reads it back.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from chambit.core.errors import InputError, Problem
from chambit.core.steps import Context, Outputs, Step
from chambit.core.store import Store
from chambit.core.study import Study
from chambit.images import imageset
from chambit.images.imageset import ImageSet
from chambit.pipeline import chain, conditions
from chambit.pipeline.plan import Made, Planned

AT_ONCE = 128
"""Items of a chunk; fewer where an item has so many frames that a block would not hold them."""


def planned(study: Study) -> Planned:
    """The step that draws."""
    return Planned("sample", lambda made: _sample(study, made), study.recipe.sample.images, "images", 60.0, 10)


def _sample(study: Study, made: Made) -> Step:
    wanted = study.recipe.sample
    stages = chain.trained(study, made)
    inputs = {"train": made["items"]["train"], "about": made["items"]["about"]}
    inputs |= {f"stage {number + 1}": entry["weights"] for number, entry in enumerate(stages)}

    def run(context: Context) -> Outputs:
        about = context.store.get_json(inputs["about"])
        train = ImageSet.load(context.store, inputs["train"])
        plan = conditions.wanted(wanted.images, wanted, about, train, context.seed)
        return {"images": context.store.put_table(drawn(context, stages, about, plan, study.examine.parts_from))}

    options = {"stages": [[entry["name"], entry["version"], entry["options"]] for entry in stages]}
    options |= wanted.model_dump() | {"parts from": study.examine.parts_from}
    return Step("sample", "3", options, inputs, run, study.seed, wanted.images)


def drawn(
    context: Context,
    stages: Sequence[Mapping[str, Any]],
    about: Mapping[str, Any],
    plan: pl.DataFrame,
    parts_from: int,
    prefix: str = "S",
) -> pl.DataFrame:
    """The table of a set drawn by a plan; `parts_from` as in `core.study.Examine`, `prefix` begins each id."""
    length = about["form"][4]
    tasks: dict[str, dict[str, Any]] = {
        key: {
            "stages": stages, "about": about, "plan": plan[part.start : part.stop].to_dicts(), "first": part.start,
            "parts_from": parts_from, "prefix": prefix,
        }
        for key, part in imageset.chunks(len(plan), max(1, min(AT_ONCE, imageset.BLOCK // length)))
    }  # fmt: skip
    sizes = {key: len(task["plan"]) for key, task in tasks.items()}
    blobs = context.map(_draw, tasks, unit="images", sizes=sizes)
    rows = [row for key in blobs.values() for row in context.store.get_json(key)]
    return pl.DataFrame(rows, infer_schema_length=None)


def _draw(store: Store, task: Mapping[str, Any]) -> str:
    """Draw some items; keeps their pixels as one block and one row for each image."""
    about, stages = task["about"], task["stages"]
    plan = pl.DataFrame(task["plan"], infer_schema_length=None)
    given = conditions.given(plan, about)
    made = chain.through(store, stages, given, [int(seed) for seed in plan["seed"]])
    now: dict[str, np.ndarray] = {}
    for outputs in made:
        now |= outputs
    height, width, channels, axis, length = about["form"]
    images = now["image"]
    shape = (*((length,) if axis else ()), height, width, *((3,) if channels == 3 else ()))
    if images.shape[1:] != shape:
        mine, theirs = (" x ".join(map(str, sides)) for sides in (images.shape[1:], shape))
        what = f"makes images of {mine}, the real ones are {theirs}"
        remedy = "let the last stage make the size of the cohort, or take the cohort in at another size"
        raise InputError("The images do not fit.", [Problem(f"recipe.train: {stages[-1]['name']}", what, remedy)])
    pixels = quantised(images, about["bits"], about["dtype"]).reshape(-1, *shape[1 if axis else 0 :])
    block, digests = imageset.put_block(store, pixels)
    columns: dict[str, Sequence[Any]] = {"sha256": digests, "block": [block] * len(pixels), "row": range(len(pixels))}
    columns |= _masks(store, now, (height, width), task["parts_from"])
    lineage = store.put_json(_lineage(store, stages, made))
    rows = []
    for number, item in enumerate(task["plan"]):
        for frame in range(length):
            row = number * length + frame
            name = f"{task['prefix']}{task['first'] + number:06d}"
            known: dict[str, Any] = {"id": f"{name}-{frame:02d}" if axis else name, "subject": name}
            known |= {"label": item["track"][frame] if "track" in item else item["label"], "seed": item["seed"]}
            known |= {"series": name, "frame": str(frame)} if axis else {}
            known |= {column: item[column] for column in (*about["factors"], *about["numbers"]) if column != "label"}
            known |= {"lineage": lineage, "item": number, **about.get("geometry", {})}
            if "donors" in now:
                known["donors"] = json.dumps([donor._asdict() for donor in now["donors"][number]])
            rows.append({column: values[row] for column, values in columns.items()} | known)
    return store.put_json(rows)


def _masks(
    store: Store, now: Mapping[str, np.ndarray], shape: tuple[int, int], parts_from: int
) -> dict[str, Sequence[Any]]:
    """Columns for mask and layout of each image, at the images' size."""
    columns: dict[str, Sequence[Any]] = {}
    layout = _enlarged(now["layout"], shape) if "layout" in now else None
    mask = now.get("mask")
    if parts_from and layout is not None:
        mask = layout >= parts_from
    for kind, array in (("mask", mask), ("layout", layout)):
        if array is not None:
            kept = array if kind == "layout" else (_enlarged(array, shape) >= 0.5).astype(np.uint8)
            kept = kept.reshape(-1, *shape)
            blob = store.put_arrays(masks=np.ascontiguousarray(kept, np.uint8))
            columns |= {f"{kind}_block": [blob] * len(kept), f"{kind}_row": range(len(kept))}
    return columns


def _enlarged(planes: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Planes (..., h, w) at another size by their nearest pixel; (..., H, W)."""
    rows = (np.arange(shape[0]) * planes.shape[-2]) // shape[0]
    columns = (np.arange(shape[1]) * planes.shape[-1]) // shape[1]
    return planes[..., rows[:, None], columns]


def _lineage(
    store: Store, stages: Sequence[Mapping[str, Any]], made: Sequence[Mapping[str, np.ndarray]]
) -> list[dict[str, Any]]:
    """What made a chunk of items: a record for each stage; of several stages, their outputs are kept too."""
    records = []
    for entry, outputs in zip(stages, made, strict=True):
        record = {name: entry[name] for name in ("name", "version", "options", "weights")}
        if len(stages) > 1:
            record["made"] = store.put_arrays(
                **{name: _small(array) for name, array in outputs.items() if name in ("image", "mask", "layout")}
            )
        records.append(record)
    return records


def _small(array: np.ndarray) -> np.ndarray:
    """An output as it is kept for looking at: 8 bits."""
    if array.dtype == np.uint8:
        return np.ascontiguousarray(array)
    return np.asarray(np.rint(np.clip(array, 0, 1) * 255), np.uint8)


def quantised(images: np.ndarray, bits: int, dtype: str) -> np.ndarray:
    """Grey values of [0, 1] in as many levels as the real files have: the number of levels must give nothing away."""
    levels, full = (1 << bits) - 1, np.iinfo(dtype).max
    return np.asarray(np.round(np.round(images * levels) / levels * full), dtype)
