"""Style told to the network, and detail drawn by the block codec."""

import numpy as np
import torch
from scipy import ndimage

from chambit.core.seeds import seed as derive
from chambit.generate.codec.dct import BlockDCT
from chambit.generate.training.style import Style, numbers


def _two_scanners(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Smooth pictures of 32 pixels, half of them with strong grain; and which."""
    rng = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(rng.standard_normal((count, 32, 32)), (0, 4, 4)) * 0.8 + 0.5
    grainy = np.arange(count) % 2
    grain = rng.standard_normal((count, 32, 32)) * np.where(grainy, 0.08, 0.01)[:, None, None]
    return np.clip(smooth + grain, 0, 1).astype(np.float32), grainy


def _grain(images: np.ndarray) -> np.ndarray:
    """Standard deviation of what a blur takes away, float64 (N,)."""
    return np.asarray((images - ndimage.gaussian_filter(images, (0, 1, 1))).std((1, 2)), np.float64)


def test_detail_has_the_grain_of_its_picture() -> None:
    images, _ = _two_scanners(200, 0)
    codec = BlockDCT.fit(images, size=8, keep=4, detail=True)
    test, _ = _two_scanners(60, 1)
    made, plain = codec.decode(codec.encode(test)), BlockDCT.fit(images, size=8, keep=4).decode(codec.encode(test))
    ratio = _grain(made) / _grain(test)
    assert np.abs(np.log(ratio)).mean() < 0.1  # of each picture by itself
    assert (_grain(plain) / _grain(test))[1::2].mean() < 0.75  # without it the strong grain is gone


def test_detail_is_new_and_the_same_for_equal_latents() -> None:
    images, _ = _two_scanners(80, 0)
    codec = BlockDCT.fit(images, size=8, keep=4, detail=True)
    z = codec.encode(images[:6])
    once = codec.decode(z)
    assert np.array_equal(once, codec.decode(z))
    assert np.array_equal(once[2:4], codec.decode(z[2:4]))  # each by itself
    left = images[1:6:2] - BlockDCT.fit(images, size=8, keep=4).decode(z)[1::2]  # what the coefficients do not hold
    drawn = once[1::2] - BlockDCT.fit(images, size=8, keep=4).decode(z)[1::2]
    assert abs(np.corrcoef(left.ravel(), drawn.ravel())[0, 1]) < 0.15  # white grain cannot be guessed


def test_detail_leaves_the_kept_coefficients() -> None:
    images, _ = _two_scanners(80, 0)
    images = 0.3 + 0.4 * images  # nothing is clipped
    codec = BlockDCT.fit(images, size=8, keep=4, detail=True)
    z = codec.encode(images)
    assert torch.allclose(codec.encode(codec.decode(z)), z, atol=1e-3)


def test_detail_is_kept_with_the_codec() -> None:
    images, _ = _two_scanners(80, 0)
    codec = BlockDCT.fit(images, size=8, keep=3, detail=True)
    again = BlockDCT.of(codec.arrays(), block=8, keep=3)
    z = codec.encode(images[:4])
    assert np.array_equal(codec.decode(z), again.decode(z))


def test_detail_of_colours() -> None:
    images = np.repeat(_two_scanners(60, 0)[0][..., None], 3, -1) * np.array([1.0, 0.8, 0.5], np.float32)
    codec = BlockDCT.fit(images, size=8, keep=4, detail=True)
    made = codec.decode(codec.encode(images))
    assert made.shape == images.shape
    ratio = _grain(made.mean(-1)) / _grain(images.mean(-1))
    assert 0.85 < ratio.mean() < 1.15


def test_with_all_coefficients_there_is_no_detail() -> None:
    assert BlockDCT.fit(_two_scanners(8, 0)[0], size=8, keep=8, detail=True).detail is None


def test_style_tells_the_scanner_and_draws_it_by_class() -> None:
    images, grainy = _two_scanners(400, 0)
    codec = BlockDCT.fit(images, size=8, keep=4)
    labels = np.where(np.arange(400) // 2 % 10 == 0, 1 - grainy, grainy)  # nine of ten of a class have its scanner
    style = Style.fit(codec.encode(images), labels, 2, 3)
    own = style.of(codec.encode(images))[:, 0].numpy()
    higher = np.sign(own[grainy == 1].mean() - own[grainy == 0].mean())
    assert (((own - own.mean()) * higher > 0) == (grainy == 1)).mean() > 0.98
    seeds = [derive(3, "draw", str(k)) for k in range(400)]
    drawn = style.draw(np.arange(400) % 2, seeds)[:, 0].numpy()
    of_grainy = (drawn - own.mean()) * higher > 0
    assert 0.8 < of_grainy[1::2].mean() < 0.97
    assert 0.03 < of_grainy[::2].mean() < 0.2


def test_style_of_an_item_follows_from_its_seed_and_is_nobodys() -> None:
    images, grainy = _two_scanners(200, 0)
    z = BlockDCT.fit(images, size=8, keep=4).encode(images)
    style = Style.fit(z, grainy, 2, 3)
    drawn = style.draw(np.array([0, 1, 1]), [5, 6, 7])
    assert torch.equal(drawn[1:], style.draw(np.array([1, 1]), [6, 7]))
    many = style.draw(np.zeros(300, int), list(range(300)))
    assert torch.cdist(many, style.of(z)).min() > 1e-6
    kept = Style.again(style.arrays())
    assert kept is not None
    assert torch.equal(kept.draw(np.array([0]), [5]), style.draw(np.array([0]), [5]))


def test_style_of_sequences_and_of_a_class_nobody_has() -> None:
    images, grainy = _two_scanners(96, 0)
    codec = BlockDCT.fit(images, size=8, keep=4)
    z = codec.encode(images).reshape(24, 4, 16, 4, 4)
    style = Style.fit(z, np.repeat(grainy[::4, None], 4, 1), 3, 2)
    assert style.of(z).shape == (24, 2)
    assert torch.isfinite(style.draw(np.full((2, 4), 2), [1, 2])).all()


def test_only_a_grid_has_style() -> None:
    images, _ = _two_scanners(20, 0)
    assert numbers(BlockDCT.fit(images, size=8, keep=4), 3) == 3
    assert numbers(BlockDCT.fit(images, size=16, keep=4), 3) == 0  # two by two positions spread by chance
