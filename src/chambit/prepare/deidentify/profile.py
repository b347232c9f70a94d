"""The rule for each DICOM element: the Basic Profile of PS3.15 Annex E with two of its options, strict about text.

The table of attributes (E.1-1, edition 2026c) is the one that ships in the package dicom-anonymizer. Added to it:

- *Retain Longitudinal Temporal Information With Modified Dates* (113107) for the dates of examination, treatment and
  contrast in `TIMELINE`, which are moved. Dates of devices, approvals and birth follow the profile: the day on which a
  scanner was calibrated is the same for all its patients, so moved with a patient's shift it would betray the shift.
- *Retain Patient Characteristics* (113108) for sex and age; ages above 89 are joined (45 CFR 164.514(b)(2)(i)(C)).
- Where the profile lets choose between removing, emptying and a dummy (X/Z, X/D, X/Z/D, Z/D), what keeps the object
  valid is chosen: emptied or a dummy.
- What the profile does not name: private elements, curves, overlays, unknown elements and group lengths are removed;
  texts (`LO SH LT ST UC UT UR AE PN`) are removed unless they are in `EXPLAINED`; bytes unless in `BYTES`; UIDs are
  replaced unless they are DICOM's own or name a class.
"""

import re
from enum import Enum
from functools import cache

EDITION = "2026c"
DICOM_ROOT = "1.2.840.10008."
DUMMY = "REMOVED"

TIMELINE = frozenset(
    re.findall(
        r"\w+",
        """
    StudyDate StudyTime SeriesDate SeriesTime AcquisitionDate AcquisitionTime AcquisitionDateTime ContentDate
    ContentTime InstanceCreationDate InstanceCreationTime FrameAcquisitionDateTime FrameReferenceDateTime
    StartAcquisitionDateTime EndAcquisitionDateTime DateOfSecondaryCapture TimeOfSecondaryCapture
    PerformedProcedureStepStartDate PerformedProcedureStepStartTime PerformedProcedureStepStartDateTime
    PerformedProcedureStepEndDate PerformedProcedureStepEndTime PerformedProcedureStepEndDateTime
    ScheduledProcedureStepStartDate ScheduledProcedureStepStartTime ScheduledProcedureStepStartDateTime
    RadiopharmaceuticalStartTime RadiopharmaceuticalStopTime RadiopharmaceuticalStartDateTime
    RadiopharmaceuticalStopDateTime DecayCorrectionDateTime ContrastBolusStartTime ContrastBolusStopTime
    InterventionDrugStartTime InterventionDrugStopTime ExclusionStartDateTime AdmittingDate AdmittingTime
    StudyArrivalDate StudyArrivalTime StudyCompletionDate StudyCompletionTime StudyVerifiedDate
    StudyVerifiedTime StudyReadDate StudyReadTime ScheduledStudyStartDate ScheduledStudyStartTime
    ModifiedImageDate ModifiedImageTime ObservationDateTime TreatmentDate TreatmentTime FirstTreatmentDate
    MostRecentTreatmentDate
    """,
    )
)
"""Dates and times of what was done with the patient: moved by the patient's shift."""

EXPLAINED = frozenset(
    re.findall(
        r"\w+",
        """
    Manufacturer ManufacturerModelName SoftwareVersions SecondaryCaptureDeviceManufacturer
    SecondaryCaptureDeviceManufacturerModelName SecondaryCaptureDeviceSoftwareVersions
    DigitalImageFormatAcquired CodeValue LongCodeValue CodingSchemeDesignator CodingSchemeVersion CodeMeaning
    MappingResourceName RescaleType ModalityLUTType LUTExplanation WindowCenterWidthExplanation
    PixelSpacingCalibrationDescription ConvolutionKernel SequenceName PulseSequenceName ImagedNucleus FilterType
    TypeOfFilters ImageFilter ReceiveCoilName TransmitCoilName MultiCoilElementName PlateType PhosphorType
    CollimatorGridName GridAbsorbingMaterial GridSpacingMaterial DetectorMode AcquisitionDeviceProcessingCode
    ProcessingFunction AcquisitionMode OutputPower Radiopharmaceutical RadiopharmaceuticalRoute
    ContrastBolusRoute CardiacFramingType TriggerSourceOrType PVCRejection AttenuationCorrectionMethod
    ReconstructionMethod ScatterCorrectionMethod DetectorLinesOfResponseUsed EnergyWindowName StackID
    DimensionDescriptionLabel OpticalPathIdentifier SegmentLabel SegmentAlgorithmName
    """,
    )
)
"""Texts that say how an image was made or what its numbers mean; kept, but for those that hold an identifier."""

BYTES = frozenset(
    re.findall(
        r"\w+",
        """
    RedPaletteColorLookupTableData GreenPaletteColorLookupTableData BluePaletteColorLookupTableData
    AlphaPaletteColorLookupTableData SegmentedRedPaletteColorLookupTableData
    SegmentedGreenPaletteColorLookupTableData SegmentedBluePaletteColorLookupTableData LUTData LUTDescriptor
    RedPaletteColorLookupTableDescriptor GreenPaletteColorLookupTableDescriptor
    BluePaletteColorLookupTableDescriptor AlphaPaletteColorLookupTableDescriptor SmallestImagePixelValue
    LargestImagePixelValue PixelPaddingValue PixelPaddingRangeLimit VectorGridData
    """,
    )
)
"""Elements of raw bytes that are numbers of the image; pixels, overlays and colour profiles are decided elsewhere."""

