"""Where a training was: written whole or not at all, so that a killed training goes on where it stood."""

import io
from pathlib import Path
from typing import Any

import torch

from chambit.core.store import write_atomically


class Checkpoint:
    """Everything the next step depends on: parameters, their average, the optimiser."""

    def __init__(self, path: Path, parameters: list[Any], average: list[Any], optimiser: Any) -> None:
        self.path, self.parameters, self.average, self.optimiser = path, parameters, average, optimiser

    def keep(self, step: int) -> None:
        """Write the state after `step` steps."""
        state = {
            "step": step,
            "parameters": [p.detach() for p in self.parameters],
            "average": self.average,
            "optimiser": self.optimiser.state_dict(),
        }
        save(self.path, state)

    def restore(self) -> int:
        """Load the checkpoint if there is one; returns the next step."""
        if not self.path.exists():
            return 0
        state = torch.load(self.path, weights_only=True, map_location="cpu")
        with torch.no_grad():
            for mine, kept in zip(self.parameters, state["parameters"], strict=True):
                mine.copy_(kept)
        for mine, kept in zip(self.average, state["average"], strict=True):
            mine.copy_(kept)
        self.optimiser.load_state_dict(state["optimiser"])
        return int(state["step"])


def save(path: Path, state: Any) -> None:
    """Write what torch can save, under another name first."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    write_atomically(path, buffer.getvalue())
