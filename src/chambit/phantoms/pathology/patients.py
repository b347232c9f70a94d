"""Whose tissue is drawn: traits of architecture, cells and stain that stay through all patches of a patient.

Sizes, in micrometres: crypts of the colon are about 70 to 90 across and lie back to back with 5 to 20 of lamina
propria between them; nuclei measure 5 to 9, those of tumour cells up to twice that; lymphocytes 6 to 7. They are
textbook proportions and checked by eye, none is measured.

Limits: adults, colon only, no adenoma, mucinous or signet-ring types, no folds or pen marks; nothing lies between
benign and tumour, so that colour and texture alone tell them apart.
"""

import math
from typing import Final, NamedTuple

import numpy as np

from chambit.phantoms.anatomy import AGE_BANDS, stream

CLASSES: Final = ("benign", "tumour")


class Patient(NamedTuple):
    """Traits of a patient; lengths in micrometres.

    Attributes:
        index: The patient's index.
        sex: 'F' or 'M'.
        age_band: One of AGE_BANDS.
        site: 'A', 'B' or 'C': laboratory and scanner.
        haematoxylin: Strength of the stain, about 1.
        eosin: Strength of the stain, about 1.
        hue: Shift of the stains' vectors, about -0.2 to 0.2.
        crypt: Outer radius of a benign gland.
        height: Height of its epithelium.
        gap: Lamina propria between glands.
        goblets: Share of cells with mucin, 0 to 1.
        inflamed: Density of lymphocytes, about 1.
        nucleus: Size of nuclei, about 1.
        grade: 0 (well formed tumour glands) to 1 (solid sheets).
        pleomorphic: Spread of tumour nuclei's sizes (log).
    """

    index: int  # type: ignore[assignment]  # hides tuple.index, which no one needs here
    sex: str
    age_band: str
    site: str
    haematoxylin: float
    eosin: float
    hue: float
    crypt: float
    height: float
    gap: float
    goblets: float
    inflamed: float
    nucleus: float
    grade: float
    pleomorphic: float


class Section(NamedTuple):
    """One patch: number within the patient (from 1), class, and seed of its own."""

    patient: Patient
    number: int
    label: str
    seed: int


def patient(seed: int, index: int) -> Patient:
    """Draw a patient; depends on seed and index alone."""
    rng = stream(seed, index, 81)
    z = np.clip(rng.standard_normal(9), -2, 2).tolist()
    return Patient(
        index=index,
        sex="FM"[int(rng.random() < 0.53)],
        age_band=AGE_BANDS[int(rng.choice(4, p=(0.08, 0.32, 0.45, 0.15)))],
        site="ABC"[int(rng.choice(3, p=(0.42, 0.33, 0.25)))],
        haematoxylin=math.exp(0.14 * z[0]),
        eosin=math.exp(0.17 * z[1]),
        hue=0.08 * z[2],
        crypt=39.0 + 3.5 * z[3],
        height=26.0 + 1.8 * z[4],
        gap=13.0 * math.exp(0.3 * z[5]),
        goblets=float(np.clip(0.72 + 0.16 * z[6], 0.3, 1.0)),
        inflamed=math.exp(0.4 * z[7]),
        nucleus=math.exp(0.06 * z[8]),
        grade=float(rng.random()),
        pleomorphic=float(rng.uniform(0.14, 0.28)),
    )


def sections(who: Patient, seed: int, patches: int, prevalence: float) -> list[Section]:
    """List a patient's patches; each shows tumour with the given probability, as taken around one resected tumour."""
    rng = stream(seed, who.index, 82)
    chance, seeds = rng.random(64), rng.integers(2**62, size=64)
    return [Section(who, k + 1, CLASSES[int(chance[k] < prevalence)], int(seeds[k])) for k in range(patches)]
