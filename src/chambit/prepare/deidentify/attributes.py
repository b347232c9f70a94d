"""Values of DICOM elements: dates moved, ages joined, texts searched, and the attributes that say what was done.

Sources: DICOM PS3.5 section 6.2 (DA, TM, DT, AS); PS3.3 C.7.1.1 and C.12.1 (attributes 0012,0062 to 0012,0064 and
0028,0303); PS3.16 CID 7050 (codes of de-identification methods); 45 CFR 164.514(b)(2)(i)(C) (ages above 89).
"""

import datetime
import re
import unicodedata
from collections.abc import Collection
from typing import Any

from chambit.prepare import identifiers as patterns
from chambit.prepare.deidentify.profile import EDITION
from chambit.prepare.deidentify.residue import searchable

OLDEST = 89  # years: ages above it are joined
JOINED = "090Y"
METHOD = (
    f"Chambit, PS3.15 Annex E Basic Profile {EDITION}",
    "Dates moved by whole days, one shift per subject",
    "Sex and age kept, ages above 89 as 090Y",
)
PROFILE = ("113100", "Basic Application Confidentiality Profile")
PIXELS = ("113101", "Clean Pixel Data Option")
DATES = ("113107", "Retain Longitudinal Temporal Information Modified Dates Option")
CHARACTERISTICS = ("113108", "Retain Patient Characteristics Option")
WRITTEN = frozenset(
    re.findall(
        r"\w+",
        """
    SpecificCharacterSet PatientIdentityRemoved DeidentificationMethod DeidentificationMethodCodeSequence
    LongitudinalTemporalInformationModified BurnedInAnnotation
    """,
    )
)
"""Attributes that are written by us, whatever the source says in them."""

_DATE = re.compile(r"(\d{4})([.]?)(\d\d)\2(\d\d)")
_TIME = re.compile(r"([01]\d|2[0-3])(:?)([0-5]\d(\2([0-5]\d|60)(\.\d{1,6})?)?)?")
_DATETIME = re.compile(r"(\d{8})((?:\d{2}){0,3}(?:\.\d{1,6})?(?:[+-]\d{4})?)")
_YEAR = {"D": 365.25, "W": 52.18, "M": 12.0, "Y": 1.0}


def shifted(value: str, vr: str, days: int) -> str:
    """A date (DA) or date and time (DT) moved by whole days, a time (TM) as it is; "" for what is none of the calendar.

    >>> shifted('20240301', 'DA', -1), shifted('20240301093000.5+0900', 'DT', -1), shifted('2024', 'DT', -1)
    ('20240229', '20240229093000.5+0900', '')
    """
    text = value.strip()
    if vr == "TM":
        return text if _TIME.fullmatch(text) else ""
    match = (_DATE if vr == "DA" else _DATETIME).fullmatch(text)
    if match is None:
        return ""
    digits, rest = ("".join(match.group(1, 3, 4)), "") if vr == "DA" else match.group(1, 2)
    try:
        day = datetime.date(int(digits[:4]), int(digits[4:6]), int(digits[6:])) + datetime.timedelta(days)
    except (ValueError, OverflowError):
        return ""
    return f"{day.year:04d}{day.month:02d}{day.day:02d}{rest}"


def joined(age: str) -> str:
    """An age (AS) with those above 89 years joined; "" for what is no age.

    >>> joined('045Y'), joined('97Y'), joined('089Y'), joined('1200M'), joined('old')
    ('045Y', '090Y', '089Y', '090Y', '')
    """
    match = re.fullmatch(r"(\d{1,4})([DWMY])", age.strip(), re.I)
    if match is None:
        return ""
    number, unit = int(match.group(1)), match.group(2).upper()
    if number / _YEAR[unit] >= OLDEST + 1 or number > 999:
        return JOINED
    return f"{number:03d}{unit}"


class Words:
    """Identifiers of a file's header, prepared to be found in its other texts."""

    def __init__(self, identifiers: Collection[str]) -> None:
        words = {unicodedata.normalize("NFC", word.strip()) for word in identifiers if searchable(word)}
        edged = [rf"(?<![^\W_]){re.escape(word)}(?![^\W_])" if word.isascii() else re.escape(word) for word in words]
        self._pattern = re.compile("|".join(sorted(edged, key=len, reverse=True)), re.I) if edged else None

    def within(self, text: str) -> str:
        """Why a text must not stay: it holds an identifier of the header, or something shaped like one; else ""."""
        plain = unicodedata.normalize("NFC", text)
        if self._pattern is not None and self._pattern.search(plain):
            return "holds an identifier of the header"
        # a program's version is often a date, and says nothing of the patient
        kinds = {match.kind for match in patterns.find(plain)} - {"date"}
        return f"holds what looks like a {min(kinds)}" if kinds else ""


def write_method(out: Any, *, pixels_cleaned: bool, looked_at: bool) -> None:
    """Write into a data set what was done to it: 0012,0062, 0012,0063, 0012,0064, 0028,0303 and BurnedInAnnotation.

    Args:
        out: pydicom `Dataset`.
        pixels_cleaned: whether boxes were blanked, or the pixels were looked at and needed none.
        looked_at: whether somebody looked at all pixels; only then BurnedInAnnotation says NO.
    """
    from pydicom.dataset import Dataset

    codes = []
    for value, meaning in (PROFILE, *([PIXELS] if pixels_cleaned else []), DATES, CHARACTERISTICS):
        code = Dataset()
        code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, "DCM", meaning
        codes.append(code)
    out.PatientIdentityRemoved = "YES"
    out.DeidentificationMethod = list(METHOD)
    out.DeidentificationMethodCodeSequence = codes
    out.LongitudinalTemporalInformationModified = "MODIFIED"
    if looked_at:
        out.BurnedInAnnotation = "NO"
