"""Contact sheets: what was made black, before and after, with number, reason and confidence, for a person's eye.

A sheet that shows "before" shows identifiers: that is what it is for. It belongs into the closed part of the output,
says `반출 금지 / NOT FOR RELEASE` on every page, and must never be part of a release. The variant `after_only` shows
what is left; it too is a part of patients' images and is looked at before it leaves.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image as Picture
from PIL import ImageDraw

from chambit.prepare import lettering
from chambit.prepare.redaction import Redaction

PAGE, COLUMNS = 24, 3  # entries of a page, side by side
CLOSED = "반출 금지 / NOT FOR RELEASE"
CHECK = "가린 뒤만: 반출 전 확인 / AFTER ONLY: check before release"
KOREAN = {
    "text": "글자",
    "perhaps text": "글자일 수 있음",
    "side or position marker": "좌우·자세 표지",
    "known string of the cohort": "헤더·명단에 있는 문자열",
    "resident registration number": "주민등록번호",
    "foreigner registration number": "외국인등록번호",
    "mobile phone number": "휴대전화번호",
    "telephone number": "전화번호",
    "international phone number": "국제전화번호",
    "e-mail address": "전자우편 주소",
    "driving licence number": "운전면허번호",
    "record number": "등록번호",
    "personal name": "이름",
    "passport number": "여권번호",
    "date": "날짜",
    "date of birth": "생년월일",
}
"""Reasons of redactions in Korean."""

_WIDE, _HIGH, _GAP, _TOP, _CAPTION = 620, 118, 18, 96, 62
_RED, _AMBER, _GREEN, _INK, _GREY = (208, 34, 34), (190, 120, 0), (0, 120, 70), (20, 20, 20), (110, 110, 110)


class Entry(NamedTuple):
    """One box on the sheet.

    Attributes:
        name: of the file as it may be shown, for example its number in the batch.
        before, after: the frame, uint8 (H, W) or (H, W, 3), before and after redaction.
        box: the redaction, doubtful or kept box.
        frames: how many frames of the file have this box.
        outcome: `redact`, `doubt` or `keep`.
    """

    name: str
    before: np.ndarray
    after: np.ndarray
    box: Redaction
    frames: int = 1
    outcome: str = "redact"


def entries(
    name: str, before: np.ndarray, after: np.ndarray, boxes: Sequence[Redaction], outcome: str = "redact"
) -> list[Entry]:
    """Entries of a file: a box that stands in several frames is one entry, shown in the first of them.

    Args:
        name: of the file as it may be shown.
        before: its frames as they were, uint8 (F, H, W) or (F, H, W, 3).
        after: its frames after redaction.
        boxes: of one outcome.
        outcome: `redact`, `doubt` or `keep`.
    """
    places: dict[tuple[int, int, int, int], list[Redaction]] = {}
    for box in sorted(boxes, key=lambda b: b.frame):
        places.setdefault(box[1:5], []).append(box)
    return [
        Entry(name, before[same[0].frame], after[same[0].frame], same[0], len(same), outcome)
        for same in places.values()
    ]


def sheet(shown: Sequence[Entry], path: Path, *, after_only: bool = False) -> list[Path]:
    """Write contact sheets as PNG, 24 entries a page, and give their paths.

    With "before" the sheet shows identifiers in readable form. Write it into the closed part of the output.

    Args:
        shown: the entries, in this order and numbered from 1.
        path: of the first page, ending in `.png`; further pages get `-2`, `-3`, ... before the ending.
        after_only: without the pictures from before the redaction.
    """
    pages = max(1, math.ceil(len(shown) / PAGE))
    out = []
    for page in range(pages):
        file = path if page == 0 else path.with_name(f"{path.stem}-{page + 1}{path.suffix}")
        part = list(shown[page * PAGE : (page + 1) * PAGE])
        _page(part, page * PAGE + 1, f"{page + 1} / {pages}", after_only).save(file)
        out.append(file)
    return out


def _page(part: Sequence[Entry], first: int, number: str, after_only: bool) -> Picture.Image:
    pictures = 1 if after_only else 2
    high = _CAPTION + pictures * (_HIGH + 26) + _GAP
    rows = max(1, math.ceil(len(part) / COLUMNS))
    size = (COLUMNS * (_WIDE + _GAP) + _GAP, _TOP + rows * high + _GAP)
    page = Picture.new("RGB", size, "white")
    draw = ImageDraw.Draw(page)
    draw.rectangle((0, 0, size[0], 52), fill=_AMBER if after_only else _RED)
    draw.text((_GAP, 8), CHECK if after_only else CLOSED, "white", font=lettering.font(28))
    title = f"가림 대조표 / Contact sheet of redactions    {number}"
    draw.text((_GAP, 60), title, _INK, font=lettering.font(22))
    if not part:
        draw.text((_GAP, _TOP + 8), "가린 곳 없음 / nothing was redacted", _GREY, font=lettering.font(18))
    for k, entry in enumerate(part):
        corner = (_GAP + k % COLUMNS * (_WIDE + _GAP), _TOP + k // COLUMNS * high)
        _entry(page, draw, corner, entry, first + k, after_only)
    return page


def _entry(page: Picture.Image, draw: Any, corner: tuple[int, int], entry: Entry, number: int, after: bool) -> None:
    x, y = corner
    colour = {"redact": _RED, "doubt": _AMBER}.get(entry.outcome, _GREEN)
    box = entry.box
    done = {"redact": "가림 / redacted", "doubt": "사람이 확인 / for a person", "keep": "남김 / kept"}[entry.outcome]
    frame = f"프레임 / frame {box.frame}" + (f" (+{entry.frames - 1})" if entry.frames > 1 else "")
    draw.line((x, y + 2, x + _WIDE, y + 2), fill=(220, 220, 220))
    draw.text((x, y + 6), f"#{number}", colour, font=lettering.font(22))
    draw.text((x + 62, y + 6), f"{KOREAN.get(box.reason, box.reason)} / {box.reason}", _INK, font=lettering.font(18))
    line = f"{done}  ·  신뢰도 / confidence {box.confidence:.2f}  ·  {entry.name}  ·  {frame}"
    draw.text((x + 62, y + 32), line, colour, font=lettering.font(14))
    y += _CAPTION
    rows = (("뒤 / after", entry.after),) if after else (("앞 / before", entry.before), ("뒤 / after", entry.after))
    for words, pixels in rows:
        draw.text((x, y), words, _GREY, font=lettering.font(13))
        page.paste(_crop(pixels, box, colour), (x, y + 20))
        y += _HIGH + 26


def _crop(frame: np.ndarray, box: Redaction, colour: tuple[int, int, int]) -> Picture.Image:
    """The box with ground around it in a picture of `_WIDE` x `_HIGH`, its edges drawn outside the letters."""
    wide, high = box.x1 - box.x0, box.y1 - box.y0
    ground = max(12, min(wide, high))
    x0, y0 = max(0, box.x0 - ground), max(0, box.y0 - ground)
    x1, y1 = min(frame.shape[1], box.x1 + ground), min(frame.shape[0], box.y1 + ground)
    # the view is as wide as the place on the page, so that a short word is not blown up
    need = round((y1 - y0) * _WIDE / _HIGH)
    if need > x1 - x0:
        x0 = max(0, min((x0 + x1 - need) // 2, frame.shape[1] - need))
        x1 = min(frame.shape[1], x0 + need)
    times = min(_WIDE / (x1 - x0), _HIGH / (y1 - y0), 4.0)
    part = Picture.fromarray(np.ascontiguousarray(frame[y0:y1, x0:x1])).convert("RGB")
    size = (max(1, round(part.width * times)), max(1, round(part.height * times)))
    shown = Picture.new("RGB", (_WIDE, _HIGH), (235, 235, 235))
    shown.paste(part.resize(size, Picture.Resampling.LANCZOS), (0, 0))
    edges = ((box.x0 - x0) * times - 1, (box.y0 - y0) * times - 1, (box.x1 - x0) * times, (box.y1 - y0) * times)
    ImageDraw.Draw(shown).rectangle(edges, outline=colour, width=2)
    return shown
