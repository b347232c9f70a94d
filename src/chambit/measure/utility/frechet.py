"""Frechet distance between Gaussian fits of real and synthetic features, with the real-versus-real band.

    d^2 = |m1 - m2|^2 + tr(S1) + tr(S2) - 2 tr((S1 S2)^(1/2))

Dowson and Landau 1982 (doi:10.1016/0047-259X(82)90077-X); as a quality measure Heusel et al. 2017 (arXiv:1706.08500).
The trace of the root is the sum of the singular values of L1^T L2 with S = L L^T from the thin factors of the centred
data, so no matrix square root is taken. Features are divided by the standard deviation over the real images, so no unit
dominates. Known failures: biased upward at small n (hence the band at the same n), blind to labels, not comparable with
a value from another extractor.
"""

import numpy as np

from chambit.core.evidence import Finding, Frozen, Interval
from chambit.measure import bands, interval
from chambit.measure.examination import Examination, Result, not_run

version = "1"
FLOOR = 1e-3  # smallest scale of a feature, in its own unit: grey levels of [0, 1] or logarithms
QUANTITIES = {"distance": "lower"}


class Options(Frozen):
    """extractor: which features; draws: splits of the band; blocks: groups of the jackknife; level: of the interval."""

    extractor: str = "texture"
    draws: int = 40
    blocks: int = 20
    level: float = 0.95


def distance(real: np.ndarray, other: np.ndarray) -> float:
    """Squared Frechet distance of two feature sets float64 (N, d) and (M, d)."""
    roots: list[np.ndarray] = []
    means = []
    for x in (real, other):
        mean = x.mean(0)
        means.append(mean)
        # R of the thin QR is d x d however many images there are: R^T R = (n - 1) S
        roots.append(np.asarray(np.linalg.qr((x - mean) / np.sqrt(len(x) - 1), mode="r")))
    cross = np.linalg.svd(roots[0] @ roots[1].T, compute_uv=False).sum()
    spread = sum(float(np.square(root).sum()) for root in roots)
    return float(np.square(means[0] - means[1]).sum() + spread - 2 * cross)


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
    spread = _jackknife(real[left], subjects[left], synthetic[right], value, options, rng)
    per_class = {}
    for label in np.unique(exam["synthetic"].labels):
        a, b = real[holdout & (labels == label)], synthetic[exam["synthetic"].labels == label]
        if min(len(a), len(b)) > 1:
            per_class[str(label)] = distance(a, b)
    finding = Finding(
        measure=name,
        quantity="distance",
        value=value,
        interval=spread,
        n={"images per side": n, "holdout subjects": len(np.unique(subjects[left]))},
        null=band.middle,
        direction="lower",
        band=band,
        details={
            "extractor": options.extractor,
            "dimensions": real.shape[1],
            "ratio": value / band.middle,
            "per_class": per_class,
        },
        inputs=exam.inputs("train", "holdout", "synthetic"),
    )
    return Result((finding,))


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


def _jackknife(
    real: np.ndarray,
    subjects: np.ndarray,
    synthetic: np.ndarray,
    value: float,
    options: Options,
    rng: np.random.Generator,
) -> Interval:
    a = interval.groups(subjects, options.blocks, rng)
    b = interval.groups(np.arange(len(synthetic)), options.blocks, rng)
    left_out = np.array([distance(real[a != g], synthetic[b != g]) for g in range(options.blocks)])
    return interval.jackknife(value, left_out, options.level, f"jackknife over {options.blocks} groups of subjects")
