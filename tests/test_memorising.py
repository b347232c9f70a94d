"""What a generator has memorised: near-duplicates it makes, what it knows of images, and looks at its training."""

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from chambit.core.evidence import Verdict
from chambit.core.steps import Context
from chambit.core.store import Store
from chambit.generate.codec.dct import BlockDCT
from chambit.generate.items import Examples, Form
from chambit.generate.objectives import flow
from chambit.generate.stages import flow as stage
from chambit.generate.training import checkpoint, looking
from chambit.generate.training.looking import Look
from chambit.images import imageset
from chambit.images.imageset import ImageSet
from chambit.measure.interval import auroc
from chambit.measure.memorisation import HELD_OUT, TRAIN, Neighbours
from chambit.pipeline import watching
from chambit.report.curve import label_curve, memorisation_curve
from chambit.report.dossier import render
from chambit.review.verdict import judge
from examinations import POLICY
from test_dossier import bundle, seen
from test_generate import SMALL, StoppedError, _cohort, _context
from tinystudy import evidence, pictures, step_outputs

MEMBERS = 16
LEARNT = stage.Options(
    steps=150, batch=16, width=24, block=4, keep=4, rate=6e-3, drop=0, checkpoint=50, heun=8, look=50, looked=16
)
IMAGES = pictures(64, 3, 16)
GREY = IMAGES.astype(np.float32) / 255
LABELS = [k % 2 for k in range(64)]
IS_MEMBER = np.arange(64) < MEMBERS


def _set(store: Store, pixels: np.ndarray) -> ImageSet:
    """Images uint8 (N, H, W), each of a subject of its own, labels a and b in turn."""
    block, digests = imageset.put_block(store, pixels)
    names = [f"{k:02d}" for k in range(len(pixels))]
    columns = {"id": names, "sha256": digests, "block": [block] * len(names), "row": range(len(names))}
    return ImageSet(
        store, pl.DataFrame(columns | {"subject": names, "label": [("a", "b")[k % 2] for k in range(len(names))]})
    )


def _examples(images: ImageSet, masks: np.ndarray | None, classes: list[str]) -> Examples:
    return Examples(images, Form(*images.shape), tuple(classes), masks)


def _look(step: int, samples: np.ndarray) -> Look:
    """A look at samples of both classes in turn, by a network that knows nothing."""
    return Look(step, samples, np.arange(len(samples)) % 2, lambda images, labels: np.zeros(len(images)))


Learner = tuple[Any, str]


@pytest.fixture(scope="module")
def learnt(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Learner]:
    """A stage that knows 16 small images by heart."""
    context = _context(tmp_path_factory.mktemp("learnt"))
    yield context, stage.train(context, _examples(_set(context.store, IMAGES[:MEMBERS]), None, ["a", "b"]), LEARNT)
    context.ledger.close()


@pytest.fixture(scope="module")
def unlearnt(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Learner]:
    """The same after one step."""
    context = _context(tmp_path_factory.mktemp("unlearnt"))
    options = LEARNT.model_copy(update={"steps": 1})
    yield context, stage.train(context, _examples(_set(context.store, IMAGES[:MEMBERS]), None, ["a", "b"]), options)
    context.ledger.close()


# --- near-duplicates


def _vary(learner: Learner, strength: float, rows: slice = slice(0, 64), first: int = 0) -> np.ndarray:
    context, weights = learner
    seeds = [first + k for k in range(64)][rows]
    return stage.vary(context.store, weights, GREY[rows], LABELS[rows], None, strength, seeds, LEARNT)


def test_strength_0_is_the_round_trip_of_the_codec(learnt: Learner) -> None:
    codec = BlockDCT.fit(GREY[:MEMBERS], size=4, keep=4)
    made = _vary(learnt, 0)
    assert (made.dtype, made.shape) == (np.float32, GREY.shape)
    assert np.allclose(made, codec.decode(codec.encode(GREY)), atol=1e-6)
    assert np.array_equal(made, _vary(learnt, 0, first=1000))  # no noise at all


