"""Membership inference as the attacker sees it: who was in training, told from the images, and from the network.

Members are the train subjects, non-members the holdout's; each subject is one score, that of the best image.

    released: a(x) = mean over two views of log r_A(x) - log r_S(x),   r_C the distance to the k-th nearest image of C
    network:  z(x) = mean over the probes of (score(x) - f_A(x)) / sd_A      difficulty-calibrated, see `difficulty`
    AUC = P(a(member) > a(non-member)),   TPR at FPR f = share of members above h_(k),  k = floor(f (n_H + 1)),
    h_(k) the k-th largest holdout score

log r_A - log r_S is the density ratio of released (S) to auxiliary (A) images of DOMIAS (van Breugel et al. 2023,
arXiv:2302.12580) by nearest neighbours, up to the dimension; the views are whitened pixels and log-polar spectrum. One
score of each attack decides, fixed beforehand: k = 1, chosen on phantoms in development, because with k = 5 single
copies vanish, and a set of blends of two training images had an AUC of 0.60 instead of 0.80; the mean of two views and
not one vector of both, in which noisy copies of 28 pixels drowned (22 of 40 seen instead of 40). Beside it stands
`likeness`, the fused similarity max_s Q(x, s), which sees turned copies as well. The threshold is conformal, its true
FPR is Beta(k, n_H + 1 - k); `p` is exact where members and non-members are exchangeable (beta-binomial). `epsilon` =
log(TPR_low / FPR_high), at least 0, is the lower bound of an epsilon that this one attack would speak for; it is no
audit of a claim of differential privacy, which needs members drawn at random.

Members against members: random halves of train. Their AUC is 0.5 on average for any score, because halves may be
swapped; subtracting that of one split would add its noise (0.017 at 1,200 subjects) and take no bias away. Their spread
is the band beside the AUC. What train and holdout differ in without any generator is told by `exchangeability`, and by
`typicality`, the AUC of -log p_A(x) alone. A low AUC is no proof of safety: a stronger attacker may come. Without
probes (an audit of images) there is no network to attack, and the quantities `network_*` are absent.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from chambit.core.evidence import Band, Control, Finding, Frozen, Interval
from chambit.measure import interval
from chambit.measure.difficulty import probed
from chambit.measure.examination import Examination, Result, not_run
from chambit.measure.recognition import best_of_each, copies, recognised
from chambit.measure.search import Search, lacking

version = "1"
EXTRAS = ("probes",)
RELEASED = {"released_auc": "lower", "released_tpr": "lower"}
NETWORK = {"network_auc": "lower", "network_tpr": "lower"}
SIDES = ("train", "holdout")


class Options(Frozen):
    """Settings come from the policy file.

    least: smallest train and holdout, in subjects; least_auxiliary: smallest auxiliary set, in images;
    rates: false-positive rates, the first of which is reported and the others stand in the details;
    planted: patients copied for the control of the released images; control_recall: share of them above the threshold;
    shift: of a random half of the members, in standard deviations, for the control of the network;
    neighbours: k of the densities; extractor: features that tell how difficult an image is; splits: of the members in
    halves; draws: bootstrap of subjects.
    """

    least: int
    least_auxiliary: int
    rates: tuple[float, ...]
    planted: int
    control_recall: float
    shift: float
    neighbours: int = 1
    extractor: str = "texture"
    splits: int = 200
    draws: int = 2000
    level: float = 0.95


class Sides(NamedTuple):
    """Scores of members and of non-members, one per subject, float64 (n_T,) and (n_H,); larger is better known."""

    train: np.ndarray
    holdout: np.ndarray

    def sizes(self) -> dict[str, int]:
        """How many subjects there are, as a finding names them."""
        return {"train subjects": len(self.train), "holdout subjects": len(self.holdout)}


def measure(exam: Examination, options: Options) -> Result:
    """AUC and TPR at a low FPR of the attack on the released images and, with probes, of that on the network."""
    name = f"attack@{version}"
    sizes = {f"{role} subjects": exam.subjects(role) for role in SIDES}
    quantities = RELEASED | (NETWORK if exam.probes else {})
    reason = exam.lacks({}, dict.fromkeys(SIDES, options.least)) or lacking(exam, options.least_auxiliary)
    if reason := reason or _too_few(sizes["holdout subjects"], options.rates[0]):
        return not_run(name, quantities, reason, {"images": exam.count("synthetic")} | sizes)
    return Result((*_released(name, exam, options), *(_network(name, exam, options) if exam.probes else ())))


def _released(name: str, exam: Examination, options: Options) -> tuple[Finding, ...]:
    search, k = Search.of(exam), options.neighbours
    synthetic = exam["synthetic"].grey()
    planted = copies(exam, options.planted)
    released, unrelated, copied = (
        _views(search, images) for images in (synthetic, exam["auxiliary"].grey(), planted.images)
    )
    with_copies = [np.concatenate(pair) for pair in zip(released, copied, strict=True)]
    ratio: dict[str, np.ndarray] = {}
    more: dict[str, np.ndarray] = {}
    typical: dict[str, np.ndarray] = {}
    for role in SIDES:
        own = _views(search, exam[role].grey())
        far = _log_distance(own, unrelated, k)
        ratio[role] = _per_subject(exam, role, far - _log_distance(own, released, k))
        more[role] = _per_subject(exam, role, far - _log_distance(own, with_copies, k))
        typical[role] = _per_subject(exam, role, -far)
    found = recognised(search, exam, synthetic, SIDES)
    likeness = Sides(*(found[role].score for role in SIDES))
    scores = Sides(**ratio)
    control = _copied(scores, Sides(**more), np.isin(found["train"].subjects, planted.subjects), options)
    details = {
        "score": f"density ratio, k = {k}",
        "likeness": _area(likeness, exam, options),
        "likeness_rates": [recognition_rate(likeness, rate, options.level) for rate in options.rates],
        "typicality": _area(Sides(**typical), exam, options),
        "network": "probed" if exam.probes else "not probed: the generator is not known",
    }
    sizes = {"images": exam.count("synthetic")} | scores.sizes()
    inputs = exam.inputs("train", "holdout", "auxiliary", "synthetic")
    return _findings(name, tuple(RELEASED), scores, exam, options, control, sizes, inputs, details)


def _network(name: str, exam: Examination, options: Options) -> tuple[Finding, ...]:
    probes = probed(exam, options.extractor)
    scores = Sides(*(probes.joined[role] for role in SIDES))
    sizes = scores.sizes()
    short = [f"'{role}' has {n}" for role, n in zip(SIDES, map(len, scores), strict=True) if n < options.least]
    reason = f"Too few subjects were probed: {', '.join(short)}, at least {options.least} needed." if short else ""
    if reason := reason or _too_few(len(scores.holdout), options.rates[0]):
        return not_run(name, NETWORK, reason, sizes).findings
    rng = np.random.default_rng(exam.context.seed("shifted members"))
    half = rng.permutation(len(scores.train)) < len(scores.train) // 2
    moved = scores.train + half * options.shift * scores.train.std()
    area, spread = auc(Sides(moved[half], moved[~half]), options.draws, options.level, rng)
    control = Control(
        name="a random half of the members shifted",
        expected=f"scores raised by {options.shift:g} sd are told from the other half: interval above 0.5. "
        "This shows that a difference of that size would not be lost in the calculation; "
        "whether the probe notices what a network remembers it cannot show",
        observed=f"AUC {area:.3f} ({spread.low:.3f} to {spread.high:.3f})",
        fired=spread.low > 0.5,
    )
    each = [
        {
            "probe": probe,
            "auc": _area(Sides(*(probes.calibrated[probe][role] for role in SIDES)), exam, options),
            "uncalibrated": _area(Sides(*(probes.raw[probe][role] for role in SIDES)), exam, options),
        }
        for probe in probes.raw
    ]
    details = {"score": "mean of the calibrated probes", "probes": each}
    tables = {f"probe {probe}": exam.context.store.put_table(table) for probe, table in sorted(exam.probes.items())}
    inputs = exam.inputs("train", "holdout", "auxiliary") | tables
    return _findings(name, tuple(NETWORK), scores, exam, options, control, sizes, inputs, details)


def _findings(
    name: str,
    quantities: Sequence[str],
    scores: Sides,
    exam: Examination,
    options: Options,
    control: Control,
    sizes: dict[str, int],
    inputs: dict[str, str],
    details: dict[str, Any],
) -> tuple[Finding, ...]:
    area, spread = auc(scores, options.draws, options.level, np.random.default_rng(exam.context.seed("bootstrap")))
    band = halves(scores.train, options.splits, np.random.default_rng(exam.context.seed("halves")))
    rates = [recognition_rate(scores, rate, options.level) for rate in options.rates]
    first = rates[0]
    common: dict[str, Any] = {"measure": name, "n": sizes, "direction": "lower", "control": control, "inputs": inputs}
    excess = {"excess": area - 0.5, "excess_low": spread.low - 0.5, "excess_high": spread.high - 0.5}
    return (
        Finding(
            quantity=quantities[0], value=area, interval=spread, null=0.5, band=band, details=details | excess, **common
        ),
        Finding(
            quantity=quantities[1],
            value=first["tpr"],
            interval=Interval(low=first["low"], high=first["high"], level=options.level, method="Clopper-Pearson"),
            null=first["fpr"],
            details={**first, "rates": rates},
            **common,
        ),
    )


def auc(scores: Sides, draws: int, level: float, rng: np.random.Generator) -> tuple[float, Interval]:
    """AUC of members against non-members, with a percentile interval of the bootstrap of subjects."""
    joint = np.concatenate(scores)
    prepared = interval.Auroc.of(joint, np.arange(len(joint)) < len(scores.train))
    drawn = prepared(interval.subject_weights(np.arange(len(joint)), draws, rng))
    return float(prepared()[0]), interval.percentile(drawn, level, "bootstrap of subjects")


def halves(members: np.ndarray, splits: int, rng: np.random.Generator) -> Band:
    """AUC of one random half of the members against the other, in `splits` splits and, swapped, in as many more.

    Args:
        members: scores, one per subject, float64 (n,).
        splits: how many.
        rng: draws the halves.
    """
    values = []
    for _ in range(splits):
        value = interval.auroc(members, rng.permutation(len(members)) < len(members) // 2)
        values += [value, 1 - value]
    low, middle, high = (float(x) for x in np.percentile(values, [2.5, 50, 97.5]))
    return Band(low=low, middle=middle, high=high, draws=2 * splits, n=len(members) // 2)


def recognition_rate(scores: Sides, rate: float, level: float) -> dict[str, Any]:
    """Share of members recognised where a share `rate` of non-members is wrongly named.

    Returns:
        `fpr` as asked; `needs` holdout subjects for it; `found` of `of` members, `tpr` with its Clopper-Pearson
        interval `low`, `high` at this threshold; `fpr_low`, `fpr_high` of the threshold's true rate; the exact
        one-sided `p` where members are no better known; `epsilon`. All but the first two are None where the holdout is
        too small.
    """
    train, holdout = scores
    needs, names = _needs(rate), ("found", "of", "tpr", "low", "high", "fpr_low", "fpr_high", "p", "epsilon")
    if len(holdout) < needs:
        return {"fpr": rate, "needs": needs, **dict.fromkeys(names)}
    k = int(rate * (len(holdout) + 1) + 1e-9)
    found = int((train > np.sort(holdout)[-k]).sum())
    low, high = interval.clopper_pearson(found, len(train), level)
    fpr = interval.realised_rate(rate, len(holdout), level)
    p = float(stats.betabinom.sf(found - 1, len(train), k, len(holdout) + 1 - k))
    epsilon = float(max(0.0, np.log(low / fpr[1]))) if low > 0 else 0.0
    values = (found, len(train), found / len(train), low, high, *fpr, p, epsilon)
    return {"fpr": rate, "needs": needs, **dict(zip(names, values, strict=True))}


def _copied(before: Sides, after: Sides, mine: np.ndarray, options: Options) -> Control:
    """Whether copied patients, `mine` of the members, are recognised at the threshold of the first rate."""
    k = int(options.rates[0] * (len(after.holdout) + 1) + 1e-9)
    found, of = int((after.train[mine] > np.sort(after.holdout)[-k]).sum()), int(mine.sum())
    moved = [recognition_rate(side, options.rates[0], options.level)["tpr"] for side in (before, after)]
    return Control(
        name="copies added to the released images",
        expected=f"at least {options.control_recall:.0%} of {of} copied patients are recognised at an FPR of "
        f"{options.rates[0]:.1%} (JPEG 50, noise 5 %)",
        observed=f"{found} of {of}; TPR goes from {moved[0]:.3f} to {moved[1]:.3f}",
        fired=found >= options.control_recall * of,
    )


def _views(search: Search, images: np.ndarray) -> list[np.ndarray]:
    """Whitened pixels and log-polar spectrum of images float32 (N, H, W), unit vectors float32 (N, d)."""
    described = search.describer.describe(images)
    return [described.whitened, described.mellin]


def _log_distance(queries: Sequence[np.ndarray], cloud: Sequence[np.ndarray], k: int) -> np.ndarray:
    """Logarithm of the distance to the k-th nearest of a cloud, mean over the views, float64 (N,)."""
    views = zip(queries, cloud, strict=True)
    return np.asarray(np.mean([np.log(kth_distance(one, other, k)) for one, other in views], axis=0))


def _per_subject(exam: Examination, role: str, scores: np.ndarray) -> np.ndarray:
    """The best score of each subject's images, in the order of the subjects' names."""
    return np.asarray(scores[best_of_each(exam[role].subjects, scores)[1]])


def kth_distance(queries: np.ndarray, cloud: np.ndarray, k: int) -> np.ndarray:
    """Distance of each query to its k-th nearest point of a cloud, or to the farthest of fewer; float64 (N,), above 0.

    Args:
        queries: unit vectors float32 (N, d).
        cloud: unit vectors float32 (M, d).
        k: which neighbour, from 1.
    """
    k = min(k, len(cloud))
    cosine = np.concatenate(
        [np.partition(queries[i : i + 256] @ cloud.T, -k, axis=1)[:, -k] for i in range(0, len(queries), 256)]
    )
    return np.sqrt(np.maximum(2 - 2 * cosine.astype(np.float64), 1e-12))


def _area(scores: Sides, exam: Examination, options: Options) -> list[float]:
    """AUC with the ends of its interval, for the details."""
    rng = np.random.default_rng(exam.context.seed("bootstrap"))
    value, spread = auc(scores, options.draws, options.level, rng)
    return [value, spread.low, spread.high]


def _needs(rate: float) -> int:
    """Holdout subjects that a threshold at this false-positive rate needs: floor(rate (n + 1)) is at least 1."""
    return int(np.ceil(1 / rate - 1e-9)) - 1


def _too_few(holdout: int, rate: float) -> str:
    if holdout >= _needs(rate):
        return ""
    return f"The holdout has {holdout} subjects; a false-positive rate of {rate:g} needs at least {_needs(rate)}."
