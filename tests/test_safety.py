"""Copies, membership and exchangeability: exact where there is nothing, loud where a copy lies, INVALID when blind."""

import itertools
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats

from chambit.core.evidence import Evidence, Verdict
from chambit.core.steps import Context
from chambit.measure import finder, plants, search
from chambit.measure.descriptors import TURNS, Describer, shrink, turned
from chambit.measure.examination import Result
from chambit.measure.finder import Finder, squares
from chambit.measure.fusion import Found
from chambit.measure.safety import copies, membership
from chambit.measure.safety.membership import Ranking, enrichment, rank
from chambit.review.verdict import overall
from examinations import Cohort, by_key, cohorts, depth, judged, measure, patients, workplace


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Context]:
    with workplace(tmp_path_factory.mktemp("safety")) as made:
        yield made


@pytest.fixture(scope="module")
def describer() -> Describer:
    auxiliary = patients(100, 1, "a")
    return Describer.fit(auxiliary.grey, auxiliary.subjects)


@pytest.fixture(scope="module")
def real() -> np.ndarray:
    return patients(60, 2, "r").grey


def _value(result: Result, key: str) -> float:
    value = by_key(result)[key].value
    assert value is not None
    return value


# --- descriptors


def _back(turn: int) -> int:
    """The turn that undoes another, found by trying."""
    image = np.arange(9.0).reshape(1, 3, 3)
    (back,) = [t for t in range(8) if np.array_equal(turned(turned(image, turn), t), image)]
    return back


def test_the_eight_turns_are_all_there_are() -> None:
    image = np.arange(9.0).reshape(1, 3, 3)
    seen = {turned(image, turn).tobytes() for turn in range(8)}
    assert len(seen) == len(TURNS) == 8
    assert np.array_equal(turned(image, 0), image)
    assert np.array_equal(turned(image, 4), image[:, :, ::-1])
    # two turns make one of the eight: they are the symmetries of the square
    assert {turned(turned(image, a), b).tobytes() for a, b in itertools.product(range(8), repeat=2)} == seen


@pytest.mark.parametrize(("shape", "side"), [((64, 64), 32), ((50, 37), 32), ((20, 48), 32), ((7, 5), 3)])
def test_shrinking_keeps_the_mean(shape: tuple[int, int], side: int) -> None:
    images = np.random.default_rng(0).random((4, *shape)).astype(np.float32)
    small = shrink(images, side)
    assert small.shape == (4, side, side)
    assert small.mean((1, 2)) == pytest.approx(images.mean((1, 2)), abs=1e-6)
    assert shrink(np.full_like(images, 0.3), side) == pytest.approx(0.3, abs=1e-6)


def test_shrinking_by_two_averages_and_to_the_same_size_does_nothing() -> None:
    images = np.random.default_rng(1).random((3, 8, 8)).astype(np.float32)
    assert np.array_equal(shrink(images, 8), images)
    assert shrink(images, 4) == pytest.approx(images.reshape(3, 4, 2, 4, 2).mean((2, 4)), abs=1e-6)


@pytest.mark.parametrize("turn", range(8), ids=TURNS)
def test_the_right_turn_is_found(describer: Describer, real: np.ndarray, turn: int) -> None:
    compared = describer.compare(turned(real, turn), describer.describe(real))
    for scores, which in compared:
        assert scores.shape == which.shape == (60, 60)
        assert (scores.argmax(1) == np.arange(60)).all()
        assert (np.diag(which) == _back(turn)).all()


def test_exact_copies_beat_everybody_else(describer: Describer, real: np.ndarray) -> None:
    fresh = patients(200, 3, "f").grey
    group = np.zeros(60, int)
    reference = describer.describe(real)
    same = describer.nearest(real, reference, group)
    other = describer.nearest(fresh, reference, group)
    assert same.index[:, 0].tolist() == list(range(60))
    assert same.score.min() > 1.5 * other.score.max()
    assert (same.turn == 0).all()


def test_the_scale_is_that_of_strangers(describer: Describer) -> None:
    """0 is the 80 % point of the nearest of another subject, 1 the mean excess above it, for every detector."""
    auxiliary = patients(100, 1, "a")
    compared = describer.compare(auxiliary.grey, describer.describe(auxiliary.grey))
    for scores, _ in compared:
        nearest = np.where(np.eye(100, dtype=bool), -np.inf, scores).max(1)
        assert np.quantile(nearest, 0.8) == pytest.approx(0, abs=1e-3)
        assert nearest[nearest > 0].mean() == pytest.approx(1, abs=1e-2)


