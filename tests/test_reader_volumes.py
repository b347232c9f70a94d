"""Volumes and slides: NIfTI slices the right way up and over the whole range; tiles of tissue, never the label."""

import gzip
import struct
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chambit.images import readers
from chambit.images.image import Image
from chambit.images.readers import nifti, slide
from imagefiles import RAMP, SHARED, one, png, refused

nibabel = pytest.importorskip("nibabel")


def volume(path: Path, values: np.ndarray, affine: np.ndarray | None = None, **header: object) -> Path:
    """Write a NIfTI-1 volume with its values as stored."""
    image = nibabel.Nifti1Image(values, np.diag([2.0, 3.0, 4.0, 1.0]) if affine is None else affine)
    for name, value in header.items():
        image.header[name] = value
    nibabel.save(image, path)
    return path


def all_of(path: Path, part: str = "") -> dict[str, Image]:
    """The images of a file by name."""
    return dict(readers.open_any(path, part))


def marked() -> np.ndarray:
    """A volume int16 (5, 6, 4), x to the right, y to the front, z to the head, with a mark at right, front, top."""
    values = np.zeros((5, 6, 4), np.int16)
    values[4, 5, 3], values[0, 0, 0] = 1000, -24
    return values


# --- NIfTI


@pytest.mark.parametrize("ending", ["nii", "nii.gz"])
def test_slices_are_shown_as_radiologists_look_at_them(tmp_path: Path, ending: str) -> None:
    path = volume(tmp_path / f"x.{ending}", marked())
    assert readers.find(path)[0] == "nifti"
    assert nifti.frames(path) == 4
    found = all_of(path)
    assert list(found) == ["0", "1", "2", "3"]
    top = found["3"]
    assert top.pixels.shape == (6, 5)  # rows from front to back, columns from the patient's right to the left
    assert np.argwhere(top.pixels == top.white).tolist() == [[0, 0]]
    assert np.argwhere(found["0"].pixels == 0).tolist() == [[5, 4]]
    assert top.spacing_mm == (3.0, 2.0)
    assert top.shown == "range -24 to 1000"
    assert top.grey()[3, 3] == pytest.approx(24 / 1024, abs=1e-5)
    assert top.fields == {"slice": "3", "axes": "LPS", "spacing_mm": "2 3 4"}
    assert np.array_equal(all_of(path, "3")["3"].pixels, top.pixels)


@pytest.mark.parametrize("axes", ["RAS", "LPS", "LAS", "ASR", "SPL", "PIR"])
def test_any_orientation_gives_the_same_slices(tmp_path: Path, axes: str) -> None:
    from nibabel import orientations

    straight = nibabel.Nifti1Image(marked(), np.diag([2.0, 3.0, 4.0, 1.0]))
    to = orientations.ornt_transform(
        orientations.io_orientation(straight.affine), orientations.axcodes2ornt(tuple(axes))
    )
    nibabel.save(straight.as_reoriented(to), tmp_path / "x.nii.gz")
    expected = all_of(volume(tmp_path / "plain.nii", marked()))
    found = all_of(tmp_path / "x.nii.gz")
    assert list(found) == list(expected)
    for name, image in found.items():
        assert np.array_equal(image.pixels, expected[name].pixels)
        assert image.spacing_mm == (3.0, 2.0)


