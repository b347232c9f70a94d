"""Every example study is read without a problem, and its plan holds what its recipe names."""

from pathlib import Path

import pytest
import yaml

from chambit.core.study import load, resolve
from chambit.pipeline import study as pipeline

FOLDER = Path(__file__).parent.parent / "examples"
STUDIES = sorted(path for path in FOLDER.glob("*.yaml") if "chambit" in yaml.safe_load(path.read_text("utf-8")))


def test_there_are_examples() -> None:
    assert len(STUDIES) >= 13


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_an_example_can_be_planned(path: Path, tmp_path: Path) -> None:
    study = load(path)
    files = study.cohort.files
    if files is not None and not resolve(path, files.path).exists():
        pytest.skip(f"{files.path.name} is not on this machine")
    ready = pipeline.read(path)
    names = [entry.name for entry in pipeline.planned(ready, tmp_path)]
    stages = [name for name in names if name.startswith("train")]
    assert len(stages) == len(study.recipe.stages)
    assert set(study.measures) == {name.removeprefix("measure ") for name in names if name.startswith("measure ")}
    assert set(study.rivals) == {name.split(": ")[0] for name in names if name.endswith(": sample")}
    assert (study.cohort.phantoms is not None) == ("phantoms" in names)
