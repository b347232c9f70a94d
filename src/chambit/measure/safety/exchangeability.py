"""Exchangeability: can train and holdout be told apart? If so, every test that compares them is biased.

A logistic regression on texture features, five folds by subject, predicts train against holdout; the AUROC of its
out-of-fold scores must cover 0.5. Membership tests on splits that differ by site or date find the split, not the leak
("split bias"). Control: the same classifier must tell the holdout from a copy of it brightened by a fraction of its
spread.
"""

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from chambit.core.evidence import Control, Finding, Frozen, Interval
from chambit.measure import interval
from chambit.measure.examination import Examination, Result, not_run

version = "1"
QUANTITIES = {"auroc": "lower"}


class Options(Frozen):
    """extractor: which features; folds: of the cross-validation; draws: bootstrap; shift: of the control, in sd."""

    extractor: str = "texture"
    folds: int = 5
    draws: int = 1000
    shift: float = 0.5
    level: float = 0.95


def measure(exam: Examination, options: Options) -> Result:
    """AUROC of telling train from holdout."""
    name = f"exchangeability@{version}"
    # folds are dealt by subject, and each needs both sides to train on
    least = dict.fromkeys(("train", "holdout"), 2 * options.folds)
    if reason := exam.lacks(least, subjects=least):
        return not_run(name, QUANTITIES, reason, {f"{role} images": exam.count(role) for role in least})
    train, holdout = (exam.features(role, options.extractor) for role in ("train", "holdout"))
    subjects = np.concatenate([exam["train"].subjects, exam["holdout"].subjects])
    truth = np.repeat([1, 0], [len(train), len(holdout)])
    rng = np.random.default_rng(exam.context.seed("folds"))
    value, spread = _told_apart(np.concatenate([train, holdout]), truth, subjects, options, rng)
    shifted = holdout + options.shift * holdout.std(0)
    half = interval.groups(exam["holdout"].subjects, 2, rng) == 0
    again, reach = _told_apart(
        np.concatenate([shifted[half], holdout[~half]]),
        np.repeat([1, 0], [int(half.sum()), int((~half).sum())]),
        np.concatenate([exam["holdout"].subjects[half], exam["holdout"].subjects[~half]]),
        options,
        rng,
    )
    control = Control(
        name="half the holdout shifted",
        expected=f"features moved by {options.shift:g} sd are told apart: interval above 0.5",
        observed=f"AUROC {again:.3f} ({reach.low:.3f} to {reach.high:.3f})",
        fired=reach.low > 0.5,
    )
    finding = Finding(
        measure=name,
        quantity="auroc",
        value=value,
        interval=spread,
        n={"train images": len(train), "holdout images": len(holdout), "subjects": len(np.unique(subjects))},
        null=0.5,
        direction="lower",
        control=control,
        details={"extractor": options.extractor},
        inputs=exam.inputs("train", "holdout"),
    )
    return Result((finding,))


def _told_apart(
    features: np.ndarray, truth: np.ndarray, subjects: np.ndarray, options: Options, rng: np.random.Generator
) -> tuple[float, Interval]:
    fold = interval.groups(subjects, options.folds, rng)
    score = np.empty(len(truth))
    for k in range(options.folds):
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=500))
        model.fit(features[fold != k], truth[fold != k])
        score[fold == k] = model.decision_function(features[fold == k])
    prepared = interval.Auroc.of(score, truth == 1)
    boot = prepared(interval.subject_weights(subjects, options.draws, rng))
    return float(prepared()[0]), interval.percentile(boot, options.level, "bootstrap of subjects")
