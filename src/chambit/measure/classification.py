"""How good a classifier is on real test images: precision and recall, decisions at a threshold, calibration.

Conventions of every function here:

- class scores are logits or log-probabilities, float (n, K): the softmax of both is the same probability;
- `truth` is int (n,), 0 .. K - 1; `positive` is bool (n,); a two-class score is that of class 1, or `log_odds`;
- `weights` (B, n) are bootstrap multiplicities by patient (`interval.subject_weights`); None means each image once.
  A weight of 2 is the same as giving the image twice. The answer is float (B,), or (1,) without weights, and NaN for
  a resample in which the quantity does not exist, so that a rare class that was not drawn is never a 0;
- classifiers are compared by handing the *same* weights to each and subtracting: the difference is then paired.

Known failures: the area under the precision-recall curve of chance is the prevalence, so it means nothing without
`prevalence` beside it and cannot be compared between test sets. `calibration_error` is biased upwards in few images.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy import optimize
from scipy.special import expit, log_softmax, logsumexp, softmax

from chambit.core.errors import InputError, Problem

BINS = 15  # of the calibration error, as in Guo et al. 2017
TEMPERATURES = (0.01, 100.0)
_ELEMENTS = 2_000_000  # of one block of weights, so that many draws of many images fit in memory
_NEWTON_STEPS = 100


# --- precision and recall


def average_precision(scores: np.ndarray, positive: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Area under the precision-recall curve as average precision: sum of (R_t - R_(t-1)) P_t over the thresholds t.

    Steps, no interpolation, which would be too kind (Davis and Goadrich 2006, doi:10.1145/1143844.1143874); images of
    equal score share one threshold, as in `sklearn.metrics.average_precision_score`.

    Args:
        scores: float (n,), higher means more likely positive.
        positive: bool (n,).
        weights: (B, n) or None.

    Returns:
        (B,) or (1,), 0 .. 1; NaN where no positive has weight.

    Raises:
        ValueError: when a score is not finite, or shapes do not fit.

    >>> average_precision(np.array([0.1, 0.4, 0.35, 0.8]), np.array([False, False, True, True])).round(4)
    array([0.8333])
    """
    _check(scores)
    order = np.argsort(-scores, kind="stable")
    starts = _starts(scores[order])
    ordered = positive[order].astype(bool)

    def block(w: np.ndarray) -> np.ndarray:
        w = w[:, order]
        up = np.add.reduceat(np.where(ordered, w, 0.0), starts, axis=1)
        called = np.cumsum(np.add.reduceat(w, starts, axis=1), axis=1)
        precision = np.divide(np.cumsum(up, axis=1), called, out=np.zeros_like(called), where=called > 0)
        return _ratio((up * precision).sum(1), up.sum(1))

    return _by_rows(block, weights, len(scores))