def test_the_scale_does_not_count_the_same_subject() -> None:
    """Two images of everybody: were they compared with each other, the scale would be that of copies."""
    twice = patients(60, 4, "a", each=2)
    by_subject = Describer.fit(twice.grey, twice.subjects)
    by_image = Describer.fit(twice.grey, np.arange(120).astype(str))
    assert (by_subject.start[:2] < by_image.start[:2] - 0.2).all()


def test_the_search_depends_neither_on_batch_nor_on_order(describer: Describer, real: np.ndarray) -> None:
    queries = patients(50, 5, "q").grey
    reference, group = describer.describe(real), np.arange(60) % 3
    whole = describer.nearest(queries, reference, group)
    small = describer.nearest(queries, reference, group, block=7)
    order = np.random.default_rng(0).permutation(50)
    mixed = describer.nearest(queries[order], reference, group)
    for name in ("score", "index", "turn", "detector"):
        one, two, three = (getattr(found, name) for found in (whole, small, mixed))
        assert two == pytest.approx(one, abs=1e-4)
        assert three == pytest.approx(one[order], abs=1e-4)
    assert (group[whole.index] == np.arange(3)).all()


def test_the_log_polar_descriptor_sees_through_a_shift(describer: Describer, real: np.ndarray) -> None:
    wide = np.pad(real, ((0, 0), (8, 8), (8, 8)), mode="wrap")
    moved = wide[:, 5:37, 11:43]
    scores, _ = describer.compare(moved, describer.describe(real))[2]
    assert (scores.argmax(1) == np.arange(60)).mean() > 0.4  # a third of the picture is new; chance is 1 in 60


# --- conformal p-values


def test_p_values_are_the_definition() -> None:
    calibration = np.array([1.0, 2.0, 2.0, 3.0])
    scores = np.array([0.5, 1.0, 2.0, 2.5, 3.0, 3.5])
    expected = [(1 + (calibration >= s).sum()) / 5 for s in scores]
    assert copies._p_values(scores, calibration).tolist() == expected == [1, 1, 0.8, 0.4, 0.4, 0.2]


@pytest.mark.parametrize("ties", [False, True])
def test_p_values_hold_their_level(ties: bool) -> None:
    """P(p <= a) = floor(a (n + 1)) / (n + 1) for scores without ties, less with them, never above a."""
    rng = np.random.default_rng(1)
    drawn = rng.normal(size=(6000, 50))
    drawn = np.round(2 * drawn) if ties else drawn
    p = np.array([copies._p_values(row[:1], np.sort(row[1:]))[0] for row in drawn])
    for alpha in (0.02, 0.05, 0.1, 0.3, 0.75):
        exact = int(alpha * 50 + 1e-9) / 50
        error = 4 * np.sqrt(exact * (1 - exact) / len(p))
        assert (p <= alpha).mean() < exact + error
        assert ties or (p <= alpha).mean() > exact - error


@pytest.mark.parametrize(("n", "alpha"), [(99, 0.01), (300, 0.01), (399, 0.01), (999, 0.001), (1500, 0.001)])
def test_above_the_threshold_is_what_is_flagged(n: int, alpha: float) -> None:
    calibration = np.sort(np.random.default_rng(n).normal(size=n))
    near = np.concatenate([calibration, calibration + 1e-9, calibration - 1e-9])
    flagged = copies._p_values(near, calibration) <= alpha
    assert flagged.any()
    assert np.array_equal(flagged, near > search.threshold(calibration, alpha))


# --- nothing there


@pytest.fixture(scope="module")
def nothing(context: Context) -> tuple[Result, Result]:
    """Fresh patients of the same kind, with a holdout as large as the policy asks for."""
    given = cohorts(40, holdout=300, synthetic=200) | {"test": patients(60, 40, "v")}
    return measure(context, "copies", given, least=300), measure(context, "membership", given, least=300)


def test_fresh_patients_do_not_fail(nothing: tuple[Result, Result]) -> None:
    evidence = judged(*nothing)
    assert evidence["copies.exact"].value == 0
    assert evidence["copies.flagged"].value <= 200 * 0.03  # type: ignore[operator]
    assert evidence["membership.p"].verdict is Verdict.PASS
    assert overall(evidence.values()).verdict is Verdict.CONDITIONAL
    assert all(item.control is not None and item.control.fired for item in evidence.values())


