"""Signing in through an identity provider: who gets in, who waits, and what is not believed."""

import contextlib
import html
import re
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml

pytest.importorskip("fastapi")
pytest.importorskip("authlib")
pytest.importorskip("httpx2")

import httpx
import sqlalchemy as sql
from fastapi.testclient import TestClient
from joserfc.errors import SecurityWarning
from joserfc.jwk import ECKey, RSAKey

from chambit.core.errors import InputError
from chambit.hub import accounts, identities, provider, settings, trail
from chambit.hub.hub import Hub
from chambit.hub.provider import UntrueError
from chambit.web import asking
from chambit.web.app import create_app
from hubs import PASSWORD, cheap_hashes, postgresql
from identityprovider import CLIENT, SECRET, Answering, Provider, authority, signed_by_hand
from identityprovider import provider as a_provider

__all__ = ["cheap_hashes"]  # a fixture of every test here

ADDRESS = "http://127.0.0.1:8420"
SUGGEST = {"claim": "groups", "roles": {"/readers": ["reader"], "/it": ["administrator"]}}
_web = httpx.Client(verify=False, follow_redirects=False, headers={"connection": "close"})
PACKAGE = Path(__file__).parents[1] / "src" / "chambit"


@pytest.fixture
def idp() -> Iterator[Provider]:
    with a_provider() as made:
        yield made


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with postgresql(tmp_path_factory.mktemp("postgresql")) as url:
        yield url


