"""Coming in through an identity provider: to it and back, and tying the own account to it."""

from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response

from chambit.hub import accounts, identities
from chambit.hub.hub import Hub
from chambit.hub.identities import Arrival, Departure, WaitingError
from chambit.hub.provider import BACK, ProviderError
from chambit.hub.refusals import HubError
from chambit.web.asking import Acting, AnyHub, keep, local, session_of, signed_in, told
from chambit.web.pages.entrance import begun
from chambit.web.rendering import page

router = APIRouter(include_in_schema=False)
JOURNEY = "chambit-journey"
"""The cookie that only the browser in which a sign-in began brings back."""
Text = Annotated[str, Form(max_length=400)]


@router.post("/oidc/start")
def start(request: Request, hub: AnyHub, to: Text = "/") -> Response:
    """Send the person to the provider."""
    try:
        return _sent(request, hub, identities.depart(hub, local(to)))
    except HubError as refused:
        return _sign_in_again(request, refused)


@router.post("/oidc/connect")
def connect(request: Request, hub: AnyHub, session: Acting, password: Text) -> Response:
    """Send the person to the provider, to tie the own account to the identity that comes back."""
    accounts.authenticated(hub.database, session.account.login, password)
    return _sent(request, hub, identities.depart(hub, "/account", session))


@router.get(BACK)
def back(request: Request, hub: AnyHub) -> Response:
    """What the provider sent the person back with: a session, an account that waits, or a refusal."""
    answer = {name: request.query_params.get(name, "") for name in ("state", "code", "iss", "error")}
    try:
        arrival = identities.arrive(hub, answer, request.cookies.get(JOURNEY, ""))
        response = _connected(request, hub, arrival) if arrival.session else _signed_in(hub, arrival)
    except WaitingError as waits:
        response = page(request, "waiting.html.j2", said=told(request, waits))
    except HubError as refused:
        response = _sign_in_again(request, refused)
    response.delete_cookie(JOURNEY)
    return response


def _signed_in(hub: Hub, arrival: Arrival) -> Response:
    owner = identities.account_of(hub, arrival.identity)
    return begun(hub, owner, arrival.to, arrival.identity.token)


def _connected(request: Request, hub: Hub, arrival: Arrival) -> Response:
    identities.connect(hub, signed_in(request), arrival)
    return RedirectResponse("/account#identity", 303)


def _sent(request: Request, hub: Hub, away: Departure) -> Response:
    """A page that goes on by itself: browsers hold `form-action` against a redirect of a form, and it stays 'self'."""
    response = page(request, "leaving.html.j2", url=away.url, out=False)
    keep(response, hub, JOURNEY, away.browser, int(identities.JOURNEY))
    return response


def _sign_in_again(request: Request, refused: HubError) -> Response:
    status = 429 if refused.wait else 502 if isinstance(refused, ProviderError) else 403
    there = session_of(request)
    if there is not None and there.complete:
        return page(request, "refused.html.j2", status, said=told(request, refused), unmet=())
    return page(request, "login.html.j2", status, to="/", said=told(request, refused), login="", new=False)
