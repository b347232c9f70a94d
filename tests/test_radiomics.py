"""Radiomic features against the consensus values of the IBSI digital phantom, loops and closed forms."""

import itertools

import numpy as np
import pytest
from scipy import ndimage

from chambit.core.errors import InputError
from chambit.measure import radiomics
from chambit.measure.embed import radiomics as extractor
from examinations import fields, patients

# The digital phantom of the Image Biomarker Standardisation Initiative: 4 slices of 4 x 5, grey levels 1 to 6, 0 where
# a voxel is not in the region. Values: the initiative's reference manual (arXiv:1612.07003), "dig. phantom", for the
# textures by the method "2D, averaged", all of strong or very strong consensus and published with three digits.
PHANTOM = np.array(
    [
        [[1, 4, 4, 1, 1], [1, 4, 6, 1, 1], [4, 1, 6, 4, 1], [4, 4, 6, 4, 1]],
        [[1, 4, 4, 1, 1], [1, 1, 6, 1, 1], [0, 1, 3, 1, 1], [4, 4, 6, 1, 1]],
        [[1, 4, 4, 0, 0], [1, 1, 1, 1, 1], [1, 1, 0, 1, 1], [1, 1, 6, 1, 1]],
        [[1, 4, 4, 0, 0], [1, 1, 1, 1, 1], [1, 1, 1, 1, 1], [1, 1, 6, 1, 1]],
    ]
)
LEVELS = 6
INTENSITY = {
    **{"mean": 2.15, "variance": 3.05, "skewness": 1.08, "excess_kurtosis": -0.355, "median": 1, "minimum": 1},
    **{"p10": 1, "p90": 4, "maximum": 6, "interquartile_range": 3, "mean_absolute_deviation": 1.55},
    **{"robust_mean_absolute_deviation": 1.11, "median_absolute_deviation": 1.15, "energy": 567},
    **{"root_mean_square": 2.77, "coefficient_of_variation": 0.812, "quartile_coefficient_of_dispersion": 0.6},
}
HISTOGRAM = {"entropy": 1.27, "uniformity": 0.512}
COOCCURRENCE = {
    **{"joint_maximum": 0.519, "joint_average": 2.14, "joint_variance": 2.69, "joint_entropy": 2.05},
    **{"difference_average": 1.42, "difference_variance": 2.90, "difference_entropy": 1.40, "sum_entropy": 1.60},
    **{"angular_second_moment": 0.368, "contrast": 5.28, "inverse_difference": 0.678},
    **{"normalised_inverse_difference": 0.851, "inverse_difference_moment": 0.619},
    **{"normalised_inverse_difference_moment": 0.899, "inverse_variance": 0.0567, "correlation": -0.0121},
    **{"autocorrelation": 5.09, "cluster_tendency": 5.47, "cluster_shade": 7.00, "cluster_prominence": 79.1},
    **{"information_correlation_1": -0.155, "information_correlation_2": 0.487},
}
RUNS = {
    **{"small_emphasis": 0.641, "large_emphasis": 3.78, "low_grey_emphasis": 0.604, "high_grey_emphasis": 9.82},
    **{"small_low_grey_emphasis": 0.294, "small_high_grey_emphasis": 8.57, "large_low_grey_emphasis": 3.14},
    **{"large_high_grey_emphasis": 17.4, "grey_non_uniformity": 5.20, "normalised_grey_non_uniformity": 0.460},
    **{"size_non_uniformity": 6.12, "normalised_size_non_uniformity": 0.492, "percentage": 0.627},
    **{"grey_variance": 3.35, "size_variance": 0.761, "entropy": 2.17},
}
ZONES = {
    **{"small_emphasis": 0.363, "large_emphasis": 43.9, "low_grey_emphasis": 0.371, "high_grey_emphasis": 16.4},
    **{"small_low_grey_emphasis": 0.0259, "small_high_grey_emphasis": 10.3, "large_low_grey_emphasis": 40.4},
    **{"large_high_grey_emphasis": 113, "grey_non_uniformity": 1.41, "normalised_grey_non_uniformity": 0.323},
    **{"size_non_uniformity": 1.49, "normalised_size_non_uniformity": 0.333, "percentage": 0.240},
    **{"grey_variance": 3.97, "size_variance": 21.0, "entropy": 1.93},
}
TONES = {"coarseness": 0.121, "contrast": 0.925, "busyness": 2.99, "complexity": 10.4, "strength": 2.88}


