"""Singling out, linkability, inference: nothing where nothing is, loud where copies lie, and the arithmetic by hand."""

from collections.abc import Iterator

import numpy as np
import polars as pl
import pytest

from chambit.core.evidence import Control, Finding, Verdict
from chambit.core.steps import Context
from chambit.measure import residual
from chambit.measure.descriptors import Describer
from chambit.measure.recognition import Recognised, best_of_each, copies, joined, recognised
from chambit.measure.residual import Attempt
from chambit.measure.safety import inference, linkability, singling_out
from chambit.measure.search import Search
from examinations import (
    Cohort,
    by_key,
    cohorts,
    examination,
    judged,
    keep,
    measure,
    patients,
    remember_searches,
    workplace,
)

NAMES = ("singling_out", "linkability", "inference")


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Context]:
    with workplace(tmp_path_factory.mktemp("wp29")) as made, pytest.MonkeyPatch.context() as patch:
        remember_searches(patch)
        yield made


def _given(seed: int) -> dict[str, Cohort]:
    """The same real people, other released images."""
    return cohorts(200) | {"synthetic": patients(150, seed, "synthetic")}


def _copied(seed: int, count: int = 12) -> dict[str, Cohort]:
    given = _given(seed)
    mine = given["train"][:count]
    return given | {"synthetic": given["synthetic"] + mine.of(mine.grey**1.1)}


# --- residual risk


def test_residual_risk_by_hand() -> None:
    """30 of 100 against 10 of 100: Wilson by its formula with z = 1.959964, then the two derivatives of R."""
    value, low, high = residual.residual(Attempt(30, 100, 10, 100))
    assert value == pytest.approx(0.2 / 0.9)
    # Wilson: 30/100 -> (0.21895, 0.39585), 10/100 -> (0.05523, 0.17437)
    by_main, by_control = 1 / 0.9, 0.7 / 0.81
    assert low == pytest.approx(value - np.hypot((0.3 - 0.21895) * by_main, (0.17437 - 0.1) * by_control), abs=1e-4)
    assert high == pytest.approx(value + np.hypot((0.39585 - 0.3) * by_main, (0.1 - 0.05523) * by_control), abs=1e-4)


def test_residual_risk_keeps_two_denominators() -> None:
    assert residual.residual(Attempt(10, 50, 10, 100)).value == pytest.approx((0.2 - 0.1) / 0.9)
    assert residual.residual(Attempt(10, 100, 10, 50)).value == pytest.approx((0.1 - 0.2) / 0.8)
    assert Attempt(10, 50, 10, 100).excess == pytest.approx(0.1)


@pytest.mark.parametrize("attempt", [Attempt(0, 40, 0, 50), Attempt(20, 40, 25, 50), Attempt(39, 40, 49, 50)])
def test_equal_rates_are_no_risk(attempt: Attempt) -> None:
    value, low, high = residual.residual(attempt)
    assert value == pytest.approx(0, abs=0.3)
    assert low <= 0 <= high


def test_all_of_train_and_none_of_the_holdout_is_a_risk_of_one() -> None:
    value, low, high = residual.residual(Attempt(100, 100, 0, 100))
    assert (value, high) == (1.0, 1.0)
    assert low > 0.95


@pytest.mark.parametrize("attempt", [Attempt(5, 10, 10, 10), Attempt(0, 0, 1, 10), Attempt(1, 10, 0, 0)])
def test_what_has_no_residual_risk_is_an_error_and_no_number(attempt: Attempt) -> None:
    with pytest.raises(ValueError, match="no residual risk"):
        residual.residual(attempt)


def test_a_control_that_always_succeeds_leaves_nothing_to_measure() -> None:
    control = Control(name="c", expected="e", observed="o", fired=True)
    got = residual.finding("x@1", "risk", Attempt(9, 10, 10, 10), 0.95, {"images": 1}, control, {})
    assert got.value is None
    assert "all 10 holdout subjects" in got.reason


def test_the_interval_covers_where_nothing_leaks() -> None:
    """Where the threshold is the k-th of the holdout, as here: 1,200 against 1,000 at 1 %, 300 against 300 at 5 %."""
    rng = np.random.default_rng(0)
    for n, m, k in ((1200, 1000, 10), (300, 300, 15)):
        found = rng.binomial(n, rng.beta(k, m + 1 - k, 800))
        got = [residual.residual(Attempt(int(x), n, k, m)) for x in found]
        assert np.mean([low > 0 for _, low, _ in got]) < 0.05
        assert np.mean([high < 0 for _, _, high in got]) < 0.05


# --- recognition and what is made of it


