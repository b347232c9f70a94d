"""The pictures of docs/: `python benchmarks/pictures.py OUT docs/pictures/NAME.png [--columns 8] [--side 112]`.

One sheet of a finished run: above, images of the held-out cohort; below the line, as many of the synthetic set, each
the first of its class in the order they were drawn. Nothing is chosen by looks. Of sequences and volumes a row is one
item, its frames evenly spread. A cohort that is not of phantoms is refused: no pictures of patients in documents.
"""

import argparse
import io
from pathlib import Path

import numpy as np
import sqlalchemy as sql
from PIL import Image

from chambit.core import ledger
from chambit.core.store import Store
from chambit.images.imageset import ImageSet
from chambit.pipeline import gallery
from chambit.report import pictures
from chambit.report.films import spread

LINE = 6  # pixels between the two halves
COLOURS = 256


def chosen(images: ImageSet, rows: int, columns: int, whole: bool) -> np.ndarray:
    """Positions of `rows` x `columns` images: classes in turn, or a whole item a row."""
    if whole:
        series = images.table["series"].to_numpy()
        names = list(dict.fromkeys(series))
        first = {name: str(images.labels[np.flatnonzero(series == name)[0]]) for name in names}
        picked = in_turn([first[name] for name in names], rows)
        parts = [np.flatnonzero(series == names[i]) for i in picked]
        return np.concatenate([part[spread(len(part), columns)] for part in parts])
    return in_turn(images.labels.tolist(), rows * columns)


def in_turn(labels: list[str], count: int) -> np.ndarray:
    """Positions of the first of each class, then the second of each, and so on, sorted by class.

    >>> in_turn(["a", "a", "a", "b"], 3).tolist()
    [0, 1, 3]
    """
    seen: dict[str, int] = {}
    turn = []
    for label in labels:
        seen[label] = seen.get(label, 0) + 1
        turn.append(seen[label])
    first = np.argsort(turn, kind="stable")[:count]
    return first[np.lexsort((first, np.array(labels)[first]))]


def main() -> None:
    """Read the run, write the sheet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("to", type=Path)
    parser.add_argument("--columns", type=int, default=8)
    parser.add_argument("--rows", type=int, default=2)
    parser.add_argument("--side", type=int, default=112)
    given = parser.parse_args()
    store, engine = Store(given.out / "work"), sql.create_engine(f"sqlite:///{given.out / 'work' / 'ledger.sqlite'}")
    with engine.connect() as connection:
        outputs = {row.name: row.outputs for row in connection.execute(sql.select(ledger.step))}
    if "phantoms" not in outputs:
        raise SystemExit(f"{given.out} is not a run on phantoms; only drawn patients may be shown in documents")
    sets = [ImageSet.load(store, outputs["refine"][role]) for role in ("holdout", "synthetic")]
    whole = (
        "series" in sets[1].table.columns
    )  # sequences or volumes were made; real ones have series in other cohorts, too
    halves = []
    for images in sets:
        tiles = gallery.tiles(images, chosen(images, given.rows, given.columns, whole), given.side)
        if (scale := given.side // max(tiles.shape[1:3])) > 1:
            tiles = tiles.repeat(scale, 1).repeat(scale, 2)
        sheet = pictures.contact_sheet(tiles, columns=given.columns, scale=1)
        halves.append(Image.open(io.BytesIO(sheet)))
    width, height = halves[0].width, sum(half.height for half in halves) + LINE
    both = Image.new(halves[0].mode, (width, height), "white")
    both.paste(halves[0], (0, 0))
    both.paste(halves[1], (0, halves[0].height + LINE))
    both.paste(Image.new(both.mode, (width, 2), "black"), (0, halves[0].height + LINE // 2 - 1))
    given.to.parent.mkdir(parents=True, exist_ok=True)
    small = both.quantize(COLOURS, dither=Image.Dither.NONE) if both.mode == "RGB" else both
    small.save(given.to, optimize=True)
    print(f"{given.to}: {both.width} x {both.height}, {given.to.stat().st_size / 1024:.0f} KiB")


if __name__ == "__main__":
    main()
