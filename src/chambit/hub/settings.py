"""What an institution sets for its hub, in `hub.yaml` in its folder; the defaults work on one machine."""

from pathlib import Path
from typing import Self

import yaml
from pydantic import Field, ValidationError, model_validator

from chambit.core import yamlfile
from chambit.core.errors import InputError, Problem
from chambit.core.evidence import Frozen
from chambit.hub import oidc
from chambit.hub.oidc import Oidc

NAME = "hub.yaml"


class Life(Frozen):
    """Seconds a session lasts: `idle` without a request, `whole` in any case."""

    idle: float = Field(3600.0, gt=0)
    whole: float = Field(12 * 3600.0, gt=0)


class Limits(Frozen):
    """Requests let through: in `window` seconds `requests` of one session or address, and `logins` of one address.

    `body` is the largest request in bytes.
    """

    window: float = Field(10.0, gt=0)
    requests: int = Field(300, ge=1)
    logins: int = Field(30, ge=1)
    body: int = Field(8 * 1024 * 1024, ge=1024)


class Exhibition(Frozen):
    """Whether visitors without an account may see the exhibition of open sets, as on a screen in a lobby."""

    visitors: bool = False


class Settings(Frozen):
    """All of it.

    Attributes:
        title: name of the hub, on every page.
        database: SQLAlchemy URL; SQLite in the folder where it is empty.
        address: how people reach the hub, such as `https://chambit.hospital.example`; of links in messages, and cookies
            are sent over https alone where it begins with that.
        hosts: names under which it answers; those of this machine where it is empty.
        policy: whose settings the board works by.
        session: see `Life`.
        limits: see `Limits`.
        oidc: an identity provider beside the local accounts; see `chambit.hub.oidc`.
        exhibition: see `Exhibition`.
    """

    title: str = "Chambit"
    database: str = ""
    address: str = ""
    hosts: tuple[str, ...] = ()
    policy: str = "default"
    session: Life = Life()
    limits: Limits = Limits()
    oidc: Oidc | None = None
    exhibition: Exhibition = Exhibition()

    @model_validator(mode="after")
    def _address(self) -> Self:
        if self.address and not self.address.startswith(("http://", "https://")):
            raise ValueError("address begins with http:// or https://")
        if self.oidc and not oidc.private(self.address):
            raise ValueError("with oidc, address says how people reach the hub: https://, or http:// on this machine")
        return self

    @property
    def secure(self) -> bool:
        """Whether people reach the hub over https."""
        return self.address.startswith("https://")


def load(folder: Path) -> Settings:
    """The settings of a hub's folder; the defaults where there is no file.

    Raises:
        InputError: when the file is not YAML, or says something unknown or impossible; every problem is named.
    """
    path = folder / NAME
    if not path.exists():
        return Settings()
    try:
        found = Settings.model_validate(yamlfile.read(path) or {})
    except ValidationError as error:
        problems = [
            Problem(f"{path}: {'.'.join(map(str, one['loc'])) or 'the file'}", one["msg"], "see docs/hub.md")
            for one in error.errors()
        ]
        raise InputError("The settings of the hub cannot be used.", problems) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError("The settings of the hub are not YAML.", [Problem(str(path), str(error), "mend it")]) from None
    if found.oidc:
        oidc.usable(found.oidc, path)
    return found
