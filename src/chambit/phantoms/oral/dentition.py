"""Teeth, arches and shades of an invented patient: what stays the same in all five views.

Crown sizes were chosen by eye near the means that textbooks of dental anatomy give (an upper central incisor 8.5 mm
wide and 10.5 high); shades are CIELAB values near those that O'Brien et al. 1990 measured of the sixteen Vita shades
(A new, small-color-difference equation for dental shades, DOI 10.1177/00220345900690111001); their table was not at
hand to compare with. Frequencies of missing teeth, fillings and decay are plausible, not measured.

Frame: mm in the occlusal plane; x to the patient's left, y to the front, (0, 0) between the upper central
incisors; heights along the long axis of a crown from its edge. Arrays of teeth have one entry for each of FDI.

Limits: permanent teeth without wisdom teeth, no crowns, bridges, implants or braces; both sides of an arch
follow one curve; a tooth's inclination towards the cheek is the same in all patients.
"""

import math
from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]

FDI: Final = tuple(10 * quadrant + place for quadrant in (1, 2, 3, 4) for place in range(1, 8))
"""Two-digit tooth numbers of ISO 3950 in ascending order: 11..17, 21..27, 31..37, 41..47."""
FIRST_TOOTH: Final = 10
"""In a layout, tooth FDI[k] has the value FIRST_TOOTH + k."""

