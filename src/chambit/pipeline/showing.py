"""What people see of the making: stages and what each made, ways from noise, films, volumes, cells of the sample.

A few items stand for the set: they are read from the store, never the whole set. All of it comes from the steps'
outputs and from the lineage of the synthetic images; where a set has none (it was made elsewhere) there is nothing to
show. Ways from noise are drawn by a step of their own, so that closing a study again does not draw them again.
"""

from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any, Literal, NamedTuple

import numpy as np
import polars as pl

from chambit.core import extensions
from chambit.core.seeds import seed as derive
from chambit.core.steps import Context, Outputs, Step, Workshop
from chambit.images.imageset import ImageSet
from chambit.pipeline import chain, conditions, gallery
from chambit.pipeline.plan import Made
from chambit.report import films, viewer, volumes
from chambit.report.cells import Cells
from chambit.report.films import Clip, Film
from chambit.report.making import Making
from chambit.report.stages import Grid, Stage, Strip, Way
from chambit.report.viewer import Pixels
from chambit.report.volumes import Volume

ITEMS = 6
LOOKS = 6
TOGETHER = 4
"""Sequences of each origin in a film."""
GRID = 10
CLASSES = 12
"""Rows of the grid; further classes are left out."""
SIDE = 128
_SEEN = ("layout", "mask", "image")
Role = Literal["synthetic", "real"]


class Item(NamedTuple):
    """One synthetic item: its rows in the set, in order."""

    name: str
    label: str
    rows: list[int]


def making(workshop: Workshop, made: Made, whole: Mapping[str, ImageSet]) -> Making | None:
    """All there is to show of a run.

    Args:
        workshop: where the run is.
        made: outputs of all steps.
        whole: the sets by role, at full size and in colour.

    Returns:
        None where the images were not made by this tool.
    """
    synthetic = whole["synthetic"]
    if "items" not in made or "lineage" not in synthetic.table.columns or not len(synthetic):
        return None
    about = workshop.store.get_json(made["items"]["about"])
    axis, length = about["form"][3:]
    chosen = _chosen(synthetic, axis, length)
    records = workshop.store.get_json(synthetic.table["lineage"][chosen[0].rows[0]])
    shown = Making(
        stages=tuple(_stage(workshop, made, record, number) for number, record in enumerate(records)),
        strip=_strip(synthetic, chosen, about) if len(records) > 1 else None,
        ways=tuple(_ways(workshop, synthetic, chosen, records, about)),
        grid=None if axis else _grid(synthetic),
        film=_film(whole, length) if axis == "time" else None,
        volumes=tuple(_volumes(whole, length)) if axis == "depth" else (),
        cells=tuple(_cells(workshop, made, synthetic, about)),
    )
    return None if shown.empty else shown


def items(images: ImageSet, axis: str, length: int) -> list[Item]:
    """The items of a set: each row, or the rows of one series in the order of its frames; those of another length go.

    A set without frames has none.
    """
    table = images.table
    if not axis:
        return [Item(name, label, [row]) for row, (name, label) in enumerate(table.select("id", "label").rows())]
    if "frame" not in table.columns or not {"series", "file"} & set(table.columns):
        return []
    series = table["series"] if "series" in table.columns else table["file"].str.replace(conditions.FRAME_IN_NAME, "")
    places = pl.DataFrame(
        {"series": series, "at": table["frame"].cast(pl.Int64, strict=False), "label": table["label"]}
    )
    ordered = places.with_row_index("row").sort("at", maintain_order=True)
    grouped = ordered.group_by("series", maintain_order=True).agg("row", "label").sort(pl.col("row").list.min())
    return [Item(str(name), labels[-1], rows) for name, rows, labels in grouped.rows() if len(rows) == length]


def one_of_each(found: Sequence[Item], count: int) -> list[Item]:
    """Up to `count` items in their order, classes in turn, so that few items show as many classes as they can.

    >>> [item.name for item in one_of_each([Item("1", "a", [0]), Item("2", "a", [1]), Item("3", "b", [2])], 2)]
    ['1', '3']
    """
    turns: dict[str, int] = {}
    ranked = []
    for place, item in enumerate(found):
        turn = turns[item.label] = turns.get(item.label, -1) + 1
        ranked.append((turn, place))
    return [found[place] for _, place in sorted(ranked)[:count]]


def _chosen(synthetic: ImageSet, axis: str, length: int) -> list[Item]:
    """The items that stages are shown with: of the first chunk, so that one blob of each stage is read."""
    every = items(synthetic, axis, length)
    lineage = synthetic.table["lineage"].to_list()
    return one_of_each([item for item in every if lineage[item.rows[0]] == lineage[every[0].rows[0]]], ITEMS)


def _stage(workshop: Workshop, made: Made, record: Mapping[str, Any], number: int) -> Stage:
    module, options = _module(record)
    ports = module.ports(options)
    trained = made.get(f"train {number + 1} {record['name']}", made.get("train", {}))
    facts = workshop.store.get_json(trained["facts"]) if "facts" in trained else {}
    short = ", ".join(f"{name} {value}" for name, value in record["options"].items())
    return Stage(
        name=record["name"],
        version=str(record["version"]),
        options=short,
        weights=record["weights"],
        needs=ports.needs,
        takes=ports.takes,
        makes=ports.makes,
        facts=facts,
    )


