"""Do the intervals of a reader study hold the truth in 95 % of studies, and is its power what the design promises?

    python benchmarks/reading.py              1,000 studies a line, about three minutes on one core
    python benchmarks/reading.py --quick      60, to see that it runs

Readers and images are both drawn anew for each study. A reader has d' ~ N(d, 2 * sd) and a criterion ~ N(c, spread),
images are easy or hard by N(0, 0.6), scores are 1 to 6, and `read` is the share of answers that are there. `pooled` is
the binomial interval of all votes in one pot. The truth is the mean over all readers and images of that kind; for
Fleiss' kappa it is that of the very readers, over all images. Exact intervals of the simulation stand in brackets.
"""

import argparse
import time
from typing import NamedTuple

import numpy as np
from scipy import stats
from scipy.special import ndtr

from chambit.core.evidence import Interval
from chambit.reading import agreement, crossed, detection, power, protocol, simulate, trials
from chambit.reading.course import course
from chambit.reading.detection import clopper_pearson
from chambit.reading.simulate import THRESHOLDS
from chambit.reading.votes import Table

LEVEL, IMAGE_SD, WIDTH, OWN = 0.95, 0.6, 0.5, 0.7
# readers x images: power by reader sd 0.1, 0.2, 0.3 for margins 0.10, 0.15, 0.20 as the design has them
DESIGN = {
    (3, 300): ((0.74, 0.31, 0.13), (0.95, 0.61, 0.33), (1.00, 0.85, 0.57)),
    (5, 150): ((0.89, 0.51, 0.23), (1.00, 0.91, 0.65), (1.00, 0.99, 0.93)),
    (5, 300): ((0.98, 0.62, 0.28), (1.00, 0.96, 0.71), (1.00, 1.00, 0.94)),
    (8, 200): ((0.99, 0.86, 0.50), (1.00, 1.00, 0.93), (1.00, 1.00, 1.00)),
    (10, 150): ((1.00, 0.90, 0.64), (1.00, 1.00, 0.97), (1.00, 1.00, 1.00)),
    (12, 200): ((1.00, 0.95, 0.77), (1.00, 1.00, 0.99), (1.00, 1.00, 1.00)),
}

SCALES = (
    (2, 300, 0.3, 0.5), (3, 100, 0.3, 0.5), (3, 300, 0.0, 0.5), (3, 300, 0.1, 0.5), (3, 300, 0.3, 0.5),
    (5, 100, 0.2, 0.5), (5, 100, 0.4, 0.5), (5, 300, 0.3, 0.5), (10, 150, 0.3, 0.5), (5, 300, 0.3, 0.7),
    (3, 100, 0.3, 0.9), (5, 300, 0.3, 0.9), (10, 300, 0.3, 0.9), (5, 300, 0.3, 0.97),
)  # fmt: skip
NEAR_ONE = (
    (3, 50, 0.2, 0.98), (5, 50, 0.2, 0.95), (5, 50, 0.2, 0.99), (5, 150, 0.2, 0.99), (5, 150, 0.2, 0.998),
    (10, 150, 0.2, 0.999),
)  # fmt: skip
PROTOCOL = protocol.read(
    {
        "title": {"ko": "판독", "en": "benchmark"}, "tasks": ["authenticity"], "reject_reasons": [], "real": 150,
        "synthetic": 150, "margin": 0.15, "level": LEVEL, "readers_least": 3, "outside_least": 0, "block": 50,
        "repeats": 0.1, "practice": 6, "seed": 1, "holdout": "h", "candidate": "c", "ratio_told": False,
    }
)  # fmt: skip
PLANS = [trials.plan(PROTOCOL, reader, bytes(16)) for reader in range(10)]


class Case(NamedTuple):
    """One kind of study."""

    readers: int
    images: int
    reader_sd: float
    dprime: float
    criterion: float
    criterion_sd: float
    read: float = 1.0

    @property
    def name(self) -> str:
        """One line of the table."""
        return (
            f"{self.readers} x {self.images}, sd {self.reader_sd:g}, d' {self.dprime:g}, c {self.criterion:g} "
            f"+- {self.criterion_sd:g}, read {self.read:g}"
        )


CASES = (
    Case(3, 300, 0.3, 0.0, 0.0, 0.0),
    Case(3, 100, 0.3, 0.0, 0.0, 0.3),
    Case(3, 300, 0.0, 0.0, 0.0, 0.0),
    Case(5, 100, 0.2, 0.0, 0.0, 0.3),
    Case(5, 300, 0.3, 0.0, 0.0, 0.0),
    Case(5, 300, 0.3, 0.0, 0.5, 0.5),
    Case(5, 300, 0.3, 0.0, 0.5, 0.5, 0.8),
    Case(5, 300, 0.3, 1.5, 0.0, 0.3),
    Case(5, 300, 0.3, 3.0, 0.0, 0.3),
    Case(10, 150, 0.3, 0.0, 0.0, 0.3),
    Case(10, 150, 0.3, 1.5, 0.3, 0.3),
)


