"""All that the votes of one reader study show, as findings of the measure `reading@1`.

Primary: `equivalence`, whether accuracy is shown to lie within the margin around 0.5. Accuracy alone hides bias, so
`called_synthetic_right`, `called_synthetic_wrong`, `auc`, `dprime` and `criterion` stand beside it. `label_right` and
`plausible` are of the second task.

Readers who answered less than the share `finished` of the set are left out and named. Where fewer readers than the
protocol asks for are left, or fewer from outside, no finding has a value: a study is not looked at before it is whole.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from pydantic import Field

from chambit.core import digest, seeds
from chambit.core.errors import InputError, Problem
from chambit.core.evidence import Finding, Frozen, Interval
from chambit.reading import agreement, crossed, detection
from chambit.reading.course import Trend, course
from chambit.reading.giveaways import giveaways
from chambit.reading.plausibility import answers, reasons
from chambit.reading.protocol import SCALE_MIDDLE, Protocol
from chambit.reading.votes import Reader, Table, Vote, table

MEASURE = "reading@1"
Direction = Literal["lower", "higher", "neither"]
# quantity -> (direction, the value expected when images cannot be told apart)
QUANTITIES: dict[str, tuple[Direction, float | None]] = {
    "accuracy": ("neither", 0.5),
    "equivalence": ("lower", None),
    "called_synthetic_right": ("neither", None),
    "called_synthetic_wrong": ("neither", None),
    "auc": ("neither", 0.5),
    "dprime": ("neither", 0.0),
    "criterion": ("neither", 0.0),
    "kappa": ("neither", 0.0),
    "intra": ("higher", None),
    "learning": ("neither", 0.0),
    "fatigue": ("neither", 0.0),
    "seconds": ("neither", None),
    "giveaway": ("higher", None),
    "label_right": ("higher", None),
    "plausible": ("higher", None),
}


class Options(Frozen):
    """How votes are analysed; none of it is a threshold on a result.

    Attributes:
        finished: a reader with less than this share of the set is left out, in (0.5, 1].
        permutations: of kinds, for the map of clicks.
        cells: rows and columns of that map.
        seed: of the permutations.
    """

    finished: float = Field(gt=0.5, le=1)
    permutations: int = Field(ge=99)
    cells: int = Field(ge=2, le=64)
    seed: int = Field(ge=0)


class Number(NamedTuple):
    """A value with its interval, or the reason why it has none."""

    value: float | None
    interval: Interval | None
    reason: str
    details: dict[str, object]


class _Study(NamedTuple):
    """What every part of the analysis needs: the protocol, options, votes of the readers that count, their table."""

    protocol: Protocol
    options: Options
    votes: list[Vote]
    table: Table
    kinds: np.ndarray


def analysed(
    protocol: Protocol, votes: Sequence[Vote], options: Options, readers: Sequence[Reader] = ()
) -> list[Finding]:
    """All findings, each quantity of `QUANTITIES` once, in that order.

    Args:
        protocol: the study as it was registered.
        votes: all votes, practice and repeats included.
        options: see `Options`.
        readers: who is from outside the team; needed where the protocol asks for readers from outside.

    Raises:
        InputError: when votes are of another protocol, contradict each other (`votes.table`), or are of more images
            than the protocol has.
    """
    whole = _table(protocol, votes)
    answered = (~np.isnan(whole.scores)).sum(1) / protocol.images
    both = np.array([np.unique(whole.synthetic[~np.isnan(row)]).size == 2 for row in whole.scores])
    keep = (answered >= options.finished) & both
    left_out = {
        name: round(float(share), 4) for name, share, in_ in zip(whole.readers, answered, keep, strict=True) if not in_
    }
    kept = whole.of(keep)
    names = set(kept.readers)
    study = _Study(
        protocol, options, [vote for vote in votes if vote.reader in names], kept, kept.synthetic.astype(int)
    )
    short = _short(protocol, kept, readers, left_out)
    numbers = {} if short else _numbers(study, readers)
    read = ~np.isnan(kept.scores)
    n = {"readers": len(names), "images": int(read.any(0).sum()), "votes": int(read.sum())}
    inputs = _inputs(protocol, votes)
    return [
        _finding(quantity, numbers.get(quantity, Number(None, None, short, {})), n, inputs, left_out)
        for quantity in QUANTITIES
    ]


def _inputs(protocol: Protocol, votes: Sequence[Vote]) -> dict[str, str]:
    return {
        "protocol": protocol.digest,
        "holdout": protocol.holdout,
        "candidate": protocol.candidate,
        "votes": digest.of_json(sorted(vote.model_dump_json() for vote in votes)),
    }


def _table(protocol: Protocol, votes: Sequence[Vote]) -> Table:
    found = table(votes)
    problems = []
    if votes[0].study != protocol.digest:
        problems.append(Problem("votes", "they are of another protocol", "give the protocol that was registered"))
    of_kind = {"real": int((~found.synthetic).sum()), "synthetic": int(found.synthetic.sum())}
    for kind, planned in (("real", protocol.real), ("synthetic", protocol.synthetic)):
        if of_kind[kind] > planned:
            problems.append(Problem("votes", f"{of_kind[kind]} {kind} images, the protocol has {planned}"))
    if problems:
        raise InputError("the votes cannot be analysed", problems)
    return found


def _short(protocol: Protocol, kept: Table, readers: Sequence[Reader], left_out: dict[str, float]) -> str:
    """Why the study is not whole, or an empty text."""
    count = len(kept.readers)
    if count < protocol.readers_least:
        more = f"; left out: {len(left_out)}" if left_out else ""
        return f"{count} readers finished, the protocol asks for {protocol.readers_least}{more}"
    outside = {reader.pseudonym for reader in readers if reader.outside} & set(kept.readers)
    if len(outside) < protocol.outside_least:
        told = f"{len(outside)} of the readers" if readers else "it is not told how many of the readers"
        return f"{told} come from outside the team, the protocol asks for {protocol.outside_least}"
    return ""


def _finding(
    quantity: str, number: Number, n: dict[str, int], inputs: dict[str, str], left_out: dict[str, float]
) -> Finding:
    direction, null = QUANTITIES[quantity]
    return Finding(
        measure=MEASURE,
        quantity=quantity,
        value=number.value,
        interval=number.interval,
        n=n,
        unit="s" if quantity == "seconds" else "1",
        null=null,
        direction=direction,
        reason=number.reason,
        details=number.details | ({"left_out": left_out} if left_out else {}),
        inputs=inputs,
    )


def _numbers(study: _Study, readers: Sequence[Reader]) -> dict[str, Number]:
    """Every quantity of a study that is whole."""
    return _authenticity(study, readers) | _consistency(study) | _session(study) | _second_task(study)


def _number(one: crossed.Estimate, details: dict[str, object] | None = None) -> Number:
    """A crossed mean as a number: without an interval it has no value, the point stands in the details."""
    given = details or {}
    if one.interval is None:
        point = {} if one.value is None else {"point": one.value}
        return Number(None, None, one.reason, given | point)
    return Number(one.value, one.interval, "", given | {"error": one.error, "freedom": one.freedom})


def _share(values: np.ndarray, kinds: np.ndarray, level: float, what: str) -> crossed.Estimate:
    """Mean of 0 and 1 over readers and images; readers without an answer in one of the kinds are left out."""
    read = np.all([(~np.isnan(values[:, kinds == kind])).any(1) for kind in np.unique(kinds)], axis=0)
    if not read.any():
        return crossed.Estimate(None, None, f"no reader answered: {what}", 0, values.shape[1])
    return crossed.estimate(crossed.means(values[read], kinds), level, what, logit=True)


def _authenticity(study: _Study, readers: Sequence[Reader]) -> dict[str, Number]:
    level, votes, kinds = study.protocol.level, study.table, study.kinds
    spread = crossed.means(votes.correct, kinds)
    accuracy = crossed.estimate(spread, level, "accuracy", logit=True)
    squares = dict(zip(("MSR", "MSC", "MSE"), spread.squares, strict=True)) if accuracy.interval else {}
    tost = crossed.equivalence(accuracy, study.protocol.margin, level)
    held = {"margin": tost.margin, "alpha": tost.alpha, "low": tost.low, "high": tost.high}
    synthetic = votes.synthetic
    dprime, criterion = detection.signals(votes)
    rows: dict[str, object] = {"readers": _rows(study, readers)}
    return {
        "accuracy": _number(accuracy, rows | {"mean squares": squares}),
        "equivalence": Number(tost.p, None, tost.reason, {key: one for key, one in held.items() if one is not None}),
        "called_synthetic_right": _number(
            _share(votes.called[:, synthetic], kinds[synthetic], level, "share of synthetic images called synthetic")
        ),
        "called_synthetic_wrong": _number(
            _share(votes.called[:, ~synthetic], kinds[~synthetic], level, "share of real images called synthetic")
        ),
        "auc": _number(crossed.estimate(detection.areas(votes), level, "AUC", logit=True)),
        "dprime": _number(crossed.estimate(dprime, level, "d'", logit=False)),
        "criterion": _number(crossed.estimate(criterion, level, "criterion", logit=False)),
    }


def _rows(study: _Study, readers: Sequence[Reader]) -> list[dict[str, object]]:
    """One row a reader, under the pseudonym, with the exact interval of the accuracy on these very images."""
    who = {reader.pseudonym: reader for reader in readers}
    rows: list[dict[str, object]] = []
    areas = detection.areas(study.table).values
    for number, name in enumerate(study.table.readers):
        called = study.table.called[number]
        hits, alarms = (called[(study.table.synthetic == kind) & ~np.isnan(called)] for kind in (True, False))
        right = int(hits.sum() + (1 - alarms).sum())
        low, high = detection.clopper_pearson(right, len(hits) + len(alarms), study.protocol.level)
        found = detection.signal(int(hits.sum()), len(hits), int(alarms.sum()), len(alarms))
        row: dict[str, object] = {
            "reader": name,
            "images": len(hits) + len(alarms),
            "accuracy": right / (len(hits) + len(alarms)),
            "low": low,
            "high": high,
            "called_synthetic_right": float(hits.mean()),
            "called_synthetic_wrong": float(alarms.mean()),
            "auc": float(areas[number]),
            "dprime": found.dprime,
            "criterion": found.criterion,
        }
        if name in who:
            row |= {"outside": who[name].outside, "experience": who[name].experience}
        rows.append(row)
    return rows


def _consistency(study: _Study) -> dict[str, Number]:
    level = study.protocol.level
    among = agreement.among(study.table, level)
    share, kappa = agreement.within(agreement.repeats(study.votes), level, SCALE_MIDDLE)
    alpha = agreement.krippendorff(study.table.scores)
    beside: dict[str, object] = {"pairs": share.cases, "kappa": kappa.value}
    if kappa.interval:
        beside |= {"kappa low": kappa.interval.low, "kappa high": kappa.interval.high}
    return {
        "kappa": _agreed(among, {"images in common": among.cases, "krippendorff alpha, six points": alpha}),
        "intra": _agreed(share, beside),
    }


def _agreed(one: agreement.Agreement, details: dict[str, object]) -> Number:
    if one.interval is None:
        return Number(None, None, one.reason, details | {"point": one.value})
    return Number(one.value, one.interval, "", details)


def _session(study: _Study) -> dict[str, Number]:
    found = course(study.votes, study.protocol.level)
    rng = seeds.generator(study.options.seed, "reading clicks")
    clicks = giveaways(study.votes, study.options.cells, study.options.permutations, rng)
    told = {key: one for key, one in clicks._asdict().items() if key not in ("p", "reason") and one is not None}
    told |= {"hits": clicks.hits.tolist(), "alarms": clicks.alarms.tolist()}
    return {
        "learning": _trend(found.learning, study.table),
        "fatigue": _trend(found.fatigue, study.table),
        "seconds": _trend(found.seconds, study.table),
        "giveaway": Number(clicks.p, None, clicks.reason, told),
    }


def _trend(one: Trend, of: Table) -> Number:
    each: dict[str, object] = {"each": list(one.each)}
    if len(one.each) == len(of.readers):
        each = {"each": dict(zip(of.readers, one.each, strict=True))}
    if one.interval is None:
        return Number(None, None, one.reason, each | {"point": one.value})
    return Number(one.value, one.interval, "", each)


def _second_task(study: _Study) -> dict[str, Number]:
    level, synthetic, kinds = study.protocol.level, study.table.synthetic, study.kinds
    if "plausibility" not in study.protocol.tasks:
        return dict.fromkeys(("label_right", "plausible"), Number(None, None, "the protocol has no such task", {}))
    said = answers(study.votes, study.table)
    found = {}
    for quantity, values, what in (
        ("label_right", said.right, "share of synthetic images whose label was called right"),
        ("plausible", said.plausible, "share of synthetic images without a reason to reject"),
    ):
        real = _share(values[:, ~synthetic], kinds[~synthetic], level, "the same of real images")
        beside: dict[str, object] = {"real images": real.value}
        if real.interval:
            beside |= {"real images, low": real.interval.low, "real images, high": real.interval.high}
        extra = said.unsure if quantity == "label_right" else said.quality
        name = "unsure" if quantity == "label_right" else "mean quality"
        beside |= {
            f"{name}, {kind}": _mean(extra[:, synthetic == flag])
            for kind, flag in (("real", False), ("synthetic", True))
        }
        if quantity == "plausible":
            beside |= {"reasons": reasons(study.votes, "synthetic"), "reasons, real": reasons(study.votes, "real")}
        found[quantity] = _number(_share(values[:, synthetic], kinds[synthetic], level, what), beside)
    return found


def _mean(values: np.ndarray) -> float | None:
    return None if np.isnan(values).all() else float(np.nanmean(values))
