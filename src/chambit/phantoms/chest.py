"""Procedural frontal chest radiographs (phantoms) of invented patients, for demonstrations and tests.

    I = I0 * (P + s/(1-s) * blur(P * tau) / 2) + noise,   P = exp(-tau),   var(noise) = I

tau is the patient's line integral of attenuation, from chambit.phantoms.attenuation; s is the scatter
fraction behind the lungs. Sources: Bushberg et al., The Essential Physics of Medical Imaging (3rd ed., 2011),
chapters 3 and 7; scatter as blurred P * tau, Ohnesorge et al. 1999, DOI 10.1007/s003300050710.

Frame: unit = image width; x to the right of the image (the patient's left), y down from the top edge.

Limits: one effective energy and no geometry in depth, so no magnification and no true overlap; no devices,
lines, lettering or disease other than one focal consolidation; proportions are plausible, not measured;
quanta are counted per pixel whatever its size, so that small images are not free of noise. Equal bytes are
promised for one numerical stack; another numpy or processor may round some pixels differently.
"""

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from chambit.phantoms.anatomy import AGE_BANDS, HABITUS, Map, Patient, patient, stream
from chambit.phantoms.attenuation import MU_SOFT, Grid, attenuate, lung_margins, spared, spine_curve

MASK_FRACTION: Final = 0.3  # of the largest added thickness
CROPPED_FROM: Final = 0.75  # findings stay above this share of the height


class Visit(NamedTuple):
    """One examination, that is one image to be made.

    Attributes:
        subject: Patient identifier, such as 'P000123'.
        visit: 1 to 3.
        index: The patient's index, at least 0.
        finding: 'normal' or 'consolidation'.
        sex: 'F' or 'M'.
        age_band: One of AGE_BANDS.
        habitus: One of HABITUS.
        view: 'PA' or 'AP'.
        site: 'A', 'B' or 'C'.
    """

    subject: str
    visit: int
    index: int  # type: ignore[assignment]  # hides tuple.index, which no one needs here
    finding: str
    sex: str
    age_band: str
    habitus: str
    view: str
    site: str


class Site(NamedTuple):
    """How a site's images look: scatter fraction, quanta, blur (pixels), edge gain, window, gamma."""

    scatter: float
    quanta: float
    blur: float
    edge: float
    low: float
    high: float
    gamma: float


SITES: Final = {
    "A": Site(0.25, 6000.0, 0.42, 1.5, 0.10, 0.82, 1.00),
    "B": Site(0.31, 3000.0, 0.52, 1.0, 0.15, 0.78, 0.92),
    "C": Site(0.38, 2000.0, 0.62, 0.7, 0.16, 0.72, 1.05),
}


class Pose(NamedTuple):
    """How one visit differs from the patient's others; AP is at the bedside: more scatter, a larger heart."""

    dx: float
    dy: float
    angle: float
    scale: float
    breath: float
    exposure: float
    tone: float
    congestion: float
    scatter: float
    heart: float


def visits(first: int, count: int, *, seed: int, prevalence: float = 0.5) -> list[Visit]:
    """List the examinations of patients first .. first+count-1.

    Args:
        first: First patient index, at least 0.
        count: Number of patients.
        seed: Cohort seed; with the patient's index it decides everything but the findings' threshold.
        prevalence: Probability in [0, 1] that a visit shows a consolidation.

    Returns:
        One to three visits per patient, in order of patient and visit.
    """
    if first < 0 or count < 0 or not 0.0 <= prevalence <= 1.0:
        raise ValueError("first and count must be at least 0 and prevalence lie in [0, 1]")
    listed = []
    for index in range(first, first + count):
        rng = stream(seed, index, 0, 0)
        sex = "FM"[int(rng.random() < 0.52)]
        age = AGE_BANDS[int(rng.choice(4, p=(0.2, 0.32, 0.35, 0.13)))]
        habitus = HABITUS[int(rng.choice(3, p=(0.27, 0.48, 0.25)))]
        site = "ABC"[int(rng.choice(3, p=(0.45, 0.33, 0.22)))]
        many = 1 + int(rng.choice(3, p=(0.5, 0.3, 0.2)))
        bedside = rng.random(3) < (0.5 if age == "80+" else 0.25)
        ill = rng.random(3) < prevalence
        for visit in range(1, many + 1):
            finding = "consolidation" if ill[visit - 1] else "normal"
            view = "AP" if bedside[visit - 1] else "PA"
            listed.append(Visit(f"P{index:06d}", visit, index, finding, sex, age, habitus, view, site))
    return listed


