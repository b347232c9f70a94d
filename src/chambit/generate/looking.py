"""Looks at a running training: what the averaged weights would draw now, for whoever watches for memorisation.

A look changes nothing of the training: it has a network of its own and its streams follow from fixed seeds, the same at
every look, so that what changes along a training is the weights alone. The weights of every look are kept in the
scratch folder until the training ends, so that the watcher may ask for those of an earlier look.
"""

import copy
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from chambit.generate import checkpoint, trained

Known = Callable[[np.ndarray, Sequence[int]], np.ndarray]
"""How well the network knows images float32 (N, H, W) of these class indices: float64 (N,), larger is better."""
Watch = Callable[[int, np.ndarray, Known], int | None]
"""(step, samples float32 (k, H, W), known) -> None to go on, or the step of a look: stop, and use its weights."""

HEUN = 5  # solver steps of a look's samples; the released images get more
LEVELS = (0.4,)  # fewer than a probe has: a look must be cheap


class Drawn(NamedTuple):
    """What is drawn at every look: class index, whether with a mask, and seed of each sample."""

    labels: list[int]
    findings: list[bool]
    seeds: list[int]

    @classmethod
    def like(cls, labels: torch.Tensor, masks: np.ndarray | None, count: int, seed: int) -> "Drawn":
        """`count` samples with label and mask as of training images chosen at random."""
        generator = np.random.default_rng(seed)
        chosen = generator.integers(len(labels), size=count)
        found = np.zeros(count, bool) if masks is None else np.asarray(masks[chosen].any((1, 2)))
        return cls(
            labels[chosen].tolist(), [bool(one) for one in found], generator.integers(2**62, size=count).tolist()
        )


class Looking:
    """Looks every `every` steps and at the end; 0 or no watcher: never."""

    def __init__(
        self, watch: Watch | None, every: int, steps: int, model: trained.Model, drawn: Drawn, seed: int, folder: Path
    ) -> None:
        self.watch, self.every, self.steps, self.drawn, self.seed, self.folder = (
            watch, every, steps, drawn, seed, folder,
        )  # fmt: skip
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
        checkpoint.save(self._path(step), list(average))
        model = trained.with_parameters(self.model, average)
        drawn = self.drawn
        samples, _ = trained.draw(model, drawn.labels, drawn.seeds, drawn.findings, HEUN, 1)

        def known(images: np.ndarray, labels: Sequence[int]) -> np.ndarray:
            return trained.denoising(model, images, labels, None, self.seed, LEVELS)

        return self.watch(step, samples, known)

    def weights(self, step: int) -> list[torch.Tensor]:
        """The averaged weights of an earlier look."""
        kept: list[torch.Tensor] = torch.load(self._path(step), weights_only=True)
        return kept

    def _path(self, step: int) -> Path:
        return self.folder / f"look-{step:08d}.pt"
