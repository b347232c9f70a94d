"""Gums, palate, tongue and cheeks of the two views from above.

Places are told by the arch: d is the distance in mm from its line, positive to the cheek, and rho the distance
from the middle of the mouth as a share of the line's.

Limits: no tonsils, no mirror's edge, no saliva pools; the tongue lies still and behind the front teeth.
"""

from typing import NamedTuple

import numpy as np

from chambit.phantoms.oral.canvas import GUM, MUCOSA, Canvas, lay, shade
from chambit.phantoms.oral.dentition import Floats, Mouth, order
from chambit.phantoms.oral.gums import Palette
from chambit.phantoms.oral.light import Site, lit, mix, normal, rgb, step, texture, texture_grid
from chambit.phantoms.oral.occlusal import Above


class _Ground(NamedTuple):
    """Per pixel: place in the mouth (mm), distances from the arch (see the module), surface texture.

    `inner` and `outer` are how far a pixel lies behind or before the crowns, mm; `scallop` is 1 beside the middle of
    a crown and -1 between two; `fine`, `mid` and `slow` are textures of unit variance.
    """

    x: Floats
    y: Floats
    rho: Floats
    inner: Floats
    outer: Floats
    scallop: Floats
    fine: Floats
    mid: Floats
    slow: Floats

    def at(self, on: np.ndarray) -> "_Ground":
        """Keep the pixels where `on` is true, (P,) each."""
        return _Ground(*(part[on] for part in self))


def paint(canvas: Canvas, mouth: Mouth, view: Above, site: Site, colours: Palette) -> None:
    """Lay palate or tongue and the gum around the teeth, all of which the teeth are laid over later."""
    ground = _ground(mouth, view)
    for sheet in (_palate, _ring) if view.upper else (_floor, _ring, _tongue):
        sheet(canvas, mouth, view, ground, site, colours)


def _ground(mouth: Mouth, view: Above) -> _Ground:
    n = view.size
    grid = np.arange(n, dtype=np.float32) + np.float32(0.5)
    x, y = view.mouth(grid[None, :], grid[:, None])
    ax, ay, turn = mouth.arches["upper" if view.upper else "lower"]
    back = float(mouth.centre[order(view.upper)[6:8], 1].mean()) - 28.0
    polar, radius = np.arctan2(ax, ay - back), np.hypot(ax, ay - back)
    angle, far = np.arctan2(x, y - np.float32(back)), np.hypot(x, y - np.float32(back))
    line = np.interp(angle, polar, radius).astype(np.float32)
    upright = np.interp(angle, polar, np.cos(turn - polar)).astype(np.float32)
    teeth = order(view.upper)
    at = np.arctan2(mouth.centre[teeth, 0], mouth.centre[teeth, 1] - back)
    half = np.interp(angle, at, mouth.depth[teeth] / 2 * (0.55 + 0.45 * mouth.present[teeth])).astype(np.float32)
    scallop = np.cos(2 * np.pi * np.interp(angle, at, np.arange(14.0)).astype(np.float32))
    d = (far - line) * np.clip(upright, 0.3, 1)
    axis = grid * np.float32(view.pixel)
    shift = np.float32(mouth.traits["phase"] * 5 + 60 * view.upper)
    noise = [texture_grid(k, axis + shift, axis, grain) for k, grain in enumerate((0.55, 1.6, 6.0))]
    return _Ground(x, y, far / line, -d - half, d - half, scallop, *noise)


