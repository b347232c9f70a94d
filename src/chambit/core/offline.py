"""The closed network, kept and proven: every attempt to connect outside this machine is refused and counted.

An audit hook (PEP 578) sees `socket.connect`, `socket.sendto`, `socket.sendmsg` and look-ups of names of every
library in the process, C extensions that go through Python's sockets included. It is evidence about the guarded
processes, not a firewall: code that makes system calls of its own is not seen. Worker processes have a guard of their
own (`guard_worker`) and count in memory they share with the coordinator, so what they tried is known here even when
one of them dies.

What an institution names in the settings of its hub, its database and its identity provider, is reached through a
`door`: one thread, these hosts, as long as a block lasts. No run of a study opens one.
"""

import ipaddress
import multiprocessing
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from chambit.core.errors import ChambitError

_attempts: list[str] = []
_installed = False
_workers: list[Any] = []  # one tally for each pool of workers started here
_tally: Any = None  # in a worker: where its coordinator reads
_here = threading.local()  # hosts behind the open door of this thread


class EgressError(ChambitError):
    """Something tried to reach the network during a run."""


def guard() -> None:
    """Refuse connections to other machines from now on, in this process. Cannot be undone."""
    global _installed
    if not _installed:
        sys.addaudithook(_hook)
        _installed = True


@contextmanager
def door(*hosts: str) -> Iterator[None]:
    """Let this thread, while the block lasts, look these hosts up and connect to them; all else stays closed."""
    before = _behind()
    _here.hosts = frozenset(host.lower() for host in hosts)
    try:
        yield
    finally:
        _here.hosts = before


def tally() -> Any:
    """Shared memory for workers about to be started: how many connections they tried."""
    _workers.append(multiprocessing.get_context("spawn").Value("Q"))
    return _workers[-1]


def guard_worker(tally: Any) -> None:
    """Guard this worker process and count in its coordinator's `tally`."""
    global _tally
    guard()
    _tally = tally


def attempts() -> int:
    """How many connections to other machines were tried since `guard`, here and in guarded workers."""
    # read past the lock: a worker that was ended while it held it must not stop the coordinator
    return len(_attempts) + sum(int(tally.get_obj().value) for tally in _workers)


def guarded() -> bool:
    """Whether `guard` is in force in this process."""
    return _installed


def _local(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host in ("localhost", "")  # no other name: what it leads to is not ours to say
    return address.is_loopback or address.is_unspecified


def _behind() -> frozenset[str]:
    hosts: frozenset[str] = getattr(_here, "hosts", frozenset())
    return hosts


def _addresses(host: str) -> set[str]:
    """Where a name leads now; the look-up passes the guard, because the name stands behind the open door."""
    try:
        return {str(entry[4][0]) for entry in socket.getaddrinfo(host, None)}
    except OSError:
        return set()


def _hook(name: str, arguments: tuple[Any, ...]) -> None:
    looked_up = True
    if name in ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"):
        host = arguments[0]
    elif name == "socket.getnameinfo":
        host = arguments[0][0]
    elif name in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        address = arguments[1]
        if not isinstance(address, tuple):
            return  # a Unix socket: this machine
        host, looked_up = address[0], False
    else:
        return
    text = host.decode(errors="replace") if isinstance(host, bytes) else str(host or "")
    if _local(text) or text.lower() in _behind():
        return
    # a connection shows an address alone: it passes when a name behind the door leads there
    if looked_up or not any(text in _addresses(host) for host in _behind()):
        _attempts.append(text)
        if _tally is not None:
            with _tally.get_lock():
                _tally.get_obj().value += 1
        raise EgressError(f"A connection to {text} was refused: Chambit runs offline.")
