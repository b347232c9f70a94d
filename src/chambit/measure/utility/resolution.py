"""Resolution: is what a super-resolution stage made as sharp as real images, and true to what it was given?

    sharpness = exp( mean log f(enlarged) - mean log f(real) ),   f the root mean square of what is finer than the input
    drift     = mean over images of  |A(enlarged) - input| - |A(cubic) - input|
    structure = mean over unseen real x of  S(enlarged(A(x)), x) - S(cubic(A(x)), x)

A averages squares of pixels down to the input's size, `cubic` is bicubic interpolation (Keys 1981,
doi:10.1109/TASSP.1981.1163711), which invents nothing and is the null of the last two; S is MS-SSIM (`structure`).
What is finer than the input lies above its Nyquist frequency, so an enlargement has made all of it. Beside f stands the
variance of the Laplacian, a focus measure (Pech-Pacheco et al. 2000, Diatom autofocusing in brightfield microscopy).

Known failure: noise is as fine as structure. A stage that makes the noise of a detector has its sharpness; whether what
is fine is anatomy only `structure` says, and that of real images, not of synthetic ones.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from scipy import ndimage

from chambit.core.evidence import Control, Finding, Frozen, Interval
from chambit.images.imageset import ImageSet, luminance
from chambit.measure import interval
from chambit.measure.examination import Examination, Result, not_run
from chambit.measure.utility.structure import WINDOW, pairwise

version = "1"
QUANTITIES = {"sharpness": "neither", "drift": "lower", "structure": "higher"}
EXTRAS = ("enlarged",)
METHOD = "bootstrap of subjects"
FLOOR = 1e-6
"""Of f: a flat picture has none."""


class Options(Frozen):
    """least: fewest images of each kind; draws: bootstrap of subjects; level: of the intervals; control: the share of
    images in which the measure must see what was done to them.
    """

    least: int = 20
    draws: int = 2000
    level: float = 0.95
    control: float = 0.9


class Fine(NamedTuple):
    """What is finer than the input in some images: root mean square and variance of the Laplacian, float64 (N,)."""

    rms: np.ndarray
    laplacian: np.ndarray


def measure(exam: Examination, options: Options) -> Result:
    """Sharpness, drift and structure of what was enlarged; nothing of a set that no stage enlarged."""
    name = f"resolution@{version}"
    sets = exam.enlarged
    if "large" not in sets:
        return Result(())
    if (there := len(sets["large"])) < options.least:
        reason = f"Too few images were enlarged: {there}, at least {options.least} needed."
        return not_run(name, QUANTITIES, reason, {"enlarged images": there})
    rng = np.random.default_rng(exam.context.seed("bootstrap"))

    def missing(quantity: str, lacking: str) -> Finding | None:
        """Why there is no such number, or None where there can be."""
        if (there := len(sets[lacking]) if lacking in sets else 0) >= options.least:
            return None
        reason = f"Too few unseen real images could be held beside it: {there}, at least {options.least} needed."
        return not_run(name, {quantity: QUANTITIES[quantity]}, reason, {"real images": there}).findings[0]

    return Result((
        missing("sharpness", "real") or _sharpness(name, exam, options, rng),
        _drift(name, sets["small"], sets["large"], options, rng),
        missing("structure", "again") or _structure(name, sets, options, rng),
    ))  # fmt: skip


def scale_of(sets: Mapping[str, ImageSet]) -> int:
    """How many times as long the sides became."""
    return int(sets["large"].shape[0] // sets["small"].shape[0])


def averaged(image: np.ndarray, scale: int) -> np.ndarray:
    """Means over squares of scale x scale pixels of one image (H, W[, 3]); float64 (H / scale, W / scale[, 3]).

    >>> averaged(np.arange(16.0).reshape(4, 4), 2).tolist()
    [[2.5, 4.5], [10.5, 12.5]]
    """
    height, width = image.shape[:2]
    cut = image.reshape(height // scale, scale, width // scale, scale, *image.shape[2:])
    return np.asarray(cut.mean((1, 3), dtype=np.float64))


def cubic(image: np.ndarray, scale: int) -> np.ndarray:
    """One image uint8 (h, w[, 3]) enlarged by bicubic interpolation, uint8 (scale h, scale w[, 3])."""
    from PIL import Image

    height, width = image.shape[:2]
    made = Image.fromarray(image).resize((scale * width, scale * height), Image.Resampling.BICUBIC)
    return np.asarray(made)


def finer(image: np.ndarray, scale: int) -> tuple[float, float]:
    """What one image uint8 (H, W[, 3]) has beyond the Nyquist frequency of a picture `scale` times smaller.

    Returns:
        Root mean square of that part of the luminance in [0, 1], under a Hann window so that borders do not count; and
        the variance of the Laplacian.
    """
    grey = luminance(image[None])[0].astype(np.float64) / 255
    window = np.outer(*(np.hanning(side + 2)[1:-1] for side in grey.shape))
    power = np.abs(np.fft.fft2((grey - grey.mean()) * window)) ** 2
    rows, columns = (np.abs(np.fft.fftfreq(side)) for side in grey.shape)
    above = np.maximum(rows[:, None], columns[None]) > 0.5 / scale
    rms = np.sqrt(power[above].sum() / grey.size / np.square(window).sum())
    return max(float(rms), FLOOR), float(ndimage.laplace(grey).var())


def _each(images: ImageSet) -> list[np.ndarray]:
    """The images of a set, uint8, in order."""
    out: list[Any] = [None] * len(images)
    for at, pixels in images.blocks():
        for k, image in zip(at, pixels, strict=True):
            out[k] = image
    return out


def _fine(images: list[np.ndarray], scale: int) -> Fine:
    return Fine(*(np.array(part) for part in zip(*(finer(image, scale) for image in images), strict=True)))


def _mean(values: np.ndarray, subjects: np.ndarray, options: Options, rng: np.random.Generator) -> np.ndarray:
    """Mean in each bootstrap draw of subjects, (draws,)."""
    weights = interval.subject_weights(subjects, options.draws, rng)
    return np.asarray((weights @ values) / weights.sum(1))


def _seen(name: str, changed: np.ndarray, plain: np.ndarray, options: Options) -> Control:
    """Whether a change that was made to every image shows in nearly all of them."""
    share = float((changed > plain).mean())
    return Control(
        name=name, expected=f"seen in at least {options.control:.0%} of the images", observed=f"seen in {share:.0%}",
        fired=share >= options.control,
    )  # fmt: skip


def _drift(name: str, small: ImageSet, large: ImageSet, options: Options, rng: np.random.Generator) -> Finding:
    """How far the result, made small again, is from what was enlarged; moved by a pixel of the input as its control."""
    scale = scale_of({"small": small, "large": large})
    kinds: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
        "made": lambda one, given: one,
        "bicubic": lambda one, given: cubic(given, scale),
        "moved": lambda one, given: np.roll(one, scale, 1),
    }
    gaps: dict[str, list[float]] = {kind: [] for kind in kinds}
    for given, one in zip(_each(small), _each(large), strict=True):
        for kind, of in kinds.items():
            gaps[kind].append(float(np.abs(averaged(of(one, given), scale) - given).mean() / 255))
    made, null, moved = (np.array(gaps[kind]) for kind in kinds)
    return Finding(
        measure=name,
        quantity="drift",
        value=float((made - null).mean()),
        interval=_interval(_mean(made - null, large.subjects, options, rng), options),
        n={"enlarged images": len(large)},
        null=0.0,
        direction="lower",
        control=_seen("results moved by one pixel of their input", moved, made, options),
        details={"made": float(made.mean()), "bicubic": float(null.mean()), "largest": float(made.max()),
                 **_sizes(small, large)},
        inputs={"small": small.digest, "large": large.digest},
    )  # fmt: skip


def _sharpness(name: str, exam: Examination, options: Options, rng: np.random.Generator) -> Finding:
    """What is finer than the input, against real images of that size; their bicubic enlargements are the control."""
    sets, scale = exam.enlarged, scale_of(exam.enlarged)
    made, real = _fine(_each(sets["large"]), scale), _fine(_each(sets["real"]), scale)
    blurred = [cubic(_eight(averaged(image, scale)), scale) for image in _each(sets["real"])]
    soft = _fine(blurred, scale)
    interpolated = _fine([cubic(image, scale) for image in _each(sets["small"])], scale)
    draws = _mean(np.log(made.rms), sets["large"].subjects, options, rng)
    draws -= _mean(np.log(real.rms), sets["real"].subjects, options, rng)
    details: dict[str, Any] = {
        "bicubic": float(np.exp(np.log(interpolated.rms).mean() - np.log(real.rms).mean())),
        "laplacian": float(np.median(made.laplacian) / max(np.median(real.laplacian), FLOOR**2)),
        "laplacian_bicubic": float(np.median(interpolated.laplacian) / max(np.median(real.laplacian), FLOOR**2)),
        **_sizes(sets["small"], sets["large"]),
    }
    if "again" in sets:  # the stage alone, without what the stages before it lost
        again = _fine(_each(sets["again"]), scale)
        details["stage_alone"] = float(np.exp((np.log(again.rms) - np.log(real.rms)).mean()))
    return Finding(
        measure=name,
        quantity="sharpness",
        value=float(np.exp(np.log(made.rms).mean() - np.log(real.rms).mean())),
        interval=_interval(np.exp(draws), options),
        n={"enlarged images": len(made.rms), "real images": len(real.rms)},
        null=1.0,
        direction="neither",
        control=_seen("bicubic enlargements of real images are softer", real.rms, soft.rms, options),
        details=details,
        inputs={"large": sets["large"].digest, "real": sets["real"].digest},
    )


def _structure(name: str, sets: Mapping[str, ImageSet], options: Options, rng: np.random.Generator) -> Finding:
    """How alike unseen real images and their enlargements are, beyond bicubic ones; moved ones are the control."""
    real, again, scale = sets["real"], sets["again"], scale_of(sets)
    if min(real.shape[:2]) < WINDOW:
        reason = f"Images of {real.shape[1]} x {real.shape[0]} pixels are too small for MS-SSIM."
        return not_run(name, {"structure": "higher"}, reason, {"real images": len(real)}).findings[0]
    true = _each(real)
    plain = [cubic(_eight(averaged(image, scale)), scale) for image in true]
    alike = {
        "made": _alike(true, _each(again)),
        "bicubic": _alike(true, plain),
        "moved": _alike(true, [np.roll(image, scale, 1) for image in plain]),
    }
    gain = alike["made"] - alike["bicubic"]
    return Finding(
        measure=name,
        quantity="structure",
        value=float(gain.mean()),
        interval=_interval(_mean(gain, real.subjects, options, rng), options),
        n={"real images": len(real)},
        null=0.0,
        direction="higher",
        control=_seen("bicubic ones moved by one pixel of their input", alike["bicubic"], alike["moved"], options),
        details={kind: float(values.mean()) for kind, values in alike.items() if kind != "moved"},
        inputs={"real": real.digest, "again": again.digest},
    )


def _alike(one: list[np.ndarray], other: list[np.ndarray]) -> np.ndarray:
    """MS-SSIM of each pair by luminance, float64 (N,)."""
    out = []
    for pair in zip(one, other, strict=True):
        grey = np.concatenate([luminance(image[None]) for image in pair]) / 255
        out.append(pairwise(grey, np.array([[0, 1]]))[0])
    return np.array(out)


def _eight(image: np.ndarray) -> np.ndarray:
    return np.asarray(np.rint(image), np.uint8)


def _interval(draws: np.ndarray, options: Options) -> Interval:
    return interval.percentile(draws, options.level, METHOD)


def _sizes(small: ImageSet, large: ImageSet) -> dict[str, str]:
    """Width and height of input and result, in words."""
    return {key: f"{images.shape[1]} x {images.shape[0]}" for key, images in (("from", small), ("to", large))}
