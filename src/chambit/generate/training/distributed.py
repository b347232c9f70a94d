"""Training by several processes: each works on its part of every batch, gradients are averaged, the first one writes.

Data-parallel training as in Li et al. 2020 (arXiv:2006.15704), without overlap: all gradients are averaged as one
vector after the backward pass (gloo between processors, nccl between graphics processors). Draws are functions of
(seed, step) for the whole batch, of which each process takes its rows, so several processes make what one makes, up to
rounding.

On one machine set `CHAMBIT_PROCESSES=4` and start the study as always: the training starts three helpers and waits for
them in the end. On several machines start the study with `RANK=0 WORLD_SIZE=... MASTER_ADDR=... MASTER_PORT=...` in
its environment, and on the others, on the same file system, the helpers by hand or by torchrun:

    python -m chambit.generate.training.distributed OUT/work/scratch/STEP/job.pt

Under torchrun every process may be such a helper: the first one then writes checkpoints beside the job, from which the
study goes on to the end when it is started again.
"""

import os
import pickle
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch

from chambit.core.errors import InputError, Problem
from chambit.core.store import write_atomically

VARIABLE = "CHAMBIT_PROCESSES"
PATIENCE = timedelta(minutes=30)  # the first process may look, or write, for long


class Group(NamedTuple):
    """This process's number among those that train, and how many they are."""

    rank: int = 0
    world: int = 1


ALONE = Group()


class Job(NamedTuple):
    """What a helper needs to train.

    Attributes:
        ready: prepared items.
        options, objective: of the stage.
        seed, step: the step's seed and name.
        look: steps between two looks of the first process, 0 for none: there the others wait for its word.
    """

    ready: Any
    options: Any
    objective: Any
    seed: int
    step: str
    look: int


def averaged(parameters: Sequence[torch.Tensor], loss: torch.Tensor, group: Group) -> torch.Tensor:
    """Replace the gradients by their mean over the processes; returns the mean loss."""
    if group.world == 1:
        return loss
    gradients = [p.grad for p in parameters if p.grad is not None]
    flat = torch.cat([loss.reshape(1).float(), *(gradient.reshape(-1) for gradient in gradients)])
    torch.distributed.all_reduce(flat)
    mean, *pieces = torch.split(flat / group.world, [1, *(gradient.numel() for gradient in gradients)])
    for gradient, piece in zip(gradients, pieces, strict=True):
        gradient.copy_(piece.reshape(gradient.shape))
    return mean[0]


def agreed(value: int | None, group: Group) -> int | None:
    """What the first process says."""
    if group.world == 1:
        return value
    said: list[int | None] = [value]
    torch.distributed.broadcast_object_list(said, src=0)
    return said[0]


def wanted() -> Group:
    """The group that the environment asks for.

    Raises:
        InputError: when it asks for no number of processes.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        return Group(int(os.environ.get("RANK", "0")), int(os.environ["WORLD_SIZE"]))
    text = os.environ.get(VARIABLE, "1")
    if not text.isdigit() or not int(text):
        raise InputError(
            "Training cannot be shared.", [Problem(VARIABLE, f"is '{text}'", "a number of processes, or unset it")]
        )
    return Group(0, int(text))


@contextmanager
def joined(folder: Path, job: Job | None) -> Iterator[Group]:
    """The group of this training: alone, or with helpers that are started or awaited, and left in the end.

    Args:
        folder: where the job is written for the helpers.
        job: what they need; None for a training that cannot be shared, which then is done alone.

    Raises:
        InputError: when the batch cannot be dealt out evenly.
    """
    group = ALONE if job is None else wanted()
    if job is None or group.world == 1:
        yield ALONE
        return
    if job.options.batch % group.world:
        problem = Problem("batch", f"{job.options.batch} cannot be dealt to {group.world} processes", "give a multiple")
        raise InputError("Training cannot be shared.", [problem])
    path = folder / "job.pt"
    helpers: list[subprocess.Popen[bytes]] = []
    meeting = f"file://{folder.resolve()}/meeting-{os.getpid()}"
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        meeting = "env://"
    elif group.rank == 0:
        write_atomically(path, pickle.dumps(job))
        helpers = [_helper(path, rank, group.world, meeting) for rank in range(1, group.world)]
    if group.rank == 0 and not helpers:
        write_atomically(path, pickle.dumps(job))
    try:
        with _met(group, meeting):
            yield group
        for helper in helpers:
            helper.wait()
    finally:
        for helper in helpers:
            with suppress(ProcessLookupError):
                helper.kill()
            helper.wait()
        path.unlink(missing_ok=True)


@contextmanager
def _met(group: Group, meeting: str) -> Iterator[None]:
    from chambit.generate.training import device

    backend = "nccl" if device.choose().type == "cuda" else "gloo"
    torch.distributed.init_process_group(
        backend, init_method=meeting, rank=group.rank, world_size=group.world, timeout=PATIENCE
    )
    try:
        yield
    finally:
        torch.distributed.destroy_process_group()


def _helper(path: Path, rank: int, world: int, meeting: str) -> "subprocess.Popen[bytes]":
    environment = os.environ | {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(world)}
    command = [sys.executable, "-m", "chambit.generate.training.distributed", str(path), meeting]
    return subprocess.Popen(command, env=environment)


class Helping(NamedTuple):
    """The place of a helper (`loop.Place`): it tells nobody anything."""

    scratch: Path

    def progress(self, done: int, total: int, unit: str) -> None:
        """Nothing."""

    def note(self, text: str) -> None:
        """Nothing."""


class Waiting(NamedTuple):
    """The looker of a helper (`loop.Looker`): it knows when the first process looks, and sees nothing."""

    every: int
    steps: int

    def due(self, step: int) -> bool:
        """As `chambit.generate.training.looking.Looking`."""
        return self.every > 0 and (step % self.every == 0 or step == self.steps)

    def at(self, step: int, average: Sequence[torch.Tensor]) -> int | None:
        """Nothing."""
        return None

    def weights(self, step: int) -> list[torch.Tensor]:
        """The first process has them."""
        raise NotImplementedError


def help_with(path: Path, meeting: str = "env://", patience: float = 600.0) -> None:
    """Take part in the training of a job to its end.

    Args:
        path: of the job; it is waited for, because the first process writes it.
        meeting: where the processes meet, as torch names it.
        patience: seconds to wait.

    Raises:
        InputError: when the job does not come.
    """
    from chambit.core.seeds import seed as derive
    from chambit.generate.training import diffusion, loop, trained

    until = time.monotonic() + patience
    while not path.exists():
        if time.monotonic() > until:
            raise InputError("There is nothing to help with.", [Problem(str(path), "did not come", "start the study")])
        time.sleep(0.2)
    job: Job = pickle.loads(path.read_bytes())
    group, options = wanted(), job.options
    seeds = partial(derive, job.seed, job.step)
    network = trained.network(seeds("weights"), job.ready.codec, job.ready.told, options)
    learner = diffusion.Learner(network, job.ready, options, job.objective, seeds)
    plan = loop.Plan(options.steps, options.rate, options.gamma, options.checkpoint)
    with _met(group, meeting):
        loop.run(Helping(path.parent), learner, plan, Waiting(job.look, options.steps), group)


if __name__ == "__main__":
    # run as a module this file has another name, and what is unpickled belongs to the one that others import
    from chambit.generate.training.distributed import help_with as started

    started(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else "env://")
