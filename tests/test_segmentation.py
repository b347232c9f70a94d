"""Utility of masks: overlaps known by hand, and discs whose masks are right, misplaced or missing."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import polars as pl
import pytest
from pydantic import ValidationError

from chambit.core.evidence import Evidence, Finding, Verdict
from chambit.core.steps import Context
from chambit.measure import overlap, segmenter
from chambit.measure.examination import Examination
from chambit.measure.utility import segmentation
from chambit.pipeline import examining
from chambit.review.verdict import judge
from examinations import MARGIN, POLICY, SMALL, Cohort, by_key, depth, examination, fields, workplace

SIDE = 32


# --- Dice


def _mask(*rows: str) -> np.ndarray:
    return np.array([[sign == "#" for sign in row] for row in rows])[None]


def test_dice_of_known_masks() -> None:
    one, half, none = _mask("##..", "##.."), _mask("##..", "...."), _mask("....", "....")
    assert overlap.dice(one, one).tolist() == [1]
    assert overlap.dice(half, one) == pytest.approx([2 / 3])
    assert overlap.dice(one, _mask("..##", "..##")).tolist() == [0]
    assert overlap.dice(one, none).tolist() == [0]
    assert np.isnan(overlap.dice(none, none)).tolist() == [True]
    assert overlap.dice(np.concatenate([one, half]), np.concatenate([one, one])) == pytest.approx([1, 2 / 3])


# --- average precision


def _squares(where: list[tuple[int, float]]) -> np.ndarray:
    """Squares of 6 x 6 pixels at these columns, each of one value."""
    out = np.zeros((1, 12, SIDE))
    for column, value in where:
        out[0, 3:9, column : column + 6] = value
    return out


def _found(*images: tuple[list[tuple[int, float]], list[int]]) -> overlap.Instances:
    """Predicted squares (column, probability) and columns of true squares of each image."""
    probability = np.concatenate([_squares(predicted) for predicted, _ in images])
    truth = np.concatenate([_squares([(column, 1.0) for column in true]) > 0 for _, true in images])
    return overlap.instances(probability, truth)


def test_perfect_instances_score_one_and_none_score_nothing() -> None:
    assert overlap.average_precision(_found(([(0, 0.9), (20, 0.8)], [0, 20]), ([], []))).ravel() == pytest.approx(1.0)
    assert (overlap.average_precision(_found(([], [0]))) == 0).all()
    assert (overlap.average_precision(_found(([(20, 0.9)], [0]))) == 0).all()
    assert np.isnan(overlap.average_precision(_found(([(0, 0.9)], [])))).all()


def test_one_hit_and_one_miss_by_hand() -> None:
    """Two true squares, one found with the highest score and one false one: recalls 0 to 0.50 at a precision of 1."""
    found = _found(([(0, 0.9), (10, 0.7)], [0, 20]))
    assert found.score == pytest.approx([0.9, 0.7])
    assert found.truths.tolist() == [2]
    assert overlap.average_precision(found).ravel() == pytest.approx(51 / 101)


def test_a_false_finding_costs_what_stands_below_it() -> None:
    """The same square on a normal image: above the hit it halves the precision, below it costs nothing."""
    below = overlap.average_precision(_found(([(0, 0.9)], [0]), ([(0, 0.8)], [])))
    above = overlap.average_precision(_found(([(0, 0.8)], [0]), ([(0, 0.9)], [])))
    assert below.ravel() == pytest.approx(1.0)
    assert above.ravel() == pytest.approx(0.5)


def test_an_overlap_counts_up_to_its_size() -> None:
    """Moved by one of 6 columns: 30 of 42 pixels in common, 0.714, which reaches 0.50 to 0.70."""
    precision = overlap.average_precision(_found(([(1, 0.9)], [0])))[:, 0]
    assert precision.tolist() == [1.0] * 5 + [0.0] * 5


def test_each_true_instance_is_found_once_and_by_the_best_score() -> None:
    """Two predictions over one true piece: the one of higher score takes it, though it fits worse."""
    truth = _squares([(0, 1.0)]) > 0
    probability = np.zeros((1, 12, SIDE))
    probability[0, 3:5, 0:6], probability[0, 6:9, 0:6] = 0.9, 0.6
    found = overlap.instances(probability, truth, (0.1, 0.4))
    assert found.score == pytest.approx([0.9, 0.6])
    assert found.hit.tolist() == [[True, False], [False, True]]


def test_pieces_that_meet_at_a_corner_are_one() -> None:
    mask = _mask("##....", "##....", "..##..", "..##..")
    assert overlap.instances(0.9 * mask, mask).truths.tolist() == [1]


def _random(seed: int, images: int = 30) -> overlap.Instances:
    rng = np.random.default_rng(seed)
    truth = fields(images, rng, 24) > 1.2
    noisy = np.clip(0.5 + 0.35 * np.where(truth, 1, -1) + 0.18 * fields(images, rng, 24, 1.5), 0, 1)
    return overlap.instances(noisy, truth)


def test_weights_are_repetitions_of_images() -> None:
    found = _random(1)
    rng = np.random.default_rng(2)
    times = rng.integers(0, 4, (5, 30))
    weighted = overlap.average_precision(found, times.astype(float))
    assert np.ptp(weighted[0]) > 0.01
    for row, counts in enumerate(times):
        copies = np.repeat(np.arange(30), counts)
        own = [np.flatnonzero(found.image == k) for k in copies]
        at = np.concatenate(own)
        image = np.repeat(np.arange(len(copies)), [len(one) for one in own])
        again = overlap.Instances(image, found.score[at], found.hit[:, at], found.truths[copies])
        assert overlap.average_precision(again)[:, 0] == pytest.approx(weighted[:, row], abs=1e-9)


def test_resamples_do_not_depend_on_how_many_are_held_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    found, weights = _random(3), np.random.default_rng(4).integers(0, 3, (40, 30)).astype(float)
    whole = overlap.average_precision(found, weights)
    monkeypatch.setattr(overlap, "CELLS", 100)
    assert overlap.average_precision(found, weights) == pytest.approx(whole, abs=1e-12)


def test_average_precision_is_that_of_monai() -> None:
    """MONAI knows boxes only; so instances that are their own boxes."""
    from monai.apps.detection.metrics.coco import COCOMetric
    from monai.apps.detection.metrics.matching import matching_batch
    from monai.data.box_utils import box_iou

    rng = np.random.default_rng(5)
    probability, truth = np.zeros((2, 40, 64, 64))
    boxes: dict[str, list[np.ndarray]] = {"predicted": [], "true": []}
    scores = []
    for k in range(40):
        cells = rng.permutation(9)[: rng.integers(0, 6)]
        predicted, true, own = [], [], []
        for cell in cells:
            y, x = 21 * (cell // 3) + 1, 21 * (cell % 3) + 1
            h, w = rng.integers(8, 13, 2)
            dy, dx = rng.integers(0, 2, 2)
            kind = rng.random()
            if kind < 0.9:
                truth[k, y : y + h, x : x + w] = 1
                true.append([y, x, y + h, x + w])
            if kind > 0.1:
                own.append(rng.uniform(0.55, 1))
                probability[k, y + dy : y + dy + h, x + dx : x + dx + w] = own[-1]
                predicted.append([y + dy, x + dx, y + dy + h, x + dx + w])
        boxes["predicted"].append(np.array(predicted, float).reshape(-1, 4))
        boxes["true"].append(np.array(true, float).reshape(-1, 4))
        scores.append(np.array(own))
    metric = COCOMetric(["finding"], iou_list=(0.5,), iou_range=(0.5, 0.95, 0.05), max_detection=(100,), verbose=False)
    matched = matching_batch(
        box_iou, metric.iou_thresholds, boxes["predicted"], [np.zeros(len(s), int) for s in scores], scores,
        boxes["true"], [np.zeros(len(b), int) for b in boxes["true"]],
    )  # fmt: skip
    theirs = metric(matched)[0]
    ours = overlap.average_precision(overlap.instances(probability, truth > 0))[:, 0]
    assert 0.2 < ours.mean() < 0.8
    assert ours.mean() == pytest.approx(theirs["mAP_IoU_0.50_0.95_0.05_MaxDet_100"], abs=0.003)
    assert ours[0] == pytest.approx(theirs["AP_IoU_0.50_MaxDet_100"], abs=0.003)


# --- the segmenter


def discs(count: int, seed: int, prefix: str, each: int = 1) -> tuple[Cohort, np.ndarray]:
    """Class b has a bright disc somewhere, and its mask; class a has none."""
    rng = np.random.default_rng(seed)
    truth = np.arange(count) % 2
    y, x = np.mgrid[:SIDE, :SIDE]
    cy, cx = rng.uniform(7, SIDE - 7, (2, count, 1, 1))
    radius = rng.uniform(3.5, 5.5, (count, 1, 1))
    masks = ((y - cy) ** 2 + (x - cx) ** 2 < radius**2) & (truth == 1)[:, None, None]
    grey = 0.4 + 0.06 * fields(count, rng, SIDE, 4) + 0.25 * masks + rng.normal(0, 0.03, masks.shape)
    names = np.array([f"{prefix}{k // (2 * each)}{'ab'[k % 2]}" for k in range(count)])
    return Cohort(depth(grey), names, np.array(["a", "b"])[truth]), masks


def test_a_training_is_its_seed_and_any_side_is_allowed() -> None:
    cohort, masks = discs(40, 1, "t")
    images = cohort.grey[:, :, :30]
    made = []
    for seed in (3, 3, 4):
        network = segmenter.train(images, masks[:, :, :30], np.ones((1, 40)), 3, seed)
        made.append(segmenter.probabilities(network, images[:5]))
    assert made[0].shape == (5, SIDE, 30)
    assert ((made[0] >= 0) & (made[0] <= 1)).all()
    assert np.array_equal(made[0], made[1])
    assert not np.allclose(made[0], made[2], atol=1e-3)


def test_it_is_small_and_learns_nothing_from_images_of_no_odds() -> None:
    """Half of the images carry inverted masks; where their odds are 0, the discs are found all the same."""
    cohort, masks = discs(120, 2, "t")
    wrong = np.arange(120) >= 60
    given = np.where(wrong[:, None, None], ~masks, masks)
    network = segmenter.train(cohort.grey, given, (~wrong)[None].astype(float), 60, 0)
    assert sum(p.numel() for p in network.parameters()) < 300_000
    probability = segmenter.probabilities(network, cohort.grey[wrong])
    assert np.nanmean(overlap.dice(probability > 0.5, masks[wrong])[1::2]) > 0.7
    assert (probability[::2] > 0.5).mean() < 0.02  # and on images without any it draws nothing


def test_the_phases_of_a_training_follow_one_another() -> None:
    roles, odds = segmentation._drawn("pretrained", 4, 2)
    assert roles == ("train", "synthetic")
    assert (odds > 0).tolist() == [[False] * 4 + [True] * 2, [True] * 4 + [False] * 2]
    _, mixed = segmentation._drawn("mixed", 4, 2)
    assert mixed[0, :4].sum() == pytest.approx(mixed[0, 4:].sum())


def test_misplaced_masks_stay_in_their_class_and_leave_their_image() -> None:
    labels = np.repeat(["a", "b", "c"], [5, 4, 3])
    masks = np.zeros((12, 3, 4), bool)
    for k in range(9):  # class c has none
        masks[k].flat[k] = True
    moved = segmentation._misplaced(masks, labels, 1)
    assert not (moved & masks).any()
    for label in "abc":
        own = labels == label
        assert np.array_equal(moved[own].sum(0), masks[own].sum(0))
        assert np.array_equal(moved[own].any((1, 2)), masks[own].any((1, 2)))


# --- the measure


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Context]:
    with workplace(tmp_path_factory.mktemp("segmentation")) as made:
        yield made


Given = dict[str, tuple[Cohort, np.ndarray | None]]


def _examination(context: Context, given: Given, options: Any, seed: int) -> Examination:
    exam = examination(context, {role: cohort for role, (cohort, _) in given.items()}, seed, options)
    sets = dict(exam.sets)
    for role, (_, masks) in given.items():
        if masks is None:
            continue
        block = context.store.put_arrays(masks=masks.astype(np.uint8))
        columns = {"mask_block": [block if mask.any() else None for mask in masks], "mask_row": range(len(masks))}
        sets[role] = type(sets[role])(context.store, exam[role].table.with_columns(**pl.DataFrame(columns).to_dict()))
    return Examination(sets, exam.context)


def measure(context: Context, given: Given, seed: int = 7, **changes: Any) -> dict[str, Finding]:
    chosen = {**SMALL["segmentation"], **changes}
    options = examining.options_of("segmentation", POLICY, MARGIN, chosen)
    return by_key(segmentation.measure(_examination(context, given, options, seed), options))


def judged(found: dict[str, Finding]) -> dict[str, Evidence]:
    return {key: judge(finding, POLICY) for key, finding in found.items()}


@pytest.fixture(scope="module")
def given() -> Given:
    return {"train": discs(120, 1, "t"), "synthetic": discs(120, 2, "s"), "test": discs(120, 3, "v")}


@pytest.fixture(scope="module")
def faithful(context: Context, given: Given) -> dict[str, Evidence]:
    """The synthetic set is other images of the real kind."""
    return judged(measure(context, given))


@pytest.fixture(scope="module")
def wrong(context: Context, given: Given) -> dict[str, Evidence]:
    """The masks of the synthetic set belong to other images of it."""
    cohort, masks = given["synthetic"]
    assert masks is not None
    moved = segmentation._misplaced(masks, cohort.labels, 9)
    return judged(measure(context, given | {"synthetic": (cohort, moved)}, seed=8, seeds=1, arms=("real", "synthetic")))


def _value(evidence: Finding) -> float:
    assert evidence.value is not None
    return evidence.value


def _arms(evidence: Finding) -> dict[str, dict[str, Any]]:
    return evidence.details["arms"]  # type: ignore[return-value]


def test_other_images_of_the_real_kind_lose_nothing(faithful: dict[str, Evidence]) -> None:
    for loss in faithful.values():
        arms = _arms(loss)
        assert arms["real"]["mean"] > 0.35, loss.key
        low, high = loss.details["two_sided"]  # type: ignore[misc]
        assert low < 0 < high or abs(_value(loss)) < 0.02
        assert loss.interval is not None
        assert loss.interval.sides == 1
        assert _value(loss) <= loss.interval.high
        assert _value(loss) == pytest.approx(arms["real"]["mean"] - arms["synthetic"]["mean"])
    assert _arms(faithful["segmentation.dice_loss"])["real"]["mean"] > 0.7


def test_masks_that_lie_elsewhere_lose(faithful: dict[str, Evidence], wrong: dict[str, Evidence]) -> None:
    """As control of a good set it fires; as the set itself it is shown to lose."""
    for key in faithful:
        control = faithful[key].control
        assert control is not None
        assert control.fired, control.observed
        loss = wrong[key]
        assert _value(loss) > 0.2
        assert loss.details["two_sided"][0] > 0  # type: ignore[index]
        assert loss.details["n_needed"] is None
        assert loss.verdict is Verdict.CONDITIONAL
        assert loss.condition


def test_a_task_that_cannot_tell_good_masks_from_bad_is_invalid(context: Context, given: Given) -> None:
    """After one step no network can draw anything: real training is as bad as misplaced masks."""
    for finding in measure(context, given, steps=1, seeds=1, arms=("real", "synthetic")).values():
        assert finding.control is not None
        assert not finding.control.fired
        assert judge(finding, POLICY).verdict is Verdict.INVALID


def test_each_quantity_has_a_rule_whose_fields_are_there(faithful: dict[str, Evidence], context: Context) -> None:
    for loss in faithful.values():
        assert loss.key in POLICY.rules
        assert "missing" not in loss.because
        assert context.store.put_json(loss.model_dump(mode="json"))  # refuses what is no number


def test_the_arms_and_sizes_are_told(faithful: dict[str, Evidence], wrong: dict[str, Evidence]) -> None:
    for loss in faithful.values():
        assert list(_arms(loss)) == ["real", "synthetic", "mixed", "pretrained", "misplaced"]
        for arm in _arms(loss).values():
            assert arm["low"] <= arm["mean"] <= arm["high"]
            assert arm["mean"] == pytest.approx(np.mean(arm["seeds"]))
            assert len(arm["seeds"]) == loss.n["seeds"] == 2
        assert _arms(loss)["real"]["gain"] == 0
        assert _arms(loss)["mixed"]["gain"] == pytest.approx(_arms(loss)["mixed"]["mean"] - _arms(loss)["real"]["mean"])
        assert loss.n["test subjects with mask"] == 60
        assert loss.n["test images"] == 120
        assert set(loss.inputs) == {r + s for s in ("train", "synthetic", "test") for r in ("", "masks of ")}
    assert list(_arms(wrong["segmentation.dice_loss"])) == ["real", "synthetic", "misplaced"]
    at = faithful["segmentation.map_loss"].details["at"]
    assert at["real"]["ap10"] >= at["real"]["ap50"] >= _arms(faithful["segmentation.map_loss"])["real"]["mean"]  # type: ignore[index]
    false = faithful["segmentation.dice_loss"].details["without_mask"]
    assert 0 <= false["real"]["area"] <= false["real"]["images"] <= 1  # type: ignore[index]


def test_dice_is_that_of_images_with_a_mask() -> None:
    """Whatever is drawn on a normal image is told beside it."""
    one = {
        "dice": np.array([0.5, 0.0, 0.9, np.nan]),
        "truths": np.array([1, 0, 2, 0]),
        "area": np.array([1, 0.2, 1, 0]),
    }
    rng = np.random.default_rng(0)
    spread = segmentation._dice([one], np.array([[1.0, 5, 3, 7], [2, 0, 0, 2]]), rng)
    assert spread.seeds == pytest.approx([0.7])
    assert spread.boot == pytest.approx([(0.5 + 3 * 0.9) / 4, 0.5])
    assert segmentation._false([one], one["truths"] == 0) == {"area": 0.1, "images": 0.5}
    assert segmentation._false([one], np.zeros(4, bool)) is None


def _constructed(patch: pytest.MonkeyPatch, each: int = 1) -> None:
    """Answer with overlaps of ours instead of training; the same for `each` images in turn."""

    def answer(store: Any, task: dict[str, Any]) -> str:
        good = {"real": 0.9, "misplaced": 0.1}.get(task["arm"], 0.8)
        people = len(task["sets"]["test"]["row"]) // each
        rng = np.random.default_rng(5)
        dice = np.repeat(np.clip(good + 0.2 * rng.normal(size=people), 0, 1), each)
        hit = np.repeat(rng.random((11, people)) < good, each, axis=1)
        number = np.arange(people * each)
        return str(store.put_arrays(
            dice=dice, area=np.zeros(len(dice)), image=number, score=np.repeat(rng.random(people), each), hit=hit,
            truths=np.ones(len(dice), int),
        ))  # fmt: skip

    patch.setattr(segmentation, "_train_and_score", answer)


def test_images_of_one_subject_do_not_narrow_the_interval(context: Context, given: Given) -> None:
    cohort, masks = given["test"]
    assert masks is not None
    ill = cohort[1::2]
    one = Cohort(ill.pixels[:20], np.array([f"v{k}" for k in range(20)]), ill.labels[:20])
    three = Cohort(ill.pixels, np.repeat(one.subjects, 3), ill.labels)
    ends = []
    for test, each in ((one, 1), (three, 3)):
        with pytest.MonkeyPatch.context() as patch:
            _constructed(patch, each)
            changed = given | {"test": (test, masks[1::2][: len(test.pixels)])}
            found = measure(context, changed, seed=20 + each, draws=1500, seeds=1)
            ends.append([loss.details["two_sided"] for loss in found.values()])
    assert np.ptp(ends[0], axis=1).min() > 0.02
    assert np.ptp(ends[1], axis=1) == pytest.approx(np.ptp(ends[0], axis=1), rel=0.1)


def test_the_interval_of_a_mean_is_the_textbooks(
    context: Context, given: Given, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dice is a mean: its resamples deviate by sd / sqrt(n)."""
    _constructed(monkeypatch)
    cohort, masks = given["test"]
    assert masks is not None
    found = measure(context, given | {"test": (cohort[1::2], masks[1::2])}, seed=30, draws=3000, seeds=1)
    rng = np.random.default_rng(5)
    dice = np.clip(0.8 + 0.2 * rng.normal(size=60), 0, 1)
    arm = _arms(found["segmentation.dice_loss"])["synthetic"]
    assert arm["mean"] == pytest.approx(dice.mean())
    assert arm["high"] - arm["low"] == pytest.approx(2 * 1.96 * dice.std() / np.sqrt(60), rel=0.08)


