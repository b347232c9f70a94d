"""Radiomics: 145 standardised (IBSI) intensity and texture features, no weights, the same on every machine.

Of the image: 16 intensity statistics, entropy and uniformity of its grey levels, and 22 co-occurrence, 16 run length,
16 size zone and 5 tone difference features; of two Laplacian-of-Gaussian filtered versions (sigma 1 and 2 pixels): 12
intensity statistics and 22 co-occurrence features each. Definitions, and what they are tested against:
`chambit.measure.radiomics`. Distances between such vectors as a measure of generated medical images: Konz et al.,
arXiv:2412.01496, who filter likewise. FEATURES names the columns, each as image/family/feature, so that a reader can
be told which family differs. Energy is left out, being the number of pixels times the squared root mean square; of the
filtered versions, whose mean is 0 by nature, also what is then idle or double: mean, root mean square, coefficients.

The region is the whole image, and the bins are fixed: 32 of [0, 1] for the image, whose grey levels mean the same in
every image here, so that a change of contrast shows and one bright pixel does not move the bins; 31 of [-1/4, 1/4] for
the filtered ones, because an edge from black to white answers with 0.242, and an odd number puts the zero of flat
regions inside a bin.

Features with long tails enter as log10(x + a), with a in LOGGED, and the skewness, which has a sign, as arcsinh(x): a
Gaussian fits them better so. On 957 chest phantoms the large zone emphasis has a skewness of 2.2 as it is and of 0.3
so, the excess kurtosis of 3.3 and 1.8.

Input float32 (N, H, W) in [0, 1], H and W at least 16; output float64 (N, 145). Known failures: blind to where in the
image a texture is; the non-uniformities grow with the number of pixels, so images of different sizes must not be
compared; a column may be the same for all images (the minimum, where every image holds black).
"""

import numpy as np
from scipy import ndimage

from chambit.core.errors import InputError, Problem
from chambit.measure import radiomics

version = "1"
SOURCE = "none"
PREPROCESSING = (
    "grey levels in 32 equal bins of [0, 1], the same bins for every image; scale-normalised Laplacian of Gaussian "
    "(sigma 1 and 2 pixels) in 31 equal bins of [-0.25, 0.25]"
)
BINS, FILTERED_BINS, REACH = 32, 31, 0.25
SIGMAS = (1, 2)
SMALLEST = 16
BATCH = 128  # images at a time: bounds the memory; the values do not depend on it

_KEPT = tuple(name for name in radiomics.INTENSITY if name != "energy")
_FILTERED = tuple(n for n in _KEPT if n not in ("mean", "root_mean_square") and "coefficient" not in n)
FEATURES = (
    *(f"original/intensity/{name}" for name in _KEPT),
    *(f"original/histogram/{name}" for name in radiomics.HISTOGRAM),
    *(f"original/glcm/{name}" for name in radiomics.COOCCURRENCE),
    *(f"original/glrlm/{name}" for name in radiomics.SIZES),
    *(f"original/glszm/{name}" for name in radiomics.SIZES),
    *(f"original/ngtdm/{name}" for name in radiomics.TONES),
    *(
        f"log{sigma}/{family}/{name}"
        for sigma in SIGMAS
        for family, names in (("intensity", _FILTERED), ("glcm", radiomics.COOCCURRENCE))
        for name in names
    ),
)
LOGGED = {
    "excess_kurtosis": 3.0,  # never below -2
    **dict.fromkeys(("large_emphasis", "large_low_grey_emphasis", "large_high_grey_emphasis", "size_variance"), 1e-3),
    **dict.fromkeys(("coefficient_of_variation", "coarseness", "strength"), 1e-3),
}


def features(images: np.ndarray) -> np.ndarray:
    """Feature vectors float64 (N, 145), in the order of FEATURES, of images float32 (N, H, W) in [0, 1].

    Raises:
        InputError: images are smaller than 16 x 16, or not numbers.
    """
    if images.ndim != 3 or min(images.shape[1:]) < SMALLEST:
        what = f"the shape is {images.shape}; radiomics needs (N, H, W) with H and W at least {SMALLEST}"
        raise InputError("Radiomic features cannot be computed.", [Problem("images", what, "use larger images")])
    sound = np.isfinite(images).all((1, 2))
    if not sound.all():
        problem = Problem(f"image {int(np.argmin(sound))}", "holds pixels that are not numbers", "correct or drop it")
        raise InputError("Radiomic features cannot be computed.", [problem])
    if not len(images):
        return np.empty((0, len(FEATURES)))
    return np.concatenate([_batch(images[k : k + BATCH].astype(np.float64)) for k in range(0, len(images), BATCH)])


def _batch(x: np.ndarray) -> np.ndarray:
    levels = _levels(x, 0, 1, BINS)
    parts = [
        radiomics.intensity(x.reshape(len(x), -1))[:, _positions(_KEPT)],
        radiomics.histogram(levels, BINS),
        radiomics.cooccurrence(levels, BINS),
        radiomics.run_lengths(levels, BINS),
        radiomics.size_zones(levels, BINS),
        radiomics.tone_differences(levels, BINS),
    ]
    for sigma in SIGMAS:
        filtered = _laplacian_of_gaussian(x, sigma)
        parts.append(radiomics.intensity(filtered.reshape(len(x), -1))[:, _positions(_FILTERED)])
        parts.append(radiomics.cooccurrence(_levels(filtered, -REACH, REACH, FILTERED_BINS), FILTERED_BINS))
    found = np.concatenate(parts, axis=1)
    for column, name in enumerate(FEATURES):
        feature = name.rpartition("/")[2]
        if feature in LOGGED:
            found[:, column] = np.log10(found[:, column] + LOGGED[feature])
        elif feature == "skewness":
            found[:, column] = np.arcsinh(found[:, column])
    return found


def _levels(x: np.ndarray, low: float, high: float, bins: int) -> np.ndarray:
    """Grey levels 1 to `bins` int64; what lies outside [low, high] counts as at its ends."""
    return np.clip(np.floor((x - low) / (high - low) * bins), 0, bins - 1).astype(np.int64) + 1


def _laplacian_of_gaussian(x: np.ndarray, sigma: float) -> np.ndarray:
    """sigma^2 times the Laplacian of the image blurred by sigma, borders mirrored, float64 (N, H, W)."""

    def blurred(down: int, right: int) -> np.ndarray:
        # a kernel of 6 sigma; one of 4 does not sum to 0, so flat images would answer
        once = ndimage.gaussian_filter1d(x, sigma, axis=1, order=down, truncate=6)
        return np.asarray(ndimage.gaussian_filter1d(once, sigma, axis=2, order=right, truncate=6))

    return np.asarray(sigma**2 * (blurred(2, 0) + blurred(0, 2)))


def _positions(names: tuple[str, ...]) -> list[int]:
    return [radiomics.INTENSITY.index(name) for name in names]
