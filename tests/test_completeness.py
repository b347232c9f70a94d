"""Cases with every view, and training sets without a single real image."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from chambit.core.evidence import Evidence
from chambit.core.steps import Context
from chambit.images.imageset import ImageSet
from chambit.measure.examination import Examination
from chambit.measure.utility import completeness, downstream
from chambit.phantoms import chest
from chambit.report import wording
from examinations import Cohort, examination, judged, keep, patients, workplace

VIEWS = ("front", "left", "lower", "right", "upper")


@pytest.fixture
def context(tmp_path: Path) -> Iterator[Context]:
    with workplace(tmp_path) as made:
        yield made


# --- completeness


def case_set(context: Context, rows: list[tuple[str, str]], column: str = "view") -> ImageSet:
    """An image for each (subject, view)."""
    subjects, views = (np.array(part) for part in zip(*rows, strict=True))
    pixels = np.random.default_rng(0).integers(0, 255, (len(rows), 4, 4), np.uint8)
    images = keep(context.store, Cohort(pixels, subjects, np.full(len(rows), "a")))
    return ImageSet(context.store, images.table.with_columns(pl.Series(column, views)))


def records(prefix: str, count: int, without: tuple[str, ...] = ()) -> list[tuple[str, str]]:
    return [(f"{prefix}{k}", view) for k in range(count) for view in VIEWS if view not in without]


def found(context: Context, real: list[tuple[str, str]], made: ImageSet) -> dict[str, Evidence]:
    exam = Examination({"train": case_set(context, real), "synthetic": made}, context)
    return judged(completeness.measure(exam, completeness.Options()))


def test_whole_cases_pass_and_a_missing_view_is_listed(context: Context) -> None:
    real = records("r", 18) + records("x", 2, without=("upper",))
    whole = found(context, real, case_set(context, records("S", 12)))["completeness.cases"]
    assert (whole.value, str(whole.verdict)) == (1, "PASS")
    assert whole.interval.low == pytest.approx(0.025 ** (1 / 12))  # type: ignore[union-attr]
    assert whole.details["missing_in_real"] == {"front": 0, "left": 0, "lower": 0, "right": 0, "upper": 2}
    made = records("S", 9) + records("T", 2, without=("left",)) + records("U", 1, without=("left", "lower"))
    item = found(context, real, case_set(context, made))["completeness.cases"]
    assert (item.value, str(item.verdict)) == (0.75, "CONDITIONAL")
    assert item.details["missing"] == {"front": 0, "left": 3, "lower": 1, "right": 0, "upper": 0}
    assert item.details["listed"] == [
        {"case": "T0", "missing": ["left"]},
        {"case": "T1", "missing": ["left"]},
        {"case": "U0", "missing": ["left", "lower"]},
    ]
    assert "x0" not in item.model_dump_json()  # of real people only counts are told
    for text in (wording.sentence(item), wording.sentence(whole), wording.reads_of(item.key)):
        assert all("{" not in part and "—" not in part for part in text)


def test_the_column_case_says_what_belongs_together(context: Context) -> None:
    real, single = records("r", 10), [(f"S{k}", VIEWS[k % 5]) for k in range(20)]
    alone = case_set(context, single)
    assert found(context, real, alone)["completeness.cases"].value == 0
    grouped = ImageSet(context.store, alone.table.with_columns(case=pl.Series([f"C{k // 5}" for k in range(20)])))
    assert found(context, real, grouped)["completeness.cases"].value == 1


def test_people_who_come_with_one_view_or_another_are_no_record_of_views(context: Context) -> None:
    visits = chest.visits(0, 200, seed=3)
    real = [(visit.subject, visit.view) for visit in visits]
    assert len({view for _, view in real}) > 1
    assert found(context, real, case_set(context, [("S1", real[0][1])])) == {}
    other = case_set(context, records("S", 3), column="laterality")
    assert found(context, records("r", 5), other) == {}
    assert found(context, [(f"r{k}", "front") for k in range(5)], case_set(context, [("S", "front")])) == {}


# --- trained on synthetic images only


def test_a_real_image_among_the_synthetic_ones_is_found_by_its_digest(context: Context) -> None:
    given = {role: patients(20, k, role[0]) for k, role in enumerate(("train", "holdout", "test"))}
    made = patients(30, 9, "s")
    clean = judged_real(examination(context, given | {"synthetic": made}))
    assert (clean.value, str(clean.verdict)) == (0, "PASS")
    assert clean.n == {"training images (synthetic)": 30, "real images": 60}
    assert "None of the 30 images" in wording.sentence(clean).en
    pixels = made.pixels.copy()
    pixels[3], pixels[7] = given["train"].pixels[5], given["test"].pixels[0]
    mixed = judged_real(examination(context, given | {"synthetic": made._replace(pixels=pixels)}))
    assert (mixed.value, str(mixed.verdict)) == (2, "FAIL")
    assert mixed.details["of"] == {"train": 1, "holdout": 0, "test": 1}
    deep = made._replace(pixels=pixels.astype(np.uint16) * np.uint16(257))
    assert judged_real(examination(context, given | {"synthetic": deep})).value == 2  # the same picture at 16 bits
    altered = pixels.copy()
    altered[[3, 7], 0, 0] ^= 1
    assert judged_real(examination(context, given | {"synthetic": made._replace(pixels=altered)})).value == 0


def judged_real(exam: Examination) -> Evidence:
    result = downstream.Result((downstream._real_images(exam, f"downstream@{downstream.version}"),))
    return judged(result)["downstream.real_images"]
