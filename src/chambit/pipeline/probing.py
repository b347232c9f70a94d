"""Steps that ask the trained generator itself: near-duplicates it makes of training images, what it knows of real ones.

Both are for the examiner, which knows no generator: images and tables. A stage that has no `vary` or no `probe` has no
such step. Near-duplicates go through the released set's own refinement; probes see the images as the generator did,
before it.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl

from chambit.core import extensions
from chambit.core.steps import Context, Outputs, Step
from chambit.core.store import Store
from chambit.core.study import Study
from chambit.images import imageset
from chambit.images.imageset import ImageSet
from chambit.pipeline import chain, cohort, drawing, masking, refining
from chambit.pipeline.chain import Link
from chambit.pipeline.plan import Made, Planned
from chambit.review.policy import Policy

PLANTED, PROBES = "near duplicates", "probes"
FAMILIES = {"codec": 0.0, "renoise10": 0.1, "renoise20": 0.2, "renoise30": 0.3, "renoise40": 0.4}
"""Family of near-duplicates -> how far to noise and back; privacy filters that found real pairs missed such images
(arXiv:2510.01793)."""
ROLES = ("train", "holdout", "auxiliary")


def planned(study: Study, policy: Policy) -> list[Planned]:
    """The steps that the study's stage can answer, after `refine`."""
    link, steps = _asked(study), []
    if link is None:
        return []
    stage = link.module
    if hasattr(stage, "vary") and (count := _plants(study, policy)):

        def near(made: Made) -> Step:
            return _near_duplicates(study, policy, count, made)

        steps.append(Planned(PLANTED, near, count * len(FAMILIES), "images", 100.0, 1))
    if hasattr(stage, "probe"):
        # about as many real images as are drawn, where nothing else is known
        steps.append(Planned(PROBES, lambda made: _probes(study, made), study.recipe.sample.images, "images", 150.0, 1))
    return steps


def extras(study: Study, policy: Policy) -> dict[str, str]:
    """Which step gives which extra of an examination (`examining.planned`)."""
    names = {entry.name for entry in planned(study, policy)}
    asked = {kind: name for kind, name in (("planted", PLANTED), ("probes", PROBES)) if name in names}
    link = chain.single(study)
    return asked | ({"claim": link.step} if link is not None and hasattr(link.module, "claim") else {})


def _asked(study: Study) -> Link | None:
    """The stage that can be asked about single grey images: the only one of a recipe for pictures."""
    whole = not cohort.axis(study) and not cohort.coloured(study)
    return chain.single(study) if whole else None


def _stage(study: Study) -> Link:
    link = _asked(study)
    assert link is not None  # else there is no such step
    return link


def _plants(study: Study, policy: Policy) -> int:
    """Images per family: as many as the search for copies plants of its own kinds."""
    given = {**policy.settings.get("copies", {}), **study.measures.get("copies", {})}
    return int(given.get("plants", 0))


def _near_duplicates(study: Study, policy: Policy, count: int, made: Made) -> Step:
    stage = _stage(study).module
    operations = refining.measured(study, policy)
    inputs = {
        "weights": made[_stage(study).step]["weights"],
        "about": made["items"]["about"],
        "train": made["split"]["train"],
        "masks": made["masks"][masking.FINDING.format("train")],
    }

    def run(context: Context) -> Outputs:
        images = ImageSet.load(context.store, inputs["train"])
        chosen = _chosen(images, count, context.seed("chosen"))
        table = images.take(chosen).table
        common = _common(study, context, inputs)
        masks = masking.places(context.store, inputs["masks"])
        tasks = {}
        for family, strength in FAMILIES.items():
            for key, part in imageset.chunks(len(table), drawing.AT_ONCE):
                rows = [table.row(i, named=True) for i in part]
                tasks[f"{family}/{key}"] = common | {
                    "pixels": [[row["block"], row["row"]] for row in rows],
                    "labels": [common["about"]["classes"].index(row["label"]) for row in rows],
                    "masks": None if masks is None else [masks[chosen[i]] for i in part],
                    "strength": strength,
                    "seeds": [context.seed(f"{family} {row['id']}") for row in rows],
                }
        sizes = {key: len(task["labels"]) for key, task in tasks.items()}
        blobs = context.map(_vary, tasks, unit="images", sizes=sizes)
        outputs = {}
        for family in FAMILIES:
            made_rows = [row for key, blob in blobs.items() if key.startswith(f"{family}/")
                         for row in context.store.get_json(blob)]  # fmt: skip
            planted = pl.DataFrame(made_rows).with_columns(
                pl.Series("id", [f"{family}-{name}" for name in table["id"]]),
                pl.Series("source", table["id"]),
                pl.Series("subject", table["subject"]),
                pl.Series("label", table["label"]),
            )
            refined = refining.applied(context, ImageSet(context.store, planted), family, operations)
            outputs[family] = context.store.put_table(refined.table)
        return outputs

    versions = {entry["name"]: extensions.load(refining.REFINE, entry["name"]).version for entry in operations}
    options = {
        "stage": _stage(study).name,
        "images": count,
        "families": FAMILIES,
        "chain": operations,
        "versions": versions,
    }
    return Step(PLANTED, f"{stage.version}.1", options, inputs, run, study.seed, count * len(FAMILIES))