AGE_BANDS: Final = ("20-39", "40-59", "60-79")
SITES: Final = ("A", "B", "C")
KIND: Final = np.array([(0, 0, 1, 2, 2, 3, 3)[number % 10 - 1] for number in FDI])
"""0 incisor, 1 canine, 2 premolar, 3 molar."""
PLACE: Final = np.array([number % 10 for number in FDI])
UPPER: Final = np.array([number < 30 for number in FDI])
LEFT: Final = np.array([number // 10 in (2, 3) for number in FDI])
MESIAL: Final = np.where(LEFT, -1.0, 1.0).astype(np.float32)
"""Sign of the mesial side along the arch from the patient's right to his left."""

_SIZES: Final = {  # mesiodistal, buccolingual, height of the crown in mm; from the central incisor to the second molar
    "upper": ((8.5, 6.6, 7.6, 7.1, 6.9, 10.3, 9.4), (7.1, 6.2, 8.0, 9.0, 8.9, 11.0, 10.9),
              (10.4, 9.2, 10.2, 8.5, 8.2, 7.4, 7.0)),
    "lower": ((5.3, 5.8, 6.9, 7.0, 7.1, 11.0, 10.4), (6.0, 6.4, 7.6, 7.6, 8.1, 10.4, 10.1),
              (9.0, 9.3, 10.6, 8.6, 8.0, 7.5, 7.0)),
}  # fmt: skip
SHADES: Final[Mapping[str, tuple[float, float, float]]] = MappingProxyType({
    "A1": (79.6, -1.6, 13.1), "A2": (76.0, -0.1, 16.7), "A3": (75.4, 1.4, 19.6), "A3.5": (72.3, 1.5, 21.8),
    "A4": (68.6, 1.6, 21.0), "B1": (78.9, -1.8, 12.3), "B2": (76.7, -1.6, 16.6), "B3": (74.1, 0.5, 22.3),
    "B4": (71.8, 0.5, 22.2), "C1": (74.3, -1.3, 12.6), "C2": (71.0, -0.2, 16.7), "C3": (68.8, 0.0, 16.7),
    "C4": (64.8, 1.6, 18.7), "D2": (75.3, -0.5, 13.5), "D3": (72.6, 0.6, 16.1), "D4": (71.9, -1.0, 17.8),
})  # fmt: skip
_SHADE_CHANCE: Final = {  # A is the commonest hue; older teeth are darker
    "20-39": (20, 22, 12, 4, 1, 9, 10, 3, 1, 5, 3, 1, 0, 5, 3, 1),
    "40-59": (8, 18, 18, 10, 3, 3, 8, 6, 3, 4, 5, 3, 1, 4, 4, 2),
    "60-79": (2, 9, 16, 16, 9, 1, 4, 7, 6, 2, 5, 7, 4, 2, 6, 4),
}


class Spot(NamedTuple):
    """A lesion or a filling on one surface of one tooth.

    Attributes:
        tooth: Index into FDI.
        surface: 'occlusal' or 'facial'.
        across: Place along the arch, -1..1 of half the crown's width, positive mesially.
        along: On the facial surface 0 (edge) .. 1 (gum line); on the occlusal one -1 (tongue) .. 1 (cheek).
        width: Half extent along the arch, mm.
        height: Half extent in the other direction, mm.
        stage: Lesions: 0 white spot, 1 brown, 2 cavity. Fillings: 0 composite, 1 amalgam.
        key: Seed of its outline.
    """

    tooth: int
    surface: str
    across: float
    along: float
    width: float
    height: float
    stage: int
    key: int


class Mouth(NamedTuple):
    """One patient: words, arrays over FDI (see the module's frame), traits by name, lesions and fillings."""

    words: Mapping[str, str]
    traits: Mapping[str, float]
    present: NDArray[np.bool_]
    width: Floats
    depth: Floats
    crown: Floats
    shown: Floats
    centre: Floats
    facing: Floats
    roll: Floats
    edge: Floats
    form: Floats
    tone: Floats
    stain: Floats
    plaque: Floats
    arches: Mapping[str, Floats]
    lesions: tuple[Spot, ...]
    fillings: tuple[Spot, ...]


_TRAITS: Final = {  # mean and standard deviation
    "size": (1.0, 0.035), "arch": (27.6, 1.2), "squareness": (2.25, 0.16), "spread": (1.45, 0.09),
    "overbite": (2.6, 1.1), "overjet": (2.4, 0.7), "class": (0.0, 0.8), "midline": (0.0, 0.6), "spee": (0.0, 0.8),
    "curve": (0.9, 0.5),
    "upper_room": (-0.7, 1.5), "lower_room": (-1.3, 1.7), "taper": (0.0, 1.0),
    "redness": (0.0, 1.0), "swelling": (0.0, 1.0), "translucency": (0.55, 0.2), "chroma": (0.5, 0.2),
    "stippling": (0.5, 0.25), "vault": (0.5, 0.2), "rugae": (0.6, 0.25), "coating": (0.45, 0.25),
    "tongue": (0.0, 1.0), "skin": (0.0, 1.0), "lobes": (0.5, 0.25), "cant": (0.0, 0.012), "fleck": (0.0, 1.0),
    "pigment": (0.0, 1.0), "attached": (4.6, 0.8), "wear": (0.0, 1.0), "phase": (0.0, 10.0), "phase2": (0.0, 10.0),
}  # fmt: skip


def stream(*key: int) -> np.random.Generator:
    """Open the stream of random numbers that belongs to a key, such as (seed, patient, step)."""
    return np.random.default_rng(list(key))


def order(upper: bool) -> NDArray[np.int64]:
    """Give the indices into FDI of one jaw's 14 teeth from the patient's right to his left.

    >>> [FDI[k] for k in order(True)][:8]
    [17, 16, 15, 14, 13, 12, 11, 21]
    """
    right, left = (0, 7) if upper else (21, 14)
    return np.array([right + k for k in range(6, -1, -1)] + [left + k for k in range(7)])


@lru_cache(maxsize=8)
def mouth(seed: int, index: int, prevalence: float) -> Mouth:
    """Draw a patient.

    Args:
        seed: Cohort seed, at least 0.
        index: The patient's number, at least 0.
        prevalence: Probability in [0, 1] that the patient has decayed teeth.
    """
    rng = stream(seed, index, 0)
    age = AGE_BANDS[int(rng.choice(3, p=(0.42, 0.36, 0.22)))]
    chance = np.array(_SHADE_CHANCE[age], float)
    words = {
        "sex": "FM"[int(rng.random() < 0.5)],
        "age_band": age,
        "site": SITES[int(rng.choice(3, p=(0.45, 0.33, 0.22)))],
        "shade": list(SHADES)[int(rng.choice(len(SHADES), p=chance / chance.sum()))],
    }
    draws = np.clip(rng.standard_normal(len(_TRAITS)), -2.3, 2.3)
    traits = {name: mean + sd * float(z) for (name, (mean, sd)), z in zip(_TRAITS.items(), draws, strict=True)}
    years = AGE_BANDS.index(age)
    traits["size"] *= 1.02 if words["sex"] == "M" else 0.98
    traits["translucency"] *= 1.0 - 0.2 * years
    traits["age"] = float(years)
    form = _both_sides(rng, 8)
    tall = np.array([*_SIZES["upper"][2], *_SIZES["upper"][2], *_SIZES["lower"][2], *_SIZES["lower"][2]])
    wide, deep = (np.array([*_SIZES["upper"][k]] * 2 + [*_SIZES["lower"][k]] * 2) for k in (0, 1))
    width = wide * traits["size"] * (1 + 0.035 * form[:, 0])
    crown = tall * traits["size"] * (1 + 0.05 * form[:, 1]) - years * (KIND == 0) * 0.35 * (1 + 0.5 * traits["wear"])
    present, closed = _missing(rng, years)
    centre, facing, arches = _arches(rng, traits, width, ~closed)
    recession = np.clip(0.7 * years + 0.5 * form[:, 2] + 0.5 * rng.standard_normal() - 0.5, -0.3, 3.0)
    shown = crown - np.array([1.0, 1.0, 1.1, 1.3, 1.4, 1.6, 1.8] * 4) + recession
    dirty = abs(rng.standard_normal()) * 0.55
    stain = np.clip(dirty + 0.3 * rng.standard_normal(28), 0, 1.3) * (rng.random(28) < 0.8)
    plaque = np.clip(abs(rng.standard_normal()) * 0.6 + 0.25 * rng.standard_normal(28) - 0.25, 0, 1.2)
    lesions = _lesions(rng, present) if rng.random() < prevalence else ()
    taken = {(spot.tooth, spot.surface) for spot in lesions}
    return Mouth(
        words=MappingProxyType(words),
        traits=MappingProxyType(traits),
        present=present,
        width=width.astype(np.float32),
        depth=(deep * traits["size"] * (1 + 0.03 * form[:, 3])).astype(np.float32),
        crown=crown.astype(np.float32),
        shown=shown.astype(np.float32),
        centre=centre,
        facing=facing,
        roll=np.radians(1.0 * MESIAL * np.array([2, 4, 6, 3, 3, 2, 2] * 4) + 2.0 * form[:, 4]).astype(np.float32),
        edge=_edges(traits, form, years),
        form=form.astype(np.float32),
        tone=_tones(rng, form),
        stain=stain.astype(np.float32),
        plaque=plaque.astype(np.float32),
        arches=MappingProxyType(arches),
        lesions=lesions,
        fillings=_fillings(rng, present, years, taken),
    )


def _both_sides(rng: np.random.Generator, many: int) -> NDArray[np.float64]:
    """Draw form of each tooth (28, many): left and right teeth of one name are alike."""
    upper, lower = rng.standard_normal((2, 7, many))
    mirrored = [0.8 * side + 0.6 * rng.standard_normal((7, many)) for side in (upper, lower)]
    form: NDArray[np.float64] = np.clip(np.concatenate([upper, mirrored[0], mirrored[1], lower]), -2.2, 2.2)
    return form


def _missing(rng: np.random.Generator, years: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Say which teeth are there, and which gaps are closed (first premolars taken out for a brace)."""
    rate = np.array([0.010, 0.014, 0.003, 0.02, 0.025, 0.05, 0.04] * 4) * (0.4, 1.1, 2.2)[years]
    present = rng.random(28) >= rate
    closed = np.zeros(28, bool)
    if rng.random() < 0.07 and years < 2:
        closed[PLACE == 4] = True
        present[PLACE == 4] = False
    return present, closed


def _arches(
    rng: np.random.Generator, traits: Mapping[str, float], width: NDArray[np.float64], holds: NDArray[np.bool_]
) -> tuple[Floats, Floats, dict[str, Floats]]:
    """Set the teeth along two curves |x/w|^n + |y/d|^n = 1; too little room turns and shifts front teeth."""
    centre, facing, arches = np.zeros((28, 2)), np.zeros(28), {}
    t = np.linspace(0, math.pi / 2, 160)
    for upper in (True, False):
        name = "upper" if upper else "lower"
        half = traits["arch"] * traits["size"] - (0.0 if upper else 2.9)
        deep = half * (traits["spread"] + (0.04 if upper else 0.1)) * 1.12
        x, y = half * np.sin(t) ** (2 / traits["squareness"]), deep * (np.cos(t) ** (2 / traits["squareness"]) - 1)
        x, y = np.append(x, half + 1.0), np.append(y, -deep - 45.0)
        x, y = np.concatenate([-x[:0:-1], x]), np.concatenate([y[:0:-1], y])
        if not upper:
            y = y - traits["overjet"] - 1.3
        arc = np.concatenate([[0.0], np.cumsum(np.hypot(np.diff(x), np.diff(y)))])
        turn = np.arctan2(-np.gradient(y, arc), np.gradient(x, arc))
        teeth = order(upper)
        room = traits[f"{name}_room"]
        front = np.exp(-(((np.arange(13) - 6) / 3.5) ** 2))
        gap = np.where(room > 0, room, 0.8 * room) * front / front.sum() + 0.02 * rng.standard_normal(13)
        taken = np.where(holds[teeth], width[teeth], 0.4)
        at = np.concatenate([[0.0], np.cumsum(0.5 * (taken[1:] + taken[:-1]) + gap)])
        at += arc[arc.size // 2] - 0.5 * (at[6] + at[7]) + traits["midline"] * (0.4 if upper else -0.6)
        at += 0 if upper else traits["class"] * np.sign(np.arange(14) - 6.5) * 0.4
        tight = 0.35 + max(0.0, -room) * 0.42
        shift = rng.standard_normal(14) * tight * 0.28 * np.exp(-(((np.arange(14) - 6.5) / 3.6) ** 2))
        twist = np.radians(
            rng.standard_normal(14) * (2.5 + 5.5 * tight * np.exp(-(((np.arange(14) - 6.5) / 3.4) ** 2)))
        )
        bend = np.interp(at, arc, turn)
        centre[teeth, 0] = np.interp(at, arc, x) + shift * np.sin(bend)
        centre[teeth, 1] = np.interp(at, arc, y) + shift * np.cos(bend)
        facing[teeth] = bend + twist
        arches[name] = np.stack([x, y, turn]).astype(np.float32)
    return centre.astype(np.float32), facing.astype(np.float32), arches


def _edges(traits: Mapping[str, float], form: NDArray[np.float64], years: int) -> Floats:
    """Give the height of each edge over the upper incisal edges, mm upwards (the lower teeth bite behind)."""
    upper = np.array([0.0, 0.75, 0.0, 0.35, 0.5, 0.7, 1.0]) + traits["curve"] * np.array([0, 0, 0, 0.3, 0.6, 0.8, 0.7])
    bite = traits["overbite"] * np.array([1, 1, 0.85, 0.5, 0.35, 0.3, 0.3])
    bite += np.array([0, 0, 0.6, 1.0, 1.3, 1.5, 1.5])
    lower = (
        upper * np.array([0, 0, 1, 1, 1, 1, 1]) + bite + traits["spee"] * np.array([0.3, 0.3, 0, -0.3, -0.3, 0, 0.3])
    )
    height = np.concatenate([upper, upper, lower, lower]) + 0.22 * form[:, 5] * (1 - 0.3 * years)
    return height.astype(np.float32)


def _tones(rng: np.random.Generator, form: NDArray[np.float64]) -> Floats:
    """Give brightness and yellowness of each tooth; canines are the darkest and yellowest."""
    bright = np.array([1.0, 0.985, 0.93, 0.97, 0.965, 0.955, 0.945] * 4) + 0.015 * form[:, 6]
    yellow = np.array([0.0, 0.08, 0.45, 0.2, 0.2, 0.25, 0.25] * 4) + 0.1 * rng.standard_normal(28)
    return np.stack([bright, yellow]).astype(np.float32)


def _lesions(rng: np.random.Generator, present: NDArray[np.bool_]) -> tuple[Spot, ...]:
    """Draw two to seven lesions: in fissures, at the neck or between front teeth."""
    spots: dict[tuple[int, str], Spot] = {}
    weight = {
        "occlusal": np.array([0, 0, 0, 0.5, 0.7, 1.6, 1.4] * 4),
        "facial": np.array([1.2, 1.1, 1.0, 0.9, 0.7, 0.8, 0.3] * 4),
    }
    for _ in range(2 + int(rng.integers(0, 6))):
        surface = "occlusal" if rng.random() < 0.5 else "facial"
        odds = weight[surface] * present
        tooth = int(rng.choice(28, p=odds / odds.sum()))
        stage, key = int(rng.choice(3, p=(0.25, 0.4, 0.35))), int(rng.integers(2**31))
        if surface == "occlusal":
            across, along = rng.uniform(-0.5, 0.5), rng.uniform(-0.3, 0.3)
            width, height = rng.uniform(1.1, 2.4), rng.uniform(0.9, 1.8)
        elif KIND[tooth] <= 1 and rng.random() < 0.45:  # beside the contact with the neighbour
            across, along = float(rng.choice((-0.8, 0.8))), rng.uniform(0.35, 0.65)
            width, height = rng.uniform(0.8, 1.4), rng.uniform(1.1, 2.0)
        else:  # at the neck
            across, along = rng.uniform(-0.35, 0.35), rng.uniform(0.78, 0.92)
            width, height = rng.uniform(1.3, 2.4), rng.uniform(0.8, 1.4)
        spots[tooth, surface] = Spot(
            tooth, surface, float(across), float(along), float(width), float(height), stage, key
        )
    return tuple(spots.values())


def _fillings(
    rng: np.random.Generator, present: NDArray[np.bool_], years: int, taken: set[tuple[int, str]]
) -> tuple[Spot, ...]:
    """Draw fillings on surfaces without lesions; amalgam at the back only."""
    rate = np.array([0.02, 0.02, 0.02, 0.08, 0.09, 0.24, 0.16] * 4) * (0.7, 1.2, 1.6)[years]
    amalgam = rng.random() < (0.25, 0.5, 0.6)[years]
    chosen, draws, keys = rng.random(28) < rate, rng.random((28, 5)), rng.integers(2**31, size=28)
    spots = []
    for tooth in np.flatnonzero(chosen & present):
        d = draws[tooth].tolist()
        surface = "occlusal" if KIND[tooth] >= 2 and d[0] < 0.85 else "facial"
        if (int(tooth), surface) in taken:
            continue
        stage = int(surface == "occlusal" and amalgam and d[1] < 0.75)
        across, along = (0.3 * (d[2] - 0.5), 0.2 * (d[3] - 0.5))
        size = (1.6 + 1.6 * d[3], 0.9 + 0.9 * d[4])
        if surface == "facial":
            across, along, size = 0.8 * (d[2] - 0.5), 0.8, (1.3 + d[3], 0.9 + 0.6 * d[4])
        spots.append(Spot(int(tooth), surface, across, along, size[0], size[1], stage, int(keys[tooth])))
    return tuple(spots)


def linear_rgb(lightness: float, a: float, b: float) -> Floats:
    """Convert CIELAB (D65 white) to linear sRGB, clipped to [0, 1], shape (3,) (IEC 61966-2-1, CIE 15)."""
    fy = (lightness + 16) / 116
    f = np.array([fy + a / 500, fy, fy - b / 200])
    xyz = np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29)) * (0.9505, 1.0, 1.089)
    matrix = np.array([[3.2406, -1.5372, -0.4986], [-0.9689, 1.8758, 0.0415], [0.0557, -0.2040, 1.0570]])
    return np.clip(matrix @ xyz, 0, 1).astype(np.float32)
