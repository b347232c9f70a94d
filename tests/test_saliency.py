"""Where networks look: shares of heat with known answers, Grad-CAM in closed form, and planted lesions and marks."""

import dataclasses
import io
import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image
from scipy import ndimage, stats
from torch.nn import functional as F

from chambit.core.evidence import Verdict
from chambit.core.steps import Context
from chambit.images.imageset import ImageSet
from chambit.measure import classifier, heat, looks
from chambit.measure.examination import Result
from chambit.measure.utility import saliency
from chambit.pipeline import examining
from chambit.report import heatsheet
from examinations import MARGIN, POLICY, SMALL, Cohort, by_key, depth, examination, fields, judged, workplace

SIDE = 32
SIZES = {"train": 160, "synthetic": 160, "test": 60}
RNG = np.random.default_rng(0)


# --- shares of heat


def test_an_even_map_has_the_share_of_the_area() -> None:
    masks = RNG.random((5, 12, 16)) < 0.3
    area = masks.mean((1, 2))
    assert heat.inside(np.full((5, 12, 16), 0.2), masks) == pytest.approx(area)
    assert heat.pointing(np.full((5, 12, 16), 0.2), masks) == pytest.approx(area)
    edge = heat.border((20, 40))
    assert heat.inside(np.ones((1, 20, 40)), edge)[0] == pytest.approx(1 - 0.8 * 0.8)


def test_heat_in_the_mask_alone_is_all_of_it() -> None:
    masks = RNG.random((4, 9, 9)) < 0.4
    assert heat.inside(masks * 7.0, masks).tolist() == [1] * 4
    assert heat.inside(~masks * 7.0, masks).tolist() == [0] * 4
    assert heat.pointing(masks * 7.0, masks).tolist() == [1] * 4


def test_a_map_of_zeros_looked_nowhere_in_particular() -> None:
    nothing, masks = np.zeros((2, 8, 8), np.float16), np.zeros((2, 8, 8), bool)
    masks[0, :2, :2] = True
    assert heat.inside(nothing, masks).tolist() == [1 / 16, 0]
    assert heat.pointing(nothing, masks).tolist() == [1 / 16, 0]
    assert heat.agreement([nothing, RNG.random((2, 8, 8))])[0, 1].tolist() == [0, 0]


def test_shares_of_half_precision_are_summed_in_full() -> None:
    """65,536 pixels of 1 overflow a float16 sum."""
    one = np.ones((1, 256, 256), np.float16)
    left = np.zeros((256, 256), bool)
    left[:, :64] = True
    assert heat.inside(one, left)[0] == 0.25


@pytest.mark.parametrize(("shape", "expected"), [((32, 32), 1), ((64, 48), 2), ((100, 300), 9), ((8, 8), 1)])
def test_pointing_forgives_three_per_cent_of_the_side(shape: tuple[int, int], expected: int) -> None:
    assert heat.reach(shape) == expected
    mask = np.zeros((1, *shape), bool)
    mask[0, 3, 2] = True
    wide = heat.widened(mask, expected)
    for column, hit in ((2, 1), (2 + expected, 1), (3 + expected, 0)):
        spot = np.zeros((1, *shape))
        spot[0, 3, column] = 1
        assert heat.pointing(spot, wide)[0] == hit, column
    assert not heat.widened(np.zeros((1, *shape), bool), expected).any()


def test_a_mask_in_the_middle_is_explained_by_looking_at_the_middle() -> None:
    middle = heat.centre((40, 24))[None]
    masks = np.zeros((2, 40, 24), bool)
    masks[0, 15:25, 9:15] = True
    masks[1, :10, :6] = True  # as large, in a corner
    shares = heat.inside(np.repeat(middle, 2, 0), masks)
    # a Gaussian of a quarter of the side, cut at two deviations: erf(1/2 / sqrt 2) / erf(2 / sqrt 2) on each side
    assert shares[0] == pytest.approx(((stats.norm.cdf(0.5) - 0.5) / (stats.norm.cdf(2) - 0.5)) ** 2, abs=0.01)
    assert shares[1] < masks[1].mean() / 2
    assert middle[0] == pytest.approx(middle[0, ::-1, ::-1])
    assert heat.pointing(np.repeat(middle, 2, 0), masks).tolist() == [1, 0]


