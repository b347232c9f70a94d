"""Planted copies: what a leak could look like, made on purpose from training images, so that a test proves its power.

Every run plants each family and reports its recall. A test that misses a compulsory family is INVALID, whatever it says
about the real set. Families not planted here are listed in the dossier as not covered.
"""

import io
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image as Picture
from scipy import ndimage

Change = Callable[[np.ndarray, np.random.Generator], np.ndarray]


@dataclass(frozen=True)
class Family:
    """One way to change a copy: image float32 (H, W) in [0, 1] and a generator in, the same shape out."""

    name: str
    change: Change


def _jpeg(quality: int) -> Change:
    def change(image: np.ndarray, _: np.random.Generator) -> np.ndarray:
        buffer = io.BytesIO()
        Picture.fromarray(_bytes(image)).save(buffer, "JPEG", quality=quality)
        with Picture.open(buffer) as picture:
            return np.asarray(picture, np.float32) / 255

    return change


def _resize(factor: float) -> Change:
    def change(image: np.ndarray, _: np.random.Generator) -> np.ndarray:
        h, w = image.shape
        picture = Picture.fromarray(_bytes(image))
        small = picture.resize((max(1, round(w * factor)), max(1, round(h * factor))), Picture.Resampling.BICUBIC)
        return np.asarray(small.resize((w, h), Picture.Resampling.BICUBIC), np.float32) / 255

    return change


def _noise(sigma: float) -> Change:
    def change(image: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        return np.clip(image + generator.normal(0, sigma, image.shape), 0, 1).astype(np.float32)

    return change


def _turn(quarters: int) -> Change:
    def change(image: np.ndarray, _: np.random.Generator) -> np.ndarray:
        # a picture that is not square is squeezed back into its frame, as a careless export would
        turned = Picture.fromarray(_bytes(np.rot90(image, quarters).copy()))
        return np.asarray(turned.resize(image.shape[::-1], Picture.Resampling.BICUBIC), np.float32) / 255

    return change


def _rotate(degrees: float) -> Change:
    def change(image: np.ndarray, _: np.random.Generator) -> np.ndarray:
        return np.asarray(np.clip(ndimage.rotate(image, degrees, reshape=False, order=1, mode="nearest"), 0, 1))

    return change


def _bytes(image: np.ndarray) -> np.ndarray:
    return np.asarray(np.round(np.clip(image, 0, 1) * 255), np.uint8)


FAMILIES = {
    family.name: family
    for family in (
        Family("exact", lambda image, _: image),
        Family("jpeg50", _jpeg(50)),
        Family("jpeg10", _jpeg(10)),
        Family("resize_half", _resize(0.5)),
        Family("blur", lambda image, _: ndimage.gaussian_filter(image, min(image.shape) / 64)),
        Family("noise5", _noise(0.05)),
        Family("noise15", _noise(0.15)),
        Family("gamma_dark", lambda image, _: image**1.7),
        Family("gamma_bright", lambda image, _: image**0.6),
        Family("mirror", lambda image, _: image[:, ::-1]),
        Family("upside_down", lambda image, _: image[::-1]),
        Family("turn90", _turn(1)),
        Family("turn180", _turn(2)),
        Family("rotate5", _rotate(5)),
        Family(
            "shift5",
            lambda image, _: ndimage.shift(image, np.array(image.shape) * 0.05, order=1, mode="nearest"),
        ),
    )
}
"""Public names of the planted families; the policy says which are compulsory."""


def plant(images: np.ndarray, family: str, generator: np.random.Generator) -> np.ndarray:
    """Copies of images float32 (N, H, W), each changed as the family says; float32, same shape."""
    return np.stack([np.asarray(FAMILIES[family].change(image, generator), np.float32) for image in images])
