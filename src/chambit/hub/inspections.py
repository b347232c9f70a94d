"""Specialists' inspections in the hub: planned and frozen before the first judgement, judged, closed, and then told.

The sample is drawn from the registered set alone, by its digest. A set that was mended is another candidate: it has an
inspection of its own with a sample drawn anew, in which images that have not changed keep their judgement.
"""

import secrets
import time
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import polars as pl
import sqlalchemy as sql
from pydantic import Field, ValidationError

from chambit.core import digest
from chambit.core.errors import StudyError
from chambit.core.evidence import Finding, Frozen
from chambit.hub import board, experts, imagetable, judgements, studies, trail
from chambit.hub.hub import Hub
from chambit.hub.imagetable import Images
from chambit.hub.refusals import HubError, NotAllowedError, NotThereError
from chambit.hub.tables import inspection, inspector, judgement
from chambit.reading import inspected, sampleplan
from chambit.reading.inspected import Result
from chambit.reading.protocol import Reason, Words
from chambit.reading.sampleplan import Decision, Quality, SamplePlan, Unit
from chambit.review import policy

BLOCK = "inspecting"
MIXED = "—"
"""The stratum of a film or volume whose frames have several values."""


class Rules(Frozen):
    """What the policy asks of an inspection; see parts/inspecting.yaml."""

    limit: float = Field(gt=0, lt=1)
    risk: float = Field(gt=0, lt=0.5)
    good: float
    good_risk: float
    counted: tuple[Decision, ...]
    double: float = Field(ge=0, le=1)
    inspectors_least: int = Field(ge=1)
    stratum_least: int = Field(ge=1)
    level: float
    agreement: float
    mends: tuple[Reason, ...]
    reasons: tuple[Reason, ...]


class Asked(NamedTuple):
    """What a steward asks for: words, strata, quality and people; shares between 0 and 1, accounts by their ids."""

    title: Mapping[str, str]
    question: Mapping[str, str]
    column: str
    limit: float
    confidence: float
    double: float
    accounts: Sequence[str]


class Inspection(NamedTuple):
    """An inspection: the study whose set is looked at, its plan, when it was frozen, and whether it is open."""

    id: str
    study: str
    plan: SamplePlan
    created: float
    state: str


class Inspector(NamedTuple):
    """Somebody who inspects: account, number, pseudonym, and how many images are judged of how many."""

    account: str
    number: int
    pseudonym: str
    done: int
    of: int


def rules(hub: Hub) -> Rules:
    """What the hub's policy asks.

    Raises:
        StudyError: when the policy does not say.
    """
    used = policy.load(hub.settings.policy, hub.folder)
    try:
        return Rules.model_validate(used.settings[BLOCK])
    except (KeyError, ValidationError) as error:
        raise StudyError(f"The policy says nothing valid about inspections: {error}") from None


def plan(hub: Hub, by: str, name: str, asked: Asked) -> Inspection:
    """Freeze a plan and draw its sample, before anybody has looked at an image of it.

    Args:
        hub: where it is.
        by: account id of the steward.
        name: of the study whose set is inspected.
        asked: for at least what the policy wants.

    Raises:
        HubError: when the set is not the registered one or has no table, less is asked than the policy wants, or
            another inspection of this study is open.
        NotAllowedError: when somebody is no inspector of this study, or made its set.
    """
    wanted = rules(hub)
    if not board.checked(hub, name):
        raise HubError(
            "영상 세트가 등록된 것과 다릅니다. 다시 측정해 등록한 뒤에 검수를 여십시오.",
            "The set is not the one that was registered. Measure and register it again, then plan the inspection.",
        )
    there = studies.of(hub.database, name)
    _may_be_asked(wanted, asked)
    _may_inspect(hub, name, asked.accounts, wanted.inspectors_least)
    found = units(there.folder, asked.column)
    past = listed(hub, name)
    if any(one.state == "open" for one in past):
        raise HubError("열려 있는 검수를 먼저 닫으십시오.", "Close the inspection that is open first.")
    made = _frozen(hub, wanted, asked, there, found, past)
    key = f"{name}-i{len(past) + 1}"
    with hub.database.writing() as connection:
        if connection.execute(sql.select(inspection.c.id).where(inspection.c.id == key)).first():
            raise HubError("방금 다른 검수가 열렸습니다.", "Another inspection was opened just now.")
        row = {"id": key, "study": name, "plan": digest.canonical(made.model_dump(mode="json")), "digest": made.digest}
        connection.execute(inspection.insert().values(**row, created=time.time(), state="open"))
        for number, account in enumerate(asked.accounts):
            seat = {"inspection": key, "account": account, "number": number, "pseudonym": made.inspectors[number]}
            connection.execute(inspector.insert().values(**seat))
        body = {"inspection": key, "plan": made.digest, "candidate": made.candidate, "images": len(made.items)}
        trail.append(connection, by, "inspection.frozen", name, body)
    return of(hub, key)


