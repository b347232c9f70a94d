"""Neighbours, supports and kernel sums of two feature sets: seconds beside bare matrix products, and peak memory.

    python benchmarks/pairs.py                  20,000 x 20,000 x 512
    python benchmarks/pairs.py --national       61,133 x 145,140 x 512
    python benchmarks/pairs.py --bf16           tiles in bfloat16 (results must be the same)

One line each: within one set, within the other, across; a floor is one float32 product of the two sets, measured here.
"""

import argparse
import resource
import time

import numpy as np
import torch

from chambit.measure import pairs, resampling


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs=3, default=(20000, 20000, 512))
    parser.add_argument("--national", action="store_true")
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("-k", type=int, default=5)
    parser.add_argument("--kept", type=int, default=30, help="neighbours kept of each point; as many as -k: no halves")
    given = parser.parse_args()
    n, m, d = (61133, 145140, 512) if given.national else given.sizes
    rng = np.random.default_rng(0)
    x = rng.standard_normal((n, d), np.float32)
    y = 0.98 * rng.standard_normal((m, d), np.float32) + np.float32(0.02)
    floor = product(x, y)
    print(f"{n} x {m} x {d}, {torch.get_num_threads()} threads; floor {floor:.1f} s ({2e-9 * n * m * d / floor:.0f} "
          f"GFLOP/s), {peak():.2f} GiB with the features")  # fmt: skip
    kind = torch.bfloat16 if given.bf16 else torch.float32
    halves = np.concatenate([np.ones((1, 30), bool), resampling.halves(15)])
    kept = torch.from_numpy(halves if given.kept > given.k else halves[:1])
    groups = [rng.integers(30, size=count) for count in (n, m)]
    marks = [time.monotonic()]
    one, other = (pairs.Points.of(part, group, kind) for part, group in zip((x, y), groups, strict=True))
    near = []
    for part in (one, other):
        near.append(pairs.within(part, given.kept))
        marks.append(time.monotonic())
    balls = [found.nearest.radii(given.k, part, part, kept) for found, part in zip(near, (one, other), strict=True)]
    crossed = pairs.cross(one, other, *balls, kept)
    marks.append(time.monotonic())
    parts = np.diff(marks)
    each = " s, ".join(f"{part:.1f}" for part in parts)
    print(f"within, within, across {each} s: {sum(parts) / floor:.1f} floors, {peak():.2f} GiB at most")
    inside = crossed.inside[:, 0]
    print(f"precision {(inside > 0).float().mean():.4f} recall {crossed.reached[:, 0].float().mean():.4f} density "
          f"{inside.sum() / given.k / m:.4f} coverage {crossed.covered[:, 0].float().mean():.4f}; nearest "
          f"{crossed.nearest.square.sqrt().mean():.9f}; kernel {crossed.kernel.sum() / n / m:.9f}")  # fmt: skip


def product(x: np.ndarray, y: np.ndarray) -> float:
    """Seconds of the bare float32 product of two sets, in tiles that are thrown away."""
    one, other = torch.from_numpy(x), torch.from_numpy(y)
    held = torch.empty(pairs.TILE, pairs.TILE)
    began = time.monotonic()
    for rows in range(0, len(x) - pairs.TILE + 1, pairs.TILE):
        for columns in range(0, len(y) - pairs.TILE + 1, pairs.TILE):
            torch.mm(one[rows : rows + pairs.TILE], other[columns : columns + pairs.TILE].T, out=held)
    done = (len(x) // pairs.TILE * pairs.TILE) * (len(y) // pairs.TILE * pairs.TILE)
    return (time.monotonic() - began) * len(x) * len(y) / max(done, 1)


def peak() -> float:
    """Largest resident memory of this process so far, GiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


if __name__ == "__main__":
    main()
