"""Files with several frames: DICOM classic and enhanced, pages, animations, films; lazily, by number, or refused."""

import sys
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image as Pillow
from pydicom.data import get_charset_files, get_testdata_file, get_testdata_files
from pydicom.dataset import Dataset
from pydicom.pixels import get_decoder
from pydicom.sequence import Sequence
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from chambit.core.errors import InputError
from chambit.images import readers
from chambit.images.image import Image
from chambit.images.readers import dicom as dicom_reader
from imagefiles import RAMP, dicom, one, png, refused

STACK = np.stack([RAMP, 255 - RAMP, RAMP // 2])


def several(path: Path, frames: np.ndarray, **tags: object) -> Path:
    """A DICOM file with frames (N, H, W) or (N, H, W, 3)."""
    dicom(path, frames[0], bits=frames.dtype.itemsize * 8, NumberOfFrames=len(frames), PixelData=frames.tobytes())
    data = pydicom.dcmread(path)
    for name, value in tags.items():
        setattr(data, name, value)
    data.save_as(path)
    return path


def all_of(path: Path, part: str = "") -> dict[str, Image]:
    """The images of a file by name."""
    return dict(readers.open_any(path, part))


# --- DICOM


def test_classic_frames_are_numbered_counted_and_picked(tmp_path: Path) -> None:
    path = several(tmp_path / "x.dcm", STACK)
    found = all_of(path)
    assert list(found) == ["0", "1", "2"]
    assert all(np.array_equal(found[str(at)].pixels, STACK[at]) for at in range(3))
    assert {image.subject for image in found.values()} == {"P-17"}
    assert dicom_reader.frames(path) == 3
    assert dicom_reader.frames(dicom(tmp_path / "single.dcm", RAMP)) == 1
    picked = all_of(path, "1")
    assert list(picked) == ["1"]
    assert np.array_equal(picked["1"].pixels, STACK[1])
    for part in ("3", "x", "-1"):
        assert refused(path, part) == (f"has no frame '{part}'", "its frames are 0 to 2")


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless, JPEGLSLossless, DeflatedExplicitVRLittleEndian])
def test_frames_agree_in_every_transfer_syntax(tmp_path: Path, syntax: pydicom.uid.UID) -> None:
    path = several(tmp_path / "x.dcm", np.kron(STACK, np.ones((1, 4, 4), np.uint16)) * 257)
    data = pydicom.dcmread(path)
    if syntax.is_encapsulated:
        if not get_decoder(syntax).is_available:
            pytest.skip("no decoder for it is installed (extra `decoders`)")
        data.compress(syntax)
    data.file_meta.TransferSyntaxUID = syntax
    data.save_as(tmp_path / "y.dcm")
    plain, other = all_of(path), all_of(tmp_path / "y.dcm")
    assert all(np.array_equal(plain[name].pixels, other[name].pixels) for name in ("0", "1", "2"))


def test_frames_in_big_endian(tmp_path: Path) -> None:
    deep = STACK.astype(np.uint16) * 257
    stored = deep.byteswap().tobytes()
    path = dicom(tmp_path / "x.dcm", deep[0], bits=16, syntax=ExplicitVRBigEndian, NumberOfFrames=3, PixelData=stored)
    assert all(np.array_equal(image.pixels, deep[int(name)]) for name, image in all_of(path).items())


def test_one_frame_is_decoded_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = several(tmp_path / "x.dcm", STACK)
    shown: list[int] = []
    told = dicom_reader.displayed
    monkeypatch.setattr(dicom_reader, "displayed", lambda *given: (shown.append(1), told(*given))[1])
    stream = readers.open_any(path)
    next(stream)
    assert len(shown) == 1
    next(stream)
    assert len(shown) == 2


