"""Audits of two folders, real and synthetic: what is measured, and that safety is never a number without a holdout."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import pytest
import yaml

from chambit.core.study import Run
from chambit.pipeline import audit, examining, two_folders
from chambit.review import policy as policies
from imagefiles import save
from tinystudy import NEVER, Said, chambit, evidence, pictures, write_policy

FEW = 64
SAFE = ("copies.", "membership.", "attack.", "singling_out.", "linkability.", "inference.", "exchangeability.")


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny policy with fewer draws of the fidelity measures."""
    path = write_policy(tmp_path_factory.mktemp("policy") / "quick.yaml", copies=NEVER)
    raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    for name in ("frechet", "kernel", "precision_recall", "vendi"):
        raw["settings"][name] = {"extractors": ["texture"], "draws": 6}
    raw["settings"]["frechet"]["blocks"] = 8
    raw["settings"]["agreement"] |= {"extractors": ["texture", "histogram"]}
    raw["settings"]["structure"] = {"pairs": 60, "draws": 50, "splits": 5}
    raw["settings"]["shortcut"] = {"draws": 50, "splits": 3}
    path.write_text(yaml.safe_dump(raw, allow_unicode=True), encoding="utf-8")
    return path


def flat(folder: Path, images: np.ndarray) -> Path:
    """Pictures in one folder, without classes."""
    for number, image in enumerate(images):
        save(folder / f"{number:03d}.png", image)
    return folder


class Looked(NamedTuple):
    """An audit of two folders of 64 pictures each, and its products."""

    said: Said
    out: Path
    found: dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def looked(tmp_path_factory: pytest.TempPathFactory, policy: Path) -> Looked:
    home = tmp_path_factory.mktemp("two")
    flat(home / "real", pictures(FEW, 1))
    deep = pictures(FEW, 2).astype(np.uint16) * 257
    flat(home / "synthetic", np.kron(deep, np.ones((1, 2, 2), np.uint16)))
    said = look(home / "real", home / "synthetic", home / "out", policy)
    assert said.code == 0, said.err
    return Looked(said, home / "out", evidence(home / "out"))


def look(real: Path, synthetic: Path, out: Path, policy: Path, *more: str | Path) -> Said:
    given = ("--real", real, "--synthetic", synthetic, "--out", out, "--policy", policy, "--engine", "inline")
    return chambit("audit", *given, *more)


def test_likeness_is_measured(looked: Looked) -> None:
    for key in ("frechet.distance", "kernel.distance", "precision_recall.recall", "intensity.distance",
                "spectrum.distance", "vendi.ratio", "structure.excess", "agreement.tau"):  # fmt: skip
        assert looked.found[key]["value"] is not None, key
    assert looked.found["frechet.distance"]["band"]["high"] > 0
    assert looked.found["files.identifiers"]["value"] == 0
    assert {"dossier.html", "evidence.json", "images.parquet", "verdict.json"} <= {p.name for p in looked.out.iterdir()}


def test_no_safety_test_has_a_number_and_each_says_why(looked: Looked) -> None:
    required = {key for key in policies.load("default").required if key.startswith((*SAFE, "split."))}
    assert len(required) > 10
    mine = {key: item for key, item in looked.found.items() if key.startswith((*SAFE, "split."))}
    assert required <= set(mine)
    for key, item in mine.items():
        assert (item["value"], item["verdict"]) == (None, "NOT_RUN"), key
        assert item["interval"] is None, key
        assert item["reason"] == two_folders.REASON, key
    for key in ("text.images", "text.identifiers"):
        assert (looked.found[key]["value"], looked.found[key]["reason"]) == (None, two_folders.NO_TEXT)
    assert json.loads((looked.out / "verdict.json").read_bytes())["verdict"] in ("NOT_RUN", "INVALID")
    assert "downstream.loss" in looked.found
    assert "--test" in looked.found["downstream.loss"]["reason"]


def test_the_dossier_says_it_in_both_languages(looked: Looked) -> None:
    html = (looked.out / "dossier.html").read_text(encoding="utf-8")
    for text in (two_folders.SAID, two_folders.PROOF, two_folders.UNKNOWN):
        assert text in html
        assert two_folders.KOREAN[text] in html
    assert "No subject is in two splits" not in html


def test_what_intake_did_to_intensities_is_recorded(looked: Looked) -> None:
    rows = looked.found["intake.accounted"]["details"]["intensities"]
    assert set(rows) == {"real", "synthetic"}
    (real,), (synthetic,) = rows["real"], rows["synthetic"]
    assert (real["bits"], real["working_bits"], real["resized"], real["images"]) == (8, 8, 0, FEW)
    assert (synthetic["bits"], synthetic["working_bits"], synthetic["resized"]) == (16, 16, FEW)
    assert (synthetic["sizes"], synthetic["size"]) == (["64 x 64"], "32 x 32")
    html = (looked.out / "dossier.html").read_text(encoding="utf-8")
    assert "64 of 16 bits shown by whole range at 16 bits, 64 resized from 64 x 64 to 32 x 32" in html
    assert "16비트 64장, 표시 전체 범위 → 16비트, 64장 크기 변경 64 x 64 → 32 x 32" in html


