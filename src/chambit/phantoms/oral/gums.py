"""Gums, mucosa, lips and cheek retractors of the three views from outside.

The gum line is one curve of the screen's x for each jaw: an arc over each crown, a papilla between two.

Limits: no plaque index, no pockets or fistulas; frenula are one fold; skin has no hair and no pores.
"""

from typing import NamedTuple

import numpy as np
from scipy import ndimage

from chambit.phantoms.oral.canvas import GUM, LIPS, MUCOSA, Canvas, lay
from chambit.phantoms.oral.dentition import KIND, Floats, Mouth, order
from chambit.phantoms.oral.facial import View, project
from chambit.phantoms.oral.light import Site, lit, mix, normal, rgb, step, texture, texture_grid


class Palette(NamedTuple):
    """Linear colours of one mouth: attached gum, its margin, mucosa, lip, skin."""

    gum: Floats
    margin: Floats
    mucosa: Floats
    lip: Floats
    skin: Floats


def palette(mouth: Mouth) -> Palette:
    """Choose the colours of a patient's soft tissues."""
    red, dark = np.float32(mouth.traits["redness"]), np.float32(max(0.0, mouth.traits["skin"]))
    gum = rgb(0.66, 0.275, 0.235) * (1 + red * rgb(0.02, -0.07, -0.06)) * (1 - 0.06 * dark)
    sore = np.clip(0.3 + 0.3 * np.float32(mouth.traits["swelling"]), 0, 0.95)
    margin = gum * (1 - sore * rgb(0.10, 0.50, 0.42))
    mucosa = rgb(0.46, 0.155, 0.14) * (1 + red * rgb(0.03, -0.05, -0.05))
    lip = rgb(0.50, 0.20, 0.18) * (1 - 0.10 * dark) * (1 - 0.02 * red)
    skin = rgb(0.60, 0.37, 0.26) * np.exp(-0.22 * np.float32(mouth.traits["skin"]))
    return Palette(gum, margin, mucosa, lip, skin)


class _Line(NamedTuple):
    """Along the columns of the canvas: y of the gum line (mm), eminence 0..1, scale, facing, whether a gap."""

    y: Floats
    eminence: Floats
    scale: Floats
    theta: Floats


def _line(mouth: Mouth, view: View, upper: bool, x: Floats) -> _Line:
    teeth = order(upper)
    theta = mouth.facing[teeth] - np.float32(view.yaw)
    teeth, theta = teeth[np.cos(theta) > 0.05], theta[np.cos(theta) > 0.05]
    sign = 1.0 if upper else -1.0
    missing = ~mouth.present[teeth]
    zenith = mouth.edge[teeth] + sign * (mouth.shown[teeth] - 1.4 * missing)
    centre = mouth.centre[teeth]
    height = zenith + mouth.traits["cant"] * centre[:, 0]
    at, y, scale, _ = project(view, centre[:, 0], centre[:, 1], height)
    in_order = np.concatenate([[True], np.diff(np.maximum.accumulate(at)) > 0.4])
    at, y, scale, theta, teeth, missing = (part[in_order] for part in (at, y, scale, theta, teeth, missing))
    half = 0.5 * scale * np.hypot(mouth.width[teeth] * np.cos(theta), 0.8 * mouth.depth[teeth] * np.sin(theta))
    bounds = 0.5 * (at[:-1] + half[:-1] + at[1:] - half[1:])
    left, right = np.append(at[0] - half[0], bounds), np.append(bounds, at[-1] + half[-1])
    which = np.clip(np.searchsorted(bounds, x), 0, at.size - 1)
    reach = np.where(x < at[which], at[which] - left[which], right[which] - at[which])
    u = np.clip(np.abs(x - at[which]) / np.maximum(reach, 0.3), 0, 1)
    young = 1 - 0.18 * mouth.traits["age"]
    tall = np.array([3.9, 3.6, 2.9, 2.3])[KIND[teeth]] * young * (1 + 0.08 * mouth.form[teeth, 7])
    tall = np.where(missing, 0.3, tall)
    rise = tall[which] * scale[which] * u ** np.array([3.2, 3.2, 2.8, 2.9])[KIND[teeth]][which]
    line = np.interp(x, at, y) if missing.all() else y[which] + sign * rise
    pixel = float(x[1] - x[0])
    blunt = max(0.35 / pixel, 0.6)
    return _Line(
        ndimage.gaussian_filter1d(line, blunt).astype(np.float32),
        ndimage.gaussian_filter1d((1 - u**2) * ~missing[which], 0.9 / pixel).astype(np.float32),
        np.interp(x, at, scale).astype(np.float32),
        np.interp(x, at, theta).astype(np.float32),
    )


