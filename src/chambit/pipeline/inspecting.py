"""Inspection of a delivery: the folder against its contract, the sample of labels, and the files an inspector keeps.

    OUT/
      inspection.html    the page, one file, loads nothing from elsewhere
      inspection.json    all numbers of the page
      files.csv          a row per delivered file, sorted by name
      label_sample.csv   the labels that are to be read, for the readers to fill (where the contract samples labels)
      work/              store and ledger; a killed run goes on from here

The first three hold no time, no path of this machine and no number of workers: the same bytes delivered under the same
contract give the same bytes here. Names of files stand in files.csv as they are, and masked on the page where they hold
an identifier.
"""

import csv
import io
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from chambit import __version__
from chambit.core import digest, offline
from chambit.core.errors import InputError, Problem
from chambit.core.steps import Context, Listener, Outputs, Step, Workshop
from chambit.core.store import write_atomically
from chambit.core.study import Run
from chambit.pipeline import label_lots, plan
from chambit.pipeline.plan import Planned
from chambit.pipeline.study import WORK, engine_of, writable
from chambit.prepare import contract as contracts
from chambit.prepare import delivery, fulfilment, identifiers, sampling
from chambit.prepare.contract import Contract
from chambit.prepare.delivery import Labels, Listed, Task
from chambit.prepare.fulfilment import Line
from chambit.report import inspection as page
from chambit.report.inspection import Copies, Inspection, Lot, Unread

FILES_A_CHUNK = 64
SAMPLE = "label_sample.csv"
COLUMNS = (
    *("file", "readable", "format", "bytes", "rows", "columns", "images", "bits", "colour"),
    *("class", "subject", "modality", "part"),
)
SHOWN_GROUPS = ("class", "modality", "part", "format", "size", "bits", "colour")


class Request(NamedTuple):
    """What is to be inspected.

    Attributes:
        contract: the contract.
        file: where it was read; its list of checksums lies beside it.
        folder: what was delivered.
        labels: the table of labels, None: as the contract names it, in the folder.
        checked: the sample as the readers filled it, or None.
        word: what the inspector named after the delivery, for the draw of the sample.
        run: engine and workers.
    """

    contract: Contract
    file: Path
    folder: Path
    labels: Path | None = None
    checked: Path | None = None
    word: str = ""
    run: Run = Run()


class Inspected(NamedTuple):
    """What a person is told at the end: all numbers, and the page."""

    inspection: Inspection
    page: Path


class Difference(NamedTuple):
    """One number that two inspections do not share: where it stands and what both say."""

    place: str
    one: str
    other: str


