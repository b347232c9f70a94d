"""Who is drawn: an invented adult's sex, age, build and habits of anatomy, the same in every picture of theirs.

    stream(name) = default_rng([seed, index, crc32(name)])

Each organ takes its variation from a stream of its own name, so that a new organ changes no other one. Stature by
sex is of the order of adult populations (NCD-RisC 2016, DOI 10.7554/eLife.13410); all other spreads were chosen by
eye so that two people differ as two people do, none is measured.

Limits: adults only, no situs inversus, no implants, no operated or absent organs.
"""

import zlib
from functools import lru_cache
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

AGE_BANDS: Final = ("20-39", "40-59", "60-79", "80+")
HABITUS: Final = ("slim", "average", "large")
SITES: Final = ("A", "B", "C")
SUBJECT: Final = "B{:06d}"
REFERENCE_CM: Final = 175.0


class Lesion(NamedTuple):
    """One focal lesion: the organ ('liver' or 'lung'), its centre (x, y, z) and radius in mm, share of its core."""

    organ: str
    centre: tuple[float, float, float]
    radius: float
    core: float


class Person(NamedTuple):
    """One invented adult.

    Attributes:
        seed: Cohort seed.
        number: The person's index, at least 0.
        subject: Identifier such as 'B000012'.
        sex: 'F' or 'M'.
        age_band: One of AGE_BANDS.
        habitus: One of HABITUS.
        site: One of SITES.
        years: Age in [0, 1] from 20 to 90.
        stature: Height over that of the reference adult; scales all three axes.
        breadth: Further factor on x and y.
        fat: Thickness in mm of the fat under the skin in front of the abdomen.
        belly: How far, in mm, fat within pushes the abdomen's wall forwards.
        lesion: The focal lesion, or None.
    """

    seed: int
    number: int
    subject: str
    sex: str
    age_band: str
    habitus: str
    site: str
    years: float
    stature: float
    breadth: float
    fat: float
    belly: float
    lesion: Lesion | None

    def stream(self, *name: object) -> np.random.Generator:
        """Return the random numbers of one thing about this person, always the same ones."""
        return _stream(self.seed, self.number, "/".join(map(str, name)))

    def shift(self, name: str, sd: float | tuple[float, float, float]) -> NDArray[np.float64]:
        """Return how far (x, y, z) in mm something of this name lies from its usual place."""
        return np.asarray(_normal(self.seed, self.number, name)[:3] * np.asarray(sd), np.float64)

    def factor(self, name: str, sd: float) -> float:
        """Return how many times larger something of this name is than usual."""
        return float(np.exp(sd * _normal(self.seed, self.number, name)[3]))


def _stream(seed: int, number: int, name: str) -> np.random.Generator:
    return np.random.default_rng([seed, number, zlib.crc32(name.encode())])


@lru_cache(maxsize=2048)
def _normal(seed: int, number: int, name: str) -> NDArray[np.float64]:
    """Place and size of one thing: four numbers, kept because each of a person's pictures asks for them again."""
    return np.clip(_stream(seed, number, name).standard_normal(4), -2, 2)


@lru_cache(maxsize=64)
def person(seed: int, index: int, prevalence: float = 0.5) -> Person:
    """Draw one person.

    Args:
        seed: Cohort seed, at least 0.
        index: The person's index, at least 0.
        prevalence: Probability in [0, 1] of a lesion; nothing else depends on it.

    Returns:
        The same person at every call.
    """
    rng = np.random.default_rng([seed, index, 0])
    sex = "FM"[int(rng.random() < 0.5)]
    age = int(rng.choice(4, p=(0.22, 0.33, 0.33, 0.12)))
    build = int(rng.choice(3, p=(0.27, 0.47, 0.26)))
    site = SITES[int(rng.choice(3, p=(0.45, 0.33, 0.22)))]
    z = np.clip(rng.standard_normal(4), -2, 2)
    years = min(1.0, (20 * age + 20 * float(rng.random())) / 70)
    female = sex == "F"
    return Person(
        seed=seed,
        number=index,
        subject=SUBJECT.format(index),
        sex=sex,
        age_band=AGE_BANDS[age],
        habitus=HABITUS[build],
        site=site,
        years=years,
        stature=((163 if female else 176) + 6.5 * float(z[0]) - 5 * years) / REFERENCE_CM,
        breadth=(0.965, 1.0, 1.055)[build] * (1 + 0.02 * float(z[1])) * (0.99 if female else 1.0),
        fat=(7.0, 15.0, 27.0)[build] * (1.25 if female else 0.85) * float(np.exp(0.18 * z[2])),
        belly=(0.0, 10.0, 34.0)[build] * (0.7 if female else 1.15) * (0.7 + 0.6 * years) * float(np.exp(0.2 * z[3])),
        lesion=_lesion(np.random.default_rng([seed, index, 1]), prevalence),
    )


def _lesion(rng: np.random.Generator, prevalence: float) -> Lesion | None:
    """Draw the place before the coin, so that prevalence alone decides who is ill."""
    u, coin = rng.random(6), rng.random()
    if u[0] < 0.5:
        low, high = np.array([-112.0, -45.0, 130.0]), np.array([-50.0, 45.0, 205.0])
        organ, radius = "liver", 9 + 14 * float(u[4])
    else:
        side = 1 if u[5] < 0.45 else -1
        low, high = np.array([70.0 * side, -45.0, 290.0]), np.array([95.0 * side, 50.0, 385.0])
        organ, radius = "lung", 8 + 11 * float(u[4])
    x, y, z = (low + u[1:4] * (high - low)).tolist()
    core = 0.0 if u[5] < 0.5 else 0.35 + 0.4 * (float(u[5]) - 0.5)
    return Lesion(organ, (x, y, z), radius, core) if coin < prevalence else None
