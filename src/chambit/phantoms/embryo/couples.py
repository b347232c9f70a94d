"""Who the embryos are: traits that couples and embryos keep, and the clock of each embryo's divisions.

    time of an event = its median * exp(0.04 z_couple + 0.035 z_embryo) + its own spread

Hours are counted from insemination. Medians follow the ranges published for time-lapse incubators: t2 26 h, t4 38 h,
t8 57 h, compaction 85 h, blastocyst 105 h; daughters of one cell divide about an hour apart at four cells and within
about six hours at eight (Meseguer et al. 2011, doi:10.1093/humrep/der256); the stages expected at fixed hours (2 cells
26 to 28, 4 cells 44, 8 cells 68, morula 92, blastocyst 116) are those of the Istanbul consensus (Alpha and ESHRE 2011,
doi:10.1093/humrep/der037). Lengths are micrometres: zona of fertilised oocytes 16.6 +- 3.2 (Bertrand et al. 1995,
doi:10.1093/oxfordjournals.humrep.a136116), outer diameter near 156 (156.3 +- 6.8, Allahveisi et al. 2019,
doi:10.4183/aeb.2019.295).

Limits: spreads, shares of arrest and grades are plausible, not measured; no reverse or direct cleavage, no haploid or
three-pronuclear zygotes, no hatching.
"""

import math
from typing import Final, NamedTuple

import numpy as np

STAGES: Final = ("1-cell", "2-cell", "4-cell", "8-cell", "morula", "blastocyst")
MOST_CELLS: Final = 16
FIRST_HOUR: Final = 18.0
LAST_HOUR: Final = 116.0
# how far embryos get: the number of cells at which one stays, 16 as a morula, 0 where none stays behind
_ENDS: Final = (0, 1, 2, 4, 8, 16)
_SHARES: Final = (0.60, 0.02, 0.05, 0.10, 0.12, 0.11)
_NEVER: Final = math.inf


class Couple(NamedTuple):
    """What the embryos of one couple share.

    Attributes:
        embryos: 1 to 4.
        site: 'A', 'B' or 'C'.
        radius: of the fertilised egg, micrometres.
        zona: thickness, micrometres.
        space: between egg and zona, micrometres.
        grain: of the cytoplasm, about 1.
        shedding: tendency to fragment, 0 to 1.
        pace: factor on all times, about 1.
    """

    embryos: int
    site: str
    radius: float
    zona: float
    space: float
    grain: float
    shedding: float
    pace: float


class Clock(NamedTuple):
    """When what happens, in hours; infinite where it never does.

    Attributes:
        fading: the pronuclei disappear.
        divisions: the cell count becomes 2, 3, ... 16.
        compaction: the cells have become one mass.
        cavitation: first sign of the cavity.
        blastocyst: the cavity fills the embryo, which begins to grow.
    """

    fading: float
    divisions: tuple[float, ...]
    compaction: float
    cavitation: float
    blastocyst: float


class Embryo(NamedTuple):
    """What stays of one embryo from frame to frame.

    Attributes:
        subject: the couple's identifier, such as 'E000012'.
        name: such as 'E000012-1'.
        well: number of its well in the dish, 1 to 16.
        key: of its streams of random numbers.
        couple: whose it is.
        clock: when what happens.
        radius, zona, space, grain: as of the couple, with its own deviation.
        fragments: share of the volume lost to fragments by the eight-cell stage, 0 to 0.45.
        uneven: standard deviation of the share of a division.
        grade: of the blastocyst, 'A', 'B' or 'C'; only told once there is one.
        growth: radius of the expanded blastocyst over that of the egg.
    """

    subject: str
    name: str
    well: int
    key: tuple[int, ...]
    couple: Couple
    clock: Clock
    radius: float
    zona: float
    space: float
    grain: float
    fragments: float
    uneven: float
    grade: str
    growth: float


class State(NamedTuple):
    """An embryo at one hour: cells (1 to 16), and three progresses from 0 to 1."""

    hours: float
    cells: int
    compaction: float
    cavity: float
    expansion: float
    stage: str


def stream(*key: int) -> np.random.Generator:
    """The stream of random numbers that belongs to a key, such as (seed, couple, embryo, step)."""
    return np.random.default_rng(key)


def embryos(seed: int, index: int) -> list[Embryo]:
    """The embryos of one couple, 1 to 4.

    Args:
        seed: the cohort's seed.
        index: the couple's index, at least 0.
    """
    rng = stream(seed, index)
    couple = Couple(
        embryos=1 + int(rng.choice(4, p=(0.3, 0.35, 0.22, 0.13))),
        site="ABC"[int(rng.choice(3, p=(0.45, 0.33, 0.22)))],
        radius=57.0 + 2.2 * _bent(rng),
        zona=16.6 + 2.4 * _bent(rng),
        space=6.0 + 1.5 * _bent(rng),
        grain=math.exp(0.22 * _bent(rng)),
        shedding=float(rng.beta(1.4, 5.0)),
        pace=math.exp(0.04 * _bent(rng)),
    )
    wells = rng.permutation(16)[: couple.embryos] + 1
    return [_embryo(seed, index, number, couple, int(wells[number])) for number in range(couple.embryos)]


