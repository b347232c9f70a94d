"""A canvas on which solids are laid one over the other: what a point shows is blended at the surfaces.

    value <- value + (colour - value) * cover,   cover = clip(1/2 - d / edge, 0, 1)

d is the signed distance of chambit.phantoms.body.space; the ramp over one pixel is the partial volume effect
(Bushberg et al. 2011, chapter 10). Later solids cover earlier ones, so the order of painting is the anatomy's order.

Limits: signals are blended linearly, which holds for CT and MR magnitudes of one phase, not for chemical shift.
"""

import zlib
from functools import lru_cache
from typing import Final, NamedTuple

import numpy as np
from scipy import ndimage

from chambit.phantoms.body.person import Person
from chambit.phantoms.body.space import Grid, Map, Region, waves
from chambit.phantoms.body.tissue import Part, Tissue

CELLS: Final = 48
PITCH: Final = 2.2  # mm between the texture's cells; it repeats after 106 mm
Solid = tuple[Region, Map]


class Palette(NamedTuple):
    """Values of all tissues in one picture and the amplitudes of their textures, each float32 (tissues,)."""

    values: Map
    mottle: Map


class Canvas:
    """A picture or volume in the making.

    Attributes:
        grid: Where its points are.
        person: Whose body it is.
        value: What the machine would measure, float32 (z, y, x).
        part: Value of Part at each point, uint8 (z, y, x).
        lesion: Share of each point that is lesion, float32 (z, y, x).
        detail: Whether thin sheets of fat between muscles are drawn, which a projection does not show.
    """

    def __init__(self, grid: Grid, person: Person, palette: Palette, detail: bool = True) -> None:
        self.grid, self.person, self.palette, self.detail = grid, person, palette, detail
        self.value: Map = np.full(grid.shape, palette.values[Tissue.AIR], np.float32)
        self.part = np.zeros(grid.shape, np.uint8)
        self.lesion: Map = np.zeros(grid.shape, np.float32)
        self.texture = texture(person, grid)

    def lay(
        self,
        solid: Solid | None,
        tissue: Tissue,
        part: Part,
        *,
        grow: float = 0.0,
        within: Map | None = None,
        shade: Map | float = 0.0,
    ) -> None:
        """Lay one solid over what is there.

        Args:
            solid: Region and distances, or None where the picture does not meet it.
            tissue: What it is made of.
            part: What it belongs to.
            grow: How far, in mm, its surface is moved outwards.
            within: Share in [0, 1] of each point of the region that may be covered at all.
            shade: What is added to the tissue's value, as a share of its texture's amplitude.
        """
        if solid is None:
            return
        region, distance = solid
        cover = cover_of(distance, self.grid.edge, grow)
        if within is not None:
            cover *= within
        if not cover.any():
            return
        amplitude = self.palette.mottle[tissue]
        colour = self.palette.values[tissue] + amplitude * (self.texture[region.where] + np.float32(shade))
        under = self.value[region.where]
        under += (colour - under) * cover
        self.part[region.where][cover > 0.5] = part

    def shell(self, solid: Solid | None, part: Part, thick: float = 2.0, core: Tissue = Tissue.MARROW) -> None:
        """Lay a bone: a compact layer so many mm thick around a spongy or fatty core."""
        age = 1 - 0.25 * self.person.years
        self.lay(solid, Tissue.BONE, part)
        self.lay(solid, core, part, grow=-thick * age)

    def waves(self, region: Region, name: str, pitch: float) -> Map:
        """Return a smooth random field of this person: mean 0, deviation about 0.45, waves three pitches (mm) long."""
        key = zlib.crc32(name.encode())
        offset = (key & 1023, key >> 10 & 1023, key >> 20 & 1023)
        return waves(region, pitch, _knots(self.person.seed, self.person.number), offset)

    def share(self, region: Region, *parts: Part) -> Map:
        """Return where a region shows any of these parts, 0 or 1."""
        here = self.part[region.where]
        shown = here == int(parts[0])
        for part in parts[1:]:
            shown |= here == int(part)
        return np.asarray(shown, np.float32)


def cover_of(distance: Map, edge: float, grow: float = 0.0) -> Map:
    """Return the share of each point that a solid covers, from the distance to its surface."""
    cover: Map = np.clip(np.float32(0.5 + grow / edge) - distance * np.float32(1 / edge), 0, 1)
    return cover


def texture(person: Person, grid: Grid) -> Map:
    """Return the person's tissue texture at every point of a grid: mean 0, deviation about 1, fixed to the body."""
    field = _texture(person.seed, person.number)
    for at, values in enumerate((grid.z, grid.y, grid.x)):
        u = values.astype(np.float64) / PITCH
        k = np.floor(u).astype(int)
        f = (u - k).astype(np.float32)
        f = f.reshape(tuple(-1 if at == n else 1 for n in range(3)))
        field = field.take(k % CELLS, axis=at) * (1 - f) + field.take((k + 1) % CELLS, axis=at) * f
    return field


@lru_cache(maxsize=4)
def _texture(seed: int, index: int) -> Map:
    """Periodic noise of two sizes, about 2 and 9 mm, (CELLS, CELLS, CELLS)."""
    rng = np.random.default_rng([seed, index, 2])
    fine = rng.standard_normal((CELLS,) * 3, dtype=np.float32)
    broad = ndimage.gaussian_filter(rng.standard_normal((CELLS // 2,) * 3, dtype=np.float32), 1.0, mode="wrap")
    broad = broad.repeat(2, 0).repeat(2, 1).repeat(2, 2)
    made = ndimage.uniform_filter(0.8 * fine + 4.0 * broad, 2, mode="wrap")
    return np.asarray(made / made.std(), np.float32)


@lru_cache(maxsize=4)
def _knots(seed: int, index: int) -> Map:
    return np.random.default_rng([seed, index, 4]).standard_normal((37,) * 3, dtype=np.float32)
