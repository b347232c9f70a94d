"""Reader studies in the hub: frozen before the first vote, read under pseudonyms, analysed when they are closed.

A vote is acknowledged when it is on disk, together with its event; a reader who comes back goes on where the last
acknowledged vote was. The order of each reader follows from the protocol, so nothing of it needs to be kept.
"""

import json
import secrets
import time
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import sqlalchemy as sql
from pydantic import ValidationError

from chambit.core import digest
from chambit.core.errors import StudyError
from chambit.core.evidence import Finding, Frozen
from chambit.hub import experts, material, studies, trail
from chambit.hub.hub import Hub
from chambit.hub.refusals import HubError, NotAllowedError, NotThereError
from chambit.hub.tables import reading, seat, vote
from chambit.reading import analysis, trials
from chambit.reading import protocol as protocols
from chambit.reading.protocol import Protocol
from chambit.reading.trials import Trial
from chambit.reading.votes import Reader, Vote
from chambit.review import policy

BLOCK = "reading"


class Rules(Frozen):
    """What the policy asks of a reader study; see parts/reading.yaml."""

    margin: float
    level: float
    readers_least: int
    outside_least: int
    images_least: int
    block: int
    repeats: float
    practice: int
    finished: float
    telltales: tuple[str, ...]
    telltale: float
    telltale_p: float
    permutations: int
    cells: int
    pixels: int
    bits: int


class Reading(NamedTuple):
    """A reader study: its protocol, the study whose set is read, where its pictures lie, and whether it is open."""

    id: str
    study: str
    protocol: Protocol
    created: float
    state: str
    folder: Path


class Seat(NamedTuple):
    """A reader of one study."""

    account: str
    number: int
    pseudonym: str
    outside: bool
    experience: str
    done: int


class Now(NamedTuple):
    """What a reader sees next: the trial, None when all is done; how many are done, and of how many."""

    trial: Trial | None
    done: int
    of: int
    pause: bool


def rules(hub: Hub) -> Rules:
    """What the hub's policy asks.

    Raises:
        StudyError: when the policy does not say.
    """
    used = policy.load(hub.settings.policy, hub.folder)
    try:
        return Rules.model_validate(used.settings[BLOCK])
    except (KeyError, ValidationError) as error:
        raise StudyError(f"The policy says nothing valid about reader studies: {error}") from None


def plan(hub: Hub, by: str, name: str, title: Mapping[str, str], images: int, plausibility: bool) -> Reading:
    """Freeze a protocol and draw its pictures, before anybody has read one.

    Args:
        hub: where it is.
        by: account id of the steward.
        name: of the study whose set is read.
        title: `ko` and `en`.
        images: of each kind.
        plausibility: whether readers also judge label and quality.

    Raises:
        HubError: when fewer images are asked for than the policy wants, or a kind gives itself away.
        InputError: when there are too few images.
    """
    asked, there = rules(hub), studies.of(hub.database, name)
    if 2 * images < asked.images_least:
        raise HubError(
            f"기준은 적어도 {asked.images_least}장입니다.", f"The policy asks for {asked.images_least} images at least."
        )
    sets = material.sets_of(there.folder)
    made = protocols.read(_protocol(asked, title, images, plausibility, sets.holdout, there.candidate))
    number = 1 + sum(one.study == name for one in listed(hub))
    key = f"{name}-r{number}"
    folder = hub.folder / material.FOLDER / key
    drawn = material.draw(folder, made, sets, material.screen_of(sets, asked.pixels, asked.bits))
    looked = [one for one in drawn.telltales if one.name in asked.telltales]
    given_away = [one for one in looked if one.told > asked.telltale and one.p < asked.telltale_p]
    if given_away:
        one = given_away[0]
        # drawing again until a sample passes must not go unseen
        with hub.database.writing() as connection:
            told = {"number": one.name, "told": round(one.told, 4), "p": one.p, "images": images}
            trail.append(connection, by, "reading.refused", name, told)
        raise HubError(
            f"그림을 읽지 않아도 '{one.name}'만으로 {one.told:.0%} 구별됩니다. 만든 과정을 고친 뒤에 다시 하십시오.",
            f"'{one.name}' alone tells the kinds apart in {one.told:.0%} of pairs. Mend that first.",
        )
    row = {"id": key, "study": name, "protocol": digest.canonical(made.model_dump(mode="json")), "digest": made.digest}
    with hub.database.writing() as connection:
        connection.execute(reading.insert().values(**row, created=time.time(), state="open"))
        trail.append(connection, by, "reading.frozen", name, {"reading": key, "protocol": made.digest})
    return of(hub, key)


def listed(hub: Hub, name: str | None = None) -> list[Reading]:
    """Reader studies, all or of one study, oldest first."""
    query = sql.select(reading).order_by(reading.c.created)
    with hub.database.reading() as connection:
        rows = connection.execute(query if name is None else query.where(reading.c.study == name)).all()
    return [_reading(hub, row) for row in rows]