def _chosen(images: ImageSet, count: int, seed: int) -> np.ndarray:
    """Positions of `count` images of as many subjects, fewer where there are fewer subjects."""
    order = np.random.default_rng(seed).permutation(len(images))
    _, first = np.unique(images.subjects[order], return_index=True)
    return np.sort(order[np.sort(first)[:count]])


def _vary(store: Store, task: Mapping[str, Any]) -> str:
    """Near-duplicates of some images; keeps their pixels as one block and one row each."""
    stage, about = extensions.load(chain.STAGES, task["stage"]), task["about"]
    options = stage.Options.model_validate(task["options"])
    images, masks = _grey(store, task["pixels"]), _masks(store, task["masks"])
    varied = stage.vary(store, task["weights"], images, task["labels"], masks, task["strength"], task["seeds"], options)
    block, digests = imageset.put_block(store, drawing.quantised(varied, about["bits"], about["dtype"]))
    return store.put_json([{"sha256": sha, "block": block, "row": row} for row, sha in enumerate(digests)])


def _probes(study: Study, made: Made) -> Step:
    stage = _stage(study).module
    inputs = {"weights": made[_stage(study).step]["weights"], "about": made["items"]["about"]}
    inputs |= {role: made["split"][role] for role in ROLES}
    inputs |= {f"masks of {role}": made["masks"][masking.FINDING.format(role)] for role in ROLES}

    def run(context: Context) -> Outputs:
        sets = {role: ImageSet.load(context.store, inputs[role]) for role in ROLES}
        places = {role: masking.places(context.store, inputs[f"masks of {role}"]) for role in ROLES}
        # members and others must be asked alike: masks for all of them or for none
        masked = all(places[role] is not None for role, images in sets.items() if len(images))
        common = _common(study, context, inputs) | {"seed": context.seed("noise")}
        classes = common["about"]["classes"]
        tasks: dict[str, Any] = {}
        who: dict[str, pl.DataFrame] = {}
        for role, images in sets.items():
            # a class that was not in training cannot be asked about
            known = images.table.with_row_index("position").filter(pl.col("label").is_in(classes))
            for number, (_, rows) in enumerate(known.group_by("block", maintain_order=True)):
                masks = places[role]
                tasks[f"{role}/{number:06d}"] = common | {
                    "pixels": rows.select("block", "row").rows(),
                    "labels": [classes.index(label) for label in rows["label"]],
                    "masks": [masks[i] for i in rows["position"]] if masked and masks is not None else None,
                }
                who[f"{role}/{number:06d}"] = rows.select("id", pl.lit(role).alias("role"))
        sizes = {key: len(task["labels"]) for key, task in tasks.items()}
        blobs = context.map(_probe, tasks, unit="images", sizes=sizes)
        scores = {key: context.store.get_arrays(blob) for key, blob in blobs.items()}
        outputs = {}
        for name in next(iter(scores.values())):
            parts = [who[key].with_columns(pl.Series("score", found[name])) for key, found in scores.items()]
            outputs[name] = context.store.put_table(pl.concat(parts))
        return outputs

    return Step(PROBES, f"{stage.version}.1", {"stage": _stage(study).name}, inputs, run, study.seed)


def _probe(store: Store, task: Mapping[str, Any]) -> str:
    """Scores of some images, float64, by name."""
    stage = extensions.load(chain.STAGES, task["stage"])
    options = stage.Options.model_validate(task["options"])
    images, masks = _grey(store, task["pixels"]), _masks(store, task["masks"])
    return store.put_arrays(**stage.probe(store, task["weights"], images, task["labels"], masks, task["seed"], options))


def _common(study: Study, context: Context, inputs: Mapping[str, str]) -> dict[str, Any]:
    """What every chunk is told of the generator."""
    return {
        "stage": _stage(study).name,
        "options": _stage(study).options.model_dump(),
        "weights": inputs["weights"],
        "about": context.store.get_json(inputs["about"]),
    }


def _gathered(store: Store, places: list[Any], name: str) -> np.ndarray:
    kept = {blob: store.get_arrays(blob)[name] for blob in dict.fromkeys(blob for blob, _ in places)}
    return np.stack([kept[blob][row] for blob, row in places])


def _grey(store: Store, places: list[Any]) -> np.ndarray:
    pixels = _gathered(store, places, "pixels")
    return pixels.astype(np.float32) / np.float32(np.iinfo(pixels.dtype).max)


def _masks(store: Store, places: list[Any] | None) -> np.ndarray | None:
    return None if places is None else _gathered(store, places, "masks").astype(bool)
