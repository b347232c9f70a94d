"""The staged chain for intra-oral photographs, looked at stage by stage: `python benchmarks/oral.py FOLDER`.

Draws phantoms, trains `layout`, `sdm`, `compose`, `santa` and `esrgan` on them, draws all five views and writes into
FOLDER a sheet for each stage, real pictures on the left and made ones on the right, a row for each view; layouts are
coloured by part, findings black. It prints

    seconds      of training and of drawing an image, by stage: of the clock, and of the processor (`process_time`)
    nearest      share of pixels equal to the nearest training layout of the same view: of drawn layouts, and of layouts
                 of patients the training never saw, which is the null; a copy is near 1
    teeth        number of teeth of a picture: drawn, and real
    composition  the largest share one patient has in an image, and how many patients give to one
    enlargement  PSNR, SSIM and sharpness of held-out pictures, of the network and of cubic interpolation

The accuracy of caries and of tooth boundaries, trained on made against trained on real, stands in the dossier of
`chambit run examples/oral.yaml`.
"""

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from PIL import Image

from chambit.core import extensions
from chambit.core.engines import inline
from chambit.core.ledger import Ledger
from chambit.core.steps import Context, Step
from chambit.core.store import Store
from chambit.generate.items import Examples, Form
from chambit.generate.staged import parts
from chambit.images import imageset
from chambit.images.imageset import ImageSet
from chambit.phantoms.oral.dentition import FIRST_TOOTH, mouth
from chambit.phantoms.oral.scene import VIEWS, shot

CHAIN: dict[str, dict[str, Any]] = {
    "layout": {"steps": 2500},
    "sdm": {"steps": 900},
    "compose": {"steps": 1500},
    "santa": {"steps": 220, "sources": 64},
    "esrgan": {"steps": 800},
}
SEED = 6
SHOWN = 4  # real and made pictures of a view on a sheet
TILE = 192  # pixels of one of them; the last stage is shown at full size


def cohort(store: Store, patients: range, pixels: int) -> Examples:
    """Photographs of some patients in five views."""
    rows, images, layouts, masks = [], [], [], []
    for index in patients:
        person = mouth(SEED, index, 0.65)
        for view in VIEWS:
            taken = shot(person, view, pixels, SEED, index)
            images.append(taken.image)
            layouts.append(taken.layout)
            masks.append(taken.mask)
            rows.append({"subject": f"T{index}", "label": "caries" if taken.mask.any() else "sound", "view": view})
    block, digests = imageset.put_block(store, np.stack(images))
    table = pl.DataFrame(rows).with_columns(
        id=pl.Series([str(n) for n in range(len(rows))]), block=pl.lit(block), row=pl.int_range(len(rows)),
        sha256=pl.Series(digests), bits=pl.lit(8),
    )  # fmt: skip
    form = Form(pixels, pixels, 3)
    return Examples(
        ImageSet(store, table), form, ("caries", "sound"), np.stack(masks), np.stack(layouts), {"view": VIEWS}
    )


def nearest(layouts: np.ndarray, views: np.ndarray, examples: Examples) -> np.ndarray:
    """Share of pixels that each layout has in common with the training layout of its view that is most like it."""
    assert examples.layouts is not None
    known, of = parts.at_size(examples.layouts, (128, 128)), examples.factor()[:, 0]
    small = parts.at_size(layouts, (128, 128))
    return np.array([(known[of == view] == one).mean((1, 2)).max() for one, view in zip(small, views, strict=True)])