ESSENTIAL = frozenset(("SpecificCharacterSet", "PhotometricInterpretation", "LossyImageCompressionMethod"))
"""Coded values without which the pixels cannot be read; they are kept though a patient be called Palette."""

TEXTS = frozenset(("LO", "SH", "LT", "ST", "UC", "UT", "UR", "AE", "PN"))
_RAW = frozenset(("OB", "OW", "UN", "OB or OW", "OV"))
_OVERLAY = frozenset((0x0010, 0x0011, 0x0015, 0x0040, 0x0050, 0x0051, 0x0100, 0x0102, 0x3000))
_PIXELS = frozenset((0x7FE00008, 0x7FE00009, 0x7FE00010))


class Rule(Enum):
    """What happens to an element; the value is what an `Action` says of it."""

    REMOVE = "removed"
    EMPTY = "emptied"
    DUMMY = "replaced"
    UID = "replaced UID"
    SUBJECT = "replaced by the pseudonym"
    SHIFT = "shifted"
    AGE = "kept"
    SEX = "kept, M, F or O"
    KEEP = ""


@cache
def table() -> dict[int, str]:
    """The profile's action ('X', 'Z', 'D', 'U', 'X/Z', ...) by tag; repeating groups 50xx and 60xx are not in it."""
    from dicomanonymizer.dicom_anonymization_databases import (  # type: ignore[import-untyped]
        dicomfields_2026c as fields,
    )

    named = {
        "X": fields.X_TAGS,
        "Z": fields.Z_TAGS,
        "D": fields.D_TAGS,
        "U": fields.U_TAGS,
        "X/Z": fields.X_Z_TAGS,
        "X/D": fields.X_D_TAGS,
        "Z/D": fields.Z_D_TAGS,
        "X/Z/D": fields.X_Z_D_TAGS,
        "X/Z/U*": fields.X_Z_U_STAR_TAGS,
    }
    return {tag[0] << 16 | tag[1]: action for action, tags in named.items() for tag in tags if len(tag) == 2}


def rule(tag: int, vr: str, keyword: str, *, overlays: bool = False) -> tuple[Rule, str]:
    """What happens to an element, and why.

    Args:
        tag: group and element as one number.
        vr: value representation.
        keyword: of the dictionary, "" where it has none.
        overlays: whether overlays are kept (their texts never are).
    """
    group, element = tag >> 16, tag & 0xFFFF
    if group % 2:
        return Rule.REMOVE, "private"
    if element == 0 or group < 0x0008:
        return Rule.REMOVE, "no part of an image's data set"
    if group & 0xFF00 == 0x5000:
        return Rule.REMOVE, "curve"
    if group & 0xFF00 == 0x6000:
        kept = overlays and element in _OVERLAY
        return (Rule.KEEP, "") if kept else (Rule.REMOVE, "overlay: it may hold text")
    if not keyword:
        return Rule.REMOVE, "not in the dictionary"
    if keyword in ("PatientID", "PatientName"):
        return Rule.SUBJECT, "profile"
    if keyword in TIMELINE:
        return Rule.SHIFT, "dates modified (113107)"
    if keyword == "PatientSex":
        return Rule.SEX, "patient characteristics (113108)"
    if keyword == "PatientAge":
        return Rule.AGE, "patient characteristics (113108)"
    if action := table().get(tag):
        return _profiled(action, vr), f"profile, {action}"
    return _unnamed(tag, vr, keyword)


def _profiled(action: str, vr: str) -> Rule:
    if action == "X":
        return Rule.REMOVE
    if action == "X/Z/U*" and vr == "SQ":  # references to other images, whose UIDs are replaced inside
        return Rule.KEEP
    if vr == "UI":
        return Rule.UID
    if action in ("Z", "X/Z"):
        return Rule.EMPTY
    # a dummy is needed; only a text can be one that claims nothing
    return Rule.DUMMY if vr in TEXTS else Rule.EMPTY


def _unnamed(tag: int, vr: str, keyword: str) -> tuple[Rule, str]:
    """The rule for an element that the profile does not name."""
    if vr in TEXTS:
        return (Rule.KEEP, "") if keyword in EXPLAINED else (Rule.REMOVE, "text that is not known to be harmless")
    if vr in ("DA", "DT", "TM"):
        return Rule.REMOVE, "date that is not the examination's"
    if vr == "AS":
        return Rule.REMOVE, "age beside the patient's"
    if vr == "UI":
        named = keyword.endswith(("SOPClassUID", "TransferSyntaxUID", "SOPClassesInStudy"))
        return (Rule.KEEP, "") if named else (Rule.UID, "UID")
    if vr in _RAW and tag not in _PIXELS and keyword not in BYTES:
        return Rule.REMOVE, "bytes that are not known to be harmless"
    return Rule.KEEP, ""
