"""Images that exist already, handed out like drawn ones: each at most once, by label and order.

A trained stage draws as many images as are asked for; a folder has as many as it has. The k-th item with a label gets
the k-th image of that label. Where the items of a sample come in several parts, `rank` (int64 (N,)) says which item of
its label each one is; without it the parts are taken as one call, and the second call would give the same images.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from chambit.core.errors import InputError, Problem
from chambit.core.store import Store
from chambit.generate.items import Arrays, Form
from chambit.images.imageset import luminance
from chambit.images.readers import open_any


def fitted(path: Path, form: Form, bottom: float = 0.0) -> np.ndarray:
    """One image file in the form of the items, float32 (H, W[, 3]) in [0, 1]; stretched, as classifiers are given it.

    Args:
        path: the file.
        form: of the items; one without an axis.
        bottom: share of the height that is cut off first.

    Raises:
        InputError: when no reader takes the file.
    """
    from PIL import Image

    _, image = next(iter(open_any(path)))
    pixels = np.asarray(image.pixels, np.float32) / np.float32(image.white)
    pixels = pixels[: round((1 - bottom) * len(pixels))]
    if form.channels == 1:
        planes = [luminance(pixels[None])[0]]
    else:
        planes = [pixels[..., k] if pixels.ndim == 3 else pixels for k in range(3)]
    how = Image.Resampling.BOX if pixels.shape[0] >= form.height else Image.Resampling.BILINEAR
    small = [np.asarray(Image.fromarray(plane).resize((form.width, form.height), how), np.float32) for plane in planes]
    return np.clip(small[0] if form.channels == 1 else np.stack(small, axis=-1), 0, 1)


def refuse_axis(form: Form, stage: str) -> None:
    """Refuse items with an axis.

    Raises:
        InputError: naming the stage.
    """
    if form.axis:
        problem = Problem(f"recipe.train.{stage}", f"gives single images, the items have a {form.axis} axis", "drop it")
        raise InputError(f"The stage {stage} makes no sequences or volumes.", [problem])


def numbers_of(labels: Sequence[str], renamed: Mapping[str, str], classes: Sequence[str], where: str) -> np.ndarray:
    """Index of the study's class of each label, int64 (N,), after renaming.

    Raises:
        InputError: naming every label that is no class of the study.
    """
    names = [renamed.get(label, label) for label in labels]
    if unknown := sorted(set(names) - set(classes)):
        remedy = f"name the study's class of each under `labels`; classes: {', '.join(classes)}"
        raise InputError(
            "Labels of the images are no classes of the study.",
            [Problem(where, f"the label '{label}' is no class", remedy) for label in unknown],
        )
    return np.array([list(classes).index(name) for name in names], np.int64)


def put(store: Store, images: np.ndarray, label: np.ndarray, told: Mapping[str, object], **more: np.ndarray) -> str:
    """Keep images float32 (N, ...) in [0, 1] at 16 bits with the class of each; returns the digest."""
    pixels = np.rint(images * 65535).astype(np.uint16)
    text = json.dumps(told, sort_keys=True, ensure_ascii=False).encode()
    return store.put_arrays(pixels=pixels, label=label, told=np.frombuffer(text, np.uint8), **more)


def told(store: Store, weights: str) -> dict[str, object]:
    """What was kept beside the images: names of classes, where they came from."""
    content: dict[str, object] = json.loads(store.get_arrays(weights)["told"].tobytes())
    return content


def handed(store: Store, weights: str, given: Arrays) -> np.ndarray:
    """The images for these items, float32 (N, H, W[, 3]) in [0, 1].

    Args:
        store: where they are.
        weights: digest of `put`.
        given: `label`, and `rank` where the sample comes in parts.

    Raises:
        InputError: when fewer images of a label exist than are asked for; every such label is named.
    """
    kept, label = store.get_arrays(weights), np.asarray(given["label"], np.int64)
    rank = np.asarray(given["rank"], np.int64) if "rank" in given else ranks(label)
    places = {int(number): np.flatnonzero(kept["label"] == number) for number in np.unique(label)}
    short = [
        Problem(
            f"class {number}" if not (names := told(store, weights).get("classes")) else str(names[number]),  # type: ignore[index]
            f"{len(where)} images exist, {int(rank[label == number].max()) + 1} are asked for",
            "ask for fewer under `sample`, or get more images",
        )
        for number, where in places.items()
        if rank[label == number].max() >= len(where)
    ]
    if short:
        raise InputError("There are fewer images than the sample asks for.", short)
    if repeated := [
        pair for pair, times in Counter(zip(label.tolist(), rank.tolist(), strict=True)).items() if times > 1
    ]:
        raise ValueError(f"label {repeated[0][0]} is given twice at rank {repeated[0][1]}")
    rows = np.array([places[int(a)][b] for a, b in zip(label, rank, strict=True)], np.int64)
    return np.asarray(kept["pixels"][rows], np.float32) / np.float32(65535)


def ranks(label: np.ndarray) -> np.ndarray:
    """Which item of its label each one is, int64 (N,).

    >>> ranks(np.array([1, 0, 1, 1])).tolist()
    [0, 0, 1, 2]
    """
    seen: Counter[int] = Counter()
    out = np.empty(len(label), np.int64)
    for k, number in enumerate(label.tolist()):
        out[k] = seen[number]
        seen[number] += 1
    return out
