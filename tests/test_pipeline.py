"""A whole study: what it leaves, that it can be stopped anywhere, and that a second run changes nothing."""

import json
import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from PIL import Image as Pillow

from chambit.core import digest
from chambit.core.ledger import Ledger
from chambit.prepare import intake
from chambit.review import policy
from tinystudy import MEASURED, STUDY, chambit, evidence, step_outputs, write_study

FIELDS = {
    "measure", "version", "quantity", "value", "interval", "n", "unit", "null", "direction", "band", "control",
    "verdict", "inputs", "policy", "because", "condition", "reason", "details",
}  # fmt: skip
FILES = ("dossier.html", "dossier.json", "evidence.json", "verdict.json", "images.parquet")


@pytest.fixture(scope="module")
def once(tiny: Path) -> Path:
    return tiny / "once"


@pytest.fixture
def copy(once: Path, tmp_path: Path) -> Path:
    """A copy of the finished output folder that may be changed."""
    return Path(shutil.copytree(once, tmp_path / "copy"))


def _scored() -> set[str]:
    return {"copies.score", "copies.p", "copies.flagged", "copies.nearest"}


def test_the_files_are_there(once: Path) -> None:
    assert {path.name for path in once.iterdir()} == {*FILES, "candidate", "cohort", "work"}
    assert not list(once.rglob(".writing-*"))
    assert not list((once / "work" / "scratch").iterdir())


def test_evidence_has_every_promised_field(once: Path) -> None:
    items = json.loads((once / "evidence.json").read_bytes())
    assert isinstance(items, list)
    loaded = policy.load("tiny.yaml", once.parent)
    for item in items:
        assert set(item) == FIELDS
        assert item["verdict"] in ("PASS", "CONDITIONAL", "NOT_RUN", "INVALID", "FAIL")
        assert item["direction"] in ("lower", "higher", "neither")
        assert "@" not in item["measure"]
        assert item["policy"].startswith(f"tiny {loaded.version}: {item['measure']}.{item['quantity']}")
        assert item["because"]
        if item["value"] is None:
            assert item["verdict"] == "NOT_RUN"
            assert item["reason"]
        else:
            assert item["version"]
            assert item["n"]
        if item["verdict"] == "CONDITIONAL":
            assert item["condition"]
        for value in item["inputs"].values():
            assert len(value) == 64
    found = evidence(once)
    assert len(found) == len(items)
    assert {name.split(".")[0] for name in found} >= set(MEASURED)
    assert set(loaded.required) <= set(found)


def test_measures_carry_digests_and_spread(once: Path) -> None:
    for item in evidence(once).values():
        if item["measure"] in MEASURED and item["value"] is not None:
            assert item["inputs"]["synthetic"]
            if item["quantity"] not in ("exact", "endpoints", "real_images"):  # exact counts
                assert item["interval"]["low"] <= item["interval"]["high"]
                assert item["interval"]["method"]


def test_what_was_required_and_not_measured_is_not_run(once: Path) -> None:
    found = evidence(once)
    for name in ("membership.p", "membership.excess", "exchangeability.auroc"):
        assert found[name]["verdict"] == "NOT_RUN"
        assert found[name]["value"] is None
    said = json.loads((once / "verdict.json").read_bytes())
    assert said["verdict"] in ("NOT_RUN", "INVALID", "FAIL")


def test_facts_of_the_process(once: Path) -> None:
    found = evidence(once)
    assert found["process.connections"]["value"] == 0
    assert found["process.connections"]["verdict"] == "PASS"
    assert found["split.overlap"]["value"] == 0
    assert found["generation.recorded"]["value"] == 1
    assert found["purpose.stated"]["value"] == 1
    accounted = found["intake.accounted"]
    assert accounted["value"] == 1
    assert accounted["n"]["files"] == len(list((once / "cohort").rglob("*.dcm")))


def test_the_verdict_names_its_study_and_policy(once: Path) -> None:
    from chambit.pipeline import study as pipeline

    ready = pipeline.read(once.parent / "study.yaml")
    said = json.loads((once / "verdict.json").read_bytes())
    assert said["study"] == ready.study.digest
    assert said["policy"] == {"name": "tiny", "version": ready.policy.version, "digest": ready.policy.digest}
    assert said["attempt"] == 1
    worst = {item["verdict"] for item in evidence(once).values()}
    assert said["verdict"] in worst
    assert all(evidence(once)[key]["verdict"] == said["verdict"] for key in said["because"])


