"""Tagged headers: TIFF directories (EXIF and GPS among them) and DICOM data sets, walked to their last element.

Sources: TIFF 6.0; CIPA DC-008 (EXIF 2.32); DICOM PS3.5, PS3.6 and PS3.15 Annex E, table E.1-1 (Basic Profile).
"""

import re
import struct
import warnings
from collections.abc import Iterator
from io import BytesIO
from typing import Any, NamedTuple

LONGEST = 1 << 20  # bytes of one field that are searched for text
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_FOLDERS = {34665: "EXIF", 34853: "EXIF GPS", 40965: "EXIF interoperability", 330: "TIFF"}
# how pixels are stored and shown: nothing about whom, when, where or with what
_STRUCTURE = frozenset(
    [
        254, 255, 256, 257, 258, 259, 262, 263, 266, 273, 274, 277, 278, 279, 280, 281, 282, 283, 284, 286, 287,
        290, 291, 292, 293, 296, 297, 301, 317, 318, 319, 320, 321, 322, 323, 324, 325, 338, 339, 340, 341, 347,
        529, 530, 531, 532, 36864, 37121, 37122, 40960, 40961, 40962, 40963, 1, 2,
    ]
)  # fmt: skip
_NAMES = {
    269: "DocumentName", 270: "ImageDescription", 271: "Make", 272: "Model", 285: "PageName", 305: "Software",
    306: "DateTime", 315: "Artist", 316: "HostComputer", 513: "Thumbnail", 700: "XMP", 33432: "Copyright",
    33723: "IPTC", 34377: "Photoshop", 34675: "ICC profile", 36867: "DateTimeOriginal", 36868: "DateTimeDigitized",
    37500: "MakerNote", 37510: "UserComment", 40091: "XPTitle", 40092: "XPComment", 40093: "XPAuthor",
    40094: "XPKeywords", 40095: "XPSubject", 42016: "ImageUniqueID", 42032: "CameraOwnerName",
    42033: "BodySerialNumber", 42037: "LensSerialNumber",
}  # fmt: skip
_PEOPLE = (315, 40093, 42032)
_TIMES = (306, 36867, 36868)
_THUMBNAILS = (513, 514)

# main direct identifiers of PS3.15 table E.1-1, by keyword
PERSON = frozenset(
    [
        "PatientName",
        "PatientID",
        "PatientBirthDate",
        "PatientBirthTime",
        "OtherPatientIDs",
        "OtherPatientNames",
        "OtherPatientIDsSequence",
        "PatientBirthName",
        "PatientMotherBirthName",
        "PatientAddress",
        "PatientTelephoneNumbers",
        "PatientTelecomInformation",
        "PatientReligiousPreference",
        "MedicalRecordLocator",
        "MilitaryRank",
        "BranchOfService",
        "CountryOfResidence",
        "RegionOfResidence",
        "PatientInsurancePlanCodeSequence",
        "IssuerOfPatientID",
        "ResponsiblePerson",
        "ResponsibleOrganization",
        "AccessionNumber",
        "StudyID",
        "AdmissionID",
        "ServiceEpisodeID",
        "PatientComments",
        "AdditionalPatientHistory",
        "PatientInstitutionResidence",
        "PersonAddress",
        "PersonTelephoneNumbers",
        "PersonName",
        "TextValue",
        "ReferringPhysicianName",
        "ReferringPhysicianAddress",
        "ReferringPhysicianTelephoneNumbers",
        "PerformingPhysicianName",
        "NameOfPhysiciansReadingStudy",
        "PhysiciansOfRecord",
        "RequestingPhysician",
        "OperatorsName",
        "ConsultingPhysicianName",
        "ScheduledPerformingPhysicianName",
        "VerifyingObserverName",
        "HumanPerformerName",
        "InterpretationAuthor",
        "InstitutionName",
        "InstitutionAddress",
        "InstitutionalDepartmentName",
        "PlacerOrderNumberImagingServiceRequest",
        "FillerOrderNumberImagingServiceRequest",
        "RequestedProcedureID",
        "ScheduledProcedureStepID",
        "PerformedProcedureStepID",
        "DeviceSerialNumber",
        "StationName",
        "PatientBirthDateInAlternativeCalendar",
        "ContentCreatorName",
        "StudyDate",
        "SeriesDate",
        "AcquisitionDate",
        "AcquisitionDateTime",
        "AdmittingDate",
        "ScheduledProcedureStepStartDate",
    ]
)
_DICOM_EXPLAINED = frozenset(
    [
        "FileMetaInformationGroupLength",
        "FileMetaInformationVersion",
        "MediaStorageSOPClassUID",
        "TransferSyntaxUID",
        "ImplementationClassUID",
        "ImplementationVersionName",
        "SpecificCharacterSet",
        "ImageType",
        "SOPClassUID",
        "Modality",
        "ConversionType",
        "PatientSex",
        "PatientAge",
        "PatientOrientation",
        "ViewPosition",
        "BodyPartExamined",
        "ImageLaterality",
        "Laterality",
        "PixelSpacing",
        "ImagerPixelSpacing",
        "PixelAspectRatio",
        "Rows",
        "Columns",
        "BitsAllocated",
        "BitsStored",
        "HighBit",
        "PixelRepresentation",
        "SamplesPerPixel",
        "PhotometricInterpretation",
        "PlanarConfiguration",
        "SmallestImagePixelValue",
        "LargestImagePixelValue",
        "WindowCenter",
        "WindowWidth",
        "RescaleIntercept",
        "RescaleSlope",
        "RescaleType",
        "VOILUTFunction",
        "PresentationLUTShape",
        "PixelIntensityRelationship",
        "PixelIntensityRelationshipSign",
        "LossyImageCompression",
        "LossyImageCompressionRatio",
        "LossyImageCompressionMethod",
        "BurnedInAnnotation",
        "PatientIdentityRemoved",
        "DeidentificationMethod",
        "DeidentificationMethodCodeSequence",
        "QualityControlImage",
        "NumberOfFrames",
        "InstanceNumber",
        "SeriesNumber",
        "AcquisitionNumber",
        "PixelData",
        "PixelPaddingValue",
        "SliceThickness",
        "SpacingBetweenSlices",
        "ImageOrientationPatient",
        "ImagePositionPatient",
        "FrameIncrementPointer",
        "CodeValue",
        "CodingSchemeDesignator",
        "CodeMeaning",
        "CodingSchemeVersion",
        "RedPaletteColorLookupTableDescriptor",
        "LongitudinalTemporalInformationModified",
    ]
)
_DUMMY = re.compile(
    r"(?:anon\w*|synthetic|syn|phantom|dummy|removed|redacted|none|unknown|de-?identified|합성\w*|익명|가명|팬텀)"
    r"(?:[\W_]*\w{0,3}[\W_]*\d{0,8})?|[\s^0]*",
    re.I,
)
_TIMED = ("DA", "TM", "DT")


