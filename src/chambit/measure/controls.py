"""The trivial generators' sets (`measure.trivial`), made once for all measures and kept like any set of images."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl

from chambit.core import digest
from chambit.core.store import Store
from chambit.images import imageset
from chambit.images.imageset import ImageSet
from chambit.measure import trivial
from chambit.measure.examination import Examination

version = "1"
MOST = 2000
"""Images of a control; distances are compared at one n anyway, and more would only cost."""


def sets(exam: Examination, settings: trivial.Settings) -> dict[str, ImageSet]:
    """One set for each trivial generator, with labels like the synthetic set's, 2,000 images at most."""
    train, synthetic = exam["train"], exam["synthetic"]
    rng = np.random.default_rng(int(synthetic.digest[:8], 16))
    chosen = np.sort(rng.permutation(len(synthetic))[:MOST])
    places = train.table.select("block", "row").rows()
    common = {
        "places": places,
        "labels": train.labels.tolist(),
        "subjects": train.subjects.tolist(),
        "wanted": synthetic.labels[chosen].tolist(),
        "settings": tuple(settings),
    }
    name = digest.of_json([train.digest, synthetic.digest, list(settings)])
    tasks = {f"{kind}/{name}": common | {"kind": kind} for kind in trivial.KINDS}
    made = exam.context.map(_make, tasks, unit="sets", shared=f"controls@{version}")
    return {
        kind: ImageSet(exam.context.store, exam.context.store.get_table(key))
        for kind, key in zip(trivial.KINDS, made.values(), strict=True)
    }


def _make(store: Store, task: Mapping[str, Any]) -> str:
    pixels = imageset.gathered(store, task["places"])
    white = np.iinfo(pixels.dtype).max
    images = pixels.astype(np.float32) / np.float32(white)
    rng = np.random.default_rng(trivial.KINDS.index(task["kind"]))
    labels, subjects, wanted = (np.array(task[key]) for key in ("labels", "subjects", "wanted"))
    settings = trivial.Settings(*task["settings"])
    made = trivial.make(task["kind"], images, labels, subjects, wanted, settings, rng)
    made = np.round(made * white).astype(pixels.dtype)
    rows = []
    for key, part in imageset.chunks(len(made)):
        block, digests = imageset.put_block(store, made[list(part)])
        rows += [{"id": f"{task['kind']}-{key}-{row}", "sha256": sha, "block": block, "row": row, "label": wanted[i]}
                 for row, (i, sha) in enumerate(zip(part, digests, strict=True))]  # fmt: skip
    return store.put_table(pl.DataFrame(rows).with_columns(subject=pl.col("id")))