def test_agreement_is_spearmans() -> None:
    maps = [np.round(RNG.random((3, 7, 5)), 1) for _ in range(3)]  # rounded: with ties
    found = heat.agreement(maps)
    for i in range(3):
        for k, one in enumerate(maps):
            for m, other in enumerate(maps):
                assert found[k, m, i] == pytest.approx(stats.spearmanr(one[i].ravel(), other[i].ravel())[0])
    assert heat.agreement([maps[0], 3 * maps[0] ** 2])[0, 1] == pytest.approx(np.ones(3))
    assert heat.agreement([maps[0], 1 - maps[0]])[0, 1] == pytest.approx(-np.ones(3))


def test_agreement_does_not_depend_on_how_it_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    maps = [RNG.random((11, 6, 6)) for _ in range(2)]
    whole = heat.agreement(maps)
    monkeypatch.setattr(heat, "PIXELS", 200)
    assert heat.agreement(maps) == pytest.approx(whole)


# --- Grad-CAM


@pytest.fixture(scope="module")
def network() -> classifier.Network:
    """A few steps on noise: enough for running means to differ from their start."""
    rng = np.random.default_rng(3)
    return classifier.train(rng.random((40, 24, 20)).astype(np.float32), np.arange(40) % 3, 3, 3, 1)


def _last(network: classifier.Network, x: torch.Tensor) -> torch.Tensor:
    """What the head pools, found through its own hook-free arithmetic on the maps before the last two blocks."""
    kept: list[torch.Tensor] = []
    hook = network.norms[2].register_forward_hook(lambda _m, _i, out: kept.append(F.relu(out)))
    network(x)
    hook.remove()
    return kept[0] + F.relu(network.norms[3](network.convolutions[3](kept[0])))


def test_the_watched_network_says_what_the_network_says(network: classifier.Network) -> None:
    x = torch.randn(6, 1, 24, 20)
    with torch.no_grad():
        plain, watched = network(x), heat.Watched(network)(x)
    assert watched.numpy() == pytest.approx((plain - plain.mean(1, keepdim=True)).numpy(), abs=1e-5)
    assert not network.norms[3]._forward_hooks


def test_grad_cam_is_its_closed_form(network: classifier.Network) -> None:
    """Behind mean and maximum stands one linear layer: a map's mean gradient is its two weights."""
    images = np.random.default_rng(4).random((7, 24, 20)).astype(np.float32)
    target = np.array([0, 1, 2, 2, 1, 0, 1])
    found = heat.grad_cam(network, images, target)
    assert found.dtype == np.float16
    assert found.shape == images.shape
    assert not any(part.training for part in network.modules())  # as it came: its scores are asked for later
    with torch.no_grad():
        h = _last(network, torch.from_numpy((images - network.mean) / network.std)[:, None]).numpy()
        weight = (network.head.weight - network.head.weight.mean(0)).numpy()
    both = (weight[:, : h.shape[1]] + weight[:, h.shape[1] :])[target]
    small = np.maximum((both[:, :, None, None] * h).sum(1), 0)
    assert (small.max((1, 2)) > 0).sum() >= 3
    for one, its in zip(found, small, strict=True):
        places = np.meshgrid(np.arange(24) / 4, np.arange(20) / 4, indexing="ij")  # units stand on every fourth pixel
        large = ndimage.map_coordinates(its, places, order=1, mode="nearest")
        assert one == pytest.approx(large / max(large.max(), 1e-12), abs=2e-3)


def test_a_unit_of_the_last_map_looks_where_its_heat_is_drawn(network: classifier.Network) -> None:
    """The pixels that unit (8, 7) depends on lie evenly about pixel (32, 28), and there its heat is largest."""
    x = torch.randn(1, 1, 64, 56, requires_grad=True)
    middle = _last(network, x)[0, :, 8, 7].square().sum()
    (gradient,) = torch.autograd.grad(middle, x)
    for axis, centre in ((1, 32), (0, 28)):
        seen = np.flatnonzero(gradient[0, 0].abs().sum(axis).numpy())
        assert (seen.min() + seen.max()) / 2 == centre
    small = torch.zeros(1, 1, 16, 14)
    small[0, 0, 8, 7] = 1
    large = heat._enlarger((64, 56))(small)[0, 0].numpy()
    assert np.unravel_index(large.argmax(), large.shape) == (32, 28)
    assert large[30, 28] == pytest.approx(0.5)
    assert large[32, 27] == pytest.approx(0.75)