def units(folder: Path, column: str) -> list[Unit]:
    """All that a set is looked at in: its images, and films and volumes each as one.

    Raises:
        HubError: when the set has no table, or the table no such column.
    """
    table = _table(folder, column)
    groups: dict[str, list[dict[str, str]]] = {}
    for row in table.rows.iter_rows(named=True):
        groups.setdefault(f"s{row['series']}" if row["series"] else f"i{row['id']}", []).append(row)
    found = []
    for group in groups.values():
        rows, key = _ordered(group, table.told)
        values = {row[column] for row in rows}
        found.append(Unit(rows[0]["id"], values.pop() if len(values) == 1 else MIXED, key))
    return found


def sizes(folder: Path, column: str) -> dict[str, int]:
    """How many of `units` there are of each stratum, counted without looking at each; raises as `units`."""
    each = pl.when(pl.col("series") == "").then("i" + pl.col("id")).otherwise("s" + pl.col("series"))
    values = pl.col(column)
    stratum = pl.when(values.n_unique() == 1).then(values.first()).otherwise(pl.lit(MIXED))
    found = _table(folder, column).rows.group_by(each.alias("_each")).agg(stratum.alias("_stratum"))
    return dict(sorted(found["_stratum"].value_counts().iter_rows()))


def _table(folder: Path, column: str) -> imagetable.Table:
    table = imagetable.table(folder)
    if not len(table.rows) or column not in ("label", *table.told):
        raise HubError(
            "세트의 표(labels.csv)가 없거나 그런 열이 없습니다. 다시 실행한 세트를 등록하십시오.",
            "The set has no table (labels.csv), or the table no such column. Register a set with its table.",
        )
    return table


def looked_at(folder: Path, image: str) -> tuple[list[dict[str, str]], str]:
    """The rows of one image, of a film or volume all its frames in order, and their key.

    Raises:
        NotThereError: when the set has no such image.
    """
    table, images = imagetable.table(folder), Images(folder, "all")
    one = imagetable.row(images, image)
    rows = table.rows.filter(pl.col("series") == one["series"]).to_dicts() if one["series"] else [one]
    return _ordered(rows, table.told)


def _ordered(rows: Sequence[dict[str, str]], told: Sequence[str]) -> tuple[list[dict[str, str]], str]:
    """Frames in their order, and the digest of all that an inspector is shown of them."""
    found = sorted(rows, key=lambda row: int(row["frame"]) if row["frame"].isdecimal() else 0)
    return found, digest.of_json([[row[name] for name in ("sha256", "label", *told)] for row in found])


def columns(folder: Path) -> list[str]:
    """Columns whose values may be strata: the label, and facts with few values."""
    return list(imagetable.table(folder).values)


class Proposal(NamedTuple):
    """What a plan would be: strata with their samples, acceptance number, and images that two inspectors read."""

    strata: tuple[sampleplan.Stratum, ...]
    accept: int
    twice: int


