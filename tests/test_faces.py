"""Faces: a head with one is refused, one that was defaced is not, and what cannot be told is said to be undecided."""

import io
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from PIL import Image

from chambit.core.errors import InputError
from chambit.prepare import faces
from chambit.prepare.faces import Options, Volume
from chambit.review import policy
from imagefiles import SHARED

OPTIONS = Options.model_validate(policy.load("default").settings["faces"])
QUICK = OPTIONS.model_copy(update={"turns": (0,)})
CT = SHARED / "ct_cranium" / "cranium_ct.nii.gz"
AIR, SKIN = -1000.0, 40.0


def head(*, nose: bool = True, eyes: bool = True, scale: float = 1.0, step: float = 3.0, yaw: float = 0.0) -> Volume:
    """A drawn head in Hounsfield units: an egg of 150 x 190 x 220 mm, a nose of 28 mm, two hollows of 16 mm."""
    side = np.arange(-130, 131, step)
    x, y, z = np.meshgrid(side, side, side, indexing="ij")
    angle = np.deg2rad(yaw)
    x, y = np.cos(angle) * x - np.sin(angle) * y, np.sin(angle) * x + np.cos(angle) * y
    x, y, z = x / scale, y / scale, z / scale
    front = 95 * np.sqrt(np.clip(1 - (x / 75) ** 2 - (z / 110) ** 2, 0, None))
    surface = front.copy()
    if nose:  # a ridge from the root at z = 0 to the tip at z = -50
        surface = surface + np.clip(-z / 35, 0, 1) * 28 * (z > -50) * np.exp(-((x / 11) ** 2))
    if eyes:
        for at in (-31, 31):
            surface -= 16 * np.exp(-(((x - at) / 15) ** 2) - ((z - 2) / 12) ** 2)
    # the share of each voxel that is inside, as a scanner averages over it
    inside = np.clip(np.minimum(surface - y, y + front) * scale / step + 0.5, 0, 1) * (front > 0)
    affine = np.diag([step, step, step, 1.0])
    affine[:3, 3] = -130
    return Volume((AIR + (SKIN - AIR) * inside).astype(np.float32), affine)


def cut(volume: Volume, plane: float, top: float) -> Volume:
    """Everything in front of y = plane and below z = top blanked, in mm."""
    shape = volume.array.shape
    at = volume.affine[:3, :3] @ np.indices(shape).reshape(3, -1) + volume.affine[:3, 3:]
    gone = ((at[1] > plane) & (at[2] < top)).reshape(shape)
    return volume._replace(array=np.where(gone, volume.array.min(), volume.array))


def found(volume: Volume, options: Options = QUICK) -> bool | None:
    return faces.find(volume, options).present


# --- planted faces, and none


@pytest.mark.parametrize("more", [{}, {"eyes": False}, {"scale": 0.8}, {"scale": 1.1}, {"step": 2.0}])
def test_a_head_with_a_face(more: dict[str, Any]) -> None:
    face = faces.find(head(**more), QUICK)
    assert face.present is True, face.why
    assert face.score >= OPTIONS.present


@pytest.mark.parametrize("scale", [0.8, 1.0])
def test_a_head_without_a_face(scale: float) -> None:
    face = faces.find(head(nose=False, eyes=False, scale=scale), OPTIONS)
    assert face.present is False
    assert face.score < OPTIONS.absent / 2


def test_eyes_alone_are_not_absent() -> None:
    assert found(head(nose=False)) is not False


def test_after_defacing_the_face_is_absent_and_half_of_it_is_not() -> None:
    assert found(cut(head(), 70, 25), OPTIONS) is False
    assert found(cut(head(), 70, -20)) is not False  # the nose's tip is gone, the eyes are there
    assert found(cut(head(), 100, 25)) is not False  # only the tip is cut


@pytest.mark.parametrize("yaw", [-15, 45])
def test_a_head_that_is_turned_in_the_scanner(yaw: float) -> None:
    assert found(head(yaw=yaw), OPTIONS) is True


@pytest.mark.parametrize("axes", ["LPS", "SPL"])
def test_the_order_and_direction_of_the_axes_do_not_matter(axes: str) -> None:
    volume = head()
    image = nibabel.Nifti1Image(volume.array, volume.affine)
    to = nibabel.orientations.ornt_transform(
        nibabel.io_orientation(image.affine), nibabel.orientations.axcodes2ornt(axes)
    )
    turned = image.as_reoriented(to)
    assert nibabel.aff2axcodes(turned.affine) == tuple(axes)
    want, have = faces.find(volume, QUICK), faces.find(Volume(turned.get_fdata(), turned.affine), QUICK)
    assert have.present is want.present is True
    assert have.score == pytest.approx(want.score, abs=0.2)


