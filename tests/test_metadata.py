"""Fields of released files: every planted one is found in every format, damage is said, nothing is shown."""

import io
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as Pillow
from PIL import PngImagePlugin

from chambit.core.evidence import Finding
from chambit.pipeline import candidate, released
from chambit.prepare import metadata, strings
from chambit.prepare.headers import Item
from imagefiles import RAMP, SHARED, dicom

RRN = "900101-1234568"
PRESIDIO = SHARED / "dicom_burnedin_presidio"


def _bytes(kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    Pillow.fromarray(RAMP).save(buffer, kind, **options)
    return buffer.getvalue()


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def _with(name: bytes, body: bytes) -> bytes:
    """A PNG with one more chunk behind its header."""
    data = _bytes("PNG")
    return data[:33] + _chunk(name, body) + data[33:]


def _items(data: bytes, suffix: str = "") -> list[Item]:
    return [item for item in metadata.of_bytes(data, suffix) if item.kind != "structure"]


def _found(*paths: Path, known: set[str] = frozenset(), allowed: tuple[str, ...] = ()) -> dict[str, Finding]:  # type: ignore[assignment]
    return {finding.quantity: finding for finding in released.inspect(paths, known, allowed)}


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "GIF", "BMP"])
def test_a_plain_picture_carries_nothing(kind: str) -> None:
    assert _items(_bytes(kind)) == []


def test_chambits_own_files_carry_their_notice_alone(tmp_path: Path) -> None:
    (tmp_path / "S000001.png").write_bytes(candidate._png(RAMP))
    (tmp_path / "labels.csv").write_text("file,subject,label,pixels_sha256\nS000001.png,S000001,a,ab12\n")
    assert [item.place for item in _items(candidate._png(RAMP))] == ["PNG chunk iTXt"]
    found = _found(tmp_path, allowed=(candidate.NOTICE,))
    assert (found["identifiers"].value, found["unexplained"].value) == (0, 0)
    assert found["identifiers"].n["files"] == 2
    assert _found(tmp_path)["unexplained"].value == 1


@pytest.mark.parametrize(
    ("data", "place", "kind"),
    [
        (_with(b"tEXt", b"Comment\0" + RRN.encode()), "PNG chunk tEXt", "text"),
        (_with(b"zTXt", b"Comment\0\0" + zlib.compress(RRN.encode())), "PNG chunk zTXt", "text"),
        (_with(b"iTXt", b"c\0\1\0ko\0c\0" + zlib.compress(RRN.encode())), "PNG chunk iTXt", "text"),
        (_with(b"tIME", b"\x07\xe8\3\x0f\0\0\0"), "PNG chunk", "time"),
        (_with(b"abCd", b"secret " + RRN.encode()), "PNG chunk", "binary"),
        (_bytes("PNG") + RRN.encode(), "PNG", "trailing"),
        (_bytes("JPEG", comment=RRN), "JPEG COM", "text"),
        (_bytes("JPEG") + RRN.encode(), "JPEG", "trailing"),
        (_bytes("JPEG", xmp=f"<x:a>{RRN}</x:a>".encode()), "XMP", "text"),
        (_bytes("GIF", comment=RRN.encode()), "GIF comment", "text"),
        (_bytes("GIF") + RRN.encode(), "GIF", "trailing"),
        (_bytes("BMP") + RRN.encode(), "BMP", "trailing"),
        (_bytes("TIFF") + RRN.encode(), "TIFF", "trailing"),
        (_bytes("TIFF", software=RRN), "TIFF", "text"),
        (b"nothing known \0" + RRN.encode(), "file", "binary"),
    ],
)
def test_every_field_of_every_format(data: bytes, place: str, kind: str, tmp_path: Path) -> None:
    (item,) = _items(data)
    assert (item.place, item.kind) == (place, kind)
    (tmp_path / "a.bin").write_bytes(data)
    found = _found(tmp_path / "a.bin")
    assert found["unexplained"].value == 1
    assert found["identifiers"].value == (0 if kind == "time" else 1)
    for finding in found.values():
        assert RRN not in finding.model_dump_json().replace(released._RRN, "") or kind == "time"
        assert "00101" not in finding.model_dump_json()


