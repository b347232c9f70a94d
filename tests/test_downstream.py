"""Downstream utility on tasks whose answer is known: blobs that a Gaussian cannot draw, and a tilt that it can."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chambit.core.evidence import Evidence, Verdict
from chambit.core.steps import Context
from chambit.core.store import Store
from chambit.measure import arms, classifier, endpoints, interval, trivial
from chambit.measure.endpoints import ENDPOINTS, Arm, Resampling
from chambit.measure.utility import downstream
from examinations import Cohort, by_key, depth, fields, judged, measure, workplace

SIDE = 24


def _cast(grey: np.ndarray, truth: np.ndarray, prefix: str) -> Cohort:
    names = np.array([f"{prefix}{k}" for k in range(len(truth))])
    return Cohort(depth(grey), names, np.array(["a", "b"])[truth])


def _background(count: int, rng: np.random.Generator) -> np.ndarray:
    return 0.5 + 0.06 * fields(count, rng, SIDE, 4) + rng.normal(0, 0.01, (count, SIDE, SIDE))


def blobs(count: int, seed: int, prefix: str) -> Cohort:
    """Class b: a bright spot with a dark ring somewhere; class a: the reverse. Means and covariances are the same."""
    rng = np.random.default_rng(seed)
    truth = np.arange(count) % 2
    y, x = np.mgrid[:SIDE, :SIDE]
    cy, cx = rng.uniform(5, SIDE - 5, (2, count, 1, 1))
    r2 = (x - cx) ** 2 + (y - cy) ** 2
    spot = (1 - r2 / 6) * np.exp(-r2 / 6)  # its sum is 0
    return _cast(_background(count, rng) + 0.35 * spot * np.where(truth, 1, -1)[:, None, None], truth, prefix)


def tilts(count: int, seed: int, prefix: str) -> Cohort:
    """Class b is brighter at one end, class a at the other: a difference of class means, all that a Gaussian needs."""
    rng = np.random.default_rng(seed)
    truth = np.arange(count) % 2
    tilt = 0.12 * np.linspace(-1, 1, SIDE) * np.where(truth, 1, -1)[:, None, None]
    return _cast(_background(count, rng) + tilt, truth, prefix)


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Context]:
    with workplace(tmp_path_factory.mktemp("downstream")) as made:
        yield made


@pytest.fixture(scope="module")
def given() -> dict[str, Cohort]:
    return {"train": blobs(120, 1, "t"), "synthetic": blobs(120, 2, "s"), "test": blobs(80, 3, "v")}


@pytest.fixture(scope="module")
def faithful(context: Context, given: dict[str, Cohort]) -> dict[str, Evidence]:
    """The synthetic set is other images of the real kind."""
    return judged(measure(context, "downstream", given, steps=20))


def _value(evidence: Evidence) -> float:
    assert evidence.value is not None
    return evidence.value


def _arms(evidence: Evidence) -> dict[str, dict[str, float]]:
    return evidence.details["arms"]  # type: ignore[return-value]


def test_other_images_of_the_real_kind_lose_nothing(faithful: dict[str, Evidence]) -> None:
    loss = faithful["downstream.loss"]
    assert _arms(loss)["real"]["auroc"] > 0.95
    assert abs(_value(loss)) < 0.03
    assert loss.interval is not None
    assert loss.interval.sides == 1
    assert _value(loss) <= loss.interval.high < loss.details["margin"]  # type: ignore[operator]
    assert loss.verdict is Verdict.PASS


def test_a_blob_anywhere_is_beyond_the_trivial_generator(faithful: dict[str, Evidence]) -> None:
    assert _arms(faithful["downstream.loss"])["gaussian"]["auroc"] < 0.8
    for key in ("downstream.task_power", "downstream.beyond_trivial", "downstream.label_fidelity"):
        assert faithful[key].verdict is Verdict.PASS, key
    assert _value(faithful["downstream.beyond_trivial"]) > 0.15


def test_the_numbers_say_what_they_rest_on(faithful: dict[str, Evidence]) -> None:
    loss = faithful["downstream.loss"]
    assert faithful["downstream.real_images"].value == 0
    assert loss.n["test subjects"] == 80
    assert loss.n["seeds"] == 2
    assert set(loss.inputs) == {"train", "synthetic", "test"}
    assert loss.details["prevalence"] == {"a": 0.5, "b": 0.5}
    arms = _arms(loss)
    assert _value(loss) == pytest.approx(arms["real"]["auroc"] - arms["synthetic"]["auroc"])
    gain = arms["synthetic"]["auroc"] - arms["gaussian"]["auroc"]
    assert _value(faithful["downstream.beyond_trivial"]) == pytest.approx(gain)


def test_shuffled_labels_lose_everything(context: Context, given: dict[str, Cohort]) -> None:
    made = given["synthetic"]
    wrong = made._replace(labels=np.random.default_rng(5).permutation(made.labels))
    result = judged(measure(context, "downstream", given | {"synthetic": wrong}, steps=20))
    loss = result["downstream.loss"]
    assert _value(loss) > 0.2
    assert loss.verdict is Verdict.FAIL
    assert loss.details["n_needed"] is None
    fidelity = result["downstream.label_fidelity"]
    assert fidelity.interval is not None
    assert fidelity.interval.low < 0.6
    assert abs(_value(fidelity) - 0.5) < 0.2
    assert fidelity.verdict is Verdict.CONDITIONAL


def test_a_task_that_a_gaussian_solves_proves_nothing(context: Context) -> None:
    given = {"train": tilts(100, 1, "t"), "synthetic": tilts(100, 2, "s"), "test": tilts(60, 3, "v")}
    result = judged(measure(context, "downstream", given, steps=15))
    assert _arms(result["downstream.loss"])["gaussian"]["auroc"] > 0.97
    assert result["downstream.loss"].verdict is Verdict.PASS
    assert result["downstream.beyond_trivial"].verdict is Verdict.CONDITIONAL
    assert result["downstream.task_power"].verdict is Verdict.CONDITIONAL
    assert "easy" in result["downstream.task_power"].condition


def _only(cohort: Cohort, label: str) -> Cohort:
    return cohort[cohort.labels == label]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"test": None}, "No real test images"),
        ({"train": lambda c: _only(c, "a")}, "one class only"),
        ({"synthetic": lambda c: _only(c, "a")}, "no image of class 'b'"),
        ({"test": lambda c: c[:39]}, "19 subjects of class 'b'; at least 20"),
        ({"test": lambda c: c._replace(labels=np.where(np.arange(80) == 0, "c", c.labels))}, "Class 'c'"),
        ({"synthetic": lambda c: c._replace(labels=np.where(np.arange(120) == 0, "c", c.labels))}, "Class 'c'"),
    ],
)
def test_what_cannot_be_measured_is_not_run_with_its_reason(
    context: Context, given: dict[str, Cohort], changes: dict[str, object], reason: str
) -> None:
    changed = dict(given)
    for role, change in changes.items():
        if change is None:
            del changed[role]
        else:
            changed[role] = change(changed[role])  # type: ignore[operator]
    found = by_key(measure(context, "downstream", changed, steps=20))
    assert set(found) == {f"downstream.{quantity}" for quantity in downstream.QUANTITIES}
    for finding in found.values():
        assert finding.value is None
        assert finding.interval is None
        assert reason in finding.reason


def test_people_are_counted_not_their_images(context: Context, given: dict[str, Cohort]) -> None:
    people = given["test"]._replace(subjects=np.repeat([f"v{k}" for k in range(20)], 4))
    for finding in measure(context, "downstream", given | {"test": people}, least_test=21).findings:
        assert "20 subjects of class 'a'; at least 21" in finding.reason


# --- the bootstrap


def _scores(truth: np.ndarray, seed: int, signal: float = 1.0) -> np.ndarray:
    """Two-class scores of one training."""
    rng = np.random.default_rng(seed)
    one = signal * truth + rng.normal(size=len(truth))
    return np.stack([-one, one], axis=1)


def _constructed(monkeypatch: pytest.MonkeyPatch, seed_of: dict[str, int], each: int = 1) -> None:
    """Have each arm answer with scores of ours instead of being trained; the same for `each` images in turn."""

    def answer(store: Store, task: dict[str, Any]) -> str:
        made = {}
        for role in ("test", "synthetic"):
            truth = np.array(task["sets"][role]["label"])
            made[role] = np.repeat(_scores(truth[::each], seed_of.get(task["arm"], 2)), each, axis=0)
        return store.put_arrays(**(made if task["arm"] == "real" else {"test": made["test"]}))

    monkeypatch.setattr(arms, "train_and_score", answer)


def test_the_bootstrap_is_paired(context: Context, given: dict[str, Cohort], monkeypatch: pytest.MonkeyPatch) -> None:
    """Arms with the same scores differ by exactly 0 in every resample, however wide each arm's own interval is."""
    _constructed(monkeypatch, {"real": 1, "synthetic": 1, "gaussian": 2})
    found = by_key(measure(context, "downstream", given, seed=21))
    loss, gain = found["downstream.loss"], found["downstream.beyond_trivial"]
    assert loss.interval is not None
    assert loss.value == loss.interval.high == 0
    assert loss.details["two_sided"] == [0, 0]
    real = loss.details["arms"]["real"]  # type: ignore[index]
    assert real["low"] < real["auroc"] - 0.05 < real["auroc"] + 0.05 < real["high"]
    # ... and the gain of one arm over another is the known resampling of their difference
    truth = (given["test"].labels == "b").astype(int)
    weights = interval.subject_weights(np.arange(80), 2000, np.random.default_rng(0))
    one, two = (interval.Auroc.of(_scores(truth, k)[:, 1], truth == 1)(weights) for k in (1, 2))
    assert gain.interval is not None
    assert (gain.interval.low, gain.interval.high) == pytest.approx(np.percentile(one - two, [2.5, 97.5]), abs=0.04)
    assert found["downstream.task_power"].interval == gain.interval


