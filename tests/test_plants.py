"""Planted copies: each kind changes what it says and nothing else."""

import numpy as np
import pytest

from chambit.measure.plants import FAMILIES, plant
from examinations import POLICY, patients

SQUARE = patients(6, 1).grey
WIDE = patients(6, 2).grey[:, :20]
COMPULSORY = POLICY.settings["copies"]["compulsory"]


def _planted(images: np.ndarray, family: str, seed: int = 0) -> np.ndarray:
    return plant(images, family, np.random.default_rng(seed))


@pytest.mark.parametrize(
    "images", [SQUARE, WIDE, np.zeros_like(SQUARE), np.ones_like(SQUARE)], ids=["square", "wide", "black", "white"]
)
@pytest.mark.parametrize("family", FAMILIES)
def test_shape_range_and_kind_of_number_are_kept(images: np.ndarray, family: str) -> None:
    before = images.copy()
    made = _planted(images, family)
    assert made.shape == images.shape
    assert made.dtype == np.float32
    assert made.min() >= 0
    assert made.max() <= 1
    assert np.array_equal(images, before)


@pytest.mark.parametrize("family", FAMILIES)
def test_all_but_the_exact_copy_are_changed_and_still_like_the_original(family: str) -> None:
    for original, made in zip(SQUARE, _planted(SQUARE, family), strict=True):
        if family == "exact":
            assert np.array_equal(made, original)
            continue
        assert np.abs(made - original).max() > 1 / 255
        # in its best turn each is nearer to its original than to anybody else
        turns = [np.rot90(flip, k) for flip in (made, made[:, ::-1]) for k in range(4)]
        best = [max(np.corrcoef(turn.ravel(), other.ravel())[0, 1] for turn in turns) for other in SQUARE]
        assert max(best) == max(np.corrcoef(turn.ravel(), original.ravel())[0, 1] for turn in turns)
        assert max(best) > 0.4


def test_the_families_differ_from_each_other() -> None:
    made = {family: _planted(SQUARE, family) for family in FAMILIES}
    names = list(made)
    same = [(one, two) for k, one in enumerate(names) for two in names[k + 1 :] if np.array_equal(made[one], made[two])]
    assert same == []


def test_the_turns_are_the_turns() -> None:
    assert np.array_equal(_planted(SQUARE, "mirror"), SQUARE[:, :, ::-1])
    assert np.array_equal(_planted(SQUARE, "upside_down"), SQUARE[:, ::-1])
    assert _planted(SQUARE, "turn90") == pytest.approx(np.rot90(SQUARE, 1, (1, 2)), abs=1e-6)
    assert _planted(SQUARE, "turn180") == pytest.approx(np.rot90(SQUARE, 2, (1, 2)), abs=1e-6)


def test_the_gammas_the_noise_and_the_shift_are_as_large_as_they_say() -> None:
    assert _planted(SQUARE, "gamma_dark") == pytest.approx(SQUARE**1.7, abs=1e-6)
    assert _planted(SQUARE, "gamma_bright") == pytest.approx(SQUARE**0.6, abs=1e-6)
    grey = np.full((4, 64, 64), 0.5, np.float32)
    assert _planted(grey, "noise5").std() == pytest.approx(0.05, rel=0.05)
    assert _planted(grey, "noise15").std() == pytest.approx(0.15, rel=0.05)
    point = np.zeros((1, 40, 40), np.float32)
    point[0, 10, 10] = 1
    assert np.unravel_index(_planted(point, "shift5")[0].argmax(), (40, 40)) == (12, 12)


def test_stronger_kinds_are_further_away() -> None:
    def distance(family: str) -> float:
        return float(np.abs(_planted(SQUARE, family) - SQUARE).mean())

    assert distance("jpeg50") < distance("jpeg10")
    assert distance("noise5") < distance("noise15")


def test_each_draw_is_its_generators() -> None:
    assert np.array_equal(_planted(SQUARE, "noise5", 3), _planted(SQUARE, "noise5", 3))
    assert not np.array_equal(_planted(SQUARE, "noise5", 3), _planted(SQUARE, "noise5", 4))


def test_what_the_policy_asks_for_can_be_planted() -> None:
    assert set(COMPULSORY) <= set(FAMILIES)
    assert len(COMPULSORY) == len(set(COMPULSORY)) >= 10
    assert all(family.name == name for name, family in FAMILIES.items())
    assert not set(POLICY.settings["copies"]["not_planted"]) & set(FAMILIES)
