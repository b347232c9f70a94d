"""Join what was said of each image alone: depth of the cohort, copies, who is who, and the account of every file.

What is known of an image is a row of columns here, not a record: one more file costs intake 1.7 kB of memory at its
peak, listing included (`benchmarks/intake.py`), so 100,000 files fit in any machine.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from chambit.core.errors import InputError, Problem
from chambit.core.steps import Context
from chambit.core.store import Store
from chambit.images import imageset
from chambit.prepare.labels import some
from chambit.prepare.listing import Entry

REFUSED = ("file", "reason", "remedy")
_COLUMNS: dict[str, Any] = {
    "file": pl.String,
    "of": pl.String,
    "state": pl.String,
    "read": pl.Boolean,
    "reason": pl.String,
    "remedy": pl.String,
    "subject": pl.String,
    "subject_known": pl.Boolean,
    "label": pl.String,
    "bits": pl.Int64,
    "shown": pl.String,
    "native": pl.List(pl.Int64),
    "used": pl.Int64,
    "empty": pl.Int64,
    "fields": pl.String,
    "block": pl.String,
    "row": pl.Int64,
    "sha256": pl.String,
}


class Accounts(NamedTuple):
    """How many files and images there were, and how each ended; a file of which any image was taken is accepted.

    `images` counts each file that was refused before its images could be told as one.
    """

    files: int
    files_accepted: int
    files_set_aside: int
    images: int
    images_accepted: int
    images_set_aside: int


def refused(file: str, reason: str, remedy: str) -> dict[str, Any]:
    """The record of what is refused: a file, or an image of one."""
    return {"file": file, "state": "refused", "read": False, "reason": reason, "remedy": remedy}


def of_file(name: str, records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The records of one file, each told in place which file it is of.

    Where a film has several images and none is accepted for one and the same reason, one record stands for all.

    >>> blank = [refused(f"film.dcm[{number}]", "blank: every pixel is 0", "leave it out") for number in range(3)]
    >>> [(record["file"], record["reason"]) for record in of_file("film.dcm", blank)]
    [('film.dcm', 'all 3 images: blank: every pixel is 0')]
    """
    reasons = {record.get("reason") for record in records}
    if len(records) > 1 and len(reasons) == 1 and None not in reasons:
        records = [records[0] | {"file": name, "reason": f"all {len(records)} images: {records[0]['reason']}"}]
    for record in records:
        record["of"] = name  # in place: where its pixels lie is written to it later
    return list(records)


def joined(store: Store, chunks: Iterable[str]) -> pl.DataFrame:
    """All records that were kept in chunks, a row each, in order."""
    tables = [_table(store.get_json(key)) for key in chunks]
    return pl.concat(tables) if tables else _table([])


def check_cohort(looked: pl.DataFrame, remedy: str) -> None:
    """Stop when nothing is readable, or most of what is readable is coloured.

    Raises:
        InputError: with the reasons of the first files, or with `remedy` for the colour.
    """
    readable, coloured = int(looked["read"].sum()), int((looked["state"] == "colour").sum())
    if not readable:
        raise InputError("None of the files can be read as an image.", _problems(looked))
    if 2 * coloured > readable:
        what = f"{coloured} of {readable} readable images are coloured"
        problem = Problem("images", what, remedy)
        raise InputError("Most images are coloured, and the cohort is taken as grey.", [problem])


def deepened(context: Context, looked: pl.DataFrame) -> pl.DataFrame:
    """Bring every block to 16 bits as soon as one accepted image has more than 8."""
    accepted = looked.filter(state="accepted")
    shallow = accepted.filter(pl.col("bits") <= 8)["block"].unique(maintain_order=True).to_list()
    if not shallow or (accepted["bits"] <= 8).all():
        return looked
    made = context.map(_deepen, {f"deep {block}": block for block in shallow}, unit="blocks")
    rows = [
        (block, row, new["block"], sha)
        for block in shallow
        for new in [context.store.get_json(made[f"deep {block}"])]
        for row, sha in enumerate(new["sha256"])
    ]
    schema = {"block": pl.String, "row": pl.Int64, "deep_block": pl.String, "deep_sha256": pl.String}
    deep = pl.DataFrame(rows, schema=schema, orient="row")
    both = looked.join(deep, on=["block", "row"], how="left", maintain_order="left")
    names = ("block", "sha256")
    return both.with_columns(pl.coalesce(f"deep_{name}", name).alias(name) for name in names).select(_COLUMNS.keys())


def copies_refused(looked: pl.DataFrame) -> pl.DataFrame:
    """Refuse all but the first of images with equal pixels, and all of them when their labels differ."""
    asked = looked.select("state", "file", "of", "subject", "label", "sha256").with_row_index("at")
    accepted = asked.filter(pl.col("state") == "accepted")
    twice = accepted.filter(pl.len().over("sha256") > 1)
    if twice.is_empty():
        return looked
    groups: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in twice.iter_rows(named=True):
        groups[row["sha256"]].append(row)
    told = [entry for group in groups.values() for entry in _copies(group)]
    schema = {"at": pl.UInt32, "why": pl.String, "mend": pl.String}
    both = looked.with_row_index("at").join(
        pl.DataFrame(told, schema=schema, orient="row"), on="at", how="left", maintain_order="left"
    )
    copy = pl.col("why").is_not_null()
    return both.with_columns(
        state=pl.when(copy).then(pl.lit("refused")).otherwise("state"),
        reason=pl.coalesce("why", "reason"),
        remedy=pl.coalesce("mend", "remedy"),
    ).select(_COLUMNS.keys())