def test_what_all_logits_share_does_not_move_the_map(network: classifier.Network) -> None:
    images, target = np.random.default_rng(5).random((4, 24, 20)).astype(np.float32), np.array([0, 1, 2, 0])
    before = heat.grad_cam(network, images, target)
    changed = heat.deepcopy(network)
    with torch.no_grad():
        changed.head.weight += torch.randn(1, changed.head.weight.shape[1])
    assert heat.grad_cam(changed, images, target) == pytest.approx(before, abs=2e-3)


def test_the_cascade_draws_part_after_part_anew(network: classifier.Network) -> None:
    before = {name: value.clone() for name, value in network.state_dict().items()}
    changed = []
    for part, other in heat.cascade(network, 9):
        state = other.state_dict()
        changed.append(
            (part, {name.split(".weight")[0] for name in before if not torch.equal(state[name], before[name])})
        )
    assert [part for part, _ in changed] == ["head", "block 3", "block 2", "block 1", "block 0"]
    assert {name for name in changed[0][1] if "bias" not in name} == {"head"}
    for (_, fewer), (part, more) in itertools.pairwise(changed):
        assert fewer < more
        assert {f"convolutions.{part[-1]}", f"norms.{part[-1]}"} <= more
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    again = [other.head.weight.clone() for _, other in heat.cascade(network, 9)]
    assert torch.equal(again[0], again[-1])  # a part drawn anew stays


# --- the measure


def lesions(count: int, seed: int, prefix: str, mark: bool = False) -> tuple[Cohort, np.ndarray]:
    """Class b has a faint dark spot somewhere, with its mask; `mark`: and bright dots along the upper edge."""
    rng = np.random.default_rng(seed)
    truth = np.arange(count) % 2
    y, x = np.mgrid[:SIDE, :SIDE]
    cy, cx = rng.uniform(9, SIDE - 9, (2, count, 1, 1))
    spot = np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / 8) * truth[:, None, None]
    grey = 0.4 + 0.06 * fields(count, rng, SIDE, 4) + rng.normal(0, 0.01, (count, SIDE, SIDE)) - 0.18 * spot
    if mark:
        grey[truth == 1, :3:2, ::2] += 0.5
    names = np.array([f"{prefix}{k}" for k in range(count)])
    return Cohort(depth(grey), names, np.array(["a", "b"])[truth]), spot > 0.4


def looked(
    context: Context, given: Mapping[str, Cohort], masks: np.ndarray | None, seed: int = 7, **changes: Any
) -> Result:
    """The measure on these cohorts, with masks of the test images; another case needs another seed."""
    options = examining.options_of("saliency", POLICY, MARGIN, {**SMALL["saliency"], **changes})
    exam = examination(context, given, seed, options)
    if masks is not None:
        blob = context.store.put_arrays(masks=masks.astype(np.uint8))
        columns = [pl.lit(blob).alias("mask_block"), pl.int_range(len(masks)).alias("mask_row")]
        test = ImageSet(context.store, exam["test"].table.with_columns(columns))
        exam = dataclasses.replace(exam, sets={**exam.sets, "test": test})
    return saliency.measure(exam, options)


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Context]:
    with workplace(tmp_path_factory.mktemp("saliency")) as made:
        yield made


@pytest.fixture(scope="module")
def given() -> dict[str, Cohort]:
    return {role: lesions(n, k, role)[0] for k, (role, n) in enumerate(SIZES.items())}


@pytest.fixture(scope="module")
def masks() -> np.ndarray:
    return lesions(SIZES["test"], 2, "test")[1]


@pytest.fixture(scope="module")
def faithful(context: Context, given: dict[str, Cohort], masks: np.ndarray) -> Result:
    """The synthetic set is other images of the real kind."""
    return looked(context, given, masks, seeds=3, steps=42)


@pytest.fixture(scope="module")
def marked(context: Context, given: dict[str, Cohort], masks: np.ndarray) -> Result:
    """The ill synthetic images carry a mark, which is easier to learn than the lesion."""
    wrong = lesions(SIZES["synthetic"], 1, "synthetic", mark=True)[0]
    return looked(context, given | {"synthetic": wrong}, masks, seeds=3, steps=42)


def _value(result: Result, key: str) -> float:
    value = by_key(result)[f"saliency.{key}"].value
    assert value is not None
    return value


def _low(result: Result, key: str) -> float:
    given = by_key(result)[f"saliency.{key}"].interval
    assert given is not None
    return given.low


