"""The dossier as PDF on the pages of a hub: who gets it, that it is made once, and what is said where it cannot be."""

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

pytest.importorskip("fastapi")

from fastapi.testclient import TestClient

from chambit.core.errors import InputError, Problem
from chambit.core.evidence import Finding
from chambit.hub import board, desk, experts, papers, studies, trail
from chambit.hub.hub import Hub
from chambit.hub.refusals import HubError
from chambit.report import dossier, paper
from chambit.report.dossier import Bundle
from chambit.review.verdict import overall
from chambit.web.app import create_app
from hubs import cheap_hashes
from test_web import client, part, registered, served, signed_in

__all__ = ["cheap_hashes", "client", "served"]  # fixtures of the tests here

LISTS = ("/", "/catalogue", "/catalogue/tiny", "/api/studies", "/api/catalogue")
MADE = b"%PDF-1.7 made of "


@pytest.fixture
def folder(tiny: Path, tmp_path: Path) -> Path:
    """A finished run of one's own."""
    return shutil.copytree(tiny / "once", tmp_path / "run", ignore=shutil.ignore_patterns("work", "cohort"))


@pytest.fixture
def laid_out(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[Path, str]]]:
    """What was laid out, in place of laying it out: that takes long and is the business of `test_paper`."""
    asked: list[tuple[Path, str]] = []

    def of_run(run: Path, language: str, shown: Bundle | None = None, more: Mapping[str, bytes] | None = None) -> bytes:
        asked.append((run, language))
        said = (shown.verdict if shown else "").encode() + b"".join((more or {}).values())
        return MADE + (run / "evidence.json").read_bytes()[:40] + said + language.encode()

    with ThreadPoolExecutor(1) as worker:
        monkeypatch.setattr(papers, "_worker", lambda: worker)
        monkeypatch.setattr(paper, "of_run", of_run)
        monkeypatch.setattr(papers, "lacking", lambda: None)
        yield asked


def test_a_pdf_is_made_once_and_kept(client: TestClient, folder: Path, laid_out: list[tuple[Path, str]]) -> None:
    study = registered(client, folder)
    page = client.get(f"/studies/{study}").text
    for language in ("ko", "en"):
        assert f'href="/studies/{study}/dossier.{language}.pdf"' in page
        first, again = (client.get(f"/studies/{study}/dossier.{language}.pdf") for _ in range(2))
        assert first.status_code == 200
        assert first.content == again.content
        assert first.content.startswith(MADE)
        assert first.content.endswith(language.encode())
        assert first.headers["content-type"] == "application/pdf"
        assert first.headers["content-disposition"] == f'attachment; filename="{study}.{language}.pdf"'
        assert first.headers["x-content-type-options"] == "nosniff"
        assert first.headers["cache-control"] == "no-store"
    assert laid_out == [(folder, "ko"), (folder, "en")]
    assert client.get(f"/studies/{study}/dossier.fr.pdf").status_code == 422


def test_the_twin_is_handed_out_as_it_lies_there(client: TestClient, folder: Path) -> None:
    study = registered(client, folder)
    answer = client.get(f"/studies/{study}/dossier.json")
    assert answer.content == (folder / "dossier.json").read_bytes()
    assert answer.headers["content-disposition"] == f'attachment; filename="{study}.json"'


def conditional(folder: Path) -> None:
    """Leave what the run has that is not worse than CONDITIONAL, as if nothing else had been measured."""
    kept = ("PASS", "CONDITIONAL")
    rows = [row for row in json.loads((folder / "evidence.json").read_bytes()) if row["verdict"] in kept]
    (folder / "evidence.json").write_text(json.dumps(rows))
    made = dossier.untwinned((folder / "dossier.json").read_bytes())
    evidence = tuple(one for one in made.evidence if one.verdict in kept)
    verdict, because = overall(evidence)
    assert verdict == "CONDITIONAL"
    made = made.model_copy(update={"evidence": evidence, "verdict": verdict, "because": because})
    (folder / "dossier.json").write_bytes(dossier.twin(made))
    (folder / "dossier.html").write_text(dossier.render(made))
    said = json.loads((folder / "verdict.json").read_bytes()) | {"verdict": verdict, "because": because}
    (folder / "verdict.json").write_text(json.dumps(said))


def found(hub: Hub, study: str, taken: float) -> None:
    """Findings of a study of readers that has ended: specialists do not take this share of labels for right."""
    value = Finding(
        measure="reading@1", quantity="label_right", value=taken, direction="higher",
        interval={"low": taken - 0.05, "high": taken + 0.05, "level": 0.95, "method": "crossed bootstrap", "sides": 2},
        n={"readers": 5, "images": 40}, inputs={"candidate": studies.of(hub.database, study).candidate},
    )  # fmt: skip
    experts.add(hub.database, trail.HUB, study, f"{study}-r1", f"/readings/{study}-r1/results", [value])


