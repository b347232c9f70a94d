"""Sequences: frames that change as real ones do, stages that go one way, and what is planted against both."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import polars as pl
import pytest

from chambit.core.errors import InputError
from chambit.core.evidence import Finding
from chambit.core.steps import Context
from chambit.images.imageset import ImageSet
from chambit.measure import sequences, stages
from chambit.measure.examination import Examination
from chambit.measure.utility import temporal
from examinations import Cohort, by_key, depth, examination, keep, workplace

FRAMES, SIDE = 8, 24
# in the alphabet they stand in another order than in time
STAGES = ("young", "older", "adult", "ancient")
OPTIONS = temporal.Options(steps=60, least=12, control=0.5, splits=12, draws=200, pairs=15)


class Films(dict[str, Any]):
    """Pixels (S, T, H, W) in [0, 1], stages int (S, T), subject of each."""


def films(count: int, seed: int, prefix: str) -> Films:
    """Things that fall apart into 1 to 4 blobs; two sequences of each subject, each at its own pace."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:SIDE, :SIDE]
    turns = np.sort(rng.uniform(0.8, FRAMES - 0.8, (count, 3)), axis=1)
    told = (np.arange(FRAMES)[None, :, None] >= turns[:, None]).sum(2)
    pixels = np.empty((count, FRAMES, SIDE, SIDE))
    for one in range(count):
        phase, drift = rng.uniform(0, 6), np.cumsum(rng.normal(0, 0.25, (FRAMES, 2)), axis=0)
        for frame in range(FRAMES):
            parts = told[one, frame] + 1
            angle = phase + 2 * np.pi * np.arange(parts) / parts
            reach = 0.0 if parts == 1 else 6.0
            at = 11.5 + drift[frame, None] + reach * np.stack([np.sin(angle), np.cos(angle)], 1)
            blobs = [np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / 7.0) for cy, cx in at]
            pixels[one, frame] = 0.2 + 0.7 * np.max(blobs, axis=0)
    pixels += rng.normal(0, 0.01, pixels.shape)
    return Films(pixels=pixels, stages=told, subjects=np.array([f"{prefix}{one // 2}" for one in range(count)]))


def in_set(context: Context, given: Films, role: str, **columns: Any) -> ImageSet:
    """The films as a set of images; rows in an order of chance."""
    count, frames = given["stages"].shape
    labels = np.array(STAGES)[given["stages"]].ravel()
    pixels = depth(given["pixels"].reshape(-1, SIDE, SIDE))
    images = keep(context.store, Cohort(pixels, np.repeat(given["subjects"], frames), labels), role)
    table = images.table.with_columns(
        series=pl.Series([f"{role}{one}" for one in range(count) for _ in range(frames)]),
        frame=pl.Series([str(frame) for _ in range(count) for frame in range(frames)]),
        **columns,
    )
    return ImageSet(images.store, table[np.random.default_rng(0).permutation(len(table))])


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Context]:
    with workplace(tmp_path_factory.mktemp("temporal")) as made:
        yield examination(made, {}, options=OPTIONS).context


@pytest.fixture(scope="module")
def real(context: Context) -> dict[str, ImageSet]:
    return {"train": in_set(context, films(60, 1, "t"), "train"), "holdout": in_set(context, films(50, 2, "h"), "hold")}


FRESH = films(50, 3, "s")


def _run(context: Context, real: Mapping[str, ImageSet], made: Films | ImageSet, **changes: Any) -> dict[str, Finding]:
    synthetic = made if isinstance(made, ImageSet) else in_set(context, made, "made")
    options = OPTIONS.model_copy(update=changes)
    return by_key(temporal.measure(Examination({**real, "synthetic": synthetic}, context), options))


@pytest.fixture(scope="module")
def good(context: Context, real: dict[str, ImageSet]) -> dict[str, Finding]:
    return _run(context, real, FRESH)


def test_films_of_the_same_kind_cannot_be_told(good: dict[str, Finding]) -> None:
    difference = good["temporal.frame_difference"]
    assert difference.band is not None
    assert difference.value is not None
    assert difference.value <= 1.5 * difference.band.high
    for key in ("temporal.order_violations", "temporal.backward_steps", "temporal.stage_fidelity"):
        found = good[key]
        assert found.interval is not None
        assert found.interval.low <= 0 <= found.interval.high
        assert found.details["order"] == list(STAGES)
    for found in good.values():
        assert found.control is not None
        assert found.control.fired, (found.key, found.control)
        assert found.reason == ""
        assert found.inputs.keys() == {"train", "holdout", "synthetic"}
        assert found.details["frames"]["synthetic"] == {"least": 8, "median": 8.0, "most": 8}  # type: ignore[index]


