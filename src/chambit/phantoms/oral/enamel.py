"""Colour of crowns: shade, translucent edges, yellow necks, stains, plaque, fillings and decay.

Both views paint with it: a pixel is told by where it lies on its tooth, in mm.

Limits: colours are by eye; a white spot does not change the surface's gloss, a cavity has no true depth.
"""

from typing import Final, NamedTuple

import numpy as np

from chambit.phantoms.oral.dentition import SHADES, Floats, Mouth, Spot, linear_rgb
from chambit.phantoms.oral.light import mix, rgb, step, texture

AMALGAM: Final = (0.21, 0.215, 0.225)
CHALK: Final = (0.86, 0.84, 0.76)
BROWN: Final = (0.165, 0.062, 0.017)
HOLE: Final = (0.026, 0.010, 0.004)
STAIN: Final = (0.17, 0.085, 0.03)
PLAQUE: Final = (0.74, 0.63, 0.36)
DECAY_SHARE: Final = 0.35  # the mask is where more than this share of the colour is the lesion's


class Blot(NamedTuple):
    """A spot on pixels: how much of the colour is its own (0..1), and how deep inside it they lie (0..1)."""

    share: Floats
    inside: Floats


def base(mouth: Mouth, teeth: np.ndarray) -> Floats:
    """Give the linear colour of the middle of each crown, shape (N, 3)."""
    lightness, a, b = SHADES[mouth.words["shade"]]
    # tabs were measured against black; in the mouth gum and dentine shine through, lighter and redder
    shade = linear_rgb(lightness + 5.5, a + 3.4, 0.88 * b)
    bright, yellow = mouth.tone[0, teeth], mouth.tone[1, teeth]
    gain = np.stack([bright * (1 + 0.02 * yellow), bright * (1 - 0.05 * yellow), bright * (1 - 0.32 * yellow)], axis=-1)
    colour: Floats = (shade * gain).astype(np.float32)
    return colour


def blot(spot: Spot, across: Floats, along: Floats, ragged: float = 0.35) -> Blot:
    """Draw a spot's outline.

    Args:
        spot: The lesion or filling.
        across: Distance from its centre along the arch, mm, (P,).
        along: Distance in the other direction, mm, (P,).
        ragged: How far its edge wanders, as a share of its size.
    """
    shift = np.float32(spot.key % 997)
    wobble = texture(1, across + shift, along + 0.37 * shift, 0.9) + 0.6 * texture(0, across - shift, along, 0.5)
    r = np.sqrt((across / spot.width) ** 2 + (along / spot.height) ** 2) + np.float32(0.5 * ragged) * wobble
    return Blot(step(r, 1.2, 0.75), step(r, 0.85, 0.25))


def decay(colour: Floats, spot: Spot, drawn: Blot) -> Floats:
    """Paint a lesion: chalky, brown in a chalky seam, or a dark hole with brown walls."""
    if spot.stage == 0:
        tinged = mix(rgb(*CHALK)[None], (0.62, 0.47, 0.26), 0.5 * drawn.inside)
        return mix(colour, tinged, 0.72 * drawn.share)
    painted = mix(colour, CHALK, 0.55 * drawn.share)
    painted = mix(painted, (0.40, 0.21, 0.065), 0.85 * step(drawn.share, 0.3, 0.95))
    painted = mix(painted, BROWN, 0.9 * drawn.inside)
    if spot.stage == 2:
        painted = mix(painted, HOLE, 0.92 * step(drawn.inside, 0.3, 0.8))
    return painted


def fill(colour: Floats, spot: Spot, drawn: Blot) -> Floats:
    """Paint a filling: grey amalgam, or composite of nearly the tooth's colour with a fine stained margin."""
    margin = drawn.share * (1 - drawn.share) * 4
    if spot.stage == 1:
        grain = 1 + 0.25 * (drawn.inside - 0.5)
        painted = mix(colour, rgb(*AMALGAM) * grain[:, None], drawn.share)
        return mix(painted, (0.07, 0.065, 0.06), 0.5 * margin)
    if not len(colour):  # a filling of which no pixel is seen has no tooth around it
        return colour
    off = 0.90 + 0.16 * (spot.key % 101) / 101
    painted = mix(colour, np.minimum(colour.mean(axis=0) * np.float32(off), 1), 0.85 * drawn.share)
    return mix(painted, (0.30, 0.19, 0.09), 0.28 * margin)
