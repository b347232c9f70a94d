"""Pixels of de-identified DICOM files: identical outside the boxes, black inside, comments of codestreams gone."""

import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from PIL import Image as Pillow
from pydicom.data import get_testdata_file
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import ExplicitVRLittleEndian, JPEG2000Lossless, JPEGBaseline8Bit

from chambit.core.errors import InputError
from chambit.prepare import deidentify
from chambit.prepare.deidentify import codestream, frames, residue
from chambit.prepare.redaction import Redaction
from imagefiles import dicom

KEY = deidentify.Key(bytes(range(32)))
BOX = Redaction(0, 2, 3, 9, 8, "text", 0.9)
RAMP = np.arange(100, 100 + 24 * 32, dtype=np.uint16).reshape(24, 32)
COLOUR = np.random.default_rng(4).integers(1, 255, (24, 32, 3), np.uint8)


def _clean(path: Path, *boxes: Redaction, **options: Any) -> deidentify.Cleaned:
    return deidentify.clean(path, "a/b", KEY, boxes, **options)


def _again(data: bytes) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pydicom.dcmread(io.BytesIO(data))


def _file(name: str) -> Path:
    found = get_testdata_file(name, download=False)
    assert isinstance(found, str)
    return Path(found)


def _inside(shape: tuple[int, ...], frame: int = 0) -> np.ndarray:
    """The box BOX by hand, in one frame: bool (F, H, W)."""
    mask = np.zeros(shape[:3], bool)
    mask[frame, 3:8, 2:9] = True
    return mask


def _four(array: np.ndarray, colour: bool) -> np.ndarray:
    return array[None] if array.ndim == (3 if colour else 2) else array


@pytest.mark.parametrize(
    "name",
    [
        "CT_small.dcm",
        "MR_small_RLE.dcm",
        "MR_small_bigendian.dcm",
        "MR_small_jp2klossless.dcm",
        "MR_small_jpeg_ls_lossless.dcm",
        "SC_jpeg_no_color_transform.dcm",
        "SC_rgb_jpeg_dcmtk.dcm",
        "SC_rgb_rle_16bit_2frame.dcm",
        "SC_ybr_full_422_uncompressed.dcm",
        "examples_palette.dcm",
        "image_dfl.dcm",
        "rtdose.dcm",
    ],
)
def test_a_box_is_black_and_nothing_else_changes(name: str) -> None:
    path = _file(name)
    old = pydicom.dcmread(path)
    colour = old.SamplesPerPixel > 1
    before = _four(old.pixel_array, colour)
    last = len(before) - 1
    cleaned = _clean(path, BOX._replace(frame=last))
    new = _again(cleaned.data)
    after = _four(new.pixel_array, colour)
    inside = _inside(before.shape, last)
    assert np.array_equal(before[~inside], after[~inside])
    assert len(np.unique(after[inside].reshape(-1, after.shape[3] if colour else 1), axis=0)) == 1
    assert new.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert [code.CodeValue for code in new.DeidentificationMethodCodeSequence][1] == "113101"
    assert cleaned.pixels == frames.outside(frames.decoded(old, "").array, [BOX._replace(frame=last)])


@pytest.mark.parametrize("name", ["CT_small.dcm", "MR_small_RLE.dcm", "MR_small_bigendian.dcm", "693_J2KI.dcm"])
def test_without_boxes_stored_bytes_and_transfer_syntax_stay(name: str) -> None:
    path = _file(name)
    old, new = pydicom.dcmread(path), _again(_clean(path).data)
    assert new.file_meta.TransferSyntaxUID == old.file_meta.TransferSyntaxUID
    assert new.PixelData == old.PixelData or any("comment" in action.why for action in _clean(path).actions)
    assert np.array_equal(new.pixel_array, old.pixel_array)


