"""A reader study from votes to findings: course, clicks, power, second task, notes, exchange with other software."""

from collections.abc import Sequence

import numpy as np
import pytest

from chambit.core import digest
from chambit.core.errors import InputError
from chambit.core.evidence import Finding
from chambit.reading import analysis, imrmc, plausibility, power, reported, simulate, trials, votes
from chambit.reading.course import course
from chambit.reading.giveaways import giveaways
from chambit.reading.power import World
from chambit.reading.protocol import Protocol
from chambit.reading.simulate import Skill
from chambit.reading.votes import Reader, Vote
from test_reading_study import SECRET, planned, vote

OPTIONS = analysis.Options(finished=0.9, permutations=199, cells=6, seed=0)


def read(study: Protocol, skills: Sequence[Skill], image_sd: float = 0.5, seed: int = 1) -> list[Vote]:
    """Votes of as many readers as there are skills."""
    plans = [trials.plan(study, reader, SECRET) for reader in range(len(skills))]
    return simulate.votes(study, plans, skills, image_sd, seed)


def by_quantity(found: list[Finding]) -> dict[str, Finding]:
    return {finding.quantity: finding for finding in found}


# --- learning, fatigue, seconds


def placed(right: np.ndarray, place: np.ndarray, block: np.ndarray, reader: str) -> list[Vote]:
    """Votes of one reader on synthetic images."""
    return [
        vote(reader=reader, item=f"i{k}", score=5 if one else 2, position=int(at), block=int(part), seconds=4.0)
        for k, (one, at, part) in enumerate(zip(right, place, block, strict=True))
    ]


def test_slopes_by_hand() -> None:
    """Three readers, four blocks; within each reader the slopes are those of least squares."""
    rng = np.random.default_rng(0)
    place = np.arange(80)
    block = place // 20 + 1
    inside = (place % 20) / 19
    cast, slopes = [], []
    for reader in range(3):
        right = rng.random(80) < 0.3 + 0.5 * place / 80
        cast += placed(right, place, block, f"r{reader}")
        design = np.stack([np.ones(80), place / 100, inside], 1)
        slopes.append(np.linalg.lstsq(design, right.astype(float), rcond=None)[0][1:])
    found = course(cast, 0.95)
    assert found.learning.each == pytest.approx([one[0] for one in slopes])
    assert found.fatigue.each == pytest.approx([one[1] for one in slopes])
    assert found.learning.value == pytest.approx(np.mean([one[0] for one in slopes]))
    half = 4.302653 * np.std([one[0] for one in slopes], ddof=1) / 3**0.5  # t(2)
    assert found.learning.interval is not None
    assert found.learning.interval.high == pytest.approx(found.learning.value + half, abs=1e-6)


