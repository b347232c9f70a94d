"""Studies under review: registering a finished run, who has which part in it, and whether its set is still the same.

What may follow from what stands in `chambit.review.board.process`; here its table is asked, and what happened is
written down together with an event of the trail.
"""

import json
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import sqlalchemy as sql

from chambit.hub import runs, trail
from chambit.hub.accounts import Account
from chambit.hub.database import Database
from chambit.hub.refusals import HubError, NotAllowedError, NotThereError
from chambit.hub.runs import Run
from chambit.hub.tables import candidate, part, study

PARTS = ("creator", "generator", "inspector", "reader", "member", "approver")
"""What a person is in one study. Whoever made the set neither reviews nor approves it, and no reviewer approves it."""
APART = (
    ({"creator", "generator"}, {"inspector", "reader", "member", "approver"}),
    ({"inspector", "reader", "member"}, {"approver"}),
)
ROLE_OF = {"creator": "steward"}
"""The role an account needs for a part, where it is not of the same name."""


class Study(NamedTuple):
    """A study of the hub: where it lies, where it stands, and the digest of its set as it was last seen."""

    id: str
    folder: Path
    title: str
    state: str
    candidate: str
    created: float
    changed: float


class Candidate(NamedTuple):
    """One state of a study's set that the hub has seen: what was measured on it, and when it was found."""

    digest: str
    evidence: str
    registered: str
    policy: dict[str, Any]
    verdict: str
    images: int
    found: float


def listed(database: Database) -> list[Study]:
    """All studies, the one that changed last first."""
    with database.reading() as connection:
        return [_study(row) for row in connection.execute(sql.select(study).order_by(study.c.changed.desc()))]


def of(database: Database, name: str) -> Study:
    """One study by its id.

    Raises:
        NotThereError: when there is none.
    """
    with database.reading() as connection:
        row = connection.execute(sql.select(study).where(study.c.id == name)).first()
    if row is None:
        raise NotThereError("그런 연구가 없습니다.", "There is no such study.")
    return _study(row)


def candidates(database: Database, name: str) -> list[Candidate]:
    """Every state of a study's set, newest first."""
    query = sql.select(candidate).where(candidate.c.study == name).order_by(candidate.c.found.desc())
    with database.reading() as connection:
        rows = connection.execute(query).mappings().all()
    return [Candidate(**{field: row[field] for field in Candidate._fields}) for row in rows]


def register(database: Database, by: str, run: Run, state: str, now: float | None = None) -> Study:
    """Take a finished run into the hub; whoever hands it in is its creator.

    Args:
        database: of the hub.
        by: account id of the steward, or `trail.HUB`.
        run: what lies in the folder.
        state: where the study stands.
        now: the time.

    Raises:
        HubError: when this folder is registered already.
    """
    now = time.time() if now is None else now
    with database.writing() as connection:
        if connection.execute(sql.select(study.c.id).where(study.c.folder == str(run.folder))).first():
            raise HubError("이 폴더는 이미 등록되어 있습니다.", "This folder is registered already.")
        taken = set(connection.execute(sql.select(study.c.id)).scalars())
        name = _named(run.title, run.folder, taken)
        connection.execute(
            study.insert().values(
                id=name, folder=str(run.folder), title=run.title, state=state, candidate=run.candidate, created=now,
                changed=now,
            )
        )  # fmt: skip
        _add_candidate(connection, name, run, now)
        if by != trail.HUB:
            connection.execute(part.insert().values(study=name, account=by, part="creator", given=now))
        body = {"candidate": run.candidate, "evidence": run.evidence, "verdict": run.verdict, "state": state}
        trail.append(connection, by, "study.registered", name, body)
    return of(database, name)


def moved(
    connection: sql.Connection, by: str, name: str, state: str, body: Mapping[str, Any], now: float | None = None
) -> None:
    """Write that a study stands elsewhere now, in a transaction of the act that moved it."""
    now = time.time() if now is None else now
    connection.execute(study.update().where(study.c.id == name).values(state=state, changed=now))
    trail.append(connection, by, "study.moved", name, {"state": state} | dict(body))


def looked_at(database: Database, name: str, seen: Path, thoroughly: bool = False) -> tuple[Study, bool]:
    """Look at a study's set again; returns the study, and whether the set is still the one that is known.

    Args:
        database: of the hub.
        name: of the study.
        seen: file that keeps hashes of what was read, see `runs.candidate_digest`.
        thoroughly: read every byte, as for a decision.
    """
    there = of(database, name)
    now = runs.candidate_digest(there.folder, None if thoroughly else seen)
    return there, now == there.candidate