def test_copies_say_what_they_rest_on(nothing: tuple[Result, Result]) -> None:
    result = nothing[0]
    finding = by_key(result)["copies.flagged"]
    assert finding.n["holdout subjects"] == 300
    assert finding.details["alpha"] == 0.01  # 300 subjects do not reach 0.001
    assert finding.null == pytest.approx(2)
    assert finding.interval is not None
    assert finding.interval.low <= finding.value <= finding.interval.high  # type: ignore[operator]
    assert finding.details["fresh"]["images"] == 60  # type: ignore[index]
    assert set(finding.inputs) == {"train", "holdout", "auxiliary", "synthetic"}
    families = finding.details["families"]
    assert [row["family"] for row in families] == list(plants.FAMILIES)  # type: ignore[attr-defined]
    assert result.scores is not None
    assert len(result.scores) == 200
    assert result.scores["copies.flagged"].sum() == finding.value
    assert [pair.score for pair in result.pairs] == sorted((pair.score for pair in result.pairs), reverse=True)


def test_membership_is_seldom_small_where_nothing_is(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    fitted = Finder.fit(squares(patients(200, 3, "other").grey), 1.0)  # once, on other patients
    monkeypatch.setattr(Finder, "fit", lambda population, aspect: fitted)
    p = [
        _value(measure(context, "membership", cohorts(seed), seed, permutations=400), "membership.p")
        for seed in range(50, 60)
    ]
    assert sum(one <= 0.01 for one in p) <= 1
    assert sum(one <= 0.1 for one in p) <= 4
    assert max(p) > 0.4


def test_a_collapsed_generator_is_not_a_leak(context: Context) -> None:
    """Three pictures that belong to nobody, half of each the population's mean, a hundred and fifty times."""
    for seed in (60, 61):
        given = cohorts(seed)
        three = patients(3, seed, "x").grey
        noise = np.random.default_rng(seed).normal(0, 0.01, (150, 32, 32))
        blurs = 0.5 * given["train"].grey.mean(0) + 0.5 * three[np.arange(150) % 3] + noise
        result = measure(context, "membership", given | {"synthetic": given["synthetic"].of(blurs)}, seed)
        finding = by_key(result)["membership.p"]
        assert finding.value > 0.05  # type: ignore[operator]
        assert finding.control is not None
        assert finding.control.fired
        assert len(finding.details["top"]) < 30  # type: ignore[arg-type]


# --- copies there


@pytest.fixture(scope="module")
def leak(context: Context) -> tuple[Result, Result]:
    """Twenty training images, lightly altered, among a hundred and fifty fresh ones."""
    given = cohorts(70)
    rng = np.random.default_rng(0)
    mine = given["train"][rng.choice(120, 20, replace=False)]
    altered = mine.grey**1.1 + rng.normal(0, 0.02, mine.pixels.shape)
    given["synthetic"] += mine.of(altered)
    return measure(context, "copies", given), measure(context, "membership", given)


def test_altered_copies_are_flagged_and_fail(leak: tuple[Result, Result]) -> None:
    scores = leak[0].scores
    assert scores is not None
    assert scores["copies.flagged"][150:].sum() >= 18
    evidence = judged(*leak)
    assert evidence["copies.exact"].value == 0
    assert evidence["copies.flagged"].value >= 18  # type: ignore[operator]
    assert evidence["copies.flagged"].verdict is Verdict.CONDITIONAL  # readers decide
    assert evidence["copies.rate_bound"].value > 20 / 170  # type: ignore[operator]
    assert evidence["copies.rate_bound"].verdict is Verdict.FAIL
    assert evidence["membership.p"].value <= 0.01  # type: ignore[operator]
    assert evidence["membership.p"].verdict is Verdict.FAIL
    excess = evidence["membership.excess"]
    assert excess.interval is not None
    assert excess.interval.low > 0
    assert overall(evidence.values()).verdict is Verdict.FAIL


def test_the_pairs_name_the_copy_and_its_original(leak: tuple[Result, Result]) -> None:
    rng = np.random.default_rng(0)
    originals = rng.choice(120, 20, replace=False)
    expected = {(f"synthetic{150 + k:05d}", f"train{original:05d}") for k, original in enumerate(originals)}
    shown = {(pair.synthetic, pair.real) for pair in leak[0].pairs if pair.flagged}
    assert len(shown & expected) >= 18
    assert leak[0].scores is not None
    assert (leak[0].scores["copies.nearest"][150:] == [f"train{k:05d}" for k in originals]).mean() > 0.9


def test_the_bound_is_that_of_the_flags_over_the_recall() -> None:
    options = copies.Options.model_validate(
        {"alpha": 0.1, "alpha_small": 0.1, "least": 1, "least_auxiliary": 1, "plants": 1}
        | {"compulsory": {"x": 0.1, "y": 0.1}, "covered_recall": 0.1, "likely": 0.1, "enough": 1}
    )
    families = [copies.Plants(name, "same", 1, 1, low, 1.0, 1) for name, low in (("x", 0.9), ("y", 0.7), ("z", 0.0))]
    upper = stats.binomtest(3, 100, alternative="less").proportion_ci(0.95, "exact").high
    assert copies._bound(3, 100, families, options) == pytest.approx(upper / 0.8)
    assert copies._bound(90, 100, families, options) == 1


def test_exact_copies_are_counted_in_any_turn(context: Context) -> None:
    """One of each of the eight, of eight patients; one of them with one pixel changed by one grey level."""
    given = cohorts(71, synthetic=30)
    mine = given["train"][20:28]
    pixels = np.concatenate([turned(mine.pixels[[turn]], turn) for turn in range(8)])
    pixels[5, 9, 9] ^= 1
    given["synthetic"] += mine._replace(pixels=pixels)
    evidence = judged(measure(context, "copies", given, plants=3))["copies.exact"]
    assert evidence.value == 7
    assert evidence.verdict is Verdict.FAIL


def test_an_exact_copy_is_counted_at_another_depth(context: Context) -> None:
    """The same picture kept at 8 and at 16 bits; one grey level elsewhere is another picture."""
    given = cohorts(72, synthetic=30)
    wide = {role: cohort._replace(pixels=cohort.pixels.astype(np.uint16) * 257) for role, cohort in given.items()}
    narrow = given["train"][:3].pixels.copy()
    narrow[2, 0, 0] ^= 1
    given["synthetic"] += given["train"][:3]._replace(pixels=narrow)
    mixed = wide | {"synthetic": given["synthetic"]}
    assert _value(measure(context, "copies", mixed, plants=3), "copies.exact") == 2
    wide["synthetic"] = given["synthetic"]._replace(pixels=given["synthetic"].pixels.astype(np.uint16) * 257)
    mixed = given | {"synthetic": wide["synthetic"]}
    assert _value(measure(context, "copies", mixed, plants=3), "copies.exact") == 2


def test_an_8_bit_copy_of_16_bit_data_is_exact(context: Context) -> None:
    given = cohorts(73, synthetic=30)
    fine = patients(120, 7300, "train", dtype=np.uint16)
    rounded = fine[:3]._replace(pixels=depth(fine[:3].grey, np.uint8))
    result = measure(context, "copies", given | {"train": fine, "synthetic": given["synthetic"] + rounded}, plants=3)
    assert by_key(result)["copies.flagged"].value >= 3  # type: ignore[operator]
    assert _value(result, "copies.exact") == 3


# --- what cannot be measured, and a detector that is blind


@pytest.mark.parametrize("name", ["copies", "membership"])
def test_a_small_holdout_is_not_run_with_the_number_needed(context: Context, name: str) -> None:
    result = measure(context, name, cohorts(1, holdout=60), least=300)
    module = {"copies": copies, "membership": membership}[name]
    assert {finding.quantity for finding in result.findings} == set(module.QUANTITIES)
    for evidence in judged(result).values():
        assert evidence.value is None
        assert evidence.verdict is Verdict.NOT_RUN
        assert evidence.n["holdout subjects"] == 60
        assert "60 subjects" in evidence.because
        assert "300" in evidence.because
        assert name != "copies" or "999" in evidence.because


def test_the_holdout_is_counted_in_subjects(context: Context) -> None:
    given = cohorts(1)
    given["holdout"] = patients(60, 9, "holdout", each=2)
    for name in ("copies", "membership"):
        assert all("60 subjects" in finding.reason for finding in measure(context, name, given).findings)


@pytest.mark.parametrize("name", ["copies", "membership"])
@pytest.mark.parametrize("role", ["auxiliary", "train", "holdout", "synthetic"])
def test_a_missing_role_is_not_run(context: Context, name: str, role: str) -> None:
    given = cohorts(1)
    del given[role]
    for evidence in judged(measure(context, name, given)).values():
        assert evidence.verdict is Verdict.NOT_RUN
        assert role in evidence.because


def _noise(self: Finder, queries: np.ndarray, references: np.ndarray, group: np.ndarray) -> Found:
    """Scores that know nothing of the pictures."""
    shape = (len(queries), int(group.max()) + 1, len(finder.DETECTORS))
    rng = np.random.default_rng(int(queries.astype(np.float64).sum() * 1000) % 2**32)
    index = np.stack([rng.choice(np.flatnonzero(group == g), (shape[0], shape[2])) for g in range(shape[1])], axis=1)
    maps = np.broadcast_to(np.eye(2, 3, dtype=np.float32), (*shape[:2], 2, 3))
    return Found(rng.normal(size=shape).astype(np.float32), index, np.zeros(shape, np.int8), maps)


@pytest.mark.parametrize("name", ["copies", "membership"])
def test_a_blind_detector_is_invalid(context: Context, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Copies lie there; a detector that sees nothing must not say that nothing is there."""
    given = cohorts(74)
    given["synthetic"] += given["train"][:20].of(given["train"][:20].grey ** 1.1)
    monkeypatch.setattr(Finder, "search", _noise)
    for evidence in judged(measure(context, name, given)).values():
        if evidence.key == "copies.exact":  # looked up by digest, not by the detector
            continue
        assert evidence.control is not None
        assert not evidence.control.fired
        assert evidence.verdict is Verdict.INVALID
        assert evidence.control.name in evidence.because


def test_one_compulsory_family_that_is_missed_makes_it_invalid(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A search that does not look at quarter turns, and whose spectrum sees nothing, finds all but one family."""
    upright = tuple(replace(group, turns=tuple(t for t in group.turns if t % 2 == 0)) for group in finder.SCORED)
    monkeypatch.setattr(finder, "SCORED", upright)
    monkeypatch.setattr(Finder, "_spectra", lambda self, squares: torch.randn(len(squares), 8))
    result = measure(context, "copies", cohorts(75, synthetic=30), plants=10)
    finding = by_key(result)["copies.flagged"]
    assert finding.control is not None
    assert finding.control.observed.endswith("missed: turn90")
    assert "turn90" in finding.details["not_covered"]  # type: ignore[operator]
    verdicts = {evidence.key: evidence.verdict for evidence in judged(result).values()}
    assert verdicts["copies.exact"] == Verdict.PASS  # looked up by digest, with a control of its own
    assert {verdicts["copies.flagged"], verdicts["copies.rate_bound"]} == {Verdict.INVALID}


# --- the rank test


def _ranking(letters: str) -> Ranking:
    return Ranking(np.array([letter == "T" for letter in letters]), -np.arange(len(letters), dtype=float))


@pytest.mark.parametrize(
    ("letters", "n_train", "n_holdout", "expected"),
    [
        ("TTTTT", 50, 50, stats.hypergeom.pmf(5, 100, 50, 5)),  # 0.0281
        ("TTTTH", 50, 50, stats.hypergeom.sf(3, 100, 50, 5)),
        ("HHHHH", 50, 50, 1.0),
        ("TTT", 3, 3, 1 / 20),  # fewer than the grid's first: all three that were reached
        ("TTH", 3, 3, 10 / 20),
        ("TTTTT", 10, 40, stats.hypergeom.pmf(5, 50, 10, 5)),
    ],
)
def test_enrichment_of_one_step_is_hypergeometric(letters: str, n_train: int, n_holdout: int, expected: float) -> None:
    drawn = 20_000
    got = enrichment(_ranking(letters), n_train, n_holdout, drawn, np.random.default_rng(0))
    assert got.grid == (min(5, len(letters)),)
    assert got.found == (letters.count("T"),)
    assert got.expected == (pytest.approx(got.grid[0] * n_train / (n_train + n_holdout)),)
    assert got.p == pytest.approx(expected, abs=4 * np.sqrt(expected * (1 - expected) / drawn) + 1 / drawn)


def test_enrichment_of_many_steps_is_counted_in_full() -> None:
    """All 924 ways to label the twelve of a pool of 6 and 6: the exact p of the smallest of the tails at 5 and 10."""

    def smallest(labels: tuple[int, ...]) -> float:
        return min(float(stats.hypergeom.sf(sum(labels[:u]) - 1, 12, 6, u)) for u in (5, 10))

    ways = [tuple(1 if k in chosen else 0 for k in range(12)) for chosen in itertools.combinations(range(12), 6)]
    for letters in ("TTTTHTHTHHHH", "TTTTTHHHHHTH", "HTHTTTHTTHHH"):
        observed = smallest(tuple(int(letter == "T") for letter in letters))
        exact = np.mean([smallest(way) <= observed + 1e-12 for way in ways])
        got = enrichment(_ranking(letters), 6, 6, 20_000, np.random.default_rng(1))
        assert got.grid == (5, 10)
        assert got.p == pytest.approx(exact, abs=0.015)


def test_enrichment_is_uniform_where_nothing_is() -> None:
    p = []
    for seed in range(400):
        rng = np.random.default_rng(seed)
        labels = rng.permutation(np.arange(80) < 40)[:60]
        p.append(enrichment(Ranking(labels, np.zeros(60)), 40, 40, 199, rng).p)
    p = np.array(p)
    for alpha in (0.01, 0.05, 0.1, 0.25, 0.5):
        assert (p <= alpha).mean() < alpha + 3 * np.sqrt(alpha * (1 - alpha) / len(p))
    assert (p <= 0.5).mean() > 0.35  # ... and not for being deaf: the values are discrete, hence some are larger
    assert (p <= 0.1).mean() > 0.04


def _found(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Matches of 80 images in 30 training and 40 holdout images of two images a person."""
    people = np.repeat([f"p{k}" for k in range(35)], 2)
    holdout = np.arange(70) >= 30
    score = rng.normal(size=(80, 2))
    index = np.stack([rng.integers(0, 30, 80), rng.integers(30, 70, 80)], axis=1)
    return score, index, people, holdout


def test_a_rank_is_the_best_score_of_the_images_that_came_to_a_person() -> None:
    score, index, people, holdout = _found(np.random.default_rng(0))
    best: dict[str, float] = {}
    for row in range(80):
        side = int(score[row].argmax())
        person = people[index[row, side]]
        best[person] = max(best.get(person, -np.inf), score[row, side])
    expected = sorted(best.items(), key=lambda item: -item[1])
    train = set(people[~holdout].tolist())
    got = rank(score, index, people, holdout, np.random.default_rng(1))
    assert got.score.tolist() == [value for _, value in expected]
    assert got.train.tolist() == [person in train for person, _ in expected]


def test_a_person_counts_once_however_many_images_come() -> None:
    """Forty copies of one patient are one patient."""
    people = np.array(["t", "t", "h1", "h2"])
    score = np.tile([[3.0, 0.0]], (40, 1))
    index = np.stack([np.arange(40) % 2, np.full(40, 2)], axis=1)
    got = rank(score, index, people, np.array([False, False, True, True]), np.random.default_rng(0))
    assert got.train.tolist() == [True]
    assert got.score.tolist() == [3.0]


def test_a_rank_turns_around_with_the_labels() -> None:
    score, index, people, holdout = _found(np.random.default_rng(2))
    one = rank(score, index, people, holdout, np.random.default_rng(3))
    two = rank(score[:, ::-1], index[:, ::-1], people, ~holdout, np.random.default_rng(3))
    assert two.score.tolist() == one.score.tolist()
    assert two.train.tolist() == (~one.train).tolist()


def test_ties_are_broken_without_the_labels() -> None:
    """Two thousand images as near to a train patient as to a holdout patient, each of whom nobody else is near to."""
    people = np.array([f"p{k}" for k in range(4000)])
    index = np.stack([np.arange(2000), np.arange(2000, 4000)], axis=1)
    got = rank(np.zeros((2000, 2)), index, people, np.arange(4000) >= 2000, np.random.default_rng(0))
    assert got.train.mean() == pytest.approx(0.5, abs=0.05)
    assert got.train[:1000].mean() == pytest.approx(0.5, abs=0.07)


def test_excess_is_newcombes_difference_of_patients_above_the_threshold() -> None:
    ranking = Ranking(np.array([True, True, False, True, False]), np.array([9.0, 8.0, 7.0, 5.0, 4.0]))
    value, interval, counts = membership._excess(ranking, 5.0, 20, 40, 0.95)
    assert value == pytest.approx(2 / 20 - 1 / 40)
    assert counts == {"train subjects hit": 2, "holdout subjects hit": 1}
    assert interval.low < value < interval.high
    assert membership._excess(ranking, 4.9, 20, 40, 0.95)[0] == pytest.approx(3 / 20 - 1 / 40)


def test_a_train_set_twice_the_holdout_is_cut_in_two(context: Context) -> None:
    given = cohorts(76, train=240)
    finding = by_key(measure(context, "membership", given))["membership.p"]
    assert finding.details["blocks"] == 2
    assert finding.value > 0.05  # type: ignore[operator]
    # copies of patients of both blocks, one of each, are found in spite of the correction for two looks
    mine = given["train"][::8]
    leak = given["synthetic"] + mine.of(mine.grey**1.1)
    found = by_key(measure(context, "membership", given | {"synthetic": leak}))["membership.p"]
    assert found.value == pytest.approx(2 / 1001)
    assert found.control is not None
    assert found.control.fired


def test_blocks_hold_whole_patients_in_about_equal_number(context: Context) -> None:
    from examinations import examination

    given = cohorts(77) | {"train": patients(90, 5, "train", each=2)}
    exam = examination(context, given)
    group = membership._groups(exam, 3)
    assert (group[180:] == 3).all()
    mine = {name: set(group[:180][given["train"].subjects == name].tolist()) for name in given["train"].subjects}
    assert all(len(blocks) == 1 for blocks in mine.values())
    assert np.bincount([blocks.pop() for blocks in mine.values()]).tolist() == [30, 30, 30]


def test_few_released_images_still_have_a_membership_test(context: Context) -> None:
    """Fewer than the copies that the control hides."""
    given = cohorts(78, synthetic=12)
    finding = by_key(measure(context, "membership", given))["membership.p"]
    assert finding.value is None or 0 < finding.value <= 1


@pytest.mark.parametrize("name", ["copies", "membership"])
def test_results_do_not_depend_on_how_images_lie_in_blocks(context: Context, name: str) -> None:
    given = cohorts(79, synthetic=40, train=60, auxiliary=60)
    small = {"copies": {"plants": 3}, "membership": {"permutations": 200}}[name]
    one, two = (by_key(measure(context, name, given, block_size=size, **small)) for size in (256, 33))
    assert {key: (finding.value, finding.inputs) for key, finding in one.items()} == {
        key: (finding.value, finding.inputs) for key, finding in two.items()
    }


# --- exchangeability


def _exchanged(context: Context, given: dict[str, Cohort]) -> Evidence:
    return judged(measure(context, "exchangeability", given))["exchangeability.auroc"]


def test_one_population_cannot_be_told_apart(context: Context) -> None:
    for seed in (80, 81):
        evidence = _exchanged(context, cohorts(seed))
        assert evidence.interval is not None
        assert evidence.interval.low <= 0.5 <= evidence.interval.high
        assert evidence.verdict is Verdict.PASS
        assert evidence.control is not None
        assert evidence.control.fired


def test_brighter_patients_are_told_apart(context: Context) -> None:
    given = cohorts(83)
    given["train"] = given["train"].of(given["train"].grey * 1.08)
    evidence = _exchanged(context, given)
    assert evidence.interval is not None
    assert evidence.interval.low > 0.55
    assert evidence.verdict is Verdict.FAIL


def test_patients_seen_often_are_not_told_apart_by_themselves(context: Context) -> None:
    """Six images of everybody: folds by image would know each patient again and tell the halves apart."""
    given = cohorts(84) | {"train": patients(40, 1, "t", each=6), "holdout": patients(40, 2, "h", each=6)}
    evidence = _exchanged(context, given)
    assert evidence.value == pytest.approx(0.5, abs=0.15)
    assert evidence.interval is not None
    assert evidence.interval.low <= 0.5
    assert evidence.n["subjects"] == 80


def test_a_holdout_too_small_to_show_a_shift_is_invalid(context: Context) -> None:
    """Nothing is told apart, and the shifted half is not either: that is no proof."""
    evidence = _exchanged(context, cohorts(85, holdout=12))
    assert evidence.verdict in (Verdict.INVALID, Verdict.NOT_RUN)