def test_the_table_has_a_row_for_every_synthetic_image(once: Path) -> None:
    table = pl.read_parquet(once / "images.parquet")
    assert len(table) == STUDY["recipe"]["sample"]["images"]
    assert {"id", "sha256", "label", "seed"} | _scored() <= set(table.columns)
    assert table["id"].n_unique() == table["seed"].n_unique() == len(table)
    assert table["id"][0] == "S000000"
    assert table.null_count().sum_horizontal().item() == 0
    assert table["copies.p"].is_between(0, 1).all()
    shares = dict(table["label"].value_counts().iter_rows())
    assert set(shares) == {"normal", "consolidation"}


def test_the_candidate_is_what_the_evidence_speaks_of(once: Path) -> None:
    table = {row["id"]: row for row in pl.read_parquet(once / "images.parquet").iter_rows(named=True)}
    files = list((once / "candidate").rglob("*.png"))
    assert len(files) == len(table)
    listed = {row["file"]: row for row in pl.read_csv(once / "candidate" / "labels.csv").iter_rows(named=True)}
    for path in files:
        row = table[path.stem]
        with Pillow.open(path) as picture:
            pixels = np.asarray(picture)
            assert "not for diagnosis" in picture.text["Comment"]
        assert pixels.shape == (24, 32)  # a quarter cut off the bottom
        assert digest.of_array(pixels.astype(np.uint16)) == row["sha256"]
        assert path.parent.name == row["label"]
        assert listed[f"{row['label']}/{path.name}"]["pixels_sha256"] == row["sha256"]
    # and it can be handed to `chambit audit` as it is
    labels = [entry.label for entry in intake.files(intake.Source(once / "candidate"))]
    assert sorted(labels) == sorted(row["label"] for row in table.values())


def test_the_twin_of_the_dossier_makes_the_same_page(once: Path) -> None:
    from chambit.report import dossier

    again = dossier.render(dossier.untwinned((once / "dossier.json").read_bytes()))
    assert again == (once / "dossier.html").read_text(encoding="utf-8")


def test_every_image_has_a_record_of_its_refinement(once: Path) -> None:
    table = pl.read_parquet(once / "images.parquet")
    assert table["drawn_sha256"].n_unique() == len(table)
    assert not set(table["drawn_sha256"]) & set(table["sha256"])
    for text in table["refinement"]:
        record = json.loads(text)
        assert [(entry["name"], entry["options"]["bottom"]) for entry in record["operations"]] == [("crop", "25%")]
        assert (record["from"], record["to"]) == ([32, 32], [24, 32])


def test_an_image_can_be_made_again_alone(once: Path) -> None:
    from chambit.core.store import Store
    from chambit.generate.refine import crop
    from chambit.generate.stages import flow
    from chambit.pipeline.drawing import quantised

    store = Store(once / "work")
    outputs = {name: made for name, made in step_outputs(once).values()}
    about = store.get_json(outputs["items"]["about"])
    row = pl.read_parquet(once / "images.parquet").row(5, named=True)
    options = flow.Options.model_validate(STUDY["recipe"]["train"]["flow"])
    label, masked = about["classes"].index(row["label"]), row["label"] in about["masked"]
    given = {"label": np.array([label]), "finding": np.array([masked])}
    made = flow.sample(store, outputs["train"]["weights"], given, [int(row["seed"])], options)["image"]
    alone = crop.apply(quantised(made, about["bits"], about["dtype"]), crop.Options(bottom="25%"))[0]
    with Pillow.open(once / "candidate" / row["label"] / f"{row['id']}.png") as picture:
        kept = np.asarray(picture).astype(np.float64)
    assert np.abs(alone - kept).max() <= 65535 / 255 + 1


def test_the_dossier_says_the_verdict_in_both_languages(once: Path) -> None:
    said = json.loads((once / "verdict.json").read_bytes())["verdict"]
    html = (once / "dossier.html").read_text(encoding="utf-8")
    words = {"FAIL": ("불합격", "Fail"), "INVALID": ("무효", "Invalid"), "NOT_RUN": ("미실시", "Not run")}
    from chambit.report import wording

    entry = _find(wording.words(), said) or dict(zip(("ko", "en"), words[said], strict=True))
    assert any(text in html for text in _texts(entry) if _korean(text))
    assert any(text in html for text in _texts(entry) if not _korean(text))
    assert "http://" not in html.replace("http://www.w3.org", "")


def _find(tree: Any, key: str) -> Any:
    if isinstance(tree, dict):
        for name, value in tree.items():
            if name == key:
                return value
            if (found := _find(value, key)) is not None:
                return found
    return None


def _texts(entry: Any) -> list[str]:
    if isinstance(entry, str):
        return [entry]
    parts = entry.values() if isinstance(entry, dict) else entry
    return [text for part in parts for text in _texts(part)]


def _korean(text: str) -> bool:
    return any("가" <= letter <= "힣" for letter in text)


