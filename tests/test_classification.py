"""Classifier measures against scikit-learn, plain loops and a published example; clustered DeLong by simulation."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, stats
from scipy.special import expit, log_softmax, softmax
from sklearn import metrics

from chambit.core.errors import InputError
from chambit.measure import classification, delong, interval

Case = tuple[np.ndarray, np.ndarray, np.ndarray]


def _cases(count: int = 30) -> list[Case]:
    """Scores with many ties, truth with both classes, weights of which some are 0."""
    out = []
    for seed in range(count):
        rng = np.random.default_rng(seed)
        n = int(rng.integers(6, 70))
        truth = rng.permutation(np.arange(n) < rng.integers(2, n - 1))
        scores = rng.integers(0, 2 + n // 3, n) / 7 + 0.8 * truth * rng.random()
        out.append((scores, truth, np.stack([rng.integers(0, 4, n), np.ones(n), np.arange(n) % 3]).astype(float)))
    return out


def _classes(seed: int, n: int = 120, k: int = 4) -> Case:
    rng = np.random.default_rng(seed)
    truth = rng.permutation(np.arange(n) % k)
    scores = 2 * rng.normal(size=(n, k)) + 2 * np.eye(k)[truth]
    return scores, truth, rng.integers(0, 4, (3, n)).astype(float)


MEASURES = {
    "average_precision": lambda s, y, w: classification.average_precision(s[:, 1], y == 1, w),
    "macro_average_precision": classification.macro_average_precision,
    "prevalence": lambda s, y, w: classification.prevalence(y == 1, w),
    "accuracy": classification.accuracy,
    "balanced_accuracy": classification.balanced_accuracy,
    "sensitivity": lambda s, y, w: classification.sensitivity(s[:, 1], y == 1, 0.4, w),
    "specificity": lambda s, y, w: classification.specificity(s[:, 1], y == 1, 0.4, w),
    "brier": classification.brier,
    "calibration_error": lambda s, y, w: classification.calibration_error(s, y, w, 7),
    "slope": lambda s, y, w: classification.calibration_line(s[:, 1], y == 1, w).slope,
    "intercept": lambda s, y, w: classification.calibration_line(s[:, 1], y == 1, w).intercept,
    "in_the_large": lambda s, y, w: classification.calibration_line(s[:, 1], y == 1, w).in_the_large,
}


# --- what holds for every measure


@pytest.mark.parametrize("name", MEASURES)
def test_a_weight_of_two_is_the_image_twice(name: str) -> None:
    """Also with ties of scores, and in any order of the images."""
    scores, truth, weights = _classes(1)
    scores = scores.round(0)
    got = MEASURES[name](scores, truth, weights)
    rng = np.random.default_rng(0)
    for row, value in zip(weights, got, strict=True):
        again = rng.permutation(np.repeat(np.arange(len(truth)), row.astype(int)))
        assert MEASURES[name](scores[again], truth[again], None) == pytest.approx([value], abs=1e-9)
    assert len(set(got.round(9))) == len(got)  # the weights do matter


@pytest.mark.parametrize("name", MEASURES)
def test_many_rows_are_answered_as_single_rows(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    scores, truth, _ = _classes(2)
    weights = interval.subject_weights(np.arange(len(truth)) // 3, 7, np.random.default_rng(0))
    whole = MEASURES[name](scores, truth, weights)
    monkeypatch.setattr(classification, "_ELEMENTS", 3 * len(truth))
    assert whole.shape == (7,)
    assert MEASURES[name](scores, truth, weights) == pytest.approx(whole, abs=1e-12)
    assert MEASURES[name](scores, truth, weights[4:5]) == pytest.approx(whole[4:5], abs=1e-9)


@pytest.mark.parametrize("name", MEASURES)
def test_a_resample_without_what_is_measured_is_no_number(name: str) -> None:
    """No image at all; and for what is said of positives or of each class, one class alone."""
    scores, truth, _ = _classes(3, n=40, k=2)
    weights = np.stack([np.zeros(40), truth == (1 if name == "specificity" else 0), np.ones(40)])
    got = MEASURES[name](scores, truth, weights)
    assert np.isnan(got[0])
    assert np.isnan(got[1]) == (name not in ("prevalence", "accuracy", "brier", "calibration_error"))
    assert np.isfinite(got[2])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_score_that_is_no_number_is_refused(bad: float) -> None:
    scores, truth, _ = _classes(4, k=2)
    scores[5, 1] = bad
    for measure in (classification.accuracy, classification.brier, classification.macro_average_precision):
        with pytest.raises(ValueError, match="finite"):
            measure(scores, truth)
    with pytest.raises(ValueError, match="finite"):
        delong.covariance(scores.T, truth == 1)


def test_what_does_not_fit_is_refused() -> None:
    scores, truth, weights = _classes(5)
    with pytest.raises(ValueError, match=r"weights must be \(B, 120\)"):
        classification.accuracy(scores, truth, weights[0])
    with pytest.raises(ValueError, match=r"weights must be \(B, 120\)"):
        classification.average_precision(scores[:, 0], truth == 0, weights[:, :-1])
    with pytest.raises(ValueError, match=r"truth must be 0 \.\. 3"):
        classification.brier(scores, truth - 1)
    with pytest.raises(ValueError, match="119 truths for 120"):
        classification.balanced_accuracy(scores, truth[1:])
    with pytest.raises(ValueError, match="no image"):
        classification.average_precision(np.zeros(0), np.zeros(0, bool))


# --- precision and recall


def test_average_precision_is_scikit_learns_with_ties_and_weights() -> None:
    tried = 0
    for scores, truth, weights in _cases():
        got = classification.average_precision(scores, truth, weights)
        for row, value in zip(weights, got, strict=True):
            if row[truth].sum():
                expected = metrics.average_precision_score(truth, scores, sample_weight=row)
                assert value == pytest.approx(expected, abs=1e-12)
                tried += 1
    assert tried > 80


def test_average_precision_of_knowing_nothing_is_the_prevalence() -> None:
    truth = np.arange(50) < 9
    assert classification.average_precision(np.zeros(50), truth) == pytest.approx([0.18])
    assert classification.prevalence(truth) == pytest.approx([0.18])
    assert classification.average_precision(truth * 1.0, truth) == pytest.approx([1])


def test_macro_average_precision_is_scikit_learns() -> None:
    scores, truth, weights = _classes(6)
    expected = [metrics.average_precision_score(np.eye(4)[truth], scores, sample_weight=w) for w in weights]
    assert classification.macro_average_precision(scores, truth, weights) == pytest.approx(expected, abs=1e-12)
    two, half = scores[:, :2], truth % 2
    alone = metrics.average_precision_score(half, two[:, 1])
    assert classification.macro_average_precision(two, half) == pytest.approx([alone], abs=1e-12)


# --- decisions


def test_accuracies_are_scikit_learns() -> None:
    scores, truth, weights = _classes(7)
    called = scores.argmax(1)
    plain = [metrics.accuracy_score(truth, called, sample_weight=w) for w in weights]
    balanced = [metrics.balanced_accuracy_score(truth, called, sample_weight=w) for w in weights]
    assert classification.accuracy(scores, truth, weights) == pytest.approx(plain, abs=1e-12)
    assert classification.balanced_accuracy(scores, truth, weights) == pytest.approx(balanced, abs=1e-12)


@settings(deadline=None)
@given(
    st.lists(st.integers(0, 12), min_size=1, max_size=40),
    st.one_of(st.floats(0.01, 1), st.sampled_from([0.55, 0.7, 0.9, 0.95, 1.0])),
)
def test_the_threshold_is_the_smallest_that_keeps_the_specificity(negatives: list[int], wanted: float) -> None:
    scores = np.array([*negatives, 99.0, -99.0])
    positive = np.array([False] * len(negatives) + [True, True])
    t = classification.threshold_at_specificity(scores, positive, wanted)
    assert classification.specificity(scores, positive, t)[0] >= wanted - 1e-12
    assert classification.specificity(scores, positive, np.nextafter(t, -np.inf))[0] < wanted


def test_a_threshold_at_55_of_100_is_not_moved_by_rounding() -> None:
    assert 0.55 * 100 > 55  # in floating point
    assert classification.threshold_at_specificity(np.arange(100.0), np.zeros(100, bool), 0.55) == 54


def test_a_threshold_needs_a_negative_and_a_share() -> None:
    with pytest.raises(InputError, match="none of the 3 images is negative"):
        classification.threshold_at_specificity(np.arange(3.0), np.ones(3, bool), 0.9)
    for wrong in (0.0, 1.1, 90):
        with pytest.raises(ValueError, match="specificity must be above 0"):
            classification.threshold_at_specificity(np.arange(3.0), np.zeros(3, bool), wrong)


def test_a_score_at_the_threshold_is_not_called() -> None:
    scores, truth = np.array([1.0, 2.0, 2.0, 3.0, 2.0]), np.array([False, False, True, True, True])
    assert classification.sensitivity(scores, truth, 2.0) == pytest.approx([1 / 3])
    assert classification.specificity(scores, truth, 2.0) == pytest.approx([1])


def test_sensitivity_and_specificity_are_recalls() -> None:
    for scores, truth, weights in _cases(10):
        called = scores > 0.6
        up = metrics.recall_score(truth, called, sample_weight=weights[1])
        down = metrics.recall_score(~truth, ~called, sample_weight=weights[1])
        assert classification.sensitivity(scores, truth, 0.6, weights)[1] == pytest.approx(up)
        assert classification.specificity(scores, truth, 0.6, weights)[1] == pytest.approx(down)


# --- calibration


def test_brier_is_scikit_learns_and_takes_logits_as_well_as_log_probabilities() -> None:
    scores, truth, weights = _classes(8)
    chances = softmax(scores, axis=1)
    expected = [metrics.brier_score_loss(truth, chances, sample_weight=w, scale_by_half=False) for w in weights]
    assert classification.brier(scores, truth, weights) == pytest.approx(expected, abs=1e-12)
    assert classification.brier(log_softmax(scores, axis=1), truth, weights) == pytest.approx(expected, abs=1e-12)


def test_brier_of_two_classes_is_twice_the_binary_one() -> None:
    scores, truth, _ = _classes(9, k=2)
    binary = metrics.brier_score_loss(truth, softmax(scores, axis=1)[:, 1])
    assert classification.brier(scores, truth) == pytest.approx([2 * binary])


def test_log_odds_of_a_class() -> None:
    scores, _, _ = _classes(10)
    p = softmax(scores, axis=1)[:, 2]
    assert classification.log_odds(scores, 2) == pytest.approx(np.log(p / (1 - p)))
    assert classification.log_odds(np.array([[0.0, 900.0]]), 1) == pytest.approx([900])


def test_calibration_error_is_a_plain_loop() -> None:
    scores, truth, _ = _classes(11, n=120)
    chances = softmax(scores, axis=1)
    order = np.argsort(chances.max(1))
    expected = 0.0
    for own in np.split(order, 8):
        right = chances[own].argmax(1) == truth[own]
        expected += len(own) / 120 * abs(right.mean() - chances[own].max(1).mean())
    assert classification.calibration_error(scores, truth, bins=8) == pytest.approx([expected])
    one = abs((chances.argmax(1) == truth).mean() - chances.max(1).mean())
    assert classification.calibration_error(scores, truth, bins=1) == pytest.approx([one])


def test_calibration_error_falls_to_zero_only_for_the_calibrated() -> None:
    rng = np.random.default_rng(12)
    scores = 1.5 * rng.normal(size=(40_000, 3))
    truth = (rng.random(40_000)[:, None] > np.cumsum(softmax(scores, axis=1), axis=1)).sum(1)
    assert classification.calibration_error(scores, truth)[0] < 0.012
    assert classification.calibration_error(2.5 * scores, truth)[0] > 0.1


def test_equal_confidences_share_a_bin() -> None:
    """Half are right, all at 0.75; parted by order, the right ones would make a bin of their own: error 0.5."""
    scores = np.tile(np.log([0.25, 0.75]), (8, 1))
    truth = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    assert classification.calibration_error(scores, truth, bins=2) == pytest.approx([0.25])


def _by_optimiser(scores: np.ndarray, truth: np.ndarray, w: np.ndarray) -> tuple[float, float, float]:
    def loss(a: float, b: float) -> float:
        eta = a + b * scores
        return float((w * (np.logaddexp(0, eta) - truth * eta)).sum())

    a, b = optimize.minimize(lambda x: loss(*x), [0, 0], method="BFGS", options={"gtol": 1e-9}).x
    return b, a, optimize.minimize_scalar(lambda x: loss(x, 1.0), tol=1e-11).x


def test_calibration_line_is_the_maximum_of_the_likelihood() -> None:
    rng = np.random.default_rng(13)
    scores = 20 + 3 * rng.normal(size=150)
    truth = rng.random(150) < expit(0.4 * (scores - 21))
    weights = rng.integers(0, 3, (4, 150)).astype(float)
    line = classification.calibration_line(scores, truth, weights)
    for k, w in enumerate(weights):
        slope, intercept, large = _by_optimiser(scores, truth, w)
        assert line.slope[k] == pytest.approx(slope, rel=1e-4)
        assert line.intercept[k] == pytest.approx(intercept, rel=1e-4)
        assert line.in_the_large[k] == pytest.approx(large, rel=1e-4)


def test_calibration_line_finds_what_was_planted() -> None:
    """Log odds that are right, doubled, and moved by another prevalence in training."""
    rng = np.random.default_rng(14)
    score = 2 * rng.normal(size=30_000) - 0.5
    truth = rng.random(30_000) < expit(score)
    fair, doubled, moved = (classification.calibration_line(s, truth) for s in (score, 2 * score, score - 1.2))
    assert (fair.slope[0], fair.intercept[0], fair.in_the_large[0]) == pytest.approx((1, 0, 0), abs=0.06)
    assert doubled.slope[0] == pytest.approx(0.5, abs=0.03)
    assert (moved.slope[0], moved.in_the_large[0]) == pytest.approx((1, 1.2), abs=0.06)


@pytest.mark.parametrize("touching", [0.0, 1.0])
def test_a_score_without_an_error_has_no_slope_but_an_intercept_in_the_large(touching: float) -> None:
    scores = np.array([-2.0, -1.0, 0.0, 1.0 - touching, 2.0])
    truth = np.array([False, False, False, True, True])
    for sign in (1, -1):
        line = classification.calibration_line(sign * scores, truth)
        assert np.isnan([line.slope[0], line.intercept[0]]).all()
        assert expit(line.in_the_large[0] + sign * scores).sum() == pytest.approx(2)


def test_a_score_far_off_is_still_solved() -> None:
    """Almost parted, with a far outlier: a plain Newton step from 0 runs away here."""
    scores = np.concatenate([np.linspace(-1, -0.01, 60), np.linspace(0.01, 1, 60), [-80.0, 0.02]])
    truth = np.concatenate([np.zeros(60, bool), np.ones(60, bool), [True, False]])
    line = classification.calibration_line(scores, truth)
    p = expit(line.intercept[0] + line.slope[0] * scores)
    assert [(truth - p).sum(), ((truth - p) * scores).sum()] == pytest.approx([0, 0], abs=1e-6)


def test_temperature_is_the_best_of_a_fine_grid_and_leaves_log_probabilities_alone() -> None:
    scores, truth, _ = _classes(15)
    got = classification.temperature(3 * scores, truth)
    grid = got * np.exp(np.linspace(-0.1, 0.1, 201))
    loss = [-log_softmax(3 * scores / t, axis=1)[np.arange(120), truth].mean() for t in grid]
    assert np.argmin(loss) == 100
    assert classification.temperature(scores, truth) == pytest.approx(got / 3)
    assert classification.temperature(log_softmax(3 * scores, axis=1), truth) == pytest.approx(got)


def test_temperature_has_ends() -> None:
    truth = np.arange(30) % 3
    assert classification.temperature(5 * np.eye(3)[truth], truth) == classification.TEMPERATURES[0]
    assert classification.temperature(-5 * np.eye(3)[truth], truth) == classification.TEMPERATURES[1]


# --- DeLong


def _brute(scores: np.ndarray, positive: np.ndarray, owners: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Obuchowski 1997 as printed: every pair, then every patient."""
    patients = sorted(set(owners.tolist()))
    m, upper, lower = len(scores), scores[:, positive], scores[:, ~positive]
    wins = (upper[:, :, None] > lower[:, None, :]) + 0.5 * (upper[:, :, None] == lower[:, None, :])
    area, v10, v01 = wins.mean((1, 2)), wins.mean(2), wins.mean(1)
    x = np.array([[(v10[r][owners[positive] == i] - area[r]).sum() for i in patients] for r in range(m)])
    y = np.array([[(v01[r][owners[~positive] == i] - area[r]).sum() for i in patients] for r in range(m)])
    count, ups, downs = len(patients), len(set(owners[positive])), len(set(owners[~positive]))
    up, down = upper.shape[1], lower.shape[1]
    out = np.zeros((m, m))
    for r in range(m):
        for s in range(m):
            s10 = ups / ((ups - 1) * up) * (x[r] * x[s]).sum()
            s01 = downs / ((downs - 1) * down) * (y[r] * y[s]).sum()
            s11 = count / (count - 1) * ((x[r] * y[s]).sum() + (x[s] * y[r]).sum())
            out[r, s] = s10 / up + s01 / down + s11 / (up * down)
    return area, out


