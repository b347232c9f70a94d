"""A DICOMDIR beside the files of an archive's export: patients, studies, series and images by name and number.

Source: DICOM PS3.3 Annex F (Basic Directory), PS3.10 8.6. Records point to each other by their place in the file, so
the file is written twice: once to learn the places, once with them in.
"""

from collections.abc import Sequence
from io import BytesIO
from pathlib import PurePosixPath
from typing import NamedTuple

from pydicom import dcmread
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.filewriter import dcmwrite
from pydicom.sequence import Sequence as Items
from pydicom.uid import UID, ExplicitVRLittleEndian, MediaStorageDirectoryStorage

from chambit.phantoms.hospital.case import ROOT, Case
from chambit.phantoms.hospital.headers import Put, item


class Listed(NamedTuple):
    """A file that the directory names: its examination, its path below the directory, UID of its class."""

    case: Case
    path: PurePosixPath
    sop_class: str


def directory(listed: Sequence[Listed]) -> tuple[bytes, list[tuple[str, Put]]]:
    """The bytes of a DICOMDIR and what was planted in it: for each patient the number in the hospital and the Put.

    Args:
        listed: the files, those of one patient together.
    """
    tree = _records(listed)
    made = FileDataset(None, Dataset(), file_meta=_meta(), preamble=b"\0" * 128)  # type: ignore[arg-type]
    made.FileSetID = "GARAM_EXPORT"
    made.OffsetOfTheFirstDirectoryRecordOfTheRootDirectoryEntity = 0
    made.OffsetOfTheLastDirectoryRecordOfTheRootDirectoryEntity = 0
    made.FileSetConsistencyFlag = 0
    made.DirectoryRecordSequence = Items([record for record, _ in tree])
    places = [record.seq_item_tell for record in dcmread(BytesIO(_bytes(made))).DirectoryRecordSequence]
    for number, (record, level) in enumerate(tree):
        after = next((at for at in range(number + 1, len(tree)) if tree[at][1] <= level), len(tree))
        beside = after < len(tree) and tree[after][1] == level
        record.OffsetOfTheNextDirectoryRecord = places[after] if beside else 0
        below = number + 1 < len(tree) and tree[number + 1][1] > level
        record.OffsetOfReferencedLowerLevelDirectoryEntity = places[number + 1] if below else 0
    roots = [place for place, (_, level) in zip(places, tree, strict=True) if level == 0]
    made.OffsetOfTheFirstDirectoryRecordOfTheRootDirectoryEntity = roots[0] if roots else 0
    made.OffsetOfTheLastDirectoryRecordOfTheRootDirectoryEntity = roots[-1] if roots else 0
    cases = {one.case.person.mrn: one.case for one in reversed(listed)}
    puts = []
    for mrn, case in reversed(cases.items()):
        values = (case.mark("dicom.dicomdir"), case.person.name.dicom, mrn)
        puts.append((mrn, Put("(0004,1220) PATIENT record", values)))
    return _bytes(made), puts


def _records(listed: Sequence[Listed]) -> list[tuple[Dataset, int]]:
    """Records in order with their depth: patient 0, study 1, series 2, image 3."""
    records: list[tuple[Dataset, int]] = []
    last = ""
    for case, path, sop_class in listed:
        person = case.person
        if person.mrn != last:
            last = person.mrn
            charset = "ISO_IR 100" if person.foreign else ["", "ISO 2022 IR 149"]
            one = _record("PATIENT", SpecificCharacterSet=charset, PatientName=person.name.dicom, PatientID=person.mrn)
            # a retired element that old exporters still fill
            one.add_new(0x00101000, "LO", case.mark("dicom.dicomdir"))
            records.append((one, 0))
        study = _record("STUDY", StudyDate=f"{case.when:%Y%m%d}", StudyTime=f"{case.when:%H%M%S}")
        study.StudyInstanceUID, study.StudyID = case.uid(1), ""
        study.AccessionNumber = f"A{case.mark('dicom.accession')}"
        series = _record("SERIES", Modality="DX", SeriesInstanceUID=case.uid(2), SeriesNumber=1)
        image = _record("IMAGE", ReferencedFileID=list(path.parts), InstanceNumber=1)
        image.ReferencedSOPClassUIDInFile, image.ReferencedSOPInstanceUIDInFile = UID(sop_class), case.uid(3)
        records += [(study, 1), (series, 2), (image, 3)]
    return records


def _record(kind: str, **values: object) -> Dataset:
    made = item(
        OffsetOfTheNextDirectoryRecord=0,
        RecordInUseFlag=0xFFFF,
        OffsetOfReferencedLowerLevelDirectoryEntity=0,
        DirectoryRecordType=kind,
    )
    for keyword, value in values.items():
        setattr(made, keyword, value)
    return made


def _meta() -> FileMetaDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = MediaStorageDirectoryStorage
    meta.MediaStorageSOPInstanceUID = UID(f"{ROOT}.0.3")
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = UID(f"{ROOT}.0.1")
    return meta


def _bytes(made: FileDataset) -> bytes:
    held = BytesIO()
    dcmwrite(held, made, enforce_file_format=True)
    return held.getvalue()
