"""What the generator is told and asked for: exact numbers by class and level, gaps, tracks, items in order."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest

from chambit.core.errors import InputError
from chambit.core.recipe import Conditions, Fill, Sample
from chambit.core.seeds import seed as derive
from chambit.core.steps import Context
from chambit.images import imageset
from chambit.images.imageset import ImageSet
from chambit.pipeline import conditions, masking
from examinations import workplace

ABOUT: dict[str, Any] = {
    "classes": ["ill", "well"],
    "masked": ["ill"],
    "shares": {"ill": 0.25, "well": 0.75},
    "form": [4, 4, 1, "", 1],
    "factors": {"sex": ["F", "M"], "site": ["A", "B"]},
    "numbers": ["age"],
}


def seed(what: int | str) -> int:
    return derive(3, "sample", what)


@pytest.fixture
def context(tmp_path: Path) -> Iterator[Context]:
    with workplace(tmp_path) as made:
        yield made


@pytest.fixture
def train(context: Context) -> ImageSet:
    """40 items: a quarter ill, all of them of site A but one; every man is older than every woman."""
    labels = ["ill"] * 10 + ["well"] * 30
    sexes = ["F", "M"] * 20
    rows = {
        "id": [f"R{k}" for k in range(40)],
        "label": labels,
        "subject": [f"p{k}" for k in range(40)],
        "sex": sexes,
        "site": ["A"] * 9 + ["B"] + ["A"] * 15 + ["B"] * 15,
        "age": [str(70 + k / 10 if sex == "M" else 30 + k / 10) for k, sex in enumerate(sexes)],
    }
    pixels = np.random.default_rng(0).integers(0, 256, (40, 4, 4), np.uint8)
    block, digests = imageset.put_block(context.store, pixels)
    return ImageSet(context.store, pl.DataFrame(rows).with_columns(
        block=pl.lit(block), row=pl.int_range(40), sha256=pl.Series(digests)))  # fmt: skip


def test_classes_come_in_exact_numbers_and_the_rest_as_in_training(train: ImageSet) -> None:
    plan = conditions.wanted(300, Sample(images=300, shares={"ill": 0.5, "well": 0.5}), ABOUT, train, seed)
    assert Counter(plan["label"]) == {"ill": 150, "well": 150}
    men, women = (plan.filter(sex=sex)["age"].to_numpy() for sex in "MF")
    assert min(men) > max(women)  # joint, not each for itself
    rare = plan.filter(label="ill")["site"].eq("B").mean()
    assert 0.02 < rare < 0.25  # 1 of 10 in training
    assert plan["seed"].n_unique() == 300


def test_no_item_repeats_a_persons_numbers(train: ImageSet) -> None:
    plan = conditions.wanted(100, Sample(images=100), ABOUT, train, seed)
    people = [float(age) for age in train.table["age"]]
    assert plan["age"].is_in(people).mean() == 0
    assert plan["age"].is_between(min(people), max(people)).all()


def test_the_plan_of_a_programme_is_met_exactly_at_any_scale(train: ImageSet) -> None:
    sample = Sample.model_validate({"counts": {"site": {"A": 10_000, "B": 2_000}}, "scale": 0.01})
    assert sample.images == 120
    plan = conditions.wanted(sample.images, sample, ABOUT, train, seed)
    assert Counter(plan["site"]) == {"A": 100, "B": 20}
    ill = plan.filter(site="B")["label"].eq("ill").sum()
    assert ill == round(20 * 1 / 16)  # as many as among the training items of that level


def test_earlier_stages_are_asked_for_fewer_of_the_same_kind(train: ImageSet) -> None:
    sample = Sample.model_validate({"counts": {"site": {"A": 90, "B": 30}}})
    assert Counter(conditions.wanted(12, sample, ABOUT, train, seed)["site"]) == {"A": 9, "B": 3}


def test_every_cell_is_raised_to_the_quota(train: ImageSet) -> None:
    sample = Sample(images=40, fill=Fill(by=("site",), quota=15))
    plan = conditions.wanted(40, sample, ABOUT, train, seed)
    cells = Counter(plan.select("label", "site").rows())
    before = Counter(plan[:40].select("label", "site").rows())
    assert min(cells.values()) >= 15
    assert all(cells[cell] == max(15, before[cell]) for cell in cells)
    assert before["ill", "B"] < 15  # there was something to fill
    assert plan["seed"].n_unique() == len(plan)


def test_a_cell_nobody_was_in_takes_the_rest_from_its_class(train: ImageSet) -> None:
    empty = ImageSet(train.store, train.table.filter(~((pl.col("label") == "ill") & (pl.col("site") == "B"))))
    plan = conditions.wanted(20, Sample(images=20, fill=Fill(by=("site",), quota=5)), ABOUT, empty, seed)
    made = plan.filter(label="ill", site="B")
    assert len(made) == 5
    assert made["sex"].is_in(["F", "M"]).all()


@pytest.mark.parametrize(
    ("sample", "match"),
    [
        ({"shares": {"odd": 1.0}}, "no training image has the class 'odd'"),
        ({"counts": {"site": {"Z": 20}}}, "no training image has 'Z' in 'site'"),
        ({"counts": {"moon": {"full": 20}}}, "name 'moon' in recipe.conditions.factors"),
        ({"fill": {"by": ["moon"], "quota": 2}}, "'moon' is no factor of this recipe"),
    ],
)
def test_what_nobody_knows_cannot_be_asked_for(train: ImageSet, sample: dict[str, Any], match: str) -> None:
    with pytest.raises(InputError, match=match):
        conditions.wanted(20, Sample.model_validate(sample), ABOUT, train, seed)


def test_stages_are_given_indices_numbers_and_findings(train: ImageSet) -> None:
    plan = conditions.wanted(20, Sample(images=20), ABOUT, train, seed)
    given = conditions.given(plan, ABOUT)
    assert given["label"].tolist() == [ABOUT["classes"].index(label) for label in plan["label"]]
    assert (given["finding"] == (plan["label"] == "ill").to_numpy()).all()
    assert given["factors"][:, 1].tolist() == ["AB".index(site) for site in plan["site"]]
    assert given["vector"][:, 0] == pytest.approx(plan["age"].to_numpy(), rel=1e-6)


# --- sequences


def frames(context: Context, lengths: dict[str, int]) -> ImageSet:
    rows = [
        {"id": f"{name}-{k}", "subject": name[0], "label": "early" if k < 3 else "late", "series": name,
         "frame": str(k), "bits": 8}
        for name, length in lengths.items()
        for k in range(length)
    ]  # fmt: skip
    rows = [rows[k] for k in np.random.default_rng(1).permutation(len(rows))]
    pixels = np.random.default_rng(0).integers(0, 256, (len(rows), 4, 4), np.uint8)
    block, digests = imageset.put_block(context.store, pixels)
    table = pl.DataFrame(rows).with_columns(block=pl.lit(block), row=pl.int_range(len(rows)), sha256=pl.Series(digests))
    return ImageSet(context.store, table)


def test_frames_lie_in_their_order_and_short_sequences_are_left_out(context: Context) -> None:
    images, length = conditions.in_items(context, frames(context, {"a1": 12, "a2": 12, "b1": 12, "c1": 7}), "time")
    assert (length, len(images)) == (12, 36)
    assert images.table["series"].to_list() == [name for name in ("a1", "a2", "b1") for _ in range(12)]
    assert images.table["frame"].to_list() == [str(k) for k in range(12)] * 3


def test_frames_without_numbers_are_refused(context: Context) -> None:
    images = frames(context, {"a1": 3})
    with pytest.raises(InputError, match="no column 'frame'"):
        conditions.in_items(context, ImageSet(images.store, images.table.drop("frame")), "time")


def test_a_track_keeps_its_order_and_is_not_copied(context: Context) -> None:
    track = ["a"] * 5 + ["b"] * 8 + ["c"] * 7
    moved = [conditions.moved_track(track, np.random.default_rng(k)) for k in range(50)]
    assert all(one == sorted(one) and len(one) == 20 for one in moved)
    assert len({tuple(one) for one in moved}) > 10
    assert conditions.moved_track(["a"] * 4, np.random.default_rng(0)) == ["a"] * 4


def test_tracks_become_a_label_for_each_frame(context: Context) -> None:
    images, length = conditions.in_items(context, frames(context, {"a1": 12, "b1": 12}), "time")
    about = ABOUT | {"classes": ["early", "late"], "masked": [], "factors": {}, "numbers": [],
                     "shares": {"early": 0.25, "late": 0.75}, "form": [4, 4, 1, "time", length]}  # fmt: skip
    plan = conditions.wanted(10, Sample(images=10, shares={"late": 1.0}), about, images, seed)
    labels = conditions.given(plan, about)["label"]
    assert labels.shape == (10, 12)
    assert (np.diff(labels, axis=1) >= 0).all()
    assert plan["label"].unique().to_list() == ["late"]


@pytest.mark.parametrize("place", [True, False])
def test_where_the_finding_is_may_be_kept_from_the_generator(context: Context, train: ImageSet, place: bool) -> None:
    masks = np.zeros((40, 4, 4), np.uint8)
    masks[:10, 1:3, 1:3] = 1
    table = train.table.with_columns(bits=pl.lit(8))
    made = {
        "split": {"train": context.store.put_table(table)},
        "masks": {
            masking.FINDING.format("train"): context.store.put_json([context.store.put_arrays(masks=masks)]),
            masking.LAYOUT.format("train"): context.store.put_json(None),
        },
    }
    told = Conditions(factors=("sex",), place=place)
    study = SimpleNamespace(recipe=SimpleNamespace(conditions=told), seed=3)
    outputs = conditions.step(study, "", made).run(context)  # type: ignore[arg-type]
    about = context.store.get_json(outputs["about"])
    given = conditions.examples(ImageSet.load(context.store, outputs["train"]), about)
    assert about["masked"] == (["ill"] if place else [])
    assert (given.masks is not None) == place
    if given.masks is not None:
        assert np.array_equal(given.masks, masks.astype(bool))
    plan = conditions.wanted(10, Sample(images=10), about, ImageSet.load(context.store, outputs["train"]), seed)
    drawn = conditions.given(plan, about)["finding"]
    assert drawn.tolist() == [place and label == "ill" for label in plan["label"]]
    assert "ill" in plan["label"].to_list()
