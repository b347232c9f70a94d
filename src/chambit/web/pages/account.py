"""The own account: password, second factor, signing key."""

import datetime
from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response

from chambit.hub import accounts, desk, sessions, signing
from chambit.web.asking import COOKIE, Acting, AnyHub, Asking
from chambit.web.rendering import page

router = APIRouter(include_in_schema=False)
Text = Annotated[str, Form(max_length=400)]


@router.get("/account")
def own(request: Request, hub: AnyHub, session: Asking) -> Response:
    """What the account is, and what can be changed."""
    return page(
        request, "account.html.j2", account=session.account, least=desk.rules_of(hub).passphrase_least,
        key=signing.standing(hub.database, session.account.id),
    )  # fmt: skip


@router.post("/account/key")
def key(hub: AnyHub, session: Acting, passphrase: Text) -> Response:
    """A new signing key under a passphrase; the one before signs no longer."""
    today = datetime.datetime.now(datetime.UTC).date()
    signing.make(hub.database, session.account.id, passphrase, desk.rules_of(hub), today)
    return RedirectResponse("/account#key", 303)


@router.post("/account/password")
def password(hub: AnyHub, session: Acting, old: Text, new: Text) -> Response:
    """Another password, for whoever knows the old one; other sessions end."""
    accounts.authenticated(hub.database, session.account.login, old)
    accounts.set_password(hub.database, session.account.id, session.account.id, new)
    return _signed_out(hub, session)


@router.get("/account/second")
def second_form(request: Request, hub: AnyHub, session: Asking) -> Response:
    """A new secret for an authenticator app, in force once a code of it was entered."""
    secret, address = accounts.new_secret(hub.database, session.account.id)
    return page(request, "account_second.html.j2", secret=secret, address=address)


@router.post("/account/second")
def second(hub: AnyHub, session: Acting, secret: Text, code: Text, password: Text = "") -> Response:
    """Put the second factor in force; all sessions end, so that none is left without it.

    Whoever comes through an identity provider alone has no password to be asked for.
    """
    if session.account.password:
        accounts.authenticated(hub.database, session.account.login, password)
    accounts.enrol(hub.database, session.account.id, secret, code)
    return _signed_out(hub, session)


def _signed_out(hub: AnyHub, session: Acting) -> Response:
    sessions.end_all(hub.database, session.account.id, session.account.id)
    response = RedirectResponse("/login", 303)
    response.delete_cookie(COOKIE)
    return response