def _bent(rng: np.random.Generator) -> float:
    """A standard normal number, cut at 2.2."""
    return float(np.clip(rng.standard_normal(), -2.2, 2.2))


def _embryo(seed: int, index: int, number: int, couple: Couple, well: int) -> Embryo:
    rng = stream(seed, index, number + 1)
    fragments = float(np.clip(couple.shedding * rng.uniform(0.3, 1.5), 0, 0.45))
    quality = 1.2 - 3.0 * fragments - 0.5 * abs(math.log(couple.pace)) / 0.04 + 0.8 * _bent(rng)
    return Embryo(
        subject=f"E{index:06d}",
        name=f"E{index:06d}-{number + 1}",
        well=well,
        key=(seed, index, number + 1),
        couple=couple,
        clock=_clock(rng, couple.pace, fragments),
        radius=couple.radius + 1.0 * _bent(rng),
        zona=max(couple.zona + 0.8 * _bent(rng), 9.0),
        space=max(couple.space + 1.2 * _bent(rng), 2.0),
        grain=couple.grain * math.exp(0.08 * _bent(rng)),
        fragments=fragments,
        uneven=0.03 + 0.25 * fragments,
        grade="A" if quality > 0.9 else "B" if quality > -0.2 else "C",
        growth=1.32 + 0.12 * float(np.clip(quality, -1.5, 1.5)) + 0.05 * _bent(rng),
    )


def _clock(rng: np.random.Generator, pace: float, fragments: float) -> Clock:
    """Draw the hours of all events, then stop at the stage at which this embryo stays behind, if it does."""
    own = pace * math.exp(0.035 * _bent(rng))
    steps = [26.0 + _bent(rng), 11.4 + 0.9 * _bent(rng), rng.exponential(0.9)]  # 2, 3, 4 cells
    steps += [12.0 + 1.2 * _bent(rng), *rng.exponential((1.6, 2.0, 2.4))]  # 5 to 8
    steps += [8.5 + _bent(rng), *rng.exponential(2.0, 7)]  # 9 to 16
    divisions = own * np.cumsum(steps)
    compaction = max(own * (85.0 + 2.5 * _bent(rng)), divisions[6] + 9.0)
    blastocyst = max(own * (105.0 + 2.5 * _bent(rng)), compaction + 9.0)
    cavitation = max(blastocyst - float(np.clip(8.0 + 1.2 * _bent(rng), 4.0, 12.0)), compaction + 1.0)
    shares = np.array(_SHARES) * np.array([1.0, *[1.0 + 3.0 * fragments] * 5])
    end = _ENDS[int(rng.choice(len(_ENDS), p=shares / shares.sum()))]
    fading = divisions[0] - 2.6 - 0.3 * abs(_bent(rng))
    if end:
        divisions[end - 1 :] = _NEVER
        blastocyst = cavitation = _NEVER
        compaction = compaction if end == MOST_CELLS else _NEVER
    # a cell that has joined the mass divides on unseen
    divisions[divisions > compaction] = _NEVER
    return Clock(float(fading), tuple(float(t) for t in divisions), float(compaction), cavitation, blastocyst)


def state(embryo: Embryo, hours: float) -> State:
    """What the embryo has come to at an hour.

    Stages: 3 to 5 cells count as '4-cell', 6 cells or more before compaction as '8-cell'; a cavitating mass is a
    'morula' until its cavity fills it.
    """
    clock = embryo.clock
    cells = 1 + sum(hours >= time for time in clock.divisions)
    compaction = _ease((hours - clock.compaction) / 7.0 + 0.9)
    # a cavity opens at its first sign and is half of the embryo at the blastocyst
    filling = 1.5 * (clock.blastocyst - clock.cavitation) if math.isfinite(clock.blastocyst) else 1.0
    cavity = _ease((hours - clock.cavitation) / filling)
    expansion = _ease((hours - clock.blastocyst) / 16.0 + 0.12)
    if hours >= clock.blastocyst:
        stage = "blastocyst"
    elif hours >= clock.compaction:
        stage = "morula"
    else:
        stage = STAGES[0 if cells == 1 else 1 if cells == 2 else 2 if cells < 6 else 3]
    return State(hours, cells, compaction, cavity, expansion, stage)


def _ease(at: float) -> float:
    """From 0 to 1 with level ends; 0 where the event never comes."""
    x = min(max(at, 0.0), 1.0) if math.isfinite(at) else 0.0
    return x * x * (3 - 2 * x)
