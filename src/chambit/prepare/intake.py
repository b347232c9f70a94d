"""Take images in: each file ends as accepted, or as refused with a reason and a remedy.

Accepted images become grey (all coloured where the rules keep colour), of one size and of full scale (255, or
65535 as soon as one source has more than 8 bits), so that equal numbers mean equal brightness whatever the
container was. Whether a cohort is coloured, how deep it is, and which images are copies of each other is decided
over all files, after each was looked at.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from chambit.core.errors import InputError, Problem
from chambit.core.steps import Context
from chambit.core.store import Store
from chambit.images import geometry, imageset
from chambit.images.image import Image
from chambit.images.readers import npz
from chambit.prepare import intensities, joining, opening
from chambit.prepare.listing import Entry, Source, Survey, files, inputs_digest, survey
from chambit.prepare.opening import Opened, Rules

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
MANY = 32  # files in a chunk where each may hold a whole film: little is lost when a run is killed
_SHALLOW = 4095  # a 16-bit file that stays below this was written with 12 bits or fewer
_COLOUR = "set `colour: keep` for coloured images, or `colour: grey` if the colour means nothing"


def take_in(context: Context, source: Source, rules: Rules, *, prefix: str) -> dict[str, str]:
    """The body of a step that takes images in.

    Args:
        context: the step's context; files are read in chunks of 256, of 32 where all frames of films are taken.
        source: where the images are.
        rules: what they must be.
        prefix: begins each id; six digits follow that count the accepted images in listing order.

    Returns:
        `images`: digest of the table of accepted images (`imageset.COLUMNS`, then `file`, `bits` of the
        source, `subject_known`, and every free column as text); `refused`: digest of a table of `file`,
        `reason` and `remedy`; `intensities`: digest of what was done to grey levels and sizes, see
        `intensities.counted`; `accounts`: digest of the number of files and of images, see `joining.Accounts`.

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
    looked = joining.joined(context.store, made.values())
    joining.check_cohort(looked, _COLOUR)
    looked = joining.copies_refused(joining.deepened(context, looked))
    outputs = joining.put(context, looked, found.entries, prefix)
    kept = looked.filter(state="accepted")
    working = 16 if (kept["bits"] > 8).any() else 8
    rows = intensities.counted(joining.kinds(kept), size, working)
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
    rules: Rules
    class_names: Mapping[str, str]


@dataclass
class _Blocks:
    """Pixels of accepted images on their way to the store: a block per depth is put when it is full."""

    store: Store
    waiting: dict[str, list[tuple[dict[str, Any], np.ndarray]]] = field(default_factory=lambda: defaultdict(list))

    def add(self, record: dict[str, Any], pixels: np.ndarray) -> None:
        """Keep one image; `block`, `row` and `sha256` are written to its record when its block is put."""
        kind = pixels.dtype.str
        self.waiting[kind].append((record, pixels))
        if len(self.waiting[kind]) == imageset.BLOCK:
            self._put(kind)

    def end(self) -> None:
        """Put what is left."""
        for kind in list(self.waiting):
            self._put(kind)

    def _put(self, kind: str) -> None:
        records, arrays = zip(*self.waiting.pop(kind), strict=True)
        block, digests = imageset.put_block(self.store, np.stack(arrays))
        for row, (record, sha) in enumerate(zip(records, digests, strict=True)):
            record.update(block=block, row=row, sha256=sha)


def _tasks(entries: Sequence[Entry], source: Source, rules: Rules, scratch: Path) -> dict[str, _Task]:
    parts = dict.fromkeys(entry.part for entry in entries if entry.index >= 0)
    unpacked = {part: npz.unpack(source.path, part, scratch) for part in parts}
    native, size = (rules.size, rules.size) if rules.size else _common_size(entries, unpacked, rules)
    names = dict(source.class_names)
    return {
        key: _Task([entries[at] for at in chunk], unpacked, native, size, rules, names)
        for key, chunk in imageset.chunks(len(entries), MANY if rules.frames == "all" else imageset.BLOCK)
    }


def _take_chunk(store: Store, task: _Task) -> str:
    """Look at some files alone; keeps their pixels in blocks and one JSON record for each image."""
    records: list[dict[str, Any]] = []
    blocks, stacks = _Blocks(store), _stacks(task.unpacked)
    for entry in task.entries:
        taken: list[dict[str, Any]] = []
        try:
            for opened in opening.images(entry, stacks, task.rules):
                record = _looked_at(entry, opened, task)
                taken.append(record)
                if record["state"] == "accepted":
                    blocks.add(record, _working(opened.image, task.size, coloured=task.rules.colour == "keep"))
        except InputError as error:
            # a film that breaks off is refused as a whole: its first frames alone would pass for all of it
            taken = [joining.refused(entry.name, error.problems[0].what, error.problems[0].remedy)]
        records += joining.of_file(entry.name, taken)
    blocks.end()
    return store.put_json(records)


