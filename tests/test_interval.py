"""Intervals and AUROC against SciPy, scikit-learn, a published example and a textbook formula."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import roc_auc_score

from chambit.measure import bands, interval, resampling

COUNTS = st.integers(1, 400).flatmap(lambda of: st.tuples(st.integers(0, of), st.just(of)))


@settings(deadline=None, max_examples=60)
@given(COUNTS, st.sampled_from([0.8, 0.9, 0.95, 0.99]))
def test_clopper_pearson_is_scipys_exact_interval(counts: tuple[int, int], level: float) -> None:
    found, of = counts
    exact = stats.binomtest(found, of).proportion_ci(level, "exact")
    assert interval.clopper_pearson(found, of, level) == pytest.approx((exact.low, exact.high), abs=1e-9)


@settings(deadline=None, max_examples=30)
@given(COUNTS)
def test_one_sided_clopper_pearson_is_scipys(counts: tuple[int, int]) -> None:
    found, of = counts
    upper = stats.binomtest(found, of, alternative="less").proportion_ci(0.95, "exact").high
    lower = stats.binomtest(found, of, alternative="greater").proportion_ci(0.95, "exact").low
    assert interval.clopper_pearson(found, of, sides=1) == pytest.approx((lower, upper), abs=1e-9)


def test_clopper_pearson_knows_nothing_of_nothing() -> None:
    assert interval.clopper_pearson(0, 0) == (0.0, 1.0)


@settings(deadline=None, max_examples=60)
@given(COUNTS, st.sampled_from([0.8, 0.9, 0.95, 0.99]))
def test_wilson_is_scipys(counts: tuple[int, int], level: float) -> None:
    found, of = counts
    score = stats.binomtest(found, of).proportion_ci(level, "wilson")
    assert interval.wilson(found, of, level) == pytest.approx((score.low, score.high), abs=1e-9)


@pytest.mark.parametrize(
    ("counts", "published"),
    [  # Newcombe 1998, SIM 17:873, table II, examples a to h, method 10
        ((56, 70, 48, 80), (0.0524, 0.3339)),
        ((9, 10, 3, 10), (0.1705, 0.8090)),
        ((6, 7, 2, 7), (0.0582, 0.8062)),
        ((5, 56, 0, 29), (-0.0381, 0.1926)),
        ((0, 10, 0, 20), (-0.1611, 0.2775)),
        ((0, 10, 0, 10), (-0.2775, 0.2775)),
        ((10, 10, 0, 20), (0.6791, 1.0000)),
        ((10, 10, 0, 10), (0.6075, 1.0000)),
    ],
)
def test_newcombe_prints_the_published_table(counts: tuple[int, int, int, int], published: tuple[float, float]) -> None:
    assert interval.newcombe(*counts) == pytest.approx(published, abs=6e-5)


@given(COUNTS, COUNTS)
def test_newcombe_holds_the_difference_and_turns_with_the_groups(one: tuple[int, int], two: tuple[int, int]) -> None:
    low, high = interval.newcombe(*one, *two)
    assert low - 1e-12 <= one[0] / one[1] - two[0] / two[1] <= high + 1e-12
    assert interval.newcombe(*two, *one) == pytest.approx((-high, -low))


@pytest.mark.parametrize(("alpha", "n", "k"), [(0.01, 300, 3), (0.001, 999, 1), (0.05, 19, 1), (0.01, 399, 4)])
def test_realised_rate_is_the_beta_of_vovk(alpha: float, n: int, k: int) -> None:
    assert interval.realised_rate(alpha, n) == pytest.approx(stats.beta(k, n + 1 - k).interval(0.95))


def test_realised_rate_covers_what_thresholds_really_do() -> None:
    n, alpha = 199, 0.02
    calibration = np.sort(np.random.default_rng(1).random((2000, n)), axis=1)
    rates = 1 - calibration[:, -int(alpha * (n + 1))]  # of uniform scores: the share above the threshold
    low, high = interval.realised_rate(alpha, n)
    assert np.mean((low <= rates) & (rates <= high)) == pytest.approx(0.95, abs=0.02)


# --- AUROC


def _cases(count: int = 40) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Scores with many ties, truth with both classes, weights of which some are 0."""
    out = []
    for seed in range(count):
        rng = np.random.default_rng(seed)
        n = int(rng.integers(4, 60))
        truth = np.zeros(n, bool)
        truth[: int(rng.integers(1, n))] = True
        scores = rng.integers(0, 1 + n // 2, n).astype(float)
        weights = rng.integers(0, 4, n).astype(float)
        weights[[0, -1]] = 1
        out.append((scores, rng.permutation(truth) if seed % 2 else truth, weights))
    return out


def test_auroc_is_scikit_learns_with_ties() -> None:
    for scores, truth, _ in _cases():
        assert interval.auroc(scores, truth) == pytest.approx(roc_auc_score(truth, scores), abs=1e-12)


def test_weighted_auroc_is_scikit_learns() -> None:
    tried = 0
    for scores, truth, weights in _cases():
        many = np.stack([weights, np.ones_like(weights), 3 * weights])
        got = interval.Auroc.of(scores, truth)(many)
        if weights[truth].sum() and weights[~truth].sum():
            expected = roc_auc_score(truth, scores, sample_weight=weights)
            assert got == pytest.approx([expected, roc_auc_score(truth, scores), expected], abs=1e-12)
            tried += 1
    assert tried > 30


def test_auroc_of_a_resample_without_a_class_is_no_number() -> None:
    area = interval.Auroc.of(np.array([0.1, 0.2, 0.3]), np.array([True, False, False]))
    assert np.isnan(area(np.array([[0.0, 1.0, 1.0], [1.0, 0.0, 0.0]]))).all()


TRUTH = st.lists(st.tuples(st.integers(-50, 50), st.booleans()), min_size=2, max_size=60).filter(
    lambda rows: 0 < sum(truth for _, truth in rows) < len(rows)
)


@given(TRUTH, st.randoms(use_true_random=False))
def test_auroc_knows_neither_scale_nor_order(rows: list[tuple[int, bool]], random: object) -> None:
    scores, truth = np.array([s for s, _ in rows], float), np.array([t for _, t in rows])
    area = interval.auroc(scores, truth)
    assert 0 <= area <= 1
    assert interval.auroc(np.arctan(scores / 7) * 3 - 2, truth) == pytest.approx(area, abs=1e-12)
    assert interval.auroc(-scores, truth) == pytest.approx(1 - area, abs=1e-12)
    assert interval.auroc(scores, ~truth) == pytest.approx(1 - area, abs=1e-12)
    order = list(range(len(rows)))
    random.shuffle(order)  # type: ignore[attr-defined]
    assert interval.auroc(scores[order], truth[order]) == pytest.approx(area, abs=1e-12)


def test_macro_auroc_is_scikit_learns_one_against_rest() -> None:
    rng = np.random.default_rng(3)
    truth = np.arange(90) % 4
    scores = rng.dirichlet(np.ones(4), 90) + 0.2 * np.eye(4)[truth]
    scores /= scores.sum(1, keepdims=True)
    weights = rng.integers(0, 3, (2, 90)).astype(float)
    expected = [np.mean([roc_auc_score(truth == k, scores[:, k], sample_weight=w) for k in range(4)]) for w in weights]
    assert interval.macro_auroc(scores, truth)[0] == pytest.approx(
        roc_auc_score(truth, scores, multi_class="ovr", average="macro"), abs=1e-12
    )
    assert interval.macro_auroc(scores, truth, weights) == pytest.approx(expected, abs=1e-12)


def test_macro_auroc_of_two_classes_is_that_of_class_one() -> None:
    rng = np.random.default_rng(4)
    scores, truth = rng.normal(size=(50, 2)), np.arange(50) % 2
    assert interval.macro_auroc(scores, truth)[0] == pytest.approx(roc_auc_score(truth, scores[:, 1]), abs=1e-12)


# --- resampling by subject


SUBJECTS = st.lists(st.sampled_from("abcdefghij"), min_size=1, max_size=50).map(np.array)


@given(SUBJECTS, st.integers(0, 9))
def test_subject_weights_keep_subjects_together(subjects: np.ndarray, seed: int) -> None:
    weights = interval.subject_weights(subjects, 20, np.random.default_rng(seed))
    names, first = np.unique(subjects, return_index=True)
    assert weights.shape == (20, len(subjects))
    for name, at in zip(names, first, strict=True):
        assert (weights[:, subjects == name] == weights[:, [at]]).all()
    assert (weights[:, first].sum(1) == len(names)).all()


def test_subject_weights_draw_each_subject_once_on_average() -> None:
    weights = interval.subject_weights(np.arange(5), 4000, np.random.default_rng(0))
    assert weights.mean(0) == pytest.approx(np.ones(5), abs=0.07)
    assert weights.var(0) == pytest.approx(np.full(5, 0.8), abs=0.08)  # of a multinomial: 1 - 1/5


@given(SUBJECTS, st.integers(1, 12), st.integers(0, 9))
def test_groups_keep_subjects_together_and_are_balanced(subjects: np.ndarray, count: int, seed: int) -> None:
    group = interval.groups(subjects, count, np.random.default_rng(seed))
    own = {name: set(group[subjects == name].tolist()) for name in set(subjects.tolist())}
    assert all(len(groups) == 1 for groups in own.values())
    sizes = np.bincount([groups.pop() for groups in own.values()], minlength=count)
    assert len(sizes) == count
    assert sizes.max() - sizes.min() <= 1


def test_percentile_interval_covers_about_as_often_as_it_says() -> None:
    """Two images a subject that agree: an interval that forgot the subjects would cover about 0.84."""
    hits = 0
    repeats = 400
    for seed in range(repeats):
        rng = np.random.default_rng(seed)
        subjects = np.repeat(np.arange(40), 2)
        values = np.repeat(rng.normal(size=40), 2)
        weights = interval.subject_weights(subjects, 300, rng)
        got = interval.percentile((weights @ values) / weights.sum(1), 0.95, "bootstrap")
        hits += got.low <= 0 <= got.high
    assert 0.90 <= hits / repeats <= 0.98


def test_percentile_leaves_out_what_is_no_number() -> None:
    values = np.concatenate([np.arange(101.0), [np.nan] * 50])
    got = interval.percentile(values, 0.9, "words")
    assert (got.low, got.high) == pytest.approx((5, 95))
    assert (got.level, got.method, got.sides) == (0.9, "words", 2)


@given(st.lists(st.floats(-100, 100), min_size=3, max_size=40), st.sampled_from([0.8, 0.95]))
def test_jackknife_of_a_mean_is_the_classical_interval(values: list[float], level: float) -> None:
    x = np.array(values)
    left_out = (x.sum() - x) / (len(x) - 1)
    got = resampling.jackknife(float(x.mean()), left_out, level, "jackknife")
    half = stats.t.ppf((1 + level) / 2, len(x) - 1) * x.std(ddof=1) / np.sqrt(len(x))
    assert (got.low, got.high) == pytest.approx((x.mean() - half, x.mean() + half), abs=1e-6)


def _mean_of_squares(x: np.ndarray) -> float:
    """A number that is quadratic in the data and nothing else: the U-statistic of x_i . x_j."""
    n = len(x)
    return float((np.square(x.sum(0)).sum() - np.square(x).sum()) / (n * (n - 1)))


def test_two_groups_out_take_off_what_is_quadratic() -> None:
    """Of a degenerate U-statistic the jackknife's variance is twice the truth (Efron and Stein 1981)."""
    plain, mended, values = [], [], []
    for seed in range(100):
        rng = np.random.default_rng(seed)
        x, group = rng.normal(size=(200, 30)), np.arange(200) % 20
        whole = _mean_of_squares(x)
        one = np.array([_mean_of_squares(x[group != g]) for g in range(20)])
        two = np.array(
            [_mean_of_squares(x[(group != g) & (group != h)]) for g, h in zip(*np.triu_indices(20, 1), strict=True)]
        )
        for out, given_two in ((plain, None), (mended, two)):
            found = resampling.jackknife(whole, one, 0.95, "", given_two)
            out.append(((found.high - whole) / stats.t.ppf(0.975, 19)) ** 2)
        values.append(whole)
    truth = 2 * 30 / 200**2
    assert np.mean(plain) == pytest.approx(2 * truth, rel=0.2)
    # a half of the plain one is its floor, so that the mean stays a little above
    assert truth * 0.9 < np.mean(mended) < 1.3 * truth


@given(st.lists(st.floats(-100, 100), min_size=30, max_size=30))
def test_halves_of_a_mean_are_the_classical_interval_of_its_pairs(values: list[float]) -> None:
    """Thirty groups of one: half the squared differences of the fifteen pairs, as in McCarthy 1969."""
    x, kept = np.array(values), resampling.halves(15)
    assert kept.shape == (32, 30)
    assert (kept[:16] == ~kept[16:]).all()
    assert (kept.sum(1) == 15).all()
    halves = np.array([x[part].mean() for part in kept])
    error = np.sqrt(np.square(x[::2] - x[1::2]).sum()) / 30
    half = stats.t.ppf(0.975, 15) * error
    found = resampling.from_halves(float(x.mean()), halves, 0.95, "", smooth=False)
    assert (found.low, found.high) == pytest.approx((x.mean() - half, x.mean() + half), abs=1e-6)
    # a mean has nothing quadratic: the mean of a half and its complement is the mean of all
    assert resampling.from_halves(float(x.mean()), halves, 0.95, "", smooth=True).high == pytest.approx(found.high)


def test_smooth_halves_take_off_what_is_quadratic() -> None:
    kept, errors = resampling.halves(31), {True: [], False: []}
    for seed in range(100):
        x = np.random.default_rng(seed).normal(size=(62 * 4, 30))
        group = np.arange(len(x)) % 62
        halves = np.array([_mean_of_squares(x[part[group]]) for part in kept])
        for smooth, out in errors.items():
            found = resampling.from_halves(0.0, halves, 0.95, "", smooth=smooth)
            out.append((found.high / stats.t.ppf(0.975, 31)) ** 2)
    truth = 2 * 30 / (62 * 4) ** 2
    assert np.mean(errors[False]) == pytest.approx(2 * truth, rel=0.2)
    assert truth * 0.9 < np.mean(errors[True]) < 1.3 * truth


@pytest.mark.parametrize(
    ("subjects", "most", "pairs"), [(2, 31, 3), (27, 31, 3), (28, 31, 7), (123, 31, 15), (124, 31, 31), (9999, 15, 15)]
)
def test_pairs_are_as_many_as_subjects_allow(subjects: int, most: int, pairs: int) -> None:
    assert resampling.pairs_for(subjects, most) == pairs


# --- bands


@given(st.integers(0, 500), st.integers(0, 500))
def test_common_size_fits_both_sides(synthetic: int, real: int) -> None:
    n = bands.common_size(synthetic, np.arange(real))
    assert 0 <= n <= synthetic
    assert 2 * n <= 0.9 * real + 1e-9
    assert n == synthetic or n >= 0.45 * real - 2


def test_the_band_compares_disjoint_subjects_at_the_size_asked_for() -> None:
    subjects = np.repeat([f"s{k}" for k in range(30)], 2)
    seen = []

    def distance(left: np.ndarray, right: np.ndarray) -> list[float]:
        assert not set(subjects[left]) & set(subjects[right])
        assert len(left) == len(right) == 25
        seen.append(float(left.mean()))
        return [float(len(seen))]

    (band,) = bands.real_versus_real(distance, subjects, 25, 40, np.random.default_rng(0))
    assert len(set(seen)) > 30
    assert (band.low, band.middle, band.high) == pytest.approx(np.percentile(np.arange(1, 41), [2.5, 50, 97.5]))
    assert (band.draws, band.n) == (40, 25)


def test_pick_takes_each_at_most_once_and_no_more_than_there_are() -> None:
    rng = np.random.default_rng(0)
    some = bands.pick(np.arange(10, 30), 7, rng)
    assert len(set(some.tolist())) == 7
    assert set(some.tolist()) <= set(range(10, 30))
    assert bands.pick(np.arange(4), 9, rng).tolist() == [0, 1, 2, 3]
