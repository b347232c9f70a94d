"""Prepare originals: every file cleaned of identifiers and burned-in text, or set aside; then outliers and labels.

The steps: `clean` (each file alone), `search` (what was written, for identifiers of its originals), `recall` (what the
search for text finds in this batch), `intake` of the cleaned files, `quality` (outliers, duplicates, labels, small
cells), closing. Three places are written:

    OUT/files, labels.csv            what a study may use: cleaned files under new names
    OUT/prepared.html, prepared.json the evidence, without any original name
    OUT/closed, OUT/work             names of originals, what was removed and why, pictures from before: not for release
"""

import csv
import io
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from chambit.core import digest, offline
from chambit.core.errors import InputError, Problem
from chambit.core.steps import Context, Listener, Outputs, Step, Workshop
from chambit.core.store import Store, write_atomically
from chambit.core.study import Run, load, resolve
from chambit.images import imageset
from chambit.images.imageset import ImageSet
from chambit.pipeline import cleaning, plan, prepared
from chambit.pipeline.plan import Made, Planned
from chambit.pipeline.study import WORK, engine_of, writable
from chambit.prepare import burned, deidentify, faces, identifiers, intake, quality
from chambit.prepare.listing import Source, inputs_digest, survey
from chambit.review import policy as policies
from chambit.review.policy import Policy

SEED = 0
FILES_A_CHUNK = 8
SAMPLED = 60  # files of which a frame is used to plant text
SHORTEST_LIST = 20  # a column with more different values than this may name people
COLUMNS = ("file", "subject", "label", "mask")


class Wanted(NamedTuple):
    """What to prepare and how.

    Attributes:
        source: the originals, with their labels file where there is one.
        key: of the pseudonyms.
        policy: with the settings of `burned`, `quality` and `preparation`.
        run: engine and workers.
        redact: `all` text, or only `identifiers`.
        keep: new names of files that the checks of quality must not remove.
    """

    source: Source
    key: deidentify.Key
    policy: Policy
    run: Run = Run()
    redact: str = "all"
    keep: frozenset[str] = frozenset()

    @property
    def burned(self) -> burned.Options:
        """How text is looked for."""
        return burned.Options.model_validate(self.policy.settings.get("burned", {}) | {"redact": self.redact})

    @property
    def faces(self) -> faces.Options:
        """How a face is looked for in volumes."""
        return faces.Options.model_validate(self.policy.settings["faces"])

    @property
    def quality(self) -> quality.Options:
        """How outliers are looked for."""
        return quality.Options.model_validate(self.policy.settings.get("quality", {}))

    @property
    def settings(self) -> "Settings":
        """Numbers of the policy that this room itself uses."""
        return Settings(**self.policy.settings["preparation"])


class Settings(NamedTuple):
    """Settings of the policy: `height` and `contrast` (of 255) from which planted text counts as readable; `covered`:
    share of readable plants below which the search is INVALID; `least`: fewest subjects of a cell; `plants`: texts for
    each height, contrast and script.
    """

    height: int
    contrast: int
    covered: float
    least: int
    plants: int


class Asked(NamedTuple):
    """A request that was checked, and where its output goes."""

    wanted: Wanted
    out: Path


def asked_for(
    source: Path,
    out: Path | None,
    key: Path | None,
    *,
    labels: Path | None = None,
    policy: str = "default",
    run: Run | None = None,
    redact: str = "all",
    keep: Sequence[str] = (),
) -> Asked:
    """Check everything that can be wrong before a file is opened; a key is made where there is none.

    Args:
        source: a folder of originals, or a study file with a block `prepare`.
        out: where the output goes; a study names it.
        key: of the pseudonyms; a study names it.
        labels: of the originals; a study names it.
        policy: of a folder; a study names its own.
        run: engine and workers.
        redact: `all` or `identifiers`; a study names it.
        keep: new names of files that the checks of quality must not remove; added to those of a study.

    Raises:
        InputError, StudyError: with all problems of folder, labels, key and policy.
    """
    if source.is_file() and source.suffix in (".yaml", ".yml"):
        return _of_study(source, out, key, run, keep)
    given = [("--out", out), ("--key", key)]
    lacking = [Problem(name, "is not given", "give it, or a study that names it") for name, path in given if not path]
    if lacking or out is None or key is None:
        raise InputError(f"{source} cannot be prepared.", lacking)
    return _asked(Source(source, labels=labels), out, key, policies.load(policy), run, redact, keep)