def test_the_bootstrap_is_clustered() -> None:
    """Five copies of each subject's image narrow nothing: they come together."""
    truth = np.arange(40) % 2
    scores = [_scores(truth, k) for k in range(2)]
    names = np.array([f"s{k:02d}" for k in range(40)])
    many = np.repeat(np.arange(40), 5)

    def boot(index: np.ndarray) -> np.ndarray:
        weights = interval.subject_weights(names[index], 300, np.random.default_rng(3))
        resampling = Resampling(truth[index], weights, 4)
        return Arm(ENDPOINTS["auroc"], [s[index] for s in scores], [np.nan] * 2, resampling).boot

    assert boot(many) == pytest.approx(boot(np.arange(40)), abs=1e-12, nan_ok=True)


def test_images_of_one_subject_do_not_narrow_the_interval(
    context: Context, given: dict[str, Cohort], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four images of each of twenty people with the scores that one image of each would have."""
    one = given["test"][:20]
    four = Cohort(given["test"].pixels, np.repeat(one.subjects, 4), np.repeat(one.labels, 4))
    widths = []
    for test, each in ((one, 1), (four, 4)):
        with monkeypatch.context() as patch:
            _constructed(patch, {"real": 1, "synthetic": 2, "gaussian": 3}, each)
            changed = {"train": given["train"], "synthetic": given["synthetic"], "test": test}
            found = by_key(measure(context, "downstream", changed, seed=22, least_test=10, draws=1000))
        low, high = found["downstream.loss"].details["two_sided"]  # type: ignore[misc]
        widths.append(high - low)
    assert widths[1] == pytest.approx(widths[0], rel=0.1)


def test_the_bootstrap_holds_the_spread_between_trainings() -> None:
    """One training right, one wrong: resampled seeds make means of 0, one half and 1 in proportion 1 : 2 : 1."""
    truth = np.arange(20) % 2
    right = np.stack([-truth, truth], axis=1).astype(float)
    weights = interval.subject_weights(np.arange(20), 4000, np.random.default_rng(0))
    arm = Arm(ENDPOINTS["auroc"], [right, -right], [np.nan] * 2, Resampling(truth, weights, 1))
    assert arm.seeds.tolist() == [1.0, 0.0]
    assert arm.mean == 0.5
    values, counts = np.unique(arm.boot[~np.isnan(arm.boot)], return_counts=True)
    assert values.tolist() == [0.0, 0.5, 1.0]
    assert counts / counts.sum() == pytest.approx([0.25, 0.5, 0.25], abs=0.03)


def test_an_arms_spread_is_that_of_delong() -> None:
    """One training, one image a subject: the resamples deviate as the placements of the two classes say."""
    rng = np.random.default_rng(6)
    truth = np.arange(200) % 2
    weights = interval.subject_weights(np.arange(200), 2000, rng)
    deviations, expected = [], []
    for seed in range(5):
        scores = _scores(truth, seed)
        arm = Arm(ENDPOINTS["auroc"], [scores], [np.nan], Resampling(truth, weights, seed))
        deviations.append(arm.boot.std())
        up, down = scores[truth == 1, 1], scores[truth == 0, 1]
        wins = (up[:, None] > down[None, :]).astype(float)
        expected.append(np.sqrt(wins.mean(1).var(ddof=1) / 100 + wins.mean(0).var(ddof=1) / 100))
    assert np.mean(deviations) == pytest.approx(np.mean(expected), rel=0.08)


# --- endpoints


def test_every_arm_has_its_row_and_the_trivial_ones_are_shown(faithful: dict[str, Evidence]) -> None:
    table = _arms(faithful["downstream.loss"])
    assert set(table) == set(arms.ARMS)
    # copies of patients in disguise are as useful as patients: utility says nothing about safety
    assert table["noisy"]["auroc"] > 0.9
    assert len(table["noisy"]["seeds"]) == 1  # type: ignore[arg-type]
    assert len(table["mixed"]["seeds"]) == 2  # type: ignore[arg-type]
    for key in ("downstream.mixed_gain", "downstream.pretrained_gain"):
        assert abs(_value(faithful[key])) < 0.05
        assert faithful[key].verdict is Verdict.PASS


def test_endpoints_are_held_against_their_margins_together(faithful: dict[str, Evidence]) -> None:
    found = faithful["downstream.endpoints"]
    rows: Any = found.details["rows"]
    # no auxiliary images, so no threshold could be chosen elsewhere, and no sensitivity is told
    assert [row["endpoint"] for row in rows] == ["auroc", "aupr", "accuracy"]
    assert _value(found) == sum(not row["shown"] for row in rows)
    for row in rows:
        assert row["adjusted"] >= row["p"]
        assert row["loss"] == pytest.approx(row["arms"]["real"]["value"] - row["arms"]["synthetic"]["value"])
    loss = faithful["downstream.loss"]
    assert loss.interval is not None
    assert rows[0]["high"] == pytest.approx(loss.interval.high, abs=2e-3)


def _score_sets(truth: np.ndarray, other: np.ndarray) -> dict[str, np.ndarray]:
    return {"test": _scores(truth, 1, 2.0), "auxiliary": _scores(other, 2, 2.0)}


def test_the_threshold_is_chosen_on_other_images_than_the_test_images() -> None:
    truth, other = np.arange(400) % 2, np.arange(300) % 2
    scored = [_score_sets(truth, other)]
    (cut,) = endpoints.cuts(scored, other, 0.9)
    below = scored[0]["auxiliary"][other == 0, 1]
    assert (below <= cut).mean() >= 0.9
    assert (below <= np.nextafter(cut, -np.inf)).mean() < 0.9
    sensitivity = ENDPOINTS["sensitivity"].values(scored[0]["test"], truth, None, cut)
    assert sensitivity[0] == (scored[0]["test"][truth == 1, 1] > cut).mean()
    assert np.isnan(endpoints.cuts(scored, None, 0.9)[0])


def test_sensitivity_needs_other_images_with_both_classes(context: Context, given: dict[str, Cohort]) -> None:
    others = blobs(40, 9, "x")
    kinds = {"auxiliary": others, "the test images": given["test"], "one class": _only(others, "a")}
    told = {}
    for name, auxiliary in kinds.items():
        found = by_key(measure(context, "downstream", given | {"auxiliary": auxiliary}, steps=2, seeds=1))
        rows: Any = found["downstream.endpoints"].details["rows"]
        told[name] = "sensitivity" in [row["endpoint"] for row in rows]
    assert told == {"auxiliary": True, "the test images": False, "one class": False}


def test_what_is_claimed_is_what_is_tested(
    context: Context, given: dict[str, Cohort], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Equal scores: never superior, equivalent and non-inferior at once."""
    _constructed(monkeypatch, {"real": 1, "synthetic": 1, "gaussian": 2})
    shown = {}
    for claim in ("non-inferiority", "equivalence", "superiority"):
        found = by_key(measure(context, "downstream", given, seed=31, claim=claim))["downstream.endpoints"]
        rows: Any = found.details["rows"]
        shown[claim] = [row["shown"] for row in rows]
        assert found.details["claim"] == claim
    assert all(shown["non-inferiority"])
    assert all(shown["equivalence"])
    assert not any(shown["superiority"])


def test_frozen_heads_stand_beside_and_see_a_tilt(context: Context) -> None:
    given = {"train": tilts(60, 1, "t"), "synthetic": tilts(60, 2, "s"), "test": tilts(60, 3, "v")}
    found = by_key(measure(context, "downstream", given, steps=2, seeds=1, heads=("texture",)))
    (row,) = found["downstream.loss"].details["heads"]  # type: ignore[misc]
    assert row["extractor"] == "texture@1"
    assert row["arms"]["real"] > 0.95
    assert row["loss"]["low"] <= row["loss"]["value"] <= row["loss"]["high"]
    assert abs(row["loss"]["value"]) < 0.05


def test_delong_stands_beside_the_bootstrap(faithful: dict[str, Evidence]) -> None:
    told: Any = faithful["downstream.loss"].details["delong"]
    assert told["method"] == "DeLong clustered by patient"
    assert told["low"] <= told["value"] <= told["high"]


@pytest.mark.parametrize("learner", ["convolution", "resnet"])
def test_a_learner_goes_on_from_another_training(learner: str, given: dict[str, Cohort]) -> None:
    images, labels = given["train"].grey, (given["train"].labels == "b").astype(int)
    first = classifier.train(images, labels, 2, 2, 0, learner=learner)
    before = classifier.scores(first, images[:5])
    second = classifier.train(images + 0.3, labels, 2, 2, 1, learner=learner, start=first)
    assert np.array_equal(classifier.scores(first, images[:5]), before)
    assert (second.mean, second.std) == (first.mean, first.std)
    assert not np.allclose(classifier.scores(second, images[:5]), before)


# --- the trivial generator


@pytest.mark.parametrize("images", [40, 400])
def test_the_trivial_generator_keeps_class_means_and_covariances(images: int) -> None:
    """Fewer and more images than pixels, in all components that there are."""
    rng = np.random.default_rng(images)
    labels = np.arange(images) % 2
    mixed = rng.normal(size=(images, 10)) @ rng.normal(size=(10, 64)) * 0.02
    grey = (0.5 + mixed + 0.1 * labels[:, None]).reshape(-1, 8, 8).astype(np.float32)
    wanted = np.repeat([1, 0], 6000)
    made = trivial.sample(grey, labels, wanted, 12, rng)
    assert made.shape == (12000, 8, 8)
    assert made.dtype == np.float32
    for label in (0, 1):
        own, drawn = (x[y == label].reshape(-1, 64) for x, y in ((grey, labels), (made, wanted)))
        assert drawn.mean(0) == pytest.approx(own.mean(0), abs=0.005)
        covariance = np.cov(own, rowvar=False)
        assert np.abs(np.cov(drawn, rowvar=False) - covariance).max() < 0.08 * covariance.max()


def test_the_trivial_generator_knows_only_its_components() -> None:
    rng = np.random.default_rng(0)
    grey = np.clip(0.5 + 0.1 * rng.normal(size=(200, 6, 6)), 0, 1).astype(np.float32)
    made = trivial.sample(grey, np.zeros(200, int), np.zeros(500, int), 4, rng)
    values = np.linalg.eigvalsh(np.cov(made.reshape(500, -1), rowvar=False))[::-1]
    assert values[3] > 1e-3
    assert values[4] < 1e-9


def test_the_trivial_generator_stays_between_black_and_white() -> None:
    rng = np.random.default_rng(1)
    grey = rng.integers(0, 2, (60, 8, 8)).astype(np.float32)
    made = trivial.sample(grey, np.arange(60) % 2, np.zeros(200, int), 60, rng)
    assert made.min() == 0
    assert made.max() == 1


# --- the classifier


def test_a_training_is_its_seed(given: dict[str, Cohort]) -> None:
    images, labels = given["train"].grey, (given["train"].labels == "b").astype(int)
    one, same, other = (classifier.train(images, labels, 2, 3, seed) for seed in (4, 4, 5))
    scores = [classifier.scores(network, images[:20]) for network in (one, same, other)]
    assert np.array_equal(scores[0], scores[1])
    assert not np.allclose(scores[0], scores[2], atol=1e-3)
    assert np.exp(scores[0]).sum(1) == pytest.approx(np.ones(20), abs=1e-5)


def test_scores_depend_neither_on_batch_nor_on_order(given: dict[str, Cohort]) -> None:
    images, labels = given["train"].grey, (given["train"].labels == "b").astype(int)
    network = classifier.train(images, labels, 2, 3, 0)
    whole = classifier.scores(network, images)
    alone = np.concatenate([classifier.scores(network, images[k : k + 1]) for k in range(10)])
    assert alone == pytest.approx(whole[:10], abs=0.02)  # in bfloat16
    order = np.random.default_rng(0).permutation(len(images))
    assert classifier.scores(network, images[order]) == pytest.approx(whole[order], abs=0.02)


def test_the_measure_is_the_same_when_run_again(tmp_path: Path, given: dict[str, Cohort]) -> None:
    small = {role: cohort[:40] for role, cohort in given.items()}
    results = []
    for name, size in (("one", 256), ("two", 13)):
        with workplace(tmp_path / name) as fresh:
            results.append(measure(fresh, "downstream", small, block_size=size, steps=2, seeds=1).findings)
    assert results[0] == results[1]