def _module(record: Mapping[str, Any]) -> tuple[ModuleType, Any]:
    module = extensions.load(chain.STAGES, record["name"])
    return module, module.Options.model_validate(record["options"])


def _strip(synthetic: ImageSet, chosen: Sequence[Item], about: Mapping[str, Any]) -> Strip:
    """What every stage made of the chosen items, of sequences and volumes their middle, and what was released."""
    axis, length = about["form"][3:]
    table, store = synthetic.table, synthetic.store
    columns: list[tuple[str, str]] = []
    shown: list[list[Pixels]] = [[] for _ in chosen]
    for record in store.get_json(table["lineage"][chosen[0].rows[0]]):
        arrays = store.get_arrays(record["made"])
        for name in (name for name in _SEEN if name in arrays):
            columns.append((record["name"], name))
            for tiles, item in zip(shown, chosen, strict=True):
                array = arrays[name][table["item"][item.rows[0]]]
                array = array[length // 2] if axis else array
                tiles.append(_parted(array) if name == "layout" else _seen(array))
    columns.append(("", "released"))
    middles = gallery.tiles(synthetic, [item.rows[len(item.rows) // 2] for item in chosen], SIDE)
    for tiles, last in zip(shown, middles, strict=True):
        tiles.append(_seen(last))
    height, width = (max(tile.shape[side] for tiles in shown for tile in tiles) for side in (0, 1))
    laid = np.stack([viewer.boxed(tile, height, width) for tiles in shown for tile in tiles])
    told = tuple(_conditions(table, item, about) for item in chosen)
    return Strip(sheet=viewer.sheet(laid, len(columns)), columns=tuple(columns), items=told)


def _seen(picture: Pixels) -> Pixels:
    """One picture as a tile in colour."""
    small = viewer.reduced(viewer.eight_bits(picture), SIDE)
    return small if small.ndim == 3 else viewer.colour(small[None])[0]


def _parted(layout: np.ndarray) -> Pixels:
    """A map of parts as a tile in false colours; parts are not mixed where it is reduced."""
    return viewer.boxed(viewer.false_colours(layout), *viewer.fitted(layout.shape, SIDE))


def _conditions(table: pl.DataFrame, item: Item, about: Mapping[str, Any]) -> str:
    """Class, factors and numbers of an item in a line."""
    row = table.row(item.rows[0], named=True)
    factors = [str(row[name]) for name in about["factors"] if row.get(name) not in (None, "", row["label"])]
    numbers = [f"{name} {row[name]:.4g}" for name in about["numbers"] if isinstance(row.get(name), int | float)]
    return " · ".join([item.label, *factors, *numbers])


def _ways(
    workshop: Workshop,
    synthetic: ImageSet,
    chosen: Sequence[Item],
    records: Sequence[Mapping[str, Any]],
    about: Mapping[str, Any],
) -> list[Way]:
    """The way from noise of every stage that can show it, for the chosen items."""
    given = conditions.given(_plan(synthetic.table, chosen, about), about)
    seeds = [int(synthetic.table["seed"][item.rows[0]]) for item in chosen]
    places = [synthetic.table["item"][item.rows[0]] for item in chosen]
    found = []
    for number, record in enumerate(records):
        module, options = _module(record)
        makes = module.ports(options).makes
        if hasattr(module, "way"):
            own = seeds if number == 0 else [derive(seed, record["name"], number) for seed in seeds]
            looks = workshop.run(_way_step(workshop, record, given, own, number))["looks"]
            arrays = synthetic.store.get_arrays(looks)["looks"]
            parts = "layout" in makes and "image" not in makes
            film = _looks(arrays, chosen, about, _parts_of(workshop, module, record) if parts else 0)
            found.append(Way(stage=record["name"], output="layout" if parts else "image", film=film))
        if "made" in record:  # what the next stage is given, as kept for looking at
            kept = synthetic.store.get_arrays(record["made"])
            given |= {
                name: array[places] if name == "layout" else array[places].astype(np.float32) / 255
                for name, array in kept.items()
            }
    return found


def _plan(table: pl.DataFrame, chosen: Sequence[Item], about: Mapping[str, Any]) -> pl.DataFrame:
    """The chosen items as the plan of the sample had them."""
    rows = []
    for item in chosen:
        row = table.row(item.rows[0], named=True)
        labels = table["label"].gather(item.rows).to_list()
        known = {name: row[name] for name in (*about["factors"], *about["numbers"])} | {"label": labels[-1]}
        rows.append(known | ({"track": labels} if len(labels) > 1 else {}))
    plan = pl.DataFrame(rows, infer_schema_length=None)
    same = "track" not in plan.columns or all(len(set(track)) == 1 for track in plan["track"].to_list())
    return plan.drop("track", strict=False) if same else plan


def _way_step(
    workshop: Workshop, record: Mapping[str, Any], given: Mapping[str, np.ndarray], seeds: Sequence[int], number: int
) -> Step:
    module, options = _module(record)
    arrays = {name: np.asarray(array) for name, array in given.items()}
    inputs = {"weights": record["weights"], "given": workshop.store.put_arrays(**arrays)}

    def run(context: Context) -> Outputs:
        looks = module.way(context.store, record["weights"], arrays, seeds, options, LOOKS)
        return {"looks": context.store.put_arrays(looks=viewer.eight_bits(np.asarray(looks)))}

    used = {"stage": record["name"], "options": record["options"], "seeds": [str(seed) for seed in seeds]}
    name = f"from noise {number + 1} {record['name']}"
    return Step(name, str(record["version"]), used | {"looks": LOOKS}, inputs, run, 0, len(seeds))


def _parts_of(workshop: Workshop, module: ModuleType, record: Mapping[str, Any]) -> int:
    """How many parts a stage's maps have, 0 where it does not say."""
    facts = module.facts(workshop.store, record["weights"]) if hasattr(module, "facts") else {}
    return int(facts.get("parts", 0))


def _looks(looks: Pixels, chosen: Sequence[Item], about: Mapping[str, Any], parts: int) -> Film:
    """Looks uint8 (looks, N, ...) as a film; of sequences and volumes their middle, of maps parts in false colours."""
    axis, length = about["form"][3:]
    flat = looks[:, :, length // 2] if axis else looks
    if parts > 1:
        flat = viewer.false_colours(np.rint(flat.astype(np.float64) / 255 * (parts - 1)).astype(np.int64))
    clips = [Clip(item.name, "synthetic", flat[:, n], [item.label] * len(flat)) for n, item in enumerate(chosen)]
    made = films.film(clips)
    assert made is not None  # there is at least one item
    return made


def _grid(synthetic: ImageSet) -> Grid | None:
    """A row for each class: pictures that share it and differ in their noise."""
    labels = sorted(set(synthetic.labels.tolist()))[:CLASSES]
    rows = [np.flatnonzero(synthetic.labels == label) for label in labels]
    each = min(GRID, *(len(found) for found in rows)) if len(rows) > 1 else min(GRID, len(rows[0]))
    made = gallery.tiles(synthetic, np.concatenate([found[:each] for found in rows]), 96)
    return Grid(sheet=viewer.sheet(made, each), rows=tuple(labels))


def _film(whole: Mapping[str, ImageSet], length: int) -> Film | None:
    """Synthetic sequences, and as many of held-out people."""
    found: dict[Role, list[Item]] = {}
    roles: tuple[tuple[Role, str], ...] = (("synthetic", "synthetic"), ("real", "holdout"))
    for name, role in roles:
        found[name] = one_of_each(items(whole[role], "time", length), TOGETHER) if role in whole else []
    clips = []
    for name, role in roles:
        for item in found[name]:
            frames = gallery.tiles(whole[role], item.rows, films.SIDES[0])
            labels = whole[role].labels[item.rows].tolist()
            clips.append(Clip(item.name if name == "synthetic" else "", name, frames, labels))
    return films.film(clips)


def _volumes(whole: Mapping[str, ImageSet], length: int) -> list[Volume]:
    """One synthetic volume and a held-out one of its class where there is one."""
    drawn = items(whole["synthetic"], "depth", length)[:1]
    held = items(whole["holdout"], "depth", length) if "holdout" in whole else []
    alike = [item for item in held if drawn and item.label == drawn[0].label] or held
    made = []
    shown: list[tuple[Role, str, Item]] = [("synthetic", "synthetic", item) for item in drawn]
    shown += [("real", "holdout", item) for item in alike[:1]]
    for name, role, item in shown:
        voxels = gallery.tiles(whole[role], item.rows, 2 * volumes.SIDES[0])
        grey = voxels if voxels.ndim == 3 else viewer.eight_bits(voxels.mean(-1) / 255)
        made.append(volumes.volume(grey, item.name if name == "synthetic" else "", item.label, name))
    return made


def _cells(workshop: Workshop, made: Made, synthetic: ImageSet, about: Mapping[str, Any]) -> list[Cells]:
    """Counts of items by class and each factor, of training and of the synthetic set."""
    axis, length = about["form"][3:]
    train = ImageSet.load(workshop.store, made["items"]["train"])
    found = []
    for factor, levels in about["factors"].items():
        counts = []
        for images in (train, synthetic):
            firsts = images.table[[item.rows[-1] for item in items(images, axis, length)]]
            known = dict.fromkeys(((c, level) for c in about["classes"] for level in levels), 0)
            pairs = zip(firsts["label"].to_list(), firsts[factor].cast(pl.String).to_list(), strict=True)
            for pair in pairs:
                known[pair] = known.get(pair, 0) + 1
            counts.append(tuple(tuple(known[c, level] for level in levels) for c in about["classes"]))
        found.append(
            Cells(
                factor=factor, classes=tuple(about["classes"]), levels=tuple(levels), real=counts[0],
                synthetic=counts[1],
            )
        )  # fmt: skip
    return found
