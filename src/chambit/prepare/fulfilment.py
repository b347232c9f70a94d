"""Contracted against delivered, line by line: met, not met, or cannot be told, with number and percent of deviation.

Counts are of readable files. Where something is not known of u files, a line is decided only if they could not change
it: at least n is met by k >= n, not met where k + u < n, and cannot be told between.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Any

from pydantic import Field

from chambit.core.evidence import Frozen
from chambit.prepare.contract import Contract, Count, Criterion
from chambit.prepare.delivery import Labels

Row = Mapping[str, Any]


class Outcome(StrEnum):
    """What became of one line, from best to worst."""

    MET = "met"
    UNKNOWN = "cannot be told"
    NOT_MET = "not met"


class Line(Frozen):
    """One criterion of the contract and what was delivered.

    Attributes:
        criterion: what is judged, such as `count` or `size`.
        group: for counts of a part: class, modality, part or a column; else "".
        item: which of the group, or which column.
        rule: `exactly`, `at least`, `at most`, `within`, `among`, `all` or `none`.
        contracted: the number or the values of the contract.
        delivered: the number that is held against it; None where nothing can be counted.
        of: out of how many, 0 where that says nothing.
        unit: of what: files, points, rows, subjects, columns, or labels.
        deviation: delivered less contracted, or how many offend; None where it cannot be told.
        percent: the deviation in percent of the contracted number (or of `of`); None where that is 0.
        outcome: met, not met or cannot be told.
        reason: which sentence explains it; the report has the words.
        told: the numbers of that sentence.
        clause: the words of the contract.
    """

    criterion: str
    group: str = ""
    item: str = ""
    rule: str
    contracted: int | float | str
    delivered: int | float | None
    of: int = 0
    unit: str = "files"
    deviation: int | float | None = None
    percent: float | None = None
    outcome: Outcome
    reason: str = ""
    told: dict[str, int | float | str] = Field(default_factory=dict)
    clause: str = ""


FAULTS = ("format", "ending", "size", "bits", "colour", "name", "copy", "label missing", "checksum")
"""What a file can be wrong in, as the column `faults` of files.csv says it."""


def overall(lines: Sequence[Line]) -> Outcome:
    """The worst outcome of all lines."""
    order = list(Outcome)
    return max((line.outcome for line in lines), key=order.index, default=Outcome.UNKNOWN)


def faults(
    contract: Contract, rows: Sequence[Row], labels: Labels | None, sums: Mapping[str, str]
) -> dict[str, list[str]]:
    """What each file offends in, as far as one file alone can: name -> some of `FAULTS`, only files with any."""
    found = {str(row["file"]): list(_offences(contract, row, labels, sums)) for row in rows}
    return {name: wrong for name, wrong in found.items() if wrong}


def _offences(contract: Contract, row: Row, labels: Labels | None, sums: Mapping[str, str]) -> Iterator[str]:
    wanted = contract.deliver
    name = str(row["file"])
    pattern = wanted.names.pattern if wanted.names else None
    if pattern is not None and not re.fullmatch(pattern, name.rsplit("/", 1)[-1]):
        yield "name"
    if sums.get(name, row["sha256"]) != row["sha256"]:
        yield "checksum"
    if not row["readable"]:
        return
    if wanted.formats and row["format"] not in {known.upper() for known in wanted.formats.allowed}:
        yield "format"
    if wanted.formats and wanted.formats.endings and not row["ending"]:
        yield "ending"
    if (size := wanted.size) is not None:
        given = (row["rows"], row["columns"])
        low, high = size.exactly or size.at_least or (0, 0), size.exactly or size.at_most or given
        if not all(least <= here <= most for least, here, most in zip(low, given, high, strict=True)):
            yield "size"
    if wanted.bits and row["bits"] not in wanted.bits.allowed:
        yield "bits"
    if wanted.colour and row["colour"] != wanted.colour.allowed:
        yield "colour"
    if wanted.duplicates and row["copy_of"]:
        yield "copy"
    if wanted.labels and labels and row["class"] == "":
        yield "label missing"


def lines(
    contract: Contract,
    rows: Sequence[Row],
    labels: Labels | None,
    sums: Mapping[str, str],
    wrong: Mapping[str, Sequence[str]],
) -> list[Line]:
    """Every criterion of the contract but the accuracy of labels, in the contract's order.

    Args:
        contract: what was agreed.
        rows: from `delivery.told`, sorted by file.
        labels: the table of labels, None where there is none.
        sums: SHA-256 by name that were agreed on.
        wrong: from `faults`.
    """
    readable = [row for row in rows if row["readable"]]
    wanted = contract.deliver
    found = [_count(wanted.count, readable, 0, "count")]
    for group, items in wanted.by.items():
        unknown = sum(row[group] is None for row in readable)
        for item, count in items.items():
            found.append(_count(count, [row for row in readable if row[group] == item], unknown, "by", group, item))
    found += _balance(contract, readable)
    found += _files(contract, rows, readable, wrong)
    found += _labels(contract, readable, labels)
    found += _subjects(contract, readable)
    if wanted.checksums:
        found.append(_checksums(wanted.checksums, rows, sums))
    return found


def _count(count: Count, rows: Sequence[Row], unknown: int, criterion: str, group: str = "", item: str = "") -> Line:
    have = sum(not row["copy_of"] for row in rows) if count.distinct else len(rows)
    copies = sum(bool(row["copy_of"]) for row in rows)
    reason, told = "copies counted", {"copies": copies, "distinct": len(rows) - copies}
    if count.distinct:
        reason = "copies not counted"
    if not copies:
        reason, told = "", {}
    if unknown:
        reason, told = "unknown files", {"unknown": unknown}
    return _number(have, count.exactly, count.at_least, unknown, count).model_copy(
        update={"criterion": criterion, "group": group, "item": item, "reason": reason, "told": told}
    )


def _number(have: int, exactly: int | None, at_least: int | None, unknown: int, criterion: Criterion) -> Line:
    """A count held against a number of the contract, where `unknown` more may belong to it."""
    least = exactly if exactly is not None else at_least or 0
    if have + unknown < least or (exactly is not None and have > exactly):
        outcome = Outcome.NOT_MET
    else:
        outcome = Outcome.MET if have >= least and (exactly is None or not unknown) else Outcome.UNKNOWN
    return Line(
        criterion="count",
        rule="at least" if exactly is None else "exactly",
        contracted=least,
        delivered=have,
        deviation=have - least,
        percent=100 * (have - least) / least if least else None,
        outcome=outcome,
        clause=criterion.clause,
    )


def _balance(contract: Contract, readable: Sequence[Row]) -> Iterator[Line]:
    if (wanted := contract.deliver.balance) is None:
        return
    found = Counter(row["class"] for row in readable if row["class"])
    unknown, total = sum(row["class"] is None for row in readable), found.total()
    for name, percent in wanted.percent.items():
        have = 100 * found[name] / total if total else None
        off = None if have is None else have - percent
        told = off is not None and not unknown
        # 1e-9: rounding of percentages alone decides nothing
        near = off is not None and abs(off) <= wanted.tolerance_points + 1e-9
        yield Line(
            criterion="balance",
            group="class",
            item=name,
            rule="within",
            contracted=percent,
            delivered=have,
            unit="points",
            deviation=off,
            outcome=(Outcome.MET if near else Outcome.NOT_MET) if told else Outcome.UNKNOWN,
            reason="tolerance" if told else "unknown classes",
            told={"tolerance": wanted.tolerance_points, "count": found[name], "labelled": total, "unknown": unknown},
            clause=wanted.clause,
        )


def _files(
    contract: Contract, rows: Sequence[Row], readable: Sequence[Row], wrong: Mapping[str, Sequence[str]]
) -> Iterator[Line]:
    """Criteria that each file meets or not by itself."""
    wanted = contract.deliver
    times = Counter(fault for found in wrong.values() for fault in found)

    def line(criterion: str, by: Criterion, rule: str, contracted: str, shown: str) -> Line:
        of = len(rows) if criterion == "name" else len(readable)
        bad = times[criterion]
        seen = Counter(_shown(row, shown) for row in readable if shown and criterion in wrong.get(row["file"], ()))
        most = ", ".join(f"{value}: {many:,}" for value, many in sorted(seen.items(), key=lambda x: (-x[1], x[0]))[:4])
        if len(seen) > 4:
            most += ", …"
        told: dict[str, int | float | str] = {"most": most} if most else {}
        return _all_of(criterion, by, rule, contracted, bad, of, "others" if most else "", told)

    if wanted.formats:
        yield line("format", wanted.formats, "among", ", ".join(wanted.formats.allowed), "format")
        if wanted.formats.endings:
            yield line("ending", wanted.formats, "all", "", "ending")
    if (size := wanted.size) is not None:
        text = [_pixels(size.exactly)] if size.exactly else []
        text += [f"≥ {_pixels(size.at_least)}"] if size.at_least else []
        text += [f"≤ {_pixels(size.at_most)}"] if size.at_most else []
        yield line("size", size, "all", ", ".join(text), "size")
    if wanted.bits:
        yield line("bits", wanted.bits, "among", ", ".join(map(str, wanted.bits.allowed)), "bits")
    if wanted.colour:
        yield line("colour", wanted.colour, "all", wanted.colour.allowed, "colour")
    if wanted.duplicates:
        yield _share("duplicates", wanted.duplicates, times["copy"], len(readable), wanted.duplicates.at_most_share)
    if wanted.unreadable:
        bad = len(rows) - len(readable)
        yield _share("unreadable", wanted.unreadable, bad, len(rows), wanted.unreadable.at_most_share)
    if wanted.names and wanted.names.pattern is not None:
        yield line("name", wanted.names, "all", wanted.names.pattern, "")
    if wanted.names and wanted.names.unique:
        bare = Counter(str(row["file"]).rsplit("/", 1)[-1] for row in rows)
        again = sum(many - 1 for many in bare.values())
        yield _all_of("name again", wanted.names, "none", "", again, len(rows), "", {})


def _shown(row: Row, what: str) -> str:
    if what == "size":
        return _pixels((row["rows"], row["columns"]))
    if what == "ending":
        ending = "." + row["file"].rsplit(".", 1)[-1] if "." in row["file"].rsplit("/", 1)[-1] else "—"
        return f"{row['format']} → {ending[:12]}"
    return str(row[what])


def _pixels(size: tuple[int, int]) -> str:
    return f"{size[0]} × {size[1]}"


def _all_of(
    criterion: str, by: Criterion, rule: str, contracted: str, bad: int, of: int, reason: str, told: Any
) -> Line:
    return Line(
        criterion=criterion,
        rule=rule,
        contracted=contracted,
        delivered=of - bad,
        of=of,
        deviation=bad,
        percent=100 * bad / of if of else None,
        outcome=Outcome.UNKNOWN if not of else Outcome.NOT_MET if bad else Outcome.MET,
        reason=reason if of else "nothing to judge",
        told=told,
        clause=by.clause,
    )


def _share(criterion: str, by: Criterion, bad: int, of: int, most: float) -> Line:
    """How many of `of` are so, where a share `most` may be."""
    met = bad <= most * of + 1e-9  # the product of a share and a number is rounded
    return Line(
        criterion=criterion,
        rule="at most",
        contracted=most,
        delivered=bad,
        of=of,
        deviation=bad,
        percent=100 * bad / of if of else None,
        outcome=Outcome.UNKNOWN if not of else Outcome.MET if met else Outcome.NOT_MET,
        reason="" if of else "nothing to judge",
        clause=by.clause,
    )


def _labels(contract: Contract, readable: Sequence[Row], labels: Labels | None) -> Iterator[Line]:
    if (wanted := contract.deliver.labels) is None:
        return
    there = labels is not None and not labels.broken
    lacking = [name for name in wanted.columns if labels is None or name not in labels.columns]
    columns = len(wanted.columns)
    yield Line(
        criterion="label columns",
        rule="all",
        contracted=", ".join(wanted.columns),
        delivered=columns - len(lacking),
        of=columns,
        unit="columns",
        deviation=len(lacking),
        percent=100 * len(lacking) / columns if columns else None,
        outcome=Outcome.NOT_MET if lacking or not there else Outcome.MET,
        reason="labels broken" if not there else "columns lacking" if lacking else "",
        told={"why": labels.broken if labels else "there is no such file", "columns": ", ".join(lacking)},
        clause=wanted.clause,
    )
    if not there or labels is None:
        return
    faulty = Counter(kind for _, kind in labels.faults)
    if faulty:
        rows = len(labels.rows) + len(labels.faults)
        told: dict[str, int | float | str] = {kind: faulty[kind] for kind in sorted(faulty)}
        told["first"] = labels.faults[0][0]
        line = _all_of("label rows", wanted, "all", "", len(labels.faults), rows, "rows", told)
        yield line.model_copy(update={"unit": "rows"})
    if wanted.missing_at_most_share is not None:
        known = [row["class"] for row in readable if row["class"] is not None]
        yield _share("label missing", wanted, known.count(""), len(known), wanted.missing_at_most_share)


def _subjects(contract: Contract, readable: Sequence[Row]) -> Iterator[Line]:
    if (wanted := contract.deliver.subjects) is None:
        return
    each = Counter(row["subject"] for row in readable if row["subject"])
    unknown = len(readable) - each.total()
    reason, told = ("unknown subjects", {"unknown": unknown}) if unknown else ("", {})
    if wanted.at_least is not None:
        yield _number(len(each), None, wanted.at_least, unknown, wanted).model_copy(
            update={"criterion": "subjects", "unit": "subjects", "reason": reason, "told": told}
        )
    if (limit := wanted.images_each_at_most) is not None:
        most = max(each.values(), default=0)
        over = sum(many > limit for many in each.values())
        yield Line(
            criterion="images each",
            rule="at most",
            contracted=limit,
            delivered=most if each else None,
            deviation=max(most - limit, 0),
            percent=100 * max(most - limit, 0) / limit,
            outcome=Outcome.NOT_MET if over else Outcome.MET if most + unknown <= limit else Outcome.UNKNOWN,
            reason="subjects over" if over else reason,
            told={"over": over} if over else told,
            clause=wanted.clause,
        )


def _checksums(wanted: Criterion, rows: Sequence[Row], sums: Mapping[str, str]) -> Line:
    have = {str(row["file"]): row["sha256"] for row in rows}
    missing = sum(name not in have for name in sums)
    changed = sum(name in have and have[name] != value for name, value in sums.items())
    told = {"missing": missing, "changed": changed, "extra": sum(name not in sums for name in have)}
    line = _all_of("checksums", wanted, "all", "", missing + changed, len(sums), "checksums", told)
    return line.model_copy(update={"contracted": len(sums)})
