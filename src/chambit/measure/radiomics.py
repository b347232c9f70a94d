"""Radiomic features of many two-dimensional images at once, as the Image Biomarker Standardisation Initiative says.

Definitions: Zwanenburg et al. 2020, doi:10.1148/radiol.2020191145, and the reference manual arXiv:1612.07003; each
function names its family there. Textures are read in the plane, at distance 1 (eight neighbours, four directions), and
every value is that of one image; the families with directions are averaged over the four ("2D, averaged"). Grey levels
are integers from 1 to `count`; 0 is outside the region. The tests hold every feature to the values published for the
manual's digital phantom.

Where the manual divides by zero, in images of one grey level, the value is written at the function, so that no feature
is ever missing. Left out because they repeat another one of a symmetric matrix: sum average (twice the joint average),
sum variance (the cluster tendency), dissimilarity (the difference average), and intensity range (maximum less minimum).
"""

import numpy as np
from scipy import sparse
from scipy.sparse import csgraph

INTENSITY = (
    *("mean", "variance", "skewness", "excess_kurtosis", "median", "minimum", "p10", "p90", "maximum"),
    *("interquartile_range", "mean_absolute_deviation", "robust_mean_absolute_deviation", "median_absolute_deviation"),
    *("energy", "root_mean_square", "coefficient_of_variation", "quartile_coefficient_of_dispersion"),
)
HISTOGRAM = ("entropy", "uniformity")
COOCCURRENCE = (
    *("joint_maximum", "joint_average", "joint_variance", "joint_entropy"),
    *("difference_average", "difference_variance", "difference_entropy", "sum_entropy"),
    *("angular_second_moment", "contrast", "inverse_difference", "normalised_inverse_difference"),
    *("inverse_difference_moment", "normalised_inverse_difference_moment", "inverse_variance", "correlation"),
    *("autocorrelation", "cluster_tendency", "cluster_shade", "cluster_prominence"),
    *("information_correlation_1", "information_correlation_2"),
)
SIZES = (  # of runs and of zones; "small" and "large" are "short" and "long" for runs
    *("small_emphasis", "large_emphasis", "low_grey_emphasis", "high_grey_emphasis"),
    *("small_low_grey_emphasis", "small_high_grey_emphasis", "large_low_grey_emphasis", "large_high_grey_emphasis"),
    *("grey_non_uniformity", "normalised_grey_non_uniformity", "size_non_uniformity", "normalised_size_non_uniformity"),
    *("percentage", "grey_variance", "size_variance", "entropy"),
)
TONES = ("coarseness", "contrast", "busyness", "complexity", "strength")

DIRECTIONS = ((0, 1), (1, 1), (1, 0), (1, -1))
COARSEST = 1e6  # the manual's coarseness of an image without any difference
_FLAT = 1e-12  # a variance below this, of grey levels in [0, 1], is rounding


def intensity(values: np.ndarray) -> np.ndarray:
    """Intensity-based statistics (manual 3.3), float64 (N, 17) in the order of INTENSITY.

    Skewness, excess kurtosis and the two coefficients are 0 where they would divide by zero: in a flat image, and in
    one whose mean, or whose quartiles' sum, is 0.

    Args:
        values: grey values (N, K) of the K pixels of each image.
    """
    x = values.astype(np.float64)
    p10, p25, median, p75, p90 = np.quantile(x, (0.1, 0.25, 0.5, 0.75, 0.9), axis=1)
    mean = x.mean(1)
    away = x - mean[:, None]
    square = away * away
    variance = square.mean(1)
    deviation = np.where(variance > _FLAT, np.sqrt(variance), np.inf)
    inside = (x >= p10[:, None]) & (x <= p90[:, None])
    pixels = np.maximum(inside.sum(1), 1)
    centre = np.where(inside, x, 0).sum(1) / pixels
    robust = np.where(inside, np.abs(x - centre[:, None]), 0).sum(1) / pixels
    energy = (x * x).sum(1)
    spread = np.where(variance > _FLAT, np.sqrt(variance), 0)
    columns = [
        *(mean, variance, (square * away).mean(1) / deviation**3),
        np.where(variance > _FLAT, (square * square).mean(1) / deviation**4 - 3, 0),
        *(median, x.min(1), p10, p90, x.max(1), p75 - p25, np.abs(away).mean(1), robust),
        np.abs(x - median[:, None]).mean(1),
        *(energy, np.sqrt(energy / x.shape[1])),
        *(_ratio(spread, mean), _ratio(p75 - p25, p75 + p25)),
    ]
    return np.stack(columns, axis=1)