def run(wanted: Request, out: Path, tell: Listener) -> Inspected:
    """Inspect and write the files.

    Raises:
        InputError: when the folder, a list beside the contract or the filled sheet cannot be used, or OUT would lie in
            the delivery.
    """
    offline.guard()
    writable(out)
    if out.resolve().is_relative_to(wanted.folder.resolve()):
        problem = Problem(str(out), "lies inside the delivered folder", "give a folder elsewhere with --out")
        raise InputError("Nothing can be written there.", [problem])
    found = delivery.listed(wanted.folder)
    sums = _sums(wanted)
    workshop = Workshop.at(out / WORK, engine_of(wanted.run), tell)
    try:
        step = Planned("inspect files", lambda _: _taken(found), len(found.files), "files", 200.0, 1)
        outputs = plan.run(workshop, [step])[step.name]
        records = [row for key in outputs.values() for row in workshop.store.get_json(key)]
    finally:
        workshop.close()
    labels = _labels(wanted, found)
    rows = delivery.told(sorted(records, key=lambda row: str(row["file"])), labels, list(wanted.contract.deliver.by))
    wrong = fulfilment.faults(wanted.contract, rows, labels, sums)
    lines = fulfilment.lines(wanted.contract, rows, labels, sums, wrong)
    key = sampling.seed(wanted.contract.digest, [str(row["sha256"]) for row in rows], wanted.word)
    lots, sample = label_lots.drawn(wanted.contract, rows, key)
    sheet = sampling.sheet(sample)
    if wanted.checked is not None:
        if not sample:
            problem = Problem(str(wanted.checked), "no label was sampled", "leave --labels-checked out")
            raise InputError("The filled sheet cannot be used.", [problem])
        lots = label_lots.judged(lots, sampling.judged(wanted.checked, sample))
    lines += label_lots.lines(wanted.contract, lots)
    table = _table(rows, wrong, list(wanted.contract.deliver.by))
    told = _inspection(wanted, found, rows, labels, lines, lots)
    digests = {
        "contract": wanted.contract.digest,
        "delivery": digest.of_json([[row["file"], row["sha256"]] for row in rows]),
        "files.csv": digest.of_bytes(table),
    }
    if labels is not None and (file := _labels_file(wanted)).is_file():
        digests["labels"] = digest.of_file(file)
    if sample:
        digests |= {"draw": key, SAMPLE: digest.of_bytes(sheet)}
        _write_sheet(out / SAMPLE, sheet)
    if wanted.checked is not None:
        digests["checked sample"] = digest.of_file(wanted.checked)
    told = told.model_copy(update={"digests": digests})
    write_atomically(out / "files.csv", table)
    write_atomically(out / "inspection.json", _json(told.model_dump(mode="json")))
    write_atomically(out / "inspection.html", page.render(told).encode())
    return Inspected(told, out / "inspection.html")


def compare(one: Path, other: Path) -> list[Difference]:
    """The numbers in which two inspections differ, by place; empty when they are equal.

    Raises:
        InputError: when one of them is no inspection.json.
    """
    flat = [dict(_flat(_loaded(path))) for path in (one, other)]
    absent = "(absent)"
    return [
        Difference(place, flat[0].get(place, absent), flat[1].get(place, absent))
        for place in dict.fromkeys([*flat[0], *flat[1]])
        if flat[0].get(place, absent) != flat[1].get(place, absent)
    ]


def _loaded(path: Path) -> Any:
    try:
        found = json.loads(path.read_bytes())
        return Inspection.model_validate(found).model_dump(mode="json")
    except (OSError, ValueError):  # pydantic's ValidationError is a ValueError
        problem = Problem(str(path), "is not an inspection.json of this version", "give the file that `inspect` wrote")
        raise InputError("The two inspections cannot be compared.", [problem]) from None