def test_the_further_to_noise_the_more_is_forgotten(learnt: Learner) -> None:
    away = [float(np.abs(_vary(learnt, strength) - GREY).mean()) for strength in (0, 0.1, 0.2, 0.4, 0.7, 1)]
    assert away == sorted(away)
    assert away[1] < 0.02
    unrelated = float(np.abs(GREY[:32] - GREY[32:]).mean())
    assert away[-1] > 0.8 * unrelated


def test_at_strength_1_nothing_of_the_image_is_left(learnt: Learner) -> None:
    context, weights = learnt
    labels, seeds = [0] * 8, list(range(8))
    one, other = (
        stage.vary(context.store, weights, GREY[k : k + 8], labels, None, 1.0, seeds, LEARNT) for k in (0, 32)
    )
    assert np.array_equal(one, other)
    drawn = stage.sample(context.store, weights, {"label": np.array(labels)}, seeds, LEARNT)["image"]
    assert np.array_equal(one, drawn)  # it is a sample


def test_a_near_duplicate_depends_on_its_own_seed_only(learnt: Learner) -> None:
    whole = _vary(learnt, 0.4)
    assert np.array_equal(whole, _vary(learnt, 0.4))
    assert not np.array_equal(whole, _vary(learnt, 0.4, first=1000))
    alone = _vary(learnt, 0.4, slice(5, 6))
    assert np.abs(alone[0] - whole[5]).max() <= 1 / 255


def test_the_mask_is_where_the_finding_comes_back(tmp_path: Path) -> None:
    context = _context(tmp_path)
    images, masks = _cohort(context.store, True)
    weights = stage.train(context, _examples(images, masks, ["ill", "normal"]), SMALL)
    given = (context.store, weights, images.grey()[:4], [0, 1, 0, 1])
    assert masks is not None
    with_masks = stage.vary(*given, masks[:4], 0.5, [1, 2, 3, 4], SMALL)
    without = stage.vary(*given, None, 0.5, [1, 2, 3, 4], SMALL)
    empty = stage.vary(*given, np.zeros_like(masks[:4]), 0.5, [1, 2, 3, 4], SMALL)
    assert np.array_equal(without, empty)
    assert not np.array_equal(without, with_masks)
    assert set(stage.probe(*given, masks[:4], 7, SMALL)) == {"denoising", "sima"}
    context.ledger.close()


def test_a_shorter_way_has_the_same_end() -> None:
    """The right velocity for white data keeps x / s: from any time on, the solver ends where theory says."""
    x = torch.randn(300, 1, 3, 3, generator=torch.Generator().manual_seed(0))
    for start in (0.2, 0.5, 1.0):
        s = ((1 - start) ** 2 + start**2) ** 0.5
        end = flow.heun(lambda x, t: torch.zeros_like(x), x, 32, start)
        assert torch.allclose(end, x / s, atol=0.01)


# --- what it knows of an image


def _probe(learner: Learner, rows: slice = slice(0, 64), seed: int = 5) -> dict[str, np.ndarray]:
    context, weights = learner
    return stage.probe(context.store, weights, GREY[rows], LABELS[rows], None, seed, LEARNT)


def test_members_are_known_to_who_learnt_them_by_heart(learnt: Learner) -> None:
    scores = _probe(learnt)
    assert set(scores) == {"denoising", "sima"}
    for score in scores.values():
        assert (score.dtype, score.shape) == (np.float64, (64,))
        assert auroc(score, IS_MEMBER) > 0.98


def test_members_are_not_known_to_who_learnt_nothing(unlearnt: Learner) -> None:
    for score in _probe(unlearnt).values():
        assert 0.3 < auroc(score, IS_MEMBER) < 0.7  # 16 against 48: a standard error of 0.08


def test_a_score_does_not_depend_on_the_others(learnt: Learner) -> None:
    whole, again, part = _probe(learnt), _probe(learnt), _probe(learnt, slice(9, 14))
    for name, score in whole.items():
        assert np.array_equal(score, again[name])
        assert part[name] == pytest.approx(score[9:14], rel=0.01)
    assert not np.array_equal(_probe(learnt, seed=6)["denoising"], whole["denoising"])


