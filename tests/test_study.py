"""Study files: every problem is told with its line; the digest holds what a result can depend on."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from chambit.core.errors import StudyError
from chambit.core.study import Study, load, resolve
from chambit.pipeline import study as pipeline
from tinystudy import STUDY, write_study

TEXT = """\
chambit: 1
title: "Tiny"
source: {kind: phantoms}
cohort:
  phantoms:
    patients: 60
    pixels: 32
recipe:
  train:
    flow: {steps: 10}
"""


@pytest.fixture
def problems(tmp_path: Path) -> Callable[[str | bytes], dict[str, str]]:
    """Problems of a study text: where -> what and remedy."""

    def told(text: str | bytes) -> dict[str, str]:
        path = tmp_path / "study.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        with pytest.raises(StudyError) as caught:
            load(path)
        assert caught.value.problems
        where = [problem.where.replace(str(path), "study") for problem in caught.value.problems]
        said = [f"{problem.what} -> {problem.remedy}" for problem in caught.value.problems]
        return dict(zip(where, said, strict=True))

    return told


Told = Callable[[str | bytes], dict[str, str]]


def test_a_good_study(tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text(TEXT)
    study = load(tmp_path / "study.yaml")
    assert study.cohort.phantoms.patients == 60
    assert (study.seed, study.policy, study.run.engine) == (0, "default", "processes")


def test_an_unknown_key_names_its_line(problems: Told) -> None:
    told = problems(TEXT.replace("    pixels: 32\n", "    pixels: 32\n  colour: red\n"))
    assert list(told) == ["study:8"]
    assert "unknown key `cohort.colour`" in told["study:8"]


def test_a_wrong_value_names_its_line_and_what_it_is_now(problems: Told) -> None:
    told = problems(TEXT.replace("patients: 60", "patients: 6"))
    assert "greater than or equal to 20" in told["study:6"]
    assert "it is 6 now" in told["study:6"]


def test_a_missing_key_says_where_to_add_it(problems: Told) -> None:
    told = problems(TEXT.replace("recipe:\n  train:\n    flow: {steps: 10}\n", ""))
    assert "`recipe` is missing" in told["study:1"]


def test_all_problems_are_told_at_once(problems: Told) -> None:
    text = TEXT.replace("chambit: 1", "chambit: 2").replace("pixels: 32", "pixels: 7\n  split: {train: 2}")
    told = problems(text + "extra: 1\nseed: -1\n")
    assert {"study:1", "study:7", "study:8", "study:12", "study:13"} <= set(told)


@pytest.mark.parametrize(
    ("text", "where", "what"),
    [
        ("title: 'x\n", "study", "found unexpected end of stream"),
        ("a: 1\n  b: [2\n", "study:2", "mapping values are not allowed"),
        ("", "study", "no keys"),
        ("# only a comment\n", "study", "no keys"),
        ("- a\n- b\n", "study", "its top level"),
        ("only words\n", "study", "its top level"),
        ("title: 2024-13-01\n", "study", "month"),
    ],
)
def test_what_is_no_study_is_said(problems: Told, text: str, where: str, what: str) -> None:
    told = problems(text)
    assert [name for name in told if name.startswith(where)] == list(told)
    assert what in next(iter(told.values()))
    assert next(iter(told.values())).split(" -> ")[1]


@pytest.mark.parametrize(("text", "what"), [("", "is empty"), ("- a\n", "is not a mapping"), ("a\n", "not a mapping")])
def test_no_keys_and_other_than_keys_are_told_apart(tmp_path: Path, text: str, what: str) -> None:
    (tmp_path / "study.yaml").write_text(text)
    with pytest.raises(StudyError, match=what):
        load(tmp_path / "study.yaml")


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="No such file") as caught:
        load(tmp_path / "none.yaml")
    assert "chambit init" in str(caught.value)
    with pytest.raises(StudyError, match="directory"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("cohort", "what"),
    [
        ("phantoms: {}\n  split: {train: 0.5, holdout: 0.5, auxiliary: 0.1, test: 0.1}", "add up to 1, not 1.2"),
        ("phantoms: {}\n  split: {train: 0.3, holdout: 0.3, auxiliary: 0.1, test: 0.1}", "add up to 1, not 0.8"),
        ("phantoms: {}\n  files: {path: x}", "exactly one of `phantoms` and `files`"),
        ("split: {}", "exactly one of `phantoms` and `files`"),
        ("phantoms: {}\n  test: {path: x}", "`split.test` must be 0"),
        ("phantoms: {}\n  split: {train: 0.5, holdout: 0.4, auxiliary: 0.1, test: 0}", "must be above 0"),
    ],
)
def test_a_cohort_that_cannot_be(problems: Told, cohort: str, what: str) -> None:
    text = TEXT.replace("  phantoms:\n    patients: 60\n    pixels: 32\n", f"  {cohort}\n")
    assert any(what in said for said in problems(text).values())


@pytest.mark.parametrize("recipe", ["train: {}", "train: {flow: {}, other: {}}", "train: {flow: {}}\n  refine: [{}]"])
def test_a_recipe_that_cannot_be(problems: Told, recipe: str) -> None:
    text = TEXT.replace("train:\n    flow: {steps: 10}", recipe)
    assert any("exactly one" in said for said in problems(text).values())


def test_all_shares_that_people_write_add_up(tmp_path: Path) -> None:
    for split in (
        "{train: 0.7, holdout: 0.1, auxiliary: 0.1, test: 0.1}",
        "{train: 0.33, holdout: 0.33, auxiliary: 0.33, test: 0.01}",
    ):
        (tmp_path / "study.yaml").write_text(TEXT.replace("  phantoms:", f"  split: {split}\n  phantoms:"))
        load(tmp_path / "study.yaml")


def test_paths_are_relative_to_the_study_file(tmp_path: Path) -> None:
    assert resolve(tmp_path / "a" / "study.yaml", Path("../x.csv")) == (tmp_path / "x.csv").resolve()
    assert resolve(tmp_path / "study.yaml", tmp_path / "y") == tmp_path / "y"


def test_a_file_in_another_encoding_is_said(problems: Told) -> None:
    assert "UTF-8" in str(problems(TEXT.replace("Tiny", "\xe9t\xe9").encode("latin-1")))


def test_a_key_that_is_given_twice_is_told(problems: Told) -> None:
    assert "twice" in problems(TEXT + "title: again\n")["study:11"]
    told = problems(
        TEXT.replace("    pixels: 32\n", "    patients: 70\n") + "  refine:\n    - crop: {top: 1, top: 2}\n"
    )
    assert list(told) == ["study:7", "study:12"]
    assert "line 6" in told["study:7"]


def test_an_alias_is_not_a_key_given_twice(tmp_path: Path) -> None:
    text = TEXT.replace("{steps: 10}", "&a {steps: 10}") + "measures: {one: *a, two: *a}\n"
    (tmp_path / "study.yaml").write_text(text)
    assert load(tmp_path / "study.yaml").measures == {"one": {"steps": 10}, "two": {"steps": 10}}


@pytest.mark.parametrize("shares", ["{}", "{a: 0}", "{a: 2, b: -1}", "{a: .nan}"])
def test_shares_that_cannot_be(problems: Told, shares: str) -> None:
    assert next(iter(problems(TEXT + f"  sample:\n    shares: {shares}\n"))).startswith("study:12")


# --- the digest


def test_the_run_block_is_outside_the_digest() -> None:
    want = Study.model_validate(STUDY).digest
    for run in ({}, {"engine": "processes", "workers": 3}, {"out": "elsewhere"}):
        assert Study.model_validate(STUDY | {"run": run}).digest == want


CHANGES: dict[str, Any] = {
    "title": "Other",
    "seed": 6,
    "purpose": {},
    "source": {"kind": "public"},
    "cohort": {"phantoms": {"patients": 121, "pixels": 32}},
    "prepare": {"into": "prepared", "key": "site.key"},
    "recipe": {"train": {"flow": {"steps": 10}}},
    "examine": {"pixels": 16},
    "rivals": {"gan": {"train": {"flow": {"steps": 5}}}},
    "measures": {"frechet": {}},
    "weights": {"dinov2": {"path": "w.pth", "sha256": "0" * 64}},
    "margins": {"auroc": 0.1},
    "policy": "default",
}


def test_every_other_key_is_inside_the_digest() -> None:
    assert set(CHANGES) | {"chambit", "run"} == set(Study.model_fields)
    found = {key: Study.model_validate(STUDY | {key: value}).digest for key, value in CHANGES.items()}
    assert len({*found.values(), Study.model_validate(STUDY).digest}) == len(CHANGES) + 1


def test_the_digest_does_not_depend_on_how_the_file_is_written(tmp_path: Path) -> None:
    write_study(tmp_path)
    (tmp_path / "other.yaml").write_text(yaml.safe_dump(STUDY, sort_keys=True, default_flow_style=True))
    assert load(tmp_path / "study.yaml").digest == load(tmp_path / "other.yaml").digest


# --- what only the whole pipeline can check


def test_the_tiny_study_is_good(tmp_path: Path) -> None:
    ready = pipeline.read(write_study(tmp_path))
    assert (ready.policy.name, ready.margin) == ("tiny", 0.05)


def test_problems_of_all_rooms_are_told_together(tmp_path: Path) -> None:
    changes: dict[str, Any] = {
        "cohort": {"files": {"path": "nowhere"}},
        "recipe": {
            "train": {"flow": {"step": 5, "width": 17}},
            "refine": [{"crop": {"bottom": "130%"}}, {"polish": {}}],
        },
        "measures": {"copies": {"plant": 3}, "beauty": {}},
    }
    with pytest.raises(StudyError) as caught:
        pipeline.read(write_study(tmp_path, **changes))
    text = str(caught.value)
    for part in (
        "recipe.train.flow.step: unknown key",
        "recipe.train.flow.width: ",
        "recipe.refine.crop.bottom: ",
        "no refinement called 'polish'",
        "measures.copies.plant: unknown key",
        "measures.beauty: there is no such measure",
        "nowhere: there is no such file or folder",
    ):
        assert part in text
    assert "has 7 problem(s)" in text


def test_a_missing_policy_is_told_with_the_rest(tmp_path: Path) -> None:
    with pytest.raises(StudyError) as caught:
        pipeline.read(write_study(tmp_path, policy="none.yaml", measures={"beauty": {}}))
    assert "policy: none.yaml" in str(caught.value)
    assert "measures.beauty" in str(caught.value)


def test_options_of_drawn_patients_are_checked_by_their_kind(tmp_path: Path) -> None:
    cohort = STUDY["cohort"] | {"phantoms": STUDY["cohort"]["phantoms"] | {"colour": "red"}}
    with pytest.raises(StudyError, match=r"cohort\.phantoms\.colour: unknown key"):
        pipeline.read(write_study(tmp_path, cohort=cohort))
    cohort = STUDY["cohort"] | {"phantoms": {"kind": "unicorn"}}
    with pytest.raises(StudyError, match="no kind of phantoms called 'unicorn'"):
        pipeline.read(write_study(tmp_path, cohort=cohort))


def test_stages_that_do_not_fit_are_told_before_anything_runs(tmp_path: Path) -> None:
    recipe = {"train": [{"sdm": {}}]}
    with pytest.raises(StudyError, match="'sdm' needs layout, which neither an earlier stage nor the plan gives"):
        pipeline.read(write_study(tmp_path, recipe=recipe))


def test_counts_of_a_plan_are_scaled_and_make_the_number_of_images() -> None:
    sample = {"counts": {"modality": {"MR": 10_000, "CT": 20_000, "DX": 105_000}}, "scale": 0.01}
    study = Study.model_validate(STUDY | {"recipe": {"train": {"flow": {}}, "sample": sample}})
    assert study.recipe.sample.images == 1350


def test_an_unknown_stage_is_told(tmp_path: Path) -> None:
    recipe = {"train": {"magic": {}}}
    with pytest.raises(StudyError, match="'magic'"):
        pipeline.read(write_study(tmp_path, recipe=recipe))


def test_the_margin_of_the_study_comes_before_the_policy_s(tmp_path: Path) -> None:
    ready = pipeline.read(write_study(tmp_path, margins={"auroc": 0.02}))
    assert ready.margin == 0.02
    (step,) = [entry for entry in pipeline.planned(ready, tmp_path) if entry.name == "measure downstream"]
    made = {"refine": dict.fromkeys(("train", "holdout", "auxiliary", "test", "synthetic"), "0" * 64)}
    assert step.build(made).options["margin"] == 0.02
    assert step.build(made).options["seeds"] == 1


def test_where_the_files_go(tmp_path: Path) -> None:
    ready = pipeline.read(write_study(tmp_path, run={"out": "there"}))
    assert pipeline.folder_of(ready, None) == (tmp_path / "there").resolve()
    assert pipeline.folder_of(ready, tmp_path / "x") == (tmp_path / "x").resolve()
    ready = pipeline.read(write_study(tmp_path))
    assert pipeline.folder_of(ready, None) == (Path("out") / "study").resolve()


@pytest.mark.parametrize(("engine", "workers"), [("inline", 1), ("processes", 3)])
def test_the_engine_a_study_asks_for(tmp_path: Path, engine: str, workers: int) -> None:
    ready = pipeline.read(write_study(tmp_path, run={"engine": engine, "workers": 3}))
    assert pipeline.engine_of(ready.study.run).workers == workers


@pytest.mark.parametrize(
    "recipe",
    [
        {"refine": [{"crop": {"top": "60%", "bottom": "60%"}}]},
        {"sample": {"images": 48, "shares": {"normal": 2.0, "consolidation": -1.0}}},
        {"sample": {"images": 48, "shares": {"normal": 0.0}}},
    ],
    ids=["crop", "negative share", "no share"],
)
def test_a_recipe_that_must_fail_later_is_told_before(tmp_path: Path, recipe: dict[str, Any]) -> None:
    with pytest.raises(StudyError):
        pipeline.read(write_study(tmp_path, recipe=STUDY["recipe"] | recipe))


def test_a_threshold_is_the_policys_alone(tmp_path: Path) -> None:
    """A study may say how many seeds, not what counts as found."""
    study = write_study(
        tmp_path,
        measures={"copies": {"covered_recall": 0.1, "alpha": 0.5}, "downstream": {"seeds": 1}},
        recipe=STUDY["recipe"] | {"refine": [{"visible_mark": {"z": 1e9}}]},
        policy="default",
    )
    with pytest.raises(StudyError) as caught:
        pipeline.read(study)
    told = str(caught.value)
    for key in ("copies.covered_recall", "copies.alpha", "visible_mark.z"):
        assert f"{key}: is set by the policy" in told
    assert "downstream.seeds" not in told