def _seen(score: list[float], released: list[int], prefix: str) -> Recognised:
    names = np.array([f"{prefix}{k}" for k in range(len(score))])
    return Recognised(names, np.array(score), np.array(released), np.arange(len(score)))


def test_only_who_is_alone_is_singled_out() -> None:
    found = {"train": _seen([9, 9, 2, 7], [0, 1, 2, 3], "t"), "holdout": _seen([8, 1, 7], [1, 3, 4], "h")}
    got = singling_out.singled_out(found, 7.0)
    # t1 and h0 share image 1; h1 points at 3 as t3 does, but is not alike enough to count
    assert got["train"].tolist() == [True, False, False, True]
    assert got["holdout"].tolist() == [False, False, True]


def test_the_better_of_two_recognitions_is_kept() -> None:
    one, two = {"train": _seen([1.0, 5.0], [0, 1], "t")}, {"train": _seen([3.0, 4.0], [7, 8], "t")}
    got = joined(one, two)["train"]
    assert got.score.tolist() == [3.0, 5.0]
    assert got.released.tolist() == [7, 1]


def test_a_subject_is_its_best_image() -> None:
    names, best = best_of_each(np.array(["b", "a", "b", "a"]), np.array([1.0, 2.0, 3.0, 0.0]))
    assert (names.tolist(), best.tolist()) == (["a", "b"], [1, 2])


