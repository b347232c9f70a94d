"""The photograph of a drawn eye: background, disc, macula, vessels, lesions, light and camera.

    picture = light * (reflectance * exp(-(e_blood B + e_melanin M + e_lutein L)) + haze),   per colour

Light that returns from the fundus has crossed blood and pigment, which take green and blue first
(Delori and Pflibsen 1989, DOI 10.1364/AO.28.001061); the coefficients per colour are chosen by eye.

Limits: display colours are multiplied as if they were light; one field per eye (disc and macula in the frame); no
dust, lashes or eyelids. Equal bytes are promised for one numerical stack.
"""

import math
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from chambit.phantoms.anatomy import stream
from chambit.phantoms.canvas import Map, fold, oversampling, smooth, step
from chambit.phantoms.fundus import lesions, vessels
from chambit.phantoms.fundus.eyes import Eye

LAYOUT: Final = {"retina": 1, "disc": 2, "cup": 3, "vessels": 4, "fovea": 5}
FOVEA_RADIUS: Final = 2.7  # degrees: the macula's dark centre


class Camera(NamedTuple):
    """A site's camera: field (degrees), share of its height that is kept, colour gains, contrast, blur, noise."""

    field: float
    kept: float
    gains: tuple[float, float, float]
    contrast: float
    blur: float
    noise: float
    notch: bool


CAMERAS: Final = {
    "A": Camera(45.0, 1.00, (1.00, 1.00, 1.00), 1.08, 0.050, 0.008, True),
    "B": Camera(45.0, 0.87, (1.07, 1.10, 1.42), 1.00, 0.065, 0.010, False),
    "C": Camera(50.0, 1.00, (0.94, 0.95, 0.68), 1.00, 0.085, 0.015, False),
}


class Photograph(NamedTuple):
    """`picture` (n, n, 3) uint8, `mask` (n, n) bool of lesions, `layout` (n, n) uint8 by LAYOUT."""

    picture: NDArray[np.uint8]
    mask: NDArray[np.bool_]
    layout: NDArray[np.uint8]


class _View(NamedTuple):
    """Grid of a picture: u, v over the field's radius; x, y in degrees of the eye; forward to pixels."""

    u: Map
    v: Map
    x: Map
    y: Map
    forward: NDArray[np.float64]


def photograph(eye: Eye, pixels: int, contrast: float = 1.0) -> Photograph:
    """Take the picture of an eye.

    Args:
        eye: Whom and which side.
        pixels: Height and width, at least 32.
        contrast: Strength of the lesions; at 0 the picture is that of a healthy eye, with the same mask.

    Returns:
        Picture, mask (all False for a healthy eye) and layout; the fovea lies left of the disc in right eyes.
    """
    if pixels < 32 or contrast < 0:
        raise ValueError("pixels must be at least 32 and contrast at least 0")
    times = oversampling(pixels)
    n = pixels * times
    camera = CAMERAS[eye.person.site]
    view = _view(eye, camera, n)
    # the thinnest vessels are not seen in small pictures, and large ones are drawn once as finely as the rest
    tree = vessels.grow(eye, stream(eye.seed, 1), 4 if pixels > 128 else 3)
    finer = 3 - times
    artery, vein = (fold(drawn, finer) for drawn in vessels.blood(tree, view.forward * finer, finer * n))
    found = None
    if eye.label != "healthy":
        rng = stream(eye.seed, 3)
        found = lesions.draw(lesions.scatter(eye, rng), view.x, view.y, smooth(rng, 70, n), view.forward)
    disc, cup = _disc(eye, view)
    inside = _inside(view, camera, n)
    colour = _fundus(eye, view, disc, cup, artery, vein, stream(eye.seed, 2))
    if found is not None:
        colour = _ill(colour, found, contrast)
    picture = _expose(colour, eye, view, camera, inside, times, stream(eye.seed, 4))
    mask = np.zeros((pixels, pixels), bool)
    if found is not None:
        mask = (fold(found.margin, times) > 0.3) & (fold(inside, times) > 0.5)
    return Photograph(picture, mask, _layout(eye, view, inside, disc, cup, np.maximum(artery, vein), times))


def _view(eye: Eye, camera: Camera, n: int) -> _View:
    """Where the camera looks: between fovea and disc, nearer to the fovea, a little turned."""
    rng = stream(eye.seed, 5)
    at = np.array(eye.fovea) * (rng.uniform(0.62, 0.92), 0.9) + rng.normal(0, 0.9, 2)
    angle = math.radians(rng.normal(0, 2.0))
    mirror = -1.0 if eye.side == "right" else 1.0
    scale = 0.485 * n / (camera.field / 2)  # pixels in a degree
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    turn = scale * turn @ np.diag([mirror, 1.0])
    centre = np.full(2, n / 2) + rng.normal(0, 0.004, 2) * n
    forward = np.column_stack([turn, centre - turn @ at])
    pixel = np.arange(n, dtype=np.float32) + np.float32(0.5)
    back = np.linalg.inv(turn)
    column, row = pixel[None, :] - np.float32(centre[0]), pixel[:, None] - np.float32(centre[1])
    x = (back[0, 0] * column + back[0, 1] * row + at[0]).astype(np.float32)
    y = (back[1, 0] * column + back[1, 1] * row + at[1]).astype(np.float32)
    radius = np.float32(1 / (0.485 * n))
    return _View(column * radius, row * radius, x, y, forward)


