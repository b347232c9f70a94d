"""What may be claimed of a loss = quality of real training - quality of synthetic training, at a margin fixed before.

    non-inferiority   H0: loss >= margin         shown when the one-sided upper bound of the loss is below the margin
    equivalence       H0: |loss| >= margin       shown when the 90 % interval lies inside (-margin, margin): two
                                                 one-sided tests at 5 % (Schuirmann 1987, doi:10.1007/BF01068419)
    superiority       H0: loss >= 0              shown when the one-sided lower bound of the gain = -loss is above 0

(percentages for level 0.95). Of a quality where lower is better, such as the Brier score, the loss is synthetic minus
real. P-value and interval always agree: p <= 1 - level exactly when the interval shows the claim.

Two ways to the same answer. `Hypothesis.normal` takes a value and its standard error, as from `delong`.
`Hypothesis.bootstrap` takes draws and inverts their percentile interval: p = (1 + draws that satisfy H0) / (1 + draws),
which is never 0 (Davison and Hinkley 1997, doi:10.1017/CBO9780511802843, chapter 4). Chosen over the normal law with
the bootstrap's standard error because the percentile interval is what is reported, so that number and verdict cannot
part; because it needs no symmetry near a perfect score; and because it holds for quantities without a formula.

Known failures: for a loss of AUROC (0.90 to 0.85, margin 0.05, level 0.95, 2 images a patient, 30 % with the finding)
bootstrap, normal and DeLong all reject at the boundary about 6 % of the time with 24 diseased patients, 8 % with 12 and
10 % with 6: few patients leave the spread uncertain, and it falls with the loss that is seen. When neither classifier
errs on the test images the error is 0 and every claim but superiority passes. So a least number of test subjects of
each class must be asked for elsewhere.
"""

from typing import Literal

import numpy as np
from pydantic import Field
from scipy.special import ndtr, ndtri  # the normal law without the cost of scipy.stats

from chambit.core.errors import InputError, Problem
from chambit.core.evidence import Frozen, Interval

Kind = Literal["non-inferiority", "equivalence", "superiority"]


class Decision(Frozen):
    """What a test of a hypothesis says.

    Attributes:
        p: p-value, 0 .. 1.
        interval: the interval that decides, of `of`. Its end nearest to H0 is the least margin that would have been
            met: `high` for non-inferiority, the greater of |low| and |high| for equivalence.
        of: what the interval is of; a gain is minus the loss.
        shown: whether the claim is shown at the level asked for.
    """

    p: float = Field(ge=0, le=1)
    interval: Interval
    of: Literal["loss", "gain"]
    shown: bool


class Hypothesis(Frozen):
    """A claim about a loss, fixed before the data are seen.

    Attributes:
        kind: which claim.
        margin: largest loss that would still be accepted, above 0, in the unit of the loss; superiority ignores it.
        level: confidence of each one-sided test, 0.95 for 5 % error.
        reach: largest |loss| there can be, the open end of a one-sided interval: 1 for AUROC, 2 for Brier.
    """

    kind: Kind
    margin: float = Field(gt=0)
    level: float = Field(default=0.95, gt=0.5, lt=1)
    reach: float = Field(default=1.0, gt=0)

    def normal(self, value: float, error: float, method: str = "normal") -> Decision:
        """Decide from the observed loss and its standard error.

        Args:
            value: observed loss.
            error: its standard error, at least 0.
            method: how the error was found, for the interval.

        Raises:
            ValueError: when value or error is no number, or the error is negative.
        """
        if not (np.isfinite(value) and np.isfinite(error) and error >= 0):
            raise ValueError(f"value and error must be finite and error at least 0, got {value} and {error}")
        away = float(ndtri(self.level)) * error
        if self.kind == "equivalence":
            p = max(_below(value - self.margin, error), _below(-value - self.margin, error))
        else:
            p = _below(value - self._edge, error)
        return self._decide(p, value - away, value + away, method)

    def bootstrap(self, draws: np.ndarray, method: str = "bootstrap percentile") -> Decision:
        """Decide from bootstrap values of the loss.

        Args:
            draws: float (B,), paired losses; NaN, a resample in which the loss does not exist, is left out.
            method: what was resampled, for the interval.

        Raises:
            InputError: when fewer than level / (1 - level) draws are left: p could then never be small enough.
        """
        kept = np.sort(draws[~np.isnan(draws)])
        # the rank from each end at which count and bound say the same; 1e-9 because 0.05 * 1000 may fall short of 50
        rank = int((1 - self.level) * (1 + len(kept)) + 1e-9)
        if rank < 1:
            what = f"{len(kept)} of {len(draws)} have a value; level {self.level} needs {_least(self.level)}"
            remedy = "ask for more draws, or give more test subjects of the rare class"
            raise InputError("Too few bootstrap draws to decide.", [Problem("bootstrap draws", what, remedy)])
        if self.kind == "equivalence":
            against = max(int((kept >= self.margin).sum()), int((kept <= -self.margin).sum()))
        else:
            against = int((kept >= self._edge).sum())
        p = (1 + against) / (1 + len(kept))
        return self._decide(p, float(kept[rank - 1]), float(kept[-rank]), method)

    @property
    def _edge(self) -> float:
        """The loss at which a one-sided claim begins to be false."""
        return self.margin if self.kind == "non-inferiority" else 0.0

    def _decide(self, p: float, low: float, high: float, method: str) -> Decision:
        """From the one-sided lower and upper bounds of the loss."""
        if self.kind == "equivalence":
            both = Interval(low=low, high=high, level=2 * self.level - 1, method=method)
            return Decision(p=p, interval=both, of="loss", shown=-self.margin < low and high < self.margin)
        if self.kind == "superiority":
            above = Interval(low=-high, high=max(self.reach, -high), level=self.level, method=method, sides=1)
            return Decision(p=p, interval=above, of="gain", shown=high < 0)
        below = Interval(low=min(-self.reach, high), high=high, level=self.level, method=method, sides=1)
        return Decision(p=p, interval=below, of="loss", shown=high < self.margin)


