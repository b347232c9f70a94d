"""Do the 95 % intervals hold the truth in 95 % of cases? Patients with one to four images each, many repetitions.

    python benchmarks/intervals.py            400 repetitions, about 10 minutes on two cores
    python benchmarks/intervals.py --quick    20, to see that it runs

Real images: a patient's own effect (half of the variance) and the image's; synthetic images: another Gaussian, each for
itself. What the truth is: for `infinite` the distance of the two Gaussians; for the kernel distance its value between
40,000 images a side; for the distance at n and for the shares, which depend on n, their mean over the repetitions.
AUROC: one classifier's scores with patients' effects, bootstrap of patients; truth Phi(shift / sqrt 2).
"""

import argparse
import time
from typing import NamedTuple

import numpy as np
from scipy import linalg, stats

from chambit.core.evidence import Interval
from chambit.measure import interval
from chambit.measure.pairs import Points
from chambit.measure.utility import frechet, kernel, precision_recall

D, BLOCKS, METHOD = 20, 20, "jackknife"


class World(NamedTuple):
    """Square roots (D, D) of the two covariances, and the synthetic mean."""

    real: np.ndarray
    made: np.ndarray
    shift: float

    def patients(self, count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Images of so many patients, and whose each is."""
        owner = np.repeat(np.arange(count), rng.integers(1, 5, size=count))
        own, image = rng.normal(size=(count, D)), rng.normal(size=(len(owner), D))
        return (own[owner] + image) / 2**0.5 @ self.real.T, owner

    def synthetic(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """So many synthetic images."""
        return rng.normal(size=(count, D)) @ self.made.T + self.shift


def main() -> None:
    """Simulate, and print one line an interval."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--patients", type=int, default=240)
    given = parser.parse_args()
    repetitions, began = (20 if given.quick else 400), time.monotonic()
    rng = np.random.default_rng(5)
    real = rng.normal(size=(D, D)) / D**0.5
    worlds = {
        "another population": World(real, 0.9 * real + 0.2 * rng.normal(size=(D, D)) / D**0.5, 0.1),
        "the same population": World(real, real, 0.0),
    }
    print(f"{given.patients} patients, {D} features, {repetitions} repetitions; coverage of 95 % intervals")
    for name, world in worlds.items():
        fidelity(name, world, given.patients, repetitions)
    classification(given.patients, repetitions)
    print(f"{time.monotonic() - began:.0f} s")


def fidelity(name: str, world: World, patients: int, repetitions: int) -> None:
    """The three measures' intervals against one population."""
    kept: dict[str, list[tuple[float, Interval]]] = {}

    def keep(quantity: str, value: float, left_out: np.ndarray) -> None:
        spread = interval.jackknife(value, left_out, 0.95, METHOD)
        kept.setdefault(quantity, []).append((value, spread))

    for repetition in range(repetitions):
        rng = np.random.default_rng([repetition, patients])
        x, owner = world.patients(patients, rng)
        y = world.synthetic(len(x), rng)
        a, b = interval.groups(owner, BLOCKS, rng), interval.groups(np.arange(len(y)), BLOCKS, rng)
        whole = frechet.distance(x, y)
        left_out = np.array([frechet.distance(x[a != g], y[b != g]) for g in range(BLOCKS)])
        keep("frechet.distance", whole, left_out)
        beyond = interval.corrected(whole, left_out)
        keep("frechet.infinite", beyond, left_out - left_out.mean() + beyond)
        one, other = Points.of(x, a), Points.of(y, b)
        distances = kernel.groupwise(one, other, (owner, np.arange(len(y))))
        keep("kernel.distance", distances[0], distances[1:])
        shares = precision_recall.values(one, other, 5)
        for which, quantity in enumerate(precision_recall.QUANTITIES):
            keep(f"precision_recall.{quantity}", shares[0, which], shares[1:, which])
    rng = np.random.default_rng(1)
    cross = linalg.sqrtm(world.real @ world.real.T @ world.made @ world.made.T).real
    gaussian = np.square(world.real).sum() + np.square(world.made).sum() - 2 * np.trace(cross) + D * world.shift**2
    draws = rng.normal(size=(40000, D)) @ world.real.T, world.synthetic(40000, rng)
    truths = {"frechet.infinite": float(gaussian), "kernel.distance": kernel.distance(*draws)}
    print(f"\n{name}\n{'':30} {'truth':>9} {'mean':>9} {'spread':>9} {'half width':>10}  coverage")
    for quantity, values in kept.items():
        mean = float(np.mean([value for value, _ in values]))
        told(quantity, truths.get(quantity, mean), values)


def told(quantity: str, truth: float, values: list[tuple[float, Interval]]) -> None:
    """Print how often the truth was inside."""
    inside = sum(spread.low <= truth <= spread.high for _, spread in values)
    low, high = interval.clopper_pearson(inside, len(values))
    points = np.array([value for value, _ in values])
    half = np.mean([(spread.high - spread.low) / 2 for _, spread in values])
    print(f"{quantity:30} {truth:9.4f} {points.mean():9.4f} {points.std():9.4f} {half:10.4f}  "
          f"{inside / len(values):.3f} ({low:.3f}-{high:.3f})", flush=True)  # fmt: skip


def classification(patients: int, repetitions: int) -> None:
    """AUROC of scores whose patients' effects make up half of the variance."""
    values, shift = [], 1.2
    for repetition in range(repetitions):
        rng = np.random.default_rng([repetition, 77])
        owner = np.repeat(np.arange(patients), rng.integers(1, 5, size=patients))
        ill = rng.random(patients) < 0.3
        own = rng.normal(size=patients)[owner] + rng.normal(size=len(owner))
        score, truth = own / 2**0.5 + shift * ill[owner], ill[owner].astype(int)
        both = np.stack([-score, score], 1)
        weights = interval.subject_weights(owner, 1000, rng)
        boot = interval.macro_auroc(both, truth, weights)
        value = float(interval.macro_auroc(both, truth)[0])
        values.append((value, interval.percentile(boot, 0.95, "bootstrap of patients")))
    print()
    told("auroc, bootstrap of patients", float(stats.norm.cdf(shift / 2**0.5)), values)


if __name__ == "__main__":
    main()
