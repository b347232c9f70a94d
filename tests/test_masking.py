"""Masks for measures and masks for generators: the step that reads them."""

from pathlib import Path

import numpy as np
import polars as pl
from PIL import Image as Picture

from chambit.core.engines import inline
from chambit.core.ledger import Ledger
from chambit.core.steps import Context
from chambit.core.store import Store
from chambit.images import imageset
from chambit.pipeline import masking

SIDE = 16


def _read(folder: Path, parts_from: int) -> dict[str, np.ndarray | None]:
    """What the step makes of two images, the first with a finding, both with a layout of parts 0, 3 and 12."""
    mask, layout = np.zeros((SIDE, SIDE), np.uint8), np.zeros((SIDE, SIDE), np.uint8)
    mask[2:4, 2:4] = 255
    layout[:8], layout[8:] = 3, 12
    Picture.fromarray(mask).save(folder / "mask.png")
    Picture.fromarray(layout).save(folder / "layout.png")
    store, ledger = Store(folder / "out"), Ledger.beside(folder / "out")
    block, digests = imageset.put_block(store, np.arange(2 * SIDE * SIDE, dtype=np.uint16).reshape(2, SIDE, SIDE))
    rows = pl.DataFrame({
        "id": ["a", "b"], "subject": ["a", "b"], "label": ["x", "y"], "sha256": digests, "block": [block] * 2,
        "row": [0, 1], "mask": ["mask.png", ""], "layout": ["layout.png"] * 2,
    })  # fmt: skip
    train, none = store.put_table(rows), store.put_table(rows.clear())
    made = {"split": {part: train if part == "train" else none for part in masking.PARTS}}
    step = masking.step(1, folder, made, parts_from)
    context = Context(step, store, ledger, inline.Engine(), lambda _: None, folder / "scratch")
    outputs = step.run(context)
    names = ("train", masking.FINDING.format("train"), masking.LAYOUT.format("train"), "test")
    out = {name: masking.layouts(store, outputs[name]) for name in names}
    ledger.close()
    return out


def test_without_parts_measures_have_the_masks_of_the_finding(tmp_path: Path) -> None:
    got = _read(tmp_path, 0)
    train, finding = got["train"], got["finding of train"]
    assert train is not None
    assert finding is not None
    assert train.sum((1, 2)).tolist() == [4, 0]
    assert np.array_equal(train, finding)
    assert got["test"] is None


def test_generators_are_told_the_finding_where_measures_see_parts(tmp_path: Path) -> None:
    got = _read(tmp_path, 10)
    train, finding, layout = got["train"], got["finding of train"], got["layout of train"]
    assert train is not None
    assert finding is not None
    assert layout is not None
    assert train.sum((1, 2)).tolist() == [SIDE * SIDE // 2] * 2
    assert finding.sum((1, 2)).tolist() == [4, 0]
    assert np.unique(layout).tolist() == [3, 12]