def test_a_film_that_breaks_off_gives_its_first_frames_and_then_the_reason(tmp_path: Path) -> None:
    path = several(tmp_path / "x.dcm", STACK)
    data = pydicom.dcmread(path)
    data.compress(RLELossless)
    frames = list(pydicom.encaps.generate_frames(data.PixelData, number_of_frames=3))
    data.PixelData = pydicom.encaps.encapsulate([frames[0], frames[1], frames[2][:70]])
    data.save_as(path)
    stream = readers.open_any(path)
    assert np.array_equal(next(stream)[1].pixels, STACK[0])
    assert np.array_equal(next(stream)[1].pixels, STACK[1])
    with pytest.raises(InputError, match="damaged or truncated") as caught:
        next(stream)
    assert "Hong" not in str(caught.value)


def group(**macros: dict[str, object]) -> Dataset:
    """One functional group: macro -> attributes."""
    made = Dataset()
    for macro, attributes in macros.items():
        item = Dataset()
        for name, value in attributes.items():
            setattr(item, name, value)
        setattr(made, macro, Sequence([item]))
    return made


def test_enhanced_frames_have_their_own_rescale_window_and_spacing(tmp_path: Path) -> None:
    values = np.stack([np.arange(192, dtype=np.uint16).reshape(16, 12) * 20] * 2)
    shared = group(PixelMeasuresSequence={"PixelSpacing": [0.5, 0.7]})
    windows = [{"WindowCenter": 1000, "WindowWidth": 2000}, {"WindowCenter": 2000, "WindowWidth": 1000}]
    rescales = [{"RescaleSlope": 1, "RescaleIntercept": 0}, {"RescaleSlope": 2, "RescaleIntercept": -1000}]
    own = [
        group(FrameVOILUTSequence=window | {"VOILUTFunction": "LINEAR_EXACT"}, PixelValueTransformationSequence=rescale)
        for window, rescale in zip(windows, rescales, strict=True)
    ]
    own[1].PixelMeasuresSequence = group(PixelMeasuresSequence={"PixelSpacing": [0.1, 0.2]}).PixelMeasuresSequence
    path = several(
        tmp_path / "x.dcm",
        values,
        SharedFunctionalGroupsSequence=Sequence([shared]),
        PerFrameFunctionalGroupsSequence=Sequence(own),
    )
    found = all_of(path)
    for name, window, rescale in zip("01", windows, rescales, strict=True):
        modality = values[0] * float(rescale["RescaleSlope"]) + rescale["RescaleIntercept"]
        # PS3.3 C.11.2.1.3.2: y = (x - c) / w + 0.5, cut to [0, 1]
        expected = np.clip((modality - window["WindowCenter"]) / window["WindowWidth"] + 0.5, 0, 1)
        assert found[name].grey() == pytest.approx(expected, abs=1e-4)
    assert [found[name].spacing_mm for name in "01"] == [(0.5, 0.7), (0.1, 0.2)]
    assert [found[name].shown for name in "01"] == ["window 1000/2000", "window 2000/1000"]
    assert found["1"].fields["age"] == "40-49"


def test_colour_frames_of_any_depth_and_layout(tmp_path: Path) -> None:
    rgb = np.random.default_rng(3).integers(0, 256, (2, 16, 12, 3), np.uint8)
    for planar in (0, 1):
        stored = np.moveaxis(rgb, 3, 1) if planar else rgb
        path = several(tmp_path / "x.dcm", rgb, PlanarConfiguration=planar, PixelData=stored.tobytes())
        assert all(np.array_equal(all_of(path)[str(at)].pixels, rgb[at]) for at in range(2))
    deep = one(dicom(tmp_path / "deep.dcm", rgb[0].astype(np.uint16) * 257, bits=16))
    assert (deep.white, deep.pixels.dtype) == (65535, np.uint16)
    assert deep.luminance().grey() == pytest.approx(
        Image(rgb[0], 255).luminance().pixels / np.float32(255), abs=0.51 / 255
    )


