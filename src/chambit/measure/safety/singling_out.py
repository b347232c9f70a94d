"""Singling out (WP29): do released images point at one training patient and at nobody else?

Each released image s is a predicate on people, "s is the released image most like you, with a similarity of t or more".
It singles out a patient when it holds for that one alone among all real patients at hand (train and holdout together):

    a(x) = max_s Q(x, s),   s*(x) = argmax
    x is singled out when a(x) >= t and s*(x') differs from s*(x) for all other x' with a(x') >= t
    R = (r_T - r_H) / (1 - r_H),   r the share of patients singled out

t is the k-th largest holdout score, k = floor(weight (n_H + 1)): all predicates together hold for a share `weight` of
people nobody was trained on. (Auxiliary images cannot set it: the describer knows them by heart, and at 100 images ten
times as many others passed their threshold.) The weight must be small: a predicate that holds for 1 / N of N people,
which makes chance largest (1 / e), isolates the patient it was copied from no more often than chance, because somebody
else fits as well; those of Cohen and Nissim (2020, arXiv:1904.06009) are of negligible weight for that reason. Where
nothing leaks, train and holdout patients are exchangeable, mode collapse or not. Residual risk:
`chambit.measure.residual`. Known failures: copies that the search cannot see (`chambit.measure.descriptors`), and leaks
spread so thin that nobody is among the nearest.
"""

import numpy as np

from chambit.core.evidence import Control, Frozen
from chambit.measure import residual
from chambit.measure.examination import Examination, Result, not_run
from chambit.measure.recognition import Recognised, copies, joined, recognised
from chambit.measure.search import Search, lacking, threshold

version = "1"
QUANTITIES = {"risk": "lower"}
ROLES = ("train", "holdout")


class Options(Frozen):
    """Settings come from the policy file.

    least: smallest train and holdout, in subjects; least_auxiliary: smallest auxiliary set, in images;
    weight: share of unrelated people for whom any predicate holds; planted: patients copied for the control;
    control_recall: share of them that must be singled out.
    """

    least: int
    least_auxiliary: int
    weight: float
    planted: int
    control_recall: float
    level: float = 0.95


def measure(exam: Examination, options: Options) -> Result:
    """Residual risk of being singled out, with copies added to the released images as the control."""
    name = f"singling_out@{version}"
    sizes = {"images": exam.count("synthetic")} | {f"{role} subjects": exam.subjects(role) for role in ROLES}
    if reason := exam.lacks({}, dict.fromkeys(ROLES, options.least)) or lacking(exam, options.least_auxiliary):
        return not_run(name, QUANTITIES, reason, sizes)
    search = Search.of(exam)
    found = recognised(search, exam, exam["synthetic"].grey(), ROLES)
    cut = threshold(np.sort(found["holdout"].score), options.weight)
    attempt = _attempt(found, cut)
    planted = copies(exam, options.planted)
    more = joined(found, recognised(search, exam, planted.images, ROLES, exam.count("synthetic")))
    again = _attempt(more, cut)
    alone = more["train"].subjects[singled_out(more, cut)["train"]]
    seen = int(np.isin(planted.subjects, alone).sum())
    control = Control(
        name="copies added to the released images",
        expected=f"at least {options.control_recall:.0%} of {len(planted.subjects)} copied patients are singled out "
        "(JPEG 50, noise 5 %)",
        observed=f"{seen} of {len(planted.subjects)}; train minus holdout goes from {attempt.excess:+.3f} "
        f"to {again.excess:+.3f}",
        fired=seen >= options.control_recall * len(planted.subjects),
    )
    inputs = exam.inputs("train", "holdout", "auxiliary", "synthetic")
    firing = {f"{role}_firing": int((found[role].score >= cut).sum()) for role in ROLES}
    return Result(
        (
            residual.finding(
                name, "risk", attempt, options.level, sizes, control, inputs,
                threshold=cut, weight=options.weight, **firing,
            ),
        )
    )  # fmt: skip


def singled_out(found: dict[str, Recognised], cut: float) -> dict[str, np.ndarray]:
    """Whether each subject of train and holdout is the only one of both to whom their released image points, bool."""
    released = np.concatenate([found[role].released for role in ROLES])
    fires = np.concatenate([found[role].score >= cut for role in ROLES])
    pointed = np.bincount(released[fires], minlength=int(released.max()) + 1)
    alone = fires & (pointed[released] == 1)
    train = len(found["train"].score)
    return {"train": alone[:train], "holdout": alone[train:]}


def _attempt(found: dict[str, Recognised], cut: float) -> residual.Attempt:
    alone = singled_out(found, cut)
    return residual.Attempt(
        int(alone["train"].sum()), len(alone["train"]), int(alone["holdout"].sum()), len(alone["holdout"])
    )
