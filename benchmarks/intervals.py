"""Do the 95 % intervals hold the truth in 95 % of cases? Patients with one to four images each, many repetitions.

    python benchmarks/intervals.py            400 repetitions, about 20 minutes on two cores
    python benchmarks/intervals.py --quick    20, to see that it runs

Real images: a patient's own effect (half of the variance) and the image's; synthetic images: another Gaussian, each for
itself. What the truth is: for `infinite` the distance of the two Gaussians; for the kernel distance its value between
40,000 images a side; for all numbers that depend on n, their mean over the repetitions. `plain` is the jackknife as it
was used before, without its correction. AUROC: one classifier's scores with patients' effects, bootstrap of patients
and DeLong clustered by patient; truth Phi(shift / sqrt 2).
"""

import argparse
import time
from typing import NamedTuple

import numpy as np
from scipy import linalg, stats

from chambit.core.evidence import Interval
from chambit.measure import interval, resampling
from chambit.measure.delong import Delong
from chambit.measure.similarity import Sides
from chambit.measure.utility import frechet, intensity, kernel, precision_recall, vendi

D, BLOCKS, LEVEL = 20, 20, 0.95


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
    parser.add_argument("--repetitions", type=int, default=400)
    given = parser.parse_args()
    repetitions, began = (20 if given.quick else given.repetitions), time.monotonic()
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
    """The measures' intervals against one population."""
    kept: dict[str, list[tuple[float, Interval]]] = {}
    for repetition in range(repetitions):
        rng = np.random.default_rng([repetition, patients])
        x, owner = world.patients(patients, rng)
        y = world.synthetic(len(x), rng)
        sides = Sides(x, owner, y, np.arange(len(y)))
        found = {f"frechet.{key}": one for key, one in frechet.estimates(sides, BLOCKS, LEVEL, rng).items()}
        found |= {f"kernel.{key}": one for key, one in kernel.estimates(sides, 31, LEVEL, rng).items()}
        found |= {f"precision_recall.{key}": one
                  for key, one in precision_recall.estimates(sides, 5, 15, LEVEL, rng).items()}  # fmt: skip
        for key, one in found.items():
            kept.setdefault(key, []).append((one.value, one.interval))
        kept.setdefault("frechet.distance, plain", []).append(plain_jackknife(sides, rng))
        for key, number in (("vendi.ratio", vendi.ratio), ("a mean's distance", intensity.distance)):
            kept.setdefault(key, []).append(halves(sides, number, rng))
    rng = np.random.default_rng(1)
    cross = linalg.sqrtm(world.real @ world.real.T @ world.made @ world.made.T).real
    gaussian = np.square(world.real).sum() + np.square(world.made).sum() - 2 * np.trace(cross) + D * world.shift**2
    draws = rng.normal(size=(40000, D)) @ world.real.T, world.synthetic(40000, rng)
    truths = {"frechet.infinite": float(gaussian), "kernel.distance": kernel.distance(*draws)}
    print(f"\n{name}\n{'':30} {'truth':>9} {'mean':>9} {'spread':>9} {'half width':>10}  coverage")
    for quantity, values in kept.items():
        mean = float(np.mean([value for value, _ in values]))
        told(quantity, truths.get(quantity, mean), values)


def plain_jackknife(sides: Sides, rng: np.random.Generator) -> tuple[float, Interval]:
    """The Frechet distance with the jackknife's interval as it is, uncorrected."""
    a, b = (interval.groups(owners, BLOCKS, rng) for owners in (sides.owners, sides.makers))
    value = frechet.distance(sides.real, sides.made)
    left_out = np.array([frechet.distance(sides.real[a != g], sides.made[b != g]) for g in range(BLOCKS)])
    return value, resampling.jackknife(value, left_out, LEVEL, "jackknife")


def halves(sides: Sides, number, rng: np.random.Generator) -> tuple[float, Interval]:  # type: ignore[no-untyped-def]
    """A number with its interval from halves, as `similarity.one_number` makes it."""
    a, b = (interval.groups(owners, 62, rng) for owners in (sides.owners, sides.makers))
    value = number(sides.real, sides.made)
    values = np.array([number(sides.real[part[a]], sides.made[part[b]]) for part in resampling.halves(31)])
    return value, resampling.from_halves(value, values, LEVEL, "halves", smooth=False)


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
    boot, delong, shift = [], [], 1.2
    for repetition in range(repetitions):
        rng = np.random.default_rng([repetition, 77])
        owner = np.repeat(np.arange(patients), rng.integers(1, 5, size=patients))
        ill = rng.random(patients) < 0.3
        own = rng.normal(size=patients)[owner] + rng.normal(size=len(owner))
        score, truth = own / 2**0.5 + shift * ill[owner], ill[owner].astype(int)
        both = np.stack([-score, score], 1)
        weights = interval.subject_weights(owner, 1000, rng)
        value = float(interval.macro_auroc(both, truth)[0])
        boot.append((value, interval.percentile(interval.macro_auroc(both, truth, weights), LEVEL, "bootstrap")))
        area = Delong.of(score[None], truth == 1, owner).area(0)
        delong.append((area.value, area.interval(LEVEL)))
    print()
    truth_ = float(stats.norm.cdf(shift / 2**0.5))
    told("auroc, bootstrap of patients", truth_, boot)
    told("auroc, DeLong by patient", truth_, delong)


if __name__ == "__main__":
    main()