def _published(values: np.ndarray, names: tuple[str, ...], expected: dict[str, float]) -> None:
    """Equal to the published value within half a unit of its third digit (and a rounding error of the midpoint)."""
    assert set(expected) == set(names)
    for name, value in zip(names, values, strict=True):
        unit = 10.0 ** (np.floor(np.log10(abs(expected[name]))) - 2)
        assert value == pytest.approx(expected[name], rel=0, abs=0.501 * unit), name


def test_intensity_features_are_the_published_ones() -> None:
    _published(radiomics.intensity(PHANTOM[PHANTOM > 0][None])[0], radiomics.INTENSITY, INTENSITY)


def test_histogram_features_are_the_published_ones() -> None:
    _published(radiomics.histogram(PHANTOM.reshape(1, -1), LEVELS)[0], radiomics.HISTOGRAM, HISTOGRAM)


@pytest.mark.parametrize(
    ("family", "names", "expected"),
    [
        (radiomics.cooccurrence, radiomics.COOCCURRENCE, COOCCURRENCE),
        (radiomics.run_lengths, radiomics.SIZES, RUNS),
        (radiomics.size_zones, radiomics.SIZES, ZONES),
        (radiomics.tone_differences, radiomics.TONES, TONES),
    ],
    ids=["glcm", "glrlm", "glszm", "ngtdm"],
)
def test_texture_features_are_the_published_ones(family, names: tuple[str, ...], expected: dict[str, float]) -> None:
    _published(family(PHANTOM, LEVELS).mean(0), names, expected)


def test_pairs_are_the_published_example() -> None:
    """The manual's 4 x 4 example of a co-occurrence matrix, to the right and back: 24 pairs."""
    example = np.array([[[1, 2, 2, 3], [1, 2, 3, 3], [4, 2, 4, 1], [4, 1, 2, 3]]])
    expected = np.array([[0, 3, 0, 2], [3, 2, 3, 2], [0, 3, 2, 0], [2, 2, 0, 0]])
    assert radiomics._pairs(example, 4, 0, 1)[0] * 24 == pytest.approx(expected)


@pytest.mark.parametrize("step", radiomics.DIRECTIONS)
def test_pairs_and_runs_are_those_of_a_walk(step: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 4, (7, 9))
    table, runs = np.zeros((4, 4)), []
    for y in range(7):
        for x in range(9):
            if 0 <= y + step[0] < 7 and 0 <= x + step[1] < 9:
                a, b = image[y, x], image[y + step[0], x + step[1]]
                table[a, b] += 1
                table[b, a] += 1
            before = (y - step[0], x - step[1])
            inside = 0 <= before[0] < 7 and 0 <= before[1] < 9
            if image[y, x] == 0 or (inside and image[before] == image[y, x]):
                continue
            length, at = 0, (y, x)
            while 0 <= at[0] < 7 and 0 <= at[1] < 9 and image[at] == image[y, x]:
                length, at = length + 1, (at[0] + step[0], at[1] + step[1])
            runs.append((int(image[y, x]), length))
    pairs = radiomics._pairs(image[None], 3, *step)[0]
    assert pairs == pytest.approx(table[1:, 1:] / table[1:, 1:].sum())
    _, grey, length = radiomics._runs(radiomics._lines(image[None], *step))
    assert sorted(zip(grey.tolist(), length.tolist(), strict=True)) == sorted(runs)


