"""Synthetic against unseen real images in the eyes of one or more extractors: what all distances have in common.

The two sides have one n: images of the holdout and as many synthetic ones. Beside each value stands what the same
number is between real images and other real ones at that n (`measure.bands`), its interval by groups of subjects
(`measure.resampling`), the same for each class and stratum, and what saw it: extractor, weights, preprocessing. The
first extractor of the options is the one that is judged; the others are shown beside it, because one number from one
encoder can mislead (Woodland et al. 2024, arXiv:2311.13717; Stein et al. 2023, arXiv:2306.04675).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from chambit.core.evidence import Band, Finding, Frozen, Interval
from chambit.images.imageset import ImageSet
from chambit.measure import bands, extractors, interval, resampling
from chambit.measure.examination import Examination, Result, not_run

ROLES = ("train", "holdout", "synthetic")
LEAST = 14
"""Groups of subjects that halves need at least."""
FLOOR = 1e-3  # smallest scale of a feature, in its own unit: grey levels of [0, 1] or logarithms
STRATA = ("label", "sex", "age_band", "site", "view", "laterality", "modality", "part")
"""Columns by which sets are compared part by part, where both sides have them."""
PUBLISHED = 2048
"""Images a side below which Frechet distances of 2,048 features are not defined without tricks (arXiv:1706.08500)."""


class Options(Frozen):
    """extractors: which features, the first is judged; draws: splits of the band; level: of the interval."""

    extractors: tuple[str, ...] = ("texture",)
    draws: int = 40
    level: float = 0.95


class Sides(NamedTuple):
    """What is compared: features float64 (n, d) of real and of synthetic images, and whose each is, int (n,)."""

    real: np.ndarray
    owners: np.ndarray
    made: np.ndarray
    makers: np.ndarray


class Estimate(NamedTuple):
    """A number with its interval, and what else is told of it."""

    value: float
    interval: Interval
    details: Mapping[str, Any] = {}


Estimates = Mapping[str, Estimate]
Measured = Callable[[Sides, np.random.Generator], Estimates]
Plain = Callable[[Sides], Sequence[float] | np.ndarray]


class Seen(NamedTuple):
    """What one extractor saw: `about` it, the sizes, the numbers, the bands of those that have one, the parts."""

    about: Mapping[str, Any]
    n: int
    subjects: int
    numbers: Estimates
    bands: Mapping[str, Band]
    parts: Mapping[str, Mapping[str, Mapping[str, Any]]]


def lacking(exam: Examination, groups: int, options: Options) -> str:
    """Why nothing can be compared, with the number needed, or "": two images a side and a subject for each group."""
    if reason := exam.lacks(dict.fromkeys(ROLES, 2 * groups), subjects={"holdout": groups}):
        return reason
    used, left_out = extractors.usable(exam, options.extractors)
    why = "; ".join(f"'{name}': {reason}" for name, reason in left_out.items())
    return "" if used else f"No extractor can be used: {why}."


def sizes(exam: Examination) -> dict[str, int]:
    """How many images there are of what is compared."""
    return {f"{role} images": exam.count(role) for role in ROLES}


def one_distance(
    exam: Examination,
    measure: str,
    options: Options,
    pairs: int,
    distance: Callable[[np.ndarray, np.ndarray], float],
) -> Result:
    """The result of a measure that is one distance of features as they are, 0 for equal sets; see `one_number`."""
    return one_number(exam, measure, "distance", "lower", options, pairs, distance, standard=False)


def one_number(
    exam: Examination,
    measure: str,
    quantity: str,
    direction: str,
    options: Options,
    pairs: int,
    number: Callable[[np.ndarray, np.ndarray], float],
    null: float | None = None,
    *,
    standard: bool = True,
) -> Result:
    """The result of a measure that is one number of two feature sets.

    Args:
        exam: what is looked at.
        measure: name and version.
        quantity: what the number is called.
        direction: 'lower' or 'higher'.
        options: extractors, draws, level.
        pairs: of groups of subjects that make the halves of the interval, a power of two less one, at most.
        number: of features of real images (N, d) and of synthetic ones (M, d).
        null: its value for two sets of one kind; the band's middle when not given.
        standard: whether features are centred and scaled by the real images.
    """
    if reason := lacking(exam, LEAST, options):
        return not_run(measure, {quantity: direction}, reason, sizes(exam))

    def measured(sides: Sides, rng: np.random.Generator) -> dict[str, Estimate]:
        few = resampling.pairs_for(len(np.unique(sides.owners)), pairs)
        a, b = (interval.groups(owners, 2 * few, rng) for owners in (sides.owners, sides.makers))
        halves = [number(sides.real[part[a]], sides.made[part[b]]) for part in resampling.halves(few)]
        value, method = number(sides.real, sides.made), f"{len(halves)} halves of the subjects"
        return {quantity: Estimate(
            value, resampling.from_halves(value, np.array(halves), options.level, method, smooth=False)
        )}  # fmt: skip

    def plain(sides: Sides) -> list[float]:
        return [number(sides.real, sides.made)]

    seen = compare(exam, options, measured, plain, [quantity], LEAST, standard=standard)
    return Result((finding(exam, measure, quantity, direction, seen, null),))


def compare(
    exam: Examination,
    options: Options,
    measured: Measured,
    plain: Plain,
    banded: Sequence[str],
    groups: int,
    *,
    standard: bool = True,
) -> list[Seen]:
    """What each extractor sees, in their order.

    Args:
        exam: with train, holdout and synthetic images.
        options: extractors, draws, level.
        measured: the numbers of two sides, with intervals.
        plain: the numbers in `banded` of two sides of real images, alone.
        banded: names of the numbers that have a band.
        groups: groups of subjects that an interval needs; smaller parts are counted only.
        standard: whether features are centred and scaled by the real images.
    """
    used, _ = extractors.usable(exam, options.extractors)
    return [
        _seen(exam, options, name, measured, plain, banded, groups, standard, judged=name == used[0]) for name in used
    ]


def features(exam: Examination, name: str, standard: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features of all real images (train, then holdout) and of the synthetic ones; which are of the holdout.

    `standard`: each is centred and divided by its standard deviation over the real images, so that no unit rules.
    """
    parts = {role: exam.features(role, name) for role in ROLES}
    real, made = np.concatenate([parts["train"], parts["holdout"]]), parts["synthetic"]
    if standard:
        # a feature that never varies in the real images (a black corner) must not blow up a grey level of difference
        centre, scale = real.mean(0), np.maximum(real.std(0), FLOOR)
        real, made = (real - centre) / scale, (made - centre) / scale
    return real, made, np.arange(len(real)) >= len(parts["train"])