def _ring(canvas: Canvas, mouth: Mouth, view: Above, ground: _Ground, site: Site, colours: Palette) -> None:
    """Lay the gum that holds the teeth, and outside it the dark fold towards lip and cheek."""
    off = np.maximum(ground.inner, ground.outer)
    behind = ground.inner > ground.outer
    width = np.where(behind, np.float32(3.2 if view.upper else 4.2), np.float32(3.8)) + 0.4 * ground.slow
    soft = np.where(behind, np.float32(0.7 if view.upper else 0.25), np.float32(0.8))
    cover = step((width - off) / soft, -1.0, 1.0)
    # the wall falls away from the crowns on both sides, less steeply on the palate
    steep = np.where(behind, np.float32(0.45 if view.upper else 0.9), np.float32(0.8))
    relief = 0.35 * ground.scallop * np.exp(-np.maximum(off, 0) / 2.5) - steep * np.maximum(off, 0) ** np.float32(1.15)
    relief += 0.05 * ground.mid + 0.03 * ground.fine + 0.06 * ground.slow
    nx, ny, nz = normal(relief, view.pixel)
    on = cover > 0
    g, off, nx, ny, nz = ground.at(on), off[on], nx[on], ny[on], nz[on]
    colour = mix(colours.margin[None], colours.gum, step(off + 0.3 * g.mid, 0.2, 2.0))
    colour *= (1 + 0.05 * g.mid + 0.03 * g.fine)[:, None]
    light = lit(colour, nx, ny, nz, 0.12 * step(g.slow + g.mid, -0.4, 1.8), site, 1.6)
    light *= (1 - 0.42 * step(g.outer, 1.0, 4.8))[:, None]
    lay(canvas, on, light, cover[on], GUM)


def _palate(canvas: Canvas, mouth: Mouth, view: Above, ground: _Ground, site: Site, colours: Palette) -> None:
    """Lay the palate: a vault with folds behind the front teeth, a seam in the middle, soft and redder at the back."""
    traits, (x, y) = mouth.traits, (ground.x, ground.y)
    slow, mid = ground.slow, ground.mid
    away = np.abs(x + 0.4 * slow)
    phase = (-y - 0.30 * away + 0.9 * slow + 0.25 * mid) / 3.7
    where = step(-y, 6.5, 9.5) * step(-y + 0.25 * away, 27, 20) * step(away, 0.8, 2.2) * step(away, 13, 7)
    folds = (0.5 + 0.5 * np.cos(2 * np.pi * phase)) ** 1.6 * where * np.clip(1 + 0.4 * mid, 0.2, 1.6)
    raphe = np.exp(-(((x + 0.25 * slow) / 0.55) ** 2)) * step(-y, 9, 13)
    relief = (0.6 + 0.8 * max(0.0, traits["rugae"])) * folds - 0.22 * raphe + 0.12 * slow + 0.05 * mid
    relief -= (3.8 + 2.5 * traits["vault"]) * np.clip(1 - ground.rho**2, 0, 1) ** 0.9
    relief += 0.9 * np.exp(-((x / 1.6) ** 2) - ((y + 6.8) / 2.7) ** 2) + 0.018 * ground.fine
    nx, ny, nz = normal(relief, view.pixel)
    on = ground.inner > 0
    g, folds, raphe, nx, ny, nz = ground.at(on), folds[on], raphe[on], nx[on], ny[on], nz[on]
    soft = step(-g.y + 2 * g.slow + 0.04 * g.x * g.x, 38, 47)
    pink = rgb(0.60, 0.28, 0.24) * (1 + 0.05 * np.float32(traits["redness"]) * rgb(0.3, -1, -1))
    colour = mix(pink[None], colours.mucosa, 0.75 * soft)
    colour = mix(colour, (0.70, 0.42, 0.36), np.clip(0.45 * raphe + 0.22 * folds, 0, 1))
    colour *= (1 + 0.04 * g.mid + 0.02 * g.fine + 0.04 * g.slow)[:, None]
    light = lit(colour, nx, ny, nz, 0.15 * step(g.slow + 0.7 * g.mid, 0.0, 1.8), site, 1.5)
    light *= (1 - 0.20 * np.clip(1 - g.rho, 0, 1) - 0.22 * soft)[:, None]
    lay(canvas, on, light, step(g.inner, 0.0, 0.5), MUCOSA)


