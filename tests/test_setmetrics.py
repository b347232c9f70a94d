"""Vendi score, grey-level and spectral distances and MS-SSIM diversity: known answers, plain loops, planted cases."""

import itertools

import numpy as np
import pytest
import torch
from monai.metrics.regression import SSIMMetric
from scipy import ndimage, stats

from chambit.core.errors import InputError
from chambit.measure.embed import histogram, power
from chambit.measure.utility import intensity, spectrum, structure, vendi
from examinations import patients

# --- Vendi score


def test_alike_counts_as_one_and_orthogonal_as_all() -> None:
    assert vendi.score(np.tile([[3.0, -4.0, 1.0]], (7, 1))) == pytest.approx(1)
    assert vendi.score(5 * np.eye(9)) == pytest.approx(9)
    assert vendi.score(np.eye(9)[:4]) == pytest.approx(4)  # fewer vectors than dimensions
    assert vendi.score(np.repeat(np.eye(6), 3, axis=0)) == pytest.approx(6)  # every one three times


def test_an_unequal_mixture_counts_as_the_entropy_of_its_shares() -> None:
    shares = np.array([0.5, 0.3, 0.2])
    mixed = np.repeat(np.eye(3), (10 * shares).astype(int), axis=0)
    assert vendi.score(mixed) == pytest.approx(np.exp(stats.entropy(shares)))


@pytest.mark.parametrize("shape", [(30, 8), (8, 30)])
def test_vendi_is_that_of_the_kernel_matrix(shape: tuple[int, int]) -> None:
    x = np.random.default_rng(0).normal(size=shape) + 0.5
    kernel = np.array([[a @ b / np.linalg.norm(a) / np.linalg.norm(b) for b in x] for a in x])
    values = np.linalg.eigvalsh(kernel / len(x))
    assert vendi.score(x) == pytest.approx(np.exp(stats.entropy(np.clip(values, 0, None))))
    assert vendi.score(x * np.arange(1, len(x) + 1)[:, None]) == pytest.approx(vendi.score(x))  # length says nothing


@pytest.mark.parametrize("broken", [np.zeros((0, 3)), np.array([[1.0, 2], [0, 0]]), np.array([[1.0, 2], [np.nan, 1]])])
def test_vectors_without_direction_are_refused(broken: np.ndarray) -> None:
    with pytest.raises(InputError, match="there are none" if not len(broken) else "vector 1: has no direction"):
        vendi.score(broken)


# --- grey levels


def test_histograms_are_shares_and_keep_the_ends() -> None:
    images = np.random.default_rng(0).random((5, 9, 11)).astype(np.float32)
    images[0, 0, 0], images[1, 0, 0] = 0, 1
    found = histogram.features(images)
    for one, image in zip(found, images, strict=True):
        assert one * 99 == pytest.approx(np.histogram(image, 64, (0, 1))[0])
    assert histogram.features(np.array([[[-0.5, 1.5]]]))[0, [0, -1]] == pytest.approx([0.5, 0.5])


@pytest.mark.parametrize("bins", [1, 5, 60])
def test_a_shift_by_bins_is_as_far_as_it_is(bins: int) -> None:
    grey = np.random.default_rng(1).integers(0, 64 - bins, (6, 8, 8))
    real, other = (histogram.features((x + 0.5) / 64) for x in (grey, grey + bins))
    assert intensity.distance(real, other) == pytest.approx(bins / 64)
    assert intensity.distance(other, real) == pytest.approx(bins / 64)


def test_the_distance_of_grey_levels_is_scipys() -> None:
    rng = np.random.default_rng(2)
    one, two = rng.integers(0, 64, (4, 6, 6)), rng.integers(10, 50, (7, 6, 6))
    expected = stats.wasserstein_distance(one.ravel(), two.ravel()) / 64
    assert intensity.distance(*(histogram.features((x + 0.5) / 64) for x in (one, two))) == pytest.approx(expected)


def test_only_the_pool_of_grey_levels_counts() -> None:
    halves = np.zeros((2, 4, 4))
    halves[:, :, :2] = 0.9
    whole = np.stack([np.zeros((4, 4)), np.full((4, 4), 0.9)])
    assert intensity.distance(histogram.features(halves), histogram.features(whole)) == pytest.approx(0)


# --- power spectra


