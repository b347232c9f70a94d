"""Identifiers planted into DICOM data sets, each kind by one function that says what it put where.

Sources: DICOM PS3.15 Annex E, table E.1-1 (which attributes identify), PS3.3 (modules and their nested sequences),
PS3.5 6.1 (character sets), 7.8 (private elements); MIDI-B (the idea of an answer key by kind).
"""

from collections.abc import Callable
from typing import Any, Final, NamedTuple

import numpy as np
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from chambit.phantoms.hospital.case import Case
from chambit.phantoms.hospital.key import HEX
from chambit.phantoms.hospital.lettering import ink
from chambit.phantoms.hospital.people import HOSPITAL, HOSPITAL_ADDRESS, HOSPITAL_LATIN

CREATOR: Final = "GARAMNURI PACS 1.0"
_CURRENT_STUDY: Final = "1.2.840.10008.3.1.2.3.1"  # Detached Study Management, retired and still met


class Put(NamedTuple):
    """Where identifiers were put into a data set, and their exact values."""

    place: str
    values: tuple[str, ...]


def item(**values: Any) -> Dataset:
    """A data set of the given keywords."""
    made = Dataset()
    for keyword, value in values.items():
        setattr(made, keyword, value)
    return made


def patient(data: Dataset, case: Case) -> Put:
    """The patient module: names in three groups, number, birth, address, telephone."""
    person = case.person
    data.PatientName = person.name.dicom
    data.PatientID = person.mrn
    data.PatientBirthDate = f"{person.born:%Y%m%d}"
    data.PatientSex = person.sex
    data.PatientAge = f"{(case.when.date() - person.born).days // 365:03d}Y"
    data.PatientAddress = case.says(person.address, "12 Harbour Lane, Apt " + case.mark("dicom.patient"))
    data.PatientTelephoneNumbers = person.mobile
    data.PatientMotherBirthName = "^".join(person.mother.roman)
    data.IssuerOfPatientID = mark = "HIS" + case.mark("dicom.patient")
    names = (person.name.dicom, *(["^".join(person.name.hangul)] if person.name.hangul[0] else []))
    return Put(
        "(0010,xxxx) patient module",
        (mark, *names, person.mrn, data.PatientBirthDate, data.PatientAddress, person.mobile),
    )


def other_ids(data: Dataset, case: Case) -> Put:
    """Other numbers of the patient, the resident number among them."""
    mark = case.mark("dicom.other_ids")
    data.OtherPatientIDsSequence = Sequence(
        [
            item(PatientID=case.person.resident, IssuerOfPatientID="MOIS", TypeOfPatientID="TEXT"),
            item(PatientID=mark, IssuerOfPatientID=HOSPITAL_LATIN, TypeOfPatientID="TEXT"),
        ]
    )
    return Put("(0010,1002)[*].(0010,0020)", (mark, case.person.resident))


def request(data: Dataset, case: Case) -> Put:
    """Request attributes, a text and a name three sequences deep."""
    mark, who = case.mark("dicom.request"), case.physician(1)
    context = item(
        ValueType="PNAME",
        ConceptNameCodeSequence=Sequence(
            [item(CodeValue="121008", CodingSchemeDesignator="DCM", CodeMeaning="Person Observer Name")]
        ),
        PersonName="^".join(who.roman),
        TextValue=case.says(f"의뢰 {case.person.name.local} {mark}", f"ordered for {case.person.name.latin} {mark}"),
    )
    protocol = item(
        CodeValue="36643-5",
        CodingSchemeDesignator="LN",
        CodeMeaning="XR Chest 2V",
        ProtocolContextSequence=Sequence([context]),
    )
    data.RequestAttributesSequence = Sequence(
        [
            item(
                RequestedProcedureID=f"RP{mark}",
                RequestedProcedureDescription="CHEST PA",
                ScheduledProtocolCodeSequence=Sequence([protocol]),
            )
        ]
    )
    return Put(
        "(0040,0275)[0].(0040,0008)[0].(0040,0440)[0].(0040,A160)",
        (mark, f"RP{mark}", "^".join(who.roman), case.person.name.latin, case.person.name.local),
    )


def referenced_study(data: Dataset, case: Case) -> Put:
    """An earlier study by its UID, and who read it, below a reference."""
    mark = case.mark("dicom.referenced_study")
    uid = f"1.2.410.200199.9.{case.when:%Y%m%d}.{mark}"
    purpose = item(CodeValue="121326", CodingSchemeDesignator="DCM", CodeMeaning=f"prior of {mark}")
    data.ReferencedStudySequence = Sequence(
        [
            item(
                ReferencedSOPClassUID=_CURRENT_STUDY,
                ReferencedSOPInstanceUID=uid,
                PurposeOfReferenceCodeSequence=Sequence([purpose]),
            )
        ]
    )
    return Put("(0008,1110)[0].(0008,1155)", (mark, uid))