class Item(NamedTuple):
    """One field of a file.

    Attributes:
        place: where it stands, for example 'PNG chunk tEXt', 'EXIF GPS', 'DICOM', 'file name'.
        name: its name there: a keyword, a tag, an attribute.
        kind: 'structure' (how pixels are stored: explained), 'text', 'name' (a person's name by the field's meaning),
            'person' (identifies a person by the field's meaning), 'location', 'time', 'thumbnail', 'private', 'binary',
            'trailing', 'damaged'.
        text: what it says, as far as it is text; never to be shown.
        size: bytes.
    """

    place: str
    name: str
    kind: str
    text: str
    size: int


def decoded(data: bytes) -> str:
    """Bytes as text: UTF-8, else Korean (CP949), else Latin-1; UTF-16 by its mark; without zero bytes."""
    data = data[:LONGEST]
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16", "replace").strip("\0")
    for encoding in ("utf-8", "cp949"):
        try:
            return data.decode(encoding).replace("\0", " ").strip()
        except UnicodeDecodeError:
            continue
    return data.decode("latin-1").replace("\0", " ").strip()


def strings(data: bytes) -> str:
    """The runs of six or more printable characters (ASCII, Hangul in UTF-8) in binary data, one a line."""
    runs = re.findall(rb"(?:[\xea-\xed][\x80-\xbf]{2}|[\x20-\x7e]){6,}", data[:LONGEST])
    return "\n".join(run.decode("utf-8", "replace") for run in runs)


def tiff(data: bytes, place: str) -> Iterator[Item]:
    """Every tag of every directory of a TIFF structure, whose offsets count from the first byte of `data`.

    Raises:
        struct.error, ValueError: when it is damaged; what was read before has been yielded.
    """
    order = {b"II": "<", b"MM": ">"}.get(data[:2])
    if order is None:
        raise ValueError("no byte order")
    waiting, seen, end = [(int(struct.unpack(order + "I", data[4:8])[0]), place)], set(), 8
    strips: dict[int, list[int]] = {}
    while waiting:
        at, where = waiting.pop(0)
        if not at or at in seen:
            continue
        seen.add(at)
        (count,) = struct.unpack(order + "H", data[at : at + 2])
        for k in range(count):
            tag, kind, number, raw = struct.unpack(order + "HHI4s", data[at + 2 + 12 * k : at + 14 + 12 * k])
            size = _SIZES.get(kind, 1) * number
            start = at + 10 + 12 * k if size <= 4 else int(struct.unpack(order + "I", raw)[0])
            value = data[start : start + size]
            end = max(end, start + size)
            if tag in (273, 279, 324, 325, 513, 514):
                strips[tag] = _numbers(value, kind, order)
            if tag in _FOLDERS and kind in (3, 4, 13):
                waiting += [(offset, _FOLDERS[tag]) for offset in _numbers(value, kind, order)]
            elif item := _tag(where, tag, kind, value, size):
                yield item
        after = at + 2 + 12 * count
        end = max(end, after + 4)
        if len(data) >= after + 4:
            waiting.append((int(struct.unpack(order + "I", data[after : after + 4])[0]), where))
    for starts, sizes in ((273, 279), (324, 325), (513, 514)):
        ends = [a + b for a, b in zip(strips.get(starts, []), strips.get(sizes, []), strict=False)]
        end = max([end, *ends])
    if place == "TIFF" and data[end:].strip(b"\0"):
        yield Item(place, "data after the end of the image", "trailing", strings(data[end:]), len(data) - end)


