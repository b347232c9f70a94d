"""Trivial generators: what a set must beat before anything speaks for its generator.

`gaussian`: one Gaussian per class on the principal components of the training images.

    x = m + P^T (mu_y + L_y e),  e ~ N(0, 1)

It knows means and covariances and nothing else: its images are blurs of nobody. Where training on them is as good as
training on a real generator's images, the task cannot tell the two apart. `noisy` (training images with noise added)
and `interpolated` (a mixture of a training image and a neighbour of its class; Chawla et al. 2002, arXiv:1106.1813) are
copies of patients: they are useful and near the real images without being releasable, and show that no number of
utility says anything about safety.
"""

from typing import NamedTuple

import numpy as np

KINDS = ("gaussian", "noisy", "interpolated")


class Settings(NamedTuple):
    """components: principal components of `gaussian`; noise: standard deviation that `noisy` adds, in grey levels of
    [0, 1]; neighbours: of `interpolated`, of which one is mixed in.
    """

    components: int = 60
    noise: float = 0.05
    neighbours: int = 5


def make(
    kind: str,
    images: np.ndarray,
    labels: np.ndarray,
    subjects: np.ndarray,
    wanted: np.ndarray,
    settings: Settings,
    generator: np.random.Generator,
) -> np.ndarray:
    """Draw one image for each wanted label.

    Args:
        kind: one of KINDS.
        images: float32 (N, H, W) in [0, 1], the training images.
        labels: (N,), their labels.
        subjects: (N,), whose they are.
        wanted: (M,), labels to draw; each must occur at least twice in `labels`.
        settings: of the three.
        generator: where the chance comes from.

    Returns:
        float32 (M, H, W), clipped to [0, 1].
    """
    if kind == "gaussian":
        return sample(images, labels, wanted, settings.components, generator)
    out = np.empty((len(wanted), *images.shape[1:]), np.float32)
    flat = _reduced(images, settings.components)
    for label in np.unique(wanted):
        rows, own = np.flatnonzero(wanted == label), np.flatnonzero(labels == label)
        chosen = generator.choice(own, len(rows))
        if kind == "noisy":
            noise = generator.normal(0, settings.noise, (len(rows), *images.shape[1:]))
            out[rows] = images[chosen] + noise
        elif kind == "interpolated":
            other = _neighbours(flat, subjects, own, chosen, settings.neighbours, generator)
            share = generator.uniform(0.2, 0.8, len(rows))[:, None, None]
            out[rows] = (1 - share) * images[chosen] + share * images[other]
        else:
            raise ValueError(f"there is no trivial generator '{kind}'")
    return np.clip(out, 0, 1)


def sample(
    images: np.ndarray,
    labels: np.ndarray,
    wanted: np.ndarray,
    components: int,
    generator: np.random.Generator,
) -> np.ndarray:
    """Images of `gaussian`; arguments and result as in `make`."""
    flat = images.reshape(len(images), -1).astype(np.float64)
    mean = flat.mean(0)
    basis = _basis(flat - mean)[:components]
    scores = (flat - mean) @ basis.T
    out = np.empty((len(wanted), flat.shape[1]), np.float32)
    for label in np.unique(wanted):
        own = scores[labels == label]
        root = np.linalg.qr((own - own.mean(0)) / np.sqrt(len(own) - 1), mode="r")
        rows = np.flatnonzero(wanted == label)
        noise = generator.normal(size=(len(rows), len(root))) @ root
        out[rows] = (own.mean(0) + noise) @ basis + mean
    return np.clip(out, 0, 1).reshape(len(wanted), *images.shape[1:])


def _basis(centred: np.ndarray) -> np.ndarray:
    """Principal axes as rows, from the smaller Gram matrix: large images cost no more than their number."""
    if len(centred) < centred.shape[1]:
        return np.asarray(np.linalg.svd(centred, full_matrices=False)[2])
    values, vectors = np.linalg.eigh(centred.T @ centred)
    return np.asarray(vectors[:, np.argsort(values)[::-1]].T)


def _reduced(images: np.ndarray, components: int) -> np.ndarray:
    flat = images.reshape(len(images), -1).astype(np.float64)
    flat -= flat.mean(0)
    return np.asarray(flat @ _basis(flat)[:components].T)


def _neighbours(
    flat: np.ndarray,
    subjects: np.ndarray,
    own: np.ndarray,
    chosen: np.ndarray,
    count: int,
    generator: np.random.Generator,
) -> np.ndarray:
    """For each chosen image one of the nearest others of its class, of another subject where there is one."""
    out = np.empty(len(chosen), int)
    for place, one in enumerate(chosen):
        strangers = own[subjects[own] != subjects[one]]
        strangers = strangers if len(strangers) else own[own != one]
        apart = np.square(flat[strangers] - flat[one]).sum(1)
        nearest = strangers[np.argsort(apart, kind="stable")[:count]]
        out[place] = generator.choice(nearest)
    return out
