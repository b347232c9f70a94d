"""Steps after the drawing: refine synthetic and real images alike, and bring all to the size they are measured at."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from chambit.core import digest, extensions
from chambit.core.steps import Context, Outputs, Step
from chambit.core.store import Store
from chambit.core.study import Study
from chambit.images import imageset
from chambit.images.geometry import COLUMNS
from chambit.images.imageset import ImageSet
from chambit.pipeline import cohort, masking
from chambit.pipeline.plan import Made
from chambit.review.policy import Policy

REFINE = "chambit.generate.refine"
ROLES = ("train", "holdout", "auxiliary", "test")
LARGEST = 1 << 16
FINAL = "visible_mark"
"""The detector that looks at every refined set, whether the recipe names it or not."""


def chain(study: Study, policy: Policy) -> list[dict[str, Any]]:
    """The recipe's refine operations in their order: `name` and `options` of each."""
    return [
        {"name": name, "options": {**policy.settings.get(name, {}), **options}}
        for entry in study.recipe.refine
        for name, options in entry.items()
    ]


def geometry(entries: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Those of a chain that change pixels."""
    return [entry for entry in entries if extensions.load(REFINE, entry["name"]).geometry]


def reduction(study: Study) -> list[dict[str, Any]]:
    """What brings refined sets to the size and colour they are measured at; empty where they are so already."""
    if study.examine.pixels is None and not cohort.coloured(study):
        return []
    return [{"name": "reduce", "options": {"pixels": study.examine.pixels or LARGEST, "grey": True}}]


def measured(study: Study, policy: Policy) -> list[Mapping[str, Any]]:
    """All that happens to the pixels of an image before it is measured."""
    return [*geometry(chain(study, policy)), *reduction(study)]


def examined(study: Study, made: Made) -> Step:
    """Bring the refined sets to the size they are measured at; `full_block` and `full_row` lead to the whole images."""
    operations = reduction(study)
    inputs = {role: made["refine"][role] for role in (*ROLES, "synthetic")}

    def run(context: Context) -> Outputs:
        outputs = {}
        for role, key in inputs.items():
            images = ImageSet.load(context.store, key)
            full = images.table.with_columns(full_block="block", full_row="row")
            outputs[role] = context.store.put_table(
                applied(context, ImageSet(context.store, full), role, operations).table
            )
        return outputs

    return Step("examined", "1", {"chain": operations}, inputs, run, study.seed, study.recipe.sample.images)


def step(study: Study, policy: Policy, made: Made) -> Step:
    """Refine the set and the real images of every part alike, and look for visible marks."""
    settings = policy.settings.get(FINAL, {})
    entries = chain(study, policy)
    versions = {name: extensions.load(REFINE, name).version for name in [*(entry["name"] for entry in entries), FINAL]}
    inputs = {role: made["split"][role] for role in ROLES} | {"synthetic": made["sample"]["images"]}
    masks = {role: made["masks"][role] for role in ROLES}

    def run(context: Context) -> Outputs:
        sets = {role: ImageSet.load(context.store, key) for role, key in inputs.items()}
        sets |= {role: masking.attached(sets[role], key) for role, key in masks.items()}
        operations, reports = [], []
        for entry in entries:
            if extensions.load(REFINE, entry["name"]).geometry:
                operations.append(entry)
            else:
                now = {role: applied(context, sets[role], role, operations) for role in ("train", "synthetic")}
                reports.append(_detected(entry["name"], now["synthetic"], now["train"], entry["options"]))
        outputs = {
            role: recorded(images, applied(context, images, role, operations), operations)
            for role, images in sets.items()
        }
        reports.append(marks(outputs["synthetic"], outputs["train"], settings))
        keep = context.store
        return {role: keep.put_table(images.table) for role, images in outputs.items()} | {
            "marks": keep.put_json(reports)
        }

    options = {"chain": entries, "versions": versions, "marks": settings}
    # "3": a row says what was done to its image
    inputs_used = inputs | {f"masks of {role}": key for role, key in masks.items()}
    return Step("refine", "3", options, inputs_used, run, study.seed, study.recipe.sample.images)


def recorded(before: ImageSet, after: ImageSet, operations: Sequence[Mapping[str, Any]]) -> ImageSet:
    """The refined images with a record in each row of what was done to them; as they are where nothing was.

    Returns:
        The set `after` with two more columns: `drawn_sha256`, the pixels before, and `refinement`, JSON text: a list of
        the operations in their order (name, version, options), and the height and width before and after them all.
    """
    if not operations or not len(after):
        return after
    done = [entry | {"version": extensions.load(REFINE, entry["name"]).version} for entry in map(dict, operations)]
    record = {"operations": done, "from": list(before.shape[:2]), "to": list(after.shape[:2])}
    told = pl.lit(json.dumps(record, sort_keys=True))
    # what was known of space and units does not hold for pixels that were changed
    table = after.table.drop(COLUMNS, strict=False)
    return ImageSet(after.store, table.with_columns(drawn_sha256=before.table["sha256"], refinement=told))


def marks(synthetic: ImageSet, real: ImageSet, settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Visible marks of a synthetic set that the real set does not have."""
    return _detected(FINAL, synthetic, real, settings)


def _detected(name: str, synthetic: ImageSet, real: ImageSet, options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What one detector finds in a synthetic set beside the real one."""
    module = extensions.load(REFINE, name)
    found = module.find(synthetic.grey(), real.grey(), module.Options.model_validate(dict(options)))
    return [mark._asdict() for mark in found]


def applied(context: Context, images: ImageSet, role: str, operations: Sequence[Mapping[str, Any]]) -> ImageSet:
    """Apply geometry operations (entries of `chain`) to every image of a set; `role` names the set's chunks."""
    if not operations or not len(images):
        return images
    blocks = images.table["block"].unique(maintain_order=True).to_list()
    name = digest.of_json(list(operations))[:8]
    tasks = {f"{role}/{name}/{block}": {"block": block, "operations": list(operations)} for block in blocks}
    made = [context.store.get_json(key) for key in context.map(_refine_block, tasks, unit="blocks").values()]
    where = dict(zip(blocks, made, strict=True))
    old, row = images.table["block"].to_list(), images.table["row"].to_list()
    columns = [
        pl.Series("sha256", [where[b]["sha256"][r] for b, r in zip(old, row, strict=True)]),
        pl.Series("block", [where[b]["block"] for b in old]),
    ]
    if "mask_block" in images.table.columns:
        masked = images.table["mask_block"].drop_nulls().unique(maintain_order=True).to_list()
        tasks = {f"{role}/{name}/masks {block}": {"block": block, "operations": list(operations)} for block in masked}
        moved = dict(zip(masked, context.map(_refine_masks, tasks, unit="blocks").values(), strict=True))
        columns.append(pl.Series("mask_block", [moved.get(b) for b in images.table["mask_block"]], dtype=pl.String))
    return ImageSet(images.store, images.table.with_columns(columns))


def _refine_block(store: Store, task: Mapping[str, Any]) -> str:
    block, digests = imageset.put_block(store, _moved(store.get_arrays(task["block"])["pixels"], task["operations"]))
    return store.put_json({"block": block, "sha256": digests})


def _refine_masks(store: Store, task: Mapping[str, Any]) -> str:
    """Masks go where their pixels go: drawn white on black, refined like images, and cut at half."""
    white = store.get_arrays(task["block"])["masks"].astype(np.uint8) * np.uint8(255)
    return store.put_arrays(masks=(_moved(white, task["operations"]) >= 128).astype(np.uint8))


def _moved(pixels: np.ndarray, operations: Sequence[Mapping[str, Any]]) -> np.ndarray:
    for entry in operations:
        module = extensions.load(REFINE, entry["name"])
        pixels = module.apply(pixels, module.Options.model_validate(entry["options"]))
    return pixels
