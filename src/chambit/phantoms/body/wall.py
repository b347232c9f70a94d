"""The body's envelope and cavity: skin, fat and muscles of trunk, neck, shoulders, arms and thighs.

The trunk is a tube along z whose cross-section is a superellipse; knots of its profiles are in mm. Fat under the
skin is thicker in front, behind the hips and, in women, at the breasts; the cavity is a second tube inside.

Source: levels and widths were laid out by eye on the cross-sections of the Visible Human (Spitzer et al. 1996,
DOI 10.1136/jamia.1996.96236280); none is measured.

Limits: single muscles are drawn in the back, the hip and the loin only; elsewhere fat planes divide a common mass.
"""

from typing import Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from chambit.phantoms.body.paint import Canvas, Solid
from chambit.phantoms.body.person import Person
from chambit.phantoms.body.space import FAR, Grid, Map, Region, curve, profile, softly, superellipse, tube
from chambit.phantoms.body.tissue import Part, Tissue

Arms = Literal["down", "out", "up"]

# height, half width, front, back of the muscles' outer surface
LEAN: Final = (
    (-190.0, 125.0, 40.0, 70.0),
    (-165.0, 150.0, 68.0, 98.0),
    (-110.0, 168.0, 84.0, 112.0),
    (-60.0, 163.0, 90.0, 112.0),
    (0.0, 148.0, 92.0, 104.0),
    (55.0, 133.0, 92.0, 100.0),
    (110.0, 134.0, 97.0, 103.0),
    (180.0, 143.0, 104.0, 110.0),
    (260.0, 152.0, 110.0, 117.0),
    (330.0, 160.0, 108.0, 118.0),
    (385.0, 150.0, 92.0, 110.0),
    (420.0, 118.0, 70.0, 100.0),
    (450.0, 84.0, 48.0, 90.0),
    (480.0, 54.0, 36.0, 74.0),
    (500.0, 22.0, 14.0, 50.0),
)
# height, half width, front, back of the cavity: pleura above, peritoneum and pelvis below
CAVITY: Final = (
    (-150.0, 40.0, 52.0, 66.0),
    (-100.0, 66.0, 74.0, 88.0),
    (-50.0, 88.0, 80.0, 82.0),
    (-10.0, 112.0, 82.0, 70.0),
    (50.0, 117.0, 83.0, 72.0),
    (110.0, 119.0, 88.0, 80.0),
    (180.0, 128.0, 94.0, 90.0),
    (240.0, 132.0, 97.0, 95.0),
    (310.0, 126.0, 94.0, 96.0),
    (370.0, 108.0, 74.0, 92.0),
    (410.0, 84.0, 50.0, 86.0),
    (440.0, 58.0, 18.0, 74.0),
    (458.0, 30.0, 2.0, 52.0),
)
# height, fat in front, at the side, behind: factors on Person.fat
FAT: Final = (
    (-330.0, 0.55, 0.65, 0.6),
    (-150.0, 0.8, 1.1, 1.3),
    (-90.0, 0.85, 1.15, 1.5),
    (-20.0, 1.1, 1.0, 1.2),
    (60.0, 1.0, 0.9, 0.8),
    (160.0, 0.75, 0.65, 0.55),
    (260.0, 0.45, 0.5, 0.5),
    (400.0, 0.35, 0.4, 0.55),
    (480.0, 0.3, 0.3, 0.35),
)
THIGH: Final = np.array([(92.0, 20, -95), (96, 14, -170), (93, 8, -250), (88, 6, -340), (84, 12, -450), (82, 16, -560)])
THIGH_R: Final = np.array([72.0, 82, 79, 72, 60, 52])
ARMS: Final[dict[str, np.ndarray]] = {
    "down": np.array(
        [
            (128.0, 22, 424),
            (165, 16, 400),
            (194, 22, 300),
            (210, 26, 140),
            (222, 8, 20),
            (226, -8, -95),
            (224, -18, -190),
        ]
    ),
    "out": np.array(
        [
            (128.0, 20, 424),
            (168, 14, 398),
            (214, 20, 300),
            (268, 26, 150),
            (300, 0, 60),
            (240, -20, -20),
            (190, -30, -40),
        ]
    ),
    "up": np.array(
        [(110.0, 22, 424), (150, 18, 440), (178, 14, 500), (185, 10, 600), (170, 0, 700), (120, 0, 760), (60, 0, 770)]
    ),
}
ARM_R: Final = np.array([42.0, 50, 44, 36, 37, 25, 20])
NECK: Final = np.array([(0.0, 44, 430), (0, 40, 480), (0, 30, 530), (0, 24, 570), (0, 22, 600)])
NECK_R: Final = np.array([62.0, 55, 52, 50, 46])
TRAPEZIUS: Final = np.array([(25.0, 60, 500), (60, 54, 460), (105, 42, 436), (140, 30, 424)])
TRAPEZIUS_R: Final = np.array([30.0, 34, 34, 30])


