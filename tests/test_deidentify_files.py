"""De-identification of PNG, JPEG, GIF, TIFF, BMP and NIfTI files: pixels byte for byte, nothing beside them."""

import gzip
import io
import struct
import zlib
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow
from PIL import PngImagePlugin

from chambit.core.errors import InputError
from chambit.prepare import deidentify, metadata
from chambit.prepare.redaction import Redaction

KEY = deidentify.Key(bytes(range(32)))
BOX = Redaction(0, 2, 3, 9, 8, "text", 0.9)
GREY = np.random.default_rng(3).integers(1, 255, (24, 32), np.uint8)
COLOUR = np.random.default_rng(4).integers(1, 255, (24, 32, 3), np.uint8)
DEEP = np.random.default_rng(5).integers(1, 65535, (24, 32)).astype(np.uint16)
SUFFIXES = {"PNG": ".png", "JPEG": ".jpg", "GIF": ".gif", "TIFF": ".tif", "BMP": ".bmp"}


def _bytes(kind: str, pixels: np.ndarray = GREY, **options: Any) -> bytes:
    buffer = io.BytesIO()
    Pillow.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()


def _clean(tmp_path: Path, data: bytes, *boxes: Redaction, **options: Any) -> deidentify.Cleaned:
    (tmp_path / "x").write_bytes(data)
    return deidentify.clean(tmp_path / "x", "Hong/19700102.png", KEY, boxes, **options)


def _pixels(data: bytes) -> np.ndarray:
    with Pillow.open(io.BytesIO(data)) as picture:
        return np.asarray(picture)


def _planted(kind: str) -> bytes:
    """A picture with a secret in each place that its format has for one."""
    exif = Pillow.Exif()
    exif[0x010E], exif[0x013B] = "EXIFSECRET", "Hong Gildong"
    exif.get_ifd(0x8825)[2] = (37.0, 33.0, 58.0)
    options: dict[str, Any] = {}
    if kind == "PNG":
        text = PngImagePlugin.PngInfo()
        text.add_text("Author", "Hong Gildong")
        text.add_text("Comment", "PACKEDSECRET", zip=True)
        text.add_itxt("XML:com.adobe.xmp", "<x>XMPSECRET</x>", zip=True)
        options = {"pnginfo": text, "exif": exif, "dpi": (72, 72)}
    elif kind == "JPEG":
        options = {
            "exif": exif,
            "comment": "COMMENTSECRET",
            "xmp": b"<x>XMPSECRET</x>",
            "icc_profile": b"ICCSECRET" * 20,
        }
    elif kind == "TIFF":
        options = {"tiffinfo": {270: "TIFFSECRET", 315: "Hong Gildong", 37500: b"MAKERSECRET"}}
    elif kind == "GIF":
        options = {"comment": b"COMMENTSECRET"}
    return _bytes(kind, **options) + b"TRAILSECRET"


@pytest.mark.parametrize("kind", SUFFIXES)
def test_pixels_stay_and_all_else_goes(kind: str, tmp_path: Path) -> None:
    data = _planted(kind)
    cleaned = _clean(tmp_path, data)
    assert np.array_equal(_pixels(cleaned.data), _pixels(data))
    assert b"SECRET" in data
    assert b"SECRET" not in cleaned.data
    assert b"Gildong" not in cleaned.data
    assert [item for item in metadata.of_bytes(cleaned.data) if item.kind != "structure"] == []
    assert deidentify.residuals(cleaned.data, cleaned.identifiers) == []
    assert cleaned.name.endswith(SUFFIXES[kind])
    assert cleaned.actions
    if kind in ("PNG", "JPEG", "TIFF"):
        assert {"Hong Gildong", "Gildong"} <= cleaned.identifiers
        assert deidentify.identifiers_of(tmp_path / "x") == cleaned.identifiers


