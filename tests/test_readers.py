"""Readers: one brightness whatever the container; a reason and a remedy for every refused file."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow
from PIL import ImageFile, TiffImagePlugin

from chambit.core import extensions
from chambit.images import readers
from imagefiles import RAMP, dicom, one, png, refused

# --- finding the reader


def test_every_reader_is_listed_and_meets_the_contract() -> None:
    found = extensions.listing("chambit.images.readers")
    assert list(found) == ["dicom", "nifti", "npz", "raster", "slide", "video"]
    for name, extension in found.items():
        module = extensions.load("chambit.images.readers", name)
        assert extension.help.endswith(".")
        assert module.version.isdecimal()
        assert all(suffix.startswith(".") for suffix in module.SUFFIXES)


def test_content_counts_not_the_name(tmp_path: Path) -> None:
    png(tmp_path / "a.png", RAMP).rename(tmp_path / "a.dcm")
    dicom(tmp_path / "b.png", RAMP, bits=8)
    assert np.array_equal(one(tmp_path / "a.dcm").pixels, RAMP)
    assert np.array_equal(one(tmp_path / "b.png").pixels, RAMP)


@pytest.mark.parametrize("content", [b"hello", b"BM is no bitmap here", b"\x00" * 300, b"PK\x03\x04docx"])
def test_other_files_are_not_images(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.png").write_bytes(content)
    what, remedy = refused(tmp_path / "x.png")
    assert "not an image Chambit can read, whatever the ending .png says" in what
    assert "dicom (.dcm" in remedy


def test_empty_missing_and_folder(tmp_path: Path) -> None:
    (tmp_path / "x.png").touch()
    assert "empty" in refused(tmp_path / "x.png")[0]
    assert "cannot be opened" in refused(tmp_path / "none.png")[0]
    assert "cannot be opened" in refused(tmp_path)[0]


# --- raster


@pytest.mark.parametrize("ending", ["png", "bmp", "tif", "gif"])
def test_grey_8_bit_is_kept(tmp_path: Path, ending: str) -> None:
    image = one(png(tmp_path / f"x.{ending}", RAMP))
    plane = image.pixels if image.pixels.ndim == 2 else image.pixels[:, :, 0]
    assert image.white == 255
    assert not image.colour
    assert np.array_equal(plane, RAMP)


def test_jpeg_is_read(tmp_path: Path) -> None:
    image = one(png(tmp_path / "x.jpg", RAMP, quality=95))
    assert image.pixels.shape == RAMP.shape
    assert np.abs(image.pixels.astype(int) - RAMP).max() < 16


@pytest.mark.parametrize("ending", ["png", "tif"])
def test_grey_16_bit_is_kept_whole(tmp_path: Path, ending: str) -> None:
    deep = RAMP.astype(np.uint16) * 257
    image = one(png(tmp_path / f"x.{ending}", deep))
    assert image.pixels.dtype == np.uint16
    assert image.white == 65535
    assert np.array_equal(image.pixels, deep)


def test_16_bit_tiff_with_white_as_zero_is_turned_round(tmp_path: Path) -> None:
    deep = RAMP.astype(np.uint16) * 257
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[262] = 0
    buffer = io.BytesIO()
    Pillow.fromarray(deep).save(buffer, "TIFF", tiffinfo=tags)
    data = bytearray(buffer.getvalue())
    if Pillow.open(io.BytesIO(data)).tag_v2[262] != 0:  # Pillow writes its own value: patch the entry
        at = data.index((262).to_bytes(2, "little") + (3).to_bytes(2, "little"))
        data[at + 8 : at + 10] = b"\x00\x00"
    (tmp_path / "x.tif").write_bytes(data)
    assert np.array_equal(one(tmp_path / "x.tif").pixels, 65535 - deep)


def test_one_bit_palette_cmyk_and_opaque_alpha(tmp_path: Path) -> None:
    bit = Pillow.fromarray(RAMP).point(lambda v: 255 * (v > 100)).convert("1")
    bit.save(tmp_path / "bit.png")
    assert set(np.unique(one(tmp_path / "bit.png").pixels)) == {0, 255}
    rgb = np.stack([RAMP, RAMP // 2, 255 - RAMP], axis=2)
    Pillow.fromarray(rgb).quantize(256).save(tmp_path / "palette.png")
    Pillow.fromarray(rgb).convert("CMYK").save(tmp_path / "cmyk.tif")
    Pillow.fromarray(rgb).convert("RGBA").save(tmp_path / "alpha.png")
    for name in ("palette.png", "cmyk.tif", "alpha.png"):
        image = one(tmp_path / name)
        assert image.pixels.shape == (*RAMP.shape, 3)
        assert image.pixels.dtype == np.uint8
        assert image.colour
    grey = np.stack([RAMP] * 3, axis=2)
    assert not one(png(tmp_path / "grey.png", grey)).colour


def test_exif_orientation_is_applied(tmp_path: Path) -> None:
    exif = Pillow.Exif()
    exif[274] = 6
    Pillow.fromarray(RAMP).save(tmp_path / "x.png", exif=exif)
    assert np.array_equal(one(tmp_path / "x.png").pixels, np.rot90(RAMP, -1))


@pytest.mark.parametrize("ending", ["png", "jpg", "bmp", "tif"])
def test_truncated_at_any_point_is_refused_even_if_a_plugin_allows_it(tmp_path: Path, ending: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)
    whole = png(tmp_path / f"x.{ending}", noise).read_bytes()
    ImageFile.LOAD_TRUNCATED_IMAGES = True
    for share in (0.1, 0.5, 0.9):
        (tmp_path / f"x.{ending}").write_bytes(whole[: int(len(whole) * share)])
        refused(tmp_path / f"x.{ending}")
    assert not ImageFile.LOAD_TRUNCATED_IMAGES


def test_floats_transparency_and_deep_colour_are_refused(tmp_path: Path) -> None:
    assert "float" in refused(png(tmp_path / "float.tif", RAMP.astype(np.float32)))[0]
    assert "32-bit" in refused(png(tmp_path / "long.tif", RAMP.astype(np.int32)))[0]
    clear = np.dstack([RAMP, RAMP, RAMP, RAMP])
    assert "transparent" in refused(png(tmp_path / "clear.png", clear))[0]
    assert "half the bits" in refused(deep_colour_png(tmp_path / "deep.png"))[0]


def deep_colour_png(path: Path) -> Path:
    """A 1 x 1 PNG with 16 bits a channel, which Pillow cannot write."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 16, 2, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(b"\x00" + struct.pack(">3H", 1, 2, 3)))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + pixels + chunk(b"IEND", b""))
    return path


