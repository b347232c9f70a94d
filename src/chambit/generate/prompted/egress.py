"""What may leave: sentences of a plan, to the hosts that its provider names, and nothing else.

Four looks, each enough to stop a request, the first three before a socket is opened:

    text     every word of a prompt stands in the vocabulary or among the plan's own words, no run of four or more
             digits, nothing that reads like an identifier (`chambit.prepare.identifiers`), a data URI or encoded bytes
    origin   the prompt is what the plan's template makes of the request's levels, letter for letter
    body     every string of the JSON that goes out is the prompt or short and known; no field for an image or a file
    network  in this process only the listed hosts are looked up and connected to (an audit hook, as in core.offline)

A closed vocabulary is used because a name without a cue word ("chest film of Jane Roe") is recognised by no pattern.
Known failure: a name that is also a word of the vocabulary ("Young", "Foot") passes. The hook is no firewall.
"""

import ipaddress
import json
import re
import socket
import sys
from collections.abc import Collection, Iterator
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from chambit.core import offline
from chambit.core.errors import InputError, Problem
from chambit.core.offline import EgressError
from chambit.generate.prompted.plan import PromptPlan
from chambit.generate.prompted.request import Request
from chambit.prepare import identifiers

LONGEST = 2000  # characters of a prompt
_WORD = re.compile(r"[^\W\d_]+")
_DIGITS = re.compile(r"\d(?:[\d\s./-]*\d)?")
_MOST_DIGITS = 6  # in one run with separators between: '20-39' has four, a date eight, a telephone number nine or more
_ENCODED = re.compile(r"[A-Za-z0-9+/=_-]{40,}")
_STRANGE = re.compile(r"[^A-Za-z0-9 .,;:()'/+%-]")
_FIELDS_OF_PIXELS = re.compile(
    r"image_?(?:url|bytes|data)|inline_?data|file_?(?:data|uri)|mask|reference|attachment", re.I
)
_KNOWN_STRING = re.compile(r"[A-Za-z0-9_.:/-]{1,39}")


@cache
def vocabulary() -> frozenset[str]:
    """Words that every plan may use, in small letters."""
    lines = Path(__file__).with_name("vocabulary.txt").read_text(encoding="utf-8").splitlines()
    return frozenset(word for line in lines if not line.startswith("#") for word in line.split())


def text_problems(text: str, where: str, words: Collection[str] = (), known: Collection[str] = ()) -> list[Problem]:
    """Why a text may not be sent; empty when it may. What is found is named by kind and masked.

    Args:
        text: a prompt, a template or a level's words.
        where: the place, for the problem.
        words: further words that the plan vouches for.
        known: strings of a cohort that must not be found, such as its subject ids.
    """
    found = []
    if len(text) > LONGEST:
        found.append((f"{len(text):,} characters", f"at most {LONGEST:,} are sent"))
    if "data:" in text.lower() or _ENCODED.search(text) or "\x89PNG" in text:
        found.append(("encoded bytes, such as an image's", "a prompt is plain words"))
    if strange := _STRANGE.search(text):
        found.append((f"the character {strange.group()!r}", "letters a to z, digits, space and . , ; : ( ) ' / + % -"))
    for match in identifiers.find(text, known):
        found.append((f"{match.kind} ({match.masked})", "nothing of a person may be sent"))
    for run in _DIGITS.finditer(text):
        digits = re.findall(r"\d+", run.group())
        if max(map(len, digits)) > 3 or sum(map(len, digits)) > _MOST_DIGITS:
            found.append((f"the number {identifiers.masked(run.group())}", "numbers have at most three digits"))
    allowed = vocabulary() | set(words)
    if unknown := sorted({word for word in _WORD.findall(text) if word.lower() not in allowed}):
        shown = ", ".join(f"'{word}'" for word in unknown[:5])
        found.append(
            (f"{shown}: not in the vocabulary", "use another word, or add it under `words` if it names nobody")
        )
    return [Problem(where, what, remedy) for what, remedy in found]


def check_plan(plan: PromptPlan, known: Collection[str] = ()) -> None:
    """Look at every text of a plan that can become part of a prompt, before anything is asked.

    Raises:
        InputError: with every problem.
    """
    bare = re.sub(r"{\w+}", " ", plan.template)
    problems = text_problems(bare, "template", plan.words, known)
    for name, factor in plan.factors.items():
        for level, text in factor.levels.items():
            problems += text_problems(text, f"factors.{name}.{level}", plan.words, known)
    for word in plan.words:
        if identifiers.find(word, known):
            problems.append(
                Problem(f"words: {identifiers.masked(word)}", "a known string of the cohort", "take it out")
            )
    if problems:
        raise InputError("The prompt plan holds what must not be sent.", problems)


