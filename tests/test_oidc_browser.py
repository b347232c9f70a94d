"""Signing in through an identity provider in a real browser: from the button to the session and out again."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from hubs import PASSWORD
from identityprovider import CLIENT, SECRET, Provider
from identityprovider import provider as a_provider
from test_browser import CHROMIUM, QUIET, Person, Served, a_free_port, sync_api


@pytest.fixture
def idp() -> Iterator[Provider]:
    with a_provider() as made:
        made.interactive = True
        yield made


@pytest.fixture
def served(tmp_path: Path, idp: Provider) -> Iterator[Served]:
    port = a_free_port()
    (tmp_path / "oidc.secret").write_text(SECRET, encoding="utf-8")
    said = {"issuer": idp.issuer, "client": CLIENT, "secret": {"file": "oidc.secret"}}
    whole = {"address": f"http://127.0.0.1:{port}", "oidc": said}
    (tmp_path / "hub.yaml").write_text(yaml.safe_dump(whole), encoding="utf-8")
    made = Served(tmp_path, port)
    yield made
    made.stop()


def test_a_person_comes_waits_is_admitted_and_goes(served: Served, idp: Provider) -> None:
    """By the pages alone, past the real guard, and with the policy that browsers hold forms to."""
    with sync_api.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        admin, person = (Person(browser.new_context().new_page(), served.base) for _ in range(2))
        admin.page.goto(served.first())
        for name, value in (("login", "admin"), ("name", "관리자"), ("password", PASSWORD)):
            admin.page.fill(f"[name={name}]", value)
        admin.sends("main form")

        comes(person)
        assert "승인을 기다리고 있습니다" in person.reads()
        admin.goes("/accounts")
        newcomer = admin.page.locator(".newcomer")
        assert "김판독" in newcomer.inner_text()
        newcomer.get_by_label("판독의").check()
        newcomer.get_by_role("button", name="승인 김판독").click()
        admin.page.wait_for_load_state()
        assert admin.page.locator(".newcomer").count() == 0

        comes(person)
        assert person.page.url == f"{served.base}/"
        assert "김판독" in person.reads(".topbar")
        person.page.get_by_role("button", name="로그아웃").click()
        person.page.wait_for_url(f"{served.base}/login")
        assert idp.left[0]["client_id"] == CLIENT
        person.goes("/account")
        assert "/login" in person.page.url
        assert [*admin.errors, *person.errors] == []
        browser.close()


def comes(person: Person) -> None:
    """Press the button, sign in at the provider, and be back."""
    person.goes("/login")
    person.page.get_by_role("button", name="병원 계정으로 로그인").click()
    person.page.click("#yes")
    person.page.wait_for_url(lambda url: url.startswith(person.base) and "/oidc/start" not in url)