def _seen(
    exam: Examination,
    options: Options,
    name: str,
    measured: Measured,
    plain: Plain,
    banded: Sequence[str],
    groups: int,
    standard: bool,
    judged: bool,
) -> Seen:
    real, made, unseen = features(exam, name, standard)
    _, owners = np.unique(np.concatenate([exam[role].subjects for role in ROLES[:2]]), return_inverse=True)
    rng = np.random.default_rng(exam.context.seed("band"))

    def look(of: np.ndarray, synthetic: np.ndarray) -> tuple[int, int, Estimates, dict[str, Band]]:
        """Numbers and bands of some real and synthetic images, given by position."""
        n = min(bands.common_size(len(synthetic), owners[of]), int(unseen[of].sum()))
        left, right = bands.pick(of[unseen[of]], n, rng), bands.pick(synthetic, n, rng)
        numbers = measured(Sides(real[left], owners[left], made[right], np.arange(n)), rng)

        def between(one: np.ndarray, other: np.ndarray) -> Sequence[float] | np.ndarray:
            one, other = of[one], of[other]
            return plain(Sides(real[one], owners[one], real[other], owners[other]))

        found = bands.real_versus_real(between, owners[of], n, options.draws, rng)
        return n, len(np.unique(owners[left])), numbers, dict(zip(banded, found, strict=True))

    n, subjects, numbers, found = look(np.arange(len(real)), np.arange(len(made)))
    parts: dict[str, dict[str, dict[str, Any]]] = {}
    if judged:
        for column, cell, of, synthetic in _cells(exam):
            entry: dict[str, Any] = {"real": int(unseen[of].sum()), "synthetic": len(synthetic)}
            held = len(np.unique(owners[of[unseen[of]]]))
            if held >= groups and min(entry["real"], len(synthetic), len(of) * 9 // 20) >= 2 * groups:
                size, people, few, edges = look(of, synthetic)
                entry |= {"n": size, "subjects": people} | {
                    key: _told(number) | ({"band": edges[key].model_dump()} if key in edges else {})
                    for key, number in few.items()
                }
            parts.setdefault(column, {})[cell] = entry
    told: dict[str, Any] = extractors.about(exam, name) | {"dimensions": real.shape[1]}
    return Seen(told, n, subjects, numbers, found, parts)


def _cells(exam: Examination) -> Iterator[tuple[str, str, np.ndarray, np.ndarray]]:
    """Parts of the sets by class and stratum: column, value, positions in the real and in the synthetic images."""
    columns = {role: exam[role].table.columns for role in ROLES}
    for column in STRATA:
        if all(column in columns[role] for role in ROLES):
            real, made = (
                np.concatenate([_column(exam[role], column) for role in ROLES[:2]]),
                _column(exam["synthetic"], column),
            )
            for cell in sorted(set(real.tolist()) - {""}):
                yield column, cell, np.flatnonzero(real == cell), np.flatnonzero(made == cell)


def _column(images: ImageSet, name: str) -> np.ndarray:
    return images.table[name].cast(pl.String).fill_null("").to_numpy().astype(str)


def _told(number: Estimate) -> dict[str, Any]:
    return {"value": number.value, "low": number.interval.low, "high": number.interval.high}


def finding(
    exam: Examination, measure: str, quantity: str, direction: Any, seen: Sequence[Seen], null: float | None = None
) -> Finding:
    """One number as the first extractor saw it, with what the others saw beside it.

    Args:
        exam: what was looked at.
        measure: name and version.
        quantity: which of the numbers.
        direction: 'lower' or 'higher'.
        seen: of each extractor.
        null: the value of two sets of one kind; the band's middle when not given.
    """
    first = seen[0]
    number, band = first.numbers[quantity], first.bands.get(quantity)
    rows = [
        {"dimensions": one.about["dimensions"], "n": one.n}
        | {key: one.about[key] for key in ("extractor", "weights", "preprocessing_sha256")}
        | _told(one.numbers[quantity])
        | ({"band": one.bands[quantity].model_dump()} if quantity in one.bands else {})
        for one in seen
    ]
    parts = {
        column: {cell: {key: entry[key] for key in entry if key in ("real", "synthetic", "n", "subjects", quantity)}
                 for cell, entry in cells.items()}
        for column, cells in first.parts.items()
    }  # fmt: skip
    middle = band.middle if band else None
    ratio = {"ratio": number.value / middle} if middle and middle > 0 else {}
    return Finding(
        measure=measure,
        quantity=quantity,
        value=number.value,
        interval=number.interval,
        n={"images per side": first.n, "holdout subjects": first.subjects},
        null=middle if null is None else null,
        direction=direction,
        band=band,
        details=dict(first.about) | dict(number.details) | ratio | {"seen": rows, "parts": parts}
        | {"few": first.n < PUBLISHED},
        inputs=exam.inputs(*ROLES),
    )  # fmt: skip
