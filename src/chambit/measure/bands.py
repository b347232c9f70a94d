"""The real-versus-real band: what a distance gives between real images and other real images at the same n.

Subjects of train and holdout together are dealt at random into two disjoint halves; each half gives `n` images, and the
measure compares them. A value inside the band cannot be told from real data by this measure; a value without its band
means nothing, because most distances depend on n.
"""

from collections.abc import Callable, Sequence

import numpy as np

from chambit.core.evidence import Band

Several = Callable[[np.ndarray, np.ndarray], Sequence[float] | np.ndarray]


def common_size(synthetic: int, subjects: np.ndarray) -> int:
    """The n of value and band: no more than the synthetic set, nor than half the real images hold."""
    return min(synthetic, len(subjects) // 2 * 9 // 10)


def pick(indices: np.ndarray, n: int, generator: np.random.Generator) -> np.ndarray:
    """`n` of the indices without replacement (all of them when there are fewer), sorted."""
    return np.sort(generator.choice(indices, min(n, len(indices)), replace=False))


def real_versus_real(
    values: Several, subjects: np.ndarray, n: int, draws: int, generator: np.random.Generator
) -> list[Band]:
    """The bands of several numbers over the same `draws` subject-disjoint splits.

    Args:
        values: (positions of one side, positions of the other) -> one number for each band.
        subjects: whose each real image is, (N,).
        n: images per side.
        draws: number of random splits.
        generator: where the splits come from.
    """
    names, member = np.unique(subjects, return_inverse=True)
    seen: list[np.ndarray] = []
    for _ in range(draws):
        side = (generator.permutation(len(names)) % 2)[member]
        left = pick(np.flatnonzero(side == 0), n, generator)
        right = pick(np.flatnonzero(side == 1), n, generator)
        seen.append(np.asarray(values(left, right)))
    ends = np.percentile(seen, [2.5, 50, 97.5], axis=0).T.tolist()
    return [Band(low=low, middle=middle, high=high, draws=draws, n=n) for low, middle, high in ends]
