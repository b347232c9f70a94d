"""Looks at a running training: what the averaged weights would draw now, for whoever watches for memorisation.

A look changes nothing of the training: it has a network of its own and its streams follow from fixed seeds, the same at
every look, so that what changes along a training is the weights alone. The weights of every look are kept in the
scratch folder until the training ends, so that the watcher may ask for those of an earlier look.
"""

import copy
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from chambit.generate.training import checkpoint, loop

Known = Callable[[np.ndarray, Sequence[int]], np.ndarray]
"""How well the network knows images float32 (N, H, W) of these class indices: float64 (N,), larger is better."""

HEUN = 5  # solver steps of a look's samples; the released images get more
LEVELS = (0.4,)  # fewer than a probe has: a look must be cheap


class Look(NamedTuple):
    """What a watcher is shown.

    Attributes:
        step: how many steps the training has made.
        samples: float32 (k, H, W) in [0, 1]: of items with an axis the frame in the middle, of coloured ones the
            luminance.
        labels: int64 (k,), class index of each sample, of items with a class for each frame that of the middle one.
        known: how well the network knows grey pictures; None where it is asked about anything else, or cannot say.
    """

    step: int
    samples: np.ndarray
    labels: np.ndarray
    known: Known | None


Watch = Callable[[Look], int | None]
"""Shown a look -> None to go on, or the step of a look: stop, and use its weights."""


class Shown(NamedTuple):
    """What a model draws and says at a look, as `Look` has them."""

    samples: np.ndarray
    labels: np.ndarray
    known: Known | None


class Looking:
    """Looks every `every` steps and at the end; 0 or no watcher: never.

    Args:
        watch: who is shown.
        every: steps between two looks.
        steps: of the training.
        model: anything with a `network` that can be replaced (`_replace`).
        show: draws with a model, the same things at every look.
        folder: where weights are kept.
    """

    def __init__(
        self,
        watch: Watch | None,
        every: int,
        steps: int,
        model: Any,
        show: Callable[[Any], Shown],
        folder: Path,
    ) -> None:
        self.watch, self.every, self.steps, self.show, self.folder = watch, every, steps, show, folder
        # a network of its own: the one in training is not touched
        self.model = model._replace(network=copy.deepcopy(model.network).eval()) if self.asked else model

    @property
    def asked(self) -> bool:
        """Whether there is any look."""
        return self.watch is not None and self.every > 0

    def due(self, step: int) -> bool:
        """Whether there is a look after `step` steps."""
        return self.asked and (step % self.every == 0 or step == self.steps)

    def at(self, step: int, average: Sequence[torch.Tensor]) -> int | None:
        """Look at the averaged weights after `step` steps; what the watcher answers."""
        assert self.watch is not None
        checkpoint.save(self._path(step), [one.detach().cpu() for one in average])
        loop.overwrite(self.model.network.parameters(), average)
        shown = self.show(self.model)
        return self.watch(Look(step, *shown))

    def weights(self, step: int) -> list[torch.Tensor]:
        """The averaged weights of an earlier look."""
        kept: list[torch.Tensor] = torch.load(self._path(step), weights_only=True)
        return kept

    def _path(self, step: int) -> Path:
        return self.folder / f"look-{step:08d}.pt"
