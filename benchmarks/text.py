"""Recall of planted text by height, contrast and script, false alarms, and cost, on phantoms or a folder of images.

python benchmarks/text.py                      phantoms of 64 pixels, cropped as the demonstration crops them
python benchmarks/text.py FOLDER --side 128    real images, brought to that size
python benchmarks/text.py FILE.npz#part        an archive
"""

import argparse
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
from PIL import Image as Picture

from chambit.images import readers
from chambit.phantoms import chest
from chambit.prepare import lettering, ocr

HEIGHTS, CONTRASTS = (8, 10, 14, 20, 28), (0.1, 0.2, 0.3, 0.5, 1.0)


def _images(source: str, side: int, count: int) -> np.ndarray:
    if not source:
        drawn, _ = chest.render(chest.visits(0, count, seed=20240530)[:count], seed=20240530, pixels=side)
        return (drawn[:, : side * 3 // 4] // 16).astype(np.uint8)
    name, _, part = source.partition("#")
    if Path(name).is_file():
        found = [image.grey() for _, image in readers.open_any(Path(name), part)][:count]
    else:
        files = sorted(p for p in Path(name).rglob("*") if p.suffix.lower() in (".png", ".jpg", ".jpeg"))[:count]
        found = [image.grey() for p in files for _, image in readers.open_any(p)]
    eight = [np.round(255 * (g if g.ndim == 2 else g.mean(2))).astype(np.uint8) for g in found]
    if not side:
        return np.stack(eight)
    return np.stack([np.asarray(Picture.fromarray(g).resize((side, side), Picture.Resampling.LANCZOS)) for g in eight])


def _timed(images: np.ndarray) -> tuple[list[list[ocr.Box]], float]:
    began = time.process_time()
    found = ocr.find(images)
    return found, 1000 * (time.process_time() - began) / len(images)


def _covers(box: ocr.Box, plant: lettering.Plant) -> bool:
    wide = min(box.x1, plant.x1) - max(box.x0, plant.x0)
    high = min(box.y1, plant.y1) - max(box.y0, plant.y0)
    return wide > 0 and high > 0 and 4 * wide * high >= (plant.x1 - plant.x0) * (plant.y1 - plant.y0)


def main() -> None:
    """Print the tables."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("source", nargs="?", default="")
    asked.add_argument("--side", type=int, default=0)
    asked.add_argument("--count", type=int, default=400)
    asked.add_argument("--plants", type=int, default=8)
    given = asked.parse_args()
    images = _images(given.source, given.side or (0 if given.source else 64), given.count)
    wanted = [
        lettering.Wanted(h, c, script, words)
        for h in HEIGHTS
        for c in CONTRASTS
        for script, words in lettering.WORDS.items()
        for _ in range(given.plants)
    ]
    planted, plants = lettering.plant(images, wanted, np.random.default_rng(0))
    plain, cost = _timed(images)
    written, cost_written = _timed(planted)
    hits: dict[object, list[bool]] = defaultdict(list)
    for plant in plants:
        hit = any(_covers(box, plant) for box in written[plant.image])
        hits[plant.height, plant.contrast].append(hit)
        if plant.height >= 10 and plant.contrast >= 0.5:
            hits[plant.script].append(hit)
    print(
        f"{len(images)} images of {images.shape[2]} x {images.shape[1]}; enlarged {ocr.enlargement(*images.shape[1:])}x"
    )
    print(f"said to have text as they are: {sum(map(bool, plain))} of {len(plain)}; {cost:.0f} CPU s per 1,000 images")
    print(f"with a planted text: {cost_written:.0f} CPU s per 1,000 images; {len(plants)} texts")
    print("recall   " + "".join(f"{c:>12g}" for c in CONTRASTS))
    for h in HEIGHTS:
        cells = [hits[h, c] for c in CONTRASTS]
        print(f"{h:4d} px  " + "".join(f"{sum(c):>8d}/{len(c)}" if c else f"{'-':>12}" for c in cells))
    print("from 10 px and contrast 0.5:", {s: f"{sum(hits[s])}/{len(hits[s])}" for s in lettering.WORDS})


if __name__ == "__main__":
    main()