def test_networks_look_at_the_planted_lesion(faithful: Result, masks: np.ndarray) -> None:
    energy = by_key(faithful)["saliency.energy"]
    assert energy.null == pytest.approx(masks[1::2].mean())
    assert _value(faithful, "energy") > 4 * energy.null
    assert energy.details["real"] > 4 * energy.null  # type: ignore[operator]
    assert _low(faithful, "energy_loss") < 0.02
    assert _value(faithful, "pointing") > 0.3
    assert energy.details["real"] > 2 * energy.details["centre"]  # type: ignore[operator]
    arms = energy.details["arms"]
    assert np.mean(arms["synthetic"]["seeds"]) == pytest.approx(energy.value)  # type: ignore[index]
    assert _value(faithful, "energy_loss") == pytest.approx(energy.details["real"] - energy.value)  # type: ignore[operator]


def test_an_unmarked_set_raises_nothing(faithful: Result) -> None:
    assert abs(_value(faithful, "border")) < 0.06
    assert _low(faithful, "border") < 0
    assert abs(by_key(faithful)["saliency.border"].details["drawn"]) < 0.03  # type: ignore[arg-type]
    said = judged(faithful)
    for key in set(saliency.QUANTITIES) - {"pointing"}:
        assert said[f"saliency.{key}"].verdict is Verdict.PASS, key
    # of thirty images and three trainings the hottest point says little: then it is not shown, whatever its mean
    pointing = said["saliency.pointing"]
    shown = pointing.interval.low > pointing.null  # type: ignore[union-attr, operator]
    assert pointing.verdict is (Verdict.PASS if shown else Verdict.CONDITIONAL)


def test_a_mark_at_the_border_is_seen(marked: Result, faithful: Result) -> None:
    border = by_key(marked)["saliency.border"]
    assert _value(marked, "border") > 0.2
    assert _low(marked, "border") > 0.1
    assert border.interval.level == 0.975  # type: ignore[union-attr]  # two classes
    rows: Any = border.details["classes"]
    assert [row["class"] for row in rows] == ["a", "b"]
    assert rows[1]["mean"] == border.value > rows[0]["mean"]
    assert border.details["drawn"] > 0.05  # type: ignore[operator]
    assert _low(marked, "energy_loss") > 0.05
    assert _value(marked, "energy") < 0.5 * _value(faithful, "energy")
    assert _value(marked, "agreement") < _value(faithful, "agreement") - 0.1
    said = judged(marked)
    for key in saliency.QUANTITIES:
        assert said[f"saliency.{key}"].verdict is Verdict.CONDITIONAL, key


def test_the_numbers_say_what_they_rest_on(faithful: Result) -> None:
    found = by_key(faithful)
    assert set(found) == {f"saliency.{quantity}" for quantity in saliency.QUANTITIES}
    for finding in found.values():
        assert finding.control is not None
        assert finding.control.fired
        assert set(finding.inputs) - {"masks"} == {"train", "synthetic", "test"}
        assert finding.interval is not None
        assert finding.interval.low <= finding.value <= finding.interval.high  # type: ignore[operator]
    assert "masks" in found["saliency.energy"].inputs
    assert found["saliency.energy"].n == {"test images": 30, "test subjects": 30, "seeds": 3}
    assert found["saliency.border"].n["test images"] == 60


def test_the_worst_are_pictured_worst_first(faithful: Result, given: dict[str, Cohort], masks: np.ndarray) -> None:
    worst: Any = by_key(faithful)["saliency.agreement"].details["worst"]
    values = [entry["agreement"] for entry in worst]
    assert len(worst) == 20
    assert values == sorted(values)
    assert np.mean(values) < _value(faithful, "agreement") <= 1
    heats = faithful.heats
    assert heats is not None
    assert [f"test{row:05d}" for row in heats.rows] == [entry["id"] for entry in worst]
    assert masks[heats.rows].any((1, 2)).all()
    assert heats.real.shape == heats.synthetic.shape == (20, SIDE, SIDE)
    assert heats.real.max((1, 2)).tolist() == [255] * 20
    png = heatsheet.heat_sheet(given["test"].grey[heats.rows], masks[heats.rows], heats.real, heats.synthetic)
    with Image.open(io.BytesIO(png)) as sheet:
        assert sheet.size[0] > 6 * 128


def test_networks_that_learned_nothing_fail_the_control(
    context: Context, given: dict[str, Cohort], masks: np.ndarray
) -> None:
    """After one step the weights are as good as drawn anew."""
    result = looked(context, given, masks, steps=1)
    for evidence in judged(result).values():
        assert evidence.control is not None
        assert not evidence.control.fired
        assert evidence.verdict is Verdict.INVALID


