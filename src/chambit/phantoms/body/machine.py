"""Three machines that look at one body: CT slices, MR slices and radiographs of it.

    CT   HU + correlated noise, more along rows that cross much bone
    MR   |S b + n1 + i n2|, b a smooth bias of the coil, n1 and n2 normal (Rician magnitude)
    DX   I = P + s/(1-s) blur(P tau) / 2, P = exp(-sum mu dy); counts with variance I

Sources: Rician magnitudes, Gudbjartsson and Patz 1995, DOI 10.1002/mrm.1910340618; noise of filtered back projection,
Bushberg et al., The Essential Physics of Medical Imaging (3rd ed., 2011), chapter 10; scatter as blurred P tau,
Ohnesorge et al. 1999, DOI 10.1007/s003300050710.

Limits: no detector geometry, so no magnification and no true streaks; no ghosts, no gradient warp; one energy.
"""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from chambit.phantoms.body.assemble import Pose, paint
from chambit.phantoms.body.paint import Canvas, Palette
from chambit.phantoms.body.person import Person
from chambit.phantoms.body.space import Grid, Map, axis
from chambit.phantoms.body.thorax import shadows
from chambit.phantoms.body.tissue import Part, hounsfield, spin_echo

MU_WATER: Final = 0.0195  # 1/mm at about 65 keV
INSPIRED: Final = 12.0  # mm by which breathing in for a CT scan lowers the diaphragm
PLANES: Final = 36  # of a radiograph's volume from front to back
FINEST: Final = 192  # rays along a side of that volume
BONE_GAIN: Final = 1.3  # calcium attenuates a radiograph's softer beam more than Hounsfield units say
MASK_SHARE: Final = 0.3


class Site(NamedTuple):
    """How a site's images look: CT noise in HU and its blur, MR noise and bias, scatter, quanta, gamma."""

    noise: float
    blur: float
    rician: float
    bias: float
    scatter: float
    quanta: float
    gamma: float


SITES: Final = {
    "A": Site(7.0, 0.55, 0.016, 0.16, 0.25, 5200.0, 1.00),
    "B": Site(11.0, 0.45, 0.026, 0.24, 0.30, 3000.0, 0.90),
    "C": Site(9.0, 0.80, 0.020, 0.34, 0.36, 2200.0, 1.08),
}


class Picture(NamedTuple):
    """One image of one body.

    Attributes:
        value: What was measured, float32 (pixels, pixels), top row first: HU, signal, or brightness in [0, 1].
        part: Value of chambit.phantoms.body.tissue.Part at each pixel, uint8; all 0 for a radiograph.
        mask: Where the lesion is, bool.
        spacing_mm: Distance between pixel centres in mm of the person, not of the reference adult.
    """

    value: Map
    part: NDArray[np.uint8]
    mask: NDArray[np.bool_]
    spacing_mm: float


def scales(person: Person) -> tuple[float, float, float]:
    """Return how many mm of the person a mm of the reference adult is, along x, y and z."""
    across = person.stature * person.breadth
    return across, across, person.stature


def field_of_view(person: Person, part: str) -> float:
    """Return the width in mm of the reference adult that a slice of 'chest', 'abdomen', 'pelvis' or 'head' shows."""
    if part == "head":
        return 226.0
    return {"chest": 336.0, "abdomen": 304.0, "pelvis": 340.0}[part] + 2.2 * person.fat + 1.3 * person.belly


def ct_slice(
    person: Person, level: float, part: str, pixels: int, contrast: bool, stream: np.random.Generator
) -> Picture:
    """Scan one axial slice, lying on the back with the arms up, in inspiration.

    Args:
        person: Who is scanned.
        level: Height z in mm of the reference adult.
        part: 'chest', 'abdomen', 'pelvis' or 'head'.
        pixels: Rows and columns, at least 16.
        contrast: Whether a contrast agent was given.
        stream: Random numbers of the noise.

    Returns:
        The slice in Hounsfield units.
    """
    canvas, fold, spacing = _axial(person, (level,), part, pixels, Palette(*hounsfield(contrast)), INSPIRED, stream)
    value = canvas.value[0]
    _table(value, canvas, level)
    value = _folded(value, fold)
    site = SITES[person.site]
    strength = (
        site.noise * (1.3 if part == "pelvis" else 0.3 if part == "head" else 1.0) * (64 / max(pixels, 64)) ** -0.25
    )
    noise = ndimage.gaussian_filter(stream.standard_normal(value.shape, dtype=np.float32), site.blur)
    noise -= ndimage.gaussian_filter(noise, 3.0)
    dense = np.clip(np.maximum(value - 250, 0).mean(axis=1) / 60, 0, 1.5)[:, None]
    streak = ndimage.gaussian_filter(stream.standard_normal(value.shape, dtype=np.float32), (0.4, pixels / 10))
    value = ndimage.gaussian_filter(value, 0.6 * site.blur)
    value += strength * noise / max(float(noise.std()), 1e-6)
    value += strength * 0.9 * dense * streak / max(float(streak.std()), 1e-6)
    return _picture(value, canvas, fold, spacing)