def paint(canvas: Canvas, mouth: Mouth, view: View, upper: bool, site: Site, colours: Palette) -> None:
    """Lay one jaw's gum and mucosa over its teeth."""
    n, pixel, traits = view.size, view.pixel, mouth.traits
    axis = ((np.arange(n, dtype=np.float32) + 0.5) / n - 0.5) * np.float32(view.width)
    line = _line(mouth, view, upper, axis)
    sign = np.float32(1.0 if upper else -1.0)
    # only the rows on the jaw's side of its gum line
    far = int(np.floor((line.y.min() if sign < 0 else line.y.max()) / pixel + n / 2))
    band = slice(0, min(far + 3, n)) if upper else slice(max(far - 3, 0), n)
    if band.stop - band.start < 3:
        return
    y = axis[band]
    depth = sign * (line.y[None, :] - y[:, None]) / line.scale[None, :]
    shift = np.float32(traits["phase"] * 5 + 40 * upper)
    fine, mid, slow = (texture_grid(k, axis + shift, y, grain) for k, grain in enumerate((0.55, 1.5, 6.0)))
    border = traits["attached"] + 0.45 * line.eminence[None, :] + 0.5 * slow - 0.3
    loose = step(depth - border, -0.5, 0.7)
    puffy = 0.75 + 0.2 * max(0.0, traits["swelling"])
    relief = puffy * 0.8 * (1 - np.exp(-np.maximum(depth, 0) / 0.8))
    relief = relief + 1.25 * line.eminence[None, :] * np.exp(-np.maximum(depth - 1, 0) / 5) * (1 - 0.25 * loose)
    relief = relief + 0.10 * slow * (1 + loose) + 0.05 * mid * (1 + 1.6 * loose)
    stipple = max(0.0, traits["stippling"]) * (1 - loose) * step(depth, 0.7, 1.8)
    relief = relief + 0.035 * fine * (0.25 + stipple)
    if abs(view.yaw) < 0.2:  # the fold of the lip's frenulum
        spread = 0.35 + 0.10 * np.maximum(depth - 4, 0)
        relief = relief + 0.7 * np.exp(-(((axis + 0.3 * mid) / spread) ** 2)) * step(depth, 3.8, 7.5)
    nx, ny, nz = normal(relief, pixel, np.sin(0.55 * line.theta)[None, :], 0.10 * sign * step(depth, 3, 12))
    whole = np.zeros((n, n), bool)
    whole[band] = depth > -pixel
    on = whole[band]
    depth, loose = depth[on], loose[on]
    nx, ny, nz = nx[on], ny[on], nz[on]
    fine, mid, slow = fine[on], mid[on], slow[on]
    colour = mix(colours.margin[None], colours.gum, step(depth + 0.35 * mid, 0.3, 2.3))
    colour = mix(colour, colours.mucosa, loose)
    rows, columns = np.nonzero(on)
    vessel = texture(1, axis[columns] + shift, y[rows] * np.float32(0.55), 2.4)
    vessel += 0.35 * texture(1, axis[columns] * np.float32(1.7) + 9, y[rows], 2.0)
    colour = mix(colour, (0.30, 0.035, 0.035), 0.42 * loose * np.exp(-((vessel / np.float32(0.13)) ** 2)))
    pigment = max(0.0, traits["pigment"] - 0.5) * step(slow + 0.4 * mid, 0.1, 1.3) * (1 - loose) * step(depth, 0.8, 2.2)
    colour = mix(colour, (0.16, 0.075, 0.06), np.clip(0.5 * pigment, 0, 0.7))
    colour *= (1 + 0.05 * mid + 0.03 * fine)[:, None]
    gloss = (0.13 + 0.15 * loose) * step(slow + 0.8 * mid + 0.5 * fine, -0.8, 1.8)
    light = lit(colour, nx, ny, nz, gloss, site, 1.6)
    light *= (1 - 0.45 * step(depth, 9.0, 17.0))[:, None]
    cover = np.clip(0.5 + depth * line.scale[columns] / np.float32(pixel), 0, 1)
    lay(canvas, whole, light, cover, np.where(loose > 0.5, MUCOSA, GUM))