def test_residuals_look_into_packed_chunks(tmp_path: Path) -> None:
    assert deidentify.residuals(_planted("PNG"), ["packedsecret", "xmpsecret"]) == [
        "p*********** (utf-8)",
        "x******** (utf-8)",
    ]


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF"])
def test_a_bare_file_stays_byte_for_byte(kind: str, tmp_path: Path) -> None:
    data = _bytes(kind)
    assert _clean(tmp_path, data).data == data
    assert _clean(tmp_path, data).actions == ()


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_orientation_is_kept_alone(kind: str, tmp_path: Path) -> None:
    exif = Pillow.Exif()
    exif[0x0112], exif[0x010E] = 6, "EXIFSECRET"
    cleaned = _clean(tmp_path, _bytes(kind, COLOUR, exif=exif))
    with Pillow.open(io.BytesIO(cleaned.data)) as picture:
        assert dict(picture.getexif()) == {0x0112: 6}
    assert b"SECRET" not in cleaned.data
    assert "Orientation" in {action.name for action in cleaned.actions}
    boxed = _clean(tmp_path, _bytes(kind, COLOUR, exif=exif), BOX)
    with Pillow.open(io.BytesIO(boxed.data)) as picture:
        assert dict(picture.getexif()) == {0x0112: 6}


def test_thumbnails_and_hidden_bytes_go(tmp_path: Path) -> None:
    data = _bytes("JPEG")
    thumbnail = b"JFIF\0\1\1\0\0\1\0\1\2\2" + b"THUMBSECRET!"
    data = data[:2] + struct.pack(">HH", 0xFFE0, len(thumbnail) + 2) + thumbnail + data[20:]
    cleaned = _clean(tmp_path, data)
    assert b"SECRET" not in cleaned.data
    assert np.array_equal(_pixels(cleaned.data), _pixels(data))
    png = _bytes("PNG")
    at = png.index(b"IDAT")
    length = int.from_bytes(png[at - 4 : at], "big")
    body = png[at + 4 : at + 4 + length] + b"HIDDENSECRET"
    chunk = struct.pack(">I", len(body)) + b"IDAT" + body + struct.pack(">I", zlib.crc32(b"IDAT" + body))
    cleaned = _clean(tmp_path, png[: at - 4] + chunk + chunk + png[at + 8 + length :])
    assert cleaned.data == png


@pytest.mark.parametrize(
    ("kind", "pixels"),
    [
        ("PNG", GREY),
        ("PNG", COLOUR),
        ("PNG", DEEP),
        ("JPEG", COLOUR),
        ("TIFF", DEEP),
        ("TIFF", COLOUR),
        ("BMP", GREY),
        ("GIF", GREY),
    ],
)
def test_a_box_is_black_and_nothing_else_changes(kind: str, pixels: np.ndarray, tmp_path: Path) -> None:
    data = _bytes(kind, pixels)
    before, cleaned = _pixels(data), _clean(tmp_path, data, BOX)
    after, inside = _pixels(cleaned.data), np.zeros((24, 32), bool)
    inside[3:8, 2:9] = True
    assert np.array_equal(after[~inside], before[~inside])
    with Pillow.open(io.BytesIO(cleaned.data)) as picture:
        shown = np.asarray(picture.convert("RGB") if picture.mode == "P" else picture)
    assert shown[inside].max() <= (2 if kind == "GIF" else 0)  # the darkest entry of a palette
    assert cleaned.suffix == {"JPEG": ".png", "GIF": ".png"}.get(kind, SUFFIXES[kind])
    if kind == "JPEG":
        assert any("JPEG became PNG" in action.why for action in cleaned.actions)


def test_pages_of_a_tiff_are_blanked_one_by_one(tmp_path: Path) -> None:
    data = _bytes("TIFF", save_all=True, append_images=[Pillow.fromarray(GREY[::-1].copy())])
    with Pillow.open(io.BytesIO(_clean(tmp_path, data, BOX._replace(frame=1)).data)) as picture:
        assert np.array_equal(np.asarray(picture), GREY)
        picture.seek(1)
        assert not np.asarray(picture)[3:8, 2:9].any()