def test_learning_is_found_and_fatigue_is_not_taken_for_it() -> None:
    study = planned(real=100, synthetic=100, practice=0)
    learned = course(read(study, [Skill(learning=0.006)] * 6), 0.95)
    assert learned.learning.interval is not None
    assert learned.learning.interval.low > 0
    still = course(read(study, [Skill(dprime=1.0)] * 6), 0.95)
    assert still.learning.interval is not None
    assert still.learning.interval.low < 0 < still.learning.interval.high
    place = np.arange(100)
    tired = [v for r in range(4) for v in placed(place % 20 < 10, place, place // 20 + 1, f"r{r}")]
    assert course(tired, 0.95).fatigue.value == pytest.approx(-1.5, abs=0.15)


def test_one_block_has_no_fatigue_of_its_own_and_two_readers_no_interval() -> None:
    place = np.arange(20)
    cast = [v for r in range(2) for v in placed(place > 10, place, np.ones(20), f"r{r}")]
    found = course(cast, 0.95)
    assert found.fatigue.value is None
    assert "one block" in found.fatigue.reason
    assert found.seconds.value == pytest.approx(4.0)
    assert found.seconds.interval is None
    assert "2 of 3" in found.seconds.reason


def test_seconds_are_the_geometric_mean_of_medians() -> None:
    cast = [
        vote(reader=f"r{r}", item=f"i{k}", position=k, seconds=one)
        for r, times in enumerate([(2.0, 4.0, 99.0), (8.0, 16.0, 32.0), (4.0, 8.0, 8.5)])
        for k, one in enumerate(times)
    ]
    found = course(cast, 0.95).seconds
    assert found.each == (4.0, 16.0, 8.0)
    assert found.value == pytest.approx(8.0)
    assert found.interval is not None
    assert found.interval.low * found.interval.high == pytest.approx(64.0)


# --- clicks


def clicked(kind: str, item: int, x: float, y: float, reader: str = "r1") -> Vote:
    return vote(reader=reader, item=f"{kind}{item}", kind=kind, score=6, giveaway=(x, y))


def test_a_planted_mark_is_found_and_a_shared_place_is_not() -> None:
    rng = np.random.default_rng(0)
    elsewhere = [clicked("real", k, *rng.random(2).tolist()) for k in range(30)]
    marked = giveaways([clicked("synthetic", k, 0.9, 0.1) for k in range(30)] + elsewhere, 5, 199, rng)
    assert marked.cell == (0, 4)  # row from the top, column from the left
    assert marked.share == 1.0
    assert marked.p is not None
    assert marked.p <= 0.01
    both = [clicked(kind, k, 0.5, 0.5) for kind in ("real", "synthetic") for k in range(30)]
    assert giveaways(both, 5, 199, rng).p == 1.0


def test_the_permutation_test_has_its_size() -> None:
    rng = np.random.default_rng(1)
    p = []
    for _ in range(200):
        cast = [
            clicked(kind, k, *rng.beta(2, 2, 2).tolist(), reader=f"r{r}")
            for kind in ("real", "synthetic") for k in range(15) for r in range(2)
        ]  # fmt: skip
        p.append(giveaways(cast, 4, 99, rng).p)
    assert np.mean(np.array(p) <= 0.1) <= 0.17
    assert np.mean(np.array(p) <= 0.5) > 0.3


def test_clicks_without_anything_to_compare_have_a_reason() -> None:
    rng = np.random.default_rng(0)
    alone = giveaways([clicked("synthetic", 1, 1.0, 1.0)], 3, 99, rng)
    assert (alone.cell, alone.share, alone.p) == ((2, 2), 1.0, None)
    assert "no click on a real image" in alone.reason
    nothing = giveaways([vote(score=6), vote(item="b", score=1, giveaway=(0.5, 0.5))], 3, 99, rng)
    assert (nothing.cell, nothing.images) == (None, (0, 0))
    with pytest.raises(InputError, match="1 to 64"):
        giveaways([], 0, 99, rng)


# --- power


@pytest.mark.parametrize(
    ("readers", "images", "sd", "margin", "design"),
    [  # the table of the design; differences of 0.07 are four errors of both simulations
        (3, 300, 0.1, 0.10, 0.74), (3, 300, 0.2, 0.15, 0.61), (5, 150, 0.2, 0.10, 0.51),
        (5, 300, 0.3, 0.15, 0.71), (8, 200, 0.3, 0.10, 0.50), (10, 150, 0.3, 0.10, 0.64),
    ],
)  # fmt: skip
def test_power_is_that_of_the_design(readers: int, images: int, sd: float, margin: float, design: float) -> None:
    found = power.power(readers, images, World(sd, 0.6, 0.5), margin=margin, level=0.95, draws=700, seed=1)
    assert found.share == pytest.approx(design, abs=0.07)
    assert found.low < found.share < found.high


def test_the_size_of_the_test_is_held_at_the_margin() -> None:
    found = power.power(5, 100, World(0.3, 0.6, 0.65), margin=0.15, level=0.95, draws=1500, seed=2)
    assert 0.01 < found.share < 0.07


def test_more_readers_help_and_more_images_do_not_replace_them() -> None:
    def least_images(readers: int) -> int | None:
        return power.least_images(
            readers, World(0.2, 0.6, 0.5), wanted=0.8, most=400, margin=0.1, level=0.95, draws=200, seed=1
        )

    readers = power.least_readers(
        150, World(0.2, 0.6, 0.5), wanted=0.8, most=30, margin=0.1, level=0.95, draws=400, seed=1
    )
    assert readers in (7, 8, 9)
    assert least_images(3) is None
    enough = least_images(12)
    assert enough is not None
    assert 60 <= enough <= 150


@pytest.mark.parametrize(
    ("readers", "images", "margin", "sd"),
    [(2, 100, 0.1, 0.2), (5, 101, 0.1, 0.2), (5, 100, 0.5, 0.2), (5, 100, 0.1, -1)],
)
def test_a_plan_without_sense_has_no_power(readers: int, images: int, margin: float, sd: float) -> None:
    with pytest.raises(InputError, match="power cannot be computed"):
        power.power(readers, images, World(sd, 0.6, 0.5), margin=margin, level=0.95, draws=10, seed=1)


# --- all together


def test_images_that_nobody_tells_apart() -> None:
    study = planned(real=100, synthetic=100)
    found = by_quantity(analysis.analysed(study, read(study, [Skill()] * 6), OPTIONS))
    assert list(found) == list(analysis.QUANTITIES)
    assert found["equivalence"].value is not None
    assert found["equivalence"].value < 0.05
    for quantity in ("accuracy", "auc", "dprime"):
        one = found[quantity]
        assert one.interval is not None
        assert one.null is not None
        assert one.interval.low < one.null < one.interval.high
    assert found["accuracy"].n == {"readers": 6, "images": 200, "votes": 1200}
    assert found["accuracy"].measure == "reading@1"
    assert found["accuracy"].inputs["protocol"] == study.digest
    assert found["intra"].details["pairs"] == 6 * 20
    for finding in found.values():
        digest.canonical(finding.model_dump(mode="json"))  # no NaN anywhere


def test_images_that_everybody_tells_apart() -> None:
    study = planned(real=100, synthetic=100)
    found = by_quantity(
        analysis.analysed(study, read(study, [Skill(dprime=d) for d in (1, 1.5, 2, 2.5, 1.8)]), OPTIONS)
    )
    assert found["accuracy"].interval is not None
    assert found["accuracy"].interval.low > 0.65
    assert found["equivalence"].value is not None
    assert found["equivalence"].value > 0.9
    rows = found["accuracy"].details["readers"]
    assert isinstance(rows, list)
    assert [row["reader"] for row in rows] == [f"r{k:03d}" for k in range(5)]
    assert all(row["low"] < row["accuracy"] < row["high"] for row in rows)


def test_perfect_readers_are_no_study_that_was_not_run() -> None:
    study = planned()
    found = by_quantity(analysis.analysed(study, read(study, [Skill(dprime=30.0)] * 5, 0.0), OPTIONS))
    accuracy = found["accuracy"]
    assert (accuracy.value, accuracy.reason) == (1.0, "")
    assert accuracy.interval is not None
    assert accuracy.interval.low == pytest.approx(0.025 ** (1 / study.images))  # exact: all of n images
    assert accuracy.interval.high == 1.0
    assert "never differed" in accuracy.interval.method
    assert found["equivalence"].value == 1.0
    assert found["dprime"].value is None or found["dprime"].interval is not None


def test_bias_alone_is_not_detection() -> None:
    study = planned(real=100, synthetic=100)
    found = by_quantity(
        analysis.analysed(study, read(study, [Skill(criterion=-c) for c in (0.6, 0.8, 1, 1.2, 0.9)]), OPTIONS)
    )
    assert found["called_synthetic_right"].value is not None
    assert found["called_synthetic_wrong"].value is not None
    assert found["called_synthetic_right"].value > 0.7
    assert found["called_synthetic_wrong"].value > 0.7
    assert found["criterion"].interval is not None
    assert found["criterion"].interval.high < 0
    assert found["dprime"].interval is not None
    assert found["dprime"].interval.low < 0 < found["dprime"].interval.high


def test_labels_and_clicks_are_analysed() -> None:
    study = planned(real=60, synthetic=60)
    skills = [Skill(label_right=(0.95, 0.6), giveaway=(0.8, 0.2))] * 5
    found = by_quantity(analysis.analysed(study, read(study, skills), OPTIONS))
    right = found["label_right"]
    assert right.interval is not None
    assert right.interval.high < 0.75
    assert right.details["real images, low"] > 0.85  # type: ignore[operator]
    assert found["plausible"].details["reasons"]["anatomy"] > found["plausible"].details["reasons, real"]["anatomy"]  # type: ignore[index]
    assert found["giveaway"].value is not None
    assert found["giveaway"].value < 0.05
    assert found["giveaway"].details["cell"] == (1, 4)


def test_a_study_of_one_task_has_no_labels() -> None:
    study = planned(tasks=["authenticity"], reject_reasons=[])
    found = by_quantity(analysis.analysed(study, read(study, [Skill()] * 5), OPTIONS))
    assert found["label_right"].value is None
    assert found["label_right"].reason == "the protocol has no such task"


def test_a_reader_who_did_not_finish_is_left_out_and_named() -> None:
    study = planned(real=50, synthetic=50)
    cast = read(study, [Skill(dprime=1.0)] * 6)
    stopped = [one for one in cast if one.reader != "r005" or one.position < 30]
    found = by_quantity(analysis.analysed(study, stopped, OPTIONS))
    assert found["accuracy"].n["readers"] == 5
    assert set(found["accuracy"].details["left_out"]) == {"r005"}  # type: ignore[call-overload]
    five = by_quantity(analysis.analysed(study, [one for one in cast if one.reader != "r005"], OPTIONS))
    assert found["accuracy"].value == five["accuracy"].value


def test_before_a_study_is_whole_nothing_is_told() -> None:
    study = planned()
    found = analysis.analysed(study, read(study, [Skill()] * 4), OPTIONS)
    assert [one.value for one in found] == [None] * len(analysis.QUANTITIES)
    assert {one.reason for one in found} == {"4 readers finished, the protocol asks for 5"}
    assert all(not one.details for one in found)


@pytest.mark.parametrize("readers", [1, 2])
def test_one_or_two_readers_have_points_and_no_interval(readers: int) -> None:
    study = planned(readers_least=1)
    found = by_quantity(analysis.analysed(study, read(study, [Skill(dprime=1.0)] * readers), OPTIONS))
    assert found["accuracy"].value is None
    assert found["accuracy"].reason == f"{readers} of 3 readers: how readers differ cannot be told"
    assert 0.4 < found["accuracy"].details["point"] < 1  # type: ignore[operator]
    assert found["equivalence"].value is None
    for quantity in ("auc", "dprime", "intra", "learning", "label_right"):
        assert found[quantity].value is None
        assert found[quantity].reason


def test_readers_from_outside_are_asked_for() -> None:
    study = planned(outside_least=2)
    cast = read(study, [Skill(dprime=1.0)] * 5)
    who = [Reader(pseudonym=f"r{k:03d}", outside=k < 2, experience="10 years") for k in range(5)]
    assert "it is not told" in analysis.analysed(study, cast, OPTIONS)[0].reason
    assert "1 of the readers" in analysis.analysed(study, cast, OPTIONS, who[1:])[0].reason
    found = analysis.analysed(study, cast, OPTIONS, who)[0]
    assert found.value is not None
    assert found.details["readers"][0]["outside"] is True  # type: ignore[index]


def test_order_of_votes_changes_nothing() -> None:
    study = planned()
    cast = read(study, [Skill(dprime=0.5)] * 5)
    mixed = [cast[k] for k in np.random.default_rng(0).permutation(len(cast))]
    assert analysis.analysed(study, mixed, OPTIONS) == analysis.analysed(study, cast, OPTIONS)


def test_votes_of_another_protocol_are_refused() -> None:
    study = planned()
    cast = read(study, [Skill()] * 5)
    with pytest.raises(InputError, match="another protocol"):
        analysis.analysed(planned(margin=0.2), cast, OPTIONS)
    more = [*cast, cast[-1].model_copy(update={"item": "real-9999", "kind": "real", "repeat": False})]
    with pytest.raises(InputError, match="21 real images"):
        analysis.analysed(study, more, OPTIONS)


def test_unsure_is_not_yes() -> None:
    said = [
        vote(item=f"i{k}", plausibility={"label": label, "quality": 3, "reject": reject})
        for k, (label, reject) in enumerate([("yes", ()), ("unsure", ()), ("no", ("anatomy",))])
    ]
    found = plausibility.answers([*said, vote(item="i3")], votes.table([*said, vote(item="i3")]))
    assert np.array_equal(found.right, [[1, 0, 0, np.nan]], equal_nan=True)
    assert np.array_equal(found.plausible, [[1, 1, 0, np.nan]], equal_nan=True)
    assert np.array_equal(found.unsure, [[0, 1, 0, np.nan]], equal_nan=True)
    assert plausibility.reasons(said, "synthetic") == {"anatomy": 1}


# --- notes and exchange


def test_a_reported_number_is_a_note_and_nothing_else() -> None:
    note = reported.reported(0.45, "VTT", "the report of 2025, page 7")
    assert "VTT 0.45, reported by the report of 2025, page 7. Not evidence" in note.text
    assert not isinstance(note, Finding)
    assert set(type(note).model_fields) == {"value", "name", "by"}


def test_imrmc_goes_round() -> None:
    study = planned()
    cast = [one for one in read(study, [Skill(dprime=1.0)] * 3) if one.position % 7]  # some answers are missing
    table = votes.table(cast)
    text = imrmc.exported(table, study.digest)
    again = imrmc.imported(text)
    assert again.readers == table.readers
    assert np.array_equal(again.synthetic, table.synthetic)
    assert np.array_equal(again.scores, table.scores, equal_nan=True)
    lines = text.splitlines()
    assert lines[1:6] == ["N0: 20", "N1: 20", "NR: 3", "NM: 1", "BEGIN DATA:"]
    assert lines[6] == "-1,1,0,0"
    assert lines[45] == "-1,40,0,1"
    assert "real-" not in text


def test_imrmc_reads_the_layout_of_its_example_files() -> None:
    text = "any text\nN0: 1\nN1: 1\nBEGIN DATA:\n-1 , case1 , truth , 0\n-1,2,0,1\n reader 1 ,case1, 1 ,1.5\n2,2,1,3\n"
    table = imrmc.imported(text)
    assert (table.readers, table.items) == (("2", "reader 1"), ("case1", "2"))
    assert np.array_equal(table.scores, [[np.nan, 3], [1.5, np.nan]], equal_nan=True)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ("", "no reader has a score"),
        ("-1,1,0,0\nr,2,1,3\n", "cases without it: 2"),
        ("-1,1,0,0\n-1,1,0,1\nr,1,1,3\n", "came before"),
        ("-1,1,0,0\nr,1,1,3\nr,1,1,4\n", "came before"),
        ("-1,1,0,2\nr,1,1,3\n", "truth is 0 or 1"),
        ("-1,1,0,0\nr,1,1\n", "is not readerID"),
        ("-1,1,0,0\nr,1,1,x\n", "is not readerID"),
        ("-1,1,0,0\nr,1,1,3\ns,1,2,3\n", "there are several"),
    ],
)
def test_imrmc_that_is_not_is_refused(rows: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        imrmc.imported("BEGIN DATA:\n" + rows)
    with pytest.raises(InputError, match="no line BEGIN DATA"):
        imrmc.imported(rows)
