"""Steps that make the synthetic set: train one stage, sample, refine synthetic and real images alike."""

from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

import numpy as np
import polars as pl

from chambit.core import digest, extensions
from chambit.core.errors import InputError, Problem
from chambit.core.steps import Context, Outputs, Step
from chambit.core.store import Store
from chambit.core.study import Study
from chambit.images import imageset
from chambit.images.imageset import ImageSet
from chambit.pipeline import masking, watching
from chambit.pipeline.plan import Made, Planned
from chambit.review.policy import Policy

STAGES = "chambit.generate.stages"
REFINE = "chambit.generate.refine"
ROLES = ("train", "holdout", "auxiliary", "test")
DRAWN_AT_ONCE = 128
FINAL = "visible_mark"
"""The detector that looks at every refined set, whether the recipe names it or not."""


def planned(study: Study, policy: Policy) -> list[Planned]:
    """The steps from a split cohort to refined sets of every role."""
    return [
        Planned("train", lambda made: _train(study, policy, made), _steps(stage_options(study)), "steps", 12.0, 15),
        Planned("sample", lambda made: _sample(study, made), study.recipe.sample.images, "images", 60.0, 10),
        Planned(
            "refine",
            lambda made: _refine(study, policy, made),
            study.recipe.sample.images,
            "images",
            1500.0,
            20,
        ),
    ]


def stage_of(study: Study) -> ModuleType:
    """The study's stage."""
    return extensions.load(STAGES, next(iter(study.recipe.train)))


def stage_options(study: Study) -> Any:
    """The options of the study's stage, validated by the stage itself."""
    return stage_of(study).Options.model_validate(next(iter(study.recipe.train.values())))


def _steps(options: Any) -> int:
    """How much work training is; a stage that has no steps counts as one."""
    return int(getattr(options, "steps", 1))


def _train(study: Study, policy: Policy, made: Made) -> Step:
    name, stage, options = next(iter(study.recipe.train)), stage_of(study), stage_options(study)
    inputs = {"train": made["split"]["train"], "masks": made["masks"]["train"]}
    used = options.model_dump()
    if (settings := watching.settings_of(policy, stage)) is not None:
        inputs |= {"auxiliary": made["split"]["auxiliary"]}
        used |= {"memorisation": settings.model_dump()}

    def run(context: Context) -> Outputs:
        images = ImageSet.load(context.store, inputs["train"])
        classes = sorted(set(images.labels.tolist()))
        masks = masking.load(context.store, inputs["masks"])
        keep = context.store.put_json
        if settings is None:
            outputs = {"weights": stage.train(context, images, masks, classes, options)}
        else:
            auxiliary = ImageSet.load(context.store, inputs["auxiliary"])
            watch = watching.prepared(context, images, auxiliary, classes, settings)
            given = None if isinstance(watch, str) else watch
            outputs = {"weights": stage.train(context, images, masks, classes, options, watch=given)}
            outputs |= {
                "watched": keep(watching.watched(context, watch)),
                "curve": keep(given.curve() if given else []),
            }
        if hasattr(stage, "claim"):
            outputs["claim"] = keep(stage.claim(context.store, outputs["weights"]))
        with_mask = [] if masks is None else _masked_classes(images.labels, masks, classes)
        about = {
            "classes": classes,
            "masked": with_mask,
            "shares": {label: float((images.labels == label).mean()) for label in classes},
            "bits": int(images.table["bits"].max() or 8),  # type: ignore[arg-type]
            "dtype": next(images.blocks())[1].dtype.name,
        }
        return outputs | {"about": keep(about)}

    return Step("train", f"{name}@{stage.version}", used, inputs, run, study.seed, _steps(options))


def _masked_classes(labels: np.ndarray, masks: np.ndarray, classes: Sequence[str]) -> list[str]:
    """Classes whose images mostly have a mask: their synthetic images get one too."""
    has = np.asarray(masks.any((1, 2)))
    return [label for label in classes if has[labels == label].mean() > 0.5]


