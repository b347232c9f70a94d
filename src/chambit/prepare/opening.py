"""Open one file and take the images out of it that the rules ask for, one at a time.

A file holds one image or several: frames of a film, pages, slices of a volume, tiles of a slide. Which of them are
taken is a rule of the cohort, never a guess; without one a file with several is refused, and the remedy names the key.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from types import ModuleType
from typing import Literal, NamedTuple

import numpy as np

from chambit.images import readers
from chambit.images.image import Image
from chambit.prepare.listing import Entry

Frames = Literal["refuse", "first", "middle", "all"]
Colour = Literal["refuse", "grey", "keep"]
_SEVERAL = (
    "set `frames` of the cohort's files to first, middle or all, or save the one that is meant as a file of its own"
)
_ONE_MASK = "take one frame (`frames: first` or `middle`), or clear the mask"


@dataclass(frozen=True)
class Rules:
    """What accepted images must be.

    Attributes:
        size: rows and columns of the result. None takes the most common size of the first 64 readable files;
            where its longer side is above 128 pixels, all are reduced alike so that it is 128.
        resize: whether images of another size are resized (averaged over the area) or refused. Proportions
            are not kept when they differ.
        frames: what is taken of a file with several images: nothing (the file is refused), the first, the one in
            the middle, or all. All frames of a file belong to one subject.
        colour: whether coloured images are refused, become grey by their luminance (ITU-R BT.601), or stay coloured;
            in a coloured cohort grey images get three equal channels.
    """

    size: tuple[int, int] | None = None
    resize: bool = False
    frames: Frames = "refuse"
    colour: Colour = "refuse"


class Opened(NamedTuple):
    """One image of a file.

    Attributes:
        name: the file's, with the number of the frame in a file with several: `film.dcm[3]`, zero-based.
        frame: that number, or "" for the only image of a file.
        image: the image.
        sixteen: whether it is of a raster file with 16 bits, which may have been written with fewer.
    """

    name: str
    frame: str
    image: Image
    sixteen: bool


def images(entry: Entry, stacks: Mapping[str, np.ndarray], rules: Rules) -> Iterator[Opened]:
    """Yield the images of one entry that the rules ask for.

    Args:
        entry: a file, or an image of an .npz.
        stacks: the images of an .npz by part, uint8 (N, H, W) or (N, H, W, 3).
        rules: which frames are taken, and what becomes of colour.

    Raises:
        InputError: when the file is refused; also in the midst of a film, when it turns out to be damaged there.
    """
    if entry.index >= 0:
        found = Opened(entry.name, "", Image(np.array(stacks[entry.part][entry.index]), 255), False)
        yield _coloured(found, rules)
        return
    name, reader = readers.find(entry.path)
    if name == "npz":
        remedy = "name the .npz itself as the source of a study"
        raise readers.refusal(entry.path, "an archive of many images inside a folder", remedy)
    for frame, image in _chosen(entry, reader, rules):
        sixteen = name == "raster" and image.white == 65535
        called = f"{entry.name}[{frame}]" if frame else entry.name
        yield _coloured(Opened(called, frame, image, sixteen), rules)


def _chosen(entry: Entry, reader: ModuleType, rules: Rules) -> Iterator[tuple[str, Image]]:
    """The frames that are taken, each with its number, or the only image of a file with the name ""."""
    stream = iter(reader.read(entry.path))
    first = next(stream)
    if not first[0]:  # one image, as nearly all files have: the file was opened once
        return iter([first])
    count = readers.frames(entry.path, reader)
    if rules.frames == "refuse":
        raise readers.refusal(entry.path, f"holds {count} frames", _SEVERAL)
    if rules.frames == "first":
        return iter([first])
    if rules.frames == "middle":
        return iter(reader.read(entry.path, str(count // 2)))
    if entry.fields.get("mask"):
        raise readers.refusal(entry.path, f"holds {count} frames, but one mask is named for it", _ONE_MASK)
    return chain([first], stream)


def _coloured(found: Opened, rules: Rules) -> Opened:
    return found._replace(image=found.image.luminance()) if rules.colour == "grey" else found