def render(
    visits: Sequence[Visit], *, pixels: int, seed: int, contrast: float = 2.5
) -> tuple[NDArray[np.uint16], NDArray[np.bool_]]:
    """Draw the radiograph and the finding's mask of every visit.

    Args:
        visits: N examinations, as listed by visits() with the same seed.
        pixels: Image height and width, at least 16.
        seed: Cohort seed.
        contrast: Largest thickness of consolidated lung, in cm; at 0 the image is that of a normal visit.

    Returns:
        Images (N, pixels, pixels) uint16 in 0..4095, MONOCHROME2, rows first; and masks of that shape, bool:
        where the added thickness exceeds MASK_FRACTION of its maximum, all False for normal visits. The masks
        do not depend on contrast, though no more lung can fill up than there is air. Each image depends on
        its own visit alone.
    """
    if pixels < 16 or contrast < 0:
        raise ValueError("pixels must be at least 16 and contrast at least 0")
    images = np.zeros((len(visits), pixels, pixels), np.uint16)
    masks = np.zeros((len(visits), pixels, pixels), bool)
    for row, visit in enumerate(visits):
        images[row], masks[row] = _radiograph(visit, pixels, seed, contrast)
    return images, masks


def _radiograph(visit: Visit, pixels: int, seed: int, contrast: float) -> tuple[NDArray[np.uint16], NDArray[np.bool_]]:
    """Draw one visit; four streams of random numbers, so that no step's draws depend on another's."""
    person = patient(seed, visit.index, visit.sex, visit.age_band, visit.habitus, visit.site)
    pose = _pose(visit, seed)
    fold = 2 if pixels <= 128 else 1
    grid = _grid(person, pose, pixels, fold)
    tau, air = attenuate(person, grid, pose.congestion)
    mask = np.zeros((pixels, pixels), bool)
    if visit.finding == "consolidation":
        shape = _consolidation(visit, seed, person, pose, grid) * np.clip(air * 1.2, 0, 1)
        tau += MU_SOFT * np.minimum(contrast * shape, air)
        coarse = _fold(shape, fold)
        mask = coarse > MASK_FRACTION * coarse.max()
    signal = _detect(tau, fold, SITES[visit.site], pose, stream(seed, visit.index, visit.visit, 4))
    return _display(signal, SITES[visit.site], pose), mask


def _pose(visit: Visit, seed: int) -> Pose:
    rng = stream(seed, visit.index, visit.visit, 2)
    dx, dy, angle, scale = rng.uniform((-0.02, -0.02, -2.0, 0.98), (0.02, 0.02, 2.0, 1.02))
    bedside = visit.view == "AP"
    return Pose(
        dx=float(dx),
        dy=float(dy),
        angle=math.radians(angle),
        scale=float(scale),
        breath=rng.uniform(-0.018, 0.014) - 0.018 * bedside,
        exposure=math.exp(rng.uniform(-0.3, 0.3)),
        tone=rng.uniform(-0.03, 0.03),
        congestion=math.exp(0.22 * rng.standard_normal()),
        scatter=0.08 * bedside,
        heart=1.0 + 0.07 * bedside,
    )


def _grid(person: Patient, pose: Pose, n: int, fold: int = 1) -> Grid:
    """Place (n * fold, n) rays: x = centre + R(angle)^T (pixel - centre - shift) / scale."""
    c, s = math.cos(pose.angle), math.sin(pose.angle)
    turn = np.array([[c, -s], [s, c]]) * pose.scale
    at = np.array([0.5 + pose.dx, 0.5 + pose.dy])
    forward = np.column_stack([turn, at - turn @ (0.0, 0.5)])
    back = np.linalg.inv(turn)
    u = ((np.arange(n) + 0.5) / n - at[0])[None, :]
    v = ((np.arange(n * fold) + 0.5) / (n * fold) - at[1])[:, None]
    x = (back[0, 0] * u + back[0, 1] * v).astype(np.float32)
    y = (0.5 + back[1, 0] * u + back[1, 1] * v).astype(np.float32)
    mid = x - spine_curve(person, y)
    return Grid(x, y, mid, np.abs(mid), mid > 0, forward, pose.breath, pose.heart, fold)


def _consolidation(visit: Visit, seed: int, person: Patient, pose: Pose, grid: Grid) -> Map:
    """Shape of one hazy opacity, 0 to about 1.5; its place is uniform over where it fits into a lung."""
    rng = stream(seed, visit.index, visit.visit, 3)
    radius, pick, jitter = rng.uniform(0.05, 0.09), rng.random(), rng.uniform(-0.5, 0.5, 2)
    wave = rng.standard_normal((3, 2)) * np.array([0.10, 0.06, 0.05])[:, None]
    squash, lean = rng.uniform(0.8, 1.25), rng.uniform(0, math.pi)
    mottle = rng.standard_normal((2, 48, 48), dtype=np.float32)
    x, y, radius = _place(person, pose, radius, pick, jitter)
    near = _window(grid, x + float(spine_curve(person, np.asarray(y))), y, 2 * radius)
    dx, dy = grid.mid[near] - x, grid.y[near] - y
    c, s = math.cos(lean), math.sin(lean)
    angle = np.arctan2(dy, dx)
    edge = 1 + sum(w[0] * np.cos(k * angle) + w[1] * np.sin(k * angle) for k, w in enumerate(wave, start=2))
    r2 = ((c * dx + s * dy) * squash) ** 2 + ((c * dy - s * dx) / squash) ** 2
    rho = np.sqrt(r2) / (radius * edge)
    cloud = ndimage.gaussian_filter(mottle[0], 1.5) * 5.3 + ndimage.gaussian_filter(mottle[1], 3.5) * 12.4
    at = np.stack([24 + dy * (11 / radius), 24 + dx * (11 / radius)])
    patchy = ndimage.map_coordinates(cloud, at, order=1, mode="nearest", output=np.float32)
    shape = np.zeros_like(grid.x)
    faded = np.exp(-1.1 * np.minimum(rho, 3) ** 2.4) * np.clip(1 + 0.16 * patchy, 0.45, 1.5)
    shape[near] = np.where(rho < 1.8, faded, 0)
    shape[int(CROPPED_FROM * len(shape)) - 2 :] = 0
    return shape