def _without(given: Given, role: str, keep: int = 0) -> Given:
    """The same images with masks for the first `keep` ill ones only."""
    cohort, masks = given[role]
    assert masks is not None
    rank = np.cumsum(masks.any((1, 2)))
    return given | {role: (cohort, masks & (rank <= keep)[:, None, None] if keep else None)}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda g: {role: g[role] for role in ("train", "synthetic")}, "No real test images"),
        (lambda g: _without(g, "train"), "0 of the training images have a mask; at least 2"),
        (lambda g: _without(g, "synthetic"), "0 of the synthetic images have a mask; at least 2"),
        (lambda g: _without(g, "synthetic", 1), "1 of the synthetic images have a mask; at least 2"),
        (lambda g: _without(g, "test"), "0 subjects with a mask; at least 20"),
        (lambda g: _without(g, "test", 19), "19 subjects with a mask; at least 20"),
        (lambda g: g | {"test": discs(120, 3, "v", each=4)}, "15 subjects with a mask; at least 20"),
    ],
)
def test_what_cannot_be_measured_is_not_run_with_its_reason(
    context: Context, given: Given, change: Any, reason: str
) -> None:
    found = measure(context, change(given))
    assert set(found) == {f"segmentation.{quantity}" for quantity in segmentation.QUANTITIES}
    for finding in found.values():
        assert finding.value is None
        assert finding.interval is None
        assert reason in finding.reason
        assert judge(finding, POLICY).verdict is Verdict.NOT_RUN


def test_the_policy_fills_the_margins_and_the_loss_needs_both_arms() -> None:
    options = examining.options_of("segmentation", POLICY, MARGIN, {})
    assert options.margin_dice == POLICY.margins["dice"].value
    assert options.margin_map == POLICY.margins["map"].value == 0.059
    with pytest.raises(ValidationError, match="'real' is missing"):
        examining.options_of("segmentation", POLICY, MARGIN, {"arms": ["synthetic", "mixed"]})
