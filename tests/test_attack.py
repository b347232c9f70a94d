"""The attacker's view: chance where nothing leaks, copies and blends found, a network only where it was probed."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest
from scipy import stats

from chambit.core.errors import InputError
from chambit.core.evidence import Evidence, Finding, Verdict
from chambit.core.steps import Context
from chambit.measure.difficulty import calibrate
from chambit.measure.examination import Examination, Result
from chambit.measure.interval import auroc, clopper_pearson
from chambit.measure.safety import attack
from chambit.measure.safety.attack import Sides, halves, kth_distance, recognition_rate
from chambit.pipeline import examining
from examinations import (
    MARGIN,
    POLICY,
    SMALL,
    Cohort,
    by_key,
    cohorts,
    examination,
    judged,
    measure,
    patients,
    remember_searches,
    workplace,
)


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Context]:
    with workplace(tmp_path_factory.mktemp("attack")) as made, pytest.MonkeyPatch.context() as patch:
        remember_searches(patch)
        yield made


def _given(seed: int) -> dict[str, Cohort]:
    """The same real people, other released images."""
    return cohorts(300) | {"synthetic": patients(150, seed, "synthetic")}


def _attacked(context: Context, given: dict[str, Cohort], **changes: Any) -> dict[str, Finding]:
    return by_key(measure(context, "attack", given, **changes))


# --- arithmetic


def test_the_rate_by_hand() -> None:
    """199 holdout scores 1 .. 199: at 1 % the second largest, 198, is the threshold; three of four members pass."""
    scores = Sides(np.array([198.5, 200.0, 300.0, 198.0]), np.arange(1.0, 200.0))
    got = recognition_rate(scores, 0.01, 0.95)
    assert (got["needs"], got["found"], got["of"], got["tpr"]) == (99, 3, 4, 0.75)
    assert (got["low"], got["high"]) == pytest.approx(clopper_pearson(3, 4))
    beta = stats.beta(2, 198)
    assert (got["fpr_low"], got["fpr_high"]) == pytest.approx((beta.ppf(0.025), beta.ppf(0.975)))
    assert got["epsilon"] == pytest.approx(np.log(got["low"] / got["fpr_high"]))
    # P(three or four of four members among the two places above the second largest of 199): sum of beta-binomials
    assert got["p"] == pytest.approx(sum(stats.betabinom.pmf(x, 4, 2, 198) for x in (3, 4)))


@pytest.mark.parametrize(("rate", "needs"), [(0.01, 99), (0.001, 999), (0.05, 19), (0.5, 1)])
def test_a_low_rate_needs_a_large_holdout(rate: float, needs: int) -> None:
    rng = np.random.default_rng(0)
    members = rng.normal(size=50)
    short = recognition_rate(Sides(members, rng.normal(size=needs - 1)), rate, 0.95)
    assert short["needs"] == needs
    assert {value for key, value in short.items() if key not in ("fpr", "needs")} == {None}
    assert recognition_rate(Sides(members, rng.normal(size=needs)), rate, 0.95)["tpr"] is not None


def test_the_exact_p_holds_its_level() -> None:
    rng = np.random.default_rng(1)
    p = np.array(
        [recognition_rate(Sides(rng.normal(size=150), rng.normal(size=120)), 0.05, 0.95)["p"] for _ in range(400)]
    )
    for alpha in (0.05, 0.2, 0.5):
        assert (p <= alpha).mean() < alpha + 3 * np.sqrt(alpha * (1 - alpha) / len(p))
    assert (p <= 0.5).mean() > 0.25


def test_halves_of_members_are_even() -> None:
    """Swapping the halves turns the AUC around, so its mean is 0.5 whatever the score; the spread is Mann-Whitney's."""
    band = halves(np.random.default_rng(2).exponential(size=200), 300, np.random.default_rng(3))
    assert band.middle == pytest.approx(0.5)
    assert band.low + band.high == pytest.approx(1)
    assert band.high - 0.5 == pytest.approx(1.96 * np.sqrt(201 / (12 * 100 * 100)), rel=0.2)
    assert (band.n, band.draws) == (100, 600)