class Trunk(NamedTuple):
    """The trunk in one region: distances to the muscles' surface and to the cavity's, and the way out from its axis.

    Attributes:
        region: Where.
        lean: Distance to the outer surface of the muscles, negative inside.
        cavity: Distance to the pleura or peritoneum, negative inside.
        side: How far sideways the nearest surface lies, 0 to 1.
        back: How far behind, -1 (front) to 1 (back).
        fat: Thickness of the fat under the skin.
    """

    region: Region
    lean: Map
    cavity: Map
    side: Map
    back: Map
    fat: Map


def trunk(person: Person, grid: Grid) -> Trunk | None:
    """Measure the trunk where a grid meets it."""
    region = grid.region((-270, -230, -200), (270, 190, 500))
    if region is None:
        return None
    half, front, back = profile(region.z, LEAN)
    bulge = np.float32(person.belly) * np.exp(-(((region.z - 60) / 110) ** 2))
    hips = np.exp(-(((region.z + 100) / 70) ** 2)) * np.float32(8.0 if person.sex == "F" else 0.0)
    waist = np.exp(-(((region.z - 90) / 60) ** 2)) * np.float32(7.0 if person.sex == "F" else 0.0)
    shoulders = np.exp(-(((region.z - 370) / 90) ** 2)) * np.float32(10.0 if person.sex == "F" else 0.0)
    middle = np.zeros_like(half)
    wide = half + hips - waist - shoulders + 0.55 * bulge
    lean, side, behind = superellipse(region, wide, front + bulge, back, middle)
    lean = np.maximum(lean, (-178 - region.z) + 0 * lean)
    inner = profile(region.z, CAVITY)
    cavity = superellipse(
        region,
        inner[0] + 0.5 * (hips - waist) - 0.5 * shoulders + 0.55 * bulge,
        inner[1] + bulge,
        inner[2],
        middle + profile(region.z, ((300.0, 0.0), (455.0, 26.0)))[0],
    )[0]
    cavity = np.maximum(cavity, np.abs(region.z - 152) - 306)
    shares = profile(region.z, FAT)
    square = behind * behind
    fat = np.where(behind < 0, shares[0], shares[2]) * square + shares[1] * (1 - square)
    fat = fat * np.float32(person.fat) + np.float32(2.5)
    fat += _breasts(person, region) + _groove(region, behind)
    return Trunk(region, lean, cavity, side, behind, fat)


def _breasts(person: Person, region: Region) -> Map | float:
    """Thickness of the breasts in front of the chest; lying on the back flattens them."""
    if person.sex == "M":
        return 0.0
    size = (12 + 0.42 * person.fat) * person.factor("breast", 0.3)
    dx, dz = (np.abs(region.x) - 82) / 52, (region.z - 285) / 52
    bump = np.exp(-((dx * dx + dz * dz) ** np.float32(1.5))) * np.float32(size)
    return bump * np.clip(-(region.y + 20) / 40, 0, 1)


def _groove(region: Region, behind: Map) -> Map:
    """The furrow over the spine and the navel's, in mm of missing fat."""
    furrow = -6 * np.exp(-((region.x / 16) ** 2)) * np.clip(3 * behind - 2, 0, 1)
    navel = -9 * np.exp(-(((region.x) / 6) ** 2) - ((region.z - 48) / 6) ** 2) * np.clip(-3 * behind - 2, 0, 1)
    both: Map = furrow + navel
    return both


def arm_line(person: Person, arms: Arms, sign: float) -> NDArray[np.float64]:
    """Return the arm's axis from shoulder to hand, (7, 3); a large trunk pushes it outwards."""
    spread = 0.55 * person.belly + 0.35 * person.fat
    line: NDArray[np.float64] = ARMS[arms] * (sign, 1, 1) + np.outer((0, 0.1, 0.7, 1, 1, 1, 1), (sign * spread, 0, 0))
    return line