def histogram(levels: np.ndarray, count: int) -> np.ndarray:
    """Entropy in bits and uniformity of the grey levels (manual 3.4), float64 (N, 2), of levels int (N, ...)."""
    p = _shares(levels.reshape(len(levels), -1), count)
    return np.stack([_entropy(p), np.square(p).sum(1)], axis=1)


def cooccurrence(levels: np.ndarray, count: int) -> np.ndarray:
    """Grey level co-occurrence features (manual 3.6), float64 (N, 22) in the order of COOCCURRENCE.

    Matrices are symmetric; features are taken of each of four directions and averaged (BTW3). Of an image of one level
    the correlation is 1 and both information correlations are 0.

    Args:
        levels: grey levels int (N, H, W).
        count: how many levels there can be.
    """
    return np.asarray(np.mean([_of_pairs(_pairs(levels, count, *step)) for step in DIRECTIONS], axis=0))


def _pairs(levels: np.ndarray, count: int, down: int, right: int) -> np.ndarray:
    """Shares float64 (N, count, count) of pairs of levels one step apart, either way round."""
    n, h, w = levels.shape
    here = levels[:, : h - down, max(0, -right) : w - max(0, right)]
    there = levels[:, down:, max(0, right) : w + min(0, right)]
    side = count + 1
    key = (np.arange(n)[:, None, None] * side + here) * side + there
    table = np.bincount(key.ravel(), minlength=n * side * side).reshape(n, side, side)[:, 1:, 1:]
    both = table + table.transpose(0, 2, 1)
    return np.asarray(both / np.maximum(both.sum((1, 2), keepdims=True), 1))


def _of_pairs(p: np.ndarray) -> np.ndarray:
    """The features of matrices float64 (N, G, G); all follow from p, its margin, and its shares by i - j and i + j."""
    n, count = p.shape[:2]
    grey = np.arange(1, count + 1)
    apart = np.abs(grey[:, None] - grey).ravel()
    flat = p.reshape(n, -1)
    difference = flat @ np.eye(count)[apart]
    total = flat @ np.eye(2 * count - 1)[(grey[:, None] + grey - 2).ravel()]
    margin = p.sum(2)
    k, sums = np.arange(count), np.arange(2, 2 * count + 1)
    mean = margin @ grey
    variance = margin @ grey**2 - mean**2
    dissimilarity, contrast = difference @ k, difference @ k**2
    off = sums - 2 * mean[:, None]
    autocorrelation = (total @ sums**2 - contrast) / 4  # 4 i j = (i + j)^2 - (i - j)^2
    entropy, alone = _entropy(flat), _entropy(margin)
    one_level = variance < 1e-9
    columns = [
        *(flat.max(1), mean, variance, entropy),
        *(dissimilarity, contrast - dissimilarity**2, _entropy(difference), _entropy(total)),
        *(np.square(flat).sum(1), contrast),
        *(difference @ (1 / (1 + k)), difference @ (1 / (1 + k / count))),
        *(difference @ (1 / (1 + k**2)), difference @ (1 / (1 + (k / count) ** 2))),
        difference[:, 1:] @ (1 / k[1:] ** 2),
        np.where(one_level, 1, (autocorrelation - mean**2) / np.where(one_level, 1, variance)),
        *(autocorrelation, *((total * off**power).sum(1) for power in (2, 3, 4))),
        # the margins are alike, so the manual's HXY1 and HXY2 are both twice the entropy of one of them
        _ratio(entropy - 2 * alone, alone),
        np.sqrt(np.maximum(1 - np.exp(-2 * (2 * alone - entropy)), 0)),
    ]
    return np.stack(columns, axis=1)