def test_luminance_is_that_of_rec_601_and_leaves_grey_alone() -> None:
    primaries = Image(np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]]], np.uint8), 255)
    assert primaries.luminance().pixels.tolist() == [[76, 150, 29, 255]]
    grey = Image(np.stack([RAMP] * 3, axis=2), 255)
    assert grey.luminance() is grey


def test_pictures_of_the_glass_are_not_read(tmp_path: Path) -> None:
    for kind in ("LABEL", "OVERVIEW"):
        path = dicom(tmp_path / "x.dcm", RAMP, ImageType=["ORIGINAL", "PRIMARY", kind, "NONE"])
        assert "label" in refused(path)[0]


# --- pydicom's own files: each ends as accepted or with a true reason

REASONS = {
    "no PixelData": "holds no picture",
    "no image": "not an image",
    "32 bits": "has 32 bits a pixel",
    "no decoder": "the decoders installed here could not read",
    "pixels": "damaged or truncated",
    "header": "header",
    "no meta": "has no file meta information",
}


def ending(path: Path) -> str:
    """How a file ends: accepted with the number of its frames, or the kind of its reason."""
    try:
        count = sum(1 for _ in readers.open_any(path))
    except InputError as error:
        (problem,) = error.problems
        assert problem.where == path.name
        assert problem.remedy
        return next(kind for kind, words in REASONS.items() if words in problem.what)
    return "one image" if count == 1 else "several images"


@pytest.mark.filterwarnings("error")
def test_every_file_of_pydicom_is_accepted_or_set_aside() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        paths = sorted({Path(file) for file in [*get_testdata_files(), *get_charset_files()] if Path(file).is_file()})
    if len(paths) < 100:
        pytest.skip("pydicom's test files are not installed")
    ends = {path: ending(path) for path in paths}
    counts = Counter(ends.values())
    assert counts.total() == len(paths)
    # every file whose header promises pixels is accepted, but for those with a reason of their own
    promising = {path.name for path, end in ends.items() if end not in ("no PixelData", "no image", "no meta")}
    assert len(promising) > 85
    assert counts["one image"] + counts["several images"] >= 0.8 * len(promising)
    names = {end: {path.name for path, found in ends.items() if found == end} for end in counts}
    assert {"examples_ybr_color.dcm", "SC_rgb_rle_2frame.dcm"} <= names["several images"]
    assert {"CT_small.dcm", "examples_palette.dcm"} <= names["one image"]
    assert "MR_truncated.dcm" in names["pixels"]
    assert "badVR.dcm" in names["header"]
    assert {"rtplan.dcm", "DICOMDIR"} <= names["no PixelData"]


def test_frames_of_pydicoms_film() -> None:
    path = get_testdata_file("examples_ybr_color.dcm", download=False)
    if path is None:
        pytest.skip("pydicom's test files are not installed")
    found = all_of(Path(path))
    assert len(found) == 30
    assert np.array_equal(all_of(Path(path), "29")["29"].pixels, found["29"].pixels)
    assert not np.array_equal(found["0"].pixels, found["29"].pixels)


# --- pages and animations


@pytest.mark.parametrize("ending", ["tif", "png", "gif"])
def test_pages_and_animations(tmp_path: Path, ending: str) -> None:
    first, *more = (Pillow.fromarray(frame) for frame in STACK)
    first.save(tmp_path / f"x.{ending}", save_all=True, append_images=more)
    found = all_of(tmp_path / f"x.{ending}")
    assert list(found) == ["0", "1", "2"]
    for number, frame in enumerate(STACK):
        image = found[str(number)]
        assert not image.colour
        assert image.grey() == pytest.approx(frame / np.float32(255), abs=1e-6)
        (picked,) = all_of(tmp_path / f"x.{ending}", str(number)).values()
        assert np.array_equal(picked.pixels, image.pixels)