def test_a_safe_set_passes_with_the_numbers_that_the_policy_names() -> None:
    """1,200 members, 1,000 others, nothing known: nearly always PASS, never FAIL. 300 a side: never FAIL either."""
    rng = np.random.default_rng(4)
    for n, m, least in ((1200, 1000, 0.8), (300, 300, 0.25)):
        verdicts = []
        for _ in range(20):
            scores = Sides(rng.normal(size=n), rng.normal(size=m))
            value, spread = attack.auc(scores, 300, 0.95, rng)
            finding = Finding(measure="attack@1", quantity="released_auc", value=value, direction="lower")
            verdicts.append(attack_verdict(finding.model_copy(update={"interval": spread})))
        assert verdicts.count(Verdict.PASS) / len(verdicts) >= least
        assert Verdict.FAIL not in verdicts


def attack_verdict(finding: Finding) -> Verdict:
    """What the policy says of a finding."""
    return judged(Result((finding,)))[finding.key].verdict


def test_the_kth_distance() -> None:
    cloud = np.array([[1, 0], [0, 1], [-1, 0]], np.float32)
    query = np.array([[1, 0]], np.float32)
    expected = [1e-6, np.sqrt(2), 2.0, 2.0]
    assert [float(kth_distance(query, cloud, k)[0]) for k in (1, 2, 3, 9)] == pytest.approx(expected)


# --- the released images


def test_nothing_where_nothing_is(context: Context) -> None:
    above = 0
    for given in (_given(301), _given(302)):
        found = _attacked(context, given)
        assert set(found) == {"attack.released_auc", "attack.released_tpr"}  # no probes, no network
        area, rate = found["attack.released_auc"], found["attack.released_tpr"]
        for finding in (area, rate):
            assert finding.control is not None
            assert finding.control.fired
            assert finding.interval is not None
        above += area.interval.low > 0.5 or rate.details["p"] < 0.025  # type: ignore[union-attr, operator]
        assert area.null == 0.5
        assert rate.null == 0.01
        assert area.band is not None
        assert area.band.middle == pytest.approx(0.5)
        assert "not probed" in area.details["network"]  # type: ignore[operator]
        assert [entry["tpr"] is None for entry in rate.details["rates"]] == [False, True]  # type: ignore[attr-defined]
        assert rate.details["rates"][1]["needs"] == 999  # type: ignore[index]
    assert above == 0


def test_copies_of_some_are_seen_at_the_low_rate(context: Context) -> None:
    given = _given(305)
    mine = given["train"][:24]
    found = judged(measure(context, "attack", given | {"synthetic": given["synthetic"] + mine.of(mine.grey**1.1)}))
    rate = found["attack.released_tpr"]
    assert rate.value == pytest.approx(0.21, abs=0.05)
    assert rate.details["p"] < 1e-4  # type: ignore[operator]
    assert rate.details["epsilon"] > 1  # type: ignore[operator]
    assert rate.verdict is Verdict.FAIL


def test_blends_of_training_images_are_seen_by_the_auc(context: Context) -> None:
    """No image is a copy; every one is half one training image and half another."""
    given = _given(306)
    half = given["train"].grey * 0.5
    given["synthetic"] = given["train"].of(half + half[np.random.default_rng(0).permutation(len(half))])
    evidence = judged(measure(context, "attack", given))["attack.released_auc"]
    assert evidence.interval is not None
    assert evidence.interval.low > 0.55
    assert evidence.verdict is Verdict.FAIL


def test_mode_collapse_without_copies_is_no_leak(context: Context) -> None:
    given = _given(307)
    given["synthetic"] = given["synthetic"][np.arange(150) % 3]
    for evidence in judged(measure(context, "attack", given)).values():
        assert evidence.verdict is not Verdict.FAIL
        assert evidence.interval is not None
        assert evidence.interval.low <= evidence.null  # type: ignore[operator]


def test_a_subject_counts_once(context: Context) -> None:
    given = _given(308) | {role: patients(110, 3080 + k, role, each=2) for k, role in enumerate(("train", "holdout"))}
    found = _attacked(context, given)
    assert found["attack.released_auc"].n == {"images": 150, "train subjects": 110, "holdout subjects": 110}


def test_results_do_not_depend_on_blocks(context: Context) -> None:
    given = _given(309)
    one, two = (_attacked(context, given, block_size=size) for size in (256, 33))
    assert {key: (f.value, f.interval, f.details) for key, f in one.items()} == {
        key: (f.value, f.interval, f.details) for key, f in two.items()
    }


