"""What a cohort tells the generator, and which items it is then asked for: classes, factors, numbers, tracks in time.

An item is a picture, or all rows of one `series` where the cohort has an axis. What is asked for is planned before any
item is drawn: exact numbers by class and factor; everything else of an item follows the joint distribution of the
training items, numbers moved by a kernel's width so that no item repeats a person's.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from chambit.core.errors import InputError, Problem
from chambit.core.recipe import Conditions, Sample, scaled
from chambit.core.steps import Context, Outputs, Step
from chambit.core.study import Study
from chambit.generate.items import Examples, Form
from chambit.images import geometry
from chambit.images.imageset import ImageSet
from chambit.pipeline import masking
from chambit.pipeline.plan import Made

FRAME_IN_NAME = r"\[([^\]]*)\]$"
Seeds = Callable[[int | str], int]


def step(study: Study, axis: str, made: Made) -> Step:
    """Put the training rows in the order of items, and say what they are: classes, shares, form, levels."""
    inputs = {
        "train": made["split"]["train"],
        "masks": made["masks"][masking.FINDING.format("train")],
        "layouts": made["masks"][masking.LAYOUT.format("train")],
    }
    wanted = study.recipe.conditions

    def run(context: Context) -> Outputs:
        images = ImageSet.load(context.store, inputs["train"])
        images = masking.attached(images, inputs["masks"]) if wanted.place else images
        images = masking.attached(images, inputs["layouts"], "layout")
        _there(images, wanted)
        images, length = in_items(context, images, axis)
        return {
            "train": context.store.put_table(images.table),
            "about": context.store.put_json(_about(images, axis, length, wanted)),
        }

    options = {"axis": axis, **wanted.model_dump()}
    return Step("items", "2", options, inputs, run, study.seed)


def in_items(context: Context, images: ImageSet, axis: str) -> tuple[ImageSet, int]:
    """Rows of one item together in the order of the axis, and how many an item has; items of another length go."""
    if not axis:
        return images, 1
    table = images.table
    series = table["series"] if "series" in table.columns else table["file"].str.replace(FRAME_IN_NAME, "")
    if "frame" not in table.columns:
        problem = Problem("the labels", "have no column 'frame'", "name the frame of each image, counted from 0")
        raise InputError("The frames of a sequence cannot be put in order.", [problem])
    table = table.with_columns(series=series, _at=pl.col("frame").cast(pl.Int64, strict=False))
    table = table.sort("series", "_at", maintain_order=True).drop("_at")
    lengths = table.group_by("series").len()["len"]
    length = int(lengths.mode().max())  # type: ignore[arg-type]
    kept = table.filter(pl.len().over("series") == length)
    if (dropped := table["series"].n_unique() - kept["series"].n_unique()) > 0:
        context.note(f"{dropped} sequences have not {length} frames and are left out of the training.")
    return ImageSet(images.store, kept), length


def _there(images: ImageSet, wanted: Conditions) -> None:
    if lacking := [name for name in (*wanted.factors, *wanted.numbers) if name not in images.table.columns]:
        where, there = "recipe.conditions", ", ".join(images.table.columns)
        problems = [Problem(where, f"the labels have no column '{name}'", f"there are: {there}") for name in lacking]
        raise InputError("The generator cannot be told what nobody knows.", problems)


def _about(images: ImageSet, axis: str, length: int, wanted: Conditions) -> dict[str, Any]:
    labels = images.labels
    classes = sorted(set(labels.tolist()))
    height, width = images.shape[:2]
    masks = images.masks()
    return {
        "classes": classes,
        "masked": [] if masks is None else _masked_classes(labels, masks, classes),
        "shares": {label: float((labels == label).mean()) for label in classes},
        "bits": int(images.table["bits"].max() or 8),  # type: ignore[arg-type]
        "dtype": next(images.blocks())[1].dtype.name,
        "form": [height, width, 3 if len(images.shape) == 3 else 1, axis, length],
        "factors": {name: sorted(set(images.table[name].cast(pl.String)) - {""}) for name in wanted.factors},
        "numbers": list(wanted.numbers),
        "geometry": _geometry(images),
    }


def _geometry(images: ImageSet) -> dict[str, str]:
    """How all training images lie and what their numbers mean, where they agree: so do those drawn after them."""
    told = [name for name in geometry.COLUMNS if name in images.table.columns]
    said = {name: images.table[name].cast(pl.String).fill_null("").unique().to_list() for name in told}
    return {name: values[0] for name, values in said.items() if len(values) == 1 and values[0]}


def _masked_classes(labels: np.ndarray, masks: np.ndarray, classes: Sequence[str]) -> list[str]:
    """Classes whose images mostly have a mask: their synthetic images get one too."""
    has = np.asarray(masks.any((1, 2)))
    return [label for label in classes if has[labels == label].mean() > 0.5]


def examples(images: ImageSet, about: Mapping[str, Any]) -> Examples:
    """The training items as a stage is given them."""
    factors = {name: tuple(levels) for name, levels in about["factors"].items()}
    return Examples(
        images, Form(*about["form"]), tuple(about["classes"]), images.masks(), images.layouts(), factors,
        tuple(about["numbers"]),
    )  # fmt: skip


def wanted(count: int, sample: Sample, about: Mapping[str, Any], train: ImageSet, seed: Seeds) -> pl.DataFrame:
    """The items to be drawn, a row each.

    Args:
        count: how many, before `sample.fill`.
        sample: shares, counts and gaps to be filled.
        about: what `step` found.
        train: the training rows in the order of items.
        seed: the seed of a thing by its name; items are numbered.

    Returns:
        `label` (of an item whose frames differ: the last one's), `track` (list of a label for each frame, or null),
        a column for each factor and number, `seed` (text).

    Raises:
        InputError: when the sample asks for a class or level that no training image has.
    """
    known = training_items(about, train)
    plan = _base(count, sample, about, known, seed)
    if sample.fill is not None:
        plan = pl.concat([plan, missing(plan, sample, about, known, seed)], how="diagonal_relaxed")
    return numbered(plan, [seed(number) for number in range(len(plan))])


def numbered(plan: pl.DataFrame, seeds: Sequence[int]) -> pl.DataFrame:
    """A plan with the seed of each item, and which item of its label it is (`rank`)."""
    of_label = pl.int_range(pl.len()).over("label")
    return plan.with_columns(rank=of_label, seed=pl.Series([str(one) for one in seeds], dtype=pl.String))


def training_items(about: Mapping[str, Any], train: ImageSet) -> pl.DataFrame:
    """A row for each training item: label, factors, numbers, and its track where the labels of its frames differ."""
    length = about["form"][4]
    columns = [*about["factors"], *about["numbers"]]
    rows = train.table.select("label", *(pl.col(name).cast(pl.String) for name in columns if name != "label"))
    items = rows.gather_every(length, length - 1)
    if length > 1:
        labels = train.labels.reshape(-1, length)
        if (labels != labels[:, :1]).any():
            items = items.with_columns(track=pl.Series(labels.tolist()))
    return items.with_columns(pl.col(about["numbers"]).cast(pl.Float64, strict=False))


def _base(count: int, sample: Sample, about: Mapping[str, Any], known: pl.DataFrame, seed: Seeds) -> pl.DataFrame:
    if unknown := sorted(set(sample.shares or {}) - set(about["classes"])):
        problem = Problem(
            "recipe.sample.shares",
            f"no training image has the class '{unknown[0]}'",
            f"classes: {', '.join(about['classes'])}",
        )
        raise InputError("The sample cannot be drawn.", [problem])
    if sample.counts is None:
        shares = sample.shares or about["shares"]
        return _filled(allocate(count, shares, seed("labels")), {}, about, known, seed("conditions"))
    ((factor, levels),) = sample.counts.items()
    if unknown := sorted(set(levels) - set(about["factors"].get(factor, ()))):
        there = ", ".join(about["factors"].get(factor, ())) or f"none; name '{factor}' in recipe.conditions.factors"
        problem = Problem("recipe.sample.counts", f"no training image has '{unknown[0]}' in '{factor}'", there)
        raise InputError("The sample cannot be drawn.", [problem])
    parts = []
    asked = {level: scaled(number, sample.scale) for level, number in levels.items()}
    total = sum(asked.values())
    for level, number in asked.items():
        # a smaller number of items is asked for where earlier stages only show what they make
        share = number if count == sample.images else max(1, round(count * number / total))
        mine = known.filter(pl.col(factor) == level)
        found = dict(mine["label"].value_counts(normalize=True).rows())
        labels = allocate(share, sample.shares or found, seed(f"labels {level}"))
        parts.append(_filled(labels, {factor: level}, about, known, seed(f"conditions {level}")))
    return pl.concat(parts, how="diagonal_relaxed")


def missing(
    plan: pl.DataFrame, sample: Sample, about: Mapping[str, Any], known: pl.DataFrame, seed: Seeds
) -> pl.DataFrame:
    """The items that raise every cell of class and factors to the quota."""
    assert sample.fill is not None
    by = sample.fill.by
    if unknown := [name for name in by if name not in about["factors"]]:
        remedy = "name it in recipe.conditions.factors, so that the generator can be told"
        problem = Problem("recipe.sample.fill", f"'{unknown[0]}' is no factor of this recipe", remedy)
        raise InputError("The gaps cannot be filled.", [problem])
    cells: list[dict[str, str]] = [{}]
    for name in by:
        cells = [cell | {name: level} for cell in cells for level in about["factors"][name]]
    parts = [plan.clear()]
    for label in about["classes"]:
        for cell in cells:
            here = [pl.col("label") == label, *(pl.col(name) == level for name, level in cell.items())]
            if (lacking := sample.fill.quota - plan.filter(*here).height) > 0:
                what = f"fill {label} {' '.join(cell.values())}"
                parts.append(_filled([label] * lacking, cell, about, known, seed(what)))
    return pl.concat(parts, how="diagonal_relaxed")


def _filled(
    labels: Sequence[str], cell: Mapping[str, str], about: Mapping[str, Any], known: pl.DataFrame, seed: int
) -> pl.DataFrame:
    """Items of these labels and levels; what is left open follows training items of the same label and levels."""
    rng = np.random.default_rng(seed)
    plan = pl.DataFrame({"label": list(labels)}, schema={"label": pl.String})
    open_names = [name for name in known.columns if name != "label"]
    if not open_names:
        return plan
    rows: list[dict[str, Any]] = [{}] * len(labels)
    for label in dict.fromkeys(labels):
        same = known.filter(pl.col("label") == label)
        here = same.filter(*(pl.col(name) == level for name, level in cell.items())) if cell else same
        pool = here if len(here) else same  # a cell that no one was in: its other conditions are those of the class
        at = [k for k, given in enumerate(labels) if given == label]
        drawn = pool[rng.integers(len(pool), size=len(at))].select(open_names)
        for k, row in zip(at, drawn.iter_rows(named=True), strict=True):
            rows[k] = row | dict(cell)
        for name in about["numbers"]:
            values = known[name].drop_nulls().to_numpy()
            # a quarter of Scott's width: numbers are often of two humps, and a person's is not to be repeated
            width = values.std() * len(values) ** -0.2 / 4 if len(values) else 0.0
            for k, move in zip(at, width * rng.normal(size=len(at)), strict=True):
                if (old := rows[k][name]) is not None:
                    rows[k][name] = _reflected(old + move, values.min(), values.max())
        if "track" in open_names:
            for k in at:
                rows[k]["track"] = moved_track(rows[k]["track"], rng)
    return pl.concat([plan, pl.DataFrame(rows, infer_schema_length=None)], how="horizontal")


def _reflected(value: float, low: float, high: float) -> float:
    """A number thrown back from the ends of what there is."""
    inside = high - abs(high - (low + abs(value - low)))
    return float(min(max(inside, low), high))


def moved_track(track: Sequence[str], rng: np.random.Generator) -> list[str]:
    """The same classes in the same order, each change moved by up to a tenth of the track.

    >>> moved_track(["a"] * 3 + ["b"] * 3, np.random.default_rng(0))[::5]
    ['a', 'b']
    """
    changes = np.array([at for at in range(1, len(track)) if track[at] != track[at - 1]], np.int64)
    names = [track[0], *(track[at] for at in changes)]
    most = max(1, len(track) // 10)
    moved = np.clip(np.sort(changes + rng.integers(-most, most + 1, size=len(changes))), 1, len(track) - 1)
    at = np.searchsorted(moved, np.arange(len(track)), side="right")
    return [names[int(k)] for k in at]


def given(plan: pl.DataFrame, about: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The planned items as stages are given them, see `chambit.generate.items`."""
    place = {name: number for number, name in enumerate(about["classes"])}
    masked = set(about["masked"])
    if "track" in plan.columns:
        labels = np.array([[place[label] for label in track] for track in plan["track"].to_list()], np.int64)
        finding = np.array([bool(masked & set(track)) for track in plan["track"].to_list()])
    else:
        labels = np.array([place[label] for label in plan["label"]], np.int64)
        finding = np.array([label in masked for label in plan["label"]], bool)
    arrays: dict[str, np.ndarray] = {"label": labels, "finding": finding}
    if "rank" in plan.columns:
        arrays["rank"] = plan["rank"].to_numpy()
    if about["factors"]:
        columns = [
            [{level: number for number, level in enumerate(levels)}.get(value, -1) for value in plan[name].to_list()]
            for name, levels in about["factors"].items()
        ]
        arrays["factors"] = np.array(columns, np.int64).T
    if about["numbers"]:
        arrays["vector"] = plan.select(about["numbers"]).cast(pl.Float32).fill_null(float("nan")).to_numpy()
    return arrays


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