def _shuffled() -> Films:
    """The frames of each sequence, with what they are said to show, in an order of chance."""
    rng = np.random.default_rng(0)
    order = np.argsort(rng.random(FRESH["stages"].shape), axis=1)
    taken = np.take_along_axis(FRESH["pixels"], order[:, :, None, None], 1)
    return Films({**FRESH, "pixels": taken, "stages": np.take_along_axis(FRESH["stages"], order, 1)})


def test_shuffled_frames_change_too_much_and_go_back(
    context: Context, real: dict[str, ImageSet], good: dict[str, Finding]
) -> None:
    bad = _run(context, real, _shuffled())
    difference = bad["temporal.frame_difference"]
    assert difference.interval is not None
    assert difference.band is not None
    assert difference.interval.low > difference.band.high
    for key in ("temporal.order_violations", "temporal.backward_steps"):
        found = bad[key]
        assert found.interval is not None
        assert found.interval.low > 0.3
    assert bad["temporal.order_violations"].details["stated"]["synthetic"] > 0.9  # type: ignore[index]
    assert len(bad["temporal.order_violations"].details["worst"]) == 10  # type: ignore[arg-type]
    # each frame still shows what it is said to show
    fidelity = bad["temporal.stage_fidelity"].value
    before = good["temporal.stage_fidelity"].value
    assert fidelity == pytest.approx(before, abs=0.03)


def test_frozen_pictures_change_too_little_and_never_go_back(context: Context, real: dict[str, ImageSet]) -> None:
    frozen = Films({**FRESH, "pixels": np.repeat(FRESH["pixels"][:, :1], FRAMES, axis=1)})
    found = _run(context, real, frozen)
    difference = found["temporal.frame_difference"]
    assert difference.interval is not None
    assert difference.band is not None
    assert difference.interval.low > difference.band.high
    assert difference.details["means"]["synthetic"] == 0  # type: ignore[index]
    violations = found["temporal.order_violations"]
    assert violations.details["shares"]["synthetic"] == 0  # type: ignore[index]
    assert violations.interval is not None
    assert violations.interval.low < violations.interval.high
    fidelity = found["temporal.stage_fidelity"]
    assert fidelity.interval is not None
    assert fidelity.interval.high < -0.3


def test_wrong_labels_are_seen_in_the_agreement_alone(context: Context, real: dict[str, ImageSet]) -> None:
    wrong = Films({**FRESH, "stages": (FRESH["stages"] + 1) % 4})
    found = _run(context, real, wrong)
    fidelity = found["temporal.stage_fidelity"]
    assert fidelity.value is not None
    assert fidelity.value < -0.5
    violations = found["temporal.order_violations"].interval
    assert violations is not None
    assert violations.low <= 0 <= violations.high


def test_a_judge_that_knows_nothing_is_no_evidence(context: Context, real: dict[str, ImageSet]) -> None:
    rng = np.random.default_rng(5)
    noise = {
        role: in_set(context, Films({**films(30, k, role), "pixels": rng.random((30, FRAMES, SIDE, SIDE))}), role)
        for k, role in enumerate(("train", "holdout", "synthetic"))
    }
    found = _run(context, noise, noise["synthetic"], steps=5)
    for one in found.values():
        assert one.control is not None
        assert not one.control.fired, one.key


def test_sequences_of_another_length_carry_a_caveat(context: Context, real: dict[str, ImageSet]) -> None:
    short = Films({**FRESH, "pixels": FRESH["pixels"][:, :5], "stages": FRESH["stages"][:, :5]})
    found = _run(context, real, short)["temporal.order_violations"]
    assert "5 frames, real ones 8" in found.reason
    assert found.details["frames"]["synthetic"]["most"] == 5  # type: ignore[index]


def test_one_label_per_sequence_says_nothing_of_frames(context: Context, real: dict[str, ImageSet]) -> None:
    last = Films({**FRESH, "stages": np.repeat(FRESH["stages"][:, -1:], FRAMES, axis=1)})
    found = _run(context, real, last)
    assert found["temporal.stage_fidelity"].value is None
    assert "one label" in found["temporal.stage_fidelity"].reason
    assert found["temporal.order_violations"].value is not None


def test_without_stages_only_differences_are_compared(context: Context, real: dict[str, ImageSet]) -> None:
    plain = {role: ImageSet(s.store, s.table.with_columns(label=pl.lit("all"))) for role, s in real.items()}
    (found,) = _run(context, plain, FRESH).values()
    assert found.key == "temporal.frame_difference"
    assert found.value is not None
    assert "do not change" in found.reason
    asked = _run(context, plain, FRESH, order=("all", "other"))
    assert {asked[f"temporal.{key}"].value for key in temporal.OF_STAGES} == {None}
    assert "do not change" in asked["temporal.order_violations"].reason