def _of_study(file: Path, out: Path | None, key: Path | None, run: Run | None, keep: Sequence[str]) -> Asked:
    study = load(file)
    given, files = study.prepare, study.cohort.files
    if given is None or files is None:
        remedy = "add `prepare: {into: FOLDER, key: FILE}` beside `cohort.files`"
        raise InputError(f"{file} cannot be prepared.", [Problem(str(file), "has no block `prepare`", remedy)])
    labels = resolve(file, files.labels) if files.labels else None
    return _asked(
        Source(resolve(file, files.path), files.part, labels, files.class_names, subjects=files.subjects),
        out or resolve(file, given.into),
        key or resolve(file, given.key),
        policies.load(study.policy, file.parent),
        run,
        given.redact,
        (*given.keep, *keep),
    )


def _asked(
    source: Source, out: Path, key: Path, policy: Policy, run: Run | None, redact: str, keep: Sequence[str]
) -> Asked:
    problems: list[Problem] = []
    inside = [place for place in (source.path, out) if key.resolve().is_relative_to(place.resolve())]
    if inside:
        remedy = "keep the key outside the originals and outside the output: who has both can undo the pseudonyms"
        problems.append(Problem(str(key), f"lies inside {inside[0]}", remedy))
    if out.resolve().is_relative_to(source.path.resolve()):
        problems.append(Problem(str(out), "lies inside the originals", "give a folder beside them"))
    if reason := burned.missing():
        problems.append(Problem("text recognition", reason, "without it nothing can be said about text in pixels"))
    if any(entry.part for entry in survey(source).entries):
        remedy = "an .npz holds no header and no subject; a study can use it as it is"
        problems.append(Problem(str(source.path), "is an archive of arrays, not original files", remedy))
    if problems:
        raise InputError(f"{source.path} cannot be prepared.", problems)
    if not key.exists():
        deidentify.Key.new().save(key)
    wanted = Wanted(source, deidentify.Key.load(key), policy, run or Run(), redact, frozenset(keep))
    return Asked(wanted, out.resolve())


def planned(asked: Wanted, out: Path) -> list[Planned]:
    """All steps, in order."""
    count = len(survey(asked.source).entries)
    return [
        Planned("clean", lambda _: _clean(asked, out), count, "files", 2.0, 1),
        Planned("search", partial(_search, asked, out), count, "files", 100.0, 0),
        Planned("recall", partial(_recall, asked, out), asked.settings.plants * 48, "texts", 3.0, 0),
        Planned("intake", partial(_intake, asked, out), count, "files", 300.0, 1),
        Planned("quality", partial(_quality, asked), count, "images", 500.0, 1),
    ]


def run(asked: Wanted, out: Path, tell: Listener) -> prepared.Closed:
    """Do what is missing and write the files."""
    offline.guard()
    writable(out)
    workshop = Workshop.at(out / WORK, engine_of(asked.run), tell)
    try:
        made = plan.run(workshop, planned(asked, out))
        facts = prepared.Facts(
            policy=asked.policy,
            source=inputs_digest(asked.source),
            key=fingerprint(asked.key),
            keep=asked.keep,
            settings=asked.settings._asdict(),
            beside=survey(asked.source).beside,
            originals={entry.name: entry.path for entry in survey(asked.source).entries},
        )
        return prepared.close(workshop, out, made, facts)
    finally:
        workshop.close()


def fingerprint(key: deidentify.Key) -> str:
    """A name of a key that tells nothing of it."""
    return key.uid("fingerprint of the key")[-16:]


