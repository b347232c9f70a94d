"""Distances of feature sets against closed forms and plain loops; texture features; the three measures end to end."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from scipy import linalg, ndimage

from chambit.core.evidence import Band, Verdict
from chambit.core.steps import Context
from chambit.measure import bands, interval, resampling
from chambit.measure.embed import radiomics, texture
from chambit.measure.pairs import Points
from chambit.measure.utility import frechet, kernel, precision_recall
from examinations import Cohort, by_key, judged, measure, patients, workplace

# --- Frechet


def _closed(real: np.ndarray, other: np.ndarray) -> float:
    one, two = np.cov(real, rowvar=False), np.cov(other, rowvar=False)
    root = linalg.sqrtm(one @ two)
    return float(np.square(real.mean(0) - other.mean(0)).sum() + np.trace(one + two - 2 * root.real))


@pytest.mark.parametrize("seed", range(5))
def test_frechet_is_the_closed_form(seed: int) -> None:
    rng = np.random.default_rng(seed)
    real = rng.normal(size=(80, 6)) @ rng.normal(size=(6, 6))
    other = rng.normal(size=(50 + seed, 6)) @ rng.normal(size=(6, 6)) + rng.normal(size=6)
    assert frechet.distance(real, other) == pytest.approx(_closed(real, other), rel=1e-6)
    assert frechet.distance(other, real) == pytest.approx(frechet.distance(real, other))


def test_frechet_of_one_dimension_is_what_a_pencil_says() -> None:
    """(m1 - m2)^2 + (s1 - s2)^2 = 9 + 4 for means 0 and 3, deviations 1 and 3."""
    unit = np.array([[-1.0], [1.0], [-1.0], [1.0]]) * np.sqrt(3) / 2  # unbiased deviation 1
    assert frechet.distance(unit, 3 * unit + 3) == pytest.approx(13)


def test_frechet_of_a_set_with_itself_is_zero_and_of_a_shift_its_length() -> None:
    x = np.random.default_rng(0).normal(size=(60, 9))
    shift = np.arange(9.0)
    assert frechet.distance(x, x) == pytest.approx(0, abs=1e-9)
    assert frechet.distance(x, x[::-1]) == pytest.approx(0, abs=1e-9)
    assert frechet.distance(x, x + shift) == pytest.approx(float(shift @ shift))


def test_frechet_works_with_fewer_images_than_features() -> None:
    """Checked by the roots of S1^(1/2) S2 S1^(1/2), whose square roots' trace is the cross term."""
    rng = np.random.default_rng(1)
    real, other = rng.normal(size=(12, 40)), 2 * rng.normal(size=(9, 40)) + 0.3
    values, vectors = np.linalg.eigh(np.cov(real, rowvar=False))
    half = vectors @ np.diag(np.sqrt(np.maximum(values, 0))) @ vectors.T
    inner = np.linalg.eigvalsh(half @ np.cov(other, rowvar=False) @ half)
    expected = np.square(real.mean(0) - other.mean(0)).sum() + np.cov(real, rowvar=False).trace()
    expected += np.cov(other, rowvar=False).trace() - 2 * np.sqrt(np.maximum(inner, 0)).sum()
    assert frechet.distance(real, other) == pytest.approx(expected, rel=1e-5)


# --- kernel


@pytest.mark.parametrize("n", [300, 1500])
def test_taking_the_bias_off_finds_the_true_distance(n: int) -> None:
    """Known Gaussians: the plain value is far above the truth, the corrected one about it."""
    rng = np.random.default_rng(n)
    d = 40
    one = rng.normal(size=(d, d)) / d**0.5
    two = one + 0.15 * rng.normal(size=(d, d)) / d**0.5
    cross = linalg.sqrtm(one @ one.T @ two @ two.T).real
    truth = float(np.square(one).sum() + np.square(two).sum() - 2 * np.trace(cross))
    plain, corrected = [], []
    for _ in range(20):
        x, y = rng.normal(size=(n, d)) @ one.T, rng.normal(size=(n, d)) @ two.T
        whole = frechet.distance(x, y)
        group = interval.groups(np.arange(n), 20, rng)
        left_out = np.array([frechet.distance(x[group != g], y[group != g]) for g in range(20)])
        plain.append(whole)
        corrected.append(resampling.corrected(whole, left_out))
    error = np.std(corrected) / 20**0.5
    assert np.mean(corrected) == pytest.approx(truth, abs=3 * error + 0.02)
    assert np.mean(plain) > truth + 10 * error