def of(hub: Hub, key: str) -> Reading:
    """One reader study.

    Raises:
        NotThereError: when there is none.
    """
    with hub.database.reading() as connection:
        row = connection.execute(sql.select(reading).where(reading.c.id == key)).first()
    if row is None:
        raise NotThereError("그런 판독 연구가 없습니다.", "There is no such reader study.")
    return _reading(hub, row)


def invite(hub: Hub, by: str, one: Reading, account: str, outside: bool, experience: str) -> Seat:
    """Give a person a seat; who made or steers the set does not read it.

    Raises:
        NotAllowedError: when the person has not the part of a reader in the study.
    """
    if "reader" not in studies.parts(hub.database, one.study).get(account, set()):
        raise NotAllowedError(
            "먼저 이 사람을 연구의 판독의로 지정해 주십시오.",
            "Give this person the part of a reader in the study first.",
        )
    there = seats(hub, one)
    if account in there:
        return there[account]
    values = {
        "reading": one.id, "account": account, "number": len(there), "pseudonym": f"r{secrets.token_hex(3)}",
        "outside": outside, "experience": experience[:200],
    }  # fmt: skip
    with hub.database.writing() as connection:
        connection.execute(seat.insert().values(**values))
        body = {"reading": one.id, "pseudonym": values["pseudonym"], "outside": outside}
        trail.append(connection, by, "reading.invited", one.study, body)
    return seats(hub, one)[account]


def seats(hub: Hub, one: Reading) -> dict[str, Seat]:
    """Who reads, by account, in the order of invitation, and how many presentations each has answered."""
    counted = sql.select(vote.c.number, sql.func.count().label("done")).where(vote.c.reading == one.id)
    with hub.database.reading() as connection:
        rows = connection.execute(sql.select(seat).where(seat.c.reading == one.id).order_by(seat.c.number)).all()
        done = {row.number: row.done for row in connection.execute(counted.group_by(vote.c.number))}
    return {
        row.account: Seat(
            row.account, row.number, row.pseudonym, bool(row.outside), row.experience, done.get(row.number, 0)
        )
        for row in rows
    }


def seat_of(hub: Hub, one: Reading, account: str) -> Seat:
    """The seat of a reader.

    Raises:
        NotThereError: when the person was not invited.
    """
    found = seats(hub, one).get(account)
    if found is None:
        raise NotThereError("이 판독 연구에 초대되지 않았습니다.", "You were not invited to this reader study.")
    return found


def next_of(hub: Hub, one: Reading, mine: Seat) -> Now:
    """What a reader sees next; a pause is due where a block has just ended."""
    plan_ = _plan(one.protocol, mine.number, material.secret(one.folder))
    done = _answered(hub, one, mine)
    at = next((trial for trial in plan_ if trial.id not in done), None)
    before = plan_[at.position - 1] if at is not None and at.position else None
    return Now(at, len(done), len(plan_), before is not None and at is not None and before.block != at.block)


def picture(hub: Hub, one: Reading, mine: Seat, trial: str) -> bytes:
    """The grey levels of the presentation that is due, and of no other.

    Raises:
        NotThereError: for a trial that is not the reader's next one.
    """
    due = next_of(hub, one, mine).trial
    if due is None or due.id != trial:
        raise NotThereError("지금 볼 영상이 아닙니다.", "This image is not the one that is due.")
    return material.pixels(one.folder, due.item)


def cast(hub: Hub, one: Reading, mine: Seat, trial: str, answer: Mapping[str, Any]) -> None:
    """Take a reader's answer; when this returns it is on disk.

    The same answer again, as after a lost reply, is fine; another one for the same image is refused.

    Raises:
        HubError: when the study is closed, the answer is not of the right form, or the trial is not the one due.
    """
    plan_ = {each.id: each for each in _plan(one.protocol, mine.number, material.secret(one.folder))}
    shown = plan_.get(trial)
    if shown is None:
        raise NotThereError("이런 영상이 없습니다.", "There is no such image.")
    given = _vote(one, mine, shown, answer)
    body = digest.canonical(given.model_dump(mode="json"))
    with hub.database.writing() as connection:
        old = connection.execute(
            sql.select(vote.c.body).where(vote.c.reading == one.id, vote.c.trial == trial)
        ).scalar()
        if old is not None:
            _same(old, given)
            return
        if connection.execute(sql.select(reading.c.state).where(reading.c.id == one.id)).scalar() != "open":
            raise HubError("이 판독 연구는 닫혔습니다.", "This reader study is closed.")
        done = connection.execute(
            sql.select(sql.func.count()).where(vote.c.reading == one.id, vote.c.number == mine.number)
        ).scalar_one()
        if done != shown.position:
            raise HubError("지금 답할 영상이 아닙니다.", "This image is not the one that is due.")
        connection.execute(
            vote.insert().values(reading=one.id, trial=trial, number=mine.number, position=shown.position, body=body)
        )
        told = {"reading": one.id, "reader": mine.pseudonym, "trial": trial, "digest": digest.of_bytes(body.encode())}
        trail.append(connection, trail.HUB, "vote.cast", one.study, told)


