"""A planned step: what it is called, how to build it from what came before, and what it is expected to cost."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from chambit.core.steps import Event, Outputs, Step, Workshop

Made = Mapping[str, Outputs]


class Planned(NamedTuple):
    """One step of a plan.

    Attributes:
        name: unique in the plan.
        build: makes the step from the outputs of the steps before it.
        items, unit: how much there is to do, as far as the study tells.
        rate: items per second on two cores of a 2.1 GHz server (measured once); the ledger's own rate is preferred.
        megabytes: what it is expected to add to the store.
    """

    name: str
    build: Callable[[Made], Step]
    items: int
    unit: str
    rate: float
    megabytes: float


class Estimate(NamedTuple):
    """One line of `chambit plan`."""

    name: str
    done: bool
    items: int
    unit: str
    seconds: float
    megabytes: float


def run(workshop: Workshop, planned: Sequence[Planned]) -> dict[str, Outputs]:
    """Do every step that is not done; returns all outputs by step name."""
    made: dict[str, Outputs] = {}
    for number, entry in enumerate(planned, start=1):
        workshop.tell(Event(entry.name, number, len(planned), state="step"))
        made[entry.name] = workshop.run(entry.build(made))
    return made


def estimate(workshop: Workshop, planned: Sequence[Planned]) -> list[Estimate]:
    """What is done already and what the rest is expected to take; nothing is run."""
    made: dict[str, Outputs] | None = {}
    lines = []
    for entry in planned:
        outputs = None
        if made is not None:
            step = entry.build(made)
            outputs = workshop.done(step)
        # a step whose inputs are not made yet cannot be done
        made = None if outputs is None or made is None else made | {entry.name: outputs}
        rate = workshop.ledger.rate(entry.name) or entry.rate
        seconds = 0.0 if outputs is not None else entry.items / rate
        lines.append(
            Estimate(
                entry.name,
                outputs is not None,
                entry.items,
                entry.unit,
                seconds,
                0.0 if outputs else entry.megabytes,
            )
        )
    return lines
