"""A hub that is open: its folder, settings and database, in the form this version needs."""

import secrets
from pathlib import Path
from typing import NamedTuple, Self

from chambit.core.errors import InputError, Problem
from chambit.hub import accounts, database, runs, settings, studies, trail
from chambit.hub.database import Database
from chambit.hub.provider import Provider
from chambit.hub.settings import Settings
from chambit.review.board.process import State

BESIDE_A_RUN = "hub"


class Hub(NamedTuple):
    """All that the pages ask.

    Attributes:
        folder: of the hub; keys, kept hashes and, unless a URL says otherwise, the database lie in it.
        settings: of the institution.
        database: brought up to date.
        first: a word that lets the first account be made, '' once there is one.
        provider: of identities, None where the settings name none.
    """

    folder: Path
    settings: Settings
    database: Database
    first: str
    provider: Provider | None = None

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Open the hub of a folder, which is made when it is not there.

        Raises:
            InputError: when the settings cannot be used.
            StoreError: when the folder cannot be written or the database is of a newer version.
        """
        there = settings.load(folder)
        found = Database(there.database) if there.database else database.beside(folder)
        found.upgrade()
        provider = Provider(there.oidc, there.address, folder) if there.oidc else None
        return cls(folder, there, found, "" if accounts.count(found) else secrets.token_urlsafe(16), provider)

    def seen(self, study: str) -> Path:
        """Where hashes of a study's candidate are kept."""
        return self.folder / "studies" / study / runs.SEEN


def opened(path: Path) -> Hub:
    """The hub that a path means: a folder of a hub, or a finished run, whose hub lies in it and holds that one study.

    Raises:
        InputError: when the path is a file, or a folder with something else in it.
    """
    if path.is_file():
        problem = Problem(str(path), "is a file", "give the folder of a finished run, or a folder for the hub")
        raise InputError("This cannot be served.", [problem])
    if not (path / "evidence.json").is_file():
        known = {settings.NAME, "hub.sqlite"}
        there = {entry.name for entry in path.iterdir()} if path.is_dir() else set()
        if there and not there & known:
            problem = Problem(
                str(path), "is neither a finished run nor a hub",
                "give the output folder of a run (it holds evidence.json), or a new or empty folder for a hub",
            )  # fmt: skip
            raise InputError("This cannot be served.", [problem])
        return Hub.open(path)
    run = runs.read(path.resolve())
    hub = Hub.open(path / BESIDE_A_RUN)
    if not any(study.folder == run.folder for study in studies.listed(hub.database)):
        studies.register(hub.database, trail.HUB, run, State.DRAFT)
    return hub
