"""Area outside the field of view: a planted abdomen is found where it is, and chests without one have none."""

from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from chambit.core.study import Study
from chambit.generate.refine import out_of_field
from chambit.generate.refine.out_of_field import Strip, find, margins
from chambit.phantoms import chest
from chambit.pipeline import refining
from examinations import POLICY, Cohort, depth, keep, workplace
from tinystudy import STUDY

SIDE = 64
RECIPE = {"recipe": {"train": {"flow": {}}, "refine": [{"out_of_field": {}}]}}
OPTIONS = out_of_field.Options.model_validate(POLICY.settings["out_of_field"])


def chests(count: int, seed: int) -> np.ndarray:
    visits = chest.visits(0, count, seed=seed)
    return (chest.render(visits, pixels=SIDE, seed=seed)[0][:count] / np.float32(4095)).astype(np.float32)


def with_abdomen(image: np.ndarray, below: float, beside: float, rng: np.random.Generator) -> np.ndarray:
    """What a wider field of view shows: a small chest, under it a trunk with spine and bowel gas, air beside it."""
    high, left = round(SIDE * (1 - below)), round(SIDE * beside)
    wide, rest = SIDE - 2 * left, SIDE - high
    small = ndimage.zoom(image, (high / SIDE, wide / SIDE), order=1, grid_mode=True, mode="nearest")
    out = np.zeros_like(image)
    out[:high, left : left + wide] = small
    y, x = np.mgrid[:rest, :wide]
    trunk = ndimage.gaussian_filter1d(small[-3:].mean(0), 2)[None].repeat(rest, 0)
    spine = 0.12 * np.exp(-(((x - wide / 2) / (0.04 * SIDE)) ** 2)) * (0.7 + 0.3 * np.sin(2 * np.pi * y / 4.5))
    gas = ndimage.gaussian_filter(rng.normal(size=(rest, wide)), 2)
    gas = np.clip(gas / gas.std() - 1, 0, None) * 0.12
    out[high:, left : left + wide] = np.clip(trunk + spine * (trunk > 0.05) - gas, 0, 1)
    return out


def outside(strips: list[Strip]) -> np.ndarray:
    """Pixels of strips, bool (SIDE, SIDE)."""
    area = np.zeros((SIDE, SIDE), bool)
    for strip in strips:
        area[strip.top : strip.bottom, strip.left : strip.right] = True
    return area


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    return float((one & other).sum() / (one | other).sum())


@pytest.fixture(scope="module")
def real() -> np.ndarray:
    return chests(90, 1)


@pytest.mark.parametrize(("below", "beside"), [(0.3, 0.0), (0.2, 0.0), (0.3, 0.15)])
def test_a_planted_abdomen_is_found_where_it_is(real: np.ndarray, below: float, beside: float) -> None:
    rng = np.random.default_rng(0)
    wide = np.stack([with_abdomen(image, below, beside, rng) for image in chests(40, 2)])
    truth = np.ones((SIDE, SIDE), bool)
    left = round(SIDE * beside)
    truth[: round(SIDE * (1 - below)), left : SIDE - left] = False
    strips = find(wide, real, OPTIONS)
    assert overlap(outside(strips), truth) >= 0.7
    assert strips[0].share > 0.9
    boxes = margins(wide, real.mean(0), OPTIONS)
    each = []
    for top, bottom, before, after in boxes * SIDE:
        area = np.ones((SIDE, SIDE), bool)
        area[round(top) : SIDE - round(bottom), round(before) : SIDE - round(after)] = False
        each.append(overlap(area, truth))
    assert np.mean(each) >= 0.7  # image by image, too


def test_chests_of_other_people_have_nothing_outside(real: np.ndarray) -> None:
    assert find(chests(40, 3), real, OPTIONS) == []


def test_an_abdomen_that_real_images_show_too_is_in_the_field(real: np.ndarray) -> None:
    rng = np.random.default_rng(1)
    both = [np.stack([with_abdomen(image, 0.3, 0.0, rng) for image in images]) for images in (chests(40, 2), real[:60])]
    assert find(*both, OPTIONS) == []


def test_an_abdomen_in_few_images_is_not_the_sets(real: np.ndarray) -> None:
    rng, some = np.random.default_rng(2), chests(40, 2)
    some[:8] = [with_abdomen(image, 0.3, 0.0, rng) for image in some[:8]]
    assert find(some, real, OPTIONS) == []
    (strip,) = find(some, real, OPTIONS.model_copy(update={"share": 0.15}))
    assert strip.share == pytest.approx(0.2, abs=0.06)


def test_images_are_brought_to_a_size_by_area() -> None:
    images = np.random.default_rng(0).random((2, 128, 96)).astype(np.float32)
    small = out_of_field._cut(images, np.zeros((2, 4)), 32)
    assert small == pytest.approx(images.reshape(2, 32, 4, 32, 3).mean((2, 4)), abs=1e-5)
    lower = out_of_field._cut(images, np.tile([0.5, 0.0, 0.0, 0.5], (2, 1)), 16)
    assert lower == pytest.approx(images[:, 64:, :48].reshape(2, 16, 4, 16, 3).mean((2, 4)), abs=1e-5)
    flat = margins(np.zeros((3, 40, 40), np.float32), np.zeros((40, 40)), OPTIONS)
    assert flat.tolist() == [[0.0] * 4] * 3


def test_a_recipe_that_names_the_detector_gets_its_report(real: np.ndarray, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    wide = np.stack([with_abdomen(image, 0.3, 0.0, rng) for image in chests(30, 2)])
    with workplace(tmp_path) as context:
        sets = [
            keep(context.store, Cohort(depth(images), np.arange(len(images)).astype(str), np.full(len(images), "a")))
            for images in (wide, real)
        ]
        (entry,) = refining.chain(Study.model_validate(STUDY | RECIPE), POLICY)
        assert refining.geometry([entry]) == []
        (report,) = refining._detected(entry["name"], *sets, entry["options"])
    assert (report["left"], report["right"], report["bottom"]) == (0, SIDE, SIDE)
    assert report["top"] == pytest.approx(45, abs=4)
