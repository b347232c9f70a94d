"""Diversity, grey levels, spectra, trivial sets, agreement of extractors: planted differences, and none."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from chambit.core.evidence import Band, Evidence, Verdict
from chambit.core.steps import Context
from chambit.measure import trivial
from chambit.measure.utility import agreement
from examinations import Cohort, by_key, judged, measure, patients, workplace


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Context]:
    with workplace(tmp_path_factory.mktemp("sets")) as made:
        yield made


@pytest.fixture(scope="module")
def real() -> dict[str, Cohort]:
    return {"train": patients(120, 10, "t", each=2), "holdout": patients(90, 11, "h", each=2)}


FRESH = patients(150, 12, "s")


def _collapsed() -> Cohort:
    """Ten patients drawn again and again, with a little noise."""
    rng = np.random.default_rng(0)
    few = FRESH[np.arange(150) % 10]
    return few.of(few.grey + rng.normal(0, 0.005, few.grey.shape))._replace(subjects=FRESH.subjects)


CASES = {
    "vendi.ratio": _collapsed(),
    # everybody half way to the mean of all
    "structure.excess": FRESH.of((FRESH.grey + FRESH.grey.mean(0)) / 2),
    "intensity.distance": FRESH.of(FRESH.grey * 0.8),
    "spectrum.distance": FRESH.of(ndimage.gaussian_filter(FRESH.grey, (0, 1.5, 1.5))),
}


@pytest.mark.parametrize("key", CASES)
def test_patients_of_the_same_kind_pass_and_what_the_measure_is_for_does_not(
    key: str, context: Context, real: dict[str, Cohort]
) -> None:
    name = key.split(".")[0]
    good = judged(measure(context, name, real | {"synthetic": FRESH}))[key]
    bad = judged(measure(context, name, real | {"synthetic": CASES[key]}))[key]
    assert good.verdict is Verdict.PASS, good.because
    assert bad.verdict is Verdict.CONDITIONAL, bad.because
    for item in (good, bad):
        assert item.value is not None
        assert item.interval is not None
        assert item.interval.low < item.value < item.interval.high
        assert isinstance(item.band, Band)
    assert bad.value is not None
    assert bad.band is not None
    assert bad.value < bad.band.low / 2 if key == "vendi.ratio" else bad.value > 3 * bad.band.high


def test_too_few_say_how_many_are_needed(context: Context, real: dict[str, Cohort]) -> None:
    for name in ("vendi", "structure", "intensity", "spectrum", "agreement"):
        for found in measure(context, name, real | {"synthetic": FRESH[:9]}).findings:
            assert found.value is None
            assert "9 images, at least" in found.reason


# --- trivial generators


@pytest.fixture(scope="module")
def sampled() -> dict[str, np.ndarray]:
    cohort = patients(60, 3, each=2)
    wanted = np.array(["a", "b"])[np.arange(40) % 2]
    rng = np.random.default_rng(1)
    settings = trivial.Settings(components=30, noise=0.05, neighbours=3)
    given = cohort.grey, cohort.labels, cohort.subjects, wanted, settings, rng
    return {kind: trivial.make(kind, *given) for kind in trivial.KINDS} | {"real": cohort.grey}


def test_noisy_images_are_training_images_with_that_noise(sampled: dict[str, np.ndarray]) -> None:
    real, noisy = sampled["real"], sampled["noisy"]
    apart = np.sqrt(np.square(noisy[:, None] - real[None]).mean((2, 3)))
    assert apart.min(1) == pytest.approx(0.05, rel=0.1)
    # label 'a' is that of the even patients, two images each
    assert ((apart.argmin(1) // 2) % 2 == np.arange(40) % 2).all()


def test_interpolated_images_lie_between_two_patients_of_one_class(sampled: dict[str, np.ndarray]) -> None:
    real, mixed = sampled["real"].astype(float), sampled["interpolated"].astype(float)
    for place, image in enumerate(mixed):
        same = np.flatnonzero((np.arange(120) // 2) % 2 == place % 2)
        best = np.inf
        for i in same:
            for j in same[same // 2 != i // 2]:
                line = real[j] - real[i]
                share = ((image - real[i]) * line).sum() / np.square(line).sum()
                if 0.19 < share < 0.81:
                    best = min(best, float(np.abs(image - real[i] - share * line).max()))
        assert best < 1e-5
        if place == 3:  # a few are enough: the search above looks at all pairs
            break


def test_gaussian_images_have_the_means_of_their_class(sampled: dict[str, np.ndarray]) -> None:
    cohort = patients(60, 3, each=2)
    shifted = cohort.grey + 0.2 * (cohort.labels == "b")[:, None, None]
    wanted = np.array(["a", "b"] * 100)
    made = trivial.sample(shifted, cohort.labels, wanted, 20, np.random.default_rng(0))
    for label in ("a", "b"):
        assert made[wanted == label].mean() == pytest.approx(shifted[cohort.labels == label].mean(), abs=0.02)


def test_an_unknown_trivial_generator_is_refused() -> None:
    x, names = np.zeros((4, 16, 16), np.float32), np.array(["a"] * 4)
    with pytest.raises(ValueError, match="no trivial generator 'best'"):
        trivial.make("best", x, names, names, names, trivial.Settings(), np.random.default_rng(0))


# --- agreement


@pytest.fixture(scope="module")
def agreed(context: Context, real: dict[str, Cohort]) -> dict[str, Evidence]:
    return judged(measure(context, "agreement", real | {"synthetic": FRESH}))


def test_extractors_agree_on_patients_of_the_same_kind(agreed: dict[str, Evidence]) -> None:
    tau, beyond = agreed["agreement.tau"], agreed["agreement.beyond_trivial"]
    assert beyond.verdict is Verdict.PASS, beyond.because
    assert tau.details["conflicts"] == 0
    rows: Any = tau.details["seen"]
    assert [row["extractor"] for row in rows] == ["texture@1", "radiomics@1"]
    for row in rows:
        # other patients of the same kind are nearer to the unseen ones than noise on known ones
        assert row["synthetic"]["value"] < row["noisy"]["value"] / 3
        assert row["synthetic"]["low"] < row["synthetic"]["value"] < row["synthetic"]["high"]


def test_a_blur_is_not_beyond_the_trivial_generator(context: Context, real: dict[str, Cohort]) -> None:
    blurred = FRESH.of(ndimage.gaussian_filter(FRESH.grey, (0, 3, 3)))
    found = judged(measure(context, "agreement", real | {"synthetic": blurred}))
    beyond = found["agreement.beyond_trivial"]
    assert beyond.verdict is Verdict.CONDITIONAL
    assert beyond.value is not None
    assert -1 <= beyond.value < 0


def test_extractors_that_see_opposite_things_are_in_conflict(
    context: Context, real: dict[str, Cohort], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One extractor finds the set nearer than blurs, the other farther: planted by exchanging its two columns."""
    honest = agreement._distances

    def lying(exam: Any, extractor: str, made: Any, pairs: int) -> np.ndarray:
        table = honest(exam, extractor, made, pairs)
        return table[:, [0, 2, 1, 4, 3]] if extractor == "radiomics" else table

    monkeypatch.setattr(agreement, "_distances", lying)
    found = judged(measure(context, "agreement", real | {"synthetic": FRESH}))["agreement.tau"]
    assert found.details["in_conflict"] == [["texture", "radiomics"]]
    assert found.verdict is Verdict.CONDITIONAL


