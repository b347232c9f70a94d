"""Planted copies: each kind changes what it says and nothing else."""

import numpy as np
import pytest

from chambit.measure.plants import FAMILIES, Material, plant
from examinations import POLICY, patients

SQUARE = patients(6, 1).grey
WIDE = patients(6, 2).grey[:, :20]
COMPULSORY = POLICY.settings["copies"]["compulsory"]
MATERIAL = Material(patients(80, 3, "other").grey)
WIDE_MATERIAL = Material(patients(80, 3, "other").grey[:, :20])
NOT_IN_PLACE = {"rotate30", "inverted", "crop70", "bottom30", "blend50", "half", "quarter"}
"""Families after which most pixels say something else; what is left of the original is looked for one by one."""


def _planted(images: np.ndarray, family: str, seed: int = 0) -> np.ndarray:
    material = WIDE_MATERIAL if images.shape[1:] == WIDE.shape[1:] else MATERIAL
    own = material if material.others.shape[1:] == images.shape[1:] else None
    return plant(images, family, np.random.default_rng(seed), own)


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


@pytest.mark.parametrize("family", sorted(set(FAMILIES) - NOT_IN_PLACE))
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
    places = [np.unravel_index(_planted(point, "shift5", seed)[0].argmax(), (40, 40)) for seed in range(20)]
    assert all(1 <= np.hypot(row - 10, column - 10) <= 3 for row, column in places)  # two pixels, rounded
    assert len(set(places)) > 5  # in any direction


def test_parts_hold_the_original_and_somebody_else() -> None:
    for family, share in (("half", 0.5), ("quarter", 0.25)):
        for original, made in zip(SQUARE, _planted(SQUARE, family), strict=True):
            assert (made == original).mean() == pytest.approx(share, abs=0.02)
            rest = made != original
            assert any((made == other)[rest].all() for other in MATERIAL.others)
    for family, share in (("blend50", 0.5), ("blend70", 0.7)):
        made = _planted(SQUARE, family)
        others = (made - share * SQUARE) / (1 - share)
        assert all(min(np.abs(other - one).max() for one in MATERIAL.others) < 1e-4 for other in others)


def test_crops_are_the_original_enlarged() -> None:
    ramp = np.broadcast_to(np.linspace(0, 1, 64, dtype=np.float32)[None, :, None], (6, 64, 64))
    for family, share in (("crop90", 0.9), ("crop70", 0.7), ("bottom30", 0.7)):
        made = _planted(ramp, family)
        assert np.ptp(made, axis=1).mean() == pytest.approx(share, abs=0.02)
    assert _planted(ramp, "bottom30")[:, 0].max() < 0.02
    assert len(np.unique(_planted(ramp, "crop70")[:, 0, 0].round(3))) > 3  # at several places
    assert _planted(SQUARE, "inverted") == pytest.approx(1 - SQUARE)


def test_the_linear_round_trip_keeps_what_the_others_vary_in() -> None:
    """Images made of the others' own axes come back; what lies outside is lost; re-noising keeps the share it says."""
    code = MATERIAL.code
    assert code.axes.T @ code.axes == pytest.approx(np.eye(code.axes.shape[1]), abs=1e-6)
    rng = np.random.default_rng(1)
    codes = rng.normal(size=(40, len(code.spread)))
    inside = (code.mean + 0.3 * (codes * code.spread) @ code.axes.T).reshape(-1, 32, 32).astype(np.float32)
    assert _planted(inside, "pca_round_trip") == pytest.approx(np.clip(inside, 0, 1), abs=1e-4)
    made = _planted(inside, "pca_renoise30").reshape(40, -1)
    again = (made - code.mean) @ code.axes / code.spread
    slope = (again * codes).sum() / (codes**2).sum()
    assert slope == pytest.approx(0.3 * 0.7 / np.hypot(0.3, 0.7), rel=0.1)


def test_stronger_kinds_are_further_away() -> None:
    def distance(family: str) -> float:
        return float(np.abs(_planted(SQUARE, family) - SQUARE).mean())

    assert distance("jpeg50") < distance("jpeg10")
    assert distance("noise5") < distance("noise15")


def test_each_draw_is_its_generators() -> None:
    assert np.array_equal(_planted(SQUARE, "noise5", 3), _planted(SQUARE, "noise5", 3))
    assert not np.array_equal(_planted(SQUARE, "noise5", 3), _planted(SQUARE, "noise5", 4))


def test_what_the_policy_asks_for_can_be_planted() -> None:
    assert set(COMPULSORY) <= set(FAMILIES) | {"codec", "renoise10"}  # these two the generator itself makes
    assert len(COMPULSORY) >= 10
    assert {family.kind for family in FAMILIES.values()} == {"same", "grey", "geometry", "part", "generator"}
    assert all(family.name == name for name, family in FAMILIES.items())
    assert not set(POLICY.settings["copies"]["not_planted"]) & set(FAMILIES)
