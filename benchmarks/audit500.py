"""How long a first audit takes: `python benchmarks/audit500.py [--side 64] [--images 500]`.

Draws phantom patients, writes 500 real and 500 synthetic radiographs as PNG into two folders, and runs `chambit audit
--real REAL --synthetic SYNTHETIC` as a user would, in a process of its own, without a network (the offline guard is in
force). The synthetic ones are phantoms of other patients, a little blurred. Prints the wall time of the whole command,
of each step from the ledger, the processor time, and the load of the machine before and after, because a wall time
under load is not a time.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image
from scipy import ndimage

from chambit.core.ledger import Ledger
from chambit.phantoms import chest

BLUR = 0.7  # pixels


def folder(path: Path, first: int, images: int, side: int, blur: float) -> None:
    """Write one radiograph of each of so many patients as an 8-bit PNG."""
    path.mkdir(parents=True)
    seen = chest.visits(first, images, seed=1)
    ones = list({visit.subject: visit for visit in seen}.values())[:images]
    drawn, _ = chest.render(ones, pixels=side, seed=1)
    for number, image in enumerate(drawn):
        grey = ndimage.gaussian_filter(image / 4095, blur) if blur else image / 4095
        Image.fromarray(np.rint(255 * grey).astype(np.uint8)).save(path / f"{number:04d}.png")


def main() -> None:
    """Draw, run, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--images", type=int, default=500)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        folder(home / "real", 0, given.images, given.side, 0)
        folder(home / "synthetic", 10_000, given.images, given.side, BLUR)
        before, began = os.getloadavg()[0], time.perf_counter()
        command = ["audit", "--real", home / "real", "--synthetic", home / "synthetic", "--out", home / "out"]
        code = "from chambit.cli import main; main()"
        subprocess.run([sys.executable, "-c", code, *map(str, command)], check=True, stdout=subprocess.DEVNULL)
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        whole, after = time.perf_counter() - began, os.getloadavg()[0]
        assert (home / "out" / "dossier.html").stat().st_size > 0
        ledger = Ledger.beside(home / "out" / "work")
        steps = ledger.seconds()
        ledger.close()
    for step, seconds in sorted(steps.items(), key=lambda item: -item[1]):
        print(f"{seconds:7.2f} s  {step}")
    print(f"{whole - sum(steps.values()):7.2f} s  start, reading of files to be released, dossier")
    size = f"{given.images} + {given.images} PNG of {given.side} x {given.side}"
    print(f"{whole:7.2f} s  in all: {size}, {os.cpu_count()} cores, load {before:.2f} before and {after:.2f} after")
    print(f"{used.ru_utime + used.ru_stime:7.2f} s  of processor time, all processes of the command")


if __name__ == "__main__":
    main()