def test_too_few_are_not_run_with_the_number_needed(context: Context) -> None:
    for given, changes, told in (
        (cohorts(310, holdout=60), {}, "'holdout' is too small: 60 subjects, at least 99 needed"),
        (cohorts(310, train=60), {}, "'train' is too small: 60 subjects, at least 99 needed"),
        (cohorts(310), {"rates": (0.001,)}, "false-positive rate of 0.001 needs at least 999"),
    ):
        for evidence in judged(measure(context, "attack", given, **changes)).values():
            assert evidence.verdict is Verdict.NOT_RUN
            assert told in evidence.because


@pytest.mark.parametrize("role", ["auxiliary", "train", "holdout", "synthetic"])
def test_a_missing_role_is_not_run(context: Context, role: str) -> None:
    given = cohorts(311)
    del given[role]
    found = judged(measure(context, "attack", given))
    assert set(found) == {"attack.released_auc", "attack.released_tpr"}
    assert all(evidence.verdict is Verdict.NOT_RUN and role in evidence.because for evidence in found.values())


# --- the network

TABLE = dict[str, np.ndarray]


def _exam(context: Context) -> tuple[Examination, Any]:
    options = examining.options_of("attack", POLICY, MARGIN, SMALL["attack"])
    return examination(context, _given(312), options=options), options


def _look(exam: Examination, role: str) -> np.ndarray:
    """How easy an image is: a function of its texture alone, the same for every role."""
    easy, known = (exam.features(one, "texture")[:, :4].sum(1) for one in (role, "auxiliary"))
    return np.asarray((easy - known.mean()) / known.std())


def _tables(exam: Examination, **scores: TABLE) -> dict[str, pl.DataFrame]:
    return {
        name: pl.concat(
            [
                pl.DataFrame({"id": exam[role].table["id"], "role": [role] * len(values), "score": values})
                for role, values in given.items()
            ]
        )
        for name, given in scores.items()
    }


def _noise(exam: Examination, seed: int) -> TABLE:
    rng = np.random.default_rng(seed)
    return {role: rng.normal(size=len(exam[role])) for role in ("train", "holdout", "auxiliary")}


def _probed(exam: Examination, options: Any, tables: dict[str, pl.DataFrame]) -> dict[str, Evidence]:
    return judged(Result(attack._network("attack@1", replace(exam, probes=tables), options)))


def test_a_probe_that_knows_nothing_is_chance(context: Context) -> None:
    exam, options = _exam(context)
    tables = _tables(exam, loss=_noise(exam, 1), gradient=_noise(exam, 2))
    found = judged(attack.measure(replace(exam, probes=tables), options))
    assert set(found) == {f"attack.{side}_{what}" for side in ("released", "network") for what in ("auc", "tpr")}
    area = found["attack.network_auc"]
    assert area.interval is not None
    assert area.interval.low <= 0.5 <= area.interval.high
    assert found["attack.network_tpr"].details["p"] > 0.025  # type: ignore[operator]
    assert [entry["probe"] for entry in area.details["probes"]] == ["gradient", "loss"]  # type: ignore[attr-defined]
    assert set(area.inputs) == {"train", "holdout", "auxiliary", "probe gradient", "probe loss"}
    assert found["attack.released_auc"].details["network"] == "probed"


def test_a_probe_that_knows_its_members_is_seen_and_fails_no_images(context: Context) -> None:
    """What the network knows is a condition: it must not leave. The images are judged by what they show."""
    exam, options = _exam(context)
    scores = _noise(exam, 3)
    scores["train"] += 1.5
    found = _probed(exam, options, _tables(exam, loss=scores))
    area = found["attack.network_auc"]
    assert area.value == pytest.approx(stats.norm.cdf(1.5 / np.sqrt(2)), abs=0.06)
    assert area.interval is not None
    assert area.interval.low > 0.7
    assert area.control is not None
    assert area.control.fired
    assert "cannot show" in area.control.expected
    for quantity in ("network_auc", "network_tpr"):
        assert found[f"attack.{quantity}"].verdict is Verdict.CONDITIONAL
        assert "must not leave" in found[f"attack.{quantity}"].condition


def test_a_shift_hidden_in_difficulty_comes_to_light(context: Context) -> None:
    """Ten parts difficulty, one part memory: plain scores are lost in it, calibrated ones are not."""
    exam, options = _exam(context)
    noise = _noise(exam, 4)
    scores = {role: 10 * _look(exam, role) + noise[role] for role in noise}
    scores["train"] += 1.5
    details: Any = _probed(exam, options, _tables(exam, loss=scores))["attack.network_auc"].details["probes"]
    assert details[0]["uncalibrated"][0] < 0.62
    assert details[0]["auc"][1] > 0.6


