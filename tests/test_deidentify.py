"""De-identification of DICOM files: planted identifiers are gone at every depth, pixels are what they were."""

import datetime
import io
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.data import get_charset_files
from pydicom.data.data_manager import DATA_ROOT
from pydicom.dataset import Dataset

from chambit.core.errors import InputError
from chambit.prepare import deidentify, headers, metadata
from chambit.prepare.deidentify import attributes
from chambit.prepare.deidentify.key import LONGEST_SHIFT, SHORTEST_SHIFT
from chambit.prepare.deidentify.profile import table
from chambit.prepare.redaction import Redaction
from imagefiles import dicom

KEY = deidentify.Key(bytes(range(32)))
RAMP = np.arange(24 * 32, dtype=np.uint16).reshape(24, 32)
NAME, MRN, BORN = "Hong^Gildong=洪^吉洞=홍^길동", "MRN-4711234", "19700102"
BOX = Redaction(0, 2, 3, 9, 8, "text", 0.9)


def _box(frame: int = 0) -> Redaction:
    return BOX._replace(frame=frame)


def _clean(
    path: Path, relative: str = "ward/19700102 Hong.dcm", *boxes: Redaction, **options: Any
) -> deidentify.Cleaned:
    return deidentify.clean(path, relative, KEY, boxes, **options)


def _again(cleaned: deidentify.Cleaned) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pydicom.dcmread(io.BytesIO(cleaned.data))


def _did(cleaned: deidentify.Cleaned, name: str) -> set[str]:
    return {action.did for action in cleaned.actions if action.name.rsplit(" ", 1)[-1] == name}


def _item(**tags: Any) -> Dataset:
    item = Dataset()
    for name, value in tags.items():
        setattr(item, name, value)
    return item


@pytest.fixture
def planted(tmp_path: Path) -> Path:
    """An image with identifiers in every kind of place that de-identifiers are known to miss."""
    path = dicom(
        tmp_path / "x.dcm",
        RAMP,
        bits=12,
        PatientName=NAME,
        PatientID=MRN,
        PatientBirthDate=BORN,
        PatientAge="093Y",
        InstitutionName="Hanbit Hospital",
        SpecificCharacterSet=["", "ISO 2022 IR 149"],
    )
    data = pydicom.dcmread(path)
    data.PatientName = "Hong^Gildong=홍^길동"
    deepest = _item(PatientName="Deep^Nested", InstitutionName="Hanbit Hospital", AcquisitionDate="20200229")
    deepest.add_new(0x00131010, "LO", "PRIVATEDEEP")
    code = _item(CodeValue="T-1", CodingSchemeDesignator="SRT", CodeMeaning="Chest of Gildong")
    code.AnatomicRegionModifierSequence = [deepest]
    data.AnatomicRegionSequence = [code]
    data.add_new(0x00090010, "LO", "SECRETCREATOR")
    data.add_new(0x00091001, "UN", b"PRIVATEVALUE")
    data.add_new(0x60000010, "US", 24)
    data.add_new(0x60003000, "OW", b"OVERLAYTEXT!")
    data.add_new(0x50000005, "US", 1)
    data.add_new(0x50003000, "OW", b"CURVETEXT!")
    data.StudyDescription, data.ImageComments = "for Dr Kim", "call 010-1234-5678"
    data.ReferringPhysicianName, data.AccessionNumber = "Kim^Younghee", "ACC990017"
    data.SoftwareVersions = ["V1", "built for MRN-4711234"]
    data.BodyPartExamined, data.Manufacturer = "CHEST", "Maker"
    data.StudyInstanceUID = "1.2.826.0.1.55555.777"
    data.ReferencedImageSequence = [_item(ReferencedSOPClassUID=data.SOPClassUID, ReferencedSOPInstanceUID="1.2.3.4")]
    data.StudyDate, data.StudyTime, data.SeriesDate = "20240301", "093012.123", "2024.03.02"
    data.AcquisitionDateTime, data.ContentDate = "20240301093012.5+0900", "unknown"
    data.DateOfLastCalibration, data.TimezoneOffsetFromUTC = "20240115", "+0900"
    data.IconImageSequence = [_item(Rows=1, Columns=8, BitsAllocated=8, PixelData=b"ICONTEXT")]
    data.DataSetTrailingPadding = b"TRAILTEXT!"
    data.file_meta.SourceApplicationEntityTitle = "AESECRET"
    data.file_meta.PrivateInformationCreatorUID = "1.2.3.999"
    data.file_meta.PrivateInformation = b"METASECRET"
    data.preamble = b"PREAMBLESECRET".ljust(128, b"\0")
    data.save_as(path)
    path.write_bytes(path.read_bytes().replace(b"MONOCHROME2 ", b"MONOCHROME2\0"))
    return path


