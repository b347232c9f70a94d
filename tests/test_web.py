"""The pages of the hub over HTTP: who gets in, what forms must carry, what is shown to whom, in both languages."""

import importlib
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi")

from fastapi.testclient import TestClient

from chambit.core.errors import InputError
from chambit.hub import accounts, hub, settings, studies, trail
from chambit.hub.hub import Hub
from chambit.web import asking, guard, pages, rendering, words
from chambit.web.app import create_app
from hubs import PASSWORD, cheap_hashes

__all__ = ["cheap_hashes"]  # a fixture of every test here

LOGINS = {"admin": ["administrator"], "kim": ["steward"], "park": ["generator"], "lee": ["member"], "choi": ["reader"]}


@pytest.fixture(scope="module")
def finished(tiny: Path) -> Path:
    """The output folder of a finished tiny run."""
    return tiny / "once"


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Hub]:
    """A hub with five people."""
    made = Hub.open(tmp_path / "hub")
    for login, roles in LOGINS.items():
        accounts.create(made.database, trail.HUB, login, f"{login.title()} <b>", roles, PASSWORD)
    yield made._replace(first="")
    made.database.close()


@pytest.fixture
def client(served: Hub) -> TestClient:
    return TestClient(create_app(served), follow_redirects=False)


def signed_in(client: TestClient, login: str) -> str:
    """Sign in; returns the token that forms carry."""
    client.cookies.delete(asking.COOKIE)
    done = client.post("/login", data={"login": login, "password": PASSWORD})
    assert done.status_code == 303, done.text
    return token(client)


def token(client: TestClient) -> str:
    found = re.search(r'name="csrf" value="([^"]+)"', client.get("/account").text)
    assert found
    return found[1]


def registered(client: TestClient, folder: Path) -> str:
    csrf = signed_in(client, "kim")
    done = client.post("/studies", data={"csrf": csrf, "folder": str(folder)})
    assert done.status_code == 303, done.text
    return str(done.headers["location"]).rsplit("/", 1)[1]


def part(client: TestClient, served: Hub, study: str, login: str, what: str) -> Any:
    who = next(one for one in accounts.listed(served.database) if one.login == login)
    csrf = signed_in(client, "kim")
    return client.post(f"/studies/{study}/parts", data={"csrf": csrf, "who": who.id, "what": what})


# --------------------------------------------------------------------------------------------- coming in


def test_nobody_sees_a_page_without_signing_in(client: TestClient) -> None:
    screens = [
        importlib.import_module(f"{pages.__name__}.{found.name}") for found in pkgutil.iter_modules(pages.__path__)
    ]
    paths = [route.path for screen in screens for route in screen.router.routes if "GET" in route.methods]
    open_to_all = {
        "/login",
        "/second",
        "/first",
        "/oidc/back",
        "/language/{chosen}",
        "/dossier.css",
        "/api/openapi.json",
    }
    asked = [path for path in paths if path not in open_to_all]
    assert len(asked) > 5
    for path in asked:
        answer = client.get(re.sub(r"{\w+}", "1", path))
        assert answer.status_code in (303, 401), path
        assert answer.status_code == 401 or answer.headers["location"].startswith("/login"), path


def test_a_wrong_password_is_told_and_what_was_typed_is_not_repeated(client: TestClient) -> None:
    answer = client.post("/login", data={"login": "kim", "password": "a secret I mistyped"})
    assert answer.status_code == 401
    assert "맞지 않습니다" in answer.text
    assert "mistyped" not in answer.text
    assert asking.COOKIE not in answer.cookies


def test_signing_in_goes_on_to_where_one_was_going_but_never_elsewhere(client: TestClient) -> None:
    assert client.get("/trail").headers["location"] == "/login?to=/trail"
    for to, goes in (("/trail", "/trail"), ("https://elsewhere.example", "/"), ("//elsewhere.example", "/")):
        done = client.post("/login", data={"login": "kim", "password": PASSWORD, "to": to})
        assert done.headers["location"] == goes


def test_the_cookie_is_kept_from_scripts_and_other_sites(client: TestClient) -> None:
    said = client.post("/login", data={"login": "kim", "password": PASSWORD}).headers["set-cookie"]
    assert "HttpOnly" in said
    assert "SameSite=lax" in said


def test_over_https_cookies_are_for_https_alone(tmp_path: Path) -> None:
    (tmp_path / settings.NAME).write_text("address: https://hub.example\nhosts: [hub.example]\n")
    made = Hub.open(tmp_path)
    accounts.create(made.database, trail.HUB, "kim", "Kim", ["steward"], PASSWORD)
    client = TestClient(create_app(made), base_url="https://hub.example", follow_redirects=False)
    done = client.post("/login", data={"login": "kim", "password": PASSWORD})
    assert "Secure" in done.headers["set-cookie"]
    assert "max-age" in done.headers["strict-transport-security"]