def kinds(accepted: pl.DataFrame) -> Iterator[dict[str, Any]]:
    """What `intensities.counted` asks of accepted images, equal ones joined and counted in `images`."""
    groups = accepted.group_by("bits", "shown", "native", maintain_order=True)
    return groups.agg(pl.max("used"), pl.min("empty"), images=pl.len()).iter_rows(named=True)


def put(context: Context, looked: pl.DataFrame, listed: Sequence[Entry], prefix: str) -> dict[str, str]:
    """Keep the tables of accepted and refused images in listing order, and the accounts.

    Raises:
        InputError: when every file was refused.
    """
    every = _with_barred(looked, listed)
    accepted, aside = every.filter(pl.col("state") == "accepted"), every.filter(pl.col("state") != "accepted")
    if accepted.is_empty():
        raise InputError("Every file was refused.", _problems(aside))
    counts = Accounts(
        files=len(listed),
        files_accepted=accepted["of"].n_unique(),
        files_set_aside=every["of"].n_unique() - accepted["of"].n_unique(),
        images=len(every),
        images_accepted=len(accepted),
        images_set_aside=len(aside),
    )
    context.note(f"{len(accepted):,} images are accepted, {len(aside):,} files are refused.")
    return {
        "images": context.store.put_table(_named(accepted, prefix)),
        "refused": context.store.put_table(aside.select(REFUSED)),
        "accounts": context.store.put_json(counts._asdict()),
    }


def _with_barred(looked: pl.DataFrame, listed: Sequence[Entry]) -> pl.DataFrame:
    """All rows in listing order, with one for each file that was refused before it was opened."""
    barred = [entry for entry in listed if entry.refused]
    if not barred:
        return looked
    told = _table([refused(entry.name, entry.refused, entry.remedy) | {"of": entry.name} for entry in barred])
    places = pl.DataFrame({"of": [entry.name for entry in listed], "place": np.arange(len(listed))})
    every = pl.concat([looked, told]).join(places, on="of", how="left", maintain_order="left")
    return every.sort("place", maintain_order=True).select(_COLUMNS.keys())


def _table(records: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    told = [dict(record) | {"fields": json.dumps(record.get("fields", {}), ensure_ascii=False)} for record in records]
    return pl.DataFrame({name: [record.get(name) for record in told] for name in _COLUMNS}, schema=_COLUMNS)


def _named(accepted: pl.DataFrame, prefix: str) -> pl.DataFrame:
    """The table of a set of images: ids, subjects, and a column for each thing that is said of any."""
    fixed = [*imageset.COLUMNS, "file", "bits", "subject_known"]
    said = [json.loads(fields) for fields in accepted["fields"].unique()]
    # last what the labels file says: a column of its may be called like something that is noted of a file here
    free = sorted({name for fields in said for name in fields} - set(fixed))
    shape = pl.Struct(dict.fromkeys(free, pl.String))
    numbers = pl.int_range(pl.len()).cast(pl.String).str.zfill(6)
    table = accepted.with_columns(id=pl.lit(prefix) + numbers)
    # Not the file's name: two folders that number their files alike would seem to share patients. Frames of one file
    # are of one subject, called like the first of them.
    unknown = pl.col("id").first().over("of")
    table = table.with_columns(subject=pl.when("subject_known").then("subject").otherwise(unknown))
    if free:
        columns = table["fields"].str.json_decode(shape).struct.unnest().fill_null("")
        table = table.select(fixed).hstack(columns)
    return table.select(*fixed, *free)


def _copies(group: Sequence[Mapping[str, Any]]) -> Iterator[tuple[int, str, str]]:
    """Position, reason and remedy of those of a group of equal images that are refused."""
    first, alike = group[0], len({row["label"] for row in group}) == 1
    for row in group:
        if not alike:
            unlike = next(other for other in group if other["label"] != row["label"])
            labels = f"labelled '{row['label']}', the other '{unlike['label']}'"
            remedy = "find out which is right and remove the other file"
            yield row["at"], f"same pixels as {unlike['file']}, but {labels}", remedy
        elif row is not first:
            # where nobody says whom a file shows, each file is a subject of its own
            one = (row["subject"] or row["of"]) == (first["subject"] or first["of"])
            whose = "" if one else ", under another subject"
            yield row["at"], f"exact copy of {first['file']} (same pixels){whose}", "remove one of the two"


def _deepen(store: Store, block: str) -> str:
    # 255 * 257 = 65535: brightness in [0, 1] stays exactly the same.
    block, digests = imageset.put_block(store, store.get_arrays(block)["pixels"].astype(np.uint16) * np.uint16(257))
    return store.put_json({"block": block, "sha256": digests})


def _problems(looked: pl.DataFrame) -> list[Problem]:
    rows = looked.filter(pl.col("reason").is_not_null()).select(REFUSED).iter_rows()
    return some([Problem(*row) for row in rows], "files")