@pytest.fixture(scope="module")
def noise() -> np.ndarray:
    return 0.05 * np.random.default_rng(3).normal(size=(60, 64, 64))


def test_white_noise_has_its_variance_in_every_band(noise: np.ndarray) -> None:
    """But in the coarsest, from which the mean takes some."""
    for images in (noise, noise[:, :28, :28], noise[:, :40, :17]):
        found = power.features(images)
        assert found.shape == (60, 16)
        untouched = np.arange(16) / 32 >= 3 / min(images.shape[1:])
        assert (10**found).mean(0)[untouched] == pytest.approx(0.05**2, rel=0.15)
        assert 100 * power.FLOOR < (10**found).mean(0)[0] < 0.9 * 0.05**2  # no band is empty


def test_ten_times_the_power_is_one_decade(noise: np.ndarray) -> None:
    louder = power.features(np.sqrt(10) * noise + 0.3)  # the mean is in no band
    assert spectrum.distance(power.features(noise), louder) == pytest.approx(1, abs=1e-4)
    assert spectrum.distance(louder, power.features(noise)) == pytest.approx(1, abs=1e-4)
    again = np.random.default_rng(4).permutation(noise)
    assert spectrum.distance(power.features(noise), power.features(again)) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("cycles", [0.05, 0.2, 0.45])
def test_a_wave_is_in_its_band(cycles: float) -> None:
    y, x = np.mgrid[:64, :64]
    waves = [np.cos(2 * np.pi * cycles * (x * np.cos(a) + y * np.sin(a))) for a in (0, 0.7, 1.5)]
    found = power.features(0.5 + 0.1 * np.stack(waves))
    assert (found.argmax(1) == int(cycles * 32)).all()


def test_the_bands_are_the_mean_over_the_whole_spectrum() -> None:
    """Half the spectrum, weighted, against all of it, band by band; odd and even sides."""
    for h, w in ((64, 64), (65, 71)):
        image = np.random.default_rng(5).random((1, h, w))
        window = np.outer(np.hanning(h + 2)[1:-1], np.hanning(w + 2)[1:-1])
        mean = (image[0] * window).sum() / window.sum()
        spectrum = np.abs(np.fft.fft2((image[0] - mean) * window)) ** 2 / (window**2).sum()
        radius = np.hypot(np.fft.fftfreq(h)[:, None], np.fft.fftfreq(w)[None])
        found = 10 ** power.features(image)[0]
        for k in range(16):
            # rounding may put what lies on the border of two bands into either
            low, high = k / 32, (k + 1) / 32 + (1e-12 if k == 15 else 0)
            inside = (radius >= low) & (radius < high) & (radius > 0)
            assert found[k] == pytest.approx(spectrum[inside].mean() + power.FLOOR), (h, w, k)


def test_the_more_blur_the_further(noise: np.ndarray) -> None:
    plain = power.features(noise)
    away = [
        spectrum.distance(plain, power.features(ndimage.gaussian_filter(noise, (0, s, s)))) for s in (0.4, 0.7, 1, 2)
    ]
    assert away[0] > 0.1
    assert (np.diff(away) > 0.1).all()


def test_flat_images_have_a_spectrum() -> None:
    assert power.features(np.full((2, 16, 16), 0.4, np.float32)) == pytest.approx(np.log10(power.FLOOR), abs=1e-3)


# --- MS-SSIM


@pytest.mark.parametrize(
    ("side", "expected"),
    [(11, 1), (21, 1), (22, 2), (28, 2), (43, 2), (44, 3), (64, 3), (98, 3), (99, 4), (175, 4), (176, 5), (512, 5)],
)
def test_scales_are_as_many_as_monai_takes(side: int, expected: int) -> None:
    assert structure.scales(side, 600) == structure.scales(600, side) == expected
    image = np.random.default_rng(0).random((1, side, side)).astype(np.float32)
    assert structure.pairwise(image, np.array([[0, 0]])) == pytest.approx([1], abs=1e-6)


def test_images_too_small_for_the_window_are_refused() -> None:
    with pytest.raises(InputError, match="10 x 40 pixels, less than 11 a side"):
        structure.pairwise(np.zeros((2, 10, 40), np.float32), np.array([[0, 1]]))


