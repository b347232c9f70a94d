"""Direct identifiers in a text: Korean resident numbers, telephone and record numbers, dates, names, known strings.

A match says what kind of identifier stands where, in a masked form, and what speaks for it; the value itself is never
part of a match, so that it can travel in findings, logs and errors.

    check digit of a resident number d1 .. d13:  d13 = (11 - sum(w_i d_i) mod 11) mod 10,  w = 2 .. 9, 2 .. 5
    of a foreigner's:                            d13 = (13 - sum(w_i d_i) mod 11) mod 10

Source: Enforcement Rule of the Resident Registration Act (check digit); numbers issued since October 2020 are drawn at
random behind the first seven digits, so a missing check digit proves nothing: it is reported as "form only".

Known failures: a name without a cue word before it, and a record number without one, are not recognised unless they
are among the known strings. Every reading of a text is heuristic; none proves that a text holds no identifier.
"""

import datetime
import re
import unicodedata
from collections.abc import Collection, Iterable, Iterator
from typing import NamedTuple

from chambit.prepare.strings import Known

FOREIGNER = "foreigner registration number"
RESIDENT = "resident registration number"
KNOWN = "known string of the cohort"
CHECKED, FORM, CUED = "checksum holds", "form only", "behind a cue word"
MARKERS = frozenset(
    [
        "L",
        "R",
        "LT",
        "RT",
        "LEFT",
        "RIGHT",
        "AP",
        "PA",
        "LAT",
        "LATERAL",
        "OBL",
        "DECUB",
        "SUPINE",
        "ERECT",
        "UPRIGHT",
        "SITTING",
        "PORTABLE",
        "MOBILE",
        "INSP",
        "EXP",
        "CHEST",
        "STANDING",
        "PRONE",
        "좌",
        "우",
        "좌측",
        "우측",
    ]
)
"""Side and position markers that a radiographer lays beside the patient: text, but no identifier."""

_WEIGHTS = (2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5)
_NEW = datetime.date(2020, 10, 1)
_CENTURY = {"1": 1900, "2": 1900, "3": 2000, "4": 2000, "5": 1900, "6": 1900, "7": 2000, "8": 2000}
_CONFUSED = str.maketrans("OoQDlI|iSsBZz", "0000111155822")
_LOOKALIKE = re.compile(r"[0-9OoQDlI|iSsBZz][0-9OoQDlI|iSsBZz.\-/ ]{2,}")
_DASHES = dict.fromkeys(map(ord, "‐‑‒–—―−－ー~∼"), "-")
_BIRTH = r"생년월일|생일|출생|date ?of ?birth|birth ?date|birthday|d\.?o\.?b\.?"
_SHOT = r"촬영일시?|검사일시?|촬영|study ?date|exam ?date|acq(?:uisition)? ?date|series ?date|date"
_GAP = r"\s*[:：=#.)\]-]?\s*"
_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]

