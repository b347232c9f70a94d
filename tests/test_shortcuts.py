"""What a classifier could learn instead of the finding, and what mixing and refining change; planted and absent."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from chambit.core.evidence import Verdict
from chambit.core.steps import Context
from chambit.measure.utility import border, mix, refinement, shortcut
from examinations import POLICY, SMALL, Cohort, by_key, examination, judged, keep, measure, patients, workplace
from test_downstream import blobs, tilts


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Context]:
    with workplace(tmp_path_factory.mktemp("shortcuts")) as made:
        yield made


# --- border


@pytest.fixture(scope="module")
def real() -> dict[str, Cohort]:
    return {"train": patients(120, 10, "t", each=2), "holdout": patients(90, 11, "h", each=2)}


def _marked(cohort: Cohort, place: slice) -> Cohort:
    """One class has a faint mark."""
    grey = cohort.grey
    grey[cohort.labels == "b", place, place] += 0.06
    return cohort.of(grey)


def test_nothing_at_the_border_is_chance(context: Context, real: dict[str, Cohort]) -> None:
    values = []
    for seed in (12, 13, 14):
        found = judged(measure(context, "border", real | {"synthetic": patients(150, seed, "s")}))
        assert {item.verdict for item in found.values()} == {Verdict.PASS}
        values.append(found["border.auroc"].value)
    assert abs(np.mean(values) - 0.5) < 0.1  # type: ignore[arg-type]


def test_a_mark_at_the_border_is_found_and_one_in_the_middle_is_not(context: Context, real: dict[str, Cohort]) -> None:
    fresh = patients(150, 12, "s")
    found = judged(measure(context, "border", real | {"synthetic": _marked(fresh, slice(29, 32))}))
    assert {item.verdict for item in found.values()} == {Verdict.CONDITIONAL}
    assert found["border.excess"].details["synthetic"] > 0.9  # type: ignore[operator]
    inside = judged(measure(context, "border", real | {"synthetic": _marked(fresh, slice(14, 17))}))
    assert {item.verdict for item in inside.values()} == {Verdict.PASS}


def test_a_mark_that_real_images_have_too_is_no_excess(context: Context, real: dict[str, Cohort]) -> None:
    given = {role: _marked(cohort, slice(0, 3)) for role, cohort in real.items()}
    found = judged(measure(context, "border", given | {"synthetic": _marked(patients(150, 12, "s"), slice(0, 3))}))
    assert found["border.auroc"].verdict is Verdict.CONDITIONAL
    assert found["border.excess"].verdict is Verdict.PASS


def test_a_control_that_cannot_be_seen_makes_it_invalid(context: Context, real: dict[str, Cohort]) -> None:
    found = judged(measure(context, "border", real | {"synthetic": patients(150, 12, "s")}, mark=0.0))
    assert {item.verdict for item in found.values()} == {Verdict.INVALID}


def test_the_frame_holds_the_outer_tenth_and_nothing_else() -> None:
    options = border.Options()
    image = np.zeros((1, 40, 20), np.float32)
    image[:, 4:36, 2:18] = 1  # what lies inside
    assert np.abs(border.frames(image, options)).max() == 0
    image[:, 0, 0] = 1
    found = border.frames(image, options)
    pixels = found[0, : found.shape[1] // 2]
    assert len(pixels) == 40 * 20 - 32 * 16
    assert (pixels > 0).sum() == 1
    large = border.frames(np.ones((2, 256, 192), np.float32), options)
    assert large.shape[1] < 2 * 4 * 64 * 0.1 * 64
    assert np.ptp(large[:, : large.shape[1] // 2]) == 0


# --- source


def test_patients_are_not_told_from_patients_and_blurs_are(context: Context, real: dict[str, Cohort]) -> None:
    fresh = patients(150, 12, "s")
    good = judged(measure(context, "shortcut", real | {"synthetic": fresh}))["shortcut.auroc"]
    blurred = fresh.of(ndimage.gaussian_filter(fresh.grey, (0, 1, 1)))
    bad = judged(measure(context, "shortcut", real | {"synthetic": blurred}))["shortcut.auroc"]
    assert good.verdict is Verdict.PASS, good.because
    assert bad.verdict is Verdict.CONDITIONAL
    assert bad.value is not None
    assert bad.value > 0.95
    classes: Any = bad.details["classes"]
    assert set(classes) == {"a", "b"}
    assert set(bad.details["families"]) == set(shortcut.families())  # type: ignore[call-overload]


def test_the_family_that_gives_a_set_away_is_named(context: Context, real: dict[str, Cohort]) -> None:
    """Pixels shuffled: every grey level stays, all structure goes."""
    fresh = patients(150, 12, "s")
    order = np.random.default_rng(0).permutation(32 * 32)
    shuffled = fresh.grey.reshape(150, -1)[:, order].reshape(150, 32, 32)
    found = measure(context, "shortcut", real | {"synthetic": fresh.of(shuffled)}).findings[0]
    families: Any = found.details["families"]
    assert families["glcm"]["low"] > 0.9
    assert families["histogram"]["high"] < 0.75


# --- mix


@pytest.fixture(scope="module")
def task() -> dict[str, Cohort]:
    return {"train": blobs(120, 1, "t"), "synthetic": blobs(300, 2, "s"), "test": blobs(80, 3, "v")}


def test_adding_images_of_the_real_kind_helps_where_few_are_there(context: Context, task: dict[str, Cohort]) -> None:
    given: dict[str, Any] = {"sizes": (6,), "times": (10,), "rare": (3,), "steps": 20, "seeds": 2}
    found = by_key(measure(context, "mix", task, **given))
    gain = found["mix.gain"]
    assert gain.value is not None
    assert gain.value > 0.05
    points: Any = gain.details["points"]
    assert [(point["real"], point["times"]) for point in points] == [(6, 0), (6, 10)]
    assert gain.value == pytest.approx(points[1]["auroc"] - points[0]["auroc"])
    assert found["mix.rare_gain"].details["class"] == "a"


def test_adding_wrong_labels_harms(context: Context, task: dict[str, Cohort]) -> None:
    made = task["synthetic"]
    wrong = made._replace(labels=np.where(made.labels == "a", "b", "a"))
    given: dict[str, Any] = {"sizes": (60,), "times": (2,), "rare": (20,), "steps": 40, "seeds": 2}
    found = judged(measure(context, "mix", task | {"synthetic": wrong}, **given))["mix.gain"]
    assert found.value is not None
    assert found.value < -0.2
    assert found.verdict is Verdict.CONDITIONAL


def test_a_point_has_the_images_it_says(context: Context, task: dict[str, Cohort]) -> None:
    options = mix.Options(**(POLICY.settings["mix"] | SMALL["mix"]))
    exam = examination(context, task, 7, options)
    for size, times in ((20, 0), (20, 3), (60, 1)):
        (given,) = mix._mixed(exam, ["a", "b"], size, times, 1)
        counts = np.bincount(given["label"], minlength=2)
        assert counts.tolist() == [size // 2 * (1 + times)] * 2
        subjects = np.array(given["subject"])
        assert sum(name.startswith("s") for name in subjects) == size * times
    (given,) = mix._rare(exam, ["a", "b"], "b", 5, 1, 1)
    assert np.bincount(given["label"]).tolist() == [60, 60]
    (given,) = mix._rare(exam, ["a", "b"], "b", 5, 0, 1)
    assert np.bincount(given["label"]).tolist() == [60, 5]


def test_one_subject_is_never_cut_in_two_more_often_than_the_number_asks(context: Context) -> None:
    cohort = patients(40, 3, "t", each=4)
    images = keep(context.store, cohort)
    chosen = mix._few(images, 40, np.random.default_rng(0))
    _, counts = np.unique(images.subjects[chosen], return_counts=True)
    assert len(chosen) == 40
    assert (counts == 4).all()


def test_too_few_real_images_for_a_curve_say_so(context: Context, task: dict[str, Cohort]) -> None:
    for found in measure(context, "mix", task, sizes=(500,), rare=(5,)).findings:
        assert found.value is None
        assert "There are 120 training images" in found.reason


# --- refinement


def test_without_steps_there_is_nothing_to_say(context: Context, task: dict[str, Cohort]) -> None:
    assert measure(context, "refinement", task).findings == ()


def test_a_step_that_takes_the_finding_away_is_named(context: Context) -> None:
    """The set as released has no finding left (step 2 blurred it away); without step 2 it has."""
    task = {"train": tilts(60, 1, "t"), "synthetic": tilts(100, 2, "s"), "test": tilts(60, 3, "v")}
    flat = {role: task[role].of(np.full_like(task[role].grey, 0.5)) for role in ("synthetic", "test")}
    options = refinement.Options(**(POLICY.settings["refinement"] | SMALL["refinement"]))
    exam = examination(context, task | flat, 7, options)
    sets = {role: keep(context.store, task[role], role[0]) for role in ("synthetic", "test")}
    released = {role: exam[role] for role in ("synthetic", "test")}
    exam.variants.update({"1 crop": released, "2 blur": sets})  # type: ignore[attr-defined]
    (finding,) = refinement.measure(exam, options).findings
    assert finding.details["step"] == "2 blur"
    assert finding.value is not None
    assert finding.value < -0.3
    steps: Any = finding.details["steps"]
    assert [step["step"] for step in steps] == ["1 crop", "2 blur"]
    assert steps[0]["gain"] == 0


def test_cutting_a_planted_mark_away_gains_with_an_interval_that_excludes_0(context: Context) -> None:
    """A bright bar stands below one class's images of the synthetic set: without the crop networks learn the bar."""
    noise = np.random.default_rng(0)
    task = {"train": blobs(80, 1, "t"), "synthetic": blobs(160, 2, "s"), "test": blobs(80, 3, "v")}
    task = {role: cohort.of(cohort.grey + noise.normal(0, 0.06, cohort.grey.shape)) for role, cohort in task.items()}

    def taller(cohort: Cohort, bar: float) -> Cohort:
        grey = np.pad(cohort.grey, ((0, 0), (0, 6), (0, 0)), mode="edge")
        grey[cohort.labels == "b", -4:] += bar
        return cohort.of(grey)

    options = refinement.Options(**(POLICY.settings["refinement"] | SMALL["refinement"] | {"steps": 20, "seeds": 2}))
    exam = examination(context, task, 7, options)
    raw = {"synthetic": taller(task["synthetic"], 0.4), "test": taller(task["test"], 0.0)}
    exam.variants.update(  # type: ignore[attr-defined]
        {"1 crop": {role: keep(context.store, cohort, role[0]) for role, cohort in raw.items()}}
    )
    (finding,) = refinement.measure(exam, options).findings
    assert finding.value is not None
    assert finding.interval is not None
    assert finding.value > 0.1
    assert finding.interval.low > 0