def test_what_is_no_sequence_is_not_run(context: Context, real: dict[str, ImageSet]) -> None:
    pictures = in_set(context, FRESH, "made")
    for drop in ("series", "frame"):
        found = _run(context, real, ImageSet(pictures.store, pictures.table.drop(drop)))
        assert {one.value for one in found.values()} == {None}
        assert all(f"'synthetic' are no sequences: no column '{drop}'" in one.reason for one in found.values())
    few = _run(context, real, films(10, 4, "f"))
    assert all("10 sequences of 5 subjects, at least 12" in one.reason for one in few.values())
    absent = by_key(temporal.measure(Examination(real, context), OPTIONS))
    assert all("'synthetic' is too small" in one.reason for one in absent.values())
    assert set(found) == set(absent) == {f"temporal.{key}" for key in temporal.QUANTITIES}


def test_an_order_that_is_told_must_be_complete(context: Context, real: dict[str, ImageSet]) -> None:
    with pytest.raises(InputError, match="no stage 'ancient'"):
        _run(context, real, FRESH, order=STAGES[:3])
    turned = _run(context, real, FRESH, order=("unknown", *STAGES[::-1]))["temporal.order_violations"]
    assert turned.details["order"] == list(STAGES[::-1])
    assert turned.control is not None
    assert not turned.control.fired  # real sequences go the other way


def test_the_same_examination_gives_the_same_numbers(
    context: Context, real: dict[str, ImageSet], good: dict[str, Finding]
) -> None:
    assert _run(context, real, FRESH) == good


# --- sequences


def _table(rows: list[tuple[str, str, str]]) -> ImageSet:
    columns = ["subject", "series", "frame"]
    return ImageSet(None, pl.DataFrame(rows, schema=columns, orient="row"))  # type: ignore[arg-type]  # no pixel is read


def test_frames_are_put_in_order_by_number() -> None:
    found = sequences.of(_table([("p", "a", "10"), ("p", "a", "9"), ("q", "a", "1"), ("p", "", ""), ("q", "a", "0")]))
    assert found.names == ("a", "a")
    assert found.owners.tolist() == ["p", "q"]
    assert [at.tolist() for at in found.at] == [[1, 0], [4, 2]]
    assert len(sequences.of(_table([("p", "a", "0"), ("p", "b", "0")]))) == 0


def test_frames_that_cannot_be_put_in_order_are_named() -> None:
    with pytest.raises(InputError) as raised:
        sequences.of(_table([("p", "a", "x"), ("p", "b", "1"), ("p", "b", "1"), ("p", "b", "0")]))
    told = str(raised.value)
    assert "series 'a': frame 'x' is no whole number" in told
    assert "series 'b': 2 images are frame 1" in told


def test_every_sequence_counts_alike() -> None:
    short, long = np.array([0.0]), np.full(99, 1.0)
    assert sequences.distance([short, long], [short, long, short, long]) == 0
    assert sequences.distance([short, long], [short]) == pytest.approx(0.5)


def test_differences_of_known_frames(context: Context) -> None:
    pixels = np.zeros((1, 3, SIDE, SIDE))
    pixels[0, 1, : SIDE // 2] = 1.0
    made = in_set(context, Films(pixels=pixels, stages=np.zeros((1, 3), int), subjects=np.array(["p"])), "known")
    (found,) = sequences.differences(made, sequences.of(made))
    assert found == pytest.approx([0.5, 0.5])


def test_order_is_that_of_first_appearance() -> None:
    labels = np.array(["z", "z", "a", "a", "z", "m"])
    seen = sequences.of(_table([("p", "one", str(k)) for k in range(3)] + [("p", "two", str(k)) for k in range(3)]))
    # z is first at 0 and 1, a at 2 and 0, m at 2
    assert sequences.order_of(labels, seen) == ("z", "a", "m")


def test_a_perfect_judge_finds_all_known_steps() -> None:
    seen = sequences.of(_table([("p", "one", str(k)) for k in range(4)]))
    scores = np.log(np.eye(3)[[0, 1, 1, 2]] + 1e-6)
    labels = np.array(["a", "b", "b", "?"])
    found = stages.judged(labels, seen, ("a", "b", "c"), scores)
    assert (found.back.tolist(), found.forth.tolist(), found.changes.tolist()) == ([0], [2], [1])
    assert found.right.tolist() == [0.75]
    assert found.recall == {"a": 1.0, "b": 1.0}
    assert found.stated == 0
