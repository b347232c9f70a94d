"""The generator: codec, flow, network, lesions, refinement, and the stage that puts them together."""

import dataclasses
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy import fft, ndimage

from chambit.core.engines import inline
from chambit.core.ledger import Ledger
from chambit.core.steps import Context, Step
from chambit.core.store import Store
from chambit.generate import codec as codecs
from chambit.generate import lesions
from chambit.generate.codec.dct import BlockDCT, blocks, dct_matrix, unblocks
from chambit.generate.items import Examples, Form
from chambit.generate.networks.unet import UNet
from chambit.generate.objectives import flow
from chambit.generate.refine import crop, visible_mark
from chambit.generate.stages import flow as stage
from chambit.generate.training import checkpoint
from chambit.images import imageset
from chambit.images.imageset import ImageSet
from chambit.pipeline.conditions import allocate
from tinystudy import pictures

# --- codec


@pytest.mark.parametrize("size", [2, 3, 8, 16])
def test_the_transform_is_orthonormal_and_that_of_scipy(size: int) -> None:
    basis = dct_matrix(size)
    assert torch.allclose(basis @ basis.T, torch.eye(size), atol=1e-6)
    assert np.allclose(basis.numpy(), fft.dct(np.eye(size), norm="ortho", axis=0), atol=1e-6)


def test_blocks_are_the_transform_of_each_tile() -> None:
    images = np.random.default_rng(0).random((3, 16, 24)).astype(np.float32)
    made = blocks(torch.from_numpy(images), 8, 4).numpy()
    assert made.shape == (3, 16, 2, 3)
    for n, row, column in np.ndindex(3, 2, 3):
        tile = images[n, 8 * row : 8 * row + 8, 8 * column : 8 * column + 8]
        want = fft.dctn(tile, norm="ortho")[:4, :4]
        assert np.allclose(made[n, :, row, column].reshape(4, 4), want, atol=1e-5)


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 9), st.integers(3, 30), st.integers(3, 30), st.integers(0, 99))
def test_the_codec_loses_nothing_with_all_coefficients(size: int, h: int, w: int, seed: int) -> None:
    images = np.random.default_rng(seed).random((4, h, w)).astype(np.float32)
    codec = BlockDCT.fit(images, size=size, keep=size)
    assert codec.residual < 1e-10
    latents = codec.encode(images)
    assert latents.shape == (4, size * size, math.ceil(h / size), math.ceil(w / size))
    assert np.abs(codec.decode(latents) - images).max() < 1e-5


def test_latents_have_unit_variance_and_the_weights_mean_one() -> None:
    images = pictures(40, 0).astype(np.float32) / 255
    codec = BlockDCT.fit(images, size=8, keep=8)
    latents = codec.encode(images)
    assert torch.allclose(latents.mean((0, 2, 3)), torch.zeros(64), atol=1e-4)
    assert torch.allclose(latents.std((0, 2, 3)), torch.ones(64), atol=1e-3)
    assert torch.isclose(codecs.weight(codec).mean(), torch.tensor(1.0))


def test_fewer_coefficients_lose_what_the_residual_says() -> None:
    images = np.random.default_rng(1).random((8, 20, 20)).astype(np.float32)
    codec = BlockDCT.fit(images, size=4, keep=3)
    z = blocks(torch.from_numpy(images), 4, 3)
    lost = (unblocks(z, 4, 3, (20, 20)).numpy() - images) ** 2
    # 7 of 16 coefficients of white noise of variance 1/12
    assert codec.residual == pytest.approx(float(lost.mean()), rel=1e-5)
    assert codec.residual == pytest.approx(7 / 16 / 12, rel=0.1)


def test_images_of_one_grey_do_not_blow_up() -> None:
    images = np.full((3, 8, 8), 0.5, np.float32)
    codec = BlockDCT.fit(images, size=8, keep=8)
    assert np.allclose(codec.decode(codec.encode(images)), images, atol=1e-6)


# --- flow


