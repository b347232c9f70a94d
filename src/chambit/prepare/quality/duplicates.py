"""Pictures that are in a cohort twice: exactly, or processed again (JPEG, brightness, size, a crop, a slight turn).

Three likenesses of a pair, each with a limit of its own:

- cosine of the thumbnails' scores on principal components scaled to unit variance, so that what all patients share
  (anatomy, position) is no likeness; as Fisher's z = atanh(cosine);
- the same between one thumbnail and five crops of the other, the largest of them;
- share of equal bits of a perceptual hash: 63 lowest cosines of the thumbnail (discrete cosine transform), each above
  or below *this cohort's* median of it. Cut at a picture's own median, as usual, aligned radiographs share most bits.

The limit of a likeness is the value that the nearest image of *another* subject exceeds in a share `rate` / 3 of the
images (`tails`): the more images there are, the more alike is the nearest stranger, and the limit rises with them.

Two images of one subject may be repeat examinations. Where 100 images or more have such a sibling, the nearest siblings
set a limit of their own; where fewer have one, such a pair is told but is not sure.

Known failures: crops of cohorts in which all patients lie alike (phantoms), crops below 90 %, mirrored or turned
copies; where a tenth of all repeat examinations are copies, they are taken for usual.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from scipy import fft

from chambit.prepare.quality import tails
from chambit.prepare.quality.described import SIDE, standard
from chambit.prepare.quality.typical import Plane

AXES = 64
HASH = 8
CROP = 0.95
ROWS = 512  # images compared with all others at a time
FEWEST = 100  # images with a second one of the same subject, from which these set a limit of their own


class Pairs(NamedTuple):
    """Pairs of images found, first the one that comes first in the table.

    Attributes:
        first, second: positions, int64 (K,).
        score, limit: of the likeness that is further above its limit, in 0 to 1: cosine or share of equal bits.
        sure: whether the limit was made from pairs of this kind (another subject, or the same), bool (K,).
    """

    first: np.ndarray
    second: np.ndarray
    score: np.ndarray
    limit: np.ndarray
    sure: np.ndarray


class _Found(NamedTuple):
    score: float
    limit: float
    hashed: bool
    sure: bool

    @property
    def beyond(self) -> float:
        return (self.score - self.limit) / self.limit


def pairs(x: np.ndarray, model: Plane, subjects: np.ndarray, rate: float) -> Pairs:
    """Near duplicates among standard thumbnails float32 (N, 1024).

    Args:
        x: thumbnails, each of length one.
        model: principal components of the cohort.
        subjects: of each image (N,).
        rate: expected share of images that are wrongly paired with an image of another subject.
    """
    whose = np.unique(subjects, return_inverse=True)[1]
    marks = hashes(x)
    whole, *crops = _whitened(x, model)
    kinds = [[whole], crops, [(marks, marks)]]
    found: dict[tuple[int, int], _Found] = {}
    for kind, asked in enumerate(kinds):
        stranger, sibling = _nearest(asked, whose)
        apart = _limit(stranger, rate / len(kinds))
        # repeat examinations of a person are more alike than strangers: where there are enough, they set their own
        sure = bool(np.isfinite(sibling.score).sum() >= FEWEST)
        within = max(apart, _limit(sibling, rate / len(kinds))) if sure else apart
        for near, level, known in ((stranger, apart, True), (sibling, within, sure)):
            for i in np.flatnonzero(near.score > level):
                one, other = int(i), int(near.at[i])
                key = (min(one, other), max(one, other))
                new = _Found(float(near.score[i]), level, kind == 2, known)
                if key not in found or new.beyond > found[key].beyond:
                    found[key] = new
    keys = sorted(found)
    rows = [found[key] for key in keys]
    ends = np.array(keys, np.int64).reshape(-1, 2)
    shown = np.array([(_shown(row.score, row.hashed), _shown(row.limit, row.hashed)) for row in rows]).reshape(-1, 2)
    return Pairs(ends[:, 0], ends[:, 1], shown[:, 0], shown[:, 1], np.array([row.sure for row in rows], bool))


def views(x: np.ndarray) -> Iterator[np.ndarray]:
    """Thumbnails (N, 1024) as they are, then cropped to 95 % at the middle and at each corner: what a crop would be."""
    yield x
    square = x.reshape(-1, SIDE, SIDE)
    rest = (SIDE - 1) * (1 - CROP)
    for top, left in ((0.5, 0.5), (0, 0), (0, 1), (1, 0), (1, 1)):
        down, across = _sampling(top * rest), _sampling(left * rest)
        yield standard(down @ square @ across.T)


def hashes(x: np.ndarray) -> np.ndarray:
    """Perceptual hashes of thumbnails (N, 1024) as unit vectors float32 (N, 63) of signs."""
    low = fft.dctn(x.reshape(-1, SIDE, SIDE), axes=(1, 2), norm="ortho")[:, :HASH, :HASH].reshape(len(x), -1)[:, 1:]
    return np.asarray(np.where(low > np.median(low, axis=0), 1, -1) / np.sqrt(low.shape[1]), np.float32)


def _whitened(x: np.ndarray, model: Plane) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield (each image seen in one view, all images as they are) as unit vectors (N, k), view by view.

    Both are taken from the mean of the view: taken from the cohort's mean, all crops would be alike for being crops.
    """
    scale, plain = np.sqrt(model.variances), model.scores(x)
    for view in views(x):
        seen = model.scores(view)
        mean = np.median(seen, axis=0)
        yield _unit((seen - mean) / scale), _unit((plain - mean) / scale)


