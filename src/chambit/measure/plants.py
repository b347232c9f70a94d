"""Planted copies: what a leak could look like, made on purpose from training images, so that a test proves its power.

Every run plants each family and reports its recall. A test that misses a compulsory family is INVALID, whatever it says
about the real set. Families not planted here are listed in the dossier as not covered. Where the generator is at hand
the pipeline plants its own near-duplicates too (`Examination.planted`); three families here stand for a generator that
is not: what a linear autoencoder of the auxiliary images keeps, the same after partial re-noising under its Gaussian
(the closed form of a rectified flow on such data), and an enlargement of a halved picture.
"""

import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from PIL import Image as Picture
from scipy import ndimage

KEPT = 0.95
"""Share of the auxiliary images' variance that the linear autoencoder keeps."""


class Code(NamedTuple):
    """A linear autoencoder: mean (d,), axes (d, m) of unit length, standard deviation along each (m,)."""

    mean: np.ndarray
    axes: np.ndarray
    spread: np.ndarray


@dataclass(frozen=True)
class Material:
    """What plants are made with besides the image: float32 (M, H, W) of people the generator never saw."""

    others: np.ndarray

    def other(self, generator: np.random.Generator) -> np.ndarray:
        """One of them, (H, W)."""
        return np.asarray(self.others[generator.integers(len(self.others))])

    @cached_property
    def code(self) -> Code:
        """The linear autoencoder of these people."""
        flat = self.others.reshape(len(self.others), -1).astype(np.float64)
        mean = flat.mean(0)
        _, values, axes = np.linalg.svd((flat - mean) / np.sqrt(max(1, len(flat) - 1)), full_matrices=False)
        share = np.cumsum(values**2) / max(float((values**2).sum()), 1e-12)
        kept = int(np.searchsorted(share, KEPT)) + 1
        return Code(mean, axes[:kept].T, np.maximum(values[:kept], 1e-9))


Change = Callable[[np.ndarray, np.random.Generator, Material], np.ndarray]


@dataclass(frozen=True)
class Family:
    """One way to change a copy: image float32 (H, W) in [0, 1], a generator and material in, the same shape out.

    `kind`: what is done to it: 'same' (little), 'grey' (its values), 'geometry', 'part' (only a part or share of it is
    left) or 'generator' (made again).
    """

    name: str
    kind: str
    change: Change


def _jpeg(quality: int) -> Change:
    def change(image: np.ndarray, _: np.random.Generator, __: Material) -> np.ndarray:
        buffer = io.BytesIO()
        Picture.fromarray(_bytes(image)).save(buffer, "JPEG", quality=quality)
        with Picture.open(buffer) as picture:
            return np.asarray(picture, np.float32) / 255

    return change