def proposed(hub: Hub, folder: Path, column: str, limit: float, confidence: float, double: float) -> Proposal:
    """What a plan of these numbers would be; raises as `plan` does for column and numbers."""
    wanted = rules(hub)
    _may_be_asked(wanted, Asked({}, {}, column, limit, confidence, double, ()))
    quality = _quality(wanted, limit, round(1 - confidence, 6))
    parts, accept = sampleplan.planned(sizes(folder, column), quality, wanted.stratum_least)
    return Proposal(parts, accept, sampleplan.twice(sum(one.sample for one in parts), double))


def listed(hub: Hub, name: str | None = None) -> list[Inspection]:
    """Inspections, all or of one study, oldest first."""
    query = sql.select(inspection).order_by(inspection.c.created)
    with hub.database.reading() as connection:
        rows = connection.execute(query if name is None else query.where(inspection.c.study == name)).all()
    return [Inspection(row.id, row.study, _plan(row.plan), row.created, row.state) for row in rows]


def of(hub: Hub, key: str) -> Inspection:
    """One inspection.

    Raises:
        NotThereError: when there is none.
    """
    with hub.database.reading() as connection:
        row = connection.execute(sql.select(inspection).where(inspection.c.id == key)).first()
    if row is None:
        raise NotThereError("그런 검수가 없습니다.", "There is no such inspection.")
    return Inspection(row.id, row.study, _plan(row.plan), row.created, row.state)


def inspectors(hub: Hub, one: Inspection) -> dict[str, Inspector]:
    """Who inspects, by account, in the order of their numbers."""
    judged = sql.select(judgement.c.seat, sql.func.count(judgement.c.image.distinct()).label("done"))
    query = sql.select(inspector).where(inspector.c.inspection == one.id).order_by(inspector.c.number)
    with hub.database.reading() as connection:
        rows = connection.execute(query).all()
        counted = connection.execute(judged.where(judgement.c.inspection == one.id).group_by(judgement.c.seat))
        done = {row.seat: row.done for row in counted}
    of_ = {row.number: sum(row.number in item.seats for item in one.plan.items) for row in rows}
    return {
        row.account: Inspector(row.account, row.number, row.pseudonym, done.get(row.number, 0), of_[row.number])
        for row in rows
    }


def close(hub: Hub, by: str, one: Inspection) -> None:
    """End an inspection: no more judgements, and its result may be looked at."""
    with hub.database.writing() as connection:
        open_ = (inspection.c.id == one.id) & (inspection.c.state == "open")
        if connection.execute(inspection.update().where(open_).values(state="closed")).rowcount:
            body = {"inspection": one.id, "judgements": judgements.sealed(connection, one.id)}
            trail.append(connection, by, "inspection.closed", one.study, body)
    result(hub, of(hub, one.id), by)


def result(hub: Hub, one: Inspection, by: str = trail.HUB) -> Result:
    """What the judgements show; the first look keeps it as evidence of the study.

    Raises:
        HubError: while the inspection is open: there are no interim looks.
    """
    if one.state != "closed":
        raise HubError("검수를 닫은 뒤에 결과를 봅니다.", "Close the inspection first: there are no interim looks.")
    found = inspected.result(one.plan, judgements.counted(hub, one.id, one.plan))
    experts.add(hub.database, by, one.study, one.id, f"/inspections/{one.id}", found.findings)
    return found


class Told(NamedTuple):
    """An inspection as the review has it: whether it speaks of the set as it is now, its result where it is closed."""

    inspection: Inspection
    current: bool
    result: Result | None

    @property
    def finding(self) -> Finding | None:
        """The number of the review: the share of unacceptable images; None while the inspection is open."""
        return self.result.findings[0] if self.result else None


def told(hub: Hub, name: str) -> list[Told]:
    """Every inspection of a study for its review, the newest first."""
    candidate = studies.of(hub.database, name).candidate
    found = reversed(listed(hub, name))
    return [
        Told(one, one.plan.candidate == candidate, result(hub, one) if one.state == "closed" else None) for one in found
    ]