def _inside(view: _View, camera: Camera, n: int) -> Map:
    """1 within the field of view, 0 on the black border."""
    edge = 2 / (0.485 * n)
    far = np.hypot(view.u, view.v)
    inside = step(1 - far, edge) * step(camera.kept - np.abs(view.v) + np.zeros_like(view.u), edge)
    if camera.notch:
        # the mark by which such cameras tell which way is up
        at = np.abs(view.u * 0.743 - view.v * 0.669 - 1.0) < 0.03
        notch = at & (np.abs(view.v * 0.743 + view.u * 0.669) < 0.028)
        inside = np.where(notch, 1.0, inside)
    return inside.astype(np.float32)


def _disc(eye: Eye, view: _View) -> tuple[Map, Map]:
    """Distance from the centre over the radius, of the disc and of its cup, along every ray."""
    c, s = math.cos(eye.lean), math.sin(eye.lean)
    across, down = c * view.x + s * view.y, c * view.y - s * view.x
    disc = np.hypot(across / (eye.disc * eye.oval), down / eye.disc)
    cup = np.hypot((across - 0.1 * eye.disc) / (eye.disc * eye.oval), down / eye.disc) / max(eye.cup, 0.1)
    return disc.astype(np.float32), cup.astype(np.float32)


def _fundus(eye: Eye, view: _View, disc: Map, cup: Map, artery: Map, vein: Map, rng: np.random.Generator) -> Map:
    """Reflectance (n, n, 3) of a healthy eye, about 0 to 1."""
    n, who = len(view.x), eye.person
    fair = 1 - who.pigment
    from_fovea = np.hypot(view.x - eye.fovea[0], view.y - eye.fovea[1])
    melanin = 0.24 + 0.48 * who.pigment + 0.06 * smooth(rng, 5, n) + 0.035 * smooth(rng, 70, n)
    melanin += 0.02 * smooth(rng, 160, n) + (0.42 + 0.1 * who.pigment) * np.exp(-((from_fovea / 3.4) ** 2))
    melanin += 0.16 * np.exp(-((from_fovea / 1.1) ** 2))
    lutein = 0.55 * np.exp(-((from_fovea / 2.4) ** 2))
    # choroidal vessels shine through a fair epithelium, least at the macula
    ribbons = np.minimum(np.abs(smooth(rng, 30, n)), 1.2 * np.abs(smooth(rng, 22, n)))
    shows = np.clip(1.5 * fair - 0.45, 0, 1) * (1 - 0.85 * np.exp(-((from_fovea / 9) ** 2)))
    melanin += 0.20 * (step(ribbons - 0.35, 1.1) - 0.5) * (1 + 0.5 * smooth(rng, 6, n)) * shows
    melanin += _crescent(eye, disc, view)
    warm = np.array([0.90, 0.50, 0.24]) * (1 + 0.03 * rng.standard_normal(3))
    absorbs = np.array([0.42, 0.92, 1.05])
    colour = warm.astype(np.float32) * np.exp(-melanin[..., None] * absorbs.astype(np.float32))
    colour[..., 2] *= np.exp(-lutein)
    colour += _sheen(eye, view, disc, from_fovea, rng)[..., None] * np.array([0.75, 1.0, 0.9], np.float32)
    _put_disc(colour, eye, disc, cup, view, rng)
    column = np.maximum(vein, artery)[..., None] * np.array([0.36, 1.18, 0.95], np.float32)
    oxygen = np.where(artery > vein, np.float32(0.60), np.float32(1.05))[..., None]
    # light on the disc comes from the vessel's own wall as well: columns look thinner there
    pale = 1 - 0.35 * step(1 - disc, 0.3)[..., None]
    seen: Map = (colour * np.exp(-column * oxygen * pale)).astype(np.float32)
    return seen


def _crescent(eye: Eye, disc: Map, view: _View) -> Map:
    """Less pigment in a crescent at the disc's temporal edge, and a thin dark line around it."""
    near = np.exp(-(((disc - 1.12) / 0.12) ** 2)) * np.clip(view.x / eye.disc, 0, 1)
    rim = np.exp(-(((disc - 1.07) / 0.05) ** 2))
    return np.asarray(0.10 * eye.person.pigment * rim - 0.6 * eye.crescent * near, np.float32)


