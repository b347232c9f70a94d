"""Stage times and peak memory of the demonstration: `make bench` (or `python benchmarks/demo.py STUDY`).

Runs the demonstration (or a study) in a fresh temporary folder as its own process, then prints the seconds of each
step from the ledger, the wall time, the peak memory of the largest process and of all processes together, and, beside
them, the speed of one bare matrix product on this machine, so that the figures can be read on another one.
"""

import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import torch

from chambit.core.ledger import Ledger


def main() -> None:
    """Run and print."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        command = [sys.executable, "-c", "from chambit.cli import main; main()"]
        command += ["run", sys.argv[1]] if len(sys.argv) > 1 else ["demo"]
        began = time.monotonic()
        process = subprocess.Popen([*command, "--out", str(out)], stdout=subprocess.DEVNULL)
        peaks = Peaks(process.pid)
        status = process.wait()
        wall = time.monotonic() - began
        peaks.stop()
        ledger = Ledger.beside(out / "work")
        print(f"{'step':<28} seconds")
        for name, seconds in ledger.seconds().items():
            print(f"{name:<28} {seconds:7.1f}")
        ledger.close()
        disk = sum(file.stat().st_size for file in out.rglob("*") if file.is_file()) / 1e6
    print(f"{'wall':<28} {wall:7.1f}   (exit status {status})")
    print(f"peak memory: {peaks.largest:.0f} MiB in the largest process, {peaks.together:.0f} MiB in all together")
    print(f"disk: {disk:.0f} MB")
    speeds = [f"{kind} {_product(kind):.0f} GFLOP/s" for kind in (torch.bfloat16, torch.float32)]
    print(f"matrix product 2048^3: {', '.join(speeds)}")


class Peaks:
    """Watches the resident memory of a process and its children ten times a second."""

    def __init__(self, pid: int) -> None:
        self.pid, self.largest, self.together, self._on = pid, 0.0, 0.0, True
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop watching."""
        self._on = False
        self._thread.join()

    def _watch(self) -> None:
        while self._on:
            sizes = [_resident(pid) for pid in _family(self.pid)]
            self.largest = max([self.largest, *sizes])
            self.together = max(self.together, sum(sizes))
            time.sleep(0.1)


def _family(pid: int) -> list[int]:
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [pid, *(member for child in children for member in _family(int(child)))]


def _resident(pid: int) -> float:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
    except (OSError, IndexError):
        return 0.0


def _product(kind: torch.dtype) -> float:
    a = torch.randn(2048, 2048).to(kind)
    a @ a
    began = time.perf_counter()
    for _ in range(5):
        a @ a
    return 5 * 2 * 2048**3 / (time.perf_counter() - began) / 1e9


if __name__ == "__main__":
    main()
