"""Text in pixels (optical character recognition): where text stands in grey images, and what it says.

PP-OCRv6 "small" (PaddleOCR, Apache-2.0), the two networks that ship inside the wheel `rapidocr`, run by onnxruntime in
one thread. The detector gives each pixel a probability of text; connected pixels above 0.3 are a box, and its score is
their mean. Each image is one item of the network's batch, so a result depends on no other image: on one canvas the
network's global pooling would mix them, and texts of neighbours grow together. Images are inverted and enlarged before.
Tried on radiographs of 64 pixels with few texts a cell: inverting gave fewer false alarms at the same recall, repeated
borders found more than reflected ones, three times found little more than twice and costs twice as much. Images below
48 pixels are enlarged three times; four times doubles their false alarms. Turned images are not tried: upside down text
is found as well as upright, text turned by a quarter somewhat less (0.90 instead of 0.97 at 64 pixels).

The outline of both lungs looks like one large character to the detector. A box that spans more than half the image in
both directions counts only where it is read with confidence.

Known failures: Hangul is found as a box but not read (this network has no Hangul among its 18,708 characters); text
lower than 8 pixels, at a contrast below 0.3, or curved is often missed. The measure `text` reports recall on every run.
"""

import importlib.util
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image as Picture
from scipy import ndimage

DETECTOR, RECOGNISER = "PP-OCRv6_det_small.onnx", "PP-OCRv6_rec_small.onnx"
PACKAGES = ("onnxruntime", "rapidocr", "pylopdf_fonts_ko")
REMEDY = "pip install 'chambit[ocr]'"
TEXT, SCORE, SURE = 0.3, 0.5, 0.9
UNCLIP = 1.6  # the network is taught regions that are shrunk; they are widened by area x 1.6 / perimeter
LINE = 48  # height of a line of text the recogniser was taught with
WIDTH = 32  # fewest columns; it was taught with 320, but reads a short line alone as well and in half the time
LOWEST = 5  # pixels of the image below which a box is no legible text, unless it is read with confidence
ICON = 48
LARGE = 1024  # an image longer than this after enlarging is not enlarged; longer than this, it is cut in pieces
_PAD, _OVERLAP, _BUDGET = 16, 128, 600_000


class Box(NamedTuple):
    """Where text stands.

    Attributes:
        x0, y0, x1, y1: in pixels of the image, x to the right and y down, [x0, x1) and [y0, y1).
        score: the detector's mean probability, 0.5 to 1.
        text: what the recogniser reads; may be nonsense, for Hangul always is.
        confidence: mean probability of the characters read, 0 to 1; 0 where nothing was read.
    """

    x0: int
    y0: int
    x1: int
    y1: int
    score: float
    text: str
    confidence: float


def missing() -> str:
    """Which packages of the extra `ocr` are not installed, with the remedy; "" when all are."""
    lacking = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if not lacking and not all(model(name).is_file() for name in (DETECTOR, RECOGNISER)):
        lacking = ["the models of rapidocr 3.10"]
    return f"Text recognition is not installed ({', '.join(lacking)}): {REMEDY}" if lacking else ""


def find(images: np.ndarray) -> list[list[Box]]:
    """The texts of each image, top to bottom.

    Args:
        images: uint8 (N, H, W), larger is brighter.

    Returns:
        For each image its boxes; the result for an image does not depend on the others.
    """
    out: list[list[Box]] = []
    for image, likely in zip(images, _probabilities(images), strict=True):
        found = [(read(image, box, score), odd) for box, score, odd in regions(likely, image.shape)]
        # what is no line of text by its size counts only where it is read
        out.append([box for box, odd in found if not odd or (box.confidence >= SURE and len(box.text) > 1)])
    return out


def lines(boxes: Sequence[Box]) -> list[str]:
    """The texts of boxes joined to lines, top to bottom."""
    return [" ".join(box.text for box in line if box.text) for line in by_line(boxes)]


