"""Sequences over time: do synthetic frames change as much as real ones do, and do their stages go one way?

    frame_difference  1-Wasserstein distance of how much neighbouring frames differ, synthetic against unseen real ones
    order_violations  share of sequences in which a judge sees a stage go back, synthetic minus real
    backward_steps    steps back per sequence, synthetic minus real
    stage_fidelity    share of frames in which the judge sees the stage that is stated, synthetic minus real

The judge is a small network trained on the real training frames (`chambit.measure.classifier`); it errs, too, so the
unseen real sequences stand beside under the same judge. The order of the stages is told, or read off the real training
sequences: labels by the frame in which they first appear. Sequences are the rows of one `series`, in order of `frame`.

Controls: real sequences with shuffled frames must lie outside the band of the differences; played backwards they must
be seen to go back, as often as their stated stages change; and the judge must know the stages of real frames better
than chance does. In one dimension the Wasserstein distance is the area between two cumulative distributions
(Vallender 1974, doi:10.1137/1118101); chance is taken off agreement as
Cohen 1960 does (doi:10.1177/001316446002000104).

Known failures: both sides must have the same time between frames. Whoever has more frames has more chances to step
back; lengths are told, and a caveat where they differ. A sequence of one frozen picture never goes back: read the
differences beside it. The judge sees frames one by one.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from chambit.core.errors import InputError, Problem
from chambit.core.evidence import Band, Control, Finding, Frozen, Interval
from chambit.measure import bands, interval, resampling, sequences, stages
from chambit.measure.examination import Examination, Result, not_run
from chambit.measure.sequences import Sequences

version = "1"
OF_STAGES = {"order_violations": "lower", "backward_steps": "lower", "stage_fidelity": "higher"}
QUANTITIES = {"frame_difference": "lower"} | OF_STAGES
ROLES = ("train", "holdout", "synthetic")
JUDGED = stages.JUDGED
FEWEST = 6
"""Subjects a side that halves of groups need."""
UNCHANGING = "Labels do not change within the real sequences, so there are no stages to be in order."


class Options(Frozen):
    """Settings come from the policy file.

    order: stages from first to last, () to read them off the training sequences; seeds: trainings of the judge, whose
    opinions are averaged; steps: optimiser steps of each; learner: which network; least: fewest sequences and subjects
    a side; most: sequences a side; splits: of the band; draws: bootstrap of subjects; pairs: of groups of subjects;
    control: what of the known steps and of the agreement beyond chance the judge must find in real sequences.
    """

    order: tuple[str, ...] = ()
    seeds: int = 1
    steps: int
    learner: str = "convolution"
    least: int
    most: int = 1000
    splits: int = 40
    draws: int = 1000
    pairs: int = 31
    control: float
    level: float = 0.95

    @property
    def trainings(self) -> int:
        """Networks that are trained."""
        return self.seeds


def measure(exam: Examination, options: Options) -> Result:
    """Differences of neighbouring frames; steps back and agreement, too, where labels change within sequences."""
    name = f"temporal@{version}"
    sizes = {f"{role} images": exam.count(role) for role in ROLES}
    if reason := exam.lacks(dict.fromkeys(ROLES, 1), {}):
        return not_run(name, QUANTITIES, reason, sizes)
    for role in ROLES:
        if lacking := sequences.missing(exam[role]):
            reason = f"The images of the role '{role}' are no sequences: no column {lacking} with anything in it."
            return not_run(name, QUANTITIES, reason, sizes)
    rng = np.random.default_rng(exam.context.seed("sequences"))
    seen = {role: sequences.of(exam[role]) for role in ROLES}
    for role, found in seen.items():
        people = len(np.unique(found.owners))
        if min(len(found), people) < options.least:
            reason = (
                f"The role '{role}' is too small: {len(found)} sequences of {people} subjects, "
                f"at least {options.least} of each needed."
            )
            return not_run(name, QUANTITIES, reason, {f"{role} sequences": len(found) for role, found in seen.items()})
    seen = {role: found.take(bands.pick(np.arange(len(found)), options.most, rng)) for role, found in seen.items()}
    about = {"frames": {role: _frames(found) for role, found in seen.items()}}
    return Result((_difference(exam, name, seen, options, about), *_stages(exam, name, seen, options, about)))


def _frames(found: Sequences) -> dict[str, float]:
    """How many frames the sequences have."""
    lengths = found.lengths
    return {"least": int(lengths.min()), "median": float(np.median(lengths)), "most": int(lengths.max())}


def _changing(exam: Examination, found: Sequences) -> bool:
    """Whether the label changes in any real sequence."""
    return any(len(set(exam["holdout"].labels[at].tolist())) > 1 for at in found.at)


def _caveat(about: Mapping[str, Any]) -> str:
    """What must be said where sequences of the two sides differ in length, or ""."""
    real, made = (about["frames"][role]["median"] for role in JUDGED)
    return "" if real == made else f"Synthetic sequences have {made:g} frames, real ones {real:g} (medians)."


# --- how much neighbouring frames differ


def _difference(
    exam: Examination, name: str, seen: Mapping[str, Sequences], options: Options, about: Mapping[str, Any]
) -> Finding:
    rng = np.random.default_rng(exam.context.seed("differences"))
    moved = {role: sequences.differences(exam[role], seen[role]) for role in ROLES}
    real = [*moved["train"], *moved["holdout"]]
    _, owners = np.unique(np.concatenate([seen[role].owners for role in ROLES[:2]]), return_inverse=True)
    held = np.arange(len(moved["train"]), len(real))
    n = min(bands.common_size(len(moved["synthetic"]), owners), len(held))
    left, right = bands.pick(held, n, rng), bands.pick(np.arange(len(moved["synthetic"])), n, rng)

    people = min(len(np.unique(owners[left])), len(np.unique(seen["synthetic"].owners[right])))
    if people < FEWEST:
        reason = f"Frames of {people} subjects a side can be compared, at least {FEWEST} are needed."
        return not_run(name, {"frame_difference": "lower"}, reason, {"sequences per side": n}).findings[0]

    def value(one: np.ndarray, other: np.ndarray) -> float:
        return sequences.distance([real[k] for k in one], [moved["synthetic"][k] for k in other])

    def between(one: np.ndarray, other: np.ndarray) -> list[float]:
        return [sequences.distance([real[k] for k in one], [real[k] for k in other])]

    (band,) = bands.real_versus_real(between, owners, n, options.splits, rng)
    few = resampling.pairs_for(people, options.pairs)
    a, b = (interval.groups(whose, 2 * few, rng) for whose in (owners[left], seen["synthetic"].owners[right]))
    halves = np.array([value(left[part[a]], right[part[b]]) for part in resampling.halves(few)])
    whole = value(left, right)
    method = f"{len(halves)} halves of the subjects"
    means = {role: float(np.mean([part.mean() for part in moved[role]])) for role in ROLES}
    return Finding(
        measure=name,
        quantity="frame_difference",
        value=whole,
        interval=resampling.from_halves(whole, halves, options.level, method, smooth=False),
        n={"sequences per side": n, "holdout subjects": len(np.unique(owners[left]))},
        null=band.middle,
        direction="lower",
        band=band,
        control=_shuffled(exam, seen, [real[k] for k in left], held, left, band, rng),
        reason=" ".join(filter(None, (_caveat(about), "" if _changing(exam, seen["holdout"]) else UNCHANGING))),
        details=dict(about) | {"means": means},
        inputs=exam.inputs(*ROLES),
    )


def _shuffled(
    exam: Examination,
    seen: Mapping[str, Sequences],
    real: Sequence[np.ndarray],
    held: np.ndarray,
    left: np.ndarray,
    band: Band,
    rng: np.random.Generator,
) -> Control:
    """The same real sequences with their frames in an order of chance."""
    mixed = seen["holdout"].take(left - held[0]).shuffled(rng)
    apart = sequences.distance(real, sequences.differences(exam["holdout"], mixed))
    return Control(
        name="frames of real sequences shuffled",
        expected=f"outside the band, above {band.high:.4g}",
        observed=f"{apart:.4g}",
        fired=apart > band.high,
    )


# --- stages, as a judge sees them


def _stages(
    exam: Examination, name: str, seen: Mapping[str, Sequences], options: Options, about: Mapping[str, Any]
) -> tuple[Finding, ...]:
    sizes = {f"{role} sequences": len(seen[role]) for role in ROLES}
    order = _order(exam, seen, options)
    if len(order) < 2 or not _changing(exam, seen["holdout"]):
        # loops of one heart or slices of one volume have no stages: that is a question less, unless somebody asked it
        return not_run(name, OF_STAGES, UNCHANGING, sizes).findings if options.order else ()
    scores = stages.opinions(exam, seen, order, stages.Training(options.learner, options.steps, options.seeds))
    judged = {role: stages.judged(exam[role].labels, seen[role], order, scores[role]) for role in JUDGED}
    rng = np.random.default_rng(exam.context.seed("bootstrap"))
    weights = {role: interval.subject_weights(judged[role].owners, options.draws, rng) for role in JUDGED}
    sizes |= {"holdout subjects": len(np.unique(judged["holdout"].owners))}
    common: dict[str, Any] = {"measure": name, "n": sizes, "null": 0.0, "inputs": exam.inputs(*ROLES)}

    def less(numbers: Mapping[str, np.ndarray]) -> tuple[float, Interval, dict[str, float]]:
        """Mean of the synthetic sequences minus that of the real ones, its interval, and both."""
        means = {role: float(numbers[role].mean()) for role in JUDGED}
        boot = {role: weights[role] @ numbers[role] / weights[role].sum(1) for role in JUDGED}
        spread = interval.percentile(boot["synthetic"] - boot["holdout"], options.level, "bootstrap of subjects")
        return means["synthetic"] - means["holdout"], spread, means

    told = {"order": list(order), **about}
    back = {role: judged[role].back for role in JUDGED}
    any_back = {role: (back[role] > 0).astype(float) for role in JUDGED}
    share, spread, shares = less(any_back)
    ran, stated = _backwards(judged["holdout"], options.control), {role: judged[role].stated for role in JUDGED}
    violations = Finding(
        **common,
        quantity="order_violations",
        value=share,
        interval=_wider(spread, any_back, options.level),
        direction="lower",
        control=ran,
        reason=_caveat(about),
        details=told | {"shares": shares, "stated": stated, "worst": _worst(seen["synthetic"], back["synthetic"])},
    )
    more, spread, means = less(back)
    steps = Finding(
        **common,
        quantity="backward_steps",
        value=more,
        interval=spread,
        direction="lower",
        control=ran,
        reason=_caveat(about),
        details=told | {"means": means},
    )
    return violations, steps, _fidelity(exam, seen, judged, less, common, told, options)


def _fidelity(
    exam: Examination,
    seen: Mapping[str, Sequences],
    judged: Mapping[str, stages.Judged],
    less: Any,
    common: Mapping[str, Any],
    told: Mapping[str, Any],
    options: Options,
) -> Finding:
    """Agreement of judged and stated stages; not where synthetic frames were given one label per sequence."""
    real, constant = judged["holdout"], {}
    for role in JUDGED:
        constant[role] = all(len(set(exam[role].labels[at].tolist())) == 1 for at in seen[role].at)
    if constant["synthetic"]:
        reason = "No stage is stated for each synthetic frame: all frames of a sequence have one label."
        return not_run(common["measure"], {"stage_fidelity": "higher"}, reason, common["n"]).findings[0]
    value, spread, agreement = less({role: judged[role].right for role in JUDGED})
    return Finding(
        **common,
        quantity="stage_fidelity",
        value=value,
        interval=spread,
        direction="higher",
        control=Control(
            name="the judge on unseen real frames",
            expected=f"agreement beyond chance of {options.control:.2f} at least",
            observed=f"{real.kappa:.2f}",
            fired=real.kappa >= options.control,
        ),
        details=dict(told)
        | {"agreement": agreement, "recall": {role: dict(judged[role].recall) for role in JUDGED}}
        | {"kappa": {role: judged[role].kappa for role in JUDGED}},
    )


def _order(exam: Examination, seen: Mapping[str, Sequences], options: Options) -> tuple[str, ...]:
    """The stages in order.

    Raises:
        InputError: the order that was told lacks a stage that occurs in the real training sequences.
    """
    labels = exam["train"].labels
    found = sequences.order_of(labels, seen["train"])
    if not options.order:
        return found
    if lacking := [label for label in found if label not in options.order]:
        told = ", ".join(options.order)
        problems = [Problem("temporal.order", f"has no stage '{label}'", f"it has: {told}") for label in lacking]
        raise InputError("The order of the stages is not complete.", problems)
    return tuple(label for label in options.order if label in found)


def _backwards(real: stages.Judged, control: float) -> Control:
    """The judge must see real sequences that are played backwards go back, and only those.

    Played backwards every forward step is a step back, so the known steps of the stated stages are found to the share
    (forward - backward) / stated; a judge that guesses sees as many of each.
    """
    found = float((real.forth - real.back).sum() / max(int(real.changes.sum()), 1))
    again = float((real.forth[real.changes > 0] > 0).mean()) if (real.changes > 0).any() else 0.0
    return Control(
        name="real sequences played backwards",
        expected=f"{control:.2f} of the known steps at least, and as many of the sequences",
        observed=f"{found:.2f} of the steps; {again:.2f} of the sequences",
        fired=min(found, again) >= control,
    )


def _wider(spread: Interval, found: Mapping[str, np.ndarray], level: float) -> Interval:
    """An interval of a difference of shares, no narrower than Newcombe's: where nothing happens it is not a point."""
    sides = [(int(found[role].sum()), len(found[role])) for role in ("synthetic", "holdout")]
    low, high = interval.newcombe(*sides[0], *sides[1], level)
    method = f"{spread.method}, Newcombe's where wider"
    return spread.model_copy(update={"low": min(spread.low, low), "high": max(spread.high, high), "method": method})


def _worst(found: Sequences, back: np.ndarray, most: int = 10) -> list[dict[str, Any]]:
    """The sequences with most steps back, for the eye."""
    order = np.argsort(-back, kind="stable")[:most]
    return [{"series": found.names[k], "backward_steps": int(back[k])} for k in order.tolist() if back[k]]
