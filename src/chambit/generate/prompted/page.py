"""The page of a run: coverage, refusals, cost, requested against obtained, marks, and the images; Korean and English.

A pure view: it reads the folder of a run and what a verifier and the detector of marks said, and judges nothing. The
same folder gives the same bytes. It loads nothing from elsewhere.
"""

import base64
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from chambit.core.store import write_atomically
from chambit.generate.prompted import attempts, grid, running, verification
from chambit.generate.prompted.attempts import Attempt
from chambit.generate.prompted.plan import PromptPlan, cost
from chambit.generate.prompted.request import SHORT
from chambit.generate.prompted.verification import Checked, Compared
from chambit.generate.refine.visible_mark import Mark
from chambit.images.readers import open_any

SHOWN = 48
"""Images on the page."""
TILE = 160  # pixels of a shown image


class Run(NamedTuple):
    """A run as its folder tells it.

    Attributes:
        plan: the plan.
        asked: a row per request, in order: see `running.table`.
        lines: the attempts.
        last: key -> last attempt.
        obtained: rows of `asked` whose image is there, with a column `path`.
    """

    plan: PromptPlan
    asked: pl.DataFrame
    lines: list[Attempt]
    last: dict[str, Attempt]
    obtained: pl.DataFrame


class Marks(NamedTuple):
    """Visible marks, in pixels of an image `pixels` high and wide, and what they were looked for beside, in words."""

    found: Sequence[Mark]
    pixels: int
    reference: str


class Seen(NamedTuple):
    """What was looked at afterwards.

    Attributes:
        compared: requested against verified, for each factor.
        verified: factor -> level read in each obtained image.
        marks: visible marks.
    """

    compared: Sequence[Compared]
    verified: Mapping[str, np.ndarray]
    marks: Marks


def load(plan: PromptPlan, folder: Path) -> Run:
    """Read the folder of a run; what was not asked yet is there as a request without an outcome."""
    lines = list(attempts.read(folder / "attempts.jsonl"))
    requests = running.with_replacements(plan, running.laid_out(plan, folder), lines)
    last = {line.key: line for line in lines}
    asked = running.table(requests, plan.label)
    paths = [
        str(folder / "images" / last[key].file) if key in last and last[key].file else ""
        for key in asked["key"].to_list()
    ]
    obtained = asked.with_columns(pl.Series("path", paths, pl.String)).filter(pl.col("path") != "")
    return Run(plan, asked, lines, last, obtained)


def grey(paths: Sequence[str], height: int, width: int) -> np.ndarray:
    """Image files as float32 (N, height, width) in [0, 1], grey, averaged to this size.

    Raises:
        InputError: naming the first file that is no image.
    """
    from PIL import Image

    out = np.empty((len(paths), height, width), np.float32)
    for k, path in enumerate(paths):
        _, image = next(iter(open_any(Path(path))))
        plane = Image.fromarray(image.luminance().grey())
        out[k] = np.asarray(
            plane.resize((width, height), Image.Resampling.BOX if plane.width > width else 2), np.float32
        )
    return np.clip(out, 0, 1)


def looked_at(
    run: Run, pixels: int, verify: verification.Verify | None, checks: Mapping[str, Checked], marks: Marks
) -> Seen:
    """What a verifier reads in the obtained images at this size, with how well it reads, beside marks found before."""
    paths = run.obtained["path"].to_list()
    verified = dict(verify(grey(paths, pixels, pixels))) if verify is not None and paths else {}
    return Seen(verification.compared(run.plan, run.obtained, verified, checks), verified, marks)