def test_kernel_is_the_double_loop() -> None:
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(11, 5)), rng.normal(size=(8, 5)) + 0.4

    def k(a: np.ndarray, b: np.ndarray) -> float:
        return float((a @ b / 5 + 1) ** 3)

    within = [np.mean([k(a, b) for i, a in enumerate(one) for j, b in enumerate(one) if i != j]) for one in (x, y)]
    between = np.mean([k(a, b) for a in x for b in y])
    assert kernel.distance(x, y) == pytest.approx(sum(within) - 2 * between, rel=1e-5)  # tiles are float32


def test_pairs_of_one_patient_do_not_count() -> None:
    rng = np.random.default_rng(8)
    x, y = rng.normal(size=(9, 4)), rng.normal(size=(7, 4))
    owners = np.array([0, 1, 1, 2, 2, 2, 3, 4, 4]), np.array([5, 5, 6, 7, 8, 9, 9])
    within = [
        np.mean([(a @ b / 4 + 1) ** 3 for a, i in zip(z, o, strict=True) for b, j in zip(z, o, strict=True) if i != j])
        for z, o in zip((x, y), owners, strict=True)
    ]
    between = np.mean([(a @ b / 4 + 1) ** 3 for a in x for b in y])
    assert kernel.distance(x, y, owners) == pytest.approx(sum(within) - 2 * between, abs=1e-6)
    group = np.array([0, 1, 1, 2, 2, 2, 0, 1, 1]), np.array([0, 0, 1, 2, 1, 2, 2])
    parts = [Points.of(z, g) for z, g in zip((x, y), group, strict=True)]
    for g, value in enumerate(kernel.partwise(*parts, ~np.eye(3, dtype=bool), owners)):
        one, other = (z[k != g] for z, k in zip((x, y), group, strict=True))
        left = tuple(o[k != g] for o, k in zip(owners, group, strict=True))
        assert value == pytest.approx(kernel.distance(one, other, left), abs=1e-5)


def test_kernel_is_unbiased() -> None:
    """The mean of many null values is 0 within its own error, although images are few; a biased one is far above."""
    rng = np.random.default_rng(3)
    values = np.array([kernel.distance(rng.normal(size=(15, 6)), rng.normal(size=(10, 6))) for _ in range(1500)])
    error = values.std() / np.sqrt(len(values))
    assert abs(values.mean()) < 4 * error
    assert (values < 0).mean() > 0.3
    away = [kernel.distance(rng.normal(size=(15, 6)), rng.normal(size=(10, 6)) + 1) for _ in range(50)]
    assert np.mean(away) > 20 * error


# --- precision and recall


def _support(x: np.ndarray, y: np.ndarray, k: int) -> float:
    """Share of y within the support of x, point by point."""
    inside = 0
    for point in y:
        for i, member in enumerate(x):
            reach = sorted(np.linalg.norm(member - other) for j, other in enumerate(x) if j != i)[k - 1]
            if np.linalg.norm(point - member) <= reach:
                inside += 1
                break
    return inside / len(y)


def _both(x: np.ndarray, y: np.ndarray, k: int = 5) -> tuple[float, float]:
    found = precision_recall.values(Points.of(x), Points.of(y), k, np.ones((1, 1), bool))
    return float(found[0, 0]), float(found[0, 1])


@pytest.mark.parametrize("k", [1, 3, 5])
def test_precision_and_recall_are_the_plain_ones(k: int) -> None:
    rng = np.random.default_rng(k)
    x, y = rng.normal(size=(24, 3)), 0.7 * rng.normal(size=(17, 3)) + 0.9
    keep, held = rng.random(24) < 0.7, rng.random(17) < 0.8
    precision, recall = _both(x[keep], y[held], k)
    assert precision == pytest.approx(_support(x[keep], y[held], k))
    assert recall == pytest.approx(_support(y[held], x[keep], k))
    assert 0 < recall != precision


