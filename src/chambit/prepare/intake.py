"""Take images in: each file ends as accepted, or as refused with a reason and a remedy.

Accepted images become grey, of one size and of full scale (255, or 65535 as soon as one source has more than
8 bits), so that equal numbers mean equal brightness whatever the container was. Whether a cohort is coloured,
how deep it is, and which images are copies of each other is decided over all files, after each was looked at.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from chambit.core.errors import InputError, Problem
from chambit.core.steps import Context
from chambit.core.store import Store
from chambit.images import imageset, readers
from chambit.images.image import Image
from chambit.images.readers import npz
from chambit.prepare import intensities
from chambit.prepare.labels import some
from chambit.prepare.listing import Entry, Source, Survey, files, inputs_digest, survey

__all__ = [
    "Entry",
    "Rules",
    "Source",
    "Survey",
    "check_classes",
    "files",
    "inputs_digest",
    "survey",
    "take_in",
]

FIRST = 64  # readable files that are looked at to find the common size
LONGEST = 128  # pixels of the longer side when no size is given
REFUSED = {"file": pl.String, "reason": pl.String, "remedy": pl.String}
_SHALLOW = 4095  # a 16-bit file that stays below this was written with 12 bits or fewer
_COLOUR = "save it as grey if the colour means nothing"


@dataclass(frozen=True)
class Rules:
    """What accepted images must be.

    Attributes:
        size: rows and columns of the result. None takes the most common size of the first 64 readable files;
            where its longer side is above 128 pixels, all are reduced alike so that it is 128.
        resize: whether images of another size are resized (averaged over the area) or refused. Proportions
            are not kept when they differ.
    """

    size: tuple[int, int] | None = None
    resize: bool = False


def take_in(context: Context, source: Source, rules: Rules, *, prefix: str) -> dict[str, str]:
    """The body of a step that takes images in.

    Args:
        context: the step's context; files are read in chunks of 256.
        source: where the images are.
        rules: what they must be.
        prefix: begins each id; six digits follow that count the accepted images in listing order.

    Returns:
        `images`: digest of the table of accepted images (`imageset.COLUMNS`, then `file`, `bits` of the
        source, `subject_known`, and every free column as text); `refused`: digest of a table of `file`,
        `reason` and `remedy`; `intensities`: digest of what was done to grey levels and sizes, see
        `intensities.counted`.

    Raises:
        InputError: when nothing can be accepted, most images are coloured, or the listing has problems.
    """
    found = survey(source)
    if found.beside:
        context.note(f"{found.beside} files beside the images (texts, tables, masks, hidden) are left alone.")
    entries = [entry for entry in found.entries if not entry.refused]
    tasks = _tasks(entries, source, rules, context.scratch)
    sizes = {key: len(task.entries) for key, task in tasks.items()}
    size = next(iter(tasks.values())).size if tasks else (1, 1)
    made = context.map(_take_chunk, tasks, unit="files", sizes=sizes)
    records = [record for key in made for record in context.store.get_json(made[key])]
    _check_cohort(records)
    accepted = _deep(context, [record for record in records if record["state"] == "accepted"])
    _refuse_copies(accepted)
    up_front = [_refused(entry.name, entry.refused, entry.remedy) for entry in found.entries if entry.refused]
    outputs = _put(context, [*records, *up_front], [entry.name for entry in found.entries], prefix)
    working = 16 if any(record["bits"] > 8 for record in accepted) else 8
    kept = [record for record in accepted if record["state"] == "accepted"]
    rows = intensities.counted(kept, size, working)
    return outputs | {"intensities": context.store.put_json(rows)}


def check_classes(table: pl.DataFrame, minimum: int) -> list[Problem]:
    """The classes that have fewer than `minimum` images, as problems; empty when all have enough."""
    counts = Counter(table["label"].to_list())
    return [
        Problem(
            f"class '{label}'" if label else "images without a label",
            f"{count} image{'' if count == 1 else 's'} accepted, at least {minimum} are needed",
            "bring more, join it to another class with class_names, or leave the class out",
        )
        for label, count in sorted(counts.items())
        if count < minimum
    ]


@dataclass(frozen=True)
class _Task:
    entries: Sequence[Entry]
    unpacked: Mapping[str, Path]
    native: tuple[int, int]
    size: tuple[int, int]
    resize: bool
    class_names: Mapping[str, str]


def _tasks(entries: Sequence[Entry], source: Source, rules: Rules, scratch: Path) -> dict[str, _Task]:
    parts = dict.fromkeys(entry.part for entry in entries if entry.index >= 0)
    unpacked = {part: npz.unpack(source.path, part, scratch) for part in parts}
    native, size = (rules.size, rules.size) if rules.size else _common_size(entries, unpacked)
    return {
        key: _Task([entries[at] for at in chunk], unpacked, native, size, rules.resize, dict(source.class_names))
        for key, chunk in imageset.chunks(len(entries))
    }


def _take_chunk(store: Store, task: _Task) -> str:
    """Look at up to 256 files alone; keeps their pixels in a block per depth and one JSON record for each."""
    records: list[dict[str, Any]] = []
    kept: dict[str, list[np.ndarray]] = defaultdict(list)
    owners: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for entry, opened in _opened(task.entries, task.unpacked):
        if isinstance(opened, InputError):
            record = _refused(entry.name, opened.problems[0].what, opened.problems[0].remedy)
        else:
            image, sixteen = opened
            record = _looked_at(entry, image, sixteen, task)
            if record["state"] == "accepted":
                pixels = _working(image, task.size)
                kept[pixels.dtype.str].append(pixels)
                owners[pixels.dtype.str].append(record)
        records.append(record)
    for depth, arrays in kept.items():
        block, digests = imageset.put_block(store, np.stack(arrays))
        for row, (record, sha) in enumerate(zip(owners[depth], digests, strict=True)):
            record.update(block=block, row=row, sha256=sha)
    return store.put_json(records)


def _opened(
    entries: Sequence[Entry], unpacked: Mapping[str, Path]
) -> Iterator[tuple[Entry, tuple[Image, bool] | InputError]]:
    """Yield each entry with (its image, whether it is a 16-bit raster file), or with the error instead."""
    arrays = {part: np.load(path, mmap_mode="r", allow_pickle=False) for part, path in unpacked.items()}
    for entry in entries:
        try:
            if entry.index >= 0:
                yield entry, (Image(np.array(arrays[entry.part][entry.index]), 255), False)
                continue
            name, reader = readers.find(entry.path)
            if name == "npz":
                remedy = "name the .npz itself as the source of a study"
                raise readers.refusal(entry.path, "an archive of many images inside a folder", remedy)
            images = [image for _, image in reader.read(entry.path)]
            if len(images) != 1:
                raise readers.refusal(entry.path, f"holds {len(images)} images", "save each as a file of its own")
            yield entry, (images[0], name == "raster" and images[0].white == 65535)
        except InputError as error:
            yield entry, error


def _looked_at(entry: Entry, image: Image, sixteen: bool, task: _Task) -> dict[str, Any]:
    """The record of one readable image: accepted, coloured, or refused."""
    shape, top = image.pixels.shape[:2], int(image.pixels.max())
    record: dict[str, Any] | None = None
    if image.colour:
        record = _refused(entry.name, "a colour image among grey ones", _COLOUR) | {"state": "colour"}
    elif int(image.pixels.min()) == top:
        record = _refused(entry.name, f"blank: every pixel is {top}", "export it again, or leave it out")
    elif sixteen and top <= _SHALLOW:
        what = f"16-bit file that uses only {top.bit_length()} bits: full brightness unknown"
        record = _refused(entry.name, what, "save it full-scale or as DICOM")
    elif shape != tuple(task.native) and not task.resize:
        what = f"wrong size: {shape[0]} x {shape[1]} (rows x columns), not {task.native[0]} x {task.native[1]}"
        record = _refused(entry.name, what, "allow resizing in the study, or leave it out")
    if record is not None:
        return record | {"read": True}
    subject = entry.subject or image.subject
    return {
        "file": entry.name,
        "state": "accepted",
        "read": True,
        "subject": subject or entry.name,
        "subject_known": bool(subject),
        "label": entry.label or task.class_names.get(image.label, image.label),
        "bits": image.white.bit_length(),
        "shown": image.shown,
        **intensities.of_image(image.pixels, image.white.bit_length()),
        "fields": {**image.fields, **entry.fields},
    }


def _refused(file: str, reason: str, remedy: str) -> dict[str, Any]:
    return {"file": file, "state": "refused", "read": False, "reason": reason, "remedy": remedy}


def _working(image: Image, size: tuple[int, int]) -> np.ndarray:
    """The image at the size asked for and full scale: uint8 in [0, 255] or uint16 in [0, 65535], (H, W)."""
    from PIL import Image as Pillow

    full = 255 if image.white <= 255 else 65535
    plane = image.pixels if image.pixels.ndim == 2 else image.pixels[:, :, 0]
    if plane.shape != tuple(size):
        # Averaging over the area leaves no aliasing. It would repeat pixels when enlarging: a slope there.
        smaller = plane.shape[0] >= size[0] and plane.shape[1] >= size[1]
        way = Pillow.Resampling.BOX if smaller else Pillow.Resampling.BILINEAR
        plane = np.asarray(Pillow.fromarray(plane.astype(np.float32)).resize((size[1], size[0]), way))
    elif image.white == full:
        return np.ascontiguousarray(plane)
    scaled = np.rint(plane.astype(np.float64) * (full / image.white))
    return np.clip(scaled, 0, full).astype(np.uint8 if full == 255 else np.uint16)


def _common_size(entries: Sequence[Entry], unpacked: Mapping[str, Path]) -> tuple[tuple[int, int], tuple[int, int]]:
    """The most common size of the first 64 readable images, and it with its longer side at most 128."""
    sizes: Counter[tuple[int, int]] = Counter()
    for _, opened in _opened(entries, unpacked):
        if not isinstance(opened, InputError):
            height, width = opened[0].pixels.shape[:2]
            sizes[height, width] += 1
        if sizes.total() == FIRST:
            break
    if not sizes:
        return (1, 1), (1, 1)  # nothing is readable, which the merge will say
    native = max(sizes, key=lambda size: (sizes[size], size))
    scale = min(1.0, LONGEST / max(native))
    return native, (max(1, round(native[0] * scale)), max(1, round(native[1] * scale)))


def _check_cohort(records: Sequence[Mapping[str, Any]]) -> None:
    """Stop when nothing is readable, or most of what is readable is coloured."""
    readable = [record for record in records if record["read"]]
    coloured = [record for record in records if record["state"] == "colour"]
    if not readable:
        raise InputError("None of the files can be read as an image.", _problems(records))
    if 2 * len(coloured) > len(readable):
        what = f"{len(coloured)} of {len(readable)} readable images are coloured"
        raise InputError("Colour cohorts are not supported yet.", [Problem("images", what, _COLOUR)])


def _problems(records: Sequence[Mapping[str, Any]]) -> list[Problem]:
    refused = [record for record in records if "reason" in record]
    return some([Problem(record["file"], record["reason"], record["remedy"]) for record in refused], "files")


def _deep(context: Context, accepted: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Bring every block to 16 bits as soon as one image has more than 8; the records are changed in place."""
    shallow = {record["block"]: record["block"] for record in accepted if record["bits"] <= 8}
    if not shallow or all(record["bits"] <= 8 for record in accepted):
        return accepted
    made = context.map(_deepen, {f"deep {block}": block for block in shallow}, unit="blocks")
    deepened = {block: context.store.get_json(made[f"deep {block}"]) for block in shallow}
    for record in accepted:
        if record["block"] in deepened:
            new = deepened[record["block"]]
            record.update(block=new["block"], sha256=new["sha256"][record["row"]])
    return accepted