def _window(grid: Grid, x: float, y: float, half: float) -> tuple[slice, slice]:
    """Rows and columns within half of a point of the patient's frame (x from the midline)."""
    rows, columns = grid.x.shape
    column, row = grid.forward @ (x, y, 1.0)
    down = slice(max(0, int((row - half) * rows)), max(1, int((row + half) * rows)))
    return down, slice(max(0, int((column - half) * columns)), max(1, int((column + half) * columns)))


def _place(person: Patient, pose: Pose, radius: float, pick: float, jitter: np.ndarray) -> tuple[float, float, float]:
    """Choose a centre at least a radius inside the visible lung; a radius that fits nowhere is shrunk."""
    n = 64
    grid = _grid(person, pose, n)
    seen = np.minimum.reduce(lung_margins(person, grid)) > 0
    seen &= spared(person, grid) > 0.6
    seen[int(CROPPED_FROM * n) - 1 :] = False
    seen[:, [0, -1]] = False
    room = ndimage.distance_transform_edt(seen) * (1 / n)
    need = min(1.15 * radius, 0.999 * float(room.max()))
    where = np.flatnonzero(room >= need)
    row, column = divmod(int(where[int(pick * where.size)]), n)
    x = float(grid.mid[row, column]) + float(jitter[0]) / n
    return x, float(grid.y[row, column]) + float(jitter[1]) / n, need / 1.15


def _fold(drawn: Map, fold: int) -> Map:
    folded: Map = drawn.reshape(-1, fold, drawn.shape[1]).mean(axis=1)
    return folded


def _wide(drawn: Map, share: float) -> Map:
    """Blur by two moving averages, each as wide as a share of the image."""
    size = max(3, int(share * drawn.shape[0]))
    smooth: Map = ndimage.uniform_filter(ndimage.uniform_filter(drawn, size, mode="nearest"), size, mode="nearest")
    return smooth


def _detect(tau: Map, fold: int, site: Site, pose: Pose, rng: np.random.Generator) -> Map:
    """Signal (n, n) over that of the open beam, with scatter, quantum noise and the detector's blur."""
    primary = _fold(np.exp(-tau), fold)
    share = site.scatter + pose.scatter
    # air scatters nothing: what a ray scatters forward goes with P * tau, which is about 2 P behind the lungs
    signal = primary + 0.5 * share / (1 - share) * _wide(primary * _fold(tau, fold), 0.22)
    n = signal.shape[0]
    # the exposure control aims at the same mean behind the lungs, whatever the habitus
    gain = site.quanta * pose.exposure / float(signal[n // 5 : n // 2, n // 5 : -n // 5].mean())
    signal += np.sqrt(signal / gain) * rng.standard_normal(signal.shape, dtype=np.float32)
    sigma = site.blur * (0.7 + 0.3 * n / 64)
    counted: Map = ndimage.gaussian_filter(np.maximum(signal, 1 / gain), sigma, truncate=3.0)
    return counted


def _display(signal: Map, site: Site, pose: Pose) -> NDArray[np.uint16]:
    """Process for display: log, edge gain, window between two percentiles of the chest, gamma."""
    shade = -np.log(signal)
    # where nothing lies in the beam the display is black, whatever the window
    covered = np.clip(1.6 * shade + 0.4, 0, 1)
    shade += site.edge * (shade - _wide(shade, 0.12))
    n = shade.shape[0]
    low, high = np.percentile(shade[n // 10 : 7 * n // 10 : 2, n // 8 : -n // 8 : 2], (2, 98))
    scaled = (shade - np.float32(low)) * ((site.high - site.low) / float(high - low)) + (site.low + pose.tone)
    # a film's toe and shoulder: nothing is clipped abruptly
    bent = 0.5 + 0.5 * np.tanh(2.0 * (scaled - 0.5)) / math.tanh(1.15)
    grey = 4095 * np.clip(bent * covered, 0, 1) ** np.float32(site.gamma)
    return np.asarray(np.rint(grey), np.uint16)
