"""Lots of labels in an inspection: the plan of each, the sample that is drawn, and what the readers found."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from chambit.measure.interval import clopper_pearson
from chambit.prepare import sampling
from chambit.prepare.contract import Contract, LabelInspection
from chambit.prepare.fulfilment import Line, Outcome
from chambit.report.inspection import Lot

LEVEL = 0.95
"""Of the interval of the accuracy, as everywhere in Chambit; accept or reject does not depend on it."""


def drawn(contract: Contract, rows: Sequence[Mapping[str, Any]], key: str) -> tuple[list[Lot], list[sampling.Drawn]]:
    """The plan of each lot, and the labels drawn from all of them; readable files with a label are the lots.

    Args:
        contract: what was agreed; without `label_inspection` there are no lots.
        rows: from `delivery.told`.
        key: of the draw, from `sampling.seed`.
    """
    if (agreed := contract.label_inspection) is None:
        return [], []
    by_lot: dict[str, dict[str, tuple[str, str]]] = defaultdict(dict)
    for row in rows:
        if row["readable"] and row["class"]:
            name = row["class"] if agreed.lots == "class" else ""
            by_lot[name][row["file"]] = (row["sha256"], row["class"])
    lots = [_lot(agreed, name, len(files)) for name, files in sorted(by_lot.items())]
    sample = [one for lot in lots for one in sampling.drawn(lot.name, by_lot[lot.name], lot.plan.sample, key)]
    return lots, sample


def _lot(agreed: LabelInspection, name: str, size: int) -> Lot:
    if (risks := agreed.plan) is None:
        assert agreed.fixed is not None  # the contract's own validator has seen to it
        plan = sampling.Plan(size, min(agreed.fixed.sample, size), agreed.fixed.accept)
        return Lot(name=name, plan=plan, curve=tuple(sampling.oc_curve(plan)))
    points: dict[str, float] = {}
    if risks.aql is None or risks.producer_risk is None:
        plan = sampling.for_accept(size, risks.accept or 0, ltpd=risks.ltpd, consumer_risk=risks.consumer_risk)
    else:
        plan = sampling.planned(
            size,
            aql=risks.aql,
            producer_risk=risks.producer_risk,
            ltpd=risks.ltpd,
            consumer_risk=risks.consumer_risk,
        )
        good = sampling.wrong_at(size, risks.aql, up=False)
        points |= {"good": good, "producer_risk": 1 - sampling.acceptance(plan, good)}
    bad = sampling.wrong_at(size, risks.ltpd, up=True)
    points |= {"bad": bad, "consumer_risk": sampling.acceptance(plan, bad)}
    return Lot(name=name, plan=plan, curve=tuple(sampling.oc_curve(plan, 2 * bad)), points=points)


def judged(lots: Sequence[Lot], wrong: Mapping[str, Sequence[str]]) -> list[Lot]:
    """The lots with how many labels were wrong, and the Clopper-Pearson interval of the accuracy.

    The interval is binomial: for a sample without replacement it is too wide rather than too narrow.
    """
    out = []
    for lot in lots:
        found, of = len(wrong[lot.name]), lot.plan.sample
        low, high = clopper_pearson(of - found, of, LEVEL)
        out.append(lot.model_copy(update={"wrong": found, "low": low, "high": high}))
    return out


def lines(contract: Contract, lots: Sequence[Lot]) -> list[Line]:
    """One line for each lot; one that cannot be told where the contract asks for a sample and no file has a label."""
    if (agreed := contract.label_inspection) is None:
        return []
    if not lots:
        return [_line(agreed, Outcome.UNKNOWN, "nothing to judge")]
    return [_accuracy(agreed, lot) for lot in lots]


def _accuracy(agreed: LabelInspection, lot: Lot) -> Line:
    of, accept, wrong = lot.plan.sample, lot.plan.accept, lot.wrong
    told: dict[str, int | float | str] = {"sample": of}
    update: dict[str, Any] = {"group": "class" if lot.name else "", "item": lot.name, "contracted": accept, "of": of}
    if wrong is None or lot.low is None or lot.high is None:
        return _line(agreed, Outcome.UNKNOWN, "sample not read").model_copy(update=update | {"told": told})
    outcome = Outcome.MET if wrong <= accept else Outcome.NOT_MET
    told |= {"wrong": wrong, "accuracy": 1 - wrong / of, "low": lot.low, "high": lot.high}
    update |= {"delivered": wrong, "deviation": max(wrong - accept, 0), "percent": 100 * wrong / of, "told": told}
    return _line(agreed, outcome, "sample read").model_copy(update=update)


def _line(agreed: LabelInspection, outcome: Outcome, reason: str) -> Line:
    return Line(
        criterion="label accuracy",
        rule="at most",
        contracted="",
        delivered=None,
        unit="labels",
        outcome=outcome,
        reason=reason,
        clause=agreed.clause,
    )
