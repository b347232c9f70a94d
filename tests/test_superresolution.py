"""Enlargement: degradations, what pictures are compared by, the network and its tiles, and the stage `esrgan`."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import stagedcases
from chambit.core.errors import InputError
from chambit.generate.staged import agreement, degradation, rrdb
from chambit.generate.stages import esrgan
from stagedcases import StoppedError

SMALL = esrgan.Options(steps=12, batch=2, scale=2, patch=8, width=8, blocks=1, growth=4, checkpoint=4)
NONE = degradation.Bounds(0, 0, 100)

# --- pictures compared


def test_what_pictures_are_compared_by_is_known() -> None:
    one = np.random.default_rng(0).random((2, 24, 24)).astype(np.float32)
    assert agreement.psnr(one, one) == 100
    assert agreement.psnr(one, one + np.float32(0.1)) == pytest.approx(20, abs=1e-4)
    assert agreement.ssim(one, one) == pytest.approx(1)
    assert agreement.edges(one, one) == pytest.approx(1)
    assert agreement.edges(one, 0.5 * one + 0.2) == pytest.approx(1)
    assert abs(agreement.edges(one, one[::-1])) < 0.3
    assert agreement.ssim(one, one[::-1]) < 0.3
    assert np.isnan(agreement.edges(np.zeros_like(one), one))
    ramp = np.tile(np.arange(24, dtype=np.float32) / 24, (1, 24, 1))
    assert agreement.energy(ramp) == pytest.approx(1 / 24**2, rel=1e-5)
    assert agreement.energy(np.repeat(ramp[..., None], 3, -1)) == pytest.approx(1 / 24**2, rel=1e-5)


# --- degradation


def test_means_over_squares_are_means() -> None:
    large = np.arange(32, dtype=np.float32).reshape(1, 4, 8)
    assert degradation.area(large, 2)[0].tolist() == [[4.5, 6.5, 8.5, 10.5], [20.5, 22.5, 24.5, 26.5]]


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([2, 4, 8]), st.sampled_from([1, 3]))
def test_a_degraded_picture_is_near_its_means(seed: int, scale: int, channels: int) -> None:
    large = np.broadcast_to(stagedcases.mouth(seed, 64)[2].transpose(2, 0, 1)[:channels], (channels, 64, 64))
    bounds = degradation.Bounds(0.4, 0.01, 75)
    small = degradation.smaller(large, scale, bounds, np.random.default_rng(seed))
    again = degradation.smaller(large, scale, bounds, np.random.default_rng(seed))
    assert np.array_equal(small, again)
    assert (small.dtype, small.shape) == (np.float32, (channels, 64 // scale, 64 // scale))
    assert 0 <= small.min() <= small.max() <= 1
    assert np.abs(small - degradation.area(large, scale)).mean() < 0.06


def test_each_degradation_does_something_and_none_does_none() -> None:
    flat = np.full((1, 32, 32), 0.5, np.float32)
    assert np.allclose(degradation.smaller(flat, 4, NONE, np.random.default_rng(0)), 0.5, atol=1e-6)
    assert degradation.smaller(flat, 4, NONE._replace(noise=0.1), np.random.default_rng(0)).std() > 0.01
    edge = np.repeat(np.repeat(np.eye(8, dtype=np.float32), 8, 0), 8, 1)[None]
    sharp, soft = (
        degradation.smaller(edge, 4, NONE._replace(blur=blur), np.random.default_rng(0)) for blur in (0.0, 3.0)
    )
    assert agreement.energy(soft) < 0.6 * agreement.energy(sharp)


# --- the network


@pytest.mark.parametrize("scale", [2, 4, 8])
def test_an_untrained_network_is_bicubic(scale: int) -> None:
    network = rrdb.Enlarger(3, scale, 8, 1, 4)
    x = torch.rand(2, 3, 6, 5, generator=torch.Generator().manual_seed(0))
    assert network(x).shape == (2, 3, 6 * scale, 5 * scale)
    assert torch.equal(network(x), rrdb.bicubic(x, scale))


def _stirred(scale: int = 2) -> rrdb.Enlarger:
    """A network that does something."""
    network = rrdb.Enlarger(1, scale, 8, 1, 4)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, 0, 0.05, generator=torch.Generator().manual_seed(parameter.numel()))
    return network.eval()


@pytest.mark.parametrize("size", [(20, 30), (48, 48), (49, 100), (112, 80)])
def test_tiles_join_to_what_one_pass_makes(size: tuple[int, int]) -> None:
    network = _stirred()
    image = torch.rand(1, *size, generator=torch.Generator().manual_seed(1)) * 0.5 + 0.25
    tiled = rrdb.enlarged(network, image, consistent=False)
    with torch.no_grad():
        whole = network(image[None])[0].clamp(0, 1).numpy()
    assert tiled.shape == (1, 2 * size[0], 2 * size[1])
    # a tile does not see beyond its border, where the next one has most of the weight; bfloat16 rounds to 1/256
    assert np.abs(tiled - whole)[:, 8:-8, 8:-8].mean() < 0.005
    assert np.array_equal(tiled, rrdb.enlarged(network, image, consistent=False))


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 999), st.sampled_from([2, 4, 8]))
def test_what_is_held_to_its_input_averages_to_it(seed: int, scale: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    small = 0.2 + 0.6 * torch.rand(1, 3, 8, 8, generator=draw)
    invented = (rrdb.bicubic(small, scale) + 0.1 * torch.rand(1, 3, 1, 1, generator=draw)).clamp(0, 1)
    held = rrdb.projected(invented, small, scale)
    before = float((torch.nn.functional.avg_pool2d(invented, scale) - small).abs().mean())
    after = float((torch.nn.functional.avg_pool2d(held, scale) - small).abs().mean())
    assert after < 0.25 * before


# --- the stage


def test_training_beats_bicubic_on_people_it_never_saw(tmp_path: Path) -> None:
    context = stagedcases.context(tmp_path)
    examples = stagedcases.examples(tmp_path, 30, 48)
    options = SMALL.model_copy(
        update={"steps": 80, "batch": 4, "width": 16, "patch": 12, "rate": 2e-3, "warm": 0.8, "noise": 0.0, "jpeg": 100}
    )
    weights = esrgan.train(context, examples, options)
    facts = esrgan.facts(context.store, weights)
    assert (facts["items"], facts["held_out"]) == (27, 3)
    assert facts["psnr"] > facts["psnr_bicubic"]
    assert facts["sharpness_bicubic"] < facts["sharpness"] < 1.2
    assert facts["drift"] < 0.005
    given = {"image": examples.image()[:3, :20, :24], "layout": examples.layouts[:3, :10, :12]}  # type: ignore[index]
    given["mask"] = np.zeros((3, 10, 12), np.float32)
    made = esrgan.sample(context.store, weights, given, [1, 2, 3], options)
    assert (made["image"].dtype, made["image"].shape) == (np.float32, (3, 40, 48, 3))
    assert 0 <= made["image"].min() <= made["image"].max() <= 1
    assert (made["layout"].shape, made["mask"].shape) == ((3, 40, 48), (3, 40, 48))
    alone = esrgan.sample(context.store, weights, {"image": given["image"][2:]}, [3], options)["image"]
    assert np.array_equal(alone[0], made["image"][2])


def test_a_killed_training_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    examples = stagedcases.examples(tmp_path, 6, 16, grey=True, masks=False)
    with pytest.raises(StoppedError):
        esrgan.train(stagedcases.context(tmp_path / "killed", stagedcases.killed_at(10)), examples, SMALL)
    notes: list[str] = []
    context = stagedcases.context(tmp_path / "killed", lambda event: notes.append(event.note) if event.note else None)
    once = stagedcases.context(tmp_path / "once")
    assert esrgan.train(context, examples, SMALL) == esrgan.train(once, examples, SMALL)
    assert notes[0].startswith("trained 4 steps")
    grey = esrgan.sample(once.store, esrgan.train(once, examples, SMALL), {"image": examples.image()}, [0] * 6, SMALL)
    assert grey["image"].shape == (6, 32, 32)


def test_real_images_are_brought_to_the_size_that_will_be_made(tmp_path: Path) -> None:
    examples = stagedcases.examples(tmp_path, 4, 64)
    earlier = dataclasses.replace(examples, earlier=lambda count: {"image": np.zeros((count, 20, 20, 3), np.float32)})
    context = stagedcases.context(tmp_path)
    one_step = SMALL.model_copy(update={"steps": 1})
    assert esrgan.facts(context.store, esrgan.train(context, earlier, one_step))["pixels"] == [40, 40]
    assert esrgan.facts(context.store, esrgan.train(context, examples, one_step))["pixels"] == [64, 64]


def test_images_smaller_than_a_patch_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="hold no patch of 192 x 192"):
        esrgan.train(stagedcases.context(tmp_path), stagedcases.examples(tmp_path, 4, 32), esrgan.Options(scale=8))
