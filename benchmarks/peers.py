"""Fidelity statistics beside the peers', on the same arrays: values, CPU time over a bare product, peak memory.

    python benchmarks/peers.py                    ours alone
    python benchmarks/peers.py --peers PYTHON     and the peers'

PYTHON is the interpreter of an environment with torchmetrics 1.9.0, torch-fidelity 0.4.0, pytorch-fid 0.3.0, prdc 0.2
and scipy below 1.18. They want torchvision, too, which is not used here; where it cannot be loaded an empty one stands
in.

Every line is one process that loads two arrays and calls one function once. A floor is the CPU time of one float32
product of the two arrays (n x n x d) in a process of its own; `extra` is the peak memory above the loaded arrays.
"""

import argparse
import importlib
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import MagicMock

import numpy as np

Values = dict[str, float]


def product(x: np.ndarray, y: np.ndarray) -> Values:
    """The floor: one float32 product, in tiles that are thrown away."""
    import torch

    one, other = torch.from_numpy(x.astype(np.float32)), torch.from_numpy(y.astype(np.float32))
    held = torch.empty(2048, 2048)
    for rows in one.split(2048):
        for columns in other.split(2048):
            torch.mm(rows, columns.T, out=held[: len(rows), : len(columns)].contiguous())
    return {}


def frechet(x: np.ndarray, y: np.ndarray) -> Values:
    """Ours."""
    from chambit.measure.utility.frechet import distance

    return {"frechet": distance(x, y)}


def frechet_torchmetrics(x: np.ndarray, y: np.ndarray) -> Values:
    """Moments and `_compute_fid`, float64."""
    import torch
    from torchmetrics.image.fid import _compute_fid

    one, other = (torch.from_numpy(part.astype(np.float64)) for part in (x, y))
    found = _compute_fid(one.mean(0), one.T.cov(), other.mean(0), other.T.cov())
    return {"frechet": float(found)}


def frechet_pytorch_fid(x: np.ndarray, y: np.ndarray) -> Values:
    """Moments and `calculate_frechet_distance`, float64."""
    from pytorch_fid.fid_score import calculate_frechet_distance

    moments = [(part.mean(0), np.cov(part, rowvar=False)) for part in (x.astype(np.float64), y.astype(np.float64))]
    return {"frechet": float(calculate_frechet_distance(*moments[0], *moments[1]))}


def pairs(x: np.ndarray, y: np.ndarray) -> Values:
    """Ours: precision, recall, density, coverage, nearest real of each, and the kernel distance, in one go."""
    import torch

    from chambit.measure import pairs as tiles
    from chambit.measure.utility.kernel import distances

    centre = x.mean(0)
    one, other = tiles.Points.of(x - centre), tiles.Points.of(y - centre)
    near = [tiles.within(part, 5) for part in (one, other)]
    every = torch.ones(1, 1, dtype=torch.bool)
    balls = [found.nearest.radii(5, part, part, every) for found, part in zip(near, (one, other), strict=True)]
    seen = tiles.cross(one, other, *balls, every)
    sums = {"xx": near[0].kernel.numpy(), "yy": near[1].kernel.numpy(), "xy": seen.kernel.numpy()}
    inside = seen.inside[:, 0].double()
    return {
        "precision": float((inside > 0).double().mean()),
        "recall": float(seen.reached[:, 0].double().mean()),
        "density": float(inside.mean() / 5),
        "coverage": float(seen.covered[:, 0].double().mean()),
        "kernel": float(distances(one, other, sums, np.ones((1, 1), bool))[0]),
        "nearest": float(seen.nearest.square.sqrt().mean()),
    }


def kernel(x: np.ndarray, y: np.ndarray) -> Values:
    """Ours, the kernel distance alone, over all pairs."""
    from chambit.measure.utility.kernel import distance

    centre = x.mean(0)
    return {"kernel": distance(x - centre, y - centre)}


def prdc(x: np.ndarray, y: np.ndarray) -> Values:
    """The package's own function, k = 5."""
    from prdc import compute_prdc

    return {key: float(value) for key, value in compute_prdc(x, y, nearest_k=5).items()}


def kid_torch_fidelity(x: np.ndarray, y: np.ndarray) -> Values:
    """100 subsets of 1,000, its default; features centred as ours, for the kernel is not blind to shifts."""
    import torch
    from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, KEY_METRIC_KID_STD, kid_features_to_metric

    centre = x.mean(0)
    one, other = (torch.from_numpy((part - centre).astype(np.float64)) for part in (x, y))
    found = kid_features_to_metric(one, other, kid_subsets=100, kid_subset_size=min(1000, len(x)), verbose=False)
    return {"kernel": found[KEY_METRIC_KID_MEAN], "standard deviation": found[KEY_METRIC_KID_STD]}