def write(run: Run, seen: Seen, path: Path) -> None:
    """Write the page."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    text = environment.get_template("page.html.j2").render(_told(run, seen))
    write_atomically(path, text.encode())


def _told(run: Run, seen: Seen) -> dict[str, Any]:
    plan, planned = run.plan, cost(run.plan)
    outcomes = Counter(line.outcome for line in run.lines)
    refused = [run.last[key].outcome == "refused" if key in run.last else False for key in run.asked["key"].to_list()]
    spent = sum(line.cost for line in run.lines if line.outcome in attempts.PAID)
    told = sum(line.told for line in run.lines if line.outcome in attempts.PAID)
    marks = [mark for line in run.lines for mark in line.provenance]
    return {
        "plan": plan,
        "planned": planned,
        "images": len(run.obtained),
        "asked": len(run.asked),
        "refused": sum(refused),
        "replaced": len(run.asked) - plan.images,
        "outcomes": outcomes,
        "waited": sum(line.wait for line in run.lines),
        "spent": spent,
        "told": told,
        "lost": outcomes["lost"],
        "days": sorted({line.at[:10] for line in run.lines}),
        "models": sorted({line.model for line in run.lines if line.model}),
        "coverage": _coverage(run),
        "classes": _classes(run),
        "refusals": _refusals(run, refused),
        "reasons": Counter(line.finish for line in run.lines if line.outcome == "refused").most_common(),
        "compared": seen.compared,
        "marks": seen.marks.found,
        "reference": seen.marks.reference,
        "crop": crop_for(seen.marks.found, seen.marks.pixels),
        "size": seen.marks.pixels,
        "provenance": sorted(Counter(marks).items()),
        "sheet": _sheet(run, seen),
        "prompts": run.asked.unique("prompt", maintain_order=True)["prompt"].to_list()[:3],
    }


def crop_for(marks: Sequence[Mark], height: int) -> float | None:
    """The share of the height to cut from below so that the strongest mark is gone, rounded up to a per cent.

    None where there is no mark, or it lies in the upper half.

    >>> crop_for([Mark(117, 117, 124, 123, 0.3)], 128), crop_for([], 128)
    (0.09, None)
    """
    strongest = max(marks, key=lambda mark: mark.strength, default=None)
    if strongest is None or strongest.top < height / 2:
        return None
    return float(np.ceil(100 * (1 - strongest.top / height)) / 100)


def _classes(run: Run) -> list[dict[str, Any]]:
    have = Counter(run.obtained["label"].to_list())
    return [{"name": name, "wanted": count, "there": have[name]} for name, count in run.plan.classes.items() if count]


def _coverage(run: Run) -> list[dict[str, Any]]:
    """Of each factor's levels the wanted share and how many were planned and obtained."""
    rows = []
    first = run.asked.head(run.plan.images)
    for (name, factor), part in zip(run.plan.factors.items(), grid.wanted_shares(run.plan), strict=True):
        planned, have = Counter(first[f"asked_{name}"].to_list()), Counter(run.obtained[f"asked_{name}"].to_list())
        levels = [
            {
                "name": level,
                "share": 0.0 if part is None else float(part[k]),
                "planned": planned[level],
                "there": have[level],
            }
            for k, level in enumerate(factor.levels)
        ]
        most = max(max(planned.values(), default=1), max(have.values(), default=1))
        rows.append(
            {"name": name, "levels": levels, "most": most, "given": factor.shares is not None or name == run.plan.label}
        )
    return rows


def _refusals(run: Run, refused: Sequence[bool]) -> list[dict[str, Any]]:
    """Shares of refused requests by level; `apart`: the interval leaves out the share over all."""
    over_all = sum(refused) / max(len(refused), 1)
    return [
        {"factor": name, "level": level, "share": part, "apart": part.n > 0 and not part.low <= over_all <= part.high}
        for name, level, part in verification.refusals(run.plan, run.asked, refused)
    ]


def _sheet(run: Run, seen: Seen) -> list[dict[str, Any]]:
    """Images for the eye, as many of each class: address, what was asked, and where the verifier reads otherwise."""
    labels = run.obtained["label"].to_numpy().astype(str)
    each = SHOWN // max(len(set(labels.tolist())), 1)
    chosen = [k for name in run.plan.classes for k in np.flatnonzero(labels == name)[:each]]
    names = [name for name in run.plan.factors if name != run.plan.label]
    rows = run.obtained.to_dicts()
    sheet = []
    for k in chosen:
        row = rows[k]
        factors = [
            {
                "asked": row[f"asked_{name}"],
                "read": str(seen.verified[name][k]) if _told_otherwise(name, k, row, seen) else "",
            }
            for name in names
        ]
        sheet.append({"label": row["label"], "key": row["key"][:SHORT], "factors": factors, "uri": _tile(row["path"])})
    return sheet


def _told_otherwise(name: str, k: int, row: Mapping[str, Any], seen: Seen) -> bool:
    usable = {one.factor for one in seen.compared if not one.blank}
    return name in usable and str(seen.verified[name][k]) not in ("", row[f"asked_{name}"])


def _tile(path: str) -> str:
    from PIL import Image

    with Image.open(path) as opened:
        small = opened.convert("L")
        small.thumbnail((TILE, TILE), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