def macro_average_precision(scores: np.ndarray, truth: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Mean one-against-rest average precision of scores (n, K); for two classes that of class 1, as `macro_auroc`.

    Returns (B,) or (1,); NaN where a class has no weight. Its chance level is the mean prevalence, 1 / K (two classes:
    the prevalence of class 1).
    """
    _check(scores, truth)
    classes = [1] if scores.shape[1] == 2 else range(scores.shape[1])
    return np.asarray(np.mean([average_precision(scores[:, k], truth == k, weights) for k in classes], axis=0))


def prevalence(positive: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Share of positives, (B,) or (1,): what a classifier that knows nothing has as average precision."""
    return _share(positive, np.ones(len(positive), bool), weights)


# --- decisions


def accuracy(scores: np.ndarray, truth: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Share of images whose highest of K scores is that of the true class, (B,) or (1,); of equal scores the first."""
    _check(scores, truth)
    return _share(scores.argmax(1) == truth, np.ones(len(truth), bool), weights)


def balanced_accuracy(scores: np.ndarray, truth: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Mean over the K classes of the share found, (B,) or (1,); chance is 1 / K (doi:10.1109/ICPR.2010.764).

    NaN where a class has no weight: scikit-learn leaves that class out, which is another quantity in each resample.
    """
    _check(scores, truth)
    called = scores.argmax(1)
    found = [_share(called == k, truth == k, weights) for k in range(scores.shape[1])]
    return np.asarray(np.mean(found, axis=0))


def threshold_at_specificity(scores: np.ndarray, positive: np.ndarray, specificity: float) -> float:
    """Smallest t such that at least this share of the negatives has a score <= t; an image is called when score > t.

    Choose it on validation images, never on the test images it is judged on: a cut chosen on the test images is too
    kind to the classifier (Leeflang et al. 2008, doi:10.1373/clinchem.2007.096032).

    Args:
        scores: float (n,).
        positive: bool (n,); only the negatives are used.
        specificity: above 0, up to 1.

    Raises:
        InputError: when there is no negative.
        ValueError: when a score is not finite, or the specificity is outside its range.
    """
    _check(scores)
    if not 0 < specificity <= 1:
        raise ValueError(f"specificity must be above 0 and at most 1, got {specificity}")
    negative = np.sort(scores[~positive.astype(bool)])
    if not len(negative):
        what = f"none of the {len(scores)} images is negative, so no specificity can be set"
        raise InputError(
            "No threshold can be chosen.", [Problem("validation images", what, "add images without the finding")]
        )
    # 0.55 * 100 is a little above 55 in floating point
    return float(negative[int(np.ceil(specificity * len(negative) - 1e-9)) - 1])


def sensitivity(
    scores: np.ndarray, positive: np.ndarray, threshold: float, weights: np.ndarray | None = None
) -> np.ndarray:
    """Share of positives with score > threshold, (B,) or (1,); NaN where no positive has weight."""
    return _share(scores > threshold, positive, weights)


def specificity(
    scores: np.ndarray, positive: np.ndarray, threshold: float, weights: np.ndarray | None = None
) -> np.ndarray:
    """Share of negatives with score <= threshold, (B,) or (1,); NaN where no negative has weight."""
    return _share(scores <= threshold, ~positive.astype(bool), weights)


# --- calibration


def log_odds(scores: np.ndarray, label: int) -> np.ndarray:
    """Log odds p / (1 - p) of one class against the rest, (n,), from scores (n, K); finite also where p rounds to 1.

    >>> log_odds(np.array([[0.0, 40.0]]), 1)
    array([40.])
    """
    return np.asarray(scores[:, label] - logsumexp(np.delete(scores, label, axis=1), axis=1))


def brier(scores: np.ndarray, truth: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Mean over images of the sum over classes of (p_k - [truth = k])^2, (B,) or (1,), 0 .. 2; lower is better.

    Brier 1950 (doi:10.1175/1520-0493(1950)078<0001:VOFEIT>2.0.CO;2). With two classes it is twice the binary form.
    """
    _check(scores, truth)
    error = np.square(softmax(scores, axis=1) - np.eye(scores.shape[1])[truth]).sum(1)
    return _share(error, np.ones(len(truth), bool), weights)


def calibration_error(
    scores: np.ndarray, truth: np.ndarray, weights: np.ndarray | None = None, bins: int = BINS
) -> np.ndarray:
    """Expected calibration error in bins of equal mass: sum over bins of their share times |accuracy - confidence|.

    Confidence is the probability of the highest class.

    Equal mass instead of equal width because confident classifiers leave most equal-width bins empty (Nixon et al.
    2019, arXiv:1904.01685; the error itself: Guo et al. 2017, arXiv:1706.04599). The bins are made anew for each
    resample, and images of equal confidence are never parted, so the order of the images has no influence.
    It is biased upwards, more in a resample than in the whole: read the difference of two classifiers on the same
    resamples, in which most of the bias cancels, not a percentile interval of one.

    Args:
        scores: (n, K).
        truth: int (n,).
        weights: (B, n) or None.
        bins: at least 1; with 1 it is |accuracy - mean confidence|.

    Returns:
        (B,) or (1,), 0 .. 1.
    """
    _check(scores, truth)
    probability = softmax(scores, axis=1)
    confidence = probability.max(1)
    excess = (probability.argmax(1) == truth) - confidence
    order = np.argsort(confidence, kind="stable")
    starts = _starts(confidence[order])

    def block(w: np.ndarray) -> np.ndarray:
        w = w[:, order]
        mass = np.add.reduceat(w, starts, axis=1)
        gap = np.add.reduceat(w * excess[order], starts, axis=1)
        total = mass.sum(1, keepdims=True)
        middle = (np.cumsum(mass, axis=1) - mass / 2) / np.where(total > 0, total, 1.0)
        own = np.minimum((middle * bins).astype(int), bins - 1) + bins * np.arange(len(w))[:, None]
        summed = np.bincount(own.ravel(), gap.ravel(), minlength=bins * len(w)).reshape(len(w), bins)
        return _ratio(np.abs(summed).sum(1), total[:, 0])

    return _by_rows(block, weights, len(truth))


class CalibrationLine(NamedTuple):
    """Logistic recalibration, each (B,): logit P(positive) = intercept + slope score; ideal are 0 and 1.

    A slope below 1 means too extreme probabilities. `in_the_large` is the intercept with the slope held at 1: above 0
    when the classifier finds the positive class too rarely, as after training at another prevalence; ideal 0.
    """

    slope: np.ndarray
    intercept: np.ndarray
    in_the_large: np.ndarray


def calibration_line(scores: np.ndarray, positive: np.ndarray, weights: np.ndarray | None = None) -> CalibrationLine:
    """Slope and intercept of the logistic recalibration of log odds (Cox 1958, doi:10.1093/biomet/45.3-4.562).

    How to read them: Van Calster et al. 2019 (doi:10.1186/s12916-019-1466-7). Maximum likelihood by Newton steps.

    Args:
        scores: log odds float (n,), see `log_odds`.
        positive: bool (n,).
        weights: (B, n) or None.

    Returns:
        Three arrays (B,) or (1,). All NaN where a class has no weight; slope and intercept NaN also where the score
        parts the classes without an error, or so nearly that the slope grows beyond what can be computed: there is no
        finite slope then (Albert and Anderson 1984, doi:10.1093/biomet/71.1.1).
    """
    _check(scores)
    truth = positive.astype(bool)
    centre, spread = float(scores.mean()), float(scores.std()) or 1.0
    design = np.stack([np.ones(len(scores)), (scores - centre) / spread], axis=1)

    def block(w: np.ndarray, start: np.ndarray) -> np.ndarray:
        """Intercept and slope of the standardised score, and intercept in the large, (B, 3)."""
        low, high = _ends(scores, truth, w)
        below, above = _ends(scores, ~truth, w)
        fitted = np.full((len(w), 3), np.nan)
        both = np.isfinite(low) & np.isfinite(below)
        crossed = both & (low < above) & (below < high)
        fitted[crossed, :2] = _newton(design, np.zeros(len(scores)), truth, w[crossed], start[:2])
        fitted[both, 2:] = _newton(design[:, :1], scores, truth, w[both], start[2:])
        return fitted

    fitted = block(np.ones((1, len(scores))), np.zeros(3))
    if weights is not None:
        near = np.nan_to_num(fitted[0])  # a resample's line is near that of all images
        fitted = _by_rows(lambda w: block(w, near), weights, len(scores))
    slope = fitted[:, 1] / spread
    return CalibrationLine(slope, fitted[:, 0] - slope * centre, fitted[:, 2])


def temperature(scores: np.ndarray, truth: np.ndarray) -> float:
    """The T > 0 for which softmax(scores / T) has the highest likelihood (Guo et al. 2017, arXiv:1706.04599).

    Fit it on real validation images and divide the test scores by it; ranks, and so AUROC and accuracy, stay.

    Args:
        scores: (n, K).
        truth: int (n,).

    Returns:
        T, held within TEMPERATURES: the lower end when every image is right (more confidence is always better), the
        upper end when the scores are no better than chance.
    """
    _check(scores, truth)
    z = log_softmax(scores, axis=1)
    own = z[np.arange(len(truth)), truth]

    def pull(log_sharpness: float) -> float:
        """Derivative of the negative log-likelihood by 1 / T; it never falls, since the likelihood is concave."""
        return float(((softmax(z * np.exp(log_sharpness), axis=1) * z).sum(1) - own).mean())

    least, most = -np.log(TEMPERATURES[1]), -np.log(TEMPERATURES[0])
    if pull(least) >= 0:
        return TEMPERATURES[1]
    if pull(most) <= 0:
        return TEMPERATURES[0]
    return float(np.exp(-optimize.brentq(pull, least, most, xtol=1e-10)))


# --- within


def _check(scores: np.ndarray, truth: np.ndarray | None = None) -> None:
    if not len(scores):
        raise ValueError("there is no image to score")
    if not np.isfinite(scores).all():  # sorting would give it a rank, and argmax a class
        raise ValueError("scores must be finite")
    if truth is None:
        return
    if len(truth) != len(scores):
        raise ValueError(f"{len(truth)} truths for {len(scores)} scores")
    if truth.min() < 0 or truth.max() >= scores.shape[1]:
        raise ValueError(f"truth must be 0 .. {scores.shape[1] - 1}, got {truth.min()} .. {truth.max()}")


def _by_rows(block: Callable[[np.ndarray], np.ndarray], weights: np.ndarray | None, n: int) -> np.ndarray:
    """What `block` says of each row of weights, asked for some rows at a time."""
    w = np.ones((1, n)) if weights is None else weights
    if w.ndim != 2 or w.shape[1] != n:
        raise ValueError(f"weights must be (B, {n}), got {w.shape}")
    rows = max(1, _ELEMENTS // n)
    return np.concatenate([block(w[at : at + rows]) for at in range(0, len(w), rows)])


def _share(value: np.ndarray, among: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
    """Weighted mean of value (n,) among some images (n,)."""
    if len(value) != len(among):
        raise ValueError(f"{len(among)} truths for {len(value)} scores")
    inside = among.astype(np.float64)
    return _by_rows(lambda w: _ratio(w @ (inside * value), w @ inside), weights, len(among))


def _ratio(upper: np.ndarray, lower: np.ndarray) -> np.ndarray:
    return np.asarray(np.divide(upper, lower, out=np.full(np.shape(lower), np.nan), where=lower > 0))


def _starts(ordered: np.ndarray) -> np.ndarray:
    """Where each run of equal values starts."""
    return np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))


def _ends(scores: np.ndarray, among: np.ndarray, w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Least and greatest score that has weight, (B,) each; infinite where none has."""
    inside = among & (w > 0)
    return np.where(inside, scores, np.inf).min(1), np.where(inside, scores, -np.inf).max(1)


def _newton(design: np.ndarray, offset: np.ndarray, truth: np.ndarray, w: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Logistic regression for each row of weights: coefficients (B, k) of design (n, k); NaN where none was reached.

    No step moves a log odds by more than 1.5: by the self-concordance of the logistic likelihood (Bach 2010,
    doi:10.1214/09-EJS521) it then rises with every step, so Newton cannot run away and needs no line search.
    """
    k = design.shape[1]
    squares = (design[:, :, None] * design[:, None, :]).reshape(len(design), k * k)
    ends = design[[design[:, -1].argmin(), design[:, -1].argmax()]]  # a line moves most at an end
    beta, done = np.tile(start, (len(w), 1)), np.zeros(len(w), bool)
    going = np.arange(len(w))
    for _ in range(_NEWTON_STEPS):
        p = expit(offset + beta[going] @ design.T)
        expected = w[going] * p
        curve = ((expected * (1 - p)) @ squares).reshape(-1, k, k)
        pull = (w[going] * truth - expected) @ design
        # saturated: the classes are parted but for rounding, and the summit lies too far away
        solvable = np.linalg.det(curve) > 1e-12 * np.prod(np.diagonal(curve, axis1=1, axis2=2), axis=1)
        going = going[solvable]
        step = np.linalg.solve(curve[solvable], pull[solvable][:, :, None])[:, :, 0]
        moved = np.abs(step @ ends.T).max(1)
        beta[going] += step * np.minimum(1, 1.5 / np.maximum(moved, 1e-300))[:, None]
        done[going[moved < 1e-8]] = True
        going = going[moved >= 1e-8]
        if not len(going):
            break
    beta[~done] = np.nan
    return beta
