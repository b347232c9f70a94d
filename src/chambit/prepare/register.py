"""The legal register: whether approvals and permissions of a study's originals hold on a day.

A `hospital` source needs an IRB's decision (an exemption is one) and a data review board's; a joint board's decision
answers both. A `public` source needs a licence or contract that allows training and release. Phantoms need nothing.
An entry holds when the day lies in its term, the paper it names has the SHA-256 it names, and no condition is overdue.

Source: PIPC reference model 2024.5, indicator 2; Korean guideline on the use of health-care data, revision of
2025-12-31 (public boards, joint review by IRB and DRB, exemptions).

Known failures: whether an entry's scope covers the use, and whether the paper is genuine, is for people to say. The day
is the clock's of the machine.
"""

import datetime
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from chambit.core import digest
from chambit.core.errors import Problem, StudyError
from chambit.core.evidence import Finding
from chambit.core.study import Approval, Duty, Permission, Provenance, resolve

version = "1"

ETHICS, BOARD, PERMISSION = "ethics", "board", "permission"
DRAWN = "Phantoms are drawn; no approval is needed."
KOREAN = {DRAWN: "팬텀은 계산으로 그린 것이어서 승인이 필요하지 않음."}
"""Sentences of findings in Korean."""
ANSWERS = {"irb": (ETHICS,), "drb": (BOARD,), "joint_drb": (ETHICS, BOARD), "public_drb": (BOARD,)}
NEEDED = {"phantoms": (), "public": (PERMISSION,), "hospital": (ETHICS, BOARD)}
USES = ("train", "release")
_TOLD = {
    ETHICS: "an IRB's approval or exemption",
    BOARD: "a data review board's decision",
    PERMISSION: "a licence or contract that allows training and release",
}
_REMEDY = {
    ETHICS: "add an entry `kind: irb` (or `joint_drb`) with its paper to source.approvals",
    BOARD: "add an entry `kind: drb`, `public_drb` or `joint_drb` with its paper to source.approvals",
    PERMISSION: "add an entry with its text to source.permissions",
}


class Entry(NamedTuple):
    """One line of the register as it stands on a day.

    Attributes:
        where: its place in the study file, for example `source.approvals.0`.
        kind: of an approval, or `permission`.
        answers: which of the needs it speaks to.
        until: its last day, or None where it has none.
        faults: what keeps it from holding; empty when it holds.
        open: conditions that are not done and not yet due.
        strict: whether its faults block although another entry answers the need: a paper that is not the one that was
            registered, a duty that was missed.
    """

    where: str
    kind: str
    answers: tuple[str, ...]
    until: datetime.date | None
    faults: tuple[Problem, ...]
    open: int
    strict: bool

    @property
    def holds(self) -> bool:
        """Whether it may be relied on."""
        return not self.faults


class Register(NamedTuple):
    """All entries of a study on a day, what was needed, and what is in the way of training and release."""

    day: datetime.date
    needed: tuple[str, ...]
    entries: tuple[Entry, ...]
    problems: tuple[Problem, ...]

    @property
    def met(self) -> tuple[str, ...]:
        """The needs that some entry answers which holds."""
        return tuple(need for need in self.needed if any(e.holds and need in e.answers for e in self.entries))


def read(source: Provenance, file: Path, day: datetime.date) -> Register:
    """The register of a study file as it stands on a day.

    Nothing is raised: what is in the way is in `problems`. A public source without any entry under `permissions` is
    not in the way; its finding asks a person for the text.

    Args:
        source: the block `source` of the study.
        file: the study file; papers are relative to it.
        day: the day to judge by, as a rule today.
    """
    entries = [
        *(_approval(f"source.approvals.{n}", given, file, day) for n, given in enumerate(source.approvals)),
        *(_permission(f"source.permissions.{n}", given, file, day) for n, given in enumerate(source.permissions)),
    ]
    return Register(day, NEEDED[source.kind], tuple(entries), tuple(_problems(source, file, entries)))


def require(source: Provenance, file: Path, day: datetime.date) -> Register:
    """The register, where nothing is in the way of training and release.

    Raises:
        StudyError: with every problem: the entry, the reason, the remedy.
    """
    found = read(source, file, day)
    if found.problems:
        raise StudyError(
            f"The originals may not be used on {day}: training and release are blocked by {len(found.problems)} "
            "problem(s) of the legal register.",
            found.problems,
        )
    return found


def statements(source: Provenance) -> dict[str, str]:
    """`irb`, `drb` and `licence` in words: those of the study file, else made from the entries that answer them."""
    told: dict[str, list[str]] = {"irb": [], "drb": [], "licence": []}
    for approval in source.approvals:
        for need in ANSWERS[approval.kind]:
            told["irb" if need == ETHICS else "drb"].append(_words(approval))
    for given in source.permissions:
        what = " ".join(part for part in (given.licence or given.contract, given.number) if part)
        told["licence"].append(f"{given.source}: {what}{_term(given.until)} ({', '.join(given.allows)})")
    return {key: getattr(source, key) or "; ".join(words) for key, words in told.items()}


