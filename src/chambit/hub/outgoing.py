"""The one way from a hub to its identity provider: named hosts, TLS, no redirect, no proxy, within a time and a size.

The server's process is closed to the network (`chambit.core.offline`); the door is open for one request at a time and
leads to the host of that request alone.
"""

import queue
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeVar

import httpx2

from chambit.core import offline
from chambit.core.offline import EgressError
from chambit.hub.oidc import Oidc, private
from chambit.hub.refusals import HubError

LARGEST = 1024 * 1024
"""Bytes of an answer; a provider's document has some thousand."""
AT_ONCE = 8
"""Requests under way; a provider that hangs holds no more threads than these."""
_lines = threading.BoundedSemaphore(AT_ONCE)
Result = TypeVar("Result")


class UnreachedError(HubError):
    """The provider gave no answer that could be used: why, in a few words without anything secret."""


class _Outcome(NamedTuple):
    value: object
    error: Exception | None


class Way(httpx2.BaseTransport):
    """Carries requests to the hosts that the settings name, and to no other."""

    def __init__(self, settings: Oidc, folder: Path) -> None:
        self.settings = settings
        idle = httpx2.Limits(max_keepalive_connections=0)
        self.inner = httpx2.HTTPTransport(verify=settings.trust(folder), trust_env=False, limits=idle)

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send one request and read its whole answer.

        Raises:
            UnreachedError: when the host is not named, the answer is too large, or it takes too long.
        """
        until = time.monotonic() + self.settings.wait
        fitting(str(request.url), self.settings)
        request.extensions["timeout"] = dict.fromkeys(("connect", "read", "write", "pool"), self.settings.wait)
        request.headers["accept-encoding"] = "identity"
        with offline.door(request.url.host):
            answer = self.inner.handle_request(request)
            try:
                body = bytearray()
                for part in answer.iter_raw():
                    body += part
                    if len(body) > LARGEST or time.monotonic() > until:
                        raise UnreachedError("답이 너무 크거나 느립니다", "its answer is too large or too slow")
            finally:
                answer.close()
        if answer.headers.get("content-encoding", "identity") != "identity":
            raise UnreachedError("요청하지 않은 압축으로 답합니다", "its answer is compressed, which was not asked for")
        return httpx2.Response(answer.status_code, headers=answer.headers, content=bytes(body), request=request)


def fitting(url: str, settings: Oidc) -> str:
    """The address, when it may be asked or people may be sent there.

    Raises:
        UnreachedError: when its host is neither the issuer's nor listed, or it would be reached without TLS.
    """
    try:
        parts = httpx2.URL(url)
    except (httpx2.InvalidURL, TypeError):
        raise UnreachedError("주소가 아닌 것을 알려 줍니다", "it names something that is no address") from None
    if parts.host not in settings.known or parts.userinfo or parts.fragment:
        host = parts.host or "?"
        raise UnreachedError(
            f"hub.yaml의 oidc.hosts에 없는 {host}을(를) 알려 줍니다",
            f"it names {host}, which is not under oidc.hosts in hub.yaml",
        )
    if not private(url):
        raise UnreachedError(f"{parts.host}을(를) https:// 없이 알려 줍니다", f"it names {parts.host} without https://")
    return url


def within(seconds: float, work: Callable[[], Result]) -> Result:
    """What a piece of work returns, when it does so in time; late work is left to end by itself.

    Every wait of a request has a limit of its own, but looking a name up and answers byte by byte have none.

    Raises:
        UnreachedError: when the time is over, or the network did not work.
    """
    until = time.monotonic() + seconds
    if not _lines.acquire(timeout=seconds):
        raise UnreachedError(f"이미 {AT_ONCE}명이 답을 기다립니다", f"{AT_ONCE} others wait for it already")
    done: queue.SimpleQueue[_Outcome] = queue.SimpleQueue()
    threading.Thread(target=_carried_out, args=(work, done), daemon=True).start()
    try:
        outcome = done.get(timeout=max(0.0, until - time.monotonic()))
    except queue.Empty:
        raise _late(seconds) from None
    if isinstance(outcome.error, httpx2.TimeoutException):
        raise _late(seconds) from outcome.error
    if isinstance(outcome.error, httpx2.HTTPError | OSError | EgressError):
        said = str(outcome.error) or type(outcome.error).__name__
        raise UnreachedError(said, said) from outcome.error
    if outcome.error is not None:
        raise outcome.error
    return outcome.value  # type: ignore[return-value]


def _late(seconds: float) -> UnreachedError:
    return UnreachedError(f"{seconds:g}초 안에 답이 없습니다", f"it did not answer within {seconds:g} seconds")


def _carried_out(work: Callable[[], object], done: "queue.SimpleQueue[_Outcome]") -> None:
    try:
        done.put(_Outcome(work(), None))
    except Exception as error:  # handed to the thread that waits, which raises it
        done.put(_Outcome(None, error))
    finally:
        _lines.release()