def test_signing_out_ends_the_session_for_whoever_has_its_cookie(client: TestClient) -> None:
    csrf = signed_in(client, "kim")
    kept = client.cookies[asking.COOKIE]
    assert client.post("/logout", data={"csrf": csrf}).status_code == 303
    client.cookies.set(asking.COOKIE, kept)
    assert client.get("/account").status_code == 303


def test_the_first_account_is_made_once_by_whoever_started_the_server(tmp_path: Path) -> None:
    made = Hub.open(tmp_path / "new")
    client = TestClient(create_app(made), follow_redirects=False)
    entered = {"login": "admin", "name": "Admin", "password": PASSWORD}
    assert client.get("/first?word=guessed").status_code == 403
    assert client.post("/first", data={"word": "guessed"} | entered).status_code == 403
    weak = client.post("/first", data={"word": made.first} | entered | {"password": "short"})
    assert (weak.status_code, "12" in weak.text) == (409, True)
    assert client.post("/first", data={"word": made.first} | entered).headers["location"] == "/accounts"
    assert client.get("/accounts").status_code == 200
    again = client.post("/first", data={"word": made.first} | entered | {"login": "second"})
    assert again.status_code == 403
    assert accounts.count(made.database) == 1


# ------------------------------------------------------------------------------------------------- forms


def test_a_form_without_its_token_changes_nothing(client: TestClient, served: Hub) -> None:
    mine = signed_in(client, "admin")
    other = {"login": "new", "name": "New", "password": PASSWORD, "roles": "reader"}
    for csrf in ("", "x" * len(mine)):
        assert client.post("/accounts", data=other | {"csrf": csrf}).status_code == 403
    assert accounts.count(served.database) == len(LOGINS)
    assert client.post("/accounts", data=other | {"csrf": mine}).status_code == 303
    assert accounts.count(served.database) == len(LOGINS) + 1


@pytest.mark.parametrize(
    "headers",
    [{"origin": "https://elsewhere.example"}, {"sec-fetch-site": "cross-site"}, {"origin": "null"}],
)
def test_a_form_of_another_site_is_not_taken(client: TestClient, headers: dict[str, str]) -> None:
    csrf = signed_in(client, "kim")
    assert client.post("/logout", data={"csrf": csrf}, headers=headers).status_code == 403
    assert client.get("/account").status_code == 200


def test_other_host_names_are_not_answered(client: TestClient) -> None:
    assert client.get("/login", headers={"host": "evil.example"}).status_code == 421
    assert client.get("/login", headers={"host": "localhost:8420"}).status_code == 200


def test_large_bodies_are_refused_whatever_their_header_says(tmp_path: Path) -> None:
    (tmp_path / settings.NAME).write_text("limits: {body: 2000}\n")
    client = TestClient(create_app(Hub.open(tmp_path)), follow_redirects=False)
    assert client.post("/login", data={"login": "x" * 3000, "password": "y"}).status_code == 413

    def streamed() -> Iterator[bytes]:
        yield b"login=x&password="
        for _ in range(100):
            yield b"y" * 100

    sent = {"content-type": "application/x-www-form-urlencoded"}
    with pytest.raises(Exception, match=r"."):  # the connection is ended: the client sees no answer
        client.post("/login", content=streamed(), headers=sent).raise_for_status()


def test_a_mistake_in_a_form_names_the_field_and_repeats_nothing(client: TestClient) -> None:
    answer = client.post("/login", data={"password": "my secret words"})
    assert answer.status_code == 422
    assert "login" in answer.text
    assert "secret words" not in answer.text


def test_names_are_written_as_text(client: TestClient) -> None:
    signed_in(client, "kim")
    page = client.get("/account").text
    assert "Kim &lt;b&gt;" in page
    assert "Kim <b>" not in page


# ----------------------------------------------------------------------------------------------- studies


def test_a_study_is_shown_to_those_who_have_a_part_in_it(client: TestClient, served: Hub, finished: Path) -> None:
    study = registered(client, finished)
    page = client.get(f"/studies/{study}")
    assert page.status_code == 200
    assert 'id="indicator-6"' in page.text
    for path in (f"/studies/{study}", f"/studies/{study}/dossier"):
        signed_in(client, "lee")
        assert client.get(path).status_code == 404
    assert part(client, served, study, "lee", "member").status_code == 303
    signed_in(client, "lee")
    assert study in client.get("/").text
    assert client.get(f"/studies/{study}").status_code == 200
    assert "sandbox" in client.get(f"/studies/{study}/dossier").headers["content-security-policy"]
    signed_in(client, "choi")
    assert study not in client.get("/").text


