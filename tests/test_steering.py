"""Styles steer and generators beat noise: the arithmetic of the benchmarks, on phantoms and on a tiny network."""

import numpy as np
import polars as pl
import pytest

import baseline
import steering
from chambit.core.errors import InputError
from chambit.measure.embed import texture
from chambit.pipeline import conditions, more

LEVELS = np.array(steering.LEVELS["opacity"])


def test_spearman_of_what_follows_and_of_what_does_not() -> None:
    rng = np.random.default_rng(3)
    follows = steering.spearman(LEVELS + 0.1 * rng.random((40, 5)), LEVELS)
    assert (follows.rho, follows.monotone, follows.seeds) == pytest.approx((1, 1, 40))
    falls = steering.spearman(-(LEVELS + 0.1 * rng.random((40, 5))), LEVELS)
    assert (falls.rho, falls.high, falls.monotone) == pytest.approx((-1, -1, 0))
    null = steering.spearman(rng.random((200, 5)), LEVELS)
    assert null.low < 0 < null.high
    assert null.monotone < 0.1
    halfway = steering.spearman(LEVELS + 2 * rng.normal(size=(200, 5)), LEVELS)
    assert 0 < halfway.low < halfway.rho < halfway.high < follows.rho


def test_a_seed_without_a_measurement_is_left_out_and_an_unmoved_one_counts_as_nothing() -> None:
    rows = np.tile(LEVELS, (10, 1))
    rows[0, 2] = np.nan
    rows[1] = 0.3
    found = steering.spearman(rows, LEVELS)
    assert found.seeds == 9
    assert found.rho == pytest.approx(8 / 9)


@pytest.mark.parametrize("style", sorted(steering.LEVELS))
def test_a_style_moves_what_is_measured_in_every_phantom(style: str) -> None:
    visits, images, masks, values = steering.cohort(style, 10, 32)
    levels = np.array(steering.LEVELS[style])
    assert images.shape == masks.shape == (len(visits), 32, 32)
    assert all(masks.any((1, 2)))
    assert levels[0] <= values.min() < values.max() <= levels[-1]
    drawn = (steering.at_levels(style, visits, np.full(len(visits), level), 32, 1) for level in levels)
    found = steering.spearman(np.stack([steering.measured(style, *pair) for pair in drawn], 1), levels)
    assert found.rho > 0.98
    assert found.low > 0.9


def test_a_trained_generator_follows_the_size_it_is_asked_for() -> None:
    """A13: five levels of one number move what is measured in the pictures, in the order of the levels."""
    levels = np.array(steering.LEVELS["size"])
    _, *data = steering.cohort("size", 120, 32)
    options = steering.BASE | {"steps": 60, "batch": 16, "width": 32, "heun": 4}
    readings, pictures = steering.steered("size", "flow", (data[0], data[1], data[2]), options, 16)
    assert pictures.shape == (16, 5, 32, 32)
    found = steering.spearman(readings, levels)
    assert found.low >= 0.8
    assert found.monotone >= 0.8
    dealt = np.random.default_rng(1).permuted(np.tile(levels, (320, 1)), axis=1)
    null = steering.spearman(np.tile(readings, (20, 1)), dealt)
    assert abs(null.rho) < 0.15
    between, within = np.ptp(pictures, 0).mean(), np.ptp(pictures, 1).mean()
    assert within < between  # one seed's five pictures are more alike than five seeds' are


def test_a_style_gives_every_item_the_level_and_leaves_the_rest() -> None:
    about = {"classes": ["a"], "masked": [], "factors": {"sex": ["F", "M"]}, "numbers": ["opacity"],
             "form": [8, 8, 1, "", 1]}  # fmt: skip
    plan = pl.DataFrame({"label": ["a"] * 4, "sex": ["F", "M", "F", "M"], "opacity": [0.1, 0.5, 2.0, 3.5]})
    given = conditions.given(more._styled(plan, {"opacity": "2.5"}, about), about)
    assert given["vector"].tolist() == [[2.5]] * 4
    assert given["factors"].tolist() == [[0], [1], [0], [1]]
    assert conditions.given(more._styled(plan, {"sex": "M"}, about), about)["factors"].tolist() == [[1]] * 4
    for style, says in (
        ({"opacity": "much"}, "is no number"),
        ({"sex": "X"}, "there is: F, M"),
        ({"age": "3"}, "known"),
    ):
        with pytest.raises(InputError) as refused:
            more._styled(plan, style, about)
        assert says in str(refused.value.problems)


# --- baselines


def test_noise_is_noise_of_the_training_images() -> None:
    train = np.clip(np.random.default_rng(0).normal(0.5, 0.1, (400, 16, 16)), 0, 1).astype(np.float32)
    train[:, :8] *= 0.5
    made = baseline.gaussian(train, 400, 1)
    assert np.abs(made.mean(0) - train.mean(0)).max() < 0.03
    assert np.abs(made.std(0) - train.std(0)).max() < 0.03
    flat = made - made.mean(0)
    assert abs((flat[:, 0, 0] * flat[:, 0, 1]).mean()) < 0.003  # neighbours know nothing of each other
    white = baseline.white(train, 50, 1)
    assert (white.min(), white.max()) == pytest.approx((0, 1), abs=0.01)
    assert not np.array_equal(baseline.gaussian(train, 2, 1), baseline.gaussian(train, 2, 2))


def test_real_images_are_far_nearer_than_noise() -> None:
    images = steering.cohort("opacity", 60, 32)[1]
    half = len(images) // 2
    scale = texture.features(images).std(0) + 1e-6
    sides = [images[:half], images[half : 2 * half], baseline.gaussian(images[:half], half, 0)]
    real, other, noise = (texture.features(side) / scale for side in sides)
    near, far = baseline.distance(real, other, 20), baseline.distance(real, noise, 20)
    assert near.low < near.value < near.high < far.low
    assert baseline.better_by(near, far) > baseline.AIM
