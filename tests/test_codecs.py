"""Codecs: what they lose, that they are what they say, colours, frames, and how they are kept."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from chambit.generate import codec as codecs
from chambit.generate.codec.dct import BlockDCT, coloured, dct_matrix, opponents
from chambit.generate.codec.identity import Pixels
from chambit.generate.codec.kl import Learnt
from chambit.generate.codec.pca import Components
from test_generate import StoppedError, _context
from tinystudy import pictures

GREY = (pictures(40, 0, 20) / np.float32(255)).astype(np.float32)
TINTED = np.clip(GREY[..., None] * np.array([1.0, 0.7, 0.4], np.float32) + np.float32(0.05), 0, 1)


def _fitted(kind: str, images: np.ndarray) -> codecs.Codec:
    if kind == "dct":
        return BlockDCT.fit(images, size=4, keep=4)
    return Pixels.fit(images, size=4) if kind == "identity" else Components.fit(images, components=39)


# --- all of them


@pytest.mark.parametrize("images", [GREY, TINTED], ids=["grey", "colour"])
@pytest.mark.parametrize("kind", ["dct", "identity", "pca"])
def test_a_codec_with_room_for_everything_loses_nothing(kind: str, images: np.ndarray) -> None:
    codec = _fitted(kind, images)
    z = codecs.encode(codec, images)
    assert z.shape == (40, *codecs.grid(codec))
    assert np.abs(codecs.decode(codec, z) - images).max() < 1e-4
    assert codec.residual < 1e-8
    assert codec.colours == (1 if images.ndim == 3 else 3)


@pytest.mark.parametrize("kind", ["dct", "identity", "pca"])
def test_latents_are_standardised_and_weights_have_mean_one(kind: str) -> None:
    codec = _fitted(kind, TINTED)
    z = codecs.encode(codec, TINTED)
    if kind == "identity":  # one scale for a colour, not for each place in a block
        assert z.reshape(40, 3, -1).mean((0, 2)).abs().max() < 1e-4
        assert torch.allclose(z.reshape(40, 3, -1).std((0, 2)), torch.ones(3), atol=1e-2)
    else:
        real = codec.std > 1e-3
        assert z.mean((0, 2, 3)).abs().max() < 1e-3
        assert torch.allclose(z.std((0, 2, 3))[real], torch.ones(int(real.sum())), atol=0.02)
    assert codecs.weight(codec).mean().item() == pytest.approx(1)


@pytest.mark.parametrize("images", [GREY, TINTED], ids=["grey", "colour"])
@pytest.mark.parametrize("kind", ["dct", "identity", "pca"])
def test_frames_are_coded_one_by_one(kind: str, images: np.ndarray) -> None:
    codec = _fitted(kind, images)
    films = images.reshape(10, 4, *images.shape[1:])
    z = codecs.encode(codec, films)
    assert z.shape == (10, 4, *codecs.grid(codec))
    assert torch.equal(z.reshape(40, *z.shape[2:]), codecs.encode(codec, images))
    assert codecs.decode(codec, z).shape == films.shape


@pytest.mark.parametrize("images", [GREY, TINTED], ids=["grey", "colour"])
@pytest.mark.parametrize("kind", ["dct", "identity", "pca"])
def test_a_codec_is_made_again_from_its_arrays(kind: str, images: np.ndarray) -> None:
    codec = _fitted(kind, images)
    again = codecs.of(kind, codec.arrays(), block=4, keep=4)
    assert torch.equal(codecs.encode(again, images), codecs.encode(codec, images))
    assert (again.shape, again.colours, again.size) == (codec.shape, codec.colours, codec.size)


# --- colour


def test_colours_are_turned_not_stretched() -> None:
    x = torch.from_numpy(np.random.default_rng(0).random((3, 5, 7, 3)).astype(np.float32))
    turned = opponents(x)
    assert turned.shape == (9, 5, 7)
    assert torch.allclose(turned.square().sum(), x.square().sum(), rtol=1e-5)
    assert torch.allclose(coloured(turned), x, atol=1e-6)
    axes = np.array([[1, 1, 1], [1, 0, -1], [1, -2, 1]]) / np.sqrt([[3], [2], [6]])
    assert np.allclose(dct_matrix(3).numpy(), axes, atol=1e-6)


def test_grey_pictures_have_no_chrominance() -> None:
    codec = BlockDCT.fit(np.repeat(GREY[..., None], 3, -1), size=4, keep=2)
    assert len(codec.mean) == 12
    assert codec.mean[4:].abs().max() < 1e-5
    assert codec.std[4:].max() <= 1.01e-4
    assert codec.std[:4].min() > 1e-2


def test_of_chrominance_less_may_be_kept_and_detail_draws_the_rest() -> None:
    whole = BlockDCT.fit(TINTED, size=4, keep=4)
    fewer, drawn = (BlockDCT.fit(TINTED, size=4, keep=4, chroma=2, detail=detail) for detail in (False, True))
    assert (len(fewer.mean), fewer.chroma, whole.chroma) == (16 + 2 * 4, 2, 4)
    assert torch.equal(fewer.encode(TINTED)[:, :16], whole.encode(TINTED)[:, :16])  # luminance is kept wholly
    lost = fewer.decode(fewer.encode(TINTED)) - TINTED
    assert np.square(lost).mean() == pytest.approx(fewer.residual, rel=0.05)
    assert np.abs(lost.mean(-1)).max() < 1e-5  # nothing of luminance is lost
    # these colours are one picture tinted, so the chrominance left out follows from luminance
    through = drawn.decode(drawn.encode(TINTED)) - TINTED
    assert np.square(through).mean() < 0.2 * np.square(lost).mean()
    for codec in (fewer, drawn):
        again = BlockDCT.of(codec.arrays(), block=4, keep=4)
        assert (again.chroma, again.colours) == (2, 3)
        assert np.array_equal(again.decode(codec.encode(TINTED)), codec.decode(codec.encode(TINTED)))
    assert len(BlockDCT.fit(GREY, size=4, keep=3, chroma=1).mean) == 9
    assert len(BlockDCT.fit(TINTED, size=4, keep=2, chroma=3).mean) == 12  # never more than of luminance


# --- pixels


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 6), st.integers(3, 20), st.integers(3, 20), st.booleans())
def test_pixels_come_back_whatever_the_size(size: int, h: int, w: int, colour: bool) -> None:
    images = np.random.default_rng(h).random((3, h, w, 3) if colour else (3, h, w)).astype(np.float32)
    codec = Pixels.fit(images, size=size)
    z = codec.encode(images)
    assert z.shape[2:] == (math.ceil(h / size), math.ceil(w / size))
    assert np.abs(codec.decode(z) - images).max() < 1e-5


# --- principal components


@pytest.mark.parametrize("count", [40, 700], ids=["fewer pictures than pixels", "more"])
def test_components_are_those_of_the_singular_values(count: int) -> None:
    images = np.random.default_rng(0).random((count, 20, 20)).astype(np.float32) * np.linspace(
        0, 1, 20, dtype=np.float32
    )
    codec = Components.fit(images, components=6)
    flat = images.reshape(count, -1).astype(np.float64)
    _, s, v = np.linalg.svd(flat - flat.mean(0), full_matrices=False)
    overlap = np.abs(v[:6] @ codec.basis.numpy().T)
    assert np.allclose(overlap, np.eye(6), atol=1e-3)
    lost = (s[6:] ** 2).sum() / flat.size
    assert codec.residual == pytest.approx(lost, rel=1e-3)
    assert torch.allclose(codec.basis @ codec.basis.T, torch.eye(6), atol=1e-4)


def test_no_more_components_than_there_are_directions() -> None:
    assert len(Components.fit(GREY[:5], components=128).mean) == 4
    one = Components.fit(np.full((5, 8, 8), 0.5, np.float32), components=8)
    assert np.allclose(one.decode(one.encode(np.full((2, 8, 8), 0.5, np.float32))), 0.5, atol=1e-6)


# --- the autoencoder


def _learnt(folder: Path, images: np.ndarray, steps: int, stop: int | None = None) -> Learnt:
    def progress(event: object) -> None:
        if stop is not None and getattr(event, "done", 0) == stop:
            raise StoppedError

    context = _context(folder, progress)
    try:
        return Learnt.fit(context, images, size=4, channels=4, width=16, steps=steps, batch=8, rate=1e-2, checkpoint=5)
    finally:
        context.ledger.close()


def test_the_autoencoder_learns_and_says_what_it_loses(tmp_path: Path) -> None:
    little, more = (_learnt(tmp_path / str(steps), TINTED, steps) for steps in (2, 100))
    assert more.residual < little.residual / 2
    z = codecs.encode(more, TINTED)
    assert z.shape == (40, 4, 5, 5)
    assert torch.allclose(z.std((0, 2, 3)), torch.ones(4), atol=0.05)
    through = codecs.decode(more, z)
    assert np.square(through - TINTED).mean() == pytest.approx(more.residual, rel=1e-3)
    assert more.residual < 0.7 * TINTED.var((0, 1, 2)).mean()  # better than the mean colour
    again = codecs.of("kl", more.arrays(), block=4, keep=2)
    assert torch.equal(codecs.encode(again, TINTED), z)
    assert np.array_equal(codecs.decode(again, z), through)


def test_a_picture_is_coded_alone_as_among_others(tmp_path: Path) -> None:
    codec = _learnt(tmp_path, GREY, 4)
    whole, alone = codecs.encode(codec, GREY), codecs.encode(codec, GREY[7:8])
    assert torch.allclose(whole[7:8], alone, atol=0.05)


def test_an_autoencoder_that_is_killed_ends_the_same(tmp_path: Path) -> None:
    whole = _learnt(tmp_path / "a", GREY, 12)
    with pytest.raises(StoppedError):
        _learnt(tmp_path / "b", GREY, 12, stop=10)
    resumed = _learnt(tmp_path / "b", GREY, 12)
    for name, value in whole.arrays().items():
        assert np.array_equal(value, resumed.arrays()[name]), name
    # and what is done is not done again when a later training is killed
    assert _learnt(tmp_path / "b", GREY, 12, stop=10).residual == whole.residual