def test_a_subject_is_given_or_the_file_itself(tmp_path: Path) -> None:
    assert _clean(tmp_path, _bytes("PNG"), subject="P1").subject == KEY.subject("P1")
    assert _clean(tmp_path, _bytes("PNG")).subject != KEY.subject("P1")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"%PDF-1.7 report", "of a kind that is not de-identified"),
        (b"", "of a kind that is not de-identified"),
        (_bytes("PNG")[:-30], "damaged"),
        (_bytes("JPEG")[:200], "damaged"),
        (_bytes("TIFF")[:60], "damaged"),
        (_bytes("TIFF", save_all=True, append_images=[Pillow.fromarray(GREY[:9])]), "differ in size"),
    ],
)
def test_what_cannot_be_cleaned_is_refused_with_a_remedy(data: bytes, said: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=said) as caught:
        _clean(tmp_path, data)
    assert caught.value.problems[0].remedy


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(kind=st.sampled_from(sorted(SUFFIXES)), at=st.integers(0, 10**6), noise=st.binary(min_size=1, max_size=8))
def test_damage_ends_in_a_refusal_or_a_clean_file(tmp_path: Path, kind: str, at: int, noise: bytes) -> None:
    data = _bytes(kind)
    at %= len(data)
    try:
        cleaned = _clean(tmp_path, data[:at] + noise + data[at + len(noise) :])
    except InputError as error:
        cleaned = None
        assert error.problems[0].remedy  # noqa: PT017 (a refusal is one of two good ends)
    if cleaned is not None:
        assert [i for i in metadata.of_bytes(cleaned.data) if i.kind not in ("structure", "damaged")] == []


# --- NIfTI


def _volume(kind: type, order: str = "<") -> bytes:
    voxels = np.arange(4 * 5 * 6, dtype=order + "i2").reshape(4, 5, 6)
    image = kind(voxels, np.diag([2.0, 2.0, 3.0, 1.0]))
    image.header["descrip"], image.header["aux_file"] = b"DESCRIPSECRET", b"AUXSECRET"
    image.header["intent_name"] = b"INTENTSECRET"
    image.header.extensions.append(nib.nifti1.Nifti1Extension(6, b"EXTENSIONSECRET of Hong Gildong"))
    return bytes(image.to_bytes())


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
@pytest.mark.parametrize("packed", [False, True])
def test_a_volume_keeps_voxels_and_affine_and_loses_its_texts(kind: type, packed: bool, tmp_path: Path) -> None:
    raw = _volume(kind)
    buffer = io.BytesIO()
    with gzip.GzipFile("Hong_19700102.nii", "wb", fileobj=buffer) as file:
        file.write(raw + b"TRAILSECRET")
    cleaned = _clean(tmp_path, buffer.getvalue() if packed else raw + b"TRAILSECRET")
    assert cleaned.suffix == (".nii.gz" if packed else ".nii")
    out = gzip.decompress(cleaned.data) if packed else cleaned.data
    if packed:
        assert (cleaned.data[3], cleaned.data[4:8]) == (0, bytes(4))
    assert b"SECRET" in raw
    assert b"SECRET" not in out
    old, new = kind.from_bytes(raw), kind.from_bytes(out)  # type: ignore[attr-defined]
    assert np.array_equal(old.affine, new.affine)
    assert np.array_equal(np.asarray(old.dataobj), np.asarray(new.dataobj))
    assert len(new.header.extensions) == 0
    assert any("EXTENSIONSECRET" in word for word in cleaned.identifiers)
    assert {action.name for action in cleaned.actions} >= {"descrip", "aux_file", "intent_name", "extensions"}


@pytest.mark.parametrize("cut", [100, 360, 400])
def test_a_damaged_volume_is_refused(cut: int, tmp_path: Path) -> None:
    with pytest.raises(InputError):
        _clean(tmp_path, _volume(nib.Nifti1Image)[:cut])


def test_boxes_in_a_volume_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="volume"):
        _clean(tmp_path, _volume(nib.Nifti1Image), BOX)
