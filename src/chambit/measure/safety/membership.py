"""Membership: do the released images show which patients were in training? Exact, by permutation of patients.

Every released image goes to its nearest real image among train and holdout together. Each patient keeps the best score
of the images that came to them, and patients are ranked by it. If the generator carries no information on who was in
training, labels train / holdout are exchangeable along this ranking:

    X_u = train patients among the first u,  p_u = P(Hypergeometric(N, n_train, u) >= X_u),  u in a fixed grid
    m = min_u p_u,  p = (1 + #{permutations with m_b <= m}) / (B + 1)

The p-value is exact for any descriptor; low fidelity, mode collapse and hub images cost power, not validity. When train
has more subjects than holdout it is cut in blocks of about the holdout's size and the blocks are combined by Holm. The
form follows from four label-blind forms tried on phantoms; pooled nearest neighbours go back to the two-sample test of
Schilling 1986 (doi:10.1080/01621459.1986.10478337).

`excess` is the share of train patients with an image above the copy threshold minus that of holdout patients, with
Newcombe's interval. Limit of detection: about 7 or 8 copied patients; fewer are left to `copies` and to human eyes. On
every run copies of training images are hidden among the released ones; a test that does not see them is INVALID.
"""

from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from chambit.core.evidence import Control, Finding, Frozen, Interval
from chambit.measure import interval
from chambit.measure.examination import Examination, Result, not_run
from chambit.measure.finder import Finder, squares
from chambit.measure.fusion import Scale
from chambit.measure.plants import plant
from chambit.measure.search import lacking, level, one_each, threshold

version = "5"
GRID = (5, 10, 20, 50, 100, 200)
QUANTITIES = {"p": "higher", "excess": "lower"}


class Options(Frozen):
    """Settings come from the policy file.

    least: smallest holdout, in subjects; least_auxiliary: smallest auxiliary set, in images;
    alpha, alpha_small: level of the copy threshold used by `excess`;
    permutations: B; hidden: copies hidden for the control; control_level: p the hidden copies must reach.
    """

    least: int
    least_auxiliary: int
    alpha: float
    alpha_small: float
    permutations: int
    hidden: int
    control_level: float
    level: float = 0.95