def original_attributes(data: Dataset, case: Case) -> Put:
    """What a merge of two patients left behind: the old name and numbers, three sequences deep."""
    mark = case.mark("dicom.original_attributes")
    old = item(
        PatientName=case.person.name.dicom,
        PatientID=mark,
        OtherPatientIDsSequence=Sequence([item(PatientID=case.person.resident, TypeOfPatientID="TEXT")]),
    )
    data.OriginalAttributesSequence = Sequence(
        [
            item(
                SourceOfPreviousValues=HOSPITAL_LATIN,
                AttributeModificationDateTime=f"{case.when:%Y%m%d%H%M%S}",
                ModifyingSystem="PACS MERGE",
                ReasonForTheAttributeModification="CORRECT",
                ModifiedAttributesSequence=Sequence([old]),
            )
        ]
    )
    place = "(0400,0561)[0].(0400,0550)[0].(0010,1002)[0].(0010,0020)"
    return Put(place, (mark, case.person.resident, case.person.name.dicom))


def private_text(data: Dataset, case: Case) -> Put:
    """A private element that holds a sentence."""
    mark = case.mark("dicom.private_text")
    text = case.says(f"{case.person.name.local} 등록번호 {mark}", f"{case.person.name.latin} no. {mark}")
    data.private_block(0x0029, CREATOR, create=True).add_new(0x10, "LO", text)
    return Put("(0029,1010)", (mark, case.person.name.local))


def private_blob(data: Dataset, case: Case) -> Put:
    """A private element of bytes, as a vendor's own record, with a name inside."""
    mark = case.mark("dicom.private_blob")
    name = case.person.name.local.encode("euc_kr", "replace")
    record = (
        b"\x01\x00GNPX\x00\x02" + len(name).to_bytes(2, "little") + name + b"\x00\xff\x10" + mark.encode() + b"\x00"
    )
    data.private_block(0x0031, CREATOR, create=True).add_new(0x20, "OB", record + b"\x00" * (len(record) % 2))
    return Put("(0031,1020) bytes", (mark, case.person.name.local))


def private_sequence(data: Dataset, case: Case) -> Put:
    """A private sequence with the patient's name in it."""
    mark = case.mark("dicom.private_sequence")
    inner = item(PatientName=case.person.name.dicom, PatientComments=f"see {mark}")
    inner.private_block(0x0033, CREATOR, create=True).add_new(0x01, "LO", case.person.mobile)
    data.private_block(0x0033, CREATOR, create=True).add_new(0x30, "SQ", Sequence([inner]))
    return Put("(0033,1030)[0]", (mark, case.person.name.dicom, case.person.mobile))


def uids(data: Dataset, case: Case) -> Put:
    """UIDs with a day and a serial number inside."""
    data.StudyInstanceUID, data.SeriesInstanceUID, data.SOPInstanceUID = (case.uid(level) for level in (1, 2, 3))
    data.FrameOfReferenceUID = case.uid(4)
    values = (case.mark("dicom.uids"), *(case.uid(level) for level in (1, 2, 3, 4)))
    return Put("(0020,000D), (0020,000E), (0008,0018), (0020,0052)", values)


def free_text(data: Dataset, case: Case) -> Put:
    """Names and numbers in descriptions and comments."""
    mark, name = case.mark("dicom.free_text"), case.person.name.local
    data.StudyDescription = case.says(f"흉부 PA ({name})", f"CHEST PA ({name})")
    data.ImageComments = case.says(f"{name} 님 재촬영, 접수번호 {mark}", f"repeat for {name}, case no {mark}")
    data.PatientComments = case.says(f"보호자 {case.person.mobile}", f"next of kin {case.person.mobile}")
    data.AdditionalPatientHistory = case.says(f"{name}, 기침 2주", f"{name}, cough for two weeks")
    return Put("(0008,1030), (0020,4000), (0010,4000), (0010,21B0)", (mark, name, case.person.mobile))


def staff(data: Dataset, case: Case) -> Put:
    """The institution and those who worked there."""
    mark, roles = case.mark("dicom.staff"), [case.physician(role) for role in range(4)]
    said = [name.roman if case.person.foreign else name.hangul for name in roles]
    data.InstitutionName = case.says(HOSPITAL, HOSPITAL_LATIN)
    data.InstitutionAddress = case.says(f"{HOSPITAL_ADDRESS} ({mark})", f"101 Dawn Moon Road ({mark})")
    data.InstitutionalDepartmentName = case.says(case.person.department, "Radiology")
    data.ReferringPhysicianName, data.PerformingPhysicianName = "^".join(said[0]), "^".join(said[1])
    data.OperatorsName, data.NameOfPhysiciansReadingStudy = "^".join(said[2]), "^".join(said[3])
    values = (mark, data.InstitutionName, *("^".join(one) for one in said))
    return Put("(0008,0080), (0008,0090), (0008,1050), (0008,1060), (0008,1070)", values)


def dates(data: Dataset, case: Case) -> Put:
    """Days and times of the examination."""
    day, time = f"{case.when:%Y%m%d}", f"{case.when:%H%M%S.%f}"
    data.StudyDate = data.SeriesDate = data.AcquisitionDate = data.ContentDate = data.InstanceCreationDate = day
    data.StudyTime = data.SeriesTime = data.AcquisitionTime = data.ContentTime = time
    data.AcquisitionDateTime = day + time
    return Put("(0008,0020) to (0008,0033)", (day + time, day))


