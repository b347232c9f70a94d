"""Does the sample of a specialists' inspection keep its promise: are bad sets rarely accepted, do intervals cover?

    python benchmarks/inspecting.py            200,000 draws a line, half a minute on one core
    python benchmarks/inspecting.py --quick    2,000, to see that it runs

For each layout of strata the plan of the default policy is drawn up. Sets at the limit then have their unacceptable
images spread evenly, in the smallest stratum first, in the largest first, or in the least sampled stratum first; `risk`
is how often such a set is accepted, which must be 0.05 at most. `cover` is how often the 95 % interval, and `upper` how
often the one-sided limit, holds the share, the worst of sets with 0.2 to 3 times the limit; both must be 0.95 at least
and are more, because tails are discrete and the bound holds however the images lie. `passes` is how often a set with
the good share of 1 % is accepted.
"""

import argparse

import numpy as np

from chambit.reading import strata
from chambit.reading.strata import Drawn
from chambit.review import policy

LAYOUTS = {
    "1 of 2,000": [2000],
    "2 equal, 2,000": [1024, 976],
    "2, one rare": [1900, 100],
    "6 embryo stages": [260, 240, 220, 200, 150, 130],
    "12, four rare": [900, 700, 500, 300, 200, 100, 80, 60, 12, 10, 8, 5],
    "150 photographs": [69, 81],
    "150,000": [60_000, 50_000, 40_000],
}
WAYS = ("even", "smallest", "largest", "least sampled")


def lie(sizes: np.ndarray, samples: np.ndarray, bad: int, way: str) -> np.ndarray:
    """How many unacceptable images there are in each stratum."""
    if way == "even":
        exact = bad * sizes / sizes.sum()
        found = np.minimum(exact.astype(int), sizes)
        for k in np.argsort(found - exact)[: bad - found.sum()]:
            found[k] += 1
        return found
    key = {"smallest": sizes, "largest": -sizes, "least sampled": samples / sizes}[way]
    found, left = np.zeros(len(sizes), int), bad
    for k in np.argsort(key):
        found[k] = min(left, sizes[k])
        left -= found[k]
    return found


def main() -> None:
    """Print a line for each layout."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    draws = 2_000 if parser.parse_args().quick else 200_000
    asked = policy.load("default").settings["inspecting"]
    rng = np.random.default_rng(20_260)
    print(
        f"{'strata':<18}{'n':>5}{'c':>3}  "
        + "".join(f"{way:>15}" for way in WAYS)
        + f"{'cover':>8}{'upper':>8}{'passes':>8}"
    )
    for name, layout in LAYOUTS.items():
        sizes = {str(k): size for k, size in enumerate(layout)}
        plan = strata.planned(sizes, **{key: asked[key] for key in ("limit", "risk", "good", "good_risk")})
        size, samples = np.array(layout), np.array([plan.samples[key] for key in sizes])
        parts = [Drawn(*pair) for pair in zip(size.tolist(), samples.tolist(), strict=True)]
        total, limit = int(size.sum()), asked["limit"]

        def found(bad: int, way: str, size=size, samples=samples) -> np.ndarray:
            there = lie(size, samples, bad, way)
            return rng.hypergeometric(there, size - there, samples, (draws, len(size))).sum(1)

        at = -(-int(total * limit * 1e9) // 10**9)
        risks = [float((found(at, way) <= plan.accept).mean()) for way in WAYS]
        told: dict[int, tuple[float, float, float]] = {}
        cover, upper = 1.0, 1.0
        for times in (0.2, 0.5, 1, 2, 3):
            bad = round(total * limit * times)
            for way in WAYS:
                counts, often = np.unique(found(bad, way), return_counts=True)
                for count in counts.tolist():
                    if count not in told:
                        two = strata.interval(parts, count, asked["level"])
                        told[count] = two.low, two.high, strata.upper(parts, count, asked["risk"]).high
                held = np.array([told[c][0] <= bad / total <= told[c][1] for c in counts.tolist()])
                below = np.array([bad / total <= told[c][2] for c in counts.tolist()])
                cover, upper = min(cover, often[held].sum() / draws), min(upper, often[below].sum() / draws)
        passes = float((found(int(total * asked["good"]), "even") <= plan.accept).mean())
        line = "".join(f"{risk:>15.4f}" for risk in risks) + f"{cover:>8.4f}{upper:>8.4f}{passes:>8.3f}"
        print(f"{name:<18}{samples.sum():>5}{plan.accept:>3}  {line}")


if __name__ == "__main__":
    main()