def test_zones_touch_at_corners_and_not_from_image_to_image() -> None:
    board = np.indices((4, 4)).sum(0) % 2 + 1
    image, grey, size = radiomics._zones(np.stack([board, board]))
    assert sorted(zip(image.tolist(), grey.tolist(), size.tolist(), strict=True)) == [
        *((0, 1, 8), (0, 2, 8)),
        *((1, 1, 8), (1, 2, 8)),
    ]


@pytest.mark.parametrize("count", [2, 3, 32])
def test_zones_are_those_of_labelling_each_level_alone(count: int) -> None:
    levels = np.random.default_rng(count).integers(0, count + 1, (5, 20, 23))
    expected = []
    for (at, image), level in itertools.product(enumerate(levels), range(1, count + 1)):
        labels, number = ndimage.label(image == level, np.ones((3, 3)))
        expected += [(at, level, int((labels == zone + 1).sum())) for zone in range(number)]
    image, grey, size = radiomics._zones(levels)
    assert sorted(zip(image.tolist(), grey.tolist(), size.tolist(), strict=True)) == sorted(expected)


# --- the extractor


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    return patients(10, 1).grey


def _named(images: np.ndarray, name: str) -> np.ndarray:
    return extractor.features(images)[:, extractor.FEATURES.index(name)]


def test_every_column_has_a_name_of_its_own(pictures: np.ndarray) -> None:
    found = extractor.features(pictures)
    assert found.shape == (10, 145) == (10, len(set(extractor.FEATURES)))
    assert found.dtype == np.float64
    assert extractor.features(pictures[:0]).shape == (0, 145)


def test_columns_hold_what_their_names_say(pictures: np.ndarray) -> None:
    """Each family once, by another way to compute it."""
    x = pictures.astype(np.float64)
    levels = np.minimum(np.floor(x * 32), 31).astype(int) + 1
    assert _named(pictures, "original/intensity/mean") == pytest.approx(x.mean((1, 2)))
    assert _named(pictures, "original/intensity/root_mean_square") == pytest.approx(np.sqrt((x**2).mean((1, 2))))
    steps = [np.diff(levels, axis=1), np.diff(levels, axis=2)]
    steps += [levels[:, 1:, 1:] - levels[:, :-1, :-1], levels[:, 1:, :-1] - levels[:, :-1, 1:]]
    contrast = np.mean([(step**2).mean((1, 2)) for step in steps], axis=0)
    assert _named(pictures, "original/glcm/contrast") == pytest.approx(contrast)
    number = [sum(ndimage.label(one == k, np.ones((3, 3)))[1] for k in range(1, 33)) for one in levels]
    assert _named(pictures, "original/glszm/percentage") == pytest.approx(np.array(number) / x[0].size)
    changes = [(step != 0).sum((1, 2)) for step in steps]
    lines = [32, 32, 63, 63]
    runs = np.mean([(c + k) / x[0].size for c, k in zip(changes, lines, strict=True)], axis=0)
    assert _named(pictures, "original/glrlm/percentage") == pytest.approx(runs)
    coarseness = radiomics.tone_differences(levels, 32)[:, 0]
    assert _named(pictures, "original/ngtdm/coarseness") == pytest.approx(np.log10(coarseness + 0.001))


def test_an_edge_from_black_to_white_answers_as_on_paper() -> None:
    """sigma^2 times the second derivative of a blurred step is largest at sigma: exp(-1/2) / sqrt(2 pi) = 0.242."""
    edge = np.zeros((1, 64, 64))
    edge[:, :, 32:] = 1
    at = np.arange(64) - 31.5
    for sigma in (4, 6):  # of many pixels, so that sums are like integrals
        expected = -at / sigma / np.sqrt(2 * np.pi) * np.exp(-(at**2) / 2 / sigma**2)
        found = extractor._laplacian_of_gaussian(edge, sigma)
        assert found[0, 10] == pytest.approx(expected, abs=0.004)
        assert found.max() == pytest.approx(0.242, abs=0.004)
    assert all(extractor._laplacian_of_gaussian(edge, s).max() < extractor.REACH for s in extractor.SIGMAS)
    assert abs(extractor._laplacian_of_gaussian(np.ones((1, 20, 20)), 1)).max() < 1e-6


