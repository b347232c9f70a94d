"""What a preparation leaves behind: the released files, the closed lists, the evidence and its page."""

import csv
import io
import json
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from chambit import __version__
from chambit.core import digest
from chambit.core.errors import Problem
from chambit.core.evidence import Evidence, Finding, Verdict
from chambit.core.steps import Workshop
from chambit.core.store import Store, write_atomically
from chambit.images.imageset import ImageSet
from chambit.pipeline import cleaning
from chambit.pipeline import preparation_evidence as evidence
from chambit.pipeline.plan import Made
from chambit.prepare import burned, identifiers, quality
from chambit.prepare.quality.examine import COLUMNS
from chambit.prepare.redaction import Redaction
from chambit.report import preparation
from chambit.review import verdict
from chambit.review.policy import Policy

SUBGROUPS = ("sex", "age", "site", "view")
SHEETS = 4  # contact sheets of a page at most: all are in the closed folder


class Facts(NamedTuple):
    """What the closing needs to know beside the steps' outputs."""

    policy: Policy
    source: str
    key: str
    keep: frozenset[str]
    settings: Mapping[str, Any]
    beside: int
    originals: Mapping[str, Path]


class Closed(NamedTuple):
    """What a person is told at the end."""

    verdict: Verdict
    because: tuple[str, ...]
    page: Path
    evidence: tuple[Evidence, ...]
    counts: Mapping[str, int]


def cleaned_folder(out: Path) -> Path:
    """Where all cleaned files lie, those among them that the checks of quality took out, too."""
    return out / "closed" / "cleaned"


def listing(out: Path) -> Path:
    """The labels file of all cleaned files."""
    return out / "closed" / "cleaned.csv"


def cells(images: ImageSet, least: int) -> pl.DataFrame:
    """Subjects of each label by subgroup, for the subgroups that the table has; see `quality.cells`."""
    table: pl.DataFrame = quality.cells(images, [name for name in SUBGROUPS if name in images.table.columns], least)
    return table


def close(workshop: Workshop, out: Path, made: Made, facts: Facts) -> Closed:
    """Judge what was found and write everything; each file is written whole or not at all."""
    store = workshop.store
    records: list[dict[str, Any]] = store.get_json(made["clean"]["records"])
    images = ImageSet.load(store, made["intake"]["images"])
    refused = store.get_table(made["intake"]["refused"]).to_dicts()
    outliers = _outliers(store, made, facts.keep)
    gone = {_plain(row["file"]) for row in refused} | {_plain(row["file"]) for row in outliers if row["removed"]}
    released = sorted(row["output"] for row in records if row["state"] == "cleaned" and row["output"] not in gone)
    _release(out, released, {row["output"]: row["mask"] for row in records if row["state"] == "cleaned"})
    found = evidence.findings(store, made, records, images, outliers, len(refused), facts.settings)
    judged = tuple(verdict.judge(finding, facts.policy) for finding in found)
    overall = verdict.overall(judged)
    _closed(out, records, refused, outliers, store, made)
    sheets = _sheets(out, records, facts, images, outliers, store)
    counts = {
        "found": len(records),
        "cleaned": sum(row["state"] == "cleaned" for row in records),
        "set aside": sum(row["state"] != "cleaned" for row in records) + len(refused),
        "removed as outliers": len({row["id"] for row in outliers if row["removed"]}),
        "released": len(released),
        "beside": facts.beside,
    }
    summary = {
        "chambit": __version__,
        "verdict": overall.verdict,
        "because": overall.because,
        "source": facts.source,
        "key": facts.key,
        "policy": {"name": facts.policy.name, "version": facts.policy.version, "digest": facts.policy.digest},
        "counts": counts,
        "files": digest_of(out),
        "dropped columns": store.get_json(made["clean"]["dropped"]),
        "evidence": [item.model_dump(mode="json") for item in judged],
    }
    write_atomically(out / "prepared.json", (json.dumps(summary, indent=1, ensure_ascii=False) + "\n").encode())
    page = preparation.render(
        preparation.Bundle(
            verdict=overall.verdict,
            because=overall.because,
            evidence=judged,
            counts=counts,
            aside=tuple(_aside(records, refused)),
            did=evidence.did(records),
            dropped=store.get_json(made["clean"]["dropped"]),
            sheets=tuple(path.read_bytes() for path in sheets),
            digests={
                "source": facts.source,
                "files": summary["files"],
                "policy": facts.policy.digest,
                "key": facts.key,
            },
            version=__version__,
            korean={
                rule.condition["en"]: rule.condition["ko"] for rule in facts.policy.rules.values() if rule.condition
            }
            | evidence.KOREAN,
        )
    )
    write_atomically(out / "prepared.html", page.encode())
    workshop.ledger.add_event("prepared.closed", {"verdict": overall.verdict, "files": summary["files"]})
    return Closed(overall.verdict, overall.because, out / "prepared.html", judged, counts)


