"""Draw more items with the stages of a finished run: to fill thin cells, or to steer what the generator is told.

What is drawn here was not examined by anything: it lies in a folder of its own, with a file that says so, and can be
released only as the set of a study that went through the gate (`recipe.sample.fill` puts filled cells into such a set).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from chambit.core import digest, offline
from chambit.core.errors import InputError, Problem
from chambit.core.ledger import Ledger
from chambit.core.recipe import Fill, Sample
from chambit.core.steps import Context, Listener, Outputs, Step, Workshop
from chambit.core.store import write_atomically
from chambit.images.imageset import ImageSet
from chambit.pipeline import candidate, chain, conditions, drawing, refining
from chambit.pipeline.study import WORK, Ready, engine_of, planned

NOTICE = "NOT-EXAMINED.txt"
TEXT = (
    "이 폴더의 영상은 심사를 거치지 않았습니다.\n"
    "반출하려면 study 파일의 recipe.sample 에 넣어 chambit run 으로 평가하십시오.\n"
    "The images of this folder were not examined. To release such images, put them into recipe.sample of a study\n"
    "and let chambit run measure them.\n"
)


class Asked(NamedTuple):
    """What is to be drawn.

    Attributes:
        images: how many items, before gaps are filled; None draws only what fills them.
        label: of which class; "" follows the training shares.
        style: factor or number -> the value every item gets.
        fill: raise the cells of the released set; None leaves them.
    """

    images: int | None = None
    label: str = ""
    style: Mapping[str, str] = {}
    fill: Fill | None = None


class Drawn(NamedTuple):
    """What was drawn: the folder, how many items, and for each cell that was raised the count before and after."""

    folder: Path
    items: int
    raised: list[tuple[str, int, int]]


def draw(ready: Ready, out: Path, into: Path, asked: Asked, tell: Listener) -> Drawn:
    """Draw into a new folder.

    Args:
        ready: the study.
        out: its output folder, where the run is finished.
        into: where the images go; must not exist.
        asked: what is to be drawn.
        tell: is told of progress.

    Raises:
        InputError: where nothing was trained yet, the folder exists, or what is asked for is not known.
    """
    offline.guard()
    if into.exists():
        raise InputError("Nothing was drawn.", [Problem(str(into), "exists", "give the name of a new folder")])
    made = _trained(ready, out)
    workshop = Workshop.at(out / WORK, engine_of(ready.study.run), tell)
    try:
        store = workshop.store
        about, train = store.get_json(made["items"]["about"]), ImageSet.load(store, made["items"]["train"])
        released = store.get_table(made["sample"]["images"])
        fill = asked.fill
        request = {"images": asked.images, "label": asked.label, "style": dict(asked.style),
                   "fill": fill.model_dump(mode="json") if fill else None}  # fmt: skip
        stages = chain.trained(ready.study, made)

        def run(context: Context) -> Outputs:
            # another request draws other images, under other names than the released ones
            name = f"M{digest.of_json(request)[:6]}-"

            def seed(what: int | str) -> int:
                return context.seed(f"{name}{what}")

            plan = _plan(ready.study.recipe.sample, asked, about, train, released, seed)
            table = drawing.drawn(context, stages, about, plan, 0, name)
            images = ImageSet(store, table)
            operations = refining.geometry(refining.chain(ready.study, ready.policy))
            return {"images": store.put_table(refining.applied(context, images, "more", operations).table)}

        inputs = {
            "train": made["items"]["train"],
            "about": made["items"]["about"],
            "released": made["sample"]["images"],
        }
        inputs |= {f"stage {number + 1}": entry["weights"] for number, entry in enumerate(stages)}
        outputs = workshop.run(Step("more", "1", request, inputs, run, ready.study.seed))
        images = ImageSet.load(store, outputs["images"])
        candidate.write(into, images)
        write_atomically(into / NOTICE, TEXT.encode())
        items = images.table["subject"].n_unique()
        return Drawn(into, items, _raised(released, images.table, fill, about) if fill else [])
    finally:
        workshop.close()


def _trained(ready: Ready, out: Path) -> dict[str, Outputs]:
    """Outputs of the run's steps up to the drawing."""
    work = out / WORK
    lacking = InputError(
        "There is nothing to draw with.",
        [Problem(str(out), "holds no finished training of this study", f"train first: chambit run {ready.file}")],
    )
    if not work.is_dir():
        raise lacking
    ledger = Ledger.beside(work)
    made: dict[str, Outputs] = {}
    try:
        for entry in planned(ready, out):
            if (outputs := ledger.outputs(entry.build(made).digest)) is None:
                raise lacking
            made[entry.name] = outputs
            if entry.name == "sample":
                break
    finally:
        ledger.close()
    return made