def _sample(study: Study, made: Made) -> Step:
    name = next(iter(study.recipe.train))
    stage, options = extensions.load(STAGES, name), stage_options(study)
    wanted = study.recipe.sample

    def run(context: Context) -> Outputs:
        about = context.store.get_json(made["train"]["about"])
        if unknown := sorted(set(wanted.shares or {}) - set(about["classes"])):
            problem = Problem(
                "recipe.sample.shares",
                f"no training image has the class '{unknown[0]}'",
                f"classes: {', '.join(about['classes'])}",
            )
            raise InputError("The sample cannot be drawn.", [problem])
        labels = allocate(wanted.images, wanted.shares or about["shares"], context.seed("labels"))
        tasks = {}
        for key, part in imageset.chunks(wanted.images, DRAWN_AT_ONCE):
            tasks[key] = {
                "stage": name,
                "options": options.model_dump(),
                "weights": made["train"]["weights"],
                "about": about,
                "labels": [labels[i] for i in part],
                "seeds": [context.seed(i) for i in part],
            }
        sizes = {key: len(task["labels"]) for key, task in tasks.items()}
        blobs = context.map(_draw, tasks, unit="images", sizes=sizes)
        rows = [row for key in blobs.values() for row in context.store.get_json(key)]
        table = (
            pl.DataFrame(rows)
            .with_row_index("number")
            .with_columns(pl.format("S{}", pl.col("number").cast(pl.String).str.zfill(6)).alias("id"))
        )
        table = table.with_columns(pl.col("id").alias("subject")).drop("number")
        return {"images": context.store.put_table(table)}

    inputs = {"weights": made["train"]["weights"], "about": made["train"]["about"]}
    options_used = {"stage": name, **wanted.model_dump()}
    return Step("sample", f"{stage.version}.1", options_used, inputs, run, study.seed, wanted.images)


def allocate(images: int, shares: Mapping[str, float], seed: int) -> list[str]:
    """Labels of `images` images in the given shares (largest remainders), in a seeded random order.

    >>> sorted(allocate(5, {"a": 0.5, "b": 0.5}, 0))
    ['a', 'a', 'a', 'b', 'b']
    """
    names = sorted(shares)
    exact = np.array([shares[name] for name in names], np.float64)
    exact = exact / exact.sum() * images
    counts = np.floor(exact).astype(int)
    for k in np.argsort(counts - exact, kind="stable")[: images - counts.sum()]:
        counts[k] += 1
    labels = np.repeat(names, counts)
    return [str(label) for label in np.random.default_rng(seed).permutation(labels)]


def _draw(store: Store, task: Mapping[str, Any]) -> str:
    """Draw some images; keeps their pixels as one block and one row each."""
    stage, about = extensions.load(STAGES, task["stage"]), task["about"]
    numbers = [about["classes"].index(label) for label in task["labels"]]
    finding = [label in about["masked"] for label in task["labels"]]
    options = stage.Options.model_validate(task["options"])
    images, masks = stage.sample(store, task["weights"], numbers, task["seeds"], finding, options)
    block, digests = imageset.put_block(store, quantised(images, about["bits"], about["dtype"]))
    rows = [
        {"sha256": sha, "block": block, "row": row, "label": label, "seed": str(seed)}
        for row, (sha, label, seed) in enumerate(zip(digests, task["labels"], task["seeds"], strict=True))
    ]
    if masks is not None:
        kept = store.put_arrays(masks=(masks >= 0.5).astype(np.uint8))
        rows = [row | {"mask_block": kept, "mask_row": row["row"]} for row in rows]
    return store.put_json(rows)


def quantised(images: np.ndarray, bits: int, dtype: str) -> np.ndarray:
    """Grey values of [0, 1] in as many levels as the real files have: the number of levels must give nothing away."""
    levels, full = (1 << bits) - 1, np.iinfo(dtype).max
    return np.asarray(np.round(np.round(images * levels) / levels * full), dtype)


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


def _refine(study: Study, policy: Policy, made: Made) -> Step:
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
        outputs = {role: applied(context, images, role, operations) for role, images in sets.items()}
        reports.append(marks(outputs["synthetic"], outputs["train"], settings))
        keep = context.store
        return {role: keep.put_table(images.table) for role, images in outputs.items()} | {
            "marks": keep.put_json(reports)
        }

    options = {"chain": entries, "versions": versions, "marks": settings}
    inputs_used = inputs | {f"masks of {role}": key for role, key in masks.items()}
    return Step("refine", "2", options, inputs_used, run, study.seed, study.recipe.sample.images)


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