def renew(database: Database, by: str, name: str, run: Run, state: str, now: float | None = None) -> Study:
    """Take another state of a study's set as the one under review; decisions stay with the one they were made of."""
    now = time.time() if now is None else now
    with database.writing() as connection:
        there = connection.execute(sql.select(study).where(study.c.id == name)).first()
        if there is None:
            raise NotThereError("그런 연구가 없습니다.", "There is no such study.")
        _add_candidate(connection, name, run, now)
        connection.execute(
            study.update().where(study.c.id == name).values(
                candidate=run.candidate, state=state, title=run.title, changed=now
            )
        )  # fmt: skip
        body = {"before": there.candidate, "candidate": run.candidate, "evidence": run.evidence, "state": state}
        trail.append(connection, by, "study.candidate_changed", name, body)
    return of(database, name)


def parts(database: Database, name: str) -> dict[str, set[str]]:
    """What each account is in a study."""
    with database.reading() as connection:
        rows = connection.execute(sql.select(part).where(part.c.study == name)).all()
    found: dict[str, set[str]] = {}
    for row in rows:
        found.setdefault(row.account, set()).add(row.part)
    return found


def parts_of(database: Database, who: str) -> dict[str, set[str]]:
    """What an account is in each study it has a part in."""
    with database.reading() as connection:
        rows = connection.execute(sql.select(part).where(part.c.account == who)).all()
    found: dict[str, set[str]] = {}
    for row in rows:
        found.setdefault(row.study, set()).add(row.part)
    return found


def give_part(database: Database, by: str, name: str, who: Account, what: str, now: float | None = None) -> None:
    """Give a person a part in a study.

    Raises:
        HubError: when the person made the set and should review or approve it, or reviews it and should approve it.
        NotAllowedError: when the account has not the role.
    """
    now = time.time() if now is None else now
    needed = ROLE_OF.get(what, what)
    if what not in PARTS or not who.has(needed):
        raise NotAllowedError(
            "이 계정에는 그 역할이 없습니다. 관리자가 역할을 먼저 주어야 합니다.",
            f"The account has not the role '{needed}'. An administrator gives roles.",
        )
    with database.writing() as connection:
        rows = connection.execute(sql.select(part.c.part).where(part.c.study == name, part.c.account == who.id))
        has = set(rows.scalars())
        if what in has:
            return
        apart_from(has | {what})
        connection.execute(part.insert().values(study=name, account=who.id, part=what, given=now))
        trail.append(connection, by, "part.given", name, {"account": who.id, "part": what})


def take_part(database: Database, by: str, name: str, who: str, what: str) -> None:
    """Take a part in a study away from a person."""
    with database.writing() as connection:
        gone = connection.execute(
            part.delete().where(part.c.study == name, part.c.account == who, part.c.part == what)
        ).rowcount
        if gone:
            trail.append(connection, by, "part.taken", name, {"account": who, "part": what})


def apart_from(has: set[str]) -> None:
    """Refuse parts that one person must not have together."""
    for some, others in APART:
        if has & some and has & others:
            raise HubError(
                "만든 사람, 검토하는 사람, 승인하는 사람은 서로 달라야 합니다. 다른 사람을 지정해 주십시오.",
                "Whoever made, reviews and approves a set must be different people. Name somebody else.",
            )


def _add_candidate(connection: sql.Connection, name: str, run: Run, now: float) -> None:
    key = (candidate.c.study == name) & (candidate.c.digest == run.candidate)
    connection.execute(candidate.delete().where(key))
    connection.execute(
        candidate.insert().values(
            study=name, digest=run.candidate, evidence=run.evidence, registered=run.registered,
            policy=json.loads(json.dumps(run.policy)), verdict=run.verdict, images=run.images, found=now,
        )
    )  # fmt: skip


def _named(title: str, folder: Path, taken: set[str]) -> str:
    """A short id: of the title's Latin letters, else of the folder's name; with a number where it is taken."""
    latin = re.sub(r"[^a-z0-9]+", "-", title.rsplit("/", 1)[-1].lower()).strip("-")
    base = (latin or re.sub(r"[^a-z0-9]+", "-", folder.name.lower()).strip("-") or "study")[:50].strip("-")
    name, number = base, 2
    while name in taken:
        name, number = f"{base}-{number}", number + 1
    return name


def _study(row: Any) -> Study:
    return Study(row.id, Path(row.folder), row.title, row.state, row.candidate, row.created, row.changed)
