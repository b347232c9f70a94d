"""Drawn mouths for the tests of the staged chain: arches of oval teeth on gum, one tone of teeth for each subject."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from scipy import ndimage

from chambit.core.engines import inline
from chambit.core.ledger import Ledger
from chambit.core.steps import Context, Event, Step
from chambit.core.store import Store
from chambit.generate.items import Examples, Form
from chambit.images.imageset import ImageSet

CLASSES = ("caries", "healthy")
TEETH = tuple(range(11, 17))


class StoppedError(Exception):
    """Raised where a process would have been killed."""


@dataclass(frozen=True)
class Pictures(ImageSet):
    """A set of images that keeps its pixels beside the table: float32 (N, H, W) or (N, H, W, 3) in [0, 1]."""

    pixels: np.ndarray | None = None

    def grey(self) -> np.ndarray:
        assert self.pixels is not None
        return self.pixels

    def colour(self) -> np.ndarray:
        return self.grey()


def context(folder: Path, tell: Callable[[Event], None] | None = None) -> Context:
    """What a step gives to a stage."""
    step = Step("train", "1", {}, {}, lambda _: {}, seed=7)
    return Context(
        step, Store(folder), Ledger.beside(folder), inline.Engine(), tell or (lambda _: None), folder / "scratch"
    )


def mouth(seed: int, side: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Layout uint8 (side, side), mask bool, image float32 (side, side, 3)."""
    draw = np.random.default_rng([11, seed])
    y, x = np.mgrid[:side, :side] / side
    layout = np.where((np.abs(y - 0.5) < 0.38) & (np.abs(x - 0.5) < 0.47), 1, 0).astype(np.uint8)
    tone = np.array([0.86, 0.82, 0.7]) + draw.normal(0, 0.05, 3)
    colours = np.zeros((256, 3))
    colours[0], colours[1] = (0.15, 0.05, 0.05), (0.75, 0.4, 0.4)
    high = draw.uniform(0.15, 0.22)
    for k, tooth in enumerate(TEETH):
        cx, cy = 0.16 + 0.136 * k + draw.normal(0, 0.006), 0.5 + 0.06 * (k - 2.5) ** 2 / 6 + draw.normal(0, 0.01)
        layout[((x - cx) / 0.062) ** 2 + ((y - cy) / high) ** 2 < 1] = tooth
        colours[tooth] = tone + draw.normal(0, 0.01, 3)
    texture = ndimage.gaussian_filter(draw.normal(size=(side, side)), 1.2)
    image = colours[layout] + 0.03 * texture[..., None] - 0.15 * (y - 0.5)[..., None] * (layout >= 10)[..., None]
    mask = np.zeros((side, side), bool)
    if seed % 2:
        tooth = draw.choice(TEETH)
        cy, cx = ndimage.center_of_mass(layout == tooth)
        spot = np.hypot(*(np.mgrid[:side, :side] - np.array([cy, cx])[:, None, None])) < 0.05 * side
        mask = spot & (layout == tooth)
        image[mask] *= 0.35
    return layout, mask, np.clip(image, 0, 1).astype(np.float32)


def examples(
    folder: Path, count: int = 24, side: int = 32, *, grey: bool = False, masks: bool = True, **more: Any
) -> Examples:
    """`count` mouths of as many subjects, every other with caries; factors: the jaw."""
    drawn = [mouth(seed, side) for seed in range(count)]
    layouts, spots, images = (np.stack(part) for part in zip(*drawn, strict=True))
    table = pl.DataFrame(
        {
            "subject": [f"P{k:03d}" for k in range(count)],
            "label": [CLASSES[0] if k % 2 else CLASSES[1] for k in range(count)],
            "jaw": ["upper" if k % 3 else "lower" for k in range(count)],
        }
    )
    pixels = images.mean(-1) if grey else images
    return Examples(
        Pictures(Store(folder), table, pixels),
        Form(side, side, 1 if grey else 3),
        CLASSES,
        masks=spots if masks else None,
        layouts=layouts,
        factors={"jaw": ("lower", "upper")},
        **more,
    )


def killed_at(step: int) -> Callable[[Event], None]:
    """A listener that ends the process, as it were, once so many steps are done."""

    def tell(event: Event) -> None:
        if event.unit == "steps" and event.done >= step:
            raise StoppedError

    return tell