def _floor(canvas: Canvas, mouth: Mouth, view: Above, ground: _Ground, site: Site, colours: Palette) -> None:
    """Lay the floor of the mouth with the fold and the two openings of the glands behind the front teeth."""
    x, inner = ground.x, ground.inner
    fold = np.exp(-((x / 0.7) ** 2)) * step(inner, 1.5, 5)
    glands = np.exp(-(((np.abs(x) - 1.9) / 1.1) ** 2) - ((inner - 6.5) / 1.6) ** 2)
    relief = -0.5 * inner + 0.8 * fold + 0.8 * glands + 0.25 * ground.slow + 0.12 * ground.mid
    nx, ny, nz = normal(relief, view.pixel)
    on = inner > 0
    g, nx, ny, nz = ground.at(on), nx[on], ny[on], nz[on]
    colour = (colours.mucosa * np.float32(0.95))[None] * (1 + 0.08 * g.mid)[:, None]
    light = lit(colour, nx, ny, nz, 0.22 * step(g.slow + g.mid, 0.0, 1.6), site, 1.5)
    light *= (1 - 0.35 * step(g.inner, 3, 10))[:, None]
    lay(canvas, on, light, step(g.inner, 0.0, 0.5), MUCOSA)


def _tongue(canvas: Canvas, mouth: Mouth, view: Above, ground: _Ground, site: Site, colours: Palette) -> None:
    """Lay the tongue: a dome with a groove, papillae and a pale coat towards the back."""
    traits, teeth = mouth.traits, order(False)
    tip = float(mouth.centre[teeth[6:8], 1].mean()) - 8.0 - 2.0 * traits["tongue"]
    molars = teeth[[1, 12]]
    wide = float(np.abs(mouth.centre[molars, 0]).mean() - mouth.depth[molars].mean() / 2) - 0.8 + 0.7 * traits["tongue"]
    x = ground.x - np.float32(0.6 * traits["midline"])
    py = np.clip((ground.y - tip) / 46.0 + 1, 0, None).astype(np.float32)
    r = (
        (np.abs(x / np.float32(wide)) ** 2.3 + py**2.6) ** np.float32(1 / 2.4)
        + 0.012 * ground.slow
        + 0.006 * ground.mid
    )
    r = np.maximum(r, 0)
    groove = np.exp(-(((x + 0.5 * ground.slow) / 1.1) ** 2)) * step(r, 0.9, 0.6)
    relief = 3.85 * np.sqrt(np.clip(1 - r**2.2, 0, 1)) - 0.55 * groove
    relief += 0.055 * ground.fine + 0.10 * ground.mid + 0.10 * ground.slow
    nx, ny, nz = normal(relief, view.pixel)
    whole = np.clip(0.5 + (1 - r) * np.float32(wide / view.pixel), 0, 1)
    shade(canvas, whole, 1.6 / view.pixel, 0.55)
    on = whole > 0
    g, r, nx, ny, nz = ground.at(on), r[on], nx[on], ny[on], nz[on]
    coat = max(0.0, traits["coating"]) * step(r + 0.1 * g.slow, 0.95, 0.35) * np.clip(0.75 + 0.25 * g.fine, 0, 1.2)
    colour = mix(rgb(0.54, 0.235, 0.21)[None], (0.68, 0.50, 0.43), np.clip(0.8 * coat, 0, 0.8))
    dots = step(texture(1, g.x * np.float32(1.2) + 3, g.y, 1.5), 1.5, 2.1) * step(r, 0.98, 0.8) * step(r, 0.3, 0.7)
    colour = mix(colour, (0.56, 0.13, 0.12), 0.5 * dots)
    colour *= (1 + 0.08 * g.fine + 0.04 * g.mid)[:, None]
    light = lit(colour, nx, ny, nz, 0.14 * step(g.slow + 0.8 * g.fine, 0.3, 2.0), site, 1.4)
    lay(canvas, on, light, whole[on], MUCOSA)