def _sheen(eye: Eye, view: _View, disc: Map, from_fovea: Map, rng: np.random.Generator) -> Map:
    """Silvery stripes of nerve fibres along the arcades, and in the young a ring around the macula."""
    far = np.hypot(view.x, view.y)
    bent = np.arctan2(view.y, view.x - 0.022 * (view.x**2) * (view.x > 0)).astype(np.float32)
    stripes = np.interp(bent, np.linspace(-math.pi, math.pi, 420), rng.standard_normal(420)).astype(np.float32)
    bundle = np.exp(-(((np.abs(bent) - 1.15) / 0.55) ** 2)) + 0.25
    fibres = bundle * np.exp(-np.maximum(far - eye.disc, 0) / 8) * (disc > 1) * (0.034 + 0.014 * stripes)
    uneven = 1 + 0.5 * smooth(rng, 7, len(far))
    ring = np.exp(-(((from_fovea - 4.2) / 0.8) ** 2)) * np.clip(uneven, 0, 2)
    point = np.exp(-((from_fovea / 0.22) ** 2))
    return np.asarray(eye.person.youth * (fibres * 1.6 + 0.028 * ring + 0.12 * point) + 0.4 * fibres, np.float32)


def _put_disc(colour: Map, eye: Eye, disc: Map, cup: Map, view: _View, rng: np.random.Generator) -> None:
    """Paint the neural rim and the cup over the retina, in place."""
    n = len(disc)
    wave = 0.02 * smooth(rng, 14, n)
    rim = step(1 - disc + wave, 0.14)
    pale = step(1 - cup + 0.10 * smooth(rng, 22, n), 0.55)
    side = np.clip(view.x / eye.disc, -1, 1) * 0.07
    tone = 1 + side + 0.03 * smooth(rng, 60, n)
    flesh = np.array([0.95, 0.62, 0.36], np.float32) * tone[..., None]
    cream = np.array([1.0, 0.86, 0.62], np.float32)
    head = flesh + (pale * (0.75 + 0.05 * smooth(rng, 80, n)))[..., None] * (cream - flesh)
    colour += rim[..., None] * (head - colour)


def _ill(colour: Map, found: lesions.Lesions, contrast: float) -> Map:
    """Lay lesions over the retina: wool hides, exudate reflects, blood absorbs."""
    wool = (np.clip(0.85 * contrast, 0, 1) * found.wool)[..., None]
    colour = colour + wool * (np.array([0.94, 0.86, 0.68], np.float32) - colour)
    hard = (np.clip(0.92 * contrast, 0, 1) * found.exudate)[..., None]
    colour = colour + hard * (np.array([0.99, 0.88, 0.46], np.float32) - colour)
    taken = found.blood[..., None] * np.array([0.62, 1.35, 1.1], np.float32) * contrast
    return np.asarray(colour * np.exp(-taken), np.float32)


def _expose(
    colour: Map, eye: Eye, view: _View, camera: Camera, inside: Map, times: int, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Light, optics and sensor: (n, n, 3) uint8 at the written size."""
    lean, exposure = rng.normal(0, 0.07, 2).tolist(), math.exp(rng.normal(0, 0.07))
    far2 = view.u**2 + view.v**2
    light = exposure * (1.04 - 0.30 * far2 - 0.10 * far2**3 + lean[0] * view.u + lean[1] * view.v)
    haze = 0.012 + 0.05 * abs(float(rng.normal())) * np.exp(-(((np.sqrt(far2) - 1) / 0.09) ** 2)) * (0.5 + 0.5 * view.u)
    lit = colour * light[..., None] + haze[..., None] * np.array([0.55, 0.75, 1.0], np.float32)
    lit = 0.45 + (lit - 0.45) * camera.contrast
    lit *= np.array(camera.gains, np.float32) * (1 + 0.025 * rng.standard_normal(3)).astype(np.float32)
    n = len(lit)
    degree = 0.485 * n / (camera.field / 2)
    sigma = degree * camera.blur * math.exp(rng.normal(0.0, 0.25))
    lit = np.clip(lit, 0, None) * inside[..., None]
    lit = ndimage.gaussian_filter(lit, (sigma, sigma, 0), truncate=3.0, mode="nearest")
    small = fold(lit, times)
    grain = rng.standard_normal(small.shape, dtype=np.float32) * (0.6 + 0.8 * np.sqrt(np.maximum(small, 0)))
    small = small + camera.noise * grain * (0.25 + 0.75 * fold(inside, times))[..., None]
    # a sensor saturates gently
    small = np.where(small > 0.8, 0.8 + 0.22 * np.tanh((small - 0.8) / 0.22), small)
    return np.asarray(np.rint(255 * np.clip(small, 0, 1)), np.uint8)


def _layout(eye: Eye, view: _View, inside: Map, disc: Map, cup: Map, column: Map, times: int) -> NDArray[np.uint8]:
    """Part at each pixel: retina, over it fovea, disc, cup and vessels."""
    seen = fold(inside, times) > 0.5
    fovea = fold(np.hypot(view.x - eye.fovea[0], view.y - eye.fovea[1]), times) < FOVEA_RADIUS
    parts = np.where(seen, LAYOUT["retina"], 0)
    parts[seen & fovea] = LAYOUT["fovea"]
    parts[seen & (fold(disc, times) < 1)] = LAYOUT["disc"]
    parts[seen & (fold(cup, times) < 1) & (fold(disc, times) < 0.95)] = LAYOUT["cup"]
    parts[seen & (fold(column, times) > 0.22)] = LAYOUT["vessels"]
    return parts.astype(np.uint8)
