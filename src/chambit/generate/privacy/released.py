"""What a private generator must know of its images beside the weights, released once by the Gaussian mechanism.

Two things that the `flow` stage fits on training images would tell of them: the codec's mean and standard deviation of
each coefficient, and the shapes of the training masks, from which new masks are drawn. Here each subject gives one
vector of bounded norm to a sum with Gaussian noise sigma times the bound, which the accountant counts (one mechanism
each with q = 1). Everything is measured against a prior that was fixed without looking at the images: coefficients
fall off with frequency as those of natural scenes do (Field 1987, doi:10.1364/JOSAA.4.002379), and findings lie
anywhere. With sigma 0 nothing is released, and the prior itself is used.

Known failures: the angle of a finding is not released (any is drawn); places of rare findings vanish in the noise.
"""

import numpy as np
import torch

from chambit.generate import lesions
from chambit.generate.codec.dct import BlockDCT, blocks
from chambit.generate.privacy import dpsgd

PLACES = 4  # cells of the grid of places, per axis
TYPICAL, REACH = (
    0.1,
    1.5,
)  # half-axes of a finding: share of the image's side, and how many natural logarithms around it
ROWS = 512
FIRST, SECOND = 2.0, 4.0  # a subject's mean and mean square of a coefficient are cut here, in units of the prior


def codec(images: np.ndarray, member: np.ndarray, subjects: int, *, size: int, keep: int, sigma: float) -> BlockDCT:
    """A codec whose statistics are private (or, with sigma 0, no statistics at all).

    Args:
        images: float32 (N, H, W) in [0, 1].
        member: int (N,), the subject of each image, 0 .. subjects - 1.
        subjects: their number, taken as public.
        size: block side in pixels.
        keep: coefficients kept per axis.
        sigma: noise multiplier; 0 uses the prior.

    Returns:
        The codec; its `residual` is NaN, because it was not measured.
    """
    centre, scale = _prior(size, keep)
    shape = (images.shape[1], images.shape[2])
    if sigma == 0:
        return BlockDCT(size, keep, shape, centre, scale, float("nan"))
    z = (blocks(torch.from_numpy(images), size, keep) - centre[:, None, None]) / scale[:, None, None]
    first, second = z.mean((2, 3)).clamp(-FIRST, FIRST), z.square().mean((2, 3)).clamp_max(SECOND)
    bound = float(keep)  # the root of how many coefficients there are: met when each mean square is that of the prior
    vectors = _by_subject(torch.cat([first, second], 1).double().numpy(), member, subjects)
    mean, square = np.split(dpsgd.noised_sum(vectors, bound, sigma) / subjects, 2)
    # below twice its noise a variance cannot be told from nothing
    floor = max(2 * sigma * bound / subjects, 1e-2)
    std = np.sqrt(np.maximum(square - mean**2, floor)).clip(None, FIRST)
    mean = mean.clip(-FIRST, FIRST)
    return BlockDCT(size, keep, shape, centre + scale * torch.from_numpy(mean).float(),
                    scale * torch.from_numpy(std).float(), float("nan"))  # fmt: skip


def findings(masks: np.ndarray, member: np.ndarray, subjects: int, sigma: float, seed: int) -> np.ndarray:
    """Shapes for `lesions.draw` that are no training mask's: drawn from a noised histogram of places and mean size.

    Args:
        masks: bool (N, H, W).
        member: int (N,), the subject of each image.
        subjects: their number, taken as public.
        sigma: noise multiplier; 0 uses the prior.
        seed: of the shapes, which are drawn after the noise was added and may be drawn again.

    Returns:
        float32 (512, 5) as `lesions.shapes` gives them.
    """
    h, w = masks.shape[1:]
    place, size = np.full(PLACES**2, 1 / PLACES**2), np.array([[0.0, -0.3], [0.25, 0.25]])
    if sigma > 0:
        rows = np.zeros((len(masks), PLACES**2 + 4))
        for k, mask in enumerate(masks):
            for y, x, *axes, _ in lesions.shapes(mask[None]).astype(np.float64):  # one row, or none
                cell = np.minimum((np.array([y, x]) * PLACES).astype(int), PLACES - 1)
                rows[k, cell[0] * PLACES + cell[1]] = 1
                u = np.clip((np.array(axes) - np.log(TYPICAL * np.sqrt(h * w))) / REACH, -1, 1)
                rows[k, PLACES**2 :] = np.concatenate([u, u**2]) / 2
        # a mean of one-hot vectors has norm 1 at most, the four halves another 1
        bound = float(np.sqrt(2))
        total = dpsgd.noised_sum(_by_subject(rows, member, subjects), bound, sigma)
        counts = np.where(total[:-4] > 2 * sigma * bound, total[:-4], 0)
        if counts.sum() > 0:
            place = counts / counts.sum()
            of = 2 * total[-4:].reshape(2, 2) / max(total[:-4].sum(), 1.0)
            mean = of[0].clip(-1, 1)
            size = np.stack([mean, np.sqrt((of[1] - mean**2).clip(0.01, 1))])
    rng = np.random.default_rng(seed)
    cell = rng.choice(PLACES**2, size=ROWS, p=place)
    y, x = (cell // PLACES + rng.random(ROWS)) / PLACES, (cell % PLACES + rng.random(ROWS)) / PLACES
    axes = np.sort(size[0] + size[1] * rng.normal(size=(ROWS, 2)), 1)[:, ::-1].clip(-1, 1)
    axes = axes * REACH + np.log(TYPICAL * np.sqrt(h * w))
    return np.column_stack([y, x, axes, rng.uniform(-np.pi / 2, np.pi / 2, ROWS)]).astype(np.float32)


def _prior(size: int, keep: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation of each coefficient of an image in [0, 1] that nobody has seen."""
    k = torch.arange(keep, dtype=torch.float32)
    scale = (size / 4 / (1 + k[:, None] ** 2 + k[None, :] ** 2)).flatten()
    centre = torch.zeros(keep * keep)
    centre[0] = size / 2  # of a middle grey
    return centre, scale


def _by_subject(rows: np.ndarray, member: np.ndarray, subjects: int) -> np.ndarray:
    """Mean row of each subject, zero for those without any; float64 (subjects, d)."""
    total, count = np.zeros((subjects, rows.shape[1])), np.zeros(subjects)
    np.add.at(total, member, rows)
    np.add.at(count, member, 1)
    return total / np.maximum(count, 1)[:, None]
