"""Which labels are doubtful: confident learning (Northcutt, Jiang and Chuang 2021, arXiv:1911.00068, section 3).

    t_j = mean of p_j(x) over images labelled j                         (threshold: the class's own confidence)
    C_ij = number of images labelled i with p_j(x) >= t_j, j the largest such p     (confident joint)
    Q_ij = C_ij / sum_j C_ij * n_i / n                                  (calibrated to the labels' counts)

p are probabilities of a classifier that saw no image of the same subject: principal components of the thumbnails, then
logistic regression with a quadratic penalty, in parts by subject. An image is suspected when its confident class j is
not its label i; it is ranked by the normalised margin p_i - max over k other than i of p_k, the lowest first.

Known failures: what the classifier cannot see in 32 x 32 pixels is no error to it, nor is a mistake made for all images
of a kind; where the classifier is weak, hard images are listed as errors. `auroc` says how weak it is.
"""

from typing import NamedTuple

import numpy as np

from chambit.prepare.quality.options import Options
from chambit.prepare.quality.typical import folds


class Doubts(NamedTuple):
    """What confident learning says of N images in K classes.

    Attributes:
        classes: names (K,).
        probabilities: (N, K), each image by a model of other subjects.
        suspected: class index of each image by confidence, or -1 where its label stands, int64 (N,).
        margin: normalised margin (N,), -1 to 1, lower is more doubtful.
        joint: estimated number of images labelled i that are of class j, float64 (K, K).
        auroc: of the probabilities for the labels as they are, mean over classes.
    """

    classes: np.ndarray
    probabilities: np.ndarray
    suspected: np.ndarray
    margin: np.ndarray
    joint: np.ndarray
    auroc: float


def doubts(
    x: np.ndarray, labels: np.ndarray, subjects: np.ndarray, options: Options, rng: np.random.Generator
) -> Doubts:
    """Confident learning on vectors float32 (N, d).

    Args:
        x: one vector for each image.
        labels: of at least two classes.
        subjects: parts are drawn by them.
        options: `label_axes`, `penalty`, `folds`.
        rng: draws the parts.
    """
    from sklearn.metrics import roc_auc_score

    classes, given = np.unique(labels, return_inverse=True)
    p = _probabilities(x, given, len(classes), folds(subjects, options.folds, rng), options)
    own = np.take_along_axis(p, given[:, None], axis=1)[:, 0]
    level = np.array([p[given == j, j].mean() for j in range(len(classes))])
    sure = np.where(p >= level, p, -1.0)
    counted = np.where(sure.max(1) > 0, sure.argmax(1), -1)
    other = p.copy()
    other[np.arange(len(p)), given] = -1
    suspected = np.where((counted >= 0) & (counted != given), counted, -1)
    areas = [roc_auc_score(given == j, p[:, j]) for j in range(len(classes))]
    return Doubts(classes, p, suspected, own - other.max(1), joint(given, counted, len(classes)), float(np.mean(areas)))


def joint(given: np.ndarray, counted: np.ndarray, classes: int) -> np.ndarray:
    """Calibrated confident joint (K, K) in images: rows sum to the labels' counts.

    Args:
        given: class index of each label, int (N,).
        counted: class index by confidence, -1 where none is confident, int (N,).
        classes: K.

    >>> joint(np.array([0, 0, 0, 1]), np.array([0, 1, -1, 1]), 2).tolist()
    [[1.5, 1.5], [0.0, 1.0]]
    """
    counts = np.zeros((classes, classes))
    seen = counted >= 0
    np.add.at(counts, (given[seen], counted[seen]), 1)
    empty = counts.sum(1) == 0
    counts[empty, empty] = 1  # nobody is confident about this class: its labels stand
    return np.asarray(counts / counts.sum(1, keepdims=True) * np.bincount(given, minlength=classes)[:, None])


def _probabilities(x: np.ndarray, given: np.ndarray, classes: int, part: np.ndarray, options: Options) -> np.ndarray:
    from sklearn.decomposition import PCA
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    p = np.zeros((len(x), classes))
    for k in np.unique(part):
        rest, at = np.flatnonzero(part != k), part == k
        axes = min(options.label_axes, len(rest) // 4, x.shape[1])
        model = make_pipeline(
            PCA(axes, svd_solver="covariance_eigh"),
            StandardScaler(),
            LogisticRegression(C=options.penalty, max_iter=1000),
        )
        model.fit(x[rest], given[rest])
        p[np.ix_(at, np.asarray(model.classes_))] = model.predict_proba(x[at])
    return p
