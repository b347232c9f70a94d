"""The dossier as PDF on the pages of a hub: who gets it, that it is made once, and what is said where it cannot be."""

import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

pytest.importorskip("fastapi")

from fastapi.testclient import TestClient

from chambit.core.errors import InputError, Problem
from chambit.hub import papers
from chambit.hub.hub import Hub
from chambit.hub.refusals import HubError
from chambit.report import paper
from chambit.web.app import create_app
from hubs import cheap_hashes
from test_web import client, part, registered, served, signed_in

__all__ = ["cheap_hashes", "client", "served"]  # fixtures of the tests here

MADE = b"%PDF-1.7 made of "


@pytest.fixture
def folder(tiny: Path, tmp_path: Path) -> Path:
    """A finished run of one's own."""
    return shutil.copytree(tiny / "once", tmp_path / "run", ignore=shutil.ignore_patterns("work", "cohort"))


@pytest.fixture
def laid_out(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[Path, str]]]:
    """What was laid out, in place of laying it out: that takes long and is the business of `test_paper`."""
    asked: list[tuple[Path, str]] = []

    def of_run(run: Path, language: str) -> bytes:
        asked.append((run, language))
        return MADE + (run / "evidence.json").read_bytes()[:40] + language.encode()

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
        papers._made(tmp_path, "ko", tmp_path / "made.pdf")
    assert "PDF를 만들지 못했습니다" in refused.value.ko
    assert not papers._making