def _unit(t: np.ndarray) -> np.ndarray:
    return np.asarray(t / np.maximum(np.linalg.norm(t, axis=1, keepdims=True), 1e-6), np.float32)


class _Nearest(NamedTuple):
    """Likeness (atanh), -inf where there is none, and position of the nearest image: (N,) each."""

    score: np.ndarray
    at: np.ndarray


def _nearest(asked: Sequence[tuple[np.ndarray, np.ndarray]], whose: np.ndarray) -> tuple[_Nearest, _Nearest]:
    """The nearest image of another subject, and the nearest of the same, by the view in which two are most alike."""
    count = len(whose)
    stranger, sibling = (_Nearest(np.full(count, -np.inf), np.zeros(count, np.int64)) for _ in range(2))
    order = np.argsort(whose, kind="stable")
    own = np.split(order, np.flatnonzero(np.diff(whose[order])) + 1)  # images of each subject, by its number
    for first in range(0, count, ROWS):
        at = np.arange(first, min(first + ROWS, count))
        likeness = np.full((len(at), count), -1, np.float32)
        for seen, plain in asked:
            np.maximum(likeness, seen[at] @ plain.T, out=likeness)
        for row, i in enumerate(at):
            mine = own[whose[i]]
            siblings = mine[mine != i]
            if len(siblings):
                best = int(likeness[row, siblings].argmax())
                sibling.score[i], sibling.at[i] = _z(likeness[row, siblings[best]]), siblings[best]
            likeness[row, mine] = -2
        stranger.at[at] = likeness.argmax(1)
        top = likeness[np.arange(len(at)), stranger.at[at]]
        stranger.score[at] = np.where(top > -1.5, _z(top), -np.inf)
    return stranger, sibling


def _z(cosine: np.ndarray) -> np.ndarray:
    return np.asarray(np.arctanh(np.clip(cosine, -0.99999, 0.99999)))


def _sampling(start: float) -> np.ndarray:
    """Matrix (32, 32) of linear interpolation at 32 places from `start`, CROP apart."""
    place = start + CROP * np.arange(SIDE)
    return np.asarray(np.maximum(0, 1 - np.abs(place[:, None] - np.arange(SIDE)[None, :])), np.float32)


def _limit(near: _Nearest, rate: float) -> float:
    """At least 0.01: below it a likeness is none."""
    known = near.score[np.isfinite(near.score)]
    return max(0.01, tails.nearest(known, rate)) if len(known) else np.inf


def _shown(z: float, hashed: bool) -> float:
    cosine = float(np.tanh(z))
    return (1 + cosine) / 2 if hashed else cosine