def problems(into: Path, command: str) -> list[Problem]:
    """Why a study cannot use what lies in a folder of `chambit prepare`; empty when it can.

    Args:
        into: the folder.
        command: what prepares it, for the remedy.
    """
    try:
        told = json.loads((into / "prepared.json").read_bytes())
        same = told["files"] == digest_of(into)
    except (OSError, ValueError, KeyError) as error:
        what = f"has not been prepared ({type(error).__name__})"
        return [Problem(str(into), what, f"run `{command}` first")]
    if not same:
        what = "its files or labels.csv are not those that were examined"
        return [Problem(str(into), what, f"run `{command}` again; to leave a file out, take it from the originals")]
    return []


def recorded(into: Path) -> list[Finding]:
    """The findings of a preparation, as they were reported; the study's own policy judges them."""
    items = json.loads((into / "prepared.json").read_bytes())["evidence"]
    return [Finding.model_validate({name: item[name] for name in Finding.model_fields}) for item in items]


def digest_of(out: Path) -> str:
    """Digest of what was released: names and SHA-256 of all files, and the labels file."""
    rows = [[path.relative_to(out).as_posix(), digest.of_file(path)] for path in sorted((out / "files").rglob("*"))
            if path.is_file()]  # fmt: skip
    return digest.of_json([*rows, ["labels.csv", digest.of_file(out / "labels.csv")]])


def _outliers(store: Store, made: Made, keep: Iterable[str]) -> list[dict[str, Any]]:
    """Findings of the checks; those a person wants kept stay, with that as the reason."""
    if "outliers" not in made["quality"]:
        return []
    kept = set(keep)
    rows = store.get_table(made["quality"]["outliers"]).to_dicts()
    return [
        row | {"removed": False, "reason": f"{row['reason']}; kept by a person"} if _plain(row["file"]) in kept else row
        for row in rows
    ]


def _plain(file: str) -> str:
    """The file of a frame: `a/b.dcm` of `a/b.dcm[3]`."""
    name, bracket, _ = file.rpartition("[")
    return name if bracket and file.endswith("]") else file


def _release(out: Path, names: Sequence[str], masks: Mapping[str, str]) -> None:
    """Link (or copy) the files that may be used, and write their labels file."""
    folder = out / "files"
    wanted = {*names, *(masks[name] for name in names if masks.get(name))}
    for old in [path for path in folder.rglob("*") if path.is_file()] if folder.is_dir() else []:
        if old.relative_to(folder).as_posix() not in wanted:
            old.unlink()
    for name in sorted(wanted):
        target, source = folder / name, cleaned_folder(out) / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists() and target.read_bytes() == source.read_bytes():
            continue
        target.unlink(missing_ok=True)
        try:
            os.link(source, target)
        except OSError:  # another file system, or one without links
            shutil.copyfile(source, target)
    with listing(out).open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    write_atomically(out / "labels.csv", _csv(rows[0], [row for row in rows[1:] if row[0] in set(names)]))