def accession(data: Dataset, case: Case) -> Put:
    """Numbers of the order and the stay."""
    mark = case.mark("dicom.accession")
    data.AccessionNumber, data.StudyID, data.AdmissionID = f"A{mark}", mark, f"I{mark}"
    data.PlacerOrderNumberImagingServiceRequest = f"P{mark}"
    return Put("(0008,0050), (0020,0010), (0038,0010), (0040,2016)", (mark, f"A{mark}", f"I{mark}", f"P{mark}"))


def device(data: Dataset, case: Case) -> Put:
    """The machine's serial number and its name in the house."""
    mark = case.mark("dicom.device")
    data.DeviceSerialNumber, data.StationName = mark, f"GNUH-{mark}"
    return Put("(0018,1000), (0008,1010)", (mark,))


def content(data: Dataset, case: Case) -> Put:
    """A name and a sentence in the acquisition context."""
    mark = case.mark("dicom.content")
    concept = item(CodeValue="121106", CodingSchemeDesignator="DCM", CodeMeaning="Comment")
    text = case.says(f"{case.person.name.local} 휠체어, {mark}", f"{case.person.name.latin} in a wheelchair, {mark}")
    data.AcquisitionContextSequence = Sequence(
        [item(ConceptNameCodeSequence=Sequence([concept]), ValueType="TEXT", TextValue=text)]
    )
    return Put("(0040,0555)[0].(0040,A160)", (mark, case.person.name.local))


def trailing_padding(data: Dataset, case: Case) -> Put:
    """A buffer's remains in Data Set Trailing Padding."""
    mark = case.mark("dicom.trailing_padding")
    rest = f"{mark} {case.person.name.latin} ".encode("latin-1", "replace")
    data.DataSetTrailingPadding = rest + b"\x00" * (len(rest) % 2)
    return Put("(FFFC,FFFC)", (mark, case.person.name.latin))


def overlay(data: Dataset, case: Case) -> Put:
    """A name drawn into an overlay plane; its value is three rows of the plane, which a renamed copy still has."""
    rows, columns = int(data.Rows), int(data.Columns)
    letters = ink(case.person.name.latin.upper(), 16 if columns >= 256 else 12)[:, : columns - 16] > 0.5
    plane = np.zeros((rows, columns), bool)
    top, left = rows - rows // 8 - len(letters), columns // 16
    plane[top : top + len(letters), left : left + letters.shape[1]] = letters
    packed = np.packbits(plane, bitorder="little").tobytes()
    data.add_new(0x60000010, "US", rows)
    data.add_new(0x60000011, "US", columns)
    data.add_new(0x60000040, "CS", "G")
    data.add_new(0x60000050, "SS", [1, 1])
    data.add_new(0x60000100, "US", 1)
    data.add_new(0x60000102, "US", 0)
    data.add_new(0x60003000, "OW", packed + b"\x00" * (len(packed) % 2))
    first = (top + len(letters) // 2) * columns // 8
    return Put("(6000,3000)", (HEX + packed[first : first + 3 * columns // 8].hex(),))


def icon(data: Dataset, case: Case) -> Put:
    """A thumbnail with the name in it; its value is some rows of the thumbnail."""
    drawn = np.full((64, 96), 24, np.uint8)
    letters = ink(case.person.name.latin.upper(), 10)[:, :90]
    drawn[40 : 40 + len(letters), 3 : 3 + letters.shape[1]] += np.rint(letters * 200).astype(np.uint8)
    made = item(SamplesPerPixel=1, PhotometricInterpretation="MONOCHROME2", Rows=64, Columns=96, PixelRepresentation=0)
    made.BitsAllocated, made.BitsStored, made.HighBit = 8, 8, 7
    made.add_new(0x7FE00010, "OW", drawn.tobytes())
    data.IconImageSequence = Sequence([made])
    return Put("(0088,0200)[0].(7FE0,0010)", (HEX + drawn[43:47].tobytes().hex(),))


Planter = Callable[[Dataset, Case], Put]
ALWAYS: Final[dict[str, Planter]] = {
    "dicom.patient": patient,
    "dicom.uids": uids,
    "dicom.dates": dates,
    "dicom.staff": staff,
    "dicom.accession": accession,
    "dicom.free_text": free_text,
}
"""Kinds that every DICOM file has."""

SOMETIMES: Final[dict[str, Planter]] = {
    "dicom.other_ids": other_ids,
    "dicom.request": request,
    "dicom.referenced_study": referenced_study,
    "dicom.original_attributes": original_attributes,
    "dicom.private_text": private_text,
    "dicom.private_blob": private_blob,
    "dicom.private_sequence": private_sequence,
    "dicom.device": device,
    "dicom.content": content,
    "dicom.trailing_padding": trailing_padding,
    "dicom.overlay": overlay,
    "dicom.icon": icon,
}
"""Kinds that every third DICOM file has, in turn."""
