"""Crossed intervals, detection and agreement against hand computation, published examples and simulation."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import cohen_kappa_score, roc_auc_score

from chambit.reading import agreement, crossed, detection, power
from chambit.reading.agreement import Pairs
from chambit.reading.votes import Table

ONE_KIND = np.zeros(3, int)


def tabled(scores: np.ndarray) -> Table:
    """Scores (R, N) as a table; every second image is synthetic."""
    readers, images = scores.shape
    names = tuple(f"r{k}" for k in range(readers)), tuple(f"i{k:03d}" for k in range(images))
    return Table(*names, np.arange(images) % 2 == 1, scores.astype(np.float64))


# --- crossed means


def test_mean_squares_by_hand() -> None:
    # readers' means 2 and 5, images' means 2, 3, 5.5, grand mean 3.5:
    # SSR = 3 (2.25 + 2.25) = 13.5, SSC = 2 (2.25 + 0.25 + 4) = 13, total 29.5, so SSE = 3
    table = np.array([[1.0, 2, 3], [3, 4, 8]])
    assert [float(one) for one in crossed.mean_squares(table)] == pytest.approx([3.5, 13.5, 6.5, 1.5])
    found = crossed.means(table, ONE_KIND)
    assert found.squares == pytest.approx((13.5, 6.5, 1.5))
    assert found.values.tolist() == [2.0, 5.0]


def test_error_and_freedom_by_hand() -> None:
    msr, msc, mse = (np.array(one) for one in (13.5, 6.5, 1.5))
    error, freedom = crossed.error(msr, msc, mse, 2, 3)
    assert float(error) == pytest.approx(np.sqrt(18.5 / 6))
    assert float(freedom) == pytest.approx(18.5**2 / (13.5**2 / 1 + 6.5**2 / 2 + 1.5**2 / 2))
    # images and rest cancel: the largest single mean square stands in, and freedom is not below that of the readers
    error, freedom = crossed.error(np.array(1.0), np.array(2.0), np.array(2.9), 4, 5)
    assert float(error) == pytest.approx(np.sqrt(2.0 / 20))
    assert float(freedom) == 3.0


@settings(deadline=None, max_examples=60)
@given(st.integers(2, 6), st.integers(2, 8), st.integers(1, 2), st.integers(0, 10_000))
def test_influences_give_the_mean_squares_of_the_analysis_of_variance(
    readers: int, each: int, groups: int, seed: int
) -> None:
    table = np.random.default_rng(seed).normal(size=(readers, each * groups))
    kinds = np.arange(each * groups) % groups
    mean, *squares = crossed.mean_squares(table, kinds)
    found = crossed.means(table, kinds)
    assert float(found.values.mean()) == pytest.approx(float(mean))
    assert found.squares == pytest.approx([float(one) for one in squares])


def test_a_difference_between_kinds_is_no_noise() -> None:
    """A reader who calls all synthetic is right on one kind; that is bias, not spread of images."""
    table = np.random.default_rng(0).normal(size=(4, 40))
    kinds = np.arange(40) % 2
    shifted = table + 5 * kinds
    assert crossed.means(shifted, kinds).squares == pytest.approx(crossed.means(table, kinds).squares)
    assert crossed.means(shifted, np.zeros(40, int)).squares[1] > 20 * crossed.means(table, kinds).squares[1]


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10_000))
def test_order_of_readers_and_images_changes_nothing(seed: int) -> None:
    rng = np.random.default_rng(seed)
    table = (rng.random((4, 30)) < 0.6).astype(float)
    table[rng.random(table.shape) < 0.1] = np.nan
    kinds = np.arange(30) % 2
    rows, columns = rng.permutation(4), rng.permutation(30)
    one = crossed.estimate(crossed.means(table, kinds), 0.95, "share", logit=True)
    other = crossed.estimate(crossed.means(table[rows][:, columns], kinds[columns]), 0.95, "share", logit=True)
    assert one.interval is not None
    assert other.interval is not None
    assert (other.value, other.interval.low, other.interval.high) == pytest.approx(
        (one.value, one.interval.low, one.interval.high)
    )


def test_the_interval_is_the_t_interval_of_the_error() -> None:
    table = np.random.default_rng(2).normal(size=(4, 20))
    one = crossed.estimate(crossed.means(table, np.zeros(20, int)), 0.9, "mean", logit=False)
    assert one.interval is not None
    assert one.interval.low == pytest.approx(one.value - stats.t.ppf(0.95, one.freedom) * one.error)
    assert one.interval.level == 0.9


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (np.tile([0.0, 1.0], (5, 5)), "every reader has the same accuracy"),  # all call all synthetic
        (np.random.default_rng(0).integers(0, 2, (1, 10)).astype(float), "1 of 3 readers"),
        (np.random.default_rng(0).integers(0, 2, (2, 10)).astype(float), "2 of 3 readers"),
    ],
)
def test_no_interval_of_width_zero(table: np.ndarray, words: str) -> None:
    one = crossed.estimate(crossed.means(table, np.arange(10) % 2), 0.95, "accuracy", logit=True)
    assert one.interval is None
    assert words in one.reason
    assert one.value == pytest.approx(table.mean())


@pytest.mark.parametrize(("said", "low", "high"), [(1.0, 0.025**0.1, 1.0), (0.0, 0.0, 1 - 0.025**0.1)])
def test_readers_who_never_differ_get_an_exact_interval_over_images(said: float, low: float, high: float) -> None:
    one = crossed.estimate(crossed.means(np.full((5, 10), said), np.zeros(10, int)), 0.95, "share", logit=True)
    assert one.interval is not None
    assert (one.interval.low, one.interval.high) == (pytest.approx(low), pytest.approx(high))
    assert one.error is None  # and so no test of equivalence
    few = crossed.estimate(crossed.means(np.full((2, 10), said), np.zeros(10, int)), 0.95, "share", logit=True)
    assert few.interval is None


def test_readers_without_a_common_image_give_no_interval() -> None:
    table = np.full((3, 12), np.nan)
    for reader in range(3):
        table[reader, 4 * reader : 4 * reader + 4] = [0, 1, 1, 0]
    one = crossed.estimate(crossed.means(table, np.zeros(12, int)), 0.95, "accuracy", logit=True)
    assert "too few images in common" in one.reason


def test_equivalence_is_shown_exactly_where_the_interval_is_inside_the_margin() -> None:
    rng = np.random.default_rng(3)
    shown = []
    for _ in range(60):
        table = (rng.random((4, 60)) < 0.45 + 0.1 * rng.random((4, 1))).astype(float)
        one = crossed.estimate(crossed.means(table, np.arange(60) % 2), 0.95, "accuracy", logit=True)
        found = crossed.equivalence(one, 0.1, 0.95)
        assert found.p is not None
        assert found.low is not None
        assert found.high is not None
        inside = found.low > 0.4 and found.high < 0.6
        assert (found.p < found.alpha) is inside
        shown.append(inside)
    assert 5 < sum(shown) < 55


def test_equivalence_by_hand() -> None:
    one = crossed.Estimate(0.45, None, "", 10, 100, error=0.02, freedom=7.0)
    found = crossed.equivalence(one, 0.1, 0.95)
    assert found.p == pytest.approx(stats.t.sf(2.5, 7))  # (0.45 - 0.40) / 0.02
    assert (found.low, found.high) == pytest.approx((0.45 - 1.894579 * 0.02, 0.45 + 1.894579 * 0.02), abs=1e-6)


@pytest.mark.parametrize(("value", "readers", "p"), [(1.0, 5, 1.0), (1.0, 1, None), (0.5, 5, None)])
def test_equivalence_without_spread(value: float, readers: int, p: float | None) -> None:
    found = crossed.equivalence(crossed.Estimate(value, None, "no spread", readers, 20), 0.15, 0.95)
    assert (found.p, found.low, found.reason) == (p, None, "no spread")


def test_crossed_intervals_cover_and_pooled_ones_do_not() -> None:
    rng, readers, images, draws = np.random.default_rng(4), 5, 100, 3000
    tables = power.tables(readers, images, power.World(0.3, 0.6, 0.5), draws, rng)
    mean, msr, msc, mse = crossed.mean_squares(tables)
    error, freedom = crossed.error(msr, msc, mse, readers, images)
    covered = np.abs(mean - 0.5) <= stats.t.ppf(0.975, freedom) * error
    pooled = np.abs(mean - 0.5) <= 1.96 * np.sqrt(mean * (1 - mean) / (readers * images))
    assert 0.93 < covered.mean() < 0.97
    assert pooled.mean() < 0.75


# --- detection


def test_dprime_of_a_textbook_table() -> None:
    # Macmillan and Creelman 2005, chapter 1: H = 0.8, F = 0.3 gives d' = 0.842 + 0.524 = 1.366, c = -0.159
    found = detection.signal(80_000, 100_000, 30_000, 100_000)
    assert found == pytest.approx((1.366, -0.159), abs=1e-3)
    few = detection.signal(20, 25, 10, 25)  # with 0.5 / 1 added: H = 20.5/26, F = 10.5/26
    assert few.dprime == pytest.approx(stats.norm.ppf(20.5 / 26) - stats.norm.ppf(10.5 / 26))
    assert np.isfinite(detection.signal(25, 25, 0, 25)).all()


@pytest.mark.parametrize("counts", [(1, 0, 1, 5), (6, 5, 1, 5), (-1, 5, 1, 5)])
def test_impossible_counts_are_refused(counts: tuple[int, int, int, int]) -> None:
    with pytest.raises(ValueError, match="cannot be"):
        detection.signal(*counts)


def test_bias_is_not_accuracy() -> None:
    """Two readers with accuracy 0.45, one of whom calls nearly everything synthetic."""
    fair, keen = detection.signal(50, 100, 60, 100), detection.signal(90, 100, 99, 100)
    assert abs(fair.criterion) < 0.15 < 1.5 < -keen.criterion


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10_000))
def test_areas_are_scikit_learns(seed: int) -> None:
    scores = np.random.default_rng(seed).integers(1, 7, (3, 30)).astype(float)
    table = tabled(scores)
    wanted = [roc_auc_score(table.synthetic, row) for row in scores]
    assert detection.areas(table).values == pytest.approx(wanted)


def test_the_variance_of_the_area_is_that_of_the_one_shot_estimator() -> None:
    """Gallas 2006: squared mean area minus the mean product of two wins that share neither reader nor image."""
    rng = np.random.default_rng(8)
    ours, gallas, means = [], [], []
    for _ in range(150):
        skill, image = 0.4 + 0.3 * rng.normal(size=(4, 1)), 0.6 * rng.normal(size=40)
        side = np.where(np.arange(40) % 2 == 1, 1.0, -1.0)
        table = tabled(np.clip(np.round(3.5 + 1.5 * (side * (skill + image) + rng.normal(size=(4, 40)))), 1, 6))
        found = detection.areas(table)
        ours.append((found.between + 4 * found.shared) / 4)
        gallas.append(_one_shot(table))
        means.append(found.values.mean())
    assert np.corrcoef(ours, gallas)[0, 1] > 0.99
    assert np.mean(ours) == pytest.approx(np.mean(gallas), rel=0.05)
    assert np.mean(ours) == pytest.approx(np.var(means), rel=0.3)


def _one_shot(table: Table) -> float:
    up, down = table.scores[:, table.synthetic], table.scores[:, ~table.synthetic]
    wins = (up[:, :, None] > down[:, None, :]) + 0.5 * (up[:, :, None] == down[:, None, :])
    # sums of products by what two wins share; all different by inclusion and exclusion
    total = 0.0
    for over_reader, over_up, over_down in np.ndindex(2, 2, 2):
        axes = tuple(axis for axis, gone in enumerate((over_reader, over_up, over_down)) if not gone)
        total += (-1) ** (over_reader + over_up + over_down) * np.square(wins.sum(axes)).sum()
    r, m, n = wins.shape
    return float(wins.mean() ** 2 - total / (r * (r - 1) * m * (m - 1) * n * (n - 1)))


def test_crossed_area_covers() -> None:
    inside, studies = 0, 250
    rng = np.random.default_rng(9)
    for _ in range(studies):
        skill, image = 0.3 * rng.normal(size=(5, 1)), 0.6 * rng.normal(size=100)
        side = np.where(np.arange(100) % 2 == 1, 1.0, -1.0)
        table = tabled(np.clip(np.round(3.5 + 1.5 * (side * (skill + image) + rng.normal(size=(5, 100)))), 1, 6))
        spread = crossed.estimate(detection.areas(table), 0.95, "AUC", logit=True).interval
        assert spread is not None
        inside += spread.low <= 0.5 <= spread.high
    assert 0.91 <= inside / studies <= 0.99


def test_signals_move_as_their_influences_say() -> None:
    """Leaving an image out moves d' by about minus its influence."""
    scores = np.random.default_rng(1).integers(1, 7, (4, 200))
    table = tabled(scores)
    dprime, criterion = detection.signals(table)
    assert dprime.values[0] == pytest.approx(_signal(table, 0).dprime)
    assert criterion.values[0] == pytest.approx(_signal(table, 0).criterion)
    jackknife = []
    for reader in range(4):
        left = np.array([_signal(_without(table, k), reader).dprime for k in range(200)])
        jackknife.append(199 / 200 * np.square(left - left.mean()).sum())
    assert dprime.own == pytest.approx(np.mean(jackknife), rel=0.03)


