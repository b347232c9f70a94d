"""MS-SSIM diversity: how alike the images of different people in a set are, pair by pair.

Multi-scale structural similarity (Wang et al. 2003, doi:10.1109/ACSSC.2003.1292216) between random pairs of a set, as
a measure of its diversity (Odena et al. 2017, arXiv:1610.09585): the higher the mean, the more alike the set. Only
meaningful next to that of the real images, because aligned anatomy is alike by nature.

Reported is the mean over pairs of synthetic images less the mean over pairs of unseen real images of two people: above
0 the synthetic images are more alike. A pair counts as often as both its people are drawn (bootstrap of subjects).
"""

import numpy as np

from chambit.core.errors import InputError, Problem
from chambit.core.evidence import Band, Finding, Frozen
from chambit.measure import bands, interval
from chambit.measure.examination import Examination, Result, not_run

version = "1"
QUANTITIES = {"excess": "lower"}
LEAST = 20


class Options(Frozen):
    """pairs: of strangers per side; draws: bootstrap of subjects; splits: of the band; level: of the interval."""

    pairs: int = 500
    draws: int = 1000
    splits: int = 40
    level: float = 0.95


def measure(exam: Examination, options: Options) -> Result:
    """How much more alike synthetic images are than unseen real ones."""
    name = f"structure@{version}"
    roles = ("train", "holdout", "synthetic")
    if reason := exam.lacks(dict.fromkeys(roles, LEAST), subjects=dict.fromkeys(roles, LEAST)):
        return not_run(name, QUANTITIES, reason, {f"{role} images": exam.count(role) for role in roles})
    rng = np.random.default_rng(exam.context.seed("pairs"))
    chosen = {role: pairs_of_strangers(exam[role].subjects, options.pairs, rng) for role in ("holdout", "synthetic")}
    alike = {role: pairwise(exam[role].grey(), pairs) for role, pairs in chosen.items()}
    means = {role: _resampled(alike[role], chosen[role], exam[role].subjects, options.draws, rng) for role in chosen}
    value = float(alike["synthetic"].mean() - alike["holdout"].mean())
    method = "bootstrap of subjects, a pair weighs as its two"
    height, width = next(exam["holdout"].blocks())[1].shape[1:]
    return Result((
        Finding(
            measure=name,
            quantity="excess",
            value=value,
            interval=interval.percentile(means["synthetic"] - means["holdout"], options.level, method),
            n={f"pairs of {role}": len(pairs) for role, pairs in chosen.items()}
            | {"holdout subjects": exam.subjects("holdout")},
            null=0.0,
            direction="lower",
            band=_band(exam, options, rng),
            details={"synthetic": float(alike["synthetic"].mean()), "holdout": float(alike["holdout"].mean()),
                     "scales": scales(height, width)},
            inputs=exam.inputs(*roles),
        ),
    ))  # fmt: skip


def _resampled(
    alike: np.ndarray, pairs: np.ndarray, subjects: np.ndarray, draws: int, rng: np.random.Generator
) -> np.ndarray:
    """Mean over pairs in each bootstrap draw of subjects, (draws,)."""
    weights = interval.subject_weights(subjects, draws, rng)
    both = weights[:, pairs[:, 0]] * weights[:, pairs[:, 1]]
    return np.asarray((both @ alike) / both.sum(1))


def _band(exam: Examination, options: Options, rng: np.random.Generator) -> Band:
    """The same between two halves of the real images' subjects; each pair is compared once for all splits."""
    subjects = np.concatenate([exam[role].subjects for role in ("train", "holdout")])
    images = np.concatenate([exam[role].grey() for role in ("train", "holdout")])
    pairs = pairs_of_strangers(subjects, 3 * options.pairs, rng)
    alike = pairwise(images, pairs)

    def between(one: np.ndarray, other: np.ndarray) -> list[float]:
        inside = [np.isin(pairs, side).all(1) for side in (one, other)]
        return [float(alike[inside[0]].mean() - alike[inside[1]].mean())]

    (band,) = bands.real_versus_real(between, subjects, len(subjects), options.splits, rng)
    return band.model_copy(update={"n": len(subjects) // 2})


WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # of the five scales, finest first; Wang et al. 2003
WINDOW = 11  # pixels
_BATCH = 128


def scales(height: int, width: int) -> int:
    """How many of the five scales an image of this size is compared at, 1 to 5.

    As many as leave room for the 11 pixel window: 1 below 22 pixels (plain SSIM), 2 below 44, 3 below 99, 4 below 176.
    (Monai asks for 99 where 88 would do.) Values from different numbers of scales must not be compared.

    Raises:
        InputError: a side is shorter than the window.
    """
    side = min(height, width)
    if side < WINDOW:
        problem = Problem("images", f"{height} x {width} pixels, less than {WINDOW} a side", "use larger images")
        raise InputError("MS-SSIM cannot be computed.", [problem])
    return max(m for m in range(1, 6) if side // 2 ** (m - 1) >= WINDOW and side // max(1, m - 1) ** 2 >= WINDOW)


def pairwise(images: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """MS-SSIM of each pair, float64 (P,) from 0 to 1 (equal images); as Monai computes it, in float32.

    With fewer than five scales (see `scales`) the weights of those left, the finer ones, are scaled to a sum of 1.
    A scale at which the two images are opposed counts as 0, as is usual, so the whole value is 0.

    Args:
        images: grey values (N, H, W) in [0, 1], H and W at least 11.
        pairs: positions int (P, 2).

    Raises:
        InputError: the images are too small.
    """
    import torch
    from monai.metrics.regression import compute_ms_ssim

    weights = np.array(WEIGHTS[: scales(*images.shape[1:])])
    weights /= weights.sum()
    pairs = np.asarray(pairs, np.int64).reshape(-1, 2)
    out = np.empty(len(pairs))
    for first in range(0, len(pairs), _BATCH):
        one, other = (
            torch.from_numpy(np.asarray(images[side], np.float32)[:, None]) for side in pairs[first : first + _BATCH].T
        )
        found = compute_ms_ssim(
            one, other, spatial_dims=2, data_range=1.0, kernel_size=WINDOW, weights=weights.tolist()
        )
        out[first : first + _BATCH] = found[:, 0].numpy()
    return out


def pairs_of_strangers(owners: np.ndarray, count: int, generator: np.random.Generator) -> np.ndarray:
    """Random pairs of images of two different owners, int64 (P, 2), every such pair as likely as any other.

    No pair comes twice: P is `count`, or the number of such pairs where that is less.

    Args:
        owners: whose each image is, (N,).
        count: how many pairs are wanted.
        generator: where the chance comes from.

    Raises:
        InputError: all images belong to one owner.
    """
    order = np.argsort(owners, kind="stable")
    grouped = np.asarray(owners)[order]
    # in the order of owners, the strangers that come after an image are all those behind its owner's last one
    behind = np.searchsorted(grouped, grouped, "right")
    strangers = len(grouped) - behind
    upto = np.cumsum(strangers)
    if not len(upto) or not upto[-1]:
        problem = Problem("images", "all belong to one owner", "give images of at least two people")
        raise InputError("No two images of different people can be paired.", [problem])
    number = generator.choice(upto[-1], min(count, int(upto[-1])), replace=False)
    one = np.searchsorted(upto, number, "right")
    other = behind[one] + number - (upto[one] - strangers[one])
    return np.stack([order[one], order[other]], axis=1)