def mr_slice(
    person: Person, level: float, part: str, pixels: int, weighting: str, stream: np.random.Generator
) -> Picture:
    """Scan one axial slice of 6 mm with a spin echo, lying on the back.

    Args:
        person: Who is scanned.
        level: Height z in mm of the reference adult.
        part: 'chest', 'abdomen', 'pelvis' or 'head'.
        pixels: Rows and columns, at least 16.
        weighting: 'T1' or 'T2'.
        stream: Random numbers of noise and bias.

    Returns:
        The slice in shares of the signal of a voxel full of protons at no relaxation.
    """
    thick = (level - 2.0, level + 2.0)
    palette = Palette(*spin_echo(weighting))
    canvas, fold, spacing = _axial(person, thick, part, pixels, palette, 0.0, stream)
    value = receive(_folded(canvas.value.mean(axis=0), fold), SITES[person.site], stream)
    return _picture(value, canvas, fold, spacing)


def receive(signal: Map, site: Site, stream: np.random.Generator) -> Map:
    """Return the magnitude (..., rows, columns) that a coil with a smooth bias and thermal noise makes of a signal."""
    axes = [
        np.linspace(-1, 1, n, dtype=np.float32).reshape((-1,) + (1,) * (signal.ndim - 1 - k))
        for k, n in enumerate(signal.shape)
    ]
    a = stream.normal(0, site.bias, (2, signal.ndim))
    bend = sum(a[0, k] * u + a[1, k] * (u * u - 0.33) for k, u in enumerate(axes))
    measured = signal * np.exp(np.asarray(bend, np.float32))
    real = measured + site.rician * stream.standard_normal(signal.shape, dtype=np.float32)
    magnitude: Map = np.hypot(real, site.rician * stream.standard_normal(signal.shape, dtype=np.float32))
    return magnitude


