"""Border-only classifier: can the label be read from the frame of an image, where no finding lies?

The outer tenth of each side is all that a sparse logistic regression sees (a mark is a few pixels among many: a dense
one found the control's mark with an AUROC of 0.61 to 0.88 where the sparse one had 0.985). It learns from half of the
subjects and is tested on the other half, once: cross-validated scores vary more than a bootstrap of them says. A
generator or its refinement that leaves a mark in one class only makes a label that any network will learn instead of
the finding: in a set of prompted chest radiographs cutting the lower 30 % away changed AUROC on real patients from
0.853 to 0.923 (arXiv:2512.00428). Real images may carry something there, too (a marker, the habitus), so the same is
measured on them: `excess` is what the synthetic set has beyond the real one.

Known failure: blind to marks inside the frame's inner edge, and to any that a linear model of block means cannot see.
"""

import numpy as np
from scipy import ndimage

from chambit.core.evidence import Control, Finding, Frozen
from chambit.images.imageset import ImageSet
from chambit.measure import interval
from chambit.measure.endpoints import ordered
from chambit.measure.examination import Examination, Result, not_run

version = "1"
QUANTITIES = {"auroc": "lower", "excess": "lower"}
STRENGTH = 0.3
"""Inverse penalty of the logistic regression, on standardised features."""
FLOOR = 1e-3
SIDE = 64
"""Larger images are seen in blocks, so that the frame has no more features than that of this side."""


class Options(Frozen):
    """width: of the frame, share of the side; draws: bootstrap; mark: brightness of the
    control's mark, in grey levels of [0, 1]; control: AUROC that it must reach; least: fewest subjects of each class;
    level: of the intervals.
    """

    width: float = 0.1
    draws: int = 1000
    mark: float = 0.05
    control: float = 0.9
    least: int = 20
    level: float = 0.95


def measure(exam: Examination, options: Options) -> Result:
    """AUROC of the label from the synthetic set's frames, and how much it exceeds that from real frames."""
    name = f"border@{version}"
    roles = ("train", "synthetic")
    if reason := _missing(exam, options):
        return not_run(name, QUANTITIES, reason, {f"{role} images": exam.count(role) for role in roles})
    classes = ordered(sorted(set(exam["train"].labels.tolist())), "")
    rng = np.random.default_rng(exam.context.seed("folds"))
    seen = {role: _read(exam[role], frames(exam[role].grey(), options), classes, options, rng) for role in roles}
    grey = exam["train"].grey()
    grey[exam["train"].labels == classes[-1], :3, :3] += np.float32(options.mark)
    planted = _read(exam["train"], frames(np.clip(grey, 0, 1), options), classes, options, rng)[0]
    control = Control(
        name="a mark of 3 x 3 pixels in a corner of one class of the real images",
        expected=f"AUROC of at least {options.control:g}",
        observed=f"{planted:.3f}",
        fired=planted >= options.control,
    )
    (real, real_boot), (made, made_boot) = (seen[role] for role in roles)
    method = "bootstrap of the half of the subjects that was not learned from"
    common = {
        "measure": name,
        "n": {f"{role} images": exam.count(role) for role in roles},
        "direction": "lower",
        "control": control,
        "details": {"real": real, "synthetic": made, "width": options.width},
        "inputs": exam.inputs(*roles),
    }
    return Result((
        Finding(quantity="auroc", value=made, null=0.5,
                interval=interval.percentile(made_boot, options.level, method), **common),
        Finding(quantity="excess", value=made - real, null=0.0,
                interval=interval.percentile(made_boot - real_boot, options.level, method), **common),
    ))  # fmt: skip


def frames(images: np.ndarray, options: Options) -> np.ndarray:
    """Mean of each block of the frame, of the image and of the image less its blur, float64 (N, 2 blocks).

    Less its blur, because a faint mark is small beside how patients differ there. Images are float32 (N, H, W) in
    [0, 1]; a block that reaches into the middle counts with its pixels in the frame only.
    """
    h, w = images.shape[1:]
    high, wide = max(1, round(options.width * h)), max(1, round(options.width * w))
    inside = np.ones((h, w), bool)
    inside[high : h - high, wide : w - wide] = False
    # the blur is a mean over pixels of the frame alone, so that nothing of what it surrounds leaks in
    blurred = ndimage.gaussian_filter(np.where(inside, images, 0), (0, 1, 1))
    reach = ndimage.gaussian_filter(inside.astype(np.float32), 1)
    sharp = images - blurred / np.where(inside, reach, 1)
    rows, columns = np.indices((h, w)) // max(1, round(max(h, w) / SIDE))
    kept, where = np.unique((rows * w + columns)[inside], return_inverse=True)
    out = []
    for picture in (images, sharp):
        sums = np.zeros((len(kept), len(images)))
        np.add.at(sums, where, picture[:, inside].astype(np.float64).T)
        out.append(sums.T / np.bincount(where))
    return np.concatenate(out, axis=1)


def _read(
    images: ImageSet, features: np.ndarray, classes: list[str], options: Options, rng: np.random.Generator
) -> tuple[float, np.ndarray]:
    """AUROC on the subjects that were not learned from, and its bootstrap."""
    from sklearn.linear_model import LogisticRegression

    truth = np.array([classes.index(label) for label in images.labels])
    learned = interval.groups(images.subjects, 2, rng) == 0
    seen, unseen = features[learned], features[~learned]
    centre, scale = seen.mean(0), np.maximum(seen.std(0), FLOOR)
    scores = np.zeros((len(unseen), len(classes)))
    for column in range(len(classes)):
        model = LogisticRegression(C=STRENGTH, l1_ratio=1.0, solver="liblinear", random_state=0)
        model.fit((seen - centre) / scale, truth[learned] == column)
        scores[:, column] = model.decision_function((unseen - centre) / scale)
    weights = interval.subject_weights(images.subjects[~learned], options.draws, rng)
    boot = interval.macro_auroc(scores, truth[~learned], weights)
    return float(interval.macro_auroc(scores, truth[~learned])[0]), boot


def _missing(exam: Examination, options: Options) -> str:
    for role in ("train", "synthetic"):
        labels, subjects = exam[role].labels, exam[role].subjects
        if len(set(labels.tolist())) < 2:
            return f"The role '{role}' has one class only; there is no label to read."
        for label in sorted(set(labels.tolist())):
            if (count := len(np.unique(subjects[labels == label]))) < options.least:
                return (
                    f"The role '{role}' has {count} subjects of class '{label}'; at least {options.least} are needed."
                )
    if set(exam["train"].labels.tolist()) != set(exam["synthetic"].labels.tolist()):
        return "The training and the synthetic images do not have the same classes."
    return ""
