"""Where text stands in frames, and what it says: several sizes, upright and turned, every colour channel, every frame.

The detector (`chambit.prepare.ocr`) knows letters of about 10 to 150 pixels. So an image is looked at in a pyramid of
sizes, and in every size but the finest also turned by a quarter. Boxes of several looks that share more than half of
the larger one's area are one box, the hull of both. Each choice was tried on 240 texts of 10 to 28 pixels in phantoms
of 512: one look at the image's own size covered 228 of them, twice the size 231, both 232, these and the turned looks
233; both polarities instead of one changed nothing, and the half size 234 at false alarms on ten of twelve phantoms.
An upright look alone covered 228 texts that were turned by a quarter.

Two colours that differ, differ in a channel: a frame whose channels are unlike is looked at channel by channel, so no
pair of colours of equal brightness hides a text.

Frames after the first are looked at where they changed. A box of the frame before whose pixels are all equal is
carried over; every other pixel that changed, and every box that it touches, is looked at again with `CONTEXT` pixels
around it. Nothing is skipped because it is similar.

Known failures: curved text, handwriting, letters below 8 pixels.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image as Picture
from scipy import ndimage

from chambit.prepare import hangul, ocr
from chambit.prepare.burned.settings import Options

CONTEXT = 64  # pixels around what changed: a line of text is boxed whole only with some ground around it
CELL = 16  # changed pixels are gathered in squares of this side
GREY = 8  # channels that differ by no more are those of a grey picture after lossy compression: no legible contrast
Rectangle = tuple[int, int, int, int]
_WHOLE = 0.5  # where more of the frame than this would be looked at, all of it is


class Found(NamedTuple):
    """A box with what was read in it: by the recogniser of Latin and Chinese letters, and by that of Hangul or ""."""

    box: ocr.Box
    hangul: str = ""


def over_frames(frames: np.ndarray, options: Options) -> list[list[Found]]:
    """The boxes of every frame.

    Args:
        frames: uint8 (F, H, W) brightness as shown, or (F, H, W, 3) colour.
        options: of the search.
    """
    out: list[list[Found]] = []
    for number, frame in enumerate(frames):
        if number == 0:
            out.append(_of_part(frame, (0, 0, frame.shape[1], frame.shape[0]), options))
            continue
        changed = frame != frames[number - 1]
        if changed.ndim == 3:
            changed = changed.any(2)
        out.append(_again(frame, changed, out[-1], options) if changed.any() else out[-1])
    return out


def sizes(height: int, width: int, options: Options) -> list[float]:
    """How many times an image is enlarged or reduced for each look, the largest first.

    >>> sizes(512, 512, Options()), sizes(3000, 2500, Options()), sizes(28, 28, Options())
    ([2.0, 1.0], [1.0, 0.5, 0.25], [3.0, 1.0])
    """
    longest = max(height, width)
    first = 3.0 if longest < ocr.ICON else 2.0 if longest <= options.finest else 1.0
    out = [first] if first == 1 else [first, 1.0]
    while longest * out[-1] > options.coarsest:
        out.append(out[-1] / 2)
    return out


def channels(frame: np.ndarray) -> list[np.ndarray]:
    """Grey pictures uint8 (H, W) in which any text of a frame shows: the frame, or each of its unlike channels."""
    if frame.ndim == 2:
        return [frame]
    apart = int((frame.max(2).astype(np.int16) - frame.min(2)).max())
    if apart <= GREY:
        return [np.ascontiguousarray(frame[..., 1])]
    return [np.ascontiguousarray(frame[..., k]) for k in range(frame.shape[2])]


def places(changed: np.ndarray, touched: Sequence[ocr.Box]) -> list[Rectangle]:
    """Rectangles (x0, y0, x1, y1) that hold all that changed, and all of the touched boxes, with ground around them.

    Args:
        changed: bool (H, W).
        touched: boxes of the frame before in which a pixel changed.
    """
    height, width = changed.shape
    marked = changed.copy()
    for box in touched:
        marked[box.y0 : box.y1, box.x0 : box.x1] = True
    filled = np.pad(marked, ((0, -height % CELL), (0, -width % CELL)))
    cells = filled.reshape(filled.shape[0] // CELL, CELL, filled.shape[1] // CELL, CELL).any((1, 3))
    parts = [
        (
            max(0, columns.start * CELL - CONTEXT),
            max(0, rows.start * CELL - CONTEXT),
            min(width, columns.stop * CELL + CONTEXT),
            min(height, rows.stop * CELL + CONTEXT),
        )
        for rows, columns in ndimage.find_objects(ndimage.label(cells, np.ones((3, 3)))[0])
    ]
    parts = _apart(parts)
    area = sum((x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in parts)
    return [(0, 0, width, height)] if area > _WHOLE * height * width else parts


def one_box(found: Sequence[Found]) -> list[Found]:
    """Boxes of several looks as one where each covers more than half of the other: the hull, and the surest reading."""
    kept: list[Found] = []
    for each in sorted(found, key=lambda f: (-f.box.score, f.box)):
        for place, other in enumerate(kept):
            if 2 * overlap(each.box, other.box) > max(area_of(each.box), area_of(other.box)):
                surest = max(other, each, key=lambda f: f.box.confidence)
                box = ocr.Box(*hull(each.box[:4], other.box[:4]), other.box.score, *surest.box[5:])
                kept[place] = Found(box, other.hangul or each.hangul)
                break
        else:
            kept.append(each)
    return sorted(kept, key=lambda f: (f.box.y0, f.box.x0, f.box))


def overlap(a: ocr.Box, b: ocr.Box) -> int:
    """Pixels that two boxes share."""
    return max(0, min(a.x1, b.x1) - max(a.x0, b.x0)) * max(0, min(a.y1, b.y1) - max(a.y0, b.y0))


def area_of(box: ocr.Box) -> int:
    """Pixels of a box."""
    return (box.x1 - box.x0) * (box.y1 - box.y0)


def hull(a: Rectangle, b: Rectangle) -> Rectangle:
    """The smallest rectangle (x0, y0, x1, y1) that holds two."""
    return min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3])


def _apart(parts: Sequence[Rectangle]) -> list[Rectangle]:
    """Rectangles that share no pixel: those that do become their hull."""
    out: list[Rectangle] = []
    for part in parts:
        now = part
        while near := [o for o in out if now[0] < o[2] and o[0] < now[2] and now[1] < o[3] and o[1] < now[3]]:
            for other in near:
                out.remove(other)
                now = hull(now, other)
        out.append(now)
    return out


def _again(frame: np.ndarray, changed: np.ndarray, before: Sequence[Found], options: Options) -> list[Found]:
    """The boxes of a frame, of which only what changed is looked at."""
    same = [f for f in before if not changed[f.box.y0 : f.box.y1, f.box.x0 : f.box.x1].any()]
    touched = [f.box for f in before if f not in same]
    return one_box([*same, *(f for part in places(changed, touched) for f in _of_part(frame, part, options))])


def _of_part(frame: np.ndarray, part: Rectangle, options: Options) -> list[Found]:
    """The boxes of a part (x0, y0, x1, y1) of a frame, in pixels of the frame."""
    x0, y0, x1, y1 = part
    looks = sizes(frame.shape[0], frame.shape[1], options)
    found = []
    for grey in channels(frame[y0:y1, x0:x1]):
        regions = one_box([Found(ocr.Box(*r.box, r.score, "", 0.0)) for r in _regions(grey, looks, options)])
        found += [_read(grey, each.box, options) for each in regions]
    shifted = [
        f._replace(box=f.box._replace(x0=f.box.x0 + x0, y0=f.box.y0 + y0, x1=f.box.x1 + x0, y1=f.box.y1 + y0))
        for f in found
    ]
    return one_box(shifted)


def _regions(grey: np.ndarray, looks: Sequence[float], options: Options) -> Iterator[ocr.Region]:
    if grey.min() == grey.max():
        return
    turned = set(looks[1:] or looks) if options.turned else set()
    for times in looks:
        view = _resized(grey, times)
        for turn in (0, 1) if times in turned else (0,):
            likely = ocr.text_probability(np.ascontiguousarray(np.rot90(view, turn)))
            yield from ocr.regions(np.rot90(likely, -turn), grey.shape, options.weakest)


def _resized(grey: np.ndarray, times: float) -> np.ndarray:
    if times == 1:
        return grey
    size = (max(8, round(grey.shape[1] * times)), max(8, round(grey.shape[0] * times)))
    # BOX would alias thin strokes away at a quarter; LANCZOS keeps them when it reduces
    kind = Picture.Resampling.BICUBIC if times > 1 else Picture.Resampling.LANCZOS
    return np.asarray(Picture.fromarray(grey).resize(size, kind))


def _read(grey: np.ndarray, box: ocr.Box, options: Options) -> Found:
    read = ocr.read(grey, box[:4], box.score)
    # a character beyond ASCII is no reading of this network that tells anything: syllables become Hanja
    sure = read.confidence >= options.believed and read.text.isascii()
    if not options.hangul or sure or hangul.missing():
        return Found(read)
    return Found(read, hangul.read(np.ascontiguousarray(grey[box.y0 : box.y1, box.x0 : box.x1])).text)
