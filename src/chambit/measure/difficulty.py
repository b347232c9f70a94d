"""Difficulty calibration: what a network says of an image beyond what any image of that look would make it say.

An easy image (smooth, typical) is rebuilt well by every network, member or not. The score is therefore regressed on
texture features by ridge regression, fitted on auxiliary images alone, which no side of the comparison has seen:

    z(x) = (score(x) - f_A(x)) / sd_A,   f_A ridge on features of the auxiliary images, sd_A of its residuals there

The idea is that of difficulty calibration by a reference model (Watson et al. 2022, arXiv:2111.08440), with the
population's features in the place of a second network. Several scores are joined by the mean of their z: a fixed rule,
so that none is picked after it was seen. Known failures: a look that the texture features do not see stays in the
score; and with few auxiliary images the regression is timid. Where members were made easier until the raw
AUC was 0.71 and nothing was remembered, 0.52 remained with 300 auxiliary images, 0.54 with 100, 0.57 with 50.
"""

from typing import NamedTuple

import numpy as np
import polars as pl
from sklearn.linear_model import RidgeCV

from chambit.core.errors import InputError, Problem
from chambit.measure.examination import Examination
from chambit.measure.recognition import best_of_each

ROLES = ("train", "holdout", "auxiliary")
ALPHAS = tuple(10.0 ** np.arange(-2, 6))


class Probed(NamedTuple):
    """Scores of train and holdout subjects, each the subject's best image, float64 (n,), by role.

    Attributes:
        joined: mean of the calibrated scores.
        calibrated, raw: each score alone, by name.
    """

    joined: dict[str, np.ndarray]
    calibrated: dict[str, dict[str, np.ndarray]]
    raw: dict[str, dict[str, np.ndarray]]


def probed(exam: Examination, extractor: str) -> Probed:
    """Calibrate every probe of an examination.

    Raises:
        InputError: when a probe lacks a column or a role, names an image twice or one that is not there, holds what is
            no number, or covers other images than the other probes. All problems are told at once.
    """
    probes = dict(sorted(exam.probes.items()))
    where = {role: {name: k for k, name in enumerate(exam[role].table["id"])} for role in ROLES}
    if problems := [problem for name, table in probes.items() for problem in _problems(name, table, where)]:
        raise InputError("What the network says of real images cannot be used.", problems)
    covered = {role: _ids(next(iter(probes.values())), role) for role in ROLES}
    for name, table in probes.items():
        if any(set(_ids(table, role)) != set(covered[role]) for role in ROLES):
            problem = Problem(f"probe '{name}'", "it covers other images than the first probe", "probe the same images")
            raise InputError("The probes cannot be joined.", [problem])
    at = {role: np.array([where[role][one] for one in ids]) for role, ids in covered.items()}
    look = {role: exam.features(role, extractor)[at[role]] for role in ROLES}
    raw = {name: {role: _scores(table, role, covered[role]) for role in ROLES} for name, table in probes.items()}
    calibrated = {name: calibrate(scores, look) for name, scores in raw.items()}
    subjects = {role: exam[role].subjects[at[role]] for role in ROLES[:2]}
    mean = {role: np.mean([scores[role] for scores in calibrated.values()], axis=0) for role in ROLES[:2]}

    def per_subject(scores: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {role: scores[role][best_of_each(names, scores[role])[1]] for role, names in subjects.items()}

    return Probed(
        per_subject(mean),
        {name: per_subject(scores) for name, scores in calibrated.items()},
        {name: per_subject(scores) for name, scores in raw.items()},
    )


def calibrate(scores: dict[str, np.ndarray], look: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Residuals from a ridge regression on the look of the auxiliary images, in their standard deviations.

    Args:
        scores: by role, float64 (n,).
        look: features by role, float64 (n, d).

    Returns:
        By role, float64 (n,).
    """
    centre, spread = look["auxiliary"].mean(0), np.maximum(look["auxiliary"].std(0), 1e-12)
    model = RidgeCV(alphas=ALPHAS).fit((look["auxiliary"] - centre) / spread, scores["auxiliary"])
    rest = {role: scores[role] - model.predict((look[role] - centre) / spread) for role in scores}
    sd = float(rest["auxiliary"].std())
    return {role: values / (sd if sd > 0 else 1.0) for role, values in rest.items()}


def _ids(table: pl.DataFrame, role: str) -> list[str]:
    return [str(one) for one in table.filter(pl.col("role") == role)["id"]]


def _scores(table: pl.DataFrame, role: str, ids: list[str]) -> np.ndarray:
    mine = table.filter(pl.col("role") == role)
    known = dict(zip(mine["id"].cast(pl.String), mine["score"].cast(pl.Float64), strict=True))
    return np.array([known[one] for one in ids])


def _problems(name: str, table: pl.DataFrame, where: dict[str, dict[str, int]]) -> list[Problem]:
    place, remedy = f"probe '{name}'", "probe the images of this examination again"
    if missing := [column for column in ("id", "role", "score") if column not in table.columns]:
        return [Problem(place, f"the column {', '.join(missing)} is missing", "give id, role and score")]
    found = []
    if not table["score"].dtype.is_numeric():
        found.append(Problem(place, f"its scores are {table['score'].dtype}, not numbers", remedy))
    elif bad := int((~np.isfinite(table["score"].cast(pl.Float64).to_numpy())).sum()):
        found.append(Problem(place, f"{bad} of {len(table)} scores are not numbers", remedy))
    for role in ROLES:
        ids = _ids(table, role)
        if not ids:
            what = f"it has no image of the role '{role}'"
            found.append(Problem(place, what, "probe train, holdout and auxiliary images"))
        if len(set(ids)) < len(ids):
            found.append(Problem(place, f"images of the role '{role}' are in it twice", remedy))
        if strange := len(set(ids) - set(where[role])):
            found.append(Problem(place, f"{strange} images of the role '{role}' are not in the examination", remedy))
    return found