def _may_be_asked(wanted: Rules, asked: Asked) -> None:
    """Refuse a plan that asks for less than the policy does."""
    less = [
        (asked.limit > wanted.limit, f"한계 {wanted.limit:.0%} 이하", f"a limit of at most {wanted.limit:.0%}"),
        (
            asked.confidence < 1 - wanted.risk - 1e-9,
            f"신뢰수준 {1 - wanted.risk:.0%} 이상",
            f"a confidence of at least {1 - wanted.risk:.0%}",
        ),
        (
            asked.double < wanted.double,
            f"두 사람이 보는 몫 {wanted.double:.0%} 이상",
            f"{wanted.double:.0%} read twice",
        ),
        (not wanted.good < asked.limit, f"한계는 {wanted.good:.0%}보다 큼", f"a limit above {wanted.good:.0%}"),
        (not asked.confidence < 1, "신뢰수준 100 % 미만", "a confidence below 100 %"),
    ]
    if missed := [(ko, en) for is_less, ko, en in less if is_less]:
        raise HubError(
            f"기준이 요구하는 것: {', '.join(ko for ko, _ in missed)}", f"The policy asks for {missed[0][1]}."
        )


def _may_inspect(hub: Hub, name: str, accounts: Sequence[str], least: int) -> None:
    """Refuse people who have not the part of an inspector, or who made the set."""
    parts = studies.parts(hub.database, name)
    if len(set(accounts)) != len(accounts) or len(accounts) < least:
        raise HubError(f"검수자를 {least}명 이상 고르십시오.", f"Choose {least} inspectors or more, each once.")
    for account in accounts:
        if "inspector" not in parts.get(account, set()):
            raise NotAllowedError(
                "먼저 이 사람을 연구의 검수자로 지정해 주십시오.",
                "Give this person the part of an inspector in the study first.",
            )
        studies.apart_from(parts[account])


def _quality(wanted: Rules, limit: float, risk: float) -> Quality:
    return Quality(
        limit=limit, risk=risk, good=wanted.good, good_risk=wanted.good_risk, counted=wanted.counted
    )  # fmt: skip


def _frozen(
    hub: Hub, wanted: Rules, asked: Asked, there: studies.Study, found: Sequence[Unit], past: Sequence[Inspection]
) -> SamplePlan:
    quality = _quality(wanted, asked.limit, round(1 - asked.confidence, 6))
    parts, accept = sampleplan.planned(sizes(there.folder, asked.column), quality, wanted.stratum_least)
    seed = secrets.randbelow(2**31)
    carried, mended = judgements.from_before(hub, past, {one.image: one.key for one in found})
    items = sampleplan.drawn(
        found, parts, seed=seed, candidate=there.candidate, inspectors=len(asked.accounts), double=asked.double,
        carried=carried, mended=mended,
    )  # fmt: skip
    try:
        return SamplePlan(
            title=Words.model_validate(dict(asked.title)), question=Words.model_validate(dict(asked.question)),
            candidate=there.candidate, attempt=1 + sum(one.plan.candidate == there.candidate for one in past),
            column=asked.column, quality=quality, accept=accept, level=wanted.level, agreement=wanted.agreement,
            double=asked.double, seed=seed, inspectors=tuple(f"i{secrets.token_hex(3)}" for _ in asked.accounts),
            labels=tuple(imagetable.table(there.folder).values["label"]), mends=wanted.mends, reasons=wanted.reasons,
            strata=parts, items=items,
        )  # fmt: skip
    except ValidationError as error:
        where = ", ".join(sorted({".".join(map(str, each["loc"])) for each in error.errors()}))
        raise HubError(f"계획이 맞지 않습니다: {where}", f"The plan is not of the right form: {where}") from None


@lru_cache(maxsize=32)
def _plan(text: str) -> SamplePlan:
    return SamplePlan.model_validate_json(text)


def pictures(hub: Hub, one: Inspection) -> Images:
    """The images of the set, for those who inspect it."""
    return Images(studies.of(hub.database, one.study).folder, "all")
