"""The scanner: echoes of scatterers, and their envelope as a grey picture.

    envelope^2 = |g * (s 10^(echo/20))|^2 + mirror^2 + floor^2,       s complex Gaussian
    grey       = (20 log10 envelope - loss on the way - lowest) / dynamic range

s stands for scatterers too dense to be resolved, g for the pulse, which is short along the beam and as wide as
the beam, narrowest at the focus. Of even tissue the envelope is Rayleigh distributed (Burckhardt 1978, Speckle in
ultrasound B-mode scans, DOI 10.1109/T-SU.1978.30978; Wagner et al. 1983, DOI 10.1109/T-SU.1983.31404). Averaged looks
stand for spatial compounding.

Limits: straight beams, one focus, no side lobes, refraction, reverberation between layers or aberration.
"""

import math
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from chambit.phantoms.anatomy import stream
from chambit.phantoms.canvas import Map, fold, oversampling
from chambit.phantoms.ultrasound.breast import LAYOUT, Breast, breast
from chambit.phantoms.ultrasound.patients import View

SHORTEST: Final = 0.45  # kernel width in pixels below which a pulse cannot be sampled


class Probe(NamedTuple):
    """A site's machine.

    Attributes:
        field: Height and width of the picture, mm.
        depth: Depth that is shown, mm.
        radius: Of a curved array's face, mm; 0 for a linear array.
        half_angle: Of the sector, radians.
        pulse: Standard deviation of the pulse along the beam, mm.
        beam: Standard deviation across it at the focus, mm.
        looks: Averaged frames.
        range: Dynamic range, dB.
        gain: Grey of fat in the picture, 0 to 1.
    """

    field: float
    depth: float
    radius: float
    half_angle: float
    pulse: float
    beam: float
    looks: int
    range: float
    gain: float


PROBES: Final = {
    "A": Probe(50.0, 43.0, 42.0, 0.31, 0.17, 0.34, 2, 52.0, 0.34),
    "B": Probe(38.0, 38.0, 0.0, 0.0, 0.11, 0.20, 3, 48.0, 0.31),
    "C": Probe(42.0, 42.0, 0.0, 0.0, 0.14, 0.26, 2, 58.0, 0.40),
}


class Scan(NamedTuple):
    """`picture` (n, n) uint8, `mask` (n, n) bool of the lesion, `layout` (n, n) uint8 by LAYOUT, 0 outside."""

    picture: NDArray[np.uint8]
    mask: NDArray[np.bool_]
    layout: NDArray[np.uint8]