def test_features_depend_neither_on_batch_nor_on_order(pictures: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = extractor.features(pictures)
    monkeypatch.setattr(extractor, "BATCH", 3)
    assert extractor.features(pictures[::-1]) == pytest.approx(whole[::-1], rel=1e-9, abs=1e-9)


def test_texture_features_forget_turns_and_mirrors(pictures: np.ndarray) -> None:
    whole = extractor.features(pictures)
    for other in (np.rot90(pictures, axes=(1, 2)), pictures[:, ::-1], pictures.transpose(0, 2, 1)):
        assert extractor.features(other) == pytest.approx(whole, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("grey", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("shape", [(16, 16), (17, 40)])
def test_flat_images_have_finite_features(grey: float, shape: tuple[int, int]) -> None:
    flat = np.full((2, *shape), grey, np.float32)
    found = extractor.features(flat)
    assert np.isfinite(found).all()
    for family in ("original/glcm", "log1/glcm", "log2/glcm"):
        assert _named(flat, f"{family}/joint_entropy") == pytest.approx(0, abs=1e-9)
        assert _named(flat, f"{family}/correlation") == pytest.approx(1)
    assert _named(flat, "original/intensity/skewness") == pytest.approx(0)
    assert _named(flat, "original/ngtdm/coarseness") == pytest.approx(6)


def test_rounding_is_no_texture() -> None:
    """Zero lies inside a bin of the filtered images: a difference no screen shows does not split flat regions."""
    almost = 0.3 + 1e-4 * np.random.default_rng(0).normal(size=(3, 32, 32))
    for sigma in extractor.SIGMAS:
        assert _named(almost, f"log{sigma}/glcm/joint_entropy") == pytest.approx(0, abs=1e-9)


def test_images_of_one_and_of_two_pixels_of_grey_have_finite_features() -> None:
    dot = np.zeros((3, 16, 16), np.float32)
    dot[0, 5, 5], dot[1, 5, 5:7], dot[2, 0, 0] = 1, (1 / 64, 1), 1e-6
    assert np.isfinite(extractor.features(dot)).all()


def test_blur_noise_and_contrast_move_what_they_should(pictures: np.ndarray) -> None:
    blurred = ndimage.gaussian_filter(pictures, (0, 1, 1))
    noisy = np.clip(pictures + np.random.default_rng(0).normal(0, 0.05, pictures.shape), 0, 1).astype(np.float32)
    for name in ("log1/intensity/variance", "original/glcm/contrast", "original/glszm/percentage"):
        assert (_named(blurred, name) < _named(pictures, name)).all()
        assert (_named(noisy, name) > _named(pictures, name)).all()
    flatter = pictures / 2 + 0.25
    assert (
        _named(flatter, "original/glcm/joint_variance") < _named(pictures, "original/glcm/joint_variance") / 2
    ).all()


def test_long_tails_are_shorter() -> None:
    """The reason for LOGGED: of smooth fields the large zone emphasis is nearer to a Gaussian after than before."""
    grey = np.clip(0.5 + 0.2 * fields(120, np.random.default_rng(0)), 0, 1).astype(np.float32)
    after = _named(grey, "original/glszm/large_high_grey_emphasis")
    before = 10**after

    def skewness(x: np.ndarray) -> float:
        return float((((x - x.mean()) / x.std()) ** 3).mean())

    assert skewness(before) > 1
    assert abs(skewness(after)) < skewness(before) / 2


def test_images_that_cannot_be_read_are_named() -> None:
    with pytest.raises(InputError, match=r"\(2, 15, 30\); radiomics needs \(N, H, W\) with H and W at least 16"):
        extractor.features(np.zeros((2, 15, 30), np.float32))
    broken = np.zeros((3, 16, 16), np.float32)
    broken[1, 2, 3] = np.nan
    with pytest.raises(InputError, match="image 1: holds pixels that are not numbers"):
        extractor.features(broken)
