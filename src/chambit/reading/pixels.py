"""The one way by which pixels of both kinds reach a reader's screen, and a look for what gives a kind away before.

`shown` makes little-endian uint16 of one fixed shape, without a header: luminance, the middle cut to the shape's ratio
of sides, one resize (bicubic with antialiasing, Pillow), values rounded to the same number of levels, black 0, white
65535. Nothing is stretched by an image's own range, since that would differ between kinds. Nothing else travels.

`telltales` compares numbers that say nothing of the content. A reader, or a careful browser, could sort by any of them:

    AUROC of each number between the kinds, ties one half; p by Mann-Whitney (normal, ties corrected), after Holm

Known failure: it does not see sharpness. A synthetic set drawn at 64 pixels and enlarged stays blurred; readers should
see that, since it is a property of the images.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image as Pillow
from pydantic import Field
from scipy import stats

from chambit.core.errors import InputError, Problem
from chambit.core.evidence import Frozen
from chambit.images.image import Image

FULL = 65535
JPEG = 8  # side of the blocks in which JPEG codes


class Screen(Frozen):
    """What readers' screens get: rows, columns, and bits of grey that are kept, 8 to 16."""

    height: int = Field(ge=16, le=4096)
    width: int = Field(ge=16, le=4096)
    bits: int = Field(ge=8, le=16)


class Telltale(NamedTuple):
    """One number, compared between kinds.

    Attributes:
        name: what was looked at.
        real: median of real images.
        synthetic: median of synthetic images.
        area: AUROC, 0.5 where it tells nothing; 0 and 1 where it tells all.
        p: of no difference, adjusted after Holm for all numbers together; 1 where all values are equal.
    """

    name: str
    real: float
    synthetic: float
    area: float
    p: float

    @property
    def told(self) -> float:
        """Chance to pick the synthetic one of a pair by this number alone, 0.5 to 1."""
        return max(self.area, 1 - self.area)


def shown(image: Image, screen: Screen) -> np.ndarray:
    """One image as every image is shown, dtype little-endian uint16, shape (height, width); send its `tobytes()`.

    Raises:
        InputError: when the image is smaller than 8 pixels on a side.
    """
    grey = image.luminance().grey()
    rows, columns = grey.shape
    if min(rows, columns) < 8:
        raise InputError("an image cannot be shown", [Problem("image", f"{rows} x {columns} pixels", "8 at least")])
    scale = min(rows / screen.height, columns / screen.width)
    high, wide = scale * screen.height, scale * screen.width
    left, top = (columns - wide) / 2, (rows - high) / 2
    plane = Pillow.fromarray(np.ascontiguousarray(grey, np.float32)).resize(
        (screen.width, screen.height), Pillow.Resampling.BICUBIC, box=(left, top, left + wide, top + high)
    )
    steps = (1 << screen.bits) - 1
    levels = np.rint(np.clip(np.asarray(plane, np.float64), 0, 1) * steps)
    return np.rint(levels * (FULL / steps)).astype("<u2")


def telltales(
    real: Sequence[np.ndarray],
    synthetic: Sequence[np.ndarray],
    stored: tuple[Sequence[np.ndarray], Sequence[np.ndarray]] | None = None,
) -> list[Telltale]:
    """What tells the kinds apart without a look at the content, most telling first.

    Args:
        real: images uint8 or uint16 (H, W), as they are (`Image.pixels` in grey) or as they will be shown; shapes may
            differ.
        synthetic: likewise.
        stored: real and synthetic images in grey (H, W) as they are stored, where the others are as they will be shown.
            Blocks of a compression are looked for in these: enlarging by a whole number puts the edges of pixels where
            the edges of blocks would be, and how sharp a picture is would be taken for compression.

    Raises:
        InputError: when there are fewer than two images of a kind, or one is not (H, W) of unsigned integers.
    """
    for name, images in (("real", real), ("synthetic", synthetic)):
        if len(images) < 2:
            raise InputError("nothing to compare", [Problem(name, f"{len(images)} images", "2 at least")])
        if bad := [one for one in images if one.ndim != 2 or one.dtype.kind != "u" or min(one.shape) < 2]:
            raise InputError(
                "images cannot be compared", [Problem(name, f"{bad[0].dtype} {bad[0].shape}", "uint (H, W)")]
            )
    found = []
    for name, look in LOOKS.items():
        both = stored if stored and look is blockiness else (real, synthetic)
        one, other = (np.array([look(image) for image in images], np.float64) for images in both)
        same = np.ptp(np.concatenate([one, other])) == 0
        tested = None if same else stats.mannwhitneyu(other, one, alternative="two-sided", method="asymptotic")
        area = 0.5 if tested is None else float(tested.statistic) / (len(one) * len(other))
        p = 1.0 if tested is None else float(tested.pvalue)
        found.append(Telltale(name, float(np.median(one)), float(np.median(other)), area, p))
    return sorted(_holm(found), key=lambda one: -one.told)


def _holm(found: list[Telltale]) -> list[Telltale]:
    """P-values for all numbers together (Holm 1979)."""
    order = np.argsort([one.p for one in found], kind="stable")
    steps = np.array([found[k].p for k in order]) * np.arange(len(found), 0, -1)
    adjusted = np.minimum(1, np.maximum.accumulate(steps))
    return [found[k]._replace(p=float(p)) for k, p in zip(order, adjusted, strict=True)]


def border(image: np.ndarray) -> int:
    """Rows and columns of one value around the image, the widest of the four sides.

    >>> border(np.pad(np.arange(1, 10, dtype=np.uint8).reshape(3, 3), ((2, 0), (1, 0))))
    2
    """
    widths = []
    for turn in range(4):
        flat = np.ptp(np.rot90(image, turn), axis=1) == 0
        widths.append(len(flat) if flat.all() else int(np.argmin(flat)))
    return max(widths)


def blockiness(image: np.ndarray) -> float:
    """How much steps at the edges of 8 x 8 blocks exceed those beside them: log of their ratio, 0 where there are none.

    JPEG leaves it; after another resize the grid lies elsewhere and it is gone. Steps are compared with the next ones
    alone, because anatomy stands at the same place in most images and has edges of its own.
    """
    plane = image.astype(np.float64)
    edge, beside = [], []
    for one in (plane, plane.T):
        steps = np.abs(np.diff(one, axis=1)).mean(0)
        for at in range(JPEG - 1, len(steps) - 1, JPEG):
            edge.append(steps[at])
            beside.append((steps[at - 1] + steps[at + 1]) / 2)
    if not edge:
        return 0.0
    least = 1e-6 * max(1.0, float(plane.max()))
    return float(np.log((np.mean(edge) + least) / (np.mean(beside) + least)))


def gaps(image: np.ndarray) -> float:
    """Share of grey levels between lowest and highest that no pixel has, as stretching and few bits leave them."""
    levels = np.unique(image)
    span = int(levels[-1]) - int(levels[0]) + 1
    return 1 - len(levels) / span


LOOKS: dict[str, Callable[[np.ndarray], float]] = {
    "rows": lambda image: image.shape[0],
    "columns": lambda image: image.shape[1],
    "bits of the container": lambda image: 8 * image.dtype.itemsize,
    "grey levels": lambda image: len(np.unique(image)),
    "empty grey levels": gaps,
    "lowest value": lambda image: float(image.min()),
    "highest value": lambda image: float(image.max()),
    "constant border": border,
    "8 x 8 blocks": blockiness,
}
