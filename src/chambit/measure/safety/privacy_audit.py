"""One-run privacy audit: an epsilon that training must at least have had, from who was guessed to be in it.

Each of m canaries was in training or not by a fair coin. By a score of how well the network knows them the k best known
are guessed in, the k least known out, the others not at all: r = 2k guesses, v right. If training is (epsilon, delta)-
differentially private, then (Steinke, Nasr and Jagielski 2023, arXiv:2305.08846, theorem 5.2)

    P(V >= v) <= f(v) + 2 m delta max_i (f(v - i) - f(v)) / i,   f(v) = P(Bin(r, e^epsilon / (1 + e^epsilon)) >= v)

and the audited epsilon is the largest one at which that is at most 1 - level, shared out over the k that are tried. It
is a lower bound: a small one is no proof of privacy, a larger one than was claimed refutes the claim. The score of a
subject is that of their best image, calibrated for difficulty (`chambit.measure.difficulty`).

Where training threw the coins itself (canaries of the stage), a coin adds or removes a subject, and the claim is that
for adding or removing. Otherwise train and holdout are the canaries. Cut at random with fixed sizes they are no coins,
but m subjects of which K ~ Bin(m, 1/2) are drawn from train and m - K from holdout are: with n subjects in all, an
in-set of k and an out-set of m - k come up with probability C(m, k) 2^-m k! (m - k)! (n - m)! / n!, in which k cancels,
so given who the m are every pattern has probability 2^-m. The same holds in each stratum of the split. But train keeps
its size: who is out has been replaced by a random other subject. So the claim for *replacing* a subject is what is
tested, which is a larger epsilon and a weaker test.

Known failures: canaries are ordinary subjects and not the worst case; 1,000 canaries all guessed right show no more
than epsilon 5.8 (`details.reach`), so a larger claim cannot be refuted; a split that was not random looks like a leak,
see `exchangeability`; subjects that share an image are cut together and are not independent.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from scipy import stats

from chambit.core.evidence import Control, Finding, Frozen
from chambit.measure.difficulty import probed
from chambit.measure.examination import Examination, Result, not_run

version = "1"
EXTRAS = ("probes", "claim")
CLAIMED, UNCLAIMED = "epsilon", "lower_bound"
HIGHEST = 30.0  # where the search for epsilon ends
TAIL = 1e-6  # the chance that a stratum has fewer subjects than the coins ask for; taken off the error
RESPONSES, TOO_MANY = 20, 5  # more than 5 of 20 intervals at 95 % miss with probability 0.0003


class Options(Frozen):
    """Settings come from the policy file.

    least: fewest canaries; least_auxiliary: smallest auxiliary set, in images; guesses: shares of the canaries guessed
    on each side, all tried; planted: the epsilon that a perfect score must be found to exceed; response: the epsilon of
    the randomised response in the control; extractor: features that tell how difficult an image is.
    """

    least: int
    least_auxiliary: int
    guesses: tuple[float, ...]
    planted: float
    response: float
    extractor: str = "texture"
    level: float = 0.95


class Audited(NamedTuple):
    """The bound, and the guesses that gave it: how many, how many were right, share of the canaries on each side."""

    epsilon: float
    guesses: int
    right: int
    share: float


def p_value(guesses: int, right: int, canaries: int, epsilon: float, delta: float) -> float:
    """Largest probability of at least `right` right guesses under (epsilon, delta)-differential privacy.

    >>> p_value(10, 10, 10, 0.0, 0.0) == 0.5**10
    True
    """
    if right <= 0:
        return 1.0
    i = np.arange(right + 1)
    tail = stats.binom.sf(right - i - 1, guesses, 1 / (1 + np.exp(-epsilon)))  # f(v - i)
    slope = float(((tail[1:] - tail[0]) / i[1:]).max())
    return float(min(1.0, tail[0] + 2 * canaries * delta * slope))


def lower_bound(guesses: int, right: int, canaries: int, delta: float, error: float) -> float:
    """The largest epsilon that so many right guesses refute at the given error; 0 when they refute none.

    >>> round(lower_bound(1000, 1000, 1000, 0.0, 0.05), 2)  # all right: q^1000 = 0.05, epsilon = log(q / (1 - q))
    5.81
    """
    if p_value(guesses, right, canaries, 0.0, delta) > error:
        return 0.0
    low, high = 0.0, HIGHEST
    for _ in range(32):  # to 1e-8
        middle = (low + high) / 2
        low, high = (middle, high) if p_value(guesses, right, canaries, middle, delta) <= error else (low, middle)
    return low


def audited(
    score: np.ndarray,
    included: np.ndarray,
    shares: Sequence[float],
    delta: float,
    error: float,
    rng: np.random.Generator,
) -> Audited:
    """The best bound over numbers of guesses; the error is shared out equally among them.

    Args:
        score: float (m,), larger is better known.
        included: bool (m,).
        shares: of the canaries guessed on each side, in (0, 0.5].
        delta: of the claim.
        error: chance that the bound is above the true epsilon.
        rng: breaks ties, which must not be broken by the order of rows.
    """
    m, found = len(included), []
    order = np.lexsort((rng.random(m), score))
    for share in shares:
        k = min(max(1, round(share * m)), m // 2)
        right = int(included[order[m - k :]].sum() + (~included[order[:k]]).sum())
        found.append(Audited(lower_bound(2 * k, right, m, delta, error / len(shares)), 2 * k, right, share))
    return max(found, key=lambda one: (one.epsilon, one.right / one.guesses))


def measure(exam: Examination, options: Options) -> Result:
    """The audited epsilon: beside the claimed one, or alone where nothing is claimed; nothing without probes."""
    if not exam.probes:
        return Result(())
    name, claim = f"privacy_audit@{version}", exam.claim
    quantity = CLAIMED if claim else UNCLAIMED
    least = dict.fromkeys(("train", "holdout"), 1) | {"auxiliary": options.least_auxiliary}
    if reason := exam.lacks(least, {}):
        return not_run(name, {quantity: "lower"}, reason, {f"{role} images": exam.count(role) for role in least})
    thrown, rng = bool(claim.get("canaries")), np.random.default_rng(exam.context.seed("canaries"))
    known = pl.concat(_known(exam, role, score) for role, score in probed(exam, options.extractor).joined.items())
    table = _thrown(known, claim) if thrown else _drawn(known, rng)
    if len(table) < options.least:
        reason = f"There are {len(table)} canaries, at least {options.least} needed."
        return not_run(name, {quantity: "lower"}, reason, {"canaries": len(table)})
    included = table["included"].to_numpy()
    delta, error = float(claim.get("delta", 0.0)), 1 - options.level - (0 if thrown else TAIL)

    def asked(score: np.ndarray) -> Audited:
        return audited(score, included, options.guesses, delta, error, rng)

    found, perfect = asked(table["score"].to_numpy()), asked(included.astype(float))
    details: dict[str, Any] = {
        "share": found.share,
        "delta": delta,
        "level": options.level,
        "reach": perfect.epsilon,
        "tested": "adding or removing" if thrown else "replacing",
    }
    if claim:
        details["claimed"] = float(claim["epsilon" if thrown else "epsilon_replaced"])
        details["claimed_for_adding_or_removing"] = float(claim["epsilon"])
    finding = Finding(
        measure=name,
        quantity=quantity,
        value=found.epsilon,  # no interval: it is itself the lower end of one, at `level`, and there is no upper end
        n={"canaries": len(table), "guesses": found.guesses, "right": found.right},
        null=0.0,
        direction="lower",
        control=_control(asked, included, perfect, options, rng),
        details=details,
        inputs=exam.inputs("train", "holdout", "auxiliary"),
    )
    return Result((finding,))


def _control(
    asked: Callable[[np.ndarray], Audited],
    included: np.ndarray,
    perfect: Audited,
    options: Options,
    rng: np.random.Generator,
) -> Control:
    """A perfect score must be found; scores that are as private as randomised response must not be over-stated."""
    truth = 1 / (1 + np.exp(-options.response))
    told = [included == (rng.random(len(included)) < truth) for _ in range(RESPONSES)]
    bounds = [asked(answer.astype(float)).epsilon for answer in told]
    above = sum(bound > options.response for bound in bounds)
    return Control(
        name="planted scores",
        expected=f"a perfect score gives more than {options.planted:g}; of {RESPONSES} randomised responses of epsilon "
        f"{options.response:g} at most {TOO_MANY} give more than that",
        observed=f"{perfect.epsilon:.2f}; {above} of {RESPONSES}, median {np.median(bounds):.2f}",
        fired=perfect.epsilon > options.planted and above <= TOO_MANY,
    )


def _known(exam: Examination, role: str, score: np.ndarray) -> pl.DataFrame:
    """A row for each probed subject of a role: `subject`, `stratum` of the split, `role`, `score`."""
    ids = next(table for _, table in sorted(exam.probes.items())).filter(pl.col("role") == role)["id"]
    images = exam[role].table.select("id", "subject", pl.col("label").fill_null(""))
    strata = images.group_by("subject").agg(pl.col("label").unique().sort().str.join("\x1f").alias("stratum"))
    probed_ones = images.filter(pl.col("id").is_in(ids.to_list()))["subject"].unique().sort()
    # in the order of names, as `best_of_each` gives the scores
    table = probed_ones.to_frame().join(strata, on="subject", how="left", maintain_order="left")
    return table.with_columns(pl.lit(role).alias("role"), pl.Series("score", score, pl.Float64))


def _thrown(known: pl.DataFrame, claim: Mapping[str, Any]) -> pl.DataFrame:
    """Canaries for whom the stage threw a coin; `included` says who was in training."""
    table = known.filter((pl.col("role") == "train") & pl.col("subject").is_in(list(claim["canaries"])))
    return table.with_columns((~pl.col("subject").is_in(list(claim["left_out"]))).alias("included"))


def _drawn(known: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
    """Canaries drawn from train and holdout so that each was in training by a fair coin."""
    strata = known["stratum"].unique().sort().to_list()
    picked = [known.clear()]
    for stratum in strata:
        sides = [known.filter(stratum=stratum, role=role) for role in ("train", "holdout")]
        m = _largest(len(sides[0]), len(sides[1]), TAIL / len(strata))
        heads = int(rng.binomial(m, 0.5))
        for side, count in zip(sides, (heads, m - heads), strict=True):
            picked.append(side[rng.permutation(len(side))[:count].tolist()])
    return pl.concat(picked).with_columns((pl.col("role") == "train").alias("included"))


def _largest(train: int, holdout: int, tail: float) -> int:
    """Most canaries of which coins ask for more than there are on a side with probability `tail` at most."""
    low, high = 0, train + holdout + 1
    while high - low > 1:
        middle = (low + high) // 2
        over = stats.binom.sf(train, middle, 0.5) + stats.binom.sf(holdout, middle, 0.5)
        low, high = (middle, high) if over <= tail else (low, middle)
    return low
