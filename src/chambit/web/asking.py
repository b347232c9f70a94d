"""Who asks: the session of a request, what its account may do, and the token that every change must carry."""

import secrets
from typing import Annotated
from urllib.parse import quote

from fastapi import Depends, Form, Request, Response

from chambit.hub import sessions
from chambit.hub.accounts import Account
from chambit.hub.hub import Hub
from chambit.hub.refusals import HubError, NotAllowedError
from chambit.hub.sessions import Session

COOKIE = "chambit"
LANGUAGE = "chambit-language"
LANGUAGES = ("ko", "en")


class SignInError(Exception):
    """Nobody is signed in; `to` is where to go on after that."""

    def __init__(self, to: str) -> None:
        super().__init__(to)
        self.to = to


def hub_of(request: Request) -> Hub:
    """The hub that answers."""
    hub: Hub = request.app.state.hub
    return hub


def session_of(request: Request) -> Session | None:
    """The open session of a request, complete or not; looked up once."""
    if not hasattr(request.state, "session"):
        token = request.cookies.get(COOKIE, "")
        hub = hub_of(request)
        request.state.session = sessions.of_token(hub.database, token, hub.settings.session) if token else None
    found: Session | None = request.state.session
    return found


def signed_in(request: Request) -> Session:
    """The complete session of a request.

    Raises:
        SignInError: when there is none.
    """
    found = session_of(request)
    if found is None or not found.complete:
        raise SignInError(request.url.path if request.method == "GET" else "/")
    return found


def visiting(request: Request) -> Account | None:
    """The account that asks; None for a visitor without one, where the exhibition is open to visitors.

    Raises:
        SignInError: where it is not.
    """
    found = session_of(request)
    if found is not None and found.complete:
        return found.account
    if not hub_of(request).settings.exhibition.visitors:
        raise SignInError(request.url.path)
    return None


def acting(request: Request, csrf: Annotated[str, Form()] = "") -> Session:
    """The session of a form that changes something: it must carry the session's own token.

    Raises:
        SignInError: when nobody is signed in.
        NotAllowedError: when the token is missing or another's.
    """
    return _with_token(request, csrf)


def sending(request: Request) -> Session:
    """The session of a message that changes something, its token in the header `X-CSRF-Token`; raises as `acting`."""
    return _with_token(request, request.headers.get("x-csrf-token", ""))


def _with_token(request: Request, csrf: str) -> Session:
    found = signed_in(request)
    if not secrets.compare_digest(csrf.encode(), found.csrf.encode()):
        raise NotAllowedError(
            "이 양식은 다른 곳에서 왔거나 오래되었습니다. 페이지를 새로 열고 다시 해 주십시오.",
            "This form came from elsewhere or is too old. Open the page again and repeat it.",
        )
    return found


def must_have(session: Session, *roles: str) -> Session:
    """The session, when its account has one of these roles.

    Raises:
        NotAllowedError: when it has none.
    """
    if not session.account.has(*roles):
        raise NotAllowedError("이 화면을 볼 역할이 없습니다.", "Your account has no role for this screen.")
    return session


def language_of(request: Request) -> str:
    """Korean unless the reader chose English."""
    kept = request.cookies.get(LANGUAGE, "")
    return kept if kept in LANGUAGES else LANGUAGES[0]


def told(request: Request, refused: HubError) -> str:
    """A refusal in the language of the reader."""
    return (refused.ko, refused.en)[LANGUAGES.index(language_of(request))]


def keep(response: Response, hub: Hub, name: str, value: str, seconds: int | None = None) -> None:
    """Set a cookie that scripts cannot read and other sites do not get."""
    response.set_cookie(name, value, max_age=seconds, httponly=True, samesite="lax", secure=hub.settings.secure)


def local(path: str) -> str:
    """A place of this hub to go on to; anything else becomes the first page.

    >>> local("/studies/a"), local("https://elsewhere"), local("//elsewhere"), local("/" + chr(92) + "elsewhere")
    ('/studies/a', '/', '/', '/')
    """
    inside = path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable()
    return quote(path, safe="/?=&-_.~%#") if inside else "/"


Visiting = Annotated[Account | None, Depends(visiting)]
Asking = Annotated[Session, Depends(signed_in)]
Acting = Annotated[Session, Depends(acting)]
Sending = Annotated[Session, Depends(sending)]
AnyHub = Annotated[Hub, Depends(hub_of)]