# the edges of a number: no letter, digit or point beside it; Hangul may be, for particles and cue words touch it
_BARE = r"(?<![0-9A-Za-z])"
_OPEN, _ALONE = _BARE + r"(?<!\d\.)", r"(?<![0-9A-Za-z-])(?<!\d\.)"
_SHUT, _CLOSE = r"(?![0-9A-Za-z])", r"(?![0-9A-Za-z]|\.\d|-\d)"
_NAMED = "|".join(_MONTHS)
_RRN = re.compile(_OPEN + r"(\d{6})(\s?-\s?|\s)?([1-8]\d{6})" + _CLOSE)
_PLAIN = {
    "mobile phone number": _OPEN + r"01[016789][-. )]?\s?\d{3,4}[-. ]?\d{4}" + _CLOSE,
    "telephone number": _OPEN + r"\(?0(?:2|3[1-3]|4[1-4]|5[1-5]|6[1-4]|70)[-.) ]{1,2}\d{3,4}[-. ]\d{4}" + _CLOSE,
    "international phone number": r"\+82[-. ]?\(?0?\)?\d{1,2}[-. )]{0,2}\d{3,4}[-. ]?\d{4}" + _SHUT,
    "e-mail address": r"(?<![\w.+-])[\w.+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,}" + _SHUT,
    "driving licence number": _ALONE + r"(?:1[1-9]|2[0-8])-\d{2}-\d{6}-\d{2}(?![0-9A-Za-z-])",
}
_CUED = {
    "record number": (
        r"(?:(?:등록|환자|병록|차트|챠트|수진|접수|검사|병원)\s?(?:번호|no\.?|id)|(?<![a-z])(?:mrn|mr ?no\.?"
        r"|patient ?(?:id|no\.?|number)"
        r"|pt\.? ?(?:id|no\.?)|pid|chart ?no\.?|hosp(?:ital)?\.? ?(?:no\.?|id)|accession ?(?:no\.?|number)?"
        r"|acc\.? ?no\.?"
        r"|case ?no\.?|id(?=\s?[:：=#])))" + _GAP + r"(?P<v>[A-Z]{0,4}[-_]?\d[\d-]{2,14}\d)" + _SHUT
    ),
    "personal name": (
        r"(?:(?:성\s?명|환자\s?명|환자|이름|수진자명?|피검자명?)\s*[:：=]\s*|(?:성\s?명|환자\s?명|이름|수진자명|피검자명)\s+)"
        r"(?P<v>[가-힣](?:\s?[가-힣]){1,3}|[A-Za-z]{2,}(?:[ ,^-]+[A-Za-z]{1,})*)"
    ),
    "name": (
        r"(?:(?<![a-z])(?:patient(?:'?s)?|pt\.?)[ _^]?name|(?<![\w] )(?<![\w-])name)\s*[:：=^]?\s*(?<=[\s:：=^])"
        r"(?P<v>[가-힣]{2,4}|[A-Za-z]{2,}(?:[ ,^-]+[A-Za-z]{1,})*)"
    ),
    "passport number": (
        r"(?:여권\s?(?:번호)?|passport(?: ?no\.?| ?number)?)"
        + _GAP
        + r"(?P<v>[MSRODG]\d{8}|[MSRODG]\d{3}[A-Z]\d{4})"
        + _SHUT
    ),
    "resident registration number": (
        r"(?:주민\s?(?:등록)?\s?번호|rrn)" + _GAP + r"(?P<v>\d{6}\s?[-*]?\s?[0-9*]{1,7})(?![0-9A-Za-z*])"
    ),
}
_DATES = (
    re.compile(_ALONE + r"(?P<y>(?:18|19|20)\d\d)(?P<s>[-./ ])(?P<m>\d{1,2})(?P=s)(?P<d>\d{1,2})(?![\d]|[-./]\d)"),
    re.compile(_ALONE + r"(?P<y>(?:18|19|20)\d\d)(?P<s>[-:])(?P<m>\d\d)(?P=s)(?P<d>\d\d)(?=[T ]\d\d:)"),
    re.compile(_ALONE + r"(?P<y>(?:19|20)\d\d)(?P<m>\d\d)(?P<d>\d\d)(?![0-9A-Za-z.]|-\d)"),
    re.compile(
        _ALONE + r"(?P<a>\d{1,2})(?P<s>[-./ ])(?P<b>\d{1,2})(?P=s)(?P<y>(?:18|19|20)\d\d)" + _SHUT + r"(?![-./]\d)"
    ),
    re.compile(r"(?<!\d)(?P<y>\d{4}|\d\d)\s?년\s?(?P<m>\d{1,2})\s?월\s?(?P<d>\d{1,2})\s?일"),
    re.compile(
        _BARE + r"(?P<d>\d{1,2})[-. ]{0,2}(?P<n>" + _NAMED + r")[a-z]*[-.,' ]{0,2}(?P<y>\d{4})(?!\d)",
        re.I,
    ),
    re.compile(
        _BARE + r"(?P<n>" + _NAMED + r")[a-z]*[-. ]{1,2}(?P<d>\d{1,2}),?\s(?P<y>\d{4})(?!\d)",
        re.I,
    ),
    re.compile(
        rf"(?:{_BIRTH}|{_SHOT}){_GAP}'?(?P<y>\d\d)(?P<s>[-./]?)(?P<m>\d\d)(?P=s)(?P<d>\d\d)(?!\d|[-./]\d)", re.I
    ),
)


class Match(NamedTuple):
    """An identifier in a text, without its value.

    Attributes:
        kind: what it is, for example 'resident registration number'.
        start, end: where it stands in the text as `normal` gives it, [start, end).
        masked: the value with all but the first character of its longer parts starred out.
        ground: what speaks for it: 'checksum holds', 'form only', 'behind a cue word', 'exact', 'nearly the same'.
    """

    kind: str
    start: int
    end: int
    masked: str
    ground: str


def normal(text: str) -> str:
    """The text in composed form (NFC), with full-width characters and dashes made plain, character for character.

    >>> normal('９００１０１－１')
    '900101-1'
    """
    composed = unicodedata.normalize("NFC", text)
    plain = (c if len(n := unicodedata.normalize("NFKC", c)) != 1 else n for c in composed)
    return "".join(plain).translate(_DASHES).replace("\u00a0", " ")


def masked(value: str) -> str:
    """A value as it may be shown: of each run of four or more letters or digits the first one, stars for the rest.

    >>> masked('900101-1234568'), masked('홍길동'), masked('2024-03-15')
    ('9*****-1******', '***', '2***-**-**')
    """

    def stars(run: re.Match[str]) -> str:
        word = run.group()
        return word[0] + "*" * (len(word) - 1) if len(word) >= 4 else "*" * len(word)

    return re.sub(r"[^\W_]+", stars, value)


def check_digit(digits: str) -> bool:
    """Whether thirteen digits end in the check digit of a resident's number (5 to 8 seventh: a foreigner's).

    >>> check_digit('9001011234568'), check_digit('9001011234567')
    (True, False)
    """
    total = sum(w * int(d) for w, d in zip(_WEIGHTS, digits, strict=False))
    base = 13 if digits[6] in "5678" else 11
    return (base - total % 11) % 10 == int(digits[12])