SECRETS = re.findall(
    r"\S+",
    """
    Hong Gildong 홍 길동 MRN-4711234 19700102 Hanbit Deep Nested PRIVATE SECRET OVERLAYTEXT CURVETEXT Kim Younghee
    ACC990017 ICONTEXT TRAILTEXT METASECRET AESECRET 010-1234 1.2.826.0.1.55555.777 1.2.3.4 20240115 20240301
    """,
)


def test_no_planted_identifier_is_left_in_any_byte(planted: Path) -> None:
    before, cleaned = planted.read_bytes(), _clean(planted)
    for secret in SECRETS:
        spelled = {secret.encode(code) for code in ("utf-8", "euc_kr", "utf-16-le")}
        assert any(raw in before for raw in spelled), secret
        assert not any(raw in cleaned.data for raw in spelled), secret
    assert deidentify.residuals(before, cleaned.identifiers)
    assert deidentify.residuals(cleaned.data, cleaned.identifiers) == []
    assert {"홍길동", "Gildong", MRN, "Hanbit Hospital", "1970-01-02", "ACC990017", "Kim"} <= cleaned.identifiers


def test_what_is_needed_stays(planted: Path) -> None:
    cleaned, old = _clean(planted), pydicom.dcmread(planted)
    new = _again(cleaned)
    assert np.array_equal(new.pixel_array, RAMP)
    assert new.PixelData == old.PixelData
    assert (new.BodyPartExamined, new.Manufacturer, new.PixelSpacing) == ("CHEST", "Maker", [0.2, 0.3])
    assert (new.PatientSex, new.PatientAge, new.PatientBirthDate) == ("F", "090Y", "")
    assert new.AnatomicRegionSequence[0].CodeValue == "T-1"
    assert not new.AnatomicRegionSequence[0].CodeMeaning
    assert list(new.SoftwareVersions) == ["V1", ""]
    assert new.PatientID == new.PatientName == cleaned.subject == KEY.subject(MRN)


def test_dates_of_a_subject_move_together_and_devices_keep_none(planted: Path) -> None:
    new, days = _again(_clean(planted)), datetime.timedelta(KEY.days(KEY.subject(MRN)))
    moved = {
        date: (datetime.datetime.strptime(date, "%Y%m%d") + days).strftime("%Y%m%d")
        for date in ("20240301", "20240302", "20200229")
    }
    assert (new.StudyDate, new.SeriesDate, new.StudyTime) == (moved["20240301"], moved["20240302"], "093012.123")
    assert new.AcquisitionDateTime == moved["20240301"] + "093012.5+0900"
    assert new.AnatomicRegionSequence[0].AnatomicRegionModifierSequence[0].AcquisitionDate == moved["20200229"]
    assert new.ContentDate == ""  # it was no date
    # a day that all patients of a scanner share would betray the shift
    assert "DateOfLastCalibration" not in new
    assert "TimezoneOffsetFromUTC" not in new
    assert new.LongitudinalTemporalInformationModified == "MODIFIED"


def test_uids_fit_together_and_file_meta_says_nothing_of_the_source(planted: Path) -> None:
    new = _again(_clean(planted))
    assert new.file_meta.MediaStorageSOPInstanceUID == new.SOPInstanceUID == KEY.uid("1.2.3.4")
    assert new.ReferencedImageSequence[0].ReferencedSOPInstanceUID == new.SOPInstanceUID
    assert new.ReferencedImageSequence[0].ReferencedSOPClassUID == new.SOPClassUID
    assert new.SOPClassUID.startswith("1.2.840.10008.")
    assert new.StudyInstanceUID == KEY.uid("1.2.826.0.1.55555.777")
    assert {element.keyword for element in new.file_meta} == {
        "FileMetaInformationGroupLength",
        "FileMetaInformationVersion",
        "MediaStorageSOPClassUID",
        "MediaStorageSOPInstanceUID",
        "TransferSyntaxUID",
        "ImplementationClassUID",
        "ImplementationVersionName",
    }


@pytest.mark.parametrize("looked_at", [False, True])
def test_the_file_says_what_was_done(planted: Path, looked_at: bool) -> None:
    new = _again(_clean(planted, looked_at=looked_at))
    assert new.PatientIdentityRemoved == "YES"
    assert all(0 < len(line) <= 64 for line in new.DeidentificationMethod)
    codes = [code.CodeValue for code in new.DeidentificationMethodCodeSequence]
    assert codes == ["113100", *(["113101"] if looked_at else []), "113107", "113108"]
    assert new.get("BurnedInAnnotation") == ("NO" if looked_at else None)


