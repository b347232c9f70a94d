"""What tissues are to three machines: Hounsfield units, spin-echo signal, attenuation.

    S = PD (1 - exp(-TR / T1)) exp(-TE / T2)          mu = mu_water (1 + HU / 1000)

Sources: T1 and T2 at 3 T of liver, spleen, kidney, pancreas, muscle, marrow, fat, prostate and uterus,
de Bazelaire et al. 2004, DOI 10.1148/radiol.2303021331; of white and grey matter, cord, blood and heart, Stanisz et
al. 2005, DOI 10.1002/mrm.20605; why fat is bright in an echo train, Henkelman et al. 1992, DOI 10.1002/jmri.1880020511
(the T2 that makes it so here is chosen by eye). Hounsfield units and signal equation: Bushberg et al., The Essential
Physics of Medical Imaging (3rd ed., 2011), chapters 10, 12 and 13. Values with contrast are typical of the portal
venous phase.

Limits: proton densities and the values of fluids, gas and bone are round numbers; flowing blood is given a tenth of
its signal (flow void of spin echoes); nothing depends on the machine's energy.
"""

from enum import IntEnum
from typing import Final, NamedTuple

import numpy as np

from chambit.phantoms.body.space import Map


class Tissue(IntEnum):
    """What a point is made of."""

    AIR = 0
    SKIN = 1
    FAT = 2
    MUSCLE = 3
    LUNG = 4
    BLOOD = 5
    HEART = 6
    LIVER = 7
    SPLEEN = 8
    CORTEX = 9
    MEDULLA = 10
    PANCREAS = 11
    GUT = 12
    CHYME = 13
    STOOL = 14
    WATER = 15
    BONE = 16
    MARROW = 17
    YELLOW = 18
    DISC = 19
    NERVE = 20
    GREY = 21
    WHITE = 22
    CARTILAGE = 23
    GLAND = 24
    TUMOUR = 25
    NECROSIS = 26
    TENDON = 27
    DIPLOE = 28
    VEIN = 29


class Part(IntEnum):
    """What a point belongs to: the values of layouts and label maps."""

    OUTSIDE = 0
    FAT = 1
    MUSCLE = 2
    LUNG = 3
    HEART = 4
    VESSEL = 5
    AIRWAY = 6
    LIVER = 7
    SPLEEN = 8
    KIDNEY = 9
    STOMACH = 10
    BOWEL = 11
    PANCREAS = 12
    GALLBLADDER = 13
    BLADDER = 14
    GENITAL = 15
    SPINE = 16
    DISC = 17
    RIB = 18
    PELVIS = 19
    FEMUR = 20
    ARM = 21
    SHOULDER = 22
    SKULL = 23
    BRAIN = 24
    VENTRICLE = 25
    CORD = 26
    GLAND = 27
    LESION = 28


class Matter(NamedTuple):
    """One tissue: Hounsfield units without and with contrast, PD, T1 and T2 in ms, coarseness of its texture."""

    native: float
    portal: float
    density: float
    t1: float
    t2: float
    mottle: float


MATTER: Final[dict[Tissue, Matter]] = {
    Tissue.AIR: Matter(-1000, -1000, 0.0, 1000, 50, 0.0),
    Tissue.SKIN: Matter(35, 45, 0.7, 900, 30, 0.0),
    Tissue.FAT: Matter(-105, -105, 0.95, 382, 110, 0.04),
    Tissue.MUSCLE: Matter(55, 62, 0.85, 898, 33, 0.10),
    Tissue.LUNG: Matter(-860, -850, 0.12, 1200, 35, 0.35),
    Tissue.BLOOD: Matter(42, 160, 0.09, 1932, 275, 0.0),
    Tissue.HEART: Matter(44, 105, 0.85, 1471, 47, 0.04),
    Tissue.LIVER: Matter(57, 108, 0.85, 809, 38, 0.06),
    Tissue.SPLEEN: Matter(48, 122, 0.88, 1328, 66, 0.05),
    Tissue.CORTEX: Matter(33, 185, 0.88, 1142, 76, 0.03),
    Tissue.MEDULLA: Matter(31, 150, 0.90, 1545, 84, 0.03),
    Tissue.PANCREAS: Matter(38, 95, 0.85, 725, 46, 0.20),
    Tissue.GUT: Matter(38, 90, 0.85, 1000, 50, 0.08),
    Tissue.CHYME: Matter(22, 22, 0.93, 1900, 150, 0.14),
    Tissue.STOOL: Matter(-20, -20, 0.60, 700, 55, 0.85),
    Tissue.WATER: Matter(6, 6, 1.0, 3500, 700, 0.0),
    Tissue.BONE: Matter(780, 780, 0.08, 600, 5, 0.05),
    Tissue.MARROW: Matter(190, 195, 0.75, 586, 60, 0.22),
    Tissue.YELLOW: Matter(-30, -30, 0.92, 400, 115, 0.10),
    Tissue.DISC: Matter(85, 88, 0.75, 1100, 70, 0.10),
    Tissue.NERVE: Matter(34, 36, 0.80, 993, 78, 0.0),
    Tissue.GREY: Matter(38, 40, 0.86, 1820, 99, 0.03),
    Tissue.WHITE: Matter(28, 29, 0.72, 1084, 69, 0.02),
    Tissue.CARTILAGE: Matter(105, 110, 0.60, 1168, 27, 0.25),
    Tissue.GLAND: Matter(40, 70, 0.90, 1597, 80, 0.16),
    Tissue.TUMOUR: Matter(42, 62, 0.90, 1500, 90, 0.12),
    Tissue.NECROSIS: Matter(18, 20, 0.95, 2400, 220, 0.10),
    Tissue.TENDON: Matter(80, 80, 0.30, 800, 12, 0.05),
    Tissue.DIPLOE: Matter(420, 420, 0.55, 500, 60, 0.20),
    Tissue.VEIN: Matter(40, 140, 0.16, 1932, 275, 0.0),
}

TIMES: Final = {"T1": (560.0, 12.0), "T2": (4200.0, 82.0)}  # repetition and echo time in ms


def hounsfield(contrast: bool) -> tuple[Map, Map]:
    """Return the Hounsfield units of all tissues and the amplitudes of their textures, float32 (tissues,).

    Textures of bone, lung and stool are coarse, those of organs fine: `mottle` scales with the distance from air for
    lung and bone and with 100 HU otherwise.
    """
    values = np.array([m.portal if contrast else m.native for m in _rows()], np.float32)
    coarse = np.array([m.mottle for m in _rows()], np.float32)
    scale = np.where(values < -500, 110.0, np.where(values > 150, 0.6 * np.abs(values), 100.0))
    return values, (coarse * scale).astype(np.float32)


def spin_echo(weighting: str) -> tuple[Map, Map]:
    """Return the signals of all tissues and the amplitudes of their textures, float32 (tissues,).

    Args:
        weighting: A key of TIMES, 'T1' or 'T2'.
    """
    repetition, echo = TIMES[weighting]
    signal = [m.density * (1 - np.exp(-repetition / m.t1)) * np.exp(-echo / m.t2) for m in _rows()]
    values = np.array(signal, np.float32)
    return values, values * np.array([m.mottle for m in _rows()], np.float32)


def _rows() -> list[Matter]:
    return [MATTER[tissue] for tissue in Tissue]