def test_precision_and_recall_of_the_same_and_of_far_sets() -> None:
    x = np.random.default_rng(4).normal(size=(40, 8))
    assert _both(x, x.copy()) == (1.0, 1.0)
    assert _both(x, x + 100) == (0.0, 0.0)


def test_a_collapsed_set_is_precise_and_recalls_nothing() -> None:
    rng = np.random.default_rng(5)
    x = rng.normal(size=(200, 4))
    y = 0.01 * rng.normal(size=(200, 4))
    precision, recall = _both(x, y)
    assert precision > 0.95
    assert recall < 0.05


# --- bands


@pytest.mark.parametrize("distance", [frechet.distance, kernel.distance])
def test_the_band_holds_the_same_distribution_and_not_another(
    distance: Callable[[np.ndarray, np.ndarray], float],
) -> None:
    inside, outside = 0, 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        real = rng.normal(size=(120, 5))

        def between(one: np.ndarray, other: np.ndarray, real: np.ndarray = real) -> list[float]:
            return [distance(real[one], real[other])]

        (band,) = bands.real_versus_real(between, np.arange(120), 50, 60, rng)
        same, other = rng.normal(size=(50, 5)), 1.5 * rng.normal(size=(50, 5)) + 0.5
        inside += band.low <= distance(real[:50], same) <= band.high
        outside += distance(real[:50], other) > 2 * band.high
    assert inside >= 16
    assert outside >= 19


# --- texture features


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    return patients(20, 1).grey


def test_texture_has_137_features_whatever_the_shape(pictures: np.ndarray) -> None:
    assert texture.features(pictures).shape == (20, 137)
    assert texture.features(pictures).dtype == np.float64
    assert texture.features(pictures[:3, :16, :16]).shape == (3, 137)
    assert np.isfinite(texture.features(pictures[:3, :27, :19])).all()


def test_texture_depends_neither_on_batch_nor_on_order(pictures: np.ndarray) -> None:
    whole = texture.features(pictures)
    alone = np.concatenate([texture.features(pictures[k : k + 1]) for k in range(20)])
    order = np.random.default_rng(0).permutation(20)
    assert alone == pytest.approx(whole, rel=1e-12, abs=1e-12)
    assert texture.features(pictures[order]) == pytest.approx(whole[order], rel=1e-12, abs=1e-12)


def test_texture_of_flat_images_is_finite() -> None:
    assert np.isfinite(texture.features(np.zeros((2, 32, 32), np.float32))).all()
    assert np.isfinite(texture.features(np.ones((1, 32, 32), np.float32))).all()


def test_texture_sees_brightness_blur_and_direction(pictures: np.ndarray) -> None:
    """In order: 96 of the grid and orientations by level, 8 of the spectrum, 9 quantiles."""
    plain = texture.features(pictures)
    assert texture.features(pictures + 0.1)[:, -9:] == pytest.approx(plain[:, -9:] + 0.1, abs=1e-6)
    blurred = texture.features(ndimage.gaussian_filter(pictures, (0, 1.5, 1.5)))
    assert (blurred[:, -10] < plain[:, -10] - 1).all()  # power in the finest band
    ramp = np.broadcast_to(np.linspace(0, 1, 32, dtype=np.float32), (1, 32, 32))
    rightwards, downwards = (texture.features(x)[0, 32:40] for x in (ramp, ramp.transpose(0, 2, 1)))
    assert (rightwards.argmax(), downwards.argmax()) == (0, 2)


# --- end to end


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Context]:
    with workplace(tmp_path_factory.mktemp("fidelity")) as made:
        yield made


@pytest.fixture(scope="module")
def real() -> dict[str, Cohort]:
    return {"train": patients(120, 10, "t", each=2), "holdout": patients(90, 11, "h", each=2)}


MEASURES = ("frechet", "kernel", "precision_recall")