class World(NamedTuple):
    """Skill of each reader (R,), criterion of each reader (R,) and how easy each image is (N,)."""

    skill: np.ndarray
    criterion: np.ndarray
    image: np.ndarray
    synthetic: np.ndarray


def main() -> None:
    """Simulate, and print one line an interval."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--studies", type=int, default=1000)
    parser.add_argument("--power", type=int, default=2000, help="simulated studies for each cell of the power table")
    given = parser.parse_args()
    studies, draws = (60, 100) if given.quick else (given.studies, given.power)
    began = time.monotonic()
    print(f"{studies} studies a line; coverage of {LEVEL:.0%} intervals")
    scales(3 * studies)
    near_one(studies)
    for case in CASES:
        coverage(case, studies)
    session(max(20, studies // 4))
    sizes(draws)
    powers(draws)
    print(f"{time.monotonic() - began:.0f} s")


def drawn(case: Case, rng: np.random.Generator) -> World:
    """Readers and images of one study."""
    return World(
        case.dprime / 2 + case.reader_sd * rng.standard_normal(case.readers),
        case.criterion + case.criterion_sd * rng.standard_normal(case.readers),
        IMAGE_SD * rng.standard_normal(case.images),
        np.arange(case.images) % 2 == 1,
    )


def scored(world: World, own: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One showing of each image to each reader, scores float64 (R, N)."""
    side = np.where(world.synthetic, 1.0, -1.0)
    noise = OWN * own + np.sqrt(1 - OWN**2) * rng.standard_normal(own.shape)
    signal = side * (world.skill[:, None] + world.image) + noise
    steps = world.criterion[:, None, None] + WIDTH * THRESHOLDS
    return 1.0 + (signal[:, :, None] > steps).sum(2)


def truths(case: Case) -> dict[str, float]:
    """What the intervals should hold, from 40,000 readers in closed form over images."""
    rng = np.random.default_rng(1)
    wide = np.sqrt(1 + IMAGE_SD**2)
    skill = case.dprime / 2 + case.reader_sd * rng.standard_normal(40000)
    criterion = case.criterion + case.criterion_sd * rng.standard_normal(40000)
    steps = criterion[:, None] + WIDTH * THRESHOLDS
    above = {sign: ndtr((sign * skill[:, None] - steps) / wide) for sign in (1, -1)}  # P(score > k), k = 1 .. 5
    hits, alarms = above[1][:, 2], above[-1][:, 2]
    shares = {sign: -np.diff(above[sign], axis=1, prepend=1.0, append=0.0) for sign in (1, -1)}
    below = np.cumsum(shares[-1], 1) - shares[-1] / 2
    return {
        "accuracy": float((hits + 1 - alarms).mean() / 2),
        "called right": float(hits.mean()),
        "called wrong": float(alarms.mean()),
        "auc": float((shares[1] * below).sum(1).mean()),
        "d'": case.dprime / wide,
        "criterion": case.criterion / wide,
    }


def coverage(case: Case, studies: int) -> None:
    """How often each interval of one kind of study holds the truth."""
    truth = truths(case)
    held: dict[str, list[bool]] = {}
    widths: dict[str, list[float]] = {}
    for study in range(studies):
        rng = np.random.default_rng([study, case.readers, case.images])
        world = drawn(case, rng)
        own = rng.standard_normal((case.readers, case.images))
        scores = scored(world, own, rng)
        scores[rng.random(scores.shape) > case.read] = np.nan
        names = tuple(f"r{k}" for k in range(case.readers)), tuple(f"i{k:03d}" for k in range(case.images))
        found = intervals(Table(*names, world.synthetic, scores))
        wanted = truth | {"pooled accuracy": truth["accuracy"], "fleiss kappa": true_kappa(world)}
        for name, one in found.items():
            if one is not None:
                held.setdefault(name, []).append(one.low <= wanted[name] <= one.high)
                widths.setdefault(name, []).append((one.high - one.low) / 2)
    print(f"\n{case.name}")
    for name, answers in held.items():
        low, high = clopper_pearson(sum(answers), len(answers), 0.95)
        value = f"{truth[name]:8.3f}" if name in truth else " " * 8
        print(
            f"  {name:16}{value}  half width {np.median(widths[name]):.3f}  {np.mean(answers):.3f} "
            f"({low:.3f}-{high:.3f})" + ("" if len(answers) == studies else f"  of {len(answers)}"),
            flush=True,
        )