@pytest.mark.parametrize(
    ("photometric", "pixels", "tags", "black"),
    [
        ("MONOCHROME2", RAMP, {}, 100),
        ("MONOCHROME1", RAMP, {}, 100 + 24 * 32 - 1),
        ("MONOCHROME2", RAMP, {"RescaleSlope": "-1", "RescaleIntercept": "0"}, 100 + 24 * 32 - 1),
        ("MONOCHROME2", RAMP.astype(np.int16) - 500, {}, -400),
        ("RGB", COLOUR, {}, [0, 0, 0]),
        ("YBR_FULL", COLOUR, {}, [0, 128, 128]),
    ],
)
def test_black_is_what_is_shown_as_black(
    tmp_path: Path, photometric: str, pixels: np.ndarray, tags: dict[str, Any], black: int | list[int]
) -> None:
    bits = 8 if pixels.dtype == np.uint8 else 16
    path = dicom(tmp_path / "x.dcm", pixels, bits=bits, PhotometricInterpretation=photometric, **tags)
    new = _again(_clean(path, BOX).data)
    stored = np.frombuffer(new.PixelData, pixels.dtype).reshape(pixels.shape)
    inside = _inside((1, *pixels.shape))[0]
    assert (stored[inside] == black).all()
    assert np.array_equal(stored[~inside], pixels[~inside])
    assert new.PhotometricInterpretation == photometric


def test_black_of_a_palette_is_its_darkest_entry(tmp_path: Path) -> None:
    path = _file("examples_palette.dcm")
    data = pydicom.dcmread(path)
    tables = [
        np.frombuffer(data[f"{name}PaletteColorLookupTableData"].value, "<u2") for name in ("Red", "Green", "Blue")
    ]
    weighed = sum(weight * table.astype(float) for weight, table in zip((0.299, 0.587, 0.114), tables, strict=True))
    index = _again(_clean(path, BOX).data).pixel_array[5, 5]
    assert np.asarray(weighed)[index] == np.asarray(weighed).min()


