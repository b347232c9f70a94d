"""The loop of every stage of this room: turns of one or two players, averaged weights, checkpoints, progress.

Batches and noise of a step are functions of the step's own seed, so a killed training goes on to the same weights.
Weights are averaged with the power function of Karras et al. 2023 (arXiv:2312.02696, section 3.1).
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import nn

from chambit.core.steps import Context
from chambit.generate.training.checkpoint import Checkpoint

GAMMA = 6.94  # relative width 0.1 of the average, the paper's usual one
POINTS = 40  # of the loss curve that is kept


class Plan(NamedTuple):
    """How long and how fast: `warm` steps of rising rate, then a cosine down to a hundredth."""

    steps: int
    rate: float
    checkpoint: int
    warm: int = 50


class Turn(NamedTuple):
    """What one player does in a step: its network, its loss of (step, generator of the CPU), and how it is optimised.

    A loss that is None says that the player waits in this step.
    """

    name: str
    network: nn.Module
    loss: Callable[[int, torch.Generator], torch.Tensor | None]
    betas: tuple[float, float] = (0.9, 0.99)
    faster: float = 1.0


def fit(context: Context, turns: Sequence[Turn], plan: Plan, device: torch.device) -> dict[str, list[float]]:
    """Train; afterwards the first player's network holds its averaged weights.

    Args:
        context: of the running step.
        turns: the players in their order; networks are on `device`.
        plan: steps and rate.
        device: where the networks are.

    Returns:
        The loss curve of each player: means over equal stretches of the training.
    """
    players = [list(turn.network.parameters()) for turn in turns]
    groups = [
        {"params": own, "lr": plan.rate * turn.faster, "betas": turn.betas}
        for own, turn in zip(players, turns, strict=True)
    ]
    optimiser = torch.optim.AdamW(groups, weight_decay=0.0, fused=True)
    average = [p.detach().clone() for p in players[0]]
    points = min(POINTS, plan.steps)
    # sums and counts of losses travel in the checkpoint like an average, so a curve has no gap after a kill
    curve = torch.zeros(len(turns), points, 2)
    saved = Checkpoint(
        context.scratch / "checkpoint.pt", [p for own in players for p in own], [*average, curve], optimiser
    )
    first = saved.restore()
    began = time.monotonic()
    for step in range(first, plan.steps):
        generator = torch.Generator().manual_seed(context.seed(f"step {step}"))
        for k, turn in enumerate(turns):
            optimiser.param_groups[k]["lr"] = plan.rate * turn.faster * _schedule(step, plan)
            with _alone(players, k), torch.autocast(device.type, torch.bfloat16):
                loss = turn.loss(step, generator)
                if loss is None:
                    continue
                torch.autograd.backward(loss)
            torch.nn.utils.clip_grad_norm_(players[k], 1.0)
            optimiser.step()  # passes over parameters without a gradient: those of the other player
            optimiser.zero_grad(set_to_none=True)
            curve[k, step * points // plan.steps] += torch.tensor([float(loss.detach()), 1.0])
        beta = (1 - 1 / (step + 1)) ** (GAMMA + 1)
        torch._foreach_lerp_(average, [p.detach() for p in players[0]], 1 - beta)
        if (step + 1) % plan.checkpoint == 0 and step + 1 < plan.steps:
            saved.keep(step + 1)
        if (step + 1) % 10 == 0 or step + 1 == plan.steps:
            context.progress(step + 1, plan.steps, "steps")
    with torch.no_grad():
        for mine, mean in zip(players[0], average, strict=True):
            mine.copy_(mean)
    turns[0].network.eval()
    context.note(f"trained {plan.steps - first} steps in {time.monotonic() - began:.0f} s")
    return {
        turn.name: [round(float(total / count), 5) for total, count in rows if count]
        for turn, rows in zip(turns, curve, strict=True)
    }


@contextmanager
def _alone(players: Sequence[list[nn.Parameter]], mine: int) -> Iterator[None]:
    """Only this player's parameters collect gradients."""
    for k, own in enumerate(players):
        for parameter in own:
            parameter.requires_grad_(k == mine)
    yield
    for parameter in [p for own in players for p in own]:
        parameter.requires_grad_(True)


def _schedule(step: int, plan: Plan) -> float:
    rising = min(1.0, (step + 1) / min(plan.warm, plan.steps))
    return rising * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * step / plan.steps)))


def chosen(count: int, batch: int, generator: torch.Generator) -> torch.Tensor:
    """Positions of a batch, int64 (batch,), drawn with repetition."""
    return torch.randint(count, (batch,), generator=generator)