def _flat(value: Any, place: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for key, below in value.items():
            yield from _flat(below, f"{place}.{key}" if place else key)
    elif isinstance(value, list):
        for index, below in enumerate(value):
            yield from _flat(below, f"{place}[{index}]")
    else:
        yield place, json.dumps(value, ensure_ascii=False)


def _taken(found: Listed) -> Step:
    """The step that opens every file; a file that was changed since (size or time) makes it another step."""
    names = list(found.files)
    stats = {name: found.files[name].stat() if found.files[name].exists() else None for name in names}
    seen = [[name, at.st_size if at else -1, at.st_mtime_ns if at else -1] for name, at in stats.items()]

    def run(context: Context) -> Outputs:
        tasks, sizes = {}, {}
        for first in range(0, len(names), FILES_A_CHUNK):
            chunk = names[first : first + FILES_A_CHUNK]
            tasks[f"{first:08d}"] = Task({name: found.files[name] for name in chunk})
            sizes[f"{first:08d}"] = len(chunk)
        return context.map(delivery.take, tasks, unit="files", sizes=sizes)

    return Step("inspect files", "1", {"chunk": FILES_A_CHUNK}, {"files": digest.of_json(seen)}, run, 0, len(names))


def _labels_file(wanted: Request) -> Path:
    named = wanted.contract.deliver.labels
    return wanted.labels or wanted.folder / (named.file if named else "labels.csv")


def _labels(wanted: Request, found: Listed) -> Labels | None:
    file = _labels_file(wanted)
    if wanted.labels is None and wanted.contract.deliver.labels is None and not file.is_file():
        return None
    return delivery.read_labels(file, list(found.files))


def _sums(wanted: Request) -> dict[str, str]:
    """The agreed SHA-256 by name; a list in a file lies beside the contract, out of the supplier's reach."""
    if (given := wanted.contract.deliver.checksums) is None:
        return {}
    return given.sha256 or contracts.checksums(wanted.file.parent / (given.file or ""))


def _inspection(
    wanted: Request,
    found: Listed,
    rows: Sequence[Mapping[str, Any]],
    labels: Labels | None,
    lines: Sequence[Line],
    lots: Sequence[Lot],
) -> Inspection:
    readable = [row for row in rows if row["readable"]]
    sized = [dict(row) | {"size": f"{row['rows']} × {row['columns']}"} for row in rows]
    masked = {row["file"]: identifiers.redacted(row["file"]) for row in rows}
    same: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for row in readable:
        same[row["copy_of"] or row["file"]].append(row)
    groups = dict.fromkeys((*SHOWN_GROUPS, *wanted.contract.deliver.by))
    return Inspection(
        version=__version__,
        contract=wanted.contract,
        word=wanted.word,
        outcome=fulfilment.overall(lines),
        totals={
            "files": len(rows),
            "beside": len(found.beside),
            "readable": len(readable),
            "unreadable": len(rows) - len(readable),
            "images": sum(row["images"] for row in readable),
            "distinct": sum(not row["copy_of"] for row in readable),
            "bytes": sum(row["bytes"] for row in rows),
            "subjects": len({row["subject"] for row in readable if row["subject"]}),
            "subject unknown": sum(not row["subject"] for row in readable),
            "names with an identifier": sum(name != shown for name, shown in masked.items()),
        },
        lines=tuple(lines),
        distributions={group: counts for group in groups if (counts := delivery.counted(sized, group))},
        copies=tuple(
            Copies(
                files=tuple(masked[row["file"]] for row in group),
                same_bytes=len({row["sha256"] for row in group}) == 1,
                labels=len({row["class"] for row in group}),
            )
            for group in same.values()
            if len(group) > 1
        ),
        unreadable=tuple(
            Unread(file=masked[row["file"]], reason=row["reason"], remedy=row["remedy"])
            for row in rows
            if not row["readable"]
        ),
        label_faults=labels.faults if labels else (),
        lots=tuple(lots),
    )


def _table(rows: Sequence[Mapping[str, Any]], wrong: Mapping[str, Sequence[str]], groups: Sequence[str]) -> bytes:
    """`files.csv`: UTF-8 with a mark, so that a spreadsheet reads Korean names."""
    columns = list(dict.fromkeys((*COLUMNS, *groups)))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*columns, "copy_of", "faults", "reason", "sha256", "pixels_sha256"])
    for row in rows:
        shown = [_cell(row[column]) for column in columns]
        more = [row["copy_of"], "; ".join(wrong.get(row["file"], ())), row["reason"], row["sha256"], row["pixels"]]
        writer.writerow([*shown, *more])
    return text.getvalue().encode("utf-8-sig")


def _cell(value: Any) -> str:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value or "")


def _write_sheet(path: Path, sheet: bytes) -> None:
    """Write the sheet, unless the readers are filling this very one.

    Raises:
        InputError: when another sample lies there, which may hold the readers' work.
    """
    if not path.exists():
        write_atomically(path, sheet)
    elif _asked(path.read_bytes()) != _asked(sheet):
        problem = Problem(
            str(path), "is the sheet of another sample", "move it away, or give another folder with --out"
        )
        raise InputError("The sample cannot be written.", [problem])


def _asked(sheet: bytes) -> list[tuple[str, ...]]:
    """File and label of each line, whatever the readers wrote beside them."""
    rows = csv.reader(io.StringIO(sheet.decode("utf-8-sig", "replace")))
    return sorted(tuple(cell.strip() for cell in cells[:2]) for cells in rows if cells)


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=1, ensure_ascii=False, sort_keys=True, allow_nan=False) + "\n").encode()