def radiograph(person: Person, part: str, pixels: int, stream: np.random.Generator) -> Picture:
    """Project a body from front to back.

    Args:
        person: Who is examined; standing for the chest, else lying.
        part: 'chest', 'abdomen', 'pelvis' or 'head'.
        pixels: Rows and columns, at least 16.
        stream: Random numbers of pose and noise.

    Returns:
        The radiograph as brightness, bone bright, with the projected lesion as its mask.
    """
    middle, height = {
        "chest": (325.0, 350.0),
        "abdomen": (85.0, 390.0),
        "pelvis": (-70.0, 340.0),
        "head": (632.0, 245.0),
    }[part]
    wide = height * (1.0 + 0.0022 * max(person.fat - 12, 0) * (part != "head"))
    dx, dz = stream.uniform(-0.02, 0.02, 2) * wide
    middle += float(dz)
    count = min(max(80, pixels + pixels // 4), FINEST)
    reach = (110.0, 125.0) if part == "head" else (150.0 + person.fat + person.belly, 132.0 + 1.6 * person.fat)
    edge = max(wide / count, 0.45 * sum(reach) / PLANES)
    grid = Grid(
        axis(middle - wide / 2, middle + wide / 2, count),
        axis(-reach[0], reach[1], PLANES),
        axis(float(dx) - wide / 2, float(dx) + wide / 2, count),
        edge,
    )
    erect = part == "chest"
    values, mottle = hounsfield(False)
    canvas = paint(
        person,
        grid,
        Palette(values, 0.4 * mottle),
        Pose("out" if erect else "up", erect, 20.0 if erect else 0.0),
        detail=False,
    )
    sx, sy, _ = scales(person)
    step = sy * sum(reach) / PLANES
    relative = np.maximum(1 + canvas.value / 1000, 0)
    relative += BONE_GAIN * np.maximum(canvas.value - 130, 0) / 1000
    tau = relative.sum(axis=1) * np.float32(MU_WATER * step)
    lung = np.clip((canvas.part == Part.LUNG).sum(axis=1) * np.float32(step / 40), 0, 1)
    tau += lung * shadows(person, grid) * np.float32(0.85 * MU_WATER)
    lesion = canvas.lesion.sum(axis=1)
    if person.lesion is not None and person.lesion.organ == "liver":
        lesion = 0 * lesion  # soft tissue within soft tissue casts no shadow
    mask = _resized(lesion, pixels) > MASK_SHARE * max(float(lesion.max()), 1e-6)
    value = _display(_resized(tau, pixels), SITES[person.site], stream)
    return Picture(value, np.zeros((pixels, pixels), np.uint8), mask[::-1].copy(), sx * wide / pixels)


def _axial(
    person: Person,
    levels: tuple[float, ...],
    part: str,
    pixels: int,
    palette: Palette,
    breath: float,
    stream: np.random.Generator,
) -> tuple[Canvas, int, float]:
    """Paint axial planes at `fold` times the pixels asked for; nobody lies twice the same way. Also the spacing, mm."""
    fold = 2 if pixels <= 128 else 1
    dx, dy, zoom, sigh = np.clip(stream.standard_normal(4), -2, 2) * (4.0, 4.0, 0.02, 3.0)
    wide = field_of_view(person, part) * (1 + float(zoom))
    pose = Pose("up", False, breath + float(sigh))
    middle = float(dy) + (8.0 if part == "head" else 4.0 - 0.35 * person.belly)
    n = pixels * fold
    grid = Grid(
        np.array(levels, np.float32),
        axis(middle - wide / 2, middle + wide / 2, n),
        axis(float(dx) - wide / 2, float(dx) + wide / 2, n),
        wide / n,
    )
    return paint(person, grid, palette, pose), fold, wide * scales(person)[0] / pixels


def _table(value: Map, canvas: Canvas, level: float) -> None:
    """Lay the couch under the body, in place: a thin curved shell."""
    grid, person = canvas.grid, canvas.person
    back = 122.0 + 1.5 * person.fat if level < 560 else 122.0
    width, bow = (220.0, 0.0011) if level < 560 else (125.0, 0.0)
    bed = grid.y[:, None] - (back - bow * grid.x[None, :] ** 2)
    for depth, hu in ((0.0, -350.0), (16.0, -550.0)):
        cover = np.clip(0.5 - (np.abs(bed - depth) - 1.2) / grid.edge, 0, 1) * (np.abs(grid.x) < width)
        value += (hu - value) * cover * (canvas.part[0] == 0) * (value < -500)


def _folded(value: Map, fold: int) -> Map:
    if fold == 1:
        return value.copy()
    rows, columns = value.shape
    folded: Map = value.reshape(rows // fold, fold, columns // fold, fold).mean(axis=(1, 3))
    return folded


def _picture(value: Map, canvas: Canvas, fold: int, spacing: float) -> Picture:
    lesion = _folded(canvas.lesion.mean(axis=0), fold)
    part = np.ascontiguousarray(canvas.part[len(canvas.part) // 2, fold // 2 :: fold, fold // 2 :: fold])
    return Picture(value, part, lesion > MASK_SHARE, spacing)


def _resized(value: Map, pixels: int) -> Map:
    """Fold or interpolate a square map to (pixels, pixels)."""
    if value.shape[0] == pixels:
        return value
    if value.shape[0] == 2 * pixels:
        return _folded(value, 2)
    at = (np.arange(pixels) + 0.5) * (value.shape[0] / pixels) - 0.5
    made = ndimage.map_coordinates(
        value, np.meshgrid(at, at, indexing="ij"), order=3, mode="nearest", output=np.float32
    )
    return np.asarray(made, np.float32)


def _display(tau: Map, site: Site, stream: np.random.Generator) -> Map:
    """Expose and process for display: scatter, quanta, log, local contrast, window, gamma; top row first."""
    n = tau.shape[0]
    primary = np.exp(-tau[::-1])
    blurred = ndimage.uniform_filter(
        ndimage.uniform_filter(primary * tau[::-1], n // 5, mode="nearest"), n // 5, mode="nearest"
    )
    signal = primary + 0.5 * site.scatter / (1 - site.scatter) * blurred
    gain = site.quanta / float(np.median(signal[n // 4 : -n // 4, n // 4 : -n // 4]))
    signal = signal + np.sqrt(signal / gain) * stream.standard_normal(signal.shape, dtype=np.float32)
    shade = -np.log(np.maximum(ndimage.gaussian_filter(signal, 0.35 + 0.15 * n / 64 * site.blur), 1 / gain))
    local = ndimage.uniform_filter(
        ndimage.uniform_filter(shade, n // 7 + 1, mode="nearest"), n // 7 + 1, mode="nearest"
    )
    covered = np.clip(1.5 * shade - 0.05, 0, 1)
    shade = shade + 1.6 * (shade - local)
    inside = shade[covered > 0.9] if (covered > 0.9).any() else shade
    low, high = np.percentile(inside[:: max(1, inside.size // 4096)], (3, 98.5))
    unit = (shade - low) / max(float(high - low), 1e-3)
    bent = 0.5 + 0.5 * np.tanh(2.0 * (0.78 * unit - 0.38)) / np.tanh(1.0)
    return np.asarray(np.clip(bent * covered, 0, 1) ** site.gamma, np.float32)
