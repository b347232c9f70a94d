"""Would an image be usual if it were inverted, turned, mirrored, moved or stretched?

For a change T the contrast of an image is how much nearer it comes to its cohort:

    c_T = log d(x) - log d(T x)

with d the orthogonal distance to the cohort's principal components (`typical`) for inversion and the flips and quarter
turns, and log d = -atanh of the correlation with the mean picture of the image's class for shifts and stretches, where
a part of the changed image is unknown. Ordinary images have c_T below 0; the limit comes from the cohort.

Known failure: a cohort without a common position (microscopy, skin) has no upside down; contrasts are near 0, and few
are found.
"""

from typing import NamedTuple

import numpy as np
from scipy import ndimage

from chambit.prepare.quality.described import SIDE, standard
from chambit.prepare.quality.typical import Plane

SHIFTS = (-8, -6, -4, -3, 3, 4, 6, 8)  # of 32 pixels
STRETCHES = (0.7, 0.8, 1.25, 1.45)
_KEPT = 0.9


class Poses(NamedTuple):
    """Largest contrast of each kind and the change that gave it; larger is odder.

    Attributes:
        inverted, mirrored: (N,).
        turned, turn: (N,), and how, as words in `WAYS`.
        nearest: (N,) the orthogonal distance after the best of these changes.
    """

    inverted: np.ndarray
    mirrored: np.ndarray
    turned: np.ndarray
    turn: np.ndarray
    nearest: np.ndarray


class Moves(NamedTuple):
    """Largest contrast over shifts and over stretches.

    Attributes:
        shifted, stretched: (N,), larger is odder.
        shift: (N, 2) down and right, as shares of the side.
        aspect: (N,) height over width.
        fits: (N, 2) whether the image fits its class as usual after the best shift, and after the best stretch.
    """

    shifted: np.ndarray
    stretched: np.ndarray
    shift: np.ndarray
    aspect: np.ndarray
    fits: np.ndarray


# words for what must have happened to an image that fits after it is mirrored, turned by 90, 180, 270 degrees (each
# undoes the turn that it names), flipped top to bottom, transposed along either diagonal
WAYS = (
    "mirrored",
    "turned by 90 degrees clockwise",
    "turned by 180 degrees",
    "turned by 90 degrees anticlockwise",
    "upside down",
    "transposed",
    "transposed across",
)


def poses(x: np.ndarray, model: Plane) -> Poses:
    """Contrasts of standard thumbnails float32 (N, 1024) under inversion and the seven flips and turns."""
    square = x.reshape(-1, SIDE, SIDE)
    as_is = _away(x, model)
    negative = _away(-x, model)
    ways = [
        square[:, :, ::-1],
        *(np.rot90(square, k, axes=(1, 2)) for k in (1, 2, 3)),
        square[:, ::-1],
        square.transpose(0, 2, 1),
        np.rot90(square, 2, axes=(1, 2)).transpose(0, 2, 1),
    ]
    after = np.stack([_away(way.reshape(len(x), -1), model) for way in ways], axis=1)
    turn = after[:, 1:].argmin(1) + 1
    turned = after[np.arange(len(x)), turn]
    best = np.minimum(np.minimum(negative, turned), after[:, 0])
    return Poses(as_is - negative, as_is - after[:, 0], as_is - turned, turn, np.exp(best))


def moves(x: np.ndarray, labels: np.ndarray) -> Moves:
    """Contrasts of standard thumbnails float32 (N, 1024) against the moved mean picture of each image's class (N,)."""
    count = len(x)
    out = Moves(np.zeros(count), np.zeros(count), np.zeros((count, 2)), np.zeros(count), np.zeros((count, 2), bool))
    places = [(dy, dx) for dy in (0, *SHIFTS) for dx in (0, *SHIFTS) if dy or dx]
    ratios = [(f, 1.0) for f in STRETCHES] + [(1.0, f) for f in STRETCHES]
    for label in np.unique(labels):
        at = np.flatnonzero(labels == label)
        mean = typical(x[at]).reshape(SIDE, SIDE)
        plain = _fit(x[at], mean[None])[:, 0]
        moved = _fit(x[at], np.stack([ndimage.shift(mean, place, order=1, mode="nearest") for place in places]))
        wide = _fit(x[at], np.stack([_stretched(mean, *ratio) for ratio in ratios]))
        usual = np.quantile(plain, 1 - _KEPT)
        out.fits[at] = np.stack([moved.max(1), wide.max(1)], axis=1) >= usual
        out.shifted[at] = moved.max(1) - plain
        out.shift[at] = np.array(places)[moved.argmax(1)] / SIDE
        out.stretched[at] = wide.max(1) - plain
        out.aspect[at] = np.array([down / right for down, right in ratios])[wide.argmax(1)]
    return out


def typical(x: np.ndarray) -> np.ndarray:
    """Mean of the nine tenths of vectors (N, d) that are nearest to the median of all: (d,)."""
    near = ((x - np.median(x, axis=0)) ** 2).sum(1)
    kept = np.argsort(near, kind="stable")[: max(1, int(_KEPT * len(x)))]
    return np.asarray(x[kept].mean(0))


def _away(x: np.ndarray, model: Plane) -> np.ndarray:
    """Logarithm of the orthogonal distance (N,)."""
    return np.asarray(np.log(model.distances(x)[1]))


def _fit(x: np.ndarray, pictures: np.ndarray) -> np.ndarray:
    """Fisher's z of the correlation of vectors (N, 1024) with pictures (K, 32, 32): (N, K)."""
    return np.asarray(np.arctanh(np.clip(x @ standard(pictures).T, -0.999, 0.999)))


def _stretched(picture: np.ndarray, down: float, right: float) -> np.ndarray:
    """The picture with what it shows made taller and wider by these factors about its middle."""
    middle = (SIDE - 1) / 2
    matrix = np.array([1 / down, 1 / right])
    return np.asarray(
        ndimage.affine_transform(picture, matrix, middle - middle * matrix, order=1, mode="nearest"), np.float32
    )
