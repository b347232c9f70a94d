"""Frozen-feature heads: a logistic regression on an extractor's features, trained on each arm; seconds, deterministic.

They show whether what was found with a network trained end to end holds for other eyes. A head on features that miss a
generator's faults can be kinder to a set than a network, so it never decides.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from chambit.images.imageset import ImageSet
from chambit.measure import interval, similarity
from chambit.measure.endpoints import Resampling
from chambit.measure.examination import Examination
from chambit.measure.extractors import about, embedded

STRENGTH = 0.1
"""Inverse penalty of the logistic regression; features are standardised by each arm's own training images."""


def rows(
    exam: Examination,
    extractors: Sequence[str],
    sets: Mapping[str, ImageSet],
    classes: Sequence[str],
    resampling: Resampling,
    level: float,
) -> list[dict[str, Any]]:
    """For each extractor: AUROC on the test images of each arm, and the loss of `synthetic` against `real`, paired.

    Args:
        exam: with test images.
        extractors: which features.
        sets: arm -> the images it is trained on; with `real` and `synthetic`.
        classes: labels in order.
        resampling: truth of the test images and bootstrap weights.
        level: of the intervals.
    """
    out = []
    for name in extractors:
        test = embedded(exam, exam["test"], name)
        scores = {arm: _scores(embedded(exam, images, name), images.labels, test, classes)
                  for arm, images in sets.items()}  # fmt: skip
        boot = {arm: interval.macro_auroc(found, resampling.truth, resampling.weights)
                for arm, found in scores.items()}  # fmt: skip
        area = {arm: float(interval.macro_auroc(found, resampling.truth)[0]) for arm, found in scores.items()}
        spread = interval.percentile(boot["real"] - boot["synthetic"], level, "bootstrap of test subjects")
        loss = {"value": area["real"] - area["synthetic"], "low": spread.low, "high": spread.high}
        out.append(about(exam, name) | {"loss": loss, "arms": area})
    return out


def _scores(features: np.ndarray, labels: np.ndarray, test: np.ndarray, classes: Sequence[str]) -> np.ndarray:
    """Log-probabilities (n, K) of the test images."""
    from sklearn.linear_model import LogisticRegression

    centre, scale = features.mean(0), np.maximum(features.std(0), similarity.FLOOR)
    truth = np.array([classes.index(label) for label in labels])
    model = LogisticRegression(C=STRENGTH, max_iter=2000).fit((features - centre) / scale, truth)
    return np.asarray(model.predict_log_proba((test - centre) / scale))