def _nothing(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    """F = 0: for independent data of unit variance the linear prediction alone is the right velocity."""
    return torch.zeros_like(x)


def test_the_right_velocity_carries_noise_to_the_data() -> None:
    # x0 ~ N(0, 1): v(x, t) = (2t - 1) / s^2 x, so x(t) / s(t) is constant along the way and x(0) = x(1)
    noise = torch.randn(500, 2, 3, 3, generator=torch.Generator().manual_seed(0))
    errors = [(flow.heun(_nothing, noise, steps) - noise).abs().max().item() for steps in (8, 16, 32)]
    assert errors[1] < 0.05
    assert errors[0] > 3 * errors[1] > 9 * errors[2]  # of second order
    assert flow.heun(_nothing, noise, 16).var().item() == pytest.approx(1, abs=0.05)


def test_the_right_velocity_for_data_of_another_variance() -> None:
    # x0 ~ N(0, v0): x_t has variance (1 - t)^2 v0 + t^2, and the velocity is E[e - x0 | x_t] = (t - (1 - t) v0) x / var
    v0 = 0.25

    def network(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        at = t[:, None, None, None]
        s2 = (1 - at) ** 2 + at**2
        real = x * s2.sqrt()  # the network is given x / s
        want = (at - (1 - at) * v0) / ((1 - at) ** 2 * v0 + at**2) * real
        return (want - (2 * at - 1) / s2 * real) * s2.sqrt()

    noise = torch.randn(400, 1, 4, 4, generator=torch.Generator().manual_seed(1))
    made = flow.heun(network, noise, 32)
    assert torch.allclose(made, v0**0.5 * noise, atol=0.02)


def test_the_sampler_evaluates_as_often_as_it_says() -> None:
    times: list[float] = []

    def network(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        times.append(t[0].item())
        return torch.zeros_like(x)

    flow.heun(network, torch.zeros(1, 1, 2, 2), 5)
    assert len(times) == 9
    assert times[0] == 1
    assert min(times) > 0


def test_the_loss_of_doing_nothing_is_one_on_white_data() -> None:
    generator = torch.Generator().manual_seed(2)
    x0 = torch.randn(4000, 2, 4, 4, generator=generator)
    value = flow.loss(_nothing, x0, torch.ones(2, 1, 1), generator)
    assert value.item() == pytest.approx(1, abs=0.02)
    twice = flow.loss(_nothing, x0, torch.tensor([0.0, 4.0])[:, None, None], generator)
    assert twice.item() == pytest.approx(2, abs=0.05)


def test_the_loss_of_the_right_answer_is_nothing() -> None:
    # data that is one constant image: e - x0 follows from x_t
    c = 0.7

    def network(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        at = t[:, None, None, None]
        s = ((1 - at) ** 2 + at**2).sqrt()
        real = x * s
        want = (real - c) / at
        return s * want - (2 * at - 1) / s * real

    value = flow.loss(network, torch.full((64, 1, 2, 2), c), torch.ones(1, 1, 1), torch.Generator().manual_seed(0))
    assert value.item() < 1e-6


@pytest.mark.parametrize("gamma", [1.0, 6.94])
def test_the_average_has_the_weights_it_says(gamma: float) -> None:
    steps = 40
    average = [torch.full((steps,), 99.0, dtype=torch.float64)]  # what was there before the first step does not count
    for step in range(steps):
        current = torch.zeros(steps, dtype=torch.float64)
        current[step] = 1  # the average of unit vectors is the vector of weights
        flow.averaged(average, [current], step, gamma)
    weights = average[0].numpy()
    assert weights.sum() == pytest.approx(1, abs=1e-9)
    assert (weights >= 0).all()
    assert np.all(np.diff(weights) >= -1e-12)
    # proportional to the power of the step, up to the discretisation of the recursion
    s = np.arange(steps // 2, steps)
    assert weights[s] / weights[-1] == pytest.approx(((s + 1) / steps) ** gamma, rel=0.15, abs=0.01)


# --- network


@pytest.mark.parametrize(("shape", "maps"), [((7, 7), 0), ((7, 7), 9), ((8, 6), 0), ((1, 1), 9), ((5, 12), 3)])
def test_the_network_handles_every_grid(shape: tuple[int, int], maps: int) -> None:
    torch.manual_seed(0)
    network = UNet(4, 2, maps, 16, 1)
    for parameter in network.parameters():  # it begins as F = 0, which would hide everything
        torch.nn.init.normal_(parameter, std=0.1)
    x = torch.randn(3, 4, *shape)
    given = torch.randn(3, maps, *shape) if maps else None
    t, label = torch.tensor([0.1, 0.5, 1.0]), torch.tensor([0, 1, 2])
    out = network(x, t, label, given)
    assert out.shape == x.shape
    assert not torch.allclose(out, network(x, t, torch.tensor([1, 1, 2]), given))
    assert not torch.allclose(out, network(x, t.flip(0), label, given))
    if given is not None:
        assert not torch.allclose(out, network(x, t, label, given * 0))
    alone = network(x[1:2], t[1:2], label[1:2], None if given is None else given[1:2])
    assert torch.allclose(out[1:2], alone, atol=1e-4)


def test_the_network_begins_as_zero() -> None:
    network = UNet(4, 2, 3, 16, 1)
    out = network(torch.randn(2, 4, 6, 6), torch.rand(2), torch.tensor([0, 2]), torch.randn(2, 3, 6, 6))
    assert torch.equal(out, torch.zeros(2, 4, 6, 6))


# --- lesions


def _ellipse(
    shape: tuple[int, int], row: float, column: float, along: float, across: float, angle: float
) -> np.ndarray:
    y, x = np.mgrid[: shape[0], : shape[1]] + 0.5
    dy, dx = y - row, x - column
    c, s = np.cos(angle), np.sin(angle)
    return ((dx * c + dy * s) / along) ** 2 + ((dy * c - dx * s) / across) ** 2 <= 1


@pytest.mark.parametrize("angle", [0.0, 0.5, -1.0, 1.4])
def test_the_moments_of_an_ellipse_come_back(angle: float) -> None:
    mask = _ellipse((64, 80), 30, 50, 14, 6, angle)
    (row, column, along, across, found) = lesions.shapes(mask[None])[0]
    assert row * 64 == pytest.approx(30, abs=1)
    assert column * 80 == pytest.approx(50, abs=1)
    assert np.exp([along, across]) == pytest.approx([14, 6], rel=0.05)
    assert abs(math.remainder(found - angle, math.pi)) < 0.05  # an axis, not an arrow


def test_empty_masks_are_left_out() -> None:
    masks = np.zeros((3, 32, 32), bool)
    masks[1] = _ellipse((32, 32), 16, 16, 8, 4, 0)
    assert lesions.shapes(masks).shape == (1, 5)
    assert lesions.shapes(masks[:1]).shape == (0, 5)


def test_drawn_masks_are_in_range_and_like_those_they_came_from() -> None:
    rng = np.random.default_rng(0)
    masks = np.stack(
        [
            _ellipse((64, 64), rng.uniform(20, 44), rng.uniform(20, 44), rng.uniform(8, 12), rng.uniform(4, 6), 0.3)
            for _ in range(60)
        ]
    )
    fitted = lesions.shapes(masks)
    before = fitted.copy()
    drawn = np.stack([lesions.draw(fitted, (64, 64), np.random.default_rng(k)) for k in range(200)])
    assert np.array_equal(before, fitted)
    assert (drawn.dtype, drawn.shape) == (np.float32, (200, 64, 64))
    assert drawn.min() == 0
    assert drawn.max() == 1
    soft = ((drawn > 0) & (drawn < 1)).sum() / (drawn > 0).sum()
    assert 0.02 < soft < 0.5
    new = lesions.shapes(drawn >= 0.5)
    assert len(new) == 200
    assert new[:, :2].mean(0) == pytest.approx(fitted[:, :2].mean(0), abs=0.04)
    assert new[:, 2:4].mean(0) == pytest.approx(fitted[:, 2:4].mean(0), abs=0.1)
    # none is a copy: every new mask differs from every old one in more than a few pixels
    overlap = ((drawn >= 0.5)[:, None] != masks[None]).sum((2, 3)).min(1)
    assert np.median(overlap) > 10
    assert np.array_equal(drawn[7], lesions.draw(fitted, (64, 64), np.random.default_rng(7)))


def test_findings_lie_where_findings_lie() -> None:
    """Findings of two lungs are drawn in either, none in the heart between them."""
    rng = np.random.default_rng(0)
    middles = [(rng.uniform(20, 44), rng.uniform(14, 20) + 30 * (k % 2)) for k in range(80)]
    masks = np.stack([_ellipse((64, 64), *middle, rng.uniform(4, 6), rng.uniform(3, 4), 0.3) for middle in middles])
    drawn = np.stack([lesions.draw(lesions.shapes(masks), (64, 64), np.random.default_rng(k)) for k in range(200)])
    places = lesions.shapes(drawn >= 0.5)[:, 1] * 64
    left, right = (places > 13) & (places < 22), (places > 43) & (places < 52)
    assert (left | right).all()
    assert 60 < left.sum() < 140
    rows = lesions.shapes(drawn >= 0.5)[:, 0] * 64
    assert rows.min() < 23
    assert rows.max() > 41


def test_one_training_mask_is_enough() -> None:
    fitted = lesions.shapes(_ellipse((32, 32), 16, 16, 8, 4, 0)[None])
    assert lesions.draw(fitted, (32, 32), np.random.default_rng(0)).sum() > 20


def _spotted(rng: np.random.Generator, many: int) -> np.ndarray:
    """A mask of so many spots of radius 2, around a centre of its own and none touching another."""
    mask = np.zeros((64, 64), bool)
    middle = rng.uniform(28, 36, 2)
    for at in rng.permutation(25)[:many]:
        mask |= _ellipse((64, 64), *(middle + 7 * (np.array(divmod(at, 5)) - 2) + rng.uniform(-0.7, 0.7, 2)), 2, 2, 0)
    return mask


def test_a_finding_of_many_spots_is_drawn_as_many_spots() -> None:
    rng = np.random.default_rng(1)
    masks = np.stack([_spotted(rng, int(rng.integers(5, 12))) for _ in range(60)])
    found = lesions.fitted(masks)
    assert found.shape == (60, 1, 8)
    drawn = np.stack([lesions.draw(found, (64, 64), np.random.default_rng(k)) >= 0.5 for k in range(200)])
    assert drawn.sum((1, 2)).mean() == pytest.approx(masks.sum((1, 2)).mean(), rel=0.25)
    spots = [ndimage.label(one, np.ones((3, 3)))[1] for one in drawn]
    assert np.mean(spots) == pytest.approx(8, abs=2.5)  # some run together
    assert lesions.shapes(drawn)[:, :2].mean(0) == pytest.approx(found[:, 0, :2].mean(0), abs=0.05)
    overlap = (drawn[:, None] != masks[None]).sum((2, 3)).min(1)
    assert np.median(overlap) > 40  # none is a copy
    one = lesions.draw(found, (64, 64), np.random.default_rng(3))
    assert np.array_equal(one, lesions.draw(found, (64, 64), np.random.default_rng(3)))
    assert (one.dtype, one.min(), one.max()) == (np.float32, 0, 1)


def test_a_finding_in_one_or_two_pieces_keeps_its_shape() -> None:
    rng = np.random.default_rng(1)
    masks = np.stack([_spotted(rng, 1 + k % 2) for k in range(20)])
    assert np.array_equal(lesions.fitted(masks), lesions.shapes(masks))
    assert lesions.fitted(masks[:0]).shape == (0, 5)
    films = np.repeat(masks[:, None], 3, 1)
    assert np.array_equal(lesions.fitted(films), lesions.shapes(films))


# --- crop


@pytest.mark.parametrize(
    ("options", "rows", "columns"),
    [
        ({"bottom": "30%"}, (0, 45), (0, 80)),
        ({"bottom": 0.25}, (0, 48), (0, 80)),
        ({"top": "50%", "left": "10%"}, (32, 64), (8, 80)),
        ({"left": "5 %", "right": 0.2}, (0, 64), (4, 64)),
        ({}, (0, 64), (0, 80)),
    ],
)
def test_crop_cuts_what_it_says(options: dict[str, Any], rows: tuple[int, int], columns: tuple[int, int]) -> None:
    images = np.arange(2 * 64 * 80, dtype=np.uint16).reshape(2, 64, 80)
    cut = crop.apply(images, crop.Options.model_validate(options))
    assert np.array_equal(cut, images[:, slice(*rows), slice(*columns)])
    assert cut.flags.c_contiguous
    assert cut.dtype == images.dtype


@pytest.mark.parametrize("share", ["95%", "-1%", "1.5", "much", None, "nan", ""])
def test_shares_that_cannot_be_are_refused(share: Any) -> None:
    with pytest.raises(ValidationError):
        crop.Options.model_validate({"bottom": share})


def test_crop_leaves_something() -> None:
    with pytest.raises(ValueError, match="at least 16 x 16"):
        crop.apply(np.zeros((1, 32, 32), np.uint8), crop.Options.model_validate({"bottom": "60%"}))


# --- visible mark


MARKS = visible_mark.Options(z=8.0, strength=0.06, area=4)


def _scans(count: int, seed: int) -> np.ndarray:
    return (pictures(count, seed, 64) / np.float32(255)).astype(np.float32)


def _stamped(images: np.ndarray, row: int, column: int, opacity: float) -> np.ndarray:
    out = images.copy()
    stamp = np.zeros((6, 12), np.float32)
    stamp[::2] = stamp[:, ::4] = 1
    part = out[:, row : row + 6, column : column + 12]
    part += opacity * stamp * (1 - part)
    return out


def test_a_planted_mark_is_found_wherever_it_is() -> None:
    real, made = _scans(80, 1), _scans(80, 2)
    tried, found = 0, 0
    for row, column in ((1, 1), (1, 50), (56, 2), (57, 51), (2, 26)):
        for opacity in (0.25, 0.4, 0.6, 0.9):
            tried += 1
            marks = visible_mark.find(_stamped(made, row, column, opacity), real, MARKS)
            found += any(
                mark.top < row + 6 and mark.bottom > row and mark.left < column + 12 and mark.right > column
                for mark in marks
            )
    assert tried == 20
    assert found >= 19


@pytest.mark.parametrize("seed", range(4))
def test_no_mark_is_found_where_there_is_none(seed: int) -> None:
    assert visible_mark.find(_scans(80, seed), _scans(60, seed + 50), MARKS) == []


def test_what_the_real_images_have_too_is_no_mark() -> None:
    real, made = _scans(80, 1), _scans(80, 2)
    assert visible_mark.find(_stamped(made, 2, 2, 0.6), _stamped(real, 2, 2, 0.6), MARKS) == []


def test_the_middle_is_not_looked_at() -> None:
    assert visible_mark.find(_stamped(_scans(80, 2), 29, 26, 0.9), _scans(80, 1), MARKS) == []


# --- the stage


SMALL = stage.Options(steps=12, batch=8, width=16, heun=3, checkpoint=4)


class StoppedError(Exception):
    """Raised where a person would have pressed Ctrl-C."""


def _context(folder: Path, progress: Any = None) -> Context:
    step = Step("train", "1", {}, {}, lambda _: {}, seed=7)
    tell = (lambda event: progress(event) if event.unit else None) if progress else (lambda _: None)
    return Context(step, Store(folder), Ledger.beside(folder), inline.Engine(), tell, folder / "scratch")


def _cohort(store: Store, masked: bool, side: int = 30) -> tuple[ImageSet, np.ndarray | None]:
    pixels = pictures(20, 3, side)
    block, digests = imageset.put_block(store, pixels)
    names = [f"{k:02d}" for k in range(20)]
    labels = ["ill" if k % 2 else "normal" for k in range(20)]
    columns = {"id": names, "sha256": digests, "block": [block] * 20, "row": range(20), "subject": names}
    masks = np.zeros(pixels.shape, bool)
    for k in range(1, 20, 2):
        masks[k] = _ellipse((side, side), 12, 12 + k % 5, 6, 4, 0.1 * k)
    return ImageSet(store, pl.DataFrame(columns | {"label": labels})), masks if masked else None


def _examples(images: ImageSet, masks: np.ndarray | None, classes: tuple[str, ...] = ("ill", "normal")) -> Examples:
    return Examples(images, Form(*images.grey().shape[1:]), classes, masks)


def _drawn(
    store: Store, weights: str, labels: list[int], seeds: list[int], found: list[bool], options: stage.Options = SMALL
) -> tuple[np.ndarray, np.ndarray | None]:
    given = {"label": np.array(labels), "finding": np.array(found)}
    made = stage.sample(store, weights, given, seeds, options)
    return made["image"], made.get("mask")


@pytest.fixture(scope="module", params=[False, True], ids=["labels", "masks"])
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Context, str]]:
    context = _context(tmp_path_factory.mktemp("stage"))
    images, masks = _cohort(context.store, request.param)
    yield context, stage.train(context, _examples(images, masks), SMALL)
    context.ledger.close()


def test_the_stage_draws_images_of_its_kind(trained: tuple[Context, str]) -> None:
    context, weights = trained
    images, masks = _drawn(context.store, weights, [0, 1, 0], [11, 12, 13], [True, False, True])
    assert (images.dtype, images.shape) == (np.float32, (3, 30, 30))
    assert images.min() >= 0
    assert images.max() <= 1
    assert len({image.tobytes() for image in images}) == 3
    if masks is not None:
        assert masks.shape == images.shape
        assert masks[[0, 2]].max((1, 2)).tolist() == [1, 1]
        assert not masks[1].any()


def test_an_image_alone_is_the_one_of_a_batch(trained: tuple[Context, str]) -> None:
    context, weights = trained
    labels, seeds, found = [0, 1, 0, 1, 1], [2**62 + 1, 2, 3, 4, 5], [True, False, True, False, True]
    images, masks = _drawn(context.store, weights, labels, seeds, found)
    again, _ = _drawn(context.store, weights, labels, seeds, found)
    assert np.array_equal(images, again)
    for k in range(5):
        alone, mask = _drawn(context.store, weights, labels[k : k + 1], seeds[k : k + 1], found[k : k + 1])
        assert np.abs(alone[0] - images[k]).max() <= 1 / 255
        if masks is not None:
            assert np.array_equal(mask[0], masks[k])


def test_guidance_changes_images(trained: tuple[Context, str]) -> None:
    context, weights = trained
    plain, _ = _drawn(context.store, weights, [0], [1], [True])
    guided, _ = _drawn(context.store, weights, [0], [1], [True], SMALL.model_copy(update={"guidance": 3.0}))
    assert not np.array_equal(plain, guided)


def test_a_killed_training_goes_on_to_the_same_weights(trained: tuple[Context, str], tmp_path: Path) -> None:
    masked = "shapes" in trained[0].store.get_arrays(trained[1])
    kept: list[int] = []
    keep = checkpoint.Checkpoint.keep

    def killed(self: Any, step: int) -> None:
        keep(self, step)
        kept.append(step)
        if step == 8 and not masked:
            raise StoppedError

    def stopped(event: Any) -> None:
        if event.done == 10 and masked:  # between two checkpoints
            raise StoppedError

    context = _context(tmp_path, stopped)
    images, masks = _cohort(context.store, masked)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint.Checkpoint, "keep", killed)
        with pytest.raises(StoppedError):
            stage.train(context, _examples(images, masks), SMALL)
    assert kept == [4, 8]
    context.ledger.close()
    notes: list[str] = []
    resumed = dataclasses.replace(context, tell=lambda event: notes.append(event.note))
    assert stage.train(resumed, _examples(images, masks), SMALL) == trained[1]
    assert any("trained 4 steps" in note for note in notes)


# --- how many of which class


def test_labels_are_shared_out_by_largest_remainder() -> None:
    for images, shares in ((10, {"a": 0.5, "b": 0.5}), (7, {"a": 1, "b": 1, "c": 1}), (11, {"x": 0.9, "y": 0.1})):
        labels = allocate(images, shares, 3)
        assert len(labels) == images
        total = sum(shares.values())
        for name, share in shares.items():
            assert abs(labels.count(name) - images * share / total) < 1
        assert labels == allocate(images, dict(reversed(shares.items())), 3)
    assert allocate(40, {"a": 0.5, "b": 0.5}, 1) != allocate(40, {"a": 0.5, "b": 0.5}, 2)
    assert set(allocate(20, {"a": 1, "b": 0}, 0)) == {"a"}