def _plan(
    sample: Sample,
    asked: Asked,
    about: Mapping[str, Any],
    train: ImageSet,
    released: pl.DataFrame,
    seed: conditions.Seeds,
) -> pl.DataFrame:
    known = conditions.training_items(about, train)
    parts = []
    if asked.images:
        shares = {asked.label: 1.0} if asked.label else sample.shares
        base = Sample(images=max(10, asked.images), shares=shares)
        parts.append(conditions.wanted(asked.images, base, about, train, seed).drop("seed", "rank"))
    if asked.fill is not None:
        there = released.unique("subject", keep="last", maintain_order=True)
        request = sample.model_copy(update={"fill": asked.fill})
        parts.append(conditions.missing(there.select("label", *asked.fill.by), request, about, known, seed))
    plan = pl.concat(parts, how="diagonal_relaxed")
    if not len(plan):
        raise InputError("Nothing is to be drawn.", [Problem("cells", "all have the quota", "ask for a larger quota")])
    plan = _styled(plan, asked.style, about)
    return conditions.numbered(plan, [seed(k) for k in range(len(plan))])


def _styled(plan: pl.DataFrame, style: Mapping[str, str], about: Mapping[str, Any]) -> pl.DataFrame:
    for name, value in style.items():
        if name in about["factors"] and value in about["factors"][name]:
            plan = plan.with_columns(pl.lit(value).alias(name))
        elif name in about["numbers"]:
            try:
                plan = plan.with_columns(pl.lit(float(value)).alias(name))
            except ValueError:
                raise InputError("The style cannot be set.", [Problem(f"{name}={value}", "is no number")]) from None
        else:
            levels = about["factors"].get(name)
            there = ", ".join(levels or [*about["factors"], *about["numbers"]]) or "none: recipe.conditions is empty"
            problem = Problem(f"{name}={value}", "is not known", f"there is: {there}")
            raise InputError("The style cannot be set.", [problem])
    return plan


def _raised(
    before: pl.DataFrame, after: pl.DataFrame, fill: Fill, about: Mapping[str, Any]
) -> list[tuple[str, int, int]]:
    """Cells by name with their number of items in the released set, and with what was drawn now."""
    keys = ["label", *fill.by]
    counts = [
        {row[:-1]: row[-1] for row in table.unique("subject", keep="last").group_by(keys).len().rows()}
        for table in (before, after)
    ]
    cells = sorted(set(counts[0]) | set(counts[1]))
    return [
        (" / ".join(map(str, cell)), counts[0].get(cell, 0), counts[0].get(cell, 0) + counts[1].get(cell, 0))
        for cell in cells
        if cell in counts[1]
    ]


def quota_of(ready: Ready, out: Path, by: tuple[str, ...]) -> Fill:
    """The cells of these factors (those of the recipe, if none are named) raised to the median cell of training."""
    made = _trained(ready, out)
    work = out / WORK
    workshop = Workshop.at(work, engine_of(ready.study.run.model_copy(update={"engine": "inline"})), lambda _: None)
    try:
        about = workshop.store.get_json(made["items"]["about"])
        train = ImageSet.load(workshop.store, made["items"]["train"])
    finally:
        workshop.close()
    factors = by or tuple(about["factors"])
    if not factors or any(name not in about["factors"] for name in factors):
        there = ", ".join(about["factors"]) or "none: name them in recipe.conditions.factors"
        problem = Problem(", ".join(by) or "--by", "names no factor", f"there is: {there}")
        raise InputError("The cells are not known.", [problem])
    counts = conditions.training_items(about, train).group_by("label", *factors).len()["len"]
    return Fill(by=factors, quota=int(np.median(counts.to_numpy())))