def test_the_creator_cannot_be_made_a_reviewer(client: TestClient, served: Hub, finished: Path) -> None:
    study = registered(client, finished)
    kim = next(one for one in accounts.listed(served.database) if one.login == "kim")
    accounts.change(served.database, trail.HUB, kim.id, roles=["steward", "member"])
    answer = part(client, served, study, "kim", "member")
    assert answer.status_code == 409
    assert "서로 달라야 합니다" in answer.text
    assert part(client, served, study, "choi", "member").status_code == 403
    assert studies.parts(served.database, study) == {kim.id: {"creator"}}


def test_only_stewards_register_and_only_administrators_make_accounts(client: TestClient, finished: Path) -> None:
    csrf = signed_in(client, "lee")
    assert client.post("/studies", data={"csrf": csrf, "folder": str(finished)}).status_code == 403
    assert client.get("/accounts").status_code == 403
    assert client.get("/trail").status_code == 403
    csrf = signed_in(client, "admin")
    assert client.post("/studies", data={"csrf": csrf, "folder": str(finished)}).status_code == 403


def test_a_folder_that_is_no_run_is_refused_with_the_remedy(client: TestClient, tmp_path: Path) -> None:
    csrf = signed_in(client, "kim")
    answer = client.post("/studies", data={"csrf": csrf, "folder": str(tmp_path)})
    assert answer.status_code == 409
    assert "is missing" in answer.text


def test_a_changed_set_is_said_at_the_top(client: TestClient, finished: Path, tmp_path: Path) -> None:
    import shutil

    folder = tmp_path / "run"
    shutil.copytree(finished, folder, ignore=shutil.ignore_patterns("work", "cohort"))
    study = registered(client, folder)
    assert "등록된 것과 다릅니다" not in client.get(f"/studies/{study}").text
    image = next((folder / "candidate").rglob("*.png"))
    image.write_bytes(image.read_bytes() + b"x")
    assert "등록된 것과 다릅니다" in client.get(f"/studies/{study}").text


def test_a_broken_chain_is_said_on_the_trail(client: TestClient, served: Hub) -> None:
    signed_in(client, "kim")
    assert "사슬이 온전합니다" in client.get("/trail").text
    with served.database.writing() as connection:
        connection.exec_driver_sql("DROP TRIGGER event_no_update")
        connection.exec_driver_sql("UPDATE event SET kind = 'nothing' WHERE number = 2")
    assert "사슬이 끊겼습니다" in client.get("/trail").text