def by_line(boxes: Sequence[Box]) -> list[list[Box]]:
    """Boxes by line, each from left to right: those whose middles lie within each other's height stand in one line."""
    rows: list[list[Box]] = []
    for box in sorted(boxes, key=lambda b: (b.y0 + b.y1, b.x0)):
        middle = (box.y0 + box.y1) / 2
        if rows and rows[-1][-1].y0 <= middle <= rows[-1][-1].y1:
            rows[-1].append(box)
        else:
            rows.append([box])
    return [sorted(row, key=lambda b: b.x0) for row in rows]


def enlargement(height: int, width: int) -> int:
    """How many times an image is enlarged: twice; icons three times; not where that makes it longer than `LARGE`.

    >>> enlargement(28, 28), enlargement(64, 64), enlargement(512, 400), enlargement(1024, 1024)
    (3, 2, 2, 1)
    """
    if max(height, width) < ICON:
        return 3
    return 2 if 2 * max(height, width) <= LARGE else 1


def _probabilities(images: np.ndarray) -> Iterator[np.ndarray]:
    """Probability of text of each image, float32 at the enlarged size."""
    count, height, width = images.shape
    times = enlargement(height, width)
    if max(height, width) * times > LARGE:
        for image in images:
            yield _pieces(image)
        return
    high, wide = height * times, width * times
    batch = max(1, _BUDGET // ((high + 2 * _PAD) * (wide + 2 * _PAD)))
    for first in range(0, count, batch):
        part = images[first : first + batch]
        if times > 1:
            size = (wide, high)
            part = np.stack([np.asarray(Picture.fromarray(i).resize(size, Picture.Resampling.BICUBIC)) for i in part])
        yield from _detect(part)


def text_probability(image: np.ndarray) -> np.ndarray:
    """Probability of text, float32 (H, W), of one image uint8 (H, W) at the size it has; large ones in pieces."""
    return _pieces(image) if max(image.shape) > LARGE else _detect(image[None])[0]


def _pieces(image: np.ndarray) -> np.ndarray:
    """Probability of text of one large image, from overlapping pieces, the larger value where two overlap."""
    out = np.zeros(image.shape, np.float32)
    step = LARGE - _OVERLAP
    for y in range(0, max(1, image.shape[0] - _OVERLAP), step):
        for x in range(0, max(1, image.shape[1] - _OVERLAP), step):
            place = np.s_[y : y + LARGE, x : x + LARGE]
            if image[place].min() == image[place].max():
                continue  # one grey level: collimated borders of radiographs
            out[place] = np.maximum(out[place], _detect(image[place][None])[0])
    return out


def _detect(images: np.ndarray) -> np.ndarray:
    """Probability of text, float32 (N, H, W), of images uint8 (N, H, W); sides are filled up to multiples of 32."""
    _, height, width = images.shape
    below, right = -(height + 2 * _PAD) % 32, -(width + 2 * _PAD) % 32
    filled = np.pad(images, ((0, 0), (_PAD, _PAD + below), (_PAD, _PAD + right)), mode="edge")
    inverted = 1 - filled.astype(np.float32) / np.float32(127.5)
    network = _session(DETECTOR)
    (found,) = network.run(None, {"x": np.repeat(inverted[:, None], 3, axis=1)})
    return np.asarray(found[:, 0, _PAD : _PAD + height, _PAD : _PAD + width])


class Region(NamedTuple):
    """A box (x0, y0, x1, y1) in pixels of the image, its score, and whether its size is not that of a line of text."""

    box: tuple[int, int, int, int]
    score: float
    odd: bool


def regions(probability: np.ndarray, shape: tuple[int, ...], least: float = SCORE) -> Iterator[Region]:
    """Connected pixels with a probability of text above `TEXT`, widened to the letters.

    Args:
        probability: float32 (h, w), of the image at any size.
        shape: height and width of the image, in whose pixels the boxes are given.
        least: score below which a region is left out.
    """
    times = np.array([probability.shape[1] / shape[1], probability.shape[0] / shape[0]])
    labelled, _ = ndimage.label(probability > TEXT, np.ones((3, 3)))
    for number, (rows, columns) in enumerate(ndimage.find_objects(labelled), start=1):
        inside = labelled[rows, columns] == number
        score = float(probability[rows, columns][inside].mean())
        high, wide = inside.shape
        if score < least or min(high, wide) < 3:
            continue
        margin = UNCLIP * high * wide / (2 * (high + wide))
        low = np.floor(np.array([columns.start, rows.start]) - margin) / times
        top = np.ceil(np.array([columns.stop, rows.stop]) + margin) / times
        (x0, y0), (x1, y1) = np.maximum(np.floor(low), 0).astype(int), np.ceil(top).astype(int)
        x1, y1 = min(int(x1), shape[1]), min(int(y1), shape[0])
        whole = 2 * high > probability.shape[0] and 2 * wide > probability.shape[1]
        yield Region((int(x0), int(y0), x1, y1), score, whole or min(x1 - x0, y1 - y0) < LOWEST)


def read(image: np.ndarray, box: tuple[int, int, int, int], score: float) -> Box:
    """What stands in a box: as it is and inverted, along its longer side in both directions; the surest reading.

    Args:
        image: uint8 (H, W).
        box: x0, y0, x1, y1 in pixels of the image.
        score: the detector's, handed on.
    """
    x0, y0, x1, y1 = box
    crop = image[y0:y1, x0:x1]
    quarters = (1, 3) if y1 - y0 > 1.5 * (x1 - x0) else (0, 2)
    best = ("", 0.0)
    for tone in (crop, 255 - crop):
        for k in quarters:
            best = max(best, _recognise(np.ascontiguousarray(np.rot90(tone, k))), key=lambda reading: reading[1])
            if best[1] >= SURE:
                return Box(*box, score, *best)
    return Box(*box, score, *best)


def _recognise(crop: np.ndarray) -> tuple[str, float]:
    """Text and mean confidence of a crop uint8 (h, w): greedy decoding of the network's CTC output."""
    high, wide = crop.shape
    width = int(np.clip(np.ceil(LINE * wide / high), 8, 2400))
    line = Picture.fromarray(crop).resize((width, LINE), Picture.Resampling.BICUBIC)
    batch = np.zeros((1, 3, LINE, max(WIDTH, width)), np.float32)
    batch[..., :width] = np.asarray(line, np.float32) / 127.5 - 1
    (found,) = _session(RECOGNISER).run(None, {"x": batch})
    best = found[0].argmax(1)
    kept = np.flatnonzero((best > 0) & (best != np.concatenate([[0], best[:-1]])))
    sure = float(found[0][kept, best[kept]].mean()) if len(kept) else 0.0
    return "".join(_characters()[k] for k in best[kept]).strip(), sure


@cache
def _session(name: str) -> Any:
    import onnxruntime

    onnxruntime.set_default_logger_severity(4)
    options = onnxruntime.SessionOptions()
    # one thread: a sum split over several rounds otherwise, and a result must not depend on the number of workers
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = False
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(str(model(name)), options, providers=["CPUExecutionProvider"])


@cache
def _characters() -> tuple[str, ...]:
    """The recogniser's classes: 0 is CTC's blank, the last one a space."""
    listed = _session(RECOGNISER).get_modelmeta().custom_metadata_map["character"]
    return ("", *listed.splitlines(), " ")


def model(name: str) -> Path:
    """Where the file of a network lies."""
    # the package itself is not imported: only its model files are used, without its logging and downloads
    spec = importlib.util.find_spec("rapidocr")
    folder = spec.submodule_search_locations[0] if spec and spec.submodule_search_locations else "."
    return Path(folder) / "models" / name
