"""A trained denoiser and how items are drawn from it: each is a function of its own inputs and seed only."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from chambit.core.store import Store
from chambit.generate.staged import diffusion, kept
from chambit.generate.staged.conditions import Conditions
from chambit.generate.staged.denoiser import built
from chambit.generate.training.device import choose

GROUP = 8
"""Items are drawn in groups of exactly this many, the last one filled up: rounding in bfloat16 depends on the shape of
a batch, and an item would else depend on how many were asked for with it."""


class Scale(NamedTuple):
    """How channels become numbers of unit variance: mean, spread, least and largest value of each."""

    mean: tuple[float, ...]
    spread: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]

    @classmethod
    def of(cls, items: torch.Tensor, floor: float = 0.05) -> "Scale":
        """Of items (N, C, H, W); a spread is at least `floor`, or a channel that hardly varies would become noise."""
        flat = items.float().transpose(0, 1).flatten(1)
        rows = [flat.mean(1), flat.std(1).clamp(min=floor), flat.amin(1), flat.amax(1)]
        return cls(*(tuple(row.tolist()) for row in rows))

    def standard(self, items: torch.Tensor) -> torch.Tensor:
        """Items (N, C, H, W) of unit variance."""
        return (items.float() - _channel(self.mean)) / _channel(self.spread)

    def back(self, items: torch.Tensor) -> torch.Tensor:
        """What `standard` was given."""
        return items * _channel(self.spread) + _channel(self.mean)

    def bounds(self, place: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
        """Least and largest standardised value of each channel, (1, C, 1, 1)."""
        low, high = self.standard(_channel(self.low)), self.standard(_channel(self.high))
        return low.to(place), high.to(place)


class Model(NamedTuple):
    """A denoiser with everything that is needed to draw from it."""

    network: nn.Module
    conditions: Conditions
    scale: Scale
    schedule: str
    predict: str
    size: tuple[int, int]
    place: torch.device

    @property
    def channels(self) -> int:
        """Channels of what it makes."""
        return len(self.scale.mean)

    def record(self, shape: dict[str, Any], facts: dict[str, Any], **more: Any) -> dict[str, Any]:
        """What must be known to build it again: `shape` as in `built`, JSON values only."""
        return {
            "shape": shape,
            "conditions": self.conditions._asdict(),
            "scale": self.scale._asdict(),
            "schedule": self.schedule,
            "predict": self.predict,
            "size": list(self.size),
            "facts": facts,
            **more,
        }


def loaded(
    store: Store, weights: str, build: Callable[[dict[str, Any], int], nn.Module] = built
) -> tuple[Model, kept.Kept]:
    """The model under this digest, its network built by `build`, and all that was kept with it."""
    whole = kept.get(store, weights)
    record = whole.record
    network = build(record["shape"], 0)
    network.load_state_dict(whole.network)
    place = choose()
    network = kept.placed(network.eval(), place)
    scale = Scale(*(tuple(record["scale"][name]) for name in Scale._fields))
    height, width = record["size"]
    conditions = Conditions.read(record["conditions"])
    size = (height, width)
    return Model(network, conditions, scale, record["schedule"], record["predict"], size, place), whole


class Asked(NamedTuple):
    """What is drawn: seeds, conditions as `Conditions.rows` makes them, maps (N, K, h, w) as `shares` reads them."""

    seeds: Sequence[int]
    levels: torch.Tensor
    numbers: torch.Tensor
    maps: torch.Tensor | None

    def group(self, rows: list[int]) -> "Asked":
        """These items."""
        return Asked(
            [self.seeds[row] for row in rows],
            self.levels[rows],
            self.numbers[rows],
            None if self.maps is None else self.maps[rows],
        )


@torch.no_grad()
def draw(
    model: Model, asked: Asked, steps: int, guidance: float, looks: Sequence[int] = (), calm: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """Draw items.

    Args:
        model: what draws.
        asked: N items.
        steps: evaluations of the sampler.
        guidance: 1 is none; above 1 the item follows its conditions and maps more closely.
        looks: see `diffusion.ddim`.
        calm: factor of the first noise; below 1 items are nearer to what is likeliest, and vary less.

    Returns:
        float32 (N, C, h, w), and the ways, float32 (looks, N, C, h, w).
    """
    count = len(asked.seeds)
    made = np.empty((count, model.channels, *model.size), np.float32)
    ways = np.empty((len(looks), *made.shape), np.float32)
    for first in range(0, count, GROUP):
        rows = list(range(first, min(first + GROUP, count)))
        group = asked.group(rows + [rows[-1]] * (GROUP - len(rows)))
        items, way = _group(model, group, steps, guidance, looks, calm)
        made[rows] = items[: len(rows)]
        for look, at in enumerate(way):
            ways[look, rows] = at[: len(rows)]
    return made, ways


def _group(
    model: Model, asked: Asked, steps: int, guidance: float, looks: Sequence[int], calm: float
) -> tuple[np.ndarray, list[np.ndarray]]:
    place = model.place
    noise = torch.stack([_noise(seed, (model.channels, *model.size)) for seed in asked.seeds]).to(place) * calm
    levels, numbers = asked.levels.to(place), asked.numbers.to(place)
    maps = None if asked.maps is None else shares(asked.maps).to(place)
    free = tuple(part.to(place) for part in model.conditions.unknown(len(asked.seeds)))
    empty = None if maps is None else torch.zeros_like(maps)

    def answer(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        with torch.autocast(place.type, torch.bfloat16):
            x = x.contiguous(memory_format=torch.channels_last)
            full: torch.Tensor = model.network(x, t, levels, numbers, maps).float()
            if guidance == 1:
                return full
            plain = model.network(x, t, *free, empty).float()
        guided: torch.Tensor = plain + guidance * (full - plain)
        return guided

    image = diffusion.clean(answer, model.schedule, model.predict)
    items, way = diffusion.ddim(image, noise, steps, model.schedule, model.scale.bounds(place), looks)
    return model.scale.back(items.cpu()).numpy(), [model.scale.back(at.cpu()).numpy() for at in way]


def hidden(
    conditions: Conditions,
    levels: torch.Tensor,
    numbers: torch.Tensor,
    maps: torch.Tensor | None,
    share: float,
    generator: torch.Generator,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
    """Conditions of a batch with those of a share of its items hidden, for guidance."""
    drop = torch.rand(len(levels), generator=generator) < share
    free_levels, free_numbers = conditions.unknown(len(levels))
    levels = torch.where(drop[:, None], free_levels, levels)
    numbers = torch.where(drop[:, None], free_numbers, numbers)
    return levels, numbers, None if maps is None else maps * (~drop)[:, None, None, None]


def shares(maps: torch.Tensor) -> torch.Tensor:
    """Maps in [0, 1]: those kept in bytes have 255 for all of a pixel."""
    return maps.float() / 255 if maps.dtype == torch.uint8 else maps.float()


def _noise(seed: int, shape: tuple[int, ...]) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(int(seed) % 2**63))


def _channel(values: Sequence[float]) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float32)[None, :, None, None]
