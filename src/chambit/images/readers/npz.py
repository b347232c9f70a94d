"""NumPy archives as MedMNIST writes them: `train_images` with `train_labels`, or `images` with `labels`.

Images are uint8, (N, H, W) grey or (N, H, W, 3) colour; labels are whole numbers or text, (N,) or (N, 1).
Pickled arrays are never opened, because opening one runs code from the file.
"""

import os
import shutil
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from chambit.core.errors import InputError
from chambit.images.image import Image
from chambit.images.readers import refusal

version = "1"
SUFFIXES = (".npz",)
_FORM = "write it with numpy.savez(file, train_images=uint8 (N, H, W), train_labels=(N,))"
# What the standard library raises for a bad archive; RuntimeError is one with a password.
_DAMAGE = (
    zipfile.BadZipFile,
    ValueError,
    EOFError,
    KeyError,
    OSError,
    zlib.error,
    NotImplementedError,
    RuntimeError,
)


def recognises(path: Path, head: bytes) -> bool:
    """Whether it is a ZIP archive whose first member is a NumPy array, or one that is called .npz."""
    if head[:4] not in (b"PK\x03\x04", b"PK\x05\x06"):
        return False
    length = int.from_bytes(head[26:28], "little")
    return path.suffix.lower() == ".npz" or head[30 : 30 + length].endswith(b".npy")


def read(path: Path, part: str = "") -> Iterator[tuple[str, Image]]:
    """Yield ("train[0]", image), ("train[1]", image), ... of one part, or of all parts when `part` is "".

    Raises:
        InputError: when the archive is damaged, lacks the part, or holds arrays of another type or shape.
    """
    for name, labels in parts(path, part).items():
        images = _load(path, _key(name, "images"))
        for index, label in enumerate(labels):
            yield f"{name}[{index}]", Image(images[index], 255, label=label)


def parts(path: Path, part: str = "") -> dict[str, list[str]]:
    """The parts of an archive with the label of each image, without loading the images.

    A part is called as in its keys (`train`); the part of bare `images` is called `images`.

    Raises:
        InputError: when the archive is damaged, lacks `part`, or holds arrays of another type or shape.
    """
    keys = _keys(path)
    names = [key.removesuffix("_images") for key in keys if key == "images" or key.endswith("_images")]
    if not names:
        raise refusal(path, f"holds no images, only the arrays {', '.join(keys) or '(none)'}", _FORM)
    if part and part not in names:
        raise refusal(path, f"has no part '{part}'", f"name one of its parts: {', '.join(names)}")
    return {name: _labels(path, name, keys) for name in ([part] if part else names)}


def unpack(path: Path, part: str, folder: Path) -> Path:
    """Write the images of one part to `folder` as an .npy file for memory-mapping; kept if already there.

    An archive is compressed as a whole: reading image 100,000 would else unpack all before it, every time.

    Raises:
        InputError: when the archive is damaged.
    """
    target = folder / f"{part}-{path.stat().st_mtime_ns}.npy"
    if not target.exists():
        folder.mkdir(parents=True, exist_ok=True)
        draft = target.with_suffix(f".{os.getpid()}.draft")
        try:
            name = f"{_key(part, 'images')}.npy"
            with zipfile.ZipFile(path) as archive, archive.open(name) as member, draft.open("wb") as file:
                shutil.copyfileobj(member, file, 1 << 20)
            np.load(draft, mmap_mode="r", allow_pickle=False)  # is it as long as its header says?
            draft.replace(target)
        except _DAMAGE as error:
            draft.unlink(missing_ok=True)
            raise _damaged(path) from error
    return target


def _damaged(path: Path) -> InputError:
    return refusal(path, "the archive is damaged or truncated", "copy or download it again")


def _key(name: str, kind: str) -> str:
    return kind if name == "images" else f"{name}_{kind}"


def _keys(path: Path) -> list[str]:
    try:
        with zipfile.ZipFile(path) as archive:
            return sorted(name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy"))
    except _DAMAGE as error:
        raise _damaged(path) from error


def _header(path: Path, key: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
    # Shape and type stand in the first bytes of the member; the pixels stay packed.
    try:
        with zipfile.ZipFile(path) as archive, archive.open(f"{key}.npy") as member:
            major = np.lib.format.read_magic(member)[0]
            reader = np.lib.format.read_array_header_1_0 if major == 1 else np.lib.format.read_array_header_2_0
            shape, _, dtype = reader(member)
            return shape, dtype
    except _DAMAGE as error:
        raise _damaged(path) from error


def _load(path: Path, key: str) -> np.ndarray:
    if _header(path, key)[1].hasobject:
        raise refusal(path, f"'{key}' is a pickled array, which is never opened", _FORM)
    try:
        with np.load(path, allow_pickle=False) as archive:
            return np.asarray(archive[key])
    except _DAMAGE as error:
        raise _damaged(path) from error


def _labels(path: Path, name: str, keys: list[str]) -> list[str]:
    key, label_key = _key(name, "images"), _key(name, "labels")
    shape, dtype = _header(path, key)
    if dtype.hasobject:
        raise refusal(path, f"'{key}' is a pickled array, which is never opened", _FORM)
    if dtype != np.uint8:
        raise refusal(path, f"'{key}' is {dtype}, not uint8: full brightness is not known", _FORM)
    if len(shape) not in (3, 4) or (len(shape) == 4 and shape[3] != 3) or 0 in shape:
        raise refusal(path, f"'{key}' has shape {shape}, not (N, H, W) or (N, H, W, 3)", _FORM)
    if label_key not in keys:
        raise refusal(path, f"has '{key}' but no '{label_key}'", _FORM)
    labels = _load(path, label_key)
    if labels.ndim == 2 and labels.shape[1] > 1:
        remedy = "keep one column; several findings an image are not supported yet"
        raise refusal(path, f"'{label_key}' has {labels.shape[1]} columns", remedy)
    if labels.size != shape[0] or labels.ndim not in (1, 2) or labels.dtype.kind not in "biuU":
        what = f"'{label_key}' is {labels.dtype} {labels.shape}, not one number or word for each of {shape[0]}"
        raise refusal(path, f"{what} images", _FORM)
    if labels.dtype.kind == "b":
        labels = labels.astype(np.uint8)
    return [str(label) for label in labels.reshape(-1).tolist()]
