"""Whether a volume of a head shows a face, by the relief of its frontal surface.

The volume is laid on a grid of 2 mm along the patient's axes. Skin is what is brighter than -300 HU, or than Otsu's
threshold where numbers are not Hounsfield units. Looking from the front, y(x, z) is the depth of the skin; pits less
than 36 mm wide (nostrils, sinuses that a defacing tool cut open) are closed in it. In each row z, within 45 mm of the
midline,

    nose(z) = min over the sides of max over x of (least concave curve above y(., z) - y(x, z))
    eyes(z) = min over the sides of median over x, 14 to 44 mm from the midline, of the same along z, over 60 mm

A nose stands out between two cheeks over many rows; eyes lie in two hollows between brow and cheek. A skull without a
face is convex, and so is a plane or a box cut by a defacing tool, but for its steps: where y jumps by more than skin
does, eyes(z) is not asked. The score, in mm, is the greater of two: the greatest nose(z) that all rows of a band 20 mm
tall reach, with the head turned by 20 and 40 degrees to either side as well, and the greatest eyes(z).

The skin is found by Otsu's method (1979, doi:10.1109/TSMC.1979.4310076). Pupils are 50 to 75 mm apart (Dodgson
2004, doi:10.1117/12.529999). The rule is ours.

Known failures: a head turned by more than 50 degrees; a mask, tube or dressing on the face; a file whose axes are
other than it says, unless it looks backwards. Eyes left in a turned head whose nose was taken off, and what is left of
a brow, may have little relief. Ears and teeth identify, too, and are not looked at. Absent means that this rule sees no
face, not that nobody can be recognised: a person looks at the picture.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from chambit.core.errors import InputError, Problem
from chambit.core.evidence import Frozen


class Options(Frozen):
    """How a face is looked for; lengths in mm.

    Attributes:
        present: a score from here on is a face; a threshold of the policy.
        absent: a score below is none; between the two it is undecided. A threshold of the policy.
        step: grid; a nose is some 10 steps long.
        skin: Hounsfield units between air and skin.
        half: half the width that is looked at; the outer corners of the eyes lie some 45 mm from the midline.
        tall: height that the relief must hold; a nose is 40 to 55 mm tall, less where the volume ends.
        near, far: from the midline, between which an eye lies.
        span: from above the brow to the cheek.
        slope: what skin does not exceed along z on this grid, in mm for each mm; steeper is the edge of a cut.
        pit: radius below which pits are closed; the opened sinuses beside the nose are some 30 mm wide.
        turns: degrees by which the head may be turned in the scanner; a nose is seen from 15 degrees beside each.
        narrow, wide: width of a head between the least (an infant's) and the greatest (with ears).
    """

    present: float
    absent: float
    step: float = 2.0
    skin: float = -300.0
    half: float = 45.0
    tall: float = 20.0
    near: float = 14.0
    far: float = 44.0
    span: float = 60.0
    slope: float = 2.0
    pit: float = 18.0
    turns: tuple[int, ...] = (0, -20, 20, -40, 40)
    narrow: float = 80.0
    wide: float = 220.0


class Volume(NamedTuple):
    """A volume: numbers (I, J, K), affine (4, 4) from indices to mm in RAS+, and whether the file gave the axes."""

    array: np.ndarray
    affine: np.ndarray
    oriented: bool = True


class Face(NamedTuple):
    """What was found: present (None: undecided), the score in mm, why in words, and the picture for the eye as PNG.

    The picture shows the surface from the front and from the patient's right. It may show a face: it belongs with the
    originals and into no report.
    """

    present: bool | None
    score: float
    why: str
    picture: bytes


def read(path: Path) -> Volume:
    """A NIfTI volume.

    Raises:
        InputError: it cannot be read, or is not of three dimensions.
    """
    import nibabel

    try:
        image: Any = nibabel.load(path)
        array = np.squeeze(np.asanyarray(image.dataobj))
        codes = int(image.header["qform_code"]), int(image.header["sform_code"])
    except (OSError, nibabel.filebasedimages.ImageFileError, KeyError, ValueError, EOFError) as error:
        problem = Problem(str(path), f"is no NIfTI volume ({type(error).__name__})", "convert it to NIfTI")
        raise InputError("The volume cannot be read.", [problem]) from None
    if array.ndim != 3:
        problem = Problem(str(path), f"has {array.ndim} dimensions", "give one volume of three dimensions a file")
        raise InputError("The volume cannot be read.", [problem])
    return Volume(array, np.asarray(image.affine, float), any(codes))


def find(volume: Volume, options: Options) -> Face:
    """Whether the volume shows a face."""
    grid = _on_axes(volume, options.step)
    skin = options.skin if grid.min() < options.skin else _otsu(grid)
    body = _body(grid, skin)
    if not body.any():
        return Face(None, 0.0, "nothing stands out from the background", _picture(grid * 0))
    solid = _solid(grid, body, skin)
    picture = _picture(solid)
    if (score := _score(solid, options.turns, options)) is None:
        return Face(False, 0.0, f"no part is between {options.narrow:g} and {options.wide:g} mm wide", picture)
    if not volume.oriented:
        return Face(None, score, "the file does not say which way is the front", picture)
    if _cut_off(body, options):
        return Face(None, score, "the front of the head lies outside of the volume", picture)
    if score >= options.present:
        return Face(True, score, f"relief of {score:.1f} mm on both sides of a midline, as nose and eyes have", picture)
    if (_score(solid[:, ::-1], (0,), options) or 0.0) >= options.present:
        return Face(None, score, "something like a face looks backwards: its axes may be wrong", picture)
    if score >= options.absent:
        return Face(None, score, f"relief of {score:.1f} mm: part of a face may be left", picture)
    return Face(False, score, f"relief of {score:.1f} mm: the front is smooth", picture)


def require_none(face: Face, where: str) -> None:
    """Refuse a volume unless it shows no face.

    Raises:
        InputError: a face is present, or it is undecided.
    """
    if face.present is False:
        return
    what = f"shows a face ({face.why})" if face.present else f"may show a face ({face.why})"
    remedy = "deface it with a tool of your choice, look at the result, then check it again"
    raise InputError("A volume of a head must not show a face.", [Problem(where, what, remedy)])


def _on_axes(volume: Volume, step: float) -> np.ndarray:
    """The volume float32 (X, Y, Z) on a grid along right, anterior and superior; outside of it the least number."""
    from scipy import ndimage

    array = np.nan_to_num(np.asarray(volume.array, np.float32))
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in array.shape], indexing="ij")).reshape(3, -1)
    world = volume.affine[:3, :3] @ corners + volume.affine[:3, 3:]
    low, shape = world.min(1), np.floor(np.ptp(world, axis=1) / step).astype(int) + 1
    back = np.linalg.inv(volume.affine)
    return np.asarray(
        ndimage.affine_transform(
            array, back[:3, :3] * step, back[:3, :3] @ low + back[:3, 3], tuple(shape), order=1, cval=array.min()
        )
    )


def _body(grid: np.ndarray, skin: float) -> np.ndarray:
    """The largest thing brighter than air, bool; a table or a holder is another thing."""
    from scipy import ndimage

    parts, count = ndimage.label(ndimage.binary_opening(grid > skin))
    if count == 0:
        return np.zeros(grid.shape, bool)
    sizes = np.bincount(parts.ravel())[1:]
    return np.asarray(parts == 1 + sizes.argmax())


def _solid(grid: np.ndarray, body: np.ndarray, skin: float) -> np.ndarray:
    """The body in its box, float32 in [0, 1], one half at the skin, so that its surface lies between two voxels."""
    from scipy import ndimage

    air = float(np.percentile(grid, 1))
    scaled = np.clip((grid - air) / (2 * max(skin - air, 1e-6)), 0, 1)
    near = ndimage.binary_dilation(body)
    solid = np.where(body, np.maximum(scaled, 0.5), np.where(near, scaled, 0)).astype(np.float32)
    return np.asarray(solid[ndimage.find_objects(near.astype(np.uint8))[0]])


def _score(solid: np.ndarray, turns: Sequence[int], options: Options) -> float | None:
    """The score in mm of a head that looks along the second axis; None where nothing is as wide as a head."""
    from scipy import ndimage

    scores = []
    for angle in turns:
        turned = solid if angle == 0 else ndimage.rotate(solid, angle, axes=(0, 1), order=1)
        body = turned >= 0.5
        rows = _head_rows(body, options)
        if np.count_nonzero(rows) * options.step < options.tall:
            continue
        first, middle, last = _window(body, rows, options)
        depth = _depth(turned)
        depth[:, ~rows] = np.nan
        # closed before the window is cut out, for at an edge it would bend what is straight
        scores.append(_nose(_closed(depth, options)[first : last + 1], middle - first, options))
        if angle == 0:  # looked at askance, the edge of a cut is a hollow, too
            scores.append(_eyes(depth[first : last + 1], middle - first, options))
    return max(scores) * options.step if scores else None


def _otsu(grid: np.ndarray) -> float:
    """The threshold with the greatest variance between what is below and above it."""
    low, high = np.percentile(grid, [0.5, 99.5])
    counts, edges = np.histogram(np.clip(grid, low, high), 256)
    centres, below = (edges[1:] + edges[:-1]) / 2, np.cumsum(counts)
    above, summed = counts.sum() - below, np.cumsum(counts * centres)
    with np.errstate(invalid="ignore", divide="ignore"):
        between = below * above * (summed / below - (summed[-1] - summed) / above) ** 2
    return float(centres[np.nan_to_num(between).argmax()])


def _head_rows(body: np.ndarray, options: Options) -> np.ndarray:
    """Rows, bool (Z,), in which the body is as wide as a head."""
    seen = np.asarray(body.any(1))
    widths = np.where(seen.any(0), len(seen) - seen.argmax(0) - seen[::-1].argmax(0), 0) * options.step
    return np.asarray((widths >= options.narrow) & (widths <= options.wide))


def _depth(solid: np.ndarray) -> np.ndarray:
    """Depth of the frontal surface in steps, float (X, Z); NaN where there is none."""
    body = solid >= 0.5
    last = body.shape[1] - 1 - body[:, ::-1].argmax(1)
    before = np.take_along_axis(solid, last[:, None], 1)[:, 0]
    after = np.take_along_axis(solid, np.minimum(last + 1, body.shape[1] - 1)[:, None], 1)[:, 0]
    between = np.clip((before - 0.5) / np.maximum(before - after, 1e-6), 0, 1)
    return np.where(body.any(1), last + between, np.nan)


def _window(body: np.ndarray, rows: np.ndarray, options: Options) -> tuple[int, int, int]:
    """First column, midline and last column of what is looked at."""
    seen = np.asarray(body.any(1))[:, rows]
    middle = round(float(np.median((seen.argmax(0) + len(seen) - 1 - seen[::-1].argmax(0)) / 2)))
    reach = round(options.half / options.step)
    return max(0, middle - reach), middle, min(len(seen) - 1, middle + reach)


def _closed(depth: np.ndarray, options: Options) -> np.ndarray:
    """The surface with pits closed that a disk of radius `pit` does not fit into."""
    from scipy import ndimage

    reach = round(options.pit / options.step)
    disk = np.hypot(*np.mgrid[-reach : reach + 1, -reach : reach + 1]) <= reach
    closed = ndimage.grey_closing(np.nan_to_num(depth, nan=-1e3), footprint=disk, mode="nearest")
    return np.where(np.isnan(depth), np.nan, closed)


def _nose(closed: np.ndarray, middle: int, options: Options) -> float:
    """How far a ridge stands out on the midline, in steps, over a band `tall`."""
    from scipy import ndimage

    gaps = [_gap(row) for row in closed.T]
    relief = [min(gap[:middle].max(initial=0), gap[middle + 1 :].max(initial=0)) for gap in gaps]
    held = ndimage.minimum_filter1d(relief, max(1, round(options.tall / options.step)), mode="constant")
    return float(held.max())


def _eyes(depth: np.ndarray, middle: int, options: Options) -> float:
    """How deep two hollows lie beside the midline at one height, in steps."""
    from scipy import ndimage

    near, far = round(options.near / options.step), round(options.far / options.step)
    sides = [
        range(max(0, middle - far), middle - near + 1),
        range(middle + near, min(len(depth) - 1, middle + far) + 1),
    ]
    count = round(options.span / options.step)
    hollows = []
    for side in sides:
        found = np.array([_hollows(depth[x], count, options.slope) for x in side]).reshape(len(side), depth.shape[1])
        # brow and eye need not be at one height in all columns to the millimetre
        hollows.append(np.median(ndimage.maximum_filter1d(found, 5, axis=1), axis=0) if len(side) else np.zeros(1))
    return float(np.minimum(*hollows).max())


def _hollows(column: np.ndarray, count: int, slope: float) -> np.ndarray:
    """For each row the depth of a hollow whose deepest point it is in some stretch of `count` rows without a jump."""
    found = np.zeros(len(column))
    for start in range(0, len(column) - count + 1, 2):
        stretch = column[start : start + count]
        if np.abs(np.diff(stretch)).max() <= slope:  # False, too, where there is no surface
            gap = _gap(stretch)
            deepest = int(gap.argmax())
            found[start + deepest] = max(found[start + deepest], gap[deepest])
    return found


def _gap(line: np.ndarray) -> np.ndarray:
    """How far each point stays behind the least concave curve above all; 0 where there is none."""
    known = np.flatnonzero(~np.isnan(line))
    hull: list[int] = []
    for x in map(int, known):
        while len(hull) > 1 and _is_below(line, hull[-2], hull[-1], x):
            hull.pop()
        hull.append(x)
    gap = np.zeros(len(line))
    if hull:
        gap[known] = np.interp(known, hull, line[hull]) - line[known]
    return gap


def _is_below(line: np.ndarray, a: int, b: int, c: int) -> bool:
    """Whether the point at b is on or below the line from a to c."""
    return bool((line[b] - line[a]) * (c - a) <= (line[c] - line[a]) * (b - a))


def _cut_off(body: np.ndarray, options: Options) -> bool:
    """Whether a tenth of the frontal surface of any band `tall` lies on the front wall of the volume."""
    from scipy import ndimage

    if not (rows := _head_rows(body, options)).any():
        return False
    first, _, last = _window(body, rows, options)
    touching = np.where(rows, body[first : last + 1, -1].mean(0), 0.0)
    band = max(1, round(options.tall / options.step))
    return bool(ndimage.uniform_filter1d(touching, band, mode="constant").max() > 0.1)


def _picture(solid: np.ndarray) -> bytes:
    """The surface from the front and from the patient's right, lit from above, as PNG; 3 pixels a step."""
    import io

    from PIL import Image
    from scipy import ndimage

    views = []
    for turned in (solid[::-1], solid.transpose(1, 0, 2)):  # the patient's right is on the left, as one faces it
        depth, seen = _depth(turned), (turned >= 0.5).any(1)
        ground = np.nanmin(depth) - 20 if seen.any() else 0.0
        smooth = ndimage.gaussian_filter(ndimage.zoom(np.nan_to_num(depth, nan=ground), 3, order=1), 2) * 3
        dx, dz = np.gradient(smooth)
        light = np.clip((0.8 - 0.5 * dz + 0.2 * dx) / np.sqrt(1 + dx**2 + dz**2), 0, 1)
        shown = ndimage.zoom(seen.astype(np.uint8), 3, order=0)
        views.append((light * shown * 255).astype(np.uint8).T[::-1])
    out = io.BytesIO()
    Image.fromarray(np.hstack(views)).save(out, "PNG")
    return out.getvalue()
