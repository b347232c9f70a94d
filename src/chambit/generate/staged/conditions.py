"""What is said of an item besides maps: its class, the levels of its factors and its numbers."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch

from chambit.core.errors import InputError, Problem
from chambit.generate.items import Arrays, Examples


class Conditions(NamedTuple):
    """How conditions become indices and numbers of about unit variance.

    Attributes:
        levels: how many classes there are, then how many levels each factor has, then 2 if it is said whether there
            is a finding; the index after the last means "not known".
        finding: whether the last of `levels` is the finding.
        centre, spread: of each number over the training items.
    """

    levels: tuple[int, ...]
    finding: bool
    centre: tuple[float, ...]
    spread: tuple[float, ...]

    @classmethod
    def of(cls, examples: Examples, finding: bool = False) -> "Conditions":
        """As the training items have them."""
        levels = (len(examples.classes), *(len(names) for names in (examples.factors or {}).values()))
        vector = examples.vector()
        known = [column[np.isfinite(column)] for column in vector.T]
        centre = tuple(float(column.mean()) if len(column) else 0.0 for column in known)
        spread = tuple(float(column.std()) or 1.0 if len(column) else 1.0 for column in known)
        return cls((*levels, *((2,) if finding else ())), finding, centre, spread)

    @classmethod
    def read(cls, record: Mapping[str, Any]) -> "Conditions":
        """As `_asdict` of one wrote it, after JSON."""
        return cls(tuple(record["levels"]), record["finding"], tuple(record["centre"]), tuple(record["spread"]))

    @property
    def numbers(self) -> int:
        """How many numbers the network gets: each value, and whether it is known."""
        return 2 * len(self.centre)

    def rows(self, given: Arrays, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Indices int64 (N, F) and numbers float32 (N, 2 V) of `count` items; what is not given is not known.

        Raises:
            InputError: when the items have another number of factors or numbers than those of the training.
        """
        factors = self.levels[1 : len(self.levels) - self.finding]
        self._fits(given, "factors", len(factors), count)
        self._fits(given, "vector", len(self.centre), count)
        label = np.asarray(given.get("label", np.full(count, -1)))
        label = label if label.ndim == 1 else label[:, 0]
        columns = [label, *np.asarray(given.get("factors", np.full((count, len(factors)), -1))).T]
        if self.finding:
            columns.append(np.asarray(given["finding"], np.int64) if "finding" in given else np.full(count, -1))
        index = np.stack(columns, 1).astype(np.int64)
        index = np.where((index < 0) | (index >= np.array(self.levels)), np.array(self.levels), index)
        vector = np.asarray(given.get("vector", np.full((count, len(self.centre)), np.nan)), np.float32)
        known = np.isfinite(vector)
        standard = (vector - np.array(self.centre, np.float32)) / np.array(self.spread, np.float32)
        numbers = np.concatenate([np.where(known, standard, 0), known], 1).astype(np.float32)
        return torch.from_numpy(index), torch.from_numpy(numbers)

    def unknown(self, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        """The rows of `count` items of which nothing is known."""
        return torch.tensor([self.levels] * count, dtype=torch.int64), torch.zeros(count, self.numbers)

    def _fits(self, given: Arrays, name: str, wanted: int, count: int) -> None:
        if name in given and np.shape(given[name]) != (count, wanted):
            raise InputError(
                f"The plan's {name} are not those of the training.",
                [
                    Problem(
                        name,
                        f"{count} items of {wanted} {name} are needed, not {np.shape(given[name])}",
                        "sample with the study that the stage was trained by, or train again",
                    )
                ],
            )
