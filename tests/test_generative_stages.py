"""Stages of the generative core: items of every form, kills, several processes, devices, plans, what they learn."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from chambit.core.errors import ChambitError, InputError
from chambit.core.steps import Context
from chambit.generate.items import Examples, Form
from chambit.generate.options import Diffusion
from chambit.generate.stages import ddpm, flow, gan
from chambit.generate.stages import edm as edm_stage
from chambit.generate.training import device, distributed, looking, planner, trained
from chambit.generate.training.conditioning import Told
from chambit.images import imageset
from chambit.images.imageset import ImageSet
from test_generate import StoppedError, _context

# --- stages: items of every form

TINY: dict[str, Any] = {
    "steps": 6,
    "batch": 4,
    "width": 16,
    "block": 4,
    "keep": 2,
    "checkpoint": 2,
    "look": 3,
    "looked": 8,
}
STAGES: dict[str, tuple[ModuleType, dict[str, Any]]] = {
    "flow": (flow, {"heun": 2}),
    "edm": (edm_stage, {"heun": 3}),
    "ddpm": (ddpm, {"heun": 4, "sampler": "ancestral"}),
    "gan": (gan, {"codec": "dct"}),
}
LEVELS = {"sex": ("F", "M")}


def _examples(context: Context, form: Form, count: int = 12, masked: bool = True) -> Examples:
    """Items with a class (of sequences one for each frame), a factor, a number, and a mask for half of them."""
    rows, rng = count * form.length, np.random.default_rng(0)
    shape = (rows, form.height, form.width, *((3,) if form.channels == 3 else ()))
    pixels = rng.integers(60, 200, shape).astype(np.uint8)
    block, digests = imageset.put_block(context.store, pixels)
    frame, item = np.arange(rows) % form.length, np.arange(rows) // form.length
    masks = np.zeros((rows, form.height, form.width), bool)
    masks[item % 2 == 1, 3:8, 4:10] = True
    labels = [
        ("a", "b")[int(f >= 1 + i % 2) if form.axis == "time" else i % 2] for f, i in zip(frame, item, strict=True)
    ]
    columns = {
        "id": [str(row) for row in range(rows)], "sha256": digests, "block": [block] * rows, "row": range(rows),
        "subject": [str(i) for i in item], "label": labels, "sex": ["FM"[i % 2] if i % 3 else "" for i in item],
        "age": [str(20 + i) if i % 4 else "" for i in item],
    }  # fmt: skip
    images = ImageSet(context.store, pl.DataFrame(columns))
    return Examples(images, form, ("a", "b"), masks if masked else None, None, LEVELS, ("age",))


FORMS = {
    "colour": Form(14, 16, 3),
    "time": Form(14, 16, 1, "time", 3),
    "depth": Form(14, 16, 3, "depth", 2),
}


@pytest.fixture
def context(tmp_path: Path) -> Iterator[Context]:
    made = _context(tmp_path)
    yield made
    made.ledger.close()


def _given(form: Form, count: int = 4) -> dict[str, np.ndarray]:
    label = np.arange(count) % 2
    return {
        "label": np.stack([label * 0, *[label] * (form.length - 1)], 1) if form.axis == "time" else label,
        "finding": label == 1,
        "factors": np.array([[0], [1], [-1], [0]])[:count],
        "vector": np.array([[25], [30], [np.nan], [20]], np.float32)[:count],
    }


@pytest.mark.parametrize(("name", "kind"), [("flow", "colour"), ("flow", "time"), ("flow", "depth"), ("edm", "time"),
                                            ("ddpm", "colour"), ("gan", "colour"), ("gan", "time")])  # fmt: skip
def test_a_stage_makes_items_of_its_form(name: str, kind: str, context: Context) -> None:
    stage, form = STAGES[name][0], FORMS[kind]
    options = stage.Options.model_validate(TINY | STAGES[name][1] | {"boxes": 0.5})
    examples = _examples(context, form)
    looks: list[looking.Look] = []
    weights = stage.train(context, examples, options, watch=looks.append)
    assert set(stage.ports(options).makes) == {"image", "mask"}
    given, seeds = _given(form), [3, 4, 5, 6]
    made = stage.sample(context.store, weights, given, seeds, options)
    assert made["image"].shape == (4, *form.shape)
    assert made["image"].dtype == np.float32
    assert 0 <= made["image"].min() <= made["image"].max() <= 1
    assert made["mask"].reshape(4, -1).any(1).tolist() == [False, True, False, True]
    alone = stage.sample(context.store, weights, {key: value[1:2] for key, value in given.items()}, seeds[1:2], options)
    assert np.abs(alone["image"][0] - made["image"][1]).max() <= 2 / 255
    assert np.array_equal(alone["mask"][0], made["mask"][1])
    # what an earlier stage made is used instead
    mask = np.zeros_like(made["mask"])
    mask[..., 2:9, 2:9] = 1
    placed = stage.sample(context.store, weights, given | {"mask": mask}, seeds, options)
    assert np.array_equal(placed["mask"], mask)
    assert not np.array_equal(placed["image"], made["image"])
    box = np.full((4, 4), np.nan, np.float32)
    box[1] = 0.25, 0.25, 0.75, 0.75
    boxed = stage.sample(context.store, weights, given | {"box": box}, seeds, options)
    assert boxed["mask"][1].reshape(-1, 14, 16)[0, 4:10, 4:12].min() == 1
    assert np.array_equal(boxed["mask"][3], made["mask"][3])  # without a box a mask is drawn
    # looks show one grey picture for each item
    assert [look.step for look in looks] == [3, 6]
    assert looks[0].samples.shape == (8, 14, 16)
    assert looks[0].labels.shape == (8,)
    assert looks[0].known is None
    facts = stage.facts(context.store, weights)
    assert facts["parameters"] > 1000
    assert facts["gflop_per_item"] > 0
    assert [point["step"] for point in facts["losses"]] == [6]
    assert json.loads(json.dumps(facts)) == facts


def test_frames_first_train_the_plane_alone_and_then_the_axis(context: Context) -> None:
    form = FORMS["time"]
    examples = _examples(context, form)
    kept = {}
    for share, steps in ((0.0, 4), (0.5, 4), (0.99, 1)):
        options = flow.Options.model_validate(TINY | {"heun": 2, "steps": steps, "look": 0, "frames_first": share})
        kept[share] = context.store.get_arrays(flow.train(context, examples, options))
        (context.scratch / "checkpoint.pt").unlink(missing_ok=True)
    along = [name for name in kept[0.0] if name.endswith("three.weight")]
    assert len(along) == 3
    # zero at first: whole items alone teach the layers along the axis
    assert all(np.abs(kept[0.5][name]).max() > 0 for name in along)
    assert all(np.abs(kept[0.99][name]).max() == 0 for name in along)
    assert not np.array_equal(kept[0.0]["network.enter.weight"], kept[0.5]["network.enter.weight"])
    with pytest.raises(ValueError, match="frames_first"):
        flow.Options(network="monai", frames_first=0.5)


def test_what_does_not_fit_the_training_is_told_at_once(context: Context) -> None:
    options = flow.Options.model_validate(TINY | {"heun": 2, "steps": 1})
    weights = flow.train(context, _examples(context, FORMS["colour"]), options)
    wrong = {
        "label": np.array([0, 2]),
        "factors": np.array([[5], [0]]),
        "vector": np.zeros((2, 3), np.float32),
        "mask": np.zeros((2, 5, 5), np.float32),
    }
    with pytest.raises(InputError) as told:
        flow.sample(context.store, weights, wrong, [1, 2], options)
    assert [problem.where for problem in told.value.problems] == ["label", "vector", "mask", "factors"]
    with pytest.raises(InputError, match="pca"):
        flow.train(context, _examples(context, FORMS["time"]), options.model_copy(update={"codec": "pca"}))
    for bad in ({"codec": "kl", "block": 6}, {"codec": "dct", "block": 1}, {"codec": "jpeg"}):
        with pytest.raises(ValueError, match="codec"):
            flow.Options.model_validate(bad)


@pytest.mark.parametrize("codec", ["identity", "pca", "kl"])
def test_every_codec_serves_every_objective(codec: str, context: Context) -> None:
    options = ddpm.Options.model_validate(TINY | {"heun": 3, "codec": codec, "components": 6, "codec_steps": 3})
    examples = _examples(context, FORMS["colour"])
    weights = ddpm.train(context, examples, options)
    given = _given(FORMS["colour"])
    made = ddpm.sample(context.store, weights, given, [1, 2, 3, 4], options)
    assert made["image"].shape == (4, 14, 16, 3)
    assert made["mask"][1].any()
    images, labels = examples.image()[:4], [0, 1, 0, 1]
    near = ddpm.vary(context.store, weights, images, labels, None, 0.2, [1, 2, 3, 4], options)
    assert near.shape == images.shape
    again = ddpm.vary(context.store, weights, images, labels, None, 0.0, [1, 2, 3, 4], options)
    assert np.abs(again - images).mean() < np.abs(near - images).mean() or codec == "kl"
    scores = ddpm.probe(context.store, weights, images, labels, None, 3, options)
    assert {name: score.shape for name, score in scores.items()} == {"denoising": (4,), "sima": (4,)}
    assert all(np.isfinite(score).all() for score in scores.values())


@pytest.mark.parametrize("name", ["flow", "ddpm"])
def test_the_way_ends_with_what_is_drawn(name: str, context: Context) -> None:
    stage, form = STAGES[name][0], FORMS["time"]
    options = stage.Options.model_validate(TINY | {"heun": 6})
    weights = stage.train(context, _examples(context, form), options)
    given, seeds = _given(form), [3, 4, 5, 6]
    shown = stage.way(context.store, weights, given, seeds, options, 4)
    made = stage.sample(context.store, weights, given, seeds, options)["image"]
    assert shown.shape == (4, *made.shape)
    assert np.array_equal(shown[-1], made)
    # it goes from what all have in common to one of them
    spread = shown.std(1).mean((1, 2, 3, 4) if shown.ndim == 6 else (1, 2, 3))
    assert spread[0] < spread[-1]
    assert np.array_equal(stage.way(context.store, weights, given, seeds, options, 1)[0], made)


@pytest.mark.parametrize("name", ["flow", "gan"])
def test_a_killed_training_ends_with_the_same_bytes(name: str, tmp_path: Path) -> None:
    stage = STAGES[name][0]
    options = stage.Options.model_validate(TINY | STAGES[name][1] | {"steps": 12, "checkpoint": 5})

    def run(folder: Path, stop: int | None = None) -> str:
        def progress(event: Any) -> None:
            if stop is not None and event.done == stop:
                raise StoppedError

        made = _context(folder, progress)
        try:
            return str(stage.train(made, _examples(made, FORMS["colour"]), options))
        finally:
            made.ledger.close()

    whole = run(tmp_path / "a")
    with pytest.raises(StoppedError):
        run(tmp_path / "b", 10)
    assert run(tmp_path / "b") == whole


def test_a_training_that_goes_astray_says_so(context: Context) -> None:
    options = flow.Options.model_validate(TINY | {"steps": 60, "rate": 1e25})
    with pytest.raises(ChambitError, match="astray"):
        flow.train(context, _examples(context, FORMS["colour"], masked=False), options)


# --- several processes


def test_two_processes_make_what_one_makes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = flow.Options.model_validate(TINY | {"boxes": 0.5, "steps": 8, "look": 4})
    found, looks = {}, []
    for count in ("1", "2"):
        monkeypatch.setenv(distributed.VARIABLE, count)
        made = _context(tmp_path / count)
        weights = flow.train(made, _examples(made, FORMS["time"]), options, watch=lambda look: looks.append(look.step))
        found[count] = made.store.get_arrays(weights)
        assert not (made.scratch / "job.pt").exists()
        made.ledger.close()
    assert looks == [4, 8, 4, 8]
    # layers that begin as zero say best where training went; 16-bit layers round another batch in another way
    began_at_zero = [name for name in found["1"] if "exit.weight" in name or "conv2.weight" in name]
    one, two = (np.concatenate([found[count][name].ravel() for name in began_at_zero]) for count in "12")
    assert np.linalg.norm(one - two) < 0.1 * np.linalg.norm(one)
    assert np.linalg.norm(one) > 0
    assert found["1"]["losses"] == pytest.approx(found["2"]["losses"], rel=1e-3)


def test_a_batch_that_cannot_be_dealt_out_is_refused(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    options = flow.Options.model_validate(TINY)
    for value, words in (("3", "multiple"), ("two", "number of processes")):
        monkeypatch.setenv(distributed.VARIABLE, value)
        with pytest.raises(InputError, match=words):
            flow.train(context, _examples(context, FORMS["colour"]), options)


def test_a_helper_without_a_job_says_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="did not come"):
        distributed.help_with(tmp_path / "job.pt", patience=0.0)


# --- devices, plans


def test_the_device_is_that_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(device.VARIABLE, "cpu")
    assert device.choose() == torch.device("cpu")
    monkeypatch.setenv(device.VARIABLE, "tpu")
    with pytest.raises(InputError, match="cpu or cuda"):
        device.choose()
    monkeypatch.setenv(device.VARIABLE, "cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match="no graphics processor"):
        device.choose()
    monkeypatch.delenv(device.VARIABLE)
    assert device.choose().type == "cpu"


def test_options_and_ports_load_no_torch() -> None:
    code = (
        "import sys; from chambit.generate.stages import flow, edm, ddpm, gan; "
        "[s.ports(s.Options()) for s in (flow, edm, ddpm, gan)]; print('torch' in sys.modules)"
    )
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert said.stdout.strip() == "False"


@pytest.mark.parametrize(("kind", "first"), [("colour", 0.0), ("time", 0.0), ("time", 0.5)])
def test_a_plan_knows_what_the_training_turns_out_to_be(kind: str, first: float, context: Context) -> None:
    form = FORMS[kind]
    options = flow.Options.model_validate(TINY | {"steps": 1, "heun": 2, "frames_first": first})
    weights = flow.train(context, _examples(context, form), options)
    facts = flow.facts(context.store, weights)
    planned = planner.plan(form, options, 2, masks=True, factors=(2,), numbers=1, peak=100.0)
    assert planned.parameters == facts["parameters"]
    assert planned.gflop_per_step == pytest.approx(facts["gflop_per_step"])
    assert planned.minutes == pytest.approx(1 / planned.steps_per_second / 60)
    assert planned.warnings == ()


def test_a_plan_of_single_frames_first_counts_them_as_what_they_are() -> None:
    form = Form(64, 64, length=12, axis="time")
    whole, first, half = (
        planner.plan(form, flow.Options(frames_first=share), 2, peak=1000.0).gflop_per_step
        for share in (0, 0.99, 0.495)
    )
    # four frames for twelve, and those without the layers along the axis
    assert first < whole * (0.01 + 0.99 * 4 / 12)
    assert half == pytest.approx((whole + first) / 2)


def test_a_plan_grows_with_what_is_asked_and_warns() -> None:
    small = planner.plan(Form(64, 64), flow.Options(), 2, peak=1000.0)
    assert 1e6 < small.parameters < 2e6
    wide = planner.plan(Form(64, 64), flow.Options(width=96), 2, peak=1000.0)
    assert 3.5 < wide.parameters / small.parameters < 4.5
    many = planner.plan(Form(64, 64), flow.Options(), 2, items=100_000, peak=1000.0)
    assert many.memory - small.memory == 4 * 100_000 * (64 * 64 + 9 * 256)
    huge = planner.plan(Form(4096, 4096, 3), flow.Options(codec="identity", block=4), 2, items=10, peak=1000.0)
    assert huge.available == 0 or (huge.memory > huge.available) == bool(huge.warnings)
    state = torch.random.get_rng_state()
    measured = planner.plan(Form(64, 64), flow.Options(codec="kl", block=4, keep=2), 2)
    assert measured.peak > 1
    assert measured.minutes == pytest.approx(1600 / measured.steps_per_second / 60)
    assert torch.equal(state, torch.random.get_rng_state())


def test_memory_that_is_left_is_the_smallest_limit(tmp_path: Path) -> None:
    for name, text in {"proc/meminfo": "MemTotal: 9 kB\nMemAvailable:  4 kB\n", "sys/fs/cgroup/memory.max": "3000\n",
                       "sys/fs/cgroup/memory.current": "1000\n"}.items():  # fmt: skip
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert sorted(planner._left(tmp_path)) == [2000, 4096]
    (tmp_path / "sys/fs/cgroup/memory.max").write_text("max\n")
    assert list(planner._left(tmp_path)) == [4096]


# --- what is learnt


def _taught(context: Context, count: int = 48) -> Examples:
    """Coloured pictures: the class is the tint, the factor the brighter side, the number the brightness."""
    rng = np.random.default_rng(0)
    label, side, bright = rng.integers(2, size=count), rng.integers(2, size=count), rng.uniform(0.3, 0.7, count)
    pixels = np.zeros((count, 8, 8, 3))
    pixels += bright[:, None, None, None] + rng.normal(0, 0.01, pixels.shape)
    pixels[..., 0] += 0.15 * (1 - 2 * label[:, None, None])
    pixels[:, :, 4:] += 0.15 * (2 * side[:, None, None, None] - 1)
    block, digests = imageset.put_block(context.store, (pixels.clip(0, 1) * 255).astype(np.uint8))
    columns = {"id": [str(k) for k in range(count)], "sha256": digests, "block": [block] * count, "row": range(count),
               "subject": [str(k) for k in range(count)], "label": [str(one) for one in label],
               "side": [str(one) for one in side], "bright": bright}  # fmt: skip
    images = ImageSet(context.store, pl.DataFrame(columns))
    return Examples(images, Form(8, 8, 3), ("0", "1"), None, None, {"side": ("0", "1")}, ("bright",))


def test_class_factor_and_number_are_followed(context: Context) -> None:
    options = flow.Options(steps=150, batch=16, width=16, block=4, keep=2, rate=5e-3, heun=4, drop=0.05)
    weights = flow.train(context, _taught(context), options)
    label, side, bright = (np.repeat([0, 1], 8), np.tile([0, 1], 8), np.tile(np.repeat([0.35, 0.65], 2), 4))
    given = {"label": label, "factors": side[:, None], "vector": bright[:, None].astype(np.float32)}
    made = flow.sample(context.store, weights, given, range(16), options)["image"]
    tint = (made[..., 0] - made[..., 2]).mean((1, 2))
    assert ((tint > 0) == (label == 0)).sum() >= 15
    lean = made[:, :, 4:].mean((1, 2, 3)) - made[:, :, :4].mean((1, 2, 3))
    assert ((lean > 0) == (side == 1)).sum() >= 14
    assert lean[side == 1].mean() - lean[side == 0].mean() > 0.15  # 0.3 in the pictures it learnt from
    level = made.mean((1, 2, 3))
    assert level[bright > 0.5].mean() - level[bright < 0.5].mean() == pytest.approx(0.3, abs=0.12)
    curve = flow.facts(context.store, weights)["losses"]
    assert curve[-1]["loss"] < 0.7 * curve[0]["loss"]
    assert issubclass(flow.Options, Diffusion)


def test_a_small_grid_has_fewer_levels(context: Context) -> None:
    def depth(network: torch.nn.Module | None) -> int:
        return 0 if network is None else 1 + depth(getattr(network, "below", None))

    codecs = {side: planner._sized(Form(side, side), flow.Options()) for side in (8, 16, 32, 64)}
    told = Told(2, False, False, 0, (), np.zeros((2, 0), np.float32))
    levels = {side: 1 + depth(trained.network(0, codec, told, flow.Options())) for side, codec in codecs.items()}
    assert levels == {8: 2, 16: 2, 32: 3, 64: 3}