def test_recognition_names_the_released_image(context: Context) -> None:
    given = cohorts(200) | {"train": patients(60, 3, "t", each=2)}
    exam = examination(context, given)
    planted = copies(exam, 15)
    found = recognised(Search.of(exam), exam, planted.images, ["train"], first=100)["train"]
    at = np.searchsorted(found.subjects, planted.subjects)
    assert len(found.subjects) == 60
    assert found.released[at].tolist() == list(range(100, 115))
    assert (found.image[at] // 2).tolist() == (planted.source // 2).tolist()  # the two images of one look alike
    assert len(set(planted.subjects.tolist())) == 15
    assert copies(exam, 15, ("blur",)).source.tolist() == planted.source.tolist()
    assert len(copies(exam, 1000).subjects) == 60


def test_an_answer_needs_likeness_and_the_right_attribute() -> None:
    found = _seen([9, 9, 1, 9], [0, 1, 0, 2], "t")
    own, released = np.array(["a", "a", "a", ""]), np.array(["a", "b", ""])
    got = inference.answers(found, own, released, 5.0)
    assert got.confident.tolist() == [True, False, False]  # the fourth has no attribute and does not count
    assert got.anyhow.tolist() == [True, False, True]


# --- the measures


def test_nothing_where_nothing_is(context: Context) -> None:
    """Of 2 sets of images and 4 quantities each, next to none excludes 0 from below."""
    above = 0
    for given in (_given(201), cohorts(199)):
        for name in NAMES:
            for finding in by_key(measure(context, name, given)).values():
                assert finding.interval is not None
                assert finding.control is not None
                assert finding.control.fired
                above += finding.interval.low > 0
                assert finding.null == 0
    assert above <= 1


@pytest.mark.parametrize("name", NAMES)
def test_copies_are_a_residual_risk(context: Context, name: str) -> None:
    """Copies of 24 of 120 patients, with their labels."""
    evidence = judged(measure(context, name, _copied(205, 24)))[f"{name}.risk"]
    assert evidence.value == pytest.approx(0.2, abs=0.07)
    assert evidence.interval is not None
    assert evidence.interval.low > 0.05
    assert evidence.verdict is Verdict.FAIL


def test_two_copies_of_one_patient_link_images(context: Context) -> None:
    given = _copied(206, 20)
    mine = given["train"][:20]
    given["synthetic"] += mine.of(mine.grey**0.9)
    found = judged(measure(context, "linkability", given))
    assert found["linkability.within"].value == pytest.approx(20 / 120, abs=0.05)
    assert found["linkability.within"].verdict is Verdict.FAIL


@pytest.mark.parametrize("name", NAMES)
def test_mode_collapse_without_copies_is_no_leak(context: Context, name: str) -> None:
    """Three pictures over and over: everybody's nearest, nobody's copy."""
    given = _given(207)
    given["synthetic"] = given["synthetic"][np.arange(150) % 3]
    for evidence in judged(measure(context, name, given)).values():
        assert evidence.interval is not None
        assert evidence.interval.low <= 0
        assert evidence.verdict is not Verdict.FAIL


def test_a_copy_with_another_label_gives_no_label_away(context: Context) -> None:
    given = _given(208)
    mine = given["train"][:24]
    wrong = mine._replace(labels=np.where(mine.labels == "a", "b", "a"))
    finding = by_key(measure(context, "inference", given | {"synthetic": given["synthetic"] + wrong}))["inference.risk"]
    assert finding.value <= 0.02  # type: ignore[operator]


def _with_sex(context: Context, given: dict[str, Cohort], share: float) -> Finding:
    """Inference of a second attribute: the copies carry it, everybody else's is drawn."""
    from chambit.pipeline import examining
    from examinations import MARGIN, POLICY, SMALL

    rng = np.random.default_rng(0)
    options = examining.options_of("inference", POLICY, MARGIN, SMALL["inference"])
    exam = examination(context, given, options=options)
    sets = dict(exam.sets)
    own = rng.choice(["F", "M"], len(sets["train"])).tolist()
    for role in ("train", "holdout", "synthetic"):
        drawn = own if role == "train" else rng.choice(["F", "M"], len(sets[role])).tolist()
        if role == "synthetic":
            drawn[150:] = own[: len(drawn) - 150]
        known = [sex if rng.random() < share else None for sex in drawn]
        sets[role] = type(sets[role])(sets[role].store, sets[role].table.with_columns(pl.Series("sex", known)))
    return inference.measure(type(exam)(sets, exam.context), options).findings[0]


def test_another_attribute_is_inferred_and_the_worst_is_told(context: Context) -> None:
    finding = _with_sex(context, _copied(209, 24), 1.0)
    each = finding.details["attributes"]
    assert [entry["attribute"] for entry in each] == ["label", "sex"]  # type: ignore[union-attr, index]
    assert finding.interval is not None
    assert finding.interval.level == pytest.approx(0.975)
    assert finding.interval.high == max(entry["high"] for entry in each)  # type: ignore[union-attr, index]
    assert all(entry["value"] > 0.1 for entry in each)  # type: ignore[union-attr, index]


def test_an_attribute_that_few_have_is_left_out(context: Context) -> None:
    finding = _with_sex(context, _given(210), 0.5)
    assert [entry["attribute"] for entry in finding.details["attributes"]] == ["label"]  # type: ignore[union-attr, index]


def test_one_label_leaves_nothing_to_infer(context: Context) -> None:
    given = {role: cohort._replace(labels=np.full(len(cohort.labels), "a")) for role, cohort in cohorts(211).items()}
    (finding,) = measure(context, "inference", given).findings
    assert finding.value is None
    assert "nothing to infer" in finding.reason


@pytest.mark.parametrize("name", NAMES)
def test_too_few_are_not_run_with_the_number_needed(context: Context, name: str) -> None:
    module = {"singling_out": singling_out, "linkability": linkability, "inference": inference}[name]
    for given, role in ((cohorts(212, holdout=60), "holdout"), (cohorts(212, train=60), "train")):
        result = measure(context, name, given)
        assert {finding.quantity for finding in result.findings} == set(module.QUANTITIES)
        for evidence in judged(result).values():
            assert evidence.verdict is Verdict.NOT_RUN
            assert f"'{role}' is too small: 60 subjects, at least 99 needed" in evidence.because


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("role", ["auxiliary", "train", "holdout", "synthetic"])
def test_a_missing_role_is_not_run(context: Context, name: str, role: str) -> None:
    given = cohorts(213)
    del given[role]
    for evidence in judged(measure(context, name, given)).values():
        assert evidence.verdict is Verdict.NOT_RUN
        assert role in evidence.because


def test_a_blind_detector_is_invalid(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    """Descriptors that know nothing of the pictures."""
    whole = Describer.describe

    def noise(self: Describer, images: np.ndarray) -> object:
        made = whole(self, images)
        rng = np.random.default_rng(int(images.sum() * 1000) % 2**32)
        return made._replace(whitened=rng.normal(size=made.whitened.shape).astype(np.float32))

    monkeypatch.setattr(Describer, "describe", noise)
    for evidence in judged(measure(context, "linkability", _copied(214))).values():
        assert evidence.verdict is Verdict.INVALID


@pytest.mark.parametrize("name", NAMES)
def test_results_do_not_depend_on_blocks(context: Context, name: str) -> None:
    given = _given(215)
    one, two = (by_key(measure(context, name, given, block_size=size)) for size in (256, 33))
    assert {key: (f.value, f.interval, f.inputs) for key, f in one.items()} == {
        key: (f.value, f.interval, f.inputs) for key, f in two.items()
    }


def test_values_of_a_column_are_text(context: Context) -> None:
    images = keep(context.store, patients(3, 1))
    table = images.table.with_columns(pl.Series("age", [40, None, 50]))
    assert inference.values(type(images)(images.store, table), "age").tolist() == ["40", "", "50"]