def _without(table: Table, image: int) -> Table:
    scores = table.scores.copy()
    scores[:, image] = np.nan
    return table._replace(scores=scores)


def _signal(table: Table, reader: int) -> detection.Signal:
    called, read = table.called[reader], ~np.isnan(table.scores[reader])
    up, down = (called[read & (table.synthetic == kind)] for kind in (True, False))
    return detection.signal(int(up.sum()), len(up), int(down.sum()), len(down))


@pytest.mark.parametrize(("found", "of"), [(0, 30), (30, 30), (45, 100)])
def test_each_reader_has_the_exact_interval(found: int, of: int) -> None:
    exact = stats.binomtest(found, of).proportion_ci(0.95, "exact")
    assert detection.clopper_pearson(found, of, 0.95) == pytest.approx((exact.low, exact.high))


# --- agreement

FLEISS_1971 = [  # table 1: 30 patients, 6 psychiatrists each, 5 diagnoses
    "00060 03003 01401 00006 03030 20400 00402 20310 20040 00006 10050 11040 03300 10050 02031 00501 30012 51000 02040",
    "10203 00006 01050 02013 20040 10041 05010 40002 02040 10500 00006",
]


def test_fleiss_kappa_of_fleiss() -> None:
    counts = np.array([[int(one) for one in word] for line in FLEISS_1971 for word in line.split()])
    assert counts.shape == (30, 5)
    assert float(agreement.fleiss(counts)[0]) == pytest.approx(0.430, abs=5e-4)


