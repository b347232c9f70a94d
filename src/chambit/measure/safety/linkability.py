"""Linkability (WP29): can a released image be tied to one real patient, or two released images to the same one?

Two views of a released image s look for its patient among all real patients at hand (train and holdout together): the
whitened pixels and the log-polar spectrum, which have different invariances. s is linked when both name the same one:

    i_v(s) = subject of argmax_x cos(e_v(s), e_v(x)),   s is linked to x when i_1(s) = i_2(s) = x
    risk: R of the patients with a linked image;   within: R of those with two or more, which are linked to each other

R is the residual risk of train over holdout patients (`chambit.measure.residual`). The unit is the patient: that
several images come to one patient, as they do when a generator repeats itself, counts once. One gallery for both sides
makes train and holdout patients exchangeable where nothing leaks, so no correction for its size is needed.
Two views can agree on a stranger by chance; the holdout shows how often. Known failures: copies that were turned, which
the pixels do not see here; and noise on small images, which the spectrum does not see through (with 5 % it named 90 %
of the copied patients at 64 pixels and 17 % at 28), so the control plants copies without noise.
"""

import numpy as np

from chambit.core.evidence import Control, Frozen
from chambit.measure import residual
from chambit.measure.examination import Examination, Result, not_run
from chambit.measure.recognition import copies
from chambit.measure.search import Search, lacking

version = "1"
QUANTITIES = {"risk": "lower", "within": "lower"}
BLOCK = 256


class Options(Frozen):
    """Settings come from the policy file.

    least: smallest train and holdout, in subjects; least_auxiliary: smallest auxiliary set, in images;
    planted: patients copied for the control, twice each; control_recall: share of them that must be linked.
    """

    least: int
    least_auxiliary: int
    planted: int
    control_recall: float
    level: float = 0.95


def measure(exam: Examination, options: Options) -> Result:
    """Residual risk of being linked to an image and to two, with pairs of copies as the control."""
    name = f"linkability@{version}"
    real = ("train", "holdout")
    sizes = {"images": exam.count("synthetic")} | {f"{role} subjects": exam.subjects(role) for role in real}
    if reason := exam.lacks({}, dict.fromkeys(real, options.least)) or lacking(exam, options.least_auxiliary):
        return not_run(name, QUANTITIES, reason, sizes)
    describer = Search.of(exam).describer
    people = [describer.describe(exam[role].grey()) for role in real]
    views = [np.concatenate([getattr(part, view) for part in people]) for view in ("whitened", "mellin")]
    subjects, member = np.unique(np.concatenate([exam[role].subjects for role in real]), return_inverse=True)
    trained = np.isin(subjects, exam["train"].subjects)

    def links(images: np.ndarray) -> np.ndarray:
        """Linked images of each subject, int64 (n,)."""
        seen = describer.describe(images)
        first, second = (
            member[nearest(mine, view)] for mine, view in zip((seen.whitened, seen.mellin), views, strict=True)
        )
        return np.bincount(first[first == second], minlength=len(subjects))

    linked = links(exam["synthetic"].grey())
    planted = [copies(exam, options.planted, (family,)) for family in ("jpeg50", "blur")]
    copied = np.searchsorted(subjects, planted[0].subjects)
    added = np.sum([links(one.images) for one in planted], axis=0)
    findings = []
    for quantity, least in (("risk", 1), ("within", 2)):
        attempt, again = (_attempt(count >= least, trained) for count in (linked, linked + added))
        hit = int((added[copied] >= least).sum())
        control = Control(
            name="copies added to the released images, two of each patient",
            expected=f"at least {options.control_recall:.0%} of {len(copied)} copied patients are linked by "
            f"{'one copy' if least == 1 else 'both copies'} (one JPEG 50, one blurred)",
            observed=f"{hit} of {len(copied)}; train minus holdout goes from {attempt.excess:+.3f} "
            f"to {again.excess:+.3f}",
            fired=hit >= options.control_recall * len(copied),
        )
        details = {"images_linked": int(linked.sum()), "gallery": len(subjects)}
        inputs = exam.inputs("train", "holdout", "auxiliary", "synthetic")
        findings.append(residual.finding(name, quantity, attempt, options.level, sizes, control, inputs, **details))
    return Result(tuple(findings))


def nearest(queries: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Position of the most alike reference for each query, int64 (N,).

    Args:
        queries: unit vectors float32 (N, d).
        reference: unit vectors float32 (M, d).

    >>> nearest(np.eye(2, dtype=np.float32)[[1, 0]], np.eye(2, dtype=np.float32)).tolist()
    [1, 0]
    """
    blocks = [queries[k : k + BLOCK] @ reference.T for k in range(0, len(queries), BLOCK)]
    return np.concatenate([block.argmax(1) for block in blocks]).astype(np.int64)


def _attempt(hit: np.ndarray, trained: np.ndarray) -> residual.Attempt:
    return residual.Attempt(
        int((hit & trained).sum()), int(trained.sum()), int((hit & ~trained).sum()), int((~trained).sum())
    )