def coloured(layouts: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Layouts as pictures uint8 (N, H, W, 3)."""
    palette = np.random.default_rng(3).integers(60, 255, (256, 3)).astype(np.uint8)
    palette[0] = 0
    pictures: np.ndarray = palette[layouts]
    pictures[masks > 0] = 0
    return pictures


def sheet(path: Path, real: np.ndarray, made: np.ndarray, tile: int) -> None:
    """Real pictures on the left, made ones on the right, in rows of one view each; both (views, N, H, W, 3)."""
    rows = []
    for left, right in zip(real, made, strict=True):
        tiles = [np.asarray(Image.fromarray(one).resize((tile, tile))) for one in (*left, *right)]
        rows.append(np.concatenate(tiles, 1))
    Image.fromarray(np.concatenate(rows)).save(path)


def bytes_of(images: np.ndarray) -> np.ndarray:
    """Pictures in [0, 1] as uint8."""
    return np.asarray(np.rint(np.clip(images, 0, 1) * 255), np.uint8)


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--patients", type=int, default=75)
    parser.add_argument("--pixels", type=int, default=512)
    parser.add_argument("--shorter", type=int, default=1, metavar="N", help="train every stage so many times shorter")
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        run(asked.folder, Path(folder), asked.patients, asked.pixels, asked.shorter)


def run(folder: Path, work: Path, patients: int, pixels: int, shorter: int) -> None:
    """Train, draw, measure and write the sheets."""
    store = Store(work / "store")
    examples = cohort(store, range(patients), pixels)
    unseen = cohort(store, range(patients, patients + max(2, patients // 3)), pixels)
    count = len(VIEWS) * 2 * SHOWN
    number = np.arange(count)
    ill = number // len(VIEWS) % 2 == 0
    now: dict[str, np.ndarray] = {"label": (~ill).astype(np.int64), "finding": ill, "factors": number[:, None] % 5}
    seeds, views = [int(n) + 10**6 for n in number], number % 5
    of = examples.factor()[:, 0]
    rows = np.stack([np.flatnonzero(of == view)[:SHOWN] for view in range(5)])
    drawn = np.stack([np.flatnonzero(views == view)[:SHOWN] for view in range(5)])
    real = bytes_of(examples.take(rows.ravel()).image()).reshape(5, SHOWN, pixels, pixels, 3)
    for name, options in CHAIN.items():
        stage = extensions.load("chambit.generate.stages", name)
        chosen = stage.Options(**options | {"steps": max(2, options["steps"] // shorter)})
        step = Step(f"train {name}", "1", {}, {}, lambda _: {}, seed=SEED)
        context = Context(step, store, Ledger.beside(work), inline.Engine(), lambda _: None, work / name)
        before = {key: value for key, value in now.items() if key in ("image", "layout")}
        given = examples if name == "layout" else _after(examples, before)
        clock, processor = time.monotonic(), time.process_time()
        weights = stage.train(context, given, chosen)
        trained = time.monotonic() - clock, time.process_time() - processor
        clock, processor = time.monotonic(), time.process_time()
        now |= stage.sample(store, weights, now, seeds, chosen)
        each = (time.monotonic() - clock) / count, (time.process_time() - processor) / count
        print(f"{name}: training {trained[0]:.0f} s ({trained[1]:.0f} of the processor), "
              f"an image {each[0]:.2f} s ({each[1]:.2f})", flush=True)  # fmt: skip
        if name == "layout":
            assert examples.layouts is not None
            assert unseen.layouts is not None
            assert examples.masks is not None
            copied, null = (
                nearest(now["layout"], views, examples),
                nearest(unseen.layouts, unseen.factor()[:, 0], examples),
            )
            print(f"  nearest: drawn {copied.mean():.3f}, largest {copied.max():.3f} (n={len(copied)}); "
                  f"unseen {null.mean():.3f}, largest {null.max():.3f} (n={len(null)})")  # fmt: skip
            teeth = [np.mean([(np.unique(one) >= FIRST_TOOTH).sum() for one in many])
                     for many in (now["layout"], unseen.layouts)]  # fmt: skip
            print(f"  teeth: drawn {teeth[0]:.1f}, unseen {teeth[1]:.1f}")
            sheet(folder / "1-layout.png", coloured(examples.layouts, examples.masks)[rows],
                  coloured(now["layout"], now["mask"])[drawn], TILE)  # fmt: skip
            continue
        if name == "compose":
            shares = [max((donor.share for donor in donors), default=0.0) for donors in now["donors"]]
            givers = [len({donor.subject for donor in donors}) for donors in now["donors"]]
            print(f"  composition: largest share {max(shares):.3f}, patients of an image {np.median(givers):.0f}")
        print("  ", {key: value for key, value in stage.facts(store, weights).items() if key != "loss"})
        place = list(CHAIN).index(name) + 1
        last = name == list(CHAIN)[-1]
        some = slice(0, 2 if last else SHOWN)
        sheet(
            folder / f"{place}-{name}.png",
            real[:, some],
            bytes_of(now["image"])[drawn[:, some]],
            pixels if last else TILE,
        )


def _after(examples: Examples, before: dict[str, np.ndarray]) -> Examples:
    """The examples of a stage that sees what those before it made."""
    return replace(examples, earlier=lambda count: {name: rows[:count] for name, rows in before.items()})


if __name__ == "__main__":
    main()
