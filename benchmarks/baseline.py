"""Generators against noise at equal seconds of one processor: `python benchmarks/baseline.py [--only flow,ddpm,gan]`.

Each generator trains on drawn chest radiographs of 32 pixels for the same seconds (see `generators.py`) and draws as
many images as there are held-out real ones to compare with. Two baselines beside them learn nothing of structure:

    gaussian   every pixel by itself, with the mean and standard deviation it has in the training images
    white      every pixel from 0 to 1, all values alike

    FD         Frechet distance of Chambit's texture features to the held-out real images, with the 95 % interval of
               resampled images; the floor is real against real
    better by  share of the distance of the better baseline (`gaussian`) that is gone; the aim is 50 % at the least
"""

import argparse
from typing import NamedTuple

import numpy as np
import torch

import generators
from chambit.measure import similarity
from chambit.measure.embed import texture
from chambit.measure.utility import frechet

AIM = 0.5
NAMES = ("flow", "ddpm-v", "ddpm-eps", "gan", "pca-gan", "pca-flow")


class Distance(NamedTuple):
    """A Frechet distance and both ends of its interval."""

    value: float
    low: float
    high: float


def gaussian(train: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Images float32 (count, H, W) in [0, 1]: every pixel by itself, as the training images have it on average."""
    rng = np.random.default_rng([seed, 1])
    made = rng.normal(train.mean(0), train.std(0), (count, *train.shape[1:]))
    return np.clip(made, 0, 1).astype(np.float32)


def white(train: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Images float32 (count, H, W) of uniform noise in [0, 1]."""
    return np.random.default_rng([seed, 2]).random((count, *train.shape[1:]), dtype=np.float32)


def distance(real: np.ndarray, made: np.ndarray, draws: int = 100) -> Distance:
    """Frechet distance of features (N, d), with the 2.5 and 97.5 % points of resampled images of both sides.

    Resampling repeats images, which adds a distance of its own; the interval is moved back by it.
    """
    rng = np.random.default_rng(0)
    value = float(frechet.distance(real, made))
    drawn = np.array([
        frechet.distance(real[rng.integers(len(real), size=len(real))], made[rng.integers(len(made), size=len(made))])
        for _ in range(draws)
    ])  # fmt: skip
    low, high = np.percentile(drawn - drawn.mean() + value, [2.5, 97.5])
    return Distance(value, float(low), float(high))


def better_by(found: Distance, baseline: Distance) -> float:
    """Share of the baseline's distance that is gone.

    >>> better_by(Distance(2, 1, 3), Distance(8, 7, 9))
    0.75
    """
    return 1 - found.value / baseline.value


def main() -> None:
    """Run and print one line for each set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0, help="of one processor, for each generator")
    parser.add_argument("--only", default=",".join(NAMES), help="names of generators.py with commas between")
    parser.add_argument("--count", type=int, default=1600, help="drawn patients")
    parser.add_argument("--side", type=int, default=32, help="pixels")
    parser.add_argument("--width", type=int, default=64, help="of the networks")
    given = parser.parse_args()
    torch.set_num_threads(1)
    data = generators.phantoms(given.count, given.side)
    scale = np.maximum(texture.features(np.concatenate([data.train, data.test])).std(0), similarity.FLOOR)

    def features(images: np.ndarray) -> np.ndarray:
        return np.asarray(texture.features(images) / scale)

    real, count = features(data.test), len(data.test)
    print(f"{len(data.train)} real images train, {count} compare, {given.side} pixels; {given.seconds:g} processor")
    print(f"seconds each\n{'':10} {'FD':>8}  {'95 % interval':^20} {'better by':>9}")
    sets = {
        "real": data.train[:count],
        "white": white(data.train, count, 0),
        "gaussian": gaussian(data.train, count, 0),
    }
    found = {name: distance(real, features(images)) for name, images in sets.items()}
    baseline = min(found["white"], found["gaussian"])
    for name in (*sets, *given.only.split(",")):
        if name not in found:
            found[name] = distance(real, features(generators.with_stage(name, data, given.seconds, given.width).images))
        one, gain = found[name], better_by(found[name], baseline)
        aim = "" if name in sets else "  reached" if gain >= AIM else "  missed"
        print(f"{name:10} {one.value:8.2f}  [{one.low:8.2f}, {one.high:8.2f}] {gain:9.1%}{aim}", flush=True)


if __name__ == "__main__":
    main()