@pytest.fixture
def empty(server: str) -> str:
    """The URL of a PostgreSQL database without a table."""
    cleaned = sql.create_engine(server)
    with cleaned.begin() as connection:
        connection.exec_driver_sql("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    cleaned.dispose()
    return server


def written(folder: Path, idp: Provider, database: str = "", **more: Any) -> Path:
    """A hub's folder whose settings name the provider."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "oidc.secret").write_text(SECRET + "\n", encoding="utf-8")
    said = {"issuer": idp.issuer, "client": CLIENT, "secret": {"file": "oidc.secret"}, "suggest": SUGGEST} | more
    whole = {"address": ADDRESS, "oidc": said, "database": database, "limits": {"logins": 500, "requests": 5000}}
    (folder / settings.NAME).write_text(yaml.safe_dump(whole, allow_unicode=True), encoding="utf-8")
    return folder


def opened(folder: Path, idp: Provider, **more: Any) -> Hub:
    made = Hub.open(written(folder, idp, **more))
    for login, role in {"admin": "administrator", "lee": "member"}.items():
        accounts.create(made.database, trail.HUB, login, login.title(), [role], PASSWORD)
    return made._replace(first="")


@pytest.fixture
def hub(tmp_path: Path, idp: Provider) -> Iterator[Hub]:
    made = opened(tmp_path / "hub", idp)
    yield made
    made.database.close()


def browser(hub: Hub) -> TestClient:
    return TestClient(create_app(hub), base_url=ADDRESS, follow_redirects=False)


@pytest.fixture
def client(hub: Hub) -> TestClient:
    return browser(hub)


@pytest.fixture(scope="module")
def _ready(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Provider, Hub]]:
    with a_provider() as idp:
        made = opened(tmp_path_factory.mktemp("ready") / "hub", idp)
        admitted(made, browser(made))
        yield idp, made
        made.database.close()


@pytest.fixture
def ready(_ready: tuple[Provider, Hub]) -> Iterator[tuple[Provider, Hub, TestClient]]:
    """An honest provider, a hub that has admitted its person, and a new browser; what many faults are tried on."""
    idp, made = _ready
    yield idp, made, browser(made)
    idp.honest()


def sent_to(page: Any) -> str:
    """Where a page sends the browser on by itself."""
    assert page.status_code == 200, page.text
    found = re.search(r'http-equiv="refresh" content="0; url=([^"]+)"', page.text)
    assert found, page.text
    return html.unescape(found[1])


def way_back(url: str) -> str:
    """What the provider sends the browser back with: path and query at the hub."""
    answer = _web.get(url)
    assert answer.status_code == 303, answer.text
    assert answer.headers["location"].startswith(ADDRESS)
    return str(answer.headers["location"].removeprefix(ADDRESS))


def comes(client: TestClient, to: str = "/") -> Any:
    """One journey to the provider and back; what the hub says at its end."""
    return client.get(way_back(sent_to(client.post("/oidc/start", data={"to": to}))))


def signed_in(client: TestClient, login: str) -> str:
    client.cookies.clear()
    assert client.post("/login", data={"login": login, "password": PASSWORD}).status_code == 303
    return token(client)


def token(client: TestClient) -> str:
    found = re.search(r'name="csrf" value="([^"]+)"', client.get("/account").text)
    assert found
    return found[1]


def person(hub: Hub, login: str) -> accounts.Account:
    return next(one for one in accounts.listed(hub.database) if one.login == login)


def newcomer(hub: Hub) -> accounts.Account:
    return next(one for one in accounts.listed(hub.database) if one.issuer)


def admitted(hub: Hub, client: TestClient, *roles: str) -> accounts.Account:
    """The provider's person, admitted by an administrator."""
    comes(client)
    who = newcomer(hub)
    identities.admit(hub.database, person(hub, "admin").id, who.id, roles or ["reader"])
    return newcomer(hub)


def kinds(hub: Hub) -> list[str]:
    return [one.kind for one in trail.events(hub.database)]


def whys(hub: Hub) -> list[str]:
    return [one.body["why"] for one in trail.events(hub.database) if one.kind == "session.refused"]


# -------------------------------------------------------------------------------------------- coming in


def test_an_unknown_person_waits_until_an_administrator_gives_roles(
    hub: Hub, client: TestClient, idp: Provider
) -> None:
    idp.person |= {"groups": ["/readers", "/elsewhere"]}
    page = comes(client)
    assert page.status_code == 200
    assert "승인을 기다리고 있습니다" in page.text
    assert asking.COOKIE not in client.cookies
    waits = newcomer(hub)
    assert (waits.name, waits.roles, waits.waiting, waits.suggested) == ("김판독", (), True, ("reader",))
    assert (waits.issuer, waits.subject) == (idp.issuer, "b1f0-1")
    assert comes(client).status_code == 200
    assert kinds(hub).count("account.waiting") == 1

    admin = browser(hub)
    csrf = signed_in(admin, "admin")
    listed = admin.get("/accounts").text
    assert "승인을 기다리는 계정 1개" in listed
    form = listed.split('class="newcomer"')[1].split("</article>")[0]
    assert re.findall(r'value="(\w+)" checked', form) == ["reader"]
    assert "b1f0-1" in form
    nothing = admin.post(f"/accounts/{waits.id}", data={"csrf": csrf, "act": "admit"})
    assert nothing.status_code == 409
    done = admin.post(f"/accounts/{waits.id}", data={"csrf": csrf, "act": "admit", "roles": "inspector"})
    assert done.status_code == 303
    again = admin.post(f"/accounts/{waits.id}", data={"csrf": csrf, "act": "admit", "roles": "administrator"})
    assert again.status_code == 409

    there = comes(client, "/catalogue")
    assert (there.status_code, there.headers["location"]) == (303, "/catalogue")
    assert "김판독" in client.get("/account").text
    assert newcomer(hub).roles == ("inspector",)
    told = next(one for one in trail.events(hub.database) if one.kind == "account.admitted")
    assert (told.actor, told.about, told.body) == (person(hub, "admin").id, waits.id, {"roles": ["inspector"]})
    assert trail.events(hub.database)[-1].body == {"issuer": idp.issuer, "second factor": False}
    assert trail.verify(hub.database) is None


def test_no_claim_opens_an_account_or_gives_a_role(hub: Hub, client: TestClient, idp: Provider) -> None:
    """The login, name, address and groups of an administrator make nobody one."""
    idp.person |= {"preferred_username": "admin", "name": "Admin", "email": "admin", "groups": ["/it"], "roles": "x"}
    assert "승인을 기다리고" in comes(client).text
    assert client.get("/accounts").status_code == 303
    assert person(hub, "admin").issuer == ""
    waits = newcomer(hub)
    assert (waits.waiting, waits.roles, waits.login) == (True, (), "admin@" + idp.base[7:].replace(":", "-"))
    idp.person["sub"] = "b1f0-2"  # another person of the same name
    comes(client)
    logins = [one.login for one in accounts.listed(hub.database) if one.issuer]
    assert len(set(logins)) == 2


def test_a_person_stays_the_same_whatever_else_the_provider_says(hub: Hub, client: TestClient, idp: Provider) -> None:
    who = admitted(hub, client)
    idp.person |= {"name": "이름바꿈", "preferred_username": "other", "groups": ["/it"]}
    assert comes(client).status_code == 303
    assert newcomer(hub)._replace(suggested=()) == who._replace(suggested=())


def test_a_password_opens_no_account_that_waits(hub: Hub, client: TestClient) -> None:
    comes(client)
    who = newcomer(hub)
    accounts.set_password(hub.database, person(hub, "admin").id, who.id, PASSWORD)
    assert client.post("/login", data={"login": who.login, "password": PASSWORD}).status_code == 401
    assert comes(client).status_code == 200
    assert asking.COOKIE not in client.cookies


def test_a_shut_account_stays_out(hub: Hub, client: TestClient) -> None:
    who = admitted(hub, client)
    assert comes(client).status_code == 303
    accounts.change(hub.database, trail.HUB, who.id, disabled=True)
    assert client.get("/account").status_code == 303
    refused = comes(client)
    assert (refused.status_code, "닫힌 계정" in refused.text) == (403, True)
    assert client.get("/account").status_code == 303
    assert whys(hub) == ["This account is shut. Ask an administrator."]


def test_a_refused_newcomer_does_not_come_back_to_wait(hub: Hub, client: TestClient) -> None:
    comes(client)
    admin = browser(hub)
    csrf = signed_in(admin, "admin")
    done = admin.post(f"/accounts/{newcomer(hub).id}", data={"csrf": csrf, "act": "shut"})
    assert done.status_code == 303
    assert comes(client).status_code == 403
    assert 'class="newcomer"' not in admin.get("/accounts").text


def test_the_second_factor_stands_behind_the_provider_too(hub: Hub, client: TestClient) -> None:
    import pyotp

    who = admitted(hub, client)
    assert comes(client).status_code == 303
    csrf = token(client)
    assert "/account/password" not in client.get("/account").text
    secret = re.search(r'name="secret" value="(\w+)"', client.get("/account/second").text)
    assert secret
    code = pyotp.TOTP(secret[1]).now()
    done = client.post("/account/second", data={"csrf": csrf, "secret": secret[1], "code": code})
    assert done.headers["location"] == "/login"
    assert comes(client).headers["location"] == "/second"
    assert client.get("/").headers["location"].startswith("/login")
    assert client.post("/second", data={"code": pyotp.TOTP(secret[1]).now()}).status_code == 303
    assert client.get("/").status_code == 200
    assert accounts.by_id(hub.database, [who.id])[who.id].second


def test_nobody_comes_before_the_first_administrator(tmp_path: Path, idp: Provider) -> None:
    """Else a stranger's waiting account would be the first one and nobody could make the administrator."""
    made = Hub.open(written(tmp_path / "hub", idp))
    client = browser(made)
    assert client.post("/oidc/start").status_code == 403
    assert accounts.count(made.database) == 0
    entered = {"word": made.first, "login": "admin", "name": "Admin", "password": PASSWORD}
    assert client.post("/first", data=entered).status_code == 303


def test_going_on_never_leads_elsewhere(hub: Hub, client: TestClient) -> None:
    admitted(hub, client)
    for to in ("https://elsewhere.example", "//elsewhere.example"):
        assert comes(client, to).headers["location"] == "/"


def test_tries_of_one_address_are_counted(tmp_path: Path, idp: Provider) -> None:
    made = opened(tmp_path / "hub", idp)
    made = made._replace(settings=made.settings.model_copy(update={"limits": settings.Limits(logins=6)}))
    client = browser(made)
    answers = [client.get("/oidc/back?state=guessed").status_code for _ in range(9)]
    assert answers == [403] * 6 + [429] * 3


# --------------------------------------------------------------------------------- what is not believed


def changed(**claims: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Claims with some changed, or taken away where None."""
    return lambda given: {name: value for name, value in (given | claims).items() if value is not None}


NOW = time.time()
FAULTS = {
    "nonce of another": (changed(nonce="another"), "nonce"),
    "no nonce": (changed(nonce=None), "nonce"),
    "for another client": (changed(aud="another"), "aud"),
    "for others too": (changed(aud=[CLIENT, "another"], azp=CLIENT), "aud"),
    "for nobody": (changed(aud=None), "aud"),
    "azp of another": (changed(azp="another"), "azp"),
    "of another issuer": (changed(iss="https://elsewhere.example"), "iss"),
    "expired": (changed(exp=int(NOW) - 3600), "exp"),
    "without an end": (changed(exp=None), "exp"),
    "from the future": (changed(iat=int(NOW) + 3600), "iat"),
    "from before the question": (changed(iat=int(NOW) - 3600), "iat"),
    "iat no number": (changed(iat="now"), "iat"),
    "without a subject": (changed(sub=None), "sub"),
    "blank subject": (changed(sub=" "), "sub"),
    "subject no text": (changed(sub=["b1f0-1"]), "sub"),
    "too long a subject": (changed(sub="x" * 201), "sub"),
    "not of this access token": (changed(at_hash="AAAA"), "at_hash"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_token_that_says_something_wrong_is_not_believed(ready: tuple[Provider, Hub, TestClient], fault: str) -> None:
    idp, hub, client = ready
    idp.claims, claim = FAULTS[fault]
    refused = comes(client)
    assert (refused.status_code, "받아들이지 않았습니다" in refused.text) == (403, True)
    assert whys(hub)[-1] == f"ID token: its claim {claim} is not as it must be"
    assert asking.COOKIE not in client.cookies


def _tampered(idp: Provider, claims: dict[str, Any]) -> str:
    head, _, tail = idp.signed({"alg": "RS256", "kid": "rsa-1"}, claims).split(".")
    other = idp.signed({"alg": "RS256", "kid": "rsa-1"}, claims | {"sub": "somebody else"}).split(".")[1]
    return f"{head}.{other}.{tail}"


FORGED: dict[str, Callable[[Provider, dict[str, Any]], str]] = {
    "alg none": lambda idp, claims: signed_by_hand({"alg": "none"}, claims, None),
    "alg none with a kid": lambda idp, claims: signed_by_hand({"alg": "none", "kid": "rsa-1"}, claims, None),
    "HS256 with the secret": lambda idp, claims: signed_by_hand({"alg": "HS256"}, claims, SECRET.encode()),
    "HS256 with the public key": lambda idp, claims: signed_by_hand(
        {"alg": "HS256", "kid": "rsa-1"}, claims, idp.rsa.as_pem(private=False)
    ),
    "RS256 with the secret": lambda idp, claims: signed_by_hand(
        {"alg": "RS256", "kid": "rsa-1"}, claims, SECRET.encode()
    ),
    "ES256 by the kid of an RSA key": lambda idp, claims: signed_by_hand(
        {"alg": "ES256", "kid": "rsa-1"}, claims, SECRET.encode()
    ),
    "RS512, which is not allowed": lambda idp, claims: idp.signed({"alg": "RS512", "kid": "rsa-1"}, claims),
    "the content changed": _tampered,
    "no token": lambda idp, claims: "not a token",
    "an array": lambda idp, claims: "W10.W10.W10",
    "empty parts": lambda idp, claims: "..",
    "its own key in the header": lambda idp, claims: signed_by_hand(
        {"alg": "HS256", "jwk": {"kty": "oct", "k": "c2VjcmV0"}}, claims, b"secret"
    ),
}


@pytest.mark.parametrize("forged", FORGED)
def test_a_token_without_the_provider_s_signature_is_not_believed(
    ready: tuple[Provider, Hub, TestClient], forged: str
) -> None:
    idp, hub, client = ready
    idp.token = lambda claims: FORGED[forged](idp, claims)
    refused = comes(client)
    assert refused.status_code == 403, refused.text
    assert whys(hub)[-1].startswith("ID token: it")
    assert asking.COOKIE not in client.cookies


@pytest.mark.parametrize("alg", ["RS256", "PS256", "ES256"])
def test_signatures_that_are_taken(hub: Hub, client: TestClient, idp: Provider, alg: str) -> None:
    idp.alg, idp.key = alg, idp.ec if alg == "ES256" else idp.rsa
    admitted(hub, client)
    assert comes(client).status_code == 303


def test_only_one_audience_in_a_list_and_the_own_azp_are_fine(hub: Hub, client: TestClient, idp: Provider) -> None:
    idp.claims = changed(aud=[CLIENT], azp=CLIENT)
    admitted(hub, client)
    assert comes(client).status_code == 303


def test_new_keys_of_the_provider_are_read_once(hub: Hub, client: TestClient, idp: Provider) -> None:
    admitted(hub, client)
    assert idp.reads("/certs") == 1
    idp.key = RSAKey.generate_key(2048, {"kid": "rsa-2", "use": "sig"}, auto_kid=False)
    assert comes(client).status_code == 403  # signed by a key that it does not publish
    assert idp.reads("/certs") == 2
    idp.published = [idp.key]
    assert comes(client).status_code == 303
    assert comes(client).status_code == 303
    assert idp.reads("/certs") == 3
    idp.key = idp.rsa  # the old key is gone for good
    assert comes(client).status_code == 403
    assert "does not publish" in whys(hub)[-1]


@pytest.mark.filterwarnings("ignore::joserfc.errors.SecurityWarning")
def test_keys_that_cannot_sign_are_left_out(hub: Hub, client: TestClient, idp: Provider) -> None:
    with pytest.warns(SecurityWarning):
        weak = RSAKey.generate_key(1024, {"kid": "rsa-1"}, auto_kid=False)
    idp.special["/certs"] = lambda asked: asked.says(
        200,
        {
            "keys": [
                {"kty": "oct", "k": "c2VjcmV0", "kid": "rsa-1"},
                {"kty": "PQ", "kid": "rsa-1"},
                {"kty": "RSA", "kid": "rsa-1"},
                "no key",
                weak.as_dict(private=False),
                ECKey.generate_key("P-256", {"kid": "rsa-1", "use": "enc"}, auto_kid=False).as_dict(private=False),
            ]
        },
    )
    refused = comes(client)
    assert (refused.status_code, "쓸 수 있는 열쇠" in refused.text) == (502, True)


# ------------------------------------------------------------------------------------- the way there and back


def test_what_is_asked_is_new_each_time_and_gives_no_secret_away(hub: Hub, client: TestClient) -> None:
    pages = [client.post("/oidc/start") for _ in range(2)]
    first, second = ({k: v[0] for k, v in parse_qs(urlsplit(sent_to(one)).query).items()} for one in pages)
    for name in ("state", "nonce", "code_challenge"):
        assert first[name] != second[name]
        assert len(first[name]) >= 43
    assert first["redirect_uri"] == ADDRESS + "/oidc/back"
    assert "prompt" not in first
    assert set(first) == {
        "response_type", "client_id", "redirect_uri", "scope", "state", "nonce", "code_challenge",
        "code_challenge_method",
    }  # fmt: skip
    with hub.database.reading() as connection:
        kept = str(connection.exec_driver_sql("SELECT * FROM departure").all())
    assert first["state"] not in kept
    assert client.cookies["chambit-journey"] not in kept
    assert SECRET not in kept + pages[0].text
    assert "HttpOnly" in pages[0].headers["set-cookie"]
    assert "form-action 'self';" in pages[0].headers["content-security-policy"]


def test_an_answer_is_good_once(hub: Hub, client: TestClient, idp: Provider) -> None:
    admitted(hub, client)
    back = way_back(sent_to(client.post("/oidc/start")))
    journey = client.cookies["chambit-journey"]
    assert client.get(back).status_code == 303
    client.cookies.clear()
    client.cookies.set("chambit-journey", journey)
    tokens = idp.reads("/token")
    again = client.get(back)
    assert (again.status_code, "이미 쓰였거나" in again.text) == (403, True)
    assert idp.reads("/token") == tokens
    assert asking.COOKIE not in client.cookies


def test_an_answer_is_spent_even_when_it_was_refused(hub: Hub, client: TestClient, idp: Provider) -> None:
    admitted(hub, client)
    back = way_back(sent_to(client.post("/oidc/start")))
    journey = client.cookies["chambit-journey"]
    assert browser(hub).get(back).status_code == 403
    client.cookies.set("chambit-journey", journey)
    assert client.get(back).status_code == 403


def test_an_answer_is_for_the_browser_that_asked(hub: Hub, client: TestClient, idp: Provider) -> None:
    """Else somebody could be signed in unawares to the account of another."""
    admitted(hub, client)
    back = way_back(sent_to(client.post("/oidc/start")))
    victim = browser(hub)
    sent_to(victim.post("/oidc/start"))  # has a journey of its own
    refused = victim.get(back)
    assert (refused.status_code, asking.COOKIE in victim.cookies) == (403, False)
    assert whys(hub) == ["it was begun in another browser"]


@pytest.mark.parametrize("query", ["", "state=guessed&code=x", "state=&code=", "code=x"])
def test_an_answer_that_nobody_asked_for_is_not_looked_at(
    hub: Hub, client: TestClient, idp: Provider, query: str
) -> None:
    assert client.get(f"/oidc/back?{query}").status_code == 403
    assert idp.asked == []
    assert whys(hub) == []


def test_an_old_answer_is_not_taken(hub: Hub, client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    admitted(hub, client)
    back = way_back(sent_to(client.post("/oidc/start")))
    monkeypatch.setattr(identities, "JOURNEY", 0.0)
    assert client.get(back).status_code == 403


@pytest.mark.parametrize("iss", ["https://attacker.example/realms/hospital", None])
def test_an_answer_of_another_issuer_ends_before_the_code_is_shown(
    hub: Hub, client: TestClient, idp: Provider, iss: str | None
) -> None:
    """RFC 9207: the code of one provider is not carried to another."""
    admitted(hub, client)
    idp.answer = lambda answer: {k: v for k, v in (answer | {"iss": iss}).items() if v is not None}
    tokens = idp.reads("/token")
    assert comes(client).status_code == 403
    assert idp.reads("/token") == tokens
    assert "issuer" in whys(hub)[-1]


def test_a_provider_that_does_not_promise_its_name_need_not_say_it(hub: Hub, client: TestClient, idp: Provider) -> None:
    idp.document = {"authorization_response_iss_parameter_supported": None}
    idp.answer = lambda answer: {k: v for k, v in answer.items() if k != "iss"}
    admitted(hub, client)
    assert comes(client).status_code == 303


def test_breaking_off_is_said_and_nothing_of_the_answer_is_repeated(
    hub: Hub, client: TestClient, idp: Provider
) -> None:
    idp.answer = lambda answer: {
        "error": "access_denied", "error_description": "<b>call 070</b>",
        "state": answer["state"], "iss": answer["iss"],
    }  # fmt: skip
    refused = comes(client)
    assert (refused.status_code, "로그인이 끝나지 않았습니다" in refused.text) == (403, True)
    assert "070" not in refused.text


def test_another_secret_is_said_to_be_the_reason(hub: Hub, client: TestClient) -> None:
    (hub.folder / "oidc.secret").write_text("another")
    refused = comes(client)
    assert (refused.status_code, "invalid_client" in refused.text) == (403, True)


def test_the_secret_goes_in_the_header_where_the_provider_takes_nothing_else(
    hub: Hub, client: TestClient, idp: Provider
) -> None:
    idp.document = {"token_endpoint_auth_methods_supported": None}
    assert comes(client).status_code == 200
    assert newcomer(hub).waiting


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_journey_may_end_at_another_worker(
    kind: str, tmp_path: Path, idp: Provider, request: pytest.FixtureRequest
) -> None:
    url = request.getfixturevalue("empty") if kind == "postgresql" else ""
    one = opened(tmp_path / "hub", idp, database=url)
    other = Hub.open(tmp_path / "hub")
    here, there = browser(one), browser(other)
    admitted(one, here)
    back = way_back(sent_to(here.post("/oidc/start")))
    there.cookies.set("chambit-journey", here.cookies["chambit-journey"])
    assert there.get(back).status_code == 303
    assert here.get(back).status_code == 403
    here.cookies.set(asking.COOKIE, there.cookies[asking.COOKIE])
    assert "김판독" in here.get("/account").text
    assert trail.verify(one.database) is None
    one.database.close()
    other.database.close()


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_two_answers_at_once_make_one_session(
    kind: str, tmp_path: Path, idp: Provider, request: pytest.FixtureRequest
) -> None:
    """The database decides which of several workers has the answer."""
    from concurrent.futures import ThreadPoolExecutor

    hub = opened(tmp_path / "hub", idp, database=request.getfixturevalue("empty") if kind == "postgresql" else "")
    away = identities.depart(hub, "/")
    answer = {k: v[0] for k, v in parse_qs(urlsplit(way_back(away.url)).query).items()}

    def arrives(_: int) -> bool:
        try:
            identities.arrive(hub, answer, away.browser)
        except UntrueError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(arrives, range(8))) == [False] * 7 + [True]
    hub.database.close()


# ---------------------------------------------------------------------------------- a provider that misbehaves


def forgets(hub: Hub, wait: float = 10.0) -> None:
    """As an hour later, perhaps with less patience."""
    there = hub.provider
    assert there is not None
    there._document = there._keys = None
    there.settings = there.settings.model_copy(update={"wait": wait})
    there._way = None


OTHER = "http://localhost:9/authorize"  # this machine, and yet not the issuer's host


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"authorization_endpoint": "https://elsewhere.example/authorize"}, "oidc.hosts에 없는 elsewhere.example"),
        ({"token_endpoint": "https://elsewhere.example/token"}, "oidc.hosts에 없는 elsewhere.example"),
        ({"jwks_uri": OTHER}, "oidc.hosts에 없는 localhost"),
        ({"end_session_endpoint": OTHER}, "oidc.hosts에 없는 localhost"),
        ({"token_endpoint": "https://127.0.0.1@elsewhere.example/"}, "elsewhere.example"),
        ({"token_endpoint": "https://user:pw@127.0.0.1/"}, "oidc.hosts에 없는"),
        ({"token_endpoint": "file:///etc/passwd"}, "oidc.hosts에 없는"),
        ({"token_endpoint": "ftp://127.0.0.1/"}, "https:// 없이"),
        ({"issuer": "https://elsewhere.example"}, "issuer가 hub.yaml과 다릅니다"),
        ({"issuer": None}, "issuer가 hub.yaml과 다릅니다"),
        ({"token_endpoint": None}, "token_endpoint이(가) 없습니다"),
        ({"jwks_uri": ["x"]}, "jwks_uri이(가) 없습니다"),
        ({"end_session_endpoint": 7}, "주소가 아닌 것"),
    ],
)
def test_a_document_that_leads_elsewhere_is_not_followed(
    ready: tuple[Provider, Hub, TestClient], document: dict[str, Any], said: str
) -> None:
    idp, hub, client = ready
    forgets(hub)
    idp.document = document
    refused = client.post("/oidc/start")
    assert refused.status_code == 502
    assert said in html.unescape(refused.text)
    assert 'name="password"' in refused.text


def test_a_host_that_the_settings_list_may_be_named(tmp_path: Path, idp: Provider) -> None:
    made = opened(tmp_path / "hub", idp, hosts=["localhost"])
    idp.document = {"token_endpoint": idp.issuer.replace("127.0.0.1", "localhost") + "/token"}
    client = browser(made)
    admitted(made, client)
    assert comes(client).status_code == 303
    made.database.close()


def _drips(asked: Answering) -> None:
    """A byte now and then: no wait of its own is ever long."""
    asked.send_response(200)
    asked.send_header("content-length", "1000")
    asked.end_headers()
    with contextlib.suppress(OSError):  # the hub hangs up, as it should
        for _ in range(100):
            asked.wfile.write(b" ")
            asked.wfile.flush()
            time.sleep(0.05)


def _drips_headers(asked: Answering) -> None:
    with contextlib.suppress(OSError):
        asked.wfile.write(b"HTTP/1.1 200 OK\r\nx-long: ")
        for _ in range(100):
            asked.wfile.write(b"x")
            asked.wfile.flush()
            time.sleep(0.05)


def _huge(asked: Answering) -> None:
    with contextlib.suppress(OSError):  # the hub hangs up, as it should
        asked.sends(200, b" " * 3_000_000, "application/json")


SPOILT: dict[str, tuple[Callable[[Answering], None], str]] = {
    "asleep": (lambda asked: time.sleep(3), "0.3초 안에 답이 없습니다"),
    "drips": (_drips, "너무 크거나 느립니다|초 안에 답이 없습니다"),
    "drips headers": (_drips_headers, "초 안에 답이 없습니다"),
    "huge": (_huge, "너무 크거나 느립니다"),
    "redirects": (lambda asked: asked.goes("http://127.0.0.1:9/elsewhere"), "303"),
    "a page": (lambda asked: asked.page("<h1>sign in first</h1>"), "JSON이 아닌 200"),
    "a list": (lambda asked: asked.says(200, []), "JSON이 아닌 200"),
    "broken": (lambda asked: asked.says(500, {}), "500"),
    "hangs up": (lambda asked: asked.connection.shutdown(socket.SHUT_RDWR), "이용할 수 없습니다"),
    "compressed": (
        lambda asked: asked.sends(200, b"{}", "application/json", **{"content-encoding": "gzip"}),
        "요청하지 않은 압축",
    ),
}


@pytest.mark.parametrize("how", SPOILT)
@pytest.mark.parametrize("where", ["/.well-known/openid-configuration", "/token", "/certs"])
def test_a_provider_that_fails_is_said_in_time(ready: tuple[Provider, Hub, TestClient], where: str, how: str) -> None:
    idp, hub, client = ready
    forgets(hub, wait=0.3 if how in ("asleep", "drips", "drips headers") else 10.0)
    spoilt, said = SPOILT[how]
    idp.special[where] = spoilt
    begun = time.monotonic()
    page = client.post("/oidc/start") if where.startswith("/.well") else comes(client)
    assert time.monotonic() - begun < 2.5
    assert page.status_code == 502, page.text
    assert re.search(f"{said}|토큰을 읽을 수 없습니다" if where == "/token" else said, html.unescape(page.text))
    assert 'name="password"' in page.text  # local accounts work on
    forgets(hub)


def test_a_dead_provider_is_said_and_keeps_nobody_else_out(hub: Hub, client: TestClient) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    told = hub.settings.oidc
    assert told is not None
    gone = told.model_copy(update={"issuer": f"http://127.0.0.1:{port}/x"})
    dead = hub._replace(provider=provider.Provider(gone, ADDRESS, hub.folder))
    client = browser(dead)
    begun = time.monotonic()
    page = client.post("/oidc/start")
    assert time.monotonic() - begun < 2.0
    assert (page.status_code, "이용할 수 없습니다" in page.text) == (502, True)
    client.get("/language/en")
    assert "cannot be used now" in client.post("/oidc/start").text
    assert client.post("/login", data={"login": "lee", "password": PASSWORD}).status_code == 303


# ------------------------------------------------------------------------------------- tying an account


def connecting(client: TestClient, login: str, password: str = PASSWORD) -> Any:
    return client.post("/oidc/connect", data={"csrf": signed_in(client, login), "password": password})


def test_a_local_account_is_tied_by_who_signs_in_to_both(hub: Hub, client: TestClient, idp: Provider) -> None:
    lee = person(hub, "lee")
    refused = connecting(client, "lee")
    assert (refused.status_code, "관리자가" in refused.text) == (409, True)
    admin = browser(hub)
    csrf = signed_in(admin, "admin")
    assert admin.post(f"/accounts/{lee.id}", data={"csrf": csrf, "act": "connectable"}).status_code == 303
    assert connecting(client, "lee", "not the password at all").status_code == 409
    away = sent_to(connecting(client, "lee"))
    assert "prompt=login" in away
    done = client.get(way_back(away))
    assert (done.status_code, done.headers["location"]) == (303, "/account#identity")
    assert idp.issuer in client.get("/account").text
    tied = person(hub, "lee")
    assert (tied.issuer, tied.subject, tied.connectable) == (idp.issuer, "b1f0-1", False)
    client.cookies.clear()
    assert comes(client).status_code == 303
    assert "Lee" in client.get("/account").text
    assert [kind for kind in kinds(hub) if kind.startswith("account.")][-2:] == ["account.connectable", "account.tied"]
    assert connecting(client, "lee").status_code == 409  # tied already

    assert admin.post(f"/accounts/{lee.id}", data={"csrf": csrf, "act": "untie"}).status_code == 303
    client.cookies.clear()
    assert comes(client).status_code == 200  # a stranger again, who waits
    assert client.post("/login", data={"login": "lee", "password": PASSWORD}).status_code == 303


def test_a_tie_belongs_to_the_session_that_began_it(hub: Hub, client: TestClient, idp: Provider) -> None:
    """A thief who has somebody's way back cannot tie it to the own account, nor be tied to another's."""
    identities.let_connect(hub.database, trail.HUB, person(hub, "lee").id)
    back = way_back(sent_to(connecting(client, "lee")))
    journey = client.cookies["chambit-journey"]
    signed_in(client, "lee")  # the same person, another session
    client.cookies.set("chambit-journey", journey)
    assert client.get(back).status_code == 403
    assert person(hub, "lee").issuer == ""
    assert whys(hub) == ["it was begun in another session"]


def test_a_tie_needs_its_form_and_a_session(hub: Hub, client: TestClient) -> None:
    identities.let_connect(hub.database, trail.HUB, person(hub, "lee").id)
    signed_in(client, "lee")
    assert client.post("/oidc/connect", data={"csrf": "x", "password": PASSWORD}).status_code == 403
    back = way_back(sent_to(connecting(client, "lee")))
    client.cookies.delete(asking.COOKIE)
    assert client.get(back).headers["location"].startswith("/login")
    assert person(hub, "lee").issuer == ""


def test_an_identity_has_one_account(hub: Hub, client: TestClient, idp: Provider) -> None:
    who = admitted(hub, client)
    identities.let_connect(hub.database, trail.HUB, person(hub, "lee").id)
    refused = client.get(way_back(sent_to(connecting(client, "lee"))))
    assert (refused.status_code, "이미 다른 계정에" in refused.text) == (403, True)
    assert (person(hub, "lee").issuer, newcomer(hub).id) == ("", who.id)


def test_an_account_that_waits_gives_way_to_the_one_its_person_has(hub: Hub, client: TestClient, idp: Provider) -> None:
    comes(client)
    before = newcomer(hub)
    identities.let_connect(hub.database, trail.HUB, person(hub, "lee").id)
    assert client.get(way_back(sent_to(connecting(client, "lee")))).status_code == 303
    gone = accounts.by_id(hub.database, [before.id])[before.id]
    assert (gone.issuer, gone.disabled, gone.waiting) == ("", True, False)
    assert newcomer(hub).login == "lee"


def test_an_account_without_a_password_is_not_left_without_an_entrance(hub: Hub, client: TestClient) -> None:
    who = admitted(hub, client)
    admin = browser(hub)
    csrf = signed_in(admin, "admin")
    assert admin.post(f"/accounts/{who.id}", data={"csrf": csrf, "act": "untie"}).status_code == 409
    assert newcomer(hub).id == who.id


def test_only_administrators_admit_and_tie(hub: Hub, client: TestClient) -> None:
    comes(client)
    who = newcomer(hub)
    other = browser(hub)
    csrf = signed_in(other, "lee")
    for act in ("admit", "connectable", "untie"):
        assert other.post(f"/accounts/{who.id}", data={"csrf": csrf, "act": act, "roles": "reader"}).status_code == 403
    assert newcomer(hub).waiting


# -------------------------------------------------------------------------------------------- going out


def test_signing_out_ends_the_session_here_and_there(hub: Hub, client: TestClient, idp: Provider) -> None:
    admitted(hub, client)
    comes(client)
    session = client.cookies[asking.COOKIE]
    page = client.post("/logout", data={"csrf": token(client)})
    url = sent_to(page)
    assert "김판독" not in page.text
    given = {k: v[0] for k, v in parse_qs(urlsplit(url).query).items()}
    assert url.startswith(idp.issuer + "/logout?")
    assert (given["client_id"], given["post_logout_redirect_uri"]) == (CLIENT, ADDRESS + "/login")
    assert given["id_token_hint"].count(".") == 2
    client.cookies.set(asking.COOKIE, session)
    assert client.get("/account").status_code == 303
    with hub.database.reading() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM session").scalar_one() == 0


def test_who_came_by_password_goes_nowhere_else(hub: Hub, client: TestClient) -> None:
    done = client.post("/logout", data={"csrf": signed_in(client, "lee")})
    assert (done.status_code, done.headers["location"]) == (303, "/login")


@pytest.mark.parametrize("how", ["dead", "offers nothing"])
def test_signing_out_does_not_wait_for_the_provider(tmp_path: Path, idp: Provider, how: str) -> None:
    made = opened(tmp_path / "hub", idp)
    if how == "offers nothing":
        idp.document = {"end_session_endpoint": None}
    client = browser(made)
    admitted(made, client)
    comes(client)
    if how == "dead":
        forgets(made, wait=0.3)
        idp.special["/.well-known/openid-configuration"] = lambda asked: time.sleep(2)
    csrf = token(client)
    begun = time.monotonic()
    done = client.post("/logout", data={"csrf": csrf})
    assert time.monotonic() - begun < 1.5
    assert (done.status_code, done.headers["location"]) == (303, "/login")
    assert client.get("/account").status_code == 303
    made.database.close()


# --------------------------------------------------------------------------------------------- settings


def test_the_page_for_signing_in_shows_the_button_in_both_languages(tmp_path: Path, idp: Provider) -> None:
    label = {"ko": "한빛병원 계정", "en": "Hanbit account"}
    client = browser(opened(tmp_path / "hub", idp, label=label))
    assert "한빛병원 계정" in client.get("/login").text
    client.get("/language/en")
    assert "Hanbit account" in client.get("/login").text


def test_without_a_provider_nothing_of_it_is_there(tmp_path: Path) -> None:
    made = Hub.open(tmp_path / "hub")
    accounts.create(made.database, trail.HUB, "lee", "Lee", ["member"], PASSWORD)
    client = browser(made)
    assert "/oidc/" not in client.get("/login").text
    assert client.post("/oidc/start").status_code == 403
    assert client.get("/oidc/back?state=x&code=y").status_code == 403
    signed_in(client, "lee")
    assert "/oidc/" not in client.get("/account").text


def test_where_passwords_are_shut_off_an_administrator_still_gets_in(tmp_path: Path, idp: Provider) -> None:
    made = opened(tmp_path / "hub", idp, passwords=False)
    client = browser(made)
    refused = client.post("/login", data={"login": "lee", "password": PASSWORD})
    assert (refused.status_code, "비밀번호 로그인을 쓰지 않습니다" in refused.text) == (401, True)
    wrong = client.post("/login", data={"login": "lee", "password": "not the password"})
    assert "쓰지 않습니다" not in wrong.text
    assert client.post("/login", data={"login": "admin", "password": PASSWORD}).status_code == 303
    made.database.close()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"issuer": "http://id.hospital.example"}, "https://"),
        ({"issuer": "https://id.hospital.example?x=1"}, "no"),
        ({"issuer": "https://user:pw@id.hospital.example"}, "no"),
        ({"client": ""}, "oidc.client"),
        ({"secret": {}}, "either a file or a variable"),
        ({"secret": {"file": "a", "variable": "B"}}, "either a file or a variable"),
        ({"secret": {"file": "not-there"}}, "not-there is missing"),
        ({"secret": {"variable": "CHAMBIT_NOT_SET"}}, "CHAMBIT_NOT_SET is missing"),
        ({"secret": "the secret itself"}, "oidc.secret"),
        ({"algorithms": ["none"]}, "algorithms"),
        ({"algorithms": ["HS256"]}, "algorithms"),
        ({"algorithms": []}, "algorithms"),
        ({"suggest": {"claim": "groups", "roles": {"x": ["emperor"]}}}, "a role is one of"),
        ({"ca": "not-there.pem"}, "not-there.pem cannot be used"),
        ({"wait": 0}, "wait"),
        ({"verify": False}, "verify"),
    ],
)
def test_settings_that_cannot_be_used_are_refused_by_name(
    tmp_path: Path, idp: Provider, change: dict[str, Any], said: str
) -> None:
    folder = written(tmp_path / "hub", idp, **change)
    with pytest.raises(InputError) as refused:
        settings.load(folder)
    assert said in str(refused.value)
    assert "hub.yaml" in str(refused.value)
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize("address", ["''", "http://hub.hospital.example"])
def test_people_are_sent_back_over_tls_alone(tmp_path: Path, idp: Provider, address: str) -> None:
    path = written(tmp_path / "hub", idp) / settings.NAME
    path.write_text(path.read_text().replace(ADDRESS, address))
    with pytest.raises(InputError, match="with oidc, address"):
        settings.load(path.parent)


def test_the_provider_s_certificate_is_checked(tmp_path: Path) -> None:
    """By the authority that the settings name; without it the provider is not believed."""
    (tmp_path / "hub").mkdir()
    with a_provider(authority(tmp_path / "hub" / "authority.pem")) as idp:
        made = opened(tmp_path / "hub", idp, ca="authority.pem")
        client = browser(made)
        admitted(made, client)
        assert comes(client).status_code == 303
        made.database.close()
        (tmp_path / "other").mkdir()
        strict = opened(tmp_path / "other", idp)
        refused = browser(strict).post("/oidc/start")
        assert (refused.status_code, "CERTIFICATE_VERIFY_FAILED" in refused.text) == (502, True)
        strict.database.close()


def test_the_example_of_the_handbook_can_be_used(tmp_path: Path) -> None:
    text = (PACKAGE.parents[1] / "docs" / "hub.md").read_text(encoding="utf-8")
    example = text.split("## Identity providers")[1].split("```yaml\n# hub.yaml\n")[1].split("```")[0]
    (tmp_path / settings.NAME).write_text(example, encoding="utf-8")
    (tmp_path / "oidc.secret").write_text(SECRET)
    authority(tmp_path / "hospital-ca.pem")
    found = settings.load(tmp_path).oidc
    assert found is not None
    assert found.known == {"id.hospital.example"}
    assert found.suggest is not None
    assert found.suggest.roles["/chambit/readers"] == ("reader",)
    named = set(re.findall(r"^  (\w+):", example, re.MULTILINE))
    assert named == set(type(found).model_fields)


def test_an_authority_without_a_certificate(tmp_path: Path, idp: Provider) -> None:
    """A file that holds no certificate is refused."""
    folder = written(tmp_path / "hub", idp, ca="authority.pem")
    (folder / "authority.pem").write_text("no certificate")
    with pytest.raises(InputError, match=r"authority\.pem cannot be used"):
        settings.load(folder)


def test_the_secret_may_stand_in_the_environment(
    tmp_path: Path, idp: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHAMBIT_OIDC_SECRET", SECRET)
    made = opened(tmp_path / "hub", idp, secret={"variable": "CHAMBIT_OIDC_SECRET"})
    client = browser(made)
    assert comes(client).status_code == 200
    assert newcomer(made).waiting
    made.database.close()


def test_the_secret_and_the_tokens_are_in_no_page_and_no_trail(hub: Hub, client: TestClient) -> None:
    admitted(hub, client)
    comes(client)
    with hub.database.reading() as connection:
        told = str(connection.execute(sql.text("SELECT body FROM event")).all())
        id_token = connection.exec_driver_sql("SELECT id_token FROM session").scalar_one()
    for text in (told, client.get("/account").text):
        assert SECRET not in text
        assert id_token not in text
        assert "김판독" not in told


# -------------------------------------------------------------------------------------- the closed network


def run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], check=True, capture_output=True, text=True, timeout=60
    )
    return done.stdout


def test_a_door_leads_to_its_host_in_its_thread_and_while_it_is_open() -> None:
    """Nothing else opens: another host, another thread, a moment later. 192.0.2.0/24 is for documentation."""
    code = """
        import socket, threading
        from chambit.core import offline
        offline.guard()

        def tries(host):
            try:
                socket.create_connection((host, 9), timeout=0.05).close()
            except offline.EgressError:
                return "refused"
            except OSError:
                return "tried"

        seen = []
        with offline.door("192.0.2.1"):
            seen += [tries("192.0.2.1"), tries("192.0.2.2"), tries("example.org")]
            thread = threading.Thread(target=lambda: seen.append(tries("192.0.2.1")))
            thread.start(); thread.join()
            with offline.door("192.0.2.2"):
                seen += [tries("192.0.2.2"), tries("192.0.2.1")]
            seen.append(tries("192.0.2.1"))
        seen.append(tries("192.0.2.1"))
        print(*seen, offline.attempts())
    """
    assert run(code) == "tried refused refused refused tried refused tried refused 5\n"


def test_a_door_opens_the_addresses_of_its_name() -> None:
    """A connection shows an address alone: it passes only where the name leads there."""
    code = """
        import socket
        from chambit.core import offline
        socket.getaddrinfo = lambda host, *rest, **more: [(2, 1, 6, "", ("192.0.2.7", 0))]
        offline.guard()

        def tries(address):
            made = socket.socket(); made.settimeout(0.05)
            try:
                made.connect((address, 9))
            except offline.EgressError:
                return "refused"
            except OSError:
                return "tried"

        with offline.door("ID.hospital.example"):
            print(tries("192.0.2.7"), tries("192.0.2.8"))
    """
    assert run(code) == "tried refused\n"


def test_the_database_is_reached_past_the_guard() -> None:
    """Its host is named in the settings; that this one does not exist is found out by asking for it."""
    pytest.importorskip("psycopg")
    code = """
        import sqlalchemy
        from chambit.core import offline
        from chambit.hub.database import Database
        offline.guard()
        try:
            Database("postgresql+psycopg://chambit@db.hospital.invalid/chambit").revision()
        except sqlalchemy.exc.OperationalError as error:
            print("asked", "resolve host" in str(error), offline.attempts())
    """
    assert run(code) == "asked True 0\n"


def test_only_the_provider_and_the_database_have_a_door() -> None:
    found = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        if re.search(r"\bdoor\b\(|import .*\bdoor\b", path.read_text(encoding="utf-8"))
    }
    assert found == {"core/offline.py", "hub/outgoing.py", "hub/database.py"}


def test_the_server_is_closed_but_for_what_its_settings_name(tmp_path: Path, idp: Provider) -> None:
    """`chambit serve` guards itself; past the guard the provider alone is asked."""
    written(tmp_path / "hub", idp)
    code = f"""
        import socket, sys, uvicorn
        from chambit.core import offline

        def looked_at(self, sockets):
            try:
                socket.create_connection(("192.0.2.1", 9), timeout=0.05)
            except offline.EgressError:
                print("closed", len(sockets))
            there = self.config.app.state.hub.provider
            there.settings = there.settings.model_copy(update={{"issuer": "https://192.0.2.9/x", "wait": 0.5}})
            there._client()  # what it needs is imported now, and not while it waits
            try:
                there.leaving("")
            except Exception as error:
                print(type(error).__name__, offline.attempts())

        uvicorn.Server.run = looked_at
        sys.argv = ["chambit", "serve", {str(tmp_path / "hub")!r}, "--port", "0"]
        from chambit.cli import main
        main()
    """
    assert run(code).splitlines()[-2:] == ["closed 1", "ProviderError 1"]