def test_numbers_that_are_not_hounsfield_units() -> None:
    rng = np.random.default_rng(1)
    for volume, want in ((head(), True), (head(nose=False, eyes=False), False)):
        signal = 700 * np.clip((volume.array - AIR) / (SKIN - AIR), 0, 1) * rng.uniform(0.7, 1.3, volume.array.shape)
        noisy = np.hypot(signal + rng.normal(0, 25, signal.shape), rng.normal(0, 25, signal.shape))
        assert found(volume._replace(array=noisy.astype(np.float32))) is want


def test_a_table_under_the_head_changes_nothing() -> None:
    volume = head()
    array = volume.array.copy()
    array[:, 2:4, :] = 200
    assert faces.find(volume._replace(array=array), QUICK).score == pytest.approx(
        faces.find(volume, QUICK).score, abs=0.1
    )


# --- what cannot be told


def test_what_is_undecided_says_why() -> None:
    volume = head()
    flipped = volume._replace(array=volume.array[:, ::-1])
    blank = volume._replace(array=np.full_like(volume.array, AIR))
    cases = {
        "does not say which way": volume._replace(oriented=False),
        "lies outside of the volume": volume._replace(array=volume.array[:, :73]),  # ends 9 mm behind the front
        "looks backwards": flipped,
        "nothing stands out": blank,
    }
    for why, case in cases.items():
        face = faces.find(case, QUICK)
        assert face.present is None, why
        assert why in face.why


def test_a_chest_is_no_head() -> None:
    volume = head(nose=False, eyes=False)
    wide = volume.affine @ np.diag([2.2, 1.0, 1.0, 1.0])
    face = faces.find(volume._replace(affine=wide, array=volume.array[:, :, 30:60]), QUICK)
    assert face.present is False
    assert "mm wide" in face.why


def test_refusal_names_reason_and_remedy() -> None:
    for volume, what in ((head(), "shows a face"), (head()._replace(oriented=False), "may show a face")):
        with pytest.raises(InputError, match=what) as caught:
            faces.require_none(faces.find(volume, QUICK), "head.nii.gz")
        assert caught.value.problems[0].where == "head.nii.gz"
        assert "deface" in caught.value.problems[0].remedy
    faces.require_none(faces.find(head(nose=False, eyes=False), QUICK), "head.nii.gz")


def test_the_picture_shows_the_front_and_the_right_side() -> None:
    volume = head(step=4.0)
    volume.array[50:56, 30:36, 32:35] = SKIN  # an ear, 70 to 94 mm to the patient's right
    with Image.open(io.BytesIO(faces.find(volume, QUICK).picture)) as picture:
        shown = np.asarray(picture)
    assert (shown.dtype, shown.ndim) == (np.dtype(np.uint8), 2)
    middle = round(shown.shape[1] * 169 / (169 + 211))  # widths of the head with its ear, and from nape to nose
    front, side = shown[:, :middle], shown[:, middle:]
    assert min(front.max(), side.max()) > 150
    lit = front[front.any(1)] > 0
    left, right = lit.argmax(1), lit[:, ::-1].argmax(1)
    rows = np.arange(
        round(0.45 * len(lit)), round(0.55 * len(lit))
    )  # the ear stands out on the left, from one row to the next
    assert np.abs(np.diff(left[rows])).max() > 20 > 10 > np.abs(np.diff(right[rows])).max()
    # from the right the nose points to the right: below the middle the outline reaches further than at the forehead
    outline = [np.flatnonzero(row).max(initial=0) for row in side]
    assert max(outline[len(outline) // 2 :]) > max(outline[: len(outline) // 3]) + 15


# --- files


def test_a_file_is_read_with_its_axes(tmp_path: Path) -> None:
    volume = head(step=4.0)
    for code in (0, 1):
        image = nibabel.Nifti1Image(volume.array, volume.affine)
        image.set_sform(volume.affine, code)
        image.set_qform(volume.affine, code)
        nibabel.save(image, tmp_path / "head.nii.gz")
        have = faces.read(tmp_path / "head.nii.gz")
        assert have.oriented is bool(code)
        assert np.array_equal(have.array, volume.array)
    nibabel.save(nibabel.Nifti1Image(np.zeros((4, 4, 4, 2), np.float32), np.eye(4)), tmp_path / "series.nii")
    (tmp_path / "no.nii").write_bytes(b"nothing")
    for name, what in (("series.nii", "has 4 dimensions"), ("no.nii", "is no NIfTI"), ("gone.nii", "is no NIfTI")):
        with pytest.raises(InputError, match=what):
            faces.read(tmp_path / name)


@pytest.mark.skipif(not CT.exists(), reason="the public head CT is not here")
def test_a_real_head() -> None:
    volume = faces.read(CT)
    assert found(volume) is True
    # 50 mm behind the tip of the nose, up to the forehead: a box as a defacing tool cuts it
    assert found(cut(volume, 180, 100), OPTIONS) is False
    assert found(cut(volume, 200, 100)) is not False  # 30 mm: the eyes are left
