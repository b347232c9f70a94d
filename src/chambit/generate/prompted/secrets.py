"""Keys and libraries of providers: keys come from the environment and are written nowhere; libraries on demand."""

import importlib
import os
from types import ModuleType

from chambit.core.errors import InputError, Problem
from chambit.generate.prompted import egress

LOCAL = "no-key-needed-on-this-machine"


def of(variable: str, url: str) -> str:
    """The key in an environment variable; a server on this machine needs none.

    Raises:
        InputError: when it is not set and the address is another machine's.
    """
    secret = os.environ.get(variable, "").strip()
    if not secret and egress.loopback(egress.host_of(url)):
        return LOCAL
    if not secret:
        problem = Problem(variable, "is not set", f"export {variable}=... in the shell; it is not kept in any file")
        raise InputError("The provider needs a key.", [problem])
    return secret


def library(module: str, package: str) -> ModuleType:
    """Import a provider's library.

    Raises:
        InputError: when it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        problem = Problem(package, f"is not installed ({error})", "pip install 'chambit[prompt]'")
        raise InputError("The provider's library is missing.", [problem]) from error


def connection_errors() -> tuple[type[Exception], ...]:
    """What the libraries' HTTP client raises when no answer came."""
    import httpx2

    return (httpx2.TransportError,)
