"""Colour, rivals, reduction: of coloured sets, of other generators' sets, of sets that are measured smaller."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from chambit.core.steps import Context
from chambit.generate.refine import reduce
from chambit.images import imageset
from chambit.images.imageset import ImageSet, luminance
from chambit.measure.embed import chroma
from chambit.measure.utility import colour, rivals
from chambit.pipeline import examining
from examinations import MARGIN, POLICY, SMALL, Cohort, examination, judged, keep, patients, workplace


@pytest.fixture
def context(tmp_path: Path) -> Iterator[Context]:
    with workplace(tmp_path) as made:
        yield made


# --- colour


def coloured(context: Context, count: int, seed: int, tint: tuple[float, float, float], prefix: str) -> ImageSet:
    """Patients' pictures in one tint, slightly different from patient to patient."""
    rng = np.random.default_rng(seed)
    grey = patients(count, seed, prefix).grey[..., None]
    own = np.array(tint) * (1 + 0.03 * rng.normal(size=(count, 1, 1, 3)))
    pixels = np.round(np.clip(grey * own, 0, 1) * 255).astype(np.uint8)
    block, digests = imageset.put_block(context.store, pixels)
    names = [f"{prefix}{k}" for k in range(count)]
    return ImageSet(context.store, pl.DataFrame({
        "id": names, "sha256": digests, "block": block, "row": range(count), "subject": names,
        "label": [("a", "b")[k % 2] for k in range(count)],
    }))  # fmt: skip


RED, ORANGE = (1.0, 0.5, 0.4), (1.0, 0.62, 0.4)


@pytest.mark.parametrize(("tint", "verdict"), [(RED, "PASS"), (ORANGE, "CONDITIONAL")])
def test_the_same_colours_pass_and_another_tint_does_not(
    context: Context, tint: tuple[float, float, float], verdict: str
) -> None:
    sets = {"train": coloured(context, 100, 1, RED, "t"), "holdout": coloured(context, 90, 2, RED, "h"),
            "synthetic": coloured(context, 120, 3, tint, "s")}  # fmt: skip
    exam = replace(examination(context, {}), sets=sets)
    result = colour.measure(exam, examining.options_of("colour", POLICY, MARGIN, SMALL["colour"]))
    assert judged(result)["colour.distance"].verdict == verdict


def test_a_set_measured_small_and_grey_is_measured_by_its_whole_images(context: Context) -> None:
    full = coloured(context, 10, 1, RED, "t")
    grey, digests = imageset.put_block(context.store, np.zeros((10, 4, 4), np.uint8))
    seen = ImageSet(
        context.store,
        full.table.with_columns(
            full_block="block", full_row="row", block=pl.lit(grey), row=pl.int_range(10), sha256=pl.Series(digests)
        ),
    )
    assert colour.whole(seen).shape == full.shape
    assert (colour.whole(seen).colour() == full.colour()).all()


def test_grey_sets_have_no_colour_to_report(context: Context) -> None:
    exam = examination(context, {"train": patients(20, 1), "holdout": patients(20, 2), "synthetic": patients(20, 3)})
    assert not colour.measure(exam, examining.options_of("colour", POLICY, MARGIN, SMALL["colour"])).findings


def test_chroma_knows_grey_from_red() -> None:
    images = np.zeros((2, 2, 2, 3), np.float32)
    images[0] = 0.3
    images[1, ..., 0] = 1
    features = chroma.features(images)
    assert features.shape == (2, 128)
    assert features.reshape(2, 2, 64).sum(2) == pytest.approx(1)
    assert features[0].nonzero()[0].tolist() == [32, 96]  # both differences 0: the middle
    assert features[1, 64:].argmax() == 63  # Cr at its largest
    assert chroma.features(images[0, None, ..., 0])[0].tolist() == features[0].tolist()


def test_the_distance_is_how_far_colour_must_be_moved() -> None:
    one, other = np.zeros((1, 128)), np.zeros((1, 128))
    one[0, [10, 64 + 20]] = 1
    other[0, [14, 64 + 20]] = 1
    assert colour.distance(one, other) == pytest.approx((4 / 64 + 0) / 2)


# --- reduction


def test_reduction_averages_over_areas_also_where_they_are_no_whole_pixels() -> None:
    pixels = np.zeros((1, 6, 6), np.uint8)
    pixels[0, :3] = 200
    small = reduce.apply(pixels, reduce.Options(pixels=8))
    assert small is pixels  # never enlarged
    rng = np.random.default_rng(0)
    many = rng.integers(0, 256, (2, 30, 20, 3), np.uint8)
    half = reduce.apply(many, reduce.Options(pixels=15))
    assert half.shape == (2, 15, 10, 3)
    assert half.astype(float) == pytest.approx(many.reshape(2, 15, 2, 10, 2, 3).mean((2, 4)), abs=0.51)
    odd = reduce.apply(many[..., 0], reduce.Options(pixels=13))
    assert odd.shape == (2, 13, 9)
    assert odd.mean() == pytest.approx(many[..., 0].mean(), abs=0.6)


def test_reduction_to_grey_is_the_luminance() -> None:
    many = np.random.default_rng(1).integers(0, 256, (2, 8, 8, 3), np.uint8)
    grey = reduce.apply(many, reduce.Options(pixels=8, grey=True))
    assert grey.tolist() == np.rint(luminance(many)).astype(np.uint8).tolist()


# --- rivals


def task(count: int, seed: int, prefix: str, *, signal: float) -> Cohort:
    """Two classes told apart by a bright patch of this height, in noise."""
    made = patients(count, seed, prefix)
    grey = made.grey.copy()
    grey[made.labels == "b", 10:16, 10:16] += signal
    return made.of(grey)


def rivalled(context: Context, own: Cohort, other: Cohort, **changes: int) -> dict[str, Any]:
    given = {"train": task(120, 1, "t", signal=0.25), "test": task(120, 2, "v", signal=0.25), "synthetic": own}
    exam = replace(examination(context, given), rivals={"other": keep(context.store, other, "r")})
    options = examining.options_of("rivals", POLICY, MARGIN, SMALL["rivals"] | {"steps": 60, "seeds": 2} | changes)
    return judged(rivals.measure(exam, options))


def test_a_rival_whose_labels_mean_something_beats_a_set_whose_labels_do_not(context: Context) -> None:
    good, blind = task(150, 3, "s", signal=0.25), task(150, 4, "r", signal=0.0)
    found = rivalled(context, blind, good)["rivals.advantage"]
    assert found.value < -0.2
    assert found.verdict == "CONDITIONAL"
    rows = {row["set"]: row for row in found.details["rows"]}
    assert rows["other"]["label_fidelity"] > 0.9 > 0.7 > rows["synthetic"]["label_fidelity"]
    assert rows["real"]["value"] > 0.9


def test_equal_sets_are_no_worse_than_each_other_and_are_compared_at_one_size(context: Context) -> None:
    found = rivalled(context, task(150, 3, "s", signal=0.25), task(90, 4, "r", signal=0.25))["rivals.advantage"]
    assert found.verdict == "PASS"
    assert found.n["training images"] == 90
    assert abs(found.value) < 0.1


def test_without_rivals_there_is_nothing_to_say(context: Context) -> None:
    exam = examination(context, {"train": patients(20, 1), "synthetic": patients(20, 3)})
    assert not rivals.measure(exam, examining.options_of("rivals", POLICY, MARGIN, SMALL["rivals"])).findings
