"""Layouts as few numbers, spots on their parts, looks of surfaces: what `layout` and `sdm` are made of."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import stagedcases
from chambit.generate.staged import findings, outlines, parts, surfaces
from chambit.generate.staged.outlines import Encoded

COUNT = 30
NO_FACTORS = np.zeros((COUNT, 0), np.int64)


@pytest.fixture(scope="module")
def mouths() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Layouts (30, 64, 64), masks, images (30, 64, 64, 3); of two mouths one tooth is missing."""
    drawn = [stagedcases.mouth(seed, 64) for seed in range(COUNT)]
    layouts, masks, images = (np.stack(part) for part in zip(*drawn, strict=True))
    for n in (4, 10):
        layouts[n][layouts[n] == 13] = 1
    return layouts, masks, images


def _overlap(one: np.ndarray, other: np.ndarray) -> float:
    """Intersection over union of the instances, mean over them."""
    values = [value for value in np.unique(other) if value >= parts.INSTANCES]
    return float(np.mean([((one == v) & (other == v)).sum() / ((one == v) | (other == v)).sum() for v in values]))


# --- layouts


def test_training_layouts_come_back_from_their_numbers(mouths: tuple[np.ndarray, ...]) -> None:
    layouts = mouths[0]
    fitted, encoded = outlines.fit(layouts, NO_FACTORS, 32, 6.0, 29)
    made = fitted.decode(encoded.rows, encoded.groups, (64, 64))
    assert made.dtype == np.uint8
    assert np.mean([_overlap(a, b) for a, b in zip(made, layouts, strict=True)]) > 0.9
    few = outlines.fit(layouts, NO_FACTORS, 32, 6.0, 4)
    worse = few[0].decode(few[1].rows, few[1].groups, (64, 64))
    assert (worse == layouts).mean() < (made == layouts).mean()
    assert fitted.instances.tolist() == list(stagedcases.TEETH)


def test_a_missing_tooth_is_missing_and_its_neighbours_stay(mouths: tuple[np.ndarray, ...]) -> None:
    layouts = mouths[0]
    fitted, encoded = outlines.fit(layouts, NO_FACTORS, 32, 6.0, 20)
    there = encoded.rows[:, fitted.scores + 2]
    assert np.flatnonzero(there < 0).tolist() == [4, 10]
    made = fitted.decode(encoded.rows[[4]], encoded.groups[[4]], (64, 64))[0]
    assert 13 not in made
    row = encoded.rows[[5]].copy()
    whole = fitted.decode(row, encoded.groups[[5]], (64, 64))[0]
    row[0, fitted.scores + 2] = -1.0
    gap = fitted.decode(row, encoded.groups[[5]], (64, 64))[0]
    assert (whole == 13).sum() > 100
    assert set(np.unique(gap[whole == 13])) <= {0, 1}  # gum, not the next teeth
    assert np.array_equal(gap[whole != 13], whole[whole != 13])


def test_layouts_without_instances_are_drawn_too(mouths: tuple[np.ndarray, ...]) -> None:
    gum = np.minimum(mouths[0], 1)
    fitted, encoded = outlines.fit(gum, NO_FACTORS, 32, 6.0, 4)
    assert encoded.rows.shape == (COUNT, 4)
    assert (fitted.decode(encoded.rows, encoded.groups, (64, 64)) == gum).mean() > 0.99


def test_a_layout_has_no_stairs_at_a_larger_size(mouths: tuple[np.ndarray, ...]) -> None:
    fitted, encoded = outlines.fit(mouths[0], NO_FACTORS, 32, 6.0, 12)
    small = fitted.decode(encoded.rows[:1], encoded.groups[:1], (64, 64))[0]
    large = fitted.decode(encoded.rows[:1], encoded.groups[:1], (256, 256))[0]
    assert (large[::4, ::4] == small).mean() > 0.93
    # four times the size: a smooth outline turns in about four times as many places, stairs in no more
    turns = [np.count_nonzero(np.diff(np.diff((x == 12).sum(1)))) for x in (np.kron(small, np.ones((4, 4))), large)]
    assert turns[1] > 1.5 * turns[0]


def test_groups_are_views_where_there_are_enough_of_each() -> None:
    views = np.arange(60)[:, None] % 2
    levels, groups = outlines.grouped(views)
    assert levels.tolist() == [[0], [1]]
    assert np.array_equal(groups, views[:, 0])
    levels, groups = outlines.grouped(np.concatenate([views, np.arange(60)[:, None]], 1))
    assert levels.tolist() == [[0, -1], [1, -1]]  # the second factor has one item a level
    few = outlines.grouped(np.arange(30)[:, None] % 2)
    assert few[0].tolist() == [[-1]]
    assert not few[1].any()
    shares = np.array([0.5, 0.5])
    levels = np.array([[0], [1]])
    known = outlines.group_of(levels, shares, np.array([[1], [0]]), [1, 2])
    assert known.tolist() == [1, 0]
    unknown = outlines.group_of(levels, shares, np.full((200, 1), -1), list(range(200)))
    assert 60 < unknown.sum() < 140
    assert np.array_equal(unknown[:5], outlines.group_of(levels, shares, np.full((5, 1), -1), list(range(5))))


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 5))
def test_mixtures_keep_mean_and_spread_and_are_nobodys(seed: int, many: int) -> None:
    draw = np.random.default_rng(seed)
    rows = np.concatenate([draw.normal(size=(400, 6)), np.ones((400, 2))], 1).astype(np.float32)
    encoded = Encoded(rows, np.repeat([0, 1], 200), 6)
    chosen = draw.integers(0, 400, 4000)
    mixed = outlines.blended(encoded, chosen, many, np.random.default_rng(seed))
    assert np.array_equal(mixed[:, 6:], rows[chosen][:, 6:])
    if many == 1:
        assert np.array_equal(mixed, rows[chosen])
    else:
        assert np.abs(mixed[:, :6].std(0) / rows[:, :6].std(0) - 1).max() < 0.15
        nearest = np.square(mixed[:200, None, :6] - rows[None, :, :6]).sum(2).min(1)
        assert np.median(nearest) > 0.02