def intervals(table: Table) -> dict[str, Interval | None]:
    """All intervals of one study."""
    kinds = table.synthetic.astype(int)

    def mean(values: np.ndarray, groups: np.ndarray) -> Interval | None:
        return crossed.estimate(crossed.means(values, groups), LEVEL, "share", logit=True).interval

    dprime, criterion = detection.signals(table)
    votes = table.correct[~np.isnan(table.correct)]
    low, high = clopper_pearson(int(votes.sum()), len(votes), LEVEL)
    found = {
        "pooled accuracy": Interval(low=low, high=high, level=LEVEL, method="pooled"),
        "accuracy": mean(table.correct, kinds),
        "called right": mean(table.called[:, table.synthetic], kinds[table.synthetic]),
        "called wrong": mean(table.called[:, ~table.synthetic], kinds[~table.synthetic]),
        "auc": crossed.estimate(detection.areas(table), LEVEL, "AUC", logit=True).interval,
        "d'": crossed.estimate(dprime, LEVEL, "d'", logit=False).interval,
        "criterion": crossed.estimate(criterion, LEVEL, "criterion", logit=False).interval,
    }
    if not np.isnan(table.scores).any():
        found["fleiss kappa"] = agreement.among(table, LEVEL).interval
    return found


def true_kappa(world: World) -> float:
    """Fleiss' kappa of these readers over all images, by 4,000 quantiles of how easy images are."""
    image = IMAGE_SD * stats.norm.ppf((np.arange(4000) + 0.5) / 4000)
    called = np.stack(
        [ndtr(sign * (world.skill[:, None] + image) - world.criterion[:, None]) for sign in (1, -1)], 1
    )  # (R, 2, 4000)
    readers = len(called)
    total, squares = called.sum(0), np.square(called).sum(0)
    both = (total**2 - squares).mean() / (readers * (readers - 1))
    p = float(called.mean())
    chance = p**2 + (1 - p) ** 2
    return float((1 - 2 * p + 2 * both - chance) / (1 - chance))