def test_a_claim_of_burned_in_text_stays_until_somebody_looked(tmp_path: Path) -> None:
    path = dicom(tmp_path / "x.dcm", RAMP, bits=12, BurnedInAnnotation="YES")
    assert _again(_clean(path)).BurnedInAnnotation == "YES"
    assert _again(_clean(path, "x", looked_at=True)).BurnedInAnnotation == "NO"


def test_actions_name_fields_and_no_values(planted: Path) -> None:
    cleaned = _clean(planted)
    assert _did(cleaned, "PatientBirthDate") == {"emptied"}
    assert _did(cleaned, "StudyDate") == {"shifted"}
    assert _did(cleaned, "StudyTime") == {"kept"}
    assert _did(cleaned, "StudyDescription") == {"removed"}
    assert _did(cleaned, "preamble") == {"emptied"}
    said = "\n".join(" ".join(action) for action in cleaned.actions)
    assert not [secret for secret in SECRETS if re.search(rf"\b{re.escape(secret)}\b", said)]


def test_the_new_name_tells_nothing(planted: Path) -> None:
    cleaned = _clean(planted)
    assert re.fullmatch(r"S[A-Z2-7]{10}/[A-Z2-7]{8}\.dcm", cleaned.name)
    assert cleaned.name == _clean(planted).name
    assert _clean(planted, "other.dcm").name != cleaned.name
    assert _clean(planted, subject="P9").subject == KEY.subject("P9")
    assert _clean(planted, subject="P9").name.startswith(KEY.subject("P9"))


def test_without_a_patient_id_a_file_is_its_own_subject(tmp_path: Path) -> None:
    path = dicom(tmp_path / "x.dcm", RAMP, bits=12, PatientID=None)
    assert _clean(path, "a").subject != _clean(path, "b").subject


def test_everything_the_profile_removes_is_removed_at_every_depth(tmp_path: Path) -> None:
    path = dicom(tmp_path / "x.dcm", RAMP, bits=12)
    data, inner = pydicom.dcmread(path), Dataset()
    values = {
        "LO": "Zqxvalue",
        "SH": "Zqxvalue",
        "LT": "Zqxvalue",
        "ST": "Zqxvalue",
        "UT": "Zqxvalue",
        "PN": "Zqxvalue",
    }
    values |= {"DA": "19991231", "DT": "19991231235959", "UI": "1.2.999.1", "CS": "ZQXVALUE", "AE": "ZQXVALUE"}
    planted = 0
    for tag in table():
        vr = pydicom.datadict.dictionary_VR(tag) if pydicom.datadict.dictionary_has_tag(tag) else ""
        if vr in values and tag >> 16 > 2 and tag not in (0x00080018, 0x00080005):
            inner.add_new(tag, vr, values[vr])
            planted += 1
            if tag not in data:
                data.add_new(tag, vr, values[vr])
    assert planted > 400
    data.ViewCodeSequence = [_item(ViewModifierCodeSequence=[inner])]
    data.save_as(path)
    cleaned = _clean(path)
    assert path.read_bytes().lower().count(b"zqxvalue") > 400
    for secret in (b"zqxvalue", b"19991231", b"1.2.999.1"):
        assert secret not in cleaned.data.lower()
    kept = [tag for tag, action in table().items() if action == "X" and tag in _again(cleaned)]
    # sex is Z; of X only the patient's age and the dates of the examination stay, by the options
    assert {pydicom.datadict.keyword_for_tag(tag) for tag in kept} <= deidentify.profile.TIMELINE | {"PatientAge"}


def test_dicomdir_and_what_has_no_pixels_are_refused_without_a_value() -> None:
    folder = Path(DATA_ROOT) / "test_files"
    for name, said in [("dicomdirtests/DICOMDIR", "index of the original"), ("test-SR.dcm", "no picture")]:
        with pytest.raises(InputError, match=said):
            _clean(folder / name)
    with pytest.raises(InputError) as caught:
        _clean(folder / "test-SR.dcm", "홍길동 900101-1234568.dcm")
    assert "1234568" not in str(caught.value)


def test_every_real_file_is_cleaned_or_refused() -> None:
    cleaned = refused = 0
    for path in sorted(Path(DATA_ROOT).rglob("*")):
        if not path.is_file():
            continue
        try:
            done = _clean(path, path.name)
        except InputError as error:
            refused += bool(error.problems[0].what and error.problems[0].remedy)
            continue
        cleaned += 1
        if not headers.looks_like_dicom(done.data):
            continue
        assert deidentify.residuals(done.data, done.identifiers) == [], path.name
        reported = [item for item in metadata.of_bytes(done.data) if item.kind in ("name", "private", "damaged")]
        assert reported == [], path.name
    assert cleaned > 100
    assert refused > 50


