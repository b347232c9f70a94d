"""The smaller form of benchmarks/safety.py: null rates, power, recall, and a generator that must fail."""

import numpy as np
import pytest

import safety
from chambit.measure import interval

PHOTOMETRIC = {"exact", "jpeg50", "resize_half", "blur", "noise5", "gamma_dark", "gamma_bright", "window", "inverted"}
GEOMETRIC = {"mirror", "upside_down", "turn90", "turn180", "bottom30", "crop90"}
HARDER = {"rotate5", "rotate15", "shift5", "crop70", "half", "blend70", "pca_round_trip", "super_resolution"}


@pytest.fixture(scope="module")
def cases() -> list[safety.Rate]:
    return list(safety.rates(200, 60, seed=11, permutations=500))


def test_membership_holds_its_level_on_phantoms(cases: list[safety.Rate]) -> None:
    null = [case for case in cases if not case.copied]
    assert {case.released.split(" (")[0] for case in null} == {"fresh patients", "mode collapse", "poor fidelity"}
    for case in null:
        rejected = int((np.array(case.p) <= 0.05).sum())
        assert len(case.p) == 60
        assert interval.clopper_pearson(rejected, len(case.p), 0.99)[0] <= 0.05, case.released


def test_membership_finds_ten_copied_patients(cases: list[safety.Rate]) -> None:
    leaks = [case for case in cases if case.copied]
    assert len(leaks) == 6
    for case in leaks:
        assert case.copied == 10
        assert np.mean(np.array(case.p) <= 0.01) >= 0.95, (case.released, case.kind)


def test_planted_phantoms_are_found() -> None:
    found = {row.family: row for row in safety.recalls("phantoms", safety.cohort(300, 11), 10)}
    assert set(found) == set(safety.FAMILIES)
    for family in PHOTOMETRIC | GEOMETRIC:
        assert found[family].found == 10, family
    for family in HARDER:
        assert found[family].found >= 8, family


def test_a_generator_that_memorised_fails() -> None:
    closed = safety.memorise(quick=True)
    said = {item.key: item for item in closed.evidence}
    assert closed.verdict == "FAIL"
    assert said["membership.p"].verdict == "FAIL"
    assert said["copies.flagged"].value > 50  # of a hundred