def test_a_jpeg_frame_loses_its_comment_and_exif_and_keeps_its_samples(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    exif = Pillow.Exif()
    exif[0x010E] = "EXIFSECRET"
    Pillow.fromarray(COLOUR).save(buffer, "JPEG", comment="COMMENTSECRET", exif=exif)
    path = dicom(tmp_path / "x.dcm", COLOUR, PhotometricInterpretation="YBR_FULL_422")
    data = pydicom.dcmread(path)
    data.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    data.PixelData = encapsulate([buffer.getvalue() + b"TAILSECRET"])
    data["PixelData"].VR, data["PixelData"].is_undefined_length = "OB", True
    data.save_as(path)
    cleaned = _clean(path)
    assert b"SECRET" in path.read_bytes()
    assert b"SECRET" not in cleaned.data
    new = _again(cleaned.data)
    assert new.file_meta.TransferSyntaxUID == JPEGBaseline8Bit
    assert np.array_equal(new.pixel_array, data.pixel_array)
    assert {"comment", "EXIF", "bytes after the end"} <= {action.why.split(";")[0] for action in cleaned.actions}


def test_a_jpeg_2000_codestream_loses_its_comment_alone() -> None:
    old = pydicom.dcmread(_file("MR_small_jp2klossless.dcm"))
    assert old.file_meta.TransferSyntaxUID == JPEG2000Lossless
    stream = next(generate_frames(old.PixelData, number_of_frames=1))
    said = b"\xff\x64" + (15).to_bytes(2, "big") + b"\0\1J2KSECRET!!"
    at = stream.index(b"\xff\x90")
    stripped = codestream.strip(stream[:at] + said + stream[at:].rstrip(b"\0") + b"TAIL")
    assert "comment" in stripped.removed
    assert "bytes after the end" in stripped.removed
    assert b"SECRET" not in stripped.data
    assert stripped.data == codestream.strip(stream).data


@pytest.mark.parametrize("cut", [3, 30, 200])
def test_a_damaged_codestream_is_refused(cut: int) -> None:
    buffer = io.BytesIO()
    Pillow.fromarray(COLOUR).save(buffer, "JPEG")
    with pytest.raises(ValueError, match=r"missing|whole"):
        codestream.strip(buffer.getvalue()[:cut])


def test_bytes_after_the_last_pixel_go(tmp_path: Path) -> None:
    path = dicom(tmp_path / "x.dcm", RAMP, bits=16, PixelData=RAMP.tobytes() + b"HIDDENTAIL")
    cleaned = _clean(path)
    assert b"HIDDENTAIL" not in cleaned.data
    assert _again(cleaned.data).PixelData == RAMP.tobytes()


def test_an_overlay_in_unused_bits_goes(tmp_path: Path) -> None:
    grey = RAMP % 4096
    path = dicom(tmp_path / "x.dcm", grey | (np.eye(24, 32, dtype=np.uint16) << 12), bits=12)
    data = pydicom.dcmread(path)
    data.add_new(0x60000100, "US", 16)
    data.add_new(0x60000102, "US", 12)
    data.save_as(path)
    new = _again(_clean(path).data)
    assert np.array_equal(np.frombuffer(new.PixelData, np.uint16).reshape(grey.shape), grey)
    assert 0x60000102 not in new


def test_overlays_stay_when_asked_for_without_their_texts() -> None:
    path = _file("examples_overlay.dcm")
    old = pydicom.dcmread(path)
    assert 0x60003000 in old
    assert 0x60003000 not in _again(_clean(path).data)
    kept = _again(_clean(path, overlays=True).data)
    assert kept[0x60003000].value == old[0x60003000].value
    assert 0x60000022 not in kept


def test_what_cannot_be_blanked_is_refused_with_a_remedy(tmp_path: Path) -> None:
    path = dicom(tmp_path / "x.dcm", RAMP, bits=16)
    with pytest.raises(InputError, match="frame 1, and the file has 1"):
        _clean(path, BOX._replace(frame=1))
    truncated = dicom(tmp_path / "y.dcm", RAMP, bits=16, PixelData=RAMP.tobytes()[:-64])
    for boxes in ((), (BOX,)):
        with pytest.raises(InputError, match=r"export it again|cannot be decoded") as caught:
            _clean(truncated, *boxes)
        assert caught.value.problems[0].remedy
    label = dicom(tmp_path / "z.dcm", RAMP, bits=16, ImageType=["DERIVED", "PRIMARY", "LABEL", "NONE"])
    with pytest.raises(InputError, match="label of a slide"):
        _clean(label)


def test_our_own_check_stops_a_changed_pixel_and_a_kept_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = dicom(tmp_path / "x.dcm", RAMP, bits=16, InstitutionName="Hanbit Hospital")
    with monkeypatch.context() as broken:
        broken.setattr(frames, "blank", lambda array, boxes, black: array + np.uint16(1))
        with pytest.raises(InputError, match="outside the boxes changed"):
            _clean(path, BOX)
    from chambit.prepare.deidentify import walk
    from chambit.prepare.deidentify.profile import Rule

    with monkeypatch.context() as broken:
        broken.setattr(walk, "rule", lambda *_, **__: (Rule.KEEP, ""))
        with pytest.raises(InputError, match="does not pass its check"):
            _clean(path)


# --- what is left of identifiers


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "utf-16-be", "euc_kr", "iso2022_kr", "latin-1"])
def test_residuals_are_found_in_every_encoding(encoding: str) -> None:
    word = "Gildong" if encoding == "latin-1" else "홍길동"
    noise = np.random.default_rng(1).integers(0, 256, 4000, np.uint8).tobytes()
    (found,) = deidentify.residuals(noise + word.encode(encoding) + noise, ["GILDONG", "홍길동"])
    assert word not in found
    assert "*" in found


def test_residuals_of_other_bytes_are_none() -> None:
    noise = np.random.default_rng(2).integers(0, 256, 3_000_000, np.uint8).tobytes()
    assert deidentify.residuals(noise, ["Kim", "Hong", "홍길", "김하늘", "12345", "19700102", "MRN-4711234"]) == []


def test_a_short_word_counts_only_where_it_stands_alone() -> None:
    assert deidentify.residuals(b"MEEKIMAGE 3123456 1.12345.2", ["Kim", "12345"]) == []
    assert len(deidentify.residuals(b"for KIM, 12345 ", ["Kim", "12345"])) == 2
    assert not residue.searchable("00000000")


def test_residuals_look_into_a_deflated_data_set() -> None:
    data = _file("image_dfl.dcm").read_bytes()
    said = str(pydicom.dcmread(io.BytesIO(data)).StudyInstanceUID)
    assert said.encode() not in data
    assert deidentify.residuals(data, [said])