def _csv(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue().encode()


def _closed(
    out: Path,
    records: Sequence[Mapping[str, Any]],
    refused: Sequence[Mapping[str, Any]],
    outliers: Sequence[Mapping[str, Any]],
    store: Store,
    made: Made,
) -> None:
    """Lists that name originals, or people's boxes; they stay in the closed network."""
    closed = out / "closed"
    original = {row["output"]: row["file"] for row in records if row["state"] == "cleaned"}
    write_atomically(
        closed / "mapping.csv",
        _csv(("original", "output", "subject"),
             [(row["file"], row["output"], row["subject"]) for row in records if row["state"] == "cleaned"]),
    )  # fmt: skip
    aside = [(row["file"], "", row["reason"], row["remedy"]) for row in records if row["state"] != "cleaned"]
    aside += [(original.get(_plain(r["file"]), ""), r["file"], r["reason"], r["remedy"]) for r in refused]
    write_atomically(closed / "set-aside.csv", _csv(("original", "output", "reason", "remedy"), aside))
    columns = ("check", "score", "limit", "reason", "reason_ko", "removed", "twin")
    write_atomically(
        closed / "outliers.csv",
        _csv(("original", "output", *columns),
             [(original.get(_plain(r["file"]), ""), r["file"], *(r[c] for c in columns)) for r in outliers]),
    )  # fmt: skip
    boxes = [
        (row["file"], row["output"], kind, *box.values())
        for row in records
        if row["state"] == "cleaned"
        for kind in ("redactions", "doubtful", "kept")
        for box in row[kind]
    ]
    write_atomically(closed / "text.csv", _csv(("original", "output", "outcome", *Redaction._fields), boxes))
    for name in ("labels", "cells"):
        if name in made["quality"]:
            table = store.get_table(made["quality"][name])
            write_atomically(closed / f"{name}.csv", _csv(table.columns, table.rows()))


def _aside(
    records: Sequence[Mapping[str, Any]], refused: Sequence[Mapping[str, Any]]
) -> Iterable[tuple[str, int, str, str]]:
    """Reasons for which files were set aside: reason, how many, remedy, one of them by a name that may be shown."""
    rows = [(row["reason"], row["remedy"], row["file"]) for row in records if row["state"] != "cleaned"]
    rows += [(row["reason"], row["remedy"], row["file"]) for row in refused]
    groups: dict[tuple[str, str], list[str]] = {}
    for reason, remedy, file in rows:
        groups.setdefault((reason, remedy), []).append(file)
    for (reason, remedy), files in sorted(groups.items(), key=lambda item: -len(item[1])):
        yield reason, len(files), remedy, identifiers.redacted(files[0].rsplit("/", 1)[-1])


def _sheets(
    out: Path,
    records: Sequence[Mapping[str, Any]],
    facts: Facts,
    images: ImageSet,
    outliers: Sequence[Mapping[str, Any]],
    store: Store,
) -> list[Path]:
    """Contact sheets: of redactions before and after (closed), after only, and of outliers; those for the page."""
    folder = out / "closed" / "sheets"
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.png"):
        old.unlink()
    shown = []
    for number, row in enumerate(records, start=1):
        if row["state"] == "cleaned" and (row["redactions"] or row["doubtful"]):
            before = cleaning.shown(facts.originals[row["file"]])
            after = cleaning.shown(cleaned_folder(out) / row["output"])
            for kind, outcome in (("redactions", "redact"), ("doubtful", "doubt")):
                boxes = [Redaction(**box) for box in row[kind]]
                shown += burned.entries(str(number), before, after, boxes, outcome)
    burned.sheet(shown, folder / "redactions.png")
    pages = burned.sheet(shown, folder / "after.png", after_only=True) if shown else []
    made = []
    if outliers:
        made = quality.contact_sheet(images, pl.DataFrame(outliers, schema=COLUMNS), folder / "outliers.png")
    return [*pages[:SHEETS], *made[:SHEETS]]