@pytest.mark.parametrize("seed", range(6))
def test_delong_is_every_pair_and_every_patient(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(20, 60))
    positive = rng.permutation(np.arange(n) < n // 3)
    scores = (rng.integers(0, 9, (3, n)) + positive).astype(float)
    owners = rng.choice(list("abcdefghijklm"), n)
    for own in (owners, np.arange(n)):
        areas, spread = delong.covariance(scores, positive, own)
        expected = _brute(scores, positive, own)
        assert areas == pytest.approx(expected[0], abs=1e-12)
        assert spread == pytest.approx(expected[1], abs=1e-14)
        assert areas == pytest.approx([metrics.roc_auc_score(positive, s) for s in scores], abs=1e-12)
        assert np.linalg.eigvalsh(spread).min() > -1e-15


def test_one_image_a_patient_is_exactly_the_ordinary_delong() -> None:
    rng = np.random.default_rng(20)
    positive = np.arange(70) % 3 == 0
    scores = rng.normal(size=(3, 70)) + positive
    v10, v01 = delong.components(scores, positive)
    ordinary = np.cov(v10) / v10.shape[1] + np.cov(v01) / v01.shape[1]
    names = rng.permutation(70).astype(str)
    assert delong.covariance(scores, positive)[1] == pytest.approx(ordinary, abs=1e-15)
    assert delong.covariance(scores, positive, names)[1] == pytest.approx(ordinary, abs=1e-15)


# Patient, diseased, reader 1, reader 2: stenosis in magnetic resonance angiography, the worked example of Obuchowski
# 1997, complete pairs only; the expected numbers are those her programme clusteredROC prints.
ANGIOGRAPHY = np.fromstring(
    """1 1 87 87 1 1 79 83 2 1 88 94 2 1 95 93 3 1 100 100 3 1 68 79 4 1 65 61 4 1 89 91 5 1 97 97 5 1 100 100
    6 1 100 99 6 1 89 88 7 1 77 77 8 1 94 89 8 0 45 44 9 1 89 92 9 0 -11 -17 10 1 95 91 10 0 30 14 11 1 95 95
    11 0 10 -122 12 1 100 100 12 0 19 -3 13 1 75 75 14 0 70 73 14 1 70 81 15 0 26 27 15 1 86 93 16 0 0 8 16 1 65 70
    17 0 6 23 17 1 100 100 18 0 76 79 18 1 96 95 19 0 44 55 19 1 100 100 20 0 73 67 20 1 97 94 21 1 85 86 22 0 58 60
    22 1 100 99 23 0 -2 -2 23 1 100 100 24 0 -3 -14 24 0 0 -11 25 0 47 -3 25 0 -94 -90 26 0 -16 17 26 0 75 85
    27 0 5 -22 27 0 -1 -14 28 0 -6 -52 29 0 37 38 29 0 47 35 30 0 42 40 30 0 4 6 31 0 55 23 31 0 55 45 32 0 4 -87
    32 0 -13 -65 33 0 49 24 33 0 35 9 34 0 53 66 35 0 2 -15 36 0 -48 -78""",
    sep=" ",
).reshape(-1, 4)


def test_clustered_delong_prints_the_published_example() -> None:
    owners, diseased, readers = ANGIOGRAPHY[:, 0], ANGIOGRAPHY[:, 1] == 1, ANGIOGRAPHY[:, 2:].T
    got = delong.Delong.of(readers, diseased, owners)
    assert got.areas == pytest.approx([0.9837, 0.9852], abs=5e-5)
    first = 0.0013151307 / 29 + 0.0022375873 / 36 + 2 * 0.0051785478 / (29 * 36)
    second = 0.0009284122 / 29 + 0.0022598583 / 36 - 2 * 0.0005015760 / (29 * 36)
    both = 0.0008484357 / 29 + 0.0019241250 / 36 + (0.0028648340 - 0.0015136931) / (29 * 36)
    assert got.covariance == pytest.approx(np.array([[first, both], [both, second]]), abs=1e-11)
    assert [got.area(k).error for k in (0, 1)] == pytest.approx([0.0108, 0.0097], abs=5e-5)
    contrast = got.difference(1, 0)
    assert (contrast.value, contrast.error, contrast.p()) == pytest.approx((0.0014, 0.0066, 0.8271), abs=5e-5)
    shown = contrast.interval()
    assert (shown.low, shown.high) == pytest.approx((-0.0115, 0.0143), abs=5e-5)
    assert shown.method == "DeLong clustered by patient"


def test_the_sign_of_a_difference_and_of_its_tests() -> None:
    rng = np.random.default_rng(21)
    positive = np.arange(200) % 2 == 0
    good, poor = rng.normal(size=200) + 2 * positive, rng.normal(size=200) + 0.5 * positive
    both = delong.Delong.of(np.stack([good, poor]), positive)
    loss, gain = both.difference(0, 1), both.difference(1, 0)
    assert loss.value > 0.1
    assert loss.z == pytest.approx(-gain.z)
    assert loss.p("greater") < 1e-4
    assert loss.p("greater") == pytest.approx(gain.p("less"))
    assert loss.p("greater") + loss.p("less") == pytest.approx(1)
    assert loss.p() == pytest.approx(2 * loss.p("greater"))
    assert (loss.bound("lower", 0.975), loss.bound("upper", 0.975)) == pytest.approx(
        (loss.interval().low, loss.interval().high)
    )


def test_two_classifiers_of_the_same_ranks_differ_by_nothing() -> None:
    rng = np.random.default_rng(22)
    positive = np.arange(60) % 2 == 0
    scores = rng.normal(size=60) + positive
    same = delong.Delong.of(np.stack([scores, np.exp(scores)]), positive).difference(0, 1)
    assert (same.value, same.error, same.z, same.p()) == (0, 0, 0, 1)


def test_delong_needs_two_patients_of_each_class_and_shapes_that_fit() -> None:
    scores, positive = np.arange(6.0)[None], np.arange(6) < 3
    with pytest.raises(InputError, match=r"1 patient\(s\) of the positive class"):
        delong.covariance(scores, positive, np.array([1, 1, 1, 2, 3, 4]))
    with pytest.raises(InputError, match=r"0 patient\(s\) of the negative class"):
        delong.covariance(scores, np.ones(6, bool))
    with pytest.raises(ValueError, match="do not fit"):
        delong.covariance(scores, positive[1:])
    with pytest.raises(ValueError, match="do not fit"):
        delong.covariance(scores, positive, np.arange(5))


def test_only_the_clustered_interval_covers_when_patients_have_several_images() -> None:
    """150 patients of 4 images, 80 % of the variance between patients: each of 600 repeats is one `classifier`."""
    rng = np.random.default_rng(23)
    owners, repeats, between = np.repeat(np.arange(150), 4), 600, 0.8
    positive = owners < 45
    truth = 0.85
    scores = np.sqrt(between) * rng.normal(size=(repeats, 150))[:, owners]
    scores += np.sqrt(1 - between) * rng.normal(size=(repeats, 600)) + np.sqrt(2) * stats.norm.ppf(truth) * positive
    cover = {}
    for name, own in (("clustered", owners), ("image", None)):
        areas, spread = delong.covariance(scores, positive, own)
        assert areas.mean() == pytest.approx(truth, abs=0.005)
        cover[name] = np.mean(np.abs(areas - truth) < 1.96 * np.sqrt(np.diagonal(spread)))
    assert 0.92 < cover["clustered"] < 0.975
    assert 0.60 < cover["image"] < 0.80


def test_clustered_delong_and_the_bootstrap_of_patients_agree() -> None:
    rng = np.random.default_rng(24)
    owners = np.repeat(np.arange(120), 3)
    positive = rng.random(360) < 0.4
    patient = rng.normal(size=(2, 120))[:, owners]
    scores = patient + 0.7 * rng.normal(size=(2, 360)) + np.array([[1.5], [1.2]]) * positive
    error = delong.Delong.of(scores, positive, owners).difference(0, 1).error
    weights = interval.subject_weights(owners, 800, rng)
    first, second = (interval.Auroc.of(s, positive)(weights) for s in scores)
    assert np.std(first - second) == pytest.approx(error, rel=0.1)