def test_easy_images_do_not_look_like_members(context: Context) -> None:
    """The members' images are easier, and the score says no more than that."""
    exam, options = _exam(context)
    noise = _noise(exam, 5)
    easy = _look(exam, "train") > 0
    scores = {role: 5 * _look(exam, role) + noise[role] for role in noise}
    # a member is probed only where its image is easy: the members are then easier on the whole
    table = _tables(exam, loss=scores)["loss"]
    kept = set(exam["train"].table["id"].filter(pl.Series(easy)))
    table = table.filter((pl.col("role") != "train") | pl.col("id").is_in(list(kept)))
    small = options.model_copy(update={"least": 30})
    evidence = _probed(exam, small, {"loss": table})["attack.network_auc"]
    details: Any = evidence.details["probes"]
    assert details[0]["uncalibrated"][1] > 0.6
    assert details[0]["auc"][1] < 0.5 < details[0]["auc"][2]
    assert evidence.n["train subjects"] == easy.sum()


def test_calibration_is_learnt_from_auxiliary_images_alone() -> None:
    rng = np.random.default_rng(6)
    look = {role: rng.normal(size=(n, 3)) for role, n in (("train", 20), ("holdout", 30), ("auxiliary", 200))}
    scores = {
        role: values @ np.array([1.0, -2.0, 0.5]) + rng.normal(0, 0.1, len(values)) for role, values in look.items()
    }
    rest = calibrate(scores, look)
    assert rest["auxiliary"].std() == pytest.approx(1)
    assert abs(np.corrcoef(rest["holdout"], look["holdout"][:, 1])[0, 1]) < 0.5
    moved = calibrate(scores | {"train": scores["train"] + 100}, look)
    assert moved["holdout"] == pytest.approx(rest["holdout"])
    assert np.ptp(moved["train"] - rest["train"]) == pytest.approx(0, abs=1e-6)


def test_too_few_probed_subjects_are_not_run(context: Context) -> None:
    exam, options = _exam(context)
    table = _tables(exam, loss=_noise(exam, 7))["loss"]
    some = pl.concat([part.head(40) for part in table.partition_by("role", maintain_order=True)])
    found = _probed(exam, options, {"loss": some})
    for quantity in ("network_auc", "network_tpr"):
        evidence = found[f"attack.{quantity}"]
        assert evidence.verdict is Verdict.NOT_RUN
        assert "'train' has 40, 'holdout' has 40, at least 99 needed" in evidence.because


def test_a_probe_that_cannot_be_used_is_an_error_with_all_its_problems(context: Context) -> None:
    exam, options = _exam(context)
    good = _tables(exam, loss=_noise(exam, 8))["loss"]
    broken = {
        "nan": good.with_columns(
            pl.when(pl.col("role") == "train").then(float("nan")).otherwise("score").alias("score")
        ),
        "null": good.with_columns(pl.when(pl.col("role") == "train").then(None).otherwise("score").alias("score")),
        "no auxiliary": good.filter(pl.col("role") != "auxiliary"),
        "no score": good.drop("score"),
        "text": good.with_columns(pl.col("score").cast(pl.String)),
        "twice": pl.concat([good, good.head(1)]),
        "strange": good.with_columns(pl.col("id") + "x"),
    }
    told = {
        "nan": "120 of 340 scores are not numbers",
        "null": "120 of 340 scores are not numbers",
        "no auxiliary": "no image of the role 'auxiliary'",
        "no score": "the column score is missing",
        "text": "its scores are String",
        "twice": "are in it twice",
        "strange": "120 images of the role 'train' are not in the examination",
    }
    with pytest.raises(InputError) as caught:
        _probed(exam, options, broken)
    for name, what in told.items():
        assert any(problem.where == f"probe '{name}'" and what in problem.what for problem in caught.value.problems)
    with pytest.raises(InputError, match="other images than the first probe"):
        _probed(exam, options, {"a": good, "b": good.head(200).vstack(good.tail(90))})


def test_the_pipeline_hands_the_probes_over() -> None:
    assert attack.EXTRAS == ("probes",)


def test_auc_is_the_field_s() -> None:
    scores = Sides(np.array([3.0, 2.0, 5.0]), np.array([1.0, 2.0]))
    value, spread = attack.auc(scores, 300, 0.95, np.random.default_rng(0))
    assert value == auroc(np.concatenate(scores), np.array([True, True, True, False, False])) == pytest.approx(5.5 / 6)
    assert spread.low <= value <= spread.high
