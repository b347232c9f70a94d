"""One photograph of one mouth: where the camera stands, what is painted in which order, and what is seen.

Limits: the jaws are closed in the views from outside; the views do not share one scale.
"""

import math
from typing import Final, NamedTuple

import numpy as np

from chambit.phantoms.oral import canvas as layers
from chambit.phantoms.oral import facial, gums, inside, occlusal
from chambit.phantoms.oral.dentition import FIRST_TOOTH, Mouth, order, stream
from chambit.phantoms.oral.enamel import DECAY_SHARE
from chambit.phantoms.oral.light import SITES, photograph

VIEWS: Final = ("frontal", "upper", "lower", "left", "right")
"""The five standard views; left and right are the patient's."""
LEAST_DECAY: Final = 5e-4  # a lesion of which less of the picture is seen is not there
LEAST_TOOTH: Final = 1.5e-3  # a tooth of which less is seen does not count as visible


class Shot(NamedTuple):
    """One photograph.

    Attributes:
        image: uint8 (n, n, 3), sRGB.
        layout: uint8 (n, n): 0 background, 1 gum, 2 mucosa, tongue or palate, 3 lips or retractor,
            FIRST_TOOTH + k for tooth FDI[k].
        mask: bool (n, n), decay; nowhere where the picture is sound.
        teeth: Number of teeth that are seen.
    """

    image: np.ndarray
    layout: np.ndarray
    mask: np.ndarray
    teeth: int


def shot(mouth: Mouth, view: str, pixels: int, seed: int, index: int) -> Shot:
    """Photograph a mouth.

    Args:
        mouth: The patient of (seed, index).
        view: One of VIEWS.
        pixels: Height and width of the picture, at least 16.
        seed: Cohort seed.
        index: The patient's number.
    """
    fold = 2 if pixels <= 160 else 1
    site = SITES[mouth.words["site"]]
    painted, rng = _painted(mouth, view, pixels * fold, seed, index)
    ill = bool(painted.decay.any())
    if ill and painted.decay.mean() < LEAST_DECAY:  # hidden but for a trace: neither to be found nor to be missed
        painted, rng = _painted(mouth._replace(lesions=()), view, pixels * fold, seed, index)
        ill = False
    image = photograph(painted.light, site, rng, fold)
    layout, decay = layers.folded(painted, fold)
    layout = layers.whole(layout)
    # however small the picture, a lesion that is seen has a pixel
    mask = decay >= min(DECAY_SHARE, float(decay.max())) if ill else np.zeros(decay.shape, bool)
    counts = np.bincount(layout.ravel(), minlength=FIRST_TOOTH)[FIRST_TOOTH:]
    return Shot(image, layout, mask, int((counts > LEAST_TOOTH * layout.size).sum()))


def _painted(mouth: Mouth, view: str, size: int, seed: int, index: int) -> tuple[layers.Canvas, np.random.Generator]:
    rng = stream(seed, index, 1 + VIEWS.index(view))
    return (_inside if view in ("upper", "lower") else _outside)(mouth, view, size, rng), rng


def _outside(mouth: Mouth, name: str, size: int, rng: np.random.Generator) -> layers.Canvas:
    """Paint the jaws in occlusion from the front or a side."""
    site, colours = SITES[mouth.words["site"]], gums.palette(mouth)
    view, opening = _stand(mouth, name, size, rng)
    canvas = layers.blank(size, (0.030, 0.008, 0.007))
    for upper in (False, True):
        seat = facial.seats(mouth, view, order(upper))
        patches = facial.crowns(mouth, view, seat, site)
        if upper:  # they bite before the lower ones and shade them
            layers.shade(canvas, layers.union([patches], size), 0.7 / view.pixel, 0.62, 0.5 / view.pixel)
        layers.lay_teeth(canvas, patches)
        gums.paint(canvas, mouth, view, upper, site, colours)
    gums.lips(canvas, mouth, view, opening, site, colours)
    return canvas


def _stand(mouth: Mouth, name: str, size: int, rng: np.random.Generator) -> tuple[facial.View, gums.Opening]:
    """Choose where the camera stands and how far the lips are drawn back."""
    scale = mouth.traits["size"]
    plastic = {"A": 0.55, "B": 1.0, "C": 0.0}[mouth.words["site"]]
    if name == "frontal":
        width = rng.uniform(51, 57) * scale
        view = facial.View(rng.uniform(-0.05, 0.05), rng.uniform(-1, 1), rng.uniform(-1.8, 0.8), width, size,
                           rng.uniform(0.02, 0.12))  # fmt: skip
        opening = gums.Opening(0.0, rng.uniform(-0.8, 0.8), width * rng.uniform(0.47, 0.54),
                               rng.uniform(16.5, 20), 2.7, (-1.0, 1.0), plastic)  # fmt: skip
        return view, opening
    side = 1.0 if name == "left" else -1.0
    yaw = side * rng.uniform(0.95, 1.12)
    width = rng.uniform(43, 49) * scale
    tooth = mouth.centre[11 if side > 0 else 4]
    x = float(tooth[0] * math.cos(yaw) - tooth[1] * math.sin(yaw)) + rng.uniform(-1.5, 1.5)
    view = facial.View(yaw, x, rng.uniform(-1.8, 0.6), width, size, rng.uniform(0.0, 0.05))
    opening = gums.Opening(side * rng.uniform(0, 2), rng.uniform(-0.8, 0.8), width * rng.uniform(0.48, 0.53),
                           rng.uniform(15, 18), 2.6, (side,), plastic)  # fmt: skip
    return view, opening


def _inside(mouth: Mouth, name: str, size: int, rng: np.random.Generator) -> layers.Canvas:
    """Paint one arch from above."""
    site, colours = SITES[mouth.words["site"]], gums.palette(mouth)
    upper = name == "upper"
    teeth = order(upper)
    centre = mouth.centre[teeth]
    front, back = float(centre[6:8, 1].mean()), float(centre[[0, 13], 1].mean())
    width = max(1.1 * (front - back + 20), float(np.ptp(centre[:, 0])) + 19) * rng.uniform(0.98, 1.06)
    view = occlusal.Above(float(centre[:, 0].mean()) + rng.uniform(-1, 1), 0.5 * (front + back) + rng.uniform(-2, 1.0),
                          width, size, rng.uniform(-0.04, 0.04), upper)  # fmt: skip
    canvas = layers.blank(size, (0.075, 0.02, 0.017))
    inside.paint(canvas, mouth, view, site, colours)
    patches = occlusal.crowns(mouth, view, teeth, site)
    layers.shade(canvas, layers.union(patches, size), 0.8 / view.pixel, 0.55)
    for patch in reversed(patches):
        layers.lay_teeth(canvas, patch)
    side = 1.0 if upper else -1.0
    plastic = {"A": 0.55, "B": 1.0, "C": 0.0}[mouth.words["site"]]
    flat = facial.View(0.0, 0.0, 0.0, width, size)
    reach = 0.5 * (front - back) + rng.uniform(5.5, 7.5)
    opening = gums.Opening(0.0, side * width * 0.18, float(np.abs(centre[[0, 13], 0]).mean()) + rng.uniform(9, 11.5),
                           reach + width * 0.18, 2.5, (-1.0, 1.0), plastic)  # fmt: skip
    gums.lips(canvas, mouth, flat, opening, site, colours)
    return canvas
