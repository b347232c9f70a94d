"""A stained patch as the scanner sees it: amounts of two stains turned into colours.

    I_c = white_c exp(-(H h_c + E e_c))            for each colour c (Beer and Lambert)

H and E are amounts of haematoxylin and eosin, h and e their unit optical densities: Ruifrok and Johnston 2001,
Quantification of histochemical staining by color deconvolution, Anal Quant Cytol Histol 23:291-299; and the reference
in common use with Macenko et al. 2009, DOI 10.1109/ISBI.2009.5193250. Laboratories lie between the two; a patient's
block shifts them.

Limits: one focal plane, no stitching seams, dust, folds or compression; nuclei's chromatin is a random texture.
"""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from chambit.phantoms.anatomy import stream
from chambit.phantoms.canvas import Map, fold, oversampling, smooth, step
from chambit.phantoms.pathology import cells
from chambit.phantoms.pathology.patients import Section
from chambit.phantoms.pathology.tissue import Tissue, tissue

LAYOUT: Final = {"stroma": 1, "gland epithelium": 2, "lumen": 3, "nuclei": 4}
RUIFROK: Final = ((0.65, 0.70, 0.29), (0.07, 0.99, 0.11))  # haematoxylin, eosin: red, green, blue
MACENKO: Final = ((0.5626, 0.7201, 0.4062), (0.2159, 0.8012, 0.5581))


class Scanner(NamedTuple):
    """A laboratory and its scanner: place between the stain vectors, strengths, white point, blur (um), noise."""

    between: float
    haematoxylin: float
    eosin: float
    white: tuple[float, float, float]
    blur: float
    noise: float


SCANNERS: Final = {
    "A": Scanner(0.60, 1.00, 1.00, (0.955, 0.950, 0.960), 0.30, 0.008),
    "B": Scanner(0.85, 0.90, 1.06, (0.930, 0.915, 0.925), 0.42, 0.011),
    "C": Scanner(0.42, 1.18, 0.85, (0.965, 0.965, 0.975), 0.36, 0.009),
}


class Patch(NamedTuple):
    """`picture` (n, n, 3) uint8, `mask` (n, n) bool of tumour epithelium, `layout` (n, n) uint8 by LAYOUT."""

    picture: NDArray[np.uint8]
    mask: NDArray[np.bool_]
    layout: NDArray[np.uint8]


def patch(section: Section, pixels: int, field_um: float) -> Patch:
    """Draw one patch.

    Args:
        section: Which patch of whom.
        pixels: Height and width, at least 32.
        field_um: Height and width in micrometres; 256 on 512 pixels is a scan at 20x.

    Returns:
        Picture; mask, all False for a benign patch; layout.
    """
    if pixels < 32 or not 64 <= field_um <= 1024:
        raise ValueError("pixels must be at least 32 and field_um lie in [64, 1024]")
    times = oversampling(pixels)
    n = pixels * times
    made = tissue(section, n, field_um, stream(section.seed, 1))
    people = cells.populate(section, made, field_um, stream(section.seed, 2))
    rng = stream(section.seed, 3)
    H, E = _matrix(section, made, field_um, rng)
    _mucin(H, E, people.goblets, made, rng)
    nuclei = _nuclei(section, H, E, people, made, field_um, rng)
    picture = _scan(H, E, section, made.um, times, stream(section.seed, 4))
    epithelium = step(made.depth, made.um) * (1 - step(made.lumen, made.um))
    inside = fold(epithelium, times) > 0.5
    ill = section.label != "benign"
    mask = inside if ill else np.zeros_like(inside)
    parts = np.where(inside, LAYOUT["gland epithelium"], LAYOUT["stroma"])
    parts[fold(step(made.lumen, made.um), times) > 0.5] = LAYOUT["lumen"]
    parts[fold(nuclei, times) > 0.5] = LAYOUT["nuclei"]
    return Patch(picture, mask, parts.astype(np.uint8))


def _matrix(section: Section, made: Tissue, field_um: float, rng: np.random.Generator) -> tuple[Map, Map]:
    """Amounts of haematoxylin and eosin before any nucleus: stroma, cytoplasm, lumina."""
    n, um, ill = len(made.depth), made.um, section.label != "benign"
    grain = smooth(rng, round(field_um / 3), n)
    cloud = smooth(rng, round(field_um / 11), n)
    dense = 0.52 if ill else 0.40
    fibres = made.fibres
    stroma = dense * np.clip(1 + 0.38 * fibres + 0.12 * grain, 0.08, 2.2)
    # loose tissue tears: thin gaps where hardly any collagen lies
    stroma *= 1 - 0.9 * step(-fibres - (1.25 if ill else 0.75), 0.4)
    blue = 0.10 + 0.03 * cloud
    inside = step(made.depth, 1.2 + um)
    # ground substance around the basement membrane, here and there shrunk away from the gland
    shrunk = np.exp(-(((made.depth + 2.2) / 1.3) ** 2)) * step(cloud - 0.9, 0.6)
    membrane = 0.16 * np.exp(-(((made.depth + 0.6) / 0.8) ** 2))
    stroma = (stroma + membrane) * (1 - 0.9 * shrunk)
    cytoplasm = (0.46 if ill else 0.42) * (1 + 0.13 * cloud + 0.10 * grain)
    tint = (0.30 if ill else 0.20) * (1 + 0.15 * cloud)
    border = 0.22 * np.exp(-(((made.lumen + 1.0) / 1.0) ** 2))
    E = stroma + inside * (cytoplasm + border - stroma)
    H = blue + inside * (tint - blue)
    hollow = step(made.lumen, 1.0 + um)
    debris = np.clip(0.5 * cloud + 0.3 * grain - (0.15 if ill else 0.55), 0, 1)
    E += hollow * (0.02 + (0.75 if ill else 0.12) * debris - E)
    H += hollow * (0.02 + (0.35 if ill else 0.10) * debris - H)
    return np.asarray(H, np.float32), np.asarray(E, np.float32)