def _clean(asked: Wanted, out: Path) -> Step:
    source, folder = asked.source, prepared.cleaned_folder(out)
    options = {"burned": asked.burned.model_dump(), "key": fingerprint(asked.key), "faces": asked.faces.model_dump()}

    def run(context: Context) -> Outputs:
        entries = survey(source).entries
        root = source.path if source.path.is_dir() else source.path.parent
        chunks = [entries[at : at + FILES_A_CHUNK] for at in range(0, len(entries), FILES_A_CHUNK)]
        tasks = {
            digest.of_json([[entry.name, entry.subject, entry.label] for entry in chunk])[:16]: cleaning.Job(
                chunk, root, asked.key, folder, asked.burned, asked.faces
            )
            for chunk in chunks
        }
        sizes = {key: len(job.entries) for key, job in tasks.items()}

        def still(_: str, output: str) -> bool:
            rows = context.store.get_json(output)
            return all((folder / row["output"]).exists() for row in rows if row["state"] == "cleaned")

        made = context.map(cleaning.clean_chunk, tasks, unit="files", sizes=sizes, still=still)
        records = [row for key in made.values() for row in context.store.get_json(key)]
        cleaned = [row for row in records if row["state"] == "cleaned"]
        if not cleaned:
            shown = [Problem(identifiers.redacted(row["file"]), row["reason"], row["remedy"]) for row in records[:10]]
            raise InputError("Not one file could be cleaned.", shown)
        if len({row["output"] for row in cleaned}) < len(cleaned):
            problem = Problem("new names", "two files would have the same one, by chance", "use another key")
            raise InputError("The files cannot be named apart.", [problem])
        columns, dropped = safe_columns(cleaned)
        write_atomically(prepared.listing(out), _listing(cleaned, columns))
        context.note(f"{len(cleaned):,} files are cleaned, {len(records) - len(cleaned):,} set aside.")
        return {"records": context.store.put_json(records), "dropped": context.store.put_json(dropped)}

    # files are read again when their names or sizes change, and written again when somebody took one away
    return Step("clean", "2", options, {"files": inputs_digest(source)}, run, SEED, present=_present(out))


def _present(out: Path) -> Any:
    def present() -> bool:
        listing = prepared.listing(out)
        if not listing.exists():
            return False
        names = pl.read_csv(listing, infer_schema=False)["file"].to_list()
        return all((prepared.cleaned_folder(out) / name).exists() for name in names)

    return present


def safe_columns(records: Sequence[Mapping[str, Any]]) -> tuple[list[str], dict[str, str]]:
    """Free columns of the labels file that may go along, and why each other one may not.

    A column goes along when it has few different values and none reads like an identifier.
    """
    names = sorted({name for row in records for name in row["fields"]} - set(COLUMNS))
    dropped = {}
    for name in names:
        values = {row["fields"].get(name, "") for row in records} - {""}
        if len(values) > SHORTEST_LIST:
            dropped[name] = f"{len(values)} different values: it may tell people apart"
        elif any(identifiers.find(value) for value in values) or identifiers.find(name):
            dropped[name] = "a value reads like an identifier"
    return [name for name in names if name not in dropped], dropped