class Nothing(MetaPathFinder, Loader):
    """Stands in for torchvision: every module can be imported, every name is there, and none of them does anything."""

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> ModuleSpec | None:
        """Answer for torchvision and what is in it."""
        return ModuleSpec(fullname, self, is_package=True) if fullname.split(".")[0] == "torchvision" else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """A module whose attributes are mocks."""
        module = ModuleType(spec.name)
        module.__getattr__ = lambda name: MagicMock()  # type: ignore[method-assign]
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Nothing is run."""


OURS: dict[str, Callable[[np.ndarray, np.ndarray], Values]] = {
    "frechet": frechet,
    "pairs": pairs,
    "kernel": kernel,
    "product": product,
}
THEIRS: dict[str, Callable[[np.ndarray, np.ndarray], Values]] = {
    "torchmetrics": frechet_torchmetrics,
    "pytorch-fid": frechet_pytorch_fid,
    "prdc": prdc,
    "torch-fidelity": kid_torch_fidelity,
}
PLAN = {
    "frechet": ("frechet", "torchmetrics", "pytorch-fid"),
    "pairs": ("pairs", "prdc", "kernel", "torch-fidelity"),
}


def main() -> None:
    """Compare, or be one of the compared."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", type=Path, help="the interpreter of the peers' environment")
    parser.add_argument("--frechet", type=int, nargs="+", default=[5000, 2048, 2500, 512], metavar="N D")
    parser.add_argument("--pairs", type=int, nargs="+", default=[5000, 512, 20000, 512], metavar="N D")
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker:
        _work(*given.worker)
        return
    with tempfile.TemporaryDirectory() as folder:
        for title, sizes in (("frechet", given.frechet), ("pairs", given.pairs)):
            for n, d in zip(sizes[::2], sizes[1::2], strict=True):
                compare(title, n, d, Path(folder), given.peers)


def compare(title: str, n: int, d: int, folder: Path, peers: Path | None) -> None:
    """One table: who, values, CPU seconds, floors, wall seconds, memory."""
    rng = np.random.default_rng(n + d)
    mixing = rng.standard_normal((d, d)) / d**0.5
    x = rng.standard_normal((n, d)) @ mixing
    y = 0.97 * rng.standard_normal((n, d)) @ (mixing + 0.1 * rng.standard_normal((d, d)) / d**0.5) + 0.02
    np.save(folder / "x.npy", x)
    np.save(folder / "y.npy", y)
    floor = _run("product", Path(sys.executable), folder)["cpu"]
    print(f"\n{title}: {n} x {n} x {d}; floor {floor:.2f} CPU s")
    print(f"{'':16} {'CPU s':>8} {'floors':>7} {'wall s':>8} {'extra MB':>9}  values")
    for name in PLAN[title]:
        if name in THEIRS and peers is None:
            continue
        told = _run(name, Path(sys.executable) if name in OURS else peers or Path(), folder)
        if "failed" in told:
            print(f"{name:16} failed: {told['failed']}")
            continue
        values = ", ".join(f"{key} {value:.9g}" for key, value in told["values"].items())
        cost = f"{told['cpu']:8.2f} {told['cpu'] / floor:7.1f} {told['wall']:8.2f} {told['extra']:9.0f}"
        print(f"{name:16} {cost}  {values}", flush=True)


def _run(name: str, python: Path, folder: Path) -> dict[str, Any]:
    done = subprocess.run(
        [python, __file__, "--worker", name, str(folder)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        return {"failed": (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]}
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


def _work(name: str, folder: str) -> None:
    if name in THEIRS:
        try:
            importlib.import_module("torchvision")
        except (ImportError, RuntimeError):  # none, or built for another torch; only statistics are called here
            for part in [part for part in sys.modules if part.split(".")[0] == "torchvision"]:
                del sys.modules[part]
            sys.meta_path.insert(0, Nothing())
    x, y = np.load(Path(folder, "x.npy")), np.load(Path(folder, "y.npy"))
    work = {**OURS, **THEIRS}[name]
    work(x[:64], y[:64])  # imports, and threads started
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    cpu, wall = time.process_time(), time.monotonic()
    values = work(x, y)
    cpu, wall = time.process_time() - cpu, time.monotonic() - wall
    extra = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(json.dumps({"values": values, "cpu": cpu, "wall": wall, "extra": extra}))


if __name__ == "__main__":
    main()
