"""The direct identifiers that stand in a file's own header, in the spellings in which they may be met again.

Names with all their components in each of DICOM's three groups (alphabetic, ideographic, phonetic; PS3.5 section 6.2.1)
in both orders, numbers and institutions as they stand, the date of birth in the common spellings.
"""

import datetime
import re
from collections.abc import Iterable, Iterator
from typing import Any

from chambit.prepare.deidentify.profile import DICOM_ROOT, Rule, rule
from chambit.prepare.headers import Item

SHORTEST = 2  # characters; a shorter one says nothing of anybody

_IDENTIFYING = frozenset(
    re.findall(
        r"\w+",
        """
    PatientID OtherPatientIDs IssuerOfPatientID PatientAddress PatientTelephoneNumbers PatientTelecomInformation
    MedicalRecordLocator AccessionNumber StudyID AdmissionID ServiceEpisodeID RequestedProcedureID
    ScheduledProcedureStepID PerformedProcedureStepID PlacerOrderNumberImagingServiceRequest
    FillerOrderNumberImagingServiceRequest InsurancePlanIdentification MilitaryRank PatientInstitutionResidence
    PersonAddress PersonTelephoneNumbers ResponsibleOrganization InstitutionName InstitutionAddress
    InstitutionalDepartmentName StationName DeviceSerialNumber PatientBirthDateInAlternativeCalendar
    ReferringPhysicianAddress ReferringPhysicianTelephoneNumbers RequestingService ClinicalTrialSubjectID
    ClinicalTrialSubjectReadingID
    """,
    )
)
_METADATA = ("text", "name", "person", "location")
_PARTS = re.compile(r"[\^=\s,.;·/]+")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def of_dataset(dataset: Any) -> frozenset[str]:
    """Identifiers of a DICOM data set, at any depth; its instance UIDs are not among them.

    Args:
        dataset: pydicom `Dataset`; elements that cannot be read are passed over.
    """
    return frozenset(word for found in _walk(dataset) for word in found if len(word.strip("0 ")) >= SHORTEST)


def of_items(items: Iterable[Item]) -> frozenset[str]:
    """Identifiers of a file without DICOM's header: every text field of its metadata, whole, and its words."""
    found: set[str] = set()
    for item in items:
        # a long text is not looked for as a whole, and a standard name of a program is no identifier
        if item.kind in _METADATA and 0 < len(item.text) <= 256:
            found |= {line.strip() for line in item.text.splitlines()}
            if item.kind in ("name", "person"):
                found |= set(names(item.text))
    return frozenset(word for word in found if len(word) >= SHORTEST)


def names(value: str) -> Iterator[str]:
    """A person's name in its spellings: as it stands, its groups, their components, two of them joined.

    >>> sorted(names('Hong^Gildong=洪^吉洞'))[:5]
    ['Gildong', 'Gildong Hong', 'GildongHong', 'Hong', 'Hong Gildong']
    """
    yield value
    for group in value.split("="):
        parts = [part for part in _PARTS.split(group) if part]
        yield from (group, *parts)
        if len(parts) > 1:
            family, given = parts[:2]
            yield from (f"{family} {given}", f"{given} {family}", family + given, given + family, f"{family}, {given}")
            yield " ".join(parts)


def births(value: str) -> Iterator[str]:
    """A date of birth (YYYYMMDD, also with points) in its spellings; a value that is no date as it stands.

    >>> [each for each in births('19700102') if '년' in each]
    ['1970년 1월 2일', '1970년 01월 02일']
    """
    yield value
    try:
        day = datetime.datetime.strptime(re.sub(r"[.\-/ ]", "", value)[:8], "%Y%m%d").date()
    except ValueError:
        return
    y, m, d = f"{day.year:04d}", f"{day.month:02d}", f"{day.day:02d}"
    for sign in ("", "-", ".", "/", ". "):
        yield from (f"{y}{sign}{m}{sign}{d}", f"{d}{sign}{m}{sign}{y}", f"{m}{sign}{d}{sign}{y}")
    yield from (f"{y[2:]}{m}{d}", f"{y[2:]}-{m}-{d}", f"{y[2:]}.{m}.{d}", f"{day.year}.{day.month}.{day.day}")
    yield from (f"{d}-{_MONTHS[day.month - 1]}-{y}", f"{d} {_MONTHS[day.month - 1]} {y}")
    yield from (f"{y}년 {day.month}월 {day.day}일", f"{y}년 {m}월 {d}일")


def uids(dataset: Any) -> frozenset[str]:
    """UIDs of a data set that the profile replaces, at any depth."""
    found = set()
    for element in elements(dataset):
        if element.VR == "UI" and rule(int(element.tag), "UI", element.keyword)[0] is Rule.UID:
            found |= {uid for uid in texts(element.value) if not uid.startswith(DICOM_ROOT)}
    return frozenset(found)


def elements(dataset: Any) -> Iterator[Any]:
    """Every element of a data set and of its sequences that can be read."""
    for tag in list(dataset.keys()):
        try:
            element = dataset[tag]
            items = list(element.value) if element.VR == "SQ" else []
        except Exception:  # what cannot be read is removed by the walker, which says so
            continue
        yield element
        for item in items:
            yield from elements(item)


def texts(value: Any) -> list[str]:
    """The values of a text element, one or several, as plain strings without padding."""
    several = value if isinstance(value, (list, tuple)) or type(value).__name__ == "MultiValue" else [value]
    plain = (str(each) if each is not None else "" for each in several)
    return [text for each in plain if (text := each.replace("\0", " ").strip())]


def _walk(dataset: Any) -> Iterator[Iterable[str]]:
    for element in elements(dataset):
        if element.VR == "PN":
            for value in texts(element.value):
                yield names(value)
        elif element.keyword == "PatientBirthDate":
            for value in texts(element.value):
                yield births(value)
        elif element.keyword in _IDENTIFYING:
            yield texts(element.value)