def test_networks_of_shuffled_labels_fail_the_control(
    context: Context, given: dict[str, Cohort], masks: np.ndarray
) -> None:
    rng = np.random.default_rng(1)
    wrong = {role: given[role]._replace(labels=rng.permutation(given[role].labels)) for role in ("train", "synthetic")}
    result = looked(context, given | wrong, masks, steps=30)
    assert _value(result, "energy") < 2 * by_key(result)["saliency.energy"].null  # type: ignore[operator]
    for evidence in judged(result).values():
        assert evidence.verdict is Verdict.INVALID


def test_without_masks_agreement_and_border_are_left(context: Context, given: dict[str, Cohort]) -> None:
    found = by_key(looked(context, given, None, seed=8, steps=1, images=15))
    assert set(found) == {"saliency.agreement", "saliency.border"}
    for finding in found.values():
        assert finding.value is not None
        assert finding.n["test images"] == 15  # without a mask
    assert all("energy_real" not in entry for entry in found["saliency.agreement"].details["worst"])  # type: ignore[attr-defined]


def test_too_few_masks_are_said(context: Context, given: dict[str, Cohort], masks: np.ndarray) -> None:
    """People are counted: twelve images of six."""
    few = masks & (np.arange(60) < 24)[:, None, None]
    people = given["test"]._replace(subjects=np.repeat([f"v{k}" for k in range(15)], 4))
    found = by_key(looked(context, given | {"test": people}, few, seed=9, steps=1, images=15))
    for quantity in saliency.OF_MASKS:
        finding = found[f"saliency.{quantity}"]
        assert finding.value is None
        assert finding.reason == "Test images of 6 subjects have a mask; at least 20 are needed."
        assert judged(Result((finding,)))[finding.key].verdict is Verdict.NOT_RUN
    assert found["saliency.border"].n["test images"] == found["saliency.agreement"].n["test images"] == 27


def _only(cohort: Cohort, label: str) -> Cohort:
    return cohort[cohort.labels == label]


@pytest.mark.parametrize(
    ("role", "change", "reason"),
    [
        ("test", None, "No real test images"),
        ("train", lambda c: _only(c, "a"), "one class only"),
        ("synthetic", lambda c: _only(c, "a"), "no image of class 'b'; at least 1"),
        ("test", lambda c: c._replace(labels=np.where(np.arange(60) == 0, "c", c.labels)), "Class 'c'"),
    ],
)
def test_what_cannot_be_measured_is_not_run_with_its_reason(
    context: Context, given: dict[str, Cohort], role: str, change: Any, reason: str
) -> None:
    changed = {name: cohort for name, cohort in given.items() if name != role}
    if change is not None:
        changed[role] = change(given[role])
    found = by_key(looked(context, changed, None))
    assert set(found) == {f"saliency.{quantity}" for quantity in saliency.QUANTITIES}
    for finding in found.values():
        assert finding.value is None
        assert reason in finding.reason


def _seen(shuffled: float, anew: float) -> looks.Looks:
    """Three real trainings that know their task and agree well; a map of shuffled labels holds a share of theirs."""
    rng = np.random.default_rng(6)
    common = rng.random((30, 8, 8))
    real = [(common + 0.2 * rng.random((30, 8, 8))).astype(np.float16) for _ in range(3)]
    other = (shuffled * common + (1 - shuffled) * rng.random((30, 8, 8))).astype(np.float16)
    truth = np.arange(30) % 2
    return looks.Looks(
        classes=["a", "b"],
        rows=np.arange(30),
        truth=truth,
        subjects=np.arange(30).astype(str),
        masks=None,
        masked=0,
        at=np.arange(30),
        heats={"real": real, "synthetic": real, "shuffled": [other]},
        scores=[np.stack([1 - truth, truth], 1) + 0.1 * rng.random((30, 2)) for _ in range(3)],
        cascade=np.concatenate([np.full((6, 4, 30), 0.9), np.full((6, 1, 30), anew)], axis=1),
        made=truth,
        border=np.zeros((3, 30)),
    )


@pytest.mark.parametrize(
    ("shuffled", "anew", "fired"), [(0.0, 0.1, True), (1.0, 0.1, False), (0.0, 0.6, False), (0.0, 0.9, False)]
)
def test_the_control_asks_that_maps_are_lost(shuffled: float, anew: float, fired: bool) -> None:
    """With the labels and with the weights: at most half as alike (here 0.48) as maps of two trainings (0.96)."""
    options = examining.options_of("saliency", POLICY, MARGIN, SMALL["saliency"] | {"seeds": 3})
    control = saliency._control(_seen(shuffled, anew), options, np.random.default_rng(0))
    assert control.fired is fired
    assert "AUROC 1.00; two trainings 0.96" in control.observed