def limbs(person: Person, grid: Grid, arms: Arms) -> list[tuple[Solid, float]]:
    """Return thighs, arms, shoulders and neck, muscles only, with the thickness of the fat over them."""
    found: list[tuple[Solid | None, float]] = []
    big = 1 + 0.002 * (person.fat - 16)
    slender = 0.9 if person.sex == "F" else 1.0
    pad = 6 + 1.3 * person.fat
    for sign in (-1.0, 1.0):
        thigh = THIGH * (sign, 1, 1)
        found.append((tube(grid, curve(thigh, 3), curve(THIGH_R[:, None] * big, 3)[:, 0], pad), 0.75 * person.fat + 3))
        arm = arm_line(person, arms, sign)
        radius = curve(ARM_R[:, None] * slender * big, 3)[:, 0]
        found.append((tube(grid, curve(arm, 3), radius, pad), 0.4 * person.fat + 2))
        found.append(
            (
                tube(grid, curve(TRAPEZIUS * (sign, 1, 1), 2), curve(TRAPEZIUS_R[:, None] * slender, 2)[:, 0], pad),
                0.3 * person.fat + 2,
            )
        )
    found.append((tube(grid, NECK, NECK_R * slender * (1 + 0.003 * person.fat), pad), 0.25 * person.fat + 2))
    return [(solid, fat) for solid, fat in found if solid is not None]


def lay_wall(canvas: Canvas, arms: Arms) -> Trunk | None:
    """Lay skin, fat and muscles of all but the head; return the trunk for what lies in it."""
    person, grid = canvas.person, canvas.grid
    body = trunk(person, grid)
    rest = limbs(person, grid, arms)
    skins = [(solid, fat) for solid, fat in rest]
    if body is not None:
        skins.append(((body.region, _joined(body, rest, grid)), 0.0))
    for tissue, part, inset in ((Tissue.SKIN, Part.FAT, 0.0), (Tissue.FAT, Part.FAT, 2.0)):
        for solid, fat in skins:
            canvas.lay(solid, tissue, part, grow=fat - inset)
    for solid, _ in rest:
        canvas.lay(solid, Tissue.MUSCLE, Part.MUSCLE)
    if body is not None:
        canvas.lay((body.region, body.lean), Tissue.MUSCLE, Part.MUSCLE)
    if canvas.detail:
        _planes(canvas, body, rest)
    return body


def _joined(body: Trunk, rest: list[tuple[Solid, float]], grid: Grid) -> Map:
    """The trunk's skin, rounded off where thighs, shoulders and neck leave it."""
    skin: Map = body.lean - body.fat
    origin = [s.start for s in body.region.where]
    for (region, distance), fat in rest:
        low = [max(a.start, b.start) for a, b in zip(region.where, body.region.where, strict=True)]
        high = [min(a.stop, b.stop) for a, b in zip(region.where, body.region.where, strict=True)]
        if any(a >= b for a, b in zip(low, high, strict=True)):
            continue
        here = tuple(slice(a - o, b - o) for a, b, o in zip(low, high, origin, strict=True))
        there = tuple(slice(a - s.start, b - s.start) for a, b, s in zip(low, high, region.where, strict=True))
        skin[here] = softly(skin[here], distance[there] - np.float32(fat), 30.0)
    return skin


def _planes(canvas: Canvas, body: Trunk | None, rest: list[tuple[Solid, float]]) -> None:
    """Divide the common muscle mass by thin, curved planes of fat, more of them in older people."""
    thick = np.float32(0.7 + 0.9 * canvas.person.years)
    solids = [solid for solid, _ in rest]
    if body is not None:
        deep = np.maximum(body.lean + 4, 4 - body.cavity)
        loose = (np.abs(body.region.z - 60) > 90) + 0 * deep  # the flat muscles of the loin have their own layers
        solids.append((body.region, np.where(loose > 0, deep, FAR).astype(np.float32)))
    for region, distance in solids:
        if not (distance < -6).any():
            continue
        long = region._replace(z=region.z * np.float32(0.3))  # muscles run from head to foot
        field = canvas.waves(long, "planes", 26.0)
        gaps = canvas.waves(long, "gaps", 17.0)
        # sheets about 24 mm apart that follow the surface loosely, broken by another field
        turns = distance * np.float32(-1 / 24) + np.float32(0.8) * field
        sheet = np.abs(turns - np.rint(turns)) * np.float32(21) - thick
        canvas.lay((region, np.maximum(sheet, np.maximum(distance + 5, gaps * -9 - 0.5))), Tissue.FAT, Part.MUSCLE)