def test_measures_that_take_a_holdout_are_no_steps(looked: Looked) -> None:
    assert "measure copies" not in looked.said.err + looked.said.out
    assert "measure text" not in looked.said.err + looked.said.out
    table = pl.read_parquet(looked.out / "images.parquet")
    assert len(table) == FEW
    assert not [name for name in table.columns if name.startswith("copies.")]


def test_every_measure_is_made_or_said_not_to_be() -> None:
    names = examining.standard(policies.load("default"))
    for text in (False, True):
        made = two_folders.measured(names, text=text)
        said = {finding.measure.split("@")[0] for finding in two_folders.untested(names, {}, text=text)}
        assert not said & set(made)
        # without donors and without a generator these two say nothing in any audit
        assert set(names) - set(made) - said <= {"composition", "privacy_audit"}
        assert ("text" in made) == text


def test_the_halves_are_cut_by_subject(tmp_path: Path, policy: Path) -> None:
    folder = flat(tmp_path / "real", pictures(30, 5))
    lines = [f"{n:03d}.png,s{n // 3},x,test" for n in range(30)]
    (folder / "labels.csv").write_text("\n".join(["file,subject,label,split", *lines]))
    made = flat(tmp_path / "synthetic", pictures(12, 6))
    assert look(folder, made, tmp_path / "out", policy).code == 0
    from chambit.core.store import Store
    from tinystudy import step_outputs

    (roles,) = [outputs for name, outputs in step_outputs(tmp_path / "out").values() if name == "roles"]
    store = Store(tmp_path / "out" / "work")
    train, holdout = (set(store.get_table(roles[role])["subject"]) for role in ("train", "holdout"))
    assert not train & holdout
    assert len(train | holdout) == 10
    assert abs(len(train) - len(holdout)) <= 1


# --- what cannot be


@pytest.mark.parametrize(
    ("roles", "told"),
    [
        (("real", "train", "synthetic"), "--real stands beside --train"),
        (("real", "test", "synthetic"), "--real stands beside --test"),
        (("train", "synthetic"), "--real DIR in place of both"),
        (("holdout", "synthetic"), "--train is not given"),
        (("synthetic",), "--train and --holdout are not given"),
    ],
)
def test_folders_that_do_not_go_together(roles: tuple[str, ...], told: str, tmp_path: Path, policy: Path) -> None:
    for number, role in enumerate(roles):
        flat(tmp_path / role, pictures(2, number))
    given = [word for role in roles for word in (f"--{role}", tmp_path / role)]
    said = chambit("audit", *given, "--out", tmp_path / "out", "--policy", policy)
    assert said.code == 2
    assert "Traceback" not in said.err
    assert told.replace(" ", "") in said.err.replace(":", "").replace("\n", "").replace(" ", "")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("role", "count"), [("real", 0), ("real", 1), ("synthetic", 0)])
def test_folders_that_hold_too_little(role: str, count: int, tmp_path: Path, policy: Path) -> None:
    for number, name in enumerate(("real", "synthetic")):
        flat(tmp_path / name, pictures(8, number)[: count if name == role else 8])
        (tmp_path / name).mkdir(exist_ok=True)
    said = look(tmp_path / "real", tmp_path / "synthetic", tmp_path / "out", policy)
    assert said.code == 2
    assert ("1 image accepted, at least 2 are needed" if count else str(tmp_path / role)) in said.err
    assert not (tmp_path / "out" / "dossier.html").exists()


def test_one_synthetic_image_is_too_few_for_a_distance(tmp_path: Path, policy: Path) -> None:
    real, made = flat(tmp_path / "real", pictures(80, 1)), flat(tmp_path / "synthetic", pictures(1, 2))
    assert look(real, made, tmp_path / "out", policy).code == 0
    found = evidence(tmp_path / "out")
    for key in ("frechet.distance", "kernel.distance", "intensity.distance"):
        assert found[key]["verdict"] == "NOT_RUN"
        assert "synthetic" in found[key]["reason"]
        assert "needed" in found[key]["reason"]


def test_bad_files_are_told_one_by_one_and_the_audit_goes_on(tmp_path: Path, policy: Path) -> None:
    real, made = flat(tmp_path / "real", pictures(12, 1)), flat(tmp_path / "synthetic", pictures(12, 2))
    whole = (made / "003.png").read_bytes()
    (made / "cut.png").write_bytes(whole[: len(whole) // 2])
    (real / "words.png").write_text("no picture")
    save(real / "dark16.png", pictures(1, 3)[0].astype(np.uint16))
    assert look(real, made, tmp_path / "out", policy).code == 0
    html = (tmp_path / "out" / "dossier.html").read_text(encoding="utf-8")
    for name in ("cut.png", "words.png", "dark16.png"):
        assert html.count(f">{name}<") == 1
    assert evidence(tmp_path / "out")["intake.accounted"]["n"] == {"files": 27, "accepted": 24, "refused": 3}


def test_a_request_knows_whose_size_counts(tmp_path: Path) -> None:
    sources = {role: audit.source_of(tmp_path, None, {}, role) for role in ("synthetic", "real")}
    wanted = audit.Request(sources, policies.load("default"), 0.05, None, Run(engine="inline"))
    assert [step.name for step in audit.planned(wanted)][:3] == ["intake real", "intake synthetic", "roles"]
