"""Recall of the search for burned-in text on a batch: texts are written into its own images, and looked for.

    recall      share of planted texts of which 90 % of the ink lies in redactions, Clopper-Pearson interval
                (doi:10.1093/biomet/26.4.404)
    clean area  share of the pixels of the images as they are that would be made black

Ink are the pixels that the letters changed by at least a quarter of their contrast: letters have one grey level, and
where the ground has the same they cannot be seen by anybody. A box that misses the thin ends of strokes is still a
hit, one that misses two letters of ten is not. Letters are drawn by `chambit.prepare.lettering`: names in Latin
letters and Hangul, resident numbers and dates, all invented. Heights are those in an image of up to 1,024 pixels; in a
larger one they grow with it, as the consoles that burn text in draw it.

Known failures: one sans-serif typeface of one grey level is planted, so other typefaces, coloured, outlined or
handwritten letters may be found more seldom. Texts that were in the images before count to the area that would be made
black; on images with text of their own it bounds the clean area lost from above.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

from chambit.prepare import lettering
from chambit.prepare.burned.ground import covered
from chambit.prepare.burned.looking import look
from chambit.prepare.burned.settings import Options
from chambit.prepare.lettering import Plant, Wanted

HEIGHTS = (10, 14, 20, 28)
CONTRASTS = (60, 120, 200)
SCRIPTS = {
    "latin": ("HONG GILDONG", "KIM MINSU", "PARK JIWON", "KIM"),
    "resident number": ("900101-1234568", "900101-1", "900101"),
    "date": ("2024-03-15", "1990.01.01", "15/03/2024", "20240315", "24.03.15"),
    "hangul": ("등록번호 홍길동", "홍길동", "김민수", "박서연", "이영"),
}
INK = 0.9
NOMINAL = 1024  # longer side up to which heights are as told


class Cell(NamedTuple):
    """Recall of planted text of one height, contrast and script.

    Attributes:
        height: of the ink, pixels in an image of up to 1,024.
        contrast: grey levels of 255.
        script: a key of `SCRIPTS`.
        planted, found: texts.
        queued: texts not found, but covered when the boxes for a person are counted, too.
        low, high: limits of the share found.
    """

    height: int
    contrast: int
    script: str
    planted: int
    found: int
    queued: int
    low: float
    high: float


class Recall(NamedTuple):
    """What the search finds in a batch, and what it takes from images as they are.

    Attributes:
        cells: by height, contrast and script; one whose texts fit into no image is absent.
        images: images that were looked at as they are.
        area: pixels of those. black: how many of them would be made black. touched: images with any such pixel.
        level: of the intervals.
    """

    cells: tuple[Cell, ...]
    images: int
    area: int
    black: int
    touched: int
    level: float

    @property
    def false_area(self) -> float:
        """Share of pixels of images as they are that would be made black."""
        return self.black / self.area if self.area else float("nan")

    def share(self, **only: object) -> tuple[int, int, float, float]:
        """Found, planted and limits over the cells with these values, e.g. `share(height=14, contrast=120)`."""
        some = [cell for cell in self.cells if all(getattr(cell, key) == value for key, value in only.items())]
        found, planted = sum(cell.found for cell in some), sum(cell.planted for cell in some)
        return found, planted, *limits(found, planted, self.level)


def recall(
    images: Sequence[np.ndarray],
    options: Options,
    rng: np.random.Generator,
    *,
    each: int = 5,
    clean: int = 20,
    heights: Sequence[int] = HEIGHTS,
    contrasts: Sequence[int] = CONTRASTS,
    level: float = 0.95,
) -> Recall:
    """Plant text into copies of a batch's own images and look for it.

    Args:
        images: of the batch, uint8 (H, W) or (H, W, 3), of any sizes; a frame of each file will do.
        options: as for `look`; markers and identifiers are planted alike, so `redact` should be `all`.
        rng: chooses images, places, words and polarity.
        each: texts for each height, contrast and script.
        clean: images looked at as they are.
        heights: of the ink in pixels.
        contrasts: in grey levels of 255.
        level: of the intervals.
    """
    wanted = [
        Wanted(height, contrast / 255, script, words)
        for height in heights
        for contrast in contrasts
        for script, words in SCRIPTS.items()
        for _ in range(each)
    ]
    tally: dict[tuple[int, int, str], list[tuple[bool, bool]]] = {}
    for picture, plants, inks in _planted(images, wanted, rng):
        black, queued = _looked(picture, options)
        for (height, plant), ink in zip(plants, inks, strict=True):
            hit = ink_in(plant, ink, black) >= INK
            seen = not hit and ink_in(plant, ink, black | queued) >= INK
            tally.setdefault((height, round(plant.contrast * 255), plant.script), []).append((hit, seen))
    cells = []
    for key, hits in sorted(tally.items()):
        found = sum(hit for hit, _ in hits)
        cells.append(Cell(*key, len(hits), found, sum(seen for _, seen in hits), *limits(found, len(hits), level)))
    chosen = np.sort(rng.permutation(len(images))[:clean])
    black_pixels = [_looked(images[k], options)[0] for k in chosen]
    return Recall(
        tuple(cells),
        len(black_pixels),
        sum(mask.size for mask in black_pixels),
        sum(int(mask.sum()) for mask in black_pixels),
        sum(bool(mask.any()) for mask in black_pixels),
        level,
    )


def ink_in(plant: Plant, ink: np.ndarray, mask: np.ndarray) -> float:
    """Share of a text's ink, bool (h, w) of its place, that lies in a mask bool (H, W) of the picture."""
    inside = ink & mask[plant.y0 : plant.y1, plant.x0 : plant.x1]
    return float(inside.sum() / ink.sum()) if ink.any() else 1.0


