"""Text in the released images: how many show any, and whether it holds an identifier of a person.

    images       synthetic images in which text is found, with Clopper-Pearson limits of the share, times their number
    identifiers  identifiers in the texts that could be read, see `chambit.prepare.identifiers`

Texts are found as `chambit.prepare.ocr` says. On every run Latin, digits and Hangul are written into copies of real
holdout images, in several heights and contrasts and both polarities; their recall says what this run would have found,
and holdout images as they are say how often a real image is said to have text (some do: L and R markers).

Known failures: Hangul is found but not read, so a Korean name is counted under `images` only; text of less than 8
pixels or of low contrast is missed as often as the recall table says.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from chambit.core import digest
from chambit.core.evidence import Control, Finding, Frozen, Interval
from chambit.core.store import Store
from chambit.images.imageset import BLOCK, ImageSet, chunks, put_block
from chambit.measure import interval
from chambit.measure.examination import Examination, Result, not_run
from chambit.prepare import identifiers, lettering, ocr, strings

version = "1"
QUANTITIES = {"images": "lower", "identifiers": "lower"}
PIECE = 64  # images of a chunk: so few that two workers share a small set


class Options(Frozen):
    """Settings come from the policy file.

    height, contrast: of the planted text that must be found, ink in pixels and share of full brightness; recall: how
    much of it; heights, contrasts: of the table of recall; plants: texts for each cell of that table; compulsory: texts
    of each script at the compulsory height and contrast; identifiers: planted identifiers that are to be read;
    holdout: real images looked at for false alarms; shown: places listed.
    """

    height: int
    contrast: float
    recall: float
    heights: tuple[int, ...] = (8, 10, 14, 20, 28)
    contrasts: tuple[float, ...] = (0.1, 0.2, 0.3, 0.5, 1.0)
    plants: int = 4
    compulsory: int = 25
    identifiers: int = 15
    holdout: int = 200
    shown: int = 20
    level: float = 0.95


class Seen(NamedTuple):
    """What was found in one image: boxes (x0, y0, x1, y1), how many could be read, and identifiers without values."""

    boxes: list[list[int]]
    legible: int
    markers: bool
    identifiers: list[dict[str, str]]


class Cell(NamedTuple):
    """Recall of planted text of one height, contrast and script."""

    height: int
    contrast: float
    script: str
    planted: int
    found: int
    low: float
    high: float


def measure(exam: Examination, options: Options) -> Result:
    """Images with text, and identifiers in it."""
    name = f"text@{version}"
    sizes = {"images": exam.count("synthetic"), "holdout images": exam.count("holdout")}
    if reason := ocr.missing() or exam.lacks({"synthetic": 1, "holdout": 1}, {}):
        return not_run(name, QUANTITIES, reason, sizes)
    rows, columns = _shape(exam["holdout"])
    height = max((h for h in options.heights if h <= options.height and _has_room(rows, columns, h)), default=0)
    if not height:
        reason = f"No text of {min(options.heights)} pixels fits into an image of {columns} x {rows} pixels."
        return not_run(name, QUANTITIES, reason, sizes)
    known = strings.of_cohort(
        {subject for role in exam.sets if role != "synthetic" for subject in exam[role].subjects.tolist()}, ()
    )
    listed = exam.context.store.put_json(sorted(known))
    planted, plants = _plant(exam, options, height)
    seen = _read(exam, exam["synthetic"], "synthetic", listed)
    real = _read(exam, _some(exam, options.holdout), "holdout", listed)
    again = _read(exam, planted, "planted", exam.context.store.put_json([]))
    hits = np.array([_hit(plant, again[plant.image]) for plant in plants])
    table = _table(plants, hits, options.level)
    compulsory = np.array([_compulsory(plant, height, options) for plant in plants])
    share = float(hits[compulsory].mean())
    detail = _details(seen, real, table, share, options)
    smaller = (
        f"Images of {columns} x {rows} pixels have no room for text of {options.height} pixels in every script; the "
        f"control was planted at {height}."
        if height < options.height
        else ""
    )
    found = Control(
        name="planted text",
        expected=f"at least {options.recall:.0%} found of text {height} px high at a contrast of {options.contrast:g}",
        observed=f"{int(hits[compulsory].sum())} of {int(compulsory.sum())} found",
        fired=share >= options.recall,
    )
    told, unread = _told(plants, again, options)
    common = {"measure": name, "direction": "lower", "null": 0.0, "inputs": exam.inputs("synthetic", "holdout")}
    n = sizes | {"holdout images read": len(real), "planted texts": len(plants)}
    count, total = sum(bool(one.boxes) for one in seen), len(seen)
    low, high = interval.clopper_pearson(count, total, options.level)
    spread = Interval(low=low * total, high=high * total, level=options.level, method="Clopper-Pearson")
    findings = (
        Finding(
            quantity="images",
            value=count,
            unit="images",
            interval=spread,
            control=found,
            n=n,
            details=detail,
            reason=smaller,
            **common,
        ),
        Finding(
            quantity="identifiers",
            value=sum(len(one.identifiers) for one in seen),
            unit="texts",
            control=told or found,
            n=n | {"known strings": len(known)},
            details=_identified(exam["synthetic"], seen, options),
            reason=unread,
            **common,
        ),
    )
    scores = {
        "text.boxes": [len(one.boxes) for one in seen],
        "text.identifiers": [len(one.identifiers) for one in seen],
    }
    return Result(findings, pl.DataFrame(scores))


def _shape(images: ImageSet) -> tuple[int, int]:
    _, first = next(images.blocks())
    return int(first.shape[1]), int(first.shape[2])


def _has_room(rows: int, columns: int, height: int) -> bool:
    return all(lettering.fits(rows, columns, words, height) for words in lettering.WORDS.values())


def _some(exam: Examination, count: int) -> ImageSet:
    real = exam["holdout"]
    rng = np.random.default_rng(exam.context.seed("holdout"))
    return real.take(np.sort(rng.choice(len(real), min(count, len(real)), replace=False)))


def _plant(exam: Examination, options: Options, height: int) -> tuple[ImageSet, list[lettering.Plant]]:
    """Copies of holdout images with texts in them, kept in the store, and the texts."""
    wanted = [
        lettering.Wanted(h, c, script, words)
        for h in options.heights
        for c in options.contrasts
        for script, words in lettering.WORDS.items()
        for _ in range(options.plants)
    ]
    wanted += [
        lettering.Wanted(height, options.contrast, script, words)
        for script, words in lettering.WORDS.items()
        for _ in range(options.compulsory)
    ]
    at = max(height, 10)
    wanted += [lettering.Wanted(at, max(0.5, options.contrast), "identifier", lettering.IDENTIFIERS)] * (
        options.identifiers
    )
    rng = np.random.default_rng(exam.context.seed("plant"))
    grey = np.round(_some(exam, options.holdout).grey() * 255).astype(np.uint8)
    images, plants = lettering.plant(grey, wanted, rng)
    table: dict[str, list[Any]] = {"id": [], "sha256": [], "block": [], "row": [], "subject": [], "label": []}
    for _, part in chunks(len(images), BLOCK):
        block, digests = put_block(exam.context.store, images[part.start : part.stop])
        table["id"] += [f"planted {k}" for k in part]
        table["sha256"] += digests
        table["block"] += [block] * len(part)
        table["row"] += range(len(part))
        table["subject"] += [""] * len(part)
        table["label"] += [""] * len(part)
    return ImageSet(exam.context.store, pl.DataFrame(table)), plants


def _read(exam: Examination, images: ImageSet, role: str, known: str) -> list[Seen]:
    """What is found in each image, chunk by chunk; the texts themselves do not leave the chunk."""
    tasks: dict[str, Any] = {}
    where: list[np.ndarray] = []
    blocks, rows = images.table["block"].to_numpy(), images.table["row"].to_numpy()
    for number, block in enumerate(dict.fromkeys(blocks.tolist())):
        at = np.flatnonzero(blocks == block)
        for first in range(0, len(at), PIECE):
            where.append(at[first : first + PIECE])
            key = f"{role}/{number:06d}/{first:03d}"
            tasks[key] = {"block": block, "rows": rows[where[-1]].tolist(), "known": known}
    sizes = {key: len(task["rows"]) for key, task in tasks.items()}
    made = exam.context.map(_chunk, tasks, unit="images", sizes=sizes)
    out: dict[int, Seen] = {}
    for at, key in zip(where, made.values(), strict=True):
        out |= {int(i): Seen(**one) for i, one in zip(at, exam.context.store.get_json(key), strict=True)}
    return [out[i] for i in range(len(images))]


def _chunk(store: Store, task: Mapping[str, Any]) -> str:
    pixels = store.get_arrays(task["block"])["pixels"][task["rows"]]
    grey = pixels if pixels.dtype == np.uint8 else (pixels >> 8).astype(np.uint8)
    known = strings.Known.of(store.get_json(task["known"]))
    return store.put_json([_seen(boxes, known)._asdict() for boxes in ocr.find(grey)])


def _seen(boxes: Sequence[ocr.Box], known: strings.Known) -> Seen:
    legible = [box for box in boxes if box.confidence >= ocr.SURE]
    matches = [match for line in ocr.lines(boxes) for match in identifiers.find(line, known, read=True)]
    return Seen(
        boxes=[[box.x0, box.y0, box.x1, box.y1] for box in boxes],
        legible=len(legible),
        markers=bool(legible) and len(legible) == len(boxes) and identifiers.only_markers(" ".join(ocr.lines(boxes))),
        identifiers=[{"kind": m.kind, "masked": m.masked, "ground": m.ground} for m in matches],
    )


def _hit(plant: lettering.Plant, seen: Seen) -> bool:
    """Whether a box covers at least a quarter of the text."""
    area = (plant.x1 - plant.x0) * (plant.y1 - plant.y0)
    return any(
        max(0, min(x1, plant.x1) - max(x0, plant.x0)) * max(0, min(y1, plant.y1) - max(y0, plant.y0)) >= area / 4
        for x0, y0, x1, y1 in seen.boxes
    )


def _compulsory(plant: lettering.Plant, height: int, options: Options) -> bool:
    return plant.script in lettering.WORDS and plant.height == height and plant.contrast == options.contrast


def _table(plants: Sequence[lettering.Plant], hits: np.ndarray, level: float) -> list[Cell]:
    kinds = [(p.height, p.contrast, p.script) for p in plants]
    rows = []
    for kind in sorted(set(kinds)):
        mine = hits[[other == kind for other in kinds]]
        limits = interval.clopper_pearson(int(mine.sum()), len(mine), level)
        rows.append(Cell(*kind, len(mine), int(mine.sum()), *limits))
    return rows


def _told(plants: Sequence[lettering.Plant], seen: Sequence[Seen], options: Options) -> tuple[Control | None, str]:
    """The control of the identifiers: planted ones must be read as such; or why none could be planted."""
    mine = [p for p in plants if p.script == "identifier"]
    if not mine:
        return None, "No identifier of 10 pixels fits into these images; the control is that of the search for text."
    told = sum(bool(seen[p.image].identifiers) for p in mine)
    return Control(
        name="planted identifiers",
        expected=f"at least {options.recall:.0%} read as identifiers",
        observed=f"{told} of {len(mine)} read",
        fired=told >= options.recall * len(mine),
    ), ""


def _details(
    seen: Sequence[Seen], real: Sequence[Seen], table: Sequence[Cell], share: float, options: Options
) -> dict[str, object]:
    alarms = sum(bool(one.boxes) for one in real)
    limits = interval.clopper_pearson(alarms, len(real), options.level)
    return {
        "planted": [cell._asdict() for cell in table],
        "recall": share,
        "holdout": {"images": len(real), "with_text": alarms, "low": limits[0], "high": limits[1]},
        "legible": sum(one.legible > 0 for one in seen),
        "markers_only": sum(one.markers for one in seen),
        "networks": {name: digest.of_bytes(ocr.model(name).read_bytes()) for name in (ocr.DETECTOR, ocr.RECOGNISER)},
        "not_covered": ["text below 8 pixels", "meaning of Hangul (found, not read)", "handwriting", "curved text"],
    }


def _identified(images: ImageSet, seen: Sequence[Seen], options: Options) -> dict[str, object]:
    """Kinds and masked forms; never a value."""
    ids = images.table["id"].to_list()
    found = [{"image": ids[i], **match} for i, one in enumerate(seen) for match in one.identifiers]
    return {"kinds": dict(Counter(match["kind"] for match in found)), "found": found[: options.shown]}
