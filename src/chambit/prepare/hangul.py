"""Hangul in crops of images, read by Tesseract where it is installed with its Korean model; optional everywhere.

`chambit.prepare.ocr` finds Hangul as boxes and does not read it. Boxes suffice to redact; reading lets a burned-in name
be told as the name in the file's header. Tesseract 5 (Apache-2.0) runs inside the process by `tesserocr`, offline, on
one line of text, which is made dark on bright and 36 pixels high: the size its networks were taught near.

    two names are one:  d(a, b) / max(|a|, |b|) <= 0.25,  d the edit distance on jamo (the letters of the syllables)

A syllable is two or three jamo (Unicode 15.0, chapter 3.12), and a reader that errs mostly errs in one of them: a name
of three syllables may differ in two jamo. A name of two syllables must be read letter for letter.

Known failures: at 10 pixels and a contrast of 60 of 255 nothing is read, at 120 less than half of the names; vertical
Hangul and Hanja are not read.
"""

import importlib.util
import os
import re
import unicodedata
from collections.abc import Collection, Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image as Picture

from chambit.prepare import strings

MODEL = "kor.traineddata"
FOLDERS = (
    "/usr/share/tesseract-ocr/5/tessdata",
    "/usr/share/tesseract-ocr/4.00/tessdata",
    "/usr/share/tessdata",
    "/usr/share/tesseract/tessdata",
    "/usr/local/share/tessdata",
)
"""Where Debian, Fedora, Arch and a build by hand put the models."""

REMEDY = "pip install 'chambit[hangul]', and Debian's package tesseract-ocr-kor or TESSDATA_PREFIX=<folder of models>"
NEAR = 0.25
_LINE, _PAD = 36, 10
_SYLLABLES = re.compile(r"[가-힣]+")


class Reading(NamedTuple):
    """What was read, and Tesseract's own mean confidence, 0 to 1."""

    text: str
    confidence: float


def missing() -> str:
    """Why Hangul cannot be read here, with the remedy; "" when it can."""
    if importlib.util.find_spec("tesserocr") is None:
        return f"Hangul is found but not read: the package tesserocr is not installed ({REMEDY})."
    if folder() is None:
        return f"Hangul is found but not read: {MODEL} is in no folder of Tesseract ({REMEDY})."
    return ""


def folder() -> Path | None:
    """The folder that holds the Korean model: `TESSDATA_PREFIX` (or `tessdata` in it) first, then the usual places."""
    told = os.environ.get("TESSDATA_PREFIX", "")
    asked = (Path(told), Path(told) / "tessdata") if told else ()
    return next((place for place in (*asked, *map(Path, FOLDERS)) if (place / MODEL).is_file()), None)


def read(crop: np.ndarray) -> Reading:
    """The line of text in a crop, in the polarity that is read more surely; only where `missing()` is "".

    Args:
        crop: uint8 (h, w), one line of text from left to right with a margin around it.
    """
    where = folder()
    if where is None or min(crop.shape) < 3:
        return Reading("", 0.0)
    size = (max(8, round(crop.shape[1] * _LINE / crop.shape[0])), _LINE)
    line = np.asarray(Picture.fromarray(crop).resize(size, Picture.Resampling.BICUBIC))
    dark = bool(np.median(line) < (int(line.min()) + int(line.max())) / 2)
    readings = []
    for tone in (255 - line, line) if dark else (line, 255 - line):
        readings.append(_recognise(np.pad(tone, _PAD, mode="edge"), str(where)))
        if readings[-1].confidence >= 0.9:
            break
    return max(readings, key=lambda reading: reading.confidence)


def names(known: Collection[str]) -> frozenset[str]:
    """Hangul names in known strings, two syllables or more, as one word each.

    >>> sorted(names(['Hong^Gildong=洪^吉洞=홍^길동', 'P000123', '김 민수']))
    ['김민수', '홍길동']
    """
    out = set()
    for string in known:
        for part in unicodedata.normalize("NFC", string).split("="):
            word = "".join(_SYLLABLES.findall(part))
            if len(word) >= 2:
                out.add(word)
    return frozenset(out)


def find(text: str, wanted: Collection[str]) -> Iterator[tuple[int, int]]:
    """Yield (start, end) where a text reads like one of the names; spaces between syllables do not count.

    >>> list(find('등록번호 홍길등', {'홍길동'})), list(find('홍길동', {'김민수'}))
    ([(5, 8)], [])
    """
    plain = unicodedata.normalize("NFC", text)
    places = [m.start() for m in re.finditer("[가-힣]", plain)]
    syllables = "".join(plain[k] for k in places)
    for name in sorted(wanted):
        for first in range(len(syllables) - len(name) + 1):
            if same(syllables[first : first + len(name)], name):
                yield places[first], places[first + len(name) - 1] + 1


def same(one: str, other: str) -> bool:
    """Whether two readings of syllables are one name.

    >>> same('동길동', '홍길동'), same('김민수', '홍길동'), same('이영', '이염')
    (True, False, False)
    """
    if min(len(one), len(other)) < 3:
        return one == other
    a, b = unicodedata.normalize("NFD", one), unicodedata.normalize("NFD", other)
    apart = int(strings.distances(a, np.array([[ord(c) for c in b]], np.int32))[0])
    return apart <= NEAR * max(len(a), len(b))


def _recognise(line: np.ndarray, where: str) -> Reading:
    engine = _engine(where)
    engine.SetImage(Picture.fromarray(line))
    text = engine.GetUTF8Text().strip()
    return Reading(unicodedata.normalize("NFC", text), engine.MeanTextConf() / 100 if text else 0.0)


@cache
def _engine(where: str) -> Any:
    tesserocr = importlib.import_module("tesserocr")  # optional, without type stubs
    return tesserocr.PyTessBaseAPI(path=f"{where}/", lang="kor", psm=tesserocr.PSM.SINGLE_LINE)
