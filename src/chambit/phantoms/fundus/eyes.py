"""Who is photographed: the traits of a drawn patient and of both eyes, and where the camera looks.

Frame of the eye: degrees of visual angle, origin at the centre of the optic disc, x towards the fovea (temporal),
y down. One degree is about 0.29 mm of retina. Frame of the picture: u right, v down, both in degrees from its centre.

Sources: the disc is 1.76 mm wide and 1.92 mm high (Jonas, Gusek and Naumann 1988, Invest Ophthalmol Vis Sci
29:1151-1158); veins near it measure about 0.14 mm and arteries two thirds of that. All spreads are chosen by eye.

Limits: adults without myopic crescents beyond a thin one, no cataract, no laser scars, no disease but retinopathy.
"""

import math
from typing import Final, NamedTuple

import numpy as np

from chambit.phantoms.anatomy import AGE_BANDS, stream

FOVEA: Final = 15.5  # degrees from the disc's centre
CLASSES: Final = ("healthy", "diabetic retinopathy")


class Person(NamedTuple):
    """What both eyes of a patient share.

    Attributes:
        index: The patient's index.
        sex: 'F' or 'M'.
        age_band: One of AGE_BANDS.
        site: 'A', 'B' or 'C'.
        diabetic: Whether the patient has retinopathy, in at least one eye.
        pigment: 0 (blond fundus, choroid visible) to 1 (dark).
        cup: Vertical cup-disc ratio.
        winding: Tortuosity of vessels, about 1.
        calibre: Width of vessels, about 1.
        youth: Strength of the nerve fibres' sheen, 0 to 1.
        severity: Number of lesions, about 1.
    """

    index: int  # type: ignore[assignment]  # hides tuple.index, which no one needs here
    sex: str
    age_band: str
    site: str
    diabetic: bool
    pigment: float
    cup: float
    winding: float
    calibre: float
    youth: float
    severity: float


class Eye(NamedTuple):
    """One eye: lengths in degrees; `side` is 'right' or 'left', `label` one of CLASSES."""

    person: Person
    side: str
    label: str
    disc: float
    oval: float
    lean: float
    cup: float
    fovea: tuple[float, float]
    crescent: float
    seed: int


def person(seed: int, index: int, prevalence: float) -> Person:
    """Draw a patient; depends on seed and index alone, the diagnosis also on prevalence."""
    rng = stream(seed, index, 71)
    age = int(rng.choice(4, p=(0.18, 0.34, 0.36, 0.12)))
    z = np.clip(rng.standard_normal(5), -2.2, 2.2)
    sex, site = "FM"[int(rng.random() < 0.5)], "ABC"[int(rng.choice(3, p=(0.42, 0.33, 0.25)))]
    chance = rng.random()
    return Person(
        index=index,
        sex=sex,
        age_band=AGE_BANDS[age],
        site=site,
        diabetic=bool(chance < min(1.0, prevalence / 0.92)),  # in 16 of 100 patients one eye is spared
        pigment=float(np.clip(0.5 + 0.27 * z[0], 0, 1)),
        cup=float(np.clip(0.40 + 0.12 * z[1], 0.15, 0.72)),
        winding=math.exp(0.35 * z[2]),
        calibre=math.exp(0.08 * z[3] - 0.03 * age),
        youth=float(np.clip(1.0 - 0.3 * age + 0.1 * z[4], 0, 1)),
        severity=math.exp(0.45 * rng.standard_normal()),
    )


def eyes(who: Person, seed: int) -> tuple[Eye, Eye]:
    """Draw the right and the left eye of a patient; they resemble each other, and one may be spared."""
    rng = stream(seed, who.index, 72)
    spared = int(rng.integers(2)) if rng.random() < 0.16 else -1
    shared = rng.standard_normal(6)
    made = []
    for number, side in enumerate(("right", "left")):
        z = np.clip(0.8 * shared + 0.6 * rng.standard_normal(6), -2.2, 2.2)
        ill = who.diabetic and number != spared
        made.append(
            Eye(
                person=who,
                side=side,
                label=CLASSES[int(ill)],
                disc=3.0 * math.exp(0.07 * z[0]),
                oval=float(0.92 + 0.035 * z[1]),
                lean=math.radians(8 * z[2]),
                cup=float(np.clip(who.cup + 0.02 * z[3], 0.12, 0.78)),
                fovea=(float(FOVEA + 0.5 * z[4]), float(1.6 + 0.7 * z[5])),
                crescent=float(max(0.0, rng.normal(-0.1, 0.35))),
                seed=int(rng.integers(2**62)),
            )
        )
    return made[0], made[1]