def scales(studies: int) -> None:
    """Accuracy alone, on the natural and on the logit scale, in the plain probit model of the power table."""
    print("\naccuracy: pooled, crossed natural scale, crossed logit scale; typical half width of the last")
    for readers, images, sd, accuracy in SCALES:
        rng = np.random.default_rng([readers, images])
        parts = [
            crossed.mean_squares(power.tables(readers, images, power.World(sd, IMAGE_SD, accuracy), 100, rng))
            for _ in range(max(1, studies // 100))
        ]
        mean, msr, msc, mse = (np.concatenate(one).astype(np.float64) for one in zip(*parts, strict=True))
        error, freedom = crossed.error(msr, msc, mse, readers, images)
        with np.errstate(divide="ignore", invalid="ignore"):
            half = stats.t.ppf(0.5 + LEVEL / 2, freedom) * error
            slope = 1 / (mean * (1 - mean))
            away = np.abs(np.log(mean / (1 - mean)) - np.log(accuracy / (1 - accuracy)))
        pooled = np.abs(mean - accuracy) <= 1.96 * np.sqrt(mean * (1 - mean) / (readers * images))
        print(
            f"  {readers:2} x {images}, sd {sd:.1f}, accuracy {accuracy:.2f}: {pooled.mean():.3f}  "
            f"{(np.abs(mean - accuracy) <= half).mean():.3f}  {(away <= half * slope).mean():.3f}  "
            f"{np.nanmedian(half):.3f}",
            flush=True,
        )


def near_one(studies: int) -> None:
    """Shares close to 1, such as labels called right: coverage, and in how many studies nobody ever said otherwise."""
    print("\nshares near 1: coverage of `crossed.estimate`; share of studies in which the readers never differed")
    for readers, images, sd, share in NEAR_ONE:
        rng = np.random.default_rng([readers, images, round(1000 * share)])
        held, never = [], 0
        for _ in range(studies):
            table = power.tables(readers, images, power.World(sd, IMAGE_SD, share), 1, rng)[0].astype(np.float64)
            one = crossed.estimate(crossed.means(table, np.zeros(images, int)), LEVEL, "share", logit=True)
            never += bool(table.all())
            assert one.interval is not None
            held.append(one.interval.low <= share <= one.interval.high)
        print(
            f"  {readers:2} x {images}, sd {sd:.1f}, share {share:.3f}: {np.mean(held):.3f}  {never / studies:.3f}",
            flush=True,
        )


def session(studies: int) -> None:
    """Agreement on repeats, learning and fatigue of whole simulated sessions: 5 and 10 readers, 300 images."""
    for readers, learning in ((5, 0.0), (5, 0.002), (10, 0.002)):
        held: dict[str, list[bool]] = {}
        truth = session_truths(learning)
        for study in range(studies):
            rng = np.random.default_rng([study, readers])
            skills = [
                simulate.Skill(dprime=0.5 + 0.6 * a, criterion=0.3 * b, learning=learning)
                for a, b in rng.standard_normal((readers, 2))
            ]
            votes = simulate.votes(PROTOCOL, PLANS[:readers], skills, IMAGE_SD, study)
            share, kappa = agreement.within(agreement.repeats(votes), LEVEL, 3.5)
            found = course(votes, LEVEL)
            for name, one in zip(truth, (share, kappa, found.learning, found.fatigue), strict=True):
                if one.interval is not None:
                    held.setdefault(name, []).append(one.interval.low <= truth[name] <= one.interval.high)
        print(f"\nsessions of {readers} readers, learning {learning}: {studies} studies")
        for name, answers in held.items():
            low, high = clopper_pearson(sum(answers), len(answers), 0.95)
            print(f"  {name:16}{truth[name]:8.3f}  {np.mean(answers):.3f} ({low:.3f}-{high:.3f})", flush=True)


def session_truths(learning: float) -> dict[str, float]:
    """What the intervals of a session should hold: 4,000 readers, 300 images each, places as in the plans."""
    rng = np.random.default_rng(3)
    shape = (4000, 300)
    place = np.array([[t.position for t in plan if not t.repeat and not t.practice] for plan in PLANS])
    at = place[rng.integers(len(place), size=4000)]
    skill = (0.5 + 0.6 * rng.standard_normal((4000, 1))) / 2 + learning * at
    criterion, image = 0.3 * rng.standard_normal((4000, 1)), IMAGE_SD * rng.standard_normal(shape)
    side = np.where(np.arange(300) % 2 == 1, 1.0, -1.0)
    # P(called synthetic) given image and the reader's own lasting impression; two showings are then independent.
    # Repeats come later, which learning moves by a little; the truth is for the first place.
    own = rng.standard_normal(shape)
    called = ndtr((side * (skill + image) + OWN * own - criterion) / np.sqrt(1 - OWN**2))
    share = called.mean(1)
    same, chance = (called**2 + (1 - called) ** 2).mean(1), share**2 + (1 - share) ** 2
    wide = np.sqrt(1 + IMAGE_SD**2)
    right = (ndtr((skill - criterion) / wide) + ndtr((skill + criterion) / wide)) / 2
    centred = at / 100 - (at / 100).mean(1, keepdims=True)
    return {
        "intra share": float(same.mean()),
        "intra kappa": float((same - chance).sum() / (1 - chance).sum()),
        "learning": float(((centred * right).sum(1) / np.square(centred).sum(1)).mean()),
        "fatigue": 0.0,
    }


def sizes(draws: int) -> None:
    """How often equivalence is shown where accuracy lies exactly at the margin; nominal 0.05."""
    print("\nsize of the equivalence test at the margin, nominal 0.05")
    for readers, images, sd, margin in (
        (3, 300, 0.1, 0.15),
        (3, 300, 0.3, 0.2),
        (5, 300, 0.3, 0.15),
        (10, 150, 0.3, 0.1),
    ):
        world = power.World(sd, IMAGE_SD, 0.5 + margin)
        one = power.power(readers, images, world, margin=margin, level=LEVEL, draws=draws, seed=1)
        print(f"  {readers} x {images}, sd {sd}, margin {margin}: {one.share:.3f} ({one.low:.3f}-{one.high:.3f})")


def powers(draws: int) -> None:
    """The power table beside the design's; `!` where they differ by more than four errors of both."""
    print("\npower to show equivalence, ours (design), reader sd 0.1 / 0.2 / 0.3")
    for (readers, images), rows in DESIGN.items():
        cells = []
        for margin, row in zip((0.1, 0.15, 0.2), rows, strict=True):
            for sd, wanted in zip((0.1, 0.2, 0.3), row, strict=True):
                world = power.World(sd, IMAGE_SD, 0.5)
                share = power.power(readers, images, world, margin=margin, level=LEVEL, draws=draws, seed=2).share
                error = np.sqrt(max(wanted * (1 - wanted), 0.005) * 2 / min(draws, 1000))
                cells.append(f"{share:.2f}({wanted:.2f}){'!' if abs(share - wanted) > 4 * error + 0.005 else ' '}")
        print(f"  {readers:2} x {images}  " + "  ".join(cells), flush=True)


if __name__ == "__main__":
    main()