def test_deep_pages_keep_their_bits(tmp_path: Path) -> None:
    first, *more = (Pillow.fromarray(frame.astype(np.uint16) * 257) for frame in STACK)
    first.save(tmp_path / "x.tif", save_all=True, append_images=more)
    found = all_of(tmp_path / "x.tif")
    assert [image.white for image in found.values()] == [65535] * 3
    assert np.array_equal(found["2"].pixels, STACK[2].astype(np.uint16) * 257)


def test_truncated_pages_are_refused(tmp_path: Path) -> None:
    noise = [Pillow.fromarray(np.random.default_rng(n).integers(0, 256, (64, 64), np.uint8)) for n in range(3)]
    noise[0].save(tmp_path / "x.tif", save_all=True, append_images=noise[1:])
    whole = (tmp_path / "x.tif").read_bytes()
    (tmp_path / "x.tif").write_bytes(whole[: len(whole) * 2 // 3])
    refused(tmp_path / "x.tif")


# --- films


def film(path: Path, frames: np.ndarray, codec: str, kind: str) -> Path:
    """Write frames uint8 (N, H, W) as a film."""
    av = pytest.importorskip("av", reason="PyAV is not installed (extra `video`)")
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=10)
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:], kind
        for frame in frames:
            picture = av.VideoFrame.from_ndarray(frame, format="gray")
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    return path


STEPS = np.stack(
    [np.kron(np.array([[0, 60], [130, 255]], np.uint8) // (1 + n), np.ones((32, 32), np.uint8)) for n in range(5)]
)


@pytest.mark.parametrize(
    ("name", "codec", "kind", "error"),
    [
        ("x.mkv", "ffv1", "gray", 0),  # lossless
        ("x.avi", "mjpeg", "yuvj420p", 3),
        ("x.mp4", "mpeg4", "yuv420p", 8),  # the range of television, 16 to 235
    ],
)
def test_films_give_their_luminance(tmp_path: Path, name: str, codec: str, kind: str, error: int) -> None:
    path = film(tmp_path / name, STEPS, codec, kind)
    assert readers.find(path)[0] == "video"
    found = all_of(path)
    assert list(found) == [str(number) for number in range(5)]
    for number, frame in enumerate(STEPS):
        image = found[str(number)]
        assert image.shown == "whole range, luminance"
        assert np.abs(image.pixels.astype(int) - frame)[8:24, 8:24].max() <= error
        assert np.abs(image.pixels.astype(int) - frame)[40:56, 40:56].max() <= error
    (picked,) = all_of(path, "3").items()
    assert picked[0] == "3"
    assert np.array_equal(picked[1].pixels, found["3"].pixels)


def test_films_cut_off_or_without_pictures_are_refused(tmp_path: Path) -> None:
    whole = film(tmp_path / "x.mp4", STEPS, "mpeg4", "yuv420p").read_bytes()
    (tmp_path / "x.mp4").write_bytes(whole[: len(whole) // 2])
    refused(tmp_path / "x.mp4")  # its index is at the end: what FFmpeg makes of the rest differs
    cut = film(tmp_path / "x.avi", STEPS, "mjpeg", "yuvj420p").read_bytes()
    (tmp_path / "x.avi").write_bytes(cut[: len(cut) // 2])
    assert "truncated" in refused(tmp_path / "x.avi")[0]
    (tmp_path / "y.mp4").write_bytes(b"\x00\x00\x00\x18ftypmp42" + bytes(300))
    refused(tmp_path / "y.mp4")


def test_without_the_package_a_film_names_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x.mp4").write_bytes(b"\x00\x00\x00\x18ftypmp42" + bytes(300))
    monkeypatch.setitem(sys.modules, "av", None)
    assert refused(tmp_path / "x.mp4") == ("a film, and nothing here reads films", "pip install 'chambit[video]'")


def test_an_ordinary_png_is_still_one_image(tmp_path: Path) -> None:
    assert np.array_equal(one(png(tmp_path / "x.png", RAMP)).pixels, RAMP)
