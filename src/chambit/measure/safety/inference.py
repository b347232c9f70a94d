"""Inference (WP29): does the released image most like a patient give away an attribute of that patient?

The attacker has a patient's image x and wants an attribute y of the patient. The answer is the attribute of the
released image most like x, and it is given only where the likeness is t or more:

    answered right when a(x) >= t and y(s*(x)) = y(x),   a(x) = max_s Q(x, s), s*(x) = argmax
    R = (r_T - r_H) / (1 - r_H),   r the share of all patients answered right

Attributes are the columns that both the released and the real images have: mostly the label alone. The label of a
released image is published on purpose; what is measured is whether it tells the label *of a real patient* better for
patients who were in training than for others. What it tells of both is how the disease looks: utility, no leak.

t is the k-th largest holdout score, k = floor(coverage (n_H + 1)). An attacker who answers for everybody is right
about most holdout patients too, and R then rests on the few that remain: with accuracy 0.8 and 1,000 patients a side
the interval of R is 0.17 wide to each side, with a coverage of 5 % it is 0.02. Both accuracies stand in the details.
Residual risk: `chambit.measure.residual`. With several attributes each gets its share of the error, and the widest
upper limit is reported. Known failure: an attribute that images do not show and the released table does not have.
"""

from typing import NamedTuple

import numpy as np

from chambit.core.evidence import Control, Finding, Frozen
from chambit.images.imageset import ImageSet
from chambit.measure import interval, residual
from chambit.measure.examination import Examination, Result, not_run
from chambit.measure.recognition import Copies, Recognised, copies, joined, recognised
from chambit.measure.search import Search, lacking, threshold

version = "1"
QUANTITIES = {"risk": "lower"}
ROLES = ("train", "holdout")


class Options(Frozen):
    """Settings come from the policy file.

    attributes: columns to infer, where real and released images have them; least: smallest train and holdout, in
    subjects whose attribute is known; least_auxiliary: smallest auxiliary set, in images; coverage: share of unrelated
    people for whom an answer is given; planted: patients copied for the control; control_recall: share of them that
    must be answered right.
    """

    attributes: tuple[str, ...]
    least: int
    least_auxiliary: int
    coverage: float
    planted: int
    control_recall: float
    level: float = 0.95


class Answers(NamedTuple):
    """Of the subjects of one role whose attribute is known: answered right from t on; right whatever the likeness."""

    confident: np.ndarray
    anyhow: np.ndarray


def measure(exam: Examination, options: Options) -> Result:
    """Residual risk of inference, with copies and their attributes added to the released images as the control."""
    name = f"inference@{version}"
    sizes = {"images": exam.count("synthetic")} | {f"{role} subjects": exam.subjects(role) for role in ROLES}
    if reason := exam.lacks({}, dict.fromkeys(ROLES, options.least)) or lacking(exam, options.least_auxiliary):
        return not_run(name, QUANTITIES, reason, sizes)
    names = [column for column in options.attributes if _usable(exam, column, options.least)]
    if not names:
        reason = (
            f"None of {', '.join(options.attributes)} is known with two values among the released images and for "
            f"{options.least} subjects of train and of holdout: there is nothing to infer."
        )
        return not_run(name, QUANTITIES, reason, sizes)
    search = Search.of(exam)
    found = recognised(search, exam, exam["synthetic"].grey(), ROLES)
    cut = threshold(np.sort(found["holdout"].score), options.coverage)
    planted = copies(exam, options.planted)
    more = joined(found, recognised(search, exam, planted.images, ROLES, exam.count("synthetic")))
    level = 1 - (1 - options.level) / len(names)
    findings = [_of(name, exam, column, found, more, planted, cut, level, sizes, options) for column in names]
    known = [finding for finding in findings if finding.interval is not None]
    worst = max(known, key=lambda finding: finding.interval.high) if known else findings[0]  # type: ignore[union-attr]
    each = [
        {"attribute": f.details["attribute"], "value": f.value, "low": f.interval.low, "high": f.interval.high}
        for f in known
        if f.interval is not None
    ]
    return Result((worst.model_copy(update={"details": worst.details | {"attributes": each}}),))


def _of(
    name: str,
    exam: Examination,
    column: str,
    found: dict[str, Recognised],
    more: dict[str, Recognised],
    planted: Copies,
    cut: float,
    level: float,
    sizes: dict[str, int],
    options: Options,
) -> Finding:
    """The finding of one attribute."""
    released = values(exam["synthetic"], column)
    with_copies = np.concatenate([released, values(exam["train"], column)[planted.source]])
    before = {role: answers(found[role], values(exam[role], column), released, cut) for role in ROLES}
    after = {role: answers(more[role], values(exam[role], column), with_copies, cut) for role in ROLES}
    attempt, again = (_attempt(side) for side in (before, after))
    known = values(exam["train"], column)[more["train"].image] != ""
    copied = np.isin(more["train"].subjects[known], planted.subjects)
    hit, of = int(after["train"].confident[copied].sum()), int(copied.sum())
    control = Control(
        name="copies with their attributes added to the released images",
        expected=f"at least {options.control_recall:.0%} of {of} copied patients are answered right "
        "(JPEG 50, noise 5 %)",
        observed=f"{hit} of {of}; train minus holdout goes from {attempt.excess:+.3f} to {again.excess:+.3f}",
        fired=of > 0 and hit >= options.control_recall * of,
    )
    right = {role: before[role].anyhow for role in ROLES}
    low, high = interval.newcombe(
        int(right["train"].sum()), len(right["train"]), int(right["holdout"].sum()), len(right["holdout"]), level
    )
    most = np.unique(released[released != ""], return_counts=True)
    return residual.finding(
        name,
        "risk",
        attempt,
        level,
        sizes,
        control,
        exam.inputs("train", "holdout", "auxiliary", "synthetic"),
        attribute=column,
        threshold=cut,
        coverage=options.coverage,
        train_accuracy=float(right["train"].mean()),
        holdout_accuracy=float(right["holdout"].mean()),
        accuracy_excess=[float(right["train"].mean() - right["holdout"].mean()), low, high],
        guessing=float(most[1].max() / most[1].sum()),
    )


def answers(found: Recognised, own: np.ndarray, released: np.ndarray, cut: float) -> Answers:
    """Which subjects are answered right, bool (n,), n those whose attribute is known.

    Args:
        found: the subjects.
        own: attribute of each of their images, str (N,), "" where it is not known.
        released: attribute of each released image, str (M,).
        cut: likeness from which an answer is given.
    """
    truth = own[found.image]
    known = truth != ""
    right = (released[found.released] == truth)[known]
    return Answers(right & (found.score >= cut)[known], right)


def values(images: ImageSet, column: str) -> np.ndarray:
    """A column as text, str (N,), "" where it is empty."""
    return np.array([str(value) for value in images.table[column].fill_null("").to_list()])


def _usable(exam: Examination, column: str, least: int) -> bool:
    """Whether real and released images have the attribute, with something to tell apart."""
    if any(column not in exam[role].table.columns for role in (*ROLES, "synthetic")):
        return False
    known = {role: values(exam[role], column) != "" for role in ROLES}
    enough = all(len(np.unique(exam[role].subjects[known[role]])) >= least for role in ROLES)
    return enough and len(set(values(exam["synthetic"], column)) - {""}) > 1


def _attempt(side: dict[str, Answers]) -> residual.Attempt:
    train, holdout = side["train"].confident, side["holdout"].confident
    return residual.Attempt(int(train.sum()), len(train), int(holdout.sum()), len(holdout))
