"""Columns of the released table that the study declares: explained as long as they hold what was declared."""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from chambit.core.evidence import Finding, Verdict
from chambit.core.recipe import Conditions, Sample
from chambit.core.seeds import seed as derive
from chambit.core.steps import Context
from chambit.images.imageset import ImageSet
from chambit.pipeline import candidate, conditions, recording, released
from chambit.pipeline.released import Told, inspect
from chambit.review.verdict import judge
from examinations import POLICY, Cohort, depth, keep, workplace

TOLD = {"site": Told(frozenset({"A", "B"})), "age": Told(ends=(20.0, 90.0))}
RRN = "900101-1234568"  # invented; its check digit holds


@pytest.fixture
def context(tmp_path: Path) -> Iterator[Context]:
    with workplace(tmp_path / "work") as made:
        yield made


def people(context: Context, count: int = 24) -> ImageSet:
    """Real images with two sites and an age."""
    grey = np.random.default_rng(0).random((count, 16, 16))
    names = np.array([f"p{k}" for k in range(count)])
    images = keep(context.store, Cohort(depth(grey), names, np.array(["ill", "well"] * (count // 2))))
    table = images.table.with_columns(
        pl.Series("site", [("A", "B", "A")[k % 3] for k in range(count)]),
        pl.Series("age", [str(20 + 3 * k) for k in range(count)]),
        bits=8,
    )
    return ImageSet(context.store, table)


def drawn(context: Context, folder: Path) -> dict[str, Told]:
    """A candidate whose rows follow a plan of the people's conditions, and what recording says may stand in it."""
    train = people(context)
    about = conditions._about(train, "", 1, Conditions(factors=("site",), numbers=("age",)))
    plan = conditions.wanted(30, Sample(images=30), about, train, lambda what: derive(5, "sample", what))
    columns = [name for name in plan.columns if name != "rank"]
    grey, names = np.random.default_rng(1).random((30, 16, 16)), np.array([f"S{k}" for k in range(30)])
    made = keep(context.store, Cohort(depth(grey), names, plan["label"].to_numpy()), "S")
    candidate.write(folder, ImageSet(context.store, made.table.with_columns(plan[name] for name in columns)))
    store = context.store
    outputs = {"items": {"about": store.put_json(about), "train": store.put_table(train.table)}}
    return recording.told(store, outputs)


def rewritten(path: Path, **cells: str) -> None:
    """Write a table again with other values in its last row."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    rows[-1] |= cells
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def _fields(found: Finding) -> list[dict[str, Any]]:
    return found.details["fields"]  # type: ignore[return-value]


def test_what_a_study_declares_and_its_plan_draws_is_explained(context: Context, tmp_path: Path) -> None:
    told = drawn(context, tmp_path / "candidate")
    assert told == {"site": Told(frozenset({"A", "B"})), "age": Told(ends=(20.0, 89.0))}
    header = (tmp_path / "candidate" / "labels.csv").read_text("utf-8").splitlines()[0]
    assert {"site", "age"} <= set(header.split(","))
    before = inspect([tmp_path / "candidate"], (), [candidate.NOTICE])[1]
    assert {row["field"] for row in _fields(before)} == {"table column site", "table column age"}
    after = inspect([tmp_path / "candidate"], (), [candidate.NOTICE], told)[1]
    assert after.value == 0
    assert after.details["declared"] == {"site": "2 levels", "age": "numbers"}
    assert judge(after, POLICY).verdict is Verdict.PASS
    assert judge(before, POLICY).verdict is Verdict.CONDITIONAL


@pytest.mark.parametrize(
    ("cells", "field"),
    [
        ({"site": "C"}, "site"),
        ({"site": "hospital of Hong"}, "site"),
        ({"age": "19.9"}, "age"),
        ({"age": "inf"}, "age"),
        ({"age": "A"}, "age"),
    ],
)
def test_an_undeclared_value_in_a_declared_column_is_found(
    context: Context, tmp_path: Path, cells: dict[str, str], field: str
) -> None:
    folder = tmp_path / "candidate"
    told = drawn(context, folder)
    rewritten(folder / "labels.csv", **cells)
    found = inspect([folder], (), [candidate.NOTICE], told)[1]
    assert found.value == 1
    assert _fields(found) == [{"field": f"table column {field}", "kind": released.UNDECLARED, "files": 1}]
    assert judge(found, POLICY).verdict is Verdict.CONDITIONAL
    assert next(iter(cells.values())) not in found.model_dump_json() or cells == {"age": "A"}


def test_a_declared_level_is_searched_for_identifiers_like_any_text(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text(f"file,subject,label,site\na.png,S1,ill,{RRN}\n", encoding="utf-8")
    identifiers, unexplained = inspect([tmp_path], (), (), {"site": Told(frozenset({RRN}))})
    assert (identifiers.value, unexplained.value) == (1, 0)


def test_other_columns_and_rows_of_another_width_count_as_before(tmp_path: Path) -> None:
    table = tmp_path / "labels.csv"
    table.write_text("file,subject,label,site,note\na.png,S1,ill,A,x\n", encoding="utf-8")
    found = inspect([tmp_path], (), (), TOLD)[1]
    assert [row["field"] for row in _fields(found)] == ["table column note"]
    for row in ("a.png,S1,ill,A,more", "a.png,S1,ill"):
        table.write_text(f"file,subject,label,site\n{row}\n", encoding="utf-8")
        assert inspect([tmp_path], (), (), TOLD)[1].value == 1
    table.write_text("file,subject,label,site\na.png,S1,ill,\n", encoding="utf-8")
    assert inspect([tmp_path], (), (), TOLD)[1].value == 0  # a level that nobody knows says nothing


def test_frames_carry_their_sequence_and_number(context: Context, tmp_path: Path) -> None:
    images = people(context)
    table = images.table.with_columns(series=pl.lit("a"), frame=pl.Series([str(k % 12) for k in range(24)]))
    about = conditions._about(ImageSet(context.store, table), "time", 12, Conditions())
    store = context.store
    told = recording.told(store, {"items": {"about": store.put_json(about), "train": store.put_table(table)}})
    assert told["frame"].levels == frozenset(map(str, range(12)))
    labels = tmp_path / "labels.csv"
    labels.write_text("file,subject,label,series,frame\na.png,S1,ill,S1,11\n", encoding="utf-8")
    assert inspect([labels], (), (), told)[1].value == 0
    labels.write_text("file,subject,label,series,frame\na.png,S1,ill,S2,12\n", encoding="utf-8")
    assert inspect([labels], (), (), told)[1].value == 2
