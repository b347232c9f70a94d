"""What people who looked at a set found: findings of the hub's own studies, kept as records and judged as evidence.

A study of readers adds its findings when it is closed, once and for good. They speak of one release candidate, and
count for no other. A review weighs what was there when it was opened; what is added later is shown, and waits for the
next one.
"""

import datetime
import json
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from chambit.core import digest
from chambit.core.evidence import Evidence, Finding
from chambit.hub import records
from chambit.hub.database import Database
from chambit.review.policy import Policy
from chambit.review.verdict import judge

KIND = "finding"


class Said(NamedTuple):
    """Findings of one study of people.

    Attributes:
        name: what the study is called in the hub.
        page: where its results are shown.
        evidence: its findings, judged.
        time: when they were added, seconds since 1970.
        digest: of the record that keeps them.
    """

    name: str
    page: str
    evidence: tuple[Evidence, ...]
    time: float
    digest: str


class Told(NamedTuple):
    """What people found of a candidate: `counted` by the review, and what came `after` it was opened."""

    counted: tuple[Said, ...]
    after: tuple[Said, ...]

    @property
    def evidence(self) -> tuple[Evidence, ...]:
        """All evidence that counts."""
        return tuple(item for one in self.counted for item in one.evidence)

    def sealed(self, run: str) -> str:
        """Digest of all evidence: of the run's own `evidence.json`, and of what people added.

        Args:
            run: SHA-256 of evidence.json; stands for itself where nobody added anything.
        """
        if not self.counted:
            return run
        return digest.of_json({"evidence.json": run, "experts": {one.name: one.digest for one in self.counted}})


def anything(database: Database, study: str) -> bool:
    """Whether a study of people about this study's sets has ended, whichever set it speaks of."""
    with database.reading() as connection:
        return records.any_of(connection, study, KIND)


def add(database: Database, by: str, study: str, name: str, page: str, findings: Sequence[Finding]) -> None:
    """Keep the findings of a study of people that has ended; what is there already stays as it is.

    Args:
        database: of the hub.
        by: account id of who ended it.
        study: the study whose set was looked at.
        name: of the study of people, such as `tiny-r1`.
        page: where its results are shown.
        findings: each names the candidate it speaks of among its inputs.
    """
    body = {"page": page, "findings": [one.model_dump(mode="json") for one in findings]}
    with database.writing() as connection:
        if not records.there(connection, study, KIND, name):
            records.add(connection, by, study, KIND, name, body)


def told(
    database: Database, study: str, candidate: str, policy: Policy, until: datetime.datetime | None = None
) -> Told:
    """What people found of a candidate, judged by a policy.

    Args:
        database: of the hub.
        study: the study.
        candidate: digest of the release candidate.
        policy: of the hub; quantities it has no rule for stay with the study of people.
        until: when the review was opened that is going on or has decided; None where none has.
    """
    counted: list[Said] = []
    after: list[Said] = []
    for one in records.standing(database, study, KIND).values():
        evidence = tuple(_judged(one.body["findings"], candidate, policy))
        if evidence:
            said = Said(one.name, one.body["page"], evidence, one.time, one.digest)
            late = until is not None and one.time > until.timestamp()
            (after if late else counted).append(said)
    return Told(tuple(counted), tuple(after))


def file(told: Told) -> bytes:
    """What counts, as a file: each study of people with its findings, when they were kept, their record's digest."""
    rows = [
        {"name": one.name, "time": one.time, "record": one.digest}
        | {"evidence": [item.model_dump(mode="json") for item in one.evidence]}
        for one in told.counted
    ]
    return json.dumps(rows, ensure_ascii=False, indent=1).encode() + b"\n"


def _judged(rows: Iterable[dict[str, Any]], candidate: str, policy: Policy) -> Iterable[Evidence]:
    for row in rows:
        finding = Finding.model_validate(row)
        if finding.inputs.get("candidate") == candidate and finding.key in policy.rules:
            yield judge(finding, policy)
