"""DICOM: the displayed brightness, whatever the header does to it; no patient data in any message."""

import logging
import warnings
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGLSLossless,
    RLELossless,
)

from chambit.core.errors import InputError
from chambit.images import readers
from imagefiles import RAMP, SHARED, dicom, one, png, refused


def test_one_picture_reads_the_same_from_png_and_dicom(tmp_path: Path) -> None:
    grey = RAMP / np.float32(255)
    linear = {"WindowCenter": 1000 + 255 * 4 / 2, "WindowWidth": 255 * 4, "VOILUTFunction": "LINEAR_EXACT"}
    twelve = RAMP.astype(np.uint16) * 4 + 1000
    files = {
        "png8": png(tmp_path / "8.png", RAMP),
        "png16": png(tmp_path / "16.png", RAMP.astype(np.uint16) * 257),
        "dicom8": dicom(tmp_path / "8.dcm", RAMP, bits=8),
        "dicom16": dicom(tmp_path / "16.dcm", RAMP.astype(np.uint16) * 257, bits=16),
        "windowed": dicom(tmp_path / "w.dcm", twelve, bits=12, **linear),
        "inverted": dicom(tmp_path / "i.dcm", 255 - RAMP, bits=8, PhotometricInterpretation="MONOCHROME1"),
        "rescaled": dicom(
            tmp_path / "r.dcm",
            (twelve.astype(np.int16) - 2000),
            bits=12,
            RescaleSlope=2,
            RescaleIntercept=-5,
            WindowCenter=2 * (-1000 + 510) - 5,
            WindowWidth=2 * 1020,
            VOILUTFunction="LINEAR_EXACT",
        ),
        "signed": dicom(tmp_path / "s.dcm", (RAMP.astype(int) * 257 - 32768).astype(np.int16), bits=16),
        "negative slope": dicom(tmp_path / "n.dcm", 255 - RAMP, bits=8, RescaleSlope=-1, RescaleIntercept=255),
        "big endian": dicom(tmp_path / "b.dcm", RAMP.astype(np.uint16) * 257, bits=16, syntax=ExplicitVRBigEndian),
    }
    for name, path in files.items():
        assert one(path).grey() == pytest.approx(grey, abs=1 / 65535), name


def test_window_edges_and_monochrome1(tmp_path: Path) -> None:
    twelve = np.array([[0, 1000, 1500, 2000, 4095]], np.uint16)
    window = {"WindowCenter": 1500.5, "WindowWidth": 1001}  # LINEAR: from 1000 to 2000
    plain = one(dicom(tmp_path / "a.dcm", twelve, bits=12, **window)).grey()
    assert plain == pytest.approx(np.array([[0, 0, 0.5, 1, 1]]), abs=1e-4)
    turned = dicom(tmp_path / "b.dcm", twelve, bits=12, PhotometricInterpretation="MONOCHROME1", **window)
    assert one(turned).grey() == pytest.approx(1 - plain, abs=1e-4)
    full = one(dicom(tmp_path / "c.dcm", twelve, bits=12))
    assert full.white == 4095
    assert np.array_equal(full.pixels, twelve)


def test_voi_table(tmp_path: Path) -> None:
    item = Dataset()
    item.LUTDescriptor, item.LUTData = [4, 0, 16], [0, 65535, 100, 200]
    item["LUTDescriptor"].VR = item["LUTData"].VR = "US"
    path = dicom(tmp_path / "x.dcm", np.array([[0, 1, 2, 9]], np.uint8), bits=8, VOILUTSequence=[item])
    assert one(path).pixels.tolist() == [[0, 65535, 100, 200]]


def test_colour_dicom(tmp_path: Path) -> None:
    rgb = np.stack([RAMP, RAMP // 2, 255 - RAMP], axis=2)
    assert np.array_equal(one(dicom(tmp_path / "x.dcm", rgb, bits=8)).pixels, rgb)


def test_facts_without_identifiers(tmp_path: Path) -> None:
    image = one(dicom(tmp_path / "x.dcm", RAMP, bits=8))
    assert image.subject == "P-17"
    assert image.label == ""
    assert image.spacing_mm == (0.2, 0.3)
    assert image.fields == {"view": "PA", "sex": "F", "age": "40-49", "modality": "DX", "site": "Seoul"}
    born = one(dicom(tmp_path / "b.dcm", RAMP, bits=8, PatientAge=None, StudyDate="20240101"))
    assert born.fields["age"] == "50-59"
    assert "1970" not in repr(born)
    assert one(dicom(tmp_path / "o.dcm", RAMP, bits=8, PatientAge="097Y")).fields["age"] == "90+"
    assert one(dicom(tmp_path / "m.dcm", RAMP, bits=8, PatientAge="018M")).fields["age"] == "0-9"


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian])
def test_without_preamble_and_file_meta(tmp_path: Path, syntax: str) -> None:
    data = pydicom.dcmread(dicom(tmp_path / "x", RAMP, bits=8, syntax=syntax))
    implicit = syntax == ImplicitVRLittleEndian
    pydicom.dcmwrite(tmp_path / "bare", strip(data), implicit_vr=implicit, little_endian=True, force_encoding=True)
    assert (tmp_path / "bare").read_bytes()[128:132] != b"DICM"
    assert np.array_equal(one(tmp_path / "bare").pixels, RAMP)
    del data.BitsStored
    pydicom.dcmwrite(tmp_path / "short", strip(data), implicit_vr=implicit, little_endian=True, force_encoding=True)
    assert "BitsStored" in refused(tmp_path / "short")[0]


def strip(data: pydicom.Dataset) -> pydicom.Dataset:
    """The data set without its file meta information."""
    bare = pydicom.Dataset(data)
    bare.file_meta = FileMetaDataset()
    return bare


