"""Frechet distance between Gaussian fits of real and synthetic features, with the real-versus-real band.

    d^2 = |m1 - m2|^2 + tr(S1) + tr(S2) - 2 tr((S1 S2)^(1/2))

Dowson and Landau 1982 (doi:10.1016/0047-259X(82)90077-X); as a quality measure Heusel et al. 2017 (arXiv:1706.08500).
No matrix square root is taken: with S1 = L L^T (Cholesky) the trace of the root is the sum of the roots of the
eigenvalues of L^T S2 L; where images are fewer than features it is the sum of the singular values of R1 R2^T, from the
triangles of the centred data. Features are divided by their standard deviation over the real images, so no unit rules.

The distance leans upwards by about c / n (Chong and Forsyth 2020, arXiv:1911.07023). `infinite` takes that off: the
jackknife's corrected value g d - (g - 1) mean(d without one of g groups), exact for a bias of c / n (Quenouille
1956, doi:10.1093/biomet/43.3-4.353), from the same leave-one-out values as the interval. It may be below 0.

Known failures: the plain value means nothing without its n, hence the band at the same n; both values are blind to
labels, and not comparable with those of another extractor.
"""

import numpy as np
import torch

from chambit.measure import interval, resampling, similarity
from chambit.measure.examination import Examination, Result, not_run
from chambit.measure.similarity import Estimate, Sides

version = "3"
QUANTITIES = {"distance": "lower", "infinite": "lower"}
WIDE, FEW = 512, 10
"""Beyond so many features, where a distance takes a second, no more than so many groups: 55 distances and not 210."""


class Options(similarity.Options):
    """extractors: which features, the first is judged; draws: splits of the band; level: of the interval;
    blocks: groups of the jackknife.
    """

    blocks: int = 20


def distance(real: np.ndarray, other: np.ndarray) -> float:
    """Squared Frechet distance of two feature sets float64 (N, d) and (M, d), N and M at least 2."""
    x, y = (torch.from_numpy(np.ascontiguousarray(part, np.float64)) for part in (real, other))
    means = x.mean(0), y.mean(0)
    x, y = (part - mean for part, mean in zip((x, y), means, strict=True))
    apart = float((means[0] - means[1]).square().sum())
    if min(len(x), len(y)) > 2 * x.shape[1]:
        one, two = (part.T @ part / (len(part) - 1) for part in (x, y))
        lower, failed = torch.linalg.cholesky_ex(one)
        if not int(failed):
            roots = torch.linalg.eigvalsh(lower.T @ two @ lower).clamp_min(0).sqrt().sum()
            return apart + float(one.trace() + two.trace() - 2 * roots)
    # few images, or features that do not vary on their own: R of the thin QR has R^T R = (n - 1) S
    one, two = (torch.linalg.qr(part / (len(part) - 1) ** 0.5, mode="r").R for part in (x, y))
    cross = torch.linalg.svdvals(one @ two.T).sum()
    return apart + float(one.square().sum() + two.square().sum() - 2 * cross)


def measure(exam: Examination, options: Options) -> Result:
    """Distance of the synthetic set to the unseen real images (holdout), whole and part by part."""
    name = f"frechet@{version}"
    if reason := similarity.lacking(exam, options.blocks, options):
        return not_run(name, QUANTITIES, reason, similarity.sizes(exam))

    def measured(sides: Sides, rng: np.random.Generator) -> dict[str, Estimate]:
        return estimates(sides, options.blocks, options.level, rng)

    def plain(sides: Sides) -> list[float]:
        return [distance(sides.real, sides.made)]

    seen = similarity.compare(exam, options, measured, plain, ["distance"], options.blocks)
    beyond = similarity.finding(exam, name, "infinite", "lower", seen, null=0.0)
    band = seen[0].bands["distance"]
    noise = {"noise": band.high - band.middle}
    return Result((
        similarity.finding(exam, name, "distance", "lower", seen),
        beyond.model_copy(update={"details": beyond.details | noise}),
    ))  # fmt: skip


def estimates(sides: Sides, blocks: int, level: float, rng: np.random.Generator) -> dict[str, Estimate]:
    """Distance and corrected distance of two sides, with intervals by the jackknife over groups of subjects."""
    blocks = min(blocks, FEW) if sides.real.shape[1] > WIDE else blocks
    a = interval.groups(sides.owners, blocks, rng)
    b = interval.groups(sides.makers, blocks, rng)

    def without(*groups: int) -> float:
        return distance(sides.real[~np.isin(a, groups)], sides.made[~np.isin(b, groups)])

    value, left_out = without(), np.array([without(g) for g in range(blocks)])
    two_out = np.array([without(int(g), int(h)) for g, h in zip(*np.triu_indices(blocks, 1), strict=True)])
    method = f"corrected jackknife over {blocks} groups of subjects"
    spread = resampling.jackknife(value, left_out, level, method, two_out)
    beyond = resampling.corrected(value, left_out)
    shift = beyond - value
    moved = spread.model_copy(update={"low": spread.low + shift, "high": spread.high + shift})
    return {"distance": Estimate(value, spread), "infinite": Estimate(beyond, moved, {"correction": shift})}