def _numbers(value: bytes, kind: int, order: str) -> list[int]:
    letter = {3: "H", 4: "I", 13: "I"}.get(kind, "I")
    width = struct.calcsize(letter)
    return list(struct.unpack(f"{order}{len(value) // width}{letter}", value[: len(value) // width * width]))


def _tag(where: str, tag: int, kind: int, value: bytes, size: int) -> Item | None:
    if where == "EXIF GPS":
        return Item(where, f"{tag}", "location" if tag in (1, 2, 3, 4) else "text", "", size) if tag else None
    if tag in _STRUCTURE:
        return None
    name = _NAMES.get(tag, f"tag {tag}")
    if tag in _THUMBNAILS:
        return Item(where, "Thumbnail", "thumbnail", "", size) if tag == 513 else None
    text = value.decode("utf-16-le", "replace").strip("\0") if 40091 <= tag <= 40095 else decoded(value)
    if kind not in (1, 2, 7):
        text = ""
    what = "name" if tag in _PEOPLE else "time" if tag in _TIMES else "text" if text else "binary"
    # a time of writing is reported as a field; as a date of a patient it would be mistaken
    return Item(where, name, what, "" if what == "time" else strings(value) if kind == 7 else text, size)


def looks_like_dicom(data: bytes) -> bool:
    """Whether bytes begin as a DICOM file does, with its preamble or (as some exports) without file meta."""
    if data[128:132] == b"DICM":
        return True
    group, element = data[:2], data[2:4]
    explicit = data[4:6] in (b"CS", b"UI", b"UL", b"SH", b"DA", b"LO", b"OB")
    short = len(data) > 12 and int.from_bytes(data[4:8], "little") < 256
    return group in (b"\x02\x00", b"\x08\x00") and element[1:] in (b"\x00",) and (explicit or short)


def dicom(data: bytes) -> Iterator[Item]:
    """Every element of a DICOM file: file meta, nested sequences, private tags, overlays, padding after the pixels.

    Raises:
        ValueError: when it cannot be read to its end.
    """
    import pydicom
    from pydicom.errors import InvalidDicomError

    if data[128:132] == b"DICM" and data[:128].strip(b"\0"):
        yield Item("DICOM", "preamble", "binary", strings(data[:128]), 128)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            read = pydicom.dcmread(BytesIO(data), force=True)
            yield from _elements(getattr(read, "file_meta", None) or (), "")
            yield from _elements(read, "")
        except (InvalidDicomError, AttributeError, TypeError, NotImplementedError, struct.error) as error:
            raise ValueError(type(error).__name__) from None


def _elements(dataset: Any, path: str) -> Iterator[Item]:
    for element in dataset:
        tag = element.tag
        keyword = element.keyword or str(tag)
        name = f"{path}{tag} {element.keyword}".strip()
        if element.VR == "SQ":
            if tag.is_private:
                yield Item("DICOM", name, "private", "", 0)
            for number, item in enumerate(element.value):
                yield from _elements(item, f"{name}[{number}] > ")
            continue
        value = element.value
        if keyword == "PixelData" or value is None or value == "" or value == b"":
            continue
        text = strings(value) if isinstance(value, bytes) else _words(value)
        size = len(value) if isinstance(value, bytes) else len(text)
        if tag.is_private:
            yield Item("DICOM", name, "private", text, size)
        elif keyword in PERSON:
            if not _DUMMY.fullmatch(text):
                yield Item("DICOM", name, "person", text, size)
        elif keyword in _DICOM_EXPLAINED or (element.VR == "UI" and _ours(keyword, text)):
            yield Item("DICOM", name, "structure", text if element.VR in ("LO", "LT", "ST") else "", size)
        elif element.VR == "PN":
            yield Item("DICOM", name, "name", text, size)
        else:
            timed = element.VR in _TIMED
            kind = "time" if timed else "binary" if isinstance(value, bytes) else "text"
            # numbers of a UID are no telephone number, and its field is reported anyway
            yield Item("DICOM", name, kind, "" if timed or element.VR == "UI" else text, size)


def _words(value: Any) -> str:
    several = isinstance(value, (list, tuple)) or type(value).__name__ == "MultiValue"
    return "\n".join(str(one) for one in value) if several else str(value)


def _ours(keyword: str, text: str) -> bool:
    """Whether a UID tells nothing of where it was made: under 2.25 it is random, and classes name a standard."""
    return keyword.endswith(("ClassUID", "SyntaxUID")) or text.startswith("2.25.")