def test_slope_units_and_time(tmp_path: Path) -> None:
    values = np.stack([marked(), marked() // 2], axis=3)
    path = volume(tmp_path / "x.nii", values, xyzt_units=3, scl_slope=2.0, scl_inter=-10.0)  # 3: micrometres
    found = all_of(path)
    assert len(found) == nifti.frames(path) == 8
    low, high = (float(word) for word in found["0"].shown.removeprefix("range ").split(" to "))
    assert (high - low) == pytest.approx(2 * 1024 if high > 1500 else 1024)
    assert found["7"].fields == {"slice": "3", "time": "1", "axes": "LPS", "spacing_mm": "0.002 0.003 0.004"}
    assert found["7"].grey().max() == pytest.approx((500 + 24) / 1024, abs=1e-4)
    assert found["0"].spacing_mm == pytest.approx((0.003, 0.002))


def test_eight_bits_stay_eight_and_one_slice_has_no_number(tmp_path: Path) -> None:
    flat = np.arange(30, dtype=np.uint8).reshape(5, 6, 1)
    image = one(volume(tmp_path / "x.nii", flat))
    assert (image.white, image.pixels.dtype) == (255, np.uint8)
    assert (image.pixels.min(), image.pixels.max()) == (0, 255)


def test_damaged_volumes_are_refused(tmp_path: Path) -> None:
    whole = volume(tmp_path / "x.nii", marked()).read_bytes()
    (tmp_path / "magic.nii").write_bytes(whole[:344] + b"abc\0" + whole[348:])
    assert "magic word" in refused(tmp_path / "magic.nii")[0]
    (tmp_path / "pair.nii").write_bytes(whole[:344] + b"ni1\0" + whole[348:])
    assert "another file" in refused(tmp_path / "pair.nii")[0]
    (tmp_path / "short.nii").write_bytes(whole[:-20])
    assert "truncated" in refused(tmp_path / "short.nii")[0]
    (tmp_path / "header.nii").write_bytes(whole[:200])
    refused(tmp_path / "header.nii")
    noise = np.random.default_rng(1).integers(0, 999, (20, 20, 20)).astype(np.int16)
    packed = volume(tmp_path / "x.nii.gz", noise).read_bytes()
    for share in (0.3, 0.6, 0.95):
        (tmp_path / "cut.nii.gz").write_bytes(packed[: int(len(packed) * share)])
        assert "truncated" in refused(tmp_path / "cut.nii.gz")[0]
    bad = np.ones((4, 4, 2), np.float32)
    bad[1, 1, 1] = np.nan
    assert "not a number" in refused(volume(tmp_path / "nan.nii", bad))[0]
    assert "complex" in refused(volume(tmp_path / "complex.nii", bad.astype(np.complex64)))[0]
    assert "several numbers" in refused(volume(tmp_path / "five.nii", np.ones((3, 3, 2, 1, 3), np.int16)))[0]
    (tmp_path / "other.gz").write_bytes(gzip.compress(b"hello" * 100))
    assert "not an image" in refused(tmp_path / "other.gz")[0]


def test_a_real_head_is_upright() -> None:
    path = SHARED / "ct_cranium/cranium_ct.nii.gz"
    if not path.is_file():
        pytest.skip(f"the shared data set is not here ({path})")
    (image,) = all_of(path, "60").values()
    assert image.shown == "range -1024 to 2986"
    assert image.spacing_mm == pytest.approx((0.957, 0.957), abs=1e-3)
    bone = np.argwhere(image.grey() > 0.4)
    assert bone[:, 0].min() < 60  # the frontal sinus is on top; the head lies 65 rows above the table
    assert nifti.frames(path) == 108


# --- slides


SIDE = 256
"""Of a tile as it is stored."""
GLASS, LABEL = 240, 99


def tiff(path: Path, pages: Sequence[tuple[np.ndarray, str, bool]]) -> Path:
    """Write pages (pixels uint8 (H, W, 3), description, whether it is tiled) as TIFF 6.0, without compression."""
    data, at_next = bytearray(b"II*\0\0\0\0\0"), 4
    for number, (pixels, description, tiled) in enumerate(pages):
        height, width = pixels.shape[:2]
        parts = [pixels.tobytes()]
        if tiled:
            corners = [(y, x) for y in range(0, height, SIDE) for x in range(0, width, SIDE)]
            parts = [pixels[y : y + SIDE, x : x + SIDE].tobytes() for y, x in corners]
        places = []
        for part in parts:
            places.append(len(data))
            data += part
        words = description.encode() + b"\0"
        entries: dict[int, tuple[int, Sequence[int] | bytes]] = {
            254: (4, [int(number > 0)]),
            256: (4, [width]),
            257: (4, [height]),
            258: (3, [8, 8, 8]),
            259: (3, [1]),
            262: (3, [2]),
            270: (2, words),
            277: (3, [3]),
            284: (3, [1]),
        }
        where = {322: (4, [SIDE]), 323: (4, [SIDE]), 324: (4, places), 325: (4, [len(part) for part in parts])}
        strip = {273: (4, places), 278: (4, [height]), 279: (4, [len(parts[0])])}
        entries |= where if tiled else strip
        table = b""
        for tag, (kind, values) in sorted(entries.items()):
            body = values if isinstance(values, bytes) else struct.pack(f"<{len(values)}{'HI'[kind == 4]}", *values)
            if len(body) > 4:
                data += bytes(len(data) % 2)
                place, field = len(data), struct.pack("<I", len(data))
                data += body
                assert place % 2 == 0
            else:
                field = body.ljust(4, b"\0")
            table += struct.pack("<HHI", tag, kind, len(values)) + field
        data += bytes(len(data) % 2)
        data[at_next : at_next + 4] = struct.pack("<I", len(data))
        data += struct.pack("<H", len(entries)) + table
        at_next = len(data)
        data += bytes(4)
    path.write_bytes(data)
    return path


def scan(*, tissue: int = 1100) -> np.ndarray:
    """A slide of 2048 x 1024 pixels: glass, with stained tissue in the columns on the left."""
    pixels = np.full((1024, 2048, 3), GLASS, np.uint8)
    stain = np.random.default_rng(0).integers(0, 20, (1024, tissue), np.uint8)
    pixels[:, :tissue] = np.stack([200 - stain, 90 + stain, 160 - stain], axis=2)
    return pixels


@pytest.fixture
def openslide() -> object:
    """The package, or a skip."""
    return pytest.importorskip("openslide", reason="OpenSlide is not installed (extra `slides`)")


def test_a_pyramid_gives_the_tiles_that_show_tissue(tmp_path: Path, openslide: object) -> None:
    pixels = scan()
    path = tiff(tmp_path / "x.tif", [(pixels, "", True), (pixels[::2, ::2], "", True)])
    assert readers.find(path)[0] == "slide"
    found = all_of(path)
    # 1100 columns of tissue: the third column of tiles begins at 1024 and shows 76 of 512
    places = [(image.fields["tile_x"], image.fields["tile_y"]) for image in found.values()]
    assert places == [("0", "0"), ("512", "0"), ("0", "512"), ("512", "512")]
    assert list(found) == ["0", "1", "2", "3"]
    assert slide.frames(path) == 4
    assert np.array_equal(found["3"].pixels, pixels[512:, 512:1024])
    assert np.array_equal(all_of(path, "3")["3"].pixels, found["3"].pixels)
    assert found["0"].spacing_mm is None
    half = tiff(tmp_path / "half.tif", [(scan(tissue=1200), "", True), (scan(tissue=1200)[::2, ::2], "", True)])
    assert slide.frames(half) == 4
    more = tiff(tmp_path / "more.tif", [(scan(tissue=1400), "", True), (scan(tissue=1400)[::2, ::2], "", True)])
    assert slide.frames(more) == 6


def test_an_empty_slide_has_no_tiles(tmp_path: Path, openslide: object) -> None:
    noise = np.random.default_rng(5).integers(GLASS - 3, GLASS + 4, (1024, 1024, 3)).astype(np.uint8)
    path = tiff(tmp_path / "x.tif", [(noise, "", True), (noise[::2, ::2], "", True)])
    assert "tissue" in refused(path)[0]


def scanner(path: Path) -> Path:
    """A file as Aperio's scanners write them (openslide.org/formats/aperio): levels in tiles, a label in one strip."""
    pixels = scan()
    label = np.full((200, 300, 3), LABEL, np.uint8)
    said = "Aperio Image Library v1\r\n2048x1024 |AppMag = 20|MPP = 0.5|Patient = HONG"
    levels = [(pixels, said, True), (label[::2, ::2], "Aperio\r\nthumb", False), (pixels[::2, ::2], said, True)]
    return tiff(path, [*levels, (label, "Aperio Image Library v1\r\nlabel 300x200", False)])


def test_the_level_is_nearest_to_a_micrometre_and_the_label_is_never_read(tmp_path: Path, openslide: Any) -> None:
    path = scanner(tmp_path / "x.svs")
    with openslide.OpenSlide(path) as opened:
        assert "label" in opened.associated_images  # there is one to be left alone
    found = all_of(path)
    assert list(found) == [""]  # at 1 micrometre the slide is 1024 x 512: two tiles, one of tissue
    (tile,) = found.values()
    assert np.array_equal(tile.pixels, scan()[::2, ::2][:, :512])
    assert tile.spacing_mm == pytest.approx((0.001, 0.001))
    assert not (tile.pixels == LABEL).all(axis=2).any()
    assert "HONG" not in repr(tile)


def test_without_openslide_no_page_of_a_slide_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = scanner(tmp_path / "x.svs")
    png(tmp_path / "x.jpg", RAMP).rename(tmp_path / "x.mrxs")
    monkeypatch.setitem(sys.modules, "openslide", None)
    for slides in (path, tmp_path / "x.mrxs"):
        what, remedy = refused(slides)
        assert "slide" in what
        assert "pip install 'chambit[slides]'" in remedy


def test_a_plain_tiff_in_tiles_is_a_picture(tmp_path: Path, openslide: object) -> None:
    path = tiff(tmp_path / "x.tif", [(scan(), "", True)])
    assert readers.find(path)[0] == "raster"
    assert np.array_equal(one(path).pixels, scan())


def test_a_truncated_slide_is_refused(tmp_path: Path, openslide: object) -> None:
    path = scanner(tmp_path / "x.svs")
    path.write_bytes(path.read_bytes()[:-3000])
    refused(path)


def test_otsu_parts_two_groups_and_says_nothing_of_one() -> None:
    rng = np.random.default_rng(2)
    values = np.concatenate([rng.normal(30, 4, 900), rng.normal(120, 9, 300)]).clip(0, 255).astype(np.uint8)
    assert 42 <= slide.otsu(values) <= 92
    assert slide.otsu(np.full(50, 7, np.uint8)) == 0
