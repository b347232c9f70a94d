"""What an institution sets for its identity provider (OpenID Connect), under `oidc` in `hub.yaml`."""

import ipaddress
import os
import ssl
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from chambit.core.errors import InputError, Problem
from chambit.core.evidence import Frozen
from chambit.hub.accounts import ROLES

Algorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512"]
"""Signatures by a key that only the provider has; a shared secret or no signature can never be allowed."""


def private(url: str) -> bool:
    """Whether nobody between can read what goes to an address: TLS, or this machine.

    >>> private("https://id.example"), private("http://127.0.0.1:8080"), private("http://id.example")
    (True, True, False)
    """
    parts = urlsplit(url)
    if parts.scheme == "https":
        return bool(parts.hostname)
    try:
        here = ipaddress.ip_address(parts.hostname or "").is_loopback
    except ValueError:
        here = parts.hostname == "localhost"
    return parts.scheme == "http" and here


def _issuer(url: str) -> str:
    parts = urlsplit(url)
    if not private(url) or parts.query or parts.fragment or parts.username or parts.password:
        raise ValueError("an issuer is an https:// address (http:// on this machine alone) with no ?, # or @")
    return url


def _role(name: str) -> str:
    if name not in ROLES:
        raise ValueError(f"a role is one of: {', '.join(ROLES)}")
    return name


class Said(Frozen):
    """One text in Korean and English."""

    ko: str = Field(min_length=1, max_length=80)
    en: str = Field(min_length=1, max_length=80)


class Secret(Frozen):
    """Where the client's secret stands: a file, relative to the hub's folder, or a variable of the environment."""

    file: str = ""
    variable: str = ""

    @model_validator(mode="after")
    def _one(self) -> Self:
        if bool(self.file) == bool(self.variable):
            raise ValueError("name either a file or a variable")
        return self

    def read(self, folder: Path) -> str:
        """The secret itself, read whenever it is needed; '' where there is none."""
        if self.variable:
            return os.environ.get(self.variable, "").strip()
        try:
            return (folder / self.file).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError):
            return ""


class Suggested(Frozen):
    """Roles that values of a claim, such as groups, suggest to the administrator; they give nothing by themselves."""

    claim: str = Field("groups", min_length=1)
    roles: dict[str, tuple[Annotated[str, AfterValidator(_role)], ...]]


class Oidc(Frozen):
    """An identity provider, and how far it is believed.

    Attributes:
        issuer: exactly as the provider names itself; its document is below `/.well-known/openid-configuration`.
        client: id of this hub at the provider.
        secret: see `Secret`.
        label: on the button of the page for signing in.
        scopes: what is asked for; `openid` is always among it.
        person: claim that names the person.
        login: claim that the new account's login begins with.
        suggest: see `Suggested`.
        passwords: whether others than administrators may sign in with a password.
        hosts: further hosts that the provider's document may name; its own host needs no mention.
        ca: file with the certificate of the authority that signed the provider's, relative to the hub's folder; those
            that this machine trusts where it is empty.
        wait: seconds in which all that one step needs of the provider must be there.
        algorithms: signatures that are taken.
    """

    issuer: Annotated[str, Field(max_length=200), AfterValidator(_issuer)]
    client: str = Field(min_length=1, max_length=200)
    secret: Secret
    label: Said = Said(ko="병원 계정으로 로그인", en="Sign in with the hospital's account")
    scopes: tuple[str, ...] = ("openid", "profile")
    person: str = Field("name", min_length=1)
    login: str = Field("preferred_username", min_length=1)
    suggest: Suggested | None = None
    passwords: bool = True
    hosts: tuple[str, ...] = ()
    ca: str = ""
    wait: float = Field(10.0, gt=0, le=60)
    algorithms: tuple[Algorithm, ...] = Field(("RS256", "PS256", "ES256"), min_length=1)

    @property
    def host(self) -> str:
        """The provider's own host."""
        return urlsplit(self.issuer).hostname or ""

    @property
    def known(self) -> frozenset[str]:
        """Hosts that the provider's document may name."""
        return frozenset({self.host, *(host.lower() for host in self.hosts)})

    @property
    def scope(self) -> str:
        """The scopes as they are asked for."""
        return " ".join(dict.fromkeys(("openid", *self.scopes)))

    def trust(self, folder: Path) -> ssl.SSLContext:
        """How the provider's certificate is checked."""
        return ssl.create_default_context(cafile=str(folder / self.ca) if self.ca else None)


def usable(given: Oidc, path: Path) -> None:
    """Whether what the settings point at is there.

    Raises:
        InputError: when the secret or the authority's certificate is not; neither is repeated.
    """
    problems = []
    if not given.secret.read(path.parent):
        where = given.secret.file or f"${given.secret.variable}"
        remedy = "write the client's secret there; the provider shows it with the client's settings"
        problems.append(Problem(f"{path}: oidc.secret", f"{where} is missing, empty or unreadable", remedy))
    try:
        if given.ca:
            given.trust(path.parent)
    except OSError as error:  # ssl.SSLError is one
        remedy = "give the authority's certificate as a PEM file"
        problems.append(Problem(f"{path}: oidc.ca", f"{given.ca} cannot be used: {error.strerror or error}", remedy))
    if problems:
        raise InputError("The identity provider in the settings of the hub cannot be used.", problems)
