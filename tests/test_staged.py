"""The staged chain: diffusion, conditions, maps of parts, and the stages `layout`, `sdm` and `santa`."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import stagedcases
from chambit.core.errors import InputError
from chambit.core.store import Store
from chambit.generate import items
from chambit.generate.items import Arrays, Examples
from chambit.generate.staged import critic, denoiser, diffusion, drawing, parts, translator
from chambit.generate.staged.conditions import Conditions
from chambit.generate.stages import layout, santa, sdm
from stagedcases import StoppedError

LAYOUT = layout.Options(steps=12, batch=8, pixels=16, size=32, components=6, width=16, ddim=3, checkpoint=4)
SDM = sdm.Options(
    steps=12, batch=8, rate=3e-3, pixels=16, block=2, keep=2, components=5, width=16, ddim=3, checkpoint=4
)
SANTA = santa.Options(steps=12, batch=2, width=8, blocks=1, sources=6, checkpoint=4)

# --- diffusion


@pytest.mark.parametrize("schedule", ["cosine", "linear"])
def test_image_and_noise_share_the_variance(schedule: str) -> None:
    t = torch.linspace(0, 1, 101, dtype=torch.float64)
    a, s = diffusion.amounts(t, schedule)
    assert torch.allclose(a**2 + s**2, torch.ones_like(t))
    assert (a[0], s[0]) == (1, 0)
    assert a[-1] < 0.01
    assert bool((a.diff() < 0).all())


@pytest.mark.parametrize("schedule", ["cosine", "linear"])
@pytest.mark.parametrize("predict", ["v", "x0"])
def test_a_network_that_knows_the_image_has_no_loss_and_draws_it(schedule: str, predict: str) -> None:
    image = torch.randn(1, 2, 4, 4, generator=torch.Generator().manual_seed(1)).expand(6, -1, -1, -1)

    def answer(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        a, s = (part[:, None, None, None] for part in diffusion.amounts(t, schedule))
        return image if predict == "x0" else (a * x - image) / s

    clean = diffusion.clean(answer, schedule, predict)
    noise = torch.randn(6, 2, 4, 4, generator=torch.Generator().manual_seed(2))
    made, way = diffusion.ddim(clean, noise, 7, schedule, looks=(0, 7))
    assert torch.allclose(made, image, atol=1e-5)
    assert torch.equal(way[0], noise)
    assert torch.equal(way[1], made)
    assert diffusion.loss(clean, image, torch.Generator().manual_seed(3), schedule) < 1e-8


def test_the_sampler_draws_the_distribution_of_a_known_denoiser() -> None:
    # for data N(0, 0.5^2) the best answer is known: E[x0 | x] = a q x / (a^2 q + s^2), q = 0.25
    def answer(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        a, s = (part[:, None, None, None] for part in diffusion.amounts(t, "cosine"))
        return a * 0.25 * x / (a**2 * 0.25 + s**2)

    noise = torch.randn(1, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    made, _ = diffusion.ddim(diffusion.clean(answer, "cosine", "x0"), noise, 200, "cosine")
    assert float(made.std()) == pytest.approx(0.5, rel=0.03)


def test_predictions_are_held_within_bounds() -> None:
    bounds = torch.tensor(-1.0), torch.tensor(1.0)
    made, _ = diffusion.ddim(lambda x, t: 9 * torch.ones_like(x), torch.ones(2, 1, 2, 2), 4, "cosine", bounds)
    assert float(made.abs().max()) <= 1.0001


# --- networks


@pytest.mark.parametrize("spade", [False, True])
def test_networks_answer_at_the_size_they_are_asked_and_read_every_input(spade: bool) -> None:
    shape: dict[str, Any] = {"channels": 3, "maps": 2, "levels": [2, 3], "numbers": 2, "width": 16, "patch": 2}
    shape |= {"depth": 1, "spade": spade}
    network = denoiser.built(shape, 4)
    again = denoiser.built(shape, 4)
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), again.parameters(), strict=True))
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():  # layers that begin as zero would hide whether an input is read
        for parameter in network.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=draw) * 0.1)
    inputs = [
        torch.randn(2, 3, 16, 24, generator=draw),
        torch.tensor([0.2, 0.7]),
        torch.tensor([[0, 1], [1, 2]]),
        torch.randn(2, 2, generator=draw),
        torch.rand(2, 2, 16, 24, generator=draw),
    ]
    other = [inputs[0] + 1, torch.tensor([0.3, 0.8]), torch.tensor([[2, 3], [0, 0]]), inputs[3] + 1, 1 - inputs[4]]
    plain = network(*inputs)
    assert plain.shape == (2, 3, 16, 24)
    for k in range(5):
        changed = network(*inputs[:k], other[k], *inputs[k + 1 :])
        assert not torch.allclose(plain, changed, atol=1e-4), k


# --- conditions


def test_what_is_not_known_has_an_index_of_its_own(tmp_path: Path) -> None:
    conditions = Conditions.of(stagedcases.examples(tmp_path, 6), finding=True)
    assert conditions.levels == (2, 2, 2)
    full: Arrays = {"label": np.array([0, 1]), "factors": np.array([[1], [-1]]), "finding": np.array([True, False])}
    index, _ = conditions.rows(full, 2)
    assert index.tolist() == [[0, 1, 1], [1, 2, 0]]
    assert torch.equal(conditions.rows({}, 2)[0], conditions.unknown(2)[0])
    assert Conditions.read(conditions._asdict()) == conditions
    with pytest.raises(InputError, match="factors"):
        conditions.rows({"factors": np.zeros((2, 3), np.int64)}, 2)


def test_numbers_are_standard_and_say_where_they_are_missing() -> None:
    conditions = Conditions((2,), False, (50.0,), (10.0,))
    _, numbers = conditions.rows({"vector": np.array([[60.0], [np.nan]], np.float32)}, 2)
    assert numbers.tolist() == [[1.0, 1.0], [0.0, 0.0]]


# --- parts


def test_signed_distances_are_known_on_a_half_plane() -> None:
    region = np.zeros((1, 8, 8), bool)
    region[0, :, 4:] = True
    assert np.allclose(parts.distances(region, 4.0)[0, 3], [-0.875, -0.625, -0.375, -0.125, 0.125, 0.375, 0.625, 0.875])
    assert (parts.distances(np.zeros((1, 4, 4), bool), 3.0) == -1).all()
    assert (parts.distances(np.ones((1, 4, 4), bool), 3.0) == 1).all()


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 400), st.integers(24, 48))
def test_a_layout_comes_back_from_its_distances(seed: int, side: int) -> None:
    drawn = stagedcases.mouth(seed, side)[0]
    values = parts.values_of(drawn[None])
    signed = parts.distances(drawn[None] == values[:, None, None], 4.0)
    assert np.array_equal(parts.crisp(signed[None], values)[0], drawn)


def test_of_an_instance_one_region_is_left_and_specks_go() -> None:
    drawn = np.zeros((16, 16), np.uint8)
    drawn[2:8, 2:8], drawn[10:13, 10:13], drawn[14, 1], drawn[0:3, 10:13] = 11, 11, 11, 1
    values = parts.values_of(drawn[None])
    signed = np.where(drawn[None] == values[:, None, None], 1.0, -1.0).astype(np.float32)
    tidy = parts.crisp(signed[None], values)[0]
    assert (tidy == 11).sum() == 36
    assert (tidy == 1).sum() == 9
    assert set(np.unique(tidy)) == {0, 1, 11}


def test_layouts_change_their_size_and_keep_their_parts() -> None:
    drawn = stagedcases.mouth(3, 48)[0]
    large = parts.at_size(drawn[None], (192, 192))[0]
    assert set(np.unique(large)) == set(np.unique(drawn))
    assert (parts.at_size(large[None], (48, 48))[0] == drawn).mean() > 0.99
    for value in np.unique(drawn):
        assert (large == value).mean() == pytest.approx((drawn == value).mean(), abs=0.01)


def test_a_mask_keeps_at_least_one_pixel_and_an_empty_one_none() -> None:
    masks = np.zeros((3, 32, 32), bool)
    masks[0, 5, 9] = True
    masks[1, 8:16, 8:24] = True
    small = parts.masks_at(masks, (8, 8))
    assert small.sum((1, 2)).tolist() == [1, 8, 0]
    assert small[0, 1, 2]
    assert small[1, 2:4, 2:6].all()


# --- the stages


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, Examples, dict[str, str]]:
    """Cohort with masks in colour, and weights of `layout` and `sdm`."""
    folder = tmp_path_factory.mktemp("staged")
    context = stagedcases.context(folder)
    examples = stagedcases.examples(folder)
    weights = {"layout": layout.train(context, examples, LAYOUT)}
    weights["sdm"] = sdm.train(dataclasses.replace(context, scratch=folder / "second"), examples, SDM)
    return context.store, examples, weights


def _plan(count: int) -> dict[str, np.ndarray]:
    number = np.arange(count)
    return {"label": number % 2, "factors": number[:, None] % 2, "finding": number % 2 == 0}


def test_the_chain_fits_and_a_wrong_one_is_refused() -> None:
    chain = [
        ("layout", layout.ports(LAYOUT)), ("sdm", sdm.ports(SDM)), ("santa", santa.ports(SANTA)),
    ]  # fmt: skip
    assert items.misfits(chain, ["label", "finding"]) == []
    assert "needs layout" in items.misfits(chain[1:], ["label"])[0]


def test_layouts_have_known_parts_and_masks_follow_the_finding(made: tuple[Store, Examples, dict[str, str]]) -> None:
    store, examples, weights = made
    drawn = layout.sample(store, weights["layout"], _plan(5), [1, 2, 3, 4, 5], LAYOUT)
    assert (drawn["layout"].dtype, drawn["layout"].shape) == (np.uint8, (5, 32, 32))
    assert examples.layouts is not None
    assert set(np.unique(drawn["layout"])) <= set(np.unique(examples.layouts))
    assert [bool(mask.any()) for mask in drawn["mask"]] == [True, False, True, False, True]
    assert set(np.unique(drawn["mask"])) == {0.0, 1.0}


def test_pictures_have_form_and_range(made: tuple[Store, Examples, dict[str, str]]) -> None:
    store, examples, weights = made
    assert examples.layouts is not None
    drawn = sdm.sample(store, weights["sdm"], {**_plan(3), "layout": examples.layouts[:3]}, [1, 2, 3], SDM)["image"]
    assert (drawn.dtype, drawn.shape) == (np.float32, (3, 16, 16, 3))
    assert 0 <= drawn.min() < drawn.max() <= 1
    facts = sdm.facts(store, weights["sdm"])
    assert (facts["items"], facts["parts"], len(facts["loss"])) == (24, 8, 12)
    assert np.mean(facts["loss"][-4:]) < np.mean(facts["loss"][:4])


@pytest.mark.parametrize("name", ["layout", "sdm"])
def test_an_item_alone_is_the_one_of_a_batch(name: str, made: tuple[Store, Examples, dict[str, str]]) -> None:
    store, examples, weights = made
    stage, options = {"layout": (layout, LAYOUT), "sdm": (sdm, SDM)}[name]
    assert examples.layouts is not None
    full = {**_plan(9), **({"layout": examples.layouts[:9]} if name == "sdm" else {})}
    seeds = [2**62 + 1, 2, 3, 4, 5, 6, 7, 8, 9]
    whole = stage.sample(store, weights[name], full, seeds, options)
    for k in (0, 8):
        alone = stage.sample(
            store, weights[name], {key: rows[k : k + 1] for key, rows in full.items()}, seeds[k : k + 1], options
        )
        for key, rows in alone.items():
            assert np.array_equal(rows[0], whole[key][k])
    other = stage.sample(store, weights[name], full, [seed + 1 for seed in seeds], options)
    assert any(not np.array_equal(other[key], whole[key]) for key in whole)


def test_ways_begin_with_noise_and_end_with_what_is_drawn(made: tuple[Store, Examples, dict[str, str]]) -> None:
    store, examples, weights = made
    assert examples.layouts is not None
    full = {**_plan(2), "layout": examples.layouts[:2]}
    way = sdm.way(store, weights["sdm"], full, [1, 2], SDM, 3)
    assert way.shape == (3, 2, 16, 16, 3)
    assert np.array_equal(way[-1], sdm.sample(store, weights["sdm"], full, [1, 2], SDM)["image"])
    assert np.abs(way[0] - way[-1]).mean() > np.abs(way[1] - way[-1]).mean() > 0
    assert layout.way(store, weights["layout"], _plan(2), [1, 2], LAYOUT, 2).shape == (2, 2, 32, 32)


def test_a_strange_part_and_missing_layouts_are_told(
    made: tuple[Store, Examples, dict[str, str]], tmp_path: Path
) -> None:
    store, examples, weights = made
    with pytest.raises(InputError, match="part 99 is not among"):
        sdm.sample(store, weights["sdm"], {"layout": np.full((1, 16, 16), 99, np.uint8)}, [1], SDM)
    with pytest.raises(InputError, match="no layouts"):
        layout.train(stagedcases.context(tmp_path), dataclasses.replace(examples, layouts=None), LAYOUT)


@pytest.mark.parametrize("stage", ["sdm", "santa"])
def test_a_killed_training_goes_on_to_the_same_weights(stage: str, tmp_path: Path) -> None:
    examples = stagedcases.examples(tmp_path, 8, 16, grey=True, masks=False)
    pictures = examples.image()[:, ::-1] * 0.5
    examples = dataclasses.replace(examples, earlier=lambda count: {"image": pictures[:count]})

    def train(folder: str, tell: Any = None) -> str:
        context = stagedcases.context(tmp_path / folder, tell)
        return sdm.train(context, examples, SDM) if stage == "sdm" else santa.train(context, examples, SANTA)

    notes: list[str] = []
    with pytest.raises(StoppedError):
        train("killed", stagedcases.killed_at(10))
    again = train("killed", lambda event: notes.append(event.note) if event.note else None)
    assert again == train("once")
    assert notes[0].startswith("trained 4 steps")


def test_guidance_moves_a_picture_away_from_the_free_one() -> None:
    levels = torch.tensor([[0]] * 2)
    network = denoiser.Denoiser(1, 1, [1], 0, 16, 1, 1)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, 0, 0.05, generator=torch.Generator().manual_seed(parameter.numel()))
    scale = drawing.Scale((0.0,), (1.0,), (-9.0,), (9.0,))
    model = drawing.Model(network, Conditions((1,), False, (), ()), scale, "cosine", "x0", (8, 8), torch.device("cpu"))
    asked = drawing.Asked([1, 2], levels, torch.zeros(2, 0), torch.ones(2, 1, 8, 8))
    free, one, two = (drawing.draw(model, asked, 2, guidance)[0] for guidance in (0.0, 1.0, 2.0))
    assert np.abs(two - free).mean() > np.abs(one - free).mean() > 0


# --- translation


def test_a_path_begins_at_the_source_and_a_straight_one_is_shortest() -> None:
    network = translator.Translator(3, 8, 1)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, 0, 0.1, generator=torch.Generator().manual_seed(parameter.numel()))
    x = torch.rand(2, 3, 10, 14, generator=torch.Generator().manual_seed(0))
    assert torch.equal(translator.along(network, x, 0.0), x)
    assert translator.along(network, x, 1.0).shape == x.shape

    class Path(torch.nn.Module):
        """A path in one pixel from 0 to 1, by t or by a bent way."""

        def __init__(self, bend: float) -> None:
            super().__init__()
            self.bend = bend

        def features(self, x: torch.Tensor) -> torch.Tensor:
            return x

        def forward(self, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
            return x + (t + self.bend * torch.sin(2 * torch.pi * t))[:, None, None, None]

    sources = torch.zeros(4000, 1, 1, 1)
    straight, bent = (
        float(translator.path_length(Path(bend), sources, torch.Generator().manual_seed(1)))  # type: ignore[arg-type]
        for bend in (0.0, 0.2)
    )
    assert straight == pytest.approx(1 + 4, rel=1e-4)
    t = np.linspace(0, 1 - translator.STEP, 10001)
    speed = 1 + 0.2 * (np.sin(2 * np.pi * (t + translator.STEP)) - np.sin(2 * np.pi * t)) / translator.STEP
    assert bent == pytest.approx(5 * np.square(speed).mean(), rel=0.03)
    assert bent > straight


def test_a_translation_goes_to_the_target_and_keeps_what_is_seen(tmp_path: Path) -> None:
    # a planted change: the sources are darker and bluer; edges must stay, colours must move towards the real ones
    examples = stagedcases.examples(tmp_path, 24, 24)
    pictures = examples.image() * np.array([0.6, 0.7, 1.0], np.float32)
    examples = dataclasses.replace(examples, earlier=lambda count: {"image": pictures[:count]})
    context = stagedcases.context(tmp_path)
    options = santa.Options(steps=60, batch=4, width=16, blocks=1, sources=24, rate=2e-3)
    weights = santa.train(context, examples, options)
    facts = santa.facts(context.store, weights)
    assert facts["colour_made"] < 0.8 * facts["colour_source"]
    assert facts["edges"] > 0.9
    assert facts["change"] > 0.01
    drawn = santa.sample(context.store, weights, {"image": pictures[:9]}, list(range(9)), options)["image"]
    alone = santa.sample(context.store, weights, {"image": pictures[8:9]}, [8], options)["image"]
    assert np.array_equal(alone[0], drawn[8])
    way = santa.way(context.store, weights, {"image": pictures[:1]}, [0], options, 2)
    assert np.allclose(way[0], pictures[:1], atol=1e-6)
    assert np.array_equal(way[1][0], drawn[0])


def test_translation_looks_at_squares_no_larger_than_the_pictures() -> None:
    ramp = torch.arange(20.0 * 30).reshape(1, 1, 20, 30).expand(3, -1, -1, -1)
    squares = santa._patches(ramp, 50, 8, torch.Generator().manual_seed(0))
    assert squares.shape == (50, 1, 8, 8)
    assert bool((squares[:, 0, 1:] - squares[:, 0, :-1] == 30).all())
    places = squares[:, 0, 0, 0]
    assert (places % 30).max() <= 22  # none stands out
    assert len(places.unique()) > 30
    assert santa._patches(ramp, 2, 64, torch.Generator().manual_seed(0)).shape == (2, 1, 20, 30)


def test_a_translation_needs_something_to_translate(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is none"):
        santa.train(stagedcases.context(tmp_path), stagedcases.examples(tmp_path, 4, 16), SANTA)


def test_the_critics_losses_are_known() -> None:
    ones = torch.ones(4)
    assert float(critic.least_squares(ones, real=True)) == 0
    assert float(critic.least_squares(ones, real=False)) == 1
    assert float(critic.relativistic(ones, ones)) == pytest.approx(np.log(2), rel=1e-6)
    assert float(critic.relativistic(9 * ones, -9 * ones)) < 1e-6
    assert float(critic.matching([ones, 5 * ones], [3 * ones, ones])) == 2