def test_one_extractor_cannot_agree(context: Context, real: dict[str, Cohort]) -> None:
    found = by_key(measure(context, "agreement", real | {"synthetic": FRESH}, extractors=("texture",)))
    assert found["agreement.tau"].value is None
    assert "two extractors" in found["agreement.tau"].reason


def test_an_encoder_of_ones_own_is_left_out_with_its_reason_where_images_are_few(
    context: Context, real: dict[str, Cohort]
) -> None:
    sets = real | {"synthetic": FRESH, "auxiliary": patients(49, 20, "x")}
    both = by_key(measure(context, "agreement", sets, extractors=("texture", "radiomics", "own")))["agreement.tau"]
    assert both.details["left_out"] == {"own": "49 auxiliary images, at least 50 needed"}
    assert both.n["extractors"] == 2
    alone = by_key(measure(context, "kernel", sets, extractors=("own",)))["kernel.distance"]
    assert alone.value is None
    assert "'own': 49 auxiliary images, at least 50 needed" in alone.reason
    enough = sets | {"auxiliary": patients(50, 20, "x")}
    found = by_key(measure(context, "kernel", enough, extractors=("own",)))["kernel.distance"]
    rows: Any = found.details["seen"]
    assert rows[0]["extractor"].startswith("own@")
    assert len(rows[0]["weights"]) == 64