def check_request(request: Request, plan: PromptPlan, known: Collection[str] = ()) -> None:
    """Whether a request is one of the plan's own: its sentence is made again and compared.

    Raises:
        InputError: when it is not, or its text may not be sent.
    """
    if set(request.levels) != set(plan.factors) or any(
        level not in plan.factors[name].levels for name, level in request.levels.items()
    ):
        raise InputError("A request was not sent.", [Problem(request.key[:16], "its levels are not the plan's")])
    if request.prompt != plan.sentence(request.levels):
        raise InputError("A request was not sent.", [Problem(request.key[:16], "its text was not made by the plan")])
    if problems := text_problems(request.prompt, request.key[:16], plan.words, known):
        raise InputError("A request was not sent.", problems)


def check_body(body: bytes, request: Request) -> None:
    """Whether the bytes that are about to go out hold the prompt and settings alone.

    Raises:
        EgressError: naming what else was found.
    """
    try:
        content = json.loads(body)
    except ValueError:
        raise EgressError("A request was not sent: its body is no JSON, as of an upload.") from None
    said = 0
    for path, value in _leaves(content):
        if _FIELDS_OF_PIXELS.search(path):
            raise EgressError(
                f"A request was not sent: its body has the field '{path}', which carries images or files."
            )
        if isinstance(value, str) and value == request.prompt:
            said += 1
        elif isinstance(value, str) and value and not _KNOWN_STRING.fullmatch(value):
            raise EgressError(f"A request was not sent: '{path}' holds a text that is not the prompt.")
        elif isinstance(value, int) and value != request.seed and abs(value) >= 10**5:
            raise EgressError(f"A request was not sent: '{path}' holds a long number.")
    if said != 1:
        raise EgressError(f"A request was not sent: its body holds the prompt {said} times.")


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _leaves(inner, f"{path}.{name}".lstrip("."))
    elif isinstance(value, list):
        for inner in value:
            yield from _leaves(inner, path)
    else:
        yield path, value


def host_of(url: str) -> str:
    """The host of an address, in small letters."""
    return (urlsplit(url).hostname or "").lower()


def check_host(url: str, hosts: Collection[str]) -> None:
    """Whether an address is one of the listed hosts, over TLS unless it is this machine.

    Raises:
        EgressError: when it is not.
    """
    host = host_of(url)
    if host not in hosts:
        raise EgressError(f"A request was not sent: {host or 'no host'} is none of {', '.join(hosts) or 'no hosts'}.")
    if not loopback(host) and urlsplit(url).scheme != "https":
        raise EgressError(f"A request was not sent: {host} would be reached without TLS.")


def loopback(host: str) -> bool:
    """Whether a host is this machine.

    >>> loopback("127.0.0.1"), loopback("localhost"), loopback("example.org")
    (True, True, False)
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def client(request: Request, hosts: Collection[str], timeout: float) -> Any:
    """An HTTP client for official SDKs that looks at each outgoing message last of all, after the SDK has built it.

    It follows no redirect and uses no proxy of the environment, so what it reaches is a host that was looked at.
    """
    import httpx2

    def look(message: Any) -> None:
        check_host(str(message.url), hosts)
        check_body(message.read(), request)

    return httpx2.Client(event_hooks={"request": [look]}, trust_env=False, follow_redirects=False, timeout=timeout)


_allowed: set[str] = set()
_addresses: set[str] = set()
_installed = False


def only(hosts: Collection[str]) -> None:
    """From now on this process may look up and connect to these hosts and this machine alone; cannot be undone.

    A second call may narrow the list, not widen it.

    Raises:
        InputError: when a closed run forbids the network already, or another list is in force.
    """
    global _installed
    wanted = {host.lower() for host in hosts if not loopback(host)}
    if offline.guarded() and wanted:
        problem = Problem(
            ", ".join(sorted(wanted)), "this process is closed to the network", "ask with `chambit prompt run` first"
        )
        raise InputError("A closed run asks no outside service.", [problem])
    if _installed and not wanted <= _allowed:
        raise InputError("Another list of hosts is in force in this process.")
    _allowed.clear()
    _allowed.update(wanted)
    if not _installed:
        _remember_addresses()
        sys.addaudithook(_hook)
        _installed = True


def _remember_addresses() -> None:
    """Addresses that allowed names lead to are noted: a connection shows an address alone."""
    original = socket.getaddrinfo

    def noted(host: Any, *arguments: Any, **named: Any) -> Any:
        found = original(host, *arguments, **named)
        if _name(host) in _allowed:
            _addresses.update(str(entry[4][0]) for entry in found)
        return found

    socket.getaddrinfo = noted


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"):
        host, fine = _name(arguments[0]), _allowed
    elif event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        if not isinstance(arguments[1], tuple):
            return  # a Unix socket: this machine
        host, fine = _name(arguments[1][0]), _addresses | _allowed
    else:
        return
    if host and not loopback(host) and host not in fine and host not in ("0.0.0.0", "::"):
        raise EgressError(f"A connection to {host} was refused: the plan's provider is not there.")


def _name(host: Any) -> str:
    return (host.decode(errors="replace") if isinstance(host, bytes) else str(host or "")).lower()