def test_one_scale_is_plain_ssim() -> None:
    images = patients(6, 5, side=16).grey
    pairs = np.array(list(itertools.combinations(range(6), 2)))
    one, other = (torch.from_numpy(images[side])[:, None] for side in pairs.T)
    expected = SSIMMetric(2, data_range=1.0)(one, other)[:, 0].numpy()
    assert (expected > 0).all()
    assert structure.pairwise(images, pairs) == pytest.approx(expected, abs=1e-5)


def test_scales_are_weighed_as_published() -> None:
    """Two scales of 28 pixels by hand: contrast and structure of the finer, whole SSIM of the coarser."""
    one, other = patients(2, 6, side=28).grey.astype(np.float64)

    def parts(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
        def mean(z: np.ndarray) -> np.ndarray:
            return ndimage.gaussian_filter(z, 1.5, truncate=5 / 1.5)[5:-5, 5:-5]

        a, b = mean(x), mean(y)
        cs = (2 * (mean(x * y) - a * b) + 0.03**2) / (mean(x * x) - a * a + mean(y * y) - b * b + 0.03**2)
        return cs.mean(), ((2 * a * b + 0.01**2) / (a * a + b * b + 0.01**2) * cs).mean()

    halved = [z.reshape(14, 2, 14, 2).mean((1, 3)) for z in (one, other)]
    fine, coarse = parts(one, other)[0], parts(*halved)[1]
    assert min(fine, coarse) > 0
    weight = 0.0448 / (0.0448 + 0.2856)
    found = structure.pairwise(np.stack([one, other]), np.array([[0, 1]]))
    assert found == pytest.approx([fine**weight * coarse ** (1 - weight)], abs=1e-4)


def test_the_less_alike_the_lower(monkeypatch: pytest.MonkeyPatch) -> None:
    images = patients(40, 7, side=44).grey
    generator = np.random.default_rng(0)
    noisy = np.clip(
        images[:1] + generator.normal(0, 1, (5, 44, 44)) * [[[0.0]], [[0.02]], [[0.05]], [[0.1]], [[0.2]]], 0, 1
    )
    found = structure.pairwise(noisy, np.array([[0, k] for k in range(5)]))
    assert found[0] == pytest.approx(1, abs=1e-6)
    assert (np.diff(found) < 0).all()
    strangers = np.array(list(itertools.combinations(range(12), 2)))
    alike = images[:1] + 0.1 * (images - images[:1])  # a set that has collapsed towards one image
    whole = structure.pairwise(images, strangers)
    assert structure.pairwise(alike, strangers).mean() > whole.mean() + 0.1
    monkeypatch.setattr(structure, "_BATCH", 7)
    assert structure.pairwise(images, strangers) == pytest.approx(whole, abs=1e-5)
    assert structure.pairwise(images, strangers[:, ::-1]) == pytest.approx(whole, abs=1e-5)
    assert structure.pairwise(images, strangers[:0]).shape == (0,)


def test_pairs_are_of_two_owners_and_never_twice() -> None:
    owners = np.array(["b", "a", "b", "c", "a", "a", "d"])
    expected = {frozenset((i, j)) for i, j in itertools.combinations(range(7), 2) if owners[i] != owners[j]}
    for count in (1, 5, len(expected), 1000):
        pairs = structure.pairs_of_strangers(owners, count, np.random.default_rng(count))
        assert len(pairs) == min(count, len(expected)) == len({frozenset(pair) for pair in pairs.tolist()})
        assert {frozenset(pair) for pair in pairs.tolist()} <= expected


def test_every_pair_of_strangers_is_as_likely() -> None:
    owners = np.array([0, 0, 0, 1, 2, 2])
    generator = np.random.default_rng(1)
    drawn = np.concatenate([structure.pairs_of_strangers(owners, 3, generator) for _ in range(1000)])
    _, counts = np.unique(np.sort(drawn, axis=1), axis=0, return_counts=True)
    assert len(counts) == 11
    assert stats.chisquare(counts).pvalue > 1e-3
    again = structure.pairs_of_strangers(owners, 3, np.random.default_rng(2))
    assert (again == structure.pairs_of_strangers(owners, 3, np.random.default_rng(2))).all()


@pytest.mark.parametrize("owners", [np.array([], int), np.array([4]), np.array([4, 4, 4])])
def test_one_owner_has_no_strangers(owners: np.ndarray) -> None:
    with pytest.raises(InputError, match="all belong to one owner"):
        structure.pairs_of_strangers(owners, 3, np.random.default_rng(0))
