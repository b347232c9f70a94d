"""Where findings go: new masks drawn from the spread of the training masks, none of them a copy.

Each training mask is reduced to centre, log half-axes and angle by its second moments. A new mask takes the shape of a
random training mask moved by Gaussian noise of a Silverman bandwidth (kernel density estimate; Silverman 1986), and its
outline wobbles at random. The label is then really in the picture: the generator is told where to put the finding.
"""

import numpy as np

VALUES = 5


def shapes(masks: np.ndarray) -> np.ndarray:
    """Moments of masks bool (N, H, W), empty ones left out.

    Returns:
        float32 (M, 5): row and column centre (share of height and width), log half-axes (pixels), angle (radians).
    """
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
    """One new mask, float32 (H, W) in [0, 1] with soft edges; `fitted` is what `shapes` returned, at least one row."""
    spread = fitted.std(0)
    spread[4] = 0.3
    bandwidth = len(fitted) ** (-1 / (VALUES + 4)) / 2
    row = fitted[generator.integers(len(fitted))] + bandwidth * spread * generator.normal(size=VALUES)
    h, w = shape
    y, x = np.mgrid[:h, :w]
    dy, dx = y + 0.5 - row[0] * h, x + 0.5 - row[1] * w
    c, s = np.cos(row[4]), np.sin(row[4])
    along, across = (dx * c + dy * s) / np.exp(row[2]), (dy * c - dx * s) / np.exp(row[3])
    turn = np.arctan2(across, along)
    wobble = sum(
        a * np.cos(k * turn + phase)
        for k, a, phase in zip((2, 3, 4), generator.normal(0, 0.08, 3), generator.uniform(0, 2 * np.pi, 3), strict=True)
    )
    # about one pixel from inside to outside
    edge = (1 + wobble - np.hypot(along, across)) * np.exp((row[2] + row[3]) / 2)
    return np.asarray(np.clip(edge + 0.5, 0, 1), np.float32)
