"""How well predicted masks lie on true ones: Dice by image, average precision by instance.

    Dice = 2 |A and B| / (|A| + |B|)                       Dice 1945, doi:10.2307/1932409
    AP   = mean over recall r = 0, 0.01 .. 1 of the best precision at a recall of at least r

An instance is a connected component, its score the mean probability inside it. In order of score each takes the true
component of its image that it overlaps best and that none has taken yet; it is a hit where the overlap (IoU) reaches
the threshold. Matching and 101-point interpolation are those of COCO (Lin et al. 2014, arXiv:1405.0312), with every
detection counted. Known failures: two findings that touch are one instance; Dice and IoU of a few pixels are coarse.
"""

from typing import NamedTuple

import numpy as np
from scipy import ndimage

COCO = tuple(round(0.5 + 0.05 * k, 2) for k in range(10))
AT = 0.5  # a pixel belongs to the prediction above this probability
EIGHT = np.ones((3, 3), int)  # pixels that meet at a corner touch: a thin finding is one piece
CELLS = 2_000_000  # resamples times detections held at once


class Instances(NamedTuple):
    """Predicted instances of many images, matched.

    Attributes:
        image: int (D,), the image each lies in.
        score: float64 (D,), mean probability inside it.
        hit: bool (T, D), whether it found a true instance, at each threshold of IoU.
        truths: int (N,), true instances of each image.
    """

    image: np.ndarray
    score: np.ndarray
    hit: np.ndarray
    truths: np.ndarray


def dice(predicted: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Dice coefficient of each image, float64 (N,); NaN where both masks are empty, for then it is not defined.

    Args:
        predicted: bool (N, H, W).
        truth: bool (N, H, W).

    >>> dice(np.array([[[True, True, False]]]), np.array([[[True, False, False]]])).round(3).tolist()
    [0.667]
    """
    both = (predicted & truth).sum((1, 2))
    with np.errstate(invalid="ignore"):
        return np.asarray(2 * both / (predicted.sum((1, 2)) + truth.sum((1, 2))))


def instances(probability: np.ndarray, truth: np.ndarray, thresholds: tuple[float, ...] = COCO) -> Instances:
    """Find and match the instances of every image.

    Args:
        probability: float (N, H, W) in [0, 1].
        truth: bool (N, H, W).
        thresholds: of IoU, T of them, each above 0.
    """
    image: list[int] = []
    score: list[float] = []
    hits: list[np.ndarray] = []
    truths = np.zeros(len(truth), int)
    for k, (p, mask) in enumerate(zip(probability, truth, strict=True)):
        pieces, count = ndimage.label(p > AT, EIGHT)
        true, truths[k] = ndimage.label(mask, EIGHT)
        if not count:
            continue
        means = ndimage.mean(p.astype(np.float64), pieces, np.arange(1, count + 1))
        order = np.argsort(-means, kind="stable")
        hits.append(_matched(_iou(pieces, true, count, int(truths[k]))[order], thresholds))
        score += means[order].tolist()
        image += [k] * count
    hit = np.concatenate(hits, axis=1) if hits else np.zeros((len(thresholds), 0), bool)
    return Instances(np.array(image, int), np.array(score), hit, truths)


def average_precision(found: Instances, weights: np.ndarray | None = None) -> np.ndarray:
    """Average precision at each threshold, float64 (T, B); NaN where no true instance has weight, 0 without detections.

    Args:
        found: matched instances of N images.
        weights: how often each image counts, (B, N), or None for once each (B = 1).
    """
    order = np.argsort(-found.score, kind="stable")
    image, hit = found.image[order], found.hit[:, order]
    drawn = np.ones((1, len(found.truths))) if weights is None else weights
    out = np.empty((len(hit), len(drawn)))
    size = max(1, CELLS // max(1, len(order)))
    for first in range(0, len(drawn), size):
        part = drawn[first : first + size]
        out[:, first : first + size] = _precision(part[:, image], hit, part @ found.truths)
    return out


def _iou(pieces: np.ndarray, true: np.ndarray, count: int, truths: int) -> np.ndarray:
    """Intersection over union of each predicted with each true component, float64 (count, truths)."""
    pairs = np.bincount(pieces.ravel() * (truths + 1) + true.ravel(), minlength=(count + 1) * (truths + 1))
    table = pairs.reshape(count + 1, truths + 1)
    union = table.sum(1)[1:, None] + table.sum(0)[None, 1:] - table[1:, 1:]
    return np.asarray(table[1:, 1:] / union)


def _matched(iou: np.ndarray, thresholds: tuple[float, ...]) -> np.ndarray:
    """Which predictions, in order of score, take a true instance: bool (T, count)."""
    hit = np.zeros((len(thresholds), len(iou)), bool)
    for row, least in enumerate(thresholds):
        free = iou.copy()
        for k in range(len(iou)):
            if free.shape[1] and free[k].max() >= least:
                hit[row, k] = True
                free[:, free[k].argmax()] = -1.0
    return hit


def _precision(drawn: np.ndarray, hit: np.ndarray, truths: np.ndarray) -> np.ndarray:
    """Average precision (T, b) of detections in order of score, with weights (b, D), for truths (b,) to be found."""
    seen = np.cumsum(drawn, axis=1)
    out = np.zeros((len(hit), len(drawn)))
    for row, own in enumerate(hit):
        # recall rises, and precision is best, at hits only: the others need not be looked at
        right = np.cumsum(drawn[:, own], axis=1)
        precision = right / np.maximum(seen[:, own], 1e-12)
        best = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        with np.errstate(invalid="ignore", divide="ignore"):
            levels = np.floor(100 * right / truths[:, None] + 1e-9) + 1  # of the 101 recalls, how many are reached
        out[row] = (best * np.diff(levels, axis=1, prepend=0)).sum(1) / 101
    return np.where(truths > 0, out, np.nan)