def test_the_trail_is_chosen_from_and_paged(
    client: TestClient, served: Hub, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from chambit.web.pages import trail as trail_page

    study = registered(client, finished)
    for _ in range(3):
        signed_in(client, "kim")

    def numbers(**asked: object) -> list[int]:
        answer = client.get("/trail", params=asked)
        assert answer.status_code == 200
        return [int(found) for found in re.findall(r'<tr><td class="r">(\d+)</td>', answer.text)]

    every = numbers()
    assert every == list(range(every[0], 0, -1))
    about = numbers(about=study)
    assert about
    assert set(about) < set(every)
    kinds = {row.number: row.kind for row in trail.events(served.database)}
    entered = numbers(kind="session.opened")
    assert entered == [number for number in every if kinds[number] == "session.opened"]
    assert len(entered) >= 3
    assert numbers(kind="nothing") == []
    monkeypatch.setattr(trail_page, "SHOWN", 4)
    pages, before = [], {}
    while len(pages) < 50:
        pages += numbers(**before)
        found = re.search(r"before=(\d+)", client.get("/trail", params=before).text)
        if not found:
            break
        before = {"before": int(found[1])}
    assert pages == every
    assert client.get("/trail", params={"before": "x"}).status_code == 422


# ---------------------------------------------------------------------------------------------- accounts


def test_other_roles_end_the_sessions_of_an_account(client: TestClient, served: Hub) -> None:
    signed_in(client, "lee")
    theirs = client.cookies[asking.COOKIE]
    lee = next(one for one in accounts.listed(served.database) if one.login == "lee")
    csrf = signed_in(client, "admin")
    assert client.post(f"/accounts/{lee.id}", data={"csrf": csrf, "act": "roles", "roles": "reader"}).status_code == 303
    client.cookies.clear()
    client.cookies.set(asking.COOKIE, theirs)
    assert client.get("/account").status_code == 303
    assert accounts.by_id(served.database, [lee.id])[lee.id].roles == ("reader",)


def test_an_administrator_cannot_shut_the_own_account(client: TestClient, served: Hub) -> None:
    csrf = signed_in(client, "admin")
    own = next(one for one in accounts.listed(served.database) if one.login == "admin")
    assert client.post(f"/accounts/{own.id}", data={"csrf": csrf, "act": "shut"}).status_code == 409
    assert client.post("/accounts/nobody", data={"csrf": csrf, "act": "shut"}).status_code == 404
    assert client.post(f"/accounts/{own.id}", data={"csrf": csrf, "act": "dance"}).status_code == 409


def test_the_second_factor_stands_between_password_and_pages(client: TestClient, served: Hub) -> None:
    import pyotp

    csrf = signed_in(client, "kim")
    secret = re.search(r'name="secret" value="(\w+)"', client.get("/account/second").text)
    assert secret
    code = pyotp.TOTP(secret[1]).now()
    given = {"csrf": csrf, "secret": secret[1], "code": code, "password": PASSWORD}
    assert client.post("/account/second", data=given | {"password": "not the password"}).status_code == 409
    assert client.post("/account/second", data=given).headers["location"] == "/login"
    done = client.post("/login", data={"login": "kim", "password": PASSWORD})
    assert done.headers["location"] == "/second"
    assert client.get("/").status_code == 303
    assert client.post("/second", data={"code": "000000"}).status_code == 401
    assert client.post("/second", data={"code": pyotp.TOTP(secret[1]).now()}).headers["location"] == "/"
    assert client.get("/").status_code == 200


# ------------------------------------------------------------------------------------------- every page


def test_pages_are_in_the_language_that_was_chosen(client: TestClient) -> None:
    signed_in(client, "kim")
    assert '<html lang="ko"' in client.get("/").text
    client.get("/language/en")
    page = client.get("/").text
    assert '<html lang="en"' in page
    assert "Studies" in page
    client.get("/language/klingon")
    assert '<html lang="ko"' in client.get("/").text


def test_every_shared_word_is_in_both_languages() -> None:
    for group, entries in words.table().items():
        for key, both in entries.items():
            assert set(both) == {"ko", "en"}, (group, key)
            assert re.search("[가-힣]", both["ko"]), (group, key)


def test_pages_load_nothing_from_elsewhere(client: TestClient, finished: Path) -> None:
    study = registered(client, finished)
    for path in ("/", "/account", "/trail", f"/studies/{study}", "/login"):
        answer = client.get(path)
        assert not re.search(r'(?:src|href)="(?:https?:)?//', answer.text), path
        assert answer.headers["content-security-policy"] == guard.POLICY
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"
        assert "<script>" not in answer.text, path
    assert "url(" not in rendering.stylesheet().replace("url(#", "")


def test_an_unknown_address_is_a_page(client: TestClient) -> None:
    signed_in(client, "kim")
    answer = client.get("/nothing/here")
    assert answer.status_code == 404
    assert "아무것도 없습니다" in answer.text


# ------------------------------------------------------------------------------------------------- guard


def test_a_rate_lets_so_many_through_and_then_says_how_long() -> None:
    now = [1000.0]
    rate = guard.Rate(5, 10.0, lambda: now[0])
    assert [rate.wait("a") for _ in range(5)] == [0.0] * 5
    assert rate.wait("a") > 0
    assert rate.wait("b") == 0
    now[0] += 20.0
    assert rate.wait("a") == 0


def test_a_rate_forgets_the_oldest_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "KNOWN", 3)
    rate = guard.Rate(1, 10.0, lambda: 0.0)
    for name in "abcd":
        assert rate.wait(name) == 0
    assert rate.wait("d") > 0
    assert rate.wait("a") == 0


def test_too_many_tries_to_sign_in_wait(tmp_path: Path) -> None:
    (tmp_path / settings.NAME).write_text("limits: {logins: 3, window: 1000}\n")
    client = TestClient(create_app(Hub.open(tmp_path)), follow_redirects=False)
    tries = [client.post("/login", data={"login": "x", "password": "y"}).status_code for _ in range(5)]
    assert tries == [401, 401, 401, 429, 429]
    assert client.get("/login").status_code == 200


# ------------------------------------------------------------------------------------------- the command


def test_a_run_is_served_with_its_study(finished: Path, tmp_path: Path) -> None:
    import shutil

    folder = tmp_path / "run"
    shutil.copytree(finished, folder, ignore=shutil.ignore_patterns("work", "cohort"))
    made = hub.opened(folder)
    assert [one.folder for one in studies.listed(made.database)] == [folder]
    assert made.first
    made.database.close()
    again = hub.opened(folder)
    assert len(studies.listed(again.database)) == 1
    assert again.folder == folder / "hub"


def test_what_is_neither_run_nor_hub_is_refused(tmp_path: Path) -> None:
    (tmp_path / "something.txt").write_text("x")
    with pytest.raises(InputError, match="neither a finished run nor a hub"):
        hub.opened(tmp_path)
    with pytest.raises(InputError, match="is a file"):
        hub.opened(tmp_path / "something.txt")