@pytest.mark.parametrize("path", [Path(name) for name in get_charset_files("*.dcm")], ids=lambda path: path.name)
def test_names_in_every_character_set_are_gone(path: Path, tmp_path: Path) -> None:
    data = pydicom.dcmread(path)
    raw = pydicom.dcmread(path).get_item("PatientName")
    if "PixelData" not in data:  # the file as it stands, but with a picture
        for name, value in [("Rows", 2), ("Columns", 2), ("BitsAllocated", 8), ("BitsStored", 8), ("HighBit", 7)]:
            setattr(data, name, value)
        data.SamplesPerPixel, data.PixelRepresentation, data.PhotometricInterpretation = 1, 0, "MONOCHROME2"
        data.add_new(0x7FE00010, "OB", b"\1\2\3\4")
        data.SOPClassUID = data.get("SOPClassUID") or "1.2.840.10008.5.1.4.1.1.7"
    copy = tmp_path / "x.dcm"
    data.save_as(copy, implicit_vr=data.original_encoding[0], little_endian=True)
    cleaned = _clean(copy)
    assert cleaned.identifiers or raw is None
    assert deidentify.residuals(copy.read_bytes(), cleaned.identifiers) or raw is None
    assert deidentify.residuals(cleaned.data, cleaned.identifiers) == []
    if raw is not None:
        words = [word for word in re.split(rb"[\^= \x1b]|\x1b[$(]+[)]?[A-Z]", bytes(raw.value)) if len(word) > 3]
        assert not [word for word in words if word in cleaned.data]


# --- the key


def test_a_key_is_kept_for_its_owner_alone(tmp_path: Path) -> None:
    path, key = tmp_path / "key", deidentify.Key.new()
    key.save(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert deidentify.Key.load(path).subject("a") == key.subject("a") != deidentify.Key.new().subject("a")
    with pytest.raises(InputError, match="there is a file"):
        key.save(path)
    assert "key" not in repr(key).lower().replace("key(...)", "")
    for text, said in [("zz", "other characters"), ("00" * 31, "31 bytes"), ("é", "not text")]:
        path.write_bytes(text.encode("latin-1"))
        with pytest.raises(InputError, match=said):
            deidentify.Key.load(path)
    path.write_text("00" * 32)
    path.chmod(0o644)
    with pytest.raises(InputError, match="others may read it"):
        deidentify.Key.load(path)
    with pytest.raises(InputError, match="cannot be read"):
        deidentify.Key.load(tmp_path / "none")
    with pytest.raises(InputError, match="32 are needed"):
        deidentify.Key(b"short")


@given(st.text(max_size=40))
def test_what_a_key_gives_is_well_formed(text: str) -> None:
    assert re.fullmatch(r"S[A-Z2-7]{10}", KEY.subject(text))
    assert re.fullmatch(r"2\.25\.[1-9]\d{30,38}", KEY.uid(text))
    number = int(KEY.uid(text)[5:])
    assert (number >> 76 & 15, number >> 62 & 3) == (8, 2)  # a UUID of version 8
    assert -LONGEST_SHIFT <= KEY.days(text) <= -SHORTEST_SHIFT


def test_shifts_are_spread() -> None:
    days = [KEY.days(f"S{n}") for n in range(4000)]
    assert len(set(days)) > 1500
    assert abs(np.mean(days) + (LONGEST_SHIFT + SHORTEST_SHIFT) / 2) < 40  # 4 standard errors are 33


@given(
    st.dates(datetime.date(1900, 1, 1), datetime.date(2100, 1, 1)),
    st.dates(datetime.date(1900, 1, 1), datetime.date(2100, 1, 1)),
)
def test_intervals_between_dates_stay(first: datetime.date, second: datetime.date) -> None:
    moved = [attributes.shifted(day.strftime("%Y%m%d"), "DA", -777) for day in (first, second)]
    a, b = (datetime.datetime.strptime(day, "%Y%m%d").date() for day in moved)
    assert b - a == second - first
    assert a == first - datetime.timedelta(777)


@pytest.mark.parametrize("bad", ["20240230", "2024", "Hong", "20240301-20240303", "00010101", "19700102Hong"])
def test_what_is_no_date_is_emptied(bad: str) -> None:
    assert attributes.shifted(bad, "DA", -30) == ""
    assert attributes.shifted("93012Hong", "TM", -30) == ""
