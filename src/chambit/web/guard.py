"""What stands before every page: names the hub answers to, sizes, rates, origins of forms, security headers."""

import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from chambit.hub.provider import BACK
from chambit.hub.settings import Limits, Settings
from chambit.web.asking import COOKIE

HERE = ("127.0.0.1", "localhost", "[::1]", "testserver")
SAFE = ("GET", "HEAD", "OPTIONS")
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "font-src 'self'; connect-src 'self'; media-src 'self'; worker-src 'self' blob:; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'; frame-src 'self'"
)
"""Scripts and pictures of this hub alone. Drawings carry style attributes, so inline style is let through."""
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "x-frame-options": "DENY",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
    "cache-control": "no-store",
}
ENTRANCES = {("POST", path) for path in ("/login", "/second", "/first", "/oidc/start", "/oidc/connect")} | {
    ("GET", BACK)
}
"""Where somebody may try to come in: of one address only so many requests are let through."""
KNOWN = 20_000
"""Sessions and addresses whose rate is remembered at once."""


class Rate:
    """At most so many events of one name in a window of seconds (two half windows, the older one fading)."""

    def __init__(self, most: int, window: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.most, self.window, self.clock = most, window, clock
        self._seen: OrderedDict[str, tuple[int, float, float]] = OrderedDict()

    def wait(self, name: str) -> float:
        """Count one event; 0 when it may go on, else the seconds until one may."""
        now = self.clock()
        slot = int(now // self.window)
        at, here, before = self._seen.pop(name, (slot, 0.0, 0.0))
        if at != slot:
            here, before = 0.0, here if at == slot - 1 else 0.0
        left = 1 - now / self.window + slot
        over = here + before * left >= self.most
        self._seen[name] = (slot, here + (not over), before)
        if len(self._seen) > KNOWN:
            self._seen.popitem(last=False)
        return self.window * left if over else 0.0


class Guard:
    """ASGI middleware around the whole application."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app, self.settings = app, settings
        limits: Limits = settings.limits
        self.requests = Rate(limits.requests, limits.window)
        self.logins = Rate(limits.logins, limits.window)
        own = urlsplit(settings.address).hostname
        self.hosts = {*(settings.hosts or HERE), *([own] if own else ())}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it here."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        refused = self._refused(scope, headers)
        if refused is not None:
            await refused(scope, receive, _with_headers(send, self.settings.secure))
            return
        await self.app(scope, _counted(receive, self.settings.limits.body), _with_headers(send, self.settings.secure))

    def _refused(self, scope: Scope, headers: Headers) -> PlainTextResponse | None:
        host = headers.get("host", "")
        if _name(host) not in self.hosts:
            return PlainTextResponse(f"This hub does not answer as '{host}'. Name it under `hosts` in hub.yaml.", 421)
        if not _size(headers) <= self.settings.limits.body:
            return PlainTextResponse(f"The request is larger than {self.settings.limits.body} bytes.", 413)
        if scope["method"] not in SAFE and _foreign(headers, host):
            return PlainTextResponse("This form was sent from another site and is not taken.", 403)
        address = scope["client"][0] if scope.get("client") else ""
        # a page of the catalogue shows 60 small pictures: they are part of it and not counted
        small = scope["path"].startswith("/catalogue/") and "/thumb/" in scope["path"]
        wait = 0.0 if small else self.requests.wait(_cookie(headers) or address)
        if not wait and (scope["method"], scope["path"]) in ENTRANCES:
            wait = self.logins.wait(address)
        if wait:
            said = f"요청이 너무 많습니다. {wait:.0f}초 뒤에 다시 해 주십시오. / Too many requests: {wait:.0f} s."
            return PlainTextResponse(said, 429, {"retry-after": f"{max(1, round(wait))}"})
        return None


def _name(host: str) -> str:
    return host.rsplit(":", 1)[0].lower() if not host.endswith("]") else host.lower()


def _size(headers: Headers) -> int:
    said = headers.get("content-length", "0")
    return int(said) if said.isdecimal() else 1 << 62


def _foreign(headers: Headers, host: str) -> bool:
    """Whether a browser says that a form comes from another site; programs that say nothing have no cookie to steal."""
    if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return True
    origin = headers.get("origin")
    return origin is not None and urlsplit(origin).netloc.lower() != host.lower()


def _cookie(headers: Headers) -> str:
    for part in headers.get("cookie", "").split(";"):
        name, _, value = part.strip().partition("=")
        if name == COOKIE:
            return value
    return ""


def _counted(receive: Receive, most: int) -> Callable[[], Awaitable[Message]]:
    """A body that ends in an error once it is larger than it may be, whatever its header said."""
    so_far = 0

    async def counting() -> Message:
        nonlocal so_far
        message = await receive()
        so_far += len(message.get("body", b""))
        if so_far > most:
            return {"type": "http.disconnect"}
        return message

    return counting


def _with_headers(send: Send, secure: bool) -> Callable[[Any], Awaitable[None]]:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
            if secure:
                headers.setdefault("strict-transport-security", "max-age=31536000")
        await send(message)

    return sending
