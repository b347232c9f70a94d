"""What a preparation found, as findings: identifiers, text and recall, faces, outliers, labels, small cells."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from chambit.core.evidence import Control, Finding, Interval
from chambit.core.store import Store
from chambit.images.imageset import ImageSet
from chambit.pipeline.plan import Made
from chambit.prepare import deidentify
from chambit.prepare.burned.planting import limits

SECTIONS = "Sections of CT or MR in files of their own are not joined to volumes, so no face was looked for in them."
NO_PIXELS = "No file has pixels in which text could be burned in."
TOO_SMALL = "No image is large enough to plant text in."
KOREAN = {
    SECTIONS: "한 장씩 나뉜 CT·MR 단면은 이어 붙이지 않으므로, 얼굴을 찾아보지 않았음.",
    NO_PIXELS: "글자가 박힐 수 있는 영상이 든 파일이 없음.",
    TOO_SMALL: "글자를 심을 만큼 큰 영상이 없음.",
}
"""Sentences of findings in Korean."""


def did(records: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """How many fields of headers were removed, emptied, replaced and so on."""
    counted: Counter[str] = Counter()
    for row in records:
        counted.update(row.get("did", {}))
    return dict(sorted(counted.items()))


def findings(
    store: Store,
    made: Made,
    records: Sequence[Mapping[str, Any]],
    images: ImageSet,
    outliers: Sequence[Mapping[str, Any]],
    refused: int,
    settings: Mapping[str, Any],
) -> list[Finding]:
    """Every number of the preparation, with its sizes and controls.

    Args:
        store: of the preparation.
        made: outputs of its steps.
        records: of each original, from the step `clean`.
        images: the cleaned files as images.
        outliers: findings of the checks of quality, after a person's word.
        refused: cleaned files that are no usable image.
        settings: of the policy, `preparation`.
    """
    cleaned = [row for row in records if row["state"] == "cleaned"]
    aside = len(records) - len(cleaned)
    reasons = Counter(str(row["why"]) for row in records if row["state"] != "cleaned")
    looked = [row for row in cleaned if row["frames"]]
    recall = store.get_json(made["recall"]["recall"])
    residues = store.get_json(made["search"]["residues"])
    out = [
        Finding(
            measure="preparation@1",
            quantity="accounted",
            value=(len(cleaned) + aside) / len(records),
            n={"files": len(records), "cleaned": len(cleaned), "set aside": aside},
            null=1.0,
            direction="higher",
            details={"reasons": dict(reasons), "refused later": refused},
        ),
        Finding(
            measure="deidentify@1",
            quantity="residual",
            value=float(len(residues)),
            n={"files": len(cleaned), "identifiers looked for": sum(row["seeds"] for row in cleaned)},
            unit="files",
            null=0.0,
            direction="lower",
            control=residue_control(),
            details={"did": did(records)},
        ),
        *_text(looked, recall, settings),
        *_faces(records),
        *_quality(store, made, images, outliers, settings),
    ]
    return out


def residue_control() -> Control:
    """Planted identifiers, in each of the encodings that are searched, must be found in bytes."""
    name, number = "홍길동", "900101-1234568"
    texts = {code: f"{name} {number}".encode(code) for code in ("utf-8", "utf-16-le", "utf-16-be", "cp949")}
    hits = sum(
        len(deidentify.residuals(b"\0" * 64 + data + b"\0" * 64, {name, number})) >= 2 for data in texts.values()
    )
    return Control(
        name="a name and a resident number written into bytes in four encodings",
        expected=f"{len(texts)} of {len(texts)} found",
        observed=f"{hits} of {len(texts)} found",
        fired=hits == len(texts),
    )


def _text(
    looked: Sequence[Mapping[str, Any]], recall: Mapping[str, Any] | None, settings: Mapping[str, Any]
) -> list[Finding]:
    if not looked or recall is None:
        why = NO_PIXELS
        names = {"left": "lower", "recall": "higher", "doubtful": "lower"}
        return [Finding(measure="burned@1", quantity=name, value=None, direction=way, reason=why)
                for name, way in names.items()]  # fmt: skip
    cells = recall["cells"]
    readable = [c for c in cells if c["height"] >= settings["height"] and c["contrast"] >= settings["contrast"]]
    found, planted = (sum(cell[name] for cell in cells) for name in ("found", "planted"))
    good, asked = (sum(cell[name] for cell in readable) for name in ("found", "planted"))
    low, high = limits(found, planted, recall["level"])
    redacted = [row for row in looked if row["redactions"]]
    boxes = sum(len(row["redactions"]) for row in looked)
    control = Control(
        name=f"text of {settings['height']} pixels and more with contrast {settings['contrast']} and more, planted",
        expected=f"at least {settings['covered']:.0%} covered",
        observed=f"{good} of {asked}",
        fired=asked > 0 and good >= settings["covered"] * asked,
    )
    area = {"clean area lost": recall["black"] / max(1, recall["area"]), "images looked at": recall["images"]}
    return [
        Finding(
            measure="burned@1",
            quantity="left",
            value=float(sum(row["remaining"] > 0 for row in looked)),
            n={"files": len(looked), "frames": sum(row["frames"] for row in looked), "redacted files": len(redacted)},
            unit="files",
            null=0.0,
            direction="lower",
            control=control,
            details={"boxes": boxes, "kept": sum(len(row["kept"]) for row in looked),
                     "second round": sum(row["rounds"] > 1 for row in looked)} | area,
        ),
        Finding(
            measure="burned@1",
            quantity="recall",
            value=found / planted if planted else None,
            interval=Interval(low=low, high=high, level=recall["level"], method="Clopper-Pearson") if planted else None,
            n={"plants": planted, "readable plants": asked},
            null=1.0,
            direction="higher",
            control=control,
            reason="" if planted else TOO_SMALL,
            details={"cells": cells, "readable_recall": good / asked if asked else 0.0} | area,
        ),
        Finding(
            measure="burned@1",
            quantity="doubtful",
            value=float(sum(len(row["doubtful"]) for row in looked)),
            n={"files": len(looked)},
            unit="places",
            null=0.0,
            direction="lower",
        ),
    ]  # fmt: skip


def _faces(records: Sequence[Mapping[str, Any]]) -> list[Finding]:
    """Nothing where nothing could show a face; without a value where sections are there that nobody looked at."""
    refused = sum(row.get("why") == "face" for row in records)
    volumes = refused + sum("face" in row for row in records)
    sections = sum(bool(row.get("section")) for row in records)
    if not volumes and not sections:
        return []
    return [
        Finding(
            measure="faces@1",
            quantity="present",
            value=None if sections else float(refused),
            n={"volumes": volumes, "sections": sections},
            unit="volumes",
            null=0.0,
            direction="lower",
            reason=SECTIONS if sections else "",
        )
    ]


def _quality(
    store: Store,
    made: Made,
    images: ImageSet,
    outliers: Sequence[Mapping[str, Any]],
    settings: Mapping[str, Any],
) -> list[Finding]:
    table = store.get_table(made["quality"]["cells"])
    small = table.filter(pl.col("below"))
    reason = str(store.get_json(made["quality"]["reason"]))
    n = {"images": len(images), "subjects": len(np.unique(images.subjects))}
    inputs = {"images": images.digest}
    common: dict[str, Any] = {"null": 0.0, "direction": "lower", "inputs": inputs}
    cell = Finding(
        measure="quality@1",
        quantity="small_cells",
        value=float(len(small)),
        unit="cells",
        n=n | {"cells": len(table)},
        details={"least": settings["least"], "cells": small.to_dicts()},
        **common,
    )
    if reason:
        none = {"removed", "label_errors"}
        return [
            *(Finding(measure="quality@1", quantity=q, value=None, n=n, reason=reason, **common) for q in sorted(none)),
            cell,
        ]
    removed = {row["id"] for row in outliers if row["removed"]}
    suspected = store.get_table(made["quality"]["labels"])
    reviewed = store.get_json(made["quality"]["reviewed"])
    by_check = Counter(str(row["check"]) for row in outliers if row["removed"])
    waiting = Counter(str(row["check"]) for row in outliers if not row["removed"])
    return [
        Finding(
            measure="quality@1", quantity="removed", value=len(removed) / len(images), n=n,
            details={"checks": dict(by_check), "for a person": dict(waiting)}, **common,
        ),
        Finding(
            measure="quality@1", quantity="label_errors", n=n, reason=reviewed["reason"], **common,
            # conflicts of duplicates are listed in any case, but they alone are no check of the labels
            value=None if reviewed["reason"] else suspected["id"].n_unique() / len(images),
            details={"listed": len(suspected), "auroc": reviewed["auroc"]},
        ),
        cell,
    ]  # fmt: skip