def test_fleiss_kappa_of_two_raters_is_scotts_pi() -> None:
    one, other = np.random.default_rng(0).integers(0, 2, (2, 50))
    p = (one.mean() + other.mean()) / 2
    chance = p**2 + (1 - p) ** 2
    total = one + other
    found = float(agreement.fleiss(np.stack([total, 2 - total], 1))[0])
    assert found == pytest.approx(((one == other).mean() - chance) / (1 - chance))


def test_fleiss_kappa_needs_equal_ratings() -> None:
    with pytest.raises(ValueError, match="same number of ratings"):
        agreement.fleiss(np.array([[2, 1], [1, 1]]))
    assert np.isnan(agreement.fleiss(np.array([[3, 0], [3, 0]]))[0])


def test_kappa_sees_shared_impressions_and_only_those() -> None:
    rng = np.random.default_rng(0)
    impression = rng.normal(size=200)
    shared = tabled(np.where(impression + 0.3 * rng.normal(size=(5, 200)) > 0, 5, 2))
    alone = tabled(np.where(rng.normal(size=(5, 200)) > 0, 5, 2))
    agree, none = (agreement.among(one, 0.95) for one in (shared, alone))
    assert agree.interval is not None
    assert none.interval is not None
    assert agree.interval.low > 0.5
    assert none.interval.low < 0 < none.interval.high