def scan(seen: View, pixels: int) -> Scan:
    """Take one image.

    Args:
        seen: Which view of whom.
        pixels: Height and width, at least 32.
    """
    if pixels < 32:
        raise ValueError("pixels must be at least 32")
    times = oversampling(pixels)
    n = pixels * times
    probe = PROBES[seen.patient.site]
    top = -(probe.field - probe.depth - _sag(probe)) / 2 - _sag(probe) * (probe.radius > 0)
    made = breast(seen, n, probe.field, top, probe.radius)
    rng = stream(seen.seed, 2)
    if probe.radius > 0:
        grey, shown = _sector(made, probe, n, top, rng)
    else:
        grey, shown = _beams(made, probe, probe.depth / n, np.full(n, probe.field / n), rng), np.ones((n, n), bool)
    small = fold(grey, times)
    seen_small = fold(shown.astype(np.float32), times) > 0.5
    picture = np.asarray(np.rint(255 * np.clip(small, 0, 1)), np.uint8)
    lesion = fold(made.lesion, times) < 1
    parts = made.layout[times // 2 :: times, times // 2 :: times].copy()
    parts[lesion] = LAYOUT["lesion"]
    parts[~seen_small] = 0
    return Scan(picture, lesion & seen_small, parts)


def _sag(probe: Probe) -> float:
    """How much higher the middle of a curved face lies than its ends, mm."""
    return probe.radius * (1 - math.cos(probe.half_angle))


def _sector(made: Breast, probe: Probe, n: int, top: float, rng: np.random.Generator) -> tuple[Map, NDArray[np.bool_]]:
    """Scan with a curved array: tissue to beams, echoes, and beams back to the picture."""
    mm = probe.field / n
    angles = np.linspace(-probe.half_angle, probe.half_angle, n)
    ranges = (np.arange(n) + 0.5) * (probe.depth / n)
    far = probe.radius + ranges[:, None]
    row = (far * np.cos(angles) - probe.radius - top) / mm - 0.5
    column = (far * np.sin(angles) + probe.field / 2) / mm - 0.5
    at = np.stack([row, column]).astype(np.float32)
    taken = [
        ndimage.map_coordinates(part, at, order=1, mode="nearest", output=np.float32)
        for part in (made.echo, made.mirror, made.loss)
    ]
    spacing = (probe.radius + ranges) * (2 * probe.half_angle / n)  # of beams, at each depth
    bent = made._replace(echo=taken[0], mirror=taken[1], loss=taken[2])
    grey = _beams(bent, probe, probe.depth / n, spacing, rng)
    place = (np.arange(n) + 0.5) * mm
    z, x = (place + top + probe.radius)[:, None], (place - probe.field / 2)[None, :]
    r, angle = np.hypot(z, x) - probe.radius, np.arctan2(x, z)
    back = np.stack([r / probe.depth * n - 0.5, (angle / (2 * probe.half_angle) + 0.5) * (n - 1)]).astype(np.float32)
    shown = (r >= 0) & (r <= probe.depth) & (np.abs(angle) <= probe.half_angle)
    picture = ndimage.map_coordinates(grey, back, order=1, mode="nearest", output=np.float32)
    return np.where(shown, picture, np.float32(0)), shown


def _beams(made: Breast, probe: Probe, dz: float, spacing: NDArray[np.floating[Any]], rng: np.random.Generator) -> Map:
    """Grey levels (n depths, n beams) before clipping; spacing of beams (n,) in mm at each depth."""
    n = len(made.echo)
    depth = (np.arange(n, dtype=np.float32) + 0.5) * np.float32(dz)
    focus = float(rng.uniform(0.35, 0.55)) * probe.depth
    width = probe.beam * np.sqrt(1 + ((depth - focus) / (0.45 * probe.depth)) ** 2)
    amplitude = np.exp(made.echo * np.float32(math.log(10) / 20))
    power = np.zeros_like(amplitude)
    for _ in range(probe.looks):
        echoes = _speckle(amplitude, probe.pulse / dz, width / spacing, rng)
        power += (echoes**2).sum(axis=0) * np.float32(0.5 / probe.looks)
    smooth_mirror = ndimage.gaussian_filter(made.mirror, (0.3 * probe.pulse / dz, 0.8 * probe.beam / spacing[n // 2]))
    # interfaces are rough: what they mirror is speckled as well
    power += smooth_mirror**2 * np.clip(0.35 + 0.65 * power / amplitude**2, 0, 2.5)
    # what comes from behind is weaker by what was lost on both ways, blurred as wide as the aperture
    lost = np.cumsum(made.loss, axis=0) * np.float32(dz)
    lost = ndimage.gaussian_filter1d(lost, max(0.5, 0.7 / float(spacing[n // 2])), axis=1, truncate=2.5)
    ripple = 1.2 * np.sin(2 * math.pi * depth / float(rng.uniform(14, 26)) + float(rng.uniform(0, 6)))
    level = 10 * np.log10(power * np.exp(lost * np.float32(-math.log(10) / 10)) + _floor(depth, probe)[:, None])
    level = level + (ripple + float(rng.normal(0, 1.2)))[:, None]
    # the face of the probe rings on
    level += (9 * np.exp(-depth / 0.5))[:, None]
    grey = probe.gain + level / probe.range
    # the machine's display filter takes the edge off the deepest nulls
    grey = ndimage.gaussian_filter(grey, (0.05 / dz, 0.07 / float(spacing[n // 2])), truncate=2.5)
    # a soft shoulder keeps the brightest interfaces from clipping
    return np.asarray(np.where(grey > 0.75, 0.75 + 0.25 * np.tanh((grey - 0.75) / 0.25), grey), np.float32)


def _floor(depth: Map, probe: Probe) -> Map:
    """Power of the electronics' noise: gain with depth raises it."""
    return np.asarray(10 ** ((-24 + 9 * depth / probe.depth) / 10), np.float32)


def _speckle(amplitude: Map, along: float, across: NDArray[np.floating[Any]], rng: np.random.Generator) -> Map:
    """Echoes (2, n, n), real and imaginary part, of standard deviation `amplitude` each.

    Two beams, as wide as the narrowest and the widest, are mixed by depth; `along` and `across` (n,) are standard
    deviations in pixels.
    """
    white = rng.standard_normal((2, *amplitude.shape), dtype=np.float32) * amplitude
    pulse = _kernel(along)
    scatter = ndimage.convolve1d(white, pulse / np.sqrt((pulse**2).sum()), axis=1, mode="reflect")
    low, high = float(across.min()), float(across.max())
    narrow, wide = _kernel(low), _kernel(high)
    reach = len(wide) // 2 - len(narrow) // 2
    narrow = np.pad(narrow, reach)
    first = ndimage.convolve1d(scatter, narrow, axis=2, mode="reflect")
    second = ndimage.convolve1d(scatter, wide, axis=2, mode="reflect")
    share = ((across - low) / max(high - low, 1e-6)).astype(np.float32)[:, None]
    variance = (1 - share) ** 2 * (narrow**2).sum() + share**2 * (wide**2).sum()
    variance += 2 * share * (1 - share) * (narrow * wide).sum()
    mixed: Map = ((1 - share) * first + share * second) / np.sqrt(variance).astype(np.float32)
    return mixed


def _kernel(sigma: float) -> Map:
    """Gaussian of unit sum."""
    sigma = max(sigma, SHORTEST)
    half = max(1, math.ceil(2.6 * sigma))
    kernel = np.exp(-0.5 * (np.arange(-half, half + 1) / sigma) ** 2)
    return np.asarray(kernel / kernel.sum(), np.float32)