def _mucin(H: Map, E: Map, goblets: cells.Bodies, made: Tissue, rng: np.random.Generator) -> None:
    """Empty the cytoplasm of goblet cells but for pale blue mucin, in place; their walls stay stained."""
    found = cells.stamp(goblets, len(H), made.um, rng)
    cover = np.zeros(H.size, np.float32)
    np.maximum.at(cover, found.at, found.cover * (1 - 0.3 * found.rho**6).clip(0, 1))
    pale = cover.reshape(H.shape) * (1 - step(made.lumen, 1.0 + made.um))
    E += pale * (0.06 - E)
    H += pale * (0.12 - H)


def _nuclei(
    section: Section, H: Map, E: Map, people: cells.Cells, made: Tissue, field_um: float, rng: np.random.Generator
) -> Map:
    """Lay nuclei and red cells over the matrix, in place; cover of nuclei, 0 to 1."""
    n, um, ill = len(H), made.um, section.label != "benign"
    clumps = 0.75 * smooth(rng, round(field_um / 2.3), n) + (0.6 * smooth(rng, round(field_um), n) if um < 1 else 0)
    chromatin = clumps.reshape(-1)
    cover, amount = np.zeros(H.size, np.float32), np.zeros(H.size, np.float32)
    # vesicular nuclei of a tumour are pale inside a dark rim; small round ones are dark throughout
    kinds = ((people.epithelial, 0.62 if ill else 0.80, 0.28), (people.spindles, 0.85, 0.12))
    for bodies, core, coarse in (*kinds, (people.lymphocytes, 0.92, 0.16), (people.mitoses, 1.0, 0.05)):
        found = cells.stamp(bodies, n, um, rng)
        rim = core + (1 - core) * np.exp(-(((found.rho - 0.92) / 0.16) ** 2))
        value = 1.18 * bodies.stain[found.which].astype(np.float32) * (rim + coarse * chromatin[found.at])
        stained = bodies.stain[found.which] > 0
        np.maximum.at(amount, found.at, np.where(stained, found.cover * np.clip(value, 0.15, 2.4), 0))
        np.maximum.at(cover, found.at, np.where(stained, found.cover, 0).astype(np.float32))
    if ill:
        _nucleoli(amount, people.epithelial, n, um, rng)
    shape = cover.reshape(H.shape)
    H += np.where(shape > 0, amount.reshape(H.shape) - 0.7 * H * shape, 0)
    E *= 1 - 0.62 * shape
    found = cells.stamp(people.red, n, um, rng)
    blood = np.zeros(H.size, np.float32)
    np.maximum.at(blood, found.at, found.cover)
    disc = blood.reshape(H.shape) * (1 - shape)
    E += disc * (1.0 - E)
    H += disc * (0.10 - H)
    return shape


def _nucleoli(amount: Map, nuclei: cells.Bodies, n: int, um: float, rng: np.random.Generator) -> None:
    """Darken one or two spots in two of three tumour nuclei, in place."""
    chosen = np.flatnonzero((rng.random(len(nuclei.x)) < 0.66) & (nuclei.stain > 0))
    chosen = np.concatenate([chosen, chosen[::3]])
    m = len(chosen)
    shift = rng.uniform(-0.4, 0.4, (2, m)) * nuclei.a[chosen]
    size = rng.uniform(0.65, 1.15, m)
    spots = cells.Bodies(
        nuclei.x[chosen] + shift[0], nuclei.y[chosen] + shift[1], size, size, np.zeros(m), np.ones(m), np.zeros(m)
    )
    found = cells.stamp(spots, n, um, rng)
    np.maximum.at(amount, found.at, (1.55 * found.cover).astype(np.float32))


def _scan(H: Map, E: Map, section: Section, um: float, times: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Colours of the stained section: (n, n, 3) uint8 at the written size."""
    who, scanner = section.patient, SCANNERS[section.patient.site]
    between = float(np.clip(scanner.between + who.hue, 0, 1))
    vectors = (1 - between) * np.array(RUIFROK) + between * np.array(MACENKO)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    thick = np.exp(0.06 * rng.standard_normal(2)) * (scanner.haematoxylin * who.haematoxylin, scanner.eosin * who.eosin)
    density = H[..., None] * (thick[0] * vectors[0]).astype(np.float32)
    density += E[..., None] * (thick[1] * vectors[1]).astype(np.float32)
    light = np.exp(-density) * np.array(scanner.white, np.float32)
    sigma = scanner.blur * float(np.exp(rng.normal(0, 0.2))) / um
    light = ndimage.gaussian_filter(light, (sigma, sigma, 0), truncate=3.0, mode="nearest")
    small = fold(light, times)
    small = small + np.float32(scanner.noise) * rng.standard_normal(small.shape, dtype=np.float32)
    return np.asarray(np.rint(255 * np.clip(small, 0, 1)), np.uint8)
