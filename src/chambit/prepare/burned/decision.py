"""What becomes of a box of text: black, a person must see it, or it stays.

In this order:

1. it reads like an identifier or a known string: black, however weak the box;
2. it is a side or position marker, read with confidence and filled by its letters: it stays;
3. it has the size and form of an organ and is not read: left out, or queued (`Options.tallest`);
4. it is text by its score or by its reading: black (`redact: all`); with `redact: identifiers` what is read stays, and
   what is not read is queued;
5. its score is between `doubt` and `sure`: queued.

The header's strings seed the search: a reading within a normalised edit distance of 0.2 of one is that string
(`chambit.prepare.strings`), Hangul names by their jamo (`chambit.prepare.hangul`). What was read is masked here and
goes no further.
"""

from collections.abc import Collection, Sequence
from typing import Literal, NamedTuple

from chambit.prepare import hangul, identifiers, ocr
from chambit.prepare.burned.detection import Found, area_of, overlap
from chambit.prepare.burned.settings import Options
from chambit.prepare.strings import Known

TEXT = "text"
MARKER = "side or position marker"
UNREAD = "perhaps text"
ROOMY = 256  # pixels of the shorter side
Outcome = Literal["redact", "doubt", "keep"]


class Wanted(NamedTuple):
    """Known strings prepared for the search: Latin letters and digits, and Hangul names as one word each."""

    known: Known
    names: frozenset[str]

    @classmethod
    def of(cls, strings: Collection[str]) -> "Wanted":
        """Prepare strings of headers and batch; names of persons also by part and in the other order."""
        return cls(Known.of({part for string in strings for part in written(string)}), hangul.names(strings))


class Decided(NamedTuple):
    """A box, what becomes of it, why, and what was read, masked."""

    box: ocr.Box
    outcome: Outcome
    reason: str
    masked: str


def written(string: str) -> set[str]:
    """How a value of a header may stand in the pixels: whole, each group and part of a person's name, parts reversed.

    The parts of a person's name are divided by `^`, its groups by `=` (DICOM PS3.5, 6.2.1).

    >>> sorted(written('HONG^GILDONG'))
    ['GILDONG', 'GILDONG HONG', 'HONG', 'HONG GILDONG', 'HONG^GILDONG']
    """
    out = {string}
    if "^" in string or "=" in string:
        for group in string.split("="):
            parts = [part.strip() for part in group.split("^") if part.strip()]
            out |= {*parts, " ".join(parts), " ".join(reversed(parts))}
    return {part for part in out if part}


def decide(found: Sequence[Found], shape: tuple[int, int], wanted: Wanted, options: Options) -> list[Decided]:
    """What becomes of each box of one frame; boxes that are no text at all are left out.

    Args:
        found: boxes of the frame.
        shape: its height and width.
        wanted: the known strings.
        options: of the search.
    """
    kinds = _identified(found, wanted)
    decided = [_decide(each, kinds.get(each.box, ""), shape, options) for each in found]
    kept = [each for each in decided if each is not None]
    black = [each.box for each in kept if each.outcome == "redact"]
    # a doubtful box that lies in a black one will not be seen by anybody
    return [
        each
        for each in kept
        if each.outcome == "redact" or not any(10 * overlap(each.box, b) >= 9 * area_of(each.box) for b in black)
    ]


def _decide(found: Found, kind: str, shape: tuple[int, int], options: Options) -> Decided | None:
    box = found.box
    read = identifiers.masked(found.hangul if kind == "" and found.hangul else box.text)
    # Hangul is read as Hanja, now and then with confidence: only ASCII is believed
    believed = box.confidence >= options.believed and box.text.isascii()
    if kind:
        return Decided(box, "redact", kind, identifiers.masked(box.text or found.hangul))
    if options.keep_markers and believed and _is_marker(box):
        return Decided(box, "keep", MARKER, read)
    legible = believed and len(box.text) > 1
    if not legible and _is_like_anatomy(box, shape, options):
        high = min(box.x1 - box.x0, box.y1 - box.y0)
        # in an image with room for text nobody writes letters so high; in a small one a person must see it
        outline = high > (options.outline if min(shape) >= ROOMY else 0.5) * min(shape)
        odd = box.score >= options.sure and not outline
        return Decided(box, "doubt", UNREAD, read) if odd else None
    if legible or box.score >= options.sure:
        if options.redact == "all":
            return Decided(box, "redact", TEXT, read)
        return Decided(box, "keep", TEXT, read) if legible else Decided(box, "doubt", UNREAD, read)
    return Decided(box, "doubt", UNREAD, read) if box.score >= options.doubt else None


def _is_like_anatomy(box: ocr.Box, shape: tuple[int, int], options: Options) -> bool:
    """Whether a box has the size and form of an organ: high, and not long enough for a word of letters that high."""
    long, short = max(box.x1 - box.x0, box.y1 - box.y0), min(box.x1 - box.x0, box.y1 - box.y0)
    return short > options.tallest * min(shape) and long < 2 * short


def _is_marker(box: ocr.Box) -> bool:
    """Whether the box is a marker and nothing else, that is, whether the letters read fill it.

    The reader leaves out what it cannot read: `L` before a name in Hangul reads as `L`.
    """
    long, short = max(box.x1 - box.x0, box.y1 - box.y0), min(box.x1 - box.x0, box.y1 - box.y0)
    return identifiers.only_markers(box.text) and long <= (len(box.text) + 1) * short


def _identified(found: Sequence[Found], wanted: Wanted) -> dict[ocr.Box, str]:
    """The kind of identifier that stands in each box, alone or as a part of its line."""
    kinds: dict[ocr.Box, str] = {}
    of = {each.box: each for each in found}
    for line in ocr.by_line(list(of)):
        for texts in ([box.text for box in line], [of[box].hangul or box.text for box in line]):
            starts = [sum(len(text) + 1 for text in texts[:k]) for k in range(len(texts))]
            for start, end, kind in _spans(" ".join(texts), wanted):
                for box, text, at in zip(line, texts, starts, strict=True):
                    if start < at + len(text) and at < end and kinds.get(box) != identifiers.KNOWN:
                        kinds[box] = kind
    return kinds


def _spans(text: str, wanted: Wanted) -> list[tuple[int, int, str]]:
    """Start, end and kind of the identifiers in a line."""
    spans = [(m.start, m.end, m.kind) for m in identifiers.find(text, wanted.known, read=True)]
    return spans + [(*span, identifiers.KNOWN) for span in hangul.find(text, wanted.names)]