def test_components_fill_in_what_is_not_known() -> None:
    draw = np.random.default_rng(3)
    whole = (draw.normal(size=(40, 2)) @ draw.normal(size=(2, 3 * 16))).reshape(40, 3, 16).astype(np.float32)
    known = np.ones((40, 3), bool)
    known[:6, 1] = False
    spoiled = whole.copy()
    spoiled[~known] = 99.0
    mean, basis, scores = outlines.components(spoiled, known, 2)
    made = (scores @ basis.reshape(2, -1)).reshape(whole.shape) + mean
    assert np.abs(made - whole)[~known].mean() < 0.35 * np.abs(whole - whole.mean(0))[~known].mean()


# --- findings


def test_spots_lie_on_the_parts_that_have_them_in_training(mouths: tuple[np.ndarray, ...]) -> None:
    layouts, masks, _ = mouths
    only = masks & (layouts == 14)
    spots = findings.fit(layouts, only, np.zeros(COUNT, np.int64))
    assert set(spots.values) == {14}
    size = only[only.any((1, 2))].sum((1, 2)).mean()
    drawn = [findings.draw(spots, stagedcases.mouth(900 + k, 64)[0], 0, np.random.default_rng(k)) for k in range(12)]
    for k, mask in enumerate(drawn):
        assert mask.any()
        assert (stagedcases.mouth(900 + k, 64)[0][mask] == 14).all()
    assert 0.3 * size < np.mean([mask.sum() for mask in drawn]) < 2 * size
    again = findings.draw(spots, stagedcases.mouth(900, 64)[0], 0, np.random.default_rng(0))
    assert np.array_equal(again, drawn[0])
    assert len({mask.tobytes() for mask in drawn}) >= 10


def test_without_spots_or_without_their_parts_nothing_is_drawn(mouths: tuple[np.ndarray, ...]) -> None:
    layouts, masks, _ = mouths
    none = findings.fit(layouts, np.zeros_like(masks), np.zeros(COUNT, np.int64))
    assert not findings.draw(none, layouts[0], 0, np.random.default_rng(0)).any()
    spots = findings.fit(layouts, masks, np.zeros(COUNT, np.int64))
    assert spots.counts.sum() == len(spots.rows) > 5
    assert not findings.draw(spots, np.zeros((64, 64), np.uint8), 0, np.random.default_rng(0)).any()


# --- surfaces


def _told(mouths: tuple[np.ndarray, ...]) -> tuple[torch.Tensor, np.ndarray, torch.Tensor, np.ndarray]:
    layouts, masks, images = mouths
    values = parts.values_of(layouts)
    maps = surfaces.maps_of(layouts, masks.astype(np.float32), values, (64, 64))
    return parts.planes(images), layouts, maps, maps[:, len(values)].numpy()


def test_looks_tell_most_of_a_picture_and_latents_the_rest(mouths: tuple[np.ndarray, ...]) -> None:
    images, layouts, maps, found = _told(mouths)
    groups = np.zeros(COUNT, np.int64)
    basis, scores = surfaces.fit(images, layouts, found, groups, 8, 8, 8)
    flat = basis.flat(layouts, maps, scores, groups)
    assert flat.shape == images.shape
    left = float((images - flat).square().mean())
    assert left < 0.05 * float((images - images.mean((2, 3), keepdim=True)).square().mean())
    assert torch.allclose(basis.pictures(basis.latents(images, flat), flat), images, atol=1e-5)
    again = surfaces.Surfaces.of(basis.arrays())
    assert torch.equal(again.flat(layouts, maps, scores, groups), flat)
    # another person's scores change the colour of the teeth, and nothing about where they are
    other = basis.flat(layouts, maps, scores[::-1].copy(), groups)
    assert float((other - flat).abs().mean()) > 0.005


def test_maps_say_share_finding_depth_and_place(mouths: tuple[np.ndarray, ...]) -> None:
    layouts, masks, _ = mouths
    values = parts.values_of(layouts)
    maps = surfaces.maps_of(layouts[:3], masks[:3].astype(np.float32), values, (32, 32))
    assert (maps.dtype, maps.shape) == (torch.uint8, (3, len(values) + 4, 32, 32))
    total = maps[:, : len(values) + 1].float().sum(1) / 255
    assert torch.allclose(total, torch.ones_like(total), atol=0.03)
    assert [bool(one[len(values)].any()) for one in maps] == masks[:3].any((1, 2)).tolist()
    depth = maps[0, len(values) + 1]
    edges = layouts[0, ::2, ::2] != np.roll(layouts[0, ::2, ::2], 1, 1)
    assert depth[torch.from_numpy(edges)].float().mean() < 0.5 * depth.float().mean()
    assert maps[0, -2, :, 0].tolist() == sorted(maps[0, -2, :, 0].tolist())
    assert maps[0, -1, 0].tolist() == sorted(maps[0, -1, 0].tolist())
