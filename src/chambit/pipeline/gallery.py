"""Pictures of the dossier: contact sheets, and the closest pairs with the real image laid under the synthetic one."""

from collections.abc import Mapping, Sequence

import numpy as np
from scipy import ndimage

from chambit.images.imageset import ImageSet
from chambit.measure.examination import Heats, Pair
from chambit.report import dossier, heatsheet, pictures, viewer
from chambit.report.films import spread
from chambit.report.viewer import Pixels

SHEET = 40
_AS_IT_IS = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def sheets(sets: Mapping[str, ImageSet]) -> dict[str, bytes]:
    """Contact sheets of holdout and synthetic images, the same number of each class in both, coloured ones in colour.

    Of sequences and volumes the images are spread over all rows of a class, so that one item does not fill the sheet.
    """
    made = {}
    for name, role in (("real", "holdout"), ("synthetic", "synthetic")):
        images = sets[role]
        labels = sorted(set(sets["synthetic"].labels.tolist()))
        share = max(1, SHEET // max(1, len(labels)))
        index = np.concatenate([_some(images, np.flatnonzero(images.labels == label), share) for label in labels])
        if not len(index):
            index = np.arange(min(SHEET, len(images)))
        pixels = tiles(images, index, pictures.LARGEST)
        scale = max(1, round(96 / pixels.shape[2]))
        made[name] = pictures.contact_sheet(pixels, images.labels[index].tolist(), columns=10, scale=scale)
    return made


def _some(images: ImageSet, rows: np.ndarray, count: int) -> np.ndarray:
    return rows[spread(len(rows), count)] if "series" in images.table.columns else rows[:count]


def tiles(images: ImageSet, rows: Sequence[int] | np.ndarray, side: int) -> Pixels:
    """Some images of a set as uint8 (n, h, w[, 3]), reduced until the longer side is at most `side`, block by block."""
    chosen = images.take(np.asarray(rows, np.int64))
    height, width = viewer.fitted(chosen.shape[:2], side)
    out = np.zeros((len(chosen), height, width, *chosen.shape[2:]), np.uint8)
    for at, pixels in chosen.blocks():
        for i, image in zip(at, pixels, strict=True):
            out[i] = viewer.reduced(viewer.eight_bits(image), side)
    return out


def heats(found: Sequence[Heats], sets: Mapping[str, ImageSet]) -> dict[str, bytes]:
    """The sheet of where networks looked in test images, where a measure asked."""
    made = {}
    for one in found:
        images = sets["test"].take(one.rows)
        made["heat"] = heatsheet.heat_sheet(images.grey(), images.masks(), one.real, one.synthetic)
    return made


def pairs(found: Sequence[Pair], sets: Mapping[str, ImageSet]) -> tuple[dossier.Pair, ...]:
    """The pairs that the measures reported, as the dossier shows them."""
    place = {
        role: {name: i for i, name in enumerate(sets[role].table["id"].to_list())} for role in ("train", "synthetic")
    }
    out = []
    for pair in found:
        real = sets["train"].take(np.array([place["train"][pair.real]])).grey()[0]
        synthetic = sets["synthetic"].take(np.array([place["synthetic"][pair.synthetic]])).grey()[0]
        out.append(
            dossier.Pair(
                synthetic_id=pair.synthetic,
                real_id=pair.real,
                score=pair.score,
                p=pair.p,
                flagged=pair.flagged,
                picture=pictures.pair(real, synthetic, laid_under(real, synthetic.shape, pair.turn, pair.affine)),
                detector=pair.detector,
                turn=pair.turn,
            )
        )
    return tuple(out)


def laid_under(
    real: np.ndarray, shape: tuple[int, ...], turn: int, affine: Sequence[float] | None = None
) -> np.ndarray:
    """The real image where it lies under the synthetic one: moved by the map, and turned instead of the synthetic one.

    Args:
        real: float (H, W) in [0, 1].
        shape: of the synthetic image as it would be released, (rows, columns).
        turn: which turn of the synthetic image fits the real one; 8 more where it was inverted.
        affine: see `Pair.affine`; None leaves the real image where it is.

    Returns:
        Float of that shape in [0, 1].

    >>> from chambit.measure.descriptors import turned
    >>> real = np.array([[0.0, 0.25], [0.5, 1.0]])
    >>> laid_under(turned(real[None], 5)[0], (2, 2), 5).tolist()
    [[0.0, 0.25], [0.5, 1.0]]
    >>> laid_under(real, (2, 2), 8).tolist()
    [[1.0, 0.75], [0.5, 0.0]]
    """
    frame = (shape[0], shape[1]) if turn % 2 == 0 else (shape[1], shape[0])
    given = _AS_IT_IS if affine is None else tuple(affine)
    moved = real if real.shape == frame and np.allclose(given, _AS_IT_IS) else _moved(real, frame, given)
    back = np.rot90(moved, -(turn % 4))
    back = back[:, ::-1] if turn % 8 >= 4 else back
    return np.asarray(1 - back if turn >= 8 else back)


def _moved(real: np.ndarray, frame: tuple[int, int], affine: Sequence[float]) -> np.ndarray:
    """The real image sampled at the middle of every pixel of the frame; beyond its border the edge repeats."""
    middles = [(2 * np.arange(length) + 1) / length - 1 for length in frame]
    at = np.stack([*np.meshgrid(*middles, indexing="ij"), np.ones(frame)])
    there = np.tensordot(np.reshape(affine, (2, 3)), at, 1)
    pixels = ((there + 1) * np.reshape(real.shape, (2, 1, 1)) - 1) / 2
    return np.asarray(ndimage.map_coordinates(real, pixels, order=1, mode="nearest"))
