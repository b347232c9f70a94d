"""Accounts, for the administrator: who may come in, and as what."""

from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response

from chambit.hub import accounts, identities, sessions
from chambit.hub.refusals import HubError, NotThereError
from chambit.web.asking import Acting, AnyHub, Asking, must_have
from chambit.web.rendering import page

router = APIRouter(include_in_schema=False)
Text = Annotated[str, Form(max_length=400)]


@router.get("/accounts")
def everyone(request: Request, hub: AnyHub, session: Asking) -> Response:
    """All accounts, those that wait to be admitted first, and the form of a new one."""
    must_have(session, "administrator")
    rows = accounts.listed(hub.database)
    waiting = [one for one in rows if one.waiting and not one.disabled]
    known = [one for one in rows if one not in waiting]
    return page(request, "accounts.html.j2", accounts=known, waiting=waiting, roles=accounts.ROLES)


@router.post("/accounts")
def make(
    hub: AnyHub,
    session: Acting,
    login: Text,
    name: Text,
    password: Text,
    roles: Annotated[list[str], Form()] = [],  # noqa: B006 - a form without a tick sends none
) -> Response:
    """A new account; its person changes the password that the administrator hands over."""
    must_have(session, "administrator")
    accounts.create(hub.database, session.account.id, login, name, roles, password)
    return RedirectResponse("/accounts", 303)


@router.post("/accounts/{who}")
def change(
    hub: AnyHub,
    session: Acting,
    who: str,
    act: Text,
    password: Text = "",
    roles: Annotated[list[str], Form()] = [],  # noqa: B006 - as above
) -> Response:
    """Admitted, other roles, shut or opened, a new password, a lost second factor or a tie taken away; sessions end."""
    must_have(session, "administrator")
    by = session.account.id
    if who not in accounts.by_id(hub.database, [who]):
        raise NotThereError("그런 계정이 없습니다.", "There is no such account.")
    if who == by and act in ("roles", "shut"):
        raise HubError("자기 계정은 바꿀 수 없습니다.", "You cannot do this to your own account.")
    if act == "roles":
        accounts.change(hub.database, by, who, roles=roles)
    elif act in ("shut", "open"):
        accounts.change(hub.database, by, who, disabled=act == "shut")
    elif act == "password":
        accounts.set_password(hub.database, by, who, password)
    elif act == "second":
        accounts.dismiss(hub.database, by, who)
    elif act == "admit":
        identities.admit(hub.database, by, who, roles)
    elif act == "connectable":
        identities.let_connect(hub.database, by, who)
    elif act == "untie":
        identities.untie(hub.database, by, who)
    else:
        raise HubError("알 수 없는 요청입니다.", "This is not something that can be done to an account.")
    if who != by and act != "connectable":
        sessions.end_all(hub.database, by, who)
    return RedirectResponse("/accounts", 303)
