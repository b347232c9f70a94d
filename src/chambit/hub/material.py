"""The pictures of a reader study: drawn once, both kinds by the same path, kept as raw grey levels of one size.

Real pictures come from held-out people alone, one of each, and as many of each class as synthetic ones. Which picture
is which stands in one file of the hub's folder that no page shows.
"""

import json
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import sqlalchemy as sql

from chambit.core import ledger as ledgers
from chambit.core import seeds
from chambit.core.errors import InputError, Problem
from chambit.core.store import Store, write_atomically
from chambit.hub import runs
from chambit.images.image import Image
from chambit.images.imageset import ImageSet
from chambit.reading.pixels import Screen, Telltale, shown, telltales
from chambit.reading.protocol import KINDS, Protocol
from chambit.reading.trials import items, practice_items

FOLDER = "readings"
INDEX = "material.json"
SECRET = "secret"


class Sets(NamedTuple):
    """The two sets pictures are drawn from, held-out real and synthetic images, and the digest of the real one."""

    real: ImageSet
    synthetic: ImageSet
    holdout: str


class Kept(NamedTuple):
    """What was drawn: the pictures by item, what each item is, the screen, and numbers that tell the kinds apart."""

    items: dict[str, dict[str, str]]
    screen: Screen
    telltales: tuple[Telltale, ...]


def sets_of(folder: Path) -> Sets:
    """Held-out real and synthetic images of a run, refined alike.

    Raises:
        InputError: when the run's own store is not there, as in a candidate that was handed over without it.
    """
    if not (folder / runs.LEDGER).is_file():
        problem = Problem(
            str(folder), "work/ is missing", "a reader study needs the run's folder with the held-out images"
        )
        raise InputError("There are no held-out images to read.", [problem])
    engine = sql.create_engine(f"sqlite:///{folder / runs.LEDGER}")
    with engine.connect() as connection:
        found = (
            connection.execute(sql.select(ledgers.step.c.outputs).where(ledgers.step.c.name == "refine"))
            .scalars()
            .all()
        )
    engine.dispose()
    if not found:
        raise InputError(
            "There are no held-out images to read.", [Problem(str(folder), "no refined images", "run it again")]
        )
    store, outputs = Store(folder / "work"), found[-1]
    return Sets(
        ImageSet.load(store, outputs["holdout"]), ImageSet.load(store, outputs["synthetic"]), outputs["holdout"]
    )


def available(sets: Sets) -> dict[str, int]:
    """How many pictures of each class there are in both kinds, one a person among the real ones."""
    real = _one_of_each(sets.real)
    return {
        label: min(int((real.labels == label).sum()), int((sets.synthetic.labels == label).sum()))
        for label in sorted(set(real.labels.tolist()) & set(sets.synthetic.labels.tolist()))
    }


def screen_of(sets: Sets, longer: int, bits: int) -> Screen:
    """The screen for these pictures: their own ratio of sides, `longer` pixels on the longer one."""
    height, width = sets.synthetic.shape[:2]
    scale = longer / max(height, width)
    return Screen(height=max(16, round(height * scale)), width=max(16, round(width * scale)), bits=bits)


def draw(folder: Path, protocol: Protocol, sets: Sets, screen: Screen) -> Kept:
    """Choose the pictures of a study, write them below a folder, and look for what gives a kind away.

    Raises:
        InputError: when there are not as many as the protocol wants.
    """
    wanted = {**items(protocol), **practice_items(protocol)}
    rng = seeds.generator(protocol.seed, "reading material")
    chosen = _chosen(sets, protocol, rng)
    about: dict[str, dict[str, str]] = {}
    pictures: dict[str, list[np.ndarray]] = {kind: [] for kind in KINDS}
    stored: dict[str, list[np.ndarray]] = {kind: [] for kind in KINDS}
    (folder / "pixels").mkdir(parents=True, exist_ok=True)
    for kind in KINDS:
        images = sets.real if kind == "real" else sets.synthetic
        names = [name for name, what in wanted.items() if what == kind]
        for name, row in zip(names, chosen[kind], strict=True):
            image = plane(images, int(row))
            picture = shown(image, screen)
            stored[kind].append(image.luminance().grey())
            write_atomically(folder / "pixels" / name, picture.tobytes())
            pictures[kind].append(picture)
            about[name] = {"id": str(images.table["id"][int(row)]), "label": str(images.labels[int(row)])}
    found = tuple(telltales(pictures["real"], pictures["synthetic"], (stored["real"], stored["synthetic"])))
    index = {"items": about, "screen": screen.model_dump(), "telltales": [one._asdict() for one in found]}
    write_atomically(folder / INDEX, json.dumps(index).encode())
    if not (folder / SECRET).exists():
        write_atomically(folder / SECRET, secrets.token_bytes(32))
    return Kept(about, screen, found)


def plane(images: ImageSet, row: int) -> Image:
    """One image of a set as it is stored."""
    entry = images.table.row(row, named=True)
    pixels = images.store.get_arrays(entry["block"])["pixels"][entry["row"]]
    return Image(pixels, 255 if pixels.dtype == np.uint8 else 65535)


def kept(folder: Path) -> Kept:
    """What `draw` left."""
    index: dict[str, Any] = json.loads((folder / INDEX).read_bytes())
    return Kept(
        index["items"], Screen.model_validate(index["screen"]), tuple(Telltale(**one) for one in index["telltales"])
    )


def pixels(folder: Path, item: str) -> bytes:
    """The grey levels of one picture, little-endian uint16, row by row; of every picture as many bytes."""
    return (folder / "pixels" / item).read_bytes()


def secret(folder: Path) -> bytes:
    """The key of the opaque ids."""
    return (folder / SECRET).read_bytes()


def _chosen(sets: Sets, protocol: Protocol, rng: np.random.Generator) -> dict[str, Sequence[int]]:
    """Rows of each kind, as many of each class in both, in an order that says nothing."""
    there, each = available(sets), protocol.real + protocol.practice // 2
    total = sum(there.values())
    if total < each:
        problem = Problem("images", f"{total} of each kind can be matched by class", f"ask for at most {total}")
        raise InputError("There are too few images for this reader study.", [problem])
    exact = {label: count * each / total for label, count in there.items()}
    share = {label: int(count) for label, count in exact.items()}
    for label in sorted(exact, key=lambda one: share[one] - exact[one])[: each - sum(share.values())]:
        share[label] += 1
    # the classes of items and of practice are the same in both kinds, place by place
    places = rng.permutation([label for label, count in share.items() for _ in range(count)])
    real = _one_of_each(sets.real)
    chosen: dict[str, Sequence[int]] = {}
    for kind, images in (("real", real), ("synthetic", sets.synthetic)):
        pools = {
            label: rng.choice(np.flatnonzero(images.labels == label), count, replace=False).tolist()
            for label, count in share.items()
        }
        chosen[kind] = [int(pools[str(label)].pop()) for label in places]
    rows = real.table["_row"].to_list()
    chosen["real"] = [rows[row] for row in chosen["real"]]
    return chosen


def _one_of_each(images: ImageSet) -> ImageSet:
    """The first image of each person; `_row` is its place in the whole set."""
    table = images.table.with_columns(_row=pl.int_range(pl.len()), _person=pl.Series(images.subjects))
    return ImageSet(images.store, table.unique("_person", keep="first", maintain_order=True).drop("_person"))
