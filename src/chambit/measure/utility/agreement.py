"""Do extractors agree: the order in which they put this set, trivial generators' sets and real images.

Each extractor orders five sets by their kernel distance to the unseen real images (holdout): the training images, the
synthetic ones, and three trivial sets (`measure.trivial`). Kendall's tau-b between two orders (Kendall 1945,
doi:10.1093/biomet/33.3.239), averaged over pairs of extractors, is 1 where all agree. A conflict is a pair of
extractors of which one puts the synthetic set nearer to the real images than the class-wise Gaussian and the other
farther, both with an interval of the difference that excludes 0: then no single extractor's distance may be quoted.

`beyond_trivial` is (g - s) / (|g| + |s|), g the Gaussian's distance and s the synthetic set's, in the extractor where
that is least: above 0 every extractor finds the set nearer to the real images than blurs, 1 as near as it could be.
"""

from itertools import combinations

import numpy as np
from scipy import stats

from chambit.core.evidence import Finding, Interval
from chambit.images.imageset import ImageSet
from chambit.measure import bands, controls, extractors, interval, resampling, similarity, trivial
from chambit.measure.examination import Examination, Result, not_run
from chambit.measure.pairs import Points
from chambit.measure.utility import kernel

version = "1"
QUANTITIES = {"tau": "higher", "beyond_trivial": "higher"}
SETS = ("train", "synthetic", *trivial.KINDS)


class Options(similarity.Options):
    """extractors: which, two at least; level: of the interval; pairs: of groups of subjects that make the halves;
    components, noise, neighbours: of the trivial generators.
    """

    pairs: int = 31
    components: int = 60
    noise: float = 0.05
    neighbours: int = 5


def measure(exam: Examination, options: Options) -> Result:
    """Agreement of the extractors, and the gain over blurs where it is least."""
    name = f"agreement@{version}"
    if reason := _missing(exam, options):
        return not_run(name, QUANTITIES, reason, similarity.sizes(exam))
    used, left_out = extractors.usable(exam, options.extractors)
    settings = trivial.Settings(options.components, options.noise, options.neighbours)
    made = controls.sets(exam, settings)
    few = resampling.pairs_for(exam.subjects("holdout"), options.pairs)
    tables = {one: _distances(exam, one, made, few) for one in used}
    n = {"images per side": _size(exam, made), "holdout subjects": exam.subjects("holdout")}
    n |= {"extractors": len(tables), "sets": len(SETS)}
    told = {"sets": list(SETS), "left_out": left_out, "seen": [
        extractors.about(exam, one)
        | {part: _interval(table[:, k], options.level).model_dump() | {"value": float(table[0, k])}
           for k, part in enumerate(SETS)}
        for one, table in tables.items()
    ]}  # fmt: skip
    common = {"measure": name, "n": n, "direction": "higher", "inputs": exam.inputs("train", "holdout", "synthetic")}
    taus = np.array(
        [_tau([table[case] for table in tables.values()]) for case in range(len(next(iter(tables.values()))))]
    )
    gains = {one: _gain(table[:, 1], table[:, 2]) for one, table in tables.items()}
    spreads = {one: _bounded(_interval(gain, options.level)) for one, gain in gains.items()}
    conflicts = [[one, other] for one, other in combinations(tables, 2) if _apart(spreads[one], spreads[other])]
    worst = min(gains, key=lambda one: float(gains[one][0]))
    return Result((
        Finding(
            quantity="tau", value=float(taus[0]), interval=_bounded(_interval(taus, options.level)), null=0.0,
            details=told | {"conflicts": len(conflicts), "in_conflict": conflicts}, **common,
        ),
        Finding(
            quantity="beyond_trivial", value=float(gains[worst][0]), interval=spreads[worst], null=0.0,
            details={"extractor": worst,
                     "each": {one: {"value": float(gains[one][0]), "low": spreads[one].low, "high": spreads[one].high}
                              for one in gains}},
            **common,
        ),
    ))  # fmt: skip


def _missing(exam: Examination, options: Options) -> str:
    used, left_out = extractors.usable(exam, options.extractors)
    if len(used) < 2:
        why = "; ".join(f"'{name}' left out: {reason}" for name, reason in left_out.items())
        return f"Agreement needs two extractors at least.{' ' * bool(why)}{why}"
    if reason := similarity.lacking(exam, similarity.LEAST, options):
        return reason
    names, counts = np.unique(exam["train"].labels, return_counts=True)
    if (counts < 2).any():
        return f"The training images have one image of class '{names[counts < 2][0]}'; at least 2 are needed."
    if strange := sorted(set(exam["synthetic"].labels.tolist()) - set(names.tolist())):
        return f"Class '{strange[0]}' is in the synthetic images but not in the training images."
    return ""


def _size(exam: Examination, made: dict[str, ImageSet]) -> int:
    return min(
        exam.count("holdout"), exam.count("train"), exam.count("synthetic"), *(len(one) for one in made.values())
    )


def _distances(exam: Examination, extractor: str, made: dict[str, ImageSet], pairs: int) -> np.ndarray:
    """Kernel distance of each set to the holdout, of all and of each half: (1 + 2 (pairs + 1), sets)."""
    rng = np.random.default_rng(exam.context.seed("sides"))
    n = _size(exam, made)
    images = {"holdout": exam["holdout"], "train": exam["train"], "synthetic": exam["synthetic"]} | made
    features = {key: extractors.embedded(exam, one, extractor) for key, one in images.items()}
    real = np.concatenate([features["train"], features["holdout"]])
    centre, scale = real.mean(0), np.maximum(real.std(0), similarity.FLOOR)
    kept = np.concatenate([np.ones((1, 2 * pairs), bool), resampling.halves(pairs)])

    def points(key: str) -> tuple[Points, np.ndarray]:
        chosen = bands.pick(np.arange(len(images[key])), n, rng)
        _, owner = np.unique(images[key].subjects[chosen], return_inverse=True)
        return Points.of((features[key][chosen] - centre) / scale, interval.groups(owner, 2 * pairs, rng)), owner

    held, owners = points("holdout")
    out = []
    for key in SETS:
        other, others = points(key)
        out.append(kernel.partwise(held, other, kept, (owners, others)))
    return np.stack(out, axis=1)


def _tau(orders: list[np.ndarray]) -> float:
    """Mean Kendall's tau-b over pairs of orders."""
    return float(np.mean([stats.kendalltau(one, other).statistic for one, other in combinations(orders, 2)]))


def _interval(values: np.ndarray, level: float) -> Interval:
    """Of the first, from the others, which are halves."""
    method = f"{len(values) - 1} halves of the subjects"
    return resampling.from_halves(float(values[0]), values[1:], level, method, smooth=False)


def _gain(made: np.ndarray, blurs: np.ndarray) -> np.ndarray:
    return np.asarray((blurs - made) / (np.abs(blurs) + np.abs(made)))


def _bounded(spread: Interval) -> Interval:
    return spread.model_copy(update={"low": max(-1.0, spread.low), "high": min(1.0, spread.high)})


def _apart(one: Interval, other: Interval) -> bool:
    """Whether one is above 0 and the other below."""
    return (one.low > 0 > other.high) or (other.low > 0 > one.high)