def _scaled(image: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    picture = Picture.fromarray(_bytes(image)).resize((shape[1], shape[0]), Picture.Resampling.BICUBIC)
    return np.asarray(picture, np.float32) / 255


def _resize(factor: float) -> Change:
    def change(image: np.ndarray, _: np.random.Generator, __: Material) -> np.ndarray:
        small = _scaled(image, tuple(max(1, round(side * factor)) for side in image.shape))
        return _scaled(small, image.shape)

    return change


def _noise(sigma: float) -> Change:
    def change(image: np.ndarray, generator: np.random.Generator, _: Material) -> np.ndarray:
        return np.clip(image + generator.normal(0, sigma, image.shape), 0, 1).astype(np.float32)

    return change


def _blur(image: np.ndarray, _: np.random.Generator, __: Material) -> np.ndarray:
    return np.asarray(ndimage.gaussian_filter(image, min(image.shape) / 64))


def _window(image: np.ndarray, _: np.random.Generator, __: Material) -> np.ndarray:
    low, high = np.quantile(image, [0.1, 0.9])
    return np.asarray(np.clip((image - low) / max(high - low, 1e-6), 0, 1))


def _equalised(image: np.ndarray, _: np.random.Generator, __: Material) -> np.ndarray:
    return np.asarray(np.searchsorted(np.sort(image, axis=None), image) / image.size)


def _turn(quarters: int) -> Change:
    def change(image: np.ndarray, _: np.random.Generator, __: Material) -> np.ndarray:
        # a picture that is not square is squeezed back into its frame, as a careless export would
        return _scaled(np.rot90(image, quarters).copy(), image.shape)

    return change


def _rotate(degrees: float) -> Change:
    def change(image: np.ndarray, generator: np.random.Generator, _: Material) -> np.ndarray:
        angle = degrees * generator.choice([-1, 1])
        return np.asarray(np.clip(ndimage.rotate(image, angle, reshape=False, order=1, mode="nearest"), 0, 1))

    return change


def _shift(share: float) -> Change:
    def change(image: np.ndarray, generator: np.random.Generator, _: Material) -> np.ndarray:
        angle = generator.uniform(0, 2 * np.pi)
        by = share * np.array([np.sin(angle), np.cos(angle)]) * image.shape
        return np.asarray(ndimage.shift(image, by, order=1, mode="nearest"))

    return change


def _crop(share: float) -> Change:
    """A crop at a random place, enlarged to the frame."""

    def change(image: np.ndarray, generator: np.random.Generator, _: Material) -> np.ndarray:
        size = [round(side * share) for side in image.shape]
        top, left = (int(generator.integers(side - own + 1)) for side, own in zip(image.shape, size, strict=True))
        return _scaled(image[top : top + size[0], left : left + size[1]], image.shape)

    return change


def _bottom(image: np.ndarray, _: np.random.Generator, __: Material) -> np.ndarray:
    return _scaled(image[: max(1, round(0.7 * len(image)))], image.shape)


def _elastic(image: np.ndarray, generator: np.random.Generator, _: Material) -> np.ndarray:
    """A smooth random warp of at most 2.5 % of the shorter side (3 pixels of 128), over bumps of a sixteenth of it."""
    short = min(image.shape)
    warp = [ndimage.gaussian_filter(generator.normal(size=image.shape), short / 16) for _ in range(2)]
    at = np.indices(image.shape) + np.stack([field / np.abs(field).max() * short * 3 / 128 for field in warp])
    return np.asarray(ndimage.map_coordinates(image, at, order=1, mode="nearest"))


def _blend(share: float) -> Change:
    def change(image: np.ndarray, generator: np.random.Generator, material: Material) -> np.ndarray:
        return np.asarray(share * image + (1 - share) * material.other(generator))

    return change


def _half(image: np.ndarray, generator: np.random.Generator, material: Material) -> np.ndarray:
    out, side = material.other(generator).copy(), generator.integers(4)
    middle = [length // 2 for length in image.shape]
    part = (slice(None, middle[0]), slice(middle[0], None))[side] if side < 2 else slice(None)
    across = slice(None) if side < 2 else (slice(None, middle[1]), slice(middle[1], None))[side - 2]
    out[part, across] = image[part, across]
    return out


def _quarter(image: np.ndarray, generator: np.random.Generator, material: Material) -> np.ndarray:
    out = material.other(generator).copy()
    place = tuple((slice(None, side // 2), slice(side // 2, None))[generator.integers(2)] for side in image.shape)
    out[place] = image[place]
    return out


def _chain(*changes: Change) -> Change:
    def change(image: np.ndarray, generator: np.random.Generator, material: Material) -> np.ndarray:
        for one in changes:
            image = np.asarray(one(image, generator, material), np.float32)
        return image

    return change


def _mirror(image: np.ndarray, _: np.random.Generator, __: Material) -> np.ndarray:
    return image[:, ::-1]


def _gamma(power: float) -> Change:
    return lambda image, _, __: np.asarray(image**power)


def _round_trip(image: np.ndarray, _: np.random.Generator, material: Material) -> np.ndarray:
    code = material.code
    kept = code.mean + (image.ravel() - code.mean) @ code.axes @ code.axes.T
    return np.asarray(np.clip(kept.reshape(image.shape), 0, 1))


def _renoise(strength: float) -> Change:
    """Codes re-noised to t and taken back by the exact flow of a Gaussian; finer texture comes from somebody else."""

    def change(image: np.ndarray, generator: np.random.Generator, material: Material) -> np.ndarray:
        code = material.code
        own = (image.ravel() - code.mean) @ code.axes / code.spread
        mixed = (1 - strength) * own + strength * generator.normal(size=own.shape)
        again = mixed / np.hypot(1 - strength, strength)
        other = material.other(generator).ravel() - code.mean
        texture = other - other @ code.axes @ code.axes.T
        made = code.mean + (again * code.spread) @ code.axes.T + texture
        return np.asarray(np.clip(made.reshape(image.shape), 0, 1))

    return change


def _sharpened(image: np.ndarray, _: np.random.Generator, __: Material) -> np.ndarray:
    return np.asarray(np.clip(image + 0.8 * (image - ndimage.gaussian_filter(image, 1.0)), 0, 1))


def _bytes(image: np.ndarray) -> np.ndarray:
    return np.asarray(np.round(np.clip(image, 0, 1) * 255), np.uint8)


FAMILIES = {
    family.name: family
    for family in (
        Family("exact", "same", lambda image, _, __: image),
        Family("jpeg50", "same", _jpeg(50)),
        Family("jpeg10", "same", _jpeg(10)),
        Family("resize_half", "same", _resize(0.5)),
        Family("resize_quarter", "same", _resize(0.25)),
        Family("blur", "same", _blur),
        Family("noise5", "same", _noise(0.05)),
        Family("noise15", "same", _noise(0.15)),
        Family("gamma_dark", "grey", _gamma(1.7)),
        Family("gamma_bright", "grey", _gamma(0.6)),
        Family("window", "grey", _window),
        Family("equalised", "grey", _equalised),
        Family("inverted", "grey", lambda image, _, __: 1 - image),
        Family("mirror", "geometry", _mirror),
        Family("upside_down", "geometry", lambda image, _, __: image[::-1]),
        Family("turn90", "geometry", _turn(1)),
        Family("turn180", "geometry", _turn(2)),
        Family("rotate5", "geometry", _rotate(5)),
        Family("rotate15", "geometry", _rotate(15)),
        Family("rotate30", "geometry", _rotate(30)),
        Family("shift5", "geometry", _shift(0.05)),
        Family("crop90", "geometry", _crop(0.9)),
        Family("crop70", "geometry", _crop(0.7)),
        Family("bottom30", "geometry", _bottom),
        Family("elastic", "geometry", _elastic),
        Family("mirror_crop_gamma", "geometry", _chain(_mirror, _gamma(1.7), _crop(0.9))),
        Family("rotate_noise_blur", "geometry", _chain(_rotate(5), _blur, _noise(0.05))),
        Family("blend70", "part", _blend(0.7)),
        Family("blend50", "part", _blend(0.5)),
        Family("half", "part", _half),
        Family("quarter", "part", _quarter),
        Family("pca_round_trip", "generator", _round_trip),
        Family("pca_renoise30", "generator", _renoise(0.3)),
        Family("super_resolution", "generator", _chain(_resize(0.5), _sharpened)),
    )
}
"""Public names of the planted families; the policy says which are compulsory."""


def plant(
    images: np.ndarray, family: str, generator: np.random.Generator, material: Material | None = None
) -> np.ndarray:
    """Copies of images float32 (N, H, W), each changed as the family says; float32, same shape.

    `material` is needed by the kinds 'part' and 'generator' only; without it the images serve each other.
    """
    given = material or Material(images)
    change = FAMILIES[family].change
    return np.stack([np.asarray(change(image, generator, given), np.float32) for image in images])