def _deepen(store: Store, block: str) -> str:
    # 255 * 257 = 65535: brightness in [0, 1] stays exactly the same.
    block, digests = imageset.put_block(store, store.get_arrays(block)["pixels"].astype(np.uint16) * np.uint16(257))
    return store.put_json({"block": block, "sha256": digests})


def _refuse_copies(accepted: list[dict[str, Any]]) -> None:
    """Refuse all but the first of images with equal pixels, and all of them when their labels differ."""
    groups: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for record in accepted:
        groups[record["sha256"]].append(record)
    for group in groups.values():
        first, alike = group[0], len({record["label"] for record in group}) == 1
        for at, record in enumerate(group):
            if not alike:
                unlike = next(other for other in group if other["label"] != record["label"])
                labels = f"labelled '{record['label']}', the other '{unlike['label']}'"
                what, remedy = f"same pixels as {unlike['file']}, but {labels}", "find out which is right"
                record.update(_refused(record["file"], what, f"{remedy} and remove the other file"))
            elif at > 0:
                whose = "" if record["subject"] == first["subject"] else ", under another subject"
                what = f"exact copy of {first['file']} (same pixels){whose}"
                record.update(_refused(record["file"], what, "remove one of the two"))


def _put(context: Context, records: Sequence[dict[str, Any]], order: Sequence[str], prefix: str) -> dict[str, str]:
    place = {name: at for at, name in enumerate(order)}
    ordered = sorted(records, key=lambda record: place[record["file"]])
    accepted = [record for record in ordered if record["state"] == "accepted"]
    refused = [record for record in ordered if record["state"] != "accepted"]
    if not accepted:
        raise InputError("Every file was refused.", _problems(refused))
    names = [*imageset.COLUMNS, "file", "bits", "subject_known"]
    free = sorted({name for record in accepted for name in record["fields"]} - set(names))
    # last what the labels file says: a column of its may be called like something that is noted of a file here
    rows = [
        record | {"id": f"{prefix}{number:06d}"} | {name: record["fields"].get(name, "") for name in free}
        for number, record in enumerate(accepted)
    ]
    for row in rows:
        if not row["subject_known"]:
            # not the file's name: two folders that number their files alike would seem to share patients
            row["subject"] = row["id"]
    columns = [*names, *free]
    kinds = {"row": pl.Int64, "bits": pl.Int64, "subject_known": pl.Boolean}
    schema = {name: kinds.get(name, pl.String) for name in columns}
    table = pl.DataFrame({name: [row[name] for row in rows] for name in columns}, schema=schema)
    lines = pl.DataFrame({name: [record[name] for record in refused] for name in REFUSED}, schema=REFUSED)
    context.note(f"{len(accepted):,} images are accepted, {len(refused):,} files are refused.")
    return {"images": context.store.put_table(table), "refused": context.store.put_table(lines)}
