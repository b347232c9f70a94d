"""The canvas of one photograph: light, parts and decay, painted from the back to the front.

Limits: a pixel belongs to the part that covers at least half of it; what is painted later lies in front.
"""

from collections.abc import Iterable
from typing import Final, NamedTuple

import numpy as np
from scipy import ndimage

from chambit.phantoms.oral.dentition import FIRST_TOOTH, Floats
from chambit.phantoms.oral.patches import Patches

BACKGROUND: Final = 0
GUM: Final = 1
MUCOSA: Final = 2
LIPS: Final = 3
SPECK: Final = 3  # pixels; no tooth is as small as that


class Canvas(NamedTuple):
    """Arrays that are painted on in place: light (n, n, 3) float32, part (n, n) uint8, decay (n, n) float32."""

    light: Floats
    part: np.ndarray
    decay: Floats


def blank(size: int, colour: tuple[float, float, float]) -> Canvas:
    """Make a canvas of background."""
    light = np.full((size, size, 3), colour, np.float32)
    return Canvas(light, np.zeros((size, size), np.uint8), np.zeros((size, size), np.float32))


def lay(canvas: Canvas, here: np.ndarray, colour: Floats, cover: Floats, part: int | np.ndarray) -> None:
    """Lay a sheet over the P pixels where `here` (n, n) bool: colour (P, 3), cover (P,), part one or (P,)."""
    at = np.flatnonzero(here)
    light, seen, decay = canvas.light.reshape(-1, 3), canvas.part.reshape(-1), canvas.decay.reshape(-1)
    below = light.take(at, axis=0)
    light[at] = below + cover[:, None] * (colour - below)
    seen[at] = np.where(cover >= 0.5, part, seen[at])
    decay[at] *= 1 - cover


def lay_teeth(canvas: Canvas, patches: Patches) -> None:
    """Lay patches of teeth in their order."""
    box = patches.boxes
    for n, (cut, (high, wide)) in enumerate(box.slices()):
        here = (slice(box.row[n], box.row[n] + high), slice(box.column[n], box.column[n] + wide))
        cover = patches.cover[cut].reshape(high, wide)
        colour = patches.colour[cut].reshape(high, wide, 3)
        canvas.light[here] += cover[..., None] * (colour - canvas.light[here])
        canvas.part[here][cover >= 0.5] = FIRST_TOOTH + int(patches.teeth[n])
        canvas.decay[here] += cover * (patches.lesion[cut].reshape(high, wide) - canvas.decay[here])


def union(many: Iterable[Patches], size: int) -> Floats:
    """Give how much of each pixel the teeth cover together, (size, size) 0..1."""
    covered = np.zeros((size, size), np.float32)
    for patches in many:
        box = patches.boxes
        for n, (cut, (high, wide)) in enumerate(box.slices()):
            here = covered[box.row[n] : box.row[n] + high, box.column[n] : box.column[n] + wide]
            np.maximum(here, patches.cover[cut].reshape(high, wide), out=here)
    return covered


def shade(canvas: Canvas, cover: Floats, sigma: float, strength: float, down: float = 0.0) -> None:
    """Darken what lies around a cover (n, n): its blurred copy, moved down by some pixels, takes light away."""
    shadow = ndimage.gaussian_filter(cover, sigma, truncate=2.5)
    if down:
        shadow = np.maximum(shadow, ndimage.shift(shadow, (down, 0), order=1, mode="nearest"))
    canvas.light[...] *= (1 - strength * np.clip(shadow, 0, 1))[..., None]


def folded(canvas: Canvas, fold: int) -> tuple[np.ndarray, Floats]:
    """Give parts (the most frequent of each four pixels) and decay (their mean) at the photograph's size.

    `fold` is 1 or 2 canvas pixels to a pixel of the photograph.
    """
    if fold == 1:
        return canvas.part, canvas.decay
    a, b, c, d = (canvas.part[i::2, j::2] for i in (0, 1) for j in (0, 1))
    chosen = np.where((a == b) | (a == c) | (a == d), a, np.where((b == c) | (b == d), b, np.where(c == d, c, a)))
    n = len(canvas.part) // 2
    return chosen, canvas.decay.reshape(n, 2, n, 2).mean(axis=(1, 3))


def whole(parts: np.ndarray) -> np.ndarray:
    """Keep the largest piece of each tooth and give its other pieces, and specks, to what lies around them."""
    kept = parts.copy()
    for number, where in enumerate(ndimage.find_objects(parts), start=1):
        if where is None or number < FIRST_TOOTH:
            continue
        wide = tuple(slice(max(s.start - 1, 0), s.stop + 1) for s in where)
        pieces, many = ndimage.label(parts[wide] == number)
        sizes = np.bincount(pieces.ravel())[1:]
        for piece in range(1, many + 1):
            if sizes[piece - 1] > SPECK and piece - 1 == sizes.argmax():
                continue
            own = pieces == piece
            around = ndimage.binary_dilation(own) & ~own & (parts[wide] != number)
            kept[wide][own] = np.bincount(parts[wide][around]).argmax() if around.any() else BACKGROUND
    return kept
