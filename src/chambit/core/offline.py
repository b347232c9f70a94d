"""The closed network, kept and proven: every attempt to connect outside this machine is refused and counted.

An audit hook (PEP 578) sees `socket.connect`, `socket.sendto` and `socket.getaddrinfo` of every library in the process,
C extensions that go through Python's sockets included. It is evidence about this process, not a firewall: code that
makes system calls of its own is not seen.
"""

import sys
from typing import Any

from chambit.core.errors import ChambitError

_LOCAL = ("127.0.0.1", "::1", "localhost", "")
_attempts: list[str] = []
_installed = False


class EgressError(ChambitError):
    """Something tried to reach the network during a run."""


def guard() -> None:
    """Refuse connections to other machines from now on, in this process. Cannot be undone."""
    global _installed
    if not _installed:
        sys.addaudithook(_hook)
        _installed = True


def attempts() -> int:
    """How many connections to other machines were tried since `guard`."""
    return len(_attempts)


def guarded() -> bool:
    """Whether `guard` is in force."""
    return _installed


def _hook(name: str, arguments: tuple[Any, ...]) -> None:
    if name == "socket.getaddrinfo":
        host = arguments[0]
    elif name in ("socket.connect", "socket.sendto"):
        address = arguments[1]
        if not isinstance(address, tuple):
            return  # a Unix socket: this machine
        host = address[0]
    else:
        return
    text = host.decode() if isinstance(host, bytes) else str(host or "")
    if text not in _LOCAL and not text.startswith("127."):
        _attempts.append(text)
        raise EgressError(f"A connection to {text} was refused: Chambit runs offline.")