def test_exif_with_place_thumbnail_and_maker_note() -> None:
    exif = Pillow.Exif()
    exif[0x927C], exif[315], exif[306] = b"\1\2maker of " + RRN.encode(), "Hong", "2024:03:15 10:00:00"
    exif.get_ifd(0x8825).update({1: "N", 2: (37.0, 33.0, 0.0)})
    for data in (_bytes("JPEG", exif=exif), _bytes("PNG", exif=exif)):
        kinds = {(item.name, item.kind) for item in _items(data)}
        assert {("MakerNote", "text"), ("Artist", "name"), ("DateTime", "time"), ("2", "location")} <= kinds


def test_iptc_and_photoshop() -> None:
    record = b"\x1c\x02\x50" + struct.pack(">H", 4) + b"Hong"
    body = b"Photoshop 3.0\0" + b"8BIM\x04\x04\0\0" + struct.pack(">I", len(record)) + record + b"\0"
    data = _bytes("JPEG")
    segment = b"\xff\xed" + struct.pack(">H", len(body) + 2) + body
    (item,) = _items(data[:2] + segment + data[2:])
    assert (item.place, item.name, item.kind, item.text) == ("IPTC", "2:80", "name", "Hong")


def test_dicom_to_its_last_element(tmp_path: Path) -> None:
    from pydicom.dataset import Dataset

    inner, outer = Dataset(), Dataset()
    inner.private_block(0x0011, "VENDOR", create=True).add_new(0x02, "LO", RRN)
    outer.PurposeOfReferenceCodeSequence = [inner]
    path = dicom(tmp_path / "a.dcm", RAMP, SourceImageSequence=[outer], PatientComments=f"주민번호 {RRN}")
    kinds = {item.name.split()[-1]: item.kind for item in _items(path.read_bytes())}
    assert (
        kinds["PatientName"] == kinds["PatientID"] == kinds["PatientBirthDate"] == kinds["InstitutionName"] == "person"
    )
    assert any(
        "[0] > " in item.name and item.kind == "private" and item.text == RRN for item in _items(path.read_bytes())
    )
    found = _found(path)["identifiers"]
    assert found.value >= 5  # type: ignore[operator]
    assert "Gildong" not in found.model_dump_json()


def test_a_clean_synthetic_dicom_is_explained(tmp_path: Path) -> None:
    gone = dict.fromkeys(("PatientBirthDate", "InstitutionName"))
    path = dicom(tmp_path / "a.dcm", RAMP, PatientName="SYNTHETIC^0001", PatientID="SYN0001", **gone)
    found = _found(path)
    assert found["identifiers"].value == 0
    assert {row["field"].split()[-1] for row in found["unexplained"].details["fields"]} <= {
        "SOPInstanceUID",
        "MediaStorageSOPInstanceUID",
    }  # type: ignore[index, attr-defined]


