"""How far is an image from what is usual in its cohort, by models that a few outliers do not bend.

Thumbnails (`Plane`): principal components fitted to the nearest nine tenths of the images, as in ROBPCA (Hubert,
Rousseeuw and Vanden Branden 2005, DOI 10.1198/004017004000000563). With centre m, axes P, variances l:

    t = P (x - m);  score distance^2 = sum of t_k^2 / l_k;  orthogonal distance^2 = |x - m - P^T t|^2

Numbers of grey levels and texture: Mahalanobis distance with the minimum covariance determinant (Rousseeuw and Van
Driessen 1999, DOI 10.1080/00401706.1999.10485670; scikit-learn).

The plane that judges an image was fitted to other subjects, because a plane of dozens of axes knows the images it was
fitted to; the covariance of nine numbers hardly does.

Known failure: a kind of image that is more than a tenth of the cohort is usual.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from scipy import linalg

KEPT = 0.9  # of the images a plane is fitted to: twice the outliers that are allowed for stay outside
FIRST = 0.75
STEPS = 3
_PER_AXIS = 4  # images for each axis
_FITTED = 1000  # images are plenty for nine numbers, and the time grows with them


class Plane(NamedTuple):
    """Principal components of vectors: centre (d,), axes (k, d), variances (k,)."""

    centre: np.ndarray
    axes: np.ndarray
    variances: np.ndarray

    def scores(self, x: np.ndarray) -> np.ndarray:
        """Coordinates (N, k) of vectors (N, d)."""
        return np.asarray((x - self.centre) @ self.axes.T)

    def distances(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Score distance and orthogonal distance, each (N,), of vectors (N, d)."""
        t = self.scores(x)
        whole = ((x - self.centre) ** 2).sum(1)
        rest = np.maximum(whole - (t**2).sum(1), 1e-6)
        return np.sqrt((t**2 / self.variances).sum(1)), np.sqrt(rest)


def plane(x: np.ndarray, axes: int) -> Plane:
    """Fit to vectors float32 (N, d) of which a few may be outliers.

    It begins with the three quarters nearest to the median of all, then keeps the nine tenths that its own fit finds
    nearest, three times.
    """
    centre = np.median(x, axis=0)
    near = ((x - centre) ** 2).sum(1)
    kept = np.argsort(near, kind="stable")[: max(2, int(FIRST * len(x)))]
    for _ in range(STEPS):
        fitted = _components(x[kept], axes)
        odd = np.max([_ranks(distance) for distance in fitted.distances(x)], axis=0)
        kept = np.argsort(odd, kind="stable")[: max(2, int(KEPT * len(x)))]
    return _components(x[kept], axes)


def folds(subjects: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """A part 0 .. count - 1 for each image, int64 (N,); all images of a subject are in one part."""
    names, of = np.unique(subjects, return_inverse=True)
    part = np.arange(len(names)) % count
    return np.asarray(rng.permutation(part)[of], np.int64)


def others(part: np.ndarray, most: int, rng: np.random.Generator) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield (images of a part, at most `most` images of the other parts), as positions."""
    for k in np.unique(part):
        rest = np.flatnonzero(part != k)
        if len(rest) > most:
            rest = np.sort(rng.choice(rest, most, replace=False))
        yield np.flatnonzero(part == k), rest


def mahalanobis(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Logarithm of the robust distance (N,) of numbers (N, d), N well above d, from three quarters of them.

    The logarithm, because sites and habitus are mixed in these numbers: their distances have a tail heavier than
    exponential, of phantoms and radiographs alike.
    """
    from sklearn.covariance import MinCovDet

    known = x if len(x) <= _FITTED else x[np.sort(rng.choice(len(x), _FITTED, replace=False))]
    middle = np.median(known, axis=0)
    scale = 1.4826 * np.median(np.abs(known - middle), axis=0)
    scale = np.where(scale > 0, scale, np.maximum(known.std(0), 1e-6))
    fitted = MinCovDet(support_fraction=FIRST, random_state=int(rng.integers(2**31)))
    fitted.fit((known - middle) / scale)
    return np.asarray(0.5 * np.log(np.maximum(fitted.mahalanobis((x - middle) / scale), 1e-6)))


def _components(x: np.ndarray, axes: int) -> Plane:
    centre = x.mean(0)
    y = x - centre
    k = max(2, min(axes, len(x) // _PER_AXIS, x.shape[1] - 1))
    # the smaller of covariance and Gram matrix has the same leading eigenvalues
    wide = len(y) < y.shape[1]
    square = (y @ y.T if wide else y.T @ y).astype(np.float64)
    last = len(square) - 1
    values, vectors = linalg.eigh(square, subset_by_index=[last - k + 1, last])
    values, vectors = np.maximum(values[::-1], 1e-12), vectors[:, ::-1]
    found = (y.T @ vectors / np.sqrt(values)).T if wide else vectors.T
    return Plane(centre, np.asarray(found, np.float32), np.asarray(values / len(x), np.float32))


def _ranks(x: np.ndarray) -> np.ndarray:
    out = np.empty(len(x))
    out[np.argsort(x, kind="stable")] = np.arange(len(x))
    return out