def run_lengths(levels: np.ndarray, count: int) -> np.ndarray:
    """Grey level run length features (manual 3.7), float64 (N, 16) in the order of SIZES.

    Of each of four directions, then averaged (BTW3).

    Args:
        levels: grey levels int (N, H, W).
        count: how many levels there can be.
    """
    pixels = (levels > 0).sum((1, 2))
    found = [_of_sizes(*_runs(_lines(levels, *step)), pixels, count) for step in DIRECTIONS]
    return np.asarray(np.mean(found, axis=0))


def _lines(levels: np.ndarray, down: int, right: int) -> np.ndarray:
    """The levels with the lines of a direction along the last axis, filled up with 0."""
    if not down:
        return levels
    if not right:
        return levels.transpose(0, 2, 1)
    n, h, w = levels.shape
    leaning = np.zeros((n, h, h + w - 1), levels.dtype)
    for y in range(h):
        first = h - 1 - y if right > 0 else y
        leaning[:, y, first : first + w] = levels[:, y]
    return leaning.transpose(0, 2, 1)


def _runs(lines: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Image, level and length of every run along the last axis, each int (R,)."""
    begins = np.ones(lines.shape, bool)
    begins[..., 1:] = lines[..., 1:] != lines[..., :-1]
    at = np.flatnonzero(begins)
    level, length = lines.ravel()[at].astype(np.int64), np.diff(at, append=lines.size)
    keep = level > 0
    return at[keep] // lines[0].size, level[keep], length[keep]


def size_zones(levels: np.ndarray, count: int) -> np.ndarray:
    """Grey level size zone features (manual 3.8), float64 (N, 16) in the order of SIZES.

    A zone is a group of pixels of one level that touch by sides or corners.

    Args:
        levels: grey levels int (N, H, W).
        count: how many levels there can be.
    """
    return _of_sizes(*_zones(levels), (levels > 0).sum((1, 2)), count)


def _zones(levels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Image, level and size of every zone, each int (Z,).

    Zones are the connected parts of a graph of the rows' runs: two runs of one level in neighbouring rows are linked
    where they first overlap, or where they meet at a corner only.
    """
    begins = np.ones(levels.shape, bool)
    begins[..., 1:] = levels[..., 1:] != levels[..., :-1]
    run = np.cumsum(begins, dtype=np.int32).reshape(levels.shape) - 1
    at = np.flatnonzero(begins)
    above, below = np.s_[:, :-1], np.s_[:, 1:]
    corner = begins[above][..., 1:] & begins[below][..., 1:]
    links = []
    for one, other, where in (
        (above, below, begins[above] | begins[below]),
        (np.s_[:, :-1, :-1], np.s_[:, 1:, 1:], corner),
        (np.s_[:, :-1, 1:], np.s_[:, 1:, :-1], corner),
    ):
        alike = where & (levels[one] == levels[other])
        links.append((run[one][alike], run[other][alike]))
    rows, columns = (np.concatenate(part) for part in zip(*links, strict=True))
    graph = sparse.coo_matrix((np.ones(len(rows), bool), (rows, columns)), (len(at), len(at)))
    number, zone = csgraph.connected_components(graph, directed=False)
    size = np.bincount(zone, np.diff(at, append=levels.size), number).astype(np.int64)
    image, grey = np.empty(number, np.int64), np.empty(number, np.int64)
    image[zone], grey[zone] = at // levels[0].size, levels.ravel()[at]
    inside = grey > 0
    return image[inside], grey[inside], size[inside]


def _of_sizes(image: np.ndarray, grey: np.ndarray, size: np.ndarray, pixels: np.ndarray, count: int) -> np.ndarray:
    """The sixteen features that runs and zones share; `pixels` (N,) are those of each image's region."""
    n = len(pixels)
    widest = int(size.max(initial=1)) + 1
    key, tally = np.unique((image * (count + 1) + grey) * widest + size, return_counts=True)
    size, grey, image = key % widest, key // widest % (count + 1), key // widest // (count + 1)
    number = np.maximum(np.bincount(image, tally, n), 1)

    def mean(of: np.ndarray) -> np.ndarray:
        return np.asarray(np.bincount(image, tally * of, n) / number)

    def squared(of: np.ndarray, most: int) -> np.ndarray:
        return np.asarray(np.square(np.bincount(image * most + of, tally, n * most).reshape(n, most)).sum(1))

    i2, j2 = grey.astype(np.float64) ** 2, size.astype(np.float64) ** 2
    by_grey, by_size = squared(grey, count + 1), squared(size, widest)
    share = tally / number[image]
    columns = [
        *(mean(1 / j2), mean(j2), mean(1 / i2), mean(i2)),
        *(mean(1 / (i2 * j2)), mean(i2 / j2), mean(j2 / i2), mean(i2 * j2)),
        *(by_grey / number, by_grey / number**2, by_size / number, by_size / number**2),
        *(number / np.maximum(pixels, 1), mean(i2) - mean(grey) ** 2, mean(j2) - mean(size) ** 2),
        np.bincount(image, -share * np.log2(share), n),
    ]
    return np.stack(columns, axis=1)


def tone_differences(levels: np.ndarray, count: int) -> np.ndarray:
    """Neighbourhood grey tone difference features (manual 3.10), float64 (N, 5) in the order of TONES.

    Of an image without any difference coarseness is 1e6, as the manual says, and the other four are 0.

    Args:
        levels: grey levels int (N, H, W).
        count: how many levels there can be.
    """
    n, h, w = levels.shape
    padded = np.pad(levels.astype(np.int64), ((0, 0), (1, 1), (1, 1)))
    ring = [(y, x) for y in range(3) for x in range(3) if (y, x) != (1, 1)]
    around = sum(padded[:, y : y + h, x : x + w] for y, x in ring)
    neighbours = sum(padded[:, y : y + h, x : x + w] > 0 for y, x in ring)
    valid = (levels > 0) & (neighbours > 0)
    gap = np.abs(levels - around / np.maximum(neighbours, 1))
    key = (np.arange(n)[:, None, None] * count + levels - 1)[valid]
    often = np.bincount(key, minlength=n * count).reshape(n, count)
    s = np.bincount(key, gap[valid], n * count).reshape(n, count)
    number = np.maximum(often.sum(1), 1)
    p, present = often / number[:, None], (often > 0).sum(1)
    grey = np.arange(1, count + 1)
    both = (often > 0)[:, :, None] & (often > 0)[:, None]
    apart = grey[:, None] - grey
    one, other = p[:, :, None], p[:, None]
    roughness, weight = (p * s).sum(1), p * s
    contrast = _ratio((one * other * apart**2).sum((1, 2)), present * (present - 1)) * s.sum(1) / number
    busy = np.abs(np.where(both, grey[:, None] * one - grey * other, 0)).sum((1, 2))
    share = np.where(both, (weight[:, :, None] + weight[:, None]) / np.where(both, one + other, 1), 0)
    columns = [
        np.where(roughness > 0, np.minimum(1 / np.where(roughness > 0, roughness, 1), COARSEST), COARSEST),
        *(contrast, _ratio(roughness, busy), (np.abs(apart) * share).sum((1, 2)) / number),
        _ratio(np.where(both, (one + other) * apart**2, 0).sum((1, 2)), s.sum(1)),
    ]
    return np.stack(columns, axis=1)


def _shares(levels: np.ndarray, count: int) -> np.ndarray:
    """Shares float64 (N, count) of the levels int (N, K) inside the region."""
    n = len(levels)
    table = np.bincount((np.arange(n)[:, None] * (count + 1) + levels).ravel(), minlength=n * (count + 1))
    inside = table.reshape(n, count + 1)[:, 1:]
    return np.asarray(inside / np.maximum(inside.sum(1, keepdims=True), 1))


def _entropy(p: np.ndarray) -> np.ndarray:
    """Entropy in bits of the rows of p."""
    return np.asarray(-(p * np.log2(np.where(p > 0, p, 1))).sum(1))


def _ratio(top: np.ndarray, bottom: np.ndarray) -> np.ndarray:
    """Top over bottom, 0 where the bottom is (nearly) 0."""
    safe = np.abs(bottom) > _FLAT
    return np.where(safe, top / np.where(safe, bottom, 1), 0.0)
