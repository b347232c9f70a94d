"""Find burned-in text, and look again at what was redacted until nothing is left to find.

No method removes all burned-in text, and none is claimed to: the recall of a batch is measured by text planted into it
(`chambit.prepare.burned.planting`), weak boxes are queued for a person, and the redacted frames are searched again.
"""

from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np

from chambit.core.errors import InputError, Problem
from chambit.prepare import ocr
from chambit.prepare.burned import decision, detection, ground
from chambit.prepare.burned.decision import Decided, Wanted
from chambit.prepare.burned.settings import Options
from chambit.prepare.redaction import Redaction

_LEAST_MARGIN = 2  # pixels: the soft edge of a letter after interpolation
_HULL = 1.2  # overlapping boxes are shown as one where that takes at most a fifth more of the image


class Looked(NamedTuple):
    """What a look at the frames of a file found.

    Attributes:
        redactions: boxes to be made black.
        doubtful: boxes a person must see; they are not black.
        kept: text that stays: markers, and with `redact: identifiers` what is read and holds no identifier.
    """

    redactions: list[Redaction]
    doubtful: list[Redaction]
    kept: list[Redaction]


class SecondLook(NamedTuple):
    """What further looks at redacted frames found.

    Attributes:
        redactions: boxes that the first look had missed, of all rounds.
        doubtful: boxes a person must see.
        rounds: looks that were taken.
        remaining: boxes that the last round still found, and those that should have been black and are not; unless
            empty, the file must not go on.
    """

    redactions: list[Redaction]
    doubtful: list[Redaction]
    rounds: int
    remaining: list[Redaction]

    @property
    def clean(self) -> bool:
        """Whether the last look found nothing but what may stay or waits for a person."""
        return not self.remaining


def missing() -> str:
    """Why text cannot be looked for on this machine, with the remedy; "" when it can."""
    return ocr.missing()


def look(frames: np.ndarray, known: Collection[str], options: Options) -> Looked:
    """Find the burned-in text of a file.

    Args:
        frames: uint8 (F, H, W) brightness as shown, or (F, H, W, 3) colour.
        known: identifiers of the file's own header and of the batch, as they stand there.
        options: of the search.

    Raises:
        InputError: text recognition is not installed. Without it nothing can be said about a file.
        ValueError: the frames have another type or shape.
    """
    if reason := missing():
        raise InputError(
            "Burned-in text cannot be looked for.", [Problem("text recognition", reason, f"install it: {ocr.REMEDY}")]
        )
    if frames.dtype != np.uint8 or not (frames.ndim == 3 or (frames.ndim == 4 and frames.shape[3] == 3)):
        raise ValueError(f"frames are uint8 (F, H, W) or (F, H, W, 3), not {frames.dtype} {frames.shape}")
    wanted = Wanted.of(known)
    shape = (int(frames.shape[1]), int(frames.shape[2]))
    decided = [decision.decide(found, shape, wanted, options) for found in detection.over_frames(frames, options)]
    redactions = _outcome(decided, "redact", shape, options)
    if options.through:
        redactions = _through(redactions, len(frames))
    return Looked(
        redactions, _outcome(decided, "doubt", shape, options), _outcome(decided, "keep", shape, options, margin=False)
    )


def second_look(
    frames: np.ndarray, known: Collection[str], options: Options, redacted: Sequence[Redaction] = ()
) -> SecondLook:
    """Look at redacted frames again; what is found is redacted, too, and looked at again.

    The frames given are not changed: blank the boxes of the answer in the file, and keep it back unless `clean`.

    Args:
        frames: uint8 (F, H, W) or (F, H, W, 3) after redaction.
        known: as for `look`.
        options: as for `look`; `rounds` looks are taken at most.
        redacted: the boxes that were made black. They are levelled with their ground before the look, because a black
            rectangle looks like a character; a box that was not made black remains.
    """
    added: list[Redaction] = []
    remaining = ground.not_blank(frames, redacted)
    for number in range(1, options.rounds + 1):
        looked = look(ground.levelled(frames, [*redacted, *added]), known, options)
        if not looked.redactions or number == options.rounds:
            break
        added += looked.redactions
    return SecondLook(added, looked.doubtful, number, [*remaining, *looked.redactions])


def _outcome(
    decided: Sequence[Sequence[Decided]],
    outcome: decision.Outcome,
    shape: tuple[int, int],
    options: Options,
    margin: bool = True,
) -> list[Redaction]:
    """Boxes of one outcome, widened so that no edge of a letter is left."""
    out = []
    for frame, each in ((f, d) for f, of in enumerate(decided) for d in of if d.outcome == outcome):
        box = each.box
        more = max(_LEAST_MARGIN, round(options.margin * min(box.x1 - box.x0, box.y1 - box.y0))) if margin else 0
        out.append(
            Redaction(
                frame,
                max(0, box.x0 - more),
                max(0, box.y0 - more),
                min(shape[1], box.x1 + more),
                min(shape[0], box.y1 + more),
                each.reason,
                round(box.score, 3),
                each.masked,
            )
        )
    return _joined(out)


def _joined(boxes: Sequence[Redaction]) -> list[Redaction]:
    """Boxes of one frame that overlap become one where their hull is hardly larger than both; none gets smaller."""
    out: list[Redaction] = []
    # the reason of the larger box stays, unless only the smaller one is an identifier
    for box in sorted(boxes, key=lambda b: -(b.x1 - b.x0) * (b.y1 - b.y0)):
        now = box
        while (other := next((o for o in out if _are_one(o, now)), None)) is not None:
            out.remove(other)
            told = now if other.reason == decision.TEXT else other
            x0, y0, x1, y1 = detection.hull(other[1:5], now[1:5])
            now = told._replace(x0=x0, y0=y0, x1=x1, y1=y1, confidence=max(now.confidence, other.confidence))
        out.append(now)
    return sorted(out, key=lambda b: (b.frame, b.y0, b.x0))


def _are_one(a: Redaction, b: Redaction) -> bool:
    wide, high = min(a.x1, b.x1) - max(a.x0, b.x0), min(a.y1, b.y1) - max(a.y0, b.y0)
    if a.frame != b.frame or wide <= 0 or high <= 0:
        return False
    x0, y0, x1, y1 = detection.hull(a[1:5], b[1:5])
    both = (a.x1 - a.x0) * (a.y1 - a.y0) + (b.x1 - b.x0) * (b.y1 - b.y0) - wide * high
    return (x1 - x0) * (y1 - y0) <= _HULL * both


def _through(redactions: Sequence[Redaction], frames: int) -> list[Redaction]:
    """Each box in every frame: an overlay stands still, and a frame in which it was missed would show it."""
    boxes: dict[tuple[int, int, int, int], Redaction] = {}
    for box in redactions:
        boxes.setdefault(box[1:5], box)
    return [box._replace(frame=frame) for frame in range(frames) for box in boxes.values()]
