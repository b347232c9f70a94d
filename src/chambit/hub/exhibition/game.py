"""Two pictures, a real and a synthetic one: which is synthetic? For visitors, and no evidence of anything.

It tells the answer at once, so people learn while they play; a reader study does not. Real images are shown only where
they were drawn and show no patient. Both pass through the one path of the reader study, so that nothing but the content
tells them apart. A round follows from its token and a secret of the running hub: nothing is kept.
"""

import hashlib
import io
import secrets
from functools import lru_cache
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from chambit.hub import material
from chambit.hub.catalogue import View
from chambit.hub.exhibition import exhibits
from chambit.hub.refusals import HubError, NotThereError
from chambit.reading.pixels import shown

Side = Literal["left", "right"]
SIDES: tuple[Side, ...] = ("left", "right")
PIXELS = 384
NOTICE = "One of two pictures of a game, real or AI-generated. 진짜 또는 인공지능이 만든 그림, 진단용 아님."
_SECRET = secrets.token_bytes(32)


class Round(NamedTuple):
    """One round: class of both pictures, rows of the real and the synthetic one, and where the synthetic one hangs."""

    label: str
    real: int
    synthetic: int
    side: Side


def token() -> str:
    """The name of a new round."""
    return secrets.token_hex(8)


def of(view: View, name: str) -> Round:
    """The round of a token.

    Raises:
        HubError: when real images of this set may not be shown, or too few are there.
        NotThereError: for what is no token.
    """
    if not exhibits.playable(view):
        raise HubError(
            "원본이 환자의 영상이라 방문자에게 보일 수 없습니다. 이 놀이는 팬텀으로 만든 세트에서만 할 수 있습니다.",
            "The originals show patients and are not for visitors. This game is for sets made from phantoms.",
        )
    if len(name) != 16 or not set(name) <= set("0123456789abcdef"):
        raise NotThereError("그런 문제가 없습니다.", "There is no such round.")
    sets = _sets(view)
    seed = hashlib.sha256(_SECRET + view.study.candidate.encode() + name.encode()).digest()
    rng = np.random.default_rng(list(seed))
    labels = sorted(set(sets.real.labels.tolist()) & set(sets.synthetic.labels.tolist()))
    if not labels:
        raise HubError("맞댈 영상이 없습니다.", "There are no images to compare.")
    label = str(rng.choice(labels))
    real, synthetic = (int(rng.choice(np.flatnonzero(one.labels == label))) for one in (sets.real, sets.synthetic))
    return Round(label, real, synthetic, SIDES[int(rng.integers(2))])


def picture(view: View, name: str, side: str) -> bytes:
    """One of the two pictures, PNG of 8 bits; both are of one size and carry the same words. Raises as `of`."""
    from PIL import Image as Picture
    from PIL.PngImagePlugin import PngInfo

    if side not in SIDES:
        raise NotThereError("그런 그림이 없습니다.", "There is no such picture.")
    one, sets = of(view, name), _sets(view)
    screen = material.screen_of(sets, PIXELS, 8)
    images, row = (sets.synthetic, one.synthetic) if side == one.side else (sets.real, one.real)
    pixels = shown(material.plane(images, row), screen)
    text, buffer = PngInfo(), io.BytesIO()
    text.add_itxt("Comment", NOTICE)
    Picture.fromarray((pixels >> 8).astype(np.uint8)).save(buffer, "PNG", pnginfo=text)
    return buffer.getvalue()


@lru_cache(maxsize=8)
def _of_run(folder: Path, _candidate: str) -> material.Sets:
    return material.sets_of(folder)


def _sets(view: View) -> material.Sets:
    return _of_run(view.study.folder, view.study.candidate)
