"""Films (MP4, MOV, AVI, MKV, MPEG, WMV), read with PyAV: each frame as luminance; sound is left alone.

Luminance is what the film itself codes, brought to the whole range where it was coded in the range of television (16 to
235). Eight bits stay uint8, more become uint16. Known failures: colour is lost without a word but `luminance` in
`Image.shown`; a turn that the container asks for is not applied; a Matroska film that was cut off ends early, because
nothing in it says how long it was.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from chambit.core.errors import InputError
from chambit.images.image import Image
from chambit.images.readers import refusal, wanted

version = "1"
SUFFIXES = (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv")
_AGAIN = "export it again, for example as MP4"
_STARTS = (
    b"\x1a\x45\xdf\xa3",  # Matroska and WebM
    b"\x00\x00\x01\xba",  # MPEG program stream
    b"\x00\x00\x01\xb3",  # MPEG video
    b"\x30\x26\xb2\x75\x8e\x66\xcf\x11",  # ASF: WMV
)
_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")  # ISO/IEC 14496-12: what a file may begin with
_STILL = (b"heic", b"heix", b"mif1", b"msf1", b"avif", b"crx ")  # brands of single pictures in the same container


def recognises(path: Path, head: bytes) -> bool:
    """Whether it begins as one of the containers does; the name does not count."""
    if head[4:8] in _BOXES:
        return head[8:12] not in _STILL
    return head.startswith(_STARTS) or (head[:4] == b"RIFF" and head[8:12] == b"AVI ")


def frames(path: Path) -> int:
    """How many pictures are packed in the film; none is decoded.

    Raises:
        InputError: when it holds no film, is cut off, or PyAV is not installed.
    """
    with _opened(path) as container:
        said = int(container.streams.video[0].frames)
        count = sum(1 for packet in container.demux(video=0) if packet.size)
    if count < said or count == 0:
        raise refusal(path, f"damaged or truncated: {count} of {said} frames are there", _AGAIN)
    return count


def read(path: Path, part: str = "") -> Iterator[tuple[str, Image]]:
    """Yield ("0", image), ("1", image), ... in the order they are shown, ("", image) for a single one; `part` picks.

    Raises:
        InputError: as `frames`, and when a frame cannot be decoded.
    """
    count = frames(path)
    numbers = wanted(path, part, count)
    given = 0
    with _opened(path) as container:
        for number, frame in enumerate(container.decode(video=0)):
            if number >= numbers.stop:
                break
            if number in numbers:
                given += 1
                yield "" if count == 1 else str(number), _image(frame)
    if not given:
        raise refusal(path, "damaged: no frame can be decoded", _AGAIN)


def _image(frame: Any) -> Image:
    deep = any(component.bits > 8 for component in frame.format.components)
    pixels = np.asarray(frame.to_ndarray(format="gray16le" if deep else "gray"))
    return Image(pixels.astype(np.uint16 if deep else np.uint8), 65535 if deep else 255, shown="whole range, luminance")


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """The container; whatever PyAV makes of a damaged film becomes a refusal without its words."""
    try:
        import av
    except ImportError:
        raise refusal(path, "a film, and nothing here reads films", "pip install 'chambit[video]'") from None
    av.logging.set_level(None)  # what FFmpeg says can quote titles and names in the film
    try:
        with av.open(str(path), metadata_errors="ignore") as container:
            if not container.streams.video:
                raise refusal(path, "holds no film: it was cut off, or has sound alone", _AGAIN)
            yield container
    except InputError:
        raise
    except (av.FFmpegError, ValueError, IndexError) as error:
        what = f"damaged or truncated: it cannot be decoded ({type(error).__name__})"
        raise refusal(path, what, _AGAIN) from None