def holm(p: np.ndarray) -> np.ndarray:
    """P-values (k,) adjusted for k claims at once; all with adjusted p <= alpha may be made at family error alpha.

    Step-down: the i-th smallest times k + 1 - i, never below one before it, at most 1. Holds however the claims depend
    on each other (Holm 1979, Scandinavian Journal of Statistics 6:65, jstor.org/stable/4615733).

    Raises:
        ValueError: when one is outside 0 .. 1 or no number.

    >>> holm(np.array([0.01, 0.04, 0.03, 0.005]))
    array([0.03, 0.06, 0.06, 0.02])
    """
    if not ((p >= 0) & (p <= 1)).all():
        raise ValueError(f"p-values must be 0 .. 1, got {p.tolist()}")
    order = np.argsort(p, kind="stable")
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(1, np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)))
    return adjusted


def n_needed(
    kind: Kind, value: float, spread: float, subjects: int, margin: float, level: float = 0.95, power: float = 0.8
) -> int | None:
    """Test subjects with which the claim would be shown with this power, if the true loss is `value`.

    The standard error falls with the root of the subjects: spread^2 subjects / n. One-sided claims have
    n = subjects ((z_level + z_power) spread / room)^2 with room = margin - value, or -value for superiority. For
    equivalence the power is Phi((margin - value) / e - z) + Phi((margin + value) / e - z) - 1, solved for n
    (Chow, Shao and Wang 2008, Sample Size Calculations in Clinical Research, chapter 3). A plan, not a promise: the
    observed loss is itself uncertain, and the uncertainty of training does not fall with more test subjects.

    Args:
        kind: which claim.
        value: loss taken for true, most often the observed one.
        spread: standard error of the loss with the present test subjects.
        subjects: how many these are, at least 1.
        margin: above 0; superiority ignores it.
        level: confidence of each one-sided test.
        power: chance of showing the claim, 0.5 .. 1 without the ends.

    Returns:
        Subjects, at least 1; None when no number would do, because the loss itself does not satisfy the claim.

    >>> n_needed("non-inferiority", 0.0, 0.03, 100, 0.05)
    223
    """
    rooms = {
        "non-inferiority": (margin - value,),
        "equivalence": (margin - value, margin + value),
        "superiority": (-value,),
    }[kind]
    if min(rooms) <= 0:
        return None
    z = float(ndtri(level))

    def one_sided(chance: float) -> float:
        return float(subjects * ((z + ndtri(chance)) * spread / min(rooms)) ** 2)

    if len(rooms) == 1:
        return max(1, int(np.ceil(one_sided(power))))
    # the nearer side alone asks for fewer, both sides as hard as the nearer for more; the answer lies between
    low, high = int(one_sided(power)), max(1, int(np.ceil(one_sided((1 + power) / 2))))
    while high - low > 1:
        n = (low + high) // 2
        error = spread * np.sqrt(subjects / n)
        reached = sum(float(ndtr(room / error - z)) for room in rooms) - 1
        low, high = (low, n) if reached >= power else (n, high)
    return high


def _below(distance: float, error: float) -> float:
    """P-value of a loss that lies `distance` above (or -distance below) the edge of H0."""
    if error == 0:
        return 0.0 if distance < 0 else 1.0
    return float(ndtr(distance / error))


def _least(level: float) -> int:
    return int(np.ceil(1 / (1 - level) - 1e-9)) - 1