def test_dicom_without_meta_or_preamble(tmp_path: Path) -> None:
    whole = dicom(tmp_path / "a.dcm", RAMP).read_bytes()
    bare = whole[whole.index(b"\x08\x00\x16\x00") :]
    assert any(item.kind == "person" for item in _items(bare))
    assert any(item.kind == "binary" and item.name == "preamble" for item in _items(b"x" * 128 + whole[128:]))
    cut = _items(whole[: len(whole) // 3])
    assert all(isinstance(item, Item) for item in cut)


def test_archives_and_tables(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        for name, array in {
            "images": np.zeros((2, 4, 4), np.uint8),
            "names": np.array([f"환자명:홍길동 {RRN}"]),
        }.items():
            buffer = io.BytesIO()
            np.save(buffer, array)
            archive.writestr(f"{name}.npy", buffer.getvalue())
        archive.comment = b"from P7700123"
    found = _found(tmp_path / "a.npz", known={"P7700123"})["identifiers"]
    assert {row["place"] for row in found.details["found"]} == {"NPY", "ZIP comment"}  # type: ignore[attr-defined]
    (tmp_path / "labels.csv").write_text("file,label,ward\na.png,b,7\n")
    fields = _found(tmp_path / "labels.csv")["unexplained"].details["fields"]
    assert fields == [{"field": "table column ward", "kind": "text", "files": 1}]


def test_names_of_files_and_folders(tmp_path: Path) -> None:
    folder = tmp_path / "P7700123"
    folder.mkdir()
    (folder / f"{RRN}_x.png").write_bytes(_bytes("PNG"))
    (folder / "0001.png").write_bytes(_bytes("PNG"))
    found = _found(tmp_path, known={"P7700123", "0001.png", "0001"})["identifiers"]
    assert {(row["place"], row["kind"]) for row in found.details["found"]} == {  # type: ignore[attr-defined]
        ("folder name", "known string of the cohort"),
        ("file name", "resident registration number"),
    }
    assert "P7700123" not in found.model_dump_json().replace("P7700123" + "_2", "")
    assert found.details["known_left_out"] == 2


def test_the_answer_key_is_found_whole() -> None:
    findings = released.inspect([], (), ())
    assert all(row["found"] for row in findings[0].details["planted"])  # type: ignore[attr-defined]
    assert len(findings[0].details["planted"]) >= 12  # type: ignore[arg-type]
    for finding in findings:
        assert finding.value is None
        assert finding.reason
        assert finding.control is not None
        assert finding.control.fired


def test_a_blind_search_misses_its_answer_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "of_bytes", lambda *_: iter(()))
    control = released.inspect([], (), ())[0].control
    assert control is not None
    assert not control.fired


def test_damage_is_said_and_what_came_before_is_kept() -> None:
    data = _with(b"tEXt", b"Comment\0" + RRN.encode())
    cut = _items(data[: 33 + 8 + 12])
    assert [item.kind for item in cut] == ["damaged"]
    exif = b"Exif\0\0II*\0\x08\0\0\0\x05\0\x0e\x01\x02\0\xff\0\0\0"
    broken = b"\xff\xd8\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + _bytes("JPEG")[2:]
    assert any(item.kind == "damaged" for item in _items(broken))
    assert [item.kind for item in _items(_with(b"zTXt", b"Comment\0\0no zlib"))] == ["damaged"]


@given(st.sampled_from(["PNG", "JPEG", "TIFF", "GIF", "BMP"]), st.data())
def test_no_damage_raises(kind: str, data: st.DataObject) -> None:
    whole = bytearray(_bytes(kind))
    for _ in range(data.draw(st.integers(1, 6))):
        whole[data.draw(st.integers(8, len(whole) - 1))] = data.draw(st.integers(0, 255))
    list(metadata.of_bytes(bytes(whole[: data.draw(st.integers(8, len(whole)))])))


def test_a_hidden_header_of_imagemagick() -> None:
    exif = Pillow.Exif()
    exif[315] = "Hong Gildong"
    raw = exif.tobytes()
    notes = PngImagePlugin.PngInfo()
    notes.add_text("Raw profile type exif", f"\nexif\n{len(raw):8d}\n{raw.hex()}\n", zip=True)
    assert ("Artist", "name") in {(item.name, item.kind) for item in _items(_bytes("PNG", pnginfo=notes))}


def test_real_headers_by_their_ground_truth() -> None:
    if not PRESIDIO.is_dir():
        pytest.skip(f"the shared data set is not here ({PRESIDIO})")
    looked = released.look([PRESIDIO / "0_ORIGINAL_no_pixels.dcm"], strings.Known.of(()), ())
    fields = {hit.field.split()[-1] for hit in looked.hits}
    assert {"PatientName", "PatientID", "PatientBirthDate", "AccessionNumber", "ReferringPhysicianName"} <= fields
    assert not any("DAVIDSON" in repr(hit).upper() for hit in looked.hits)