def finding(register: Register) -> Finding:
    """Share of the needed approvals and permissions that hold; details: days to the earliest last day, conditions."""
    needed, met = register.needed, register.met
    kinds = sorted({entry.kind for entry in register.entries})
    lasts = [entry.until for entry in register.entries if entry.holds and entry.until is not None]
    details: dict[str, object] = {
        "day": register.day.isoformat(),
        "open_conditions": sum(entry.open for entry in register.entries if entry.holds),
        "blocking": len(register.problems),
        "not_registered": [need for need in needed if need not in met],
        "needed": list(needed),
        "held": [
            {"name": need, "until": entry.until.isoformat() if entry.until else None}
            for entry in register.entries
            for need in entry.answers
            if entry.holds
        ],
    }
    if lasts:
        details |= {"days_left": (min(lasts) - register.day).days, "earliest_last_day": min(lasts).isoformat()}
    return Finding(
        measure=f"source@{version}",
        quantity="approvals",
        value=len(met) / len(needed) if needed else 1.0,
        n={"needed": len(needed), "valid": len(met)}
        | {kind: sum(entry.kind == kind for entry in register.entries) for kind in kinds},
        null=1.0,
        direction="higher",
        reason="" if needed else DRAWN,
        details=details,
    )


def identity(source: Provenance) -> str:
    """SHA-256 of all entries; the study's digest leaves them out, so the ledger records this one beside it."""
    return digest.of_json(source.model_dump(mode="json", include={"kind", "approvals", "permissions"}))


def _problems(source: Provenance, file: Path, entries: Sequence[Entry]) -> Iterator[Problem]:
    """Problems of the needs, each with the faults of the entries that would have answered; each fault once."""
    told: list[Problem] = [fault for entry in entries if entry.strict for fault in entry.faults]
    for need in NEEDED[source.kind]:
        speaking = [entry for entry in entries if need in entry.answers]
        if any(entry.holds for entry in speaking):
            continue
        if speaking:
            told += [fault for entry in speaking for fault in entry.faults if fault not in told]
        elif need != PERMISSION:
            what = f"{_TOLD[need]} is not registered"
            key = "irb" if need == ETHICS else "drb"
            if getattr(source, key):
                what += f"; `source.{key}` is a statement that nothing can check"
            told.append(Problem(f"{file}: source.approvals", what, _REMEDY[need]))
    yield from told


def _approval(where: str, given: Approval, file: Path, day: datetime.date) -> Entry:
    place = f"{file}: {where} ({given.kind})"
    paper = list(_paper(place, given.file, given.sha256, file))
    late = [duty for duty in given.conditions if not duty.done and duty.due < day]
    waiting = sum(not duty.done and duty.due >= day for duty in given.conditions)
    faults = [*paper, *_dated(place, given.begins, given.until, day), *(_missed(place, given, duty) for duty in late)]
    return Entry(where, given.kind, ANSWERS[given.kind], given.until, tuple(faults), waiting, bool(paper or late))


def _permission(where: str, given: Permission, file: Path, day: datetime.date) -> Entry:
    place = f"{file}: {where} (permission)"
    paper = list(_paper(place, given.file, given.sha256, file))
    faults = [*paper, *_dated(place, None, given.until, day)]
    if lacking := [use for use in USES if use not in given.allows]:
        what, remedy = (
            f"does not allow to {' and to '.join(lacking)}",
            "ask its owner for that use, or use other images",
        )
        faults.append(Problem(place, what, remedy))
    return Entry(where, PERMISSION, (PERMISSION,), given.until, tuple(faults), 0, bool(paper))


def _paper(place: str, name: str, sha256: str, file: Path) -> Iterator[Problem]:
    path = resolve(file, Path(name))
    if not path.is_file():
        yield Problem(place, f"the paper '{name}' does not exist", "put it where `file` says, beside the study file")
        return
    try:
        found = digest.of_file(path)
    except OSError as error:
        yield Problem(
            place, f"the paper '{name}' cannot be read ({error.strerror})", "give yourself the right to read it"
        )
        return
    if found != sha256:
        what = f"the paper '{name}' has another SHA-256 ({found[:12]}...) than the one registered ({sha256[:12]}...)"
        yield Problem(place, what, "put the registered paper back, or register this one after reading it")


def _dated(
    place: str, begins: datetime.date | None, until: datetime.date | None, day: datetime.date
) -> Iterator[Problem]:
    if begins is not None and day < begins:
        yield Problem(
            place, f"is not valid before {begins}; it is {day}", "wait, or register the one that is valid now"
        )
    if until is not None and day > until:
        yield Problem(place, f"was valid until {until}; it is {day}", "get it renewed and add the renewal as an entry")


def _missed(place: str, given: Approval, duty: Duty) -> Problem:
    number = given.conditions.index(duty)
    what = f"its condition {number} was due on {duty.due} and is not done"
    return Problem(place, what, "meet it and set `done: true`; take out an entry that another replaced")


def _words(given: Approval) -> str:
    return f"{given.number}, {given.institution}, {given.kind} {given.decision}{_term(given.until)}"


def _term(until: datetime.date | None) -> str:
    return f", until {until}" if until else ""