# --- npz

STACK = np.stack([RAMP, 255 - RAMP, RAMP // 2])


def test_npz_parts_and_labels(tmp_path: Path) -> None:
    np.savez_compressed(
        tmp_path / "x.npz",
        train_images=STACK,
        train_labels=np.array([[0], [1], [0]], np.uint8),
        val_images=STACK[:1],
        val_labels=np.array([7]),
    )
    both = dict(readers.open_any(tmp_path / "x.npz"))
    assert list(both) == ["train[0]", "train[1]", "train[2]", "val[0]"]
    assert [image.label for image in both.values()] == ["0", "1", "0", "7"]
    assert np.array_equal(both["train[1]"].pixels, STACK[1])
    assert [name for name, _ in readers.open_any(tmp_path / "x.npz", "val")] == ["val[0]"]
    assert "train, val" in refused(tmp_path / "x.npz", "test")[1]


def test_npz_bare_names_words_and_colour(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", images=np.stack([STACK] * 3, axis=3), labels=np.array(["a", "b", "a"]))
    images = dict(readers.open_any(tmp_path / "x.npz"))
    assert list(images) == ["images[0]", "images[1]", "images[2]"]
    assert images["images[1]"].label == "b"
    assert images["images[1]"].pixels.shape == (*RAMP.shape, 3)


NPZ = {
    "holds no images": {"pictures": STACK},
    "not uint8": {"images": STACK / 255, "labels": np.arange(3)},
    "has shape": {"images": np.stack([STACK] * 4), "labels": np.arange(4)},
    "no 'train_labels'": {"train_images": STACK},
    "2 columns": {"images": STACK, "labels": np.zeros((3, 2), int)},
    "not one number or word for each of 3": {"images": STACK, "labels": np.arange(2)},
    "is float64": {"images": STACK, "labels": np.zeros(3)},
    "pickled": {"images": np.array([None, {}, []], object), "labels": np.arange(3)},
    "'labels' is a pickled": {"images": STACK, "labels": np.array([None, {}, []], object)},
}


@pytest.mark.parametrize("reason", NPZ)
def test_bad_npz_is_refused(tmp_path: Path, reason: str) -> None:
    np.savez(tmp_path / "x.npz", **NPZ[reason])
    assert reason in refused(tmp_path / "x.npz")[0]


def test_truncated_npz(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", images=STACK, labels=np.arange(3))
    whole = (tmp_path / "x.npz").read_bytes()
    (tmp_path / "x.npz").write_bytes(whole[: len(whole) // 2])
    assert "damaged" in refused(tmp_path / "x.npz")[0]
    at = whole.index(STACK[1].tobytes())
    (tmp_path / "x.npz").write_bytes(whole[:at] + b"\x01" + whole[at + 1 :])
    assert "damaged" in refused(tmp_path / "x.npz")[0]
