"""Where findings go: new masks drawn from the spread of the training masks, none of them a copy.

Each training mask is reduced to centre, log half-axes and angle by its second moments. A new mask takes the half-axes
and the angle of a random training mask moved by Gaussian noise of a Silverman bandwidth (kernel density estimate;
Silverman 1986), and its outline wobbles at random. Its centre lies somewhere between those of that mask and one of the
`NEAR` nearest ones (as Chawla et al. 2002, doi:10.1613/jair.953), because Gaussian noise would put findings of the lung
into the heart, where there is nothing of the kind to be drawn: a classifier trained on real images then read the labels
of drawn radiographs with an AUROC of 0.89, with centres as they are now with 0.96. The label is then really in the
picture: the generator is told where to put the finding.

A finding in many small spots, such as bleedings of a retina, is not filled in as one: as many spots as some training
mask has, of sizes like its own, lie at random within the shape (`scattered`).

Of items with an axis the shape is that of the frame where the finding is largest; how large it is in the others, as a
share of that, follows a mixture of the courses of two training items.
"""

import numpy as np
from scipy import ndimage

VALUES = 5
NEAR = 10
MANY = 3
"""From this many spots of a typical mask on, findings are drawn as spots."""


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


def fitted(masks: np.ndarray) -> np.ndarray:
    """What `draw` is given for masks bool (N[, D], H, W): `scattered` where most are of many spots, else `shapes`."""
    if masks.ndim == 3 and masks.any():
        spots = [ndimage.label(mask, np.ones((3, 3)))[1] for mask in masks if mask.any()]
        if np.median(spots) >= MANY:
            return scattered(masks)
    return shapes(masks)


def scattered(masks: np.ndarray) -> np.ndarray:
    """As `shapes` of masks bool (N, H, W), with the number of spots and the mean and spread of their log radius.

    Returns:
        float32 (M, 1, 8); radii in pixels, of circles of the same area.
    """
    rows = []
    for mask in masks:
        for shape in shapes(mask[None]):  # one row, or none
            where, count = ndimage.label(mask, np.ones((3, 3)))
            radius = 0.5 * np.log(np.bincount(where.ravel())[1:] / np.pi)
            rows.append([*shape, count, radius.mean(), radius.std()])
    return np.asarray(rows, np.float32).reshape(-1, 1, VALUES + 3)


def draw(fitted: np.ndarray, shape: tuple[int, int], generator: np.random.Generator) -> np.ndarray:
    """One new mask, float32 ([D,] H, W) in [0, 1] with soft edges.

    Args:
        fitted: what `shapes` or `scattered` returned, at least one row.
        shape: (H, W).
        generator: where all that is random comes from.
    """
    if fitted.ndim == 3:
        return _spots(fitted[:, 0], shape, generator)
    row, _ = _like(fitted, generator)
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


def _like(rows: np.ndarray, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Moments like those of a training mask, float64 (5,), and the row of that mask."""
    spread = rows[:, :VALUES].std(0)
    spread[4] = 0.3
    bandwidth = len(rows) ** (-1 / (VALUES + 4)) / 2
    at = int(generator.integers(len(rows)))
    row = rows[at, :VALUES] + bandwidth * spread * generator.normal(size=VALUES)
    share, which = generator.random(), generator.random()
    far = np.square(rows[:, :2] - rows[at, :2]).sum(1)
    far[at] = np.inf
    if near := min(NEAR, len(rows) - 1):
        other = np.argpartition(far, near - 1)[:near][int(which * near)]
        row[:2] = rows[at, :2] + share * (rows[other, :2] - rows[at, :2])
    return row, rows[at]


def _spots(rows: np.ndarray, shape: tuple[int, int], generator: np.random.Generator) -> np.ndarray:
    """Round spots at random within an ellipse, float32 (H, W)."""
    row, one = _like(rows, generator)
    many = max(1, round(float(one[VALUES] * np.exp(0.2 * generator.normal()))))
    far, turn = np.sqrt(generator.random(many)), generator.uniform(0, 2 * np.pi, many)
    along, across = np.exp(row[2]) * far * np.cos(turn), np.exp(row[3]) * far * np.sin(turn)
    c, s = np.cos(row[4]), np.sin(row[4])
    sizes = one[VALUES + 1] + one[VALUES + 2] * generator.normal(size=many)
    mask = np.zeros(shape, np.float32)
    for x, y, size in zip(along * c - across * s, along * s + across * c, sizes, strict=True):
        spot = np.array([row[0] + y / shape[0], row[1] + x / shape[1], size, size, 0.0])
        mask = np.maximum(mask, _filled(spot, shape, []))
    return mask


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
