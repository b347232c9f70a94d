"""Source shortcut: can synthetic images be told from real ones, in each class, and by what?

A logistic regression on IBSI features and the power spectrum tells the two apart; folds are by subject. Beside stands
the same between training and holdout patients (the band). Most generators can be told from real images by something;
it does harm where real and synthetic images are mixed and the classes are not mixed alike, because then the source
stands for the label. `families` says what gives them away: each family of features alone.
"""

from collections.abc import Mapping

import numpy as np

from chambit.core.evidence import Band, Finding, Frozen
from chambit.measure import bands, interval
from chambit.measure.embed import power, radiomics
from chambit.measure.examination import Examination, Result, not_run

version = "1"
QUANTITIES = {"auroc": "lower"}
ROLES = ("train", "holdout", "synthetic")
STRENGTH = 0.1
FLOOR = 1e-3


class Options(Frozen):
    """folds: of the cross-validation; draws: bootstrap; splits: of the band; most: images a side; least: fewest
    subjects of each side; level: of the intervals.
    """

    folds: int = 5
    draws: int = 1000
    splits: int = 20
    most: int = 1000
    least: int = 20
    level: float = 0.95


def families() -> dict[str, np.ndarray]:
    """Family -> columns of the features used here.

    >>> sorted(families())[:2]
    ['glcm', 'glrlm']
    """
    names = [name.split("/")[1] for name in radiomics.FEATURES] + ["spectrum"] * power.BANDS
    return {family: np.flatnonzero(np.array(names) == family) for family in dict.fromkeys(names)}


def measure(exam: Examination, options: Options) -> Result:
    """AUROC of synthetic against unseen real images, whole, by class and by family of features."""
    name = f"shortcut@{version}"
    least = dict.fromkeys(ROLES, options.least)
    if reason := exam.lacks(least, subjects=least):
        return not_run(name, QUANTITIES, reason, {f"{role} images": exam.count(role) for role in ROLES})
    rng = np.random.default_rng(exam.context.seed("folds"))
    features, owners, labels = {}, {}, {}
    for role in ROLES:
        both = [exam.features(role, extractor) for extractor in ("radiomics", "power")]
        chosen = bands.pick(np.arange(exam.count(role)), options.most, rng)
        features[role] = np.concatenate(both, axis=1)[chosen]
        owners[role] = np.char.add(f"{role} ", exam[role].subjects[chosen])
        labels[role] = exam[role].labels[chosen]
    pair = [np.concatenate([table["holdout"], table["synthetic"]]) for table in (features, owners, labels)]
    truth = np.repeat([0, 1], [len(labels["holdout"]), len(labels["synthetic"])])
    value, boot = told_apart(pair[0], truth, pair[1], options, rng)
    by_class = {}
    for label in sorted(set(labels["holdout"].tolist()) & set(labels["synthetic"].tolist())):
        at = pair[2] == label
        if min(np.bincount(truth[at], minlength=2)) >= options.least:
            by_class[label] = _row(*told_apart(pair[0][at], truth[at], pair[1][at], options, rng), options)
    by_family = {
        family: _row(*told_apart(pair[0][:, columns], truth, pair[1], options, rng), options)
        for family, columns in families().items()
    }
    finding = Finding(
        measure=name,
        quantity="auroc",
        value=value,
        interval=interval.percentile(boot, options.level, f"bootstrap of subjects, {options.folds} folds by subject"),
        n={"holdout images": len(labels["holdout"]), "synthetic images": len(labels["synthetic"])},
        null=0.5,
        direction="lower",
        band=_band(features, owners, options, rng),
        details={"classes": by_class, "families": by_family},
        inputs=exam.inputs(*ROLES),
    )
    return Result((finding,))


def told_apart(
    features: np.ndarray, truth: np.ndarray, owners: np.ndarray, options: Options, rng: np.random.Generator
) -> tuple[float, np.ndarray]:
    """AUROC of out-of-fold scores and its bootstrap by subject."""
    from sklearn.linear_model import LogisticRegression

    fold = interval.groups(owners, options.folds, rng)
    scores = np.zeros(len(truth))
    for k in range(options.folds):
        seen, unseen = features[fold != k], features[fold == k]
        centre, scale = seen.mean(0), np.maximum(seen.std(0), FLOOR)
        model = LogisticRegression(C=STRENGTH, max_iter=500).fit((seen - centre) / scale, truth[fold != k])
        scores[fold == k] = model.decision_function((unseen - centre) / scale)
    weights = interval.subject_weights(owners, options.draws, rng)
    area = interval.Auroc.of(scores, truth == 1)
    return float(area()[0]), area(weights)


def _band(
    features: Mapping[str, np.ndarray],
    owners: Mapping[str, np.ndarray],
    options: Options,
    rng: np.random.Generator,
) -> Band:
    """The same between two halves of the real patients."""
    real = np.concatenate([features[role] for role in ROLES[:2]])
    whose = np.concatenate([owners[role] for role in ROLES[:2]])
    n = bands.common_size(len(features["synthetic"]), whose)

    def between(one: np.ndarray, other: np.ndarray) -> list[float]:
        both = np.concatenate([one, other])
        truth = np.repeat([0, 1], [len(one), len(other)])
        few = options.model_copy(update={"draws": 1})
        return [told_apart(real[both], truth, whose[both], few, rng)[0]]

    (band,) = bands.real_versus_real(between, whose, n, options.splits, rng)
    return band


def _row(value: float, boot: np.ndarray, options: Options) -> dict[str, float]:
    spread = interval.percentile(boot, options.level, "")
    return {"value": value, "low": spread.low, "high": spread.high}