def test_kappa_uses_images_all_have_read_and_says_what_it_lacks() -> None:
    scores = np.random.default_rng(0).integers(1, 7, (3, 20)).astype(float)
    scores[0, :5] = np.nan
    assert agreement.among(tabled(scores), 0.95).cases == 15
    one_call = agreement.among(tabled(np.full((3, 20), 5.0)), 0.95)
    assert (one_call.value, one_call.interval) == (None, None)
    assert "nothing is left" in one_call.reason
    assert agreement.among(tabled(scores[:1]), 0.95).value is None


def test_krippendorffs_alpha_of_krippendorff() -> None:
    # Krippendorff 2011, "Computing Krippendorff's Alpha-Reliability", example D; ordinal 0.815
    n = np.nan
    ratings = [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, n, n, n],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, n, 3],
        [n, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, n],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, n],
    ]
    assert agreement.krippendorff(np.array(ratings)) == pytest.approx(0.815, abs=5e-4)
    assert agreement.krippendorff(np.full((2, 5), 3.0)) is None
    assert agreement.krippendorff(np.array([[1.0, n], [n, 2]])) is None


def test_intra_kappa_of_one_strictness_is_cohens() -> None:
    first, second = np.random.default_rng(2).integers(1, 7, (2, 60))
    blocks = np.arange(60) % 3  # three readers; one of them alone is Cohen's kappa
    share, kappa = agreement.within(Pairs(np.zeros(60, int), first, second, 1), 0.95, 3.5)
    assert kappa.value == pytest.approx(cohen_kappa_score(first > 3, second > 3))
    assert share.value == pytest.approx(((first > 3) == (second > 3)).mean())
    assert share.interval is None
    three, _ = agreement.within(Pairs(blocks, first, second, 3), 0.95, 3.5)
    assert three.interval is not None
    assert three.interval.low < three.interval.high


def test_readers_of_different_strictness_are_not_consistent_by_that() -> None:
    rng = np.random.default_rng(3)
    reader = np.repeat(np.arange(4), 400)
    strict = np.array([0.1, 0.3, 0.7, 0.9])[reader]
    first, second = (np.where(rng.random(1600) < strict, 5, 2) for _ in range(2))
    _, kappa = agreement.within(Pairs(reader, first, second, 4), 0.95, 3.5)
    assert abs(kappa.value or 1) < 0.06
    assert cohen_kappa_score(first, second) > 0.3  # pooled, it seems so


def test_no_repeats_is_a_reason() -> None:
    nothing = np.zeros(0, int)
    share, kappa = agreement.within(Pairs(nothing, nothing, nothing, 0), 0.95, 3.5)
    assert (share.value, kappa.value, share.reason) == (None, None, "no image came back")


def test_relabelled_raters_change_no_kappa() -> None:
    calls = np.random.default_rng(5).integers(0, 2, (3, 25))
    values = set()
    for order in permutations(range(3)):
        total = calls[list(order)].sum(0)
        values.add(float(agreement.fleiss(np.stack([total, 3 - total], 1))[0]))
    assert len(values) == 1
