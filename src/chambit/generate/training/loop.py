"""The one training loop: schedule, clipping, average of the weights, looks, checkpoints, several processes.

A learner says what one step is: it computes gradients of its own draws, which are functions of (seed, step). The loop
does the rest, so that everything that is trained is resumable after a kill and gives equal bytes on one machine with
one thread count.

The average's weight of step s is proportional to s^gamma (Karras et al. 2023, arXiv:2312.02696). Gradients are clipped
to a norm of 1.
"""

import math
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch

from chambit.core.errors import ChambitError, Problem
from chambit.generate.objectives import flow
from chambit.generate.training import distributed
from chambit.generate.training.checkpoint import Checkpoint

EVERY = 10  # steps between two points of the loss curve, and between two news of progress


class Place(Protocol):
    """What the loop needs of a `chambit.core.steps.Context`."""

    @property
    def scratch(self) -> Path:
        """A folder that survives a kill."""

    def progress(self, done: int, total: int, unit: str) -> None:
        """Say how far it is."""

    def note(self, text: str) -> None:
        """Say a sentence a person should read."""


class Plan(NamedTuple):
    """How long and how: steps, learning rate, gamma of the average, steps between checkpoints, name of the file."""

    steps: int
    rate: float
    gamma: float
    checkpoint: int
    name: str = "checkpoint"


class Learner(Protocol):
    """What is trained.

    Attributes:
        parameters: of the network whose average is used in the end.
        optimiser: steps whatever has a gradient; parameters of another player are a group of their own in it.
        others: further tensors that the next step depends on.
    """

    parameters: list[Any]
    optimiser: Any
    others: list[torch.Tensor]

    def backward(self, step: int, rows: slice) -> torch.Tensor:
        """Leave gradients of these rows of the step's batch in the parameters; the loss, a scalar."""


class Looker(Protocol):
    """Who looks at a running training (`chambit.generate.training.looking`)."""

    def due(self, step: int) -> bool:
        """Whether there is a look after `step` steps."""

    def at(self, step: int, average: Sequence[torch.Tensor]) -> int | None:
        """Look; None to go on, or the step of an earlier look whose weights are to be used."""

    def weights(self, step: int) -> list[torch.Tensor]:
        """The averaged weights of an earlier look."""


class Trained(NamedTuple):
    """Averaged parameters on the processor, and the mean loss of every ten steps."""

    average: list[torch.Tensor]
    losses: list[float]


def run(
    context: Place,
    learner: Learner,
    plan: Plan,
    looking: Looker | None,
    group: distributed.Group = distributed.ALONE,
) -> Trained:
    """Train to the end, or until the looker stops it.

    Args:
        context: for the scratch folder and for news.
        learner: what is trained.
        plan: how long and how.
        looking: who looks, or None.
        group: the processes that share the batch; the first alone writes, looks and tells.

    Raises:
        ChambitError: when the loss is no number any more.
    """
    parameters, first_rank = learner.parameters, group.rank == 0
    average = [p.detach().clone() for p in parameters]
    # sum and number of the losses of every ten steps: kept like an average, so that a kill leaves no gap
    curve = torch.zeros(-(-plan.steps // EVERY), 2, device=average[0].device)
    others = [*average, *learner.others, curve]
    saved = Checkpoint(context.scratch / f"{plan.name}.pt", parameters, others, learner.optimiser)
    first = step = saved.restore()
    began = time.monotonic()
    rows = slice(group.rank, None, group.world)
    for step in range(first, plan.steps):
        for settings in learner.optimiser.param_groups:
            settings["lr"] = plan.rate * schedule(step, plan.steps)
        loss = distributed.averaged(parameters, learner.backward(step, rows), group)
        curve[step // EVERY] += torch.stack([loss, torch.ones_like(loss)])
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        learner.optimiser.step()
        learner.optimiser.zero_grad(set_to_none=True)
        flow.averaged(average, [p.detach() for p in parameters], step, plan.gamma)
        done, last = step + 1, step + 1 == plan.steps
        if done % EVERY == 0 or last:
            _whole(curve[step // EVERY], done)
        # a look comes before the checkpoint of its step: whoever goes on from there has had it
        if looking is not None and looking.due(done):
            earlier = distributed.agreed(looking.at(done, average) if first_rank else None, group)
            if earlier is not None:
                if first_rank:
                    average = looking.weights(earlier)
                    context.note(f"training stopped after {done} steps; the weights of step {earlier} are used")
                break
        if first_rank and done % plan.checkpoint == 0 and not last:
            saved.keep(done)
        if first_rank and (done % EVERY == 0 or last):
            context.progress(done, plan.steps, "steps")
    if first < plan.steps and first_rank:
        seconds = max(time.monotonic() - began, 1e-9)
        made = step + 1 - first
        context.note(f"trained {made} steps in {seconds:.0f} s ({made / seconds:.1f} a second)")
    if first_rank and plan.name != "checkpoint":
        saved.keep(plan.steps)  # what is trained first is not trained again when what comes next is killed
    seen = curve[curve[:, 1] > 0].cpu()
    return Trained([one.detach().cpu() for one in average], (seen[:, 0] / seen[:, 1]).tolist())


def _whole(point: torch.Tensor, step: int) -> None:
    if not math.isfinite(point[0].item()):
        remedy = "give a smaller `rate`, or look for images of one grey"
        raise ChambitError("Training went astray.", [Problem(f"step {step}", "the loss is no number any more", remedy)])


def schedule(step: int, steps: int) -> float:
    """Warm-up over 50 steps, constant to 60 %, then linear to 2 %."""
    return min(1.0, (step + 1) / 50) * min(1.0, max(0.02, (steps - step) / (0.4 * steps)))


def overwrite(parameters: Iterable[torch.Tensor], values: Sequence[torch.Tensor]) -> None:
    """Give parameters other values, in order."""
    with torch.no_grad():
        for mine, given in zip(parameters, values, strict=True):
            mine.copy_(given)