BAD = {
    "no picture (no PixelData": {"PixelData": None},
    "do not fit the header": {"NumberOfFrames": 2},
    "lacks Rows": {"Rows": None},
    "RescaleSlope is 0": {"RescaleSlope": 0, "RescaleIntercept": 1},
    "window": {"WindowCenter": 10, "WindowWidth": 0},
    "photometric": {"PhotometricInterpretation": "HSV"},
    "contradict": {"BitsStored": 12},
    "pixels do not fit": {"Rows": 400},
}


@pytest.mark.filterwarnings("error")  # a warning of pydicom's could quote a patient's data
@pytest.mark.parametrize("reason", BAD)
def test_bad_dicom_is_refused_without_patient_data(tmp_path: Path, reason: str) -> None:
    path = dicom(tmp_path / "x.dcm", RAMP, bits=8, **BAD[reason])
    assert reason in refused(path)[0]
    with pytest.raises(InputError) as caught:
        list(readers.open_any(path))
    assert not any(word in str(caught.value) for word in ("P-17", "Hong", "1970"))


def test_truncated_dicom_never_gives_an_image(tmp_path: Path) -> None:
    whole = dicom(tmp_path / "x.dcm", RAMP, bits=8).read_bytes()
    for length in range(140, len(whole) - 1, 29):
        (tmp_path / "x.dcm").write_bytes(whole[:length])
        refused(tmp_path / "x.dcm")


def test_unknown_compression_names_syntax_and_package(tmp_path: Path) -> None:
    path = get_testdata_file("MR_small_jpeg_ls_lossless.dcm", download=False)
    if path is None or pydicom.pixels.get_decoder(JPEGLSLossless).is_available:
        pytest.skip("a JPEG-LS decoder is installed, or pydicom's test files are not")
    what, remedy = refused(Path(path))
    assert "JPEG-LS Lossless" in what
    assert "pip install" in remedy


@pytest.mark.parametrize(
    "name",
    [
        "MR_small.dcm",
        "MR_small_RLE.dcm",
        "MR_small_bigendian.dcm",
        "MR_small_implicit.dcm",
        "MR_small_jp2klossless.dcm",
    ],
)
def test_syntaxes_agree_on_pydicoms_own_files(name: str) -> None:
    path, first = get_testdata_file(name, download=False), get_testdata_file("MR_small.dcm", download=False)
    if path is None or first is None:
        pytest.skip("pydicom's test files are not installed")
    assert np.array_equal(one(Path(path)).pixels, one(Path(first)).pixels)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("MR_truncated.dcm", "truncated"),
        ("rtplan.dcm", "RT Plan Storage"),
        ("rtdose_1frame.dcm", "32 bits"),
        ("badVR.dcm", "header cannot be understood"),
        ("meta_missing_tsyntax.dcm", "no file meta"),
    ],
)
def test_pydicoms_odd_files_are_refused(name: str, reason: str) -> None:
    path = get_testdata_file(name, download=False)
    if path is None:
        pytest.skip("pydicom's test files are not installed")
    assert reason in refused(Path(path))[0]


def test_compressed_colour_of_pydicom() -> None:
    paths = [get_testdata_file(n, download=False) for n in ("SC_rgb_rle.dcm", "examples_palette.dcm")]
    for path in paths:
        if path is None:
            pytest.skip("pydicom's test files are not installed")
        image = one(Path(path))
        assert image.pixels.ndim == 3
        assert image.colour


def test_rle_of_ours(tmp_path: Path) -> None:
    data = pydicom.dcmread(dicom(tmp_path / "x.dcm", RAMP, bits=8))
    data.compress(RLELossless)
    data.save_as(tmp_path / "rle.dcm")
    assert np.array_equal(one(tmp_path / "rle.dcm").pixels, RAMP)


def test_real_dicom_with_burned_in_text() -> None:
    folder = SHARED / "dicom_burnedin_presidio"
    if not folder.is_dir():
        pytest.skip(f"the shared data set is not here ({folder})")
    files = sorted(folder.rglob("*.dcm"))
    image = next(one(path) for path in files if path.name == "0_ORIGINAL_rle.dcm")
    assert image.pixels.shape == (1760, 2140)
    assert image.fields["modality"] == "CR"
    assert image.grey().min() >= 0
    assert image.grey().max() <= 1


def test_odd_values_of_a_good_file_reach_neither_warnings_nor_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = dicom(tmp_path / "x.dcm", RAMP, PatientAge="HONG-GILDONG-1970", PixelData=RAMP.tobytes() + bytes(20))
    caplog.clear()  # of what pydicom said while the file was written
    with warnings.catch_warnings(record=True) as told, caplog.at_level(logging.DEBUG):
        warnings.simplefilter("always")
        assert np.array_equal(one(path).pixels, RAMP)
    assert told == []
    assert caplog.records == []
    assert "age" not in one(path).fields


def test_large_and_small_images_are_windowed_alike(tmp_path: Path) -> None:
    small = np.random.default_rng(1).integers(-2048, 2048, (20, 30)).astype(np.int16)
    large = np.tile(small, (10, 10))
    tags = {"RescaleSlope": -2, "RescaleIntercept": 7, "WindowCenter": 40, "WindowWidth": 400}
    one_by_one = one(dicom(tmp_path / "s.dcm", small, bits=12, **tags))
    by_table = one(dicom(tmp_path / "l.dcm", large, bits=12, **tags))
    assert np.array_equal(by_table.pixels, np.tile(one_by_one.pixels, (10, 10)))
    shown = np.clip(((small * -2.0 + 7) - 39.5) / 399 + 0.5, 0, 1)  # PS3.3 C.11.2.1.2.1
    assert one_by_one.grey() == pytest.approx(shown, abs=1e-4)
