"""The trivial generator: one Gaussian per class on the principal components of the training images.

    x = m + P^T (mu_y + L_y e),  e ~ N(0, 1),  60 components

It knows means and covariances and nothing else: its images are blurs. Where training on them is as good as training on
a real generator's images, the task cannot tell the two apart, and its AUROC says nothing about the generator.
"""

import numpy as np


def sample(
    images: np.ndarray,
    labels: np.ndarray,
    wanted: np.ndarray,
    components: int,
    generator: np.random.Generator,
) -> np.ndarray:
    """Draw one image for each wanted label.

    Args:
        images: float32 (N, H, W) in [0, 1], the training images.
        labels: (N,), their labels.
        wanted: (M,), labels to draw; each must occur at least twice in `labels`.
        components: how many principal components.
        generator: where the noise comes from.

    Returns:
        float32 (M, H, W), clipped to [0, 1].
    """
    flat = images.reshape(len(images), -1).astype(np.float64)
    mean = flat.mean(0)
    # the smaller of the two Gram matrices, so that large images cost no more than their number
    _, _, basis = (
        np.linalg.svd(flat - mean, full_matrices=False) if len(flat) < flat.shape[1] else _principal(flat - mean)
    )
    basis = basis[:components]
    scores = (flat - mean) @ basis.T
    out = np.empty((len(wanted), flat.shape[1]), np.float32)
    for label in np.unique(wanted):
        own = scores[labels == label]
        root = np.linalg.qr((own - own.mean(0)) / np.sqrt(len(own) - 1), mode="r")
        rows = np.flatnonzero(wanted == label)
        noise = generator.normal(size=(len(rows), len(root))) @ root
        out[rows] = (own.mean(0) + noise) @ basis + mean
    return np.clip(out, 0, 1).reshape(len(wanted), *images.shape[1:])


def _principal(centred: np.ndarray) -> tuple[None, None, np.ndarray]:
    values, vectors = np.linalg.eigh(centred.T @ centred)
    return None, None, vectors[:, np.argsort(values)[::-1]].T