def find(text: str, known: Known | Collection[str] = (), *, read: bool = False) -> list[Match]:
    """All direct identifiers of a text, in order of place; what lies inside a longer match is left out.

    Args:
        text: any text; it is searched as `normal` makes it.
        known: strings of the cohort, such as subject ids and source file names.
        read: whether the text was read from pixels. Then letters that are mistaken for digits (O for 0, l for 1, S
            for 5, B for 8) count as those, and a known string may differ by a normalised edit distance of 0.2.
    """
    plain = normal(text)
    strings = known if isinstance(known, Known) else Known.of(known)
    texts = [plain]
    if read and (mended := _mended(plain)) != plain:
        texts.append(mended)
    found = [match for each in texts for match in _patterns(each)]
    found += [Match(KNOWN, start, end, masked(plain[start:end]), how) for start, end, how in strings.find(plain, read)]
    return _longest(found)


def redacted(text: str, known: Known | Collection[str] = ()) -> str:
    """The text with every identifier in it masked; for names of files in findings.

    >>> redacted('scan_900101-1234568.png')
    'scan_9*****-1******.png'
    """
    plain = normal(text)
    for match in reversed(find(spaced(plain), known)):
        plain = plain[: match.start] + masked(plain[match.start : match.end]) + plain[match.end :]
    return plain


def spaced(name: str) -> str:
    """A file name with its underscores as spaces, of equal length: an underscore would hide the edge of a number."""
    return name.replace("_", " ")


def only_markers(text: str) -> bool:
    """Whether a text is made of side and position markers alone.

    >>> only_markers('L  PORTABLE'), only_markers('L HONG')
    (True, False)
    """
    words = re.findall(r"[^\W_]+", normal(text).upper())
    return bool(words) and all(word in MARKERS for word in words)


def _patterns(text: str) -> Iterator[Match]:
    for hit in _RRN.finditer(text):
        digits = hit.group(1) + hit.group(3)
        if (born := _born(digits)) is None:
            continue
        holds = check_digit(digits)
        # thirteen digits in a row that fail both are more often a counter than a person
        if hit.group(2) or holds or born >= _NEW or digits[6] in "5678":
            yield _match(FOREIGNER if digits[6] in "5678" else RESIDENT, hit.span(), text, CHECKED if holds else FORM)
    for kind, pattern in _PLAIN.items():
        for hit in re.finditer(pattern, text):
            yield _match(kind, hit.span(), text, FORM)
    for kind, pattern in _CUED.items():
        for hit in re.finditer(pattern, text, re.I):
            yield _match("personal name" if kind == "name" else kind, hit.span("v"), text, CUED)
    for day in _DATES:
        for hit in day.finditer(text):
            if _plausible(hit):
                cue = re.search(rf"(?:{_BIRTH})\W{{0,6}}$", text[: hit.start()], re.I) or re.match(
                    rf"(?:{_BIRTH})", hit.group(), re.I
                )
                yield _match("date of birth" if cue else "date", hit.span(), text, CUED if cue else FORM)


def _match(kind: str, span: tuple[int, int], text: str, ground: str) -> Match:
    return Match(kind, *span, masked(text[slice(*span)]), ground)


def _longest(found: Iterable[Match]) -> list[Match]:
    """Matches in order of place; one that lies inside another is that other (a date inside a resident number)."""
    kept: list[Match] = []
    for match in sorted(set(found), key=lambda m: (m.start - m.end, m.start, m.ground != CHECKED)):
        if not any(other.start < match.end and match.start < other.end for other in kept):
            kept.append(match)
    return sorted(kept, key=lambda m: m.start)


def _born(digits: str) -> datetime.date | None:
    """The date of birth in a resident number, or None where there is no such day."""
    try:
        return datetime.date(_CENTURY[digits[6]] + int(digits[:2]), int(digits[2:4]), int(digits[4:6]))
    except ValueError:
        return None


def _plausible(hit: re.Match[str]) -> bool:
    """Whether the numbers are a day of the calendar; with day and month in either order where it is not told."""
    groups = hit.groupdict()
    short, year = len(groups["y"]) == 2, int(groups["y"])
    if groups.get("n"):
        orders = [(_MONTHS.index(groups["n"].lower()) + 1, int(groups["d"]))]
    elif groups.get("a"):
        orders = [(int(groups["a"]), int(groups["b"])), (int(groups["b"]), int(groups["a"]))]
    else:
        orders = [(int(groups["m"]), int(groups["d"]))]
    years = (1900 + year, 2000 + year) if short else (year,)
    return any(_is_day(year, month, day) for year in years for month, day in orders)


def _is_day(year: int, month: int, day: int) -> bool:
    try:
        return datetime.date(year, month, day).year < 2050
    except ValueError:
        return False


def _mended(text: str) -> str:
    """The text with letters for the digits they are mistaken for, in runs of which at least half are digits."""

    def mend(run: re.Match[str]) -> str:
        word = run.group()
        letters = sum(c.isalpha() or c == "|" for c in word)
        return word.translate(_CONFUSED) if sum(c.isdigit() for c in word) >= max(3, letters) else word

    return _LOOKALIKE.sub(mend, text)