class Pool(NamedTuple):
    """Train and holdout together, searched by what was learned from both without their labels.

    reference: squares of all; members: for each block of train, the positions of its images and of all holdout images,
    mixed, so that no choice of the search can depend on which side an image is from.
    """

    finder: Finder
    reference: np.ndarray
    members: tuple[np.ndarray, ...]
    scale: Scale

    @classmethod
    def of(cls, exam: Examination, group: np.ndarray) -> "Pool":
        """Learn from train and holdout alike, so that exchanging their labels changes nothing; scale by auxiliary."""
        reference = np.concatenate([squares(exam[role].grey()) for role in ("train", "holdout")])
        mixed = np.random.default_rng(exam.context.seed("mixed")).permutation(len(reference))
        blocks = int(group.max())
        members = tuple(mixed[np.isin(group[mixed], (block, blocks))] for block in range(blocks))
        _, first = next(exam["train"].blocks())
        finder = Finder.fit(reference[mixed], first.shape[1] / first.shape[2])
        auxiliary = squares(exam["auxiliary"].grey())
        scale = finder.search(auxiliary, reference[mixed], np.zeros(len(mixed), int)).scale()
        return cls(finder, reference, members, scale)

    def nearest(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Score and position of the best match of each image float32 (N, H, W) in each block and the holdout."""
        queries, score, index = squares(images), [], []
        for members in self.members:
            found = self.finder.search(queries, self.reference[members], np.zeros(len(members), int)).fused(self.scale)
            score.append(found.score[:, 0])
            index.append(members[found.index[:, 0]])
        return np.stack(score, 1), np.stack(index, 1)

    def across(self, images: np.ndarray, train: int) -> np.ndarray:
        """Scores of holdout images to their nearest training image, sorted: what no copy reaches by chance."""
        found = self.finder.search(squares(images), self.reference[:train], np.zeros(train, int))
        return np.sort(found.fused(self.scale).score[:, 0])


class Ranking(NamedTuple):
    """Patients that received an image, best first: True for train."""

    train: np.ndarray
    score: np.ndarray


class Enrichment(NamedTuple):
    """Result of the rank test: p, the grid that could be used, train patients found and expected at each u."""

    p: float
    grid: tuple[int, ...]
    found: tuple[int, ...]
    expected: tuple[float, ...]


def measure(exam: Examination, options: Options) -> Result:
    """Permutation p-value and excess rate of the released images, with copies hidden as the control."""
    name = f"membership@{version}"
    subjects = {role: exam.subjects(role) for role in ("train", "holdout")}
    sizes = {
        "images": exam.count("synthetic"),
        "auxiliary images": exam.count("auxiliary"),
        **{f"{role} subjects": n for role, n in subjects.items()},
    }
    if subjects["holdout"] < options.least:
        reason = f"The holdout has {subjects['holdout']} subjects; the test needs at least {options.least}."
        return not_run(name, QUANTITIES, reason, sizes)
    if reason := lacking(exam, options.least_auxiliary):
        return not_run(name, QUANTITIES, reason, sizes)
    blocks = max(1, round(subjects["train"] / subjects["holdout"]))
    group = _groups(exam, blocks)
    search = Pool.of(exam, group)
    score, index = search.nearest(exam["synthetic"].grey())
    alpha = level(options.alpha, options.alpha_small, subjects["holdout"])
    unseen = exam["holdout"].take(one_each(exam, "holdout"))
    cut = threshold(search.across(unseen.grey(), len(exam["train"])), alpha)
    rng = np.random.default_rng(exam.context.seed("permutations"))
    people = np.concatenate([exam["train"].subjects, exam["holdout"].subjects])
    tests, excess = [], []
    for block in range(blocks):
        ranking = rank(score[:, [block]], index[:, [block]], people, group == blocks, rng)
        n_train = len(np.unique(people[group == block]))
        tests.append(enrichment(ranking, n_train, subjects["holdout"], options.permutations, rng))
        excess.append(_excess(ranking, cut, n_train, subjects["holdout"], options.level))
    control = _control(exam, search, group, (score, index), people, options, rng)
    worst = int(np.argmin([test.p for test in tests]))
    p = min(1.0, blocks * tests[worst].p)
    first = rank(score[:, [worst]], index[:, [worst]], people, group == blocks, rng)
    details: dict[str, Any] = {
        "blocks": blocks,
        "permutations": options.permutations,
        "ranks": [
            {"u": u, "train": x, "expected": e}
            for u, x, e in zip(tests[worst].grid, tests[worst].found, tests[worst].expected, strict=True)
        ],
        "top": ["T" if is_train else "H" for is_train in first.train[:100]],
    }
    inputs = exam.inputs("train", "holdout", "auxiliary", "synthetic")
    low, high = interval.clopper_pearson(round(p * options.permutations), options.permutations, 0.99)
    widest = max(excess, key=lambda item: item[1].high)
    findings = (
        Finding(
            measure=name,
            quantity="p",
            value=p,
            interval=Interval(low=low, high=high, level=0.99, method="Monte Carlo error of the permutations"),
            n=sizes,
            null=0.5,
            direction="higher",
            control=control,
            details=details,
            inputs=inputs,
        ),
        Finding(
            measure=name,
            quantity="excess",
            value=widest[0],
            interval=widest[1],
            n=sizes | widest[2],
            null=0.0,
            direction="lower",
            control=control,
            details={"threshold": cut, "alpha": alpha, **widest[2]},
            inputs=inputs,
        ),
    )
    return Result(findings)


def rank(
    score: np.ndarray, index: np.ndarray, people: np.ndarray, holdout: np.ndarray, rng: np.random.Generator
) -> Ranking:
    """Order the patients of one pool by the best score of the images nearest to them.

    Args:
        score: (N, k), of the best match of each image in each of k parts of the pool.
        index: (N, k), which real image that match is (index into `people`).
        people: subject of each real image.
        holdout: whether each real image is of the holdout.
        rng: breaks ties without looking at the labels.
    """
    tie = rng.random(score.shape)
    side = np.lexsort((tie, score), axis=1)[:, -1]
    rows = np.arange(len(score))
    who, best = index[rows, side], score[rows, side]
    names, member = np.unique(people[who], return_inverse=True)
    top = np.full(len(names), -np.inf)
    np.maximum.at(top, member, best)
    is_train = np.zeros(len(names), bool)
    is_train[member] = ~holdout[who]
    order = np.lexsort((rng.random(len(names)), -top))
    return Ranking(is_train[order], top[order])


def enrichment(
    ranking: Ranking, n_train: int, n_holdout: int, permutations: int, rng: np.random.Generator
) -> Enrichment:
    """The rank test of one pool of n_train + n_holdout patients."""
    total = n_train + n_holdout
    grid = tuple(u for u in GRID if u <= len(ranking.train)) or (len(ranking.train),)
    at = np.array(grid)

    def smallest(labels: np.ndarray) -> np.ndarray:
        found = np.cumsum(labels, axis=1)[:, at - 1]
        return np.asarray(stats.hypergeom.sf(found - 1, total, n_train, at).min(1))

    seen = ranking.train[: grid[-1]]
    observed = smallest(seen[None, :])[0]
    pool = np.arange(total) < n_train
    as_small = 0
    for first in range(0, permutations, 1000):
        count = min(1000, permutations - first)
        drawn = rng.permuted(np.broadcast_to(pool, (count, total)), axis=1)[:, : grid[-1]]
        # equal up to rounding counts as equal: a permutation that repeats the observed labels must not be lost
        as_small += int((smallest(drawn) <= observed * (1 + 1e-9)).sum())
    found = tuple(int(x) for x in np.cumsum(seen)[at - 1])
    return Enrichment((1 + as_small) / (permutations + 1), grid, found, tuple(float(u * n_train / total) for u in grid))


def _groups(exam: Examination, blocks: int) -> np.ndarray:
    """Group of each real image: 0 .. blocks - 1 for train, `blocks` for holdout."""
    rng = np.random.default_rng(exam.context.seed("blocks"))
    part = interval.groups(exam["train"].subjects, blocks, rng)
    return np.concatenate([part, np.full(len(exam["holdout"]), blocks)])


def _excess(
    ranking: Ranking, threshold: float, n_train: int, n_holdout: int, level: float
) -> tuple[float, Interval, dict[str, int]]:
    above = ranking.score > threshold
    hits = int((above & ranking.train).sum()), int((above & ~ranking.train).sum())
    low, high = interval.newcombe(hits[0], n_train, hits[1], n_holdout, level)
    value = hits[0] / n_train - hits[1] / n_holdout
    counts = {"train subjects hit": hits[0], "holdout subjects hit": hits[1]}
    return value, Interval(low=low, high=high, level=level, method="Newcombe 10"), counts


def _control(
    exam: Examination,
    search: Pool,
    group: np.ndarray,
    found: tuple[np.ndarray, np.ndarray],
    people: np.ndarray,
    options: Options,
    rng: np.random.Generator,
) -> Control:
    """Hide altered copies of `hidden` training patients among the released images and run the test again."""
    score, index = (part.copy() for part in found)
    count = min(options.hidden, len(score))
    chosen = rng.permutation(one_each(exam, "train"))[:count]
    copies = plant(plant(exam["train"].take(chosen).grey(), "jpeg50", rng), "noise5", rng)
    place = rng.permutation(len(score))[: len(copies)]
    score[place], index[place] = search.nearest(copies)
    blocks, smallest = score.shape[1], 1.0
    for block in range(blocks):
        ranking = rank(score[:, [block]], index[:, [block]], people, group == blocks, rng)
        n_train = len(np.unique(people[group == block]))
        test = enrichment(ranking, n_train, exam.subjects("holdout"), options.permutations, rng)
        smallest = min(smallest, blocks * test.p)
    return Control(
        name="copies hidden among the released images",
        expected=f"{len(copies)} copies of {len(copies)} patients (JPEG 50, noise 5 %) "
        f"give p <= {options.control_level:g}",
        observed=f"p = {smallest:.2g}",
        fired=smallest <= options.control_level,
    )