def limits(found: int, of: int, level: float) -> tuple[float, float]:
    """Exact limits of a share (Clopper and Pearson 1934).

    >>> [round(limit, 4) for limit in limits(19, 20, 0.95)]
    [0.7513, 0.9987]
    """
    if of == 0:
        return 0.0, 1.0
    exact = stats.binomtest(found, of).proportion_ci(level, "exact")
    return float(exact.low), float(exact.high)


def _planted(
    images: Sequence[np.ndarray], wanted: Sequence[Wanted], rng: np.random.Generator
) -> Iterator[tuple[np.ndarray, list[tuple[int, Plant]], list[np.ndarray]]]:
    """Pictures with texts in them, the height that each was asked for and the text, and its ink, bool (h, w)."""
    left = [wanted[k] for k in rng.permutation(len(wanted))]
    for _ in range(2 * len(wanted) if len(images) else 0):
        image = images[int(rng.integers(len(images)))]
        factor = max(1.0, max(image.shape[:2]) / NOMINAL)
        grey = image if image.ndim == 2 else np.round(image.mean(2)).astype(np.uint8)
        fitting = [
            want
            for want in left
            if lettering.fits(grey.shape[0], grey.shape[1], want.words, round(want.height * factor))
        ]
        # as many as `lettering.plant` puts into one image of the nominal size
        now = fitting[: int(np.clip(grey.size // factor**2 // 128**2, 1, 12))]
        if not now:
            continue
        left = [want for want in left if not any(want is other for other in now)]
        grown = {round(want.height * factor): want.height for want in now}
        asked = [want._replace(height=round(want.height * factor)) for want in now]
        made, plants = lettering.plant(grey[None], asked, rng)
        for number, picture in enumerate(made):
            change = np.abs(picture.astype(np.int16) - grey)
            mine = [(grown[plant.height], plant) for plant in plants if plant.image == number]
            inks = [change[p.y0 : p.y1, p.x0 : p.x1] >= 255 * p.contrast / 4 for _, p in mine]
            yield _in_colour(image, grey, picture), mine, inks


def _in_colour(image: np.ndarray, grey: np.ndarray, planted: np.ndarray) -> np.ndarray:
    """The image with the texts of its grey copy in all its channels."""
    if image.ndim == 2:
        return planted
    change = planted.astype(np.int16) - grey
    return np.asarray(np.clip(image.astype(np.int16) + change[..., None], 0, 255), np.uint8)


def _looked(picture: np.ndarray, options: Options) -> tuple[np.ndarray, np.ndarray]:
    """Pixels of a picture that are made black, and those queued for a person, bool (H, W) each."""
    looked = look(picture[None], (), options)
    shape = (1, *picture.shape[:2])
    return covered(shape, looked.redactions)[0], covered(shape, looked.doubtful)[0]
