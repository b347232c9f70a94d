"""Who is scanned: the traits of a drawn patient, of her lesion, and of each view of it.

Words and signs are those of the BI-RADS lexicon for ultrasound (Mendelson et al., ACR BI-RADS Atlas, 5th ed.,
2013): shape, orientation, margin, echo pattern, posterior features. Depths of layers, in millimetres, and the
spreads are textbook proportions checked by eye.

Limits: women, one lesion each, no implants, scars, lymph nodes or Doppler.
"""

import math
from typing import Final, NamedTuple

import numpy as np

from chambit.phantoms.anatomy import AGE_BANDS, stream

CLASSES: Final = ("benign", "malignant")
VIEWS: Final = ("radial", "antiradial")


class Patient(NamedTuple):
    """What both views of a patient share; lengths in millimetres.

    Attributes:
        index: The patient's index.
        age_band: One of AGE_BANDS.
        site: 'A' (curved array), 'B' or 'C' (linear arrays).
        label: One of CLASSES.
        skin: Thickness of the skin.
        fat: Depth at which the glandular layer begins.
        gland: Thickness of the glandular layer.
        muscle: Thickness of the pectoral muscle.
        dense: Brightness and evenness of the glandular layer, 0 (fatty) to 1.
        ligaments: Number and brightness of Cooper's ligaments, about 1.
        attenuation: dB per mm, both ways, not compensated by the machine, about 0.
        width: Of the lesion.
        ratio: Height over width of the lesion.
        depth: Of its centre.
        cyst: Whether a benign lesion is filled with fluid.
        seed: Of the lesion's shape.
    """

    index: int  # type: ignore[assignment]  # hides tuple.index, which no one needs here
    age_band: str
    site: str
    label: str
    skin: float
    fat: float
    gland: float
    muscle: float
    dense: float
    ligaments: float
    attenuation: float
    width: float
    ratio: float
    depth: float
    cyst: bool
    seed: int


class View(NamedTuple):
    """One image: which view of whom, where the lesion lies across (mm from the middle), its size there, its seed."""

    patient: Patient
    view: str
    across: float
    size: float
    lean: float
    seed: int


def patient(seed: int, index: int, prevalence: float) -> Patient:
    """Draw a patient; depends on seed and index alone, the class of the lesion also on prevalence."""
    rng = stream(seed, index, 91)
    z = np.clip(rng.standard_normal(8), -2, 2).tolist()
    malignant = bool(rng.random() < prevalence)
    age = int(rng.choice(4, p=(0.14, 0.44, 0.32, 0.10) if malignant else (0.36, 0.42, 0.18, 0.04)))
    cyst = bool(rng.random() < 0.3) and not malignant
    site = "ABC"[int(rng.choice(3, p=(0.3, 0.4, 0.3)))]
    fat = 7.0 * math.exp(0.28 * z[0] + 0.06 * age)
    gland = 14.0 * math.exp(0.22 * z[1] - 0.05 * age)
    width = (11.0 if malignant else 13.0) * math.exp(0.25 * z[2])
    ratio = (0.98 if malignant else 0.56) * math.exp(0.13 * z[3])
    # the lesion lies in the glandular layer, and the muscle behind it
    depth = 1.8 + fat + gland * float(rng.uniform(0.3, 0.6))
    depth = float(np.clip(depth, 3.5 + 0.55 * width * ratio, 24.0))
    return Patient(
        index=index,
        age_band=AGE_BANDS[age],
        site=site,
        label=CLASSES[int(malignant)],
        skin=1.7 * math.exp(0.15 * z[4]),
        fat=fat,
        gland=max(gland, depth + 0.62 * width * ratio - fat),
        muscle=7.0 * math.exp(0.2 * z[5]),
        dense=float(np.clip(0.62 - 0.1 * age + 0.2 * z[6], 0.1, 1)),
        ligaments=math.exp(0.25 * z[7]),
        attenuation=float(rng.normal(0.05, 0.12)),
        width=width,
        ratio=ratio,
        depth=depth,
        cyst=cyst,
        seed=int(rng.integers(2**62)),
    )


def views(who: Patient, seed: int) -> list[View]:
    """List the two views of a patient: the same lesion cut at right angles, the probe laid down anew."""
    rng = stream(seed, who.index, 92)
    listed = []
    for view in VIEWS:
        across, lean = float(rng.normal(0, 2.6)), float(rng.normal(0, 0.10 if who.label == "benign" else 0.22))
        listed.append(View(who, view, across, float(rng.uniform(0.85, 1.05)), lean, int(rng.integers(2**62))))
    return listed