def _stacks(unpacked: Mapping[str, Path]) -> dict[str, np.ndarray]:
    return {part: np.load(path, mmap_mode="r", allow_pickle=False) for part, path in unpacked.items()}


def _looked_at(entry: Entry, opened: Opened, task: _Task) -> dict[str, Any]:
    """The record of one readable image: accepted, coloured, or refused."""
    image = opened.image
    shape, top = image.pixels.shape[:2], int(image.pixels.max())
    record: dict[str, Any] | None = None
    if image.colour and task.rules.colour != "keep":
        record = joining.refused(opened.name, "a colour image among grey ones", _COLOUR) | {"state": "colour"}
    elif int(image.pixels.min()) == top:
        record = joining.refused(opened.name, f"blank: every pixel is {top}", "export it again, or leave it out")
    elif opened.sixteen and top <= _SHALLOW:
        what = f"16-bit file that uses only {top.bit_length()} bits: full brightness unknown"
        record = joining.refused(opened.name, what, "save it full-scale or as DICOM")
    elif shape != tuple(task.native) and not task.rules.resize:
        what = f"wrong size: {shape[0]} x {shape[1]} (rows x columns), not {task.native[0]} x {task.native[1]}"
        record = joining.refused(opened.name, what, "allow resizing in the study, or leave it out")
    if record is not None:
        return record | {"read": True}
    subject = entry.subject or image.subject
    fields = geometry.resized({**image.fields, **entry.fields}, shape, task.size)
    frame = {"frame": "".join((entry.frame, f"[{opened.frame}]" if entry.frame and opened.frame else opened.frame))}
    return {
        "file": opened.name,
        "state": "accepted",
        "read": True,
        "subject": subject,
        "subject_known": bool(subject),
        "label": entry.label or task.class_names.get(image.label, image.label),
        "bits": image.white.bit_length(),
        "shown": image.shown,
        **intensities.of_image(image.pixels, image.white.bit_length()),
        "fields": {**(frame if frame["frame"] else {}), **fields},
    }


def _working(image: Image, size: tuple[int, int], coloured: bool) -> np.ndarray:
    """The image at the size asked for and full scale: uint8 in [0, 255] or uint16 in [0, 65535], (H, W[, 3])."""
    full = 255 if image.white <= 255 else 65535
    pixels = image.pixels
    if coloured and pixels.ndim == 2:
        pixels = np.repeat(pixels[:, :, None], 3, 2)
    elif not coloured and pixels.ndim == 3:
        pixels = pixels[:, :, 0]
    if pixels.shape[:2] != tuple(size):
        planes = [_resized(plane, size) for plane in np.atleast_3d(pixels).transpose(2, 0, 1)]
        pixels = np.stack(planes, 2) if coloured else planes[0]
    elif image.white == full:
        return np.ascontiguousarray(pixels)
    scaled = np.rint(pixels.astype(np.float64) * (full / image.white))
    return np.clip(scaled, 0, full).astype(np.uint8 if full == 255 else np.uint16)


def _resized(plane: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """One plane (H, W) at another size, float32."""
    from PIL import Image as Pillow

    # Averaging over the area leaves no aliasing. It would repeat pixels when enlarging: a slope there.
    smaller = plane.shape[0] >= size[0] and plane.shape[1] >= size[1]
    way = Pillow.Resampling.BOX if smaller else Pillow.Resampling.BILINEAR
    return np.asarray(Pillow.fromarray(plane.astype(np.float32)).resize((size[1], size[0]), way))


def _common_size(
    entries: Sequence[Entry], unpacked: Mapping[str, Path], rules: Rules
) -> tuple[tuple[int, int], tuple[int, int]]:
    """The most common size of the first 64 readable files (by their first image), and it reduced to at most 128."""
    sizes: Counter[tuple[int, int]] = Counter()
    stacks = _stacks(unpacked)
    for entry in entries:
        try:
            height, width = next(iter(opening.images(entry, stacks, rules))).image.pixels.shape[:2]
        except InputError:
            continue  # why it is refused is said when its chunk is taken in
        sizes[height, width] += 1
        if sizes.total() == FIRST:
            break
    if not sizes:
        return (1, 1), (1, 1)  # nothing is readable, which the merge will say
    native = max(sizes, key=lambda size: (sizes[size], size))
    scale = min(1.0, LONGEST / max(native))
    return native, (max(1, round(native[0] * scale)), max(1, round(native[1] * scale)))
