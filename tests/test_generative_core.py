"""The generative core: objectives, networks of every form of item, conditions, stages, several processes, devices."""

from typing import Any

import numpy as np
import pytest
import torch

from chambit.generate.codec.dct import BlockDCT
from chambit.generate.networks.embedding import Conditions
from chambit.generate.networks.perceptron import Perceptron
from chambit.generate.networks.unet import FEW, Along, UNet, attended, zeroed
from chambit.generate.objectives import adversarial, edm, objective
from chambit.generate.objectives.ddpm import Ddpm
from chambit.generate.objectives.edm import Edm
from chambit.generate.objectives.flow import Flow
from chambit.generate.training import conditioning

# --- objectives

OBJECTIVES = {
    "flow": Flow(),
    "edm": Edm(),
    "ddpm v": Ddpm("v", "cosine"),
    "ddpm v linear": Ddpm("v", "linear"),
    "ddpm ancestral": Ddpm("v", "cosine", "ancestral"),
}


def _nothing(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    """F = 0 is the right answer of all of these for independent data of variance 1."""
    return torch.zeros_like(x)


def _noise(count: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, 2, 4, 4, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_right_answer_carries_noise_to_white_data(name: str) -> None:
    learnt, noise = OBJECTIVES[name], _noise(400)
    generator = torch.Generator().manual_seed(1)
    z = learnt.noisy(torch.zeros_like(noise), noise, 1.0)
    # DDIM is of first order: what it loses of the variance falls as one over the steps
    made = learnt.solve(
        _nothing, z, 200 if "ddpm" in name else 24, fresh=lambda: torch.randn(noise.shape, generator=generator)
    )
    assert made.var().item() == pytest.approx(1, abs=0.06)
    correlation = (made * noise).mean() / made.std()
    if "ancestral" in name:
        assert correlation < 0.5  # most of it is fresh
    else:
        assert correlation > 0.99


def test_the_noise_itself_is_predicted_by_what_is_right_for_white_data() -> None:
    learnt = Ddpm("eps", "linear")

    def network(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:  # E[e | x] = b x
        a = learnt.signal[(t * 1000).round().long()]
        return x * objective.at((1 - a**2).sqrt().float(), x)

    noise = _noise(400)
    assert learnt.solve(network, noise, 50).var().item() == pytest.approx(1, abs=0.08)
    draws = learnt.draw(noise.shape, torch.Generator().manual_seed(3))
    clean = _noise(400, 9)
    assert learnt.error(network, clean, draws, torch.ones(1)).mean().item() == pytest.approx(
        learnt.signal.square().mean().item(), abs=0.05
    )


CONSTANT = 0.7


@pytest.mark.parametrize("name", OBJECTIVES)
def test_who_knows_the_only_image_makes_no_error_and_draws_it(name: str) -> None:
    learnt: Any = OBJECTIVES[name]

    def network(x: torch.Tensor, level: torch.Tensor) -> torch.Tensor:
        if isinstance(learnt, Flow):
            t = objective.at(level, x)
            s = ((1 - t) ** 2 + t**2).sqrt()
            return s * (x * s - CONSTANT) / t - (2 * t - 1) / s * (x * s)
        if isinstance(learnt, Edm):
            s = (4 * objective.at(level, x)).exp()
            root = (s**2 + 1).sqrt()
            return (CONSTANT - x * root / root**2) * root / s
        a = objective.at(learnt.signal[(level * 1000).round().long()].float(), x)
        b = (1 - a**2).sqrt()
        return a * (x - a * CONSTANT) / b - b * CONSTANT

    x0 = torch.full((32, 2, 4, 4), CONSTANT)
    draws = learnt.draw(x0.shape, torch.Generator().manual_seed(0))
    assert learnt.error(network, x0, draws, torch.ones(1)).max() < 1e-3
    assert learnt.predicted_noise(network, x0, 0.4).max() < 1e-4
    assert learnt.predicted_noise(network, x0 + 0.5, 0.4).min() > 0.01
    z = learnt.noisy(torch.zeros_like(x0), _noise(32), 1.0)
    seen: list[torch.Tensor] = []
    made = learnt.solve(network, z, 12, fresh=lambda: _noise(32, 5), seen=seen.append)
    assert torch.allclose(made, x0, atol=0.01)
    assert len(seen) == 12
    assert torch.allclose(seen[6], x0, atol=0.01)


@pytest.mark.parametrize("name", OBJECTIVES)
@pytest.mark.parametrize("strength", [0.1, 0.3, 0.5, 0.8])
def test_one_strength_means_one_ratio_of_noise(name: str, strength: float) -> None:
    learnt, zero, one = OBJECTIVES[name], torch.zeros(1, 1, 1, 1), torch.ones(1, 1, 1, 1)
    noise, signal = learnt.noisy(zero, one, strength), learnt.noisy(one, zero, strength)
    assert (noise / signal).item() == pytest.approx(strength / (1 - strength), rel=0.03)
    generator = torch.Generator().manual_seed(4)
    x = learnt.noisy(_noise(300), _noise(300, 2), strength)
    back = learnt.solve(_nothing, x, 60, strength, lambda: torch.randn(x.shape, generator=generator))
    assert back.var().item() == pytest.approx(1, abs=0.08)


@pytest.mark.parametrize("name", [*OBJECTIVES, "eps"])
def test_a_solver_asks_as_often_as_it_says(name: str) -> None:
    learnt: Any = OBJECTIVES.get(name, Ddpm("eps", "linear"))
    asked: list[float] = []

    def network(x: torch.Tensor, level: torch.Tensor) -> torch.Tensor:
        asked.append(level[0].item())
        return torch.zeros_like(x)

    learnt.solve(network, learnt.noisy(_noise(2), _noise(2), 1.0), 7, fresh=lambda: _noise(2))
    assert len(asked) == learnt.calls(7)
    assert asked[0] == max(asked)


def test_schedules_begin_with_the_item_and_end_with_noise() -> None:
    for kind in ("linear", "cosine"):
        signal = Ddpm("v", kind).signal  # type: ignore[arg-type]
        assert signal[0] > 0.999
        assert signal[-1] < 0.01
        assert (signal.diff() < 0).all()
    levels = edm.levels(18)
    assert (len(levels), levels[0], levels[-1]) == (19, edm.HIGHEST, 0.0)
    assert levels[-2] == pytest.approx(edm.LOWEST)
    assert (np.diff(levels) < 0).all()


def test_the_ancestral_sampler_says_what_it_lacks() -> None:
    with pytest.raises(ValueError, match="fresh"):
        Ddpm("v", "cosine", "ancestral").solve(_nothing, _noise(2), 4)


# --- networks


def _awake(network: Any) -> Any:
    """Weights that are not 0 anywhere: it begins as F = 0, which would hide everything."""
    generator = torch.Generator().manual_seed(0)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.1, generator=generator)
    return network.eval()


def _networks() -> dict[str, Any]:
    more: dict[str, Any] = {"factors": (2, 3), "numbers": 2}
    return {
        "unet": UNet(4, 2, 3, 16, 1, **more),
        "deeper": UNet(4, 2, 3, 16, 1, levels=4, **more),
        "frames": UNet(4, 2, 3, 16, 1, frames=5, **more),
        "perceptron": Perceptron(4, 2, 3, 16, 1, **more),
    }


@pytest.mark.parametrize("name", ["unet", "deeper", "frames", "perceptron"])
def test_a_network_hears_all_it_is_told_and_items_are_apart(name: str) -> None:
    torch.manual_seed(0)
    network = _awake(_networks()[name])
    lead, side = (3, 5) if name == "frames" else (3,), 1 if name == "perceptron" else 7
    x, maps = torch.randn(*lead, 4, side, side), torch.randn(*lead, 3, side, side)
    t, label = torch.tensor([0.1, 0.5, 1.0]), torch.tensor([0, 1, 2])
    factors, vector = torch.tensor([[0, 2], [1, -1], [0, 0]]), torch.tensor([[0.5, -1], [0.1, np.nan], [2, 1]])
    told = Conditions(label, maps, factors, vector.float())
    out = network(x, t, *told)
    assert out.shape == x.shape
    others = [
        told._replace(label=torch.tensor([1, 1, 2])), told._replace(maps=maps * 0),
        told._replace(factors=torch.tensor([[0, 1], [1, -1], [0, 0]])),
        told._replace(vector=torch.tensor([[0.5, -1.5], [0.1, np.nan], [2, 1]])),
    ]  # fmt: skip
    for other in others:
        changed = network(x, t, *other)
        assert not torch.allclose(out[0], changed[0])
        assert torch.allclose(out[2], changed[2], atol=1e-4) or other.maps is not told.maps
    assert torch.allclose(out[1:2], network(x[1:2], t[1:2], *told.at(slice(1, 2))), atol=1e-4)
    # nothing told is the same as told that there is nothing
    nothing = told.withheld(torch.ones(3, dtype=torch.bool), 2)
    assert torch.allclose(network(x, t, *nothing), network(x, t, torch.full((3,), 2), maps), atol=1e-5)


def test_the_layers_along_the_axis_begin_as_nothing() -> None:
    x = torch.randn(6, 16, 3, 3)
    assert torch.equal(Along(16)(x, 3), x)
    awake = _awake(Along(16))
    out, other = awake(x, 3), awake(torch.cat([x[:2], x[2:3].flip(1), x[3:]]), 3)
    assert not torch.allclose(out[0], other[0])  # the third frame is heard in the first
    assert torch.allclose(out[3:], other[3:], atol=1e-5)  # but not in another item


def test_without_attention_a_frame_hears_its_neighbours_alone() -> None:
    x = torch.randn(6, 16, 3, 3)
    changed = torch.cat([x[:1].flip(1), x[1:]])
    for attends, heard in ((False, [True, True, False, False, False, False]), (True, [True] * 6)):
        layer = _awake(Along(16, attends))
        away = (layer(x, 6) - layer(changed, 6)).abs().amax((1, 2, 3))
        assert away.gt(1e-4).tolist() == heard


@pytest.mark.parametrize("positions", [1, 12, FEW, FEW + 1])
def test_two_products_are_the_fused_kernel(positions: int) -> None:
    q, k, v = torch.randn(3, 5, 4, positions, 8, generator=torch.Generator().manual_seed(0)).unbind(0)
    fused = torch.nn.functional.scaled_dot_product_attention(q, k, v)
    assert torch.allclose(attended(q, k, v), fused, atol=1e-5)


@pytest.mark.parametrize("levels", [2, 3])
def test_a_single_frame_is_what_it_is_in_an_item_whose_frames_are_apart(levels: int) -> None:
    network = _awake(UNet(4, 2, 3, 16, 1, levels=levels, factors=(2,), numbers=1, frames=5))
    for layer in (part for part in network.modules() if isinstance(part, Along)):
        for last in (layer.three, *([layer.out] if layer.attends else [])):
            zeroed(last)
    x, maps, t = torch.randn(2, 5, 4, 6, 6), torch.randn(2, 5, 3, 6, 6), torch.tensor([0.3, 0.8])
    told = Conditions(torch.tensor([[0, 0, 1, 1, 1], [1] * 5]), maps, torch.tensor([[0], [1]]), torch.randn(2, 1))
    whole, place = network(x, t, *told), torch.tensor([3, 0])
    rows = torch.arange(2)
    single = network(x[rows, place], t, *told.frame(place), place=place)
    assert torch.allclose(single, whole[rows, place], atol=1e-4)
    elsewhere = network(x[rows, place], t, *told.frame(place), place=(place + 1) % 5)
    assert not torch.allclose(single, elsewhere, atol=1e-3)


def test_single_frames_teach_the_plane_alone() -> None:
    network = _awake(UNet(4, 2, 0, 16, 1, levels=3, frames=5))
    out = network(torch.randn(2, 4, 6, 6), torch.tensor([0.3, 0.8]), torch.tensor([0, 1]), place=torch.tensor([0, 4]))
    torch.autograd.backward(out.square().mean())
    untaught = {name for name, parameter in network.named_parameters() if parameter.grad is None}
    assert untaught == {name for name, _ in network.named_parameters() if "along." in name}
    assert untaught


def test_a_class_for_each_frame_is_heard_in_its_frame_first() -> None:
    network = _awake(UNet(4, 2, 0, 16, 1, frames=5))
    for layer in network.along:  # without them frames are apart
        last = [layer.three, *([layer.out] if layer.attends else [])]
        for parameter in (one for part in last for one in part.parameters()):
            torch.nn.init.zeros_(parameter)
    x, t = torch.randn(1, 5, 4, 6, 6), torch.tensor([0.3])
    label = torch.tensor([[0, 0, 1, 1, 1]])
    out, other = network(x, t, label), network(x, t, torch.tensor([[0, 1, 1, 1, 1]]))
    assert (out - other).abs().amax((0, 2, 3, 4)).gt(1e-4).tolist() == [False, True, False, False, False]
    whole = torch.tensor([1])
    assert torch.allclose(network(x, t, whole), network(x, t, whole[:, None].expand(1, 5)), atol=1e-6)


@pytest.mark.parametrize("frames", [1, 3])
def test_monais_network_has_the_same_face(frames: int) -> None:
    pytest.importorskip("einops")
    from chambit.generate.networks.monai_unet import MonaiUNet

    network = _awake(MonaiUNet(2, 2, 1, 16, 1, factors=(2,), numbers=1, frames=frames))
    lead = (2, frames) if frames > 1 else (2,)
    x, maps, t = torch.randn(*lead, 2, 6, 10), torch.randn(*lead, 1, 6, 10), torch.tensor([0.2, 0.9])
    told = Conditions(torch.tensor([0, 1]), maps, torch.tensor([[0], [1]]), torch.tensor([[0.5], [0.1]]))
    out = network(x, t, *told)
    assert out.shape == x.shape
    changed = [told._replace(label=torch.tensor([1, 1])), told._replace(factors=torch.tensor([[-1], [1]])),
               told._replace(vector=torch.tensor([[0.6], [0.1]])), told._replace(maps=maps * 0)]  # fmt: skip
    for other in changed:
        assert not torch.allclose(out[0], network(x, t, *other)[0])
    if frames > 1:
        assert not torch.allclose(out[0], network(x, t, torch.tensor([[0, 0, 1], [1, 1, 1]]), *told[1:])[0])


# --- conditions


def test_what_is_withheld_is_withheld_as_often_as_it_says() -> None:
    n = 4000
    told = Conditions(torch.zeros(n, dtype=torch.int64), None, torch.zeros(n, 2, dtype=torch.int64), torch.zeros(n, 1))
    thin = told.thinned(0.2, torch.Generator().manual_seed(0))
    assert thin.factors is not None
    assert thin.vector is not None
    assert (thin.factors < 0).float().mean(0).tolist() == pytest.approx([0.2, 0.2], abs=0.03)
    assert thin.vector.isnan().float().mean().item() == pytest.approx(0.2, abs=0.03)
    assert (thin.factors < 0).all(1).float().mean().item() == pytest.approx(0.04, abs=0.02)  # each by itself
    assert told.thinned(0, torch.Generator().manual_seed(0)).factors is not None
    gone = told.withheld(torch.arange(n) < 10, 7)
    assert gone.label[:10].tolist() == [7] * 10
    assert gone.label[10:].sum() == 0
    assert told.label.sum() == 0


def test_boxes_are_those_of_the_masks_and_are_filled() -> None:
    masks = np.zeros((3, 10, 20), bool)
    masks[0, 2:5, 4:8] = True
    masks[1, 9, 19] = True
    boxes = conditioning.boxed(masks)
    assert boxes[0].tolist() == pytest.approx([0.2, 0.2, 0.5, 0.4])
    assert np.isnan(boxes[2]).all()
    assert np.allclose(conditioning.rasterised(boxes, (10, 20)), masks, atol=1e-5)
    assert conditioning.boxed(np.stack([masks, masks[::-1]], 1))[0].tolist() == pytest.approx([0.2, 0.2, 0.5, 0.4])


def test_a_mask_is_told_as_its_lowest_coefficients() -> None:
    codec = BlockDCT.fit(np.random.default_rng(0).random((4, 16, 16)).astype(np.float32), size=8, keep=4)
    mask = np.zeros((1, 16, 16), bool)
    mask[0, 8:, :8] = True
    maps = conditioning.condition(mask, codec)
    assert maps.shape == (1, 9, 2, 2)
    assert maps[0, 0].tolist() == [[0, 0], [pytest.approx(8), 0]]
    assert maps[0, 1:].abs().max() < 1e-5


# --- critic


def test_moved_items_keep_what_they_have() -> None:
    x = torch.ones(200, 1, 8, 8)
    moved = adversarial.shifted(x, torch.Generator().manual_seed(0))
    assert set(moved.unique().tolist()) == {0.0, 1.0}
    share = moved.mean((1, 2, 3))
    assert share.max() == 1
    assert share.min() < 0.8
    both = adversarial.shifted(torch.cat([x, x], 1), torch.Generator().manual_seed(0))
    assert torch.equal(both[:, :1], moved)
    assert torch.equal(both[:, 1:], moved)  # maps move with their items
