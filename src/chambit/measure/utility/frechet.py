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

from chambit.core.evidence import Finding, Frozen
from chambit.measure import bands, interval
from chambit.measure.examination import Examination, Result, not_run

version = "2"
FLOOR = 1e-3  # smallest scale of a feature, in its own unit: grey levels of [0, 1] or logarithms
QUANTITIES = {"distance": "lower", "infinite": "lower"}


class Options(Frozen):
    """extractor: which features; draws: splits of the band; blocks: groups of the jackknife; level: of the interval."""

    extractor: str = "texture"
    draws: int = 40
    blocks: int = 20
    level: float = 0.95


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
    """Distance of the synthetic set to the unseen real images (holdout), whole and per class."""
    name = f"frechet@{version}"
    if reason := lacking(exam, options.blocks):
        return not_run(name, QUANTITIES, reason, sizes(exam))
    real, synthetic, standing = features(exam, options.extractor)
    holdout = standing == "holdout"
    subjects = np.concatenate([exam["train"].subjects, exam["holdout"].subjects])
    labels = np.concatenate([exam["train"].labels, exam["holdout"].labels])
    rng = np.random.default_rng(exam.context.seed("band"))
    n = min(bands.common_size(len(synthetic), subjects), int(holdout.sum()))
    band = bands.real_versus_real(distance, real, subjects, n, options.draws, rng)
    left, right = bands.pick(np.flatnonzero(holdout), n, rng), bands.pick(np.arange(len(synthetic)), n, rng)
    value = distance(real[left], synthetic[right])
    left_out = _left_out(real[left], subjects[left], synthetic[right], options.blocks, rng)
    method = f"jackknife over {options.blocks} groups of subjects"
    spread = interval.jackknife(value, left_out, options.level, method)
    per_class = {}
    for label in np.unique(exam["synthetic"].labels):
        a, b = real[holdout & (labels == label)], synthetic[exam["synthetic"].labels == label]
        if min(len(a), len(b)) > 1:
            per_class[str(label)] = distance(a, b)
    common = {
        "measure": name,
        "n": {"images per side": n, "holdout subjects": len(np.unique(subjects[left]))},
        "direction": "lower",
        "inputs": exam.inputs("train", "holdout", "synthetic"),
    }
    told = {"extractor": options.extractor, "dimensions": real.shape[1]}
    beyond = interval.corrected(value, left_out)
    shift = beyond - value
    finding = Finding(
        quantity="distance",
        value=value,
        interval=spread,
        null=band.middle,
        band=band,
        details=told | {"ratio": value / band.middle, "per_class": per_class},
        **common,
    )
    infinite = Finding(
        quantity="infinite",
        value=beyond,
        interval=spread.model_copy(update={"low": spread.low + shift, "high": spread.high + shift}),
        null=0.0,
        details=told | {"correction": shift, "noise": band.high - band.middle},
        **common,
    )
    return Result((finding, infinite))


def lacking(exam: Examination, blocks: int) -> str:
    """Why nothing can be compared, with the number needed, or "".

    The jackknife needs two images a side in every block, and a holdout subject in each.
    """
    images = dict.fromkeys(("train", "holdout", "synthetic"), 2 * blocks)
    return exam.lacks(images, subjects={"holdout": blocks})


def sizes(exam: Examination) -> dict[str, int]:
    """How many images there are of what is compared."""
    return {f"{role} images": exam.count(role) for role in ("train", "holdout", "synthetic")}


def features(exam: Examination, extractor: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Real (train then holdout) and synthetic features on one scale, and each real image's role."""
    parts = {role: exam.features(role, extractor) for role in ("train", "holdout", "synthetic")}
    real = np.concatenate([parts["train"], parts["holdout"]])
    # a feature that never varies in the real images (a black corner) must not blow up a grey level of difference
    scale = np.maximum(real.std(0), FLOOR)
    roles = np.repeat(["train", "holdout"], [len(parts["train"]), len(parts["holdout"])])
    return real / scale, parts["synthetic"] / scale, roles


def _left_out(
    real: np.ndarray, subjects: np.ndarray, synthetic: np.ndarray, blocks: int, rng: np.random.Generator
) -> np.ndarray:
    a, b = interval.groups(subjects, blocks, rng), interval.groups(np.arange(len(synthetic)), blocks, rng)
    return np.array([distance(real[a != g], synthetic[b != g]) for g in range(blocks)])