def votes(hub: Hub, one: Reading) -> list[Vote]:
    """Every vote."""
    query = sql.select(vote.c.body).where(vote.c.reading == one.id).order_by(vote.c.number, vote.c.position)
    with hub.database.reading() as connection:
        return [Vote.model_validate_json(body) for body in connection.execute(query).scalars()]


def close(hub: Hub, by: str, one: Reading) -> None:
    """End a reader study: no more votes, the analysis may be looked at, and its findings become evidence."""
    with hub.database.writing() as connection:
        connection.execute(reading.update().where(reading.c.id == one.id).values(state="closed"))
        trail.append(connection, by, "reading.closed", one.study, {"reading": one.id})
    analysed(hub, of(hub, one.id), by)


def analysed(hub: Hub, one: Reading, by: str = trail.HUB) -> list[Finding]:
    """What the votes show; nothing where nobody read.

    The first look keeps the findings as evidence of the study, also where the hub stopped between closing and that.

    Raises:
        HubError: while the study is open: there are no interim looks.
    """
    if one.state != "closed":
        raise HubError("판독 연구를 닫은 뒤에 분석합니다.", "Close the reader study first: there are no interim looks.")
    asked = rules(hub)
    options = analysis.Options(
        finished=asked.finished, permutations=asked.permutations, cells=asked.cells, seed=one.protocol.seed
    )
    people = [
        Reader(pseudonym=each.pseudonym, outside=each.outside, experience=each.experience)
        for each in seats(hub, one).values()
    ]
    cast_ = votes(hub, one)
    found = analysis.analysed(one.protocol, cast_, options, people) if cast_ else []
    experts.add(hub.database, by, one.study, one.id, f"/readings/{one.id}/results", found)
    return found


def _protocol(
    asked: Rules, title: Mapping[str, str], images: int, plausibility: bool, holdout: str, candidate: str
) -> dict[str, object]:
    return {
        "title": dict(title), "tasks": ("authenticity", "plausibility") if plausibility else ("authenticity",),
        "reject_reasons": REASONS if plausibility else (), "real": images, "synthetic": images,
        "margin": asked.margin, "level": asked.level, "readers_least": asked.readers_least,
        "outside_least": asked.outside_least, "block": asked.block, "repeats": asked.repeats,
        "practice": asked.practice, "seed": secrets.randbelow(2**31), "holdout": holdout, "candidate": candidate,
        "ratio_told": False,
    }  # fmt: skip


REASONS = (
    {"name": "anatomy", "words": {"ko": "해부학적으로 맞지 않음", "en": "anatomy is wrong"}},
    {"name": "finding", "words": {"ko": "소견이 라벨과 다름", "en": "finding is not as labelled"}},
    {"name": "texture", "words": {"ko": "질감·잡음이 어색함", "en": "texture or noise is odd"}},
    {"name": "artefact", "words": {"ko": "설명되지 않는 허상", "en": "an artefact nothing explains"}},
)


@lru_cache(maxsize=256)
def _plan(made: Protocol, number: int, secret: bytes) -> tuple[Trial, ...]:
    return trials.plan(made, number, secret)


def _answered(hub: Hub, one: Reading, mine: Seat) -> set[str]:
    query = sql.select(vote.c.trial).where(vote.c.reading == one.id, vote.c.number == mine.number)
    with hub.database.reading() as connection:
        return set(connection.execute(query).scalars())


def _vote(one: Reading, mine: Seat, shown: Trial, answer: Mapping[str, Any]) -> Vote:
    known = {reason.name for reason in one.protocol.reject_reasons}
    try:
        given = Vote.model_validate(
            {
                **answer, "study": one.protocol.digest, "reader": mine.pseudonym, "trial": shown.id,
                "item": shown.item, "kind": shown.kind, "repeat": shown.repeat, "practice": shown.practice,
                "position": shown.position, "block": shown.block,
            }
        )  # fmt: skip
    except ValidationError as error:
        where = ", ".join(sorted({".".join(map(str, each["loc"])) for each in error.errors()}))
        raise HubError(f"답이 맞지 않습니다: {where}", f"The answer is not of the right form: {where}") from None
    second = "plausibility" in one.protocol.tasks
    if (given.plausibility is not None) != second or (given.plausibility and set(given.plausibility.reject) - known):
        raise HubError("두 번째 과제의 답이 맞지 않습니다.", "The answer to the second task is not of the right form.")
    return given


def _same(old: str, given: Vote) -> None:
    there = json.loads(old)
    if (there["score"], there["plausibility"]) != (given.score, given.model_dump(mode="json")["plausibility"]):
        raise HubError(
            "이미 답한 영상입니다. 답은 바꿀 수 없습니다.", "This image was answered. Answers are not changed."
        )


def _reading(hub: Hub, row: Any) -> Reading:
    made = Protocol.model_validate_json(row.protocol)
    return Reading(row.id, row.study, made, row.created, row.state, hub.folder / material.FOLDER / row.id)
