"""Votes in the layout of iMRMC (FDA), so that others can analyse them again with their own software.

    free text, then   N0: real images   N1: synthetic images   NR: readers   NM: 1   BEGIN DATA:
    -1,caseID,0,0|1                       truth of each image: 0 real, 1 synthetic
    readerID,caseID,modalityID,score      one row a first reading, score 1 .. 6

Layout by the files and the manual of https://github.com/DIDSR/iMRMC (`-1` for truth as its example files have it).
Cases are numbered from 1 in the order of `Table.items`, because RJafroc reads integers alone, and names of files do not
travel so. Readers go by pseudonym. What was not read has no row.
"""

import numpy as np

from chambit.core.errors import InputError, Problem
from chambit.reading.votes import Table

MODALITY = "1"
TRUTH = "-1"
BEGIN = "BEGIN DATA:"


def exported(table: Table, study: str) -> str:
    """The table as iMRMC text.

    Args:
        table: votes under pseudonyms.
        study: digest of the protocol, for the free text.
    """
    real = int((~table.synthetic).sum())
    sizes = {"N0": real, "N1": len(table.items) - real, "NR": len(table.readers), "NM": 1}
    head = [f"Reader study {study}: score 1 (surely real) to 6 (surely synthetic)"]
    head += [f"{name}: {count}" for name, count in sizes.items()] + [BEGIN]
    truth = [f"{TRUTH},{case},0,{int(kind)}" for case, kind in enumerate(table.synthetic, 1)]
    rows = [
        f"{reader},{case},{MODALITY},{scores[case - 1]:g}"
        for reader, scores in zip(table.readers, table.scores, strict=True)
        for case in range(1, len(table.items) + 1)
        if not np.isnan(scores[case - 1])
    ]
    return "\n".join([*head, *truth, *rows]) + "\n"


def imported(text: str) -> Table:
    """A table from iMRMC text of one modality; cases keep their numbers as names, in their order.

    Raises:
        InputError: when there is no data, a row is not of the layout, a case has no truth or two, an answer comes
            twice, or there are several modalities.
    """
    lines = [line.strip() for line in text.splitlines()]
    start = next((k for k, line in enumerate(lines) if line.rstrip(":") == BEGIN.rstrip(":")), None)
    if start is None:
        raise InputError("no iMRMC data", [Problem("text", f"there is no line {BEGIN}")])
    problems: list[Problem] = []
    rows = [
        (k, row) for k, line in enumerate(lines[start + 1 :], start + 2) if line and (row := _row(k, line, problems))
    ]
    truth: dict[str, float] = {}
    scores: dict[tuple[str, str], float] = {}
    for k, (reader, case, _, score) in rows:
        kept, key = (truth, case) if reader in (TRUTH, "truth") else (scores, (reader, case))
        if key in kept:
            problems.append(Problem(f"line {k}", f"case {case} of {reader} came before"))
        kept[key] = score  # type: ignore[index]
    if lost := sorted({case for _, case in scores} - set(truth)):
        problems.append(Problem("truth", f"cases without it: {', '.join(lost[:5])}"))
    if len({row[2] for _, row in rows if row[0] not in (TRUTH, "truth")}) > 1:
        problems.append(Problem("modalityID", "there are several", "export one at a time"))
    if problems or not scores:
        raise InputError("the iMRMC text cannot be read", problems or [Problem("text", "no reader has a score")])
    cases = list(truth)
    readers = sorted({reader for reader, _ in scores})
    table = np.full((len(readers), len(cases)), np.nan)
    for (reader, case), score in scores.items():
        table[readers.index(reader), cases.index(case)] = score
    return Table(tuple(readers), tuple(cases), np.array([truth[case] == 1 for case in cases]), table)


def _row(number: int, line: str, problems: list[Problem]) -> tuple[str, str, str, float] | None:
    """The four fields, or None with a problem."""
    parts = [part.strip() for part in line.split(",")]
    try:
        reader, case, modality, score = parts[0], parts[1], parts[2], float(parts[3])
    except (IndexError, ValueError):
        problems.append(Problem(f"line {number}", f"`{line[:40]}` is not readerID,caseID,modalityID,score"))
        return None
    if reader in (TRUTH, "truth") and score not in (0.0, 1.0):
        problems.append(Problem(f"line {number}", f"truth is 0 or 1, not {score:g}"))
        return None
    return reader, case, modality, score
