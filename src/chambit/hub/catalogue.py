"""The catalogue: which sets are shown to whom, and how much of each.

A set that was approved is shown to every account, any other to those with a part in it. How much of it is shown follows
from the tier of the decision in force: all images of an open set, a sample of a gated one or one for a safe zone.
"""

import json
import threading
import time
from typing import NamedTuple

import sqlalchemy as sql

from chambit.core.evidence import Frozen
from chambit.hub import board, desk, signing, studies
from chambit.hub.accounts import Account
from chambit.hub.hub import Hub
from chambit.hub.imagetable import Images, Reach
from chambit.hub.refusals import NotThereError
from chambit.hub.studies import Study
from chambit.hub.tables import event
from chambit.review.board import decision
from chambit.review.board.ballot import Tier
from chambit.review.board.process import State
from chambit.review.board.words import BoardError

SHOWN = (State.APPROVED, State.RELEASED, State.MONITORED)
"""States in which every account may know of a set."""
FRESH = 30.0
"""Seconds after which a set is compared with the registered one again."""
QUICK = 0.25
"""Seconds: a comparison that takes longer is repeated behind the pages, and at most a twentieth of the time."""


class Grant(Frozen):
    """What the decision in force allows.

    Attributes:
        tier: '' where nothing is decided, or nothing that holds.
        until: last day of the approval, ISO.
        conditions: what it asks for, open and closed.
    """

    tier: Tier = ""
    until: str = ""
    conditions: tuple[str, ...] = ()


class View(NamedTuple):
    """A set as one account may see it.

    Attributes:
        study: the set.
        grant: what was decided.
        mine: whether the account has a part in it, or is a steward.
        same: whether it is the registered set, as far as it was looked at.
    """

    study: Study
    grant: Grant
    mine: bool
    same: bool

    @property
    def reach(self) -> Reach:
        """Which of its images the account may look at."""
        if self.mine or self.grant.tier == "open":
            return "all"
        return "sample" if self.grant.tier else "none"

    @property
    def images(self) -> Images:
        """The images the account may look at."""
        return Images(self.study.folder, self.reach)


def listed(hub: Hub, account: Account) -> list[View]:
    """Every set an account may know of, the one that changed last first; none is compared with what lies on disk."""
    own = studies.parts_of(hub.database, account.id)
    found = []
    for study in studies.listed(hub.database):
        mine = study.id in own or account.has("steward")
        if mine or study.state in SHOWN:
            found.append(View(study, granted(hub, study), mine, True))
    return found


def of(hub: Hub, account: Account, name: str) -> View:
    """One set, compared with the registered one.

    Raises:
        NotThereError: when there is none for this account, or its files were changed and it has no part in it.
    """
    study = studies.of(hub.database, name)
    mine = account.has("steward") or account.id in studies.parts(hub.database, name)
    if not mine and study.state not in SHOWN:
        raise NotThereError("그런 세트가 없습니다.", "There is no such set.")
    same = registered(hub, study)
    study = studies.of(hub.database, name)
    if not same and not mine:
        raise NotThereError(
            "이 세트는 등록된 것과 달라져 목록에서 내렸습니다.",
            "This set is no longer the one that was registered and was taken from the catalogue.",
        )
    return View(study, granted(hub, study), mine, same)


_kept: dict[tuple[object, ...], tuple[float, Grant]] = {}


def granted(hub: Hub, study: Study) -> Grant:
    """What the decision in force allows; nothing where none was made, or none that holds."""
    if study.state not in SHOWN:
        return Grant()
    key = (hub.folder, study.id, study.candidate, study.changed)
    found = _kept.get(key)
    if found is None or time.monotonic() - found[0] > FRESH:
        _kept[key] = found = time.monotonic(), _granted(hub, study)
    return found[1]


def _granted(hub: Hub, study: Study) -> Grant:
    query = sql.select(event.c.body).where(event.c.about == study.id, event.c.kind == "study.moved")
    with hub.database.reading() as connection:
        bodies = connection.execute(query.order_by(event.c.number.desc())).scalars().all()
    standing = next((said for said in map(_decision_of, bodies) if said), "")
    known, rules = signing.known(hub.database), desk.rules_of(hub)
    for given in desk.decisions(hub, study.id).values():
        try:
            signed = decision.verified(given, known, rules, candidate=study.candidate)
        except BoardError:
            continue
        made = signed.decision
        if signed.digest == standing and made.outcome.approves:
            return Grant(
                tier=made.tier, until=str(made.until or ""), conditions=tuple(one.text for one in made.conditions)
            )
    return Grant()


def _decision_of(body: str) -> str:
    return str(json.loads(body).get("decision", ""))


class _Look(NamedTuple):
    """When a set was compared, how many seconds it took, and whether it was the registered one."""

    at: float
    took: float
    same: bool


_looks: dict[tuple[object, ...], _Look] = {}
_busy: set[tuple[object, ...]] = set()
_looking = threading.Lock()


def registered(hub: Hub, study: Study) -> bool:
    """Whether a set is the registered one, known for half a minute.

    Comparing lists every file, seconds for a hundred thousand; meanwhile the last answer stands.
    """
    key = (hub.folder, study.id, study.candidate, study.changed)
    found = _looks.get(key)
    age = time.monotonic() - found.at if found else 0.0
    if found is None or (age > FRESH and found.took < QUICK):
        return _look(hub, study, key, found)
    if age > max(FRESH, 20 * found.took) and key not in _busy:
        _busy.add(key)
        threading.Thread(target=_look, args=(hub, study, key, found), daemon=True).start()
    return found.same


def _look(hub: Hub, study: Study, key: tuple[object, ...], before: _Look | None) -> bool:
    with _looking:
        there = _looks.get(key)
        if there is not None and there is not before:  # another request has just looked
            return there.same
        begun = time.monotonic()
        try:
            same = board.checked(hub, study.id)
            _looks[key] = _Look(time.monotonic(), time.monotonic() - begun, same)
        finally:
            _busy.discard(key)
        return same
