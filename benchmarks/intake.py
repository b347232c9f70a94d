"""Memory of intake: peak of a process that takes in few and many small PNG files, and what one more file costs.

    python benchmarks/intake.py [FEW MANY]

Files of 32 x 32 pixels are drawn to a temporary folder and taken in by a process of its own for each number; its peak
resident memory is asked of the system (`ru_maxrss`). Bytes a file = (peak of many - peak of few) / (many - few).
"""

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from chambit.core import steps
from chambit.core.engines.inline import Engine
from chambit.prepare.intake import Rules, Source, inputs_digest, take_in

SIDE = 32
A_FOLDER = 1000


def draw(folder: Path, count: int) -> None:
    """Write `count` files of noise, a thousand in a folder, two classes."""
    from PIL import Image

    for number in range(count):
        place = folder / ("ill" if number % 2 else "well") / f"{number // A_FOLDER:04d}"
        place.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (SIDE, SIDE), np.uint8)
        Image.fromarray(pixels).save(place / f"{number:07d}.png", compress_level=1)


def taken(folder: Path, work: Path) -> None:
    """Take a folder in, in this process, and print accepted images, seconds and peak kilobytes."""
    began = time.monotonic()
    source = Source(folder)
    step = steps.Step(
        "intake",
        "1",
        {},
        {"files": inputs_digest(source)},
        lambda context: take_in(context, source, Rules(), prefix="R"),
        seed=0,
    )
    shop = steps.Workshop.at(work, Engine(), lambda _: None)
    table = shop.store.get_table(shop.run(step)["images"])
    shop.close()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(len(table), round(time.monotonic() - began, 1), peak)


def main(few: int = 2000, many: int = 20000) -> None:
    """Print a row for each number of files, and the bytes that one more file costs."""
    peaks = {}
    for count in (few, many):
        with tempfile.TemporaryDirectory() as folder:
            draw(Path(folder, "in"), count)
            command = [sys.executable, __file__, "--take", f"{folder}/in", f"{folder}/work"]
            accepted, seconds, peak = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
        peaks[count] = int(peak) * 1024
        print(f"{count:,} files: {int(accepted):,} accepted in {seconds} s, peak {peaks[count] / 1e6:.0f} MB")
    print(f"one more file: {(peaks[many] - peaks[few]) / (many - few):.0f} bytes")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--take"]:
        taken(Path(sys.argv[2]), Path(sys.argv[3]))
    else:
        main(*map(int, sys.argv[1:]))