@pytest.mark.parametrize("name", MEASURES)
def test_patients_of_the_same_kind_pass_and_blurs_do_not(name: str, context: Context, real: dict[str, Cohort]) -> None:
    fresh = patients(150, 12, "s")
    blurred = fresh.of(ndimage.gaussian_filter(fresh.grey, (0, 2, 2)))
    good = judged(measure(context, name, real | {"synthetic": fresh}))
    bad = judged(measure(context, name, real | {"synthetic": blurred}))
    assert {item.verdict for item in good.values()} == {Verdict.PASS}
    assert {item.verdict for item in bad.values()} == {Verdict.CONDITIONAL}
    for key, item in good.items():
        assert item.value is not None
        assert item.interval is not None
        assert item.interval.low < item.value < item.interval.high
        if key == "frechet.infinite":
            assert item.value < item.details["noise"] * 2 < bad[key].value / 4  # type: ignore[operator]
            continue
        assert isinstance(item.band, Band)
        assert item.band.n == item.n["images per side"] == 150
        if name == "precision_recall":
            assert item.value > 0.8 * item.band.middle > 4 * bad[key].value  # type: ignore[operator]
        else:
            assert item.value < 2 * item.band.high < bad[key].value / 4  # type: ignore[operator]


@pytest.mark.parametrize("name", MEASURES)
def test_results_do_not_depend_on_how_images_lie_in_blocks(
    name: str, context: Context, real: dict[str, Cohort]
) -> None:
    given = {role: cohort[:50] for role, cohort in real.items()} | {"synthetic": patients(40, 13, "s")}
    whole, cut = (by_key(measure(context, name, given, block_size=size)) for size in (256, 17))
    for key, finding in whole.items():
        assert cut[key].value == pytest.approx(finding.value, rel=1e-9)
        assert cut[key].inputs == finding.inputs


def test_frechet_is_told_whole_and_by_class(context: Context, real: dict[str, Cohort]) -> None:
    """One class blurred: its own distance says so."""
    fresh = patients(150, 14, "s")
    grey = fresh.grey
    ill = fresh.labels == "b"
    grey[ill] = ndimage.gaussian_filter(grey[ill], (0, 2, 2))
    finding, _ = measure(context, "frechet", real | {"synthetic": fresh.of(grey)}).findings
    parts: Any = finding.details["parts"]
    by_class = parts["label"]
    assert set(by_class) == {"a", "b"}
    assert by_class["b"]["distance"]["value"] > 4 * by_class["a"]["distance"]["value"]
    assert by_class["b"]["distance"]["value"] > 2 * by_class["b"]["distance"]["band"]["high"]
    assert by_class["a"]["distance"]["low"] < by_class["a"]["distance"]["band"]["high"]
    for cell, of in by_class.items():
        assert of["real"] == (real["holdout"].labels == cell).sum()
        assert of["synthetic"] == (fresh.labels == cell).sum()
        assert of["n"] <= min(of["real"], of["synthetic"])


def test_a_part_that_is_too_small_is_counted_and_not_measured(context: Context, real: dict[str, Cohort]) -> None:
    fresh = patients(150, 14, "s")
    few = np.flatnonzero(fresh.labels == "b")[:10]
    kept = np.sort(np.concatenate([np.flatnonzero(fresh.labels == "a"), few]))
    finding, _ = measure(context, "frechet", real | {"synthetic": fresh[kept]}).findings
    parts: Any = finding.details["parts"]
    assert set(parts["label"]["b"]) == {"real", "synthetic"}
    assert parts["label"]["b"]["synthetic"] == 10
    assert "distance" in parts["label"]["a"]


def test_several_extractors_stand_beside_each_other(context: Context, real: dict[str, Cohort]) -> None:
    """The first is judged; each says what it is, and a second one changes nothing of the first."""
    sets = real | {"synthetic": patients(150, 12, "s")}
    alone = by_key(measure(context, "kernel", sets))["kernel.distance"]
    both = by_key(measure(context, "kernel", sets, extractors=("texture", "radiomics")))["kernel.distance"]
    assert both.value == alone.value
    assert both.interval == alone.interval
    rows: Any = both.details["seen"]
    assert [row["extractor"] for row in rows] == ["texture@1", "radiomics@1"]
    assert rows[0]["value"] == alone.value
    assert [row["dimensions"] for row in rows] == [137, radiomics.features(np.zeros((1, 32, 32), np.float32)).shape[1]]
    for row in rows:
        assert row["low"] < row["value"] < row["high"]
        assert len(row["preprocessing_sha256"]) == 64
        assert row["weights"] == ""