def _listing(records: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> bytes:
    """The labels file of the cleaned files."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*COLUMNS, *columns])
    for row in sorted(records, key=lambda row: str(row["output"])):
        own = [row["output"], row["subject"], row["label"], row["mask"]]
        writer.writerow([*own, *(row["fields"].get(name, "") for name in columns)])
    return text.getvalue().encode()


def _search(asked: Wanted, out: Path, made: Made) -> Step:
    """What lies in the output is searched for the identifiers of its originals: 0 is a count and no promise."""

    def run(context: Context) -> Outputs:
        entries = {entry.name: entry for entry in survey(asked.source).entries}
        pairs = [
            cleaning.Pair(entries[row["file"]], prepared.cleaned_folder(out) / row["output"])
            for row in context.store.get_json(made["clean"]["records"])
            if row["state"] == "cleaned"
        ]
        tasks = {key: [pairs[k] for k in part] for key, part in imageset.chunks(len(pairs), 64)}
        sizes = {key: len(part) for key, part in tasks.items()}
        keys = context.map(cleaning.search_chunk, tasks, unit="files", sizes=sizes)
        hits = {name: found for key in keys.values() for name, found in context.store.get_json(key).items()}
        return {"residues": context.store.put_json(hits)}

    return Step("search", "1", {}, {"records": made["clean"]["records"]}, run, SEED)


def _recall(asked: Wanted, out: Path, made: Made) -> Step:
    settings = asked.settings

    def run(context: Context) -> Outputs:
        cleaned = [row for row in context.store.get_json(made["clean"]["records"]) if row["state"] == "cleaned"]
        looked = sorted(row["output"] for row in cleaned if row["frames"])
        if not looked:
            return {"recall": context.store.put_json(None)}
        rng = np.random.default_rng(context.seed("sample"))
        chosen = [looked[k] for k in np.sort(rng.permutation(len(looked))[:SAMPLED])]
        task = _Planting(
            tuple(prepared.cleaned_folder(out) / name for name in chosen),
            asked.burned,
            settings.plants,
            context.seed("plant"),
        )
        keys = context.map(_plant, {"plants": task}, unit="texts", sizes={"plants": settings.plants * 48})
        return {"recall": keys["plants"]}

    inputs = {"records": made["clean"]["records"]}
    return Step("recall", "1", {"plants": settings.plants, "burned": asked.burned.model_dump()}, inputs, run, SEED)


class _Planting(NamedTuple):
    files: tuple[Path, ...]
    options: burned.Options
    plants: int
    seed: int


def _plant(store: Store, task: _Planting) -> str:
    """Plant text into the middle frame of some cleaned files, and look for it."""
    frames = [cleaning.shown(path) for path in task.files]
    images = [each[len(each) // 2] for each in frames]
    found = burned.recall(images, task.options, np.random.default_rng(task.seed), each=task.plants)
    told = {name: value for name, value in found._asdict().items() if name != "cells"}
    return store.put_json(told | {"cells": [cell._asdict() for cell in found.cells]})


def _intake(asked: Wanted, out: Path, made: Made) -> Step:
    """The cleaned files as images, a film or volume by its middle frame, so that they can be compared."""
    source = Source(prepared.cleaned_folder(out), labels=prepared.listing(out))
    rules = intake.Rules(resize=True, frames="middle", colour="grey")

    def run(context: Context) -> Outputs:
        return intake.take_in(context, source, rules, prefix="P")

    return Step("intake", "1", {}, {"records": made["clean"]["records"]}, run, SEED)


def _quality(asked: Wanted, made: Made) -> Step:
    options, least = asked.quality, asked.settings.least

    def run(context: Context) -> Outputs:
        images = ImageSet.load(context.store, made["intake"]["images"])
        keep = context.store.put_table
        if len(images) < options.least:
            why = f"There are {len(images)} images; {options.least} are needed to say what is usual among them."
            return {"reason": context.store.put_json(why), "cells": keep(prepared.cells(images, least))}
        outliers = quality.examine(images, options, np.random.default_rng(context.seed("outliers")))
        removed = set(outliers.filter(pl.col("removed"))["id"].to_list())
        rest = images.take(np.flatnonzero(~np.isin(images.table["id"].to_numpy(), list(removed))))
        reviewed = quality.review(rest, options, np.random.default_rng(context.seed("labels")))
        return {
            "outliers": keep(outliers),
            "labels": keep(reviewed.listed),
            "reviewed": context.store.put_json({"auroc": reviewed.auroc, "reason": reviewed.reason}),
            "cells": keep(prepared.cells(rest, least)),
            "reason": context.store.put_json(""),
        }

    inputs = {"images": made["intake"]["images"]}
    return Step("quality", "1", options.model_dump(mode="json") | {"cell": least}, inputs, run, SEED)
