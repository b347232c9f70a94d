"""Images put together of parts: crops, appearance, the choice of donors, and the stage `compose`."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import stagedcases
from chambit.core.errors import InputError
from chambit.core.store import Store
from chambit.generate.items import Donor, Examples
from chambit.generate.staged import composition
from chambit.generate.staged.composition import Box, Donors
from chambit.generate.stages import compose
from stagedcases import StoppedError

SMALL = compose.Options(steps=12, batch=8, pixels=12, components=8, width=16, ddim=3, checkpoint=4)

# --- parts


def test_the_box_of_a_part_is_a_square_around_its_middle() -> None:
    region = np.zeros((40, 60), bool)
    region[10:20, 30:34] = True
    box = composition.boxed(region)
    assert box == Box(6, 23, 18)
    region[:] = False
    region[0, 0] = True
    assert composition.boxed(region) == Box(-1, -1, 3)


def test_a_part_painted_from_its_own_appearance_and_texture_is_the_part() -> None:
    layout, _, image = stagedcases.mouth(4, 96)
    picture, region = image.transpose(2, 0, 1).copy(), layout == 13
    rest = composition.texture(picture, region, 48)
    assert rest is not None
    painted = composition.painted(composition.appearance(picture, region), rest, region)
    left = np.abs(painted - picture[:, region]).mean()
    assert left < 0.25 * np.abs(picture[:, region] - picture[:, region].mean(1, keepdims=True)).mean()
    canvas = np.zeros_like(picture)
    composition.paste(canvas, painted, region, region.astype(np.float32))
    assert np.allclose(canvas[:, region], np.clip(painted, 0, 1))
    assert not canvas[:, ~region].any()
    speck = np.zeros_like(region)
    speck[3, 4] = True
    assert composition.texture(picture, speck, 8) is None


def test_textures_come_back_from_all_their_components() -> None:
    rows = np.random.default_rng(0).normal(size=(9, 3, 6, 6)).astype(np.float32)
    basis, scores = composition.textures(rows, 99)
    assert scores.shape == (9, 8)
    assert np.allclose(scores.std(0), 1, atol=1e-4)
    assert np.allclose(basis.drawn(scores), rows, atol=5e-3)


def test_the_appearance_of_a_plane_is_its_mean_and_slopes() -> None:
    region = np.zeros((21, 31), bool)
    region[5:16, 10:21] = True
    y, x = np.mgrid[:21, :31]
    picture = np.stack([0.5 + 0.02 * (y - 10) - 0.01 * (x - 15), np.full(y.shape, 0.3)]).astype(np.float32)
    assert np.allclose(composition.appearance(picture, region), [0.5, 0.3, 0.1, 0, -0.05, 0, 0], atol=1e-6)
    noisy = picture + np.random.default_rng(0).normal(0, 0.05, y.shape).astype(np.float32)
    assert composition.appearance(noisy, region)[-1] == pytest.approx(0.05, rel=0.2)


def test_a_made_part_fades_within_its_own_region() -> None:
    region = stagedcases.mouth(2, 96)[0] == 13
    shown = composition.feathered(region, composition.boxed(region))
    assert (shown[~region] == 0).all()
    assert shown.max() == 1
    assert 0.3 < shown[region].mean() < 1


# --- donors


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 10**6),
    st.lists(st.floats(0.001, 0.3), min_size=1, max_size=12),
    st.integers(1, 12),
    st.floats(0.02, 0.5),
)
def test_no_subject_gives_more_than_its_share(seed: int, sizes: list[float], subjects: int, bound: float) -> None:
    draw = np.random.default_rng(seed)
    weights = {10 + k: size for k, size in enumerate(sizes)}
    count = 3 * subjects
    donors = Donors(
        draw.integers(10, 22, count).astype(np.uint8), draw.integers(0, subjects, count), draw.random((count, 4))
    )
    wanted = {value: draw.random(4) for value in weights}
    chosen = composition.choose(weights, wanted, donors, bound, 3, np.random.default_rng(seed))
    again = composition.choose(weights, wanted, donors, bound, 3, np.random.default_rng(seed))
    assert chosen == again
    assert len({choice.value for choice in chosen}) == len(chosen)
    given_by: dict[int, float] = {}
    for value, row in chosen:
        given_by[donors.subjects[row]] = given_by.get(donors.subjects[row], 0) + weights[value]
    assert max(given_by.values(), default=0) <= bound
    # a part is left out only because no one may give it
    left = [weights[value] for value in weights if value not in {choice.value for choice in chosen}]
    least = min((given_by.get(s, 0.0) for s in np.unique(donors.subjects)), default=0.0)
    assert all(least + size > bound or len(np.unique(donors.subjects)) >= composition.FEW for size in left)


def test_each_part_is_of_another_subject_where_there_are_enough_and_like_the_image() -> None:
    weights = dict.fromkeys(range(11, 17), 0.02)
    subjects = np.repeat(np.arange(20), 6)
    donors = Donors(
        np.tile(np.arange(11, 17), 20).astype(np.uint8), subjects, subjects[:, None].astype(np.float32) / 20
    )
    wanted = {value: np.array([0.0], np.float32) for value in weights}
    chosen = composition.choose(weights, wanted, donors, 0.15, 6, np.random.default_rng(0))
    givers = [int(subjects[choice.row]) for choice in chosen]
    assert len(set(givers)) == 6
    assert max(givers) < 11  # the six nearest of those that are left, and no others
    assert all(donors.values[choice.row] == choice.value for choice in chosen)


def test_a_rare_part_takes_donors_of_its_neighbours() -> None:
    donors = Donors(np.array([11, 12, 12, 13, 13, 20], np.uint8), np.arange(6), np.zeros((6, 1)))
    rows = {
        composition.choose({11: 0.01}, {11: np.zeros(1)}, donors, 0.1, 9, np.random.default_rng(k))[0].row
        for k in range(60)
    }
    assert rows == {0, 1, 2, 3, 4}


# --- the stage


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, Examples, str]:
    folder = tmp_path_factory.mktemp("compose")
    context = stagedcases.context(folder)
    examples = stagedcases.examples(folder, 12, 48)
    return context.store, examples, compose.train(context, examples, SMALL)


def _given(count: int, side: int = 48) -> dict[str, np.ndarray]:
    drawn = [stagedcases.mouth(900 + k, side) for k in range(count)]
    return {"layout": np.stack([one[0] for one in drawn]), "image": np.stack([one[2] for one in drawn])}


def test_teeth_change_and_all_else_stays(made: tuple[Store, Examples, str]) -> None:
    store, _, weights = made
    given = _given(3)
    out = compose.sample(store, weights, given, [1, 2, 3], SMALL)
    assert out["image"].dtype == np.float32
    assert out["image"].shape == (3, 48, 48, 3)
    teeth = given["layout"] >= 10
    assert np.array_equal(out["image"][~teeth], given["image"][~teeth])
    assert np.abs(out["image"] - given["image"])[teeth].mean() > 0.005
    assert 0 <= out["image"].min() <= out["image"].max() <= 1


def test_a_finding_stays_and_parts_with_one_give_nothing(made: tuple[Store, Examples, str]) -> None:
    store, examples, weights = made
    given = _given(2)
    given["mask"] = np.stack([stagedcases.mouth(900 + k, 48)[1] for k in range(2)]).astype(np.float32)
    out = compose.sample(store, weights, given, [1, 2], SMALL)["image"]
    found = given["mask"] > 0
    assert found.any()
    assert np.array_equal(out[found], given["image"][found])
    # every other of twelve mouths has one tooth of six with caries
    assert examples.masks is not None
    assert compose.facts(store, weights)["parts"] == 12 * 6 - examples.masks.any((1, 2)).sum()


@pytest.mark.parametrize("bound", [0.15, 0.04, 0.001])
def test_shares_are_of_the_pixels_and_within_the_bound(made: tuple[Store, Examples, str], bound: float) -> None:
    store, examples, weights = made
    given = _given(2)
    options = SMALL.model_copy(update={"donor_share": bound})
    out = compose.sample(store, weights, given, [5, 6], options)
    names = set(examples.subject())
    for donors, layout in zip(out["donors"], given["layout"], strict=True):
        total: dict[str, float] = {}
        for donor in donors:
            assert isinstance(donor, Donor)
            assert donor.subject in names
            assert 0 < donor.share <= (layout == int(donor.part)).mean()
            total[donor.subject] = total.get(donor.subject, 0) + donor.share
        assert max(total.values(), default=0) <= bound
        assert (len(donors) == 0) is (bound < 0.002)
        if bound == 0.15:
            assert len(total) == len(donors) == 6


def test_an_image_alone_is_the_one_of_a_batch(made: tuple[Store, Examples, str]) -> None:
    store, _, weights = made
    given = _given(3)
    whole = compose.sample(store, weights, given, [1, 2, 3], SMALL)
    alone = compose.sample(store, weights, {k: rows[2:] for k, rows in given.items()}, [3], SMALL)
    assert np.array_equal(alone["image"][0], whole["image"][2])
    assert alone["donors"][0] == whole["donors"][2]
    other = compose.sample(store, weights, {k: rows[2:] for k, rows in given.items()}, [4], SMALL)
    assert not np.array_equal(other["image"], alone["image"])


def test_layouts_of_another_size_fit(made: tuple[Store, Examples, str]) -> None:
    store, _, weights = made
    out = compose.sample(store, weights, {"layout": _given(1)["layout"], "image": _given(1, 96)["image"]}, [1], SMALL)
    assert out["image"].shape == (1, 96, 96, 3)
    assert len(out["donors"][0]) == 6


def test_a_killed_training_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    examples = stagedcases.examples(tmp_path, 6, 32, grey=True)
    with pytest.raises(StoppedError):
        compose.train(stagedcases.context(tmp_path / "killed", stagedcases.killed_at(10)), examples, SMALL)
    once = stagedcases.context(tmp_path / "once")
    weights = compose.train(stagedcases.context(tmp_path / "killed"), examples, SMALL)
    assert weights == compose.train(once, examples, SMALL)
    facts = compose.facts(once.store, weights)
    assert (facts["parts"], facts["subjects"], facts["kinds"]) == (33, 6, 6)


def test_what_cannot_be_composed_is_told(made: tuple[Store, Examples, str], tmp_path: Path) -> None:
    store, examples, weights = made
    assert examples.layouts is not None
    gum = dataclasses.replace(examples, layouts=np.minimum(examples.layouts, 1))
    with pytest.raises(InputError, match="has an index of 10"):
        compose.train(stagedcases.context(tmp_path), gum, SMALL)
    grey = {"layout": examples.layouts[:1], "image": examples.image()[:1, ..., 0]}
    with pytest.raises(InputError, match="trained on 3"):
        compose.sample(store, weights, grey, [1], SMALL)


def test_the_weights_name_nobody_and_the_store_does(made: tuple[Store, Examples, str], tmp_path: Path) -> None:
    store, examples, weights = made
    names = set(examples.subject())
    held = store.get(weights)
    assert not any(name.encode() in held for name in names)
    here = compose.sample(store, weights, _given(2), [1, 2], SMALL)
    assert {donor.subject for donors in here["donors"] for donor in donors} <= names
    elsewhere = Store(tmp_path)
    assert elsewhere.put(held) == weights
    there = compose.sample(elsewhere, weights, _given(2), [1, 2], SMALL)
    assert np.array_equal(there["image"], here["image"])
    told = {donor.subject: other.subject
            for donors, others in zip(here["donors"], there["donors"], strict=True)
            for donor, other in zip(donors, others, strict=True)}  # fmt: skip
    assert set(told.values()).isdisjoint(names)
    assert len(set(told.values())) == len(told)  # donors are counted as before
    order = sorted(told, key=lambda name: int(told[name].split()[1]))
    assert order != sorted(order)  # nor does a number say where a name stands in the alphabet


def test_harmony_brings_a_part_to_the_colour_of_the_image(made: tuple[Store, Examples, str]) -> None:
    store, _, weights = made
    given = _given(1)
    teeth = given["layout"] >= 10
    given["image"] = given["image"].copy()
    given["image"][teeth] *= np.array([1.0, 0.8, 0.5], np.float32)  # teeth that no donor has
    far = [
        np.abs(
            compose.sample(store, weights, given, [3], SMALL.model_copy(update={"harmony": harmony}))["image"][teeth]
            - given["image"][teeth]
        ).mean()
        for harmony in (0.0, 0.5, 1.0)
    ]
    assert far[0] > far[1] > far[2]


def test_donors_are_of_the_same_view(tmp_path: Path) -> None:
    context, examples = stagedcases.context(tmp_path), stagedcases.examples(tmp_path, 60, 24)
    views = examples.factor()[:, 0]
    assert np.bincount(views).min() >= 20
    weights = compose.train(context, examples, SMALL.model_copy(update={"steps": 2}))
    given = _given(4, 24) | {"factors": np.array([[0], [1], [0], [1]])}
    donors = compose.sample(context.store, weights, given, [1, 2, 3, 4], SMALL)["donors"]
    seen = dict(zip(examples.subject().tolist(), views.tolist(), strict=True))
    for k, of_image in enumerate(donors):
        assert of_image
        assert {seen[donor.subject] for donor in of_image} == {k % 2}