def test_the_denoising_error_is_the_loss_image_by_image() -> None:
    x0 = torch.randn(5, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    noise, t = torch.randn(2, 4, 4, generator=torch.Generator().manual_seed(1)), torch.full((5,), 0.4)
    weight = torch.tensor([0.5, 1.5])[:, None, None]

    def network(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return 0.3 * x

    got = flow.denoising_error(network, x0, noise, t, weight)
    x = 0.6 * x0 + 0.4 * noise
    error = flow.velocity(network, x, t) - (noise - x0)
    assert torch.allclose(got, (error.square() * (0.6**2 + 0.4**2) * weight).mean((1, 2, 3)), atol=1e-5)


def test_who_knows_one_image_sees_no_noise_in_it() -> None:
    # data that is one constant image c: v = (x - c) / t, so at (1 - t) c the noise is 0, and elsewhere it is not
    c = 0.7

    def network(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        at = t[:, None, None, None]
        s = ((1 - at) ** 2 + at**2).sqrt()
        return s * (x * s - c) / at - (2 * at - 1) / s * (x * s)

    x0 = torch.stack([torch.full((1, 2, 2), c), torch.full((1, 2, 2), c + 0.5)])
    # for x0 the noise seen is (1 - t) (x0 - c) / t
    assert flow.predicted_noise(network, x0, torch.full((2,), 0.5)) == pytest.approx([0, 0.25], abs=1e-5)


# --- the steps of a study


def test_a_study_has_near_duplicates_and_probes(tiny: Path) -> None:
    store = Store(tiny / "once" / "work")
    outputs = {name: made for name, made in step_outputs(tiny / "once").values()}
    train = ImageSet.load(store, outputs["refine"]["train"])
    at = {name: k for k, name in enumerate(train.table["id"])}
    near = outputs["near duplicates"]
    assert list(near) == ["codec", "renoise10", "renoise20", "renoise30", "renoise40"]
    away = {}
    for family, key in near.items():
        planted = ImageSet.load(store, key)
        assert len(planted) == 3  # the policy's copies.plants
        assert {"id", "sha256", "block", "row", "subject", "label", "source"} <= set(planted.table.columns)
        sources = train.take(np.array([at[name] for name in planted.table["source"]]))
        assert sources.subjects.tolist() == planted.subjects.tolist()
        assert len(set(sources.subjects)) == 3
        assert planted.grey().shape == sources.grey().shape  # refined as the set is
        away[family] = np.abs(planted.grey() - sources.grey()).mean()
    assert away["codec"] < 0.05
    assert away["renoise10"] < away["renoise40"]


def test_probes_ask_about_every_real_image_but_the_test_ones(tiny: Path) -> None:
    store = Store(tiny / "once" / "work")
    outputs = {name: made for name, made in step_outputs(tiny / "once").values()}
    assert set(outputs["probes"]) == {"denoising", "sima"}
    for key in outputs["probes"].values():
        table = store.get_table(key)
        assert table.columns == ["id", "role", "score"]
        assert table["score"].dtype == pl.Float64
        assert table["score"].is_finite().all()
        for role in ("train", "holdout", "auxiliary"):
            ids = store.get_table(outputs["split"][role])["id"]
            assert sorted(table.filter(pl.col("role") == role)["id"]) == sorted(ids)


def test_masks_are_given_for_all_parts_or_for_none(tiny: Path) -> None:
    from chambit.pipeline import masking

    store = Store(tiny / "once" / "work")
    outputs = {name: made for name, made in step_outputs(tiny / "once").values()}
    for role in masking.PARTS:
        masks = masking.load(store, outputs["masks"][role])
        table = store.get_table(outputs["split"][role])
        assert masks is not None
        assert masks.any((1, 2)).tolist() == [bool(name) for name in table["mask"]]


def test_masks_are_refined_with_their_images(tiny: Path) -> None:
    from chambit.images.imageset import ImageSet
    from chambit.pipeline import masking

    store = Store(tiny / "once" / "work")
    outputs = {name: made for name, made in step_outputs(tiny / "once").values()}
    for role in masking.PARTS:
        whole, refined = masking.load(store, outputs["masks"][role]), ImageSet.load(store, outputs["refine"][role])
        masks = refined.masks()
        assert whole is not None
        assert masks is not None
        assert masks.shape == refined.grey().shape
        # the tiny study cuts the lower edge away: what is left is the upper part of every mask
        assert masks.shape[1] < whole.shape[1]
        assert np.array_equal(masks, whole[:, : masks.shape[1]])
    assert ImageSet.load(store, outputs["refine"]["synthetic"]).masks() is not None


def test_a_stage_that_answers_nothing_has_no_such_steps(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from chambit.pipeline import probing
    from chambit.pipeline import study as pipeline

    ready = pipeline.read(tiny / "study.yaml")
    assert probing.extras(ready.study, ready.policy) == {"planted": "near duplicates", "probes": "probes"}
    monkeypatch.delattr(stage, "vary")
    monkeypatch.delattr(stage, "probe")
    assert probing.planned(ready.study, ready.policy) == []
    assert probing.extras(ready.study, ready.policy) == {}
    names = [entry.name for entry in pipeline.planned(ready, tiny / "once")]
    assert "refine" in names
    assert not {"near duplicates", "probes"} & set(names)


# --- looks at a running training

Curve = list[tuple[int, np.ndarray]]


def _watched(
    folder: Path, answer: Callable[[Look], int | None], options: stage.Options = LEARNT
) -> tuple[Context, str]:
    context = _context(folder)
    images = _set(context.store, IMAGES[:MEMBERS])
    try:
        return context, stage.train(context, _examples(images, None, ["a", "b"]), options, watch=answer)
    finally:
        context.ledger.close()


SHORT = LEARNT.model_copy(update={"steps": 30, "look": 10, "checkpoint": 12})


def test_looks_do_not_change_the_training(tmp_path: Path) -> None:
    seen: Curve = []

    def watch(look: Look) -> None:
        torch.rand(3)  # whatever the watcher does with the global stream
        seen.append((look.step, look.samples))
        assert look.known is not None
        assert look.known(GREY[:20], LABELS[:20]).shape == (20,)

    context = _context(tmp_path / "plain")
    plain = stage.train(context, _examples(_set(context.store, IMAGES[:MEMBERS]), None, ["a", "b"]), SHORT)
    context.ledger.close()
    _, weights = _watched(tmp_path / "watched", watch, SHORT)
    assert weights == plain
    assert [step for step, _ in seen] == [10, 20, 30]
    for _, samples in seen:
        assert (samples.dtype, samples.shape) == (np.float32, (SHORT.looked, 16, 16))
        assert 0 <= samples.min() <= samples.max() <= 1
    assert not np.array_equal(seen[0][1], seen[1][1])


def test_a_look_comes_at_the_end_though_the_steps_do_not_fit(tmp_path: Path) -> None:
    steps: list[int] = []
    short = LEARNT.model_copy(update={"steps": 10, "look": 4})
    _watched(tmp_path / "a", lambda look: steps.append(look.step), short)
    assert steps == [4, 8, 10]
    steps.clear()
    _watched(tmp_path / "b", lambda look: steps.append(look.step), short.model_copy(update={"look": 0}))
    assert steps == []


def _weights(context: Context, key: str) -> list[np.ndarray]:
    return [value for name, value in sorted(context.store.get_arrays(key).items()) if name.startswith("network.")]


def test_a_stop_uses_the_weights_that_were_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    averages: dict[int, dict[str, np.ndarray]] = {}
    at = looking.Looking.at

    def spied(self: Any, step: int, average: Any) -> int | None:
        names = [name for name, _ in self.model.network.named_parameters()]
        averages[step] = {n: a.numpy().copy() for n, a in zip(names, average, strict=True)}
        return at(self, step, average)

    monkeypatch.setattr(looking.Looking, "at", spied)
    options = LEARNT.model_copy(update={"steps": 40, "look": 10})
    context, key = _watched(tmp_path, lambda look: 10 if look.step == 30 else None, options)
    assert list(averages) == [10, 20, 30]  # and no look after
    arrays = context.store.get_arrays(key)
    for name, value in averages[10].items():
        assert np.array_equal(arrays[f"network.{name}"], value)
        assert name.startswith("frequencies") or not np.array_equal(averages[30][name], value)


# --- the statistic


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Context, ImageSet, ImageSet, np.ndarray]]:
    """Training images, auxiliary ones (both as sets) and fresh ones (as pixels), all of one kind, 16 pixels."""
    context = _context(tmp_path_factory.mktemp("crowd"))
    pixels = pictures(MEMBERS + 120 + 100, 3, 16)
    train, auxiliary = _set(context.store, pixels[:MEMBERS]), _set(context.store, pixels[MEMBERS : MEMBERS + 120])
    yield context, train, auxiliary, pixels[MEMBERS + 120 :].astype(np.float32) / 255
    context.ledger.close()


Crowd = tuple[Context, ImageSet, ImageSet, np.ndarray]


def test_equal_numbers_are_equal_and_the_rest_is_there(crowd: Crowd) -> None:
    _, train, auxiliary, _ = crowd
    for many, few in ((auxiliary, train), (train, auxiliary)):
        if len(few) < 100:
            near = Neighbours.of(few, many, 1)
            assert near.sizes == (60, MEMBERS)
            assert near.null == MEMBERS / (MEMBERS + 60)
        else:
            near = Neighbours.of(few, few, 1)
            assert near.sizes == (60, 120)
        least = min(near.sizes)
        assert [len(near.equal(side)) for side in (HELD_OUT, TRAIN)] == [least, least]
        assert (near.equal(TRAIN) >= near.sizes[HELD_OUT]).all()
        assert (near.equal(HELD_OUT) < near.sizes[HELD_OUT]).all()
        assert len(near.pictures) == sum(near.sizes)


def test_copies_are_nearest_to_training_and_fresh_images_to_anyone(crowd: Crowd) -> None:
    _, train, auxiliary, fresh = crowd
    near = Neighbours.of(train, auxiliary, 1)
    copied = near.look(np.clip(train.grey() + 0.02, 0, 1))
    assert (copied.share, copied.high, copied.n) == (1, 1, MEMBERS)
    assert copied.low > near.limit(0.2)
    assert copied.difference_low > 0
    assert near.control(8, 3).share == 1
    seen = near.look(near.pictures[near.equal(HELD_OUT)])
    assert seen.share < 0.1
    assert seen.difference_high < 0
    honest = near.look(fresh)
    assert honest.low <= near.null <= honest.high
    assert honest.low < near.limit(0.2)
    assert honest.difference_low < 0 < honest.difference_high


def test_one_image_many_times_is_one_subject(crowd: Crowd) -> None:
    """A collapsed generator is no evidence of memory: the interval says so."""
    _, train, auxiliary, _ = crowd
    near = Neighbours.of(train, auxiliary, 1)
    look = near.look(np.repeat(train.grey()[:1], 30, axis=0))
    assert (look.n, look.share) == (1, 1)
    assert look.low < near.null


def test_the_null_share_is_what_chance_gives() -> None:
    """Over many splits of one crowd into training and held-out, the mean share is the null."""
    pixels = pictures(200, 9, 16)
    from examinations import workplace

    with TemporaryDirectory() as folder, workplace(Path(folder)) as context:
        whole = _set(context.store, pixels)
        shares, nulls, covered = [], [], 0
        for seed in range(6):
            order = np.random.default_rng(seed).permutation(200)
            near = Neighbours.of(whole.take(order[:60]), whole.take(order[60:140]), seed)
            look = near.look(whole.take(order[140:]).grey())
            shares.append(look.share)
            nulls.append(near.null)
            covered += look.low <= near.null <= look.high
    assert np.mean(shares) == pytest.approx(np.mean(nulls), abs=0.08)
    assert covered >= 5


# --- the rule, the curve, the finding


def _prepared(crowd: Crowd, folder: Path, **changes: Any) -> watching.Watch:
    context, train, auxiliary, _ = crowd
    settings = watching.Settings(**({"looks": 2, "excess": 0.1, "least": 50} | changes))
    context = dataclasses.replace(context, scratch=folder / "scratch")
    watch = watching.prepared(context, train, auxiliary, ["a", "b"], settings)
    assert isinstance(watch, watching.Watch)
    return watch


HEART = LEARNT.model_copy(update={"steps": 400, "rate": 1e-2, "gamma": 2.0, "look": 80, "looked": 24, "checkpoint": 40})


@pytest.fixture(scope="module")
def stopped(crowd: Crowd, tmp_path_factory: pytest.TempPathFactory) -> tuple[watching.Watch, str, list[str]]:
    """A training on 16 images that is stopped by the rule: watch, weights, notes."""
    folder = tmp_path_factory.mktemp("stopped")
    watch = _prepared(crowd, folder)
    notes: list[str] = []
    context = dataclasses.replace(_context(folder), tell=lambda event: notes.append(event.note))
    weights = stage.train(context, _examples(crowd[1], None, ["a", "b"]), HEART, watch=watch)
    context.ledger.close()
    return watch, weights, [note for note in notes if note]


def test_learning_by_heart_is_stopped(stopped: tuple[watching.Watch, str, list[str]]) -> None:
    watch, _, notes = stopped
    curve = watch.curve()
    steps = [look["step"] for look in curve]
    assert len(curve) >= 3
    assert steps[-1] < HEART.steps
    assert [look["low"] > watch.limit for look in curve][-3:] == [False, True, True]
    earlier = watching.used(curve, watch.limit, 2)
    assert earlier == steps[-3]
    assert any(f"stopped after {steps[-1]} steps; the weights of step {earlier}" in note for note in notes)
    assert set(curve[0]) == {
        "step", "share", "low", "high", "n", "difference", "difference_low", "difference_high", "samples",
        "loss_train", "loss_held_out",
    }  # fmt: skip
    assert curve[-1]["loss_train"] < curve[-1]["loss_held_out"]
    assert curve[-1]["difference_low"] > 0


def test_a_kill_changes_neither_weights_nor_curve(
    stopped: tuple[watching.Watch, str, list[str]], crowd: Crowd, tmp_path: Path
) -> None:
    """Killed after the first alarm, at a checkpoint between two looks: the stop is the same in another process."""
    watch, weights, _ = stopped
    last = watch.curve()[-1]["step"]
    keep = checkpoint.Checkpoint.keep

    def killed(self: Any, step: int) -> None:
        keep(self, step)
        if step == last - 40:
            raise StoppedError

    context = _context(tmp_path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint.Checkpoint, "keep", killed)
        with pytest.raises(StoppedError):
            stage.train(context, _examples(crowd[1], None, ["a", "b"]), HEART, watch=_prepared(crowd, tmp_path))
    again = _prepared(crowd, tmp_path)
    assert stage.train(context, _examples(crowd[1], None, ["a", "b"]), HEART, watch=again) == weights
    assert again.curve() == watch.curve()
    context.ledger.close()


def test_a_look_that_is_taken_again_takes_the_place_of_the_first(crowd: Crowd, tmp_path: Path) -> None:
    """A kill between a look and the next checkpoint: training goes on before the look and comes to it again."""
    watch, samples = _prepared(crowd, tmp_path), crowd[3][:12]
    for step in (10, 20, 30):
        watch(_look(step, samples))
    before = watch.curve()
    for step in (20, 30):
        _prepared(crowd, tmp_path)(_look(step, samples))
    assert watch.curve() == before
    assert [look["step"] for look in before] == [10, 20, 30]


def test_the_finding_tells_of_the_stop(
    stopped: tuple[watching.Watch, str, list[str]], crowd: Crowd, tmp_path: Path
) -> None:
    watch, _, _ = stopped
    context, train, auxiliary, _ = crowd
    keep = context.store
    outputs = {"watched": keep.put_json(watching.watched(context, watch)), "curve": keep.put_json(watch.curve())}
    split = {"train": keep.put_table(train.table), "auxiliary": keep.put_table(auxiliary.table)}
    (finding,) = watching.recorded(keep, {"train": outputs, "split": split})
    assert finding.key == "memorisation.share"
    curve = watch.curve()
    assert finding.details["stopped_at"] == curve[-1]["step"]
    (look,) = (look for look in curve if look["step"] == finding.details["used"])
    assert finding.value == look["share"]
    assert finding.interval is not None
    assert finding.interval.low == look["low"]
    assert finding.null == pytest.approx(16 / 76)
    assert finding.control is not None
    assert finding.control.fired
    assert finding.inputs == {"train": train.digest, "auxiliary": auxiliary.digest}
    judged = judge(finding, POLICY)
    assert judged.verdict is (Verdict.PASS if look["low"] <= watch.limit else Verdict.CONDITIONAL)
    # and it is drawn and told
    html = render(bundle(evidence=(judged,)))
    assert f"stopped at step {curve[-1]['step']}" in html
    assert "memory during training" in html
    assert "copying is noticed once about" in seen(html, "en")
    assert "학습을 멈추고" in seen(html, "ko")
    assert memorisation_curve(finding.details, finding.null).count("<circle") == len(curve) + 1  # and a ring


def test_too_few_auxiliary_subjects_are_told_with_the_number(crowd: Crowd) -> None:
    context, train, auxiliary, _ = crowd
    settings = watching.Settings(looks=2, excess=0.2, least=70)
    reason = watching.prepared(context, train, auxiliary, ["a", "b"], settings)
    assert isinstance(reason, str)
    assert "120 subjects" in reason
    assert "140" in reason
    keep = context.store
    split = {"train": keep.put_table(train.table), "auxiliary": keep.put_table(auxiliary.table)}
    outputs = {"watched": keep.put_json(watching.watched(context, reason)), "curve": keep.put_json([])}
    (finding,) = watching.recorded(keep, {"train": outputs, "split": split})
    assert (finding.value, finding.reason) == (None, reason)
    assert judge(finding, POLICY).verdict is Verdict.NOT_RUN


def test_a_stage_that_was_never_asked_to_look_is_not_run(crowd: Crowd, tmp_path: Path) -> None:
    watch = _prepared(crowd, tmp_path)
    assert "not to look" in watching.watched(crowd[0], watch)["reason"]


def test_labels_that_get_worse_stop_a_training_and_are_drawn(crowd: Crowd, tmp_path: Path) -> None:
    """The judge is trained on real images; samples of the other class than they are labelled lose its agreement."""
    watch = _prepared(crowd, tmp_path, judge=60, looks=3)  # the samples are known people: no alarm of memory yet
    assert watch.judge is not None
    train = crowd[1]
    pictures, labels = train.grey(), np.array([["a", "b"].index(label) for label in train.labels])
    quiet = None
    assert watch(Look(10, pictures, labels, quiet)) is None
    assert watch(Look(20, pictures, 1 - labels, quiet)) is None
    first, second = watch.curve()
    assert first["fidelity_low"] > second["fidelity_high"]
    assert "loss_train" not in first  # nothing was asked of a network that cannot say
    assert watching.decided([first, second], 1.0, 1) == (10, "labels")
    assert watching.decided([first, second], 1.0, 2) == (None, "")
    drawn = str(label_curve({"curve": [first, second], "used": 10}))
    assert drawn.count("whisker") >= 2
    assert label_curve({"curve": [{"step": 1, "share": 0.5, "low": 0.4, "high": 0.6}]}) == ""


def test_a_stage_without_watch_is_not_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    assert watching.settings_of(POLICY, stage) is not None

    class Plain:
        @staticmethod
        def train(context: Any, images: Any, masks: Any, classes: Any, options: Any) -> str:
            return ""

    assert watching.settings_of(POLICY, Plain) is None
    assert watching.recorded(None, {"train": {"weights": "x"}}) == []  # type: ignore[arg-type]


def test_the_study_has_a_curve_and_its_finding(tiny: Path) -> None:
    found = evidence(tiny / "once")["memorisation.share"]
    assert found["verdict"] in ("PASS", "CONDITIONAL")
    assert [look["step"] for look in found["details"]["curve"]] == [24]
    assert found["details"]["stopped_at"] is None
    assert found["n"]["samples"] == 128
    assert found["n"]["held-out subjects"] == 18
    assert found["control"]["fired"]


def test_nothing_that_decides_about_the_generator_sees_the_holdout(tiny: Path) -> None:
    from chambit.pipeline import study as pipeline

    ready = pipeline.read(tiny / "study.yaml")
    made = {name: outputs for name, outputs in step_outputs(tiny / "once").values()}
    (train,) = [entry for entry in pipeline.planned(ready, tiny / "once") if entry.name == "train"]
    given = set(train.build(made).inputs.values())
    assert made["split"]["auxiliary"] in given
    assert not {made["split"]["holdout"], made["split"]["test"], made["masks"]["holdout"]} & given
