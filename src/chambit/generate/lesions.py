"""Where findings go: new masks drawn from the spread of the training masks, none of them a copy.

Each training mask is reduced to centre, log half-axes and angle by its second moments. A new mask takes the shape of a
random training mask moved by Gaussian noise of a Silverman bandwidth (kernel density estimate; Silverman 1986), and its
outline wobbles at random. The label is then really in the picture: the generator is told where to put the finding.

Of items with an axis the shape is that of the frame where the finding is largest; how large it is in the others, as a
share of that, follows a mixture of the courses of two training items.
"""

import numpy as np

VALUES = 5


def shapes(masks: np.ndarray) -> np.ndarray:
    """Moments of masks bool (N[, D], H, W), empty ones left out.

    Returns:
        float32 (M, 5): row and column centre (share of height and width), log half-axes (pixels), angle (radians);
        of items with an axis (M, 5 + D): and the root of each frame's area as a share of the largest.
    """
    if masks.ndim == 4:
        area = masks.sum((2, 3))
        largest = masks[np.arange(len(masks)), area.argmax(1)]
        has = np.array([len(shapes(mask[None])) for mask in largest], bool)
        course = np.sqrt(area[has] / area[has].max(1, keepdims=True))
        return np.concatenate([shapes(largest), course], 1).astype(np.float32)
    rows = []
    h, w = masks.shape[1:]
    for mask in masks:
        y, x = np.nonzero(mask)
        if len(y) < 3:
            continue
        values, vectors = np.linalg.eigh(np.cov(np.stack([y, x])) + np.eye(2) / 12)
        long = vectors[:, 1]
        rows.append([y.mean() / h, x.mean() / w, *np.log(2 * np.sqrt(values[::-1])), np.arctan2(long[0], long[1])])
    return np.asarray(rows, np.float32).reshape(-1, VALUES)


def draw(fitted: np.ndarray, shape: tuple[int, int], generator: np.random.Generator) -> np.ndarray:
    """One new mask, float32 ([D,] H, W) in [0, 1] with soft edges.

    Args:
        fitted: what `shapes` returned, at least one row.
        shape: (H, W).
        generator: where all that is random comes from.
    """
    spread = fitted[:, :VALUES].std(0)
    spread[4] = 0.3
    bandwidth = len(fitted) ** (-1 / (VALUES + 4)) / 2
    row = fitted[generator.integers(len(fitted)), :VALUES] + bandwidth * spread * generator.normal(size=VALUES)
    waves = list(zip((2, 3, 4), generator.normal(0, 0.08, 3), generator.uniform(0, 2 * np.pi, 3), strict=True))
    if fitted.shape[1] == VALUES:
        return _filled(row, shape, waves)
    one, other = fitted[generator.integers(len(fitted), size=2), VALUES:]
    share = generator.random()
    course = share * one + (1 - share) * other
    course = course / course.max()
    frames = [_filled(row + np.log([1, 1, size, size, 1]), shape, waves) for size in np.maximum(course, 1e-3)]
    return np.stack(
        [frame if size > 0.05 else np.zeros_like(frame) for frame, size in zip(frames, course, strict=True)]
    )


def _filled(row: np.ndarray, shape: tuple[int, int], waves: list[tuple[int, float, float]]) -> np.ndarray:
    """The ellipse of these moments with a wobbling outline, float32 (H, W)."""
    h, w = shape
    y, x = np.mgrid[:h, :w]
    dy, dx = y + 0.5 - row[0] * h, x + 0.5 - row[1] * w
    c, s = np.cos(row[4]), np.sin(row[4])
    along, across = (dx * c + dy * s) / np.exp(row[2]), (dy * c - dx * s) / np.exp(row[3])
    turn = np.arctan2(across, along)
    wobble = sum(a * np.cos(k * turn + phase) for k, a, phase in waves)
    # about one pixel from inside to outside
    edge = (1 + wobble - np.hypot(along, across)) * np.exp((row[2] + row[3]) / 2)
    return np.asarray(np.clip(edge + 0.5, 0, 1), np.float32)