# --- intervals


def test_intervals_hold_their_level_with_three_trainings() -> None:
    """Trainings differ more than subjects: resampling three of them misses more than a tenth."""
    rng = np.random.default_rng(2)
    missed = 0
    for _ in range(600):
        arms = [rng.normal(0, 0.02, (3, 40)) + rng.normal(0, 0.1, (3, 1)) for _ in range(2)]
        drawn = rng.multinomial(40, np.full(40, 1 / 40), size=200) / 40
        given = saliency._less(*arms, drawn, 40, 0.95)
        missed += not given.low <= 0 <= given.high
    assert 0.01 < missed / 600 < 0.065


def test_with_equal_trainings_the_interval_is_that_of_the_subjects() -> None:
    rng = np.random.default_rng(3)
    values = np.repeat(rng.random((1, 200)), 3, axis=0)
    weights = rng.multinomial(200, np.full(200, 1 / 200), size=4000) / 200
    given = saliency._over(values, weights, 200, 0.95)
    half = stats.t.ppf(0.975, 199) * values[0].std() / np.sqrt(200)
    assert (given.high - given.low) / 2 == pytest.approx(half, rel=0.05)
    same = saliency._less(values, values, weights, 200, 0.95)
    assert (same.low, same.high) == (0, 0)


def test_intervals_stay_where_the_number_can_be() -> None:
    values = np.array([[0.1], [0.9]]) + np.random.default_rng(4).normal(0, 0.01, (2, 30))
    weights = np.full((10, 30), 1 / 30)
    alone = saliency._over(values, weights, 30, 0.95)
    both = saliency._less(values, values[::-1], weights, 30, 0.95)
    assert (alone.low, alone.high, both.low, both.high) == (0, 1, -1, 1)


# --- the sheet


def _sheet(count: int, height: int = 20, width: int = 16, masks: bool = True) -> tuple[np.ndarray, bytes]:
    grey = np.full((count, height, width), 0.5, np.float32)
    mask = np.zeros(grey.shape, bool)
    mask[:, 5:10, 4:9] = True
    cold, hot = np.zeros(grey.shape, np.uint8), np.full(grey.shape, 255, np.uint8)
    png = heatsheet.heat_sheet(grey, mask if masks else None, cold, hot)
    with Image.open(io.BytesIO(png)) as sheet:
        return np.asarray(sheet), png


def test_the_sheet_lays_heat_over_the_image() -> None:
    scale = 7  # 20 pixels to 140
    pixels, png = _sheet(1, masks=False)
    assert pixels.shape == (15 + 20 * scale, 3 * 16 * scale + 8, 3)
    panels = [pixels[15:, k * (16 * scale + 4) :][:, : 16 * scale] for k in range(3)]
    assert panels[0][-1, -1].tolist() == panels[1][-1, -1].tolist() == [128] * 3
    assert panels[2][-1, -1].tolist() == [204, 122, 32]  # a quarter of the grey, three quarters of the colour
    assert png == _sheet(1, masks=False)[1]
    outlined = _sheet(1)[0][15:]
    changed = (outlined != pixels[15:]).any(2)
    assert changed[5 * scale, 4 * scale]
    assert changed[10 * scale - 1, 9 * scale - 1]
    assert not changed[7 * scale, 6 * scale]
    assert changed.sum() == 3 * 4 * (5 * scale - 1)


def test_the_sheet_shows_twenty_at_most() -> None:
    assert np.array_equal(_sheet(20)[0], _sheet(23)[0])
    assert _sheet(20)[0].shape[0] == 15 + 10 * (140 + 4) - 4
    assert _sheet(3, 300, 200)[0].shape[1] == 2 * (600 + 8) + 20


@pytest.mark.parametrize("wrong", ["heat", "mask", "none"])
def test_a_sheet_of_unequal_parts_is_refused(wrong: str) -> None:
    grey, levels = np.zeros((2, 8, 8), np.float32), np.zeros((2, 8, 8), np.uint8)
    given = {
        "heat": (grey, None, levels[:1], levels),
        "mask": (grey, np.zeros((2, 8, 9), bool), levels, levels),
        "none": (grey[:0], None, levels[:0], levels[:0]),
    }[wrong]
    with pytest.raises(ValueError, match="one shape"):
        heatsheet.heat_sheet(*given)
