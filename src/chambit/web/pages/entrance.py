"""Coming in and going out: sign in, second factor, the first account of a new hub, language."""

import secrets
from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response

from chambit.hub import accounts, identities, sessions, trail
from chambit.hub.accounts import Account
from chambit.hub.hub import Hub
from chambit.hub.refusals import HubError, NotAllowedError
from chambit.web.asking import (
    COOKIE,
    LANGUAGE,
    LANGUAGES,
    Acting,
    AnyHub,
    SignInError,
    keep,
    local,
    session_of,
    told,
)
from chambit.web.rendering import page

router = APIRouter(include_in_schema=False)
YEAR = 365 * 24 * 3600
Text = Annotated[str, Form(max_length=400)]


@router.get("/login")
def sign_in_form(request: Request, hub: AnyHub, to: str = "/") -> Response:
    """The form; a new hub says how its first account is made."""
    there = session_of(request)
    if there is not None:
        return RedirectResponse(local(to) if there.complete else "/second", 303)
    return page(request, "login.html.j2", to=local(to), said="", login="", new=not accounts.count(hub.database))


@router.post("/login")
def sign_in(request: Request, hub: AnyHub, login: Text, password: Text, to: Text = "/") -> Response:
    """Begin a session, or say once more what is asked."""
    try:
        owner = identities.by_password(hub, login, password)
    except HubError as refused:
        said = told(request, refused)
        status = 429 if refused.wait else 401
        return page(request, "login.html.j2", status, to=local(to), said=said, login=login, new=False)
    return begun(hub, owner, to)


def begun(hub: Hub, owner: Account, to: str, id_token: str = "") -> Response:
    """A new session in a cookie, and on to the second factor or to where the person was going."""
    response = RedirectResponse("/second" if owner.second else local(to), 303)
    keep(response, hub, COOKIE, sessions.open_for(hub.database, owner, id_token=id_token))
    return response


@router.get("/second")
def second_form(request: Request) -> Response:
    """The form of the second factor."""
    there = session_of(request)
    if there is None:
        raise SignInError("/")
    return RedirectResponse("/", 303) if there.complete else page(request, "second.html.j2", said="")


@router.post("/second")
def second(request: Request, hub: AnyHub, code: Text) -> Response:
    """Complete a session."""
    there = session_of(request)
    if there is None:
        raise SignInError("/")
    try:
        sessions.completed(hub.database, there, code)
    except HubError as refused:
        said = told(request, refused)
        return page(request, "second.html.j2", 401, said=said)
    return RedirectResponse("/", 303)


@router.get("/first")
def first_form(request: Request, hub: AnyHub, word: str = "") -> Response:
    """The form of the first account, for whoever holds the word that `chambit serve` printed."""
    _the_word(hub, word)
    return page(request, "first.html.j2", word=word, said="", login="", name="")


@router.post("/first")
def first(request: Request, hub: AnyHub, word: Text, login: Text, name: Text, password: Text) -> Response:
    """Make the first account, an administrator, and sign it in."""
    _the_word(hub, word)
    try:
        made = accounts.create(hub.database, trail.HUB, login, name, ["administrator"], password)
    except HubError as refused:
        said = told(request, refused)
        return page(request, "first.html.j2", 409, word=word, said=said, login=login, name=name)
    return begun(hub, made, "/accounts")


def _the_word(hub: Hub, word: str) -> None:
    if not hub.first or accounts.count(hub.database) or not secrets.compare_digest(hub.first, word):
        raise NotAllowedError(
            "첫 계정은 서버를 켠 사람만, 계정이 하나도 없을 때 만들 수 있습니다. 서버 화면에 나온 주소를 쓰십시오.",
            "The first account is made by whoever started the server, while there is none. Use the address it printed.",
        )


@router.post("/logout")
def sign_out(request: Request, hub: AnyHub, session: Acting) -> Response:
    """End the session, here first; who came through an identity provider is signed out there, too."""
    sessions.end(hub.database, session)
    request.state.session = None
    url = identities.leaving(hub, session)
    response = page(request, "leaving.html.j2", url=url, out=True) if url else RedirectResponse("/login", 303)
    response.delete_cookie(COOKIE)
    return response


@router.get("/language/{chosen}")
def language(chosen: str, hub: AnyHub, to: str = "/") -> Response:
    """Keep the language a reader chose, and go back."""
    response = RedirectResponse(local(to), 303)
    keep(response, hub, LANGUAGE, chosen if chosen in LANGUAGES else LANGUAGES[0], YEAR)
    return response