class Opening(NamedTuple):
    """The mouth's opening on the screen: centre and half axes in mm, exponent, retractor's sides and look."""

    x: float
    y: float
    wide: float
    high: float
    power: float
    sides: tuple[float, ...]
    plastic: float


def lips(canvas: Canvas, mouth: Mouth, view: View, opening: Opening, site: Site, colours: Palette) -> None:
    """Lay lips, skin and the retractor around the opening."""
    n, pixel = view.size, view.pixel
    axis = ((np.arange(n, dtype=np.float32) + 0.5) / n - 0.5) * np.float32(view.width)
    x, y = axis[None, :], axis[:, None]
    shift = np.float32(mouth.traits["phase2"] * 7)
    slow, mid = texture_grid(2, axis + shift, axis, 8.0), texture_grid(1, axis + shift, axis, 2.0)
    dx, dy = np.abs(x - opening.x) / opening.wide, np.abs(y - opening.y) / opening.high
    r = (dx ** np.float32(opening.power) + dy ** np.float32(opening.power)) ** np.float32(1 / opening.power)
    out = (r - 1) * np.float32(min(opening.high, opening.wide)) + 0.5 * slow
    canvas.light[...] *= (1 - 0.72 * np.exp(-np.clip(-out, 0, 30) / 2.6))[..., None]
    thick = 6.0 + 1.2 * float(mouth.form[0, 7])
    skin = step(out + 0.25 * mid, thick - 0.5, thick + 0.6)
    crease = texture_grid(1, axis * np.float32(1.6) + shift, axis * np.float32(0.25), 1.2)
    relief = 1.9 * np.sqrt(np.clip(out, 0, thick) * np.clip(2.3 * thick - out, 0, None)) / thick
    relief = relief + 0.16 * slow + (0.022 * crease + 0.035 * mid) * (1 - skin) + 0.008 * mid * skin
    nx, ny, nz = normal(relief, pixel)
    on = out > -pixel
    out, slow, mid, crease, skin, nx, ny, nz = (part[on] for part in (out, slow, mid, crease, skin, nx, ny, nz))
    colour = mix(colours.mucosa[None] * np.float32(1.05), colours.lip, step(out, 1.0, 4.0))
    colour = mix(colour * (1 + 0.05 * crease)[:, None], colours.skin, skin)
    colour *= (1 + 0.03 * mid)[:, None]
    gloss = (0.15 * (1 - skin) + 0.01) * step(slow + 0.7 * mid, -0.2, 1.8)
    light = lit(colour, nx, ny, nz, gloss, site, 2.0)
    lay(canvas, on, light, np.clip(0.5 + out / np.float32(pixel), 0, 1), LIPS)
    if opening.plastic > 0:
        _retractor(canvas, opening, x, y)


def _retractor(canvas: Canvas, opening: Opening, x: Floats, y: Floats) -> None:
    """Lay the clear rim of a cheek retractor over the sides: bright edges, little colour between."""
    rho = np.hypot((x - opening.x) / (opening.wide * 1.03), (y - opening.y) / (opening.high * 1.45))
    q = (rho - 1) * opening.wide
    for side in opening.sides:
        reach = step(side * (x - opening.x) / opening.wide, 0.50, 0.62)
        band = step(q, -1.9, -1.5) * step(q, 2.1, 1.7) * reach
        canvas.light[...] += (0.30 * opening.plastic * band)[..., None] * (rgb(0.62, 0.66, 0.68) - canvas.light)
        shine = np.exp(-(((q + 1.5) / 0.22) ** 2)) + 0.8 * np.exp(-(((q - 1.6) / 0.3) ** 2))
        shine = shine + 0.5 * np.exp(-(((q - 0.2) / 0.25) ** 2)) * step(np.sin(y * 0.35 + side), 0.2, 0.9)
        canvas.light[...] += (0.42 * opening.plastic * shine * reach)[..., None]
        canvas.part[band > 0.5] = LIPS
        canvas.decay[...] *= 1 - band