def test_what_people_found_and_stated_stands_in_every_file_and_list(
    client: TestClient, served: Hub, folder: Path, laid_out: list[tuple[Path, str]]
) -> None:
    conditional(folder)
    study = registered(client, folder)
    own = (folder / "dossier.html").read_bytes()
    assert client.get(f"/studies/{study}/dossier").content == own
    assert "run.html" not in client.get(f"/studies/{study}").text
    before = client.get(f"/studies/{study}/dossier.ko.pdf").content
    shown = [client.get(at).text for at in LISTS]
    assert all("FAIL" not in text for text in shown)
    found(served, study, 0.3)
    there = dossier.untwinned(client.get(f"/studies/{study}/dossier.json").content)
    assert there.evidence[-1].key == "reading.label_right"
    assert (there.verdict, there.because) == ("FAIL", ("reading.label_right",))
    page = client.get(f"/studies/{study}/dossier").text
    assert page == dossier.render(there)
    assert f"{study}-r1" in page
    assert client.get(f"/studies/{study}/run.html").content == own
    assert "run.html" in client.get(f"/studies/{study}").text
    after = client.get(f"/studies/{study}/dossier.ko.pdf").content
    assert after != before
    assert b'"reading.label_right"' not in before
    assert b"FAIL" in after
    told = client.get(f"/api/studies/{study}").json()
    assert told["verdict"] == "FAIL"
    assert client.get(f"/api/studies/{study}/evidence").json()[-1]["quantity"] == "label_right"
    assert all("FAIL" in client.get(at).text for at in LISTS)
    assert len(json.loads((folder / "evidence.json").read_bytes())) == len(there.evidence) - 1


def test_a_statement_that_is_added_stands_in_the_files(client: TestClient, served: Hub, folder: Path) -> None:
    study = registered(client, folder)
    board.attach(desk.of(served, study), trail.HUB, "source.lawful", "IRB 2026-07, 면제 확인서")
    there = dossier.untwinned(client.get(f"/studies/{study}/dossier.json").content)
    assert there.attached["source.lawful"] == "IRB 2026-07, 면제 확인서"
    assert "experts" not in there.facts


def test_files_are_for_those_who_have_a_part(
    client: TestClient, served: Hub, folder: Path, laid_out: list[tuple[Path, str]]
) -> None:
    study = registered(client, folder)
    for path in ("dossier.json", "dossier.ko.pdf"):
        signed_in(client, "lee")
        assert client.get(f"/studies/{study}/{path}").status_code == 404
    assert not laid_out
    part(client, served, study, "lee", "member")
    signed_in(client, "lee")
    assert client.get(f"/studies/{study}/dossier.ko.pdf").status_code == 200


def test_files_of_another_run_than_the_bound_one_are_not_handed_out(
    client: TestClient, folder: Path, laid_out: list[tuple[Path, str]]
) -> None:
    study = registered(client, folder)
    (folder / "evidence.json").write_bytes((folder / "evidence.json").read_bytes() + b" ")
    for path in ("dossier.json", "dossier.en.pdf"):
        answer = client.get(f"/studies/{study}/{path}")
        assert answer.status_code == 409
        assert "등록된 것과 다릅니다" in answer.text
    assert not laid_out


def test_another_twin_gets_another_pdf(client: TestClient, folder: Path, laid_out: list[tuple[Path, str]]) -> None:
    study = registered(client, folder)
    client.get(f"/studies/{study}/dossier.ko.pdf")
    (folder / "dossier.json").write_bytes((folder / "dossier.json").read_bytes() + b"\n")
    client.get(f"/studies/{study}/dossier.ko.pdf")
    assert len(laid_out) == 2


def test_a_server_without_the_extra_says_so_on_the_page(
    client: TestClient, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(papers, "lacking", lambda: Problem("PDF", "WeasyPrint is not installed", "pip install it"))
    study = registered(client, folder)
    page = client.get(f"/studies/{study}").text
    assert "dossier.ko.pdf" not in page
    assert "pip install it" in page
    assert f'href="/studies/{study}/dossier.json"' in page
    refused = client.get(f"/studies/{study}/dossier.ko.pdf")
    assert (refused.status_code, "pip install it" in refused.text) == (409, True)


def test_a_layout_that_fails_is_told_and_tried_again(
    client: TestClient, folder: Path, laid_out: list[tuple[Path, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    study, works = registered(client, folder), paper.of_run

    def fails(run: Path, language: str) -> bytes:
        raise InputError("no letters", [Problem("PDF", "no font has U+0378")])

    monkeypatch.setattr(paper, "of_run", fails)
    refused = client.get(f"/studies/{study}/dossier.ko.pdf")
    assert (refused.status_code, "U+0378" in refused.text) == (409, True)
    monkeypatch.setattr(paper, "of_run", works)
    assert client.get(f"/studies/{study}/dossier.ko.pdf").status_code == 200


def test_many_who_ask_at_once_wait_for_one(
    served: Hub, client: TestClient, folder: Path, laid_out: list[tuple[Path, str]]
) -> None:
    study = registered(client, folder)
    cookies = dict(client.cookies)

    def ask(_: int) -> int:
        with TestClient(create_app(served), cookies=cookies) as other:
            return other.get(f"/studies/{study}/dossier.ko.pdf").status_code

    with ThreadPoolExecutor(4) as people:
        assert list(people.map(ask, range(4))) == [200] * 4
    assert laid_out == [(folder, "ko")]


def test_a_layout_runs_in_a_process_beside_the_server_whose_refusals_come_back(tmp_path: Path) -> None:
    before = papers._worker().submit(os.getpid).result()
    assert before != os.getpid()
    assert papers._worker().submit(os.getpid).result() != before  # what one layout took is given back
    with pytest.raises(HubError, match=r"evidence\.json, verdict\.json, dossier\.json is missing") as refused:
        papers._made(tmp_path, "ko", None, tmp_path / "made.pdf")
    assert "PDF를 만들지 못했습니다" in refused.value.ko
    assert not papers._making
