"""Resolution: sharpness, drift and structure of enlarged images, and the pipeline's step that keeps them."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest

from chambit.core import extensions
from chambit.core.evidence import Evidence
from chambit.core.recipe import Recipe
from chambit.core.steps import Context
from chambit.generate.items import Ports
from chambit.images.imageset import ImageSet
from chambit.measure.utility import resolution
from chambit.pipeline import chain, enlarging, examining
from chambit.report import wording
from examinations import MARGIN, POLICY, SMALL, Cohort, depth, examination, fields, judged, keep, workplace

SCALE, SIDE, COUNT = 4, 64, 24


@pytest.fixture
def context(tmp_path: Path) -> Iterator[Context]:
    with workplace(tmp_path) as made:
        yield made


def sharp(seed: int, count: int = COUNT) -> np.ndarray:
    """Real images uint8 (count, SIDE, SIDE) with coarse and fine structure."""
    rng = np.random.default_rng(seed)
    return depth(0.5 + 0.14 * fields(count, rng, SIDE, 6.0) + 0.05 * fields(count, rng, SIDE, 0.8))


def kept(context: Context, pixels: np.ndarray, prefix: str) -> ImageSet:
    names = np.array([f"{prefix}{k}" for k in range(len(pixels))])
    return keep(context.store, Cohort(pixels, names, np.full(len(pixels), "a")), prefix)


def small_of(pixels: np.ndarray) -> np.ndarray:
    return enlarging.averaged(pixels, SCALE)


def bicubic(small: np.ndarray) -> np.ndarray:
    return np.stack([resolution.cubic(one, SCALE) for one in small])


def noisy(small: np.ndarray) -> np.ndarray:
    """An enlargement that invents coarse and fine structure."""
    rng = np.random.default_rng(9)
    made = bicubic(small) / 255 + 0.08 * fields(len(small), rng, SIDE, 3.0) + 0.2 * fields(len(small), rng, SIDE, 0.6)
    return depth(made)


def found(
    context: Context, by: Callable[[np.ndarray], np.ndarray], truth: bool = False, count: int = COUNT
) -> dict[str, Evidence]:
    """What is found where a stage enlarges by this rule, or (`truth`) brings back exactly what there was."""
    drawn, real = sharp(1, count), sharp(2, count)
    large, again = (drawn, real) if truth else (by(small_of(drawn)), by(small_of(real)))
    sets = {"small": small_of(drawn), "large": large, "real": real, "again": again}
    exam = replace(examination(context, {}), enlarged={name: kept(context, one, name) for name, one in sets.items()})
    options = examining.options_of("resolution", POLICY, MARGIN, SMALL["resolution"])
    return judged(resolution.measure(exam, options))


def test_a_stage_that_brings_back_the_truth_passes(context: Context) -> None:
    got = found(context, bicubic, truth=True)
    assert list(got) == ["resolution.sharpness", "resolution.drift", "resolution.structure"]
    assert {str(one.verdict) for one in got.values()} == {"PASS"}
    assert got["resolution.sharpness"].value == pytest.approx(1, abs=0.1)
    assert got["resolution.sharpness"].details["stage_alone"] == pytest.approx(1)
    assert got["resolution.drift"].value < 0  # type: ignore[operator]
    assert got["resolution.drift"].details["made"] == pytest.approx(0, abs=0.5 / 255)
    assert got["resolution.structure"].details["made"] == pytest.approx(1, abs=1e-4)
    assert (
        got["resolution.sharpness"].details | {"from": "16 x 16", "to": "64 x 64"}
        == got["resolution.sharpness"].details
    )


def test_bicubic_interpolation_is_the_null_and_soft(context: Context) -> None:
    got = found(context, bicubic)
    assert got["resolution.drift"].value == got["resolution.structure"].value == 0
    soft = got["resolution.sharpness"]
    assert soft.verdict == "CONDITIONAL"
    assert soft.value < 0.3  # type: ignore[operator]
    assert soft.value == pytest.approx(soft.details["bicubic"])
    assert all(one.control is not None and one.control.fired for one in got.values())


def test_invented_structure_is_found(context: Context) -> None:
    got = found(context, noisy)
    assert {str(one.verdict) for one in got.values()} == {"CONDITIONAL"}
    assert got["resolution.sharpness"].value > 2  # type: ignore[operator]
    assert got["resolution.drift"].interval.low > 0  # type: ignore[union-attr]
    assert got["resolution.structure"].interval.high < 0  # type: ignore[union-attr]


def test_every_number_has_words_in_both_languages(context: Context) -> None:
    for item in found(context, noisy).values():
        for text in (wording.sentence(item), wording.reads_of(item.key), wording.name_of(item.key)):
            assert all(part and "{" not in part and "—" not in part for part in text), text


def test_what_is_not_there_is_not_measured(context: Context) -> None:
    options = examining.options_of("resolution", POLICY, MARGIN, SMALL["resolution"])
    assert resolution.measure(examination(context, {}), options).findings == ()
    assert {str(one.verdict) for one in found(context, bicubic, count=19).values()} == {"NOT_RUN"}
    pair = {name: kept(context, pixels, name) for name, pixels in (("small", small_of(sharp(1))), ("large", sharp(1)))}
    alone = judged(resolution.measure(replace(examination(context, {}), enlarged=pair), options))
    assert [str(alone[f"resolution.{name}"].verdict) for name in resolution.QUANTITIES] == [
        "NOT_RUN",
        "PASS",
        "NOT_RUN",
    ]


def test_flat_pictures_have_nothing_fine_and_a_chessboard_has() -> None:
    board = np.indices((64, 64)).sum(0) % 2 * np.uint8(255)
    assert resolution.finer(np.full((64, 64), 90, np.uint8), 4) == (resolution.FLOOR, 0.0)
    assert resolution.finer(board, 4)[0] == pytest.approx(
        0.5, rel=0.01
    )  # a wave of amplitude 0.5 at the highest frequency
    slow = np.uint8(127 + 100 * np.sin(2 * np.pi * np.arange(64) / 32))[None].repeat(64, 0)  # type: ignore[call-overload]
    assert resolution.finer(slow, 4)[0] < 0.01  # below the input's Nyquist frequency


# --- the step


class Enlarger:
    """Stands in for `extensions.load`: a stage that enlarges by repetition and keeps what it is asked."""

    def __init__(self, needs: tuple[str, ...] = ("image",)) -> None:
        self.asked: list[np.ndarray] = []
        self.needs = needs

    def __call__(self, package: str, name: str) -> SimpleNamespace:
        def sample(store: Any, weights: str, given: Any, seeds: Any, options: Any) -> dict[str, np.ndarray]:
            self.asked.append(given["image"])
            return {"image": given["image"].repeat(SCALE, 1).repeat(SCALE, 2)}

        return SimpleNamespace(
            Options=Recipe, ports=lambda _: Ports(needs=self.needs), sample=sample, version="1", __name__=name
        )


ENTRY = {"name": "esrgan", "version": "1", "weights": "w", "resolved": {"train": [{"flow": {}}]}}


def lineage(context: Context, *arrays: np.ndarray | None) -> str:
    """The record of a chunk whose stages made these images; None is a stage that made none."""
    store = context.store
    blobs = [store.put_arrays(**({"image": one} if one is not None else {"layout": np.zeros((1, 2, 2), np.uint8)}))
             for one in arrays]  # fmt: skip
    return store.put_json([{"name": f"s{k}", "made": blob} for k, blob in enumerate(blobs)])


def outputs(context: Context, monkeypatch: pytest.MonkeyPatch, record: str, real: np.ndarray, load: Enlarger) -> Any:
    """What the step makes of a set of 24 items with this record, and of these real images."""
    drawn = kept(context, sharp(1), "S")
    table = drawn.table.with_columns(lineage=pl.lit(record), item=pl.int_range(COUNT))
    held = kept(context, real, "h")
    made = {"sample": {"images": context.store.put_table(table)},
            "split": {"holdout": context.store.put_table(held.table)}}  # fmt: skip
    monkeypatch.setattr(chain, "trained", lambda study, made: [ENTRY] * 3)
    monkeypatch.setattr(extensions, "load", load)
    return enlarging._enlarged(SimpleNamespace(seed=3), made).run(context)  # type: ignore[arg-type]


def test_the_step_keeps_both_sizes_and_enlarges_real_images_again(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    large, load = sharp(1), Enlarger()
    record = lineage(context, None, small_of(large), large)
    got = outputs(context, monkeypatch, record, sharp(2), load)
    assert list(got) == ["small", "large", "real", "again"]
    sets = {name: ImageSet.load(context.store, key) for name, key in got.items()}
    assert np.array_equal(np.stack(resolution._each(sets["large"])), large)
    assert np.array_equal(np.stack(resolution._each(sets["small"])), small_of(large))
    real, again = (np.stack(resolution._each(sets[name])) for name in ("real", "again"))
    assert np.array_equal(again[:, ::SCALE, ::SCALE], small_of(real))
    assert np.concatenate(load.asked).shape == (COUNT, 16, 16)


def test_real_images_of_another_size_are_averaged_or_left_out(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = sharp(1)
    record = lineage(context, small_of(large), large)
    twice = large.repeat(2, 1).repeat(2, 2).astype(np.uint16) * np.uint16(257)
    got = outputs(context, monkeypatch, record, twice, Enlarger())
    assert np.array_equal(np.stack(resolution._each(ImageSet.load(context.store, got["real"]))), large)
    odd = outputs(context, monkeypatch, record, large[:, :50, :50], Enlarger())
    assert list(odd) == ["small", "large"]
    more = outputs(context, monkeypatch, record, large, Enlarger(needs=("image", "layout")))
    assert list(more) == ["small", "large", "real"]


def test_a_chain_that_enlarges_nothing_has_nothing_to_keep(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    large = sharp(1)
    assert list(outputs(context, monkeypatch, lineage(context, large, large), large, Enlarger())) == ["none"]
    read = context.store.get_json
    assert enlarging.enlargement(context.store, read(lineage(context, None, large))) is None
    last = read(lineage(context, small_of(large), large, large))
    assert enlarging.enlargement(context.store, last) == enlarging.Pair(0, 1, SCALE)