def test_the_ledger_holds(once: Path) -> None:
    ledger = Ledger.beside(once / "work")
    try:
        ledger.verify()
        kinds = [event["kind"] for event in ledger.events()]
    finally:
        ledger.close()
    assert kinds[0] == "study.frozen"  # before the first measurement
    assert kinds[-1] == "evidence.closed"
    assert kinds.count("step.done") == 11 + len(MEASURED)


def test_a_second_run_does_nothing_and_changes_nothing(once: Path, copy: Path) -> None:
    before = {name: (copy / name).stat().st_mtime_ns for name in ("evidence.json", "images.parquet", "verdict.json")}
    said = chambit("run", once.parent / "study.yaml", "--out", copy)
    assert said.code == 0, said.err
    assert said.out.count(": done before") == 11 + len(MEASURED)
    for name, stamp in before.items():
        assert (copy / name).read_bytes() == (once / name).read_bytes()
        assert (copy / name).stat().st_mtime_ns == stamp
    assert len(step_outputs(copy)) == 11 + len(MEASURED)
    assert "Verdict: " in said.out
    assert chambit("run", once.parent / "study.yaml", "--out", copy, "--gate").code == 1


def test_another_study_in_the_same_folder_is_another_attempt(copy: Path, tmp_path: Path) -> None:
    changed = write_study(tmp_path / "changed", title="Changed after the first look")
    assert chambit("run", changed, "--out", copy).code == 0
    said = json.loads((copy / "verdict.json").read_bytes())
    assert said["attempt"] == 2
    assert "2" in (copy / "dossier.html").read_text(encoding="utf-8")
    # the run block is no part of the study: still the second attempt
    same = write_study(tmp_path / "same", title="Changed after the first look", run={"engine": "inline", "workers": 2})
    assert chambit("run", same, "--out", copy).code == 0
    assert json.loads((copy / "verdict.json").read_bytes())["attempt"] == 2


def test_going_back_to_the_first_study_does_not_hide_the_second(once: Path, copy: Path, tmp_path: Path) -> None:
    assert chambit("run", write_study(tmp_path / "other", title="Second look"), "--out", copy).code == 0
    assert chambit("run", once.parent / "study.yaml", "--out", copy).code == 0
    said = json.loads((copy / "verdict.json").read_bytes())
    assert (said["attempt"], said.get("attempts")) == (1, 2)


def test_a_candidate_that_was_changed_is_written_again(once: Path, copy: Path) -> None:
    changed = next((copy / "candidate").rglob("*.png"))
    original = changed.read_bytes()
    changed.write_bytes(b"something else")
    (changed.parent / "extra.png").write_bytes(original)
    assert chambit("run", once.parent / "study.yaml", "--out", copy).code == 0
    assert changed.read_bytes() == original
    assert not (changed.parent / "extra.png").exists()


def test_phantoms_that_were_deleted_are_drawn_again(once: Path, copy: Path) -> None:
    shutil.rmtree(copy / "cohort")
    assert chambit("run", once.parent / "study.yaml", "--out", copy).code == 0


# --- stopped runs


def test_ctrl_c_says_what_to_do(stopped: dict[str, Any]) -> None:
    code, _, err = stopped["interrupt"]
    assert code == 130, err
    assert "Stopped. What is done is kept" in err
    assert "Traceback" not in err


def test_the_kills_came_in_the_middle(stopped: dict[str, Any]) -> None:
    assert stopped["train"][0] == stopped["measure"][0] == -signal.SIGKILL
    assert "split" in stopped["train"][1]
    assert "measure downstream" not in stopped["train"][1]
    assert "refine" in stopped["measure"][1]
    assert "measure copies" not in stopped["measure"][1]
    code, out, err = stopped["last"]
    assert code == 0, err
    assert out.count("done before") >= 7


def test_a_run_that_was_killed_ends_like_one_that_was_not(once: Path, stopped: dict[str, Any]) -> None:
    assert step_outputs(Path(stopped["out"])) == step_outputs(once)
    for name in ("evidence.json", "images.parquet", "verdict.json"):
        assert (Path(stopped["out"]) / name).read_bytes() == (once / name).read_bytes(), name
    for path in (once / "candidate").rglob("*"):
        if path.is_file():
            assert (Path(stopped["out"]) / path.relative_to(once)).read_bytes() == path.read_bytes()


def test_a_killed_folder_is_in_order(stopped: dict[str, Any]) -> None:
    ledger = Ledger.beside(Path(stopped["out"]) / "work")
    try:
        ledger.verify()
        assert len(ledger.events("study.frozen")) == 1
    finally:
        ledger.close()
    objects = Path(stopped["out"]) / "work" / "objects"
    for blob in objects.rglob("*"):
        if blob.is_file() and not blob.name.startswith(".writing-"):
            assert digest.of_file(blob) == blob.name
